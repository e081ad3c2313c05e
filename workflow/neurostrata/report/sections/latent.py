"""Experiments that differ in the size of their code or the seed of their training, in one table (Geenjaar 2021, Table I)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.wording import join_words
from neurostrata.report.data.layout import Experiment
from neurostrata.report.html.blocks import Cell, Table, Text, format_number, model_name
from neurostrata.report.html.page import Page
from neurostrata.report.text.features import FEATURE_NAMES


def _families(page: Page, groups: Mapping[str, list[str]]) -> list[list[tuple[Experiment, dict[str, Any]]]]:
    """Return lists of experiments that have the same people and folds and differ in latent size and seed only."""
    leader = {name: first for first, names in groups.items() for name in names}
    found: dict[str, list[tuple[Experiment, dict[str, Any]]]] = {}
    for experiment, config in page.study.experiments():
        options = dict(config["options"])
        if options.pop("latent_size", None) is None or experiment.name not in leader:
            continue
        same = {k: v for k, v in config.items() if k not in ("name", "seed", "options", "analyses")}
        key = json.dumps([leader[experiment.name], same, options], sort_keys=True)
        found.setdefault(key, []).append((experiment, config))
    return [members for members in found.values() if len(members) > 1]


def _fold_cell(row: pd.Series | None) -> Cell:
    if row is None or not np.isfinite(row["value"]):
        return Cell("n/a")
    text = format_number(row["value"], 3)
    return Cell(text if pd.isna(row["fold_sd"]) else f"{text} ± {format_number(row['fold_sd'], 2)}")


def latent_blocks(page: Page, groups: Mapping[str, list[str]]) -> list[Any]:
    """Return a table for each target of classes of experiments that differ in latent size or seed; [] without any.

    Parameters
    ----------
    groups
        Experiments of the same people and folds (:func:`neurostrata.report.data.comparison.same_people_and_folds`).
    """
    blocks: list[Any] = []
    for members in _families(page, groups):
        scores = {}
        for experiment, _ in members:
            needed = ("features", "target", "measure", "value", "fold_sd")
            frame = page.study.table(experiment.file("prediction_scores.tsv"), columns=needed)
            if frame is not None:
                scores[experiment.name] = frame[frame["measure"] == "auc"].set_index(["target", "features"])
        members = [(e, c) for e, c in members if e.name in scores]
        targets = dict.fromkeys(
            t for frame in scores.values() for t in frame.index.get_level_values("target")
        )
        for target in targets:
            blocks += _target_blocks(page, members, scores, str(target))
    return blocks


def _target_blocks(
    page: Page,
    members: list[tuple[Experiment, dict[str, Any]]],
    scores: Mapping[str, pd.DataFrame],
    target: str,
) -> list[Any]:
    """Return the table of one target, and a sentence on the seeds."""
    sizes: dict[int, list[Experiment]] = {}
    for experiment, config in members:
        sizes.setdefault(int(config["options"]["latent_size"]), []).append(experiment)
    ordered = sorted(sizes)
    model = members[0][1]["model"]

    def row(name: str, features: str) -> pd.Series | None:
        frame = scores[name]
        return frame.loc[(target, features)] if (target, features) in frame.index else None

    found = {size: [row(e.name, "embedding") for e in sizes[size]] for size in ordered}
    lines = [[Cell(model_name(model)), *(_fold_cell(found[size][0]) for size in ordered)]]
    repeated = {
        size: np.array([r["value"] for r in found[size] if r is not None], dtype=float)
        for size in ordered
        if len(sizes[size]) > 1
    }
    if repeated:
        cells = []
        for size in ordered:
            values = repeated.get(size, np.empty(0))
            enough = len(values) > 1
            spread = f"{values.mean():.3f} ± {values.std(ddof=1):.3f} ({len(values)})" if enough else ""
            cells.append(Cell(spread))
        lines.append([Cell("the same, over seeds (number of seeds)"), *cells])
    for features in ("pca_modalities", "pca_stacked", "pca_pooled"):
        lines.append(
            [
                Cell(FEATURE_NAMES[features]),
                *(_fold_cell(row(sizes[size][0].name, features)) for size in ordered),
            ]
        )
    names = join_words([e.name for e, _ in members])
    blocks: list[Any] = [
        Table(
            title=f"AUC for {target} by latent size",
            columns=["", *(str(size) for size in ordered)],
            rows=lines,
            numeric=[False, *[True] * len(ordered)],
            caption=(
                f"Experiments {names}: the same people and folds (Geenjaar 2021, Table I). Mean ± standard deviation over folds, of "
                "each size's first experiment; over seeds: mean and standard deviation of these means. PCA has as many components as "
                "the latent size, but fewer than its training samples."
            ),
            sources=page.sources(*(e.file("prediction_scores.tsv") for e, _ in members)),
        )
    ]
    if repeated:
        blocks.append(
            Text(
                "Seeds change only the randomness of the training, not the folds: their spread leaves out the variation between "
                "samples of people, which the spread over folds shows in part.",
                kind="note",
            )
        )
    return blocks
