"""Small cases of the strata that can be worked out by hand."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2, f, f_oneway, kruskal, ncf, ncx2, norm

from neurostrata.adjustment.codes import known_columns
from neurostrata.core.config import COVARIATES, section_defaults
from neurostrata.core.tables import read_table, write_table
from neurostrata.strata.commands import map_people
from neurostrata.strata.comparison.adjusted import (
    compare_adjusted,
    f_noncentrality,
    partial_eta_squared,
    partial_interval,
)
from neurostrata.strata.comparison.agreement import compare_partitions
from neurostrata.strata.comparison.commands import repartition_strata
from neurostrata.strata.comparison.composition import as_numbers, chi_square, cramers_v, describe_clusters
from neurostrata.strata.comparison.covariates import orthonormal
from neurostrata.strata.comparison.kruskal import (
    detectable_eta_squared,
    epsilon_squared,
    eta_squared,
    eta_squared_interval,
    noncentrality,
    rank_factors,
)
from neurostrata.strata.comparison.repartition import COLUMNS as REPARTITION_COLUMNS
from neurostrata.strata.comparison.repartition import Repartition, exceedance_p, repartition, resampled_h
from neurostrata.strata.comparison.shuffles import found_shares, shuffle_links, wilson_interval
from neurostrata.strata.comparison.split_half import one_split
from neurostrata.strata.existence.comparison_with_null import Existence, described
from neurostrata.strata.existence.membership import Membership, describe_membership, distance_components
from neurostrata.strata.existence.stability import best_jaccard, find_again
from neurostrata.strata.existence.unimodal import (
    UnimodalMargin,
    UnimodalNull,
    cluster_directions,
    unimodal_margin,
)
from neurostrata.strata.finders.consensus import ambiguities
from neurostrata.strata.finders.consensus_fit import _kmeans, consensus_matrix
from neurostrata.strata.finders.interface import Finder, Finding, nothing
from neurostrata.strata.finders.labels import number_by_size
from neurostrata.strata.finders.reference import shares_of_clusters, similar_size
from neurostrata.strata.finders.registry import build_finder
from neurostrata.strata.partition import partition_facts, partition_table
from neurostrata.strata.progress import progress_lines
from neurostrata.strata.tsne import tsne_map, tsne_perplexity


class Sign(Finder):
    """Two clusters by the sign of the first number, one where all have the same sign."""

    name, title, measure = "sign", "sign", "largest gap"
    search_columns = {}  # noqa: RUF012

    def find(self, codes, progress=None):
        clusters = np.where(codes[:, 0] > 0, 1, 2)
        clusters = clusters if len(set(clusters)) == 2 else np.ones(len(codes), int)
        return Finding(clusters.astype(np.intp), 0.0, pd.DataFrame(), components=None)


# ------------------------------------------------------------------------------------------- ranks
def test_ranks_and_scale():
    ranked = rank_factors(np.array([[1.0, 5, 5], [3, np.nan, 5], [np.nan, np.nan, 5]]))
    assert ranked.n.tolist() == [2, 1, 3]
    np.testing.assert_array_equal(ranked.ranks[:, 0], [-0.5, 0.5, 0])
    assert ranked.scale[0] == 12 / (2 * 3)
    assert np.isnan(ranked.scale[1:]).all()


def test_effect_sizes_at_their_limits():
    assert eta_squared(10.0, 3, 23) == pytest.approx(8 / 20)
    assert eta_squared(1.0, 3, 23) == 0
    assert epsilon_squared(10.0, 3, 23) == pytest.approx(10 / 22)
    assert eta_squared(1.0, 2, 3) == 0
    for too_few in ((3, 3), (1, 9)):
        assert np.isnan(eta_squared(5.0, *too_few))
        assert np.isnan(eta_squared_interval(5.0, *too_few, 0.95)).all()
        assert np.isnan(detectable_eta_squared(*too_few, 0.05, 0.8))
    assert np.isnan(epsilon_squared(5.0, 1, 9))
    assert epsilon_squared(1.0, 2, 2) == 1
    assert np.isnan(eta_squared_interval(np.nan, 3, 20, 0.95)).all()
    low, high = eta_squared_interval(200.0, 3, 50, 0.95)
    assert high == 1.0
    low, high = eta_squared_interval(20.0, 3, 100, 0.9)
    assert ncx2.sf(20, 2, low * 97) == pytest.approx(0.05)
    assert ncx2.sf(20, 2, high * 97) == pytest.approx(0.95)
    assert noncentrality(1.0, 3, 0.5) == 0.0
    assert ncx2.sf(100, 3, noncentrality(100.0, 3, 0.999999)) == pytest.approx(0.999999)
    found = detectable_eta_squared(3, 100, 0.05, 0.8)
    assert ncx2.sf(chi2.isf(0.05, 2), 2, found * 97) == pytest.approx(0.8)
    assert detectable_eta_squared(3, 5, 0.05, 0.8) == 1


def test_partial_effect_sizes():
    assert partial_eta_squared(4.0, 2, 30) == pytest.approx(6 / 38)
    assert partial_eta_squared(0.5, 2, 30) == 0
    low, high = partial_interval(6.0, 2, 40, 0.9)
    assert ncf.sf(6.0, 2, 40, low * 43 / (1 - low)) == pytest.approx(0.05)
    assert ncf.sf(6.0, 2, 40, high * 43 / (1 - high)) == pytest.approx(0.95)
    assert f_noncentrality(0.5, 2, 40, f.sf(0.5, 2, 40) - 0.01) == 0.0
    assert ncf.sf(30, 2, 40, f_noncentrality(30.0, 2, 40, 0.999999)) == pytest.approx(0.999999)


def test_one_degree_of_freedom_is_left_of_three_people():
    people = pd.DataFrame({"age": [30.0] * 3, "family": ""}, index=["a", "b", "c"])
    clusters = pd.Series([1, 1, 2], index=people.index)
    table, _ = compare_adjusted(clusters, pd.DataFrame({"f": [2.0, 4, 9]}, people.index), people, 19, 0.95, 1)
    assert table["f"][0] == pytest.approx(f_oneway([1, 2], [3]).statistic)  # of the ranks
    assert table["adjusted_for"][0] == "nothing"
    two, _ = compare_adjusted(
        clusters, pd.DataFrame({"f": [2.0, np.nan, 9]}, people.index), people, 19, 0.95, 1
    )
    assert np.isnan(two["f"][0])


def test_bases_leave_out_what_depends_on_the_rest():
    columns = np.array([[1.0, 2, 0], [1, 2, 1], [1, 2, 5]])
    basis = orthonormal(columns)
    assert basis.shape == (3, 2)
    np.testing.assert_allclose(basis.T @ basis, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(basis @ (basis.T @ columns), columns, atol=1e-12)
    assert orthonormal(np.zeros((3, 2))).shape == (3, 0)
    assert orthonormal(np.zeros((3, 0))).shape == (3, 0)
    people = pd.DataFrame(
        {"age": [1, 2], "sex": ["F", "F"], "site": ["a", "b"], "iq": [1, 2], "head_size": np.nan}
    )
    assert known_columns(COVARIATES, people) == ["age", "site"]


def test_draws_with_replacement_by_hand():
    scores = np.array([[1.0, np.nan], [2, np.nan], [2, np.nan], [5, 3.0], [7, np.nan]])
    labels = np.array([0, 0, 1, 1, 1])
    null = resampled_h(scores, labels, 3, 7, np.random.default_rng(4))
    assert np.isnan(null[:, 1]).all()
    generator = np.random.default_rng(4)
    code = np.array([0, 1, 1, 2, 3])
    for row, drawn in zip(null[:, 0], code[generator.integers(5, size=(7, 5))]):
        if len(set(drawn)) == 1:
            assert row == 0
            continue
        ranked = rank_factors(drawn[:, None].astype(float))
        ranks = ranked.ranks[:, 0]
        wanted = sum(ranks[labels == k].sum() ** 2 / (labels == k).sum() for k in (0, 1)) * ranked.scale[0]
        assert row == pytest.approx(wanted)


def test_table_of_repartitions():
    null = np.array([[1.0, 4.0], [3.0, 4.0], [5.0, 7.0]])
    drawn = Repartition(np.array([2.0, 9.0]), np.array([0.75, 0.25]), null, np.array([10.0, 8.0]))
    table = drawn.table(["a", "b"])
    assert list(table.columns) == list(REPARTITION_COLUMNS)
    assert table["null_mean"].tolist() == [3, 5]
    np.testing.assert_allclose(table["null_95"], [4.8, 6.7])
    assert table["q_repartition"].tolist() == [0.75, 0.5]
    none = Repartition(drawn.h, drawn.p, null[:0], drawn.n).table(["a", "b"])
    assert none[["null_mean", "null_95"]].isna().all(axis=None)
    assert none["draws"].tolist() == [0, 0]


def test_a_factor_known_in_one_cluster_alone_is_not_tested():
    scores = np.column_stack([[1.0, 2, 3, np.nan, np.nan, np.nan], [1.0, 2, 3, 4, 5, 6]])
    found = repartition(scores, np.repeat([1, 2], 3), [""] * 6, 50, 1)
    assert np.isnan([found.h[0], found.p[0]]).all()
    assert found.h[1] == pytest.approx(kruskal(*scores[:, 1].reshape(2, 3)).statistic)
    assert 0 < found.p[1] < 0.5


def test_shares_have_wilsons_interval():
    for confidence in (0.95, 0.8):
        z = norm.ppf((1 + confidence) / 2)
        centre, half = (3 + z**2 / 2) / (20 + z**2), z * np.sqrt(3 * 17 / 20 + z**2 / 4) / (20 + z**2)
        assert wilson_interval(3, 20, confidence) == pytest.approx((centre - half, centre + half))
    assert wilson_interval(1, 1)[1] == pytest.approx(1)


def test_p_counts_equal_draws():
    null = np.array([[1.0, 1.0], [2.0, 1.0], [3.0, 1.0]])
    np.testing.assert_allclose(exceedance_p(np.array([2.0, np.nan]), null), [0.75, np.nan])
    assert exceedance_p(np.array([1000.0]), np.array([[1000.0 - 1e-7]])) == 1
    assert exceedance_p(np.array([1000.0]), np.array([[1000.0 - 1e-5]])) == 0.5


# ------------------------------------------------------------------------------------- comparisons
def test_partitions_of_one_cluster_or_of_other_people():
    several = pd.Series([1, 1, 2, 2], index=list("abcd"))
    one = pd.Series([1, 1, 1], index=list("bcd"))
    strangers = pd.Series([1, 2], index=list("xy"))
    table, cells = compare_partitions({("e", "f"): several, ("e", "g"): one, ("h", "f"): strangers})
    assert table["adjusted_rand"].isna().all()
    assert table["n"].tolist() == [3, 0, 0]
    assert table[["k_a", "k_b"]].iloc[0].tolist() == [2, 1]
    assert table["matched"].tolist() == ["2=1", "", ""]
    assert cells[["cluster_a", "cluster_b", "n"]].to_numpy().tolist() == [[1, 1, 1], [2, 1, 2]]
    assert compare_partitions({("e", "g"): one, ("e", "f"): several})[0]["adjusted_rand"].isna().all()


def test_characteristics_of_clusters_by_hand():
    people = pd.DataFrame(
        {
            "family": ["f", "f", "g", "g", "h", ""],
            "site": ["1", "2", "1", "1", "", "1"],
            "age": [20.0, 30, 40, 50, np.nan, 90],
        },
        index=list("abcdex"),
    )
    table = describe_clusters(pd.Series([1, 2, 2, 2, 3], index=list("abcde")), people)
    family = table[table["characteristic"] == "family"]
    assert family[["level", "count", "share", "n"]].to_numpy().tolist() == [
        ["in one cluster", 1, 0.5, 4],
        ["split over clusters", 1, 0.5, 4],
    ]
    site = table[(table["characteristic"] == "site") & (table["level"] == "1")].set_index("cluster")
    assert site["n"].tolist() == [4, 1, 3, 0]
    assert site["count"].tolist() == [3, 1, 2, 0]
    assert site["share"].tolist()[:3] == [0.75, 1, pytest.approx(2 / 3)]
    assert np.isnan(site["share"]["3"])
    age = table[table["characteristic"] == "age"].set_index("cluster")
    assert age["mean"].tolist()[:3] == [35, 20, 40]
    assert age["sd"]["all"] == pytest.approx(np.std([20, 30, 40, 50], ddof=1))
    assert age["sd"].isna().tolist() == [False, True, False, True]
    assert as_numbers("site", people["site"]) is None


def test_tables_of_counts():
    counts = np.array([[[10.0, 20, 0], [20, 10, 0], [0, 0, 0]]])
    assert chi_square(counts).tolist() == [pytest.approx(20 / 3)]
    assert chi_square(np.zeros((2, 2))) == 0
    # Bergsma's correction: phi2 less its mean by chance, and fewer rows and columns
    chance, smaller = 1 / 59, (2 - 1 / 59) - 1
    wanted = np.sqrt((20 / 3 / 60 - chance) / smaller)
    assert cramers_v(np.array(20 / 3), 2, 2, 60) == pytest.approx(wanted)
    assert cramers_v(np.array([0.1, 60.0]), 2, 2, 60).tolist() == [0, 1]
    three = np.sqrt((30 / 60 - 4 / 59) / (3 - 4 / 59 - 1))
    assert cramers_v(np.array(30.0), 3, 3, 60) == pytest.approx(three)
    assert cramers_v(np.array(30.0), 4, 3, 60) == pytest.approx(np.sqrt((0.5 - 6 / 59) / (3 - 4 / 59 - 1)))
    for rows, columns, n in ((1, 3, 20), (3, 1, 20), (2, 2, 1), (2, 2, 2)):
        assert np.isnan(cramers_v(np.array([1.0]), rows, columns, n)).all()


@pytest.mark.parametrize(
    ("changes", "respected", "several"),
    [({}, True, 10), ({"families": False}, False, 0), ({"with_replacement": True}, False, 0)],
)
def test_families_are_respected_unless_people_are_drawn_anew(tmp_path, changes, respected, several):
    generator = np.random.default_rng(0)
    subjects = [f"{number:02d}" for number in range(20)]
    write_table(
        tmp_path / "clusters.tsv",
        pd.DataFrame({"subject": subjects, "cluster": [1, 2] * 10, "fits": "yes"}),
        {},
    )
    write_table(
        tmp_path / "scores.tsv", pd.DataFrame({"subject": subjects, "x": generator.normal(size=20)}), {}
    )
    people = pd.DataFrame({"subject": subjects, "family": [f"{number // 2:02d}" for number in range(20)]})
    write_table(tmp_path / "people.tsv", people, {})
    repartition_strata(
        clusters=tmp_path / "clusters.tsv",
        scores=tmp_path / "scores.tsv",
        subjects=tmp_path / "people.tsv",
        output=tmp_path / "r.tsv",
        null=tmp_path / "null.npz",
        settings={
            "repartition": {**section_defaults("strata")["repartition"], "draws": 30, **changes},
            "seed": 1,
        },
    )
    facts = json.loads((tmp_path / "r.json").read_text())
    assert facts["families_respected"] is respected
    assert facts["families_of_several"] == several
    # each pair has one of both clusters, so that H never changes while whole families move
    null = np.load(tmp_path / "null.npz")
    assert (len(np.unique(null["null"].round(4))) == 1) == respected
    assert null["null"].shape == (30, 1)
    assert null["factors"].tolist() == ["x"]
    assert null["h"][0] == pytest.approx(read_table(tmp_path / "r.tsv")["h"][0], rel=1e-5)


def test_one_draw_is_enough_for_a_p_and_none_is_not():
    generator = np.random.default_rng(0)
    clusters, scores = np.repeat([1, 2], 10), generator.normal(size=(20, 2))
    one = shuffle_links(clusters, scores, [""] * 20, np.full((1, 2), 1e9), 3, 0.05, 1)
    assert one["smallest_q_repartition"].tolist() == [1, 1, 1]
    none = shuffle_links(clusters, scores, [""] * 20, np.zeros((0, 2)), 3, 0.05, 1)
    assert none["smallest_q_repartition"].isna().all()
    assert none["shuffle"].tolist() == [1, 2, 3]
    frame = pd.DataFrame(
        {"smallest_q": [0.05, 0.2, np.nan, 0.04], "smallest_q_repartition": [0.06, 0.2, 0.01, 0.04]}
    )
    shares = found_shares(frame, 0.05)
    assert shares["share_found"] == pytest.approx(2 / 3)
    assert shares["share_found_repartition"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("flat", [0, 1])
def test_no_agreement_where_a_half_has_one_cluster(monkeypatch, flat):
    half = np.repeat([0, 1], [12, 10])
    monkeypatch.setattr("neurostrata.strata.comparison.split_half.family_parts", lambda *_: half)
    codes = np.random.default_rng(0).normal(size=(22, 3))
    codes[:, 0] = np.where(np.arange(22) % 2, 3.0, -3.0) + 0.1 * codes[:, 0]
    scores = codes[:, :1] + 0.01
    split = one_split(Sign({}), codes, scores, [""] * 22, np.random.default_rng(0))
    assert (split.row["n_first"], split.row["n_second"]) == (12, 10)
    assert split.row["adjusted_rand"] == 1.0
    assert split.row["agreement_p95"] < 1
    assert split.p[0] < 0.05
    codes[half == flat, 0] = np.abs(codes[half == flat, 0])
    split = one_split(Sign({}), codes, scores, [""] * 22, np.random.default_rng(0))
    assert np.isnan(split.row["adjusted_rand"])
    assert (split.row["k_first"], split.row["k_second"]) == ((1, 2) if flat == 0 else (2, 1))


# --------------------------------------------------------------------------------------- existence
def test_the_row_of_existence():
    null = pd.DataFrame(
        {
            "null": ["margins", "directions"] * 3,
            "draw": [1, 1, 2, 2, 3, 3],
            "statistic": [1.0, 5.0, 2.0, -np.inf, 3.0, 7.0],
            "n_clusters": 2,
        }
    )
    finding = Finding(np.array([1, 1, 2]), 4.0, pd.DataFrame())
    found = Existence(4.0, {"margins": 0.05, "directions": 0.75}, null)
    row = found.row(Sign({}), finding, 3, 0.75)
    assert (row["null"], row["p"], row["claimed"]) == ("directions", 0.75, "yes")
    assert (row["p_margins"], row["p_directions"]) == (0.05, 0.75)
    assert (row["n"], row["n_clusters"], row["statistic"], row["draws"]) == (3, 2, 4.0, 3)
    assert row["null_mean"] == 6
    assert row["null_95"] == pytest.approx(6.9)
    assert found.row(Sign({}), finding, 3, 0.7)["claimed"] == "no"
    one = Finding(np.array([1, 1, 1]), -np.inf, pd.DataFrame())
    nowhere = Existence(-np.inf, {"margins": 0.01, "directions": 0.01}, null[null["statistic"] < 0])
    row = nowhere.row(Sign({}), one, 3, 0.05)
    assert row["claimed"] == "no"
    assert np.isnan([row["statistic"], row["null_mean"], row["null_95"]]).all()
    assert described({"a": "the {measure} of", "b": "b"}, "gap") == {"a": "the gap of", "b": "b"}


def test_jaccard_and_what_is_found_again():
    clusters, again = np.array([1, 1, 1, 2, 2]), np.array([1, 1, 2, 2, 2])
    np.testing.assert_allclose(best_jaccard(clusters, again, 3), [2 / 3, 2 / 3, np.nan])
    codes = np.random.default_rng(0).normal(size=(30, 2))
    truth = Sign({}).find(codes).clusters
    folds = {"0": (np.arange(20), codes[:20]), "1": (np.arange(10, 30), -codes[10:])}
    seen = []
    table = find_again(
        Sign({}), codes, truth, [""] * 30, folds, 4, 1, lambda done, of: seen.append((done, of))
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert table["repeated"].tolist() == ["bootstrap"] * 2 + ["seed"] * 2 + ["fold"] * 2
    assert table["repeats"].tolist() == [4, 4, 5, 5, 2, 2]
    assert (table["jaccard"] == 1).all()
    assert (table["dissolved"] == 0).all()
    assert (table["adjusted_rand"] == 1).all()
    assert table["n"].tolist() == [(truth == 1).sum(), (truth == 2).sum()] * 3
    without = find_again(Sign({}), codes, truth, [""] * 30, {}, 4, 1)
    assert set(without["repeated"]) == {"bootstrap", "seed"}


def test_half_of_a_cluster_is_dissolved():
    codes = np.array([[1.0], [1], [-1], [-1]])
    clusters = np.array([1, 1, 1, 1])
    table = find_again(Sign({}), codes, clusters, [""] * 4, {"0": (np.arange(4), codes)}, 1, 1)
    fold = table[table["repeated"] == "fold"].iloc[0]
    assert (fold["jaccard"], fold["jaccard_low"], fold["dissolved"]) == (0.5, 0.5, 1)


def test_nine_pairs_of_relatives_are_drawn_as_unrelated():
    values = np.repeat(np.random.default_rng(0).normal(size=(15, 4)), 2, axis=0)
    nobody, one_cluster = [""] * 30, np.zeros(30, dtype=int)

    def drawn(pairs):
        families = [*(f"f{row // 2}" for row in range(2 * pairs)), *nobody[2 * pairs :]]
        return UnimodalNull(values, one_cluster, None, "margins", families).draw(np.random.default_rng(1))

    alone = drawn(0)
    np.testing.assert_array_equal(drawn(9), alone)
    twins = drawn(10)[:20]
    assert np.abs(twins[::2] - twins[1::2]).max() < 1e-6


def test_directions_of_clusters():
    white = np.array([[3.0, 0, 0.1], [3, 0, -0.1], [0, 1, 0.1], [0, 1, -0.1], [-3, -1, 0], [-3, -1, 0]])
    found = cluster_directions(white, np.array([0, 0, 1, 1, 2, 2]))
    assert found.shape == (3, 2)
    np.testing.assert_allclose(found.T @ found, np.eye(2), atol=1e-12)
    assert abs(found[0, 0]) > 0.9
    assert np.abs(found[2]).max() < 1e-9
    assert cluster_directions(white[:, :1], np.array([0, 0, 1, 1, 2, 2])).shape == (1, 1)


def test_margins():
    margin = UnimodalMargin(np.array([0.0, 1, 2]), np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(margin.at(np.array([0.25, 0.5, 0.75])), [0.5, 1, 1.5])
    flat = unimodal_margin(np.full(9, 4.0))
    assert flat.at(np.array([0.1, 0.9])).tolist() == [4, 4]
    values = np.random.default_rng(0).normal(size=400) * 3 + 5
    found = unimodal_margin(values)
    probability = np.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(found.at(probability), np.quantile(values, probability), atol=0.5)
    density = np.diff(found.cumulative)
    top = density.argmax()
    assert (np.diff(density[: top + 1]) >= -1e-15).all()
    assert (np.diff(density[top:]) <= 1e-15).all()
    # more than half of the values are equal: the quartiles do not tell the spread
    assert unimodal_margin(np.array([*[1.0] * 30, 5, 6, 7])).at(np.array([0.999])) > 5


def test_components_of_distances():
    finding = Finding(np.array([1]), 0.0, pd.DataFrame())
    assert [distance_components(finding, people) for people in (3, 12, 65, 900)] == [2, 2, 10, 20]
    assert distance_components(Finding(np.array([1]), 0.0, pd.DataFrame(), components=7), 900) == 7


# ----------------------------------------------------------------------------------------- finders
def test_shares_and_sizes():
    similarity = np.array([[1.0, 0.8, 0.2, 0], [0.8, 1, 0.4, 0], [0.2, 0.4, 1, 0], [0, 0, 0, 1]])
    found = shares_of_clusters(similarity, np.array([1, 1, 2, 3]))
    np.testing.assert_allclose(found[0], [0.8, 0.2, 0])
    np.testing.assert_allclose(found[1], [2 / 3, 1 / 3, 0])
    np.testing.assert_allclose(found[2], [0, 1, 0])
    np.testing.assert_allclose(found[3], [0, 0, 1])
    np.testing.assert_allclose(shares_of_clusters(np.eye(4), np.array([1, 1, 2, 2])), np.eye(2)[[0, 0, 1, 1]])
    assert [similar_size(n) for n in (5, 29, 30, 31, 32, 101)] == [5, 29, 30, 32, 32, 102]


def test_nothing_is_one_cluster():
    found = nothing(4, pd.DataFrame(), "too few", tried=3)
    assert found.clusters.tolist() == [1, 1, 1, 1]
    assert (found.statistic, found.reason, found.facts, found.number) == (-np.inf, "too few", {"tried": 3}, 1)


def test_progress_at_every_tenth(capsys):
    show = progress_lines("draws")
    for done in range(1, 41):
        show(done, 40)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"draws: {done} of 40" for done in (1, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40)]


# -------------------------------------------------------------------------------------------- maps
def test_the_map_of_few_people_is_their_principal_components():
    codes = np.array([[0.0, 0, 1], [4, 0, 1], [0, 2, 1], [4, 2, 1]])
    points = tsne_map(codes, 30, 250, 1)
    np.testing.assert_allclose(np.abs(points), [[2, 1]] * 4)
    one = tsne_map(codes[:2, :1], 30, 250, 1)
    np.testing.assert_allclose(np.abs(one), [[2, 0]] * 2)
    five = np.random.default_rng(0).normal(size=(5, 2))
    apart = ((five - five.mean(axis=0)) ** 2).sum()
    assert (tsne_map(five, 30, 250, 1) ** 2).sum() != pytest.approx(apart, rel=0.01)
    assert [tsne_perplexity(n, 30) for n in (2, 4, 31, 91, 500)] == [1, 1, 10, 30, 30]


def test_the_map_of_the_command(tmp_path):
    codes = np.random.default_rng(0).normal(size=(12, 3))
    frame = pd.DataFrame(codes, columns=["z0001", "z0002", "z0003"])
    frame.insert(0, "subject", [f"{number:02d}" for number in range(12)])
    write_table(tmp_path / "codes.tsv", frame, {})
    options = {"perplexity": 3, "max_iter": 260}
    map_people(
        embeddings=tmp_path / "codes.tsv", output=tmp_path / "map.tsv", settings={"tsne": options, "seed": 5}
    )
    found = read_table(tmp_path / "map.tsv")
    stored = read_table(tmp_path / "codes.tsv").to_numpy()[:, 1:].astype(float)
    np.testing.assert_allclose(found[["x", "y"]], tsne_map(stored, 3, 260, 5), rtol=1e-4)
    facts = json.loads((tmp_path / "map.json").read_text())
    assert facts["perplexity"] == 3
    assert facts["settings"] == {"tsne": options, "seed": 5}
    assert list(facts["Columns"]) == ["subject", "x", "y"]
    assert [name.rsplit("/", 1)[-1] for name in facts["inputs"]] == ["codes.tsv"]


# ------------------------------------------------------------------------------------ compiled parts
def test_kmeans_ends_where_everybody_is_with_the_nearest_mean():
    values = np.random.default_rng(0).normal(size=(40, 2))
    label = np.empty(40, np.int64)
    consensus_matrix(values, 3, 1, 1.0, 1, seed=0)  # which sets the seed of the compiled code
    for _ in range(10):
        total = _kmeans(values, 3, label)
        means = np.stack([values[label == k].mean(axis=0) for k in range(3)])
        squared = ((values[:, None] - means) ** 2).sum(axis=2)
        np.testing.assert_array_equal(label, squared.argmin(axis=1))
        assert total == pytest.approx(squared.min(axis=1).sum())


@pytest.mark.parametrize("unit", [1.0, 1e-4])
def test_kmeans_starts_from_people_far_apart(unit):
    generator = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], [20, 20, 2])
    centres = np.array([[0.0, 0], [300, 0], [300, 400]])
    values = unit * (centres[truth] + generator.normal(size=(42, 2)))
    label = np.empty(42, np.int64)
    matrix = consensus_matrix(values, 3, 1, 1.0, 1, seed=0)
    np.testing.assert_array_equal(matrix, (truth[:, None] == truth).astype(float))
    for _ in range(20):
        _kmeans(values, 3, label)
        np.testing.assert_array_equal(label[:, None] == label, truth[:, None] == truth)


def test_every_candidate_is_counted_once():
    seen = []
    scores = np.random.default_rng(0).normal(size=(40, 4))
    ambiguities(scores, (2, 4), (2, 3, 4), 3, 0.8, 1, 1, lambda done, of: seen.append((done, of)))
    assert seen == [(number, 6) for number in range(1, 7)]


def test_distances_in_one_dimension():
    codes = np.array([[-1.1], [-1], [-0.9], [0.8], [1], [1.2]])
    found = describe_membership(
        codes, Finding(np.array([1, 1, 1, 2, 2, 2]), 0.0, pd.DataFrame(), components=1)
    )
    assert found.distance.max() > 0.5
    assert found.typicality.min() < 0.9
    assert (found.probability > 0.9).all()


def test_two_people_cannot_be_divided():
    found = build_finder("affinity_propagation", section_defaults("strata")["affinity_propagation"], 1).find(
        np.eye(2)
    )
    assert found.facts == {"settings_tried": 0, "settings_converged": 0, "settings_eligible": 0}
    assert (found.number, found.statistic) == (1, -np.inf)


def test_small_clusters_and_people_in_none():
    finding = Finding(np.array([1] * 7 + [2] * 3), 1.5, pd.DataFrame(), components=4)
    membership = Membership(np.full(10, 0.9), np.arange(10.0), np.array([0.5] * 8 + [0.01, 0.009]))
    people = [f"p{number}" for number in range(10)]
    table = partition_table(people, finding, membership, 0.01)
    assert table["fits"].tolist() == ["yes"] * 9 + ["no"]
    facts = partition_facts(Sign({}), finding, table, 6, {"people": 2, "share": 0.3})
    assert (facts["small_cluster_limit"], facts["small_clusters"]) == (3.0, [])
    facts = partition_facts(Sign({}), finding, table, 6, {"people": 4, "share": 0.3})
    assert (facts["small_cluster_limit"], facts["small_clusters"]) == (4, [2])
    assert facts["cluster_sizes"] == [7, 3]
    assert facts["people_in_no_cluster"] == ["p9"]
    one = Finding(np.ones(10, np.intp), -np.inf, pd.DataFrame(), reason="none")
    facts = partition_facts(Sign({}), one, table, 6, {"people": 40, "share": 0.3})
    assert (facts["small_clusters"], facts["found"], facts["statistic"]) == ([], False, None)
    exemplars = Finding(np.array([1, 1, 2]), 0.0, pd.DataFrame(), exemplars=np.array([1, 1, -1]))
    membership = Membership(np.ones(3), np.ones(3), np.ones(3))
    assert partition_table(list("abc"), exemplars, membership, 0.5)["exemplar"].tolist()[:2] == ["b", "b"]


def test_clusters_of_equal_size_keep_their_order():
    labels = np.tile(np.arange(60), 2)
    np.testing.assert_array_equal(number_by_size(labels), labels + 1)
