/* Bars over time, in SVG. Colours come from the style sheet, so that dark mode, print and forced colours need no code here.
 *
 * point: { tick: text under the axis or "", value: number or null, kind: "counted" | "running" | "imported" | "unknown" | "future",
 *          imported: the part of the value that an older counter had, marked: whether people have changed it }
 * The axis begins at 0. An unknown value is drawn as a hatched band, never as 0; a future one is not drawn.
 * The cursor is a native range slider over the bars: keys, touch and what a screen reader says come with it.
 */
import { h, svg } from './dom.js';
import { number } from './format.js';

const LEFT = 52;
const BOTTOM = 20;
const TOP = 16;
const NARROWEST_TICK = 8;

/** Round labels of an axis from 0: at most five, in steps of 1, 2, 2.5 or 5 times a power of ten. */
export function ticks(highest, most = 4) {
  const rough = Math.max(highest, 1) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(1, [1, 2, 2.5, 5, 10].map(n => n * power).find(n => n >= rough && Number.isInteger(n)) ?? power * 10);
  return Array.from({ length: Math.ceil(Math.max(highest, 1) / step) + 1 }, (_, i) => i * step);
}

const mark = (x, y) => `M${x} ${y}l-4 -6h8z`;

/** The sign of a kind of bars, or of the line ("ghost"), for the legend. */
function sign(kind) {
  const shape = kind === 'ghost' ? svg('path', { d: 'M0 8H8V4H16', class: 'ghost' })
    : kind === 'mark' ? svg('path', { d: mark(8, 10), class: 'mark' })
      : kind === 'change' ? svg('path', { d: 'M8 0V12', class: 'change' })
        : svg('rect', { x: 1, y: 1, width: 14, height: 10, class: `bar-of ${kind}` });
  return svg('svg', { 'aria-hidden': 'true' }, shape);
}

/**
 * Makes a figure. `say(i)` is what the readout says of point i, `legend` [[kind, text]], `label` names the slider, `start`
 * is the point that is told while nobody points, `change` the point before which the counter was changed. Returns { figure, set(options) }; set shows other numbers.
 */
export function plot(options) {
  const drawing = svg('svg', { 'aria-hidden': 'true' });
  const slider = h('input', { type: 'range', min: 0, step: 1 });
  const area = h('div', { class: 'area' }, drawing, slider);
  const output = h('output', { 'aria-live': 'off' });
  const legend = h('ul', { class: 'key' });
  const figure = h('figure', { class: 'plot' }, area, output, legend);
  let points = [];
  let ghost = [];
  let say = () => '';
  let start = 0;
  let change = -1;
  let bars = [];
  let chosen = false;

  function set(given) {
    const moved = chosen && given.points.length === points.length;
    ({ points, ghost = [], say, start = given.points.length - 1, change = -1 } = given);
    if (!moved) chosen = false;
    slider.max = Math.max(points.length - 1, 0);
    slider.disabled = !points.length;
    slider.setAttribute('aria-label', given.label);
    legend.replaceChildren(...given.legend.map(([kind, text]) => h('li', {}, sign(kind), text)));
    if (!moved) slider.value = start;
    render();
  }

  function render() {
    const width = area.clientWidth;
    const height = area.clientHeight;
    if (!width || !points.length) return;
    const steps = ticks(Math.max(0, ...points.map(point => point.value ?? 0), ...ghost.map(value => value ?? 0)));
    const most = steps[steps.length - 1];
    const each = (width - LEFT) / points.length;
    const gap = each > 14 ? 3 : each > 5 ? 1.5 : 0.75;
    const y = value => TOP + (height - TOP - BOTTOM) * (1 - value / most);
    const parts = [];
    for (const step of steps) {
      const at = Math.round(y(step)) + 0.5;
      parts.push(svg('line', { x1: LEFT, x2: width, y1: at, y2: at, class: step ? 'grid' : 'base' }),
        svg('text', { x: LEFT - 8, y: y(step) + 4, 'text-anchor': 'end' }, number(step)));
    }
    let free = 0;
    bars = points.map(({ tick, value, kind, imported = 0, marked }, i) => {
      const x = LEFT + i * each;
      const unknown = kind === 'unknown' || value === null;
      const tall = kind === 'future' ? 0 : unknown ? height - TOP - BOTTOM : Math.max(value ? 1 : 0, y(0) - y(value));
      const bar = svg('rect', {
        x: x + gap / 2, y: y(0) - tall, width: Math.max(each - gap, 0.5), height: tall,
        class: `bar-of ${unknown && kind !== 'future' ? 'unknown' : kind}`,
      });
      parts.push(bar);
      if (imported > 0 && kind !== 'imported' && !unknown) {
        const own = Math.min(y(0) - y(imported), tall);
        parts.push(svg('rect', { x: x + gap / 2, y: y(0) - own, width: Math.max(each - gap, 0.5), height: own, class: 'part bar-of imported' }));
      }
      if (marked) parts.push(svg('path', { d: mark(x + each / 2, y(0) - tall - 2), class: 'mark' }));
      const room = tick.length * 7 + NARROWEST_TICK;
      if (tick && x >= free && x + room - NARROWEST_TICK <= width + 4) {
        parts.push(svg('text', { x, y: height - 4 }, tick));
        free = x + room;
      }
      return bar;
    });
    if (ghost.length) {
      const d = ghost.map((value, i) => (value === null || value === undefined ? '' :
        `${i && ghost[i - 1] !== null && ghost[i - 1] !== undefined ? 'L' : 'M'}${LEFT + i * each} ${y(value)}H${LEFT + (i + 1) * each}`)).join('');
      parts.push(svg('path', { class: 'ghost-edge', d }), svg('path', { class: 'ghost', d }));
    }
    if (change >= 0) parts.push(svg('path', { class: 'change', d: `M${LEFT + change * each} 0V${height - BOTTOM}` }));
    drawing.replaceChildren(...parts);
    tell(Number(slider.value));
  }

  function tell(i) {
    bars.forEach((bar, j) => bar.classList.toggle('chosen', chosen && j === i));
    const text = points.length ? say(i) : '';
    slider.value = i;
    slider.setAttribute('aria-valuetext', text);
    output.textContent = text;
  }
  const point = (i, mark) => { chosen = mark; tell(i); };

  area.addEventListener('pointermove', event => {
    const box = area.getBoundingClientRect();
    const i = Math.floor((event.clientX - box.left - LEFT) / ((box.width - LEFT) / points.length));
    if (i >= 0 && i < points.length) point(i, true);
  });
  area.addEventListener('pointerleave', () => point(start, false));
  slider.addEventListener('input', () => point(Number(slider.value), true));
  slider.addEventListener('focus', () => point(Number(slider.value), true));
  slider.addEventListener('blur', () => point(start, false));
  new ResizeObserver(render).observe(area);
  set(options);
  return { figure, set };
}

/** A bar as long as a share of the most. */
export const measure = share => svg('svg', { class: 'measure', 'aria-hidden': 'true' },
  svg('rect', { class: 'of', width: '100%', height: 6, rx: 3 }),
  svg('rect', { class: 'is', width: `${Math.round(1000 * share) / 10}%`, height: 6, rx: 3 }));

/**
 * The button "Show as a table" and the place of the table. `read()` returns { caption, head: [texts], rows: [[label, numbers…]],
 * show: number → text, file: name of the CSV } whenever it is opened or `renew` is called.
 */
export function asTable(t, read) {
  const place = h('div', { class: 'numbers', hidden: true });
  const button = h('button', { class: 'button plain', type: 'button', 'aria-expanded': 'false', onclick: () => {
    place.hidden = !place.hidden;
    button.setAttribute('aria-expanded', String(!place.hidden));
    button.textContent = t(place.hidden ? 'plot.table' : 'plot.table.hide');
    renew();
  } }, t('plot.table'));
  async function renew() {
    if (place.hidden) return;
    const { numbers } = await import('./table.js');
    place.replaceChildren(...numbers(t, read()));
  }
  return { button, place, renew };
}
