"""What an experiment's models make of people whom they have not seen: how well they decode them, and how far their codes lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from neurostrata.core.embeddings import Embeddings
from neurostrata.imaging.quality.registry import Measure
from neurostrata.quality.gather import DISTANCE, RECONSTRUCTION, model_measure

#: How many of the nearest people of the training a code's distance is the mean of.
NEIGHBOURS = 5


def held_out_errors(reconstruction: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return the mean squared error of each held-out person and modality: index subject, a column per modality.

    Parameters
    ----------
    reconstruction
        ``reconstruction.tsv`` of an experiment.
    model
        Its model; other methods in the table are baselines.
    """
    own = reconstruction[reconstruction["method"] == model]
    return own.pivot_table(index="subject", columns="modality", values="mse", aggfunc="mean", sort=False)


def code_distances(codes: pd.DataFrame, roles: pd.Series) -> pd.Series:
    """Return the distance of each held-out person's code from the nearest people of the training, in units of their own distances.

    The mean distance to the :data:`NEIGHBOURS` nearest, over the median of the same distance of held-out people of this fold: codes of different folds are not comparable.

    Parameters
    ----------
    codes
        People x numbers, by subject, without missing values.
    roles
        ``train``, ``test`` or other.
    """
    training, held_out = codes[roles == "train"], codes[roles == "test"]
    if len(training) < 2 or len(held_out) < 2:
        return pd.Series(dtype=float)
    neighbours = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(training))).fit(training.to_numpy())
    distances = neighbours.kneighbors(held_out.to_numpy())[0].mean(axis=1)
    usual = float(np.median(distances))
    if usual <= 0:
        return pd.Series(dtype=float)
    return pd.Series(distances / usual, index=held_out.index)


def experiment_measures(
    experiment: str, model: str, reconstruction: pd.DataFrame, folds: Iterable[Embeddings]
) -> tuple[pd.DataFrame, Mapping[str, Measure]]:
    """Return an experiment's measures of everybody held out in some fold, and what they are.

    Parameters
    ----------
    experiment, model
        Names.
    reconstruction
        ``reconstruction.tsv``.
    folds
        The codes of each fold, with `role`.
    """
    found: dict[str, pd.Series] = {}
    measures: dict[str, Measure] = {}
    for modality, values in held_out_errors(reconstruction, model).items():
        name = f"{RECONSTRUCTION}_{experiment}_{modality}"
        found[name], measures[name] = values, model_measure(name, experiment, str(modality))
    distances = []
    for fold in folds:
        codes = pd.DataFrame(fold.values, index=fold.subjects)
        distances.append(code_distances(codes, fold.table.set_index("subject")["role"]))
    if any(len(part) for part in distances):
        name = f"{DISTANCE}_{experiment}"
        joined = pd.concat(distances)
        found[name] = joined.groupby(level=0, sort=False).mean()
        measures[name] = model_measure(name, experiment)
    return pd.DataFrame(found).rename_axis("subject"), measures
