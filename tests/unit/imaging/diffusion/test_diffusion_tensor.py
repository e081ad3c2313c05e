"""Which measurements tensors are fitted to, and the fit against least squares written out."""

import numpy as np
import pytest

from neurostrata.core.errors import UserError
from neurostrata.gate.gradients import Gradients, tensor_measurements
from neurostrata.imaging.diffusion.tensor import tensor_maps
from neurostrata.simulation.images.diffusion_signal import demo_scheme


def table_of(directions, b=1000.0):
    """One volume without weighting, then the directions."""
    return Gradients(np.r_[0.0, np.full(len(directions), b)], np.r_[np.zeros((1, 3)), directions], 50.0)


def turned():
    return np.linalg.qr(np.random.default_rng(3).standard_normal((3, 3)))[0]


def test_too_few_directions_are_refused():
    with pytest.raises(UserError, match="subject 09: 5 directions with 50 < b <= 1050"):
        tensor_measurements(Gradients(*demo_scheme(5, (1000, 2000), 2), 50.0), 1050, "09")


@pytest.mark.parametrize("rotation", [np.eye(3), turned()], ids=["upright", "oblique"])
@pytest.mark.parametrize("height", [0.0, 0.5, 1.5])
def test_directions_in_a_plane_or_on_a_cone_are_refused(rotation, height):
    """On a cone z^2 = h^2 (x^2 + y^2): a tensor with these ratios of its elements changes no signal."""
    angles = np.linspace(0, 2 * np.pi, 13, endpoint=False)
    directions = np.column_stack([np.cos(angles), np.sin(angles), np.full(13, height)])
    directions = directions / np.sqrt(1 + height**2) @ rotation.T
    with pytest.raises(UserError, match=r"subject 09: the 13 directions .* do not determine a tensor"):
        tensor_measurements(table_of(directions), 1050, "09")
    others = np.random.default_rng(0).standard_normal((6, 3))
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    assert tensor_measurements(table_of(np.r_[directions, others]), 1050, "09").all()


def test_the_largest_b_value_is_fitted_too():
    table = Gradients(*demo_scheme(12, (1000, 2000), 3), 50.0)
    np.testing.assert_array_equal(tensor_measurements(table, 1000, "01"), table.bvals <= 1000)


def written_out(signals, table):
    """FA and MD of each voxel: a straight line through the logarithms, its squared prediction the weights of a second one."""
    x, y, z = table.bvecs.T
    columns = [x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z]
    design = np.column_stack([np.ones(len(x)), *(-table.bvals * column for column in columns)])
    found = []
    for signal in signals:
        logarithms = np.log(np.maximum(signal, 1e-3 * signal[table.b0].mean()))
        first = np.linalg.lstsq(design, logarithms, rcond=None)[0]
        roots = np.exp(design @ first)
        d = np.linalg.lstsq(design * roots[:, None], logarithms * roots, rcond=None)[0][1:]
        values = np.linalg.eigvalsh([[d[0], d[3], d[4]], [d[3], d[1], d[5]], [d[4], d[5], d[2]]]).clip(0)
        ratio = ((values - values.mean()) ** 2).sum() / (values**2).sum()
        found.append((np.sqrt(1.5 * ratio), values.mean()))
    return np.array(found).T


def test_noisy_tensors_are_those_of_weighted_least_squares():
    """Signals of other scales, some lost altogether: they count as a thousandth of their voxel's b = 0 signal."""
    rng = np.random.default_rng(0)
    table = Gradients(*demo_scheme(12, (1000,), 3), 50.0)
    tensors = [turned() @ np.diag(rng.uniform(0.3e-3, 2e-3, 3)) @ turned().T for _ in range(40)]
    clean = np.exp(-table.bvals * np.einsum("ij,vjk,ik->vi", table.bvecs, tensors, table.bvecs))
    signals = (clean + 0.03 * rng.standard_normal(clean.shape)) * rng.uniform(1, 2000, (40, 1))
    signals[:10, -1] = 0
    signals[5:15, -2] *= -1
    fa, md = written_out(signals, table)
    maps = tensor_maps(signals, table)
    np.testing.assert_allclose(maps.fa, fa, atol=1e-5)
    np.testing.assert_allclose(maps.md, md, rtol=1e-4)
