"""The message passing of affinity propagation, compiled: scikit-learn's arithmetic on the few messages that matter.

scikit-learn's iteration (Frey and Dueck 2007, Science 315) passes about 28 times over matrices of people x people.
Most of their entries need not be stored. As long as a responsibility r(i, k) has never been above 0, the
availability a(i, k) has had the same history as all others like it in column k, so one number per column stands for
them; and r(i, k) can only rise above 0 after s(i, k) has exceeded the largest a(i, .) + s(i, .), whose
history is kept: r(i, k) is then computed from it, operation by operation. Such pairs are *active* and their messages are
stored; the active pairs of a person are the most similar people down to some place in their order, and a few more. The
largest a + s of a row is found by going through its most similar people until none of the rest can be larger.

Where many pairs become active (few, wide clusters; oscillations), whole rows are cheaper, and each of the remaining
iterations passes over them once. Either way every number undergoes the same operations in the same order, and column
sums are taken row after row as numpy does, so the results are those of scikit-learn to the last bit.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numba
import numpy as np

#: Allow vectorised maxima (there are no NaN); no flag that lets sums be reordered or products fused.
_SAFE = {"nnan", "nsz"}
_compiled = numba.njit(nogil=True, cache=True, fastmath=_SAFE, error_model="numpy")

#: Mean share of active pairs in a row above which whole rows are cheaper (measured).
WHOLE_ROWS_FROM = 0.2


# ---------------------------------------------------------------------------------------- single numbers


@_compiled
def _availability(old, responsibility, column_sum, damping, keep):
    positive = responsibility if responsibility > 0.0 else 0.0
    over = positive - column_sum
    over = over if over > 0.0 else 0.0
    return old * damping - over * keep


@_compiled
def _responsibility(old, similarity, other, damping, keep):
    return old * damping + (similarity - other) * keep


@_compiled
def _with(best, total, k):
    """Return the largest sum, its place (the first of equal ones), the second largest and its place, after one more sum."""
    largest, place, second, _ = best
    if total > largest or (total == largest and k < place):
        return total, k, largest, place
    if total > second:
        return largest, place, total, k
    return best


# ------------------------------------------------------------------------------------- active pairs only


@_compiled
def _search(i, order, ordered, base, highest, known, best):
    """Return the two largest sums of row i; `best` has those of the people whom `known` marks with `i`.

    `base` are the availabilities of all others, `highest` the largest of them.
    """
    for j in range(ordered.shape[1]):
        if ordered[i, j] + highest < best[2]:
            return best
        k = order[i, j]
        if known[k] != i:
            best = _with(best, ordered[i, j] + base[k], k)
    return best


@_compiled
def _activate(i, iteration, best, damping, people, base, history, known, active):
    """Store the messages of the pairs of row i that may now be positive: the row's best and all above `largest`."""
    similarities, order, ordered, _ = people
    index, sim, avail, resp, counts, ends = active
    largest, place, second, _ = best
    last = len(similarities) - 1
    keep = 1.0 - damping
    code = -2 - i
    count = before = counts[i]
    for j in range(count):
        known[index[i, j]] = code
    known[i] = code
    if known[place] != code:
        index[i, count] = place
        known[place] = code
        count += 1
    end = ends[i]
    while end < last and ordered[i, end] > largest:
        k = order[i, end]
        if known[k] != code:
            index[i, count] = k
            known[k] = code
            count += 1
        end += 1
    ends[i] = end
    for j in range(before, count):
        k = index[i, j]
        similarity, responsibility = similarities[i, k], 0.0
        for t in range(iteration):
            responsibility = _responsibility(responsibility, similarity, history[i, t], damping, keep)
        sim[i, j], avail[i, j] = similarity, base[k]
        other = second if k == place else largest
        resp[i, j] = _responsibility(responsibility, similarity, other, damping, keep)
    counts[i] = count


@_compiled
def _pass_active(iteration, damping, people, own, base, history, marks, active, column_sums, new_sums):
    """Update all messages once: the active pairs one by one, all others by the number that stands for their column."""
    similarities, order, ordered, diagonal = people
    index, sim, avail, resp, counts, ends = active
    # `known` has the row that saw a person last: everybody's own row comes before the same row again
    known, runner = marks
    n = len(similarities)
    own_avail, own_resp = own
    keep = 1.0 - damping
    highest = base.max()
    for i in range(n):
        count = counts[i]
        best = (diagonal[i] + own_avail[i], i, -np.inf, -1)
        known[i] = i
        for j in range(count):
            k = index[i, j]
            avail[i, j] = _availability(avail[i, j], resp[i, j], column_sums[k], damping, keep)
            known[k] = i
            best = _with(best, sim[i, j] + avail[i, j], k)
        k = runner[i]  # mostly the second one again, which makes the search below short
        if k >= 0 and known[k] != i:
            known[k] = i
            best = _with(best, similarities[i, k] + base[k], k)
        best = _search(i, order, ordered, base, highest, known, best)
        largest, place, second, runner[i] = best
        written = place == i
        for j in range(count):
            k = index[i, j]
            other = second if k == place else largest
            value = _responsibility(resp[i, j], sim[i, j], other, damping, keep)
            resp[i, j] = value
            if value > 0.0:
                new_sums[k] += value
            written = written or k == place
        other = second if place == i else largest
        own_resp[i] = _responsibility(own_resp[i], diagonal[i], other, damping, keep)
        if not written or (ends[i] < n - 1 and ordered[i, ends[i]] > largest):
            _activate(i, iteration, best, damping, people, base, history, known, active)
            for j in range(count, counts[i]):
                if resp[i, j] > 0.0:
                    new_sums[index[i, j]] += resp[i, j]
        history[i, iteration] = largest
        new_sums[i] += own_resp[i]  # a person's responsibility for themselves counts with its sign


@_compiled
def _write_rows(iterations, damping, similarities, base, history, active):
    """Turn the active pairs' messages, at the start of their rows, into whole rows; the diagonal is left to others."""
    n = len(similarities)
    index, _, availabilities, responsibilities, counts, _ = active
    keep = 1.0 - damping
    avail, resp = np.empty(n), np.empty(n)
    for i in range(n):
        row = similarities[i]
        avail[:] = base
        resp[:] = 0
        for t in range(iterations):
            largest = history[i, t]
            for k in range(n):
                resp[k] = _responsibility(resp[k], row[k], largest, damping, keep)
        for j in range(counts[i]):
            avail[index[i, j]] = availabilities[i, j]
            resp[index[i, j]] = responsibilities[i, j]
        availabilities[i] = avail
        responsibilities[i] = resp


# ------------------------------------------------------------------------------------------- whole rows


@_compiled
def _two_largest(s, a, places):
    """Return the largest and the second largest of s + a, and where the first (of equal ones) is.

    Mostly they are where they were one iteration ago. Counting confirms this, and unlike a maximum it is vectorised.
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
    best = (s[0] + a[0], 0, -np.inf, -1)
    for k in range(1, n):
        best = _with(best, s[k] + a[k], k)
    places[0], places[1] = best[1], best[3]
    return best[0], best[2], best[1]


@_compiled
def _pass_rows(damping, people, own, rows, places, column_sums, new_sums):
    """Update all messages once, row after row."""
    similarities, _, _, diagonal = people
    availabilities, responsibilities = rows
    n = len(similarities)
    own_avail, own_resp = own
    keep = 1.0 - damping
    row = np.empty(n)
    for i in range(n):
        row[:] = similarities[i]
        row[i] = diagonal[i]
        avail, resp = availabilities[i], responsibilities[i]
        for k in range(n):
            avail[k] = _availability(avail[k], resp[k], column_sums[k], damping, keep)
        avail[i] = own_avail[i]
        resp[i] = own_resp[i]
        largest, second, place = _two_largest(row, avail, places[i])
        of_place = _responsibility(resp[place], row[place], second, damping, keep)
        for k in range(n):
            resp[k] = _responsibility(resp[k], row[k], largest, damping, keep)
        resp[place] = of_place
        own_resp[i] = resp[i]
        before = new_sums[i]
        for k in range(n):
            new_sums[k] += resp[k] if resp[k] > 0.0 else 0.0
        new_sums[i] = before + own_resp[i]


# ------------------------------------------------------------------------------------------ the iterations


@_compiled
def pass_messages(
    similarities,
    order,
    ordered,
    diagonal,
    damping,
    max_iter,
    window,
    index,
    sim,
    availabilities,
    responsibilities,
    history,
):
    """Run affinity propagation's iterations for one setting.

    Parameters
    ----------
    similarities
        People x people, C order; the diagonal is not used.
    order, ordered
        Each row's other people from the most similar on, and their similarities: people x (people - 1).
    diagonal
        Preferences, one per person.
    damping
        Factor in [0.5, 1).
    max_iter, window
        Largest number of iterations; iterations without a change of exemplars that count as convergence.
    index
        Scratch, shape of `similarities`, integers.
    sim, availabilities, responsibilities
        Scratch, shape of `similarities`.
    history
        Scratch, people x `max_iter`.

    Returns
    -------
    exemplar : ndarray of bool, shape (people,)
    iterations : int
    converged : bool
    """
    n = len(similarities)
    keep = 1.0 - damping
    column_sums, new_sums = np.zeros(n), np.zeros(n)
    own_avail, own_resp = np.zeros(n), np.zeros(n)
    own = (own_avail, own_resp)
    base = np.zeros(n)
    people = (similarities, order, ordered, diagonal)
    # who was visited in which row, and the second best of each row; number of active pairs of each row, and where they end
    marks = (np.full(n, -1), np.full(n, -1))
    counts, ends = np.zeros(n, np.int64), np.zeros(n, np.int64)
    active = (index, sim, availabilities, responsibilities, counts, ends)
    rows = (availabilities, responsibilities)
    places = np.zeros((n, 2), np.int64)
    past = np.zeros((n, window), np.bool_)
    stable = np.zeros(n, np.int64)
    exemplar = np.zeros(n, np.bool_)
    whole = False
    for iteration in range(max_iter):
        new_sums[:] = 0
        if not whole and counts.sum() > WHOLE_ROWS_FROM * n * n:
            whole = True
            _write_rows(iteration, damping, similarities, base, history, active)
        if whole:
            _pass_rows(damping, people, own, rows, places, column_sums, new_sums)
        else:
            if iteration > 0:
                for k in range(n):
                    base[k] = _availability(base[k], 0.0, column_sums[k], damping, keep)
            _pass_active(iteration, damping, people, own, base, history, marks, active, column_sums, new_sums)
        column_sums, new_sums = new_sums, column_sums
        place = iteration % window
        chosen, settled = 0, True
        for k in range(n):
            own_avail[k] = own_avail[k] * damping - (own_resp[k] - column_sums[k]) * keep
            exemplar[k] = own_avail[k] + own_resp[k] > 0
            stable[k] += np.int64(exemplar[k]) - np.int64(past[k, place])
            past[k, place] = exemplar[k]
            chosen += exemplar[k]
            settled = settled and (stable[k] == 0 or stable[k] == window)
        if iteration >= window and settled and chosen > 0:
            return exemplar, iteration + 1, True
    return exemplar, max_iter, False


# ---------------------------------------------------------------------------------------------- the labels


@_compiled
def _nearest(similarities, exemplars):
    """Return the exemplar (0, 1, ...) most similar to each person, the first of equal ones; an exemplar's is itself."""
    n = len(similarities)
    nearest = np.empty(n, np.int64)
    for i in range(n):
        best = 0
        for k in range(1, len(exemplars)):
            if similarities[i, exemplars[k]] > similarities[i, exemplars[best]]:
                best = k
        nearest[i] = best
    for k in range(len(exemplars)):
        nearest[exemplars[k]] = k
    return nearest


@_compiled
def assign(similarities, diagonal, exemplars):
    """Assign people to exemplars, make the person most similar to all others in a cluster its exemplar, and assign again.

    Parameters
    ----------
    similarities
        People x people, C order; the diagonal is not used.
    diagonal
        Preferences, one per person.
    exemplars
        At least one row number, ascending.

    Returns
    -------
    ndarray of int, shape (people,)
        Each person's exemplar.
    """
    n = len(similarities)
    nearest = _nearest(similarities, exemplars)
    sums = np.empty(n)
    refined = exemplars.copy()
    for k in range(len(exemplars)):
        members = np.flatnonzero(nearest == k)
        sums[: len(members)] = 0
        for i in members:  # row after row, as numpy sums
            row = similarities[i]
            for j in range(len(members)):
                sums[j] += diagonal[i] if members[j] == i else row[members[j]]
        refined[k] = members[np.argmax(sums[: len(members)])]
    return refined[_nearest(similarities, refined)]
