"""Faults planted in the measures of a cohort with three sites: each is suggested, and hardly anybody else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from quality_rules import rules_of

from neurostrata.imaging.quality.registry import MEASURES, Measure, find_measure
from neurostrata.quality.deviations import compare_everybody
from neurostrata.quality.suggestions import flagged_people, suggest

PEOPLE = 120
#: Fault -> person -> measure -> by how many standard deviations of the sound people it is moved.
FAULTS: dict[str, dict[str, dict[str, float]]] = {
    "a bad registration": {
        "001": {"similarity": -12, "local_similarity": -10, "grey_overlap": -9, "warp_spread": 8}
    },
    "a noisy scan": {"002": {"noise": 9, "snr": -8, "cnr": -8, "cjv": 7}},
    "subtle ghosting": {"003": {"ghosting": 6.5}},
    "a wrong gradient table": {"004": {"direction_coherence": -20, "dwi_residual": 3}},
    "misaligned diffusion data": {"005": {"dwi_overlap": -11, "dwi_information": -8, "fa_similarity": -9}},
    "two people's diffusion data swapped": {
        "006": {"dwi_overlap": -7, "fa_similarity": -8},
        "007": {"dwi_overlap": -8, "fa_similarity": -7},
    },
}
#: What the measures are made of, in standard deviations: something of all scans, and something of their own.
SHARED = 0.5


def cohort(seed: int, people: int = PEOPLE, faults: bool = True) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Everybody's measures, with effects of age, sex and site, and what is known of the people."""
    rng = np.random.default_rng(seed)
    subjects = pd.Index([f"{number:03d}" for number in range(1, people + 1)], name="subject")
    about = pd.DataFrame(
        {
            "age": rng.uniform(20, 80, people),
            "sex": rng.choice(["F", "M"], people),
            # a small cohort has one site
            "site": rng.choice(
                ["north", "south", "west"], people, p=[0.5, 0.3, 0.2] if people > 30 else [1, 0, 0]
            ),
        },
        index=subjects,
    )
    quality = rng.standard_normal(people)
    columns = {}
    for name, measure in MEASURES.items():
        if name in ("dwi_volumes", "dwi_shells", "dwi_smallest_shell", "folded", "dwi_outliers"):
            continue
        sign = {"low": -1, "high": 1, "both": 0}[measure.bad]
        z = SHARED * sign * quality + np.sqrt(1 - SHARED**2) * rng.standard_normal(people)
        z += rng.normal(0, 0.5) * (about["age"].to_numpy() - 50) / 20
        z += rng.normal(0, 0.5) * (about["sex"] == "F").to_numpy()
        z += 8 * (about["site"] == "south").to_numpy() * (name in ("snr", "noise", "similarity", "sharpness"))
        for people_of in FAULTS.values() if faults else ():
            for subject, moved in people_of.items():
                z[subjects.get_loc(subject)] += moved.get(name, 0.0)
        spread = max(0.1, 1.2 * measure.tolerance) if measure.logarithm else max(0.01, measure.tolerance)
        columns[name] = np.exp(1 + spread * z) if measure.logarithm else 0.8 + spread * z
    # the same number at a site
    columns["dwi_shells"] = np.where(about["site"] == "west", 2.0, 3.0)
    columns["map_mean_fa"] = 0.3 + 0.02 * rng.standard_normal(people)
    return pd.DataFrame(columns, index=subjects), about


def described(table: pd.DataFrame) -> dict[str, Measure]:
    return {name: find_measure(name) for name in table}


@pytest.fixture(scope="module")
def found() -> dict[str, set[str]]:
    """Person -> measures that flag the person."""
    table, about = cohort(1)
    compared = compare_everybody(table, described(table), about, rules_of())
    return {subject: set(names) for subject, names in flagged_people(compared).items()}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_found(found: dict[str, set[str]], fault: str) -> None:
    for subject, moved in FAULTS[fault].items():
        assert found.get(subject, set()) & moved.keys(), fault


def test_sound_people_are_left_alone(found: dict[str, set[str]]) -> None:
    planted = {subject for people in FAULTS.values() for subject in people}
    assert len(found.keys() - planted) <= 0.02 * (PEOPLE - len(planted))


@pytest.mark.parametrize("people", [25, 60, 250])
def test_of_sound_people_one_in_fifty_at_most(people: int) -> None:
    flagged = total = 0
    for seed in range(2, 2 + max(1, 150 // people)):
        table, about = cohort(seed, people, faults=False)
        flagged += len(flagged_people(compare_everybody(table, described(table), about, rules_of())))
        total += people
    assert flagged <= 0.02 * total


def test_a_site_flags_nobody_unless_sites_are_not_looked_at() -> None:
    table, about = cohort(3, faults=False)
    columns = ["snr", "noise", "dwi_shells"]
    table = table[columns]
    with_sites = flagged_people(compare_everybody(table, described(table), about, rules_of()))
    assert len(with_sites) <= 2
    # a fifth of the people, who have two shells, is no outlier either
    rules = rules_of(covariates=("age", "sex"), limit=3.5)
    without = flagged_people(compare_everybody(table, described(table), about, rules))
    assert sum("dwi_shells" in names for names in without.values()) == 0


def test_suggestions_have_a_sentence_and_say_what_to_leave_out() -> None:
    table, about = cohort(1)
    table = table[["snr", "similarity", "dwi_overlap", "map_mean_fa"]]
    table.loc["009", "map_mean_fa"] = 0.9
    compared = compare_everybody(table, described(table), about, rules_of(limit=5.0))
    suggested = suggest(compared, ["fa", "ndi"], ["fa", "ndi", "jac"], [("002", "")])
    assert "002" not in set(suggested["subject"])  # somebody keeps them
    of = {s: set(part["modality"]) for s, part in suggested.groupby("subject")}
    assert (of["001"], of["005"], of["009"]) == ({""}, {"fa", "ndi"}, {"fa"})
    (reason,) = suggested.loc[suggested["subject"] == "001", "reason"]
    assert reason.startswith("Correlation of the registered image with the template inside its mask: 0.")
    assert "of their age, sex and site" in reason
    assert (
        "robust standard deviations below it, limit 5.0, 115 people): low after a failed registration."
        in reason
    )
    beyond = (suggested["z"].abs() / suggested["limit"]).to_numpy()
    assert beyond[0] == beyond.max()
