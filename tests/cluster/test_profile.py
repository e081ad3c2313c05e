"""`snakemake --profile slurm`, literally: sbatch, one environment per rule, a GPU, every job by itself."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import conda_stand_in
import nibabel as nib
import numpy as np
import pytest
from cluster_study import ClusterStudy, on_cluster, records
from local_slurm import LocalSlurm
from small_study import REPOSITORY, StudyFolder, make_study


@pytest.fixture(scope="module")
def literal(cluster: LocalSlurm, tmp_path_factory: pytest.TempPathFactory) -> ClusterStudy:
    """Four people, one template iteration, conda deployment by the stand-in."""
    folder = tmp_path_factory.mktemp("literal")
    study = make_study(folder / "study", people=4, iterations=1)
    study.configure(modalities={"jac": {"from": "jacobian"}})
    literal = on_cluster(study, cluster)
    programs = conda_stand_in.install(folder / "conda")
    literal.environment["PATH"] = f"{programs}:{literal.environment['PATH']}"
    return literal


def image(study: StudyFolder, number: int, kind: str) -> Path:
    """Where one of a person's images is."""
    return study.folder / "images" / f"sub-{number:02d}_{kind}.nii.gz"


def test_the_study_runs_through_sbatch(literal: ClusterStudy) -> None:
    run = literal.run()
    said = run.stdout + run.stderr
    assert run.returncode == 0, said[-8000:]
    results = literal.study.folder / "results"
    assert (results / "report" / "index.html").is_file()
    jobs = records(literal.cluster, said)
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    submitted = re.findall(r"SLURM jobid '?(\d+)'?", said)
    assert {job["JobId"] for job in jobs} == set(submitted)
    # each by itself, but for lists, small tables and targets, which are made here
    assert len(jobs) == said.count("Finished jobid") - len(re.findall(r"^localrule ", said, re.M))
    gpu = [job for job in jobs if "gpu" in job.get("TresPerJob", "")]
    assert len(gpu) == 3 + 3 + 2  # train, embed, evaluate
    environments = list((literal.study.folder / ".snakemake" / "conda").glob("*/bin/python"))
    assert len(environments) >= 5


@pytest.mark.parametrize("option", ["--groups jacobian=maps", "--slurm-array-jobs jacobian"])
def test_jobs_that_would_share_their_fate_are_refused(literal: ClusterStudy, option: str) -> None:
    run = literal.run("--until", "jacobian", "--forcerun", "jacobian", *option.split(" ", 1))
    assert run.returncode == 2
    assert "the finished work of the others is deleted with it" in run.stderr


def test_nothing_is_planned_again_with_or_without_the_profile(literal: ClusterStudy) -> None:
    again = literal.run("-n")
    assert "Nothing to be done" in again.stdout + again.stderr
    assert literal.study.planned() == {}


#: What the machine does to two jobs on their first attempt: a shell function takes the place of `python` in jobs.
FAULTS = """
import errno, sys
from neurostrata import cli
from neurostrata.core.errors import UserError
from neurostrata.imaging.volumes import commands as stage

def of_the_gpu(*arguments, **options):
    import torch
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

def of_the_file_server(path, *arguments, **options):
    try:
        raise OSError(errno.ESTALE, "Stale file handle")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error

stage.read_map = of_the_gpu if "01" in sys.argv else of_the_file_server
sys.exit(cli.main(sys.argv[3:]))
"""
SHELL = """
python() {
    local fault IFS=' '  # jobs divide words at line ends alone
    case "$*" in
        *"--subject 01 --modality jac"*) fault=01 ;;
        *"--subject 03 --modality jac"*) fault=03 ;;
    esac
    if [ -n "${fault:-}" ] && mkdir "$FAULTS/$fault" 2> /dev/null; then
        command python "$FAULTS/faults.py" "$@"
    else
        command python "$@"
    fi
}
"""


def test_a_failure_costs_nobody_s_finished_work(literal: ClusterStudy, tmp_path: Path) -> None:
    """One image is broken while the study runs, two jobs meet a failure of the machine; all else stays and goes on."""
    study = literal.study
    for number in range(1, 5):
        shutil.copy(image(study, number, "T1w"), image(study, number, "pet"))
    study.edit_sheet(
        lambda cells: [
            row.append(f"images/sub-{n:02d}_pet.nii.gz" if n else "pet") for n, row in enumerate(cells)
        ]
    )
    study.configure(
        modalities={"jac": {"from": "jacobian"}, "pet": {"from": "column", "column": "pet"}},
        experiments=[
            {
                "name": "both",
                "model": "pca",
                "modalities": ["jac", "pet"],
                "validation": {"method": "kfold", "folds": 2},
            }
        ],
    )
    whole = nib.load(image(study, 2, "pet"))
    broken = study.folder / "broken.nii.gz"
    nib.save(nib.Nifti1Image(np.full(whole.shape, np.nan, np.float32), whole.affine), broken)
    (tmp_path / "faults.py").write_text(FAULTS)
    (tmp_path / "faults.sh").write_text(SHELL)
    faults = {"FAULTS": str(tmp_path), "BASH_ENV": str(tmp_path / "faults.sh")}
    derivatives = study.folder / "results" / "derivatives"
    maps = {
        (number, modality): derivatives
        / f"sub-{number}/fusion/sub-{number}_space-study_desc-{modality}_map.nii.gz"
        for number, modality in (("01", "jac"), ("02", "jac"), ("03", "jac"), ("02", "pet"))
    }
    for path in [*maps.values(), *derivatives.glob("sub-02/anat/*_jacobian.nii.gz")]:
        path.unlink(missing_ok=True)
    process = subprocess.Popen(
        literal.command(*(str(path.relative_to(study.folder)) for path in maps.values())),
        cwd=REPOSITORY,
        env=literal.environment | faults,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said = ""
    for line in process.stdout:
        if "has been submitted" in line and broken.exists():  # checked, but not yet read
            broken.replace(image(study, 2, "pet"))
        said += line
    assert process.wait() == 1, said[-6000:]
    # The finished work of the person with the broken image is there, and the job that met it was named and done once.
    assert len(list(derivatives.glob("sub-02/anat/*_jacobian.nii.gz"))) == 2
    assert [key for key, path in maps.items() if not path.exists()] == [("02", "pet")]
    assert "subject 02: modality pet" in said
    assert set(re.findall(r"Error in (?:rule|group) (\w+)", said)) == {"map_to_template"}
    states = [job["JobState"] for job in records(literal.cluster, said)]
    assert sorted(states) == [*["COMPLETED"] * 4, *["FAILED"] * 3]  # a Jacobian, 4 maps, two of them twice
    # What the machine did got its second attempt, and the log of the first is kept.
    for subject, words in (("01", "CUDA out of memory"), ("03", "Stale file handle")):
        log = (study.folder / f"logs/map_to_template/jac/{subject}.log").read_text()
        last = log.rindex("---- neurostrata map-to-template: attempt ")
        assert words in log[:last]
        assert words not in log[last:]
