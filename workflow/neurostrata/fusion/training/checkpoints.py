"""Checkpoints of a training: when one is written, and whether a run may resume from one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
import zipfile
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from neurostrata.core.config import later_defaults, load_schema, without_later
from neurostrata.core.model_words import model_schema
from neurostrata.fusion.data.volumes import VolumeSet
from neurostrata.fusion.models.interface import FusionModel, TrainingSettings
from neurostrata.stages import STAGES

#: Seconds between checkpoints; a killed job loses no more than these and one epoch.
CHECKPOINT_SECONDS = 20.0


def process_number() -> int:
    """Return this process's number among those that train together; the first one starts the others and outlives them."""
    return int(os.environ.get("LOCAL_RANK", "0"))


class RegularCheckpoint(ModelCheckpoint):
    """A checkpoint after an epoch, but not within seconds of the last one, which would cost more time than it saves."""

    def __init__(self, folder: Path, seconds: float = CHECKPOINT_SECONDS) -> None:
        super().__init__(folder, filename="last", every_n_epochs=1, enable_version_counter=False)
        self.seconds, self.saved = seconds, -float("inf")

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save when the last checkpoint is old enough."""
        if time.monotonic() - self.saved >= self.seconds:
            super().on_train_epoch_end(trainer, pl_module)
            self.saved = time.monotonic()


def run_digest(model: FusionModel, people: VolumeSet, training: TrainingSettings) -> str:
    """Return a digest of everything that the weights depend on; a checkpoint with another digest is not resumed."""
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
        "options": without_later(model.options, model_schema(model.name)),
        "shape": model.shape,
        "seed": [model.seed, training.seed],
        # Not every model can be trained with another precision or schedule.
        "training": [training.batch_size, training.learning_rate, getattr(training, "precision", None)],
        # With a constant rate, training can be extended to more epochs.
        "schedule": None if schedule == "constant" else [schedule, training.epochs],
        "people": people.subjects,
        "labels": people.labels,
        "groups": people.groups,
        "regions": None if people.regions is None else hashlib.sha256(people.regions.tobytes()).hexdigest(),
        "scaling": people.scaling,
        "files": files,
    }
    # What a later release added, where it is not at its default: checkpoints of the releases before it stay valid.
    schema = load_schema("training")
    facts |= without_later({key: getattr(training, key) for key in later_defaults(schema)}, schema)
    if people.strata is not None:
        facts["strata"] = people.strata
    if people.maximum:
        facts["maximum"] = True
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _is_whole(checkpoint: Path) -> bool:
    """Tell whether a checkpoint is there and undamaged: it is a zip file with a checksum for every part."""
    if not checkpoint.is_file():
        return False
    try:
        with zipfile.ZipFile(checkpoint) as parts:
            if parts.testzip() is None:
                return True
    except Exception as error:  # of any kind
        print(f"{checkpoint}: {error}", file=sys.stderr)
    print(f"{checkpoint}: is damaged; training starts again", file=sys.stderr, flush=True)
    return False


def resumable(folder: Path, digest: str, epochs: int) -> Path | None:
    """Return the checkpoint to resume from; a folder that belongs to another run is emptied."""
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
        except Exception as error:  # of any kind: the checkpoint was overwritten by something else
            reason = " ".join(str(error).split())[:120]
            print(f"training: {last} cannot be read ({reason}); training starts again", file=sys.stderr)
    if process_number() == 0:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        label.write_text(json.dumps({"digest": digest}))
    return None
