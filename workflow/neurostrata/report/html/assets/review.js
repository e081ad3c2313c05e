// Looking at everybody and deciding: pages of pictures, then one person at a time by keyboard.
// Decisions are rows of subject, modality, decision, reason, rater, date: what config/qc.tsv holds and the workflow reads.
// Every text is set as text, never as HTML.
(function () {
  'use strict';
  var COLUMNS = ['subject', 'modality', 'decision', 'reason', 'rater', 'date'];
  // Cells that the workflow reads as "no value".
  var MISSING = ['', 'n/a', 'N/A', 'NA'];

  // A cell that the workflow's reader takes as it is: on one line, without the quotation marks of spreadsheets.
  function clean(text) {
    var cell = String(text === undefined || text === null ? '' : text)
      .replace(/[\u0000-\u001f\u007f\u0085\u2028\u2029]+/g, ' ').replace(/"/g, "'").trim();
    return MISSING.indexOf(cell) >= 0 ? '' : cell;
  }

  function writeTable(rows) {
    var lines = [COLUMNS.join('\t')];
    rows.forEach(function (row) {
      lines.push(COLUMNS.map(function (column) {
        return column === 'subject' ? row.subject : clean(row[column]);
      }).join('\t'));
    });
    return lines.join('\n') + '\n';
  }

  // Read a table as the workflow does: tabs (or commas), comments with #, a pair of quotation marks round a cell.
  function readTable(text) {
    var lines = text.replace(/^\ufeff/, '').split(/\r\n|\n|\r/).filter(function (line) {
      return line.trim() && line.trim().charAt(0) !== '#';
    });
    if (!lines.length) throw new Error('it is empty');
    var separator = lines[0].indexOf('\t') >= 0 ? '\t' : lines[0].indexOf(';') >= 0 ? ';' : ',';
    function cells(line) {
      return line.split(separator).map(function (cell) { return cell.trim().replace(/^"(.*)"$/, '$1'); });
    }
    var names = cells(lines[0]).map(function (name) { return name === 'participant_id' ? 'subject' : name; });
    ['subject', 'decision'].forEach(function (name) {
      if (names.indexOf(name) < 0) throw new Error('it has no column ' + name);
    });
    return lines.slice(1).map(function (line, number) {
      var found = cells(line);
      if (found.length !== names.length) {
        throw new Error('row ' + (number + 1) + ' has ' + found.length + ' cells, not ' + names.length);
      }
      var row = {};
      COLUMNS.forEach(function (column) {
        var place = names.indexOf(column);
        row[column] = place < 0 ? '' : column === 'subject' ? found[place] : clean(found[place]);
      });
      row.subject = row.subject.replace(/^sub-/, '');
      return row;
    });
  }

  // Cohen's kappa of pairs of decisions; null where both gave everybody the same one.
  function kappa(pairs) {
    if (!pairs.length) return null;
    var first = {}, second = {}, same = 0;
    pairs.forEach(function (pair) {
      first[pair[0]] = (first[pair[0]] || 0) + 1;
      second[pair[1]] = (second[pair[1]] || 0) + 1;
      if (pair[0] === pair[1]) same += 1;
    });
    var n = pairs.length, chance = 0;
    Object.keys(first).forEach(function (name) { chance += first[name] * (second[name] || 0) / n / n; });
    return chance >= 1 ? null : (same / n - chance) / (1 - chance);
  }

  function today() {
    var now = new Date();
    function two(number) { return (number < 10 ? '0' : '') + number; }
    return now.getFullYear() + '-' + two(now.getMonth() + 1) + '-' + two(now.getDate());
  }

  // All decisions, one per person, modality and rater, and one about the template beside it. Cleared ones stay as rows without a decision.
  function Decisions(key) {
    this.place = 'neurostrata-review-' + key;
    this.rater = '';
    this.rows = new Map();
    this.kept = true; // whether the browser keeps them
    this.unsaved = 0;
    this.restored = 0;
    try {
      var stored = JSON.parse(localStorage.getItem(this.place) || '{}');
      this.rater = clean(stored.rater);
      var decisions = this;
      (stored.rows || []).forEach(function (row) { decisions.put(row); });
      this.restored = this.all().length;
      this.unsaved = stored.unsaved || 0;
    } catch (error) { this.kept = false; }
  }

  Decisions.prototype.keyOf = function (row) {
    // exclude_template is about the template alone and stands beside the other decisions
    return JSON.stringify([row.subject, row.modality, row.rater].concat(row.decision === 'exclude_template' ? row.decision : []));
  };
  Decisions.prototype.put = function (row) { this.rows.set(this.keyOf(row), row); };

  // Rows from a file: the newer of two decisions of the same rater holds, the one that is here if both are of one day.
  Decisions.prototype.add = function (rows) {
    var decisions = this, added = 0;
    // within a file the last line of a rater counts, as in the workflow
    new Map(rows.map(function (row) { return [decisions.keyOf(row), row]; })).forEach(function (row) {
      var here = decisions.rows.get(decisions.keyOf(row));
      if (here && !(row.date > here.date)) return;
      decisions.put(row);
      added += 1;
    });
    return added;
  };

  Decisions.prototype.store = function () {
    try {
      localStorage.setItem(this.place, JSON.stringify({ rater: this.rater, rows: Array.from(this.rows.values()), unsaved: this.unsaved }));
      this.kept = true;
    } catch (error) { this.kept = false; }
  };

  Decisions.prototype.all = function () {
    return Array.from(this.rows.values()).filter(function (row) { return row.decision; });
  };

  Decisions.prototype.mine = function (subject, modality) {
    var row = this.rater && this.rows.get(this.keyOf({ subject: subject, modality: modality, rater: this.rater }));
    return row && row.decision ? row : null;
  };

  Decisions.prototype.of = function (subject) {
    return this.all().filter(function (row) { return row.subject === subject; });
  };

  Decisions.prototype.decide = function (subject, modality, decision, reason) {
    this.put({ subject: subject, modality: modality, decision: decision, reason: clean(reason), rater: this.rater, date: today() });
    this.unsaved += 1;
    this.store();
  };

  Decisions.prototype.name = function (rater) {
    this.rater = clean(rater);
    this.store();
  };

  Decisions.prototype.table = function () {
    return writeTable(this.all().sort(function (a, b) {
      return a.subject < b.subject ? -1 : a.subject > b.subject ? 1 : a.modality < b.modality ? -1 : a.modality > b.modality ? 1
        : a.rater < b.rater ? -1 : a.rater > b.rater ? 1 : a.decision < b.decision ? -1 : 1;
    }));
  };

  // Pairs of raters with the people whom both decided about. They differ where one excludes and the other keeps, as in the workflow.
  Decisions.prototype.agreement = function () {
    var byRater = new Map();
    this.all().forEach(function (row) {
      if (!row.rater || row.rater.toLowerCase() === 'consensus' || row.decision === 'exclude_template') return;
      if (!byRater.has(row.rater)) byRater.set(row.rater, new Map());
      byRater.get(row.rater).set(JSON.stringify([row.subject, row.modality]), row);
    });
    var raters = Array.from(byRater.keys()).sort(), found = [];
    raters.forEach(function (a, i) {
      raters.slice(i + 1).forEach(function (b) {
        var pairs = [], same = 0, differ = [];
        byRater.get(a).forEach(function (row, key) {
          var other = byRater.get(b).get(key);
          if (!other) return;
          pairs.push([row.decision, other.decision]);
          if (row.decision === other.decision) same += 1;
          else if (row.decision !== 'unsure' && other.decision !== 'unsure') differ.push([row, other]);
        });
        found.push({ raters: [a, b], people: pairs.length, same: same, kappa: kappa(pairs), differ: differ });
      });
    });
    return found;
  };

  window.neurostrataReview = { readTable: readTable, writeTable: writeTable, kappa: kappa, Decisions: Decisions };

  document.addEventListener('DOMContentLoaded', function () {
    var data = window.neurostrataPeople;
    var review = document.getElementById('review');
    if (!review) return;
    var byId = document.getElementById.bind(document);
    if (!data) {
      byId('state').textContent = 'The numbers of this study (subjects/data.js) are not there: write the report first.';
      return;
    }
    var tools = window.neurostrataStrips, element = tools.element, format = tools.format;
    var perPage = Number(review.dataset.perPage);
    var worstFirst = tools.byWorst(data);
    var decisions = new Decisions(data.key);
    var earlier = decisions.restored;
    decisions.add(data.decisions);
    var page = 0, current = -1, wanted = '';

    function suggestionsOf(subject) {
      return data.suggestions.filter(function (row) { return row.subject === subject; });
    }

    function differing() {
      var found = {};
      decisions.agreement().forEach(function (pair) {
        pair.differ.forEach(function (rows) { found[rows[0].subject] = true; });
      });
      return found;
    }

    // The people shown, in order.
    function chosen() {
      var order = byId('order').value === 'worst' ? worstFirst : data.subjects.map(function (s, i) { return i; });
      var show = byId('show').value, find = byId('find').value.trim().replace(/^sub-/, '').toLowerCase();
      var differ = show === 'differ' ? differing() : {};
      return order.filter(function (position) {
        var subject = data.subjects[position];
        if (find && subject.toLowerCase().indexOf(find) < 0) return false;
        var rows = decisions.of(subject);
        function has(decision) { return rows.some(function (row) { return row.decision === decision; }); }
        switch (show) {
          case 'undecided': return !rows.some(function (row) { return row.rater && row.rater === decisions.rater; });
          case 'unsure': return has('unsure');
          case 'excluded': return has('exclude');
          case 'suggested': return suggestionsOf(subject).length > 0;
          case 'differ': return Boolean(differ[subject]);
          default: return true;
        }
      });
    }

    function pictureOf(position, lazy) {
      var subject = data.subjects[position];
      if (!data.pictures[position]) return element('p', { 'class': 'none' }, 'There is no picture of this person.');
      var picture = element('img', {
        alt: 'Slices of sub-' + subject + ': scan with brain mask, registered image with the template\'s white matter, diffusion',
        src: '../subjects/sub-' + encodeURIComponent(subject) + '/mosaic.webp'
      });
      if (lazy) {
        picture.loading = 'lazy';
        picture.decoding = 'async';
      }
      return picture;
    }

    function badge(row) {
      return element('span', { 'class': 'badge ' + (/^\w+$/.test(row.decision) ? row.decision : '') },
        row.decision.replace(/_/g, ' ') + (row.modality ? ' ' + row.modality : ''));
    }

    function unusual(position) {
      var worst = tools.worst(data, position);
      if (!worst) return null;
      return element('span', { 'class': worst.flagged ? 'worst flagged' : 'worst' },
        worst.measure.label + ', z ' + format(worst.measure.z[position]));
    }

    function drawGallery() {
      var people = chosen();
      var pages = Math.max(Math.ceil(people.length / perPage), 1);
      page = Math.min(page, pages - 1);
      var gallery = byId('gallery'), pager = byId('pager');
      gallery.textContent = '';
      pager.textContent = '';
      people.slice(page * perPage, (page + 1) * perPage).forEach(function (position) {
        var subject = data.subjects[position];
        var card = element('a', { 'class': 'card', href: '#sub=' + encodeURIComponent(subject) });
        card.appendChild(pictureOf(position, true));
        var line = element('span', { 'class': 'card-line' });
        line.appendChild(element('b', {}, 'sub-' + subject));
        decisions.of(subject).forEach(function (row) { line.appendChild(badge(row)); });
        if (suggestionsOf(subject).length) line.appendChild(element('span', { 'class': 'badge suggested' }, 'exclusion suggested'));
        var worst = unusual(position);
        if (worst) line.appendChild(worst);
        card.appendChild(line);
        gallery.appendChild(card);
      });
      if (!people.length) gallery.appendChild(element('p', {}, 'Nobody is to be shown here.'));
      if (pages > 1) {
        for (var i = 0; i < pages; i++) {
          var button = element('button', { type: 'button', 'aria-label': 'Page ' + (i + 1) }, String(i + 1));
          if (i === page) button.setAttribute('aria-current', 'page');
          button.addEventListener('click', function (number) {
            page = number;
            drawGallery();
            scrollTo(0, 0);
          }.bind(null, i));
          pager.appendChild(button);
        }
      }
    }

    function drawState() {
      var mine = {}, counts = { keep: 0, exclude: 0, unsure: 0 };
      decisions.all().forEach(function (row) {
        if (!row.rater || row.rater !== decisions.rater || data.subjects.indexOf(row.subject) < 0) return;
        mine[row.subject] = true;
        if (row.decision in counts) counts[row.decision] += 1;
      });
      var text = Object.keys(mine).length + ' of ' + data.subjects.length + ' people decided by ' + (decisions.rater || 'you') +
        ' (keep ' + counts.keep + ', exclude ' + counts.exclude + ', unsure ' + counts.unsure + ').';
      if (decisions.unsaved) text += ' ' + decisions.unsaved + ' changes are not saved to a file yet.';
      if (!decisions.kept) text += ' This browser keeps nothing: save before you close the page.';
      if (wanted) text += ' ' + wanted;
      byId('state').textContent = text;
      var pairs = decisions.agreement(), box = byId('agreement');
      byId('raters').hidden = !pairs.length;
      box.textContent = '';
      pairs.forEach(function (pair) {
        var line = pair.raters.join(' and ') + ': ' + (pair.people === 1 ? '1 decision' : pair.people + ' decisions') + ' by both, ' + pair.same + ' the same';
        if (pair.people) line += ', Cohen’s kappa ' + (pair.kappa === null ? 'not defined (both always decided the same)' : format(Number(pair.kappa.toFixed(3))));
        box.appendChild(element('p', {}, line + '.'));
        if (!pair.differ.length) return;
        var list = element('ul', { 'class': 'plain' });
        pair.differ.forEach(function (rows) {
          var item = element('li');
          item.appendChild(element('a', { href: '#sub=' + encodeURIComponent(rows[0].subject) }, 'sub-' + rows[0].subject));
          item.appendChild(document.createTextNode((rows[0].modality ? ' (' + rows[0].modality + ')' : '') + ': ' + rows.map(function (row) {
            return row.rater + ' ' + row.decision + (row.reason ? ' (' + row.reason + ')' : '');
          }).join('; ')));
          list.appendChild(item);
        });
        box.appendChild(list);
      });
    }

    function modality() { return byId('modality').value; }

    function hint(text) { byId('hint').textContent = text || ''; }

    function drawDecision() {
      var subject = data.subjects[current];
      var mine = decisions.mine(subject, modality());
      document.querySelectorAll('[data-decision]').forEach(function (button) {
        if (button.dataset.decision) button.setAttribute('aria-pressed', String(Boolean(mine) && mine.decision === button.dataset.decision));
      });
      byId('reason').value = mine ? mine.reason : '';
      waiting = ''; // the field holds another reason now
      var known = byId('known');
      known.textContent = '';
      function add(text, kind) { known.appendChild(element('li', { 'class': kind || '' }, text)); }
      suggestionsOf(subject).forEach(function (row) { add('Suggested: ' + row.reason + (row.modality ? ' (' + row.modality + ')' : ''), 'suggested'); });
      decisions.of(subject).forEach(function (row) {
        if (mine && decisions.keyOf(row) === decisions.keyOf(mine)) return;
        add((row.rater || 'Sheet') + ': ' + row.decision.replace(/_/g, ' ') + (row.modality ? ' ' + row.modality : '') + (row.reason ? ', ' + row.reason : ''));
      });
      data.measures.map(function (measure) { return { measure: measure, bad: tools.badness(measure, current) }; })
        .filter(function (found) { return found.bad !== null && found.bad > 1; })
        .sort(function (a, b) { return b.bad - a.bad; }).slice(0, 5).forEach(function (found) {
          add(tools.capital(found.measure.label) + ': ' + format(found.measure.values[current]) + ', z ' + format(found.measure.z[current]) +
            ', ' + tools.standing(found.measure, current), found.measure.flagged.indexOf(current) >= 0 ? 'suggested' : '');
        });
    }

    // What lies behind the one person cannot be reached by the keyboard either.
    function setInert(inert) {
      document.querySelectorAll('body > header, body > footer, nav.pages, a.skip').forEach(function (part) { part.inert = inert; });
    }

    function showPerson(position) {
      var changed = position !== current;
      current = position;
      var subject = data.subjects[position];
      review.classList.add('one');
      setInert(true);
      byId('single').hidden = false;
      byId('gallery').hidden = byId('pager').hidden = true;
      if (changed) {
        var picture = byId('picture');
        picture.textContent = '';
        picture.appendChild(pictureOf(position, false));
        picture.scrollTop = 0;
        byId('modality').value = '';
        hint('');
        // the neighbours' pictures are fetched before they are asked for
        var people = chosen(), at = people.indexOf(position);
        [at + 1, at - 1].forEach(function (i) {
          if (i >= 0 && i < people.length && data.pictures[people[i]]) {
            new Image().src = '../subjects/sub-' + encodeURIComponent(data.subjects[people[i]]) + '/mosaic.webp';
          }
        });
      }
      byId('who').textContent = 'sub-' + subject;
      var order = chosen(), place = order.indexOf(position);
      var facts = data.facts.filter(function (fact) { return fact.values[position] !== null && fact.name !== 'family'; })
        .map(function (fact) { return fact.words.toLowerCase() + ' ' + (typeof fact.values[position] === 'number' ? format(fact.values[position]) : fact.values[position]); });
      byId('facts').textContent = (place < 0 ? '' : (place + 1) + ' of ' + order.length + (facts.length ? ' · ' : '')) + facts.join(' · ');
      var link = byId('page'), target = tools.pageOf(data, position, '../subjects/');
      link.hidden = !target;
      if (target) link.href = target;
      drawDecision();
    }

    function showGallery() {
      current = -1;
      review.classList.remove('one');
      setInert(false);
      byId('single').hidden = true;
      byId('gallery').hidden = byId('pager').hidden = false;
      drawGallery();
    }

    function go(position) { location.hash = '#sub=' + encodeURIComponent(data.subjects[position]); }

    // The neighbour in the list that is shown; the order before the change, since a decision may take the person out of it.
    function step(way, order) {
      var people = order || chosen(), at = people.indexOf(current);
      if (at < 0) at = way > 0 ? -1 : people.length;
      if (people[at + way] === undefined) return hint(way > 0 ? 'This was the last person of this list.' : 'This is the first person of this list.');
      go(people[at + way]);
    }

    function isNamed() {
      if (decisions.rater) return true;
      hint('First say who you are: your name is saved with every decision.');
      byId('rater').focus();
      return false;
    }

    function decide(decision) {
      if (current < 0 || !isNamed()) return;
      var subject = data.subjects[current], reason = byId('reason').value, order = chosen();
      var before = decisions.mine(subject, modality());
      // a reason that was given for another decision is not one for this
      if (waiting !== decision && before && before.decision !== decision && clean(reason) === before.reason) reason = '';
      if (decision === 'exclude' && !clean(reason)) {
        wait('exclude');
        return;
      }
      waiting = '';
      decisions.decide(subject, modality(), decision, decision ? reason : '');
      drawState();
      drawDecision();
      hint('');
      if (decision && byId('advance').checked) step(1, order);
    }

    var waiting = ''; // the decision that waits for its reason
    function wait(decision) {
      waiting = decision;
      hint('Say why, then press Enter: ' + decision + ' is not stored without a reason.');
      // what the measures say is offered: Enter takes it, typing replaces it
      var suggested = suggestionsOf(data.subjects[current])[0];
      byId('reason').value = suggested ? clean(suggested.reason) : '';
      byId('reason').focus();
      byId('reason').select();
    }

    function fromHash() {
      var found = /^#sub=(.*)$/.exec(location.hash);
      var subject = '';
      try { subject = found ? decodeURIComponent(found[1]) : ''; } catch (error) { subject = ''; }
      var position = data.subjects.indexOf(subject);
      waiting = '';
      if (position < 0) showGallery();
      else showPerson(position);
    }

    // Controls
    byId('modality').appendChild(element('option', { value: '' }, 'everything of this person'));
    data.modalities.forEach(function (name) { byId('modality').appendChild(element('option', { value: name }, 'only ' + name)); });
    byId('rater').value = decisions.rater;
    byId('rater').addEventListener('change', function () {
      decisions.name(byId('rater').value);
      byId('rater').value = decisions.rater;
      drawState();
      if (current >= 0) drawDecision();
    });
    byId('rater').addEventListener('keydown', function (event) { if (event.key === 'Enter') byId('rater').blur(); });
    ['order', 'show', 'find'].forEach(function (name) {
      byId(name).addEventListener('input', function () {
        page = 0;
        if (current < 0) drawGallery();
        else showPerson(current);
      });
    });
    byId('picture').addEventListener('click', function () { byId('picture').classList.toggle('closer'); });
    byId('start').addEventListener('click', function () {
      var people = chosen();
      if (people.length) go(people[page * perPage] === undefined ? people[0] : people[page * perPage]);
    });
    byId('back').addEventListener('click', function () { location.hash = ''; });
    byId('before').addEventListener('click', function () { step(-1); });
    byId('next').addEventListener('click', function () { step(1); });
    byId('modality').addEventListener('change', function () { drawDecision(); });
    document.querySelectorAll('[data-decision]').forEach(function (button) {
      button.addEventListener('click', function () { decide(button.dataset.decision); });
    });
    byId('reason').addEventListener('keydown', function (event) {
      if (event.key === 'Escape') {
        waiting = '';
        hint('');
        byId('reason').blur();
        event.stopPropagation();
      } else if (event.key === 'Enter') {
        var mine = current >= 0 && decisions.mine(data.subjects[current], modality());
        var decision = waiting || (mine ? mine.decision : '');
        byId('reason').blur();
        if (decision && clean(byId('reason').value)) decide(decision);
        else if (decision === 'exclude') wait('exclude');
        else if (!decision) hint('Now decide: keep, exclude or unsure.');
      }
    });
    // A changed reason of a decision that is stored is stored with it.
    byId('reason').addEventListener('change', function () {
      var mine = current >= 0 && decisions.mine(data.subjects[current], modality());
      if (!mine || waiting) return;
      if (mine.decision === 'exclude' && !clean(byId('reason').value)) return;
      if (clean(byId('reason').value) === mine.reason) return;
      decisions.decide(mine.subject, mine.modality, mine.decision, byId('reason').value);
      drawState();
    });
    document.addEventListener('keydown', function (event) {
      var typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) && event.target.type !== 'checkbox';
      if (typing || current < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
      var action = {
        ArrowRight: function () { step(1); }, ArrowLeft: function () { step(-1); }, Escape: function () { location.hash = ''; },
        k: function () { decide('keep'); }, e: function () { decide('exclude'); }, u: function () { decide('unsure'); },
        c: function () { decide(''); }, r: function () { byId('reason').focus(); }
      }[event.key];
      if (!action) return;
      event.preventDefault();
      action();
    });
    byId('save').addEventListener('click', function () {
      var link = element('a', { download: 'qc.tsv' });
      link.href = URL.createObjectURL(new Blob([decisions.table()], { type: 'text/tab-separated-values' }));
      link.click();
      setTimeout(function () { URL.revokeObjectURL(link.href); }, 10000);
      decisions.unsaved = 0;
      decisions.store();
      wanted = '';
      drawState();
    });
    byId('load').addEventListener('change', function () {
      var files = Array.from(byId('load').files);
      wanted = '';
      Promise.all(files.map(function (file) {
        return file.text().then(function (text) {
          var rows = readTable(text);
          var added = decisions.add(rows);
          var unknown = rows.filter(function (row) { return data.subjects.indexOf(row.subject) < 0; }).length;
          return file.name + ': ' + rows.length + ' decisions, ' + added + ' taken up' +
            (unknown ? ', ' + unknown + ' about people who are not shown here' : '') + '.';
        }).catch(function (error) { return file.name + ' cannot be read: ' + error.message + '.'; });
      })).then(function (said) {
        wanted = said.join(' ');
        decisions.store();
        byId('load').value = '';
        drawState();
        fromHash();
      });
    });
    addEventListener('beforeunload', function (event) {
      if (decisions.unsaved && !decisions.kept) event.preventDefault();
    });
    addEventListener('hashchange', fromHash);
    if (earlier) wanted = earlier + ' decisions of an earlier visit were kept by this browser.';
    drawState();
    fromHash();
  });
})();
