"""Records of results: a file that is not as its stage wrote it is refused, one that is, never."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurostrata.core import records
from neurostrata.core.errors import UserError
from neurostrata.core.files import atomic_directory, atomic_path, read_json, write_json
from neurostrata.core.people import require_people
from neurostrata.core.records import DamagedError, recording
from neurostrata.core.tables import read_table, write_table
from neurostrata.imaging.images.io import UNREADABLE, Grid, read_image, read_voxels, write_image
from neurostrata.imaging.registration.transforms import read_affine, write_affine
from neurostrata.imaging.volumes.arrays import load_volumes
from neurostrata.imaging.volumes.commands import normalise

GRID = Grid((9, 9, 9), np.diag([2.0, 2.0, 2.0, 1.0]))


def flip(path: Path, position: int, bits: int = 1) -> None:
    """Change one byte; size and date stay."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= bits
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def image(path: Path, seed: int = 0) -> None:
    write_image(path, np.random.default_rng(seed).normal(size=GRID.shape), GRID)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of every kind, as stages write them."""
    folder = tmp_path_factory.mktemp("results")
    with recording("some-stage"):
        image(folder / "map.nii.gz")
        write_affine(folder / "affine.mat", np.eye(4))
        frame = pd.DataFrame({"subject": [f"{n:02d}" for n in range(9)], "x": np.arange(9) / 7})
        write_table(folder / "table.tsv", frame, {"x": "a number"})
        write_json(folder / "state.json", {"iteration": 1})
        for subject in ("a", "b", "c"):
            image(folder / f"{subject}.nii.gz", ord(subject))
        write_image(folder / "mask.nii.gz", np.ones(GRID.shape), GRID)
        write_table(folder / "people.tsv", pd.DataFrame({"subject": ["a", "b", "c"]}))
        normalise(
            subjects=folder / "people.tsv",
            pattern=str(folder / "{subject}.nii.gz"),
            mask=folder / "mask.nii.gz",
            modality="x",
            output=folder / "x.npy",
            settings={"percentiles": [1, 99]},
        )
    return folder


def everybody(path: Path) -> np.ndarray:
    array, _ = load_volumes(path)
    return np.stack([array[row] for row in range(len(array))])


READERS: dict[str, Callable[[Path], object]] = {
    "map.nii.gz": lambda path: read_image(path).data.tobytes(),
    "affine.mat": lambda path: read_affine(path).tobytes(),
    "table.tsv": lambda path: read_table(path).to_json(),
    "table.json": read_json,
    "state.json": read_json,
    "x.npy": lambda path: everybody(path).tobytes(),
    "x.json": lambda path: everybody(path).tobytes(),
}


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 10**9), bits=st.integers(1, 255))
def test_one_changed_byte_is_refused_by_name(results: Path, name: str, position: int, bits: int) -> None:
    path = results / name
    whole = READERS[name](path)
    before = path.read_bytes()
    try:
        flip(path, position, bits)
        with pytest.raises(
            DamagedError, match=f"{path.stem}.* is not as .* wrote it .* delete .* and run again"
        ):
            READERS[name](path)
    finally:
        path.write_bytes(before)
    assert READERS[name](path) == whole


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 10**9), bits=st.integers(1, 255), rows=st.booleans())
def test_a_changed_byte_in_a_record_changes_no_result(
    results: Path, name: str, position: int, bits: int, rows: bool
) -> None:
    path = results / name
    record = results / ".sha256" / "x.npy.rows" if rows and name == "x.npy" else records.record_path(path)
    whole = READERS[name](path)
    before = record.read_bytes()
    try:
        flip(record, position, bits)
        with contextlib.suppress(DamagedError):
            assert READERS[name](path) == whole
    finally:
        record.write_bytes(before)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 10**9), bits=st.integers(1, 255))
def test_a_compressed_image_without_a_record_is_read_to_its_checksum(
    results: Path, tmp_path: Path, position: int, bits: int
) -> None:
    path = tmp_path / "raw.nii.gz"
    shutil.copy(results / "map.nii.gz", path)
    whole = read_voxels(path)[0].tobytes()
    flip(path, position, bits)
    with contextlib.suppress(*UNREADABLE):
        assert read_voxels(path)[0].tobytes() == whole  # in the header of gzip: its date, its system


def test_a_small_file_that_claims_to_be_huge_is_refused_before_memory_is_asked_for(tmp_path: Path) -> None:
    header = nib.Nifti1Header()
    header.set_data_shape((2048, 2048, 1024))
    header.set_data_dtype(np.float32)
    content = bytearray(header.binaryblock) + b"\0" * 4
    content[108:112] = np.float32(352).tobytes()
    content[344:348] = b"n+1\0"
    with gzip.open(tmp_path / "huge.nii.gz", "wb") as stream:
        stream.write(bytes(content))
    with pytest.raises(UserError, match="cannot hold"):
        read_image(tmp_path / "huge.nii.gz")


def test_an_edited_table_is_refused_and_one_made_again_is_not(results: Path, tmp_path: Path) -> None:
    with recording("factor-phenotypes"):
        write_table(tmp_path / "t.tsv", pd.DataFrame({"subject": ["a", "b"]}), {})
    (tmp_path / "t.tsv").write_text("subject\na\n")
    with pytest.raises(DamagedError) as error:
        read_table(tmp_path / "t.tsv")
    path = tmp_path / "t.tsv"
    assert str(error.value) == (
        f"{path}: is not as factor-phenotypes wrote it (damaged or edited); delete {path} and run again"
    )
    write_table(
        tmp_path / "t.tsv", pd.DataFrame({"subject": ["c"]}), {}
    )  # by hand, no stage: no record is left
    assert list(read_table(tmp_path / "t.tsv")["subject"]) == ["c"]


def test_a_sidecar_that_is_gone_is_noticed(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results, tmp_path / "moved")
    sidecar = tmp_path / "moved" / "table.json"
    sidecar.unlink()
    with pytest.raises(DamagedError, match=r"table\.json: is gone, .* delete .*/table\.tsv and run again"):
        read_json(sidecar)
    (tmp_path / "moved" / "table.tsv").unlink()  # both are made again
    assert not records.is_expected(sidecar)


def test_parts_of_a_folder_are_made_again_with_the_folder(tmp_path: Path) -> None:
    with recording("train"), atomic_directory(tmp_path / "model") as folder:
        (folder / "weights.safetensors").write_bytes(b"weights")
        (folder / "weights.safetensors").chmod(0o600)
        write_json(folder / "model.json", {})
    weights = tmp_path / "model" / "weights.safetensors"
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(weights.stat().st_mode) == 0o666 & ~umask
    (tmp_path / "model").rename(tmp_path / "other")
    (tmp_path / "other").rename(tmp_path / "model")
    flip(weights, 3)
    with pytest.raises(DamagedError, match=f"as train wrote it .* delete {tmp_path / 'model'} and run again"):
        records.check(weights)


def test_killed_between_file_and_record_the_file_is_not_refused(tmp_path: Path, monkeypatch) -> None:
    with recording("stage"):
        write_json(tmp_path / "a.json", {"first": 1})

        def killed(*arguments: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(records, "remember", killed)
        with pytest.raises(KeyboardInterrupt):
            write_json(tmp_path / "a.json", {"second": 2})
    assert read_json(tmp_path / "a.json") == {"second": 2}


def test_the_records_are_those_of_sha256sum(results: Path) -> None:
    for record in sorted((results / ".sha256").glob("*.sha256")):
        run = subprocess.run(["sha256sum", "-c", str(record)], cwd=results, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr


def test_what_no_stage_reads_has_no_record(tmp_path: Path) -> None:
    with recording("report"), atomic_path(tmp_path / "page.html", record=False) as temporary:
        temporary.write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_who_lacks_is_named() -> None:
    require_people("scores.tsv", ["a", "b"], ["b"], "clusters.tsv")
    with pytest.raises(
        UserError, match=r"scores\.tsv: lacks 4 of the 5 people of clusters\.tsv \(subject b, c, d, \.\.\.\)"
    ):
        require_people("scores.tsv", ["a"], "abcde", "clusters.tsv")


SCRATCH = """
import os, sys, tempfile, time
from neurostrata.core.scratch import own_folder
with own_folder():
    print(tempfile.gettempdir(), flush=True)
    open(os.path.join(tempfile.gettempdir(), "left"), "w").close()
    time.sleep(float(sys.argv[1]))
"""


def test_what_a_killed_stage_left_goes_with_the_next_and_what_a_living_one_has_stays(
    tmp_path: Path, repository: Path
) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(repository / "workflow")}
    (tmp_path / "neurostrata-somebody-else").mkdir()

    def start(seconds: str) -> tuple[subprocess.Popen[str], Path]:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRATCH, seconds], env=environment, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    (killed, left), (living, used) = start("600"), start("600")
    try:
        killed.kill()
        killed.wait()
        assert left.is_dir()
        after, own = start("0")
        assert after.wait() == 0
        assert not left.exists()
        assert (used / "left").exists()
        assert not own.exists()
        assert (tmp_path / "neurostrata-somebody-else").is_dir()
    finally:
        living.kill()
        living.wait()
