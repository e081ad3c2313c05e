// A click on a picture shows it as large as the window; Escape closes it, the arrow keys go to the next one.
(function () {
  'use strict';
  // Pictures are links to their files; drawings that stand in the page get a button.
  var links = Array.from(document.querySelectorAll('figure > a:has(img), figure > .plots'));
  if (!links.length || typeof HTMLDialogElement === 'undefined') return; // the link opens the file
  var dialog = null, view, caption, file, at = 0;

  function build() {
    dialog = document.createElement('dialog');
    dialog.className = 'enlarged';
    dialog.setAttribute('aria-label', 'Picture, enlarged');
    dialog.innerHTML = '<div class="tools"><p></p><a target="_blank" rel="noopener">Open the file</a>'
      + '<button type="button" class="before" aria-label="Previous picture">←</button>'
      + '<button type="button" class="after" aria-label="Next picture">→</button>'
      + '<button type="button" class="close">Close</button></div><div class="view" tabindex="0"></div>';
    view = dialog.querySelector('.view');
    caption = dialog.querySelector('p');
    file = dialog.querySelector('a');
    dialog.querySelector('.close').addEventListener('click', function () { dialog.close(); });
    dialog.querySelector('.before').addEventListener('click', function () { go(-1); });
    dialog.querySelector('.after').addEventListener('click', function () { go(1); });
    view.addEventListener('click', function () { view.classList.toggle('whole'); });
    dialog.addEventListener('click', function (event) { if (event.target === dialog) dialog.close(); });
    dialog.addEventListener('keydown', function (event) {
      if (event.key === 'ArrowRight') go(1);
      else if (event.key === 'ArrowLeft') go(-1);
    });
    dialog.addEventListener('close', function () {
      (links[at].tagName === 'A' ? links[at] : links[at].nextElementSibling).focus();
    });
    document.body.appendChild(dialog);
  }

  function go(step) {
    at = (at + step + links.length) % links.length;
    var small = Array.from(links[at].querySelectorAll('img')).find(function (one) { return one.getClientRects().length > 0; });
    var title = links[at].closest('figure').querySelector('figcaption b');
    view.classList.remove('whole');
    view.replaceChildren();
    if (small) {
      var image = document.createElement('img');
      image.src = small.currentSrc || small.src;
      image.alt = small.alt;
      view.appendChild(image);
    } else {
      var drawing = Array.from(links[at].querySelectorAll('svg')).find(function (one) { return one.getClientRects().length > 0; });
      if (drawing) view.appendChild(drawing.cloneNode(true));
    }
    caption.textContent = title ? title.textContent : small ? small.alt : '';
    file.hidden = !links[at].href;
    if (links[at].href) file.href = links[at].href;
  }

  function open(position) {
    if (!dialog) build();
    at = position;
    dialog.showModal();
    go(0);
  }

  links.forEach(function (link, position) {
    if (link.tagName === 'A') {
      link.title = 'Enlarge';
      link.addEventListener('click', function (event) {
        if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
        event.preventDefault();
        open(position);
      });
      return;
    }
    var button = document.createElement('button');
    button.type = 'button';
    button.className = 'enlarge';
    button.textContent = 'Enlarge';
    var title = link.closest('figure').querySelector('figcaption b');
    if (title) button.setAttribute('aria-label', 'Enlarge ' + title.textContent);
    button.addEventListener('click', function () { open(position); });
    link.after(button);
  });
})();
