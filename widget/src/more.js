/*
 * The second file of the widget, loaded by pages that ask for it: languages other than vi, own labels, structures, formats
 * and themes of the box, counts in lists, "Xem nhiều", pages that change without loading, numbers as they change, and what
 * a browser shows that is not counted. ES5, under the same rules as widget.js: nothing is thrown into the page, and nothing
 * of the page (JSON, Array.prototype) is relied on. Names that begin with a dollar sign are shared with widget.js; the build shortens them.
 */
(function () {
  var WORDS = {}; // language -> labels, put here by the build
  var MOST_KEYS = 500;
  var AGAIN = 6e4; // a request that failed is made again after a minute
  var SETTLE = 300; // a router changes the address first, and title, canonical link and content then
  var doc = document;

  // ---- small things -------------------------------------------------------------------------------------------------

  function guard(action) {
    return function (argument) {
      try {
        return action(argument);
      } catch (error) {}
    };
  }

  function later(action, delay) {
    setTimeout(guard(action), delay);
  }

  function now() {
    return +new Date();
  }

  function create(tag) {
    return doc.createElement(tag);
  }

  function each(root, selector, action) {
    var list = root.querySelectorAll(selector);
    for (var i = 0; i < list.length; i++) action(list[i]);
  }

  function write(element, text) {
    if (element.textContent != text) element.textContent = text;
  }

  function storage(name, value) {
    try {
      if (value) localStorage[name] = value;
      return localStorage[name];
    } catch (error) {}
  }

  function off() {
    return /visitstats=off/.test(location.href + storage('visitstats:off'));
  }

  // One request, and its answer if it is one.
  function ask(method, url, body, done) {
    var request = new XMLHttpRequest();
    request.onload = request.onerror = guard(function () {
      done(request.status == 200 ? request.responseText : '', request.status);
    });
    request.open(method, url);
    request.timeout = 1e4;
    request.ontimeout = request.onerror;
    request.send(body);
  }

  function quoted(text) {
    return '"' + text.replace(/[\\"\u0000-\u001f]/g, function (letter) {
      return '\\u' + ('000' + letter.charCodeAt(0).toString(16)).slice(-4);
    }) + '"';
  }

  function unquoted(text) {
    return text.replace(/\\(u(....)|.)/g, function (all, letter, code) {
      return code ? String.fromCharCode(parseInt(code, 16)) : { n: '\n', t: '\t', r: '\r', b: '\b', f: '\f' }[letter] || letter;
    });
  }

  // ---- languages and numbers ----------------------------------------------------------------------------------------

  // The language that is meant: vi_VN, en-US.UTF-8; vi for a template that was not filled, and for nonsense.
  function language(site) {
    var given = /^\s*([a-z]{2,3}([-_][a-z0-9]{2,8})*)(?![a-z0-9])/i.exec(site.$option('lang')) || [];
    var tag = (given[1] || 'vi').replace(/_/g, '-');
    var part = tag.split('-')[0].toLowerCase();
    // Some browsers do not know km and lo, which have labels here.
    return supported(tag) || supported(part) || (WORDS[part] ? tag : 'vi');
  }

  function supported(tag) {
    try {
      return Intl.NumberFormat.supportedLocalesOf(tag)[0];
    } catch (error) {
      return window.Intl ? '' : tag;
    }
  }

  function words(site) {
    var tag = language(site);
    var name = tag.toLowerCase().split('-')[0];
    var known = WORDS[name] || WORDS.vi;
    var labels = { lang: WORDS[name] || site.$option('labels') ? tag : 'vi' };
    for (name in WORDS.vi) labels[name] = site.$option('label-' + name) || known[name];
    return labels;
  }

  // The day of the record stands behind it.
  function written(site, digits, name, known) {
    var day = name == 'record' && /^(\d+)-(\d\d)-(\d\d)/.exec(known.record_date);
    return format(site, digits) + (day ? ' (' + day[3] + '/' + day[2] + '/' + day[1] + ')' : '');
  }

  function format(site, digits) {
    var way = site.$option('format');
    var tag = language(site);
    var dotted = /^(vi|lo|km|id|de|es|it|pt)/i.test(tag);
    var mark = { dot: '.', comma: ',', space: '\xa0', none: '' }[way];
    if (/^0+$/.test(way)) return way.slice(digits.length) + digits;
    if (way == 'short' && digits > 999) {
      digits = digits < 1e6 ? Math.floor(digits / 100) / 10 + 'k' : Math.floor(digits / 1e5) / 10 + 'M';
      return dotted || /^(fr|ru)/.test(tag) ? digits.replace('.', ',') : digits;
    }
    if (mark == null) {
      try {
        if (window.Intl && supported(tag)) return (+digits).toLocaleString(tag);
      } catch (error) {}
      mark = dotted ? '.' : /^(fr|ru)/.test(tag) ? '\xa0' : ',';
    }
    return digits.replace(/\B(?=(\d{3})+$)/g, mark);
  }

  // ---- the box ------------------------------------------------------------------------------------------------------

  function lines(site, host, add) {
    var labels = words(site);
    var own = (site.$option('labels') || '').split('|');
    var theme = site.$option('theme') || '';
    var tags = { dl: 'dl div dt dd', table: 'table tr th td', inline: 'p span span span' }[site.$option('structure')];
    var root = host.getRootNode ? host.getRootNode() : doc;
    var list;
    tags = (tags || 'ul li span span').split(' ');
    host.lang = labels.lang;
    if (/^(ar|fa|he|ur)\b/.test(host.lang)) host.dir = 'rtl';
    host.className = (host.className + ' ' + theme).replace(/^ +| +$/g, '');
    list = add(host, tags[0], 'list', '');

    function build(names) {
      var count = 0;
      names.replace(/(\|?)[ ,]*(\w+)/g, function (all, gap, name) {
        var label = own[count++] || labels[name];
        // A name that is no line (a template that was not filled) is left out.
        if (!WORDS.vi.hasOwnProperty(name) || /^(title|at|off)$/.test(name)) return;
        if (tags[0] == 'p' && list.firstChild) add(list, 'span', 'bar', ' | ');
        var line = add(list, tags[1], 'line vs-' + name + (gap && ' vs-gap-before'), '');
        var head = add(line, tags[2], 'label', label);
        if (tags[2] == 'th') head.scope = 'row';
        add(head, 'span', 'sep', ': ');
        line = add(line, tags[3], 'value', '');
        line.setAttribute('data-vs', name);
        line.setAttribute('data-vs-site', host.getAttribute('data-vs-site') || '');
      });
    }

    build(site.$option('lines') || '');
    if (!list.firstChild) build('online,today,week,total');
    if (theme && !root.querySelector('link[href*="/widget/themes/"]')) {
      list = create('link');
      list.rel = 'stylesheet';
      list.href = site.$base.replace(/\/v1.*/, '/widget/themes/box.css');
      (root.querySelector('head') || root).appendChild(list);
    }
  }

  // ---- counts in lists ----------------------------------------------------------------------------------------------

  // The views of articles, in the order of their keys; nothing when the service does not say.
  function views(site, keys, done) {
    var body = '';
    for (var i = 0; i < keys.length; i++) body += (i ? ',' : '') + quoted(keys[i]);
    ask('POST', site.$base + 'views', '{"keys":[' + body + ']}', function (text) {
      var found = [];
      text.replace(/"(?:[^"\\]|\\.)*": *(\d+)/g, function (all, count) {
        found[found.length] = count;
      });
      done(found.length == keys.length && found);
    });
  }

  function lists(site, page) {
    var state = site.lists || (site.lists = { counts: {}, asked: {} });
    var wanted = [];
    if (state.page && state.page != page) state.asked = {}; // another page, or this one once more
    state.page = page;
    site.$all('[data-vs-views]', function (element) {
      var key = element.getAttribute('data-vs-views');
      var count = state.counts['$' + key];
      write(element, count ? format(site, count) : '—');
      if (key && !state.asked['$' + key] && wanted.length < MOST_KEYS) {
        state.asked['$' + key] = 1;
        wanted[wanted.length] = key;
      }
    });
    if (!wanted.length) return;
    views(site, wanted, function (found) {
      for (var i = 0; i < wanted.length; i++) {
        if (found) state.counts['$' + wanted[i]] = found[i];
      }
      if (found) site.$render(); // which asks for what is beyond the first 500
      else {
        later(function () {
          state.asked = {};
          site.$render();
        }, AGAIN);
      }
    });
  }

  // ---- "Xem nhiều" --------------------------------------------------------------------------------------------------

  function top(site) {
    var state = site.top || (site.top = {});
    site.$all('[data-vs-top]', function (element) {
      var query = 'top?period=' + encodeURIComponent(element.getAttribute('data-vs-top') || 'week') +
        '&limit=' + encodeURIComponent(element.getAttribute('data-vs-limit') || 10);
      var articles = state[query];
      if (articles && element._vsTop != articles) list(site, element, articles);
      if (articles || state[query] === 0) return;
      state[query] = 0;
      ask('GET', site.$base + query, null, function (text, status) {
        if (text) state[query] = parsed(text);
        else if (status == 403 || status == 400) console.warn('visitstats: refused: ' + site.$base + query);
        else {
          later(function () {
            state[query] = undefined;
            site.$render();
          }, AGAIN);
        }
        site.$render();
      });
    });
  }

  function parsed(text) {
    var articles = [];
    var string = '"((?:[^"\\\\]|\\\\.)*)"';
    text.replace(RegExp('"title": *' + string + ', *"url": *' + string + ', *"views": *(\\d+)', 'g'), function (all, title, url, count) {
      articles[articles.length] = { title: unquoted(title), link: unquoted(url), views: count };
    });
    return articles;
  }

  function list(site, element, articles) {
    var template = element._vsRow || (element._vsRow = element.firstElementChild);
    var row;
    element._vsTop = articles;
    element.textContent = '';
    for (var i = 0; i < articles.length; i++) {
      row = template ? template.cloneNode(true) : plain();
      row.hidden = false;
      element.appendChild(row);
      put(site, row, articles[i], i + 1);
      each(row, '*', function (place) {
        put(site, place, articles[i], i + 1);
      });
    }
  }

  function plain() {
    var row = create('li');
    row.appendChild(create('a')).setAttribute('data-vs-item', 'link title');
    row.appendChild(doc.createTextNode(' '));
    row.appendChild(create('span')).setAttribute('data-vs-item', 'views');
    row.lastChild.className = 'vs-value';
    return row;
  }

  function put(site, place, article, rank) {
    (place.getAttribute('data-vs-item') || '').replace(/\w+/g, function (name) {
      if (name == 'link' && /^https?:\/\//.test(article.link)) place.href = article.link;
      if (name == 'title') write(place, article.title);
      if (name == 'views') write(place, format(site, article.views));
      if (name == 'rank') write(place, '' + rank);
    });
  }

  // ---- numbers as they change ---------------------------------------------------------------------------------------

  // One connection for all pages of the browser, where they can agree on it; closed in the background. The page that has
  // the lock has the connection, and tells the others. The heartbeats go on, and are the way without it.
  function live(site) {
    var channel;
    var source;
    var release;
    var waits;
    var name = 'visitstats ' + site.$base;

    function heard(text) {
      if (/"site":/.test(text)) site.$take(text, site.page);
    }

    function open() {
      source = new EventSource(site.$base + 'live');
      source.onmessage = guard(function (event) {
        heard(event.data);
        if (channel) channel.postMessage(event.data);
      });
      source.onerror = guard(function () {
        // It comes back by itself, unless it was refused.
        if (source && source.readyState == 2) {
          source = 0;
          later(function () {
            if (site.live && !source && doc.hidden !== true && (release || !waits)) open();
          }, AGAIN);
        }
      });
    }

    function start() {
      if (navigator.locks && window.BroadcastChannel && window.AbortController) {
        channel = new BroadcastChannel(name);
        channel.onmessage = guard(function (event) {
          heard(event.data);
        });
        waits = new AbortController();
        navigator.locks.request(name, { signal: waits.signal }, function () {
          open();
          return new Promise(function (done) {
            release = done;
          });
        })['catch'](function () {});
      } else open();
    }

    function stop() {
      if (source) source.close();
      if (channel) channel.close();
      if (release) release();
      else if (waits) waits.abort();
      source = channel = release = waits = 0;
    }

    function turn() {
      if (doc.hidden === true) {
        if (site.live) stop();
        site.live = 0;
      } else if (!site.live) {
        site.live = 1;
        start();
      }
    }

    site.turn = turn;
    doc.addEventListener('visibilitychange', guard(turn));
    window.addEventListener('pageshow', guard(turn));
    window.addEventListener('pagehide', guard(function () {
      if (site.live) stop();
      site.live = 0;
    }));
    turn();
  }

  // ---- a browser that is not counted --------------------------------------------------------------------------------

  // "#visitstats=off" behind an address switches the counting off in this browser, "#visitstats=on" on again.
  function turned(site) {
    var wish = /visitstats=(off|on)/.exec(location.href);
    if (wish && storage('visitstats:off') != 'visitstats=' + wish[1]) {
      storage('visitstats:off', 'visitstats=' + wish[1]);
      if (wish[1] == 'on') site.$hit('', 1);
    }
  }

  // The numbers all the same, without a hit: once for a page, and once a minute.
  function shown(site, page) {
    site.$note = words(site).off;
    if (!page || site.shown == page) return;
    site.shown = page;
    later(function () {
      if (site.shown == page) site.shown = 0;
      if (doc.hidden !== true) site.$render();
    }, AGAIN);
    views(site, [page.k || page.u], function (found) {
      ask('GET', site.$base + 'stats', null, function (text) {
        if (found) text = text.replace(/}\s*$/, ',"views":' + found[0] + '}');
        site.$take(/"site":/.test(text) && text, page);
      });
    });
  }

  // ---- what widget.js asks for --------------------------------------------------------------------------------------

  function draw(site, page, moved, at, stale) {
    var state = at ? stale ? 'stale' : 'fresh' : 'unknown';
    site.page = page;
    turned(site);
    if (off()) shown(site, page);
    else site.$note = '';
    if (moved && site.$option('navigation') == 'auto' && !site.moving) {
      site.moving = 1;
      later(function () {
        site.moving = 0;
        site.$hit();
      }, SETTLE);
    }
    site.$all('[data-vs-box]', function (host) {
      if (host.getAttribute('data-vs-state') != state) host.setAttribute('data-vs-state', state);
    });
    lists(site, page);
    top(site);
    if (site.$option('live') != null && window.EventSource && !site.turn) live(site);
  }

  // The page may have this file by itself, and before the other.
  function begin() {
    var api = window.visitstats;
      if (!api || !api.use) later(begin, 100);
    else if (!api.more) {
      api.more = 1;
      api.use({ $words: words, $lines: lines, $format: written, $draw: draw });
    }
  }

  guard(begin)();
})();
