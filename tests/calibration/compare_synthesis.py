"""What Chartsias et al. (2018) claim for `latent_synthesis`, on cohorts of which the truth is known; by hand.

    python tests/calibration/compare_synthesis.py OUTPUT.tsv --cohorts 3

Each cohort (simulated T1w, T2w, diffusion trace and FLAIR, 28x32x29) has people who are learned from and people who
are only looked at; FLAIR is synthesised from every subset of the others. Compared are one model for all subsets (the
paper's experiment B) with models made for each subset (A), and the same model without one of the three costs (Table
V): as the paper has it (max fusion), and with our options (weighted fusion, subsets of inputs in the fused cost; and
with c1 as a mean over inputs besides). The networks are narrower and the trainings shorter than the paper's: about ten minutes per
cohort on one core. Rows (one per test person, model and subset) are added to OUTPUT.tsv; those already there
are not computed again. With --summary only the tables are printed.
"""

from __future__ import annotations

import itertools
import sys
import time
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from resumable import collected, command_line, show

INPUTS, OUTPUT = ["t1w", "t2w", "trace"], "flair"
SUBSETS = [subset for size in (1, 2, 3) for subset in itertools.combinations(INPUTS, size)]
ALL, MISSING = "+".join(INPUTS), ["+".join(subset) for subset in SUBSETS[:-1]]
SHAPE, LEARNED_FROM, TESTED = (28, 32, 29), 28, 12
#: A quarter of the paper's channels, half its batch.
NARROW = {"channels": [8, 16, 32], "decoder_channels": 8, "latent_channels": 8, "slices_per_step": 8}
TRAINING = {"epochs": 30, "batch_size": 2, "learning_rate": 2e-3, "schedule": "cosine"}
PAPER, OURS, EVEN = "max", "ours", "ours, c1 as a mean"


def options(variant: str, inputs: tuple[str, ...]) -> dict[str, Any]:
    """Return a variant's options: the paper's, or ours, if wanted with a c1 that does not grow with the inputs."""
    chosen: dict[str, Any] = {"inputs": list(inputs)}
    if variant != PAPER:
        chosen |= {"fusion": "weighted", "fuse_subsets": True}
    if variant == EVEN:  # all that is fused counts twice as much
        chosen["cost_weights"] = {"c1": 1 / len(inputs), "c2": 1.0, "c3": 2.0}
    return chosen


def made_for(variant: str, inputs: str) -> str:
    """Return the model that was made for a subset: of one input there is nothing to fuse, all are alike."""
    if inputs == ALL:
        return variant
    return f"{variant if '+' in inputs else PAPER}: only {inputs}"


VARIANTS = (PAPER, OURS, EVEN)
COSTS = {"no c1": ["c2", "c3"], "no c2": ["c1", "c3"], "no c3": ["c1", "c2"]}
#: Name in the table -> options.
MODELS: dict[str, dict[str, Any]] = {
    made_for(variant, "+".join(subset)): options(variant, subset)
    for variant in VARIANTS
    for subset in (SUBSETS[-1], *SUBSETS[:-1])
    if variant == PAPER or len(subset) > 1
} | {name: {**options(PAPER, SUBSETS[-1]), "costs": costs} for name, costs in COSTS.items()}
KEYS = ["cohort", "model"]


@cache
def cohort_of(number: int) -> tuple[Any, Any, np.ndarray]:
    """Return the people to learn from, the people to test, and the mask."""
    from neurostrata.core.config import section_defaults
    from neurostrata.fusion.data.volumes import ModalityVolumes, VolumeSet, fold_limits
    from neurostrata.simulation.contrast_cohorts import simulate_contrasts

    simulated = simulate_contrasts(LEARNED_FROM + TESTED, number + 1, SHAPE, [*INPUTS, OUTPUT])
    rows = {subject: row for row, subject in enumerate(simulated.subjects)}
    info = {"limits": {"percentiles": section_defaults("volumes")["percentiles"]}}
    volumes = [
        ModalityVolumes(name, simulated.volumes[:, k], rows, info, simulated.mask)
        for k, name in enumerate(simulated.contrasts)
    ]
    learning, tested = simulated.subjects[:LEARNED_FROM], simulated.subjects[LEARNED_FROM:]
    scaling = fold_limits(volumes, simulated.mask, learning, "train")
    return VolumeSet(volumes, learning, scaling), VolumeSet(volumes, tested, scaling), simulated.mask


def one(task: tuple[int, str, int]) -> list[dict[str, Any]]:
    """Train one model on one cohort and measure it on every subset of its inputs."""
    cohort, label, epochs = task
    import torch

    from neurostrata.core.config import fill_defaults, load_schema, section_defaults
    from neurostrata.fusion.evaluation.synthesis import only
    from neurostrata.fusion.evaluation.synthesis_baselines import in_units_of_mean
    from neurostrata.fusion.models.interface import TrainingSettings
    from neurostrata.fusion.models.registry import build_model
    from neurostrata.fusion.training.machine import Machine

    torch.set_num_threads(1)
    people, tested, mask = cohort_of(cohort)
    filled = fill_defaults(
        {"outputs": [OUTPUT], **NARROW, **MODELS[label]}, load_schema("models/latent_synthesis")
    )
    model: Any = build_model("latent_synthesis", filled, people.modalities, people.shape, cohort)
    section = {**section_defaults("training"), **TRAINING, "epochs": epochs}
    training = TrainingSettings.resolve(section, {}, cohort)
    started = time.process_time()
    history = model.fit(people, mask, training, Machine(gpus=0))
    facts = {
        "cohort": cohort,
        "model": label,
        "epochs": len(history),
        "best_epoch": int(history["best_epoch"].iloc[-1]),
        "cpu_seconds": round(time.process_time() - started, 1),
    }
    rows = []
    for subset in SUBSETS:
        if not set(subset) <= set(model.inputs):
            continue
        positions = [people.modalities.index(name) for name in subset]
        for index, subject in enumerate(tested.subjects):
            real = in_units_of_mean(tested[index][-1])
            image = model.synthesise(only(tested[index], positions)[None])[0, -1]
            error = float(np.mean((np.where(mask, image, 0) - real) ** 2))
            rows.append({**facts, "subject": subject, "inputs": "+".join(subset), "mse": error})
    return rows


def ratio(above: pd.Series, below: pd.Series) -> dict[str, Any]:
    """Return the geometric mean over people of above / below, with 95% t limits and those of each cohort.

    Parameters
    ----------
    above, below
        Squared errors by (cohort, subject).
    """
    from scipy.stats import t

    logs = np.log(above / below).dropna()
    n = len(logs)
    if n < 2:
        return {"people": n}
    error = logs.std(ddof=1) / np.sqrt(n)
    low, high = np.exp(logs.mean() + np.array([-1, 1]) * t.ppf(0.975, n - 1) * error)
    return {
        "people": n,
        "ratio": np.exp(logs.mean()),
        "95% interval": f"{low:.3f} to {high:.3f}",
        "one-sided upper": np.exp(logs.mean() + t.ppf(0.95, n - 1) * error),
        "of each cohort": " ".join(f"{value:.2f}" for value in np.exp(logs.groupby("cohort").mean())),
    }


def summary(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the tables: mean errors, one model against models made for a subset, more inputs, costs."""
    errors = frame.pivot(index=["cohort", "subject"], columns=["model", "inputs"], values="mse")
    wanted = [(m, "+".join(s)) for m in MODELS for s in SUBSETS if set(s) <= set(MODELS[m].get("inputs", s))]
    errors = errors.reindex(columns=pd.MultiIndex.from_tuples(wanted))  # NaN: not done yet
    means, rows = errors.mean(), {}
    for inputs in [*MISSING, ALL]:
        row = {model: means.get((model, inputs)) for model in (*VARIANTS, *COSTS)}
        row |= {f"{model}, made for it": means.get((made_for(model, inputs), inputs)) for model in VARIANTS}
        rows[inputs] = row
    table = pd.DataFrame(rows).T
    table.loc["mean where inputs are missing"] = table.loc[MISSING].mean(skipna=False)
    table.loc["mean"] = table.loc[[*MISSING, ALL]].mean(skipna=False)
    tables = {"mean squared error, in units of the image's mean": table.astype(float).round(4)}

    def average(model: str) -> pd.Series:
        return errors[[(model, inputs) for inputs in MISSING]].mean(axis=1, skipna=False)

    rows = {}
    for model in VARIANTS:
        made = {inputs: errors[made_for(model, inputs), inputs] for inputs in MISSING}
        for inputs in MISSING:
            rows[model, inputs] = ratio(errors[model, inputs], made[inputs])
        mean = pd.DataFrame(made).mean(axis=1, skipna=False)
        rows[model, "mean where inputs are missing"] = ratio(average(model), mean)
    for model in (OURS, EVEN):
        for inputs in [*MISSING, ALL]:
            rows[f"{model} over {PAPER}", inputs] = ratio(errors[model, inputs], errors[PAPER, inputs])
        rows[f"{model} over {PAPER}", "mean where inputs are missing"] = ratio(average(model), average(PAPER))
    tables["one model over the model made for the subset, and ours over the paper's"] = pd.DataFrame(rows).T

    rows = {}
    for model in VARIANTS:
        for few, many in itertools.product(SUBSETS, SUBSETS):
            if set(few) < set(many) and len(many) == len(few) + 1:
                more, less = "+".join(many), "+".join(few)
                rows[model, f"{more} over {less}"] = ratio(errors[model, more], errors[model, less])
        by_number = [
            errors[[(model, "+".join(s)) for s in SUBSETS if len(s) == size]].mean(axis=1, skipna=False)
            for size in (1, 2, 3)
        ]
        rows[model, "two inputs over one"] = ratio(by_number[1], by_number[0])
        rows[model, "three inputs over two"] = ratio(by_number[2], by_number[1])
    tables["an input more"] = pd.DataFrame(rows).T

    rows = {}
    for model in COSTS:
        rows[f"{model} over all costs", "inputs missing"] = ratio(average(model), average(PAPER))
        rows[f"{model} over all costs", "all inputs"] = ratio(errors[model, ALL], errors[PAPER, ALL])
    for model in ("no c2", "no c3"):
        rows[f"no c1 over {model}", "inputs missing"] = ratio(average("no c1"), average(model))
    tables["costs left out"] = pd.DataFrame(rows).T
    return tables


def main() -> None:
    """Do what is not done yet, write it down, print the tables."""
    parser = command_line(__doc__, 3, MODELS)
    parser.add_argument("--epochs", type=int, default=TRAINING["epochs"], help="a file of its own for each")
    chosen = parser.parse_args()
    tasks = [(c, m, chosen.epochs) for c in range(chosen.cohorts) for m in chosen.models]
    done = collected(chosen, KEYS, tasks, one)
    if done.empty:
        sys.exit(f"{chosen.output}: nothing there to sum up")
    for title, table in summary(done).items():
        print(f"\n{title}")
        show(table)


if __name__ == "__main__":
    main()
