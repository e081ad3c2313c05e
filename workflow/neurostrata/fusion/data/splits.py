"""Division of people into training and test people: k folds or one held-out set, families kept together."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.errors import UserError
from neurostrata.core.families import families_of, family_names

#: The fold in which everybody trains; its model gives the embeddings of an experiment.
FINAL_FOLD = "all"


def _family_numbers(people: pd.DataFrame) -> np.ndarray:
    """Return a number per person, the same within a family, counted in order of appearance."""
    families = families_of(people.set_index("subject"), people["subject"])
    return pd.factorize(np.array(family_names(people["subject"], families), dtype=object))[0]


def joined_strata(people: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """Return each person's stratum: the values of these columns, joined. An empty cell is a value."""
    return people[list(columns)].fillna("").astype(str).agg("|".join, axis=1)


def _strata(people: pd.DataFrame, columns: Sequence[str], least: int) -> np.ndarray:
    """Return a stratum number per person; strata with fewer than `least` people form one together."""
    given = [column for column in columns if column in people]
    if not given:
        return np.zeros(len(people), int)
    labels = joined_strata(people, given)
    rare = labels.map(labels.value_counts()) < least
    labels = labels.where(~rare, "rare")
    if (labels == "rare").sum() < least:  # too few even together: they join the largest stratum
        labels = labels.where(labels != "rare", labels[labels != "rare"].mode().get(0, "rare"))
    return pd.factorize(labels)[0]


def stratified_parts(strata: np.ndarray, groups: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Divide people into parts in which every stratum is about equally frequent, groups kept together.

    Parameters
    ----------
    strata, groups
        Of each person; groups (families) are numbered from 0 without gaps.
    number
        How many parts.
    seed
        Seed of the random order of the groups.

    Returns
    -------
    ndarray, shape (people,)
        Each one's part, from 0; where groups are very unequal, a part may be empty.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    # Groups are renumbered at random and the splitter takes them in order. Its own shuffle=True moves the
    # groups' counts but not the groups (scikit-learn 1.7), and stratification is lost.
    groups = np.random.default_rng(seed).permutation(groups.max() + 1)[groups]
    parts = np.full(len(groups), -1)
    splitter = StratifiedGroupKFold(number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # strata smaller than the number of folds
        folds = list(splitter.split(np.zeros(len(groups)), strata, groups))
    for part, (_, members) in enumerate(folds):
        parts[members] = part
    return parts


def make_parts(
    people: pd.DataFrame, number: int, columns: Sequence[str], seed: int, key: str = "validation.folds"
) -> np.ndarray:
    """Divide people into parts of similar size and composition, families kept together.

    Parameters
    ----------
    people
        One row per person: `subject` and, where known, `family` and the `columns`.
    number
        How many parts.
    columns
        Columns whose values are spread evenly over the parts.
    seed
        Seed of the shuffling.
    key
        Name of the setting that gives the number of parts, for messages.

    Returns
    -------
    ndarray, shape (people,)
        Each one's part, from 0.

    Raises
    ------
    UserError
        With fewer families than parts.
    """
    groups = _family_numbers(people)
    if groups.max() + 1 < number:
        raise UserError(
            f"{key.split('.')[0]}: {number} folds need at least {number} families (people without one count each), "
            f"there are {groups.max() + 1}; lower {key}"
        )
    parts = stratified_parts(_strata(people, columns, number), groups, number, seed)
    if len(np.unique(parts)) < number:
        raise UserError(
            f"{key.split('.')[0]}: families are too unequal for {number} folds (one would be empty); "
            f"lower {key}"
        )
    return parts


def held_out_people(people: pd.DataFrame, share: float, columns: Sequence[str], seed: int) -> np.ndarray:
    """Choose people to hold out of a training: about the same share of each stratum, whole families.

    Parameters
    ----------
    people
        One row per person: `subject` and, where known, `family` and the `columns`.
    share
        Share to hold out. Taken is the nearest simple fraction, so that strata of ten people are still divided.
    columns
        Columns whose values are spread evenly over those who are held out and the others.
    seed
        Seed of the draw.

    Returns
    -------
    ndarray, shape (people,), bool

    Raises
    ------
    UserError
        When families are too unequal, or fewer than two.
    """
    families = int(_family_numbers(people).max()) + 1
    most = max(2, min(families, len(people) // 2))  # at least two people are held out
    fraction = Fraction(share).limit_denominator(max(10, round(1 / share)))
    fraction = min(max(fraction, Fraction(1, most)).limit_denominator(most), Fraction(1, 2))
    try:
        parts = make_parts(people, fraction.denominator, columns, seed)
    except UserError as error:
        raise UserError(
            f"options.validation_stratify_by: {len(people)} training people of {families} families cannot be divided into "
            f"{fraction.denominator} like parts, of which {fraction.numerator} would be held out; remove it, or change "
            "options.validation_fraction"
        ) from error
    return parts < fraction.numerator


def make_splits(people: pd.DataFrame, validation: Mapping[str, Any], seed: int) -> pd.DataFrame:
    """Divide people into training and test sets.

    Parameters
    ----------
    people
        One row per person: `subject` and, where known, `family`, `diagnosis`, `site`.
    validation
        ``method`` (kfold, holdout), ``folds``, ``test_fraction``, ``stratify_by``.
    seed
        Seed of the shuffling.

    Returns
    -------
    DataFrame
        Columns subject, fold, role (train, test): one row per person and fold. Folds are "0".."k-1"
        ("0" alone with holdout) and "all", where everybody trains. Members of a family always share
        a role (Dimitri 2022, 2.2, has random folds; HCP is full of siblings).

    Raises
    ------
    UserError
        With fewer than 3 people, a subject twice, or fewer families than folds.
    """
    people = people.reset_index(drop=True)
    if people["subject"].duplicated().any():
        raise UserError(
            f"splits: subject {people['subject'][people['subject'].duplicated()].iloc[0]} is listed twice"
        )
    if len(people) < 3:
        raise UserError(
            f"splits: {len(people)} people have all modalities of this experiment, "
            "a fusion model needs at least 3"
        )
    columns = validation["stratify_by"]
    if validation["method"] == "kfold":
        parts = make_parts(people, validation["folds"], columns, seed)
        tested = [parts == fold for fold in range(validation["folds"])]
    else:
        families = int(_family_numbers(people).max()) + 1
        finest = max(2, min(20, families))
        share = Fraction(validation["test_fraction"]).limit_denominator(finest)
        share = min(max(share, Fraction(1, finest)), 1 - Fraction(1, finest))
        parts = make_parts(people, share.denominator, columns, seed)
        tested = [parts < share.numerator]
    frames = [
        pd.DataFrame(
            {"subject": people["subject"], "fold": str(fold), "role": np.where(test, "test", "train")}
        )
        for fold, test in enumerate(tested)
    ]
    frames.append(pd.DataFrame({"subject": people["subject"], "fold": FINAL_FOLD, "role": "train"}))
    return pd.concat(frames, ignore_index=True)


def people_of(splits: pd.DataFrame, fold: str, role: str | None = None) -> list[str]:
    """Return the subjects of a fold (of one role, or all) in the table's order.

    Raises
    ------
    UserError
        When the table has no such fold.
    """
    rows = splits[splits["fold"] == fold]
    if rows.empty:
        raise UserError(f"splits: no fold '{fold}' (folds: {', '.join(splits['fold'].unique())})")
    return list(rows["subject"] if role is None else rows.loc[rows["role"] == role, "subject"])
