"""A thousand people and the paper's configuration: the jobs that are planned."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import yaml
from planned import jobs_by_stage
from small_study import REPOSITORY, StudyFolder, approve

from neurostrata.planning.cost import imagined

PEOPLE = 1000


def large_study(folder: Path, people: int = PEOPLE) -> StudyFolder:
    """The repository's own configuration, with so many rows in the sheet."""
    (folder / "config").mkdir(parents=True)
    for name in ("t1w.nii.gz", "dwi.nii.gz", "bval", "bvec", "phenotypes.tsv"):
        (folder / "config" / name).write_text("subject\tv1\n")  # paths are relative to the sheet
    rows = [f"{n:04d}\tt1w.nii.gz\tdwi.nii.gz\tbval\tbvec\tyes\tf{n // 2}" for n in range(people)]
    sheet = "\n".join(["subject\tt1w\tdwi\tbval\tbvec\ttemplate\tfamily", *rows]) + "\n"
    (folder / "config" / "cohort.tsv").write_text(sheet)
    config = {"qc": None, "phenotypes": {"tables": ["config/phenotypes.tsv"]}}
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(config))
    return StudyFolder(folder)


def test_a_thousand_people_are_planned(tmp_path: Path) -> None:
    study = large_study(tmp_path / "study")
    paper = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())
    approve(study)  # the files are no images
    begun = time.monotonic()
    run = study.snakemake("-n", "--quiet", "rules")
    print(f"planned in {time.monotonic() - begun:.1f} s", file=sys.stderr)
    assert run.returncode == 0, run.stderr[-3000:]
    jobs = {n: int(c) for n, c in re.findall(r"^(\w+) +(\d+)$", run.stdout + run.stderr, re.M)}
    iterations = paper["template"]["iterations"]
    experiments = paper["experiments"]
    modalities = {name for experiment in experiments for name in experiment["modalities"]}
    folds = sum(experiment["validation"]["folds"] for experiment in experiments)
    finders = len(paper["strata"]["finders"])
    expected = {
        "prepare_t1w": PEOPLE,
        "template_register": PEOPLE * iterations,
        "template_update": iterations,
        "register": PEOPLE,
        "jacobian": PEOPLE,
        "fit_tensor": PEOPLE,
        "align_diffusion": PEOPLE,
        "map_to_template": PEOPLE * len(modalities),
        "normalise": len(modalities),
        "subject_page": PEOPLE,
        "train": folds + len(experiments),
        "embed": folds + len(experiments),
        "evaluate": folds,
        "describe_people": 1,
        "adjust_codes": len(experiments),
        "cluster": 2 * finders * len(experiments),  # raw and adjusted codes
        "existence": 2 * finders * len(experiments),
        "stability": finders * len(experiments),
        "split_half": finders * len(experiments),
        "continuous": len(experiments),
        "agreement": 1,
        "report": 1,
    }
    assert {rule: jobs.get(rule, 0) for rule in expected} == expected
    # the model of costs counts the same jobs from the configuration alone
    assert jobs_by_stage(imagined({**paper, "phenotypes": {"tables": ["phenotypes.tsv"]}}, PEOPLE)) == {
        rule: number for rule, number in jobs.items() if rule not in ("all", "total", "list_people")
    }
