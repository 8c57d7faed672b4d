/* All sites of the token: which is busy, which has a problem. */
import { get } from '../api.js';
import { figure, framed, h, later, sparkline, whileSeen } from '../dom.js';
import { UNKNOWN, compared, number, plain, time } from '../format.js';
import { home } from '../page.js';

const NUMBERS_EVERY = 10_000;
const DETAILS_EVERY = 60_000;
const OLD = 60_000;
const ROWS = 40;
const TROUBLE = ['stale', 'quiet'];

export default async function portals(page) {
  const { t, root, signal, query } = page;
  const live = h('p', { class: 'soft live', 'data-at': '' });
  page.head(t('nav.portals'), live);
  const search = h('input', { id: 'find', type: 'search', autocomplete: 'off', value: query.get('text') ?? '' });
  const troubled = h('input', { type: 'checkbox', checked: query.get('trouble') === '1' });
  const said = h('p', { role: 'status' });
  const body = h('tbody');
  const more = h('button', { class: 'button', type: 'button', hidden: true, onclick: () => { shown += ROWS; draw(); } });
  const table = h('table', { class: 'portals' }, h('caption', { class: 'unseen' }, t('caption')), h('thead', {}, h('tr', {},
    h('th', { scope: 'col', class: 'wide' }, t('portal')), h('th', { scope: 'col', class: 'right side' }, t('online')),
    h('th', { scope: 'col', class: 'right' }, t('today')), h('th', { scope: 'col', class: 'side' }, t('against')),
    h('th', { scope: 'col', class: 'side' }, t('days')), h('th', { scope: 'col', class: 'side' }, t('state')))), body);
  const place = h('div', { class: 'rows' });
  root.append(h('section', { class: 'sheet', 'aria-label': t('nav.portals') },
    h('div', { class: 'filters' },
      h('div', { class: 'pick c5 wide' }, h('label', { for: 'find' }, t('find')), search),
      h('label', { class: 'check c5' }, troubled, ' ', t('trouble'))),
    h('div', { class: 'said' }, said), place, h('div', { class: 'end' }, more)));

  let sites = [];
  let shown = ROWS;
  const rows = new Map();
  const state = site => (Date.now() - Date.parse(site.at) > OLD && site.state !== 'archived' ? 'stale' : site.state ?? 'stale');

  function row(site) {
    const cells = {
      online: h('td', { class: 'right number side' }), today: h('td', { class: 'right number' }),
      against: h('td', { class: 'side' }), days: h('td', { class: 'side spark-cell' }), state: h('td', { class: 'side' }),
      more: h('span', { class: 'more' }),
    };
    const title = h('a', { class: 'title', href: home(site.id, query) }, site.name || site.id);
    return { tr: h('tr', {}, h('th', { scope: 'row', class: 'wide' }, title, h('span', { class: 'where' }, site.host), cells.more),
      cells.online, cells.today, cells.against, cells.days, cells.state), cells };
  }

  function fill({ cells }, site) {
    const now = state(site);
    const { change } = site.before ? compared(t, site.today, site.before, site.box) : { change: '' };
    const sign = TROUBLE.includes(now) ? '⚠ ' : '';
    const words = `${sign}${t(`state.${now}`, { time: time(site.at) })}`;
    cells.online.textContent = number(site.online);
    cells.today.textContent = now === 'empty' ? UNKNOWN : number(site.today);
    cells.against.textContent = now === 'empty' ? UNKNOWN : change;
    cells.state.textContent = words;
    cells.state.className = `side${sign ? ' bad' : ''}`;
    cells.more.textContent = `${t('online')} ${number(site.online)} · ${words}`;
  }

  function draw() {
    const words = plain(search.value).split(/\s+/).filter(Boolean);
    const found = sites.filter(site => (!troubled.checked || TROUBLE.includes(state(site)))
      && words.every(word => plain(`${site.name} ${site.id} ${site.host}`).includes(word)));
    found.sort((a, b) => TROUBLE.includes(state(b)) - TROUBLE.includes(state(a)));
    said.replaceChildren(...t.rich('said', {
      sites: figure(number(found.length)),
      online: figure(number(found.reduce((sum, site) => sum + (site.online ?? 0), 0))),
      today: figure(number(found.reduce((sum, site) => sum + (site.today ?? 0), 0))),
    }));
    const seen = found.slice(0, shown);
    for (const site of seen) {
      if (!rows.has(site.id)) rows.set(site.id, row(site));
      fill(rows.get(site.id), site);
      const { days } = rows.get(site.id).cells;
      if (!days.firstChild && site.days) days.append(sparkline(site.days));
    }
    const wanted = seen.map(site => rows.get(site.id).tr);
    if (wanted.some((tr, i) => body.children[i] !== tr) || body.children.length !== wanted.length) body.replaceChildren(...wanted);
    place.replaceChildren(found.length ? frame : h('p', { class: 'soft' }, t(sites.length ? 'none' : 'empty')));
    more.hidden = found.length <= shown;
    more.textContent = t('more', { n: Math.min(ROWS, found.length - shown) });
  }
  const frame = framed(table, t('caption'));

  const chosen = step => { shown = ROWS; page.remember({ text: search.value, trouble: troubled.checked && '1' }, step); draw(); };
  search.addEventListener('input', later(200, () => chosen(false)));
  troubled.addEventListener('change', () => chosen(true));

  const at = found => { const latest = found.map(site => site.at).sort().pop(); if (latest) { live.dataset.at = time(latest); live.textContent = t('live.on', { time: time(latest) }); } };
  await page.load(place, s => get('admin/sites', { details: 1 }, s), found => { sites = found.sites; at(sites); draw(); });
  if (signal.aborted) return;
  let last = Date.now();
  whileSeen(NUMBERS_EVERY, signal, () => {
    const details = Date.now() - last >= DETAILS_EVERY;
    if (details) last = Date.now();
    page.refresh(live, s => get('admin/sites', { details: details ? 1 : '' }, s), found => {
      const known = new Map(sites.map(site => [site.id, site]));
      sites = found.sites.map(site => ({ ...known.get(site.id), ...site }));
      if (details) for (const { cells } of rows.values()) cells.days.replaceChildren();
      at(sites);
      draw();
    });
  });
}
