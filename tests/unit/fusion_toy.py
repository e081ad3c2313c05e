"""A toy cohort for the fusion tests: volumes with two planted modes of variation, in files as normalise writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from neurostrata.core.config import fill_defaults, load_schema, section_defaults

AFFINE = np.diag([8.0, 8.0, 8.0, 1.0])


def toy_mask(side: int) -> np.ndarray:
    axis = np.linspace(-1, 1, side)
    return np.sqrt(sum(c**2 for c in np.meshgrid(axis, axis, axis, indexing="ij"))) < 0.85


def toy_volumes(
    folder: Path, people: int = 8, side: int = 32, modalities: tuple[str, ...] = ("jac", "ndi")
) -> list[Path]:
    """Write modality.npy, modality.json, mask.nii.gz and subjects.tsv; return the .npy paths."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(7)
    x, y, _ = np.meshgrid(*[np.linspace(-1, 1, side)] * 3, indexing="ij")
    mask = toy_mask(side)
    nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8), AFFINE), folder / "mask.nii.gz")
    subjects = [f"{i + 1:02d}" for i in range(people)]
    modes = random.normal(size=(people, 2))
    paths = []
    for number, modality in enumerate(modalities):
        array = np.stack(
            [
                (number + 1)
                * (
                    1
                    + 0.3 * a * np.sin(3 * x + number)
                    + 0.3 * b * np.cos(3 * y)
                    + 0.05 * random.normal(size=x.shape)
                )
                for a, b in modes
            ]
        ).astype(np.float32)
        low, high = np.percentile(array[:, mask], [0.1, 99.9])
        np.save(folder / f"{modality}.npy", array)
        description = {
            "modality": modality,
            "subjects": subjects,
            "affine": AFFINE.tolist(),
            "mask": "mask.nii.gz",
            "limits": {"low": float(low), "high": float(high), "percentiles": [0.1, 99.9], "scope": "cohort"},
        }
        (folder / f"{modality}.json").write_text(json.dumps(description))
        paths.append(folder / f"{modality}.npy")
    rows = [f"{subject}\tf{i // 2}\t\t" for i, subject in enumerate(subjects)]
    (folder / "subjects.tsv").write_text("\n".join(["subject\tfamily\tdiagnosis\tsite", *rows]) + "\n")
    return paths


def toy_settings(
    model: str = "separable_autoencoder",
    modalities: tuple[str, ...] = ("jac", "ndi"),
    options: dict[str, Any] | None = None,
    **training: Any,
) -> dict[str, Any]:
    """Settings of a fusion stage: every default from the schemas, two folds, and what is given."""
    experiment = fill_defaults(
        {
            "name": "toy",
            "model": model,
            "modalities": list(modalities),
            "validation": {"folds": 2},
            "options": fill_defaults(options or {}, load_schema(f"models/{model}")),
        },
        load_schema("experiments"),
    )
    return {
        "experiment": experiment,
        "training": {**section_defaults("training"), **training},
        "seed": 1,
        "version": 1,
    }
