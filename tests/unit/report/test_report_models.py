"""The report's sections on classes, relevant regions and synthesised images."""

import nibabel
import numpy as np
import pandas as pd
from fusion_toy import AFFINE, toy_mask

from neurostrata.core.tables import write_table
from neurostrata.report.data.comparison import COLUMNS
from neurostrata.report.data.layout import ResultsTree
from neurostrata.report.data.results import StudyResults
from neurostrata.report.html.page import Page
from neurostrata.report.sections.comparison import baselines_once
from neurostrata.report.sections.models import MEASURES, models_section


def page_of(tmp_path):
    study = StudyResults(ResultsTree(tmp_path), {})
    (tmp_path / "report").mkdir(exist_ok=True)
    return Page(study, tmp_path / "report" / "index.html", tmp_path / "report" / "figures")


def classified(folder):
    rows = [
        {
            "features": f,
            "target": "diagnosis",
            "measure": m,
            "mean": mean,
            "sd": 0.05,
            "folds": 3,
            "skipped": 0,
        }
        for f, mean in (("classifier", 0.9), ("regional_means", 0.7))
        for m in MEASURES
    ]
    write_table(folder / "classification.tsv", pd.DataFrame(rows))
    curve = {"fold": "mean", "false_positive_rate": [0.0, 0.5, 1.0], "true_positive_rate": [0.0, 0.9, 1.0]}
    curves = [
        pd.DataFrame(curve).assign(features=f, target="diagnosis") for f in ("classifier", "regional_means")
    ]
    write_table(folder / "roc.tsv", pd.concat(curves))


def relevant(tmp_path, folder, features):
    regions = toy_mask(16).astype(np.int32)
    regions[8:] *= 2
    (tmp_path / "volumes").mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(regions, AFFINE), tmp_path / "volumes" / "regions.nii.gz")
    nibabel.save(
        nibabel.Nifti1Image((regions > 0).astype(np.uint8), AFFINE), tmp_path / "volumes" / "mask.nii.gz"
    )
    rows = pd.DataFrame(
        [(s, r, m) for s in ("01", "02") for r in (1, 2) for m in ("gm", "pet", "fused")],
        columns=["subject", "region", "modality"],
    )
    write_table(
        folder / "fold-0" / "relevance.tsv", rows.assign(features=features * rows["region"], mean_mask=0.4)
    )
    weights = rows.drop(columns="subject").drop_duplicates().assign(weight=0.1)
    write_table(folder / "fold-0" / "attention_weights.tsv", weights)


def test_classes_and_regions(tmp_path):
    page = page_of(tmp_path)
    experiment = page.study.tree.experiment("arco")
    classified(experiment.folder)
    relevant(tmp_path, experiment.folder, features=3)
    label = {"column": "diagnosis", "classes": ["CTL", "AD"]}
    section = models_section(page, experiment, {"model": "siamese_attention", "label": label})
    assert section.title == "Classes, regions"
    table = next(block for block in section.blocks if block.block == "table")
    assert table.caption.endswith("Sensitivity, precision and F1 are of AD.")
    assert table.rows[0][0].text == "the model's own classifier"
    assert table.rows[0][1].text == "0.90 ± 0.050"
    assert [block.title for block in section.blocks if block.block == "figure"] == [
        "ROC curves for diagnosis",
        "Relevant regions",
        "Regions by the weight of the classifier",
    ]


def test_no_relevant_feature_is_said(tmp_path):
    page = page_of(tmp_path)
    experiment = page.study.tree.experiment("arco")
    relevant(tmp_path, experiment.folder, features=0)
    section = models_section(page, experiment, {"model": "siamese_attention"})
    assert any("No feature of any test person" in b.text for b in section.blocks if b.block == "text")


def test_synthesis_marks_the_best_and_what_differs(tmp_path):
    page = page_of(tmp_path)
    experiment = page.study.tree.experiment("synth")
    rows = [
        {"subject": s, "fold": "0", "method": m, "inputs": "t1w+t2w", "output": "flair", "mse": mse + k / 100}
        for k, s in enumerate(("01", "02", "03"))
        for m, mse in (("latent_synthesis", 0.2), ("mean_image", 0.8))
    ]
    write_table(experiment.folder / "synthesis.tsv", pd.DataFrame(rows))
    tests = {
        "inputs": ["t1w+t2w"],
        "output": "flair",
        "measure": "mse",
        "baseline": "mean_image",
        "p_holm": 0.001,
    }
    write_table(experiment.folder / "synthesis_comparisons.tsv", pd.DataFrame(tests))
    section = models_section(page, experiment, {"model": "latent_synthesis"})
    (row,) = next(block for block in section.blocks if block.block == "table").rows
    assert [cell.text for cell in row[:2]] == ["FLAIR", "T1W + T2W"]
    assert row[2].strong
    assert not row[3].strong
    assert row[3].text.endswith("*")


def test_nothing_to_show_is_an_empty_section(tmp_path):
    page = page_of(tmp_path)
    assert not models_section(page, page.study.tree.experiment("jac"), {}).blocks


def test_shared_baselines_stand_once():
    common = {"what": "predicted", "of": "age (R2)", "low": 0.0, "high": 1.0, "people": 9}
    rows = [
        {"experiment": e, "model": "pca", "method": m, "value": v, **common}
        for e in ("a", "b", "c")
        for m, v in (("embedding", 0.5), ("regional_means", 0.3))
    ]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    kept = baselines_once(frame, {"a": ["a", "b"], "c": ["c"]})
    assert list(zip(kept["experiment"], kept["method"])) == [
        ("a", "embedding"),
        ("a", "regional_means"),
        ("b", "embedding"),
        ("c", "embedding"),
        ("c", "regional_means"),
    ]


def test_a_target_that_was_tested_in_one_class_only_has_no_curve(tmp_path):
    page = page_of(tmp_path)
    experiment = page.study.tree.experiment("arco")
    classified(experiment.folder)
    measures = pd.read_csv(experiment.folder / "classification.tsv", sep="\t")
    empty = measures.assign(target="rare", mean=np.nan, sd=np.nan, folds=0, skipped=3)
    write_table(experiment.folder / "classification.tsv", pd.concat([measures, empty]))
    section = models_section(page, experiment, {"model": "siamese_attention"})
    tables = [block for block in section.blocks if block.block == "table"]
    assert [cell.text for cell in tables[1].rows[0]][1:] == ["n/a"] * len(MEASURES)
    assert [b.title for b in section.blocks if b.block == "figure"] == ["ROC curves for diagnosis"]
