"""The commands that gather people's characteristics and remove their effects from codes: files in, files out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neurostrata.adjustment.characteristics import gather_characteristics, read_characteristics
from neurostrata.adjustment.codes import adjusting, curves_removed, free_of_covariates, share_removed
from neurostrata.cohort.values import ALWAYS_WORDS
from neurostrata.core.embeddings import PARTS, embedding_frame, read_embeddings, read_parts
from neurostrata.core.files import read_json, settings_record, sha256_file, sidecar_path
from neurostrata.core.people import require_people
from neurostrata.core.tables import read_table, write_table
from neurostrata.phenotypes.tables import read_phenotypes


def describe_people(
    *,
    people: Path,
    tables: list[Path],
    registered: Path,
    pattern: str,
    output: Path,
    settings: dict[str, Any],
) -> None:
    """Gather everybody's family, site, diagnosis, age, sex, head size and image quality.

    Parameters
    ----------
    people
        Table with `subject` and the columns of the cohort sheet that describe people.
    tables
        The phenotype tables, for columns that the sheet lacks.
    registered
        Table of the subjects who were registered to the template.
    pattern
        Path of a person's affine, with ``{subject}``; its sidecar has the determinant and the similarity.
    output
        Table to write: subject, family, site, diagnosis, age, sex, head_size, image_quality and every further
        column of ``adjust``.
    settings
        ``adjust`` of the section `strata`, and ``id_column`` of the phenotype tables.
    """
    sheet = read_characteristics(people)
    id_column = settings["id_column"]
    frames = [(str(path), read_phenotypes(path, id_column, ALWAYS_WORDS)) for path in tables]
    affines = {s: Path(pattern.replace("{subject}", s)) for s in read_table(registered)["subject"]}
    registrations = {s: read_json(sidecar_path(path)) for s, path in affines.items() if s in sheet.index}
    table, columns = gather_characteristics(
        (str(people), sheet), frames, registrations, settings["adjust"], id_column
    )
    write_table(
        output,
        table.reset_index(),
        columns,
        Description="What is known of people beside their images and phenotypes.",
        inputs={str(path): sha256_file(path) for path in (people, *tables)},
        settings=settings_record(settings),
    )


def adjust_codes(*, embeddings: Path, people: Path, output: Path, settings: dict[str, Any]) -> None:
    """Remove the effects of covariates and sites from everybody's codes.

    All of these people are clustered, so the effects are learned from all of them. People who lack a covariate are left out
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
    described = read_characteristics(people)
    require_people(people, described.index, codes.subjects, embeddings)
    adjusted, left_out = free_of_covariates(codes, described, adjust)
    removed = adjusting(adjust["columns"], described.reindex(codes.subjects))
    # of `auto`, other columns may be known of most of those who are left
    curves = curves_removed({**adjust, "columns": removed}, described.reindex(adjusted.subjects))
    frame = embedding_frame(adjusted.values)
    first = frame.columns[0]
    frame.insert(0, "subject", adjusted.subjects)
    parts = read_parts(embeddings)
    write_table(
        output,
        frame,
        {"subject": "person", first: "first number of the code, covariates and sites taken out"},
        Removed=removed,
        Sites=adjust["sites"],
        Splines=curves or 1,
        VarianceRemoved=share_removed(codes, adjusted),
        **({} if parts is None else {PARTS: parts}),
        LeftOut=left_out.to_dict("records"),
        LearnedFrom="everybody whose codes are clustered",
        inputs={str(path): sha256_file(path) for path in (embeddings, people)},
        settings=settings_record(settings),
    )
