"""Write docs/images: pictures of the demo's report, for README and the tutorial, and what the demo found, into the tutorial.

    make demo && make screenshots

Chromium takes the pictures.
"""

from __future__ import annotations

import argparse
import base64
import csv
import io
import json
import re
import sys
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "browser"))
from chromium import Browser, find_chromium

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
#: Bytes of a picture and of all pictures together, at most; a test holds the folder to both.
LIMIT, LIMIT_OF_ALL = 200_000, 1_500_000
WIDTH = 1180
#: Pictures of the report by page: name, and what is on it, as CSS selectors of the first and the last element; behind |, words of the element.
#: EXPERIMENT is the one with strata that differ.
OF_PAGES = {
    "index.html": {
        "report": ("body",),
        "verdict": ("article:has(h3 a[href*='#experiment-EXPERIMENT'])",),
        "strata-maps": ("figure img[src$='EXPERIMENT/overview.svg']",),
    },
    "cohort.html": {"cohort": ("h1", ".tablebox")},
    "template.html": {"template": ("figure:has(img[src*='template/template.'])",)},
    "phenotypes.html": {"loadings": ("figure|Loadings",)},
    "models.html": {"decoding": (".tablebox|Share of the differences between people",)},
    "experiment-EXPERIMENT.html": {
        "examples": ("figure:has(img[src$='EXPERIMENT/examples.svg'])",),
        "finders": (".tablebox|Every finder on every kind of codes",),
        "clusters": ("figure|Cluster sizes",),
        "comparisons": (".tablebox|Every factor compared between the clusters",),
        "factors": ("figure|Phenotypic factors by cluster",),
    },
}
OF_CHECKS = {
    "profiles": ("figure|Cluster profiles",),
    "existence": ("figure|The same search in data without groups",),
    "stability": ("figure|Whether each cluster is found again",),
    "repartition": ("figure|in random groups of the same sizes",),
}
OF_PERSON = {"person": ("body",)}
#: Every kind of page, as it is in light and in dark, on a desk and on a phone.
KINDS = {
    "overview": "index.html",
    "cohort": "cohort.html",
    "quality": "quality.html",
    "template": "template.html",
    "phenotypes": "phenotypes.html",
    "experiment": "experiment-EXPERIMENT.html",
    "checks": "strata-EXPERIMENT.html",
    "models": "models.html",
    "methods": "methods.html",
    "people": "people.html",
    "person": "subjects/*.html",
    "review": "review/index.html",
}
#: Width of the window and of its picture, and the height that is shown, in pixels.
WINDOWS = ((1440, 352, 1400), (420, 124, 1150))


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def save(image: Image.Image, name: str, most: int = 128) -> None:
    """Save a picture with at most `most` colours, fewer where it takes that to stay below the limit."""
    for colours in (128, 64, 32):
        if colours > most:
            continue
        data = io.BytesIO()
        image.convert("RGB").quantize(colours, dither=Image.Dither.NONE).save(data, "PNG", optimize=True)
        if data.tell() <= LIMIT:
            break
    else:
        raise SystemExit(f"{name}: more than {LIMIT} bytes")
    (IMAGES / f"{name}.png").write_bytes(data.getvalue())
    print(f"{name}.png: {image.width} x {image.height}, {data.tell() // 1000} kB, {colours} colours")


def take(
    tab: Browser, page: Path, pictures: dict[str, tuple[str, ...]], experiment: str, tallest: int
) -> None:
    """Take pictures of parts of a page."""
    tab.open(page)
    for name, selectors in pictures.items():
        chosen = [s.replace("EXPERIMENT", experiment) for s in selectors]
        box = tab.evaluate(
            f"{json.dumps(chosen)}.map(s => s.split('|'))"
            ".map(([s, words]) => [...document.querySelectorAll(s)].find(e => e.textContent.includes(words ?? '')))"
            ".map(e => e && e.getBoundingClientRect())"
            ".map(r => r ? [r.left + scrollX, r.top + scrollY, r.right + scrollX, r.bottom + scrollY] : null)"
        )
        if None in box:
            raise SystemExit(f"{page}: no {chosen[box.index(None)]}")
        left, top = (min(part[i] for part in box) - 8 for i in (0, 1))
        right, bottom = (max(part[i] for part in box) + 8 for i in (2, 3))
        clip = {
            "x": max(left, 0),
            "y": max(top, 0),
            "width": right - left,
            "height": min(bottom - top, tallest),
        }
        shot = tab.call("Page.captureScreenshot", clip={**clip, "scale": 1}, captureBeyondViewport=True)
        save(Image.open(io.BytesIO(base64.b64decode(shot["data"]))), name)


def sheets(report: Path, experiment: str) -> None:
    """Take each kind of page at two widths, in light and in dark, side by side in one picture."""
    for kind, pattern in KINDS.items():
        page = sorted(report.glob(pattern.replace("EXPERIMENT", experiment)))[0]
        shots = []
        for width, small, height in WINDOWS:
            for dark in (False, True):
                with Browser(width=width, height=1000, dark=dark) as tab:
                    tab.open(page)
                    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
                    shot = tab.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
                picture = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
                shots.append(picture.resize((small, round(height * small / width)), Image.Resampling.LANCZOS))
        gap = 8
        sheet = Image.new(
            "RGB", (sum(s.width + gap for s in shots) - gap, max(s.height for s in shots)), "#9aa3aa"
        )
        left = 0
        for shot in shots:
            sheet.paste(shot, (left, 0))
            left += shot.width + gap
        save(sheet, f"page-{kind}", most=32)


def front() -> None:
    """Put the report and its picture of the strata side by side, equally tall, for README."""
    report, strata = (Image.open(IMAGES / f"{name}.png").convert("RGB") for name in ("report", "strata-maps"))
    report = report.crop((0, 0, report.width, 900))
    height = 488
    parts = [
        part.resize((height * part.width // part.height, height), Image.Resampling.LANCZOS)
        for part in (report, strata)
    ]
    both = Image.new("RGB", (sum(part.width for part in parts) + 20, height), "white")
    both.paste(parts[0], (0, 0))
    both.paste(parts[1], (parts[0].width + 20, 0))
    save(both, "front")


def outcome(row: dict[str, str]) -> str:
    """Return an experiment and its outcome, as they stand in the tutorial."""
    return f"**{row['experiment']}** (`{row['kind']}`, {row['colour']})"


def what_the_demo_found(demo: Path) -> str:
    """Return the demo's verdicts and how much of the planted truth they are, for the tutorial."""
    found = json.loads((demo / "recovery.json").read_text())["strata"]["experiments"]
    lines = []
    for row in read_rows(demo / "results/report/verdicts.tsv"):
        lines.append(f"* {outcome(row)}: {row['headline']}")
        if row["experiment"] in found:
            rand = found[row["experiment"]]["adjusted_rand"]
            lines[-1] += (
                f" (Agreement of the groups with the planted strata, adjusted Rand index: {rand:.2f}.)"
            )
    return "\n".join(lines)


def write_between(page: Path, name: str, text: str) -> None:
    """Replace what stands between a page's marks."""
    whole, count = re.subn(
        rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)",
        lambda m: f"{m[1]}{text}\n{m[2]}",
        page.read_text(encoding="utf-8"),
        flags=re.S,
    )
    if count != 1:
        raise SystemExit(f"{page}: no marks for {name}")
    page.write_text(whole, encoding="utf-8")


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("demo", type=Path, nargs="?", default=ROOT / "demo", help="a finished demo")
    demo = parser.parse_args().demo
    report = demo / "results" / "report"
    verdicts = read_rows(report / "verdicts.tsv")
    experiment = next(
        (row["experiment"] for row in verdicts if row["kind"] == "found"), verdicts[-1]["experiment"]
    )
    if find_chromium() is None:
        raise SystemExit("Chromium is missing (Debian: chromium); the pictures are taken with it")
    IMAGES.mkdir(exist_ok=True)
    with Browser(width=WIDTH, height=900) as tab:
        for name, pictures in OF_PAGES.items():
            take(tab, report / name.replace("EXPERIMENT", experiment), pictures, experiment, 960)
        take(tab, report / f"strata-{experiment}.html", OF_CHECKS, experiment, 900)
        take(tab, sorted((report / "subjects").glob("*.html"))[0], OF_PERSON, experiment, 1000)
    sheets(report, experiment)
    front()
    if sum(path.stat().st_size for path in IMAGES.glob("*.png")) > LIMIT_OF_ALL:
        raise SystemExit(f"{IMAGES}: more than {LIMIT_OF_ALL} bytes")
    tutorial = ROOT / "docs" / "tutorial.md"
    if tutorial.exists():
        write_between(tutorial, "demo", what_the_demo_found(demo))


if __name__ == "__main__":
    main()
