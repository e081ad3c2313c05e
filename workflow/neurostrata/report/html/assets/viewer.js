// Layers of slices: one at a time, flickering between two, or the second sliding over the first in every slice.
(function () {
  'use strict';
  // A change every 0.7 s: slow enough to see both, and below the three flashes per second that may harm.
  var PERIOD = 700;

  function setUp(viewer) {
    var layers = viewer.querySelectorAll('.layer');
    var shows = viewer.querySelectorAll('[data-show]');
    var bars = viewer.querySelectorAll('[data-bar]');
    var flicker = viewer.querySelector('[data-flicker]');
    var slide = viewer.querySelector('.slide input');
    var enlarge = viewer.querySelector('[data-enlarge]');
    var planes = viewer.querySelector('.planes');
    var chosen = 0;
    var timer = null;

    // The layer that is compared with the first one.
    function other() { return chosen || 1; }

    function show(visible, clipped) {
      layers.forEach(function (layer) {
        var number = Number(layer.dataset.layer);
        layer.classList.toggle('on', visible.indexOf(number) >= 0);
        var clip = layer.ownerSVGElement.querySelector('clipPath');
        if (number === clipped) layer.setAttribute('clip-path', 'url(#' + clip.id + ')');
        else layer.removeAttribute('clip-path');
      });
      bars.forEach(function (bar) { bar.classList.toggle('on', Number(bar.dataset.bar) === visible[0]); });
      viewer.dataset.shown = visible.join(' ');
    }

    function press(number) {
      shows.forEach(function (button) {
        button.setAttribute('aria-pressed', String(Number(button.dataset.show) === number));
      });
    }

    function stop() {
      if (timer !== null) clearInterval(timer);
      timer = null;
      if (flicker) flicker.setAttribute('aria-pressed', 'false');
    }

    shows.forEach(function (button) {
      button.addEventListener('click', function () {
        stop();
        chosen = Number(button.dataset.show);
        if (slide) slide.value = 0;
        press(chosen);
        show([chosen], null);
      });
    });

    if (flicker) flicker.addEventListener('click', function () {
      if (timer !== null) {
        stop();
        press(chosen);
        show([chosen], null);
        return;
      }
      var first = true;
      slide.value = 0;
      flicker.setAttribute('aria-pressed', 'true');
      function turn() {
        first = !first;
        press(first ? 0 : other());
        show([first ? 0 : other()], null);
      }
      turn();
      timer = setInterval(turn, PERIOD);
    });

    if (slide) slide.addEventListener('input', function () {
      stop();
      viewer.querySelectorAll('clipPath rect').forEach(function (rect) {
        rect.setAttribute('width', rect.dataset.width * slide.value / 100);
      });
      press(-1);
      show([0, other()], other());
    });

    viewer.querySelectorAll('[data-outline]').forEach(function (box) {
      box.addEventListener('change', function () {
        planes.classList.toggle('no-' + box.dataset.outline, !box.checked);
      });
    });

    enlarge.addEventListener('click', function () {
      enlarge.setAttribute('aria-pressed', String(viewer.classList.toggle('large')));
    });
    viewer.querySelector('.viewer-controls').hidden = false;
  }

  document.addEventListener('DOMContentLoaded', function () {
    document.querySelectorAll('.viewer').forEach(setUp);
  });
})();
