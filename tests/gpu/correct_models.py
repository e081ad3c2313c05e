"""Models on the GPU against the CPU, float32: losses, codes, decoded images, checkpoints, precision, determinism."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from checks import Machine, result
from toys import model, people, training

from neurostrata.fusion.data.volumes import VolumeSet
from neurostrata.fusion.models.interface import FusionModel
from neurostrata.fusion.training import checkpoints as checkpoint_module
from neurostrata.fusion.training import loop as loop_module
from neurostrata.fusion.training import module as training_module
from neurostrata.fusion.training.machine import Machine as Resources
from neurostrata.fusion.training.recorded import RecordedLosses

#: Without dropout: GPUs and CPUs draw different numbers from the same seed.
MODELS: dict[str, dict[str, Any]] = {
    "separable_autoencoder": {"dropout": 0.0},
    "residual_autoencoder": {"code_size": 2, "channels": [8, 16], "validation_fraction": 0},
    "shared_vae": {"latent_size": 8, "channels": [8, 16, 32, 64], "validation_fraction": 0},
    "latent_synthesis": {"channels": [8, 16, 32], "validation_fraction": 0, "slices_per_step": 8},
    "siamese_attention": {
        "parcels": 4,
        "linear_sizes": [32, 8],
        "inner_folds": 2,
        "validation_fraction": 0.2,
    },
}
#: Largest relative difference of a loss between two ways of training the separable autoencoder or the shared VAE.
LOSS = 2e-3
#: What rounding does to a training is measured: by so many on the CPU whose volumes are disturbed by as much as float32 rounds.
DISTURBED, DISTURBANCE = 4, 1e-7
#: A GPU may be so many times as far from the CPU as these are. By less than this (losses; codes) they do not differ reliably.
TIMES, LEAST_LOSS, LEAST_CODE = 10, 1e-6, 1e-5


@contextlib.contextmanager
def same_noise() -> Iterator[None]:
    """Let the noise of a variational autoencoder be drawn on the CPU, so that it is the same on any device."""

    def drawn(like: torch.Tensor) -> torch.Tensor:
        return torch.randn(like.shape).to(like.device)

    with mock.patch.object(torch, "randn_like", drawn):
        yield


@contextlib.contextmanager
def not_recorded() -> Iterator[None]:
    """Let the kernels of every step start one by one, not as a CUDA graph."""
    with mock.patch.object(loop_module, "RecordedLosses", return_value=None):
        yield


def disturbed(everybody: VolumeSet, number: int) -> VolumeSet:
    """Return the people with volumes that are multiplied by 1 + :data:`DISTURBANCE` times standard normal draws."""
    random = np.random.default_rng(number)
    volumes = []
    for volume in everybody.volumes:
        array = np.asarray(volume.array)
        array = (array * (1 + DISTURBANCE * random.standard_normal(array.shape))).astype(np.float32)
        volumes.append(dataclasses.replace(volume, array=array))
    return VolumeSet(
        volumes,
        everybody.subjects,
        everybody.scaling,
        labels=everybody.labels,
        regions=everybody.regions,
    )


def steps(where: Machine) -> int:
    """Return how many training steps are compared."""
    return 4 if where.short else 20


def fit(
    name: str,
    device: str,
    shape: tuple[int, int, int],
    number: int,
    folder: Path | None = None,
    *,
    noise_on_cpu: bool = True,
    record: bool = True,
    disturbance: int | None = None,
    **given: Any,
) -> tuple[FusionModel, Any, np.ndarray]:
    """Train a model, on disturbed volumes where a number is given for that; return it with its history and everybody's volumes."""
    everybody = people(number, shape)
    if disturbance is not None:
        everybody = disturbed(everybody, disturbance)
    options = {**MODELS[name], **given.pop("options", {})}
    network = model(name, shape, **options)
    settings = {"batch_size": number, "learning_rate": 1e-3, **given}
    resources = Resources(threads=torch.get_num_threads(), gpus=int(device == "cuda"))
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        if noise_on_cpu:
            stack.enter_context(same_noise())
        if not record or (noise_on_cpu and name == "shared_vae"):  # noise of the CPU cannot be recorded
            stack.enter_context(not_recorded())
        history = network.fit(everybody, everybody.volumes[0].mask, training(**settings), resources, folder)
    network.prepare(resources)
    return network, history, np.stack([everybody[i] for i in range(number)])


def relative(value: np.ndarray, reference: np.ndarray) -> float:
    """Return the length of the difference over that of the reference."""
    return float(np.linalg.norm(value - reference) / max(np.linalg.norm(reference), 1e-12))


def loss_table(history: Any) -> np.ndarray:
    """Return the losses of a history, shape (rows, columns)."""
    columns = [c for c in history.columns if "loss" in c and history[c].dtype.kind == "f"]
    return np.asarray(history[columns], dtype=float)


def differences(losses: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the largest difference in each row of losses, over the reference or a hundredth of its column's largest value."""
    scale = np.maximum(np.abs(reference), 0.01 * np.nanmax(np.abs(reference), axis=0))
    apart = np.abs(losses - reference) / scale
    return np.asarray(np.where(np.isnan(reference), 0, apart).max(axis=1))


def times_rounding(
    losses: np.ndarray, reference: np.ndarray, others: list[np.ndarray], *, steps: bool = True
) -> float:
    """Return how many times as far losses are from a reference as rounding moves it.

    Rounding grows from step to step, and how much depends on the model: where a gradient is nothing but rounding, Adam
    makes a step as long as any other. So each step's difference is divided by the largest of the disturbed trainings until then.

    Parameters
    ----------
    losses, reference
        (steps, columns).
    others
        Losses of the disturbed trainings, each like `reference`.
    steps
        Whether the rows are steps; otherwise each is a training of its own (of a region), and the largest of all counts.
    """
    usual = np.max([differences(other, reference) for other in others], axis=0)
    usual = np.maximum.accumulate(usual) if steps else usual.max()
    return float(np.max(differences(losses, reference) / np.maximum(usual, LEAST_LOSS)))


def one_model(name: str, where: Machine) -> list[dict[str, Any]]:
    """Compare 20 steps of one model, its codes and its decoded images."""
    shape = (16, 16, 16) if where.short and name != "separable_autoencoder" else (32, 32, 32)
    number = 12 if name == "siamese_attention" else 4
    more = {"epochs": steps(where), **({"batch_size": 4} if name == "siamese_attention" else {})}
    on_cpu, cpu_history, volumes = fit(name, "cpu", shape, number, **more)
    on_gpu, gpu_history, _ = fit(name, where.device, shape, number, **more)
    again = [
        fit(name, "cpu", shape, number, disturbance=disturbance, **more)
        for disturbance in range(1 if where.short else DISTURBED)
    ]
    mine, theirs = loss_table(gpu_history), loss_table(cpu_history)
    codes = on_cpu.encode(volumes)
    apart = relative(on_gpu.encode(volumes), codes)
    usual = max(relative(model.encode(volumes), codes) for model, _, _ in again)
    others = [loss_table(history) for _, history, _ in again]
    largest = [float(differences(losses, theirs).max()) for losses in (mine, *others)]
    unit = "times what rounding does"
    found = [
        result(
            f"{name}: losses of {steps(where)} steps",
            times_rounding(mine, theirs, others, steps=name != "siamese_attention"),
            TIMES,
            unit=unit,
            note=f"first {theirs[0, 0]:.5g}, last {theirs[-1, 0]:.5g}; largest relative difference {largest[0]:.2g}, "
            f"by rounding on the CPU {max(largest[1:]):.2g}",
        ),
        result(
            f"{name}: codes",
            apart / max(usual, LEAST_CODE),
            TIMES,
            unit=unit,
            note=f"relative difference {apart:.2g}, by rounding on the CPU {usual:.2g}",
        ),
    ]
    # the same weights on both devices: only the forward pass differs
    on_gpu.load_weights(on_cpu.weights())
    on_gpu.prepare(
        Resources(threads=torch.get_num_threads(), gpus=int(where.gpu))
    )  # some load them on the CPU
    found.append(
        result(
            f"{name}: codes of the same weights",
            relative(on_gpu.encode(volumes), on_cpu.encode(volumes)),
            1e-4,
            note="relative",
        )
    )
    if where.gpu:
        exact = on_gpu.encode(volumes)
        torch.backends.cudnn.allow_tf32 = True
        rounded = on_gpu.encode(volumes)
        torch.backends.cudnn.allow_tf32 = False
        found.append(
            result(
                f"{name}: codes with TF32, which is switched off", relative(rounded, exact), note="relative"
            )
        )
    if name == "latent_synthesis":
        pairs = (on_gpu.synthesise(volumes), on_cpu.synthesise(volumes))
    elif name == "siamese_attention":
        pairs = (np.asarray(on_gpu.predict(volumes)), np.asarray(on_cpu.predict(volumes)))
    else:
        pairs = (on_gpu.reconstruct(volumes), on_cpu.reconstruct(volumes))
    found.append(
        result(
            f"{name}: decoded images of the same weights",
            relative(*map(np.nan_to_num, pairs)),
            1e-4,
            note="relative",
        )
    )
    return found


class StoppedError(Exception):
    """Training was killed by the check."""


def _killed_and_resumed(first: str, second: str, shape: tuple[int, int, int], epochs: int) -> Any:
    """Kill a training half-way on one device and resume it on another; return the history."""
    start = training_module.TrainingModule.on_train_epoch_start

    def maybe_die(self: Any) -> None:
        if self.current_epoch == epochs // 2:
            raise StoppedError
        start(self)

    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(checkpoint_module, "CHECKPOINT_SECONDS", 0.0),
    ):
        place = Path(folder) / "checkpoints"
        with (
            mock.patch.object(checkpoint_module.RegularCheckpoint.__init__, "__defaults__", (0.0,)),
            mock.patch.object(training_module.TrainingModule, "on_train_epoch_start", maybe_die),
        ):
            try:
                fit("separable_autoencoder", first, shape, 4, place, epochs=epochs)
            except StoppedError:
                pass
            else:
                raise AssertionError("the training was not killed")
            if not (place / "last.ckpt").exists():
                raise AssertionError("the killed training left no checkpoint")
        return fit("separable_autoencoder", second, shape, 4, place, epochs=epochs)[1]


def checkpoints(where: Machine) -> list[dict[str, Any]]:
    """A training that is killed on one device and resumed on another ends like an unbroken one."""
    shape = (32, 32, 32)
    whole = fit("separable_autoencoder", "cpu", shape, 4, epochs=steps(where))[1]["loss"].to_numpy()
    found = []
    ways = {(where.device, "cpu"), ("cpu", where.device), (where.device, where.device)}
    for first, second in sorted(ways):
        history = _killed_and_resumed(first, second, shape, steps(where))
        if len(history) != steps(where):
            raise AssertionError(f"{len(history)} epochs instead of {steps(where)}")
        worst = float(np.max(np.abs(history["loss"].to_numpy() - whole) / whole))
        found.append(
            result(
                f"checkpoint from {first} resumed on {second}",
                worst,
                LOSS,
                note="largest relative difference",
            )
        )
    return found


def deterministic(where: Machine) -> list[dict[str, Any]]:
    """With training.deterministic the same seed gives the same weights to the last bit, dropout on."""
    found = []
    for name in ("separable_autoencoder", "shared_vae"):
        runs = []
        caught: set[str] = set()
        for _ in range(2):
            with warnings.catch_warnings(record=True) as noted:
                warnings.simplefilter("always")
                more = {"options": {"dropout": 0.1}} if name == "separable_autoencoder" else {}
                runs.append(
                    fit(name, where.device, (32, 32, 32), 4, deterministic=True, epochs=steps(where), **more)[
                        0
                    ].weights()
                )
            caught |= {
                str(w.message).split(" does not have")[0] for w in noted if "deterministic" in str(w.message)
            }
        different = sum(not np.array_equal(runs[0][key], runs[1][key]) for key in runs[0])
        found.append(
            result(
                f"{name}: tensors that differ between two deterministic trainings",
                different,
                0,
                note="; ".join(sorted(caught))[:300],
            )
        )
    return found


def recorded(where: Machine) -> list[dict[str, Any]]:
    """Steps that are recorded as CUDA graphs against the same steps kernel by kernel, dropout and noise drawn on the GPU."""
    found = []
    made: list[RecordedLosses] = []

    def kept(network: Any) -> RecordedLosses:
        made.append(RecordedLosses(network))
        return made[-1]

    for name in ("separable_autoencoder", "shared_vae"):
        more = {"options": {"dropout": 0.1}} if name == "separable_autoencoder" else {}
        # ten people in steps of four: two sizes of batches
        with mock.patch.object(loop_module, "RecordedLosses", kept):
            curves = [
                fit(
                    name, where.device, (32, 32, 32), 10, epochs=5, batch_size=4, noise_on_cpu=False, record=way, **more
                )[1]["loss"].to_numpy()
                for way in (True, False)
            ]  # fmt: skip
        if where.gpu and not (made and made[-1].recorded):
            raise AssertionError(f"{name}: no step was recorded")
        made.clear()
        worst = float(np.max(np.abs(curves[0] - curves[1]) / np.abs(curves[1])))
        found.append(
            result(
                f"{name}: losses of recorded steps",
                worst,
                LOSS,
                note=f"largest relative difference; {'equal' if np.array_equal(*curves) else 'not equal'} to the last bit",
            )
        )
    return found


def compiled(where: Machine) -> list[dict[str, Any]]:
    """bf16 and torch.compile against fp32: loss curves and codes of 40 steps at the paper's grid."""
    shape, number, epochs = ((32, 32, 32), 4, 2) if where.short or not where.gpu else ((128, 128, 96), 4, 40)
    curves, codes, times = {}, {}, {}
    for name, given in {
        "fp32": {"precision": "fp32", "compile": False},
        "bf16 compiled": {"precision": "bf16", "compile": True},
    }.items():
        start = time.perf_counter()
        trained, history, volumes = fit(
            "separable_autoencoder", where.device, shape, number, epochs=epochs, **given
        )
        times[name] = time.perf_counter() - start
        curves[name] = history["loss"].to_numpy()
        codes[name] = trained.encode(volumes)
        if name == "bf16 compiled":
            fresh = model("separable_autoencoder", shape, **MODELS["separable_autoencoder"])
            fresh.load_weights(trained.weights())
            fresh.prepare(Resources(threads=2, gpus=int(where.gpu)))
            codes["plain"] = fresh.encode(volumes)
    fall = curves["fp32"][0] - curves["fp32"][-1]
    gap = float(np.abs(curves["bf16 compiled"] - curves["fp32"]).max() / abs(fall))
    centred = {key: (value - value.mean(axis=0)).ravel() for key, value in codes.items()}
    return [
        result(
            "bf16 and compiled: loss curve against fp32",
            gap,
            0.05,
            note=f"largest difference as a share of the fall from {curves['fp32'][0]:.4f} to {curves['fp32'][-1]:.4f}",
            seconds=times,
        ),
        result(
            "bf16 and compiled: correlation of codes about their mean with fp32's",
            float(np.corrcoef(centred["fp32"], centred["bf16 compiled"])[0, 1]),
            note="two trainings",
        ),
        result(
            "compiled: codes against the same weights, not compiled",
            relative(codes["bf16 compiled"], codes["plain"]),
            1e-3,
            note="relative",
        ),
    ]


def device_mistakes(where: Machine) -> list[dict[str, Any]]:
    """Every network's loss and gradients with tensors without values: one that is left on the CPU is an error. Needs no GPU."""
    found = []
    for name in ("separable_autoencoder", "residual_autoencoder", "shared_vae", "latent_synthesis"):
        shape = (32, 32, 32)
        network = model(name, shape, **MODELS[name]).network.to("meta")  # type: ignore[attr-defined]
        error = None
        try:
            loss = network.train().losses(torch.empty((2, 2, *shape), device="meta"))
            if loss.device.type != "meta":
                error = f"the loss is on {loss.device}"
            loss.mean().backward()
        except Exception as problem:
            error = f"{type(problem).__name__}: {problem}"
        # a choice that depends on values cannot be made without them
        unknown = error is not None and ("meta tensors" in error or "DataDependent" in error)
        found.append(
            result(
                f"{name}: tensors left on the CPU",
                None if unknown else float(error is not None),
                None if unknown else 0,
                note=error or "",
            )
        )
    return found


CHECKS = {
    **{f"model {name}": (lambda where, name=name: one_model(name, where)) for name in MODELS},
    "checkpoints": checkpoints,
    "deterministic": deterministic,
    "recorded": recorded,
    "compiled": compiled,
    "device mistakes": device_mistakes,
}
