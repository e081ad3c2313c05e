"""``neurostrata simulate``: the files of a cohort."""

import gzip
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from neurostrata.cli import main
from neurostrata.core.errors import UserError
from neurostrata.core.files import read_json
from neurostrata.core.locations import REPOSITORY
from neurostrata.core.tables import read_table
from neurostrata.simulation.commands import simulate
from neurostrata.simulation.people.people import Settings, make_people
from neurostrata.simulation.sheets import cohort_sheet, write_questionnaires

WORKFLOW = REPOSITORY / "workflow"
OPTIONS = {"people": 3, "seed": 11, "resolution_mm": 6.0, "dwi_resolution_mm": 9.0, "directions": 6}


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "cohort"
    simulate(output=folder, **OPTIONS)
    return folder


def test_the_same_seed_gives_the_same_bytes_on_more_processes(cohort, tmp_path):
    simulate(output=tmp_path / "again", threads=2, **OPTIONS)
    first, second = digests(cohort), digests(tmp_path / "again")
    assert first == second
    assert len(first) > 40


#: The cohort of OPTIONS as it was before there were a planted diagnosis, contrasts, lesions and components.
TABLES = {
    "cohort.tsv": "e4a1d9f45a4b4dcb",
    "qc.tsv": "6e9efe9de2da114a",
    "phenotypes.tsv": "5062b68ce1b74e1f",
    "truth/effects.tsv": "6df7df41ecd7b62d",
    "truth/loadings.tsv": "cd1007f1e7eadd04",
    "truth/factor_shifts.tsv": "ef10cbc76fc6c49c",
    "truth/regions.tsv": "10eaf02a87bf9aee",
}
#: Of images: sum, sum of squares, sum weighted by the position in the file (over its length).
IMAGES = {
    "images/sub-001_T1w.nii.gz": (6156461.0, 3843308979.0, 3050012.739168),
    "images/sub-002_dwi.nii.gz": (35606396.0, 34472025188.0, 17032818.214137),
    "truth/jacobians/sub-003_space-MNI_desc-nonlinear_logjacobian.nii.gz": (
        -11165.48925781,
        24844.60044956,
        -4609.54823399,
    ),
}


def test_the_default_cohort_is_what_it_always_was(cohort):
    found = digests(cohort)
    assert {name: found[name][:16] for name in TABLES} == TABLES
    assert hashlib.sha256("\n".join(found).encode()).hexdigest()[:16] == "c5642cfb6150ead9"
    assert set(read_json(cohort / "truth" / "simulation.json")["options"]) == {
        *("people", "seed", "effect", "resolution_mm", "dwi_resolution_mm", "site_only", "null_link"),
        *("strata", "noise", "directions", "diffusion"),
    }
    # not their bytes: another processor may round a voxel in a million the other way
    for name, sums in IMAGES.items():
        data = np.asarray(nib.load(cohort / name).dataobj, dtype=np.float64)
        place = np.arange(data.size).reshape(data.shape)
        again = (data.sum(), (data**2).sum(), (data * place).sum() / data.size)
        np.testing.assert_allclose(again, sums, rtol=1e-5)


def test_the_sheet_leads_to_files_that_exist(cohort):
    sheet = pd.read_csv(cohort / "cohort.tsv", sep="\t", dtype=str, keep_default_na=False)
    assert list(sheet.columns) == [
        *("subject", "t1w", "t1w_mask", "dwi", "bval", "bvec", "dwi_mask"),
        *("template", "session", "site", "family", "diagnosis"),
    ]
    assert len(sheet) == 3
    for row in sheet.itertuples():
        for column in ("t1w", "t1w_mask", "dwi", "bval", "bvec", "dwi_mask"):
            assert (cohort / getattr(row, column)).is_file()
        t1w, mask = nib.load(cohort / row.t1w), nib.load(cohort / row.t1w_mask)
        assert t1w.shape == mask.shape
        np.testing.assert_array_equal(t1w.affine, mask.affine)
        dwi = nib.load(cohort / row.dwi)
        assert np.loadtxt(cohort / row.bval).shape == (dwi.shape[3],)
        assert np.loadtxt(cohort / row.bvec).shape == (3, dwi.shape[3])
    checks = pd.read_csv(cohort / "qc.tsv", sep="\t")
    assert list(checks.columns) == ["subject", "modality", "decision", "reason"]


def test_compressed_files_hold_no_time(cohort):
    for path in cohort.rglob("*.nii.gz"):
        assert path.read_bytes()[4:8] == b"\0\0\0\0"


def test_the_truth_is_written(cohort):
    truth = cohort / "truth"
    people = read_table(truth / "participants.tsv")
    assert sorted(people["stratum"]) == [1, 2, 3]
    regions = read_table(truth / "regions.tsv")
    for name in ("regional_log_jacobian", "regional_log_volume", "regional_ndi"):
        table = read_table(truth / f"{name}.tsv")
        assert list(table.columns) == ["subject", *regions["name"]]
        assert list(table["subject"]) == list(people["subject"])
        assert not table.isna().any(axis=None)
    jacobian = read_table(truth / "regional_log_jacobian.tsv")
    labels = np.asarray(nib.load(truth / "regions.nii.gz").dataobj)
    for row in jacobian.itertuples(index=False):
        path = truth / "jacobians" / f"sub-{row[0]}_space-MNI_desc-nonlinear_logjacobian.nii.gz"
        values = np.asarray(nib.load(path).dataobj)
        means = [values[labels == label].mean() for label in regions["label"]]
        np.testing.assert_allclose(means, row[1:], atol=1e-3)
    figures = read_json(truth / "oracle.json")
    assert -1 <= figures["adjusted_rand"] <= 1
    assert figures["people"] == 3
    assert read_table(truth / "loadings.tsv", text=("variable",)).shape == (20, 5)


def test_the_same_cohort_is_not_made_twice(cohort, tmp_path, capsys):
    before = {path: path.stat().st_mtime_ns for path in cohort.rglob("*")}
    simulate(output=cohort, **OPTIONS)
    assert "already exists" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in cohort.rglob("*")}


def test_a_cohort_of_ones_own_is_never_overwritten(tmp_path):
    (tmp_path / "cohort.tsv").write_text("subject\tt1w\n01\tmine.nii.gz\n")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "mine.nii.gz").write_text("precious")
    with pytest.raises(UserError, match="was not written by the simulator"):
        simulate(output=tmp_path, **OPTIONS)
    assert (tmp_path / "images" / "mine.nii.gz").read_text() == "precious"


def test_a_mistake_gives_one_line_and_status_2(tmp_path, capsys):
    assert main(["simulate", "--output", str(tmp_path / "x"), "--people", "2"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "x").exists()


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "extended"
    simulate(
        output=folder,
        **OPTIONS | {"people": 4, "diffusion": False},
        diagnosis_effect=1.0,
        contrasts=["t2w", "flair"],
        lesions=True,
        components=3,
        bold=True,
        bold_resolution_mm=12.0,
    )
    return folder


def test_further_images_have_columns_and_truth(extended):
    sheet = pd.read_csv(extended / "cohort.tsv", sep="\t", dtype=str, keep_default_na=False)
    assert list(sheet.columns[12:]) == ["t2w", "flair", "lesion_mask", "icn", "bold"]
    assert sorted(sheet["diagnosis"]) == ["control", "control", "patient", "patient"]
    group = nib.load(extended / "images" / "components.nii.gz")
    for row in sheet.itertuples():
        t1w = nib.load(extended / row.t1w)
        for column in ("t2w", "flair", "lesion_mask"):
            image = nib.load(extended / getattr(row, column))
            assert image.shape == t1w.shape
            np.testing.assert_array_equal(image.affine, t1w.affine)
        icn, bold = nib.load(extended / row.icn), nib.load(extended / row.bold)
        assert icn.shape == group.shape
        assert bold.shape == (*group.shape[:3], 150)
        assert bold.header.get_zooms()[3] == 2.0
        np.testing.assert_array_equal(bold.affine, group.affine)
    truth = extended / "truth"
    lesions = read_table(truth / "lesions.tsv")
    volumes = [216e-3 * np.asarray(nib.load(extended / path).dataobj).sum() for path in sheet["lesion_mask"]]
    np.testing.assert_allclose(lesions["volume_ml"], volumes)
    assert read_table(truth / "component_amplitudes.tsv").shape == (4, 4)
    effects = read_table(truth / "component_effects.tsv", text=("component",))
    assert list(effects["amplitude"]) == pytest.approx([-0.3, 0, 0])
    assert (truth / "time_courses" / "sub-001_timeseries.tsv").is_file()
    planted = read_table(truth / "diagnosis_effects.tsv", text=("region",)).set_index("region")
    assert planted.loc["left_03", "log_jacobian"] == pytest.approx(-0.12)
    assert planted.loc["left_05", "ndi"] == pytest.approx(-0.03)
    assert (planted["log_jacobian"] != 0).sum() == 4
    figures = read_json(truth / "oracle.json")
    assert set(figures["diagnosis"]) == {"auc_regional", "auc_components", "auc_all"}


def test_the_same_options_are_recognised_again(extended, capsys):
    simulate(
        output=extended,
        **OPTIONS | {"people": 4, "diffusion": False},
        diagnosis_effect=1.0,
        contrasts=["t2w", "flair"],
        lesions=True,
        components=3,
        bold=True,
        bold_resolution_mm=12.0,
    )
    assert "already exists" in capsys.readouterr().out


def test_a_missing_modality_is_an_empty_cell():
    people = make_people(Settings())
    sheet = cohort_sheet(people, Settings())
    without = [p.subject for p in people if not p.has_dwi]
    row = sheet[sheet["subject"].isin(without)]
    assert len(row) == 1
    assert (row[["dwi", "bval", "bvec", "dwi_mask"]] == "").all(axis=None)
    assert (row["t1w"] != "").all()
    assert (sheet.loc[~sheet["subject"].isin(without), "dwi"] != "").all()


def test_null_link_moves_whole_rows_of_answers(tmp_path):
    tables, scores = {}, {}
    for name in (False, True):
        settings = Settings(people=300, null_link=name)
        people = make_people(settings)
        write_questionnaires(tmp_path / str(name), people, settings)
        tables[name] = read_table(tmp_path / str(name) / "phenotypes.tsv")
        scores[name] = read_table(tmp_path / str(name) / "truth" / "factor_scores.tsv")
    source = [p.questionnaires_of for p in people]
    items = tables[True].columns[4:]
    pd.testing.assert_frame_equal(
        tables[True][items], tables[False][items].iloc[source].reset_index(drop=True)
    )
    for column in ("age", "sex", "site"):  # these stay with the person
        assert tables[True][column].equals(tables[False][column])
    stratum = np.array([p.stratum for p in people])

    def between(table):
        values = table["planted_01"].to_numpy()
        return np.ptp([values[stratum == k].mean() for k in range(3)])

    assert between(scores[False]) > 1.0
    assert between(scores[True]) < 0.5


@pytest.mark.slow
def test_a_killed_run_leaves_nothing_that_looks_whole(tmp_path):
    folder = tmp_path / "cohort"
    command = [sys.executable, "-m", "neurostrata", "simulate", "--output", str(folder), "--people", "12"]
    process = subprocess.Popen(
        [*command, "--threads", "2"],
        env={**os.environ, "PYTHONPATH": str(WORKFLOW)},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not list(folder.glob("images/*_dwi.nii.gz")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "cohort.tsv").exists()
    time.sleep(3.0)  # the workers notice that they are alone
    written = digests(folder)
    for path in folder.glob("images/[!.]*.nii.gz"):
        gzip.decompress(path.read_bytes())
    time.sleep(2.0)
    assert digests(folder) == written
    simulate(output=folder, **OPTIONS)
    assert len(list(folder.glob("images/*_T1w.nii.gz"))) == 3
    assert not list(folder.rglob(".*"))


@pytest.mark.slow
def test_the_demo_cohort_can_be_clustered(tmp_path):
    simulate(output=tmp_path, resolution_mm=6.0, dwi_resolution_mm=9.0, directions=6, threads=2)
    figures = read_json(tmp_path / "truth" / "oracle.json")
    assert figures["adjusted_rand_affinity_propagation"] >= 0.95
    assert figures["auc"] >= 0.99


@pytest.mark.slow
def test_a_planted_diagnosis_can_be_told_from_the_true_values(tmp_path):
    simulate(
        output=tmp_path,
        people=40,
        seed=5,
        resolution_mm=8.0,
        diffusion=False,
        diagnosis_effect=1.0,
        components=8,
        threads=2,
    )
    figures = read_json(tmp_path / "truth" / "oracle.json")["diagnosis"]
    assert figures["auc_regional"] >= 0.8
    assert figures["auc_all"] >= 0.9
