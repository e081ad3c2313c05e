"""Section on the phenotypes: missing data, factors, loadings, descriptive statistics."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import yaml

from neurostrata.core.wording import count, join_words
from neurostrata.phenotypes.analysis import factor_meanings as described_factors
from neurostrata.phenotypes.factors import kaiser_count
from neurostrata.phenotypes.naming import named_factors, proposed_names
from neurostrata.report.data.results import StudyResults, is_yes
from neurostrata.report.figures.phenotypes import factor_label, factor_names
from neurostrata.report.html.blocks import (
    Bullets,
    Code,
    Section,
    Table,
    Text,
    fixed,
    format_number,
    frame_table,
)
from neurostrata.report.html.page import Page

#: Congruence from which two factors are alike (Lorenzo-Seva and ten Berge 2006).
LEAST_CONGRUENCE = 0.85


def factor_meanings(study: StudyResults, most: int = 3) -> dict[str, str]:
    """Return factor -> its name in the configuration, or else its `most` strongest variables (none for single variables).

    Raises
    ------
    UserError
        When the configuration's names do not fit the factors of ``loadings.tsv``.
    """
    loadings = study.table(study.tree.phenotypes("loadings.tsv"), columns=["variable"])
    if loadings is None:
        return {}
    settings = study.config["phenotypes"]
    given = named_factors(settings["factor_names"], [name for name in loadings if name != "variable"])
    if settings["method"] == "variables":
        return given
    threshold = float(study.config["report"]["loading_threshold"])
    values = loadings.set_index("variable").select_dtypes("number")
    meanings = {}
    for factor in values.columns:
        strong = values[factor].abs().sort_values(ascending=False)
        names = [
            f"{'−' if values.loc[v, factor] < 0 else ''}{v}" for v in strong[strong >= threshold].index[:most]
        ]
        if names and list(names) != [str(factor)]:
            meanings[str(factor)] = ", ".join(names)
    return meanings | given


def factor_contents(study: StudyResults, most: int = 3) -> dict[str, str]:
    """Return factor -> its `most` strongest variables with their signs, as "+ sleep 4, − mood 2"; none for single variables."""
    loadings = study.table(study.tree.phenotypes("loadings.tsv"), columns=["variable"])
    if loadings is None or study.config["phenotypes"]["method"] == "variables":
        return {}
    values = loadings.set_index("variable").select_dtypes("number")
    contents = {}
    for factor in values.columns:
        strongest = values[factor].dropna().abs().sort_values(ascending=False).index[:most]
        contents[str(factor)] = ", ".join(
            f"{'−' if values.loc[name, factor] < 0 else '+'} {str(name).replace('_', ' ')}"
            for name in strongest
        )
    return contents


def phenotypes_section(page: Page) -> Section:
    """Return the section on the phenotypic variables and the factors they were reduced to."""
    study, tree = page.study, page.study.tree
    section = Section("phenotypes", "Phenotypes")
    configured = bool(study.config["phenotypes"]["tables"])
    absent = "" if configured else "no phenotype table is configured (phenotypes: tables)"
    scores_path, loadings_path = tree.phenotypes("scores.tsv"), tree.phenotypes("loadings.tsv")
    scores = study.table(scores_path, "Phenotypes and their factors", ["subject"], absent)
    if scores is None and not loadings_path.is_file():
        section.add(Text(f"No phenotypes: {absent or 'phenotypes/scores.tsv was not made'}.", kind="note"))
        return section
    facts = study.sidecar(scores_path)
    if facts:
        section.add(_summary(page, facts, scores))
        section.add(_missing_data(facts))
        for warning in facts["warnings"]:
            section.add(Text(f"Warning: {warning}.", kind="warning"))
    else:
        study.note("How the phenotypes were reduced", "phenotypes/scores.json was not made or cannot be read")
    if study.config["phenotypes"]["method"] != "variables":
        _factors(page, section)
    _descriptives(page, section)
    return section


def _summary(page: Page, facts: dict[str, Any], scores: pd.DataFrame | None) -> Text | None:
    if scores is None:
        return None
    path = page.study.tree.phenotypes("scores.tsv")
    names = [column for column in scores if column != "subject"]
    n = int(scores[names].notna().any(axis=1).sum())
    if facts["method"] == "variables":
        text = f"{count(len(names), 'variable')} of {count(n, 'person', 'people')}, standardised and compared one by one."
    else:
        text = f"{count(len(names), 'factor')} from "
        text += f"{count(int(facts['variables_analysed']), 'variable')} of {count(n, 'person', 'people')}"
        text += f", explaining {100 * float(facts['variance_explained']):.0f}% of the variance"
        if "factors_by_parallel_analysis" in facts:
            text += f". Parallel analysis would keep {facts['factors_by_parallel_analysis']}"
        text += "."
    return Text(text, sources=page.sources(path))


def _missing_data(facts: dict[str, Any]) -> Bullets:
    policies = {
        "complete": "only people with all variables have scores",
        "median": "gaps are filled with the variable's median",
        "iterative": "gaps are filled by regression on the person's other variables",
        "none filled": "gaps are not filled; each variable is compared among the people who have it",
    }
    policy = str(facts["missing"])
    items = [("Policy for missing values", f"{policy}: {policies[policy]}")]
    if facts["values_filled"]:
        items.append(("Values filled in", str(facts["values_filled"])))
    for key, name in (
        ("people_without_table_row", "People in no phenotype table"),
        ("people_only_in_tables", "People in the tables but not in the cohort"),
    ):
        if facts[key]:
            items.append((name, str(facts[key])))
    for key, name in (("people_left_out", "People left out"), ("variables_left_out", "Variables left out")):
        if facts[key]:
            items.append((name, _listing(facts[key])))
    return Bullets(items)


def _listing(value: Any, most: int = 12) -> str:
    if isinstance(value, dict):
        parts = [f"{name} ({reason})" for name, reason in value.items()]
    elif isinstance(value, list):
        parts = [str(item) for item in value]
    else:
        return str(value)
    text = "; ".join(parts[:most])
    more = f"; and {len(parts) - most} more" if len(parts) > most else ""
    return f"{len(parts)}, namely {text}{more}"


def _factors(page: Page, section: Section) -> None:
    from neurostrata.report.figures.phenotypes import eigenvalue_figure, loadings_figure

    study, tree = page.study, page.study.tree
    path = tree.phenotypes("eigenvalues.tsv")
    eigen = study.table(path, "Eigenvalues", ["eigenvalue"])
    if eigen is not None and eigen["eigenvalue"].notna().any():
        retained = int(is_yes(eigen["retained"]).sum()) if "retained" in eigen else 0
        parallel = eigen["parallel_95"].to_numpy(float) if "parallel_95" in eigen else None
        if parallel is not None and not np.isfinite(parallel).any():
            parallel = None
        section.add(
            page.figure(
                partial(eigenvalue_figure, eigen["eigenvalue"].to_numpy(float), parallel, retained),
                "phenotypes/eigenvalues.svg",
                "Eigenvalues of the correlation matrix of the variables",
                _kept(eigen, retained, study.config["phenotypes"]["n_factors"])
                + (
                    " Parallel analysis (orange): the 95th percentile of random tables of the same size, which real factors should "
                    f"exceed. It would keep {parallel_count(eigen)}."
                    if parallel is not None
                    else ""
                ),
                path,
                wide=False,
            )
        )
    path = tree.phenotypes("loadings.tsv")
    loadings = study.table(path, "Loadings of the factors", ["variable"])
    if loadings is None:
        return
    values = loadings.set_index("variable").select_dtypes("number")
    if values.empty or not values.notna().any(axis=None):
        study.note("Loadings of the factors", "phenotypes/loadings.tsv holds no numbers")
        return
    names = factor_names(values.columns, factor_meanings(study))
    threshold = float(study.config["report"]["loading_threshold"])
    blank = f"Loadings below {threshold:g} in size are left blank"
    if values.shape[1] <= 40:
        section.add(
            page.figure(
                loadings_figure(values, threshold, names),
                "phenotypes/loadings.svg",
                "Loadings after varimax rotation",
                f"{blank} (Fig. 6 of the paper); the table has them all. Variables are sorted by the factor they load on most.",
                path,
            )
        )
    section.add(frame_table(loadings, "All loadings", names=names, sources=page.sources(path), folded=True))
    section.add(*_names(page, loadings, eigen, threshold))
    _congruence(page, section, names)


def _kept(eigen: pd.DataFrame, retained: int, n_factors: int | None) -> str:
    """Return by which rule how many components were kept."""
    if n_factors is None:
        return f"Kaiser's rule, as in the paper: components with an eigenvalue above 1 are kept ({retained})."
    first = "The first component is" if retained == 1 else f"The first {retained} components are"
    return (
        f"{first} kept (phenotypes: n_factors). Kaiser's rule, as in the paper, would keep {kaiser_count(eigen['eigenvalue'].to_numpy(float))}: "
        "those with an eigenvalue above 1."
    )


def _names(
    page: Page, loadings: pd.DataFrame, eigen: pd.DataFrame | None, threshold: float
) -> list[Table | Code]:
    """Return what loads on each factor, and names to begin with where the configuration has none."""
    path = page.study.tree.phenotypes("loadings.tsv")
    given = named_factors(
        page.study.config["phenotypes"]["factor_names"], [name for name in loadings if name != "variable"]
    )
    highest = described_factors(loadings, threshold)
    frame = pd.DataFrame({"Factor": [factor_label(factor) for factor in highest]})
    if given:
        frame["Name"] = [given.get(factor, "") for factor in highest]
    frame["Highest loadings"] = list(highest.values())
    if eigen is not None and "rotated_variance" in eigen and eigen["rotated_variance"].notna().any():
        share = eigen["rotated_variance"].to_numpy(float)[: len(highest)] / len(loadings)
        frame["Share of the variance"] = share
    table = frame_table(
        frame,
        "Factors by their highest loadings",
        names={column: column for column in frame},
        formats={"Share of the variance": fixed(3)},
        caption=f"At most six variables, those with a loading of at least {threshold:g} in size. Shares: of the variance of all variables, after "
        "the rotation.",
        sources=page.sources(path),
        folded=len(frame) > 25,
    )
    if given:
        return [table]
    proposal = proposed_names(loadings.set_index("variable"), threshold)
    lines = yaml.safe_dump(
        {"phenotypes": {"factor_names": proposal}}, sort_keys=False, allow_unicode=True, width=200
    )
    return [table, Code("Names to begin with, for the configuration", lines, page.sources(path))]


def _congruence(page: Page, section: Section, names: Mapping[str, str]) -> None:
    """Whether each factor is found again in halves of the people."""
    path = page.study.tree.phenotypes("congruence.tsv")
    table = page.study.table(path, "Congruence of the factors over split halves", ["factor", "congruence"])
    if table is None:
        return
    shown = table.assign(reading=[congruence_reading(value) for value in table["congruence"]])
    section.add(
        frame_table(
            shown,
            "Whether the factors are found again in halves of the people",
            names={
                "factor": "Factor",
                "congruence": "Congruence",
                "low": "5th percentile",
                "splits": "Splits",
                "reading": "Reading",
            },
            formats={
                "factor": lambda factor: names.get(str(factor), str(factor)),
                "congruence": fixed(2),
                "low": fixed(2),
            },
            caption="Tucker's coefficient of congruence of the loadings of two random halves, mean over splits. Read after Lorenzo-Seva "
            f"and ten Berge (2006). {_not_found_again(table['congruence'])}",
            sources=page.sources(path),
        )
    )


def _not_found_again(congruence: pd.Series) -> str:
    """Return how many factors are not found again, in a sentence."""
    poor, known = int((congruence < LEAST_CONGRUENCE).sum()), int(congruence.notna().sum())
    if poor:
        verb, them = ("is", "it") if poor == 1 else ("are", "them")
        return f"{poor} of {count(len(congruence), 'factor')} {verb} below {LEAST_CONGRUENCE:g}: results on {them} may not hold in other people."
    if not known:
        return "No factor could be compared."
    compared = "" if known == len(congruence) else " that could be compared"
    if known == 1:
        return f"The one factor{compared} is not below {LEAST_CONGRUENCE:g}."
    return f"None of the {known} factors{compared} is below {LEAST_CONGRUENCE:g}."


def congruence_reading(value: float) -> str:
    """Return the usual reading of Tucker's coefficient (Lorenzo-Seva and ten Berge 2006)."""
    if not value >= LEAST_CONGRUENCE:
        return "n/a" if np.isnan(value) else "not the same factor"
    return "the same factor" if value >= 0.95 else "similar"


def parallel_count(eigen: pd.DataFrame) -> int:
    """Return how many components parallel analysis keeps: the leading ones above the 95th percentile of random tables."""
    above = (eigen["eigenvalue"] > eigen["parallel_95"]).to_numpy()
    return int(len(above) if above.all() else np.argmin(above))


def _descriptives(page: Page, section: Section) -> None:
    study = page.study
    path = study.tree.phenotypes("descriptives.tsv")
    table = study.table(path, "Descriptive statistics of the phenotypes", ["variable"])
    if table is None:
        return
    gaps = ""
    if "missing" in table:
        lacking = table[pd.to_numeric(table["missing"], errors="coerce") > 0].sort_values(
            "missing", ascending=False
        )
        if len(lacking):
            worst = [
                f"{row['variable']} ({format_number(row['missing'])})"
                for _, row in lacking.head(5).iterrows()
            ]
            gaps = f"{count(len(lacking), 'variable has', 'variables have')} missing values, most in {join_words(worst)}. "
    section.add(
        frame_table(
            table,
            "Descriptive statistics of every variable",
            caption=gaps + "In each variable's own unit (the paper's Table S1).",
            sources=page.sources(path),
            folded=True,
        )
    )
