"""The commands of the strata stages: files in, files out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.embeddings import read_embeddings, read_parts
from neurostrata.core.errors import UserError
from neurostrata.core.families import families_of
from neurostrata.core.files import atomic_path, read_json, settings_record, sha256_file, sidecar_path
from neurostrata.core.people import require_number, require_people
from neurostrata.core.records import is_expected
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
    search: Path,
    clusters: Path,
    settings: dict[str, Any],
    threads: int = 1,
) -> None:
    """Look for groups of people in their codes by one finder, and say who belongs to which.

    People who lack a modality are left out: what they lack would make clusters of its own.

    Parameters
    ----------
    embeddings
        Table with `subject` and one column per dimension.
    search, clusters
        Tables to write: the candidates, and the best partition. Without a partition everybody is in cluster 1 and the
        sidecar of `clusters` has ``found: false`` with the reason. Whether there are groups at all is not said here.
    settings
        ``finder`` (name), ``options``, ``small_clusters``, ``outliers``, ``seed``.
    threads
        Results don't depend on it.
    """
    from neurostrata.strata.existence.membership import describe_membership
    from neurostrata.strata.finders.registry import build_finder

    known = read_embeddings(embeddings).complete()
    people, values = known.subjects, known.values
    parts = read_parts(embeddings)
    finder = build_finder(settings["finder"], settings["options"], settings["seed"], threads, parts)
    finding = finder.find(values, _progress("candidates"))
    member = describe_membership(values, finding)
    fits = member.typicality >= settings["outliers"]
    sizes = np.bincount(finding.clusters)[1:].tolist()
    small = settings["small_clusters"]
    limit = max(small["people"], small["share"] * len(people))
    facts = {
        "finder": finder.name,
        "people": len(people),
        "dimensions": int(values.shape[1]),
        "found": finding.reason is None,
        "reason": finding.reason,
        "measure": finder.measure,
        "statistic": float(finding.statistic) if np.isfinite(finding.statistic) else None,
        "components": finding.components,
        "n_clusters": finding.number,
        "cluster_sizes": sizes,
        "small_cluster_limit": limit,
        "small_clusters": [number for number, size in enumerate(sizes, start=1) if size < limit]
        if finding.number > 1
        else [],
        "people_in_no_cluster": [person for person, fit in zip(people, fits) if not fit],
        **finding.facts,
        "settings": settings_record(settings),
        "inputs": {str(embeddings): sha256_file(embeddings)},
    }
    write_table(search, finding.search, finder.search_columns, **facts)
    table = pd.DataFrame(
        {
            "subject": people,
            "cluster": finding.clusters,
            "probability": member.probability,
            "distance": member.distance,
            "typicality": member.typicality,
            "fits": np.where(fits, "yes", "no"),
        }
    )
    columns = {
        "subject": "person",
        "cluster": "number of the cluster, 1 the largest",
        "probability": "probability of belonging to this cluster rather than to another",
        "distance": "Mahalanobis distance from the cluster's centre, covariance pooled over clusters",
        "typicality": "share of a cluster's people that lie as far from its centre (chi-square tail)",
        "fits": "no: lies too far from every cluster and is left out of the comparisons",
    }
    if finding.exemplars is not None:
        table["exemplar"] = [people[row] if row >= 0 else None for row in finding.exemplars]
        columns["exemplar"] = "the person who is the exemplar of the cluster"
    write_table(clusters, table, columns, **facts)


def existence(
    *,
    embeddings: Path,
    clusters: Path,
    people: Path,
    output: Path,
    null: Path,
    settings: dict[str, Any],
    threads: int = 1,
) -> None:
    """Test whether there are groups: the finder's measure beside that in data without groups.

    Parameters
    ----------
    embeddings
        Codes that were clustered.
    clusters
        What was found in them.
    people
        Table with `subject` and, where there are relatives, `family`.
    output, null
        Tables to write: one row with the p-value, and the measure in each draw.
    settings
        ``finder``, ``options``, ``existence``, ``seed``.
    threads
        Results don't depend on it.
    """
    from neurostrata.strata.existence.test import compare_with_null
    from neurostrata.strata.existence.unimodal import KINDS
    from neurostrata.strata.finders.registry import build_finder

    codes, finding = _read_finding(embeddings, clusters)
    options = settings["existence"]
    parts = read_parts(embeddings)
    finder = build_finder(settings["finder"], settings["options"], settings["seed"], threads, parts)
    result = compare_with_null(
        finder,
        codes,
        finding,
        options["draws"],
        settings["seed"],
        read_families(people, read_embeddings(embeddings).complete().subjects),
        _progress("data sets without groups"),
    )
    decisive = result.decisive
    p = result.p
    drawn = result.null.loc[result.null["null"] == decisive, "statistic"]
    finite = drawn[np.isfinite(drawn)]
    row = {
        "finder": finder.name,
        "n": len(codes),
        "n_clusters": finding.number,
        "statistic": result.statistic if np.isfinite(result.statistic) else np.nan,
        "null": decisive,
        "null_mean": finite.mean() if len(finite) else np.nan,
        "null_95": finite.quantile(0.95) if len(finite) else np.nan,
        "p": p,
        **{f"p_{kind}": result.p_of[kind] for kind in KINDS},
        "draws": options["draws"],
        "claimed": "yes" if finding.number > 1 and p <= options["alpha"] else "no",
    }
    facts = {
        "measure": finder.measure,
        "alpha": options["alpha"],
        "settings": settings_record(settings),
        "inputs": {str(path): sha256_file(path) for path in (embeddings, clusters, people)},
    }
    write_table(
        output,
        pd.DataFrame([row]),
        {
            "finder": "how groups were looked for",
            "n": "people",
            "n_clusters": "clusters of the best partition",
            "statistic": f"{finder.measure}, in the codes",
            "null": "kind of data without groups in which the statistic is reached most often; the next three are of it",
            "null_mean": "its mean in data without groups that have the codes' covariance and unimodal margins",
            "null_95": "its 95th percentile there",
            "p": "(draws that reach the statistic + 1) / (draws + 1), the larger of the two kinds",
            "p_margins": "p against data with the unimodal margins of the numbers of the code, correlated as they are",
            "p_directions": "p against data with the unimodal margins along the directions of the clusters, too",
            "draws": "data sets without groups of each kind",
            "claimed": "yes: p is at most alpha, so there are groups",
        },
        **facts,
    )
    write_table(
        null,
        result.null,
        {
            "null": "kind of data without groups: margins or directions",
            "draw": "number of the data set",
            "statistic": finder.measure,
            "n_clusters": "clusters of the best partition",
        },
        **facts,
    )


def _read_finding(embeddings: Path, clusters: Path) -> tuple[Any, Any]:
    """Return codes (people x dimensions) and the finding in them, as far as its files tell."""
    from neurostrata.strata.finders.interface import Finding

    known = read_embeddings(embeddings).complete()
    table = read_table(clusters).set_index("subject")
    if list(table.index) != known.subjects:
        raise UserError(f"{clusters}: is not about the people of {embeddings}; remove it and run again")
    facts = read_json(sidecar_path(clusters))
    finding = Finding(
        table["cluster"].to_numpy(dtype=np.intp), np.nan, pd.DataFrame(), components=facts["components"]
    )
    return known.values, finding


def read_families(people: Path, subjects: Sequence[str]) -> list[str]:
    """Return each person's family, "" for none, from the table of people's characteristics; all must be in it."""
    table = read_table(people, text=("subject", "family")).set_index("subject")
    require_people(people, table.index, subjects, "the codes")
    return families_of(subjects, table)


def stability(
    *,
    embeddings: Path,
    clusters: Path,
    folds: list[Path],
    people: Path,
    output: Path,
    settings: dict[str, Any],
    threads: int = 1,
) -> None:
    """Measure how well each cluster is found again: in resampled people, with other seeds, in the codes of folds.

    Parameters
    ----------
    embeddings
        Codes that were clustered.
    clusters
        What was found in them.
    folds
        Codes of the same people by the models of single folds, not adjusted.
    people
        Table with `subject` and, where there are relatives, `family`, and what the codes are adjusted by.
    output
        Table to write.
    settings
        ``finder``, ``options``, ``stability``, ``seed``; ``adjust`` where the codes are adjusted ones.
    threads
        Results don't depend on it.
    """
    from neurostrata.adjustment.characteristics import WORDS, free_of_covariates
    from neurostrata.strata.existence.stability import COLUMNS, find_again
    from neurostrata.strata.finders.registry import build_finder

    codes, finding = _read_finding(embeddings, clusters)
    subjects = read_embeddings(embeddings).complete().subjects
    place = {subject: row for row, subject in enumerate(subjects)}
    described = read_table(people, text=WORDS).set_index("subject")
    require_people(people, described.index, subjects, embeddings)
    of_folds = {}
    for path in folds:
        own = read_embeddings(path).complete()
        if "adjust" in settings:
            own, _ = free_of_covariates(own, described, settings["adjust"])
        own = own.select(np.array([subject in place for subject in own.subjects], dtype=bool))
        of_folds[path.parent.name] = (np.array([place[s] for s in own.subjects], dtype=np.intp), own.values)
    parts = read_parts(embeddings)
    finder = build_finder(settings["finder"], settings["options"], settings["seed"], threads, parts)
    table = find_again(
        finder,
        codes,
        finding.clusters,
        read_families(people, subjects),
        of_folds,
        settings["stability"]["draws"],
        settings["seed"],
        _progress("samples"),
    )
    write_table(
        output,
        table,
        COLUMNS,
        settings=settings_record(settings),
        inputs={str(path): sha256_file(path) for path in (embeddings, clusters, *folds, people)},
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


def read_clusters(path: Path) -> pd.DataFrame:
    """Read who is in which cluster, indexed by subject; all whom the sidecar counts must be there."""
    table = read_table(path).set_index("subject")
    facts = read_json(sidecar_path(path)) if is_expected(sidecar_path(path)) else {}
    if "people" in facts:
        require_number(path, len(table), facts["people"], sidecar_path(path))
    return table


def read_strata(clusters: Path, scores: Path) -> tuple[pd.Series, pd.DataFrame, dict[str, Any]]:
    """Return clusters and scores of the people who have both, and the counts of those who don't.

    People all of whose scores are missing count as having none; people who fit no cluster are left out.

    Raises
    ------
    UserError
        When `scores`, which has a row for everybody, lacks one of them, or `clusters` has not all of its people.
    """
    partition = read_clusters(clusters)
    groups = partition.loc[partition["fits"] == "yes", "cluster"]
    table = read_table(scores).set_index("subject").astype(float)
    if not groups.index.intersection(table.index).size:
        raise UserError(
            f"{scores}: shares no subject ids with {clusters} (there: {', '.join(table.index[:3])}; "
            f"here: {', '.join(groups.index[:3])})"
        )
    require_people(scores, table.index, partition.index, clusters)
    scored = table.dropna(how="all").index
    both = groups.index[groups.index.isin(scored)]
    facts = {
        "people_clustered": len(groups),
        "people_in_no_cluster": len(partition) - len(groups),
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
    from neurostrata.strata.comparison.kruskal import benjamini_hochberg
    from neurostrata.strata.comparison.repartition import family_blocks, fixed_people, repartition

    groups, table, facts = read_strata(clusters, scores)
    options = settings["repartition"]
    cohort = read_table(subjects, text=("subject", "family")).set_index("subject")
    require_people(subjects, cohort.index, groups.index, clusters)
    families = [""] * len(groups)
    respected = options["families"] and not options["with_replacement"]
    if respected:
        families = families_of(groups.index, cohort)
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
    from neurostrata.strata.comparison.table import COLUMNS, compare_clusters

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
    names = sorted(read_clusters(clusters)["cluster"].unique().tolist())
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
