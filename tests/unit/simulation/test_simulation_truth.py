"""Tables of a simulated cohort and of its truth, and the effects that are planted; without growing a brain."""

from types import SimpleNamespace

import numpy as np
import pytest

from neurostrata.core.files import read_json
from neurostrata.core.tables import read_table
from neurostrata.imaging.images.io import read_image
from neurostrata.imaging.registration.transforms import read_affine, read_displacement
from neurostrata.simulation import truth
from neurostrata.simulation.images.regions import Regions
from neurostrata.simulation.people import effects
from neurostrata.simulation.people.people import SITES, Settings, make_people
from neurostrata.simulation.sheets import (
    cohort_sheet,
    write_cohort_sheet,
    write_quality_sheet,
    write_questionnaires,
)
from neurostrata.simulation.truth import GrownPerson, RegionalTruth

NAMES = (
    "lateral_ventricles",
    *(f"{side}_{number:02d}" for side in ("left", "right") for number in range(1, 10)),
)
REGIONS = SimpleNamespace(names=NAMES)


def test_each_stratum_has_more_of_its_own_parcels_and_less_of_the_next_one_s():
    """With sizes of 5, 3 and 2, differences are from the mean over the ten people."""
    planted = effects.plant(REGIONS, np.array([5, 3, 2]), 1.0)
    growth = {name: planted.growth[:, k] for k, name in enumerate(NAMES)}
    density = {name: planted.density[:, k] for k, name in enumerate(NAMES)}
    for side in ("left", "right"):
        # parcel 1 is the first stratum's: larger there, smaller in the third; NDI higher in the second
        for parcel in ("01", "04"):
            by_hand = np.array([0.24, 0, -0.24])
            np.testing.assert_allclose(growth[f"{side}_{parcel}"], by_hand - (0.5 * 0.24 - 0.2 * 0.24))
            by_hand = np.array([-0.09, 0.09, 0])
            np.testing.assert_allclose(density[f"{side}_{parcel}"], by_hand - (0.3 - 0.5) * 0.09)
        by_hand = np.array([-0.24, 0.24, 0])
        np.testing.assert_allclose(growth[f"{side}_02"], by_hand - (0.3 - 0.5) * 0.24)
    ventricles = np.array([-0.25, 0.05, 0.35])
    np.testing.assert_allclose(growth["lateral_ventricles"], ventricles - ventricles @ [0.5, 0.3, 0.2])
    assert not density["lateral_ventricles"].any()
    twice = effects.plant(REGIONS, np.array([5, 3, 2]), 2.0)
    np.testing.assert_allclose(twice.growth, 2 * planted.growth)
    np.testing.assert_allclose(twice.density, 2 * planted.density)


def test_a_diagnosis_is_planted_in_its_parcels_of_both_sides():
    plain = effects.plant(REGIONS, np.array([6, 2]), 1.0)
    planted = effects.plant_diagnosis(plain, REGIONS, [True, False, False, False], 0.5)
    for values, size, parcels in (
        (planted.diagnosis_growth, -0.12, ("03", "07")),
        (planted.diagnosis_density, -0.03, ("05", "08")),
    ):
        hit = [name.endswith(parcels) for name in NAMES]
        np.testing.assert_allclose(values[1] - values[0], np.where(hit, 0.5 * size, 0))
        np.testing.assert_allclose(0.75 * values[0] + 0.25 * values[1], 0, atol=1e-12)
    np.testing.assert_array_equal(planted.growth, plain.growth)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The truth of 24 people, four of whose regions say which stratum they are of."""
    folder = tmp_path_factory.mktemp("truth")
    settings = Settings(
        people=24, seed=4, diagnosis_effect=1.0, lesions=True, contrasts=("flair",), components=2
    )
    people = make_people(settings)
    rng = np.random.default_rng(0)
    planted = effects.plant_diagnosis(
        effects.plant(REGIONS, np.array([12, 8, 4]), 1.0), REGIONS, [p.patient for p in people], 1.0
    )
    grown = []
    for number, person in enumerate(people):
        values = planted.growth[person.stratum] + 0.01 * rng.standard_normal(len(NAMES))
        regional = RegionalTruth(values, 2 * values, values + 0.5, 0.1 * number, -0.1 * number)
        grown.append(GrownPerson(regional, number, number / 2, np.array([person.patient + 0.1, number])))
    head = SimpleNamespace(regions=REGIONS, planted=planted)
    truth.write_truth_tables(folder, people, grown, head, settings)
    return folder, people, grown


def test_the_table_of_people_says_what_each_of_them_is(written):
    folder, people, _ = written
    table = read_table(folder / "participants.tsv", text=("subject", "family", "questionnaires_of"))
    assert list(table.columns) == list(truth.PARTICIPANT_COLUMNS)
    assert list(table["subject"]) == [p.subject for p in people]
    assert list(table["stratum"]) == list(table["group"]) == [p.stratum + 1 for p in people]
    assert list(table["site"]) == [SITES[p.site] for p in people]
    assert list(table["family"]) == [f"F{p.family + 1:03d}" for p in people]
    assert list(table["age"]) == [p.age for p in people]
    for column, word, attribute in (
        ("sex", "F", "female"),
        ("diagnosis", "patient", "patient"),
        ("template", "yes", "template"),
        ("has_dwi", "yes", "has_dwi"),
        ("bad_scan", "yes", "bad_scan"),
    ):
        assert list(table[column] == word) == [getattr(p, attribute) for p in people], column
    assert list(table["questionnaires_of"]) == list(table["subject"])
    np.testing.assert_allclose(table["log_det_affine"], np.arange(24) / 10)
    np.testing.assert_allclose(table["log_det_linear"], -np.arange(24) / 10)


def test_tables_of_regions_lesions_and_components_are_the_true_values(written):
    folder, _, grown = written
    for name, attribute in (("log_jacobian", "log_jacobian"), ("log_volume", "volume"), ("ndi", "ndi")):
        table = read_table(folder / f"regional_{name}.tsv")
        assert list(table.columns) == ["subject", *NAMES]
        true = [getattr(person.regional, attribute) for person in grown]
        np.testing.assert_allclose(table[list(NAMES)], true, atol=1e-6)
    lesions = read_table(folder / "lesions.tsv")
    assert list(lesions["lesions"]) == list(range(24))
    np.testing.assert_allclose(lesions["volume_ml"], np.arange(24) / 2)
    amplitudes = read_table(folder / "component_amplitudes.tsv")
    np.testing.assert_allclose(amplitudes["component_02"], np.arange(24))
    planted = read_table(folder / "diagnosis_effects.tsv", text=("region",)).set_index("region")
    assert planted.loc["left_03", "log_jacobian"] == pytest.approx(-0.12)
    assert planted.loc["right_08", "ndi"] == pytest.approx(-0.03)
    assert (planted != 0).sum().tolist() == [4, 4]


def test_the_oracle_leaves_out_bad_scans_and_sees_the_planted_groups(written):
    folder, people, _ = written
    best = read_json(folder / "oracle.json")
    assert best["people"] == 23 == sum(not p.bad_scan for p in people)
    # log-Jacobian and NDI of all regions, but no NDI of the ventricles
    assert best["features"] == 2 * len(NAMES) - 1
    assert (best["adjusted_rand"], best["auc"]) == (1, 1)
    assert best["adjusted_rand_sites"] < 0.2
    assert set(best["diagnosis"]) == {"auc_regional", "auc_components", "auc_all"}
    assert best["diagnosis"]["auc_components"] == 1
    assert best["diagnosis"]["auc_regional"] < 0.9


def test_who_has_no_values_has_an_empty_row():
    people = make_people(Settings(people=8))[:2]
    table = truth.region_table(people, [np.array([]), np.array([1.0, 2.0])], ["a", "b"])
    assert list(table.columns) == ["subject", "a", "b"]
    assert table.loc[0, ["a", "b"]].isna().all()
    assert list(table.loc[1, ["a", "b"]]) == [1, 2]


def test_sheets_name_the_files_that_were_asked_for_and_exclude_bad_scans(tmp_path):
    settings = Settings(people=24, contrasts=("t2w",), lesions=True, components=3, bold=True)
    people = make_people(settings)
    sheet = cohort_sheet(people, settings).set_index("subject")
    name = f"images/sub-{people[0].subject}"
    assert dict(sheet.loc[people[0].subject, ["t1w", "t1w_mask", "t2w", "lesion_mask", "icn", "bold"]]) == {
        "t1w": f"{name}_T1w.nii.gz",
        "t1w_mask": f"{name}_T1w_mask.nii.gz",
        "t2w": f"{name}_T2w.nii.gz",
        "lesion_mask": f"{name}_label-lesion_mask.nii.gz",
        "icn": f"{name}_space-MNI_icn.nii.gz",
        "bold": f"{name}_space-MNI_desc-preproc_bold.nii.gz",
    }
    for person in people:
        row = sheet.loc[person.subject]
        assert row["template"] == ("yes" if person.template else "no")
        assert row["diagnosis"] == ("patient" if person.patient else "control")
        assert (row["site"], row["family"]) == (SITES[person.site], f"F{person.family + 1:03d}")
        assert [bool(row[c]) for c in ("dwi", "bval", "bvec", "dwi_mask")] == [person.has_dwi] * 4
    write_quality_sheet(tmp_path, people)
    decisions = read_table(tmp_path / "qc.tsv")
    assert list(decisions["subject"]) == [p.subject for p in people if p.bad_scan]
    assert set(decisions["decision"]) == {"exclude"}
    assert decisions["modality"].isna().all()


def test_questionnaires_and_the_sheet_have_a_row_for_each_person(tmp_path):
    settings = Settings(people=300, null_link=True)
    people = make_people(settings)
    write_questionnaires(tmp_path, people, settings)
    table = read_table(tmp_path / "phenotypes.tsv")
    items = [f"{domain}_{n}" for domain in ("mood", "memory", "impulse", "sleep") for n in range(1, 6)]
    assert list(table.columns) == ["subject", "age", "sex", "site", *items]
    assert list(table["subject"]) == [p.subject for p in people]
    assert list(table["age"]) == [p.age for p in people]
    assert list(table["sex"] == "F") == [p.female for p in people]
    assert list(table["site"]) == [SITES[p.site] for p in people]
    # the truth is that of the person whose questionnaires they are: the last factor falls with that one's age
    scores = read_table(tmp_path / "truth" / "factor_scores.tsv")
    assert list(scores["subject"]) == list(table["subject"])
    age = np.array([people[p.questionnaires_of].age for p in people])
    assert np.corrcoef(scores["planted_04"], age)[0, 1] < -0.25
    assert abs(np.corrcoef(scores["planted_04"], table["age"])[0, 1]) < 0.15
    for number, domain in enumerate(("mood", "memory", "impulse", "sleep"), start=1):
        mean = table[[f"{domain}_{n}" for n in range(1, 6)]].mean(axis=1)
        assert np.corrcoef(scores[f"planted_{number:02d}"], mean)[0, 1] > 0.85
    loadings = read_table(tmp_path / "truth" / "loadings.tsv", text=("variable",))
    assert list(loadings["variable"]) == items
    shifts = read_table(tmp_path / "truth" / "factor_shifts.tsv")
    assert list(shifts["group"]) == [1, 2, 3]
    assert (shifts[["planted_03", "planted_04"]] == 0).all(axis=None)
    write_cohort_sheet(tmp_path, people, settings)
    lines = (tmp_path / "cohort.tsv").read_text().splitlines()
    assert lines[0].split("\t") == list(cohort_sheet(people, settings).columns)
    assert [line.split("\t")[0] for line in lines[1:]] == [p.subject for p in people]


def test_maps_and_transforms_of_the_truth_are_those_that_were_planted(tmp_path):
    rng = np.random.default_rng(0)
    affine = np.array([[2.0, 0, 0, -9], [0, 2, 0, -7], [0, 0, 2, -5], [0, 0, 0, 1]])
    labels = rng.integers(0, 3, (10, 9, 8)).astype(np.int16)
    regions = Regions(labels, ("lateral_ventricles", "left_01"))
    templates = SimpleNamespace(t1w=rng.uniform(0, 1, labels.shape), brain=labels > 0, affine=affine)
    planted = effects.plant(regions, np.array([3, 1]), 1.0)
    head = SimpleNamespace(regions=regions, templates=templates, planted=planted)
    truth.write_head(tmp_path, head)
    for name, data in (("regions", labels), ("mni_T1w", templates.t1w), ("mni_mask", labels > 0)):
        image = read_image(tmp_path / f"{name}.nii.gz")
        np.testing.assert_allclose(image.data, data, atol=1e-6)
        np.testing.assert_allclose(image.grid.affine, affine)
    table = read_table(tmp_path / "regions.tsv")
    assert list(table["label"]) == [1, 2]
    assert list(table["voxels"]) == [(labels == 1).sum(), (labels == 2).sum()]
    table = read_table(tmp_path / "effects.tsv")
    assert list(table["group"]) == [1, 1, 2, 2]
    assert list(table["region"]) == [*regions.names] * 2
    np.testing.assert_allclose(table["log_jacobian"], planted.growth.ravel())
    np.testing.assert_allclose(table["ndi"], planted.density.ravel())

    person = make_people(Settings(people=3))[0]
    matrix = np.array([[0.9, 0.1, 0, 4], [0, 1.1, 0, -3], [0.05, 0, 1, 2], [0, 0, 0, 1]])
    displacement = rng.normal(0, 1, (3, *labels.shape)).astype(np.float32)
    anatomy = SimpleNamespace(
        log_jacobian=rng.normal(0, 0.2, labels.shape), affine=matrix, displacement=displacement
    )
    truth.write_anatomy_truth(tmp_path, person, anatomy, head)
    name = f"sub-{person.subject}"
    growth = read_image(tmp_path / f"jacobians/{name}_space-MNI_desc-nonlinear_logjacobian.nii.gz")
    np.testing.assert_allclose(growth.data, anatomy.log_jacobian, atol=1 / 2048 + 1e-6)
    transforms = tmp_path / "transforms"
    found = read_affine(transforms / f"{name}_from-T1w_to-MNI_desc-affine_xfm.mat")
    np.testing.assert_allclose(found, matrix, atol=1e-6)
    warp = read_displacement(transforms / f"{name}_from-T1w_to-MNI_desc-warp_xfm.nii.gz")
    np.testing.assert_allclose(np.moveaxis(warp.vectors, -1, 0), displacement, atol=1 / 256 + 1e-6)
