"""The page with the checks of an experiment's clusters (strata-EXPERIMENT.html)."""

from __future__ import annotations

from collections.abc import Mapping

from neurostrata.report.figures.phenotypes import factor_names
from neurostrata.report.html.blocks import Section, Text
from neurostrata.report.html.page import Page
from neurostrata.report.judged import Judged
from neurostrata.report.sections.composition import composition_section
from neurostrata.report.sections.continuous import continuous_section
from neurostrata.report.sections.differences import differences_section, halves_section
from neurostrata.report.sections.existence import existence_section, stability_section
from neurostrata.strata.finders.registry import finder_name

DOUBLE_DIPPING = (
    "The clusters were found in these images, so the images differ between the clusters by construction, and the p-value of such "
    "a difference means nothing (double dipping). Maps of clusters therefore show effect sizes; p-values come only from held-out "
    "halves, whose people were assigned to clusters that were found without them. The same holds for head size and image "
    "quality, which are measured in these images."
)


def checks_sections(page: Page, one: Judged, meanings: Mapping[str, str]) -> list[Section]:
    """Return the sections of the page; none when nothing of the strata was made.

    Parameters
    ----------
    page
        The page of checks.
    one
        The experiment that the page is about, with its verdict and the tables behind it.
    meanings
        Factor -> the variables that load on it.
    """
    experiment, evidence = one.experiment, one.evidence
    if not one.config["analyses"]["strata"]:
        return []  # the experiment's page says so
    names = factor_names(
        evidence.comparisons["factor"] if evidence.comparisons is not None else meanings, meanings
    )
    absent = "" if page.study.config["phenotypes"]["tables"] else "no phenotype table is configured"
    sections = [
        composition_section(page, experiment, evidence),
        existence_section(page, experiment, evidence),
        stability_section(page, experiment, evidence),
        differences_section(page, experiment, evidence, names, absent),
        halves_section(page, experiment, evidence, names, absent),
        continuous_section(page, experiment, meanings, absent),
    ]
    sections = [section for section in sections if section.blocks]
    if not sections:
        return []
    first = Section("partition", "Which clusters are checked")
    first.add(
        Text(
            f"The clusters of the verdict: {finder_name(evidence.finder)} on {evidence.codes} codes. {one.verdict.headline}"
        ),
        Text(DOUBLE_DIPPING, kind="note"),
    )
    return [first, *sections]
