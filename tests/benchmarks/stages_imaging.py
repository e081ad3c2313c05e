"""Registration and the template beside ANTs, on real brains (NEUROSTRATA_REAL_DATA)."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import resource
import sys
import tempfile
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
    from neurostrata.imaging.anatomy.jacobian import nonlinear_jacobian
    from neurostrata.imaging.images.io import foreground, read_image
    from neurostrata.imaging.registration.chain import register_images
    from neurostrata.imaging.registration.transforms import resample

    ixi = _real_data()
    if ixi is None:
        return []
    people = sorted(path.name.split("_")[0] for path in (ixi / "t1w").glob("*.nii.gz"))
    pairs = [(people[i], people[-1 - i]) for i in range(1 if quick else 2)]
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
    return rows


def _half_resolution(image: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return an image's data and affine with voxels twice as wide: means over 2x2x2."""
    sides = [side // 2 * 2 for side in image.data.shape]
    x, y, z = (side // 2 for side in sides)
    data = image.data[: sides[0], : sides[1], : sides[2]].reshape(x, 2, y, 2, z, 2).mean(axis=(1, 3, 5))
    affine = image.grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [0.5, 0.5, 0.5]
    affine[:3, :3] *= 2
    return data, affine


def _update(folder: Path, people: int) -> float:
    """Average `people` registrations (there is one, taken again and again); return the largest memory, MiB."""
    from neurostrata.core.config import section_defaults
    from neurostrata.imaging.template.commands import template_update

    listed = folder / "again.tsv"
    listed.write_text("subject\n" + "".join(f"{n:04d}\n" for n in range(people)))
    template_update(
        subjects=listed,
        pattern=str(folder / "registered-0"),
        template=folder / "template-0.nii.gz",
        previous_state=folder / "state-0.json",
        iteration=1,
        output=folder / "again.nii.gz",
        state=folder / "again.json",
        settings={**section_defaults("template"), "seed": 1},
    )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _our_template(folder: Path, people: list[str], iterations: int, engine: str) -> Path:
    """Build a template of the images FOLDER/PERSON.nii.gz and register everybody to it; return its file."""
    from neurostrata.core.config import section_defaults
    from neurostrata.imaging.template import commands as template_commands

    registration = {**section_defaults("registration"), "engine": engine}
    settings = {**section_defaults("template"), "resolution_mm": 4.0, "coarse_iterations": 0, "seed": 1}
    listed = folder / "people.tsv"
    listed.write_text("subject\n" + "".join(f"{name}\n" for name in people))
    template_commands.template_start(
        subjects=listed,
        pattern=str(folder / "{subject}.nii.gz"),
        output=folder / "template-0.nii.gz",
        state=folder / "state-0.json",
        settings=settings,
    )
    for iteration in range(iterations + 1):
        for name in people:
            template_commands.template_register(
                t1w=folder / f"{name}.nii.gz",
                template=folder / f"template-{iteration}.nii.gz",
                state=folder / f"state-{iteration}.json",
                subject=name,
                output=folder / f"registered-{iteration}-{name}",
                settings={**settings, "registration": registration},
            )
        if iteration < iterations:
            template_commands.template_update(
                subjects=listed,
                pattern=str(folder / f"registered-{iteration}-{{subject}}"),
                template=folder / f"template-{iteration}.nii.gz",
                previous_state=folder / f"state-{iteration}.json",
                iteration=iteration + 1,
                output=folder / f"template-{iteration + 1}.nii.gz",
                state=folder / f"state-{iteration + 1}.json",
                settings=settings,
            )
    return folder / f"template-{iterations}.nii.gz"


def template(quick: bool) -> list[Row]:
    """Build a template of real brains at 4 mm and register everybody to it, with our engine and as ANTs' script does."""
    import ants
    from evaluate_ixi import mean_dice

    from neurostrata.imaging.images.io import Grid, read_image, write_image
    from neurostrata.imaging.registration.transforms import read_affine, read_displacement, resample

    ixi = _real_data()
    if ixi is None:
        return []
    number, iterations = (2, 1) if quick else (4, 2)
    people = sorted(path.name.split("_")[0] for path in (ixi / "t1w").glob("*.nii.gz"))[:number]
    labels = {name: ixi / f"labels/{name}_dlmuse.nii.gz" for name in people}
    ours, peer = Seconds(), Seconds()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in people:
            data, affine = _half_resolution(read_image(ixi / f"t1w/{name}_T1w.nii.gz"))
            write_image(folder / f"{name}.nii.gz", data, Grid(data.shape, affine))
        with clock(ours), quiet():
            built = _our_template(folder, people, iterations, "torch")
        found = read_image(built)
        fine = Grid(
            (found.data.shape[0] * 2, found.data.shape[1] * 2, found.data.shape[2] * 2),
            found.grid.affine
            @ np.array([[0.5, 0, 0, -0.25], [0, 0.5, 0, -0.25], [0, 0, 0.5, -0.25], [0, 0, 0, 1]]),
        )
        mine = []
        for name in people:
            registered = folder / f"registered-{iterations}-{name}"
            warp = read_displacement(registered / "warp.nii.gz")
            warped = resample(
                read_image(labels[name]), fine, read_affine(registered / "affine.mat"), warp, order=0
            )
            mine.append(warped.astype(int))
        theirs: list[np.ndarray] = []
        if not quick:
            images = [ants.image_read(str(folder / f"{name}.nii.gz")) for name in people]
            with clock(peer), quiet():
                average = ants.build_template(
                    image_list=images, iterations=iterations, type_of_transform="SyN", **SYN
                )
                last = [
                    ants.registration(average, image, "SyN", outprefix=f"{folder}/{n}-", **SYN)
                    for n, image in enumerate(images)
                ]
            grid = ants.resample_image(average, (2, 2, 2))
            for name, result in zip(people, last, strict=True):
                moved = ants.apply_transforms(
                    grid,
                    ants.image_read(str(labels[name])),
                    result["fwdtransforms"],
                    interpolator="nearestNeighbor",
                )
                theirs.append(moved.numpy().astype(int))
        (folder / f"registered-0-{people[0]}").rename(folder / "registered-0")
        few, many = 4, 8 if quick else 32
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            memory = [pool.apply(_update, (folder, size)) for size in (few, many)]

    def overlap(stack: list[np.ndarray]) -> float:
        return float(np.mean([mean_dice(a, b) for a, b in itertools.combinations(stack, 2)]))

    seconds = ours.typical("cpu")
    own, other = overlap(mine), overlap(theirs) if theirs else None
    flat = memory[1] <= 1.1 * memory[0]
    met = None if other is None else peer.typical("cpu") >= 30 * seconds and own >= other and flat
    return [
        Row(
            f"template of {number} people at 4 mm, {iterations} iterations and the registrations to it, `torch`, one thread",
            "ants.build_template, SyN with CC radius 4, 100x70x50x20",
            seconds,
            None if quick else peer.typical("cpu"),
            "cpu",
            "30 times less CPU, memory flat in the number of people",
            met,
            f"mean Dice between people through it {own:.3f}"
            + ("" if other is None else f" against {other:.3f}"),
            f"averaging {few} people takes {memory[0]:.0f} MiB, {many} take {memory[1]:.0f}",
        )
    ]


STAGES = {"registration": registration, "template": template}
