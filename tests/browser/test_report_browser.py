"""The report in a real browser: nothing broken, nothing from outside, nothing that runs off the page, and what its scripts do."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import matplotlib.image
import numpy as np
import pytest
from chromium import Browser, find_chromium
from report_fixture import make_results

from neurostrata.core.tables import read_table, write_table
from neurostrata.report.commands import provenance, report, subject_page

#: Runs as a script where a text of the study reaches a page without being escaped.
HOSTILE = '<img src=x onerror="window.hacked=1">\'&</script>'
PEOPLE = 60


def _require(missing: str) -> None:
    if os.environ.get("NEUROSTRATA_REQUIRE_ALL") == "1":
        pytest.fail(f"{missing} and NEUROSTRATA_REQUIRE_ALL=1")
    pytest.skip(missing)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report, moved to where nothing else of the study is."""
    if find_chromium() is None:
        _require("chromium is missing")
    results, config = make_results(
        tmp_path_factory.mktemp("browser"), people=PEOPLE, clusters=5, factors=3, variables=8
    )
    _make_hostile(results)
    config["report"] |= {"title": f"A small study {HOSTILE}", "description": f"Of {HOSTILE}."}
    made = results / "report"
    subject_page(
        results=results, subject="001", output=made / "subjects/sub-001.html", settings=config["report"]
    )
    provenance(results=results, output=results / "provenance.json", settings=config)
    report(results=results, output=made / "index.html", settings=config)
    alone = tmp_path_factory.mktemp("mailed") / "report"
    shutil.move(made, alone)
    shutil.rmtree(results)
    return alone


def _make_hostile(results: Path) -> None:
    """Write markup into an id, a site, a note, the names of variables and those of a factor's loadings."""
    path = results / "cohort/subjects.tsv"
    people = read_table(path, text=("subject", "family", "site"))
    people.loc[1, "site"] = HOSTILE
    people.loc[len(people)] = people.iloc[0]
    people.loc[len(people) - 1, "subject"] = HOSTILE
    write_table(path, people)
    path = results / "cohort/exclusions.tsv"
    excluded = read_table(path, text=("subject", "modality", "stage", "reason"))
    excluded.loc[0, "reason"] = HOSTILE
    write_table(path, excluded)
    for name in ("loadings", "descriptives"):
        path = results / f"phenotypes/{name}.tsv"
        frame = read_table(path, text=("variable",))
        frame.loc[0, "variable"] = HOSTILE
        write_table(
            path, frame.rename(columns={frame.columns[-1]: HOSTILE}) if name == "descriptives" else frame
        )


@pytest.fixture(scope="module")
def names(folder: Path) -> list[str]:
    """All pages, as they are seen from the report's folder."""
    return [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.html"))]


@pytest.fixture(scope="module")
def browser(folder: Path) -> Iterator[Browser]:
    with Browser() as tab:
        yield tab


@pytest.fixture(autouse=True)
def plain(request: pytest.FixtureRequest) -> None:
    """Start every test at the same size, in light."""
    if "browser" in request.fixturenames:
        request.getfixturevalue("browser").show_as(1300)


#: What is asked of every page when it is opened.
FACTS = """({
  hacked: window.hacked === undefined ? null : window.hacked,
  pictures: [...document.images].map(i => [i.getAttribute('src'), i.naturalWidth, i.alt.length]),
  drawings: document.querySelectorAll('figure svg').length,
  ids: [...document.querySelectorAll('[id]')].map(e => e.id),
  links: [...document.querySelectorAll('a[href], link[href]')].map(a => a.href),
  levels: [...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => +h.tagName[1]),
  navigation: [...document.querySelectorAll('nav.pages > ol > li > a')].map(a => [a.textContent, a.href.split('/').pop()]),
  current: document.querySelectorAll('nav.pages [aria-current=page]').length,
  landmarks: ['header', 'nav', 'main', 'footer', '[role=search]'].map(s => document.querySelectorAll(s).length > 0),
})"""


@pytest.fixture(scope="module")
def visited(folder: Path, names: list[str], browser: Browser) -> dict[str, dict[str, Any]]:
    """What every page holds when it is opened."""
    found = {}
    for name in names:
        browser.open(folder / name)
        if "/" in name:  # a person's page reads the experiments from a script
            _wait(browser, "!document.querySelector('[data-experiments]')")
        found[name] = browser.evaluate(FACTS) | {
            "complaints": browser.complaints(),
            "requests": [
                unquote(urlsplit(event["params"]["request"]["url"]).path)
                for event in browser.events
                if event["method"] == "Network.requestWillBeSent"
                and not event["params"]["request"]["url"].startswith("data:")
            ],
        }
    return found


def test_every_page_is_whole_and_needs_nothing_but_its_folder(
    folder: Path, visited: dict[str, dict[str, Any]]
) -> None:
    assert {"index.html", "experiment-jac-ndi.html", "strata-jac-ndi.html", "subjects/sub-001.html"} <= set(
        visited
    )
    ids = {folder / name: page["ids"] for name, page in visited.items()}
    for name, page in visited.items():
        assert page["complaints"] == [], name
        assert page["hacked"] is None, name
        assert [source for source, width, _ in page["pictures"] if width == 0] == [], name
        assert [source for source, _, alt in page["pictures"] if alt < 10] == [], name
        assert page["requests"]
        assert [path for path in page["requests"] if not Path(path).is_relative_to(folder)] == [], name
        assert len(page["ids"]) == len(set(page["ids"])), name
        for link in page["links"]:
            parts = urlsplit(link)
            if parts.scheme == "data":
                continue
            assert parts.scheme == "file", (name, link)
            path = Path(unquote(parts.path))
            assert path.exists(), (name, link)
            assert path.is_relative_to(folder), (name, link)
            # with "=": not the name of a place, but what a script of that page reads
            place = "" if "=" in parts.fragment else parts.fragment
            assert not place or path not in ids or place in ids[path], (name, link)
    assert sum(len(page["pictures"]) + page["drawings"] for page in visited.values()) > 25


def test_headings_and_landmarks_stand_in_order(visited: dict[str, dict[str, Any]]) -> None:
    for name, page in visited.items():
        assert page["levels"][0] == 1
        assert page["levels"].count(1) == 1, name
        assert all(after <= before + 1 for before, after in pairwise(page["levels"])), name
        assert page["landmarks"] == [True] * 5, name


def test_the_navigation_is_the_same_on_every_page(visited: dict[str, dict[str, Any]]) -> None:
    first = visited["index.html"]["navigation"]
    assert ["Experiment jac-ndi", "experiment-jac-ndi.html"] in first
    for name, page in visited.items():
        assert page["navigation"] == first, name
        assert page["current"] == 1 or ("/" in name and page["current"] == 0), name


def _wait(browser: Browser, condition: str, seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(RuntimeError):  # it is just going from one page to another
            if browser.evaluate(condition):
                return
        time.sleep(0.02)
    pytest.fail(f"never: {condition}")


def test_a_broken_page_would_be_seen(browser: Browser, folder: Path) -> None:
    broken = folder / "broken.html"
    text = (folder / "experiment-jac-ndi.html").read_text()
    broken.write_text(
        text.replace("clusters.svg", "no-such-file.svg").replace(
            "</main>", '<img src=y alt="" onerror="window.hacked=1"></main><script>nothing()</script>'
        )
    )
    browser.open(broken)
    assert 0 in browser.evaluate("[...document.images].map(i => i.naturalWidth)")
    assert len(browser.complaints()) >= 3
    assert browser.evaluate("window.hacked") == 1
    broken.unlink()


@pytest.mark.parametrize("width", [1300, 820, 420])
def test_nothing_runs_off_the_page(browser: Browser, folder: Path, names: list[str], width: int) -> None:
    browser.show_as(width)
    for name in names:
        browser.open(folder / name)
        # Folded tables count too; what scrolls inside itself may be wider.
        outside = browser.evaluate("""
            document.querySelectorAll('main details:not(.columns)').forEach(d => d.open = true);
            const inner = e => { for (; e && e !== document.body; e = e.parentElement)
              if (['auto', 'scroll'].includes(getComputedStyle(e).overflowX)) return true; return false };
            [...document.querySelectorAll('main p, main figure, main img, main h2, main .scroll, main li, nav a, .bar *')]
              .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !inner(e.parentElement))
              .map(e => e.outerHTML.slice(0, 80))""")
        assert outside == [], name
        assert browser.evaluate("document.documentElement.scrollWidth") <= width, name


def test_pictures_of_brains_keep_their_size_on_a_narrow_screen(browser: Browser, folder: Path) -> None:
    """A row of slices is moved sideways, unless it has a version of its own for narrow screens."""
    browser.show_as(420)
    page = folder / "one_version.html"
    text = (folder / "template.html").read_text()
    page.write_text(re.sub("<source media=[^>]*narrow[^>]*>", "", text))
    for name, narrow in (("template.html", True), (page.name, False)):
        browser.open(folder / name)
        pictures = browser.evaluate(
            "[...document.querySelectorAll('figure > a img')].map(i => [i.currentSrc.includes('narrow'), i.getBoundingClientRect().width])"
        )
        assert pictures
        assert all(has == narrow and (width < 420 if narrow else width > 700) for has, width in pictures)
        assert browser.evaluate("document.documentElement.scrollWidth") <= 420  # the page itself is not moved
    page.unlink()


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core."""
    script = Path(__file__).parent / "node_modules/axe-core/axe.min.js"
    if not script.is_file():
        pytest.skip("axe-core is missing (npm ci --prefix tests/browser)")
    return script.read_text(encoding="utf-8")


def _violations(browser: Browser, axe: str, options: dict[str, Any]) -> list[Any]:
    # The rows of a table are alike: the first few stand for all.
    browser.evaluate(
        "document.querySelectorAll('main details:not(.columns)').forEach(d => d.open = true);"
        "document.querySelectorAll('tbody').forEach(b => { while (b.rows.length > 4) b.lastElementChild.remove() });"
        f"{axe};0"
    )
    return browser.evaluate(
        f"axe.run(document, {json.dumps({'resultTypes': ['violations'], **options})}).then(r => r.violations"
        ".filter(v => ['serious', 'critical'].includes(v.impact))"
        ".map(v => [v.id, v.nodes.length, v.nodes[0].html.slice(0, 200), v.nodes[0].failureSummary]))"
    )


def test_axe_finds_nothing_serious(browser: Browser, folder: Path, names: list[str], axe: str) -> None:
    for name in names:
        if "-pca" in name:
            continue  # of the same kind as those of the other experiment
        browser.open(folder / name)
        assert _violations(browser, axe, {}) == [], name
        # only colours change in the dark
        browser.show_as(1300, dark=True)
        browser.evaluate("new Promise(requestAnimationFrame)")
        assert _violations(browser, axe, {"runOnly": ["color-contrast"]}) == [], name
        browser.show_as(1300)


def test_axe_sees_what_is_wrong(browser: Browser, folder: Path, axe: str) -> None:
    browser.open(folder / "cohort.html")
    browser.evaluate("document.querySelector('main p').style.color = '#aaa'")
    assert [found[0] for found in _violations(browser, axe, {})] == ["color-contrast"]


def test_the_page_shows_something_all_the_way_down(browser: Browser, folder: Path, tmp_path: Path) -> None:
    browser.open(folder / "strata-jac-ndi.html")
    height = browser.evaluate("document.documentElement.scrollHeight")
    assert height > 5000
    for top in range(0, height - 1200, 3000):
        picture = matplotlib.image.imread(browser.screenshot(tmp_path / f"{top}.png", top, 1200))
        main = picture[:, 300:, :3]
        assert np.ptp(main) > 0.5, f"nothing but one colour from {top} on"


def test_one_page_leads_to_the_next(folder: Path) -> None:
    links = {
        path.name: dict(re.findall(r'<a class="(previous|next)" href="([^"]+)"', path.read_text()))
        for path in folder.glob("*.html")
    }
    visited = ["index.html"]
    while following := links[visited[-1]].get("next"):
        assert links[following]["previous"] == visited[-1]
        visited.append(following)
    assert len(visited) == len(set(visited)) == len(links)


@pytest.mark.parametrize("key", ["experiment-jac-ndi", "methods", "people", "cohort", "missing", "decoding"])
def test_addresses_of_before_still_lead_to_the_section(browser: Browser, folder: Path, key: str) -> None:
    browser.call("Page.navigate", url="about:blank")
    browser.call("Page.navigate", url=(folder / "index.html").as_uri() + f"#{key}")
    there = "!location.pathname.endsWith('index.html') && document.readyState !== 'loading'"
    _wait(browser, f"{there} && !!document.getElementById({json.dumps(key)})")


def _search(browser: Browser, words: str) -> list[list[str]]:
    browser.evaluate("document.querySelector('#search input').focus()")
    browser.evaluate(
        f"{{const field = document.querySelector('#search input'); field.value = {json.dumps(words)};"
        "field.dispatchEvent(new Event('input', {bubbles: true}))}"
    )
    browser.evaluate(
        "new Promise(done => { const wait = () => document.querySelector('#search [role=status]').textContent"
        " ? done() : setTimeout(wait, 5); wait() })"
    )
    return browser.evaluate(
        "[...document.querySelectorAll('#found li')].map(li => [li.querySelector('.kind').textContent,"
        " li.querySelector('b').textContent, li.dataset.href])"
    )


def test_search_finds_people_sections_and_factors(browser: Browser, folder: Path) -> None:
    browser.open(folder / "methods.html")
    browser.press("/")
    assert browser.evaluate("document.activeElement.type") == "search"
    assert _search(browser, "001")[0] == ["person", "sub-001", "subjects/sub-001.html"]
    # all words are asked for, each as a part of a word; titles that have them lead
    assert _search(browser, "prov methods")[0] == ["page", "Methods and provenance", "methods.html"]
    assert _search(browser, "prov 001") == []
    assert ["section", "Provenance", "methods.html#provenance"] in _search(browser, "provenance")
    assert any(kind == "factor" for kind, _, _ in _search(browser, "factor 2"))
    assert _search(browser, "no such thing at all") == []
    found = _search(browser, "onerror")
    assert any(title.startswith("sub-<img") for _, title, _ in found)
    assert browser.evaluate("window.hacked") is None
    assert browser.evaluate("document.querySelectorAll('#found img').length") == 0
    _search(browser, "sub-001")
    browser.press("Enter", 13)
    _wait(browser, "document.readyState === 'complete' && location.pathname.endsWith('sub-001.html')")
    # from a page in a folder of its own the same search leads back
    browser.open(folder / "subjects/sub-001.html")
    (first, *_) = _search(browser, "cohort")
    assert first == ["page", "Cohort", "../cohort.html"]


#: Keeps what is downloaded, and its name, instead of saving it.
CATCH = """
window.blobs = []; const create = URL.createObjectURL;
URL.createObjectURL = blob => { window.blobs.push(blob); return create.call(URL, blob) };
HTMLAnchorElement.prototype.click = function () { window.saved = this.download };
"""
COLUMN = "[...document.querySelectorAll('#people tbody tr')].map(r => r.cells[%d].textContent.trim())"


def test_a_table_sorts_finds_hides_and_is_downloaded(browser: Browser, folder: Path) -> None:
    browser.open(folder / "people.html")
    assert browser.evaluate("document.querySelectorAll('#people tbody tr').length") == 50
    assert "1 to 50 of 61" in browser.evaluate("document.querySelector('#people .pager').textContent")
    names = browser.evaluate("[...document.querySelectorAll('#people thead th')].map(h => h.textContent)")
    cluster = names.index("cluster in jac-ndi")
    for direction in ("ascending", "descending"):
        # by keyboard: the heading is a button
        browser.evaluate(
            f"document.querySelectorAll('#people thead th')[{cluster}].querySelector('button').focus()"
        )
        browser.press("Enter", 13)
        sort = browser.evaluate(
            f"document.querySelectorAll('#people thead th')[{cluster}].getAttribute('aria-sort')"
        )
        assert sort == direction
        values = [float(v) for v in browser.evaluate(COLUMN % cluster) if v[0].isdigit()]
        assert values == sorted(values, reverse=direction == "descending")
        assert len(set(values)) > 1
    find = "const field = document.querySelector('#people .tablebar input[type=search]');"
    browser.evaluate(find + "field.value = '017'; field.dispatchEvent(new Event('input'))")
    assert browser.evaluate(COLUMN % 0) == ["017"]
    assert browser.evaluate("document.querySelector('#people .tablebar .rows').textContent") == "1 of 61 rows"
    browser.evaluate(
        f"const w = document.querySelector('#people .tablebar select'); w.value = '{cluster}';"
        "const f = document.querySelector('#people .tablebar input[type=search]'); f.value = '>= 3';"
        "f.dispatchEvent(new Event('input'))"
    )
    assert set(browser.evaluate(COLUMN % cluster)) == {"3", "4", "5"}
    browser.evaluate("document.querySelector('#people .choices input').click()")
    assert browser.evaluate("document.querySelector('#people tbody td').getClientRects().length") == 0
    browser.evaluate(CATCH)
    browser.evaluate("document.querySelector('#people .download').click()")
    assert browser.evaluate("window.saved") == "people.tsv"
    lines = browser.evaluate("window.blobs[0].text()").splitlines()
    assert lines[0].split("\t") == names[1:]
    assert len(lines) == 1 + browser.evaluate("document.querySelectorAll('#people tbody tr').length")
    assert browser.complaints() == []


def test_numbers_sort_as_numbers_and_blank_cells_keep_their_group(browser: Browser, folder: Path) -> None:
    page = folder / "sorted.html"
    text = (folder / "people.html").read_text()
    start, end = text.index("<tbody>"), text.index("</tbody>")
    rows = ["−1.5×10⁻⁷", "< 0.001", "12 ± 3", "n/a", "3 of 7", "1,234", "0.41 [0.2, 0.6]"]
    body = "".join(
        f"<tr{' class=group' if i % 2 == 0 else ''}><td>{'ab'[i % 2 * 0] + str(i) if i % 2 == 0 else ''}</td><td class=num>{v}</td><td>2−3</td></tr>"
        for i, v in enumerate(rows)
    )
    head = '<thead><tr><th scope="col">Group</th><th scope="col" class="num">Value</th><th scope="col">Ages</th></tr></thead>'
    text = text[: text.index("<thead>")] + head + "<tbody>" + body + text[end:]
    assert start
    page.write_text(text)
    browser.open(page)
    browser.evaluate("document.querySelectorAll('#people thead button')[1].click()")
    assert browser.evaluate(COLUMN % 1) == [
        "−1.5×10⁻⁷", "< 0.001", "0.41 [0.2, 0.6]", "3 of 7", "12 ± 3", "1,234", "n/a",
    ]  # fmt: skip
    assert browser.evaluate(COLUMN % 0) == ["a0", "a0", "a6", "a4", "a2", "a4", "a2"]
    browser.evaluate("document.querySelectorAll('#people thead button')[1].click()")
    browser.evaluate("document.querySelectorAll('#people thead button')[1].click()")
    assert browser.evaluate(COLUMN % 1) == rows
    assert browser.evaluate(COLUMN % 0) == ["a0", "", "a2", "", "a4", "", "a6"]
    # What is downloaded is what a program reads, whatever is hidden: a minus is a hyphen in the columns of numbers alone.
    browser.evaluate(CATCH)
    save = "document.querySelector('#people .download').click()"
    for columns in ((0, 1, 2), (1, 2)):
        browser.evaluate(save)
        lines = [line.split("\t") for line in browser.evaluate("window.blobs.pop().text()").splitlines()]
        whole = [["a0", "-1.5×10⁻⁷", "2−3"], ["a0", "< 0.001", "2−3"]]
        assert lines[1:3] == [[row[column] for column in columns] for row in whole]
        browser.evaluate("document.querySelector('#people .choices input').click()")
    page.unlink()


def test_without_scripts_all_is_there(browser: Browser, folder: Path) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(folder / "people.html")
        assert browser.evaluate("document.querySelectorAll('#people tbody tr').length") == PEOPLE + 1
        assert browser.evaluate("document.querySelectorAll('nav.pages a').length") > 8
        hidden = browser.evaluate(
            "[...document.querySelectorAll('#search, #theme')].map(e => e.getClientRects().length)"
        )
        assert hidden == [0, 0]
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_a_click_enlarges_a_picture_and_escape_closes_it(browser: Browser, folder: Path) -> None:
    browser.open(folder / "template.html")
    browser.evaluate("document.querySelector('figure > a').focus()")
    browser.press("Enter", 13)
    assert browser.evaluate("document.querySelector('dialog.enlarged').open")
    _wait(browser, "document.querySelector('dialog.enlarged img').naturalWidth > 0")
    title = "document.querySelector('dialog.enlarged p').textContent"
    first = browser.evaluate(title)
    browser.press("ArrowRight", 39)
    assert browser.evaluate(title) != first
    assert browser.evaluate("document.querySelector('dialog.enlarged .view').children.length") == 1
    browser.press("ArrowLeft", 37)
    assert browser.evaluate(title) == first
    browser.press("Escape", 27)
    _wait(browser, "!document.querySelector('dialog.enlarged').open")
    assert browser.evaluate("document.activeElement.tagName") == "A"


def test_light_and_dark_can_be_chosen_and_stay(browser: Browser, folder: Path) -> None:
    def background() -> str:
        return browser.evaluate("getComputedStyle(document.body).backgroundColor")

    browser.open(folder / "index.html")
    assert background() == "rgb(255, 255, 255)"
    browser.evaluate("document.getElementById('theme').click()")
    dark = background()
    assert dark != "rgb(255, 255, 255)"
    browser.open(folder / "cohort.html")
    assert background() == dark
    browser.evaluate("document.getElementById('theme').click()")
    browser.show_as(1300, dark=True)
    assert background() == "rgb(255, 255, 255)"  # the reader's choice, not the system's
    browser.evaluate("localStorage.clear()")
    browser.open(folder / "index.html")
    assert background() == dark


def test_the_first_key_leads_to_the_content(browser: Browser, folder: Path) -> None:
    browser.open(folder / "cohort.html")
    browser.press("Tab", 9)
    assert browser.evaluate("document.activeElement.className") == "skip"
    assert browser.evaluate("document.activeElement.getBoundingClientRect().top") >= 0
    browser.press("Enter", 13)
    assert browser.evaluate("document.activeElement.id") == "main"


def test_print_has_no_bars_and_all_rows(browser: Browser, folder: Path) -> None:
    browser.open(folder / "people.html")
    browser.evaluate("dispatchEvent(new Event('beforeprint'))")
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        assert browser.evaluate("document.querySelectorAll('#people tbody tr').length") == PEOPLE + 1
        shown = browser.evaluate(
            "[...document.querySelectorAll('.bar, nav, .tablebar, .pager')].filter(e => e.getClientRects().length).length"
        )
        assert shown == 0
        browser.open(folder / "methods.html")
        browser.evaluate("dispatchEvent(new Event('beforeprint'))")
        opened = browser.evaluate(
            "[...document.querySelectorAll('main details:not(.columns)')].map(d => d.open)"
        )
        assert len(opened) > 3
        assert all(opened)
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")


def test_a_point_names_its_person_in_every_figure_and_leads_there(browser: Browser, folder: Path) -> None:
    browser.open(folder / "experiment-jac-ndi.html")
    # a point that no other one lies on
    person, x, y = browser.evaluate("""(() => {
      for (const point of document.querySelectorAll('svg.plot [data-person]')) {
        point.scrollIntoView({block: 'center'});
        const box = point.getBoundingClientRect(), x = box.left + box.width / 2, y = box.top + box.height / 2;
        if (document.elementFromPoint(x, y)?.closest('[data-person]') === point) return [point.dataset.person, x, y];
      }
    })()""")
    marked = "[...document.querySelectorAll('.point-marked')].map(p => p.dataset.person)"
    assert browser.evaluate(marked) == []
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    assert browser.evaluate("document.querySelector('.point-label').textContent").startswith(f"sub-{person}")
    same = browser.evaluate(f"document.querySelectorAll('svg.plot [data-person=\"{person}\"]').length")
    assert browser.evaluate(marked) == [person] * same
    assert same > 1
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)
    assert browser.evaluate("document.querySelector('.point-label').getClientRects().length") == 0
    assert browser.evaluate(marked) == []
    browser.evaluate(
        "document.querySelector('svg.plot [data-person=\"001\"]').dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    _wait(browser, "document.querySelector('h1')?.textContent === 'sub-001'")


def test_a_text_is_copied(browser: Browser, folder: Path) -> None:
    browser.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    browser.open(folder / "methods.html")
    browser.call("Emulation.setFocusEmulationEnabled", enabled=True)
    for number in range(2):
        button = f"document.querySelectorAll('[data-copy]')[{number}]"
        wanted, x, y = browser.evaluate(f"""(() => {{
          const button = {button};
          button.closest('details').open = true;
          button.scrollIntoView({{block: 'center'}});
          const box = button.getBoundingClientRect();
          return [document.getElementById(button.dataset.copy).textContent, box.left + box.width / 2, box.top + box.height / 2];
        }})()""")
        assert len(wanted) > 100
        if number:  # where a browser gives a file no clipboard there is another way
            browser.evaluate("navigator.clipboard.writeText = () => Promise.reject()")
        for kind in ("mousePressed", "mouseReleased"):
            browser.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        _wait(browser, f"{button}.textContent === 'Copied'")
        assert browser.evaluate("navigator.clipboard.readText()") == wanted


def test_people_lead_to_their_pages_and_back(browser: Browser, folder: Path) -> None:
    browser.open(folder / "people.html")
    browser.open(browser.evaluate("[...document.querySelectorAll('#people td a')].map(a => a.href)[0]"))
    assert browser.evaluate("document.querySelector('h1').textContent") == "sub-001"
    browser.open(browser.evaluate("document.querySelector('.above a').href"))
    assert browser.evaluate("document.querySelector('h1').textContent") == "People"
