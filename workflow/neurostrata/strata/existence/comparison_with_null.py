"""The test of whether groups exist: the finder's whole procedure is repeated on data without groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.strata.existence.unimodal import KINDS, UnimodalNull
from neurostrata.strata.finders.interface import Array, Finder, Finding, Progress

#: Columns of the table of existence; `statistic` is the finder's measure.
COLUMNS = {
    "finder": "how groups were looked for",
    "n": "people",
    "n_clusters": "clusters of the best partition",
    "statistic": "{measure}, in the codes",
    "null": "kind of data without groups in which the statistic is reached most often; the next three are of it",
    "null_mean": "its mean in data without groups that have the codes' covariance and unimodal margins",
    "null_95": "its 95th percentile there",
    "p": "(draws that reach the statistic + 1) / (draws + 1), the larger of the two kinds",
    "p_margins": "p against data with the unimodal margins of the numbers of the code, correlated as they are",
    "p_directions": "p against data with the unimodal margins along the directions of the clusters, too",
    "draws": "data sets without groups of each kind",
    "claimed": "yes: p is at most alpha, so there are groups",
}
#: Columns of the table of draws.
NULL_COLUMNS = {
    "null": "kind of data without groups: margins or directions",
    "draw": "number of the data set",
    "statistic": "{measure}",
    "n_clusters": "clusters of the best partition",
}


@dataclass(frozen=True)
class Existence:
    """The finder's measure in the codes and in data without groups.

    Attributes
    ----------
    statistic
        The finder's measure in the codes.
    p_of
        Kind of data without groups (:data:`neurostrata.strata.existence.unimodal.KINDS`) -> (draws that reach the statistic + 1) /
        (draws + 1).
    null
        Columns null (kind), draw, statistic, n_clusters: what the finder found in data without groups.
    """

    statistic: float
    p_of: dict[str, float]
    null: pd.DataFrame

    @property
    def decisive(self) -> str:
        """The kind of data without groups in which the statistic is reached most often."""
        return max(self.p_of, key=lambda kind: self.p_of[kind])

    @property
    def p(self) -> float:
        """The larger of the p-values: groups are clearer than in either kind of data without groups."""
        return self.p_of[self.decisive]

    def row(self, finder: Finder, finding: Finding, draws: int, alpha: float) -> dict[str, Any]:
        """Return the row of the table of existence, keys :data:`COLUMNS`.

        Parameters
        ----------
        finder, finding
            Whose measure it is, and the partition found in the codes.
        draws
            Data sets without groups of each kind.
        alpha
            Groups are claimed when p is at most this.
        """
        drawn = self.null.loc[self.null["null"] == self.decisive, "statistic"]
        finite = drawn[np.isfinite(drawn)]
        return {
            "finder": finder.name,
            "n": len(finding.clusters),
            "n_clusters": finding.number,
            "statistic": self.statistic if np.isfinite(self.statistic) else np.nan,
            "null": self.decisive,
            "null_mean": finite.mean() if len(finite) else np.nan,
            "null_95": finite.quantile(0.95) if len(finite) else np.nan,
            "p": self.p,
            **{f"p_{kind}": self.p_of[kind] for kind in KINDS},
            "draws": draws,
            "claimed": "yes" if finding.number > 1 and self.p <= alpha else "no",
        }


def described(columns: Mapping[str, str], measure: str) -> dict[str, str]:
    """Return columns and what they hold, the finder's measure named in it."""
    return {name: text.replace("{measure}", measure) for name, text in columns.items()}


def compare_with_null(
    finder: Finder,
    codes: Array,
    finding: Finding,
    draws: int,
    seed: int,
    families: Sequence[str] | None = None,
    progress: Progress | None = None,
    enough: int | None = None,
) -> Existence:
    """Compare the finder's measure with that in both kinds of data without groups; the larger p counts.

    Parameters
    ----------
    finder
        Its :meth:`Finder.quick` form is run on the codes and on every draw, including the choice of the numbers of
        components and clusters.
    codes
        People x dimensions.
    finding
        The partition found in them; one kind of null has the margins along the directions of its clusters.
    draws
        Data sets without groups (:class:`UnimodalNull`) of each kind.
    seed
        Of the draws.
    families
        One per person, "" for none: relatives resemble each other in the draws as they do in the codes.
    progress
        Called with the number of draws done and the number of all.
    enough
        Stop as soon as so many draws of one kind reach the statistic: p is then (reached + 1) / (drawn + 1), and would be
        above `enough` / `draws` with all draws. For calibrations, where most cohorts have no groups.
    """
    from joblib import Parallel, delayed

    quick = finder.quick(codes)
    observed = quick.find(codes)
    labels = finding.clusters - 1
    nulls = {kind: UnimodalNull(codes, labels, finding.components, kind, families) for kind in KINDS}

    def search_draw(kind: str, draw: int) -> tuple[str, int, float, int]:
        generator = np.random.default_rng([seed, KINDS.index(kind), draw])
        found = quick.find(nulls[kind].draw(generator))
        return kind, draw, found.statistic, found.number

    # Threads: the finders' inner loops are compiled and release Python's lock.
    run = Parallel(n_jobs=finder.threads, return_as="generator", backend="threading")
    rows = []
    reached = dict.fromkeys(KINDS, 0)
    for row in run(delayed(search_draw)(kind, draw) for draw in range(1, draws + 1) for kind in KINDS):
        rows.append(row)
        reached[row[0]] += row[2] >= observed.statistic
        if progress is not None:
            progress(len(rows), draws * len(KINDS))
        if enough is not None and max(reached.values()) >= enough:
            break
    table = pd.DataFrame(rows, columns=["null", "draw", "statistic", "n_clusters"])
    counts = table["null"].value_counts()
    testable = np.isfinite(observed.statistic)
    p = {kind: (reached[kind] + 1) / (int(counts.get(kind, 0)) + 1) if testable else 1.0 for kind in KINDS}
    return Existence(observed.statistic, p, table)
