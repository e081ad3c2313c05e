"""Which voxels are fitted when no mask, a mask or an extracted brain is given."""

import numpy as np
import pytest

from neurostrata.core.errors import UserError
from neurostrata.imaging.diffusion.mask import diffusion_mask

#: Volume of a voxel, mm^3: the ball has 1.5 litres.
VOXEL = 500.0


@pytest.fixture
def head():
    """A bright ball in the noise of the background."""
    index = np.indices((30, 32, 28))
    ball = ((index - np.array([15, 16, 14])[:, None, None, None]) ** 2).sum(axis=0) <= 9**2
    noise = np.abs(np.random.default_rng(0).standard_normal(ball.shape)) * 10
    return ball, (noise + 500 * ball).astype(np.float32)


def test_brain_is_found_in_a_noisy_background(head):
    ball, image = head
    mask, source = diffusion_mask(image, None, "dwi", VOXEL)
    assert not (mask & ~ball).any()
    assert mask.sum() > 0.85 * ball.sum()  # the median filter rounds the rim of so small a ball off
    assert "Otsu" in source


def test_an_extracted_brain_is_taken_as_it_is(head):
    ball, image = head
    mask, source = diffusion_mask(np.where(ball, image, 0), None, "dwi", VOXEL)
    np.testing.assert_array_equal(mask, ball)
    assert "removed" in source


def test_zeros_in_the_air_are_no_extracted_brain(head):
    """Denoising and undistorting leave zeros in the air; taken for an extracted brain, all of the rest would be the mask."""
    ball, image = head
    zeros = ~ball & (np.random.default_rng(1).random(ball.shape) < 0.4)
    mask, source = diffusion_mask(np.where(zeros, 0, image), None, "dwi", VOXEL)
    assert "Otsu" in source
    assert not (mask & ~ball).any()
    assert mask.sum() > 0.85 * ball.sum()


def test_a_given_mask_loses_voxels_without_signal(head):
    ball, image = head
    image = image.copy()
    image[15, 16, 14] = 0
    mask, _ = diffusion_mask(image, ball, "dwi", VOXEL)
    assert not mask[15, 16, 14]
    assert mask.sum() == ball.sum() - 1
    with pytest.raises(UserError, match=r"subject 01: .*check dwi_mask"):
        diffusion_mask(np.zeros_like(image), ball, "subject 01: dwi x", VOXEL)
