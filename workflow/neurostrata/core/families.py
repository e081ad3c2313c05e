"""Families: who is related to whom, and divisions, samples and exchanges of people that keep relatives together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Labels = NDArray[np.intp]


def families_of(people: pd.DataFrame, subjects: Sequence[str] | pd.Index) -> list[str]:
    """Return each subject's family, "" for none.

    Parameters
    ----------
    people
        Indexed by subject, with a column ``family``; without that column nobody has a family.
    subjects
        The people, in order.
    """
    if "family" not in people:
        return [""] * len(subjects)
    return people["family"].reindex(subjects).fillna("").astype(str).tolist()


def family_names(subjects: Iterable[str], families: Iterable[str]) -> list[str]:
    """Return the name of each person's family; a person without a family ("") is a family of one."""
    return [family or f"person {subject}" for subject, family in zip(subjects, families, strict=True)]


def family_numbers(families: Sequence[str]) -> Labels:
    """Return a number per person, equal for members of a family; a person without a family ("") has a number of their own."""
    names = [f"family {f}" if f else f"person {row}" for row, f in enumerate(families)]
    return np.unique(np.array(names, dtype=str), return_inverse=True)[1].astype(np.intp).ravel()


def family_parts(families: Sequence[str], parts: int, generator: np.random.Generator) -> Labels:
    """Divide people at random into parts of about equal size; return each person's part, from 0.

    The largest families are placed first, each in the smallest part so far. The sizes of the parts then depend only on the
    sizes of the families: up to their order, they are the same in every division of the same people.

    Parameters
    ----------
    families
        One per person, "" for none.
    parts
        How many.
    generator
        Of the random order of families and parts.
    """
    number = family_numbers(families)
    count = np.bincount(number)
    shuffled = generator.permutation(len(count))
    part_of = np.zeros(len(count), dtype=np.intp)
    filled = np.zeros(parts)
    for family in shuffled[np.argsort(-count[shuffled], kind="stable")]:
        order = generator.permutation(parts)
        part_of[family] = part = order[np.argmin(filled[order])]
        filled[part] += count[family]
    return part_of[number]


def family_sample(families: Sequence[str], generator: np.random.Generator) -> Labels:
    """Return the rows of a bootstrap sample of whole families, each person once.

    Families that are drawn more than once are not repeated, so that about 63% of them are in a sample: a person who
    occurs twice would look like a cluster.
    """
    # not family_numbers: the order of these names decides which family a random number draws
    names = np.array(family_names(map(str, range(len(families))), families))
    unique, family = np.unique(names, return_inverse=True)
    drawn = np.unique(generator.integers(len(unique), size=len(unique)))
    return np.flatnonzero(np.isin(family, drawn))


def family_blocks(families: Sequence[str]) -> list[Labels]:
    """Group people into families, and families by size: families of one size can be exchanged.

    Parameters
    ----------
    families
        One per person; an empty text (or NaN, None) makes a person a family of their own.

    Returns
    -------
    list of arrays
        One array (families x members: rows of people) per family size, sizes increasing.
    """
    members: dict[str, list[int]] = {}
    for row, family in enumerate(families):
        alone = family is None or family != family or str(family).strip() == ""
        members.setdefault(f"row {row}" if alone else f"family {family}", []).append(row)
    by_size: dict[int, list[list[int]]] = {}
    for rows in members.values():
        by_size.setdefault(len(rows), []).append(rows)
    return [np.array(by_size[size], dtype=np.intp) for size in sorted(by_size)]


def fixed_people(blocks: Sequence[Labels]) -> int:
    """Return how many people cannot be exchanged: those of the only family of its size."""
    return int(sum(block.size for block in blocks if len(block) == 1))


def family_weights(
    families: Sequence[str], draws: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Return how often each person counts in each bootstrap draw (draws x people), families drawn as a whole."""
    number = family_numbers(families)
    many = int(number.max()) + 1
    return generator.multinomial(many, np.full(many, 1 / many), draws).astype(float)[:, number]
