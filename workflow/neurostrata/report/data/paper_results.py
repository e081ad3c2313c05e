"""The papers' results beside those of a run: which files stand for a table or figure, and the numbers that can be computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.locations import RESOURCES
from neurostrata.core.tables import read_table
from neurostrata.phenotypes.factors import tucker_congruence
from neurostrata.report.data.results import StudyResults, is_yes

#: Folders below results/ whose next part is the name of an experiment.
OF_EXPERIMENTS = ("experiments", "report/figures")
#: Figures that belong to no experiment.
OF_STUDY = ("report/figures/phenotypes",)
#: Column -> the column with its standard deviation over folds.
SPREADS = {"mean": "sd", "value": "fold_sd"}
#: How a column of the chosen rows becomes one number.
SUMMARIES: Mapping[str, Callable[[pd.DataFrame, str], float]] = {
    "count": lambda rows, _: len(rows),
    "distinct": lambda rows, column: rows[column].nunique(),
    "max": lambda rows, column: rows[column].max(),
    "mean": lambda rows, column: rows[column].mean(),
    "worst_fold_median": lambda rows, column: rows.groupby("fold")[column].median().max(),
    "value": lambda rows, column: rows[column].iloc[0] if len(rows) == 1 else np.nan,
}
#: Share of a paper's variables that a run must have for its factors to be compared.
LEAST_VARIABLES = 2 / 3


def experiment_of(path: str) -> str | None:
    """Return the experiment that a file below results/ belongs to; None for one of the whole study."""
    if any(path.startswith(f"{folder}/") for folder in OF_STUDY):
        return None
    for folder in OF_EXPERIMENTS:
        if path.startswith(f"{folder}/"):
            return path.removeprefix(f"{folder}/").split("/")[0]
    return None


def run_file(study: StudyResults, table: Mapping[str, Any], path: str) -> Path | None:
    """Return a file that a paper's table names, if the run has it.

    An experiment of the run stands for one of the paper's preset if it has its name and the paper's model.

    Parameters
    ----------
    study
        The run.
    table
        Of the paper (``resources/papers``).
    path
        Below results/.
    """
    name = experiment_of(path)
    models = {experiment["name"]: experiment["model"] for experiment in study.config["experiments"]}
    if name is not None and models.get(name) != table["model"]:
        return None
    file = study.tree.root / path
    return file if file.is_file() else None


def chosen_rows(frame: pd.DataFrame, where: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows of a table that a paper's number is about.

    Parameters
    ----------
    frame
        The table.
    where
        Column -> the value that it has; ``< 0.05`` compares, true and false stand for any way of writing yes and no.
    """
    kept = pd.Series(True, index=frame.index)
    for column, wanted in where.items():
        if isinstance(wanted, bool):
            kept &= is_yes(frame[column]) == wanted
        elif isinstance(wanted, str) and wanted.startswith("<"):
            kept &= pd.to_numeric(frame[column], errors="coerce") < float(wanted[1:])
        else:
            kept &= frame[column].astype(str) == str(wanted)
    return frame[kept]


def summarised(frame: pd.DataFrame, number: Mapping[str, Any]) -> tuple[float, float]:
    """Return one number of a table, and its standard deviation where that of the paper is known.

    Parameters
    ----------
    frame
        The table; several of them one after the other.
    number
        Row of ``numbers`` of a paper's table: ``where``, ``column``, ``take``, ``spread``.

    Returns
    -------
    tuple of float
        NaN for what cannot be computed. The standard deviation of a mean is that over its rows (people or seeds), that of a
        single row stands in the table (over folds).
    """
    rows = chosen_rows(frame, number.get("where", {}))
    column, take = number["column"], number["take"]
    if take != "count" and rows.empty:
        return np.nan, np.nan
    value = float(SUMMARIES[take](rows, column))
    spread = np.nan
    if "spread" in number and take == "mean" and len(rows) > 1:
        spread = float(rows[column].std(ddof=1))
    elif "spread" in number and take == "value" and len(rows) == 1:
        spread = float(rows[SPREADS[column]].iloc[0])
    return value, spread


def run_number(
    study: StudyResults, table: Mapping[str, Any], number: Mapping[str, Any]
) -> tuple[float, float, list[Path]]:
    """Return the run's number beside one of a paper, its standard deviation, and the tables it comes from; NaN without any.

    Parameters
    ----------
    study
        The run.
    table
        Of the paper.
    number
        Row of its ``numbers``.
    """
    names = number.get("tables", [number["table"]] if "table" in number else [])
    files = [run_file(study, table, name) for name in names]
    found = [file for file in files if file is not None]
    needed = [number["column"], *number.get("where", {})] if names else []
    frames = [frame for file in found if (frame := study.table(file, columns=needed)) is not None]
    if not names or len(frames) < len(names):
        return np.nan, np.nan, []
    return (*summarised(pd.concat(frames), number), found)


def printed_loadings(path: Path = RESOURCES / "hcp_phenotypes.tsv") -> pd.DataFrame:
    """Return the loadings that Dimitri et al. print in Fig. 6, variables x factors; 0 where the figure is blank."""
    table = read_table(path, text=("column", "all_loadings")).set_index("column")["all_loadings"]
    cells = {
        variable: {
            factor: float(value) for factor, value in (part.rsplit(" ", 1) for part in text.split("; "))
        }
        for variable, text in table.items()
    }
    return pd.DataFrame.from_dict(cells, orient="index").fillna(0.0)


@dataclass(frozen=True)
class FactorMatch:
    """A paper's factor and the run's factor that resembles it most, each of the run's used once.

    Attributes
    ----------
    paper, ours
        Names; `ours` is "" where the run has fewer factors.
    congruence
        Absolute value of Tucker's coefficient of their loadings.
    printed, again
        How many loadings the paper prints, and how many of these the run has as well, as large and with the same sign.
    """

    paper: str
    ours: str
    congruence: float
    printed: int
    again: int


def matched_factors(paper: pd.DataFrame, ours: pd.DataFrame, threshold: float) -> list[FactorMatch]:
    """Match a paper's factors with those of a run, one to one, so that the sum of the congruences is largest.

    Parameters
    ----------
    paper, ours : DataFrame, variables x factors
        Loadings; variables that only one of the two has are left out.
    threshold
        Absolute value from which a loading counts as found again.
    """
    from scipy.optimize import linear_sum_assignment

    common = [variable for variable in paper.index if variable in ours.index]
    first, second = paper.loc[common], ours.loc[common]
    with np.errstate(invalid="ignore", divide="ignore"):
        signed = np.nan_to_num(tucker_congruence(first.to_numpy(float), second.to_numpy(float)))
    partners = dict(zip(*linear_sum_assignment(-np.abs(signed))))
    matches = []
    for number, factor in enumerate(first.columns):
        printed = first[factor] != 0
        if number not in partners:
            matches.append(FactorMatch(str(factor), "", np.nan, int(printed.sum()), 0))
            continue
        partner = partners[number]
        turned = second.iloc[:, partner] * np.sign(signed[number, partner])
        again = printed & (turned.abs() >= threshold) & (np.sign(turned) == np.sign(first[factor]))
        name, congruence = str(second.columns[partner]), float(abs(signed[number, partner]))
        matches.append(FactorMatch(str(factor), name, congruence, int(printed.sum()), int(again.sum())))
    return matches


def comparable(paper: pd.DataFrame, variables: Sequence[str]) -> tuple[int, bool]:
    """Return how many of a paper's variables a run has, and whether they are enough to compare factors."""
    shared = len(set(paper.index) & set(variables))
    return shared, shared >= LEAST_VARIABLES * len(paper)
