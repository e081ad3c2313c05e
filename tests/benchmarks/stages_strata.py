"""The statistics of strata beside scikit-learn and scipy."""

from __future__ import annotations

import time
import warnings

import numpy as np
from measure import Row, Seconds, clock, in_turn

PEOPLE, DIMENSIONS = 974, 1536


def embedding(people: int = PEOPLE, dimensions: int = DIMENSIONS, seed: int = 1) -> np.ndarray:
    """Return something like an embedding: decaying variances and five loose groups."""
    generator = np.random.default_rng(seed)
    values = generator.standard_normal((people, dimensions)) * np.linspace(3, 0.2, dimensions)
    centres = generator.standard_normal((5, dimensions)) * 0.6
    return values + centres[generator.integers(5, size=people)]


def affinity_grid(quick: bool) -> list[Row]:
    """Compare the grid of damping and preference with scikit-learn's affinity propagation, setting by setting."""
    from sklearn.cluster import affinity_propagation
    from sklearn.exceptions import ConvergenceWarning

    from neurostrata.core.config import section_defaults
    from neurostrata.strata.finders.affinity import (
        Propagation,
        damping_grid,
        preference_grid,
        squared_distances,
    )
    from neurostrata.strata.finders.affinity_propagation import AffinityPropagation

    values = embedding(300 if quick else PEOPLE)
    similarities = -squared_distances(values)
    dampings = damping_grid(0.5, 1.0, 10)
    preferences = preference_grid(similarities, 1, 99, 1000)
    every = 250 if quick else 100
    compared = [(d, p) for d in dampings for p in preferences[::every]]
    ours, peer = Seconds(), Seconds()
    propagation = Propagation(similarities, 1000, 15, seed=1)
    propagation.run(0.5, preferences[0])  # compiled, or read from the cache
    equal = 0
    scratch = propagation.scratch()
    for damping, preference in compared:
        with clock(ours):
            setting = propagation.run(damping, preference, scratch)
        with clock(peer), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            exemplars, labels, iterations = affinity_propagation(
                similarities,
                damping=damping,
                preference=preference,
                max_iter=1000,
                random_state=1,
                return_n_iter=True,
            )
        flag = not any(issubclass(w.category, ConvergenceWarning) for w in caught)
        equal += (
            np.array_equal(labels, setting.labels)
            and list(exemplars) == list(setting.exemplars)
            and iterations == setting.n_iter
            and flag == setting.converged
        )
    whole, note = None, ""
    if not quick:
        settings = section_defaults("strata")["affinity_propagation"]
        started = time.perf_counter()
        AffinityPropagation(settings, seed=1, threads=2).find(values)
        whole = time.perf_counter() - started
        note = f"the grid of 10,000 settings and its silhouettes, 2 threads, float64: {whole:.0f} s"
    return [
        Row(
            f"affinity propagation, {len(values)} x {DIMENSIONS}, per setting",
            "scikit-learn",
            sum(ours.cpu) / len(compared),
            sum(peer.cpu) / len(compared),
            "cpu",
            "10 x 1000 settings within 300 s on 2 cores, 60 s in float32 or on a GPU",
            None if whole is None else whole <= 300,
            f"labels, exemplars, iterations and convergence flag equal in {equal} of {len(compared)} settings",
            note,
        )
    ]


def silhouettes(quick: bool) -> list[Row]:
    """Compare the silhouette of one partition from the known distances with scikit-learn's."""
    from sklearn.metrics import silhouette_score

    from neurostrata.strata.finders.affinity import squared_distances
    from neurostrata.strata.finders.silhouettes import silhouette

    values = embedding(300 if quick else PEOPLE)
    distances = np.sqrt(squared_distances(values))
    labels = np.random.default_rng(1).integers(20, size=len(values))
    ours, peer, mine, theirs = in_turn(
        lambda: silhouette(distances, labels), lambda: silhouette_score(values, labels), 5
    )
    return [
        Row(
            f"silhouette of one partition, {len(values)} people, 20 clusters",
            "scikit-learn, from the embedding",
            ours.typical("cpu"),
            peer.typical("cpu"),
            "cpu",
            "from one distance matrix for the whole grid",
            abs(mine - theirs) < 1e-6,
            f"difference {abs(mine - theirs):.1e}",
        )
    ]


def repartition_test(quick: bool) -> list[Row]:
    """Compare the random repartition with scipy's Kruskal-Wallis test in a loop (a part of it, scaled up)."""
    from scipy.stats import kruskal

    from neurostrata.strata.comparison.repartition import repartition

    draws, looped = (1000, 50) if quick else (10000, 500)
    generator = np.random.default_rng(1)
    scores = np.round(generator.standard_normal((PEOPLE, 13)), 1)  # ties
    clusters = generator.integers(5, size=PEOPLE)

    def loop() -> np.ndarray:
        shuffled = np.random.default_rng(2)
        values = []
        for _ in range(looped):
            drawn = shuffled.permutation(clusters)
            values.append([kruskal(*(scores[drawn == k, f] for k in range(5))).statistic for f in range(13)])
        return np.array(values)

    alone = [""] * PEOPLE
    repartition(scores, clusters, alone, 10, 1)  # compiled
    ours, peer, found, _ = in_turn(lambda: repartition(scores, clusters, alone, draws, 1), loop, 3)
    true = [kruskal(*(scores[clusters == k, f] for k in range(5))).statistic for f in range(13)]
    difference = float(np.abs(found.h - true).max())
    seconds = ours.typical("wall")
    return [
        Row(
            f"repartition test, {PEOPLE} x 13 x {draws:,}",
            f"scipy.stats.kruskal in a loop ({looped} draws, scaled)",
            ours.typical("cpu"),
            peer.typical("cpu") * draws / looped,
            "cpu",
            "0.3 s",
            None if quick else seconds <= 0.3,
            f"H differs by at most {difference:.1e}, with ties",
            f"wall {seconds:.2f} s",
        )
    ]


STAGES = {"affinity": affinity_grid, "silhouette": silhouettes, "repartition": repartition_test}
