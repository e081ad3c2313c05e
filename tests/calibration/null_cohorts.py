"""False alarms on cohorts in which brain and behaviour have nothing to do with each other.

    python tests/calibration/null_cohorts.py [COHORTS] [--people N] [--strata K] [--embedding-share X] ...

Each cohort has families (HCP-like: singles, pairs, threes, fours) whose members share a part of their
embedding and a part of their phenotypes, drawn independently of each other. So clusters and factors are
unrelated between families, but relatives land in the same cluster and have like scores. The whole chain
runs: factors from a table of variables, affinity propagation on a reduced grid of 5 x 20, Kruskal-Wallis,
random repartition. With ``--strata K`` the embeddings fall into K well separated groups, still unrelated to
phenotype, relatives in the same one; without it affinity propagation cuts one cloud into many clusters.
Counted are cohorts with any q < 0.05: of Kruskal-Wallis, of the repartition with whole
families exchanged, and of the repartition blind to families.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "workflow"))

from neurostrata.core.config import section_defaults
from neurostrata.phenotypes.factors import principal_varimax, standardise
from neurostrata.strata.comparison.kruskal import benjamini_hochberg
from neurostrata.strata.comparison.repartition import repartition
from neurostrata.strata.comparison.table import compare_clusters
from neurostrata.strata.finders.affinity_propagation import AffinityPropagation


@dataclass
class Cohort:
    """Simulated people."""

    embeddings: np.ndarray
    phenotypes: np.ndarray
    families: list[str]


def family_structure(people: int, generator: np.random.Generator) -> np.ndarray:
    """Return each person's family, of 1 to 4 members, in random order of people."""
    sizes: list[int] = []
    while sum(sizes) < people:
        sizes.append(int(generator.choice([1, 2, 3, 4], p=[0.25, 0.4, 0.25, 0.1])))
    return generator.permutation(np.repeat(np.arange(len(sizes)), sizes)[:people])


def shared(values: int, family: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """Return people x values, standard normal, of which relatives have the part `share` in common."""
    common = generator.standard_normal((family.max() + 1, values))[family]
    return np.sqrt(share) * common + np.sqrt(1 - share) * generator.standard_normal((len(family), values))


def null_cohort(
    people: int, embedding_share: float, phenotype_share: float, strata: int, generator: np.random.Generator
) -> Cohort:
    """Simulate a cohort: 10-dimensional embedding, 5 factors of 4 variables at loading 0.75."""
    family = family_structure(people, generator)
    centres = np.zeros((1, 10))
    if strata > 1:
        centres = np.eye(strata, 10) * 6 / np.sqrt(2)  # 6 sd apart
    stratum = generator.integers(len(centres), size=family.max() + 1)[family]
    factors = shared(5, family, phenotype_share, generator)
    noise = generator.standard_normal((people, 20))
    return Cohort(
        embeddings=centres[stratum] + shared(10, family, embedding_share, generator),
        phenotypes=0.75 * np.repeat(factors, 4, axis=1) + np.sqrt(1 - 0.75**2) * noise,
        families=[f"family {number}" for number in family],
    )


def smallest_q(cohort: Cohort, draws: int, seed: int) -> dict[str, float]:
    """Run the chain on one cohort; return the smallest q of each test, and what was clustered."""
    settings = section_defaults("strata")
    grid = settings["affinity_propagation"]
    grid["damping"]["steps"], grid["preference"]["steps"] = 5, 20
    clustering = AffinityPropagation(grid, seed).find(cohort.embeddings)
    standardised = standardise(cohort.phenotypes)[0]
    scores = standardised @ principal_varimax(standardised).weights
    people = [str(row) for row in range(len(scores))]
    table = pd.DataFrame(scores, index=people).rename(columns="factor_{}".format)
    found = {"clusters": float(clustering.number), "found": float(clustering.reason is None)}
    for name, families in (("repartition", cohort.families), ("blind", [""] * len(scores))):
        test = repartition(scores, clustering.clusters, families, draws, seed)
        found[name] = smallest(benjamini_hochberg(test.p))
    clusters = pd.Series(clustering.clusters, index=people)
    nothing = pd.DataFrame(columns=["factor", "p_repartition", "q_repartition"])
    comparisons = compare_clusters(clusters, table, nothing, settings["comparisons"])
    found["kruskal"] = smallest(comparisons["q"].to_numpy(dtype=float))
    return found


def smallest(q: np.ndarray) -> float:
    """Return the smallest q, 1 when nothing was tested."""
    return 1.0 if np.isnan(q).all() else float(np.nanmin(q))


def run(
    cohorts: int,
    people: int = 60,
    embedding_share: float = 0.5,
    phenotype_share: float = 0.4,
    strata: int = 1,
    draws: int = 999,
    seed: int = 1,
) -> Iterator[dict[str, float]]:
    """Simulate and test cohorts one by one; cohort k is the same whatever the number of cohorts."""
    for number in range(cohorts):
        generator = np.random.default_rng([seed, number])
        cohort = null_cohort(people, embedding_share, phenotype_share, strata, generator)
        yield smallest_q(cohort, draws, seed)


def main() -> None:
    """Print false-alarm rates with 95% (Wilson) intervals."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cohorts", type=int, nargs="?", default=2000)
    parser.add_argument("--people", type=int, default=60)
    parser.add_argument("--embedding-share", type=float, default=0.5)
    parser.add_argument("--phenotype-share", type=float, default=0.4)
    parser.add_argument("--strata", type=int, default=1)
    parser.add_argument("--draws", type=int, default=999)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    start = time.monotonic()
    rows = []
    for row in run(**vars(options)):
        rows.append(row)
        if len(rows) % 100 == 0:
            alarms = {
                name: sum(row[name] < 0.05 for row in rows) for name in ("kruskal", "repartition", "blind")
            }
            print(
                f"{len(rows)} cohorts, {time.monotonic() - start:.0f} s, {alarms}",
                file=sys.stderr,
                flush=True,
            )
    table = pd.DataFrame(rows)
    print(vars(options))
    print(f"clusters: median {table['clusters'].median():g}, found in {table['found'].mean():.1%} of cohorts")
    for name, label in (
        ("kruskal", "any q < 0.05 (Kruskal-Wallis, people taken as independent)"),
        ("repartition", "any q_repartition < 0.05 (whole families exchanged)"),
        ("blind", "any q_repartition < 0.05 without the family rule"),
    ):
        alarms = int((table[name] < 0.05).sum())
        low, high = proportion_confint(alarms, len(table), method="wilson")
        print(f"{label}: {alarms} of {len(table)} = {alarms / len(table):.2%} [{low:.2%}, {high:.2%}]")


if __name__ == "__main__":
    main()
