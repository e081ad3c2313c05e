// Light or dark as the reader chose before, set before anything is drawn; without a choice the system decides.
(function () {
  'use strict';
  var KEY = 'neurostrata-theme';
  var root = document.documentElement;

  function stored() {
    try { return localStorage.getItem(KEY); } catch (error) { return null; } // refused by the browser's settings
  }

  function isDark() {
    var chosen = root.dataset.theme;
    return chosen ? chosen === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  }

  var before = stored();
  if (before === 'light' || before === 'dark') root.dataset.theme = before;
  root.classList.add('scripted');

  document.addEventListener('DOMContentLoaded', function () {
    var button = document.getElementById('theme');
    if (!button) return;
    function show() {
      button.setAttribute('aria-pressed', String(isDark()));
    }
    button.hidden = false;
    show();
    button.addEventListener('click', function () {
      root.dataset.theme = isDark() ? 'light' : 'dark';
      try { localStorage.setItem(KEY, root.dataset.theme); } catch (error) { /* lasts for this page only */ }
      show();
    });
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', show);
  });
})();
