"""Which people an iteration of the template uses: the workflow plans their registrations, and the update averages them.

Standard library only: used while the workflow is parsed.
"""

from __future__ import annotations

from collections.abc import Sequence


def people_of_iteration(people: Sequence[str], number: int | None, iteration: int) -> list[str]:
    """Return the people of an iteration: a number of them, spread evenly over the list, other ones in each iteration.

    Each iteration begins one person later in the list than the one before. Nobody is drawn at random.

    Parameters
    ----------
    people
        Everybody who helps build the template, in the order of the sheet.
    number
        How many are used, at least 1; None uses everybody, as does a number that is not below that of the people.
    iteration
        1 for the first.
    """
    if number is None or number >= len(people):
        return list(people)
    return [people[(place * len(people) // number + iteration - 1) % len(people)] for place in range(number)]
