// Points of people in figures: hovering names the person and marks the same person in every figure of the page; a click
// opens the person's page.
(function () {
  "use strict";
  var label = null;
  var marked = [];

  function show(point, event) {
    var title = point.querySelector("title");
    if (title) {
      // the browser's own tooltip would come a second later and cover this one
      point.setAttribute("data-words", title.textContent);
      title.remove();
    }
    if (!label) {
      label = document.createElement("div");
      label.className = "point-label";
      label.setAttribute("role", "status");
      document.body.appendChild(label);
    }
    label.textContent = point.getAttribute("data-words") || "sub-" + point.getAttribute("data-person");
    label.hidden = false;
    var box = label.getBoundingClientRect();
    label.style.left = Math.min(event.clientX + 14, window.innerWidth - box.width - 8) + "px";
    label.style.top = Math.max(event.clientY - box.height - 10, 8) + "px";
    mark(point.getAttribute("data-person"));
  }

  function mark(person) {
    marked.forEach(function (point) { point.classList.remove("point-marked"); });
    marked = [];
    if (person === null) return;
    document.querySelectorAll("svg.plot [data-person]").forEach(function (point) {
      if (point.getAttribute("data-person") === person) {
        point.classList.add("point-marked");
        marked.push(point);
      }
    });
  }

  document.addEventListener("mouseover", function (event) {
    var point = event.target.closest && event.target.closest("svg.plot [data-person]");
    if (point) show(point, event);
    else if (label && !label.hidden) {
      label.hidden = true;
      mark(null);
    }
  });

  document.addEventListener("click", function (event) {
    var point = event.target.closest && event.target.closest("svg.plot [data-person]");
    if (!point) return;
    var page = point.closest("svg.plot").getAttribute("data-page");
    if (page) window.location.href = page.replace("*", encodeURIComponent(point.getAttribute("data-person")));
  });
})();
