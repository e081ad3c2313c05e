"""Small studies for running the workflow itself."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from small_study import StudyFolder, make_study


@pytest.fixture
def study(tmp_path: Path) -> StudyFolder:
    """A study of which nothing has been run."""
    return make_study(tmp_path / "study")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """The same study, run to its report by the first process that asks. Not to be changed: tests take a copy."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # what all processes of this run have in common
    study, done = StudyFolder(shared / "finished" / "study"), shared / "finished.done"
    with FileLock(shared / "finished.lock"):
        if not done.exists():
            shutil.rmtree(study.folder, ignore_errors=True)  # of a process that failed
            run = make_study(study.folder).snakemake()
            assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-6000:]
            done.touch()
    return study


@pytest.fixture
def rerun(finished: StudyFolder, tmp_path: Path) -> StudyFolder:
    """A copy of the finished study, in another folder, to change."""
    shutil.copytree(finished.folder, tmp_path / "moved", symlinks=True)
    return StudyFolder(tmp_path / "moved")
