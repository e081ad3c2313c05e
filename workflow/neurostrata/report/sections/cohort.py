"""Sections on the people, the template and the maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from neurostrata.core.config import expand_modalities
from neurostrata.core.errors import UserError
from neurostrata.phenotypes.tables import read_phenotypes
from neurostrata.report.data.demographics import availability, demographics_table, keyed
from neurostrata.report.html.blocks import Section, Text, count, frame_table
from neurostrata.report.html.page import Page
from neurostrata.report.sections.maps import volumes_described


def modality_people(page: Page) -> dict[str, set[str]]:
    """Return modality -> people whose map is in its array, from ``volumes/*.json``.

    Before the volumes are made: from the yes/no columns of ``cohort/subjects.tsv``.
    """
    study = page.study
    people = {path.stem: set(info["subjects"]) for path, info in volumes_described(study).items()}
    cohort = study.table(study.tree.subjects)
    if cohort is not None:
        for modality in expand_modalities(study.config["modalities"]):
            if modality not in people and modality in cohort:
                people[modality] = {
                    str(s)
                    for s, yes in zip(cohort["subject"], cohort[modality])
                    if str(yes).lower() in ("yes", "true", "1")
                }
    return people


def phenotype_tables(page: Page) -> list[pd.DataFrame]:
    """Return the phenotype tables of the configuration that can be read, indexed by subject."""
    tables = []
    phenotypes = page.study.config["phenotypes"]
    for name in phenotypes["tables"]:
        try:
            table = keyed(read_phenotypes(name, phenotypes["id_column"]), phenotypes["id_column"])
        except UserError as error:
            page.study.note("Demographics from the phenotype tables", str(error))
            continue
        if table is not None:
            tables.append(table)
    return tables


def cohort_section(page: Page) -> Section:
    """Who was studied, who was left out and why, who has what."""
    study, tree = page.study, page.study.tree
    section = Section("cohort", "Cohort")
    cohort = study.table(tree.subjects, "The list of people", ["subject"])
    exclusions = study.table(tree.exclusions, columns=["subject", "modality", "stage", "reason"])
    if cohort is None:
        return section
    subjects = study.subjects()
    n_out = 0
    if exclusions is not None:
        whole = exclusions[(exclusions["stage"] != "template") & (exclusions["modality"] == "all")]
        n_out = int(whole["subject"].nunique())
    text = f"{count(len(subjects), 'person', 'people')} took part"
    if n_out:
        text += (
            f"; {count(n_out, 'person was', 'people were')} excluded altogether, with the reasons given below"
        )
    section.add(Text(text + ".", sources=page.sources(tree.subjects)))

    origins = origins_table(page, subjects)
    if origins is not None:
        section.add(origins)
    tables = [*([cohort.set_index("subject")]), *phenotype_tables(page)]
    table1 = demographics_table(subjects, tables, study.config["report"]["demographics"])
    if table1 is None:
        study.note(
            "Demographics (Table 1)", "no column for age, sex, handedness or body mass index was found"
        )
    else:
        section.add(
            frame_table(
                table1,
                "Demographics",
                names={"group": "", "n": "n"},
                caption='Median ± standard deviation, as in Table 1 of Dimitri et al. 2022. "(of k)": known for k people only.',
                sources=page.sources(tree.subjects, *(Path(t) for t in study.config["phenotypes"]["tables"])),
            )
        )
    for column in ("site", "diagnosis"):
        if column in cohort and cohort[column].nunique() > 1:
            counts = (
                cohort[column]
                .fillna("not given")
                .value_counts()
                .rename_axis(column)
                .reset_index(name="people")
            )
            section.add(
                frame_table(
                    counts,
                    f"People by {column}",
                    sources=page.sources(tree.subjects),
                    folded=len(counts) > 15,
                )
            )
    if "family" in cohort and cohort["family"].notna().any():
        families = cohort["family"].dropna().value_counts()
        related = int(families[families > 1].sum())
        section.add(
            Text(
                f"{count(related, 'person has', 'people have')} relatives in the cohort "
                f"({count(int((families > 1).sum()), 'family', 'families')} of two or more). Families stay together in the "
                "folds, and are exchanged as wholes in the random repartition."
            )
        )
    having = modality_people(page)
    if having:
        per_modality, per_person = availability(subjects, having)
        section.add(
            frame_table(
                per_modality,
                "People by modality",
                names={"modality": "Modality", "people": "People with the map", "lacking": "People without"},
                sources=page.sources(tree.subjects, *tree.volumes()),
            )
        )
        if len(per_person) > 1 or len(having) > 1:
            section.add(
                frame_table(
                    per_person,
                    "How many modalities each person has",
                    names={"modalities": f"Modalities (of {len(having)})", "people": "People"},
                    sources=page.sources(tree.subjects, *tree.volumes()),
                )
            )
    if exclusions is not None:
        section.add(
            frame_table(
                exclusions.fillna(""),
                "Exclusions",
                names={"modality": "What", "stage": "From", "reason": "Reason", "subject": "Subject"},
                formats=dict.fromkeys(exclusions.columns, str),
                caption="Everybody and everything left out, with the reason.",
                sources=page.sources(tree.exclusions),
                folded=len(exclusions) > 25,
            )
        )
    elif tree.exclusions.is_file():
        section.add(Text("Nobody and nothing was excluded.", sources=page.sources(tree.exclusions)))
    return section


def origins_table(page: Page, subjects: list[str]) -> Any | None:
    """Return how many images come from which dataset and why; None for a study with a sheet."""
    study, tree = page.study, page.study.tree
    if study.config["cohort"]["sheet"] or not tree.sources.is_file():
        return None  # a table of an earlier search says nothing about a sheet
    columns = ["subject", "column", "dataset", "why"]
    origins = study.table(tree.sources, "Where the images come from", columns)
    if origins is None:
        return None
    mine = origins[origins["subject"].astype(str).isin(subjects)]
    counts = mine.groupby(columns[1:], sort=False)["subject"].nunique().rename("people").reset_index()
    return frame_table(
        counts,
        "Where the images come from",
        names={"column": "Image", "dataset": "Dataset", "why": "How it was chosen", "people": "People"},
        caption="Images that were searched for rather than listed in a sheet; each single file is in the table.",
        sources=page.sources(tree.sources),
        folded=len(counts) > 15,
    )
