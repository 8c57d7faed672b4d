/* Old numbers: choose a file, look, confirm, done. Nothing is written before the third step. */
import { download, get, post, save, sendFile } from '../api.js';
import { choice, figure, framed, fresh, h, wait } from '../dom.js';
import { date, number } from '../format.js';

const EVERY = 700;
const LISTS = ['changed', 'new', 'added', 'left'];
const STRATEGIES = ['replace', 'add', 'keep-larger'];

export default async function bring(page) {
  const { t, root, site, signal } = page;
  const base = `admin/sites/${encodeURIComponent(site.id)}/imports`;
  page.head(t('nav.import'));
  const steps = h('ol', { class: 'stages' });
  const place = h('div', { class: 'rows' });
  root.append(h('section', { class: 'sheet', 'aria-label': t('nav.import') }, steps, place));
  let file = null;
  let job = null;
  let strategy = 'replace';
  let stopped = false;

  function step(now) {
    steps.replaceChildren(...['choose', 'look', 'confirm', 'done'].map((name, i) => h('li', { 'aria-current': i === now ? 'step' : null, class: i === now ? 'now' : 'soft' }, t(`step.${name}`))));
  }
  /** Shows the next step and moves the focus there, because the element that had it is gone. */
  function next(first, ...others) {
    first.tabIndex = -1;
    place.replaceChildren(first, ...others.filter(Boolean));
    first.focus();
  }
  const button = (text, act, main) => h('button', { class: `button${main ? ' main' : ''}`, type: 'button', onclick: act }, text);

  function choose(told) {
    step(0);
    const field = h('input', { type: 'file', id: 'file', required: true });
    place.replaceChildren(...[told, h('p', {}, t('choose.told')), h('form', { class: 'row choose', onsubmit: event => { event.preventDefault(); file = field.files[0]; if (file) send(); } },
      h('div', { class: 'pick' }, h('label', { for: 'file' }, t('choose.file')), field),
      h('button', { class: 'button main', type: 'submit' }, t('choose.look'))), h('p', { class: 'soft' }, t('choose.kinds'))].filter(Boolean));
  }

  function waiting(text, stop) {
    const bar = h('progress', { 'aria-label': text });
    const said = h('p', { role: 'status' }, text);
    place.replaceChildren(said, bar, h('div', { class: 'end' }, stop ? button(t('stop'), () => { stopped = true; choose(); }) : ''));
    return n => { if (n) said.textContent = t('reading', { n: number(n) }); };
  }

  /** Polls until the state is none of the given ones. */
  async function until(states, show) {
    for (;;) {
      const found = await get(`${base}/job`, { job: job.job }, signal);
      if (stopped || !states.includes(found.state)) return found;
      show(found.n);
      await wait(EVERY, signal);
    }
  }

  async function send() {
    stopped = false;
    step(1);
    const show = waiting(t('sending'), true);
    await page.load(place, async () => {
      job = await sendFile(`${base}/upload`, { name: file.name }, file, signal);
      return look(show);
    }, () => {});
  }

  async function look(show) {
    await post(`${base}/look`, { job: job.job, strategy }, signal);
    const found = await until(['sent', 'reading'], show);
    if (!stopped) shown(found);
    return found;
  }

  function refused({ refused: error }) {
    const where = [error.sheet && t('at.sheet', { sheet: error.sheet }), error.line && t(error.sheet ? 'at.row' : 'at.line', { n: String(error.line) }), error.cell && t('at.cell', { cell: error.cell })].filter(Boolean).join(', ');
    const told = h('div', { class: 'note', role: 'alert', tabindex: -1 }, h('p', {}, ...t.rich('refused', {
      where: where ? `${where}: ` : '',
      why: h('span', {}, error.found && !error.why.includes(error.found) && `“${error.found}” – `, h('span', { lang: 'en' }, [error.why, error.hint].filter(Boolean).join(' – '))),
    })));
    choose(h('div', {}, told)); // in a place of its own: what stands in `place` itself goes when the next answer comes
    told.focus();
  }

  function shown(found) {
    const made = found.outcome;
    if (found.state === 'refused') { refused(made); return; }
    if (made.already) {
      const told = h('div', { class: 'note', role: 'status', tabindex: -1 }, h('p', {}, t('already', { at: date(made.already.at.slice(0, 10)), who: made.already.who })));
      choose(told);
      told.focus();
      return;
    }
    step(2);
    const { plan, in_file: sums, lists } = made;
    const kind = sums.visits.read ? 'visits' : 'views';
    const list = h('div', {});
    const tabs = LISTS.filter(name => lists[name].count).map(name => [name, `${t(`list.${name}`)} ${number(lists[name].count)}`]);
    const draw = name => list.replaceChildren(name ? table(name, lists[name]) : h('p', { class: 'soft' }, t('list.none')));
    draw(tabs[0]?.[0]);
    const line = what => (plan[what].now === plan[what].will_be ? null : h('p', {}, ...t.rich(`site.${what}`, { now: figure(number(plan[what].now)), then: figure(number(plan[what].will_be)) })));
    next(
      h('h2', {}, t('look.title', { file: found.file })),
      h('p', {}, ...t.rich(`sum.${kind}`, { all: figure(number(sums[kind].read)), taken: figure(number(sums[kind].taken)), left: figure(number(sums[kind].left_out)) })),
      line('visits'), line('views'),
      h('p', {}, t('articles', { changed: plan.changed, fresh: plan.new, days: Object.keys(made.days).length, months: Object.keys(made.months).length, years: Object.keys(made.years).length })),
      made.warnings.length ? h('details', {}, h('summary', {}, t('warnings', { n: made.warnings.length })), h('ul', {}, made.warnings.slice(0, 100).map(text => h('li', {}, text)))) : null,
      tabs.length ? h('div', {}, choice(fresh(), t('lists'), tabs, tabs[0][0], draw)) : null, list,
      h('div', {}, h('p', {}, t('strategy')), choice(fresh(), t('strategy'), STRATEGIES.map(name => [name, t(`strategy.${name}`)]), strategy, name => { strategy = name; send.again(); })),
      h('div', { class: 'end' }, button(t('confirm'), make, true), button(t('other'), () => choose()),
        button(t('csv'), async () => { const { blob, name } = await download(`${base}/csv`, { job: job.job }, signal, () => {}); save(blob, name); })),
    );
  }
  send.again = () => { const show = waiting(t('looking'), true); stopped = false; page.load(place, () => look(show), () => {}); };

  function table(name, { rows }) {
    const head = name === 'left' ? ['line', 'reason', 'detail', 'number'] : name === 'added' ? ['article', 'address', 'number'] : ['article', 'now', 'infile', 'then'];
    const numeric = new Set(['now', 'infile', 'then', 'number']);
    return framed(h('table', {}, h('caption', { class: 'unseen' }, t(`list.${name}`)),
      h('thead', {}, h('tr', {}, head.map(each => h('th', { scope: 'col', class: numeric.has(each) ? 'right' : null }, t(`head.${each}`))))),
      h('tbody', {}, rows.map(row => h('tr', {}, row.map((cell, i) => (i ? h('td', { class: numeric.has(head[i]) ? 'right number' : null }, typeof cell === 'number' || cell === null ? number(cell) : cell)
        : h('th', { scope: 'row' }, String(cell ?? '')))))))), t(`list.${name}`));
  }

  async function make() {
    step(2);
    const show = waiting(t('writing'), false);
    await page.load(place, async () => {
      await post(`${base}/make`, { job: job.job, strategy }, signal);
      return until(['looked', 'writing'], () => show(0));
    }, found => {
      if (found.state === 'refused') { refused(found.outcome); return; }
      step(3);
      const { change, plan } = found.outcome;
      const said = h('div');
      const undo = button(t('undo.start'), async () => {
        const { takeBack } = await import('../changing.js');
        takeBack(page, { id: change, kind: 'import' }, said, () => { undo.disabled = true; });
      });
      next(h('p', {}, ...t.rich('imported', { visits: figure(number(plan.visits.will_be)), views: figure(number(plan.views.will_be)) })), said,
        h('div', { class: 'end' }, undo, button(t('more'), () => choose())));
    });
  }
  choose();
}
