"""The verdict on one experiment, from its tables by the rules of :mod:`neurostrata.report.text.verdict`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from neurostrata.core.model_words import model_words
from neurostrata.core.wording import count, join_words
from neurostrata.report.data.decoding import (
    RECONSTRUCTION_COLUMNS,
    better_baselines,
    modality_order,
    ordered_methods,
)
from neurostrata.report.data.evidence import Evidence, false_discovery_rates
from neurostrata.report.data.layout import Experiment
from neurostrata.report.data.results import StudyResults
from neurostrata.report.html.blocks import format_number, human_name
from neurostrata.report.text.differences import adjusted_for, judge_factors, named
from neurostrata.report.text.verdict import (
    DOUBTFUL,
    EFFECTS,
    EXPLAINS,
    Verdict,
    describe_jaccard,
    equals,
)
from neurostrata.strata.finders.registry import finder_name

#: Clusters that are spoken of one by one, at most.
MOST_NAMED = 12
#: Variables of quality_tests.tsv that are no measures of quality -> what clusters that differ in them may be.
OTHER_CLUSTERS = {
    "site": "clusters of sites",
    "head_size": "clusters of head size",
    "size": "clusters of head size",
}


def explaining(evidence: Evidence, alpha: float) -> list[str]:
    """Return the nuisances that explain the clusters, the strongest first."""
    tests = evidence.composition_tests
    if tests is None:
        return []
    nuisance = tests["characteristic"].isin(evidence.nuisances)
    strong = tests[nuisance & (tests["q"] < alpha) & (tests["effect"] >= EXPLAINS)]
    return [str(name) for name in strong.sort_values("effect", ascending=False)["characteristic"]]


def judge(
    name: str,
    evidence: Evidence,
    *,
    experiment: Mapping[str, Any] | None = None,
    alpha: float = 0.05,
    counted_alpha: float = 0.05,
    level: str = "95%",
    meanings: Mapping[str, str] | None = None,
    decoding: str = "",
) -> Verdict:
    """Return the verdict on an experiment, by the rules of :mod:`neurostrata.report.text.verdict`.

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
    counted_alpha
        That at which factors were counted with shuffled links.
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
    partition = f"{count(len(sizes), 'cluster')} of {_sizes(sizes)} people{_in_none(verdict.outside)}, by {finder_name(evidence.finder)}"
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
        judge_factors(verdict, evidence, alpha, level, meanings, exists)
        _judge_composition(verdict, evidence, alpha, exists)
        verdict.cautions.extend(quality_sentences(evidence, alpha))
        if exists:
            verdict.sentences.extend(_checks(evidence, alpha, counted_alpha))
            verdict.sentences.extend(continuous_sentences(evidence, alpha, meanings))
            verdict.sentences.extend(_added(evidence, alpha, meanings))
        _judge_people(verdict, evidence, sizes)
    elif evidence.facts and evidence.facts["reason"]:
        verdict.sentences.append(f"{finder_name(evidence.finder)}: {evidence.facts['reason']}.".capitalize())
    if decoding:
        verdict.headline = f"{decoding} {verdict.headline}"
    return verdict


def _sizes(sizes: Mapping[int, int]) -> str:
    if len(sizes) <= MOST_NAMED:
        return join_words([str(n) for n in sizes.values()])
    return f"between {min(sizes.values())} and {max(sizes.values())}"


def _in_none(outside: Sequence[str]) -> str:
    """Return how many of the people of the clusters' sizes are in none of them."""
    if not outside:
        return ""
    verb, are = ("fits", "is") if len(outside) == 1 else ("fit", "are")
    return f" ({len(outside)} of whom {verb} into none and {are} counted in the nearest)"


def _nothing(evidence: Evidence, verdict: Verdict, alpha: float) -> str:
    who = count(verdict.people or 0, "person", "people")
    if (verdict.clusters or 0) < 2:
        return f"No clusters were found: {finder_name(evidence.finder)} keeps the {who} in one group."
    return (
        f"No clusters were found: the best partition of the {who} ({finder_name(evidence.finder)}) cannot be told from those "
        f"of data without groups (p {equals(verdict.p)})."
    )


def _judge_stability(verdict: Verdict, evidence: Evidence) -> None:
    if verdict.jaccard is None:
        verdict.cautions.append("The stability of the clusters is not known: people were not resampled.")
        return
    reading = describe_jaccard(verdict.jaccard)
    values = [value for _, value in evidence.jaccard().values()]
    if len(values) <= MOST_NAMED:
        each = f"cluster by cluster: {join_words([format_number(value, 2) for value in values])}"
    else:
        each = f"{len(values)} clusters: {format_number(min(values), 2)} to {format_number(max(values), 2)}"
    verdict.sentences.append(
        f"Stability: mean Jaccard index over bootstrap samples {format_number(verdict.jaccard, 2)}, read as {reading} ({each})."
    )
    if verdict.jaccard < DOUBTFUL:
        verdict.doubts.append("not stable")
    weak = [
        f"{cluster} ({describe_jaccard(value)}, {format_number(value, 2)})"
        for cluster, (_, value) in evidence.jaccard().items()
        if value < DOUBTFUL
    ]
    if weak:
        more = len(weak) - MOST_NAMED
        listed = f"{', '.join(weak[:MOST_NAMED])} and {more} more" if more > 0 else join_words(weak)
        verdict.cautions.append(
            f"Mean Jaccard index below {DOUBTFUL:g}: {'cluster' if len(weak) == 1 else 'clusters'} {listed}."
        )


def _judge_composition(verdict: Verdict, evidence: Evidence, alpha: float, exists: bool | None) -> None:
    tests = evidence.composition_tests
    if tests is None:
        if exists:
            verdict.cautions.append(
                "Whether site, image quality or head size explains the clusters is not known: composition_tests.tsv was not made."
            )
        return
    # without clusters there is nothing to explain: what a partition follows is among the cautions then
    verdict.explained_by = explaining(evidence, alpha) if exists else []

    def described(rows: pd.DataFrame) -> str:
        return join_words(
            [
                f"{human_name(str(row['characteristic']))} ({EFFECTS[row['effect_name']]} = "
                f"{format_number(row['effect'], 2)}, q {equals(row['q'])})"
                for _, row in rows.iterrows()
            ]
        )

    if verdict.explained_by:
        strong = tests[tests["characteristic"].isin(verdict.explained_by)]
        names = join_words([human_name(name) for name in verdict.explained_by])
        verdict.sentences.insert(0, f"Without this explanation the verdict would be: {verdict.headline}")
        verdict.kind = "explained"
        unstable = "not stable" in verdict.doubts
        again = f", and resampling does not find them again (mean Jaccard index {format_number(verdict.jaccard, 2)})"
        verdict.headline = f"The clusters are explained by {names}: they differ in {described(strong)}{again if unstable else ''}."
    weaker = tests[(tests["q"] < alpha) & ~tests["characteristic"].isin(verdict.explained_by)]
    if len(weaker):
        what = "The parts of this partition" if exists is False else "The clusters"
        also = " also" if verdict.explained_by else ""
        verdict.cautions.append(f"{what}{also} differ in {described(weaker)}.")
    elif exists and not verdict.explained_by:
        tested = tests.loc[tests["p"].notna(), "characteristic"]
        names = join_words([human_name(str(name)) for name in tested])
        verdict.sentences.append(
            f"Known characteristics do not explain the clusters: no difference was found in {names}."
            if names
            else "No characteristic of the people could be tested between the clusters."
        )


def quality_sentences(evidence: Evidence, alpha: float) -> list[str]:
    """Return the sentence that clusters differ in quality, site or head size at least as strongly as in phenotype, if they do.

    Shares of variance are compared: eta squared, and the square of Cramér's V.
    """
    tests, compared = evidence.quality_tests, evidence.comparisons
    if tests is None:
        return []
    known = tests[(tests["p_adjusted"] < alpha) & tests["effect"].notna()]
    if known.empty:
        return []
    share = known["effect"].where(known["effect_name"] != "cramers_v", known["effect"] ** 2)
    strongest = known.loc[share.idxmax()]
    phenotype = None if compared is None or compared["eta2"].isna().all() else float(compared["eta2"].max())
    if phenotype is not None and share.max() < phenotype:
        return []
    effect, variable = EFFECTS[strongest["effect_name"]], str(strongest["variable"])
    what = "The parts of this partition" if evidence.claimed() is False else "The clusters"
    beside = (
        ""
        if phenotype is None
        else f" at least as strongly as in any phenotype factor (η² at most {format_number(phenotype, 2)})"
    )
    return [
        f"{what} differ in {human_name(variable)} ({effect} = {format_number(strongest['effect'], 2)}, "
        f"q {equals(strongest['p_adjusted'])}){beside}: they may be {OTHER_CLUSTERS.get(variable, 'clusters of image quality')}."
    ]


def _checks(evidence: Evidence, alpha: float, counted_alpha: float) -> list[str]:
    """Return the sentences on split halves and shuffled links."""
    sentences = []
    if evidence.split_half is not None and evidence.split_half["adjusted_rand"].notna().any():
        rand = float(evidence.split_half["adjusted_rand"].median())
        text = f"Split halves: adjusted Rand index {format_number(rand, 2)} (median) between clusters carried over from the other half and clusters found anew"
        if evidence.split_factors is not None:
            q = evidence.split_factors["q"].dropna()
            found = int((q < alpha).sum())
            text += (
                f"; {found} of {count(len(q), 'factor')} {'differs' if found == 1 else 'differ'} in the held-out halves"
                if len(q)
                else "; no factor could be tested in the held-out halves"
            )
        sentences.append(text + ".")
    shuffles = evidence.shuffles  # empty without phenotypes; null when nothing could be tested
    if shuffles and shuffles["share_found"] is not None:
        share = float(shuffles["share_found"])
        sentences.append(
            f"When images and phenotypes of different people are joined, at least one factor differs in {100 * share:.0f}% of the runs "
            f"(expected: at most {100 * counted_alpha:g}%)."
        )
    return sentences


def continuous_sentences(evidence: Evidence, alpha: float, meanings: Mapping[str, str]) -> list[str]:
    """Return the sentence on what the codes predict without any clusters."""
    if evidence.continuous is None:
        return []
    rows = evidence.continuous
    rows = rows[(rows["features"] == "codes") & (rows["method"] == "ridge") & rows["value"].notna()]
    if not len(rows):
        return []
    good = rows[(rows["q"] < alpha) & (rows["value"] > 0)]
    covariates = adjusted_for(rows)
    after = "" if covariates == "nothing" else f"after adjustment for {covariates}, "
    text = f"Without clusters: {after}the codes predict {len(good)} of {count(len(rows), 'factor')} in held-out people"
    best = (good if len(good) else rows).sort_values("value", ascending=False).iloc[0]
    what = "best" if len(good) else "closest"
    text += (
        f" ({what}: {named(str(best['factor']), meanings)}, R² = {format_number(best['value'], 2)}, "
        f"{format_number(best['low'], 2)} to {format_number(best['high'], 2)}, q {equals(best['q'])})."
    )
    return [text]


def _added(evidence: Evidence, alpha: float, meanings: Mapping[str, str]) -> list[str]:
    rows = evidence.added
    if rows is None or rows["p"].isna().all():
        return []
    rows = rows[rows["p"].notna()]
    q = false_discovery_rates(rows["p"])
    more = rows[(q < alpha) & (rows["added_r2"] > 0)]
    if not len(more):
        return [
            f"Beside the codes, no gain from the clusters was found in any of {count(len(rows), 'factor')}: codes without clusters are "
            "not known to predict less."
        ]
    names = join_words([named(str(f), meanings) for f in more["factor"]][:4])
    return [f"The clusters add to what the codes predict in {len(more)} of {len(rows)} factors: {names}."]


def _judge_people(verdict: Verdict, evidence: Evidence, sizes: Mapping[int, int]) -> None:
    if evidence.facts:  # the clusters' sidecar may be lost
        verdict.small = [int(cluster) for cluster in evidence.facts["small_clusters"]]
    if verdict.small:
        numbers = join_words([f"{c} (n = {sizes.get(c, 0)})" for c in verdict.small[:MOST_NAMED]])
        more = f" and {len(verdict.small) - MOST_NAMED} more" if len(verdict.small) > MOST_NAMED else ""
        verb = "is" if len(verdict.small) == 1 else "are"
        limit = format_number(evidence.facts["small_cluster_limit"])
        verdict.cautions.append(f"Small clusters: {numbers}{more} {verb} below {limit} people.")
    people = sum(sizes.values())
    if len(sizes) > 1 and max(sizes.values()) / people > 0.9:
        largest = max(sizes.values())
        # rounded down: 299 of 300 are not 100%
        verdict.cautions.append(
            f"One cluster holds {100 * largest // people}% of the people ({largest} of {people}); the others may be outliers rather than "
            "groups."
        )
    if verdict.outside:
        out = verdict.outside
        more = f" and {len(out) - 20} more" if len(out) > 20 else ""
        verdict.cautions.append(
            f"{count(len(out), 'person fits', 'people fit')} into no cluster and {'is' if len(out) == 1 else 'are'} left out of the "
            f"comparisons: {', '.join(out[:20])}{more}."
        )


def decoding_caution(study: StudyResults, experiment: Experiment, config: Mapping[str, Any]) -> str:
    """Return a sentence for the verdict when the model decodes no better than the mean training image, else ""."""
    frame = study.table(experiment.file("reconstruction.tsv"), columns=RECONSTRUCTION_COLUMNS)
    if frame is None:
        return ""
    lost = better_baselines(frame, ordered_methods(frame, config), modality_order(frame, config))
    modalities = [modality.upper() for modality, other, _, _ in lost if other == "mean_image"]
    if not modalities:
        return ""
    return (
        f"The model decodes {join_words(modalities)} of people it has not seen no better than the mean training image does: its "
        "embedding then holds little that is particular to a person."
    )
