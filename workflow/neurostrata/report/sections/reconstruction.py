"""How well people whom the models have not seen are decoded: Figures 4 and 5 and Table 2 of Dimitri 2022."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.model_words import model_words
from neurostrata.core.records import check
from neurostrata.fusion.evaluation.baselines import MEAN_IMAGE, PCA
from neurostrata.report.data.layout import Experiment
from neurostrata.report.data.study import Study
from neurostrata.report.html.blocks import (
    Cell,
    Section,
    Table,
    Text,
    count,
    format_number,
    frame_table,
    join_words,
    model_name,
)
from neurostrata.report.html.page import Page

BASELINES = (MEAN_IMAGE, PCA)
NEEDED = ("subject", "fold", "method", "modality", "mse")


def model_method(frame: pd.DataFrame, config: Mapping[str, Any]) -> str:
    """Return which of the methods in ``reconstruction.tsv`` is the experiment's own model."""
    methods = list(dict.fromkeys(frame["method"]))
    if config["model"] in methods:
        return config["model"]
    return next((method for method in methods if method not in BASELINES), methods[0])


def ordered_methods(frame: pd.DataFrame, config: Mapping[str, Any]) -> list[str]:
    """Return the methods, the experiment's model first."""
    first = model_method(frame, config)
    return [first] + [method for method in dict.fromkeys(frame["method"]) if method != first]


def modality_order(frame: pd.DataFrame, config: Mapping[str, Any]) -> list[str]:
    """Return the modalities in the order of the configuration."""
    found = [str(modality) for modality in dict.fromkeys(frame["modality"])]
    configured = [str(m) for m in config["modalities"] if m in found]
    return configured + [modality for modality in found if modality not in configured]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


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
        frame = page.study.table(experiment.file("reconstruction.tsv"), columns=NEEDED)
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
                    f"#{_key(experiment.name)}" if position == 0 else "",
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
                cells.append(Cell(mean_sd(part), strong=strong))
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


def _key(name: str) -> str:
    from neurostrata.report.html.blocks import anchor

    return f"experiment-{anchor(name)}"


def decoding_section(page: Page) -> Section:
    """Table 2 over all experiments."""
    section = Section("decoding", "Decoding of unseen people")
    caption = (
        "Mean ± standard deviation over test people of all folds, images scaled to [0, 1]; in bold the best method of an "
        "experiment. NA: not among the inputs. As Table 2 of the paper, with two baselines that a reader needs: the mean image "
        "of the training people, and PCA with as many components as the training people allow."
    )
    tables = [
        reconstruction_table(
            page, "mse", "Mean squared error between real and decoded images", caption, True
        ),
        reconstruction_table(
            page,
            "cnr_normdiff",
            "Normalised difference of the median CNR of decoded and real images",
            "Mean ± standard deviation; 0 is best, negative means less contrast in the decoded image. Baselines that blur may "
            "stand near −1; the mean image has the same contrast for everybody.",
            True,
        ),
    ]
    if not any(tables):
        section.add(Text("No experiment has an evaluation on unseen people.", kind="note"))
        return section
    said = [text for _, config in page.study.experiments() for text in model_words(config, "decoding")]
    section.add(*[Text(text, kind="note") for text in dict.fromkeys(said)])
    section.add(*tables)
    return section


def experiment_decoding(page: Page, experiment: Experiment, config: Mapping[str, Any]) -> Section:
    """Figures 4 and 5, the baselines and the training curves of one experiment."""
    from neurostrata.report.figures.reconstruction import fold_figure, history_figure, methods_figure

    study = page.study
    section = Section(f"{_key(experiment.name)}-decoding", "Decoding of unseen people")
    why = "" if config["analyses"]["reconstruction"] else "analyses: reconstruction is off"
    _examples(page, section, experiment, config, why)
    path = experiment.file("reconstruction.tsv")
    frame = study.table(path, f"Decoding measures of {experiment.name}", NEEDED, why)
    if frame is None:
        section.add(Text(f"Not evaluated: {why or 'reconstruction.tsv was not made'}.", kind="note"))
    else:
        methods, modalities = ordered_methods(frame, config), modality_order(frame, config)
        own = frame[frame["method"] == methods[0]]
        n_folds = own["fold"].nunique()
        section.add(beats_baselines(frame, methods, modalities, page, path))
        if len(modalities) <= 8:
            section.add(
                page.figure(
                    fold_figure(own, modalities),
                    f"{experiment.name}/folds.svg",
                    f"{_capital(model_name(methods[0]))}: measures per fold",
                    f"{count(n_folds, 'fold')} of {count(int(own['subject'].nunique()), 'test person', 'test people')}. Boxes: median "
                    "and quartiles; red dotted: median over all folds; blue dotted: median absolute deviation (MAD). As Fig. 5.",
                    path,
                    alt=f"Box plots per fold of decoding measures, experiment {experiment.name}",
                )
            )
        if len(methods) > 1:
            section.add(
                page.figure(
                    methods_figure(frame, methods, modalities[:12]),
                    f"{experiment.name}/methods.svg",
                    "The model beside its baselines",
                    "Each dot is a test person; the line is the median.",
                    path,
                )
            )
        measures = [
            c
            for c in ("mse", "mse_mask", "abs_normdiff", "normdiff", "cnr_normdiff", "ssim", "psnr")
            if c in frame
        ]
        rows = [
            {"Method": model_name(method), "Decoded": modality.upper()}
            | {
                _MEASURES[measure]: mean_sd(
                    frame.loc[(frame["method"] == method) & (frame["modality"] == modality), measure]
                )
                for measure in measures
            }
            for modality in modalities
            for method in methods
        ]
        table = frame_table(
            pd.DataFrame(rows),
            "All measures",
            caption="Mean ± standard deviation over test people. PSNR in dB; SSIM: 1 is best.",
            sources=page.sources(path),
            folded=True,
        )
        table.numeric = [False, False, *[True] * len(measures)]
        section.add(table)
    histories, paths = {}, []
    for fold in experiment.folds():
        history = study.table(fold.history)
        if history is not None:
            histories[fold.name] = history
            paths.append(fold.history)
    drawing = history_figure({name: h for name, h in histories.items() if len(h) > 1})
    if drawing is not None:
        section.add(
            page.figure(
                drawing,
                f"{experiment.name}/training.svg",
                "Training curves",
                "Blue: the folds; black: the final model, trained on everybody, whose embeddings are clustered.",
                *paths[-1:],
                wide=False,
            )
        )
    return section


_MEASURES = {
    "mse": "MSE",
    "mse_mask": "MSE in the mask",
    "abs_normdiff": "|NormDiff|",
    "normdiff": "NormDiff",
    "cnr_normdiff": "NormDiff of CNR",
    "ssim": "SSIM",
    "psnr": "PSNR (dB)",
}


def better_baselines(
    frame: pd.DataFrame, methods: list[str], modalities: list[str]
) -> list[tuple[str, str, float, float]]:
    """Return where a baseline has the lower (or equal) median MSE: modality, baseline, its median, the model's."""
    medians = {
        (str(method), str(modality)): float(part.median())
        for (method, modality), part in frame.groupby(["method", "modality"])["mse"]
    }
    found = []
    for modality in modalities:
        ours = medians.get((methods[0], modality), np.nan)
        for other in methods[1:]:
            theirs = medians.get((other, modality), np.nan)
            if theirs <= ours:
                found.append((modality, other, theirs, ours))
    return found


def decoding_caution(study: Study, experiment: Experiment, config: Mapping[str, Any]) -> str:
    """Return a sentence for the verdict when the model decodes no better than the mean training image, else ""."""
    frame = study.table(experiment.file("reconstruction.tsv"), columns=NEEDED)
    if frame is None:
        return ""
    lost = better_baselines(frame, ordered_methods(frame, config), modality_order(frame, config))
    modalities = [modality.upper() for modality, other, _, _ in lost if other == "mean_image"]
    if not modalities:
        return ""
    return (
        f"The model decodes {join_words(modalities)} of people it has not seen no better than the mean training image does: its "
        "embedding then holds little that is particular to a person."
    )


def beats_baselines(
    frame: pd.DataFrame, methods: list[str], modalities: list[str], page: Page, path: Any
) -> Text | None:
    """Return a sentence on whether the model decodes unseen people better than its baselines do."""
    if len(methods) < 2:
        return None
    worse = [
        f"{modality.upper()} ({model_name(other)} {format_number(theirs, 2)}, "
        f"{model_name(methods[0])} {format_number(ours, 2)})"
        for modality, other, theirs, ours in better_baselines(frame, methods, modalities)
    ]
    if not worse:
        names = " and the ".join(model_name(method) for method in methods[1:])
        return Text(
            f"By median MSE the model decodes unseen people better than the {names}, in every modality.",
            kind="good",
            sources=page.sources(path),
        )
    return Text(
        "By median MSE a baseline decodes unseen people as well as or better than the model: "
        + "; ".join(worse)
        + ".",
        kind="warning",
        sources=page.sources(path),
    )


def _examples(
    page: Page, section: Section, experiment: Experiment, config: Mapping[str, Any], why: str
) -> None:
    from neurostrata.report.figures.reconstruction import example_figure

    what = f"Real and decoded slices of {experiment.name}"
    paths = [fold.examples for fold in experiment.folds() if fold.examples.is_file()]
    if not paths:
        page.study.note(what, why or f"experiments/{experiment.name}/fold-*/examples.npz was not made")
        return
    limit = int(page.study.config["report"]["example_people"])
    real: list[np.ndarray] = []
    decoded: list[np.ndarray] = []
    subjects: list[str] = []
    modalities: list[str] = []
    used = []
    for path in paths:
        check(path)
        try:
            with np.load(path, allow_pickle=False) as content:
                arrays = {name: content[name] for name in ("real", "decoded", "subjects", "modalities")}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            page.study.note(what, f"{page.study.relative(path)} cannot be read ({error})")
            continue
        if real and arrays["real"].shape[1:] != real[0].shape[1:]:
            continue
        modalities = [str(m) for m in arrays["modalities"]]
        for i in range(len(arrays["real"])):
            if len(subjects) < limit:
                real.append(arrays["real"][i : i + 1])
                decoded.append(arrays["decoded"][i : i + 1])
                subjects.append(str(arrays["subjects"][i]))
                used.append(path)
    if not real:
        return
    for start in range(0, len(modalities), 4):
        part = slice(start, start + 4)
        number = f"-{start // 4 + 1}" if len(modalities) > 4 else ""
        section.add(
            page.figure(
                example_figure(
                    np.concatenate(real)[:, part],
                    np.concatenate(decoded)[:, part],
                    subjects,
                    modalities[part],
                    limit,
                ),
                f"{experiment.name}/examples{number}.png",
                "Real and decoded images of people the model has not seen",
                "Mid slices; each real-decoded pair shares one grey scale, from 0 to the real image's maximum. As Fig. 4.",
                *dict.fromkeys(used),
            )
        )
