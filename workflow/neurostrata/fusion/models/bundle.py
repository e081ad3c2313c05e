"""A trained model as a folder: weights.safetensors and model.json. Nothing in it is executed on loading."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurostrata import __version__
from neurostrata.core.config import model_names
from neurostrata.core.errors import UserError
from neurostrata.core.files import atomic_directory, read_json, write_json
from neurostrata.core.records import check
from neurostrata.fusion.models.interface import FusionModel
from neurostrata.fusion.models.registry import build_model

FORMAT = 1


def people_digest(subjects: Sequence[str]) -> str:
    """Return a SHA-256 of the sorted ids: it tells whether two models saw the same people."""
    return hashlib.sha256("\n".join(sorted(subjects)).encode()).hexdigest()


def save_bundle(
    folder: str | Path,
    model: FusionModel,
    *,
    scaling: Mapping[str, Mapping[str, float]],
    affine: Sequence[Sequence[float]],
    training_people: Sequence[str],
    settings: Mapping[str, Any],
) -> None:
    """Write a model with all that is needed to embed new people.

    Parameters
    ----------
    folder
        Made anew, atomically.
    model
        A fitted model.
    scaling
        Modality -> {"low", "high"}: the limits that its inputs were scaled by, where they were.
    affine
        Voxel to study space (mm) of the grid, 4x4.
    training_people
        The people it learned from; only their number and a digest are stored.
    settings
        The settings of the training, for the record.
    """
    from safetensors.numpy import save_file

    versions = {
        name: importlib.metadata.version(name) for name in ("numpy", "torch", "lightning", "safetensors")
    }
    with atomic_directory(folder) as temporary:
        weights = {name: np.ascontiguousarray(value) for name, value in model.weights().items()}
        save_file(weights, temporary / "weights.safetensors")
        write_json(
            temporary / "model.json",
            {
                "Description": "A fusion model: volumes of one person in, one code out.",
                "format": FORMAT,
                "model": model.name,
                "options": model.options,
                "modalities": model.modalities,
                "grid": {"shape": list(model.shape), "affine": [list(map(float, row)) for row in affine]},
                "scaling": "maximum" if model.maximum else "limits",
                "limits": {name: dict(values) for name, values in scaling.items()},
                "code_size": model.code_size,
                "facts": model.facts(),
                "seed": model.seed,
                "training_people": len(training_people),
                "training_people_sha256": people_digest(training_people),
                "settings": dict(settings),
                "versions": {"neurostrata": __version__, **versions},
            },
        )


def load_bundle(folder: str | Path) -> tuple[FusionModel, dict[str, Any]]:
    """Read a model.

    Returns
    -------
    model : FusionModel
        Ready to encode.
    description : dict
        Its model.json.

    Raises
    ------
    UserError
        When the folder is no bundle, or was written by a newer release.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    folder = Path(folder)
    description = read_json(folder / "model.json")
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise UserError(f"{folder}/model.json: not a model of this release (format {FORMAT})")
    name = description["model"]
    if name not in model_names():
        raise UserError(
            f"{folder}/model.json: this release has no model '{name}', only {', '.join(model_names())}"
        )
    model = build_model(
        name,
        description["options"],
        description["modalities"],
        description["grid"]["shape"],
        description["seed"],
    )
    model.maximum = description.get("scaling") == "maximum"  # models of earlier releases have none
    check(folder / "weights.safetensors")
    try:
        model.load_weights(load_file(folder / "weights.safetensors"))
    except (OSError, SafetensorError, RuntimeError, KeyError) as error:
        raise UserError(
            f"{folder}/weights.safetensors: cannot be read ({error}); delete {folder} and run again"
        ) from error
    return model, description
