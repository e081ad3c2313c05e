// What is known of the person whom a page is about: the report writes the numbers of everybody beside the pages.
(function () {
  'use strict';

  document.addEventListener('DOMContentLoaded', function () {
    var data = window.neurostrataPeople;
    var box = document.querySelector('.person-facts');
    if (!data || !box) return; // no report yet: the page says so
    var tools = window.neurostrataStrips, element = tools.element, format = tools.format;
    var subject = box.dataset.subject;
    var position = data.subjects.indexOf(subject);
    box.textContent = '';
    var home = document.querySelector('.home');
    if (home) home.textContent = data.title;
    if (position < 0) {
      box.appendChild(element('p', {}, 'This person does not take part in the study as it is reported now.'));
      addDecisions();
      return;
    }
    addNeighbours();
    addFacts();
    addDecisions();
    addStrata();
    addDecoded();

    function link(text, at, key) {
      var page = at === null ? '' : tools.pageOf(data, at, '');
      if (!page) return element('span', { 'class': 'off' }, text);
      var made = element('a', { href: page }, text);
      if (key) made.dataset.key = key;
      return made;
    }

    // The nearest person in an order who has a page; null at its end.
    function neighbour(order, step) {
      for (var i = order.indexOf(position) + step; i >= 0 && i < order.length; i += step) {
        if (data.pages[order[i]]) return order[i];
      }
      return null;
    }

    function addNeighbours() {
      var bar = element('nav', { 'class': 'neighbours', 'aria-label': 'Other people' });
      var list = data.subjects.map(function (s, i) { return i; });
      var worst = tools.byWorst(data);
      var rank = worst.indexOf(position) + 1;
      [['By list', list, 'p', 'n'], ['By worst measure', worst, '', '']].forEach(function (order) {
        var part = element('span', { 'class': 'order' }, order[0] + ': ');
        [['← before', -1, order[2]], ['next →', 1, order[3]]].forEach(function (way) {
          var at = neighbour(order[1], way[1]);
          var made = link(way[0], at, way[2]);
          if (at !== null) made.title = 'sub-' + data.subjects[at];
          part.appendChild(made);
          part.appendChild(document.createTextNode(' '));
        });
        bar.appendChild(part);
      });
      var found = tools.worst(data, position);
      if (found) {
        bar.appendChild(element('span', { 'class': 'order' },
          'place ' + rank + ' of ' + data.subjects.length + ' by worst measure: ' + found.measure.label +
          ' (z ' + format(found.measure.z[position]) + ')'));
      }
      var review = element('a', { href: '../review/index.html#sub=' + encodeURIComponent(subject) }, 'Decide about this person');
      bar.appendChild(review);
      box.appendChild(bar);
      document.addEventListener('keydown', function (event) {
        if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
        var to = (event.key === 'n' || event.key === 'p') && bar.querySelector('[data-key=' + event.key + ']');
        if (to) location.href = to.href;
      });
    }

    function addFacts() {
      var list = element('dl', { 'class': 'facts-list' });
      data.facts.forEach(function (fact) {
        var value = fact.values[position];
        if (value === null) return;
        var pair = element('div');
        pair.appendChild(element('dt', {}, fact.words));
        pair.appendChild(element('dd', {}, (typeof value === 'number' ? format(value) : value) + (fact.unit ? ' ' + fact.unit : '')));
        list.appendChild(pair);
      });
      if (list.childElementCount) box.appendChild(list);
    }

    function about(row) {
      return row.subject === subject;
    }

    function sentence(kind, text, tone) {
      var item = element('li', { 'class': tone || '' });
      item.appendChild(element('b', {}, kind + ': '));
      item.appendChild(document.createTextNode(text));
      return item;
    }

    function addDecisions() {
      var list = element('ul', { 'class': 'decisions' });
      data.decisions.filter(about).forEach(function (row) {
        var by = [row.rater, row.date].filter(Boolean).join(', ');
        list.appendChild(sentence('Decision', row.decision.replace(/_/g, ' ') + (row.modality ? ' (' + row.modality + ' only)' : '') +
          (row.reason ? ': ' + row.reason : '') + (by ? ' (' + by + ')' : ''), row.decision));
      });
      data.exclusions.filter(about).forEach(function (row) {
        list.appendChild(sentence('Left out', tools.leftOut(row)));
      });
      data.suggestions.filter(about).forEach(function (row) {
        list.appendChild(sentence('Suggested exclusion', row.reason + (row.modality ? ' (' + row.modality + ' only)' : ''), 'suggested'));
      });
      if (!list.childElementCount) list.appendChild(element('li', {}, 'No decision about this person, and no exclusion is suggested.'));
      box.appendChild(list);
    }

    function addStrata() {
      var rows = data.strata.filter(function (part) { return part.cluster[position] !== null; });
      if (!rows.length) return;
      var wrap = element('div', { 'class': 'scroll' });
      var table = element('table', { 'class': 'strata-of-person' });
      var head = element('tr');
      ['Experiment', 'Cluster', 'Probability', 'People in it', 'Do clusters exist?'].forEach(function (text) {
        head.appendChild(element('th', { scope: 'col' }, text));
      });
      table.appendChild(element('thead')).appendChild(head);
      var body = table.appendChild(element('tbody'));
      rows.forEach(function (part) {
        var cluster = String(part.cluster[position]);
        var outside = part.outside.indexOf(position) >= 0;
        var line = element('tr');
        var probability = part.probability ? part.probability[position] : null;
        [
          part.experiment,
          outside ? 'none (nearest ' + cluster + ')' : cluster,
          format(probability),
          format(part.sizes[cluster] === undefined ? null : part.sizes[cluster]),
          part.claimed === null ? 'not tested' : part.claimed ? 'yes' : 'not shown'
        ].forEach(function (text, i) {
          var cell = line.appendChild(element('td'));
          if (i === 0 && part.page) cell.appendChild(element('a', { href: part.page }, text));
          else cell.textContent = text;
        });
        body.appendChild(line);
      });
      wrap.appendChild(table);
      box.appendChild(wrap);
    }

    // Original beside decoded: only of the people of whom an experiment kept examples.
    function addDecoded() {
      var examples = data.decoded[subject];
      if (!examples) return;
      var section = document.createElement('section');
      section.id = 'decoded';
      section.appendChild(element('h2', {}, 'Original and decoded images'));
      examples.forEach(function (example) {
        var figure = element('figure', { 'class': 'decoded' });
        var pair = element('div', { 'class': 'pair' });
        [['real', 'Original'], ['decoded', 'Decoded']].forEach(function (kind) {
          var part = element('div');
          part.appendChild(element('p', { 'class': 'below' }, kind[1]));
          part.appendChild(element('img', {
            src: example[kind[0]], loading: 'lazy', alt: kind[1] + ' slices of sub-' + subject + ' in ' + example.experiment
          }));
          pair.appendChild(part);
        });
        figure.appendChild(pair);
        var caption = element('figcaption');
        caption.appendChild(element('b', {}, example.experiment + '. '));
        caption.appendChild(document.createTextNode(
          'Rows: ' + example.modalities.map(function (m) { return m.toUpperCase(); }).join(', ') +
          '; each has one grey scale in both pictures. The model had not seen this person when it was trained.'));
        figure.appendChild(caption);
        section.appendChild(figure);
      });
      var after = document.getElementById('rest') || document.getElementById('fusion');
      var main = document.querySelector('main');
      if (after) after.parentNode.insertBefore(section, after);
      else main.insertBefore(section, main.querySelector('footer'));
    }
  });
})();
