"""Write combat.tsv: ComBat by neuroCombat and neuroHarmonize, for the test of our own.

    python tests/reference/combat.py

Run by hand where those two packages are (neither is a dependency; made with neuroCombat 0.2.12, for the training
people, and neuroHarmonize 2.5.2, which applies what was learned from them to the others). Their iteration is run to
convergence; at its usual stop, a relative change of 1e-4, the numbers differ by up to 2e-5 (printed).
"""

import importlib
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
DIMENSIONS = 5


def made_up_people(seed: int) -> pd.DataFrame:
    """Three sites of different sizes, ages and sexes, shifts and scales; a third of each site is tested."""
    random = np.random.default_rng(seed)
    site = np.repeat(["A", "B", "C"], [20, 17, 14])
    people = len(site)
    # quarters, since the packages hold ages as 32-bit numbers
    age = np.round(random.uniform(20, 60, people) * 4) / 4 + 10 * (site == "B")
    sex = (random.random(people) < np.where(site == "C", 0.7, 0.4)).astype(int)
    noise = random.normal(size=(people, DIMENSIONS)) * [1, 2, 0.5, 1, 3]
    shift = {"A": [0, 0, 0, 0, 0], "B": [1, 2, -0.5, 1, 3], "C": [-1, 0.5, 0.3, -1, 0]}
    scale = {"A": 1.0, "B": 1.8, "C": 0.6}
    kept = 0.03 * age[:, None] * [1, -1, 0.5, 0, 2] + sex[:, None] * [0.5, 0, 0, 1, 0]
    values = kept + noise * np.array([scale[s] for s in site])[:, None] + np.array([shift[s] for s in site])
    frame = pd.DataFrame(
        {"role": np.where(np.arange(people) % 3, "train", "test"), "site": site, "age": age, "sex": sex}
    )
    for number in range(DIMENSIONS):
        frame[f"v{number + 1}"] = values[:, number].round(4)
    return frame


def harmonised(frame: pd.DataFrame) -> np.ndarray:
    """Return (people, dimensions), all learned from the training people."""
    from neuroHarmonize import harmonizationApply, harmonizationLearn

    combat = importlib.import_module("neuroCombat.neuroCombat")
    values = frame.filter(regex="^v").to_numpy(float)
    train = (frame["role"] == "train").to_numpy()
    result = np.empty_like(values)
    covariates = frame.loc[train, ["site", "age", "sex"]].reset_index(drop=True)
    found = combat.neuroCombat(values[train].T.copy(), covariates, "site", continuous_cols=["age", "sex"])
    result[train] = found["data"].T
    columns = frame[["site", "age", "sex"]].rename(columns={"site": "SITE"})
    model, _ = harmonizationLearn(values[train].copy(), columns[train].reset_index(drop=True))
    result[~train] = harmonizationApply(values[~train].copy(), columns[~train].reset_index(drop=True), model)
    return result


if __name__ == "__main__":
    combat = importlib.import_module("neuroCombat.neuroCombat")
    table = made_up_people(7)
    usual = harmonised(table)
    combat.it_sol.__defaults__ = (1e-12,)
    converged = harmonised(table)
    print(f"largest difference of the usual stop from convergence: {np.abs(usual - converged).max():.1e}")
    for number in range(DIMENSIONS):
        table[f"harmonised{number + 1}"] = converged[:, number].round(9)
    table.to_csv(HERE / "combat.tsv", sep="\t", index=False)
