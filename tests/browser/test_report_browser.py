"""The report in a real browser: nothing broken, nothing from outside, nothing that runs off the page."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from chromium import Browser, find_chromium
from report_fixture import make_results

from neurostrata.report.commands import provenance, report, subject_page


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    if find_chromium() is None:
        if os.environ.get("NEUROSTRATA_REQUIRE_ALL") == "1":
            pytest.fail("chromium is missing and NEUROSTRATA_REQUIRE_ALL=1")
        pytest.skip("chromium is missing")
    results, config = make_results(
        tmp_path_factory.mktemp("browser"), people=40, clusters=5, factors=6, variables=20
    )
    folder = results / "report"
    subject_page(
        results=results, subject="001", output=folder / "subjects/sub-001.html", settings=config["report"]
    )
    provenance(results=results, output=results / "provenance.json", settings=config)
    report(results=results, output=folder / "index.html", settings=config)
    return {"index": folder / "index.html", "subject": folder / "subjects/sub-001.html"}


@pytest.fixture(scope="module")
def browser(pages: dict[str, Path]) -> Iterator[Browser]:
    with Browser() as tab:
        yield tab


@pytest.mark.parametrize("name", ["index", "subject"])
def test_every_picture_loads_and_nothing_comes_from_outside(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    browser.open(pages[name])
    sizes = browser.evaluate(
        "[...document.images].map(i => [i.getAttribute('src'), i.naturalWidth, i.alt.length])"
    )
    assert len(sizes) >= (20 if name == "index" else 5)
    assert [source for source, width, _ in sizes if width == 0] == []
    assert [source for source, _, alt in sizes if alt < 10] == []
    requests = [
        e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"
    ]
    assert requests
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    failures = [
        e["params"] for e in browser.events if e["method"] in ("Network.loadingFailed", "Log.entryAdded")
    ]
    assert failures == []


def test_a_broken_picture_would_be_seen(browser: Browser, pages: dict[str, Path], tmp_path: Path) -> None:
    broken = pages["index"].with_name("broken.html")
    broken.write_text(pages["index"].read_text().replace("clusters.svg", "no-such-file.svg"))
    browser.open(broken)
    widths = browser.evaluate("[...document.images].map(i => i.naturalWidth)")
    assert 0 in widths
    assert any(e["method"] == "Network.loadingFailed" for e in browser.events)
    broken.unlink()


@pytest.mark.parametrize("name", ["index", "subject"])
@pytest.mark.parametrize("width", [1300, 820, 390])
def test_nothing_runs_off_the_page(browser: Browser, pages: dict[str, Path], name: str, width: int) -> None:
    browser.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
    )
    browser.open(pages[name])
    # Folded tables count too.
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    outside = browser.evaluate(
        "[...document.querySelectorAll('main p, main figure, main img, main h2, main .scroll, main li, nav a')]"
        ".filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert outside == []
    browser.call(
        "Emulation.setDeviceMetricsOverride", width=1300, height=1000, deviceScaleFactor=1, mobile=False
    )


def test_the_page_shows_something_all_the_way_down(
    browser: Browser, pages: dict[str, Path], tmp_path: Path
) -> None:
    browser.open(pages["index"])
    height = browser.evaluate("document.documentElement.scrollHeight")
    assert height > 5000
    for top in range(0, height - 1200, 3000):
        picture = matplotlib.image.imread(browser.screenshot(tmp_path / f"{top}.png", top, 1200))
        main = picture[:, 300:, :3]
        assert np.ptp(main) > 0.5, f"nothing but one colour from {top} on"


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_in_light_and_dark(pages: dict[str, Path], dark: bool) -> None:
    script = """
    (() => {
      const parse = c => c.match(/[\\d.]+/g).slice(0, 3).map(Number);
      const light = c => { const [r, g, b] = parse(c).map(v => { v /= 255;
        return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 }); return 0.2126 * r + 0.7152 * g + 0.0722 * b };
      const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
        if (!c.endsWith(', 0)')) return c } return 'rgb(255,255,255)' };
      const contrast = e => { const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) };
      const texts = [...document.querySelectorAll('h1,h2,h3,p,li,td,th,figcaption,a,summary')];
      return [Math.min(...texts.map(contrast)), light(getComputedStyle(document.body).backgroundColor)];
    })()"""
    with Browser(dark=dark) as tab:
        tab.open(pages["index"])
        contrast, background = tab.evaluate(script)
    assert contrast >= 4.5  # WCAG AA
    assert background < 0.05 if dark else background > 0.9


def test_contents_and_people_lead_somewhere(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["index"])
    missing = browser.evaluate(
        "[...document.querySelectorAll('nav a')].map(a => a.getAttribute('href'))"
        ".filter(h => !document.querySelector(h))"
    )
    assert missing == []
    link = browser.evaluate("[...document.querySelectorAll('#people td a')].map(a => a.href)[0]")
    browser.open(link)
    assert browser.evaluate("document.querySelector('h1').textContent") == "sub-001"
    browser.open(browser.evaluate("document.querySelector('a').href"))
    assert browser.evaluate("document.querySelector('h1').textContent") == "A small study"
