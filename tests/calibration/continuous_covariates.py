"""False alarms of the predictions without clusters where covariates alone join codes and factors; by hand.

    python tests/calibration/continuous_covariates.py docs/tables/continuous-covariates.tsv [--cohorts N]

In each kind of cohort (:data:`KINDS`) a covariate is in two of 16 numbers of the code and in three alike factors; in the last
kind codes and factors have something else in common. Codes are freed of covariates as the stage `adjust_codes` does by
default. An alarm is a p below or at 0.05 of ridge regression from codes, and of the canonical correlation. Beside it stands
the same with factors that are not freed of the covariates. Half an hour.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from resumable import collected, command_line, markdown

PEOPLE = (80, 300, 1000)
KEYS = ["kind", "people"]
FACTORS = ("a", "b", "c")
KINDS = {
    "nothing": "nothing",
    "age": "both bend with age, uniform from 20 to 85",
    "age, skewed": "both bend with age; most people are young",
    "age in one sex": "both change with age, in one sex alone",
    "site": "one of three sites, with a fifth of the people, has other codes and other factors",
    "image quality": "both change with image quality; one person's registration failed",
    "measured with error": "both change with image quality; what is known of it has a reliability of 0.8",
    "a link": "a tenth of the factors' variance is in the code and in no covariate",
}


def cohort(kind: str, people: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return codes, factors and characteristics of simulated people."""
    generator = np.random.default_rng([seed, people])
    ids = [f"s{number:04d}" for number in range(people)]
    age = generator.uniform(20, 85, people)
    if kind == "age, skewed":
        age = 20 + np.minimum(generator.exponential(12, people), 65)
    sex = np.where(generator.random(people) < 0.5, "F", "M")
    site = generator.choice(["A", "B", "C"], people, p=[0.5, 0.3, 0.2])
    quality = generator.standard_normal(people)
    error = generator.standard_normal(people) if kind == "measured with error" else np.zeros(people)
    known = pd.DataFrame({"age": age.round(1), "sex": sex, "site": site}, index=ids)
    known["head_size"] = generator.normal(1, 0.1, people)
    known["image_quality"] = 0.93 + 0.01 * (quality + 0.5 * error)
    if kind == "image quality":
        known.loc[ids[0], "image_quality"] = 0.3
    standard = (age - 52) / 19
    shared = {
        "nothing": 0 * age,
        "age": standard + 0.5 * standard**2,
        "age, skewed": standard + 0.5 * standard**2,
        "age in one sex": standard * (sex == "F"),
        "site": 2.0 * (site == "C"),
        "image quality": quality,
        "measured with error": quality,
        "a link": generator.standard_normal(people),
    }[kind]
    codes = generator.standard_normal((people, 16))
    codes[:, :2] += shared[:, None]
    factors = (
        generator.standard_normal((people, len(FACTORS)))
        + (1 / 3 if kind == "a link" else 0.6) * shared[:, None]
    )
    return (
        pd.DataFrame(codes, index=ids),
        pd.DataFrame(factors, index=ids, columns=list(FACTORS)),
        known,
    )


def alarms(task: tuple[str, int, int]) -> list[dict[str, Any]]:
    """Return the share of factors with an alarm and their mean R2, without and with covariates removed from factors."""
    from neurostrata.adjustment.codes import free_of_covariates
    from neurostrata.core.config import section_defaults
    from neurostrata.core.embeddings import Embeddings
    from neurostrata.prediction import continuous
    from neurostrata.strata.comparison.covariates import known_covariates

    continuous.BOOTSTRAP = 2  # intervals are not looked at
    kind, people, cohorts = task
    found: dict[str, list[Any]] = {}
    for seed in range(cohorts):
        values, factors, known = cohort(kind, people, seed)
        table = pd.DataFrame({"subject": values.index, "role": "test"})
        embeddings = Embeddings(list(values.index), values.to_numpy(), table)
        adjusted, _ = free_of_covariates(embeddings, known, section_defaults("strata")["adjust"])
        for name, covariates in {"codes alone": None, "both": known_covariates(known)}.items():
            rows, _ = continuous.compare_features(
                {"codes": adjusted.values}, {}, factors, [""] * people, 10, 99, 1, covariates, "auto"
            )
            ridge, canonical = (rows[rows["method"] == method] for method in ("ridge", "cca"))
            for column, value in (
                (name, (ridge["p"] <= 0.05).mean()),
                (f"{name}: cca", (canonical["p"] <= 0.05).mean()),
                (f"{name}: r2", ridge["value"].mean()),
            ):
                found.setdefault(column, []).append(value)
    return [{"kind": kind, "people": people, "cohorts": cohorts, **{k: np.mean(v) for k, v in found.items()}}]


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the shares as text, a row for each kind."""
    rows = []
    for kind, meaning in KINDS.items():
        own = frame[frame["kind"] == kind].set_index("people")
        shares = {
            f"{people} people": f"{own.loc[people, 'codes alone']:.0%}, {own.loc[people, 'both']:.1%}"
            for people in PEOPLE
        }
        rows.append({"what codes and factors have in common": meaning, **shares})
    return pd.DataFrame(rows)


def main() -> None:
    """Do what is not done yet, write it down, print the table of docs/trust.md."""
    chosen = command_line(__doc__, 60).parse_args()
    tasks = [(kind, people, chosen.cohorts) for kind in KINDS for people in PEOPLE]
    print(markdown(summary(collected(chosen, KEYS, tasks, alarms))))


if __name__ == "__main__":
    main()
