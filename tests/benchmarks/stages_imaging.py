"""Registration and the template beside ANTs, on real brains (NEUROSTRATA_REAL_DATA)."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from measure import Row, Seconds, clock

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "real"))

#: The schedule that users of ANTs run: CC radius 4, 100x70x50x20.
SYN = {"reg_iterations": (100, 70, 50, 20), "syn_metric": "CC", "syn_sampling": 4, "grad_step": 0.2}


def _real_data() -> Path | None:
    folder = os.environ.get("NEUROSTRATA_REAL_DATA")
    return None if folder is None else Path(folder) / "ixi"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Send what compiled code prints to nowhere."""
    kept = os.dup(1)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)


ENGINES = ("torch", "greedy")


def _with_ants(images: tuple[Path, Path], labels: Path, seconds: Seconds) -> np.ndarray:
    """Register the second image to the first with SyN; return its labels on the first one's grid."""
    import ants

    fixed, moving = (ants.image_read(str(path)) for path in images)
    with tempfile.TemporaryDirectory() as folder:
        with clock(seconds):
            result = ants.registration(fixed, moving, "SyN", outprefix=f"{folder}/", random_seed=1, **SYN)
        moved = ants.apply_transforms(
            fixed, ants.image_read(str(labels)), result["fwdtransforms"], interpolator="nearestNeighbor"
        )
    return moved.numpy().astype(int)


def registration(quick: bool) -> list[Row]:
    """Register pairs of real brains at 2 mm with our engines and with ANTs SyN; compare label overlap and folding."""
    import ants
    from evaluate_ixi import mean_dice

    from neurostrata.core.config import section_defaults
    from neurostrata.imaging.images import foreground, read_image
    from neurostrata.imaging.jacobian import nonlinear_jacobian
    from neurostrata.imaging.registration import register_images
    from neurostrata.imaging.transforms import resample

    ixi = _real_data()
    if ixi is None:
        return []
    people = sorted(path.name.split("_")[0] for path in (ixi / "t1w").glob("*.nii.gz"))
    pairs = [(people[i], people[-1 - i]) for i in range(1 if quick else 3)]
    ours, peer = {engine: Seconds() for engine in ENGINES}, Seconds()
    dice: dict[str, list[float]] = {engine: [] for engine in (*ENGINES, "ants")}
    folded = dict.fromkeys(ENGINES, 0)
    for pair in pairs:
        images = tuple(ixi / f"t1w/{name}_T1w.nii.gz" for name in pair)
        label_files = tuple(ixi / f"labels/{name}_dlmuse.nii.gz" for name in pair)
        (fixed, moving), labels = map(read_image, images), [read_image(path) for path in label_files]
        wanted = labels[0].data.astype(int)
        for engine in ENGINES:
            settings = {**section_defaults("registration"), "engine": engine}
            with clock(ours[engine]), quiet():
                found = register_images(fixed, moving, settings, threads=1, inverse=True)
            warped = resample(labels[1], fixed.grid, found.affine, found.warp, order=0)
            dice[engine].append(mean_dice(wanted, warped.astype(int)))
            assert found.warp is not None
            inside = foreground(fixed.data)
            folded[engine] += int((nonlinear_jacobian(found.warp)[inside] <= 0).sum())
        if not quick:
            moved = _with_ants((images[0], images[1]), label_files[1], peer)
            # nibabel and ITK read the same voxels in the same order
            assert moved.shape == ants.image_read(str(label_files[0])).shape == wanted.shape
            dice["ants"].append(mean_dice(wanted, moved))
    rows = []
    theirs = float(np.mean(dice["ants"])) if dice["ants"] else None
    for engine in ENGINES:
        mine, seconds = float(np.mean(dice[engine])), ours[engine].typical("cpu")
        met = None
        if theirs is not None:
            met = peer.typical("cpu") >= 40 * seconds and mine >= theirs and folded[engine] == 0
        rows.append(
            Row(
                f"pairwise registration, real brains at 2 mm, {len(pairs)} pair(s), `{engine}`, one thread",
                "ANTs SyN, CC radius 4, 100x70x50x20",
                seconds,
                None if quick else peer.typical("cpu"),
                "cpu",
                "40 times less CPU",
                met,
                f"mean Dice {mine:.3f}"
                + ("" if theirs is None else f" against {theirs:.3f}")
                + f"; {folded[engine]} folded voxels",
                "affine steps and the inverse included; Dice over the regions that either person has",
            )
        )
    rows.append(
        Row(
            "pairwise registration, `torch` on a GPU",
            "ANTs SyN, as above",
            None,
            None,
            "wall",
            "300 times",
            None,
            "the same code on the CPU: see above",
            "not yet measured: no GPU at hand",
        )
    )
    return rows


STAGES = {"registration": registration}
