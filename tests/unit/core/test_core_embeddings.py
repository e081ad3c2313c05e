import numpy as np
import pandas as pd
import pytest

from neurostrata.core.embeddings import read_embeddings
from neurostrata.core.errors import UserError
from neurostrata.core.tables import write_table


def written(folder, **columns):
    path = folder / "embeddings.tsv"
    write_table(path, pd.DataFrame(columns))
    return path


def test_what_is_no_dimension_is_kept_apart(tmp_path):
    path = written(
        tmp_path,
        subject=["01", "02", "03"],
        role=["train"] * 3,
        missing=["", "ndi", ""],
        probability=[0.1, 0.2, 0.3],
        z0001=[1.0, 2.0, 3.0],
        z0002=[4.0, 5.0, 6.0],
    )
    codes = read_embeddings(path)
    assert codes.subjects == ["01", "02", "03"]
    assert codes.values.tolist() == [[1, 4], [2, 5], [3, 6]]
    whole = codes.complete()
    assert whole.subjects == ["01", "03"]
    assert whole.values.tolist() == [[1, 4], [3, 6]]
    assert whole.table["probability"].tolist() == [0.1, 0.3]


def test_what_cannot_be_used_is_named(tmp_path):
    with pytest.raises(UserError, match="no column with numbers"):
        read_embeddings(written(tmp_path, subject=["01"]))
    with pytest.raises(UserError, match="subject 02 has missing"):
        read_embeddings(written(tmp_path, subject=["01", "02"], z=[1.0, np.nan]))
    with pytest.raises(UserError, match="subject 01 is listed more than once"):
        read_embeddings(written(tmp_path, subject=["01", "01"], z=[1.0, 2.0]))
