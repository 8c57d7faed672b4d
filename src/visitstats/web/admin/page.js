/* The object that each page gets: where to draw, the parameters of its address, its words, and how to wait for data. */
import { fresh, h } from './dom.js';
import { Refused } from './api.js';
import { time } from './format.js';

const SOON = 300;
const LONG = 8000;
const BUILDING = 3000;

/* The table of pages. A further one is a row here, a file pages/NAME.js, and words/vi/NAME.js and words/en/NAME.js
 * (docs/admin-pages.md). of: "site" or "all" sites; scope: the least that sees it; group: where it stands in the index,
 * "" for not there; under: the page whose place in the index it has; everywhere: only for tokens of all sites. */
export const PAGES = [
  { name: 'portals', of: 'all', scope: 'viewer', group: 'all' },
  { name: 'overview', of: 'site', scope: 'viewer', group: 'numbers' },
  { name: 'articles', of: 'site', scope: 'viewer', group: 'numbers' },
  { name: 'article', of: 'site', scope: 'viewer', group: '', under: 'articles' },
  { name: 'reports', of: 'site', scope: 'viewer', group: 'numbers' },
  { name: 'import', of: 'site', scope: 'editor', group: 'changes' },
  { name: 'corrections', of: 'site', scope: 'editor', group: 'changes' },
  { name: 'audit', of: 'site', scope: 'editor', group: 'changes' },
  { name: 'why', of: 'site', scope: 'viewer', group: 'numbers' },
  { name: 'settings', of: 'site', scope: 'editor', group: 'site' },
  { name: 'tokens', of: 'all', scope: 'admin', group: 'installation', everywhere: true },
  { name: 'health', of: 'all', scope: 'admin', group: 'installation', everywhere: true },
];
export const WORTH = { viewer: 0, editor: 1, admin: 2 };

/** #/SITE/PAGE?name=value; the language goes along where it is in the address already. */
export function link(site, name, query = {}, keepLang = '') {
  const path = [site, name].filter(Boolean).map(encodeURIComponent).join('/');
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries({ ...query, lang: keepLang })) if (value) search.append(key, value);
  const text = search.toString();
  return `#/${path}${text && `?${text}`}`;
}

/** The address of a site's first page; of a site that is called like a page of all sites, a longer one. */
export const home = (site, query) => link(site, PAGES.some(page => page.of === 'all' && page.name === site) ? 'overview' : '', {}, query.get('lang'));

/** Describes an error in words, with a way out. */
export function trouble(t, error, again) {
  const known = error instanceof Refused;
  const code = known && t.has(`error.${error.code}`) ? error.code : 'internal-error';
  const bug = /[0-9a-f]{6}$/.exec(known ? error.detail : '')?.[0] ?? (known ? String(error.status) : error.name);
  const text = error.code === 'denied' && error.status === 403 ? t('error.forbidden') : t(`error.${code}`, { code: bug, n: error.after ?? 0 });
  if (!known) console.error(error);
  return h('div', { class: 'note', role: 'alert' }, h('p', {}, text),
    again && h('p', { class: 'end' }, h('button', { class: 'button', type: 'button', onclick: again }, t('again'))));
}

export class Page {
  /** `root` is the element to draw into; `signal` is aborted when another page is opened. */
  constructor({ root, name, site, sites, query, t, me, signal, entitle }) {
    Object.assign(this, { root, name, site, sites, query, t, me, signal, entitle });
  }

  /** Whether the token may do what needs a scope. */
  may(scope) {
    return WORTH[this.me.scope] >= WORTH[scope];
  }

  /** The address of a page of this site. */
  link(name, query = {}) {
    return link(this.site?.id, name, query, this.query.get('lang'));
  }

  /** Writes into the address what is chosen here now. `step` makes it a step that "back" takes back. */
  remember(choices, step = true) {
    const query = Object.fromEntries(Object.entries(choices).filter(([, value]) => value));
    const next = link(this.site?.id, this.name === 'overview' || this.name === 'portals' ? '' : this.name, query, this.query.get('lang'));
    if (next === location.hash) return;
    history[step ? 'pushState' : 'replaceState'](null, '', next);
    this.query = new URLSearchParams(next.split('?')[1]);
  }

  /** The head of a page: its one h1, and what stands beside it. */
  head(title, ...beside) {
    const made = h('div', { class: 'head' }, h('h1', { tabindex: -1 }, title), ...beside);
    this.root.append(made);
    return made;
  }

  /** A part of a page with a heading. */
  sheet(title, ...children) {
    const id = fresh();
    const head = h('div', { class: 'head' }, h('h2', { id }, title));
    const made = h('section', { class: 'sheet', 'aria-labelledby': id }, head, ...children);
    made.head = head;
    return made;
  }

  /** Waits for data and shows it in `into`, with words for what takes long and for what fails. Resolves what `show`
   * returns, and undefined after an error. */
  async load(into, read, show) {
    const { t } = this;
    const again = () => this.load(into, read, show);
    into.setAttribute('aria-busy', 'true');
    const hint = h('p', { class: 'soft waiting' });
    const timers = [
      setTimeout(() => { if (!into.childElementCount) into.append(hint); hint.textContent = t('loading'); }, SOON),
      setTimeout(() => { hint.textContent = t('loading.long'); into.prepend(hint); }, LONG),
    ];
    try {
      const data = await read(this.signal);
      if (this.signal.aborted) return undefined;
      hint.remove();
      into.querySelector(':scope > .note[role=alert]')?.remove();
      return await show(data);
    } catch (error) {
      if (this.signal.aborted) return undefined;
      hint.remove();
      into.replaceChildren(trouble(t, error, again));
      // A list that is made for the first time is ready in some seconds, so the page asks for it again by itself.
      if (error.code === 'index-building') setTimeout(() => { if (!this.signal.aborted && into.querySelector(':scope > .note')) again(); }, BUILDING);
      return undefined;
    } finally {
      timers.forEach(clearTimeout);
      into.removeAttribute('aria-busy');
    }
  }

  /** Asks for data at intervals. Errors are shown in `beside`, and the data shown before stays. */
  async refresh(beside, read, show) {
    try {
      const data = await read(this.signal);
      if (!this.signal.aborted) show(data);
    } catch (error) {
      if (!this.signal.aborted) beside.replaceChildren(this.t('live.lost', { time: beside.dataset.at ?? time(new Date().toISOString()) }));
    }
  }
}
