"""The commands of the checks: files in, tables with sidecars out."""

import json

import numpy as np
import pandas as pd
import pytest

from neurostrata.core.config import section_defaults
from neurostrata.core.errors import UserError
from neurostrata.core.tables import write_table
from neurostrata.phenotypes.commands import factor_congruence, factor_phenotypes
from neurostrata.prediction.continuous_commands import continuous
from neurostrata.strata.commands import cluster
from neurostrata.strata.comparison.commands import (
    agreement,
    compare_adjusted,
    composition,
    repartition_strata,
    shuffle_links,
    split_half,
)

PEOPLE = 90


def table(path):
    return pd.read_csv(path, sep="\t", na_values=["n/a"], dtype={"subject": str, "cluster": str})


def facts(path):
    return json.loads(path.with_suffix(".json").read_text())


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two groups far apart in their codes, of different age, one factor that follows the group and one that does not."""
    folder = tmp_path_factory.mktemp("checks")
    generator = np.random.default_rng(0)
    subjects = [f"{k:03d}" for k in range(PEOPLE)]
    group = np.repeat(np.arange(2), [50, 40])
    codes = generator.normal(size=(PEOPLE, 8))
    codes[:, 0] += 5 * group
    write_codes(folder / "codes.tsv", subjects, codes)
    (folder / "baselines").mkdir()
    for name, width in (("pca_stacked", 6), ("regional_means", 12), ("pca_modalities", 3)):
        write_codes(folder / "baselines" / f"{name}.tsv", subjects, generator.normal(size=(PEOPLE, width)))
    people = pd.DataFrame(
        {
            "subject": subjects,
            "family": [f"f{k // 2}" if 40 <= k < 60 else "" for k in range(PEOPLE)],
            "site": np.where(generator.random(PEOPLE) < 0.5, "1", "2"),
            "diagnosis": "",
            "age": 40 + 8 * group + generator.normal(0, 8, PEOPLE),
            "sex": np.where(generator.random(PEOPLE) < 0.5, "F", "M"),
            "head_size": generator.normal(1, 0.1, PEOPLE),
            "image_quality": [np.nan, *generator.normal(0.9, 0.02, PEOPLE - 1)],
        }
    )
    write_table(folder / "characteristics.tsv", people, {})
    latent = generator.normal(size=(PEOPLE, 2))
    latent[:, 0] += 2 * group
    items = np.repeat(latent, 4, axis=1) + 0.7 * generator.normal(size=(PEOPLE, 8))
    phenotypes = pd.DataFrame(items, columns=[f"v{k}" for k in range(8)])
    phenotypes.iloc[3:6, 2] = np.nan
    phenotypes.insert(0, "subject", subjects)
    phenotypes = phenotypes[phenotypes["subject"] != "010"]
    phenotypes.to_csv(folder / "phenotypes.tsv", sep="\t", index=False)
    factor_phenotypes(
        tables=[folder / "phenotypes.tsv"],
        subjects=folder / "characteristics.tsv",
        **{name: folder / f"{name}.tsv" for name in ("eigenvalues", "loadings", "scores", "descriptives")},
        model=folder / "model.json",
        settings={**section_defaults("phenotypes"), "seed": 1, "n_factors": 2, "missing": "median"},
    )
    place = folder / "experiments" / "pca" / "strata" / "adjusted" / "mixture"
    place.mkdir(parents=True)
    options = section_defaults("strata")
    finder = {
        "finder": "mixture",
        "options": {
            **options["mixture"],
            "starts": 5,
            "reference_draws": 10,
            "components": [4],
            "max_clusters": 2,
        },
        "seed": 1,
    }
    cluster(
        embeddings=folder / "codes.tsv",
        search=place / "search.tsv",
        clusters=place / "clusters.tsv",
        settings={**finder, "small_clusters": options["small_clusters"], "outliers": 0.0001},
    )
    repartition_strata(
        clusters=place / "clusters.tsv",
        scores=folder / "scores.tsv",
        subjects=folder / "characteristics.tsv",
        output=place / "repartition.tsv",
        null=place / "null.npz",
        settings={"repartition": {**options["repartition"], "draws": 500}, "seed": 1},
    )
    return folder, place, finder


def write_codes(path, subjects, codes):
    frame = pd.DataFrame(codes, columns=[f"z{k + 1:04d}" for k in range(codes.shape[1])])
    frame.insert(0, "subject", subjects)
    write_table(path, frame, {})


def test_composition(study):
    folder, place, _ = study
    composition(
        clusters=place / "clusters.tsv",
        people=folder / "characteristics.tsv",
        output=place / "composition.tsv",
        tests=place / "composition_tests.tsv",
        settings={"draws": 999, "confidence": 0.95, "seed": 1},
    )
    described, tests = table(place / "composition.tsv"), table(place / "composition_tests.tsv")
    assert set(described["cluster"]) == {"all", "1", "2"}
    age = described[described["characteristic"] == "age"].set_index("cluster")["mean"]
    assert age["1"] + 4 < age["2"]
    assert list(tests["characteristic"]) == ["site", "age", "sex", "head_size", "image_quality"]
    assert list(tests["kind"]) == ["classes", "number", "classes", "number", "number"]
    q = tests.set_index("characteristic")["q"]
    assert q["age"] < 0.02
    assert (q.drop("age") > 0.02).all()
    assert facts(place / "composition.tsv")["not_known_of_anybody"] == ["diagnosis"]
    assert described.loc[described["characteristic"] == "family", "count"].sum() == 10


def test_adjusted(study):
    folder, place, _ = study
    compare_adjusted(
        clusters=place / "clusters.tsv",
        scores=folder / "scores.tsv",
        people=folder / "characteristics.tsv",
        output=place / "comparisons_adjusted.tsv",
        settings={"draws": 999, "confidence": 0.95, "families": True, "splines": 1, "seed": 1},
    )
    found = table(place / "comparisons_adjusted.tsv")
    assert sorted(found["q"] < 0.01) == [False, True]
    assert set(found["adjusted_for"]) == {"age, sex, head_size, site, image_quality"}
    assert (found["n"] + found["missing"] == facts(place / "comparisons_adjusted.tsv")["people_tested"]).all()
    assert facts(place / "comparisons_adjusted.tsv")["people_without_a_covariate"] == ["000"]


def test_the_study_s_own_covariates_are_those_of_the_settings(study, tmp_path):
    folder, place, _ = study
    people = pd.read_csv(folder / "characteristics.tsv", sep="\t", dtype={"subject": str})
    people["education"] = np.arange(len(people)) % 7
    write_table(tmp_path / "characteristics.tsv", people)
    compare_adjusted(
        clusters=place / "clusters.tsv",
        scores=folder / "scores.tsv",
        people=tmp_path / "characteristics.tsv",
        output=tmp_path / "comparisons_adjusted.tsv",
        settings={
            **{"draws": 9, "confidence": 0.95, "families": True, "seed": 1},
            **{"covariates": ["education"], "splines": 4},
        },
    )
    found = table(tmp_path / "comparisons_adjusted.tsv")
    assert set(found["adjusted_for"]) == {"age, sex, head_size, site, image_quality, education"}
    assert set(found["curves"]) == {"age, head_size, image_quality, education"}


def test_split_half(study):
    folder, place, finder = study
    split_half(
        embeddings=folder / "codes.tsv",
        scores=folder / "scores.tsv",
        people=folder / "characteristics.tsv",
        output=place / "split_half.tsv",
        factors=place / "split_half_factors.tsv",
        settings={**finder, "split_half": {"splits": 4}, "comparisons": {"alpha": 0.05}},
        threads=1,
    )
    splits, factors = table(place / "split_half.tsv"), table(place / "split_half_factors.tsv")
    assert list(splits["split"]) == [1, 2, 3, 4]
    assert splits["adjusted_rand"].median() > 0.8
    assert sorted(factors["q"] < 0.05) == [False, True]
    assert "learned from everybody" in facts(place / "split_half.tsv")["Codes"]


def test_shuffles(study):
    folder, place, _ = study
    options = {"shuffles": 100, "alpha": 0.05, "families": True, "seed": 1}
    files = {
        "clusters": place / "clusters.tsv",
        "scores": folder / "scores.tsv",
        "people": folder / "characteristics.tsv",
        "output": place / "shuffles.tsv",
    }
    shuffle_links(null=place / "null.npz", settings=options, **files)
    said = facts(place / "shuffles.tsv")
    assert len(table(place / "shuffles.tsv")) == 100
    assert said["share_low"] <= said["share_found"] <= said["share_high"]
    assert said["share_low"] < 0.05
    np.savez(place / "other.npz", factors=np.array(["x"]), h=np.zeros(1), null=np.zeros((3, 1)))
    with pytest.raises(UserError, match="not about the factors"):
        shuffle_links(null=place / "other.npz", settings=options, **files)


def test_a_control_that_cannot_be_run_has_no_share(study, tmp_path):
    folder, place, _ = study
    one = table(place / "clusters.tsv").assign(cluster=1)
    write_table(tmp_path / "clusters.tsv", one, {})
    names = [c for c in table(folder / "scores.tsv") if c != "subject"]
    np.savez(tmp_path / "null.npz", factors=np.array(names), h=np.full(2, np.nan), null=np.zeros((0, 2)))
    shuffle_links(
        clusters=tmp_path / "clusters.tsv",
        scores=folder / "scores.tsv",
        people=folder / "characteristics.tsv",
        null=tmp_path / "null.npz",
        output=tmp_path / "shuffles.tsv",
        settings={"shuffles": 5, "alpha": 0.05, "families": True, "seed": 1},
    )
    assert facts(tmp_path / "shuffles.tsv")["share_found"] is None
    assert table(tmp_path / "shuffles.tsv")["found"].isna().all()


def test_agreement(study, tmp_path):
    _, place, _ = study
    other = tmp_path / "vae" / "strata" / "raw" / "mixture"
    other.mkdir(parents=True)
    swapped = table(place / "clusters.tsv")
    swapped["cluster"] = swapped["cluster"].map({"1": 2, "2": 1})
    write_table(other / "clusters.tsv", swapped, {}, finder="mixture")
    agreement(
        clusters=[place / "clusters.tsv", other / "clusters.tsv"],
        output=tmp_path / "agreement.tsv",
        crosstabs=tmp_path / "crosstabs.tsv",
        settings={"seed": 1},
    )
    row = table(tmp_path / "agreement.tsv").iloc[0]
    assert (row["experiment_a"], row["experiment_b"], row["finder_b"]) == ("pca", "vae", "mixture")
    assert (row["adjusted_rand"], row["matched"]) == (1, "1=2, 2=1")
    assert table(tmp_path / "crosstabs.tsv")["n"].sum() == row["n"]


@pytest.mark.parametrize("adjusted", [False, True])
def test_continuous(study, tmp_path, adjusted):
    folder, place, _ = study
    people = pd.read_csv(folder / "characteristics.tsv", sep="\t", dtype={"subject": str})
    people["education"] = np.arange(PEOPLE) % 9
    write_table(tmp_path / "characteristics.tsv", people)
    adjust = {"adjust": {"columns": ["age"], "sites": None, "splines": 1}} if adjusted else {}
    further = {"covariates": ["education"], "splines": 4} if adjusted else {}
    continuous(
        embeddings=folder / "codes.tsv",
        baselines=folder / "baselines",
        clusters=[place / "clusters.tsv"],
        scores=folder / "scores.tsv",
        people=tmp_path / "characteristics.tsv",
        output=tmp_path / "continuous.tsv",
        added=tmp_path / "continuous_added.tsv",
        settings={"continuous": {"folds": 5, "permutations": 39}, "seed": 1, **adjust, **further},
    )
    found = table(tmp_path / "continuous.tsv")
    assert list(dict.fromkeys(found["features"])) == [
        *("codes", "pca", "regional_means", "clusters of mixture", "codes + clusters of mixture")
    ]
    best = found[found["method"] == "ridge"].groupby("features")["value"].max()
    # adjusted, by 18 columns in 88 people
    assert best["codes"] > (0.1 if adjusted else 0.2)
    assert best["clusters of mixture"] > (0.1 if adjusted else 0.2)
    assert best["pca"] < 0.15
    assert set(found["n"]) == {PEOPLE - 2}  # one has no phenotypes, one no image quality
    named = ["age", "sex", "head_size", "site", "image_quality", *(["education"] if adjusted else [])]
    of_table = facts(tmp_path / "continuous.tsv")
    assert of_table["BaselinesAdjusted"] is adjusted
    assert (of_table["adjusted_for"], of_table["people_without_a_covariate"]) == (named, ["000"])
    added = table(tmp_path / "continuous_added.tsv")
    assert len(added) == 2
    for rows in (found, added):
        assert set(rows["adjusted_for"]) == {", ".join(named)}
    assert set(found["curves"]) == {"age, head_size, image_quality, education" if adjusted else "none"}


def test_congruence(study, tmp_path):
    folder, _, _ = study
    options = section_defaults("phenotypes")
    factor_congruence(
        tables=[folder / "phenotypes.tsv"],
        families=folder / "characteristics.tsv",
        model=folder / "model.json",
        loadings=folder / "loadings.tsv",
        scores=folder / "scores.tsv",
        output=tmp_path / "congruence.tsv",
        settings={"id_column": options["id_column"], "rotation": options["rotation"], "seed": 1},
    )
    found = table(tmp_path / "congruence.tsv")
    assert list(found["factor"]) == ["factor_01", "factor_02"]
    assert (found["congruence"] > 0.95).all()
    assert facts(tmp_path / "congruence.tsv")["people"] == PEOPLE - 1
