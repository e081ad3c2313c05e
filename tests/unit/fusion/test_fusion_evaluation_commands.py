"""The stages that evaluate a model: of whom they write, by which methods, and what the sidecars say."""

from types import SimpleNamespace

import nibabel
import numpy as np
import pandas as pd
import pytest
from fusion_toy import AFFINE, toy_settings, toy_volumes
from scipy.stats import ttest_1samp

from neurostrata.core.errors import UserError
from neurostrata.core.files import read_json, sidecar_path
from neurostrata.core.tables import read_table, write_table
from neurostrata.fusion.commands import split, train
from neurostrata.fusion.data.experiment import ExperimentData
from neurostrata.fusion.evaluation import commands
from neurostrata.fusion.evaluation.reconstruction import COLUMNS
from neurostrata.fusion.evaluation.synthesis import COLUMNS as SYNTHESIS_COLUMNS

SMALL = {"channels": [4, 8], "latent_size": 3, "validation_fraction": 0}
SETTINGS = toy_settings("shared_vae", options=SMALL, epochs=1, batch_size=4)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Ten people, a model of each fold."""
    folder = tmp_path_factory.mktemp("study")
    volumes = toy_volumes(folder, people=10, side=16)
    people = pd.DataFrame({"subject": [f"{i:02d}" for i in range(1, 11)]})
    people.assign(family="", diagnosis="", site="").to_csv(folder / "people.tsv", sep="\t", index=False)
    split(subjects=folder / "people.tsv", output=folder / "splits.tsv", settings=SETTINGS)
    for fold in ("0", "all"):
        train(
            volumes=volumes,
            splits=folder / "splits.tsv",
            mask=folder / "mask.nii.gz",
            fold=fold,
            model=folder / fold / "model",
            history=folder / fold / "history.tsv",
            limits=folder / fold / "limits.json",
            checkpoints=folder / fold / "checkpoints",
            settings=SETTINGS,
        )
    return folder


def given(study, fold="0", model=True):
    needed = {"volumes": [study / "jac.npy", study / "ndi.npy"], "splits": study / "splits.tsv"}
    needed |= {"limits": study / fold / "limits.json", "mask": study / "mask.nii.gz", "settings": SETTINGS}
    return needed | ({"model": study / fold / "model"} if model else {})


def people_tested(study):
    table = read_table(study / "splits.tsv", text=("subject", "fold", "role"))
    return table[(table["fold"] == "0") & (table["role"] == "test")]["subject"].tolist()


def test_decoding_is_measured_in_test_people_by_three_methods(study, tmp_path):
    output, examples = tmp_path / "reconstruction.tsv", tmp_path / "examples.npz"
    commands.evaluate(**given(study), fold="0", output=output, examples=examples)
    table = read_table(output, text=("subject", "fold"))
    assert list(table) == list(COLUMNS)
    rows = set(zip(table["subject"], table["method"], table["modality"]))
    methods = ("shared_vae", "mean_image", "pca")
    assert rows == {(s, m, name) for s in people_tested(study) for m in methods for name in ("jac", "ndi")}
    assert len(table) == len(rows)
    facts = read_json(sidecar_path(output))
    assert (facts["Fold"], facts["Model"], facts["Settings"]["seed"]) == ("0", "shared_vae", 1)
    with np.load(examples) as shown:
        pairs = shown["cnr_pairs"]
        assert facts["ContrastPairs"] == len(pairs) == 1000
        assert shown["subjects"].tolist() == people_tested(study)[:3]
    with pytest.raises(UserError, match="fold 'all' has no test people, there is nothing to evaluate"):
        commands.evaluate(**given(study, "all"), fold="all", output=output, examples=examples)


def test_modalities_are_hidden_from_the_model_and_from_pca(study, tmp_path):
    commands.robustness(**given(study), fold="0", output=tmp_path / "robustness.tsv")
    table = read_table(tmp_path / "robustness.tsv", text=("subject", "fold"))
    rows = set(zip(table["subject"], table["method"], table["hidden"], table["modality"]))
    names = ("jac", "ndi")
    assert rows == {
        (s, method, hidden, name)
        for s in people_tested(study)
        for method in ("shared_vae", "pca")
        for hidden in names
        for name in names
    }
    facts = read_json(sidecar_path(tmp_path / "robustness.tsv"))
    assert (facts["Fold"], facts["Model"]) == ("0", "shared_vae")


def test_baselines_have_everybody_and_say_who_was_learned_from(study, tmp_path):
    regions = np.zeros((16,) * 3, np.int16)
    regions[4:8, 4:12, 4:12], regions[8:12, 4:12, 4:12] = 1, 2
    nibabel.save(nibabel.Nifti1Image(regions, AFFINE), tmp_path / "regions.nii.gz")
    more = {"settings": SETTINGS | {"components": 2}}
    commands.baselines(
        **given(study, model=False) | more,
        regions=tmp_path / "regions.nii.gz",
        fold="0",
        output=tmp_path / "b",
    )
    numbers = {"pca_modalities": 4, "pca_stacked": 2, "pca_pooled": 4, "regional_means": 4}
    assert {path.stem for path in (tmp_path / "b").glob("*.tsv")} == set(numbers)
    for name, count in numbers.items():
        table = read_table(tmp_path / "b" / f"{name}.tsv")
        assert list(table)[:2] == ["subject", "role"]
        assert table.shape == (10, 2 + count)
        assert set(table.loc[table["role"] == "test", "subject"]) == set(people_tested(study))
        # scores of the people learned from have the mean 0, but for the pooled ones, of which each is a sample
        if name in ("pca_modalities", "pca_stacked"):
            own = table[table["role"] == "train"].iloc[:, 2:]
            np.testing.assert_allclose(own.mean(), 0, atol=1e-3)
        assert read_json(sidecar_path(tmp_path / "b" / f"{name}.tsv"))["Fold"] == "0"


def test_images_are_made_by_the_final_model(study, tmp_path):
    commands.generate(**given(study, "all"), output=tmp_path / "generated.npz")
    with np.load(tmp_path / "generated.npz") as made:
        assert made["subjects"].tolist() == ["01", "02"]
        assert made["draws"].shape == (6, 16, 16)


def test_relevance_is_of_the_test_people_of_the_fold(study, tmp_path, monkeypatch):
    network = SimpleNamespace(
        name="regions",
        regions=True,
        relevance=lambda batch, subjects: pd.DataFrame(
            {
                "subject": subjects,
                "region": 7,
                "modality": "fused",
                "features": 3,
                "mean_mask": batch.mean((1, 2, 3, 4)),
            }
        ),
        region_weights=lambda: pd.DataFrame({"region": [7], "modality": ["fused"], "weight": [0.5]}),
    )
    monkeypatch.setattr(ExperimentData, "load_model", lambda self, folder, machine: network)
    own = {key: value for key, value in given(study).items() if key != "mask"}
    output, weights = tmp_path / "relevance.tsv", tmp_path / "weights.tsv"
    commands.relevance(**own, fold="0", output=output, weights=weights)
    table = read_table(output, text=("subject", "fold"))
    assert table["subject"].tolist() == people_tested(study)
    assert set(table["fold"]) == {"0"}
    data = ExperimentData(
        SETTINGS, volumes=own["volumes"], splits=own["splits"], fold="0", limits=own["limits"]
    )
    wanted = [data.people([subject])[0].mean() for subject in people_tested(study)]
    np.testing.assert_allclose(table["mean_mask"], wanted, rtol=1e-5)
    table = read_table(weights, text=("fold",))
    assert table[["region", "modality", "weight", "fold"]].to_numpy().tolist() == [[7, "fused", 0.5, "0"]]


def test_syntheses_of_all_folds_are_gathered_and_compared(tmp_path):
    """Names that look like numbers stay names."""
    random, tables = np.random.default_rng(1), []
    for fold, people in (("0", ("01", "02", "03")), ("1", ("1", "2", "3"))):
        rows = [
            {"subject": subject, "fold": fold, "method": method, "inputs": "1", "output": "02"}
            | {
                name: level + random.random()
                for name in ("mse", "ssim", "ssim_windowed", "psnr", "off_plane")
            }
            for subject in people
            for method, level in (("latent_synthesis", 1), ("mean_image", 5))
        ]
        write_table(tmp_path / f"{fold}.tsv", pd.DataFrame(rows, columns=list(SYNTHESIS_COLUMNS)))
        tables.append(tmp_path / f"{fold}.tsv")
    output, comparisons = tmp_path / "synthesis.tsv", tmp_path / "comparisons.tsv"
    settings = {"experiment": {"model": "latent_synthesis"}, "seed": 1}
    sheet = tmp_path / "subjects.tsv"
    sheet.write_text("subject\tfamily\n" + "".join(f"{s}\t\n" for s in ("01", "02", "03", "1", "2", "3")))
    commands.summarise_synthesis(
        tables=tables, people=sheet, output=output, comparisons=comparisons, settings=settings
    )
    table = read_table(output, text=("subject", "fold", "inputs", "output"))
    assert table["subject"].tolist() == [s for s in ("01", "02", "03", "1", "2", "3") for _ in range(2)]
    assert set(table["output"]) == {"02"}
    found = read_table(comparisons, text=("inputs", "output"))
    assert set(zip(found["inputs"], found["output"])) == {("1", "02")}
    assert (found["n"] == 6).all()
    better = found.set_index("measure")["better"].astype(str).str.lower().isin(["true", "yes"])
    assert better.to_dict() == {"mse": True, "ssim": False, "ssim_windowed": False, "psnr": False}


def test_relatives_are_counted_together_in_the_comparison_of_syntheses(tmp_path):
    names = ("mse", "ssim", "ssim_windowed", "psnr", "off_plane")
    subjects, difference = ("01", "02", "03", "04"), (1.0, 1.2, 3.0, 3.5)
    rows = [
        {"subject": subject, "fold": "0", "method": method, "inputs": "1", "output": "2"}
        | dict.fromkeys(names, value)
        for subject, gap in zip(subjects, difference, strict=True)
        for method, value in (("latent_synthesis", 5 + gap), ("mean_image", 5.0))
    ]
    write_table(tmp_path / "0.tsv", pd.DataFrame(rows, columns=list(SYNTHESIS_COLUMNS)))
    sheet, comparisons = tmp_path / "subjects.tsv", tmp_path / "comparisons.tsv"
    given = {"tables": [tmp_path / "0.tsv"], "people": sheet, "output": tmp_path / "synthesis.tsv"}
    given |= {
        "comparisons": comparisons,
        "settings": {"experiment": {"model": "latent_synthesis"}, "seed": 1},
    }
    found = []
    for families in ([""] * 4, ["a", "a", "b", "b"]):
        lines = [f"{subject}\t{family}\n" for subject, family in zip(subjects, families, strict=True)]
        sheet.write_text("subject\tfamily\n" + "".join(lines))
        commands.summarise_synthesis(**given)
        found.append(read_table(comparisons).set_index("measure").loc["mse", "t"])
    assert found[0] == pytest.approx(ttest_1samp(difference, 0).statistic)
    # two families: of means 1.1 and 3.25
    assert found[1] == pytest.approx(ttest_1samp((1.1, 3.25), 0).statistic)
    sheet.write_text("subject\tfamily\n01\t\n")
    with pytest.raises(UserError, match="02"):
        commands.summarise_synthesis(**given)


def test_only_models_that_can_are_asked(study, tmp_path):
    more = {"settings": SETTINGS | {"synthesis": {}}}
    with pytest.raises(UserError, match="'shared_vae' does not synthesise modalities"):
        commands.synthesise(
            **given(study) | more, fold="0", output=tmp_path / "s.tsv", examples=tmp_path / "s.npz"
        )
    without = {key: value for key, value in given(study).items() if key != "mask"}
    with pytest.raises(UserError, match="'shared_vae' does not weigh regions"):
        commands.relevance(**without, fold="0", output=tmp_path / "r.tsv", weights=tmp_path / "w.tsv")
