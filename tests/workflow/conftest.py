"""Small studies for running the workflow itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_study import StudyFolder, make_study


@pytest.fixture
def study(tmp_path: Path) -> StudyFolder:
    """A study of which nothing has been run."""
    return make_study(tmp_path / "study")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """The same study, run to its report. Not to be changed: tests take a copy."""
    study = make_study(tmp_path_factory.mktemp("finished") / "study")
    run = study.snakemake()
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-6000:]
    return study


@pytest.fixture
def rerun(finished: StudyFolder, tmp_path: Path) -> StudyFolder:
    """A copy of the finished study, in another folder, to change."""
    shutil.copytree(finished.folder, tmp_path / "moved", symlinks=True)
    return StudyFolder(tmp_path / "moved")
