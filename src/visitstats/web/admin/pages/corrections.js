/* A number is wrong: where is it put right? */
import { get, post } from '../api.js';
import { at, done, listed, order, refusedIn } from '../changing.js';
import { fresh, h } from '../dom.js';
import { date, month, number, typedDate } from '../format.js';

const FACTS = ['title', 'author', 'category', 'published'];

export default async function corrections(page) {
  const { t } = page;
  page.head(t('nav.corrections'), h('a', { href: page.link('audit') }, t('to.log')));
  // The parts are added one after the other, because a part takes its place among the existing ones.
  const parts = { adjust: adjusting, rename: naming, merge: merging, claims: claimed, close: closing, ...(page.may('admin') && { reset: resetting }) };
  for (const [name, part] of Object.entries(parts)) {
    const made = part(page);
    page.root.append(made);
    // An address may lead to one of them: from the page of an article, or of a report.
    if (page.query.get('part') === name) setTimeout(() => made.scrollIntoView());
  }
}

/* ---- fields --------------------------------------------------------------------------------------------------------- */
function field(t, name, attributes = {}, hint = '') {
  const id = fresh();
  const wrong = h('p', { class: 'wrong', id: `${id}-wrong` });
  const input = h('input', { id, autocomplete: 'off', 'aria-describedby': `${id}-wrong`, ...attributes });
  const made = h('div', { class: 'pick' }, h('label', { for: id }, t(name)), hint && h('p', { class: 'soft' }, hint), input, wrong);
  const refuse = text => {
    wrong.textContent = text;
    if (text) input.setAttribute('aria-invalid', 'true');
    else input.removeAttribute('aria-invalid');
    return text;
  };
  return { made, input, refuse, get value() { return input.value.trim(); } };
}
const reason = t => field(t, 'why', { maxlength: 500 }, t('why.hint'));

/** Shows the errors of fields, [field, text], and focuses the first. Returns whether there is none. */
function right(...checks) {
  const wrong = checks.filter(([each, text]) => each.refuse(text));
  wrong[0]?.[0].input.focus();
  return !wrong.length;
}

function form(t, act, submit, ...parts) {
  const said = h('div', {});
  const button = h('button', { class: 'button main', type: 'submit' }, act);
  const made = h('form', { class: 'stack', novalidate: true, onsubmit: event => { event.preventDefault(); submit({ button, said }); } }, ...parts, h('div', { class: 'actions' }, button), said);
  return { made, said, button };
}

/** Parses 1.524, -200 and +200; null for a text that is no whole number. */
const whole = text => (/^[+-]?\d{1,3}([.,\s]\d{3})*$|^[+-]?\d+$/.test(text) ? Number(text.replace(/[.,\s]/g, '')) : null);

/* ---- a number ------------------------------------------------------------------------------------------------------- */
function adjusting(page) {
  const { t } = page;
  const key = page.query.get('key') ?? '';
  const article = field(t, 'article', { type: 'search', spellcheck: 'false', value: key }, t('article.hint'));
  article.made.hidden = !key;
  const of = h('select', { id: fresh(), onchange: () => { article.made.hidden = of.value !== 'article'; } }, ['visits', 'views', 'article'].map(name => h('option', { value: name, selected: name === 'article' && Boolean(key) }, t(`of.${name}`))));
  const how = h('select', { id: fresh() }, ['by', 'to'].map(name => h('option', { value: name }, t(`how.${name}`))));
  const n = field(t, 'n', { inputmode: 'numeric' }, t('n.hint'));
  const dated = h('input', { type: 'checkbox', checked: true, onchange: () => { day.made.hidden = !dated.checked; } });
  const day = field(t, 'day', { inputmode: 'numeric', placeholder: t('day.form') }, t('day.hint'));
  const why = reason(t);
  const made = form(t, t('adjust.look'), async ({ button, said }) => {
    const value = whole(n.value);
    const when = day.value ? typedDate(day.value) : '';
    const isRight = right(
      [article, of.value === 'article' && !article.value ? t('article.empty') : ''],
      [n, value === null ? t('n.wrong') : how.value === 'by' && !value ? t('n.none') : ''],
      [day, dated.checked && when === null ? t('day.wrong') : ''],
      [why, why.value ? '' : t('why.empty')]);
    if (!isRight) return;
    const body = {
      of: of.value === 'visits' ? 'visits' : 'views', why: why.value, [how.value]: value, day: dated.checked ? when : 'none',
      ...(of.value === 'article' && { article: article.value }),
    };
    button.disabled = true;
    let look;
    try {
      look = await post(`${at(page)}adjust/preview`, body, page.signal);
    } catch (error) {
      if (!page.signal.aborted) said.replaceChildren(h('p', { class: 'wrong', role: 'alert' }, refusedIn(t, error)));
      return;
    } finally {
      button.disabled = false;
    }
    const { ask } = await import('../dialog.js');
    const sure = await ask({
      title: t('adjust.ask'), harmless: t('adjust.not'), act: t('adjust'),
      body: [listed(t, look), look.meant_for && h('p', { class: 'note' }, t('meant.long', { day: date(look.meant_for), month: month(look.meant_for), now: date(look.day) })), h('p', {}, `${t('why')}: ${body.why}`)],
    });
    const change = sure && await order(page, 'adjust', body, { button, said });
    if (!change) return;
    n.input.value = '';
    done(page, said, change);
  }, h('div', { class: 'pick' }, h('label', { for: of.id }, t('of')), of), article.made, h('div', { class: 'pick' }, h('label', { for: how.id }, t('how')), how), n.made,
  h('label', { class: 'check' }, dated, ' ', t('dated')), day.made, why.made);
  return page.sheet(t('adjust.title'), h('p', { class: 'soft lead' }, t('adjust.lead')), made.made);
}

/* ---- an article ----------------------------------------------------------------------------------------------------- */
function naming(page) {
  const { t } = page;
  const article = field(t, 'article', { type: 'search', spellcheck: 'false', value: page.query.get('key') ?? '' }, t('article.hint'));
  const fields = Object.fromEntries(FACTS.map(name => [name, field(t, `fact.${name}`, name === 'published' ? { placeholder: t('day.form') } : {})]));
  const why = field(t, 'why', { maxlength: 500 });
  const body = () => ({ article: article.value, why: why.value });
  const made = form(t, t('rename'), async ({ button, said }) => {
    const when = fields.published.value && typedDate(fields.published.value);
    const facts = Object.fromEntries(FACTS.map(name => [name, name === 'published' ? when : fields[name].value]).filter(([, value]) => value));
    if (!right([article, article.value ? '' : t('article.empty')], [fields.published, when === null ? t('day.wrong') : ''],
      [fields.title, Object.keys(facts).length || when === null ? '' : t('rename.none')])) return;
    const change = await order(page, 'rename', { ...body(), ...facts }, { button, said });
    if (change) done(page, said, change);
  }, article.made, ...FACTS.map(name => fields[name].made), why.made);
  for (const hidden of [false, true]) { // each stands before the one that was put there first
    made.button.after(h('button', { class: 'button', type: 'button', onclick: async event => {
      if (!right([article, article.value ? '' : t('article.empty')])) return;
      const change = await order(page, 'hide', { ...body(), hidden }, { button: event.currentTarget, said: made.said });
      if (change) done(page, made.said, change);
    } }, t(hidden ? 'hide' : 'unhide')));
  }
  return page.sheet(t('rename.title'), h('p', { class: 'soft lead' }, t('rename.lead')), made.made);
}

function merging(page) {
  const { t } = page;
  const [from, into] = ['from', 'into'].map(name => field(t, `merge.${name}`, { type: 'search', spellcheck: 'false', value: name === 'from' ? page.query.get('key') ?? '' : '' }, name === 'from' ? t('article.hint') : ''));
  const why = field(t, 'why', { maxlength: 500 });
  const { made } = form(t, t('merge'), async ({ button, said }) => {
    if (!right(...[from, into].map(each => [each, each.value ? '' : t('article.empty')]))) return;
    const change = await order(page, 'merge', { from: from.value, into: into.value, why: why.value }, { button, said });
    if (change) done(page, said, change);
  }, from.made, into.made, why.made);
  return page.sheet(t('merge.title'), h('p', { class: 'soft lead' }, t('merge.lead')), made);
}

function claimed(page) {
  const { t } = page;
  const place = h('div', {});
  const said = h('div', {});
  page.load(place, signal => get(`${at(page)}claims`, { limit: 20 }, signal), ({ claims }) => {
    place.replaceChildren(claims.length ? h('ul', {}, claims.map(each => h('li', { class: 'rank claim' }, h('span', { class: 'place', 'aria-hidden': 'true' }, '•'),
      h('span', {}, t('claim', { n: each.networks, fact: t(`fact.${each.fact}`) }), ' ', h('b', {}, each.claimed), h('span', { class: 'where' }, t('claim.now', { now: each.says || '—', key: each.key }))),
      h('button', { class: 'button', type: 'button', 'aria-label': t('accept.of', { value: each.claimed }), onclick: async event => {
        const change = await order(page, 'accept', { article: each.key, fact: each.fact, value: each.claimed }, { button: event.currentTarget, said });
        if (change) done(page, said, change);
      } }, t('accept'))))) : h('p', { class: 'soft' }, t('claims.none')));
  });
  return page.sheet(t('claims.title'), h('p', { class: 'soft lead' }, t('claims.lead')), said, place);
}

/* ---- months --------------------------------------------------------------------------------------------------------- */
function closing(page) {
  const { t } = page;
  const place = h('div', {});
  const [year, asked] = (page.query.get('period') ?? '').split('-');
  const period = field(t, 'period', { inputmode: 'numeric', placeholder: t('period.form'), value: asked ? `${asked}/${year}` : '' });
  const days = field(t, 'royalty.days', { inputmode: 'numeric', value: '30' });
  const read = () => page.load(place, signal => get(`${at(page)}closed`, {}, signal), ({ closed }) => {
    place.replaceChildren(...(closed.length ? [h('ul', {}, closed.slice(0, 12).map((each, i) => h('li', { class: 'rank' }, h('span', { class: 'place', 'aria-hidden': 'true' }, '•'),
      h('span', {}, t('closed', { period: month(each.period), day: date(each.at.slice(0, 10)), who: each.who, code: each.sha256.slice(0, 6) }),
        h('span', { class: 'where' }, t('closed.sums', { visits: each.visits, views: each.views, articles: each.articles }), each.within ? ` · ${t('closed.due', { due: each.due, within: each.within })}` : '', each.views_since || each.visits_since ? ` · ${t('closed.since', { views: each.views_since, visits: each.visits_since })}` : '')),
      i ? '' : h('button', { class: 'button', type: 'button', onclick: event => reopen(each, event.currentTarget) }, t('reopen')))))] : [h('p', { class: 'soft' }, t('closed.none'))]));
  });
  async function reopen(each, button) {
    const { open } = await import('../dialog.js');
    const why = reason(t);
    const text = await open(t('reopen.ask', { period: month(each.period) }), close => h('form', { onsubmit: event => { event.preventDefault(); if (right([why, why.value ? '' : t('why.empty')])) close(why.value); } },
      h('p', {}, t('reopen.lead')), why.made, h('div', { class: 'actions end' }, h('button', { class: 'button', type: 'button', autofocus: true, onclick: () => close() }, t('reopen.not')), h('button', { class: 'button main', type: 'submit' }, t('reopen'))))).done;
    const change = text && await order(page, 'reopen', { period: each.period, why: text }, { button, said: made.said });
    if (!change) return;
    done(page, made.said, change, read);
    read();
  }
  const made = form(t, t('close.month'), async ({ button, said }) => {
    const found = /^(\d{1,2})[/.-](\d{4})$/.exec(period.value);
    const wanted = found && `${found[2]}-${found[1].padStart(2, '0')}`;
    const within = whole(days.value);
    // The portal's zone decides which day it is: just after midnight here, another day may have ended there.
    const today = found && (await get(`${at(page)}now`, {}, page.signal).catch(() => ({ at: '9' }))).at;
    if (!right([period, !found ? t('period.wrong') : wanted >= today.slice(0, 7) ? t('period.early') : ''],
      [days, within >= 1 && within <= 366 ? '' : t('royalty.wrong')])) return;
    // A large site has many articles in a month, so there is no timeout: the request ends when the server answers.
    const change = await order(page, 'close', { period: wanted, within }, { button, said, limit: 0 });
    if (!change) return;
    done(page, said, change, read);
    read();
  }, period.made, days.made);
  read();
  return page.sheet(t('closing.title'), h('p', { class: 'soft lead' }, t('closing.lead')), made.made, place);
}

/* ---- the total ------------------------------------------------------------------------------------------------------ */
function resetting(page) {
  const { t, site } = page;
  const to = field(t, 'reset.to', { inputmode: 'numeric', value: '0' });
  const why = reason(t);
  const { made } = form(t, t('reset.start'), async ({ button, said }) => {
    const value = whole(to.value);
    if (!right([to, value === null || value < 0 ? t('n.wrong') : ''], [why, why.value ? '' : t('why.empty')])) return;
    let look;
    try {
      look = await post(`${at(page)}reset/preview`, { to: value, why: why.value }, page.signal);
    } catch (error) {
      if (!page.signal.aborted) said.replaceChildren(h('p', { class: 'wrong', role: 'alert' }, refusedIn(t, error)));
      return;
    }
    const { total } = look.amounts[0];
    const { ask } = await import('../dialog.js');
    const sure = await ask({
      title: t('reset.ask', { site: site.name || site.id }), typed: site.id, typedLabel: t('reset.type', { id: site.id }), harmless: t('reset.not'), act: t('reset'),
      body: [h('p', {}, t('reset.lead', { before: number(total.before), after: number(total.after) })), h('p', {}, `${t('why')}: ${why.value}`)],
    });
    const change = sure && await order(page, 'reset', { to: value, why: why.value, confirm: site.id }, { button, said });
    if (change) done(page, said, change);
  }, to.made, why.made);
  return page.sheet(t('reset.title'), h('p', { class: 'soft lead' }, t('reset.about')), made);
}
