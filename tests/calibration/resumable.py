"""Long comparisons that can be stopped: rows are written as they come, and what is there is not done again."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


def read(output: Path, keys: Sequence[str]) -> pd.DataFrame:
    """Return the rows that are there."""
    if not output.exists():
        return pd.DataFrame(columns=list(keys))
    return pd.read_csv(output, sep="\t", dtype={"subject": str})


def collect(
    output: Path,
    keys: Sequence[str],
    tasks: Iterable[tuple[Any, ...]],
    one: Callable[..., list[dict[str, Any]]],
    processes: int = 1,
) -> pd.DataFrame:
    """Do the tasks that `output` has no rows of; write it anew after each.

    Parameters
    ----------
    output
        A tab-separated table.
    keys
        Columns by which a task is known; a task begins with their values.
    tasks
        Arguments of `one`, as one tuple.
    one
        Returns the rows of a task.
    processes
        How many tasks to do at a time.
    """
    from neurostrata.core.files import atomic_path

    done = read(output, keys)
    known = set(done[list(keys)].itertuples(index=False, name=None))
    missing = [task for task in tasks if task[: len(keys)] not in known]
    if not missing:
        return done
    with multiprocessing.get_context("spawn").Pool(min(processes, len(missing))) as pool:
        for rows in pool.imap_unordered(one, missing):
            done = pd.concat([done, pd.DataFrame(rows)], ignore_index=True)
            with atomic_path(output) as temporary:  # a kill while writing must not cost hours
                done.to_csv(temporary, sep="\t", index=False)
            print(pd.DataFrame(rows).to_string(max_rows=12), file=sys.stderr, flush=True)
    return done


def command_line(
    about: str | None, cohorts: int, models: Iterable[str] = (), processes: int = 1
) -> argparse.ArgumentParser:
    """Return a parser of what all comparisons take: the table, and --cohorts, --models (of those that have some), --processes, --summary."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--cohorts", type=int, default=cohorts)
    if models:
        parser.add_argument("--models", nargs="+", default=list(models), choices=list(models))
    parser.add_argument("--processes", type=int, default=processes)
    parser.add_argument("--summary", action="store_true", help="print the table of what is there")
    return parser


def collected(
    chosen: argparse.Namespace,
    keys: Sequence[str],
    tasks: Iterable[tuple[Any, ...]],
    one: Callable[..., list[dict[str, Any]]],
) -> pd.DataFrame:
    """Return all rows of `chosen.output`, after doing what is missing if more than the summary is asked for."""
    if chosen.summary:
        return read(chosen.output, keys)
    return collect(chosen.output, keys, tasks, one, chosen.processes)


def show(table: pd.DataFrame) -> None:
    """Print a table whole."""
    with pd.option_context("display.max_columns", None, "display.width", 250, "display.precision", 3):
        print(table.to_string())


def markdown(table: pd.DataFrame) -> str:
    """Return a table as Markdown."""
    lines = [list(table.columns), ["---"] * table.shape[1], *table.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def interval(values: pd.Series) -> str:
    """Return mean and half width of the 95% t interval, as text."""
    from scipy.stats import t

    half = t.ppf(0.975, max(len(values) - 1, 1)) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.3f} ± {half:.3f}"
