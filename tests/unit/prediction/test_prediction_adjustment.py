"""Sites and covariates taken out of codes inside the folds: as the reference does, and without a leak."""

import numpy as np
import pandas as pd
import pytest

from neurostrata.adjustment.codes import Adjustment, LinearAdjustment
from neurostrata.adjustment.combat import ComBat, empirical_bayes
from neurostrata.core.config import check_config
from neurostrata.core.embeddings import Embeddings
from neurostrata.core.errors import UserError
from neurostrata.core.files import read_json
from neurostrata.core.locations import REPOSITORY
from neurostrata.core.tables import read_table, write_table
from neurostrata.phenotypes.covariates import CovariateDesign, code_covariates, find_columns
from neurostrata.prediction.commands import predict

REFERENCE = REPOSITORY / "tests" / "reference" / "combat.tsv"


def cohort(people=300, seed=0):
    """Codes with a planted age effect, and sites that differ in location, scale and age."""
    random = np.random.default_rng(seed)
    site = np.array(["a", "b", "c"])[random.integers(0, 3, people)]
    age = random.uniform(20, 60, people) + 10 * (site == "b")
    sex = np.where(random.random(people) < 0.5, "F", "M")
    clean = random.normal(size=(people, 8)) + 0.05 * age[:, None] * np.linspace(-1, 1, 8)
    move = {name: (random.normal(size=8) * 3, np.exp(random.normal(size=8) / 3)) for name in "abc"}
    noise = clean - 0.05 * age[:, None] * np.linspace(-1, 1, 8)
    codes = (
        clean - noise + noise * np.stack([move[s][1] for s in site]) + np.stack([move[s][0] for s in site])
    )
    names = [f"{i:03d}" for i in range(people)]
    table = pd.DataFrame({"site": site, "age": age, "sex": sex}, index=names)
    role = np.where(random.random(people) < 0.3, "test", "train")
    return table, Embeddings(names, codes, pd.DataFrame({"subject": names, "role": role})), clean


def slopes(values, age):
    return np.polyfit(age, values, 1)[0]


def test_the_same_as_neurocombat_and_neuroharmonize():
    """Training people as neuroCombat, test people as neuroHarmonize applies it (tests/reference/combat.py)."""
    table = pd.read_csv(REFERENCE, sep="\t")
    train = (table["role"] == "train").to_numpy()
    values = table.filter(regex="^v").to_numpy(float)
    keep = table[["age", "sex"]].to_numpy(float)
    model = ComBat().fit(values[train], table.loc[train, "site"], keep[train])
    expected = table.filter(regex="^harmonised").to_numpy(float)
    np.testing.assert_allclose(model.transform(values, table["site"], keep), expected, atol=1e-6, rtol=0)
    # the units of what is kept do not matter
    scaled = keep * [12, -2] + [100, 1]
    other = ComBat().fit(values[train], table.loc[train, "site"], scaled[train])
    np.testing.assert_allclose(other.transform(values, table["site"], scaled), expected, atol=1e-6, rtol=0)


def test_sites_go_from_test_people_and_age_stays():
    table, codes, clean = cohort()
    adjusted, left_out = Adjustment(table, "site", ("age", "sex")).apply(codes)
    assert left_out.empty
    test = (codes.table["role"] == "test").to_numpy()
    site, age = table["site"].to_numpy()[test], table["age"].to_numpy()[test]
    planted = 0.05 * np.linspace(-1, 1, 8)

    def site_share(values):
        """Share of the variance between sites, age taken out by what was planted."""
        rest = values - np.outer(age, planted)
        between = sum((site == s).mean() * (rest[site == s].mean(0) - rest.mean(0)) ** 2 for s in "abc")
        return between / rest.var(axis=0)

    assert site_share(codes.values[test]).mean() > 0.4
    assert site_share(adjusted.values[test]).max() < 0.1
    spreads = np.stack([(adjusted.values[test] - np.outer(age, planted))[site == s].std(0) for s in "abc"])
    assert (spreads.max(0) / spreads.min(0)).max() < 1.8
    np.testing.assert_allclose(slopes(adjusted.values[test], age), planted, atol=0.025)
    assert np.corrcoef(slopes(adjusted.values[test], age), planted)[0, 1] > 0.95
    # without `keep` the ages of site b are taken for its own
    without, _ = Adjustment(table, "site").apply(codes)
    assert np.abs(slopes(without.values[test], age)).sum() < 0.9 * np.abs(slopes(clean[test], age)).sum()


@pytest.mark.parametrize(
    "adjustment",
    [
        {"sites": "site", "keep": ("age",)},
        {"covariates": ("age", "sex")},
        {"sites": "site", "covariates": ("age",)},
    ],
)
def test_test_people_teach_nothing(adjustment):
    """Whatever the test people's codes and covariates are, the others' codes stay the same to the last bit."""
    table, codes, _ = cohort()
    before, _ = Adjustment(table, **adjustment).apply(codes)
    test = (codes.table["role"] == "test").to_numpy()
    changed, ages = codes.values.copy(), table.copy()
    random = np.random.default_rng(9)
    first = np.flatnonzero(test)[0]
    others = test & (np.arange(len(test)) != first)
    changed[others] = random.normal(size=(others.sum(), 8)) * 100
    ages.loc[others, "age"] = random.uniform(0, 1000, others.sum())
    ages.loc[others, "site"] = random.permutation(ages.loc[others, "site"])
    after, _ = Adjustment(ages, **adjustment).apply(Embeddings(codes.subjects, changed, codes.table))
    np.testing.assert_array_equal(before.values[~others], after.values[~others])
    assert not np.allclose(before.values[others], after.values[others])


def test_covariates_are_removed_with_what_training_people_show():
    table, codes, _ = cohort()
    adjusted, _ = Adjustment(table, covariates=("age", "sex")).apply(codes)
    train = (codes.table["role"] == "train").to_numpy()
    ages = table["age"].to_numpy()
    assert np.abs(slopes(adjusted.values[train], ages[train])).max() < 1e-3  # sex takes its part
    np.testing.assert_allclose(adjusted.values[train].mean(0), codes.values[train].mean(0))
    by_hand = np.column_stack([np.ones(train.sum()), ages[train], (table["sex"] == "M")[train]])
    effects = np.linalg.lstsq(by_hand, codes.values[train], rcond=None)[0]
    whole = np.column_stack(
        [ages - ages[train].mean(), (table["sex"] == "M") - (table["sex"] == "M")[train].mean()]
    )
    np.testing.assert_allclose(adjusted.values, codes.values - whole @ effects[1:], atol=1e-9)
    with pytest.raises(UserError, match="3 training people are too few for 2 columns"):
        LinearAdjustment().fit(np.ones((3, 2)), np.ones((3, 2)))


def test_who_cannot_be_adjusted_is_left_out_with_the_reason():
    table, codes, _ = cohort(60)
    role = codes.table["role"].to_numpy()
    train, test = np.flatnonzero(role == "train"), np.flatnonzero(role == "test")
    table = table.astype({"age": object})
    table.iloc[[train[0], train[1], test[0]], 0] = "d"  # two training people are no site
    table.iloc[test[1], 0] = "new"
    table.iloc[test[2], 0] = ""
    table.iloc[test[3], 1] = np.nan
    table.iloc[test[4], 2] = "X"
    table.iloc[train[0], 2] = "Y"  # a class that only somebody who is left out has
    table.iloc[test[5], [0, 2]] = ["", np.nan]
    adjusted, left_out = Adjustment(table, "site", ("age",), ("sex",)).apply(codes)
    reasons = left_out.set_index("subject")["reason"].to_dict()
    name = codes.subjects
    assert reasons == {
        name[
            train[0]
        ]: "site 'd' has fewer than 3 training people; sex 'Y' does not occur among the training people",
        name[train[1]]: "site 'd' has fewer than 3 training people",
        name[test[0]]: "site 'd' has fewer than 3 training people",
        name[test[1]]: "site 'new' has fewer than 3 training people",
        name[test[2]]: "no site",
        name[test[3]]: "no age",
        name[test[4]]: "sex 'X' does not occur among the training people",
        name[test[5]]: "no site; no sex",
    }
    assert left_out.set_index("subject")["role"].to_dict() == {s: role[name.index(s)] for s in reasons}
    assert set(adjusted.subjects) == set(name) - set(reasons)
    assert np.isfinite(adjusted.values).all()


def test_sites_that_cannot_be_learned_are_refused():
    table, codes, _ = cohort(60)
    with pytest.raises(UserError, match="fewer than two sites have 3 or more training people"):
        Adjustment(table.assign(site="a"), "site").apply(codes)
    confounded = table.assign(sex=np.where(table["site"] == "a", "F", "M"))
    with pytest.raises(UserError, match="cannot be told from the sites"):
        Adjustment(confounded, "site", ("sex",)).apply(codes)


def test_dimensions_without_spread_stay_finite():
    random = np.random.default_rng(2)
    sites = np.repeat(["a", "b"], 10)
    values = random.normal(size=(20, 4))
    values[:, 1] = 5.0  # constant
    values[:, 2] = (sites == "b") * 3.0  # the site and nothing else
    found = ComBat().fit(values, sites).transform(values, sites)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[:, 1], 5.0)
    np.testing.assert_allclose(found[:, 2], 1.5)
    one = ComBat().fit(values[:, :1], sites).transform(values[:, :1], sites)
    assert one[sites == "a"].mean() == pytest.approx(one[sites == "b"].mean())
    assert one[sites == "a"].std() == pytest.approx(one[sites == "b"].std())
    gamma, delta = empirical_bayes(np.tile(values[:10, :1], 3))
    np.testing.assert_allclose(gamma, values[:10, 0].mean())
    np.testing.assert_allclose(delta, values[:10, 0].var(ddof=1))


def test_columns_are_found_and_coded():
    people = ["1", "2", "3", "4"]
    sheet = pd.DataFrame({"site": ["1", "2", "1", "2"], "age": ["20", "30", "", "50"]}, index=people)
    tables = pd.DataFrame(
        {"age": 1.0, "Gender": ["F", "M", "M", "F"], "hand": ["l", "r", "b", "r"]}, index=people
    )
    coded = code_covariates(find_columns(["site", "age", "Gender", "hand"], (sheet, tables), "here"))
    assert coded["age"].tolist()[:2] == [20, 30]  # the sheet's
    assert coded["site"].tolist() == ["1", "2", "1", "2"]  # names, whatever they look like
    design = CovariateDesign().fit(coded)
    assert design.columns_ == ["site: 2", "age", "Gender", "hand: r"]
    matrix = design.transform(coded)
    assert np.isnan(matrix[2]).all()
    np.testing.assert_allclose(matrix[[0, 1, 3]][:, [0, 3]], [[0, 0], [1, 1], [1, 1]])
    with pytest.raises(UserError, match="here: 'iq' is no column"):
        find_columns(["iq"], (sheet, tables), "here")
    with pytest.raises(UserError, match="here: nobody has a value of 'gone'"):
        find_columns(["gone"], (sheet.assign(gone=""), tables), "here")


def experiment(**analyses):
    return {
        "modalities": {"jac": {"from": "jacobian"}},
        "cohort": {"sheet": "cohort.tsv"},
        "experiments": [{"name": "e", "model": "pca", "modalities": ["jac"], "analyses": analyses}],
    }


@pytest.mark.parametrize(
    ("analyses", "message"),
    [
        (
            {"harmonise": {"keep": ["age", "diagnosis"]}},
            r"harmonise.keep: 'diagnosis' is never kept or removed",
        ),
        ({"harmonise": {"keep": ["iq"]}}, r"harmonise.keep: 'iq' is predicted by this experiment"),
        ({"covariates": ["iq"]}, r"covariates: 'iq' is predicted by this experiment"),
        ({"covariates": ["diagnosis"]}, r"covariates: 'diagnosis' is never kept or removed"),
        ({"harmonise": {"sites": "iq"}}, r"harmonise.sites: 'iq' is predicted by this experiment"),
        ({"harmonise": {"keep": ["site"]}}, r"harmonise.keep: 'site' is the variable that is harmonised"),
        ({"harmonise": {}, "covariates": ["site"]}, r"covariates: 'site' is the variable that is harmonised"),
        (
            {"covariates": ["age"], "prediction": []},
            r"covariates: applies to predictions, but nothing is predicted",
        ),
    ],
)
def test_leaks_are_refused(analyses, message):
    with pytest.raises(UserError, match=r"experiments\[0\].analyses." + message):
        check_config(experiment(**{"prediction": ["iq"], **analyses}))


def test_what_is_allowed_passes_with_its_defaults():
    config = experiment(prediction=["diagnosis"], harmonise={"keep": ["age", "sex"]}, covariates=["age"])
    analyses = check_config(config)["experiments"][0]["analyses"]
    assert analyses["harmonise"] == {"sites": "site", "keep": ["age", "sex"]}


def test_the_stage_adjusts_embedding_and_baselines_alike(tmp_path):
    """A site effect along the planted one hides it; harmonised, both kinds of codes show it."""
    random = np.random.default_rng(4)
    people = [f"{i:03d}" for i in range(160)]
    severity, age = random.normal(size=160), random.uniform(20, 60, 160)
    site = np.where(random.random(160) < 0.5, "a", "b")
    codes = random.normal(size=(160, 6)) * 0.3
    codes[:, 0] += severity + 12 * (site == "b")
    codes[:, 1:3] *= np.where(site == "b", 15, 1)[:, None]
    site[5] = "lonely"
    write_table(tmp_path / "people.tsv", pd.DataFrame({"subject": people, "family": ""}))
    write_table(tmp_path / "covariates.tsv", pd.DataFrame({"subject": people, "site": site}))
    write_table(
        tmp_path / "phenotypes.tsv", pd.DataFrame({"participant_id": people, "iq": severity, "age": age})
    )
    folds, bases = [], []
    for k in range(4):
        folder = tmp_path / f"fold-{k}"
        (folder / "baselines").mkdir(parents=True)
        frame = pd.DataFrame(codes, columns=[f"z{i}" for i in range(6)])
        frame.insert(0, "subject", people)
        frame.insert(1, "role", np.where(np.arange(160) % 4 == k, "test", "train"))
        write_table(folder / "embeddings.tsv", frame)
        write_table(folder / "baselines" / "pca_stacked.tsv", frame)
        folds.append(folder / "embeddings.tsv")
        bases.append(folder / "baselines")

    def run(sheet=None, **analyses):
        predict(
            embeddings=folds,
            baselines=bases,
            people=tmp_path / "people.tsv",
            covariates=sheet,
            tables=[tmp_path / "phenotypes.tsv"],
            output=tmp_path / "predictions.tsv",
            summary=tmp_path / "scores.tsv",
            classification=tmp_path / "classification.tsv",
            roc=tmp_path / "roc.tsv",
            settings={
                "prediction": ["iq"],
                "label": None,
                "id_column": None,
                "seed": 1,
                "version": 1,
                **analyses,
            },
        )
        return read_table(tmp_path / "scores.tsv").set_index("features")

    raw = run()
    assert "Adjustment" not in read_json(tmp_path / "predictions.json")
    harmonise = {"sites": "site", "keep": ["age"]}
    fine = run(tmp_path / "covariates.tsv", harmonise=harmonise, covariates=["age"])
    for features in ("embedding", "pca_stacked"):
        assert raw.loc[features, "value"] < 0.2
        assert fine.loc[features, "value"] > 0.7
        assert raw.loc[features, "people"] == 160
        assert fine.loc[features, "people"] == 159
    said = read_json(tmp_path / "predictions.json")["Adjustment"]
    assert said["Sites"] == "site"
    assert said["Kept"] == said["Removed"] == ["age"]
    assert [row["fold"] for row in said["LeftOut"]] == ["0", "1", "2", "3"]
    assert {row["subject"] for row in said["LeftOut"]} == {"005"}
