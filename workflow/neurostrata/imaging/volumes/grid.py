"""The fusion grid and maps on it.

A map goes from native space to the fine grid (`resolution_mm`, 1.25 mm in the paper) with one interpolation;
the mean over blocks of `downsample`^3 fine voxels then gives the fusion grid, which is cropped or padded to
a fixed shape (Dimitri et al. 2022, 2.3). Interpolating straight to 2.5 mm would alias.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage

from neurostrata.core.errors import UserError
from neurostrata.imaging.images.io import Grid, Image, apply_affine
from neurostrata.imaging.registration.transforms import Displacement, resample

#: Below this share of tissue in a block (1 - free water fraction) tissue-weighted density is set to 0.
_LEAST_TISSUE = 0.05
_FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))


@dataclass(frozen=True, eq=False)
class FusionGrid:
    """The grid of the fusion models, and the finer one that maps are interpolated on.

    Attributes
    ----------
    grid
        The fusion grid: the given shape, voxels of resolution_mm * downsample.
    downsample
        Fine voxels per fusion voxel along each axis.
    start, stop
        Part of the fusion grid, per axis, that the template's field of view reaches; the rest is padding.
    """

    grid: Grid
    downsample: int
    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    @property
    def fine(self) -> Grid:
        """The fine grid under the part between `start` and `stop`."""
        factor = self.downsample
        to_coarse = np.diag([1 / factor, 1 / factor, 1 / factor, 1.0])
        to_coarse[:3, 3] = np.array(self.start) + (1 / factor - 1) / 2
        sides = [(high - low) * factor for low, high in zip(self.start, self.stop)]
        return Grid((sides[0], sides[1], sides[2]), self.grid.affine @ to_coarse)

    def pad(self, part: np.ndarray) -> np.ndarray:
        """Place an array that covers `start` to `stop` in the whole fusion grid, 0 elsewhere."""
        whole = np.zeros(self.grid.shape, dtype=np.float32)
        whole[tuple(slice(low, high) for low, high in zip(self.start, self.stop))] = part
        return whole


def _canonical(image: Image) -> Image:
    """Return an image with its axes in the order right, anterior, superior, values untouched."""
    turned = nib.as_closest_canonical(nib.Nifti1Image(image.data, image.grid.affine))
    x, y, z = turned.shape
    return Image(np.asarray(turned.dataobj), Grid((x, y, z), turned.affine))


def fusion_grid(template: Image, settings: Mapping[str, Any]) -> FusionGrid:
    """Return the fusion grid of a template, centred on its brain.

    Its axes are the template's, ordered right, anterior, superior. Fine voxels fall on the template's own
    voxel centres where both have one size, so that images on the template's grid are not blurred.

    Parameters
    ----------
    template
        The template or (better, when it shows more than the brain) the template's brain mask: the box around
        voxels above 10% of the 99th percentile of the positive ones is the centre of the grid.
    settings
        Section ``volumes``: resolution_mm, downsample, shape.
    """
    resolution, factor = float(settings["resolution_mm"]), int(settings["downsample"])
    shape = np.array([int(side) for side in settings["shape"]])
    template = _canonical(template)
    positive = template.data[template.data > 0]
    if not positive.size:
        raise UserError("the template has no positive voxel; was it built from empty images?")
    bright = np.argwhere(template.data > 0.1 * np.percentile(positive, 99))
    centre = (bright.min(axis=0) + bright.max(axis=0)) / 2
    # The fine voxel just behind the middle is put on the nearest voxel centre of the template.
    spacing = template.grid.spacing
    anchor = np.floor(centre + resolution / 2 / spacing + 0.5)
    fine = template.grid.affine @ np.diag([*(resolution / spacing), 1.0])
    fine[:3, 3] = apply_affine(template.grid.affine, anchor) - fine[:3, :3] @ (shape * factor // 2)
    coarse = fine @ np.diag([factor, factor, factor, 1.0])
    coarse[:3, 3] = apply_affine(fine, np.full(3, (factor - 1) / 2))

    edges = np.array(template.grid.shape) - 0.5
    corners = np.array(
        [[i, j, k] for i in (-0.5, edges[0]) for j in (-0.5, edges[1]) for k in (-0.5, edges[2])]
    )
    reached = apply_affine(np.linalg.inv(coarse), apply_affine(template.grid.affine, corners))
    start = np.clip(np.floor(reached.min(axis=0) + 0.5), 0, shape - 1).astype(int)
    stop = np.clip(np.ceil(reached.max(axis=0) + 0.5), start + 1, shape).astype(int)
    return FusionGrid(
        Grid((int(shape[0]), int(shape[1]), int(shape[2])), coarse),
        factor,
        (int(start[0]), int(start[1]), int(start[2])),
        (int(stop[0]), int(stop[1]), int(stop[2])),
    )


def block_mean(data: np.ndarray, factor: int) -> np.ndarray:
    """Mean over blocks of factor^3 voxels; all three sides must be multiples of `factor`."""
    if factor == 1:
        return np.asarray(data, dtype=np.float32)
    x, y, z = (side // factor for side in data.shape)
    blocks = data.reshape(x, factor, y, factor, z, factor)
    return blocks.mean(axis=(1, 3, 5), dtype=np.float64).astype(np.float32)


def smooth_by_fwhm(data: np.ndarray, fwhm_mm: float, spacing_mm: float) -> np.ndarray:
    """Gaussian smoothing by a full width at half maximum in mm; zero counts as value beyond the edge."""
    if fwhm_mm <= 0:
        return data
    sigma = fwhm_mm / _FWHM_PER_SIGMA / spacing_mm
    return ndimage.gaussian_filter(data, sigma, mode="constant", truncate=5.0)


def map_to_grid(
    image: Image,
    fusion: FusionGrid,
    affine: np.ndarray | None = None,
    warp: Displacement | None = None,
    jacobian: Image | None = None,
    smooth_fwhm_mm: float = 0.0,
) -> np.ndarray:
    """Bring one native map onto the fusion grid, (X, Y, Z) float32, 0 outside the image.

    Parameters
    ----------
    image
        The map in its own space.
    fusion
        The grid.
    affine, warp
        Template points x to points of the image, A(x + u(x)); None is the identity. For diffusion maps `affine`
        is the alignment times the T1w image's affine, so that there is one interpolation.
    jacobian
        Absolute Jacobian determinant in template space to multiply by (modulation: sums become volumes).
    smooth_fwhm_mm
        Smoothing in template space, after modulation.
    """
    fine = fusion.fine
    data = resample(image, fine, affine, warp)
    if jacobian is not None:
        data *= resample(jacobian, fine)
    data = smooth_by_fwhm(data, smooth_fwhm_mm, float(fine.spacing[0]))
    return fusion.pad(block_mean(data, fusion.downsample))


def tissue_weighted_ndi(
    ndi: Image,
    fwf: Image,
    fusion: FusionGrid,
    affine: np.ndarray | None = None,
    warp: Displacement | None = None,
) -> np.ndarray:
    """Bring NDI onto the fusion grid as the mean over tissue: mean of NDI (1 - FWF) over mean of (1 - FWF).

    A voxel that is mostly free water has a neurite density of little meaning; plain averaging mixes it in.
    (Parker et al. 2021, NeuroImage 245:118749.) Voxels that were not fitted (both maps 0) count as no tissue.
    """
    fitted = (ndi.data > 0) | (fwf.data > 0)
    tissue = np.where(fitted, 1.0 - fwf.data, 0.0).astype(np.float32)
    weighted = map_to_grid(Image(ndi.data * tissue, ndi.grid), fusion, affine, warp)
    weight = map_to_grid(Image(tissue, ndi.grid), fusion, affine, warp)
    return np.divide(weighted, weight, out=np.zeros_like(weighted), where=weight > _LEAST_TISSUE)


def mask_to_grid(mask: Image, fusion: FusionGrid) -> np.ndarray:
    """Bring the template's brain mask onto the fusion grid, (X, Y, Z) bool: at least half of a voxel inside.

    Raises
    ------
    UserError
        When the grid is too small for the brain.
    """
    inside = Image((mask.data > 0).astype(np.float32), mask.grid)
    occupied = np.argwhere(inside.data > 0)
    if not occupied.size:
        raise UserError("the template's brain mask is empty")
    index = apply_affine(
        np.linalg.inv(fusion.grid.affine), apply_affine(mask.grid.affine, occupied.astype(float))
    )
    outside = (index < -0.5) | (index > np.array(fusion.grid.shape) - 0.5)
    if outside.any():
        needed = np.ceil(index.max(axis=0) - index.min(axis=0)).astype(int) + 2
        raise UserError(
            f"volumes.shape {list(fusion.grid.shape)} at {fusion.grid.spacing[0]:g} mm cuts off "
            f"{outside.any(axis=1).mean():.1%} of the template's brain; set it to at least {needed.tolist()}"
        )
    return map_to_grid(inside, fusion) >= 0.5
