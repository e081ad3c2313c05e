"""How many people must the early iterations of a template have? Templates of real brains by different schedules.

    python tests/real/template_schedules.py DATA OUTPUT.tsv [--resolution 3] [--schedules 60,60,60,60,60 15,15,15,15,60] [--contrast 0.03] [--no-hold-pose]

DATA holds ``ixi/``. A schedule is the number of people of each iteration; the first one of the list is the reference. Fewer people than
there are are chosen as ``template.early_people`` chooses them. After the last iteration everybody is registered to the
template. OUTPUT gets a row per schedule, written as each ends: registrations, what the last iteration measured, how far the template is from the people's mean
shape, their similarity and the overlap of labels (mean Dice of each person's labels with those of the majority), share of folded voxels, and how
far the template is from the reference: root mean square difference, and length of the warp between them.

At 3 mm a registration takes 2.4 s of a core, so that a schedule of 300 registrations takes a quarter of an hour with the evaluation.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "workflow"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from evaluate_ixi import mean_dice

from neurostrata.cohort.template_people import people_of_iteration
from neurostrata.core.config import section_defaults
from neurostrata.imaging.anatomy.jacobian import nonlinear_jacobian
from neurostrata.imaging.images.io import Image, normalise_intensity, read_image
from neurostrata.imaging.registration.chain import Registration, register_images, similarity, warp_image
from neurostrata.imaging.registration.transforms import resample
from neurostrata.imaging.template.building import (
    Average,
    brain_of,
    centred_box,
    centred_on,
    relative_change,
    start_grid,
    updated_template,
)
from neurostrata.imaging.template.shape import MeanShape

#: Of the registrations: the defaults, where the command says nothing else.
SETTINGS = section_defaults("registration")

SCHEDULES = [
    "60,60,60,60,60",
    "15,15,15,15,60",
    "15,15,60",
    "15,15,15,60,60",
    "8,15,30,60",
    "8,8,8,8,60",
]


def register(template: Image, image: Image) -> Registration:
    """Register an image to the template with :data:`SETTINGS`."""
    return register_images(template, image, SETTINGS, inverse=False)


def build(
    images: dict[str, Image], counts: Sequence[int], resolution: float, hold_pose: bool
) -> tuple[Image, dict[str, float]]:
    """Return the template and what the last iteration measured."""
    settings = {**section_defaults("template"), "hold_pose": hold_pose}
    grid = start_grid([centred_box(image) for image in images.values()], resolution, settings["margin_mm"])
    first = [images[subject] for subject in people_of_iteration(list(images), counts[0], 1)]
    template = Image(np.mean([centred_on(image, grid) for image in first], axis=0).astype(np.float32), grid)
    measures: dict[str, float] = {}
    for iteration, count in enumerate(counts, start=1):
        average = Average(template)
        for subject in people_of_iteration(list(images), count, iteration):
            found = register(template, images[subject])
            assert found.warp is not None
            average.add(warp_image(images[subject], template, found), found.warp, found.affine)
        new = updated_template(average, settings)
        measures = {**average.measures(), "rms_change": relative_change(template.data, new)}
        print(iteration, {name: round(value, 4) for name, value in measures.items()}, flush=True)
        template = Image(new, grid)
    return template, measures


def evaluate(template: Image, images: dict[str, Image], labels: dict[str, Image]) -> dict[str, float]:
    """Register everybody to the template, and return what it says of the template."""
    mask = brain_of(template.data)
    shape, similarities, folded, warped = MeanShape(template.grid, mask), [], [], []
    for subject, image in images.items():
        found = register(template, image)
        assert found.warp is not None
        shape.add(found.affine, found.warp)
        similarities.append(similarity(warp_image(image, template, found), template.data, mask))
        folded.append(float((nonlinear_jacobian(found.warp)[mask] <= 0).mean()))
        warped.append(
            resample(labels[subject], template.grid, found.affine, found.warp, order=0).astype(np.uint8)
        )
    return {
        "distance_vox": shape.distance_vox,
        "log_size": shape.log_size,
        "similarity_all": float(np.mean(similarities)),
        "folded_percent": 100 * float(np.mean(folded)),
        "dice": overlap(np.stack(warped)),
    }


def overlap(warped: np.ndarray) -> float:
    """Return the mean over people of the Dice overlap of their labels, (people, X, Y, Z), with the label that most people have at each voxel."""
    most = stats.mode(warped).mode
    return float(np.mean([mean_dice(person, most) for person in warped]))


def between(reference: Image, template: Image) -> dict[str, float]:
    """Return how far a template is from the reference."""
    found = register(reference, template)
    assert found.warp is not None
    mask = brain_of(reference.data)
    vectors = found.warp.vectors[mask] / reference.grid.spacing.mean()
    return {
        "difference": relative_change(reference.data, template.data),
        "warp_vox": float(np.sqrt((vectors.astype(float) ** 2).sum(axis=1).mean())),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--resolution", type=float, default=3.0)
    parser.add_argument("--people", type=int, default=60)
    parser.add_argument("--schedules", nargs="+", default=SCHEDULES)
    parser.add_argument(
        "--contrast", type=float, default=SETTINGS["torch"]["contrast_at_half_weight"], help="of `torch`"
    )
    parser.add_argument(
        "--no-hold-pose", dest="hold_pose", action="store_false", help="as template.hold_pose false"
    )
    arguments = parser.parse_args()
    SETTINGS["torch"]["contrast_at_half_weight"] = arguments.contrast
    torch.set_num_threads(1)
    ixi = arguments.data / "ixi"
    subjects = sorted(path.name.partition("_")[0] for path in (ixi / "t1w").glob("*_T1w.nii.gz"))
    images, labels = {}, {}
    for subject in subjects[: arguments.people]:
        image = read_image(ixi / "t1w" / f"{subject}_T1w.nii.gz", subject=subject, what="T1w")
        images[subject] = Image(normalise_intensity(image.data), image.grid)
        (path,) = (ixi / "labels").glob(f"{subject}_*.nii.gz")
        labels[subject] = read_image(path, subject=subject, what="labels")
    reference: Image | None = None
    rows = []
    for schedule in arguments.schedules:
        counts = [int(part) for part in schedule.split(",")]
        print(schedule, flush=True)
        template, measures = build(images, counts, arguments.resolution, arguments.hold_pose)
        reference = reference or template
        rows.append(
            {
                "contrast_at_half_weight": arguments.contrast,
                "hold_pose": arguments.hold_pose,
                "schedule": schedule,
                "registrations": sum(counts),
                **{name: measures[name] for name in ("rms_change", "rms_mean_warp_vox")},
                **evaluate(template, images, labels),
                **between(reference, template),
            }
        )
        pd.DataFrame(rows).to_csv(arguments.output, sep="\t", index=False, float_format="%.4g")
        print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
