"""The numbers of everybody in one script file, which people's pages, the quality page and the reviewing page load.

A person's page is written as soon as the person's images are there; who else takes part, which cluster a person is in and what
is unusual about the images is known later, and changes when others are excluded. So these numbers stand in one file for all
pages, ``report/subjects/data.js``, which the report writes: no person's page has to be made again when a number changes.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import median_abs_deviation

from neurostrata.cohort.sheet import QC_COLUMNS, RATING_COLUMNS, read_qc_sheet
from neurostrata.core.config import expand_modalities
from neurostrata.imaging.quality.registry import find_measure
from neurostrata.report.data.decoding import RECONSTRUCTION_COLUMNS, modality_order, model_method
from neurostrata.report.data.evidence import read_evidence
from neurostrata.report.data.layout import Experiment, relative_link
from neurostrata.report.data.results import StudyResults, is_yes
from neurostrata.report.html.blocks import human_name
from neurostrata.report.html.folder import write_data
from neurostrata.report.html.page import Page
from neurostrata.report.people.examples import decoded_pictures

#: Variable that the script sets.
VARIABLE = "neurostrataPeople"
#: Characteristics that describe a person -> heading.
_FACTS = {
    "age": "Age",
    "sex": "Sex",
    "site": "Site",
    "diagnosis": "Diagnosis",
    "family": "Family",
    "session": "Session",
}
#: Characteristic that is a number of the images -> words, group, bad side.
_OF_IMAGES = {
    "image_quality": ("similarity to the template", "placement", "low"),
    "head_size": ("head size relative to the template", "brain", ""),
}


def write_people(page: Page) -> Path:
    """Write the numbers of everybody; return the file.

    Parameters
    ----------
    page
        The report's main page: pictures of decoded images go under its figures.
    """
    path = page.study.tree.people_data
    write_data(path, VARIABLE, people_numbers(page))
    return path


def people_numbers(page: Page) -> dict[str, Any]:
    """Return everything about single people that the report's scripts show.

    Returns
    -------
    dict
        Lists are in the order of ``subjects``; missing values are None.
    """
    study = page.study
    subjects = study.subjects()
    measures = [*_quality(study, subjects), *_of_images(study, subjects), *_reconstruction(study, subjects)]
    strata, distances = _strata(study, subjects)
    return {
        "title": str(study.config["report"]["title"]),
        "key": hashlib.sha256(
            "\n".join([str(study.config["report"]["title"]), *subjects]).encode()
        ).hexdigest()[:16],
        "subjects": subjects,
        "pages": [int(study.tree.subject_page(subject).is_file()) for subject in subjects],
        "pictures": [int(_mosaic(study, subject).is_file()) for subject in subjects],
        "facts": _facts(study, subjects),
        "measures": [*measures, *distances, *_factors(study, subjects)],
        "strata": strata,
        "modalities": list(expand_modalities(study.config["modalities"])),
        "decisions": _decisions(study),
        "suggestions": _rows(
            study, study.tree.suggested_exclusions, ("subject", "modality", "measure", "reason")
        ),
        "exclusions": _rows(study, study.tree.exclusions, ("subject", "modality", "stage", "reason")),
        "decoded": decoded_pictures(page, study.tree.people_data),
    }


def _mosaic(study: StudyResults, subject: str) -> Path:
    return study.tree.subject_page(subject).with_suffix("") / "mosaic.webp"


def _number(value: Any, digits: int = 4) -> float | None:
    """Return a number with few digits, since there is one per person and measure; None for a missing one."""
    number = float(value)
    if not math.isfinite(number):
        return None
    return float(f"{number:.{digits}g}")


def _numbers(column: pd.Series, subjects: Sequence[str], digits: int = 4) -> list[float | None]:
    """Return a column, indexed by subject, in the order of `subjects`."""
    values = pd.to_numeric(column, errors="coerce")
    return [_number(value, digits) for value in values.reindex(subjects)]


def _texts(column: pd.Series, subjects: Sequence[str]) -> list[str | None]:
    return [None if pd.isna(value) else str(value) for value in column.reindex(subjects)]


def _by_subject(frame: pd.DataFrame) -> pd.DataFrame:
    indexed = frame.set_index(frame["subject"].astype(str))
    return indexed[~indexed.index.duplicated()]


def robust_z(values: pd.Series, logarithm: bool = False) -> pd.Series:
    """Return how many robust standard deviations each value lies from the median; NaN where the spread is 0.

    Parameters
    ----------
    values
        Missing ones stay missing.
    logarithm
        Take the logarithm first; values of 0 or less are missing then.
    """
    values = pd.to_numeric(values, errors="coerce")
    if logarithm:
        values = np.log(values.where(values > 0))
    spread = median_abs_deviation(values, scale="normal", nan_policy="omit")
    return (values - values.median()) / (spread if spread > 0 else np.nan)


def _measure(
    name: str,
    words: str,
    group: str,
    values: pd.Series,
    subjects: Sequence[str],
    *,
    unit: str = "",
    bad: str = "",
    logarithm: bool = False,
    z: pd.Series | None = None,
    flagged: Iterable[str] = (),
    label: str = "",
) -> dict[str, Any]:
    positions = {subject: position for position, subject in enumerate(subjects)}
    return {
        "name": name,
        "label": label or human_name(name),
        "words": words,
        "group": group,
        "unit": "" if unit == "1" else unit,
        "bad": bad,
        "log": bool(logarithm),
        "values": _numbers(values, subjects),
        "z": None if z is None else _numbers(z.round(2), subjects),
        "flagged": sorted(positions[subject] for subject in set(flagged) if subject in positions),
    }


def _quality(study: StudyResults, subjects: Sequence[str]) -> list[dict[str, Any]]:
    frame = study.table(study.tree.quality_measures, columns=["subject"])
    if frame is None:
        return []
    table = _by_subject(frame)
    deviations = study.table(study.tree.quality_deviations, columns=["subject", "measure", "z", "flagged"])
    found = []
    for name in table.columns:
        if name == "subject" or not pd.to_numeric(table[name], errors="coerce").notna().any():
            continue
        try:
            measure = find_measure(str(name))
        except KeyError:  # of another release
            continue
        z, flagged = None, []
        if deviations is not None:
            rows = _by_subject(deviations[deviations["measure"] == name])
            z = pd.to_numeric(rows["z"], errors="coerce")
            flagged = list(rows.index[is_yes(rows["flagged"])])
        found.append(
            _measure(
                str(name),
                measure.words,
                measure.group,
                table[name],
                subjects,
                unit=measure.unit,
                bad=measure.bad,
                logarithm=measure.logarithm,
                z=z,
                flagged=flagged,
            )
        )
    return found


def _of_images(study: StudyResults, subjects: Sequence[str]) -> list[dict[str, Any]]:
    """Return what older studies know of the images, too: from the table of characteristics."""
    if study.table(study.tree.quality_measures) is not None:
        return []
    frame = study.table(study.tree.characteristics, columns=["subject"])
    if frame is None:
        return []
    table = _by_subject(frame)
    return [
        _measure(
            name, words, group, table[name], subjects, bad=bad, z=robust_z(table[name].reindex(subjects))
        )
        for name, (words, group, bad) in _OF_IMAGES.items()
        if name in table and pd.to_numeric(table[name], errors="coerce").notna().any()
    ]


def _reconstruction(study: StudyResults, subjects: Sequence[str]) -> list[dict[str, Any]]:
    found = []
    for experiment, config in study.experiments():
        frame = study.table(experiment.file("reconstruction.tsv"), columns=RECONSTRUCTION_COLUMNS)
        if frame is None:
            continue
        own = frame[frame["method"] == model_method(frame, config)]
        for modality in modality_order(frame, config):
            errors = own[own["modality"] == modality].groupby("subject")["mse"].mean()
            errors.index = errors.index.astype(str)
            found.append(
                _measure(
                    f"mse {experiment.name} {modality}",
                    f"Mean squared error of {modality.upper()} as decoded in {experiment.name}, of scaled images; high where the "
                    "model has not seen the like.",
                    "model",
                    errors,
                    subjects,
                    bad="high",
                    logarithm=True,
                    z=robust_z(errors.reindex(subjects), logarithm=True),
                    label=f"decoding error of {modality.upper()} in {experiment.name}",
                )
            )
    return found


def _strata(
    study: StudyResults, subjects: Sequence[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return each experiment's clusters, and each person's distance from the middle of the own cluster."""
    strata, distances = [], []
    for experiment, _ in study.experiments():
        evidence = read_evidence(study, experiment)
        if evidence.clusters is None:
            continue
        table, outside = _by_subject(evidence.clusters), set(evidence.outside())
        sizes = evidence.sizes()
        strata.append(
            {
                "experiment": experiment.name,
                "page": _page_of(study, experiment),
                "finder": human_name(evidence.finder),
                "codes": evidence.codes,
                "claimed": evidence.claimed(),
                "sizes": {str(cluster): n for cluster, n in sizes.items()},
                "cluster": _numbers(table["cluster"], subjects),
                "probability": _numbers(table["probability"], subjects, 3)
                if "probability" in table
                else None,
                "outside": [position for position, subject in enumerate(subjects) if subject in outside],
            }
        )
        if "distance" in table and pd.to_numeric(table["distance"], errors="coerce").notna().any():
            distances.append(
                _measure(
                    f"distance {experiment.name}",
                    f"Distance of the person's codes from the middle of the own cluster in {experiment.name}; far from it, a "
                    "person is not typical of the cluster.",
                    "strata",
                    table["distance"],
                    subjects,
                    label=f"distance from the cluster's middle in {experiment.name}",
                )
            )
    return strata, distances


def _page_of(study: StudyResults, experiment: Experiment) -> str:
    """Return the link from people's pages to the page of an experiment, "" when it has none."""
    page = study.tree.people_data.parent.parent / f"experiment-{experiment.name}.html"
    return relative_link(page, study.tree.people_data) if page.is_file() else ""


def _factors(study: StudyResults, subjects: Sequence[str]) -> list[dict[str, Any]]:
    frame = study.table(study.tree.phenotypes("scores.tsv"), columns=["subject"])
    if frame is None:
        return []
    table = _by_subject(frame)
    return [
        _measure(
            str(name),
            f"Score of the phenotypes' {human_name(str(name))}.",
            "phenotypes",
            table[name],
            subjects,
        )
        for name in table.columns
        if name != "subject" and pd.to_numeric(table[name], errors="coerce").notna().any()
    ]


def _facts(study: StudyResults, subjects: Sequence[str]) -> list[dict[str, Any]]:
    tables = [
        _by_subject(frame)
        for frame in (
            study.table(study.tree.characteristics, columns=["subject"]),
            study.table(study.tree.subjects, columns=["subject"]),
        )
        if frame is not None
    ]
    facts = []
    for name, words in _FACTS.items():
        column = next((table[name] for table in tables if name in table and table[name].notna().any()), None)
        if column is None:
            continue
        numeric = pd.api.types.is_numeric_dtype(column)
        facts.append(
            {
                "name": name,
                "words": words,
                "unit": "years" if name == "age" and numeric else "",
                "values": _numbers(column, subjects) if numeric else _texts(column, subjects),
            }
        )
    return facts


def _decisions(study: StudyResults) -> list[Mapping[str, str]]:
    """Return the quality decisions as they stand in the sheet when the report is written."""
    sheet = study.config["qc"]
    if not sheet or not Path(sheet).is_file():
        return []
    columns = QC_COLUMNS + RATING_COLUMNS
    return [{column: row.get(column, "") for column in columns} for row in read_qc_sheet(sheet)]


def _rows(study: StudyResults, path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    frame = study.table(path, columns=columns)
    if frame is None:
        return []
    texts = frame[list(columns)].astype(object)
    return [
        {str(key): "" if pd.isna(value) else str(value) for key, value in row.items()}
        for row in texts.to_dict("records")
    ]
