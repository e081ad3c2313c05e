"""How well all experiments decode people whom their models have not seen (Table 2 of Dimitri 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.model_words import model_words
from neurostrata.report.data.decoding import RECONSTRUCTION_COLUMNS, modality_order, ordered_methods
from neurostrata.report.data.layout import Experiment
from neurostrata.report.html.blocks import (
    Cell,
    Section,
    Table,
    Text,
    experiment_anchor,
    format_number,
    model_name,
)
from neurostrata.report.html.page import Page
from neurostrata.report.text.glossary import words_block


def mean_sd(values: pd.Series, digits: int = 3) -> str:
    """Return "mean ± sd"; the mean alone for one value."""
    values = values[np.isfinite(values.to_numpy(float))]
    if values.empty:
        return "n/a"
    text = format_number(values.mean(), digits)
    return text if len(values) < 2 else f"{text} ± {format_number(values.std(ddof=1), 2)}"


def reconstruction_table(page: Page, metric: str, title: str, caption: str, smaller: bool) -> Table | None:
    """Build Table 2 for one metric: rows are inputs, experiment and method; columns the decoded modality.

    Parameters
    ----------
    metric
        Column of ``reconstruction.tsv``.
    smaller
        Whether a smaller absolute value is better; the best method of an experiment is set in bold.
    """
    frames: list[tuple[Experiment, dict[str, Any], pd.DataFrame]] = []
    modalities: list[str] = []
    for experiment, config in page.study.experiments():
        frame = page.study.table(experiment.file("reconstruction.tsv"), columns=RECONSTRUCTION_COLUMNS)
        if frame is None or metric not in frame or not frame[metric].notna().any():
            continue
        frames.append((experiment, config, frame))
        modalities += [m for m in modality_order(frame, config) if m not in modalities]
    if not frames:
        return None
    rows, groups, paths = [], [], []
    for experiment, config, frame in frames:
        own = modality_order(frame, config)
        inputs = " + ".join(m.upper() for m in own)
        methods = ordered_methods(frame, config)
        means = frame.groupby(["method", "modality"])[metric].mean().abs()
        paths.append(experiment.file("reconstruction.tsv"))
        for position, method in enumerate(methods):
            tested = frame.loc[frame["method"] == method, "subject"].nunique()
            cells = [
                Cell(inputs if position == 0 else ""),
                Cell(
                    experiment.name if position == 0 else "",
                    f"#{experiment_anchor(experiment.name)}" if position == 0 else "",
                ),
                Cell(model_name(method) + options_text(config, method)),
                Cell(str(tested)),
            ]
            for modality in modalities:
                if modality not in own:
                    cells.append(Cell("NA"))
                    continue
                part = frame.loc[(frame["method"] == method) & (frame["modality"] == modality), metric]
                values = [means.get((other, modality), np.nan) for other in methods]
                best = np.nanmin(values) if smaller and np.isfinite(values).any() else np.nan
                strong = len(methods) > 1 and bool(means.get((method, modality), np.inf) == best)
                number = int(part.notna().sum())
                fewer = f" (of {number})" if 0 < number < tested else ""
                cells.append(Cell(mean_sd(part) + fewer, strong=strong))
            rows.append(cells)
            groups.append(position == 0)
    return Table(
        title=title,
        columns=["Inputs", "Experiment", "Method", "Test people", *[m.upper() for m in modalities]],
        rows=rows,
        numeric=[False, False, False, True, *[True] * len(modalities)],
        caption=caption,
        groups=groups,
        sources=page.sources(*paths),
    )


def options_text(config: Mapping[str, Any], method: str) -> str:
    """Return what a table row says about the options of the experiment's own model."""
    return (
        "".join(f", {text}" for text in model_words(config, "options")) if method == config["model"] else ""
    )


def decoding_section(page: Page, first: Sequence[Table | None] = ()) -> Section:
    """Return the section on how well all experiments decode unseen people: what is given first, then Table 2.

    Parameters
    ----------
    page
        The page.
    first
        Tables that come before it: shares decoded, and decoding with a modality hidden.
    """
    section = Section("decoding", "Decoding of unseen people")
    caption = (
        "Mean ± standard deviation over test people of all folds, images scaled to [0, 1] (with scaling: maximum to [-1, 1]); bold: the best method of an "
        "experiment. NA: not among the inputs; (of 12): over fewer people, where others lack the modality or the measure. As Table 2 of the paper, with two baselines: the mean image "
        "of the training people, and PCA with as many components as the training people allow."
    )
    tables = [
        reconstruction_table(page, "mse", "Squared error between real and decoded images", caption, True),
        reconstruction_table(
            page,
            "cnr_normdiff",
            "Contrast difference of decoded and real images",
            "Mean ± standard deviation. Baselines that blur may be near −1; the mean image has the same contrast for everybody.",
            True,
        ),
    ]
    if not any([*first, *tables]):
        section.add(Text("No experiment has an evaluation on unseen people.", kind="note"))
        return section
    notes = [text for _, config in page.study.experiments() for text in model_words(config, "decoding")]
    section.add(*[Text(text, kind="note") for text in dict.fromkeys(notes)])
    section.add(words_block("baseline", "share decoded", "squared error (MSE)", "contrast difference"))
    section.add(*first, *tables)
    return section
