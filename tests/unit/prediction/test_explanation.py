"""Codes decoded, modalities weighed, differences between classes found where they were planted."""

import json

import nibabel
import numpy as np
import pandas as pd
import pytest
from fusion_toy import toy_settings
from scipy.stats import ttest_ind

from neurostrata.core.config import capability, fill_defaults, load_schema
from neurostrata.core.files import read_json, sidecar_path
from neurostrata.core.tables import read_table, write_table
from neurostrata.fusion.commands import embed, split, train
from neurostrata.fusion.data.volumes import VolumeSet, fold_limits, open_volumes
from neurostrata.fusion.evaluation.generation import DRAWS, STEPS, generated_slices
from neurostrata.fusion.models.registry import build_model
from neurostrata.prediction.explain_commands import (
    explain,
    map_labels,
    summarise_explanation,
    tsne_of_modalities,
)
from neurostrata.prediction.explanation import (
    codes_without,
    decoded_difference,
    map_correlation,
    modality_importance,
    present_rows,
    ranked,
    separation,
    weight_shares,
)
from neurostrata.simulation.volume_cohorts import simulate_volumes
from neurostrata.simulation.volume_files import write_volumes

RANDOM = np.random.default_rng(5)
MODALITIES = ("jac", "ndi", "fa")
#: The diagnosis shows in the first modality only.
AFFECTED = {"jac": ("03", "06")}


def built(name, shape, **options):
    filled = fill_defaults(options, load_schema(f"models/{name}"))
    return build_model(name, filled, ["jac", "ndi"], shape, 1)


@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        ("residual_autoencoder", (16, 16, 16), {"channels": [8, 16], "code_size": 4}),
        ("shared_vae", (14, 16, 12), {"channels": [8, 16], "latent_size": 3}),
        ("separable_autoencoder", (32, 32, 32), {"skip_connections": False}),
    ],
)
def test_decoded_codes_are_reconstructions(name, shape, options):
    model = built(name, shape, **options)
    volumes = RANDOM.uniform(0, 0.8, size=(2, 2, *shape)).astype(np.float32)
    scale = model.scales(volumes)[:, :, None, None, None]
    decoded = model.decode(model.encode(volumes)) * scale
    np.testing.assert_allclose(decoded.clip(0, 1), model.reconstruct(volumes), atol=1e-5)
    assert len(model.code_modalities) == model.code_size


def test_with_skip_connections_a_code_is_not_decoded():
    model = built("separable_autoencoder", (32, 32, 32), skip_connections=True)
    assert not model.decodes
    with pytest.raises(NotImplementedError, match="does not decode"):
        model.decode(np.zeros((1, model.code_size)))
    schema = load_schema("models/separable_autoencoder")
    assert capability(schema, "decodes", {"skip_connections": False})
    assert not capability(schema, "decodes", {})
    assert capability(load_schema("models/pca"), "decodes", {})
    assert not capability(load_schema("models/siamese_attention"), "decodes", {})


def test_shares_of_weights_by_hand():
    owner = ["a", "a", "b", "b"]
    np.testing.assert_allclose(
        weight_shares(np.array([1.0, -2.0, 0.5, 0.5]), owner, ["a", "b"]), [0.75, 0.25]
    )
    assert np.isnan(weight_shares(np.ones(4), [None] * 4, ["a", "b"])).all()
    assert np.isnan(weight_shares(np.zeros(4), owner, ["a", "b"])).all()


def test_a_modality_with_an_effect_counts_more_than_those_without():
    labels = np.array(["control", "patient"] * 60)
    codes = RANDOM.normal(size=(120, 12))
    codes[:, :4] += 0.6 * (labels == "patient")[:, None]
    owner = ["a"] * 4 + ["b"] * 4 + ["c"] * 4
    train, test = np.arange(120) < 80, np.arange(120) >= 80
    without = {
        name: np.where(np.array(owner) == name, codes[train].mean(axis=0), codes[test]) for name in "abc"
    }
    frame = modality_importance(
        codes[train], labels[train], np.arange(80), codes[test], labels[test], without, owner, 1
    ).set_index("modality")
    assert frame["weight_share"].sum() == pytest.approx(1)
    assert frame["weight_share"].idxmax() == frame["auc_drop"].idxmax() == "a"
    assert frame.loc["a", "weight_share"] > 0.5
    assert frame.loc["a", "auc_without"] == pytest.approx(0.5, abs=0.2)


def test_separation_by_hand():
    scores, positive = np.array([1.0, 3.0, 0.0, -2.0]), np.array([True, True, False, False])
    assert separation(scores, positive) == pytest.approx(3 / np.sqrt(2))
    scores, positive = np.random.default_rng(1).normal(size=20), np.arange(20) < 4
    wanted = ttest_ind(scores[positive], scores[~positive]).statistic * np.sqrt(1 / 4 + 1 / 16)
    assert separation(scores, positive) == pytest.approx(wanted)
    assert separation(np.ones(20), positive) == 0
    assert np.isnan(separation(scores, np.arange(20) == 3))


@pytest.mark.parametrize("handles_missing", [True, False])
def test_a_fused_code_is_made_again_without_each_modality(handles_missing):
    """A hidden modality is missing, or the mean of the training people; the others are what they were."""

    class Fused:
        modalities = ("a", "b")
        code_modalities = (None, None)

        def __init__(self):
            self.handles_missing = handles_missing

        @staticmethod
        def encode(volumes):
            return np.nan_to_num(volumes.mean(axis=(2, 3, 4)), nan=-9.0)

    class People:
        volumes = np.random.default_rng(2).normal(size=(5, 2, 2, 2, 2))

        def chunks(self):
            return [(slice(0, 3), self.volumes[:3]), (slice(3, 5), self.volumes[3:])]

    people = People()
    code = people.volumes.mean(axis=(2, 3, 4))
    mean = np.stack([np.full((2, 2, 2), 5.0), np.full((2, 2, 2), 7.0)])
    found = codes_without(Fused(), people, code, code.mean(axis=0), mean)
    hidden = (-9.0, -9.0) if handles_missing else (5.0, 7.0)
    np.testing.assert_allclose(found["a"], np.stack([np.full(5, hidden[0]), code[:, 1]], axis=1))
    np.testing.assert_allclose(found["b"], np.stack([code[:, 0], np.full(5, hidden[1])], axis=1))


def test_a_modalitys_centre_is_of_those_who_have_it():
    class Twice:
        modalities = ("a", "b")
        code_modalities = ("a", "b")

        @staticmethod
        def decode(codes):
            return codes[:, :, None, None, None]

    codes = np.array([[0.0, 1.0], [2.0, 100.0], [4.0, 5.0]])
    there = np.array([[True, True], [True, False], [True, True]])
    found = decoded_difference(Twice(), codes, there, np.array([False, False, True]), np.array([1.0, 10.0]))
    np.testing.assert_allclose(found.ravel(), [3.0, 40.0])  # 4 - (0 + 2) / 2, (5 - 1) * 10


def test_who_has_what_is_read_off_the_column_missing():
    there = present_rows(pd.Series([np.nan, "b", "a, b"]), 3, ["a", "b", "ab"])
    assert there.tolist() == [[True, True, True], [True, False, True], [False, False, True]]


def test_correlation_of_maps():
    mask = np.zeros((4, 4, 4), bool)
    mask[:2] = True
    first = RANDOM.normal(size=(3, 4, 4, 4))
    second = first.copy()
    second[0] = 3 - 2 * first[0]
    second[1] = 1.0
    second[2, ~mask] = 100.0
    found = map_correlation(first, second, mask)
    assert found[0] == pytest.approx(-1)
    assert np.isnan(found[1])
    assert found[2] == pytest.approx(1)


def test_ranks_fall_back_on_what_is_lost():
    frame = pd.DataFrame({"target": ["t", "t", "u", "u"], "weight_share": [0.4, 0.6, np.nan, np.nan],
                          "separation_drop": [0.3, 0.1, 0.2, 0.0]})  # fmt: skip
    assert ranked(frame)["rank"].tolist() == [2, 1, 1, 2]


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """PCA of a cohort with a diagnosis in one of three modalities, through the stages of two folds."""
    root = tmp_path_factory.mktemp("explained")
    cohort = simulate_volumes(
        people=90, seed=3, shape=(16, 18, 16), modalities=MODALITIES, affected=AFFECTED, diagnosis_effect=1.3
    )
    volumes = write_volumes(cohort, root / "volumes")
    settings = toy_settings("pca", MODALITIES, {"max_components": 24}) | {"targets": ["diagnosis"]}
    people = root / "volumes" / "subjects.tsv"
    split(subjects=people, output=root / "splits.tsv", settings=settings)
    mask = root / "volumes" / "mask.nii.gz"
    for fold in ("0", "1"):
        folder = root / f"fold-{fold}"
        shared = {"volumes": volumes, "splits": root / "splits.tsv", "fold": fold, "settings": settings}
        made = {"model": folder / "model", "limits": folder / "limits.json"}
        train(**shared, **made, mask=mask, history=folder / "history.tsv", checkpoints=folder / "c", gpus=0)
        embed(**shared, **made, output=folder / "embeddings.tsv", gpus=0)
        explained(root, folder, shared, people)
    folds = [root / "fold-0", root / "fold-1"]
    summarise_explanation(
        importance=[f / "importance.tsv" for f in folds],
        differences=[f / "group_differences.tsv" for f in folds],
        output=root / "importance.tsv",
        correlations=root / "group_differences.tsv",
        settings=settings,
    )
    return root, cohort, shared


def explained(root, folder, shared, people, made=None):
    made = made or folder
    explain(
        **shared,
        model=folder / "model",
        limits=folder / "limits.json",
        mask=root / "volumes" / "mask.nii.gz",
        embeddings=folder / "embeddings.tsv",
        people=people,
        importance=made / "importance.tsv",
        differences=made / "group_differences.tsv",
        maps=made / "group_maps",
        gpus=0,
    )


def picture(folder, kind):
    path = folder / "group_maps" / f"target-diagnosis_desc-{kind}_difference.nii.gz"
    return np.moveaxis(np.asarray(nibabel.load(path).dataobj), -1, 0), read_json(sidecar_path(path))


def test_the_decoded_difference_is_where_it_was_planted(chain):
    root, cohort, _ = chain
    for fold in ("fold-0", "fold-1"):
        decoded, facts = picture(root / fold, "decoded")
        voxelwise, _ = picture(root / fold, "train")
        assert facts["Classes"] == ["control", "patient"]
        truth = cohort.diagnosis_maps
        found, usual = (map_correlation(m, truth, cohort.mask)[0] for m in (decoded, voxelwise))
        assert found > 0.4  # patients minus controls, not the other way round
        assert found >= usual - 0.05


def test_the_affected_modality_ranks_first(chain):
    root, _, _ = chain
    table = read_table(root / "importance.tsv").set_index("modality")
    assert table["rank"].idxmin() == "jac"
    assert table.loc["jac", "auc_drop"] > 0.1
    assert table.loc["jac", "separation_drop"] > 2 * table.loc[["ndi", "fa"], "separation_drop"].max()
    assert table["weight_share"].isna().all()  # a fused code has no weights of its own for a modality
    assert (table["folds"] == 2).all()
    correlations = read_table(root / "group_differences.tsv").set_index("modality")
    assert correlations.loc["jac", "decoded_test"] > correlations.loc["fa", "decoded_test"]
    about = json.loads((root / "importance.json").read_text())["Columns"]
    assert set(about) == set(read_table(root / "importance.tsv"))


def test_test_people_teach_nothing(chain, tmp_path):
    """Other classes of the test people change what is measured on them, and nothing that is learned."""
    root, _, shared = chain
    people = read_table(root / "volumes" / "subjects.tsv", text=("subject",))
    splits = read_table(root / "splits.tsv", text=("subject", "fold"))
    tested = splits[(splits["fold"] == "1") & (splits["role"] == "test")]["subject"]
    turned = people["diagnosis"].map({"control": "patient", "patient": "control"})
    people["diagnosis"] = turned.where(people["subject"].isin(tested), people["diagnosis"])
    write_table(tmp_path / "people.tsv", people)
    explained(root, root / "fold-1", shared, tmp_path / "people.tsv", tmp_path)
    np.testing.assert_array_equal(picture(tmp_path, "decoded")[0], picture(root / "fold-1", "decoded")[0])
    before, after = (read_table(f / "importance.tsv") for f in (root / "fold-1", tmp_path))
    np.testing.assert_allclose(after["auc"], 1 - before["auc"])


def test_the_map_of_codes_parts_modalities(tmp_path):
    subjects = [f"{i:02d}" for i in range(30)]
    centres = np.repeat([[8.0], [-8.0], [0.0]], 4, axis=1)
    codes = np.concatenate([c + RANDOM.normal(size=(30, 4)) for c in centres], axis=1)
    frame = pd.DataFrame(codes, columns=[f"z{i:04d}" for i in range(12)])
    frame.insert(0, "subject", subjects)
    frame.insert(1, "missing", ["fa" if s == "07" else "" for s in subjects])
    write_table(tmp_path / "embeddings.tsv", frame)
    people = pd.DataFrame({"subject": subjects, "family": "", "diagnosis": ["a", "b"] * 15})
    write_table(tmp_path / "people.tsv", people)
    settings = {"experiment": {"modalities": list(MODALITIES)}, "targets": ["diagnosis"], "seed": 1}
    for name in ("one.tsv", "two.tsv"):
        tsne_of_modalities(
            embeddings=tmp_path / "embeddings.tsv",
            people=tmp_path / "people.tsv",
            output=tmp_path / name,
            settings=settings,
        )
    table = read_table(tmp_path / "one.tsv")
    assert (tmp_path / "one.tsv").read_bytes() == (tmp_path / "two.tsv").read_bytes()
    assert len(table) == 89  # who lacks a modality has no point for it
    assert table["class_diagnosis"].value_counts().to_dict() == {"b": 44, "a": 45}
    middle = table.groupby("modality")[["x", "y"]].mean()
    own = np.linalg.norm(table[["x", "y"]].to_numpy() - middle.loc[table["modality"]].to_numpy(), axis=1)
    apart = [np.linalg.norm(middle.iloc[a] - middle.iloc[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert min(apart) > 2 * own.mean()


def test_images_made_from_codes(tmp_path):
    cohort = simulate_volumes(people=12, seed=1, shape=(16, 18, 16), modalities=("jac", "ndi"))
    opened = open_volumes(write_volumes(cohort, tmp_path), ["jac", "ndi"])
    scaling = fold_limits(opened, cohort.mask, opened[0].info["subjects"], "train")
    people = VolumeSet(opened, opened[0].info["subjects"], scaling)
    model = built("shared_vae", (16, 18, 16), channels=[8, 16], latent_size=3)
    found = generated_slices(model, people, cohort.mask, 1)
    assert found["draws"].shape == (DRAWS, 16, 18)
    assert found["steps"].shape == (2, STEPS, 16, 18)
    level = int(np.round(np.argwhere(cohort.mask).mean(axis=0))[2])
    whole = model.reconstruct(np.stack([people[0], people[1]]))[..., level]
    # the ends of the way are the two people as they are decoded
    np.testing.assert_allclose(found["steps"][:, [0, -1]], whole.swapaxes(0, 1), atol=1e-5)
    assert not np.allclose(found["draws"][0], found["draws"][1])
    alone = generated_slices(model, people.subset([0]), cohort.mask, 1)
    assert set(alone) == {"draws"}


def test_maps_of_targets_with_the_same_letters_do_not_overwrite_each_other():
    labels = map_labels(["sex", "s-e-x", "sexx2", "age_group", "???"])
    assert labels["sex"] == "sex"
    assert labels["age_group"] == "agegroup"
    assert len(set(labels.values())) == len(labels)
