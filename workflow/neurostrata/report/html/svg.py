"""Figures as SVG: what matplotlib writes is made ready for a file of its own, and for standing inside a page."""

from __future__ import annotations

import hashlib
import re
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
    """Return matplotlib's SVG with a font stack, fewer digits, and its points of people named instead of linked.

    A point becomes ``<use data-person="0001" ...><title>sub-0001, cluster 2</title></use>``; what is the same for all
    points of one kind is said once.
    """
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        points = []
        for place, child in enumerate(list(parent)):
            address = child.get(f"{{{XLINK}}}href", "")
            if child.tag == f"{{{SVG}}}a" and address.startswith(PERSON):
                parent[place] = _person(child, address)
                points.append(parent[place])
        styles = {point.get("style", "") for point in points}
        if len(styles) == 1:
            parent.set("style", styles.pop())
            for point in points:
                point.attrib.pop("style", None)
    for element in root.iter():
        if style := element.get("style"):
            element.set("style", style.replace("'DejaVu Sans'", FONTS))
        for key in {"d", "x", "y", "transform"} & element.attrib.keys():
            element.set(key, _shorter(element.attrib[key]))
    return '<?xml version="1.0" encoding="utf-8"?>\n' + _written(root)


def _written(root: ElementTree.Element) -> str:
    """Return the XML without the white space that only separates elements."""
    for element in root.iter():
        if element.tag not in (f"{{{SVG}}}text", f"{{{SVG}}}tspan") and not (element.text or "").strip():
            element.text = None
        if not (element.tail or "").strip():
            element.tail = None
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _shorter(numbers: str) -> str:
    """Return path data or a coordinate with two decimals: a hundredth of a point is seen by nobody."""
    text = re.sub(r"-?\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}", numbers)
    return re.sub(r"\s+", " ", text).strip()


def _person(link: ElementTree.Element, address: str) -> ElementTree.Element:
    subject, _, words = (unquote(part) for part in address.removeprefix(PERSON).partition("?"))
    drawn = [element for element in link.iter() if element.tag in (f"{{{SVG}}}use", f"{{{SVG}}}path")]
    if len(drawn) != 1:
        raise ValueError(f"a point of a person is drawn by {len(drawn)} elements")
    point = drawn[0]
    point.set("data-person", subject)
    title = ElementTree.SubElement(point, f"{{{SVG}}}title")
    title.text = f"sub-{subject}" + (f", {words}" if words else "")
    return point


def adaptive(text: str) -> str:
    """Return a finished SVG that follows the colours of the page that shows it as an image."""
    root = ElementTree.fromstring(text)
    dark = ";".join(f"--figure-{light[1:]}:{other}" for light, other in DARK.items())
    style = ElementTree.Element(f"{{{SVG}}}style")
    style.text = (
        "svg{color:#000000;fill:currentColor}"
        f"@media (prefers-color-scheme:dark){{svg{{color:{DARK['#000000']};{dark}}}}}"
    )
    for element in root.iter():
        if own := element.get("style"):
            element.set("style", _follow(own, element.tag == f"{{{SVG}}}text"))
    root.insert(0, style)
    return _written(root)


def inline(text: str, name: str, alt: str, page_of: str = "") -> Markup:
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
    """
    root = ElementTree.fromstring(text)
    for element in root.findall(f"{{{SVG}}}metadata"):
        root.remove(element)
    used = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    start = "f" + hashlib.sha256(name.encode()).hexdigest()[:8] + "-"
    for element in root.iter():
        _own_ids(element, used, start)
        if style := element.get("style"):
            element.set("style", _follow(style, element.tag == f"{{{SVG}}}text"))
    root.set("class", "plot")
    root.set("role", "img")
    root.set("aria-label", alt)
    if page_of:
        root.set("data-page", page_of)
    # Only XML that ElementTree has written, with everything from data escaped.
    return Markup(_written(root))


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
    names = {"#000000", "#333333", "#555555"} if is_text else set(DARK)

    def follow(found: re.Match[str]) -> str:
        attribute, colour = found[1], found[2].lower()
        if colour not in names:
            return found[0]
        return f"{attribute}: var(--figure-{colour[1:]}, {colour})"

    return re.sub(r"(fill|stroke): (#[0-9a-fA-F]{6})", follow, style)
