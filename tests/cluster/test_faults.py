"""What goes wrong on a cluster: memory, time, a dead controller, a dead node. Each ends in a finished study."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from cluster_study import ClusterStudy, on_cluster, records
from local_slurm import LocalSlurm
from small_study import REPOSITORY, make_study

pytestmark = pytest.mark.slow

#: No conda here: the jobs find what they need in the Python that runs Snakemake.
PLAIN = {"software-deployment-method": ["env-modules"]}


@pytest.fixture
def make(cluster: LocalSlurm, tmp_path: Path) -> Callable[..., ClusterStudy]:
    """Make a small study on the cluster."""

    def one(name: str = "a", profile: dict[str, object] | None = None, **config: object) -> ClusterStudy:
        study = make_study(tmp_path / name / "study", people=4, iterations=1)
        study.configure(**config)
        return on_cluster(study, cluster, **PLAIN, **(profile or {}))

    return one


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.2)


def test_a_job_without_enough_memory_passes_on_its_second_attempt(make) -> None:
    memory = {"train": {"mem_mb": "60 * 16 ** (attempt - 1)", "threads": 2}}
    cluster_study = make(profile={"set-resources": memory})
    run = cluster_study.run("results/experiments/jac/fold-all/model")
    said = run.stdout + run.stderr
    assert run.returncode == 0, said[-6000:]
    train = [job for job in records(cluster_study.cluster, said) if job.get("TresPerJob") == "gres:gpu:1"]
    states = {job["MinMemoryNode"]: job["JobState"] for job in train}
    assert states.pop("960M") == "COMPLETED", states
    assert states.keys() == {"60M"}
    assert states["60M"] in ("OUT_OF_MEMORY", "FAILED", "CANCELLED"), states


def test_a_training_past_its_time_limit_goes_on_from_its_checkpoint(make) -> None:
    experiment = {
        "name": "long",
        "model": "separable_autoencoder",
        "modalities": ["jac"],
        "validation": {"method": "holdout", "test_fraction": 0.25},
        "training": {"epochs": 400, "batch_size": 3},
        "options": {"skip_connections": False},
    }
    limits = {"train": {"runtime": "attempt ** 2", "mem_mb": 4000}}
    cluster_study = make(profile={"set-resources": limits}, experiments=[experiment])
    run = cluster_study.run("results/experiments/long/fold-all/model")
    said = run.stdout + run.stderr
    assert run.returncode == 0, said[-6000:]
    train = [job for job in records(cluster_study.cluster, said) if job.get("TresPerJob") == "gres:gpu:1"]
    assert [job["JobState"] for job in train][:2] == ["TIMEOUT", "COMPLETED"]
    log = (cluster_study.study.folder / "logs/train/long/all.log").read_text()
    assert "resumed from" in log


def tables(folder: Path) -> dict[str, bytes]:
    """Every table of the results; what records times and versions is left out."""
    left_out = ("resources.tsv", "provenance")
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted((folder / "results").rglob("*.tsv"))
        if path.name not in left_out
    }


def running(cluster_study: ClusterStudy) -> subprocess.Popen[bytes]:
    """Start the controller in the background."""
    log = open(cluster_study.study.folder / "controller.log", "wb")  # noqa: SIM115
    return subprocess.Popen(
        cluster_study.command(),
        cwd=REPOSITORY,
        env=cluster_study.environment,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def resuming(cluster_study: ClusterStudy) -> subprocess.Popen[str]:
    """Start the documented command, with the arguments of the run."""
    arguments = cluster_study.command()[3:]  # without "python -m snakemake"
    command = [sys.executable, str(REPOSITORY / "workflow" / "neurostrata"), "resume", *arguments]
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=cluster_study.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_controller_is_resumed_with_the_same_results(make) -> None:
    unbroken, broken = make("unbroken"), make("broken")
    run = unbroken.run()
    assert run.returncode == 0, (run.stdout + run.stderr)[-6000:]
    controller = running(broken)
    queue = broken.cluster
    preprocessed = "results/derivatives/*/anat/*_desc-preproc_T1w.nii.gz"
    wait_for(lambda: list(broken.study.folder.glob(preprocessed)), 120, "the first job")
    refused = resuming(broken)
    _, said = refused.communicate()
    assert refused.returncode == 2
    assert "is being run" in said
    # Jobs take seconds here: those that wait for the partition are still there when the study is run again.
    queue.say("scontrol", "update", "PartitionName=main", "State=DOWN")
    wait_for(lambda: queue.say("squeue", "-h", "-t", "PD", "-o", "%i").split(), 120, "waiting jobs")
    os.killpg(controller.pid, signal.SIGKILL)
    controller.wait()
    left = set(queue.say("squeue", "-h", "-t", "PD", "-o", "%i").split())
    plain = broken.run()
    assert plain.returncode == 2, plain.stdout + plain.stderr
    assert "are still running: Slurm job" in plain.stderr
    resumed = resuming(broken)
    wait_for(lambda: not left & set(queue.say("squeue", "-h", "-o", "%i").split()), 120, "cancelled jobs")
    queue.say("scontrol", "update", "PartitionName=main", "State=UP")
    out, said = resumed.communicate()
    assert resumed.returncode == 0, (out + said)[-6000:]
    assert "orphaned jobs cancelled" in said
    assert not queue.say("squeue", "-h").strip()
    assert tables(broken.study.folder) == tables(unbroken.study.folder)
    for image in (unbroken.study.folder / "results").rglob("*.nii.gz"):
        twin = broken.study.folder / image.relative_to(unbroken.study.folder)
        a, b = nib.load(image).get_fdata(), nib.load(twin).get_fdata()
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * max(1.0, np.abs(a).max()), err_msg=str(image))


def test_a_node_that_dies_loses_only_what_was_running(make) -> None:
    cluster_study = make()
    controller = running(cluster_study)
    cluster = cluster_study.cluster
    preprocessed = "results/derivatives/*/anat/*_desc-preproc_T1w.nii.gz"
    wait_for(lambda: list(cluster_study.study.folder.glob(preprocessed)), 120, "the first job")
    wait_for(lambda: cluster.say("squeue", "-h", "-t", "R").strip(), 60, "a running job")
    cluster.kill_node()
    wait_for(lambda: "down" in cluster.say("sinfo", "-h", "-o", "%t"), 120, "the node to be noticed")
    cluster.start_node()
    assert controller.wait(900) == 0, (cluster_study.study.folder / "controller.log").read_text()[-6000:]
    assert (cluster_study.study.folder / "results" / "report" / "index.html").is_file()
