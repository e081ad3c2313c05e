"""Regions of the brain, and the siamese network that is trained on each of them (Arco et al. 2023, 3.1 and 3.2)."""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from neurostrata.core.errors import UserError
from neurostrata.fusion.models.interface import TrainingSettings

#: Weight of "leave it as it is" when embeddings are aligned, relative to the mean sum of squares of a feature.
ALIGNMENT_RIDGE = 1e-3


def own_parcels(mask: np.ndarray, number: int) -> np.ndarray:
    """Divide a brain mask into compact parcels of like size: k-means of the voxels' coordinates.

    The same mask always gives the same parcels, whatever the fold or the seed, so that a region means the
    same in all models of an experiment.

    Parameters
    ----------
    mask
        Brain mask, shape (x, y, z).
    number
        How many parcels.

    Returns
    -------
    ndarray, shape (x, y, z), int32
        Parcel number from 1, in the order of the centres' x, y, z; 0 outside the mask.

    Raises
    ------
    UserError
        When the mask has fewer voxels than that.
    """
    from sklearn.cluster import KMeans

    voxels = np.argwhere(mask)
    if len(voxels) < number:
        raise UserError(
            f"options.parcels: {number} parcels of a mask of {len(voxels)} voxels; lower it, or give an atlas"
        )
    found = KMeans(number, n_init=1, max_iter=100, random_state=0).fit(voxels.astype(np.float64))
    order = np.lexsort(found.cluster_centers_.T[::-1])
    rank = np.empty(number, np.int32)
    rank[order] = np.arange(1, number + 1)
    parcels = np.zeros(mask.shape, np.int32)
    parcels[tuple(voxels.T)] = rank[found.labels_]
    return parcels


@dataclass(frozen=True)
class Region:
    """A region and the smallest box around it (3.2).

    Attributes
    ----------
    number : int
        As in the atlas.
    box : tuple of slice
        Along x, y, z.
    inside : ndarray, shape of the box, bool
        The region's voxels.
    """

    number: int
    box: tuple[slice, slice, slice]
    inside: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of the box along x, y, z."""
        x, y, z = self.inside.shape
        return x, y, z


def find_regions(numbers: np.ndarray) -> list[Region]:
    """Return the regions of an array of region numbers (x, y, z; 0: none), in the order of their numbers."""
    from scipy.ndimage import find_objects

    present = np.unique(numbers[numbers > 0])
    compact = np.searchsorted(present, numbers) + 1
    compact[numbers <= 0] = 0
    boxes = find_objects(compact)
    return [Region(int(n), box, numbers[box] == n) for n, box in zip(present, boxes, strict=True)]


def region_scale(crops: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each modality over people and the region's voxels (Eq. 1).

    Parameters
    ----------
    crops
        The training people's boxes, shape (people, modalities, x, y, z).
    inside
        The region's voxels.

    Returns
    -------
    mean, deviation : ndarray, shape (modalities,), float32
        The deviation is 1 where the region is constant and carries no information.
    """
    values = crops[:, :, inside].astype(np.float64)
    deviation = values.std(axis=(0, 2))
    return values.mean(axis=(0, 2)).astype(np.float32), np.where(deviation > 1e-6, deviation, 1).astype(
        np.float32
    )


def standardise(crops: np.ndarray, inside: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Apply :func:`region_scale` to boxes (people, modalities, x, y, z); voxels outside the region become 0."""
    scaled = (crops - mean[:, None, None, None]) / deviation[:, None, None, None]
    return np.where(inside, scaled, np.float32(0)).astype(np.float32)


class RegionNetwork(nn.Module):
    """One branch, used for every modality, and the rule that turns its outputs into the class (Fig. 2).

    Convolutions with ReLU, each followed by average pooling, then linear layers with ReLU between them (two linear layers without anything
    between are one). The paper lets y be "the outputs of the linear layers of the two branches" (Eq. 2) and speaks
    of their distance; ``score`` says which.

    - ``distance``: y = a (d - b) with the distance d between the branches' outputs, learned a > 0 and b. Of a
      distance alone, y = d >= 0, the hinge loss of the class t = -1 cannot fall below 1.
    - ``outputs``: y = w e + b with all branches' outputs e side by side. A distance changes in second order
      only when one modality falls a little below its mean, and this one in first order.

    Parameters
    ----------
    shape
        Voxels of the region's box along x, y, z.
    options
        ``channels``, ``kernel_size``, ``pooling``, ``linear_sizes``, ``score``.
    modalities
        How many.
    """

    def __init__(self, shape: tuple[int, int, int], options: Mapping[str, Any], modalities: int) -> None:
        super().__init__()
        kernel, pooling = int(options["kernel_size"]), int(options["pooling"])
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise([1, *options["channels"]]):
            layers += [nn.Conv3d(a, b, kernel, padding=kernel // 2), nn.ReLU()]
            window = tuple(min(pooling, side) for side in shape)  # a thin box cannot be pooled further
            layers.append(nn.AvgPool3d(window, ceil_mode=True))  # type: ignore[arg-type]
            shape = tuple(math.ceil(side / w) for side, w in zip(shape, window))  # type: ignore[assignment]
        layers.append(nn.Flatten())
        widths = [int(options["channels"][-1]) * int(np.prod(shape)), *options["linear_sizes"]]
        for a, b in itertools.pairwise(widths):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.branch = nn.Sequential(*layers[:-1])
        self.head: nn.Linear | None = None
        if options["score"] == "outputs":
            self.head = nn.Linear(modalities * widths[-1], 1)
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)
        else:
            self.log_slope = nn.Parameter(torch.zeros(()))
            self.border = nn.Parameter(torch.zeros(()))

    def embed(self, volumes: torch.Tensor) -> torch.Tensor:
        """Return the branch outputs (people, modalities, features) of volumes (people, modalities, x, y, z)."""
        return self.branch(volumes.flatten(0, 1)[:, None]).unflatten(0, volumes.shape[:2])

    @staticmethod
    def distance(embeddings: torch.Tensor) -> torch.Tensor:
        """Return the Euclidean distance between two modalities' outputs, of more the mean over all pairs."""
        first, second = torch.triu_indices(embeddings.shape[1], embeddings.shape[1], 1)
        between = embeddings[:, first] - embeddings[:, second]
        # The root has no slope at 0, where a constant region would stay for ever.
        return (between.square().sum(dim=2) + 1e-12).sqrt().mean(dim=1)

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        """Return y, shape (people,): below 0 for the first class, above for the second."""
        embeddings = self.embed(volumes)
        if self.head is not None:
            return self.head(embeddings.flatten(1)).squeeze(1)
        return self.log_slope.exp() * (self.distance(embeddings) - self.border)

    def begin(self, volumes: torch.Tensor) -> None:
        """Set a and b so that y has mean 0 and variance 1 over these people before the first step; w starts at 0."""
        if self.head is not None:
            return
        with torch.no_grad():
            distances = self.distance(self.embed(volumes))
            self.border.copy_(distances.mean())
            self.log_slope.copy_(-distances.std().clamp_min(1e-6).log())


def hinge(scores: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the weighted mean of max(0, 1 - t y) (Eq. 2).

    Parameters
    ----------
    scores
        y, shape (people,).
    targets
        t: -1 for the first class, 1 for the second.
    weights
        Weights of the people; they are divided by their sum.
    """
    return (weights * (1 - targets * scores).clamp_min(0)).sum() / weights.sum()


def class_weights(targets: np.ndarray, balanced: bool) -> np.ndarray:
    """Return a weight per person with mean 1: each class counts the same, or each person does."""
    if not balanced:
        return np.ones(len(targets), np.float32)
    second = (targets > 0).mean()
    return np.where(targets > 0, 0.5 / second, 0.5 / (1 - second)).astype(np.float32)


class Stopping:
    """When to stop, and the weights of the best epoch.

    Parameters
    ----------
    network
        The network whose weights are kept; None: only the epoch is needed.
    patience
        Epochs without a lower loss.
    stop_at
        Loss below which training ends at once; None: no such loss.
    """

    def __init__(self, network: nn.Module | None, patience: int, stop_at: float | None = None) -> None:
        self.network, self.patience, self.stop_at = network, patience, stop_at
        self.best, self.best_epoch = float("inf"), 0
        self.weights: dict[str, torch.Tensor] = {}

    def after(self, epoch: int, loss: float) -> bool:
        """Take note of the loss after an epoch (from 1) and tell whether to stop.

        Raises
        ------
        UserError
            When the loss is not finite.
        """
        if not np.isfinite(loss):
            raise UserError(
                f"training: the loss is not finite after epoch {epoch}; lower training.learning_rate"
            )
        if loss < self.best:
            self.best, self.best_epoch = loss, epoch
            if self.network is not None:
                self.weights = copy.deepcopy(self.network.state_dict())
        reached = self.stop_at is not None and loss < self.stop_at
        return reached or epoch - self.best_epoch >= self.patience

    def restore(self) -> None:
        """Go back to the best epoch's weights."""
        if self.network is not None:
            self.network.load_state_dict(self.weights)


def train_region(
    volumes: np.ndarray,
    targets: np.ndarray,
    held_out: np.ndarray,
    options: Mapping[str, Any],
    training: TrainingSettings,
    device: str,
    seed: int,
) -> tuple[RegionNetwork, dict[str, float]]:
    """Train one region's network (3.2).

    Parameters
    ----------
    volumes
        Standardised boxes, shape (people, modalities, x, y, z).
    targets
        -1 or 1 per person.
    held_out
        People who decide when to stop and are not learned from; for none, the training loss decides.
    options
        The model's options.
    training
        Epochs, batch size, learning rate.
    device
        Where to compute.
    seed
        Of initial weights and order of people. The networks of all inner folds of a region share it, so that
        they start, and mostly stay, in like coordinates.

    Returns
    -------
    network : RegionNetwork
        In evaluation mode, with the weights of the epoch with the least loss.
    record : dict
        epochs, loss (of those learned from), validation_loss (NaN without any), seconds.
    """
    started = time.monotonic()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        x, y, z = volumes.shape[2:]
        network = RegionNetwork((x, y, z), options, volumes.shape[1])
    network.to(device)
    weights = class_weights(targets, options["balanced"])
    data, signs, share = (
        torch.from_numpy(array).to(device) for array in (volumes, targets.astype(np.float32), weights)
    )
    learning = np.flatnonzero(~held_out)
    watched = np.flatnonzero(held_out)
    network.begin(data[learning])
    optimiser = torch.optim.Adam(
        network.parameters(), lr=training.learning_rate, weight_decay=options["weight_decay"]
    )
    stopping = Stopping(network, options["patience"], options["stop_at"])
    epoch, loss = 0, float("nan")
    for epoch in range(1, training.epochs + 1):
        order = np.random.default_rng([seed, epoch]).permutation(learning)
        total = torch.zeros((), device=device)
        for start in range(0, len(order), training.batch_size):
            batch = order[start : start + training.batch_size]
            optimiser.zero_grad(set_to_none=True)
            value = hinge(network(data[batch]), signs[batch], share[batch])
            value.backward()
            optimiser.step()
            total += value.detach() * len(batch)
        loss = float(total) / len(order)
        seen = loss
        if len(watched):
            with torch.no_grad():
                seen = float(hinge(network(data[watched]), signs[watched], share[watched]))
        if stopping.after(epoch, seen):
            break
    stopping.restore()
    network.eval()
    return network, {
        "epochs": epoch,
        "loss": loss,
        "validation_loss": stopping.best if len(watched) else float("nan"),
        "seconds": time.monotonic() - started,
    }


def align(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the similarity transform that takes one network's embeddings to another's.

    Distances say nothing about direction: two networks that agree may have embeddings that are rotated
    against each other, and what is learned on one is of no use with the other. Rotation (or reflection) and
    shift come from people that both networks were trained on, by least squares (Schoenemann and Carroll
    1970); where they do not vary, the embeddings are left as they are. The scale makes the spreads equal:
    that of least squares is smaller by the correlation, and new people's embeddings are not.

    Parameters
    ----------
    source, target
        Embeddings of the same people and modalities, shape (rows, features).

    Returns
    -------
    matrix : ndarray, shape (features, features)
    shift : ndarray, shape (features,)
        ``source @ matrix + shift`` is near ``target``.
    """
    centre, goal = source.mean(axis=0, dtype=np.float64), target.mean(axis=0, dtype=np.float64)
    a, b = source - centre, target - goal
    size = (a**2).sum()
    if size <= 0:
        return np.eye(len(centre)), goal - centre
    ridge = ALIGNMENT_RIDGE * np.sqrt(size * (b**2).sum()) / len(centre)
    left, _, right = np.linalg.svd(a.T @ b + ridge * np.eye(len(centre)))
    rotation = left @ right
    matrix = np.sqrt((b**2).sum() / size) * rotation
    return matrix, goal - centre @ matrix
