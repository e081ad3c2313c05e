"""The sections of one experiment: how well its model decodes, what it looks at, its strata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from neurostrata.core.wording import count
from neurostrata.report.data.flow import experiment_steps
from neurostrata.report.html.blocks import Section, Text, experiment_anchor
from neurostrata.report.html.page import Page
from neurostrata.report.judged import Judged
from neurostrata.report.sections.experiment_decoding import experiment_decoding
from neurostrata.report.sections.explain import explain_section
from neurostrata.report.sections.models import models_section
from neurostrata.report.sections.strata import strata_section
from neurostrata.report.sections.strata_maps import more_maps_section, strata_maps_section
from neurostrata.report.sections.verdicts import verdict_card
from neurostrata.report.text.methods import experiment_text
from neurostrata.report.text.supplement import steps_text


def experiment_section(
    page: Page, one: Judged, meanings: Mapping[str, str], checks: Sequence[str] = ()
) -> Section:
    """Return what is said of one experiment.

    Parameters
    ----------
    page
        The experiment's page.
    one
        The experiment with its verdict.
    meanings
        Factor -> what it is.
    checks
        Titles of the sections on the page with the checks of its clusters; none where there is no such page.
    """
    experiment, config = one.experiment, one.config
    section = Section(experiment_anchor(one.name), f"Experiment {one.name}")
    section.add(verdict_card(page, one))
    if config["model"]:
        section.add(Text(experiment_text(page.study.config, config)))
    if not experiment.folder.is_dir():
        page.study.note(f"Experiment {one.name}", f"experiments/{one.name}/ was not made")
        section.add(Text("This experiment is configured and was not run.", kind="note"))
        return section
    section.add(_flow(page, one))
    section.sections = [
        part
        for part in (
            strata_maps_section(page, experiment, config, one.verdict, one.evidence),
            strata_section(page, experiment, config, one.verdict, one.evidence, meanings, checks),
            experiment_decoding(page, experiment, config),
            models_section(page, experiment, config),
            explain_section(page, experiment, config),
            more_maps_section(page, experiment, config, one.verdict),
        )
        if part.blocks or part.sections
    ]
    return section


def _flow(page: Page, one: Judged) -> Text | None:
    """Say how many people of the cohort reached each step of an experiment."""
    study = page.study
    steps = experiment_steps(study, one.experiment, one.config["modalities"])
    if not steps:
        return None
    return Text(
        f"Of {count(len(study.subjects()), 'person', 'people')} of the cohort: {steps_text(steps)}.",
        sources=page.sources(one.experiment.file("splits.tsv"), study.tree.exclusions),
    )
