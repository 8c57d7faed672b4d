/* The frame of the pages: it shows the token in use, the site and the page. The table of pages is in page.js. */
import { get, resume, session, signOut } from './api.js';
import { h } from './dom.js';
import { LANGUAGES, choose, date, lang, nameDates, plain, usual, wordsOf } from './format.js';
import { PAGES, Page, WORTH, home, link, trouble } from './page.js';

const GROUPS = ['all', 'numbers', 'changes', 'site', 'installation'];
const RECENT = 5;
const WARNED = 7 * 86_400_000;

const bar = document.getElementById('bar');
const index = document.getElementById('index');
const main = document.getElementById('page');
const skip = document.getElementById('skip');
const wide = matchMedia('(min-width: 62.01rem)');

let sites = [];
let recent = [];
let leave = new AbortController();
let t;

/* ---- addresses ------------------------------------------------------------------------------------------------------ */
function asked() {
  const [path, search = ''] = location.hash.replace(/^#\/?/, '').split(/\?(.*)/s);
  const query = new URLSearchParams(search);
  const steps = path.split('/').filter(Boolean).map(step => { try { return decodeURIComponent(step); } catch { return step; } });
  if (!steps.length) return { query, page: PAGES[0] };
  const whole = PAGES.find(page => page.of === 'all' && page.name === steps[0]);
  if (whole && steps.length === 1) return { query, page: whole };
  const name = steps[1] ?? 'overview';
  return { query, site: steps[0], page: steps.length < 3 && PAGES.find(page => page.of === 'site' && page.name === name) };
}

const to = (page, site, query) => (page.name === 'overview' ? home(site, query)
  : link(page.of === 'site' ? site : '', page.name === 'portals' ? '' : page.name, {}, query.get('lang')));
const sees = page => WORTH[session.me.scope] >= WORTH[page.scope] && !(page.everywhere && session.me.sites);

/* ---- frame ---------------------------------------------------------------------------------------------------------- */
function languages(query) {
  return Object.entries(LANGUAGES).map(([name, called]) => h('a', {
    lang: name, hreflang: name, 'aria-current': name === lang ? 'true' : null,
    href: `#/${location.hash.replace(/^#\/?/, '').split('?')[0]}?${new URLSearchParams([...[...query].filter(([key]) => key !== 'lang'), ['lang', name]])}`,
  }, called));
}

const ending = () => session.me.expires && Date.parse(session.me.expires) - Date.now() < WARNED
  && h('span', { class: 'warn' }, t('expires', { day: date(session.me.expires.slice(0, 10)) }));
const account = () => (session.me ? [
  ending() || '',
  h('span', { class: 'soft who' }, `${session.me.name}, ${t(`scope.${session.me.scope}`)}`),
  h('button', { class: 'button plain', type: 'button', onclick: signOut }, t('signout')),
] : []);

function frame({ query, site, page }) {
  skip.textContent = t('skip');
  const chosen = sites.find(each => each.id === site);
  bar.replaceChildren(
    h('a', { class: 'brand', href: link('', '', {}, query.get('lang')) }, 'visitstats'),
    ...(session.me && sites.length ? [h('button', {
      class: 'button site', type: 'button', 'aria-haspopup': 'dialog', onclick: () => chooser(query),
    }, h('span', { class: 'cut' }, chosen ? chosen.name || chosen.id : t('sites.choose')), h('span', { class: 'push', 'aria-hidden': 'true' }, '▾'))] : []),
    h('span', { class: `languages push${session.me ? '' : ' always'}` }, ...languages(query)),
    ...account(),
  );
  index.hidden = !session.me;
  if (!session.me) {
    index.replaceChildren();
    return;
  }
  index.setAttribute('aria-label', t('index.label'));
  const parts = GROUPS.flatMap(group => {
    const shown = PAGES.filter(each => each.group === group && sees(each)
      && (each.of === 'site' ? chosen : each.name !== 'portals' || sites.length > 1));
    const id = `part-${group}`;
    return shown.length ? [
      t(`group.${group}`) && h('p', { class: 'part', id }, t(`group.${group}`)),
      h('ul', { 'aria-labelledby': t(`group.${group}`) ? id : null }, shown.map(each => h('li', {}, h('a', {
        href: to(each, site, query), 'aria-current': each === page || page?.under === each.name ? 'page' : null,
      }, t(`nav.${each.name}`))))),
    ] : [];
  });
  const details = h('details', { open: wide.matches }, h('summary', {}, t('index')), ...parts.filter(Boolean),
    h('div', { class: 'account' }, ...account().slice(0, 2), h('span', {}, ...languages(query)), ...account().slice(2)));
  index.replaceChildren(details);
}
wide.addEventListener('change', () => { if (index.firstChild) index.firstChild.open = wide.matches; });

async function chooser(query) {
  const { open } = await import('./dialog.js');
  if (document.querySelector('dialog')) return; // there was a second click while the file was loading
  open(t('sites.choose'), close => {
    const list = h('ul', { class: 'sites' });
    const show = text => {
      const words = plain(text).split(/\s+/).filter(Boolean);
      const latest = recent.map(id => sites.find(each => each.id === id)).filter(Boolean);
      const found = [...latest, ...sites.filter(each => !latest.includes(each))]
        .filter(each => words.every(word => plain(`${each.name} ${each.id} ${each.host}`).includes(word)));
      list.replaceChildren(...found.slice(0, 200).map(each => h('li', {}, h('a', { href: home(each.id, query), onclick: () => close() },
        each.name || each.id, h('span', { class: 'where' }, each.host)))), ...(found.length ? [] : [h('li', { class: 'soft' }, t('sites.none'))]));
    };
    const field = h('input', {
      type: 'search', id: 'site-search', autocomplete: 'off', autofocus: true, oninput: () => show(field.value),
      onkeydown: event => {
        if (event.key === 'ArrowDown') move(event, list, 0);
        if (event.key !== 'Enter') return;
        event.preventDefault(); // else it presses what gets the focus back, which opens the dialog again
        list.querySelector('a')?.click();
      },
    });
    list.addEventListener('keydown', event => {
      const links = [...list.querySelectorAll('a')];
      const at = links.indexOf(document.activeElement);
      if (event.key === 'ArrowDown') move(event, list, Math.min(at + 1, links.length - 1));
      if (event.key === 'ArrowUp') { if (at > 0) move(event, list, at - 1); else field.focus(); }
    });
    show('');
    return [h('div', { class: 'pick' }, h('label', { for: 'site-search' }, t('sites.find')), field), list,
      h('div', { class: 'actions end' }, h('button', { class: 'button', type: 'button', onclick: () => close() }, t('close')))];
  });
}
const move = (event, list, at) => { event.preventDefault(); list.querySelectorAll('a')[at]?.focus(); };
/* ---- pages ---------------------------------------------------------------------------------------------------------- */
let first = true;
async function show() {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  document.querySelectorAll('dialog:not(.locked)').forEach(each => each.close());
  const where = asked();
  const wanted = where.query.get('lang') ?? usual();
  if (wanted !== lang || !t) choose(wanted);
  t = await wordsOf('frame');
  nameDates(t);
  if (signal.aborted) return;
  if (!session.me) {
    frame(where);
    await entrance(signal);
    return;
  }
  if (sites.length === 1 && !where.site && where.page?.name === 'portals') {
    history.replaceState(null, '', home(sites[0].id, where.query));
    show();
    return;
  }
  frame(where);
  const site = sites.find(each => each.id === where.site);
  const denied = where.page && !sees(where.page);
  if (!where.page || (where.page.of === 'site' && !site) || denied) {
    nowhere(denied ? 'error.forbidden' : where.page ? 'error.no-such-site' : 'error.not-found', where);
    return;
  }
  if (site) recent = [site.id, ...recent.filter(id => id !== site.id)].slice(0, RECENT);
  const { name } = where.page;
  const root = h('div', { class: 'contents' });
  try {
    const [words, module] = await Promise.all([wordsOf(name), import(`./pages/${name}.js`)]);
    if (signal.aborted) return;
    main.replaceChildren(root);
    title(words(where.page.under ? 'title' : `nav.${name}`), site);
    const page = new Page({ root, name, site, sites, query: where.query, t: words, me: session.me, signal, entitle: text => title(text, site) });
    const drawing = module.default(page);
    land(root);
    await drawing;
  } catch (error) {
    if (!signal.aborted) main.replaceChildren(trouble(t, error, show));
  }
}

const title = (text, site) => { document.title = [text, site && (site.name || site.id), 'visitstats'].filter(Boolean).join(' · '); };

/** Puts the focus on the heading of the page that was gone to, not of the first one. */
function land(root) {
  if (!first) root.querySelector('h1')?.focus({ preventScroll: true });
  if (!first) scrollTo(0, 0);
  first = false;
}

function nowhere(reason, { query }) {
  title(t('error.title'));
  main.replaceChildren(h('h1', { tabindex: -1 }, t('error.title')), h('p', { class: 'sheet' }, t(reason), ' ',
    h('a', { href: link('', '', {}, query.get('lang')) }, t('error.out'))));
  land(main);
}

async function entrance(signal) {
  const [words, { form }] = await Promise.all([wordsOf('signin'), import('./pages/signin.js')]);
  if (signal.aborted) return;
  title(words('title'));
  const root = h('div', { class: 'narrow' }, h('h1', { tabindex: -1 }, words('title')));
  main.replaceChildren(root);
  await form(root, words, signal);
  if (!signal.aborted) await enter();
}

async function enter() {
  ({ sites } = await get('admin/sites'));
  first = first && document.activeElement === document.body;
  show();
}

session.renew = async reason => {
  const [words, { form }, { open }] = await Promise.all([wordsOf('signin'), import('./pages/signin.js'), import('./dialog.js')]);
  const { dialog, close } = open(words('title'), () => [], { locked: true });
  await form(dialog, words, new AbortController().signal, words(`again.${reason}`));
  close();
};
session.left = () => {
  sites = [];
  recent = [];
  document.querySelectorAll('dialog').forEach(each => each.close());
  main.replaceChildren();
  show();
};

addEventListener('hashchange', show);
addEventListener('popstate', () => { /* "back" within a page changes the fragment, which hashchange tells */ });
skip.addEventListener('click', event => { event.preventDefault(); main.focus(); });
addEventListener('keydown', async event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches?.('input, select, textarea') || document.querySelector('dialog')) return;
  const field = main.querySelector('input[type=search]');
  if (event.key === '/' && field) {
    event.preventDefault();
    field.focus();
  } else if (event.key === '?') {
    const { open } = await import('./dialog.js');
    if (document.querySelector('dialog')) return;
    open(t('keys'), close => [
      h('dl', { class: 'keys' }, ...['tab', 'slash', 'arrows', 'esc', 'help'].map(name => h('div', {}, h('dt', {}, t(`keys.${name}`)), h('dd', {}, t(`keys.${name}.does`))))),
      h('div', { class: 'actions end' }, h('button', { class: 'button', type: 'button', autofocus: true, onclick: () => close() }, t('close'))),
    ]);
  }
});

async function begin() {
  choose(asked().query.get('lang') ?? usual());
  if (await resume()) {
    try {
      session.me = await get('admin/me');
      await enter();
      return;
    } catch (error) {
      t = await wordsOf('frame');
      nameDates(t);
      frame(asked());
      main.replaceChildren(trouble(t, error, begin));
      return;
    }
  }
  show();
}
begin();
