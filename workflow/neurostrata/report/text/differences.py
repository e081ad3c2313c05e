"""The sentences of a verdict on the phenotypic factors that differ between the clusters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.wording import count, join_words
from neurostrata.report.data.evidence import Evidence
from neurostrata.report.figures.phenotypes import factor_label, no_upper_end, short_name
from neurostrata.report.html.blocks import format_number, human_name
from neurostrata.report.text.verdict import Verdict, equals

#: Factors whose effects are given in a sentence of their own, at most.
MOST_FACTORS = 8


def significant_factors(
    comparisons: pd.DataFrame, alpha: float = 0.05, adjusted: pd.DataFrame | None = None
) -> list[str]:
    """Return the factors with both false-discovery rates below `alpha`, by decreasing effect size.

    With `adjusted` (``comparisons_adjusted.tsv``) only those whose adjusted rate is below `alpha` too.
    """
    if "q_repartition" not in comparisons or "q" not in comparisons:
        return []
    found = comparisons[(comparisons["q"] < alpha) & (comparisons["q_repartition"] < alpha)]
    names = [str(factor) for factor in found.sort_values("eta2", ascending=False)["factor"]]
    if adjusted is None:
        return names
    kept = set(adjusted.loc[adjusted["q"] < alpha, "factor"].astype(str))
    return [name for name in names if name in kept]


def effect_text(row: pd.Series, level: str = "95%") -> str:
    """Return "η² = 0.12 (95% interval 0.05 to 0.20), q = 0.003, q in random groups 0.004"; an interval without an upper end is "from 0.05 up"."""
    text = f"η² = {format_number(row['eta2'], 2)}"
    if pd.notna(row["eta2_low"]) and pd.notna(row["eta2_high"]):
        low = format_number(row["eta2_low"], 2)
        ends = (
            f"from {low} up"
            if no_upper_end(row["eta2_high"])
            else f"{low} to {format_number(row['eta2_high'], 2)}"
        )
        text += f" ({level} interval {ends})"
    text += f", q {equals(row['q'])}"
    if pd.notna(row["q_repartition"]):
        text += f", q in random groups {equals(row['q_repartition'])}"
    return text


def judge_factors(
    verdict: Verdict,
    evidence: Evidence,
    alpha: float,
    level: str,
    meanings: Mapping[str, str],
    exists: bool | None,
) -> None:
    """Add the sentences on the factors; where clusters exist, set the outcome and the headline."""
    comparisons, adjusted = evidence.comparisons, evidence.adjusted
    clusters = count(verdict.clusters or 0, "cluster")
    start = f"{clusters} exist (p {equals(verdict.p)})"
    unstable = "not stable" in verdict.doubts
    if unstable:
        start = (
            f"{clusters} are claimed (p {equals(verdict.p)}) that resampling does not find again (mean Jaccard index "
            f"{format_number(verdict.jaccard, 2)})"
        )
    if exists:
        verdict.kind = "clusters_only"
        verdict.headline = f"{start}; phenotypes were not compared between them."
    if comparisons is None:
        return
    tested = comparisons[comparisons["p"].notna()]
    verdict.tested = len(tested)
    skipped = len(comparisons) - len(tested)
    if skipped:
        verdict.cautions.append(
            f"{count(skipped, 'factor')} could not be tested (too few people with a score in at least two clusters)."
        )
    if not len(tested):
        if exists:
            verdict.headline = f"{start}; no factor could be tested between them."
        return
    raw = significant_factors(tested, alpha)
    if exists and adjusted is not None:
        verdict.found = significant_factors(tested, alpha, adjusted)
    rows = tested.set_index("factor")
    if exists:
        verdict.headline, verdict.kind = _phenotype_headline(verdict, start, raw, adjusted)
        differing = verdict.found or (raw if adjusted is None else [])
        for factor in differing[:MOST_FACTORS]:
            verdict.sentences.append(
                f"{named(factor, meanings)}: {effect_text(rows.loc[factor], level)}"
                + _adjusted_text(adjusted, factor)
                + "."
            )
        if more := differing[MOST_FACTORS:]:
            names = join_words([short_name(factor, meanings.get(factor, "")) for factor in more])
            verdict.sentences.append(
                f"{count(len(more), 'more factor differs', 'more factors differ')}: {names}."
            )
        if not raw:
            top = tested.loc[tested["p"].idxmin()]
            verdict.sentences.append(
                f"The smallest p-value is that of {named(str(top['factor']), meanings)}: {effect_text(top, level)}."
            )
    elif raw:
        many = (
            f"{count(len(raw), 'factor')} ({join_words([named(f, meanings) for f in raw[:4]])}) nevertheless"
        )
        verdict.cautions.append(
            f"{many} differ{'s' if len(raw) == 1 else ''} between the parts of this partition; dividing a continuum produces such differences."
        )
    if exists:
        _judge_disagreements(verdict, tested, raw, adjusted, alpha, meanings)
        _judge_covariates(verdict, tested, adjusted)
    _judge_power(verdict, tested)


def adjusted_for(adjusted: pd.DataFrame | None) -> str | None:
    """Return what comparisons were adjusted for, in words; None without such comparisons."""
    if adjusted is None:
        return None
    if "adjusted_for" not in adjusted or adjusted["adjusted_for"].isna().all():
        return "nothing"
    names = [part.strip() for part in str(adjusted["adjusted_for"].dropna().iloc[0]).split(",")]
    return join_words([human_name(name) for name in names])


def curves(adjusted: pd.DataFrame) -> str:
    """Return which of the covariates' effects are curves, and in which classes age has slopes of its own.

    The words follow the covariates; "" where all effects are straight and the same for everybody. Tables of earlier releases, in
    which all were, do not have the columns.
    """

    def named(column: str, words: str) -> str:
        found = adjusted[column].dropna().unique() if column in adjusted else []
        names = list(
            dict.fromkeys(name for text in found if text != "none" for name in str(text).split(", "))
        )
        if not names:
            return ""
        enough = ", as far as there are people enough with a value" if len(found) > 1 else ""
        return words.format(join_words([human_name(name) for name in names])) + enough

    parts = [named("curves", "{} along cubic curves"), named("slopes", "age with slopes of its own by {}")]
    return f" ({', '.join(part for part in parts if part)})" if any(parts) else ""


def _phenotype_headline(
    verdict: Verdict, start: str, raw: Sequence[str], adjusted: pd.DataFrame | None
) -> tuple[str, str]:
    tested = verdict.tested or 0

    def differing(found: Sequence[str]) -> str:
        """Return ", but none of 3 phenotypic factors tested differs between them" or " and 2 of 3 phenotypic factors differ ..."."""
        if tested == 1:
            verb = "differs" if found else "does not differ"
            return f"{' and' if found else ', but'} the one phenotypic factor tested {verb} between them"
        if not found:
            return f", but none of {tested} phenotypic factors tested differs between them"
        verb = "differs" if len(found) == 1 else "differ"
        return f" and {len(found)} of {tested} phenotypic factors {verb} between them"

    if adjusted is None:
        if not raw:
            return f"{start}{differing(raw)}.", "clusters_only"
        return (
            f"{start}{differing(raw)}; whether that holds after adjustment for age, sex, head size, site and image quality is not known.",
            "unadjusted",
        )
    after = f"after adjustment for {adjusted_for(adjusted)}"
    if adjusted["q"].isna().all():
        verdict.cautions.append(
            "No factor could be tested after adjustment: the covariates determine who is in which cluster, or too few people have them all."
        )
        return f"{start}, but no factor could be tested between them {after}.", "clusters_only"
    return f"{start}{differing(verdict.found)} {after}.", "found" if verdict.found else "clusters_only"


def _adjusted_text(adjusted: pd.DataFrame | None, factor: str) -> str:
    row = None if adjusted is None else adjusted[adjusted["factor"].astype(str) == factor]
    if row is None or not len(row):
        return ""
    return f"; adjusted η² = {format_number(row['eta2'].iloc[0], 2)}, adjusted q {equals(float(row['q'].iloc[0]))}"


def _judge_disagreements(
    verdict: Verdict,
    tested: pd.DataFrame,
    raw: Sequence[str],
    adjusted: pd.DataFrame | None,
    alpha: float,
    meanings: Mapping[str, str],
) -> None:
    def listed(factors: Iterable[Any]) -> str:
        return join_words([short_name(str(factor), meanings.get(str(factor), "")) for factor in factors])

    if "q_repartition" not in tested or not tested["q_repartition"].notna().any():
        verdict.cautions.append(
            "The test in random groups (random repartition) was not run, so no difference is claimed."
        )
        return
    one_only = tested[(tested["q"] < alpha) != (tested["q_repartition"] < alpha)]
    if len(one_only):
        verdict.cautions.append(
            f"Below {alpha:g} in only one of the two unadjusted tests, and not counted: {listed(one_only['factor'])}."
        )
    lost = [factor for factor in raw if factor not in verdict.found] if adjusted is not None else []
    if lost:
        verdict.cautions.append(f"Differ before adjustment only, and are not counted: {listed(lost)}.")
    if adjusted is not None:
        gained = set(adjusted.loc[adjusted["q"] < alpha, "factor"].astype(str)) - set(raw)
        if gained:
            verdict.cautions.append(
                f"Differ after adjustment only, and are not counted: {listed(sorted(gained))}."
            )


def _judge_covariates(verdict: Verdict, tested: pd.DataFrame, adjusted: pd.DataFrame | None) -> None:
    """Say that the adjusted comparisons rest on fewer people than the others, if they do."""
    if adjusted is None or "n" not in adjusted or "n" not in tested:
        return
    both = tested.merge(adjusted[["factor", "n"]], on="factor", suffixes=("", "_adjusted"))
    lacking = both["n"] - both["n_adjusted"]
    if (lacking > 0).any():
        most = int(lacking.max())
        verdict.cautions.append(
            f"{count(most, 'person', 'people')} with a score {'lacks' if most == 1 else 'lack'} a covariate and "
            f"{'is' if most == 1 else 'are'} left out of the comparisons after adjustment."
        )


def _judge_power(verdict: Verdict, tested: pd.DataFrame) -> None:
    people = [int(n) for n in tested["n"].dropna()] if "n" in tested else []
    clustered = (verdict.people or 0) - len(verdict.outside)
    if people and min(people) < clustered:
        span = f"{min(people)}" if min(people) == max(people) else f"{min(people)} to {max(people)}"
        verdict.cautions.append(
            f"Only {span} of the {clustered} people in clusters have a score; the others are left out of the tests."
        )
    columns = [
        c for c in ("detectable_eta2_corrected", "detectable_eta2") if c in tested and tested[c].notna().any()
    ]
    if columns:
        value = format_number(float(np.median(tested[columns[0]].dropna().to_numpy(float))), 2)
        verdict.sentences.append(f"The smallest detectable effect at the configured power is η² ≈ {value}.")


def named(factor: str, meanings: Mapping[str, str]) -> str:
    """Return "Factor 1 (Endurance, Strength)"."""
    meaning = meanings.get(factor, "")
    return f"{factor_label(factor)} ({meaning})" if meaning else factor_label(factor)
