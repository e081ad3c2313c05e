"""Sources of modalities: one record each; a further one needs its record and a block of the schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml

from neurostrata.cohort.participation import exclusions_table
from neurostrata.cohort.sources.registry import SOURCES, map_files
from neurostrata.cohort.sources.source import Config, Declaration, Made, ModalitySource, SheetImage
from neurostrata.cohort.study import Study
from neurostrata.core.config import check_config, load_schema
from neurostrata.core.locations import SCHEMAS
from neurostrata.gate.cache import FileCache
from neurostrata.gate.check import find_problems
from neurostrata.gate.exclude import exclusion_rows
from neurostrata.report.text.methods import maps_text

REGISTRATION = {"affine": Made("register", "affine"), "warp": Made("register", "warp")}


def declaration(source: str, **keys: Any) -> dict[str, Any]:
    """A declaration with every default filled in."""
    config = check_config({"cohort": {}, "modalities": {"x": {"from": source, **keys}}})
    return config["modalities"]["x"]


def test_the_schema_has_a_block_for_each_source() -> None:
    schema = load_schema("modalities")["additionalProperties"]
    assert set(schema["properties"]["from"]["enum"]) == set(SOURCES)
    assert [block["properties"]["from"]["const"] for block in schema["anyOf"]] == list(SOURCES)


@pytest.mark.parametrize(
    ("declared", "files"),
    [
        (declaration("t1w"), {**REGISTRATION, "image": Made("prepare_t1w", "t1w")}),
        (declaration("jacobian"), {"image": Made("jacobian", "nonlinear")}),
        (
            declaration("tensor", measure="md"),
            {**REGISTRATION, "alignment": Made("align_diffusion"), "image": Made("fit_tensor", "md")},
        ),
        (
            declaration("noddi", measure="ndi", tissue_weighted=True),
            {
                **REGISTRATION,
                "alignment": Made("align_diffusion"),
                "fwf": Made("fit_noddi", "fwf"),
                "image": Made("fit_noddi", "ndi"),
            },
        ),
        (
            declaration("tissue", tissue="gm"),
            {
                **REGISTRATION,
                "jacobian": Made("jacobian", "absolute"),
                "image": Made("segment_tissue", "gm"),
            },
        ),
        (declaration("tissue", tissue="wm", modulate=False), {**REGISTRATION, "image": Made("segment_tissue", "wm")}),
        (declaration("column", column="pet"), REGISTRATION),
        (declaration("column", column="icn", space="template"), {}),
        (
            declaration("dual_regression", column="bold", components_image="c.nii", components=2, space="mni"),
            {
                "affine": Made("template_to_mni", "affine"),
                "warp": Made("template_to_mni", "warp"),
                "image": Made("dual_regression", "maps"),
            },
        ),
    ],
)  # fmt: skip
def test_what_brings_a_map_to_the_template(declared: dict[str, Any], files: dict[str, Made]) -> None:
    found = map_files(declared, aligned=False)
    assert list(found) == ["affine", "warp", "alignment", "jacobian", "fwf", "image"]
    assert {key: made for key, made in found.items() if made} == files
    assert map_files(declared, aligned=True)["alignment"] is None


class Perfusion(ModalitySource):
    """Perfusion of arterial spin labelling, found by a rule of its own from a series in the sheet."""

    name = "perfusion"
    space = "t1w"
    columns = ("m0",)
    rule = "fit_perfusion"
    output = "{measure}"

    def sheet_image(self, declaration: Declaration) -> SheetImage:
        return SheetImage(declaration["column"], volumes=None, finite=True)

    def further_columns(self, config: Config) -> tuple[str, ...]:
        return ("asl_mask",)

    def sentence(self, config: Config) -> str:
        return "Perfusion was fitted."


#: The block of the schema.
BLOCK = {
    "title": "Perfusion",
    "required": ["from", "column", "measure"],
    "additionalProperties": False,
    "properties": {
        "from": {"const": "perfusion"},
        "column": {"type": "string"},
        "measure": {"enum": ["cbf", "att"]},
    },
}


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Five people with perfusion, the first of them without M0."""
    monkeypatch.setitem(SOURCES, "perfusion", Perfusion())
    schemas = tmp_path / "schemas"
    modalities = load_schema("modalities")
    modalities["additionalProperties"]["properties"]["from"]["enum"].append("perfusion")
    modalities["additionalProperties"]["anyOf"].append(BLOCK)
    schemas.mkdir()
    for path in SCHEMAS.iterdir():
        (schemas / path.name).symlink_to(path)
    (schemas / "modalities.schema.yaml").unlink()
    (schemas / "modalities.schema.yaml").write_text(yaml.safe_dump(modalities))
    monkeypatch.setattr("neurostrata.core.config.schemas.SCHEMAS", schemas)
    monkeypatch.chdir(tmp_path)
    given = {
        "cohort": {"sheet": "cohort.tsv"},
        "modalities": {"cbf": {"from": "perfusion", "column": "asl", "measure": "cbf"}},
        "experiments": [
            {"name": "a", "model": "pca", "modalities": ["cbf"], "validation": {"folds": 2}},
        ],
    }
    rows = []
    for number in range(1, 6):
        values = np.random.default_rng(number).normal(100, 10, (9, 9, 9, 3)).astype(np.float32)
        images = {"t1w": values[..., 0], "m0": values[..., 1] + 1, "asl": values, "asl_mask": values[..., 2]}
        for name, image in images.items():
            nib.save(nib.Nifti1Image(image, np.eye(4)), f"{name}{number}.nii")
        rows.append({"subject": f"{number:02d}"} | {name: f"{name}{number}.nii" for name in images})
    rows[0]["m0"] = ""
    return Study(check_config(given), rows)


def test_a_further_source_is_one_record(study: Study, tmp_path: Path) -> None:
    def problems() -> list[str]:
        found.extend(find_problems(study, FileCache(tmp_path / "headers.json")))
        return [problem.text for problem in found]

    found: list[Any] = []
    assert study.with_modality("cbf") == ["02", "03", "04", "05"]
    assert study.used_columns() == ["asl", "asl_mask", "m0", "t1w", "t1w_mask"]
    assert study.column_spaces() == {"asl": "t1w"}
    lacking = {"subject": "01", "modality": "cbf", "stage": "volumes", "reason": "no m0 in the cohort sheet"}
    assert lacking in exclusions_table(study)
    # the gate
    assert problems() == []
    nib.save(nib.Nifti1Image(np.arange(729.0).reshape(9, 9, 9), np.eye(4)), "asl2.nii")
    Path("asl_mask3.nii").write_bytes(b"no image")
    series, mask = problems()
    assert (
        series == "subject 02: asl: asl2.nii: expected a 4-D series of 2 volumes or more, got shape (9, 9, 9)"
    )
    assert mask.startswith("subject 03: asl_mask: asl_mask3.nii: is not a readable NIfTI image")
    assert [(row["subject"], row["modality"]) for row in exclusion_rows(study, found)] == [("02", "cbf"), ("03", "cbf")]  # fmt: skip
    # the rule map_to_template
    files = map_files(study.modalities["cbf"], aligned=False)
    image = Made("fit_perfusion", "cbf")
    assert {key: made for key, made in files.items() if made} == {**REGISTRATION, "image": image}
    # the report
    assert maps_text(study.config).startswith("Perfusion was fitted. Each map was interpolated once")
    assert SOURCES["perfusion"].words(study.modalities["cbf"]) == ["perfusion", "cbf", "asl"]
