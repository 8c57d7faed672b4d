/* Who has changed which numbers, and why? */
import { get } from '../api.js';
import { at, listed, steps, takeBack, what } from '../changing.js';
import { framed, fresh, h, later } from '../dom.js';
import { moment } from '../format.js';

const ROWS = 50;
const KINDS = ['adjust', 'reset', 'merge', 'alias', 'rename', 'type', 'hide', 'unhide', 'accept', 'close', 'reopen', 'import', 'baseline', 'prune', 'settings', 'undo'];

export default async function audit(page) {
  const { t } = page;
  page.head(t('nav.audit'));
  const chosen = { kind: page.query.get('kind') ?? '', who: page.query.get('who') ?? '', article: page.query.get('article') ?? '' };
  const said = h('div', {});
  const place = h('div', {});
  const sheet = page.sheet(t('question'), filters(), said, place);
  page.root.append(sheet);
  let rows = [];

  function filters() {
    const kind = h('select', { id: fresh() }, h('option', { value: '' }, t('kind.any')), KINDS.map(name => h('option', { value: name, selected: chosen.kind === name }, t(`kind.${name}`))));
    const field = (name, type) => h('input', { id: fresh(), type, value: chosen[name], autocomplete: 'off', spellcheck: 'false' });
    const who = field('who', 'search');
    const article = field('article', 'search');
    const again = () => {
      Object.assign(chosen, { kind: kind.value, who: who.value.trim(), article: article.value.trim() });
      page.remember(chosen);
      read();
    };
    kind.addEventListener('change', again);
    for (const each of [who, article]) each.addEventListener('input', later(400, again));
    const pick = (input, name, size) => h('div', { class: `pick ${size}` }, h('label', { for: input.id }, t(name)), input);
    return h('form', { class: 'filters', onsubmit: event => { event.preventDefault(); again(); } },
      pick(kind, 'filter.kind', 'c3'), pick(who, 'filter.who', 'c3'), pick(article, 'filter.article', 'c5 wide'));
  }

  const ask = (cursor, signal) => get(`${at(page)}audit`, { ...chosen, limit: ROWS, cursor }, signal);

  function row(change) {
    const undoing = change.kind === 'undo' ? '' : change.kind === 'settings'
      ? h('span', { class: 'soft' }, ...t.rich('settings.back', { settings: h('a', { href: page.link('settings') }, t('nav.settings')) }))
      : change.undone_by
      ? h('span', { class: 'soft' }, t('undone', { who: change.undone?.who ?? '', time: change.undone ? moment(change.undone.at) : '' }))
      : change.kind === 'reset' && !page.may('admin') ? '' : h('button', {
        class: 'button', type: 'button', 'aria-label': t('undo.of', { what: what(t, change) }), onclick: () => takeBack(page, change, said, () => read()),
      }, t('undo.start'));
    return h('tr', {}, h('td', { class: 'side' }, moment(change.at)), h('td', { class: 'side' }, change.who),
      h('th', { scope: 'row' }, what(t, change), h('span', { class: 'where' }, change.id), h('span', { class: 'more' }, [moment(change.at), change.who, change.why].filter(Boolean).join(' · '), listed(t, change))),
      h('td', { class: 'side' }, listed(t, change)), h('td', { class: 'side' }, change.why), h('td', {}, undoing));
  }

  function show(found) {
    const body = h('tbody', {});
    const end = h('div', { class: 'end' });
    rows = [];
    const head = ['when', 'who', 'what', 'steps', 'why', 'undo'].map((name, i) => h('th', { scope: 'col', class: [0, 1, 3, 4].includes(i) ? 'side' : null }, t(`head.${name}`)));
    const add = (more, focus) => {
      rows.push(...more.changes);
      const made = more.changes.map(row);
      body.append(...made);
      if (focus) made[0]?.querySelector('button')?.focus();
      end.replaceChildren(
        more.cursor ? h('button', { class: 'button', type: 'button', onclick: () => page.load(h('div'), signal => ask(more.cursor, signal), next => add(next, true)) }, t('more')) : '',
        h('button', { class: 'button', type: 'button', onclick: file }, t('csv')),
        more.damaged ? h('p', { class: 'warn' }, t('damaged', { n: more.damaged })) : '');
    };
    if (!found.changes.length && !found.cursor) {
      place.replaceChildren(h('p', { class: 'soft' }, t(Object.values(chosen).some(Boolean) ? 'none.match' : 'none')));
      return;
    }
    const frame = framed(h('table', {}, h('caption', { class: 'unseen' }, t('nav.audit')), h('thead', {}, h('tr', {}, head)), body), t('nav.audit'));
    frame.classList.add('log');
    place.replaceChildren(frame, end);
    add(found);
  }

  async function file() {
    const { csv } = await import('../table.js');
    const { save } = await import('../api.js');
    const lines = rows.map(each => [moment(each.at), each.who, what(t, each), steps(t, each).map(([name, before, after]) => `${name}: ${before} → ${after}`).join('\n'),
      each.why, each.undone ? t('undone', { who: each.undone.who, time: moment(each.undone.at) }) : '', each.id]);
    save(new Blob([csv([['when', 'who', 'what', 'steps', 'why', 'undo', 'id'].map(name => t(`head.${name}`)), ...lines])], { type: 'text/csv;charset=utf-8' }), `${page.site.id}_${t('file')}.csv`);
  }

  const read = () => page.load(place, signal => ask('', signal), show);
  await read();
}
