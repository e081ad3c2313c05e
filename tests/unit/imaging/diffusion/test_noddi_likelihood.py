"""The maximum-likelihood engine of NODDI: its model against the simulator's own, its fit against the truth."""

import nibabel as nib
import numpy as np
import pytest
import torch

from neurostrata.core.config import section_defaults
from neurostrata.core.errors import UserError
from neurostrata.gate.gradients import Gradients
from neurostrata.imaging.diffusion import commands as diffusion_commands
from neurostrata.imaging.diffusion.noddi import engines as noddi
from neurostrata.imaging.diffusion.noddi.likelihood import fit_likelihood, noise_level
from neurostrata.imaging.diffusion.noddi.signal import LocalNoddiModel, NoddiModel, Scheme, watson_moments
from neurostrata.imaging.diffusion.noddi.start import _main_axis
from neurostrata.imaging.images.io import Grid
from neurostrata.imaging.images.series import read_deviations
from neurostrata.simulation.images.diffusion_signal import demo_scheme, format_fsl, noddi_signal, rician_noise

SETTINGS = section_defaults("diffusion")["noddi"] | {"engine": "maximum_likelihood"}
GAUSSIAN = SETTINGS | {"likelihood": "gaussian"}


def unit(rng, count):
    vectors = rng.standard_normal((count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def people(count, seed=0, fwf=0.5):
    """Truth of many voxels: columns FWF, NDI, ODI; directions."""
    rng = np.random.default_rng(seed)
    truth = np.stack(
        [rng.uniform(0, fwf, count), rng.uniform(0.1, 0.95, count), rng.uniform(0.03, 0.9, count)], axis=1
    )
    return truth, unit(rng, count)


def simulate(truth, directions, shells=(1000, 2000), b0=6, count=30):
    bvals, bvecs = demo_scheme(count, shells, b0)
    clean = noddi_signal(bvals, bvecs, truth[:, 1], truth[:, 2], truth[:, 0], directions)
    return clean, Gradients(bvals, bvecs, 50.0)


def deviating(truth, directions, deviations, table):
    """Signals where every voxel has gradients of its own."""
    signals = np.empty((len(truth), len(table.bvals)))
    for voxel, deviation in enumerate(deviations):
        vectors = table.bvecs @ (np.eye(3) + deviation).T
        lengths = np.linalg.norm(vectors, axis=1)
        signals[voxel] = noddi_signal(
            table.bvals * lengths**2,
            vectors / np.maximum(lengths, 1e-9)[:, None],
            *truth[[voxel]][:, [1, 2, 0]].T,
            directions[[voxel]],
        )[0]
    return signals


def model_of(table, **options):
    order = np.argsort(table.bvals, kind="stable")
    order = order[table.bvals[order] > 0]
    model = NoddiModel(Scheme(table.bvals[order], table.bvecs[order]), 1.7e-3, 3e-3, **options)
    return model, order


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 5e-7), (torch.float32, 2e-6)])
@pytest.mark.parametrize("shells", [(1000, 2000, 3000), (300, 6000)])
def test_the_model_is_the_simulators(dtype, tolerance, shells):
    rng = np.random.default_rng(1)
    truth = rng.uniform((0, 0, 0.006), (1, 1, 0.99), (500, 3))
    directions = unit(rng, 500)
    expected, table = simulate(truth, directions, shells, b0=1)
    model, order = model_of(table, dtype=dtype)
    parameters = torch.tensor(np.insert(truth, 0, 1.3, axis=1).T, dtype=dtype)
    found = model.predict(parameters, torch.tensor(directions.T, dtype=dtype)).signal.T.numpy()
    np.testing.assert_allclose(found, 1.3 * expected[:, order], atol=tolerance)


@pytest.mark.parametrize("local", [False, True])
def test_the_derivatives_are_those_of_differences(local):
    truth, directions = people(60, seed=2)
    _, table = simulate(truth, directions, (1000, 2500))
    model, _ = model_of(table, dtype=torch.float64)
    if local:
        model = LocalNoddiModel(model, torch.tensor(np.random.default_rng(0).normal(0, 0.05, (60, 3, 3))))
    parameters = torch.tensor(np.insert(truth, 0, 0.9, axis=1).T)
    axes = torch.tensor(directions.T)
    predicted = model.predict(parameters, axes)
    small = 1e-4
    for row in range(6):
        signals = []
        for sign in (small, -small):
            changed, turned = parameters.clone(), axes
            if row < 4:
                changed[row] += sign
            else:
                turned = axes + sign * predicted.tangents[row - 4]
                turned = turned / turned.norm(dim=0)
            signals.append(model.predict(changed, turned).signal)
        difference = (signals[0] - signals[1]) / (2 * small)
        # linear interpolation between the entries over ODI leaves its derivative a staircase
        np.testing.assert_allclose(predicted.derivatives[row], difference, atol=2e-4 if row == 3 else 1e-6)


def test_the_main_axis_is_the_eigenvector():
    rng = np.random.default_rng(3)
    rotation = np.linalg.qr(rng.standard_normal((50, 3, 3)))[0]
    values = np.stack(
        [rng.uniform(1.2, 2, 50), rng.uniform(-0.2, 0.8, 50), rng.uniform(-0.2, 0.8, 50)], axis=1
    )
    tensors = np.einsum("vij,vj,vkj->vik", rotation, values, rotation)
    found = _main_axis(torch.tensor(tensors, dtype=torch.float32)).numpy()
    assert np.abs((found * rotation[:, :, 0]).sum(axis=1)).min() > 0.999
    assert torch.isfinite(_main_axis(torch.zeros(2, 3, 3))).all()


def test_the_watson_moments_are_those_of_the_density():
    odi = np.array([0.05, 0.3, 0.9])
    kappa = 1 / np.tan(odi * np.pi / 2)
    x = np.linspace(-1, 1, 200001)
    density = np.exp(kappa[:, None] * (x**2 - 1))
    expected = np.trapezoid(density * (1.5 * x**2 - 0.5), x) / np.trapezoid(density, x)
    np.testing.assert_allclose(watson_moments(odi, 3)[0][:, 1], expected, atol=1e-8)


@pytest.mark.parametrize("likelihood", ["gaussian", "offset_gaussian"])
def test_noise_free_signals_give_the_truth(likelihood):
    truth, directions = people(2000, seed=3, fwf=0.9)
    clean, table = simulate(truth, directions)
    fitted = fit_likelihood(700 * clean, table, SETTINGS | {"likelihood": likelihood})
    error = np.abs(fitted.parameters[:, 1:] - truth)
    assert np.quantile(error, 0.99, axis=0).max() < 1e-3
    assert error.max() < 0.01
    np.testing.assert_allclose(fitted.parameters[:, 0], 1, atol=1e-4)
    cosine = np.abs((fitted.direction * directions).sum(axis=1))
    assert np.degrees(np.arccos(cosine.clip(0, 1)).max()) < 1


def test_neither_blocks_nor_threads_nor_scale_change_the_fit():
    truth, directions = people(300, seed=4)
    clean, table = simulate(truth, directions)
    noisy = rician_noise(clean, 1 / 40, np.random.default_rng(0))
    whole = fit_likelihood(noisy, table, SETTINGS)
    parts = fit_likelihood(1e4 * noisy, table, SETTINGS, block=37, threads=2)
    difference = np.abs(whole.parameters - parts.parameters)
    # where hardly anything but free water is found, the rest is not determined
    assert difference[whole.parameters[:, 1] < 0.9].max() < 5e-3
    assert np.quantile(difference, 0.95) < 1e-4


def test_the_threads_of_torch_stay_what_they_were():
    before = torch.get_num_threads()
    truth, directions = people(5)
    clean, table = simulate(truth, directions)
    fit_likelihood(clean, table, SETTINGS, threads=2)
    assert torch.get_num_threads() == before


def test_the_floor_of_the_noise_is_expected():
    truth, directions = people(1500, seed=5)
    clean, table = simulate(truth, directions, (1000, 3000))
    noisy = rician_noise(clean, 1 / 15, np.random.default_rng(1))
    bias = {
        name: (
            fit_likelihood(noisy, table, SETTINGS | {"likelihood": name}).parameters[:, 2] - truth[:, 1]
        ).mean()
        for name in ("gaussian", "offset_gaussian")
    }
    print(bias)
    assert bias["gaussian"] > 0.02
    assert abs(bias["offset_gaussian"]) < 0.5 * bias["gaussian"]


@pytest.mark.parametrize("b0", [1, 6])
def test_the_noise_is_found_in_spite_of_pulsating_fluid(b0):
    truth, directions = people(1000, seed=6)
    rng = np.random.default_rng(2)
    clean, table = simulate(truth, directions, (1000, 2500), b0=b0)
    clean[:, table.b0] += rng.normal(0, 0.1, (1000, b0))
    noisy = 600 * rician_noise(clean, 1 / 20, rng)
    assert noise_level(noisy, table, SETTINGS) == pytest.approx(600 / 20, rel=0.1)
    deviations = np.zeros((1000, 3, 3))
    assert noise_level(noisy, table, SETTINGS, deviations=deviations) == pytest.approx(30, rel=0.1)
    assert noise_level(0 * noisy, table, SETTINGS) == 0


def test_absurd_signals_give_numbers():
    rng = np.random.default_rng(0)
    truth, directions = people(60)
    clean, table = simulate(truth, directions)
    signals = np.abs(rng.standard_normal(clean.shape))
    signals[:10] = 0
    signals[10:20, table.bvals > 0] = 0
    signals[20:30, table.bvals > 0] = 1e4
    signals[30:40] = 1
    signals[40] = -3
    signals[41] = 1e-30
    signals[42] = 1e30
    for table_b0 in (1, 6):
        chosen = ~table.b0 | (np.cumsum(table.b0) <= table_b0)
        maps = noddi.noddi_maps(signals[:, chosen], table.select(chosen), SETTINGS, subject="01")
        for values in maps:
            assert np.isfinite(values).all()
            assert values.min() >= 0
            assert values.max() <= 1
        deviations = np.zeros((60, 3, 3))
        fitted = fit_likelihood(signals[:, chosen], table.select(chosen), SETTINGS, deviations=deviations)
        assert all(np.isfinite(part).all() for part in fitted)


def test_gradients_that_differ_between_voxels_are_used():
    truth, directions = people(200, seed=7)
    _, table = simulate(truth, directions, (1000, 2000, 3000))
    deviations = np.random.default_rng(7).normal(0, 0.04, (200, 3, 3))
    clean = deviating(truth, directions, deviations, table)

    def errors(signals, settings, known):
        found = fit_likelihood(signals, table, settings, deviations=known, block=64)
        return np.abs(found.parameters[:, 1:] - truth)

    assert np.quantile(errors(clean, GAUSSIAN, deviations), 0.99) < 1e-3
    assert errors(clean, GAUSSIAN, None).mean(axis=0).min() > 5e-3
    noisy = rician_noise(clean, 1 / 40, np.random.default_rng(8))
    used, ignored = (errors(noisy, SETTINGS, known).mean(axis=0) for known in (deviations, None))
    print(used, ignored)  # NDI's error is the noise's at this SNR, with deviations or without
    assert (used[[0, 2]] < 0.9 * ignored[[0, 2]]).all()
    assert used[1] < 1.1 * ignored[1]
    # gradients without deviations: the two ways to evaluate the model agree
    plain, same = (fit_likelihood(noisy, table, SETTINGS, deviations=L) for L in (None, 0 * deviations))
    assert np.quantile(np.abs(plain.parameters - same.parameters), 0.95) < 1e-4


def test_a_single_shell_is_refused():
    truth, directions = people(5)
    clean, table = simulate(truth, directions, (1000,))
    with pytest.raises(UserError, match=r"subject 07: NODDI needs at least two shells"):
        noddi.noddi_maps(clean, table, SETTINGS, subject="07")


def test_no_voxels_give_empty_maps():
    _, table = simulate(*people(2))
    maps = noddi.noddi_maps(np.zeros((0, len(table.bvals))), table, SETTINGS, subject="01")
    assert all(values.shape == (0,) for values in maps)


def test_amico_says_that_it_cannot_use_deviations():
    clean, table = simulate(*people(2))
    settings = SETTINGS | {"engine": "amico"}
    with pytest.raises(UserError, match=r"subject 01: AMICO .*maximum_likelihood"):
        noddi.noddi_maps(clean, table, settings, subject="01", deviations=np.zeros((2, 3, 3)))


def test_deviations_are_read_column_by_column(tmp_path):
    affine = np.diag([2.0, 2, 2, 1])
    inside = np.zeros((4, 3, 2), bool)
    inside[1, 2, 1] = True
    data = np.zeros((4, 3, 2, 9), np.float32)
    data[1, 2, 1] = np.arange(1, 10) / 100
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "g.nii.gz")
    (found,) = read_deviations(tmp_path / "g.nii.gz", "01", Grid((4, 3, 2), affine), inside)
    np.testing.assert_allclose(found, np.array([[1, 4, 7], [2, 5, 8], [3, 6, 9]]) / 100, atol=1e-7)
    nib.save(nib.Nifti1Image(100 * data, affine), tmp_path / "percent.nii.gz")
    with pytest.raises(UserError, match=r"subject 01: grad_dev .*percent.*divide per cent"):
        read_deviations(tmp_path / "percent.nii.gz", "01", Grid((4, 3, 2), affine), inside)
    nib.save(nib.Nifti1Image(data[..., :6], affine), tmp_path / "six.nii.gz")
    with pytest.raises(UserError, match="nine volumes"):
        read_deviations(tmp_path / "six.nii.gz", "01", Grid((4, 3, 2), affine), inside)


def test_the_command_uses_deviations(tmp_path, capfd):
    """From files to maps, at the voxels of a mask."""
    rng = np.random.default_rng(8)
    shape = (6, 5, 4)
    inside = rng.random(shape) < 0.6
    truth, directions = people(int(inside.sum()), seed=8)
    _, table = simulate(truth, directions, (1000, 2000, 3000))
    deviations = rng.normal(0, 0.06, (len(truth), 3, 3))
    data = np.zeros((*shape, len(table.bvals)), np.float32)
    data[inside] = 900 * deviating(truth, directions, deviations, table)
    volumes = np.zeros((*shape, 9), np.float32)
    volumes[inside] = deviations.transpose(0, 2, 1).reshape(-1, 9)
    for name, values in (("dwi", data), ("mask", inside.astype(np.uint8)), ("grad_dev", volumes)):
        nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / f"{name}.nii.gz")
    for name, text in zip(("bval", "bvec"), format_fsl(table.bvals, table.bvecs)):
        (tmp_path / name).write_text(text)
    diffusion = section_defaults("diffusion") | {"seed": 1, "version": 1, "noddi": GAUSSIAN}
    outputs = {name: tmp_path / f"{name}.nii.gz" for name in ("ndi", "odi", "fwf")}
    diffusion_commands.fit_noddi(
        dwi=tmp_path / "dwi.nii.gz",
        bval=tmp_path / "bval",
        bvec=tmp_path / "bvec",
        mask=tmp_path / "mask.nii.gz",
        grad_dev=tmp_path / "grad_dev.nii.gz",
        subject="01",
        settings=diffusion,
        **outputs,
    )
    found = nib.load(outputs["ndi"]).get_fdata()
    assert not found[~inside].any()
    assert np.quantile(np.abs(found[inside] - truth[:, 1]), 0.95) < 0.002
    assert "grad_dev" in (tmp_path / "ndi.json").read_text()
    assert "research" not in capfd.readouterr().err
