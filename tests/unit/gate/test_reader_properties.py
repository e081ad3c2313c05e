"""Whatever stands in a file that a person hands over: rows (or an image, or settings), or one clear error; never a traceback.

Each property is tried on some examples here, and on two thousand in ``make test-full``.
"""

from __future__ import annotations

import copy
import gzip
import os
import string
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurostrata.cohort.decisions import decide
from neurostrata.cohort.ids import find_id_column
from neurostrata.cohort.sheet import read_cohort_sheet, read_qc_sheet
from neurostrata.cohort.study import Study
from neurostrata.core.config import check_config, load_schema, read_yaml
from neurostrata.core.errors import UserError
from neurostrata.core.text_tables import read_text_table
from neurostrata.gate.cache import FileCache
from neurostrata.gate.check import find_problems
from neurostrata.gate.contents import read_content
from neurostrata.gate.gradients import read_gradients
from neurostrata.gate.headers import read_facts
from neurostrata.imaging.images.io import load_array, read_image
from neurostrata.phenotypes.coding import code_table
from neurostrata.phenotypes.tables import join_tables, read_phenotypes

FEW, MANY = 50, 2000


def holds(strategy: st.SearchStrategy[Any]) -> Callable[[Callable[[Any, Path], None]], Any]:
    """Make of a property the two tests ``few`` and ``many``; it is given an example and a folder of its own."""

    def tests(check: Callable[[Any, Path], None]) -> Any:
        def once(example: Any) -> None:
            with tempfile.TemporaryDirectory() as folder:
                check(example, Path(folder))

        def times(count: int) -> None:
            quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
            chosen = settings(
                max_examples=count,
                deadline=None,
                database=None,
                suppress_health_check=quiet,
                derandomize=count == FEW,
            )
            chosen(given(strategy)(once))()

        @pytest.mark.parametrize(
            "count", [FEW, pytest.param(int(os.environ.get("EXAMPLES", MANY)), marks=pytest.mark.slow)]
        )
        def test(count: int) -> None:
            times(count)

        test.__doc__ = check.__doc__
        return test

    return tests


def clear(error: UserError, *names: str) -> None:
    """An error is short lines of text that name what they are about."""
    text = str(error)
    assert text.strip()
    assert "Traceback" not in text
    assert any(name in text for name in names), text
    assert len(text.splitlines()) <= 60


#: Cells as people write them, and what goes wrong in them.
ODD = '1|0.5|-3e2|n/a||NA|nan|None|inf|abc|"|"a|a"b|"a b"|1,5|22-25|36+|F|yes|#x| x |{y}|a\tb|a\nb|a\r|ä|\ufeff|\0|1_0|０'
CELLS = st.one_of(st.sampled_from([*ODD.split("|"), "sub-01", "a.nii.gz", "x/y.nii"]), st.text(max_size=6))
IDS = st.one_of(
    st.sampled_from(["01", "sub-01", "2", "02", "2.0", "nan", "NA", "x-1", "", "sub-sub-3"]), CELLS
)


@st.composite
def tables(draw: Any, columns: list[str]) -> bytes:
    """Draw the bytes of a table: some separator, some cells, some line ends, perhaps spoiled."""
    names = draw(st.permutations(columns)) + draw(st.lists(CELLS, max_size=2))
    separator = draw(st.sampled_from(["\t", "\t", "\t", ",", ";"]))
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    count = len(names)
    rows = draw(
        st.lists(
            st.lists(st.one_of(IDS, CELLS), min_size=count - (draw(st.integers(0, 5)) == 0), max_size=count),
            max_size=6,
        )
    )
    lines = [separator.join(row) for row in [names, *rows]]
    content = end.join(lines).encode(
        draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16"])), "replace"
    )
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3]))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        content = content[:at] + bytes([draw(st.integers(0, 255))]) + content[at + draw(st.integers(0, 1)) :]
    return content


@holds(st.one_of(st.binary(max_size=60), tables(["subject", "iq", "age"])))
def test_text_tables_swallow_no_line(content: bytes, folder: Path) -> None:
    path = folder / "t.tsv"
    path.write_bytes(content)
    try:
        table = read_text_table(path)
    except UserError as error:
        clear(error, "t.tsv")
        return
    assert len(set(table.columns)) == len(table.columns) > 0
    assert all(len(line) == len(table.columns) for line in table.cells)
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    lines = content.decode(encoding).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    told = {number for number, line in enumerate(lines, 1) if line.strip(' \t,;"')}
    header = min(told)
    assert told - {header} <= set(table.lines)
    assert table.lines == sorted(table.lines)


@holds(tables(["subject", "t1w", "site", "template"]))
def test_cohort_sheets(content: bytes, folder: Path) -> None:
    path = folder / "cohort.tsv"
    path.write_bytes(content)
    try:
        columns, rows = read_cohort_sheet(path)
    except UserError as error:
        clear(error, "cohort.tsv")
        return
    subjects = [row["subject"] for row in rows]
    assert subjects == sorted(set(subjects))
    assert all(set(subject) <= set(string.ascii_letters + string.digits) for subject in subjects)
    assert all(set(row) == set(columns) for row in rows)
    assert all(row.get("template", "").lower() in ("", "yes", "no") for row in rows)


@holds(
    st.one_of(
        tables(["subject", "modality", "decision", "reason"]),
        tables(["subject", "modality", "decision", "reason", "rater", "date"]),
    )
)
def test_quality_decisions(content: bytes, folder: Path) -> None:
    path = folder / "qc.tsv"
    path.write_bytes(content)
    try:
        rows = read_qc_sheet(path)
    except UserError as error:
        clear(error, "qc.tsv")
        return
    assert all(row["reason"] or row["decision"] in ("keep", "unsure") for row in rows)
    acting, disagreements = decide(rows)
    assert all(row["decision"] == "exclude" for row in acting)
    assert not {(d.subject, d.modality) for d in disagreements} & {
        (r["subject"], r["modality"]) for r in acting
    }


@holds(tables(["subject", "iq", "age"]))
def test_phenotype_tables(content: bytes, folder: Path) -> None:
    """What the check before the first job accepts, the stage reads; neither ends in anything but a clear error."""
    path = folder / "phenotypes.tsv"
    path.write_bytes(content)
    people = ["01", "02", "2", "nan", "NA"]
    study = make_study_of(people, str(path))
    problems = [p for p in find_problems(study, FileCache(folder / "h.json")) if p.kind == "phenotypes"]
    for problem in problems:
        clear(UserError(problem.text), "phenotypes", "strata.adjust")
    try:
        joined = join_tables([(str(path), read_phenotypes(path))], people)
        coded = code_table(joined.values)
    except UserError as error:
        late = error
    else:
        late = None
    if late is not None:
        clear(late, "phenotypes")
        assert problems, f"found hours late: {late}"
        return
    if problems:
        return  # the check is the stricter one
    assert list(coded.values.index) == people
    assert all(pd.api.types.is_float_dtype(coded.values[column]) for column in coded.values)
    table = read_text_table(path)
    found = find_id_column(table.columns, None, str(path), "phenotypes: id_column")
    ids = [cell.strip().removeprefix("sub-") for cell in table.column(found)]
    known = [subject for subject in people if subject not in joined.without]
    assert {subject for subject in people if subject in ids} <= set(known)


def make_study_of(people: list[str], table: str) -> Study:
    config = check_config(
        {
            "cohort": {"sheet": "x"},
            "modalities": {"jac": {"from": "jacobian"}},
            "phenotypes": {"tables": [table], "matching": {"least": 0, "near_ids": "accept"}},
            "experiments": [{"name": "a", "model": "pca", "modalities": ["jac"]}],
        }
    )
    return Study(config, [{"subject": subject, "t1w": ""} for subject in people])


BASE: dict[str, Any] = {
    "cohort": {"sheet": "cohort.tsv"},
    "modalities": {"jac": {"from": "jacobian"}, "pet": {"from": "column", "column": "pet"}},
    "experiments": [
        {
            "name": "a",
            "model": "pca",
            "modalities": ["jac"],
            "validation": {"folds": 2},
            "training": {"epochs": 3},
        }
    ],
    "phenotypes": {"tables": ["p.tsv"], "coding": {"smoking": {"never": 0}}},
    "volumes": {"shape": [32, 32, 32], "percentiles": [1, 99]},
    "strata": {"finders": ["mixture"], "adjust": {"columns": ["age"]}},
}
NAMES = st.sampled_from(
    [*sorted(load_schema("config")["properties"]), "name", "from", "epochs", "folds", "x"]
)
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-2, 2**40), st.floats(), st.text(max_size=4),
        st.sampled_from(["pca", "jac", "all", "shared_vae", "{x}", "my results", "residual_autoencoder"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(NAMES, st.text(max_size=3), st.integers(), st.booleans(), st.none()), inner, max_size=3),
    ),
    max_leaves=6,
)  # fmt: skip


@st.composite
def configurations(draw: Any) -> Any:
    """Draw a configuration that is right but for some places."""
    config = copy.deepcopy(BASE)
    for _ in range(draw(st.integers(0, 3))):
        node: Any = config
        for _ in range(draw(st.integers(0, 3))):
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            inner = [key for key in keys if isinstance(node[key], (dict, list)) and node[key]]
            if not inner:
                break
            node = node[draw(st.sampled_from(inner))]
        if isinstance(node, dict):
            node[draw(st.one_of(st.sampled_from(list(node) or ["x"]), NAMES))] = draw(VALUES)
        else:
            node[draw(st.integers(0, len(node) - 1))] = draw(VALUES)
    return config


@holds(configurations())
def test_configurations(config: Any, folder: Path) -> None:
    try:
        filled = check_config(config)
    except UserError as error:
        clear(error, "configuration")
        return
    assert check_config(filled) == filled  # the check before the first job gets it filled
    assert filled["volumes"]["percentiles"][0] < filled["volumes"]["percentiles"][1]


@holds(st.one_of(configurations().map(lambda c: yaml.safe_dump(c).encode()), st.binary(max_size=40)).flatmap(
    lambda content: st.tuples(st.just(content), st.integers(0, max(0, len(content) - 1)), st.binary(max_size=2))
))  # fmt: skip
def test_configuration_files(given_bytes: tuple[bytes, int, bytes], folder: Path) -> None:
    content, at, spoiled = given_bytes
    path = folder / "config.yaml"
    path.write_bytes(content[:at] + spoiled + content[at + len(spoiled) :])
    try:
        config = read_yaml(path)
    except UserError as error:
        clear(error, "config.yaml")
        return
    assert isinstance(config, dict)
    try:
        check_config(config)
    except UserError as error:
        clear(error, "configuration")


NUMBERS = st.one_of(
    st.sampled_from(["0", "5", "1000", "2000", "-1", "nan", "inf", "1e400", "x", "0.6", "0.8", "1"]),
    st.text(max_size=3),
)


@st.composite
def gradient_files(draw: Any) -> tuple[str, str, int | None]:
    count = draw(st.integers(0, 8))
    if draw(st.booleans()):
        bvals = ["0", *(["1000"] * count)]
        lines = [
            ["0", *draw(st.lists(st.sampled_from(["0.6", "0.8", "0", "1"]), min_size=count, max_size=count))]
            for _ in range(3)
        ]
    else:
        bvals = draw(st.lists(NUMBERS, max_size=8))
        lines = draw(st.lists(st.lists(NUMBERS, max_size=8), max_size=4))
    separator = draw(st.sampled_from([" ", "\t", ","]))
    return (
        separator.join(bvals),
        "\n".join(separator.join(line) for line in lines),
        draw(st.sampled_from([None, count + 1])),
    )


@holds(gradient_files())
def test_gradients(files: tuple[str, str, int | None], folder: Path) -> None:
    bval, bvec = folder / "g.bval", folder / "g.bvec"
    bval.write_text(files[0], encoding="utf-8")
    bvec.write_text(files[1], encoding="utf-8")
    try:
        found = read_gradients(bval, bvec, "07", files[2])
    except UserError as error:
        clear(error, "subject 07")
        return
    assert found.bvecs.shape == (len(found.bvals), 3)
    assert files[2] in (None, len(found.bvals))
    np.testing.assert_allclose(np.linalg.norm(found.bvecs[~found.b0], axis=1), 1, atol=1e-6)
    assert found.b0.any()


def image_bytes(kind: Any) -> bytes:
    data = np.arange(9**3, dtype=np.float32).reshape(9, 9, 9)
    return kind(data, np.diag([2, 2, 2, 1.0])).to_bytes()


IMAGES = [image_bytes(nib.Nifti1Image), image_bytes(nib.Nifti2Image)]


@pytest.mark.parametrize("origin", [1e7, 1e305])
def test_an_image_that_lies_far_outside_every_scanner_is_refused_by_check_and_stage(
    origin: float, tmp_path: Path
) -> None:
    affine = np.diag([2, 2, 2, 1.0])
    affine[0, 3] = origin
    path = tmp_path / "x.nii"
    path.write_bytes(nib.Nifti2Image(np.ones((9, 9, 9), np.float32), affine).to_bytes())
    assert "repair the header" in read_facts(str(path), path.stat().st_size)["problem"]
    with pytest.raises(UserError, match="repair the header"):
        read_image(path, subject="07", what="t1w")


@holds(
    st.tuples(
        st.sampled_from([0, 1]),
        st.lists(st.tuples(st.integers(0, 560), st.integers(0, 255)), max_size=4),
        st.sampled_from([None, None, 10, 347, 352, 400, 3000]),
        st.sampled_from([".nii", ".nii.gz", ".nii.gz"]),
        st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=1),
    )
)
def test_image_headers(example: Any, folder: Path) -> None:
    """What the check accepts, the stages can load; nothing of an absurd size is made."""
    which, changes, cut, suffix, damage = example
    content = bytearray(IMAGES[which])
    for at, value in changes:
        content[at] = value
    packed = bytearray(gzip.compress(bytes(content), 1) if suffix == ".nii.gz" else content)
    for at, value in damage:
        packed[at % len(packed)] = value
    path = folder / f"x{suffix}"
    path.write_bytes(bytes(packed[:cut]))
    facts = read_facts(str(path), path.stat().st_size)
    whole = "problem" not in facts
    if whole:
        assert len(facts["shape"]) >= 3
        assert np.isfinite(np.asarray(facts["affine"])).all()
        whole = "problem" not in read_content(str(path), facts)
    else:
        assert facts["problem"].strip()
        assert "\n" not in facts["problem"]
    late = None
    try:
        data, _ = load_array(path, "subject 07: t1w")
    except UserError as error:
        late = error
    if late is not None:
        clear(late, "subject 07")
        assert not whole, f"found hours late: {late}"
    elif whole:
        assert list(data.shape) == facts["shape"]
