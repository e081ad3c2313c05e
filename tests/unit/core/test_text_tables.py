"""Tables as people save them: taken strictly, refused with the line that is wrong."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest

from neurostrata.cohort.ids import match_ids, plain_id, subject_id
from neurostrata.cohort.sheet import read_cohort_sheet, read_qc_sheet
from neurostrata.cohort.values import judge
from neurostrata.core.errors import UserError
from neurostrata.core.tables import read_table, write_table
from neurostrata.core.text_tables import read_text_table
from neurostrata.phenotypes.coding import code_table
from neurostrata.phenotypes.tables import join_tables, read_phenotypes

LINES = ["subject\tnote\tiq", "01\ta\t1", "02\tb\t2", "03\tc\t3"]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_stray_quotation_mark_swallows_no_line(tmp_path: Path) -> None:
    spoiled = "\n".join(LINES).replace("\ta\t", '\t"a\t')
    path = write(tmp_path / "t.tsv", spoiled)
    with path.open(newline="") as stream:  # what the csv module makes of it
        assert len(list(csv.reader(stream, delimiter="\t"))) < len(LINES)
    with pytest.raises(UserError, match=r"t\.tsv, line 2, column note: a quotation mark opens the cell"):
        read_text_table(path)
    # a pair of them, four lines apart, took the people between them
    path = write(tmp_path / "u.tsv", "\n".join(LINES).replace("\ta\t", '\t"a\t').replace("\tc\t", '\tc"\t'))
    with pytest.raises(UserError, match=r"u\.tsv, line 2, column note"):
        read_text_table(path)
    # in CSV the usual rules hold, but for line breaks
    path = write(tmp_path / "v.csv", 'subject,note\n01,"a, ""b"""\n02,"c\nd"\n')
    with pytest.raises(UserError, match=r"v\.csv, line 3: the quotation marks do not match"):
        read_text_table(path)
    path = write(tmp_path / "w.csv", 'subject,note\n01,"a, ""b"""\n02,5\' 11"\n')
    assert read_text_table(path).column("note") == ['a, "b"', "5' 11\""]


def test_pairs_of_quotation_marks_of_a_spreadsheet(tmp_path: Path) -> None:
    path = write(tmp_path / "t.tsv", 'subject\tnote\n01\t"said ""no"""\n02\t3" coil\n')
    assert read_text_table(path).column("note") == ['said "no"', '3" coil']


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("subject\tiq\n01\t1\n02\n", r"line 3: 1 cells for 2 columns \(tabs separate them\)"),
        ("subject\tiq\n01\t1\t\n", "line 2: 3 cells for 2 columns"),
        ("subject\tiq\tiq\n01\t1\t2\n", "a column name is given twice: iq"),
        ("subject\t\n01\t7\n", "column 2 has no name, and '7' in line 2"),
        (b"subject\tiq\n01\t\xe9\n", "line 2: is not UTF-8 text"),
        (b"subject\tiq\n01\t1\x00\n", "line 2: holds a null character"),
        ("subject\tiq\n01\t1\r2\n", "line 2: a carriage return inside the line"),
        (b"PK\x03\x04\x14\x00\x06\x00", "is a spreadsheet (.xlsx or .ods), not a text table; save it as"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "is a spreadsheet (.xls)"),
        (b"\x1f\x8b\x08\x00", "is compressed (gzip), not a text table; unpack it"),
        ("subject,a;b\n1,2;3\n", "are separated by commas and by semicolons; use tabs"),
        ("\n\n", "is empty"),
    ],
)
def test_what_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = write(tmp_path / "t.tsv", content)
    with pytest.raises(UserError) as caught:
        read_text_table(path)
    assert message.replace("\\", "") in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.tsv", "subject\tiq\r\n01\t1\r\n02\t2\r\n"),
        ("t.tsv", "subject\tiq\r01\t1\r02\t2"),
        ("t.tsv", b"\xef\xbb\xbfsubject\tiq\n01\t1\n\n02\t2\n\t\n"),
        ("t.tsv", "subject\tiq\n01\t1\n02\t2\n".encode("utf-16")),
        ("t.tsv", "subject,iq\n01,1\n02,2\n"),
        ("t.tsv", "subject;iq\n01;1\n02;2\n"),
        ("t.csv", "subject;iq\n01;1\n02;2\n"),
        ("t.csv", "subject\tiq\n01\t1\n02\t2\n"),
        ("t.tsv", " subject \tiq\t\n01\t 1\t\n02\t2\t\n"),
    ],
)
def test_what_is_taken(tmp_path: Path, name: str, content: str | bytes) -> None:
    table = read_text_table(write(tmp_path / name, content))
    assert table.columns == ["subject", "iq"]
    assert table.cells == [["01", "1"], ["02", "2"]]


def test_lines_are_numbered_as_in_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "c.tsv", "# people\nsubject\tt1w\n\n01\ta.nii\n#02\tb.nii\nx y\tc.nii\n")
    with pytest.raises(UserError, match=r"c\.tsv, line 6: subject 'x y'"):
        read_cohort_sheet(path)
    path = write(
        tmp_path / "qc.tsv", "participant_id\tmodality\tdecision\treason\n# seen by N\nsub-01\t\tdrop\tx\n"
    )
    with pytest.raises(UserError, match=r"qc\.tsv, line 3: subject 01: decision is 'drop'"):
        read_qc_sheet(path)


def test_every_table_reads_ids_alike(tmp_path: Path) -> None:
    assert [plain_id(text) for text in ("sub-01", " 7 ", "100307.0", "1.5")] == ["01", "7", "100307", "1.5"]
    assert subject_id("100307.0") == "100307"
    ids = ["nan", "None", "null", "NA", "sub-007"]
    path = write(tmp_path / "c.tsv", "participant_id\tt1w\n" + "".join(f"{i}\t{i}.nii\n" for i in ids))
    _, rows = read_cohort_sheet(path)
    people = [row["subject"] for row in rows]
    assert people == ["007", "NA", "None", "nan", "null"]
    path = write(
        tmp_path / "p.tsv",
        "participant_id\tiq\tsex\n" + "".join(f"{i}\t{n}\tNA\n" for n, i in enumerate(ids)),
    )
    joined = join_tables([("p", read_phenotypes(path))], people)
    assert joined.without == []
    assert joined.values.loc["nan", "iq"] == 0
    assert joined.values["sex"].isna().all()
    # and our own tables between the stages keep them
    write_table(tmp_path / "own.tsv", pd.DataFrame({"subject": people, "x": [1.5, None, 2, 3, 4]}))
    again = read_table(tmp_path / "own.tsv")
    assert list(again["subject"]) == people
    assert again["x"].isna().sum() == 1


def test_near_misses_of_ids() -> None:
    match = match_ids(["001", "002", "010", "A-1".replace("-", ""), "5"], ["1", "002", "10", "a_1", "x"])
    assert match.known == ["002"]
    assert match.near == [("001", "1"), ("010", "10"), ("A1", "a_1")]
    assert match_ids(["7", "007"], ["7"]).near == []  # 7 is a person of the study


def test_strangers_block_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "p.tsv", "subject\tiq\n01\t1\next-7\tabc\next-7\t2\n1.0\t3\n02\t2\n")
    joined = join_tables([("p", read_phenotypes(path))], ["01", "02"])
    assert joined.others == 2
    path = write(tmp_path / "q.tsv", "subject\tiq\n01\t1\n01\t2\n")
    with pytest.raises(UserError, match="subject 01 has more than one row"):
        join_tables([("q", read_phenotypes(path))], ["01", "02"])


@pytest.mark.parametrize(
    ("cells", "kind", "odd"),
    [
        (["1", "2.5", "-3e2", "n/a", "NaN", ""], "number", []),
        (["1", "2", "abc", "4"], "mixed", [2]),
        (["1,5", "2", "3,5"], "mixed", [0, 2]),
        (["1,5", "2,5"], "mixed", [0, 1]),
        (["22-25", "26-30", "36+"], "number", []),
        (["22-25", "26-30", "31"], "mixed", [2]),
        (["F", "m", "n/a"], "number", []),
        (["F", "M"] * 9 + ["Femal"], "mixed", [18]),
        (["yes", "no", "maybe"], "text", []),
        (["red", "blue", "3", "green"], "text", []),
        (["1_000", "2"], "mixed", [0]),
    ],
)
def test_columns_of_numbers_and_of_words(cells: list[str], kind: str, odd: list[int]) -> None:
    assert (judge(cells).kind, judge(cells).odd) == (kind, odd)


def test_one_wrong_cell_does_not_drop_a_variable_in_silence(tmp_path: Path) -> None:
    path = write(tmp_path / "p.tsv", "subject\tiq\tnote\n01\t1\tx\n02\tabc\ty\n03\t3\tz\n04\t4\tz\n")
    values = join_tables([("p", read_phenotypes(path))], ["01", "02", "03", "04"]).values
    with pytest.raises(UserError, match=r"column iq has numbers, but also 'abc' \(02\)"):
        code_table(values)
    assert list(code_table(values.drop(columns="iq")).left_out) == ["note"]  # words are listed, as before


def test_codes_of_a_questionnaire_are_text_for_its_coding(tmp_path: Path) -> None:
    """With a gap pandas would make 1.0 of them, for which the coding has no number."""
    path = write(tmp_path / "p.tsv", "subject\tsmoking\n01\t1\n02\tn/a\n03\t2\n")
    frame = read_phenotypes(path, coding={"smoking": {"1": 0, "2": 5}})
    coded = code_table(join_tables([("p", frame)], ["01", "02", "03"]).values, {"smoking": {"1": 0, "2": 5}})
    assert coded.values["smoking"].tolist()[::2] == [0, 5]


def test_a_coded_word_is_a_value_even_where_it_otherwise_means_a_missing_one(tmp_path: Path) -> None:
    path = write(tmp_path / "p.tsv", "subject\tworry\tiq\n01\tNone\tNone\n02\tmild\t2\n03\tn/a\t3\n")
    coding = {"worry": {"None": 0, "mild": 1}}
    frame = read_phenotypes(path, coding=coding)
    coded = code_table(join_tables([("p", frame)], ["01", "02", "03"]).values, coding).values
    assert coded["worry"].tolist()[:2] == [0, 1]
    assert coded.isna().to_numpy().tolist() == [[False, True], [False, False], [True, False]]


def test_wide_tables_are_read_fast(tmp_path: Path) -> None:
    """Seconds, not minutes: 1,500 variables of 300 people."""
    from time import process_time

    names = [f"v{n}" for n in range(1500)]
    text = "subject\t" + "\t".join(names) + "\n"
    row = "\t".join(str(n % 7 + 0.5) for n in range(1500))
    write(tmp_path / "wide.tsv", text + "".join(f"{n:03d}\t{row}\n" for n in range(300)))
    begun = process_time()
    frame = read_phenotypes(tmp_path / "wide.tsv")
    values = join_tables([("wide", frame)], [f"{n:03d}" for n in range(300)]).values
    code_table(values)
    assert process_time() - begun < 20
    assert values.shape == (300, 1500)
