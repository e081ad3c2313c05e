"""Words in the names of files and columns that say what kind of image they hold. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable

#: Words of T1-weighted images, of diffusion-weighted ones, and of masks.
T1W = frozenset({"t1", "t1w", "t1weighted", "mprage", "memprage", "spgr", "fspgr", "bravo"})
DWI = frozenset({"dwi", "dti", "dmri", "diffusion", "hardi"})
MASK = frozenset({"mask", "brainmask"})
#: Words that say how an image was prepared or stored, and nothing of its kind.
PREPARED = frozenset({
    "anat", "brain", "bet", "n4", "preproc", "preprocessed", "defaced", "deface", "restore", "acpc", "dc", "raw", "orig", "mr", "mri", "image",
    "images", "img", "scan", "scans", "nii", "nifti", "eddy", "topup", "corrected", "denoised", "data", "sub", "ses", "3d",
})  # fmt: skip


def image_column(words: Iterable[str]) -> str | None:
    """Return the column of the cohort sheet that some words mean: t1w, dwi, a mask of these; None for all others."""
    said = {word.lower() for word in words}
    if any(not word.isdecimal() for word in said - PREPARED - T1W - DWI - MASK):
        return None
    if said & MASK:
        return "dwi_mask" if said & DWI else "t1w_mask"
    if bool(said & T1W) != bool(said & DWI):
        return "t1w" if said & T1W else "dwi"
    return None
