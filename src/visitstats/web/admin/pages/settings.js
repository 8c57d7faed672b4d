/* The settings of a site: its box and what is pasted for it, its addresses, names, ways of counting. Each part is saved by
 * itself. */
import { get } from '../api.js';
import { box, snippet } from '../designer.js';
import { area, check, chooseOf, form, pick, rows } from '../fields.js';
import { h } from '../dom.js';
import { addresses } from '../tester.js';

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
