/* Reports: the month for the leadership, articles by author and category, royalties; on the page, in files, on paper. */
import { get } from '../api.js';
import { figure, framed, fresh, h, later } from '../dom.js';
import { UNKNOWN, date, dayOfYear, fullDate, moment, month, number, percent, range } from '../format.js';
import { asTable, measure, plot } from '../plot.js';

const KINDS = ['summary', 'articles', 'authors', 'categories', 'royalties'];
const UNITS = ['last-month', 'month', 'last-quarter', 'quarter', 'last-year', 'year'];
const WITHIN = 30;
const MONTHS = 12;
const SHOWN = 20;
const LEAST_BASE = 20;

export default async function reports(page) {
  const { t, root, site, query } = page;
  page.head(t('nav.reports'));
  const chosen = {
    kind: KINDS.includes(query.get('kind')) ? query.get('kind') : 'summary',
    period: query.get('period') || 'last-month',
    within: Number(query.get('within')) || 0,
  };
  const form = h('form', { class: 'sheet noprint', 'aria-labelledby': 'report-form', onsubmit: event => event.preventDefault() });
  const preview = h('section', { class: 'sheet report', 'aria-labelledby': 'report-title' });
  root.append(h('div', { class: 'beside' }, form, preview));
  const asked = () => ({ kind: chosen.kind, period: chosen.period, within: chosen.kind === 'royalties' ? chosen.within || '' : '' });
  const path = `admin/sites/${encodeURIComponent(site.id)}/report`;

  const kinds = h('fieldset', { class: 'kinds' }, h('legend', {}, t('kind')), KINDS.map(kind =>
    h('label', { class: 'check' }, h('input', { type: 'radio', name: 'kind', value: kind, checked: kind === chosen.kind, onchange: () => choose({ kind }) }), ' ', t(`kind.${kind}`))));
  const periods = h('select', { id: 'period', onchange: () => choose({ period: periods.value }) });
  const within = h('input', { id: 'within', type: 'number', min: 1, max: 366, value: chosen.within || WITHIN, inputmode: 'numeric', oninput: later(400, () => {
    if (within.validity.valid && within.value) choose({ within: Number(within.value) });
  }) });
  const days = h('div', { class: 'pick' }, h('label', { for: 'within' }, t('within')), within);
  form.append(h('h2', { id: 'report-form' }, t('make')),
    h('div', { class: 'pick' }, h('label', { for: 'period' }, t('period')), periods), kinds, days, h('p', { class: 'soft about' }));

  let turn = 0;
  const at = await page.load(preview, s => get(`admin/sites/${encodeURIComponent(site.id)}/now`, {}, s), found => found.at);
  if (!at) return;
  offer();
  await show();

  function offer() {
    const list = [...UNITS, ...(chosen.kind === 'summary' ? [] : ['last-week']), ...(['summary', 'royalties'].includes(chosen.kind) ? [] : ['all'])];
    const months = Array.from({ length: MONTHS }, (_, n) => monthBefore(at, n + 2));
    const options = [...list.map(word => [word, t(`period.${word}`)]), ...months.map(name => [name, t('month', { month: month(name) })])];
    if (!options.some(([value]) => value === chosen.period)) {
      if (/^\d{4}(-\d\d){0,2}$/.test(chosen.period)) options.push([chosen.period, date(chosen.period)]);
      else chosen.period = 'last-month';
    }
    periods.replaceChildren(...options.map(([value, text]) => h('option', { value, selected: value === chosen.period }, text)));
    days.hidden = chosen.kind !== 'royalties';
    form.querySelector('.about').textContent = t(`about.${chosen.kind}`);
  }

  function choose(change) {
    Object.assign(chosen, change);
    offer();
    page.remember({
      kind: chosen.kind !== 'summary' && chosen.kind, period: chosen.period !== 'last-month' && chosen.period,
      within: chosen.kind === 'royalties' && chosen.within,
    });
    show();
  }

  function show() {
    const mine = ++turn;
    return page.load(preview, s => get(path, { ...asked(), limit: SHOWN }, s), found => { if (mine === turn) draw(found); });
  }

  function draw(found) {
    // A closed month shows the days for which it was closed, unless others are asked for.
    if (found.kind === 'royalties' && !chosen.within) within.value = found.within;
    const title = `${t(`title.${found.kind}`)} ${called(t, found, chosen.period)}`;
    const said = h('span', { class: 'soft', role: 'status' });
    const files = ['xlsx', 'csv'].map(kind => h('button', { class: 'button', type: 'button', onclick: () => file(kind, said, files) }, t(`file.${kind}`)));
    preview.replaceChildren(
      h('div', { class: 'head' }, h('h2', { id: 'report-title' }, title), h('div', { class: 'actions' },
        files, h('button', { class: 'button', type: 'button', onclick: () => print() }, t('print')), said)),
      h('p', {}, [site.name || site.id, site.host].filter(Boolean).join(' · ')),
      h('p', { class: 'soft lead' }, state(t, found), ' ', closable(found) && h('a', { class: 'noprint', href: page.link('corrections', { part: 'close', period: found.range.from.slice(0, 7) }) }, t('close.month'))),
      ...PARTS[found.kind](page, found).filter(Boolean));
  }

  /** Whether the period is a whole month that is over and not closed yet. */
  function closable({ closed, closed_days, running, range: { from, to } }) {
    return !closed && !closed_days && !running && page.may('editor') && Boolean(from?.endsWith('-01')) && from.slice(0, 7) === to.slice(0, 7);
  }

  async function file(kind, place, buttons) {
    const { fetchFile } = await import('../files.js');
    const lang = document.documentElement.lang;
    await fetchFile(page, { path, kind, query: { ...asked(), lang, delimiter: lang === 'vi' ? ';' : ',' }, place, buttons });
  }
}

/** The month so many months before a moment, as 2026-10. */
function monthBefore(at, months) {
  return new Date(Date.UTC(Number(at.slice(0, 4)), Number(at.slice(5, 7)) - 1 - months, 1)).toISOString().slice(0, 7);
}

/** The usual name of a period. */
function called(t, { range: { from, to } }, period) {
  if (!from) return t('period.all').toLowerCase();
  if (/month$|^\d{4}-\d\d$/.test(period)) return t('month', { month: month(from) });
  if (/quarter$/.test(period)) return t('quarter', { n: String(Math.ceil(Number(from.slice(5, 7)) / 3)), year: from.slice(0, 4) });
  if (/year$|^\d{4}$/.test(period)) return t('year', { year: from.slice(0, 4) });
  return range(from, to);
}

function state(t, { kind, closed, closed_days, within, since, running, at }) {
  if (!closed && closed_days) return t('state.other', { at: moment(at), days: closed_days, within });
  if (!closed) return t(running ? 'state.running' : 'state.open', { at: moment(at) });
  if (kind === 'royalties') {
    return [t('state.royalties', { at: moment(closed.at), who: closed.who, code: closed.sha256.slice(0, 6) }),
      closed.late_views && t('state.earlier', { n: closed.late_views }), since && t('state.since', { n: since })].filter(Boolean).join(' ');
  }
  const late = closed.late_visits || closed.late_views ? ` ${t('state.late', { of: month(closed.late_of), visits: closed.late_visits, views: closed.late_views })}` : '';
  return `${t('state.closed', { at: moment(closed.at), who: closed.who, code: closed.sha256.slice(0, 6) })}${late}`;
}

const short = days => (days ? `${date(days.from)} – ${date(days.to)}` : UNKNOWN);

function change(t, figure_, base, gaps) {
  if (figure_.whole === null || base === null) return '';
  if (gaps) return t('compare.not');
  const more = figure_.whole - base;
  const share = base >= LEAST_BASE && more ? ` (${percent(Math.abs(more) / base)})` : '';
  return (more ? t(more > 0 ? 'compare.more' : 'compare.less', { n: Math.abs(more) }) : t('compare.same')) + share;
}

/* ---- the parts of each kind ------------------------------------------------------------------------------------------- */
function summary(page, found) {
  const { t, site } = page;
  const heading = (text, ...children) => [h('h3', {}, text), ...children];
  const { gaps } = found;
  const cell = (figure_, base, missing) => h('td', { class: 'right' }, figure(number(base)), h('span', { class: 'where' }, change(t, figure_, base, missing)));
  const figures = h('table', {}, h('caption', { class: 'unseen' }, t('figures')), h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, t('figure')),
    h('th', { scope: 'col', class: 'right' }, t('now')), found.running && h('th', { scope: 'col', class: 'right side' }, t('whole')),
    h('th', { scope: 'col', class: 'right' }, t('before')), found.year_ago && h('th', { scope: 'col', class: 'right side' }, t('year_ago')))),
  h('tbody', {}, found.figures.map(each => h('tr', {}, h('th', { scope: 'row' }, t(`figure.${each.name}`)),
    h('td', { class: 'right number' }, number(each.now)), found.running && h('td', { class: 'right number side' }, number(each.whole)),
    cell(each, each.before, gaps.whole || gaps.before),
    found.year_ago && h('td', { class: 'right side' }, figure(number(each.year_ago)), h('span', { class: 'where' }, change(t, each, each.year_ago, gaps.whole || gaps.year_ago)))))));
  const compared = found.whole && h('p', { class: 'soft' }, t('compared', { whole: short(found.whole), before: short(found.compared) }),
    ' ', found.year_ago && t('compared.year', { days: short(found.year_ago) }));
  const best = found.best_day && h('p', { class: 'lead' }, ...t.rich('best', { n: figure(number(found.best_day.visits)), day: fullDate(found.best_day.date) }));
  const unknown = found.unknown_days.length > 0 && h('p', { class: 'note' }, t('unknown.days', { n: found.unknown_days.length, days: found.unknown_days.slice(0, 3).map(date).join(', ') + (found.unknown_days.length > 3 ? '…' : '') }));
  const running = found.running && found.days.at(-1)?.date;
  const drawn = found.days.length ? plot({
    label: t('by.day'), legend: [['counted', t('figure.visits')], ...(running ? [['running', t('by.day.running')]] : []), ...(found.unknown_days.length ? [['unknown', t('unknown')]] : [])],
    points: found.days.map((row, i) => ({ tick: i % 5 ? '' : dayOfYear(row.date), value: row.visits, kind: row.visits === null ? 'unknown' : row.date === running ? 'running' : 'counted' })),
    say: i => t('by.day.say', { day: fullDate(found.days[i].date), n: number(found.days[i].visits) }),
  }) : null;
  const table = asTable(t, () => ({
    caption: t('by.day'), head: [t('day'), t('figure.visits'), t('figure.views')], show: number,
    rows: found.days.map(row => [fullDate(row.date), row.visits, row.views]), file: `${site.id}_${found.range.from}.csv`,
  }));
  return [
    best, unknown, framed(figures, t('figures')), compared || h('p', { class: 'soft' }, t('compared.not')),
    ...(drawn ? heading(t('by.day'), drawn.figure, h('p', { class: 'noprint' }, table.button), table.place) : []),
    ...heading(found.articles.length ? t('best.articles', { n: found.articles.length }) : t('best.articles.none'), articles(page, found, row => row.views)),
    h('div', { class: 'halves' }, ...['authors', 'categories'].map(kind => h('div', {}, ...heading(t(`best.${kind}`), groups(t, kind, found[kind], found.selection.views))))),
  ];
}

function articles({ t, link, site, query }, found, value) {
  if (!found.articles.length) return h('p', { class: 'soft' }, t('none'));
  const most = Math.max(1, ...found.articles.map(value));
  return h('ol', {}, found.articles.map((row, i) => h('li', { class: 'rank' }, h('span', { class: 'place number' }, `${i + 1}.`),
    h('span', {}, row.title || row.key, h('span', { class: 'where' }, [row.author, row.category, row.published && date(row.published.slice(0, 10))].filter(Boolean).join(' · '))),
    figure(number(value(row))), measure(value(row) / most))));
}

function groups(t, kind, rows, whole) {
  if (!rows.length) return h('p', { class: 'soft' }, t('none'));
  const id = fresh();
  return framed(h('table', { 'aria-labelledby': id }, h('caption', { class: 'unseen', id }, t(`best.${kind}`)), h('thead', {}, h('tr', {}, h('th', { scope: 'col', class: 'wide' }, t(`one.${kind}`)),
    h('th', { scope: 'col', class: 'right' }, t('articles.n')), h('th', { scope: 'col', class: 'right' }, t('views')), h('th', { scope: 'col', class: 'right side' }, t('share')))),
  h('tbody', {}, rows.map(row => h('tr', {}, h('th', { scope: 'row' }, row.name || t(`nobody.${kind}`)), h('td', { class: 'right number' }, number(row.articles)),
    h('td', { class: 'right number' }, number(row.views)), h('td', { class: 'right number side' }, whole ? percent(row.views / whole) : '')))),
  ), t(`best.${kind}`));
}

const counted = (t, found, key = 'counted') => h('p', { class: 'lead' }, ...t.rich(key, { articles: figure(number(found.selection.articles)), views: figure(number(found.selection.views)), days: found.within }));
const further = (t, shown, all) => all > shown && h('p', { class: 'soft' }, t('further', { shown, all }));

const grouped = kind => (page, found) => {
  const { t } = page;
  return [counted(t, found), groups(t, kind, found.groups, found.selection.views), further(t, found.groups.length, found.groups_in_all)];
};

function royalties(page, found) {
  const { t } = page;
  const growing = found.articles.filter(row => row.over === false).length;
  const rows = found.articles.map(row => h('tr', {}, h('th', { scope: 'row', class: 'wide' }, row.title || row.key, h('span', { class: 'where' }, row.author || t('nobody.authors'))),
    h('td', { class: 'right number side' }, row.published ? date(row.published.slice(0, 10)) : UNKNOWN), h('td', { class: 'right number' }, number(row.within), found.closed && row.before ? h('span', { class: 'where' }, t('had', { n: number(row.before) })) : ''),
    h('td', { class: 'right side' }, row.until ? date(row.until) : UNKNOWN, row.over === false && h('span', { class: 'where' }, t(found.closed ? 'not.over.closed' : 'not.over')))));
  return [
    counted(t, found, found.closed ? 'counted.due' : 'counted.royalties'), growing > 0 && h('p', { class: 'note' }, t(found.closed ? 'growing.closed' : 'growing', { days: found.within })),
    h('h3', {}, t('best.authors')), groups(t, 'authors', found.groups, found.selection.views), further(t, found.groups.length, found.groups_in_all),
    h('h3', {}, t('articles')), rows.length ? framed(h('table', {}, h('caption', { class: 'unseen' }, t('articles')), h('thead', {}, h('tr', {}, h('th', { scope: 'col', class: 'wide' }, t('article')),
      h('th', { scope: 'col', class: 'right side' }, t('published')), h('th', { scope: 'col', class: 'right' }, t('views.within', { days: found.within })), h('th', { scope: 'col', class: 'right side' }, t('until')))), h('tbody', {}, rows)), t('articles')) : h('p', { class: 'soft' }, t('none')),
    further(t, found.articles.length, found.selection.articles),
  ];
}

const PARTS = {
  summary, royalties, authors: grouped('authors'), categories: grouped('categories'),
  articles: (page, found) => [counted(page.t, found), articles(page, found, row => row.views), further(page.t, found.articles.length, found.selection.articles)],
};
