"""Training and data loading beside the straightforward way."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nibabel
import numpy as np
from measure import Row, in_turn


def training_step(quick: bool) -> list[Row]:
    """Compare a training step of the separable autoencoder with the same network of plain 3-D convolutions."""
    import torch

    from neurostrata.core.config import fill_defaults, load_schema
    from neurostrata.fusion import blocks
    from neurostrata.fusion.registry import build_model

    torch.set_num_threads(2)
    shape = (32, 32, 32) if quick else (128, 128, 96)
    options = fill_defaults({"dropout": 0.0}, load_schema("models/separable_autoencoder"))
    volumes = torch.rand(2 if quick else 1, 2, *shape, generator=torch.Generator().manual_seed(1))
    limit = blocks.DIRECT_LIMIT

    def steps(direct: int, count: int) -> list[float]:
        blocks.DIRECT_LIMIT = direct
        model = build_model("separable_autoencoder", options, ["a", "b"], shape, 1)
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
        ours, peer, mine, theirs = in_turn(lambda: steps(limit, count), lambda: steps(0, count), 3)
    finally:
        blocks.DIRECT_LIMIT = limit
    ratio = peer.typical("wall") / ours.typical("wall")
    difference = max(abs(a - b) for a, b in zip(mine, theirs, strict=True))
    return [
        Row(
            f"training step, separable autoencoder, 2 x {'x'.join(map(str, shape))}, fp32, CPU",
            "the same network of plain torch 3-D convolutions",
            ours.typical("wall") / count,
            peer.typical("wall") / count,
            "wall",
            "4 times",
            None if quick else ratio >= 4,
            f"losses of the first {count} steps differ by at most {difference:.1e}",
        ),
        Row(
            "training step, separable autoencoder, H200",
            "the paper's Titan V, about 0.7 s",
            None,
            None,
            "wall",
            "100 times the paper's throughput",
            None,
            "on the CPU: see above",
            "not yet measured: no GPU at hand",
        ),
    ]


def loading(quick: bool) -> list[Row]:
    """Compare reading people from the memory-mapped arrays with reading their NIfTI files."""
    from neurostrata.fusion.data import ModalityVolumes, VolumeSet

    people, shape = (8, (32, 32, 32)) if quick else (24, (128, 128, 96))
    generator = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        volumes, files = [], []
        subjects = [f"{i:03d}" for i in range(people)]
        for modality in ("jac", "ndi"):
            array = np.lib.format.open_memmap(
                folder / f"{modality}.npy", mode="w+", dtype=np.float32, shape=(people, *shape)
            )
            array[:] = generator.random((people, *shape), dtype=np.float32)
            array.flush()
            images = [folder / f"{modality}-{subject}.nii.gz" for subject in subjects]
            for image, data in zip(images, array, strict=True):
                nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), image)
            files.append(images)
            volumes.append(
                ModalityVolumes(
                    modality,
                    np.load(folder / f"{modality}.npy", mmap_mode="r"),
                    {subject: row for row, subject in enumerate(subjects)},
                    {"subjects": subjects, "affine": np.eye(4).tolist()},
                    np.ones(shape, bool),
                )
            )
        scaling = {m: {"low": 0.0, "high": 1.0} for m in ("jac", "ndi")}
        everybody = VolumeSet(volumes, subjects, scaling)

        def from_files() -> list[np.ndarray]:
            return [
                np.stack([np.asarray(nibabel.load(images[i]).dataobj, np.float32) for images in files])
                for i in range(people)
            ]

        ours, peer, mine, theirs = in_turn(lambda: [everybody[i] for i in range(people)], from_files, 3)
        equal = all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))
    return [
        Row(
            f"reading one person, 2 x {'x'.join(map(str, shape))}",
            "nibabel, gzipped NIfTI",
            ours.typical("wall") / people,
            peer.typical("wall") / people,
            "wall",
            "at least twice what a GPU consumes",
            None,
            "bit-equal" if equal else "NOT equal",
            "warm cache; what a GPU consumes is not yet measured",
        )
    ]


STAGES = {"training": training_step, "loading": loading}
