"""`neurostrata init`: what is written, what is said, and what is never overwritten."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from bids_trees import plant, qsiprep_person, settle
from image_trees import fill, people, write_table

from neurostrata.beginning import study_folder
from neurostrata.beginning.commands import init
from neurostrata.beginning.findings import Findings, Wishes
from neurostrata.beginning.options import read_filters, read_label
from neurostrata.cli import main
from neurostrata.core.errors import UserError
from neurostrata.core.locations import REPOSITORY

QC = "subject\tmodality\tdecision\treason\n"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Four people with T1w images, and a table."""
    root = plant(tmp_path / "my images", [f"{person}_T1w.nii.gz" for person in people(4)], kind=None)
    write_table(root / "people.tsv", people(4), {"age": "number", "score": "number"}, "subject")
    return fill(root)


def everything(folder: Path) -> dict[str, str]:
    """Path -> content of every file, and target of every link."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in [*files, *folders]:
            path = Path(place, name)
            if path.is_symlink():
                found[str(path.relative_to(folder))] = str(path.readlink())
            elif path.is_file():
                found[str(path.relative_to(folder))] = path.read_text()
    return found


def test_a_study_is_begun(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = tmp_path / "new" / "my study"
    init(images, study)
    written = everything(study)
    assert set(written) == {
        "Snakefile",
        "clone",
        "profiles",
        "slurm",
        "config/cohort.tsv",
        "config/config.yaml",
        "config/qc.tsv",
    }
    assert written["clone"] == str(REPOSITORY)
    assert written["profiles"] == "clone/profiles"
    assert written["config/qc.tsv"] == QC
    assert written["config/cohort.tsv"].splitlines()[0] == "subject\tt1w\tage"
    config = yaml.safe_load(written["config/config.yaml"])
    assert config["phenotypes"] == {
        "tables": [str(images / "people.tsv")],
        "exclude": ["age"],
        "method": "variables",
    }
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"found in {images}"
    assert "  4 people: t1w 4" in said
    assert f"  phenotypes: {images / 'people.tsv'} (4 people, 1 variable)" in said
    assert any(" CPU " in line and "on the disk" in line for line in said)
    assert said[-3].startswith(f"  neurostrata run '{study}' -n")
    assert said[-1] == f"or, after cd '{study}': snakemake -n; snakemake --cores 8; snakemake --profile slurm"


def test_a_column_that_seems_to_be_age_is_said_before_the_first_run(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init(images, tmp_path / "study")
    assert "usual name" not in capsys.readouterr().out
    table = images / "people.tsv"
    table.write_text(table.read_text().replace("\tage\t", "\tinterview_age\t"))
    init(images, tmp_path / "other")
    said = capsys.readouterr().out
    assert (
        "  no column has a usual name of age, for which nothing is adjusted then; interview_age may hold it: set "
        in said
    )


def test_what_a_person_wrote_stays(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = tmp_path / "study"
    init(images, study)
    (study / "config" / "config.yaml").write_text("output: mine\n")
    (study / "config" / "qc.tsv").write_text(QC + "01\t\texclude\tmoved\n")
    before = everything(study)
    with pytest.raises(UserError, match=r"config\.yaml: is there already, and nothing was changed"):
        init(images, study)
    assert everything(study) == before
    init(images, study, force=True)
    kept = next(study.glob("before-init-*"))
    assert (kept / "config" / "config.yaml").read_text() == "output: mine\n"
    assert (study / "config" / "qc.tsv").read_text() == before["config/qc.tsv"]
    assert "cohort:" in (study / "config" / "config.yaml").read_text()
    assert f"kept from before: {kept / 'config' / 'config.yaml'}" in capsys.readouterr().out


def test_a_folder_with_other_files_is_left_alone(images: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    (study / "profiles").mkdir(parents=True)
    (study / "Snakefile").write_text("rule all: input: []\n")
    before = everything(study)
    with pytest.raises(UserError, match="has Snakefile, profiles already"):
        init(images, study)
    assert everything(study) == before
    init(images, study, force=True)
    assert (next(study.glob("before-init-*")) / "Snakefile").read_text() == before["Snakefile"]
    assert (study / "profiles" / "default" / "config.yaml").is_file()


@pytest.mark.parametrize(
    ("there", "last"), [(False, "config.yaml"), (True, "config.yaml"), (True, "cohort.tsv")]
)
def test_nothing_half_written_is_left(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool, last: str
) -> None:
    study = tmp_path / "study"
    if there:
        study.mkdir()
    real = study_folder.atomic_path

    def full_disk(path: Path, **options: bool) -> object:
        if path.name == last:
            raise OSError(28, "No space left on device", str(path))
        return real(path, **options)

    monkeypatch.setattr(study_folder, "atomic_path", full_disk)
    with pytest.raises(UserError, match=r"cannot be written \(No space left"):
        init(images, study)
    assert not (study / "config" / "config.yaml").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert study.exists() == there
    monkeypatch.undo()
    init(images, study)  # again, over what is there
    assert (study / "config" / "config.yaml").exists()


def test_the_study_needs_a_folder_of_its_own(images: Path, tmp_path: Path) -> None:
    for study, message in (
        (images, "is the folder with the images"),
        (REPOSITORY, "is the clone of neurostrata itself"),
        (images / "people.tsv", "is a file"),
        (tmp_path / "{a}", "special meaning"),
    ):
        with pytest.raises(UserError, match=message):
            init(images, study)


def test_a_misspelled_preset_is_answered(images: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"--preset dimitri: is not one of recommended, .*; did you mean 'dimitri2022'\?"
    ):
        init(images, tmp_path / "study", preset="dimitri")


def test_a_preset_whose_images_nobody_has_is_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="--preset dimitri2022: needs dwi, bval and bvec of people, and nobody has them here"
    ):
        init(images, tmp_path / "study", preset="dimitri2022")
    assert not (tmp_path / "study").exists()


def test_a_preset_says_what_must_be_filled_in(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init(images, tmp_path / "study", preset="arco2023")
    said = capsys.readouterr().out
    assert "  images for pet: fill in the column pet of config/cohort.tsv" in said
    assert "'diagnosis' is not a column of the cohort sheet" in said
    assert "regions.image in config/config.yaml: atlas/AAL.nii" in said
    assert (
        (tmp_path / "study" / "config" / "cohort.tsv")
        .read_text()
        .startswith("subject\tt1w\tage\tpet\tdiagnosis\n")
    )


def test_too_few_people_are_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="3 people have what an experiment needs; at least 4"):
        init(images, tmp_path / "study", participant_label=["sub-01", "02", "03"])


def test_single_shell_data_and_a_preset_with_noddi(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = plant(
        tmp_path / "qsiprep", [n for p in people(4) for n in qsiprep_person(p)], "derivative", "QSIPrep"
    )
    settle(fill(root, (1000,)))
    init(root, tmp_path / "paper", preset="dimitri2022")
    assert (
        "ndi: 4 of 4 people with diffusion data have one shell, and two are needed" in capsys.readouterr().out
    )
    init(root, tmp_path / "recommended")
    said = capsys.readouterr().out
    assert "on jac, fa, 4 people" in said
    assert "only you can decide" not in said


def test_some_people_with_one_shell_and_columns_that_a_paper_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = plant(
        tmp_path / "qsiprep", [n for p in people(6) for n in qsiprep_person(p)], "derivative", "QSIPrep"
    )
    settle(fill(root, (1000, 2000)))
    single = fill(
        plant(tmp_path / "other", [n for p in people(2) for n in qsiprep_person(p)], kind=None), (1000,)
    )
    for path in single.rglob("*dwi.bv*"):
        (root / path.relative_to(single)).write_text(path.read_text())
    init(root, tmp_path / "paper", preset="dimitri2022")
    said = capsys.readouterr().out
    assert "ndi: 2 of 6 people with diffusion data have one shell, and two are needed" in said
    assert "FA instead of NDI" not in said  # a paper's experiments are the paper's
    init(root, tmp_path / "recommended")
    said = capsys.readouterr().out
    assert "2 of 6 people with diffusion data have one shell: FA instead of NDI" in said
    init(root, tmp_path / "pet", preset="arco2023")
    said = capsys.readouterr().out
    assert "say which files the column pet holds, in config/config.yaml: cohort: {filters: {pet:" in said
    assert "'diagnosis' is not a column of the cohort sheet" in said
    assert "columns of participants.tsv are taken with cohort: {columns: {NAME: COLUMN}}" in said


def test_a_configuration_that_is_no_text_is_kept_too(images: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    init(images, study)
    (study / "config" / "config.yaml").write_bytes(b"output: r\xe9sultats\n")
    init(images, study, force=True)
    (kept,) = study.glob("before-init-*/config/config.yaml")
    assert kept.read_bytes() == b"output: r\xe9sultats\n"
    assert yaml.safe_load((study / "config" / "config.yaml").read_text())["cohort"]


def test_every_option_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scores.tsv").write_text("subject\tscore\n")
    asked: list[tuple[Path, Wishes, Sequence[Path]]] = []

    def look(folder: Path, study: Path, wishes: Wishes, derivatives: Sequence[Path]) -> Findings:
        asked.append((folder, wishes, derivatives))
        raise UserError("seen enough")

    monkeypatch.setattr("neurostrata.beginning.commands.look_at", look)
    monkeypatch.chdir(tmp_path)
    words = "init images study --participant-label sub-01 02 --session-label ses-b --run-label run-2 --path-t1w {subject}.nii"
    words += " --filter-t1w acquisition=mprage --filter-dwi direction=AP --path-dwi {subject}_dwi.nii --derivatives a b --table scores.tsv"
    assert main(words.split()) == 2
    assert main(["init", "images", "study"]) == 2
    wishes = Wishes(
        participants=["01", "02"],
        session="b",
        run="2",
        filters={"t1w": {"acquisition": "mprage"}, "dwi": {"direction": "AP"}},
        patterns={"t1w": "{subject}.nii", "dwi": "{subject}_dwi.nii"},
        tables=[str(tmp_path.resolve() / "scores.tsv")],
    )
    assert asked == [
        (Path("images"), wishes, [Path("a"), Path("b")]),
        (Path("images"), Wishes(participants=[], tables=[]), ()),
    ]


def test_filters_are_written_as_snakebids_takes_them() -> None:
    assert read_filters("t1w", ["acquisition=mprage", "run=1,2", "reconstruction=null"]) == {
        "acquisition": "mprage",
        "run": ["1", "2"],
        "reconstruction": None,
    }
    with pytest.raises(UserError, match="--filter-dwi AP: expected ENTITY=VALUE"):
        read_filters("dwi", ["AP"])
    assert read_label("--session-label", "ses-01", "ses-") == "01"
    with pytest.raises(UserError, match="--session-label: is empty"):
        read_label("--session-label", "ses-", "ses-")
