"""A person's page and the reviewing page in a real browser: layers, strips, decisions by keyboard, files that come back."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from chromium import Browser, find_chromium
from report_fixture import make_results
from sklearn.metrics import cohen_kappa_score

from neurostrata.cohort.decisions import decide
from neurostrata.cohort.sheet import read_qc_sheet
from neurostrata.core.tables import write_table
from neurostrata.quality.raters import compare_raters
from neurostrata.report.commands import subject_page
from neurostrata.report.data.layout import ResultsTree
from neurostrata.report.data.results import StudyResults
from neurostrata.report.html.blocks import Section
from neurostrata.report.html.folder import write_data
from neurostrata.report.html.page import Page
from neurostrata.report.html.pages import write_page
from neurostrata.report.html.strips import quality_strips
from neurostrata.report.people.data import write_people
from neurostrata.report.review.page import write_review

ATTACK = "<img src=x onerror=document.title='taken'>"


def write_quality(results: Path, people: list[str]) -> None:
    rng = np.random.default_rng(3)
    measures = pd.DataFrame({"subject": people, "snr": rng.normal(10, 1, len(people))})
    measures["similarity"] = rng.normal(0.9, 0.01, len(people))
    measures.loc[4, "snr"], measures.loc[7, "similarity"] = 3.0, 0.5
    write_table(results / "qc/measures.tsv", measures)
    rows = []
    for name, spread in (("snr", 1.0), ("similarity", 0.01)):
        z = (measures[name] - measures[name].median()) / spread
        for subject, value, one in zip(people, measures[name], z):
            rows.append((subject, name, value, 0.0, one, 4.0, "true" if one < -4 else "false", len(people)))
    columns = ["subject", "measure", "value", "expected", "z", "limit", "flagged", "compared_with"]
    write_table(results / "qc/deviations.tsv", pd.DataFrame(rows, columns=columns))
    write_table(
        results / "qc/suggested_exclusions.tsv",
        pd.DataFrame(
            [(people[4], "", "snr", 3.0, -7.0, 4.0, f"SNR is 3 {ATTACK}")],
            columns=["subject", "modality", "measure", "value", "z", "limit", "reason"],
        ),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_chromium() is None:
        if os.environ.get("NEUROSTRATA_REQUIRE_ALL") == "1":
            pytest.fail("chromium is missing and NEUROSTRATA_REQUIRE_ALL=1")
        pytest.skip("chromium is missing")
    place = tmp_path_factory.mktemp("people")
    results, config = make_results(place, people=60, clusters=3, factors=2, variables=6)
    people = [f"{i + 1:03d}" for i in range(60)]
    write_quality(results, people)
    sheet = place / "qc.tsv"
    sheet.write_text(f"subject\tmodality\tdecision\treason\n003\t\texclude\tby hand {ATTACK}\n")
    config["qc"], config["report"]["title"] = str(sheet), f"Study {ATTACK}"
    for subject in ("001", "060"):
        subject_page(
            results=results,
            subject=subject,
            output=results / f"report/subjects/sub-{subject}.html",
            settings=config["report"],
        )
    report = results / "report"
    study = StudyResults(ResultsTree(results.resolve()), config)
    page = Page(study, report / "quality.html", report / "figures")
    write_people(page)
    write_review(study)
    # what every page asks for, and the rest of the report would write
    write_data(report / "data/pages.js", "neurostrataPages", [])
    write_data(report / "data/search.js", "neurostrataSearch", [])
    section = Section("quality", "Quality", [quality_strips(page)])
    write_page(page.path, "page.html.j2", {"title": "Quality", "sections": [section]})
    return report


@pytest.fixture(scope="module")
def browser(folder: Path) -> Iterator[Browser]:
    with Browser() as tab:
        tab.call(
            "Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder), eventsEnabled=False
        )
        yield tab


def press(browser: Browser, *keys: str) -> None:
    for key in keys:
        text = key if len(key) == 1 else "\r" if key == "Enter" else ""
        code = {"Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowRight": 39}.get(key, ord(key[0].upper()))
        common = {"key": key, "windowsVirtualKeyCode": code}
        browser.call("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {}))
        browser.call("Input.dispatchKeyEvent", type="keyUp", **common)


def shown(browser: Browser, element: str) -> str:
    return browser.evaluate(f"document.querySelector({json.dumps(element)}).textContent.trim()")


def comes(browser: Browser, expression: str, seconds: float = 15) -> bool:
    """Tell whether a JavaScript expression becomes true; a page that is being left cannot be asked."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if browser.evaluate(expression):
                return True
        except RuntimeError:
            pass
        time.sleep(0.05)
    return False


def says(element: str, text: str) -> str:
    """JavaScript: whether an element of a page that has been loaded has this text."""
    found = f"document.querySelector({json.dumps(element)})?.textContent.trim() === {json.dumps(text)}"
    return f"document.readyState === 'complete' && {found}"


def open_review(browser: Browser, folder: Path, person: str = "", *, fresh: bool = True) -> None:
    page = folder / "review/index.html"
    if fresh:
        browser.open(page)
        browser.evaluate("localStorage.clear()")
    browser.open("about:blank")
    browser.open(page.resolve().as_uri() + (f"#sub={person}" if person else ""))


def named(browser: Browser, rater: str) -> None:
    browser.evaluate(
        f"(() => {{ const f = document.getElementById('rater'); f.value = {json.dumps(rater)};"
        "f.dispatchEvent(new Event('change')); })()"
    )


def saved(browser: Browser, folder: Path) -> Path:
    path = folder / "qc.tsv"
    path.unlink(missing_ok=True)
    browser.evaluate("document.getElementById('save').click()")
    end = time.monotonic() + 10
    while not path.is_file():
        assert time.monotonic() < end, "nothing was saved"
        time.sleep(0.05)
    return path


def load(browser: Browser, *paths: Path) -> None:
    root = browser.call("DOM.getDocument")["root"]["nodeId"]
    node = browser.call("DOM.querySelector", nodeId=root, selector="#load")["nodeId"]
    browser.evaluate("document.getElementById('state').textContent = ''")
    browser.call("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])
    assert comes(browser, "/taken up|cannot/.test(document.getElementById('state').textContent)")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0, 0, 0], "the same in all 3"),
        ([0, 0, 1], "one of 2 with the lowest value, of 3"),
        ([0, 1, 1], "the lowest of 3"),
        ([1, 0, 0], "the highest of 3"),
        ([1, 0, 2, 3], "lower than 66%"),
        ([298.5, *range(300)], "higher than 99%"),  # not than 100%: one is above
        ([1], ""),
    ],
)
def test_where_a_value_lies_is_said_of_ties_too(
    browser: Browser, folder: Path, values: list[float], said: str
) -> None:
    browser.open(folder / "subjects/sub-001.html")
    measure = json.dumps({"values": values})
    assert browser.evaluate(f"neurostrataStrips.standing({measure}, 0)") == said


def test_it_is_said_what_a_person_is_left_out_of(browser: Browser, folder: Path) -> None:
    browser.open(folder / "subjects/sub-060.html")
    rows = [
        {"modality": "", "stage": "experiment a", "reason": "diagnosis is none of the experiment's classes"},
        {"modality": "ndi", "stage": "experiment a", "reason": "the model needs every modality"},
        {"modality": "all", "stage": "template", "reason": "large cyst"},
        {"modality": "all", "stage": "volumes", "reason": "head motion"},
    ]
    assert [browser.evaluate(f"neurostrataStrips.leftOut({json.dumps(row)})") for row in rows] == [
        "of experiment a: diagnosis is none of the experiment's classes",
        "of experiment a, without NDI: the model needs every modality",
        "of the people of the template: large cyst",
        "of everything, from volumes on: head motion",
    ]
    assert (
        browser.evaluate("document.querySelector('.decisions').textContent").count(
            "Left out: of ndi, from volumes on: no dwi"
        )
        == 1
    )


def test_layers_slide_and_flicker(browser: Browser, folder: Path) -> None:
    browser.open(folder / "subjects/sub-001.html")
    failures = [e for e in browser.events if e["method"] in ("Network.loadingFailed", "Log.entryAdded")]
    assert failures == []
    viewer = "document.getElementById('registration-viewer')"
    assert browser.evaluate(f"{viewer}.querySelectorAll('.outline.mask[d^=M]').length") == 3
    browser.evaluate(
        f"(() => {{ const s = {viewer}.querySelector('.slide input'); s.value = 40; s.dispatchEvent(new Event('input')) }})()"
    )
    assert browser.evaluate(f"{viewer}.dataset.shown") == "0 1"
    widths = browser.evaluate(
        f"[...{viewer}.querySelectorAll('clipPath rect')].map(r => r.getAttribute('width') / r.dataset.width)"
    )
    assert len(widths) == 9
    assert widths == pytest.approx([0.4] * 9)
    assert browser.evaluate(f"{viewer}.querySelectorAll('.layer.on').length") == 6
    assert browser.evaluate(f"{viewer}.querySelectorAll('.layer[clip-path]').length") == 3
    browser.evaluate(f"{viewer}.querySelector('[data-flicker]').click()")
    assert comes(browser, f"{viewer}.dataset.shown === '0'")
    assert comes(browser, f"{viewer}.dataset.shown === '1'")
    assert browser.evaluate(f"{viewer}.querySelectorAll('.layer[clip-path]').length") == 0
    browser.evaluate(f"{viewer}.querySelector('[data-show=\"1\"]').click()")
    time.sleep(1)
    assert browser.evaluate(f"{viewer}.dataset.shown") == "1"  # it stopped
    browser.evaluate(f"{viewer}.querySelector('[data-outline=mask]').click()")
    style = "getComputedStyle(document.querySelector('#registration-viewer .outline.mask')).display"
    assert browser.evaluate(style) == "none"


def test_a_person_lies_in_the_cohort_and_all_strips_follow_one(browser: Browser, folder: Path) -> None:
    browser.open(folder / "subjects/sub-001.html")
    assert "site" in shown(browser, ".facts-list").lower()
    assert "jac-ndi" in shown(browser, ".strata-of-person")
    assert browser.evaluate("document.querySelectorAll('#decoded img').length") == 4
    own = browser.evaluate("document.querySelectorAll('.mark.own[visibility=visible]').length")
    assert own >= 6
    assert browser.evaluate("document.querySelectorAll('.mark.other[visibility=visible]').length") == 0
    # The keyboard: the next in order of one measure is marked in all.
    browser.evaluate("document.querySelector('[data-measure=snr] svg').focus()")
    press(browser, "ArrowRight")
    followed = browser.evaluate(
        "document.querySelector('[data-measure=snr] svg').getAttribute('aria-valuetext')"
    )
    assert followed.startswith("sub-")
    assert browser.evaluate("document.querySelectorAll('.mark.other[visibility=visible]').length") == own
    assert not browser.evaluate("document.querySelector('.tip').hidden")
    browser.open(folder / "subjects/sub-060.html")
    assert "← before" in browser.evaluate("document.querySelector('.neighbours a').textContent")
    browser.evaluate("document.querySelector('.neighbours a').click()")
    assert comes(browser, says("h1", "sub-001"))  # the only one before who has a page


def test_a_point_of_the_quality_page_names_its_person_and_leads_there(browser: Browser, folder: Path) -> None:
    browser.open(folder / "quality.html")
    names = browser.evaluate("[...document.querySelectorAll('.strip')].map(s => s.dataset.measure)")
    assert {"snr", "similarity"} <= set(names)
    assert browser.evaluate("document.querySelectorAll('.dots.flagged').length") == 2
    # the person with the lowest SNR is the leftmost point
    place = browser.evaluate(
        "(() => { const b = document.querySelector('[data-measure=snr] svg').getBoundingClientRect();"
        "const d = document.querySelector('[data-measure=snr] .dots.flagged').getAttribute('d').match(/[\\d.]+/g).map(Number);"
        "return [b.left + d[0] / 360 * b.width, b.top + d[1] / 40 * b.height] })()"
    )
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
    assert shown(browser, ".tip").startswith("sub-005 · 3, z −")
    marks = "document.querySelectorAll('.mark.other[visibility=visible]').length"
    assert browser.evaluate(marks) == len(names)
    browser.evaluate(
        "(() => { const f = document.querySelector('.strip-finder input'); f.value = '001'; f.dispatchEvent(new Event('input')) })()"
    )
    assert shown(browser, ".strip-finder a") == "sub-001"
    press_at = "document.querySelector('[data-measure=snr] svg').focus()"
    browser.evaluate(press_at)
    press(browser, "Enter")
    assert comes(browser, says("h1", "sub-001"))


def test_three_people_are_reviewed_by_keyboard_and_the_workflow_accepts_the_file(
    browser: Browser, folder: Path, tmp_path: Path
) -> None:
    open_review(browser, folder)
    pictures = "[...document.querySelectorAll('.card')].length"
    assert browser.evaluate(pictures) == 50
    assert browser.evaluate("[...document.querySelectorAll('.card img')].every(i => i.loading)")
    assert browser.evaluate("document.querySelectorAll('#pager button').length") == 2
    first = browser.evaluate("[...document.querySelectorAll('.card b')].slice(0, 2).map(b => b.textContent)")
    assert first == ["sub-008", "sub-005"]  # by z: 0.5 is further from 0.9 than 3 from 10
    browser.evaluate("document.getElementById('start').click()")
    assert comes(browser, says("#who", "sub-008"))
    press(browser, "k")
    assert "who you are" in shown(browser, "#hint")  # asked once
    press(browser, *"Ann", "Enter")
    press(browser, "k")
    assert comes(browser, says("#who", "sub-005"))
    press(browser, "e")
    assert "without a reason" in shown(browser, "#hint")
    # Shortcuts rest while the reason is typed: u, k, e and the arrows are letters of it.
    press(browser, *'shake "u" ', "ArrowLeft", *ATTACK)
    assert shown(browser, "#who") == "sub-005"
    press(browser, "Enter")
    assert comes(browser, f"!({says('#who', 'sub-005')})")
    third = shown(browser, "#who")
    assert third != "sub-008"
    press(browser, "u")
    rows = read_qc_sheet(saved(browser, folder))
    by_hand, *mine = sorted(rows, key=lambda row: row["rater"])
    assert by_hand["subject"] == "003"
    assert by_hand["reason"] == f"by hand {ATTACK}"
    decided = {row["subject"]: row for row in mine}
    assert {s: row["decision"] for s, row in decided.items()} == {
        "008": "keep",
        "005": "exclude",
        third.removeprefix("sub-"): "unsure",
    }
    assert {row["rater"] for row in mine} == {"Ann"}
    assert all(row["date"] for row in mine)
    assert decided["005"]["reason"].startswith("shake 'u'")
    assert "onerror" in decided["005"]["reason"]
    assert browser.evaluate("document.title").startswith("Review")
    # It comes back: from this browser, and after that is emptied, from the file.
    kept = tmp_path / "kept.tsv"
    kept.write_bytes((folder / "qc.tsv").read_bytes())
    for fresh in (False, True):
        open_review(browser, folder, "005", fresh=fresh)
        if fresh:
            assert shown(browser, "#state").startswith("0 of 60")
            named(browser, "Ann")
            load(browser, kept)
        assert shown(browser, "#state").startswith(
            "3 of 60 people decided by Ann (keep 1, exclude 1, unsure 1)"
        )
        assert browser.evaluate("document.querySelector('[data-decision=exclude]').ariaPressed") == "true"
        assert "onerror" in browser.evaluate("document.getElementById('reason').value")
        assert saved(browser, folder).read_text() == kept.read_text()
    browser.evaluate(
        "(() => { const s = document.getElementById('show'); s.value = 'unsure'; s.dispatchEvent(new Event('input'));"
        "location.hash = '' })()"
    )
    assert comes(browser, "!document.getElementById('gallery').hidden")
    assert browser.evaluate("[...document.querySelectorAll('.card b')].map(b => b.textContent)") == [third]
    assert browser.evaluate("document.title").startswith("Review")
    assert browser.evaluate("document.querySelectorAll('img[src=x]').length") == 0


HEADER = "subject\tmodality\tdecision\treason\trater\tdate"


def sheet(path: Path, *lines: str) -> Path:
    """Write a sheet of decisions; cells are separated by "|"."""
    path.write_text("\n".join([HEADER, *(line.replace("|", "\t") for line in lines)]) + "\n")
    return path


def test_two_raters_are_compared(browser: Browser, folder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    words = np.array(["keep", "exclude", "unsure"])
    first = words[rng.integers(0, 3, 20)]
    second = np.where(rng.random(20) < 0.6, first, words[rng.integers(0, 3, 20)])
    for rater, decisions in (("Ann", first), ("Ben", second)):
        lines = [f"{i + 1:03d}||{d}|seen|{rater}|2026-03-31" for i, d in enumerate(decisions)]
        # What is said of the template, or as the consensus, is no rating; somebody is no longer in the cohort.
        more = ["001||exclude_template|seen|Ann|2026-03-31", "099||keep||Ann|2026-03-31"]
        more += [f"00{i}||keep||Consensus|2026-03-31" for i in range(1, 6)]
        sheet(tmp_path / f"{rater}.tsv", *lines, *(more if rater == "Ann" else []))
    open_review(browser, folder)
    load(browser, tmp_path / "Ann.tsv", tmp_path / "Ben.tsv")
    named(browser, "Ann")
    counts = ", ".join(f"{word} {(first == word).sum()}" for word in ("keep", "exclude", "unsure"))
    assert shown(browser, "#state").startswith(f"20 of 60 people decided by Ann ({counts})")
    text = shown(browser, "#agreement")
    kappa = cohen_kappa_score(first, second)
    differ = [
        f"{i + 1:03d}" for i in np.flatnonzero((first != second) & (first != "unsure") & (second != "unsure"))
    ]
    assert 0 < len(differ) < (first != second).sum()
    assert text.count(" by both") == 1
    assert f"Ann and Ben: 20 decisions by both, {(first == second).sum()} the same" in text
    assert f"kappa {float(f'{kappa:.3g}'):g}" in text
    links = browser.evaluate("[...document.querySelectorAll('#agreement a')].map(a => a.textContent)")
    assert links == [f"sub-{subject}" for subject in differ]
    browser.evaluate(
        "(() => { const s = document.getElementById('show'); s.value = 'differ'; s.dispatchEvent(new Event('input')) })()"
    )
    cards = browser.evaluate("[...document.querySelectorAll('.card b')].map(b => b.textContent)")
    assert sorted(cards) == links
    # All is kept, with the row of the study's sheet; the workflow sees the same in it.
    rows = read_qc_sheet(saved(browser, folder))
    assert len(rows) == 1 + 40 + 7
    (compared,) = compare_raters(rows).to_dict("records")
    assert compared["disagree_on"] == ", ".join(differ)
    assert compared["kappa"] == pytest.approx(kappa)
    (tmp_path / "broken.tsv").write_text("name\tdecision\n001\tkeep\n")
    load(browser, tmp_path / "broken.tsv")
    assert "broken.tsv cannot be read: it has no column subject" in shown(browser, "#state")


def test_a_file_that_is_loaded_and_saved_still_decides_the_same(
    browser: Browser, folder: Path, tmp_path: Path
) -> None:
    given = sheet(
        tmp_path / "given.tsv",
        "010||keep||Ann|2026-03-31",
        "010||exclude|moved|Ann|2026-03-31",  # she changed her mind on the same day
        "011||exclude|moved|Ann|2026-04-02",
        "011||keep|the date was wrong|Ann|2026-04-01",
        "012||exclude_template|enlarged ventricles|Ann|2026-03-31",
        "012||keep||Ann|2026-03-31",
        "013|dwi|exclude|moved|Ben|2026-03-31",
        "013||keep||Ben|2026-03-31",
    )
    open_review(browser, folder)
    load(browser, given)
    named(browser, "Ann")
    written = read_qc_sheet(saved(browser, folder))
    rows = [row for row in written if row["subject"] != "003"]  # the sheet of the study
    assert [(row["subject"], row["modality"], row["decision"]) for row in rows] == [
        ("010", "", "exclude"),
        ("011", "", "keep"),
        ("012", "", "exclude_template"),
        ("012", "", "keep"),
        ("013", "", "keep"),
        ("013", "dwi", "exclude"),
    ]
    assert decide(rows) == decide(read_qc_sheet(given))
    # To take back a decision leaves the one about the template.
    open_review(browser, folder, "012", fresh=False)
    press(browser, "c")
    rows = [row for row in read_qc_sheet(saved(browser, folder)) if row["subject"] == "012"]
    assert [row["decision"] for row in rows] == ["exclude_template"]


def test_an_unsure_becomes_an_exclusion_for_the_same_reason(browser: Browser, folder: Path) -> None:
    def mine() -> list[tuple[str, str, str]]:
        rows = read_qc_sheet(saved(browser, folder))
        return [(row["modality"], row["decision"], row["reason"]) for row in rows if row["rater"] == "Ann"]

    open_review(browser, folder, "020")
    named(browser, "Ann")
    browser.evaluate("document.getElementById('advance').checked = false")
    press(browser, "r", *"dark", "Enter", "u")
    assert mine() == [("", "unsure", "dark")]
    press(browser, "e")
    assert mine() == [("", "unsure", "dark")]  # the reason is asked for
    press(browser, *"dark", "Enter")
    assert mine() == [("", "exclude", "dark")]
    # What waits for its reason waits for the modality alone that it was asked for.
    press(browser, "u", "r", *"dark", "Enter", "e")
    browser.evaluate(
        "(() => { const m = document.getElementById('modality'); m.value = m.options[1].value; m.dispatchEvent(new Event('change'));"
        "m.value = ''; m.dispatchEvent(new Event('change')); document.activeElement.blur() })()"
    )
    assert browser.evaluate("document.getElementById('reason').value") == "dark"
    press(browser, "e")
    assert mine() == [("", "unsure", "dark")]


@pytest.mark.parametrize("width", [1440, 420])
def test_the_panel_never_covers_the_picture(browser: Browser, folder: Path, width: int) -> None:
    browser.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False
    )
    for page in ("review/index.html", "subjects/sub-001.html", "quality.html"):
        browser.open(folder / page)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width, page
    open_review(browser, folder, "001")
    picture, panel = browser.evaluate(
        "['picture', 'single'].map(i => i === 'single' ? document.querySelector('.single-panel') : document.getElementById(i))"
        ".map(e => { const b = e.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom] })"
    )
    assert picture[2] <= panel[0] or picture[3] <= panel[1]
    assert panel[3] <= 800
    assert picture[3] - picture[1] > 200
    browser.call(
        "Emulation.setDeviceMetricsOverride", width=1300, height=1000, deviceScaleFactor=1, mobile=False
    )
