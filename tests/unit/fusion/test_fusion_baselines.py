"""The linear baselines are scikit-learn's PCA on the rows they say, learned from the training people."""

import dataclasses

import numpy as np
import pytest
from fusion_toy import toy_mask, toy_volumes
from sklearn.decomposition import PCA

from neurostrata.fusion.data.volumes import VolumeSet, open_volumes
from neurostrata.fusion.evaluation.baselines import DESCRIPTIONS, MEAN_IMAGE, TITLES, baseline_codes
from neurostrata.fusion.evaluation.baselines import PCA as PCA_METHOD
from neurostrata.report.data.papers import paper_tables

MASK = toy_mask(16)
SCALING = {"jac": {"low": 0.0, "high": 2.0}, "ndi": {"low": 0.0, "high": 4.0}}
REGIONS = (MASK * (1 + (np.arange(16) >= 8))[:, None, None]).astype(np.int32)


@pytest.fixture
def sets(tmp_path):
    opened = open_volumes(toy_volumes(tmp_path, people=14, side=16), ["jac", "ndi"])
    subjects = opened[0].info["subjects"]
    return VolumeSet(opened, subjects[:10], SCALING), VolumeSet(opened, subjects, SCALING)


def same_up_to_signs(found, wanted):
    signs = np.sign((found * wanted).sum(axis=0))
    np.testing.assert_allclose(found, wanted * signs, atol=2e-3)


def test_each_is_the_pca_it_says(sets):
    training, everybody = sets
    codes = baseline_codes(training, everybody, MASK, REGIONS, 1)
    volumes = np.stack([everybody[i] for i in range(14)])
    rows = volumes[:, :, MASK].astype(np.float64)
    stacked = PCA(9).fit(rows[:10].reshape(10, -1))
    same_up_to_signs(codes["pca_stacked"], stacked.transform(rows.reshape(14, -1)))
    apart = [PCA(9).fit(rows[:10, m]).transform(rows[:, m]) for m in range(2)]
    same_up_to_signs(codes["pca_modalities"], np.concatenate(apart, axis=1))
    divided = (volumes / volumes.max(axis=(2, 3, 4), keepdims=True))[:, :, MASK].astype(np.float64)
    pooled = PCA(19).fit(divided[:10].reshape(20, -1))
    wanted = np.concatenate([pooled.transform(divided[:, m]) for m in range(2)], axis=1)
    assert codes["pca_pooled"].shape == wanted.shape
    distances = [np.linalg.norm(c[:, None] - c[None], axis=2) for c in (codes["pca_pooled"], wanted)]
    np.testing.assert_allclose(*distances, atol=5e-3)
    means = [volumes[:, m][:, r == REGIONS].mean(axis=1) for m in range(2) for r in (1, 2)]
    np.testing.assert_allclose(codes["regional_means"], np.stack(means, axis=1), rtol=1e-5)


def test_every_baseline_has_a_title_and_the_names_that_tables_have():
    assert (MEAN_IMAGE, PCA_METHOD) == ("mean_image", "pca")
    assert set(DESCRIPTIONS) == {"pca_modalities", "pca_stacked", "pca_pooled", "regional_means"}
    assert set(TITLES) == {*DESCRIPTIONS, MEAN_IMAGE, PCA_METHOD}


def test_a_missing_modality_counts_for_nothing(sets):
    training, everybody = sets
    lacking = VolumeSet(everybody.volumes, everybody.subjects, SCALING, incomplete=True)
    gone = lacking.subjects[-1]
    row = dict(lacking.volumes[1].row)
    row.pop(gone)
    lacking.volumes[1] = dataclasses.replace(lacking.volumes[1], row=row)
    full = baseline_codes(training, everybody, MASK, REGIONS, 1)
    codes = baseline_codes(training, lacking, MASK, REGIONS, 1)
    for name, values in codes.items():
        assert np.isfinite(values).all()
        np.testing.assert_allclose(values[:-1], full[name][:-1], atol=1e-5)
    # what is missing is the training people's mean of that modality in that region
    means = full["regional_means"]
    np.testing.assert_allclose(codes["regional_means"][-1, 2:], means[:10, 2:].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(codes["regional_means"][-1, :2], means[-1, :2], rtol=1e-6)
    assert (np.abs(means[:10, 2:].mean(axis=0) - means[-1, 2:]) > 1e-3).all()
    np.testing.assert_array_equal(codes["pca_pooled"][-1, 19:], 0)
    np.testing.assert_array_equal(codes["pca_modalities"][-1, 9:], 0)
    np.testing.assert_allclose(codes["pca_modalities"][-1, :9], full["pca_modalities"][-1, :9], atol=1e-5)


@pytest.mark.parametrize("modality", [0, 1])
def test_the_first_training_person_may_lack_any_modality(sets, modality):
    training, everybody = sets
    first = training.subjects[0]
    volumes = list(everybody.volumes)
    row = {subject: place for subject, place in volumes[modality].row.items() if subject != first}
    volumes[modality] = dataclasses.replace(volumes[modality], row=row)
    some = VolumeSet(volumes, everybody.subjects, SCALING, incomplete=True)
    codes = baseline_codes(some.subset(range(10)), some, MASK, REGIONS, 1)
    whole = np.stack([everybody[i] for i in range(14)])
    rows = (whole / whole.max(axis=(2, 3, 4), keepdims=True))[:, :, MASK].astype(np.float64)
    has = np.ones((10, 2), bool)
    has[0, modality] = False
    pooled = PCA(18).fit(rows[:10][has])
    wanted = np.concatenate([pooled.transform(rows[:, m]) for m in range(2)], axis=1)
    assert codes["pca_pooled"].shape == wanted.shape
    complete = [codes["pca_pooled"][1:], wanted[1:]]
    np.testing.assert_allclose(*[np.linalg.norm(c[:, None] - c[None], axis=2) for c in complete], atol=5e-3)
    missing = codes["pca_pooled"][0].reshape(2, 18)[modality]
    np.testing.assert_array_equal(missing, 0)
    np.testing.assert_allclose(
        np.linalg.norm(codes["pca_pooled"][0]),
        np.linalg.norm(wanted[0].reshape(2, 18)[1 - modality]),
        rtol=1e-4,
    )


def test_over_their_maxima_all_baselines_see_the_volumes_that_the_model_sees(sets):
    # of both signs
    volumes = [dataclasses.replace(v, array=np.array(v.array) - v.array[:].mean()) for v in sets[0].volumes]
    training, everybody = (VolumeSet(volumes, people.subjects, {}, maximum=True) for people in sets)
    codes = baseline_codes(training, everybody, MASK, REGIONS, 1)
    raw = np.stack([volume.array for volume in everybody.volumes], axis=1)[:, :, MASK].astype(np.float64)
    rows = raw / np.abs(raw).max(axis=2, keepdims=True)
    assert rows.min() == -1
    stacked = PCA(9).fit(rows[:10].reshape(10, -1))
    same_up_to_signs(codes["pca_stacked"], stacked.transform(rows.reshape(14, -1)))
    apart = [PCA(9).fit(rows[:10, m]).transform(rows[:, m]) for m in range(2)]
    same_up_to_signs(codes["pca_modalities"], np.concatenate(apart, axis=1))
    pooled = PCA(19).fit(rows[:10].reshape(20, -1))
    wanted = np.concatenate([pooled.transform(rows[:, m]) for m in range(2)], axis=1)
    distances = [np.linalg.norm(c[:, None] - c[None], axis=2) for c in (codes["pca_pooled"], wanted)]
    np.testing.assert_allclose(*distances, atol=5e-3)
    means = [rows[:, m][:, REGIONS[MASK] == r].mean(axis=1) for m in range(2) for r in (1, 2)]
    np.testing.assert_allclose(codes["regional_means"], np.stack(means, axis=1), rtol=1e-4, atol=1e-6)


def test_what_stands_beside_the_late_fusion_of_geenjaar_is_what_its_words_say(sets):
    """III.B: one decomposition "on all of the modalities at once", with "a smaller number of features per subject" and no more
    components than there are subjects, so that there is none at 1024."""
    (table,) = (row for row in paper_tables()["geenjaar2021"]["results"] if row["id"] == "Table I")
    early, late = (
        {n["where"]["features"] for n in table["numbers"] if f"{kind} fusion" in n["what"]}
        for kind in ("Early", "Late")
    )
    training, everybody = sets
    codes = baseline_codes(training, everybody, MASK, REGIONS, 1, components=1024)
    (first,), (second,) = ([codes[name].shape[1] for name in names] for names in (early, late))
    assert first == 2 * 9  # modalities x (training people - 1)
    assert second == 9
