"""The commands that compare clusters: in phenotype, in who their people are, and with other partitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.adjustment.characteristics import read_characteristics
from neurostrata.core.embeddings import read_embeddings
from neurostrata.core.errors import UserError
from neurostrata.core.families import families_of
from neurostrata.core.files import atomic_path, read_json, settings_record, sha256_file, sidecar_path
from neurostrata.core.people import require_people
from neurostrata.core.records import check
from neurostrata.core.tables import read_table, write_table
from neurostrata.strata.inputs import configured_finder, read_clusters, read_groups, read_strata
from neurostrata.strata.progress import progress_lines


def repartition_strata(
    *, clusters: Path, scores: Path, subjects: Path, output: Path, null: Path, settings: dict[str, Any]
) -> None:
    """Compare the clusters' H with that of random clusters of the same sizes.

    Parameters
    ----------
    clusters, scores
        Tables of people.
    subjects
        Table with `subject` and, where there are relatives, `family`.
    output, null
        Table to write, and the H of all draws (npz: factors, h, null) for the figure.
    settings
        Section `strata` with `seed`.
    """
    from neurostrata.core.families import family_blocks, fixed_people
    from neurostrata.strata.comparison.repartition import COLUMNS, repartition

    groups, table, facts = read_strata(clusters, scores)
    options = settings["repartition"]
    cohort = read_table(subjects, text=("subject", "family")).set_index("subject")
    require_people(subjects, cohort.index, groups.index, clusters)
    respected = options["families"] and not options["with_replacement"]
    families = families_of(cohort, groups.index) if respected else [""] * len(groups)
    result = repartition(
        table.to_numpy(dtype=float),
        groups.to_numpy(),
        families,
        options["draws"],
        settings["seed"],
        options["with_replacement"],
    )
    blocks = family_blocks(families)
    write_table(
        output,
        result.table(table.columns),
        COLUMNS,
        **facts,
        families_respected=respected,
        families_of_several=int(sum(len(block) for block in blocks if block.shape[1] > 1)),
        people_not_exchangeable=fixed_people(blocks),
        settings=settings_record({"repartition": options, "seed": settings["seed"]}),
    )
    with atomic_path(null) as temporary:
        np.savez_compressed(
            temporary,
            factors=np.array(table.columns, dtype=str),
            h=result.h,
            null=result.null.astype(np.float32),
        )


def compare_strata(
    *, clusters: Path, scores: Path, repartition: Path, output: Path, settings: dict[str, Any]
) -> None:
    """Test every factor between clusters by Kruskal-Wallis, with effect sizes and the repartition's p.

    Parameters
    ----------
    clusters, scores
        Tables of people.
    repartition
        Table of :func:`repartition_strata`.
    output
        Table to write.
    settings
        ``comparisons`` of the section `strata`.
    """
    from neurostrata.strata.comparison.table import COLUMNS, compare_clusters

    groups, table, facts = read_strata(clusters, scores)
    options = settings["comparisons"]
    frame = compare_clusters(groups, table, read_table(repartition, text=("factor",)), options)
    write_table(output, frame, COLUMNS, **facts, settings=settings_record({"comparisons": options}))


def profile_strata(*, clusters: Path, scores: Path, output: Path, settings: dict[str, Any]) -> None:
    """Write each cluster's median and mean of every factor and their quantiles in the whole population.

    Parameters
    ----------
    clusters, scores
        Tables of people.
    output
        Table to write.
    settings
        Nothing.
    """
    from neurostrata.strata.profiles import COLUMNS, cluster_profiles

    groups, table, facts = read_strata(clusters, scores)
    names = sorted(read_clusters(clusters)["cluster"].unique().tolist())
    write_table(output, cluster_profiles(groups, table, names), COLUMNS, **facts)


def composition(*, clusters: Path, people: Path, output: Path, tests: Path, settings: dict[str, Any]) -> None:
    """Describe the people of each cluster, and test whether clusters differ in who they are.

    Parameters
    ----------
    clusters
        Table of people; those who fit no cluster are left out.
    people
        Their characteristics (``cohort/characteristics.tsv``).
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

    groups, described = read_groups(clusters), read_characteristics(people)
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


def strata_quality(
    *, clusters: Path, measures: Path, people: Path, output: Path, settings: dict[str, Any]
) -> None:
    """Test whether clusters differ in the quality of their people's images, in site or in head size.

    Parameters
    ----------
    clusters
        Table of people; those who fit no cluster are left out.
    measures
        Measures of everybody's images (``qc/measures.tsv``).
    people
        Their characteristics (``cohort/characteristics.tsv``).
    output
        Table to write.
    settings
        ``draws`` of the permutations, ``confidence``, ``seed``.
    """
    from neurostrata.strata.comparison.quality import COLUMNS, compare_quality

    groups, described = read_groups(clusters), read_characteristics(people)
    require_people(people, described.index, groups.index, clusters)
    measured = read_table(measures).set_index("subject").astype(float)
    words = read_json(sidecar_path(measures))["Columns"]
    table = compare_quality(
        groups, measured, described, words, settings["draws"], settings["confidence"], settings["seed"]
    )
    facts = {
        "people": len(groups),
        "draws": settings["draws"],
        "settings": settings_record(settings),
        "inputs": {str(path): sha256_file(path) for path in (clusters, measures, people)},
    }
    write_table(output, table, COLUMNS, **facts)


def compare_adjusted(
    *, clusters: Path, scores: Path, people: Path, output: Path, settings: dict[str, Any]
) -> None:
    """Test every factor between clusters, adjusted for age, sex, head size, site, image quality and the study's own columns.

    Parameters
    ----------
    clusters, scores
        Tables of people.
    people
        Their characteristics (``cohort/characteristics.tsv``).
    output
        Table to write.
    settings
        ``draws``, ``confidence``, ``families`` (whether whole families are exchanged), ``seed``; ``covariates``, where
        the study names further ones; ``splines``, where they are not straight lines.
    """
    from neurostrata.strata.comparison.adjusted import COLUMNS
    from neurostrata.strata.comparison.adjusted import compare_adjusted as compare

    groups, table, facts = read_strata(clusters, scores)
    described = read_characteristics(people)
    require_people(people, described.index, groups.index, clusters)
    frame, further = compare(
        groups,
        table,
        described,
        settings["draws"],
        settings["confidence"],
        settings["seed"],
        settings["families"],
        settings.get("covariates", ()),
        settings.get("splines", 1),
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
    """Find clusters in one half of the people and test them in the other half, for many random halves.

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
        Results do not depend on it.
    """
    from neurostrata.strata.comparison.split_half import COLUMNS, DRAWS, FACTOR_COLUMNS, split_halves

    known = read_embeddings(embeddings).complete()
    subjects = pd.Index(known.subjects)
    scored = read_table(scores).set_index("subject").astype(float)
    require_people(scores, scored.index, subjects, embeddings)
    table, described = scored.reindex(subjects), read_characteristics(people)
    require_people(people, described.index, subjects, embeddings)
    splits, tested = split_halves(
        configured_finder(settings, embeddings, threads),
        known.values,
        table,
        families_of(described, subjects),
        settings["split_half"]["splits"],
        settings["comparisons"]["alpha"],
        settings["seed"],
        progress_lines("splits"),
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
    """Join clusters with other people's phenotypes and count how often anything is found.

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
    from neurostrata.strata.comparison.shuffles import COLUMNS, found_shares
    from neurostrata.strata.comparison.shuffles import shuffle_links as shuffle

    groups, table, facts = read_strata(clusters, scores)
    check(null)
    drawn = np.load(null)
    if list(drawn["factors"]) != list(table.columns):
        raise UserError(f"{null}: is not about the factors of {scores}; remove it and run again")
    described = read_characteristics(people)
    require_people(people, described.index, groups.index, clusters)
    families = families_of(described, groups.index) if settings["families"] else [""] * len(groups)
    frame = shuffle(
        groups.to_numpy(),
        table.to_numpy(dtype=float),
        families,
        drawn["null"].astype(float),
        settings["shuffles"],
        settings["alpha"],
        settings["seed"],
    )
    shares = found_shares(frame, settings["alpha"])
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
