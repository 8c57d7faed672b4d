/* A box as the widget builds it (core/box_markup.py), of what the service says of it; in a shadow root, so that the style of
 * these pages does not reach it, and with the style sheet that portals have. */
import { h } from './dom.js';

const TAGS = {
  ul: ['ul', 'li', 'span', 'span'], dl: ['dl', 'div', 'dt', 'dd'], table: ['table', 'tr', 'th', 'td'], inline: ['p', 'span', 'span', 'span'],
};
const STYLE = new URL('../widget/themes/box.css', document.baseURI);

/** Builds a box. `state` is fresh, stale (with the moment as `at`) or unknown: then no number is shown. */
export function boxOf(box, state = 'fresh', at = '') {
  const [outer, inner, label, value] = TAGS[box.structure];
  const inline = box.structure === 'inline';
  const lines = box.lines.flatMap((line, n) => [
    n && inline ? h('span', { class: 'vs-bar' }, ' | ') : '',
    h(inner, { class: `vs-line vs-${line.name}${line.gap ? ' vs-gap-before' : ''}` },
      h(label, { scope: label === 'th' ? 'row' : null, class: 'vs-label' }, line.label, h('span', { class: 'vs-sep' }, ': ')),
      h(value, { class: 'vs-value' }, state === 'unknown' ? box.unknown : line.value)),
  ]).filter(Boolean);
  return h('div', {
    class: ['vs-box', box.theme].filter(Boolean).join(' '), 'data-vs-state': state, lang: box.lang, dir: box.direction === 'rtl' ? 'rtl' : null,
  }, box.title && h('h3', { class: 'vs-title' }, box.title), h(outer, { class: 'vs-list' }, lines),
  h('small', { class: 'vs-note' }, state === 'stale' ? `${box.stale}${at}` : box.note));
}

/** A place for a box: `show(element)` puts one there. */
export function stage() {
  const host = h('div', { class: 'stage' });
  const root = host.attachShadow({ mode: 'open' });
  const place = h('div');
  root.append(h('link', { rel: 'stylesheet', href: STYLE }), place);
  return { host, show: made => place.replaceChildren(made) };
}
