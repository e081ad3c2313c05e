"""The training loop of all torch models: Lightning, resumable, the same result for the same seed."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sys
import time
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.plugins.environments import LightningEnvironment
from torch import nn
from torch.utils.data import DataLoader, Sampler

from neurostrata.core.errors import UserError
from neurostrata.fusion.data.volumes import VolumeSet
from neurostrata.fusion.models.interface import FusionModel, TrainingSettings
from neurostrata.fusion.training.machine import Machine
from neurostrata.stages import STAGES

#: Running averages of momentum 0.01 have forgotten 99% of their start after so many steps.
SETTLED_STEPS = 500
#: Memory that measuring batch normalisation's statistics may take.
SETTLING_BYTES = 4e9
#: With fewer training people than this nobody is held out.
FEWEST_FOR_VALIDATION = 10
#: Seconds between checkpoints; a killed job loses no more than these and one epoch.
CHECKPOINT_SECONDS = 20.0


class EpochBatches(Sampler[list[int]]):
    """Shuffled batches whose order depends on seed and epoch only, so that a resumed run goes on alike.

    A last batch that is smaller than `smallest`, or cannot be divided, is left out (other people are, the
    next epoch). Of `shares`
    processes that train together each takes every so manieth person of a batch, `share` being its number.
    """

    def __init__(
        self, people: int, size: int, smallest: int, seed: int, share: int = 0, shares: int = 1
    ) -> None:
        self.people, self.size, self.smallest, self.seed = people, size, smallest, seed
        self.share, self.shares = share, shares
        self.epoch = 0
        self.sampler = self  # Lightning calls set_epoch() on a batch sampler's `sampler`

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        full, rest = divmod(self.people, self.size)
        return full + int(rest >= self.smallest and rest > 0 and rest % self.shares == 0)

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.people)
        for batch in range(len(self)):
            yield order[batch * self.size : (batch + 1) * self.size][self.share :: self.shares].tolist()


class TrainingModule(lightning.LightningModule):
    """One network, its loss and its optimiser, as Lightning wants them."""

    def __init__(self, network: nn.Module, training: TrainingSettings, weight_decay: float) -> None:
        super().__init__()
        self.network = network
        self.training_settings = training
        self.weight_decay = weight_decay
        self.history: list[dict[str, float]] = []
        self.validation_loss: float | None = None  # set after each epoch by BestWeights, which runs first
        self._epoch_losses: list[torch.Tensor] = []
        self._started = time.monotonic()  # Lightning leaves out on_train_epoch_start when it resumes

    def on_train_epoch_start(self) -> None:
        """Begin a row of the history."""
        self._epoch_losses = []
        self._started = time.monotonic()

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        """Return the mean of the modalities' losses.

        Dropout is seeded by seed and step: data loaders draw from the same generator, how often depends on
        the number of their processes, and a resumed run must draw what an unbroken one does.
        """
        torch.manual_seed(
            self.training_settings.seed * 1_000_003 + self.global_step + 7919 * process_number()
        )
        losses = self.network.losses(batch)  # type: ignore[operator]
        self._epoch_losses.append(losses.detach())
        loss = losses.mean()
        self.log("loss", loss, prog_bar=True, logger=False)
        return loss

    def on_train_epoch_end(self) -> None:
        """Add a row to the history."""
        mean = torch.stack(self._epoch_losses).float().mean(dim=0)
        losses = self.trainer.strategy.reduce(mean, reduce_op="mean").cpu().tolist()
        if not np.isfinite(losses).all():
            raise UserError(
                f"training: the loss is not finite after epoch {self.current_epoch + 1}; "
                "lower training.learning_rate"
            )
        self.history.append(
            {
                "epoch": self.current_epoch + 1,
                "loss": float(np.mean(losses)),
                **{f"loss_{i}": value for i, value in enumerate(losses)},
                **({} if self.validation_loss is None else {"validation_loss": self.validation_loss}),
                "seconds": time.monotonic() - self._started,
            }
        )
        self._report()

    def _report(self) -> None:
        """Write a line now and then where there is no bar: about twenty in a log file, not thousands."""
        done, total = self.current_epoch + 1, self.training_settings.epochs
        if not sys.stderr.isatty() and (done == total or done % max(1, total // 20) == 0):
            row = self.history[-1]
            print(
                f"epoch {done}/{total}  loss {row['loss']:.5f}  {row['seconds']:.1f} s per epoch, "
                f"about {row['seconds'] * (total - done) / 60:.1f} min left",
                file=sys.stderr,
                flush=True,
            )

    def configure_optimizers(self) -> Any:
        """Return Adam with Keras's defaults; the L2 term is in the gradient, as Keras has it."""
        adam = torch.optim.Adam(
            self.parameters(),
            lr=self.training_settings.learning_rate,
            eps=1e-7,
            weight_decay=self.weight_decay,
        )
        if self.training_settings.schedule == "constant":
            return adam
        steps = int(self.trainer.estimated_stepping_batches)
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(1, steps))
        return [adam], [{"scheduler": falling, "interval": "step"}]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the history with the weights."""
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the history up again."""
        self.history = list(checkpoint["history"])


class BestWeights(Callback):
    """Keep the weights with the least error on held-out people, and stop when they get no better.

    The weights before the first step count too (epoch 0).

    Parameters
    ----------
    held_out
        People that the network does not learn from.
    patience
        Epochs without a better error after which training stops.
    batch_size
        People decoded at once.
    """

    def __init__(self, held_out: VolumeSet, patience: int, batch_size: int) -> None:
        self.held_out, self.patience, self.batch_size = held_out, patience, batch_size
        self.best, self.best_epoch = float("inf"), 0
        self.weights: dict[str, torch.Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"best": self.best, "best_epoch": self.best_epoch, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.best, self.best_epoch = state_dict["best"], state_dict["best_epoch"]
        self.weights = state_dict["weights"]

    def error(self, network: nn.Module, device: torch.device) -> float:
        """Return the mean loss over the held-out people, dropout off."""
        network.eval()
        total = 0.0
        with torch.no_grad():
            for start in range(0, len(self.held_out), self.batch_size):
                stop = min(start + self.batch_size, len(self.held_out))
                volumes = torch.from_numpy(np.stack([self.held_out[i] for i in range(start, stop)]))
                total += float(network.losses(volumes.to(device)).mean()) * (stop - start)  # type: ignore[operator]
        network.train()
        return total / len(self.held_out)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Measure the weights that training starts from."""
        if not self.weights:  # a resumed run has them
            self.keep(pl_module, 0)

    def keep(self, pl_module: Any, epoch: int) -> float:
        """Measure the weights and keep them if they are the best so far; return their error."""
        error = self.error(pl_module.network, pl_module.device)
        if error < self.best or not self.weights:
            self.best, self.best_epoch = error, epoch
            self.weights = {k: v.detach().cpu().clone() for k, v in pl_module.network.state_dict().items()}
        return error

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Measure, keep, and perhaps stop."""
        module: Any = pl_module
        module.validation_loss = self.keep(module, trainer.current_epoch + 1)
        if trainer.current_epoch + 1 - self.best_epoch >= self.patience:
            trainer.should_stop = True


class RegularCheckpoint(ModelCheckpoint):
    """A checkpoint after an epoch, but not within seconds of the one before: it must not cost more than it saves."""

    def __init__(self, folder: Path, seconds: float = CHECKPOINT_SECONDS) -> None:
        super().__init__(folder, filename="last", every_n_epochs=1, enable_version_counter=False)
        self.seconds, self.saved = seconds, -float("inf")

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save when it is time."""
        if time.monotonic() - self.saved >= self.seconds:
            super().on_train_epoch_end(trainer, pl_module)
            self.saved = time.monotonic()


def run_digest(model: FusionModel, people: VolumeSet, training: TrainingSettings) -> str:
    """Return a digest of all that the weights depend on; a checkpoint with another one is not resumed."""
    files = []
    for volume in people.volumes:
        name = getattr(volume.array, "filename", None)
        state = Path(name).stat() if name else None
        files.append(
            [volume.name, str(volume.array.shape), *([state.st_size, state.st_mtime_ns] if state else [])]
        )
    schedule = getattr(training, "schedule", "constant")
    facts = {
        "model": model.name,
        "version": STAGES["train"].version,
        "options": model.options,
        "shape": model.shape,
        "seed": [model.seed, training.seed],
        # Not every model can be trained with another precision or schedule.
        "training": [training.batch_size, training.learning_rate, getattr(training, "precision", None)],
        # A constant rate can go on for more epochs than were planned at first.
        "schedule": None if schedule == "constant" else [schedule, training.epochs],
        "people": people.subjects,
        "labels": people.labels,
        "groups": people.groups,
        "regions": None if people.regions is None else hashlib.sha256(people.regions.tobytes()).hexdigest(),
        "scaling": people.scaling,
        "files": files,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _is_whole(checkpoint: Path) -> bool:
    """Tell whether a checkpoint is there and undamaged: it is a zip file, whose every part has a checksum."""
    if not checkpoint.is_file():
        return False
    try:
        with zipfile.ZipFile(checkpoint) as parts:
            if parts.testzip() is None:
                return True
    except Exception as error:  # whatever is wrong with it
        print(f"{checkpoint}: {error}", file=sys.stderr)
    print(f"{checkpoint}: is damaged; the training begins anew", file=sys.stderr, flush=True)
    return False


def _resumable(folder: Path, digest: str, epochs: int) -> Path | None:
    """Return the checkpoint to go on from; a folder that belongs to another run is emptied."""
    last, label = folder / "last.ckpt", folder / "run.json"
    try:
        known = json.loads(label.read_text())["digest"] == digest
    except (OSError, ValueError, KeyError):
        known = False
    if known and _is_whole(last):
        try:
            state = torch.load(last, map_location="cpu", weights_only=True)
            if state["epoch"] < epochs:
                return last
        except Exception as error:  # of whatever kind: a checkpoint that something wrote over
            reason = " ".join(str(error).split())[:120]
            print(f"training: {last} cannot be read ({reason}); training begins anew", file=sys.stderr)
    if process_number() == 0:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        label.write_text(json.dumps({"digest": digest}))
    return None


def process_number() -> int:
    """Return which of the processes that train together this is; the first starts the others and goes on alone."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def settle_batch_norm(network: nn.Module, volumes: torch.Tensor) -> None:
    """Set the means and variances of batch normalisation to those of these volumes, layer after layer.

    Running averages lag behind the weights. Where the code differs little between people compared with
    its mean (one value per person and channel on a 32x32x32 grid), that lag, or a variance that is 1% off
    in an earlier layer, moves it by more than people differ. So each layer is measured with the layers
    before it as they will be used: all in one batch, in evaluation mode, variances with ddof 0.

    Parameters
    ----------
    network
        Left in evaluation mode.
    volumes
        (people, modalities, x, y, z), on the network's device.
    """

    def measure(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        variance, mean = torch.var_mean(inputs[0].float(), dim=(0, 2, 3, 4), correction=0)
        layer.running_mean.copy_(mean)  # type: ignore[operator]
        layer.running_var.copy_(variance)  # type: ignore[operator]

    network.eval()
    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm3d)]
    hooks = [layer.register_forward_pre_hook(measure) for layer in layers]
    with torch.no_grad():
        network(volumes)
    for hook in hooks:
        hook.remove()


def settling_sample(people: VolumeSet, seed: int, room: float = SETTLING_BYTES) -> list[int]:
    """Return whom to measure batch normalisation on: everybody, or as many (drawn) as fit in `room` bytes."""
    number = max(2, int(room / (12 * people.nbytes / len(people))))  # about 12 copies while it runs
    if len(people) <= number:
        return list(range(len(people)))
    return sorted(np.random.default_rng(seed).permutation(len(people))[:number].tolist())


def hold_out(people: VolumeSet, share: float, seed: int) -> tuple[VolumeSet, VolumeSet | None]:
    """Divide training people into those who are learned from and those who tell when to stop.

    Parameters
    ----------
    people
        The training people of a fold.
    share
        Share of them to hold out, at least two; 0: nobody.
    seed
        Of the draw.

    Returns
    -------
    learning : VolumeSet
    held_out : VolumeSet or None
        None with fewer than :data:`FEWEST_FOR_VALIDATION` people.
    """
    if len(people) < FEWEST_FOR_VALIDATION or share == 0:
        return people, None
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
        Whose network it is.
    network
        Has ``losses(volumes)``; left in evaluation mode on the training device.
    smallest
        The fewest people that a training step can have.
    people
        The training people.
    training
        Settings.
    machine
        Threads, memory and GPUs.
    checkpoints
        Folder of checkpoints. One of the same run (settings, people, volumes) is resumed, any other is
        removed; the folder is emptied after the last epoch. None: no checkpoints.
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
    if training.batch_size < smallest or len(people) < smallest:
        raise UserError(
            f"training.batch_size: {min(training.batch_size, len(people))} people per step give batch "
            f"normalisation one value per channel on a grid of {'x'.join(map(str, model.shape))}; set it to "
            f"{smallest} or more (and train on as many people)"
        )
    processes = max(1, machine.accelerators)
    if training.batch_size < processes * smallest or training.batch_size % processes:
        raise UserError(
            f"training.batch_size: a batch of {training.batch_size} cannot be divided evenly between {processes} "
            f"GPUs with at least {smallest} people each; set it to a multiple of {processes * smallest}, or ask "
            "for fewer GPUs"
        )
    torch.set_num_threads(max(1, machine.threads // processes))
    device = machine.device
    on_gpu = device == "cuda"
    if people.nbytes * processes <= machine.volume_bytes:
        people.load()
        workers = 0
    else:
        workers = machine.readers
    batches = EpochBatches(
        len(people), training.batch_size, processes * smallest, training.seed, process_number(), processes
    )
    loader: DataLoader = DataLoader(
        people,  # type: ignore[arg-type]
        batch_sampler=batches,
        num_workers=workers,
        pin_memory=on_gpu,
        persistent_workers=workers > 0,
    )
    module = TrainingModule(network, training, float(model.options.get("weight_decay", 0.0)))
    callbacks: list[Callback] = [TQDMProgressBar()] if sys.stderr.isatty() else []
    best = None
    if held_out is not None:
        best = BestWeights(held_out, patience, max(training.batch_size, 4))
        callbacks.append(best)
    resume = None
    if checkpoints is not None:
        resume = _resumable(checkpoints, run_digest(model, people, training), training.epochs)
        callbacks.append(RegularCheckpoint(checkpoints))
        if resume:
            print(f"training: going on from {resume}", file=sys.stderr)
    if training.compile and on_gpu:
        network.compile()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # Each is about a choice made here: few workers, our own processes under Slurm, padding by torch.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*Checkpoint directory.*exists.*")
        warnings.filterwarnings("ignore", message=".*padding='same'.*")
        warnings.filterwarnings("ignore", message=".*srun.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
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
            enable_checkpointing=checkpoints is not None,
            enable_model_summary=False,
            enable_progress_bar=sys.stderr.isatty(),
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
        )
        network.train()
        trainer.fit(module, loader, ckpt_path=resume)
    if process_number() > 0:
        sys.exit(0)  # its work is done: the first process has the same weights
    stopped_early = best is not None and len(module.history) - best.best_epoch >= patience
    if (
        len(module.history) != training.epochs and not stopped_early
    ):  # whatever stopped it: no half-trained model may pass as whole
        raise RuntimeError(f"training stopped after {len(module.history)} of {training.epochs} epochs")
    if best is not None:
        network.load_state_dict(best.weights)
    if any(isinstance(layer, nn.BatchNorm3d) for layer in network.modules()):
        wanted = training.batch_norm_statistics
        lagging = len(batches) * training.epochs < SETTLED_STEPS or smallest > 1
        if wanted == "training" or (wanted == "auto" and lagging):
            sample = settling_sample(people, training.seed)
            volumes = torch.from_numpy(np.stack([people[index] for index in sample]))
            settle_batch_norm(network.to(device), volumes.to(device))
    network.eval()
    if checkpoints is not None:
        shutil.rmtree(checkpoints, ignore_errors=True)
    history = pd.DataFrame(module.history)
    if best is not None:
        history["best_epoch"] = best.best_epoch
    return history.rename(columns={f"loss_{i}": f"loss_{name}" for i, name in enumerate(model.modalities)})
