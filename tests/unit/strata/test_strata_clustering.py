"""The affinity propagation grid against scikit-learn, and what is chosen from it."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn import cluster as scikit_learn
from sklearn.cluster import affinity_propagation
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score, silhouette_score

from neurostrata.core.config import load_schema, schema_problems, section_defaults
from neurostrata.core.errors import UserError
from neurostrata.strata.commands import cluster, map_people
from neurostrata.strata.finders import propagation
from neurostrata.strata.finders.affinity import (
    Propagation,
    damping_grid,
    preference_grid,
    run_grid,
    squared_distances,
)
from neurostrata.strata.finders.affinity_propagation import AffinityPropagation
from neurostrata.strata.finders.labels import canonical, number_by_size
from neurostrata.strata.finders.silhouettes import silhouette
from neurostrata.strata.tsne import tsne_map, tsne_perplexity

SIZES = (30, 18, 12)


def find_clusters(values, options, seed, threads=1):
    return AffinityPropagation(options, seed, threads).find(values)


def reduced(preferences=20, dampings=5, **changes):
    settings = section_defaults("strata")["affinity_propagation"]
    settings["damping"]["steps"] = dampings
    settings["preference"]["steps"] = preferences
    return {**settings, **changes}


def embeddings(sizes=SIZES, distance=6.0, dimensions=8, seed=0):
    """People in groups whose centres are `distance` within-group standard deviations apart."""
    generator = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    centres = np.eye(len(sizes), dimensions) * distance / np.sqrt(2)
    order = generator.permutation(len(truth))
    values = centres[truth] + generator.standard_normal((len(truth), dimensions))
    return values[order], truth[order]


def test_the_papers_grid():
    settings = section_defaults("strata")["affinity_propagation"]
    assert (settings["damping"]["steps"], settings["preference"]["steps"]) == (10, 1000)
    np.testing.assert_allclose(damping_grid(0.5, 1.0, 10), np.arange(0.5, 0.96, 0.05))
    similarities = -squared_distances(embeddings()[0])
    grid = preference_grid(similarities, 1, 99, 1000)
    off = similarities[~np.eye(len(similarities), dtype=bool)]
    assert (len(grid), grid[0], grid[-1]) == (1000, np.percentile(off, 1), np.percentile(off, 99))


@pytest.mark.filterwarnings("ignore:Affinity propagation did not converge")
@pytest.mark.parametrize("max_iter", [1000, 40])
def test_every_setting_gives_scikit_learns_labels(max_iter):
    values, _ = embeddings(distance=2.5)
    similarities = -squared_distances(values)
    dampings, preferences = damping_grid(0.5, 1, 4), preference_grid(similarities, 1, 99, 15)
    converged = []
    for setting in run_grid(similarities, dampings, preferences, max_iter, 15, seed=7):
        model = scikit_learn.AffinityPropagation(
            damping=setting.damping, preference=setting.preference, max_iter=max_iter, random_state=7
        )
        model.fit(values)
        assert setting.n_iter == model.n_iter_
        assert setting.n_clusters == len(model.cluster_centers_indices_)
        np.testing.assert_array_equal(setting.exemplars, model.cluster_centers_indices_)
        np.testing.assert_array_equal(setting.labels, model.labels_)
        converged.append(setting.converged)
    assert len(converged) == 60
    assert all(converged) == (max_iter == 1000)
    assert any(converged) or max_iter == 40


def of_scikit_learn(similarities, damping, preference, max_iter, seed):
    """Labels, exemplars, iterations, converged."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exemplars, labels, iterations = affinity_propagation(
            similarities,
            damping=damping,
            preference=preference,
            max_iter=max_iter,
            random_state=seed,
            return_n_iter=True,
        )
    converged = not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    return list(labels), list(exemplars), iterations, converged


@pytest.mark.parametrize("case", ["people twice", "three people", "many", "all alike"])
def test_awkward_similarities_give_scikit_learns_labels(case):
    generator = np.random.default_rng(5)
    values = generator.standard_normal((90, 4))
    if case == "people twice":
        values = np.repeat(np.round(values[:45], 1), 2, axis=0)
    elif case == "three people":
        values = values[:3]
    elif case == "many":
        values = generator.standard_normal((300, 3))
    else:
        values = np.eye(12)
    similarities = -squared_distances(values)
    if case == "all alike":
        similarities = np.round(similarities, 6)
    propagation = Propagation(similarities, 200, 15, seed=3)
    for damping in (0.5, 0.75, 0.95):
        for preference in preference_grid(similarities, 1, 99, 6):
            setting = propagation.run(damping, preference)
            found = (
                list(setting.labels),
                list(setting.exemplars),
                setting.n_iter,
                setting.converged,
            )
            wanted = of_scikit_learn(similarities, damping, preference, 200, 3)
            assert found == wanted


@pytest.mark.parametrize("whole_rows_from", [0.0, 2.0], ids=["whole rows", "active pairs"])
def test_both_ways_of_passing_messages_give_scikit_learns_labels(monkeypatch, whole_rows_from):
    # Uncompiled, where the constant still counts; neither way leaves the other anything to do.
    monkeypatch.setattr(propagation, "WHOLE_ROWS_FROM", whole_rows_from)
    monkeypatch.setattr(propagation, "pass_messages", propagation.pass_messages.py_func)
    called = []
    for name in ("_pass_rows", "_pass_active"):
        compiled = getattr(propagation, name)
        monkeypatch.setattr(
            propagation, name, lambda *given, n=name, f=compiled: (called.append(n), f(*given))[1]
        )
    similarities = -squared_distances(embeddings()[0])
    for damping, percentile in ((0.5, 50), (0.9, 1)):
        preference = float(np.percentile(similarities, percentile))
        setting = Propagation(similarities, 200, 15, seed=3).run(damping, preference)
        found = (list(setting.labels), list(setting.exemplars), setting.n_iter, setting.converged)
        assert found == of_scikit_learn(similarities, damping, preference, 200, 3)
    assert ("_pass_active" if whole_rows_from else "_pass_rows") in called
    assert called.count("_pass_active" if not whole_rows_from else "_pass_rows") <= 2


def test_a_sample_gives_everybody_a_cluster():
    values, truth = embeddings(sizes=(90, 60, 30))
    whole, part = (find_clusters(values, reduced(sample=size), seed=1) for size in (180, 60))
    np.testing.assert_array_equal(whole.clusters, find_clusters(values, reduced(), seed=1).clusters)
    assert (whole.facts["clustered"], part.facts["clustered"]) == (180, 60)
    assert adjusted_rand_score(truth, part.clusters) >= 0.95
    assert len(part.clusters) == 180
    for number in np.unique(part.clusters):
        assert len(np.unique(part.exemplars[part.clusters == number])) == 1
    distances = squared_distances(values)
    nearest = distances[:, np.unique(part.exemplars)].argmin(axis=1)
    np.testing.assert_array_equal(np.unique(part.exemplars)[nearest], part.exemplars)
    other = find_clusters(values, reduced(sample=60), seed=2)
    assert not np.array_equal(np.unique(other.exemplars), np.unique(part.exemplars))


def test_convergence_is_told():
    similarities = -squared_distances(embeddings()[0])
    short = Propagation(similarities, 5, 15, 1).run(0.9, float(np.median(similarities)))
    assert (short.converged, short.n_iter) == (False, 5)
    long = Propagation(similarities, 1000, 15, 1).run(0.9, float(np.median(similarities)))
    assert long.converged
    assert long.n_iter < 1000


@pytest.mark.slow
def test_threads_do_not_change_the_result():
    values, _ = embeddings(distance=3)
    one = find_clusters(values, reduced(), seed=1, threads=1)
    two = find_clusters(values, reduced(), seed=1, threads=2)
    pd.testing.assert_frame_equal(one.search, two.search, check_exact=True)
    np.testing.assert_array_equal(one.clusters, two.clusters)
    np.testing.assert_array_equal(one.exemplars, two.exemplars)
    assert one.facts == two.facts


def test_silhouette_is_scikit_learns():
    values, truth = embeddings(distance=2)
    distances = np.sqrt(squared_distances(values))
    generator = np.random.default_rng(0)
    for labels in (truth, generator.integers(4, size=len(truth)), np.r_[np.zeros(59, int), 1]):
        wanted = silhouette_score(distances, labels, metric="precomputed")
        assert silhouette(distances, labels) == pytest.approx(wanted, abs=1e-12)
    many = np.r_[np.arange(50), np.full(10, 50)]
    assert silhouette(distances, many) == pytest.approx(silhouette_score(values, many), abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_planted_strata_are_found(seed):
    values, truth = embeddings(sizes=(40, 25, 15, 10), seed=seed)
    result = find_clusters(values, reduced(), seed=1)
    assert result.reason is None
    assert adjusted_rand_score(truth, result.clusters) >= 0.95
    assert list(np.bincount(result.clusters)[1:]) == sorted(np.bincount(result.clusters)[1:], reverse=True)
    row = result.search[
        (result.search["damping"] == result.facts["damping"])
        & (result.search["preference"] == result.facts["preference"])
    ].iloc[0]
    eligible = result.search[result.search["converged"] & result.search["n_clusters"].between(2, 89)]
    assert row["silhouette"] == eligible["silhouette"].max() == result.statistic
    for number in np.unique(result.clusters):
        exemplar = np.unique(result.exemplars[result.clusters == number])
        assert len(exemplar) == 1
        assert result.clusters[exemplar[0]] == number


def test_without_planted_strata_the_truth_is_not_found():
    values, truth = embeddings(distance=0.0)
    result = find_clusters(values, reduced(), seed=1)
    assert adjusted_rand_score(truth, result.clusters) < 0.2


@pytest.mark.parametrize(
    ("values", "changes", "reason"),
    [
        (embeddings()[0], {"max_iter": 3}, "none of 100 settings converged"),
        (np.zeros((10, 4)), {}, "none of the 100 settings that converged gave 2 to 9 clusters"),
        (np.zeros((2, 4)), {}, "2 people cannot be divided"),
        (np.zeros((1, 4)), {}, "1 people cannot be divided"),
    ],
)
def test_when_nothing_is_found_everybody_is_in_one_cluster(values, changes, reason):
    result = find_clusters(values, reduced(**changes), seed=1)
    assert reason in result.reason
    assert result.statistic == -np.inf
    assert (result.clusters == 1).all()
    json.dumps(result.facts, allow_nan=False)


def test_numbering():
    np.testing.assert_array_equal(canonical(np.array([5, 2, 5, 9])), [0, 1, 0, 2])
    np.testing.assert_array_equal(number_by_size(np.array([0, 1, 1, 2, 2, 2, 3])), [3, 2, 2, 1, 1, 1, 4])


def test_tsne_is_reproducible_and_copes_with_few_people():
    values, truth = embeddings(distance=20)
    first = tsne_map(values, 8, 500, seed=3)
    np.testing.assert_array_equal(first, tsne_map(values, 8, 500, seed=3))
    assert silhouette_score(first, truth) > 0.5
    assert tsne_perplexity(24, 30) == pytest.approx(23 / 3)
    for n, dimensions in ((1, 5), (2, 5), (4, 1), (6, 1), (6, 3)):
        places = tsne_map(np.random.default_rng(0).standard_normal((n, dimensions)), 30, 250, seed=1)
        assert places.shape == (n, 2)
        assert np.isfinite(places).all()
    assert not tsne_map(np.ones((8, 3)), 30, 250, seed=1).any()


def write_embeddings(path, values, subjects=None):
    frame = pd.DataFrame(values, columns=[f"z{j + 1:04d}" for j in range(values.shape[1])])
    frame.insert(0, "subject", subjects or [f"{k:03d}" for k in range(len(values))])
    frame.insert(1, "role", "train")
    frame.to_csv(path, sep="\t", index=False, na_rep="n/a")


def settings_of(finder="affinity_propagation", **changes):
    section = section_defaults("strata")
    kept = {key: section[key] for key in ("small_clusters", "outliers", "existence", "stability")}
    options = reduced() if finder == "affinity_propagation" else section[finder]
    return {"finder": finder, "options": {**options, **changes}, **kept, "seed": 1}


def test_commands_write_clusters_and_picture(tmp_path):
    values, truth = embeddings()
    write_embeddings(tmp_path / "embeddings.tsv", values)
    cluster(
        embeddings=tmp_path / "embeddings.tsv",
        search=tmp_path / "search.tsv",
        clusters=tmp_path / "clusters.tsv",
        settings=settings_of(),
    )
    map_people(
        embeddings=tmp_path / "embeddings.tsv",
        output=tmp_path / "tsne.tsv",
        settings={**section_defaults("strata"), "seed": 1},
    )
    search = pd.read_csv(tmp_path / "search.tsv", sep="\t")
    assert list(search) == ["damping", "preference", "converged", "n_iter", "n_clusters", "silhouette"]
    clusters = pd.read_csv(tmp_path / "clusters.tsv", sep="\t", dtype={"subject": str, "exemplar": str})
    columns = ["subject", "cluster", "probability", "distance", "typicality", "fits", "exemplar"]
    assert list(clusters) == columns
    assert adjusted_rand_score(truth, clusters["cluster"]) >= 0.95
    assert clusters["exemplar"].isin(clusters["subject"]).all()
    assert (clusters["probability"] > 0.9).mean() > 0.9
    facts = json.loads((tmp_path / "clusters.json").read_text())
    assert facts["found"] is True
    assert facts["n_clusters"] == 3
    assert {"damping", "preference", "statistic", "small_clusters", "settings_converged"} <= set(facts)
    assert list(pd.read_csv(tmp_path / "tsne.tsv", sep="\t")) == ["subject", "x", "y"]


def test_a_lone_outlier_is_a_small_cluster_or_belongs_to_none(tmp_path):
    values = embeddings(sizes=(60, 30))[0]
    values[7] += 60
    write_embeddings(tmp_path / "embeddings.tsv", values)
    out = {"search": tmp_path / "s.tsv", "clusters": tmp_path / "c.tsv"}
    cluster(embeddings=tmp_path / "embeddings.tsv", **out, settings=settings_of())
    facts = json.loads((tmp_path / "c.json").read_text())
    assert facts["cluster_sizes"][-1] == 1
    assert len(facts["cluster_sizes"]) in facts["small_clusters"]
    assert facts["small_cluster_limit"] == 5
    cluster(embeddings=tmp_path / "embeddings.tsv", **out, settings=settings_of("mixture"))
    facts = json.loads((tmp_path / "c.json").read_text())
    assert facts["people_in_no_cluster"] == ["007"]
    assert facts["n_clusters"] == 2
    lenient = {**settings_of("mixture"), "outliers": 0}
    cluster(embeddings=tmp_path / "embeddings.tsv", **out, settings=lenient)
    assert json.loads((tmp_path / "c.json").read_text())["people_in_no_cluster"] == []


def test_bad_embeddings_are_refused(tmp_path):
    values = embeddings()[0]
    values[5, 2] = np.nan
    write_embeddings(tmp_path / "a.tsv", values)
    out = {"search": tmp_path / "g.tsv", "clusters": tmp_path / "c.tsv", "settings": settings_of()}
    with pytest.raises(UserError, match=r"a\.tsv: the embedding of subject 005 has missing"):
        cluster(embeddings=tmp_path / "a.tsv", **out)
    write_embeddings(tmp_path / "b.tsv", values[:4], ["1", "2", "2", "3"])
    with pytest.raises(UserError, match="subject 2 is listed more than once"):
        cluster(embeddings=tmp_path / "b.tsv", **out)
    assert not (tmp_path / "c.tsv").exists()


def test_schema_is_closed_and_its_defaults_valid():
    schema = load_schema("strata")
    assert schema_problems(section_defaults("strata"), schema) == []
    assert schema_problems({"repartition": {"draw": 5}}, schema)
