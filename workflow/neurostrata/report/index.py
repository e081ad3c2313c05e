"""The main page of the report, made of its sections."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from neurostrata.core.files import atomic_path
from neurostrata.core.model_words import model_words
from neurostrata.core.tables import write_table
from neurostrata.core.wording import count
from neurostrata.report.data.evidence import Evidence, read_evidence
from neurostrata.report.data.finders import COLUMNS, VERDICT_COLUMNS, compare_finders, verdict_rows
from neurostrata.report.data.layout import Experiment
from neurostrata.report.data.results import StudyResults
from neurostrata.report.html.blocks import (
    Bullets,
    Section,
    Text,
    experiment_anchor,
    model_name,
    number_blocks,
)
from neurostrata.report.html.page import Page
from neurostrata.report.html.pages import write_page
from neurostrata.report.sections.agreement import agreement_section
from neurostrata.report.sections.closing import (
    methods_section,
    people_table,
    provenance_section,
    resources_section,
)
from neurostrata.report.sections.cohort import cohort_section
from neurostrata.report.sections.comparison import comparison_section
from neurostrata.report.sections.decoding import decoding_section
from neurostrata.report.sections.experiment_decoding import experiment_decoding
from neurostrata.report.sections.explain import explain_section
from neurostrata.report.sections.maps import volumes_section
from neurostrata.report.sections.models import models_section
from neurostrata.report.sections.paper_results import paper_results_section
from neurostrata.report.sections.phenotypes import factor_meanings, phenotypes_section
from neurostrata.report.sections.strata import strata_section
from neurostrata.report.sections.strata_maps import more_maps_section, strata_maps_section
from neurostrata.report.sections.template import template_section
from neurostrata.report.text.judge import decoding_caution, judge
from neurostrata.report.text.methods import experiment_text, methods_paragraphs, restructured_text
from neurostrata.report.text.verdict import EMBEDDING_NOTE, REPARTITION_NOTE, Verdict, overall


def experiment_verdict(
    study: StudyResults, experiment: Experiment, config: Mapping[str, Any], meanings: Mapping[str, str]
) -> tuple[Verdict, Evidence]:
    """Judge one experiment from its tables."""
    evidence = read_evidence(study, experiment)
    verdict = judge(
        experiment.name,
        evidence,
        experiment=config,
        alpha=study.alpha,
        level=f"{100 * float(study.strata_settings['comparisons']['confidence']):g}%",
        meanings=meanings,
        decoding=decoding_caution(study, experiment, config),
    )
    return verdict, evidence


def _describe(config: Mapping[str, Any]) -> str:
    words = []
    if config["model"]:
        words.append(model_name(config["model"]))
    if config["modalities"]:
        words.append(" + ".join(m.upper() for m in config["modalities"]))
    words += model_words(config, "options")
    return ", ".join(words)


def _flow(page: Page, experiment: Experiment, config: Mapping[str, Any]) -> Text | None:
    """Say how many people of the cohort reached each step of an experiment."""
    study = page.study
    people = study.subjects()
    splits = study.table(experiment.file("splits.tsv"), columns=["subject"])
    if splits is None:
        return None
    inside = set(splits["subject"].astype(str))
    text = f"{len(inside)} of {count(len(people), 'person', 'people')} of the cohort took part in this experiment"
    outside = [subject for subject in people if subject not in inside]
    if outside:
        text += (
            f"; {len(outside)} did not, because they lack one of its modalities or are excluded (see Cohort)"
        )
    scores = study.table(study.tree.phenotypes("scores.tsv"), columns=["subject"])
    evidence = read_evidence(study, experiment)
    if scores is not None and evidence.clusters is not None:
        scored = set(scores.loc[scores.drop(columns="subject").notna().any(axis=1), "subject"].astype(str))
        inside = set(evidence.clusters["subject"].astype(str)) - set(evidence.outside())
        both = len(inside & scored)
        text += f"; {both} of the {len(inside)} people in clusters have phenotype scores and enter the comparisons"
    return Text(text + ".", sources=page.sources(experiment.file("splits.tsv")))


def _experiment_section(
    page: Page,
    experiment: Experiment,
    config: Mapping[str, Any],
    verdict: Verdict,
    evidence: Evidence,
    meanings: Mapping[str, str],
) -> Section:
    key = experiment_anchor(experiment.name)
    section = Section(key, f"Experiment {experiment.name}")
    if config["model"]:
        section.add(Text(experiment_text(page.study.config, config)))
    if not experiment.folder.is_dir():
        page.study.note(f"Experiment {experiment.name}", f"experiments/{experiment.name}/ was not made")
        section.add(Text("This experiment is configured and was not run.", kind="note"))
        return section
    section.add(_flow(page, experiment, config))
    section.sections = [
        experiment_decoding(page, experiment, config),
        *(
            part
            for make in (models_section, explain_section)
            if (part := make(page, experiment, config)).blocks
        ),
        strata_maps_section(page, experiment, config, verdict, evidence),
        strata_section(page, experiment, config, verdict, evidence, meanings),
        more_maps_section(page, experiment, config, verdict),
    ]
    return section


def write_index(study: StudyResults, output: Path, benchmarks: Path | None = None) -> None:
    """Write ``index.html``, its figures in the folder ``figures/``, and with many people ``people.html``.

    Parameters
    ----------
    study
        What to report.
    output
        The HTML file.
    benchmarks
        Snakemake's benchmark files.
    """
    output = output.resolve()
    figures = output.parent / "figures"
    # Figures of an earlier run that this one does not draw would stay.
    shutil.rmtree(figures, ignore_errors=True)
    for old in output.parent.glob("strata-*.html"):
        old.unlink()
    page = Page(study, output, figures)
    meanings = factor_meanings(study)
    experiments = study.experiments()
    judged = [experiment_verdict(study, e, c, meanings) for e, c in experiments]
    verdicts = [verdict for verdict, _ in judged]
    _write_files(page, [experiment for experiment, _ in experiments], verdicts)
    sections = [
        cohort_section(page),
        template_section(page),
        volumes_section(page),
        phenotypes_section(page),
        decoding_section(page),
        comparison_section(page),
        agreement_section(page),
        *(_experiment_section(page, e, c, v, i, meanings) for (e, c), (v, i) in zip(experiments, judged)),
    ]
    sections.append(paper_results_section(page, sections))
    if not experiments:
        study.note("Experiments", "none is configured and none was found under experiments/")
    people = Section("people", "People")
    _people(page, people)
    resources = resources_section(page, benchmarks)
    sections += [people, methods_section(page), resources, provenance_section(page)]
    missing = Section("missing", "Not run or missing")
    if study.missing:
        missing.add(Bullets([(line.what, line.why) for line in study.missing]))
    else:
        missing.add(Text("Nothing: every part of the report was made."))
    sections.insert(sections.index(people) + 1, missing)
    sections = [section for section in sections if section.blocks or section.sections]
    number_blocks(sections)
    write_page(
        output,
        "index.html.j2",
        {
            "title": study.config["report"]["title"],
            "description": study.config["report"]["description"],
            "facts": _facts(study),
            "overall": overall(verdicts),
            "verdicts": [
                {
                    **asdict(verdict),
                    "colour": verdict.colour,
                    "label": verdict.label,
                    "key": experiment_anchor(verdict.name),
                    "what": _describe(config),
                    "sources": page.sources(
                        experiment.strata("existence.tsv"),
                        experiment.strata("stability.tsv"),
                        experiment.strata("comparisons.tsv"),
                        experiment.strata("comparisons_adjusted.tsv"),
                        experiment.strata("composition_tests.tsv"),
                        experiment.continuous,
                    ),
                }
                for verdict, (experiment, config) in zip(verdicts, experiments)
            ],
            "after_verdict": _after_verdict(study, verdicts),
            "sections": sections,
        },
    )


def _write_files(page: Page, experiments: list[Experiment], verdicts: list[Verdict]) -> None:
    """Write the verdicts and the comparison of the finders as tables, and the methods for Snakemake's own report."""
    folder = page.path.parent
    with atomic_path(folder / "methods.rst", record=False) as temporary:
        temporary.write_text(restructured_text(methods_paragraphs(page.study.config)), encoding="utf-8")
    finders = compare_finders(page.study, experiments)
    if len(finders):
        write_table(
            folder / "strata_finders.tsv",
            finders,
            COLUMNS,
            Description="Every finder on every kind of codes.",
        )
    if verdicts:
        write_table(
            folder / "verdicts.tsv",
            verdict_rows(verdicts),
            VERDICT_COLUMNS,
            Description="What was found, by the rules in docs/trust.md.",
        )


def _after_verdict(study: StudyResults, verdicts: list[Verdict]) -> list[Text]:
    blocks = []
    if any(verdict.tested for verdict in verdicts):
        blocks.append(Text(f"How to read this: {REPARTITION_NOTE} {EMBEDDING_NOTE}", kind="note"))
    if study.missing:
        one = len(study.missing) == 1
        what = "piece is missing or was" if one else "pieces are missing or were"
        blocks.append(
            Text(
                f"{len(study.missing)} {what} not run; see “Not run or missing” below.",
                kind="note",
            )
        )
    return blocks


def _facts(study: StudyResults) -> str:
    people = len(study.subjects())
    parts = [count(people, "person", "people") if people else "no cohort table"]
    parts.append(count(len(study.experiments()), "experiment"))
    record = study.json(study.tree.provenance)
    if record:  # a partial study has none yet
        commit = record["code"]["commit"] if record["code"] else ""  # null without git
        parts.append(f"neurostrata {record['neurostrata']}{f' ({commit[:10]})' if commit else ''}")
    parts.append(f"seed {study.config['seed']}")
    return " · ".join(parts)


def _people(page: Page, section: Section) -> None:
    study = page.study
    limit = int(study.config["report"]["people_in_index"])
    if len(study.subjects()) <= limit:
        section.add(people_table(page))
        return
    other = Page(study, page.path.with_name("people.html"), page.figures)
    table = people_table(other)
    if table is None:
        return
    write_page(
        other.path,
        "page.html.j2",
        {
            "title": "People",
            "sections": [],
            "blocks_first": [table],
            "back": page.path.name,
            "back_text": "Report",
        },
    )
    section.add(
        Text(
            f"The table of the {len(study.subjects())} people, with links to their pages, is on a separate page.",
            sources=page.sources(other.path),
            lead="see",
        )
    )
