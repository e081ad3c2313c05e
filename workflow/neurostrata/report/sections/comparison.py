"""Comparison of all experiments with each other and with linear baselines: decoding, prediction, cost."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neurostrata.core.tables import write_table
from neurostrata.core.wording import count, join_words
from neurostrata.report.data.comparison import COLUMNS, compare_experiments, same_people_and_folds
from neurostrata.report.html.blocks import (
    Cell,
    Section,
    Table,
    Text,
    cut_off,
    experiment_anchor,
    fixed,
    format_number,
    model_name,
)
from neurostrata.report.html.page import Page
from neurostrata.report.sections.decoding import decoding_section
from neurostrata.report.sections.latent import latent_blocks
from neurostrata.report.text.features import FEATURE_NAMES, OWN_FEATURES, feature_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Targets in the figure of predictions, at most; the table has all.
MOST_TARGETS = 12


def _with_interval(row: pd.Series) -> str:
    if row["what"] == "cost":
        return format_number(row["value"], 3)
    decimals = fixed(2)
    text = decimals(row["value"]) if np.isfinite(row["value"]) else "n/a"
    if np.isfinite(row["low"]) and np.isfinite(row["high"]):
        text += f" [{decimals(row['low'])}, {decimals(row['high'])}]"
    return text


def baselines_once(frame: pd.DataFrame, groups: Mapping[str, list[str]]) -> pd.DataFrame:
    """Leave out baselines that an earlier experiment of the same people, folds and value has shown already.

    The column `leader` is added: the first experiment of the same people and folds.
    """
    first = {name: leader for leader, names in groups.items() for name in names}
    own = (frame["method"] == frame["model"]) | frame["method"].isin(OWN_FEATURES)
    # an experiment without splits is in no group
    frame = frame.assign(leader=frame["experiment"].map(lambda name: first.get(name, name)))
    return frame[own | ~frame[["leader", "what", "of", "method", "value"]].duplicated()]


def _table(frame: pd.DataFrame, title: str, caption: str, page: Page, best: str | None) -> Table | None:
    """Rows: experiment and method; columns: what is measured. In bold: the best of each column among the same people and folds."""
    if frame.empty:
        return None
    if best is not None:
        caption += " Bold: the best of the experiments with the same people and folds."
    columns = list(dict.fromkeys(frame["of"]))
    rows, groups = [], []
    order = list(dict.fromkeys(zip(frame["experiment"], frame["method"])))
    for position, (experiment, method) in enumerate(order):
        own = frame[(frame["experiment"] == experiment) & (frame["method"] == method)].set_index("of")
        first = position == 0 or order[position - 1][0] != experiment
        name = (
            model_name(method)
            if method == own["model"].iloc[0]
            else FEATURE_NAMES.get(method, model_name(method))
        )
        cells = [
            Cell(experiment if first else "", f"#{experiment_anchor(experiment)}" if first else ""),
            Cell(name),
        ]
        for column in columns:
            if column not in own.index:
                cells.append(Cell(""))
                continue
            same = frame["leader"] == own["leader"].iloc[0]
            values = frame.loc[same & (frame["of"] == column), "value"]
            strong = best is not None and own.loc[column, "value"] == (
                values.max() if best == "largest" else values.min()
            )
            cells.append(Cell(_with_interval(own.loc[column]), strong=bool(strong) and len(values) > 1))
        rows.append(cells)
        groups.append(first)
    return Table(
        title=title,
        columns=["Experiment", "Method", *columns],
        rows=rows,
        numeric=[False, False, *[True] * len(columns)],
        caption=caption,
        groups=groups,
        sources=page.sources(page.path.parent / "comparison.tsv"),
    )


def prediction_figure(frame: pd.DataFrame, narrow: bool = False) -> Figure:
    """Draw a panel per target: a dot and its interval for each experiment and baseline; below each other where `narrow`."""
    from neurostrata.report.figures.factors import wrapped
    from neurostrata.report.figures.style import (
        BLUE,
        GREY,
        NARROW,
        SOFT,
        figure_style,
        hide_unused,
        new_figure,
    )

    targets = list(dict.fromkeys(frame["of"]))[:MOST_TARGETS]
    across = min(1 if narrow else 2, len(targets))
    down = -(-len(targets) // across)
    longest = max((frame["of"] == target).sum() for target in targets)
    with figure_style():
        height = max(2.2, (0.42 if narrow else 0.26) * longest + 0.9)
        drawing = new_figure(NARROW if narrow else 11, height * down)
        panels = drawing.subplots(down, across, squeeze=False).ravel()
        for panel, target in zip(panels, targets):
            part = frame[frame["of"] == target].reset_index(drop=True)
            places = -np.arange(len(part))
            own = part["method"].isin(OWN_FEATURES).to_numpy()
            for mine, colour in ((True, BLUE), (False, GREY)):
                chosen = own == mine
                panel.hlines(places[chosen], part["low"][chosen], part["high"][chosen], color=colour, lw=1.6)
                panel.plot(part["value"][chosen], places[chosen], "o", color=colour, ms=5)
            panel.axvline(0.5 if target.endswith("(AUC)") else 0.0, color=SOFT, lw=0.8, ls=":")
            labels = [
                wrapped(f"{e}: {feature_name(m)}", narrow, 20)
                for e, m in zip(part["experiment"], part["method"])
            ]
            panel.set_yticks(places, labels)
            panel.set_title(target)
        hide_unused(panels, len(targets))
    return drawing


def adjustment_notes(page: Page) -> list[Text | Table]:
    """Say for each experiment what was removed from the codes, and list who was left out for that reason."""
    blocks: list[Text | Table] = []
    ways = set()
    for experiment, _ in page.study.experiments():
        path = experiment.file("predictions.tsv")
        if not path.is_file():
            continue
        record = page.study.sidecar(path).get("Adjustment")  # only where something was removed
        ways.add(str([record[key] for key in ("Sites", "Kept", "Removed")]) if record else "")
        if not record:
            continue
        done = []
        if record["Sites"]:
            kept = f", effects of {join_words(record['Kept'])} kept" if record["Kept"] else ""
            done.append(f"sites (column {record['Sites']}) harmonised by ComBat{kept}")
        if record["Removed"]:
            done.append(f"linear effects of {join_words(record['Removed'])} removed")
        text = (
            f"{experiment.name}: before anything was predicted, in the embedding and in the baselines, {', then '.join(done)}; "
            "learned from each fold's training people. A model's own classifier was not adjusted."
        )
        left_out = pd.DataFrame(record["LeftOut"], columns=["fold", "subject", "role", "reason"])
        tested = left_out.loc[left_out["role"] == "test", "subject"].nunique()
        if left_out.empty:
            blocks.append(Text(f"{text} Nobody was left out.", sources=page.sources(path)))
            continue
        blocks.append(
            Text(
                f"{text} Left out in some fold: {count(left_out['subject'].nunique(), 'person', 'people')}, {tested} of "
                "them not predicted.",
                sources=page.sources(path),
            )
        )
        rows = [
            [reason, str(part["subject"].nunique()), join_words(sorted(set(part["subject"]))[:20])]
            for reason, part in left_out.groupby("reason", sort=False)
        ]
        blocks.append(
            Table(
                title=f"Left out of the predictions of {experiment.name}",
                columns=["Reason", "People", "Who (the first 20)"],
                rows=[[Cell(cell) for cell in row] for row in rows],
                numeric=[False, True, False],
                caption="The same for the embedding and the baselines.",
                sources=page.sources(path),
                folded=len(rows) > 25,
            )
        )
    if len(ways) > 1:
        text = "Not all experiments were adjusted in the same way, so their predictions cannot be compared directly."
        blocks.insert(0, Text(text, kind="warning"))
    return blocks


def comparison_section(page: Page) -> Section:
    """Return the section; empty when there is nothing to compare."""
    section = Section("comparison", "Model comparison")
    frame = compare_experiments(page.study)
    if (frame["what"] == "cost").all():
        section.sections.append(decoding_section(page))
        return section
    path = page.path.parent / "comparison.tsv"
    write_table(
        path, frame, COLUMNS, Description="What compares the experiments, each number from their tables."
    )
    groups = same_people_and_folds(page.study)
    frame = baselines_once(frame, groups)
    together = [names for names in groups.values() if len(names) > 1]
    if together:
        words = "; ".join(join_words(names) for names in together)
        section.add(Text(f"The same people in the same folds: {words}. Only these can be compared directly."))
    elif len(groups) > 1:
        section.add(
            Text(
                "No two experiments had the same people in the same folds: differences between them are partly "
                "differences between people.",
                kind="warning",
            )
        )
    section.sections.append(
        decoding_section(
            page,
            [
                _table(
                    frame[frame["what"] == "decoded"],
                    "Share of the differences between people that is decoded",
                    "In people whom the models have not seen. 95% bootstrap intervals, families drawn as a whole. Baselines are listed with the first experiment of "
                    "the same people and folds.",
                    page,
                    "largest",
                ),
                _table(
                    frame[frame["what"] == "hidden"],
                    "Decoding without one modality",
                    "Decoding error of all modalities with one hidden, divided by the error with none hidden (1: as good as with all). "
                    "95% bootstrap intervals, families drawn as a whole.",
                    page,
                    "smallest",
                ),
            ],
        )
    )
    section.add(
        _table(
            frame[frame["what"] == "predicted"],
            "What is predicted from the codes",
            "For people whom neither the fold's model nor the predictor has seen. AUC: area under the ROC curve, 0.5 is "
            "chance; R2: share of variance, 0 is no better than the training mean. 95% intervals allow for other test people "
            "(bootstrap of whole families) and for other training people (Nadeau and Bengio 2003).",
            page,
            "largest",
        ),
    )
    section.add(*adjustment_notes(page))
    predicted = frame[frame["what"] == "predicted"]
    if not predicted.empty:
        section.add(
            page.figure(
                partial(prediction_figure, predicted),
                "comparison/prediction.svg",
                "What is predicted from the codes",
                "Dots with 95% intervals; blue: the models, grey: linear baselines of the same folds; dotted: chance."
                + cut_off(predicted["of"].nunique(), MOST_TARGETS, "targets"),
                path,
            )
        )
    section.add(*latent_blocks(page, groups))
    section.add(
        _table(
            frame[frame["what"] == "cost"].assign(low=np.nan, high=np.nan),
            "Cost of the models",
            "Of the final model, trained on everybody; times depend on the machine.",
            page,
            None,
        ),
    )
    return section
