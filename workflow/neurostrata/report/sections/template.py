"""The section on the study template."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.errors import UserError
from neurostrata.core.records import DamagedError
from neurostrata.core.wording import count, join_words
from neurostrata.imaging.images.io import read_image
from neurostrata.imaging.registration.transforms import read_affine, read_displacement
from neurostrata.imaging.template.shape import LARGEST_DISTANCE_VOX, LARGEST_LOG_SIZE, MeanShape
from neurostrata.report.data.results import is_yes
from neurostrata.report.figures.slices import try_volume
from neurostrata.report.html.blocks import Section, Text, format_number, frame_table
from neurostrata.report.html.page import Page

#: People whose warps are read, at most; each takes a third of a second at 1.25 mm, and the mean of more says no more.
MOST_PEOPLE = 250


def template_section(page: Page) -> Section:
    """Return the section on the study template: convergence, slices, and whether its shape is unbiased."""
    from neurostrata.report.figures.images import convergence_figure, slice_rows

    study, tree = page.study, page.study.tree
    section = Section("template", "Template and registration")
    path = tree.template("convergence.tsv")
    table = study.table(path, "Template convergence", ["iteration"])
    if table is not None:
        section.add(_convergence(page, table, path))
    section.add(*_mean_shape(page))
    template, mask = try_volume(tree.template("template.nii.gz")), try_volume(tree.template("mask.nii.gz"))
    if template is None:
        study.note("Slices of the template", "template/template.nii.gz was not made or cannot be read")
    else:
        if mask is None:
            study.note("The template's mask", "template/mask.nii.gz was not made or cannot be read")
        voxel = " × ".join(format_number(zoom) for zoom in template.zooms)
        section.add(
            page.figure(
                partial(slice_rows, template, outline=mask),
                "template/template.svg",
                "The study template" + (" and its mask" if mask is not None else ""),
                f"{' × '.join(str(n) for n in template.data.shape)} voxels of {voxel} mm. "
                + (
                    f"Orange: the brain mask ({_litres(mask.data, mask.zooms)} litres). "
                    if mask is not None
                    else ""
                )
                + "The person's left is on the left of the picture.",
                tree.template("template.nii.gz"),
                tree.template("mask.nii.gz"),
                alt="Three sagittal, three coronal and three axial slices of the mean brain of the study"
                + (", with the outline of the brain mask" if mask is not None else ""),
                picture=True,
            )
        )
    if table is not None:
        measured = _measured(table)
        section.add(
            page.figure(
                partial(convergence_figure, measured, study.config["template"]["tolerance"]),
                "template/convergence.svg",
                "Convergence of the template",
                "Each measure over the iterations; dashed: the value it should stay below, or close to. The warp is the one that "
                "the iteration then removed. With registration.balance the mean log Jacobian is near 0 by construction.",
                path,
                alt=f"Likeness, change and bias of the template over {count(len(measured), 'iteration')}",
            )
        )
        section.add(
            frame_table(
                table,
                "Convergence of the template",
                caption="; ".join(f"{name}: {text}" for name, text in study.column_meanings(path).items()),
                sources=page.sources(path),
                folded=True,
            )
        )
    return section


def _litres(mask: np.ndarray, zooms: tuple[float, float, float]) -> str:
    return format_number(float((mask > 0).sum()) * float(np.prod(zooms)) / 1e6)


def _measured(table: pd.DataFrame) -> pd.DataFrame:
    """Return the iterations that were measured; the first, without any before it, only where there is no other."""
    measured = table[~is_yes(table["skipped"])] if "skipped" in table else table
    return measured[measured["iteration"] > 0] if (measured["iteration"] > 0).any() else measured


def _convergence(page: Page, table: pd.DataFrame, path: Path) -> Text:
    """Return the sentences on how the building of the template converged."""
    measured = _measured(table)
    last = measured.iloc[-1]
    text = f"The template was rebuilt {count(int(last['iteration']), 'time')}{_fewer_people(measured)}"
    if "converged" in table:
        done = is_yes(table["converged"])
        if done.any():
            text += f" and met the tolerance at iteration {int(table.loc[done.idxmax(), 'iteration'])}"
        elif page.study.config["template"]["tolerance"] is not None:
            text += " and did not meet the tolerance, so it may still have been changing"
    if "similarity" in last and pd.notna(last["similarity"]):
        text += f". The people's warped images correlate with it at {format_number(last['similarity'])} on average"
        if pd.notna(last["similarity_worst"]):
            text += f" ({format_number(last['similarity_worst'])} at worst)"
    return Text(text + ".", sources=page.sources(path))


def _fewer_people(measured: pd.DataFrame) -> str:
    """Return in which iterations only a part of the people was registered; "" where everybody was in each."""
    if "people" not in measured or measured["people"].isna().any():
        return ""
    everybody = int(measured["people"].iloc[-1])
    fewer = measured[measured["people"] < everybody]
    if fewer.empty:
        return ""
    numbers = join_words([f"{number:,}" for number in sorted({int(people) for people in fewer["people"]})])
    return f", {count(len(fewer), 'time')} from {numbers} of its {everybody:,} people"


def _mean_shape(page: Page) -> list[Any]:
    """Return the sentences on the template's shape, from the final registrations of the people it was made of."""
    study, tree = page.study, page.study.tree
    cohort = study.table(tree.subjects, columns=["subject"])
    if cohort is None:
        return []
    members = cohort[is_yes(cohort["template"])] if "template" in cohort else cohort
    people = [str(subject) for subject in members["subject"]]
    shape = _read_shape(page, people)
    if shape is None or not shape.people:
        return []
    checks = [
        (
            shape.distance_vox <= LARGEST_DISTANCE_VOX,
            f"the people's mean place of a point is {format_number(shape.distance_vox)} voxels from the point itself (root mean square in "
            f"the brain; limit {LARGEST_DISTANCE_VOX:g})",
        ),
        (
            abs(shape.log_size) <= LARGEST_LOG_SIZE,
            f"the logarithm of the mean shape's volume over the template's is {format_number(shape.log_size)} (limit {LARGEST_LOG_SIZE:g} "
            "either way)",
        ),
    ]
    good = all(ok for ok, _ in checks)
    said = join_words([text if ok else f"{text}, which is exceeded" for ok, text in checks])
    whom = count(shape.people, "person", "people")
    if shape.people < len(people):
        whom += f" of the {len(people)} whose images it was made of"
    blocks = [
        Text(
            f"Unbiased shape: {'yes' if good else 'not within the limits'}. In the final registrations of {whom}: {said}.",
            kind="good" if good else "warning",
            sources=page.sources(tree.subjects, tree.template("mask.nii.gz")),
        )
    ]
    text = (
        f"The logarithm of the affine's determinant, by which a person's brain is larger than the template, is "
        f"{format_number(np.mean(shape.log_scales))} on average"
    )
    if shape.people > 1:
        text += f" (standard deviation {format_number(np.std(shape.log_scales, ddof=1))})"
    if study.config["registration"]["balance"]:
        text += (
            ". It is the mean log Jacobian of the whole transform too, since registration.balance makes that of the non-linear part 0 for "
            "everybody. In the mean shape it is somewhat below 0: logarithms of numbers that vary are below the logarithm of their mean"
        )
    return [*blocks, Text(f"{text}.")]


def _read_shape(page: Page, people: Sequence[str]) -> MeanShape | None:
    """Return the mean shape of at most :data:`MOST_PEOPLE` of these people, evenly spaced; None when something lacks."""
    study, tree = page.study, page.study.tree
    what, mask_path = "Whether the template's shape is unbiased", tree.template("mask.nii.gz")
    if not mask_path.is_file():
        return None  # which is noted with the slices
    step = max(1, -(-len(people) // MOST_PEOPLE))  # rounded up
    lacking = []
    try:
        mask = read_image(mask_path, what="template mask")
        shape = MeanShape(mask.grid, mask.data > 0)
        for subject in people[::step]:
            affine, warp = tree.registration(subject)
            if affine.is_file() and warp.is_file():
                shape.add(read_affine(affine), read_displacement(warp))
            else:
                lacking.append(subject)
    except DamagedError:
        raise  # it was changed after its stage wrote it: it must be made again, not left out
    except UserError as error:
        study.note(what, str(error))
        return None
    if lacking:
        study.note(
            what, f"{count(len(lacking), 'person has', 'people have')} no registration to the template"
        )
    return shape
