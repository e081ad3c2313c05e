"""The section on quality: who is unusual in what, suggested exclusions, sites, raters, and strata against quality."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from neurostrata.core.wording import count, join_words
from neurostrata.report.data.results import is_yes
from neurostrata.report.html.blocks import Section, Text, fixed, format_p, frame_table, human_name
from neurostrata.report.html.page import Page
from neurostrata.report.html.strips import quality_strips
from neurostrata.report.text.verdict import EFFECTS

#: Rows of the tables of associations; the files have all.
MOST_ROWS = 12


def quality_section(page: Page) -> Section:
    """Return the section on the quality of everybody's images, whom it is suggested to leave out, and what goes with quality."""
    study, tree = page.study, page.study.tree
    section = Section("quality", "Quality")
    if not tree.quality_deviations.is_file():
        study.note("Quality of the images", f"{study.relative(tree.quality_deviations)} was not made")
        return section
    facts = study.sidecar(tree.quality_deviations)
    deviations = study.table(tree.quality_deviations, columns=("subject", "measure", "value", "z", "flagged"))
    if deviations is None:
        fewest = facts["settings"]["fewest_people"]
        section.add(
            Text(
                f"{count(int(facts['people']), 'person was', 'people were')} measured, and nothing can be compared: at least {fewest} "
                "people with a measure are needed, and values that differ.",
                sources=page.sources(tree.quality_measures),
            )
        )
        return section
    suggestions = study.table(tree.suggested_exclusions, columns=("subject", "measure", "reason"))
    section.add(
        Text(
            _summary(deviations, suggestions, facts),
            sources=page.sources(tree.quality_deviations, tree.suggested_exclusions),
        )
    )
    if suggestions is not None:
        section.add(_suggestions(page, suggestions, tree.suggested_exclusions))
    section.add(quality_strips(page))
    section.add(_measures(page, deviations, facts, tree.quality_deviations))
    associations = study.table(
        tree.quality_covariates, columns=("measure", "characteristic", "effect", "p_adjusted")
    )
    if associations is not None:
        section.add(*_associations(page, associations, facts, tree.quality_covariates))
    raters = study.table(tree.raters, columns=("rater", "other", "n", "kappa"))
    if raters is not None:
        section.add(_raters(page, raters, tree.raters))
    section.add(*_strata(page))
    return section


def words_of(facts: Mapping[str, Any], measure: str) -> str:
    """Return what a measure is, in one sentence; facts are the sidecar of the table of deviations."""
    return str(facts["Measures"][measure]["words"])


def _summary(deviations: pd.DataFrame, suggestions: pd.DataFrame | None, facts: Mapping[str, Any]) -> str:
    flagged = deviations[is_yes(deviations["flagged"])]
    people, measures = deviations["subject"].nunique(), deviations["measure"].nunique()
    unusual = flagged["subject"].nunique()
    text = (
        f"{count(people, 'person was', 'people were')} compared in {count(measures, 'measure')} of quality; "
        f"{count(unusual, 'person is', 'people are') if unusual else 'nobody is'} unusual in {'at least one' if unusual else 'any'} of them"
    )
    if len(flagged):
        most = flagged["measure"].value_counts().head(5)
        text += ", most often in " + join_words([f"{human_name(str(m))} ({n})" for m, n in most.items()])
    used = sorted(
        {name for names in facts["covariates"].values() for name in names}, key=["age", "sex", "site"].index
    )
    text += (
        f". What is usual takes {join_words(used)} into account"
        if used
        else (
            ". Age, sex and site are not taken into account: they are not known, or there are too few people"
        )
    )
    settings = facts["settings"]
    if settings["limit"] == "auto":
        text += (
            f". The limits let about {100 * settings['false_flags']:g}% of people with sound images be called unusual, over all "
            "measures together"
        )
    text += (
        ". Nobody is left out by itself: look at these people, and write a decision into the sheet of quality decisions."
        if suggestions is not None
        else ". No exclusion is suggested."
    )
    return text


def _suggestions(page: Page, suggestions: pd.DataFrame, path: Path) -> Any:
    # a row per person and what to leave out: the worst measure in a sentence, the others by name
    rows = []
    whole = suggestions.assign(modality=suggestions["modality"].fillna("all"))
    for (subject, modality), part in whole.groupby(["subject", "modality"], sort=False):
        worst = part.iloc[0]
        also = join_words([human_name(str(name)) for name in part["measure"].iloc[1:]])
        rows.append(
            {
                "subject": subject,
                "modality": modality,
                **worst[["measure", "z", "limit", "reason"]].to_dict(),
                "also": also,
            }
        )
    table = pd.DataFrame(rows)
    pages = [page.study.tree.subject_page(str(subject)) for subject in table["subject"]]
    return frame_table(
        table,
        "Suggested exclusions",
        names={
            "subject": "Person",
            "modality": "Leave out",
            "measure": "Measure",
            "z": "z",
            "limit": "Limit",
            "reason": "Why",
            "also": "Unusual too",
        },
        formats={"measure": human_name, "z": fixed(1), "limit": fixed(1)},
        caption=(
            "The most unusual people first. z: difference from what is expected, in robust standard deviations. "
            "“neurostrata check --exclude-suggested” accepts all of them, with “--participant-label” some; a line with the decision "
            "keep removes a person from this table."
        ),
        hrefs={"subject": [page.href(path) if path.exists() else "" for path in pages]},
        sources=page.sources(path),
        words=True,
        folded=len(table) > 40,
    )


def _measures(page: Page, deviations: pd.DataFrame, facts: Mapping[str, Any], path: Path) -> Any:
    rows = []
    for measure, part in deviations.groupby("measure", sort=False):
        about = facts["Measures"][str(measure)]
        unit = about["unit"]
        rows.append(
            {
                "measure": measure,
                "what": words_of(facts, str(measure)),
                "unit": "" if unit == "1" else unit,
                "median": part["value"].median(),
                "low": part["value"].min(),
                "high": part["value"].max(),
                "people": len(part),
                "flagged": int(is_yes(part["flagged"]).sum()),
            }
        )
    table = pd.DataFrame(rows)
    return frame_table(
        table,
        "Measures of quality",
        names={"what": "What it is", "low": "lowest", "high": "highest", "flagged": "unusual"},
        formats={"measure": human_name},
        marked=(table["flagged"] > 0).tolist(),
        sources=page.sources(path),
        words=True,
        folded=len(table) > 15,
    )


def _associations(page: Page, table: pd.DataFrame, facts: Mapping[str, Any], path: Path) -> list[Any]:
    strong = table[table["p_adjusted"] < page.study.alpha]
    site = strong[strong["characteristic"] == "site"].sort_values("effect", ascending=False)
    blocks: list[Any] = []
    if len(site):
        names = join_words(
            [f"{human_name(str(m))} (η² {e:.2f})" for m, e in zip(site["measure"], site["effect"])][:6]
        )
        whole = f"{count(len(site), 'measure differs', 'measures differ')} between sites: {names}"
        used = any("site" in names for names in facts["covariates"].values())
        asked = "site" in facts["settings"]["covariates"]
        blocks.append(
            Text(
                f"{whole}{' and others' if len(site) > 6 else ''}. "
                + (
                    "People are compared with those of their own site where it has enough people, so that a site as a whole flags nobody."
                    if used
                    else "Sites have too few people to be compared each by itself."
                    if asked
                    else "Sites are not taken into account (quality.covariates), so that people of an unusual site are flagged."
                ),
                kind="note",
                sources=page.sources(path),
            )
        )
    if not len(strong):
        blocks.append(
            Text("No measure of quality was found to go with site, age or sex.", sources=page.sources(path))
        )
        return blocks
    shown = strong.reindex(strong["effect"].abs().sort_values(ascending=False).index).head(MOST_ROWS)
    blocks.append(
        frame_table(
            shown,
            "Quality against site, age and sex",
            names={
                "characteristic": "goes with",
                "effect_name": "effect size",
                "p": "p",
                "p_adjusted": "q",
                "n": "n",
            },
            formats={
                "measure": human_name,
                "effect_name": lambda text: EFFECTS[text],
                "p": format_p,
                "p_adjusted": format_p,
            },
            caption=(
                f"The {len(shown)} strongest of {len(strong)} associations with a false-discovery rate below {page.study.alpha:g} "
                f"({len(table)} were tested). ρ: Spearman's rank correlation; η²: share of the rank variance between sites or sexes."
            ),
            sources=page.sources(path),
            folded=True,
        )
    )
    return blocks


def _raters(page: Page, raters: pd.DataFrame, path: Path) -> Any:
    return frame_table(
        raters.assign(disagree_on=raters["disagree_on"].fillna("")),
        "Agreement of raters",
        names={
            "other": "and",
            "n": "both rated",
            "agree": "alike",
            "kappa": "Cohen's kappa",
            "disagree_on": "one excludes, the other keeps",
        },
        caption=(
            "Kappa: 0 where two raters agree as often as by chance, 1 where they always agree. Whom one excludes and another keeps is not "
            "excluded until a line with the rater consensus decides."
        ),
        sources=page.sources(path),
        words=True,
    )


def _strata(page: Page) -> list[Any]:
    """Return a table of what the clusters of each experiment differ in, with the strongest difference in phenotype beside it."""
    study, rows, paths, tested = page.study, [], [], False
    for experiment, _ in study.experiments():
        path = experiment.quality_tests()
        tests = study.table(path, columns=("variable", "effect", "p_adjusted"))
        if tests is None:
            continue
        paths.append(path)
        compared = study.table(experiment.strata("comparisons.tsv"), columns=("factor", "eta2"))
        tested |= bool(tests["p_adjusted"].notna().any())
        known = compared is not None and bool(compared["eta2"].notna().any())
        phenotype = f"{compared['eta2'].max():.2f}" if compared is not None and known else "n/a"
        for _, row in tests[tests["p_adjusted"] < study.alpha].head(MOST_ROWS).iterrows():
            rows.append(
                {
                    "experiment": experiment.name,
                    "variable": row["variable"],
                    "effect_name": row["effect_name"],
                    **row[["effect", "low", "high", "p_adjusted"]].to_dict(),
                    "phenotype": phenotype,
                }
            )
    if not paths:
        return []
    sources = page.sources(*paths)
    if not tested:
        return [
            Text(
                "Quality could not be compared between clusters: no experiment has two of them whose people were measured.",
                kind="note",
                sources=sources,
            )
        ]
    if not rows:
        return [
            Text(
                "In no experiment were clusters found to differ in quality, site or head size.",
                kind="good",
                sources=sources,
            )
        ]
    return [
        frame_table(
            pd.DataFrame(rows),
            "Clusters that differ in quality, site or head size",
            names={
                "variable": "differ in",
                "effect_name": "effect size",
                "p_adjusted": "q",
                "phenotype": "strongest η² of a phenotype factor",
            },
            formats={
                "variable": human_name,
                "effect_name": lambda text: EFFECTS[text],
                "p_adjusted": format_p,
            },
            caption="Clusters that differ in quality at least as strongly as in phenotype may be clusters of scans, not of people.",
            sources=sources,
        )
    ]
