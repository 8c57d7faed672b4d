/* The form that asks for a token: a page of its own at first, a dialog over the page when the token has gone. */
import { Refused, signIn } from '../api.js';
import { h } from '../dom.js';

/** Draws the form into an element; resolves when somebody has signed in. */
export function form(root, t, signal, why = '') {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason));
    const wrong = h('p', { class: 'wrong', id: 'token-wrong', role: 'alert' });
    const field = h('input', {
      id: 'token', type: 'password', autocomplete: 'current-password', spellcheck: 'false', autocapitalize: 'none',
      required: true, 'aria-describedby': 'token-hint token-wrong', autofocus: true,
    });
    const shown = h('input', { type: 'checkbox', onchange: () => { field.type = shown.checked ? 'text' : 'password'; } });
    const button = h('button', { class: 'button main', type: 'submit' }, t('enter'));

    async function enter(event) {
      event.preventDefault();
      const text = field.value.trim();
      field.removeAttribute('aria-invalid');
      wrong.textContent = '';
      if (!text) return refuse(t('empty'));
      button.disabled = true;
      button.textContent = t('entering');
      try {
        const me = await signIn(text);
        field.value = '';
        resolve(me);
      } catch (error) {
        const known = error instanceof Refused;
        const code = known ? error.code : 'internal-error';
        refuse(code === 'denied' ? t(error.status === 401 ? 'wrong' : 'not.for')
          : code === 'too-many-tries' ? t('too.many', { n: error.after })
            : t(t.has(`error.${code}`) ? `error.${code}` : 'error.internal-error', { code: String(error.status ?? ''), n: 0 }));
      } finally {
        button.disabled = false;
        button.textContent = t('enter');
      }
    }
    function refuse(text) {
      wrong.textContent = text;
      field.setAttribute('aria-invalid', 'true');
      field.focus();
    }
    root.append(
      why && h('p', { class: 'note' }, why),
      h('form', { class: 'sheet signin', onsubmit: enter, novalidate: true },
        h('div', { class: 'pick' }, h('label', { for: 'token' }, t('token')), h('p', { class: 'soft', id: 'token-hint' }, t('hint')), field, wrong),
        h('label', { class: 'check' }, shown, ' ', t('show')),
        h('div', { class: 'actions' }, button)),
      h('p', { class: 'soft' }, t('where')),
    );
    field.focus();
  });
}
