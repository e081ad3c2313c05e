from collections import Counter

import numpy as np
import pandas as pd
import pytest

from neurostrata.core.config import fill_defaults, load_schema
from neurostrata.core.errors import UserError
from neurostrata.fusion.data.splits import held_out_people, make_parts, make_splits, people_of


def validation(**given):
    schema = load_schema("experiments")["properties"]["validation"]
    return fill_defaults(given, schema)


def people(n, families=None, diagnosis="", site=""):
    return pd.DataFrame(
        {
            "subject": [f"{i:03d}" for i in range(n)],
            "family": families if families is not None else [None] * n,
            "diagnosis": diagnosis,
            "site": site,
        }
    )


def test_every_person_is_tested_once_and_trains_in_all():
    splits = make_splits(people(53), validation(), seed=1)
    assert list(splits["fold"].unique()) == [*map(str, range(10)), "all"]
    tested = splits[splits["role"] == "test"]
    assert sorted(tested["subject"]) == sorted(people(53)["subject"])
    assert set(splits[splits["fold"] == "all"]["role"]) == {"train"}
    assert (splits.groupby("fold").size() == 53).all()
    assert set(Counter(tested["fold"]).values()) == {5, 6}


@pytest.mark.parametrize("method", ["kfold", "holdout"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_families_are_never_divided(method, seed):
    random = np.random.default_rng(seed)
    family = [f"f{k}" if k % 4 else None for k in random.integers(0, 60, size=150)]
    table = people(150, family)
    splits = make_splits(table, validation(method=method, folds=5), seed).merge(table[["subject", "family"]])
    roles = splits.dropna(subset="family").groupby(["fold", "family"])["role"].nunique()
    assert (roles == 1).all()
    assert (splits["role"] == "test").any()


def test_people_without_a_family_are_not_one_family():
    splits = make_splits(people(20), validation(folds=4), seed=1)
    assert Counter(splits[splits["role"] == "test"]["fold"]) == {"0": 5, "1": 5, "2": 5, "3": 5}


def test_diagnoses_and_sites_are_spread_evenly():
    diagnosis = ["patient"] * 30 + ["control"] * 70
    site = (["a"] * 3 + ["b"] * 2) * 20
    table = people(100, diagnosis=diagnosis, site=site)
    splits = make_splits(table, validation(folds=5), seed=3).merge(table)
    tested = splits[splits["role"] == "test"]
    counts = tested.groupby(["fold", "diagnosis", "site"]).size().unstack("fold")
    assert (counts.max(axis=1) - counts.min(axis=1) <= 1).all()


def test_a_rare_stratum_does_not_stop_the_split():
    table = people(21, diagnosis=["patient"] * 20 + ["odd one"])
    splits = make_splits(table, validation(folds=10), seed=1)
    assert (splits["role"] == "test").sum() == 21


@pytest.mark.parametrize(("n", "fraction"), [(100, 0.3), (40, 0.25), (10, 0.3)])
def test_holdout_has_one_fold_of_the_wanted_size(n, fraction):
    splits = make_splits(people(n), validation(method="holdout", test_fraction=fraction), seed=1)
    assert list(splits["fold"].unique()) == ["0", "all"]
    assert abs(len(people_of(splits, "0", "test")) - fraction * n) <= 1


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_holdout_never_leaves_a_side_empty(fraction):
    splits = make_splits(people(9), validation(method="holdout", test_fraction=fraction), seed=1)
    assert people_of(splits, "0", "test")
    assert people_of(splits, "0", "train")


def test_seed_decides():
    first, again, other = (make_splits(people(40), validation(), seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)


def test_mistakes_have_one_line():
    with pytest.raises(UserError, match=r"lower validation\.folds"):
        make_splits(people(8, ["a", "a", "b", "b", "c", "c", "d", "d"]), validation(folds=5), 1)
    with pytest.raises(UserError, match="2 people"):
        make_splits(people(2), validation(), 1)
    with pytest.raises(UserError, match="001 is listed twice"):
        make_splits(pd.DataFrame({"subject": ["001", "001", "002", "003"]}), validation(), 1)
    splits = make_splits(people(20), validation(), 1)
    with pytest.raises(UserError, match="no fold '10'"):
        people_of(splits, "10")


@pytest.mark.parametrize(("share", "expected"), [(0.1, 0.1), (0.12, 0.125), (0.4, 0.4), (0.05, 0.05)])
def test_held_out_people_are_stratified(share, expected):
    table = people(160, diagnosis=["patient"] * 40 + ["control"] * 120)
    chosen = held_out_people(table, share, ["diagnosis"], seed=1)
    assert chosen.sum() == round(expected * 160)
    assert chosen[:40].sum() == round(expected * 40)
    assert not np.array_equal(chosen, held_out_people(table, share, ["diagnosis"], seed=2))
    np.testing.assert_array_equal(chosen, held_out_people(table, share, ["diagnosis"], seed=1))


def test_held_out_people_are_whole_families():
    family = [f"f{i // 3}" for i in range(60)]
    table = people(60, family, diagnosis=["patient" if i // 3 % 4 == 0 else "control" for i in range(60)])
    chosen = held_out_people(table, 0.2, ["diagnosis"], seed=1)
    assert (table.assign(chosen=chosen).groupby("family")["chosen"].nunique() == 1).all()
    assert Counter(table["diagnosis"][chosen]) == {"patient": 3, "control": 9}


def test_at_least_two_people_are_held_out_or_it_is_said_that_they_cannot_be():
    assert held_out_people(people(10), 0.01, ["diagnosis"], seed=1).sum() == 2
    one = people(12, ["f1"] * 12)
    with pytest.raises(UserError, match=r"validation_stratify_by: 12 training people of 1 families"):
        held_out_people(one, 0.1, ["diagnosis"], seed=1)


@pytest.mark.parametrize("seed", range(5))
def test_a_stratum_with_one_person_for_each_fold_is_spread_over_them(seed):
    """And so are those who are too few alone but enough together."""
    labels = ["a"] * 12 + ["b"] * 3 + ["c"] * 3 + ["d"] * 2 + ["e"]
    table = pd.DataFrame({"subject": [f"{i:02d}" for i in range(21)], "diagnosis": labels})
    parts = make_parts(table, 3, ["diagnosis"], seed)
    for members in (["a"], ["b"], ["c"], ["d", "e"]):
        counts = np.bincount(parts[table["diagnosis"].isin(members)], minlength=3)
        assert counts.tolist() == [len(table[table["diagnosis"].isin(members)]) / 3] * 3


@pytest.mark.parametrize(("share", "tested"), [(0.01, 1), (0.99, 7)])
def test_a_held_out_set_always_leaves_somebody_on_either_side(share, tested):
    table = pd.DataFrame({"subject": [f"{i:02d}" for i in range(8)]})
    how = {"method": "holdout", "test_fraction": share, "folds": 5, "stratify_by": []}
    splits = make_splits(table, how, 1)
    roles = splits[splits["fold"] == "0"]["role"].value_counts()
    assert (roles["test"], roles["train"]) == (tested, 8 - tested)
