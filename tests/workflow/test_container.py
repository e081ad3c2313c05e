"""The container recipe is what Snakemake writes for the environments as they are."""

from __future__ import annotations

import os
from pathlib import Path

import conda_stand_in
from planned_study import make_planned_study
from small_study import REPOSITORY

HEADER = """\
# All environments of the workflow in one image, for sites without conda. Written by Snakemake
# (--containerize apptainer) and compared with envs/*.yaml by a test. From the root of a clone:
#
#   apptainer build neurostrata.sif envs/apptainer.def
#
# then set `container: neurostrata.sif` in the study's configuration, and call
#
#   snakemake --profile slurm --profile mysite --software-deployment-method conda apptainer
"""


def recipe(folder: Path) -> str:
    """The recipe for the environments of all rules."""
    programs = conda_stand_in.install(folder / "conda")
    study = make_planned_study(folder / "study")
    study.environment["PATH"] = f"{programs}:{os.environ['PATH']}"
    # with AMICO, which has an environment to itself
    amico = "diffusion={noddi: {engine: amico}}"
    run = study.snakemake("--containerize", "apptainer", "--sdm", "conda", "--config", amico)
    assert run.returncode == 0, run.stderr
    text = run.stdout[run.stdout.index("Bootstrap:") :]
    return HEADER + text.replace(os.path.relpath(REPOSITORY / "envs", study.folder), "envs")


def test_the_recipe_has_all_environments(tmp_path: Path) -> None:
    """To write it anew after a change of envs/: NEUROSTRATA_WRITE=1 make workflow-tests."""
    path = REPOSITORY / "envs" / "apptainer.def"
    wanted = recipe(tmp_path)
    if os.environ.get("NEUROSTRATA_WRITE") == "1":
        path.write_text(wanted)
    assert path.read_text() == wanted
    for environment in (REPOSITORY / "envs").glob("*.yaml"):
        assert (f"envs/{environment.name}" in wanted) == (environment.name != "controller.yaml")
