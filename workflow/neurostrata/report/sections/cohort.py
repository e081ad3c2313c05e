"""Sections on the people, the template and the maps."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd

from neurostrata.cohort.study import people_key
from neurostrata.core.config import expand_modalities
from neurostrata.core.errors import UserError
from neurostrata.core.wording import count
from neurostrata.phenotypes.tables import read_phenotypes
from neurostrata.report.data.demographics import availability, demographics_table, keyed
from neurostrata.report.data.flow import study_flow
from neurostrata.report.data.results import is_yes
from neurostrata.report.html.blocks import Figure, Section, Table, Text, frame_table
from neurostrata.report.html.page import Page
from neurostrata.report.sections.maps import volumes_described
from neurostrata.report.text.methods import is_clustered


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
                people[modality] = set(cohort.loc[is_yes(cohort[modality]), "subject"].astype(str))
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
    """Return the section on who was studied, who was excluded and why, and who has which modality."""
    study, tree = page.study, page.study.tree
    section = Section("cohort", "Cohort")
    cohort = study.table(tree.subjects, "The list of people", ["subject"])
    exclusions = study.table(tree.exclusions, columns=["subject", "modality", "stage", "reason"])
    if cohort is None:
        return section
    section.add(
        _participants(page, exclusions),
        _flow(page),
        origins_table(page, study.subjects()),
        _demographics(page, cohort),
        *(_people_by(page, cohort, column) for column in ("site", "diagnosis")),
        _relatives(page, cohort),
        *_availability(page),
        _exclusions(page, exclusions),
    )
    return section


def _participants(page: Page, exclusions: pd.DataFrame | None) -> Text:
    people, excluded = len(page.study.subjects()), 0
    if exclusions is not None:
        whole = exclusions[(exclusions["stage"] != "template") & (exclusions["modality"] == "all")]
        excluded = int(whole["subject"].nunique())
    text = f"{count(people, 'person', 'people')} took part"
    if excluded:
        text += f"; {count(excluded, 'person was', 'people were')} excluded entirely, for the reasons below"
    return Text(text + ".", sources=page.sources(page.study.tree.subjects))


def _flow(page: Page) -> Figure | None:
    """Return the flow chart of the people."""
    from neurostrata.report.figures.flow import flow_figure
    from neurostrata.report.text.supplement import participants_text

    flow = study_flow(page.study)
    if flow is None:
        return None
    return page.figure(
        partial(flow_figure, flow),
        "cohort/flow.svg",
        "People at each step",
        "From those found to those whose phenotypes were compared; right of each arrow: who left there, and why.",
        page.study.tree.subjects,
        page.study.tree.exclusions,
        alt=f"Flow chart. {participants_text(flow)}",
    )


def _demographics(page: Page, cohort: pd.DataFrame) -> Table | None:
    study = page.study
    tables = [cohort.set_index("subject"), *phenotype_tables(page)]
    table = demographics_table(study.subjects(), tables, study.config["report"]["demographics"])
    if table is None:
        why = "no column for age, sex, handedness or body mass index was found"
        study.note("Demographics (Table 1)", why)
        return None
    return frame_table(
        table,
        "Demographics",
        names={"group": "", "n": "n"},
        caption='Median ± standard deviation, as in Table 1 of Dimitri et al. 2022. "(of k)": known for k people only.',
        sources=page.sources(study.tree.subjects, *map(Path, study.config["phenotypes"]["tables"])),
    )


def _people_by(page: Page, cohort: pd.DataFrame, column: str) -> Table | None:
    if column not in cohort or cohort[column].nunique() < 2:
        return None
    counts = cohort[column].fillna("not given").value_counts().rename_axis(column).reset_index(name="people")
    return frame_table(
        counts,
        f"People by {column}",
        sources=page.sources(page.study.tree.subjects),
        folded=len(counts) > 15,
    )


def _relatives(page: Page, cohort: pd.DataFrame) -> Text | None:
    if "family" not in cohort or not cohort["family"].notna().any():
        return None
    families = cohort["family"].dropna().value_counts()
    related = int(families[families > 1].sum())
    sources = page.sources(page.study.tree.subjects)
    if not related:
        return Text("No two people of the cohort are of one family.", sources=sources)
    config, repartition = page.study.config, page.study.strata_settings["repartition"]
    groups = ""
    if is_clustered(config) and config["phenotypes"]["tables"]:
        exchanged = repartition["families"] and not repartition["with_replacement"]
        groups = (
            ", and random groups exchange whole families"
            if exchanged
            else "; random groups take people as independent (strata: repartition)"
        )
    return Text(
        f"{count(related, 'person has', 'people have')} relatives in the cohort "
        f"({count(int((families > 1).sum()), 'family', 'families')} of two or more). Families stay together in the folds{groups}.",
        sources=sources,
    )


def _availability(page: Page) -> list[Table]:
    having = modality_people(page)
    if not having:
        return []
    tree = page.study.tree
    per_modality, per_person = availability(page.study.subjects(), having)
    tables = [
        frame_table(
            per_modality,
            "People by modality",
            names={"modality": "Modality", "people": "People with the map", "lacking": "People without"},
            sources=page.sources(tree.subjects, *tree.volumes()),
        )
    ]
    if len(per_person) > 1 or len(having) > 1:
        tables.append(
            frame_table(
                per_person,
                "How many modalities each person has",
                names={"modalities": f"Modalities (of {len(having)})", "people": "People"},
                sources=page.sources(tree.subjects, *tree.volumes()),
            )
        )
    return tables


def _exclusions(page: Page, exclusions: pd.DataFrame | None) -> Table | Text | None:
    path = page.study.tree.exclusions
    if exclusions is not None:
        return frame_table(
            exclusions.fillna(""),
            "Exclusions",
            names={"modality": "What", "stage": "From", "reason": "Reason", "subject": "Subject"},
            formats=dict.fromkeys(exclusions.columns, str),
            caption="Everybody and everything that was excluded, with the reason.",
            sources=page.sources(path),
            folded=len(exclusions) > 25,
        )
    if path.is_file():
        return Text("Nobody and nothing was excluded.", sources=page.sources(path))
    return None


def origins_table(page: Page, subjects: list[str]) -> Table | None:
    """Return how many images come from which dataset and why; None for a study with a sheet."""
    study, tree = page.study, page.study.tree
    if people_key(study.config["cohort"]) == "sheet" or not tree.sources.is_file():
        return None  # the table of an earlier search does not describe a sheet
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
