"""Modalities that people lack, as the networks meet them: a volume that is NaN throughout."""

from __future__ import annotations

import torch


def present(volumes: torch.Tensor) -> torch.Tensor:
    """Return which modalities are there, shape (people, modalities), bool, of volumes (people, modalities, x, y, z)."""
    return ~torch.isnan(volumes[:, :, 0, 0, 0])


def hide(volumes: torch.Tensor, probability: float) -> torch.Tensor:
    """Hide modalities at random, so that a network learns to do without (modality dropout).

    Parameters
    ----------
    volumes
        (people, modalities, x, y, z).
    probability
        With which each modality of each person is hidden. Who would be left with none keeps one.

    Returns
    -------
    Tensor
        A copy in which hidden modalities are NaN. Draws from torch's generator on the CPU, on any device.
    """
    there = present(volumes)
    drawn = torch.rand(there.shape).to(volumes.device)
    keep = there & (drawn >= probability)
    # of those whom it would leave with nothing the modality that was drawn highest stays
    highest = torch.where(there, drawn, -torch.ones_like(drawn)).argmax(dim=1, keepdim=True)
    keep |= torch.zeros_like(keep).scatter(1, highest, True) & ~keep.any(dim=1, keepdim=True)
    return torch.where(keep[:, :, None, None, None], volumes, torch.nan)


def filled(volumes: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Put a reference image, shape (modalities, x, y, z), where a modality is missing."""
    return torch.where(present(volumes)[:, :, None, None, None], volumes, reference)


def mean_over_present(errors: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Return each modality's mean error over the people who have it; 0 where nobody does.

    Parameters
    ----------
    errors
        (people, modalities), finite.
    there
        (people, modalities), bool.
    """
    return (errors * there).sum(dim=0) / there.sum(dim=0).clamp_min(1)
