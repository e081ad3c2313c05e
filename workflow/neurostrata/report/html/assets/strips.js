// Strips of everybody's values: where one person lies in the cohort, and one person followed through all measures.
// The numbers come from window.neurostrataPeople (report/subjects/data.js). Every text is set as text, never as HTML.
(function () {
  'use strict';
  if (window.neurostrataStrips) return; // two blocks of a page both brought it
  var SVG = 'http://www.w3.org/2000/svg';
  var WIDTH = 360, HEIGHT = 40, MARGIN = 8;
  var GROUPS = {
    scan: 'The scan', placement: 'Placement on the template', brain: 'The brain', diffusion: 'Diffusion data',
    maps: 'Maps on the fusion grid', model: 'The models', strata: 'Strata', phenotypes: 'Phenotypes'
  };

  function element(name, attributes, text) {
    var made = document.createElement(name);
    Object.keys(attributes || {}).forEach(function (key) { made.setAttribute(key, attributes[key]); });
    if (text !== undefined && text !== null) made.textContent = text;
    return made;
  }

  function svg(name, attributes) {
    var made = document.createElementNS(SVG, name);
    Object.keys(attributes || {}).forEach(function (key) { made.setAttribute(key, attributes[key]); });
    return made;
  }

  // Three significant digits, the minus sign as a minus.
  function format(value) {
    if (value === null || value === undefined) return 'n/a';
    if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value).replace('-', '−');
    var text = Math.abs(value) >= 1000 ? value.toFixed(0)
      : Math.abs(value) >= 1e-4 ? Number(value.toPrecision(3)).toString() : value.toExponential(1);
    return text.replace(/-/g, '−');
  }

  function capital(text) { return text.charAt(0).toUpperCase() + text.slice(1); }

  // "lower than 92%", "the highest of 120", "one of 19 with the lowest value, of 120"; shares are rounded down: nobody is
  // higher than all others and not the highest
  function standing(measure, position) {
    var value = measure.values[position];
    if (value === null) return '';
    var known = measure.values.filter(function (v) { return v !== null; });
    var below = known.filter(function (v) { return v < value; }).length;
    var above = known.filter(function (v) { return v > value; }).length;
    var others = known.length - 1;
    if (others < 1) return '';
    var alike = known.length - below - above;
    if (alike === known.length) return 'the same in all ' + alike;
    var end = above ? 'lowest' : 'highest';
    if (!above || !below) return (alike > 1 ? 'one of ' + alike + ' with the ' + end + ' value, of ' : 'the ' + end + ' of ') + known.length;
    return below >= above ? 'higher than ' + Math.floor(100 * below / others) + '%'
      : 'lower than ' + Math.floor(100 * above / others) + '%';
  }

  // What a person is left out of, and why: a row of exclusions.tsv.
  function leftOut(row) {
    var what = row.stage === 'template' ? 'the people of the template'
      : row.stage.indexOf('experiment ') === 0 ? row.stage + (row.modality ? ', without ' + row.modality.toUpperCase() : '')
      : (row.modality === 'all' ? 'everything' : row.modality) + ', from ' + row.stage + ' on';
    return 'of ' + what + ': ' + row.reason;
  }

  // How bad a value is: robust standard deviations towards the bad side; null where it is not known.
  function badness(measure, position) {
    if (!measure.bad || !measure.z) return null;
    var z = measure.z[position];
    if (z === null) return null;
    return measure.bad === 'both' ? Math.abs(z) : measure.bad === 'high' ? z : -z;
  }

  // The measure on which a person is worst.
  function worst(data, position) {
    var found = null;
    data.measures.forEach(function (measure) {
      var bad = badness(measure, position);
      if (bad === null) return;
      // a flagged measure comes before all that are not
      var flagged = measure.flagged.indexOf(position) >= 0;
      if (!found || (flagged && !found.flagged) || (flagged === found.flagged && bad > found.bad)) {
        found = { measure: measure, bad: bad, flagged: flagged };
      }
    });
    return found;
  }

  // Everybody's position, worst first.
  function byWorst(data) {
    var found = data.subjects.map(function (subject, position) { return worst(data, position); });
    return data.subjects.map(function (subject, position) { return position; }).sort(function (a, b) {
      var x = found[a], y = found[b];
      if (!x || !y) return (x ? 0 : 1) - (y ? 0 : 1) || a - b;
      return Number(y.flagged) - Number(x.flagged) || y.bad - x.bad || a - b;
    });
  }

  function pageOf(data, position, from) {
    return data.pages[position] ? from + 'sub-' + encodeURIComponent(data.subjects[position]) + '.html' : '';
  }

  // Where a value lies on a strip; by logarithm where people are compared by it.
  function scaleOf(measure) {
    var log = measure.log && measure.values.every(function (v) { return v === null || v > 0; });
    var turn = log ? Math.log : function (v) { return v; };
    var known = measure.values.filter(function (v) { return v !== null; });
    var low = Math.min.apply(null, known), high = Math.max.apply(null, known);
    var a = turn(low), b = turn(high);
    return {
      low: low, high: high,
      x: function (v) { return b > a ? MARGIN + (turn(v) - a) / (b - a) * (WIDTH - 2 * MARGIN) : WIDTH / 2; }
    };
  }

  // The same height for the same person in all strips of the page, spread evenly without a pattern.
  function heightOf(position) {
    return 7 + ((position * 0.6180339887) % 1) * (HEIGHT - 14);
  }

  // Dots as one path of points with round ends: thousands of them cost one element.
  function dots(scale, measure, positions) {
    return positions.map(function (position) {
      return 'M' + scale.x(measure.values[position]).toFixed(1) + ' ' + heightOf(position).toFixed(1) + 'h0';
    }).join('');
  }

  function median(values) {
    var sorted = values.slice().sort(function (a, b) { return a - b; });
    var middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }

  function Strip(measure, data, box) {
    var strip = this;
    this.measure = measure;
    this.data = data;
    this.scale = scaleOf(measure);
    this.known = [];
    measure.values.forEach(function (v, position) { if (v !== null) strip.known.push(position); });
    this.sorted = this.known.slice().sort(function (a, b) { return measure.values[a] - measure.values[b] || a - b; });
    this.row = element('div', { 'class': 'strip', 'data-measure': measure.name });
    var name = element('p', { 'class': 'strip-name' }, capital(measure.label));
    if (measure.unit) name.appendChild(element('span', { 'class': 'unit' }, ' (' + measure.unit + ')'));
    name.appendChild(element('span', { 'class': 'meaning' }, measure.words));
    this.value = element('p', { 'class': 'strip-value' });
    this.drawing = svg('svg', {
      viewBox: '0 0 ' + WIDTH + ' ' + HEIGHT, tabindex: 0, role: 'slider', 'aria-label': capital(measure.label) + ': people in order',
      'aria-valuemin': 1, 'aria-valuemax': this.known.length, 'aria-valuenow': 1
    });
    var middle = this.scale.x(median(this.known.map(function (position) { return measure.values[position]; })));
    this.drawing.appendChild(svg('line', { 'class': 'middle', x1: middle, x2: middle, y1: 2, y2: HEIGHT - 2 }));
    var usual = this.known.filter(function (position) { return measure.flagged.indexOf(position) < 0; });
    this.drawing.appendChild(svg('path', { 'class': 'dots', d: dots(this.scale, measure, usual) }));
    if (measure.flagged.length) {
      var flagged = this.known.filter(function (position) { return measure.flagged.indexOf(position) >= 0; });
      this.drawing.appendChild(svg('path', { 'class': 'dots flagged', d: dots(this.scale, measure, flagged) }));
    }
    this.own = svg('g', { 'class': 'mark own', visibility: 'hidden' });
    this.own.appendChild(svg('line', { y1: 1, y2: HEIGHT - 1 }));
    this.own.appendChild(svg('circle', { r: 5.5 }));
    this.other = svg('g', { 'class': 'mark other', visibility: 'hidden' });
    this.other.appendChild(svg('line', { y1: 1, y2: HEIGHT - 1 }));
    this.other.appendChild(svg('path', { d: 'M0-6.5 6.5 0 0 6.5-6.5 0z' }));
    this.title = svg('title');
    [this.own, this.other, this.title].forEach(function (part) { strip.drawing.appendChild(part); });
    var ends = element('p', { 'class': 'strip-ends' });
    ends.appendChild(element('span', {}, format(this.scale.low)));
    ends.appendChild(element('span', {}, format(this.scale.high)));
    var plot = element('div', { 'class': 'strip-plot' });
    plot.appendChild(this.drawing);
    plot.appendChild(ends);
    this.row.appendChild(name);
    this.row.appendChild(plot);
    this.row.appendChild(this.value);
    box.appendChild(this.row);
  }

  Strip.prototype.describe = function (position) {
    var z = this.measure.z && this.measure.z[position];
    var text = format(this.measure.values[position]);
    if (z !== null && z !== undefined && z !== false) text += ', z ' + format(z);
    return text;
  };

  // The value of a person beside the strip, and where in the cohort it lies.
  Strip.prototype.say = function (position) {
    var measure = this.measure;
    this.value.textContent = '';
    if (position < 0) return;
    var value = measure.values[position];
    this.value.textContent = format(value);
    var detail = [standing(measure, position)];
    var z = measure.z && measure.z[position];
    if (z !== null && z !== undefined && z !== false) detail.push('z ' + format(z));
    this.value.appendChild(element('span', {}, value === null ? 'not measured' : detail.filter(Boolean).join(', ')));
    if (measure.flagged.indexOf(position) >= 0) this.value.appendChild(element('b', {}, 'unusual'));
  };

  // Mark a person; `which` is "own" (the page's) or "other" (the one followed).
  Strip.prototype.mark = function (which, position) {
    var mark = this[which];
    var value = position < 0 ? null : this.measure.values[position];
    mark.setAttribute('visibility', value === null ? 'hidden' : 'visible');
    if (value === null) return;
    var x = this.scale.x(value), y = heightOf(position);
    var line = mark.querySelector('line');
    line.setAttribute('x1', x);
    line.setAttribute('x2', x);
    mark.lastChild.setAttribute('transform', 'translate(' + x.toFixed(1) + ' ' + y.toFixed(1) + ')');
    if (which === 'other') {
      var rank = this.sorted.indexOf(position);
      this.drawing.setAttribute('aria-valuenow', rank + 1);
      this.drawing.setAttribute('aria-valuetext', 'sub-' + this.data.subjects[position] + ': ' + this.describe(position));
    }
  };

  // The person nearest to a place of the pointer, within a few pixels.
  Strip.prototype.nearest = function (event) {
    var box = this.drawing.getBoundingClientRect();
    var x = (event.clientX - box.left) / box.width * WIDTH, y = (event.clientY - box.top) / box.height * HEIGHT;
    var found = -1, closest = 144, strip = this;
    this.known.forEach(function (position) {
      var dx = strip.scale.x(strip.measure.values[position]) - x, dy = heightOf(position) - y;
      var distance = dx * dx + dy * dy;
      if (distance < closest) { closest = distance; found = position; }
    });
    return found;
  };

  // Everything on the page that shows people: marks the same person everywhere.
  function Board(data, from) {
    this.data = data;
    this.from = from;
    this.strips = [];
    this.person = -1;
    this.followed = -1;
    this.tip = element('div', { 'class': 'tip', role: 'status', hidden: '' });
    document.body.appendChild(this.tip);
  }

  Board.prototype.follow = function (position) {
    if (position === this.followed) return;
    this.followed = position;
    this.strips.forEach(function (strip) {
      strip.mark('other', position);
      if (!strip.fixed) strip.say(position); // a page about nobody in particular
    });
    var subject = position < 0 ? '' : this.data.subjects[position];
    document.dispatchEvent(new CustomEvent('neurostrata:follow', { detail: { subject: subject } }));
  };

  Board.prototype.showTip = function (strip, position, place) {
    var subject = this.data.subjects[position];
    var flagged = strip.measure.flagged.indexOf(position) >= 0;
    var text = 'sub-' + subject + ' · ' + strip.describe(position) + (flagged ? ' · unusual' : '');
    strip.title.textContent = text;
    this.tip.textContent = text;
    this.tip.hidden = false;
    var left = Math.max(4, Math.min(place.left, innerWidth - this.tip.offsetWidth - 4));
    this.tip.style.left = left + scrollX + 'px';
    this.tip.style.top = place.top + scrollY + 'px';
  };

  Board.prototype.hideTip = function () { this.tip.hidden = true; };

  Board.prototype.open = function (position) {
    var page = position < 0 ? '' : pageOf(this.data, position, this.from);
    if (page) location.href = page;
  };

  Board.prototype.add = function (measure, box) {
    var board = this;
    var strip = new Strip(measure, this.data, box);
    strip.fixed = this.person >= 0;
    if (strip.fixed) {
      strip.mark('own', this.person);
      strip.say(this.person);
    }
    strip.drawing.addEventListener('pointermove', function (event) {
      var position = strip.nearest(event);
      strip.drawing.classList.toggle('over', position >= 0);
      if (position < 0) return board.hideTip();
      board.follow(position);
      board.showTip(strip, position, { left: event.clientX + 12, top: event.clientY + 14 });
    });
    strip.drawing.addEventListener('pointerleave', function () { board.hideTip(); });
    strip.drawing.addEventListener('blur', function () { board.hideTip(); });
    strip.drawing.addEventListener('click', function (event) { board.open(strip.nearest(event)); });
    strip.drawing.addEventListener('keydown', function (event) {
      var rank = strip.sorted.indexOf(board.followed >= 0 ? board.followed : board.person);
      var last = strip.sorted.length - 1;
      if (event.key === 'Enter') return board.open(board.followed);
      if (event.key === 'ArrowRight' || event.key === 'ArrowUp') rank = Math.min(rank + 1, last);
      else if (event.key === 'ArrowLeft' || event.key === 'ArrowDown') rank = Math.max(rank - 1, 0);
      else if (event.key === 'Home') rank = 0;
      else if (event.key === 'End') rank = last;
      else return;
      event.preventDefault();
      var position = strip.sorted[rank];
      board.follow(position);
      var place = strip.drawing.getBoundingClientRect();
      var x = strip.scale.x(measure.values[position]) / WIDTH * place.width;
      board.showTip(strip, position, { left: place.left + x + 12, top: place.bottom });
    });
    this.strips.push(strip);
    return strip;
  };

  // A field that follows the person whose id is typed, for pages about everybody.
  Board.prototype.addFinder = function (box) {
    var board = this, data = this.data;
    var list = element('datalist', { id: 'strip-people' });
    data.subjects.forEach(function (subject) { list.appendChild(element('option', { value: subject })); });
    var label = element('label', {}, 'Follow a person ');
    var field = element('input', { type: 'search', list: 'strip-people', autocomplete: 'off', placeholder: 'id' });
    var link = element('a', { hidden: '' });
    label.appendChild(field);
    var bar = element('div', { 'class': 'strip-finder' });
    var review = element('a', { href: board.from + '../review/index.html' }, 'Look at everybody’s pictures and decide');
    [label, list, link, review].forEach(function (part) { bar.appendChild(part); });
    box.appendChild(bar);
    field.addEventListener('input', function () {
      board.follow(data.subjects.indexOf(field.value.trim().replace(/^sub-/, '')));
    });
    document.addEventListener('neurostrata:follow', function (event) {
      var position = data.subjects.indexOf(event.detail.subject);
      var page = position < 0 ? '' : pageOf(data, position, board.from);
      link.hidden = !page;
      if (page) { link.href = page; link.textContent = 'sub-' + event.detail.subject; }
    });
  };

  function fill(board) {
    var boxes = document.querySelectorAll('.strips');
    var drawn = {};
    boxes.forEach(function (box) {
      box.dataset.groups.split(' ').filter(Boolean).forEach(function (group) { drawn[group] = true; });
    });
    boxes.forEach(function (box) {
      var groups = box.dataset.groups.split(' ').filter(Boolean);
      var rest = !groups.length;
      if (rest) groups = Object.keys(GROUPS).filter(function (group) { return !drawn[group]; });
      if (!box.dataset.person) board.addFinder(box);
      var position = box.dataset.person ? board.data.subjects.indexOf(box.dataset.person) : -1;
      if (box.dataset.person && position < 0) return; // not in the study as it is now
      board.person = position;
      groups.forEach(function (group) {
        var measures = board.data.measures.filter(function (measure) {
          return measure.group === group && measure.values.some(function (v) { return v !== null; });
        });
        if (!measures.length) return;
        if (groups.length > 1) box.appendChild(element('h' + box.dataset.level, {}, GROUPS[group]));
        measures.forEach(function (measure) { board.add(measure, box); });
      });
      box.hidden = !box.childElementCount;
    });
  }

  window.neurostrataStrips = {
    element: element, format: format, capital: capital, badness: badness, worst: worst, byWorst: byWorst,
    standing: standing, leftOut: leftOut, pageOf: pageOf
  };

  document.addEventListener('DOMContentLoaded', function () {
    var data = window.neurostrataPeople;
    var boxes = document.querySelectorAll('.strips');
    if (!data || !boxes.length) return;
    // people's pages lie beside the file of numbers
    var source = document.querySelector('script[src$="data.js"]');
    var from = source ? source.getAttribute('src').replace(/data\.js$/, '') : '';
    window.neurostrataBoard = new Board(data, from);
    fill(window.neurostrataBoard);
  });
})();
