"""The modalities that the declarations of a configuration stand for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from neurostrata.core.wording import count

#: Keys of a declaration that only the report reads.
SHOWN_KEYS = ("domain",)


def component_names(name: str, declaration: Mapping[str, Any]) -> list[str]:
    """Return the modalities that one declaration stands for: its own name, or ``icn01`` .. ``icn53`` of a 4-D image.

    Only this function knows how components are named: the declaration of a name is looked up (:func:`declared_names`),
    never guessed from its letters or digits.
    """
    count = declaration.get("components")
    if not count:
        return [name]
    width = len(str(count))
    return [f"{name}{component + 1:0{width}d}" for component in range(count)]


def declared_names(modalities: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return modality name -> the name under which it is declared, which differs for components of a 4-D image."""
    return {
        modality: name
        for name, declaration in modalities.items()
        for modality in component_names(name, declaration)
    }


def expand_modalities(modalities: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return modality name -> its declaration, a 4-D one of n components as n modalities.

    ``icn: {components: 53}`` becomes ``icn01`` .. ``icn53``, each with its ``component`` (from 0). An ``intensity``
    or ``kind`` that has no effect is left out, so that maps made before these keys existed stay valid, and so is what only
    the report reads.
    """
    idle = {("intensity", "none"), ("kind", "image")}
    expanded: dict[str, dict[str, Any]] = {}
    for name, declared in modalities.items():
        declaration = {k: v for k, v in declared.items() if k not in SHOWN_KEYS and (k, v) not in idle}
        for component, modality in enumerate(component_names(name, declared)):
            part = {"component": component} if declaration.get("components") else {}
            expanded[modality] = {**declaration, **part}
    return expanded


def modality_domains(modalities: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return modality name -> its domain, of those that have one."""
    domains: dict[str, str] = {}
    for name, declaration in modalities.items():
        if "domain" in declaration:
            names, domain = component_names(name, declaration), declaration["domain"]
            domains |= dict(zip(names, [domain] * len(names) if isinstance(domain, str) else domain))
    return domains


def modality_problems(modalities: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Check that no two declarations stand for the same modality (``pet: {components: 2}`` and ``pet2``), and their domains."""
    first: dict[str, str] = {}
    for name, declaration in modalities.items():
        domain, components = declaration.get("domain"), declaration.get("components") or 1
        if isinstance(domain, list) and len(domain) != components:
            yield (
                f"modalities.{name}.domain: {count(len(domain), 'domain')} for {count(components, 'component')}; list one "
                "for each, or write one text for all"
            )
        for modality in component_names(name, declaration):
            if modality in first:
                yield (
                    f"modalities.{name}: '{modality}' is a component of modalities.{first[modality]} too; "
                    "give one of the two another name"
                )
            first.setdefault(modality, name)


def column_problems(modalities: Mapping[str, Mapping[str, Any]], used: Collection[str]) -> Iterator[str]:
    """Check that no two modalities that are `used` (names of declarations) take the images of one column for different things."""
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for name, declaration in modalities.items():
        if name not in used or "column" not in declaration:
            continue
        column = declaration["column"]
        for kind, words in _image_words(declaration).items():
            other, theirs = first.setdefault((column, kind), (name, words))
            if theirs != words:
                yield (
                    f"modalities.{name}: column '{column}' has images {words} here, and {theirs} in modalities.{other}; correct "
                    "one of the two, or name another column"
                )


def _image_words(declaration: Mapping[str, Any]) -> dict[str, str]:
    """Return what the column of a declaration is said to hold: where the images are, and how many volumes they have."""
    # series have any number of volumes, and are in the template's space by default
    if declaration["from"] == "dual_regression":
        return {"space": f"in {declaration.get('space', 'template')} space"}
    volumes = declaration.get("components")
    words = {"volumes": f"of {count(volumes, 'volume')}" if volumes else "of one volume"}
    return words | ({"space": f"in {declaration['space']} space"} if "space" in declaration else {})
