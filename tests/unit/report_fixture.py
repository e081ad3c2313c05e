"""A small results tree with every file that the report reads; numbers are drawn at random."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd

from neurostrata.core.files import write_json
from neurostrata.core.tables import write_table
from neurostrata.strata.comparisons import compare_clusters
from neurostrata.strata.profiles import cluster_profiles


def make_config(tables: list[str]) -> dict[str, Any]:
    return {
        "output": "results",
        "seed": 7,
        "imaging_seed": 1,
        "cohort": {"sheet": "cohort.tsv", "bids": None, "hcp": None},
        "qc": None,
        "anatomy": {"n4": {"enabled": True}},
        "template": {"resolution_mm": 2, "iterations": 3, "tolerance": 0.01},
        "registration": {"engine": "greedy", "greedy": {"ncc_radius": 2, "iterations": [100, 50, 10]}},
        "diffusion": {"space": "dwi", "noddi": {"engine": "amico"}},
        "modalities": {"jac": {"from": "jacobian"}, "ndi": {"from": "noddi", "measure": "ndi"}},
        "volumes": {"resolution_mm": 4, "downsample": 2, "shape": [32, 32, 32]},
        "training": {"preset": "paper", "epochs": 3, "batch_size": 4, "learning_rate": None},
        "experiments": [
            {
                "name": "jac-ndi",
                "model": "separable_autoencoder",
                "modalities": ["jac", "ndi"],
                "limits": "train",
                "validation": {"method": "kfold", "folds": 3},
                "analyses": {"reconstruction": True, "strata": True},
                "options": {"skip_connections": False},
            },
            {
                "name": "jac-ndi-pca",
                "model": "pca",
                "modalities": ["jac", "ndi"],
                "limits": "train",
                "validation": {"method": "kfold", "folds": 3},
                "options": {"max_components": 256},
            },
        ],
        "phenotypes": {"tables": tables, "missing": "median", "method": "pca_varimax", "n_factors": None},
        "strata": {
            "clustering": {
                "damping": {"min": 0.5, "max": 1.0, "steps": 10},
                "preference": {"low": 1, "high": 99, "steps": 40},
                "small_cluster_people": 5,
                "small_cluster_share": 0.01,
            },
            "repartition": {"draws": 500, "families": True, "with_replacement": False},
            "comparisons": {"confidence": 0.95, "alpha": 0.05, "power": 0.8},
        },
        "report": {
            "title": "A small study",
            "description": "Made of random numbers.",
            "alpha": 0.05,
            "loading_threshold": 0.3,
            "example_people": 2,
            "people_in_index": 200,
            "demographics": {},
        },
    }


def ellipsoid(shape: tuple[int, int, int], scale: float = 0.4) -> np.ndarray:
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    return (grid[0] / 0.8) ** 2 + grid[1] ** 2 + (grid[2] / 0.9) ** 2 < (2 * scale) ** 2


def save_image(path: Path, data: np.ndarray, side: float = 4.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(data.astype(np.float32), np.diag([side, side, side, 1])), path)


def write_images(results: Path, subjects: list[str], rng: np.random.Generator) -> None:
    shape = (36, 44, 36)
    mask = ellipsoid(shape)
    brain = np.where(mask, 60 + 25 * np.sin(np.indices(shape).sum(0) / 4) + rng.normal(0, 3, shape), 0)
    save_image(results / "template/template.nii.gz", brain)
    save_image(results / "template/mask.nii.gz", mask)
    for subject in subjects:
        anat = results / f"derivatives/sub-{subject}/anat/sub-{subject}_"
        dwi = results / f"derivatives/sub-{subject}/dwi/sub-{subject}_"
        own = np.where(mask, brain + rng.normal(0, 6, shape), 0)
        save_image(Path(f"{anat}desc-preproc_T1w.nii.gz"), own)
        save_image(Path(f"{anat}desc-brain_mask.nii.gz"), mask)
        save_image(Path(f"{anat}space-study_desc-preproc_T1w.nii.gz"), own)
        wave = np.exp(0.6 * np.sin(np.indices(shape)[0] / 5))
        save_image(Path(f"{anat}space-study_desc-nonlinear_jacobian.nii.gz"), wave)
        if subject != subjects[-1]:
            save_image(
                Path(f"{dwi}model-tensor_param-fa_dwimap.nii.gz"), np.where(mask, rng.random(shape), 0)
            )
            save_image(
                Path(f"{dwi}model-noddi_param-ndi_dwimap.nii.gz"), np.where(mask, rng.random(shape), 0)
            )
            save_image(Path(f"{dwi}desc-brain_mask.nii.gz"), mask)


def write_cohort(results: Path, folder: Path, subjects: list[str], rng: np.random.Generator) -> Path:
    n = len(subjects)
    write_table(
        results / "cohort/subjects.tsv",
        pd.DataFrame(
            {
                "subject": subjects,
                "site": np.where(np.arange(n) % 2, "A", "B"),
                "family": [f"f{i // 2}" if i < 12 else None for i in range(n)],
                "diagnosis": None,
                "session": None,
                "template": "yes",
                "jac": "yes",
                "ndi": ["no" if i >= n - 2 else "yes" for i in range(n)],
            }
        ),
    )
    write_table(
        results / "cohort/exclusions.tsv",
        pd.DataFrame(
            {
                "subject": ["099", "017", *subjects[-2:]],
                "modality": ["all", "all", "ndi", "ndi"],
                "stage": ["volumes", "template", "volumes", "volumes"],
                "reason": [
                    "head motion, <b>repeat</b> & discard",
                    "large cyst",
                    "no dwi in the cohort sheet",
                    "no dwi",
                ],
            }
        ),
    )
    table = folder / "phenotypes.tsv"
    sex = np.where(rng.random(n) < 0.5, "F", "M")
    write_table(
        table,
        pd.DataFrame(
            {
                "participant_id": [f"sub-{s}" for s in subjects],
                "Age": rng.normal(29, 4, n).round(1),
                "Sex": sex,
                "BMI": np.where(rng.random(n) < 0.1, np.nan, rng.normal(26, 5, n).round(1)),
                "Handedness": rng.normal(60, 40, n).round(),
            }
        ),
    )
    return table


def write_template(results: Path) -> None:
    write_table(
        results / "template/convergence.tsv",
        pd.DataFrame(
            {
                "iteration": [0, 1, 2, 3],
                "people": 24,
                "similarity": [np.nan, 0.81, 0.88, 0.9],
                "similarity_worst": [np.nan, 0.7, 0.79, 0.8],
                "rms_change": [np.nan, 0.09, 0.03, 0.008],
                "rms_mean_warp_vox": [np.nan, 1.1, 0.5, 0.2],
                "mean_log_jacobian": [np.nan, -0.011, -0.004, 0.002],
                "mean_log_scale": [np.nan, 0.02, 0.004, 0.001],
                "converged": [False, False, False, True],
                "skipped": False,
            }
        ),
        {"rms_mean_warp_vox": "RMS length of the mean displacement, in voxels"},
    )


def write_volumes(results: Path, subjects: list[str]) -> None:
    for modality, people, low, high in (("jac", subjects, 0.41, 1.9), ("ndi", subjects[:-2], 0.02, 0.93)):
        folder = results / "volumes"
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{modality}.npy", np.zeros((len(people), 8, 8, 8), np.float32))
        write_json(
            folder / f"{modality}.json",
            {
                "modality": modality,
                "subjects": people,
                "affine": np.diag([8.0, 8, 8, 1]).tolist(),
                "mask": "mask.nii.gz",
                "limits": {"low": low, "high": high, "percentiles": [0.1, 99.9], "scope": "cohort"},
            },
        )


def write_phenotypes(
    results: Path, subjects: list[str], rng: np.random.Generator, variables: int, factors: int
) -> pd.DataFrame:
    names = [f"factor_{i + 1:02d}" for i in range(factors)]
    loadings = rng.normal(0, 0.15, (variables, factors))
    for i in range(variables):
        loadings[i, i % factors] = rng.choice([-1, 1]) * rng.uniform(0.5, 0.9)
    frame = pd.DataFrame(loadings.clip(-1, 1), columns=names)
    words = ["Endurance_Unadj", "NEOFAC_A", "PicVocab_Unadj", "BPSystolic", "PercStress_Unadj", "Strength"]
    frame.insert(0, "variable", [f"{words[i % 6]}_{i}" for i in range(variables)])
    folder = results / "phenotypes"
    write_table(folder / "loadings.tsv", frame)
    eigen = np.sort(rng.exponential(1, variables))[::-1]
    write_table(
        folder / "eigenvalues.tsv",
        pd.DataFrame(
            {
                "component": np.arange(variables) + 1,
                "eigenvalue": eigen,
                "variance_share": eigen / variables,
                "cumulative_share": np.cumsum(eigen) / variables,
                "retained": np.arange(variables) < factors,
                "parallel_mean": np.linspace(1.5, 0.6, variables),
                "parallel_95": np.linspace(1.7, 0.7, variables),
                "rotated_variance": np.nan,
            }
        ),
    )
    scores = pd.DataFrame(rng.normal(0, 1, (len(subjects), factors)), columns=names)
    scores.iloc[-1] = np.nan
    scores.insert(0, "subject", subjects)
    facts = {
        "method": "pca_varimax",
        "people": len(subjects),
        "people_analysed": len(subjects) - 1,
        "people_without_table_row": 1,
        "people_left_out": {subjects[-1]: "no row in the tables"},
        "people_only_in_tables": 3,
        "variables_analysed": variables,
        "variables_left_out": {"Notes": "not numeric"},
        "missing": "median",
        "values_filled": 9,
        "variance_explained": 0.63,
        "factors": factors,
        "factors_by_parallel_analysis": max(factors - 1, 1),
        "warnings": [],
    }
    write_table(folder / "scores.tsv", scores, {"subject": "person"}, **facts)
    write_table(
        folder / "descriptives.tsv",
        pd.DataFrame(
            {
                "variable": frame["variable"],
                "used": True,
                "reason": None,
                "n": len(subjects) - 2,
                "missing": [2 if i % 3 else 0 for i in range(variables)],
                "filled": 1,
                "mean": rng.normal(50, 10, variables),
                "sd": rng.uniform(1, 10, variables),
            }
        ),
    )
    write_json(folder / "model.json", {"method": "pca_varimax"})
    return scores


def write_reconstruction(
    folder: Path, subjects: list[str], modalities: list[str], model: str, folds: int, rng: np.random.Generator
) -> None:
    methods = {model: 0.004, "mean_image": 0.012, **({} if model == "pca" else {"pca": 0.006})}
    rows = [
        {
            "subject": subject,
            "fold": str(i % folds),
            "method": method,
            "modality": modality,
            "mse": float(level * np.exp(rng.normal(0, 0.3))),
            "normdiff": float(rng.normal(0.01, 0.03)),
            "abs_normdiff": float(abs(rng.normal(0.05, 0.02))),
            "cnr_normdiff": float(rng.normal(-0.05, 0.08)),
            "ssim": float(rng.uniform(0.7, 0.95)),
            "psnr": float(rng.normal(24, 2)),
        }
        for i, subject in enumerate(subjects)
        for method, level in methods.items()
        for modality in modalities
    ]
    write_table(folder / "reconstruction.tsv", pd.DataFrame(rows))
    side = 24
    disc = ellipsoid((side, side, 3))[:, :, 1]
    real = np.zeros((2, len(modalities), 3, side, side), np.float32)
    real[..., disc] = rng.uniform(0.2, 1, (2, len(modalities), 3, int(disc.sum())))
    for fold in range(folds):
        place = folder / f"fold-{fold}"
        place.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            place / "examples.npz",
            real=real,
            decoded=0.8 * real + 0.05,
            subjects=np.array(subjects[2 * fold : 2 * fold + 2]),
            modalities=np.array(modalities),
        )


def write_experiment(
    results: Path,
    config: dict[str, Any],
    subjects: list[str],
    scores: pd.DataFrame | None,
    rng: np.random.Generator,
    *,
    clusters: int = 4,
    effect: float = 1.5,
    folds: int = 3,
    draws: int = 200,
) -> None:
    folder = results / "experiments" / config["name"]
    n = len(subjects)
    rows = [
        (s, str(f), "test" if i % folds == f else "train")
        for f in range(folds)
        for i, s in enumerate(subjects)
    ]
    rows += [(s, "all", "train") for s in subjects]
    write_table(folder / "splits.tsv", pd.DataFrame(rows, columns=["subject", "fold", "role"]))
    write_reconstruction(folder, subjects, config["modalities"], config["model"], folds, rng)
    for fold in [*map(str, range(folds)), "all"]:
        history = pd.DataFrame(
            {
                "epoch": np.arange(1, 21),
                "loss": 0.6 * np.exp(-np.arange(20) / 6) + 0.3 + rng.normal(0, 0.004, 20),
            }
        )
        write_table(folder / f"fold-{fold}/history.tsv", history)
    strata = folder / "strata"
    damping = np.linspace(0.5, 1, 10, endpoint=False)
    preference = np.linspace(-80, -3, 40)
    grid = pd.DataFrame([(d, p) for d in damping for p in preference], columns=["damping", "preference"])
    grid["converged"] = rng.random(len(grid)) > 0.08
    grid["n_iter"] = 60
    grid["n_clusters"] = np.clip((4 + (grid["preference"] + 80) / 8).astype(int), 1, n)
    grid["silhouette"] = np.where(clusters > 1, 0.22 - 0.1 * np.abs(grid["preference"] + 40) / 40, np.nan)
    if clusters < 2:
        grid["converged"] = False
    write_table(strata / "grid.tsv", grid)
    share = np.sort(rng.dirichlet(np.full(clusters, 2.0)))[::-1]
    assigned = np.sort(rng.choice(clusters, n, p=share))
    assigned = pd.factorize(pd.Series(assigned))[0] + 1
    order = pd.Series(assigned).value_counts().index
    assigned = pd.Series(assigned).map({c: i + 1 for i, c in enumerate(order)}).to_numpy(copy=True)
    rng.shuffle(assigned)
    table = pd.DataFrame({"subject": subjects, "cluster": assigned})
    table["exemplar"] = table.groupby("cluster")["subject"].transform("first") if clusters > 1 else None
    facts = {"found": clusters > 1}
    if clusters < 2:
        facts["reason"] = "no setting converged with 2 to n-1 clusters"
    write_table(strata / "clusters.tsv", table, {"cluster": "number of the cluster"}, **facts)
    angle = 2 * np.pi * assigned / max(clusters, 1)
    write_table(
        strata / "tsne.tsv",
        pd.DataFrame(
            {
                "subject": subjects,
                "x": 9 * np.cos(angle) + rng.normal(0, 2, n),
                "y": 9 * np.sin(angle) + rng.normal(0, 2, n),
            }
        ),
    )
    if scores is None:
        return
    if effect:
        # A planted difference: what the comparison must find.
        first = dict(zip(subjects, effect * (assigned == 1)))
        scores.iloc[:, 1] += scores["subject"].map(first).fillna(0)
        write_table(results / "phenotypes/scores.tsv", scores)
    values = scores.set_index("subject").loc[subjects]
    scored = values.dropna(how="all")
    groups = table.set_index("subject")["cluster"].loc[scored.index]
    factors = list(values.columns)
    h = rng.chisquare(max(clusters - 1, 1), (draws, len(factors)))
    blank = pd.DataFrame({"factor": factors, "p_repartition": np.nan, "q_repartition": np.nan})
    settings = {"confidence": 0.95, "alpha": 0.05, "power": 0.8}
    comparisons = compare_clusters(groups, scored, blank, settings)
    observed = comparisons["h"].to_numpy(float)
    p = (1 + (h >= observed).sum(0)) / (draws + 1)
    comparisons["p_repartition"] = np.where(np.isnan(observed), np.nan, p)
    comparisons["q_repartition"] = comparisons["q"].where(comparisons["q"] > 0.01, 0.004)
    write_table(strata / "comparisons.tsv", comparisons)
    write_table(
        strata / "repartition.tsv", comparisons[["factor", "h", "p_repartition", "q_repartition", "n"]]
    )
    np.savez_compressed(
        strata / "null.npz",
        factors=np.array(factors, dtype=str),
        h=observed,
        null=(h if clusters > 1 else np.zeros((0, len(factors)))).astype(np.float32),
    )
    write_table(strata / "profiles.tsv", cluster_profiles(groups, scored))


def make_results(
    folder: Path,
    *,
    people: int = 30,
    clusters: int = 4,
    effect: float = 2.5,
    factors: int = 5,
    variables: int = 15,
    images: bool = True,
    seed: int = 0,
) -> tuple[Path, dict[str, Any]]:
    """Write a results tree under `folder`; return it and the configuration that goes with it.

    `effect` is what cluster 1 has more of the first factor, in standard deviations.
    """
    rng = np.random.default_rng(seed)
    results = folder / "results"
    subjects = [f"{i + 1:03d}" for i in range(people)]
    table = write_cohort(results, folder, subjects, rng)
    config = make_config([str(table)])
    write_template(results)
    write_volumes(results, subjects)
    if images:
        write_images(results, subjects[:1] + subjects[-1:], rng)
    scores = write_phenotypes(results, subjects, rng, variables, factors)
    for position, experiment in enumerate(config["experiments"]):
        write_experiment(
            results,
            experiment,
            subjects[:-2],
            scores,
            rng,
            clusters=clusters,
            effect=0.0 if position else effect,
        )
    return results, config


if __name__ == "__main__":
    import sys

    made, settings = make_results(Path(sys.argv[1]), people=120, clusters=9, factors=13, variables=51)
    (Path(sys.argv[1]) / "config.json").write_text(json.dumps(settings))
