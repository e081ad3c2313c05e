"""The interface of finders of groups: what each takes and returns, and what the report says of it."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]
Labels = NDArray[np.intp]
Progress = Callable[[int, int], None]


@dataclass
class Finding:
    """The best partition that a finder has for some people, whether or not there are groups.

    Attributes
    ----------
    clusters
        Number of each person's cluster, from 1, the largest first; all 1 where the finder has no partition.
    statistic
        Evidence for groups by the finder's own measure; larger is stronger. Only data without groups show how large it gets
        by chance (:mod:`neurostrata.strata.existence.comparison_with_null`). -inf without a partition.
    search
        One row per candidate.
    membership
        People x clusters, the probability of belonging to each; None where the finder has none.
    components
        Number of leading components of the code that the partition was made from; None: the whole code.
    exemplars
        Row of the person who stands for each person's cluster, -1 for none; None where the finder has no exemplars.
    reason
        Why there is no partition; None when there is one.
    facts
        Further facts for the sidecar.
    """

    clusters: Labels
    statistic: float
    search: pd.DataFrame
    membership: Array | None = None
    components: int | None = None
    exemplars: Labels | None = None
    reason: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """How many clusters the partition has."""
        return int(self.clusters.max())


@dataclass(frozen=True)
class SearchFigure:
    """How the report draws a finder's search.

    Attributes
    ----------
    kind
        ``lines``: the standardised measure over the number of clusters, a line per number of components; ``grid``: silhouette
        and number of clusters over damping and preference.
    columns
        Of :attr:`Finding.search` that the figure needs.
    title, caption
        As they stand in the report.
    """

    kind: str
    columns: tuple[str, ...]
    title: str
    caption: str


class Finder(ABC):
    """Looks for groups of people in their codes; sees nothing else of them.

    The report takes everything that it says of a finder from its class, through the registry.

    Parameters
    ----------
    options
        The finder's options, complete: every key of its schema.
    seed
        Of every random choice.
    threads
        Results do not depend on it.
    parts
        Modality that each number of the code belongs to, where the code has one part per modality; None: the numbers belong to
        all modalities. Most finders use the whole code and ignore this.
    """

    name: ClassVar[str]
    #: Name in sentences and tables.
    title: ClassVar[str]
    #: What :attr:`Finding.statistic` is.
    measure: ClassVar[str]
    #: Column of :attr:`Finding.search` -> what it holds.
    search_columns: ClassVar[Mapping[str, str]]
    #: How the report draws :attr:`Finding.search`; None: as a table only.
    search_figure: ClassVar[SearchFigure | None] = None

    def __init__(
        self,
        options: Mapping[str, Any],
        seed: int = 1,
        threads: int = 1,
        parts: Sequence[str] | None = None,
    ) -> None:
        self.options, self.seed, self.threads, self.parts = options, seed, threads, parts

    @abstractmethod
    def find(self, codes: Array, progress: Progress | None = None) -> Finding:
        """Return the best partition.

        Parameters
        ----------
        codes
            People x dimensions, finite.
        progress
            Called with the number of candidates done and the number of all.
        """

    @classmethod
    def methods_text(cls, options: Mapping[str, Any]) -> str:
        """Return how the finder works with these options, for the methods section: a clause without a full stop."""
        return cls.title

    @classmethod
    def quick_text(cls, options: Mapping[str, Any]) -> str:
        """Return in what :meth:`quick` is cheaper, for the methods section, as in "with 30 resamples"; "" where it is the whole search."""
        return ""

    def quick(self, codes: Array | None = None) -> Finder:
        """Return a cheaper form of the finder, which is repeated hundreds of times on data without groups and on resampled people.

        Parameters
        ----------
        codes
            The codes that were clustered. The data of the repeats have about the same covariance, so a finder may prepare once
            from these codes what would take too long in each repeat.
        """
        return self

    def changed(self, options: Mapping[str, Any] | None = None, seed: int | None = None) -> Self:
        """Return the same finder with other options or another seed."""
        other = copy.copy(self)
        other.options = self.options if options is None else {**self.options, **options}
        other.seed = self.seed if seed is None else seed
        return other


def nothing(people: int, search: pd.DataFrame, reason: str, **facts: Any) -> Finding:
    """Return the finding that everybody is in one group because there is no partition."""
    return Finding(np.ones(people, dtype=np.intp), -np.inf, search, reason=reason, facts=facts)
