/* Tables of the numbers of a plot, to read, to copy, or to save as CSV. */
import { save } from './api.js';
import { copy, framed, h, svg } from './dom.js';

/** The head of a column. `sort` = { by, now: "ascending" | "descending" | "", act } makes it a button. */
export function column(text, { sort, ...attributes } = {}) {
  if (!sort) return h('th', { scope: 'col', ...attributes }, text);
  const paths = { ascending: 'M5 0 10 7H0z', descending: 'M5 14 0 7h10z', '': 'M5 0 9 5H1zM5 14 1 9h8z' };
  return h('th', { scope: 'col', 'aria-sort': sort.now || null, ...attributes },
    h('button', { type: 'button', onclick: sort.act, 'data-sort': sort.by }, text,
      svg('svg', { class: sort.now ? null : 'off', viewBox: '0 0 10 14', 'aria-hidden': 'true' }, svg('path', { d: paths[sort.now] }))));
}

/** A cell of a CSV for Excel; a text that a spreadsheet would run is made harmless. */
const cell = value => {
  const text = value === null || value === undefined ? '' : String(value);
  const safe = typeof value === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[";\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};
export const csv = rows => `\ufeff${rows.map(row => row.map(cell).join(';')).join('\r\n')}\r\n`;

/** A table with the buttons under it: copy, CSV. `told` is the object that `read` of `asTable` (plot.js) returns. */
export function numbers(t, { caption, head, rows, show, file }) {
  const said = h('span', { class: 'soft', role: 'status' });
  const plainRows = [head, ...rows];
  return [
    framed(h('table', {}, h('caption', {}, caption),
      h('thead', {}, h('tr', {}, head.map((text, i) => column(text, { class: i ? 'right' : null })))),
      h('tbody', {}, rows.map(([label, ...values]) => h('tr', {}, h('th', { scope: 'row' }, label),
        values.map(value => h('td', { class: 'right number' }, typeof value === 'string' ? value : show(value))))))), caption),
    h('div', { class: 'end' },
      h('button', { class: 'button', type: 'button', onclick: async () => {
        await copy(plainRows.map(row => row.map(value => value ?? '').join('\t')).join('\n'));
        said.textContent = t('table.copied');
      } }, t('table.copy')),
      h('button', { class: 'button', type: 'button', onclick: () => save(new Blob([csv(plainRows)], { type: 'text/csv;charset=utf-8' }), file) }, t('table.csv')), said),
  ];
}
