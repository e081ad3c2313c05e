"""Sections on the people, the template and the maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.cohort.sources.registry import source_of
from neurostrata.core.config import expand_modalities
from neurostrata.core.errors import UserError
from neurostrata.phenotypes.tables import read_phenotypes
from neurostrata.report.data.demographics import availability, demographics_table, keyed
from neurostrata.report.data.study import Study
from neurostrata.report.figures.slices import try_volume
from neurostrata.report.html.blocks import (
    Section,
    Text,
    count,
    format_number,
    format_setting,
    frame_table,
    join_words,
)
from neurostrata.report.html.page import Page


def volumes_described(study: Study) -> dict[Path, dict[str, Any]]:
    """Return path -> content of the description of each modality's array, those that can be read."""
    return {path: info for path in study.tree.volumes() if (info := study.json(path))}


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


def template_section(page: Page) -> Section:
    """The study template: how it converged, what it looks like, whether it is unbiased."""
    from neurostrata.report.figures.images import convergence_figure, slice_rows

    study, tree = page.study, page.study.tree
    section = Section("template", "Template and registration")
    path = tree.template("convergence.tsv")
    table = study.table(path, "Template convergence", ["iteration"])
    if table is not None:
        section.add(*_unbiasedness(page, table, path))
    template, mask = try_volume(tree.template("template.nii.gz")), try_volume(tree.template("mask.nii.gz"))
    if template is None:
        study.note("Slices of the template", "template/template.nii.gz was not made or cannot be read")
    else:
        if mask is None:
            study.note("The template's mask", "template/mask.nii.gz was not made or cannot be read")
        voxel = " × ".join(format_number(zoom) for zoom in template.zooms)
        section.add(
            page.figure(
                slice_rows(template, outline=mask, per_plane=3, width=11.0),
                "template/template.png",
                "The study template" + (" and its mask" if mask is not None else ""),
                f"{' × '.join(str(n) for n in template.data.shape)} voxels of {voxel} mm. "
                + (
                    f"Orange: the brain mask ({_litres(mask.data, mask.zooms)} litres). "
                    if mask is not None
                    else ""
                )
                + "Left of the picture is the person's left.",
                tree.template("template.nii.gz"),
                tree.template("mask.nii.gz"),
            )
        )
    if table is not None:
        tolerance = study.config["template"]["tolerance"]
        limits = {"rms_mean_warp_vox": 0.5, "mean_log_jacobian": 0.01}
        if tolerance is not None:
            limits["rms_change"] = float(tolerance)
        shown = table.drop(columns=[c for c in ("people",) if c in table])
        if "skipped" in shown:
            shown = shown[~_truth(shown["skipped"])]
        drawing = convergence_figure(shown, study.column_meanings(path), limits)
        if drawing is not None:
            section.add(
                page.figure(
                    drawing,
                    "template/convergence.svg",
                    "Convergence of the template",
                    "Each measure over the iterations; dashed: the value it should stay within.",
                    path,
                )
            )
        section.add(
            frame_table(
                table,
                "Convergence of the template",
                caption="; ".join(f"{name}: {text}" for name, text in study.column_meanings(path).items()),
                sources=page.sources(path),
                folded=True,
            )
        )
    return section


def _truth(column: pd.Series) -> pd.Series:
    return column.astype(str).str.lower().isin(["true", "1", "yes", "1.0"])


def _litres(mask: np.ndarray, zooms: tuple[float, float, float]) -> str:
    return format_number(float((mask > 0).sum()) * float(np.prod(zooms)) / 1e6)


def _unbiasedness(page: Page, table: pd.DataFrame, path: Path) -> list[Any]:
    """Return the sentences on convergence and on shape, judged against their limits."""
    blocks: list[Any] = []
    measured = table[~_truth(table["skipped"])] if "skipped" in table else table
    measured = measured[measured["iteration"] > 0] if (measured["iteration"] > 0).any() else measured
    last = measured.iloc[-1]
    text = f"The template was rebuilt {count(int(last['iteration']), 'time')}"
    if "converged" in table:
        done = _truth(table["converged"])
        if done.any():
            text += f" and met the tolerance at iteration {int(table.loc[done.idxmax(), 'iteration'])}"
        elif page.study.config["template"]["tolerance"] is not None:
            text += " and did not meet the tolerance, so it may still have been changing"
    if "similarity" in last and pd.notna(last["similarity"]):
        text += f". The people's warped images correlate with it at {format_number(last['similarity'])} on average"
        if pd.notna(last["similarity_worst"]):
            text += f" ({format_number(last['similarity_worst'])} at worst)"
    blocks.append(Text(text + ".", sources=page.sources(path)))
    checks = []
    for column, limit, name in (
        ("mean_log_jacobian", 0.01, "the mean log Jacobian in the brain"),
        ("rms_mean_warp_vox", 0.5, "the root mean square of the mean warp (voxels)"),
    ):
        if column in last and pd.notna(last[column]):
            good = abs(float(last[column])) <= limit
            checks.append(
                (
                    good,
                    f"{name} is {format_number(last[column])} (limit {limit:g}{'' if good else ', exceeded'})",
                )
            )
    if checks:
        good = all(ok for ok, _ in checks)
        blocks.append(
            Text(
                f"Unbiased shape: {'yes' if good else 'not within the limits'}; "
                f"at the last update {join_words([text for _, text in checks])}.",
                kind="good" if good else "warning",
                sources=page.sources(path),
            )
        )
    return blocks


def volumes_section(page: Page) -> Section:
    """The maps that go into the models: grid and intensity limits."""
    study, tree = page.study, page.study.tree
    section = Section("maps", "Maps")
    rows = []
    declared = expand_modalities(study.config["modalities"])
    described = volumes_described(study)
    for path, info in described.items():
        rows.append(
            {
                "modality": path.stem,
                # the array of a modality that is no longer declared stays in the folder
                "measures": ", ".join(source_of(d).words(d)) if (d := declared.get(path.stem)) else "",
                "people": len(info["subjects"]),
                "low": float(info["limits"]["low"]),
                "high": float(info["limits"]["high"]),
            }
        )
    if not rows:
        study.note("Maps on the fusion grid", "volumes/ holds no array")
        return section
    first, info = next(iter(described.items()))
    percentiles = info["limits"]["percentiles"]
    shape = _array_shape(first.with_suffix(".npy"))
    grid = f"{' × '.join(str(n) for n in shape[1:])} voxels" if shape else "one grid"
    side = np.linalg.norm(np.asarray(info["affine"], float)[:3, :3], axis=0)
    grid += f" of {' × '.join(format_number(v) for v in side)} mm"
    section.add(
        Text(
            f"All maps of all people are on {grid} in the template's space, each interpolated once from its own space."
        ),
        frame_table(
            pd.DataFrame(rows),
            "Modalities and their intensity limits",
            names={
                "low": "0 stands for",
                "high": "1 stands for",
                "people": "People",
                "measures": "Made from",
            },
            caption=(
                f"The {join_words([format_setting(p) for p in percentiles])} percentiles over the mask of everybody. Experiments "
                "with limits: train scale by their training people's percentiles, in each fold's limits.json."
            ),
            sources=page.sources(*tree.volumes()),
        ),
    )
    return section


def _array_shape(path: Path) -> tuple[int, ...] | None:
    try:
        return tuple(np.load(path, mmap_mode="r").shape)
    except (OSError, ValueError):
        return None
