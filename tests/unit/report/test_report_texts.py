"""Numbers, demographics, verdict and methods: the parts of the report that are only words."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import report_fixture

from neurostrata.core.config import fill_config, load_schema, section_defaults
from neurostrata.core.locations import REPOSITORY
from neurostrata.core.wording import count, join_words
from neurostrata.report.data.decoding import better_baselines, shares_decoded
from neurostrata.report.data.demographics import availability, demographics_table, keyed
from neurostrata.report.data.evidence import Evidence, adjusted_rand
from neurostrata.report.data.layout import Fold
from neurostrata.report.figures.phenotypes import short_name
from neurostrata.report.html.blocks import Section, Text, cut_off, format_number, format_p, frame_table
from neurostrata.report.sections.composition import composition_table
from neurostrata.report.sections.experiment_decoding import _training, beats_baselines, without_progress
from neurostrata.report.sections.strata import strata_section
from neurostrata.report.sections.strata_maps import cluster_facts
from neurostrata.report.text import verdict as verdict_module
from neurostrata.report.text.differences import curves
from neurostrata.report.text.judge import judge
from neurostrata.report.text.methods import methods_paragraphs, training_values
from neurostrata.report.text.verdict import DOUBTFUL, EXPLAINS, JACCARD_READINGS, OUTCOMES, Verdict, overall


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (3.0, "3"),
        (-2.5, "−2.50"),
        (0.012345, "0.0123"),
        (1234.6, "1235"),
        (0.0000123, "1.23×10⁻⁵"),
        (np.nan, "n/a"),
        (None, "n/a"),
        (float("inf"), "∞"),
        (True, "yes"),
        (np.bool_(False), "no"),
    ],
)
def test_numbers_have_three_digits(value: Any, text: str) -> None:
    assert format_number(value) == text


def test_p_values_counts_and_lists() -> None:
    assert [format_p(p) for p in (0.0004, 0.04949, 1.0, np.nan)] == ["< 0.001", "0.049", "1.000", "n/a"]
    # on which side of a limit a value lies is never rounded away
    near = (0.0497, 0.049999, 0.05, 0.05 + 1e-12, 0.050001, 0.0504, 0.0098, 0.0996)
    shown = ["0.0497", "0.0499", "0.050", "0.050", "0.0501", "0.0504", "0.0098", "0.0996"]
    assert [format_p(p) for p in near] == shown
    assert count(1, "cluster") == "1 cluster"
    assert count(2, "person", "people") == "2 people"
    assert [join_words(w) for w in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


def test_table_aligns_numbers_and_says_na() -> None:
    table = frame_table(pd.DataFrame({"name": ["a", "b"], "x_mm": [1.5, np.nan], "on": [True, False]}), "T")
    assert table.numeric == [False, True, False]
    assert table.columns == ["name", "x mm", "on"]
    assert [[cell.text for cell in row] for row in table.rows] == [["a", "1.50", "yes"], ["b", "n/a", "no"]]


def test_demographics_is_the_median_and_sd_by_sex() -> None:
    people = pd.DataFrame(
        {
            "participant_id": ["sub-1", "sub-2", "sub-3", "sub-9"],
            "Age": [20, 30, 40, 99],
            "Gender": ["F", "M", "M", "F"],
        }
    )
    usual = dict.fromkeys(("age", "sex", "handedness", "bmi"))
    table = demographics_table(["1", "2", "3", "4"], [keyed(people)], usual)
    assert table is not None
    rows = table.set_index("group")
    assert rows.loc["Males", "Age (years)"] == "35.00 ± 7.07"
    assert rows.loc["Males", "n"] == 2
    assert rows.loc["Females", "Age (years)"] == "20"
    # Person 9 is not in the cohort, person 4 in no table.
    assert rows.loc["Everybody", "Age (years)"] == "30.00 ± 10.00 (of 3)"
    assert rows.loc["sex not known", "n"] == 1
    assert rows.loc["sex not known", "Age (years)"] == "n/a"
    assert list(rows.index) == ["sex not known", "Males", "Females", "Everybody"]
    assert "BMI (kg/m²)" not in table


def test_demographics_keeps_age_bins_and_uses_configured_names() -> None:
    hcp = pd.DataFrame(
        {"Subject": [1, 2, 3], "Age": ["22-25", "26-30", "22-25"], "WeightIndex": [20.0, 22.0, 27.0]}
    )
    usual = dict.fromkeys(("age", "sex", "handedness", "bmi"))
    table = demographics_table(["1", "2", "3"], [keyed(hcp)], {**usual, "bmi": "WeightIndex"})
    assert table is not None
    assert table["Age (years)"].tolist() == ["22-25: 2; 26-30: 1"]
    assert table["BMI (kg/m²)"].tolist() == ["22.00 ± 3.61"]
    assert demographics_table(["1"], [], usual) is None


def test_availability_counts_people_of_the_cohort_only() -> None:
    per_modality, per_person = availability(["a", "b", "c"], {"jac": {"a", "b", "c", "z"}, "ndi": {"a"}})
    assert per_modality.values.tolist() == [["jac", 3, 0], ["ndi", 1, 2]]
    assert per_person.values.tolist() == [[2, 1], [1, 2]]


def _comparisons(q: list[float], q_repartition: list[float]) -> pd.DataFrame:
    k = len(q)
    return pd.DataFrame(
        {
            "factor": [f"factor_{i + 1:02d}" for i in range(k)],
            "h": 9.0,
            "p": [x / k for x in q],
            "q": q,
            "eta2": np.linspace(0.1, 0.3, k),
            "eta2_low": 0.05,
            "eta2_high": 0.4,
            "p_repartition": q_repartition,
            "q_repartition": q_repartition,
            "n": 40,
            "detectable_eta2": 0.11,
            "detectable_eta2_corrected": 0.17,
        }
    )


def _adjusted(q: list[float]) -> pd.DataFrame:
    factors = [f"factor_{i + 1:02d}" for i in range(len(q))]
    return pd.DataFrame({"factor": factors, "p": q, "q": q, "eta2": 0.08, "adjusted_for": "age, head_size"})


def _tests(**effects: float) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "characteristic": ["age", "site", "head_size"],
            "p": 0.001,
            "q": [0.002 if name in effects else 0.5 for name in ("age", "site", "head_size")],
            "effect": [effects.get(name, 0.02) for name in ("age", "site", "head_size")],
            "effect_name": ["eta2", "cramers_v", "eta2"],
        }
    )


def _evidence(sizes: list[int], claimed: str | None = "yes", jaccard: float = 0.8, **tables: Any) -> Evidence:
    numbers = np.repeat(np.arange(len(sizes)) + 1, sizes)
    row = pd.Series({"n_clusters": len(sizes), "statistic": 5.0, "p": 0.01, "claimed": claimed})
    if claimed == "no":
        row["p"] = 0.4
    stability = pd.DataFrame(
        {"cluster": np.arange(len(sizes)) + 1, "n": sizes, "repeated": "bootstrap", "jaccard": jaccard}
    )
    return Evidence(
        "mixture",
        "adjusted",
        clusters=pd.DataFrame({"subject": [str(i) for i in range(len(numbers))], "cluster": numbers}),
        existence=None if claimed is None else row,
        **{"stability": stability, **tables},
    )


DIFFERENT = {"comparisons": _comparisons([0.01, 0.2, 0.03], [0.02, 0.2, 0.001])}


def test_green_names_what_differs_with_its_effect() -> None:
    tables = {**DIFFERENT, "adjusted": _adjusted([0.2, 0.9, 0.004]), "composition_tests": _tests(age=0.05)}
    verdict = judge("jac-ndi", _evidence([25, 15], **tables), meanings={"factor_03": "Strength"})
    assert (verdict.kind, verdict.colour, verdict.found) == ("found", "green", ["factor_03"])
    assert verdict.headline == (
        "2 clusters exist (p = 0.010) and 1 of 3 phenotypic factors differs between them after adjustment for age and head size."
    )
    text = " ".join(verdict.sentences)
    assert (
        "Factor 3 (Strength): η² = 0.30 (95% interval 0.050 to 0.40), q = 0.030, q in random groups = 0.001; "
        "adjusted η² = 0.080, adjusted q = 0.004." in text
    )
    assert "0.80, read as stable" in text
    assert "η² ≈ 0.17" in text
    cautions = " ".join(verdict.cautions)
    assert "Differ before adjustment only, and are not counted: Factor 1." in cautions
    assert "The clusters differ in age (η² = 0.050, q = 0.002)." in cautions
    assert (
        overall([verdict])
        == "In jac-ndi, clusters exist in the images and differ in phenotype after adjustment."
    )


def test_a_model_that_decodes_badly_is_amber_in_the_first_sentence() -> None:
    tables = {**DIFFERENT, "adjusted": _adjusted([0.01, 0.9, 0.004])}
    for claimed, kind in (("yes", "found"), ("no", "nothing")):
        verdict = judge("x", _evidence([25, 15], claimed, **tables), decoding="The model decodes badly.")
        assert (verdict.kind, verdict.colour) == (kind, "amber")
        assert verdict.headline.startswith("The model decodes badly. ")
        assert verdict.label.endswith("in doubt")
        assert "(in doubt, see below)" in overall([verdict])


@pytest.mark.parametrize(
    ("jaccard", "colour", "reading"),
    [
        (0.49, "amber", "dissolved"),
        (0.59, "amber", "doubtful"),
        (0.6, "green", "pattern"),
        (0.75, "green", "stable"),
    ],
)
def test_clusters_that_resampling_does_not_find_again_are_amber(
    jaccard: float, colour: str, reading: str
) -> None:
    tables = {**DIFFERENT, "adjusted": _adjusted([0.01, 0.9, 0.004])}
    verdict = judge("x", _evidence([25, 15], jaccard=jaccard, **tables))
    assert (verdict.kind, verdict.colour) == ("found", colour)
    assert reading in " ".join(verdict.sentences)
    assert ("resampling does not find again" in verdict.headline) == (colour == "amber")


def test_clusters_without_a_phenotype_say_so() -> None:
    tables = {"comparisons": _comparisons([0.2, 0.9], [0.3, 0.9]), "adjusted": _adjusted([0.4, 0.8])}
    verdict = judge("x", _evidence([25, 15], **tables))
    assert (verdict.kind, verdict.colour) == ("clusters_only", "purple")
    assert "but none of 2 phenotypic factors tested differs between them" in verdict.headline
    assert "The smallest p-value is that of Factor 1" in " ".join(verdict.sentences)
    none = judge("x", _evidence([25, 15]))
    assert (none.kind, none.headline) == (
        "clusters_only",
        "2 clusters exist (p = 0.010); phenotypes were not compared between them.",
    )


@pytest.mark.parametrize(("effect", "kind"), [(0.5, "explained"), (0.49, "found")])
def test_clusters_that_follow_the_site_are_explained(effect: float, kind: str) -> None:
    tables = {**DIFFERENT, "adjusted": _adjusted([0.01, 0.9, 0.004])}
    verdict = judge("x", _evidence([25, 15], composition_tests=_tests(site=effect), **tables))
    assert verdict.kind == kind
    if kind == "explained":
        assert verdict.colour == "red"
        assert verdict.label == "clusters explained by site"
        assert verdict.headline.startswith("The clusters are explained by site")
        assert "Cramér's V = 0.50" in verdict.headline
    else:
        assert "The clusters differ in site" in " ".join(verdict.cautions)
    # Age takes no part in this rule.
    assert judge("x", _evidence([25, 15], composition_tests=_tests(age=0.9), **tables)).kind == "found"


def test_no_clusters_lead_to_the_continuous_results() -> None:
    continuous = pd.DataFrame(
        {
            "features": ["codes", "codes", "pca"],
            "method": "ridge",
            "factor": ["factor_01", "factor_02", "factor_01"],
            "value": [0.3, -0.1, 0.9],
            "low": 0.1,
            "high": 0.4,
            "q": [0.01, 0.6, 0.01],
        }
    )
    verdict = judge("x", _evidence([25, 15], "no", continuous=continuous, **DIFFERENT))
    assert (verdict.kind, verdict.colour, verdict.found) == ("nothing", "blue", [])
    assert verdict.headline.startswith("No clusters were found: the best partition of the 40 people")
    assert "the codes predict 1 of 2 factors" in verdict.sentences[0]
    assert "a cut through a continuum" in verdict.sentences[1]
    assert "2 factors (Factor 3 and Factor 1) nevertheless differ" in " ".join(verdict.cautions)
    assert overall([verdict]) == "In x, no clusters were found. The results without clusters come first."
    freed = continuous.assign(adjusted_for="age, head_size")
    verdict = judge("x", _evidence([25, 15], "no", continuous=freed, **DIFFERENT))
    assert (
        "Without clusters: after adjustment for age and head size, the codes predict" in verdict.sentences[0]
    )
    one = judge("x", _evidence([40], "no"))
    assert (one.kind, one.clusters) == ("nothing", 1)
    assert "keeps the 40 people in one group" in one.headline


def test_the_column_of_harmonised_sites_explains_clusters_as_site_does() -> None:
    tests = _tests(site=0.6).replace("site", "scanner")
    verdict = judge("x", _evidence([25, 15], composition_tests=tests))
    assert verdict.explained_by == []
    verdict = judge("x", _evidence([25, 15], composition_tests=tests, nuisances=("site", "scanner")))
    assert (verdict.kind, verdict.explained_by) == ("explained", ["scanner"])


@pytest.mark.parametrize(("claimed", "kind"), [("no", "nothing"), (None, "unknown")])
def test_a_partition_without_claimed_clusters_is_not_explained_and_says_what_it_follows(
    claimed: str | None, kind: str
) -> None:
    verdict = judge("x", _evidence([25, 15], claimed, composition_tests=_tests(site=0.81), **DIFFERENT))
    assert (verdict.kind, verdict.explained_by) == (kind, [])
    assert "differ in site (Cramér's V = 0.81, q = 0.002)." in " ".join(verdict.cautions)


def test_existence_not_tested_is_not_known() -> None:
    verdict = judge("x", _evidence([25, 15], None, **DIFFERENT, adjusted=_adjusted([0.01, 0.9, 0.004])))
    assert (verdict.kind, verdict.colour, verdict.found) == ("unknown", "grey", [])
    assert verdict.headline.startswith("Whether clusters exist is not known")
    assert judge("x", Evidence()).kind == "unknown"


def test_differences_that_were_not_adjusted_are_amber() -> None:
    verdict = judge("x", _evidence([25, 15], **DIFFERENT))
    assert (verdict.kind, verdict.colour, verdict.found) == ("unadjusted", "amber", [])
    assert "whether that holds after adjustment" in verdict.headline


@pytest.mark.parametrize(("q", "q_repartition"), [(0.01, 0.2), (0.2, 0.01), (0.01, np.nan)])
def test_one_test_alone_claims_nothing(q: float, q_repartition: float) -> None:
    tables = {"comparisons": _comparisons([q, 0.9], [q_repartition, 0.9]), "adjusted": _adjusted([0.01, 0.9])}
    verdict = judge("x", _evidence([25, 15], **tables))
    assert (verdict.kind, verdict.found) == ("clusters_only", [])
    assert "Factor 1" in " ".join(verdict.cautions)


def test_small_clusters_outliers_and_people_in_none_are_named() -> None:
    evidence = _evidence([96, 4])
    evidence.facts = {"small_clusters": [2], "small_cluster_limit": 5}
    assert evidence.clusters is not None
    evidence.clusters["fits"] = ["no"] * 2 + ["yes"] * 98
    verdict = judge("x", evidence)
    cautions = " ".join(verdict.cautions)
    assert "Small clusters: 2 (n = 4) is below 5 people." in cautions
    assert "One cluster holds 96%" in cautions
    assert "2 people fit into no cluster and are left out of the comparisons: 0, 1." in cautions
    assert verdict.outside == ["0", "1"]


def test_almost_everybody_in_one_cluster_is_not_everybody() -> None:
    cautions = " ".join(judge("x", _evidence([299, 1])).cautions)
    assert "One cluster holds 99% of the people (299 of 300)" in cautions
    assert "One cluster holds" not in " ".join(judge("x", _evidence([40])).cautions)


def test_what_could_not_be_tested_is_not_called_no_difference() -> None:
    tests = _tests()
    tests.loc[tests["characteristic"] != "site", ["p", "q", "effect"]] = np.nan
    tables = {**DIFFERENT, "adjusted": _adjusted([0.01, 0.9, 0.004])}
    text = " ".join(judge("x", _evidence([25, 15], composition_tests=tests, **tables)).sentences)
    assert "do not explain the clusters: no difference was found in site." in text
    tests[["p", "q", "effect"]] = np.nan
    text = " ".join(judge("x", _evidence([25, 15], composition_tests=tests, **tables)).sentences)
    assert "No characteristic of the people could be tested between the clusters." in text


def test_factors_that_cannot_be_tested_after_adjustment_are_not_said_to_be_alike() -> None:
    tables = {**DIFFERENT, "adjusted": _adjusted([np.nan] * 3)}
    verdict = judge("x", _evidence([25, 15], **tables))
    assert verdict.kind == "clusters_only"
    assert (
        "but no factor could be tested between them after adjustment for age and head size"
        in verdict.headline
    )
    assert "the covariates determine who is in which cluster" in " ".join(verdict.cautions)


def test_a_list_that_is_cut_says_so() -> None:
    many = _evidence([20] * 14, jaccard=0.3)
    verdict = judge("x", many)
    assert "read as dissolved (14 clusters: 0.30 to 0.30)." in " ".join(verdict.sentences)
    cautions = " ".join(verdict.cautions)
    # a mean below the limit says nothing of most samples: the share in which a cluster dissolves is in the table
    assert "Mean Jaccard index below 0.6: clusters 1 (dissolved, 0.30), 2 (dissolved" in cautions
    assert "12 (dissolved, 0.30) and 2 more." in cautions
    two = _evidence([25, 15], jaccard=0.3)
    assert two.stability is not None
    two.stability["jaccard"] = [0.9, 0.55]
    assert "Mean Jaccard index below 0.6: cluster 2 (doubtful, 0.55)." in judge("x", two).cautions
    factors = {"comparisons": _comparisons([0.01] * 11, [0.01] * 11), "adjusted": _adjusted([0.01] * 11)}
    sentences = judge("x", _evidence([25, 15], **factors)).sentences
    assert sum("adjusted q" in sentence for sentence in sentences) == 8
    assert any(sentence.startswith("3 more factors differ: ") for sentence in sentences)


def test_clusters_whose_phenotypes_were_not_compared_are_not_said_to_be_alike() -> None:
    alone = judge("x", _evidence([25, 15]))
    assert (alone.kind, alone.label) == ("clusters_only", "clusters, phenotypes not compared")
    assert overall([alone]) == "In x, clusters exist, and phenotypes were not compared between them."
    tables = {"comparisons": _comparisons([0.2, 0.9], [0.3, 0.9]), "adjusted": _adjusted([0.4, 0.8])}
    tested = judge("y", _evidence([25, 15], **tables))
    assert tested.label == "clusters without a difference in phenotype"
    assert overall([tested, alone]) == (
        "In y, clusters exist, but no difference in phenotype was found. "
        "In x, clusters exist, and phenotypes were not compared between them."
    )


def test_shuffled_links_are_judged_at_the_level_at_which_they_were_counted() -> None:
    """strata.comparisons.alpha, which need not be report.alpha."""
    shuffled = {"share_found": 0.04, "share_low": 0.02, "share_high": 0.07}
    verdict = judge("x", _evidence([25, 15], shuffles=shuffled, **DIFFERENT), alpha=0.01, counted_alpha=0.05)
    assert "in 4% of the runs (expected: at most 5%)." in " ".join(verdict.sentences)


def test_one_factor_is_spoken_of_as_one() -> None:
    one = {"comparisons": _comparisons([0.01], [0.02])}
    for q, said in ((0.01, "and the one phenotypic factor tested differs between them after adjustment for"),
                    (0.4, "but the one phenotypic factor tested does not differ between them after adjustment for")):  # fmt: skip
        assert said in judge("x", _evidence([25, 15], adjusted=_adjusted([q]), **one)).headline
    assert (
        "and the one phenotypic factor tested differs between them; whether"
        in judge("x", _evidence([25, 15], **one)).headline
    )
    none = judge("x", _evidence([25, 15], comparisons=_comparisons([0.3], [0.4])))
    assert none.headline.endswith("but the one phenotypic factor tested does not differ between them.")


def test_halves_in_which_no_factor_could_be_tested_say_so() -> None:
    halves = {"split_half": pd.DataFrame({"adjusted_rand": [0.3]})}
    untested = pd.DataFrame({"factor": ["factor_01"], "q": [np.nan]})
    text = " ".join(judge("x", _evidence([25, 15], split_factors=untested, **halves)).sentences)
    assert "found anew; no factor could be tested in the held-out halves." in text


def test_people_without_a_covariate_are_counted() -> None:
    tables = {**DIFFERENT, "adjusted": _adjusted([0.01, 0.9, 0.004]).assign(n=[28, 28, 39])}
    cautions = " ".join(judge("x", _evidence([25, 15], **tables)).cautions)
    assert "12 people with a score lack a covariate" in cautions
    tables["adjusted"]["n"] = 40
    assert "lack a covariate" not in " ".join(judge("x", _evidence([25, 15], **tables)).cautions)


def test_no_gain_found_is_not_no_gain() -> None:
    added = pd.DataFrame({"factor": ["factor_01", "factor_02"], "added_r2": [0.01, 0.0], "p": [0.4, np.nan]})
    text = " ".join(judge("x", _evidence([25, 15], added=added, **DIFFERENT)).sentences)
    assert "no gain from the clusters was found in any of 1 factor" in text


def test_skip_connections_are_cautioned() -> None:
    skip = judge(
        "x",
        _evidence([20, 20]),
        experiment={"model": "separable_autoencoder", "options": {"skip_connections": True}},
    )
    assert "no claim about embeddings rests on it" in " ".join(skip.cautions)
    plain = judge(
        "x",
        _evidence([20, 20]),
        experiment={"model": "separable_autoencoder", "options": {"skip_connections": False}},
    )
    assert "skip" not in " ".join(plain.cautions)


def test_codes_that_were_learned_from_classes_are_cautioned() -> None:
    tables = {**DIFFERENT, "adjusted": _adjusted([0.01, 0.9, 0.004])}
    experiment = {"model": "siamese_attention", "modalities": ["jac", "ndi"], "options": {}}
    cautions = judge("x", _evidence([25, 15], **tables), experiment=experiment).cautions
    assert any("learned from the classes of these people" in caution for caution in cautions)


def test_every_outcome_has_its_place_in_the_first_sentence() -> None:
    verdicts = [Verdict(kind, kind) for kind in OUTCOMES]
    text = overall(verdicts)
    assert all(f"In {kind}, " in text for kind in OUTCOMES)


def test_the_documented_rules_are_those_of_the_code() -> None:
    text = (REPOSITORY / "docs" / "trust.md").read_text()
    for kind, (colour, _) in OUTCOMES.items():
        assert f"| `{kind}` |" in text
        assert f"| {colour} |" in text
    for limit, _ in JACCARD_READINGS:
        assert f"{limit:g}" in text
    assert f"an effect of at least {EXPLAINS:g}" in text
    assert f"is below {DOUBTFUL:g}" in text
    assert verdict_module.__doc__ is not None
    assert all(kind in verdict_module.__doc__ for kind in OUTCOMES)


def test_the_adjusted_rand_index_is_scikit_learns() -> None:
    from sklearn.metrics import adjusted_rand_score

    random = np.random.default_rng(0)
    people = [str(i) for i in range(50)]
    for k in (1, 2, 5, 50):
        a, b = random.integers(1, k + 1, 50), random.integers(1, 4, 50)
        first = pd.DataFrame({"subject": people, "cluster": a})
        second = pd.DataFrame({"subject": people, "cluster": b}).iloc[::-1]
        assert adjusted_rand(first, second) == pytest.approx(adjusted_rand_score(a, b))
        assert adjusted_rand(first, first) == 1


def test_factors_are_named_by_what_loads_on_them() -> None:
    assert short_name("factor_02", "NEOFAC_A, −Sadness, Fear") == "Factor 2: NEOFAC A, −Sadness"
    assert len(short_name("factor_02", "a_very_long_name_of_a_variable_indeed")) <= 32
    assert short_name("factor_02") == "Factor 2"


def test_no_experiment_is_an_answer_too() -> None:
    assert overall([]).startswith("No experiment was run")


def test_a_model_that_is_beaten_by_its_baselines_is_named() -> None:
    frame = pd.DataFrame(
        {
            "method": ["ae", "ae", "mean_image", "mean_image", "pca", "pca"],
            "modality": ["jac", "ndi"] * 3,
            "mse": [0.2, 0.1, 0.3, 0.1, 0.1, np.nan],
        }
    )
    assert better_baselines(frame, ["ae", "mean_image", "pca"], ["jac", "ndi"]) == [
        ("jac", "pca", 0.1, 0.2),
        ("ndi", "mean_image", 0.1, 0.1),
    ]


def test_a_model_is_not_said_to_decode_what_it_has_no_decoder_for() -> None:
    """A synthesis of FLAIR alone; the mean image and PCA have every modality."""
    found = [("flair", "ae", 0.1), ("flair", "mean_image", 0.2), ("t1w", "mean_image", 0.2)]
    frame = pd.DataFrame(found, columns=["modality", "method", "mse"]).assign(subject="a", fold="0")
    page: Any = SimpleNamespace(sources=lambda *paths: [])

    def said(frame: pd.DataFrame) -> str:
        text = beats_baselines(frame, ["ae", "mean_image"], ["flair", "t1w"], page, Path())
        assert text is not None
        return text.text

    assert said(frame).endswith("better than the mean training image, in FLAIR. It does not decode T1W.")
    whole = pd.concat([frame, frame[:1].assign(modality="t1w")])
    assert said(whole).endswith("better than the mean training image, in every modality.")


def test_the_share_decoded_is_of_the_variance_about_the_mean_image() -> None:
    frame = pd.DataFrame(
        [
            {"subject": subject, "fold": "0", "method": method, "modality": "jac", "mse_mask": error}
            for method, errors in {"ae": (0.5, 0.1), "mean_image": (1.0, 3.0), "pca": (6.0, np.nan)}.items()
            for subject, error in zip("ab", errors)
        ]
    )
    # 1 - (0.5 + 0.1) / (1 + 3); of PCA only the person whom it decodes.
    shares = {method: share for (method, _), share in shares_decoded(frame).items()}
    assert shares == pytest.approx({"ae": 0.85, "mean_image": 0.0, "pca": -5.0})
    assert shares_decoded(frame[frame["method"] != "mean_image"]) == {}


def test_methods_name_the_study_s_own_covariates() -> None:
    config = report_fixture.make_config(["phenotypes.tsv"])
    config["strata"]["adjust"] = {"columns": ["age", "education"], "sites": "scanner"}
    text = " ".join(text for _, text in methods_paragraphs(fill_config(config)))
    named = "adjusted for age, sex, head size, site, image quality, education and scanner, as far as they are known"
    assert named in text


@pytest.mark.parametrize(
    ("splines", "words"),
    [
        ("auto", " (numbers along cubic curves, as far as there are {} people for each degree of freedom)"),
        (4, " (numbers along cubic splines with 4 degrees of freedom)"),
        (1, ""),
    ],
)
def test_methods_say_what_is_removed_along_curves(splines: object, words: str) -> None:
    """From the codes and in the comparisons, which are adjusted also where nothing is removed from the codes."""
    config = report_fixture.make_config(["phenotypes.tsv"])
    config["strata"]["adjust"] = {"columns": ["age"], "splines": splines}
    text = dict(methods_paragraphs(fill_config(config)))["Strata"]
    assert f"Removed from the codes: age{words.format(100)}. The" in text
    assert f"as far as they are known{words.format(20)}" in text
    config["strata"]["adjust"] = {"columns": [], "splines": splines}
    text = dict(methods_paragraphs(fill_config(config)))["Strata"]
    assert "Removed" not in text
    assert f"as far as they are known{words.format(20)}" in text
    assert ("along cubic" in text) == bool(words)
    assert "numbers as ranks" in text
    assert (
        "by a statistic that does not take people to vary equally in all clusters [@diciccio2017robust]"
        in text
    )
    assert "factors freed of the same covariates in each fold [@snoek2019confounds]" in text
    assert ("age with slopes of its own in each class" in text) == (splines == "auto")
    config["strata"]["adjust"] = {"columns": [], "sites": "site", "splines": splines}
    text = dict(methods_paragraphs(fill_config(config)))["Strata"]
    assert "Removed from the codes: sites (column site, ComBat) [@johnson" in text


def test_curves_are_named_beside_what_was_adjusted_for() -> None:
    made = pd.DataFrame({"factor": ["a", "b"], "curves": "age, head_size"})
    assert curves(made) == " (age and head size along cubic curves)"
    slopes = made.assign(slopes="sex, site")
    assert (
        curves(slopes)
        == " (age and head size along cubic curves, age with slopes of its own by sex and site)"
    )
    assert curves(slopes.assign(curves="none")) == " (age with slopes of its own by sex and site)"
    assert curves(made.assign(slopes="none")) == " (age and head size along cubic curves)"
    assert curves(made.assign(curves="none")) == ""
    mixed = " (age and head size along cubic curves, as far as there are people enough with a value)"
    assert curves(made.assign(curves=["age", "age, head_size"])) == mixed
    assert curves(made.assign(curves=["none", "age, head_size"])) == mixed
    assert curves(made.assign(curves=np.nan)) == ""
    assert curves(made[["factor"]]) == ""


def test_methods_follow_the_configuration() -> None:
    config = fill_config(report_fixture.make_config(["phenotypes.tsv"]))
    text = dict(methods_paragraphs(config))
    assert "picsl_greedy" in text["Anatomy"]
    assert "NODDI was fitted" in text["Maps"]
    assert "tensor" not in text["Maps"]
    assert "without skip connections" in text["Experiment jac-ndi"]
    assert "3-fold" in text["Experiment jac-ndi"]
    assert "epochs 3, batch size 4, learning rate 0.001" in text["Experiment jac-ndi"]
    assert "PCA of JAC + NDI" in text["Experiment jac-ndi-pca"]
    assert "500 permutations" in text["Strata"]
    assert "7" in text["Seeds"]
    config["registration"] = section_defaults("registration") | {"engine": "ants"}
    assert "SyN" in dict(methods_paragraphs(config))["Anatomy"]
    assert "drawn at random" not in text["Strata"]
    assert "Removed from the codes: age, sex and head size" in text["Strata"]
    assert "Clusters: Gaussian mixtures" in text["Strata"]
    assert "40 preferences" in text["Strata"]
    assert "199 data sets without groups" in text["Strata"]
    config["strata"] = {
        "finders": ["affinity_propagation"],
        "affinity_propagation": {"sample": 500},
        "adjust": {"columns": []},
    }
    config = fill_config(config)
    strata = dict(methods_paragraphs(config))["Strata"]
    assert "at most 500 people, drawn at random" in strata
    assert "Removed" not in strata
    assert "mixture" not in strata
    config["registration"]["engine"] = "torch"
    assert "own, in torch) after rigid and affine steps" in dict(methods_paragraphs(config))["Anatomy"]


def test_methods_say_how_volumes_were_scaled_and_what_was_made_least() -> None:
    both = {"model": "shared_vae", "modalities": ["fa"]}
    experiments = [{"name": "a", **both, "scaling": "maximum"}, {"name": "b", **both}]
    plain = {"modalities": {"fa": {"from": "tensor", "measure": "fa"}}, "experiments": experiments}
    text = dict(methods_paragraphs(fill_config(plain)))
    assert "each volume divided by its largest absolute value in the brain mask" in text["Experiment a"]
    assert "percentiles" not in text["Experiment a"]
    assert "scaled to [0, 1] by percentiles of the fold's training people" in text["Experiment b"]
    assert "learning rate 0.001)" in text["Experiment a"]
    training = {"training": {"adam_epsilon": 1e-8, "modality_losses": "sum"}}
    text = dict(methods_paragraphs(fill_config(plain | training)))
    assert "learning rate 0.001, epsilon 1e-08) on the sum of the modalities' losses" in text["Experiment a"]


def test_methods_say_what_models_do_to_the_volumes_before_they_learn() -> None:
    modalities = {name: {"from": "column", "column": name, "space": "t1w"} for name in ("pet", "flair")}
    both = {"modalities": ["pet", "flair"], "limits": "cohort"}
    label = {"label": {"column": "diagnosis", "classes": ["a", "b"]}}
    experiments = [
        {"name": "means", "model": "latent_synthesis", **both},
        {"name": "maxima", "model": "shared_vae", **both},
        {"name": "once", "model": "shared_vae", **both, "scaling": "maximum"},
        {"name": "regions", "model": "siamese_attention", **both, **label},
        {"name": "plain", "model": "pca", **both},
    ]
    text = dict(methods_paragraphs(fill_config({"modalities": modalities, "experiments": experiments})))
    scaled = "intensities scaled to [0, 1] by percentiles of the whole cohort"
    largest = "each volume divided by its largest absolute value in the brain mask"
    region = "each region standardised by the training people's mean and standard deviation in it"
    for name, words in {
        "means": f"{scaled}, then each volume but a lesion mask divided by its mean intensity",
        "maxima": f"{scaled}, then {largest}",
        "once": largest,
        "regions": f"{scaled}, then {region}",
        "plain": scaled,
    }.items():
        assert f"; {words}. The final model" in text[f"Experiment {name}"], name


def test_methods_say_which_search_is_repeated() -> None:
    """The paper's 10,000 settings are searched once; data without groups and resampled people get 30."""
    pca: dict[str, Any] = {"model": "pca", "modalities": ["t1w"]}

    def strata(finders: list[str], **options: Any) -> str:
        return _methods(pca, strata={"finders": finders, **options})["Strata"]

    text = strata(["affinity_propagation"])
    assert "affinity propagation with 2 damping factors and 15 preferences" in text
    assert "whole search" not in text
    few = {"damping": {"min": 0.5, "max": 1.0, "steps": 2}, "preference": {"steps": 10}}
    assert "the whole search was run again on 199" in strata(
        ["affinity_propagation"], affinity_propagation=few
    )
    both = strata(["mixture", "consensus"])
    assert "Gaussian mixture with fewer starts for more than 100 people" in both
    assert "consensus clustering with 30 resamples" in both
    assert "the whole search" in strata(["similarity_network_fusion"])


def test_methods_say_what_this_run_used() -> None:
    """Values that differ from every default: none of them may be replaced by one."""
    experiments = [
        {
            "name": "ae",
            "model": "separable_autoencoder",
            "modalities": ["fa", "icn2"],
            "options": {"pooling_size": 3},
        },
        {"name": "linear", "model": "pca", "modalities": ["fa"]},
        {"name": "pairs", "model": "siamese_attention", "modalities": ["fa"], "training": {"epochs": 7}},
    ]
    config = fill_config(
        {
            "diffusion": {
                "tensor_b_max": 1600,
                "noddi": {"engine": "maximum_likelihood", "likelihood": "gaussian"},
            },
            "anatomy": {"n4": {"enabled": False}},
            "modalities": {
                "fa": {"from": "tensor", "measure": "fa"},
                "icn": {
                    "from": "dual_regression",
                    "column": "b",
                    "components_image": "c",
                    "components": 3,
                    "space": "mni",
                },
                "ndi": {"from": "noddi", "measure": "ndi"},
            },
            "volumes": {"resolution_mm": 1, "downsample": 3, "shape": [64, 96, 64], "percentiles": [1, 99]},
            "training": {"preset": "fast", "learning_rate": 0.01},
            "experiments": experiments,
        }
    )
    text = dict(methods_paragraphs(config))
    assert "to b ≤ 1600 s/mm²" in text["Maps"]
    assert "dual regression" in text["Maps"]
    assert "ICN: images in MNI152 space" in text["Maps"]
    assert "NODDI" not in text["Maps"]  # declared, and not used
    assert "1 mm grid in template space, averaged over blocks of 3³ voxels" in text["Maps"]
    assert "64 × 96 × 64 voxels" in text["Maps"]
    assert "N4" not in text["Anatomy"]
    assert "epochs 200, batch size 4, learning rate 0.01" in text["Experiment ae"]
    assert "Adam" not in text["Experiment linear"]
    assert "epochs 7, batch size 4, learning rate 0.01" in text["Experiment pairs"]
    assert training_values(config, config["experiments"][1]) == {}


def _methods(experiment: dict[str, Any], **sections: Any) -> dict[str, str]:
    """Return the paragraphs of a run with one experiment; of the experiment as "Experiment"."""
    modalities = {
        "t1w": {"from": "t1w"},
        "jac": {"from": "jacobian", "measure": "absolute"},
        "other": {"from": "jacobian"},
        "gmv": {"from": "tissue", "tissue": "gm", "modulate": True, "smooth_fwhm_mm": 6},
        "wm": {"from": "tissue", "tissue": "wm", "modulate": False, "smooth_fwhm_mm": 0},
    }
    config = {"modalities": modalities, "experiments": [{"name": "e", **experiment}], **sections}
    return {heading.removesuffix(" e"): text for heading, text in methods_paragraphs(fill_config(config))}


def test_methods_say_nothing_of_what_was_not_done() -> None:
    pca: dict[str, Any] = {"model": "pca", "modalities": ["t1w"]}
    unclustered = {**pca, "analyses": {"strata": False}}
    text = _methods(unclustered, volumes={"downsample": 1})
    assert "Phenotypes" not in text
    assert text["Strata"] == "No experiment's codes were clustered."
    assert "Jacobian" not in " ".join(text.values())
    assert "blocks" not in text["Maps"]
    text = _methods(pca, volumes={"downsample": 2})
    assert text["Phenotypes"] == "No phenotype tables were configured, so the clusters were not compared."
    assert "Stability" in text["Strata"]
    assert not re.search("Kruskal|repartition|halves|ridge", text["Strata"])
    assert "blocks of 2³ voxels and cropped" in text["Maps"]
    template = {"iterations": 3, "tolerance": None}
    assert "in 3 iterations" in _methods(pca, template=template)["Anatomy"]
    assert (
        "In each, the people of the template are registered, images"
        in _methods(pca, template=template)["Anatomy"]
    )
    assert "in at most 3 iterations" in _methods(pca, template={**template, "tolerance": 0.01})["Anatomy"]
    text = _methods(pca, template={**template, "tolerance": 0.01, "early_people": 15})
    assert (
        "the people of the template are registered (in all but the last at most 15 people, spread evenly"
        in text["Anatomy"]
    )
    assert "end early once the template of everybody changes by at most 0.01" in text["Anatomy"]
    assert (
        "shifted to the pose of the template before it, so that neither shape, pose nor size"
        in text["Anatomy"]
    )
    text = _methods(pca, template={**template, "hold_pose": False})
    assert "without its rigid part are applied, so that neither shape nor size drifts" in text["Anatomy"]
    text = _methods(unclustered, phenotypes={"tables": ["p.tsv"]})
    assert "principal components" in text["Phenotypes"]
    assert text["Strata"] == "No experiment's codes were clustered."
    assert "Kruskal" in _methods(pca, phenotypes={"tables": ["p.tsv"]})["Strata"]


def test_methods_say_no_test_that_was_not_made() -> None:
    pca: dict[str, Any] = {"model": "pca", "modalities": ["t1w"]}
    off = {"reconstruction": False}
    text = _methods({**pca, "analyses": off})["Experiment"]
    assert "cross-validation" not in text
    assert (
        "not tested on people it has not seen; intensities scaled to [0, 1] by percentiles of the people it was trained on"
        in text
    )
    for tested in ({}, {"analyses": {**off, "prediction": ["age"]}}, {"analyses": {**off, "robustness": True}},
                   {"model": "latent_synthesis", "modalities": ["t1w", "jac"], "analyses": off}):  # fmt: skip
        assert "tested in 10-fold cross-validation; intensities" in _methods({**pca, **tested})["Experiment"]


def test_methods_say_who_is_trained_on_and_what_is_hidden() -> None:
    both: dict[str, Any] = {"model": "residual_autoencoder", "modalities": ["t1w", "jac"]}
    text = _methods({**both, "missing": "include", "analyses": {"robustness": True}})["Experiment"]
    assert (
        "trained on people who lack some of these modalities, too; only people with all of them were clustered"
        in text
    )
    assert "Each modality of the test people was hidden in turn" in text
    text = _methods({**both, "missing": "include", "analyses": {"strata": False}})["Experiment"]
    assert "who lack some of these modalities, too; tested" in text
    assert not re.search("lack|hidden", _methods(both)["Experiment"])


def test_methods_count_the_checks_that_were_made() -> None:
    strata = {"shuffles": 0, "split_half": {"splits": 1}}
    tables = {"phenotypes": {"tables": ["p.tsv"]}}
    text = _methods({"model": "pca", "modalities": ["t1w"]}, strata=strata, **tables)["Strata"]
    assert "; 1 division into halves; ridge regression" in text
    assert "different people joined" not in text
    text = _methods({"model": "pca", "modalities": ["t1w"]}, **tables)["Strata"]
    assert (
        "; 20 divisions into halves; 200 runs with images and phenotypes of different people joined; ridge"
        in text
    )
    assert "adjusted for age, sex, head size, site and image quality, as far as they are known" in text


def test_methods_say_how_quality_was_compared_and_what_the_maps_show() -> None:
    pca: dict[str, Any] = {"model": "pca", "modalities": ["t1w"]}
    text = _methods(pca)
    assert text["Quality"].startswith(
        "Each measure of the quality of a person's images was compared with what is expected from age, sex and site, as far as they are "
        "known and there are enough people, in robust standard deviations."
    )
    assert (
        "let about 1% of people with sound images be called unusual, over all measures together"
        in text["Quality"]
    )
    assert "Nobody was left out without a decision." in text["Quality"]
    assert (
        "Maps of the clusters of the first finder show Hedges' g of each cluster against all other people in every voxel, the same "
        "effects removed; they were not tested." in text["Strata"]
    )
    text = _methods(pca, quality={"covariates": [], "limit": 5}, strata={"adjust": {"columns": []}})
    assert "was compared with everybody's, in robust standard deviations." in text["Quality"]
    assert "differ by more than 5 of them were called unusual" in text["Quality"]
    assert "in every voxel; they were not tested." in text["Strata"]
    assert "Hedges" not in _methods({**pca, "analyses": {"strata": False}})["Strata"]


def test_methods_say_how_the_template_was_updated_and_who_was_registered_to_it() -> None:
    pca: dict[str, Any] = {"model": "pca", "modalities": ["t1w"]}
    text = _methods(pca)["Anatomy"]
    assert "Everybody was then registered to the last template." in text
    assert "The linear part of each warp was moved into the affine step" in text
    assert not re.search("unsharp|share of|finest", text)
    text = _methods(pca, template={"shape_step": 0.25, "sharpening": 0.5, "coarse_iterations": 2},
                    registration={"balance": False})["Anatomy"]  # fmt: skip
    assert (
        "the inverse of a share of 0.25 of the mean warp and of the mean affine without its rigid part is applied"
        in text
    )
    assert "Then each average is sharpened (unsharp mask of weight 0.5)." in text
    assert "The first 2 iterations leave out the finest level of the registration." in text
    assert "was moved into" not in text


def test_methods_say_how_maps_of_the_t1w_image_were_made() -> None:
    maps = _methods({"model": "pca", "modalities": ["jac", "gmv", "wm"]})["Maps"]
    assert "(JAC of the whole last deformation, its affine part included)" in maps
    assert "OTHER" not in maps
    assert (
        "GMV was multiplied by the Jacobian determinant of the whole deformation (modulated) and smoothed"
        in maps
    )
    assert "Gaussian of 6 mm" in maps
    assert "WM was" not in maps
    maps = _methods({"model": "pca", "modalities": ["jac", "other"]})["Maps"]
    assert "included and OTHER of the non-linear part of the last deformation)" in maps


def test_methods_say_what_a_model_is_for_and_how_it_differs_from_its_defaults() -> None:
    synthesis: dict[str, Any] = {"model": "latent_synthesis", "modalities": ["t1w", "jac", "gmv"]}
    options = {"inputs": ["t1w", "gmv"], "outputs": ["jac"], "latent_channels": 4, "costs": ["c1", "c3"]}
    text = _methods(
        {**synthesis, "options": options}, synthesis={"baselines": ["random_forest", "position_mlp"]}
    )
    assert "of T1W + JAC + GMV that synthesises JAC from T1W and GMV; options other" in text["Experiment"]
    assert "the model's defaults: costs (c1, c3), latent_channels 4; trained" in text["Experiment"]
    assert "every subset of the inputs, and for comparison" in text["Experiment"]
    assert "(random forest and position MLP)." in text["Experiment"]
    text = _methods({**synthesis, "options": {"mask_input": "gmv"}}, synthesis={"baselines": []})
    assert "that synthesises T1W and JAC from T1W and JAC; options" in text["Experiment"]
    assert "synthesised from every subset of the inputs. References:" in text["Experiment"]
    label = {"column": "diagnosis", "classes": ["CTL", "AD"]}
    siamese = {"model": "siamese_attention", "modalities": ["t1w", "gmv"], "label": label}
    text = _methods({**siamese, "options": {"balanced": False}})
    assert (
        "that tells CTL from AD (column diagnosis); options other than the model's defaults: balanced no; "
        in text["Experiment"]
    )
    text = _methods({"model": "pca", "modalities": ["t1w"], "analyses": {"prediction": ["age", "factors"]}})
    assert "options" not in text["Experiment"]
    assert "age and the phenotype factors of its test people were predicted: " in text["Experiment"]
    assert "synthesised" not in text["Experiment"]
    text = _methods({"model": "pca", "modalities": ["t1w"], "analyses": {"prediction": ["age"]}})
    assert "age of its test people was predicted: " in text["Experiment"]


def test_schema_defaults_are_complete() -> None:
    defaults = section_defaults("report")
    assert set(defaults) == set(load_schema("report")["properties"])
    assert (defaults["alpha"], defaults["loading_threshold"]) == (0.05, 0.3)
    assert set(defaults["demographics"]) == {"age", "sex", "handedness", "bmi"}


def test_methods_say_what_was_taken_out_before_predicting() -> None:
    analyses = {
        "prediction": ["diagnosis"],
        "harmonise": {"sites": "scanner", "keep": ["age", "sex"]},
        "covariates": ["age"],
    }
    config = {
        "modalities": {"pet": {"from": "column", "column": "pet", "space": "mni"}, "t1w": {"from": "t1w"}},
        "experiments": [{"name": "e", "model": "pca", "modalities": ["pet"], "analyses": analyses}],
    }
    text = dict(methods_paragraphs(fill_config(config)))
    assert "sites (column scanner) were harmonised by ComBat" in text["Experiment e"]
    assert "keeping the effects of age and sex. Linear effects of age" in text["Experiment e"]
    assert "were removed after that." in text["Experiment e"]
    assert "PET: images in MNI152 space" in text["Maps"]
    config["experiments"][0]["analyses"] = {"prediction": ["diagnosis"], "harmonise": None, "covariates": []}
    config["modalities"]["pet"]["space"] = "t1w"
    text = dict(methods_paragraphs(fill_config(config)))
    assert "ComBat" not in text["Experiment e"]
    assert "MNI152" not in text["Maps"]


def test_settings_are_never_looked_up_with_a_default() -> None:
    """The report gets the whole configuration: a default beside the schema's would hide a key that does not exist."""
    root = REPOSITORY / "workflow"
    sources = [*(root / "neurostrata" / "report").glob("*.py"), *(root / "report").glob("*.rst")]
    for path in sources:
        text = path.read_text()
        assert not re.search(r"\b(config|settings|experiment|declaration|strata|volumes)\.get\(", text), (
            path.name
        )


def test_an_experiment_without_clusters_says_so_once() -> None:
    """Neither a page of checks nor a note for each table that was not asked for."""
    notes: list[tuple[str, str]] = []
    page: Any = SimpleNamespace(study=SimpleNamespace(note=lambda *line: notes.append(line)))
    experiment: Any = SimpleNamespace(name="e")
    evidence: Any = None
    config = {"analyses": {"strata": False}}
    section = strata_section(page, experiment, config, Verdict("e"), evidence, {})
    assert notes == [("Clusters of e", "analyses: strata is off")]
    assert [block.text for block in section.blocks] == [
        "No clusters were looked for: analyses: strata is off."
    ]


def test_a_training_that_did_not_help_is_said():
    plain = pd.DataFrame({"epoch": [1, 2], "loss": [0.4, 0.3]})
    stuck, better = plain.assign(best_epoch=0), plain.assign(best_epoch=1)
    assert without_progress({"0": plain, "all": better}) is None
    told = without_progress({"0": better, "1": stuck, "all": stuck})
    assert told.text.startswith("Training did not help fold 1 and the final model: held-out people")
    page = SimpleNamespace(
        study=SimpleNamespace(table=lambda path: stuck), figure=lambda *parts, wide: Text("curves")
    )
    fold = Fold(Path("fold-all"))
    section = Section("jac", "JAC")
    _training(
        page, section, SimpleNamespace(name="jac", folds=lambda: [fold]), {"analyses": {"strata": True}}
    )
    assert [(block.kind, block.text[:33]) for block in section.blocks] == [
        ("plain", "curves"),
        ("warning", "Training did not help the final m"),
    ]


def test_what_is_cut_off_a_picture_or_table_is_said() -> None:
    groups = ["all", *map(str, range(1, 14))]
    rows = [("age", "", group, 9, 30.0, 4.0, np.nan, np.nan) for group in groups]
    columns = ["characteristic", "level", "cluster", "n", "mean", "sd", "count", "share"]
    table = composition_table(pd.DataFrame(rows, columns=columns), None)
    assert len(table.columns) == 2 + 11 + 2
    assert "The first 10 of 13 clusters; the folded table has all." in table.caption
    few = composition_table(pd.DataFrame(rows[:11], columns=columns), None)
    assert "The first" not in few.caption
    assert cut_off(60, 40, "factors, by effect") == " The first 40 of 60 factors, by effect."
    assert cut_off(40, 40, "factors") == ""


@pytest.mark.parametrize(("odd", "said"), [(1, "12 people (75%), 1 of whom fits into no cluster well and is left out"),
                                           (2, "12 people (75%), 2 of whom fit into no cluster well and are left out")])  # fmt: skip
def test_people_who_fit_none_are_counted_where_sizes_are(odd: int, said: str) -> None:
    evidence = _evidence([12, 4])
    assert evidence.clusters is not None
    evidence.clusters["fits"] = ["no"] * odd + ["yes"] * (16 - odd)
    page: Any = SimpleNamespace(sources=lambda *_: [])
    experiment: Any = SimpleNamespace(strata=lambda name: name)
    assert said in cluster_facts(page, experiment, evidence, 1).text
    verb, them = ("fits", "is") if odd == 1 else ("fit", "are")
    assert (
        f"2 clusters of 12 and 4 people ({odd} of whom {verb} into none and {them} counted in the nearest), by Gaussian mixture"
        in " ".join(judge("x", evidence).sentences)
    )
