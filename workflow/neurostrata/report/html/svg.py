"""Figures as SVG: what matplotlib writes is made ready for a file of its own, and for standing inside a page."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from urllib.parse import quote, unquote
from xml.etree import ElementTree

from markupsafe import Markup

from neurostrata.report.figures.style import DARK

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
#: Fonts of the text in figures; matplotlib measures the first, the others are about as wide.
FONTS = "'DejaVu Sans', Verdana, Geneva, 'Liberation Sans', Arial, sans-serif"
#: Start of the address that stands for a person in matplotlib's output.
PERSON = "person:"

ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", XLINK)


def person_address(subject: str, words: str = "") -> str:
    """Return the address for ``Artist.set_urls`` that makes a point stand for a person.

    Parameters
    ----------
    subject
        Id without ``sub-``.
    words
        What the point says besides the name, such as "cluster 2".
    """
    return PERSON + quote(subject, safe="") + "?" + quote(words, safe="")


def finish(text: str) -> str:
    """Return matplotlib's SVG with a font stack, and with its points of people named instead of linked.

    A point becomes ``<g data-person="0001"><title>sub-0001, cluster 2</title>...</g>``.
    """
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        for place, child in enumerate(list(parent)):
            address = child.get(f"{{{XLINK}}}href", "")
            if child.tag == f"{{{SVG}}}a" and address.startswith(PERSON):
                parent[place] = _person(child, address)
    for element in root.iter():
        if style := element.get("style"):
            element.set("style", style.replace("'DejaVu Sans'", FONTS))
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _person(link: ElementTree.Element, address: str) -> ElementTree.Element:
    subject, _, words = (unquote(part) for part in address.removeprefix(PERSON).partition("?"))
    group = ElementTree.Element(f"{{{SVG}}}g", {"data-person": subject})
    title = ElementTree.SubElement(group, f"{{{SVG}}}title")
    title.text = f"sub-{subject}" + (f", {words}" if words else "")
    group.extend(list(link))
    return group


def inline(text: str, name: str, alt: str, page_of: str = "", kind: str = "") -> Markup:
    """Return a finished SVG for the inside of a page, whose colours it follows.

    Parameters
    ----------
    text
        Of the file.
    name
        Unique on the page: ids start with it.
    alt
        What the figure shows.
    page_of
        Relative link to a person's page with ``*`` for the id; "" where people have none.
    kind
        ``wide`` or ``narrow`` where the page has both.
    """
    root = ElementTree.fromstring(text)
    for element in root.findall(f"{{{SVG}}}metadata"):
        root.remove(element)
    used = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    start = "f" + hashlib.sha256(f"{name}{kind}".encode()).hexdigest()[:8] + "-"
    for element in root.iter():
        _own_ids(element, used, start)
        if style := element.get("style"):
            element.set("style", _follow(style, element.tag == f"{{{SVG}}}text"))
    root.set("class", f"plot {kind}".strip())
    root.set("role", "img")
    root.set("aria-label", alt)
    if page_of:
        root.set("data-page", page_of)
    # Only XML that ElementTree has written, with everything from data escaped.
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704


def _own_ids(element: ElementTree.Element, used: set[str], start: str) -> None:
    """Keep only ids that something refers to, and make them the figure's own."""
    own = element.attrib.pop("id", None)
    if own in used:
        element.set("id", start + str(own))
    for key, value in list(element.attrib.items()):
        if key.endswith("href") and value.startswith("#"):
            element.set(key, f"#{start}{value[1:]}")
        elif "url(#" in value:
            element.set(key, value.replace("url(#", f"url(#{start}"))


def _follow(style: str, is_text: bool) -> str:
    """Return a style whose colours can be changed by the page; text on coloured cells keeps its own."""
    names = {"#000000", "#333333", "#555555"} if is_text else DARK.keys()
    replace: Callable[[re.Match[str]], str] = lambda found: (  # noqa: E731
        f"{found[1]}: var(--figure-{found[2][1:].lower()}, {found[2]})"
        if found[2].lower() in {name.lower() for name in names}
        else found[0]
    )
    return re.sub(r"(fill|stroke): (#[0-9a-fA-F]{6})", replace, style)
