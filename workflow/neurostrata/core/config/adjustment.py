"""Which characteristics of people the codes and the comparisons of clusters are adjusted for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Covariates of the comparisons, where most people have them and they differ between people.
COVARIATES = ("age", "sex", "head_size", "site", "image_quality")


def adjusts_codes(strata: Mapping[str, Any]) -> bool:
    """Tell whether codes are adjusted before they are clustered."""
    return bool(strata["adjust"]["columns"] or strata["adjust"]["sites"])


def named_columns(adjust: Mapping[str, Any]) -> list[str]:
    """Return the columns that `strata.adjust` names: those whose effects are removed, and that of the sites."""
    columns = [] if adjust["columns"] == "auto" else list(adjust["columns"])
    return columns + ([adjust["sites"]] if adjust["sites"] else [])


def further_covariates(adjust: Mapping[str, Any]) -> list[str]:
    """Return the columns that `strata.adjust` names beyond :data:`COVARIATES`: the comparisons are adjusted for them too."""
    return [name for name in dict.fromkeys(named_columns(adjust)) if name not in COVARIATES]
