"""Quality decisions of several raters: which act, which do not because raters disagree."""

from __future__ import annotations

from pathlib import Path

import pytest

from neurostrata.cohort.decisions import decide, kept, raters
from neurostrata.cohort.sheet import Row, read_qc_sheet
from neurostrata.core.errors import UserError


def row(decision: str, rater: str = "", modality: str = "", subject: str = "01") -> Row:
    return {"subject": subject, "modality": modality, "decision": decision, "reason": "seen", "rater": rater}


@pytest.mark.parametrize(
    ("rows", "acting", "disputed"),
    [
        ([row("exclude", "a")], ["a"], False),
        ([row("exclude", "a"), row("exclude", "b")], ["a", "b"], False),
        ([row("exclude", "a"), row("unsure", "b")], ["a"], False),
        ([row("exclude", "a"), row("keep", "b")], [], True),
        ([row("exclude"), row("keep", "b")], [], True),
        ([row("exclude", "a"), row("exclude", "b"), row("keep", "c")], [], True),
        # the word of the consensus counts, in whichever line
        ([row("keep", "consensus"), row("exclude", "a"), row("keep", "b")], [], False),
        ([row("exclude", "Consensus"), row("exclude", "a"), row("keep", "b")], ["Consensus"], False),
        # a rater may change their mind
        ([row("exclude", "a"), row("keep", "a")], [], False),
        ([row("keep", "a"), row("exclude", "a")], ["a"], False),
        ([row("exclude", "a"), row("unsure", "a")], [], False),
        # to keep the person does not contradict that one modality is left out by nobody else
        ([row("exclude", "a", "fa"), row("keep", "b", "jac")], ["a"], False),
        ([row("exclude", "a", "fa"), row("keep", "b")], [], True),
        ([row("exclude", "a"), row("keep", "b", "fa")], ["a"], False),
        ([row("unsure", "a"), row("keep", "b")], [], False),
        # what is settled, kept or disputed of one modality leaves the decisions about others in force
        ([row("keep", "a", "jac"), row("exclude", "a", "fa")], ["a"], False),
        (
            [row("exclude", "a", "fa"), row("keep", "consensus", "fa"), row("exclude", "b", "jac")],
            ["b"],
            False,
        ),
        ([row("exclude", "a", "fa"), row("keep", "b", "fa"), row("exclude", "c", "jac")], ["c"], True),
        # a consensus that is unsure settles nothing
        ([row("exclude", "b"), row("unsure", "consensus")], ["b"], False),
        ([row("exclude", "b"), row("keep", "a"), row("unsure", "consensus")], [], True),
    ],
)
def test_which_decisions_act(rows: list[Row], acting: list[str], disputed: bool) -> None:
    found, disagreements = decide(rows)
    assert [one["rater"] for one in found] == acting
    assert bool(disagreements) == disputed


def test_a_disagreement_says_who_and_what_to_do() -> None:
    (found,) = decide([row("exclude", "ann", "fa"), row("keep", "bob"), row("exclude", subject="02")])[1]
    assert found.sentence() == (
        "subject 01, fa: ann: exclude, bob: keep; not excluded until a row with the rater 'consensus' decides"
    )


def test_who_is_kept() -> None:
    rows = [row("keep", "a"), row("keep", "a", "fa", "02"), row("unsure", "a", subject="03")]
    assert kept(rows) == {("01", ""), ("02", "fa")}
    assert kept([*rows, row("exclude", "b")]) == {("02", "fa")}
    # the consensus counts for all
    assert kept([row("keep", "a"), row("exclude", "b"), row("keep", "Consensus")]) == {("01", "")}
    assert kept([row("keep", "a"), row("exclude", "consensus")]) == set()


def test_who_is_a_rater() -> None:
    rows = [row("keep", "ann"), row("keep", "Consensus"), row("keep"), row("exclude_template", "bob")]
    assert raters(rows) == ["ann"]


def test_rater_and_date_are_optional(tmp_path: Path) -> None:
    sheet = tmp_path / "qc.tsv"
    sheet.write_text(
        "subject\tmodality\tdecision\treason\trater\tdate\n"
        "01\t\tkeep\t\tann\t2026-03-31\nsub-02\tfa\tunsure\t\tbob\t2026-03-31T10:00:00.000Z\n"
    )
    assert [(r["subject"], r["decision"], r["rater"]) for r in read_qc_sheet(sheet)] == [
        ("01", "keep", "ann"),
        ("02", "unsure", "bob"),
    ]
    sheet.write_text("subject\tmodality\tdecision\treason\tdate\n01\t\texclude\tmoved\t31/3/26\n")
    with pytest.raises(UserError, match=r"line 2: subject 01: date is '31/3/26', expected as in 2026-03-31"):
        read_qc_sheet(sheet)
