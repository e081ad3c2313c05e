"""The outcome of an experiment and the rules that decide it.

The rules in the order in which they are checked; the first that holds gives the outcome (``kind``). All tables are those
of the leading finder on the leading codes; alpha is ``report.alpha``.

============== ================================================================================= =======
Outcome        Holds when                                                                        Colour
============== ================================================================================= =======
unknown        there is no clusters.tsv, or no existence.tsv                                     grey
nothing        existence.tsv: claimed is no, or there is one cluster                             blue
explained      composition_tests.tsv: site (or the column strata.adjust.sites), image quality    red
               or head size differs between the clusters with q < alpha and an effect (eta
               squared or Cramer's V) of at least 0.5
clusters_only  no factor differs: none has q < alpha in comparisons_adjusted.tsv and both        purple
               q < alpha in comparisons.tsv, or phenotypes were not compared
unadjusted     a factor has both q < alpha in comparisons.tsv; comparisons_adjusted.tsv is       amber
               missing
found          at least one factor has all three q < alpha                                       green
============== ================================================================================= =======

Three things turn the colour of any outcome but unknown to amber, and are named in the first sentence: the model decodes some
modality of people it has not seen no better than the mean training image (median squared error); where clusters
exist, their mean Jaccard index over bootstrap samples (weighted by people) is below 0.6; and the experiment is no longer in
the configuration, so that its results are those of an earlier run.

Everything else is reported and changes no colour: what clusters add to the continuous model, split halves, shuffled links,
weaker effects of site, quality, head size, age or sex, small clusters, people who fit into no cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from neurostrata.core.wording import join_words
from neurostrata.report.html.blocks import format_p, human_name

#: Name of an effect size in the tables -> its symbol.
EFFECTS = {"eta2": "η²", "cramers_v": "Cramér's V", "rho": "ρ"}

REPARTITION_NOTE = (
    "Random groups of the same sizes (random repartition): a permutation version of the same Kruskal-Wallis test on the same people and clusters. "
    "It neither confirms a difference independently nor shows that the clusters exist."
)
INTERVAL_NOTE = (
    "An interval of η² that ends at 1 has no upper end: the approximation is too wide for a large effect in few people, so only its "
    "lower end says something."
)
EMBEDDING_NOTE = (
    "Skip connections carry image detail to the decoder past the embedding; claims about what an embedding holds rest "
    "on the experiments that were run without them."
)
#: Limits of the mean Jaccard index over bootstrap samples (Hennig 2007) and how it reads below each.
JACCARD_READINGS = ((0.5, "dissolved"), (0.6, "doubtful"), (0.75, "a pattern whose members change"))
#: Below this mean Jaccard index clusters are not trusted.
DOUBTFUL = 0.6
#: An effect of at least this size of a nuisance (:attr:`Evidence.nuisances`) explains the clusters.
EXPLAINS = 0.5

#: Outcome -> colour of its card and the words on it.
OUTCOMES = {
    "found": ("green", "clusters that differ in phenotype"),
    "unadjusted": ("amber", "clusters that differ, not adjusted"),
    "clusters_only": ("purple", "clusters without a difference in phenotype"),
    "explained": ("red", "clusters explained by"),
    "nothing": ("blue", "no clusters"),
    "unknown": ("grey", "not known"),
}
#: Words on the card of clusters between which no factor was tested.
NOT_COMPARED = "clusters, phenotypes not compared"


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
    def not_compared(self) -> bool:
        """Whether there are clusters and no factor was tested between them: they are not known to be alike."""
        return self.kind == "clusters_only" and not self.tested

    @property
    def label(self) -> str:
        """The outcome in a few words."""
        words = NOT_COMPARED if self.not_compared else OUTCOMES[self.kind][1]
        if self.explained_by and self.kind == "explained":
            words += f" {join_words([human_name(name) for name in self.explained_by])}"
        return words + (", in doubt" if self.doubts and self.kind != "unknown" else "")


def describe_jaccard(value: float) -> str:
    """Return Hennig's reading of a mean Jaccard index over bootstrap samples."""
    return next((words for limit, words in JACCARD_READINGS if value < limit), "stable")


def equals(value: Any) -> str:
    """Return "= 0.012" or "< 0.001"."""
    text = format_p(value)
    return text if text.startswith("<") else f"= {text}"


def overall(verdicts: Sequence[Verdict]) -> str:
    """Return the first sentence of the report: every outcome with the experiments that had it, the best first."""
    if not verdicts:
        return "No experiment was run: there are no embeddings, no clusters and no comparison to judge."
    phrases = {
        "found": "clusters exist in the images and differ in phenotype after adjustment",
        "unadjusted": "clusters exist and differ in phenotype, but the differences were not adjusted",
        "clusters_only": "clusters exist, but no difference in phenotype was found",
        NOT_COMPARED: "clusters exist, and phenotypes were not compared between them",
        "explained": "clusters exist, but site, image quality or head size explains them",
        "nothing": "no clusters were found",
        "unknown": "nothing can be said about clusters",
    }
    parts = []
    for kind, phrase in phrases.items():
        group = [one for one in verdicts if (NOT_COMPARED if one.not_compared else one.kind) == kind]
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
        parts.append("The results without clusters come first.")
    return " ".join(parts)
