"""The filters of `cohort.filters`: which files of BIDS datasets may be the image of a column. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from neurostrata.cohort.discovery.bids_index import IMAGES, NUMBERED, File, Index
from neurostrata.cohort.discovery.messages import ordered
from neurostrata.core.errors import UserError
from neurostrata.core.wording import nearest

#: Long names of entities, as in the filter files of fMRIPrep -> their keys in file names.
ENTITIES = {
    "subject": "sub",
    "session": "ses",
    "acquisition": "acq",
    "ceagent": "ce",
    "tracer": "trc",
    "reconstruction": "rec",
    "direction": "dir",
    "modality": "mod",
    "inversion": "inv",
    "mtransfer": "mt",
    "processing": "proc",
    "hemisphere": "hemi",
    "resolution": "res",
    "density": "den",
    "segmentation": "seg",
    "description": "desc",
    "sample": "sample",
    "nucleus": "nuc",
    "volume": "voi",
    "template": "tpl",
}
#: Keys in file names -> long names of entities.
LONG_NAMES = {short: long for long, short in ENTITIES.items()}
#: Further entities that a filter may name even where no file has them.
_FURTHER_ENTITIES = frozenset(
    [
        "task",
        "run",
        "echo",
        "flip",
        "part",
        "space",
        "split",
        "recording",
        "chunk",
        "atlas",
        "label",
        "desc",
        "model",
        "param",
        "mdp",
        "stat",
        "from",
        "to",
        "mode",
        "cohort",
        "stain",
        "scale",
        "tracksys",
    ]
)
#: Keys of a filter that are not entities. `dataset` is a root's folder name or its pipeline's name.
_PROPERTIES = ("session", "datatype", "suffix", "extension", "dataset")
#: Column -> suffix of its files, unless a filter says otherwise.
SUFFIXES = {"t1w": "T1w", "dwi": "dwi", "t1w_mask": "mask", "dwi_mask": "mask"}


def value_of(file: File, key: str) -> str | None:
    """Return a file's value of an entity or property, None when it has none."""
    if key == "session":
        return file.session or None
    if key in ("datatype", "suffix", "extension"):
        return getattr(file, key) or None
    return file.entities.get(key)


def _equal(key: str, expected: Any, value: str) -> bool:
    text = str(expected).strip()
    if key in NUMBERED and text.isdecimal():
        text = str(int(text))
    if key == "extension":
        return text.lstrip(".") == value.lstrip(".")
    return text == value


def _accepts(key: str, expected: Any, value: str | None) -> bool:
    """Tell whether a value is the expected one; fMRIPrep's words for "none", "any" and "either" count."""
    if expected is None or expected == "Query.NONE":
        return value is None
    if expected in ("Query.ANY", "*"):
        return value is not None
    return expected == "Query.OPTIONAL" or (value is not None and _equal(key, expected, value))


class Filters:
    """The filters of all columns, checked.

    Parameters
    ----------
    index
        The files.
    given
        Column -> entity -> value, as configured.

    Raises
    ------
    UserError
        When a filter names an unknown entity, or people.
    """

    def __init__(self, index: Index, given: Mapping[str, Mapping[str, Any]]) -> None:
        self.index = index
        self.of_column = {column: self._short_keys(column, filter) for column, filter in given.items()}

    def _short_keys(self, column: str, given: Mapping[str, Any]) -> dict[str, Any]:
        in_files = {key for file in self.index.files for key in file.entities}
        allowed = {*ENTITIES, *LONG_NAMES, *_FURTHER_ENTITIES, *_PROPERTIES, *in_files}
        keys = {}
        for key, value in given.items():
            if key not in allowed:
                hint = nearest(str(key), sorted(allowed))
                raise UserError(f"cohort.filters.{column}: '{key}' is not a BIDS entity{hint}")
            if key in ("subject", "sub"):
                raise UserError(
                    f"cohort.filters.{column}: people are chosen by cohort.participants, not by 'subject'"
                )
            keys["session" if key in ("session", "ses") else ENTITIES.get(key, key)] = value
        return keys

    def names(self, column: str, key: str) -> bool:
        """Tell whether the filter of a column has a key."""
        return key in self.of_column.get(column, {})

    def passes(self, file: File, column: str) -> bool:
        """Tell whether a file passes the filter of a column."""
        for key, value in self.of_column.get(column, {}).items():
            alternatives = value if isinstance(value, list) else [value]
            if key == "dataset":
                dataset = self.index.datasets[file.root]
                names = {dataset.name.lower(), dataset.pipeline.lower(), dataset.folder.rstrip("/").lower()}
                if not any(str(name).rstrip("/").lower() in names for name in alternatives):
                    return False
            elif not any(_accepts(key, expected, value_of(file, key)) for expected in alternatives):
                return False
        return True

    def without_files(self, columns: list[str]) -> Iterator[str]:
        """Yield a line for each filter that no file passes."""
        images = [file for file in self.index.files if file.extension in IMAGES]
        for column in columns:
            if column not in self.of_column or any(self.passes(file, column) for file in images):
                continue
            suffix = self.of_column[column].get("suffix", SUFFIXES.get(column, "mask"))
            alike = [file for file in images if file.suffix == suffix]
            present = []
            for key in self.of_column[column]:
                if key == "dataset":
                    datasets = self.index.datasets
                    values = {d.name for d in datasets} | {d.pipeline for d in datasets}
                else:
                    values = {value_of(f, key) or "null" for f in (images if key == "suffix" else alike)}
                present.append(
                    f"{LONG_NAMES.get(key, key)}: {', '.join(ordered(values - {''})[:12]) or 'none'}"
                )
            yield f"cohort.filters.{column}: no file passes; the files have {'; '.join(present)}"
