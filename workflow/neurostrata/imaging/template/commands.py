"""Commands of the template stages: build the study template and join it with MNI152."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neurostrata.cohort.template_people import people_of_iteration
from neurostrata.core.errors import UserError
from neurostrata.core.files import atomic_directory, read_json, settings_record, write_json, write_sidecar
from neurostrata.core.tables import read_table, write_table
from neurostrata.imaging.images.io import (
    Image,
    is_skull_stripped,
    normalise_intensity,
    read_image,
    write_image,
)
from neurostrata.imaging.registration.transforms import (
    read_affine,
    read_displacement,
    write_affine,
    write_displacement,
)
from neurostrata.imaging.template.convergence import CONVERGENCE_COLUMNS, convergence_table, draw_convergence

#: Name of the file that is written instead of a registration once the template has converged.
SKIPPED = "skipped"


def _read_subjects(path: Path) -> list[str]:
    table = read_table(path)
    if "subject" not in table or table.empty:
        raise UserError(f"{path}: needs a column 'subject' and at least one person")
    return [str(subject) for subject in table["subject"]]


def template_start(
    *, subjects: Path, pattern: str, output: Path, state: Path, settings: dict[str, Any]
) -> None:
    """Average the images of all people, aligned by centre of mass, on a grid that covers them all."""
    from neurostrata.imaging.template.building import centred_box, centred_on, start_grid

    people = _read_subjects(subjects)
    paths = [Path(pattern.format(subject=subject)) for subject in people]
    stripped = {subject: is_skull_stripped(path) for subject, path in zip(people, paths)}
    if len(set(stripped.values())) > 1:
        few = [subject for subject in people if not stripped[subject]]
        raise UserError(
            f"template: {len(few)} of {len(people)} images still have their skull (first: subject {few[0]}), "
            "the others do not; give the former a t1w_mask, or leave one kind out (`template` no, and exclude in the sheet of quality decisions)"
        )
    boxes = []
    for subject, path in zip(people, paths):
        boxes.append(centred_box(read_image(path, subject=subject, what="prepared T1w")))
    grid = start_grid(boxes, settings["resolution_mm"], settings["margin_mm"])
    total = np.zeros(grid.shape)
    for subject, path in zip(people, paths):
        total += centred_on(read_image(path, subject=subject, what="prepared T1w"), grid)
    write_image(output, total / len(people), grid)
    write_json(
        state,
        {
            "iteration": 0,
            "converged": False,
            "skipped": False,
            "skull_stripped": next(iter(stripped.values())),
            "measures": {"people": len(people)},
        },
    )


def template_register(
    *,
    t1w: Path,
    template: Path,
    state: Path,
    subject: str,
    output: Path,
    settings: dict[str, Any],
    threads: int = 1,
) -> None:
    """Register one person to the current template, unless the template has converged."""
    from neurostrata.imaging.registration.chain import register_images, warp_image

    current = read_json(state)
    if current["converged"]:
        with atomic_directory(output) as folder:
            (folder / SKIPPED).write_text("the template had converged\n", encoding="utf-8")
        return
    fixed = read_image(template, what="template")
    moving = read_image(t1w, subject=subject, what="prepared T1w")
    moving = Image(normalise_intensity(moving.data), moving.grid)
    result = register_images(
        fixed,
        moving,
        settings["registration"],
        seed=settings["seed"],
        threads=threads,
        coarse=current["iteration"] < settings["coarse_iterations"],
        inverse=False,
        label=subject,
    )
    assert result.warp is not None
    with atomic_directory(output) as folder:
        write_affine(folder / "affine.mat", result.affine)
        write_displacement(folder / "warp.nii.gz", result.warp)
        write_image(folder / "warped.nii.gz", warp_image(moving, fixed, result), fixed.grid)


def template_update(
    *,
    subjects: Path,
    pattern: str,
    template: Path,
    previous_state: Path,
    iteration: int,
    output: Path,
    state: Path,
    settings: dict[str, Any],
) -> None:
    """Average the warped images and move the average into the mean shape; a converged template is copied.

    Parameters
    ----------
    subjects
        Table of everybody who helps build the template.
    pattern
        Folder of a person's registration, with ``{subject}``.
    template, previous_state
        Of the iteration before.
    iteration
        1 for the first.
    output, state
        The new template, and what was measured.
    settings
        ``shape_step``, ``sharpening`` and ``tolerance`` of section ``template``. ``early_people`` is only there where the
        iteration uses a part of the people. Such a template is never declared converged: the last iteration, with everybody,
        must not be skipped, and what an iteration of other people changes says little of when to stop.
    """
    from neurostrata.imaging.template.building import (
        Average,
        has_converged,
        relative_change,
        updated_template,
    )

    previous = read_json(previous_state)
    old = read_image(template, what="template")
    if previous["converged"]:
        write_image(output, old.data, old.grid)
        write_json(state, {**previous, "iteration": iteration, "skipped": True})
        return
    average, number = Average(old), settings.get("early_people")
    for subject in people_of_iteration(_read_subjects(subjects), number, iteration):
        folder = Path(pattern.format(subject=subject))
        warped = read_image(folder / "warped.nii.gz", subject=subject, what="warped T1w")
        average.add(
            warped.data, read_displacement(folder / "warp.nii.gz"), read_affine(folder / "affine.mat")
        )
    new = updated_template(average, settings)
    measures = {**average.measures(), "rms_change": relative_change(old.data, new)}
    write_image(output, new, old.grid)
    write_json(
        state,
        {
            **previous,
            "iteration": iteration,
            "converged": number is None and has_converged(measures, settings["tolerance"]),
            "skipped": False,
            "measures": measures,
        },
    )


def template_final(
    *,
    template: Path,
    states: list[Path],
    output: Path,
    convergence: Path,
    figure: Path,
    settings: dict[str, Any],
) -> None:
    """Write the last template with the table and the figure of how it converged."""
    states_in_order = sorted((read_json(path) for path in states), key=lambda state: state["iteration"])
    last = states_in_order[-1]
    image = read_image(template, what="template")
    table = convergence_table(states_in_order)
    write_image(output, image.data, image.grid)
    facts = {"Tolerance": settings["tolerance"], "Settings": settings_record(settings)}
    write_sidecar(
        output,
        Description="Study template: mean of the people's warped T1-weighted images in their mean shape",
        Units="arbitrary; 100 is the mean of each person's brain",
        Space="study",
        Resolution=f"{settings['resolution_mm']:g} mm",
        SkullStripped=last["skull_stripped"],
        Converged=last["converged"],
        **facts,
    )
    write_table(convergence, table, columns=CONVERGENCE_COLUMNS, **facts)
    draw_convergence(table, settings["tolerance"], figure)


def template_mask(
    *,
    template: Path,
    output: Path,
    gm: Path,
    wm: Path,
    csf: Path,
    settings: dict[str, Any],
    threads: int = 1,
) -> None:
    """Write the template's brain mask and tissue priors, from MNI152 by registration."""
    from neurostrata.imaging.template.mni152 import register_to_mni152
    from neurostrata.imaging.template.priors import template_priors

    image = read_image(template, what="template")
    stripped = is_skull_stripped(template)
    mni152, registration = register_to_mni152(
        image, settings["registration"], skull_stripped=stripped, seed=settings["seed"], threads=threads
    )
    mask, *maps = template_priors(image, mni152, registration, skull_stripped=stripped)
    facts = {"Space": "study", "Sources": [template.name, "MNI152 (nilearn)"]}
    write_image(output, mask, image.grid, np.uint8)
    write_sidecar(output, Description="Brain mask, ventricles included", Type="Brain", **facts)
    for path, data, label in zip((gm, wm, csf), maps, ("grey matter", "white matter", "cerebrospinal fluid")):
        write_image(path, data, image.grid)
        write_sidecar(path, Description=f"Prior probability of {label}", Units="probability", **facts)


def template_to_mni(
    *,
    template: Path,
    affine: Path,
    warp: Path,
    settings: dict[str, Any],
    threads: int = 1,
) -> None:
    """Register the study template to MNI152 and write the transform that brings MNI images to the template.

    The registration is the same as for the template's brain mask, its inverse written in the form of a person's
    transform: ``antsApplyTransforms -r template -t warp -t affine``.

    Parameters
    ----------
    template
        The study template.
    affine, warp
        Where to write A and u on the template's grid; x_MNI = A(x + u(x)).
    settings
        ``registration`` (that section) and seed.

    Raises
    ------
    UserError
        When MNI152 does not look like the template after the registration.
    """
    from neurostrata.imaging.template.mni152 import register_to_mni152, transform_from_mni152

    image = read_image(template, what="template")
    mni152, registration = register_to_mni152(
        image,
        settings["registration"],
        skull_stripped=is_skull_stripped(template),
        seed=settings["seed"],
        threads=threads,
    )
    back, likeness = transform_from_mni152(image, mni152, registration)
    assert back.warp is not None
    write_affine(affine, back.affine)
    write_displacement(warp, back.warp)
    facts = {
        "Sources": [template.name, "MNI152 (nilearn, 2009c)"],
        "Similarity": likeness,
        "AffineDeterminant": float(np.linalg.det(back.affine[:3, :3])),
        "Settings": settings_record(settings),
    }
    write_sidecar(affine, Description="ITK affine A; maps template points to MNI152 after the warp", **facts)
    write_sidecar(
        warp,
        Description="ITK displacement field u on the template's grid; x_MNI152 = A(x + u(x))",
        Units="mm, LPS",
        Space="study",
        **facts,
    )
