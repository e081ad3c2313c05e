"""Brain regions on the fusion grid: an atlas brought there, or parcels of like size made from the mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from neurostrata.core.errors import UserError
from neurostrata.imaging.images.io import Grid, Image
from neurostrata.imaging.registration.transforms import resample, resample_to_person
from neurostrata.imaging.template.priors import register_standard

#: Voxels that k-means learns from; the others join the nearest centre.
_SAMPLE = 20_000


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
    """Bring an atlas onto the fusion grid by nearest neighbour, once.

    Parameters
    ----------
    atlas
        Region numbers.
    space
        ``template``: it lies in the study template's space already. ``MNI152``: it is brought over by the
        registration of the template to nilearn's MNI152 (2009c; AAL, in SPM's MNI space, is off by about 2 mm).
    template
        The study template.
    grid
        Where the regions are wanted, in the study template's space.
    registration
        Section ``registration``.
    skull_stripped, seed, threads
        See :func:`neurostrata.imaging.template.priors.template_priors`.

    Returns
    -------
    ndarray, shape of the grid, int32

    Raises
    ------
    UserError
        When a number is no whole number, or no region lies on the grid.
    """
    if not np.array_equal(np.rint(atlas.data), atlas.data) or atlas.data.min() < 0:
        raise UserError("regions.image: the atlas must hold whole numbers, 0 outside its regions")
    if space == "template":
        numbers = resample(atlas, grid, order=0)
    else:
        _, found = register_standard(
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
