"""Results that only some models have: classification, relevant regions, synthesis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from neurostrata.imaging.images.io import UNREADABLE, read_voxels
from neurostrata.report.data.layout import Experiment
from neurostrata.report.html.blocks import Cell, Section, Table, Text, format_number, model_name
from neurostrata.report.html.page import Page
from neurostrata.report.text.features import FEATURE_NAMES, feature_name

#: Measures of classification.tsv as Arco 2023, Table 2, has them.
MEASURES = {
    "balanced_accuracy": "Balanced accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "precision": "Precision",
    "f1": "F1",
    "auc": "AUC",
}


def models_section(page: Page, experiment: Experiment, config: Mapping[str, Any]) -> Section:
    """Return the experiment's section on classification, relevance and synthesis; empty without any of them."""
    section = Section(f"models-{experiment.name}", "Classes, regions, synthesis")
    titles = []
    for title, add in (("classes", _classification), ("regions", _relevance), ("synthesis", _synthesis)):
        before = len(section.blocks)
        add(page, section, experiment, config)
        titles += [title] if len(section.blocks) > before else []
    section.title = ", ".join(titles).capitalize()
    return section


def _classification(page: Page, section: Section, experiment: Experiment, config: Mapping[str, Any]) -> None:
    path = experiment.file("classification.tsv")
    frame = (
        page.study.table(path, columns=("features", "target", "measure", "mean", "sd"))
        if path.is_file()
        else None
    )
    if frame is None:
        return
    curves = page.study.table(experiment.file("roc.tsv"), columns=("features", "fold"))
    label = config.get("label") or {"column": None}
    for target, part in frame.groupby("target", sort=False):
        positive = (
            f" Sensitivity, precision and F1 are of {label['classes'][1]}."
            if label["column"] == target
            else ""
        )
        rows = []
        for features, own in part.groupby("features", sort=False):
            values = own.set_index("measure")
            cells = [Cell(feature_name(str(features)))]
            for measure in MEASURES:
                mean, sd = values.loc[measure, "mean"], values.loc[measure, "sd"]
                text = format_number(mean, 2)
                cells.append(Cell(text if pd.isna(sd) else f"{text} ± {format_number(sd, 2)}"))
            rows.append(cells)
        section.add(
            Table(
                title=f"Classification of {target}",
                columns=["From", *MEASURES.values()],
                rows=rows,
                numeric=[False, *[True] * len(MEASURES)],
                caption="Mean ± standard deviation over folds, people whom the models have not seen (Arco 2023, Table 2)."
                + positive,
                sources=page.sources(path),
            )
        )
        # a target has no curve where no fold tested people of both classes
        drawn = None if curves is None else curves[curves["target"] == target]
        if drawn is not None and len(drawn):
            from neurostrata.report.figures.models import roc_figure

            section.add(
                page.figure(
                    roc_figure(drawn, FEATURE_NAMES),
                    f"{experiment.name}/roc-{target}.svg",
                    f"ROC curves for {target}",
                    "Thin: folds; thick: their mean; dotted: chance (Arco 2023, Fig. 5).",
                    experiment.file("roc.tsv"),
                )
            )


def _relevance(page: Page, section: Section, experiment: Experiment, config: Mapping[str, Any]) -> None:
    folds = [fold for fold in experiment.folds() if (fold.folder / "relevance.tsv").is_file()]
    if not folds:
        return
    paths = (
        [fold.folder / "relevance.tsv" for fold in folds],
        [fold.folder / "attention_weights.tsv" for fold in folds],
    )
    tables = [[page.study.table(path) for path in kind] for kind in paths]
    try:
        regions = read_voxels(page.study.tree.volume("regions.nii.gz"))[0].astype(int)
        brain = read_voxels(page.study.tree.volume("mask.nii.gz"))[0]
    except UNREADABLE as error:
        page.study.note(
            f"Relevant regions of {experiment.name}", f"volumes/regions.nii.gz cannot be read ({error})"
        )
        return
    from neurostrata.report.figures.models import region_figure

    texts = (
        ("features", "relevance", "Relevant regions", "relevant features per person (number)",
         "Mean over test people of the number of features whose attention mask is above 0.9 (Arco 2023, Fig. 6, which shows one person)."),
        ("weight", "attention", "Regions by the weight of the classifier", "mean absolute weight",
         "Mean absolute weight of the attention module's first layer, mean over folds (Arco 2023, Fig. 7). Weak evidence: regions "
         "that the classifier does not need also have weights."),
    )  # fmt: skip
    for parts, kind, (column, name, title, label, caption) in zip(tables, paths, texts):
        found = [part for part in parts if part is not None]
        if not found:
            continue
        if column == "features" and not pd.concat(found)[column].any():
            section.add(
                Text(
                    "No feature of any test person has an attention mask above 0.9; the maps show the mean mask."
                )
            )
            column, label = "mean_mask", "mean attention mask"
            caption = "Mean over test people and features of the attention mask (Arco 2023, Fig. 6, counts those above 0.9)."
        mean = pd.concat(found).groupby(["modality", "region"], sort=False)[column].mean()
        values = {
            str(modality).upper() if modality != "fused" else "fused": {
                int(r): float(v) for r, v in own.droplevel(0).items()
            }
            for modality, own in mean.groupby(level=0, sort=False)
        }
        section.add(
            page.figure(
                region_figure(values, regions, brain, label),
                f"{experiment.name}/{name}.svg",
                title,
                caption,
                *kind,
                picture=True,
            )
        )


def _synthesis(page: Page, section: Section, experiment: Experiment, config: Mapping[str, Any]) -> None:
    path = experiment.file("synthesis.tsv")
    if not path.is_file():
        return
    frame = page.study.table(path, columns=("method", "inputs", "output", "mse"))
    if frame is None:
        return
    # an experiment that is no longer configured: the one method that is not a baseline
    model = config["model"] or next(m for m in dict.fromkeys(frame["method"]) if m not in FEATURE_NAMES)
    section.add(
        _synthesis_table(page, experiment, frame, model),
        Text(
            "These errors ignore the unknown scale of the images; the table of reconstruction above does not.",
            kind="note",
        ),
    )
    paths = [fold.folder / "synthesis_examples.npz" for fold in experiment.folds()]
    examples = next((path for path in paths if path.is_file()), None)
    if examples is None:
        return
    arrays = page.study.arrays(examples, f"Synthesised images of {experiment.name}")
    if not arrays:
        return
    from neurostrata.report.figures.models import synthesis_figure

    section.add(
        page.figure(
            synthesis_figure(
                arrays["real"][0][:, 2],
                arrays["synthesised"][0][:, 2],
                [str(i) for i in arrays["inputs"]],
                [str(o) for o in arrays["output"]],
                [str(m) for m in arrays["modalities"]],
                str(arrays["subjects"][0]),
            ),
            f"{experiment.name}/synthesis.svg",
            "Synthesised images of a person the model has not seen",
            "Axial mid slices, each in units of its mean, one grey scale per row (Chartsias 2018, Fig. 6).",
            examples,
            alt=f"Axial slices of sub-{arrays['subjects'][0]}: real, and synthesised from each set of inputs",
            picture=True,
        )
    )


def _synthesis_table(page: Page, experiment: Experiment, frame: pd.DataFrame, model: str) -> Table:
    tests_path = experiment.file("synthesis_comparisons.tsv")
    tests = page.study.table(tests_path, columns=("inputs", "output", "p_holm"))
    different = set()
    if tests is not None:
        marked = tests[(tests["measure"] == "mse") & (tests["p_holm"] < 0.05)]
        different = set(zip(marked["inputs"], marked["output"], marked["baseline"]))
    methods = [model] + [m for m in dict.fromkeys(frame["method"]) if m != model]
    rows, groups = [], []
    for output, of_output in frame.groupby("output", sort=False):
        for position, (inputs, part) in enumerate(of_output.groupby("inputs", sort=False)):
            cells = [
                Cell(str(output).upper() if position == 0 else ""),
                Cell(str(inputs).upper().replace("+", " + ")),
            ]
            means = part.groupby("method")["mse"].mean()
            for method in methods:
                values = part.loc[part["method"] == method, "mse"]
                if values.empty:
                    cells.append(Cell("n/a"))
                    continue
                text = f"{format_number(values.mean(), 3)} ({format_number(values.std(ddof=1), 2)})"
                text += " *" if (inputs, output, method) in different else ""
                cells.append(Cell(text, strong=bool(means[method] == means.min())))
            rows.append(cells)
            groups.append(position == 0)
    return Table(
        title="Error of synthesised images",
        columns=["Synthesised", "From", *[model_name(method) for method in methods]],
        rows=rows,
        numeric=[False, False, *[True] * len(methods)],
        caption=(
            "Mean (standard deviation) over people of the mean squared error, both images in units of their means, as Tables "
            "II and IV of Chartsias 2018; bold: the least. * differs from the model (paired t-test, relatives counted together, Holm-corrected, 5%)."
        ),
        groups=groups,
        sources=page.sources(experiment.file("synthesis.tsv"), tests_path),
    )
