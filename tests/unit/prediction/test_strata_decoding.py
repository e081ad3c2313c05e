"""Decoded centres of strata: the model's decoding of the mean code, and nothing where no strata exist."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
from fusion_toy import toy_settings, toy_volumes

from neurostrata.core.files import read_json
from neurostrata.core.tables import read_table, write_table
from neurostrata.fusion.commands import embed, split, train
from neurostrata.fusion.models.bundle import load_bundle
from neurostrata.prediction.strata_decoding import _centre, decode_strata


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A PCA of 8 people, and two strata, of which the first five people are one."""
    folder = tmp_path_factory.mktemp("decoding")
    volumes = toy_volumes(folder / "volumes", people=8, side=16)
    settings = toy_settings("pca")
    splits, model, limits = folder / "splits.tsv", folder / "model", folder / "limits.json"
    split(subjects=folder / "volumes/subjects.tsv", output=splits, settings=settings)
    shared: dict[str, Any] = {"volumes": volumes, "splits": splits, "limits": limits, "model": model}
    mask = folder / "volumes/mask.nii.gz"
    places = {"history": folder / "history.tsv", "checkpoints": folder / "checkpoints"}
    train(**shared, **places, mask=mask, fold="all", settings=settings)
    embed(**shared, fold="all", output=folder / "embeddings.tsv", settings=settings)
    subjects = list(read_table(folder / "embeddings.tsv")["subject"])
    clusters = pd.DataFrame({"subject": subjects, "cluster": [1] * 5 + [2] * 3, "fits": ["yes"] * 7 + ["no"]})
    write_table(folder / "clusters.tsv", clusters, {})
    write_table(folder / "existence.tsv", pd.DataFrame({"claimed": ["yes"]}))
    given = {
        **shared,
        "mask": mask,
        **{name: folder / f"{name}.tsv" for name in ("embeddings", "clusters", "existence")},
        "maps": folder / "decoded",
        "output": folder / "decoded.tsv",
        "settings": settings,
    }
    return folder, given


def test_the_centre_is_the_decoded_mean_code(trained: tuple[Path, dict[str, Any]]) -> None:
    folder, given = trained
    decode_strata(**given)
    codes = read_table(folder / "embeddings.tsv").filter(regex="^z").to_numpy(float)
    model, _ = load_bundle(folder / "model")
    mask = nibabel.load(given["mask"]).get_fdata() > 0
    for stratum, rows in ((1, slice(0, 5)), (2, slice(5, 7))):  # the last person fits no cluster
        expected = model.decode(codes[rows].mean(axis=0)[None])[0]
        for number, modality in enumerate(("jac", "ndi")):
            image = nibabel.load(
                folder / f"decoded/stratum-{stratum}_modality-{modality}_decoded.nii.gz"
            ).get_fdata()
            np.testing.assert_allclose(image[mask], expected[number][mask], atol=1e-5)
            assert not image[~mask].any()
    table = read_table(folder / "decoded.tsv")
    assert table["n"].tolist() == [5, 5, 2, 2]
    # a PCA of all people keeps nearly all of their images
    assert (table["correlation"] > 0.95).all()
    assert (table["difference_correlation"] > 0.9).all()
    mean = nibabel.load(folder / "decoded/stratum-2_modality-jac_meanscaled.nii.gz").get_fdata()
    array = np.load(folder / "volumes/jac.npy")[5:7]
    ends = read_json(folder / "limits.json")["limits"]["jac"]
    scaled = np.clip((array - ends["low"]) / (ends["high"] - ends["low"]), 0, 1).mean(axis=0)
    np.testing.assert_allclose(mean[mask], scaled[mask], atol=1e-5)


def test_a_modalitys_own_part_is_averaged_over_those_who_have_it() -> None:
    model = SimpleNamespace(modalities=["a", "b"], code_modalities=[None, "a", "b"])
    codes = np.array([[1.0, 2.0, 3.0], [3.0, 4.0, 100.0], [50.0, 50.0, 50.0]])
    present = np.array([[True, True], [True, False], [True, True]])
    assert _centre(model, codes, present, np.array([True, True, False])).tolist() == [2, 3, 3]


def test_what_is_decoded_is_compared_after_that_of_everybody(
    trained: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A model that decodes everybody alike has nothing particular of a stratum, however good it looks."""
    folder, given = trained
    model, _ = load_bundle(folder / "model")
    codes = read_table(folder / "embeddings.tsv").filter(regex="^z").to_numpy(float)
    same = model.decode(codes[:7].mean(axis=0)[None])
    noise = np.random.default_rng(0)
    monkeypatch.setattr(type(model), "decode", lambda self, code: same + 1e-4 * noise.normal(size=same.shape))
    decode_strata(**{**given, "maps": tmp_path / "decoded", "output": tmp_path / "decoded.tsv"})
    table = read_table(tmp_path / "decoded.tsv")
    assert table["correlation"].max() > 0.8
    assert (table["difference_correlation"].abs() < 0.2).all()


def test_without_strata_nothing_is_decoded(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    _, given = trained
    write_table(tmp_path / "none.tsv", pd.DataFrame({"claimed": ["no"]}))
    places = {"maps": tmp_path / "decoded", "output": tmp_path / "decoded.tsv"}
    decode_strata(**{**given, **places, "existence": tmp_path / "none.tsv"})
    assert list((tmp_path / "decoded").iterdir()) == []
    assert read_table(tmp_path / "decoded.tsv").empty
