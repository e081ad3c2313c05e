"""What the tables of decoding and of hidden modalities say, against numbers computed from the images themselves."""

from types import SimpleNamespace

import numpy as np
import pytest
from plain_training import people_in_memory

from neurostrata.fusion.evaluation.metrics import block_pairs, contrast_to_noise
from neurostrata.fusion.evaluation.reconstruction import (
    decoders,
    evaluate_people,
    example_slices,
    hide_each,
    middle_slices,
)

SHAPE = (12, 8, 9)
MASK = np.zeros(SHAPE, bool)
MASK[:, :, :8] = True
PAIRS = block_pairs(MASK, 30, seed=1)


def people(number=6, modalities=2, missing=()):
    volumes = np.random.default_rng(1).uniform(0.1, 0.9, (number, modalities, *SHAPE)) * MASK
    for person, modality in missing:
        volumes[person, modality] = np.nan
    return people_in_memory(volumes, MASK)


def volumes_of(some):
    return np.stack([some[i] for i in range(len(some))]).astype(np.float64)


def test_each_measure_stands_in_its_column():
    some = people()
    real = volumes_of(some)
    table = evaluate_people({"ours": lambda images: 0.5 * images}, some, MASK, PAIRS, "3")
    row = table.set_index(["subject", "modality"]).loc[("p04", "m1")]
    image = real[4, 1]
    assert (row["method"], row["fold"]) == ("ours", "3")
    assert row["mse"] == pytest.approx((0.25 * image**2).mean())
    assert row["mse_mask"] == pytest.approx((0.25 * image[MASK] ** 2).mean())
    assert row["psnr"] == pytest.approx(-10 * np.log10((0.25 * image**2).mean()))
    # (0.5 - 1) / (0.5 + 1) in every voxel; half of an image has the same contrasts
    assert (row["normdiff"], row["abs_normdiff"]) == pytest.approx((-1 / 3, 1 / 3))
    assert row["normdiff_excluded"] == 0
    assert row["cnr_real"] == pytest.approx(np.median(contrast_to_noise(image, PAIRS)))
    assert row["cnr_decoded"] == pytest.approx(row["cnr_real"])
    smooth = evaluate_people({"ours": lambda images: 0.5 + 0.1 * images**3}, some, MASK, PAIRS, "3")
    row = smooth.set_index(["subject", "modality"]).loc[("p04", "m1")]
    found = np.median(contrast_to_noise(0.5 + 0.1 * image**3, PAIRS))
    assert row["cnr_decoded"] == pytest.approx(found, rel=1e-4)
    assert abs(row["cnr_decoded"] - row["cnr_real"]) > 0.001
    total = row["cnr_decoded"] + row["cnr_real"]
    assert row["cnr_normdiff"] == pytest.approx((row["cnr_decoded"] - row["cnr_real"]) / total)


def test_only_what_is_there_and_decoded_has_a_row():
    def one_modality(images):
        decoded = np.array(images)
        decoded[:, 0] = np.nan
        return decoded

    table = evaluate_people(
        {"ours": lambda images: images, "half": one_modality},
        people(missing=[(1, 0), (2, 1)]),
        MASK,
        PAIRS,
        "0",
    )
    found = {method: set(zip(rows["subject"], rows["modality"])) for method, rows in table.groupby("method")}
    every = {(f"p{i:02d}", f"m{m}") for i in range(6) for m in range(2)} - {("p01", "m0"), ("p02", "m1")}
    assert found == {"ours": every, "half": {pair for pair in every if pair[1] == "m1"}}
    assert len(table) == len(every) + 5


@pytest.mark.parametrize("name", ["ours", "pca"])
def test_the_baselines_are_learned_from_the_training_people_alone(name):
    some = people(9)
    training = some.subset(range(6))
    model = SimpleNamespace(name=name, reconstruct=lambda images: images, code_size=3, seed=1)
    methods = decoders(model, training, MASK)
    assert list(methods) == (["ours", "mean_image", "pca"] if name == "ours" else ["pca", "mean_image"])
    tested = volumes_of(some)[6:].astype(np.float32)
    mean = volumes_of(training).mean(axis=0)
    for image in methods["mean_image"](tested):
        np.testing.assert_allclose(image, mean, atol=1e-6)
    if name == "ours":
        rows = (volumes_of(training) - mean)[:, :, MASK].reshape(6, -1)
        _, _, axes = np.linalg.svd(rows, full_matrices=False)
        centred = (tested - mean)[:, :, MASK].reshape(3, -1)
        wanted = mean[:, MASK].ravel() + centred @ axes[:3].T @ axes[:3]
        found = methods["pca"](tested)[:, :, MASK].reshape(3, -1)
        np.testing.assert_allclose(found, wanted.clip(0, 1), atol=1e-4)


def test_slices_lie_in_the_middle_of_a_square_of_zeros():
    image = np.arange(1.0, 1 + 2 * 3 * 7).reshape(2, 3, 7)
    planes = middle_slices(image, np.array([1, 2, 3]))
    assert planes.shape == (3, 7, 7)
    for plane, wanted, top, left in zip(
        planes, (image[1], image[:, 2], image[:, :, 3]), (2, 2, 2), (0, 0, 2)
    ):
        height, width = wanted.shape
        np.testing.assert_array_equal(plane[top : top + height, left : left + width], wanted)
        assert np.count_nonzero(plane) == wanted.size


def test_examples_are_of_people_with_every_modality_where_there_are_any():
    some = people(missing=[(0, 1), (2, 0)])
    methods = {
        "ours": lambda images: images + 1,
        "mean_image": lambda images: images + 2,
        "pca": lambda images: images + 3,
    }
    shown = example_slices(methods, some, MASK)
    assert shown["subjects"].tolist() == ["p01", "p03", "p04"]
    assert shown["modalities"].tolist() == ["m0", "m1"]
    assert shown["planes"].tolist() == ["sagittal", "coronal", "axial"]
    assert shown["baseline_names"].tolist() == ["mean_image", "pca"]
    assert shown["centre"].tolist() == [6, 4, 4]  # of indices 0..11, 0..7, 0..7, halves to the even
    planes = middle_slices(some[3][1], shown["centre"])
    inside = middle_slices(np.ones(SHAPE), shown["centre"])
    np.testing.assert_array_equal(shown["real"][1, 1], planes)
    np.testing.assert_allclose(shown["decoded"][1, 1], planes + inside)
    np.testing.assert_allclose(shown["baselines"][1, 1, 1], planes + 3 * inside)
    lacking = example_slices(methods, people(2, missing=[(0, 1), (1, 0)]), MASK, number=1)
    assert lacking["subjects"].tolist() == ["p00"]
    assert not lacking["real"][0, 1].any()


def hiding_model(some):
    """Its code is the mean of each image, 0.2 where one is hidden; it decodes what it sees, and 0.5 for what is hidden."""
    return SimpleNamespace(
        encode=lambda images: np.nan_to_num(images[:, :, MASK].mean(axis=2), nan=0.2),
        reconstruct=lambda images: np.nan_to_num(0.9 * images, nan=0.5),
    )


def test_what_hiding_a_modality_does_by_hand():
    some = people(9, missing=[(3, 0)])
    real = volumes_of(some)
    mean = np.full((2, *SHAPE), 0.4)
    table = hide_each({"ours": hiding_model(some)}, mean, some, MASK, "2")
    complete = [i for i in range(9) if i != 3]
    assert list(dict.fromkeys(table["subject"])) == [f"p{i:02d}" for i in complete]
    assert len(table) == 8 * 4
    assert set(table["fold"]) == {"2"}
    codes = real[complete][:, :, MASK].mean(axis=2)
    spread = np.sqrt(((codes - codes.mean(axis=0)) ** 2).sum(axis=1).mean())
    for row in table.itertuples():
        image, person = int(row.modality[1]), int(row.subject[1:])
        truth = real[person, image][MASK]
        hidden = int(row.hidden[1])
        decoded = 0.5 if hidden == image else 0.9 * truth
        assert row.mse_mask == pytest.approx(((truth - decoded) ** 2).mean(), rel=1e-4)
        assert row.mse_mask_all == pytest.approx(((0.1 * truth) ** 2).mean(), rel=1e-4)
        assert row.mse_mask_mean == pytest.approx(((truth - 0.4) ** 2).mean(), rel=1e-4)
        moved = abs(real[person, hidden][MASK].mean() - 0.2)
        assert row.code_change == pytest.approx(moved / spread, rel=1e-3)


@pytest.mark.parametrize("number", [0, 1])
def test_without_two_people_nothing_says_how_far_codes_are_apart(number):
    some = people(2, missing=[(i, 1) for i in range(number, 2)])
    table = hide_each({"ours": hiding_model(some)}, np.zeros((2, *SHAPE)), some, MASK, "0")
    assert len(table) == 4 * number
    assert table["code_change"].isna().all()
    assert table["mse_mask"].notna().all()
