"""How far each person is from what is expected in the cohort, in robust standard deviations, and who is flagged.

The spread is the median absolute deviation times 1.4826 (Hampel 1974), taken for people above and below the expectation by themselves
where these spread more, since many measures are skewed. The limit is chosen such that of people with sound images no more than a
given share is flagged by any measure: it grows with the number of measures (Sidak 1967), is higher in small cohorts, whose spread is
uncertain, and higher where the measures have heavier tails than a normal distribution (:func:`tail_freedom`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, special, stats

from neurostrata.imaging.quality.registry import MAD_TO_SD, Measure
from neurostrata.quality.expected import Expected, expect

COLUMNS = {
    "subject": "person",
    "measure": "what was measured",
    "value": "in the unit of the measure",
    "expected": "what is expected of this person, given age, sex and site as far as they are taken into account",
    "z": "difference from it in robust standard deviations of the cohort; sign as measured",
    "limit": "of z",
    "flagged": "whether z is beyond the limit on the side on which quality is bad",
    "compared_with": "number of people whose spread z is in",
}
#: Efficiency of the median absolute deviation against the standard deviation, of normal values (Rousseeuw and Croux 1993).
EFFICIENCY = 0.37
#: Makes the mean absolute deviation of normal values their standard deviation.
MEAN_TO_SD = 1.2533
#: Fewest degrees of freedom that tails are taken for; heavier ones have no spread to speak of.
HEAVIEST = 3.0
#: So many times the limit for normal values are gross errors, from which nothing is learned.
GROSS = 2.0
#: Share of the values in the tails, of all measures together and of one measure.
TAIL, OWN_SHARE = 0.03, 0.05
#: Tails of few people are drawn towards those of this many degrees of freedom; with so many people both count as much.
USUAL_FREEDOM, FEW_PEOPLE = 10.0, 30
#: How many people a measure needs for its own tail to count as much as that of all measures together.
OWN_TAIL = 200
#: p of the test that sites spread differently, below which each is compared with its own spread.
UNEQUAL_SPREADS = 0.001
#: Fewest people of a site for a spread of its own.
OWN_SPREAD = 30


@dataclass(frozen=True)
class Rules:
    """Section `quality` of the configuration.

    Attributes
    ----------
    limit
        Of every measure; None: by :func:`limit_of_z`.
    limits
        Measure -> its own limit.
    leave_out
        Measures that are not compared.
    covariates
        Among ``age``, ``sex``, ``site``.
    false_flags
        Largest share of people with sound images who may be flagged by any measure.
    fewest_people
        With fewer people nothing is compared.
    people_per_site
        Fewest people of a site for a level of its own.
    """

    limit: float | None
    limits: Mapping[str, float]
    leave_out: Collection[str]
    covariates: Collection[str]
    false_flags: float
    fewest_people: int
    people_per_site: int

    def limit_of(self, measure: Measure) -> float | None:
        """Return the limit that the configuration sets for a measure, None where it is chosen."""
        return self.limits.get(measure.name, self.limit)

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> Rules:
        """Read the section."""
        limit = None if section["limit"] == "auto" else float(section["limit"])
        # which measures there are to compare is decided before
        kept = {key: value for key, value in section.items() if key != "models"}
        return cls(**{**kept, "limit": limit})


def sides(measure: Measure) -> int:
    """Return on how many sides a measure can be flagged."""
    return 2 if measure.bad == "both" else 1


def limit_of_z(
    tests: int, people: int, parameters: int, false_flags: float, freedom: float = np.inf
) -> float:
    """Return the limit of z for which a share `false_flags` of sound people is flagged by any of `tests` measures.

    A quantile of Student's t, the larger of two: the spread of n people estimated by the median absolute deviation is
    worth that of 0.37 n people estimated by the standard deviation; and values may have heavy tails.

    Parameters
    ----------
    tests
        Measures, those that are flagged on both sides counted twice.
    people
        Whose spread z is in.
    parameters
        Numbers that were estimated for the expectation.
    false_flags
        The share.
    freedom
        Degrees of freedom of the Student's t that sound values are like.
    """
    each = 1 - (1 - false_flags) ** (1 / max(1, tests))
    few = -float(special.stdtrit(max(1.0, EFFICIENCY * (people - parameters)), each))
    if not np.isfinite(freedom):
        return few
    # in units of 1.4826 median absolute deviations, as z is
    unit = special.stdtrit(freedom, 0.75) / special.ndtri(0.75)
    return max(few, -float(special.stdtrit(freedom, each) / unit))


def tail_freedom(distances: np.ndarray, share: float) -> float:
    """Return the degrees of freedom of the Student's t whose tails begin where those of the values begin; inf for a normal distribution.

    Parameters
    ----------
    distances
        From what is expected, in robust standard deviations.
    share
        Of the values in the tails, whose beginning is compared with where the outer half begins.
    """
    if not len(distances):
        return np.inf
    middle, far = np.quantile(distances, [0.5, 1 - share])
    if middle <= 0:
        return HEAVIEST

    def excess(freedom: float) -> float:
        half, tail = special.stdtrit(freedom, [0.75, 1 - share / 2])
        return float(tail / half - far / middle)

    if excess(HEAVIEST) <= 0:
        return HEAVIEST
    return np.inf if excess(500) >= 0 else float(optimize.brentq(excess, HEAVIEST, 500, xtol=0.01))


def scaled(values: pd.Series, measure: Measure) -> pd.Series:
    """Return the values on the scale on which people are compared: the natural logarithm where the measure says so.

    A 0 has none: it becomes the smallest value of the others, or a thousandth of that where low is bad.
    """
    if not measure.logarithm:
        return values.astype(float)
    positive = values[values > 0]
    if positive.empty:
        return pd.Series(0.0, index=values.index)
    least = positive.min() * (1.0 if measure.bad == "high" else 1e-3)
    return pd.Series(np.log(values.clip(lower=least).to_numpy(float)), index=values.index)


def unscaled(values: pd.Series, measure: Measure) -> pd.Series:
    """Return values in the unit of the measure; inverse of :func:`scaled`."""
    return pd.Series(np.exp(values.to_numpy(float)), index=values.index) if measure.logarithm else values


def spreads(residuals: np.ndarray) -> tuple[float, float]:
    """Return the robust standard deviation for people below and above the expectation.

    The median absolute deviation of all, or of one side alone where that is larger. Where more than half of the values are equal, such
    as numbers of shells: the mean absolute deviation, and where more than one in twenty differs, the median one of those that do, if it is larger.
    """
    distances = np.abs(residuals)
    whole = MAD_TO_SD * float(np.median(distances))
    if whole < 1e-12:
        mean = MEAN_TO_SD * float(distances.mean())
        differing = distances[distances > 1e-12]
        if len(differing) > len(distances) / 20:
            mean = max(mean, MAD_TO_SD * float(np.median(differing)))
        return mean, mean
    low, high = (
        max(whole, MAD_TO_SD * float(np.median(side))) if len(side) else whole
        for side in (distances[residuals <= 0], distances[residuals >= 0])
    )
    return low, high


def _own_spread(residuals: pd.Series, groups: pd.Series) -> list[str]:
    """Return the sites that are compared with their own spread: those with enough people, where spreads differ (Fligner and Killeen 1976)."""
    large = [name for name, count in groups.value_counts().items() if count >= OWN_SPREAD]
    if len(large) < 2:
        return []
    parts = [residuals[groups == name].to_numpy() for name in large]
    if np.ptp(np.concatenate(parts)) == 0:
        return []
    return [str(name) for name in large] if stats.fligner(*parts).pvalue < UNEQUAL_SPREADS else []


@dataclass
class Compared:
    """One measure of everybody, compared.

    Attributes
    ----------
    measure
        What was measured.
    values
        By subject.
    expected
        How the expectation was made.
    residuals
        Differences from it, on the scale of the comparison.
    spread
        By subject: ``low`` and ``high``, the robust standard deviations below and above the expectation; ``people``, in whom
        they were measured; ``parameters``, how many numbers were estimated for them; ``limit`` of z.
    """

    measure: Measure
    values: pd.Series
    expected: Expected
    residuals: pd.Series
    spread: pd.DataFrame

    def _ratios(self, least: Any) -> pd.Series:
        side = np.where(self.residuals < 0, self.spread["low"], self.spread["high"])
        return self.residuals / np.maximum(side, least)

    @property
    def z(self) -> pd.Series:
        """Residuals in robust standard deviations; a difference within the tolerance stays within the limit."""
        return self._ratios(np.maximum(self.measure.tolerance / self.spread["limit"].to_numpy(), 1e-12))

    @property
    def flagged(self) -> pd.Series:
        """Whether z is beyond the limit on the side on which quality is bad."""
        return self.beyond(1.0)

    def beyond(self, times: float) -> pd.Series:
        """Return whether z is beyond so many times the limit on the side on which quality is bad."""
        z, limit = self.z, times * self.spread["limit"]
        return {"low": z < -limit, "high": z > limit, "both": z.abs() > limit}[self.measure.bad]

    def limit_certain(self) -> None:
        """Lower the limit to where the measure is certain of an error (:attr:`Measure.certain`).

        Where that is expected of a person it is no error of this person: the limit stays.
        """
        if self.measure.certain is None:
            return
        certain = scaled(pd.Series([self.measure.certain]), self.measure).iloc[0]
        distance = certain - self.expected.values
        side, sign = ("low", -1) if self.measure.bad == "low" else ("high", 1)
        z = sign * distance / np.maximum(self.spread[side], 1e-12)
        self.spread["limit"] = self.spread["limit"].where(z <= 0, np.minimum(self.spread["limit"], z))

    def bad_distances(self, subjects: pd.Index) -> np.ndarray:
        """Return the distances in robust standard deviations of these people, on the side on which quality is bad."""
        z = self.z
        z = z[z.index.isin(subjects)]
        chosen = {"low": z[z < 0], "high": z[z > 0], "both": z}[self.measure.bad]
        return np.asarray(chosen.abs().to_numpy(dtype=float))

    def table(self) -> pd.DataFrame:
        """Return the rows of the table of deviations, columns :data:`COLUMNS`."""
        return pd.DataFrame(
            {
                "subject": self.values.index,
                "measure": self.measure.name,
                "value": self.values.to_numpy(),
                "expected": unscaled(self.expected.values, self.measure).to_numpy(),
                "z": self.z.to_numpy(),
                "limit": self.spread["limit"].to_numpy(),
                "flagged": np.where(self.flagged, "true", "false"),
                "compared_with": self.spread["people"].to_numpy(),
            },
            columns=list(COLUMNS),
        )


def compare_measure(
    values: pd.Series,
    measure: Measure,
    people: pd.DataFrame,
    rules: Rules,
    tests: int,
    sound: pd.Index,
) -> Compared | None:
    """Compare everybody's value of one measure with what is expected of them.

    Parameters
    ----------
    values
        By subject; NaN where it could not be measured.
    measure
        What it is.
    people
        Characteristics by subject.
    rules
        Limits and covariates.
    tests
        How many measures are compared; see :func:`limit_of_z`.
    sound
        From whom the expectation and the spread are learned; fewer than ``rules.fewest_people``: from everybody.

    Returns
    -------
    Compared or None
        None with fewer people than ``rules.fewest_people``, or where all values are equal.
    """
    known = values.dropna().astype(float)
    if len(known) < rules.fewest_people or known.nunique() < 2:
        return None
    compared = scaled(known, measure)
    if compared.nunique() < 2:
        return None
    # of a measure that most people have one value of, such as 0 outliers, a regression on age would make differences of nothing
    alike = compared.value_counts().iloc[0] >= len(compared) / 2
    covariates = {"site"} & set(rules.covariates) if alike else rules.covariates
    learned = known.index.isin(sound)
    if learned.sum() < rules.fewest_people:
        learned[:] = True
    expected = expect(compared, people, covariates, rules.people_per_site, learned)
    residuals = compared - expected.values
    own = _own_spread(residuals[learned], expected.groups[learned])
    distances, groups = residuals.to_numpy(), expected.groups.to_numpy()
    columns = {name: np.zeros(len(known)) for name in ("low", "high", "people", "parameters", "limit")}
    pooled = ~np.isin(groups, own)
    parts = [(groups == name, 1) for name in own]
    for part, parameters in [*parts, *([(pooled, expected.parameters)] if pooled.any() else [])]:
        # people of small sites beside large ones of unequal spread are compared with everybody
        near = part & learned
        reference = distances[near if near.sum() >= rules.fewest_people else learned]
        # residuals are smaller than errors, the more numbers are estimated
        larger = np.sqrt(len(reference) / max(1, len(reference) - parameters))
        columns["low"][part], columns["high"][part] = (larger * spread for spread in spreads(reference))
        columns["people"][part], columns["parameters"][part] = len(reference), parameters
        columns["limit"][part] = limit_of_z(tests, len(reference), parameters, rules.false_flags)
    table = pd.DataFrame(columns, index=known.index).astype({"people": int, "parameters": int})
    return Compared(measure, known, expected, residuals, table)


def compare_everybody(
    measured: pd.DataFrame, measures: Mapping[str, Measure], people: pd.DataFrame, rules: Rules
) -> list[Compared]:
    """Compare everybody in every measure.

    What is expected, how far values spread and how heavy their tails are is learned from the values themselves, without people who are
    beyond :data:`GROSS` times the limit for normal values in any measure: a few such people make everybody's spread larger, and hide each other.
    Tails are those of all measures together, and of each measure itself as far as there are people enough.

    Parameters
    ----------
    measured
        Index: subjects; a column per measure.
    measures
        Column -> what it is.
    people
        Characteristics by subject.
    rules
        Limits and covariates.
    """
    chosen = [
        name
        for name in measured
        if name not in rules.leave_out
        and measured[name].notna().sum() >= rules.fewest_people
        and measured[name].nunique() > 1
    ]
    tests = sum(sides(measures[name]) for name in chosen)
    sound = measured.index
    while True:
        found = [
            one
            for name in chosen
            if (one := compare_measure(measured[name], measures[name], people, rules, tests, sound))
            is not None
        ]
        gross = {subject for one in found for subject in one.values.index[one.beyond(GROSS)]}
        rest = sound.difference(pd.Index(sorted(gross)))
        # of a cohort of which more than half is in error nothing can be learned
        if len(rest) == len(sound) or len(rest) < len(measured) / 2:
            break
        sound = rest
    if not found:
        return []
    distances = [one.bad_distances(sound) for one in found]
    share = len(sound) / (len(sound) + FEW_PEOPLE)
    together = share / tail_freedom(np.concatenate(distances), TAIL) + (1 - share) / USUAL_FREEDOM
    for one, own in zip(found, distances):
        if (configured := rules.limit_of(one.measure)) is not None:
            one.spread["limit"] = configured
            continue
        weight = len(own) / (len(own) + OWN_TAIL)
        inverse = (1 - weight) * together + weight / tail_freedom(own, OWN_SHARE)
        freedom = 1 / inverse if inverse > 0 else np.inf
        for (number, parameters), part in one.spread.groupby(["people", "parameters"]):
            limit = limit_of_z(tests, int(number), int(parameters), rules.false_flags, freedom)
            one.spread.loc[part.index, "limit"] = limit
        one.limit_certain()
    return found
