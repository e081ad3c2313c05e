// Addresses of sections that stand on a page of their own now, and the experiments in the navigation of people's pages.
(function () {
  'use strict';
  var moved = document.getElementById('moved');
  function follow() {
    var key = decodeURIComponent(location.hash.slice(1));
    var pages = JSON.parse(moved.textContent);
    if (key && Object.prototype.hasOwnProperty.call(pages, key)) location.replace(pages[key] + '#' + key);
  }
  if (moved) {
    follow();
    addEventListener('hashchange', follow);
  }
  var place = document.querySelector('[data-experiments]');
  if (place) { // a person's page is made before the experiments' pages are
    var root = document.documentElement.dataset.report || '';
    var script = document.createElement('script');
    script.src = root + 'data/pages.js';
    script.onload = function () {
      window.neurostrataPages.forEach(function (one) {
        var item = document.createElement('li');
        var link = document.createElement('a');
        link.href = root + one[1];
        link.textContent = one[0];
        if (one[2]) item.className = 'inner';
        item.appendChild(link);
        place.before(item);
      });
      place.remove();
    };
    document.head.appendChild(script);
  }
  // On a narrow screen the list of pages scrolls inside itself: begin at the current one.
  var current = document.querySelector('nav.pages [aria-current=page]');
  if (current) {
    var list = current.closest('nav').querySelector('ol');
    list.scrollTop = current.offsetTop - list.offsetTop - 8;
  }
  addEventListener('beforeprint', function () {
    document.querySelectorAll('main details:not(.columns)').forEach(function (one) { one.open = true; });
  });
})();
