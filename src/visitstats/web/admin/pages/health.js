/* The state of the installation: one sentence first, then its parts, each with what to do. */
import { get } from '../api.js';
import { framed, h, whileSeen } from '../dom.js';
import { UNKNOWN, decimal, moment, number, percent, seconds } from '../format.js';

const EVERY = 10_000;
const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];
/* The command that explains a problem, or repairs it. */
const COMMANDS = {
  'journal-refuses': 'visitstats doctor', 'store-away': 'visitstats doctor', 'store-unfit': 'visitstats doctor', 'store-lost': 'visitstats restore',
  workers: 'visitstats doctor', waiting: 'visitstats journal status', 'other-host': 'visitstats journal status', disk: 'visitstats doctor',
  memory: 'visitstats doctor', 'not-persistent': 'visitstats doctor', 'task-failed': 'visitstats tasks list', contradictions: 'visitstats verify',
  'backup-old': 'visitstats backup', 'backup-never': 'visitstats backup',
};
const LOSSES = ['journal-refuses', 'store-lost'];

export default async function health(page) {
  const { t, root, signal } = page;
  const live = h('p', { class: 'soft live' });
  page.head(t('nav.health'), live);
  const place = h('div');
  root.append(place);
  await page.load(place, s => get('admin/health', {}, s), found => {
    place.replaceChildren();
    for (const part of [sentence, parts, tasks]) place.append(part(page)); // one by one: each takes the next id
    draw(found);
  });
  if (signal.aborted || !place.querySelector('.parts')) return;
  whileSeen(EVERY, signal, () => page.refresh(live, s => get('admin/health', {}, s), draw));

  function draw(found) {
    live.dataset.at = seconds(found.at);
    live.textContent = t('live.utc', { time: seconds(found.at) });
    const [state, todo] = place.querySelector('.said-state').children;
    const worst = found.troubles[0];
    state.className = `state ${worst ? 'bad' : 'good'}`;
    const text = !worst ? t('fine') : found.troubles.some(each => LOSSES.includes(each)) ? t('wrong') : t('wrong.counted');
    if (state.textContent !== text) state.textContent = text;
    todo.replaceChildren(...found.troubles.map(each => h('li', {}, t(`trouble.${each}`, values(found)), ' ', h('code', {}, COMMANDS[each]))));
    for (const [name, show] of Object.entries(PARTS)) place.querySelector(`[data-part=${name}]`).replaceChildren(...show(t, found).flat());
    const body = place.querySelector('tbody');
    body.replaceChildren(...found.tasks.map(task => h('tr', {}, h('th', { scope: 'row', class: 'wide' }, t(t.has(`task.${task.name}`) ? `task.${task.name}` : 'task.other', { name: task.name })),
      h('td', { class: task.right ? null : 'bad' }, t(task.right ? 'right' : 'failed')), h('td', { class: 'side number' }, moment(task.at)), h('td', { class: 'side' }, task.host))));
  }
}

const values = found => ({ since: found.journal.unapplied_since ? moment(found.journal.unapplied_since) : UNKNOWN, n: found.journal.unapplied_records, made: found.backup.made ? moment(found.backup.made) : UNKNOWN, hosts: Object.keys(found.lacks).join(', '), hits: Object.values(found.lacks).reduce((sum, each) => sum + each, 0) });

function bytes(n) {
  if (n === null) return UNKNOWN;
  let unit = 0;
  for (; n >= 1024 && unit < UNITS.length - 1; unit++) n /= 1024;
  return `${n < 10 && unit ? decimal(n) : number(Math.round(n))} ${UNITS[unit]}`;
}

const note = text => h('span', { class: 'soft' }, text);
const PARTS = {
  workers: (t, { workers_ready: ready, workers_wanted: wanted, version }) => [t('workers', { ready, wanted }), note(t('version', { version }))],
  store: (t, { store }) => [t(store.answers ? 'store.answers' : 'store.silent'), store.answers && note(t('store.note', { version: store.version || UNKNOWN, memory: bytes(store.memory) })),
    store.answers && note(t(store.persistent ? 'store.kept' : 'store.not.kept'))].filter(Boolean),
  journal: (t, { journal }) => [t(journal.takes_hits ? 'journal.takes' : 'journal.refuses'), note(t('journal.note', { bytes: bytes(journal.bytes), limit: bytes(journal.limit) })),
    note(journal.unapplied_records ? t('journal.waits', { n: journal.unapplied_records }) : t('journal.none'))],
  backup: (t, { backup }) => [backup.made ? moment(backup.made) : t('backup.never'), backup.made && note(bytes(backup.bytes)), note(backup.verified ? t('backup.verified', { at: moment(backup.verified) }) : t('backup.unverified'))].filter(Boolean),
  disk: (t, { disk }) => [disk.size ? t('disk', { free: bytes(disk.free), share: percent(disk.free / disk.size) }) : UNKNOWN],
};

function sentence(page) {
  return page.sheet(page.t('how'), h('div', { class: 'said-state' }, h('p', { class: 'state', role: 'status' }), h('ul', { class: 'todo' })));
}

function parts(page) {
  const { t } = page;
  return page.sheet(t('parts'), h('dl', { class: 'parts' }, Object.keys(PARTS).map(name => h('div', {}, h('dt', {}, t(`part.${name}`)), h('dd', { 'data-part': name })))));
}

function tasks(page) {
  const { t } = page;
  return page.sheet(t('tasks'), framed(h('table', {}, h('caption', { class: 'unseen' }, t('tasks')), h('thead', {}, h('tr', {}, h('th', { scope: 'col', class: 'wide' }, t('task')),
    h('th', { scope: 'col' }, t('result')), h('th', { scope: 'col', class: 'side' }, t('when')), h('th', { scope: 'col', class: 'side' }, t('host')))), h('tbody')), t('tasks')));
}
