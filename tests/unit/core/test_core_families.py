"""Families: who belongs to which."""

import numpy as np
import pandas as pd

from neurostrata.core.families import families_of, family_names


def test_a_person_without_a_family_is_a_family_of_one():
    people = pd.DataFrame({"family": ["f1", np.nan, "f1", ""]}, index=["01", "02", "03", "04"])
    found = families_of(people, ["03", "02", "05", "04", "01"])
    assert found == ["f1", "", "", "", "f1"]
    names = family_names(["03", "02", "05", "04", "01"], found)
    assert names == ["f1", "person 02", "person 05", "person 04", "f1"]
    assert families_of(people.drop(columns="family"), ["01", "02"]) == ["", ""]
