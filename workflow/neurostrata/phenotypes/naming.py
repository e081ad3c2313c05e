"""Names of factors, as the configuration gives them, and names to begin with, from what loads on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from neurostrata.core.errors import UserError
from neurostrata.core.wording import count

#: The setting, for messages.
SETTING = "phenotypes.factor_names"


def named_factors(names: Sequence[str] | Mapping[str, str] | None, factors: Sequence[str]) -> dict[str, str]:
    """Return factor -> the name that the configuration gives it.

    Parameters
    ----------
    names
        Setting ``phenotypes.factor_names``: a name for each factor, in their order; or factor (or its number, from 1) -> name,
        of some or all; or None.
    factors
        The factors that were found, such as ``factor_01``.

    Raises
    ------
    UserError
        When names and factors do not fit.
    """
    if names is None:
        return {}
    found = f"{count(len(factors), 'factor')}, {factors[0]} to {factors[-1]}" if factors else "no factors"
    if not isinstance(names, Mapping):
        if len(names) != len(factors):
            raise UserError(
                f"{SETTING}: {count(len(names), 'name')}, but the study has {found}; list one for each, or map some to names"
            )
        return dict(zip(factors, names))
    numbers = {str(number): factor for number, factor in enumerate(factors, start=1)}
    given: dict[str, str] = {}
    for key, name in names.items():
        factor = key if key in factors else numbers.get(key)
        if factor is None:
            raise UserError(f"{SETTING}: there is no factor '{key}'; the study has {found}")
        if factor in given or name in given.values():
            raise UserError(
                f"{SETTING}: '{key}: {name}' names a factor twice, or gives two factors the same name"
            )
        given[factor] = name
    return given


def proposed_names(loadings: pd.DataFrame, threshold: float, most: int = 2) -> dict[str, str]:
    """Return factor -> a name to begin with: its variables of highest absolute loading, "less" before those with a negative one.

    Parameters
    ----------
    loadings : DataFrame, variables x factors
        Index: variables.
    threshold
        Smallest absolute loading that is named; the highest of a factor always is.
    most
        Variables in a name at most.
    """
    names = {}
    for factor in loadings.columns:
        size = loadings[factor].abs().sort_values(ascending=False, kind="stable")
        chosen = [v for rank, v in enumerate(size.index[:most]) if rank == 0 or size[v] >= threshold]
        words = [f"{'less ' if loadings.loc[v, factor] < 0 else ''}{v}" for v in chosen]
        names[str(factor)] = " and ".join(words)
    return names
