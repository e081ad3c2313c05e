"""The card that says what was found in one experiment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neurostrata.core.model_words import model_words
from neurostrata.report.html.blocks import model_name
from neurostrata.report.html.cards import VerdictCard
from neurostrata.report.html.page import Page
from neurostrata.report.judged import Judged


def describe(config: Mapping[str, Any]) -> str:
    """Return the model, the modalities and the options of an experiment in a few words."""
    words = []
    if config["model"]:
        words.append(model_name(config["model"]))
    if config["modalities"]:
        words.append(" + ".join(m.upper() for m in config["modalities"]))
    words += model_words(config, "options")
    return ", ".join(words)


def verdict_card(page: Page, one: Judged, href: str = "") -> VerdictCard:
    """Return the card of an experiment.

    Parameters
    ----------
    page
        The page on which it stands.
    one
        The experiment with its verdict.
    href
        Where its name leads; "" on the experiment's own page.
    """
    experiment, verdict = one.experiment, one.verdict
    return VerdictCard(
        name=one.name if href else "Verdict",
        href=href,
        what=describe(one.config),
        colour=verdict.colour,
        label=verdict.label,
        headline=verdict.headline,
        sentences=verdict.sentences,
        cautions=verdict.cautions,
        sources=page.sources(
            experiment.strata("existence.tsv"),
            experiment.strata("stability.tsv"),
            experiment.strata("comparisons.tsv"),
            experiment.strata("comparisons_adjusted.tsv"),
            experiment.strata("composition_tests.tsv"),
            experiment.continuous,
        ),
    )
