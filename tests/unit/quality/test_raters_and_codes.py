"""Agreement of raters by hand, what models make of held-out people, and the commands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from neurostrata.core.config import fill_defaults, load_schema
from neurostrata.core.embeddings import Embeddings
from neurostrata.core.errors import UserError
from neurostrata.core.tables import read_table, write_table
from neurostrata.quality.codes import code_distances, experiment_measures
from neurostrata.quality.commands import compare_quality, compare_raters, gather_quality, measure_codes
from neurostrata.quality.gather import gather_people
from neurostrata.quality.raters import compare_raters as agreement


def test_kappa_by_hand() -> None:
    said = {"ann": "EEEKKKKKKU", "bob": "EEKKKKKKEU"}
    words = {"E": "exclude", "K": "keep", "U": "unsure"}
    rows = [
        {"subject": f"{n:02d}", "modality": "", "decision": words[letter], "rater": rater}
        for rater, letters in said.items()
        for n, letter in enumerate(letters)
    ]
    rows += [{"subject": "99", "modality": "", "decision": "keep", "rater": "bob"}]  # ann has not seen them
    rows += [{"subject": "00", "modality": "", "decision": "keep", "rater": "consensus"}]
    (found,) = agreement(rows).to_dict("records")
    assert (found["rater"], found["other"], found["n"], found["agree"]) == ("ann", "bob", 10, 8)
    chance = 0.3 * 0.3 + 0.6 * 0.6 + 0.1 * 0.1
    assert found["kappa"] == pytest.approx((0.8 - chance) / (1 - chance))
    assert found["disagree_on"] == "02, 08"
    alike = [{**row, "decision": "keep"} for row in rows]
    assert np.isnan(agreement(alike)["kappa"].iloc[0])


def test_a_strange_code_lies_far_from_the_training() -> None:
    rng = np.random.default_rng(0)
    codes = pd.DataFrame(rng.normal(size=(40, 6)), index=[f"{n:02d}" for n in range(40)])
    codes.loc["39"] += 20
    roles = pd.Series(["train"] * 30 + ["test"] * 10, index=codes.index)
    found = code_distances(codes, roles)
    assert list(found.index) == [f"{n:02d}" for n in range(30, 40)]
    assert found["39"] > 5 * found.drop("39").max()
    assert found.median() == pytest.approx(1)
    # of the training alone, by hand
    away = np.linalg.norm(codes.to_numpy()[30:, None] - codes.to_numpy()[None, :30], axis=2)
    by_hand = np.sort(away, axis=1)[:, :5].mean(axis=1)
    assert found.to_numpy() == pytest.approx(by_hand / np.median(by_hand))
    assert code_distances(codes, roles.replace("test", "train")).empty


def test_few_people_have_few_neighbours_and_equal_codes_no_distance() -> None:
    codes = pd.DataFrame({"z1": [0.0, 2.0, 1.0, 7.0]}, index=list("abcd")) / 100
    roles = pd.Series(["train", "train", "test", "test"], index=codes.index)
    # of c from a and b 1 and 1, of d 7 and 5; the median of 1 and 6
    assert code_distances(codes, roles).to_dict() == pytest.approx({"c": 1 / 3.5, "d": 6 / 3.5})
    for one_less in (["train", "other", "test", "test"], ["train", "train", "test", "other"]):
        assert code_distances(codes, pd.Series(one_less, index=codes.index)).empty
    assert code_distances(codes * 0, roles).empty


def test_who_is_held_out_in_several_folds_has_the_mean_of_them() -> None:
    """In the order in which people come first."""
    reconstruction = pd.DataFrame(
        [
            ("02", "pca", "jac", 2.0),
            ("01", "pca", "fa", 5.0),
            ("02", "pca", "jac", 4.0),
            ("02", "pca", "fa", 1.0),
        ],
        columns=["subject", "method", "modality", "mse"],
    )
    subjects = ["a", "b", "02", "01"]
    folds = [
        Embeddings(
            subjects,
            np.array([[0.0], [0.0], [first], [second]]),
            pd.DataFrame({"subject": subjects, "role": ["train", "train", "test", "test"]}),
        )
        for first, second in ((1.0, 3.0), (6.0, 2.0))
    ]
    table, _ = experiment_measures("x", "pca", reconstruction, folds)
    assert list(table.columns) == ["reconstruction_x_jac", "reconstruction_x_fa", "code_distance_x"]
    assert list(table.index) == ["02", "01"]
    assert table.loc["02"].tolist() == pytest.approx([3.0, 1.0, (1 / 2 + 6 / 4) / 2])
    assert table.loc["01"].tolist()[1:] == pytest.approx([5.0, (3 / 2 + 2 / 4) / 2])


def test_only_the_model_itself_and_held_out_people_count() -> None:
    reconstruction = pd.DataFrame(
        [("01", "pca", "jac", 2.0), ("01", "mean_image", "jac", 9.0), ("02", "pca", "jac", 4.0)],
        columns=["subject", "method", "modality", "mse"],
    )
    table, measures = experiment_measures("x", "pca", reconstruction, [])
    assert table["reconstruction_x_jac"].to_dict() == {"01": 2.0, "02": 4.0}
    assert measures["reconstruction_x_jac"].group == "model"


def test_unknown_measures_are_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "01.tsv", pd.DataFrame({"measure": ["beauty"], "value": [1.0]}))
    with pytest.raises(UserError, match="no such quality measure: beauty"):
        gather_people({"01": tmp_path / "01.tsv"})


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """Thirty people, one of them with a scan of hardly any signal; an experiment that finds another strange."""
    rng = np.random.default_rng(0)
    subjects = [f"{n:02d}" for n in range(30)]
    (tmp_path / "people").mkdir()
    for n, subject in enumerate(subjects):
        values = {
            "snr": 20 * np.exp(0.1 * rng.normal()) * (0.2 if n == 4 else 1),
            "similarity": 0.95 + 0.01 * rng.normal(),
        }
        table = pd.DataFrame({"measure": list(values), "value": list(values.values())})
        write_table(tmp_path / "people" / f"sub-{subject}.tsv", table)
    table = pd.DataFrame({"subject": subjects, "family": "", "site": ["a", "b"] * 15, "diagnosis": ""})
    write_table(
        tmp_path / "characteristics.tsv", table.assign(age=np.arange(30) + 20, sex=["F", "F", "M"] * 10)
    )
    mse = np.exp(0.1 * rng.normal(size=30))
    mse[7] *= 9
    frame = pd.DataFrame({"subject": subjects, "fold": "0", "method": "pca", "modality": "jac", "mse": mse})
    write_table(tmp_path / "reconstruction.tsv", frame)
    codes = pd.DataFrame(rng.normal(size=(30, 3)), columns=["z0001", "z0002", "z0003"])
    codes.insert(0, "subject", subjects)
    codes.insert(1, "role", ["train", "test"] * 15)
    write_table(tmp_path / "embeddings.tsv", codes)
    return tmp_path


def settings(**changes: object) -> dict[str, object]:
    return {
        "quality": fill_defaults(dict(changes), load_schema("quality")),
        "decided": [],
        "modalities": ["jac"],
        "of_diffusion": [],
        "version": 1,
        "seed": 1,
    }


def run(folder: Path, chosen: dict[str, object]) -> tuple[pd.DataFrame, pd.DataFrame]:
    people = folder / "characteristics.tsv"
    gather_quality(
        people=people,
        pattern=f"{folder}/people/sub-{{subject}}.tsv",
        output=folder / "measures.tsv",
        settings={},
    )
    measure_codes(
        reconstruction=folder / "reconstruction.tsv",
        embeddings=[folder / "embeddings.tsv"],
        output=folder / "quality.tsv",
        settings={"experiment": {"name": "x", "model": "pca"}, "version": 1, "seed": 1},
    )
    compare_quality(
        measures=folder / "measures.tsv",
        experiments=[folder / "quality.tsv"],
        people=people,
        output=folder / "deviations.tsv",
        suggestions=folder / "suggested_exclusions.tsv",
        tests=folder / "covariates.tsv",
        settings=chosen,
    )
    return read_table(folder / "deviations.tsv"), read_table(folder / "suggested_exclusions.tsv")


def test_the_commands_end_to_end(measured: Path) -> None:
    deviations, suggested = run(measured, settings())
    table = read_table(measured / "measures.tsv")
    assert list(table.columns) == ["subject", "snr", "similarity"]
    assert len(table) == 30
    assert set(deviations["measure"]) == {"snr", "similarity", "reconstruction_x_jac", "code_distance_x"}
    assert deviations["flagged"].dtype == bool
    assert dict(zip(suggested["subject"], suggested["measure"])) == {
        "04": "snr",
        "07": "reconstruction_x_jac",
    }
    assert list(suggested["modality"].fillna("")) == [
        "jac" if s == "07" else "" for s in suggested["subject"]
    ]
    facts = json.loads((measured / "deviations.json").read_text())
    assert (facts["people"], facts["people_flagged"], facts["compared"]) == (30, 2, True)
    tests = read_table(measured / "covariates.tsv")
    assert set(tests["characteristic"]) == {"site", "age", "sex"}


def test_a_misspelt_measure_is_refused(measured: Path) -> None:
    with pytest.raises(
        UserError, match=r"quality\.leave_out: there is no measure 'simlarity'; did you mean 'similarity'"
    ):
        run(measured, settings(leave_out=["simlarity"]))
    run(
        measured,
        settings(leave_out=["similarity"], limits={"noise": 3, "map_mean_fa": 3, "code_distance_other": 3}),
    )


def test_few_people_are_not_compared(measured: Path) -> None:
    deviations, suggested = run(measured, settings(fewest_people=31))
    assert deviations.empty
    assert suggested.empty
    assert json.loads((measured / "deviations.json").read_text())["compared"] is False


def test_agreement_is_written(tmp_path: Path) -> None:
    rows = [["01", "", "keep", "ann"], ["01", "", "exclude", "bob"]]
    compare_raters(output=tmp_path / "agreement.tsv", settings={"decisions": rows})
    assert read_table(tmp_path / "agreement.tsv")["n"].tolist() == [1]


def test_the_environment_of_the_strata_suffices() -> None:
    """These stages run in an environment without the libraries for images and networks."""
    code = (
        "import importlib, pkgutil, sys; sys.modules.update(dict.fromkeys(('nibabel', 'nilearn', 'ants', 'dipy', 'torch'))); "
        "import neurostrata.quality as room; "
        "[importlib.import_module(f'neurostrata.quality.{m.name}') for m in pkgutil.iter_modules(room.__path__)]"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
