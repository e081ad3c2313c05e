"""Which models there are. A model is one module, one line here, and one schema of its options."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from neurostrata.core.errors import UserError
from neurostrata.fusion.models.interface import FusionModel

#: Name in the configuration -> where the class lives; imported only when it is used (torch takes a second).
MODELS = {
    "separable_autoencoder": "neurostrata.fusion.models.separable_autoencoder:SeparableAutoencoder",
    "residual_autoencoder": "neurostrata.fusion.models.residual_autoencoder:ResidualAutoencoder",
    "shared_vae": "neurostrata.fusion.models.shared_vae:SharedVAE",
    "siamese_attention": "neurostrata.fusion.models.siamese.attention:SiameseAttention",
    "latent_synthesis": "neurostrata.fusion.models.synthesis.latent_synthesis:LatentSynthesis",
    "pca": "neurostrata.fusion.models.pca:PrincipalComponents",
}


def build_model(
    name: str, options: Mapping[str, Any], modalities: Sequence[str], shape: Sequence[int], seed: int
) -> FusionModel:
    """Build an untrained model.

    Parameters
    ----------
    name
        A key of :data:`MODELS`.
    options, modalities, shape, seed
        See :class:`FusionModel`.

    Raises
    ------
    UserError
        When there is no such model, or the grid does not suit it.
    """
    if name not in MODELS:
        raise UserError(f"experiments.model: '{name}' is none of {', '.join(sorted(MODELS))}")
    module, cls = MODELS[name].split(":")
    model: FusionModel = getattr(importlib.import_module(module), cls)(options, modalities, shape, seed)
    return model
