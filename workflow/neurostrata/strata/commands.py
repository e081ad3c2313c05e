"""The commands that look for clusters and test them: files in, files out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.adjustment.characteristics import read_characteristics
from neurostrata.adjustment.codes import free_of_covariates
from neurostrata.core.embeddings import read_embeddings
from neurostrata.core.families import families_of
from neurostrata.core.files import settings_record, sha256_file
from neurostrata.core.people import require_people
from neurostrata.core.tables import write_table
from neurostrata.strata.inputs import configured_finder, read_finding
from neurostrata.strata.progress import progress_lines


def cluster(
    *,
    embeddings: Path,
    search: Path,
    clusters: Path,
    settings: dict[str, Any],
    threads: int = 1,
) -> None:
    """Look for groups of people in their codes by one finder, and say who belongs to which.

    People who lack a modality are left out: they would form clusters of their own by what they lack.

    Parameters
    ----------
    embeddings
        Table with `subject` and one column per dimension.
    search, clusters
        Tables to write: the candidates, and the best partition. Without a partition everybody is in cluster 1 and the
        sidecar of `clusters` has ``found: false`` with the reason. Whether the groups exist is the question of
        :func:`existence`.
    settings
        ``finder`` (name), ``options``, ``small_clusters``, ``outliers``, ``seed``.
    threads
        Results do not depend on it.
    """
    from neurostrata.strata.existence.membership import describe_membership
    from neurostrata.strata.partition import COLUMNS, partition_facts, partition_table

    known = read_embeddings(embeddings).complete()
    finder = configured_finder(settings, embeddings, threads)
    finding = finder.find(known.values, progress_lines("candidates"))
    membership = describe_membership(known.values, finding)
    table = partition_table(known.subjects, finding, membership, settings["outliers"])
    facts = {
        **partition_facts(finder, finding, table, known.values.shape[1], settings["small_clusters"]),
        "settings": settings_record(settings),
        "inputs": {str(embeddings): sha256_file(embeddings)},
    }
    write_table(search, finding.search, finder.search_columns, **facts)
    write_table(clusters, table, {name: COLUMNS[name] for name in table}, **facts)


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
    """Test whether there are groups: compare the finder's measure with its values in data without groups.

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
        Results do not depend on it.
    """
    from neurostrata.strata.existence.comparison_with_null import (
        COLUMNS,
        NULL_COLUMNS,
        compare_with_null,
        described,
    )

    known, finding = read_finding(embeddings, clusters)
    options = settings["existence"]
    relatives = read_characteristics(people)
    require_people(people, relatives.index, known.subjects, embeddings)
    finder = configured_finder(settings, embeddings, threads)
    result = compare_with_null(
        finder,
        known.values,
        finding,
        options["draws"],
        settings["seed"],
        families_of(relatives, known.subjects),
        progress_lines("data sets without groups"),
    )
    row = result.row(finder, finding, options["draws"], options["alpha"])
    facts = {
        "measure": finder.measure,
        "alpha": options["alpha"],
        "settings": settings_record(settings),
        "inputs": {str(path): sha256_file(path) for path in (embeddings, clusters, people)},
    }
    write_table(output, pd.DataFrame([row]), described(COLUMNS, finder.measure), **facts)
    write_table(null, result.null, described(NULL_COLUMNS, finder.measure), **facts)


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
        Results do not depend on it.
    """
    from neurostrata.strata.existence.stability import COLUMNS, find_again

    known, finding = read_finding(embeddings, clusters)
    row_of = {subject: row for row, subject in enumerate(known.subjects)}
    described = read_characteristics(people)
    require_people(people, described.index, known.subjects, embeddings)
    of_folds = {}
    for path in folds:
        codes = read_embeddings(path).complete()
        if "adjust" in settings:
            codes, _ = free_of_covariates(codes, described, settings["adjust"])
        codes = codes.select(np.array([subject in row_of for subject in codes.subjects], dtype=bool))
        rows = np.array([row_of[subject] for subject in codes.subjects], dtype=np.intp)
        of_folds[path.parent.name] = (rows, codes.values)
    table = find_again(
        configured_finder(settings, embeddings, threads),
        known.values,
        finding.clusters,
        families_of(described, known.subjects),
        of_folds,
        settings["stability"]["draws"],
        settings["seed"],
        progress_lines("samples"),
    )
    write_table(
        output,
        table,
        COLUMNS,
        settings=settings_record(settings),
        inputs={str(path): sha256_file(path) for path in (embeddings, clusters, *folds, people)},
    )


def map_people(*, embeddings: Path, output: Path, settings: dict[str, Any]) -> None:
    """Write the t-SNE map of people by their codes (subject, x, y).

    Parameters
    ----------
    embeddings
        Table with `subject` and one column per dimension.
    output
        Table to write.
    settings
        ``tsne`` (perplexity, max_iter), ``seed``.
    """
    from neurostrata.strata.tsne import tsne_map, tsne_perplexity

    known, options = read_embeddings(embeddings).complete(), settings["tsne"]
    points = tsne_map(known.values, options["perplexity"], options["max_iter"], settings["seed"])
    write_table(
        output,
        pd.DataFrame({"subject": known.subjects, "x": points[:, 0], "y": points[:, 1]}),
        {"subject": "person", "x": "first t-SNE coordinate", "y": "second t-SNE coordinate"},
        perplexity=tsne_perplexity(len(known.subjects), options["perplexity"]),
        settings=settings_record({"tsne": options, "seed": settings["seed"]}),
        inputs={str(embeddings): sha256_file(embeddings)},
    )
