"""Sites and columns that differ between them are removed together: neither is taken for the other."""

import numpy as np
import pandas as pd
import pytest

from neurostrata.adjustment.codes import Adjustment, free_of_covariates
from neurostrata.core.embeddings import Embeddings


@pytest.mark.parametrize("splines", [1, 4])
def test_age_goes_from_each_site_where_sites_differ_in_age(splines):
    """Site b is 20 years older. By least squares on sites and age at once, no slope is left within any site."""
    random = np.random.default_rng(0)
    people = 400
    site = np.where(random.random(people) < 0.5, "a", "b")
    age = random.normal(30, 5, people) + 20 * (site == "b")
    planted = np.array([0.2, -0.2, 0.1, 0.0, 0.0, 0.0])
    moved = random.normal(size=6) * 2
    noise = random.normal(size=(people, 6))
    names = [f"{i:03d}" for i in range(people)]
    codes = Embeddings(
        names,
        noise + np.outer(age, planted) + np.outer(site == "b", moved),
        pd.DataFrame({"subject": names, "role": "train"}),
    )
    table = pd.DataFrame({"age": age, "site": site}, index=names)
    adjusted, left_out = free_of_covariates(
        codes, table, {"columns": ["age"], "sites": "site", "splines": splines}
    )
    assert left_out.empty
    for name in "ab":
        of_site = site == name
        # the noise has slopes of its own, of some 0.014
        slopes = np.polyfit(age[of_site], adjusted.values[of_site], 1)[0]
        assert np.abs(slopes).max() < 0.04
        np.testing.assert_allclose(adjusted.values[of_site].mean(0), codes.values.mean(0), atol=0.1)
    # what is left is the noise
    for column in range(6):
        assert np.corrcoef(adjusted.values[:, column], noise[:, column])[0, 1] > 0.95


def test_a_column_that_the_sites_determine_goes_with_them():
    random = np.random.default_rng(1)
    site = np.repeat(["a", "b", "c"], 20)
    field = np.repeat([1.5, 3.0, 3.0], 20)  # tesla
    names = [f"{i:02d}" for i in range(60)]
    values = random.normal(size=(60, 4)) + 2 * field[:, None]
    codes = Embeddings(names, values, pd.DataFrame({"subject": names, "role": "train"}))
    table = pd.DataFrame({"site": site, "field": field, "again": field}, index=names)
    both, _ = Adjustment(table, "site", covariates=("field", "again")).apply(codes)
    sites, _ = Adjustment(table, "site").apply(codes)
    np.testing.assert_allclose(both.values, sites.values, atol=0.2)
    assert np.ptp([both.values[site == name].mean(0) for name in "abc"], axis=0).max() < 0.3
