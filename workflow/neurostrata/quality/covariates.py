"""How quality goes with site, age and sex: reported, and taken into account when people are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from neurostrata.quality.expected import ages
from neurostrata.strata.comparison.kruskal import benjamini_hochberg, eta_squared, eta_squared_interval

COLUMNS = {
    "measure": "what was measured",
    "characteristic": "site, age or sex",
    "effect_name": "rho: Spearman's rank correlation; eta2: share of rank variance between sites or sexes",
    "effect": "effect size",
    "low": "lower end of its 95% interval",
    "high": "upper end",
    "p": "of no association (Spearman, Kruskal-Wallis)",
    "p_adjusted": "false-discovery rate over all rows (Benjamini and Hochberg 1995)",
    "n": "people with both; of sites and sexes those of at least 5 people",
}
#: Classes of fewer people are left out.
FEWEST = 5
CONFIDENCE = 0.95


def relate_to_people(measured: pd.DataFrame, people: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each measure and each of site, age and sex; columns :data:`COLUMNS`.

    Parameters
    ----------
    measured
        Index: subjects; a column per measure.
    people
        Characteristics by subject.
    """
    about = people.reindex(measured.index)
    rows = []
    for name, column in measured.items():
        for characteristic in ("site", "age", "sex"):
            if characteristic not in about:
                continue
            of = about[characteristic]
            of = ages(of) if characteristic == "age" else of.replace("", np.nan)
            known = column.notna() & of.notna()
            found = (_number if characteristic == "age" else _classes)(column[known], of[known])
            if found:
                rows.append({"measure": name, "characteristic": characteristic, **found})
    table = pd.DataFrame(rows, columns=[c for c in COLUMNS if c != "p_adjusted"])
    table["p_adjusted"] = benjamini_hochberg(table["p"].to_numpy(dtype=float))
    return table[list(COLUMNS)]


def _number(values: pd.Series, of: pd.Series) -> dict[str, Any]:
    n = len(values)
    if n < 2 * FEWEST or values.nunique() < 2 or of.nunique() < 2:
        return {}
    rho, p = stats.spearmanr(values, of)
    # Fisher's z with the variance of Bonett and Wright (2000)
    half = stats.norm.ppf((1 + CONFIDENCE) / 2) * np.sqrt((1 + rho**2 / 2) / (n - 3))
    centre = np.arctanh(np.clip(rho, -0.999999, 0.999999))
    return {
        "effect_name": "rho",
        "effect": rho,
        "low": np.tanh(centre - half),
        "high": np.tanh(centre + half),
        "p": p,
        "n": n,
    }


def _classes(values: pd.Series, of: pd.Series) -> dict[str, Any]:
    counts = of.value_counts()
    large = counts.index[counts >= FEWEST]
    parts = [values[of == name].to_numpy(dtype=float) for name in large]
    if len(parts) < 2 or np.unique(np.concatenate(parts)).size < 2:
        return {}
    h, p = stats.kruskal(*parts)
    n = sum(map(len, parts))
    low, high = eta_squared_interval(float(h), len(parts), n, CONFIDENCE)
    return {
        "effect_name": "eta2",
        "effect": eta_squared(float(h), len(parts), n),
        "low": low,
        "high": high,
        "p": p,
        "n": n,
    }
