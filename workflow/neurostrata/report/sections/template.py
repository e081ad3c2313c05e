"""The section on the study template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.wording import count, join_words
from neurostrata.report.data.results import is_yes
from neurostrata.report.figures.slices import try_volume
from neurostrata.report.html.blocks import Figure, Section, Text, format_number, frame_table
from neurostrata.report.html.page import Page


def template_section(page: Page) -> Section:
    """Return the section on the study template: convergence, slices, and whether its shape is unbiased."""
    from neurostrata.report.figures.images import slice_rows

    study, tree = page.study, page.study.tree
    section = Section("template", "Template and registration")
    path = tree.template("convergence.tsv")
    table = study.table(path, "Template convergence", ["iteration"])
    if table is not None:
        section.add(*_unbiasedness(page, table, path))
    template, mask = try_volume(tree.template("template.nii.gz")), try_volume(tree.template("mask.nii.gz"))
    if template is None:
        study.note("Slices of the template", "template/template.nii.gz was not made or cannot be read")
    else:
        if mask is None:
            study.note("The template's mask", "template/mask.nii.gz was not made or cannot be read")
        voxel = " × ".join(format_number(zoom) for zoom in template.zooms)
        section.add(
            page.figure(
                slice_rows(template, outline=mask, per_plane=3, width=11.0),
                "template/template.png",
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
            )
        )
    if table is not None:
        figure = tree.template("convergence.png")
        if figure.is_file():
            section.add(
                Figure(
                    page.href(figure),
                    "Convergence of the template",
                    "Each measure over the iterations; dashed: the value it should stay below, or close to.",
                    "Likeness, change and bias of the template over its iterations",
                    page.sources(path),
                )
            )
        else:
            study.note("Figure of the template's convergence", "template/convergence.png was not made")
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


def _unbiasedness(page: Page, table: pd.DataFrame, path: Path) -> list[Any]:
    """Return the sentences on convergence and on shape, judged against their limits."""
    blocks: list[Any] = []
    measured = table[~is_yes(table["skipped"])] if "skipped" in table else table
    measured = measured[measured["iteration"] > 0] if (measured["iteration"] > 0).any() else measured
    last = measured.iloc[-1]
    text = f"The template was rebuilt {count(int(last['iteration']), 'time')}"
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
    blocks.append(Text(text + ".", sources=page.sources(path)))
    checks = []
    for column, limit, name in (
        ("mean_log_jacobian", 0.01, "the mean log Jacobian in the brain"),
        ("rms_mean_warp_vox", 0.5, "the root mean square of the mean warp (voxels)"),
    ):
        if column in last and pd.notna(last[column]):
            good = abs(float(last[column])) <= limit
            checks.append(
                (
                    good,
                    f"{name} is {format_number(last[column])} (limit {limit:g}{'' if good else ', exceeded'})",
                )
            )
    if checks:
        good = all(ok for ok, _ in checks)
        blocks.append(
            Text(
                f"Unbiased shape: {'yes' if good else 'not within the limits'}; "
                f"at the last update {join_words([text for _, text in checks])}.",
                kind="good" if good else "warning",
                sources=page.sources(path),
            )
        )
    return blocks
