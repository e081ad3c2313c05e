"""Numbers, demographics, verdict and methods: the parts of the report that are only words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import report_fixture

from neurostrata.core.config import load_schema, section_defaults
from neurostrata.report.blocks import count, format_number, format_p, frame_table, join_words
from neurostrata.report.demographics import availability, demographics_table, keyed
from neurostrata.report.methods import deviations, methods_paragraphs, training_values
from neurostrata.report.sections_reconstruction import better_baselines
from neurostrata.report.verdict import judge, overall, small_clusters


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
    table = demographics_table(["1", "2", "3", "4"], [keyed(people)])
    assert table is not None
    rows = table.set_index("group")
    assert rows.loc["Males", "Age (years)"] == "35.00 ± 7.07"
    assert rows.loc["Males", "n"] == 2
    assert rows.loc["Females", "Age (years)"] == "20"
    # Person 9 is not in the cohort, person 4 in no table.
    assert rows.loc["Everybody", "Age (years)"] == "30.00 ± 10.00 (of 3)"
    assert rows.loc["sex not known", "n"] == 1
    assert "BMI (kg/m²)" not in table


def test_demographics_keeps_age_bins_and_uses_configured_names() -> None:
    hcp = pd.DataFrame(
        {"Subject": [1, 2, 3], "Age": ["22-25", "26-30", "22-25"], "WeightIndex": [20.0, 22.0, 27.0]}
    )
    table = demographics_table(["1", "2", "3"], [keyed(hcp)], {"bmi": "WeightIndex"})
    assert table is not None
    assert table["Age (years)"].tolist() == ["22-25: 2; 26-30: 1"]
    assert table["BMI (kg/m²)"].tolist() == ["22.00 ± 3.61"]
    assert demographics_table(["1"], []) is None


def test_availability_counts_people_of_the_cohort_only() -> None:
    per_modality, per_person = availability(["a", "b", "c"], {"jac": {"a", "b", "c", "z"}, "ndi": {"a"}})
    assert per_modality.values.tolist() == [["jac", 3, 0], ["ndi", 1, 2]]
    assert per_person.values.tolist() == [[2, 1], [1, 2]]


def _grid(silhouette: float = 0.3, converged: bool = True) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "damping": [0.5, 0.6],
            "preference": [-3.0, -2.0],
            "converged": [converged, False],
            "n_clusters": [2, 3],
            # The better one did not converge and must not be quoted.
            "silhouette": [silhouette, 0.9],
        }
    )


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


def _clusters(sizes: list[int]) -> pd.DataFrame:
    numbers = np.repeat(np.arange(len(sizes)) + 1, sizes)
    return pd.DataFrame({"subject": [str(i) for i in range(len(numbers))], "cluster": numbers})


def test_verdict_names_what_differs_with_its_effect() -> None:
    verdict = judge(
        "jac-ndi",
        clusters=_clusters([25, 15]),
        grid=_grid(),
        comparisons=_comparisons([0.01, 0.2, 0.03], [0.02, 0.2, 0.001]),
        meanings={"factor_03": "Strength"},
    )
    assert verdict.kind == "found"
    assert verdict.found == ["factor_03", "factor_01"]
    assert verdict.headline.startswith("2 of 3 phenotypic factors tested differ between the 2 clusters")
    text = " ".join(verdict.sentences)
    assert (
        "Factor 3 (Strength): η² = 0.30 (95% interval 0.050 to 0.40), q = 0.030, q of the repartition = 0.001"
        in text
    )
    assert "silhouette 0.30, usually read as weak structure" in text
    assert "η² ≈ 0.17" in text
    assert overall([verdict]).startswith(
        "In the one experiment that ran, clusters derived from the images alone differ"
    )


def test_verdict_says_as_plainly_that_nothing_was_found() -> None:
    verdict = judge(
        "x", clusters=_clusters([25, 15]), grid=_grid(), comparisons=_comparisons([0.2, 0.9], [0.3, 0.9])
    )
    assert verdict.kind == "nothing"
    assert verdict.headline.startswith("Nothing was found: none of 2 phenotypic factors tested differs")
    assert "The nearest was Factor 1" in " ".join(verdict.sentences)
    assert overall([verdict]).startswith("Nothing was found")


@pytest.mark.parametrize(("q", "q_repartition"), [(0.01, 0.2), (0.2, 0.01), (0.01, np.nan)])
def test_one_test_alone_claims_nothing(q: float, q_repartition: float) -> None:
    verdict = judge(
        "x", clusters=_clusters([25, 15]), comparisons=_comparisons([q, 0.9], [q_repartition, 0.9])
    )
    assert verdict.found == []
    assert verdict.kind == "mixed"
    assert "Factor 1" in " ".join(verdict.cautions)
    assert overall([verdict]).startswith("Nothing was found")


def test_no_repartition_no_claim() -> None:
    verdict = judge("x", clusters=_clusters([25, 15]), comparisons=_comparisons([0.001], [np.nan]))
    assert (verdict.kind, verdict.found) == ("unknown", [])


def test_no_clusters_is_said_and_counts_as_nothing() -> None:
    verdict = judge("x", clusters=_clusters([40]), grid=_grid(converged=False), comparisons=None)
    assert verdict.kind == "nothing"
    assert verdict.clusters == 1
    assert verdict.headline.startswith("No clusters were found")
    assert verdict.silhouette is None


def test_small_clusters_and_outliers_against_the_rest_are_flagged() -> None:
    assert small_clusters({1: 600, 2: 7, 3: 4}) == [3]
    assert small_clusters({1: 960, 2: 7}) == [2]
    verdict = judge("x", clusters=_clusters([96, 4]), grid=_grid(0.7), comparisons=None)
    cautions = " ".join(verdict.cautions)
    assert "2 (n = 4)" in cautions
    assert "One cluster holds 96%" in cautions


def test_low_silhouettes_and_skip_connections_are_cautioned() -> None:
    low = judge("x", clusters=_clusters([20, 20]), grid=_grid(0.1), comparisons=None)
    assert "does not show that separate groups of people exist" in " ".join(low.cautions)
    skip = judge(
        "x", clusters=_clusters([20, 20]), grid=_grid(0.6), experiment={"options": {"skip_connections": True}}
    )
    assert "no claim about embeddings rests on it" in " ".join(skip.cautions)
    plain = judge(
        "x",
        clusters=_clusters([20, 20]),
        grid=_grid(0.6),
        experiment={"options": {"skip_connections": False}},
    )
    assert plain.cautions == []


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


def test_methods_follow_the_configuration() -> None:
    config = report_fixture.make_config(["phenotypes.tsv"])
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
    config["registration"] = section_defaults("registration")
    assert "SyN" in dict(methods_paragraphs(config))["Anatomy"]
    assert "drawn at random" not in text["Strata"]
    config["strata"] = {"clustering": {"sample": 500}}
    assert "at most 500 people, drawn at random" in dict(methods_paragraphs(config))["Strata"]
    config["registration"]["engine"] = "torch"
    assert "own, in torch) after rigid and affine steps" in dict(methods_paragraphs(config))["Anatomy"]


def test_methods_need_no_key_at_all() -> None:
    assert methods_paragraphs({}) == []
    assert all(len(line) == 3 for line in deviations({}))
    assert training_values({}, {}) == {}


def test_deviations_are_those_of_this_run() -> None:
    config = report_fixture.make_config(["p.tsv"])
    topics = {topic: run for topic, _, run in deviations(config)}
    assert topics["Registration"].startswith("greedy")
    assert topics["Template iterations"] == "3"
    assert "jac-ndi" in topics["Skip connections"]
    assert topics["Training: epochs"] == "3 in jac-ndi"
    assert "Intensity limits" in topics
    assert "People clustered" not in topics
    sampled = {topic: run for topic, _, run in deviations({"strata": {"clustering": {"sample": 500}}})}
    assert sampled["People clustered"].startswith("at most 500, drawn at random")
    paper = {
        "registration": {"engine": "ants"},
        "template": {"iterations": 5},
        "training": {"preset": "paper"},
        "experiments": [
            {
                "name": "a",
                "model": "separable_autoencoder",
                "limits": "cohort",
                "options": {"skip_connections": True},
            }
        ],
    }
    none = {topic for topic, _, _ in deviations(paper)}
    assert not none & {
        "Registration",
        "Template iterations",
        "Skip connections",
        "Intensity limits",
        "Training: epochs",
        "Training: batch size",
    }


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
    text = dict(methods_paragraphs(config))
    assert "sites (column scanner) were harmonised by ComBat" in text["Experiment e"]
    assert "keeping the effects of age and sex. Linear effects of age" in text["Experiment e"]
    assert "were removed after that." in text["Experiment e"]
    assert "PET: images in MNI152 space" in text["Maps"]
    config["experiments"][0]["analyses"] = {"prediction": ["diagnosis"], "harmonise": None, "covariates": []}
    config["modalities"]["pet"]["space"] = "t1w"
    text = dict(methods_paragraphs(config))
    assert "ComBat" not in text["Experiment e"]
    assert "MNI152" not in text.get("Maps", "")
