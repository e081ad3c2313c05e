"""The commands that reduce phenotypes to factors and test how stable these are: files in, files out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from neurostrata.core.errors import UserError
from neurostrata.core.families import families_of
from neurostrata.core.files import read_json, settings_record, sha256_file, write_json
from neurostrata.core.locations import RESOURCES
from neurostrata.core.people import require_people
from neurostrata.core.tables import read_table, write_table
from neurostrata.phenotypes.analysis import analyse_phenotypes, factor_meanings
from neurostrata.phenotypes.congruence import COLUMNS as COLUMNS_OF_CONGRUENCE
from neurostrata.phenotypes.congruence import SPLITS, congruence_table, half_congruence
from neurostrata.phenotypes.descriptives import COLUMNS
from neurostrata.phenotypes.model import PhenotypeModel, code_variables
from neurostrata.phenotypes.reduction import EIGENVALUE_COLUMNS
from neurostrata.phenotypes.tables import join_tables, read_phenotypes


def read_preset(name: str) -> list[str]:
    """Return a named list of variables; ``dimitri2022``: the HCP columns of the paper's Fig. 6."""
    return list(read_table(RESOURCES / "hcp_phenotypes.tsv", text=("column",))["column"])


def factor_phenotypes(
    *,
    tables: list[Path],
    subjects: Path,
    eigenvalues: Path,
    loadings: Path,
    scores: Path,
    descriptives: Path,
    model: Path,
    settings: dict[str, Any],
) -> None:
    """Join the phenotype tables of the cohort and reduce them to factor scores.

    Parameters
    ----------
    tables
        TSV or CSV files, one row per person.
    subjects
        The cohort's people (TSV with a column `subject`).
    eigenvalues, loadings, scores, descriptives, model
        The files to write; `scores` has a row for everybody, ``n/a`` for those without scores.
    settings
        Section `phenotypes` with `seed`.
    """
    if not tables:
        raise UserError("phenotypes: tables is empty; name at least one TSV or CSV file")
    id_column = settings["id_column"]
    frames = [(str(path), read_phenotypes(path, id_column, coding=settings["coding"])) for path in tables]
    people = list(read_table(subjects)["subject"])
    variables = settings["variables"]
    presets = {variables: read_preset(variables)} if isinstance(variables, str) and variables != "all" else {}
    result = analyse_phenotypes(frames, people, settings, presets)
    for warning in result.facts["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    facts = {
        **result.facts,
        "settings": settings_record(settings),
        "inputs": {str(path): sha256_file(path) for path in tables},
    }
    meanings = factor_meanings(result.loadings)
    write_table(eigenvalues, result.eigenvalues, EIGENVALUE_COLUMNS, **facts)
    write_table(loadings, result.loadings, {"variable": "name of the variable", **meanings}, **facts)
    write_table(descriptives, result.descriptives, COLUMNS, **facts)
    write_table(
        scores,
        result.scores,
        {
            "subject": "person",
            **{factor: f"score (mean 0, sd 1): {text}" for factor, text in meanings.items()},
        },
        **facts,
    )
    write_json(model, {**result.model.to_dict(), "settings": settings_record(settings)})


def factor_congruence(
    *,
    tables: list[Path],
    families: Path,
    model: Path,
    loadings: Path,
    scores: Path,
    output: Path,
    settings: dict[str, Any],
) -> None:
    """Measure how well the factors replicate in halves of the people (Tucker's congruence).

    Parameters
    ----------
    tables
        The phenotype tables.
    families
        Table with `subject` and, where there are relatives, `family`: they are never divided.
    model, loadings, scores
        Results of the whole cohort; the people who have scores are divided, and their gaps filled in the same way.
    output
        Table to write; it has no rows when variables are used as they are.
    settings
        ``id_column``, ``rotation``, ``seed``.
    """
    learned = PhenotypeModel.from_dict(read_json(model))
    known = read_table(scores).set_index("subject").astype(float).dropna(how="all").index
    factors: list[str] = []
    found = np.zeros((SPLITS, 0))
    if learned.method != "variables":
        factors, id_column, variables = learned.factors, settings["id_column"], learned.variables
        frames = [
            (str(path), read_phenotypes(path, id_column, columns=variables, coding=learned.coding))
            for path in tables
        ]
        people = read_table(families, text=("subject", "family")).set_index("subject")
        require_people(families, people.index, known, scores)
        joined = join_tables(frames, list(known), variables, id_column).values
        values = learned.imputation.fill(code_variables(learned, joined).to_numpy(dtype=float))
        found = half_congruence(
            values,
            read_table(loadings, text=("variable",)).set_index("variable").to_numpy(dtype=float),
            families_of(people, known),
            SPLITS,
            settings["seed"],
            **settings["rotation"],
        )
    write_table(
        output,
        congruence_table(factors, found),
        COLUMNS_OF_CONGRUENCE,
        people=len(known),
        settings=settings_record(settings),
        inputs={str(path): sha256_file(path) for path in (*tables, families, model)},
    )
