"""Which sections stand on which page of the report: the one place where a section is put on a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from neurostrata.report.data.results import StudyResults
from neurostrata.report.html.blocks import Section
from neurostrata.report.html.navigation import BEFORE_EXPERIMENTS, FIXED_PAGES
from neurostrata.report.html.page import Page
from neurostrata.report.judged import Judged
from neurostrata.report.sections.agreement import agreement_section
from neurostrata.report.sections.checks import checks_sections
from neurostrata.report.sections.closing import (
    methods_section,
    people_section,
    provenance_section,
    resources_section,
)
from neurostrata.report.sections.cohort import cohort_section
from neurostrata.report.sections.comparison import comparison_section
from neurostrata.report.sections.experiment import experiment_section
from neurostrata.report.sections.maps import volumes_section
from neurostrata.report.sections.overview import (
    next_section,
    pages_section,
    verdict_section,
    who_section,
)
from neurostrata.report.sections.paper_results import paper_results_section
from neurostrata.report.sections.phenotypes import phenotypes_section
from neurostrata.report.sections.quality import quality_section
from neurostrata.report.sections.strata_maps import pictures_section
from neurostrata.report.sections.template import template_section


@dataclass
class Whole:
    """What sections need that are about more than their own page.

    Attributes
    ----------
    study
        The results.
    judged
        The experiments with their verdicts.
    meanings
        Factor -> what it is.
    benchmarks
        Snakemake's benchmark files, or None.
    made
        File of a page -> its sections, for the pages made so far.
    """

    study: StudyResults
    judged: Sequence[Judged]
    meanings: Mapping[str, str]
    benchmarks: Path | None = None
    made: dict[str, list[Section]] = field(default_factory=dict)


#: Makes a section, or several, of a page.
Maker = Callable[[Page], Section | list[Section]]


@dataclass(frozen=True)
class Contents:
    """A page.

    Attributes
    ----------
    file
        Its name in the report's folder.
    title
        Its heading.
    sections
        What makes its sections.
    belongs_to
        File of the page that it is about.
    short
        Its title in the navigation, where it stands below the page that it belongs to.
    """

    file: str
    title: str
    sections: Sequence[Maker]
    belongs_to: str = ""
    short: str = ""


def fixed_pages(whole: Whole) -> dict[str, list[Maker]]:
    """Return the sections of the pages that every report has, in reading order; those of a page are made in this order.

    The overview is made last of all pages, so that its sections can count on the others.
    """
    judged = whole.judged
    return {
        "index.html": [
            partial(verdict_section, judged=judged),
            partial(pictures_section, judged=judged),
            partial(who_section, judged=judged),
            partial(next_section, judged=judged),
            pages_section,
        ],
        "cohort.html": [cohort_section],
        "quality.html": [quality_section],
        "template.html": [template_section, volumes_section],
        "phenotypes.html": [phenotypes_section],
        "models.html": [
            comparison_section,
            agreement_section,
            lambda page: paper_results_section(page, whole.made["cohort.html"]),
        ],
        "methods.html": [
            methods_section,
            missing_section,
            lambda page: resources_section(page, whole.benchmarks),
            provenance_section,
        ],
        "people.html": [people_section],
    }


def experiment_pages(whole: Whole, one: Judged) -> list[Contents]:
    """Return the pages of an experiment."""
    file, checks = f"experiment-{one.name}.html", f"strata-{one.name}.html"
    return [
        Contents(
            file,
            f"Experiment {one.name}",
            [
                # without the first, which says which clusters are checked
                lambda page: experiment_section(
                    page, one, whole.meanings, [part.title for part in whole.made.get(checks, [])[1:]]
                ),
            ],
        ),
        Contents(
            checks,
            f"Checks of the clusters in {one.name}",
            [lambda page: checks_sections(page, one, whole.meanings)],
            belongs_to=file,
            short="Checks of its clusters",
        ),
    ]


def all_pages(whole: Whole) -> list[Contents]:
    """Return all pages in the order of the navigation."""
    sections = fixed_pages(whole)
    fixed = [Contents(file, title, sections[file]) for file, title in FIXED_PAGES]
    own = [page for one in whole.judged for page in experiment_pages(whole, one)]
    return fixed[:BEFORE_EXPERIMENTS] + own + fixed[BEFORE_EXPERIMENTS:]


def missing_section(_: Page) -> Section:
    """Return the section on what this run has not; :func:`neurostrata.report.index.write_index` fills it at the end."""
    return Section("missing", "Not run or missing")
