/* A preview of a site's box, and the code to paste into the portal for it. */
import { get } from './api.js';
import { check, chooseOf, pick, why } from './fields.js';
import { choice, copy, fresh, h, later } from './dom.js';
import { time } from './format.js';

const PRESETS = ['lao-cai', 'nukeviet', 'classic', 'classic-long', 'footer-inline', 'compact', 'digits', 'badge'];
const SKINS = ['', 'vs-card', 'vs-portal', 'vs-underline'];
const COLOURS = ['', 'vs-blue', 'vs-red', 'vs-green', 'vs-contrast'];
const FORMATS = ['dot', 'comma', 'space', 'none', 'short'];
const WIDTHS = [160, 240, 320];
const PORTALS = ['nukeviet', 'sharepoint', 'liferay', 'websphere', 'wordpress', 'joomla', 'dotnetnuke', 'other'];
const LOOK_EVERY = 4000;

/* ---- a box as the widget builds it (core/box_markup.py), of what the service says of it -------------------------------- */
const TAGS = {
  ul: ['ul', 'li', 'span', 'span'], dl: ['dl', 'div', 'dt', 'dd'], table: ['table', 'tr', 'th', 'td'], inline: ['p', 'span', 'span', 'span'],
};
const STYLE = new URL('../widget/themes/box.css', document.baseURI);

/** Builds a box. `state` is fresh, stale (with the moment as `at`) or unknown: then no number is shown. */
function boxOf(box, state = 'fresh', at = '') {
  const [outer, inner, label, value] = TAGS[box.structure];
  const inline = box.structure === 'inline';
  const lines = box.lines.flatMap((line, n) => [
    n && inline ? h('span', { class: 'vs-bar' }, ' | ') : '',
    h(inner, { class: `vs-line vs-${line.name}${line.gap ? ' vs-gap-before' : ''}` },
      h(label, { scope: label === 'th' ? 'row' : null, class: 'vs-label' }, line.label, h('span', { class: 'vs-sep' }, ': ')),
      h(value, { class: 'vs-value' }, state === 'unknown' ? box.unknown : line.value)),
  ]).filter(Boolean);
  return h('div', {
    class: ['vs-box', box.theme].filter(Boolean).join(' '), 'data-vs-state': state, lang: box.lang, dir: box.direction === 'rtl' ? 'rtl' : null,
  }, box.title && h('h3', { class: 'vs-title' }, box.title), h(outer, { class: 'vs-list' }, lines),
  h('small', { class: 'vs-note' }, state === 'stale' ? `${box.stale}${at}` : box.note));
}

/** A place for a box, in a shadow root: the style of these pages does not reach it, and it has the style sheet that portals have.
 * `show(element)` puts a box there. */
function stage() {
  const host = h('div', { class: 'stage' });
  const root = host.attachShadow({ mode: 'open' });
  const place = h('div');
  root.append(h('link', { rel: 'stylesheet', href: STYLE }), place);
  return { host, show: made => place.replaceChildren(made) };
}

/* ---- the box -------------------------------------------------------------------------------------------------------- */
export async function box(page, path) {
  const { t, root, site } = page;
  const chosen = { preset: PRESETS.includes(page.query.get('preset')) ? page.query.get('preset') : PRESETS[0], own: false };
  let shown = null;
  let lines = [];
  let more = [];
  let width = 240;
  let ground = 'light';
  let state = 'fresh';
  const { host, show } = stage();
  const ground_ = h('div', { class: 'ground light' }, host);
  const said = h('p', { role: 'status', class: 'unseen' });
  const list = h('ol', { class: 'lines' });
  const title = h('input', { type: 'text', maxlength: 80, autocomplete: 'off' });
  const format = chooseOf(FORMATS, 'dot', value => t(`format.${value}`), () => look());
  const skin = chooseOf(SKINS, '', value => t(`skin.${value || 'none'}`), () => look());
  const colour = chooseOf(COLOURS, '', value => t(`colour.${value || 'none'}`), () => look());
  const icons = check(t('icons'), false);
  icons.field.addEventListener('change', () => look());
  title.addEventListener('input', later(300, () => look()));
  const preset = chooseOf(PRESETS, chosen.preset, value => t(`preset.${value}`), () => start());
  const added = h('select', {});
  const adder = h('button', { class: 'button', type: 'button', onclick: () => { lines.push({ name: added.value, label: '', gap: false }); draw(); tell(added.value); look(); } }, t('line.add'));
  const trouble = h('p', { class: 'wrong', role: 'alert' });
  const listeners = [];

  const tell = name => {
    const at = lines.findIndex(line => line.name === name);
    said.textContent = at < 0 ? t('line.gone', { name: t(`box.${name}`) }) : t('line.at', { name: t(`box.${name}`), at: at + 1, n: lines.length });
  };
  function draw() {
    list.replaceChildren(...lines.map((line, n) => {
      const called = t(`box.${line.name}`);
      const field = h('input', { type: 'text', maxlength: 80, value: line.label, 'aria-label': t('line.label', { name: called }), autocomplete: 'off' });
      field.addEventListener('input', later(300, () => { line.label = field.value; look(); }));
      const shift = by => {
        lines.splice(n + by, 0, ...lines.splice(n, 1));
        draw();
        tell(line.name);
        look();
        // At an end its button is off: then the focus goes to the other one.
        const [up, down] = list.children[n + by].querySelectorAll('button');
        ((by < 0 && !up.disabled) || down.disabled ? up : down).focus();
      };
      const button = (text, label, off, act) => h('button', { class: 'button', type: 'button', 'aria-label': label, disabled: off, onclick: act }, text);
      return h('li', {}, h('span', { class: 'line-name' }, called), field,
        button('↑', t('line.up', { name: called }), n === 0, () => shift(-1)),
        button('↓', t('line.down', { name: called }), n === lines.length - 1, () => shift(1)),
        button('✕', t('line.remove', { name: called }), lines.length === 1, () => { lines.splice(n, 1); draw(); tell(line.name); look(); added.focus(); }));
    }));
    const others = [...more, ...(shown?.lines ?? []).map(line => line.name)].filter(name => lines.every(line => line.name !== name));
    added.replaceChildren(...others.map(name => h('option', { value: name }, t(`box.${name}`))));
    adder.disabled = !others.length;
  }
  const theme = () => [...fixed, skin.value, colour.value, icons.field.checked && 'vs-icons'].filter(Boolean).join(' ');
  let fixed = [];
  const query = () => (chosen.own ? {
    preset: preset.value, title: title.value || ' ', format: format.value, theme: theme(),
    lines: lines.map((line, n) => `${n ? (line.gap ? '|' : ',') : ''}${line.name}`).join(''), labels: lines.map(line => line.label.replaceAll('|', ' ')).join('|'),
  } : { preset: preset.value });
  const paint = () => {
    if (!shown) return;
    show(boxOf(shown, state, time(new Date().toISOString())));
    host.style.maxWidth = `${width}px`;
    ground_.className = `ground ${ground}`;
  };
  async function ask() {
    try {
      shown = await get(`${path}/embed`, query(), page.signal);
      trouble.textContent = '';
    } catch (error) {
      if (!page.signal.aborted) trouble.replaceChildren(...why(t, error));
      return;
    }
    paint();
    for (const each of listeners) each(query());
  }
  async function look() { chosen.own = true; await ask(); }
  async function start() {
    chosen.own = false;
    page.remember({ preset: preset.value === PRESETS[0] ? '' : preset.value });
    await ask();
    if (!shown) return;
    lines = shown.lines.map(({ name, label, gap }) => ({ name, label, gap }));
    more = shown.more;
    title.value = shown.title;
    format.value = shown.format || 'dot';
    const looks = shown.theme.split(' ').filter(Boolean);
    skin.value = SKINS.find(each => each && looks.includes(each)) ?? '';
    colour.value = COLOURS.find(each => each && looks.includes(each)) ?? '';
    icons.field.checked = looks.includes('vs-icons');
    fixed = looks.filter(each => each !== skin.value && each !== colour.value && each !== 'vs-icons');
    draw();
  }
  const views = h('div', { class: 'preview' },
    h('div', { class: 'choices' },
      choice(fresh(), t('ground'), [['light', t('ground.light')], ['dark', t('ground.dark')]], ground, value => { ground = value; paint(); }),
      choice(fresh(), t('width'), WIDTHS.map(value => [String(value), String(value)]), String(width), value => { width = Number(value); paint(); }),
      choice(fresh(), t('shown'), ['fresh', 'stale', 'unknown'].map(value => [value, t(`shown.${value}`)]), state, value => { state = value; paint(); })),
    ground_);
  const sheet = page.sheet(t('box'), h('p', { class: 'lead' }, t('box.lead')), h('div', { class: 'pair box-part' },
    h('div', { class: 'fields' }, h('div', { class: 'row' }, pick(t('preset'), preset), h('button', { class: 'button', type: 'button', onclick: () => start() }, t('preset.reset'))),
      pick(t('title'), title), h('fieldset', { class: 'group' }, h('legend', {}, t('lines')), list, h('div', { class: 'row' }, pick(t('line.more'), added), adder)), said,
      h('div', { class: 'row' }, pick(t('format'), format), pick(t('skin'), skin), pick(t('colour'), colour)), icons.row, trouble), views));
  // Shown with its lines: a form that grows moves what stands below.
  await start();
  root.append(sheet);
  return { query, listen: act => { listeners.push(act); act(query()); } };
}

/* ---- what is pasted ------------------------------------------------------------------------------------------------- */
export function snippet(page, path, box) {
  const { t, root, site } = page;
  const code = h('textarea', { readonly: true, rows: 7, spellcheck: 'false', class: 'code', 'aria-label': t('snippet.code') });
  const own = new URL('..', document.baseURI).href.replace(/\/$/, '');
  const api = h('input', { type: 'text', value: page.query.get('api') ?? own, autocomplete: 'off', spellcheck: 'false' });
  const short = check(t('snippet.short'), false, t('snippet.short.hint'));
  const where = h('p', {});
  const portal = chooseOf(PORTALS, 'other', value => t(`portal.${value}`), () => { where.textContent = t(`portal.${portal.value}.where`); });
  where.textContent = t('portal.other.where');
  const policy = h('code', {});
  const said = h('span', { role: 'status', class: 'soft' });
  const trouble = h('p', { class: 'wrong', role: 'alert' });
  let query = {};
  const allow = () => {
    const origin = /^https?:\/\/[^/]+/.exec(api.value.trim())?.[0] ?? "'self'";
    policy.textContent = `script-src ${origin}; connect-src ${origin}; img-src ${origin}; style-src ${origin}; frame-src ${origin}`;
  };
  allow();
  async function ask() {
    try {
      const found = await get(`${path}/embed`, { ...query, api: api.value.trim() || '/vs', short: short.field.checked ? 1 : '' }, page.signal);
      code.value = found.snippet;
      trouble.textContent = '';
      allow();
    } catch (error) { if (!page.signal.aborted) trouble.replaceChildren(...why(t, error)); }
  }
  box.listen(next => { query = next; ask(); });
  api.addEventListener('input', later(400, ask));
  short.field.addEventListener('change', ask);
  const button = h('button', { class: 'button main', type: 'button', onclick: async () => { await copy(code.value); said.textContent = t('snippet.copied'); } }, t('snippet.copy'));
  const first = h('p', { role: 'status', class: 'live hollow' }, t('first.waiting'));
  root.append(page.sheet(t('snippet'), h('p', { class: 'lead' }, t('snippet.lead')),
    h('div', { class: 'row' }, pick(t('portal'), portal), pick(t('snippet.api'), api, t('snippet.api.hint'))), where, short.row, code,
    h('div', { class: 'end' }, button, said), trouble, h('p', { class: 'soft' }, t('snippet.policy'), ' ', policy), first));
  watch(page, path, first);
}

/** Shows when the first page was counted, or why a page was not. */
function watch(page, path, first) {
  const { t, signal } = page;
  const look = async () => {
    if (document.hidden) return;
    try {
      const now = await get(`${path}/now`, {}, signal);
      if (now.numbers.total) {
        first.classList.remove('hollow');
        first.textContent = t('first.done', { n: now.numbers.total, time: time(now.at) });
        clearInterval(timer);
        return;
      }
      const { ignored } = await get(`${path}/ignored`, {}, signal);
      const [reason] = Object.entries(ignored).sort((a, b) => b[1] - a[1])[0] ?? [];
      if (reason) first.textContent = t('first.refused', { reason: t.has(`reason.${reason}`) ? t(`reason.${reason}`) : reason, n: ignored[reason] });
    } catch { /* said by the parts above */ }
  };
  const timer = setInterval(look, LOOK_EVERY);
  signal.addEventListener('abort', () => clearInterval(timer));
  look();
}
