"""Which modalities and experiments follow from the images, and the text of the configuration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from bids_trees import plant
from image_trees import fill, people, write_table

from neurostrata.beginning.configuration import (
    PAPERS,
    Phenotypes,
    choose_phenotypes,
    preset_text,
    presets,
    recommended_text,
    with_key,
)
from neurostrata.beginning.findings import Findings
from neurostrata.beginning.modalities import Diffusion, plan_experiments, read_diffusion
from neurostrata.beginning.tables import read_tables
from neurostrata.cohort.sheet import Row
from neurostrata.core.config import check_config, overlaid, read_yaml
from neurostrata.core.locations import DEFAULT_CONFIG

RECOMMENDED = read_yaml(DEFAULT_CONFIG)


def rows(number: int, **columns: str) -> list[Row]:
    return [{"subject": person, "t1w": "/t1w", **columns} for person in people(number)]


def gradients(folder: Path, shells: tuple[int, ...], name: str = "dwi") -> dict[str, str]:
    fill(plant(folder, [f"{name}.bval", f"{name}.bvec"], kind=None), shells)
    return {"dwi": "/dwi", "bval": str(folder / f"{name}.bval"), "bvec": str(folder / f"{name}.bvec")}


def test_two_shells_give_what_is_recommended(tmp_path: Path) -> None:
    having = rows(40, **gradients(tmp_path, (1000, 2000)))
    diffusion = read_diffusion(having)
    assert diffusion == Diffusion(40, 40, [])
    plan = plan_experiments(RECOMMENDED, having, diffusion)
    assert plan.experiments is None
    assert plan.people == 40


def test_one_shell_gives_fa_and_no_ndi(tmp_path: Path) -> None:
    having = rows(40, **gradients(tmp_path, (1000,)))
    plan = plan_experiments(RECOMMENDED, having, read_diffusion(having))
    assert plan.experiments
    assert {tuple(e["modalities"]) for e in plan.experiments} == {("jac", "fa")}
    assert plan.experiments[0]["name"].startswith("jac-fa")
    assert "FA instead of NDI" in plan.why[0]


def test_some_with_one_shell_give_fa_and_say_what_else_is_possible(tmp_path: Path) -> None:
    having = rows(30, **gradients(tmp_path / "a", (1000, 2000)))
    having += [{**r, "subject": f"x{r['subject']}"} for r in rows(10, **gradients(tmp_path / "b", (1000,)))]
    plan = plan_experiments(RECOMMENDED, having, read_diffusion(having))
    assert plan.experiments
    assert plan.experiments[0]["modalities"] == ["jac", "fa"]
    assert plan.why[0].startswith("10 of 40 people")
    assert "NDI is possible for the other 30" in plan.why[1]


def test_no_diffusion_data_give_structure(tmp_path: Path) -> None:
    plan = plan_experiments(RECOMMENDED, rows(12), read_diffusion(rows(12)))
    assert plan.experiments
    assert {tuple(e["modalities"]) for e in plan.experiments} == {("t1w", "jac", "gmv")}
    assert {e["validation"]["folds"] for e in plan.experiments} == {6}
    assert plan.why == [
        "no diffusion data, so neither FA nor NDI: t1w, jac, gmv instead",
        "12 people are too few for 10 folds, so experiments have 6",
    ]
    assert len({e["name"] for e in plan.experiments}) == len(RECOMMENDED["experiments"])


def test_gradients_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    broken = gradients(tmp_path, (1000,))
    Path(broken["bval"]).write_text("0 1000\n")
    having = [*rows(2, **broken), {"subject": "9", "t1w": "/t1w", "dwi": "/dwi"}]
    diffusion = read_diffusion(having)
    assert diffusion.people == 0
    # who inherits the same files is named in the same line
    inherited, without = diffusion.problems
    assert inherited.startswith("subject 01, 02: ")
    assert inherited.count("subject") == 1
    assert without == "9: diffusion data without bval and bvec"


def test_one_shell_above_the_tensors_limit_is_no_fa(tmp_path: Path) -> None:
    diffusion = read_diffusion(rows(12, **gradients(tmp_path, (2000,))))
    assert diffusion.people == 0
    assert "diffusion.tensor_b_max is 1050" in diffusion.problems[0]


def findings_of(folder: Path, number: int = 12, **more: Any) -> Findings:
    """People in a BIDS dataset, and a table with their ages, a score and what few of them have."""
    table = write_table(
        folder / "scores.tsv", people(number), {"age": "number", "sex": "M F", "score": "number"}
    )
    some = write_table(folder / "some.tsv", people(number)[:4], {"other": "number"})
    having = rows(number)
    tables, _ = read_tables([str(table), str(some)], people(number))
    cohort = {"sheet": None, "bids": [str(folder / "a b: c")]}
    return Findings("BIDS", cohort, having, tables=tables, **more)


def test_phenotypes_say_what_is_left_out_and_filled_in(tmp_path: Path) -> None:
    findings = findings_of(tmp_path)
    findings.certain = [table.path for table in findings.tables]
    phenotypes = choose_phenotypes(findings, hcp=False)
    assert phenotypes.values == {
        "tables": findings.certain,
        "exclude": ["age", "sex"],
        "missing": "median",
        "method": "variables",
    }
    assert phenotypes.comments["missing"].startswith("4 of 12 people have every variable")


def test_a_table_of_few_of_the_people_is_only_offered(tmp_path: Path) -> None:
    findings = findings_of(tmp_path)
    findings.certain = [str(tmp_path / "some.tsv")]
    phenotypes = choose_phenotypes(findings, hcp=False)
    assert not phenotypes.values
    assert {table.path for table in phenotypes.candidates} == {
        str(tmp_path / "some.tsv"),
        str(tmp_path / "scores.tsv"),
    }


def test_the_text_says_what_was_found(tmp_path: Path) -> None:
    findings = findings_of(tmp_path, in_t1w_space=True, comments={"sessions": "or 2"})
    findings.cohort["sessions"] = "01"
    findings.certain = [str(tmp_path / "scores.tsv")]
    phenotypes = choose_phenotypes(findings, hcp=False)
    plan = plan_experiments(RECOMMENDED, findings.rows, Diffusion(0, 0, []))
    text = recommended_text(["head"], findings, phenotypes, plan)
    assert yaml.safe_load(text) == {
        "cohort": findings.cohort,
        "qc": "config/qc.tsv",
        "phenotypes": phenotypes.values,
        "diffusion": {"space": "T1w"},
        "modalities": {"t1w": {"from": "t1w", "intensity": "brain"}},
        "experiments": plan.experiments,
    }
    assert re.search("  sessions: '01' +# or 2\n", text)
    assert f"    # - {tmp_path / 'some.tsv'}  # 4 people, 1 variable\n" in text
    check_config(overlaid(RECOMMENDED, yaml.safe_load(text)))
    # the choice that is offered, once taken
    offered = [line.replace("# - ", "- ") if "    # - " in line else line for line in text.splitlines()]
    taken = yaml.safe_load("\n".join(offered))["phenotypes"]["tables"]
    assert taken == [str(tmp_path / "scores.tsv"), str(tmp_path / "some.tsv")]


def test_t1w_images_that_are_fused_are_without_the_scanners_units(tmp_path: Path) -> None:
    findings = findings_of(tmp_path, further=["flair"])
    for row in findings.rows:
        row["flair"] = "flair.nii.gz"
    phenotypes = choose_phenotypes(findings, hcp=False)
    plan = plan_experiments(RECOMMENDED, findings.rows, Diffusion(0, 0, []))
    text = recommended_text(["head"], findings, phenotypes, plan)
    everything = overlaid(RECOMMENDED, yaml.safe_load(text))["modalities"]
    assert everything["t1w"] == {"from": "t1w", "intensity": "brain"}
    assert everything["jac"] == RECOMMENDED["modalities"]["jac"]
    # a further image, once taken, stands beside it
    taken = text.replace("  # flair: {", "  flair: {")
    assert taken != text
    assert list(yaml.safe_load(taken)["modalities"]) == ["t1w", "flair"]
    # experiments without T1w images leave the modalities as they are
    with_diffusion = plan_experiments(RECOMMENDED, findings.rows, Diffusion(12, 12, []))
    text = recommended_text(["head"], findings, phenotypes, with_diffusion)
    assert "modalities" not in yaml.safe_load(text)
    assert "# modalities:\n#   flair: {" in text


def test_tables_that_are_only_offered_are_a_comment_that_can_be_uncommented(tmp_path: Path) -> None:
    findings = findings_of(tmp_path)
    plan = plan_experiments(RECOMMENDED, findings.rows, Diffusion(0, 0, []))
    text = recommended_text(["head"], findings, choose_phenotypes(findings, hcp=False), plan)
    assert "phenotypes" not in yaml.safe_load(text)
    lines = text.splitlines()
    start = lines.index("# phenotypes:")
    block = "\n".join(line.removeprefix("# ") for line in lines[start : start + 4])
    assert yaml.safe_load(block) == {
        "phenotypes": {"tables": [str(tmp_path / "scores.tsv"), str(tmp_path / "some.tsv")]}
    }


@pytest.mark.parametrize("paper", presets()[1:])
@pytest.mark.parametrize("aligned", [True, False])
def test_a_preset_is_the_paper_with_the_cohort_put_in(tmp_path: Path, paper: str, aligned: bool) -> None:
    findings = findings_of(tmp_path, in_t1w_space=aligned)
    findings.certain = [str(tmp_path / "scores.tsv")]
    phenotypes = choose_phenotypes(findings, hcp=False)
    written = yaml.safe_load(preset_text(paper, ["head"], findings, phenotypes))
    expected = overlaid(
        yaml.safe_load((PAPERS / f"{paper}.yaml").read_text()),
        {
            "cohort": findings.cohort,
            "qc": "config/qc.tsv",
            "phenotypes": {"tables": phenotypes.values["tables"], "exclude": ["age", "sex"]},
        },
    )
    if paper == "dimitri2022":
        expected["phenotypes"]["variables"] = "all"
        expected["diffusion"]["space"] = "T1w" if aligned else "native"
    elif aligned:
        expected["diffusion"] = {"space": "T1w"}
    assert written == expected
    text = preset_text(paper, ["head"], findings, phenotypes)
    assert "# not given in the paper" in text.lower() or "# not said in the paper" in text
    assert "--configfile" not in text


def test_the_paper_s_variables_are_kept_for_its_own_people(tmp_path: Path) -> None:
    findings = findings_of(tmp_path)
    phenotypes = Phenotypes({"tables": ["a/b.csv"], "variables": "dimitri2022"})
    written = yaml.safe_load(preset_text("dimitri2022", [], findings, phenotypes))
    assert written["phenotypes"]["variables"] == "dimitri2022"
    assert written["phenotypes"]["tables"] == ["a/b.csv"]
    # HCP's Lifespan studies have others
    others = Phenotypes({"tables": ["a/b.csv"], "exclude": ["Age"]})
    written = yaml.safe_load(preset_text("dimitri2022", [], findings, others))
    assert written["phenotypes"]["variables"] == "all"


def test_a_key_is_put_into_a_block_without_touching_the_rest() -> None:
    text = "a:\n  # first\n  x: 1   # one\n  y:\n    - 2\n\nb: {z: 3}\n"
    assert with_key(text, "a", "x", ["  x: 9"]) == text.replace("  x: 1   # one", "  x: 9")
    assert with_key(text, "a", "y", ["  y: 9"]) == text.replace("  y:\n    - 2\n", "  y: 9\n")
    assert yaml.safe_load(with_key(text, "a", "n", ["  n: 9"]))["a"] == {"x": 1, "y": [2], "n": 9}
    assert yaml.safe_load(with_key(text, "c", "n", ["  n: 9"]))["c"] == {"n": 9}
    with pytest.raises(ValueError, match="b is no block"):
        with_key(text, "b", "z", ["  z: 4"])
