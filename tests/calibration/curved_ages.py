"""False alarms of the adjusted comparison where clusters and scores bend with age and nothing else joins them; by hand.

    python tests/calibration/curved_ages.py docs/tables/curved-ages.tsv [--cohorts N]

Ages are uniform from 20 to 85. Who is in which of two clusters depends on age alone: steadily (a logistic curve over the whole
range), late (it turns within a few years about 68), or in the middle (those of about 50 are in one). Of five factors the
first two fall with age along a parabola and along a line, the third falls faster from 60 on, two are noise. An alarm is a q below
0.05 of the comparison adjusted for age and sex. A few minutes.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
from resumable import collected, command_line, markdown

PEOPLE = (80, 300, 1000)
MEMBERSHIP = ("steadily", "late", "in the middle")
KEYS = ["people", "in one cluster", "effects"]
FACTORS = ("parabola", "line", "faster from 60 on", "noise", "more noise")


def cohort(people: int, membership: str, seed: int) -> tuple[pd.Series, pd.DataFrame, pd.DataFrame]:
    """Return clusters, factors and characteristics of simulated people."""
    generator = np.random.default_rng([seed, people])
    age = generator.uniform(20, 85, people)
    standard = (age - age.mean()) / age.std()
    square = standard**2
    square = (square - square.mean()) / square.std()
    share = {
        "steadily": 1 / (1 + np.exp((52 - age) / 12)),
        "late": 1 / (1 + np.exp((68 - age) / 4)),
        "in the middle": 0.2 + 0.6 * np.exp(-((standard / 0.6) ** 2)),
    }[membership]
    ids = [f"s{number:04d}" for number in range(people)]
    scores = generator.standard_normal((people, len(FACTORS)))
    scores[:, 0] -= 0.5 * standard + np.sqrt(0.05) * square
    scores[:, 1] -= 0.4 * standard
    scores[:, 2] -= 0.04 * np.maximum(age - 60, 0)
    clusters = pd.Series(1 + (generator.random(people) < share), index=ids)
    sex = np.where(generator.integers(0, 2, people), "F", "M")
    described = pd.DataFrame({"age": age.round(1), "sex": sex}, index=ids)
    return clusters, pd.DataFrame(scores, index=ids, columns=list(FACTORS)), described


def alarms(task: tuple[int, str, str, int]) -> list[dict[str, Any]]:
    """Return the share of cohorts with an alarm, of each kind of factor."""
    from neurostrata.strata.comparison.adjusted import compare_adjusted

    people, membership, effects, cohorts = task
    splines: Any = "auto" if effects == "curve" else 1
    found = []
    for seed in range(cohorts):
        table, _ = compare_adjusted(*cohort(people, membership, seed), 499, 0.95, 1, splines=splines)
        found.append(table["q"].to_numpy() < 0.05)
    shares = dict(zip(FACTORS, np.mean(found, axis=0).tolist(), strict=True))
    return [{**dict(zip(KEYS, task)), "cohorts": cohorts, **shares}]


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the alarms of the three factors that age makes, straight lines beside curves, as text."""
    rows = []
    for (people, membership), own in frame.groupby(KEYS[:2], sort=False):
        of = own.set_index("effects")
        shares = {
            f"{name}: line, curve": f"{of.loc['line', name]:.1%}, {of.loc['curve', name]:.1%}"
            for name in FACTORS[:3]
        }
        rows.append({"people": people, "in one cluster": membership, **shares})
    return pd.DataFrame(rows)


def main() -> None:
    """Do what is not done yet, write it down, print the table of docs/trust.md."""
    chosen = command_line(__doc__, 200).parse_args()
    kinds = itertools.product(PEOPLE, MEMBERSHIP, ("line", "curve"))
    tasks = [(*kind, chosen.cohorts) for kind in kinds]
    print(markdown(summary(collected(chosen, KEYS, tasks, alarms))))


if __name__ == "__main__":
    main()
