"""Another Snakefile uses this workflow as a module."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from small_study import REPOSITORY, StudyFolder

OTHER = f"""
configfile: "other.yaml"

module neurostrata:
    snakefile: "{REPOSITORY}/Snakefile"
    config: config["neurostrata"]
    # more

use rule * from neurostrata exclude all

rule count:
    input: rules.cluster.output.clusters.format(experiment="jac", codes="raw", finder="mixture")
    output: "counts.txt"
    shell: "wc -l < {{input}} > {{output}}"

rule own:
    default_target: True
    input: "counts.txt", rules.report.output

onstart:
    neurostrata.onstart()
"""


def used_as_module(study: StudyFolder, *arguments: str, more: str = "") -> subprocess.CompletedProcess[str]:
    """Run another workflow in the folder of a study, whose configuration stands in its own."""
    other = study.folder / "analysis"
    other.mkdir()
    (other / "Snakefile").write_text(OTHER.replace("# more", more))
    own = study.folder / "config" / "config.yaml"
    indented = "".join(f"  {line}\n" for line in own.read_text().splitlines())
    (study.folder / "other.yaml").write_text(f"neurostrata:\n{indented}")
    own.unlink()  # not read: the other workflow says everything
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "-s", str(other / "Snakefile"), "--cores", "2", *arguments],
        cwd=study.folder,
        env=study.environment,
        capture_output=True,
        text=True,
    )


def test_a_module_plans_what_the_workflow_plans(study: StudyFolder) -> None:
    alone = study.planned("--forceall")
    run = used_as_module(study, "-n")
    assert run.returncode == 0, run.stderr
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", run.stdout + run.stderr, re.M))
    assert jobs.pop("count") == jobs.pop("own") == "1"
    jobs.pop("total")
    assert {rule: int(number) for rule, number in jobs.items()} == alone


def test_a_module_is_checked_before_anything_is_planned(study: StudyFolder) -> None:
    study.configure(cohort={"sheet": "nowhere.tsv"})
    run = used_as_module(study, "-n")
    assert run.returncode == 2
    assert "nowhere.tsv" in run.stderr


def test_a_module_does_its_jobs(study: StudyFolder) -> None:
    run = used_as_module(study, "results/cohort/subjects.tsv")
    assert run.returncode == 0, run.stderr
    assert (study.folder / "results" / "cohort" / "subjects.tsv").read_text().count("\n") == 7
    assert not (study.folder / ".snakemake" / "neurostrata" / "controller.json").exists()


@pytest.mark.parametrize("more", ['pathvars: results="elsewhere"', 'prefix: "elsewhere"'])
def test_the_configuration_says_where_results_are(study: StudyFolder, more: str) -> None:
    run = used_as_module(study, "-n", more=more)
    assert run.returncode == 2
    assert "set that instead of pathvars or prefix" in run.stderr
