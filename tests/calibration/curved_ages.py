"""False alarms of the adjusted comparison where clusters and scores bend with age and nothing else joins them; by hand.

    python tests/calibration/curved_ages.py docs/tables/curved-ages.tsv [--cohorts N]

Ages are uniform from 20 to 85. Who is in which of two clusters depends on age alone: steadily (a logistic curve over the whole
range), late (it turns within a few years about 68), or in the middle (those of about 50 are in one). Of five factors the
first two fall with age along a parabola and along a line, the third falls faster from 60 on, two are noise. An alarm is a q below
0.05 of the comparison adjusted for age and sex. A few minutes; --markdown prints the table of docs/trust.md.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "workflow"))

from neurostrata.core.tables import read_table, write_table
from neurostrata.strata.comparison.adjusted import compare_adjusted

PEOPLE = (80, 300, 1000)
MEMBERSHIP = ("steadily", "late", "in the middle")
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


def alarms(people: int, membership: str, splines: object, cohorts: int) -> dict[str, object]:
    """Return the share of cohorts with an alarm, of each kind of factor."""
    found = []
    for seed in range(cohorts):
        clusters, scores, described = cohort(people, membership, seed)
        table, _ = compare_adjusted(clusters, scores, described, 499, 0.95, 1, splines=splines)  # type: ignore[arg-type]
        found.append(table["q"].to_numpy() < 0.05)
    return {
        "people": people,
        "in one cluster": membership,
        "splines": splines,
        "cohorts": cohorts,
        **dict(zip(FACTORS, np.mean(found, axis=0), strict=True)),
    }


def main() -> None:
    """Write the table, or print the one that is written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path)
    parser.add_argument("--cohorts", type=int, default=200)
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    if options.markdown:
        print(markdown(read_table(options.output)))
        return
    rows = []
    for people, membership, splines in itertools.product(PEOPLE, MEMBERSHIP, (1, "auto")):
        rows.append(alarms(people, membership, splines, options.cohorts))
        print(rows[-1], flush=True)
    write_table(options.output, pd.DataFrame(rows))


def markdown(table: pd.DataFrame) -> str:
    """Return the alarms of the three factors that age makes, straight lines beside curves."""
    lines = [
        "| people | in one cluster | " + " | ".join(f"{name}: line, curve" for name in FACTORS[:3]) + " |",
        "| --- | --- | --- | --- | --- |",
    ]
    for (people, membership), own in table.groupby(["people", "in one cluster"], sort=False):
        of = own.astype({"splines": str}).set_index("splines")
        cells = [f"{of.loc['1', name]:.1%}, {of.loc['auto', name]:.1%}" for name in FACTORS[:3]]
        lines.append(f"| {people} | {membership} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
