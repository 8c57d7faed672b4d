/* Elements. Text is only ever inserted as text, so that a title can never become markup. */

const SVG = 'http://www.w3.org/2000/svg';

function dress(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, '');
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined && child !== false)
    .map(child => (child instanceof Node ? child : String(child))));
  return made;
}

/** An element: h('p', { class: 'soft', onclick: f }, 'text', another). */
export const h = (tag, attributes, ...children) => dress(document.createElement(tag), attributes, children);

/** An element of SVG. */
export const svg = (tag, attributes, ...children) => dress(document.createElementNS(SVG, tag), attributes, children);

/** A number in a text. */
export const figure = text => h('b', { class: 'number' }, text);

/** A row of a few choices, one of which is selected. */
export const choice = (name, legend, options, chosen, act) => h('fieldset', { class: 'choice' }, h('legend', { class: 'unseen' }, legend),
  options.map(([value, text]) => h('label', {},
    h('input', { type: 'radio', name, value, checked: value === chosen, onchange: () => act(value) }), h('span', {}, text))));

let last = 0;
/** An id that no other element of the page has. */
export const fresh = () => `e${++last}`;

/** Debounces f: calls it once no call has come for so many milliseconds. `stop` of the result cancels the last call. */
export function later(milliseconds, f) {
  let timer;
  const ask = (...values) => {
    ask.stop();
    timer = setTimeout(() => f(...values), milliseconds);
  };
  ask.stop = () => clearTimeout(timer);
  return ask;
}

/** Waits, or rejects as soon as the signal is aborted. */
export const wait = (milliseconds, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, milliseconds);
  signal?.addEventListener('abort', () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
});

/** Calls f every so many milliseconds while the page is visible, and at once when it becomes visible again. */
export function whileSeen(milliseconds, signal, f) {
  let timer = document.hidden ? 0 : setInterval(f, milliseconds);
  document.addEventListener('visibilitychange', () => {
    clearInterval(timer);
    if (document.hidden) return;
    f();
    timer = setInterval(f, milliseconds);
  }, { signal });
  signal.addEventListener('abort', () => clearInterval(timer));
}

/** Copies a text to the clipboard, even over plain http. */
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

/** An address that is safe to link to, or null, because readers' browsers may send any text as an address. */
export const webAddress = text => (/^https?:\/\//i.test(text) ? text : null);

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
  const watch = new ResizeObserver(look);
  for (const each of [frame, table]) watch.observe(each); // rows that come later may make it wide
  return frame;
}

/** A small row of bars for a table. It is hidden from screen readers, because the numbers stand beside it. */
export function sparkline(values) {
  const most = Math.max(1, ...values.map(value => value ?? 0));
  const width = 6;
  return svg('svg', { class: 'spark', viewBox: `0 0 ${values.length * width} 24`, 'aria-hidden': 'true', preserveAspectRatio: 'none' },
    values.map((value, i) => svg('rect', value === null
      ? { x: i * width, y: 0, width: width - 1, height: 24, class: 'unknown' }
      : { x: i * width, y: 24 - Math.max(1, 23 * value / most), width: width - 1, height: Math.max(1, 23 * value / most), class: 'is' })));
}
