"""One network, its loss, its optimiser and its batches, as Lightning needs them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn
from torch.utils.data import Sampler

from neurostrata.core.errors import UserError
from neurostrata.fusion.data.missing import present
from neurostrata.fusion.data.volumes import VolumeSet
from neurostrata.fusion.models.interface import TrainingSettings
from neurostrata.fusion.training.checkpoints import process_number
from neurostrata.fusion.training.recorded import RecordedLosses


class EpochBatches(Sampler[list[int]]):
    """Shuffled batches whose order depends on seed and epoch only, so that a resumed run gives the same result.

    A last batch that is smaller than `smallest`, or cannot be divided, is left out (in the next epoch it holds other
    people). Of `shares` processes that train together, number `share` takes every `shares`-th person of a batch.
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
    """One network, its loss and its optimiser, as Lightning needs them."""

    def __init__(self, network: nn.Module, training: TrainingSettings, weight_decay: float) -> None:
        super().__init__()
        self.network = network
        self.training_settings = training
        self.weight_decay = weight_decay
        self.history: list[dict[str, float]] = []
        self.recorded: RecordedLosses | None = None  # set where steps can be recorded on a GPU
        self.validation_loss: float | None = None  # set after each epoch by BestWeights, which runs first
        self._epoch_losses: list[
            torch.Tensor
        ] = []  # of each step, the modalities' losses and whether anybody has them
        self._started = time.monotonic()  # Lightning leaves out on_train_epoch_start when it resumes

    def on_train_epoch_start(self) -> None:
        """Begin a row of the history."""
        self._epoch_losses = []
        self._started = time.monotonic()

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        """Return the mean of the modalities' losses, or their sum (``training.modality_losses``).

        Keras adds the losses of its outputs; the L2 term then weighs as it does there (:meth:`configure_optimizers`). The
        history has the mean with both, and so has the error of held-out people (:class:`BestWeights`), whose order is the same.

        Dropout is seeded by seed and step: data loaders draw from the same generator, how often depends on
        the number of their processes, and a resumed run must draw what an unbroken one does.
        """
        torch.manual_seed(
            self.training_settings.seed * 1_000_003 + self.global_step + 7919 * process_number()
        )
        losses = (self.recorded or self.network.losses)(batch)  # type: ignore[operator]
        there = (
            present(batch).any(dim=0).float() if len(losses) == batch.shape[1] else torch.ones_like(losses)
        )
        self._epoch_losses.append(torch.stack([losses.detach() * there, there]))
        mean = losses.mean()
        self.log("loss", mean, prog_bar=True, logger=False)
        return losses.sum() if self.training_settings.losses_are_added else mean

    def on_train_epoch_end(self) -> None:
        """Add a row to the history."""
        sums = torch.stack(self._epoch_losses).float().sum(dim=0)
        losses, steps = self.trainer.strategy.reduce(sums, reduce_op="sum").cpu()
        # a step with nobody who has a modality says nothing of its loss
        losses = (losses / steps.clamp_min(1)).tolist()
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
        """Write about twenty lines to a log file, where there is no progress bar."""
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
        """Return Adam, Keras's but for what the settings say; the L2 term is in the gradient, as in Keras."""
        adam = torch.optim.Adam(
            self.parameters(),
            lr=self.training_settings.learning_rate,
            eps=self.training_settings.adam_epsilon,
            weight_decay=self.weight_decay,
            fused=self.device.type == "cuda",
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
        """Resume the history."""
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
        """Resume from a checkpoint."""
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
        """Measure the weights that training starts from; a resumed run has them, and may be one that had stopped."""
        if not self.weights:
            self.keep(pl_module, 0)
        self._perhaps_stop(trainer, trainer.current_epoch)

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
        self._perhaps_stop(trainer, trainer.current_epoch + 1)

    def _perhaps_stop(self, trainer: lightning.Trainer, epochs: int) -> None:
        """Stop when none of the last epochs was better."""
        if epochs - self.best_epoch >= self.patience:
            trainer.should_stop = True
