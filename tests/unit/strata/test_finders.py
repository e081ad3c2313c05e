"""What every finder of groups must do, and what is special to each."""

import json
import shutil
import time

import numpy as np
import pandas as pd
import pytest
from fusion_toy import toy_settings, toy_volumes
from joblib import Parallel, delayed
from sklearn.metrics import adjusted_rand_score

from neurostrata.core.config import (
    check_config,
    fill_defaults,
    finder_names,
    load_schema,
    schema_problems,
    schemas,
    section_defaults,
)
from neurostrata.core.embeddings import read_parts
from neurostrata.core.errors import UserError
from neurostrata.core.tables import write_table
from neurostrata.fusion.commands import embed, split, train
from neurostrata.report.figures.search import SEARCH_FIGURES
from neurostrata.strata.commands import cluster
from neurostrata.strata.existence.comparison_with_null import compare_with_null
from neurostrata.strata.finders.consensus import Consensus
from neurostrata.strata.finders.consensus_fit import ambiguous_pairs, consensus_matrix
from neurostrata.strata.finders.network_fusion import affinity, fuse, leading_eigenvalues
from neurostrata.strata.finders.reference import made_once, shares_of_clusters, similar_size
from neurostrata.strata.finders.registry import (
    build_finder,
    finder_class,
    finder_name,
)
from neurostrata.strata.finders.similarity_network_fusion import SimilarityNetworkFusion

#: Less work than the defaults.
LESS = {
    "mixture": {"starts": 10, "reference_draws": 10, "components": [4, 6], "max_clusters": 4},
    "affinity_propagation": {
        "damping": {"min": 0.5, "max": 1.0, "steps": 2},
        "preference": {"low": 1, "high": 99, "steps": 15},
    },
    "consensus": {"resamples": 20, "reference_draws": 10, "components": [4, 6], "max_clusters": 4},
    "similarity_network_fusion": {"reference_draws": 10, "components": [4, 6], "max_clusters": 4},
}


def finder(name, seed=1, threads=1, parts=None, **options):
    return build_finder(
        name, {**section_defaults("strata")[name], **LESS.get(name, {}), **options}, seed, threads, parts
    )


def groups(sizes=(40, 30, 24), distance=8.0, dimensions=8, seed=0):
    generator = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    order = generator.permutation(len(truth))
    centres = np.eye(len(sizes), dimensions) * distance / np.sqrt(2)
    return (centres[truth] + generator.standard_normal((len(truth), dimensions)))[order], truth[order]


def test_a_schema_in_the_folder_is_a_section_and_a_name(tmp_path, monkeypatch):
    shutil.copytree(schemas.SCHEMAS, tmp_path / "schemas")
    ward = tmp_path / "schemas" / "finders" / "ward.schema.yaml"
    ward.write_text(
        "{type: object, additionalProperties: false, properties: {trees: {type: integer, default: 7}}}"
    )
    monkeypatch.setattr(schemas, "SCHEMAS", tmp_path / "schemas")
    cohort = {"cohort": {"sheet": "people.tsv"}}
    assert check_config({**cohort, "strata": {"finders": ["ward"]}})["strata"]["ward"] == {"trees": 7}
    with pytest.raises(UserError, match=r"strata.ward: unknown key 'tree'; did you mean 'trees'\?"):
        check_config({**cohort, "strata": {"ward": {"tree": 3}}})


@pytest.mark.parametrize("name", finder_names())
def test_everything_that_the_report_says_of_a_finder_stands_in_its_class(name):
    cls = finder_class(name)
    text = cls.methods_text(section_defaults("strata")[name])
    assert cls.name == name
    assert finder_name(name) == cls.title
    assert text.strip(" .") == text
    assert cls.search_figure is None or set(cls.search_figure.columns) <= set(cls.search_columns)
    assert cls.search_figure is None or cls.search_figure.kind in SEARCH_FIGURES


def test_finders_of_other_releases_have_a_name():
    assert finder_name("some_other") == "some other"


@pytest.mark.parametrize("name", finder_names())
def test_separated_groups_are_found_and_numbered_by_size(name):
    values, truth = groups()
    found = finder(name).find(values)
    assert adjusted_rand_score(truth, found.clusters) > 0.95
    sizes = np.bincount(found.clusters)[1:]
    assert list(sizes) == sorted(sizes, reverse=True) == [40, 30, 24]
    assert found.reason is None
    assert np.isfinite(found.statistic)
    assert list(found.search) == list(finder_class(name).search_columns)
    json.dumps(found.facts, allow_nan=False)
    if found.membership is not None:
        assert found.membership.shape == (94, 3)
        np.testing.assert_allclose(found.membership.sum(axis=1), 1)
        np.testing.assert_array_equal(found.membership.argmax(axis=1) + 1, found.clusters)


@pytest.mark.parametrize("name", finder_names())
def test_a_seed_decides_everything_and_threads_nothing(name):
    values, _ = groups(distance=3.0)
    first, again, threads = (finder(name, threads=count).find(values) for count in (1, 1, 2))
    for other in (again, threads):
        np.testing.assert_array_equal(first.clusters, other.clusters)
        assert first.statistic == other.statistic
        pd.testing.assert_frame_equal(first.search, other.search, check_exact=True)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("people", [1, 2, 3, 6, 40])
@pytest.mark.parametrize("kind", ["constant", "usual", "one direction", "many dimensions"])
@pytest.mark.parametrize("name", finder_names())
def test_hardly_any_data_raise_nothing(name, kind, people):
    generator = np.random.default_rng(people)
    values = generator.standard_normal((people, 100 if kind == "many dimensions" else 8))
    if kind == "constant":
        values[:] = 3.0
    if kind == "one direction":
        values[:, 1:] = values[:, :1]
    found = finder(name).find(values)
    assert found.clusters.shape == (people,)
    if found.reason is None:
        assert 2 <= found.number <= people
        assert np.isfinite(found.statistic)
    else:
        assert (found.clusters == 1).all()
        assert found.statistic == -np.inf
        assert found.membership is None
    if kind == "constant" or people < 3:
        assert found.reason


@pytest.mark.parametrize("name", finder_names())
def test_the_quick_form_is_a_finder_that_keeps_what_it_was_told(name):
    values, truth = groups(distance=10.0)
    quick = finder(name, seed=4, parts=["a"] * 4 + ["b"] * 4).quick(values)
    assert type(quick) is finder_class(name)
    assert (quick.seed, quick.parts) == (4, ["a"] * 4 + ["b"] * 4)
    quick.parts = None
    assert adjusted_rand_score(truth, quick.find(values).clusters) > 0.9
    assert quick.changed(seed=9).seed == 9
    assert quick.seed == 4


@pytest.mark.parametrize("name", finder_names())
def test_defaults_of_the_schema_build_it(name):
    schema = load_schema(f"finders/{name}")
    options = fill_defaults({}, schema)
    assert schema_problems(options, schema) == []
    assert options == section_defaults("strata")[name]
    assert build_finder(name, options, 1).name == name
    assert schema_problems({**options, "misspelled": 1}, schema)


def test_consensus_is_the_share_of_subsets_that_put_two_people_together():
    values, truth = groups(sizes=(20, 20), distance=20.0)
    matrix = consensus_matrix(values, 2, 50, 0.8, 2, 1)
    np.testing.assert_array_equal(matrix, truth[:, None] == truth)
    assert ambiguous_pairs(values, 2, 50, 0.8, 2, 1) == 0
    given = (np.random.default_rng(0).standard_normal((40, 8)), 3, 50, 0.8, 1, 1)
    noise = consensus_matrix(*given)
    assert (noise == noise.T).all()
    assert (np.diag(noise) == 1).all()
    between = ((noise > 0.1) & (noise < 0.9))[np.tril_indices(40, -1)].mean()
    assert ambiguous_pairs(*given) == pytest.approx(between)
    assert between > 0.2


def test_sizes_that_share_a_reference():
    assert [similar_size(n) for n in (6, 24, 29)] == [6, 24, 29]
    for n in (30, 80, 300, 1000, 5000):
        assert abs(similar_size(n) / n - 1) < 0.03
    assert similar_size(300) == similar_size(302)


def test_threads_that_need_the_same_reference_draw_it_once():
    drawn = []

    @made_once
    def slow(number, other=0):
        """What it returns."""
        drawn.append(number)
        time.sleep(0.05)
        if number < 0:
            raise ValueError(number)
        return [number]

    run = Parallel(n_jobs=8, backend="threading")
    found = run(delayed(slow)(number % 2) for number in range(16))
    assert sorted(drawn) == [0, 1]
    assert [result[0] for result in found] == [0, 1] * 8
    assert found[0] is found[2] is slow(0)
    assert slow.__doc__ == "What it returns."
    # a failure is not kept, and nobody waits for it
    for _ in range(2):
        with pytest.raises(ValueError, match="-1"):
            slow(-1)
    assert drawn[2:] == [-1, -1]


def test_shares_of_clusters():
    similarity = np.array([[9, 1, 0, 0], [1, 9, 1, 0], [0, 1, 9, 0], [0, 0, 0, 9.0]])
    shares = shares_of_clusters(similarity, np.array([1, 1, 2, 3]))
    np.testing.assert_allclose(shares, [[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0, 1]])


def test_modalities_that_agree_are_told_by_fusion():
    generator = np.random.default_rng(2)
    truth = np.repeat([0, 1, 2], 40)
    parts = [3 * np.eye(3, 4)[truth] + generator.standard_normal((120, 4)) for _ in range(2)]
    names = ["jac"] * 4 + ["ndi"] * 4
    order = [0, 4, 1, 5, 2, 6, 3, 7]
    codes = np.concatenate(parts, axis=1)[:, order]
    found = finder("similarity_network_fusion", parts=[names[column] for column in order]).find(codes)
    assert found.facts == {"modalities": 2, "components_per_modality": 4}
    assert found.components is None
    agreed = adjusted_rand_score(truth, found.clusters)
    assert agreed > 0.9
    for part in parts:  # each modality alone tells less
        alone = finder("similarity_network_fusion").find(part).clusters
        assert adjusted_rand_score(truth, alone) < agreed
    whole = finder("similarity_network_fusion").find(codes)
    assert whole.facts["modalities"] == 1
    assert whole.components == whole.facts["components_per_modality"]
    # a modality in which nobody differs is left out
    codes[:, [name == "ndi" for name in (names[column] for column in order)]] = 1.0
    assert (
        finder("similarity_network_fusion", parts=[names[c] for c in order]).find(codes).facts["modalities"]
        == 1
    )


@pytest.mark.parametrize("cls", [Consensus, SimilarityNetworkFusion])
def test_existence_of_groups_is_told(cls):
    values, _ = groups(distance=6.0)
    noise = np.random.default_rng(5).standard_normal((94, 8))
    for codes, there in ((values, True), (noise, False)):
        own = finder(cls.name)
        p = compare_with_null(own, codes, own.find(codes), 19, 1).p
        assert (p <= 0.05) is there


def test_fusion_is_snfpys():
    compute = pytest.importorskip("snf.compute")
    from scipy.spatial.distance import cdist

    generator = np.random.default_rng(0)
    parts = [generator.standard_normal((60, 5)) for _ in range(3)]
    networks = [affinity(part, 15, 0.5) for part in parts]
    wanted = [compute.affinity_matrix(cdist(part, part), K=15, mu=0.5) for part in parts]
    np.testing.assert_allclose(networks, wanted, rtol=1e-9)
    np.testing.assert_allclose(fuse(networks, 15, 10), compute.snf(wanted, K=15, t=10), rtol=1e-6)


def test_eigenvalues_of_separate_groups():
    network = np.kron(np.eye(3), np.ones((10, 10)))
    values = leading_eigenvalues(network, 4)
    np.testing.assert_allclose(values, [1, 1, 1, -1 / 9], atol=1e-9)


def test_parts_reach_the_finder_by_the_sidecar(tmp_path):
    values, _ = groups(sizes=(30, 20))
    table = pd.DataFrame(values, columns=[f"z{number:04d}" for number in range(1, 9)])
    table.insert(0, "subject", [f"{number:02d}" for number in range(50)])
    path = tmp_path / "embeddings.tsv"
    settings = {
        "finder": "similarity_network_fusion",
        "options": finder("similarity_network_fusion").options,
        "small_clusters": {"people": 5, "share": 0.01},
        "outliers": 0.0001,
        "seed": 1,
    }
    for parts, modalities in ((["jac"] * 4 + ["ndi"] * 4, 2), (None, 1)):
        write_table(path, table, {}, **({"CodeModalities": parts} if parts else {}))
        assert read_parts(path) == parts
        cluster(embeddings=path, search=tmp_path / "s.tsv", clusters=tmp_path / "c.tsv", settings=settings)
        assert json.loads((tmp_path / "c.json").read_text())["modalities"] == modalities
    path.with_suffix(".json").unlink()
    assert read_parts(path) is None


def test_registered_classes_have_what_tables_and_sentences_need():
    for name in finder_names():
        found = finder_class(name)
        assert found.name == name
        assert found.title
        assert found.measure


@pytest.mark.parametrize(
    ("model", "options", "parts"),
    [
        ("shared_vae", {"channels": [4, 8], "latent_size": 2}, ["jac", "jac", "ndi", "ndi"]),
        ("pca", {"max_components": 2}, None),
    ],
)
def test_embed_says_which_modality_a_number_is_of(tmp_path, model, options, parts):
    volumes = toy_volumes(tmp_path / "volumes", people=9, side=16)
    settings = toy_settings(model, options=options)
    split(subjects=volumes[0].parent / "subjects.tsv", output=tmp_path / "splits.tsv", settings=settings)
    shared = {"volumes": volumes, "splits": tmp_path / "splits.tsv", "fold": "all", "settings": settings}
    made = {"model": tmp_path / "model", "limits": tmp_path / "limits.json"}
    mask = volumes[0].parent / "mask.nii.gz"
    train(**shared, **made, mask=mask, history=tmp_path / "history.tsv", checkpoints=tmp_path / "checkpoints")
    embed(**shared, **made, output=tmp_path / "embeddings.tsv")
    assert read_parts(tmp_path / "embeddings.tsv") == parts
