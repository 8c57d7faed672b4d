// Builds src/ into ../src/visitstats/web/static/: widget.js, more.js, the labels (words.json) and a manifest
// (widget.json). All are committed, so that installing visitstats needs no Node. Run `npm ci && npm run build` here after
// every change of the source.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { parse } from 'acorn';
import { minify } from 'terser';

const LIMITS = { 'widget.js': 3000, 'more.js': 5000 }; // bytes after gzip: goal 1 of ARCHITECTURE.md
const USUAL = ['online', 'today', 'week', 'total', 'title', 'at']; // labels that widget.js has itself, in Vietnamese
// The names that the two files share, as they are in the built files. They never change their meaning: a browser may have
// one file of this version and one of the next.
const NAMES = {
  $base: 'b', $option: 'o', $all: 'a', $take: 't', $render: 'r', $hit: 'h', $run: 'n', $note: 'e',
  $words: 'w', $lines: 'l', $format: 'f', $draw: 'd',
};

const here = new URL('.', import.meta.url);
const output = new URL('../src/visitstats/web/static/', here);
const { version } = JSON.parse(readFileSync(new URL('package.json', here), 'utf8'));

const wordFiles = readdirSync(new URL('src/words/', here)).sort();
const wordTexts = wordFiles.map((name) => readFileSync(new URL(`src/words/${name}`, here), 'utf8'));
const words = Object.fromEntries(wordFiles.map((name, n) => [name.slice(0, 2), JSON.parse(wordTexts[n])]));
for (const [language, labels] of Object.entries(words)) {
  if (Object.keys(labels).join() !== Object.keys(words.vi).join()) throw new Error(`${language} has other labels than vi`);
}
const inserted = {
  'widget.js': Object.fromEntries(USUAL.map((name) => [name, words.vi[name]])),
  'more.js': words,
};

const PACKING = { 'widget.js': { reduce_funcs: false, hoist_vars: true }, 'more.js': {} }; // each packs better so

// Short names, in an order that packs well with what is around them.
const LETTERS = 'etnoasvlwTSrcfzqEXOjBmNug_pydhWL$biUKFDkHRAICPMx';
const identifier = (number) => {
  let name = '';
  for (number++; number > 0; number = Math.floor(number / LETTERS.length)) name += LETTERS[--number % LETTERS.length];
  return name;
};

const hash = (algorithm, text, encoding) => createHash(algorithm).update(text).digest(encoding);
const manifest = { version };
for (const [name, limit] of Object.entries(LIMITS)) {
  const source = readFileSync(new URL(`src/${name}`, here), 'utf8');
  const { code } = await minify(source.replace('WORDS = {}', () => `WORDS = ${JSON.stringify(inserted[name])}`), {
    ecma: 5,
    compress: { passes: 3, unsafe_math: true, ...PACKING[name] },
    mangle: { nth_identifier: { get: identifier }, properties: { regex: /^\$/ } },
    nameCache: { props: { props: Object.fromEntries(Object.entries(NAMES).map(([long, short]) => [`$${long}`, short])) } },
    // Portals that declare an old charset, and copies served without one, must not garble the labels.
    format: { ascii_only: true },
  });
  parse(code, { ecmaVersion: 5 });
  if (!/^!f/.test(code)) throw new Error(`${name} does not begin as widget.js expects of more.js`);
  for (const used of new Set(source.match(/(?:\.|[{ ])\$[a-z]+(?=[(:; .)])/g).map((m) => m.slice(1)))) if (!NAMES[used]) throw new Error(`${used} has no name in NAMES`);
  const built = {
    sha: hash('sha256', code, 'hex').slice(0, 16),
    integrity: `sha384-${hash('sha384', code, 'base64')}`,
    bytes: Buffer.byteLength(code),
    gzip_bytes: gzipSync(code, { level: 9 }).length,
    source_sha256: hash('sha256', [source, ...wordTexts].join(''), 'hex'),
  };
  console.log(`${name}: ${built.bytes} bytes, ${built.gzip_bytes} after gzip (limit ${limit})`);
  if (built.gzip_bytes > limit) throw new Error(`${name} is ${built.gzip_bytes - limit} bytes over its limit`);
  writeFileSync(new URL(name, output), code);
  if (name === 'widget.js') Object.assign(manifest, built);
  else manifest.more = built;
}
writeFileSync(new URL('words.json', output), `${JSON.stringify(words, null, 1)}\n`);
writeFileSync(new URL('widget.json', output), `${JSON.stringify(manifest, null, 2)}\n`);
