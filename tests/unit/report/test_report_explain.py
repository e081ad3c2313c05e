"""The report's section on importance, decoded differences and codes."""

import nibabel
import numpy as np
import pandas as pd
import pytest
from fusion_toy import AFFINE, toy_mask
from matplotlib.colors import to_hex
from test_report_models import page_of

from neurostrata.core.files import write_sidecar
from neurostrata.core.tables import read_table, write_table
from neurostrata.report.figures.explain import code_map_figure, importance_figure, largest_voxels
from neurostrata.report.figures.style import GREY
from neurostrata.report.sections.explain import explain_section

MASK = toy_mask(16)
NAMES = [f"m{i:02d}" for i in range(12)]


#: An experiment from whose codes nothing is removed.
AS_GIVEN = {"analyses": {}}


def tables(folder, fused=False):
    share = np.arange(1, 13) / 78
    frame = pd.DataFrame({"target": "diagnosis", "modality": NAMES, "folds": 2})
    for measure, values in (
        ("weight_share", np.nan if fused else share),
        ("auc", 0.8),
        ("auc_drop", share / 2),
        ("separation_drop", share),
    ):
        frame[measure], frame[f"{measure}_sd"] = values, 0.01
    write_table(folder / "importance.tsv", frame.assign(rank=np.arange(12, 0, -1)))
    other = frame[["target", "modality", "folds"]].copy()
    for measure in ("decoded_train", "decoded_test", "train_test"):
        other[measure], other[f"{measure}_sd"] = 0.5, 0.1
    write_table(folder / "group_differences.tsv", other)


def maps(tmp_path, folder):
    (tmp_path / "volumes").mkdir()
    nibabel.save(nibabel.Nifti1Image(MASK.astype(np.uint8), AFFINE), tmp_path / "volumes" / "mask.nii.gz")
    (folder / "fold-0" / "group_maps").mkdir(parents=True)
    for kind in ("decoded", "train", "test"):
        path = folder / "fold-0" / "group_maps" / f"target-diagnosis_desc-{kind}_difference.nii.gz"
        image = np.random.default_rng(1).normal(size=(*MASK.shape, 12)) * MASK[..., None]
        nibabel.save(nibabel.Nifti1Image(image.astype(np.float32), AFFINE), path)
        write_sidecar(path, Target="diagnosis", Classes=["control", "patient"], Volumes=NAMES)


def test_what_counts_and_where(tmp_path):
    page = page_of(tmp_path)
    experiment = page.study.tree.experiment("vae")
    tables(experiment.folder)
    maps(tmp_path, experiment.folder)
    section = explain_section(page, experiment, AS_GIVEN)
    table = section.blocks[0]
    assert [row[0].text for row in table.rows] == [
        name.upper() for name in NAMES[:1:-1]
    ]  # ten, the first first
    assert [cell.text for cell in table.rows[0]] == [
        "M11",
        "0.154 ± 0.010",
        "0.077 ± 0.010",
        *["0.50 ± 0.10"] * 3,
    ]
    figures = [block for block in section.blocks if block.block == "figure"]
    assert [f.title for f in figures] == [
        "Importance of modalities for diagnosis",
        "Where patient differs from control",
    ]
    assert "M11, M10, M09, M08, M07" in figures[1].caption
    assert all((page.path.parent / f.href).is_file() for f in figures)
    assert not page.study.missing


def test_a_fused_code_has_no_weights_to_show(tmp_path):
    page = page_of(tmp_path)
    experiment = page.study.tree.experiment("linear")
    tables(experiment.folder, fused=True)
    table, *rest = explain_section(page, experiment, AS_GIVEN).blocks
    assert not [block for block in rest if block.block == "text"]
    assert table.columns[1] == "Separation lost without it"
    assert table.rows[0][1].text == "0.154 ± 0.010"
    assert "its weights have no modality" in table.caption


def test_codes_that_are_adjusted_before_predictions_are_not_here(tmp_path):
    page = page_of(tmp_path)
    experiment = page.study.tree.experiment("vae")
    tables(experiment.folder)
    analyses = {"harmonise": {"sites": "scanner", "keep": ["sex"]}, "covariates": ["age", "scanner"]}
    table = explain_section(page, experiment, {"analyses": analyses}).blocks[0]
    assert (
        "the effects of scanner and age, which are removed before the predictions, are still in them"
        in table.caption
    )
    assert "removed" not in explain_section(page, experiment, AS_GIVEN).blocks[0].caption


def test_decoding_that_shows_something_else_is_said(tmp_path):
    page = page_of(tmp_path)
    experiment = page.study.tree.experiment("vae")
    tables(experiment.folder)
    path = experiment.folder / "group_differences.tsv"
    write_table(path, read_table(path).assign(decoded_train=0.1))
    (said,) = [b for b in explain_section(page, experiment, AS_GIVEN).blocks if b.block == "text"]
    assert said.kind == "warning"
    assert "M11, the most important modality" in said.text


def test_codes_and_generated_images(tmp_path):
    page = page_of(tmp_path)
    experiment = page.study.tree.experiment("vae")
    points = pd.DataFrame(np.random.default_rng(1).normal(size=(60, 2)), columns=["x", "y"])
    points["modality"], points["subject"] = (
        ["a", "b", "c"] * 20,
        np.repeat([f"{i:02d}" for i in range(20)], 3),
    )
    points["class_diagnosis"] = np.repeat(["control", "patient"], 30)
    write_table(experiment.folder / "code_map.tsv", points)
    random = np.random.default_rng(1)
    np.savez(
        experiment.folder / "generated.npz",
        draws=random.random((6, 16, 18)),
        real=random.random((2, 2, 16, 18)),
        steps=random.random((2, 6, 16, 18)),
        modalities=np.array(["a", "b"]),
        subjects=np.array(["01", "02"]),
    )
    titles = [block.title for block in explain_section(page, experiment, AS_GIVEN).blocks]
    assert titles == ["Codes of all modalities (t-SNE)", "Images made from codes"]
    (experiment.folder / "generated.npz").write_bytes(b"broken")
    assert len(explain_section(page, experiment, AS_GIVEN).blocks) == 1
    assert page.study.missing[0].what == "Generated images of vae"


def test_nothing_to_show_is_an_empty_section(tmp_path):
    page = page_of(tmp_path)
    assert not explain_section(page, page.study.tree.experiment("jac"), AS_GIVEN).blocks


def test_one_percent_of_each_map_is_kept_and_summed():
    pictures = np.zeros((2, *MASK.shape))
    pictures[:, MASK] = np.random.default_rng(2).normal(size=(2, MASK.sum()))
    kept = largest_voxels(pictures[:1], MASK)
    assert (kept != 0).mean() == pytest.approx(0.01 * MASK.mean(), rel=0.1)
    assert np.abs(kept[kept != 0]).min() >= np.quantile(np.abs(pictures[0][MASK]), 0.99)
    np.testing.assert_allclose(largest_voxels(pictures, MASK), kept + largest_voxels(pictures[1:], MASK))
    assert not largest_voxels(np.zeros((1, *MASK.shape)), MASK).any()


def test_panels():
    frame = pd.DataFrame({"modality": NAMES, "rank": range(12, 0, -1), "v": np.arange(12.0), "v_sd": np.nan})
    (axis,) = importance_figure(frame, "v", "value", 0.1).axes
    assert [t.get_text() for t in axis.get_xticklabels()] == [
        n.upper() for n in NAMES[2:]
    ]  # the first at the right
    points = pd.DataFrame({"modality": ["a", "b"], "x": [0.0, 1.0], "y": [0.0, 1.0], "class_sex": ["F", "M"]})
    assert [axis.get_title() for axis in code_map_figure(points).axes] == ["modalities", "sex"]


def test_codes_have_the_colours_of_their_domains():
    points = pd.DataFrame(
        {"modality": list("abcd"), "x": [0.0, 1, 2, 3], "y": 0.0, "class_sex": list("FMFM")}
    )
    domains = {"a": "visual", "b": "cerebellum", "c": "visual"}
    axis = code_map_figure(points, domains).axes[0]
    assert axis.get_title() == "domains"
    drawn = {str(dots.get_label()): dots for dots in axis.collections}
    assert {name: len(dots.get_offsets()) for name, dots in drawn.items()} == {
        "visual": 2, "cerebellum": 1, "no domain": 1,
    }  # fmt: skip
    assert len({tuple(dots.get_facecolors()[0]) for dots in drawn.values()}) == 3
    assert to_hex(drawn["no domain"].get_facecolors()[0]) == GREY.lower()
    assert [text.get_text() for text in axis.texts] == list("ABCD")  # names stay
    assert [text.get_text() for text in axis.get_legend().get_texts()] == list(drawn)


def test_domains_come_from_the_configuration(tmp_path):
    page = page_of(tmp_path)
    experiment = page.study.tree.experiment("vae")
    points = pd.DataFrame({"modality": ["icn1", "icn2", "gm"], "subject": "01", "x": [0.0, 1, 2], "y": 0.0})
    write_table(experiment.folder / "code_map.tsv", points)
    (plain,) = explain_section(page, experiment, AS_GIVEN).blocks
    assert "domain" not in plain.caption
    page.study.config["modalities"].update(
        icn={"from": "column", "column": "icn", "components": 2, "domain": ["visual", "motor"]}
    )
    (figure,) = explain_section(page, experiment, AS_GIVEN).blocks
    assert "domains of the modalities" in figure.caption
