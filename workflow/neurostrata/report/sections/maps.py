"""The section on the maps that go into the models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.cohort.sources.registry import source_of
from neurostrata.core.config import expand_modalities
from neurostrata.core.wording import format_setting, join_words
from neurostrata.report.data.results import StudyResults
from neurostrata.report.html.blocks import Section, Text, format_number, frame_table
from neurostrata.report.html.page import Page


def volumes_section(page: Page) -> Section:
    """Return the section on the maps that go into the models: grid and intensity limits."""
    study, tree = page.study, page.study.tree
    section = Section("maps", "Maps")
    rows = []
    declared = expand_modalities(study.config["modalities"])
    described = volumes_described(study)
    for path, info in described.items():
        rows.append(
            {
                "modality": path.stem,
                # the array of a modality that is no longer declared is still in the folder
                "measures": ", ".join(source_of(d).words(d)) if (d := declared.get(path.stem)) else "",
                "people": len(info["subjects"]),
                "low": float(info["limits"]["low"]),
                "high": float(info["limits"]["high"]),
            }
        )
    if not rows:
        study.note("Maps on the fusion grid", "volumes/ holds no array")
        return section
    first, info = next(iter(described.items()))
    percentiles = info["limits"]["percentiles"]
    shape = _array_shape(first.with_suffix(".npy"))
    grid = f"{' × '.join(str(n) for n in shape[1:])} voxels" if shape else "one grid"
    side = np.linalg.norm(np.asarray(info["affine"], float)[:3, :3], axis=0)
    grid += f" of {' × '.join(format_number(v) for v in side)} mm"
    section.add(
        Text(
            f"All maps of all people are on {grid} in the template's space, each interpolated once from its own space."
        ),
        frame_table(
            pd.DataFrame(rows),
            "Modalities and their intensity limits",
            names={
                "low": "0 stands for",
                "high": "1 stands for",
                "people": "People",
                "measures": "Made from",
            },
            caption=(
                f"The {join_words([format_setting(p) for p in percentiles])} percentiles over the mask of everybody. Experiments "
                "with limits: train scale by their training people's percentiles, in each fold's limits.json; those with "
                "scaling: maximum scale each volume by its own maximum."
            ),
            sources=page.sources(*tree.volumes()),
        ),
    )
    return section


def _array_shape(path: Path) -> tuple[int, ...] | None:
    try:
        return tuple(np.load(path, mmap_mode="r").shape)
    except (OSError, ValueError):
        return None


def volumes_described(study: StudyResults) -> dict[Path, dict[str, Any]]:
    """Return path -> content of the description of each modality's array, those that can be read."""
    return {path: info for path in study.tree.volumes() if (info := study.json(path))}
