"""FA and NODDI fitted to simulated data against what was planted, and the commands around them."""

import json
import os

import nibabel as nib
import numpy as np
import pytest

from neurostrata.core.config import section_defaults
from neurostrata.core.errors import UserError
from neurostrata.gate.gradients import Gradients
from neurostrata.imaging.diffusion import commands as diffusion_commands
from neurostrata.imaging.diffusion import tensor
from neurostrata.imaging.diffusion.noddi import engines as noddi
from neurostrata.imaging.diffusion.tensor import tensor_maps
from neurostrata.simulation.images.diffusion_signal import demo_scheme, format_fsl, noddi_signal, rician_noise

AMICO = section_defaults("diffusion")["noddi"] | {"engine": "amico"}

SNR = 40


@pytest.fixture(scope="module")
def amico():
    """AMICO is an optional extra; where everything is required its absence fails."""
    try:
        import amico
    except ImportError:
        if os.environ.get("NEUROSTRATA_REQUIRE_ALL"):
            raise
        pytest.skip("dmri-amico is not installed")
    return amico


@pytest.fixture(scope="module")
def planted():
    """Signals of 3,000 voxels, two shells of 30 directions, SNR 40, free water below one half."""
    rng = np.random.default_rng(20)
    count = 3000
    truth = {
        "ndi": np.clip(rng.normal(0.55, 0.16, count), 0.1, 0.95),
        "odi": np.clip(rng.normal(0.3, 0.15, count), 0.03, 0.95),
        "fwf": rng.uniform(0, 0.5, count),
    }
    assert truth["ndi"].std() >= 0.12
    bvals, bvecs = demo_scheme(30, (1000, 2000), 6)
    clean = noddi_signal(
        bvals, bvecs, truth["ndi"], truth["odi"], truth["fwf"], rng.standard_normal((count, 3))
    )
    noisy = rician_noise(clean, 1 / SNR, rng)
    return {
        "truth": truth,
        "clean": clean * 800,
        "noisy": noisy * 800,
        "table": Gradients(bvals, bvecs, 50.0),
    }


@pytest.fixture(scope="module")
def fitted(amico, planted):
    settings = AMICO
    return noddi.noddi_maps(planted["noisy"], planted["table"], settings, subject="01")


def errors(estimate, truth):
    difference = np.asarray(estimate, float) - truth
    return np.abs(difference).mean(), difference.mean(), np.corrcoef(estimate, truth)[0, 1]


def test_tensors_are_the_same_however_many_voxels_are_fitted_at_a_time(planted, monkeypatch):
    table = planted["table"]
    chosen = table.bvals <= 1050
    signals = planted["noisy"][:250, chosen]
    whole = tensor_maps(signals, table.select(chosen))
    monkeypatch.setattr(tensor, "_CHUNK_VOXELS", 100)
    for part, expected in zip(tensor_maps(signals, table.select(chosen)), whole):
        assert len(part) == 250
        assert np.array_equal(part, expected)


def test_fa_and_md_equal_the_noise_free_fit(planted):
    chosen = planted["table"].bvals <= 1050
    table = planted["table"].select(chosen)
    clean = tensor_maps(planted["clean"][:, chosen], table)
    noisy = tensor_maps(planted["noisy"][:, chosen], table)
    error, bias, r = errors(noisy.fa, clean.fa)
    print(f"FA: error {error:.4f}, bias {bias:+.4f}, r {r:.3f}")
    assert error <= 0.025
    assert abs(bias) <= 0.015
    assert clean.fa.std() > 0.1
    error, bias, _ = errors(noisy.md, clean.md)
    assert abs(bias) < 0.02e-3
    assert 0.5e-3 < clean.md.mean() < 2e-3


def test_a_known_tensor_comes_back():
    bvals, bvecs = demo_scheme(30, (1000,), 3)
    values = np.array([1.7e-3, 0.3e-3, 0.2e-3])
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
    tensor = rotation @ np.diag(values) @ rotation.T
    signal = 500 * np.exp(-bvals * np.einsum("ij,jk,ik->i", bvecs, tensor, bvecs))
    maps = tensor_maps(signal[None], Gradients(bvals, bvecs, 50.0))
    expected = np.sqrt(1.5 * ((values - values.mean()) ** 2).sum() / (values**2).sum())
    assert maps.fa[0] == pytest.approx(expected, abs=1e-4)
    assert maps.md[0] == pytest.approx(values.mean(), rel=1e-4)


def test_tensor_is_finite_for_absurd_signals():
    bvals, bvecs = demo_scheme(10, (1000,), 2)
    b0 = bvals == 0
    signals = np.abs(np.random.default_rng(0).standard_normal((50, len(bvals))))
    signals[:10] = np.where(b0, 1.0, 0.0)  # no signal left
    signals[10:20] = np.where(b0, 1.0, 50.0)  # growing with b
    signals[20] = np.where(b0, 1.0, -3.0)
    maps = tensor_maps(signals, Gradients(bvals, bvecs, 50.0))
    assert np.isfinite(maps.fa).all()
    assert np.isfinite(maps.md).all()
    assert maps.fa.min() >= 0
    assert maps.fa.max() <= 1
    assert maps.md.min() >= 0


def test_noddi_recovers_what_was_planted(fitted, planted):
    for name, estimate in fitted._asdict().items():
        error, bias, r = errors(estimate, planted["truth"][name])
        print(f"{name}: error {error:.4f}, bias {bias:+.4f}, r {r:.3f}")
        assert estimate.min() >= 0
        assert estimate.max() <= 1
    error, bias, r = errors(fitted.ndi, planted["truth"]["ndi"])
    assert error <= 0.05
    assert abs(bias) <= 0.02
    assert r >= 0.85
    assert errors(fitted.odi, planted["truth"]["odi"])[2] >= 0.85
    assert errors(fitted.fwf, planted["truth"]["fwf"])[2] >= 0.85


def test_maximum_likelihood_is_closer_than_amico(fitted, planted):
    settings = section_defaults("diffusion")["noddi"] | {"engine": "maximum_likelihood"}
    ours = noddi.noddi_maps(planted["noisy"], planted["table"], settings, subject="01")
    for name, estimate in ours._asdict().items():
        truth = planted["truth"][name]
        (error, bias, r), theirs = errors(estimate, truth), errors(getattr(fitted, name), truth)
        print(f"{name}: error {error:.4f} ({theirs[0]:.4f}), bias {bias:+.4f} ({theirs[1]:+.4f}), r {r:.3f}")
        assert abs(bias) < 0.01
        assert r >= 0.9
        assert np.corrcoef(estimate, getattr(fitted, name))[0, 1] > 0.9
        if name != "fwf":  # as close as AMICO's, whose coarse dictionary and penalty hold it off the bounds
            assert error < theirs[0]


def test_noddi_leaves_no_files_and_fits_blocks_alike(amico, fitted, planted, tmp_path, monkeypatch, capfd):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    home = amico.lut.dipy_home
    settings = AMICO
    few = planted["noisy"][:7]
    monkeypatch.setattr(noddi, "_BLOCK_VOXELS", 3)
    blocks = noddi.noddi_maps(few, planted["table"], settings, subject="01")
    single = noddi.noddi_maps(few[:1], planted["table"], settings, subject="01")
    for name in ("ndi", "odi", "fwf"):
        np.testing.assert_allclose(getattr(fitted, name)[:7], getattr(blocks, name), atol=1e-6)
        np.testing.assert_allclose(getattr(fitted, name)[:1], getattr(single, name), atol=1e-6)
    assert list(tmp_path.iterdir()) == []
    assert amico.lut.dipy_home == home
    assert capfd.readouterr().out == ""


def test_noddi_without_amico_says_what_to_install(planted, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "amico", None)
    settings = AMICO
    with pytest.raises(UserError, match=r"requirements-amico\.txt.*research"):
        noddi.noddi_maps(planted["noisy"][:5], planted["table"], settings, subject="01")


def test_a_misspelled_amico_option_is_not_swallowed():
    class Evaluation:
        CONFIG = {"nthreads": -1}  # noqa: RUF012

    with pytest.raises(KeyError, match="nthread"):
        noddi._configure(Evaluation(), nthread=2)


@pytest.fixture
def person(tmp_path, planted):
    """A small series on disk: 10x10x6 voxels, a background of zeros, an oblique header."""
    shape = (10, 10, 6)
    inside = np.zeros(shape, bool)
    inside[2:8, 2:8, 1:5] = True
    data = np.zeros((*shape, len(planted["table"].bvals)), np.float32)
    data[inside] = planted["noisy"][: inside.sum()]
    turn = np.deg2rad(10)
    affine = np.array(
        [
            [2 * np.cos(turn), -2 * np.sin(turn), 0, -9],
            [2 * np.sin(turn), 2 * np.cos(turn), 0, 4],
            [0, 0, 2, 7],
            [0, 0, 0, 1],
        ]
    )
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "dwi.nii.gz")
    nib.save(nib.Nifti1Image(inside.astype(np.uint8), affine), tmp_path / "mask.nii.gz")
    texts = format_fsl(planted["table"].bvals, planted["table"].bvecs)
    (tmp_path / "dwi.bval").write_text(texts[0])
    (tmp_path / "dwi.bvec").write_text(texts[1])
    return {"folder": tmp_path, "inside": inside, "affine": affine, "data": data}


def tensor_arguments(folder, **changes):
    arguments = {
        "dwi": folder / "dwi.nii.gz",
        "bval": folder / "dwi.bval",
        "bvec": folder / "dwi.bvec",
        "dwi_mask": folder / "mask.nii.gz",
        "subject": "05",
        "fa": folder / "out/fa.nii.gz",
        "md": folder / "out/md.nii.gz",
        "b0": folder / "out/b0.nii.gz",
        "mask": folder / "out/mask.nii.gz",
        "settings": section_defaults("diffusion") | {"seed": 1, "version": 1},
    }
    return arguments | changes


def test_tensor_command_writes_native_maps_with_sidecars(person):
    folder = person["folder"]
    diffusion_commands.fit_tensor(**tensor_arguments(folder))
    for name in ("fa", "md", "b0", "mask"):
        image = nib.load(folder / f"out/{name}.nii.gz")
        np.testing.assert_allclose(image.affine, person["affine"], atol=1e-5)
        data = image.get_fdata()
        assert np.isfinite(data).all()
        assert not data[~person["inside"]].any()
        assert (data[person["inside"]] > 0).all()
    sidecar = json.loads((folder / "out/md.json").read_text())
    assert sidecar["Units"] == "mm^2/s"
    assert sidecar["Scheme"]["shells"] == [
        {"b": 1000.0, "volumes": 30, "directions": 30},
        {"b": 2000.0, "volumes": 30, "directions": 30},
    ]
    assert "36 volumes" in sidecar["Fit"]


def test_tensor_command_without_a_mask_takes_the_extracted_brain(person):
    folder = person["folder"]
    diffusion_commands.fit_tensor(**tensor_arguments(folder, dwi_mask=None))
    mask = nib.load(folder / "out/mask.nii.gz").get_fdata() > 0
    np.testing.assert_array_equal(mask, person["inside"])


def test_voxels_without_any_value_are_outside_the_brain(person):
    folder = person["folder"]
    data = np.where(person["inside"][..., None], person["data"], np.nan)
    data[4, 4, 2] = np.nan
    nib.save(nib.Nifti1Image(data.astype(np.float32), person["affine"]), folder / "gaps.nii.gz")
    for given in (folder / "mask.nii.gz", None):
        diffusion_commands.fit_tensor(**tensor_arguments(folder, dwi=folder / "gaps.nii.gz", dwi_mask=given))
        mask = nib.load(folder / "out/mask.nii.gz").get_fdata() > 0
        expected = person["inside"].copy()
        expected[4, 4, 2] = False
        np.testing.assert_array_equal(mask, expected)


def test_noddi_command(amico, person, capfd):
    folder = person["folder"]
    outputs = {name: folder / f"out/{name}.nii.gz" for name in ("ndi", "odi", "fwf")}
    arguments = tensor_arguments(folder)
    diffusion_commands.fit_noddi(
        **{key: arguments[key] for key in ("dwi", "bval", "bvec", "subject")},
        settings=arguments["settings"] | {"noddi": AMICO},
        mask=folder / "mask.nii.gz",
        **outputs,
    )
    assert "research" in capfd.readouterr().err
    for path in outputs.values():
        data = nib.load(path).get_fdata()
        assert np.isfinite(data).all()
        assert not data[~person["inside"]].any()
    assert nib.load(outputs["ndi"]).get_fdata()[person["inside"]].std() > 0.1


def test_bad_series_are_refused_with_subject_and_file(person, tmp_path):
    folder = person["folder"]
    data = person["data"].copy()
    data[4, 4, 2, 7] = np.nan
    nib.save(nib.Nifti1Image(data, person["affine"]), folder / "nan.nii.gz")
    with pytest.raises(UserError, match=r"subject 05: dwi .*nan\.nii\.gz: has 1 NaN"):
        diffusion_commands.fit_tensor(**tensor_arguments(folder, dwi=folder / "nan.nii.gz"))
    data = person["data"].copy()
    data[4, 4, 2, 0], data[5, 4, 2, 0] = np.nan, np.inf
    nib.save(nib.Nifti1Image(data, person["affine"]), folder / "b0.nii.gz")
    for mask in (folder / "mask.nii.gz", None):
        with pytest.raises(UserError, match=r"subject 05: dwi .*b0\.nii\.gz: has 2 NaN"):
            diffusion_commands.fit_tensor(**tensor_arguments(folder, dwi=folder / "b0.nii.gz", dwi_mask=mask))
    (folder / "cut.nii.gz").write_bytes((folder / "dwi.nii.gz").read_bytes()[:20000])
    with pytest.raises(UserError, match=r"subject 05: dwi .*cut\.nii\.gz: cannot be read, perhaps truncated"):
        diffusion_commands.fit_tensor(**tensor_arguments(folder, dwi=folder / "cut.nii.gz"))
    nib.save(nib.Nifti1Image(data[..., :20], person["affine"]), folder / "short.nii.gz")
    with pytest.raises(UserError, match="has 66 b-values, the image has 20 volumes"):
        diffusion_commands.fit_tensor(**tensor_arguments(folder, dwi=folder / "short.nii.gz"))
    with pytest.raises(UserError, match="4-D series"):
        diffusion_commands.fit_tensor(**tensor_arguments(folder, dwi=folder / "mask.nii.gz"))
    with pytest.raises(UserError, match="does not exist"):
        diffusion_commands.fit_tensor(**tensor_arguments(folder, dwi=folder / "nowhere.nii.gz"))
    moved = person["affine"].copy()
    moved[0, 3] += 5
    nib.save(nib.Nifti1Image(person["inside"].astype(np.uint8), moved), folder / "moved.nii.gz")
    with pytest.raises(UserError, match=r"subject 05: dwi_mask .*moved\.nii\.gz: .*affines differ"):
        diffusion_commands.fit_tensor(**tensor_arguments(folder, dwi_mask=folder / "moved.nii.gz"))
    nib.save(nib.Nifti1Image(np.zeros((10, 10, 6), np.uint8), person["affine"]), folder / "empty.nii.gz")
    with pytest.raises(UserError, match="is empty"):
        diffusion_commands.fit_tensor(**tensor_arguments(folder, dwi_mask=folder / "empty.nii.gz"))
    assert not (folder / "out").exists()
