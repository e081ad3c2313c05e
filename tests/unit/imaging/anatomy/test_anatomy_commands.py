"""The anatomy commands end to end on small people grown from the MNI152 template."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import anatomy_phantoms as phantoms
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from template_steps import build_template

from neurostrata.core.config import section_defaults
from neurostrata.core.errors import UserError
from neurostrata.imaging.anatomy import commands
from neurostrata.imaging.images.io import Grid, apply_affine, read_image, write_image
from neurostrata.imaging.registration import commands as registration_commands
from neurostrata.imaging.registration.transforms import (
    displace,
    invert_displacement,
    read_affine,
    read_displacement,
    sample,
)
from neurostrata.imaging.template import commands as template_commands
from neurostrata.imaging.template.building import Average, updated_template
from neurostrata.imaging.template.shape import MeanShape

PEOPLE = ("01", "02", "03")
POSES = {"01": (8.0, 0.94), "02": (-6.0, 0.88), "03": (3.0, 0.99)}
BULGES = {"01": (7.0, (25, -20, 5)), "02": (5.0, (20, -25, 10)), "03": (-4.0, (-30, 10, 20))}


def registration() -> dict[str, Any]:
    section = copy.deepcopy(section_defaults("registration"))
    section["engine"] = "greedy"
    section["greedy"].update(
        iterations=[40, 20],
        rigid_iterations=[30, 0],
        similarity_iterations=[30, 0],
        affine_iterations=[30, 5],
    )
    return section


def person(subject: str, folder: Path, mni152: Any) -> Path:
    """One person: MNI152 bulged, turned, scaled, on an oblique PSR grid, uint8, with a bias field."""
    degrees, scale = POSES[subject]
    size, centre = BULGES[subject]
    where = phantoms.grid(44, 5.0, degrees=degrees, axes="PSR")
    where = Grid(where.shape, where.affine + np.array([[0, 0, 0, 7.0]] * 3 + [[0, 0, 0, 0]]))
    warp = invert_displacement(phantoms.bump(phantoms.grid(50, 5.0), size, 25, centre))
    points = where.points()
    middle = apply_affine(mni152.brain.grid.affine, (np.array(mni152.brain.data.shape) - 1) / 2)
    data = sample(mni152.brain, displace(warp, (points - 7.0) / scale) + middle)
    data = data / data.max() * 200 * (1 + 0.15 * points[..., 0] / 80)
    path = folder / f"{subject}_T1w.nii.gz"
    nib.save(nib.Nifti1Image(np.clip(np.round(data), 0, 255).astype(np.uint8), where.affine), path)
    return path


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that the anatomy stages write for three people."""
    from neurostrata.imaging.template.mni152 import load_mni152

    folder = tmp_path_factory.mktemp("study")
    mni152 = load_mni152(4)
    common = {"seed": 1, "version": 1}
    anatomy = {**section_defaults("anatomy"), **common}
    anatomy["n4"].update(iterations=[20, 20], shrink_factor=2)
    template = {**section_defaults("template"), **common, "registration": registration(), "tolerance": None}
    template.update(resolution_mm=5.0, iterations=2, coarse_iterations=1)
    for subject in PEOPLE:
        commands.prepare_t1w(
            t1w=person(subject, folder, mni152),
            subject=subject,
            settings=anatomy,
            output=folder / f"{subject}_t1w.nii.gz",
            mask=folder / f"{subject}_initial.nii.gz",
        )
    build_template(folder, PEOPLE, template, iterations=2)
    for subject in PEOPLE:
        own = {
            name: folder / f"{subject}_{name}"
            for name in ("affine.mat", "warp.nii.gz", "inverse.nii.gz", "warped.nii.gz", "mask.nii.gz")
        }
        registration_commands.register(
            t1w=folder / f"{subject}_t1w.nii.gz",
            initial_mask=folder / f"{subject}_initial.nii.gz",
            template=folder / "template.nii.gz",
            template_mask=folder / "mask.nii.gz",
            subject=subject,
            affine=own["affine.mat"],
            warp=own["warp.nii.gz"],
            inverse_warp=own["inverse.nii.gz"],
            warped=own["warped.nii.gz"],
            mask=own["mask.nii.gz"],
            settings={**registration(), **common},
        )
        commands.jacobian(
            affine=own["affine.mat"],
            warp=own["warp.nii.gz"],
            subject=subject,
            settings=common,
            nonlinear=folder / f"{subject}_nonlinear.nii.gz",
            absolute=folder / f"{subject}_absolute.nii.gz",
        )
    return folder


def test_prepared_image_keeps_its_grid_and_loses_its_bias(study: Path) -> None:
    raw, ready = read_image(study / "01_T1w.nii.gz"), read_image(study / "01_t1w.nii.gz")
    assert raw.grid.same_as(ready.grid)
    assert json.loads((study / "01_t1w.json").read_text())["SkullStripped"] is True
    inside = read_image(study / "01_initial.nii.gz").data > 0
    assert not ready.data[~inside].any()
    x = raw.grid.points()[..., 0]
    bright = inside & (raw.data > np.percentile(raw.data[inside], 60))
    before, after = (np.corrcoef(x[bright], image.data[bright])[0, 1] for image in (raw, ready))
    assert abs(after) < 0.6 * abs(before)


def test_template_is_unbiased_and_its_table_tells_the_story(study: Path) -> None:
    table = pd.read_csv(study / "convergence.tsv", sep="\t", na_values="n/a")
    assert list(table["iteration"]) == [0, 1, 2]
    assert (
        table["similarity"].is_monotonic_increasing
        or table["similarity"].iloc[2] > table["similarity"].iloc[1]
    )
    assert table["rms_change"].iloc[2] < table["rms_change"].iloc[1]
    assert (study / "convergence.png").stat().st_size > 5000

    # Everybody registered to the last template: nobody in particular is its middle.
    mask = read_image(study / "mask.nii.gz")
    shape = MeanShape(mask.grid, mask.data > 0)
    for subject in PEOPLE:
        shape.add(
            read_affine(study / f"{subject}_affine.mat"),
            read_displacement(study / f"{subject}_warp.nii.gz"),
        )
    assert shape.distance_vox <= 0.5
    assert abs(shape.log_size) <= 0.01
    assert abs(np.mean(shape.log_scales)) <= 0.01  # people differ little


def test_warped_image_is_what_ants_makes_of_the_transforms(study: Path) -> None:
    import ants

    for subject in PEOPLE[:2]:
        again = ants.apply_transforms(
            fixed=ants.image_read(str(study / "template.nii.gz")),
            moving=ants.image_read(str(study / f"{subject}_t1w.nii.gz")),
            transformlist=[str(study / f"{subject}_warp.nii.gz"), str(study / f"{subject}_affine.mat")],
        ).numpy()
        ours = read_image(study / f"{subject}_warped.nii.gz").data
        assert np.abs(again - ours).max() < 0.01 * ours.max()


def test_mask_and_priors_fit_together(study: Path) -> None:
    mask = read_image(study / "mask.nii.gz").data > 0
    template = read_image(study / "template.nii.gz")
    litres = mask.sum() * template.grid.voxel_volume / 1e6
    assert 1.0 < litres < 2.5
    total = sum(read_image(study / f"{name}.nii.gz").data for name in ("gm", "wm", "csf"))
    assert np.allclose(total[mask], 1, atol=1e-3)
    assert not total[~mask].any()
    assert (template.data[mask] > 10).mean() > 0.95
    assert nib.load(study / "mask.nii.gz").get_data_dtype() == np.uint8


def test_jacobian_finds_who_bulges_where(study: Path) -> None:
    """Person 01 was expanded behind on the right, person 03 shrunk in front on the left."""
    where = {s: read_image(study / f"{s}_nonlinear.nii.gz") for s in PEOPLE}
    mask = read_image(study / "mask.nii.gz").data > 0
    points = where["01"].grid.points()
    centre = points[mask].mean(0)

    def local(subject: str, spot: tuple[float, ...]) -> float:
        near = mask & (np.sqrt(((points - centre - np.array(spot)) ** 2).sum(-1)) < 18)
        return float(np.log(where[subject].data[near]).mean())

    assert local("01", BULGES["01"][1]) > local("03", BULGES["01"][1]) + 0.1
    assert local("03", BULGES["03"][1]) < local("01", BULGES["03"][1]) - 0.1
    determinant = np.linalg.det(read_affine(study / "01_affine.mat")[:3, :3])
    absolute = read_image(study / "01_absolute.nii.gz").data
    assert np.allclose(absolute, where["01"].data * determinant, rtol=1e-4)


def registered(study: Path, folder: Path, **given: Any) -> None:
    """Register the second person once more, into a folder."""
    arguments = {
        "t1w": study / "02_t1w.nii.gz",
        "template": study / "template.nii.gz",
        "settings": {**registration(), "seed": 1},
    }
    registration_commands.register(
        **{**arguments, **given},
        initial_mask=study / "02_initial.nii.gz",
        template_mask=study / "mask.nii.gz",
        subject="02",
        affine=folder / "a.mat",
        warp=folder / "w.nii.gz",
        inverse_warp=folder / "i.nii.gz",
        warped=folder / "x.nii.gz",
        mask=folder / "m.nii.gz",
    )


@pytest.mark.parametrize("engine_seed", [1])
def test_registration_again_gives_the_same_bytes(study: Path, tmp_path: Path, engine_seed: int) -> None:
    registered(study, tmp_path, settings={**registration(), "seed": engine_seed})
    for mine, theirs in (("a.mat", "affine.mat"), ("w.nii.gz", "warp.nii.gz"), ("x.nii.gz", "warped.nii.gz")):
        assert (tmp_path / mine).read_bytes() == (study / f"02_{theirs}").read_bytes()


def test_tissue_maps(study: Path, tmp_path: Path) -> None:
    paths = {name: tmp_path / f"{name}.nii.gz" for name in ("gm", "wm", "csf")}
    commands.segment_tissue(
        t1w=study / "01_t1w.nii.gz",
        mask=study / "01_mask.nii.gz",
        affine=study / "01_affine.mat",
        inverse_warp=study / "01_inverse.nii.gz",
        gm_prior=study / "gm.nii.gz",
        wm_prior=study / "wm.nii.gz",
        csf_prior=study / "csf.nii.gz",
        subject="01",
        settings={**section_defaults("tissue"), "seed": 1},
        **paths,
    )
    t1w = read_image(study / "01_t1w.nii.gz")
    mask = read_image(study / "01_mask.nii.gz").data > 0
    maps = {name: read_image(path).data for name, path in paths.items()}
    assert np.allclose(sum(maps.values())[mask], 1, atol=1e-3)
    assert not sum(maps.values())[~mask].any()
    mean = {name: np.average(t1w.data, weights=data) for name, data in maps.items()}
    assert mean["csf"] < mean["gm"] < mean["wm"]
    shares = {name: float(data.sum() / mask.sum()) for name, data in maps.items()}
    assert 0.3 < shares["gm"] < 0.65
    assert 0.2 < shares["wm"] < 0.55


def test_a_converged_template_is_copied(study: Path, tmp_path: Path) -> None:
    state = json.loads((study / "iter-2/state.json").read_text())
    (tmp_path / "state.json").write_text(json.dumps({**state, "converged": True}))
    settings = {**section_defaults("template"), "registration": registration(), "seed": 1}
    template_commands.template_register(
        t1w=study / "01_t1w.nii.gz",
        template=study / "iter-2/template.nii.gz",
        state=tmp_path / "state.json",
        subject="01",
        output=tmp_path / "iter-3/sub-01",
        settings=settings,
    )
    assert [path.name for path in (tmp_path / "iter-3/sub-01").iterdir()] == ["skipped"]
    template_commands.template_update(
        subjects=study / "people.tsv",
        pattern=str(tmp_path / "iter-3/sub-{subject}"),
        iteration=3,
        template=study / "iter-2/template.nii.gz",
        previous_state=tmp_path / "state.json",
        settings=settings,
        output=tmp_path / "iter-3/template.nii.gz",
        state=tmp_path / "iter-3/state.json",
    )
    copied = json.loads((tmp_path / "iter-3/state.json").read_text())
    assert copied["converged"]
    assert copied["skipped"]
    assert copied["iteration"] == 3
    assert np.array_equal(
        read_image(tmp_path / "iter-3/template.nii.gz").data,
        read_image(study / "iter-2/template.nii.gz").data,
    )


def updated(study: Path, folder: Path, iteration: int, **settings: Any) -> dict[str, Any]:
    """Update the template of the last iteration once more; return the state that was written."""
    folder.mkdir()
    template_commands.template_update(
        subjects=study / "people.tsv",
        pattern=str(study / "iter-2/sub-{subject}"),
        iteration=iteration,
        template=study / "iter-1/template.nii.gz",
        previous_state=study / "iter-1/state.json",
        settings={"shape_step": 1.0, "hold_pose": True, "sharpening": 0, **settings},
        output=folder / "template.nii.gz",
        state=folder / "state.json",
    )
    return json.loads((folder / "state.json").read_text())


def test_an_early_iteration_averages_its_people_and_nobody_else(study: Path, tmp_path: Path) -> None:
    old = read_image(study / "iter-1/template.nii.gz")
    for iteration, people in ((1, ("01", "02")), (2, ("02", "03")), (3, ("03", "01"))):
        state = updated(study, tmp_path / str(iteration), iteration, early_people=2)
        assert state["measures"]["people"] == 2
        average = Average(old)
        for subject in people:
            home = study / f"iter-2/sub-{subject}"
            average.add(
                read_image(home / "warped.nii.gz").data,
                read_displacement(home / "warp.nii.gz"),
                read_affine(home / "affine.mat"),
            )
        expected = updated_template(average, {"shape_step": 1.0, "hold_pose": True, "sharpening": 0})
        assert np.allclose(read_image(tmp_path / f"{iteration}/template.nii.gz").data, expected, atol=1e-3)
        assert state["measures"]["similarity"] == pytest.approx(average.measures()["similarity"])


def test_a_template_of_a_part_of_the_people_is_never_converged(study: Path, tmp_path: Path) -> None:
    everybody = updated(study, tmp_path / "all", 2, tolerance=1.0)
    assert everybody["converged"]
    assert everybody["measures"]["people"] == 3
    part = updated(study, tmp_path / "part", 2, tolerance=1.0, early_people=2)
    assert part["measures"]["rms_change"] < 1.0
    assert part["measures"]["rms_mean_warp_vox"] < 0.5
    assert not part["converged"]


def test_mask_of_another_grid_is_refused(study: Path, tmp_path: Path) -> None:
    other = phantoms.brain(phantoms.grid(30, 5.0))
    nib.save(nib.Nifti1Image(other.data, other.grid.affine), tmp_path / "mask.nii.gz")
    with pytest.raises(
        UserError, match=r"subject 01: t1w .*01_T1w.nii.gz has shape \(44, 44, 44\) and t1w_mask"
    ):
        commands.prepare_t1w(
            t1w=study / "01_T1w.nii.gz",
            t1w_mask=tmp_path / "mask.nii.gz",
            subject="01",
            output=tmp_path / "a.nii.gz",
            mask=tmp_path / "b.nii.gz",
            settings={**section_defaults("anatomy")},
        )


def test_heads_and_brains_do_not_mix(study: Path, tmp_path: Path) -> None:
    for subject, stripped in (("01", True), ("02", False)):
        (tmp_path / f"{subject}.nii.gz").write_bytes((study / f"{subject}_t1w.nii.gz").read_bytes())
        (tmp_path / f"{subject}.json").write_text(json.dumps({"SkullStripped": stripped}))
    pd.DataFrame({"subject": ["01", "02"]}).to_csv(tmp_path / "people.tsv", sep="\t", index=False)
    with pytest.raises(UserError, match=r"1 of 2 images still have their skull .first: subject 02"):
        template_commands.template_start(
            subjects=tmp_path / "people.tsv",
            pattern=str(tmp_path / "{subject}.nii.gz"),
            state=tmp_path / "s.json",
            output=tmp_path / "t.nii.gz",
            settings={**section_defaults("template"), "seed": 1},
        )


def test_a_template_that_is_no_brain_fails_with_advice(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(50, 100, (30, 30, 30)).astype(np.float32)
    corner = np.zeros_like(noise)
    corner[:8, :8, :8] = noise[:8, :8, :8]
    write_image(tmp_path / "template.nii.gz", corner, phantoms.grid(30, 5.0))
    names = {name: tmp_path / f"{name}.nii.gz" for name in ("template", "output", "gm", "wm", "csf")}
    with pytest.raises(UserError, match="registration"):
        template_commands.template_mask(**names, settings={"registration": registration(), "seed": 1})
    assert not names["output"].exists()


@pytest.mark.parametrize(
    ("person", "template", "message"),
    [
        (
            False,
            True,
            "subject 02: t1w .*02.nii.gz still has its skull, and the template does not; give it a t1w_mask",
        ),
        (
            True,
            False,
            "subject 02: t1w .*02.nii.gz shows the brain alone, and the template whole heads; give the image",
        ),
    ],
)
def test_a_head_is_not_registered_to_a_template_of_brains(
    study: Path, tmp_path: Path, person: bool, template: bool, message: str
) -> None:
    for name, source, stripped in (("02", "02_t1w", person), ("template", "template", template)):
        (tmp_path / f"{name}.nii.gz").write_bytes((study / f"{source}.nii.gz").read_bytes())
        (tmp_path / f"{name}.json").write_text(json.dumps({"SkullStripped": stripped}))
    with pytest.raises(UserError, match=message):
        registered(study, tmp_path, t1w=tmp_path / "02.nii.gz", template=tmp_path / "template.nii.gz")
