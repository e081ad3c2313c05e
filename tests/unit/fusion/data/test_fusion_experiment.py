"""The data of one fold: who is in it, what volumes are scaled by, and tables that were cut."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from fusion_toy import AFFINE, toy_mask, toy_settings, toy_volumes

from neurostrata.core.errors import UserError
from neurostrata.core.files import sidecar_path, write_json
from neurostrata.fusion.commands import split
from neurostrata.fusion.data.experiment import ExperimentData, read_splits
from neurostrata.fusion.models import bundle
from neurostrata.fusion.training.machine import Machine

PEOPLE = [f"{i:02d}" for i in range(1, 13)]


@pytest.fixture
def folder(tmp_path):
    table = pd.DataFrame({"subject": PEOPLE, "family": [f"f{i // 2}" for i in range(12)]})
    table = table.assign(diagnosis=["a", "a", "b", "b"] * 3, site="")
    table.to_csv(tmp_path / "people.tsv", sep="\t", index=False)
    split(subjects=tmp_path / "people.tsv", output=tmp_path / "splits.tsv", settings=toy_settings())
    toy_volumes(tmp_path, people=12, side=8)
    return tmp_path


def data(folder, fold="0", **more):
    settings = toy_settings(options=more.pop("options", None))
    settings["experiment"] |= more.pop("experiment", {})
    return ExperimentData(
        settings,
        volumes=[folder / "jac.npy", folder / "ndi.npy"],
        splits=folder / "splits.tsv",
        fold=fold,
        mask=folder / "mask.nii.gz",
        **more,
    )


def rewritten(folder, change):
    """The table of folds after `change`, as if it had been cut without a trace."""
    table = pd.read_csv(folder / "splits.tsv", sep="\t", dtype=str)
    for record in folder.glob(".*"):  # who reads a table first compares it with its record
        if record.is_file():
            record.unlink()
    change(table).to_csv(folder / "splits.tsv", sep="\t", index=False)


def test_the_roles_of_a_fold(folder):
    table = read_splits(folder / "splits.tsv")
    for fold in ("0", "1"):
        own = table[table["fold"] == fold].set_index("subject")["role"]
        one = data(folder, fold)
        assert one.subjects() == PEOPLE
        assert one.subjects("train") == own.index[own == "train"].tolist()
        assert one.tested("evaluate") == own.index[own == "test"].tolist()
        assert one.roles(PEOPLE[::-1]) == own[PEOPLE[::-1]].tolist()
        assert one.training_people().subjects == one.subjects("train")
    with pytest.raises(UserError, match="fold 'all' has no test people, there is nothing to evaluate"):
        data(folder, "all").tested("evaluate")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[t["fold"] != "all"], "has 0 people and .*splits.json says 12"),
        (lambda t: t[t["subject"] != "05"], "has [0-9]+ people and .*splits.json says"),
        (lambda t: t[(t["subject"] != "05") | (t["fold"] != "1")], "lacks 1 of the 12 people .* in fold 1"),
        (lambda t: t.assign(role=t["role"].mask(t["subject"] == "05", "train")), "has [0-9]+ people and"),
    ],
)
def test_a_table_of_folds_that_was_cut_is_not_read(folder, change, message):
    rewritten(folder, change)
    with pytest.raises(UserError, match=message):
        read_splits(folder / "splits.tsv")


def test_a_table_without_its_sidecar_is_taken_as_it_is(folder):
    rewritten(folder, lambda table: table[table["subject"] != "05"])
    sidecar_path(folder / "splits.tsv").unlink()
    assert "05" not in set(read_splits(folder / "splits.tsv")["subject"])


def test_limits_are_the_training_peoples_or_those_that_were_written(folder):
    one = data(folder)
    inside = np.load(folder / "ndi.npy")[:, toy_mask(8)]
    rows = [PEOPLE.index(subject) for subject in one.subjects("train")]
    low, high = np.percentile(inside[rows], [0.1, 99.9])
    assert list(one.scaling) == ["jac", "ndi"]
    assert (one.scaling["ndi"]["low"], one.scaling["ndi"]["high"]) == pytest.approx((low, high), rel=1e-4)
    everybody = np.percentile(inside, [0.1, 99.9])
    assert abs(everybody[1] - high) > 1e-4
    own = {"jac": {"low": 0.0, "high": 3.0}, "ndi": {"low": 1.0, "high": 5.0}}
    write_json(folder / "limits.json", {"limits": own})
    written = data(folder, limits=folder / "limits.json")
    assert written.scaling == own
    volume = (np.load(folder / "ndi.npy")[4] - 1) / 4
    np.testing.assert_allclose(written.people(["05"])[0][1], volume.clip(0, 1) * toy_mask(8), atol=1e-6)


@pytest.mark.parametrize(("scaling", "maximum"), [("maximum", True), ("limits", False), (None, False)])
def test_volumes_are_over_their_maxima_where_those_of_the_training_were(folder, scaling, maximum):
    """Whatever the settings of now say; the limits of earlier releases have no word on it."""
    word = {} if scaling is None else {"scaling": scaling}
    limits = {"limits": {} if maximum else {name: {"low": 0.0, "high": 9.0} for name in ("jac", "ndi")}}
    write_json(folder / "limits.json", limits | word)
    other = {"scaling": "limits" if maximum else "maximum"}
    one = data(folder, limits=folder / "limits.json", experiment=other)
    assert one.maximum == maximum
    largest = max(np.abs(image).max() for image in one.people(["01"])[0])
    assert (largest == 1) == maximum
    assert data(folder, experiment={"scaling": "maximum"}).maximum


def test_families_and_strata_of_people(folder):
    options = {"validation_stratify_by": ["diagnosis"]}
    settings = toy_settings("shared_vae", options=options)["experiment"]
    one = data(folder, experiment=settings, people=folder / "people.tsv")
    some = one.people(["03", "02", "01"])
    assert some.groups == {"03": "f1", "02": "f0", "01": "f0"}
    assert some.strata == {"03": "b", "02": "a", "01": "a"}
    assert some.incomplete is False
    assert one.people(["01"], incomplete=True).incomplete
    label = {"label": {"column": "diagnosis", "classes": ["a", "b"]}}
    labelled = data(folder, experiment=label, labels=folder / "people.tsv").people(["03", "01"])
    assert (labelled.labels, labelled.strata) == ({"03": "b", "01": "a"}, None)
    assert labelled.groups == {"03": "f1", "01": "f0"}
    assert data(folder).people(["01"]).groups is None
    cut = pd.read_csv(folder / "people.tsv", sep="\t", dtype=str)
    cut[cut["subject"] != "02"].to_csv(folder / "people.tsv", sep="\t", index=False)
    with pytest.raises(UserError, match="lacks 1 of the 3 people"):
        one.people(["03", "02", "01"])


def test_with_missing_modalities_people_may_lack_some(folder):
    path = folder / "ndi.json"
    description = json.loads(path.read_text())
    array = np.load(folder / "ndi.npy")
    np.save(folder / "ndi.npy", array[1:])
    path.write_text(json.dumps(description | {"subjects": PEOPLE[1:]}))
    one = data(folder, experiment={"missing": "include"})
    assert np.isnan(one.people(["01"])[0][1]).all()
    with pytest.raises(UserError, match="subject 01: has no 'ndi' volume"):
        data(folder).people(["01"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        ({"modalities": ["ndi", "jac"]}, "was trained on ndi, jac, given are jac, ndi"),
        ({"shape": (8, 8, 9)}, r"was trained on a grid of \(8, 8, 9\), given is \(8, 8, 8\)"),
        ({"affine": np.diag([5.0, 4.0, 4.0, 1.0])}, "was trained on another grid in space"),
        ({"maximum": True}, "was trained on volumes of another scaling than"),
    ],
)
def test_a_model_of_other_volumes_is_refused(folder, monkeypatch, change, message):
    prepared = []
    known = {"modalities": ["jac", "ndi"], "shape": (8, 8, 8), "maximum": False, "affine": AFFINE} | change
    affine = known.pop("affine")
    model = SimpleNamespace(**known, name="toy", prepare=prepared.append)
    monkeypatch.setattr(bundle, "load_bundle", lambda path: (model, {"grid": {"affine": affine.tolist()}}))
    one, machine = data(folder), Machine(threads=1)
    if message is None:
        assert one.load_model(folder / "model", machine) is model
        assert prepared == [machine]
        facts = one.facts(model)
        assert (facts["Fold"], facts["Model"], facts["Settings"]["seed"]) == ("0", "toy", 1)
        assert "Model" not in one.facts()
        return
    with pytest.raises(UserError, match=message):
        one.load_model(folder / "model", machine)


def test_one_modality_is_enough(folder):
    settings = toy_settings(modalities=("ndi",))
    one = ExperimentData(settings, volumes=[folder / "ndi.npy"], splits=folder / "splits.tsv", fold="0")
    assert one.shape == (8, 8, 8)
    np.testing.assert_array_equal(one.affine, AFFINE)
    with pytest.raises(ValueError, match="no brain mask"):
        _ = one.mask
    with pytest.raises(ValueError, match="no regions"):
        _ = one.regions


def test_of_volumes_over_their_maxima_only_masks_have_limits(folder):
    path = folder / "ndi.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"kind": "mask"}))
    assert data(folder, experiment={"scaling": "maximum"}).scaling == {"ndi": {"low": 0.0, "high": 1.0}}
