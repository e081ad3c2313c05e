from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from bids_trees import plant, raw_person

from neurostrata.cohort.columns import (
    characteristic_columns,
    characteristics_in_tables,
    class_columns,
    covariate_columns,
)
from neurostrata.cohort.groups import group_rows, named_group
from neurostrata.cohort.participation import exclusions_table
from neurostrata.cohort.sheet import read_cohort_sheet
from neurostrata.cohort.study import Study, load_study
from neurostrata.core.config import check_config, overlaid, read_yaml
from neurostrata.core.errors import UserError
from neurostrata.core.locations import DEFAULT_CONFIG
from neurostrata.gate.cache import FileCache
from neurostrata.gate.check import find_problems
from neurostrata.gate.membership import decision_problems
from neurostrata.imaging.images.io import Grid
from neurostrata.imaging.images.series import read_image_mask


def config(**changes: Any) -> dict[str, Any]:
    given = {
        "cohort": {"sheet": "cohort.tsv"},
        "modalities": {
            "jac": {"from": "jacobian"},
            "fa": {"from": "tensor", "measure": "fa"},
            "icn": {"from": "column", "column": "icn", "space": "template", "components": 3},
        },
        "experiments": [
            {"name": "a", "model": "pca", "modalities": ["jac", "fa"], "validation": {"folds": 2}},
        ],
    }
    return check_config(given | changes)


def people(count: int = 6, **cells: str) -> list[dict[str, str]]:
    return [
        {"subject": f"{n:02d}", "t1w": f"{n}.nii", "dwi": f"d{n}.nii", "bval": "b", "bvec": "v", **cells}
        for n in range(1, count + 1)
    ]


def decision(subject: str, what: str = "exclude", modality: str = "") -> dict[str, str]:
    return {"subject": subject, "modality": modality, "decision": what, "reason": "motion"}


def test_who_takes_part_in_what() -> None:
    rows = people()
    rows[0]["template"] = "no"
    rows[1]["dwi"] = ""
    study = Study(
        config(), rows, [decision("03"), decision("04", modality="fa"), decision("05", "exclude_template")]
    )
    assert study.template_members() == ["02", "03", "04", "06"]
    assert study.people() == ["01", "02", "04", "05", "06"]
    assert study.with_modality("jac") == ["01", "02", "04", "05", "06"]
    assert study.with_modality("fa") == ["01", "05", "06"]
    assert study.experiment_members("a") == ["01", "05", "06"]
    assert study.used_modalities() == ["jac", "fa"]


def test_everybody_left_out_is_listed_with_a_reason() -> None:
    rows = people()
    rows[1]["dwi"] = ""
    table = exclusions_table(Study(config(), rows, [decision("03")]))
    assert {"subject": "03", "modality": "all", "stage": "volumes", "reason": "motion"} in table
    lacking = [row for row in table if row["subject"] == "02"]
    assert [row["stage"] for row in lacking] == ["volumes", "experiment a"]
    assert lacking[0]["reason"] == "no dwi in the cohort sheet"


def test_components_are_modalities_and_one_decision_excludes_all_of_them() -> None:
    experiments = [{"name": "a", "model": "pca", "modalities": ["icn1", "icn2"], "validation": {"folds": 2}}]
    study = Study(config(experiments=experiments), people(icn="x.nii"), [decision("01", modality="icn")])
    assert study.used_modalities() == ["icn1", "icn2"]
    assert study.with_modality("icn2") == ["02", "03", "04", "05", "06"]


def test_modalities_belong_together_by_their_declaration_not_by_their_letters_and_digits() -> None:
    """ndi and ndi2 are two modalities, however much they look like components."""
    image = {"from": "column", "column": "t1w", "space": "template"}
    names = ("ndi", "ndi2", "pet", "pet2", "pet10", "t1w", "t1w2")
    declared = dict.fromkeys(names, image) | {
        "icn": {**image, "column": "icn", "components": 12},
        "icn2": image,
    }
    used = [*names, "icn01", "icn12", "icn2"]
    experiments = [{"name": "a", "model": "pca", "modalities": used, "validation": {"folds": 2}}]
    both = config(modalities=declared, experiments=experiments)
    for excluded in (*names, "icn01", "icn2"):
        study = Study(both, people(icn="x.nii"), [decision("01", modality=excluded)])
        assert [m for m in used if "01" not in study.with_modality(m)] == [excluded]
    study = Study(both, people(icn="x.nii"), [decision("01", modality="icn")])
    assert [m for m in used if "01" not in study.with_modality(m)] == ["icn01", "icn12"]
    assert [study.declared(m) for m in ("icn01", "icn2", "pet10")] == ["icn", "icn2", "pet10"]


def test_two_declarations_of_one_name_are_refused() -> None:
    image = {"from": "column", "column": "pet", "space": "template"}
    with pytest.raises(UserError, match=r"modalities.pet2: 'pet2' is a component of modalities.pet too"):
        config(modalities={"jac": {"from": "jacobian"}, "pet": {**image, "components": 3}, "pet2": image})


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            {"space": "mni"},
            "column 'pet' has images in mni space here, and in t1w space in modalities.pet",
        ),
        (
            {"components": 3},
            "column 'pet' has images of 3 volumes here, and of one volume in modalities.pet",
        ),
        ({"kind": "mask"}, None),
        ({"column": "pet_mni", "space": "mni"}, None),
    ],
)
def test_one_column_is_not_taken_for_two_things(other: dict[str, Any], words: str | None) -> None:
    image = {"from": "column", "column": "pet"}
    names = ["pet", "again1" if "components" in other else "again"]
    experiments = [{"name": "a", "model": "pca", "modalities": names, "validation": {"folds": 2}}]
    modalities = {"pet": image, "again": {**image, **other}}
    if words is None:
        config(modalities=modalities, experiments=experiments)
        return
    with pytest.raises(UserError, match=rf"modalities.again: {words}"):
        config(modalities=modalities, experiments=experiments)
    # a declaration that no experiment uses does no harm
    config(modalities=modalities, experiments=[{**experiments[0], "modalities": ["pet"]}])


def test_a_series_is_in_one_space_too() -> None:
    group = {"from": "dual_regression", "column": "bold", "components_image": "g.nii", "components": 3}
    experiments = [{"name": "a", "model": "pca", "modalities": ["a1", "b1"], "validation": {"folds": 2}}]
    config(modalities={"a": group, "b": {**group, "space": "template"}}, experiments=experiments)
    with pytest.raises(
        UserError, match=r"modalities.b: column 'bold' has images in mni space here, and in template"
    ):
        config(modalities={"a": group, "b": {**group, "space": "mni"}}, experiments=experiments)
    image = {"from": "column", "column": "bold", "components": 3}
    with pytest.raises(
        UserError, match=r"modalities.b: column 'bold' has images in t1w space here, and in template"
    ):
        config(modalities={"a": group, "b": image}, experiments=experiments)
    config(modalities={"a": group, "b": {**image, "space": "template"}}, experiments=experiments)


def test_decisions_about_nobody_are_problems() -> None:
    study = Study(config(qc="qc.tsv"), people(), [decision("99"), decision("01", modality="pet")])
    text = "\n".join(problem.text for problem in decision_problems(study))
    assert "subject 99 is not in the cohort" in text
    assert "no such modality: 'pet'" in text


def test_exactly_one_source_of_people() -> None:
    with pytest.raises(
        UserError,
        match=r"set exactly one of sheet, bids, hcp and ukb \(sheet and hcp are set; set the others to null\)",
    ):
        load_study(config(cohort={"sheet": "a.tsv", "hcp": "b"}))


def test_a_sheet_that_is_not_there_is_named_with_its_key(tmp_path: Path) -> None:
    sheet = tmp_path / "cohort.tsv"
    with pytest.raises(UserError, match=r"^cohort\.sheet: \S+cohort\.tsv: no such file; .*cohort\.bids"):
        load_study(config(cohort={"sheet": str(sheet)}, qc=None))
    sheet.write_text("subject\tt1w\n01\tt1w.nii\n")
    with pytest.raises(UserError, match=r"^qc: \S+q\.tsv: no such file; .*qc: null"):
        load_study(config(cohort={"sheet": str(sheet)}, qc=str(tmp_path / "q.tsv")))


SIX_DIRECTIONS = np.array([*np.eye(3), [0.6, 0.8, 0], [0, 0.6, 0.8], [0.8, 0, 0.6]])


def noise(shape: tuple[int, ...], seed: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 10, shape).astype(np.float32)


@pytest.fixture
def cohort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    monkeypatch.chdir(tmp_path)
    rows = people(4)
    for number, row in enumerate(rows):
        nib.save(nib.Nifti1Image(noise((9, 9, 9), number), np.eye(4)), row["t1w"])
        nib.save(nib.Nifti1Image(noise((9, 9, 9, 7), number), np.eye(4)), row["dwi"])
    Path("b").write_text("0 " + "1000 " * 6)
    np.savetxt("v", np.vstack([np.zeros(3), *SIX_DIRECTIONS]).T)
    return rows


def problem_lines(study: Study, cache: FileCache) -> list[str]:
    return [problem.text for problem in find_problems(study, cache)]


def problems(rows: list[dict[str, str]], tmp_path: Path) -> list[str]:
    return problem_lines(Study(config(), rows), FileCache(tmp_path / "headers.json"))


def test_a_sound_cohort_has_no_problems(cohort: list[dict[str, str]], tmp_path: Path) -> None:
    assert problems(cohort, tmp_path) == []


def test_headers_are_read_once(cohort: list[dict[str, str]], tmp_path: Path, monkeypatch: Any) -> None:
    cache = FileCache(tmp_path / "headers.json")
    problem_lines(Study(config(), cohort), cache)
    cache.save()
    for reader in ("read_facts", "read_content"):
        monkeypatch.setattr(
            f"neurostrata.gate.cache.{reader}", lambda path, _: pytest.fail(f"{path} was opened again")
        )
    assert problem_lines(Study(config(), cohort), FileCache(tmp_path / "headers.json")) == []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda: Path("1.nii").write_bytes(Path("1.nii").read_bytes()[:900]), "01: t1w: 1.nii: is truncated"),
        (lambda: Path("1.nii").write_bytes(b"no image"), "01: t1w: 1.nii: is not a readable NIfTI image"),
        (
            lambda: nib.save(nib.Nifti1Image(np.ones((9, 9, 9, 2)), np.eye(4)), "2.nii"),
            "02: t1w: 2.nii: expected a 3-D image",
        ),
        (
            lambda: nib.save(nib.Nifti1Image(np.ones((9, 9, 9)), np.eye(4)), "d3.nii"),
            "03: dwi: d3.nii: expected a 4-D image",
        ),
        (lambda: Path("b").write_text("0 0 0"), "01: b has 3 b-values, the image has 7 volumes"),
        (lambda: Path("b").write_text("0 zero"), "01: bval file b has something that is not a number"),
        (lambda: Path("v").write_text("0 0\n1 1\n"), "01: bvec file v: expected three lines"),
    ],
)
def test_spoiled_files(cohort: list[dict[str, str]], tmp_path: Path, spoil: Any, message: str) -> None:
    spoil()
    assert message in "\n".join(problems(cohort, tmp_path))


def test_single_shell_data_are_refused_for_noddi_before_anything_runs(
    cohort: list[dict[str, str]], tmp_path: Path
) -> None:
    assert problems(cohort, tmp_path) == []
    experiment = {"name": "a", "model": "pca", "modalities": ["ndi"], "validation": {"folds": 2}}
    noddi = config(modalities={"ndi": {"from": "noddi", "measure": "ndi"}}, experiments=[experiment])
    found = problem_lines(Study(noddi, cohort), FileCache(tmp_path / "headers.json"))
    assert len(found) == 4
    assert found[0].startswith("subject 01: NODDI needs at least two shells of 6 directions")
    decided = Study(noddi, cohort, [decision("01", modality="ndi")])
    assert "subject 01" not in "\n".join(problem_lines(decided, FileCache(tmp_path / "headers.json")))


@pytest.mark.parametrize(
    ("bvals", "said"),
    [
        ("0 " + "2000 " * 6, "0 directions with 50 < b <= 1050; the tensor needs 6 (the largest b-value is 2000"),
        ("0 " + "1 " * 6, "0 directions with 50 < b <= 1050; the tensor needs 6 (the largest b-value is 1"),
        ("0 0 " + "1000 " * 5, "5 directions with 50 < b <= 1050; the tensor needs 6 (the largest b-value is 1000"),
    ],
    ids=["one shell above the limit", "b-values in other units", "a scan that was stopped"],
)  # fmt: skip
@pytest.mark.parametrize(
    "measure", [{"from": "tensor", "measure": "md"}, {"from": "noddi", "measure": "ndi"}]
)
def test_gradients_that_determine_no_tensor_are_refused_before_anything_runs(
    bvals: str, said: str, measure: dict[str, str], cohort: list[dict[str, str]], tmp_path: Path
) -> None:
    """NODDI needs the tensor's mask."""
    Path("b").write_text(bvals)
    experiment = {"name": "a", "model": "pca", "modalities": ["m"], "validation": {"folds": 2}}
    study = Study(config(modalities={"m": measure}, experiments=[experiment]), cohort)
    found = problem_lines(study, FileCache(tmp_path / "headers.json"))
    assert len(found) == 4
    assert found[0].startswith(f"subject 01: {said}")


def test_the_limit_of_the_tensor_is_the_studys(cohort: list[dict[str, str]], tmp_path: Path) -> None:
    """Also of a study that was checked with another limit."""
    Path("b").write_text("0 " + "2000 " * 6)
    assert problems(cohort, tmp_path)
    cache = FileCache(tmp_path / "headers.json")
    assert problem_lines(Study(config(diffusion={"tensor_b_max": 2000}), cohort), cache) == []


def test_deviations_of_the_gradients_are_checked_for_the_engine_that_reads_them(
    cohort: list[dict[str, str]], tmp_path: Path
) -> None:
    cohort[0]["grad_dev"] = "g.nii"
    image = nib.load(cohort[0]["dwi"])
    nib.save(nib.Nifti1Image(np.zeros((*image.shape[:3], 6), np.float32), image.affine), "g.nii")
    experiment = {"name": "a", "model": "pca", "modalities": ["ndi"], "validation": {"folds": 2}}

    def found(engine: str) -> str:
        chosen = config(
            modalities={"ndi": {"from": "noddi", "measure": "ndi"}},
            experiments=[experiment],
            diffusion={"noddi": {"engine": engine}},
        )
        return "\n".join(problem_lines(Study(chosen, cohort), FileCache(tmp_path / "headers.json")))

    assert "01: grad_dev: g.nii: expected nine volumes, got shape" in found("maximum_likelihood")
    assert "grad_dev" not in found("amico")


def test_a_truncated_gzip_is_found(cohort: list[dict[str, str]], tmp_path: Path) -> None:
    image = np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32)
    nib.save(nib.Nifti1Image(image, np.eye(4)), "1.nii.gz")
    cohort[0]["t1w"] = "1.nii.gz"
    assert problems(cohort, tmp_path) == []
    Path("1.nii.gz").write_bytes(Path("1.nii.gz").read_bytes()[:-5000])
    assert "01: t1w: 1.nii.gz: is truncated" in "\n".join(problems(cohort, tmp_path))


def test_a_mask_on_another_grid(cohort: list[dict[str, str]], tmp_path: Path) -> None:
    mask = np.ones((9, 9, 9), np.uint8)
    mask[0] = 0
    nib.save(nib.Nifti1Image(mask, np.diag([2, 2, 2, 1.0])), "m.nii")
    cohort[1]["t1w_mask"] = "m.nii"
    assert problems(cohort, tmp_path) == [
        "subject 02: t1w_mask: m.nii: its affine is not that of t1w (corners are up to 8 mm apart)"
    ]


@pytest.mark.parametrize(
    ("step", "origin"),
    [(0.0, 0.0), (0.0, 0.03), (0.001, 0.0), (0.009, 0.0), (0.0, 0.08), (-0.009, 0.04), (0.009, -0.04)],
)
def test_the_check_and_the_stages_agree_on_whether_a_mask_is_on_its_grid(
    step: float, origin: float, cohort: list[dict[str, str]], tmp_path: Path
) -> None:
    """Over the nine voxels of an image, steps that differ by 0.009 mm put the last voxel 0.072 mm away."""
    mask = np.ones((9, 9, 9), np.uint8)
    mask[0] = 0
    affine = np.diag([1.0 + step, 1, 1, 1])
    affine[0, 3] = origin
    nib.save(nib.Nifti1Image(mask, affine), "m.nii")
    cohort[1]["t1w_mask"] = "m.nii"
    cohort[2]["dwi_mask"] = "m.nii"
    fits = max(abs(origin), abs(8 * step + origin)) <= 0.05
    found = problems(cohort, tmp_path)
    assert ("subject 02: t1w_mask: m.nii: its affine is not that of t1w" in "".join(found)) is not fits
    assert ("subject 03: dwi_mask: m.nii: its affine is not that of dwi" in "".join(found)) is not fits
    assert _refuses(lambda: read_image_mask(Path("m.nii"), "02", Grid((9, 9, 9), np.eye(4)))) is not fits


def _refuses(read: Callable[[], object]) -> bool:
    try:
        read()
    except UserError:
        return True
    return False


def test_too_few_people_for_the_folds(cohort: list[dict[str, str]], tmp_path: Path) -> None:
    few = config(
        experiments=[{"name": "a", "model": "pca", "modalities": ["jac"], "validation": {"folds": 3}}]
    )
    lines = problem_lines(Study(few, cohort), FileCache(tmp_path / "h.json"))
    assert lines == ["experiment a: 4 people are too few for 3 folds; set validation.folds to 2 or less"]


def test_cells_that_are_no_file_names_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cohort.tsv").write_text(
        "subject\tt1w\tpet\tage\tsex\n1\tt1.nii\tp1.nii.gz\t34.5\tF\n2\tt2.nii\t\t\tM\n"
    )
    _, rows = read_cohort_sheet(tmp_path / "data" / "cohort.tsv")
    assert rows[0]["pet"] == str(tmp_path / "data" / "p1.nii.gz")
    assert rows[0]["t1w"] == str(tmp_path / "data" / "t1.nii")
    assert [(row["age"], row["sex"]) for row in rows] == [("34.5", "F"), ("", "M")]


def adjusted(tmp_path: Path, **sections: Any) -> Study:
    (tmp_path / "phenotypes.tsv").write_text("subject\tage\tsex\tiq\n01\t30\tF\t100\n02\t40\tM\t90\n")
    analyses = {
        "prediction": ["diagnosis", "factors"],
        "harmonise": {"keep": ["age", "sex"]},
        "covariates": ["age"],
    }
    experiment = {
        "name": "a",
        "model": "pca",
        "modalities": ["jac"],
        "validation": {"folds": 2},
        "analyses": {**analyses, **sections.pop("analyses", {})},
    }
    phenotypes = {"tables": [str(tmp_path / "phenotypes.tsv")], **sections.pop("phenotypes", {})}
    rows = [{**row, "site": "ab"[n % 2], "diagnosis": "xy"[n // 6]} for n, row in enumerate(people(12))]
    return Study(config(experiments=[experiment], phenotypes=phenotypes), rows, [])


def about_adjustment(study: Study, tmp_path: Path) -> list[str]:
    lines = problem_lines(study, FileCache(tmp_path / "headers.json"))
    return [line for line in lines if "analyses." in line]


def test_phenotypes_are_not_kept_in_harmonised_codes(tmp_path: Path) -> None:
    found = about_adjustment(adjusted(tmp_path), tmp_path)
    assert [line.split(" is one of the variables")[0] for line in found] == [
        "experiment a: analyses.harmonise.keep: 'age'",
        "experiment a: analyses.harmonise.keep: 'sex'",
        "experiment a: analyses.covariates: 'age'",
    ]
    assert "add it to phenotypes.exclude" in found[0]
    assert not about_adjustment(adjusted(tmp_path, phenotypes={"exclude": ["age", "sex"]}), tmp_path)
    assert not about_adjustment(adjusted(tmp_path, phenotypes={"variables": ["iq"]}), tmp_path)
    hcp = {"variables": "dimitri2022"}
    found = about_adjustment(
        adjusted(tmp_path, phenotypes=hcp, analyses={"covariates": ["Gender"]}), tmp_path
    )
    assert found == [
        "experiment a: analyses.covariates: 'Gender' is not a column of the cohort sheet or of the phenotype tables"
    ]


def test_sites_are_counted_before_any_job(tmp_path: Path) -> None:
    study = adjusted(tmp_path, phenotypes={"variables": ["iq"]})
    assert covariate_columns(study, "a") == ["site"]
    columns, subjects = named_group(study, "covariates-a")
    assert columns == ["subject", "site"]
    assert subjects == study.experiment_members("a")
    for row in list(study.rows.values())[3:]:
        row["site"] = "a"
    (found,) = about_adjustment(study, tmp_path)
    assert "fewer than two sites of column 'site' have more than 3 people" in found
    study = adjusted(tmp_path, phenotypes={"variables": ["iq"]}, analyses={"harmonise": {"sites": "scanner"}})
    (found,) = about_adjustment(study, tmp_path)
    assert "'scanner' is not a column" in found


def test_columns_of_two_classes() -> None:
    rows = people(12, sex="F", diagnosis="control", iq="100", scanner="1")
    for number, row in enumerate(rows):
        row["sex"] = "FM"[number % 2]
        row["scanner"] = "12"[number % 2]
        row["iq"] = str(90 + number % 3)
        row["diagnosis"] = ("control", "patient")[number % 2] if number else "other"
    listed = ["sex", "iq", "scanner", "diagnosis", "age", "factors"]
    given = {"name": "a", "model": "pca", "modalities": ["jac"], "analyses": {"prediction": listed}}
    study = Study(config(experiments=[given]), rows)
    # one person of a third class does not count, three numbers are no classes
    assert class_columns(study, "a") == ["sex", "scanner", "diagnosis"]
    for number, row in enumerate(rows):
        row["diagnosis"] = str(number % 2) if number else "2"
    # nor are codes of a diagnosis numbers
    assert class_columns(Study(config(experiments=[given]), rows), "a") == ["sex", "scanner", "diagnosis"]
    for number, row in enumerate(rows):
        row["diagnosis"] = ("control", "patient")[number % 2] if number else "other"
    for number in (2, 4):
        rows[number]["diagnosis"] = ""
    assert class_columns(Study(config(experiments=[given]), rows), "a") == ["sex", "scanner"]
    label = {"column": "diagnosis", "classes": ["control", "patient"]}
    assert class_columns(Study(config(experiments=[given | {"label": label}]), rows), "a")[0] == "diagnosis"


def describing(tmp_path: Path, tables: list[str] | None = None, **adjust: Any) -> Study:
    """Six people with an age and a scanner in the sheet; one lacks the T1w image, one is excluded."""
    rows = people(Age="30", sex_at_birth="F", scanner="1", family="", site="a", diagnosis="")
    rows[1]["t1w"] = ""
    given = config(strata={"adjust": adjust}, phenotypes={"tables": tables or [], "exclude": []}, qc=None)
    return Study(given, rows, [decision("04")])


def test_what_describes_people(tmp_path: Path) -> None:
    study = describing(tmp_path)
    assert characteristic_columns(study) == ["Age"]
    columns, subjects = named_group(study, "characteristics")
    assert columns == ["subject", "family", "site", "diagnosis", "Age"]
    assert subjects == ["01", "02", "03", "05", "06"]
    assert named_group(study, "registered") == (["subject"], ["01", "03", "05", "06"])
    assert group_rows(study, "characteristics")[0]["Age"] == "30"
    adjusting = describing(tmp_path, columns=["sex_at_birth", "head_size"], sites="scanner")
    assert characteristic_columns(adjusting) == ["Age", "sex_at_birth", "scanner"]
    # sites that stand in the column of sites anyway are listed once
    assert named_group(describing(tmp_path, columns=[], sites="site"), "characteristics")[0] == columns


def test_what_describes_people_in_the_phenotype_tables(tmp_path: Path) -> None:
    first, second = str(tmp_path / "first.tsv"), str(tmp_path / "second.tsv")
    Path(first).write_text("iq\tsubject\tGender\tmotion\n100\t01\tF\t0.1\n")
    Path(second).write_text("subject\tiq2\n01\t90\n")
    study = describing(tmp_path, [first, second])
    ((path, columns, rows),) = characteristics_in_tables(study)
    assert (path, columns) == (first, ["subject", "Gender"])  # ids, wherever they stand, and no other score
    assert rows[0]["Gender"] == "F"
    study = describing(tmp_path, [first, second], columns=["motion", "iq2"])
    found = [columns for _, columns, _ in characteristics_in_tables(study)]
    assert found == [["subject", "Gender", "motion"], ["subject", "iq2"]]
    study.config["phenotypes"]["id_column"] = "iq"
    assert characteristics_in_tables(study)[0][1] == ["iq", "Gender", "motion"]
    assert characteristics_in_tables(describing(tmp_path)) == []


@pytest.mark.parametrize(
    ("adjust", "message"),
    [
        ({}, None),
        ({"columns": []}, None),
        (
            {"columns": ["age", "sex", "head_size", "image_quality", "scanner", "motion"], "sites": "site"},
            None,
        ),
        (
            {"columns": ["scaner"]},
            "strata.adjust.columns: 'scaner' is not a column of the cohort sheet or of the",
        ),
        ({"sites": "centre"}, "strata.adjust.sites: 'centre' is not a column"),
    ],
)
def test_what_codes_are_adjusted_by_exists(
    tmp_path: Path, adjust: dict[str, Any], message: str | None
) -> None:
    table = tmp_path / "phenotypes.tsv"
    table.write_text("subject\tGender\tmotion\n01\tF\t0.1\n")
    study = describing(tmp_path, [str(table)], **adjust)
    found = problem_lines(study, FileCache(tmp_path / "headers.json"))
    about = [line for line in found if line.startswith("strata.")]
    assert len(about) == (message is not None)
    if message:
        assert message in about[0]
    if "columns" in adjust and "scaner" in adjust["columns"]:
        assert "nor one of head_size, image_quality" in about[0]


def test_sheets_that_only_the_recommended_configuration_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study that names a folder needs neither `sheet: null` nor an empty sheet of decisions; one that names a sheet does."""
    monkeypatch.chdir(tmp_path)
    plant(tmp_path / "raw", [name for p in ("01", "02") for name in raw_person(p, dwi=())])
    recommended = read_yaml(DEFAULT_CONFIG)
    own = {"cohort": {"bids": "raw"}, "experiments": [], "phenotypes": {"tables": []}}
    config = check_config(overlaid(recommended, own))
    assert config["cohort"]["sheet"]
    study = load_study(config)
    assert list(study.rows) == ["01", "02"]
    assert study.remarks == [f"{recommended['qc']} is not there: nobody is left out by decision"]

    with pytest.raises(UserError, match=r"^qc: my\.tsv: no such file"):
        load_study(config | {"qc": "my.tsv"})
    with pytest.raises(UserError, match="sheet and bids are set"):
        load_study(config | {"cohort": config["cohort"] | {"sheet": "my.tsv"}})
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "cohort.tsv").write_text("subject\tt1w\n")
    with pytest.raises(UserError, match="sheet and bids are set"):
        load_study(config)
