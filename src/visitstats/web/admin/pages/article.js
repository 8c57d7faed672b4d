/* One article: when it was read, what it is called and how far that can be trusted, its other addresses, why its key. */
import { get } from '../api.js';
import { choice, h, webAddress } from '../dom.js';
import { UNKNOWN, date, daysFrom, fullDate, month, number, time } from '../format.js';
import { asTable, plot } from '../plot.js';

const FACTS = ['author', 'category', 'published'];
const FIRST = 62;
const LAST = 90;
const WITHIN = 30;
const RANGES = ['first', 'last', 'months'];

export default async function article(page) {
  const { t, root, site, query } = page;
  const head = page.head(t('title'));
  const place = h('div');
  root.append(place);
  const path = `admin/sites/${encodeURIComponent(site.id)}`;
  const key = query.get('key') ?? '';
  await page.load(place, s => get(`${path}/article`, { key }, s), found => {
    const title = found.facts.title.value || found.key;
    head.firstChild.textContent = title;
    head.firstChild.setAttribute('dir', 'auto');
    page.entitle(title);
    place.replaceWith(facts(found), views(found), history(found), ...names(found), why(found));
  });

  function facts(found) {
    const address = webAddress(found.facts.url.value);
    const told = (name, value) => h('div', {}, h('dt', {}, t(`fact.${name}`)), h('dd', { dir: 'auto' }, value || t('fact.none'),
      value ? h('span', { class: 'soft' }, ` · ${t(`standing.${found.facts[name].standing}`)}`) : ''));
    return h('section', { class: 'sheet', 'aria-label': t('about') },
      found.hidden && h('p', { class: 'note' }, t('hidden')),
      h('p', { class: 'lead' }, address ? h('a', { href: address, rel: 'noreferrer noopener', target: '_blank' }, found.key) : found.key),
      h('dl', { class: 'facts' }, h('div', {}, h('dt', {}, t('fact.title')), h('dd', { dir: 'auto' }, found.facts.title.value || t('fact.none'),
        found.facts.title.value ? h('span', { class: 'soft' }, ` · ${t(`standing.${found.facts.title.standing}`)}`) : '')),
      FACTS.map(name => told(name, name === 'published' && found.facts[name].value ? date(found.facts[name].value.slice(0, 10)) : found.facts[name].value)),
      found.type && h('div', {}, h('dt', {}, t('fact.type')), h('dd', {}, found.type))),
      page.may('editor') && h('p', { class: 'actions end' }, ['adjust', 'rename', 'merge'].map(part =>
        h('a', { class: 'button', href: page.link('corrections', { part, key: found.key }) }, t(`to.${part}`)))));
  }

  function views(found) {
    const within = h('span', { class: 'number' }, '—');
    const note = h('span', { class: 'soft' }, t('within.note'));
    const recent = h('span', { class: 'number' }, '—');
    const made = page.sheet(t('views'), h('dl', { class: 'figures' },
      h('div', {}, h('dt', {}, t('total')), h('dd', {}, h('span', { class: 'number' }, number(found.total)),
        h('span', { class: 'soft' }, found.baseline ? t('total.note', { n: found.baseline }) : t('total.all')))),
      h('div', {}, h('dt', {}, t('recent')), h('dd', {}, recent, h('span', { class: 'soft' }, t('recent.note')))),
      h('div', {}, h('dt', {}, t('within')), h('dd', {}, within, note))));
    const today = found.at.slice(0, 10);
    const published = found.facts.published.value.slice(0, 10);
    page.refresh(note, s => get(`${path}/articles`, { key: found.key, hidden: 1, within: WITHIN, from: daysFrom(today, 1 - WITHIN), to: today }, s), ({ articles }) => {
      recent.textContent = number(articles[0]?.views ?? 0);
      within.textContent = number(articles[0]?.within);
      note.textContent = t(typeof articles[0]?.within === 'number' ? 'within.note' : 'within.none');
      if (typeof articles[0]?.within === 'number') page.refresh(note, s => get(`${path}/history`, { from: published, to: daysFrom(published, WITHIN - 1) }, s), counted);
    });
    /** Views from before the site was counted are unknown, which is not the same as 0. */
    function counted({ rows }) {
      if (!rows.length) {
        within.textContent = UNKNOWN;
        note.textContent = t('within.before');
      } else if (rows[0].name > published) note.textContent = t('within.partly', { day: date(rows[0].name) });
    }
    return made;
  }

  function history(found) {
    let chosen = RANGES.includes(query.get('range')) ? query.get('range') : 'last';
    let asked = chosen;
    let rows = [];
    let drawn;
    let table;
    const lead = h('p', { class: 'lead told' }, '\u00a0');
    const area = h('div', { class: 'plot-place' });
    const picker = choice('range', t('range'), RANGES.map(name => [name, t(`range.${name}`)]), chosen, value => {
      chosen = value;
      page.remember({ key: query.get('key'), range: value !== 'last' && value });
      page.load(area, read, show);
    });
    const sheet = page.sheet(t('history'), picker, lead, area);
    const today = found.at.slice(0, 10);
    const named = name => (name.length === 7 ? t('month', { month: month(name) }) : fullDate(name));
    const runs = name => today.startsWith(name);
    async function read(signal) {
      const wanted = chosen;
      const ask = q => get(`${path}/articles/history`, { key: found.key, ...q }, signal);
      if (wanted === 'months') return { wanted, rows: (await ask({ by: 'month' })).rows };
      if (wanted === 'last') return { wanted, rows: (await ask({ from: daysFrom(today, 1 - LAST) })).rows };
      const began = (await ask({ by: 'day' })).rows;
      return { wanted, rows: began.slice(0, FIRST) };
    }
    function options() {
      const say = i => t(runs(rows[i].name) ? 'say.running' : 'say', { day: named(rows[i].name), n: rows[i].views, time: time(found.at) });
      const tick = (name, i) => (name.length === 7 ? month(name) : i === 0 || ['01', '15'].includes(name.slice(8)) ? date(name).slice(0, -5) : '');
      const points = rows.map((row, i) => ({ tick: tick(row.name, i), value: row.views, kind: runs(row.name) ? 'running' : 'counted' }));
      return { label: t('history'), points, say, legend: [['counted', t('counted')], ...(points.some(point => point.kind === 'running') ? [['running', t(asked === 'months' ? 'running.month' : 'running.day')]] : [])] };
    }
    function show({ wanted, rows: read_ }) {
      if (wanted !== chosen) return;
      asked = wanted;
      rows = read_;
      const sum = rows.reduce((total, row) => total + row.views, 0);
      lead.textContent = t(`sum.${asked}`, { n: sum, days: rows.length });
      if (!drawn) {
        drawn = plot(options());
        table = asTable(t, () => ({ caption: t('history'), head: [t(asked === 'months' ? 'head.month' : 'head.day'), t('views')], rows: [...rows].reverse().map(row => [named(row.name), row.views]), show: number, file: `${site.id}_bai-viet_${asked}.csv` }));
        sheet.head.append(table.button);
      }
      area.replaceChildren(drawn.figure, table.place);
      drawn.set(options());
      table.renew();
    }
    page.load(area, read, show);
    return sheet;
  }

  function names(found) {
    const made = [];
    if (found.claims.length) {
      made.push(page.sheet(t('claims'), h('p', { class: 'soft lead' }, t('claims.lead')), h('table', {}, h('caption', { class: 'unseen' }, t('claims')),
        h('thead', {}, h('tr', {}, ['fact', 'value', 'networks', 'day'].map(name => h('th', { scope: 'col', class: name === 'networks' ? 'right' : null }, t(`claims.${name}`))))),
        h('tbody', {}, found.claims.map(each => h('tr', {}, h('th', { scope: 'row' }, t(`fact.${each.fact}`)), h('td', { dir: 'auto' }, each.value === '=' ? t('claims.usual') : each.value),
          h('td', { class: 'right number' }, number(each.networks)), h('td', { class: 'number' }, date(each.day))))))));
    }
    if (found.aliases_in_all) {
      made.push(page.sheet(t('aliases'), h('p', { class: 'soft lead' }, t('aliases.lead', { n: found.aliases_in_all })),
        h('ul', { class: 'addresses' }, found.aliases.map(each => h('li', { class: 'where' }, each)))));
    }
    return made;
  }

  const rule = name => t(t.has(`rule.${name.replaceAll(' ', '-')}`) ? `rule.${name.replaceAll(' ', '-')}` : 'rule.other', { rule: name });
  function why(found) {
    const steps = h('div');
    const sheet = page.sheet(t('why'), h('p', { class: 'lead' }, t('why.lead')), h('p', { class: 'where lead' }, found.key), steps);
    const address = found.facts.url.value;
    if (!address) return sheet;
    const details = h('details', { ontoggle: () => { if (details.open && !steps_.firstChild) look(); } }, h('summary', {}, t('why.steps')));
    const steps_ = h('div');
    details.append(steps_);
    steps.append(details);
    const look = () => page.load(steps_, s => get(`${path}/key`, { url: address }, s), told => {
      steps_.replaceChildren(h('p', { class: 'where' }, told.url), told.refused ? h('p', { class: 'note' }, t('why.refused')) : h('p', { class: 'where' }, `→ ${told.key}`),
        h('ol', { class: 'trace' }, told.steps.filter(step => step.changed).map(step => h('li', {}, rule(step.rule), h('br'), h('span', { class: 'where' }, `${step.before} → ${step.after}`)))));
    });
    return sheet;
  }
}
