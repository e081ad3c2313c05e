"""The report of a large study: its size, the time and memory that it takes, and how long a browser takes to show it.

    PYTHONPATH=workflow:tests/fixtures python tests/browser/large_report.py --people 1000 --output large

To be run on an idle machine: the limit is on the seconds of the clock. The tables are drawn at random. People have no images and their pages are copies of one, since those are made by jobs of their
own; the template's shape is read from 250 warps of a small grid.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from chromium import Browser
from report_fixture import make_results

from neurostrata.report.commands import provenance, report, subject_page

#: Limits: bytes of the overview, seconds and megabytes of the making, milliseconds until a search has answered.
LIMITS = {"index_bytes": 2_000_000, "seconds": 300.0, "megabytes": 4000.0, "search_ms": 200.0}


def make(folder: Path, people: int) -> dict[str, Any]:
    """Make the study and its report; return sizes, seconds and megabytes."""
    shutil.rmtree(folder, ignore_errors=True)
    results, config = make_results(folder, people=people, clusters=6, factors=13, variables=51)
    made = results / "report"
    first = made / "subjects/sub-001.html"
    subject_page(results=results, subject="001", output=first, settings=config["report"])
    for number in range(2, people + 1):
        shutil.copyfile(first, first.with_name(f"sub-{number:03d}.html"))
    provenance(results=results, output=results / "provenance.json", settings=config)
    start, cpu = time.perf_counter(), time.process_time()
    report(results=results, output=made / "index.html", settings=config)
    seconds = time.perf_counter() - start
    return {
        "people": people,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000),
        "index_bytes": (made / "index.html").stat().st_size,
        "largest_page": max((path.stat().st_size, path.name) for path in made.glob("*.html")),
        "search_bytes": (made / "data/search.js").stat().st_size,
    }


def look(folder: Path, people: int) -> dict[str, Any]:
    """Open the report; return the milliseconds until the first view, and from a key press to the answer of a search."""
    made = folder / "results/report"
    times: dict[str, Any] = {}
    with Browser() as tab:
        for name in ("index.html", "people.html"):
            tab.open(made / name)
            painted = tab.evaluate("""new Promise(done => new PerformanceObserver(list => {
              const first = list.getEntriesByName('first-contentful-paint');
              if (first.length) done(first[0].startTime);
            }).observe({type: 'paint', buffered: true}))""")
            times[f"first_view_ms {name}"] = round(painted)
            times[f"loaded_ms {name}"] = round(
                tab.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
            )
        # the first search reads the index as well
        for which, wanted in (("first", people - 1), ("next", people // 2)):
            answer = tab.evaluate(f"""new Promise(done => {{
              const field = document.querySelector('#search input'), list = document.getElementById('found');
              const start = performance.now();
              const seen = new MutationObserver(() => {{
                if (!list.children.length) return;
                seen.disconnect();
                requestAnimationFrame(() => done([performance.now() - start, list.querySelector('b').textContent]));
              }});
              seen.observe(list, {{childList: true}});
              field.focus();
              field.value = 'sub-{wanted:03d}';
              field.dispatchEvent(new Event('input', {{bubbles: true}}));
            }})""")
            assert answer[1] == f"sub-{wanted:03d}", answer
            times[f"search_ms {which}"] = round(answer[0])
        times["sort_ms"] = round(
            tab.evaluate("""(() => { const start = performance.now();
              document.querySelectorAll('#people thead button')[1].click();
              document.body.offsetHeight; return performance.now() - start })()""")
        )
    return times


def main() -> None:
    """Make the report, look at it, print what was measured and say which limits it exceeds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--output", type=Path, required=True, help="a folder that is emptied first")
    arguments = parser.parse_args()
    found = make(arguments.output, arguments.people) | look(arguments.output, arguments.people)
    print(json.dumps(found, indent=2))
    worst = found | {"search_ms": max(found["search_ms first"], found["search_ms next"])}
    exceeded = [name for name, limit in LIMITS.items() if worst[name] > limit]
    sys.exit(f"over the limit: {', '.join(exceeded)}" if exceeded else 0)


if __name__ == "__main__":
    main()
