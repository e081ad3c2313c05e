"""The command that maps strata: where in each modality the people of a stratum differ from all others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.adjustment.characteristics import read_characteristics
from neurostrata.cohort.values import ALWAYS_WORDS
from neurostrata.core.files import (
    atomic_directory,
    read_json,
    settings_record,
    sha256_file,
    sidecar_path,
    write_sidecar,
)
from neurostrata.core.people import require_people
from neurostrata.core.tables import read_table, write_table
from neurostrata.fusion.data.volumes import ModalityVolumes, open_volumes, read_grid_mask, read_grid_regions
from neurostrata.imaging.images.io import Grid, apply_affine, write_image
from neurostrata.imaging.volumes.arrays import load_volumes
from neurostrata.phenotypes.covariates import CovariateDesign, code_covariates, find_columns
from neurostrata.strata.inputs import read_groups
from neurostrata.strata.maps.effects import StrataSums, StratumEffect, chance_share, effect_interval
from neurostrata.strata.maps.places import THRESHOLD, RegionMeans, connected_places

#: Strata that are mapped; they are numbered by size, so these are the largest.
MOST_STRATA = 12
#: People who are read before an array is opened anew: pages of a memory map that were read count as memory of the job.
_OPENED = 20

#: Kind of map (the end of its file's name) -> what it shows.
KINDS = {
    "mean": "mean of the stratum's people",
    "sd": "standard deviation over the stratum's people",
    "effect": "Hedges' g: stratum minus all others, over their pooled standard deviation",
    "effectadjusted": "Hedges' g of values without the effects of covariates (learned from everybody)",
}

COLUMNS = {
    "stratum": "number of the cluster",
    "modality": "name of the modality",
    "n": "people of the stratum who have the modality",
    "n_others": "people of all other strata who have it",
    "effect_largest": "largest effect (Hedges' g, stratum minus others) of any voxel in the mask; adjusted where covariates were removed",
    "effect_smallest": "smallest (most negative) effect",
    "share_large": f"share of the mask's voxels with an effect of at least {THRESHOLD:g} in size",
    "share_chance": "the same share expected between random groups of these sizes",
    "adjusting_correlation": "correlation over voxels of the effects with and without adjustment; n/a where nothing was removed",
}

REGION_COLUMNS = {
    "stratum": "number of the cluster",
    "modality": "name of the modality",
    "kind": "region: of the atlas; place: connected voxels with effects of at least the threshold, of one sign",
    "region": "number of the region in the atlas (of a place: the one at its peak, 0: none); n/a without an atlas",
    "name": "name of the region (of a place: the one at its peak)",
    "voxels": "voxels of the fusion grid",
    "volume_ml": "their volume in ml",
    "effect": "region: Hedges' g of people's means over it; place: mean of its voxels' g. Adjusted where covariates were removed",
    "effect_low": "lower end of the region's interval (Bonett 2008), whatever the stratum's spread; n/a for places, which were chosen by their effect",
    "effect_high": "upper end",
    "effect_unadjusted": "the region's effect without adjustment; n/a for places",
    "peak": "effect of largest size of any of its voxels",
    "x_mm": "place: its peak; region: its centre. To the right, in mm, study template's space",
    "y_mm": "to the front",
    "z_mm": "up",
    "x_mni": "the same point in MNI152 space, in mm; n/a where no modality of the experiment is in MNI152 space",
    "y_mni": "to the front",
    "z_mni": "up",
}


def map_file(stratum: int, modality: str, kind: str) -> str:
    """Return the name of a map's file in the folder of maps."""
    return f"stratum-{stratum}_modality-{modality}_{kind}.nii.gz"


def map_strata(
    *,
    volumes: list[Path],
    mask: Path,
    clusters: Path,
    existence: Path,
    codes: Path,
    people: Path,
    maps: Path,
    output: Path,
    places: Path,
    settings: dict[str, Any],
    regions: Path | None = None,
    names: Path | None = None,
    affine: Path | None = None,
    warp: Path | None = None,
) -> None:
    """Map where each stratum's images differ from those of everybody else. Where no strata exist, nothing is mapped.

    Parameters
    ----------
    volumes
        One array per modality of the experiment.
    mask
        Brain mask on their grid.
    clusters, existence
        Who is in which cluster, and whether clusters exist.
    codes
        The codes that were clustered; their sidecar says which covariates were removed.
    people
        Everybody's characteristics.
    maps
        Folder to write: mean, standard deviation and effect size of each stratum in each modality (NIfTI, fusion grid).
    output, places
        Tables to write: a row for each map (:data:`COLUMNS`), and regions and places of large effects
        (:data:`REGION_COLUMNS`).
    settings
        ``confidence`` of the intervals.
    regions, names
        Atlas on the fusion grid, and its table; None without an atlas.
    affine, warp
        The transform that brings MNI152 images to the template, x_MNI = A(x + u(x)); None where there is none.
    """
    groups = read_groups(clusters)
    strata = [int(number) for number in sorted(groups.unique())]
    reason = why_no_maps(read_table(existence).iloc[0], len(strata))
    described = read_characteristics(people)
    require_people(people, described.index, groups.index, clusters)
    design, removed, sites = _covariates(codes, described.reindex(groups.index))
    opened = open_volumes(volumes, [read_json(sidecar_path(path))["modality"] for path in volumes])
    info = opened[0].info
    inside = read_grid_mask(mask, opened[0].array.shape[1:], info["affine"])
    atlas = None if regions is None else _Atlas(regions, names, inside, info["affine"])
    rows: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    with atomic_directory(maps) as folder:
        for path, volume in zip(volumes, opened if reason is None else []):
            part = _map_modality(
                path, volume, inside, groups, strata, design, folder, atlas, settings["confidence"], removed
            )
            rows += part[0]
            found += part[1]
    facts = {
        "Reason": reason,
        "Threshold": THRESHOLD,
        "AdjustedFor": removed,
        "SitesAsMeans": sites,
        "StrataNotMapped": strata[MOST_STRATA:] if reason is None else [],
        "Space": "study template, fusion grid",
        "settings": settings_record(settings),
        "inputs": {str(path): sha256_file(path) for path in (clusters, existence, codes, people)},
    }
    write_table(
        output,
        pd.DataFrame(rows, columns=list(COLUMNS)),
        COLUMNS,
        Description="Maps of the strata. The strata were found in these images: effect sizes describe them and test nothing.",
        **facts,
    )
    table = pd.DataFrame(found, columns=list(REGION_COLUMNS))
    _add_mni(table, affine, warp)
    write_table(places, table, REGION_COLUMNS, Description="Where the strata's images differ most.", **facts)


def why_no_maps(existence: pd.Series, clusters: int) -> str | None:
    """Return why strata are not mapped, in a sentence; None where they exist.

    Parameters
    ----------
    existence
        The row of ``existence.tsv``.
    clusters
        Number of clusters with people who fit into them.
    """
    if str(existence["claimed"]).lower() not in ("yes", "true"):
        return "no strata were found: such a partition is also found in data without groups"
    return "everybody is in one cluster" if clusters < 2 else None


def _covariates(codes: Path, described: pd.DataFrame) -> tuple[np.ndarray | None, list[str], str | None]:
    """Return what was removed from the codes as columns of numbers (people, columns), its names, and the column of sites.

    Sites are removed as their means: ComBat, which the codes had, would need everybody's images in memory.
    """
    facts = read_json(sidecar_path(codes))
    columns, sites = list(facts.get("Removed", [])), facts.get("Sites")
    names = [*columns, *([sites] if sites else [])]
    if not names:
        return None, [], None
    table = find_columns(names, [described], "strata.adjust.columns")
    coded = code_covariates(table, (*ALWAYS_WORDS, sites) if sites else ALWAYS_WORDS)
    return CovariateDesign(facts["Splines"]).fit(coded).transform(coded), names, sites


class _Atlas:
    """The atlas's regions inside the mask, with their names and centres."""

    def __init__(self, regions: Path, names: Path | None, inside: np.ndarray, affine: Any) -> None:
        self.image = np.where(inside, read_grid_regions(regions, inside.shape, affine), 0)
        self.means = RegionMeans(self.image[inside])
        table = None if names is None else read_table(names, text=("name",)).set_index("region")
        self.table = table

    def name(self, region: int) -> str | None:
        """Return a region's name; None of no region."""
        if self.table is None or region not in self.table.index:
            return None
        return str(self.table.loc[region, "name"])


def _map_modality(
    path: Path,
    volume: ModalityVolumes,
    inside: np.ndarray,
    groups: pd.Series,
    strata: list[int],
    design: np.ndarray | None,
    folder: Path,
    atlas: _Atlas | None,
    confidence: float,
    removed: list[str],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Write the maps of one modality; return the rows of both tables."""
    present = np.array([subject in volume.row for subject in groups.index])
    labels = np.searchsorted(strata, groups.to_numpy())[present]
    covariates = None if design is None else design[present]
    described = min(len(strata), MOST_STRATA)
    sums = StrataSums(labels, described, covariates)
    regional = StrataSums(labels, described, covariates, spreads=True)
    array = volume.array
    for person, subject in enumerate(groups.index[present]):
        if person % _OPENED == 0:
            array, _ = load_volumes(path)  # what was read of the last one no longer takes memory
        values = np.asarray(array[volume.row[subject]])[inside].astype(np.float64)
        sums.add(person, values)
        if atlas is not None:
            regional.add(person, atlas.means(values))
    rows, found = [], []
    affine = np.array(volume.info["affine"])
    for position in range(described):
        member = labels == position
        if not member.any() or member.all():
            continue
        effect = sums.effects(position)
        _write_maps(folder, strata[position], volume, inside, effect, removed)
        leading = effect.effect if effect.adjusted is None else effect.adjusted
        df = effect.df if effect.adjusted is None else effect.adjusted_df
        start = {"stratum": strata[position], "modality": volume.name}
        rows.append(
            {
                **start,
                "n": effect.n,
                "n_others": effect.others,
                "effect_largest": float(leading.max()),
                "effect_smallest": float(leading.min()),
                "share_large": float((np.abs(leading) >= THRESHOLD).mean()),
                "share_chance": chance_share(THRESHOLD, effect.n, effect.others, df),
                "adjusting_correlation": np.nan
                if effect.adjusted is None
                else _correlation(effect.effect, effect.adjusted),
            }
        )
        image = _filled(inside, np.nan_to_num(leading))
        if atlas is not None:
            found += [
                {**start, **row}
                for row in _region_rows(atlas, regional.effects(position), image, affine, confidence)
            ]
        found += [{**start, **row} for row in _place_rows(atlas, image, affine)]
    return rows, found


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    known = np.isfinite(first) & np.isfinite(second)
    if not known.any() or first[known].std() == 0 or second[known].std() == 0:
        return np.nan
    return float(np.corrcoef(first[known], second[known])[0, 1])


def _filled(inside: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return an image with these values inside the mask and 0 outside."""
    image = np.zeros(inside.shape)
    image[inside] = values
    return image


def _write_maps(
    folder: Path,
    stratum: int,
    volume: ModalityVolumes,
    inside: np.ndarray,
    effect: StratumEffect,
    removed: list[str],
) -> None:
    shape = inside.shape
    grid = Grid((shape[0], shape[1], shape[2]), np.array(volume.info["affine"]))
    images = {
        "mean": effect.mean,
        "sd": effect.sd,
        "effect": effect.effect,
        "effectadjusted": effect.adjusted,
    }
    for kind, values in images.items():
        if values is None or not np.isfinite(values).any():
            continue
        path = folder / map_file(stratum, volume.name, kind)
        write_image(path, _filled(inside, np.nan_to_num(values)), grid)
        write_sidecar(
            path,
            Description=KINDS[kind],
            Stratum=stratum,
            Modality=volume.name,
            People=effect.n,
            **({"Others": effect.others} if kind.startswith("effect") else {}),
            **({"AdjustedFor": removed} if kind == "effectadjusted" else {}),
            Units="standard deviations" if kind.startswith("effect") else "of the modality's maps",
            Space="study template, fusion grid",
        )


def _region_rows(
    atlas: _Atlas, effect: StratumEffect, image: np.ndarray, affine: np.ndarray, confidence: float
) -> list[dict[str, Any]]:
    """Return a row for each region of the atlas."""
    leading = effect.effect if effect.adjusted is None else effect.adjusted
    low, high = effect_interval(leading, effect.n, effect.others, confidence, effect.own, effect.rest)
    millilitres = abs(np.linalg.det(affine[:3, :3])) / 1000
    rows = []
    for position, region in enumerate(int(number) for number in atlas.means.numbers):
        where = np.argwhere(atlas.image == region)
        values = image[atlas.image == region]
        x, y, z = apply_affine(affine, where.mean(axis=0))
        rows.append(
            {
                "kind": "region",
                "region": region,
                "name": atlas.name(region),
                "voxels": len(where),
                "volume_ml": len(where) * millilitres,
                "effect": leading[position],
                "effect_low": low[position],
                "effect_high": high[position],
                "effect_unadjusted": effect.effect[position],
                "peak": values[np.argmax(np.abs(values))],
                **{"x_mm": x, "y_mm": y, "z_mm": z},
            }
        )
    return rows


def _place_rows(atlas: _Atlas | None, image: np.ndarray, affine: np.ndarray) -> list[dict[str, Any]]:
    """Return a row for each connected place of large effects."""
    rows = []
    for place in connected_places(image, affine):
        index = place.pop("index")
        x, y, z = apply_affine(affine, np.array(index, float))
        region = None if atlas is None else int(atlas.image[index])
        name = None if atlas is None or region is None else atlas.name(region)
        rows.append(
            {"kind": "place", "region": region, "name": name, **place, "x_mm": x, "y_mm": y, "z_mm": z}
        )
    return rows


def _add_mni(table: pd.DataFrame, affine: Path | None, warp: Path | None) -> None:
    """Add the places' coordinates in MNI152 space where a transform is known, in place."""
    if affine is None or warp is None or table.empty:
        return
    from neurostrata.imaging.registration.transforms import displace, read_affine, read_displacement

    points = table[["x_mm", "y_mm", "z_mm"]].to_numpy(float)
    reached = apply_affine(read_affine(affine), displace(read_displacement(warp), points))
    table[["x_mni", "y_mni", "z_mni"]] = reached


def leading_kind(facts: Mapping[str, Any]) -> str:
    """Return the kind of effect that leads: adjusted where covariates were removed."""
    return "effectadjusted" if facts.get("AdjustedFor") else "effect"
