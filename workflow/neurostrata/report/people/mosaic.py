"""One small picture per person, for looking through everybody: the scan, the registration and the diffusion data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from neurostrata.imaging.images.io import Image
from neurostrata.report.data.layout import ResultsTree
from neurostrata.report.figures.slices import SIDES, display_range, try_image
from neurostrata.report.people.montage import (
    GAP,
    Montage,
    draw_lines,
    outlines,
    paint,
    plan_montage,
    save_picture,
    values_on,
)
from neurostrata.report.people.pictures import try_matrix

#: Side of a pixel in mm.
PIXEL_MM = 1.15
#: Colours of the outlines (Okabe and Ito): orange for masks, sky blue for white matter.
MASK_COLOUR, WHITE_COLOUR = (230, 159, 0), (86, 180, 233)
#: The letters of the sides, 5 x 7 pixels.
_LETTERS = {
    "L": ("1    ", "1    ", "1    ", "1    ", "1    ", "1    ", "11111"),
    "R": ("1111 ", "1   1", "1   1", "1111 ", "1 1  ", "1  1 ", "1   1"),
}


def write_mosaic(tree: ResultsTree, subject: str, path: Path) -> Path | None:
    """Write the picture of a person; None when there is no image of this person.

    Rows, as far as there are images: the scan with its brain mask; the person in template space with the edge of the
    template's white matter; fractional anisotropy in the scan's space with the brain mask of the scan.
    """
    rows = [
        row
        for row in (_scan(tree, subject), _registered(tree, subject), _diffusion(tree, subject))
        if row is not None
    ]
    if not rows:
        return None
    width = max(row.shape[1] for row in rows)
    padded = []
    for row in rows:
        space = width - row.shape[1]
        padded.append(np.pad(row, ((0, GAP), (space // 2, space - space // 2), (0, 0))))
    return save_picture(np.concatenate(padded)[:-GAP], path, quality=72)


def _mark_sides(picture: np.ndarray, montage: Montage) -> None:
    for panel in montage.panels:
        if panel.plane == 0:
            continue
        for letter, left in zip(SIDES[panel.plane], (panel.left + 3, panel.left + panel.width - 8)):
            glyph = np.array([[cell == "1" for cell in line] for line in _LETTERS[letter]])
            picture[panel.top + 3 : panel.top + 10, left : left + 5][glyph] = 255


def _row(
    image: Image,
    mask: Image | None,
    window: tuple[float, float],
    edge: Image | None,
    colour: tuple[int, int, int],
    matrix: np.ndarray | None = None,
) -> np.ndarray:
    """Return slices of an image round a mask, with the line of an edge at 0.5; the matrix maps their points to the image's."""
    montage = plan_montage(mask or image, per_plane=2, flat=True, pixel_mm=PIXEL_MM)
    picture = paint(montage, values_on(montage, image, matrix), window)
    if edge is not None:
        draw_lines(picture, montage, outlines(values_on(montage, edge), 0.5), colour)
    _mark_sides(picture, montage)
    return picture


def _scan(tree: ResultsTree, subject: str) -> np.ndarray | None:
    t1w = try_image(tree.anatomy(subject, "desc-preproc_T1w.nii.gz"))
    if t1w is None:
        return None
    mask = try_image(tree.anatomy(subject, "desc-brain_mask.nii.gz"))
    return _row(t1w, mask, display_range(t1w, mask), mask, MASK_COLOUR)


def _registered(tree: ResultsTree, subject: str) -> np.ndarray | None:
    warped = try_image(tree.anatomy(subject, "space-study_desc-preproc_T1w.nii.gz"))
    if warped is None:
        return None
    mask = try_image(tree.template("mask.nii.gz"))
    white = try_image(tree.template("label-WM_probseg.nii.gz"))
    return _row(warped, mask, display_range(warped, mask), white, WHITE_COLOUR)


def _diffusion(tree: ResultsTree, subject: str) -> np.ndarray | None:
    fa = try_image(tree.diffusion(subject, "model-tensor_param-fa_dwimap.nii.gz"))
    if fa is None:
        return None
    mask = try_image(tree.anatomy(subject, "desc-brain_mask.nii.gz"))
    matrix = try_matrix(tree.diffusion(subject, "from-dwi_to-T1w_xfm.mat"))
    return _row(fa, mask, (0.0, 0.9), mask, MASK_COLOUR, matrix)
