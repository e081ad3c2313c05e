"""Maps of strata: planted effects are found where they were planted, sums give what a direct computation gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest

from neurostrata.adjustment.codes import free_of_covariates
from neurostrata.core.embeddings import Embeddings
from neurostrata.core.files import write_json
from neurostrata.core.tables import read_table, write_table
from neurostrata.imaging.images.io import Grid, write_image
from neurostrata.imaging.registration.transforms import Displacement, write_affine, write_displacement
from neurostrata.strata.maps import commands, effects
from neurostrata.strata.maps.commands import leading_kind, map_file, map_strata
from neurostrata.strata.maps.effects import StrataSums, chance_share, effect_interval, small_sample_factor
from neurostrata.strata.maps.places import RegionMeans, connected_places

SHAPE, PEOPLE = (12, 14, 10), 60
AFFINE = np.array([[4.0, 0, 0, -22], [0, 4, 0, -30], [0, 0, 4, -18], [0, 0, 0, 1]])
#: Where stratum 1 is raised in `jac` and lowered in `ndi`.
PLANTED, PLANTED_NDI = (slice(2, 5), slice(8, 11), slice(4, 7)), (slice(7, 9), slice(3, 5), slice(2, 4))


def plain_g(member: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Hedges' g as in a textbook."""
    n, m = len(member), len(others)
    pooled = np.sqrt(((n - 1) * member.var(0, ddof=1) + (m - 1) * others.var(0, ddof=1)) / (n + m - 2))
    return (member.mean(0) - others.mean(0)) / pooled * (1 - 3 / (4 * (n + m - 2) - 1))


@pytest.fixture
def people() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values far from 0 beside their spread, three strata, age as a covariate."""
    generator = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], [30, 20, 10]).astype(np.intp)
    age = generator.normal(50, 10, PEOPLE) + 3 * labels
    values = 1000 + generator.normal(size=(PEOPLE, 7)) + 0.05 * age[:, None]
    values[labels == 1, 2] += 1.5
    values[:, 6] = 3.0  # nobody differs from anybody
    return labels, age, values


def test_sums_give_what_the_direct_formula_gives(people: tuple[np.ndarray, ...]) -> None:
    labels, _, values = people
    sums = StrataSums(labels, 3)
    for person in range(PEOPLE):
        sums.add(person, values[person])
    for stratum in range(3):
        found = sums.effects(stratum)
        member = values[labels == stratum]
        assert (found.n, found.others, found.df, found.adjusted) == (
            len(member),
            PEOPLE - len(member),
            58,
            None,
        )
        others = values[labels != stratum]
        np.testing.assert_allclose(found.effect[:6], plain_g(member[:, :6], others[:, :6]), rtol=2e-4)
        np.testing.assert_allclose(found.mean, member.mean(0))
        np.testing.assert_allclose(found.sd[:6], member.std(0, ddof=1)[:6], rtol=1e-9)
        assert found.effect[6] == 0
        assert found.sd[6] == 0


def test_adjusted_effects_are_those_of_values_adjusted_as_codes_are(people: tuple[np.ndarray, ...]) -> None:
    labels, age, values = people
    generator = np.random.default_rng(2)
    subjects = [f"{k:02d}" for k in range(PEOPLE)]
    described = pd.DataFrame({"age": age, "sex": generator.choice(["F", "M"], PEOPLE)}, index=subjects)
    codes = Embeddings(subjects, values, pd.DataFrame({"subject": subjects}))
    adjust = {"columns": ["age", "sex"], "sites": None, "splines": 1}
    adjusted = free_of_covariates(codes, described, adjust)[0].values
    covariates = np.column_stack([age, described["sex"] == "M"]).astype(float)
    sums = StrataSums(labels, 3, covariates)
    for person in range(PEOPLE):
        sums.add(person, values[person])
    found = sums.effects(1)
    plain = plain_g(adjusted[labels == 1, :6], adjusted[labels != 1, :6])
    # two columns were learned from the same people
    plain *= np.sqrt(56 / 58) * small_sample_factor(56) / small_sample_factor(58)
    np.testing.assert_allclose(found.adjusted[:6], plain, rtol=2e-4)
    assert found.adjusted_df == 56
    assert abs(found.effect[2] - found.adjusted[2]) > 0.05


def test_strata_that_are_not_described_are_among_the_others(people: tuple[np.ndarray, ...]) -> None:
    labels, _, values = people
    sums = StrataSums(labels, 1)
    for person in range(PEOPLE):
        sums.add(person, values[person])
    np.testing.assert_allclose(
        sums.effects(0).effect[:6], plain_g(values[labels == 0, :6], values[labels != 0, :6]), rtol=2e-4
    )


def test_random_groups_exceed_the_limit_as_often_as_said() -> None:
    generator = np.random.default_rng(3)
    sums = StrataSums(np.repeat([0, 1], [12, 10]).astype(np.intp), 1)
    for person in range(22):
        sums.add(person, generator.normal(size=20_000))
    found = sums.effects(0)
    expected = chance_share(0.5, 12, 10, 20)
    assert (np.abs(found.effect) >= 0.5).mean() == pytest.approx(expected, abs=0.01)
    low, high = effect_interval(found.effect, 12, 10, 0.95)
    assert ((low < 0) & (high > 0)).mean() == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(("wider", "adjusted"), [(1.0, False), (2.0, False), (2.0, True), (0.5, True)])
def test_intervals_cover_whatever_the_spread_of_the_stratum(wider: float, adjusted: bool) -> None:
    """Nothing differs but the spread; with equal variances taken for granted, 79% of intervals held 0 where it was twice as large."""
    generator = np.random.default_rng(7)
    n, people, regions = 10, 150, 4000
    age = generator.standard_normal(people)
    values = generator.normal(size=(people, regions)) * np.where(np.arange(people) < n, wider, 1)[:, None]
    labels = (np.arange(people) >= n).astype(np.intp)
    values += (2 * age * adjusted)[:, None]
    sums = StrataSums(labels, 2, age[:, None] if adjusted else None, spreads=True)
    for person in range(people):
        sums.add(person, values[person])
    found = sums.effects(0)
    leading = found.effect if found.adjusted is None else found.adjusted
    low, high = effect_interval(leading, n, people - n, 0.95, found.own, found.rest)
    assert ((low < 0) & (high > 0)).mean() == pytest.approx(0.95, abs=0.025)
    residual = values
    if adjusted:
        design = np.column_stack([np.ones(people), age])
        residual = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    inside, outside = (residual[labels == group] for group in (0, 1))
    pooled = ((n - 1) * inside.var(axis=0, ddof=1) + (people - n - 1) * outside.var(axis=0, ddof=1)) / (
        people - 2
    )
    np.testing.assert_allclose(found.own, inside.var(axis=0, ddof=1) / pooled, rtol=1e-6)
    np.testing.assert_allclose(found.rest, outside.var(axis=0, ddof=1) / pooled, rtol=1e-6)


def test_the_interval_of_a_large_effect_is_as_wide_as_the_effect_varies() -> None:
    generator = np.random.default_rng(9)
    n, people, regions = 20, 120, 4000
    member = np.arange(people) < n
    values = generator.normal(size=(people, regions)) * np.where(member, 2, 1)[:, None] + 3 * member[:, None]
    sums = StrataSums((~member).astype(np.intp), 1, None, spreads=True)
    for person in range(people):
        sums.add(person, values[person])
    found = sums.effects(0)
    low, high = effect_interval(found.effect, n, people - n, 0.95, found.own, found.rest)
    true = 3 / np.sqrt((19 * 4 + 99) / 118)
    assert ((low < true) & (true < high)).mean() == pytest.approx(0.95, abs=0.025)
    # a stratum of one person has no spread of its own
    assert np.isfinite(effect_interval(np.array([0.5]), 1, 20, 0.95)).all()


def test_connected_places_are_of_one_sign_and_the_largest_comes_first() -> None:
    effect = np.zeros(SHAPE)
    effect[1:3, 1:3, 1:3] = 0.6
    effect[3, 1, 1] = -0.9
    effect[8:11, 8:11, 8:10] = 0.7
    effect[9, 9, 9] = 1.4
    effect[6, 6, 6] = 0.49
    found = connected_places(effect, AFFINE)
    assert [place["voxels"] for place in found] == [18, 8, 1]
    assert [place["peak"] for place in found] == [1.4, 0.6, -0.9]
    assert found[0]["index"] == (9, 9, 9)
    assert found[0]["volume_ml"] == pytest.approx(18 * 0.064)
    assert found[0]["effect"] == pytest.approx((17 * 0.7 + 1.4) / 18)


def test_region_means() -> None:
    means = RegionMeans(np.array([0, 2, 2, 5, 0, 5, 5]))
    assert means.numbers.tolist() == [2, 5]
    assert means(np.array([9.0, 1, 3, 1, 9, 2, 3])).tolist() == [2, 2]


# ---------------------------------------------------------------------------------------- the stage


def write_study(folder: Path, claimed: str = "yes", atlas: bool = False) -> dict[str, Any]:
    """A study of two strata; 6 of the 60 people lack `ndi`, one fits no cluster, age is removed from the codes."""
    generator = np.random.default_rng(5)
    subjects = [f"{k:03d}" for k in range(PEOPLE)]
    stratum = np.repeat([1, 2], [35, 25])
    age = generator.normal(50, 10, PEOPLE)
    mask = np.zeros(SHAPE, bool)
    mask[1:11, 1:13, 1:9] = True
    write_image(folder / "mask.nii.gz", mask, Grid(SHAPE, AFFINE))
    for name, where, size, having in (("jac", PLANTED, 2.0, 60), ("ndi", PLANTED_NDI, -2.0, 54)):
        array = generator.normal(1, 0.1, (having, *SHAPE)).astype(np.float32)
        array += 0.004 * age[:having, None, None, None]
        for row in np.flatnonzero(stratum[:having] == 1):
            array[row][where] += 0.1 * size
        array[:, ~mask] = 7.0
        np.save(folder / f"{name}.npy", array)
        write_json(
            folder / f"{name}.json",
            {
                "modality": name,
                "subjects": subjects[:having],
                "affine": AFFINE.tolist(),
                "mask": "mask.nii.gz",
                "limits": {"low": 0.5, "high": 1.5, "percentiles": [0.1, 99.9], "scope": "cohort"},
            },
        )
    fits = ["yes"] * 59 + ["no"]
    clusters = pd.DataFrame({"subject": subjects, "cluster": stratum, "fits": fits})
    write_table(folder / "clusters.tsv", clusters, {})
    write_table(folder / "existence.tsv", pd.DataFrame({"finder": ["mixture"], "claimed": [claimed]}))
    described = pd.DataFrame({"subject": subjects, "age": age, "site": "a", "diagnosis": "", "family": ""})
    write_table(folder / "people.tsv", described)
    codes = pd.DataFrame({"subject": subjects, "z0001": generator.normal(size=PEOPLE)})
    write_table(folder / "codes.tsv", codes, {}, Removed=["age"], Sites=None, Splines=1)
    given = {"regions": None, "names": None}
    if atlas:
        regions = np.zeros(SHAPE, np.int32)
        regions[PLANTED] = 7
        regions[8:10, 8:12, 4:7] = 9
        write_image(folder / "regions.nii.gz", regions, Grid(SHAPE, AFFINE), np.int32)
        write_table(
            folder / "regions.tsv", pd.DataFrame({"region": [7, 9], "name": ["<img onerror=x>", "elsewhere"]})
        )
        given = {"regions": folder / "regions.nii.gz", "names": folder / "regions.tsv"}
    return {
        "volumes": [folder / "jac.npy", folder / "ndi.npy"],
        **{name: folder / f"{name}.tsv" for name in ("clusters", "existence", "codes", "people")},
        "mask": folder / "mask.nii.gz",
        "maps": folder / "maps",
        "output": folder / "maps.tsv",
        "places": folder / "places.tsv",
        "settings": {"confidence": 0.95, "seed": 1},
        **given,
    }


def image(folder: Path, stratum: int, modality: str, kind: str) -> np.ndarray:
    return np.asarray(nibabel.load(folder / "maps" / map_file(stratum, modality, kind)).dataobj)


def test_planted_effects_are_found_where_they_were_planted(tmp_path: Path) -> None:
    map_strata(**write_study(tmp_path, atlas=True))
    for modality, where, size in (("jac", PLANTED, 2.0), ("ndi", PLANTED_NDI, -2.0)):
        effect = image(tmp_path, 1, modality, "effectadjusted")
        peak = np.unravel_index(np.argmax(np.abs(effect)), SHAPE)
        assert all(part.start <= index < part.stop for part, index in zip(where, peak, strict=True))
        assert np.sign(effect[peak]) == np.sign(size)
        assert effect[where].mean() == pytest.approx(size, rel=0.1)
        # with two strata each is the other's opposite
        np.testing.assert_allclose(image(tmp_path, 2, modality, "effectadjusted"), -effect, atol=1e-5)
        assert not effect[0].any()
        # the array has 7 outside the mask
        assert image(tmp_path, 1, modality, "mean").max() < 2
        assert image(tmp_path, 1, modality, "sd")[where].mean() == pytest.approx(0.108, abs=0.01)
    table = read_table(tmp_path / "maps.tsv")
    assert table[["n", "n_others"]].to_numpy().tolist() == [[35, 24], [24, 35], [35, 19], [19, 35]]
    places = read_table(tmp_path / "places.tsv", text=("name",))
    first = places[(places["kind"] == "place") & (places["stratum"] == 1)].groupby("modality").first()
    assert first.loc["jac", "voxels"] >= 27
    assert first.loc["jac", "peak"] > 1.5
    assert first.loc["jac", "name"] == "<img onerror=x>"
    spot = np.linalg.inv(AFFINE) @ [*first.loc["ndi", ["x_mm", "y_mm", "z_mm"]].astype(float), 1]
    assert all(
        part.start <= index < part.stop for part, index in zip(PLANTED_NDI, np.rint(spot[:3]), strict=True)
    )
    assert places["x_mni"].isna().all()
    facts = json.loads((tmp_path / "maps.json").read_text())
    assert (facts["AdjustedFor"], facts["Reason"], leading_kind(facts)) == (["age"], None, "effectadjusted")


def test_regions_of_an_atlas_have_their_effect_and_interval(tmp_path: Path) -> None:
    given = write_study(tmp_path, atlas=True)
    map_strata(**given)
    places = read_table(tmp_path / "places.tsv", text=("name",))
    row = places[
        (places["kind"] == "region") & (places["stratum"] == 1) & (places["modality"] == "jac")
    ].set_index("region")
    array = np.load(tmp_path / "jac.npy")[:59].astype(float)
    means = array[(slice(None), *PLANTED)].mean(axis=(1, 2, 3))
    stratum = np.repeat([True, False], [35, 24])
    assert row.loc[7, "effect_unadjusted"] == pytest.approx(
        plain_g(means[stratum, None], means[~stratum, None])[0], rel=1e-3
    )
    assert row.loc[7, "effect_low"] < row.loc[7, "effect"] < row.loc[7, "effect_high"]
    assert row.loc[7, "effect_low"] > 1
    assert row.loc[9, "effect_low"] < 0 < row.loc[9, "effect_high"]


def test_intervals_of_regions_have_the_spreads_of_the_stratum_and_of_the_others(tmp_path: Path) -> None:
    given = write_study(tmp_path, atlas=True)
    (tmp_path / "codes.json").write_text("{}")
    array = np.load(tmp_path / "jac.npy")
    array[:35] = 1 + 3 * (array[:35] - 1)
    np.save(tmp_path / "jac.npy", array)
    map_strata(**given)
    places = read_table(tmp_path / "places.tsv", text=("name",))
    row = places[(places["kind"] == "region") & (places["stratum"] == 1) & (places["modality"] == "jac")]
    row = row.set_index("region").loc[7]
    means = array[(slice(None, 59), *PLANTED)].astype(float).mean(axis=(1, 2, 3))
    own, rest = means[:35].var(ddof=1), means[35:].var(ddof=1)
    pooled = (34 * own + 23 * rest) / 57
    ends = effect_interval(np.array([row["effect"]]), 35, 24, 0.95, own / pooled, rest / pooled)
    assert row[["effect_low", "effect_high"]].to_numpy(float) == pytest.approx(np.ravel(ends), rel=1e-3)
    assert own > 4 * rest


def test_the_raw_codes_effects_are_not_adjusted(tmp_path: Path) -> None:
    given = write_study(tmp_path)
    (tmp_path / "codes.json").write_text("{}")
    map_strata(**given)
    assert not (tmp_path / "maps" / map_file(1, "jac", "effectadjusted")).exists()
    assert read_table(tmp_path / "maps.tsv")["adjusting_correlation"].isna().all()


def test_sites_are_removed_as_their_means(tmp_path: Path) -> None:
    given = write_study(tmp_path)
    people = read_table(tmp_path / "people.tsv", text=("subject", "site"))
    people["site"] = np.where(np.arange(PEOPLE) % 3 == 0, "1", "2")
    write_table(tmp_path / "people.tsv", people)
    array = np.load(tmp_path / "jac.npy")
    array[(people["site"] == "1").to_numpy()] += 5
    np.save(tmp_path / "jac.npy", array)
    facts = json.loads((tmp_path / "codes.json").read_text()) | {"Sites": "site"}
    (tmp_path / "codes.json").write_text(json.dumps(facts))
    map_strata(**given)
    assert image(tmp_path, 1, "jac", "effectadjusted")[PLANTED].mean() == pytest.approx(2.0, rel=0.15)
    assert abs(image(tmp_path, 1, "jac", "effect")[PLANTED].mean()) < 0.3
    said = json.loads((tmp_path / "maps.json").read_text())
    assert (said["AdjustedFor"], said["SitesAsMeans"]) == (["age", "site"], "site")


def test_coordinates_in_mni_space(tmp_path: Path) -> None:
    given = write_study(tmp_path)
    affine = np.diag([1.1, 1.0, 0.9, 1.0])
    affine[:3, 3] = [1, 2, 3]
    write_affine(tmp_path / "a.mat", affine)
    write_displacement(
        tmp_path / "u.nii.gz", Displacement(np.full((*SHAPE, 3), 2, np.float32), Grid(SHAPE, AFFINE))
    )
    map_strata(**given, affine=tmp_path / "a.mat", warp=tmp_path / "u.nii.gz")
    row = read_table(tmp_path / "places.tsv").iloc[0]
    expected = affine[:3, :3] @ (row[["x_mm", "y_mm", "z_mm"]].to_numpy(float) + 2) + affine[:3, 3]
    np.testing.assert_allclose(row[["x_mni", "y_mni", "z_mni"]].to_numpy(float), expected, atol=1e-3)


def test_where_no_strata_exist_nothing_is_mapped(tmp_path: Path) -> None:
    map_strata(**write_study(tmp_path, claimed="no"))
    assert list((tmp_path / "maps").iterdir()) == []
    assert read_table(tmp_path / "maps.tsv").empty
    assert read_table(tmp_path / "places.tsv").empty
    assert "no strata were found" in json.loads((tmp_path / "maps.json").read_text())["Reason"]


def test_one_cluster_is_not_mapped(tmp_path: Path) -> None:
    given = write_study(tmp_path)
    clusters = read_table(given["clusters"], text=("subject",)).assign(cluster=1)
    write_table(given["clusters"], clusters, {})
    map_strata(**given)
    assert list((tmp_path / "maps").iterdir()) == []
    assert json.loads((tmp_path / "maps.json").read_text())["Reason"] == "everybody is in one cluster"


def test_the_first_of_many_strata_are_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "MOST_STRATA", 1)
    map_strata(**write_study(tmp_path))
    assert set(read_table(tmp_path / "maps.tsv")["stratum"]) == {1}
    assert not list((tmp_path / "maps").glob("stratum-2_*"))
    assert json.loads((tmp_path / "maps.json").read_text())["StrataNotMapped"] == [2]


def test_ages_are_removed_with_as_many_splines_as_from_the_codes(tmp_path: Path) -> None:
    given = write_study(tmp_path)
    maps = {}
    for number, splines in enumerate((1, 3, {"age": 3})):
        codes = read_table(given["codes"], text=("subject",))
        write_table(given["codes"], codes, {}, Removed=["age"], Sites=None, Splines=splines)
        map_strata(**given)
        maps[number] = image(tmp_path, 1, "jac", "effectadjusted").copy()
    assert np.abs(maps[0] - maps[1]).max() > 0.01
    np.testing.assert_array_equal(maps[1], maps[2])


def test_people_are_read_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, sizes = write_study(tmp_path), []
    add = effects.StrataSums.add
    monkeypatch.setattr(
        effects.StrataSums,
        "add",
        lambda self, person, values: (sizes.append(values.shape), add(self, person, values))[1],
    )
    map_strata(**given)
    assert set(sizes) == {(960,)}
    assert len(sizes) == 59 + 54
