/*
 * The widget of visitstats: sends one hit per page load, keeps the visit alive while the page is visible, and shows the
 * numbers of the answer. ES5, no dependency, one global name. ARCHITECTURE.md in the folder above has the goals and a map.
 *
 * Pages break what they like, so nothing here leans on Array methods or JSON.parse, and JSON.stringify has an image behind
 * it. A strict Content-Security-Policy and Trusted Types forbid innerHTML, style attributes and eval: none is used. Names
 * are compared with ==, because both sides are of one type and every byte is sent to every reader.
 */
(window.visitstats || 0).hit || (function () { // loaded twice runs once
  var VISIT_ENDS = 18e5; // 30 minutes after the last page or heartbeat (counting rule 1)
  var HEARTBEAT = 6e4;
  var ANSWER_WITHIN = 1e4; // a hung service must not hold the few connections that the page has
  var FETCH = 0;
  var XHR = 1;
  var IMAGE = 2;

  var script;
  var base;
  var site;
  var language;
  var lines;
  var labels;
  var stale; // the numbers shown are not of this moment; undefined (+ 1: NaN) before the first answer or failure
  var known = {}; // line -> digits, and `at`: the last good numbers, of this page or of an earlier one
  var current; // the hit of the article that is on the page now
  var resting; // less than a minute since the last heartbeat
  var polls = 0;

  // ---- small things -------------------------------------------------------------------------------------------------

  // Every way in (load, event, timer, answer, public call) goes through here: nothing is ever thrown into the page.
  function guard(action) {
    return function (argument) {
      try {
        action(argument);
      } catch (error) {}
    };
  }

  function later(action, delay) {
    return setTimeout(guard(action), delay);
  }

  function now() {
    return +new Date();
  }

  function find(selector) {
    return document.querySelector(selector);
  }

  function each(selector, action) {
    var list = document.querySelectorAll(selector);
    for (var i = 0; i < list.length; i++) action(list[i]);
  }

  function option(name) {
    return script.getAttribute('data-' + name);
  }

  // Writes the value, if there is one, and returns what is there afterwards: a blocked or full storage keeps nothing.
  function storage(name, value) {
    try {
      name = 'visitstats:' + name;
      if (value) localStorage[name] = value;
      return localStorage[name];
    } catch (error) {}
  }

  // 22 characters that nobody else has: no secret.
  function random() {
    var text = '';
    try {
      text = crypto.randomUUID(); // not on pages without https
    } catch (error) {}
    while (text.length < 22) text += Math.random().toString(32).slice(2);
    return text.slice(0, 22);
  }

  // The visit id, or nothing when the reader asked not to be followed or the storage does not keep it: an id that the
  // next page does not find again would make every page a visit.
  function visit() {
    if (navigator.globalPrivacyControl || navigator.doNotTrack == '1') return;
    var stored = '' + storage('v');
    var id = now() - stored.slice(22) < VISIT_ENDS ? stored.slice(0, 22) : random();
    return storage('v', id + now()) && id;
  }

  // ---- what is shown ------------------------------------------------------------------------------------------------

  function add(parent, tag, name, text) {
    var element = parent.appendChild(document.createElement(tag));
    element.className = 'vs-' + name;
    element.textContent = text;
    return element;
  }

  function build(host) {
    if (!lines || host.querySelector('[data-vs]')) return;
    var title = option('title');
    host.className += ' vs-box';
    host.lang = language;
    host.textContent = '';
    if (title != '') add(host, 'h3', 'title', title || labels.title);
    var list = add(host, 'ul', 'list');
    lines.replace(/\w+/g, function (name) {
      if (!labels[name]) return;
      var line = add(list, 'li', 'line');
      add(line, 'span', 'label', labels[name] + ': ');
      add(line, 'span', 'value').setAttribute('data-vs', name);
    });
    add(host, 'small', 'note').setAttribute('data-vs', 'at');
  }

  // Boxes come where the page wants them, else after the script; a page that writes its own lines gets no box.
  function place() {
    // With a first hit the document is there: what it does not contain by now, it will not contain.
    if (current && document.body.contains(script) && !find('[data-vs-box],[data-vs]:not([data-vs=views])')) {
      script.insertAdjacentElement('afterend', document.createElement('div')).setAttribute('data-vs-box', '');
    }
    each('[data-vs-box]', build);
  }

  // The moment of the numbers by the reader's own clock, with the date when that is another day.
  function age() {
    var at = new Date(known.at);
    if (!stale || !(at > 0)) return '\xa0'; // an empty line keeps the place
    return labels.at + at.toTimeString().slice(0, 5) +
      (at.toDateString() == new Date().toDateString() ? '' : ', ' + at.toLocaleDateString('en-GB').slice(0, 5));
  }

  function render() {
    place();
    each('[data-vs]', function (element) {
      var name = element.getAttribute('data-vs');
      var text = name == 'at' ? age()
        : stale + 1 && known[name] ? (+known[name]).toLocaleString(language) : '—';
      if (element.textContent != text) element.textContent = text;
    });
  }

  // Takes the numbers out of an answer, or out of what was kept: plain runs of digits and one date, whatever else is in
  // there. null, negatives, fractions, text: not a number, so the one before stays.
  function read(text) {
    var kept = '';
    text.replace(/"(\w+)": *"?(\d{1,15}|\d+-[^"]+)"?[,}]/g, function (all, name, value) {
      kept += all;
      known[name] = value;
    });
    if (!stale) storage('n' + site, kept);
  }

  // ---- what is sent -------------------------------------------------------------------------------------------------

  // One request. A way that is missing or broken (an old browser, a page that replaced it) hands over to the next at
  // once. A hit that gets no answer goes the next way after 5 s, then after 30 s, always with its one id, so that a hit
  // which did arrive counts once; then it is given up. A heartbeat is not repeated: the next one is.
  function send(beacon, way) {
    var url = base + (beacon.h ? 'hit' : 'alive');
    var request;
    var over;

    var end = guard(function (text) {
      if (over) return;
      over = stale = 1;
      if (/"site":/.test(text)) {
        stale = /"pending": *t/.test(text);
        // A late answer for the article before must not be shown as this one's views.
        if (!beacon.h || beacon == current) read(text);
      } else if (beacon.h && way < IMAGE) {
        later(function () {
          send(beacon, way + 1);
        }, way ? 3e4 : 5e3);
      }
      render();
    });

    try {
      if (way == FETCH) {
        request = new AbortController();
        fetch(url, { method: 'POST', body: JSON.stringify(beacon), credentials: 'omit', keepalive: 1, signal: request.signal }).then(
          function (response) {
            return response.text();
          }
        ).then(end, end);
      } else {
        request = way == XHR ? new XMLHttpRequest() : new Image();
        // An image brings no text: the hit is counted, the numbers stay as old as they are.
        request.onload = request.onerror = function () {
          end(request.responseText);
        };
        if (way == XHR) {
          request.open('POST', url);
          request.send(JSON.stringify(beacon));
        } else {
          url += '.gif?';
          'ukvth'.replace(/./g, function (name) {
            url += name + '=' + encodeURIComponent(beacon[name] || '') + '&';
          });
          request.src = url;
        }
      }
      later(function () {
        end();
        request.abort();
      }, ANSWER_WITHIN);
    } catch (error) {
      if (way < (beacon.h ? IMAGE : XHR)) send(beacon, way + 1);
    }
  }

  function meta(name) {
    return (find('[name=' + name + '],[property$=' + name + ']') || 0).content;
  }

  function hit(key) {
    known.views = 0; // that was the number of another article
    current = {
      u: location.href,
      k: '' + (key || option('key') || meta('visitstats-key') || ''),
      c: (find('[rel=canonical]') || 0).href,
      t: '' + document.title,
      r: document.referrer,
      w: navigator.webdriver, // a program drives the browser: no reader (counting rule 8)
      v: visit(),
      h: random(),
      m: {
        author: meta('author'),
        category: meta('section'),
        published: meta('published_time')
      }
    };
    send(current, FETCH);
    render();
  }

  // A heartbeat is due a minute after the one before; a hidden page sends none and catches up when it is seen again.
  // `document.hidden` is missing in old browsers: there a page counts as visible.
  function beat() {
    if (!resting && !document.hidden) {
      rest();
      send({ v: visit() }, FETCH);
    }
  }

  function rest() {
    resting = later(function () {
      resting = 0;
      beat();
    }, HEARTBEAT);
  }

  // ---- start --------------------------------------------------------------------------------------------------------

  // Title, key and canonical link must be there, and a prerendered page be looked at; but a page that hangs on a script of
  // others still counts. Polling is smaller than three listeners, and works where there are none.
  function start() {
    if (document.prerendering || (document.readyState == 'loading' && polls++ < 40)) {
      later(start, 50);
    } else {
      hit();
      rest();
      document.addEventListener('visibilitychange', guard(beat));
      window.addEventListener('pageshow', guard(function (event) {
        if (event.persisted) hit(current.k);
      }));
    }
  }

  try {
    each('script[data-site]', function (element) {
      var parts = /^([^?]*)\/widget(\/[^?]+)?\.js/.exec(element.src);
      if (parts) {
        script = element;
        base = parts[1];
      }
    });
    site = option('site');
    base += '/v1/sites/' + site + '/';
    language = option('lang') || 'vi';
    var english = language == 'en';
    lines = option('lines');
    lines = lines == null ? 'online,today,week,total' : lines;
    labels = {
      online: english ? 'Online now' : 'Đang online',
      search_engines: english ? 'Search engines' : 'Máy chủ tìm kiếm',
      today: english ? 'Today' : 'Hôm nay',
      yesterday: english ? 'Yesterday' : 'Hôm qua',
      week: english ? 'This week' : 'Trong tuần',
      month: english ? 'This month' : 'Trong tháng',
      year: english ? 'This year' : 'Trong năm',
      total: english ? 'Total' : 'Tất cả',
      title: english ? 'Visitor statistics' : 'Thống kê truy cập',
      at: english ? 'updated at ' : 'cập nhật lúc '
    };
    window.visitstats = { hit: guard(hit) };
    read('' + storage('n' + site));
    render();
    start();
  } catch (error) {}
})();
