"""What the codes of an experiment predict without any clusters."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pandas as pd

from neurostrata.report.data.evidence import false_discovery_rates
from neurostrata.report.data.layout import Experiment
from neurostrata.report.figures.phenotypes import factor_names
from neurostrata.report.html.blocks import Figure, Section, Table, Text, fixed, format_number, frame_table
from neurostrata.report.html.page import Page
from neurostrata.report.sections.differences import number_formats
from neurostrata.report.text.differences import adjusted_for, curves
from neurostrata.report.text.features import feature_name
from neurostrata.report.text.verdict import equals
from neurostrata.strata.comparison.covariates import COLUMNS as COVARIATE_COLUMNS
from neurostrata.strata.finders.registry import finder_name

#: Columns that a sentence says, the same in every row.
_SAID = list(COVARIATE_COLUMNS)


def continuous_blocks(
    page: Page, experiment: Experiment, meanings: Mapping[str, str], absent: str = ""
) -> list[Figure | Table | Text]:
    """Return the results without clusters: a figure by factor, and canonical correlations in words."""
    from neurostrata.report.figures.checks import continuous_figure

    path = experiment.continuous
    table = page.study.table(
        path,
        f"The continuous alternative in {experiment.name}",
        ("features", "method", "factor", "value", "low", "high", "q"),
        absent,
    )
    if table is None:
        return []
    blocks: list[Figure | Table | Text] = []
    ridge = table[table["factor"].notna() & table["value"].notna()]
    if len(ridge):
        names = factor_names(ridge["factor"].unique(), meanings)
        labels = {feature: feature_name(feature) for feature in ridge["features"].unique()}
        cut = ridge["factor"].nunique()
        blocks.append(
            page.figure(
                partial(continuous_figure, ridge, names, labels),
                f"{experiment.name}/continuous.svg",
                "How much of each factor is predicted without clusters, and with them",
                f"Ridge regression in held-out people, families kept together{_freed(table)}; points with 95% intervals; an arrowhead at the left: still worse; "
                "dotted: no better than without a prediction. Where clusters predict less than the codes, dividing people into groups loses information."
                + (f" The first 20 of {cut} factors." if cut > 20 else ""),
                path,
                alt="R² of each factor in held-out people, predicted from "
                + "; ".join(
                    f"{labels[feature]}, median {format_number(part['value'].median(), 2)}"
                    for feature, part in ridge.groupby("features", sort=False)
                ),
            )
        )
    canonical = [
        f"{feature_name(str(row['features']))} {format_number(row['value'], 2)} ({format_number(row['low'], 2)} to "
        f"{format_number(row['high'], 2)}, p {equals(row['p'])})"
        for _, row in table[table["method"].astype(str) == "cca"].iterrows()
    ]
    if canonical:
        blocks.append(
            Text(
                f"Canonical correlation with all factors together, in held-out people: {'; '.join(canonical)}.",
                sources=page.sources(path),
            )
        )
    return blocks


def _freed(table: pd.DataFrame) -> str:
    """Return which covariates factors were freed of, in words that follow the method; "" for none."""
    covariates = adjusted_for(table)
    if covariates == "nothing":
        return ""
    return (
        f"; factors adjusted for {covariates}{curves(table)}, whose effects are learned from the same people"
    )


def continuous_section(
    page: Page, experiment: Experiment, meanings: Mapping[str, str], absent: str
) -> Section:
    """Return the section on what is predicted without clusters, and what clusters add to it."""
    section = Section("continuous", "Without clusters")
    section.add(*continuous_blocks(page, experiment, meanings, absent))
    table = page.study.table(experiment.continuous, columns=("features", "factor", "value"))
    if table is not None:
        names = factor_names(table["factor"].dropna().unique(), meanings)
        formats = number_formats(table, names) | dict.fromkeys(("value", "low", "high"), fixed(3))
        section.add(
            frame_table(
                table.drop(columns=_SAID, errors="ignore"),
                "Predictions without clusters in numbers",
                formats={**formats, "features": feature_name},
                names={"p": "p", "q": "q", "n": "n"},
                caption=f"Ridge regression and canonical correlation{_freed(table)}.",
                sources=page.sources(experiment.continuous),
                folded=True,
            )
        )
    path = experiment.continuous_added
    added = page.study.table(
        path,
        f"What clusters add to the continuous model in {experiment.name}",
        ("finder", "factor", "added_r2", "p"),
        absent,
    )
    if added is not None:
        names = factor_names(added["factor"].unique(), meanings)
        formats = number_formats(added, names) | dict.fromkeys(("added_r2", "low", "high"), fixed(3))
        added = added.assign(q=added.groupby("finder")["p"].transform(false_discovery_rates))
        section.add(
            frame_table(
                added.drop(columns=_SAID, errors="ignore"),
                "What clusters add to the codes",
                formats={**formats, "finder": finder_name},
                names={
                    "finder": "Clusters of",
                    "factor": "Factor",
                    "added_r2": "Added R²",
                    "p": "p",
                    "q": "q",
                },
                caption="R² of codes and clusters together minus that of the codes and the directions in which the clusters lie, in "
                f"held-out people: what groups tell beyond the continuum that they are cut from{_freed(added)}.",
                sources=page.sources(path),
            )
        )
    return section
