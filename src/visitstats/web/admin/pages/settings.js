/* The settings of a site: its box and what is pasted for it, its addresses, names, ways of counting. Each part is saved by
 * itself. */
import { get, post } from '../api.js';
import { box, snippet } from '../designer.js';
import { area, check, chooseOf, form, pick, rows, why } from '../fields.js';
import { h } from '../dom.js';
import { number } from '../format.js';

const MOST = 50;
const ARROW = ' => ';

export default async function settings(page) {
  const { t, root, site } = page;
  page.head(t('nav.settings'));
  const place = h('div');
  root.append(place);
  const path = `admin/sites/${encodeURIComponent(site.id)}`;
  await page.load(place, s => get(`${path}/settings`, {}, s), async record => {
    place.replaceChildren();
    const api = await box(page, path);
    snippet(page, path, api);
    addresses(page, path, record);
    names(page, path, record);
    counting(page, path, record);
    networks(page, path, record);
    archive(page, path, record);
  });
}

function names(page, path, record) {
  const { t } = page;
  const name = h('input', { type: 'text', value: record.name, maxlength: 200 });
  const hosts = area(record.hosts);
  form(page, path, 'names', [pick(t('names.name'), name), pick(t('names.hosts'), hosts, t('names.hosts.hint'))], () => {
    if (!rows(hosts).length) throw Object.assign(new Error(), { word: 'names.none' });
    return { name: name.value.trim(), hosts: rows(hosts) };
  });
}

function counting(page, path, record) {
  const { t } = page;
  const kind = chooseOf(['visits', 'views'], record.box, value => t(`box-kind.${value}`));
  const views = chooseOf(['per-visit', 'every-load'], record.views, value => t(`views.${value}`));
  const zone = h('input', { type: 'text', value: record.timezone, spellcheck: 'false' });
  const week = chooseOf(['1', '2', '3', '4', '5', '6', '7'], String(record.week_start), value => t(`week.${value}`));
  const engines = check(t('engines'), record.show_search_engines);
  const top = check(t('top'), record.publish_top);
  form(page, path, 'counting', [h('div', { class: 'row' }, pick(t('box-kind'), kind), pick(t('views'), views)),
    h('div', { class: 'row' }, pick(t('zone'), zone, t('zone.hint')), pick(t('week'), week)), engines.row, top.row],
  () => ({ box: kind.value, views: views.value, timezone: zone.value.trim(), week_start: Number(week.value), show_search_engines: engines.field.checked, publish_top: top.field.checked }));
}

function networks(page, path, record) {
  const { t } = page;
  const excluded = area(record.excluded_networks);
  const paths = area(record.excluded_paths);
  const offices = area(record.office_networks);
  const most = h('input', { type: 'text', inputmode: 'numeric', value: record.visitors_per_network });
  form(page, path, 'networks', [pick(t('excluded'), excluded, t('excluded.hint')), pick(t('paths'), paths, t('paths.hint')),
    pick(t('offices'), offices, t('offices.hint')), pick(t('most'), most, t('most.hint'))], () => {
    if (!/^\d{1,7}$/.test(most.value.trim())) throw Object.assign(new Error(), { word: 'most.wrong' });
    return { excluded_networks: rows(excluded), excluded_paths: rows(paths), office_networks: rows(offices), visitors_per_network: Number(most.value) };
  });
}

function archive(page, path, record) {
  const field = check(page.t('archived'), record.archived);
  form(page, path, 'archive', [field.row], () => ({ archived: field.field.checked }));
}

/* ---- addresses: tried by the rules, and changed rules on the site's articles before they are saved ------------------------ */
function addresses(page, path, record) {
  const { t, root, site } = page;
  const urls = area([], { rows: 3, placeholder: `https://${site.host.replace('*.', '')}/…` });
  const said = h('div', { role: 'status' });
  const trouble = h('p', { class: 'wrong', role: 'alert' });
  const button = h('button', { class: 'button', type: 'submit' }, t('try'));
  const ask = async settings => {
    trouble.textContent = '';
    const found = rows(urls);
    if (!found.length && !settings) { trouble.textContent = t('try.none'); return; }
    if (found.length > MOST) { trouble.textContent = t('try.many', { n: MOST }); return; }
    try {
      const answer = await post(`${path}/keys`, { urls: found, ...(settings && { settings }) }, page.signal);
      said.replaceChildren(...results(t, answer));
    } catch (error) { if (!page.signal.aborted) trouble.replaceChildren(...why(t, error)); }
  };
  root.append(page.sheet(t('addresses'), h('p', { class: 'lead' }, t('addresses.lead')),
    h('form', { class: 'fields', onsubmit: event => { event.preventDefault(); ask(); } },
      pick(t('try.urls'), urls, t('try.urls.hint', { n: MOST })), h('div', { class: 'end' }, button)), trouble, said));

  const preset = area(record.preset, { rows: 2 });
  const rules = area(record.rules.map(rule => rule.join(ARROW)));
  const only = area(record.id_params, { rows: 2 });
  const drop = area(record.extra_drop_params, { rows: 2 });
  const caseless = check(t('caseless'), record.ignore_case);
  const hash = check(t('hash'), record.hash_routes);
  const canonical = check(t('canonical'), record.use_canonical);
  const read = () => ({
    preset: rows(preset), id_params: rows(only), extra_drop_params: rows(drop),
    rules: rows(rules).map((row, n) => {
      const at = row.lastIndexOf(ARROW);
      if (at < 0) throw Object.assign(new Error(), { word: 'rules.wrong', values: { n: n + 1 } });
      return [row.slice(0, at).trim(), row.slice(at + ARROW.length).trim()];
    }),
    ignore_case: caseless.field.checked, hash_routes: hash.field.checked, use_canonical: canonical.field.checked,
  });
  const made = form(page, path, 'rules', [
    h('div', { class: 'row' }, pick(t('rules.preset'), preset, t('rules.preset.hint')), pick(t('rules.only'), only, t('rules.only.hint')), pick(t('rules.drop'), drop, t('rules.drop.hint'))),
    pick(t('rules.own'), rules, t('rules.own.hint')), caseless.row, hash.row, canonical.row,
    h('div', {}, h('button', { class: 'button', type: 'button', onclick: () => {
      try { ask(read()); } catch (error) { trouble.textContent = t(error.word, error.values); }
      said.scrollIntoView({ block: 'center' });
    } }, t('try.changed')))], read);
  return made;
}

/** Shows the results of the addresses, grouped by article. */
function results(t, { addresses: tried, sample }) {
  const groups = new Map();
  for (const each of tried) {
    const name = each.key ?? `\u0000${each.url}`;
    groups.set(name, [...(groups.get(name) ?? []), each]);
  }
  const keys = [...groups.keys()].filter(key => !key.startsWith('\u0000'));
  return [
    tried.length ? h('p', {}, t('try.said', { urls: number(tried.length), n: keys.length })) : '',
    ...[...groups.values()].map(group => {
      const [{ key, title, views, refused }] = group;
      return h('div', { class: 'tried' },
        key ? h('p', {}, h('b', { class: 'key-name' }, key), title && ` “${title}”`, views === null ? ` · ${t('try.unknown')}` : ` · ${t('try.views', { n: views })}`)
          : h('p', { class: 'warn' }, t('try.refused', { reason: t.has(`key.${refused.reason}`) ? t(`key.${refused.reason}`) : refused.reason })),
        ...group.map(each => h('details', {}, h('summary', { class: 'address' }, each.url), h('ol', { class: 'ways' }, each.steps.map(step =>
          h('li', { class: step.changed ? '' : 'soft' }, h('span', {}, t.has(`rule.${step.rule}`) ? t(`rule.${step.rule}`) : step.rule), step.changed ? h('span', { class: 'where' }, `${step.before} → ${step.after}`) : ''))))));
    }),
    sample ? h('p', { class: 'note' }, t(sample.changed ? 'try.sample' : 'try.same', { tried: number(sample.tried), n: sample.changed, joined: number(sample.joined) })) : '',
  ].filter(Boolean);
}
