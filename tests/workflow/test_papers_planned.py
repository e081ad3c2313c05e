"""The presets of the papers, each planned on a cohort of that paper's layout."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from planned import jobs_by_stage
from small_study import REPOSITORY, StudyFolder, approve

from neurostrata.cohort.study import load_study
from neurostrata.core.config import check_config, read_configuration
from neurostrata.core.locations import DEFAULT_CONFIG

PEOPLE = 40
#: Paper -> jobs of some rules. One more model than folds is trained for each experiment: that of everybody.
EXPECTED = {
    # three experiments of ten folds and four of one; every modality is normalised once
    "dimitri2022": {
        "template_register": 5 * PEOPLE,
        "normalise": 5,
        "train": 30 + 4 + 7,
        "evaluate": 34,
        "cluster": 1,
    },
    # eight experiments of ten folds; 53 component maps and grey matter
    "geenjaar2021": {
        "map_to_template": 54 * PEOPLE,
        "normalise": 54,
        "train": 8 * 11,
        "baselines": 80,
        "predict": 8,
    },
    # twenty experiments of five folds; four contrasts and lesions
    "chartsias2018": {"map_to_template": 5 * PEOPLE, "normalise": 5, "train": 20 * 6, "synthesise": 100},
    # three pairs of classes, five folds; grey matter and PET
    "arco2023": {"segment_tissue": PEOPLE, "normalise": 2, "train": 3 * 6, "relevance": 15, "predict": 3},
}
#: Paper -> columns of the sheet with a file each, diagnoses, and further configuration of the study.
LAYOUTS: dict[str, tuple[list[str], list[str], dict[str, Any]]] = {
    "dimitri2022": (["t1w", "dwi", "bval", "bvec"], [], {"phenotypes": {"tables": ["phenotypes.tsv"]}}),
    "geenjaar2021": (["t1w", "icn"], ["control", "patient"], {}),
    "chartsias2018": (["t1w", "t2w", "dwi_trace", "flair", "lesions"], ["healthy", "stroke"], {}),
    "arco2023": (
        ["t1w", "pet"],
        ["CTL", "AD", "MCIc", "MCIs"],
        {"regions": {"image": "atlas/AAL.nii", "names": "atlas/AAL.txt", "space": "MNI152"}},
    ),
}


def layout(folder: Path, paper: str) -> StudyFolder:
    """A cohort as the paper had it, with files that hold no images."""
    files, diagnoses, more = LAYOUTS[paper]
    for name in ("config", "images", "atlas"):
        (folder / name).mkdir(parents=True)
    (folder / "atlas" / "AAL.nii").write_text("no image")
    (folder / "atlas" / "AAL.txt").write_text("1 Precentral_L\n")
    variables = [
        line.split("\t")[0]
        for line in (REPOSITORY / "resources/hcp_phenotypes.tsv").read_text().splitlines()[1:]
    ]
    (folder / "phenotypes.tsv").write_text("\t".join(["subject", *variables]) + "\n")
    lines = ["\t".join(["subject", *files, "template", "diagnosis"])]
    for number in range(PEOPLE):
        paths = [f"images/{number:02d}_{name}.nii.gz" for name in files]
        for path in paths:
            (folder / path).write_text("no image")
        diagnosis = diagnoses[number % len(diagnoses)] if diagnoses else ""
        lines.append("\t".join([f"{number:02d}", *paths, "yes", diagnosis]))
    (folder / "cohort.tsv").write_text("\n".join(lines) + "\n")
    config = {"cohort": {"sheet": "cohort.tsv"}, "qc": None, **more}
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(config))
    return StudyFolder(folder)


@pytest.mark.parametrize("paper", LAYOUTS)
def test_the_preset_is_planned(tmp_path: Path, paper: str, monkeypatch: pytest.MonkeyPatch) -> None:
    study = layout(tmp_path / "study", paper)
    preset = REPOSITORY / "config" / "papers" / f"{paper}.yaml"
    chosen = ["--configfile", "config/config.yaml", str(preset)]
    approve(study, preset)  # the files are no images
    run = study.snakemake("-n", "--quiet", "rules", *chosen)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    jobs = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", run.stdout + run.stderr, re.M)}
    assert {rule: jobs.get(rule, 0) for rule in EXPECTED[paper]} == EXPECTED[paper]
    # the model of costs counts the same jobs
    monkeypatch.chdir(study.folder)
    files = [DEFAULT_CONFIG, "config/config.yaml", preset]
    counted = jobs_by_stage(load_study(check_config(read_configuration(files))))
    assert counted == {rule: n for rule, n in jobs.items() if rule not in ("all", "total", "list_people")}
