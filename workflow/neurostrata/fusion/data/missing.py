"""Missing modalities in batches of volumes: a missing volume is NaN throughout."""

from __future__ import annotations

import torch


def present(volumes: torch.Tensor) -> torch.Tensor:
    """Return which modalities are present, shape (people, modalities), bool, of volumes (people, modalities, x, y, z)."""
    return ~torch.isnan(volumes[:, :, 0, 0, 0])


def hide(volumes: torch.Tensor, probability: float) -> torch.Tensor:
    """Hide modalities at random, so that a network learns to do without (modality dropout).

    Parameters
    ----------
    volumes
        (people, modalities, x, y, z).
    probability
        Probability of hiding each modality of each person. A person who would be left with none keeps one.

    Returns
    -------
    Tensor
        A copy in which hidden modalities are NaN. Draws from torch's generator on the CPU, on any device.
    """
    available = present(volumes)
    drawn = torch.rand(available.shape).to(volumes.device)
    keep = available & (drawn >= probability)
    # a person who would be left with none keeps the modality with the highest draw
    highest = torch.where(available, drawn, -torch.ones_like(drawn)).argmax(dim=1, keepdim=True)
    keep |= torch.zeros_like(keep).scatter(1, highest, True) & ~keep.any(dim=1, keepdim=True)
    return torch.where(keep[:, :, None, None, None], volumes, torch.nan)


def filled(volumes: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Put a reference image, shape (modalities, x, y, z), where a modality is missing."""
    return torch.where(present(volumes)[:, :, None, None, None], volumes, reference)


def mean_over_present(errors: torch.Tensor, available: torch.Tensor) -> torch.Tensor:
    """Return each modality's mean error over the people who have it; 0 where nobody does.

    Parameters
    ----------
    errors
        (people, modalities), finite.
    available
        (people, modalities), bool.
    """
    return (errors * available).sum(dim=0) / available.sum(dim=0).clamp_min(1)
