"""Write the two synthetic phenotype tables that the R reference numbers are made from.

    python tests/reference/make_tables.py

Planted simple structure: each variable loads 0.75 on one factor. The tables are committed, so that the
test depends neither on this script nor on a random generator's version.
"""

from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent


def simple_structure(people: int, per_factor: list[int], loading: float, seed: int) -> pd.DataFrame:
    """Return people x variables; factor j has ``per_factor[j]`` variables."""
    generator = np.random.default_rng(seed)
    owner = np.repeat(np.arange(len(per_factor)), per_factor)
    factors = generator.standard_normal((people, len(per_factor)))
    noise = generator.standard_normal((people, len(owner)))
    values = loading * factors[:, owner] + np.sqrt(1 - loading**2) * noise
    return pd.DataFrame(values, columns=[f"v{number:02d}" for number in range(1, len(owner) + 1)])


if __name__ == "__main__":
    for name, frame in (
        ("four_factors", simple_structure(120, [5] * 4, 0.75, 11)),
        ("thirteen_factors", simple_structure(200, [4] * 12 + [3], 0.75, 12)),
    ):
        frame.round(3).to_csv(HERE / f"{name}.tsv", sep="\t", index=False)
