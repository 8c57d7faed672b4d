/* Fields of forms, and a part of a page with fields and its own "save". */
import { Refused, post } from './api.js';
import { fresh, h } from './dom.js';
import { time } from './format.js';

export function pick(label, field, hint = '') {
  field.id ||= fresh();
  const told = hint && h('span', { class: 'soft', id: fresh() }, hint);
  if (told) field.setAttribute('aria-describedby', told.id);
  return h('div', { class: 'pick' }, h('label', { for: field.id }, label), told, field);
}
export const chooseOf = (options, chosen, label, act) => h('select', { onchange: act }, options.map(value =>
  h('option', { value, selected: value === chosen }, label(value))));
export const check = (label, checked, hint = '') => {
  const field = h('input', { type: 'checkbox', checked });
  return { field, row: h('label', { class: 'check' }, field, h('span', {}, label, hint && h('span', { class: 'soft' }, ` ${hint}`))) };
};

/** The server's message about a value that it refuses. The message is in English. */
export function why(t, error) {
  const code = error instanceof Refused && t.has(`error.${error.code}`) ? error.code : 'internal-error';
  const detail = error instanceof Refused ? error.detail : '';
  return [t(`error.${code}`, { code: error.name }), detail && h('span', { lang: 'en', class: 'detail' }, ` ${detail}`)].filter(Boolean);
}

/** A part with fields and its own "save". `read` returns the changes, or throws an Error in the chosen language. */
export function form(page, path, name, fields, read) {
  const { t, root } = page;
  const admin = page.may('admin');
  const said = h('span', { role: 'status', class: 'soft' });
  const trouble = h('p', { class: 'wrong', role: 'alert' });
  const button = h('button', { class: 'button main', type: 'submit' }, t('save'));
  let dirty = false;
  const made = h('form', { novalidate: true, class: 'fields', onsubmit: async event => {
    event.preventDefault();
    trouble.textContent = '';
    button.disabled = true;
    button.textContent = t('saving');
    try {
      await post(`${path}/settings`, read(), page.signal);
      dirty = false;
      said.textContent = t('saved', { time: time(new Date().toISOString()) });
    } catch (error) {
      if (!page.signal.aborted) trouble.replaceChildren(...(error.word ? [t(error.word, error.values)] : why(t, error)));
    }
    button.disabled = false;
    button.textContent = t('save');
  } }, fields, admin ? h('div', { class: 'end' }, button, said) : h('p', { class: 'soft' }, t('admins')), trouble);
  made.addEventListener('input', () => { dirty = true; said.textContent = t('unsaved'); });
  if (!admin) made.querySelectorAll('input, select, textarea').forEach(field => { field.disabled = true; });
  addEventListener('beforeunload', event => { if (dirty) event.preventDefault(); }, { signal: page.signal });
  root.append(page.sheet(t(name), h('p', { class: 'lead' }, t(`${name}.lead`)), made));
  return made;
}
export const rows = field => field.value.split('\n').map(each => each.trim()).filter(Boolean);
export const area = (values, more = {}) => h('textarea', { rows: 4, spellcheck: 'false', class: 'code', ...more }, values.join('\n'));
