/* Files of lists and reports: they have all rows, show their progress, and can be stopped. */
import { Refused, download, get, save } from './api.js';
import { h, wait } from './dom.js';
import { trouble } from './page.js';

const LOOK = 700;
const LETTERS = 16;

/** Fetches a file and hands it over. `path` is a list's or a report's; `rows` how many the file will have, if that is known;
 * `place` says how far it is; `buttons` are not to be pressed meanwhile. */
export async function fetchFile(page, { path, kind, query, rows = 0, place, buttons }) {
  const { t, site } = page;
  const own = new AbortController();
  const making = new AbortController();
  const count = h('span', {}, t('file.making'));
  place.replaceChildren(count, ' ', h('button', { class: 'button plain', type: 'button', onclick: () => own.abort() }, t('file.stop')));
  page.signal.addEventListener('abort', () => own.abort());
  own.signal.addEventListener('abort', () => making.abort());
  for (const each of buttons) each.disabled = true;
  const asked = { ...query };
  if (kind === 'xlsx') {
    asked.told = [...crypto.getRandomValues(new Uint8Array(LETTERS / 2))].map(byte => byte.toString(16).padStart(2, '0')).join('');
    look(`admin/sites/${encodeURIComponent(site.id)}/progress`, asked.told, making.signal, found => {
      count.textContent = found.rows < found.whole ? t('file.rows', { done: found.rows, n: found.whole }) : t('file.packing', { n: found.whole });
    });
  }
  try {
    const made = await download(`${path}.${kind}`, asked, own.signal, (bytes, lines) => {
      making.abort();
      count.textContent = kind === 'csv' && rows ? t('file.rows', { n: rows, done: Math.min(Math.max(lines - 1, 0), rows) })
        : t('file.coming', { kb: Math.max(1, Math.round(bytes / 1024)) });
    });
    save(made.blob, made.name);
    place.replaceChildren(t('file.done', { name: made.name }));
  } catch (error) {
    if (page.signal.aborted) return;
    if (own.signal.aborted) place.replaceChildren(t('file.stopped'));
    else place.replaceChildren(trouble(t, error instanceof Refused ? error : new Refused(0, 'network')));
  } finally {
    making.abort();
    for (const each of buttons) each.disabled = false;
  }
}

/** Asks for the progress of a workbook until the signal is aborted. Progress is optional, so refusals are not shown. */
async function look(path, told, signal, show) {
  while (!signal.aborted) {
    try {
      await wait(LOOK, signal);
      const found = await get(path, { told }, signal);
      if (found.whole && !signal.aborted) show(found);
    } catch { /* the file is there, or nobody wants it; else the next time */ }
  }
}
