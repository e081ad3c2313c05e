"""Files that were given and are replaced by others, with older dates: `mv`, `cp -p` and `rsync -a` keep a file's date."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from planned_study import make_planned_study
from small_study import StudyFolder, approve

#: Columns of images besides those of the study of the table of reruns.
COLUMNS = ("t1w_mask", "dwi_mask", "grad_dev", "pet", "bold")
MODALITIES = {
    "pet": {"from": "column", "column": "pet"},
    "rsn": {
        "from": "dual_regression",
        "column": "bold",
        "space": "mni",
        "components": 2,
        "components_image": "images/components.nii",
    },
}
#: What is made of these files before any model.
TARGETS = ("volumes", "results/qc/measures.tsv", "results/volumes/regions.nii.gz")


def plan(study: StudyFolder) -> tuple[dict[str, int], list[str]]:
    """Return how many jobs of each rule a dry run plans, and what it says has changed, with the stages planned for that."""
    approve(study)  # the files are no images
    run = study.snakemake("-n", *TARGETS)
    assert run.returncode == 0, run.stderr[-4000:]
    said = run.stdout + run.stderr
    lines = re.search(r"^Changed since the results were made.*\n((?: {4}.*\n)*)", said, re.M)
    jobs = {rule: int(number) for rule, number in re.findall(r"^(\w+) +(\d+)$", said, re.M)}
    return jobs, [line.strip() for line in lines[1].splitlines()] if lines else []


def replace(path: Path, content: bytes) -> None:
    """Replace a file by another one with an older date."""
    date = path.stat().st_mtime_ns - 10**12
    path.write_bytes(content)
    os.utime(path, ns=(date, date))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """A study that reads every kind of file, brought to arrays and measures of quality without computing."""
    study = make_planned_study(tmp_path_factory.mktemp("made") / "study")
    images = study.folder / "images"

    def add(cells: list[list[str]]) -> None:
        cells[0] += COLUMNS
        for row in cells[1:]:
            for column in COLUMNS:
                (images / f"sub-{row[0]}_{column}.nii").write_text(f"{column} of {row[0]}")
                row.append(f"images/sub-{row[0]}_{column}.nii")

    study.edit_sheet(add)
    for name in ("components.nii", "atlas.nii", "regions.tsv"):
        (images / name).write_text(name)
    study.configure(
        modalities=MODALITIES,
        experiments=[{"name": "all", "model": "pca", "modalities": ["jac", "ndi", "pet", "rsn1", "rsn2"]}],
        regions={"image": "images/atlas.nii", "names": "images/regions.tsv", "space": "template"},
    )
    approve(study)
    run = study.snakemake(*TARGETS)
    assert run.returncode == 0, run.stderr[-4000:]
    return study


@pytest.fixture
def study(made: StudyFolder, tmp_path: Path) -> StudyFolder:
    """A copy of it."""
    shutil.copytree(made.folder, tmp_path / "study", symlinks=True)
    return StudyFolder(tmp_path / "study", made.environment)


def records(study: StudyFolder) -> Iterator[tuple[Path, dict[str, Any], dict[str, Any]]]:
    """Snakemake's records: file, what stands in it, and the settings among that."""
    for file in (study.folder / ".snakemake" / "metadata").rglob("*"):
        if file.is_file():
            record = json.loads(file.read_text())
            (text,) = record["params"]
            yield file, record, json.loads(ast.literal_eval(text))


def test_jobs_know_all_files_that_they_are_given(study: StudyFolder) -> None:
    rules = set()
    for _, record, settings in records(study):
        given = [path for path in record["input"] if path.startswith("images/")]
        assert len(settings.get("files", {})) == len(given), (record["rule"], given, settings)
        rules |= {record["rule"]} if given else set()
    assert rules == {
        *("prepare_t1w", "fit_tensor", "fit_noddi", "dual_regression"),
        *("map_to_template", "measure_quality", "grid_regions"),
    }


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("sub-03_pet.nii", b"another", "is another file than before (9 -> 7 bytes)  (map_to_template 1)"),
        ("sub-03_grad_dev.nii", b"another", "is another file than before (14 -> 7 bytes)  (fit_noddi 1)"),
        ("regions.tsv", b"others.tsv!", "has other content than before  (grid_regions 1)"),
    ],
)
def test_another_file_is_planned_as_a_newer_one(
    study: StudyFolder, name: str, content: bytes, line: str
) -> None:
    path = study.folder / "images" / name
    replace(path, content)
    older, lines = plan(study)
    assert lines == [f"images/{name}: {line}"]
    path.touch()
    newer, lines = plan(study)
    assert older == newer
    assert "is newer than what was made of it" in lines[0]


def test_results_can_be_kept_where_images_are_the_same(study: StudyFolder) -> None:
    """docs/reruns.md, Keeping results."""
    replace(study.folder / "images" / "sub-03_T1w.nii", b"compressed anew")
    assert plan(study)[0]["template_register"] == 32
    run = study.snakemake("--touch", *TARGETS)
    assert run.returncode == 0, run.stderr[-4000:]
    assert plan(study) == ({}, [])


def test_an_image_of_the_same_size_counts_by_its_date(study: StudyFolder) -> None:
    path = study.folder / "images" / "sub-03_pet.nii"
    replace(path, path.read_bytes()[::-1])
    assert plan(study) == ({}, [])


def test_images_in_another_folder_are_no_other_files(study: StudyFolder) -> None:
    (study.folder / "images").rename(study.folder / "scans")
    for name in ("cohort.tsv", "config/config.yaml"):
        path = study.folder / name
        path.write_text(path.read_text().replace("images/", "scans/"))
    _, lines = plan(study)
    assert any(line.startswith("other input files ") for line in lines)
    assert not any("than before" in line for line in lines)


def test_results_of_a_release_that_looked_at_dates_alone_are_kept(study: StudyFolder) -> None:
    for file, record, settings in records(study):
        if settings.pop("files", None):
            file.write_text(json.dumps(record | {"params": [repr(json.dumps(settings, sort_keys=True))]}))
    replace(study.folder / "images" / "sub-03_pet.nii", b"another")
    assert plan(study) == ({}, [])
    # another setting is compared as before
    study.configure(anatomy={"n4": {"shrink_factor": 3}})
    assert plan(study)[1] == ["anatomy.n4.shrink_factor: 4 -> 3  (prepare_t1w 8)"]


def test_a_run_that_was_stopped_after_the_first_stage_goes_on(study: StudyFolder) -> None:
    """What the first stage made may be equal to what it made before (here both are empty): to Snakemake it is then unchanged."""
    replace(study.folder / "images" / "sub-03_dwi.nii", b"another")
    line = "images/sub-03_dwi.nii: is another file than before (38,260 -> 7 bytes)"
    assert plan(study)[1] == [f"{line}  (fit_tensor 1)"]
    run = study.snakemake("--until", "fit_tensor", "--", *TARGETS)
    assert run.returncode == 0, run.stderr[-4000:]
    jobs, lines = plan(study)
    assert lines == [f"{line}  (fit_noddi 1)"]
    assert "fit_tensor" not in jobs


def test_a_file_that_is_replaced_during_a_run_is_read_again(study: StudyFolder) -> None:
    """The record is of the file that the run was planned for: the job may have read the other one."""
    image = study.folder / "images" / "sub-03_dwi.nii"
    replace(image, b"another")
    program = study.folder / "bin" / "python"
    program.write_text(
        program.read_text().replace(
            "shift 4\n",
            f'shift 4\n[ $stage = fit-tensor ] && printf third >> "{image}" && touch -d 2000-01-01 "{image}"\n',
        )
    )
    study.environment = {**study.environment, "PATH": f"{program.parent}:{study.environment['PATH']}"}
    approve(study)
    run = study.snakemake("--until", "fit_tensor", "--", *TARGETS)
    assert run.returncode == 0, run.stderr[-4000:]
    assert image.read_bytes() == b"anotherthird"
    line = "images/sub-03_dwi.nii: is another file than before (7 -> 12 bytes)  (fit_tensor 1)"
    assert plan(study)[1] == [line]
