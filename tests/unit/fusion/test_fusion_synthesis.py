"""Measures, baselines and comparisons of synthesised modalities, and the stages that write them."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from fusion_toy import toy_mask, toy_settings, toy_volumes
from scipy import stats
from scipy.ndimage import gaussian_filter
from torchmetrics.functional.image import structural_similarity_index_measure

from neurostrata.core.config import section_defaults
from neurostrata.core.errors import UserError
from neurostrata.core.tables import read_table
from neurostrata.fusion import commands
from neurostrata.fusion.data.volumes import VolumeSet, open_volumes
from neurostrata.fusion.evaluation import synthesis_baselines
from neurostrata.fusion.evaluation.commands import summarise_synthesis, synthesise
from neurostrata.fusion.evaluation.synthesis import (
    COLUMNS,
    compare_methods,
    evaluate_synthesis,
    example_syntheses,
    global_similarity,
    input_subsets,
    measure,
    off_plane_ratio,
    only,
    paired_t,
    tasks,
)
from neurostrata.fusion.evaluation.synthesis_baselines import (
    MeanImage,
    build_baseline,
    in_units_of_mean,
    intensities,
    multiscale_patches,
    neighbourhood,
    patches_and_position,
    smoothed_copies,
)
from neurostrata.fusion.models.registry import build_model

torch.set_num_threads(1)
NAMES = ("t1", "t2", "flair")
SIDE = 12
OPTIONS = {
    "inputs": ["t1", "t2"],
    "outputs": ["flair"],
    "channels": [4, 4, 4],
    "decoder_channels": 4,
    "latent_channels": 2,
    "code_grid": [2, 2, 2],
}
QUICK = {**section_defaults("synthesis"), "voxels": 1500, "trees": 5, "hidden": [8]}


def settings(**options):
    given = toy_settings("latent_synthesis", NAMES, {**OPTIONS, **options}, epochs=1, batch_size=2)
    return {**given, "synthesis": QUICK}


def untrained(shape=(SIDE,) * 3, names=NAMES, **options):
    return build_model("latent_synthesis", settings(**options)["experiment"]["options"], names, shape, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight people; flair is 1 + 2 t1 - t2 / 2 inside the brain, without noise of its own."""
    root = tmp_path_factory.mktemp("volumes")
    paths = toy_volumes(root, people=8, side=SIDE, modalities=NAMES)
    arrays = [np.load(path) for path in paths]
    np.save(paths[2], (1 + 2 * arrays[0] - arrays[1] / 2).astype(np.float32))
    return root


def people(folder, drop=()):
    opened = open_volumes([folder / f"{name}.npy" for name in NAMES], NAMES)
    for subject, modality in drop:
        opened[NAMES.index(modality)].row.pop(subject)
    limits = {"t1": (-1, 3), "t2": (-2, 6), "flair": (-2, 6)}
    scaling = {name: {"low": float(low), "high": float(high)} for name, (low, high) in limits.items()}
    return VolumeSet(opened, opened[0].info["subjects"], scaling, incomplete=True)


# ------------------------------------------------------------------------------------ measures


def test_measures_by_hand():
    real = np.zeros((4, 4, 4))
    real[1:3, 1:3, 1:3] = 8.0
    decoded = real.copy()
    decoded[1, 1, 1] = 6.0
    values = measure(real, decoded, "axial")
    assert values["mse"] == pytest.approx(4 / 64)
    assert values["psnr"] == pytest.approx(10 * np.log10(64 / (4 / 64)))
    # Neighbours along z: 2 x 4 steps of 8, of which one is 6 in the decoded image and one more is 2.
    assert values["off_plane"] == pytest.approx((8 * 8 - 2 + 2) / 64)
    assert np.isnan(measure(real, real, "axial")["psnr"])


def test_the_global_ssim_is_the_papers_formula():
    random = np.random.default_rng(1)
    a, b = random.random((5, 6, 7)) * 3, random.random((5, 6, 7)) * 3
    c1, c2 = (0.01 * a.max()) ** 2, (0.03 * a.max()) ** 2
    covariance = np.cov(a.ravel(), b.ravel(), ddof=0)
    expected = (2 * a.mean() * b.mean() + c1) * (2 * covariance[0, 1] + c2)
    expected /= (a.mean() ** 2 + b.mean() ** 2 + c1) * (covariance[0, 0] + covariance[1, 1] + c2)
    assert global_similarity(a, b) == pytest.approx(expected)
    assert global_similarity(a, a) == pytest.approx(1)
    assert global_similarity(a, b) < 0.99


def test_the_windowed_ssim_is_torchmetrics():
    random = np.random.default_rng(2)
    real = random.random((14, 15, 13)) * 4
    decoded = real + 0.5 * random.random(real.shape)
    expected = structural_similarity_index_measure(
        torch.from_numpy(decoded)[None, None],
        torch.from_numpy(real)[None, None],
        data_range=float(real.max()),
    )
    assert measure(real, decoded, "axial")["ssim_windowed"] == pytest.approx(float(expected), abs=1e-3)


def test_off_plane_consistency_sees_jitter_between_slices_of_the_plane_only():
    x = np.linspace(0, 1, 10)
    real = np.broadcast_to(x[:, None, None] + x[None, :, None] + x, (10, 10, 10))
    jitter = real + 0.2 * (np.arange(10) % 2)  # every other axial slice is brighter
    assert off_plane_ratio(real, real, "axial") == pytest.approx(1)
    assert off_plane_ratio(real, jitter, "coronal") == pytest.approx(1)
    # Steps of 1/9 become 1/9 + 0.2 and 0.2 - 1/9, five and four times.
    expected = (5 * (1 / 9 + 0.2) + 4 * (0.2 - 1 / 9)) / 9 * 9
    assert off_plane_ratio(real, jitter, "axial") == pytest.approx(expected)
    assert off_plane_ratio(real, np.full_like(real, 0.5), "axial") == 0
    assert np.isnan(off_plane_ratio(np.ones((3, 3, 3)), real[:3, :3, :3], "axial"))


# ------------------------------------------------------------------------------------ features


def test_neighbourhoods_stop_at_the_border():
    volume = np.arange(4 * 5 * 6, dtype=np.float32).reshape(1, 4, 5, 6)
    values = neighbourhood(volume, np.array([[1, 2, 3], [0, 0, 0]]))
    np.testing.assert_array_equal(values[0].reshape(3, 3, 3), volume[0, 0:3, 1:4, 2:5])
    corner = volume[0][np.ix_([0, 0, 1], [0, 0, 1], [0, 0, 1])]
    np.testing.assert_array_equal(values[1].reshape(3, 3, 3), corner)
    wide = neighbourhood(volume, np.array([[1, 2, 3]]), step=2)[0].reshape(3, 3, 3)
    np.testing.assert_array_equal(wide, volume[0][np.ix_([0, 1, 3], [0, 2, 4], [1, 3, 5])])


def test_features_of_two_inputs():
    random = np.random.default_rng(3)
    volumes = random.random((2, 6, 6, 6)).astype(np.float32)
    voxels = np.array([[2, 3, 4], [0, 5, 0]])
    assert intensities(volumes, voxels).tolist() == [
        volumes[:, 2, 3, 4].tolist(),
        volumes[:, 0, 5, 0].tolist(),
    ]
    patches = multiscale_patches(smoothed_copies(volumes), voxels)
    assert patches.shape == (2, 2 * 3 * 27)
    np.testing.assert_array_equal(patches[:, :54], neighbourhood(volumes, voxels))
    smooth = gaussian_filter(volumes[1], 2)
    np.testing.assert_array_equal(patches[:, 135:], neighbourhood(smooth[None], voxels, step=4))
    positioned = patches_and_position(volumes, voxels)
    np.testing.assert_allclose(positioned[:, -3:], [[-0.2, 0.2, 0.6], [-1, 1, -1]], atol=1e-6)


# ----------------------------------------------------------------------------------- baselines


def test_the_mean_image_is_that_of_the_training_people_in_units_of_their_means(folder):
    four = people(folder).subset(range(4))
    mean = MeanImage().fit(four, [0], 2, toy_mask(SIDE)).predict(np.zeros((1, SIDE, SIDE, SIDE)))
    expected = np.mean([four[i][2] / four[i][2].mean() for i in range(4)], axis=0)
    np.testing.assert_allclose(mean, expected, rtol=1e-4, atol=1e-6)


def test_linear_regression_finds_the_planted_line(folder):
    """Within a person flair is linear in t1 and t2; units of means move its slopes a little from person to person."""
    everybody, mask = people(folder), toy_mask(SIDE)
    both = build_baseline("linear_regression", QUICK, 1).fit(everybody.subset([0]), [0, 1], 2, mask)
    volumes = everybody[0]
    predicted = both.predict(np.stack([in_units_of_mean(volumes[i]) for i in (0, 1)]))
    np.testing.assert_allclose(predicted, in_units_of_mean(volumes[2]), atol=1e-4)
    one = build_baseline("linear_regression", QUICK, 1).fit(everybody.subset([0]), [1], 2, mask)
    alone = one.predict(in_units_of_mean(volumes[1])[None])
    assert np.abs(alone - in_units_of_mean(volumes[2])).max() > 0.05
    assert (predicted[~mask] == 0).all()


@pytest.mark.parametrize("name", ["random_forest", "position_mlp"])
def test_learned_baselines_beat_the_mean_image_and_repeat_themselves(folder, name):
    everybody, mask = people(folder), toy_mask(SIDE)
    learned = everybody.subset(range(6))
    volumes = everybody[7]
    given = np.stack([in_units_of_mean(volumes[i]) for i in (0, 1)])
    real = in_units_of_mean(volumes[2])
    richer = {**QUICK, "voxels": 6000, "hidden": [60, 20]} if name == "position_mlp" else QUICK
    first, again = (
        build_baseline(name, richer, 1).fit(learned, [0, 1], 2, mask).predict(given) for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)
    mean = MeanImage().fit(learned, [0, 1], 2, mask).predict(given)
    assert np.mean((first - real) ** 2) < 0.6 * np.mean((mean - real) ** 2)


def test_methods_on_voxels_learn_from_a_limited_number_of_people(folder, monkeypatch):
    monkeypatch.setattr(synthesis_baselines, "MOST_PEOPLE", 2)
    everybody, read = people(folder), []
    get = VolumeSet.__getitem__
    monkeypatch.setattr(VolumeSet, "__getitem__", lambda self, index: read.append(index) or get(self, index))
    build_baseline("linear_regression", QUICK, 1).fit(everybody, [0], 2, toy_mask(SIDE))
    assert len(set(read)) == len(read) == 2


def test_more_voxels_than_are_predicted_at_once_are_all_predicted(folder, monkeypatch):
    everybody, mask = people(folder), toy_mask(SIDE)
    line = build_baseline("linear_regression", QUICK, 1).fit(everybody.subset(range(3)), [0, 1], 2, mask)
    given = np.stack([in_units_of_mean(everybody[7][i]) for i in (0, 1)])
    whole = line.predict(given)
    rows = given[:, mask].T @ line.regressor.coef_ + line.regressor.intercept_
    np.testing.assert_allclose(whole[mask], rows, atol=1e-5)
    monkeypatch.setattr(synthesis_baselines, "VOXELS_AT_ONCE", 7)
    np.testing.assert_allclose(line.predict(given), whole, atol=1e-6)


def test_the_perceptron_is_the_papers_with_adam_and_early_stopping():
    scaled = build_baseline("position_mlp", {**QUICK, "hidden": [400, 40]}, 9).regressor
    network = scaled[-1].get_params()
    assert type(scaled[0]).__name__ == "StandardScaler"
    assert (network["hidden_layer_sizes"], network["solver"], network["early_stopping"]) == (
        (400, 40),
        "adam",
        True,
    )
    assert network["random_state"] == 9
    forest = build_baseline("random_forest", {**QUICK, "trees": 60}, 9).regressor.get_params()
    assert (forest["n_estimators"], forest["min_samples_leaf"], forest["random_state"]) == (60, 5, 9)
    assert forest["max_features"] == pytest.approx(1 / 3)


def test_a_baseline_nobody_knows():
    with pytest.raises(UserError, match="'magic' is none of mean_image"):
        build_baseline("magic", QUICK, 1)


# ---------------------------------------------------------------------------------- evaluation


def test_subsets_and_tasks():
    assert input_subsets(["a", "b", "c"], 4) == [
        ("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c"), ("a", "b", "c"),
    ]  # fmt: skip
    assert [len(s) for s in input_subsets(list("abcde"), 4)] == [1] * 5 + [4] * 5 + [5]
    assert tasks(untrained(), 4) == [(("t1",), "flair"), (("t2",), "flair"), (("t1", "t2"), "flair")]
    # A modality is never synthesised from itself.
    everything = tasks(untrained(inputs=None, outputs=None), 4)
    assert len(everything) == 9
    assert all(output not in given for given, output in everything)
    with pytest.raises(UserError, match="'t1' is the only input and the only output"):
        tasks(untrained(inputs=["t1"], outputs=["t1"]), 4)


def test_the_table_has_a_row_per_person_task_and_method_and_the_model_sees_its_inputs_only(folder):
    everybody, mask, model = people(folder), toy_mask(SIDE), untrained()
    torch.nn.init.ones_(model.network.decoders["2"].last.bias)
    seen = []
    whole = model.synthesise
    model.synthesise = lambda volumes: (
        seen.append(~np.isnan(volumes[0]).any(axis=(1, 2, 3))) or whole(volumes)
    )
    quick = {**QUICK, "baselines": ["mean_image", "linear_regression"]}
    table = evaluate_synthesis(
        model, everybody.subset(range(6)), everybody.subset([6, 7]), mask, "0", quick, seed=1
    )
    assert list(table.columns) == list(COLUMNS)
    assert len(table) == 2 * 3 * 3
    assert not table.duplicated(["subject", "method", "inputs", "output"]).any()
    assert [s.tolist() for s in seen[::2]] == [
        [True, False, False],
        [False, True, False],
        [True, True, False],
    ]
    row = table.query("method == 'latent_synthesis' and inputs == 't1+t2' and subject == '07'").iloc[0]
    volumes = everybody[6]
    real = volumes[2] / volumes[2].mean()
    image = np.where(mask, whole(only(volumes, [0, 1])[None])[0, 2], 0)
    assert row["mse"] == pytest.approx(float(np.mean((image - real) ** 2)), rel=1e-4)
    assert row["psnr"] == pytest.approx(10 * np.log10(real.max() ** 2 / row["mse"]), rel=1e-4)


def test_people_without_an_input_or_the_output_are_left_out_of_a_task(folder):
    everybody = people(folder, drop=[("07", "t1"), ("08", "flair"), ("01", "t2")])
    quick = {**QUICK, "baselines": ["mean_image"]}
    table = evaluate_synthesis(
        untrained(), everybody.subset([0, 1]), everybody.subset([5, 6, 7]), toy_mask(SIDE), "0", quick, 1
    )
    found = table.groupby("inputs")["subject"].unique().map(sorted).to_dict()
    assert found == {"t1": ["06"], "t2": ["06", "07"], "t1+t2": ["06"]}
    assert np.isfinite(table["mse"]).all()
    # Who lacks t2 teaches tasks without it only: subject 01 alone has other errors.
    alone = evaluate_synthesis(
        untrained(), everybody.subset([0]), everybody.subset([5]), toy_mask(SIDE), "0", quick, 1
    )
    assert set(alone[alone["inputs"] == "t2"]["method"]) == {"latent_synthesis"}
    assert set(alone[alone["inputs"] == "t1"]["method"]) == {"latent_synthesis", "mean_image"}


# --------------------------------------------------------------------------------- comparisons


def test_examples_show_real_and_synthesised_slices_of_each_task(folder):
    """Of a model that gives 2 for t2 and 3 for flair, whatever it is given; NaN where a person lacks the inputs."""
    some, mask = people(folder, drop=[("02", "t1"), ("03", "flair")]), toy_mask(SIDE)
    seen = []

    def synthesise(volumes):
        seen.append(~np.isnan(volumes[0, :, 0, 0, 0]))
        return np.arange(1.0, 4.0)[None, :, None, None, None] * np.ones((1, 3, SIDE, SIDE, SIDE))

    model = SimpleNamespace(
        name="toy", inputs=["t1", "t2"], outputs=["t2", "flair"], always_given=[], synthesise=synthesise
    )
    shown = example_syntheses(model, some, mask, 4)
    pairs = [("t1", "t2"), ("t1", "flair"), ("t2", "flair"), ("t1+t2", "flair")]
    assert list(zip(shown["inputs"].tolist(), shown["output"].tolist())) == pairs
    assert shown["subjects"].tolist() == ["01", "02", "03"]
    assert shown["planes"].tolist() == ["sagittal", "coronal", "axial"]
    assert shown["modalities"].tolist() == list(NAMES)
    assert shown["real"].shape == (3, 3, 3, SIDE, SIDE)
    centre = shown["centre"]
    for person, modality in ((0, 0), (0, 2), (1, 1)):
        image = in_units_of_mean(some[person][modality])
        np.testing.assert_array_equal(shown["real"][person, modality, 2], image[:, :, centre[2]])
    assert np.isnan(shown["real"][1, 0]).all()
    assert shown["synthesised"].shape == (3, 4, 3, SIDE, SIDE)
    for task, (inputs, output) in enumerate(pairs):
        wanted = np.where(mask, 2.0 if output == "t2" else 3.0, 0)[centre[0]]
        np.testing.assert_array_equal(shown["synthesised"][0, task, 0], wanted)
        assert np.isnan(shown["synthesised"][1, task]).all() == ("t1" in inputs)
    # a person is never shown what is to be synthesised
    assert [tuple(had.tolist()) for had in seen[:4]] == [
        (True, False, False),
        (True, False, False),
        (False, True, False),
        (True, True, False),
    ]


#: Nobody has relatives.
ALONE = {str(person): "" for person in range(100)}


def comparison_table(gaps, people=6):
    """The model's error is 1, each baseline's 1 plus a gap plus a person's own part."""
    random = np.random.default_rng(4)
    rows = []
    for subject in range(people):
        for inputs in ("t1", "t1+t2"):
            for method, gap in {"model": 0.0, **gaps}.items():
                value = 1 + gap + 0.1 * random.normal()
                rows.append([str(subject), "0", method, inputs, "flair", value, *[value] * 3, 1.0])
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_paired_tests_with_holms_correction_by_hand():
    table = comparison_table({"forest": 0.6, "mean": 0.01})
    result = compare_methods(table, "model", ALONE)
    errors = result[result["measure"] == "mse"].reset_index(drop=True)
    assert len(result) == 4 * 2 * 2
    assert len(errors) == 4
    expected = []
    for _, row in errors.iterrows():
        part = table[table["inputs"] == row["inputs"]].pivot(index="subject", columns="method", values="mse")
        expected.append(stats.ttest_rel(part["model"], part[row["baseline"]]).pvalue)
    np.testing.assert_allclose(errors["p"], expected)
    # Holm: the smallest p times 4, the next times 3, never less than the one before.
    order = np.argsort(expected)
    corrected = np.minimum(1, np.maximum.accumulate(np.array(expected)[order] * [4, 3, 2, 1]))
    np.testing.assert_allclose(errors["p_holm"].to_numpy()[order], corrected)
    forest = errors[errors["baseline"] == "forest"]
    assert forest["better"].all()
    assert (forest["difference"] < 0).all()
    assert (forest["p_holm"] < 0.05).all()
    # More similarity is better, so the same numbers are worse there.
    similar = result[(result["measure"] == "ssim") & (result["baseline"] == "forest")]
    assert not similar["better"].any()


def test_a_comparison_is_of_the_people_who_have_both_values():
    """A baseline without training people for a task has no rows there, and somebody may lack a value."""
    table = comparison_table({"forest": 0.3, "mean": 0.1}, people=8)
    table = table[(table["method"] != "forest") | (table["inputs"] != "t1+t2")].reset_index(drop=True)
    lacking = (table["method"] == "model") & (table["subject"] == "3")
    table.loc[lacking & (table["inputs"] == "t1"), "psnr"] = np.nan
    result = compare_methods(table, "model", ALONE)
    tasks = set(zip(result["inputs"], result["baseline"]))
    assert tasks == {("t1", "forest"), ("t1", "mean"), ("t1+t2", "mean")}
    rows = result.set_index(["inputs", "baseline", "measure"])
    assert rows.loc[("t1", "forest", "psnr"), "n"] == 7
    assert rows.loc[("t1", "forest", "mse"), "n"] == 8
    wide = table[table["inputs"] == "t1"].pivot(index="subject", columns="method", values="psnr").dropna()
    row = rows.loc[("t1", "forest", "psnr")]
    assert (row["mean"], row["mean_baseline"]) == pytest.approx((wide["model"].mean(), wide["forest"].mean()))
    assert row["difference"] == pytest.approx((wide["model"] - wide["forest"]).mean())
    assert row["t"] == pytest.approx(stats.ttest_rel(wide["model"], wide["forest"]).statistic)
    assert row["output"] == "flair"
    assert row["method"] == "model"


def test_relatives_count_together():
    """Differences of relatives that are alike are those of fewer people; of nothing, 5% of p-values are below 0.05."""
    table = comparison_table({"forest": 0.3}, people=12)
    twice = pd.concat([table, table.assign(subject=table["subject"] + "b")], ignore_index=True)
    twins = {str(i): f"f{i}" for i in range(12)} | {f"{i}b": f"f{i}" for i in range(12)}
    alone, both = compare_methods(table, "model", ALONE), compare_methods(twice, "model", twins)
    np.testing.assert_allclose(both[["t", "p"]], alone[["t", "p"]])
    assert (both["n"] == 24).all()
    random = np.random.default_rng(8)
    family = np.repeat(np.arange(30), 3)
    alarms = [
        paired_t(random.standard_normal(30)[family] + random.standard_normal(90), family)[1] <= 0.05
        for _ in range(1000)
    ]
    assert 0.03 < np.mean(alarms) < 0.07
    # relatives in one family only: nothing varies between families
    assert compare_methods(twice, "model", dict.fromkeys(twins, "f"))["p"].isna().all()


def test_what_cannot_be_tested_has_no_p():
    alone = compare_methods(comparison_table({"mean": 0.1}, people=1), "model", ALONE)
    assert alone["p"].isna().all()
    assert alone["p_holm"].isna().all()
    assert (alone["n"] == 1).all()
    table = comparison_table({"mean": 0.1}, people=3)
    table["mse"] = np.where(table["method"] == "model", 1.0, 2.0)
    result = compare_methods(table, "model", ALONE)
    assert result[result["measure"] == "mse"]["p"].isna().all()
    assert result[result["measure"] == "psnr"]["p_holm"].notna().all()


# -------------------------------------------------------------------------------------- stages


def test_the_stages(folder, tmp_path):
    given = {**settings(), "synthesis": {**QUICK, "voxels": 300, "trees": 2, "hidden": [4]}}
    volumes = [folder / f"{name}.npy" for name in NAMES]
    shared = {"volumes": volumes, "mask": folder / "mask.nii.gz", "splits": tmp_path / "splits.tsv"}
    commands.split(subjects=folder / "subjects.tsv", output=shared["splits"], settings=given)
    for fold in ("0", "1"):
        made = {"model": tmp_path / fold / "model", "limits": tmp_path / fold / "limits.json"}
        commands.train(
            **shared,
            **made,
            fold=fold,
            history=tmp_path / fold / "history.tsv",
            checkpoints=tmp_path / fold / "checkpoints",
            settings=given,
        )
        outputs = {"output": tmp_path / fold / "synthesis.tsv", "examples": tmp_path / fold / "examples.npz"}
        synthesise(**shared, **made, **outputs, fold=fold, settings=given)
    summary = {"output": tmp_path / "synthesis.tsv", "comparisons": tmp_path / "comparisons.tsv"}
    tables = [tmp_path / fold / "synthesis.tsv" for fold in ("0", "1")]
    summarise_synthesis(tables=tables, people=folder / "subjects.tsv", **summary, settings=given)
    table = read_table(summary["output"], text=("subject", "fold"))
    methods = {"latent_synthesis", "mean_image", "linear_regression", "random_forest", "position_mlp"}
    assert set(table["method"]) == methods
    assert len(table) == 8 * 3 * 5
    assert sorted(table["subject"].unique()) == [f"{i:02d}" for i in range(1, 9)]
    comparisons = read_table(summary["comparisons"])
    assert len(comparisons) == 4 * 3 * 4
    assert (comparisons["n"] == 8).all()
    sidecar = json.loads((tmp_path / "0" / "synthesis.json").read_text())
    assert set(sidecar["Columns"]) == set(table.columns)
    assert (sidecar["Inputs"], sidecar["Outputs"], sidecar["Fold"]) == (["t1", "t2"], ["flair"], "0")
    with np.load(tmp_path / "0" / "examples.npz", allow_pickle=False) as examples:
        assert examples["real"].shape == (3, 3, 3, SIDE, SIDE)
        assert examples["synthesised"].shape == (3, 3, 3, SIDE, SIDE)
        assert examples["inputs"].tolist() == ["t1", "t2", "t1+t2"]
        assert np.isfinite(examples["synthesised"]).all()


def test_only_models_that_synthesise(folder, tmp_path):
    given = {**toy_settings("pca", NAMES), "synthesis": QUICK}
    volumes = [folder / f"{name}.npy" for name in NAMES]
    shared = {
        "volumes": volumes,
        "mask": folder / "mask.nii.gz",
        "splits": tmp_path / "splits.tsv",
        "fold": "0",
    }
    commands.split(subjects=folder / "subjects.tsv", output=shared["splits"], settings=given)
    made = {"model": tmp_path / "model", "limits": tmp_path / "limits.json"}
    extra = {"history": tmp_path / "history.tsv", "checkpoints": tmp_path / "checkpoints"}
    commands.train(**shared, **made, **extra, settings=given)
    with pytest.raises(UserError, match="'pca' does not synthesise"):
        synthesise(**shared, **made, output=tmp_path / "s.tsv", examples=tmp_path / "e.npz", settings=given)
