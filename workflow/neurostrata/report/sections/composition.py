"""The characteristics of the people in each cluster (age, sex, site and others), their tests, and who is in no cluster."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from neurostrata.core.wording import count, join_words
from neurostrata.report.data.evidence import Evidence
from neurostrata.report.data.layout import Experiment
from neurostrata.report.html.blocks import (
    Cell,
    Section,
    Table,
    Text,
    cut_off,
    fixed,
    format_number,
    format_p,
    frame_table,
    human_name,
)
from neurostrata.report.html.page import Page
from neurostrata.report.text.judge import explaining
from neurostrata.report.text.verdict import EFFECTS

#: More levels of one characteristic (families, many sites) are left to the folded table.
LEVELS = 8
#: More clusters are left to the folded table.
CLUSTERS = 10
#: Measures of image quality in the table at most; those that differ most between clusters are shown.
MEASURES = 10


def composition_section(page: Page, experiment: Experiment, evidence: Evidence) -> Section:
    """Return the table of who is in which cluster, its tests, and the people who are in no cluster."""
    study, name = page.study, experiment.name
    section = Section("composition", "Composition of the clusters")
    path, tests_path = experiment.strata("composition.tsv"), experiment.strata("composition_tests.tsv")
    composition = study.table(
        path, f"Composition of the clusters in {name}", ("characteristic", "cluster", "n")
    )
    tests = study.table(
        tests_path,
        f"Tests of the clusters' composition in {name}",
        ("characteristic", "p", "q", "effect", "effect_name"),
    )
    if composition is not None:
        table = composition_table(composition, tests, study.alpha, study.level)
        quality_paths = _add_quality(page, experiment, evidence, table)
        table.sources = page.sources(path, tests_path, *quality_paths)
        if explained := explaining(evidence, study.alpha):
            names = join_words([human_name(name) for name in explained])
            table.caption += f" A cluster that follows {names} says nothing about the brain."
        section.add(table)
        section.add(
            frame_table(
                composition,
                "Characteristics of each cluster, every level",
                sources=page.sources(path),
                folded=True,
            )
        )
    if tests is not None:
        section.add(
            frame_table(
                tests,
                "Tests of the composition",
                formats={
                    "characteristic": human_name,
                    "effect_name": lambda text: EFFECTS[text],
                    "p": format_p,
                    "q": format_p,
                },
                names={"p": "p", "q": "q", "n": "n"},
                sources=page.sources(tests_path),
                folded=True,
            )
        )
    outside = evidence.outside()
    if outside:
        section.add(
            Text(
                f"{count(len(outside), 'person fits', 'people fit')} into no cluster, because they are too far from every centre: {', '.join(outside)}. "
                "They are counted in the nearest cluster, but left out of every comparison.",
                sources=page.sources(experiment.strata("clusters.tsv")),
            )
        )
    elif evidence.clusters is not None and "fits" in evidence.clusters:
        section.add(
            Text("Everybody fits into a cluster.", sources=page.sources(experiment.strata("clusters.tsv")))
        )
    return section


def composition_table(
    composition: pd.DataFrame, tests: pd.DataFrame | None, alpha: float = 0.05, confidence: str = "95%"
) -> Table:
    """Return characteristics x clusters: mean ± standard deviation, or number and share; effect and q at the end."""
    frame = composition.assign(
        cluster=composition["cluster"].astype(str),
        level=composition["level"].fillna("").astype(str) if "level" in composition else "",
    )
    clusters = list(dict.fromkeys(frame["cluster"]))
    clusters.sort(key=lambda text: (text != "all", int(text) if text.isdigit() else 0))
    number = sum(cluster != "all" for cluster in clusters)
    clusters = clusters[: CLUSTERS + 1]
    by_name = None if tests is None else tests.drop_duplicates("characteristic").set_index("characteristic")
    rows, groups, marked = [], [], []
    for characteristic, part in frame.groupby("characteristic", sort=False):
        levels = list(dict.fromkeys(part["level"]))
        hidden = len(levels) - LEVELS
        for position, level in enumerate(levels[:LEVELS]):
            own = part[part["level"] == level].drop_duplicates("cluster").set_index("cluster")
            label = human_name(str(characteristic)) if position == 0 else ""
            shown = f"{level} (and {hidden} more)" if hidden > 0 and position == LEVELS - 1 else level
            cells = [Cell(label), Cell(shown)]
            cells += [Cell(_entry(own.loc[c]) if c in own.index else "") for c in clusters]
            test = (
                by_name.loc[characteristic]
                if by_name is not None and characteristic in by_name.index
                else None
            )
            if test is not None and position == 0:
                effect = EFFECTS[test["effect_name"]]
                known = pd.notna(test["effect"])
                cells += [
                    Cell(f"{effect} = {_with_interval(test)}" if known else "n/a"),
                    Cell(format_p(test["q"])),
                ]
            else:
                cells += [Cell(""), Cell("")]
            rows.append(cells)
            groups.append(position == 0)
            marked.append(test is not None and bool(test["q"] < alpha) and position == 0)
    heads = ["All" if c == "all" else f"Cluster {c}" for c in clusters]
    return Table(
        title="Characteristics of each cluster",
        columns=["", "", *heads, "Effect [interval]", "q"],
        rows=rows,
        numeric=[False, False, *[True] * len(heads), False, True],
        groups=groups,
        marked=marked,
        caption=f"Mean ± standard deviation, or people (share of the cluster). Marked: q below {alpha:g}. Intervals: {confidence}. The folded table "
        f"has the tests.{cut_off(number, CLUSTERS, 'clusters; the folded table has all')}",
    )


def _with_interval(test: pd.Series) -> str:
    """Return an effect size with its interval, where it has one."""
    text = format_number(test["effect"], 2)
    if (
        {"effect_low", "effect_high"} <= set(test.index)
        and pd.notna(test["effect_low"])
        and pd.notna(test["effect_high"])
    ):
        decimals = fixed(2)
        text = f"{decimals(test['effect'])} [{decimals(test['effect_low'])}, {decimals(test['effect_high'])}]"
    return text


def _add_quality(page: Page, experiment: Experiment, evidence: Evidence, table: Table) -> list[Path]:
    """Add a row for each measure of image quality to the table of characteristics, in place; return the files used.

    Measures that are tested between the clusters come first, the strongest ones; at most :data:`MEASURES` are shown.
    """
    study = page.study
    path, tests_path = study.tree.quality_measures, experiment.quality_tests()
    measures = study.table(path, columns=("subject",)) if path.is_file() else None
    if measures is None or evidence.clusters is None:
        return []
    tests = (
        study.table(tests_path, columns=("variable", "effect", "p_adjusted"))
        if tests_path.is_file()
        else None
    )
    outside = set(evidence.outside())
    inside = evidence.clusters[~evidence.clusters["subject"].astype(str).isin(outside)]
    values = measures.set_index(measures["subject"].astype(str)).reindex(inside["subject"].astype(str))
    cluster = inside["cluster"].to_numpy()
    numbers = [
        c
        for c in values
        if c != "subject" and pd.api.types.is_numeric_dtype(values[c]) and values[c].notna().any()
    ]
    tested = None if tests is None else tests.drop_duplicates("variable").set_index("variable")
    if tested is not None:
        strength = {
            str(name): abs(float(effect)) for name, effect in tested["effect"].items() if pd.notna(effect)
        }
        numbers.sort(key=lambda name: -strength.get(str(name), -1.0))
    shown = [head.removeprefix("Cluster ") for head in table.columns[2:-2]]
    for name in numbers[:MEASURES]:
        test = tested.loc[name] if tested is not None and name in tested.index else None
        words = (
            str(test["words"])
            if test is not None and "words" in test.index and pd.notna(test["words"])
            else human_name(str(name))
        )
        cells = [Cell(words), Cell("")]
        for head in shown:
            chosen = values[name] if head == "All" else values[name][cluster == int(head)]
            mean, sd = chosen.mean(), chosen.std()
            text = "n/a" if pd.isna(mean) else format_number(mean)
            cells.append(Cell(f"{text} ± {format_number(sd, 2)}" if pd.notna(sd) else text))
        if test is None:
            cells += [Cell("not tested"), Cell("")]
        else:
            named = test.rename({"low": "effect_low", "high": "effect_high"})
            cells += [
                Cell(_with_interval(named) if pd.notna(test["effect"]) else "n/a"),
                Cell(format_p(test["p_adjusted"])),
            ]
        table.rows.append(cells)
        table.groups.append(True)
        table.marked.append(test is not None and bool(test["p_adjusted"] < study.alpha))
    if numbers:
        hidden = len(numbers) - MEASURES
        more = f" ({hidden} more in the table of measures)" if hidden > 0 else ""
        table.caption += f" The last rows are measures of image quality{more}."
    return [path, tests_path]


def _entry(row: pd.Series) -> str:
    if pd.notna(row["mean"]):
        text = format_number(row["mean"])
        return f"{text} ± {format_number(row['sd'], 2)}" if pd.notna(row["sd"]) else text
    if pd.isna(row["count"]):
        return "n/a"
    share = f" ({100 * float(row['share']):.0f}%)" if pd.notna(row["share"]) else ""
    return f"{int(row['count'])}{share}"
