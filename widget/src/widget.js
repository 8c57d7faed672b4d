/*
 * The widget of visitstats: sends one hit per page load, keeps the visit alive while the page is visible, and shows the
 * numbers of the answer. ES5, no dependency, one global name. ARCHITECTURE.md in the folder above has the goals and a map;
 * what not every page needs is in more.js, and the names that the two share are shortened by the build.
 *
 * Pages break what they like, so nothing here leans on Array methods or JSON.parse, and JSON.stringify has an image behind
 * it. A strict Content-Security-Policy and Trusted Types forbid innerHTML, style attributes and eval: none is used. Names
 * are compared with ==, because both sides are of one type and every byte is sent to every reader.
 */
(function () {
  var VISIT_ENDS = 18e5; // 30 minutes after the last page or heartbeat (counting rule 1)
  var HEARTBEAT = 6e4;
  var ANSWER_WITHIN = 1e4; // a hung service must not hold the few connections that the page has
  var FETCH = 0;
  var XHR = 1;
  var IMAGE = 2;

  var WORDS = {}; // the usual labels, put here by the build
  // Options that more.js understands: a page with one of them shows its numbers when that is here.
  var FURTHER = /\W(live|(la|li|for|the|str|nav)[\w-]*=(?!.?vi\b|""))/;
  var sites = []; // in their order, and by their address at the service
  var doc = document;
  var roots = [doc]; // and the shadow roots that are known
  var more; // what more.js does, when it is here
  var looking;
  var fresh; // this page has made the visit id, and other pages may be making one just now
  var me;
  var file;
  var known = {}; // the addresses at which this file was, and the names of sites

  // ---- small things -------------------------------------------------------------------------------------------------

  // Every way in (load, event, timer, answer, public call) goes through here: nothing is ever thrown into the page.
  function guard(action) {
    return function (first, second) {
      try {
        action(first, second);
      } catch (error) {}
    };
  }

  function later(action, delay) {
    return setTimeout(guard(action), delay);
  }

  function each(list, action) {
    for (var i = 0; i < list.length; i++) action(list[i]);
  }

  function find(selector) {
    return doc.querySelector(selector) || 0;
  }

  // Before the page hears of it, which may keep it to itself.
  function listen(name, action) {
    try {
      window.addEventListener(name, guard(action), true);
    } catch (error) {}
  }

  function create(tag) {
    return doc.createElement(tag);
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
    return Math.random().toFixed(11).slice(2) + Math.random().toFixed(11).slice(2);
  }

  // The visit id, or nothing when the reader asked not to be followed or the storage does not keep it: an id that the
  // next page does not find again would make every page a visit.
  function visit() {
    if (navigator.globalPrivacyControl || navigator.doNotTrack == '1') return;
    var stored = '' + storage('v');
    var id = Date.now() - stored.slice(22) < VISIT_ENDS ? stored.slice(0, 22) : (fresh = random());
    return storage('v', id + Date.now()) && id;
  }

  // This browser is not to be counted: the address says so, and more.js keeps it.
  function off() {
    return /visitstats=off/.test(location.href + storage('off'));
  }

  // The page's own address; a frame without one (srcdoc) is a part of the page around it. Throws where that is foreign.
  function page() {
    for (var frame = window; frame != top && /^about/.test(frame.location.href);) frame = frame.parent;
    return frame.location.href;
  }

  // What makes two addresses two pages: neither a place within a page nor what trackers append.
  function address() {
    return page().replace(/#(?![\/!]).*|\b(utm_\w+|\w+clid)=[^&#]*&?/g, '').replace(/[\/?&]+(#|$)/, '$1');
  }

  // A form's field may be called "author", too. `article:author` is often the address of a profile: the name comes first.
  function meta(name) {
    return (find('meta[name=' + name + ']') || find('meta[property$=' + name + ']')).content;
  }

  // What a snippet says, in its attributes or in its address.
  function stated(element, url, name) {
    var value = element.getAttribute('data-' + name);
    var found = value == null && RegExp('[?&]' + name + '=([^&#]*)').exec(url);
    try {
      return found ? decodeURIComponent(found[1]) : value;
    } catch (error) {
      return found[1]; // a % that stands for itself
    }
  }

  // ---- a site -------------------------------------------------------------------------------------------------------

  // A site of the page: its snippet, its numbers, its beacons. `base` is its address at the service.
  function open(id, base) {
    var script;
    var source;
    var plain; // nothing in it is for more.js
    var labels;
    var asked;
    var stale; // the numbers shown are not of this moment; undefined (+ 1: NaN) before the first answer or failure
    var known = {}; // line -> digits, and `at`: the last good numbers, of this page or of an earlier one
    var current; // the hit of the article that is on the page now
    var where; // its address
    var waiting; // for the document, or for somebody to look at it
    var next; // the key that hit() gave meanwhile
    var resting; // less than a minute since the last heartbeat
    var via = FETCH; // the way that worked last
    var polls = 0;

    function option(name) {
      return stated(script, source, name);
    }

    // ---- what is shown ----------------------------------------------------------------------------------------------

    // The places of this site: those that say so, and for the first site those that say nothing.
    function all(selector, action) {
      each(roots, function (root) {
        each(root.querySelectorAll(selector), function (element) {
          var owner = element.getAttribute('data-vs-site');
          if (owner ? owner == id : site == sites[0]) action(element);
        });
      });
    }

    function mark(element, name, value) {
      element.setAttribute('data-vs' + name, value);
      element.setAttribute('data-vs-site', id);
    }

    function add(parent, tag, name, text) {
      parent = parent.appendChild(create(tag));
      parent.className = 'vs-' + name;
      parent.textContent = text;
      return parent;
    }

    function build(host) {
      var title = option('title');
      var list;
      if (option('lines') == '' || host.querySelector('[data-vs]')) return;
      host.className += ' vs-box';
      host.lang = 'vi'; // more.js knows others
      host.textContent = '';
      if (title != '') add(host, 'h3', 'title', title || labels.title);
      if (more) more.$lines(site, host, add);
      else {
        list = add(host, 'ul', 'list');
        'online,today,week,total'.replace(/\w+/g, function (name) {
          var line = add(list, 'li', 'line vs-' + name);
          add(add(line, 'span', 'label', labels[name]), 'span', 'sep', ': ');
          mark(add(line, 'span', 'value'), '', name);
        });
      }
      mark(add(host, 'small', 'note'), '', 'at');
    }

    // The moment of the numbers by the reader's own clock, with the date when that is another day.
    function age() {
      var at = new Date(known.at);
      if (!stale || !(at > 0)) return site.$note || '\xa0'; // an empty line keeps the place
      return labels.at + at.toTimeString().slice(0, 5) +
        (at.toDateString() == new Date().toDateString() ? '' : ', ' + at.toLocaleDateString('en-GB').slice(0, 5));
    }

    function render() {
      var found = doc.readyState === 'loading'; // what the document does not contain after that, it will not contain
      labels = more ? more.$words(site) : plain && WORDS;
      all('[data-vs-box],[data-vs]:not([data-vs=views])', function () {
        found = 1;
      });
      // Boxes come where the page wants them, else after the script (a script in the head stands nowhere); a page that
      // writes its own lines gets no box.
      if (!found && (find('body').contains(script) || (script.getRootNode && script.getRootNode().host))) {
        mark(script.insertAdjacentElement('afterend', create('div')), '-box', '');
      }
      if (labels) all('[data-vs-box]', build);
      all('[data-vs]', function (element) {
        var name = element.getAttribute('data-vs');
        var text = labels && (name == 'at' ? age() : (name != 'views' || where == address()) && known[name] &&
          (more ? more.$format(site, known[name], name, known) : known[name].replace(/\B(?=(\d{3})+$)/g, '.'))) || '—';
        if (element.textContent != text) element.textContent = text;
      });
      if (more) more.$draw(site, current, !waiting && where != address(), known.at, stale);
      else if (!plain || off() || find('[data-vs-views],[data-vs-top]')) load();
    }

    // Takes the numbers out of an answer, or out of what was kept: plain runs of digits and one date, whatever else is in
    // there. null, negatives, fractions, text: not a number, so the one before stays.
    function read(text) {
      var kept = '';
      text.replace(/"(\w+)": *"?(\d{1,15}|\d+-[^"]+)"?[,}]/g, function (all, name, value) {
        kept += all;
        known[name] = value;
      });
      if (!stale) storage('n' + base, kept);
    }

    // An answer, or none. A late one for the article before must not be shown as this one's views.
    function take(text, beacon) {
      if (!(stale + 1)) {
        read('' + storage('n' + base));
        known.views = 0; // that was the number of another article
      }
      stale = 1;
      if (text) {
        stale = /"pending": *t/.test(text);
        if (beacon == current) read(text);
      }
      render();
    }

    // ---- what is sent -----------------------------------------------------------------------------------------------

    // One request. A way that is missing or broken (an old browser, a page that replaced it) hands over to the next at
    // once. A hit that gets no answer goes the next way after 5 s, then after 30 s, always with its one id, so that a hit
    // which did arrive counts once; then it is given up. A heartbeat is not repeated: the next one is, another way.
    function send(beacon, way) {
      var url = base + (beacon.h ? 'hit' : 'alive');
      var request;
      var over = off();

      var end = guard(function (text) {
        if (over) return;
        over = 1;
        text = /"site":/.test(text) && text;
        if (text) {
          via = way;
        } else if (!beacon.h) {
          via = 1 - way;
        } else if (way < IMAGE) {
          later(function () {
            send(beacon, way + 1);
          }, way ? 3e4 : 5e3);
        }
        take(text, beacon.h ? beacon : current);
      });

      try {
        if (over) return;
        if (way == FETCH) {
          request = new AbortController();
          // With the credentials of the page at its own origin (what a gateway before it wants), and with none elsewhere:
          // the default. Browsers of before 2018 send none, and get through with the next way.
          fetch(url, { method: 'POST', body: JSON.stringify(beacon), keepalive: 1, signal: request.signal }).then(
            function (response) {
              return response.text();
            }
          ).then(end, end);
        } else if (way == XHR) {
          request = new XMLHttpRequest();
          request.onload = request.onerror = function () {
            end(request.responseText);
          };
          request.open('POST', url);
          request.send(JSON.stringify(beacon));
        } else {
          url += '.gif?';
          for (var name in beacon) if (!name[1]) url += name + '=' + encodeURIComponent(beacon[name] || '') + '&';
          // It brings no text: the hit is counted, the numbers stay as old as they are.
          (new Image()).src = url;
        }
        later(function () {
          end();
          request.abort();
        }, ANSWER_WITHIN);
      } catch (error) {
        if (way < (beacon.h ? IMAGE : XHR)) send(beacon, way + 1);
      }
    }

    function key() {
      return '' + (next || option('key') || meta('visitstats-key') || '');
    }

    // Title, key and canonical link must be there; but a page that hangs on a script of others still counts. Nobody has
    // read a page that is prerendered, or that was never looked at. Polling is smaller than three listeners, and works
    // where there are none; and while it waits, pages that were opened at one moment agree on a visit. An element of the
    // page (`<iframe name="hidden">`) may hide what the document says of itself: only a value of its type is believed.
    function go(leaving) {
      if (!waiting) return;
      if (
        doc.prerendering === true ||
        (!leaving && ((doc.readyState === 'loading' && polls++ < 40) || (fresh && polls++ < 6)))
      ) {
        later(go, 50);
      } else if (doc.hidden !== true) {
        waiting = fresh = 0;
        known.views = 0;
        where = address();
        current = {
          u: page(),
          k: key(),
          c: find('head link[rel=canonical]').href,
          t: find('title').textContent,
          r: typeof doc.referrer == 'string' ? doc.referrer : '',
          w: navigator.webdriver, // a program drives the browser: no reader (counting rule 8)
          v: visit(),
          h: random(),
          m: {
            author: meta('author'),
            category: meta('section'),
            published: meta('published_time')
          }
        };
        send(current, via);
        if (!resting) rest();
      }
      render();
    }

    // A load. The same one twice is one, and one that waits is going to be counted; `again` is not the same one.
    function hit(given, again) {
      next = given;
      if (again || where != address() || key() != current.k) waiting = 1;
      go();
    }

    // A heartbeat is due a minute after the one before; a hidden page sends none and catches up when it is seen again.
    // `doc.hidden` is missing in old browsers: there a page counts as visible.
    function beat() {
      go();
      if (!resting && !waiting && doc.hidden !== true) {
        rest();
        send({ v: visit() }, via);
      }
    }

    function rest() {
      resting = later(function () {
        resting = 0;
        beat();
      }, HEARTBEAT);
    }

    // What not every page needs.
    function load() {
      if (asked) return;
      // Where it cannot be had (an old proxy, Trusted Types) the page is shown without it.
      asked = later(function () {
        plain = 1;
        render();
      }, 1e4);
      // A script holds up the page's load event: it is inserted when the browser has it.
      later(function () {
        var url = base.replace(/\/v1.*/, '/widget/more.js');
        var request = new XMLHttpRequest();
        request.onload = guard(function () {
          // Not where the page has it by itself, as it must under Trusted Types; and not a login page.
          if (!more && /^!f/.test(request.responseText)) find('head').appendChild(create('script')).src = url;
        });
        request.open('GET', url);
        request.send();
      });
    }

    var site = {
      $base: base,
      $option: option,
      $all: all,
      $take: take,
      $render: render,
      $hit: hit,
      // A snippet of this site. A second one on a page is nothing; on a page that has changed the box comes behind it.
      $run: function (element, url) {
        if (!script || !find('body').contains(script) || where != address()) {
          script = element;
          source = url;
          plain = !FURTHER.test(script.outerHTML + source);
          if (where != address() || option('key')) hit();
        }
        render();
      }
    };
    visit();
    listen('visibilitychange', beat);
    listen('pagehide', go); // whoever leaves while it waits was here
    listen('pageshow', function (event) {
      if (event.persisted) hit(current.k, 1);
    });
    return site;
  }

  // ---- all of them --------------------------------------------------------------------------------------------------

  function draw() {
    each(roots, search);
    each(sites, function (site) {
      site.$render();
    });
  }

  // The widget once more, for another snippet, or more.js.
  function use(script, url) {
    if (!url) {
      more = script;
      return draw();
    }
    try {
      me = script;
      known[file = url] = 1;
      draw();
      if (!sites[0]) {
        join(me || create('a'), file);
        each(doc.querySelectorAll('*'), function (element) {
          if (element.shadowRoot) show(element.shadowRoot);
        });
      }
      if (!sites[0]) throw 'no site';
    } catch (error) {
      console.warn('visitstats: ' + error);
    }
  }

  // Something has changed in the page, or its address has.
  function look() {
    looking = looking || later(function () {
      looking = 0;
      draw();
    }, 100);
  }

  function watch(root) {
    new MutationObserver(look).observe(root, { childList: 1, subtree: 1 });
  }

  // The snippets: the script that runs, one with its very address, and marks; never another script, whatever its name and
  // attributes.
  function search(root) {
    each(root.querySelectorAll('script,[data-visitstats]'), function (element) {
      if (element == me || known[element.src] || element.hasAttribute('data-visitstats')) {
        join(element, element.src || file);
      }
    });
  }

  function join(element, url) {
    var id = stated(element, url, 'site');
    var base = stated(element, url, 'api') || (/^([^?#]*)\/widget(\/[^?#]+)?\.js/.exec(url) || 0)[1];
    var link = create('a');
    if (!id || !base || element._vs) return;
    element._vs = 1;
    // In full: `/vs` and https://portal.example.vn/vs are one service.
    link.href = base.replace(/\/*$/, '/v1/sites/' + id + '/');
    base = link.href;
    // Of two services that know a site by this name, the second one's is called by its address.
    sites[base] = sites[base] || (sites[sites.length] = open(known[id] ? base : (known[id] = id), base));
    sites[base].$run(element, url);
  }

  // Fills what is in the page, and in a shadow root from now on. Without one, or in an old browser, the guard ends it.
  function show(root) {
    draw();
    root = root.getRootNode();
    if (root.host && !root._vs) {
      root._vs = roots[roots.length] = root;
      watch(root);
      draw();
    }
  }

  guard(function () {
    try {
      me = doc.currentScript;
      file = me.src || '-';
    } catch (error) {
      // A module, a shadow root, an old browser: the end of the error's trace says where we are.
      file = (/\w+:\/\/\S*(?=:\d+:\d+\)?\s*$)/.exec(error.stack) || '-')[0];
    }
    try {
      return visitstats.use(me, file);
    } catch (error) {}
    window.visitstats = {
      hit: guard(function (key) {
        each(sites, function (site) {
          site.$hit(key);
        });
      }),
      render: guard(show),
      use: guard(use)
    };
    use(me, file);
    watch(doc); // what is missing here, or in the next line, ends it for the guard: there is nothing after them
    listen('click', look);
    listen('popstate', look);
    navigation.addEventListener('navigate', look);
  })();
})();
