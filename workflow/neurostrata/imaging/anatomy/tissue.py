"""Grey matter, white matter and cerebrospinal fluid of one person (Atropos; Avants et al. 2011)."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neurostrata.imaging.images.io import Image, read_image, write_image

#: Classes in the order of the maps that :func:`segment` returns.
CLASSES = ("GM", "WM", "CSF")


def segment(
    t1w: Image,
    mask: np.ndarray,
    priors: tuple[np.ndarray, np.ndarray, np.ndarray],
    settings: Mapping[str, Any],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Posterior probabilities of grey matter, white matter and cerebrospinal fluid.

    Parameters
    ----------
    t1w
        Bias-corrected image in native space.
    mask
        (X, Y, Z) bool: the brain.
    priors
        GM, WM, CSF maps on the same grid, values in [0, 1].
    settings
        Section ``tissue``.

    Returns
    -------
    grey, white, csf
        (X, Y, Z) float32; they add up to 1 inside the mask and are 0 outside.
    """
    # antspyx's wrapper leaves files in /tmp; this calls the same program with a private folder.
    from ants.internal import get_lib_fn

    stack = np.stack([np.clip(prior, 0.001, 1) for prior in priors])
    stack /= stack.sum(axis=0)
    with tempfile.TemporaryDirectory(prefix="neurostrata-") as name:
        folder = Path(name)
        write_image(folder / "t1w.nii.gz", t1w.data, t1w.grid)
        write_image(folder / "mask.nii.gz", mask, t1w.grid, np.uint8)
        for number, prior in enumerate(stack, start=1):
            write_image(folder / f"prior{number:02d}.nii.gz", prior * mask, t1w.grid)
        radius = "x".join([str(settings["mrf_radius"])] * 3)
        arguments = [
            *("--image-dimensionality", "3", "--verbose", "0", "--use-random-seed", "0"),
            *("--intensity-image", f"{folder}/t1w.nii.gz", "--mask-image", f"{folder}/mask.nii.gz"),
            *(
                "--initialization",
                f"PriorProbabilityImages[3,{folder}/prior%02d.nii.gz,{settings['prior_weight']:g}]",
            ),
            *("--mrf", f"[{settings['mrf_weight']:g},{radius}]"),
            *("--convergence", f"[{settings['iterations']},0.0001]"),
            *("--likelihood-model", "Gaussian"),
            *("--output", f"[{folder}/labels.nii.gz,{folder}/posterior%02d.nii.gz]"),
        ]
        status = get_lib_fn("Atropos")(arguments)
        if status not in (0, None):
            raise RuntimeError(f"Atropos ended with status {status}")
        maps = [
            np.clip(
                read_image(folder / f"posterior{number:02d}.nii.gz", what=f"posterior {label}").data, 0, 1
            )
            for number, label in enumerate(CLASSES, start=1)
        ]
    total = np.sum(maps, axis=0)
    # Atropos can return only zeros at the edge of the mask; the prior is used there.
    empty = mask & (total < 1e-6)
    result = [np.where(empty, prior, m / np.maximum(total, 1e-6)) * mask for m, prior in zip(maps, stack)]
    return result[0].astype(np.float32), result[1].astype(np.float32), result[2].astype(np.float32)
