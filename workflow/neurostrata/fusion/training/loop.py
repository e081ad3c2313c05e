"""The training loop of all torch models: Lightning, resumable, the same result for the same seed."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

import lightning
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.plugins.environments import LightningEnvironment
from torch import nn
from torch.utils.data import DataLoader

from neurostrata.core.errors import UserError
from neurostrata.fusion.data.splits import held_out_people
from neurostrata.fusion.data.volumes import VolumeSet
from neurostrata.fusion.models.interface import FusionModel, TrainingSettings
from neurostrata.fusion.training.batch_norm import (
    has_batch_norm,
    settle_batch_norm,
    settling_sample,
    to_be_measured,
)
from neurostrata.fusion.training.checkpoints import (
    RegularCheckpoint,
    process_number,
    resumable,
    run_digest,
)
from neurostrata.fusion.training.machine import Machine
from neurostrata.fusion.training.module import BestWeights, EpochBatches, TrainingModule
from neurostrata.fusion.training.recorded import RecordedLosses

#: Fewest training people of whom some are held out.
FEWEST_FOR_VALIDATION = 10


def hold_out(people: VolumeSet, share: float, seed: int) -> tuple[VolumeSet, VolumeSet | None]:
    """Divide training people into those who are learned from and those who tell when to stop.

    Parameters
    ----------
    people
        The training people of a fold.
    share
        Share of them to hold out, at least two; 0: nobody.
    seed
        Seed of the draw. Where people have strata (:attr:`VolumeSet.strata`), as many are held out of each and families stay
        together (:func:`neurostrata.fusion.data.splits.held_out_people`); else anybody is drawn, whatever their family.

    Returns
    -------
    learning : VolumeSet
    held_out : VolumeSet or None
        None with fewer than :data:`FEWEST_FOR_VALIDATION` people.

    Raises
    ------
    UserError
        When families are too unequal for strata.
    """
    if len(people) < FEWEST_FOR_VALIDATION or share == 0:
        return people, None
    if people.strata is not None:
        families = people.groups or {}
        table = pd.DataFrame(
            {
                "subject": people.subjects,
                "family": [families.get(subject) for subject in people.subjects],
                "stratum": [people.strata[subject] for subject in people.subjects],
            }
        )
        chosen = set(np.flatnonzero(held_out_people(table, share, ["stratum"], seed)).tolist())
    else:
        order = np.random.default_rng([seed, 77]).permutation(len(people))
        chosen = set(order[: max(2, round(share * len(people)))].tolist())
    return (
        people.subset([i for i in range(len(people)) if i not in chosen]),
        people.subset(sorted(chosen)),
    )


def train_network(
    model: FusionModel,
    network: nn.Module,
    smallest: int,
    people: VolumeSet,
    training: TrainingSettings,
    machine: Machine,
    checkpoints: Path | None = None,
    held_out: VolumeSet | None = None,
    patience: int = 20,
) -> pd.DataFrame:
    """Train a model's network in place.

    Parameters
    ----------
    model
        The model that the network belongs to.
    network
        Has ``losses(volumes)``; left in evaluation mode on the training device.
    smallest
        Fewest people in a training step.
    people
        The training people.
    training
        Settings.
    machine
        Threads, memory and GPUs.
    checkpoints
        Folder of checkpoints. One of the same run (settings, people, volumes) is resumed, any other is
        removed; the caller removes the folder once it has written the model. None: no checkpoints.
    held_out
        Training people that the network does not learn from: training stops when their error has not become
        less for `patience` epochs, and the weights are those with the least error. None: all epochs.
    patience
        See `held_out`.

    Returns
    -------
    DataFrame
        epoch, loss, loss per modality, seconds; with `held_out` also validation_loss.

    Raises
    ------
    UserError
        When the batches are too small for batch normalisation, or the loss is not finite.
    """
    model.maximum = people.maximum
    _check_size(model, smallest, len(people), training)
    processes = max(1, machine.accelerators)
    _check_division(smallest, training, processes)
    torch.set_num_threads(max(1, machine.threads // processes))
    device = machine.device
    on_gpu = device == "cuda"
    batches = EpochBatches(
        len(people), training.batch_size, processes * smallest, training.seed, process_number(), processes
    )
    loader = _loader(people, batches, machine, processes, on_gpu)
    module = TrainingModule(network, training, float(model.options.get("weight_decay", 0.0)))
    callbacks: list[Callback] = [TQDMProgressBar()] if sys.stderr.isatty() else []
    best = None
    if held_out is not None:
        best = BestWeights(held_out, patience, max(training.batch_size, 4))
        callbacks.append(best)
    resume = None
    if checkpoints is not None:
        resume = resumable(checkpoints, run_digest(model, people, training), training.epochs)
        callbacks.append(RegularCheckpoint(checkpoints))
        if resume:
            print(f"training: resumed from {resume}", file=sys.stderr)
    if training.compile and on_gpu:
        network.compile()
    elif on_gpu and processes == 1 and getattr(network, "recordable", False):
        module.recorded = RecordedLosses(network)
    _run(module, loader, callbacks, processes, on_gpu, resume)
    if process_number() > 0:
        sys.exit(0)  # its work is done: the first process has the same weights
    stopped_early = best is not None and len(module.history) - best.best_epoch >= patience
    if (
        len(module.history) != training.epochs and not stopped_early
    ):  # whatever stopped it: no half-trained model may pass as whole
        raise RuntimeError(f"training stopped after {len(module.history)} of {training.epochs} epochs")
    network.to(device)  # Lightning has taken it to the CPU
    if best is not None:
        network.load_state_dict(best.weights)
        if best.best_epoch == 0:
            print(
                f"training: held-out people were decoded no better after any of {len(module.history)} epochs than before the first; "
                "the weights that it started from are kept",
                file=sys.stderr,
                flush=True,
            )
    if has_batch_norm(network) and to_be_measured(training, len(batches) * training.epochs, smallest):
        sample = settling_sample(people, training.seed)
        volumes = torch.from_numpy(np.stack([people[index] for index in sample]))
        settle_batch_norm(network, volumes.to(device))
    network.eval()
    history = pd.DataFrame(module.history)
    if best is not None:
        history["best_epoch"] = best.best_epoch
    return history.rename(columns={f"loss_{i}": f"loss_{name}" for i, name in enumerate(model.modalities)})


def _check_size(model: FusionModel, smallest: int, people: int, training: TrainingSettings) -> None:
    """Refuse batches that are too small for the network."""
    if training.batch_size < smallest or people < smallest:
        raise UserError(
            f"training.batch_size: {min(training.batch_size, people)} people per step give batch "
            f"normalisation one value per channel on a grid of {'x'.join(map(str, model.shape))}; set it to "
            f"{smallest} or more (and train on as many people)"
        )


def _check_division(smallest: int, training: TrainingSettings, processes: int) -> None:
    """Refuse batches that cannot be divided evenly between processes."""
    if training.batch_size < processes * smallest or training.batch_size % processes:
        raise UserError(
            f"training.batch_size: a batch of {training.batch_size} cannot be divided evenly between {processes} "
            f"GPUs with at least {smallest} people each; set it to a multiple of {processes * smallest}, or ask "
            "for fewer GPUs"
        )


def _loader(
    people: VolumeSet, batches: EpochBatches, machine: Machine, processes: int, on_gpu: bool
) -> DataLoader:
    """Return batches of volumes, from memory where everybody fits, else read by processes of their own."""
    workers = machine.readers
    if people.nbytes * processes <= machine.volume_bytes:
        people.load()
        workers = 0
    return DataLoader(
        people,  # type: ignore[arg-type]
        batch_sampler=batches,
        num_workers=workers,
        pin_memory=on_gpu,
        persistent_workers=workers > 0,
    )


def _run(
    module: TrainingModule,
    loader: DataLoader,
    callbacks: list[Callback],
    processes: int,
    on_gpu: bool,
    resume: Path | None,
) -> None:
    """Let Lightning train a module, on one device or several."""
    training = module.training_settings
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # Each is about a choice made here: few workers, our own processes under Slurm, padding by torch.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*Checkpoint directory.*exists.*")
        warnings.filterwarnings("ignore", message=".*padding='same'.*")
        warnings.filterwarnings("ignore", message=".*srun.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        # Recorded steps are recorded on a stream of their own.
        warnings.filterwarnings("ignore", message=".*AccumulateGrad node.s stream.*")
        trainer = lightning.Trainer(
            max_epochs=training.epochs,
            accelerator="gpu" if on_gpu else "cpu",
            devices=processes,
            # Each GPU has a process of its own that takes its share of every batch; batch normalisation
            # sees the whole batch. The result is that of one GPU, but for rounding and for what dropout draws.
            strategy="ddp" if processes > 1 else "auto",
            sync_batchnorm=processes > 1 and on_gpu,
            # Lightning would else read a Slurm job's task numbers and take them for a multi-node run.
            plugins=[LightningEnvironment()],
            precision="bf16-mixed" if training.precision == "bf16" and on_gpu else "32-true",
            deterministic="warn" if training.deterministic else False,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=any(isinstance(c, RegularCheckpoint) for c in callbacks),
            enable_model_summary=False,
            enable_progress_bar=sys.stderr.isatty(),
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
        )
        module.network.train()
        trainer.fit(module, loader, ckpt_path=resume)
