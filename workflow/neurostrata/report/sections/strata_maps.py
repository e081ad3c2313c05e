"""Where in the brain the clusters of an experiment differ, and who is in them: maps, places, people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from neurostrata.cohort.sources.registry import source_of
from neurostrata.core.config import expand_modalities
from neurostrata.core.wording import count, join_words
from neurostrata.report.data.evidence import Evidence
from neurostrata.report.data.layout import Experiment
from neurostrata.report.data.strata_maps import StrataMaps, read_strata_maps, why_none
from neurostrata.report.figures.film import Placed
from neurostrata.report.html.blocks import (
    Cell,
    Figure,
    Section,
    Table,
    Text,
    experiment_anchor,
    fixed,
    format_number,
    human_name,
    parts,
)
from neurostrata.report.html.page import Page
from neurostrata.report.judged import Judged
from neurostrata.report.text.verdict import Verdict, describe_jaccard, equals

#: Modalities and clusters that are drawn; the tables and the folder of maps have all.
MODALITIES, CLUSTERS = 4, 6
#: Rows of the table of places for each cluster and modality; people of each kind in the table of people.
PLACES, PEOPLE = 4, 5
#: Modalities and clusters in the small picture of an experiment.
SMALL_MODALITIES, SMALL_CLUSTERS = 2, 4

NO_P_VALUES = (
    "The clusters were found in these images, so their images differ by construction. Effect sizes describe how and where; they have "
    "no p-values, because a test in the images that the clusters were made from would find a difference between any clusters."
)


def strata_maps_section(
    page: Page, experiment: Experiment, config: Mapping[str, Any], verdict: Verdict, evidence: Evidence
) -> Section:
    """Return the section on what each cluster looks like; without clusters it says why nothing is drawn.

    Parameters
    ----------
    page
        The page that it will stand on.
    experiment, config, verdict, evidence
        The experiment, its configuration, its verdict and the tables of the leading partition.
    """
    study, name = page.study, experiment.name
    section = Section(f"{experiment_anchor(name)}-maps", "What the strata look like")
    if not config["analyses"]["strata"]:
        return section
    maps = None if verdict.kind == "nothing" else read_strata_maps(study, experiment)
    if maps is None:
        _say_why(page, section, experiment, verdict)
        return section
    under = maps.under
    section.add(Text(NO_P_VALUES, kind="note"), _reading(page, maps))
    effects = _effects(maps) if under is not None else {}
    if under is None:
        study.note(f"Maps of the clusters in {name}", "volumes/mask.nii.gz was not made")
    high, opposite = _high(effects), len(maps.clusters) == 2
    for cluster in maps.clusters[:CLUSTERS]:
        section.sections.append(
            _cluster_section(
                page, maps, cluster, evidence, effects, high, opposite and cluster == maps.clusters[1]
            )
        )
    left = [*maps.clusters[CLUSTERS:], *maps.facts.get("StrataNotMapped", [])]
    if left:
        section.add(
            Text(
                f"Shown are the {CLUSTERS} largest clusters; {count(len(left), 'smaller one is', 'smaller ones are')} not."
            )
        )
    return section


def more_maps_section(
    page: Page, experiment: Experiment, config: Mapping[str, Any], verdict: Verdict
) -> Section:
    """Return the section with large effects alone, means, standard deviations and decoded centres; empty without maps."""
    section = Section(f"{experiment_anchor(experiment.name)}-more-maps", "Further maps of the strata")
    maps = None
    if config["analyses"]["strata"] and verdict.kind != "nothing":
        maps = read_strata_maps(page.study, experiment)
    if maps is None or maps.under is None:
        return section
    from neurostrata.report.figures.strata_maps import ROWS, means_figure, thresholded_figure

    under, effects = maps.under, _effects(maps)
    high = _high(effects)
    words = _modality_words(page)
    for modality in maps.modalities[:MODALITIES]:
        title = _title(modality, words)
        own = {c: image for (c, m), image in effects.items() if m == modality}
        for part, end in parts(list(own), ROWS):
            section.add(
                page.figure(
                    thresholded_figure({f"Cluster {c}": own[c] for c in part}, under, maps.threshold, high),
                    f"{experiment.name}/large-{modality}{end}.svg",
                    f"{title}: large effects alone",
                    f"Only voxels with an effect of at least {maps.threshold:g} in size, the same cuts and colours for all clusters. The maps "
                    "above show all effects.",
                    experiment.strata("maps.tsv"),
                    alt=f"Slices of the template with effects of at least {maps.threshold:g} in {title}, one row for each cluster",
                    wide=False,
                    picture=True,
                )
            )
        means = {c: image for c in maps.clusters[:CLUSTERS] if (image := maps.image(c, modality, "mean"))}
        spreads = {f"Cluster {c}": image for c in means if (image := maps.image(c, modality, "sd"))}
        if means:
            section.add(
                page.figure(
                    means_figure(
                        {f"Cluster {c}": image for c, image in means.items()},
                        spreads,
                        under,
                        str(modality).upper(),
                    ),
                    f"{experiment.name}/means-{modality}.svg",
                    f"{title}: mean and spread of each cluster",
                    "Mean and standard deviation over the people of each cluster, not adjusted; the same cuts and scales for all clusters.",
                    experiment.strata("maps.tsv"),
                    alt=f"Slices of mean and standard deviation of {title}, one row for each cluster",
                    wide=False,
                    picture=True,
                )
            )
    _decoded(page, section, maps, effects, words)
    return section


def pictures_section(page: Page, judged: Sequence[Judged]) -> Section:
    """Return the overview's section with one small picture of each experiment's clusters."""
    section = Section("pictures", "What the strata look like")
    for one in judged:
        if one.config["analyses"]["strata"]:
            section.add(strata_overview(page, one.experiment, one.verdict))
    return section


def strata_overview(page: Page, experiment: Experiment, verdict: Verdict) -> Figure | Text | None:
    """Return one small picture of what an experiment's clusters look like; a sentence where there are no clusters.

    None where nothing is known of clusters: the maps were not made.
    """
    if verdict.kind == "nothing":
        return Text(f"No picture of strata in {experiment.name}: no clusters were found.", kind="note")
    maps = read_strata_maps(page.study, experiment)
    if maps is None or maps.under is None:
        return None
    from neurostrata.report.figures.strata_maps import overview_figure

    effects = _effects(maps)
    clusters = maps.clusters[:1] if len(maps.clusters) == 2 else maps.clusters[:SMALL_CLUSTERS]
    shown: dict[str, dict[str, Placed]] = {}
    for modality in maps.modalities[:SMALL_MODALITIES]:
        own = {_short(maps, c): effects[c, modality] for c in clusters if (c, modality) in effects}
        if own:
            shown[str(modality).upper()] = own
    if not shown:
        return None
    against = "Cluster 1 against cluster 2" if len(maps.clusters) == 2 else "Each cluster against all others"
    rest = (
        f" (the {len(clusters)} largest of {len(maps.clusters)})"
        if 2 < len(maps.clusters) > len(clusters)
        else ""
    )
    return page.figure(
        overview_figure(shown, maps.under, maps.threshold, _high(effects)),
        f"{experiment.name}/overview.svg",
        f"The strata of {experiment.name} in one picture",
        f"{against}{rest}: effect sizes{_adjusted(maps)}, slices through the largest. Opaque, with a line: at least {maps.threshold:g} in size. "
        "They describe; the clusters were found in these images.",
        experiment.strata("maps.tsv"),
        alt=f"Slices of the template with the effect sizes of {experiment.name}’s clusters",
        wide=False,
        picture=True,
    )


# ---------------------------------------------------------------------------------------- parts


def _say_why(page: Page, section: Section, experiment: Experiment, verdict: Verdict) -> None:
    """Say why no cluster is drawn."""
    if verdict.kind == "nothing":
        path = experiment.strata("maps.tsv")
        said = page.study.sidecar(path) if path.is_file() else {}
        reason = said.get("Reason") or "no clusters were found"
        section.add(
            Text(
                f"No map of strata is drawn: {reason}. A map of where a continuum happens to be cut would look like a finding.",
                kind="note",
                sources=page.sources(experiment.strata("existence.tsv")),
            )
        )
        return
    reason = why_none(page.study, experiment)
    page.study.note(f"Maps of the clusters in {experiment.name}", reason)
    section.add(Text(f"No map of strata is drawn: {reason}.", kind="note"))


def _reading(page: Page, maps: StrataMaps) -> Text:
    """Return the paragraph on what the maps show and what to expect of random groups."""
    first = maps.table.iloc[0]
    column = maps.facts.get("SitesAsMeans")
    sites = (
        f" Of {human_name(str(column))} only the means were removed, not the spreads (ComBat), as from the codes."
        if column
        else ""
    )
    adjusted = (
        f" {_removed(maps)} of {join_words([human_name(n) for n in maps.adjusted_for])} were removed first, as from the codes"
        f"{_adjusting(maps)}.{sites}"
        if maps.adjusted_for
        else ""
    )
    return Text(
        f"Colours: Hedges’ g, the difference between the mean of a cluster and that of all other people over their pooled standard "
        f"deviation (0.2 is called small, 0.5 medium, 0.8 large).{adjusted} Faint colours: below {maps.threshold:g} in size; a line runs round the rest (dashed "
        f"where the cluster is lower). How much of this is chance? Between two random groups of {int(first['n'])} and {int(first['n_others'])} people, "
        f"{100 * first['share_chance']:.0f}% of the voxels would reach {maps.threshold:g}; here, between groups that were made to differ, {100 * first['share_large']:.0f}% do "
        f"in {str(first['modality']).upper()}. The images (NIfTI, study template’s space) are in {page.study.relative(maps.experiment.strata('maps'))}/.",
        sources=page.sources(maps.experiment.strata("maps.tsv")),
    )


def _removed(maps: StrataMaps) -> str:
    """Return which effects of covariates were removed: those along a line, or along a curve."""
    splines = maps.splines
    if isinstance(splines, int):
        curves = "" if splines == 1 else f"cubic splines with {splines} degrees of freedom for numbers"
    else:
        curves = f"{join_words([human_name(name) for name in splines])} along cubic curves"
    return f"Effects ({curves})" if curves else "Linear effects"


def _adjusting(maps: StrataMaps) -> str:
    low = maps.table["adjusting_correlation"].min() if "adjusting_correlation" in maps.table else None
    return (
        "" if low is None or pd.isna(low) else f" (maps with and without this correlate by {low:.2f} or more)"
    )


def _adjusted(maps: StrataMaps) -> str:
    return (
        f", adjusted for {join_words([human_name(n) for n in maps.adjusted_for])}"
        if maps.adjusted_for
        else ""
    )


def _effects(maps: StrataMaps) -> dict[tuple[int, str], Placed]:
    """Return (cluster, modality) -> effect map, of those that are drawn."""
    return {
        (cluster, modality): image
        for cluster in maps.clusters[:CLUSTERS]
        for modality in maps.modalities[:MODALITIES]
        if (image := maps.image(cluster, modality)) is not None
    }


def _high(effects: Mapping[tuple[int, str], Placed]) -> float:
    from neurostrata.report.figures.strata_maps import scale_of

    return scale_of(list(effects.values()))


def _modality_words(page: Page) -> dict[str, str]:
    """Return modality -> what it measures, of those that are declared."""
    declared = expand_modalities(page.study.config["modalities"])
    return {name: ", ".join(source_of(d).words(d)) for name, d in declared.items()}


def _title(modality: str, words: Mapping[str, str]) -> str:
    said = words.get(modality, "")
    return str(modality).upper() + (f" ({said})" if said else "")


def _size(maps: StrataMaps, cluster: int) -> int:
    return int(maps.table.loc[maps.table["stratum"] == cluster, "n"].max())


def _short(maps: StrataMaps, cluster: int) -> str:
    return f"Cluster {cluster} (n = {_size(maps, cluster)})"


def _cluster_section(
    page: Page,
    maps: StrataMaps,
    cluster: int,
    evidence: Evidence,
    effects: Mapping[tuple[int, str], Placed],
    high: float,
    opposite: bool,
) -> Section:
    """Return the part on one cluster: how sure it is, where it differs, who is in it."""
    from neurostrata.report.figures.strata_maps import effect_figure

    name, experiment = maps.experiment.name, maps.experiment
    section = Section(f"{experiment_anchor(name)}-cluster-{cluster}", f"Cluster {cluster}")
    section.add(cluster_facts(page, experiment, evidence, cluster))
    words = _modality_words(page)
    if opposite:
        section.add(
            Text(
                f"There are two clusters, so the maps of cluster {cluster} are those of cluster {maps.clusters[0]} with the opposite sign."
            )
        )
    under = maps.under
    for modality in [] if opposite else maps.modalities[:MODALITIES]:
        image = effects.get((cluster, modality))
        if image is None or under is None:
            continue
        row = maps.table[(maps.table["stratum"] == cluster) & (maps.table["modality"] == modality)].iloc[0]
        section.add(
            page.figure(
                effect_figure(image, under, maps.threshold, high),
                f"{name}/cluster-{cluster}-{modality}.svg",
                f"Cluster {cluster}: {_title(modality, words)}",
                f"{int(row['n'])} people against {int(row['n_others'])} others{_adjusted(maps)}. {100 * row['share_large']:.0f}% of the brain’s voxels reach "
                f"{maps.threshold:g} in size (random groups of these sizes: {100 * row['share_chance']:.0f}%); from {_effect(row['effect_smallest'])} to {_effect(row['effect_largest'])}. "
                "Right: cuts that all figures share. Positions in the study template’s millimetres; the person’s left is on the left.",
                experiment.strata("maps.tsv"),
                alt=f"Slices of the template with the effect sizes of cluster {cluster} in {_title(modality, words)}",
                wide=False,
                picture=True,
            )
        )
    hidden = len(maps.modalities) - MODALITIES
    if hidden > 0 and not opposite:
        section.add(
            Text(
                f"Drawn are the {MODALITIES} modalities with most large effects; {hidden} more are in the table of maps."
            )
        )
    if not opposite:
        section.add(places_table(page, maps, cluster))
    section.add(people_of_cluster(page, experiment, evidence, cluster))
    return section


def _effect(value: Any) -> str:
    return fixed(2)(value) if pd.notna(value) else "n/a"


def cluster_facts(page: Page, experiment: Experiment, evidence: Evidence, cluster: int) -> Text:
    """Return the sentence on a cluster's size, its people's certainty, its stability, and whether clusters exist."""
    sizes, outside = evidence.sizes(), set(evidence.outside())
    size, people = sizes.get(cluster, 0), sum(sizes.values())
    said = [f"{count(size, 'person', 'people')} ({100 * size / max(people, 1):.0f}%)"]
    clusters = evidence.clusters
    if clusters is not None:
        own = clusters[clusters["cluster"] == cluster]
        odd = sum(str(subject) in outside for subject in own["subject"])
        if odd:
            fits, left = ("fits", "is") if odd == 1 else ("fit", "are")
            said[0] += (
                f", {odd} of whom {fits} into no cluster well and {left} left out of maps and comparisons"
            )
        if "probability" in own and own["probability"].notna().any():
            doubtful = int((own["probability"] < 0.9).sum())
            said.append(
                f"membership: probability {format_number(own['probability'].median(), 2)} in the median, below 0.9 for {doubtful or 'nobody'}"
            )
    known = evidence.jaccard().get(cluster)
    if known is not None:
        said.append(
            f"stability: mean Jaccard index {format_number(known[1], 2)} over bootstrap samples ({describe_jaccard(known[1])})"
        )
    if evidence.existence is not None and pd.notna(evidence.existence["p"]):
        said.append(f"existence of all clusters together: p {equals(evidence.existence['p'])}")
    text = "; ".join(said)
    return Text(
        f"{text}.",
        sources=page.sources(
            *(experiment.strata(f"{name}.tsv") for name in ("clusters", "stability", "existence"))
        ),
    )


def places_table(page: Page, maps: StrataMaps, cluster: int) -> Table | None:
    """Return the table of where a cluster differs most: regions of the atlas, or connected places; None without any."""
    if maps.places is None:
        return None
    own = maps.places[maps.places["stratum"] == cluster]
    kind = "region" if (own["kind"] == "region").any() else "place"
    own = own[(own["kind"] == kind) & own["effect"].notna()]
    if own.empty:
        return None
    mni = "x_mni" in own and bool(own["x_mni"].notna().any())
    rows, groups = [], []
    for modality in maps.modalities:
        part = own[own["modality"] == modality]
        if kind == "region":
            part = part.loc[part["effect"].abs().sort_values(ascending=False, kind="stable").index]
        for position, (_, row) in enumerate(part.head(PLACES).iterrows()):
            centre = [row[f"{axis}_{'mni' if mni else 'mm'}"] for axis in "xyz"]
            interval = (
                f" [{_effect(row['effect_low'])}, {_effect(row['effect_high'])}]"
                if pd.notna(row["effect_low"])
                else ""
            )
            named = "" if pd.isna(row["name"]) else str(row["name"])
            cells = [str(modality).upper() if position == 0 else "", named] if own["name"].notna().any() else [
                str(modality).upper() if position == 0 else ""]  # fmt: skip
            cells += [
                _effect(row["effect"]) + interval,
                _effect(row["peak"]),
                format_number(row["volume_ml"]),
                ", ".join(f"{round(value)}".replace("-", "−") for value in centre),
            ]
            rows.append([Cell(cell) for cell in cells])
            groups.append(position == 0)
    if not rows:
        return None
    named = own["name"].notna().any()
    caption = (
        f"Hedges’ g of people’s means over each region of the atlas, with its {page.study.level} interval for these clusters as they are (it does not count that they "
        "were found in these images)"
        if kind == "region"
        else f"Connected voxels with effects of at least {maps.threshold:g} in size and one sign, the largest places first; effect: mean over the place, "
        "which is large because the place was chosen by it, so it has no interval"
    )
    space = "MNI152 space" if mni else "the study template’s space"
    return Table(
        title=f"Cluster {cluster}: where it differs most",
        columns=[
            "Modality",
            *(["Region"] if named else []),
            "Effect" + (" [interval]" if kind == "region" else ""),
            "Peak",
            "Volume, ml",
            "Centre, mm" if kind == "region" else "Peak at, mm",
        ],
        rows=rows,
        numeric=[False, *([False] if named else []), True, True, True, True],
        groups=groups,
        caption=f"{caption}. The {PLACES} largest of each modality; positions (right, front, up) in {space}.",
        sources=page.sources(maps.experiment.strata("places.tsv")),
    )


def people_of_cluster(page: Page, experiment: Experiment, evidence: Evidence, cluster: int) -> Table | None:
    """Return the table of a cluster's most typical and least certain people, with links to their pages."""
    clusters = evidence.clusters
    if clusters is None or not {"probability", "typicality"} <= set(clusters.columns):
        return None
    own = clusters[clusters["cluster"] == cluster].copy()
    own["subject"] = own["subject"].astype(str)
    if own.empty:
        return None
    typical = own.sort_values(["typicality", "subject"], ascending=[False, True]).head(PEOPLE)
    rest = own[~own["subject"].isin(typical["subject"])]
    uncertain = rest.sort_values(["probability", "typicality", "subject"]).head(PEOPLE)
    described = page.study.table(page.study.tree.characteristics, columns=["subject"])
    known = [] if described is None else [
        c for c in ("age", "sex", "site", "diagnosis") if c in described and described[c].notna().any()]  # fmt: skip
    about = None if described is None else described.set_index(described["subject"].astype(str))
    outside = set(evidence.outside())
    rows, groups = [], []
    for label, people in (("most typical", typical), ("least certain", uncertain)):
        for position, (_, row) in enumerate(people.iterrows()):
            subject = row["subject"]
            path = page.study.tree.subject_page(subject)
            cells = [
                Cell(label if position == 0 else ""),
                Cell(subject, page.href(path) if path.is_file() else ""),
                Cell(_probability(row["probability"]) + (" (fits none)" if subject in outside else "")),
                Cell(format_number(row["typicality"], 2)),
            ]
            for column in known:
                value = about.loc[subject, column] if about is not None and subject in about.index else None
                cells.append(Cell("n/a" if value is None or pd.isna(value) else format_number(value)))
            rows.append(cells)
            groups.append(position == 0)
    return Table(
        title=f"Cluster {cluster}: its most typical and its least certain people",
        columns=["", "Person", "Probability", "Typicality", *(human_name(c) for c in known)],
        rows=rows,
        numeric=[False, False, True, True, *(c == "age" for c in known)],
        groups=groups,
        caption="Probability: of belonging to this cluster rather than to another. Typicality: the share of such a cluster’s people who lie as far from its "
        "centre; near 1 in its middle. Least certain: lowest probability, then lowest typicality.",
        sources=page.sources(experiment.strata("clusters.tsv"), page.study.tree.characteristics),
    )


def _probability(value: Any) -> str:
    if pd.isna(value):
        return "n/a"
    return "> 0.999" if 0.999 < value < 1 else format_number(value, 3)


def _decoded(
    page: Page,
    section: Section,
    maps: StrataMaps,
    effects: Mapping[tuple[int, str], Placed],
    words: Mapping[str, str],
) -> None:
    """Add the decoded centres beside the mean images, where the model decodes."""
    from neurostrata.report.figures.strata_maps import decoded_figure, strongest

    path = maps.experiment.strata("decoded.tsv")
    table = page.study.table(path, columns=("stratum", "modality", "correlation", "difference_correlation"))
    if table is None or maps.under is None:
        return
    for modality in maps.modalities[:MODALITIES]:
        clusters = [c for (c, m) in effects if m == modality]
        decoded = {c: image for c in clusters if (image := maps.image(c, modality, "decoded"))}
        means = {c: image for c in decoded if (image := maps.image(c, modality, "meanscaled"))}
        if not means:
            continue
        cuts = {
            c: strongest(Placed(abs(effects[c, modality].data), effects[c, modality].affine), 1)[0]
            for c in means
        }
        rows = table[(table["modality"] == modality) & table["stratum"].isin(list(means))]
        likeness = ", ".join(
            f"cluster {int(row['stratum'])} {_effect(row['correlation'])} and {_effect(row['difference_correlation'])}"
            for _, row in rows.iterrows()
        )

        names = {c: f"Cluster {c}" for c in means}
        section.add(
            page.figure(
                decoded_figure(
                    {name: means[c] for c, name in names.items()},
                    {name: decoded[c] for c, name in names.items()},
                    {name: cuts[c] for c, name in names.items()},
                    maps.under,
                ),
                f"{maps.experiment.name}/decoded-{modality}.svg",
                f"{_title(modality, words)}: decoded centre of each cluster",
                "The mean code of the cluster’s people, decoded by the final model, beside the mean of their images, scaled as the model saw them. "
                f"Correlation of the two over the brain’s voxels, and of what sets each apart from everybody’s: {likeness}. The model was trained on these people.",
                path,
                alt=f"Axial slices of mean image, decoded centre and their difference in {_title(modality, words)}, one row for each cluster",
                wide=False,
                picture=True,
            )
        )
