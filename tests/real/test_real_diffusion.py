"""Small crops of real diffusion data (dipy's test data), through the commands users run."""

import nibabel as nib
import numpy as np
import pytest

from neurostrata.core.config import section_defaults
from neurostrata.core.errors import UserError
from neurostrata.gate.gradients import find_shells, read_gradients
from neurostrata.imaging.diffusion import commands as diffusion_commands


@pytest.fixture
def crops(real_data):
    folder = real_data / "dwi_small"
    if not folder.is_dir():
        pytest.skip("the diffusion crops are not there")
    return folder


def run(crops, name, folder, suffix=".nii.gz", settings=None):
    """Fit tensors inside a mask of everything; returns the outputs' paths and the inputs' arguments."""
    image = crops / f"{name}{suffix}"
    source = nib.load(image)
    inside = np.ones(source.shape[:3], np.uint8)
    nib.save(nib.Nifti1Image(inside, source.affine), folder / "everything.nii.gz")
    inputs = {
        "dwi": image,
        "bval": crops / f"{name}.bval",
        "bvec": crops / f"{name}.bvec",
        "subject": name.replace("_", ""),
        "settings": settings or section_defaults("diffusion"),
    }
    outputs = {key: folder / f"{key}.nii.gz" for key in ("fa", "md", "b0", "mask")}
    diffusion_commands.fit_tensor(**inputs, dwi_mask=folder / "everything.nii.gz", **outputs)
    return outputs, inputs


@pytest.mark.parametrize("engine", ["amico", "maximum_likelihood"])
def test_two_shells_give_tensor_and_noddi_maps(crops, tmp_path, engine):
    if engine == "amico":
        pytest.importorskip("amico")
    settings = section_defaults("diffusion")
    settings["noddi"]["engine"] = engine
    outputs, inputs = run(crops, "data_b1k_b2k", tmp_path, settings=settings)
    table = read_gradients(inputs["bval"], inputs["bvec"], "x")
    assert [(round(s.bval, -2), len(s.members)) for s in find_shells(table)] == [(1000, 20), (2000, 80)]
    mask = nib.load(outputs["mask"]).get_fdata() > 0
    fa, md = (nib.load(outputs[key]).get_fdata()[mask] for key in ("fa", "md"))
    assert 0 <= fa.min() <= fa.max() <= 1
    assert 0 <= md.min() <= md.max() < 4e-3
    noddi = {key: tmp_path / f"{key}.nii.gz" for key in ("ndi", "odi", "fwf")}
    diffusion_commands.fit_noddi(**inputs, mask=outputs["mask"], **noddi)
    maps = {key: nib.load(path).get_fdata()[mask] for key, path in noddi.items()}
    print({key: np.round(np.percentile(values, [5, 50, 95]), 3).tolist() for key, values in maps.items()})
    for values in maps.values():
        assert np.isfinite(values).all()
        assert values.min() >= 0
        assert values.max() <= 1
    # The crop is cerebrospinal fluid with a rim of tissue and a dark corner of noise: where there is signal,
    # fast diffusion must come out as free water, and the rim as tissue of a low density.
    b0 = nib.load(outputs["b0"]).get_fdata()[mask]
    fluid, rim = (b0 > 500) & (md > 2.2e-3), (b0 > 500) & (md < 1.7e-3)
    assert fluid.sum() >= 10
    assert rim.sum() >= 3
    assert maps["fwf"][fluid].min() > 0.7
    assert maps["fwf"][rim].max() < 0.6
    assert 0.15 < np.median(maps["ndi"][rim]) < 0.5


def test_one_shell_with_columns_and_nan_vectors_gives_a_tensor_and_no_noddi(crops, tmp_path):
    outputs, inputs = run(crops, "small_64D", tmp_path, ".nii")
    mask = nib.load(outputs["mask"]).get_fdata() > 0
    assert mask.sum() > 900
    fa, md = (nib.load(outputs[key]).get_fdata() for key in ("fa", "md"))
    assert np.isfinite(fa).all()
    assert np.isfinite(md).all()
    assert fa[mask].max() <= 1
    assert 0.3e-3 < np.median(md[mask]) < 3e-3
    noddi = {key: tmp_path / f"{key}.nii.gz" for key in ("ndi", "odi", "fwf")}
    with pytest.raises(UserError, match=r"subject small64D: NODDI needs at least two shells.*b=9"):
        diffusion_commands.fit_noddi(**inputs, mask=outputs["mask"], **noddi)


def test_dipy_fits_the_same_tensor(crops, tmp_path):
    """Our block of voxels and choice of volumes against dipy called on the whole crop."""
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dti import TensorModel

    outputs, inputs = run(crops, "data_b1k_b2k", tmp_path)
    bvals, bvecs = np.loadtxt(inputs["bval"]), np.loadtxt(inputs["bvec"]).T
    low = bvals <= 1050
    table = gradient_table(bvals=bvals[low], bvecs=np.nan_to_num(bvecs[low]), b0_threshold=50)
    data = nib.load(inputs["dwi"]).get_fdata()[..., low]
    expected = TensorModel(table, fit_method="WLS").fit(data)
    positive = (data > 0).all(axis=3)  # zeros of dark voxels are raised to another floor than dipy's 0.0001
    assert positive.sum() > 40
    np.testing.assert_allclose(
        nib.load(outputs["fa"]).get_fdata()[positive], expected.fa[positive], atol=2e-3
    )
    np.testing.assert_allclose(
        nib.load(outputs["md"]).get_fdata()[positive], expected.md[positive], rtol=2e-3
    )


def test_a_diffusion_spectrum_lattice_gives_a_tensor_from_its_low_b_values(crops, tmp_path):
    """101 directions on a lattice, b-values that spread about their nominal ones, one volume at b = 15."""
    outputs, inputs = run(crops, "small_101D", tmp_path)
    table = read_gradients(inputs["bval"], inputs["bvec"], "x", 102)
    assert table.b0.sum() == 1
    assert [len(shell.members) for shell in find_shells(table)][:3] == [3, 6, 4]
    assert np.isfinite(nib.load(outputs["fa"]).get_fdata()).all()
    assert "14 volumes" in (tmp_path / "fa.json").read_text()
