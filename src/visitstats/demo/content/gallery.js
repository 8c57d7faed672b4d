/* Copies a snippet. navigator.clipboard is missing on plain http: then the text is selected and copied the old way. */
(function () {
  'use strict';
  function done(button) {
    button.textContent = 'Đã chép';
  }
  function select(element) {
    var range = document.createRange();
    range.selectNodeContents(element);
    window.getSelection().removeAllRanges();
    window.getSelection().addRange(range);
    return document.execCommand('copy');
  }
  document.addEventListener('click', function (event) {
    var button = event.target;
    var code = button.getAttribute && document.getElementById(button.getAttribute('data-copy') || '');
    if (!code) return;
    if (navigator.clipboard) {
      navigator.clipboard.writeText(code.textContent).then(function () {
        done(button);
      }, function () {
        if (select(code)) done(button);
      });
    } else if (select(code)) done(button);
  });
})();
