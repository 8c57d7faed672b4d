/* What the numbers mean, why they differ from another system's, and how one page load would be counted. */
import { get, post } from '../api.js';
import { chooseOf, pick, why } from '../fields.js';
import { fresh, h } from '../dom.js';
import { UNKNOWN, month, number, percent } from '../format.js';

const MEANINGS = ['online', 'visits', 'views', 'week', 'total', 'uniques', 'bots', 'networks', 'unknown', 'day'];
const SYSTEMS = ['analytics', 'nukeviet', 'logs', 'cdn', 'other'];
const CAUSES = { analytics: 4, nukeviet: 4, logs: 4, cdn: 3, other: 4 };
const MONTHS = 12;
const OURS = 'origin'; // a page load that is tried here comes from these pages, which are no portal's

export default async function meanings(page) {
  const { t, root, site } = page;
  page.head(t('nav.why'));
  const path = `admin/sites/${encodeURIComponent(site.id)}`;
  const list = h('dl', { class: 'meanings' });
  root.append(page.sheet(t('meanings'), h('p', { class: 'lead' }, t('meanings.lead')), list));
  await page.load(list, async s => {
    const [now, ignored, uniques] = await Promise.all([get(`${path}/now`, {}, s), get(`${path}/ignored`, {}, s), get(`${path}/uniques`, {}, s)]);
    return { now, ignored, uniques };
  }, ({ now, ignored, uniques }) => {
    const { numbers } = now;
    const values = {
      online: number(numbers.online), today: number(numbers.today), week: number(numbers.week), total: number(numbers.total), baseline: number(now.baseline),
      uniques: number(uniques.uniques), bots: number(ignored.ignored.bot ?? 0), engines: number(ignored.search_engines), capped: number(ignored.visitors_capped), zone: now.timezone,
      what: t(`what.${now.box}`),
    };
    list.replaceChildren(...MEANINGS.map(name => h('div', {}, h('dt', {}, t(`meaning.${name}`)), h('dd', {}, t(`meaning.${name}.is`, values)))));
  });
  compare(page, path);
  trial(page);
}

/* ---- another system's figure beside ours ---------------------------------------------------------------------------- */
function compare(page, path) {
  const { t, root } = page;
  const place = h('div', {});
  root.append(page.sheet(t('differ'), h('p', { class: 'lead' }, t('differ.lead')), place));
  return page.load(place, s => get(`${path}/history`, { by: 'month' }, s), found => {
    const rows = found.rows.filter(row => row.kind !== 'running').slice(-MONTHS).reverse();
    if (!rows.length) { place.replaceChildren(h('p', { class: 'soft' }, t('differ.none'))); return; }
    const system = chooseOf(SYSTEMS, page.query.get('system') ?? SYSTEMS[0], value => t(`system.${value}`), () => draw());
    const months = chooseOf(rows.map(row => row.name), rows[0].name, month, () => draw());
    const field = h('input', { type: 'text', inputmode: 'numeric', autocomplete: 'off', oninput: () => draw() });
    const kind = chooseOf(['visits', 'views'], 'views', value => t(`what.${value}`), () => draw());
    const said = h('p', { role: 'status', class: 'said-line' });
    const causes = h('ol', { class: 'causes' });
    const draw = () => {
      const row = rows.find(each => each.name === months.value);
      const typed = field.value.replace(/[.,\s\u00a0]/g, '');
      const theirs = /^\d{1,15}$/.test(typed) ? Number(typed) : null;
      const mine = row[kind.value];
      const values = { month: month(row.name), mine: number(mine), what: t(`what.${kind.value}`) };
      said.textContent = mine === null ? t('differ.unknown', values)
        : theirs === null ? t(field.value.trim() ? 'differ.wrong' : 'differ.ours', values)
          : t(theirs === mine ? 'differ.same' : theirs > mine ? 'differ.more' : 'differ.less', {
            ...values, theirs: number(theirs), gap: number(Math.abs(theirs - mine)), share: mine ? percent(Math.abs(theirs - mine) / mine) : UNKNOWN,
          });
      if (row.known !== 'yes' && mine !== null) said.textContent += ` ${t('differ.partly')}`;
      causes.replaceChildren(...Array.from({ length: CAUSES[system.value] }, (_, n) => h('li', {}, t(`cause.${system.value}.${n + 1}`))));
    };
    place.replaceChildren(h('div', { class: 'row' }, pick(t('differ.system'), system), pick(t('differ.month'), months), pick(t('differ.kind'), kind), pick(t('differ.theirs'), field)),
      said, h('h3', { id: fresh() }, t('causes')), causes);
    draw();
  });
}

/* ---- one page load, tried ------------------------------------------------------------------------------------------- */
function trial(page) {
  const { t, root, site } = page;
  if (!page.may('editor')) return;
  const url = h('input', { type: 'url', autocomplete: 'off', spellcheck: 'false', value: page.query.get('url') ?? '' });
  const said = h('div', { role: 'status' });
  const trouble = h('p', { class: 'wrong', role: 'alert' });
  root.append(page.sheet(t('trial'), h('p', { class: 'lead' }, t('trial.lead')), h('form', { class: 'row', novalidate: true, onsubmit: async event => {
    event.preventDefault();
    trouble.textContent = '';
    said.replaceChildren();
    if (!/^https?:\/\/\S+$/.test(url.value.trim())) { trouble.textContent = t('trial.wrong'); url.focus(); return; }
    page.remember({ url: url.value.trim() }, false);
    try {
      const found = await post(`sites/${encodeURIComponent(site.id)}/hit?explain=1`, { u: url.value.trim() }, page.signal);
      said.replaceChildren(...told(t, found));
    } catch (error) { if (!page.signal.aborted) trouble.replaceChildren(...why(t, error)); }
  } }, pick(t('trial.url'), url), h('button', { class: 'button main', type: 'submit' }, t('trial.ask'))), trouble, said));
}

function told(t, found) {
  const steps = found.steps.filter(step => step.rule !== OURS);
  const refused = steps.find(step => step.outcome === 'refused');
  const reason = refused && (t.has(`reason.${refused.reason}`) ? t(`reason.${refused.reason}`) : refused.reason);
  return [
    h('p', { class: 'said-line' }, refused ? t('trial.no', { reason }) : t('trial.yes', { key: found.key ?? UNKNOWN })),
    h('ol', { class: 'ways' }, steps.map(step => h('li', { class: step.outcome === 'refused' ? 'bad' : '' },
      h('span', {}, t.has(`step.${step.rule}`) ? t(`step.${step.rule}`) : step.rule), ': ', t(`outcome.${step.outcome}`),
      step.note && h('span', { class: 'where', lang: 'en' }, step.note)))),
  ];
}
