"""All engines through the one interface, on small synthetic brains."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import anatomy_phantoms as phantoms
import numpy as np
import pytest
from scipy import ndimage

from neurostrata.core.config import section_defaults
from neurostrata.core.errors import UserError
from neurostrata.imaging.anatomy.jacobian import nonlinear_jacobian
from neurostrata.imaging.images.io import Image, apply_affine, write_image
from neurostrata.imaging.registration.chain import (
    Registration,
    balance,
    register_images,
    similarity,
    warp_image,
)
from neurostrata.imaging.registration.engines import (
    ENGINES,
    RegistrationJob,
    iterations_per_level,
    load_engine,
)
from neurostrata.imaging.registration.transforms import (
    Displacement,
    displace,
    invert_displacement,
    linear_part,
    resample,
    write_affine,
    write_displacement,
)

POSE = np.array([[1.03, 0.09, 0, 6.0], [-0.09, 1.02, 0.04, -9.0], [0, -0.04, 0.98, 11.0], [0, 0, 0, 1]])
KINDS = {"plain": {}, "oblique": {"degrees": 12}, "PSR": {"axes": "PSR"}}


def settings(engine: str) -> dict[str, Any]:
    """The defaults, with fewer iterations: the phantoms are tiny."""
    section = copy.deepcopy(section_defaults("registration"))
    section["engine"] = engine
    section["ants"].update(
        iterations=[25, 8],
        shrink_factors=[2, 1],
        smoothing_vox=[1, 0],
        cc_radius=2,
        linear_iterations=[40, 20],
        linear_shrink_factors=[4, 2],
        linear_smoothing_vox=[2, 1],
        linear_sampling=0.25,
    )
    section["greedy"].update(iterations=[60, 30], rigid_iterations=[40, 20], similarity_iterations=[40, 20])
    section["greedy"].update(affine_iterations=[40, 20])
    section["torch"].update(iterations=[60, 30], rigid_iterations=[40, 20], affine_iterations=[60, 20])
    return section


def pair(kind: str, engine: str = "greedy") -> tuple[Image, Image]:
    """A template, and a person: the same brain bulged, turned, stretched and stored otherwise."""
    study = phantoms.grid(40, 4.5) if engine != "ants" else phantoms.grid(28, 6.5)
    fixed = phantoms.brain(study)
    moving = phantoms.brain(
        phantoms.grid(44, 4.2, **KINDS[kind]), deform=phantoms.bump(phantoms.grid(60, 4.0)), matrix=POSE
    )
    return fixed, moving


@pytest.mark.parametrize(
    ("engine", "kind"),
    [(engine, kind) for engine in ("greedy", "torch") for kind in ("oblique", "PSR")] + [("ants", "PSR")],
)
def test_a_planted_transform_is_found(engine: str, kind: str) -> None:
    fixed, moving = pair(kind, engine)
    result = register_images(fixed, moving, settings(engine), threads=1)
    assert result.warp is not None
    assert result.inverse_warp is not None
    assert result.warp.vectors.dtype == np.float32
    assert result.warp.grid.same_as(fixed.grid)
    inside = fixed.data > 40
    linear = warp_image(moving, fixed, type(result)(result.affine, None, None))
    warped = warp_image(moving, fixed, result)
    assert similarity(warped, fixed.data, inside) > 0.97
    assert similarity(warped, fixed.data, inside) > similarity(linear, fixed.data, inside) + 0.01

    points = fixed.grid.points()[inside]
    truth = apply_affine(POSE, displace(phantoms.bump(phantoms.grid(60, 4.0)), points))
    found = apply_affine(result.affine, displace(result.warp, points))
    error = np.sqrt(((found - truth) ** 2).sum(-1))
    assert np.median(error) < 1.5  # mm, with voxels of 4.5 mm and more
    assert np.percentile(error, 95) < 4.0

    back = displace(result.inverse_warp, displace(result.warp, points))
    assert np.sqrt(((back - points) ** 2).sum(-1)).mean() < 0.5

    planted = nonlinear_jacobian(phantoms.bump(fixed.grid))[inside]
    measured = nonlinear_jacobian(result.warp)[inside]
    assert np.corrcoef(planted, measured)[0, 1] > 0.6
    assert measured[planted > 1.5].mean() > 1.2  # larger in the person: above 1


def test_torch_weights_by_the_contrast_that_is_set() -> None:
    """A brain registered to its own blurred image: without the weights the blurred rim makes the affine smaller."""
    brain, section = phantoms.brain(phantoms.grid(40, 4.5)), settings("torch")
    blurred = Image(ndimage.gaussian_filter(brain.data, 1.5), brain.grid)
    sizes = []
    for contrast in (0, section["torch"]["contrast_at_half_weight"]):
        section["torch"]["contrast_at_half_weight"] = contrast
        found = register_images(blurred, brain, section, threads=1, inverse=False, steps="linear")
        sizes.append(-np.log(np.linalg.det(found.affine[:3, :3])))
    assert sizes[0] > sizes[1] + 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_files_reproduce_greedys_own_warped_image(tmp_path: Path, kind: str) -> None:
    """ITK, given our two files, agrees with greedy given its own; so do we."""
    import ants
    from picsl_greedy import Greedy3D

    from neurostrata.imaging.registration.engines.greedy import write_greedy_affine

    fixed = phantoms.brain(phantoms.grid(40, 4.5, **KINDS[kind]))
    moving = pair("oblique")[1]
    warp = phantoms.bump(fixed.grid)
    write_image(tmp_path / "fixed.nii.gz", fixed.data, fixed.grid)
    write_image(tmp_path / "moving.nii.gz", moving.data, moving.grid)
    write_displacement(tmp_path / "warp.nii.gz", warp)
    write_affine(tmp_path / "affine.mat", POSE)
    write_greedy_affine(tmp_path / "greedy.mat", POSE)
    Greedy3D().execute(
        f"-d 3 -threads 1 -rf {tmp_path}/fixed.nii.gz -rm {tmp_path}/moving.nii.gz {tmp_path}/own.nii.gz "
        f"-r {tmp_path}/warp.nii.gz {tmp_path}/greedy.mat"
    )
    own = ants.image_read(f"{tmp_path}/own.nii.gz").numpy()
    itk = ants.apply_transforms(
        fixed=ants.image_read(f"{tmp_path}/fixed.nii.gz"),
        moving=ants.image_read(f"{tmp_path}/moving.nii.gz"),
        transformlist=[f"{tmp_path}/warp.nii.gz", f"{tmp_path}/affine.mat"],
    ).numpy()
    assert own.std() > 10
    assert np.abs(own - itk).mean() < 0.01
    assert np.abs(own - itk).max() < 1.5
    assert np.abs(resample(moving, fixed.grid, POSE, warp) - itk).max() < 0.1


@pytest.mark.parametrize("engine", ["greedy", "ants", "torch"])
def test_same_seed_same_transform_and_nothing_left_behind(
    engine: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # What torch's compiler keeps, whoever imports it first, goes with the stage's own folder (test_cli.py).
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
    fixed, moving = pair("plain", engine)
    quick = settings(engine)
    quick[engine]["iterations"] = [5, 2]
    first, second = (register_images(fixed, moving, quick, seed=3, threads=1) for _ in range(2))
    assert first.warp is not None
    assert second.warp is not None
    assert np.array_equal(first.affine, second.affine)
    assert np.array_equal(first.warp.vectors, second.warp.vectors)
    assert list(tmp_path.iterdir()) == []


def test_balancing_keeps_the_map_and_takes_size_out_of_the_warp() -> None:
    """A warp with a scale and a shear in it: they go to the affine, forwards and backwards."""
    grid = phantoms.grid(40, 4.5, degrees=10)
    mask = phantoms.brain(grid).data > 0
    trend = np.array([[1.04, 0.01, 0, 2.0], [0, 1.02, 0.02, -1.0], [0, 0, 1.05, 0.5], [0, 0, 0, 1]])
    points = grid.points()
    vectors = apply_affine(trend, points + phantoms.bump(grid).vectors) - points
    warp = Displacement(vectors.astype(np.float32), grid)
    before = Registration(POSE, warp, invert_displacement(warp))
    after = balance(before, mask)
    assert after.warp is not None
    moved = apply_affine(POSE, displace(warp, points))
    assert np.abs(apply_affine(after.affine, displace(after.warp, points)) - moved)[mask].max() < 1e-3
    inner = points[mask]
    person = apply_affine(POSE, displace(warp, inner))
    for result in (before, after):
        assert result.inverse_warp is not None
        back = displace(result.inverse_warp, apply_affine(np.linalg.inv(result.affine), person))
        assert np.abs(back - inner).mean() < 0.2
    determinant = nonlinear_jacobian(after.warp)[mask]
    assert abs(np.log(determinant).mean()) < 1e-3
    left = linear_part(after.warp, mask)[:3, :3]
    assert np.abs(left - np.eye(3) * np.trace(left) / 3).max() < 1e-3
    total = np.log(np.linalg.det(after.affine[:3, :3]))
    whole = np.log(nonlinear_jacobian(warp)[mask] * np.linalg.det(POSE[:3, :3]))
    assert total == pytest.approx(whole.mean(), abs=1e-2)


def test_linear_only_and_without_inverse() -> None:
    fixed, moving = pair("plain")
    linear = register_images(fixed, moving, settings("greedy"), steps="linear")
    assert linear.warp is None
    assert linear.inverse_warp is None
    assert np.abs(linear.affine - POSE)[:3, :3].max() < 0.1
    kept = register_images(
        fixed,
        moving,
        {**settings("greedy"), "balance": False},
        initial=POSE,
        steps="deformation",
        inverse=False,
    )
    assert np.allclose(kept.affine, POSE)
    forward = register_images(fixed, moving, settings("greedy"), inverse=False, coarse=True)
    assert forward.warp is not None
    assert forward.inverse_warp is None


def test_syn_gets_the_papers_parameters(tmp_path: Path) -> None:
    from neurostrata.imaging.registration.engines.syn import arguments

    options = section_defaults("registration")["ants"]
    job = RegistrationJob(
        *(tmp_path / name for name in ("f", "m", "i")),
        folder=tmp_path,
        affine=tmp_path / "a",
        warp=tmp_path / "w",
        inverse_warp=None,
        options=options,
        seed=7,
    )
    line = " ".join(arguments(job))
    order = [line.index(word) for word in ("Rigid[", "Similarity[", "Affine[", "SyN[0.12,3,0]")]
    assert order == sorted(order)
    for words in (
        f"CC[{tmp_path}/f,{tmp_path}/m,1,4]",
        "--convergence [100x100x70x20,1e-08,10] --shrink-factors 6x4x2x1 --smoothing-sigmas 3x2x1x0vox",
        "--winsorize-image-intensities [0.001,0.999]",
        "--use-histogram-matching 1",
        "--random-seed 7",
    ):
        assert words in line
    sampled = RegistrationJob(**{**vars(job), "options": {**options, "cc_sampling": 0.5}})
    assert f"CC[{tmp_path}/f,{tmp_path}/m,1,4,Regular,0.5]" in arguments(sampled)
    with pytest.raises(UserError, match="shrink_factors 3"):
        arguments(RegistrationJob(**{**vars(job), "options": {**options, "shrink_factors": [4, 2, 1]}}))


def test_engines_are_found_by_name() -> None:
    assert set(ENGINES) == {"ants", "greedy", "torch"}
    with pytest.raises(UserError, match=r"registration\.engine: 'elastix' is none of ants, greedy, torch"):
        load_engine("elastix")


def test_coarse_leaves_out_the_finest_level() -> None:
    assert iterations_per_level([100, 50, 10], coarse=True) == [100, 50, 0]
    assert iterations_per_level([100, 50, 10], coarse=False) == [100, 50, 10]
    assert iterations_per_level([100], coarse=True) == [100]
