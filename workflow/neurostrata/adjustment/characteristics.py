"""What is known of people beside images and phenotypes, and codes freed of it before they are clustered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.adjustment.codes import Adjustment
from neurostrata.cohort.sheet import USUAL_NAMES
from neurostrata.core.embeddings import PARTS, Embeddings, read_embeddings, read_parts
from neurostrata.core.errors import UserError
from neurostrata.core.files import read_json, settings_record, sha256_file, sidecar_path
from neurostrata.core.people import require_people
from neurostrata.core.tables import read_table, write_table
from neurostrata.phenotypes.covariates import ALWAYS_WORDS, find_columns
from neurostrata.phenotypes.tables import join_tables, read_phenotypes

#: Column -> key in the sidecar of a person's affine, and what it holds.
MEASURES = {
    "head_size": (
        "AffineDeterminant",
        "volume of the head relative to the template's: determinant of the affine from template to person",
    ),
    "image_quality": (
        "SimilarityToTemplate",
        "correlation of the registered T1w image with the template inside the brain",
    ),
}
#: What `strata.adjust.columns: auto` takes, as far as the study has it and people: in this order, one column for every
#: :data:`PEOPLE_PER_COLUMN` of them, as each column that is taken out takes some of what is sought along.
AUTOMATIC = ("age", "sex", "head_size")
PEOPLE_PER_COLUMN = 20
#: Columns that are text even where they look like numbers.
WORDS = ("subject", *ALWAYS_WORDS)


def usual_column(measure: str, tables: Sequence[tuple[str, pd.DataFrame]]) -> tuple[str, pd.Series] | None:
    """Return the name of the table and the column that has a measure under one of its usual names, or None.

    Parameters
    ----------
    measure
        ``age`` or ``sex``.
    tables
        Name and table, indexed by subject, in order of precedence: the first that has it is taken.

    Raises
    ------
    UserError
        When one table has the measure under two names.
    """
    for name, table in tables:
        found = [c for c in table if str(c).lower() in USUAL_NAMES[measure] and table[c].notna().any()]
        if len(found) > 1:
            raise UserError(
                f"{name}: columns {' and '.join(map(repr, found))} both look like {measure}; name those to use in "
                "strata.adjust.columns"
            )
        if found:
            return name, table[found[0]]
    return None


def describe_people(
    *,
    people: Path,
    tables: list[Path],
    registered: Path,
    pattern: str,
    output: Path,
    settings: dict[str, Any],
) -> None:
    """Gather what is known of everybody: family, site, diagnosis, age, sex, head size, image quality.

    Parameters
    ----------
    people
        Subject, and the columns of the cohort sheet that describe people.
    tables
        The phenotype tables, for what the sheet lacks.
    registered
        Table with the subjects who were registered to the template.
    pattern
        Path of a person's affine, with ``{subject}``; its sidecar has the determinant and the similarity.
    output
        Table to write: subject, family, site, diagnosis, age, sex, head_size, image_quality and every further
        column of ``adjust``.
    settings
        ``adjust`` of the section `strata`, and ``id_column`` of the phenotype tables.
    """
    sheet = read_table(people, text=WORDS).set_index("subject")
    id_column = settings["id_column"]
    frames = [(str(path), read_phenotypes(path, id_column, ALWAYS_WORDS)) for path in tables]
    adjust = settings["adjust"]
    named = [] if adjust["columns"] == "auto" else [c for c in adjust["columns"] if c not in MEASURES]
    named += [adjust["sites"]] if adjust["sites"] else []
    usual = {name for measure in ("age", "sex") for name in USUAL_NAMES[measure]}
    of_tables = []
    for name, frame in frames:
        wanted = [c for c in frame if c in named or str(c).lower() in usual]
        if wanted:
            of_tables.append(
                (name, join_tables([(name, frame)], list(sheet.index), wanted, id_column).values)
            )
    sources = [(str(people), sheet), *of_tables]
    table = pd.DataFrame(index=sheet.index)
    about = {"subject": "person"}
    for column in ("family", "site", "diagnosis"):
        table[column], about[column] = sheet[column], f"{column}, of the cohort sheet"
    for measure in ("age", "sex"):
        known = usual_column(measure, sources)
        if known is not None:
            table[measure], about[measure] = known[1], f"column {known[1].name} of {Path(known[0]).name}"
    affines = {s: Path(pattern.replace("{subject}", s)) for s in read_table(registered)["subject"]}
    facts = {s: read_json(sidecar_path(path)) for s, path in affines.items() if s in table.index}
    for measure, (key, meaning) in MEASURES.items():
        table[measure] = pd.Series({s: facts[s].get(key) for s in facts}, dtype=float).reindex(table.index)
        about[measure] = meaning
    rest = [name for name in dict.fromkeys(named) if name not in table]
    if rest:
        found = find_columns(rest, [frame for _, frame in sources], "strata.adjust")
        table = table.join(found)
        about |= dict.fromkeys(rest, "as in the cohort sheet or the phenotype tables")
    write_table(
        output,
        table.reset_index(),
        about,
        Description="What is known of people beside their images and phenotypes.",
        inputs={str(path): sha256_file(path) for path in (people, *tables)},
        settings=settings_record(settings),
    )


def adjusting(columns: str | Sequence[str], people: pd.DataFrame) -> list[str]:
    """Return the columns that codes are adjusted by; ``auto`` takes what varies of :data:`AUTOMATIC`."""
    if columns != "auto":
        return list(columns)
    known = [c for c in AUTOMATIC if c in people and people[c].nunique() > 1]
    return known[: max(1, len(people) // PEOPLE_PER_COLUMN)]


def free_of_covariates(
    codes: Embeddings, people: pd.DataFrame, adjust: Mapping[str, Any]
) -> tuple[Embeddings, pd.DataFrame]:
    """Take covariates and sites out of codes; the effects are learned from all of these people.

    Parameters
    ----------
    codes
        Of everybody who is clustered.
    people
        Index: subjects; what is known of them.
    adjust
        ``columns``, ``sites``, ``splines``.

    Returns
    -------
    codes : Embeddings
        Without those who lack a covariate or site.
    left_out : DataFrame
        subject, reason.

    Raises
    ------
    UserError
        When a column is not known, or fewer than 3 people are left.
    """
    table = people.reindex(codes.subjects)
    sites, columns = adjust["sites"], adjusting(adjust["columns"], table)
    nobody = pd.DataFrame(columns=["subject", "reason"])
    if not (columns or sites):
        return codes, nobody
    used = find_columns([*columns, *([sites] if sites else [])], [table], "strata.adjust.columns")
    adjustment = Adjustment(used, sites, (), tuple(columns), adjust["splines"])
    everybody = Embeddings(codes.subjects, codes.values, codes.table.assign(role="train"))
    try:
        adjusted, left_out = adjustment.apply(everybody)
    except UserError as error:
        raise UserError(f"strata.adjust: {error}") from error
    if len(adjusted.subjects) < 3:
        raise UserError(
            f"strata.adjust: only {len(adjusted.subjects)} of {len(codes.subjects)} people have every one of "
            f"{', '.join(columns)}; take columns off the list"
        )
    return adjusted, left_out[["subject", "reason"]]


def adjust_codes(*, embeddings: Path, people: Path, output: Path, settings: dict[str, Any]) -> None:
    """Take covariates and sites out of everybody's codes.

    Clusters are of the people at hand, so the effects are learned from all of them. Who lacks a covariate is left out
    and listed in the sidecar.

    Parameters
    ----------
    embeddings
        Codes of everybody.
    people
        Table of :func:`describe_people`.
    output
        Codes to write, in the same form.
    settings
        ``adjust`` of the section `strata`.
    """
    codes = read_embeddings(embeddings).complete()
    adjust = settings["adjust"]
    described = read_table(people, text=WORDS).set_index("subject")
    require_people(people, described.index, codes.subjects, embeddings)
    adjusted, left_out = free_of_covariates(codes, described, adjust)
    dimensions = [f"z{number + 1:04d}" for number in range(adjusted.values.shape[1])]
    frame = pd.DataFrame(adjusted.values, columns=dimensions)
    frame.insert(0, "subject", adjusted.subjects)
    removed = _share_removed(codes, adjusted)
    parts = read_parts(embeddings)
    write_table(
        output,
        frame,
        {"subject": "person", dimensions[0]: "first number of the code, covariates and sites taken out"},
        Removed=adjusting(adjust["columns"], described.reindex(codes.subjects)),
        Sites=adjust["sites"],
        Splines=adjust["splines"],
        VarianceRemoved=removed,
        **({} if parts is None else {PARTS: parts}),
        LeftOut=left_out.to_dict("records"),
        LearnedFrom="everybody whose codes are clustered",
        inputs={str(path): sha256_file(path) for path in (embeddings, people)},
        settings=settings_record(settings),
    )


def _share_removed(codes: Embeddings, adjusted: Embeddings) -> float:
    """Return the share of the codes' variance that was taken out."""
    place = {subject: row for row, subject in enumerate(codes.subjects)}
    before = codes.values[[place[subject] for subject in adjusted.subjects]]
    total = float(before.var(axis=0).sum())
    return float(1 - adjusted.values.var(axis=0).sum() / total) if total > 0 else float(np.nan)
