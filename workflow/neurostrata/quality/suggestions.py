"""Suggested exclusions: who is flagged by which measure, in a sentence, unless somebody has decided already."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pandas as pd

from neurostrata.core.wording import join_words
from neurostrata.imaging.quality.registry import FAMILIES, Measure
from neurostrata.quality.deviations import Compared
from neurostrata.quality.gather import RECONSTRUCTION

COLUMNS = {
    "subject": "person",
    "modality": "what it is suggested to leave out; n/a: the person altogether",
    "measure": "what was measured",
    "value": "in the unit of the measure",
    "z": "difference from what is expected, in robust standard deviations",
    "limit": "of z",
    "reason": "a sentence",
}
#: Groups of measures that speak of the person's diffusion data alone.
_OF_DIFFUSION = "diffusion"


def number(value: float) -> str:
    """Return a number with three significant digits."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def about(covariates: Sequence[str]) -> str:
    """Say whom a person is compared with."""
    return f" of their {join_words(list(covariates))}" if covariates else ""


def sentence(row: pd.Series, measure: Measure, covariates: Sequence[str]) -> str:
    """Say what is unusual about a person.

    Parameters
    ----------
    row
        Of the table of deviations.
    measure
        What was measured.
    covariates
        What the expectation takes into account.
    """
    what, _, meaning = measure.words.rstrip(".").partition("; ")
    unit = "" if measure.unit in ("1", "its own") else f" {measure.unit}"
    side = "above" if row["z"] > 0 else "below"
    return (
        f"{what}: {number(row['value'])}{unit}, where {number(row['expected'])} is expected of a person{about(covariates)} "
        f"({abs(row['z']):.1f} robust standard deviations {side} it, limit {row['limit']:.1f}, {row['compared_with']} people): "
        f"{meaning or 'unusual'}."
    )


def concerned(measure: Measure, of_diffusion: Collection[str], modalities: Collection[str]) -> list[str]:
    """Return the modalities that a measure speaks of; [""] for the person altogether.

    Parameters
    ----------
    measure
        What was measured.
    of_diffusion
        Declared modalities that are made of diffusion data.
    modalities
        All modalities in use.
    """
    if measure.group == _OF_DIFFUSION:
        return list(of_diffusion) or [""]
    family = measure.name.partition("_")[0] == RECONSTRUCTION or any(
        measure.name.startswith(f"{name}_") for name in FAMILIES
    )
    modality = measure.name.rpartition("_")[2]
    return [modality] if family and modality in modalities else [""]


def suggest(
    compared: Sequence[Compared],
    of_diffusion: Collection[str],
    modalities: Collection[str],
    decided: Collection[tuple[str, str]],
) -> pd.DataFrame:
    """Return the suggested exclusions, worst people first; columns :data:`COLUMNS`.

    Parameters
    ----------
    compared
        Every measure.
    of_diffusion, modalities
        See :func:`concerned`.
    decided
        Persons and modalities ("": all) that are kept, or excluded already.
    """
    rows = []
    for one in compared:
        table = one.table()
        for _, row in table[table["flagged"] == "true"].iterrows():
            reason = sentence(row, one.measure, one.expected.covariates)
            for modality in concerned(one.measure, of_diffusion, modalities):
                if {(row["subject"], ""), (row["subject"], modality)} & set(decided):
                    continue
                rows.append(
                    {
                        **row[["subject", "measure", "value", "z", "limit"]],
                        "modality": modality,
                        "reason": reason,
                    }
                )
    found = pd.DataFrame(rows, columns=list(COLUMNS))
    if found.empty:
        return found
    beyond = found["z"].abs() / found["limit"]
    worst = beyond.groupby(found["subject"]).transform("max")
    order = pd.DataFrame({"worst": -worst, "subject": found["subject"], "beyond": -beyond})
    return found.loc[order.sort_values(["worst", "subject", "beyond"], kind="stable").index].reset_index(
        drop=True
    )


def flagged_people(compared: Sequence[Compared]) -> Mapping[str, list[str]]:
    """Return subject -> measures that flag the person."""
    found: dict[str, list[str]] = {}
    for one in compared:
        for subject in one.values.index[one.flagged]:
            found.setdefault(str(subject), []).append(one.measure.name)
    return found
