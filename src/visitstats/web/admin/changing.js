/* Shared by the pages that make changes: a change in words, orders that take effect once, and undo with a preview. */
import { Refused, get, post } from './api.js';
import { h } from './dom.js';
import { date, moment, number } from './format.js';

export const at = page => `admin/sites/${encodeURIComponent(page.site.id)}/`;

/** An id for an order. An order that is sent twice (after a lost answer or a second click) takes effect once. */
export const drawn = () => [...crypto.getRandomValues(new Uint8Array(4))].map(byte => byte.toString(16).padStart(2, '0')).join('');

/** Describes a change in words. */
export function what(t, change) {
  const subject = change.from || t('the.site');
  const values = { from: subject, into: change.into ?? '', n: change.views ?? 0, period: date(change.period ?? ''), id: change.undoes ?? '' };
  const text = t(t.has(`change.${change.kind}`) ? `change.${change.kind}` : 'change.other', values);
  return change.meant_for ? `${text} ${t('meant', { day: date(change.meant_for), now: date(change.day) })}` : text;
}

const shown = (t, each) => (value => (each.fact === 'hidden' ? t(value ? 'hidden.yes' : 'hidden.no') : each.fact === 'url' && value === '=' ? t('url.own')
  : each.fact === 'published' && value ? date(value) : value || '—'));

const set = (t, value) => (['yes', 'no'].includes(value) ? t(`setting.${value}`) : value || '—');

/** Lines of what was before and what is after: [what, before, after]. */
export function steps(t, change) {
  return [
    ...(change.amounts ?? []).flatMap(each => {
      const name = each.article ?? '';
      return [...(each.day ? [[t(`of.${each.of}.day`, { name, day: date(change.day) }), number(each.day.before), number(each.day.after)]] : []),
        [t(`of.${each.of}.all`, { name }), number(each.total.before), number(each.total.after)]];
    }),
    ...(change.settings ?? []).map(each => [t.has(`setting.${each.setting}`) ? t(`setting.${each.setting}`) : each.setting, set(t, each.before), set(t, each.after)]),
    ...(change.facts ?? []).map(each => [t(`fact.${each.fact}`), shown(t, each)(each.before), shown(t, each)(each.after)]),
  ];
}

/** A number is kept on one line; a text may wrap, and a list has a line for each entry. */
const kept = text => (/^[\d.,\s−-]*$/.test(text) && !text.includes('\n') ? 'number' : 'text');

/** The same lines as a list. A number never wraps before its arrow. */
export const listed = (t, change) => h('ul', { class: 'steps' }, steps(t, change).map(([name, before, after]) => h('li', {}, `${name}: `,
  h('span', { class: kept(before) }, before), ' → ', h('b', { class: kept(after) }, after))));

/** Describes a refusal in words, and names the change that has to be undone first. */
export function refusedIn(t, error) {
  if (!(error instanceof Refused)) throw error;
  const id = /change ([0-9a-f]{8}) first/.exec(error.detail)?.[1] ?? '';
  const code = error.status === 403 ? 'forbidden' : error.code;
  return t(t.has(`error.${code}`) ? `error.${code}` : 'error.refused', { id, n: error.after ?? 0, code: String(error.status) });
}

/** Sends an order once; its button is busy meanwhile. Resolves the change, or null when it was refused: `said` says why.
 * `limit` is that of `post`. */
export async function order(page, path, body, { button, said, limit }) {
  const { t } = page;
  const text = button?.textContent;
  said.replaceChildren();
  if (button) {
    button.disabled = true;
    button.textContent = t('saving');
  }
  try {
    return (await post(at(page) + path, { id: drawn(), ...body }, page.signal, limit)).change;
  } catch (error) {
    if (page.signal.aborted) return null;
    said.replaceChildren(h('p', { class: 'wrong', role: 'alert' }, refusedIn(t, error)));
    return null;
  } finally {
    if (button) {
      button.disabled = false;
      button.textContent = text;
    }
  }
}

/** Shows what was done, with a button to undo it. It stays until it is closed or the next change is made. */
export function done(page, said, change, undone = () => {}) {
  const { t } = page;
  const undoing = h('button', { class: 'button', type: 'button', onclick: () => takeBack(page, change, said, undone) }, t('undo'));
  said.replaceChildren(h('div', { class: 'note good', role: 'status' }, h('p', {}, t('done', { time: moment(change.at), what: what(t, change) })),
    listed(t, change), h('div', { class: 'end' }, undoing)));
}

/** Shows what an undo would change, asks for confirmation, and undoes it. */
export async function takeBack(page, change, said, undone) {
  const { t } = page;
  let look;
  try {
    look = await get(`${at(page)}undo/preview`, { change: change.id }, page.signal);
  } catch (error) {
    if (!page.signal.aborted) said.replaceChildren(h('p', { class: 'wrong', role: 'alert' }, refusedIn(t, error)));
    return;
  }
  const { ask } = await import('./dialog.js');
  const sure = await ask({
    title: t('undo.ask'), body: [h('p', {}, what(t, change)), listed(t, { ...look, day: look.day ?? change.day })], harmless: t('undo.not'), act: t('undo'),
  });
  if (!sure) return;
  const made = await order(page, 'undo', { change: change.id }, { said });
  if (!made) return;
  said.replaceChildren(h('p', { class: 'note good', role: 'status' }, t('undo.done', { time: moment(made.at), what: what(t, change) })));
  undone(made);
}
