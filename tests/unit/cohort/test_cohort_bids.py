"""Cohorts from BIDS datasets: trees of empty files, what is taken from them, and what is refused."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from bids2table import get_arrow_schema
from bids_trees import fmriprep_person, listed, plant, qsiprep_person, raw_person, settle

from neurostrata.cohort.discovery.bids_filters import Filters
from neurostrata.cohort.discovery.bids_index import NUMBERED, Index, write_index
from neurostrata.cohort.discovery.layouts import HCP
from neurostrata.cohort.discovery.messages import listed as listed_cases
from neurostrata.cohort.discovery.messages import ordered
from neurostrata.cohort.discovery.sessions import chosen_session
from neurostrata.cohort.groups import group_rows
from neurostrata.cohort.study import Study, load_study
from neurostrata.core.config import check_config
from neurostrata.core.errors import UserError
from neurostrata.core.locations import LIBRARY
from neurostrata.gate.cache import FileCache
from neurostrata.gate.check import find_problems

TWELVE = [f"{number:02d}" for number in range(1, 13)]
PET = {"pet": {"from": "column", "column": "pet"}}


def config(
    out: Path,
    dwi: bool = True,
    modalities: dict[str, Any] | None = None,
    space: str = "native",
    **cohort: Any,
) -> dict[str, Any]:
    """One experiment on the Jacobian, FA (unless dwi is false) and what else is declared."""
    declared = {"jac": {"from": "jacobian"}, "fa": {"from": "tensor", "measure": "fa"}, **(modalities or {})}
    names = [name for name in declared if dwi or name != "fa"]
    return check_config(
        {
            "output": str(out / "results"),
            "cohort": cohort,
            "modalities": declared,
            "experiments": [{"name": "a", "model": "pca", "modalities": names, "validation": {"folds": 2}}],
            "diffusion": {"space": space},
        }
    )


def study(out: Path, *roots: Path, **given: Any) -> Study:
    return load_study(config(out, bids=[str(root) for root in roots], **given))


def refused(out: Path, *roots: Path, **given: Any) -> str:
    with pytest.raises(UserError) as caught:
        study(out, *roots, **given)
    return str(caught.value)


def sources(out: Path) -> list[dict[str, str]]:
    with open(out / "results" / "cohort" / "sources.tsv", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Twelve people with a session `pre`, four of them with `post` as well."""
    names = [name for person in TWELVE for name in raw_person(person, "pre")]
    names += [name for person in TWELVE[:4] for name in raw_person(person, "post")]
    return plant(tmp_path / "raw", names)


@pytest.fixture
def fmriprep(tmp_path: Path) -> Path:
    names = [name for person in TWELVE for name in fmriprep_person(person)]
    return plant(tmp_path / "fmriprep-23.1.0", names, "derivative", "fMRIPrep")


@pytest.fixture
def qsiprep(tmp_path: Path) -> Path:
    names = [name for person in TWELVE for name in qsiprep_person(person, "pre")]
    names += [name for person in TWELVE[:4] for name in qsiprep_person(person, "post")]
    return plant(tmp_path / "qsiprep", names, "derivative", "QSIPrep")


@pytest.fixture
def own_process() -> None:
    """Index in a process of its own, as a study does."""


@pytest.fixture(autouse=True)
def in_this_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Index here, not in a process of its own, whose start takes most of the time of these tests."""
    if "own_process" not in request.fixturenames:
        monkeypatch.setattr("neurostrata.cohort.discovery.bids_index._renew", write_index)


# ------------------------------------------------------------------------- sessions


def test_several_sessions_are_never_chosen_among_in_silence(tmp_path: Path, raw: Path) -> None:
    text = refused(tmp_path, raw, dwi=False)
    assert "4 people have more than one file for t1w" in text
    # pre is what most people have
    assert (
        "session: post, pre; choose with cohort.sessions: pre (or first, last, all) or cohort.filters: "
        "{t1w: {session: pre}}:" in text
    )
    assert "sub-01/ses-post/anat/sub-01_ses-post_T1w.nii.gz" in text
    assert "... and 1 more" in text


def test_one_session_for_everybody(tmp_path: Path, raw: Path) -> None:
    found = study(tmp_path, raw, dwi=False, sessions="pre")
    assert Counter(row["session"] for row in found.rows.values()) == {"pre": 12}
    assert all("ses-pre" in row["t1w"] for row in found.rows.values())
    assert len(study(tmp_path, raw, dwi=False, sessions="ses-post").rows) == 4
    assert "8 people without any image" in "; ".join(study(tmp_path, raw, dwi=False, sessions="post").notices)


def test_pre_and_post_have_no_order_unless_the_times_are_known(tmp_path: Path, raw: Path) -> None:
    assert "order of the sessions of 4 people is not known" in refused(
        tmp_path, raw, dwi=False, sessions="first"
    )
    for person in TWELVE[:4]:
        table = raw / f"sub-{person}" / f"sub-{person}_sessions.tsv"
        table.write_text(
            "session_id\tacq_time\nses-post\t2021-05-01T10:00:00\nses-pre\t2020-01-01T10:00:00\n"
        )
    first = study(tmp_path, raw, dwi=False, sessions="first").rows
    assert {row["session"] for row in first.values()} == {"pre"}
    assert len(first) == 12
    last = study(tmp_path, raw, dwi=False, sessions="last").rows
    assert Counter(row["session"] for row in last.values()) == {"post": 4, "pre": 8}


@pytest.mark.parametrize(
    ("labels", "first", "last"),
    [
        (["2", "10"], "2", "10"),
        (["M24", "M06"], "M06", "M24"),
        (["only"], "only", "only"),
        (["baselineYear1Arm1", "2YearFollowUpYArm1"], None, None),
        (["a1b2", "a2b1"], None, None),
    ],
)
def test_order_of_sessions(labels: list[str], first: str | None, last: str | None) -> None:
    assert chosen_session(labels, "first", {}) == first
    assert chosen_session(labels, "last", {}) == last


def test_labels_are_ordered_by_the_numbers_in_them(tmp_path: Path) -> None:
    assert ordered(["M10", "a", "10", "M9", "2", "M9b"]) == ["2", "10", "M9", "M9b", "M10", "a"]
    root = plant(tmp_path / "raw", [n for s in ("10", "9") for n in raw_person("01", s)])
    rows = study(tmp_path, root, dwi=False, sessions="all").rows
    assert [(subject, row["template"]) for subject, row in rows.items()] == [("01x10", "no"), ("01x9", "")]


def test_three_cases_are_shown_of_a_kind() -> None:
    assert listed_cases(["a", "b", "c"]) == "\n  a\n  b\n  c"
    assert listed_cases(["a", "b", "c", "d", "e"]) == "\n  a\n  b\n  c\n  ... and 2 more"


@pytest.mark.parametrize(
    ("times", "first"),
    [
        (["15/06/2019", "02/03/2021"], None),
        (["6/15/2019 10:00", "10/1/2018 09:30"], None),
        (["9", "10"], None),
        (["2019-06-15T10:00:00", "2019-06-15T10:00:00"], None),
        (["2019-06-15T10:00:00", "unknown"], None),
        (["2019-06-15T10:00:00Z", "2019-06-15T10:00:00.500000Z"], "pre"),
        (["2019-06-15T10:00:00", "2019-06-15T09:59:59.500"], "post"),
        (["2019-06-15", "2018-12-01"], "post"),
        (["2019-06-15T10:00:00+02:00", "2019-06-15T09:30:00+00:00"], "pre"),
        (["2019-06-15T10:00:00", "2018-06-15T09:30:00Z"], None),
    ],
)
def test_times_of_sessions_are_compared_as_times(times: list[str], first: str | None) -> None:
    """Text order is not: 10/1/2018 would come before 6/15/2019, and so would 6/15/2017. What is no time of BIDS decides nothing."""
    assert chosen_session(["pre", "post"], "first", dict(zip(["pre", "post"], times))) == first


def test_all_sessions_are_rows_of_one_family(tmp_path: Path, raw: Path) -> None:
    found = study(tmp_path, raw, sessions="all", dwi_preprocessed=True)
    assert len(found.rows) == 16
    assert found.rows["01xpre"]["family"] == found.rows["01xpost"]["family"] == "sub-01"
    assert found.rows["12xpre"]["family"] == "sub-12"
    # the template weighs people, not scans
    assert len(found.template_members()) == 12
    families = [row["family"] for row in group_rows(found, "experiment-a")]
    assert len(families) == 16
    assert len(set(families)) == 12
    # jobs read the same rows
    again = load_study(config(tmp_path, bids=[str(raw)], sessions="all", dwi_preprocessed=True), rescan=False)
    assert again.rows == found.rows


def test_sessions_with_one_t1w_image_are_no_scans_of_their_own(tmp_path: Path, qsiprep: Path) -> None:
    text = refused(tmp_path, qsiprep, sessions="all")
    assert "4 people with several sessions and one T1w image for all of them" in text


def test_a_row_never_stands_for_two(tmp_path: Path) -> None:
    names = [*raw_person("01", "pre"), *raw_person("01xpre")]
    root = plant(tmp_path / "raw", names)
    assert "two rows have the id 01xpre" in refused(tmp_path, root, dwi=False, sessions="all")


def test_a_session_that_nobody_has(tmp_path: Path, raw: Path) -> None:
    text = refused(tmp_path, raw, dwi=False, sessions="pree")
    assert text.startswith("cohort.sessions: there is no ses-pree; there are post, pre")


# ---------------------------------------------------------------- runs, directions, filters


def test_several_runs_and_directions(tmp_path: Path) -> None:
    names = []
    for person in TWELVE:
        names += raw_person(person, t1w=["run-01_", "run-02_"], dwi=["dir-AP_", "dir-PA_"])
    root = plant(tmp_path / "raw", names)
    text = refused(tmp_path, root, dwi_preprocessed=True)
    assert "12 people have more than one file for t1w" in text
    assert "choose with cohort.runs: 1 (or first, last) or cohort.filters: {t1w: {run: 1}}:" in text
    assert "cohort.filters: {dwi: {direction: AP}}" in text
    given = {"runs": 2, "filters": {"dwi": {"direction": "AP"}}, "dwi_preprocessed": True}
    rows = study(tmp_path, root, **given).rows
    assert all("run-02_T1w" in row["t1w"] and "dir-AP_dwi.nii.gz" in row["dwi"] for row in rows.values())
    assert all(row["bvec"].endswith("dir-AP_dwi.bvec") for row in rows.values())
    whys = {row["column"]: row["why"] for row in sources(tmp_path)}
    assert whys["t1w"] == "from raw, not preprocessed, by cohort.runs: 2"
    assert whys["dwi"] == "from raw, as the configuration says, preprocessed, by cohort.filters.dwi"
    assert all(
        "run-01" in row["t1w"] for row in study(tmp_path, root, **given | {"runs": "first"}).rows.values()
    )


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"acquisition": "mprage"}, "acq-mprage_"),
        ({"acq": ["space", "mprage"]}, "acq-mprage_"),
        ({"acquisition": None}, "sub-01_T1w"),
        ({"acquisition": "Query.NONE"}, "sub-01_T1w"),
        ({"acquisition": "Query.ANY"}, "acq-mprage_"),
        (
            {"suffix": "T1w", "datatype": "anat", "acquisition": "mprage", "extension": "nii.gz"},
            "acq-mprage_",
        ),
    ],
)
def test_filters_read_as_fmripreps(tmp_path: Path, given: dict[str, Any], taken: str) -> None:
    root = plant(tmp_path / "raw", raw_person("01", t1w=["", "acq-mprage_"]))
    assert "{t1w: {acquisition: mprage}}" in refused(tmp_path, root, dwi=False)
    assert taken in study(tmp_path, root, dwi=False, filters={"t1w": given}).rows["01"]["t1w"]


def test_filters_that_nothing_passes(tmp_path: Path, raw: Path) -> None:
    def text(**filters: Any) -> str:
        return refused(tmp_path, raw, dwi=False, sessions="pre", filters=filters)

    assert "'acquistion' is not a BIDS entity; did you mean 'acquisition'?" in text(t1w={"acquistion": "x"})
    assert "no file passes; the files have acquisition: null" in text(t1w={"acquisition": "mprage"})
    assert "no file passes; the files have suffix: T1w, dwi" in text(t1w={"suffix": "T2w"})
    assert "no file passes; the files have dataset: raw" in text(t1w={"dataset": "fMRIPrep"})
    assert "cohort.participants, not by 'subject'" in text(t1w={"subject": "01"})
    assert "cohort.filters.ptw: no modality reads" in text(ptw={"suffix": "T1w"})


def test_people_are_chosen_by_name(tmp_path: Path, raw: Path) -> None:
    wanted = ["sub-02", "05"]
    assert list(study(tmp_path, raw, dwi=False, sessions="pre", participants=wanted).rows) == ["02", "05"]
    (tmp_path / "people.txt").write_text("participant_id\n02\nsub-05\n", encoding="utf-8-sig")
    listed_there = str(tmp_path / "people.txt")
    assert list(study(tmp_path, raw, dwi=False, sessions="pre", participants=listed_there).rows) == [
        "02",
        "05",
    ]
    assert "no folder sub-... of 5 " in refused(tmp_path, raw, dwi=False, participants=["5"])


def test_keys_that_do_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cohort.runs: works with cohort.bids, not with cohort.sheet"):
        load_study(config(tmp_path, sheet="cohort.tsv", runs=1))


# ------------------------------------------------------------------------ derivatives


def test_the_t1w_image_comes_from_the_dataset_of_the_dwi(
    tmp_path: Path, fmriprep: Path, qsiprep: Path, raw: Path
) -> None:
    for roots in ([fmriprep, qsiprep], [fmriprep, qsiprep, raw], [raw, fmriprep, qsiprep]):
        rows = study(tmp_path, *roots, sessions="pre", space="T1w").rows
        assert len(rows) == 12
        row = rows["01"]
        assert row["t1w"] == str(qsiprep / "sub-01/anat/sub-01_space-ACPC_desc-preproc_T1w.nii.gz")
        assert row["t1w_mask"] == str(qsiprep / "sub-01/anat/sub-01_space-ACPC_desc-brain_mask.nii.gz")
        stem = str(qsiprep / "sub-01/ses-pre/dwi/sub-01_ses-pre_space-ACPC_desc-")
        assert row["dwi"] == stem + "preproc_dwi.nii.gz"
        assert (row["bval"], row["bvec"]) == (stem + "preproc_dwi.bval", stem + "preproc_dwi.bvec")
        assert row["dwi_mask"] == stem + "brain_mask.nii.gz"
        (why,) = {line["why"] for line in sources(tmp_path) if line["column"] == "t1w"}
        assert why == "from qsiprep, preprocessed, of the dataset that the dwi comes from"
    assert not any(str(raw) in line["file"] for line in sources(tmp_path))


def test_preprocessed_t1w_images_go_before_raw_ones_and_a_mixture_is_said(tmp_path: Path, raw: Path) -> None:
    names = [name for person in TWELVE[:11] for name in fmriprep_person(person)]
    fmriprep = plant(tmp_path / "fmriprep", names, "derivative", "fMRIPrep")
    found = study(tmp_path, raw, fmriprep, dwi=False)  # the four people's two raw sessions do not matter
    assert found.rows["01"]["t1w"] == str(fmriprep / "sub-01/anat/sub-01_desc-preproc_T1w.nii.gz")
    assert found.rows["12"]["t1w"] == str(raw / "sub-12/ses-pre/anat/sub-12_ses-pre_T1w.nii.gz")
    assert "t1w 12 (11 from fmriprep, 1 from raw, not preprocessed)" in found.notices[0]


def test_two_anatomical_pipelines_are_chosen_between_in_words(
    tmp_path: Path, fmriprep: Path, qsiprep: Path
) -> None:
    text = refused(tmp_path, fmriprep, qsiprep, dwi=False)
    assert "12 people have more than one file for t1w" in text
    assert "cohort.filters: {t1w: {dataset: fmriprep-23.1.0}}" in text
    for name in ("fmriprep", "fMRIPrep", "fmriprep-23.1.0"):
        rows = study(tmp_path, fmriprep, qsiprep, dwi=False, filters={"t1w": {"dataset": name}}).rows
        assert rows["01"]["t1w"] == str(fmriprep / "sub-01/anat/sub-01_desc-preproc_T1w.nii.gz")
        assert rows["01"]["t1w_mask"] == str(fmriprep / "sub-01/anat/sub-01_desc-brain_mask.nii.gz")


def test_aligned_diffusion_data_need_the_t1w_image_they_are_aligned_with(
    tmp_path: Path, fmriprep: Path, qsiprep: Path
) -> None:
    given: dict[str, Any] = {"sessions": "pre", "filters": {"t1w": {"dataset": "fmriprep"}}}
    text = refused(tmp_path, fmriprep, qsiprep, space="T1w", **given)
    assert "the T1w image of another dataset: set diffusion.space: native" in text
    assert "fmriprep" in study(tmp_path, fmriprep, qsiprep, space="native", **given).rows["01"]["t1w"]


def test_native_diffusion_data_are_not_called_aligned(tmp_path: Path) -> None:
    names = [*fmriprep_person("01"), "sub-01/dwi/sub-01_desc-preproc_dwi.nii.gz"]
    root = plant(tmp_path / "mine", names, "derivative", "mine")
    assert "set diffusion.space: native" in refused(tmp_path, root, space="T1w")
    assert study(tmp_path, root).has("01", "dwi")


@pytest.mark.parametrize("kind", ["raw", "derivative", None])
def test_raw_diffusion_data_are_refused_with_the_way_out(tmp_path: Path, kind: str | None) -> None:
    root = plant(tmp_path / "raw", [n for person in TWELVE for n in raw_person(person)], kind)
    for space in ("native", "T1w"):
        text = refused(tmp_path, root, space=space)
        assert "the diffusion data (12 files) are raw" in text
        assert "QSIPrep" in text
        assert "cohort.dwi_preprocessed: true" in text
    rows = study(tmp_path, root, dwi_preprocessed=True).rows
    assert all(row["dwi"] for row in rows.values())
    # nobody asked for them: no word
    assert not any(row.get("dwi") for row in study(tmp_path, root, dwi=False).rows.values())


def test_who_has_raw_diffusion_data_only_is_left_without(tmp_path: Path, qsiprep: Path) -> None:
    more = plant(tmp_path / "more", raw_person("13"))
    found = study(tmp_path, qsiprep, more, sessions="pre")
    assert found.has("13", "t1w")
    assert not found.has("13", "dwi")
    assert "1 dwi files not taken: raw" in "; ".join(found.notices)


def test_only_the_persons_own_space_is_taken(tmp_path: Path) -> None:
    names = [name for name in fmriprep_person("01") if "space-MNI" in name]
    root = plant(tmp_path / "fmriprep", names, "derivative", "fMRIPrep")
    text = refused(tmp_path, root, dwi=False)
    assert text == (
        f"cohort.bids: nobody has a T1w image in {root} (not taken: 1 files in a template's space "
        "(space-MNI152NLin2009cAsym)); cohort.filters.t1w takes those of another kind, e.g. {desc: ...}"
    )


@pytest.mark.parametrize("space", ["T1w", "ACPC", "anat", "individual", "orig", "native", "scanner"])
def test_names_of_the_persons_own_space(space: str, tmp_path: Path) -> None:
    anat, dwi = "sub-01/anat/sub-01", f"sub-01/dwi/sub-01_space-{space}_desc-preproc_dwi"
    names = [
        f"{anat}_space-{space}_desc-preproc_T1w.nii.gz",
        *(f"{dwi}.{x}" for x in ("nii.gz", "bval", "bvec")),
    ]
    root = plant(tmp_path / "own", names, "derivative")
    other = plant(tmp_path / "other", [f"{anat}_desc-preproc_T1w.nii.gz"], "derivative")
    assert study(tmp_path, root, space="T1w").rows["01"]["t1w"] == str(root / names[0])
    # of two T1w images that of the dataset of the diffusion data, which is in its space
    assert study(tmp_path, root, other).rows["01"]["t1w"] == str(root / names[0])


def test_images_of_another_kind_are_asked_for(tmp_path: Path) -> None:
    root = plant(
        tmp_path / "spm", ["sub-01/anat/sub-01_space-individual_desc-biascor_T1w.nii.gz"], "derivative", "SPM"
    )
    assert "of another kind (desc-biascor)" in refused(tmp_path, root, dwi=False)
    rows = study(tmp_path, root, dwi=False, filters={"t1w": {"desc": "biascor"}}).rows
    assert rows["01"]["t1w"].endswith("desc-biascor_T1w.nii.gz")


def test_masks_of_a_filter_are_those_of_their_datatype(tmp_path: Path, qsiprep: Path) -> None:
    """In QSIPrep's derivatives both masks are called desc-brain_mask."""
    filters = {name: {"desc": "brain", "space": "ACPC"} for name in ("t1w_mask", "dwi_mask")}
    row = study(tmp_path, qsiprep, sessions="pre", filters=filters).rows["01"]
    assert row["t1w_mask"] == f"{qsiprep}/sub-01/anat/sub-01_space-ACPC_desc-brain_mask.nii.gz"
    assert row["dwi_mask"] == f"{qsiprep}/sub-01/ses-pre/dwi/sub-01_ses-pre_space-ACPC_desc-brain_mask.nii.gz"


def test_a_mask_is_no_image_of_the_same_description(tmp_path: Path) -> None:
    """Images without their skull are called desc-brain_T1w."""
    names = [f"sub-01/anat/sub-01_desc-{d}.nii.gz" for d in ("preproc_T1w", "brain_T1w", "brain_mask")]
    root = plant(tmp_path / "derived", names, "derivative")
    row = study(tmp_path, root, dwi=False, filters={"t1w_mask": {"desc": "brain"}}).rows["01"]
    assert (row["t1w"], row["t1w_mask"]) == (f"{root}/{names[0]}", f"{root}/{names[2]}")


def test_images_of_other_datatypes_do_not_hide_those_that_follow(tmp_path: Path) -> None:
    root = plant(tmp_path / "raw", ["sub-01/anat/sub-01_acq-b_T1w.nii.gz", "sub-01/anat/sub-01_FLAIR.nii.gz"])
    masks = [
        "sub-01/aaa/sub-01_acq-b_desc-brain_mask.nii.gz",
        "sub-01/anat/sub-01_acq-c_desc-brain_mask.nii.gz",
    ]
    plant(root, masks, None)
    rows = study(tmp_path, root, dwi=False, filters={"t1w_mask": {"desc": "brain"}}).rows
    assert rows["01"]["t1w_mask"].endswith("acq-c_desc-brain_mask.nii.gz")


def test_a_session_in_a_filter_goes_before_the_study_s(tmp_path: Path, raw: Path) -> None:
    rows = study(tmp_path, raw, dwi=False, sessions="post", filters={"t1w": {"session": "pre"}}).rows
    assert {row["session"] for row in rows.values()} == {"pre"}
    both = study(tmp_path, raw, dwi_preprocessed=True, sessions="post", filters={"t1w": {"session": "pre"}})
    assert both.rows["01"]["session"] == "post+pre"
    assert both.rows["05"]["session"] == "pre"
    assert "4 people with images of different sessions" in both.notices
    numbered = plant(tmp_path / "numbered", [n for s in ("1", "2") for n in raw_person("01", s)])
    last = study(
        tmp_path, numbered, dwi_preprocessed=True, sessions="last", filters={"t1w": {"session": "1"}}
    )
    assert last.rows["01"]["session"] == "1+2"
    assert last.rows["01"]["t1w"].endswith("ses-1_T1w.nii.gz")


def test_a_session_may_stand_in_the_folder_alone(tmp_path: Path) -> None:
    names = [f"sub-01/ses-{s}/anat/sub-01_T1w.nii.gz" for s in ("1", "2")]
    root = plant(tmp_path / "raw", names)
    assert "session: 1, 2" in refused(tmp_path, root, dwi=False)
    row = study(tmp_path, root, dwi=False, sessions="2").rows["01"]
    assert (row["session"], row["t1w"]) == ("2", f"{root}/{names[1]}")
    plant(root, ["sub-01/ses-2/anat/sub-01_ses-3_T1w.nii.gz"])
    assert "a file of ses-3 is in ses-2" in refused(tmp_path, root, dwi=False, sessions="2")


def test_every_cell_has_its_origin(tmp_path: Path, raw: Path) -> None:
    study(tmp_path, raw, dwi_preprocessed=True, sessions="all")
    table = {(row["subject"], row["column"]): row for row in sources(tmp_path)}
    assert len(table) == 16 * 4
    assert table["02xpost", "bval"] == {
        "subject": "02xpost",
        "person": "02",
        "session": "post",
        "column": "bval",
        "dataset": "raw",
        "file": f"{raw}/sub-02/ses-post/dwi/sub-02_ses-post_dwi.bval",
        "why": "beside the dwi",
    }
    why = "from raw, as the configuration says, preprocessed, by cohort.sessions: all"
    assert table["02xpost", "dwi"]["why"] == why


def test_gradients_that_apply_alike_are_not_chosen_between(tmp_path: Path) -> None:
    names = raw_person("01", dwi=["acq-a_dir-AP_"])
    names = [name for name in names if not name.endswith(".bval")]
    names += [f"sub-01/dwi/sub-01_{e}_dwi.bval" for e in ("acq-a", "dir-AP")]
    text = refused(tmp_path, plant(tmp_path / "raw", names), dwi_preprocessed=True)
    assert "1 person has more than one file for bval" in text
    assert "sub-01_acq-a_dwi.bval, sub-01/dwi/sub-01_dir-AP_dwi.bval" in text


def test_entities_have_the_names_and_kinds_of_the_standard(tmp_path: Path) -> None:
    """As bids2table has them from BIDS's schema; further ones as fMRIPrep and QSIRecon write them."""
    index = Index([], tmp_path / "none", [], [], "")
    index.__dict__["files"] = []
    numbered = set()
    for entry in get_arrow_schema():
        said = {key.decode(): value.decode() for key, value in (entry.metadata or {}).items()}
        if said.get("format") not in ("label", "index") or said["entity"] == "subject":
            continue
        short = "session" if said["name"] == "ses" else said["name"]
        for name in (said["name"], said["entity"]):
            assert Filters(index, {"t1w": {name: "1"}}).of_column == {"t1w": {short: "1"}}
        numbered |= {said["name"]} if said["format"] == "index" else set()
    assert numbered == set(NUMBERED)
    for name in ("from", "to", "mode", "model", "param", "mdp", "stat"):
        assert Filters(index, {"t1w": {name: "1"}}).of_column == {"t1w": {name: "1"}}


def test_gradients_by_inheritance(tmp_path: Path) -> None:
    stem = "sub-01/ses-a/dwi/sub-01_ses-a_acq-x"
    names = ["sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz", f"{stem}_dwi.nii.gz", f"{stem}_dwi.bval"]
    names += ["sub-01/sub-01_acq-x_dwi.bvec", "sub-01/sub-01_acq-y_dwi.bvec", "dwi.bval", "dwi.bvec"]
    root = plant(tmp_path / "raw", [*names, *raw_person("02", "a", dwi=())])
    (root / "sub-02/ses-a/dwi").mkdir()
    (root / "sub-02/ses-a/dwi/sub-02_ses-a_dwi.nii.gz").touch()
    rows = study(tmp_path, root, dwi_preprocessed=True).rows
    assert rows["01"]["bval"] == str(root / f"{stem}_dwi.bval")  # the nearest
    assert rows["01"]["bvec"] == str(root / "sub-01/sub-01_acq-x_dwi.bvec")  # and no other acquisition's
    assert (rows["02"]["bval"], rows["02"]["bvec"]) == (str(root / "dwi.bval"), str(root / "dwi.bvec"))
    assert {s["why"] for s in sources(tmp_path) if s["column"] == "bvec"} == {"inherited"}


# ------------------------------------------------------------------- further modalities


def test_any_suffix_as_a_modality(tmp_path: Path) -> None:
    names = [
        *raw_person("01"),
        "sub-01/pet/sub-01_trc-FDG_space-T1w_pet.nii.gz",
        "sub-01/pet/sub-01_trc-PIB_pet.nii.gz",
    ]
    root = plant(tmp_path / "raw", names)
    assert "cohort.filters: {pet: {suffix: pet}}" in refused(tmp_path, root, dwi=False, modalities=PET)
    fdg = {"pet": {"suffix": "pet", "tracer": "FDG"}}
    rows = study(tmp_path, root, dwi=False, modalities=PET, filters=fdg).rows
    assert rows["01"]["pet"].endswith("trc-FDG_space-T1w_pet.nii.gz")


def test_raw_images_are_not_said_to_be_in_the_t1w_images_space(tmp_path: Path) -> None:
    root = plant(tmp_path / "raw", [*raw_person("01"), "sub-01/anat/sub-01_FLAIR.nii.gz"])
    flair = {"flair": {"from": "column", "column": "flair"}}
    given: dict[str, Any] = {"dwi": False, "modalities": flair}
    found = study(tmp_path, root, filters={"flair": {"suffix": "FLAIR"}}, **given)
    assert not found.has("01", "flair")
    assert "1 flair files not taken: not known to be in the T1w image's space" in "; ".join(found.notices)
    assert study(tmp_path, root, filters={"flair": {"suffix": "FLAIR", "space": None}}, **given).has(
        "01", "flair"
    )


def test_standard_space_is_taken_where_the_modality_says_so(tmp_path: Path) -> None:
    root = listed(tmp_path / "fmriprep", "fmriprep_ds054", "derivative", "fMRIPrep")
    gm = {"gm": {"from": "column", "column": "gm", "space": "mni"}}
    filters = {"gm": {"suffix": "probseg", "label": "GM"}}
    rows = study(tmp_path, root, dwi=False, modalities=gm, filters=filters).rows
    assert rows["100185"]["gm"].endswith("space-MNI152NLin2009cAsym_res-2_label-GM_probseg.nii.gz")


# ------------------------------------------------------------------- what is said of people


def test_columns_of_participants(tmp_path: Path, raw: Path) -> None:
    lines = ["participant_id\tage\tsex\tgroup\tscanner\tiq"]
    lines += [f"sub-{p}\t{20 + n}\t{'FM'[n % 2]}\tpatient\tA\t{100 + n}" for n, p in enumerate(TWELVE[:11])]
    (raw / "participants.tsv").write_text("\n".join(lines) + "\n")
    given: dict[str, Any] = {"dwi": False, "sessions": "pre"}
    found = study(tmp_path, raw, **given)
    assert (found.rows["02"]["age"], found.rows["02"]["sex"], found.rows["12"]["age"]) == ("21", "M", "")
    assert "diagnosis" not in found.rows["02"]  # never guessed from a column called group
    said = "; ".join(found.notices)
    assert "participants.tsv does not list 1 of 12 people: 12" in said
    assert "not taken (take one with cohort.columns: {NAME: COLUMN}): group, scanner, iq" in said
    named = study(tmp_path, raw, columns={"diagnosis": "group", "site": "scanner"}, **given)
    assert (named.rows["02"]["diagnosis"], named.rows["02"]["site"]) == ("patient", "A")
    assert "'Group' is not a column" in refused(tmp_path, raw, columns={"diagnosis": "Group"}, **given)
    assert "choose another" in refused(tmp_path, raw, columns={"t1w": "group"}, **given)
    # every column, by the rows' ids, for phenotypes.tables
    with open(tmp_path / "results/cohort/participants.tsv") as stream:
        table = {row["subject"]: row for row in csv.DictReader(stream, delimiter="\t")}
    assert table["02"]["iq"] == "101"


def test_ids_of_participants_that_look_alike_are_refused(tmp_path: Path, raw: Path) -> None:
    """Spreadsheets remove leading zeros; everybody was left without age and sex, and nothing was adjusted for."""
    lines = [f"{int(p)}\t{20 + n}" for n, p in enumerate(TWELVE)]
    (raw / "participants.tsv").write_text("participant_id\tage\n" + "\n".join(lines) + "\n")
    given: dict[str, Any] = {"dwi": False, "sessions": "pre"}
    text = refused(tmp_path, raw, **given)
    assert text.startswith(
        "cohort.bids: participants.tsv has no row of 01, 02, 03, 04, 05, ... (9 in all), and rows of nobody whose ids look "
        "alike ('1' for 01); write the ids as in the names of the folders"
    )
    assert text.endswith("set phenotypes.matching.near_ids: accept if these are other people")
    assert study(tmp_path, raw, participants=["10", "11"], **given).rows["11"]["age"] == "30"
    others = config(tmp_path, bids=[str(raw)], **given)
    others["phenotypes"]["matching"]["near_ids"] = "accept"
    assert "participants.tsv does not list 9 of 12 people" in "; ".join(load_study(others).notices)
    lines = [f"{int(p)}.0\t{20 + n}" for n, p in enumerate(TWELVE[9:])]
    (raw / "participants.tsv").write_text("participant_id\tage\n" + "\n".join(lines) + "\n")
    assert study(tmp_path, raw, **given).rows["11"]["age"] == "21"


def test_a_sessions_own_value_goes_before_the_persons(tmp_path: Path, raw: Path) -> None:
    (raw / "participants.tsv").write_text("participant_id\tage\tfamily\nsub-01\t30\tF1\nsub-02\t40\tF1\n")
    (raw / "sub-01/sub-01_sessions.tsv").write_text("session_id\tage\nses-pre\t31\nses-post\t33\n")
    rows = study(tmp_path, raw, dwi=False, sessions="all").rows
    assert (rows["01xpre"]["age"], rows["01xpost"]["age"], rows["02xpre"]["age"]) == ("31", "33", "40")
    assert [rows[s]["family"] for s in ("01xpre", "01xpost", "02xpre", "03xpre")] == [
        "F1",
        "F1",
        "F1",
        "sub-03",
    ]


def test_labels_of_sessions_that_only_look_like_those_of_the_images_are_refused(
    tmp_path: Path, raw: Path
) -> None:
    """Otherwise the session's facts were lost in silence."""
    table = raw / "sub-01/sub-01_sessions.tsv"
    table.write_text("session_id\tage\nses-Pre\t31\nses-post\t33\n")
    line = refused(tmp_path, raw, dwi=False, sessions="all")
    assert "sub-01_sessions.tsv has no row of ses-pre" in line
    assert "looks alike ('Pre')" in line
    # a session without a row has the person's facts
    table.write_text("session_id\tage\nses-post\t33\n")
    rows = study(tmp_path, raw, dwi=False, sessions="all").rows
    assert (rows["01xpre"].get("age", ""), rows["01xpost"]["age"]) == ("", "33")


def test_datasets_that_disagree_about_somebody(tmp_path: Path, raw: Path, fmriprep: Path) -> None:
    (raw / "participants.tsv").write_text("participant_id\tage\nsub-01\t30\n")
    (fmriprep / "participants.tsv").write_text("participant_id\tage\nsub-01\t31\n")
    assert "sub-01: age is 31, but 30 in another dataset" in refused(tmp_path, raw, fmriprep, dwi=False)
    (fmriprep / "participants.tsv").write_text("participant_id\tage\nsub-01\t30\nsub-01\t30\n")
    assert "participant_id sub-01 has two rows" in refused(tmp_path, raw, fmriprep, dwi=False)


# ------------------------------------------------------------------------- public trees


@pytest.mark.parametrize(
    ("name", "given", "counts"),
    [
        ("ds000117", {"dwi_preprocessed": True}, {"t1w": 16, "dwi": 16, "bval": 16, "bvec": 16}),
        (
            "ds114",
            {"sessions": "test", "dwi_preprocessed": True},
            {"t1w": 10, "dwi": 10, "bval": 10, "bvec": 10},
        ),
        (
            "ds114",
            {"sessions": "all", "dwi_preprocessed": True},
            {"t1w": 20, "dwi": 20, "bval": 20, "bvec": 20},
        ),
        ("7t_trt", {"dwi": False}, {"t1w": 22}),
        ("7t_trt", {"dwi": False, "sessions": "first"}, {"t1w": 22}),
        ("asl001", {"dwi": False}, {"t1w": 1}),
        (
            "asl001",
            {
                "dwi": False,
                "modalities": {"asl": {"from": "column", "column": "asl"}},
                "filters": {"asl": {"suffix": "asl", "space": None}},
            },
            {"t1w": 1, "asl": 1},
        ),
        ("pet001", {"dwi": False}, {"t1w": 1}),
        (
            "pet001",
            {"dwi": False, "modalities": PET, "filters": {"pet": {"suffix": "pet", "space": None}}},
            {"t1w": 1, "pet": 1},
        ),
        ("fmriprep_ds054", {"dwi": False}, {"t1w": 1, "t1w_mask": 1}),
        (
            "qsiprep_old",
            {"space": "T1w"},
            dict.fromkeys(("t1w", "t1w_mask", "dwi", "bval", "bvec", "dwi_mask"), 1),
        ),
        (
            "qsiprep_new",
            {"space": "T1w"},
            dict.fromkeys(("t1w", "t1w_mask", "dwi", "bval", "bvec", "dwi_mask"), 1),
        ),
        ("qsiprep_sessions", {}, dict.fromkeys(("t1w", "t1w_mask", "dwi", "bval", "bvec", "dwi_mask"), 1)),
    ],
)
def test_public_trees(tmp_path: Path, name: str, given: dict[str, Any], counts: dict[str, int]) -> None:
    derived = name.startswith(("fmriprep", "qsiprep"))
    root = listed(tmp_path / name, name, "derivative" if derived else "raw")
    study(tmp_path, root, **given)
    chosen = sources(tmp_path)
    assert Counter(line["column"] for line in chosen) == counts
    assert all(Path(line["file"]).is_file() and line["why"] for line in chosen)
    assert not any("space-MNI" in line["file"] for line in chosen)


def test_public_trees_with_several_sessions_ask(tmp_path: Path) -> None:
    root = listed(tmp_path / "ds114", "ds114")
    assert "10 people have more than one file for t1w" in refused(tmp_path, root, dwi=False)


def test_maps_of_qsirecon_beside_qsiprep(tmp_path: Path) -> None:
    qsiprep = listed(tmp_path / "qsiprep", "qsiprep_old", "derivative", "QSIPrep")
    qsirecon = listed(tmp_path / "qsirecon-NODDI", "qsirecon_noddi", "derivative", "QSIRecon")
    given: dict[str, Any] = {
        "dwi": False,
        "modalities": {"icvf": {"from": "column", "column": "icvf"}},
        "filters": {"icvf": {"suffix": "dwimap", "model": "noddi", "param": "icvf"}},
    }
    row = study(tmp_path, qsiprep, qsirecon, **given).rows["PNC"]
    assert row["icvf"].endswith("model-noddi_param-icvf_dwimap.nii.gz")
    assert row["t1w"].startswith(str(qsiprep))


def test_maps_in_acpc_space_fit_a_t1w_image_in_it(tmp_path: Path, qsiprep: Path) -> None:
    cnr = {"cnr": {"from": "column", "column": "cnr", "space": "t1w"}}
    given: dict[str, Any] = {"modalities": cnr, "filters": {"cnr": {"suffix": "dwimap"}}, "dwi": False}
    row = study(tmp_path, qsiprep, sessions="pre", **given).rows["01"]
    assert row["cnr"].endswith("sub-01_ses-pre_space-ACPC_model-eddy_stat-cnr_dwimap.nii.gz")
    assert row["t1w"].endswith("sub-01_space-ACPC_desc-preproc_T1w.nii.gz")


def test_maps_in_acpc_space_need_a_t1w_image_in_it(tmp_path: Path, fmriprep: Path) -> None:
    maps = plant(
        tmp_path / "maps", ["sub-01/dwi/sub-01_space-ACPC_model-noddi_param-icvf_dwimap.nii.gz"], "derivative"
    )
    given: dict[str, Any] = {
        "dwi": False,
        "modalities": {"icvf": {"from": "column", "column": "icvf"}},
        "filters": {"icvf": {"suffix": "dwimap", "param": "icvf"}},
    }
    assert "an image in ACPC space for a modality with space: t1w" in refused(
        tmp_path, fmriprep, maps, **given
    )


# ------------------------------------------------------------------ folders, the index, its cache


def test_odd_names_do_no_harm(tmp_path: Path) -> None:
    names = [
        *raw_person("01"),
        "sub-01/anat/._sub-01_T1w.nii.gz",
        "sub-01/anat/sub-01_T1w.backup.nii.gz",
        "sub-01/anat/sub-01_T1w copy.nii.gz",
        "sub-01/anat/sub-01__x_-T2w.nii.gz",
        "sub-01/anat/T1w.nii.gz",
        "sub-02_x/anat/sub-02_x_T1w.nii.gz",
        "sub-emptyroom/meg/sub-emptyroom_meg.fif",
        "sourcedata/sub-03/anat/sub-03_T1w.nii.gz",
    ]
    for folder in ("v1.2", "br[a]ck*et", "with space", "ünï"):
        root = plant(tmp_path / folder, names)
        found = study(tmp_path, root, dwi=False)
        assert [row["t1w"] for row in found.rows.values()] == [str(root / "sub-01/anat/sub-01_T1w.nii.gz")]
        assert f"not read: {root}/sub-02_x" in "; ".join(found.notices)


def test_files_in_the_folder_of_another_person(tmp_path: Path) -> None:
    root = plant(tmp_path / "raw", ["sub-01/anat/sub-02_T1w.nii.gz"])
    assert "a file of sub-02 is in sub-01" in refused(tmp_path, root, dwi=False)
    other = plant(tmp_path / "other", ["sub-01/ses-a/anat/sub-01_ses-b_T1w.nii.gz"])
    assert "a file of ses-b is in ses-a" in refused(tmp_path, other, dwi=False)


def test_unusable_roots(tmp_path: Path, raw: Path) -> None:
    assert "is not a folder" in refused(tmp_path, tmp_path / "nowhere")
    assert f"name the datasets below it instead: {raw}" in refused(tmp_path, tmp_path)
    assert "is the same folder as" in refused(tmp_path, raw, tmp_path / "raw" / ".." / "raw")
    (raw / "dataset_description.json").write_text("{")
    assert "dataset_description.json: is not valid JSON" in refused(tmp_path, raw)


def test_links_that_lead_in_a_circle(tmp_path: Path) -> None:
    root = plant(tmp_path / "raw", raw_person("01"))
    (root / "sub-01" / "again").symlink_to(root / "sub-01")
    (root / "sub-02").symlink_to(root / "sub-01")
    with pytest.raises(UserError, match="a file of sub-01 is in sub-02"):
        study(tmp_path, root, dwi=False)
    (root / "sub-02").unlink()
    assert list(study(tmp_path, root, dwi=False).rows) == ["01"]


def test_images_that_are_not_fetched_are_named(tmp_path: Path) -> None:
    """DataLad's links to contents that are not there."""
    root = plant(tmp_path / "raw", raw_person("01", t1w=()))
    (root / "sub-01/anat").mkdir()
    (root / "sub-01/anat/sub-01_T1w.nii.gz").symlink_to("../../.git/annex/objects/x")
    found = study(tmp_path, root, dwi=False)
    lines = [problem.text for problem in find_problems(found, FileCache(tmp_path / "headers.json"))]
    target = "../../.git/annex/objects/x"
    text = f"is a link to {target}, which is not there (fetch it: datalad get, or git annex get)"
    assert f"subject 01: t1w: {root}/sub-01/anat/sub-01_T1w.nii.gz: {text}" in lines


def test_the_index_is_kept_until_a_folder_changes(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {"dwi": False, "sessions": "pre"}
    settle(raw)
    before = study(tmp_path, raw, **given)

    def forbidden(*_: Any, **__: Any) -> None:
        pytest.fail("the folders were indexed again")

    with monkeypatch.context() as patch:
        patch.setattr("neurostrata.cohort.discovery.bids_index._renew", forbidden)
        again = study(tmp_path, raw, **given)
        assert (again.rows, again.notices) == (before.rows, before.notices)
        study(tmp_path, raw, dwi=False, sessions="post")  # another choice from the same index
    assert len(study(tmp_path, raw, **given).rows) == 12
    plant(raw, raw_person("13", "pre"))
    assert len(study(tmp_path, raw, **given).rows) == 13
    (raw / "sub-13/ses-pre/anat/sub-13_ses-pre_acq-b_T1w.nii.gz").touch()  # a file in an old folder
    assert "1 person has more than one file for t1w" in refused(tmp_path, raw, **given)
    (raw / "sub-13/ses-pre/anat/sub-13_ses-pre_acq-b_T1w.nii.gz").unlink()
    (raw / "sub-13/ses-pre/anat/sub-13_ses-pre_T1w.nii.gz").unlink()
    assert "13" not in study(tmp_path, raw, **given).rows


def test_a_folder_that_changed_a_moment_ago_is_looked_at_again(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A further file within the same tick of the folder's time would not show."""
    given: dict[str, Any] = {"dwi": False, "sessions": "pre"}
    settle(raw)
    anat, times = raw / "sub-01/ses-pre/anat", (time.time(), time.time())
    os.utime(anat, times)
    assert len(study(tmp_path, raw, **given).rows) == 12
    (anat / "sub-01_ses-pre_acq-b_T1w.nii.gz").touch()
    os.utime(anat, times)
    assert "1 person has more than one file for t1w" in refused(tmp_path, raw, **given)
    (anat / "sub-01_ses-pre_acq-b_T1w.nii.gz").unlink()
    for path in raw.rglob("*.bval"):
        path.unlink()
    settle(raw)
    os.utime(raw, times)
    assert not study(tmp_path, raw, dwi_preprocessed=True, sessions="pre").has("01", "bval")
    plant(raw, ["dwi.bval"], None)
    os.utime(raw, times)
    row = study(tmp_path, raw, dwi_preprocessed=True, sessions="pre").rows["01"]
    assert row["bval"] == f"{raw}/dwi.bval"


def test_what_was_chosen_is_kept_until_something_changes(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (raw / "participants.tsv").write_text("participant_id\tage\n" + "".join(f"{p}\t3{p}\n" for p in TWELVE))
    given: dict[str, Any] = {"dwi": False, "sessions": "pre"}
    settle(raw)
    before = study(tmp_path, raw, **given)

    def forbidden(*_: Any) -> None:
        pytest.fail("the images were chosen again")

    with monkeypatch.context() as patch:
        patch.setattr("neurostrata.cohort.discovery.search.choose", forbidden)
        again = study(tmp_path, raw, **given)
        assert (again.rows, again.notices) == (before.rows, before.notices)
    table = tmp_path / "results/cohort/discovered.tsv"
    table.write_text(table.read_text().replace("/sub-02/", "/sub-03/"))
    assert study(tmp_path, raw, **given).rows == before.rows
    (raw / "participants.tsv").write_text("participant_id\tage\n01\t99\n")
    assert study(tmp_path, raw, **given).rows["01"]["age"] == "99"


def test_every_difference_gets_its_own_advice(tmp_path: Path) -> None:
    names = [f"sub-01/ses-{s}/anat/sub-01_ses-{s}_acq-{a}_T1w.nii.gz" for s in "12" for a in ("fl3d", "mpr")]
    text = refused(tmp_path, plant(tmp_path / "raw", names), dwi=False)
    assert (
        "They differ in session: 1, 2; acquisition: fl3d, mpr; choose with cohort.sessions: 1 (or first, last, all) or "
        "cohort.filters: {t1w: {session: 1}} or cohort.filters: {t1w: {acquisition: fl3d}}:" in text
    )


def test_one_image_in_two_formats_is_a_question(tmp_path: Path) -> None:
    root = plant(tmp_path / "raw", [f"sub-01/anat/sub-01_T1w.{x}" for x in ("nii", "nii.gz")])
    text = refused(tmp_path, root, dwi=False)
    assert (
        "They differ in extension: .nii, .nii.gz; choose with cohort.filters: {t1w: {extension: .nii}}:"
        in text
    )
    rows = study(tmp_path, root, dwi=False, filters={"t1w": {"extension": "nii.gz"}}).rows
    assert rows["01"]["t1w"].endswith("_T1w.nii.gz")


def test_a_spoiled_cache_is_made_again(tmp_path: Path, raw: Path) -> None:
    given: dict[str, Any] = {"dwi": False, "sessions": "pre"}
    settle(raw)
    wanted = study(tmp_path, raw, **given).rows
    cohort = tmp_path / "results" / "cohort"
    for name in ("bids_index.tsv", "bids_folders.json", "discovered.json", "discovered.tsv", "sources.tsv"):
        (cohort / name).write_text((cohort / name).read_text()[:50])
        assert study(tmp_path, raw, **given).rows == wanted, name
        (cohort / name).unlink()
        assert study(tmp_path, raw, **given).rows == wanted, name


def test_jobs_read_what_was_written(tmp_path: Path, raw: Path) -> None:
    settings = config(tmp_path, dwi=False, bids=str(raw), sessions="pre")
    with pytest.raises(UserError, match="is missing; snakemake -n writes it"):
        load_study(settings, rescan=False)
    wanted = load_study(settings).rows
    for path in raw.rglob("*.nii.gz"):
        path.unlink()
    assert load_study(settings, rescan=False).rows == wanted
    table = tmp_path / "results" / "cohort" / "discovered.tsv"
    table.write_text("\n".join(table.read_text().splitlines()[:5]) + "\n")
    with pytest.raises(UserError, match="was changed after it was written"):
        load_study(settings, rescan=False)


@pytest.mark.usefixtures("own_process")
def test_planning_neither_imports_the_library_nor_needs_it_in_jobs(tmp_path: Path, raw: Path) -> None:
    settings = config(tmp_path, dwi=False, bids=str(raw), sessions="pre")
    program = (
        "import json, sys; from neurostrata.cohort.study import load_study; "
        "print(len(load_study(json.loads(sys.argv[1])).rows), [m for m in ('bids2table', 'pyarrow', 'numpy') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, json.dumps(settings)], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "12 []"


@pytest.mark.usefixtures("own_process")
def test_a_missing_library_is_named(tmp_path: Path, raw: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['bids2table'] = None")
    library = str(LIBRARY)
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "neurostrata.cohort.discovery.bids_index",
            json.dumps([str(raw)]),
            "a.tsv",
            "a.json",
        ],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{library}"},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert run.returncode == 1
    assert "the package bids2table is missing" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("own_process")
def test_ten_thousand_people(tmp_path: Path) -> None:
    root = tmp_path / "many"
    for number in range(10_000):
        plant(root, raw_person(f"{number:05d}"), None)
    settle(root)
    start = time.perf_counter()
    assert len(study(tmp_path, root, dwi_preprocessed=True).rows) == 10_000
    first = time.perf_counter() - start
    start = time.perf_counter()
    assert len(study(tmp_path, root, dwi_preprocessed=True).rows) == 10_000
    again = time.perf_counter() - start
    print(f"10,000 people: {first:.1f} s, again {again:.2f} s")  # no limit: machines differ


# -------------------------------------------------------------------- HCP, UK Biobank


def layout(folder: Path, *names: str) -> Path:
    return plant(folder, names, None)


def test_hcp_lifespan_visits(tmp_path: Path) -> None:
    files = ("T1w_acpc_dc_restore.nii.gz", "brainmask_fs.nii.gz", "Diffusion/data.nii.gz", "Diffusion/bvals")
    names = [f"{p}_MR/T1w/{f}" for p in ("HCA6000001_V1", "HCA6000001_V2", "HCD0000002_V1") for f in files]
    root = layout(tmp_path / "fmriresults01", *names)
    with pytest.raises(
        UserError, match=r"1 person with several visits; choose with cohort.sessions: V1"
    ) as caught:
        load_study(config(tmp_path, dwi=False, hcp=str(root)))
    assert "HCA6000001: V1, V2" in str(caught.value)
    found = load_study(config(tmp_path, dwi=False, hcp=str(root), sessions="V1"))
    assert found.notices == ["2 people, cohort.sessions: V1: t1w 2, dwi 2"]
    rows = found.rows
    assert {s: row["session"] for s, row in rows.items()} == {"HCA6000001": "V1", "HCD0000002": "V1"}
    assert rows["HCA6000001"]["bval"].endswith("HCA6000001_V1_MR/T1w/Diffusion/bvals")
    rows = load_study(config(tmp_path, dwi=False, hcp=str(root), sessions="last")).rows
    assert rows["HCA6000001"]["session"] == "V2"
    rows = load_study(config(tmp_path, dwi=False, hcp=str(root), sessions="all")).rows
    assert list(rows) == ["HCA6000001xV1", "HCA6000001xV2", "HCD0000002xV1"]
    assert [row["template"] for row in rows.values()] == ["", "no", ""]  # a person helps build it once
    assert len(sources(tmp_path)) == 12
    with pytest.raises(UserError, match="fmriresults01 instead"):
        load_study(config(tmp_path, dwi=False, hcp=str(tmp_path)))


def test_facts_about_people_without_bids_are_taken_from_the_phenotype_tables(tmp_path: Path) -> None:
    """HCP's families are in its restricted table; without them twins would be divided between training and test."""
    visits = [f"{p}_MR/T1w/{n}" for p in ("HCA1_V1", "HCA1_V2", "HCA2_V1", "HCA3_V1") for n in HCP.values()]
    root = layout(tmp_path / "hcp", *visits)
    (tmp_path / "a.csv").write_text("Subject,Site,IQ\nHCA1,WashU,1\nHCA2,NA,2\nHCA9,UMinn,3\n")
    (tmp_path / "b.csv").write_text("Subject,Family_ID\nHCA1,F7\nHCA2,F7\nHCA3,NaN\n")
    tables = [str(tmp_path / name) for name in ("a.csv", "b.csv")]

    def rows(sessions: str, **columns: str) -> dict[str, tuple[str, ...]]:
        given = config(tmp_path, hcp=str(root), sessions=sessions, columns=columns)
        given["phenotypes"]["tables"] = tables
        found = load_study(given)
        assert load_study(given, rescan=False).rows == found.rows
        return {subject: tuple(row.get(name, "") for name in columns) for subject, row in found.rows.items()}

    named = {"family": "Family_ID", "site": "Site"}
    assert rows("V1", **named) == {"HCA1": ("F7", "WashU"), "HCA2": ("F7", ""), "HCA3": ("", "")}
    every = {"HCA1xV1": ("F7",), "HCA1xV2": ("F7",), "HCA2xV1": ("F7",), "HCA3xV1": ("sub-HCA3",)}
    assert rows("all", family="Family_ID") == every
    with pytest.raises(
        UserError, match=r"cohort.columns.family: 'FamilyID' is not a column of .*; did you mean"
    ):
        rows("V1", family="FamilyID")
    with pytest.raises(UserError, match=r"cohort.columns.dwi: this column has a fixed meaning"):
        rows("V1", dwi="IQ")
    tables.clear()
    with pytest.raises(UserError, match=r"cohort.columns.family: .*phenotypes.tables names none"):
        rows("V1", family="Family_ID")


def test_facts_that_differ_between_the_rows_of_a_person_are_refused(tmp_path: Path) -> None:
    """Tables of studies with visits have a row for each; the last one was taken in silence."""
    root = layout(tmp_path / "hcp", *(f"HCA{n}_V1_MR/T1w/{f}" for n in (1, 2) for f in HCP.values()))
    (tmp_path / "a.csv").write_text("Subject,Visit,Family_ID,Site\nHCA1,V1,F7,A\nHCA1,V2,F7,B\nHCA2,V1,F8,A\nHCA3,V1,F8,A\nHCA3,V2,F9,A\n")  # fmt: skip
    given = config(tmp_path, hcp=str(root), sessions="all", columns={"family": "Family_ID"})
    given["phenotypes"]["tables"] = [str(tmp_path / "a.csv")]
    assert {row["family"] for row in load_study(given).rows.values()} == {"F7", "F8"}
    given["cohort"]["columns"]["site"] = "Site"
    with pytest.raises(UserError) as caught:
        load_study(given)
    assert str(caught.value) == (
        f"cohort.columns.site: {tmp_path / 'a.csv'}: subject HCA1 has several rows that differ in 'Site' (A, B); keep one "
        "row per person"
    )


@pytest.mark.parametrize(
    ("key", "first", "second", "whom"),
    [
        ("hcp", "100307/T1w/T1w_acpc_dc_restore.nii.gz", "sub-100307/T1w/T1w_acpc_dc_restore.nii.gz", "100307"),
        ("ukb", "1000001_20252_2_0/T1/T1.nii.gz", "1000001/20252_2_0/T1/T1.nii.gz", "1000001, visit 2"),
        ("ukb", "1000001_20252_2_0/T1/T1.nii.gz", "1000001_20252_2_1/T1/T1.nii.gz", "1000001, visit 2"),
    ],
)  # fmt: skip
def test_two_folders_of_one_person_are_not_chosen_between(
    key: str, first: str, second: str, whom: str, tmp_path: Path
) -> None:
    root = layout(tmp_path / "there", first, second)
    with pytest.raises(UserError) as caught:
        load_study(config(tmp_path, dwi=False, **{key: str(root)}))
    places = " and ".join(sorted(f"{root / name}" for name in (first, second)))
    assert (
        str(caught.value) == f"cohort.{key}: subject {whom}: two images for t1w: {places}; keep one of them"
    )


def test_images_of_hcp_and_ukb_that_are_not_fetched_are_named(tmp_path: Path) -> None:
    """A link to a content that is not there is an image of the person; without it the person would be left out in silence."""
    names = [f"{p}/T1w/{n}" for p in ("100206", "100307") for n in HCP.values()]
    root = layout(tmp_path / "hcp", *names)
    for name in ("100206/T1w/T1w_acpc_dc_restore.nii.gz", "100307/T1w/Diffusion/bvals"):
        (root / name).unlink()
        (root / name).symlink_to("/elsewhere/content")
    found = load_study(config(tmp_path, dwi=True, hcp=str(root)))
    assert list(found.rows) == ["100206", "100307"]
    lines = [problem.text for problem in find_problems(found, FileCache(tmp_path / "headers.json"))]
    for subject, place in (
        ("100206", "t1w: {}/T1w_acpc_dc_restore.nii.gz"),
        ("100307", "bval: {}/Diffusion/bvals"),
    ):
        file = place.format(root / subject / "T1w")
        assert f"subject {subject}: {file}: is a link to /elsewhere/content, which is not there" in lines
    bulk = layout(tmp_path / "bulk", "1000001_20252_2_0/T1/T1.nii.gz")
    (bulk / "1000001_20252_2_0/T1/T1_brain_mask.nii.gz").symlink_to("/elsewhere/content")
    assert load_study(config(tmp_path, ukb=str(bulk))).rows["1000001"]["t1w_mask"]


def test_uk_biobanks_folders(tmp_path: Path) -> None:
    t1 = ("T1/T1.nii.gz", "T1/T1_brain.nii.gz", "T1/T1_brain_mask.nii.gz")
    dwi = tuple(f"dMRI/dMRI/{n}" for n in ("data_ud.nii.gz", "bvals", "bvecs", "data.eddy_rotated_bvecs"))
    names = [f"1000001_20252_{v}_0/{n}" for v in (2, 3) for n in t1]
    names += [f"1000001_20250_2_0/{n}" for n in dwi]
    names += [f"1000002/20252_2_0/{n}" for n in t1] + ["1000002/20253_2_0/T2_FLAIR/T2_FLAIR.nii.gz"]
    names += [f"1000003/{n}" for n in (*t1, *dwi)]
    root = layout(tmp_path / "bulk", *names)
    with pytest.raises(UserError, match=r"1 person with several visits; choose with cohort.sessions: 2"):
        load_study(config(tmp_path, ukb=str(root)))
    rows = load_study(config(tmp_path, ukb=str(root), sessions="first")).rows
    assert [rows[s]["session"] for s in rows] == ["2", "2", ""]
    assert rows["1000001"]["t1w"].endswith("1000001_20252_2_0/T1/T1.nii.gz")
    assert rows["1000001"]["bvec"].endswith("1000001_20250_2_0/dMRI/dMRI/data.eddy_rotated_bvecs")
    assert rows["1000002"]["flair"].endswith("T2_FLAIR.nii.gz")
    assert rows["1000003"]["dwi"].endswith("1000003/dMRI/dMRI/data_ud.nii.gz")
    found = load_study(config(tmp_path, ukb=str(root), sessions="2"))
    assert list(found.rows) == ["1000001", "1000002"]
    assert "2 people, cohort.sessions: 2: t1w 2, dwi 1, flair 1" in found.notices
    assert "1 person without such a visit" in found.notices
    masks = ("dMRI/dMRI.bedpostX/nodif_brain_mask.nii.gz", "dMRI/dMRI/nodif_brain_mask_ud.nii.gz")
    for mask in masks:  # the latter goes before the former
        layout(root, f"1000001_20250_2_0/{mask}")
        given = config(tmp_path, ukb=str(root), sessions="2")
        assert load_study(given).rows["1000001"]["dwi_mask"] == f"{root}/1000001_20250_2_0/{mask}"
    packed = layout(tmp_path / "zips", "1000001_20252_2_0.zip")
    with pytest.raises(UserError, match="1 zip files: unpack each"):
        load_study(config(tmp_path, ukb=str(packed)))
