"""Does it learn? Learning curves of the fusion models beside the mean image and PCA.

    python tests/learning/curves.py --device cuda --shape 64 64 48 --people 300 --epochs 200 --output DIR

Trains each model with and without `output_offset` (and skip connections) on simulated people, or with --data on
those of a finished study (STUDY/results/volumes; for the 60 real brains see tests/real/prepare_ixi.py). Loss, optimiser, batches and seeds are those of the workflow's training.
Volumes stay on the device. After every epoch the images of training and held-out people are decoded and
compared. Killed or out of --minutes, the same command goes on where it was; a finished model is not trained again.

Writes OUTPUT/curves.tsv (a row per model, epoch and modality) and OUTPUT/learning.tsv (a row per model and modality
at its last epoch, the mean image and PCA among them). With --table the latter's rows also go into a table that is kept.

How long: a step of 4 people at 32x32x32 takes 0.3 s of one CPU core, so that 40 epochs of 80 people are 4 minutes per model, and
half as much to decode at every epoch (--every 5 is enough). Work grows with the voxels: 6 times as much at 64x64x48, 48 times
at 128x128x96. No time on a GPU is known yet: give --minutes, which also stops in time where a machine is lent, and --parallel 4,
since one small network does not fill a GPU. Simulating 300 people takes 20 s of one core at 64x64x48, 2 minutes at
128x128x96 (3.8 GB).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "workflow"))

import people as cohorts
import torch

from neurostrata.core.config import fill_defaults, load_schema, section_defaults
from neurostrata.fusion.data.volumes import ModalityVolumes, VolumeSet, fold_limits
from neurostrata.fusion.evaluation.baselines import fit_pca
from neurostrata.fusion.evaluation.metrics import block_pairs
from neurostrata.fusion.evaluation.reconstruction import measure
from neurostrata.fusion.models.interface import TrainingSettings
from neurostrata.fusion.models.registry import build_model
from neurostrata.fusion.training.batch_norm import (
    has_batch_norm,
    settle_batch_norm,
    settling_sample,
    to_be_measured,
)
from neurostrata.fusion.training.module import EpochBatches, TrainingModule
from neurostrata.fusion.training.recorded import RecordedLosses

HERE = Path(__file__).resolve().parent
#: Seconds between saved states.
SAVED_EVERY = 30.0
#: Components of a code that clusters are sought in.
CLUSTERED = 10
#: Held-out people on whom the slow measures (NormDiff, CNR, SSIM) are taken.
MEASURED = 30
#: Columns that say which run a row is of.
RUN = [
    "data", "grid", "people", "held_out", "method", "skip_connections", "output_offset", "options", "batch_size",
    "learning_rate", "schedule", "precision", "seed", "device",
]  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """One model to train."""

    model: str
    offset: str
    skip: bool | None

    @property
    def name(self) -> str:
        """Name of its folder."""
        skip = "" if self.skip is None else f"-skip_{'yes' if self.skip else 'no'}"
        return f"{self.model}{skip}-offset_{self.offset}"


def models_of(arguments: argparse.Namespace) -> Iterator[Trained]:
    """Yield every combination that was asked for."""
    for model in arguments.models:
        skips = (
            [value == "yes" for value in arguments.skip_connections]
            if model == "separable_autoencoder"
            else [None]
        )
        for skip in skips:
            for offset in arguments.output_offset:
                yield Trained(model, offset, skip)


# ---------------------------------------------------------------------------------------- people


def cohort_folder(arguments: argparse.Namespace) -> tuple[Path, dict[str, Any]]:
    """Return where the simulated volumes are kept, and what tells whether they are there."""
    code = hashlib.sha256((HERE / "people.py").read_bytes()).hexdigest()[:12]
    facts = {"people": arguments.people, "shape": arguments.shape, "seed": arguments.seed, "code": code}
    name = f"neurostrata-people-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]}"
    return Path(arguments.cache or tempfile.gettempdir()) / name, facts


def prepare(arguments: argparse.Namespace) -> None:
    """Simulate the people, unless they are there."""
    folder, facts = cohort_folder(arguments)
    if arguments.data or (folder / "facts.json").is_file():
        return
    start = time.monotonic()
    cohort = cohorts.simulate(arguments.people, tuple(arguments.shape), arguments.seed, arguments.threads)
    cohorts.save(cohort, folder, facts)
    print(f"simulated {arguments.people} people in {time.monotonic() - start:.0f} s", flush=True)


@dataclass
class Data:
    """Everybody, scaled by the limits of the training people."""

    training: VolumeSet
    held_out: VolumeSet
    mask: np.ndarray
    strata: np.ndarray | None
    rows: np.ndarray  # of everybody in the cohort: training people, then those held out


def read(arguments: argparse.Namespace) -> Data:
    """Read the people and divide them; a stratum's people are divided in proportion by chance alone."""
    cohort = (
        cohorts.real(arguments.data, arguments.modalities)
        if arguments.data
        else cohorts.load(cohort_folder(arguments)[0])
    )
    count = len(next(iter(cohort.arrays.values())))
    names = [f"p{number:04d}" for number in range(count)]
    volumes = [
        ModalityVolumes(
            name,
            array,
            {subject: row for row, subject in enumerate(names)},
            {"limits": {"low": 0.0, "high": 1.0, "percentiles": [0.1, 99.9]}},
            cohort.mask,
        )
        for name, array in cohort.arrays.items()
    ]
    order = np.random.default_rng([arguments.seed, 5]).permutation(count)
    first = count - arguments.held_out
    learning = [names[i] for i in order[:first]]
    scaling = fold_limits(volumes, cohort.mask, learning, "train")
    sets = [VolumeSet(volumes, some, scaling) for some in (learning, [names[i] for i in order[first:]])]
    for some in sets:
        some.load()
    return Data(sets[0], sets[1], cohort.mask, None if cohort.strata is None else cohort.strata[order], order)


# -------------------------------------------------------------------------------------- measures


class Errors:
    """Sums over people of what is needed to say how well they are decoded.

    Parameters
    ----------
    mean
        The training people's mean image, shape (modalities, x, y, z).
    mask
        Brain mask, shape (x, y, z).
    """

    def __init__(self, mean: torch.Tensor, mask: torch.Tensor) -> None:
        self.mean, self.mask = mean, mask
        self.people = 0
        self.squares = self.inside = self.about = self.entropy = self.entropy_mean = self.floor = 0.0
        self.error = torch.zeros_like(mean[:, mask])
        self.sum = torch.zeros_like(self.error)
        self.sum_squares = 0.0

    def add(self, real: torch.Tensor, decoded: torch.Tensor) -> None:
        """Add some people's images (people, modalities, x, y, z), and the same decoded."""

        def sums(values: torch.Tensor) -> torch.Tensor:
            return values.flatten(2).sum(dim=(0, 2)).double().cpu()

        def entropy(guess: torch.Tensor) -> torch.Tensor:
            kept = guess.clamp(1e-7, 1 - 1e-7)
            return sums(torch.nn.functional.binary_cross_entropy(kept, real, reduction="none"))

        error = decoded - real
        difference = (real - self.mean)[:, :, self.mask]
        self.people += len(real)
        self.squares += sums(error.square())
        self.inside += sums(error[:, :, self.mask].square())
        self.about += sums(difference.square())
        self.error += error[:, :, self.mask].sum(dim=0)
        self.sum += difference.sum(dim=0)
        self.entropy += entropy(decoded)
        self.entropy_mean += entropy(self.mean.expand_as(real))
        self.floor += entropy(real)

    def values(self) -> list[dict[str, float]]:
        """Return the measures of each modality.

        share
            Of the variance inside the mask about the training people's mean image, how much is decoded; 0 is the
            mean image itself.
        share_of_rest
            The same once the mean error over these people has been taken out, and their own mean: what is
            known of how they differ from each other.
        """
        voxels, inside = self.mean[0].numel(), int(self.mask.sum())
        own = (self.sum.double().square() / self.people).sum(dim=1).cpu()
        bias = (self.error.double().square() / self.people).sum(dim=1).cpu()
        table = {
            "share": 1 - self.inside / self.about,
            "share_of_rest": 1 - (self.inside - bias) / (self.about - own),
            "mse": self.squares / (self.people * voxels),
            "mse_mask": self.inside / (self.people * inside),
            "rms_of_mean_error": (bias / (self.people * inside)).sqrt(),
            "cross_entropy": self.entropy / (self.people * voxels),
            "cross_entropy_mean_image": self.entropy_mean / (self.people * voxels),
            "cross_entropy_least": self.floor / (self.people * voxels),
        }
        return [
            {name: float(values[number]) for name, values in table.items()}
            for number in range(len(self.mean))
        ]


def strata_found(codes: np.ndarray, strata: np.ndarray) -> dict[str, float]:
    """Return how well planted strata are found in codes: by k-means, by a mixture, and by a classifier that is told them.

    On the first principal components of the codes. `ari`: adjusted Rand index; `accuracy`: balanced, of people whom
    the classifier was not shown.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import adjusted_rand_score
    from sklearn.mixture import GaussianMixture
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    number = min(CLUSTERED, codes.shape[1], len(codes) - 1)
    scores = PCA(number, random_state=1).fit_transform(codes.astype(np.float64))
    scores /= max(scores.std(), 1e-12)
    count = len(np.unique(strata))
    found = KMeans(count, n_init=20, random_state=1).fit_predict(scores)
    mixture = GaussianMixture(count, covariance_type="tied", n_init=10, reg_covar=1e-4, random_state=1)
    told = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = StratifiedKFold(5, shuffle=True, random_state=1)
    return {
        "ari_kmeans": adjusted_rand_score(strata, found),
        "ari_mixture": adjusted_rand_score(strata, mixture.fit_predict(scores)),
        "accuracy": float(
            cross_val_score(told, scores, strata, cv=folds, scoring="balanced_accuracy").mean()
        ),
    }


def slow_measures(decode: Any, data: Data) -> list[dict[str, float]]:
    """Return NormDiff, CNR and the others of reconstruction.tsv, medians over some held-out people, per modality."""
    pairs = block_pairs(data.mask)
    chosen = range(min(MEASURED, len(data.held_out)))
    rows: list[list[dict[str, float]]] = [[] for _ in data.training.modalities]
    for person in chosen:
        real = data.held_out[person]
        decoded = np.asarray(decode(real[None]))[0]
        for number, row in enumerate(rows):
            row.append(measure(real[number], decoded[number], data.mask, pairs))
    kept = ["normdiff", "abs_normdiff", "cnr_normdiff", "ssim", "psnr"]
    return [{name: float(pd.DataFrame(row)[name].mean()) for name in kept} for row in rows]


# -------------------------------------------------------------------------------------- training


class Steps(TrainingModule):
    """The workflow's training module, stepped by the loop below instead of by Lightning."""

    step = 0
    steps = 0

    @property
    def global_step(self) -> int:
        """Steps done, from which each step's draws are seeded."""
        return self.step

    @property
    def trainer(self) -> Any:
        """What the schedule asks of a trainer."""
        return types.SimpleNamespace(estimated_stepping_batches=self.steps)

    def log(self, *_: Any, **__: Any) -> None:
        """Do nothing: there is no progress bar."""


def settings_of(arguments: argparse.Namespace) -> TrainingSettings:
    """Return the workflow's training settings."""
    section = section_defaults("training") | {
        "epochs": arguments.epochs,
        "batch_size": arguments.batch_size,
        "learning_rate": arguments.learning_rate,
        "schedule": arguments.schedule,
        "precision": arguments.precision,
    }
    return TrainingSettings.resolve(section, {}, arguments.seed)


def run_columns(arguments: argparse.Namespace, data: Data, method: str) -> dict[str, Any]:
    """Return what says which run a row is of."""
    return {
        "data": arguments.name or (str(arguments.data) if arguments.data else "simulated"),
        "grid": "x".join(map(str, data.mask.shape)),
        "people": len(data.training),
        "held_out": len(data.held_out),
        "method": method,
        "skip_connections": "",
        "output_offset": "",
        "options": " ".join(arguments.option),
        "batch_size": arguments.batch_size,
        "learning_rate": arguments.learning_rate,
        "schedule": arguments.schedule,
        "precision": arguments.precision,
        "seed": arguments.seed,
        "device": torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu",
    }


def train(arguments: argparse.Namespace, trained: Trained, data: Data, deadline: float) -> None:
    """Train one model as far as time allows, and write its curve and its result."""
    folder = arguments.output / trained.name
    folder.mkdir(parents=True, exist_ok=True)
    device, how = torch.device(arguments.device), settings_of(arguments)
    given = {key: json.loads(value) for key, value in (text.split("=", 1) for text in arguments.option)}
    schema = load_schema(f"models/{trained.model}")
    options = {
        "output_offset": trained.offset,
        **({} if trained.skip is None else {"skip_connections": trained.skip}),
    }
    options |= {key: value for key, value in given.items() if key in schema["properties"]}
    names = data.training.modalities
    model: Any = build_model(
        trained.model, fill_defaults(options, schema), names, data.mask.shape, arguments.seed
    )
    model.set_offset(data.training)
    network = model.network.to(device)
    columns = run_columns(arguments, data, trained.model) | {
        "output_offset": trained.offset,
        "skip_connections": "" if trained.skip is None else str(trained.skip).lower(),
    }
    digest = hashlib.sha256(
        json.dumps([columns, model.options, arguments.epochs if how.schedule != "constant" else 0]).encode()
    ).hexdigest()

    learning = torch.from_numpy(np.stack([data.training[i] for i in range(len(data.training))])).to(device)
    held_out = torch.from_numpy(np.stack([data.held_out[i] for i in range(len(data.held_out))])).to(device)
    mean, mask = learning.mean(dim=0), torch.from_numpy(data.mask).to(device)
    smallest = getattr(model, "smallest_batch", 1)
    batches = EpochBatches(len(learning), how.batch_size, smallest, how.seed)
    module = Steps(network, how, float(model.options.get("weight_decay", 0.0)))
    module.steps = len(batches) * how.epochs
    if device.type == "cuda" and getattr(network, "recordable", False):
        module.recorded = RecordedLosses(network)
    configured = module.configure_optimizers()
    adam, schedule = (
        (configured[0][0], configured[1][0]["scheduler"])
        if isinstance(configured, tuple)
        else (configured, None)
    )

    def autocast() -> Any:
        return torch.autocast(
            device.type, torch.bfloat16, enabled=how.precision == "bf16" and device.type == "cuda"
        )

    done, rows, seconds = 0, [], 0.0
    state_file = folder / "state.pt"
    if state_file.is_file():
        state = torch.load(state_file, map_location=device, weights_only=True)
        if state["digest"] == digest and state["epoch"] <= how.epochs:
            network.load_state_dict(state["network"])
            adam.load_state_dict(state["adam"])
            if schedule is not None:
                schedule.load_state_dict(state["schedule"])
            done, rows, seconds, module.step = (
                state["epoch"],
                json.loads(state["rows"]),
                state["seconds"],
                state["step"],
            )
            print(f"{trained.name}: goes on after epoch {done}", flush=True)

    def save() -> None:
        temporary = folder / "state.part"
        torch.save(
            {
                "digest": digest, "epoch": done, "step": module.step, "seconds": seconds, "rows": json.dumps(rows),
                "network": network.state_dict(), "adam": adam.state_dict(),
                "schedule": {} if schedule is None else schedule.state_dict(),
            },
            temporary,
        )  # fmt: skip
        os.replace(temporary, state_file)

    def decoded(images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode(), autocast():
            return network.reconstruct(images).float()

    def evaluate(epoch: int, loss: float) -> None:
        network.eval()
        if has_batch_norm(network) and to_be_measured(how, module.steps, smallest):
            settle_batch_norm(network, learning[settling_sample(data.training, how.seed)])
        shown = {"training": learning[: arguments.shown], "held_out": held_out}
        for role, images in shown.items():
            errors = Errors(mean, mask)
            for some in images.split(arguments.at_once):
                errors.add(some, decoded(some))
            for name, values in zip(names, errors.values(), strict=True):
                rows.append(
                    {
                        "epoch": epoch,
                        "modality": name,
                        "role": role,
                        "loss": loss,
                        "seconds": seconds,
                        **values,
                    }
                )
        network.train()

    saved = time.monotonic()
    network.train()
    if not rows:
        evaluate(0, float("nan"))
        network.train()
    while done < how.epochs and time.time() < deadline:
        start = time.monotonic()
        batches.set_epoch(done)
        losses = []
        for number, chosen in enumerate(batches):
            batch = learning[torch.as_tensor(chosen, device=device)]
            adam.zero_grad(set_to_none=True)
            with autocast():
                loss = module.training_step(batch, number)
            loss.backward()
            adam.step()
            losses.append(loss.detach())
            module.step += 1
            if schedule is not None:
                schedule.step()
        module._epoch_losses.clear()
        done += 1
        value = float(torch.stack(losses).mean())  # waits for the device
        seconds += time.monotonic() - start
        if not np.isfinite(value):
            print(f"{trained.name}: the loss is not finite after epoch {done}", flush=True)
            break
        if done % arguments.every == 0 or done == how.epochs or time.time() >= deadline:
            evaluate(done, value)
            latest = {(r["role"], r["modality"]): round(r["share"], 3) for r in rows[-2 * len(names) :]}
            print(
                f"{trained.name}: epoch {done}/{how.epochs} loss {value:.5f} share decoded, training "
                f"{[latest['training', n] for n in names]} held out {[latest['held_out', n] for n in names]} "
                f"{time.monotonic() - start:.1f} s",
                flush=True,
            )
        if time.monotonic() - saved > SAVED_EVERY:
            save()
            saved = time.monotonic()
    if rows and rows[-1]["epoch"] != done:
        evaluate(done, float("nan"))
    save()
    network.eval()
    slow = slow_measures(lambda v: decoded(torch.from_numpy(v).to(device)).cpu().numpy(), data)
    with torch.inference_mode(), autocast():
        codes = torch.cat(
            [
                network.encode(some).float().cpu()
                for images in (learning, held_out)
                for some in images.split(arguments.at_once)
            ]
        ).numpy()
    strata = strata_found(codes, data.strata) if data.strata is not None and np.isfinite(codes).all() else {}
    curve = pd.DataFrame([columns | row for row in rows])
    curve.to_csv(folder / "curve.tsv", sep="\t", index=False, float_format="%.6g")
    write_result(
        folder,
        columns | {"epochs": done, "code_size": codes.shape[1], "seconds": round(seconds, 1)},
        names,
        curve,
        slow,
        strata,
    )


def write_result(
    folder: Path,
    columns: dict[str, Any],
    names: list[str],
    curve: pd.DataFrame,
    slow: list[dict[str, float]],
    strata: dict[str, float],
) -> None:
    """Write the last epoch's row of each modality; of the curve also the first epoch that beats the mean image."""
    result = []
    for name, measures in zip(names, slow, strict=True):
        mine = curve[(curve["modality"] == name)]
        held = mine[mine["role"] == "held_out"].sort_values("epoch")
        learned = mine[mine["role"] == "training"].sort_values("epoch")
        better = held.loc[(held["share"] > 0) & (held["epoch"] > 0), "epoch"]
        last = held.iloc[-1]
        fields = [
            "share", "share_of_rest", "mse", "mse_mask", "rms_of_mean_error", "cross_entropy",
            "cross_entropy_mean_image", "cross_entropy_least",
        ]  # fmt: skip
        result.append(
            columns
            | {"modality": name, "share_training": learned.iloc[-1]["share"]}
            | {field: last[field] for field in fields}
            | {
                "best_share": held["share"].max(),
                "best_epoch": int(held.loc[held["share"].idxmax(), "epoch"]),
            }
            | {"first_above_mean_image": int(better.min()) if len(better) else ""}
            | measures
            | strata
        )
    pd.DataFrame(result).to_csv(folder / "result.tsv", sep="\t", index=False, float_format="%.5g")


def baselines(arguments: argparse.Namespace, data: Data) -> None:
    """Write the same rows for the mean image and PCA: with as many components as people allow, and with few."""
    names, mean = data.training.modalities, data.training.mean()
    methods: dict[str, Any] = {"mean_image": None}
    for number in (arguments.pca_components, CLUSTERED):
        methods[f"pca {number}"] = fit_pca(data.training, data.mask, number, arguments.seed)
    for method, model in methods.items():
        folder = arguments.output / method.replace(" ", "_")
        if (folder / "result.tsv").is_file():
            continue
        folder.mkdir(parents=True, exist_ok=True)

        def decode(volumes: np.ndarray, model: Any = model) -> np.ndarray:
            return np.broadcast_to(mean, volumes.shape) if model is None else model.reconstruct(volumes)

        rows, codes = [], []
        for role, people in (("training", data.training), ("held_out", data.held_out)):
            errors = Errors(torch.from_numpy(mean), torch.from_numpy(data.mask))
            for _, real in people.chunks():
                errors.add(torch.from_numpy(real), torch.from_numpy(np.array(decode(real), dtype=np.float32)))
                if model is not None:
                    codes.append(model.encode(real))
            rows += [
                {"epoch": 0, "modality": name, "role": role, **values}
                for name, values in zip(names, errors.values(), strict=True)
            ]
        strata = strata_found(np.concatenate(codes), data.strata) if codes and data.strata is not None else {}
        columns = run_columns(arguments, data, method) | {
            "batch_size": "", "learning_rate": "", "schedule": "", "precision": "", "options": "", "device": "",
            "epochs": 0, "code_size": 0 if model is None else model.code_size, "seconds": 0,
        }  # fmt: skip
        write_result(folder, columns, names, pd.DataFrame(rows), slow_measures(decode, data), strata)


def collect(arguments: argparse.Namespace) -> None:
    """Put curves and results together; print the results."""

    def joined(name: str) -> pd.DataFrame | None:
        files = sorted(arguments.output.glob(f"*/{name}.tsv"))
        return (
            pd.concat([pd.read_csv(f, sep="\t", dtype=str, keep_default_na=False) for f in files])
            if files
            else None
        )

    curves, results = joined("curve"), joined("result")
    if curves is not None:
        curves.to_csv(arguments.output / "curves.tsv", sep="\t", index=False)
    if results is None:
        return
    results.to_csv(arguments.output / "learning.tsv", sep="\t", index=False)
    shown = ["method", "skip_connections", "output_offset", "epochs", "modality", "share_training", "share", "share_of_rest", "mse", "mse_mask", "first_above_mean_image", "normdiff", "cnr_normdiff", "ari_kmeans", "ari_mixture", "accuracy"]  # fmt: skip
    print(results[[c for c in shown if c in results]].to_string(index=False))
    if arguments.table:
        known = (
            pd.read_csv(arguments.table, sep="\t", dtype=str, keep_default_na=False)
            if arguments.table.is_file()
            else results[:0]
        )
        every = pd.concat([known, results]).fillna("")
        every = every.drop_duplicates([*RUN, "modality"], keep="last")
        every.to_csv(arguments.table, sep="\t", index=False)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--output", type=Path, required=True, help="folder of curves, results and states")
    add("--device", choices=["cpu", "cuda"], default="cpu")
    add(
        "--shape",
        type=int,
        nargs=3,
        default=[32, 32, 32],
        help="voxels (multiples of 32; 48 becomes 64); 32 32 32, 64 64 64, 128 128 96",
    )
    add("--people", type=int, default=100, help="simulated people, those held out among them")
    add("--held-out", type=int, help="people that are not learned from; a fifth by default")
    add("--data", type=Path, default=None, help="a study's results/volumes instead of simulated people")
    add("--name", help="what rows call the data")
    add("--modalities", nargs="+", default=list(cohorts.MODALITIES), help="of --data")
    add("--models", nargs="+", default=["separable_autoencoder"])
    add("--output-offset", nargs="+", choices=["none", "mean"], default=["none", "mean"])
    add("--skip-connections", nargs="+", choices=["yes", "no"], default=["yes", "no"])
    add("--option", nargs="*", default=[], help="options of the models, KEY=JSON")
    add("--epochs", type=int, default=20)
    add("--batch-size", type=int, default=4, help="the paper has 1")
    add("--learning-rate", type=float, default=1e-3)
    add("--schedule", choices=["constant", "cosine"], default="constant")
    add("--precision", choices=["fp32", "bf16"], default="fp32")
    add("--seed", type=int, default=1)
    add("--every", type=int, default=1, help="epochs between evaluations")
    add("--shown", type=int, default=60, help="training people who are decoded at each evaluation")
    add("--at-once", type=int, default=8, help="people decoded at once")
    add("--pca-components", type=int, default=128)
    add("--parallel", type=int, default=1, help="models that train at the same time")
    add("--threads", type=int, default=os.cpu_count() or 1)
    add("--minutes", type=float, default=1e6, help="stop in time and write what there is")
    add(
        "--cache",
        type=Path,
        default=None,
        help="folder of simulated volumes; the temporary folder by default",
    )
    add(
        "--table",
        type=Path,
        default=None,
        help="table that the results are added to (docs/tables/learning.tsv)",
    )
    add("--only", help=argparse.SUPPRESS)
    add("--deadline", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    deadline = arguments.deadline or time.time() + 60 * arguments.minutes
    if arguments.held_out is None:
        arguments.held_out = arguments.people // 5
    wanted = list(models_of(arguments))
    torch.set_num_threads(max(1, arguments.threads // arguments.parallel))
    if arguments.only:
        torch.backends.cudnn.benchmark = True
        chosen = next(trained for trained in wanted if trained.name == arguments.only)
        train(arguments, chosen, read(arguments), deadline)
        return
    arguments.output.mkdir(parents=True, exist_ok=True)
    prepare(arguments)
    # Each model in a process of its own: one that fails, or memory that it keeps, does not touch the others.
    waiting, running, failed = list(wanted), {}, []
    command = [
        sys.executable,
        __file__,
        *sys.argv[1:],
        "--deadline",
        str(deadline),
        "--held-out",
        str(arguments.held_out),
    ]
    try:
        while waiting or running:
            while waiting and len(running) < arguments.parallel:
                trained = waiting.pop(0)
                running[trained.name] = subprocess.Popen([*command, "--only", trained.name])
            for name, process in list(running.items()):
                if process.poll() is not None:
                    del running[name]
                    failed += [name] if process.returncode else []
            time.sleep(0.2)
    finally:
        for process in running.values():
            process.terminate()
    baselines(arguments, read(arguments))
    collect(arguments)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
