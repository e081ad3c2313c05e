"""Embedding tables: the codes of people, their roles in training, and which modalities they lacked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from neurostrata.core.errors import UserError
from neurostrata.core.files import read_json, sidecar_path
from neurostrata.core.records import is_expected
from neurostrata.core.tables import read_table

#: Columns of an embedding table that are not dimensions of the code.
NOT_EMBEDDING = ("subject", "role", "fold", "experiment", "missing", "probability")
#: Key of the sidecar: the modality that each number of the code belongs to; absent where each number belongs to all of them.
PARTS = "CodeModalities"


def embedding_frame(codes: np.ndarray) -> pd.DataFrame:
    """Return codes (people x dimensions) as a table with columns z0001, z0002, ..."""
    return pd.DataFrame(codes, columns=[f"z{number + 1:04d}" for number in range(codes.shape[1])])


@dataclass(frozen=True)
class Embeddings:
    """Some people's codes.

    Attributes
    ----------
    subjects : list of str
    values : ndarray, shape (people, dimensions), float64
    table : DataFrame
        The other columns: subject and, where they are known, role, missing, probability.
    """

    subjects: list[str]
    values: np.ndarray
    table: pd.DataFrame

    def select(self, rows: np.ndarray) -> Embeddings:
        """Return some of the people, by a mask or positions."""
        table = self.table[rows] if rows.dtype == bool else self.table.iloc[rows]
        return Embeddings(list(table["subject"]), self.values[rows], table.reset_index(drop=True))

    def complete(self) -> Embeddings:
        """Return those who lacked no modality."""
        if "missing" not in self.table:
            return self
        return self.select((self.table["missing"].isna() | (self.table["missing"] == "")).to_numpy())


def read_embeddings(path: Path) -> Embeddings:
    """Read an embedding table.

    Raises
    ------
    UserError
        When it has no subjects or no numbers, a number is missing, or a person is listed twice.
    """
    frame = read_table(path, text=("subject", "role", "fold", "experiment", "missing"))
    if "subject" not in frame.columns:
        raise UserError(f"{path}: has no column subject")
    columns = [column for column in frame.columns if column not in NOT_EMBEDDING]
    if not columns:
        raise UserError(f"{path}: has no column with numbers")
    try:
        values = frame[columns].to_numpy(dtype=np.float64)
    except ValueError as error:
        raise UserError(f"{path}: the embedding has a value that is not a number ({error})") from error
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise UserError(
            f"{path}: the embedding of subject {frame['subject'][bad].iloc[0]} has missing or infinite "
            f"values ({int(bad.sum())} such people); the model did not train well, or the table was truncated"
        )
    doubles = frame["subject"][frame["subject"].duplicated()]
    if len(doubles):
        raise UserError(f"{path}: subject {doubles.iloc[0]} is listed more than once")
    return Embeddings(list(frame["subject"]), values, frame.drop(columns=columns))


def read_parts(path: Path) -> list[str] | None:
    """Return the modality that each number of the codes belongs to, from the table's sidecar; None when it belongs to all of them."""
    sidecar = sidecar_path(path)
    parts = read_json(sidecar).get(PARTS) if is_expected(sidecar) else None
    return None if parts is None else [str(name) for name in parts]
