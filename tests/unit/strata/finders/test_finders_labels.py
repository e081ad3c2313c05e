"""Numbers of clusters: in the order of their first people, or of their sizes."""

import numpy as np

from neurostrata.strata.finders.labels import canonical, number_by_size


def test_labels_are_in_the_order_of_their_first_people():
    found = canonical(np.array([7, 3, 7, -1, 3, 9]))
    np.testing.assert_array_equal(found, [0, 1, 0, 2, 1, 3])
    assert found.dtype == np.intp


def test_numbers_are_in_the_order_of_sizes_and_then_of_first_people():
    np.testing.assert_array_equal(number_by_size(np.array([5, 2, 2, 8, 8, 0])), [3, 1, 1, 2, 2, 4])
    sizes = np.tile([1, 2], 20)  # labels are those of the clusters' order
    found = number_by_size(np.arange(40).repeat(sizes))
    number = np.where(sizes == 2, np.arange(40) // 2 + 1, np.arange(40) // 2 + 21)
    np.testing.assert_array_equal(found, number.repeat(sizes))
    assert found.dtype == np.intp
