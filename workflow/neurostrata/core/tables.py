"""Tables as tab-separated values with a JSON sidecar that explains every column."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from pandas._libs.parsers import STR_NA_VALUES

from neurostrata.core import records
from neurostrata.core.errors import UserError
from neurostrata.core.files import atomic_path, write_sidecar

#: Cells that are missing values in columns that are not declared as text.
_MISSING_VALUES = sorted({*STR_NA_VALUES, "n/a", "N/A", "NA", ""})


def write_table(
    path: str | Path,
    frame: pd.DataFrame,
    columns: Mapping[str, str] | None = None,
    **sidecar: Any,
) -> None:
    """Write a table (no index) as TSV, missing values as ``n/a``, numbers with 10 significant digits.

    Parameters
    ----------
    path
        A ``.tsv`` path.
    frame
        The table.
    columns
        What each column holds, with its unit. With it (or with `sidecar`) a JSON sidecar is written.
    **sidecar
        Further facts for the sidecar: seed, settings, input digests.
    """
    with atomic_path(path) as temporary:
        frame.to_csv(
            temporary, sep="\t", index=False, na_rep="n/a", float_format="%.10g", lineterminator="\n"
        )
    if columns is not None or sidecar:
        write_sidecar(path, Columns=dict(columns or {}), **sidecar)


def read_table(path: str | Path, text: tuple[str, ...] = ("subject",)) -> pd.DataFrame:
    """Read one of our own TSV or CSV tables; columns named in `text` stay strings.

    Only empty cells and ``n/a`` are missing values, and never in `subject`: a person's id may be NA. Tables that people
    write are read by :mod:`neurostrata.core.text_tables`.

    Raises
    ------
    UserError
        When the file is missing, empty, not a table or not as its stage wrote it; the message names it.
    """
    path = Path(path)
    records.check(path)
    separator = "," if path.suffix.lower() == ".csv" else "\t"
    try:
        columns = pd.read_csv(path, sep=separator, nrows=0).columns
        missing = dict.fromkeys(columns, _MISSING_VALUES)
        missing |= {name: [] if name == "subject" else ["", "n/a"] for name in text if name in missing}
        return pd.read_csv(
            path,
            sep=separator,
            dtype=dict.fromkeys(text, str),
            na_values=missing,
            keep_default_na=False,
        )
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is not a readable table ({error})") from error
