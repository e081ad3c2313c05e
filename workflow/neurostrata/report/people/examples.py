"""Real images beside decoded ones, for the people of whom an experiment kept examples."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from neurostrata.report.data.layout import relative_link
from neurostrata.report.figures.slices import trim
from neurostrata.report.html.page import Page
from neurostrata.report.people.montage import GAP, save_picture

#: Height of the smaller slices is brought to about this many pixels, by whole factors.
SIDE = 130


def decoded_pictures(page: Page, seen_from: Path) -> dict[str, list[dict[str, str | list[str]]]]:
    """Draw everybody's examples under the figures of the report, in the folder ``people``.

    Parameters
    ----------
    page
        Of the report.
    seen_from
        File that the links are relative to.

    Returns
    -------
    dict
        Subject -> experiment, modalities and links to the real and the decoded slices.
    """
    folder = page.figures / "people"
    shutil.rmtree(folder, ignore_errors=True)
    found: dict[str, list[dict[str, str | list[str]]]] = {}
    for experiment, _ in page.study.experiments():
        for fold in experiment.folds():
            if not fold.examples.is_file():
                continue
            arrays = page.study.arrays(fold.examples, "", ("real", "decoded", "subjects", "modalities"))
            if not arrays:
                continue
            modalities = [str(name) for name in arrays["modalities"]]
            for position, subject in enumerate(arrays["subjects"].astype(str)):
                if any(item["experiment"] == experiment.name for item in found.get(subject, [])):
                    continue
                pictures = _pair(arrays["real"][position], arrays["decoded"][position])
                links: dict[str, str] = {}
                for kind, picture in zip(("real", "decoded"), pictures):
                    path = folder / f"sub-{subject}_{experiment.name}_{kind}.webp"
                    links[kind] = relative_link(save_picture(picture, path), seen_from)
                entry: dict[str, str | list[str]] = {
                    "experiment": experiment.name,
                    "modalities": modalities,
                    **links,
                }
                found.setdefault(subject, []).append(entry)
    return found


def _pair(real: np.ndarray, decoded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pictures of a person's real and decoded slices, with one grey scale per modality.

    Parameters
    ----------
    real, decoded : array, shape (modalities, 3, rows, columns)
        Middle slices, as in ``examples.npz``.

    Returns
    -------
    tuple of array of uint8, shape (height, width, 3)
        One row of slices per modality.
    """
    crops = [trim(np.nan_to_num(real[:, plane]).max(0)) for plane in range(3)]
    factor = max(round(SIDE / max(crop[0].stop - crop[0].start for crop in crops)), 1)
    pictures = []
    for source in (real, decoded):
        rows = []
        for modality in range(len(real)):
            low = float(np.nanmin(real[modality], initial=0.0))
            high = float(np.nanmax(real[modality], initial=0.0))
            slices = [
                np.nan_to_num((source[modality, plane][crop].T[::-1] - low) / ((high - low) or 1.0))
                for plane, crop in enumerate(crops)
            ]
            tallest = max(part.shape[0] for part in slices)
            rows.append(
                np.concatenate(
                    [np.pad(part, ((0, tallest - part.shape[0]), (0, 1))) for part in slices], axis=1
                )
            )
        grey = (np.concatenate(rows).clip(0, 1) * 255).astype(np.uint8)
        grey = grey.repeat(factor, axis=0).repeat(factor, axis=1)[:, : -GAP or None]
        pictures.append(np.repeat(grey[..., None], 3, axis=2))
    return pictures[0], pictures[1]
