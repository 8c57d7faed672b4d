/* Elements. Text only ever becomes text: there is no way here by which a title could become markup. */

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

let last = 0;
/** An id that no other element of the page has. */
export const fresh = () => `e${++last}`;

/** Calls f once, when it has not been asked for so many milliseconds. */
export function later(milliseconds, f) {
  let timer;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => f(...values), milliseconds);
  };
}

/** Waits, or rejects as soon as the signal says so. */
export const wait = (milliseconds, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, milliseconds);
  signal?.addEventListener('abort', () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
});

/** Calls f now and every so many milliseconds while the page is seen, and at once when it is seen again. */
export function whileSeen(milliseconds, signal, f) {
  let timer;
  const turn = () => {
    clearInterval(timer);
    if (document.hidden || signal.aborted) return;
    f();
    timer = setInterval(f, milliseconds);
  };
  document.addEventListener('visibilitychange', turn, { signal });
  signal.addEventListener('abort', () => clearInterval(timer));
  turn();
}

/** An address that is safe to link to, or nothing: what readers' browsers say may be any text. */
export const webAddress = text => (/^https?:\/\//i.test(text) ? text : null);
