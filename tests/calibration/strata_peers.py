"""Finders of groups and their peers side by side, on the same simulated cohorts.

Each cohort is simulated (three strata planted, no diagnosis), scaled, and reduced to principal components: 32 numbers of all
modalities together, and 16 of each. Age and sex are taken out. What each method finds is compared with what was planted.

    python tests/calibration/strata_peers.py docs/tables/strata-peers.tsv --peers-python /tmp/peers-venv/bin/python
    python tests/calibration/strata_peers.py docs/tables/strata-peers.tsv --summary

Settings are chosen on cohorts 0 to 9 (--first 0); what is reported are cohorts 1000 and up. The Python of --peers-python has
snfpy and reval (`pip install snfpy reval pandas "scikit-learn<1.8"`); R has mclust (Debian: r-cran-mclust). What is not there
is left out, which a line says. mlni installs, but its clustering (HYDRA) divides patients by how they differ from controls,
and these cohorts have neither. The script resumes.

The project's finders always give their best partition here; whether it is claimed is for the test of existence, not for this
table. Methods that can say "one group" of themselves are scikit-learn's mixture, HDBSCAN and mclust.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import resumable

KEYS = ("people", "effect", "cohort")
#: People and effect of the strata.
CONDITIONS = ((80, 1.0), (300, 1.0), (300, 0.7), (80, 0.0), (300, 0.0))
#: Numbers in the code of all modalities, and in that of each.
JOINT, EACH = 32, 16
#: Components that scikit-learn's mixture gets, and that mclust gets.
COMPONENTS, OF_MCLUST = 12, (8, 12)

MCLUST = """
suppressMessages(library(mclust)); options(warn = -1)
x <- as.matrix(read.csv(commandArgs(TRUE)[1], header = FALSE))
fit <- Mclust(x, G = 1:6, verbose = FALSE)
cat(fit$classification)
"""


def principal_components(values: np.ndarray, number: int) -> np.ndarray:
    """Return the leading scores, by way of the people's products: there are fewer people than voxels."""
    centred = values - values.mean(axis=0)
    variances, vectors = np.linalg.eigh(centred @ centred.T)
    return vectors[:, ::-1][:, :number] * np.sqrt(np.maximum(variances[::-1][:number], 0))


def cohort_codes(people: int, effect: float, cohort: int) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Return the planted strata, the joint code and the modalities' codes, without age and sex."""
    from neurostrata.adjustment.codes import LinearAdjustment
    from neurostrata.simulation.volume_cohorts import simulate_volumes

    made = simulate_volumes(people=people, seed=cohort, effect=effect, diagnosis_effect=0)
    scaled = []
    for modality in range(made.volumes.shape[1]):
        values = made.volumes[:, modality][:, made.mask].astype(np.float64)
        low, high = np.percentile(values, [0.1, 99.9])
        scaled.append(np.clip((values - low) / (high - low), 0, 1))
    covariates = np.column_stack([made.age, made.female]).astype(float)

    def adjusted(code: np.ndarray) -> np.ndarray:
        return LinearAdjustment().fit(code, covariates).transform(code, covariates)

    joint = adjusted(principal_components(np.concatenate(scaled, axis=1), JOINT))
    return np.asarray(made.stratum), joint, [adjusted(principal_components(part, EACH)) for part in scaled]


def white(code: np.ndarray, number: int) -> np.ndarray:
    """Return leading components at unit variance."""
    from neurostrata.strata.finders.mixture import principal_scores

    scores = principal_scores(code, number)
    return scores / scores.std(axis=0)


def of_finder(name: str) -> Callable[[np.ndarray, list[np.ndarray]], np.ndarray]:
    """Return what runs one of the project's finders with its defaults."""

    def run(code: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
        from neurostrata.core.config import section_defaults
        from neurostrata.strata.finders.registry import build_finder

        options = section_defaults("strata")[name]
        owner = None
        if name == "affinity_propagation":
            options["preference"]["steps"] = 60  # finds what the paper's 1000 find, in reasonable time
        if name == "similarity_network_fusion":
            owner = [f"modality {number}" for number, part in enumerate(parts) for _ in part.T]
            code = np.concatenate(parts, axis=1)
        return build_finder(name, options, 1, parts=owner).find(code).clusters

    return run


def mixture_by_bic(code: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
    """scikit-learn's Gaussian mixture with one covariance, white components, 50 starts, number by BIC."""
    from sklearn.mixture import GaussianMixture

    values = white(code, COMPONENTS)
    fits = [
        GaussianMixture(k, covariance_type="tied", n_init=50 if k > 1 else 1, random_state=1).fit(values)
        for k in range(1, 7)
    ]
    return min(fits, key=lambda fit: fit.bic(values)).predict(values)


def kmeans_by_silhouette(code: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
    """k-means with 2 to 6 clusters, the best silhouette."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    labels = [KMeans(k, n_init=50, random_state=1).fit_predict(code) for k in range(2, 7)]
    return max(labels, key=lambda own: silhouette_score(code, own))


def kmeans_told(code: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
    """k-means told the true number."""
    from sklearn.cluster import KMeans

    return KMeans(3, n_init=50, random_state=1).fit_predict(code)


def hdbscan(code: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
    """HDBSCAN with scikit-learn's defaults; people in no cluster are one group."""
    from sklearn.cluster import HDBSCAN

    return HDBSCAN().fit_predict(code)


def of_mclust(number: int) -> Callable[[np.ndarray, list[np.ndarray]], np.ndarray]:
    """Return what runs R's mclust on so many leading components: model and number by BIC."""

    def run(code: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            table, script = Path(folder) / "code.csv", Path(folder) / "mclust.R"
            np.savetxt(table, white(code, number), delimiter=",")
            script.write_text(MCLUST)
            done = subprocess.run(
                ["Rscript", str(script), str(table)], capture_output=True, text=True, check=True
            )
        return np.array(done.stdout.split(), dtype=int)

    return run


def outside(name: str, python: str) -> Callable[[np.ndarray, list[np.ndarray]], np.ndarray]:
    """Return what runs a peer with another Python."""

    def run(code: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            stored = Path(folder) / "codes.npz"
            np.savez(stored, code=code, parts=np.stack(parts))
            done = subprocess.run(
                [python, str(Path(__file__).with_name("strata_peers_outside.py")), name, str(stored)],
                capture_output=True,
                text=True,
                check=True,
            )
        return np.array(json.loads(done.stdout.splitlines()[-1]))

    return run


def methods(others: tuple[str, ...], python: str) -> dict[str, Callable[..., np.ndarray]]:
    """Return the methods by name; `others` are those of the peers outside that are there."""
    names = ("mixture", "affinity_propagation", "consensus", "similarity_network_fusion")
    found: dict[str, Callable[..., np.ndarray]] = {f"finder {name}": of_finder(name) for name in names}
    found |= {
        "scikit-learn GaussianMixture, BIC": mixture_by_bic,
        "scikit-learn KMeans, silhouette": kmeans_by_silhouette,
        "scikit-learn HDBSCAN": hdbscan,
    }
    if "mclust" in others:
        found |= {f"mclust, {number} components": of_mclust(number) for number in OF_MCLUST}
    found |= {name: outside(name, python) for name in ("snfpy", "reval") if name in others}
    return found | {"k-means told the number": kmeans_told}


def one(task: tuple[int, float, int, tuple[str, ...], str]) -> list[dict[str, Any]]:
    """Return the rows of one cohort."""
    from sklearn.metrics import adjusted_rand_score

    people, effect, cohort, others, python = task
    warnings.simplefilter("ignore")
    truth, code, parts = cohort_codes(people, effect, cohort)
    rows = []
    for name, method in methods(others, python).items():
        started = time.perf_counter()
        try:
            labels = method(code, parts)
        except (subprocess.CalledProcessError, ValueError) as error:
            print(f"{name}, cohort {cohort}: {getattr(error, 'stderr', error)}", file=sys.stderr)
            continue
        rows.append(
            {
                "people": people,
                "effect": effect,
                "cohort": cohort,
                "method": name,
                "adjusted_rand": round(float(adjusted_rand_score(truth, labels)), 4),
                "clusters": len(np.unique(labels)),
                "seconds": round(time.perf_counter() - started, 2),
            }
        )
    return rows


def installed(python: str | None) -> tuple[str, ...]:
    """Return which of the peers outside are there; say which are not."""
    found = []
    if python is not None:
        script = str(Path(__file__).with_name("strata_peers_outside.py"))
        found = json.loads(subprocess.check_output([python, script, "--installed"], text=True))
    try:
        subprocess.run(["Rscript", "-e", "library(mclust)"], check=True, capture_output=True)
        found.append("mclust")
    except (OSError, subprocess.CalledProcessError):
        pass
    for name in ("snfpy", "reval", "mclust"):
        if name not in found:
            print(f"{name} is not installed and left out", file=sys.stderr)
    return tuple(found)


def main() -> None:
    """Compare, and print the means."""
    parser = resumable.command_line(__doc__, cohorts=10, models=["all"])
    parser.add_argument("--first", type=int, default=1000, help="number of the first cohort")
    parser.add_argument("--peers-python", help="Python that has snfpy and reval")
    parser.add_argument("--people", type=int, nargs="+", default=[80, 300])
    chosen = parser.parse_args()
    others = () if chosen.summary else installed(chosen.peers_python)
    tasks = [
        (people, effect, cohort, others, chosen.peers_python or "")
        for cohort in range(chosen.first, chosen.first + chosen.cohorts)
        for people, effect in CONDITIONS
        if people in chosen.people
    ]
    table = resumable.collected(chosen, KEYS, tasks, one)
    table["right"] = table["clusters"] == np.where(table["effect"] > 0, 3, 1)
    grouped = table.groupby(["people", "effect", "method"], sort=False)
    resumable.show(
        grouped.agg(
            cohorts=("cohort", "size"),
            adjusted_rand=("adjusted_rand", "mean"),
            right_number=("right", "mean"),
            clusters=("clusters", "median"),
            seconds=("seconds", "median"),
        )
    )


if __name__ == "__main__":
    main()
