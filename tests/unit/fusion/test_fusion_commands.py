"""The stages in a row, on files, as the workflow calls them."""

import json
import shutil
from types import SimpleNamespace

import nibabel
import numpy as np
import pandas as pd
import pytest
from fusion_toy import toy_settings, toy_volumes

from neurostrata import cli
from neurostrata.core.config import check_config, read_configuration
from neurostrata.core.errors import UserError
from neurostrata.core.locations import DEFAULT_CONFIG, REPOSITORY
from neurostrata.core.tables import read_table
from neurostrata.fusion.commands import embed, split, summarise_experiment, train
from neurostrata.fusion.evaluation.commands import evaluate
from neurostrata.fusion.evaluation.reconstruction import middle_slices
from neurostrata.fusion.models import bundle
from neurostrata.fusion.models.bundle import load_bundle, people_digest, save_bundle
from neurostrata.fusion.models.registry import build_model
from neurostrata.planning.options import used_options

SPECIFIED = [
    "subject", "fold", "method", "modality", "mse", "normdiff", "abs_normdiff", "cnr_normdiff", "ssim", "psnr",
]  # fmt: skip


def stages(root, volumes, settings, fold):
    """Train, embed and, when there are test people, evaluate one fold."""
    base = root / "experiment"
    folder = base / f"fold-{fold}"
    shared = {"volumes": volumes, "splits": base / "splits.tsv", "fold": fold, "settings": settings}
    made = {"model": folder / "model", "limits": folder / "limits.json"}
    mask = volumes[0].parent / "mask.nii.gz"
    train(**shared, **made, mask=mask, history=folder / "history.tsv", checkpoints=folder / "checkpoints")
    embed(**shared, **made, output=folder / "embeddings.tsv")
    if fold != "all":
        evaluate(
            **shared,
            **made,
            mask=mask,
            output=folder / "reconstruction.tsv",
            examples=folder / "examples.npz",
        )


def run_chain(root, volumes, settings, folds=("0", "all")):
    base = root / "experiment"
    split(subjects=volumes[0].parent / "subjects.tsv", output=base / "splits.tsv", settings=settings)
    for fold in folds:
        stages(root, volumes, settings, fold)
    summarise_experiment(
        folds=[base / f"fold-{fold}" for fold in folds if fold != "all"],
        final=base / "fold-all",
        reconstruction=base / "reconstruction.tsv",
        embeddings=base / "embeddings.tsv",
        model=base / "model",
        settings=settings,
    )
    return base


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
    root = tmp_path_factory.mktemp("autoencoder")
    volumes = toy_volumes(root / "volumes", people=8)
    settings = toy_settings(options={"skip_connections": False}, epochs=1, batch_size=4)
    return SimpleNamespace(base=run_chain(root, volumes, settings), volumes=volumes, settings=settings)


@pytest.fixture(scope="module")
def pca(tmp_path_factory):
    root = tmp_path_factory.mktemp("pca")
    volumes = toy_volumes(root / "volumes", people=9, side=16)
    settings = toy_settings("pca")
    return SimpleNamespace(
        base=run_chain(root, volumes, settings, ("0", "1", "all")), volumes=volumes, settings=settings
    )


def test_the_chain_of_the_autoencoder(autoencoder):
    base = autoencoder.base
    splits = read_table(base / "splits.tsv", text=("subject", "fold"))
    test = splits[(splits["fold"] == "0") & (splits["role"] == "test")]["subject"]
    table = read_table(base / "reconstruction.tsv")
    assert list(table.columns)[: len(SPECIFIED)] == SPECIFIED
    assert set(table["method"]) == {"separable_autoencoder", "mean_image", "pca"}
    assert len(table) == len(test) * 2 * 3
    assert set(table["subject"]) == set(test)
    assert np.isfinite(table[SPECIFIED[4:]]).all().all()
    embeddings = read_table(base / "embeddings.tsv")
    assert list(embeddings.columns) == ["subject", "role", *[f"z{i:04d}" for i in range(1, 33)]]
    assert list(embeddings["subject"]) == [f"{i:02d}" for i in range(1, 9)]
    assert set(embeddings["role"]) == {"train"}
    assert set(read_table(base / "fold-0" / "embeddings.tsv")["role"]) == {"train", "test"}
    assert sorted(p.name for p in (base / "model").iterdir()) == ["model.json", "weights.safetensors"]
    history = read_table(base / "fold-0" / "history.tsv")
    assert list(history.columns) == ["epoch", "loss", "loss_jac", "loss_ndi", "seconds"]


def test_examples_are_the_real_and_decoded_middle_slices(autoencoder):
    with np.load(autoencoder.base / "fold-0" / "examples.npz", allow_pickle=False) as examples:
        assert examples["real"].shape == examples["decoded"].shape == (3, 2, 3, 32, 32)
        assert list(examples["modalities"]) == ["jac", "ndi"]
        subject, centre = str(examples["subjects"][0]), examples["centre"]
        limits = json.loads((autoencoder.base / "fold-0" / "limits.json").read_text())["limits"]["ndi"]
        volume = np.load(autoencoder.volumes[1])[int(subject) - 1]
        mask = np.asarray(nibabel.load(autoencoder.volumes[0].parent / "mask.nii.gz").dataobj) > 0
        scaled = np.clip((volume - limits["low"]) / (limits["high"] - limits["low"]), 0, 1) * mask
        np.testing.assert_allclose(examples["real"][0, 1, 2], scaled[:, :, centre[2]], atol=1e-5)
        assert examples["cnr_pairs"].shape == (1000, 2, 3)
        # The baselines decode the same people: the mean image is one for all of them, PCA is not.
        assert list(examples["baseline_names"]) == ["mean_image", "pca"]
        mean, pca = examples["baselines"]
        assert mean.shape == pca.shape == examples["real"].shape
        np.testing.assert_array_equal(mean[0], mean[1])
        assert not np.array_equal(pca[0], pca[1])


def test_slices_are_padded_to_one_size():
    image = np.arange(2 * 3 * 4).reshape(2, 3, 4).astype(float)
    planes = middle_slices(image, np.array([1, 1, 2]))
    assert planes.shape == (3, 4, 4)
    np.testing.assert_array_equal(planes[0][:3], image[1])
    np.testing.assert_array_equal(planes[2][1:3, :3], image[:, :, 2])


def test_the_chain_of_pca(pca):
    table = read_table(pca.base / "reconstruction.tsv")
    assert set(table["method"]) == {"pca", "mean_image"}
    assert sorted(set(table["subject"])) == [f"{i:02d}" for i in range(1, 10)]
    error = table.groupby("method")["mse"].mean()
    assert error["pca"] < 0.3 * error["mean_image"]  # two planted modes, five training people
    embeddings = read_table(pca.base / "embeddings.tsv")
    assert embeddings.shape == (9, 2 + 8)
    np.testing.assert_allclose(embeddings.iloc[:, 2:].mean(), 0, atol=1e-3)


def test_the_mean_image_is_that_of_the_training_people(pca):
    table = read_table(pca.base / "fold-1" / "reconstruction.tsv", text=("subject", "fold"))
    splits = read_table(pca.base / "splits.tsv", text=("subject", "fold"))
    training = splits[(splits["fold"] == "1") & (splits["role"] == "train")]["subject"].astype(int) - 1
    limits = json.loads((pca.base / "fold-1" / "limits.json").read_text())["limits"]["jac"]
    mask = np.asarray(nibabel.load(pca.volumes[0].parent / "mask.nii.gz").dataobj) > 0
    scaled = (
        np.clip((np.load(pca.volumes[0]) - limits["low"]) / (limits["high"] - limits["low"]), 0, 1) * mask
    )
    for row in table[(table["method"] == "mean_image") & (table["modality"] == "jac")].itertuples():
        error = ((scaled[int(row.subject) - 1] - scaled[training].mean(axis=0)) ** 2).mean()
        assert row.mse == pytest.approx(error, rel=1e-4)


def test_test_people_change_nothing_in_training(tmp_path):
    """The model, the limits and the other people's codes are the same whatever the test people look like."""
    settings = toy_settings("pca")
    volumes = toy_volumes(tmp_path / "volumes", people=8, side=16)
    split(
        subjects=tmp_path / "volumes/subjects.tsv",
        output=tmp_path / "experiment/splits.tsv",
        settings=settings,
    )
    splits = read_table(tmp_path / "experiment/splits.tsv", text=("subject", "fold"))
    chosen = splits[(splits["fold"] == "0") & (splits["role"] == "test")]["subject"].astype(int) - 1
    results = []
    for _ in range(2):
        stages(tmp_path, volumes, settings, "0")
        folder = tmp_path / "experiment/fold-0"
        codes = read_table(folder / "embeddings.tsv")
        results.append(
            [
                (folder / "model/weights.safetensors").read_bytes(),
                json.loads((folder / "limits.json").read_text()),
                codes[codes["role"] == "train"].to_csv(),
                codes[codes["role"] == "test"].to_csv(),
            ]
        )
        array = np.load(volumes[0])
        array[chosen] = array[chosen][:, ::-1] * 3
        np.save(volumes[0], array)
    assert results[0][:3] == results[1][:3]
    assert results[0][3] != results[1][3]


def test_embedding_again_gives_the_same_file(autoencoder, tmp_path):
    folder = autoencoder.base / "fold-all"
    embed(
        model=folder / "model",
        volumes=autoencoder.volumes,
        splits=autoencoder.base / "splits.tsv",
        limits=folder / "limits.json",
        fold="all",
        output=tmp_path / "embeddings.tsv",
        settings=autoencoder.settings,
    )
    assert (tmp_path / "embeddings.tsv").read_bytes() == (folder / "embeddings.tsv").read_bytes()


def test_bundle_round_trip(autoencoder, tmp_path):
    folder = autoencoder.base / "fold-0" / "model"
    model, description = load_bundle(folder)
    splits = read_table(autoencoder.base / "splits.tsv", text=("subject", "fold"))
    training = splits[(splits["fold"] == "0") & (splits["role"] == "train")]["subject"]
    assert description["training_people_sha256"] == people_digest(list(training)[::-1])
    assert description["code_size"] == model.code_size == 32
    assert description["modalities"] == ["jac", "ndi"]
    assert description["limits"] == json.loads((folder.parent / "limits.json").read_text())["limits"]
    save_bundle(
        tmp_path / "model",
        model,
        scaling=description["limits"],
        affine=description["grid"]["affine"],
        training_people=list(training),
        settings=description["settings"],
    )
    again, _ = load_bundle(tmp_path / "model")
    volumes = np.random.default_rng(0).random((2, 2, 32, 32, 32), dtype=np.float32)
    np.testing.assert_array_equal(again.encode(volumes), model.encode(volumes))
    np.testing.assert_array_equal(again.reconstruct(volumes), model.reconstruct(volumes))


def test_a_broken_bundle_says_so(pca, tmp_path):
    shutil.copytree(pca.base / "model", tmp_path / "model")
    weights = tmp_path / "model" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(UserError, match=r"weights\.safetensors: cannot be read"):
        load_bundle(tmp_path / "model")
    described = tmp_path / "model" / "model.json"
    described.write_text(described.read_text().replace('"model": "pca"', '"model": "of_tomorrow"'))
    with pytest.raises(UserError, match="this release has no model 'of_tomorrow'"):
        load_bundle(tmp_path / "model")
    described.write_text('{"format": 99}')
    with pytest.raises(UserError, match="not a model of this release"):
        load_bundle(tmp_path / "model")


def test_a_model_refuses_other_volumes(pca, tmp_path):
    settings = toy_settings("pca", modalities=("ndi", "jac"))
    folder = pca.base / "fold-all"
    arguments = {
        "model": folder / "model",
        "splits": pca.base / "splits.tsv",
        "limits": folder / "limits.json",
        "fold": "all",
        "output": tmp_path / "embeddings.tsv",
    }
    with pytest.raises(UserError, match="trained on jac, ndi, given are ndi, jac"):
        embed(volumes=pca.volumes[::-1], settings=settings, **arguments)
    other = toy_volumes(tmp_path / "volumes", people=9, side=8)
    with pytest.raises(UserError, match="grid"):
        embed(volumes=other, settings=pca.settings, **arguments)


def test_nothing_to_evaluate_is_said(pca, tmp_path):
    folder = pca.base / "fold-all"
    with pytest.raises(UserError, match="no test people"):
        evaluate(
            model=folder / "model",
            volumes=pca.volumes,
            splits=pca.base / "splits.tsv",
            limits=folder / "limits.json",
            mask=pca.volumes[0].parent / "mask.nii.gz",
            fold="all",
            output=tmp_path / "reconstruction.tsv",
            examples=tmp_path / "examples.npz",
            settings=pca.settings,
        )


def test_the_papers_default_batch_is_refused_at_this_size_in_one_line(autoencoder, tmp_path, capsys):
    settings = toy_settings()
    arguments = {
        "splits": autoencoder.base / "splits.tsv",
        "mask": autoencoder.volumes[0].parent / "mask.nii.gz",
        "fold": "0",
        "model": tmp_path / "model",
        "history": tmp_path / "history.tsv",
        "limits": tmp_path / "limits.json",
        "checkpoints": tmp_path / "checkpoints",
        "settings": json.dumps(settings),
    }
    command = ["stage", "train", "--volumes", *map(str, autoencoder.volumes)]
    for name, value in arguments.items():
        command += [f"--{name}", str(value)]
    assert cli.main(command) == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith("neurostrata train: training.batch_size")
    assert "\n" not in message
    assert not (tmp_path / "model").exists()


def test_a_job_killed_while_it_writes_the_model_goes_on_from_there(
    autoencoder, tmp_path, monkeypatch, capsys
):
    settings = toy_settings(epochs=2, batch_size=4)
    shared = {
        "splits": autoencoder.base / "splits.tsv",
        "mask": autoencoder.volumes[0].parent / "mask.nii.gz",
    }
    made = {name: tmp_path / name for name in ("model", "history", "limits", "checkpoints")}

    def run() -> None:
        train(volumes=autoencoder.volumes, fold="0", settings=used(settings, "train"), **shared, **made)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(bundle, "save_bundle", killed)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert (made["checkpoints"] / "last.ckpt").exists()
    run()
    assert "resumed from" in capsys.readouterr().err
    assert made["model"].is_dir()
    assert not made["checkpoints"].exists()


def test_the_comparison_of_all_models_is_valid():
    whole = check_config(
        read_configuration([DEFAULT_CONFIG, REPOSITORY / "config" / "experiments" / "comparison.yaml"])
    )
    for experiment in whole["experiments"]:
        build_model(experiment["model"], experiment["options"], experiment["modalities"], (32, 32, 32), 1)


def test_splits_table_of_the_command(autoencoder):
    splits = pd.read_csv(autoencoder.base / "splits.tsv", sep="\t", dtype=str)
    assert list(splits.columns) == ["subject", "fold", "role"]
    assert set(splits["fold"]) == {"0", "1", "all"}


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    """The shared VAE on volumes of both signs over their maxima, with stratified held-out people."""
    root = tmp_path_factory.mktemp("signed")
    volumes = toy_volumes(root / "volumes", people=24, side=8)
    for path in volumes:
        array = np.load(path)
        np.save(path, array - array.mean())
    people = volumes[0].parent / "subjects.tsv"
    rows = people.read_text().splitlines()
    people.write_text(
        "\n".join([rows[0], *(f"{r[:-1]}{'ab'[i // 12]}\t" for i, r in enumerate(rows[1:]))]) + "\n"
    )
    options = {"channels": [8], "latent_size": 2, "validation_stratify_by": ["diagnosis"]}
    settings = toy_settings("shared_vae", options=options, epochs=2, batch_size=8, adam_epsilon=1e-8)
    settings["experiment"]["scaling"] = "maximum"
    base = root / "experiment"
    split(subjects=people, output=base / "splits.tsv", settings=settings)
    shared = {"volumes": volumes, "splits": base / "splits.tsv", "fold": "0"}
    made = {"model": base / "model", "limits": base / "limits.json"}
    mask = volumes[0].parent / "mask.nii.gz"
    rest = {"history": base / "history.tsv", "checkpoints": base / "checkpoints"}
    train(**shared, **made, **rest, mask=mask, people=people, settings=used(settings, "train"))
    return SimpleNamespace(
        base=base, shared=shared, made=made, rest=rest, mask=mask, people=people, settings=settings
    )


def used(settings, stage):
    """The settings as the workflow hands them over."""
    return json.loads(json.dumps(used_options(stage, settings)))


def test_every_stage_scales_as_the_training_did(signed):
    assert json.loads((signed.base / "limits.json").read_text())["limits"] == {}
    model, description = load_bundle(signed.base / "model")
    assert (description["scaling"], model.maximum, model.value_range) == ("maximum", True, (-1, 1))
    later = {**signed.settings, "experiment": {**signed.settings["experiment"], "scaling": "limits"}}
    embed(
        **signed.shared, **signed.made, output=signed.base / "embeddings.tsv", settings=used(later, "embed")
    )
    codes = read_table(signed.base / "embeddings.tsv", text=("subject",)).set_index("subject")
    raw = np.stack([np.load(path) for path in signed.shared["volumes"]], axis=1)
    mask = np.asarray(nibabel.load(signed.mask).dataobj) > 0
    scaled = np.where(mask, raw, 0)
    scaled /= np.abs(scaled).max(axis=(2, 3, 4), keepdims=True)
    expected = model.encode(scaled.astype(np.float32))
    np.testing.assert_allclose(codes.sort_index().filter(like="z"), expected, atol=1e-4)
    evaluate(
        **signed.shared,
        **signed.made,
        mask=signed.mask,
        output=signed.base / "reconstruction.tsv",
        examples=signed.base / "examples.npz",
        settings=used(later, "evaluate"),
    )
    table = read_table(signed.base / "reconstruction.tsv", text=("subject", "fold"))
    mean = scaled[(codes.sort_index()["role"] == "train").to_numpy()].mean(axis=0)
    for row in table[table["method"] == "mean_image"].itertuples():
        modality = ["jac", "ndi"].index(row.modality)
        error = ((scaled[int(row.subject) - 1, modality] - mean[modality])[mask] ** 2).mean()
        assert row.mse_mask == pytest.approx(error, rel=1e-4)
    with np.load(signed.base / "examples.npz", allow_pickle=False) as examples:
        assert examples["real"].min() < 0
        assert -1 <= examples["decoded"].min() < 0


def test_a_model_and_limits_of_another_scaling_do_not_go_together(signed, tmp_path):
    limits = json.loads((signed.base / "limits.json").read_text())
    del limits["scaling"]  # as an earlier release wrote it
    limits["limits"] = {name: {"low": -1.0, "high": 1.0} for name in ("jac", "ndi")}
    (tmp_path / "limits.json").write_text(json.dumps(limits))
    with pytest.raises(UserError, match="trained on volumes of another scaling"):
        embed(
            **signed.shared,
            model=signed.base / "model",
            limits=tmp_path / "limits.json",
            output=tmp_path / "embeddings.tsv",
            settings=used(signed.settings, "embed"),
        )


def test_a_model_of_an_earlier_release_was_scaled_by_limits(pca, tmp_path):
    shutil.copytree(pca.base / "model", tmp_path / "model")
    described = tmp_path / "model" / "model.json"
    facts = json.loads(described.read_text())
    assert facts.pop("scaling") == "limits"
    described.write_text(json.dumps(facts))
    assert load_bundle(tmp_path / "model")[0].value_range == (0, 1)


def test_strata_without_the_people_are_refused(signed, tmp_path):
    with pytest.raises(UserError, match=r"validation_stratify_by needs the people's families and strata"):
        train(
            **signed.shared,
            model=tmp_path / "model",
            limits=tmp_path / "limits.json",
            history=tmp_path / "history.tsv",
            checkpoints=tmp_path / "checkpoints",
            mask=signed.mask,
            settings=signed.settings,
        )
