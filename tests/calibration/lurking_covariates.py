"""False alarms of the adjusted comparison where covariates alone join clusters and scores, in ways that are hard to remove; by hand.

    python tests/calibration/lurking_covariates.py docs/tables/lurking-covariates.tsv [--cohorts N]

In each kind of cohort (:data:`KINDS`) a covariate decides who is in which of two clusters, and it, or the site, decides the
scores. An alarm is a p below or at 0.05 of the adjusted comparison, in one of three alike factors. A few minutes.
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
    "one person's registration failed": "image quality decides both; one person has a very low one",
    "age in one sex": "in one sex clusters change with age five times as much, and factors twice as much",
    "age at one site": "at one of two sites clusters change with age five times as much, and factors have a unit three times as large",
    "wider at one site": "a site of 15% of the people, half of whom are in the second cluster (2% elsewhere), has scores that vary "
    "three times as much",
    "wider cluster": "a quarter of the people, the second cluster, have scores that vary twice as much; their middle is the same",
    "measured with error": "image quality decides both; what is known of it has a reliability of 0.8",
}


def cohort(kind: str, people: int, seed: int) -> tuple[pd.Series, pd.DataFrame, pd.DataFrame]:
    """Return clusters, factors and characteristics of simulated people."""
    generator = np.random.default_rng([seed, people])
    ids = [f"s{number:04d}" for number in range(people)]
    known = pd.DataFrame({"age": generator.uniform(20, 85, people).round(1)}, index=ids)
    known["sex"] = np.where(generator.random(people) < 0.5, "F", "M")
    noise = generator.standard_normal((people, len(FACTORS)))
    standard = (known["age"].to_numpy() - 52) / 19
    if kind in ("one person's registration failed", "measured with error"):
        quality = generator.standard_normal(people)
        share, scores = 1 / (1 + np.exp(-1.2 * quality)), noise + 0.4 * quality[:, None]
        error = generator.standard_normal(people) if kind == "measured with error" else 0 * quality
        known["head_size"] = generator.normal(1, 0.1, people)
        known["image_quality"] = 0.93 + 0.01 * (quality + 0.5 * error)
        if kind != "measured with error":
            known.loc[ids[0], "image_quality"] = 0.3
    elif kind in ("age in one sex", "age at one site"):
        there = generator.random(people) < 0.5
        share = 1 / (1 + np.exp(-1.5 * standard * np.where(there, 1, 0.2)))
        if kind == "age in one sex":
            known["sex"] = np.where(there, "F", "M")
            scores = noise - 0.8 * (standard * np.where(there, 1, 0.5))[:, None]
        else:
            known["site"] = np.where(there, "B", "A")
            scores = (noise - 0.8 * standard[:, None]) * np.where(there, 3, 1)[:, None]
    else:
        there = generator.random(people) < (0.15 if kind == "wider at one site" else 0.25)
        if kind == "wider at one site":
            known["site"] = np.where(there, "B", "A")
            share, spread = np.where(there, 0.5, 0.02), np.where(there, 3, 1)
        else:
            share, spread = there.astype(float), np.where(there, 2, 1)
        scores = noise * spread[:, None]
    clusters = pd.Series(1 + (generator.random(people) < share), index=ids)
    return clusters, pd.DataFrame(scores, index=ids, columns=list(FACTORS)), known


def alarms(task: tuple[str, int, int]) -> list[dict[str, Any]]:
    """Return the share of factors with an alarm."""
    from neurostrata.strata.comparison.adjusted import compare_adjusted

    kind, people, cohorts = task
    found = []
    for seed in range(cohorts):
        table, _ = compare_adjusted(*cohort(kind, people, seed), 199, 0.95, 1, splines="auto")
        found.append((table["p"] <= 0.05).mean())
    return [{"kind": kind, "people": people, "cohorts": cohorts, "alarms": np.mean(found)}]


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the shares as text, a row for each kind."""
    rows = []
    for kind, meaning in KINDS.items():
        own = frame[frame["kind"] == kind].set_index("people")["alarms"]
        shares = {f"{people} people": f"{own[people]:.1%}" for people in PEOPLE}
        rows.append({"kind": kind, "what joins clusters and factors": meaning, **shares})
    return pd.DataFrame(rows)


def main() -> None:
    """Do what is not done yet, write it down, print the table of docs/trust.md."""
    chosen = command_line(__doc__, 200).parse_args()
    tasks = [(kind, people, chosen.cohorts) for kind in KINDS for people in PEOPLE]
    print(markdown(summary(collected(chosen, KEYS, tasks, alarms))))


if __name__ == "__main__":
    main()
