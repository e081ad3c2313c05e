"""Tables of region numbers and names, as atlases come with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from neurostrata.core.errors import UserError
from neurostrata.gate.region_names import region_names


def test_names_come_in_any_of_the_usual_tables(tmp_path: Path) -> None:
    aal = tmp_path / "aal.txt"
    aal.write_text("2001 Precentral_L 2001\n2002 Precentral_R 2002\n")
    assert region_names(aal) == {2001: "Precentral_L", 2002: "Precentral_R"}
    table = tmp_path / "names.csv"
    table.write_text("index,name\n1,left insula\n2,right insula\n")
    assert region_names(table) == {1: "left insula", 2: "right insula"}
    table.write_text("index,name\n1,left insula\nsecond,right insula\n")
    with pytest.raises(UserError, match="line 3 has no number and name"):
        region_names(table)
    assert region_names(None) == {}


def test_a_byte_order_mark_hides_no_region(tmp_path: Path) -> None:
    """Spreadsheets begin a table with one; the first region was called by its number."""
    table = tmp_path / "names.csv"
    table.write_text("1,left insula\n2,right insula\n", encoding="utf-8-sig")
    assert region_names(table) == {1: "left insula", 2: "right insula"}


def test_comments_are_no_regions(tmp_path: Path) -> None:
    """FreeSurfer's table of colours has some between its lines."""
    table = tmp_path / "lut.txt"
    table.write_text("#No. Label Name:  R G B A\n\n17  Left-Hippocampus  220 216 20 0\n# right\n53  Right-Hippocampus  220 216 20 0\n")  # fmt: skip
    assert region_names(table) == {17: "Left-Hippocampus", 53: "Right-Hippocampus"}
