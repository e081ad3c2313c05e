"""Give the phenotype stage people whose variables have the loadings that Dimitri et al. 2022 print (Fig. 6), and write what it finds.

    PYTHONPATH=workflow python tests/calibration/paper_factors.py     # half a minute; writes docs/tables/paper-factors.tsv

The paper prints loadings of at least 0.3, with one decimal. 974 people are drawn from a normal distribution whose correlations
are those of a factor model with these loadings: L L' beside the diagonal, 1 on it. What is left of a variable's variance is its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from neurostrata.core.config import section_defaults
from neurostrata.phenotypes.analysis import analyse_phenotypes
from neurostrata.report.data.paper_results import matched_factors, printed_loadings

TABLE = Path(__file__).resolve().parents[2] / "docs" / "tables" / "paper-factors.tsv"
PEOPLE, COHORTS = 974, 10


def cohort(loadings: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Draw people: scores of the factors times the loadings, and noise that completes each variance to 1."""
    generator = np.random.default_rng(seed)
    values = loadings.to_numpy(float)
    own = np.sqrt(np.clip(1 - (values**2).sum(axis=1), 0.0, None))
    scores = generator.standard_normal((PEOPLE, values.shape[1]))
    drawn = scores @ values.T + generator.standard_normal((PEOPLE, len(values))) * own
    table = pd.DataFrame(drawn, columns=loadings.index)
    table.insert(0, "subject", [f"{number:04d}" for number in range(PEOPLE)])
    return table


def rows(seed: int) -> pd.DataFrame:
    """Return one row for each of the paper's factors in one cohort."""
    paper = printed_loadings()
    table = cohort(paper, seed)
    settings = section_defaults("phenotypes") | {"seed": seed}
    found = analyse_phenotypes([("drawn", table)], list(table["subject"]), settings)
    ours = found.loadings.set_index("variable")
    matches = matched_factors(paper, ours, 0.3)
    return pd.DataFrame(
        {
            "cohort": seed,
            "factors": found.facts["factors"],
            "variance": found.facts["variance_explained"],
            "factor": [match.paper for match in matches],
            "congruence": [match.congruence for match in matches],
            "printed": [match.printed for match in matches],
            "again": [match.again for match in matches],
        }
    )


if __name__ == "__main__":
    pd.concat(rows(seed) for seed in range(COHORTS)).to_csv(
        TABLE, sep="\t", index=False, float_format="%.4g", na_rep="n/a"
    )
