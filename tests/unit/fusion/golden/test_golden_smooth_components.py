"""Components with a smooth prior (ours) against dense matrices: what the module's head says, written out."""

import numpy as np
import pytest
from scipy import ndimage

from neurostrata.fusion.models import smooth_components as library
from neurostrata.fusion.models.smooth_components import Prior, choose_prior, smooth_components

SHAPE, PEOPLE, MODALITIES, NUMBER = (6, 5, 4), 9, 2, 3


def cohort() -> tuple[np.ndarray, np.ndarray]:
    """Return rows (people, modalities, voxels) with some smooth modes, and the mask."""
    random = np.random.default_rng(4)
    mask = random.random(SHAPE) < 0.8
    modes = np.stack([ndimage.gaussian_filter(random.normal(size=SHAPE), 1.0) for _ in range(4)])
    scores = random.normal(size=(PEOPLE, 4))
    images = np.einsum("pk,kxyz->pxyz", scores, 4 * modes)[:, None] * np.array([1, -0.5])[:, None, None, None]
    images = images + 0.4 * random.normal(size=(PEOPLE, MODALITIES, *SHAPE))
    rows = images[:, :, mask]
    rows -= rows.mean(axis=0)
    rows /= np.sqrt((rows**2).mean(axis=(0, 2)))[None, :, None]
    return rows.astype(np.float32), mask


def plain_covariance(rows: np.ndarray, mask: np.ndarray, prior: Prior) -> np.ndarray:
    """(1 - w) S + w t (C (x) G)."""
    people = [*rows]
    if prior.mirror:
        for person in rows:
            images = np.zeros((MODALITIES, *mask.shape))
            images[:, mask] = person
            people.append(images[:, ::-1][:, mask])
    flat = np.stack(people).reshape(len(people), -1).astype(np.float64)
    sample = flat.T @ flat / len(flat)
    if not prior.weight:
        return sample
    unit = np.eye(mask.size).reshape(-1, *mask.shape)
    sigma = prior.width / 2.3548200450309493  # full width at half maximum
    smooth = np.stack(
        [ndimage.gaussian_filter(image, sigma, mode="constant", truncate=3)[mask] for image in unit]
    )
    each = rows.transpose(1, 0, 2).reshape(MODALITIES, -1).astype(np.float64)
    products = each @ each.T
    correlation = products / np.sqrt(np.outer(np.diag(products), np.diag(products)))
    peak = np.zeros((41, 41, 41))
    peak[20, 20, 20] = 1
    # the same trace, with the kernel's value at 0 in the middle of an image
    middle = ndimage.gaussian_filter(peak, sigma, mode="constant", truncate=3)[20, 20, 20]
    scale = np.trace(sample) / (len(sample) * middle)
    return (1 - prior.weight) * sample + prior.weight * scale * np.kron(correlation, smooth[mask.ravel()])


def plain_components(
    rows: np.ndarray, mask: np.ndarray, number: int, prior: Prior
) -> tuple[np.ndarray, np.ndarray]:
    covariance = plain_covariance(rows, mask, prior)
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    return vectors[:, ::-1][:, :number].T, values[::-1][:number]


@pytest.mark.parametrize("prior", [Prior(), Prior(mirror=True), Prior(0.5, 2.0), Prior(0.8, 3.0, True)])
def test_they_are_eigenvectors_of_the_plain_covariance(monkeypatch: pytest.MonkeyPatch, prior: Prior) -> None:
    monkeypatch.setattr(library, "ITERATIONS", 40)
    monkeypatch.setattr(library, "FEWER_ITERATIONS", 20)
    rows, mask = cohort()
    expected, variance = plain_components(rows, mask, NUMBER, prior)
    found, values = smooth_components(rows, mask, NUMBER, prior, seed=2)
    again, _ = smooth_components(rows, mask, NUMBER, prior, seed=3, start=found[:2])
    np.testing.assert_allclose(values, variance, rtol=1e-3)
    for components in (found, again):
        np.testing.assert_allclose(np.abs((components * expected).sum(axis=1)), 1, atol=2e-3)
        assert (components[np.arange(NUMBER), np.abs(components).argmax(axis=1)] > 0).all()
    assert found.dtype == np.float32
    start = np.random.default_rng(0).normal(size=(NUMBER, found.shape[1])).astype(np.float32)
    np.testing.assert_allclose(smooth_components(rows, mask, NUMBER, prior, 2, start)[1], variance, rtol=2e-3)


def test_without_a_prior_there_are_no_more_than_the_people_span() -> None:
    rows, mask = cohort()
    assert smooth_components(rows, mask, 50, Prior(), 1)[0].shape[0] == PEOPLE - 1
    assert smooth_components(rows, mask, 50, Prior(mirror=True), 1)[0].shape[0] == 2 * PEOPLE - 1
    assert smooth_components(rows, mask, 50, Prior(0.5, 2.0), 1)[0].shape[0] == 50


@pytest.mark.parametrize("good", [0.95])
def test_the_prior_is_the_weakest_that_is_about_as_good_as_the_best(
    monkeypatch: pytest.MonkeyPatch, good: float
) -> None:
    """Three folds, everything by dense matrices; on a grid of half the side."""
    settings = {"WEIGHTS": (0.5, 0.9), "WIDTHS": (2.0, 8.0), "AS_GOOD": good, "COARSE_SIDE": 6}
    for name, value in {**settings, "ITERATIONS": 10, "FEWER_ITERATIONS": 8}.items():
        monkeypatch.setattr(library, name, value)
    random = np.random.default_rng(6)
    coarse, inside = cohort()
    # the grid that is given is twice as fine; a voxel of the coarse one is in when half of its eight are
    fine = np.repeat(np.repeat(np.repeat(inside, 2, 0), 2, 1), 2, 2)
    images = np.zeros((PEOPLE, MODALITIES, *SHAPE), np.float32)
    images[:, :, inside] = coarse
    images = np.repeat(np.repeat(np.repeat(images, 2, 2), 2, 3), 2, 4)
    noise = random.normal(size=images.shape).astype(np.float32)
    corner = tuple(np.argwhere(inside)[0] * 2)
    few = fine.copy()
    few[corner] = False
    lonely = tuple(np.argwhere(~inside)[0] * 2)
    few[lonely] = True
    rows = (images + 0.1 * noise)[:, :, few]
    filled = np.zeros((PEOPLE, MODALITIES, *fine.shape))
    filled[:, :, few] = rows
    blocks = filled.reshape(PEOPLE, MODALITIES, 6, 2, 5, 2, 4, 2)
    count = few.reshape(6, 2, 5, 2, 4, 2).sum(axis=(1, 3, 5))
    mask = count >= 4
    assert (mask == inside).all()
    coarse = (blocks.sum(axis=(3, 5, 7)) / np.maximum(count, 1))[:, :, mask]

    folds = np.random.default_rng([1, 5]).permutation(PEOPLE) % 3
    candidates = [
        Prior(w, s, m)
        for m in (False, True)
        for s, w in [(0.0, 0.0), (2.0, 0.5), (2.0, 0.9), (8.0, 0.5), (8.0, 0.9)]
    ]
    decoded = []
    for prior in candidates:
        left, all_ = 0.0, 0.0
        for fold in range(3):
            learning, held_out = coarse[folds != fold], coarse[folds == fold]
            mean = learning.mean(axis=0)
            components, _ = plain_components(learning - mean, mask, NUMBER, prior)
            tested = (held_out - mean).reshape(len(held_out), -1)
            all_ += (tested**2).sum()
            left += ((tested - tested @ components.T @ components) ** 2).sum()
        decoded.append(1 - left / all_)
    enough = [i for i in range(len(candidates)) if decoded[i] >= good * max(decoded)]
    best = min(enough, key=lambda i: (candidates[i].weight, -decoded[i]))

    chosen, tried = choose_prior(rows, few, NUMBER, seed=1)
    assert len(tried) == len(candidates)
    for entry in tried:
        prior = Prior(entry["weight"], entry["width"] / 2, bool(entry["mirror"]))
        assert entry["decoded"] == pytest.approx(decoded[candidates.index(prior)], abs=3e-3)
    assert chosen == Prior(candidates[best].weight, 2 * candidates[best].width, candidates[best].mirror)


def test_the_priors_that_are_tried() -> None:
    assert (library.WEIGHTS, library.WIDTHS) == ((0.5, 0.8, 0.9, 0.97), (2.0, 4.0, 6.0, 9.0))
    assert (library.AS_GOOD, library.FOLDS, library.COARSE_SIDE) == (0.95, 3, 32)
    assert (library.ITERATIONS, library.FEWER_ITERATIONS) == (6, 3)
    assert Prior() == Prior(weight=0, width=0, mirror=False)
