"""The commands that compare the quality of everybody's images, suggest whom to leave out, and compare raters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from neurostrata.adjustment.characteristics import read_characteristics
from neurostrata.core.embeddings import read_embeddings
from neurostrata.core.errors import UserError
from neurostrata.core.files import read_json, settings_record, sha256_file, sidecar_path
from neurostrata.core.tables import read_table, write_table
from neurostrata.imaging.quality.registry import Measure

#: Key of a sidecar with what each measure is.
MEASURED = "Measures"


def _described(measures: dict[str, Measure]) -> dict[str, dict[str, Any]]:
    return {name: dict(vars(measure)) for name, measure in measures.items()}


def _measures(path: Path) -> tuple[pd.DataFrame, dict[str, Measure]]:
    """Return a table of measures, by subject, and what they are."""
    table = read_table(path).set_index("subject").astype(float)
    known = read_json(sidecar_path(path))[MEASURED]
    return table, {name: Measure(**known[name]) for name in table}


def _refuse_unknown(section: dict[str, Any], measured: dict[str, Measure]) -> None:
    """Refuse names of the section `quality` that no measure has, here or elsewhere."""
    from neurostrata.core.wording import nearest
    from neurostrata.imaging.quality.registry import FAMILIES, MEASURES
    from neurostrata.quality.gather import DISTANCE, RECONSTRUCTION

    beginnings = tuple(f"{family}_" for family in (*FAMILIES, DISTANCE, RECONSTRUCTION))
    for key in ("leave_out", "limits"):
        for name in section[key]:
            # other modalities and experiments have measures of their own, which this run may be without
            if name not in measured and name not in MEASURES and not name.startswith(beginnings):
                known = nearest(name, {**MEASURES, **measured})
                raise UserError(
                    f"quality.{key}: there is no measure '{name}'{known} (docs/quality.md lists them)"
                )


def gather_quality(*, people: Path, pattern: str, output: Path, settings: dict[str, Any]) -> None:
    """Write the measures of everybody's images in one table.

    Parameters
    ----------
    people
        Table with `subject`.
    pattern
        Path of a person's measures, with ``{subject}``; people without images have none.
    output
        Table to write: `subject` and a column per measure.
    settings
        Nothing.
    """
    from neurostrata.quality.gather import gather_people, measures_of

    subjects = read_table(people)["subject"]
    paths = {subject: Path(pattern.replace("{subject}", subject)) for subject in subjects}
    table = gather_people({subject: path for subject, path in paths.items() if path.is_file()})
    measures = measures_of(table.columns)
    write_table(
        output,
        table.reset_index(),
        {"subject": "person", **{name: measure.words for name, measure in measures.items()}},
        Description="Quality of each person's images and of what was made of them.",
        **{MEASURED: _described(measures)},
    )


def measure_codes(
    *, reconstruction: Path, embeddings: list[Path], output: Path, settings: dict[str, Any]
) -> None:
    """Write how well an experiment's models decode each person held out from them, and how far the person's code lies.

    Parameters
    ----------
    reconstruction
        The experiment's ``reconstruction.tsv``.
    embeddings
        ``embeddings.tsv`` of its folds.
    output
        Table to write: `subject` and a column per measure.
    settings
        ``experiment`` (name and model).
    """
    from neurostrata.quality.codes import experiment_measures

    experiment = settings["experiment"]
    table, measures = experiment_measures(
        experiment["name"],
        experiment["model"],
        read_table(reconstruction, text=("subject", "fold", "method", "modality")),
        [read_embeddings(path) for path in embeddings],
    )
    write_table(
        output,
        table.reset_index(),
        {"subject": "person", **{name: measure.words for name, measure in measures.items()}},
        Description="Of people held out from the training; nobody is judged by a model that was trained on them.",
        **{MEASURED: _described(dict(measures))},
        settings=settings_record(settings),
        inputs={str(path): sha256_file(path) for path in (reconstruction, *embeddings)},
    )


def compare_quality(
    *,
    measures: Path,
    people: Path,
    output: Path,
    suggestions: Path,
    tests: Path,
    settings: dict[str, Any],
    experiments: list[Path] = [],  # noqa: B006  the parser takes its type from here
) -> None:
    """Compare everybody with what is expected of them, and suggest whom to look at before leaving them out.

    Parameters
    ----------
    measures
        Measures of images (``qc/measures.tsv``).
    experiments
        Measures of experiments (``experiments/NAME/quality.tsv``).
    people
        Characteristics (``cohort/characteristics.tsv``).
    output
        Table of deviations to write: a row per person and measure.
    suggestions
        Table of suggested exclusions to write.
    tests
        Table to write: how each measure goes with site, age and sex.
    settings
        ``quality`` (the section), ``decided`` (persons and modalities of which nothing is suggested), ``modalities`` in use, and those
        ``of_diffusion``.
    """
    from neurostrata.quality.covariates import COLUMNS as TEST_COLUMNS
    from neurostrata.quality.covariates import relate_to_people
    from neurostrata.quality.deviations import COLUMNS, Rules, compare_everybody
    from neurostrata.quality.suggestions import COLUMNS as SUGGESTION_COLUMNS
    from neurostrata.quality.suggestions import flagged_people, suggest

    table, known = _measures(measures)
    for path in experiments:
        further, theirs = _measures(path)
        table, known = table.join(further, how="left"), known | theirs
    rules = Rules.of(settings["quality"])
    _refuse_unknown(settings["quality"], known)
    described = read_characteristics(people)
    compared = compare_everybody(table, known, described, rules)
    flags = flagged_people(compared)
    facts = {
        "people": len(table),
        "compared": bool(compared),
        "people_flagged": len(flags),
        "covariates": {one.measure.name: list(one.expected.covariates) for one in compared},
        "settings": settings_record(settings["quality"]),
        "inputs": {str(path): sha256_file(path) for path in (measures, *experiments, people)},
        MEASURED: _described({name: known[name] for name in table}),
    }
    deviations = (
        pd.concat([one.table() for one in compared]) if compared else pd.DataFrame(columns=list(COLUMNS))
    )
    write_table(output, deviations, COLUMNS, Description="Everybody against the cohort.", **facts)
    suggested = suggest(
        compared,
        settings["of_diffusion"],
        settings["modalities"],
        {(subject, modality) for subject, modality in settings["decided"]},
    )
    write_table(
        suggestions,
        suggested,
        SUGGESTION_COLUMNS,
        Description="Suggested, and never done by itself: whom to look at before deciding in the sheet of quality decisions.",
        **facts,
    )
    write_table(
        tests,
        relate_to_people(table[[one.measure.name for one in compared]], described),
        TEST_COLUMNS,
        **facts,
    )


def compare_raters(*, output: Path, settings: dict[str, Any]) -> None:
    """Write how well raters agree in their quality decisions.

    Parameters
    ----------
    output
        Table to write.
    settings
        ``decisions``: subject, modality, decision and rater of each line of the sheet.
    """
    from neurostrata.quality.raters import COLUMNS
    from neurostrata.quality.raters import compare_raters as compare

    columns = ("subject", "modality", "decision", "rater")
    rows = [dict(zip(columns, row, strict=True)) for row in settings["decisions"]]
    if not rows:
        raise UserError("compare-raters: there are no quality decisions")
    write_table(output, compare(rows), COLUMNS, Description="Agreement of raters.")
