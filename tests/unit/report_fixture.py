"""A small results tree with every file that the report reads; numbers are drawn at random."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd

from neurostrata.core.files import write_json
from neurostrata.core.tables import read_table, write_table
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
            "affinity_propagation": {"preference": {"low": 1, "high": 99, "steps": 40}},
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
    write_table(
        folder / "congruence.tsv",
        pd.DataFrame(
            {"factor": names, "congruence": np.linspace(0.97, 0.7, factors), "low": 0.6, "splits": 20}
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
    exists: bool = True,
    jaccard: float = 0.86,
    explained: bool = False,
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
    share = np.sort(rng.dirichlet(np.full(clusters, 2.0)))[::-1]
    assigned = pd.factorize(pd.Series(np.sort(rng.choice(clusters, n, p=share))))[0] + 1
    order = pd.Series(assigned).value_counts().index
    assigned = pd.Series(assigned).map({c: i + 1 for i, c in enumerate(order)}).to_numpy(copy=True)
    rng.shuffle(assigned)
    angle = 2 * np.pi * assigned / max(clusters, 1)
    write_table(
        folder / "strata/tsne.tsv",
        pd.DataFrame(
            {
                "subject": subjects,
                "x": 9 * np.cos(angle) + rng.normal(0, 2, n),
                "y": 9 * np.sin(angle) + rng.normal(0, 2, n),
            }
        ),
    )
    write_table(
        folder / "strata/codes-adjusted.tsv",
        pd.DataFrame({"subject": subjects, "z0001": rng.normal(0, 1, n)}),
        {"z0001": "code"},
        Removed=["age", "sex", "head_size"],
        Sites=None,
        LeftOut=[],
        VarianceRemoved=0.21,
    )
    for codes in ("adjusted", "raw"):
        for finder in FINDERS:
            place = folder / "strata" / codes / finder
            leading = (codes, finder) == ("adjusted", FINDERS[0])
            own = assigned if leading else np.where(rng.random(n) < 0.1, 1, assigned)
            write_clusters(place, finder, subjects, own, rng, exists=exists and finder == FINDERS[0])
            if codes == "adjusted":
                write_stability(place, own, jaccard)
    if scores is None:
        return
    if effect:
        # A planted difference: what the comparison must find.
        first = dict(zip(subjects, effect * (assigned == 1)))
        scores.iloc[:, 1] += scores["subject"].map(first).fillna(0)
        write_table(results / "phenotypes/scores.tsv", scores)
    for finder in FINDERS:
        place = folder / "strata/adjusted" / finder
        table = read_table(place / "clusters.tsv")
        table = table[table["fits"] == "yes"]
        write_comparisons(place, table, scores, rng, draws)
        write_checks(place, table, list(scores.columns[1:]), rng, clusters=clusters, explained=explained)
    write_continuous(folder / "strata", list(scores.columns[1:]), rng)


#: The finders of the fixture, the leading one first.
FINDERS = ("mixture", "affinity_propagation")


def write_clusters(
    place: Path,
    finder: str,
    subjects: list[str],
    assigned: np.ndarray,
    rng: np.random.Generator,
    *,
    exists: bool,
) -> None:
    n, number = len(subjects), len(np.unique(assigned))
    if finder == "mixture":
        search = pd.DataFrame(
            [(c, k) for c in (4, 6, 8, 12) for k in (1, 2, 3, 4, 5)], columns=["components", "n_clusters"]
        )
        search["likelihood_ratio"] = 40.0 * search["n_clusters"]
        search["reference_mean"], search["reference_sd"] = 38.0 * search["n_clusters"], 9.0
        search["standardised"] = 6 - abs(search["n_clusters"] - number) - abs(search["components"] - 8) / 4
        search["used"] = np.where((search["n_clusters"] == number) & (search["components"] <= 8), "yes", "no")
        measure, statistic = "largest standardised likelihood ratio", 6.0
        null = rng.normal(1.5, 0.8, 99)
    else:
        damping = np.linspace(0.5, 1, 10, endpoint=False)
        search = pd.DataFrame(
            [(d, p) for d in damping for p in np.linspace(-80, -3, 40)], columns=["damping", "preference"]
        )
        search["converged"] = (rng.random(len(search)) > 0.08) & (number > 1)
        search["n_iter"] = 60
        search["n_clusters"] = np.clip((4 + (search["preference"] + 80) / 8).astype(int), 1, n)
        search["silhouette"] = np.where(
            number > 1, 0.22 - 0.1 * np.abs(search["preference"] + 40) / 40, np.nan
        )
        measure, statistic = "best silhouette", 0.22
        null = rng.normal(0.24, 0.03, 99)
    if number == 1:
        statistic = np.nan
    write_table(place / "search.tsv", search)
    table = pd.DataFrame({"subject": subjects, "cluster": assigned})
    table["probability"] = rng.uniform(0.7, 1, n)
    table["distance"] = rng.chisquare(4, n) ** 0.5
    table["typicality"] = rng.uniform(0.01, 1, n)
    table["fits"] = "yes"
    if number > 1:
        table.loc[n - 1, "fits"] = "no"
    if finder == "affinity_propagation" and number > 1:
        table["exemplar"] = table.groupby("cluster")["subject"].transform("first")
    sizes = table["cluster"].value_counts().sort_index().tolist()
    facts = {
        "finder": finder,
        "found": number > 1,
        "reason": None if number > 1 else "no candidate exceeds one group",
        "measure": measure,
        "statistic": None if np.isnan(statistic) else statistic,
        "n_clusters": number,
        "cluster_sizes": sizes,
        "small_cluster_limit": 5,
        "small_clusters": [i for i, size in enumerate(sizes, 1) if size < 5 and number > 1],
        "people_in_no_cluster": list(table.loc[table["fits"] == "no", "subject"]),
    }
    write_table(place / "clusters.tsv", table, {"cluster": "number of the cluster"}, **facts)
    p = 0.01 if exists and number > 1 else 0.62
    write_table(
        place / "existence.tsv",
        pd.DataFrame(
            {
                "finder": [finder],
                "n": n,
                "n_clusters": number,
                "statistic": statistic,
                "null": "directions",
                "null_mean": null.mean(),
                "null_95": np.quantile(null, 0.95),
                "p": p,
                "p_margins": p / 2,
                "p_directions": p,
                "draws": 99,
                "claimed": "yes" if p <= 0.05 else "no",
            }
        ),
    )
    write_table(
        place / "existence_null.tsv",
        pd.DataFrame(
            {
                "null": "directions",
                "draw": np.arange(99) + 1,
                "statistic": np.where(np.arange(99) % 9 == 0, -np.inf, null),
                "n_clusters": np.where(np.arange(99) % 9 == 0, 1, 2 + np.arange(99) % 3),
            }
        ),
    )


def write_stability(place: Path, assigned: np.ndarray, jaccard: float) -> None:
    rows = [
        (cluster, int((assigned == cluster).sum()), way, repeats, value, value - 0.2, 0.05, 0.7)
        for cluster in np.unique(assigned)
        for way, repeats, value in (("bootstrap", 100, jaccard), ("seed", 5, 0.97), ("fold", 3, 0.8))
    ]
    columns = ["cluster", "n", "repeated", "repeats", "jaccard", "jaccard_low", "dissolved", "adjusted_rand"]
    write_table(place / "stability.tsv", pd.DataFrame(rows, columns=columns))


def write_comparisons(
    place: Path, table: pd.DataFrame, scores: pd.DataFrame, rng: np.random.Generator, draws: int
) -> None:
    values = scores.set_index("subject").loc[list(table["subject"])]
    scored = values.dropna(how="all")
    groups = table.set_index("subject")["cluster"].loc[scored.index]
    factors = list(values.columns)
    number = groups.nunique()
    h = rng.chisquare(max(number - 1, 1), (draws, len(factors)))
    blank = pd.DataFrame({"factor": factors, "p_repartition": np.nan, "q_repartition": np.nan})
    settings = {"confidence": 0.95, "alpha": 0.05, "power": 0.8}
    comparisons = compare_clusters(groups, scored, blank, settings)
    observed = comparisons["h"].to_numpy(float)
    p = (1 + (h >= observed).sum(0)) / (draws + 1)
    comparisons["p_repartition"] = np.where(np.isnan(observed), np.nan, p)
    comparisons["q_repartition"] = comparisons["q"].where(comparisons["q"] > 0.01, 0.004)
    write_table(place / "comparisons.tsv", comparisons)
    write_table(
        place / "repartition.tsv", comparisons[["factor", "h", "p_repartition", "q_repartition", "n"]]
    )
    np.savez_compressed(
        place / "null.npz",
        factors=np.array(factors, dtype=str),
        h=observed,
        null=(h if number > 1 else np.zeros((0, len(factors)))).astype(np.float32),
    )
    write_table(place / "profiles.tsv", cluster_profiles(groups, scored))
    adjusted = comparisons[["factor", "p", "q", "eta2", "eta2_low", "eta2_high", "n", "missing"]].copy()
    adjusted["eta2"] *= 0.8
    adjusted["eta2_low"] *= 0.8
    adjusted.insert(1, "f", comparisons["h"] / max(number - 1, 1))
    adjusted["adjusted_for"], adjusted["draws"] = "age, sex, head_size, site, image_quality", 999
    write_table(place / "comparisons_adjusted.tsv", adjusted)


def write_checks(
    place: Path,
    table: pd.DataFrame,
    factors: list[str],
    rng: np.random.Generator,
    *,
    clusters: int,
    explained: bool,
) -> None:
    groups = ["all", *map(str, sorted(table["cluster"].unique()))]
    rows = []
    for group in groups:
        n = len(table) if group == "all" else int((table["cluster"] == int(group)).sum())
        for name, mean, sd in (("age", 29.0, 4.0), ("head_size", 1.02, 0.08), ("image_quality", 0.86, 0.04)):
            rows.append((name, "", group, n, mean + rng.normal(0, sd / 9), sd, np.nan, np.nan))
        for name, levels in (("sex", "FM"), ("site", "AB"), ("diagnosis", "cp")):
            first = int(rng.integers(0, n + 1))
            for level, number in zip(levels, (first, n - first)):
                rows.append((name, level, group, n, np.nan, np.nan, number, number / max(n, 1)))
    columns = ["characteristic", "level", "cluster", "n", "mean", "sd", "count", "share"]
    write_table(place / "composition.tsv", pd.DataFrame(rows, columns=columns))
    names = ["age", "head_size", "image_quality", "sex", "site", "diagnosis"]
    tests = pd.DataFrame({"characteristic": names, "kind": ["number"] * 3 + ["classes"] * 3})
    tests["test"] = ["Kruskal-Wallis"] * 3 + ["chi-square, permuted"] * 3
    tests["statistic"], tests["p"], tests["q"] = 2.5, 0.4, 0.6
    tests["effect"] = [0.04, 0.02, 0.01, 0.1, 0.15, 0.12]
    tests["effect_name"] = ["eta2"] * 3 + ["cramers_v"] * 3
    tests["effect_low"], tests["effect_high"] = 0.0, tests["effect"] + 0.1
    tests["n"], tests["missing"] = len(table), 0
    tests.loc[names.index("age"), ["p", "q"]] = 0.004, 0.03
    if explained:
        tests.loc[names.index("site"), ["p", "q", "effect"]] = 0.0005, 0.001, 0.81
    if clusters < 2:
        tests[["statistic", "p", "q", "effect", "effect_low", "effect_high"]] = np.nan
    write_table(place / "composition_tests.tsv", tests)
    splits = pd.DataFrame(
        {"split": np.arange(20) + 1, "n_first": len(table) // 2, "n_second": len(table) // 2}
    )
    splits["k_first"], splits["k_second"] = clusters, np.where(np.arange(20) % 4, clusters, 1)
    splits["adjusted_rand"] = rng.uniform(0.4, 0.8, 20)
    splits["agreement_p95"] = np.nan
    write_table(place / "split_half.tsv", splits)
    halves = pd.DataFrame({"factor": factors, "eta2": 0.06, "eta2_low": 0.0, "eta2_high": 0.2})
    halves["share_below_alpha"], halves["p"], halves["q"], halves["splits"] = 0.3, 0.2, 0.3, 20
    halves.loc[0, ["eta2", "share_below_alpha", "p", "q"]] = 0.31, 0.85, 0.004, 0.02
    write_table(place / "split_half_factors.tsv", halves)
    smallest = rng.uniform(0.04, 1, 200)
    shuffles = pd.DataFrame({"shuffle": np.arange(200) + 1, "smallest_q": smallest})
    shuffles["smallest_q_repartition"] = smallest
    shuffles["found"] = np.where(smallest < 0.05, "yes", "no")
    write_table(
        place / "shuffles.tsv",
        shuffles,
        {"shuffle": "number"},
        share_found=0.025,
        share_low=0.011,
        share_high=0.057,
    )


def write_continuous(strata: Path, factors: list[str], rng: np.random.Generator) -> None:
    features = ["codes", "pca", "regional_means", *[f"clusters of {finder}" for finder in FINDERS]]
    features += [f"codes + clusters of {FINDERS[0]}"]
    rows = []
    for feature in features:
        for position, factor in enumerate(factors):
            value = 0.22 - 0.1 * position + rng.normal(0, 0.03)
            rows.append(
                (
                    feature,
                    "ridge",
                    factor,
                    value,
                    "r2",
                    value - 0.1,
                    value + 0.1,
                    0.01,
                    0.02 if position == 0 else 0.4,
                    26,
                )
            )
    rows += [(f, "cca", "", 0.41, "canonical correlation", 0.2, 0.6, 0.02, 0.02, 26) for f in features[:3]]
    columns = ["features", "method", "factor", "value", "measure", "low", "high", "p", "q", "n"]
    write_table(strata / "continuous.tsv", pd.DataFrame(rows, columns=columns))
    added = pd.DataFrame([(f, x) for f in FINDERS for x in factors], columns=["finder", "factor"])
    added["added_r2"], added["low"], added["high"], added["p"] = 0.01, -0.03, 0.05, 0.4
    write_table(strata / "continuous_added.tsv", added)


def write_agreement(results: Path, experiments: list[str], subjects: list[str]) -> None:
    pairs, cells = [], []
    for i, a in enumerate(experiments):
        for b in experiments[i + 1 :]:
            tables = [
                read_table(results / f"experiments/{name}/strata/adjusted/mixture/clusters.tsv")
                for name in (a, b)
            ]
            both = tables[0].merge(tables[1], on="subject")
            counted = both.groupby(["cluster_x", "cluster_y"]).size()
            pairs.append((a, "mixture", b, "mixture", len(both), 0.08, 3, 3, "1=2, 2=1"))
            cells += [(a, "mixture", b, "mixture", x, y, n) for (x, y), n in counted.items()]
    pair = ["experiment_a", "finder_a", "experiment_b", "finder_b"]
    write_table(
        results / "strata/agreement.tsv",
        pd.DataFrame(pairs, columns=[*pair, "n", "adjusted_rand", "k_a", "k_b", "matched"]),
    )
    write_table(
        results / "strata/agreement_crosstabs.tsv",
        pd.DataFrame(cells, columns=[*pair, "cluster_a", "cluster_b", "n"]),
    )


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
    jaccard: float = 0.86,
    explained: bool = False,
) -> tuple[Path, dict[str, Any]]:
    """Write a results tree under `folder`; return it and the configuration that goes with it.

    `effect` is what cluster 1 has more of the first factor, in standard deviations. In the first experiment clusters exist,
    with this mean Jaccard index, and are or are not `explained` by site; in the second they don't.
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
            exists=position == 0,
            jaccard=jaccard,
            explained=explained,
        )
    write_agreement(results, [experiment["name"] for experiment in config["experiments"]], subjects)
    return results, config


if __name__ == "__main__":
    import sys

    made, settings = make_results(Path(sys.argv[1]), people=120, clusters=9, factors=13, variables=51)
    (Path(sys.argv[1]) / "config.json").write_text(json.dumps(settings))
