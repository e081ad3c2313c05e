"""What the commands on clusters read: the configured finder, codes, clusters, and scores of the people in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.embeddings import Embeddings, read_embeddings, read_parts
from neurostrata.core.errors import UserError
from neurostrata.core.files import read_json, sha256_file, sidecar_path
from neurostrata.core.people import require_number, require_people
from neurostrata.core.records import is_expected
from neurostrata.core.tables import read_table
from neurostrata.strata.finders.interface import Finder, Finding
from neurostrata.strata.finders.registry import build_finder


def configured_finder(settings: Mapping[str, Any], embeddings: Path, threads: int) -> Finder:
    """Build the finder of a stage.

    Parameters
    ----------
    settings
        ``finder`` (name), ``options``, ``seed``.
    embeddings
        Codes that are clustered; their sidecar says which modality each number belongs to.
    threads
        Results do not depend on it.
    """
    parts = read_parts(embeddings)
    return build_finder(settings["finder"], settings["options"], settings["seed"], threads, parts)


def read_finding(embeddings: Path, clusters: Path) -> tuple[Embeddings, Finding]:
    """Return the codes that were clustered, and the partition found in them as far as its files describe it.

    Raises
    ------
    UserError
        When `clusters` is about other people than `embeddings`.
    """
    known = read_embeddings(embeddings).complete()
    table = read_table(clusters).set_index("subject")
    if list(table.index) != known.subjects:
        raise UserError(f"{clusters}: is not about the people of {embeddings}; remove it and run again")
    components = read_json(sidecar_path(clusters))["components"]
    numbers = table["cluster"].to_numpy(dtype=np.intp)
    return known, Finding(numbers, np.nan, pd.DataFrame(), components=components)


def read_clusters(path: Path) -> pd.DataFrame:
    """Read who is in which cluster, indexed by subject.

    Raises
    ------
    UserError
        When the table has another number of people than its sidecar says.
    """
    table = read_table(path).set_index("subject")
    facts = read_json(sidecar_path(path)) if is_expected(sidecar_path(path)) else {}
    if "people" in facts:
        require_number(path, len(table), facts["people"], sidecar_path(path))
    return table


def read_groups(clusters: Path) -> pd.Series:
    """Return the cluster of everybody who fits one, by subject."""
    table = read_clusters(clusters)
    return table.loc[table["fits"] == "yes", "cluster"]


def read_strata(clusters: Path, scores: Path) -> tuple[pd.Series, pd.DataFrame, dict[str, Any]]:
    """Return clusters and scores of the people who have both, and how many people have not.

    People all of whose scores are missing count as having none; people who fit no cluster are left out.

    Raises
    ------
    UserError
        When `scores`, which has a row for everybody, lacks somebody in `clusters`, or `clusters` is cut.
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
        "people_without_scores": list(groups.index[~groups.index.isin(scored)]),
        "clusters": int(groups.nunique()),
        "inputs": {str(path): sha256_file(path) for path in (clusters, scores)},
    }
    return groups.loc[both], table.loc[both], facts
