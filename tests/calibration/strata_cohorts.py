"""Cohorts with and without groups, of which the truth is known: what is found, claimed and said; by hand, hours.

    python tests/calibration/strata_cohorts.py docs/tables/strata-cohorts.tsv [--scenarios NAME ...] [--cohorts N]

Each cohort is simulated as fusion volumes (JAC and NDI, 32x32x32) without a diagnosis unless the scenario says so. Its
codes are those of `pca`, once as they are and once with modalities of equal say (`balance`); age and sex are taken out.
Then the finder, the test of existence and the comparison with five simulated factors, two of which differ between strata.
Settings were chosen on seeds 0 to 9; what is reported is of seeds from 1000 on. Rows are added to the table; what is there
already is not done again. With --summary only the summary is printed.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from resumable import collected, command_line, show
from volume_models import encode
from volume_models import train as train_model

CODE = 32
#: First seed of the cohorts that are reported.
FIRST = 1000
PLANTED = {"effect": 1.0, "diagnosis_effect": 0.0}
NOTHING = {"effect": 0.0, "diagnosis_effect": 0.0}
#: Name -> options of the simulation, cohorts, draws of the test of existence, what is done to codes or phenotypes.
SCENARIOS: dict[str, tuple[dict[str, Any], int, int, str]] = {
    "three strata, n 300, effect 1.0": ({**PLANTED, "people": 300}, 20, 99, ""),
    "three strata, n 300, effect 0.7": ({**PLANTED, "people": 300, "effect": 0.7}, 20, 99, ""),
    "three strata, n 80, effect 1.0": ({**PLANTED, "people": 80}, 20, 99, ""),
    "60/30/10%, n 300, effect 1.0": ({**PLANTED, "people": 300, "shares": (60, 30, 10)}, 20, 99, ""),
    "60/30/10%, n 300, effect 0.7": (
        {**PLANTED, "people": 300, "effect": 0.7, "shares": (60, 30, 10)},
        20,
        99,
        "",
    ),
    "60/30/10%, n 80, effect 1.0": ({**PLANTED, "people": 80, "shares": (60, 30, 10)}, 20, 99, ""),
    "strata in JAC only, n 300, effect 1.0": ({**PLANTED, "people": 300, "stratified": ("jac",)}, 20, 99, ""),
    "strata in JAC only, n 80, effect 1.0": ({**PLANTED, "people": 80, "stratified": ("jac",)}, 20, 99, ""),
    "two strata, n 300, effect 1.0": ({**PLANTED, "people": 300, "strata": 2}, 20, 99, ""),
    "two strata, n 300, effect 0.7": ({**PLANTED, "people": 300, "strata": 2, "effect": 0.7}, 20, 99, ""),
    "two strata, n 80, effect 1.0": ({**PLANTED, "people": 80, "strata": 2}, 20, 99, ""),
    "three strata and a diagnosis, n 300, effect 1.0": (
        {**PLANTED, "people": 300, "diagnosis_effect": 1.0},
        20,
        99,
        "",
    ),
    "three strata and a diagnosis, n 80, effect 1.0": (
        {**PLANTED, "people": 80, "diagnosis_effect": 1.0},
        20,
        99,
        "",
    ),
    "nothing, n 80": ({**NOTHING, "people": 80}, 200, 99, ""),
    "nothing, n 300": ({**NOTHING, "people": 300}, 100, 39, ""),
    "nothing, n 1000": ({**NOTHING, "people": 1000}, 100, 19, ""),
    "gradient, n 80": ({**PLANTED, "people": 80, "gradient": True}, 100, 39, ""),
    "gradient, n 300": ({**PLANTED, "people": 300, "gradient": True}, 100, 39, ""),
    "skewed codes, n 80": ({**NOTHING, "people": 80}, 100, 39, "skewed"),
    "skewed codes, n 300": ({**NOTHING, "people": 300}, 100, 39, "skewed"),
    "heavy-tailed codes, n 80": ({**NOTHING, "people": 80}, 100, 39, "heavy"),
    "heavy-tailed codes, n 300": ({**NOTHING, "people": 300}, 100, 39, "heavy"),
    "people of heavy tails, n 300": ({**NOTHING, "people": 300}, 100, 39, "elliptical"),
    "sites alone, n 300": ({**NOTHING, "people": 300, "sites": 3, "site_effect": 1.0}, 100, 39, ""),
    "null link, n 300, effect 1.0": ({**PLANTED, "people": 300}, 100, 39, "null link"),
}
KEYS = ["scenario", "cohort", "codes"]
#: Kinds of codes -> options of `pca`.
KINDS = {
    "pca": {"max_components": CODE, "balance": False},
    "balanced": {"max_components": CODE, "balance": True},
}


def transformed(codes: np.ndarray, kind: str, seed: int) -> np.ndarray:
    """Make codes skewed (each component log-normal, skewness 1), heavy-tailed (each by Student's t with 5 degrees of freedom),
    or elliptical (people drawn out from the centre as a multivariate t with 5 degrees of freedom)."""
    from scipy.stats import norm, t

    spread = codes.std(axis=0)
    standard = (codes - codes.mean(axis=0)) / spread
    if kind == "skewed":
        standard = np.exp(0.314 * standard)  # skewness 1.0
    elif kind == "heavy":
        standard = t(5).ppf(norm.cdf(standard))
    elif kind == "elliptical":
        chance = np.random.default_rng([seed, 5]).chisquare(5, (len(codes), 1))
        standard = standard / np.sqrt(chance / 5)
    return standard * spread


def factors(stratum: np.ndarray, related: bool, seed: int) -> np.ndarray:
    """Return five factors (people x 5), of which the first two differ between strata by 0.8 standard deviations."""
    generator = np.random.default_rng([seed, 7])
    scores = generator.standard_normal((len(stratum), 5))
    if related:
        scores[:, 0] += 0.8 * (stratum == 0)
        scores[:, 1] += 0.8 * (stratum == 1)
    return scores


def verdict(claimed: bool, site_share: float, differ: int) -> str:
    """Return what the report says, by its rules."""
    if not claimed:
        return "no clusters"
    if site_share >= 0.5:
        return "explained by site"
    return "clusters and phenotype" if differ else "clusters, no phenotype"


def one(task: tuple[str, int, str]) -> list[dict[str, Any]]:
    """Simulate one cohort, look for groups and judge them."""
    scenario, cohort, kind = task
    from sklearn.metrics import adjusted_rand_score
    from threadpoolctl import threadpool_limits

    from neurostrata.adjustment.codes import LinearAdjustment
    from neurostrata.core.config import section_defaults
    from neurostrata.fusion.data import VolumeSet, fold_limits, open_volumes
    from neurostrata.simulation.volume_cohorts import simulate_volumes
    from neurostrata.strata.existence import compare_with_null
    from neurostrata.strata.finders.registry import build_finder
    from neurostrata.strata.kruskal import benjamini_hochberg, p_values
    from neurostrata.strata.repartition import repartition

    options, _, draws, change = SCENARIOS[scenario]
    simulated = simulate_volumes(seed=cohort, **options)
    with threadpool_limits(limits=1), tempfile.TemporaryDirectory() as folder:
        opened = open_volumes(simulated.write_volumes(Path(folder)), ["jac", "ndi"])
        subjects = opened[0].info["subjects"]
        everybody = VolumeSet(opened, subjects, fold_limits(opened, simulated.mask, subjects, "train"))
        model, _, _ = train_model("pca", KINDS[kind], 1, 4, everybody, simulated.mask, cohort)
        codes = encode(model, np.stack([everybody[i] for i in range(len(everybody))])).astype(float)
        covariates = np.column_stack([simulated.age, simulated.female]).astype(float)
        codes = LinearAdjustment().fit(codes, covariates).transform(codes, covariates)
        if change in ("skewed", "heavy", "elliptical"):
            codes = transformed(codes, change, cohort)
        started = time.process_time()
        finder = build_finder("mixture", section_defaults("strata")["mixture"], 1)
        finding = finder.find(codes)
        # once so many draws reach the statistic p cannot be 0.05 or less any more
        enough = int(0.05 * (draws + 1))
        existence = compare_with_null(finder, codes, finding, draws, 1, enough=enough)
        seconds = time.process_time() - started
        scores = factors(simulated.stratum, options["effect"] > 0 and change != "null link", cohort)
        tested = repartition(scores, finding.clusters, [""] * len(codes), 999, 1)
        k = np.full(scores.shape[1], finding.number)
        both = (benjamini_hochberg(p_values(tested.h, k)) < 0.05) & (benjamini_hochberg(tested.p) < 0.05)
        truth = simulated.stratum if options["effect"] > 0 else np.zeros(len(codes), dtype=int)
        sites = cramers_v(finding.clusters, simulated.site)
    claimed = existence.p <= 0.05
    return [
        {
            "scenario": scenario,
            "cohort": cohort,
            "codes": kind,
            "people": len(codes),
            "clusters": finding.number,
            "claimed": int(claimed),
            "p": existence.p,
            "statistic": finding.statistic,
            "adjusted_rand": float(adjusted_rand_score(truth, finding.clusters)),
            "site_v": sites,
            "factors_differ": int(both.sum()),
            "verdict": verdict(claimed, sites, int(both.sum())),
            "seconds": seconds,
        }
    ]


def cramers_v(clusters: np.ndarray, sites: np.ndarray) -> float:
    """Return Cramer's V of clusters and sites; 0 with one site."""
    from scipy.stats.contingency import association

    table = pd.crosstab(clusters, sites).to_numpy()
    return float(association(table, method="cramer")) if min(table.shape) > 1 else 0.0


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Return, per scenario and kind of codes, adjusted Rand, share with the right number, share claimed with its interval."""
    from statsmodels.stats.proportion import proportion_confint

    rows = []
    for scenario, (options, _, _, _) in SCENARIOS.items():
        for kind in KINDS:
            own = frame[(frame["scenario"] == scenario) & (frame["codes"] == kind)]
            if own.empty:
                continue
            true = 1 if options["effect"] == 0 or options.get("gradient") else options.get("strata", 3)
            number = np.where(own["claimed"] == 1, own["clusters"], 1)
            # what is not claimed counts as one cluster
            rand = np.where(own["claimed"] == 1, own["adjusted_rand"], 0.0)
            low, high = proportion_confint(int(own["claimed"].sum()), len(own), method="beta")
            rows.append(
                {
                    "scenario": scenario,
                    "codes": kind,
                    "cohorts": len(own),
                    "adjusted Rand": np.nan if true == 1 else rand.mean(),
                    "right number": (number == true).mean(),
                    "claimed": own["claimed"].mean(),
                    "interval": f"{low:.1%} to {high:.1%}",
                    "verdicts": "; ".join(f"{v} {n}" for v, n in own["verdict"].value_counts().items()),
                    "s": own["seconds"].median(),
                }
            )
    return pd.DataFrame(rows)


def main() -> None:
    """Do what is not done yet, write it down, print the summary."""
    parser = command_line(__doc__, 0, KINDS, processes=1)
    parser.add_argument("--scenarios", nargs="+", default=list(SCENARIOS), choices=list(SCENARIOS))
    parser.add_argument("--first", type=int, default=FIRST, help="seed of the first cohort")
    chosen = parser.parse_args()
    tasks = [
        (scenario, chosen.first + cohort, kind)
        for scenario in chosen.scenarios
        for cohort in range(chosen.cohorts or SCENARIOS[scenario][1])
        for kind in chosen.models
    ]
    show(summary(collected(chosen, KEYS, tasks, one)))


if __name__ == "__main__":
    main()
