"""Which models there are: every schema in workflow/schemas/models names the class of its model."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from neurostrata.core.config import fill_defaults, load_schema, model_names
from neurostrata.core.errors import UserError
from neurostrata.fusion.models.interface import FusionModel


def build_model(
    name: str, options: Mapping[str, Any], modalities: Sequence[str], shape: Sequence[int], seed: int
) -> FusionModel:
    """Build an untrained model; only its own module is imported (torch takes a second).

    Parameters
    ----------
    name
        A model that has a schema, whose ``class`` is MODULE:CLASS.
    options
        An option that is not among them has its default: those that a later release added leave models as they were.
    modalities, shape, seed
        See :class:`FusionModel`.

    Raises
    ------
    UserError
        When there is no such model, or the grid does not suit it.
    """
    if name not in model_names():
        raise UserError(f"experiments.model: '{name}' is none of {', '.join(model_names())}")
    schema = load_schema(f"models/{name}")
    module, cls = schema["class"].split(":")
    built = getattr(importlib.import_module(module), cls)
    model: FusionModel = built(fill_defaults(dict(options), schema), modalities, shape, seed)
    return model
