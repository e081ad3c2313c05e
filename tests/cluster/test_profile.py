"""`snakemake --profile slurm`, literally: sbatch, one environment per rule, a GPU, grouped chains."""

from __future__ import annotations

import re

import conda_stand_in
import pytest
from cluster_study import ClusterStudy, on_cluster, records
from local_slurm import LocalSlurm
from small_study import make_study


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
    # prepare, register template, register: one each; jacobian, map and page share one per person
    rules = said.count("Finished jobid")
    assert 4 * 4 < len(jobs) < rules
    gpu = [job for job in jobs if "gpu" in job.get("TresPerJob", "")]
    assert len(gpu) == 3 + 3 + 2  # train, embed, evaluate
    environments = list((literal.study.folder / ".snakemake" / "conda").glob("*/bin/python"))
    assert len(environments) >= 5


def test_nothing_is_planned_again_with_or_without_the_profile(literal: ClusterStudy) -> None:
    again = literal.run("-n")
    assert "Nothing to be done" in again.stdout + again.stderr
    assert literal.study.planned() == {}
