"""Names of factors from the configuration, and proposed ones."""

import pandas as pd
import pytest

from neurostrata.core.errors import UserError
from neurostrata.phenotypes.naming import named_factors, proposed_names

FACTORS = ["factor_01", "factor_02", "factor_03"]


@pytest.mark.parametrize(
    ("names", "given"),
    [
        (None, {}),
        (["memory", "mood", "sleep"], {"factor_01": "memory", "factor_02": "mood", "factor_03": "sleep"}),
        ({"factor_02": "mood"}, {"factor_02": "mood"}),
        ({"3": "sleep", "factor_01": "memory"}, {"factor_01": "memory", "factor_03": "sleep"}),
    ],
)
def test_names_of_all_or_some(names, given):
    assert named_factors(names, FACTORS) == given


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["memory"], "1 name, but the study has 3 factors, factor_01 to factor_03"),
        (["a", "b", "c", "d"], "4 names, but the study has 3 factors"),
        ({"factor_04": "x"}, "no factor 'factor_04'; the study has 3 factors, factor_01 to factor_03"),
        ({"0": "x"}, "no factor '0'"),
        ({"1": "x", "factor_01": "y"}, "names a factor twice"),
        ({"1": "x", "2": "x"}, "gives two factors the same name"),
    ],
)
def test_names_that_do_not_fit_are_refused_in_one_line(names, message):
    with pytest.raises(UserError) as error:
        named_factors(names, FACTORS)
    assert message in str(error.value)
    assert str(error.value).startswith("phenotypes.factor_names: ")
    assert "\n" not in str(error.value)


def test_proposals_are_the_highest_loadings():
    loadings = pd.DataFrame(
        {"factor_01": [0.9, -0.8, 0.7, 0.1], "factor_02": [0.1, 0.2, 0.05, -0.25]}, index=list("abcd")
    )
    assert proposed_names(loadings, 0.3) == {"factor_01": "a and less b", "factor_02": "less d"}
    assert proposed_names(loadings, 0.3, most=3)["factor_01"] == "a and less b and c"
