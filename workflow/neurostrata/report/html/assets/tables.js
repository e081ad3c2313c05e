// Tables: sort, find, hide columns, download. Without this script a table is what the page says: all rows, all columns.
(function () {
  'use strict';
  var PAGE = 50; // rows shown at once
  var FIND = 8; // tables with more rows get a field to find rows
  var SUPERSCRIPT = { '⁰': 0, '¹': 1, '²': 2, '³': 3, '⁴': 4, '⁵': 5, '⁶': 6, '⁷': 7, '⁸': 8, '⁹': 9 };
  var count = 0;

  function make(tag, attributes, text) {
    var element = document.createElement(tag);
    Object.keys(attributes || {}).forEach(function (name) { element.setAttribute(name, attributes[name]); });
    if (text !== undefined) element.textContent = text;
    return element;
  }

  // The number that a cell begins with: "−1.2×10⁻⁵", "< 0.001", "0.41 [0.2, 0.6]", "3 of 5", "1,234"; NaN for none.
  function numberOf(text) {
    var plain = text.trim().replace(/−/g, '-').replace(/(\d),(?=\d{3}\b)/g, '$1');
    var power = plain.match(/^(-?[\d.]+)×10([⁺⁻]?)([⁰¹²³⁴⁵⁶⁷⁸⁹]+)/);
    if (power) {
      var exponent = Number(Array.from(power[3], function (c) { return SUPERSCRIPT[c]; }).join(''));
      return Number(power[1]) * Math.pow(10, power[2] === '⁻' ? -exponent : exponent);
    }
    if (/^-?∞/.test(plain)) return plain[0] === '-' ? -Infinity : Infinity;
    var below = plain.match(/^<\s*([\d.]+)/);
    if (below) return Number(below[1]) * 0.999;
    var found = plain.match(/^[≥>~]?\s*(-?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)/i);
    return found ? Number(found[1]) : NaN;
  }

  function isMissing(text) { return text === '' || text === 'n/a' || text === 'NA'; }

  var collator = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' });

  function enhance(box) {
    var table = box.querySelector('table');
    if (!table || !table.tHead || !table.tBodies.length) return;
    var body = table.tBodies[0];
    var original = Array.from(body.rows);
    if (original.length < 2) return;
    count += 1;
    var name = 'enhanced-' + count;
    table.classList.add(name);
    var heads = Array.from(table.tHead.rows[0].cells);
    var titles = heads.map(function (head) { return head.textContent.trim(); });
    var numeric = heads.map(function (head) { return head.classList.contains('num'); });
    var hidden = heads.map(function () { return false; });
    var grouped = original.some(function (row) { return row.classList.contains('group'); });
    var sortedBy = -1, direction = 0, start = 0, everything = false;

    // What a cell says: in a table with groups, a blank cell of text repeats the one above it.
    var said = [];
    original.forEach(function (row, position) {
      said.push(Array.from(row.cells, function (cell, column) {
        var text = cell.textContent.trim();
        var repeats = grouped && text === '' && !numeric[column] && position > 0 && !row.classList.contains('group');
        return repeats ? said[position - 1][column] : text;
      }));
    });
    var order = original.map(function (_, position) { return position; });
    var shown = order;

    // Columns that are sorted by number: those that the page says hold numbers, and those whose values all are.
    var byNumber = titles.map(function (_, column) {
      var values = said.map(function (row) { return row[column]; }).filter(function (text) { return !isMissing(text); });
      var numbers = values.filter(function (text) { return !Number.isNaN(numberOf(text)); });
      return numeric[column] ? numbers.length > 0 : values.length > 0 && numbers.length === values.length;
    });

    function lacks(text, column) { return isMissing(text) || (byNumber[column] && Number.isNaN(numberOf(text))); }

    function compare(a, b) {
      var first = said[a][sortedBy], second = said[b][sortedBy];
      var lacking = lacks(first, sortedBy) - lacks(second, sortedBy);
      if (lacking) return lacking; // n/a stays at the end in either direction
      var result = byNumber[sortedBy] ? numberOf(first) - numberOf(second) : collator.compare(first, second);
      return direction * (Number.isNaN(result) ? 0 : result) || a - b;
    }

    function matches(position) {
      var wanted = find ? find.value.trim().toLowerCase() : '';
      if (!wanted) return true;
      var column = where ? Number(where.value) : -1;
      var limit = wanted.match(/^(<=|>=|<|>|=)\s*(-?[\d.]+(?:e[-+]?\d+)?)$/);
      if (column >= 0 && limit && byNumber[column]) {
        var value = numberOf(said[position][column]), bound = Number(limit[2]);
        if (Number.isNaN(value)) return false;
        return { '<': value < bound, '>': value > bound, '<=': value <= bound, '>=': value >= bound, '=': value === bound }[limit[1]];
      }
      var text = column >= 0 ? said[position][column] : said[position].join('\n');
      return text.toLowerCase().indexOf(wanted) >= 0;
    }

    function show() {
      var scattered = direction !== 0 || shown.length < original.length;
      var last = everything ? shown.length : Math.min(start + PAGE, shown.length);
      var rows = shown.slice(everything ? 0 : start, last).map(function (position) { return original[position]; });
      if (grouped) {
        original.forEach(function (row, position) {
          Array.from(row.cells).forEach(function (cell, column) {
            if (cell.dataset.repeated !== undefined || (scattered && cell.textContent === '' && said[position][column])) {
              cell.textContent = scattered ? said[position][column] : '';
              if (scattered) cell.dataset.repeated = ''; else delete cell.dataset.repeated;
            }
          });
        });
      }
      table.classList.toggle('scattered', scattered);
      body.replaceChildren.apply(body, rows);
      heads.forEach(function (head, column) {
        if (titles[column]) head.setAttribute('aria-sort', column !== sortedBy ? 'none' : direction > 0 ? 'ascending' : direction < 0 ? 'descending' : 'none');
      });
      if (pager) {
        var many = shown.length > PAGE;
        pager.hidden = !many;
        previous.disabled = everything || start === 0;
        next.disabled = everything || last >= shown.length;
        all.setAttribute('aria-pressed', String(everything));
        place.textContent = shown.length ? 'Rows ' + (everything ? 1 : start + 1) + ' to ' + last + ' of ' + shown.length : '';
      }
      if (status) {
        status.textContent = shown.length === original.length ? original.length + ' rows' : shown.length + ' of ' + original.length + ' rows';
      }
    }

    function refresh() {
      order = original.map(function (_, position) { return position; });
      if (direction !== 0) order.sort(compare);
      shown = order.filter(matches);
      start = 0;
      show();
    }

    heads.forEach(function (head, column) {
      if (!titles[column]) return;
      var button = make('button', { type: 'button', 'class': 'sort' });
      while (head.firstChild) button.appendChild(head.firstChild);
      head.appendChild(button);
      button.addEventListener('click', function () {
        if (sortedBy !== column) { sortedBy = column; direction = 1; }
        else { direction = direction === 1 ? -1 : direction === -1 ? 0 : 1; }
        refresh();
      });
    });

    // ---------------------------------------------------------------- the bar above the table
    var bar = make('div', { 'class': 'tablebar' });
    var find = null, where = null, status = null;
    if (original.length > FIND) {
      find = make('input', { type: 'search', placeholder: 'Find rows', 'aria-label': 'Find rows of this table', size: '14' });
      where = make('select', { 'aria-label': 'In which column' });
      where.appendChild(make('option', { value: '-1' }, 'in any column'));
      titles.forEach(function (title, column) {
        if (title) where.appendChild(make('option', { value: String(column) }, 'in ' + title));
      });
      find.title = 'Words; for a column of numbers also < 0.05 or >= 10';
      find.addEventListener('input', refresh);
      where.addEventListener('change', refresh);
      status = make('span', { 'class': 'rows', role: 'status' });
      bar.append(find, where, status);
    }
    if (heads.length > 2) {
      var columns = make('details', { 'class': 'columns' });
      columns.appendChild(make('summary', {}, 'Columns'));
      var list = make('div', { 'class': 'choices' });
      titles.forEach(function (title, column) {
        var label = make('label');
        var tick = make('input', { type: 'checkbox' });
        tick.checked = true;
        tick.addEventListener('change', function () {
          hidden[column] = !tick.checked;
          rules();
        });
        label.append(tick, ' ' + (title || 'column ' + (column + 1)));
        list.appendChild(label);
      });
      columns.appendChild(list);
      columns.addEventListener('keydown', function (event) {
        if (event.key !== 'Escape' || !columns.open) return;
        columns.open = false;
        columns.firstChild.focus();
        event.stopPropagation();
      });
      bar.appendChild(columns);
    }
    var style = make('style');
    function rules() {
      style.textContent = hidden.map(function (off, column) {
        return off ? '.' + name + ' tr>:nth-child(' + (column + 1) + '){display:none}' : '';
      }).join('');
    }
    document.head.appendChild(style);

    var title = (box.dataset.title || 'table').trim();
    var download = make('button', { type: 'button', 'class': 'download', 'aria-label': 'Download as TSV: ' + title }, 'TSV');
    download.title = 'Download the rows and columns that are shown, tab-separated';
    download.addEventListener('click', function () {
      function clean(text, column) {
        var line = text.replace(/\s+/g, ' ');
        return numeric[column] ? line.replace(/−/g, '-') : line;
      }
      function line(cells) {
        return cells.map(clean).filter(function (_, column) { return !hidden[column]; }).join('\t');
      }
      var text = [line(titles)].concat(shown.map(function (position) { return line(said[position]); })).join('\n') + '\n';
      var link = make('a', {
        href: URL.createObjectURL(new Blob([text], { type: 'text/tab-separated-values;charset=utf-8' })),
        download: (title.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '') || 'table') + '.tsv'
      });
      link.click();
      setTimeout(function () { URL.revokeObjectURL(link.href); }, 10000);
    });
    bar.appendChild(download);
    var scroll = table.closest('.scroll') || table;
    var caption = box.querySelector(':scope > .caption');
    if (caption) { // beside the title where there is room
      var head = make('div', { 'class': 'tablehead' });
      caption.before(head);
      head.append(caption, bar);
    } else {
      scroll.before(bar);
    }

    // ---------------------------------------------------------------- the pages of a long table
    var pager = null, previous, next, all, place;
    if (original.length > PAGE) {
      pager = make('div', { 'class': 'pager', role: 'group', 'aria-label': 'Rows of the table' });
      previous = make('button', { type: 'button' }, 'Previous rows');
      next = make('button', { type: 'button' }, 'Next rows');
      all = make('button', { type: 'button' }, 'All rows');
      place = make('span', { 'class': 'rows' });
      previous.addEventListener('click', function () { start = Math.max(0, start - PAGE); show(); });
      next.addEventListener('click', function () { start += PAGE; show(); });
      all.addEventListener('click', function () { everything = !everything; start = 0; show(); });
      pager.append(previous, next, all, place);
      scroll.after(pager);
      addEventListener('beforeprint', function () { everything = true; show(); });
    }
    show();
  }

  document.addEventListener('click', function (event) { // a list of columns closes when something else is clicked
    document.querySelectorAll('details.columns[open]').forEach(function (one) {
      if (!one.contains(event.target)) one.open = false;
    });
  });
  // Deferred scripts run when the page is there.
  document.querySelectorAll('.tablebox').forEach(enhance);
})();
