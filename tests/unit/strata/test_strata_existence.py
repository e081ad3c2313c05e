"""Mixtures, and whether there are groups: against scikit-learn, planted groups, and data without any."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from neurostrata.core.config import section_defaults
from neurostrata.core.families import family_sample
from neurostrata.strata.commands import cluster, existence, stability
from neurostrata.strata.existence.comparison_with_null import compare_with_null
from neurostrata.strata.existence.membership import describe_membership, discriminant
from neurostrata.strata.existence.relatives import RotatedFamilies
from neurostrata.strata.existence.stability import best_jaccard, find_again
from neurostrata.strata.existence.unimodal import KINDS, UnimodalNull, unimodal_margin
from neurostrata.strata.finders.interface import Finding
from neurostrata.strata.finders.mixture import (
    Mixture,
    averaged,
    component_numbers,
    principal_scores,
    whiten,
    without_heavy_tails,
)
from neurostrata.strata.finders.mixture_fit import fit_mixture

OPTIONS = {**section_defaults("strata")["mixture"], "starts": 20, "reference_draws": 20}


def groups(sizes=(40, 30, 20), apart=5.0, dimensions=10, seed=0):
    """Codes of very unequal spread in which groups differ in directions of little spread, where k-means is blind."""
    generator = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    centres = np.zeros((len(sizes), dimensions))
    centres[:, 3 : 3 + len(sizes)] = np.eye(len(sizes)) * apart / np.sqrt(2)
    values = centres[truth] + generator.standard_normal((len(truth), dimensions))
    spread = np.geomspace(40, 1, dimensions)
    order = generator.permutation(len(truth))
    return (values * spread)[order], truth[order]


@pytest.mark.parametrize("k", [2, 3, 4])
def test_a_fit_has_scikit_learns_likelihood(k):
    values, _ = groups(apart=3.0)
    white = whiten(values)
    gain, share = fit_mixture(white, k, 400, 1)
    own = GaussianMixture(k, covariance_type="tied", n_init=50, random_state=0, tol=1e-6, max_iter=500).fit(
        white
    )
    one = GaussianMixture(1, covariance_type="tied").fit(white)
    reference = len(white) * (own.score(white) - one.score(white))
    assert gain >= reference - 0.3
    np.testing.assert_allclose(share.sum(axis=1), 1)
    # the memberships belong to that likelihood: one more step of scikit-learn from them changes nothing
    again = GaussianMixture(
        k,
        covariance_type="tied",
        weights_init=share.mean(axis=0),
        means_init=share.T @ white / share.sum(axis=0)[:, None],
        precisions_init=np.linalg.inv(
            np.eye(white.shape[1])
            - (share.T @ white).T @ np.diag(1 / share.sum(axis=0)) @ (share.T @ white) / len(white)
        ),
        tol=1e-6,
        max_iter=500,
    ).fit(white)
    assert len(white) * (again.score(white) - one.score(white)) == pytest.approx(gain, abs=0.3)


def test_the_likelihood_ratio_does_not_know_the_covariance():
    values, _ = groups(apart=3.0)
    turned = values @ np.random.default_rng(1).standard_normal((10, 10))
    gains = [fit_mixture(whiten(v), 3, 50, 1)[0] for v in (values, turned)]
    assert gains[0] == pytest.approx(gains[1], abs=0.3)


def test_groups_are_found_where_kmeans_is_blind():
    from sklearn.cluster import KMeans

    values, truth = groups()
    finding = Mixture(OPTIONS, 1).find(values)
    assert finding.number == 3
    assert adjusted_rand_score(truth, finding.clusters) > 0.85
    assert adjusted_rand_score(truth, KMeans(3, n_init=10, random_state=0).fit_predict(values)) < 0.3
    assert list(np.bincount(finding.clusters)[1:]) == sorted(np.bincount(finding.clusters)[1:], reverse=True)
    # the membership's columns are in the order of the numbers
    np.testing.assert_array_equal(finding.membership.argmax(axis=1) + 1, finding.clusters)
    search = finding.search
    best = search.loc[search["evidence"].idxmax()]
    assert best["n_clusters"] == 3
    assert finding.statistic == pytest.approx(best["evidence"])
    assert set(search.loc[search["used"] == "yes", "n_clusters"]) == {3}
    again = Mixture(OPTIONS, 1, threads=2).find(values)
    np.testing.assert_array_equal(again.clusters, finding.clusters)
    assert again.statistic == finding.statistic


def test_averaged_memberships_are_matched():
    first = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]])
    second = first[:, ::-1]
    mean = averaged({0: first, 1: second}, np.array([2.0, 1.0]))
    np.testing.assert_allclose(mean, first)


def test_components_suit_the_number_of_people():
    assert component_numbers(80, 256, [4, 6, 8, 12, 16]) == (4, 6, 8, 12)
    assert component_numbers(300, 5, [4, 6, 8]) == (4, 5)  # as many as are allowed
    assert component_numbers(20, 256, [4, 6]) == (2, 3)
    assert component_numbers(300, 256, [6]) == (6,)
    assert component_numbers(5, 256, [4, 6]) == ()


def test_people_far_out_are_no_group():
    generator = np.random.default_rng(3)
    values = generator.standard_normal((90, 8)) / np.sqrt(generator.chisquare(3, (90, 1)) / 3)
    values[5] += 50
    white = without_heavy_tails(whiten(values))
    np.testing.assert_allclose(white.T @ white / 90, np.eye(8), atol=1e-9)
    assert np.linalg.norm(white, axis=1).max() < 6
    calm = generator.standard_normal((90, 8))
    np.testing.assert_allclose(without_heavy_tails(whiten(calm)), whiten(calm), atol=0.6)


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).standard_t(3, 400),
        np.concatenate([np.random.default_rng(0).normal(m, 1, 200) for m in (-3, 3)]),
        np.random.default_rng(0).exponential(1, 400),
    ],
    ids=["heavy tails", "two modes", "skewed"],
)
def test_a_margin_is_unimodal_and_like_the_values(values):
    margin = unimodal_margin(values)
    density = np.diff(margin.cumulative)
    mode = density.argmax()
    assert (np.diff(density[: mode + 1]) >= -1e-12).all()
    assert (np.diff(density[mode:]) <= 1e-12).all()
    drawn = margin.draw(np.random.default_rng(1), 20000)
    assert drawn.mean() == pytest.approx(values.mean(), abs=0.15 * values.std())
    for share in (2, 25, 50, 75, 98):
        near = np.percentile(values, [max(share - 20, 0.5), min(share + 20, 99.5)])
        assert near[0] - 0.5 <= np.percentile(drawn, share) <= near[1] + 0.5
    assert drawn.std() == pytest.approx(values.std(), rel=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_data_without_groups_have_the_codes_covariance(kind):
    values, truth = groups(sizes=(200, 150, 100))
    null = UnimodalNull(values, truth, None, kind)
    drawn = np.concatenate([null.draw(np.random.default_rng(draw)) for draw in range(20)])
    wanted = np.cov(values.T)
    scale = np.sqrt(np.outer(np.diag(wanted), np.diag(wanted)))
    assert np.abs((np.cov(drawn.T) - wanted) / scale).max() < 0.15
    one = null.draw(np.random.default_rng(0))
    assert one.shape == values.shape
    # the groups are gone
    assert Mixture(OPTIONS, 1).find(one).statistic < 0.5 * Mixture(OPTIONS, 1).find(values).statistic


def relatives(families=30, shared=0.8, dimensions=8, seed=0):
    """Codes without groups of families of three, who are alike."""
    generator = np.random.default_rng(seed)
    family = np.repeat(np.arange(families), 3)
    common = generator.standard_normal((families, dimensions))[family]
    values = np.sqrt(shared) * common + np.sqrt(1 - shared) * generator.standard_normal(
        (len(family), dimensions)
    )
    return values, [f"f{number}" for number in family]


def resemblance(values, families):
    """Intraclass correlation of relatives in the leading components, their mean."""
    white = principal_scores(values, 3)
    white = (white - white.mean(axis=0)) / white.std(axis=0)
    number = np.unique(families, return_inverse=True)[1]
    sums = np.zeros((number.max() + 1, 3))
    np.add.at(sums, number, white)
    size = np.bincount(number)
    return (((sums**2).sum(axis=0) - (white**2).sum(axis=0)) / (size * (size - 1)).sum()).mean()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("shared", "families", "dimensions"), [(0.6, 300, 8), (0.9, 30, 30), (0.6, 30, 30)])
def test_relatives_are_as_alike_without_groups_as_they_are(kind, shared, families, dimensions):
    values, names = relatives(families, shared, dimensions)
    labels = np.arange(len(values)) % 2
    null = UnimodalNull(values, labels, None, kind, names)
    drawn = [null.draw(np.random.default_rng(seed)) for seed in range(5)]
    assert np.mean([resemblance(one, names) for one in drawn]) == pytest.approx(
        resemblance(values, names), abs=0.04
    )
    # and the draws are not the people themselves
    assert max(np.abs(np.corrcoef(one[:, 0], values[:, 0])[0, 1]) for one in drawn) < 0.6
    alone = UnimodalNull(values, labels, None, kind, [""] * len(values))
    assert abs(resemblance(alone.draw(np.random.default_rng(1)), names)) < 0.15


def test_rotated_families_keep_the_covariance_between_and_within_families():
    generator = np.random.default_rng(3)
    family = generator.permutation(np.repeat(np.arange(24), [1] * 10 + [2] * 8 + [3] * 5 + [5]))
    values = generator.gamma(2.0, size=(len(family), 40)) + generator.standard_normal((24, 40))[family]
    draws = [RotatedFamilies(values, family).draw(np.random.default_rng(seed)) for seed in (1, 2)]
    size = np.bincount(family)[family]
    for drawn in draws:
        np.testing.assert_allclose(drawn.mean(axis=0), values.mean(axis=0))
        for number in np.unique(size):
            rows = np.flatnonzero(size == number)
            parts = []
            for one in (values, drawn):
                means = np.stack([one[family == f].mean(axis=0) for f in np.unique(family[rows])])
                inner = one[rows] - np.stack([one[family == f].mean(axis=0) for f in family[rows]])
                parts.append((np.cov(means.T, bias=True), inner.T @ inner))
            np.testing.assert_allclose(parts[0][0], parts[1][0], atol=1e-10)
            np.testing.assert_allclose(parts[0][1], parts[1][1], atol=1e-9)
    assert np.abs(draws[0] - draws[1]).mean() > 0.5
    # members are turned about their family's mean, and remain as near to each other as they are
    for number in np.flatnonzero(np.bincount(family) > 2):
        own, *turned = (
            one[family == number] - one[family == number].mean(axis=0) for one in (values, *draws)
        )
        for inner in turned:
            np.testing.assert_allclose(own.T @ own, inner.T @ inner, atol=1e-9)
            assert np.abs(inner - own).max() > 0.1


def test_a_rotation_of_unrelated_people_is_as_random_as_white_noise():
    values = np.linalg.qr(np.random.default_rng(0).standard_normal((60, 3)))[0]
    values -= values.mean(axis=0)
    null = RotatedFamilies(values, np.arange(60))
    first = np.array([null.draw(np.random.default_rng(seed))[:2, 0] for seed in range(4000)]) * np.sqrt(60)
    np.testing.assert_allclose(first.mean(axis=0), 0, atol=0.06)
    np.testing.assert_allclose(np.cov(first.T), np.eye(2) * (values[:, 0] ** 2).sum(), atol=0.08)


def test_families_alone_are_no_groups():
    claimed = {True: 0, False: 0}
    for seed in range(6):
        values, families = relatives(seed=seed)
        finder = Mixture(OPTIONS, 1)
        finding = finder.find(values)
        for known in claimed:
            p = compare_with_null(finder, values, finding, 19, 1, families if known else None).p
            claimed[known] += p <= 0.05
    assert claimed[True] <= 1
    assert claimed[False] >= 3  # what knowing the families prevents


def p_value(values, draws=39):
    finder = Mixture(OPTIONS, 1)
    return compare_with_null(finder, values, finder.find(values), draws, 1).p


def test_draws_are_as_skewed_as_codes_that_are_uncorrelated_in_the_sample():
    # principal components of the same people; draws that are uncorrelated on average only mix them and lose the skew
    generator = np.random.default_rng(2)
    normal = np.linalg.svd(generator.standard_normal((80, 20)), full_matrices=False)[0] * np.sqrt(80)
    codes = np.exp(0.314 * normal) * np.geomspace(2, 1, 20)
    null = UnimodalNull(codes, np.zeros(80, dtype=int), None, "margins")
    loose = UnimodalNull(codes, np.zeros(80, dtype=int), None, "directions")
    finder = Mixture(OPTIONS, 1).quick(codes)
    strict, average = (
        np.mean([finder.find(n.draw(np.random.default_rng(draw))).statistic for draw in range(10)])
        for n in (null, loose)
    )
    assert strict > average + 1


def test_groups_exist_where_there_are_groups():
    assert p_value(groups(apart=8.0)[0]) == pytest.approx(1 / 40)


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "skewed", "continuum"])
def test_no_groups_are_claimed_in_data_without_any(kind):
    generator = np.random.default_rng(5)
    claimed = 0
    for _ in range(5):
        values = generator.standard_normal((80, 8))
        if kind == "heavy tails":
            values = values / np.sqrt(generator.chisquare(4, (80, 1)) / 4)
        elif kind == "skewed":
            values = np.exp(0.3 * values)
        elif kind == "continuum":
            values[:, 0] = generator.uniform(-6, 6, 80)
            values = values @ np.linalg.qr(generator.standard_normal((8, 8)))[0]
        claimed += p_value(values, 19) <= 0.05
    assert claimed <= 1


def test_ending_early_changes_no_claim():
    values = np.random.default_rng(8).standard_normal((60, 6))
    finder = Mixture(OPTIONS, 1)
    finding = finder.find(values)
    whole = compare_with_null(finder, values, finding, 19, 1)
    early = compare_with_null(finder, values, finding, 19, 1, enough=2)
    assert whole.p > 0.05
    assert len(early.null) < len(whole.null)
    assert early.p > 0.05
    pd.testing.assert_frame_equal(early.null, whole.null.iloc[: len(early.null)])


def test_threads_do_not_change_the_test():
    values, _ = groups(sizes=(25, 20, 15))
    tables = []
    for threads in (1, 2):
        finder = Mixture(OPTIONS, 1, threads)
        tables.append(compare_with_null(finder, values, finder.find(values), 19, 1).null)
    pd.testing.assert_frame_equal(*tables)


def test_distances_and_probabilities_are_those_of_a_discriminant():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    values, truth = groups(sizes=(400, 300, 200), apart=2.0, dimensions=6)
    squared, posterior = discriminant(values, truth)
    reference = LinearDiscriminantAnalysis(solver="lsqr").fit(values, truth)
    np.testing.assert_allclose(posterior, reference.predict_proba(values), atol=0.09)
    own = squared[np.arange(len(truth)), truth]
    # chi-square with as many degrees of freedom as components
    assert own.mean() == pytest.approx(6, rel=0.05)
    member = describe_membership(values, Finding(truth + 1, 0.0, pd.DataFrame(), components=6))
    assert np.percentile(member.typicality, 50) == pytest.approx(0.5, abs=0.1)


def test_jaccard_index_of_the_most_similar_cluster():
    first = np.array([1, 1, 1, 1, 2, 2, 3])
    again = np.array([2, 2, 2, 1, 1, 1, 3])
    np.testing.assert_allclose(best_jaccard(first, again, 3), [3 / 4, 2 / 3, 1])
    np.testing.assert_allclose(best_jaccard(np.array([1, 3, 3]), np.array([1, 1, 2]), 3), [0.5, np.nan, 0.5])


def test_families_are_drawn_whole():
    families = ["a", "a", "", "b", "b", "", "a"]
    sizes = []
    for draw in range(200):
        rows = set(family_sample(families, np.random.default_rng(draw)))
        assert rows & {0, 1, 6} in ({0, 1, 6}, set())
        assert rows & {3, 4} in ({3, 4}, set())
        sizes.append(len(rows))
    assert 0.55 < np.mean(sizes) / 7 < 0.75


def test_clear_clusters_come_back_and_those_of_chance_do_not():
    tables = {}
    for name, apart in (("clear", 6.0), ("none", 0.0)):
        values, _ = groups(apart=apart)
        finder = Mixture(OPTIONS, 1)
        found = finder.find(values).clusters
        half = np.arange(0, len(values), 2)
        tables[name] = find_again(
            finder, values, found, [""] * len(values), {"fold-0": (half, values[half])}, 10, 1
        )
    clear, none = (tables[k][tables[k]["repeated"] == "bootstrap"] for k in ("clear", "none"))
    assert clear["jaccard"].min() > 0.85
    assert none["jaccard"].mean() < 0.75
    assert set(tables["clear"]["repeated"]) == {"bootstrap", "seed", "fold"}
    assert tables["clear"].query("repeated == 'seed'")["jaccard"].min() > 0.9
    assert (clear["repeats"] == 10).all()


def test_commands_write_existence_and_stability(tmp_path):
    values, _ = groups(apart=8.0)
    subjects = [f"{k:03d}" for k in range(len(values))]
    frame = pd.DataFrame(values, columns=[f"z{j + 1:04d}" for j in range(values.shape[1])])
    frame.insert(0, "subject", subjects)
    frame.to_csv(tmp_path / "codes.tsv", sep="\t", index=False)
    (tmp_path / "fold-0").mkdir()
    frame.iloc[:80].to_csv(tmp_path / "fold-0" / "embeddings.tsv", sep="\t", index=False)
    age = np.random.default_rng(1).uniform(20, 60, len(values))
    pd.DataFrame({"subject": subjects, "family": "", "age": age}).to_csv(
        tmp_path / "people.tsv", sep="\t", index=False
    )
    section = section_defaults("strata")
    settings = {
        "finder": "mixture",
        "options": OPTIONS,
        "small_clusters": section["small_clusters"],
        "outliers": section["outliers"],
        "existence": {"draws": 19, "alpha": 0.05},
        "stability": {"draws": 10},
        "adjust": {"columns": ["age"], "sites": None, "splines": 1},
        "seed": 1,
    }
    common = {
        "embeddings": tmp_path / "codes.tsv",
        "clusters": tmp_path / "clusters.tsv",
        "settings": settings,
    }
    cluster(search=tmp_path / "search.tsv", **common)
    people = {"people": tmp_path / "people.tsv"}
    existence(output=tmp_path / "existence.tsv", null=tmp_path / "null.tsv", **people, **common)
    stability(
        folds=[tmp_path / "fold-0" / "embeddings.tsv"],
        output=tmp_path / "stability.tsv",
        **people,
        **common,
    )
    row = pd.read_csv(tmp_path / "existence.tsv", sep="\t").iloc[0]
    assert (row["claimed"], row["n_clusters"], row["draws"]) == ("yes", 3, 19)
    assert row["p"] == pytest.approx(0.05)
    null = pd.read_csv(tmp_path / "null.tsv", sep="\t")
    assert null["null"].value_counts().to_dict() == {"margins": 19, "directions": 19}
    assert row["p"] == max(row["p_margins"], row["p_directions"]) == row[f"p_{row['null']}"]
    null = null[null["null"] == row["null"]]
    assert ((null["statistic"] >= row["statistic"]).sum() + 1) / 20 == pytest.approx(row["p"])
    table = pd.read_csv(tmp_path / "stability.tsv", sep="\t")
    assert set(table["repeated"]) == {"bootstrap", "seed", "fold"}
    assert json.loads((tmp_path / "clusters.json").read_text())["components"] in (4, 6, 8)
