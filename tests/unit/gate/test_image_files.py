"""What is said of single image files: their headers, their size, and their contents."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from neurostrata.gate.contents import read_content
from neurostrata.gate.headers import affine_problem, corner_distance, implausible, read_facts


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(100, 10, shape).astype(np.float32)


def facts_of(path: Path) -> dict[str, Any]:
    return read_facts(str(path), path.stat().st_size)


@pytest.mark.parametrize(
    ("size", "packed", "plausible"),
    [(4_000_000, False, True), (3_000_000, False, False), (4_000, True, True), (0, True, False)],
)
def test_a_header_may_claim_what_its_file_can_hold(size: int, packed: bool, plausible: bool) -> None:
    """A million voxels of four bytes; deflate packs a thousand bytes into one at most."""
    problem = implausible((100, 100, 100), 4, size, packed)
    assert (problem is None) is plausible
    if problem:
        assert "claims 100x100x100 voxels, 0.004 GB, which a file of" in problem


@pytest.mark.parametrize(
    ("sides", "origin", "message"),
    [
        ((1, 1, 20), 0, None),
        ((1, 1, 30), 0, "gives voxels of 1x1x30 mm"),
        ((0.1, 1, 1), 0, None),
        ((0.05, 1, 25), 0, None),
        ((0.04, 1, 1), 0, "gives voxels of 0.04x1x1 mm"),
        ((1, 1, 1), 9e5, None),
        ((1, 1, 1), 1.1e6, "a kilometre away"),
    ],
)
def test_affines_that_no_scanner_makes(sides: tuple[float, ...], origin: float, message: str | None) -> None:
    affine = np.diag([*sides, 1.0])
    affine[1, 3] = origin
    problem = affine_problem(affine)
    assert (problem is None) if message is None else (message in str(problem))


def test_corners_of_a_turned_grid() -> None:
    """A grid of 11 voxels of 2 mm a side that is turned about its first voxel: its far corner moves by the chord."""
    angle = np.radians(3)
    turned = np.eye(4)
    turned[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = np.diag([2.0, 2, 2, 1])
    moved = 20 * np.array([np.cos(angle) - np.sin(angle) - 1, np.sin(angle) + np.cos(angle) - 1])
    assert corner_distance((11, 11, 11), affine, turned @ affine) == pytest.approx(np.abs(moved).max())
    assert corner_distance((11, 11, 11), affine, affine) == 0


@pytest.mark.parametrize("name", ["x.mgz", "x.mgh", "x.img", "x.hdr"])
def test_formats_that_nibabel_reads(name: str, tmp_path: Path) -> None:
    kind = nib.Nifti1Pair if name.endswith(("img", "hdr")) else nib.MGHImage
    nib.save(kind(noise(5, 6, 7), np.diag([2.0, 2, 2, 1])), tmp_path / name)
    found = facts_of(tmp_path / name)
    assert (found["shape"], found["placed"]) == ([5, 6, 7], True)
    np.testing.assert_allclose(found["affine"], np.diag([2.0, 2, 2, 1]))
    assert read_content(str(tmp_path / name), found) == {}


def test_files_of_other_formats_that_are_no_images_are_said(tmp_path: Path) -> None:
    (tmp_path / "x.mgz").write_bytes(gzip.compress(b"no image" * 100))
    assert facts_of(tmp_path / "x.mgz")["problem"].startswith("is not a readable image (")
    nib.save(nib.Nifti1Pair(noise(5, 6, 7), np.zeros((4, 4)) + np.eye(4) * 1e-5), tmp_path / "y.img")
    assert "repair the header" in facts_of(tmp_path / "y.img")["problem"]


def test_an_image_of_one_slice_is_an_image(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(noise(9, 9, 1), np.eye(4)), tmp_path / "x.nii")
    assert facts_of(tmp_path / "x.nii")["shape"] == [9, 9, 1]


@pytest.mark.parametrize("shape", [(6, 5, 4), (6, 5, 4, 1), (6, 5, 4, 3)])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_contents_against_numpy(shape: tuple[int, ...], suffix: str, tmp_path: Path) -> None:
    data = noise(*shape)
    data[0, 0, 0], data[1, 1, 1] = np.nan, np.inf
    path = tmp_path / f"x{suffix}"
    nib.save(nib.Nifti1Image(data, np.eye(4)), path)
    content = read_content(str(path), facts_of(path))
    assert content["gaps"] == (~np.isfinite(data)).sum()
    assert not any(content[name] for name in ("constant", "empty", "same"))
    nib.save(nib.Nifti1Image(np.broadcast_to(noise(6, 5, 4, 1), (6, 5, 4, 3)), np.eye(4)), path)
    assert read_content(str(path), facts_of(path))["same"]
    nib.save(nib.Nifti1Image(np.full(shape, 7, np.int16), np.eye(4)), path)
    assert read_content(str(path), facts_of(path))["constant"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda packed: packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:], "does not match its checksum"),
        (lambda packed: packed[:-40] + packed[-8:], "it ends too early, or a part of it is wrong"),
    ],
    ids=["checksum", "gap"],
)
def test_damage_that_only_the_end_shows(spoil: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.nii.gz"
    nib.save(nib.Nifti1Image(noise(20, 20, 20), np.eye(4)), path)
    path.write_bytes(spoil(path.read_bytes()))
    found = facts_of(path)
    assert "problem" not in found
    assert message in read_content(str(path), found)["problem"]
