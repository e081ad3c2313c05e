"""Small runs with the presets of the papers, from simulated images to the report, to look at what the reports say.

    make papers                                                               # all four, about half an hour on one core
    PYTHONPATH=workflow python tests/papers/run.py geenjaar2021 --output papers --cores 2

A stopped run goes on where it was. Each paper has a study of its own, OUTPUT/PAPER, whose report is results/report/index.html.
PAPER.yaml beside this file says what is smaller than in the paper:

    simulate    options of the simulated cohort (neurostrata.simulation.commands.simulate)
    study       settings that the cohort needs: its files
    small       settings lower than the preset's
    keep        experiments of the preset that are run
    folds       their number of folds
    modalities  of each of them, where not the preset's
    options     of their models, where lower than the preset's
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
PAPERS = sorted(path.stem for path in HERE.glob("*.yaml"))


def preset(paper: str) -> Path:
    """Return the paper's preset."""
    return REPOSITORY / "config" / "papers" / f"{paper}.yaml"


def small_run(paper: str) -> dict[str, Any]:
    """Return what PAPER.yaml says."""
    return yaml.safe_load((HERE / f"{paper}.yaml").read_text())


def merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return the second mapping laid over the first."""
    result = dict(first)
    for key, value in second.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def settings_over_preset(paper: str, run: dict[str, Any]) -> dict[str, Any]:
    """Return what is set over the preset: lists are not joined, so the experiments are the preset's with lower values."""
    experiments = {one["name"]: one for one in yaml.safe_load(preset(paper).read_text())["experiments"]}
    kept = [experiments[name] for name in run["keep"]]
    lowered = []
    for one in kept:
        folds = {"folds": run["folds"]} if one["validation"]["method"] == "kfold" else {}
        lowered.append(
            {
                **one,
                "modalities": run.get("modalities", one["modalities"]),
                "validation": {**one["validation"], **folds},
                "options": {**one["options"], **run.get("options", {})},
            }
        )
    cohort = {"cohort": {"sheet": "cohort/paper.tsv"}, "qc": "cohort/qc.tsv"}
    return merged(merged(cohort, run["study"]), {**run["small"], "experiments": lowered})


def make_study(paper: str, study: Path) -> None:
    """Simulate the cohort and write the configuration; what is there already is kept."""
    from cohorts import lay_out

    from neurostrata.simulation.commands import simulate

    run = small_run(paper)
    simulate(output=study / "cohort", **run["simulate"])
    lay_out(paper, study / "cohort")
    settings = settings_over_preset(paper, run)
    (study / "study.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("papers", nargs="*", choices=[*PAPERS, []], help="all without any")
    parser.add_argument("--output", type=Path, default=Path("papers"))
    parser.add_argument("--cores", type=int, default=1)
    arguments = parser.parse_args()
    for paper in arguments.papers or PAPERS:
        start, study = time.monotonic(), arguments.output.resolve() / paper
        study.mkdir(parents=True, exist_ok=True)
        make_study(paper, study)
        command = [sys.executable, "-m", "snakemake", "-s", str(REPOSITORY / "Snakefile")]
        command += ["--directory", str(study), "--configfile", str(preset(paper)), "study.yaml"]
        command += ["--cores", str(arguments.cores), "--rerun-incomplete", "--quiet", "rules", "reason"]
        subprocess.run(command, cwd=study, check=True)
        report = study / "results/report/index.html"
        print(f"{paper}: {time.monotonic() - start:.0f} s, {report}", flush=True)


if __name__ == "__main__":
    main()
