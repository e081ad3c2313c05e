"""The page with the checks of an experiment's clusters (strata-EXPERIMENT.html)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from neurostrata.report.data.evidence import Evidence
from neurostrata.report.data.layout import Experiment
from neurostrata.report.figures.phenotypes import factor_names
from neurostrata.report.html.blocks import Text, experiment_anchor, number_blocks
from neurostrata.report.html.page import Page
from neurostrata.report.html.pages import write_page
from neurostrata.report.sections.composition import composition_section
from neurostrata.report.sections.continuous import continuous_section
from neurostrata.report.sections.differences import differences_section, halves_section
from neurostrata.report.sections.existence import existence_section, stability_section
from neurostrata.report.text.verdict import Verdict
from neurostrata.strata.finders.registry import finder_name

DOUBLE_DIPPING = (
    "The clusters were found in these images, so the images differ between the clusters by construction, and the p-value of such "
    "a difference means nothing (double dipping). Maps of clusters therefore show effect sizes; p-values come only from held-out "
    "halves, whose people were assigned to clusters that were found without them. The same holds for head size and image "
    "quality, which are measured in these images."
)


def write_checks(
    page: Page,
    experiment: Experiment,
    verdict: Verdict,
    evidence: Evidence,
    meanings: Mapping[str, str],
) -> Path | None:
    """Write the page; return its path, or None when nothing of the strata was made.

    Parameters
    ----------
    page
        The main page, which links to it.
    experiment, verdict, evidence
        The experiment that the page is about, its verdict and the tables behind it.
    meanings
        Factor -> the variables that load on it.
    """
    own = Page(page.study, page.path.with_name(f"strata-{experiment.name}.html"), page.figures)
    names = factor_names(
        evidence.comparisons["factor"] if evidence.comparisons is not None else meanings, meanings
    )
    absent = "" if page.study.config["phenotypes"]["tables"] else "no phenotype table is configured"
    sections = [
        composition_section(own, experiment, evidence),
        existence_section(own, experiment, evidence),
        stability_section(own, experiment, evidence),
        differences_section(own, experiment, evidence, names, absent),
        halves_section(own, experiment, evidence, names, absent),
        continuous_section(own, experiment, meanings, absent),
    ]
    sections = [section for section in sections if section.blocks]
    if not sections:
        return None
    number_blocks(sections)
    write_page(
        own.path,
        "page.html.j2",
        {
            "title": f"Checks of the clusters in {experiment.name}",
            "sections": sections,
            "blocks_first": [
                Text(
                    f"The clusters of the verdict: {finder_name(evidence.finder)} on {evidence.codes} codes. {verdict.headline}"
                ),
                Text(DOUBLE_DIPPING, kind="note"),
            ],
            "back": f"{page.path.name}#{experiment_anchor(experiment.name)}",
            "back_text": "Report",
        },
    )
    return own.path
