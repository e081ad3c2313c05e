"""The maps of an experiment's clusters as the report reads them: tables, images, and why there are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from neurostrata.report.data.layout import Experiment
from neurostrata.report.data.results import StudyResults
from neurostrata.report.figures.film import Placed, read_placed
from neurostrata.report.figures.strata_maps import Ground, ground
from neurostrata.strata.maps.commands import leading_kind, map_file


@dataclass(frozen=True)
class StrataMaps:
    """The maps of the leading partition of an experiment.

    Attributes
    ----------
    study, experiment
        Where they are.
    table
        ``maps.tsv``, a row for each cluster and modality.
    places
        ``places.tsv``; None without rows.
    facts
        The sidecar of ``maps.tsv``.
    """

    study: StudyResults
    experiment: Experiment
    table: pd.DataFrame
    places: pd.DataFrame | None
    facts: Mapping[str, Any]

    @property
    def threshold(self) -> float:
        """Effects of at least this size are called large."""
        return float(self.facts["Threshold"])

    @property
    def adjusted_for(self) -> list[str]:
        """Covariates that were removed."""
        return [str(name) for name in self.facts["AdjustedFor"]]

    @property
    def splines(self) -> int | dict[str, int]:
        """Degrees of freedom of each covariate that was removed along a curve; 1: none was. Earlier releases have those of all numbers."""
        found: int | dict[str, int] = self.study.sidecar(self.experiment.adjusted_codes)["Splines"]
        return found

    @property
    def clusters(self) -> list[int]:
        """The clusters that have maps."""
        return [int(number) for number in dict.fromkeys(self.table["stratum"])]

    @property
    def modalities(self) -> list[str]:
        """The modalities, those with the largest share of large effects (of any cluster) first."""
        shares = self.table.groupby("modality")["share_large"].max()
        return [str(name) for name in shares.sort_values(ascending=False, kind="stable").index]

    def path(self, cluster: int, modality: str, kind: str = "") -> Path:
        """Return the file of a map; by default of the leading kind of effect."""
        folder = self.experiment.strata("decoded" if kind in ("decoded", "meanscaled") else "maps")
        return folder / map_file(cluster, modality, kind or leading_kind(self.facts))

    def image(self, cluster: int, modality: str, kind: str = "") -> Placed | None:
        """Read a map; None where there is none."""
        return read_placed(self.path(cluster, modality, kind))

    @cached_property
    def under(self) -> Ground | None:
        """What maps are drawn on; None without the mask of the fusion grid."""
        tree = self.study.tree
        mask = read_placed(tree.volume("mask.nii.gz"))
        if mask is None:
            return None
        return ground(
            read_placed(tree.template("template.nii.gz")), read_placed(tree.template("mask.nii.gz")), mask
        )


def read_strata_maps(study: StudyResults, experiment: Experiment) -> StrataMaps | None:
    """Return the maps; None where there are none, as :func:`why_none` explains."""
    path = experiment.strata("maps.tsv")
    columns = ("stratum", "modality", "n", "n_others", "share_large", "share_chance")
    table = study.table(path, columns=columns)
    if table is None:
        return None
    places = study.table(
        experiment.strata("places.tsv"), columns=("stratum", "modality", "kind", "effect", "peak")
    )
    return StrataMaps(study, experiment, table, places, study.sidecar(path))


def why_none(study: StudyResults, experiment: Experiment) -> str:
    """Return why there are no maps: what the stage said, or that its table is not there."""
    path = experiment.strata("maps.tsv")
    reason = study.sidecar(path).get("Reason") if path.is_file() else None
    return str(reason) if reason else f"{study.relative(path)} was not made"
