"""The comparison of the models: each number from a table, with its interval."""

import numpy as np
import pandas as pd
import pytest

from neurostrata.core.files import write_json
from neurostrata.core.tables import read_table, write_table
from neurostrata.report.data.comparison import (
    COLUMNS,
    compare_experiments,
    ratio_interval,
    same_people_and_folds,
)
from neurostrata.report.data.layout import ResultsTree
from neurostrata.report.data.results import StudyResults
from neurostrata.report.html.page import Page
from neurostrata.report.sections.comparison import comparison_section
from neurostrata.report.sections.decoding import reconstruction_table
from neurostrata.report.sections.latent import latent_blocks

PEOPLE = [f"{i:02d}" for i in range(30)]


def experiment(root, name, model, decoded, auc, shift=0):
    folder = root / "experiments" / name
    splits = pd.DataFrame({"subject": PEOPLE, "fold": "0", "role": ["train", "test"] * 15})
    splits["role"] = np.roll(splits["role"], shift)
    write_table(folder / "splits.tsv", splits)
    random = np.random.default_rng(1)
    rows = []
    for subject in PEOPLE:
        mean = random.uniform(0.01, 0.02)
        for method, share in ((model, decoded), ("mean_image", 0.0), ("pca", 0.3)):
            rows.append(
                {
                    "subject": subject,
                    "fold": "0",
                    "method": method,
                    "modality": "jac",
                    "mse": mean,
                    "mse_mask": mean * (1 - share),
                }
            )
    write_table(folder / "reconstruction.tsv", pd.DataFrame(rows))
    scores = pd.DataFrame(
        {
            "features": ["embedding", "pca_stacked"],
            "target": "diagnosis",
            "kind": "classes",
            "measure": "auc",
            "value": [auc, 0.7],
            "low": [auc - 0.1, 0.6],
            "high": [auc + 0.1, 0.8],
            "people": 30,
        }
    )
    write_table(folder / "prediction_scores.tsv", scores)
    hidden = pd.DataFrame(
        {
            "subject": PEOPLE,
            "fold": "0",
            "method": model,
            "hidden": "jac",
            "modality": "jac",
            "mse_mask": 0.02,
            "mse_mask_all": 0.01,
        }
    )
    write_table(folder / "fold-0" / "robustness.tsv", hidden)
    write_table(
        folder / "fold-all" / "history.tsv",
        pd.DataFrame({"epoch": [1, 2], "loss": [2.0, 1.0], "seconds": [60.0, 60.0]}),
    )
    write_json(
        folder / "model" / "model.json",
        {"model": model, "code_size": 32, "facts": {"parameters": 1234}, "training_people": 30},
    )


@pytest.fixture
def study(tmp_path):
    experiment(tmp_path, "ours", "residual_autoencoder", 0.5, 0.9)
    experiment(tmp_path, "paper", "separable_autoencoder", 0.2, 0.75)
    experiments = [
        {"name": "ours", "model": "residual_autoencoder", "modalities": ["jac"]},
        {"name": "paper", "model": "separable_autoencoder", "modalities": ["jac"]},
    ]
    return StudyResults(ResultsTree(tmp_path), {"experiments": experiments})


def test_every_number_is_there_with_its_interval(study):
    table = compare_experiments(study)
    assert list(table) == list(COLUMNS)
    models = {"ours": {"residual_autoencoder"}, "paper": {"separable_autoencoder"}}
    assert {name: set(rows["model"]) for name, rows in table.groupby("experiment")} == models
    assert (table["people"] == 30).all()
    frame = table.set_index(["experiment", "what", "of", "method"])["value"]
    assert frame[("ours", "decoded", "jac", "residual_autoencoder")] == pytest.approx(0.5)
    assert frame[("paper", "decoded", "jac", "pca")] == pytest.approx(0.3)
    assert frame[("ours", "predicted", "diagnosis (AUC)", "embedding")] == 0.9
    assert frame[("paper", "hidden", "jac", "separable_autoencoder")] == pytest.approx(2)
    assert frame[("ours", "cost", "parameters", "residual_autoencoder")] == 1234
    assert frame[("ours", "cost", "training (minutes)", "residual_autoencoder")] == 2


def test_epochs_are_counted_where_the_history_has_one_row_for_each(study):
    """Siamese networks have a row for each network of each region, with the epochs that it took."""
    folder = study.tree.experiment("ours").folder / "fold-all"
    networks = {"region": ["1", "1", ""], "part": ["fold 0", "all", "attention"], "epochs": [40, 30, 20]}
    history = pd.DataFrame(networks | {"loss": 1.0, "seconds": [120.0, 90.0, 30.0]})
    write_table(folder / "history.tsv", history)
    frame = compare_experiments(study)
    found = frame[frame["what"] == "cost"].set_index(["experiment", "of"])["value"]
    assert found[("ours", "training (minutes)")] == 4
    assert "epochs" not in found["ours"]
    assert "seconds per epoch" not in found["ours"]
    assert (found[("paper", "epochs")], found[("paper", "seconds per epoch")]) == (2, 60)


def test_the_interval_is_that_of_a_ratio_of_sums():
    random = np.random.default_rng(0)
    whole = random.uniform(1, 2, 400)
    part = whole * random.normal(0.5, 0.2, 400)
    value, low, high = ratio_interval(part, whole, [""] * 400)
    standard_error = np.std(part - value * whole) / np.sqrt(400) / whole.mean()
    assert low < value < high
    assert (high - low) == pytest.approx(2 * 1.96 * standard_error, rel=0.1)


def test_relatives_say_little_more_than_one_person():
    """Everybody twice, as a family: the interval is that of half as many people."""
    random = np.random.default_rng(0)
    whole = random.uniform(1, 2, 200)
    part = whole * random.normal(0.5, 0.2, 200)
    one = ratio_interval(part, whole, [""] * 200)
    families = [f"family {number}" for number in range(200)] * 2
    twins = ratio_interval(np.tile(part, 2), np.tile(whole, 2), families)
    assert twins[0] == pytest.approx(one[0])
    assert twins[2] - twins[1] == pytest.approx(one[2] - one[1], rel=0.1)
    strangers = ratio_interval(np.tile(part, 2), np.tile(whole, 2), [""] * 400)
    assert strangers[2] - strangers[1] == pytest.approx((one[2] - one[1]) / np.sqrt(2), rel=0.1)


def test_intervals_of_decoding_draw_the_families_of_the_cohort_sheet(study):
    def widths(families):
        write_table(study.tree.subjects, pd.DataFrame({"subject": PEOPLE, "family": families}))
        rows = compare_experiments(StudyResults(study.tree, {}))
        rows = rows[(rows["experiment"] == "ours") & rows["method"].isin(["residual_autoencoder"])]
        return {what: float((part["high"] - part["low"]).iloc[0]) for what, part in rows.groupby("what")}

    experiment = study.tree.experiment("ours")
    for path in (experiment.file("reconstruction.tsv"), experiment.folder / "fold-0" / "robustness.tsv"):
        frame = pd.read_csv(path, sep="\t", dtype={"subject": str})
        mine = frame["method"] == "residual_autoencoder"
        number = frame["subject"].astype(int)
        frame.loc[mine, "mse_mask"] *= np.where(number[mine] < 15, 0.5, 1.5)
        write_table(path, frame)
    alone, halves = widths([""] * 30), widths(["a"] * 15 + ["b"] * 15)
    assert halves["decoded"] > 1.5 * alone["decoded"]
    assert halves["hidden"] > 1.5 * alone["hidden"]


def test_shares_are_of_the_people_whom_every_method_decodes(study):
    path = study.tree.experiment("ours").file("reconstruction.tsv")
    frame = pd.read_csv(path, sep="\t", dtype={"subject": str})
    first = frame["subject"] == "00"
    frame.loc[first & (frame["method"] == "mean_image"), "mse_mask"] = 50.0
    frame.loc[first & (frame["method"] == "pca"), "mse_mask"] = np.nan
    write_table(path, frame)
    rows = compare_experiments(study)
    rows = rows[(rows["experiment"] == "ours") & (rows["what"] == "decoded")].set_index("method")
    assert set(rows.index) == {"residual_autoencoder", "pca"}
    assert (rows["people"] == 29).all()
    np.testing.assert_allclose(rows.loc[["residual_autoencoder", "pca"], "value"], [0.5, 0.3])
    assert (rows["low"] <= rows["value"] + 1e-9).all()
    assert (rows["value"] <= rows["high"] + 1e-9).all()


def test_hidden_modalities_are_ratios_of_everybodys_sums_over_all_folds(study):
    """A person counts once, with the errors of all modalities, in whichever fold the person was tested."""
    folder = study.tree.experiment("ours").folder
    random = np.random.default_rng(2)
    parts = []
    for fold, people in (("0", PEOPLE[:10]), ("1", PEOPLE[10:16])):
        names = [(s, h, m) for s in people for h in ("jac", "ndi") for m in ("jac", "ndi")]
        part = pd.DataFrame(names, columns=["subject", "hidden", "modality"])
        part = part.assign(
            fold=fold, method="residual_autoencoder", mse_mask_all=random.uniform(1, 9, len(part))
        )
        part["mse_mask"] = part["mse_mask_all"] * random.uniform(1, 4, len(part))
        write_table(folder / f"fold-{fold}" / "robustness.tsv", part)
        parts.append(part)
    every = pd.concat(parts)
    rows = compare_experiments(study)
    rows = rows[(rows["experiment"] == "ours") & (rows["what"] == "hidden")].set_index("of")
    assert list(rows.index) == ["jac", "ndi"]
    for hidden, row in rows.iterrows():
        own = every[every["hidden"] == hidden]
        assert row["value"] == pytest.approx(own["mse_mask"].sum() / own["mse_mask_all"].sum())
        assert row["low"] < row["value"] < row["high"]
        assert row["people"] == 16


def test_the_page_says_what_can_be_compared(study, tmp_path):
    page = Page(study, tmp_path / "report" / "index.html", tmp_path / "report" / "figures")
    page.path.parent.mkdir()
    section = comparison_section(page)
    text = " ".join(block.text for block in section.blocks if block.block == "text")
    assert "The same people in the same folds: ours and paper" in text
    (decoding,) = section.sections
    assert decoding.title == "Decoding of unseen people"
    tables = {block.title: block for block in decoding.blocks if block.block == "table"}
    assert list(tables) == [
        "Share of the differences between people that is decoded",
        "Decoding without one modality",
        "Squared error between real and decoded images",
    ]
    assert len([block for block in section.blocks if block.block == "table"]) == 2
    decoded = tables["Share of the differences between people that is decoded"]
    strong = [row[1].text for row in decoded.rows if row[2].strong]
    assert strong == ["residual autoencoder"]
    written = read_table(tmp_path / "report" / "comparison.tsv", text=("experiment",))
    assert len(written) == len(compare_experiments(study))
    assert (tmp_path / "report" / "figures" / "comparison" / "prediction.svg").is_file()


def test_a_mean_over_fewer_people_than_were_tested_says_so(study, tmp_path):
    path = study.tree.experiment("ours").file("reconstruction.tsv")
    frame = pd.read_csv(path, sep="\t", dtype={"subject": str})
    lacking = frame[frame["subject"].isin(PEOPLE[:12])].assign(modality="ndi")
    lacking.loc[(lacking["method"] == "pca") & (lacking["subject"] == "00"), "mse"] = np.nan
    write_table(path, pd.concat([frame, lacking]))
    page = Page(study, tmp_path / "report" / "index.html", tmp_path / "report" / "figures")
    table = reconstruction_table(page, "mse", "Error", "", True)
    ours = {row[2].text: [cell.text for cell in row[3:]] for row in table.rows[:3]}
    assert [row[0] for row in ours.values()] == ["30"] * 3
    assert not [row[1] for row in ours.values() if "of" in row[1]]
    assert [row[2].partition(" (")[2] for row in ours.values()] == ["of 12)", "of 12)", "of 11)"]


def test_other_folds_are_not_comparable(tmp_path):
    experiment(tmp_path, "a", "residual_autoencoder", 0.5, 0.9)
    experiment(tmp_path, "b", "separable_autoencoder", 0.4, 0.8, shift=1)
    study = StudyResults(ResultsTree(tmp_path), {})
    assert same_people_and_folds(study) == {"a": ["a"], "b": ["b"]}
    page = Page(study, tmp_path / "report" / "index.html", tmp_path / "report" / "figures")
    page.path.parent.mkdir()
    section = comparison_section(page)
    assert any("No two experiments" in b.text for b in section.blocks if b.block == "text")
    table = next(b for b in section.blocks if b.block == "table" and b.title.startswith("What is predicted"))
    # the best of each, not of both
    assert [row[2].text.split()[0] for row in table.rows if row[2].strong] == ["0.90", "0.80"]
    assert [row[2].text.split()[0] for row in table.rows] == ["0.90", "0.70", "0.80", "0.70"]


def test_what_was_taken_out_of_the_codes_is_said(study, tmp_path):
    page = Page(study, tmp_path / "report" / "index.html", tmp_path / "report" / "figures")
    page.path.parent.mkdir()
    assert not [b for b in comparison_section(page).blocks if "ComBat" in getattr(b, "text", "")]
    record = {"Sites": "site", "Kept": ["age", "sex"], "Removed": ["age"], "LeftOut": []}
    out = [
        {"fold": fold, "subject": subject, "role": role, "reason": reason}
        for fold, subject, role, reason in (
            ("0", "01", "test", "no site"),
            ("1", "01", "train", "no site"),
            ("0", "02", "train", "site 'x' has fewer than 3 training people"),
        )
    ]
    for name, left_out in (("ours", []), ("paper", out)):
        write_table(
            tmp_path / "experiments" / name / "predictions.tsv",
            pd.DataFrame({"subject": PEOPLE}),
            {"subject": "who"},
            Adjustment={**record, "LeftOut": left_out},
        )
    section = comparison_section(page)
    texts = [b.text for b in section.blocks if b.block == "text"]
    (ours,) = [text for text in texts if text.startswith("ours: before")]
    assert (
        "sites (column site) harmonised by ComBat, effects of age and sex kept, then linear effects of age"
        in ours
    )
    assert ours.endswith("Nobody was left out.")
    (paper,) = [text for text in texts if text.startswith("paper: before")]
    assert paper.endswith("Left out in some fold: 2 people, 1 of them not predicted.")
    (table,) = [b for b in section.blocks if b.block == "table" and b.title.startswith("Left out")]
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["no site", "1", "01"],
        ["site 'x' has fewer than 3 training people", "1", "02"],
    ]
    assert not any("not all experiments" in text.lower() for text in texts)
    (tmp_path / "experiments" / "ours" / "predictions.json").unlink()
    fresh = Page(StudyResults(study.tree, study.config), page.path, tmp_path / "report" / "figures")
    texts = [b.text for b in comparison_section(fresh).blocks if b.block == "text"]
    assert any("Not all experiments were adjusted in the same way" in text for text in texts)


def test_latent_sizes_and_seeds_in_one_table(tmp_path):
    runs = [("v16", 16, 1, 0.8), ("v32", 32, 1, 0.9), ("v16b", 16, 2, 0.7), ("v16c", 16, 3, 0.75)]
    configured = []
    for name, size, seed, auc in runs:
        experiment(tmp_path, name, "shared_vae", 0.2, auc)
        path = tmp_path / "experiments" / name / "prediction_scores.tsv"
        write_table(path, read_table(path).assign(fold_sd=0.05))
        configured.append(
            {
                "name": name,
                "model": "shared_vae",
                "seed": seed,
                "modalities": ["jac"],
                "options": {"latent_size": size},
            }
        )
    # other folds, or other options: not to be compared
    experiment(tmp_path, "other", "shared_vae", 0.2, 0.99, shift=1)
    configured.append(configured[1] | {"name": "other"})
    study = StudyResults(ResultsTree(tmp_path), {"experiments": configured})
    page = Page(study, tmp_path / "report" / "index.html", tmp_path / "report" / "figures")
    groups = same_people_and_folds(study)
    table, note = latent_blocks(page, groups)
    assert table.columns == ["", "16", "32"]
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    assert rows["shared VAE"] == ["0.800 ± 0.050", "0.900 ± 0.050"]
    assert rows["the same, over seeds (number of seeds)"] == ["0.750 ± 0.050 (3)", ""]
    assert rows["PCA of the modalities side by side"] == ["0.700 ± 0.050", "0.700 ± 0.050"]
    assert rows["PCA of all volumes pooled"] == ["n/a", "n/a"]
    assert "other" not in table.caption
    assert "not the folds" in note.text
    alone = StudyResults(ResultsTree(tmp_path), {"experiments": configured[:1]})
    assert latent_blocks(Page(alone, page.path, page.figures), {"v16": ["v16"]}) == []
