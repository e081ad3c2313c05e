"""Figures and the pictures cut out of volumes."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import matplotlib.image
import nibabel
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from neurostrata.core.tables import write_table
from neurostrata.report.data.evidence import Evidence
from neurostrata.report.data.layout import ResultsTree
from neurostrata.report.data.results import StudyResults
from neurostrata.report.figures import agreement as figures_agreement
from neurostrata.report.figures import checks as figures_checks
from neurostrata.report.figures import clusters as figures_clusters
from neurostrata.report.figures import factors as figures_factors
from neurostrata.report.figures import images as figures_images
from neurostrata.report.figures import phenotypes as figures_phenotypes
from neurostrata.report.figures import reconstruction as figures_reconstruction
from neurostrata.report.figures import search as figures_search
from neurostrata.report.figures.slices import Volume, bounding_box, cut, positions, try_volume
from neurostrata.report.figures.style import INK, MAX_WIDTH, cluster_style, new_figure, save_figure
from neurostrata.report.html.page import Page
from neurostrata.report.sections.differences import differences_section
from neurostrata.report.sections.experiment_decoding import _example_rows
from neurostrata.strata.profiles import cluster_profiles


def test_volumes_are_turned_to_ras(tmp_path: Path) -> None:
    data = np.zeros((4, 5, 6), np.float32)
    data[0, 1, 2] = 7
    # Axes stored as posterior, superior, right: index 0 runs to the back, 1 up, 2 to the right.
    affine = np.array([[0, 0, 3.0, 0], [-1.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(data, affine), tmp_path / "x.nii.gz")
    volume = try_volume(tmp_path / "x.nii.gz")
    assert volume is not None
    assert volume.data.shape == (6, 4, 5)
    assert volume.zooms == (3.0, 1.0, 2.0)
    assert volume.data[2, 3, 1] == 7
    assert try_volume(tmp_path / "absent.nii.gz") is None
    header = nibabel.Nifti1Header()
    header.set_sform(np.diag([0.0, 0.0, 0.0, 1.0]), code=1)
    nibabel.save(nibabel.Nifti1Image(data, None, header), tmp_path / "nowhere.nii.gz")
    assert try_volume(tmp_path / "nowhere.nii.gz") is None


def test_slices_stand_upright_and_keep_their_proportions() -> None:
    data = np.zeros((10, 20, 30))
    data[2, 5, 25] = 1
    volume = Volume(data, (1.0, 1.0, 2.0))
    box = bounding_box(np.ones_like(data))
    picture, aspect = cut(volume, 0, 2, box)
    assert picture.shape == (30, 20)  # rows go up (z), columns to the front (y)
    assert picture[25, 5] == 1
    assert aspect == 2.0
    picture, aspect = cut(volume, 2, 25, box)
    assert picture[5, 2] == 1
    assert aspect == 1.0


def test_slices_lie_inside_the_brain() -> None:
    mask = np.zeros((40, 40, 40), bool)
    mask[10:20, 5:35, 8:30] = True
    box = bounding_box(mask, margin=0)
    assert box == (slice(10, 20), slice(5, 35), slice(8, 30))
    assert all(10 <= index < 20 for index in positions(box, 0, 3))
    assert len(set(positions(box, 1, 3))) == 3
    assert bounding_box(np.zeros((3, 4, 5))) == (slice(0, 3), slice(0, 4), slice(0, 5))


def test_an_empty_volume_can_be_drawn(tmp_path: Path) -> None:
    empty = Volume(np.zeros((8, 8, 8), np.float32), (1.0, 1.0, 1.0))
    path = save_figure(figures_images.slice_rows(empty, outline=empty), tmp_path / "e.png")
    assert matplotlib.image.imread(path).ndim == 3


def test_wide_figures_are_cut_down_to_size(tmp_path: Path) -> None:
    figure = new_figure(20, 2)
    figure.subplots().plot([0, 1])
    assert matplotlib.image.imread(save_figure(figure, tmp_path / "w.png")).shape[1] <= MAX_WIDTH
    svg = save_figure(figure, tmp_path / "w.svg").read_text()
    assert "<dc:date>" not in svg


def test_more_clusters_than_colours_are_told_apart_by_markers() -> None:
    assert len({cluster_style(number) for number in range(1, 41)}) == 40


def test_decoded_shares_the_scale_of_real() -> None:
    real = np.zeros((1, 1, 3, 10, 10), np.float32)
    real[..., 2:8, 3:7] = 0.5
    rows = {"real": real, "decoded by PCA": 3 * real, "mean training image": real}
    figure = figures_reconstruction.example_figure(rows, ["01"], ["jac"], 1)
    images = [axis.get_images()[0] for axis in figure.axes if axis.get_images()]
    assert len(images) == 9
    labels = [axis.get_ylabel().replace("\n", " ") for axis in figure.axes if axis.get_ylabel()]
    assert labels == ["sub-01 real", "decoded by PCA", "mean training image"]
    assert {image.get_clim() for image in images} == {(0.0, 0.5)}
    # Empty borders are cut off, the same for all rows.
    assert {image.get_array().shape for image in images} == {(4, 6)}


def test_examples_of_an_earlier_release_have_no_baselines() -> None:
    real, decoded, mean, pca = (np.full((1, 1, 3, 2, 2), value) for value in range(4))
    arrays = {"real": real, "decoded": decoded}
    assert list(_example_rows(arrays, {"model": "shared_vae"})) == ["real", "decoded by shared VAE"]
    arrays |= {"baselines": np.stack([mean, pca]), "baseline_names": np.array(["mean_image", "pca"])}
    rows = _example_rows(arrays, {"model": "shared_vae"})
    assert list(rows) == ["real", "decoded by shared VAE", "mean training image", "decoded by PCA"]
    assert [int(images.max()) for images in rows.values()] == [0, 1, 2, 3]


def test_fold_figure_has_the_median_with_a_band_of_the_mad() -> None:
    frame = pd.DataFrame(
        {
            "fold": ["0", "0", "1", "1"],
            "method": "shared_vae",
            "modality": "jac",
            "mse": [0.01, 0.001, 0.01, 0.1],
            "normdiff": [0.1, 0.2, 0.3, 0.4],
            "cnr_normdiff": [np.nan] * 4,
        }
    )
    figure = figures_reconstruction.fold_figure(frame, ["jac"], ["shared_vae"])
    assert len(figure.axes) == 2  # a measure without any value has no panel
    dotted = [line for line in figure.axes[0].lines if line.get_linestyle() == ":"]
    # |log10 MSE| is 2, 3, 2, 1: median 2, median absolute deviation 0.5, which is a width and not a level.
    assert [line.get_ydata()[0] for line in dotted] == pytest.approx([2.0])
    band = next(patch for patch in figure.axes[0].patches if patch.get_label() == "± MAD")
    assert (band.get_y(), band.get_height()) == pytest.approx((1.5, 1.0))
    # Every person is a point, and the axis spans the data rather than starting at 0.
    points = np.concatenate([np.asarray(c.get_offsets())[:, 1] for c in figure.axes[0].collections])
    assert sorted(points) == pytest.approx([1, 2, 2, 3])
    assert 0.5 < figure.axes[0].get_ylim()[0] < 1
    assert [t.get_text() for t in figure.axes[-1].get_xticklabels()] == ["1", "2"]


def test_fold_figure_has_the_baselines_beside_the_model() -> None:
    errors = {"shared_vae": 0.1, "mean_image": 0.01, "pca": 0.001}
    frame = pd.DataFrame(
        [
            {"fold": fold, "method": method, "modality": "jac", "mse": error, "normdiff": 0.1}
            for fold in ("0", "1")
            for method, error in errors.items()
            for _ in range(3)
        ]
    )
    figure = figures_reconstruction.fold_figure(frame, ["jac"], list(errors))
    axis = figure.axes[0]
    solid = [line for line in axis.lines if line.get_linestyle() == "-" and line.get_color() == INK]
    # The boxes of a fold stand side by side around its tick, in the order of the methods.
    medians = sorted((float(np.mean(line.get_xdata())), float(line.get_ydata()[0])) for line in solid)
    assert np.array(medians) == pytest.approx(
        np.array([(0.733, 1), (1, 2), (1.267, 3), (1.733, 1), (2, 2), (2.267, 3)]), abs=0.01
    )
    # The dotted median is the model's own.
    dotted = [line.get_ydata()[0] for line in axis.lines if line.get_linestyle() == ":"]
    assert dotted == pytest.approx([1.0])
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["± MAD", "median of the model", "shared VAE", "mean training image", "PCA"]


def test_folds_are_in_number_order() -> None:
    frame = pd.DataFrame(
        {"fold": [str(i) for i in range(11)], "method": "pca", "modality": "m", "mse": 0.1, "normdiff": 0.1}
    )
    figure = figures_reconstruction.fold_figure(frame, ["m"], ["pca"])
    assert [t.get_text() for t in figure.axes[-1].get_xticklabels()] == [str(i + 1) for i in range(11)]


def test_loadings_below_the_threshold_are_blank() -> None:
    loadings = pd.DataFrame({"factor_01": [0.9, 0.29], "factor_02": [-0.31, 0.8]}, index=["a", "b"])
    figure = figures_phenotypes.loadings_figure(loadings, 0.3)
    shown = np.ma.filled(figure.axes[0].get_images()[0].get_array().astype(float), np.nan)
    assert np.isnan(shown).sum() == 1
    assert sorted(text.get_text() for text in figure.axes[0].texts) == [".80", ".90", "−.31"]


def test_grid_ring_is_on_the_chosen_setting() -> None:
    grid = pd.DataFrame(
        {
            "damping": [0.5, 0.5, 0.6, 0.6],
            "preference": [-2.0, -1.0, -2.0, -1.0],
            "converged": [True, True, False, True],
            "n_clusters": [2, 3, 4, 1],
            "silhouette": [0.1, 0.4, 0.9, np.nan],
        }
    )
    figure = figures_search.grid_figure(grid, {"damping": 0.5, "preference": -1.0})
    rings = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert {(line.get_xdata()[0], line.get_ydata()[0]) for line in rings} == {(-1.0, 0.5)}
    silhouettes, clusters = (figure.axes[panel].collections[0].get_array() for panel in (0, 1))
    assert np.ma.count_masked(silhouettes) == 2
    # One setting converged without a silhouette: its number of clusters is shown, and it is not called "did not converge".
    assert np.ma.count_masked(clusters) == 1
    marked = {c.get_label(): np.asarray(c.get_offsets()).tolist() for c in figure.axes[0].collections[1:]}
    assert marked == {
        "did not converge": [[-2.0, 0.6]],
        "converged, but no silhouette": [[-1.0, 0.6]],
        "best silhouette": [[-1.0, 0.5]],
    }


def test_one_setting_makes_a_grid_too() -> None:
    grid = pd.DataFrame(
        {
            "damping": [0.5],
            "preference": [-2.0],
            "converged": [False],
            "n_clusters": [1],
            "silhouette": [np.nan],
        }
    )
    assert figures_search.grid_figure(grid, {}).axes


def test_profiles_keep_each_value_with_its_factor_and_cluster() -> None:
    values = np.array([[0.1, 0.9, 0.5], [0.9, 0.1, 0.4], [0.2, 0.8, 0.5], [0.95, 0.05, np.nan]])
    frame = pd.DataFrame(values, index=list("acbd"), columns=[1, 2, 3])
    panels = {"medians": frame, "means": 1 - frame}
    figure = figures_clusters.profiles_figure(panels, {1: "5", 2: "4", 3: "3"})
    axes = {a.get_title(): a for a in figure.axes if a.get_title()}
    assert list(axes) == ["medians", "means"]
    rows = [t.get_text() for t in axes["means"].get_yticklabels()]  # once, beside the last panel
    columns = [int(t.get_text().split("\n")[0]) for t in axes["medians"].get_xticklabels()]
    assert sorted(rows) == list("abcd")
    assert (
        abs(rows.index("a") - rows.index("b")) == abs(rows.index("c") - rows.index("d")) == 1
    )  # as the tree joins them
    for title, axis in axes.items():  # in the same order, that of the medians
        drawn = axis.get_images()[0].get_array()
        for i, factor in enumerate(rows):
            for j, cluster in enumerate(columns):
                value = panels[title].loc[factor, cluster]
                assert np.ma.is_masked(drawn[i, j]) if np.isnan(value) else drawn[i, j] == value


def test_profiles_say_of_how_many_people_their_values_are(tmp_path: Path) -> None:
    """Not how many the clusters have: people who fit none, and people without scores, are in no profile."""
    study = StudyResults(ResultsTree(tmp_path), {"experiments": []})
    experiment = study.tree.experiment("e")
    clusters = pd.DataFrame({"subject": list("abcdefghi"), "cluster": [1] * 5 + [2] * 4})
    clusters["fits"] = ["no", *["yes"] * 8]
    scores = pd.DataFrame({"f1": np.arange(8.0), "f2": np.arange(8.0) % 3}, index=list("bcdefghi"))
    scores.loc["h", "f2"] = np.nan
    scores = scores.drop(index="i")
    groups = clusters.set_index("subject").loc[scores.index, "cluster"]
    write_table(experiment.strata("profiles.tsv"), cluster_profiles(groups, scores))
    comparisons = pd.DataFrame({"factor": ["f1", "f2"], "h": 1.0, "p": 0.5, "q": 0.5, "eta2": 0.0})
    page = Page(study, tmp_path / "report" / "index.html", tmp_path / "report" / "figures")
    evidence = Evidence("mixture", clusters=clusters, comparisons=comparisons)
    differences_section(page, experiment, evidence, {}, "")
    drawn = (tmp_path / "report" / "figures" / "e" / "profiles.svg").read_text()
    assert set(re.findall(r"\(n=([^)]*)\)", drawn)) == {"4", "2–3"}


@pytest.mark.parametrize(("factors", "clusters"), [(1, 1), (1, 4), (2, 2), (5, 1), (3, 12)])
def test_profiles_of_any_size(factors: int, clusters: int, tmp_path: Path) -> None:
    frame = pd.DataFrame(
        np.full((factors, clusters), 0.5),
        index=[f"f{i}" for i in range(factors)],
        columns=range(1, clusters + 1),
    )
    figure = figures_clusters.profiles_figure({"medians": frame, "means": frame}, {})
    assert save_figure(figure, tmp_path / "p.svg").stat().st_size > 1000


def test_factor_figure_survives_clusters_without_scores(tmp_path: Path) -> None:
    scores = pd.DataFrame({"subject": list("abcdef"), "factor_01": [1, 2, np.nan, np.nan, 0.5, 1.5]})
    clusters = pd.DataFrame({"subject": list("abcdef"), "cluster": [1, 1, 2, 2, 3, 3]})
    figure = figures_factors.factors_figure(scores, clusters, ["factor_01"], {}, ["factor_01"])
    assert figure.axes[0].get_title().startswith("★ Factor 1")
    save_figure(figure, tmp_path / "f.svg")


def test_mixture_search_has_a_line_per_number_of_components_and_a_ring() -> None:
    search = pd.DataFrame(
        {"components": [4, 4, 8, 8], "n_clusters": [2, 3, 2, 3], "standardised": [1.0, 2.0, 5.0, np.nan]}
    ).assign(used=["no", "no", "yes", "no"])
    figure = figures_search.SEARCH_FIGURES["lines"](search, {})
    lines = [line for line in figure.axes[0].lines if line.get_label() in ("4", "8")]
    assert [next(iter(line.get_ydata())) for line in lines] == [1.0, 5.0]
    ring = next(line for line in figure.axes[0].lines if line.get_markersize() == 14)
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (2, 5.0)
    assert figures_search.SEARCH_FIGURES["grid"] is figures_search.grid_figure
    assert figures_search.likelihood_figure(search.iloc[:0], {}).axes


def test_existence_figure_leaves_out_what_is_not_finite(tmp_path: Path) -> None:
    null = pd.DataFrame({"statistic": [-np.inf, 1.0, 2.0, np.nan], "n_clusters": [1, 2, 2, 1]})
    figure = figures_checks.existence_figure(null, 3.0, "silhouette")
    left, right = figure.axes
    assert sum(patch.get_height() for patch in left.patches) == 2
    assert left.lines[0].get_xdata()[0] == 3.0
    assert [patch.get_height() for patch in right.patches] == [2, 2]
    nothing = figures_checks.existence_figure(null.iloc[:1], float("nan"), "silhouette")
    save_figure(nothing, tmp_path / "n.svg")


def test_stability_and_continuous_and_crosstab_are_drawn_from_their_numbers(tmp_path: Path) -> None:
    stability = pd.DataFrame(
        {"cluster": [1, 2], "n": [9, 4], "repeated": "bootstrap", "jaccard": [0.9, 0.4], "jaccard_low": 0.2}
    )
    figure = figures_checks.stability_figure(stability)
    dots = next(line for line in figure.axes[0].lines if line.get_marker() == "o")
    assert list(dots.get_xdata()) == [0.9, 0.4]
    continuous = pd.DataFrame(
        {
            "features": ["codes", "pca", "clusters of mixture"],
            "factor": "factor_01",
            "value": [0.3, 0.2, -0.1],
            "low": -0.2,
            "high": 0.5,
        }
    )
    figure = figures_checks.continuous_figure(continuous, {"factor_01": "Factor 1: Fear"}, {"pca": "PCA"})
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["Factor 1: Fear"]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["codes", "PCA", "clusters of mixture"]
    table = pd.DataFrame([[5, 1], [0, 4]], index=[1, 2], columns=[1, 2])
    figure = figures_checks.crosstab_figure(table, "a", "b")
    assert [text.get_text() for text in figure.axes[0].texts] == ["5", "1", "0", "4"]
    save_figure(figure, tmp_path / "c.svg")


def test_effects_stand_beside_their_adjusted_values() -> None:
    comparisons = pd.DataFrame(
        {"factor": ["factor_01"], "eta2": [0.3], "eta2_low": [0.1], "eta2_high": [0.5]}
    )
    figure = figures_factors.effects_figure(
        comparisons, [], comparisons.assign(eta2=0.2), {"factor_01": "Factor 1: Fear"}
    )
    drawn = {
        line.get_marker(): line.get_xdata()[0] for line in figure.axes[0].lines if len(line.get_xdata()) == 1
    }
    assert drawn == {"o": 0.3, "s": 0.2}
    open_ended = figures_factors.effects_figure(comparisons.assign(eta2_high=1.0), [])
    assert [line.get_xdata() for line in open_ended.axes[0].lines if line.get_marker() == ">"] == [[1]]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["Factor 1: Fear"]


def test_names_with_dollar_signs_are_no_formulas(tmp_path: Path) -> None:
    names = ["Income ($, % of mean)_vs_debt ($)", "a_$b_1$"]
    loadings = pd.DataFrame({"factor_01": [0.5, 0.6], "factor_02": [0.2, 0.7]}, index=names)
    drawing = figures_phenotypes.loadings_figure(loadings, names={"factor_01": "$x^2$"})
    text = save_figure(drawing, tmp_path / "loadings.svg").read_text()
    for said in ("Income ($, % of mean) vs debt ($)", "a $b 1$", "$x^2$"):
        assert said in text


def test_long_names_of_experiments_are_not_cut_off() -> None:
    names = [
        "t1w-jac-fa-md-ndi-residual-autoencoder-latent-64",
        "all-modalities-with-missing-included-pca",
        "x",
    ]
    table = pd.DataFrame([[9, 1], [2, 8]], index=[1, 2], columns=[1, 2])
    drawings = [
        figures_checks.crosstab_figure(table, names[0], names[1]),
        figures_agreement.flow_figure(names, [table, table]),
    ]
    for drawing in drawings:
        FigureCanvasAgg(drawing).draw()
        axis = drawing.axes[0]
        labels = [axis.xaxis.label, axis.yaxis.label, *axis.get_xticklabels()]
        extents = [label.get_window_extent() for label in labels if label.get_text()]
        for extent in extents:
            assert extent.x0 >= 0
            assert extent.y0 >= 0
            assert extent.x1 <= drawing.bbox.x1
            assert extent.y1 <= drawing.bbox.y1
    ticks = sorted(
        (tick.get_window_extent() for tick in drawings[1].axes[0].get_xticklabels()), key=lambda e: e.x0
    )
    assert all(first.x1 <= second.x0 for first, second in itertools.pairwise(ticks))
