// Builds src/widget.js into ../src/visitstats/web/static/: widget.js and its manifest widget.json. Both are committed, so
// that installing visitstats needs no Node. Run `npm ci && npm run build` here after every change of the source.
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { parse } from 'acorn';
import { minify } from 'terser';

const LIMIT = 2000; // bytes after gzip: goal 1 of ARCHITECTURE.md

const here = new URL('.', import.meta.url);
const output = new URL('../src/visitstats/web/static/', here);
const source = readFileSync(new URL('src/widget.js', here), 'utf8');
const { version } = JSON.parse(readFileSync(new URL('package.json', here), 'utf8'));

const { code } = await minify(source, {
  ecma: 5,
  compress: { passes: 3, unsafe_math: true },
  // Portals that declare an old charset, and copies served without one, must not garble the labels.
  format: { ascii_only: true },
});
parse(code, { ecmaVersion: 5 });

const hash = (algorithm, text, encoding) => createHash(algorithm).update(text).digest(encoding);
const manifest = {
  version,
  sha: hash('sha256', code, 'hex').slice(0, 16),
  integrity: `sha384-${hash('sha384', code, 'base64')}`,
  bytes: Buffer.byteLength(code),
  gzip_bytes: gzipSync(code, { level: 9 }).length,
  source_sha256: hash('sha256', source, 'hex'),
};
console.log(`widget.js: ${manifest.bytes} bytes, ${manifest.gzip_bytes} after gzip (limit ${LIMIT})`);
if (manifest.gzip_bytes > LIMIT) {
  throw new Error(`the widget is ${manifest.gzip_bytes - LIMIT} bytes over its limit`);
}
writeFileSync(new URL('widget.js', output), code);
writeFileSync(new URL('widget.json', output), `${JSON.stringify(manifest, null, 2)}\n`);
