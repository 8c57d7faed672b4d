// The counter of visitstats for React 18 and 19. License: MIT.
import { createElement, Fragment, useEffect } from 'react';
import { metas, snippet, start } from '../javascript/visitstats.mjs';

// The snippet and its box. The article's metas go into the head (React 19 puts them there; before, they stay where they are,
// which the widget understands as well).
export function Visitstats({ api, site, options, articleKey, author, category, published }) {
  useEffect(() => start({ api, site }), [api, site]);
  return createElement(
    Fragment,
    null,
    ...metas({ author, category, published }).map((meta) => createElement('meta', { key: meta.name || meta.property, ...meta })),
    // The widget puts its box in here, so React must not look inside.
    createElement('div', {
      suppressHydrationWarning: true,
      dangerouslySetInnerHTML: { __html: snippet({ api, site, options, articleKey }) },
    }),
  );
}

// The count of the article that is shown, or of another, by its key or address.
export function Views({ of }) {
  // A fresh element for another article, and one whose text is the widget's.
  return createElement('span', {
    key: of,
    ...(of ? { 'data-vs-views': of } : { 'data-vs': 'views' }),
    suppressHydrationWarning: true,
    dangerouslySetInnerHTML: { __html: '—' },
  });
}
