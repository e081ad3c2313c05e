"""`snakemake --profile slurm`, literally: sbatch, one environment per rule, a GPU, grouped chains."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import conda_stand_in
import pytest
import yaml
from local_slurm import LocalSlurm
from small_study import REPOSITORY, StudyFolder, make_study

#: What a site adds: its partition; and what a test adds: quick polling, squeue (there is no accounting).
SITE = {
    "default-resources": {
        "mem_mb": 1000,
        "runtime": 60,
        "slurm_partition": "main",
        "slurm_account": "test",
    },
    "slurm-status-command": "squeue",
    "slurm-init-seconds-before-status-checks": 5,
    "latency-wait": 10,
}


@dataclass
class ClusterStudy:
    """A study and how it is run on the cluster."""

    study: StudyFolder
    cluster: LocalSlurm
    environment: dict[str, str]
    site: Path

    def command(self, *arguments: str) -> list[str]:
        """The command line, from the root of the checkout."""
        command = [sys.executable, "-m", "snakemake", "--profile", "slurm", "--profile", str(self.site)]
        return [*command, "--directory", str(self.study.folder), *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            self.command(*arguments), cwd=REPOSITORY, env=self.environment, capture_output=True, text=True
        )


def records(cluster: LocalSlurm, run: str) -> list[dict[str, str]]:
    """Slurm's own records of the jobs of a run, whose id is in Snakemake's output."""
    run_id = re.search(r"SLURM run ID: (\S+)", run).group(1)
    return [job for job in cluster.jobs() if job["JobName"] == run_id]


@pytest.fixture(scope="module")
def literal(cluster: LocalSlurm, tmp_path_factory: pytest.TempPathFactory) -> ClusterStudy:
    """Four people, one template iteration, conda deployment by the stand-in."""
    folder = tmp_path_factory.mktemp("literal")
    programs = conda_stand_in.install(folder / "conda")
    environment = cluster.environment
    environment["PATH"] = f"{programs}:{environment['PATH']}"
    (folder / "site").mkdir()
    (folder / "site" / "config.yaml").write_text(yaml.safe_dump(SITE))
    study = make_study(folder / "study", people=4, iterations=1)
    study.configure(modalities={"jac": {"from": "jacobian"}})
    return ClusterStudy(study, cluster, environment, folder / "site")


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
    assert len(gpu) == 3 + 1 + 2  # train, embed, evaluate
    environments = list((literal.study.folder / ".snakemake" / "conda").glob("*/bin/python"))
    assert len(environments) >= 5


def test_nothing_is_planned_again_with_or_without_the_profile(literal: ClusterStudy) -> None:
    again = literal.run("-n")
    assert "Nothing to be done" in again.stdout + again.stderr
    assert literal.study.planned() == {}
