"""How well raters agree: Cohen's kappa of every two of them, over what both have rated."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from itertools import combinations

import numpy as np
import pandas as pd
from sklearn.metrics import cohen_kappa_score

from neurostrata.cohort.decisions import latest, rater_of, raters
from neurostrata.cohort.sheet import Row

COLUMNS = {
    "rater": "one rater",
    "other": "another rater",
    "n": "persons and modalities that both have rated",
    "agree": "how many of these both rated alike",
    "share": "agree / n",
    "kappa": "Cohen's kappa of exclude, keep and unsure: 0 by chance, 1 when they always agree; n/a where both always said the same word",
    "disagree_on": "persons whom one excludes and the other keeps",
}


def compare_raters(rows: Iterable[Row]) -> pd.DataFrame:
    """Return the agreement of every two raters, columns :data:`COLUMNS`.

    Parameters
    ----------
    rows
        The sheet of quality decisions.
    """
    rows = list(rows)
    ratings: dict[str, dict[tuple[str, str], str]] = {}
    for row in latest(rows):
        ratings.setdefault(rater_of(row), {})[row["subject"], row["modality"]] = row["decision"]
    found = []
    for one, other in combinations(raters(rows), 2):
        both = sorted(ratings[one].keys() & ratings[other].keys())
        first, second = ([ratings[name][about] for about in both] for name in (one, other))
        agree = sum(a == b for a, b in zip(first, second))
        opposed = [
            f"{subject} {modality}".strip()
            for (subject, modality), a, b in zip(both, first, second)
            if {a, b} == {"exclude", "keep"}
        ]
        found.append(
            {
                "rater": one,
                "other": other,
                "n": len(both),
                "agree": agree,
                "share": agree / len(both) if both else np.nan,
                "kappa": _kappa(first, second),
                "disagree_on": ", ".join(opposed),
            }
        )
    return pd.DataFrame(found, columns=list(COLUMNS))


def _kappa(first: list[str], second: list[str]) -> float:
    if len({*first, *second}) < 2:
        return np.nan  # chance agreement is 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(cohen_kappa_score(first, second))
