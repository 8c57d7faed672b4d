/* The articles of a site: which were read most, by period, author, category and words; as pages and as files. */
import { get } from '../api.js';
import { figure, framed, fresh, h, later } from '../dom.js';
import { date, number, range, typed, typedDate } from '../format.js';
import { trouble } from '../page.js';
import { column } from '../table.js';

const PERIODS = ['day', 'yesterday', 'week', 'last-week', 'month', 'last-month', 'quarter', 'last-quarter', 'year', 'last-year', 'all'];
const OWN = 'own';
const USUAL = 'last-week';
const ROWS = 50;
const SHORT = 40;
const PAUSE = 400;
const SORTS = ['views', 'total', 'title', 'published'];
/* What is chosen here, by its name in the address and in the API. */
const TEXTS = ['text', 'prefix', 'type', 'min_views'];
const DATES = ['from', 'to', 'published_from', 'published_to'];
const LISTS = ['author', 'category'];

export default async function articles(page) {
  const { t, root, site, query } = page;
  page.head(t('title'));
  const path = `admin/sites/${encodeURIComponent(site.id)}/articles`;
  const chosen = Object.fromEntries([...TEXTS, ...DATES, ...LISTS].map(name => [name, query.get(name) ?? '']));
  chosen.period = query.get('period') ?? (chosen.from || chosen.to ? OWN : USUAL);
  chosen.sort = SORTS.includes(query.get('sort')) ? query.get('sort') : 'views';
  chosen.direction = ['asc', 'desc'].includes(query.get('direction')) ? query.get('direction') : '';
  const wrong = new Map();

  /* ---- the form ---------------------------------------------------------------------------------------------------- */
  const fields = {};
  const chips = h('div', { class: 'chips', role: 'group', 'aria-label': t('chips') });
  // The typed text is already part of this query. Asking again would remove the rows that have come meanwhile.
  const changed = (step = true) => { typedSoon.stop(); remember(step); draw(); };
  const typedSoon = later(PAUSE, () => changed(false));

  function pick(name, field, width) {
    const id = fresh();
    field.id = id;
    fields[name] = field;
    return h('div', { class: `pick ${width}` }, h('label', { for: id }, t(`field.${name}`)), field, h('p', { class: 'wrong', id: `${id}-wrong` }));
  }
  function text(name, width, attributes = {}) {
    const field = h('input', { autocomplete: 'off', value: chosen[name], ...attributes, oninput: () => { chosen[name] = field.value.trim(); check(name); typedSoon(); } });
    return pick(name, field, width);
  }
  function day(name, width) {
    const field = h('input', { autocomplete: 'off', inputmode: 'numeric', placeholder: t('day.form'), value: chosen[name] && typed(chosen[name]), onchange: () => set(field.value) });
    const native = h('input', { type: 'date', class: 'native', tabindex: -1, 'aria-hidden': 'true', onchange: () => { field.value = typed(native.value); set(field.value); } });
    const button = h('button', { type: 'button', class: 'button', 'aria-label': t('day.pick', { name: t(`field.${name}`) }), onclick: () => {
      native.value = chosen[name];
      try { native.showPicker(); } catch { native.focus(); }
    } }, '▦');
    function set(words) {
      const found = typedDate(words);
      chosen[name] = found ?? words.trim();
      check(name);
      changed();
    }
    const made = pick(name, field, width);
    const together = h('span', { class: 'day' });
    field.replaceWith(together);
    together.append(field, button, native);
    return made;
  }
  /** A few names are a list to choose from; many are typed, and offered as one types. */
  function names(name, width) {
    const holder = pick(name, h('select', { onchange: event => { chosen[name] = event.target.value; changed(); } }, h('option', { value: '' }, t('all'))), width);
    const of = (words, signal) => get(`admin/sites/${encodeURIComponent(site.id)}/labels`, { of: name, text: words, limit: SHORT }, signal);
    of('', page.signal).then(found => {
      const { id } = fields[name];
      if (!found.more) {
        const labels = !chosen[name] || found.labels.includes(chosen[name]) ? found.labels : [chosen[name], ...found.labels];
        fields[name].append(...labels.map(label => h('option', { value: label, selected: label === chosen[name] }, label)));
        fields[name].value = chosen[name];
        return;
      }
      const offers = h('datalist', { id: `${id}-offers` }, found.labels.map(label => h('option', { value: label })));
      const offer = later(PAUSE, async words => {
        try { offers.replaceChildren(...(await of(words, page.signal)).labels.map(label => h('option', { value: label }))); } catch { /* then nothing is offered */ }
      });
      const field = h('input', { id, list: offers.id, autocomplete: 'off', value: chosen[name], oninput: () => { chosen[name] = field.value.trim(); offer(field.value); typedSoon(); } });
      fields[name].replaceWith(field, offers);
      fields[name] = field;
    }).catch(() => { /* the list below says what is wrong */ });
    return holder;
  }
  function check(name) {
    const value = chosen[name];
    const bad = !value ? '' : DATES.includes(name) && !typedDate(value) ? t('day.wrong')
      : name === 'min_views' && !/^\d{1,9}$/.test(value) ? t('number.wrong') : '';
    if (bad) wrong.set(name, bad);
    else wrong.delete(name);
    const said = document.getElementById(`${fields[name].id}-wrong`);
    said.textContent = bad;
    for (const [attribute, given] of [['aria-invalid', 'true'], ['aria-describedby', said.id]]) {
      if (bad) fields[name].setAttribute(attribute, given);
      else fields[name].removeAttribute(attribute);
    }
  }
  const period = h('select', { onchange: () => {
    chosen.period = period.value;
    if (chosen.period !== OWN) chosen.from = chosen.to = '';
    own.hidden = chosen.period !== OWN;
    if (chosen.period === OWN) fields.from.focus();
    else changed();
  } }, [...PERIODS, OWN].map(name => h('option', { value: name, selected: name === chosen.period }, t(`period.${name}`))));
  if (![...PERIODS, OWN].includes(chosen.period)) period.prepend(h('option', { value: chosen.period, selected: true }, date(chosen.period)));
  const own = h('div', { class: 'own', hidden: chosen.period !== OWN }, day('from', ''), day('to', ''));
  const more = ['prefix', 'type', 'published_from', 'published_to', 'min_views'];
  const form = h('form', { class: 'filters', onsubmit: event => { event.preventDefault(); changed(); } },
    pick('period', period, 'c3'), text('text', 'c5 wide', { type: 'search' }), names('author', 'c2'), names('category', 'c2'), own,
    h('details', { class: 'c12', open: more.some(name => chosen[name]) }, h('summary', {}, t('more.conditions')), h('div', { class: 'filters' },
      text('prefix', 'c4'), text('type', 'c2'), day('published_from', 'c2'), day('published_to', 'c2'), text('min_views', 'c2', { inputmode: 'numeric' }))));
  root.append(h('section', { class: 'sheet', 'aria-label': t('choose') }, form, chips));

  function drawChips() {
    const active = [...LISTS, ...TEXTS, 'published_from', 'published_to'].filter(name => chosen[name]);
    const clear = names_ => {
      for (const name of names_) {
        chosen[name] = '';
        fields[name].value = '';
        if (![...LISTS].includes(name)) check(name);
      }
      changed();
      (chips.querySelector('button') ?? fields.text).focus();
    };
    chips.replaceChildren(...active.map(name => {
      const shown = `${t(`field.${name}`)}: ${DATES.includes(name) && typedDate(chosen[name]) ? date(chosen[name]) : chosen[name]}`;
      return h('button', { type: 'button', 'aria-label': t('chip.remove', { what: shown }), onclick: () => clear([name]) }, `${shown} ✕`);
    }), ...(active.length > 1 ? [h('button', { type: 'button', onclick: () => clear(active) }, t('chips.clear'))] : []));
  }

  /** The query for the API. */
  function asked() {
    const given = { compare: chosen.period === 'all' ? '' : 1 };
    for (const name of [...TEXTS, ...LISTS, ...DATES]) given[name] = chosen[name];
    if (chosen.period !== OWN) Object.assign(given, { period: chosen.period, from: '', to: '' });
    given.sort = chosen.sort === 'views' ? '' : chosen.sort;
    given.direction = chosen.direction;
    return given;
  }
  function remember(step) {
    const { period: name, compare, ...rest } = asked();
    page.remember({ period: name !== USUAL && name, ...rest }, step);
  }

  /* ---- the list ---------------------------------------------------------------------------------------------------- */
  const said = h('p', { role: 'status', class: 'answer' }, '\u00a0');
  const progress = h('p', { class: 'soft', role: 'status' });
  const files = ['xlsx', 'csv'].map(kind => h('button', { class: 'button', type: 'button', onclick: () => file(kind) }, t(`file.${kind}`)));
  const place = h('div', { class: 'rows' });
  const under = h('div', { class: 'end' });
  const explained = h('p', { class: 'soft', hidden: true }, t('explained'));
  root.append(h('section', { class: 'sheet list', 'aria-label': t('list') }, h('div', { class: 'said' }, said, h('div', { class: 'actions' }, files)), progress, place, under, explained));
  let turn = 0;
  let found;
  let body;
  let frame;

  function sort(by) {
    const descends = chosen.direction ? chosen.direction === 'desc' : chosen.sort !== 'title';
    const now = chosen.sort === by ? (descends ? 'descending' : 'ascending') : '';
    return { by, now, act: () => {
      chosen.direction = now === 'descending' ? 'asc' : now === 'ascending' ? 'desc' : '';
      chosen.sort = by;
      remember(true);
      draw(by);
    } };
  }
  function row(each) {
    const before = found.compared ? h('td', { class: 'right number side' }, number(each.before)) : null;
    const told = [each.category, each.published && t('published', { day: date(each.published.slice(0, 10)) }), t('total', { n: each.total })].filter(Boolean).join(' · ');
    return h('tr', {}, h('td', { class: 'right number side soft' }, number(each.rank)),
      h('th', { scope: 'row', class: 'wide' }, h('a', { class: 'title', dir: 'auto', href: page.link('article', { key: each.key }) }, each.title || each.key),
        h('span', { class: 'where' }, each.key), h('span', { class: 'more' }, told)),
      h('td', { class: 'side', dir: 'auto' }, each.category), h('td', { class: 'side number' }, each.published ? date(each.published.slice(0, 10)) : ''),
      h('td', { class: 'right number' }, figure(number(each.views))), before, h('td', { class: 'right number side' }, number(each.total)));
  }
  function table() {
    const head = h('tr', {}, column(t('rank'), { class: 'right side' }), column(t('article'), { class: 'wide', sort: sort('title') }),
      column(t('field.category'), { class: 'side' }), column(t('day'), { class: 'side', sort: sort('published') }), column(t('views'), { class: 'right', sort: sort('views') }),
      found.compared && column(t('before'), { class: 'right side two' }), column(t('all.time'), { class: 'right side two', sort: sort('total') }));
    body = h('tbody', {}, found.articles.map(row));
    const { articles: n, views } = found.selection;
    return h('table', {}, h('caption', { class: 'unseen' }, t('caption')), h('thead', {}, head), body,
      h('tfoot', {}, h('tr', {}, h('td', { class: 'side' }), h('th', { scope: 'row' }, t('sum', { n })), h('td', { class: 'side' }), h('td', { class: 'side' }),
        h('td', { class: 'right number' }, number(views)), found.compared && h('td', { class: 'side' }), h('td', { class: 'side' }))));
  }
  function tell() {
    const { articles: n, views } = found.selection;
    const who = chosen.author ? t('said.author', { author: chosen.author }) : '';
    const when = chosen.period === OWN ? t('said.own') : t.has(`said.${chosen.period}`) ? t(`said.${chosen.period}`) : date(chosen.period);
    said.replaceChildren(...t.rich('said', { n, articles: figure(number(n)), who, views: figure(number(views)), when }),
      found.range.from ? h('span', { class: 'soft' }, ` (${range(found.range.from, found.range.to)})`) : '');
  }
  function tail() {
    const shown = body.children.length;
    const n = found.selection.articles;
    under.replaceChildren(h('span', { class: 'soft', role: 'status' }, t('shown', { shown, n })),
      ...(found.cursor ? [h('button', { class: 'button', type: 'button', onclick: further }, t('further', { n: Math.min(ROWS, Math.max(1, n - shown)) }))] : []));
  }
  async function further(event) {
    const button = event.currentTarget;
    button.disabled = true;
    const first = body.children.length;
    const mine = turn;
    try {
      const next = await get(path, { ...asked(), limit: ROWS, cursor: found.cursor }, page.signal);
      if (mine !== turn) return;
      found.cursor = next.cursor;
      body.append(...next.articles.map(row));
      tail();
      body.children[first]?.querySelector('a')?.focus();
    } catch (error) {
      if (!page.signal.aborted) under.append(trouble(t, error));
      button.disabled = false;
    }
  }
  async function draw(focus) {
    drawChips();
    for (const each of files) each.disabled = true;
    if (wrong.size) return;
    const mine = ++turn;
    await page.load(place, s => get(path, { ...asked(), limit: ROWS }, s), answer => {
      if (mine !== turn) return;
      found = answer;
      explained.hidden = false;
      tell();
      if (!found.selection.articles) {
        under.replaceChildren();
        place.replaceChildren(h('p', { class: 'lead' }, t('none')), h('p', {}, h('a', { class: 'button', href: page.link('articles', { period: 'all' }) }, t('none.out'))));
        return;
      }
      frame = framed(table(), t('caption'));
      place.replaceChildren(frame);
      tail();
      for (const each of files) each.disabled = false;
      if (focus) frame.querySelector(`[data-sort=${focus}]`)?.focus();
    });
    if (place.querySelector('[role=alert]')) { said.textContent = '\u00a0'; under.replaceChildren(); }
  }

  /* ---- files ------------------------------------------------------------------------------------------------------- */
  async function file(kind) {
    const { fetchFile } = await import('../files.js');
    await fetchFile(page, { path, kind, query: { ...asked(), lang: document.documentElement.lang }, rows: found.selection.articles, place: progress, buttons: files });
  }

  for (const name of [...DATES, 'min_views']) check(name);
  await draw();
}
