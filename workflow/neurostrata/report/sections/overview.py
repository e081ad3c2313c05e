"""The overview: what was found, who is in the strata, what to look at next, and the pages of the report."""

from __future__ import annotations

from collections.abc import Sequence

from neurostrata.core.wording import count, join_words
from neurostrata.report.html.blocks import Link, Section, Text, experiment_anchor, human_name
from neurostrata.report.html.cards import Lead, Leads, Names, PageList
from neurostrata.report.html.page import Page
from neurostrata.report.judged import Judged
from neurostrata.report.sections.verdicts import verdict_card
from neurostrata.report.text.verdict import EMBEDDING_NOTE, REPARTITION_NOTE, overall

#: Verdicts that speak of clusters that exist.
WITH_CLUSTERS = ("found", "unadjusted", "clusters_only", "explained")
#: People who are named one by one among what to look at next, at most.
MOST_NAMED = 10


def verdict_section(page: Page, judged: Sequence[Judged]) -> Section:
    """Return the verdict over all experiments and a card for each."""
    section = Section("verdict", "Verdict")
    section.add(Text(overall([one.verdict for one in judged]), kind="overall"))
    section.add(*(verdict_card(page, one, f"#{experiment_anchor(one.name)}") for one in judged))
    if len(judged) > 1:
        section.add(
            Text(
                f"Each of the {len(judged)} experiments is judged by itself. Its p-values and false-discovery rates are not corrected for "
                "the number of experiments, so among many of them something is found by chance more often than in one.",
                kind="note",
            )
        )
    if any(one.verdict.tested for one in judged):
        # only of models that may have them
        embedding = (
            f" {EMBEDDING_NOTE}" if any("skip_connections" in one.config["options"] for one in judged) else ""
        )
        section.add(Text(f"How to read this: {REPARTITION_NOTE}{embedding}", kind="note"))
    return section


def who_section(page: Page, judged: Sequence[Judged]) -> Section:
    """Return who is in the strata of each experiment that has any.

    Everybody is named up to ``report.people_in_index`` people; in larger studies the list of people has the clusters.
    """
    section = Section("who", "Who is in the strata")
    study = page.study
    people = study.subjects()
    if not people:
        return section
    named = len(people) <= int(study.config["report"]["people_in_index"])
    for one in judged:
        clusters = one.evidence.clusters
        if clusters is None or one.verdict.kind not in WITH_CLUSTERS:
            continue
        outside = set(one.evidence.outside())
        members = {
            f"Cluster {cluster}": [
                str(subject)
                for subject in clusters.loc[clusters["cluster"] == cluster, "subject"]
                if str(subject) not in outside
            ]
            for cluster in one.evidence.sizes()
        }
        if outside:
            members["In no cluster"] = sorted(outside)
        total = sum(map(len, members.values()))
        groups = [
            (
                f"{name}: {count(len(who), 'person', 'people')} ({100 * len(who) / total:.0f}%)",
                [person_link(page, subject) for subject in who]
                if named
                else [Link("by name", "people.html")],
            )
            for name, who in members.items()
        ]
        section.add(
            Text(f"{one.name}, the clusters of the verdict:") if len(judged) > 1 else None,
            Names(groups, page.sources(one.experiment.strata("clusters.tsv"))),
        )
    if not section.blocks:
        section.add(
            Text(
                f"{count(len(people), 'person', 'people')} took part. No strata are claimed, so nobody is in one.",
                sources=page.sources(study.tree.subjects),
            )
        )
    return section


def person_link(page: Page, subject: str) -> Link:
    """Return a link to a person's page, or the name alone where there is none."""
    path = page.study.tree.subject_page(subject)
    return Link(subject, page.href(path) if path.is_file() else "")


def next_section(page: Page, judged: Sequence[Judged]) -> Section:
    """Return what to look at next, what can overturn the verdict first."""
    study = page.study
    items: list[Lead] = []
    suggested = study.table(study.tree.suggested_exclusions, columns=["subject"])
    if suggested is not None:
        people = count(suggested["subject"].nunique(), "person", "people")
        items.append(
            Lead(
                "Quality",
                "quality.html",
                f"{people} to look at, and to keep or exclude, before the strata are believed.",
            )
        )
    for one in judged:
        verdict = one.verdict
        if verdict.explained_by:
            names = join_words([human_name(name) for name in verdict.explained_by])
            items.append(
                Lead(
                    f"Checks of the clusters in {one.name}",
                    f"strata-{one.name}.html",
                    f"The clusters follow {names}: look at how before anything else is made of them.",
                )
            )
        elif verdict.doubts:
            items.append(
                Lead(
                    f"Experiment {one.name}",
                    f"#{experiment_anchor(one.name)}",
                    f"In doubt: {'; '.join(verdict.doubts)}.",
                )
            )
        if (
            verdict.kind in WITH_CLUSTERS
            and not verdict.explained_by
            and one.evidence.composition_tests is not None
        ):
            items.append(
                Lead(
                    f"Checks of the clusters in {one.name}",
                    f"strata-{one.name}.html",
                    (
                        "Whether they are found again in halves of the people, and whether"
                        if one.evidence.split_half is not None
                        else "Whether"
                    )
                    + " they differ in age, sex, site, head size or image quality.",
                )
            )
        if verdict.kind in WITH_CLUSTERS and verdict.outside:
            who = verdict.outside[:MOST_NAMED]
            more = len(verdict.outside) - len(who)
            items += [
                Lead(
                    f"sub-{subject}",
                    person_link(page, subject).href,
                    f"fits into no cluster of {one.name}."
                    + (
                        f" The same holds for {count(more, 'other person', 'other people')}."
                        if more and subject == who[-1]
                        else ""
                    ),
                )
                for subject in who
            ]
    if len(judged) > 1:
        items.append(
            Lead(
                "Models side by side",
                "models.html",
                "Which experiment decodes and predicts better, and whether their clusters agree.",
            )
        )
    if study.missing:
        one_only = len(study.missing) == 1
        what = "piece is missing or was" if one_only else "pieces are missing or were"
        items.append(Lead("Not run or missing", "#missing", f"{len(study.missing)} {what} not run."))
    section = Section("next", "What to look at next")
    if items:
        section.add(Leads(items))
    return section


def pages_section(page: Page) -> Section:
    """Return the list of pages; it is filled when all are made."""
    section = Section("contents", "In this report")
    section.add(PageList())
    return section
