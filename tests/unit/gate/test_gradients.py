"""Reading gradient tables, and what is said about wrong ones."""

import numpy as np
import pytest

from neurostrata.core.errors import UserError
from neurostrata.gate.gradients import count_directions, find_shells, read_gradients, tensor_measurements
from neurostrata.imaging.diffusion.noddi.engines import noddi_shells
from neurostrata.simulation.images.diffusion_signal import demo_scheme


@pytest.fixture
def write(tmp_path):
    def _write(bvals, bvecs, columns=False):
        bval, bvec = tmp_path / "dwi.bval", tmp_path / "dwi.bvec"
        np.savetxt(bval, np.atleast_2d(bvals), fmt="%g")
        np.savetxt(bvec, bvecs if columns else np.asarray(bvecs).T, fmt="%.8g")
        return bval, bvec

    return _write


def test_three_lines_and_three_columns_give_the_same(write):
    bvals, bvecs = demo_scheme(12, (1000, 2000), 3)
    rows = read_gradients(*write(bvals, bvecs), "01")
    columns = read_gradients(*write(bvals, bvecs, columns=True), "01")
    np.testing.assert_array_equal(rows.bvecs, columns.bvecs)
    np.testing.assert_allclose(rows.bvecs, bvecs, atol=1e-7)


def test_hcp_like_table(write):
    """b0 volumes at b = 5 with unit vectors, shells spread over 990-1010 and 1985-2010."""
    rng = np.random.default_rng(0)
    bvals, bvecs = demo_scheme(30, (1000, 2000), 6)
    spread = np.where(bvals == 0, 5, bvals + rng.integers(-2, 3, len(bvals)) * 5)
    bvecs = np.where((bvals == 0)[:, None], [0.6, 0.8, 0.0], bvecs)
    table = read_gradients(*write(spread, bvecs), "100307")
    assert table.b0.sum() == 6
    np.testing.assert_array_equal(table.bvecs[table.b0], 0)
    shells = find_shells(table)
    assert [len(shell.members) for shell in shells] == [30, 30]
    assert [shell.directions for shell in shells] == [30, 30]
    np.testing.assert_allclose([shell.bval for shell in shells], [1000, 2000], atol=5)
    chosen = tensor_measurements(table, 1050, "100307")
    np.testing.assert_array_equal(chosen, spread < 1100)


def test_nan_vectors_of_b0_volumes_are_accepted(write):
    bvals, bvecs = demo_scheme(8, (1000,), 2)
    bvecs = np.where((bvals == 0)[:, None], np.nan, bvecs)
    table = read_gradients(*write(bvals, bvecs), "01")
    assert np.isfinite(table.bvecs).all()


def test_counts_that_do_not_match_name_subject_and_files(write):
    bvals, bvecs = demo_scheme(8, (1000,), 2)
    paths = write(bvals, bvecs)
    with pytest.raises(UserError, match=r"subject 07: .*dwi\.bval has 10 b-values, the image has 11 volumes"):
        read_gradients(*paths, "07", 11)
    paths = write(bvals, bvecs[:-1])
    with pytest.raises(
        UserError, match=r"subject 07: .*dwi\.bvec has 9 vectors, .*dwi\.bval has 10 b-values"
    ):
        read_gradients(*paths, "07")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b, v: (b + 100, v), "no volume with b <= 50"),
        (lambda b, v: (-b, v), "negative"),
        (lambda b, v: (b, v * 0.5), "has length 0.5, expected unit vectors"),
        (
            lambda b, v: (b, np.where(np.arange(len(b))[:, None] == 4, 0, v)),
            r"vector 5 \(b = 1000\) has length 0",
        ),
        (lambda b, v: (b, np.where(np.arange(len(b))[:, None] == 4, np.nan, v)), "vector 5"),
        (lambda b, v: (b, np.c_[v, v]), "three lines"),
    ],
)
def test_impossible_tables_are_refused(write, change, message):
    paths = write(*change(*demo_scheme(8, (1000,), 2)))
    with pytest.raises(UserError, match=f"subject 03: .*{message}"):
        read_gradients(*paths, "03")


def test_files_that_are_no_tables(tmp_path):
    good = tmp_path / "good"
    good.write_text("0 1000\n")
    missing, empty, words = tmp_path / "missing", tmp_path / "empty", tmp_path / "words"
    empty.write_text("\n")
    words.write_text("0 1000 b\n")
    for path, message in ((missing, "cannot be read"), (empty, "is empty"), (words, "not a number")):
        with pytest.raises(UserError, match=f"subject 01: bval file .*{message}"):
            read_gradients(path, good, "01")
        with pytest.raises(UserError, match=f"subject 01: bvec file .*{message}"):
            read_gradients(good, path, "01")


@pytest.mark.parametrize("length", [0.955, 0.999, 1.045])
def test_vectors_of_nearly_unit_length_are_made_unit_vectors(write, length):
    bvals, bvecs = demo_scheme(8, (1000,), 2)
    table = read_gradients(*write(bvals, bvecs * length), "01")
    np.testing.assert_allclose(table.bvecs, bvecs, atol=1e-6)


def test_single_shell_is_refused_for_noddi_in_one_line(write):
    table = read_gradients(*write(*demo_scheme(30, (1000,), 3)), "42")
    with pytest.raises(UserError, match=r"subject 42: NODDI needs at least two shells.*b=1000") as caught:
        noddi_shells(table, 100, "42")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("directions", "accepted"), [(5, False), (6, True)])
def test_shells_of_six_directions_are_enough_for_noddi(write, directions, accepted):
    table = read_gradients(*write(*demo_scheme(directions, (1000, 2000), 2)), "42")
    if accepted:
        assert [shell.directions for shell in noddi_shells(table, 100, "42")] == [6, 6]
        return
    with pytest.raises(UserError, match="two shells of 6 directions, got none; leave out"):
        noddi_shells(table, 100, "42")


@pytest.mark.parametrize(("degrees", "number"), [(0.9, 1), (1.1, 2)])
@pytest.mark.parametrize("sign", [1, -1])
def test_directions_less_than_a_degree_apart_are_one(degrees, number, sign):
    angle = np.radians(degrees)
    assert count_directions(np.array([[1.0, 0, 0], [sign * np.cos(angle), np.sin(angle), 0]])) == number


def test_a_direction_and_its_opposite_are_one():
    axes = np.eye(3)
    assert count_directions(np.r_[axes, -axes, axes]) == 3
