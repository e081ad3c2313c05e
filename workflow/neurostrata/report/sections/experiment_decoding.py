"""How well one experiment decodes people whom its models have not seen (Figures 4 and 5 of Dimitri 2022)."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.records import check
from neurostrata.report.data.decoding import (
    RECONSTRUCTION_COLUMNS,
    better_baselines,
    modality_order,
    ordered_methods,
)
from neurostrata.report.data.layout import Experiment
from neurostrata.report.html.blocks import (
    Section,
    Text,
    count,
    experiment_anchor,
    format_number,
    frame_table,
    model_name,
)
from neurostrata.report.html.page import Page
from neurostrata.report.sections.decoding import mean_sd


def experiment_decoding(page: Page, experiment: Experiment, config: Mapping[str, Any]) -> Section:
    """Figures 4 and 5, the baselines and the training curves of one experiment."""
    from neurostrata.report.figures.reconstruction import fold_figure, history_figure, methods_figure

    study = page.study
    section = Section(f"{experiment_anchor(experiment.name)}-decoding", "Decoding of unseen people")
    why = "" if config["analyses"]["reconstruction"] else "analyses: reconstruction is off"
    _examples(page, section, experiment, config, why)
    path = experiment.file("reconstruction.tsv")
    frame = study.table(path, f"Decoding measures of {experiment.name}", RECONSTRUCTION_COLUMNS, why)
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


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
