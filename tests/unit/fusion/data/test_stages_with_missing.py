"""The stages with people who lack modalities: embedded and flagged, measured where they can be, hidden in turn."""

import json

import numpy as np
import pandas as pd
import pytest
from fusion_toy import toy_settings, toy_volumes

from neurostrata.core.embeddings import read_embeddings
from neurostrata.core.tables import read_table
from neurostrata.fusion.commands import embed, split, train
from neurostrata.fusion.evaluation.commands import baselines, evaluate, robustness


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    root = tmp_path_factory.mktemp("missing")
    volumes = toy_volumes(root / "volumes", people=18, side=16)
    description = json.loads(volumes[1].with_suffix(".json").read_text())
    np.save(volumes[1], np.load(volumes[1])[:15])
    description["subjects"] = description["subjects"][:15]
    volumes[1].with_suffix(".json").write_text(json.dumps(description))
    settings = toy_settings("pca", options={"max_components": 2})
    settings["experiment"]["missing"] = "include"
    mask = volumes[0].parent / "mask.nii.gz"
    split(subjects=volumes[0].parent / "subjects.tsv", output=root / "splits.tsv", settings=settings)
    shared = {"volumes": volumes, "splits": root / "splits.tsv", "fold": "0", "settings": settings}
    made = {"model": root / "model", "limits": root / "limits.json"}
    train(**shared, **made, mask=mask, history=root / "history.tsv", checkpoints=root / "checkpoints")
    embed(**shared, **made, output=root / "embeddings.tsv")
    evaluate(**shared, **made, mask=mask, output=root / "r.tsv", examples=root / "examples.npz")
    robustness(**shared, **made, mask=mask, output=root / "robustness.tsv")
    import nibabel

    image = nibabel.load(mask)
    regions = np.asarray(image.dataobj).astype(np.int32)
    regions[8:] *= 2
    nibabel.save(nibabel.Nifti1Image(regions, image.affine), root / "regions.nii.gz")
    common = {k: v for k, v in shared.items() if k != "settings"}
    baselines(
        **common,
        limits=made["limits"],
        mask=mask,
        regions=root / "regions.nii.gz",
        output=root / "baselines",
        settings=settings,
    )
    return root


def test_the_incomplete_are_embedded_and_flagged(chain):
    codes = read_embeddings(chain / "embeddings.tsv")
    assert len(codes.subjects) == 18
    flagged = codes.table.set_index("subject")["missing"]
    assert flagged.dropna().to_dict() == {"16": "ndi", "17": "ndi", "18": "ndi"}
    assert len(codes.complete().subjects) == 15


def test_only_what_is_there_is_compared(chain):
    table = read_table(chain / "r.tsv")
    of_last = table[table["subject"].isin(["16", "17", "18"])]
    assert set(of_last["modality"]) <= {"jac"}
    splits = pd.read_csv(chain / "splits.tsv", sep="\t", dtype=str)
    tested = splits[(splits["fold"] == "0") & (splits["role"] == "test")]["subject"]
    assert set(table["subject"]) == set(tested)


def test_each_modality_is_hidden_in_turn(chain):
    table = read_table(chain / "robustness.tsv")
    assert set(table["hidden"]) == {"jac", "ndi"}
    assert not set(table["subject"]) & {"16", "17", "18"}
    # the two modes show in both modalities: hiding one costs little, and less than knowing nothing
    assert (table["mse_mask_all"] <= table["mse_mask"] * 1.05).all()
    assert table["mse_mask"].mean() < 0.7 * table["mse_mask_mean"].mean()
    assert table["code_change"].median() < 0.5


def test_every_baseline_has_everybody(chain):
    for name in ("pca_modalities", "pca_stacked", "pca_pooled", "regional_means"):
        assert len(read_embeddings(chain / "baselines" / f"{name}.tsv").subjects) == 18
