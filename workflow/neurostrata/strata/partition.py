"""The table of who is in which cluster, and what its sidecar says of the partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.strata.existence.membership import Membership
from neurostrata.strata.finders.interface import Finder, Finding

COLUMNS = {
    "subject": "person",
    "cluster": "number of the cluster, 1 the largest",
    "probability": "probability of belonging to this cluster rather than to another",
    "distance": "Mahalanobis distance from the cluster's centre, covariance pooled over clusters",
    "typicality": "share of a cluster's people that lie as far from its centre (chi-square tail)",
    "fits": "no: lies too far from every cluster and is left out of the comparisons",
    "exemplar": "the person who is the exemplar of the cluster",
}


def partition_table(
    people: Sequence[str], finding: Finding, membership: Membership, outliers: float
) -> pd.DataFrame:
    """Return one row per person, columns :data:`COLUMNS`; `exemplar` only where the finder has exemplars.

    Parameters
    ----------
    people
        Ids, in the order of the codes.
    finding, membership
        The partition, and how well each person belongs to it.
    outliers
        Least typicality of a person who fits a cluster.
    """
    table = pd.DataFrame(
        {
            "subject": people,
            "cluster": finding.clusters,
            "probability": membership.probability,
            "distance": membership.distance,
            "typicality": membership.typicality,
            "fits": np.where(membership.typicality >= outliers, "yes", "no"),
        }
    )
    if finding.exemplars is not None:
        table["exemplar"] = [people[row] if row >= 0 else None for row in finding.exemplars]
    return table


def partition_facts(
    finder: Finder, finding: Finding, table: pd.DataFrame, dimensions: int, small: Mapping[str, float]
) -> dict[str, Any]:
    """Return what the sidecar of a partition says.

    Parameters
    ----------
    finder, finding
        How the partition was found.
    table
        As :func:`partition_table` returns it.
    dimensions
        Numbers in a code.
    small
        ``people`` and ``share``: clusters below the larger of the two are called small.
    """
    people = len(table)
    sizes = np.bincount(finding.clusters)[1:].tolist()
    limit = max(small["people"], small["share"] * people)
    return {
        "finder": finder.name,
        "people": people,
        "dimensions": dimensions,
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
        "people_in_no_cluster": table.loc[table["fits"] == "no", "subject"].tolist(),
        **finding.facts,
    }
