"""The stages that evaluate a trained model: evaluate, robustness, baselines, relevance, synthesise, generate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.errors import UserError
from neurostrata.core.families import families_of
from neurostrata.core.files import atomic_directory, atomic_path, settings_record
from neurostrata.core.people import require_people
from neurostrata.core.tables import read_table, write_table
from neurostrata.fusion.commands import code_table
from neurostrata.fusion.data.experiment import ExperimentData
from neurostrata.fusion.training.machine import Machine


def evaluate(
    *,
    model: Path,
    volumes: list[Path],
    splits: Path,
    limits: Path,
    mask: Path,
    fold: str,
    output: Path,
    examples: Path,
    settings: dict[str, Any],
    threads: int = 1,
    gpus: int = 1,
    memory_mb: int = 8000,
) -> None:
    """Measure how well the test people of a fold are decoded, by the model and by two baselines.

    Writes a row per person, modality and method, and slices of a few people for the figure.
    """
    from neurostrata.fusion.evaluation.metrics import block_pairs
    from neurostrata.fusion.evaluation.reconstruction import (
        COLUMNS,
        decoders,
        evaluate_people,
        example_slices,
    )

    data = ExperimentData(settings, volumes=volumes, splits=splits, fold=fold, mask=mask, limits=limits)
    network = data.load_model(model, Machine(threads, gpus, memory_mb))
    test_people = data.people(data.tested("evaluate"))
    pairs = block_pairs(data.mask, seed=settings["seed"])
    methods = decoders(network, data.training_people(), data.mask)
    frame = evaluate_people(methods, test_people, data.mask, pairs, fold)
    with atomic_path(examples) as temporary:
        slices = example_slices(methods, test_people, data.mask)
        np.savez_compressed(temporary, cnr_pairs=pairs, **slices)  # type: ignore[arg-type]
    write_table(
        output,
        frame,
        columns=COLUMNS,
        Description="How well people whom the model has not seen are decoded (Dimitri 2022, 2.2).",
        Fold=fold,
        Model=network.name,
        ContrastPairs=len(pairs),
        Settings=settings_record(settings),
    )


def robustness(
    *,
    model: Path,
    volumes: list[Path],
    splits: Path,
    limits: Path,
    mask: Path,
    fold: str,
    output: Path,
    settings: dict[str, Any],
    threads: int = 1,
    gpus: int = 1,
    memory_mb: int = 8000,
) -> None:
    """Hide each modality of a fold's test people in turn; measure how much codes and decoded images change."""
    from neurostrata.fusion.evaluation.baselines import PCA, fit_pca
    from neurostrata.fusion.evaluation.reconstruction import ROBUSTNESS_COLUMNS, hide_each

    data = ExperimentData(settings, volumes=volumes, splits=splits, fold=fold, mask=mask, limits=limits)
    network = data.load_model(model, Machine(threads, gpus, memory_mb))
    training_people = data.training_people()
    models = {network.name: network}
    if PCA not in models:
        models[PCA] = fit_pca(training_people, data.mask, network.code_size, network.seed)
    test_people = data.people(data.subjects("test"))
    write_table(
        output,
        hide_each(models, training_people.mean(), test_people, data.mask, fold),
        columns=ROBUSTNESS_COLUMNS,
        Description="What hiding a modality does to codes and decoded images of people whom the model has not seen.",
        **data.facts(network),
    )


def baselines(
    *,
    volumes: list[Path],
    splits: Path,
    limits: Path,
    mask: Path,
    regions: Path,
    fold: str,
    output: Path,
    settings: dict[str, Any],
    threads: int = 1,
) -> None:
    """Write the codes of linear baselines learned from a fold's training people, one table for each, to a folder."""
    from neurostrata.fusion.evaluation.baselines import DESCRIPTIONS, MAX_COMPONENTS, baseline_codes

    data = ExperimentData(
        settings, volumes=volumes, splits=splits, fold=fold, mask=mask, limits=limits, regions=regions
    )
    everybody = data.people(data.subjects())
    codes = baseline_codes(
        data.training_people(),
        everybody,
        data.mask,
        data.regions,
        settings["seed"],
        settings.get("components", MAX_COMPONENTS),
    )
    roles = data.roles(everybody.subjects)
    with atomic_directory(output) as folder:
        for name, values in codes.items():
            write_table(
                folder / f"{name}.tsv",
                code_table(values, everybody.subjects, roles),
                columns={"subject": "Person", "role": "train or test", "z0001": "First of the numbers"},
                Description=DESCRIPTIONS[name],
                **data.facts(),
            )


def relevance(
    *,
    model: Path,
    volumes: list[Path],
    splits: Path,
    limits: Path,
    fold: str,
    output: Path,
    weights: Path,
    settings: dict[str, Any],
    threads: int = 1,
    gpus: int = 1,
    memory_mb: int = 8000,
) -> None:
    """Write how relevant regions and modalities are for each test person and in the classifier (Arco 2023, Figs. 6, 7)."""
    from neurostrata.fusion.models.interface import RELEVANT

    data = ExperimentData(settings, volumes=volumes, splits=splits, fold=fold, limits=limits)
    network = data.load_model(model, Machine(threads, gpus, memory_mb))
    if not network.regions:
        raise UserError(f"{model}: '{network.name}' does not weigh regions")
    people = data.people(data.subjects("test"))
    tables = [network.relevance(batch, subjects) for subjects, batch in people.chunks()]
    write_table(
        output,
        pd.concat(tables, ignore_index=True).assign(fold=fold),
        {
            "subject": "A test person of the fold",
            "region": "Region (volumes/regions.tsv)",
            "modality": "Modality, or fused: all of them together",
            "features": f"Features whose attention mask is above {RELEVANT}",
            "mean_mask": "Mean of the attention mask over the features",
            "fold": "Fold",
        },
        Description="Relevance of regions and modalities for each person (Arco 2023, Fig. 6).",
        **data.facts(network),
    )
    write_table(
        weights,
        network.region_weights().assign(fold=fold),
        {
            "region": "Region (volumes/regions.tsv)",
            "modality": "Modality, or fused: their mean",
            "weight": "Mean absolute weight of the attention module's first layer",
            "fold": "Fold",
        },
        Description="How strongly the attention module's first layer listens to each region (Arco 2023, Fig. 7).",
        **data.facts(network),
    )


def synthesise(
    *,
    model: Path,
    volumes: list[Path],
    splits: Path,
    limits: Path,
    mask: Path,
    fold: str,
    output: Path,
    examples: Path,
    settings: dict[str, Any],
    threads: int = 1,
    gpus: int = 1,
    memory_mb: int = 8000,
) -> None:
    """Measure how well the test people's modalities are synthesised from every subset of inputs.

    Writes a row per person, method, subset and output, and slices of a few people for the figure.
    """
    from neurostrata.fusion.evaluation.synthesis import COLUMNS, evaluate_synthesis, example_syntheses

    data = ExperimentData(settings, volumes=volumes, splits=splits, fold=fold, mask=mask, limits=limits)
    network = data.load_model(model, Machine(threads, gpus, memory_mb))
    if not network.synthesises:
        raise UserError(f"{model}: '{network.name}' does not synthesise modalities")
    test_people = data.people(data.tested("synthesise"), incomplete=True)
    training_people = data.people(data.subjects("train"), incomplete=True)
    options = settings["synthesis"]
    frame = evaluate_synthesis(
        network, training_people, test_people, data.mask, fold, options, settings["seed"], threads
    )
    slices = example_syntheses(network, test_people, data.mask, options["all_subsets_up_to"])
    with atomic_path(examples) as temporary:
        np.savez_compressed(temporary, **slices)  # type: ignore[arg-type]
    write_table(
        output,
        frame,
        columns=COLUMNS,
        Description="How well modalities of unseen people are synthesised from others (Chartsias 2018, VI).",
        Fold=fold,
        Inputs=network.inputs,
        Outputs=network.outputs,
        Settings=settings_record(settings),
    )


def summarise_synthesis(
    *, tables: list[Path], people: Path, output: Path, comparisons: Path, settings: dict[str, Any]
) -> None:
    """Gather the folds' tables and compare the model with each baseline, person by person; `people` has their families."""
    from neurostrata.fusion.evaluation.synthesis import COLUMNS, COMPARISON_COLUMNS, compare_methods

    frames = [read_table(p, text=("subject", "fold", "method", "inputs", "output")) for p in tables]
    frame = pd.concat(frames, ignore_index=True)
    sheet = read_table(people, text=("subject", "family")).set_index("subject")
    require_people(people, sheet.index, frame["subject"].unique(), tables[0])
    write_table(
        output,
        frame,
        columns=COLUMNS,
        Description="How well modalities of unseen people are synthesised from others, all folds.",
        Settings=settings_record(settings),
    )
    write_table(
        comparisons,
        compare_methods(
            frame,
            settings["experiment"]["model"],
            dict(zip(sheet.index, families_of(sheet, sheet.index), strict=True)),
        ),
        columns=COMPARISON_COLUMNS,
        Description="Paired t-tests between the model and each baseline, relatives counted together, Holm-corrected within a measure.",
        Settings=settings_record(settings),
    )


def generate(
    *,
    model: Path,
    volumes: list[Path],
    splits: Path,
    limits: Path,
    mask: Path,
    output: Path,
    settings: dict[str, Any],
    threads: int = 1,
    memory_mb: int = 4000,
) -> None:
    """Write slices of draws from the final model's prior and of steps between two people (npz)."""
    from neurostrata.fusion.data.splits import FINAL_FOLD
    from neurostrata.fusion.evaluation.generation import generated_slices

    data = ExperimentData(settings, volumes=volumes, splits=splits, fold=FINAL_FOLD, mask=mask, limits=limits)
    network = data.load_model(model, Machine(threads, 0, memory_mb))
    slices = generated_slices(network, data.people(data.subjects()), data.mask, settings["seed"])
    with atomic_path(output) as temporary:
        np.savez_compressed(temporary, **slices)  # type: ignore[arg-type]
