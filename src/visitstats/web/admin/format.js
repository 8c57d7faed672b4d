/* Words, numbers and dates of the chosen language. Moments come with the offset of the site's zone and are shown as
 * they are written; the zone of the browser is ignored. */

const LOCALES = { vi: 'vi-VN', en: 'en-GB' };
export const LANGUAGES = { vi: 'Tiếng Việt', en: 'English' };
const KEPT = 'visitstats.lang';

export let lang = 'vi';
let formats;
let plural;
const known = new Map();

/** The language that was chosen here before, or that the browser asks for. */
export function usual() {
  let kept = null;
  try { kept = localStorage.getItem(KEPT); } catch { /* blocked: then it is in the address only */ }
  if (LANGUAGES[kept]) return kept;
  return navigator.languages.map(name => name.slice(0, 2)).find(name => LANGUAGES[name]) || 'vi';
}

export function choose(name) {
  lang = LANGUAGES[name] ? name : usual();
  try { localStorage.setItem(KEPT, lang); } catch { /* as above */ }
  formats = {
    whole: new Intl.NumberFormat(LOCALES[lang], { maximumFractionDigits: 0 }),
    part: new Intl.NumberFormat(LOCALES[lang], { minimumFractionDigits: 1, maximumFractionDigits: 1 }),
    percent: new Intl.NumberFormat(LOCALES[lang], { style: 'percent', maximumFractionDigits: 0 }),
    finer: new Intl.NumberFormat(LOCALES[lang], { style: 'percent', maximumFractionDigits: 2 }),
  };
  plural = new Intl.PluralRules(LOCALES[lang]);
  document.documentElement.lang = lang;
}

/** The words of a page (words/vi/PAGE.js); words that a page lacks are taken from the frame. */
export async function wordsOf(name) {
  const files = await Promise.all([...new Set(['frame', name])].map(async each => {
    const path = `./words/${lang}/${each}.js`;
    if (!known.has(path)) known.set(path, (await import(path)).default);
    return known.get(path);
  }));
  const words = Object.assign({}, ...files);

  /** The pieces of a sentence: {name} stands for values.name, which may be an element; a number is written as one. */
  function rich(key, values = {}) {
    let text = words[key];
    if (text === undefined) throw new Error(`there is no word "${key}"`);
    if (typeof text === 'object') text = text[plural.select(values.n)] ?? text.other;
    return text.split(/\{(\w+)\}/).map((piece, i) => {
      if (i % 2 === 0) return piece;
      const value = values[piece];
      return typeof value === 'number' || value === null ? number(value) : value;
    });
  }
  const t = (key, values) => rich(key, values).join('');
  t.rich = rich;
  t.has = key => key in words;
  return t;
}

export const UNKNOWN = '—';
export const number = value => (value === null || value === undefined ? UNKNOWN : formats.whole.format(value));
/** A number with its sign: what was added or taken away. */
export const signed = value => `${value < 0 ? '−' : '+'}${number(Math.abs(value))}`;
export const decimal = value => (value === null || value === undefined ? UNKNOWN : formats.part.format(value));
export const percent = share => (Math.abs(share) < 0.01 ? formats.finer : formats.percent).format(share);

/* ---- dates: 2026-11-24, 2026-11, 2026, 2026-11-24T10:42:07+07:00 --------------------------------------------------- */
let names = { months: [], weekdays: [] };
export const nameDates = t => { names = { months: t('months').split('|'), weekdays: t('weekdays').split('|') }; };

const parts = text => ({ year: text.slice(0, 4), month: text.slice(5, 7), day: text.slice(8, 10) });
export const weekday = text => names.weekdays[new Date(`${text.slice(0, 10)}T00:00Z`).getUTCDay()];
export const month = text => {
  const { year, month: number_ } = parts(text);
  return lang === 'vi' ? `${number_}/${year}` : `${names.months[number_ - 1]} ${year}`;
};
/** 24/11 or 24 Nov. */
export const dayOfYear = text => {
  const { month: number_, day } = parts(text);
  return lang === 'vi' ? `${day}/${number_}` : `${Number(day)} ${names.months[number_ - 1]}`;
};
export const date = text => {
  if (!text) return UNKNOWN;
  if (text.length === 4) return text;
  if (text.length === 7) return month(text);
  return lang === 'vi' ? `${dayOfYear(text)}/${text.slice(0, 4)}` : `${dayOfYear(text)} ${text.slice(0, 4)}`;
};
export const fullDate = text => `${weekday(text)}${lang === 'vi' ? ',' : ''} ${date(text)}`;
export const time = text => text.slice(11, 16);
export const seconds = text => text.slice(11, 19);
/** 24/11/2026 10:42 */
export const moment = text => `${date(text.slice(0, 10))} ${time(text)}`;
/** Monday 16/11 – Sunday 22/11/2026, in the shortest form. */
export function range(first, last) {
  if (!first) return '';
  if (first === last) return fullDate(first);
  const begin = first.slice(0, 4) === last.slice(0, 4) ? dayOfYear(first) : date(first);
  return `${weekday(first)} ${begin} – ${weekday(last)} ${date(last)}`;
}
/** The date so many days away. */
export const daysFrom = (text, days) => {
  const when = new Date(`${text.slice(0, 10)}T00:00Z`);
  when.setUTCDate(when.getUTCDate() + days);
  return when.toISOString().slice(0, 10);
};
/** The first day of the month so many months before. */
export const monthsBack = (text, months) => new Date(Date.UTC(Number(text.slice(0, 4)), Number(text.slice(5, 7)) - 1 - months, 1)).toISOString().slice(0, 10);
/** Parses a typed date: 03/11/2026, 3-11-2026, 2026-11-03; null for anything else. */
export function typedDate(text) {
  const found = /^\s*(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})\s*$/.exec(text) ?? /^\s*(\d{4})-(\d{2})-(\d{2})\s*$/.exec(text);
  if (!found) return null;
  const [year, month_, day] = found[1].length === 4 ? found.slice(1) : found.slice(1).reverse();
  const iso = `${year}-${month_.padStart(2, '0')}-${day.padStart(2, '0')}`;
  const when = new Date(`${iso}T00:00Z`);
  return !Number.isNaN(when.getTime()) && when.toISOString().slice(0, 10) === iso ? iso : null;
}
/** How a date is typed: 03/11/2026 in both languages. */
export const typed = iso => (iso ? iso.split('-').reverse().join('/') : '');

/** Folds a text for searching: case and tone marks are dropped. */
export const plain = text => text.toLowerCase().normalize('NFD').replace(/[\u0300-\u036f]/g, '').replaceAll('đ', 'd');

/* ---- comparisons ---------------------------------------------------------------------------------------------------- */
const LEAST_BASE = 20;
/** Texts that compare a number with what it was at the same moment of the period before: { then, change }. */
export function compared(t, now, before, box) {
  const then = before?.[box] ?? null;
  if (then === null) return { then: null, change: t('compare.none') };
  const shown = before.estimate ? t('compare.about', { n: then }) : number(then);
  if (before.known !== 'yes' || now === null) return { then: shown, change: t('compare.not') };
  const change = now - then;
  if (change === 0) return { then: shown, change: t('compare.same') };
  const share = then >= LEAST_BASE ? ` (${percent(Math.abs(change) / then)})` : '';
  return { then: shown, change: t(change > 0 ? 'compare.more' : 'compare.less', { n: Math.abs(change) }) + share };
}
