// Buttons that copy the text of an element: <button data-copy="id of the element">.
(function () {
  "use strict";
  function fallback(text) {
    // pages opened from a file may have no clipboard of their own
    var area = document.createElement("textarea");
    area.value = text;
    area.setAttribute("aria-hidden", "true");
    document.body.appendChild(area);
    area.select();
    var done = document.execCommand("copy");
    area.remove();
    return done;
  }
  function say(button, done) {
    var before = button.getAttribute("data-label") || button.textContent;
    button.setAttribute("data-label", before);
    button.textContent = done ? "Copied" : "Not copied: select the text and copy it";
    window.setTimeout(function () { button.textContent = before; }, 2500);
  }
  document.addEventListener("click", function (event) {
    var button = event.target.closest && event.target.closest("button[data-copy]");
    if (!button) return;
    var source = document.getElementById(button.getAttribute("data-copy"));
    if (!source) return;
    var text = source.textContent;
    if (navigator.clipboard && window.isSecureContext) {
      navigator.clipboard.writeText(text).then(
        function () { say(button, true); },
        function () { say(button, fallback(text)); }
      );
    } else {
      say(button, fallback(text));
    }
  });
})();
