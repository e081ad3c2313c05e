"""What was found, in sentences that follow from the tables by fixed rules; "nothing" is said as plainly.

The rules, in the order in which they are asked; the first that holds gives the outcome (``kind``). They are those of the
leading finder on the leading codes; alpha is ``report.alpha``.

============== ================================================================================= =======
Outcome        Holds when                                                                        Colour
============== ================================================================================= =======
unknown        there is no clusters.tsv, or no existence.tsv                                     grey
nothing        existence.tsv: claimed is no, or there is one cluster                             blue
explained      composition_tests.tsv: site, image quality or head size differs between the       red
               clusters with q < alpha and an effect (eta squared or Cramer's V) of at least 0.5
clusters_only  no factor differs: none has q < alpha in comparisons_adjusted.tsv and both        purple
               q < alpha in comparisons.tsv, or phenotypes were not compared
unadjusted     a factor has both q < alpha in comparisons.tsv; comparisons_adjusted.tsv is       amber
               not there
found          at least one factor has all three q < alpha                                       green
============== ================================================================================= =======

Two things turn the colour of any outcome but unknown to amber, and stand in the first sentence: the model decodes some
modality of people it has not seen no better than the mean training image (median squared error); and, where clusters
exist, their mean Jaccard index over bootstrap samples (weighted by people) is below 0.6.

Everything else is said and changes no colour: what clusters add to the continuous model, split halves, shuffled links,
weaker effects of site, quality, head size, age or sex, small clusters, people who fit into none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.model_words import model_words
from neurostrata.report.data.evidence import Evidence, false_discovery_rates, finder_name
from neurostrata.report.figures.phenotypes import factor_label, short_name
from neurostrata.report.html.blocks import count, format_number, format_p, human_name, join_words

REPARTITION_NOTE = (
    "The random repartition is a permutation version of the same Kruskal-Wallis test on the same people and clusters. "
    "It is no independent confirmation of a difference, and no evidence that the clusters exist."
)
EMBEDDING_NOTE = (
    "With skip connections image detail reaches the decoder past the embedding; claims about what an embedding holds rest "
    "on the experiments that were run without them."
)
#: Limits of the mean Jaccard index over bootstrap samples (Hennig 2007) and how it reads below each.
JACCARD_READINGS = ((0.5, "dissolved"), (0.6, "doubtful"), (0.75, "a pattern whose members change"))
#: Below this mean Jaccard index clusters are not trusted.
DOUBTFUL = 0.6
#: An effect this large of one of :data:`NUISANCES` explains the clusters.
EXPLAINS = 0.5
#: Characteristics that, if clusters follow them, leave nothing to say about the brain.
NUISANCES = ("site", "image_quality", "head_size")

#: Outcome -> colour of its card and the words on it.
OUTCOMES = {
    "found": ("green", "clusters that differ in phenotype"),
    "unadjusted": ("amber", "clusters that differ, not adjusted"),
    "clusters_only": ("purple", "clusters without a difference in phenotype"),
    "explained": ("red", "clusters explained by"),
    "nothing": ("blue", "no clusters"),
    "unknown": ("grey", "not known"),
}


@dataclass
class Verdict:
    """The outcome of one experiment.

    Attributes
    ----------
    name, kind
        The experiment; and the outcome, a key of :data:`OUTCOMES`.
    doubts
        Why the card is amber although the outcome is known.
    headline
        What was found, doubts first.
    sentences, cautions
        What supports and what limits it.
    finder, clusters, people, p, jaccard, tested
        Numbers behind it; None where they are not known.
    found
        Factors that differ, by decreasing effect.
    explained_by
        Characteristics that explain the clusters.
    small
        Clusters flagged as small.
    outside
        People who fit into no cluster.
    """

    name: str
    kind: str = "unknown"
    doubts: list[str] = field(default_factory=list)
    headline: str = ""
    sentences: list[str] = field(default_factory=list)
    cautions: list[str] = field(default_factory=list)
    finder: str = ""
    clusters: int | None = None
    people: int | None = None
    p: float | None = None
    jaccard: float | None = None
    tested: int | None = None
    found: list[str] = field(default_factory=list)
    explained_by: list[str] = field(default_factory=list)
    small: list[int] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    @property
    def colour(self) -> str:
        """Colour of the card."""
        return "amber" if self.doubts and self.kind != "unknown" else OUTCOMES[self.kind][0]

    @property
    def label(self) -> str:
        """The outcome in a few words."""
        words = OUTCOMES[self.kind][1]
        if self.explained_by and self.kind == "explained":
            words += f" {join_words([human_name(name) for name in self.explained_by])}"
        return words + (", in doubt" if self.doubts and self.kind != "unknown" else "")


def describe_jaccard(value: float) -> str:
    """Return Hennig's reading of a mean Jaccard index over bootstrap samples."""
    return next((words for limit, words in JACCARD_READINGS if value < limit), "stable")


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
    """Return "η² = 0.12 (95% interval 0.05 to 0.20), q = 0.003, q of the repartition 0.004"."""
    text = f"η² = {format_number(row['eta2'], 2)}"
    if pd.notna(row["eta2_low"]) and pd.notna(row["eta2_high"]):
        text += (
            f" ({level} interval {format_number(row['eta2_low'], 2)} to {format_number(row['eta2_high'], 2)})"
        )
    text += f", q {equals(row['q'])}"
    if pd.notna(row["q_repartition"]):
        text += f", q of the repartition {equals(row['q_repartition'])}"
    return text


def equals(value: Any) -> str:
    """Return "= 0.012" or "< 0.001"."""
    text = format_p(value)
    return text if text.startswith("<") else f"= {text}"


def explaining(tests: pd.DataFrame | None, alpha: float) -> list[str]:
    """Return the nuisances that explain the clusters, the strongest first."""
    if tests is None:
        return []
    strong = tests[
        tests["characteristic"].isin(NUISANCES) & (tests["q"] < alpha) & (tests["effect"] >= EXPLAINS)
    ]
    return [str(name) for name in strong.sort_values("effect", ascending=False)["characteristic"]]


def judge(
    name: str,
    evidence: Evidence,
    *,
    experiment: Mapping[str, Any] | None = None,
    alpha: float = 0.05,
    level: str = "95%",
    meanings: Mapping[str, str] | None = None,
    decoding: str = "",
) -> Verdict:
    """Say what an experiment found, by the rules of this module.

    Parameters
    ----------
    name
        Of the experiment.
    evidence
        The tables of the leading finder on the leading codes.
    experiment
        Its configuration: model, modalities, options.
    alpha
        Limit of the false-discovery rates.
    level
        Level of the effect size's interval, for the text.
    meanings
        Factor -> the variables that load on it.
    decoding
        A sentence when the model decodes no better than the mean image, else "".
    """
    meanings = meanings or {}
    verdict = Verdict(name, finder=evidence.finder)
    verdict.cautions.extend(model_words(experiment, "cautions") if experiment else [])
    if evidence.clusters is None:
        verdict.headline = (
            f"{decoding} No clusters were looked for, so nothing can be said about strata.".strip()
        )
        verdict.sentences.extend(continuous_sentences(evidence, alpha, meanings))
        return verdict
    sizes = evidence.sizes()
    verdict.clusters, verdict.people = len(sizes), sum(sizes.values())
    verdict.outside = evidence.outside()
    verdict.jaccard = evidence.mean_jaccard() if len(sizes) > 1 else None
    if evidence.existence is not None:
        verdict.p = float(evidence.existence["p"])
    exists = evidence.claimed()
    if len(sizes) < 2 and exists is not None:
        exists = False
    if decoding:
        verdict.doubts.append("decodes no better than the mean image")
    partition = f"{count(len(sizes), 'cluster')} of {_sizes(sizes)} people, by {finder_name(evidence.finder)}"
    if exists is None:
        verdict.headline = (
            "Whether clusters exist is not known: what was found was not compared with data without groups."
        )
        verdict.sentences.append(f"The partition shown has {partition}.")
    elif not exists:
        verdict.kind = "nothing"
        verdict.headline = _nothing(evidence, verdict, alpha)
        verdict.sentences.extend(continuous_sentences(evidence, alpha, meanings))
        if len(sizes) > 1:
            verdict.sentences.append(f"The partition shown, {partition}, is a cut through a continuum.")
    else:
        verdict.sentences.append(
            f"Existence: p {equals(verdict.p)} against data without groups; {partition}."
        )
        _judge_stability(verdict, evidence)
    if len(sizes) > 1:
        _judge_factors(verdict, evidence, alpha, level, meanings, exists)
        _judge_composition(verdict, evidence, alpha, exists)
        if exists:
            verdict.sentences.extend(_checks(evidence, alpha))
            verdict.sentences.extend(continuous_sentences(evidence, alpha, meanings))
            verdict.sentences.extend(_added(evidence, alpha, meanings))
        _judge_people(verdict, evidence, sizes)
    elif evidence.facts and evidence.facts["reason"]:
        verdict.sentences.append(f"{finder_name(evidence.finder)}: {evidence.facts['reason']}.".capitalize())
    if decoding:
        verdict.headline = f"{decoding} {verdict.headline}"
    return verdict


def _sizes(sizes: Mapping[int, int]) -> str:
    if len(sizes) <= 12:
        return join_words([str(n) for n in sizes.values()])
    return f"between {min(sizes.values())} and {max(sizes.values())}"


def _nothing(evidence: Evidence, verdict: Verdict, alpha: float) -> str:
    who = count(verdict.people or 0, "person", "people")
    if (verdict.clusters or 0) < 2:
        return f"No clusters were found: {finder_name(evidence.finder)} keeps the {who} in one group."
    return (
        f"No clusters were found: the best partition of the {who} ({finder_name(evidence.finder)}) is no clearer than in data "
        f"without groups (p {equals(verdict.p)})."
    )


def _judge_stability(verdict: Verdict, evidence: Evidence) -> None:
    if verdict.jaccard is None:
        verdict.cautions.append("How stable the clusters are is not known: people were not resampled.")
        return
    reading = describe_jaccard(verdict.jaccard)
    each = join_words([format_number(value, 2) for _, value in evidence.jaccard().values()][:12])
    verdict.sentences.append(
        f"Stability: mean Jaccard index over bootstrap samples {format_number(verdict.jaccard, 2)}, read as {reading} "
        f"(cluster by cluster: {each})."
    )
    if verdict.jaccard < DOUBTFUL:
        verdict.doubts.append("not stable")
    weak = [
        f"{cluster} ({describe_jaccard(value)}, {format_number(value, 2)})"
        for cluster, (_, value) in evidence.jaccard().items()
        if value < DOUBTFUL
    ]
    if weak:
        verdict.cautions.append(
            f"Not found again in most bootstrap samples: cluster {join_words(weak[:12])}."
        )


def _judge_factors(
    verdict: Verdict,
    evidence: Evidence,
    alpha: float,
    level: str,
    meanings: Mapping[str, str],
    exists: bool | None,
) -> None:
    """Count the factors that differ; where clusters exist, give the outcome and the headline."""
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
    factors = count(len(tested), "phenotypic factor")
    rows = tested.set_index("factor")
    if exists:
        verdict.headline, verdict.kind = _phenotype_headline(
            verdict, start, factors, raw, adjusted_for(adjusted)
        )
        for factor in (verdict.found or (raw if adjusted is None else []))[:8]:
            verdict.sentences.append(
                f"{named(factor, meanings)}: {effect_text(rows.loc[factor], level)}"
                + _adjusted_text(adjusted, factor)
                + "."
            )
        if not raw:
            top = tested.loc[tested["p"].idxmin()]
            verdict.sentences.append(
                f"The nearest was {named(str(top['factor']), meanings)}: {effect_text(top, level)}."
            )
    elif raw:
        many = (
            f"{count(len(raw), 'factor')} ({join_words([named(f, meanings) for f in raw[:4]])}) nevertheless"
        )
        verdict.cautions.append(
            f"{many} differ{'s' if len(raw) == 1 else ''} between the parts of this partition: a cut through a continuum does that."
        )
    if exists:
        _judge_disagreements(verdict, tested, raw, adjusted, alpha, meanings)
    _judge_power(verdict, tested)


def adjusted_for(adjusted: pd.DataFrame | None) -> str | None:
    """Return what comparisons were adjusted for, in words; None without such comparisons."""
    if adjusted is None:
        return None
    if "adjusted_for" not in adjusted or adjusted["adjusted_for"].isna().all():
        return "nothing"
    names = [part.strip() for part in str(adjusted["adjusted_for"].dropna().iloc[0]).split(",")]
    return join_words([human_name(name) for name in names])


def _phenotype_headline(
    verdict: Verdict, start: str, factors: str, raw: Sequence[str], adjustment: str | None
) -> tuple[str, str]:
    if adjustment is None:
        if not raw:
            return f"{start}, but none of {factors} tested differs between them.", "clusters_only"
        verb = "differs" if len(raw) == 1 else "differ"
        return (
            f"{start} and {len(raw)} of {factors} {verb} between them; whether that holds after adjustment for age, sex, head size, "
            "site and image quality is not known.",
            "unadjusted",
        )
    after = f"after adjustment for {adjustment}"
    if not verdict.found:
        return f"{start}, but none of {factors} tested differs between them {after}.", "clusters_only"
    verb = "differs" if len(verdict.found) == 1 else "differ"
    return f"{start} and {len(verdict.found)} of {factors} {verb} between them {after}.", "found"


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
        verdict.cautions.append("The random repartition was not run, so no difference is claimed.")
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
        verdict.sentences.append(
            f"The smallest effect that this many people had a fair chance to show is η² ≈ {value}."
        )


def _judge_composition(verdict: Verdict, evidence: Evidence, alpha: float, exists: bool | None) -> None:
    tests = evidence.composition_tests
    if tests is None:
        if exists:
            verdict.cautions.append(
                "Whether site, image quality or head size explains the clusters is not known: no such table was made."
            )
        return
    verdict.explained_by = explaining(tests, alpha)
    effects = {"eta2": "η²", "cramers_v": "Cramér's V"}

    def described(rows: pd.DataFrame) -> str:
        return join_words(
            [
                f"{human_name(str(row['characteristic']))} ({effects.get(str(row['effect_name']), row['effect_name'])} = "
                f"{format_number(row['effect'], 2)}, q {equals(row['q'])})"
                for _, row in rows.iterrows()
            ]
        )

    if exists and verdict.explained_by:
        strong = tests[tests["characteristic"].isin(verdict.explained_by)]
        names = join_words([human_name(name) for name in verdict.explained_by])
        verdict.sentences.insert(0, f"Without that explanation it would read: {verdict.headline}")
        verdict.kind = "explained"
        unstable = "not stable" in verdict.doubts
        again = f", and resampling does not find them again (mean Jaccard index {format_number(verdict.jaccard, 2)})"
        verdict.headline = f"The clusters are explained by {names}: they differ in {described(strong)}{again if unstable else ''}."
    weaker = tests[(tests["q"] < alpha) & ~tests["characteristic"].isin(verdict.explained_by)]
    if len(weaker):
        what = "The parts of this partition" if exists is False else "The clusters"
        also = " also" if exists and verdict.explained_by else ""
        verdict.cautions.append(f"{what}{also} differ in {described(weaker)}.")
    elif exists and not verdict.explained_by:
        names = join_words([human_name(str(name)) for name in tests["characteristic"]])
        verdict.sentences.append(f"Not explained by what else is known: no difference in {names}.")


def _checks(evidence: Evidence, alpha: float) -> list[str]:
    """Split halves and shuffled links."""
    sentences = []
    if evidence.split_half is not None and evidence.split_half["adjusted_rand"].notna().any():
        rand = float(evidence.split_half["adjusted_rand"].median())
        text = f"Split halves: adjusted Rand index {format_number(rand, 2)} (median) between clusters carried over and clusters found anew"
        if evidence.split_factors is not None:
            held = int((evidence.split_factors["q"] < alpha).sum())
            text += (
                f"; {held} of {count(len(evidence.split_factors), 'factor')} differ in the held-out halves"
            )
        sentences.append(text + ".")
    shuffles = evidence.shuffles  # empty without phenotypes; null when nothing could be tested
    if shuffles and shuffles["share_found"] is not None:
        share = float(shuffles["share_found"])
        sentences.append(
            f"With images and phenotypes of different people joined, some factor differs in {100 * share:.0f}% of the tries "
            f"(expected: at most {100 * alpha:g}%)."
        )
    return sentences


def continuous_sentences(evidence: Evidence, alpha: float, meanings: Mapping[str, str]) -> list[str]:
    """What the codes predict without any clusters."""
    if evidence.continuous is None:
        return []
    rows = evidence.continuous
    rows = rows[(rows["features"] == "codes") & (rows["method"] == "ridge") & rows["value"].notna()]
    if not len(rows):
        return []
    good = rows[(rows["q"] < alpha) & (rows["value"] > 0)]
    text = f"Without clusters: the codes predict {len(good)} of {count(len(rows), 'factor')} in people not learned from"
    best = (good if len(good) else rows).sort_values("value", ascending=False).iloc[0]
    what = "best" if len(good) else "nearest"
    text += (
        f" ({what}: {named(str(best['factor']), meanings)}, R² = {format_number(best['value'], 2)}, "
        f"{format_number(best['low'], 2)} to {format_number(best['high'], 2)}, q {equals(best['q'])})."
    )
    return [text]


def _added(evidence: Evidence, alpha: float, meanings: Mapping[str, str]) -> list[str]:
    rows = evidence.added
    if rows is None or not rows["p"].notna().any():
        return []
    q = false_discovery_rates(rows["p"])
    more = rows[(q < alpha) & (rows["added_r2"] > 0)]
    if not len(more):
        return [
            f"The clusters add nothing to the codes in any of {count(len(rows), 'factor')}: codes without clusters predict as well."
        ]
    names = join_words([named(str(f), meanings) for f in more["factor"]][:4])
    return [f"The clusters add to what the codes predict in {len(more)} of {len(rows)} factors: {names}."]


def _judge_people(verdict: Verdict, evidence: Evidence, sizes: Mapping[int, int]) -> None:
    if evidence.facts:  # the clusters' sidecar may be lost
        verdict.small = [int(cluster) for cluster in evidence.facts["small_clusters"]]
    if verdict.small:
        numbers = join_words([f"{c} (n = {sizes.get(c, 0)})" for c in verdict.small[:12]])
        more = f" and {len(verdict.small) - 12} more" if len(verdict.small) > 12 else ""
        verb = "is" if len(verdict.small) == 1 else "are"
        limit = format_number(evidence.facts["small_cluster_limit"])
        verdict.cautions.append(f"Small clusters: {numbers}{more} {verb} below {limit} people.")
    people = sum(sizes.values())
    if people and max(sizes.values()) / people > 0.9:
        share = max(sizes.values()) / people
        verdict.cautions.append(
            f"One cluster holds {share:.0%} of the people: this is outliers against the rest."
        )
    if verdict.outside:
        out = verdict.outside
        more = f" and {len(out) - 20} more" if len(out) > 20 else ""
        verdict.cautions.append(
            f"{count(len(out), 'person fits', 'people fit')} into no cluster and {'is' if len(out) == 1 else 'are'} left out of the "
            f"comparisons: {', '.join(out[:20])}{more}."
        )


def named(factor: str, meanings: Mapping[str, str]) -> str:
    """Return "Factor 1 (Endurance, Strength)"."""
    meaning = meanings.get(factor, "")
    return f"{factor_label(factor)} ({meaning})" if meaning else factor_label(factor)


def overall(verdicts: Sequence[Verdict]) -> str:
    """Return the first sentence of the report: every outcome with the experiments that had it, the best first."""
    if not verdicts:
        return "No experiment was run: there are no embeddings, no clusters and no comparison to judge."
    phrases = {
        "found": "clusters exist in the images and differ in phenotype after adjustment",
        "unadjusted": "clusters exist and differ in phenotype, but the differences were not adjusted",
        "clusters_only": "clusters exist, but no difference in phenotype was found",
        "explained": "clusters exist, but site, image quality or head size explains them",
        "nothing": "no clusters were found",
        "unknown": "nothing can be said about clusters",
    }
    parts = []
    for kind, phrase in phrases.items():
        group = [verdict for verdict in verdicts if verdict.kind == kind]
        if not group:
            continue
        doubtful = [verdict.name for verdict in group if verdict.colour == "amber" and verdict.doubts]
        names = join_words([verdict.name for verdict in group])
        where = (
            f"In {names}"
            if len(group) < len(verdicts) or len(verdicts) == 1
            else ("In both experiments" if len(group) == 2 else f"In all {len(group)} experiments")
        )
        doubt = f" (in doubt: {join_words(doubtful)})" if doubtful and len(verdicts) > 1 else ""
        doubt = " (in doubt, see below)" if doubtful and len(verdicts) == 1 else doubt
        parts.append(f"{where}, {phrase}{doubt}.")
    if all(verdict.kind == "nothing" for verdict in verdicts):
        parts.append("The continuous results lead.")
    return " ".join(parts)
