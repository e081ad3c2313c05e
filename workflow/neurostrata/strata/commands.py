"""The commands of the strata stages: files in, files out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.embeddings import read_embeddings
from neurostrata.core.errors import UserError
from neurostrata.core.files import atomic_path, settings_record, sha256_file
from neurostrata.core.tables import read_table, write_table


def _progress(label: str) -> Callable[[int, int], None]:
    """Return a function that prints a line at every tenth of the way."""
    shown = -1

    def show(done: int, total: int) -> None:
        nonlocal shown
        tenth = 10 * done // total
        if tenth > shown:
            shown = tenth
            print(f"{label}: {done} of {total}", file=sys.stderr, flush=True)

    return show


def cluster(
    *,
    embeddings: Path,
    grid: Path,
    clusters: Path,
    settings: dict[str, Any],
    threads: int = 1,
) -> None:
    """Cluster the embeddings by affinity propagation, the setting chosen by silhouette.

    People who lack a modality are left out: what they lack would make clusters of its own.

    Parameters
    ----------
    embeddings
        Table with `subject` and one column per dimension.
    grid, clusters
        Tables to write. When no setting converged with 2 to n-1 clusters everybody is in cluster 1 and
        the sidecar of `clusters` has ``found: false`` with the reason.
    settings
        Section `strata` with `seed`.
    threads
        Processes; results don't depend on it.
    """
    from neurostrata.strata.clustering import find_clusters

    known = read_embeddings(embeddings).complete()
    people, values = known.subjects, known.values
    result = find_clusters(values, settings["clustering"], settings["seed"], threads, _progress("settings"))
    facts = {
        **result.facts,
        "settings": settings_record({"clustering": settings["clustering"], "seed": settings["seed"]}),
        "inputs": {str(embeddings): sha256_file(embeddings)},
    }
    write_table(
        grid,
        result.grid,
        {
            "damping": "damping factor",
            "preference": "preference (negative squared Euclidean distance)",
            "converged": "whether affinity propagation converged; other settings are not chosen",
            "n_iter": "iterations",
            "n_clusters": "clusters found; 0: no exemplar",
            "silhouette": "mean silhouette (Euclidean); n/a outside 2 to n-1 clusters",
        },
        **facts,
    )
    exemplars = [people[row] if row >= 0 else None for row in result.exemplars]
    write_table(
        clusters,
        pd.DataFrame({"subject": people, "cluster": result.clusters, "exemplar": exemplars}),
        {
            "subject": "person",
            "cluster": "number of the cluster, 1 the largest",
            "exemplar": "the person who is the exemplar of the cluster",
        },
        **facts,
    )


def project(*, embeddings: Path, output: Path, settings: dict[str, Any]) -> None:
    """Write the t-SNE picture of the embeddings (subject, x, y)."""
    from neurostrata.strata.projection import tsne, tsne_perplexity

    known = read_embeddings(embeddings).complete()
    people, values = known.subjects, known.values
    options = settings["tsne"]
    places = tsne(values, options["perplexity"], options["max_iter"], settings["seed"])
    write_table(
        output,
        pd.DataFrame({"subject": people, "x": places[:, 0], "y": places[:, 1]}),
        {"subject": "person", "x": "first t-SNE coordinate", "y": "second t-SNE coordinate"},
        perplexity=tsne_perplexity(len(people), options["perplexity"]),
        settings=settings_record({"tsne": options, "seed": settings["seed"]}),
        inputs={str(embeddings): sha256_file(embeddings)},
    )


def read_strata(clusters: Path, scores: Path) -> tuple[pd.Series, pd.DataFrame, dict[str, Any]]:
    """Return clusters and scores of the people who have both, and the counts of those who don't.

    People all of whose scores are missing count as having none.
    """
    groups = read_table(clusters).set_index("subject")["cluster"]
    table = read_table(scores).set_index("subject").astype(float)
    if not groups.index.intersection(table.index).size:
        raise UserError(
            f"{scores}: shares no subject ids with {clusters} (there: {', '.join(table.index[:3])}; "
            f"here: {', '.join(groups.index[:3])})"
        )
    scored = table.dropna(how="all").index
    both = groups.index[groups.index.isin(scored)]
    facts = {
        "people_clustered": len(groups),
        "people_tested": len(both),
        "people_without_scores": [subject for subject in groups.index if subject not in set(both)],
        "clusters": int(groups.nunique()),
        "inputs": {str(path): sha256_file(path) for path in (clusters, scores)},
    }
    return groups.loc[both], table.loc[both], facts


def repartition_strata(
    *, clusters: Path, scores: Path, subjects: Path, output: Path, null: Path, settings: dict[str, Any]
) -> None:
    """Compare the clusters' H with that of random clusters of the same sizes.

    Parameters
    ----------
    clusters, scores
        Tables of people.
    subjects
        Table with `subject` and, where there are relatives, `family`.
    output, null
        Table to write, and the H of all draws (npz: factors, h, null) for the figure.
    settings
        Section `strata` with `seed`.
    """
    from neurostrata.strata.kruskal import benjamini_hochberg
    from neurostrata.strata.repartition import family_blocks, fixed_people, repartition

    groups, table, facts = read_strata(clusters, scores)
    options = settings["repartition"]
    cohort = read_table(subjects, text=("subject", "family")).set_index("subject")
    families = [""] * len(groups)
    respected = options["families"] and not options["with_replacement"]
    if respected and "family" in cohort.columns:
        families = cohort["family"].reindex(groups.index).fillna("").astype(str).tolist()
    blocks = family_blocks(families)
    result = repartition(
        table.to_numpy(dtype=float),
        groups.to_numpy(),
        families,
        options["draws"],
        settings["seed"],
        options["with_replacement"],
    )
    drawn = len(result.null)
    frame = pd.DataFrame(
        {
            "factor": table.columns,
            "h": result.h,
            "p_repartition": result.p,
            "q_repartition": benjamini_hochberg(result.p),
            "n": result.n.astype(int),
            "draws": drawn,
            "null_mean": result.null.mean(axis=0) if drawn else np.nan,
            "null_95": np.percentile(result.null, 95, axis=0) if drawn else np.nan,
        }
    )
    write_table(
        output,
        frame,
        {
            "factor": "name of the factor",
            "h": "Kruskal-Wallis H of the true clusters",
            "p_repartition": "(draws with at least this H + 1) / (draws + 1)",
            "q_repartition": "Benjamini-Hochberg false-discovery rate over the factors",
            "n": "people with a value",
            "draws": "random repartitions",
            "null_mean": "mean H of the random repartitions",
            "null_95": "their 95th percentile",
        },
        **facts,
        families_respected=respected,
        families_of_several=int(sum(len(block) for block in blocks if block.shape[1] > 1)),
        people_not_exchangeable=fixed_people(blocks),
        settings=settings_record({"repartition": options, "seed": settings["seed"]}),
    )
    with atomic_path(null) as temporary:
        np.savez_compressed(
            temporary,
            factors=np.array(table.columns, dtype=str),
            h=result.h,
            null=result.null.astype(np.float32),
        )


def compare_strata(
    *, clusters: Path, scores: Path, repartition: Path, output: Path, settings: dict[str, Any]
) -> None:
    """Test every factor between clusters by Kruskal-Wallis, with effect sizes and the repartition's p."""
    from neurostrata.strata.comparisons import COLUMNS, compare_clusters

    groups, table, facts = read_strata(clusters, scores)
    frame = compare_clusters(
        groups, table, read_table(repartition, text=("factor",)), settings["comparisons"]
    )
    write_table(
        output, frame, COLUMNS, **facts, settings=settings_record({"comparisons": settings["comparisons"]})
    )


def profile_strata(*, clusters: Path, scores: Path, output: Path, settings: dict[str, Any]) -> None:
    """Write each cluster's median of every factor and its quantile in the whole population."""
    from neurostrata.strata.profiles import cluster_profiles

    groups, table, facts = read_strata(clusters, scores)
    names = sorted(read_table(clusters)["cluster"].unique().tolist())
    write_table(
        output,
        cluster_profiles(groups, table, names),
        {
            "cluster": "number of the cluster",
            "factor": "name of the factor",
            "median": "median of the cluster's people",
            "quantile": "share of the whole population below that median, equal values counting half",
            "n": "people of the cluster with a value",
        },
        **facts,
    )
