"""Brain regions on the fusion grid: a resampled atlas, or parcels of similar size made from the mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.errors import UserError
from neurostrata.imaging.images.io import Grid, Image
from neurostrata.imaging.registration.transforms import resample, resample_to_person
from neurostrata.imaging.template.mni152 import register_to_mni152

#: Number of voxels that k-means is fitted to; the others are assigned to the nearest centre.
_SAMPLE = 20_000

REGION_COLUMNS = {
    "region": "Number in the image",
    "name": "Name",
    "voxels": "Voxels on the fusion grid",
    "x_mm": "Centre, right (mm, study space)",
    "y_mm": "Centre, anterior",
    "z_mm": "Centre, superior",
}


def parcels(mask: np.ndarray, grid: Grid, number: int, seed: int) -> np.ndarray:
    """Divide a mask into compact parcels by k-means on the voxels' coordinates.

    Parameters
    ----------
    mask
        (X, Y, Z) bool.
    grid
        Its grid.
    number
        How many parcels; at most one per voxel.
    seed
        Seed of the starting centres.

    Returns
    -------
    ndarray, shape (X, Y, Z), int32
        1..number from posterior inferior left to anterior superior right, 0 outside the mask.
    """
    from sklearn.cluster import KMeans

    where = np.argwhere(mask)
    points = where @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    chosen = np.random.default_rng(seed).permutation(len(points))[:_SAMPLE]
    means = KMeans(min(number, len(points)), n_init=1, random_state=seed).fit(points[chosen])
    centres = means.cluster_centers_
    rank = np.empty(len(centres), int)
    rank[np.lexsort((centres[:, 0], centres[:, 2], centres[:, 1]))] = np.arange(1, len(centres) + 1)
    result = np.zeros(mask.shape, np.int32)
    result[tuple(where.T)] = rank[means.predict(points)]
    return result


def atlas_on_grid(
    atlas: Image,
    space: str,
    template: Image,
    grid: Grid,
    registration: Mapping[str, Any],
    *,
    skull_stripped: bool,
    seed: int,
    threads: int,
) -> np.ndarray:
    """Resample an atlas onto the fusion grid by nearest neighbour, once.

    Parameters
    ----------
    atlas
        Region numbers.
    space
        ``template``: the study template's space. ``MNI152``: the atlas is resampled by the
        registration of the template to nilearn's MNI152 (2009c; AAL, in SPM's MNI space, is off by about 2 mm).
    template
        The study template.
    grid
        Grid of the result, in the study template's space.
    registration
        Section ``registration``.
    skull_stripped, seed, threads
        See :func:`neurostrata.imaging.template.mni152.register_to_mni152`.

    Returns
    -------
    ndarray, shape of the grid, int32

    Raises
    ------
    UserError
        When a region number is not whole, or no region lies on the grid.
    """
    if not np.array_equal(np.rint(atlas.data), atlas.data) or atlas.data.min() < 0:
        raise UserError("regions.image: the atlas must hold whole numbers, 0 outside its regions")
    if space == "template":
        numbers = resample(atlas, grid, order=0)
    else:
        _, found = register_to_mni152(
            template, registration, skull_stripped=skull_stripped, seed=seed, threads=threads
        )
        assert found.inverse_warp is not None
        numbers = resample_to_person(atlas, grid, found.affine, found.inverse_warp, order=0)
    result = np.rint(numbers).astype(np.int32)
    if not result.any():
        raise UserError(
            f"regions.image: none of the atlas's regions lies on the fusion grid; is it in {space} space?"
        )
    return result


def region_table(numbers: np.ndarray, grid: Grid, names: Mapping[int, str]) -> pd.DataFrame:
    """Return number, name, size and centre of each region, columns :data:`REGION_COLUMNS`.

    Parameters
    ----------
    numbers
        (X, Y, Z) region numbers, 0 outside.
    grid
        Their grid.
    names
        Number -> name; others are called by their number.
    """
    rows = []
    for number in (int(number) for number in np.unique(numbers) if number):
        where = np.argwhere(numbers == number)
        centre = grid.affine[:3, :3] @ where.mean(axis=0) + grid.affine[:3, 3]
        rows.append([number, names.get(number, f"region {number}"), len(where), *centre])
    return pd.DataFrame(rows, columns=list(REGION_COLUMNS))
