"""Whether there are groups at all: the finder's whole procedure, repeated on data without groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from neurostrata.strata.existence.unimodal import KINDS, UnimodalNull
from neurostrata.strata.finders.interface import Array, Finder, Finding, Progress


@dataclass(frozen=True)
class Existence:
    """Evidence for groups beside that in data without groups.

    Attributes
    ----------
    statistic
        The finder's measure in the codes.
    p_of
        Kind of data without groups (:data:`neurostrata.strata.existence.unimodal.KINDS`) -> (draws that reach the statistic + 1) /
        (draws + 1).
    null
        Columns null (kind), draw, statistic, n_clusters: what the finder made of data without groups.
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
    """Compare the finder's measure with that in data without groups, of both kinds: the larger p counts.

    Parameters
    ----------
    finder
        Whose :meth:`Finder.quick` form is run on the codes and on every draw: the choice of components and of the
        number of clusters is part of what is repeated.
    codes
        People x dimensions.
    finding
        The partition found in them, whose directions the null's margins are taken along.
    draws
        Data sets without groups (:class:`UnimodalNull`) of each kind.
    seed
        Of the draws.
    families
        One per person, "" for none: relatives are as alike in the draws as in the codes.
    progress
        Called with the number of draws done and of all.
    enough
        End as soon as so many draws of one kind reach the statistic: p is then what it is with this many draws, (reached
        + 1) / (drawn + 1), and above `enough` / `draws` whatever the rest. For calibrations, where most cohorts hold nothing.
    """
    from joblib import Parallel, delayed

    quick = finder.quick(codes)
    own = quick.find(codes)
    labels = finding.clusters - 1
    nulls = {kind: UnimodalNull(codes, labels, finding.components, kind, families) for kind in KINDS}

    def one(kind: str, draw: int) -> tuple[str, int, float, int]:
        generator = np.random.default_rng([seed, KINDS.index(kind), draw])
        found = quick.find(nulls[kind].draw(generator))
        return kind, draw, found.statistic, found.number

    # Threads: the finders' inner loops are compiled and let go of Python's lock.
    run = Parallel(n_jobs=finder.threads, return_as="generator", backend="threading")
    rows = []
    reached = dict.fromkeys(KINDS, 0)
    for row in run(delayed(one)(kind, draw) for draw in range(1, draws + 1) for kind in KINDS):
        rows.append(row)
        reached[row[0]] += row[2] >= own.statistic
        if progress is not None:
            progress(len(rows), draws * len(KINDS))
        if enough is not None and max(reached.values()) >= enough:
            break
    table = pd.DataFrame(rows, columns=["null", "draw", "statistic", "n_clusters"])
    drawn = table["null"].value_counts()
    some = np.isfinite(own.statistic)
    p = {kind: (reached[kind] + 1) / (int(drawn.get(kind, 0)) + 1) if some else 1.0 for kind in KINDS}
    return Existence(own.statistic, p, table)
