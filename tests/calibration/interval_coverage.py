"""How often 95% intervals cover the population's value, and how often p is at most 0.05 where there is nothing; by hand.

    python tests/calibration/interval_coverage.py docs/tables/interval-coverage.tsv [--cohorts N]

Each quantity (:data:`QUANTITIES`) is computed by the project's own functions in simulated tables. Half of the people are in families of two
to four, or nobody is; relatives are alike (a correlation of 0.5), of one site, of nearly one age, and half of them of one cluster. The four clusters
have 45, 30, 18 and 7% of the people. The population's value is that of 200,000 people; of predictions, the mean over the studies of what each study's
models reach in 2,000 new people. About half an hour on two cores.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from resumable import collected, command_line, markdown

KEYS = ["quantity", "people", "relatives", "effect"]
SHARES = np.array([0.45, 0.3, 0.18, 0.07])
#: How far each cluster's people are from the middle, times the effect.
SHIFTS = np.array([-1, 0.3, 1, -0.3])
FACTORS = 6
MANY = 200_000
NEW = 2000
FOLDS = 5
#: Quantity -> its words in the table, the effect where there is one, studies for each of --cohorts.
QUANTITIES = {
    "factor": ("η² of a factor between clusters; p: repartition", 0.4, 0.4),
    "chi-square": ("the same, p by chi-square", 0.4, 0.4),
    "large": ("η² between clusters far apart", 1.6, 0.2),
    "adjusted": ("partial η² of a factor, adjusted; p: permutation", 0.4, 0.3),
    "region": ("Hedges' g of a region in the smallest cluster", 1.0, 0.5),
    "wider region": ("the same, the cluster varies twice as much", 1.0, 0.5),
    "site": ("η² of image quality between sites", 0.4, 0.3),
    "age": ("ρ of image quality and age", 0.4, 0.3),
    "decoded": ("error of decoding over that of the mean image", 1.0, 1.0),
    "number": ("R² of a prediction", 0.6, 0.5),
    "classes": ("AUC of a prediction", 0.6, 0.25),
}
#: Those of which there is no population without effect, and the one that is as another with effect.
ALWAYS, NEVER = ("large", "decoded"), ("chi-square",)
#: Those that are not studied in 300 people.
SLOW = ("number", "classes")


class People:
    """Simulated people: families, clusters, sites, ages."""

    def __init__(self, number: int, relatives: bool, seed: int) -> None:
        self.generator = np.random.default_rng([seed, number, relatives])
        sizes: list[int] = []
        while relatives and sum(sizes) < number // 2 - 4:
            sizes.append(int(self.generator.integers(2, 5)))
        sizes += [1] * (number - sum(sizes))
        self.number, self.of = number, np.repeat(np.arange(len(sizes)), sizes)
        self.families = [f"f{family}" if sizes[family] > 1 else "" for family in self.of]
        self.ids = [f"s{person:06d}" for person in range(number)]
        together = self.generator.random(len(sizes))[self.of]
        alone = self.generator.random(number)
        place = np.where(self.generator.random(number) < 0.5, together, alone)
        self.clusters = np.searchsorted(SHARES.cumsum()[:-1], place).astype(np.intp)
        self.site = np.searchsorted([0.5, 0.8], self.generator.random(len(sizes))[self.of])
        age = self.generator.uniform(20, 80, len(sizes))[self.of] + 3 * self.generator.standard_normal(number)
        self.age = (age - 50) / 17.6

    def noise(self, columns: int = 1) -> np.ndarray:
        """Return standard normal values, relatives correlated by 0.5."""
        families, own = int(self.of.max()) + 1, self.generator.standard_normal((self.number, columns))
        return np.sqrt(0.5) * (self.generator.standard_normal((families, columns))[self.of] + own)


def ordinal(values: np.ndarray) -> np.ndarray:
    """Return answers from 0 to 4."""
    return np.digitize(values, [-0.8, 0, 0.6, 1.4]).astype(float)


def factor(people: People, effect: float, quantity: str) -> Iterator[tuple[float, float, float, float]]:
    """Yield value, ends of its interval, and p of factors with five answers; a tenth of the people lacks each in studies."""
    from neurostrata.strata.comparison.repartition import repartition
    from neurostrata.strata.comparison.table import compare_clusters

    scores = ordinal(people.noise(FACTORS) + effect * SHIFTS[people.clusters][:, None])
    if people.number < MANY:
        scores[people.generator.random(scores.shape) < 0.1] = np.nan
    draws = 199 if quantity == "factor" and people.number < MANY else 1
    drawn = repartition(scores, people.clusters, people.families, draws, 1)
    names = [f"f{number}" for number in range(FACTORS)]
    table = compare_clusters(
        pd.Series(people.clusters, people.ids),
        pd.DataFrame(scores, people.ids, names),
        drawn.table(names),
        {"confidence": 0.95, "alpha": 0.05, "power": 0.8},
    )
    p = "p_repartition" if quantity == "factor" else "p"
    yield from table[["eta2", "eta2_low", "eta2_high", p]].itertuples(index=False, name=None)


def adjusted(people: People, effect: float, _: str) -> Iterator[tuple[float, float, float, float]]:
    """Yield the same of the adjusted comparison; age and site change factors, and age differs between clusters."""
    from neurostrata.strata.comparison.adjusted import compare_adjusted

    age = people.age + 0.5 * SHIFTS[people.clusters]
    moved = 0.5 * age + 0.4 * people.site + effect * SHIFTS[people.clusters]
    known = {"age": 50 + 17 * age, "site": people.site.astype(str), "family": people.families}
    table, _facts = compare_adjusted(
        pd.Series(people.clusters, people.ids),
        pd.DataFrame(ordinal(people.noise(FACTORS) + moved[:, None]), people.ids),
        pd.DataFrame(known, people.ids),
        199 if people.number < MANY else 1,
        0.95,
        1,
        splines="auto",
    )
    yield from table[["eta2", "eta2_low", "eta2_high", "p"]].itertuples(index=False, name=None)


def region(people: People, effect: float, quantity: str) -> Iterator[tuple[float, float, float, float]]:
    """Yield g of regions of the smallest cluster, with age taken out."""
    from neurostrata.strata.maps.effects import StrataSums, effect_interval

    smallest = people.clusters == 3
    spread = np.where(smallest & (quantity == "wider region"), 2, 1)
    values = people.noise(FACTORS) * spread[:, None] + (effect * smallest + 0.5 * people.age)[:, None]
    sums = StrataSums((~smallest).astype(np.intp), 1, people.age[:, None], spreads=True)
    for person in range(people.number):
        sums.add(person, values[person])
    if smallest.sum() > 1:
        found = sums.effects(0)
        assert found.adjusted is not None
        low, high = effect_interval(found.adjusted, found.n, found.others, 0.95, found.own, found.rest)
        yield from zip(found.adjusted, low, high, np.full(FACTORS, np.nan), strict=True)


def quality(people: People, effect: float, quantity: str) -> Iterator[tuple[float, float, float, float]]:
    """Yield how measures of quality go with site or age."""
    from neurostrata.quality.covariates import relate_to_people

    moved = effect * (people.age if quantity == "age" else people.site)
    known = {"age": 50 + 17 * people.age, "site": people.site.astype(str), "family": people.families}
    table = relate_to_people(
        pd.DataFrame(people.noise(FACTORS) + moved[:, None], people.ids), pd.DataFrame(known, people.ids)
    )
    own = table[table["characteristic"] == quantity]
    yield from own[["effect", "low", "high", "p"]].itertuples(index=False, name=None)


def decoded(people: People, _effect: float, _: str) -> Iterator[tuple[float, float, float, float]]:
    """Yield the ratio of two errors that vary between people by a factor of about two."""
    from neurostrata.report.data.comparison import ratio_interval

    whole = np.exp(0.5 * people.noise()[:, 0])
    part = 0.7 * whole**0.8 * np.exp(0.2 * people.noise()[:, 0])
    if people.number == MANY:
        yield float(part.sum() / whole.sum()), np.nan, np.nan, np.nan
    else:
        yield (*ratio_interval(part, whole, people.families), np.nan)


def prediction(people: People, effect: float, quantity: str) -> Iterator[tuple[float, float, float, float]]:
    """Yield what a study's models reach in new people, the ends of the interval, and 0 where it is above chance (as a p would be)."""
    from sklearn.metrics import roc_auc_score

    from neurostrata.core.embeddings import Embeddings
    from neurostrata.fusion.data.splits import make_splits
    from neurostrata.prediction.crossfold import fold_predictions, score_predictions
    from neurostrata.prediction.estimators import predict_classes, predict_number
    from neurostrata.prediction.targets import Target

    def drawn(of: People) -> tuple[np.ndarray, np.ndarray]:
        codes = of.noise(16)
        values = effect * codes[:, :4].sum(axis=1) / 2 + np.sqrt(1 - effect**2) * of.noise()[:, 0]
        return codes, values if quantity == "number" else np.where(values > 0, "b", "a").astype(object)

    codes, values = drawn(people)
    new_codes, new = drawn(People(NEW, False, int(people.generator.integers(2**31))))
    target = Target("t", "number" if quantity == "number" else "classes", pd.Series(values, people.ids))
    rows = pd.DataFrame({"subject": people.ids, "family": people.families})
    splits = make_splits(rows, {"method": "kfold", "folds": FOLDS, "stratify_by": []}, 1)
    families = dict(zip(people.ids, people.families, strict=True))
    parts, reached = [], []
    for fold in range(FOLDS):
        role = splits[splits["fold"] == str(fold)].set_index("subject")["role"].loc[people.ids].to_numpy()
        table = pd.DataFrame({"subject": people.ids, "role": role})
        parts.append(
            fold_predictions(target, "codes", str(fold), Embeddings(people.ids, codes, table), families, 1)
        )
        train = role == "train"
        if quantity == "number":
            error = (new - predict_number(codes[train], values[train].astype(float), new_codes)) ** 2
            reached.append(1 - error.sum() / ((new - values[train].mean()) ** 2).sum())
        else:
            scores = predict_classes(codes[train], values[train].astype(str), new_codes, people.of[train], 1)[
                1
            ]
            reached.append(roc_auc_score(new == "b", scores[:, 1]))
    found = score_predictions(pd.concat(parts, ignore_index=True), [target], families, 1).iloc[0]
    above = found["low"] > (0 if quantity == "number" else 0.5)
    yield float(np.mean(reached)), found["low"], found["high"], 0.0 if above else 1.0


STUDIES = {
    **dict.fromkeys(("factor", "chi-square", "large"), factor),
    "adjusted": adjusted,
    **dict.fromkeys(("region", "wider region"), region),
    **dict.fromkeys(("site", "age"), quality),
    "decoded": decoded,
    **dict.fromkeys(("number", "classes"), prediction),
}


def measure(task: tuple[str, int, str, float, int]) -> list[dict[str, Any]]:
    """Return the shares of a quantity in some number of people."""
    quantity, number, relatives, effect, cohorts = task
    study = STUDIES[quantity]
    found = np.array(
        [
            row
            for seed in range(cohorts)
            for row in study(People(number, relatives == "half", seed), effect, quantity)
        ]
    )
    if study is prediction:
        truth = found[:, 0].mean()
    elif effect == 0:
        truth = 0.0
    else:
        many = 20_000 if quantity == "adjusted" else MANY
        truth = float(np.mean([row[0] for row in study(People(many, False, 10**6), effect, quantity)]))
    covered = (found[:, 1] <= truth) & (truth <= found[:, 2])
    return [
        {
            **dict(zip(KEYS, task)),
            "studies": cohorts,
            "truth": truth,
            "covered": covered.mean(),
            "width": (found[:, 2] - found[:, 1]).mean(),
            "p_at_most_0.05": (found[:, 3] <= 0.05).mean() if not np.isnan(found[:, 3]).all() else np.nan,
        }
    ]


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the shares as text, a row for each quantity: covered without and with an effect, and p at or below 0.05 without."""
    rows = []
    for quantity, (words, _, _) in QUANTITIES.items():
        own = frame[frame["quantity"] == quantity]
        if own.empty:
            continue
        row = {"quantity": words}
        for people in (80, 300):
            for relatives in ("none", "half"):
                of = own[(own["people"] == people) & (own["relatives"] == relatives)]
                none, some = of[of["effect"] == 0], of[of["effect"] > 0]
                cells = [f"{part['covered'].iloc[0]:.0%}" for part in (none, some) if len(part)]
                if len(none) and none["p_at_most_0.05"].notna().all():
                    cells.append(f"p {none['p_at_most_0.05'].iloc[0]:.1%}")
                row[f"{people} people" + (", relatives" if relatives == "half" else "")] = ", ".join(cells)
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    """Do what is not done yet, write it down, print the table of docs/trust.md."""
    chosen = command_line(__doc__, 400, processes=2).parse_args()
    tasks = [
        (quantity, people, relatives, effect, round(studies * chosen.cohorts))
        for people in (80, 300)
        for quantity, (_, some, studies) in QUANTITIES.items()
        if people == 80 or quantity not in SLOW
        for relatives in ("none", "half")
        for effect in (0.0, some)
        if effect > 0 or quantity not in ALWAYS
        if effect == 0 or quantity not in NEVER
    ]
    tasks.sort(key=lambda task: task[0] in SLOW)
    print(markdown(summary(collected(chosen, KEYS, tasks, measure))))


if __name__ == "__main__":
    main()
