"""The forward model of the simulator against brute-force integration over the sphere."""

import numpy as np
import pytest

from neurostrata.simulation.images.diffusion_signal import (
    demo_scheme,
    even_directions,
    format_fsl,
    kappa_from_odi,
    noddi_signal,
    rician_noise,
)


def sphere_quadrature(bvals, bvecs, ndi, odi, fwf, direction, polar=800, around=192):
    """NODDI by summing over orientations on a dense grid about the mean direction."""
    kappa = 1 / np.tan(odi * np.pi / 2)
    cosine, weights = np.polynomial.legendre.leggauss(polar)
    angle = np.arange(around) * 2 * np.pi / around
    axis = direction / np.linalg.norm(direction)
    first = np.cross(axis, [0.2, 1.0, 0.3])
    first /= np.linalg.norm(first)
    second = np.cross(axis, first)
    sine = np.sqrt(1 - cosine**2)[:, None, None]
    around_axis = np.cos(angle)[None, :, None] * first + np.sin(angle)[None, :, None] * second
    orientations = (cosine[:, None, None] * axis + sine * around_axis).reshape(-1, 3)
    density = np.repeat(weights * np.exp(kappa * (cosine**2 - 1)), around)
    density /= density.sum()
    sticks = np.array([density @ np.exp(-b * 1.7e-3 * (orientations @ g) ** 2) for b, g in zip(bvals, bvecs)])
    scatter = (orientations * density[:, None]).T @ orientations
    across = 1.7e-3 * (1 - ndi)
    tensor = across * np.eye(3) + (1.7e-3 - across) * scatter
    outside = np.exp(-bvals * np.einsum("ij,jk,ik->i", bvecs, tensor, bvecs))
    return fwf * np.exp(-bvals * 3e-3) + (1 - fwf) * (ndi * sticks + (1 - ndi) * outside)


@pytest.mark.parametrize("odi", [0.005, 0.05, 0.3, 0.7, 1.0])
def test_signal_equals_brute_force_quadrature(odi):
    rng = np.random.default_rng(4)
    bvals = np.array([0.0, 5, 700, 1000, 2000, 3000, 5000])
    bvecs = np.concatenate([np.zeros((1, 3)), even_directions(6, 2)])
    direction = rng.standard_normal(3)
    ndi, fwf = rng.uniform(0.1, 0.9), rng.uniform(0, 0.5)
    expected = sphere_quadrature(bvals, bvecs, ndi, odi, fwf, direction)
    signal = noddi_signal(bvals, bvecs, np.array([ndi]), np.array([odi]), np.array([fwf]), direction[None])
    np.testing.assert_allclose(signal[0], expected, atol=1e-6)


def test_limits_of_the_model_have_closed_forms():
    bvals, bvecs = demo_scheme(6, (1000, 2500), 2, seed=3)
    direction = np.array([[1.0, 2.0, -1.0]]) / np.sqrt(6)
    water = noddi_signal(bvals, bvecs, np.array([0.5]), np.array([0.4]), np.array([1.0]), direction)
    np.testing.assert_allclose(water[0], np.exp(-bvals * 3e-3), atol=1e-12)
    stick = noddi_signal(bvals, bvecs, np.array([1.0]), np.array([0.0]), np.array([0.0]), direction)
    np.testing.assert_allclose(stick[0], np.exp(-bvals * 1.7e-3 * (bvecs @ direction[0]) ** 2), atol=2e-3)
    isotropic = noddi_signal(bvals, bvecs, np.array([0.0]), np.array([1.0]), np.array([0.0]), direction)
    np.testing.assert_allclose(isotropic[0], np.exp(-bvals * 1.7e-3), atol=1e-12)


def test_voxels_are_independent_of_the_block_they_are_computed_in():
    rng = np.random.default_rng(0)
    bvals, bvecs = demo_scheme(6, (1000,), 1)
    count = 5000  # more than one block
    ndi, odi, fwf = rng.uniform(0, 1, (3, count))
    direction = rng.standard_normal((count, 3))
    whole = noddi_signal(bvals, bvecs, ndi, odi, fwf, direction)
    chosen = np.array([0, 4095, 4096, 4999])
    part = noddi_signal(bvals, bvecs, ndi[chosen], odi[chosen], fwf[chosen], direction[chosen])
    np.testing.assert_allclose(whole[chosen], part, rtol=1e-12)
    assert whole.shape == (count, 7)
    np.testing.assert_allclose(whole[:, 0], 1.0)


def test_impossible_fractions_and_shapes_are_refused():
    bvals, bvecs = demo_scheme(6, (1000,), 1)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        noddi_signal(bvals, bvecs, np.array([1.2]), np.array([0.2]), np.array([0.0]), np.ones((1, 3)))
    with pytest.raises(ValueError, match="bvecs"):
        noddi_signal(bvals, bvecs.T, np.array([0.2]), np.array([0.2]), np.array([0.0]), np.ones((1, 3)))


def test_odi_and_kappa():
    np.testing.assert_allclose(kappa_from_odi(np.array([0.5, 1.0])), [1.0, 0.0], atol=1e-12)
    kappa = 7.3
    assert kappa_from_odi(np.array([2 / np.pi * np.arctan(1 / kappa)]))[0] == pytest.approx(kappa)


def test_rician_noise_has_its_known_mean():
    rng = np.random.default_rng(1)
    floor = rician_noise(np.zeros(200_000), 2.0, rng)
    assert floor.mean() == pytest.approx(2.0 * np.sqrt(np.pi / 2), rel=0.01)
    strong = rician_noise(np.full(200_000, 100.0), 2.0, rng)
    assert strong.mean() == pytest.approx(100.02, abs=0.03)
    assert strong.std() == pytest.approx(2.0, rel=0.02)


def test_scheme_is_even_seeded_and_interleaved():
    bvals, bvecs = demo_scheme(30, (1000, 2000, 3000), 6, seed=2)
    assert len(bvals) == 96
    assert (bvals == 0).sum() == 6
    assert bvals[0] == 0
    for b in (1000, 2000, 3000):
        shell = bvecs[bvals == b]
        assert len(shell) == 30
        np.testing.assert_allclose(np.linalg.norm(shell, axis=1), 1)
        cosines = np.abs(shell @ shell.T) - np.eye(30)
        # 30 axes over a half sphere cannot all be further apart than about 28 degrees
        assert np.degrees(np.arccos(cosines.max(axis=1))).min() > 23
        np.testing.assert_allclose(shell.T @ shell / 30, np.eye(3) / 3, atol=0.02)
    again = demo_scheme(30, (1000, 2000, 3000), 6, seed=2)
    np.testing.assert_array_equal(bvecs, again[1])
    assert np.abs(bvecs - demo_scheme(30, (1000, 2000, 3000), 6, seed=3)[1]).max() > 0.1


def test_fsl_texts_read_back(tmp_path):
    from neurostrata.gate.gradients import read_gradients

    bvals, bvecs = demo_scheme(10, (1000, 2000), 3)
    texts = format_fsl(bvals, bvecs)
    (tmp_path / "x.bval").write_text(texts[0])
    (tmp_path / "x.bvec").write_text(texts[1])
    table = read_gradients(tmp_path / "x.bval", tmp_path / "x.bvec", "01", len(bvals))
    np.testing.assert_array_equal(table.bvals, bvals)
    np.testing.assert_allclose(table.bvecs, bvecs, atol=2e-6)
