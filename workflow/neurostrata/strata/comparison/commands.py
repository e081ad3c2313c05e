"""The commands of what a careful reader asks next about clusters: files in, files out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.adjustment.characteristics import WORDS
from neurostrata.core.embeddings import read_embeddings, read_parts
from neurostrata.core.errors import UserError
from neurostrata.core.families import families_of
from neurostrata.core.files import read_json, settings_record, sha256_file, sidecar_path
from neurostrata.core.people import require_people
from neurostrata.core.records import check
from neurostrata.core.tables import read_table, write_table
from neurostrata.strata.commands import _progress, read_clusters, read_strata


def read_people(people: Path) -> pd.DataFrame:
    """Return what is known of people, by subject."""
    return read_table(people, text=WORDS).set_index("subject")


def read_groups(clusters: Path) -> pd.Series:
    """Return the clusters of those who fit one, by subject."""
    table = read_clusters(clusters)
    return table.loc[table["fits"] == "yes", "cluster"]


def composition(*, clusters: Path, people: Path, output: Path, tests: Path, settings: dict[str, Any]) -> None:
    """Say who the people of each cluster are, and whether clusters differ in it.

    Parameters
    ----------
    clusters
        Table of people; those who fit no cluster are left out.
    people
        What is known of them (``cohort/characteristics.tsv``).
    output, tests
        Tables to write: means, counts and shares of every characteristic in every cluster, and one test for each.
    settings
        ``draws`` of the permutations, ``confidence``, ``seed``.
    """
    from neurostrata.strata.comparison.composition import (
        COLUMNS,
        TEST_COLUMNS,
        compare_composition,
        describe_clusters,
    )

    groups, described = read_groups(clusters), read_people(people)
    require_people(people, described.index, groups.index, clusters)
    known = [c for c in described if described[c].reindex(groups.index).notna().any()]
    facts = {
        "people": len(groups),
        "not_known_of_anybody": [c for c in described if c not in known],
        "settings": settings_record(settings),
        "inputs": {str(path): sha256_file(path) for path in (clusters, people)},
    }
    write_table(output, describe_clusters(groups, described[known]), COLUMNS, **facts)
    table = compare_composition(
        groups, described[known], settings["draws"], settings["confidence"], settings["seed"]
    )
    write_table(tests, table, TEST_COLUMNS, **facts, draws=settings["draws"])


def compare_adjusted(
    *, clusters: Path, scores: Path, people: Path, output: Path, settings: dict[str, Any]
) -> None:
    """Test every factor between clusters beside age, sex, head size, site and image quality.

    Parameters
    ----------
    clusters, scores
        Tables of people.
    people
        What is known of them (``cohort/characteristics.tsv``).
    output
        Table to write.
    settings
        ``draws``, ``confidence``, ``families`` (whether whole families are exchanged), ``seed``.
    """
    from neurostrata.strata.comparison.adjusted import COLUMNS
    from neurostrata.strata.comparison.adjusted import compare_adjusted as compare

    groups, table, facts = read_strata(clusters, scores)
    described = read_people(people)
    require_people(people, described.index, groups.index, clusters)
    frame, further = compare(
        groups,
        table,
        described,
        settings["draws"],
        settings["confidence"],
        settings["seed"],
        settings["families"],
    )
    inputs = {**facts.pop("inputs"), str(people): sha256_file(people)}
    write_table(output, frame, COLUMNS, **facts, **further, inputs=inputs, settings=settings_record(settings))


def split_half(
    *,
    embeddings: Path,
    scores: Path,
    people: Path,
    output: Path,
    factors: Path,
    settings: dict[str, Any],
    threads: int = 1,
) -> None:
    """Find clusters in one half of the people and test them in the other half, again and again.

    Parameters
    ----------
    embeddings
        Codes that are clustered.
    scores
        Phenotype factors.
    people
        Table with `subject` and `family`.
    output, factors
        Tables to write: one row for each division, one for each factor.
    settings
        ``finder``, ``options``, ``split_half``, ``comparisons`` (alpha), ``seed``.
    threads
        Results don't depend on it.
    """
    from neurostrata.strata.comparison.split_half import COLUMNS, DRAWS, FACTOR_COLUMNS, split_halves
    from neurostrata.strata.finders.registry import build_finder

    known = read_embeddings(embeddings).complete()
    subjects = pd.Index(known.subjects)
    scored = read_table(scores).set_index("subject").astype(float)
    require_people(scores, scored.index, subjects, embeddings)
    table, described = scored.reindex(subjects), read_people(people)
    require_people(people, described.index, subjects, embeddings)
    parts = read_parts(embeddings)
    finder = build_finder(settings["finder"], settings["options"], settings["seed"], threads, parts)
    splits, tested = split_halves(
        finder,
        known.values,
        table,
        families_of(subjects, described),
        settings["split_half"]["splits"],
        settings["comparisons"]["alpha"],
        settings["seed"],
        _progress("splits"),
    )
    facts = {
        "Codes": "The codes themselves were learned from everybody (and where they are adjusted, so were the effects of "
        "the covariates); components and clusters were learned from the first half alone.",
        "Repartitions": DRAWS,
        "settings": settings_record(settings),
        "inputs": {str(path): sha256_file(path) for path in (embeddings, scores, people)},
    }
    write_table(output, splits, COLUMNS, **facts)
    write_table(factors, tested, FACTOR_COLUMNS, **facts)


def shuffle_links(
    *, clusters: Path, scores: Path, people: Path, null: Path, output: Path, settings: dict[str, Any]
) -> None:
    """Join clusters with other people's phenotypes and see how often anything is found.

    Parameters
    ----------
    clusters, scores
        Tables of people.
    people
        Table with `subject` and `family`.
    null
        H of the random repartitions (npz).
    output
        Table to write; its sidecar has the share of the shuffles that could be tested in which a factor was found, with
        Wilson's interval.
    settings
        ``shuffles``, ``alpha``, ``families`` (whether whole families are exchanged), ``seed``.
    """
    from neurostrata.strata.comparison.shuffles import COLUMNS, wilson_interval
    from neurostrata.strata.comparison.shuffles import shuffle_links as shuffle

    groups, table, facts = read_strata(clusters, scores)
    check(null)
    drawn = np.load(null)
    if list(drawn["factors"]) != list(table.columns):
        raise UserError(f"{null}: is not about the factors of {scores}; remove it and run again")
    described = read_people(people)
    require_people(people, described.index, groups.index, clusters)
    families = families_of(groups.index, described) if settings["families"] else [""] * len(groups)
    frame = shuffle(
        groups.to_numpy(),
        table.to_numpy(dtype=float),
        families,
        drawn["null"].astype(float),
        settings["shuffles"],
        settings["alpha"],
        settings["seed"],
    )
    shares: dict[str, float | None] = {}
    # A control that could not be run has no share of 0.
    tested = frame[frame["smallest_q"].notna()]
    for name in ("", "_repartition"):
        hits = int((tested[f"smallest_q{name}"] <= settings["alpha"]).sum())
        low, high = wilson_interval(hits, len(tested))
        share = hits / len(tested) if len(tested) else None
        shares |= {f"share_found{name}": share}
        shares |= {
            f"{end}{name}": None if share is None else value
            for end, value in (("share_low", low), ("share_high", high))
        }
    inputs = {**facts.pop("inputs"), **{str(path): sha256_file(path) for path in (people, null)}}
    write_table(output, frame, COLUMNS, **facts, **shares, inputs=inputs, settings=settings_record(settings))


def agreement(*, clusters: list[Path], output: Path, crosstabs: Path, settings: dict[str, Any]) -> None:
    """Compare every two partitions, of all experiments and finders.

    Parameters
    ----------
    clusters
        ``{experiment}/strata/{codes}/{finder}/clusters.tsv``; people who fit no cluster are left out.
    output, crosstabs
        Tables to write: a row for every two partitions, and the people in every two clusters.
    settings
        Nothing.
    """
    from neurostrata.strata.comparison.agreement import COLUMNS, CROSSTAB_COLUMNS, compare_partitions

    partitions = {}
    for path in clusters:
        finder = read_json(sidecar_path(path))["finder"]
        partitions[path.parents[3].name, finder] = read_groups(path)
    table, cells = compare_partitions(partitions)
    facts = {
        "settings": settings_record(settings),
        "inputs": {str(path): sha256_file(path) for path in clusters},
    }
    write_table(output, table, COLUMNS, **facts)
    write_table(crosstabs, cells, CROSSTAB_COLUMNS, **facts)
