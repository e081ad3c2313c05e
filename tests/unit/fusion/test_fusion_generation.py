"""Draws and steps between people, of a model whose images are its codes."""

from types import SimpleNamespace

import numpy as np
import pytest
from plain_training import people_in_memory

from neurostrata.fusion.evaluation.generation import DRAWS, SHOWN, STEPS, generated_slices

SHAPE = (4, 3, 6)
MASK = np.zeros(SHAPE, bool)
MASK[1:3, 1, 2:5] = True
PART = int(np.prod(SHAPE))


def people(modalities, missing=(), number=4):
    volumes = np.random.default_rng(1).uniform(0.1, 0.9, (number, modalities, *SHAPE))
    for person, modality in missing:
        volumes[person, modality] = np.nan
    return people_in_memory(volumes, np.ones(SHAPE, bool))


def model(modalities, value_range=(0.0, 1.0)):
    """A part of its code is a modality's image over its maximum."""
    return SimpleNamespace(
        modalities=[f"m{i}" for i in range(modalities)],
        code_size=modalities * PART,
        value_range=value_range,
        decode=lambda codes: codes.reshape(len(codes), modalities, *SHAPE),
        scales=lambda images: images.max(axis=(2, 3, 4)),
        encode=lambda images: (images / images.max(axis=(2, 3, 4), keepdims=True)).reshape(len(images), -1),
    )


@pytest.mark.parametrize("modalities", [1, 2, 4, 5])
def test_draws_are_images_of_independent_standard_normal_codes(modalities):
    found = [
        generated_slices(model(modalities), people(modalities), MASK, seed)["draws"] for seed in range(40)
    ]
    drawn = np.stack(found)
    assert drawn.shape == (40, DRAWS, *SHAPE[:2])
    assert drawn.dtype == np.float32
    np.testing.assert_array_equal(
        found[3], generated_slices(model(modalities), people(modalities), MASK, 3)["draws"]
    )
    rows = drawn.reshape(40 * DRAWS, -1)
    assert abs(rows.mean()) < 0.08
    assert rows.std() == pytest.approx(1, abs=0.06)
    # no two draws, and no two seeds, have anything in common
    alike = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(alike).max() < 0.97
    assert abs(alike.mean()) < 0.01


@pytest.mark.parametrize("modalities", [2, 5])
def test_steps_lead_from_the_first_complete_person_to_the_second(modalities):
    some = people(modalities, missing=[(0, 1)])
    found = generated_slices(model(modalities), some, MASK, 1)
    shown = min(modalities, SHOWN)
    assert found["subjects"].tolist() == ["p01", "p02"]
    assert found["modalities"].tolist() == [f"m{i}" for i in range(shown)]
    real = np.stack([some[1], some[2]])[:, :shown]
    level = 3  # the middle of the mask, not of the grid
    np.testing.assert_array_equal(found["real"], real[..., level].swapaxes(0, 1))
    assert found["steps"].shape == (shown, STEPS, *SHAPE[:2])
    largest = real.max(axis=(2, 3, 4))
    for number, share in enumerate(np.linspace(0, 1, STEPS)):
        over = (1 - share) * real[0] / largest[0, :, None, None, None] + share * real[1] / largest[
            1, :, None, None, None
        ]
        scale = (1 - share) * largest[0] + share * largest[1]
        wanted = (over * scale[:, None, None, None])[..., level]
        np.testing.assert_allclose(found["steps"][:, number], wanted, rtol=1e-5)
    cut = generated_slices(model(modalities, (0.3, 0.5)), some, MASK, 1)["steps"]
    np.testing.assert_array_equal(cut, found["steps"].clip(0.3, 0.5))


def test_with_one_complete_person_there_are_draws_alone():
    some = people(2, missing=[(0, 1), (1, 0), (3, 0)])
    assert set(generated_slices(model(2), some, MASK, 1)) == {"draws"}
