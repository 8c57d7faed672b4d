/* Native dialogs: the browser keeps the focus inside, Esc closes, and the focus goes back to where it was. */
import { fresh, h } from './dom.js';

/** Opens a dialog with a title and returns it. `close(value)` ends it; `done` resolves with the value, or undefined. */
export function open(title, build, { locked = false } = {}) {
  const opener = document.activeElement;
  const id = fresh();
  const dialog = h('dialog', { 'aria-labelledby': id, class: locked ? 'locked' : null }, h('h2', { id }, title));
  let value;
  const close = found => { value = found; dialog.close(); };
  const done = new Promise(resolve => dialog.addEventListener('close', () => {
    dialog.remove();
    if (opener?.isConnected) opener.focus();
    resolve(value);
  }));
  if (locked) dialog.addEventListener('cancel', event => event.preventDefault());
  else dialog.addEventListener('click', event => { if (event.target === dialog && event.detail < 2) dialog.close(); });
  // A double click on the button that opens a dialog must not act inside it: its second click neither closes the
  // dialog, nor takes the focus from its field, nor follows a link that happens to be there.
  const ignore = event => { if (event.detail > 1) { event.preventDefault(); event.stopPropagation(); } };
  for (const name of ['mousedown', 'click']) dialog.addEventListener(name, ignore, { capture: true, once: true });
  dialog.append(...[build(close)].flat());
  document.body.append(dialog);
  dialog.showModal();
  return { dialog, done, close };
}

/** Asks a question whose buttons are verbs; resolves to true for `act`. The harmless button has the focus. `body` are
 * elements; with `typed`, that word must be typed before `act` can be pressed. */
export function ask({ title, body = [], harmless, act, typed, typedLabel }) {
  return open(title, close => {
    const id = fresh();
    const field = typed && h('input', { id, autocomplete: 'off', spellcheck: 'false' });
    const button = h('button', { class: 'button main', type: 'submit', disabled: Boolean(typed) }, act);
    field?.addEventListener('input', () => { button.disabled = field.value.trim() !== typed; });
    return h('form', { onsubmit: event => { event.preventDefault(); close(true); } },
      ...body, field && h('div', { class: 'pick' }, h('label', { for: id }, typedLabel), field),
      h('div', { class: 'actions end' },
        h('button', { class: 'button', type: 'button', autofocus: true, onclick: () => close(false) }, harmless), button));
  }).done.then(Boolean);
}
