"""The attention module over the features of all regions, and how long it is trained (Arco et al. 2023, 3.3)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from neurostrata.fusion.models.interface import TrainingSettings
from neurostrata.fusion.models.siamese.regions import Stopping, class_weights


class AttentionNetwork(nn.Module):
    """A mask over the features, made from the features, and a linear classifier of what it lets through (3.3).

    Parameters
    ----------
    features
        How many numbers come in: regions x modalities x features of a branch.
    hidden
        Widths of the MLP's hidden layers.
    """

    def __init__(self, features: int, hidden: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise([features, *hidden]):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.mlp = nn.Sequential(*layers, nn.Linear(hidden[-1], features), nn.Sigmoid())
        self.classifier = nn.Linear(features, 1)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mask (people, features), in [0, 1], and the masked features."""
        mask = self.mlp(features)
        return mask, mask * features

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Return the log odds of the second class, shape (people,)."""
        return self.classifier(self(features)[1]).squeeze(1)


def feature_scales(features: np.ndarray, outputs: int, whole: bool) -> np.ndarray:
    """Return what features are divided by before the attention module sees them.

    Parameters
    ----------
    features
        Shape (people, regions, modalities, features).
    outputs
        How many of the features are a branch's outputs; the others have scales of their own.
    whole
        A branch's outputs have one scale, the root of the sum of their variances over people: the direction in which
        a network has learned to spread people then stays its largest, however the outputs are rotated
        (:func:`align`). Otherwise each feature has its own standard deviation.

    Returns
    -------
    ndarray, shape (regions, modalities, features), float32
        Features that hardly vary are not inflated: no scale is below a tenth of the median.
    """
    variances = features.var(axis=0)
    if whole:
        variances[..., :outputs] = variances[..., :outputs].sum(axis=-1, keepdims=True)
    scales = np.sqrt(variances)
    for kind in (scales[..., :outputs], scales[..., outputs:]):
        if kind.size:
            np.maximum(kind, 0.1 * np.median(kind) + 1e-6, out=kind)
    return np.asarray(scales, np.float32)


class _Trial:
    """A network that learns from some of the people, an epoch at a time.

    Parameters
    ----------
    data
        Features (people, features), 1 for the second class, and weight of each person.
    learning
        Positions of those it learns from.
    options, training
        As for :func:`train_attention`.
    """

    def __init__(
        self,
        data: Sequence[torch.Tensor],
        learning: np.ndarray,
        options: Mapping[str, Any],
        training: TrainingSettings,
    ) -> None:
        self.data, self.learning, self.training = data, learning, training
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(training.seed)
            self.network = AttentionNetwork(data[0].shape[1], options["attention_sizes"])
        self.network.to(data[0].device)
        self.optimiser = torch.optim.Adam(
            self.network.parameters(),
            lr=training.learning_rate,
            weight_decay=options["attention_weight_decay"],
        )
        self.epoch = 0

    def loss(self, who: np.ndarray) -> torch.Tensor:
        """Return the weighted binary cross-entropy of some people."""
        features, second, share = (values[who] for values in self.data)
        return functional.binary_cross_entropy_with_logits(self.network.logits(features), second, share)

    def step(self) -> float:
        """Learn for an epoch and return its mean loss."""
        self.epoch += 1
        order = np.random.default_rng([self.training.seed, self.epoch]).permutation(self.learning)
        total = 0.0
        for start in range(0, len(order), self.training.batch_size):
            batch = order[start : start + self.training.batch_size]
            self.optimiser.zero_grad(set_to_none=True)
            value = self.loss(batch)
            value.backward()
            self.optimiser.step()
            total += float(value.detach()) * len(batch)
        return total / len(order)


def train_attention(
    features: np.ndarray,
    targets: np.ndarray,
    parts: np.ndarray,
    options: Mapping[str, Any],
    training: TrainingSettings,
    device: str,
) -> tuple[AttentionNetwork, np.ndarray, np.ndarray, dict[str, float]]:
    """Train attention and classifier.

    The number of epochs is chosen on held-out people: each inner fold is held out in turn from a network of its own; the
    last network then learns from everybody.

    Parameters
    ----------
    features
        Shape (people, regions, modalities, features), of people that the region networks have not seen.
    targets
        -1 or 1 per person.
    parts
        Part of each person, for holding out.
    options
        The model's options.
    training
        Epochs at most, batch size, learning rate, seed.
    device
        Where to compute.

    Returns
    -------
    network : AttentionNetwork
        In evaluation mode.
    mean, scale : ndarray, shape (regions x modalities x features,)
        Mean and scale that features are standardised by.
    record : dict
        epochs, loss (of everybody), validation_loss (of those held out, after as many epochs), seconds.

    Raises
    ------
    UserError
        When the loss is not finite.
    """
    started = time.monotonic()
    flat = features.reshape(len(features), -1)
    mean = flat.mean(axis=0)
    outputs, whole = int(options["linear_sizes"][-1]), options["feature_scale"] == "branch"
    scale = feature_scales(features, outputs, whole).ravel()
    standard = ((flat - mean) / scale).astype(np.float32)
    second, share = (targets > 0).astype(np.float32), class_weights(targets, options["balanced"])
    data = [torch.from_numpy(array).to(device) for array in (standard, second, share)]
    trials = {
        part: _Trial(data, np.flatnonzero(parts != part), options, training) for part in np.unique(parts)
    }
    stopping = Stopping(None, options["patience"])
    for epoch in range(1, training.epochs + 1):
        seen = 0.0
        for part, trial in trials.items():
            trial.step()
            with torch.no_grad():
                seen += float(trial.loss(np.flatnonzero(parts == part))) * float((parts == part).mean())
        if stopping.after(epoch, seen):
            break
    last = _Trial(data, np.arange(len(flat)), options, training)
    loss = [last.step() for _ in range(stopping.best_epoch)][-1]
    record = {
        "epochs": stopping.best_epoch,
        "loss": loss,
        "validation_loss": stopping.best,
        "seconds": time.monotonic() - started,
    }
    return last.network.eval(), mean, scale, record
