// Renders the include as Jekyll and as Eleventy call it. The case comes as JSON on stdin: {folder, said, page}.
import { Liquid } from 'liquidjs';

let text = '';
for await (const part of process.stdin) text += part;
const { folder, said, page } = JSON.parse(text);
const jekyll = new Liquid({ root: folder, jekyllInclude: true, dynamicPartials: false, strictFilters: true });
const eleventy = new Liquid({ root: folder, dynamicPartials: true, strictFilters: true });
const { date, ...rest } = page;
process.stdout.write(
  JSON.stringify({
    jekyll: {
      head: await jekyll.parseAndRender('{% include visitstats.html part="head" %}', { site: { visitstats: said }, page }),
      snippet: await jekyll.parseAndRender('{% include visitstats.html %}', { site: { visitstats: said }, page }),
    },
    eleventy: {
      head: await eleventy.parseAndRender('{% include "visitstats.html", part: "head" %}', {
        visitstats: said, page: { inputPath: './a.md', date: '1999-01-01' }, date, ...rest,
      }),
      snippet: await eleventy.parseAndRender('{% include "visitstats.html" %}', { visitstats: said, page: { inputPath: './a.md' } }),
    },
  }),
);
