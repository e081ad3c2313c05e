"""``neurostrata check --exclude-suggested``: suggestions of the last run become decisions."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from test_gate import folder  # noqa: F401  the study of twelve people

from neurostrata.cli import main
from neurostrata.cohort.sheet import read_qc_sheet

HEADER = "subject\tmodality\tmeasure\tvalue\tz\tlimit\treason\n"
SUGGESTED = (
    HEADER
    + "003\tn/a\tsnr\t3\t-9\t4\tToo noisy.\n003\tn/a\tcnr\t1\t-8\t4\tHardly any contrast.\n"
    + "003\tfa\tdwi_snr\t1\t-8\t4\tNoisy too.\n"
    + '004\tfa\tdwi_overlap\t0.5\t-20\t4\tMisaligned, says "it".\n'
    + "005\tn/a\tsnr\t3\t-7\t4\tNoisy.\n"
)


@pytest.fixture
def study(folder: Path) -> Path:  # noqa: F811
    Path("config").mkdir()
    config = {
        "cohort": {"sheet": "cohort.tsv"},
        "qc": "qc.tsv",
        "modalities": {"jac": {"from": "jacobian"}, "fa": {"from": "tensor", "measure": "fa"}},
        "experiments": [
            {"name": "a", "model": "pca", "modalities": ["jac", "fa"], "validation": {"folds": 2}}
        ],
        "strata": {"adjust": {"columns": []}},
    }
    Path("config/config.yaml").write_text(yaml.safe_dump(config))
    Path("qc.tsv").write_text("subject\tmodality\tdecision\treason\trater\tdate\n005\t\tkeep\t\tann\t\n")
    Path("results/qc").mkdir(parents=True)
    Path("results/qc/suggested_exclusions.tsv").write_text(SUGGESTED)
    return folder


def test_suggestions_are_listed_and_written(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--exclude-suggested"]) == 0
    said = capsys.readouterr().out
    assert "neurostrata check: exclude 003: Too noisy. Hardly any contrast." in said
    assert said.index("exclude 004, fa") < said.index("2 decisions about 2 people written to qc.tsv")
    rows = read_qc_sheet("qc.tsv")
    assert [(row["subject"], row["modality"], row["decision"]) for row in rows] == [
        ("005", "", "keep"),
        ("003", "", "exclude"),
        ("004", "fa", "exclude"),
    ]
    assert all(row["date"] for row in rows[1:])
    before = Path("qc.tsv").read_bytes()
    assert main(["check", "--exclude-suggested"]) == 0
    assert Path("qc.tsv").read_bytes() == before


@pytest.mark.parametrize(
    "more", ["003\t\tkeep\t\tann\t\n003\t\texclude\tx\tbob\t\n003\t\tkeep\t\tconsensus\t\n",
             "003\t\tkeep\t\tann\t\n003\t\texclude\tx\tbob\t\n"],
    ids=["settled", "disputed"],
)  # fmt: skip
def test_what_raters_settle_themselves_is_not_added(study: Path, more: str) -> None:
    with open("qc.tsv", "a") as stream:
        stream.write(more)
    before = len(read_qc_sheet("qc.tsv"))
    assert main(["check", "--exclude-suggested"]) == 0
    added = read_qc_sheet("qc.tsv")[before:]
    assert [row["subject"] for row in added] == ["004"]
    content = Path("qc.tsv").read_bytes()
    assert main(["check", "--exclude-suggested"]) == 0
    assert Path("qc.tsv").read_bytes() == content


def test_of_some_people(study: Path) -> None:
    assert main(["check", "--exclude-suggested", "--participant-label", "004"]) == 0
    assert [row["subject"] for row in read_qc_sheet("qc.tsv")] == ["005", "004"]


def test_raters_who_disagree_are_named(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open("qc.tsv", "a") as stream:
        stream.write("005\t\texclude\tmoved\tbob\t\n")
    assert main(["check"]) == 0
    said = capsys.readouterr()
    assert "qc.tsv: subject 005: bob: exclude, ann: keep; not excluded until a row with the rater" in said.err
    assert "no problems (12 people)" in said.out


def test_without_suggestions(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("results/qc/suggested_exclusions.tsv").unlink()
    assert main(["check", "--exclude-suggested"]) == 2
    assert "suggested_exclusions.tsv: is not there; run the study first" in capsys.readouterr().err
