"""Running a study on the cluster of the tests, and what Slurm recorded of it."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml
from local_slurm import LocalSlurm
from small_study import REPOSITORY, StudyFolder

#: What a site adds: its partition; and what a test adds: quick polling, squeue (there is no accounting).
SITE = {
    "default-resources": {
        "mem_mb": 1000,
        "runtime": 60,
        "slurm_partition": "main",
        "slurm_account": "test",
    },
    "slurm-status-command": "squeue",
    "slurm-init-seconds-before-status-checks": 1,
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


def on_cluster(study: StudyFolder, cluster: LocalSlurm, **profile: object) -> ClusterStudy:
    """Return a study with a site's profile for this cluster beside it."""
    site = study.folder.parent / "site"
    site.mkdir(exist_ok=True)
    (site / "config.yaml").write_text(yaml.safe_dump(SITE | profile))
    return ClusterStudy(study, cluster, cluster.environment, site)
