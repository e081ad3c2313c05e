"""Cohorts made at the level of fusion volumes: the truth in them, and files that the fusion stages can open."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from neurostrata.core.errors import UserError
from neurostrata.core.files import read_json
from neurostrata.core.tables import read_table
from neurostrata.fusion.data.volumes import VolumeSet, fold_limits, open_volumes
from neurostrata.simulation.volume_cohorts import simulate_volumes
from neurostrata.simulation.volume_files import write_volumes

SMALL = {"people": 40, "seed": 3, "shape": (20, 20, 20)}


@pytest.fixture(scope="module")
def cohort():
    return simulate_volumes(**SMALL)


def regional_means(cohort, volumes):
    """Means of volumes (people, modalities, x, y, z) in the regions."""
    regions = range(1, len(cohort.region_names) + 1)
    return np.stack([volumes[:, :, cohort.regions == k].mean(axis=2) for k in regions], axis=2)


def test_the_same_seed_gives_the_same_cohort_and_another_seed_another(cohort):
    again = simulate_volumes(**SMALL)
    np.testing.assert_array_equal(again.volumes, cohort.volumes)
    np.testing.assert_array_equal(again.regional, cohort.regional)
    other = simulate_volumes(**SMALL | {"seed": 4})
    assert np.abs(other.volumes - cohort.volumes).max() > 0.1


def test_the_mean_looks_like_a_brain(cohort):
    assert cohort.volumes.shape == (40, 2, 20, 20, 20)
    assert cohort.volumes.dtype == np.float32
    assert 0.15 < cohort.mask.mean() < 0.5
    assert not cohort.volumes[:, :, ~cohort.mask].any()
    assert not cohort.regions[~cohort.mask].any()
    ndi = cohort.volumes[:, 1].mean(axis=0)
    ventricles = ndi[cohort.regions == 1 + cohort.region_names.index("lateral_ventricles")]
    assert ventricles.mean() < ndi[cohort.mask].mean() - 0.05  # little tissue there
    jacobian = cohort.volumes[:, 0].mean(axis=0)
    assert 0.9 < jacobian[cohort.mask].mean() < 1.1


def test_planted_maps_have_the_planted_regional_means(cohort):
    means = regional_means(cohort, cohort.diagnosis_maps[None])[0]
    np.testing.assert_allclose(means, cohort.diagnosis_effects, atol=1e-5)
    means = regional_means(cohort, cohort.stratum_maps)
    np.testing.assert_allclose(means, cohort.stratum_effects, atol=1e-5)
    assert (cohort.diagnosis_effects != 0).sum(axis=1).tolist() == [4, 4]
    # centred over people, so that the cohort's mean stays the mean image
    sizes = np.bincount(cohort.stratum)
    np.testing.assert_allclose(np.tensordot(sizes, cohort.stratum_effects, axes=1), 0, atol=1e-10)


def test_without_variation_and_noise_the_volumes_are_the_truth():
    options = SMALL | {"people": 12}
    cohort = simulate_volumes(**options, smoothness={20.0: 0.0}, misplaced_mm=0, noise=0)
    values = regional_means(cohort, cohort.volumes)
    difference = (values - values[0]) - (cohort.regional - cohort.regional[0])
    assert np.abs(difference).max() < 1e-4
    # what registration left moves the mean image, and nothing else
    quiet = options | {"smoothness": {20.0: 0.0}, "noise": 0}
    moved = [simulate_volumes(**quiet, misplaced_mm=mm) for mm in (0.5, 1.5)]
    apart = [float(np.abs(other.volumes - cohort.volumes).mean()) for other in moved]
    assert 0 < 2 * apart[0] < apart[1]
    np.testing.assert_array_equal(moved[0].regional, cohort.regional)
    flat = simulate_volumes(**options, effect=0, diagnosis_effect=0)
    assert not flat.stratum_effects.any()
    assert not flat.diagnosis_maps.any()


def test_the_diagnosis_is_found_in_its_regions_of_the_volumes_and_nowhere_else():
    cohort = simulate_volumes(people=80, seed=5, shape=(20, 20, 20), diagnosis_effect=3.0)
    values = regional_means(cohort, cohort.volumes)
    between = values[cohort.diagnosis].mean(axis=0) - values[~cohort.diagnosis].mean(axis=0)
    hit = cohort.diagnosis_effects != 0
    np.testing.assert_allclose(between[hit], cohort.diagnosis_effects[hit], rtol=0.3)
    assert np.abs(between[~hit]).max() < 0.5 * np.abs(between[hit]).min()
    single = [roc_auc_score(cohort.diagnosis, -values[:, m, r]) for m, r in np.argwhere(hit)]
    assert min(single) > 0.85


def test_strata_have_the_shares_asked_for_and_differ_only_where_asked():
    cohort = simulate_volumes(**SMALL, shares=(3, 1), stratified=["ndi"])
    assert np.bincount(cohort.stratum).tolist() == [30, 10]
    assert not cohort.stratum_effects[:, 0].any()
    assert cohort.stratum_effects[:, 1].any()
    assert np.bincount(simulate_volumes(**SMALL, shares=(1, 1, 1)).stratum).tolist() == [14, 13, 13]


def test_a_continuum_has_the_direction_and_the_variance_of_two_equal_strata():
    options = SMALL | {"people": 100, "shape": (16, 16, 16), "shares": (1, 1)}
    continuum = simulate_volumes(**options, gradient=True)
    nothing = simulate_volumes(**options, effect=0)
    planted = (continuum.regional - nothing.regional).reshape(100, -1)
    between = (continuum.stratum_effects[0] - continuum.stratum_effects[1]).ravel()
    along = planted @ between / (between @ between)
    np.testing.assert_allclose(planted, np.outer(along, between), atol=1e-12)
    assert along.mean() == pytest.approx(0, abs=1e-12)
    assert along.std() == pytest.approx(0.5, rel=0.1)
    # spread evenly, so that there are no two groups; the first stratum is the half towards its own differences
    np.testing.assert_allclose(np.ptp(along), np.sqrt(3), rtol=0.05)
    assert along[continuum.stratum == 0].min() > along[continuum.stratum == 1].max()
    assert np.abs(np.bincount(continuum.stratum) - 50).max() < 20


def test_sites_of_equal_size_shift_regions_by_what_was_planted_and_tell_nothing_about_the_strata():
    options = SMALL | {"people": 60, "shape": (16, 16, 16)}
    plain = simulate_volumes(**options)
    assert not plain.site.any()
    assert np.array_equal(simulate_volumes(**options, sites=4).regional, plain.regional)
    cohort = simulate_volumes(**options, sites=4, site_effect=2.0)
    assert np.bincount(cohort.site).tolist() == [15] * 4
    table = np.zeros((3, 4))
    np.add.at(table, (cohort.stratum, cohort.site), 1)
    assert np.ptp(table, axis=1).max() <= 1
    shift = cohort.regional - plain.regional
    by_site = np.stack([shift[cohort.site == site].mean(axis=0) for site in range(4)])
    np.testing.assert_allclose(shift, by_site[cohort.site], atol=1e-12)
    np.testing.assert_allclose(by_site.mean(axis=0), 0, atol=1e-12)
    # 0.4 of a modality's unit at site effect 1, here twice that
    assert (by_site.std(axis=0, ddof=1).mean(axis=1) / [0.10, 0.05]) == pytest.approx([0.8, 0.8], rel=0.25)


def test_age_sex_and_chance_move_the_regions_as_stated():
    cohort = simulate_volumes(people=300, seed=2, shape=(16, 16, 16), modalities=["jac"], effect=0)
    age = (cohort.age - 45) / (50 / np.sqrt(12))
    columns = [age, cohort.female, cohort.diagnosis, np.ones(300)]
    design = np.column_stack(columns).astype(float)
    values = cohort.regional[:, 0] / 0.10  # units
    slopes, _, _, _ = np.linalg.lstsq(design, values, rcond=None)
    parcels = np.array([name != "lateral_ventricles" for name in cohort.region_names])
    assert slopes[0][parcels].mean() == pytest.approx(-0.15, abs=0.02)
    assert slopes[0][~parcels] == pytest.approx([0.3], abs=0.08)
    assert slopes[1].mean() == pytest.approx(0.15, abs=0.03)
    np.testing.assert_allclose(slopes[2], cohort.diagnosis_effects[0] / 0.10, atol=0.15)
    assert (values - design @ slopes).std() == pytest.approx(0.4, rel=0.03)


def test_diagnosis_sex_and_age_tell_nothing_about_the_stratum(cohort):
    for facts in (cohort.diagnosis, cohort.female):
        shares = [facts[cohort.stratum == k].mean() for k in range(3)]
        assert max(shares) - min(shares) < 0.15
    assert abs(cohort.age[cohort.diagnosis].mean() - cohort.age[~cohort.diagnosis].mean()) < 10


def test_modalities_share_some_of_the_variation():
    options = {"people": 30, "seed": 1, "shape": (16, 16, 16), "effect": 0, "noise": 0, "misplaced_mm": 0}

    def likeness(shared):
        found = simulate_volumes(**options, shared=shared)
        values = found.volumes[:, :, found.mask] - found.volumes[:, :, found.mask].mean(axis=0)
        return np.corrcoef(values[:, 0].ravel(), values[:, 1].ravel())[0, 1]

    assert likeness(0.9) > likeness(0.0) + 0.3
    assert abs(likeness(0.0)) < 0.2


def linear_baseline(cohort):
    """AUC of the diagnosis, out of fold, by 32 principal components of the scaled volumes and a linear SVM."""
    seed, target = int(cohort.options["seed"]), cohort.diagnosis.astype(int)
    values = cohort.volumes[:, :, cohort.mask]
    scores = np.empty(len(target))
    splits = StratifiedKFold(5, shuffle=True, random_state=seed)
    for train, test in splits.split(target, target):
        low, high = np.percentile(values[train], [0.1, 99.9], axis=(0, 2))
        scaled = np.clip((values - low[:, None]) / (high - low)[:, None], 0, 1).reshape(len(values), -1)
        pca = PCA(32, svd_solver="full").fit(scaled[train])
        reduced = pca.transform(scaled)
        reduced = StandardScaler().fit(reduced[train]).transform(reduced)
        model = LinearSVC(C=0.01, random_state=seed).fit(reduced[train], target[train])
        scores[test] = model.decision_function(reduced[test])
    return float(roc_auc_score(target, scores))


def test_the_oracle_beats_the_linear_baseline_with_the_default_effects():
    cohort = simulate_volumes(seed=1)
    best, linear = cohort.oracle(), linear_baseline(cohort)
    assert best["auc"] == pytest.approx(0.965, abs=0.02)
    assert best["adjusted_rand"] >= 0.95
    assert 0.80 <= linear <= 0.92
    null = simulate_volumes(**SMALL, diagnosis_effect=0)
    assert null.oracle()["auc"] < 0.75


def test_fusion_opens_what_is_written(cohort, tmp_path):
    paths = write_volumes(cohort, tmp_path)
    assert [path.name for path in paths] == ["jac.npy", "ndi.npy"]
    volumes = open_volumes(paths, cohort.modalities)
    scaling = fold_limits(volumes, volumes[0].mask, cohort.subjects, "cohort")
    assert scaling == {
        name: {
            "low": pytest.approx(values["low"], abs=1e-6),
            "high": pytest.approx(values["high"], abs=1e-6),
        }
        for name, values in fold_limits(volumes, volumes[0].mask, cohort.subjects, "train").items()
    }
    people = VolumeSet(volumes, cohort.subjects, scaling)
    assert people[0].shape == (2, 20, 20, 20)
    assert people[0].min() >= 0
    assert people[0].max() <= 1
    rows = read_table(tmp_path / "subjects.tsv")
    assert list(rows.columns) == ["subject", "family", "diagnosis", "site"]
    assert list(rows["subject"]) == list(cohort.subjects)
    truth = read_table(tmp_path / "truth" / "regional_jac.tsv")
    np.testing.assert_allclose(truth.iloc[:, 1:], cohort.regional[:, 0], atol=1e-8)
    assert read_json(tmp_path / "truth" / "oracle.json")["people"] == 40


def test_tables_of_people_and_regions_are_those_of_the_cohort(tmp_path):
    cohort = simulate_volumes(**SMALL | {"people": 12, "shape": (16, 16, 16)}, sites=3, site_effect=1.0)
    write_volumes(cohort, tmp_path)
    for path in (tmp_path / "subjects.tsv", tmp_path / "truth" / "participants.tsv"):
        sites = read_table(path, text=("site",))["site"]
        assert [f"site-{number + 1}" for number in cohort.site] == list(sites)
        assert list(read_table(path)["diagnosis"] == "patient") == list(cohort.diagnosis)
    truth = read_table(tmp_path / "truth" / "participants.tsv")
    assert list(truth["stratum"]) == list(cohort.stratum + 1)
    assert list(truth["sex"] == "F") == list(cohort.female)
    assert list(truth["age"]) == list(cohort.age)
    regions = read_table(tmp_path / "regions.tsv")
    assert dict(zip(regions["name"], regions["label"])) == {
        name: number for number, name in enumerate(cohort.region_names, start=1)
    }


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"people": 3}, "people 3"),
        ({"shape": (4, 32, 32)}, "shape"),
        ({"modalities": ()}, "modalities none"),
        ({"modalities": ("jac", "jac")}, "modalities jac, jac"),
        ({"effect": -1.0}, "effect"),
        ({"diagnosis_effect": float("nan")}, "diagnosis_effect"),
        ({"affected": {"fa": ["01"]}}, "affected: 'fa'"),
        ({"affected": {"jac": ["77"]}}, "affected.jac: '77'"),
        ({"stratified": ("fa",)}, "stratified: 'fa'"),
        ({"shared": 1.5}, "shared"),
    ],
)
def test_options_that_cannot_be_met_are_named(change, named):
    with pytest.raises(UserError, match=named):
        simulate_volumes(**SMALL | change)
