"""Writing of the reviewing page; what happens on it is in ``html/assets/review.js``."""

from __future__ import annotations

from neurostrata.report.data.results import StudyResults
from neurostrata.report.html.pages import write_page
from neurostrata.report.html.strips import STRIP_SCRIPTS, STRIP_STYLES

#: People on one page of pictures.
PEOPLE_PER_PAGE = 50
#: Reasons that are offered; any other can be typed.
REASONS = (
    "head motion",
    "noise",
    "ghosting",
    "field of view cut",
    "wrong brain mask",
    "bad registration",
    "diffusion data misaligned",
    "wrong gradient table",
    "another person's data",
    "pathology",
)


def write_review(study: StudyResults) -> None:
    """Write ``review/index.html``, which loads the numbers of everybody (:mod:`neurostrata.report.people.data`).

    Parameters
    ----------
    study
        What the report is about.
    """
    tree = study.tree
    path = tree.review_page
    sheet = study.config["qc"]
    write_page(
        path,
        "review.html.j2",
        {
            "title": "Review",
            "study": study.config["report"]["title"],
            "sections": [],
            "sheet": str(sheet) if sheet else "config/qc.tsv",
            "per_page": PEOPLE_PER_PAGE,
            "reasons": REASONS,
        },
        report=path.parent.parent,
        scripts=(*STRIP_SCRIPTS, "review.js"),
        styles=(*STRIP_STYLES, "review.css"),
    )
