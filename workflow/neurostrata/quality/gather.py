"""One table of everybody's quality measures, and what the measures are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from neurostrata.core.errors import UserError
from neurostrata.core.tables import read_table
from neurostrata.imaging.quality.registry import MEASURES, Measure, find_measure

#: Beginning of a model's measures: ``reconstruction_EXPERIMENT_MODALITY``, ``code_distance_EXPERIMENT``.
RECONSTRUCTION, DISTANCE = "reconstruction", "code_distance"
#: Differences of a model's measures that are of no interest, of their logarithms.
MODEL_TOLERANCE = 0.1


def gather_people(paths: Mapping[str, Path]) -> pd.DataFrame:
    """Return everybody's measures: index subject, a column per measure, in the order of the registry.

    Parameters
    ----------
    paths
        Subject -> table with `measure` and `value`.

    Raises
    ------
    UserError
        When a table has a measure that is not known, or one twice.
    """
    columns: dict[str, dict[str, float]] = {}
    for subject, path in paths.items():
        table = read_table(path, text=("measure",))
        twice = table["measure"][table["measure"].duplicated()]
        if len(twice):
            raise UserError(f"{path}: subject {subject}: has {twice.iloc[0]} twice; remove it and run again")
        for name, value in zip(table["measure"], table["value"].astype(float)):
            columns.setdefault(str(name), {})[subject] = value
    measures_of(columns)
    order = [name for name in MEASURES if name in columns]
    order += [name for name in columns if name not in MEASURES]
    return pd.DataFrame({name: columns[name] for name in order}, index=pd.Index(list(paths), name="subject"))


def model_measure(name: str, experiment: str, modality: str = "") -> Measure:
    """Return what a measure of an experiment is.

    Parameters
    ----------
    name
        As in the table.
    experiment
        Its name.
    modality
        Whose images are decoded; "" for the distance of the code.
    """
    words = (
        f"Mean squared error of {modality.upper()} as decoded by {experiment}, by a model that has not seen the person; high where "
        "the image is unlike those of others."
        if modality
        else f"Distance of the person's code in {experiment} from the nearest people of the training, whom the person is not among; high "
        "where the images are unlike theirs."
    )
    return Measure(name, words, "model", "1", "high", True, MODEL_TOLERANCE)


def measures_of(names: Iterable[str]) -> dict[str, Measure]:
    """Return name -> what it is, of measures of images.

    Raises
    ------
    UserError
        When one is not known.
    """
    found = {}
    for name in names:
        try:
            found[name] = find_measure(name)
        except KeyError:
            raise UserError(f"no such quality measure: {name}") from None
    return found
