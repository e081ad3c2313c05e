"""The results of a study, finished or not: each table is read once, and each absent piece is noted."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.config import adjusts_codes, fill_config, fill_defaults, load_schema
from neurostrata.core.errors import UserError
from neurostrata.core.files import sidecar_path
from neurostrata.core.records import DamagedError, check
from neurostrata.core.tables import read_table
from neurostrata.report.data.layout import Experiment, ResultsTree

#: Columns that stay strings in every table.
TEXT_COLUMNS = (
    "subject",
    "fold",
    "role",
    "modality",
    "method",
    "factor",
    "variable",
    "exemplar",
    "family",
    "site",
    "session",
    "finder",
    "characteristic",
    "level",
    "rater",
    "other",
    "disagree_on",
)

#: Configuration of an experiment that is on disk but not, or no longer, in the configuration.
UNKNOWN: dict[str, Any] = {
    "model": None,
    "modalities": [],
    "options": {},
    "analyses": fill_defaults({}, load_schema("experiments")["properties"]["analyses"]),
}


def is_yes(column: pd.Series) -> pd.Series:
    """Return which values of a column stand for yes, as text or as truth values."""
    return column.astype(str).str.lower().isin(["yes", "true", "1", "1.0"])


@dataclass(frozen=True)
class Missing:
    """A piece of the report that could not be made, and why."""

    what: str
    why: str


@dataclass
class StudyResults:
    """The results tree together with the configuration that made it.

    Attributes
    ----------
    tree
        Paths.
    config
        The whole configuration. Keys that an earlier release did not have are filled in with their defaults.
    missing
        What is missing and why; filled while the report is made.
    """

    tree: ResultsTree
    config: Mapping[str, Any]
    missing: list[Missing] = field(default_factory=list)
    _tables: dict[Path, pd.DataFrame | None] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.config = fill_config(self.config)
        adjusted = adjusts_codes(self.strata_settings)
        codes = ("adjusted", "raw") if adjusted else ("raw",)
        self.tree = replace(self.tree, codes=codes, finders=tuple(self.strata_settings["finders"]))

    @property
    def strata_settings(self) -> dict[str, Any]:
        """Section ``strata``."""
        return self.config["strata"]

    @property
    def alpha(self) -> float:
        """Limit of the false-discovery rates."""
        return float(self.config["report"]["alpha"])

    @property
    def counted_alpha(self) -> float:
        """Limit at which the stages counted what they found: in halves, and with shuffled links."""
        return float(self.strata_settings["comparisons"]["alpha"])

    @property
    def level(self) -> str:
        """Level of the intervals of effect sizes, such as "95%"."""
        return f"{100 * float(self.strata_settings['comparisons']['confidence']):g}%"

    def note(self, what: str, why: str) -> None:
        """Add a line to the list of missing pieces, once."""
        line = Missing(what, why)
        if line not in self.missing:
            self.missing.append(line)

    def relative(self, path: Path) -> str:
        """Return a path relative to the results folder, for messages."""
        return (
            path.relative_to(self.tree.root).as_posix() if path.is_relative_to(self.tree.root) else str(path)
        )

    def table(
        self, path: Path, what: str = "", columns: Iterable[str] = (), why_absent: str = ""
    ) -> pd.DataFrame | None:
        """Read a table once.

        Parameters
        ----------
        path
            TSV file.
        what
            What the report would have shown; "" when its absence need not be reported.
        columns
            Required columns.
        why_absent
            What to say when the file is absent; by default that it was not made.

        Returns
        -------
        DataFrame or None
            None when the file is absent, unreadable, without rows or lacks one of `columns`.
        """
        if path not in self._tables:
            self._tables[path] = None
            if path.is_file():
                try:
                    frame = read_table(path, text=TEXT_COLUMNS)
                except DamagedError:
                    raise  # it was changed after its stage wrote it: it must be made again, not left out
                except UserError as error:
                    reason = str(error).removeprefix(f"{path}: ")
                    self.note(
                        what or self.relative(path), f"{self.relative(path)} {reason}" if what else reason
                    )
                else:
                    self._tables[path] = frame
        frame_or_none = self._tables[path]
        if frame_or_none is None:
            if what and not path.is_file():
                self.note(what, why_absent or f"{self.relative(path)} was not made")
            return None
        lacking = [column for column in columns if column not in frame_or_none.columns]
        if lacking:
            self.note(
                what or self.relative(path), f"{self.relative(path)} has no column {', '.join(lacking)}"
            )
            return None
        if frame_or_none.empty:
            if what:
                self.note(what, f"{self.relative(path)} has no rows")
            return None
        return frame_or_none

    def json(self, path: Path) -> dict[str, Any]:
        """Return a JSON object, empty when the file is absent or is not one."""
        check(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError, UnicodeDecodeError):
            return {}
        return content if isinstance(content, dict) else {}

    def arrays(self, path: Path, what: str, names: Iterable[str] = ()) -> dict[str, np.ndarray]:
        """Read the arrays of an NPZ file.

        Parameters
        ----------
        path
            NPZ file.
        what
            What the report would have shown, for the list of missing pieces; "" adds nothing to it.
        names
            Required arrays; by default all of the file.

        Returns
        -------
        dict
            Empty when the file is absent, cannot be read or lacks one of `names`.
        """
        check(path)
        try:
            with np.load(path, allow_pickle=False) as content:
                return {name: content[name] for name in names or content.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            if what:
                self.note(what, f"{self.relative(path)} cannot be read ({error})")
            return {}

    def sidecar(self, path: Path) -> dict[str, Any]:
        """Return the JSON sidecar of a table or image, empty without one."""
        return self.json(sidecar_path(path))

    def column_meanings(self, path: Path) -> dict[str, str]:
        """Return column -> meaning from a table's sidecar."""
        columns = self.sidecar(path).get("Columns", {})
        return {str(key): str(value) for key, value in columns.items()} if isinstance(columns, dict) else {}

    def subjects(self) -> list[str]:
        """Return the people of the cohort in order (empty when there is no cohort table)."""
        frame = self.table(self.tree.subjects, columns=["subject"])
        return [] if frame is None else [str(subject) for subject in frame["subject"]]

    def experiments(self) -> list[tuple[Experiment, dict[str, Any]]]:
        """Return each experiment, configured or found on disk, with its configuration.

        Configured ones come first and in the order of the configuration. Those that are only on disk have
        :data:`UNKNOWN`.
        """
        configured = [dict(item) for item in self.config["experiments"]]
        pairs = [(self.tree.experiment(str(item["name"])), item) for item in configured]
        names = {experiment.name for experiment, _ in pairs}
        found = [experiment for experiment in self.tree.experiments() if experiment.name not in names]
        return pairs + [(experiment, UNKNOWN | {"name": experiment.name}) for experiment in found]
