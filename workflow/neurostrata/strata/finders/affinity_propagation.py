"""The paper's procedure (Dimitri et al. 2.4.1): affinity propagation over a grid, one partition chosen by silhouette."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from neurostrata.core.wording import count, format_setting
from neurostrata.strata.finders.affinity import (
    damping_grid,
    preference_grid,
    run_grid,
    squared_distances,
)
from neurostrata.strata.finders.interface import (
    Array,
    Finder,
    Finding,
    Labels,
    Progress,
    SearchFigure,
    nothing,
)
from neurostrata.strata.finders.labels import canonical, number_by_size

#: The grid of :meth:`AffinityPropagation.quick`: damping factors and preferences.
QUICK_STEPS = (2, 15)


class AffinityPropagation(Finder):
    """Run the grid and choose the converged setting with 2..n-1 clusters of best silhouette.

    With more people than the option ``sample``, a random sample of that size is clustered, and everybody else gets the
    cluster of the nearest exemplar (Frey and Dueck 2007 assign people to exemplars the same way).

    Notes
    -----
    Of settings with equal silhouettes, mostly of the same partition, the first in the order of the grid is chosen: that of
    lowest damping, then lowest preference.
    """

    name = "affinity_propagation"
    title = "affinity propagation"
    measure = "best silhouette"
    search_columns: ClassVar[dict[str, str]] = {
        "damping": "damping factor",
        "preference": "preference (negative squared Euclidean distance)",
        "converged": "whether affinity propagation converged; other settings are not chosen",
        "n_iter": "iterations",
        "n_clusters": "clusters found; 0: no exemplar",
        "silhouette": "mean silhouette (Euclidean); n/a outside 2 to n-1 clusters",
    }

    search_figure = SearchFigure(
        "grid",
        ("damping", "preference", "converged", "n_clusters", "silhouette"),
        "The search: silhouette and number of clusters over damping and preference",
        "Red ring: the setting that was used; red dots: all settings whose clusters have the same, best silhouette. Crosses: did not "
        "converge; squares: converged to fewer than 2 or more than n − 1 clusters, which have no silhouette.",
    )

    @classmethod
    def methods_text(cls, options: Mapping[str, Any]) -> str:
        """See :meth:`Finder.methods_text`."""
        text = "affinity propagation on negative squared Euclidean distances"
        if options["sample"] is not None:
            text += f" of at most {options['sample']} people, drawn at random, everybody else in the cluster of the nearest exemplar"
        damping, preference = options["damping"], options["preference"]
        return (
            f"{text} ({count(int(damping['steps']), 'damping factor')} from {format_setting(damping['min'])} up to "
            f"{format_setting(damping['max'])} × {count(int(preference['steps']), 'preference')} between the "
            f"{format_setting(preference['low'])} and {format_setting(preference['high'])} percentiles of the similarities), the setting with "
            "the best silhouette among those that converged with 2 to n − 1 clusters"
        )

    @staticmethod
    def _coarse(options: Mapping[str, Any]) -> dict[str, Any]:
        """Return damping and preference with no more steps than :data:`QUICK_STEPS`."""
        grid = zip(("damping", "preference"), QUICK_STEPS)
        return {key: {**options[key], "steps": min(options[key]["steps"], most)} for key, most in grid}

    @classmethod
    def quick_text(cls, options: Mapping[str, Any]) -> str:
        """See :meth:`Finder.quick_text`."""
        coarse = cls._coarse(options)
        if all(options[key] == value for key, value in coarse.items()):
            return ""
        damping, preference = (int(coarse[key]["steps"]) for key in ("damping", "preference"))
        return f"with {count(damping, 'damping factor')} and {count(preference, 'preference')}"

    def quick(self, codes: Array | None = None) -> AffinityPropagation:
        """Return the finder with a coarser grid, on one thread: the paper's 10,000 settings cannot be repeated 200 times.

        Repeats run beside each other, and each thread of each of them would need its own matrices of people x people.
        """
        again = self.changed(self._coarse(self.options))
        again.threads = 1
        return again

    def find(self, codes: Array, progress: Progress | None = None) -> Finding:
        """Return the partition of best silhouette; see :meth:`Finder.find`."""
        from neurostrata.strata.finders.silhouettes import silhouette

        n, options = len(codes), self.options
        if n < 3:
            none = {"settings_tried": 0, "settings_converged": 0, "settings_eligible": 0}
            empty = pd.DataFrame(columns=list(self.search_columns))
            return nothing(n, empty, f"{n} people cannot be divided into 2 to n-1 clusters", **none)
        chosen = _sample(n, options["sample"], self.seed)
        m = len(chosen)
        distances = squared_distances(codes[chosen])
        similarities = -distances
        np.sqrt(distances, out=distances)
        damping = options["damping"]
        grid = run_grid(
            similarities,
            damping_grid(damping["min"], damping["max"], damping["steps"]),
            preference_grid(similarities, **options["preference"]),
            options["max_iter"],
            options["convergence_iter"],
            self.seed,
            self.threads,
            progress,
        )
        rows: list[Sequence[Any]] = []
        silhouettes: dict[bytes, float] = {}
        best: tuple[float, Labels, Labels, float, float] | None = None
        for setting in grid:
            k = setting.n_clusters
            value = np.nan
            if 2 <= k <= m - 1:
                labels = canonical(setting.labels)
                key = labels.astype(np.int32).tobytes()
                if key not in silhouettes:
                    silhouettes[key] = silhouette(distances, labels)
                value = silhouettes[key]
                if setting.converged and (best is None or value > best[0]):
                    exemplars = setting.exemplars[setting.labels]
                    best = (value, labels, exemplars, setting.damping, setting.preference)
            rows.append((setting.damping, setting.preference, setting.converged, setting.n_iter, k, value))
        table = pd.DataFrame(rows, columns=list(self.search_columns))
        converged = table["converged"].to_numpy(dtype=bool)
        facts: dict[str, Any] = {
            "clustered": m,
            "settings_tried": len(table),
            "settings_converged": int(converged.sum()),
            "settings_eligible": int((converged & table["n_clusters"].between(2, m - 1).to_numpy()).sum()),
        }
        if best is None:
            reason = (
                f"none of {len(table)} settings converged"
                if not converged.any()
                else f"none of the {int(converged.sum())} settings that converged gave 2 to {m - 1} clusters"
            )
            return nothing(n, table, reason, **facts)
        value, labels, exemplars, best_damping, best_preference = best
        exemplars = chosen[exemplars]
        if m < n:
            exemplars = _nearest_exemplar(codes, chosen, exemplars)
            labels = np.unique(exemplars, return_inverse=True)[1]
        facts |= {"damping": best_damping, "preference": best_preference}
        return Finding(number_by_size(labels), value, table, exemplars=exemplars, facts=facts)


def _sample(n: int, size: int | None, seed: int) -> Labels:
    """Return the rows of a random sample, in order; all rows when there are at most `size`."""
    if size is None or n <= size:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, size, replace=False))


def _nearest_exemplar(codes: Array, chosen: Labels, exemplars: Labels) -> Labels:
    """Return everybody's exemplar: the given one for the chosen people, the nearest one for all others."""
    from sklearn.metrics import pairwise_distances_argmin

    found = np.unique(exemplars)
    nearest = found[pairwise_distances_argmin(codes, codes[found])]
    nearest[chosen] = exemplars
    return nearest
