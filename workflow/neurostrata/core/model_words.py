"""Names and sentences of models for texts, read from their schemas; no model is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neurostrata.core.config import load_schema, model_names


def model_schema(model: str | None) -> dict[str, Any]:
    """Return a model's schema; an empty one for a model that this release does not have."""
    return load_schema(f"models/{model}") if model in model_names() else {}


def model_title(model: str) -> str:
    """Return a model's name for people, as in "PCA": its schema's ``title``."""
    return str(model_schema(model).get("title", str(model).replace("_", " ")))


def model_words(experiment: Mapping[str, Any], kind: str) -> list[str]:
    """Return the texts that the schema of an experiment's model has under ``words``.

    Parameters
    ----------
    experiment
        Its ``model`` and ``options``.
    kind
        ``methods`` (after the model's name in the methods paragraph), ``scaling`` (what the model does to scaled volumes before it
        learns from them, in the same paragraph), ``options`` (as ``methods``, in a table or a heading),
        ``cautions`` (what a reader must know before believing the clusters) or ``decoding`` (the same of how well it decodes).

    Returns
    -------
    list of str
        Those whose ``options`` are the experiment's; a text without ``options`` always holds.
    """
    return [
        entry["text"]
        for entry in model_schema(experiment["model"]).get("words", {}).get(kind, [])
        if all(experiment["options"].get(key) == value for key, value in entry.get("options", {}).items())
    ]
