// Search over people, sections, figures, tables and factors. The index is a script (data/search.js), read when it is first
// needed: a page that is opened from a folder may fetch nothing.
(function () {
  'use strict';
  var MOST = 12;
  var root = document.documentElement.dataset.report || '';
  var form = document.getElementById('search');
  if (!form) return;
  var field = form.querySelector('input');
  var list = form.querySelector('ul');
  var status = form.querySelector('[role=status]');
  var entries = null, chosen = -1, asked = false;
  form.hidden = false;

  function load() {
    if (asked) return;
    asked = true;
    var script = document.createElement('script');
    script.src = root + 'data/search.js';
    script.onload = function () {
      // [kind, title, address, further words]
      entries = window.neurostrataSearch.map(function (entry) {
        return { kind: entry[0], title: entry[1], href: entry[2], words: entry[3], text: (entry[1] + ' ' + entry[3]).toLowerCase() };
      });
      show();
    };
    script.onerror = function () { status.textContent = 'The index of this report is missing (data/search.js).'; };
    document.head.appendChild(script);
  }

  // Smaller is better: the title is what is asked, begins with it, has a word that begins with it, holds it; then the rest.
  function rank(entry, words) {
    var title = entry.title.toLowerCase(), total = 0;
    for (var i = 0; i < words.length; i += 1) {
      var word = words[i];
      if (entry.text.indexOf(word) < 0) return -1;
      if (title === word || title === 'sub-' + word) total += 0;
      else if (title.indexOf(word) === 0) total += 1;
      else if (title.split(/[^\p{L}\p{N}]+/u).some(function (part) { return part.indexOf(word) === 0; })) total += 2;
      else if (title.indexOf(word) >= 0) total += 3;
      else total += 5;
    }
    return total;
  }

  function show() {
    var words = field.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    chosen = -1;
    field.removeAttribute('aria-activedescendant');
    list.replaceChildren();
    if (!words.length || !entries) {
      list.hidden = true;
      field.setAttribute('aria-expanded', 'false');
      status.textContent = '';
      return;
    }
    var found = [];
    entries.forEach(function (entry, position) {
      var value = rank(entry, words);
      if (value >= 0) found.push([value, position]);
    });
    found.sort(function (a, b) { return a[0] - b[0] || a[1] - b[1]; });
    found.slice(0, MOST).forEach(function (one, position) {
      var entry = entries[one[1]];
      var item = document.createElement('li');
      item.id = 'found-' + position;
      item.setAttribute('role', 'option');
      item.setAttribute('aria-selected', 'false');
      item.dataset.href = root + entry.href;
      var kind = document.createElement('span');
      kind.className = 'kind';
      kind.textContent = entry.kind;
      var title = document.createElement('b');
      title.textContent = entry.title;
      item.append(kind, title);
      if (entry.words) {
        var more = document.createElement('span');
        more.className = 'more';
        more.textContent = entry.words;
        item.append(more);
      }
      item.addEventListener('mousedown', function (event) { event.preventDefault(); go(item); });
      list.appendChild(item);
    });
    list.hidden = !found.length;
    field.setAttribute('aria-expanded', String(found.length > 0));
    status.textContent = found.length ? found.length + ' found' : 'Nothing found';
    if (found.length) choose(0);
  }

  function choose(position) {
    var items = list.children;
    if (!items.length) return;
    if (chosen >= 0) items[chosen].setAttribute('aria-selected', 'false');
    chosen = (position + items.length) % items.length;
    items[chosen].setAttribute('aria-selected', 'true');
    items[chosen].scrollIntoView({ block: 'nearest' });
    field.setAttribute('aria-activedescendant', items[chosen].id);
  }

  function go(item) {
    location.href = item.dataset.href;
    hide();
    field.blur();
  }

  function hide() {
    list.hidden = true;
    field.setAttribute('aria-expanded', 'false');
  }

  field.addEventListener('focus', load);
  field.addEventListener('input', function () { load(); show(); });
  field.addEventListener('blur', hide);
  field.addEventListener('keydown', function (event) {
    if (event.key === 'ArrowDown') { choose(chosen + 1); event.preventDefault(); }
    else if (event.key === 'ArrowUp') { choose(chosen - 1); event.preventDefault(); }
    else if (event.key === 'Escape') { field.value = ''; show(); }
  });
  form.addEventListener('submit', function (event) {
    event.preventDefault();
    if (chosen >= 0 && list.children[chosen]) go(list.children[chosen]);
  });
  document.addEventListener('keydown', function (event) {
    var tag = event.target.tagName;
    if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey) return;
    if (tag === 'INPUT' || tag === 'TEXTAREA' || tag === 'SELECT' || event.target.isContentEditable) return;
    if (document.querySelector('dialog[open]')) return;
    field.focus();
    event.preventDefault();
  });
})();
