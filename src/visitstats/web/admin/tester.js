/* Which address is which article: addresses are tried by the site's rules, and changed rules on its articles before they are
 * saved. */
import { post } from './api.js';
import { area, check, form, pick, rows, why } from './fields.js';
import { h } from './dom.js';
import { number } from './format.js';

const MOST = 50;
const ARROW = ' => ';

export function addresses(page, path, record) {
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

/** What became of the addresses: those of one article together. */
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
