/* Fills every [data-demo-views] of a list with the article's count: one call for the whole page, counts nothing.
   The value of the attribute is the article's address; its key is that address's path, without a trailing "/".
   ES5, no inline code, works under any path prefix because the API stands beside widget.js. */
(function () {
  'use strict';

  function keyOf(address) {
    var link = document.createElement('a');
    link.href = address;
    return link.pathname.replace(/^([^\/])/, '/$1').replace(/\/$/, '') || '/';
  }

  function withDots(number) {
    return String(number).replace(/\B(?=(\d{3})+$)/g, '.');
  }

  function fill() {
    var places = document.querySelectorAll('[data-demo-views]');
    var widget = document.querySelector('script[data-site]');
    if (!places.length || !widget) {
      return;
    }
    var query = [];
    for (var i = 0; i < places.length; i++) {
      query.push('key=' + encodeURIComponent(keyOf(places[i].getAttribute('data-demo-views'))));
    }
    var base = widget.src.replace(/[^\/]*$/, '');
    var request = new XMLHttpRequest();
    request.open('GET', base + 'v1/sites/' + widget.getAttribute('data-site') + '/views?' + query.join('&'));
    request.onload = function () {
      var views;
      try {
        views = JSON.parse(request.responseText).views;
      } catch (error) {
        return; /* the list keeps what it shows */
      }
      for (var i = 0; views && i < places.length; i++) {
        var count = views[keyOf(places[i].getAttribute('data-demo-views'))];
        if (typeof count === 'number') {
          places[i].textContent = withDots(count);
        }
      }
    };
    request.send();
  }

  /* "pageshow" also comes when Back brings the list out of the browser's cache, with counts that are old by then. */
  window.addEventListener('pageshow', fill);
})();
