"""The message passing of affinity propagation, compiled: the arithmetic of scikit-learn, in one pass over memory.

scikit-learn's iteration (Frey and Dueck 2007, Science 315) goes about 28 times over matrices of people x
people. Here each row is taken once: its availabilities, which the last iteration's column sums give, its two largest
sums, its responsibilities. Every element sees the same operations in the same order, and column sums are taken row
after row as numpy does, so float64 results are scikit-learn's to the last bit.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

#: Allow vectorised maxima (there are no NaN); no flag that lets sums be reordered or products fused.
_SAFE = {"nnan", "nsz"}


@numba.njit(nogil=True, cache=True, fastmath=_SAFE, error_model="numpy")
def _two_largest(s, a, places):  # type: ignore[no-untyped-def]
    """Return the largest and the second largest of s + a, and where the first (of equal ones) is.

    Mostly they are where they were one iteration ago, which counting confirms: unlike a maximum, it is vectorised.
    """
    n = len(s)
    largest = s[places[0]] + a[places[0]]
    second = s[places[1]] + a[places[1]]
    above, above_second = 0, 0
    for k in range(n):
        total = s[k] + a[k]
        above += total >= largest
        above_second += total >= second
    if above == 1 and above_second == 2:
        return largest, second, places[0]
    place, next_place = 0, -1
    largest, second = s[0] + a[0], s.dtype.type(-np.inf)
    for k in range(1, n):
        total = s[k] + a[k]
        if total > second:
            if total > largest:
                largest, second, next_place, place = total, largest, place, k
            else:
                second, next_place = total, k
    places[0], places[1] = place, next_place
    return largest, second, place


@numba.njit(nogil=True, cache=True, fastmath=_SAFE, error_model="numpy")
def _update_row(s, a, r, here, column_sums, new_sums, damping, first, places):  # type: ignore[no-untyped-def]
    """Update one person's messages in place."""
    n = len(s)
    zero = damping - damping
    keep = s.dtype.type(1) - damping
    if not first:
        own = a[here]  # updated at the end of the last iteration
        for k in range(n):
            positive = r[k] if r[k] > zero else zero
            over = positive - column_sums[k]
            over = over if over > zero else zero
            a[k] = a[k] * damping - over * keep
        a[here] = own
    largest, second, place = _two_largest(s, a, places)
    of_place = r[place] * damping + (s[place] - second) * keep
    for k in range(n):
        r[k] = r[k] * damping + (s[k] - largest) * keep
    r[place] = of_place
    own_sum = new_sums[here]
    for k in range(n):
        new_sums[k] += r[k] if r[k] > zero else zero
    new_sums[here] = own_sum + r[here]  # a person's responsibility for themselves counts with its sign


@numba.njit(nogil=True, cache=True, fastmath=_SAFE, error_model="numpy")
def pass_messages(similarities, diagonal, damping, max_iter, window, availabilities, responsibilities):  # type: ignore[no-untyped-def]
    """Run affinity propagation's iterations for one setting.

    Parameters
    ----------
    similarities
        People x people, C order; its diagonal is overwritten in the rows that are worked on, so every thread needs
        rows of its own there: see `diagonal`.
    diagonal
        Preferences, one per person.
    damping
        Factor in [0.5, 1), of the type of `similarities`.
    max_iter, window
        Iterations at most; iterations without a change of exemplars that count as convergence.
    availabilities, responsibilities
        Scratch, shape of `similarities`.

    Returns
    -------
    exemplar : ndarray of bool, shape (people,)
    iterations : int
    converged : bool
    """
    n = len(similarities)
    availabilities[:] = 0
    responsibilities[:] = 0
    column_sums = np.zeros(n, similarities.dtype)
    new_sums = np.zeros(n, similarities.dtype)
    row = np.empty(n, similarities.dtype)
    places = np.zeros((n, 2), np.int64)
    keep = similarities.dtype.type(1) - damping
    history = np.zeros((n, window), np.bool_)
    stable = np.zeros(n, np.int64)
    exemplar = np.zeros(n, np.bool_)
    for iteration in range(max_iter):
        new_sums[:] = 0
        for i in range(n):
            row[:] = similarities[i]
            row[i] = diagonal[i]
            _update_row(
                row,
                availabilities[i],
                responsibilities[i],
                i,
                column_sums,
                new_sums,
                damping,
                iteration == 0,
                places[i],
            )
        column_sums, new_sums = new_sums, column_sums
        place = iteration % window
        chosen, settled = 0, True
        for k in range(n):
            own = responsibilities[k, k]
            availabilities[k, k] = availabilities[k, k] * damping - (own - column_sums[k]) * keep
            exemplar[k] = availabilities[k, k] + own > 0
            stable[k] += np.int64(exemplar[k]) - np.int64(history[k, place])
            history[k, place] = exemplar[k]
            chosen += exemplar[k]
            settled = settled and (stable[k] == 0 or stable[k] == window)
        if iteration >= window and settled and chosen > 0:
            return exemplar, iteration + 1, True
    return exemplar, max_iter, False
