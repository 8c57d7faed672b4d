/* A site at a glance: the numbers of its box, today by hour, its days, months and years, and their background. */
import { follow, get } from '../api.js';
import { choice, figure, h, whileSeen } from '../dom.js';
import { compared, date, dayOfYear, daysFrom, decimal, fullDate, month, monthsBack, moment, number, range, seconds, signed, time } from '../format.js';
import { asTable, measure, plot } from '../plot.js';

const MINUTE = 60_000;
const REPAINT = 1000;
const LINES = ['online', 'today', 'week', 'month', 'total'];
const RANGES = { 30: 'day', 90: 'day', 12: 'month', years: 'year' };
const TOP = 7;
const CHANGES = 5;

export default async function overview(page) {
  const { t, root } = page;
  page.head(t('nav.overview'), h('p', { class: 'soft live-line' }, h('span', { class: 'live hollow' }, t('live.on', { time: '--:--:--' })), ' ',
    h('button', { class: 'button plain', type: 'button' }, t('live.stop'))));
  const now = await box(page);
  if (!now || now.empty) return;
  for (const draw of [hours, days]) draw(page, now);
  const beside = h('div');
  root.append(h('div', { class: 'pair' }, top(page), beside));
  beside.append(ignored(page, now));
  if (page.may('editor')) beside.append(changes(page));
}

/* ---- the numbers of the box ----------------------------------------------------------------------------------------- */
async function box(page) {
  const { t, root, site, signal } = page;
  const cells = Object.fromEntries(LINES.map(name => [name, {
    value: h('span', { class: 'number' }, '—'), note: h('span', { class: 'soft' }, '\u00a0'),
  }]));
  const list = h('dl', { class: 'figures compares' }, LINES.map(name => h('div', {},
    h('dt', {}, t(`line.${name}`)), h('dd', {}, cells[name].value, cells[name].note))));
  const nothing = h('p', { class: 'lead', hidden: true }, t('new.site', { id: site.id }));
  const sheet = page.sheet(t('box'), nothing, list);
  root.append(sheet);
  const line = root.querySelector('.live-line');
  const [said, stopper] = line.children;
  let data = null;
  let numbers = null;
  let [state, stopped, painted, empty] = ['live', false, 0, false];
  function paint() {
    painted = Date.now();
    said.textContent = t(stopped ? 'live.stopped' : state === 'live' ? 'live.on' : 'live.lost', { time: seconds(numbers.at) });
    said.classList.toggle('hollow', stopped || state !== 'live');
    said.dataset.at = time(numbers.at);
    nothing.hidden = Boolean(numbers.total);
    if (empty && numbers.total) dispatchEvent(new Event('hashchange')); // the first visit: now there is something to show
    for (const name of LINES) cells[name].value.textContent = number(numbers[name]);
    cells.online.note.textContent = t('line.online.note');
    for (const name of ['today', 'week', 'month']) {
      const { then, change } = compared(t, numbers[name], data.before[name], data.box);
      cells[name].note.replaceChildren(...(then === null ? [change] : [t(`line.${name}.before`, { then }), h('br'), change]));
    }
    cells.total.note.textContent = data.baseline ? t('line.total.note', { n: data.baseline }) : t('line.total.all');
  }
  const listeners = [];
  const take = found => { data = found; numbers = { ...found.numbers, at: found.at }; paint(); for (const each of listeners) each(found); };
  const path = `admin/sites/${encodeURIComponent(site.id)}/now`;
  const failed = h('div');
  sheet.append(failed);
  const found = await page.load(failed, s => get(path, {}, s), value => { failed.remove(); take(value); return value; });
  if (!found) return null;
  empty = !numbers.total;
  let own;
  function start() {
    own = new AbortController();
    signal.addEventListener('abort', () => own.abort());
    let waiting = null;
    follow(`sites/${encodeURIComponent(site.id)}/live`, own.signal, event => {
      numbers = event;
      clearTimeout(waiting);
      waiting = setTimeout(paint, Math.max(0, REPAINT - (Date.now() - painted)));
    }, next => { if (next !== state) { state = next; if (!own.signal.aborted) paint(); } });
    whileSeen(MINUTE, own.signal, () => page.refresh(said, s => get(path, {}, s), take));
  }
  stopper.addEventListener('click', () => {
    stopped = !stopped;
    stopper.textContent = t(stopped ? 'live.start' : 'live.stop');
    if (stopped) own.abort();
    else start();
    paint();
  });
  start();
  return { empty, get data() { return data; }, get numbers() { return numbers; }, listen: f => listeners.push(f), kind: data.box };
}

const rowsOf = (page, query) => get(`admin/sites/${encodeURIComponent(page.site.id)}/history`, query, page.signal);

/* ---- today by hour -------------------------------------------------------------------------------------------------- */
function hours(page, now) {
  const { t, root, site } = page;
  const kind = now.kind;
  const against = h('div');
  const lead = h('p', { class: 'lead told' }, '\u00a0');
  let other = page.query.get('against') === 'week' ? 'week' : 'day';
  const place = h('div', { class: 'plot-place' });
  const sheet = page.sheet(t('hours'), against, lead, place);
  root.append(sheet);
  let [drawn, table] = [];
  let rows = { today: [], before: [] };
  const hour = name => Number(name.slice(11));
  const span = n => `${String(n).padStart(2, '0')}:00–${String(n).padStart(2, '0')}:59`;
  function options() {
    const at = now.data.at;
    const whole = Math.max(24, ...[...rows.today, ...rows.before].map(row => hour(row.name) + 1).filter(Number.isFinite));
    const find = (list, n) => list.find(row => hour(row.name) === n);
    const running = hour(at.slice(0, 13));
    const points = Array.from({ length: whole }, (_, n) => {
      const row = find(rows.today, n);
      const state = !row ? 'future' : row.kind === 'running' ? 'running' : row[kind] === null ? 'unknown' : 'counted';
      return { tick: n % 3 ? '' : t('hour', { n }), value: row ? row[kind] : null, kind: state };
    });
    const ghost = points.map((_, n) => find(rows.before, n)?.[kind] ?? null);
    const told = t(`against.${other}.name`);
    const say = n => {
      const then = ghost[n] === null ? t('unknown.short') : t(`n.${kind}`, { n: ghost[n] });
      if (points[n].kind === 'future') return t('hours.future', { span: span(n), told, then });
      const mine = points[n].value === null ? t('unknown.short') : t(`n.${kind}`, { n: points[n].value });
      return t(points[n].kind === 'running' ? 'hours.running' : 'hours.over', { span: span(n), mine, told, then, time: time(at) });
    };
    const legend = [['counted', t('today')], ['running', t('hours.legend.running')], ['ghost', told]];
    if (points.some(point => point.kind === 'unknown')) legend.push(['unknown', t('unknown')]);
    return { label: t('hours.label'), points, ghost, say, legend, start: Math.min(Math.max(running, 0), whole - 1) };
  }
  function tell() {
    const before = now.data.before[other === 'week' ? 'weekday' : 'today'];
    const mine = now.data.numbers.today;
    const values = { time: time(now.data.at), n: figure(number(mine)), what: t(`what.${kind}`) };
    const then = before[kind];
    if (then === null || before.known !== 'yes' || mine === null) lead.replaceChildren(...t.rich('hours.alone', values));
    else lead.replaceChildren(...t.rich(mine === then ? 'hours.same' : mine > then ? 'hours.more' : 'hours.less',
      { ...values, told: t(`against.${other}.same`), d: figure(before.estimate ? t('compare.about', { n: Math.abs(mine - then) }) : number(Math.abs(mine - then))) }));
  }
  function draw() {
    if (!drawn) {
      drawn = plot(options());
      table = asTable(t, () => {
        const { points, ghost } = options();
        return {
          caption: t('hours.label'), head: [t('hours.head'), t('today'), t(`against.${other}.name`)], show: number,
          rows: points.map((point, n) => [span(n), point.kind === 'future' ? '' : point.value, ghost[n]]), file: `${site.id}_gio_${now.data.at.slice(0, 10)}.csv`,
        };
      });
      place.append(drawn.figure, table.place);
      sheet.head.append(table.button);
    } else {
      drawn.set(options());
      table.renew();
    }
    tell();
  }
  async function read() {
    const today = now.data.at.slice(0, 10);
    const then = daysFrom(today, other === 'week' ? -7 : -1);
    const [mine, before] = await Promise.all([today, then].map(day => rowsOf(page, { by: 'hour', from: day, to: day })));
    const known = list => list.filter(row => Number.isFinite(hour(row.name)));
    return { today: known(mine.rows), before: known(before.rows) };
  }
  const renew = found => { rows = found; draw(); };
  against.replaceChildren(choice('against', t('against'), ['day', 'week'].map(name => [name, t(`against.${name}`)]), other, value => {
    other = value;
    page.remember({ range: page.query.get('range'), against: other === 'week' && other });
    page.load(place, read, renew);
  }));
  page.load(place, read, renew);
  now.listen(() => drawn && page.refresh(h('p'), read, renew));
}

/* ---- days, months, years -------------------------------------------------------------------------------------------- */
function days(page, now) {
  const { t, root, site } = page;
  const kind = now.kind;
  let chosen = RANGES[page.query.get('range')] ? page.query.get('range') : '90';
  const lead = h('p', { class: 'lead told' }, '\u00a0');
  const record = h('p', { class: 'soft lead' }, '\u00a0');
  const picker = h('div');
  const place = h('div', { class: 'plot-place' });
  const sheet = page.sheet('', picker, lead, place, record);
  root.append(sheet);
  const heading = sheet.querySelector('h2');
  let [drawn, table] = [];
  let rows = [];
  let since = '';
  let asked = chosen;
  const named = name => (name.length === 10 ? fullDate(name) : name.length === 7 ? t('month', { month: month(name) }) : t('year', { year: name }));
  const tick = (name, i) => (name.length === 4 ? name : name.length === 7 ? month(name)
    : i === 0 || ['01', '15'].includes(name.slice(8)) ? dayOfYear(name) : '');
  function options() {
    const points = rows.map((row, i) => ({
      tick: tick(row.name, i), value: row[kind], kind: row.kind, imported: row.imported[kind], marked: row.corrected[kind] !== 0,
    }));
    const say = i => {
      const row = rows[i];
      const day = named(row.name);
      if (row[kind] === null) return t('days.unknown', { day });
      const n = t(`n.${kind}`, { n: row[kind] });
      const by = row.kind === 'imported' ? 'days.imported' : row.kind === 'running' ? 'days.running' : row.known === 'yes' ? 'days.over' : 'days.partly';
      return [t(by, { day, n, time: time(now.data.at) }),
        ...(row.imported[kind] && row.kind !== 'imported' ? [t('days.part', { n: number(row.imported[kind]) })] : []),
        ...(row.corrected[kind] ? [t('days.corrected', { n: signed(row.corrected[kind]) })] : [])].join('; ');
    };
    const legend = [['counted', t('counted')], ['running', t(`running.${RANGES[asked]}`)]];
    if (points.some(point => point.value === null)) legend.push(['unknown', t('unknown')]);
    if (points.some(point => point.imported)) legend.push(['imported', t('imported')]);
    const change = since ? rows.findIndex(row => row.name >= since.slice(0, row.name.length)) : -1;
    if (change > 0) legend.push(['change', t('changed', { day: fullDate(since) })]);
    if (points.some(point => point.marked)) legend.push(['mark', page.may('editor') ? h('a', { href: page.link('audit') }, t('corrected')) : t('corrected')]);
    return { label: t(`range.${asked}.title`), points, say, legend, change: change > 0 ? change : -1 };
  }
  function tell() {
    // Averages and records use this counter only; the numbers of an older counter are not included.
    const own = rows.filter(row => !row.imported[kind]);
    const whole = own.filter(row => row.kind === 'counted' && row.known === 'yes');
    const gaps = own.filter(row => row.kind !== 'running' && row.known !== 'yes').length;
    const highest = own.reduce((best, row) => (row[kind] > (best?.[kind] ?? 0) ? row : best), null);
    const sum = whole.reduce((total, row) => total + row[kind], 0);
    const unit = RANGES[asked];
    lead.replaceChildren(...(whole.length ? t.rich(gaps ? `mean.${unit}.gaps` : `mean.${unit}`, { n: figure(whole.length && sum / whole.length < 10 ? decimal(sum / whole.length) : number(Math.round(sum / whole.length))), gaps }) : [t('mean.none')]),
      ...(highest ? [' ', ...t.rich('highest', { n: figure(number(highest[kind])), day: named(highest.name) })] : []));
  }
  function draw() {
    heading.textContent = t(`range.${asked}.title`);
    if (!drawn) {
      drawn = plot(options());
      table = asTable(t, () => ({
        caption: t(`range.${asked}.title`), head: [t(`head.${RANGES[asked]}`), t('visits'), t('views'), t('uniques')], show: number,
        rows: [...rows].reverse().map(row => [named(row.name), row.visits, row.views, row.uniques]), file: `${site.id}_${asked}_${now.data.at.slice(0, 10)}.csv`,
      }));
      place.append(drawn.figure, table.place);
      sheet.head.append(table.button);
    } else {
      drawn.set(options());
      table.renew();
    }
    tell();
  }
  async function read() {
    const today = now.data.at.slice(0, 10);
    const by = RANGES[chosen];
    const from = by === 'day' ? daysFrom(today, 1 - Number(chosen)) : by === 'month' ? monthsBack(today, Number(chosen) - 1) : '';
    const wanted = chosen;
    return { wanted, found: await rowsOf(page, { by, from }) };
  }
  const renew = ({ wanted, found }) => { if (wanted === chosen) { asked = wanted; rows = found.rows; since = found.changed ?? ''; draw(); } };
  heading.textContent = t(`range.${chosen}.title`);
  picker.append(choice('range', t('range'), ['30', '90', '12', 'years'].map(name => [name, t(`range.${name}`)]), chosen, value => {
    chosen = value;
    page.remember({ range: chosen !== '90' && chosen, against: page.query.get('against') });
    page.load(place, read, renew);
  }));
  page.load(place, read, renew);
  page.load(record, s => get(`admin/sites/${encodeURIComponent(site.id)}/records`, {}, s), found => {
    const best = now.numbers.record ? t('record', { n: now.numbers.record, day: fullDate(now.numbers.record_date) }) : '';
    const peak = found.peak ? t('peak', { n: found.peak.online, at: moment(found.peak.at) }) : '';
    record.textContent = [best, peak].filter(Boolean).join(' ');
  });
}

/* ---- below ---------------------------------------------------------------------------------------------------------- */
function top(page) {
  const { t, site } = page;
  const place = h('div', { class: 'ranks' });
  const lead = h('p', { class: 'soft lead' }, '\u00a0');
  const sheet = page.sheet(t('top'), lead, place);
  sheet.head.append(h('a', { href: page.link('articles', { period: 'last-week' }) }, t('top.all')));
  page.load(place, s => get(`admin/sites/${encodeURIComponent(site.id)}/articles`, { period: 'last-week', limit: TOP }, s), found => {
    lead.textContent = t('top.range', { range: range(found.range.from, found.range.to) });
    const most = found.articles[0]?.views ?? 0;
    place.replaceChildren(found.articles.length ? h('ol', {}, found.articles.map((each, i) => h('li', { class: 'rank' }, h('span', { class: 'place number' }, `${i + 1}.`),
      h('a', { dir: 'auto', href: page.link('article', { key: each.key }) }, each.title || each.key), figure(number(each.views)), measure(each.views / most))))
      : h('p', { class: 'soft' }, t('top.none')));
  });
  return sheet;
}

function ignored(page, now) {
  const { t, site } = page;
  const place = h('div');
  const sheet = page.sheet(t('ignored'), h('p', { class: 'soft lead' }, t('ignored.lead', { time: time(now.data.at) })), place);
  page.load(place, s => get(`admin/sites/${encodeURIComponent(site.id)}/ignored`, {}, s), found => {
    const rest = { ...found.ignored };
    const rows = [];
    if (found.search_engines) {
      rows.push(['search', found.search_engines]);
      rest.bot = Math.max(0, (rest.bot ?? 0) - found.search_engines);
    }
    for (const [reason, n] of Object.entries(rest).sort((a, b) => b[1] - a[1])) if (n) rows.push([reason, n]);
    place.replaceChildren(rows.length ? h('table', {}, h('caption', { class: 'unseen' }, t('ignored')),
      h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, t('reason')), h('th', { scope: 'col', class: 'right' }, t('times')))),
      h('tbody', {}, rows.map(([reason, n]) => h('tr', {}, h('th', { scope: 'row' }, t(t.has(`reason.${reason}`) ? `reason.${reason}` : 'reason.other')),
        h('td', { class: 'right number' }, number(n)))))) : h('p', { class: 'soft' }, t('ignored.none')));
  });
  return sheet;
}

function changes(page) {
  const { t, site } = page;
  const place = h('div');
  const sheet = page.sheet(t('changes'), place);
  const told = each => t(t.has(`change.${each.kind}`) ? `change.${each.kind}` : 'change.other', { from: each.from || t('the.site'), into: each.into ?? '', n: each.views ?? 0, period: date(each.period ?? ''), id: each.undoes ?? '' });
  page.load(place, s => get(`admin/sites/${encodeURIComponent(site.id)}/audit`, { limit: CHANGES }, s), found => {
    place.replaceChildren(found.changes.length ? h('ul', {}, found.changes.map(each => h('li', { class: 'rank' }, h('span', { class: 'place', 'aria-hidden': 'true' }, '•'),
      h('span', {}, told(each),
        h('br'), h('span', { class: 'soft' }, t('change.by', { who: each.who, at: moment(each.at) }), each.undone_by ? ` · ${t('change.undone')}` : '')))))
      : h('p', { class: 'soft' }, t('changes.none')));
  });
  return sheet;
}
