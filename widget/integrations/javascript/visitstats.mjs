// The snippet of visitstats for pages that are made of components: what the wrappers for React and Vue share. License: MIT.

const LOADER =
  "!function(w,d,u){function e(n){return d.createElement(n)}" +
  "function g(){var a=u,s=e('script');u=0;if(a)try{s.async=1;s.src=a;h.appendChild(s)}catch(x){}}" +
  "var h=d.documentElement,l=e('link');l.rel='preload';l.as='script';l.href=u;l.onload=g;h.appendChild(l);" +
  "d.readyState=='complete'?g():w.addEventListener('load',g)}(window,document,'%s/widget.js')";
const SPECIAL = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#x27;' };

const escape = (text) => String(text).replace(/[&<>"']/g, (letter) => SPECIAL[letter]);

// The address of the service without a slash at its end. A site or an address that is none is a mistake of the program.
function service(api, site) {
  if (!/^(https?:\/)?\/[\w./:[\]-]+$/.test(api)) throw new TypeError(`visitstats: api is "/vs" or "https://…", not ${api}`);
  if (!/^[a-z0-9-]{1,63}$/.test(site)) throw new TypeError(`visitstats: site is 1 to 63 of a-z, 0-9 and "-", not ${site}`);
  return api.replace(/\/+$/, '');
}

// The snippet as `visitstats site embed` prints it. `options` are the attributes of docs/embedding.md without "data-"; a
// page without a key of its own is counted by its address, also when that changes without loading.
export function snippet({ api, site, options = {}, articleKey }) {
  const base = service(api, site);
  const said = { api: base, site, ...(articleKey ? { key: articleKey } : { navigation: 'auto' }), ...options };
  let html = options.theme ? `<link rel="stylesheet" href="${escape(base)}/widget/themes/box.css">\n` : '';
  html += '<script data-visitstats';
  for (const [name, value] of Object.entries(said)) {
    if (!/^[a-z][a-z0-9-]*$/.test(name)) throw new TypeError(`visitstats: ${name} is no option`);
    if (value != null) html += ` data-${name}="${escape(value)}"`;
  }
  return `${html}>\n${LOADER.replace('%s', base)}\n</script>${frame(base, site, options)}`;
}

// For readers without JavaScript, where the server renders the page.
function frame(base, site, options) {
  const { lines = 'online,today,week,total', theme = '', title, lang = '' } = options;
  if (lines === '') return '';
  const query = new URLSearchParams({ lines, theme });
  for (const name of ['lang', 'title', 'labels', 'format', 'structure']) {
    if (options[name] != null) query.set(name, options[name]);
  }
  const height = /\bvs-(inline|badge)\b/.test(theme) ? 48 : 70 + 62 * lines.split(/[,|]/).length;
  const name = title || (/^(vi|$)/i.test(lang) ? 'Thống kê truy cập' : 'Visitor statistics');
  return (
    `\n<noscript><iframe src="${escape(`${base}/v1/sites/${site}/box?${query}`)}" title="${escape(name)}"` +
    ` width="100%" height="${height}" frameborder="0" loading="lazy"></iframe></noscript>`
  );
}

// Starts the widget in the browser, once: a script that a component puts into the page is not run. It does what the
// snippet's own code does, which has run already where the server rendered the page.
export function start({ api, site }) {
  const url = `${service(api, site)}/widget.js`;
  const there = Array.from(document.querySelectorAll('link,script'));
  if (there.some((element) => element.getAttribute('href') === url || element.getAttribute('src') === url)) return;
  const link = document.createElement('link');
  let started = false;
  const go = () => {
    if (started) return;
    started = true;
    const script = document.createElement('script');
    script.async = true;
    script.src = url;
    document.body.appendChild(script);
  };
  link.rel = 'preload';
  link.as = 'script';
  link.href = url;
  link.onload = go;
  document.head.appendChild(link);
  if (document.readyState === 'complete') go();
  else window.addEventListener('load', go);
}

// What the head says of an article, as attributes of <meta> elements.
export function metas({ author, category, published }) {
  return [
    { name: 'author', content: author },
    { property: 'article:section', content: category },
    { property: 'article:published_time', content: published },
  ].filter(({ content }) => content);
}
