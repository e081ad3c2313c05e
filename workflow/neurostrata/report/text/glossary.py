"""What words mean: ``resources/glossary.yaml``, from which the page of words in the documentation is made too."""

from __future__ import annotations

import re
from functools import cache

from neurostrata.core.config import read_yaml
from neurostrata.core.locations import RESOURCES
from neurostrata.report.html.blocks import Bullets

GLOSSARY = RESOURCES / "glossary.yaml"


@cache
def glossary() -> dict[str, dict[str, str]]:
    """Return section -> word -> meaning, in Markdown."""
    return read_yaml(GLOSSARY)


@cache
def meaning(word: str) -> str:
    """Return what a word means, without links and emphasis.

    Raises
    ------
    KeyError
        When the glossary does not have it.
    """
    words = {name: text for section in glossary().values() for name, text in section.items()}
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", words[word])
    return re.sub(r"[*`]", "", text)


def words_block(*words: str) -> Bullets:
    """Return a list of words with their meanings, for the place where they are first used."""
    return Bullets([(word, meaning(word)) for word in words])
