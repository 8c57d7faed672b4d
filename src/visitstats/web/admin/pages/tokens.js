/* Access tokens: they are made and revoked here. The page also shows which requests were refused, and to whom. */
import { get, post, remove } from '../api.js';
import { ask, open } from '../dialog.js';
import { copy, framed, fresh, h } from '../dom.js';
import { UNKNOWN, date, moment, number } from '../format.js';

const SCOPES = ['viewer', 'editor', 'admin', 'metrics'];
const DAYS = ['365', '90', '30', '0'];
const REFUSED_DAYS = 7;
const SOON = 7 * 86_400_000;

export default async function tokens(page) {
  const { t, root, sites, me } = page;
  const place = h('div');
  const said = h('p', { class: 'soft', role: 'status' });
  page.head(t('nav.tokens'), h('button', { class: 'button main', type: 'button', onclick: make }, t('make')));
  const sheet = page.sheet(t('list'), said, place);
  root.append(sheet);
  const named = id => sites.find(site => site.id === id)?.name || id;
  const refusals = h('div');
  await show();
  // It is added below the existing content, so that nothing moves.
  root.append(page.sheet(t('refusals'), h('p', { class: 'soft lead' }, t('refusals.lead', { n: REFUSED_DAYS })), refusals));
  await page.load(refusals, s => get('admin/refusals', { days: REFUSED_DAYS }, s), found => refusals.replaceChildren(refused(page, found.refusals)));

  function show() {
    return page.load(place, s => get('admin/tokens', {}, s), found => {
      const rows = found.tokens.map(token => {
        const ends = token.expires && Date.parse(token.expires);
        const over = ends && ends <= Date.now();
        const state = !token.expires ? t('never') : over ? t('over', { day: date(token.expires.slice(0, 10)) }) : date(token.expires.slice(0, 10));
        const where = token.sites.length ? token.sites.map(named).join(', ') : t('all');
        return h('tr', {}, h('th', { scope: 'row' }, token.name, h('span', { class: 'more' }, `${t(`scope.${token.scope}`)} · ${where}`, h('br'), `${t('expires')}: ${state}`)),
          h('td', { class: 'side' }, t(`scope.${token.scope}`)), h('td', { class: 'side' }, where),
          h('td', { class: 'side' }, token.created ? date(token.created.slice(0, 10)) : UNKNOWN, h('span', { class: 'where' }, token.by || t('by.command'))),
          h('td', { class: 'side' }, token.used ? t('used', { day: date(token.used.slice(0, 10)), hour: String(Number(token.used.slice(11, 13))) }) : t('unused')),
          h('td', { class: `side${over || (ends && ends - Date.now() < SOON) ? ' warn' : ''}` }, state),
          h('td', { class: 'right' }, h('button', { class: 'button', type: 'button', 'aria-label': t('revoke.one', { name: token.name }), onclick: () => revoke(token, found.tokens) }, t('revoke'))));
      });
      const damaged = found.damaged.map(id => h('p', { class: 'note' }, t('damaged', { id }), ' ',
        h('button', { class: 'button', type: 'button', onclick: () => end(id, id) }, t('remove'))));
      place.replaceChildren(...damaged, framed(h('table', { class: 'tokens' }, h('caption', { class: 'unseen' }, t('list')), h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, t('name')),
        ...['scope', 'sites', 'made', 'last', 'expires'].map(name => h('th', { scope: 'col', class: 'side' }, t(name))), h('th', { scope: 'col' }, h('span', { class: 'unseen' }, t('revoke'))))), h('tbody', {}, rows)), t('list')));
    });
  }

  async function revoke(token, all) {
    const admins = all.filter(each => each.scope === 'admin' && !each.sites.length && !(each.expires && Date.parse(each.expires) <= Date.now()));
    const last = admins.length === 1 && admins[0].id === token.id;
    const own = token.name === me.name;
    const body = [h('p', { class: 'lead' }, t(last ? 'revoke.last' : own ? 'revoke.own' : 'revoke.body'))];
    const sure = await ask({ title: t('revoke.title', { name: token.name }), body, harmless: t('keep'), act: t('revoke.act'), ...(last || own ? { typed: token.name, typedLabel: t('revoke.type', { name: token.name }) } : {}) });
    if (sure) await end(token.id, token.name);
  }

  async function end(id, name) {
    await page.load(said, () => remove(`admin/tokens/${encodeURIComponent(id)}`), () => said.replaceChildren(t('revoked', { name })));
    await show();
  }

  function make() {
    open(t('make'), close => {
      const ids = { name: fresh(), scope: fresh(), days: fresh(), wrong: fresh() };
      const name = h('input', { id: ids.name, autocomplete: 'off', maxlength: 80, autofocus: true, 'aria-describedby': ids.wrong });
      const scope = h('select', { id: ids.scope }, SCOPES.map(each => h('option', { value: each }, t(`scope.${each}`))));
      const days = h('select', { id: ids.days }, DAYS.map(each => h('option', { value: each }, t(`days.${each}`))));
      const boxes = sites.map(site => h('input', { type: 'checkbox', value: site.id }));
      const list = h('div', { class: 'sites', hidden: true }, sites.map((site, i) => h('label', { class: 'check block' }, boxes[i], ' ', site.name || site.id)));
      const which = h('fieldset', { class: 'kinds' }, h('legend', {}, t('sites')), ['all', 'some'].map(each => h('label', { class: 'check' },
        h('input', { type: 'radio', name: 'which', value: each, checked: each === 'all', onchange: () => { list.hidden = each === 'all'; } }), ' ', t(`which.${each}`))), list);
      const wrong = h('p', { class: 'wrong', id: ids.wrong, role: 'alert' });
      const button = h('button', { class: 'button main', type: 'submit' }, t('make.act'));
      const form = h('form', { onsubmit: async event => {
        event.preventDefault();
        const chosen = boxes.filter(box => box.checked).map(box => box.value);
        const some = !list.hidden;
        if (!name.value.trim() || (some && !chosen.length)) {
          wrong.textContent = t(name.value.trim() ? 'wrong.sites' : 'wrong.name');
          name.setAttribute('aria-invalid', String(!name.value.trim()));
          (name.value.trim() ? boxes[0] : name)?.focus();
          return;
        }
        button.disabled = true;
        try {
          const made = await post('admin/tokens', { name: name.value.trim(), scope: scope.value, sites: some ? chosen : [], days: Number(days.value) });
          form.replaceWith(...told(made, close));
          show();
        } catch (error) {
          wrong.textContent = error.code === 'bad-request' ? t('wrong.taken') : t(t.has(`error.${error.code}`) ? `error.${error.code}` : 'error.internal-error', { code: error.status ?? error.name, n: 0 });
          button.disabled = false;
        }
      } }, h('div', { class: 'pick' }, h('label', { for: ids.name }, t('name')), name), h('div', { class: 'pick' }, h('label', { for: ids.scope }, t('scope')), scope), which,
      h('div', { class: 'pick' }, h('label', { for: ids.days }, t('expires')), days), wrong,
      h('div', { class: 'actions end' }, h('button', { class: 'button', type: 'button', onclick: () => close() }, t('close')), button));
      return form;
    });
  }

  /** Shows the token once, in an element that is removed with the dialog, and keeps it nowhere else. */
  function told(made, close) {
    const id = fresh();
    const field = h('input', { id, readonly: true, spellcheck: 'false', class: 'secret' });
    field.value = made.token;
    const copied = h('span', { class: 'soft', role: 'status' });
    queueMicrotask(() => field.select());
    return [h('p', { class: 'note' }, t('once')), h('div', { class: 'pick' }, h('label', { for: id }, t('token.of', { name: made.name })), field),
      h('div', { class: 'actions end' }, h('button', { class: 'button main', type: 'button', onclick: async () => { await copy(made.token); copied.textContent = t('table.copied'); } }, t('copy')),
        h('button', { class: 'button', type: 'button', onclick: () => close() }, t('close')), copied)];
  }
}

function refused({ t }, rows) {
  if (!rows.length) return h('p', { class: 'soft' }, t('refusals.none'));
  return framed(h('table', {}, h('caption', { class: 'unseen' }, t('refusals')), h('thead', {}, h('tr', {}, h('th', { scope: 'col', class: 'wide' }, t('what')),
    h('th', { scope: 'col', class: 'right' }, t('times')), h('th', { scope: 'col', class: 'side' }, t('who')), h('th', { scope: 'col', class: 'side' }, t('network')), h('th', { scope: 'col', class: 'side' }, t('last.time')))),
  h('tbody', {}, rows.map(row => h('tr', {}, h('th', { scope: 'row', class: 'wide' }, t(t.has(`reason.${row.reason}`) ? `reason.${row.reason}` : 'reason.others'), h('span', { class: 'where' }, [row.route, row.site].filter(Boolean).join(' · ')),
    h('span', { class: 'more' }, [row.who, row.network, moment(row.last)].filter(Boolean).join(' · '))),
  h('td', { class: 'right number' }, number(row.times)), h('td', { class: 'side' }, row.who || UNKNOWN), h('td', { class: 'side' }, row.network || UNKNOWN), h('td', { class: 'side number' }, moment(row.last)))))), t('refusals'));
}
