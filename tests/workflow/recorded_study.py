"""Studies as the release before this one left them: what is planned in them with the code of today.

``python tests/workflow/recorded_study.py`` brings the studies below to their end (nothing is computed) and writes what
Snakemake recorded of them to `tests/reference/recorded_studies.json.gz`. It is run once a release, with the code
that is released; the tests of the next release put the records back and plan.
"""

from __future__ import annotations

import ast
import base64
import gzip
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import yaml
from planned_study import make_planned_study
from small_study import REPOSITORY, StudyFolder, approve

from neurostrata.core.config import read_configuration
from neurostrata.core.locations import FORMER_DEFAULTS

RECORDS = REPOSITORY / "tests" / "reference" / "recorded_studies.json.gz"


def _experiment(model: str, **more: Any) -> dict[str, Any]:
    kfold = {"method": "kfold", "folds": 2}
    analyses = {
        "prediction": ["v1"],
        "robustness": model not in ("separable_autoencoder", "siamese_attention"),
    }
    experiment = {"name": model, "model": model, "modalities": ["jac", "ndi"], "validation": kfold}
    if model == "siamese_attention":
        experiment["label"] = {"column": "diagnosis", "classes": ["a", "b"]}
    return experiment | {"analyses": analyses} | more


_IMAGE = {"from": "column", "space": "template"}
#: Every engine, model and finder that ships, with options of those that are not chosen set as well.
STUDIES: dict[str, dict[str, Any]] = {
    "ants": {
        "registration": {"engine": "ants", "torch": {"iterations": [10, 5]}},
        "diffusion": {"noddi": {"engine": "amico", "likelihood": "gaussian"}},
        "training": {"epochs": 50, "batch_size": 4},
        "experiments": [
            _experiment("separable_autoencoder"),
            _experiment("pca"),
            _experiment("residual_autoencoder"),
            _experiment("shared_vae"),
            _experiment("siamese_attention"),
            _experiment("latent_synthesis"),
        ],
        "strata": {
            "finders": ["mixture", "affinity_propagation", "consensus", "similarity_network_fusion"],
        },
    },
    "greedy": {
        "registration": {"engine": "greedy", "ants": {"cc_radius": 3}},
        "diffusion": {"noddi": {"engine": "maximum_likelihood", "lambda1": 0.3}},
        "anatomy": {"n4": {"enabled": False, "shrink_factor": 2}},
        "phenotypes": {
            "tables": ["phenotypes.tsv"],
            "exclude": ["age"],
            "method": "variables",
            "n_factors": 2,
        },
        "experiments": [_experiment("pca", validation={"method": "holdout"})],
    },
    "torch": {
        "registration": {"engine": "torch"},
        "training": {"preset": "fast"},
        "experiments": [
            _experiment("siamese_attention", training={"epochs": 7}),
            _experiment("shared_vae", training={"preset": "paper"}),
        ],
    },
    "names": {
        "modalities": {
            "pet": {**_IMAGE, "column": "t1w"},
            "pet2": {**_IMAGE, "column": "t1w"},
            "icn": {**_IMAGE, "column": "dwi", "components": 13},
        },
        "experiments": [_experiment("pca", modalities=["pet2", "icn01", "icn13"])],
    },
}


def make(folder: Path, name: str) -> StudyFolder:
    """A study of which nothing has been run."""
    study = make_planned_study(folder)

    def diagnoses(cells: list[list[str]]) -> None:
        cells[0].append("diagnosis")
        for number, row in enumerate(cells[1:]):
            row.append("ab"[number % 2])

    study.edit_sheet(diagnoses)
    study.configure(**STUDIES[name])
    return study


def _record_file(folder: Path, output: str) -> Path:
    """Where Snakemake keeps the record of an output."""
    name = base64.urlsafe_b64encode(output.encode()).decode()
    longest = os.pathconf(folder, "PC_NAME_MAX") - 1
    parts = [name[start : start + longest] for start in range(0, len(name), longest)]
    return folder.joinpath(".snakemake", "metadata", *(f"@{part}" for part in parts[:-1]), parts[-1])


def restore(folder: Path, name: str, *, decided: bool = True) -> StudyFolder:
    """The study at its end, as the release before left it: its outputs are there, and what was recorded of them.

    `decided`: where it had a default that has changed since, its configuration says that it stays.
    """
    study = make(folder, name)
    if decided:
        path = folder / "config" / "config.yaml"
        path.write_text(yaml.safe_dump(read_configuration([FORMER_DEFAULTS, path]), sort_keys=False))
    known = json.loads(gzip.decompress(RECORDS.read_bytes()))[name]
    for output in known["outputs"]:
        path = folder / output["path"]
        if output["folder"]:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    # Snakemake marks folders that are outputs; parents that were made later than what they hold do not matter.
    for output in known["outputs"]:
        if output["folder"]:
            (folder / output["path"] / ".snakemake_timestamp").touch()
        record = {
            "rule": output["rule"],
            "input": [known["inputs"][number] for number in output["input"]],
            "params": [repr(known["settings"][number]) for number in output["settings"]],
            "record_format_version": known["record_format_version"],
        }
        file = _record_file(folder, output["path"])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(record))
    now = max((folder / output["path"]).stat().st_mtime_ns for output in known["outputs"])
    for output in known["outputs"]:
        os.utime(folder / output["path"], ns=(now, now))
        if output["folder"]:
            os.utime(folder / output["path"] / ".snakemake_timestamp", ns=(now, now))
    approve(study)  # so few people are refused
    return study


def _records(study: StudyFolder) -> dict[str, Any]:
    settings: dict[str, int] = {}
    inputs: dict[str, int] = {}
    outputs = []
    version = 0
    for file in sorted((study.folder / ".snakemake" / "metadata").rglob("*")):
        if file.is_dir():
            continue
        parts = file.relative_to(study.folder / ".snakemake" / "metadata").parts
        output = base64.urlsafe_b64decode("".join(part.removeprefix("@") for part in parts)).decode()
        path = study.folder / output
        if not path.exists():
            continue  # a temporary one
        record = json.loads(file.read_text())
        version = record["record_format_version"]
        texts = [ast.literal_eval(text) for text in record["params"]]
        outputs.append(
            {
                "path": output,
                "folder": path.is_dir(),
                "rule": record["rule"],
                "input": [inputs.setdefault(path, len(inputs)) for path in record["input"]],
                "settings": [settings.setdefault(text, len(settings)) for text in texts],
            }
        )
    return {
        "record_format_version": version,
        "settings": list(settings),
        "inputs": list(inputs),
        "outputs": outputs,
    }


def main() -> None:
    """Record the studies with the code of this checkout."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in STUDIES:
            study = make(Path(folder) / name, name)
            run = study.snakemake()
            assert run.returncode == 0, run.stderr[-4000:]
            found[name] = _records(study)
    RECORDS.write_bytes(gzip.compress(json.dumps(found, sort_keys=True).encode(), mtime=0))


if __name__ == "__main__":
    main()
