"""The fusion stages: split, train, embed, evaluate, summarise-experiment."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.embeddings import PARTS
from neurostrata.core.errors import UserError
from neurostrata.core.files import (
    atomic_directory,
    atomic_path,
    read_json,
    settings_record,
    sidecar_path,
    write_json,
    write_sidecar,
)
from neurostrata.core.records import check
from neurostrata.core.tables import read_table, write_table
from neurostrata.fusion.data.splits import make_splits, people_of
from neurostrata.fusion.data.stage import (
    load_model,
    no_training,
    read_splits,
    study_people,
    training_settings,
)
from neurostrata.fusion.data.volumes import (
    fold_limits,
    open_volumes,
    read_labels,
    read_mask,
)
from neurostrata.fusion.training.machine import Machine


def split(*, subjects: Path, output: Path, settings: dict[str, Any]) -> None:
    """Divide the people of an experiment into training and test sets, families kept together.

    `subjects` has the columns subject, family, diagnosis, site (cells may be empty). `output` gets one row
    per person and fold; fold "all" has everybody in training.
    """
    people = read_table(subjects, text=("subject", "family", "diagnosis", "site"))
    splits = make_splits(people, settings["experiment"]["validation"], settings["seed"])
    counts = splits.groupby(["fold", "role"]).size()
    write_table(
        output,
        splits,
        columns={
            "subject": "Person",
            "fold": "Fold; in 'all' everybody trains",
            "role": "train or test",
        },
        Description="Who trains and who is tested; members of a family always share a role.",
        People={f"{fold} {role}": int(count) for (fold, role), count in counts.items()},
        Settings=settings_record(settings),
    )


def train(
    *,
    volumes: list[Path],
    splits: Path,
    mask: Path,
    fold: str,
    model: Path,
    history: Path,
    limits: Path,
    checkpoints: Path,
    settings: dict[str, Any],
    labels: Path | None = None,
    regions: Path | None = None,
    threads: int = 1,
    gpus: int = 1,
    memory_mb: int = 8000,
) -> None:
    """Train the experiment's model on the training people of one fold.

    Writes the model's bundle (folder), its history (TSV) and the intensity limits that its inputs were scaled
    by (JSON). A job that was killed goes on from its last checkpoint. Supervised models learn from the classes
    in `labels` (subject and the label's column) and look at `regions` (an image of region numbers).
    """
    from neurostrata.fusion.models.bundle import save_bundle
    from neurostrata.fusion.models.registry import build_model

    experiment = settings["experiment"]
    opened = open_volumes(volumes, experiment["modalities"])
    brain = read_mask(mask, opened[0].array.shape[1:], opened[0].info["affine"])
    training_people = people_of(read_splits(splits), fold, "train")
    scaling = fold_limits(opened, brain, training_people, experiment["limits"])
    people = study_people(opened, training_people, scaling, settings, labels, regions)
    network = build_model(
        experiment["model"], experiment["options"], people.modalities, people.shape, settings["seed"]
    )
    progress = network.fit(
        people, brain, training_settings(settings), Machine(threads, gpus, memory_mb), checkpoints
    )
    write_json(
        limits,
        {
            "Description": "Intensities are clipped to these limits and scaled to [0, 1].",
            "scope": experiment["limits"],
            "fold": fold,
            "people": len(training_people) if experiment["limits"] == "train" else "cohort",
            "limits": scaling,
        },
    )
    explained = {
        "region": "Region that a network was trained on; empty for the attention module",
        "part": "Inner fold of the training people that was left out, or 'all'; 'attention'",
        "epochs": "Passes over the training people until the network was finished",
        "epoch": "Pass over the training people",
        "loss": "Mean training loss over the modalities",
        **{f"loss_{name}": f"Training loss of {name}" for name in people.modalities},
        "validation_loss": "Loss over held-out training people, which decides when to stop",
        "best_epoch": "Epoch whose weights were kept; 0: those that training started from",
        "seconds": "Wall time of the epoch, or of the whole network",
        "components": "Principal components kept",
        "explained_variance": "Their share of the training people's variance",
    }
    write_table(
        history,
        progress,
        columns={column: text for column, text in explained.items() if column in progress},
        Description="How the training went.",
        Fold=fold,
        Settings=settings_record(settings),
    )
    save_bundle(
        model,
        network,
        scaling=scaling,
        affine=opened[0].info["affine"],
        training_people=training_people,
        settings=settings_record(settings),
    )


def embed(
    *,
    model: Path,
    volumes: list[Path],
    splits: Path,
    limits: Path,
    fold: str,
    output: Path,
    settings: dict[str, Any],
    threads: int = 1,
    gpus: int = 1,
    memory_mb: int = 8000,
) -> None:
    """Write the code of everybody in the splits: columns subject, role (in this fold), z0001, z0002, ...

    Where people may lack modalities `missing` names them; a supervised model adds `probability`.
    """
    from neurostrata.fusion.evaluation.reconstruction import chunks

    opened = open_volumes(volumes, settings["experiment"]["modalities"])
    network = load_model(model, opened)
    network.prepare(Machine(threads, gpus, memory_mb))
    table = read_splits(splits)
    members = people_of(table, fold)
    people = study_people(opened, members, read_json(limits)["limits"], settings)
    codes = np.concatenate([network.encode(batch) for _, batch in chunks(people)])
    if not np.isfinite(codes).all():
        raise UserError(f"{model}: the codes are not finite; train the model again (fold {fold})")
    names = [f"z{number + 1:04d}" for number in range(codes.shape[1])]
    roles = table[table["fold"] == fold].set_index("subject")["role"]
    frame = pd.DataFrame(codes, columns=names)
    frame.insert(0, "subject", members)
    frame.insert(1, "role", [roles[subject] for subject in members])
    further = {}
    if people.incomplete:
        lacking = [[n for n, has in zip(people.modalities, row) if not has] for row in people.present()]
        frame.insert(2, "missing", [", ".join(names) for names in lacking])
        further["missing"] = "Modalities that the person lacks; the code is guessed from the others"
    if network.supervised:
        predicted = np.concatenate([network.predict(batch) for _, batch in chunks(people)])
        classes = settings["experiment"]["label"]["classes"]
        if classes[1] < classes[0]:  # models speak for the class that sorts last
            predicted = 1 - predicted
        frame.insert(frame.columns.get_loc(names[0]), "probability", predicted)
        further["probability"] = f"Of the class {settings['experiment']['label']['classes'][1]}"
    write_table(
        output,
        frame,
        columns={
            "subject": "Person",
            "role": f"Whether the model of fold {fold} was trained on this person",
            **further,
            **({names[0]: f"First of {len(names)} numbers of the fused code"} if names else {}),
        },
        Description="The model's code in evaluation mode. Codes of different folds are not comparable.",
        Model=network.name,
        Modalities=network.modalities,
        **({} if None in network.code_modalities else {PARTS: network.code_modalities}),
        Fold=fold,
        Settings=settings_record(settings),
    )


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

    opened = open_volumes(volumes, settings["experiment"]["modalities"])
    brain = read_mask(mask, opened[0].array.shape[1:], opened[0].info["affine"])
    network = load_model(model, opened)
    network.prepare(Machine(threads, gpus, memory_mb))
    table, scaling = read_splits(splits), read_json(limits)["limits"]
    tested = people_of(table, fold, "test")
    if not tested:
        raise UserError(f"{splits}: fold '{fold}' has no test people, there is nothing to evaluate")
    training_people = study_people(opened, people_of(table, fold, "train"), scaling, settings)
    test_people = study_people(opened, tested, scaling, settings)
    pairs = block_pairs(brain, seed=settings["seed"])
    methods = decoders(
        network, training_people, brain, no_training(settings), Machine(threads, gpus, memory_mb)
    )
    frame = evaluate_people(methods, test_people, brain, pairs, fold)
    with atomic_path(examples) as temporary:
        np.savez_compressed(temporary, cnr_pairs=pairs, **example_slices(network, test_people, brain))  # type: ignore[arg-type]
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
    from neurostrata.fusion.evaluation.reconstruction import ROBUSTNESS_COLUMNS, hide_each
    from neurostrata.fusion.models.pca import PrincipalComponents

    opened = open_volumes(volumes, settings["experiment"]["modalities"])
    brain = read_mask(mask, opened[0].array.shape[1:], opened[0].info["affine"])
    machine = Machine(threads, gpus, memory_mb)
    network = load_model(model, opened)
    network.prepare(machine)
    table, scaling = read_splits(splits), read_json(limits)["limits"]
    training_people = study_people(opened, people_of(table, fold, "train"), scaling, settings)
    test_people = study_people(opened, people_of(table, fold, "test"), scaling, settings)
    models = {network.name: network}
    if network.name != PrincipalComponents.name:
        baseline = PrincipalComponents(
            {"max_components": network.code_size, "balance": False},
            network.modalities,
            network.shape,
            network.seed,
        )
        baseline.fit(training_people, brain, no_training(settings), machine)
        models[baseline.name] = baseline
    frame = hide_each(models, training_people.mean(), test_people, brain, fold)
    write_table(
        output,
        frame,
        columns=ROBUSTNESS_COLUMNS,
        Description="What hiding a modality does to codes and decoded images of people whom the model has not seen.",
        Fold=fold,
        Model=network.name,
        Settings=settings_record(settings),
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

    opened = open_volumes(volumes, settings["experiment"]["modalities"])
    brain = read_mask(mask, opened[0].array.shape[1:], opened[0].info["affine"])
    numbers = read_labels(regions, brain.shape, opened[0].info["affine"])
    table, scaling = read_splits(splits), read_json(limits)["limits"]
    training_people = study_people(opened, people_of(table, fold, "train"), scaling, settings)
    everybody = study_people(opened, people_of(table, fold), scaling, settings)
    roles = table[table["fold"] == fold].set_index("subject")["role"]
    with atomic_directory(output) as folder:
        components = settings.get("components", MAX_COMPONENTS)
        for name, codes in baseline_codes(
            training_people, everybody, brain, numbers, settings["seed"], components
        ).items():
            frame = pd.DataFrame(codes, columns=[f"z{number + 1:04d}" for number in range(codes.shape[1])])
            frame.insert(0, "subject", everybody.subjects)
            frame.insert(1, "role", [roles[subject] for subject in everybody.subjects])
            write_table(
                folder / f"{name}.tsv",
                frame,
                columns={"subject": "Person", "role": "train or test", "z0001": "First of the numbers"},
                Description=DESCRIPTIONS[name],
                Fold=fold,
                Settings=settings_record(settings),
            )


def summarise_experiment(
    *,
    folds: list[Path],
    final: Path,
    reconstruction: Path,
    embeddings: Path,
    model: Path,
    settings: dict[str, Any],
) -> None:
    """Put the folds' tables together, and take embeddings and model from the final fold.

    Models of different folds have unrelated codes: only the model trained on everybody is passed on.
    """
    from neurostrata.fusion.evaluation.reconstruction import COLUMNS

    tables = [
        read_table(folder / "reconstruction.tsv", text=("subject", "fold", "method", "modality"))
        for folder in folds
    ]
    frame = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(COLUMNS))
    write_table(
        reconstruction,
        frame,
        columns=COLUMNS,
        Description="How well people whom the models have not seen are decoded, all folds.",
        Folds=[folder.name for folder in folds],
        Settings=settings_record(settings),
    )
    copied = [
        final / "embeddings.tsv",
        final / "model" / "model.json",
        final / "model" / "weights.safetensors",
    ]
    for path in copied:
        check(path)  # a copy of a damaged file would have a record of its own
    with atomic_path(embeddings) as temporary:
        shutil.copyfile(final / "embeddings.tsv", temporary)
    facts = read_json(sidecar_path(final / "embeddings.tsv"))
    facts.pop("GeneratedBy", None)
    write_sidecar(embeddings, **facts)
    with atomic_directory(model) as folder:
        shutil.copytree(final / "model", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
