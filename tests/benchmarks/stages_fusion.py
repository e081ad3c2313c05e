"""Training and data loading beside the straightforward way."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
from measure import Row, in_turn


def training_step(quick: bool) -> list[Row]:
    """Compare a training step of the separable autoencoder with the same network of plain 3-D convolutions."""
    import torch

    from neurostrata.core.config import fill_defaults, load_schema
    from neurostrata.fusion.layers import blocks
    from neurostrata.fusion.models.registry import build_model

    torch.set_num_threads(2)
    shape = (32, 32, 32) if quick else (128, 128, 96)
    options = fill_defaults({"dropout": 0.0}, load_schema("models/separable_autoencoder"))
    random = torch.Generator().manual_seed(1)
    volumes = torch.rand(2 if quick else 1, 2, *shape, generator=random)
    small = torch.rand(4, 2, 32, 32, 32, generator=random)
    limit = blocks.DIRECT_LIMIT

    def steps(direct: int, count: int, volumes: torch.Tensor = volumes) -> list[float]:
        blocks.DIRECT_LIMIT = direct
        x, y, z = volumes.shape[2:]
        model = build_model("separable_autoencoder", options, ["a", "b"], (x, y, z), 1)
        network = model.network.train()
        optimiser = torch.optim.Adam(network.parameters())
        losses = []
        for _ in range(count):
            optimiser.zero_grad()
            loss = network.losses(volumes).mean()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        return losses

    count = 2
    try:
        ours, peer, _, _ = in_turn(lambda: steps(limit, count), lambda: steps(0, count), 3)
        mine, theirs = (np.array(steps(which, 40, small)) for which in (limit, 0))
    finally:
        blocks.DIRECT_LIMIT = limit
    ratio = peer.typical("wall") / ours.typical("wall")
    return [
        Row(
            f"training step, separable autoencoder, 2 x {'x'.join(map(str, shape))}, fp32, CPU",
            "the same network of plain torch 3-D convolutions",
            ours.typical("wall") / count,
            peer.typical("wall") / count,
            "wall",
            "4 times",
            None if quick else ratio >= 4,
            f"40 steps on 4 x 2 x 32x32x32: the loss falls by {mine[0] - mine[-1]:.2f}, the curves differ by at most "
            f"{np.abs(mine - theirs).max():.0e}",
        ),
    ]


def _forget(paths: Iterable[Path]) -> None:
    """Drop files from the page cache (those that nobody has mapped)."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def loading(quick: bool) -> list[Row]:
    """Compare reading people from the memory-mapped arrays with reading their NIfTI files, with warm and cold cache."""
    from neurostrata.fusion.data.volumes import ModalityVolumes, VolumeSet

    people, shape = (8, (32, 32, 32)) if quick else (24, (128, 128, 96))
    modalities = ("jac", "ndi")
    generator = np.random.default_rng(1)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subjects = [f"{i:03d}" for i in range(people)]
        files = {m: [folder / f"{m}-{subject}.nii.gz" for subject in subjects] for m in modalities}
        for modality in modalities:
            data = generator.random((people, *shape), dtype=np.float32)
            np.save(folder / f"{modality}.npy", data)
            for path, image in zip(files[modality], data, strict=True):
                nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), path)

        def opened() -> VolumeSet:
            volumes = [
                ModalityVolumes(
                    modality,
                    np.load(folder / f"{modality}.npy", mmap_mode="r"),
                    {subject: row for row, subject in enumerate(subjects)},
                    {"subjects": subjects, "affine": np.eye(4).tolist()},
                    np.ones(shape, bool),
                )
                for modality in modalities
            ]
            return VolumeSet(volumes, subjects, {m: {"low": 0.0, "high": 1.0} for m in modalities})

        def ours_from(cold: bool) -> list[np.ndarray]:
            if cold:
                _forget(folder.glob("*.npy"))
            everybody = opened()
            return [everybody[i] for i in range(people)]

        def theirs_from(cold: bool) -> list[np.ndarray]:
            if cold:
                _forget(folder.glob("*.nii.gz"))
            return [
                np.stack([np.asarray(nibabel.load(files[m][i]).dataobj, np.float32) for m in modalities])
                for i in range(people)
            ]

        for cold in (False, True):
            ours, peer, mine, theirs = in_turn(partial(ours_from, cold), partial(theirs_from, cold), 3)
            equal = all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))
            rows.append(
                Row(
                    f"reading one person, 2 x {'x'.join(map(str, shape))}, {'cold' if cold else 'warm'} cache",
                    "nibabel, gzipped NIfTI",
                    ours.typical("wall") / people,
                    peer.typical("wall") / people,
                    "wall",
                    "at least twice what a GPU consumes",
                    None,
                    "bit-equal" if equal else "NOT equal",
                    "one process; a training whose volumes fit in its memory reads each once and then takes views; what a "
                    "GPU consumes is not yet measured",
                )
            )
    return rows


STAGES = {"training": training_step, "loading": loading}
