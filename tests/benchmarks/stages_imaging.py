"""Registration and the template beside ANTs, on real brains (NEUROSTRATA_REAL_DATA)."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def _greedy_settings() -> dict[str, Any]:
    from neurostrata.core.config import section_defaults

    return {**section_defaults("registration"), "engine": "greedy"}


def registration(quick: bool) -> list[Row]:
    """Register pairs of real brains at 2 mm with greedy and with ANTs SyN; compare label overlap and folding."""
    import ants
    from evaluate_ixi import mean_dice

    from neurostrata.imaging.images import foreground, read_image
    from neurostrata.imaging.jacobian import nonlinear_jacobian
    from neurostrata.imaging.registration import register_images
    from neurostrata.imaging.transforms import resample

    ixi = _real_data()
    if ixi is None:
        return []
    people = sorted(path.name.split("_")[0] for path in (ixi / "t1w").glob("*.nii.gz"))
    pairs = [(people[i], people[-1 - i]) for i in range(1 if quick else 3)]
    ours, peer = Seconds(), Seconds()
    dice: list[tuple[float, float, float]] = []
    folded = 0
    for fixed_name, moving_name in pairs:
        images = {name: ixi / f"t1w/{name}_T1w.nii.gz" for name in (fixed_name, moving_name)}
        labels = {
            name: read_image(ixi / f"labels/{name}_dlmuse.nii.gz") for name in (fixed_name, moving_name)
        }
        fixed, moving = (read_image(images[name]) for name in (fixed_name, moving_name))
        with clock(ours), quiet():
            found = register_images(fixed, moving, _greedy_settings(), threads=1, inverse=True)
        warped = resample(labels[moving_name], fixed.grid, found.affine, found.warp, order=0)
        brain = foreground(fixed.data)
        folded += int((nonlinear_jacobian(found.warp)[brain] <= 0).sum()) if found.warp else 0
        if quick:
            dice.append((mean_dice(labels[fixed_name].data.astype(int), warped.astype(int)), np.nan, np.nan))
            continue
        a, b = (ants.image_read(str(images[name])) for name in (fixed_name, moving_name))
        prefix = Path(os.environ.get("TMPDIR", "/tmp")) / f"neurostrata-bench-{os.getpid()}-"
        with clock(peer):
            result = ants.registration(a, b, "SyN", outprefix=str(prefix), random_seed=1, **SYN)
        moved = ants.apply_transforms(
            a,
            ants.image_read(str(ixi / f"labels/{moving_name}_dlmuse.nii.gz")),
            result["fwdtransforms"],
            interpolator="nearestNeighbor",
        )
        fixed_labels = ants.image_read(str(ixi / f"labels/{fixed_name}_dlmuse.nii.gz")).numpy().astype(int)
        dice.append(
            (
                mean_dice(labels[fixed_name].data.astype(int), warped.astype(int)),
                mean_dice(fixed_labels, moved.numpy().astype(int)),
                0.0,
            )
        )
        for path in prefix.parent.glob(f"{prefix.name}*"):
            path.unlink()
    mine, theirs = (float(np.mean([row[i] for row in dice])) for i in range(2))
    ratio = None if quick else peer.typical("cpu") / ours.typical("cpu")
    return [
        Row(
            f"pairwise registration, real brains at 2 mm, {len(pairs)} pair(s), greedy",
            "ANTs SyN, CC radius 4, 100x70x50x20",
            ours.typical("cpu"),
            None if quick else peer.typical("cpu"),
            "cpu",
            "40 times less CPU",
            None if ratio is None else ratio >= 40 and mine >= theirs and folded == 0,
            f"mean Dice {mine:.3f} against {theirs:.3f}; {folded} folded voxels",
            "affine steps included on both sides; Dice over the regions that either person has",
        ),
        Row(
            "pairwise registration, on a GPU",
            "ANTs SyN, as above",
            None,
            None,
            "wall",
            "300 times",
            None,
            "",
            "not yet measured: no GPU at hand, and no GPU engine is built in",
        ),
    ]


STAGES = {"registration": registration}
