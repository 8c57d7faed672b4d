/* Requests to the service, with the token of the person who has signed in. The token is kept in this module and in the
 * tab's sessionStorage (never where a portal has pages of the same origin), and nowhere else. */
import { wait } from './dom.js';

const BASE = new URL('../v1/', document.baseURI);
const KEPT = 'visitstats.token';
const LIMIT = 15_000;
const AGAIN = 500;
export const IDLE = 30 * 60_000;
const LOOK = 15_000;
const SLOWEST = 30_000;

/** The error of a refused or failed request. `code` is a code of the API, or "network". */
export class Refused extends Error {
  constructor(status, code, detail = '', after = 0) {
    super(`${status} ${code}`);
    Object.assign(this, { status, code, detail, after });
  }
}

/* ---- the session ---------------------------------------------------------------------------------------------------- */
const alone = document.documentElement.dataset.keep !== 'session';
const others = alone || typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel('visitstats');
let token = '';
let active = Date.now();
let told = active;
let asking = null;

export const session = {
  /** The token in use: { name, scope, sites }, or null. */
  me: null,
  /** Asks for a token, for a reason ("idle", "401", "out"), and resolves when there is one again. */
  renew: async () => {},
  /** Called when the token is gone because of a sign-out, here or in another tab. */
  left: () => {},
};

function keep(text) {
  token = text;
  if (alone) return;
  try {
    if (text) sessionStorage.setItem(KEPT, text);
    else sessionStorage.removeItem(KEPT);
  } catch { /* blocked: then it is in memory only */ }
}

/** Takes the token of this tab, or one that another tab gives. Resolves to whether there is one. */
export async function resume() {
  try { token = alone ? '' : sessionStorage.getItem(KEPT) ?? ''; } catch { /* as above */ }
  if (!token && others) {
    others.postMessage({ ask: true });
    for (let turn = 0; turn < 10 && !token; turn++) await wait(20);
  }
  return Boolean(token);
}

/** Signs in; rejects with Refused when the token is not good. */
export async function signIn(text) {
  const me = await request('GET', 'admin/me', { as: text });
  keep(text);
  active = Date.now();
  session.me = me;
  return me;
}

export function signOut() {
  keep('');
  session.me = null;
  others?.postMessage({ out: true });
  session.left();
}

others?.addEventListener('message', ({ data }) => {
  if (data.ask && token) others.postMessage({ token });
  else if (data.token && !token && !asking) keep(data.token);
  else if (data.active) active = Math.max(active, data.active);
  else if (data.out && token) {
    keep('');
    session.me = null;
    session.left();
  }
});

function touch() {
  if (idle()) return;
  active = Date.now();
  if (active - told > LOOK) {
    told = active;
    others?.postMessage({ active });
  }
}

function idle() {
  if (!token || Date.now() - active < IDLE) return false;
  keep('');
  renewed('idle');
  return true;
}
for (const name of ['pointerdown', 'keydown']) addEventListener(name, touch, true);
document.addEventListener('visibilitychange', () => document.hidden || idle());
setInterval(idle, LOOK);

/** One dialog for all requests that wait for a token. */
function renewed(reason) {
  asking ??= session.renew(reason).finally(() => { asking = null; });
  return asking;
}

/* ---- requests ------------------------------------------------------------------------------------------------------- */
/** Reads JSON. `query` is an object; an array repeats its parameter, and empty values are left out. */
export const get = (path, query, signal) => request('GET', path, { query, signal });
/** Makes a change. `limit` is the timeout in milliseconds; 0 means no timeout. */
export const post = (path, body, signal, limit) => request('POST', path, { body, signal, limit });

/** Deletes something. */
export const remove = (path, signal) => request('DELETE', path, { signal });
/** Sends a file as it is. */
export const sendFile = async (path, query, file, signal) => (await send('POST', path, { query, file, signal, limit: 0, tries: 1 })).json();

export function address(path, query = {}) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(query)) {
    for (const each of [value].flat()) {
      if (each !== '' && each !== null && each !== undefined && each !== false) url.searchParams.append(name, each);
    }
  }
  return url;
}

async function request(method, path, options = {}) {
  const response = await send(method, path, options);
  return response.json();
}

async function send(method, path, { query, body, file, signal, as, limit = LIMIT, tries = method === 'GET' ? 2 : 1 } = {}) {
  const used = as ?? token;
  if (!used) {
    await renewed('out');
    return send(method, path, { query, body, file, signal, limit, tries });
  }
  const own = new AbortController();
  const stop = () => own.abort(signal.reason);
  if (signal?.aborted) throw signal.reason;
  signal?.addEventListener('abort', stop);
  const timer = limit && setTimeout(() => own.abort(new Refused(0, 'network')), limit);
  try {
    const response = await fetch(address(path, query), {
      method,
      headers: { Authorization: `Bearer ${used}`, ...(body && { 'Content-Type': 'application/json' }) },
      body: file ?? (body && JSON.stringify(body)),
      credentials: 'omit', cache: 'no-store', referrerPolicy: 'no-referrer', redirect: 'error', signal: own.signal,
    });
    if (response.ok) return response;
    const refused = await said(response);
    if (response.status !== 401 || as) throw refused;
    if (used === token) keep('');
    await renewed('401');
    return send(method, path, { query, body, file, signal, limit, tries });
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    if (error instanceof Refused && error.status) throw error;
    if (tries > 1) {
      await wait(AGAIN, signal);
      return send(method, path, { query, body, signal, as, limit, tries: tries - 1 });
    }
    throw new Refused(0, 'network');
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', stop);
  }
}

async function said(response) {
  let found = {};
  try { found = await response.json(); } catch { /* a proxy's own page */ }
  const after = Number(response.headers.get('retry-after')) || 0;
  return new Refused(response.status, found.error ?? (response.status >= 502 ? 'try-again' : 'refused'), found.detail ?? '', after);
}

/** Fetches a file with all of its rows; `progress` is told the bytes and the lines so far. Resolves { blob, name }. */
export async function download(path, query, signal, progress) {
  const response = await send('GET', path, { query, signal, limit: 0, tries: 1 });
  const name = /filename="([^"]+)"/.exec(response.headers.get('content-disposition') ?? '')?.[1] ?? 'visitstats';
  const pieces = [];
  const reader = response.body.getReader();
  for (let bytes = 0, lines = 0, turn; !(turn = await reader.read()).done;) {
    pieces.push(turn.value);
    for (let at = -1; (at = turn.value.indexOf(10, at + 1)) >= 0;) lines++;
    progress(bytes += turn.value.length, lines);
  }
  return { blob: new Blob(pieces, { type: response.headers.get('content-type') }), name };
}

/** Offers a file as a download. */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/* ---- live numbers --------------------------------------------------------------------------------------------------- */
/** Follows a stream of server-sent events until the signal is aborted: `show` gets each event, `state` "live" or
 * "lost". The stream is closed while the page is hidden. */
export async function follow(path, signal, show, state) {
  let fails = 0;
  while (!signal.aborted) {
    if (document.hidden) await new Promise(seen => document.addEventListener('visibilitychange', seen, { once: true, signal }));
    const own = new AbortController();
    const stop = () => own.abort();
    const hide = () => document.hidden && own.abort();
    signal.addEventListener('abort', stop);
    document.addEventListener('visibilitychange', hide);
    try {
      // The numbers of a box are public, so no token is sent.
      const response = await fetch(address(path), {
        credentials: 'omit', cache: 'no-store', referrerPolicy: 'no-referrer', signal: own.signal,
      });
      if (!response.ok) throw await said(response);
      for await (const event of events(response.body)) {
        fails = 0;
        state('live');
        show(event);
      }
    } catch { /* lost, or stopped: both are seen below */ }
    signal.removeEventListener('abort', stop);
    document.removeEventListener('visibilitychange', hide);
    if (signal.aborted || document.hidden) continue;
    state('lost');
    const pause = Math.min(1000 * 2 ** fails++, SLOWEST);
    await wait(pause * (0.75 + Math.random() / 2), signal).catch(() => {});
  }
}

async function* events(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for (let turn; !(turn = await reader.read()).done;) {
      const blocks = (rest + decoder.decode(turn.value, { stream: true })).split('\n\n');
      rest = blocks.pop();
      for (const block of blocks) {
        const data = block.split('\n').filter(line => line.startsWith('data: ')).map(line => line.slice(6)).join('\n');
        if (data) yield JSON.parse(data);
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
