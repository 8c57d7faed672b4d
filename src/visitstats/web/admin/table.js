/* Tables of numbers: the same numbers as a plot's, to read, to copy, to take along. */
import { save } from './api.js';
import { h, svg } from './dom.js';

/** A table that scrolls sideways in a frame of its own where it is too wide; the frame can be focused and has a name. */
export function framed(table, label) {
  const frame = h('div', { class: 'scroll' }, table);
  const look = () => {
    const wide = frame.scrollWidth > frame.clientWidth + 1;
    for (const [name, value] of [['tabindex', '0'], ['role', 'region'], ['aria-label', label]]) {
      if (wide) frame.setAttribute(name, value);
      else frame.removeAttribute(name);
    }
  };
  new ResizeObserver(look).observe(frame);
  return frame;
}

/** The head of a column. `sort` = { by, now: "ascending" | "descending" | "", act } makes it a button. */
export function column(text, { sort, ...attributes } = {}) {
  if (!sort) return h('th', { scope: 'col', ...attributes }, text);
  const paths = { ascending: 'M5 0 10 7H0z', descending: 'M5 14 0 7h10z', '': 'M5 0 9 5H1zM5 14 1 9h8z' };
  return h('th', { scope: 'col', 'aria-sort': sort.now || null, ...attributes },
    h('button', { type: 'button', onclick: sort.act, 'data-sort': sort.by }, text,
      svg('svg', { class: sort.now ? null : 'off', viewBox: '0 0 10 14', 'aria-hidden': 'true' }, svg('path', { d: paths[sort.now] }))));
}

/** Puts a text on the clipboard, on plain http too. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return;
  } catch { /* missing outside of https, or refused */ }
  const field = h('textarea', { class: 'unseen', 'aria-hidden': 'true', tabindex: -1 });
  field.value = text;
  const before = document.activeElement;
  (document.querySelector('dialog[open]') ?? document.body).append(field);
  field.select();
  document.execCommand('copy');
  field.remove();
  before?.focus();
}

/** A cell of a CSV for Excel; a text that a spreadsheet would run is made harmless. */
const cell = value => {
  const text = value === null || value === undefined ? '' : String(value);
  const safe = typeof value === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[";\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};
export const csv = rows => `\ufeff${rows.map(row => row.map(cell).join(';')).join('\r\n')}\r\n`;

/**
 * The button "Show as a table" and the place of the table. `read()` returns { caption, head: [texts], rows: [[label, numbers…]],
 * show: number → text, file: name of the CSV } whenever it is opened or `renew` is called.
 */
export function asTable(t, read) {
  const place = h('div', { class: 'numbers', hidden: true });
  const button = h('button', { class: 'button plain', type: 'button', 'aria-expanded': 'false', onclick: () => turn(place.hidden) }, t('plot.table'));
  function turn(open) {
    place.hidden = !open;
    button.setAttribute('aria-expanded', String(open));
    button.textContent = t(open ? 'plot.table.hide' : 'plot.table');
    renew();
  }
  function renew() {
    if (place.hidden) return;
    const { caption, head, rows, show, file } = read();
    const said = h('span', { class: 'soft', role: 'status' });
    const plainRows = [head, ...rows];
    place.replaceChildren(
      framed(h('table', {}, h('caption', {}, caption),
        h('thead', {}, h('tr', {}, head.map((text, i) => column(text, { class: i ? 'right' : null })))),
        h('tbody', {}, rows.map(([label, ...numbers]) => h('tr', {}, h('th', { scope: 'row' }, label),
          numbers.map(value => h('td', { class: 'right number' }, typeof value === 'string' ? value : show(value))))))), caption),
      h('div', { class: 'end' },
        h('button', { class: 'button', type: 'button', onclick: async () => {
          await copy(plainRows.map(row => row.map(value => value ?? '').join('\t')).join('\n'));
          said.textContent = t('table.copied');
        } }, t('table.copy')),
        h('button', { class: 'button', type: 'button', onclick: () => save(new Blob([csv(plainRows)], { type: 'text/csv;charset=utf-8' }), file) }, t('table.csv')), said));
  }
  return { button, place, renew };
}
