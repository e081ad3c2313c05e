"""The check before anything is planned: what it finds, that it says it in one line, and how to go on without some people."""

from __future__ import annotations

import errno
import gzip
import importlib
import json
import operator
import os
from datetime import date
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml

from neurostrata.cli import main
from neurostrata.cohort.sheet import read_qc_sheet
from neurostrata.cohort.study import Study, load_study
from neurostrata.core.config import check_config, read_configuration, read_yaml
from neurostrata.core.errors import UserError
from neurostrata.core.settings import LONGEST, handed_over
from neurostrata.gate.cache import FileCache
from neurostrata.gate.check import find_problems
from neurostrata.gate.commands import _notes, check_cohort
from neurostrata.gate.exclude import add_decisions, exclusion_rows
from neurostrata.gate.headers import read_facts
from neurostrata.gate.notes import gate_key, keep_notes, kept_notes
from neurostrata.gate.phenotype_notes import phenotype_notes
from neurostrata.gate.phenotype_tables import unmatched_note
from neurostrata.gate.problems import KINDS, Problem, problem_table
from neurostrata.gate.units import unit_notes
from neurostrata.gate.unread_columns import unread_notes
from neurostrata.imaging.images.io import load_array, read_image
from neurostrata.imaging.images.series import open_series

VECTORS = np.vstack([np.zeros(3), np.eye(3), [[0.6, 0.8, 0], [0, 0.6, 0.8], [0.8, 0, 0.6]]])


def noise(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 10, shape).astype(np.float32)


def save(path: Path, data: np.ndarray) -> None:
    nib.save(nib.Nifti1Image(data, np.diag([2.0, 2, 2, 1])), path)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve people with T1w and diffusion data, two groups, a phenotype table; sound."""
    monkeypatch.chdir(tmp_path)
    sheet = ["subject\tt1w\tdwi\tbval\tbvec\tdiagnosis"]
    table = ["subject\tage\tiq\tnote"]
    np.savetxt("v", VECTORS.T)
    Path("b").write_text("0 " + "1000 " * 6)
    for number in range(1, 13):
        save(Path(f"t{number}.nii.gz"), noise((10, 9, 9), number))
        save(Path(f"d{number}.nii.gz"), noise((9, 9, 9, 7), number))
        sheet.append(f"{number:03d}\tt{number}.nii.gz\td{number}.nii.gz\tb\tv\t{'ab'[number % 2]}")
        table.append(f"{number:03d}\t{20 + number}\t{100 - number}\tw{number % 3}")
    Path("cohort.tsv").write_text("\n".join(sheet) + "\n")
    Path("phenotypes.tsv").write_text("\n".join(table) + "\n")
    Path("qc.tsv").write_text(
        "# decided by N. N.\nsubject\tmodality\tdecision\treason\n012\tfa\texclude\tmotion"
    )
    return tmp_path


def study(**changes: Any) -> Study:
    given: dict[str, Any] = {
        "cohort": {"sheet": "cohort.tsv"},
        "qc": "qc.tsv",
        "phenotypes": {"tables": ["phenotypes.tsv"]},
        "modalities": {"jac": {"from": "jacobian"}, "fa": {"from": "tensor", "measure": "fa"}},
        "experiments": [
            {"name": "a", "model": "pca", "modalities": ["jac", "fa"], "validation": {"folds": 2}}
        ],
        "strata": {"adjust": {"columns": []}},
    }
    return load_study(check_config(given | changes))


def found(**changes: Any) -> list[str]:
    problems = find_problems(study(**changes), FileCache(Path("headers.json")))
    assert {problem.kind for problem in problems} <= set(KINDS)  # others would not be shown
    return [problem.text for problem in problems]


def experiment(**changes: Any) -> list[dict[str, Any]]:
    return [{"name": "a", "model": "pca", "modalities": ["jac"], "validation": {"folds": 2}} | changes]


def add_columns(path: str, columns: dict[str, str]) -> None:
    """Add columns, each given as cells with blanks between them."""
    lines = Path(path).read_text().splitlines()
    for name, cells in columns.items():
        lines = [f"{line}\t{cell}" for line, cell in zip(lines, [name, *cells.split()], strict=True)]
    Path(path).write_text("\n".join(lines) + "\n")


def replace(path: str, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))


def test_a_sound_study(folder: Path) -> None:
    assert found() == []
    assert unmatched_note(study()) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"experiments": experiment(analyses={"prediction": ["agee"]})},
            "experiment a: analyses.prediction: 'agee' is not a column of the cohort sheet or of the phenotype tables; did you mean 'age'?",
        ),
        (
            {"experiments": experiment(label={"column": "diagnose", "classes": ["a", "b"]})},
            "label.column: 'diagnose' is not a column of the cohort sheet; did you mean 'diagnosis'?",
        ),
        (
            {"experiments": experiment(label={"column": "diagnosis", "classes": ["a", "patient"]})},
            "label.classes: nobody has 'patient' in column diagnosis (values: 'b', 'a')",
        ),
        (
            {"experiments": experiment(model="shared_vae", options={"validation_stratify_by": ["site"]})},
            "experiment a: options.validation_stratify_by: 'site' is not a column of the cohort sheet",
        ),
        (
            {"experiments": experiment(analyses={"prediction": ["factors"]}), "phenotypes": {}},
            "'factors' needs phenotypes.tables",
        ),
        (
            {"phenotypes": {"tables": ["phenotypes.tsv"], "variables": ["iq", "igq"]}},
            "phenotypes.variables: igq in none of phenotypes.tsv; did you mean 'iq'?",
        ),
        (
            {"phenotypes": {"tables": ["phenotypes.tsv"], "exclude": ["agee"]}},
            "phenotypes.exclude: agee is not a column of phenotypes.tsv; did you mean 'age'?",
        ),
        (
            {"phenotypes": {"tables": ["phenotypes.tsv"], "coding": {"note": {"w0": 0, "w1": 1}}}},
            "phenotypes.coding: note: no number given for the value 'w2' (line 3); add it",
        ),
        (
            {"phenotypes": {"tables": ["phenotypes.tsv"], "variables": ["iq", "note"]}},
            "phenotypes.variables: note has words ('w0', 'w1', 'w2'); set phenotypes.coding",
        ),
        ({"regions": {"image": "aal.nii"}}, "regions.image: aal.nii: no such file"),
        ({"strata": {"adjust": {"columns": ["aeg"]}}}, "strata.adjust.columns: 'aeg' is not a column"),
    ],
)
def test_what_the_configuration_names_exists(folder: Path, changes: dict[str, Any], message: str) -> None:
    lines = found(**changes)
    assert len(lines) == 1
    assert message in lines[0]


@pytest.mark.parametrize(
    ("column", "cells", "enough"),
    [
        ("score", "1 2 3 4 5 6 7 8 9 10 11 12", True),
        ("score", "1 2 3 " * 4, True),
        ("score", "7 " * 12, False),
        ("score", "1 " * 7 + "2 " * 5, True),
        ("score", "1 " * 8 + "2 " * 4, False),  # two numbers are classes
        ("group", "a b c " * 4, False),
        ("group", "a a a a a b b b b b c c", True),
        ("group", "n/a n/a n/a a a a a b b b b b", False),
    ],
)
def test_what_is_predicted_has_two_values_of_enough_people(
    folder: Path, column: str, cells: str, enough: bool
) -> None:
    add_columns("cohort.tsv", {column: cells})
    lines = found(experiments=experiment(analyses={"prediction": [column]}))
    said = (
        f"experiment a: analyses.prediction: '{column}' has fewer than two values among the experiment's people (classes of "
        "fewer than 5 people do not count); remove the target"
    )
    assert lines == ([] if enough else [said])


def test_numbers_that_codes_are_adjusted_for_are_numbers_for_everybody(folder: Path) -> None:
    cells = "1 2 x 4 " + "5 " * 8
    add_columns("cohort.tsv", {"dose": cells, "site": cells})
    adjusted = {"adjust": {"columns": ["dose"], "sites": "site"}}
    (line,) = found(strata=adjusted)
    assert line.startswith("strata.adjust.columns: column dose has numbers, but also 'x' (subject 003)")
    assert found(strata={"adjust": {"columns": ["site"]}}) == []  # numbers of sites are names


def test_a_class_of_few_people_is_refused(folder: Path) -> None:
    add_columns("cohort.tsv", {"group": "x " * 8 + "y " * 4})
    assert found(experiments=experiment(label={"column": "group", "classes": ["x", "y"]})) == [
        "experiment a: label: only 4 people of class 'y' take part in the experiment; at least 5 are needed"
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "003\t",
            "3\t",
            "11 of 12 people have a row; 1 of the others have one under an id that looks alike: '3' for 003",
        ),
        ("003\t23", "003\tabc", "column age has numbers, but also 'abc' (line 4, subject 003)"),
        ("003\t23", "003\t2,3", "column age: decimal commas, '2,3' (line 4, subject 003)"),
        ("003\t23", "002\t23", "subject 002 has more than one row (subject 002 in lines 3, 4)"),
        ("003\t23", "\t23", "no id in column subject of line 4"),
        ("003\t23\t97", '003\t"23\t97', "line 4, column age: a quotation mark opens the cell"),
    ],
)
def test_phenotype_tables(folder: Path, old: str, new: str, message: str) -> None:
    replace("phenotypes.tsv", old, new)
    assert message in found()[0]


def rename(old: str, new: str) -> None:
    """Rename a column of the cohort sheet."""
    head, _, rest = Path("cohort.tsv").read_text().partition("\n")
    Path("cohort.tsv").write_text(
        "\t".join(new if name == old else name for name in head.split("\t")) + "\n" + rest
    )


def add_column(name: str, cell: str) -> None:
    """Add a column to the cohort sheet, ``{}`` being the person's number."""
    head, *lines = Path("cohort.tsv").read_text().splitlines()
    lines = [f"{line}\t{cell.format(number)}" for number, line in enumerate(lines, 1)]
    Path("cohort.tsv").write_text("\n".join([f"{head}\t{name}", *lines]) + "\n")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        *(("t1w", name) for name in ("T1w", "T1w_path", "t1", "T1wPath", "mprage_file")),
        *(("dwi", name) for name in ("DWI", "dwi_nii", "dwi_image_path", "diffusion")),
        *(("bval", name) for name in ("bvals", "dwi_bvals", "bval_file", "b-val")),
        *(("bvec", name) for name in ("dwi_bvec", "bvce", "BVECS")),
    ],
)
def test_a_misspelled_column_of_images_is_refused_with_its_name(folder: Path, old: str, new: str) -> None:
    rename(old, new)
    if old in ("bval", "bvec"):
        Path("cohort.tsv").write_text(
            Path("cohort.tsv").read_text().replace("\tb\tv\t", "\tx.bval\tx.bvec\t")
        )
    (line,) = [text for text in found() if "nothing reads" in text]
    assert line == (
        f"cohort.tsv: nothing reads column '{new}', which holds files, and nobody has a '{old}'; rename it to '{old}', "
        "or give it a quite different name if nothing shall read it"
    )


@pytest.mark.parametrize(
    ("name", "known"),
    [
        *((name, "t1w_mask") for name in ("T1w_mask", "t1_brain_mask", "brainmask", "t1w_msk", "mask_t1w")),
        *((name, "dwi_mask") for name in ("dwi_brain_mask", "DWI_MASK", "dwi_maks")),
    ],
)
def test_a_misspelled_mask_is_not_left_out_in_silence(folder: Path, name: str, known: str) -> None:
    add_column(name, "m{}.nii.gz")
    (line,) = found()
    assert f"nothing reads column '{name}', which holds files" in line
    assert f"rename it to '{known}'" in line


def test_a_misspelled_column_of_a_modality_is_refused(folder: Path) -> None:
    add_column("PET_img", "t{}.nii.gz")
    changes = {
        "modalities": {"pet": {"from": "column", "column": "pet"}, "jac": {"from": "jacobian"}},
        "experiments": experiment(model="latent_synthesis", modalities=["jac", "pet"], missing="include"),
        "qc": None,
    }
    assert "rename it to 'pet'" in found(**changes)[0]


@pytest.mark.parametrize(
    "name", ["flair", "t2w", "t2w_mask", "lesion_mask", "mask", "swi", "T1w_raw", "fa_map"]
)
def test_further_columns_of_images_are_said_and_not_refused(folder: Path, name: str) -> None:
    add_column(name, "x{}.nii.gz")
    assert found() == []
    assert list(unread_notes(study())) == [f"cohort.tsv: column '{name}' holds files that no modality reads"]


def test_what_reads_no_diffusion_data_needs_no_mask_of_them(folder: Path) -> None:
    add_column("dwi_mask_path", "x{}.nii.gz")
    assert found(experiments=experiment()) == []


@pytest.mark.parametrize(
    ("name", "cell"),
    [("age_T1w", "{}.5"), ("t1w_mask_volume", "{}"), ("T1w_mask", ""), ("t1_scanner", "GE/{}")],
)
def test_columns_without_files_are_left_alone(folder: Path, name: str, cell: str) -> None:
    add_column(name, cell)
    assert found() == []
    assert list(unread_notes(study())) == []


def test_columns_that_modalities_name_are_left_alone(folder: Path) -> None:
    add_column("T1w_mask", "t{}.nii.gz")
    declared = {"jac": {"from": "jacobian"}, "seg": {"from": "column", "column": "T1w_mask"}}
    unused = {"modalities": declared, "experiments": experiment(), "qc": None}
    assert found(**unused) == []
    assert list(unread_notes(study(**unused))) == []


@pytest.mark.parametrize(
    ("declared", "chosen", "said"),
    [
        ({}, {}, True),
        ({}, {"modalities": ["jac"]}, False),
        ({}, {"scaling": "maximum"}, False),
        ({"intensity": "brain"}, {}, False),
        ({"intensity": "none"}, {}, False),
    ],
)
def test_units_of_scanners_are_said_where_they_count(
    folder: Path, declared: dict[str, str], chosen: dict[str, Any], said: bool
) -> None:
    modalities = {"jac": {"from": "jacobian"}, "t1w": {"from": "t1w", **declared}}
    made = study(
        modalities=modalities, experiments=experiment(**({"modalities": ["jac", "t1w"]} | chosen)), qc=None
    )
    notes = list(unit_notes(made))
    assert len(notes) == said
    if said:
        assert "modalities.t1w: the images keep their scanners' units" in notes[0]
        assert "'intensity: brain' divides each by its brain's mean" in notes[0]


@pytest.mark.parametrize("name", ["Family", "SITE", "Template"])
def test_facts_in_other_letters_are_said(folder: Path, name: str) -> None:
    add_column(name, "yes")
    assert list(unread_notes(study())) == [
        f"cohort.tsv: column '{name}' is not read as '{name.lower()}'; names of columns are in small letters"
    ]


def test_too_few_matching_ids_stop_and_some_are_said(folder: Path) -> None:
    lines = Path("phenotypes.tsv").read_text().splitlines()
    Path("phenotypes.tsv").write_text("\n".join(lines[:6]) + "\n")
    (line,) = found()
    assert line.startswith(
        "phenotypes.tables: only 5 of 12 people have a row in phenotypes.tsv (without: 006"
    )
    fewer = {"tables": ["phenotypes.tsv"], "matching": {"least": 0.4}}
    assert found(phenotypes=fewer) == []
    assert str(unmatched_note(study(phenotypes=fewer))).startswith(
        "5 of 12 people have a row in the phenotype tables; without: 006"
    )
    accepted = {"tables": ["phenotypes.tsv"], "matching": {"near_ids": "accept"}}
    Path("phenotypes.tsv").write_text("\n".join(lines).replace("003\t", "3\t") + "\n")
    assert found(phenotypes=accepted) == []


def table_with(cells: dict[str, list[str]]) -> None:
    """The phenotype table with further columns, one cell for each of its twelve people."""
    header, *lines = Path("phenotypes.tsv").read_text().splitlines()
    rows = ["\t".join([line, *(column[n] for column in cells.values())]) for n, line in enumerate(lines)]
    Path("phenotypes.tsv").write_text("\n".join(["\t".join([header, *cells]), *rows]) + "\n")


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["-999", *"12345678901"], "score: -999 (1)"),
        (["-9", "99", *"1234123412"], "score: -9 (1) and 99 (1)"),
        (["999.0", "n/a", "99", *(f"{n}.5" for n in range(40, 49))], "score: 999.0 (1) and 99 (1)"),
        (["99", *(str(n) for n in range(50, 105, 5))], None),  # a score
        (["99", *(str(n) for n in range(5, 60, 5))], None),  # near enough for numbers that are so far apart
        (["-7", *"12341234123"], "score: -7 (1)"),
        (["-3", *"12341234123"], None),
        (["1000", *"12345678901"], None),  # an outlier
        (["99", "98", *(["n/a"] * 10)], None),
    ],
)
def test_codes_of_missing_values_are_said(folder: Path, cells: list[str], said: str | None) -> None:
    table_with({"score": cells})
    assert found() == []
    notes = list(phenotype_notes(study()))
    line = (
        "phenotypes.tsv: numbers that often stand for missing values are far from all others of their column "
        f"({said}); if they do, empty these cells"
    )
    assert notes == ([line] if said else [])
    assert list(phenotype_notes(study(phenotypes={"tables": ["phenotypes.tsv"], "exclude": ["score"]}))) == []


def test_what_is_no_problem_is_said_with_the_check(folder: Path) -> None:
    table_with({"score": ["-999", *"12345678901"]})
    add_column("flair", "x{}.nii.gz")
    modalities = {"jac": {"from": "jacobian"}, "t1w": {"from": "t1w"}}
    notes = _notes(study(modalities=modalities, experiments=experiment(modalities=["jac", "t1w"]), qc=None))
    assert [note.partition(": ")[0] for note in notes] == ["cohort.tsv", "phenotypes.tsv", "modalities.t1w"]


@pytest.mark.parametrize(
    ("cells", "named"),
    [
        ([f"{n},054.3" for n in range(1, 13)], "('1,054.3', '2,054.3', '3,054.3', ... (12 in all))"),
        ([*(f"{n} %" for n in range(11)), "NA"], "('0 %', '1 %', '2 %', ... (11 in all))"),
        (["\u22125.2"] * 7 + ["1"] * 5, "('\u22125.2')"),
        (["a", *(f"{n} %" for n in range(11))], None),
        (["2020-01-02"] * 12, None),
    ],
)
def test_numbers_that_are_left_out_because_of_how_they_are_written_are_said(
    folder: Path, cells: list[str], named: str | None
) -> None:
    table_with({"income": cells})
    assert found() == []
    line = f"phenotypes.tsv: column income is left out, since its cells are no numbers as they are written {named};"
    assert [line in note for note in phenotype_notes(study())] == ([True] if named else [])


def rename_age(name: str) -> None:
    """The phenotype table with another name of its column of ages."""
    header, *lines = Path("phenotypes.tsv").read_text().splitlines()
    names = [name if column == "age" else column for column in header.split("\t")]
    Path("phenotypes.tsv").write_text("\n".join(["\t".join(names), *lines]) + "\n")


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (
            ["interview_age"],
            "interview_age may hold it: set strata.adjust.columns: [interview_age, sex, head_size]",
        ),
        (["AgeAtScan"], "AgeAtScan may hold it: set strata.adjust.columns: [AgeAtScan, sex, head_size]"),
        (["21003-2.0"], "21003-2.0 may hold it: set strata.adjust.columns: [21003-2.0, sex, head_size]"),
        (["age", "interview_age"], None),
        (["language", "Agency", "AGENCY", "x21003", "dosage"], None),
        (["picvocab_age_corrected", "interview_age"], "then; interview_age may hold it"),
        (["Age-Corrected Standard Score", "PicSeq_AgeAdj", "age_of_onset"], None),
    ],
)
def test_a_column_that_seems_to_be_age_under_another_name_is_said(
    folder: Path, columns: list[str], line: str | None
) -> None:
    """Otherwise nothing is adjusted for age, in silence."""
    rename_age("years")
    table_with({"sex": list("FM" * 6), **{column: [str(20 + n) for n in range(12)] for column in columns}})
    given = {"strata": {"adjust": {"columns": "auto"}}}
    assert found(**given) == []
    notes = list(phenotype_notes(study(**given)))
    assert [line in note for note in notes] == ([True] if line else [])
    assert list(phenotype_notes(study())) == []


@pytest.mark.parametrize("column", ["21003", "Age, in years", "AgeAtScan", "Age_in_Yrs"])
def test_the_columns_that_are_proposed_are_accepted_as_they_are_written(folder: Path, column: str) -> None:
    rename_age("years")
    table_with({column: [str(20 + n) for n in range(12)], "31": list("01" * 6)})
    (note,) = phenotype_notes(study(strata={"adjust": {"columns": "auto"}}))
    proposed = note.partition("strata.adjust.columns: ")[2].partition(" (and ")[0]
    assert found(strata={"adjust": {"columns": yaml.safe_load(proposed)}}) == []


def test_fields_of_uk_biobank_for_age_and_sex_are_said_together(folder: Path) -> None:
    rename_age("years")
    table_with({"f.31.0.0": list("01" * 6), "f.21003.2.0": [str(50 + n) for n in range(12)]})
    (note,) = phenotype_notes(study(strata={"adjust": {"columns": "auto"}}))
    assert note.startswith("no column has a usual name of age and sex, for which nothing is adjusted then;")
    assert "f.21003.2.0 and f.31.0.0 may hold them" in note
    assert "strata.adjust.columns: [f.21003.2.0, f.31.0.0, head_size]" in note


def test_families_that_nothing_reads_are_said(folder: Path) -> None:
    table_with({"Family_ID": ["F1", "F1", "F2", "F2", "F2", *(f"F{n}" for n in range(3, 9)), ""]})
    assert found() == []
    assert list(phenotype_notes(study())) == [
        "phenotypes.tsv: by column Family_ID 5 people have relatives in the study, who count as unrelated; copy it to a column "
        "'family' of the cohort sheet"
    ]
    add_column("family", "f{}")
    assert list(phenotype_notes(study())) == []


def test_codes_of_missing_values_in_several_columns_and_in_the_sheet(folder: Path) -> None:
    cells = {"a": "0 1 2 3 -9 4 5 999 2 1 -9 3", "b": "-3 -2 -1 0 1 2 " * 2, "c": "80 " * 11 + "99"}
    cells |= {"d": "1 2 99.0 " * 4, "e": "0 -3 7 -1 " * 3, "f": "1 -9 999 " * 4, "g": "w -9 999 " * 4}
    add_columns("phenotypes.tsv", cells)
    add_columns("cohort.tsv", {"sex": "1 2 -99 " * 4, "other": "1 2 -99 " * 4})
    given = {"tables": ["phenotypes.tsv"], "exclude": ["f", "g"]}
    said = [note.partition("(")[2].partition("); if")[0] for note in phenotype_notes(study(phenotypes=given))]
    assert said == ["a: -9 (2) and 999 (1), d: 99.0 (4), e: -3 (3) and -1 (3)", "sex: -99 (4)"]
    # with a coding, each value has the meaning that was given to it
    coding = {name: dict.fromkeys(set(cells[name].split()), 0) for name in "ade"}
    (note,) = phenotype_notes(study(phenotypes=given | {"coding": coding}))
    assert note.startswith("cohort.tsv: ")


def test_two_tables_that_disagree(folder: Path) -> None:
    """A missing value and another way of writing a number are no disagreement."""
    Path("second.tsv").write_text(
        "participant_id\tiq\nsub-001\t\nsub-002\t98.0\nsub-003\t50\n"
        + "".join(f"{n:03d}\t\n" for n in range(4, 13))
    )
    (line,) = found(phenotypes={"tables": ["phenotypes.tsv", "second.tsv"]})
    assert "second.tsv: column iq differs from the one in phenotypes.tsv (subject 003: 50 and 97)" in line


def patch(path: Path, at: int, value: bytes) -> None:
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[at : at + len(value)] = value
    path.write_bytes(gzip.compress(bytes(content)))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def image(data: np.ndarray) -> Any:
    return lambda path: save(path, data)


@pytest.mark.parametrize(
    ("spoil", "column", "message"),
    [
        (flip, "t1w", "is damaged"),
        (flip, "dwi", "is damaged"),
        (lambda p: patch(p, 70, (9999).to_bytes(2, "little")), "t1w", "data code 9999 not recognized"),
        (lambda p: patch(p, 40, (9).to_bytes(2, "little")), "t1w", "its header gives 9 dimensions"),
        (lambda p: patch(p, 108, np.float32(17).tobytes()), "t1w", "vox offset 17 too low"),
        (lambda p: patch(p, 108, np.float32(1e9).tobytes()), "t1w", "is truncated"),
        (lambda p: p.write_bytes(b""), "t1w", "is empty (0 bytes)"),
        (
            lambda p: p.write_bytes(gzip.decompress(p.read_bytes())),
            "t1w",
            "is not compressed (gzip), but its name ends in .gz",
        ),
        (image(np.zeros((9, 9, 9), [("R", "u1"), ("G", "u1"), ("B", "u1")])), "t1w", "has colours (RGB)"),
        (image(noise((9, 9, 9), 0) + 1j), "t1w", "has complex numbers"),
        (image(np.zeros((9, 9, 9), np.float32)), "t1w", "every voxel has the same value"),
        (image(np.full((9, 9, 9, 7), 5, np.float32)), "dwi", "every voxel has the same value"),
        (image(np.repeat(noise((9, 9, 9, 1), 0), 7, axis=3)), "dwi", "all its volumes are the same"),
        (
            image(np.where(noise((9, 9, 9), 0) > 120, np.nan, noise((9, 9, 9), 0))),
            "t1w",
            "NaN or infinite voxels",
        ),
        (image(noise((9, 9, 9, 1, 2), 0)), "t1w", "has shape (9, 9, 9, 1, 2)"),
    ],
)
def test_unusable_images(folder: Path, spoil: Any, column: str, message: str) -> None:
    path = f"{column[0]}3.nii.gz"
    spoil(folder / path)
    (problem,) = find_problems(study(), FileCache(Path("headers.json")))
    assert problem.text.startswith(f"subject 003: {column}: {path}: ")
    assert message in problem.text
    assert "\n" not in problem.text
    assert (problem.subject, problem.column) == ("003", column)


@pytest.mark.parametrize(
    ("affine", "message"),
    [
        (np.diag([0.002, 0.002, 0.002, 1.0]), "its header gives voxels of 0.002x0.002x0.002 mm"),  # metres
        (
            np.array([[2.0, 0.3, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]]),
            "its header's affine has shears",
        ),
    ],
)
def test_affines_of_every_image_are_checked(folder: Path, affine: np.ndarray, message: str) -> None:
    nib.save(nib.Nifti1Image(noise((9, 9, 9, 7), 3), affine), "d3.nii.gz")
    (line,) = found()
    assert line.startswith(f"subject 003: dwi: d3.nii.gz: {message}")


def test_images_that_do_not_tell_left_from_right_are_said(folder: Path) -> None:
    notes: list[str] = []
    cache = FileCache(Path("headers.json"))
    assert find_problems(study(), cache, notes=notes) == notes == []
    cache.save()
    kept = json.loads(Path("headers.json").read_text())
    for facts in kept["files"].values():  # as an earlier release has left it
        facts.pop("placed", None)
    Path("headers.json").write_text(json.dumps(kept))
    nib.save(nib.Nifti1Image(noise((10, 9, 9), 50), None), "t3.nii.gz")
    again = FileCache(Path("headers.json"))
    unread: list[str] = []
    assert find_problems(study(), again, seconds=0, unread=unread, notes=notes) == []
    assert unread == ["t3.nii.gz"]  # what was read of the others is not forgotten
    assert notes == [
        "1 image has no orientation in the header (qform_code and sform_code are 0), so that left and right may be swapped: "
        "t3.nii.gz; make them again from the scanner's data, or set a code once you know that the orientation is right"
    ]


@pytest.mark.parametrize("kind", [nib.MGHImage, nib.Nifti1Pair])
def test_orientations_of_other_formats(folder: Path, kind: Any) -> None:
    suffix = "mgz" if kind is nib.MGHImage else "img"
    nib.save(kind(noise((10, 9, 9), 50), np.diag([2.0, 2, 2, 1])), f"x.{suffix}")
    assert read_facts(f"x.{suffix}", Path(f"x.{suffix}").stat().st_size)["placed"]
    nib.save(nib.AnalyzeImage(noise((10, 9, 9), 50), None), "y.img")
    assert not read_facts("y.img", Path("y.img").stat().st_size)["placed"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.0, "every voxel is 0: the mask is empty"),
        (1.0, "every voxel has the same value, the mask takes in the whole image"),
        (np.nan, "has 1 NaN or infinite voxels; replace them"),
    ],
)
def test_masks_that_the_stages_would_refuse(folder: Path, value: float, message: str) -> None:
    for number in range(1, 13):
        mask = np.zeros((10, 9, 9), np.float32)
        mask[2:8, 2:7, 2:7] = 1
        if number == 2:
            mask[:] = np.where(np.isnan(value), mask, value)
            mask[0, 0, 0] = value
        save(Path(f"m{number}.nii.gz"), mask)
    add_column("t1w_mask", "m{}.nii.gz")
    assert found() == [f"subject 002: t1w_mask: m2.nii.gz: {message}"]


@pytest.mark.parametrize(("slope", "empty"), [(1.0, False), (1 / 255, True), (0.5, True), (0.51, False)])
def test_a_mask_whose_scaled_values_are_small_is_empty(folder: Path, slope: float, empty: bool) -> None:
    """The stages take what is above 0.5 for inside."""
    for number in range(1, 13):
        image = nib.Nifti1Image(np.zeros((10, 9, 9), np.uint8), np.diag([2.0, 2, 2, 1]))
        image.dataobj[2:8, 2:7, 2:7] = 1
        image.header.set_slope_inter(slope if number == 2 else 1, 0)
        nib.save(image, f"m{number}.nii.gz")
    add_column("t1w_mask", "m{}.nii.gz")
    said = "subject 002: t1w_mask: m2.nii.gz: no voxel is above 0.5: the mask is empty"
    assert found() == ([said] if empty else [])


def bomb(path: Path) -> None:
    header = nib.Nifti1Header()
    header.set_data_shape((2048, 2048, 1024))
    header.set_data_dtype(np.float32)
    header["magic"], header["vox_offset"] = b"n+1", 352
    header.set_sform(np.eye(4), 1)
    path.write_bytes(gzip.compress(header.binaryblock + bytes(4)))


def test_a_header_that_claims_gigabytes_is_refused_before_they_are_made(folder: Path) -> None:
    bomb(folder / "t3.nii.gz")
    assert "its header claims 2048x2048x1024 voxels, 17.2 GB, which a file of" in found()[0]
    with pytest.raises(UserError, match=r"subject 003: t1w t3\.nii\.gz: .*17\.2 GB"):
        read_image(Path("t3.nii.gz"), subject="003", what="t1w")


def test_stages_read_an_image_to_its_checksum(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "t3.nii.gz"
    whole = load_array(path, "x")[0]
    np.testing.assert_array_equal(whole, noise((10, 9, 9), 3))
    content = bytearray(path.read_bytes())
    content[-8] ^= 1  # the checksum itself: every voxel can be read
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match=r"cannot be read.*CRC.*; copy it again"):
        load_array(path, "x")
    monkeypatch.setenv("NEUROSTRATA_SHEETS", json.dumps({"output": str(folder)}))
    with pytest.raises(UserError, match="delete it and run again"):  # of the study's own making
        load_array(path, "x")


def test_the_same_image_for_two_people(folder: Path) -> None:
    replace("cohort.tsv", "t3.nii.gz", "t1.nii.gz")
    assert found() == [
        "t1w is the same file for subjects 001, 003: t1.nii.gz; give each person their own image"
    ]
    replace("cohort.tsv", "003\tt1.nii.gz", "003\tlink.nii.gz")
    Path("link.nii.gz").symlink_to("t1.nii.gz")
    assert "t1w is the same file for subjects 001, 003" in found()[0]
    Path("link.nii.gz").unlink()
    Path("link.nii.gz").write_bytes(
        gzip.compress(gzip.decompress(Path("t1.nii.gz").read_bytes()), 1)
    )  # packed anew
    assert "t1w holds the same image for subjects 001, 003" in found()[0]
    # bval and bvec may be shared, and are in this study


def test_images_that_are_alike_in_their_middle_alone_are_not_the_same(folder: Path) -> None:
    data = noise((10, 9, 9), 1)
    for number in (1, 3, 5):
        changed = data.copy()
        changed[0, 0, 0] += number if number != 5 else 1
        save(Path(f"a{number}.nii"), changed)
        replace("cohort.tsv", f"\tt{number}.nii.gz", f"\ta{number}.nii")
    assert found() == [
        "t1w holds the same image for subjects 001, 005: a1.nii, a5.nii; give each person their own image"
    ]


def test_experiments_that_nobody_can_enter(folder: Path) -> None:
    replace("cohort.tsv", "\tdwi\t", "\tdwi_later\t")
    lines = found()
    assert lines == [
        "experiment a: 0 people have all of jac, fa; at least 4 are needed; fa is missing for 12 of 12 people (no dwi in the sheet)"
    ]


def test_a_modality_that_nobody_has_is_refused_though_it_may_be_missing(folder: Path) -> None:
    replace("cohort.tsv", "\tdwi\t", "\tlater\t")
    replace("qc.tsv", "012\tfa\texclude\tmotion", "")
    experiments = experiment(model="latent_synthesis", modalities=["jac", "fa"], missing="include")
    assert found(experiments=experiments) == [
        "experiment a: nobody has fa (no dwi in the sheet); take it out of the experiment, or give the images"
    ]


@pytest.mark.parametrize(
    ("highest", "slope", "said"),
    [
        (1, 1.0, None),
        (255, 1 / 255, None),
        (255, 1.0, "a mask holds values from 0 to 1, this one from 0 to 255"),
        (1, 3.0, "a mask holds values from 0 to 1, this one from 0 to 3"),
    ],
)
def test_lesion_masks_that_the_stages_would_refuse(
    folder: Path, highest: int, slope: float, said: str | None
) -> None:
    modalities = {
        "jac": {"from": "jacobian"},
        "lesion": {"from": "column", "column": "lesion", "space": "t1w", "kind": "mask"},
    }
    add_columns("cohort.tsv", {"lesion": " ".join(f"l{number}.nii.gz" for number in range(1, 13))})
    for number in range(1, 13):
        data = np.zeros((10, 9, 9), np.uint8)
        data[2:4, :number] = highest if number == 3 else 1
        image = nib.Nifti1Image(data, np.diag([2.0, 2, 2, 1]))
        if number == 3:
            image.header.set_slope_inter(slope, 0)
        nib.save(image, f"l{number}.nii.gz")
    lines = found(modalities=modalities, experiments=experiment(modalities=["jac", "lesion"]), qc=None)
    assert lines == (
        [f"subject 003: lesion: l3.nii.gz: {said}; set voxels inside to 1 and all others to 0"]
        if said
        else []
    )


@pytest.mark.parametrize(("volumes", "enough"), [(5, True), (4, False)])
def test_series_that_are_too_short_for_dual_regression(folder: Path, volumes: int, enough: bool) -> None:
    """With as many components as volumes nothing is left over: the stage of that person fails."""
    icn = {"from": "dual_regression", "column": "bold", "components": 3, "components_image": "group.nii.gz"}
    save(Path("group.nii.gz"), noise((9, 9, 9, 3), 99))
    add_columns("cohort.tsv", {"bold": " ".join(f"b{number}.nii.gz" for number in range(1, 13))})
    for number in range(1, 13):
        save(Path(f"b{number}.nii.gz"), noise((9, 9, 9, volumes if number == 2 else 5), 30 + number))
    lines = found(
        modalities={"jac": {"from": "jacobian"}, "icn": icn},
        experiments=experiment(modalities=["jac", "icn1", "icn2", "icn3"]),
        qc=None,
    )
    said = "subject 002: bold: b2.nii.gz: expected a 4-D series of 5 volumes or more, got shape (9, 9, 9, 4)"
    assert lines == ([] if enough else [said])


def test_names_of_regions_are_read_before_anything_runs(folder: Path) -> None:
    Path("names.csv").write_text("1,left insula\nsecond,right insula\n")
    said = "regions.names: names.csv: line 2 has no number and name"
    assert found(regions={"names": "names.csv"}) == [said]
    Path("names.csv").write_text("1,left insula\n2,right insula\n")
    assert found(regions={"names": "names.csv"}) == []


def test_dimensions_of_length_one_at_the_end_do_not_count(folder: Path) -> None:
    """Some converters write five; the stages drop them."""
    save(Path("t1.nii.gz"), noise((10, 9, 9, 1, 1), 1))
    save(Path("d1.nii.gz"), noise((9, 9, 9, 7, 1), 1))
    assert found() == []
    assert open_series(Path("d1.nii.gz"), "001").measurements == 7
    save(Path("d1.nii.gz"), noise((9, 9, 9, 1), 1))
    assert found() == ["subject 001: dwi: d1.nii.gz: expected a 4-D image, got shape (9, 9, 9)"]


def test_a_series_is_not_declared_as_one_image(folder: Path) -> None:
    modalities = {"jac": {"from": "jacobian"}, "dti": {"from": "column", "column": "dwi", "space": "t1w"}}
    lines = found(modalities=modalities, experiments=experiment(modalities=["dti"]), qc=None)
    assert (
        "subject 001: dwi: d1.nii.gz: expected a 3-D image, as declared under modalities, got shape (9, 9, 9, 7)"
        in lines[0]
    )


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "7",
        "{",
        '{"format": 2, "files": []}',
        '{"format": 2, "files": {"x": 1}}',
        '{"x": {"shape": [1]}}',
    ],
)
def test_a_broken_cache_is_as_good_as_empty(folder: Path, content: str) -> None:
    Path("headers.json").write_text(content)
    assert found() == []


def failing_once(name: str, problem: OSError, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every reading of files with a name fail, as without permission or on a server that is away."""
    for module, reader in (("builtins", "open"), ("gzip", "open"), ("pathlib", "Path.read_text")):
        real = operator.attrgetter(reader)(importlib.import_module(module))

        def read(path: Any, *args: Any, real: Any = real, **options: Any) -> Any:
            if Path(str(path)).name == name:
                raise problem
            return real(path, *args, **options)

        monkeypatch.setattr(f"{module}.{reader}", read)


def test_two_columns_of_ids_that_name_different_people_are_refused(folder: Path) -> None:
    """Numbers of a laboratory beside the ids of the data set: the first of the two columns was taken in silence."""
    ids = [f"{number:03d}" for number in range(1, 13)]
    add_columns("phenotypes.tsv", {"participant_id": " ".join(f"sub-{name}" for name in ids)})
    assert found() == []
    text = Path("phenotypes.tsv").read_text()
    for old, new in (("sub-007", "sub-x"), ("sub-008", "sub-007"), ("sub-x", "sub-008")):
        text = text.replace(old, new)
    Path("phenotypes.tsv").write_text(text)
    (problem,) = found()
    assert problem == (
        "phenotypes.tables: phenotypes.tsv: 2 rows are of other people by column participant_id than by column subject (line 8: "
        "008 and 007); set phenotypes.id_column"
    )
    assert found(phenotypes={"tables": ["phenotypes.tsv"], "id_column": "participant_id"}) == []


@pytest.mark.parametrize("name", ["t3.nii.gz", "v"])
def test_a_file_that_could_not_be_read_is_read_again(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its size nor its time change when a person gets the permission to read it."""

    def check() -> list[str]:
        cache = FileCache(Path("headers.json"))
        problems = find_problems(study(), cache)
        cache.save()
        return [problem.text for problem in problems]

    with monkeypatch.context() as away:
        failing_once(name, PermissionError(errno.EACCES, "Permission denied"), away)
        assert "cannot be read (Permission denied)" in check()[0]
    assert check() == []


def test_content_that_could_not_be_read_is_not_called_damaged(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FileCache(Path("headers.json"))
    assert find_problems(study(), cache, seconds=0.0) == []
    with monkeypatch.context() as away:
        failing_once("t3.nii.gz", OSError(errno.EIO, "Input/output error"), away)
        (problem,) = find_problems(study(), cache)
    assert problem.text == "subject 003: t1w: t3.nii.gz: cannot be read (Input/output error)"
    cache.save()
    assert find_problems(study(), FileCache(Path("headers.json"))) == []


def test_contents_are_read_once_and_only_for_some_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = FileCache(Path("headers.json"))
    unread: list[str] = []
    assert find_problems(study(), cache, 0.0, unread) == []
    assert len(unread) == 23  # everybody's two images; one person's dwi is excluded
    find_problems(study(), cache)
    cache.save()
    monkeypatch.setattr("neurostrata.gate.cache.read_content", lambda *_: pytest.fail("read again"))
    unread = []
    assert find_problems(study(), FileCache(Path("headers.json")), 0.0, unread) == []
    assert unread == []


def test_the_answer_is_kept_until_something_changes(folder: Path) -> None:
    before = gate_key(study())
    assert gate_key(study()) == before
    keep_notes(Path("gate.json"), before, ["n"])
    assert kept_notes(Path("gate.json"), before) == ["n"]
    os.utime("d5.nii.gz", (1, 1))
    after = gate_key(study())
    assert after != before
    assert kept_notes(Path("gate.json"), after) is None
    replace("phenotypes.tsv", "003\t23", "003\t24")
    assert gate_key(study()) != after
    for broken in ("[]", "", '{"key": 1}'):
        Path("gate.json").write_text(broken)
        assert kept_notes(Path("gate.json"), before) is None


def test_what_to_mend_first_stands_on_top() -> None:
    problems = [Problem("people", f"subject {n}: t1w: x", str(n), "t1w") for n in range(60)]
    problems += [Problem("study", "few people"), Problem("configuration", "agee"), Problem("sheets", "twice")]
    text = problem_table(problems, where="problems.tsv")
    places = [text.index(word) for word in ("agee", "twice", "few people", "subject 0")]
    assert places == sorted(places)
    assert "... and 10 more (all: problems.tsv)" in text
    assert "check --exclude" in text
    assert "60 people" in text


def test_problems_of_single_people_become_decisions(folder: Path) -> None:
    flip(folder / "t3.nii.gz")
    flip(folder / "d4.nii.gz")
    (folder / "d5.nii.gz").unlink()
    flip(folder / "d12.nii.gz")  # left out already, not looked at
    before = Path("qc.tsv").read_bytes()
    first = study()
    problems = find_problems(first, FileCache(Path("headers.json")))
    others = [Problem("sheets", "twice"), Problem("people", "some people have no families")]
    rows = exclusion_rows(first, [*others, *problems])
    assert [(row["subject"], row["modality"], row["decision"]) for row in rows] == [
        ("003", "", "exclude_template"),
        ("003", "", "exclude"),
        ("004", "fa", "exclude"),
        ("005", "fa", "exclude"),
    ]
    add_decisions(Path("qc.tsv"), rows)
    assert (
        Path("qc.tsv")
        .read_bytes()
        .startswith(before + b"\n003\t\texclude_template\tt1w: t3.nii.gz: is damaged")
    )
    assert len(read_qc_sheet("qc.tsv")) == 5
    again = study()
    problems = find_problems(again, FileCache(Path("headers.json")))
    assert problems == []
    assert exclusion_rows(again, problems) == []


@pytest.mark.parametrize(
    ("column", "spoil"),
    [
        ("dwi_mask", lambda: save(Path("m3.nii.gz"), np.ones((8, 9, 9), np.uint8))),
        ("bval", lambda: replace("cohort.tsv", "d3.nii.gz\tb\t", "d3.nii.gz\tv\t")),
        ("bvec", lambda: replace("cohort.tsv", "d3.nii.gz\tb\tv", "d3.nii.gz\tb\tnone")),
    ],
)
def test_files_of_diffusion_data_speak_of_what_is_made_of_these(
    folder: Path, column: str, spoil: Any
) -> None:
    mask = np.zeros((9, 9, 9), np.uint8)
    mask[2:7, 2:7, 2:7] = 1
    for number in range(1, 13):
        save(Path(f"m{number}.nii.gz"), mask)
    add_column("dwi_mask", "m{}.nii.gz")
    assert found() == []
    spoil()
    made = study()
    (problem,) = find_problems(made, FileCache(Path("headers.json")))
    assert (problem.subject, problem.column) == ("003", column)
    (row,) = exclusion_rows(made, [problem])
    assert (row["subject"], row["modality"], row["decision"]) == ("003", "fa", "exclude")
    assert row["date"] == date.today().isoformat()


@pytest.mark.parametrize(("side", "enough"), [(8, True), (7, False)])
def test_the_smallest_t1w_image(folder: Path, side: int, enough: bool) -> None:
    save(Path("t3.nii.gz"), noise((10, side, 9), 50))
    said = f"subject 003: t1w: t3.nii.gz: expected a 3-D image of 8 voxels or more along every axis, got shape (10, {side}, 9)"
    assert found() == ([] if enough else [said])


def test_noddi_alone_is_left_out_of_single_shell_data(folder: Path) -> None:
    modalities = {"fa": {"from": "tensor", "measure": "fa"}, "ndi": {"from": "noddi", "measure": "ndi"}}
    chosen = study(modalities=modalities, experiments=experiment(modalities=["fa", "ndi"]))
    rows = exclusion_rows(chosen, find_problems(chosen, FileCache(Path("headers.json"))))
    assert {(row["modality"], row["decision"]) for row in rows} == {("ndi", "exclude")}
    assert len(rows) == 12


def test_a_person_of_the_template_is_checked_though_excluded(folder: Path) -> None:
    Path("qc.tsv").write_text("subject\tmodality\tdecision\treason\n003\t\texclude\tage\n")
    flip(folder / "t3.nii.gz")
    assert found()[0].startswith("subject 003: t1w: t3.nii.gz: is damaged")


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("config").mkdir()
    config = {
        "cohort": {"sheet": "cohort.tsv"},
        "qc": "qc.tsv",
        "phenotypes": {"tables": ["phenotypes.tsv"]},
        "experiments": experiment(modalities=["jac", "fa"]),
        "strata": {"adjust": {"columns": []}},
    }
    Path("config/config.yaml").write_text(yaml.safe_dump(config))
    assert main(["check"]) == 0
    assert "no problems (12 people)" in capsys.readouterr().out
    flip(folder / "d4.nii.gz")
    assert main(["check"]) == 2
    told = capsys.readouterr().err
    assert "neurostrata check: 1 problem" in told
    assert "subject 004: dwi: d4.nii.gz: is damaged" in told
    header, line = Path("results/cohort/problems.tsv").read_text().splitlines()
    assert header.split("\t") == ["kind", "subject", "column", "problem"]
    assert line.split("\t")[:3] == ["people", "004", "dwi"]
    assert line.split("\t")[3] in told
    table, known = (Path("results/cohort", name) for name in ("problems.tsv", "headers.json"))
    before = table.read_bytes(), set(json.loads(known.read_text())["files"])
    for people, status, said in (
        (["sub-003", "005"], 0, "no problems (2 people)"),
        (["004"], 2, "neurostrata check: 1 problem:\n  people:\n    subject 004: dwi"),
        (["05"], 2, "--participant-label: not in this study: 05; did you mean '005'"),
    ):
        assert main(["check", "--participant-label", *people]) == status
        assert said in "".join(capsys.readouterr())
        assert (table.read_bytes(), set(json.loads(known.read_text())["files"])) == before
    assert main(["check", "--exclude"]) == 0
    assert "1 decision about 1 person written to qc.tsv" in capsys.readouterr().out
    assert not Path("results/cohort/problems.tsv").exists()
    decided = Path("qc.tsv").read_bytes()
    assert main(["check", "--exclude"]) == 0
    assert Path("qc.tsv").read_bytes() == decided


def test_the_stage_writes_who_takes_part_and_what_was_not_read(folder: Path) -> None:
    replace("qc.tsv", "012\tfa\texclude\tmotion", "012\tfa\texclude\tmotion\n011\t\texclude\tage\n")
    add_column("flair", "x{}.nii.gz")
    config = {**study().config, "output": "out"}
    names = ("cache", "subjects", "exclusions", "notes")
    paths = {name: Path(f"{name}.tsv") for name in names}
    check_cohort(settings={"config": config}, **paths)
    people = [line.split("\t")[0] for line in paths["subjects"].read_text().splitlines()]
    assert people == ["subject", *(f"{n:03d}" for n in range(1, 11)), "012"]
    left_out = [line.split("\t") for line in paths["exclusions"].read_text().splitlines()]
    reasons = {(row["subject"], row["modality"], row["reason"]) for row in dicts(left_out)}
    assert {("011", "all", "age"), ("012", "fa", "motion")} <= reasons
    flair, unread = paths["notes"].read_text().splitlines()
    assert flair == "cohort.tsv: column 'flair' holds files that no modality reads"
    # no diffusion data of 011 and 012 are used
    assert unread.startswith("22 images have not been read to their end yet")
    check_cohort(settings={"config": config}, **paths, seconds=60)
    assert paths["notes"].read_text().splitlines() == [flair]


def dicts(rows: list[list[str]]) -> list[dict[str, str]]:
    """Rows of a table, the first of which is its header."""
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": {"epoch": 3}}, "experiments[0].training: unknown key 'epoch'; did you mean 'epochs'?"),
        (
            {"training": {"epochs": "many"}},
            "experiments[0].training.epochs: a whole number of 1 or more (or null) is needed, 'many' is none",
        ),
        (
            {"model": "separable_autoencoder"},
            "volumes.shape: [30, 30, 30]: experiments[0] (separable_autoencoder) needs sides that are multiples of 32",
        ),
        (
            {"model": "residual_autoencoder", "options": {"channels": [8, 8]}},
            "multiples of 4, such as [32, 32, 32]",
        ),
    ],
)
def test_experiments_are_checked_with_their_models(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_config(
            {
                "cohort": {},
                "modalities": {"jac": {"from": "jacobian"}},
                "volumes": {"shape": [30, 30, 30]},
                "experiments": experiment(**changes),
            }
        )
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"volumes": {"percentiles": [99, 1]}},
            "volumes.percentiles: [99, 1]: the first must be below the second",
        ),
        ({"seed": -1}, "seed: a whole number from 0 to 4,294,967,295 is needed, not -1"),
        ({"output": "results/{x}"}, "output: 'results/{x}': a path with '{'"),
        ({"phenotypes": {"tables": ["{a}.tsv"]}}, "phenotypes.tables: '{a}.tsv': a path with '{'"),
        ({"volumes": {"resolution_mm": float("nan")}}, "volumes.resolution_mm: nan is not a finite number"),
        (
            {"phenotypes": {"coding": {"smoker": {True: 1}}}},
            "phenotypes.coding.smoker: YAML reads a key as True; put yes, no",
        ),
    ],
)
def test_values_that_no_schema_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_config({"cohort": {}} | changes)
    assert message in str(caught.value)


def test_codes_that_are_numbers_are_keys_too() -> None:
    config = check_config({"cohort": {}, "phenotypes": {"coding": {"smoking": {1: 0, 2: 5}}}})
    assert config["phenotypes"]["coding"]["smoking"] == {"1": 0, "2": 5}


def test_configuration_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    for content, message in (
        ("a: [1\nb: 2\n", r"study\.yaml, line 2: is not valid YAML"),
        ("a: 1\na: 2\n", r"study\.yaml, line 2: is not valid YAML: the key 'a' is given twice"),
        ("a:\n\tb: 1\n", r"study\.yaml, line 2: .*never with tabs"),
        ("- a\n", r"study\.yaml: has no keys"),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=message):
            read_yaml(path)
    path.write_bytes(b"a: \xff\n")
    with pytest.raises(UserError, match=r"study\.yaml: is not UTF-8"):
        read_yaml(path)
    path.write_text("a: {b: 1, c: 2}\nd: [1, 2]\n")
    (tmp_path / "more.yaml").write_text("a: {b: 3}\nd: [4]\n")
    assert read_configuration([path, tmp_path / "more.yaml"]) == {"a": {"b": 3, "c": 2}, "d": [4]}


def test_long_settings_go_by_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert handed_over("{}", tmp_path) == "{}"
    text = json.dumps({"config": {}, "exclude": ["x" * 40] * 4003})
    assert len(text) > LONGEST
    given = handed_over(text, tmp_path / "settings")
    assert given.startswith("@")
    assert handed_over(text, tmp_path / "settings") == given
    assert handed_over(text + " ", tmp_path / "settings") != given
    assert Path(given[1:]).read_text() == text
    # the command reads it: it gets as far as the configuration's own problems
    assert main(["stage", "check-cohort", "--cache", str(tmp_path / "h.json"), "--settings", given]) == 2
    assert "'cohort' is missing" in capsys.readouterr().err


def test_a_header_of_every_kind_is_read_without_nibabel_loading_the_file(folder: Path) -> None:
    nib.save(nib.Nifti2Image(noise((9, 9, 9), 1), np.eye(4)), "two.nii")
    facts = read_facts("two.nii", Path("two.nii").stat().st_size)
    assert facts["shape"] == [9, 9, 9]
    nib.save(nib.MGHImage(noise((9, 9, 9), 1), np.eye(4)), "x.mgz")
    assert read_facts("x.mgz", Path("x.mgz").stat().st_size)["shape"] == [9, 9, 9]
