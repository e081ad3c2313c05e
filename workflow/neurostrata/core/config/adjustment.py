"""Which characteristics of people the codes and the comparisons of clusters are adjusted for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Covariates of the comparisons, where most people have them and they differ between people.
COVARIATES = ("age", "sex", "head_size", "site", "image_quality")

#: People for each column of covariates where their number decides: more columns would also explain what is chance.
PEOPLE_PER_COLUMN = 20
#: The same where a number's effect is removed from codes along a curve. With curves of age and head size, groups among 300
#: people were harder to tell apart; what bends with age shows in the codes of some 1,000.
PEOPLE_PER_CURVED_COLUMN = 100
#: Degrees of freedom of the curves of ``splines: auto``.
AUTOMATIC_SPLINE = 3


def adjusts_codes(strata: Mapping[str, Any]) -> bool:
    """Tell whether codes are adjusted before they are clustered."""
    return bool(strata["adjust"]["columns"] or strata["adjust"]["sites"])


def only_lines(adjust: Mapping[str, Any], people: int) -> bool:
    """Tell whether `splines: auto` removes no curve from codes: people are few, or only sites are removed."""
    few = people < PEOPLE_PER_CURVED_COLUMN * AUTOMATIC_SPLINE
    return adjust["splines"] == "auto" and (few or not adjust["columns"])


def named_columns(adjust: Mapping[str, Any]) -> list[str]:
    """Return the columns that `strata.adjust` names: those whose effects are removed, and that of the sites."""
    columns = [] if adjust["columns"] == "auto" else list(adjust["columns"])
    return columns + ([adjust["sites"]] if adjust["sites"] else [])


def further_covariates(adjust: Mapping[str, Any]) -> list[str]:
    """Return the columns that `strata.adjust` names beyond :data:`COVARIATES`: the comparisons are adjusted for them too."""
    return [name for name in dict.fromkeys(named_columns(adjust)) if name not in COVARIATES]
