"""Commands of the anatomy stages: they read files, call the functions beside them, and write files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.errors import UserError
from neurostrata.core.files import (
    atomic_directory,
    read_json,
    settings_record,
    sidecar_path,
    write_json,
    write_sidecar,
)
from neurostrata.core.records import is_expected
from neurostrata.core.tables import read_table, write_table
from neurostrata.imaging.images.io import (
    Image,
    check_same_grid,
    normalise_intensity,
    read_image,
    write_image,
)
from neurostrata.imaging.registration.transforms import (
    read_affine,
    read_displacement,
    resample_to_person,
    write_affine,
    write_displacement,
)

#: Name of the file that stands for a registration that a converged template made needless.
SKIPPED = "skipped"

CONVERGENCE_COLUMNS = {
    "iteration": "Number of the update; 0 is the mean of the images aligned by centre of mass",
    "people": "People registered",
    "similarity": "Mean over people: correlation of warped image and template in the template's support",
    "similarity_worst": "Smallest of these correlations",
    "rms_change": "RMS difference of the new template from the old one, as a share of the old one's mean",
    "rms_mean_warp_vox": "RMS length of the mean displacement in the template's support, in voxels",
    "mean_log_jacobian": "Mean over people and support of the log determinant of the non-linear part",
    "mean_log_scale": "Mean over people of the log determinant of the affine",
    "converged": "Whether the tolerance was met at this iteration or before",
    "skipped": "Whether this iteration only copied a template that had converged",
}


def _read_subjects(path: Path) -> list[str]:
    table = read_table(path)
    if "subject" not in table or table.empty:
        raise UserError(f"{path}: needs a column 'subject' and at least one person")
    return [str(subject) for subject in table["subject"]]


def skull_stripped(path: Path) -> bool:
    """Tell from an image's sidecar whether it shows the brain alone; without a sidecar it is taken to."""
    sidecar = sidecar_path(path)
    return bool(read_json(sidecar).get("SkullStripped", True)) if is_expected(sidecar) else True


def prepare_t1w(
    *,
    t1w: Path,
    subject: str,
    output: Path,
    mask: Path,
    settings: dict[str, Any],
    t1w_mask: Path | None = None,
    threads: int = 1,
) -> None:
    """Correct the bias field of a T1-weighted image and write the mask it starts with; grid unchanged."""
    from neurostrata.imaging.anatomy.bias import correct_bias
    from neurostrata.imaging.anatomy.brain import initial_mask

    image = read_image(t1w, subject=subject, what="t1w")
    given = None
    if t1w_mask is not None:
        given = read_image(t1w_mask, subject=subject, what="t1w_mask")
        check_same_grid(image, given, f"subject {subject}: t1w {t1w}", f"t1w_mask {t1w_mask}")
    inside, extracted = initial_mask(
        image, given, settings["brain_extracted"], label=f"subject {subject}: t1w {t1w}"
    )
    data = image.data
    if settings["n4"]["enabled"]:
        data = correct_bias(Image(data * inside if extracted else data, image.grid), inside, settings["n4"])
    if extracted:
        data = data * inside
    write_image(output, data, image.grid)
    write_image(mask, inside, image.grid, np.uint8)
    facts = {"Space": "T1w", "SkullStripped": extracted, "Settings": settings_record(settings)}
    write_sidecar(
        output,
        Description="T1-weighted image, bias field divided out" + (", background zero" if extracted else ""),
        Units="arbitrary",
        Sources=[t1w.name],
        **facts,
    )
    what = "Brain mask" if extracted else "Foreground of the head"
    write_sidecar(
        mask,
        Description=what,
        Type="Brain" if extracted else "Head",
        Sources=[(t1w_mask or t1w).name],
        **facts,
    )


def template_start(
    *, subjects: Path, pattern: str, output: Path, state: Path, settings: dict[str, Any], threads: int = 1
) -> None:
    """Average everybody's images, aligned by centre of mass, on a grid that covers them all."""
    from neurostrata.imaging.template.building import centred_box, centred_on, start_grid

    people = _read_subjects(subjects)
    paths = [Path(pattern.format(subject=subject)) for subject in people]
    stripped = {subject: skull_stripped(path) for subject, path in zip(people, paths)}
    if len(set(stripped.values())) > 1:
        few = [subject for subject in people if not stripped[subject]]
        raise UserError(
            f"template: {len(few)} of {len(people)} images still have their skull (first: subject {few[0]}), "
            "the others do not; give the former a t1w_mask, or set `template` to no for one kind"
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
    """Register one person to the current template, unless that has converged already."""
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
    threads: int = 1,
) -> None:
    """Average the warped people and move the average into the mean shape; copy it when converged."""
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
    average = Average(old)
    for subject in _read_subjects(subjects):
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
            "converged": has_converged(measures, settings["tolerance"]),
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
    threads: int = 1,
) -> None:
    """Write the last template with the table and the figure of how it converged."""
    from neurostrata.imaging.template.figure import draw_convergence

    rows = sorted((read_json(path) for path in states), key=lambda row: row["iteration"])
    image = read_image(template, what="template")
    table = pd.DataFrame(
        [
            {
                "iteration": row["iteration"],
                **({} if row["skipped"] else row["measures"]),
                "converged": row["converged"],
                "skipped": row["skipped"],
            }
            for row in rows
        ]
    ).reindex(columns=list(CONVERGENCE_COLUMNS))
    write_image(output, image.data, image.grid)
    facts = {"Tolerance": settings["tolerance"], "Settings": settings_record(settings)}
    write_sidecar(
        output,
        Description="Study template: mean of the people's warped T1-weighted images in their mean shape",
        Units="arbitrary; 100 is the mean of each person's brain",
        Space="study",
        Resolution=f"{settings['resolution_mm']:g} mm",
        SkullStripped=rows[-1]["skull_stripped"],
        Converged=rows[-1]["converged"],
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
    from neurostrata.imaging.template.priors import template_priors

    image = read_image(template, what="template")
    stripped = skull_stripped(template)
    mask, *maps = template_priors(
        image, settings["registration"], skull_stripped=stripped, seed=settings["seed"], threads=threads
    )
    facts = {"Space": "study", "Sources": [template.name, "MNI152 (nilearn)"]}
    write_image(output, mask, image.grid, np.uint8)
    write_sidecar(output, Description="Brain mask, ventricles included", Type="Brain", **facts)
    for path, data, label in zip((gm, wm, csf), maps, ("grey matter", "white matter", "cerebrospinal fluid")):
        write_image(path, data, image.grid)
        write_sidecar(path, Description=f"Prior probability of {label}", Units="probability", **facts)


def register(
    *,
    t1w: Path,
    initial_mask: Path,
    template: Path,
    template_mask: Path,
    subject: str,
    affine: Path,
    warp: Path,
    inverse_warp: Path,
    warped: Path,
    mask: Path,
    settings: dict[str, Any],
    threads: int = 1,
) -> None:
    """Register one person to the final template; write the transforms, the warped image, the brain mask."""
    from neurostrata.imaging.registration.chain import register_images, similarity, warp_image

    moving = read_image(t1w, subject=subject, what="prepared T1w")
    fixed = read_image(template, what="template")
    brain = read_image(template_mask, what="template mask")
    check_same_grid(fixed, brain, f"template {template}", f"template mask {template_mask}")
    result = register_images(
        fixed,
        Image(normalise_intensity(moving.data), moving.grid),
        settings,
        seed=settings["seed"],
        threads=threads,
        balance_mask=brain.data > 0.5,
        label=subject,
    )
    assert result.warp is not None
    assert result.inverse_warp is not None
    image = warp_image(moving, fixed, result)
    write_affine(affine, result.affine)
    write_displacement(warp, result.warp)
    write_displacement(inverse_warp, result.inverse_warp)
    write_image(warped, image, fixed.grid)
    stripped = skull_stripped(t1w)
    if stripped:
        inside = read_image(initial_mask, subject=subject, what="initial mask").data > 0.5
    else:
        inside = resample_to_person(brain, moving.grid, result.affine, result.inverse_warp) > 0.5
        if not inside.any():
            raise UserError(
                f"subject {subject}: the template's mask falls outside {t1w}; the registration failed, look "
                "at the image's orientation and field of view"
            )
    write_image(mask, inside, moving.grid, np.uint8)
    _register_sidecars(
        affine=affine,
        warp=warp,
        inverse_warp=inverse_warp,
        warped=warped,
        mask=mask,
        stripped=stripped,
        facts={
            "Sources": [t1w.name, template.name],
            "Settings": settings_record(settings),
            "SimilarityToTemplate": similarity(image, fixed.data, brain.data > 0.5),
            "AffineDeterminant": float(np.linalg.det(result.affine[:3, :3])),
        },
    )


def _register_sidecars(
    *,
    affine: Path,
    warp: Path,
    inverse_warp: Path,
    warped: Path,
    mask: Path,
    stripped: bool,
    facts: Mapping[str, Any],
) -> None:
    write_sidecar(
        affine, Description="ITK affine A; maps template points to T1w points after the warp", **facts
    )
    write_sidecar(
        warp,
        Description="ITK displacement field u on the template's grid; x_T1w = A(x + u(x))",
        Units="mm, LPS",
        Space="study",
        **facts,
    )
    write_sidecar(
        inverse_warp,
        Description="ITK displacement field v on the template's grid; x = z + v(z) with z = A^-1(x_T1w)",
        Units="mm, LPS",
        Space="study",
        **facts,
    )
    write_sidecar(
        warped, Description="T1-weighted image in template space", Units="arbitrary", Space="study", **facts
    )
    how = "the image's own" if stripped else "the template's mask, projected back"
    write_sidecar(mask, Description=f"Brain mask: {how}", Type="Brain", Space="T1w", **facts)


def jacobian(
    *,
    affine: Path,
    warp: Path,
    subject: str,
    nonlinear: Path,
    absolute: Path,
    settings: dict[str, Any],
    threads: int = 1,
) -> None:
    """Write the Jacobian determinant of the non-linear part, and that times the affine's determinant."""
    from neurostrata.imaging.anatomy.jacobian import absolute_jacobian, nonlinear_jacobian

    field = read_displacement(warp)
    matrix = read_affine(affine)
    relative = nonlinear_jacobian(field)
    folded = int((relative <= 0).sum())
    if folded:
        print(f"subject {subject}: the warp folds at {folded} of {relative.size} voxels (determinant <= 0)")
    facts: dict[str, Any] = {
        "Units": "1 (ratio of volumes, person over template; > 1 where the person's region is larger)",
        "Space": "study",
        "Sources": [affine.name, warp.name],
        "FoldedVoxels": folded,
        "AffineDeterminant": float(abs(np.linalg.det(matrix[:3, :3]))),
    }
    write_image(nonlinear, relative, field.grid)
    write_sidecar(nonlinear, Description="Jacobian determinant of the non-linear part", **facts)
    write_image(absolute, absolute_jacobian(relative, matrix), field.grid)
    write_sidecar(absolute, Description="Jacobian determinant of the whole transform", **facts)


def segment_tissue(
    *,
    t1w: Path,
    mask: Path,
    affine: Path,
    inverse_warp: Path,
    gm_prior: Path,
    wm_prior: Path,
    csf_prior: Path,
    subject: str,
    gm: Path,
    wm: Path,
    csf: Path,
    settings: dict[str, Any],
    threads: int = 1,
) -> None:
    """Write native-space probabilities of grey matter, white matter and cerebrospinal fluid."""
    from neurostrata.imaging.anatomy.tissue import segment

    image = read_image(t1w, subject=subject, what="prepared T1w")
    inside = read_image(mask, subject=subject, what="brain mask").data > 0.5
    matrix, field = read_affine(affine), read_displacement(inverse_warp)
    grey, white, fluid = (
        resample_to_person(read_image(path, what="tissue prior"), image.grid, matrix, field)
        for path in (gm_prior, wm_prior, csf_prior)
    )
    maps = segment(image, inside, (grey, white, fluid), settings)
    facts = {"Units": "probability", "Space": "T1w", "Settings": settings_record(settings)}
    for path, data, label in zip((gm, wm, csf), maps, ("grey matter", "white matter", "cerebrospinal fluid")):
        write_image(path, data, image.grid)
        write_sidecar(
            path,
            Description=f"Probability of {label}",
            VolumeMillilitres=float(data.sum() * image.grid.voxel_volume / 1000),
            Sources=[t1w.name, mask.name],
            **facts,
        )
