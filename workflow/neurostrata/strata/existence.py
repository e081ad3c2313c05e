"""Whether there are groups at all: the finder's whole procedure, repeated on data without groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from neurostrata.strata.finders.interface import Array, Finder, Finding, Progress
from neurostrata.strata.unimodal import UnimodalNull


@dataclass(frozen=True)
class Existence:
    """Evidence for groups beside that in data without groups.

    Attributes
    ----------
    statistic
        The finder's measure in the codes.
    p
        (draws without groups that reach it + 1) / (draws + 1).
    null
        Columns draw, statistic, n_clusters: what the finder made of data without groups.
    """

    statistic: float
    p: float
    null: pd.DataFrame


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
    """Compare the finder's measure with that in data without groups.

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
        Data sets without groups (:class:`UnimodalNull`).
    seed
        Of the draws.
    families
        One per person, "" for none: relatives are as alike in the draws as in the codes.
    progress
        Called with the number of draws done and of all.
    enough
        End as soon as so many draws reach the statistic: p is then what it is with this many draws, (reached + 1) /
        (drawn + 1), and above `enough` / `draws` whatever the rest. For calibrations, where most cohorts hold nothing.
    """
    from joblib import Parallel, delayed

    quick = finder.quick(codes)
    own = quick.find(codes)
    null = UnimodalNull(codes, finding.clusters - 1, finding.components, families)

    def one(draw: int) -> tuple[int, float, int]:
        found = quick.find(null.draw(np.random.default_rng([seed, draw])))
        return draw, found.statistic, found.number

    # Threads: the finders' inner loops are compiled and let go of Python's lock.
    run = Parallel(n_jobs=finder.threads, return_as="generator", backend="threading")
    rows = []
    for row in run(delayed(one)(draw) for draw in range(1, draws + 1)):
        rows.append(row)
        if progress is not None:
            progress(len(rows), draws)
        if enough is not None and sum(row[1] >= own.statistic for row in rows) >= enough:
            break
    table = pd.DataFrame(rows, columns=["draw", "statistic", "n_clusters"])
    reached = int((table["statistic"] >= own.statistic).sum())
    p = (reached + 1) / (len(table) + 1) if np.isfinite(own.statistic) else 1.0
    return Existence(own.statistic, p, table)
