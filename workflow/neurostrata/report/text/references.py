"""The works that a run cites: numbers in the text, a list of references, and BibTeX, all from ``resources/references.yaml``.

Texts hold marks such as ``[@frey2007affinity]`` or ``[@kruskal1952ranks, @benjamini1995fdr]``. :func:`numbered` makes numbers
of them, in the order in which they are first cited.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from neurostrata.core.config import read_yaml
from neurostrata.core.locations import RESOURCES
from neurostrata.report.data.papers import paper_tables

REFERENCES = RESOURCES / "references.yaml"
_MARK = re.compile(r" ?\[@([\w, @]+)\]")

# Each of the product's finders, engines, kinds of images and models is listed, without works where none describes it; a test
# goes over all. One that was added to a checkout and is not listed is cited by no work.

#: Finder -> works.
FINDERS: dict[str, tuple[str, ...]] = {
    "consensus": (),
    "mixture": ("mclachlan2000mixtures",),
    "affinity_propagation": ("frey2007affinity", "rousseeuw1987silhouettes"),
    "similarity_network_fusion": ("wang2014snf",),
}
#: Engine of the registration -> works.
ENGINES: dict[str, tuple[str, ...]] = {
    "ants": ("avants2008syn",),
    "greedy": ("yushkevich2016greedy",),
    "torch": (),
}
#: Kind of image (``from``) -> works.
SOURCES: dict[str, tuple[str, ...]] = {
    "t1w": (),
    "jacobian": (),
    "tissue": (),
    "column": (),
    "tensor": ("basser1994dti",),
    "noddi": ("zhang2012noddi",),
    "dual_regression": ("nickerson2017dual",),
}
#: Fusion model that is not one of the papers' -> works.
MODELS: dict[str, tuple[str, ...]] = {"pca": ("jolliffe2016pca",), "residual_autoencoder": ()}
#: Distribution -> the work that asks to be cited for it; those without one are listed with their version alone.
PACKAGES = {
    "antspyx": "tustison2021ants",
    "picsl-greedy": "yushkevich2016greedy",
    "dipy": "garyfallidis2014dipy",
    "dmri-amico": "daducci2015amico",
    "torch": "paszke2019pytorch",
    "scikit-learn": "pedregosa2011sklearn",
    "statsmodels": "seabold2010statsmodels",
    "nilearn": "abraham2014nilearn",
    "nibabel": "brett_nibabel",
    "numpy": "harris2020numpy",
    "scipy": "virtanen2020scipy",
    "pandas": "mckinney2010pandas",
    "snakemake": "molder2021snakemake",
}


@cache
def references() -> dict[str, dict[str, Any]]:
    """Return key -> authors, title, journal, year, ... of every work that can be cited."""
    return read_yaml(REFERENCES)


def cite(*keys: str) -> str:
    """Return the mark for a text, with a space before it; "" without keys."""
    return f" [{', '.join(f'@{key}' for key in keys)}]" if keys else ""


def model_references(model: str) -> tuple[str, ...]:
    """Return the works that describe a fusion model."""
    papers = tuple(key for key, table in paper_tables().items() if table["model"] == model)
    return papers or MODELS.get(model, ())


def numbered(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the texts with numbers for their marks, and the keys in the order of these numbers.

    Raises
    ------
    KeyError
        When a text cites a work that is not in the list.
    """
    keys: list[str] = []

    def number(found: re.Match[str]) -> str:
        cited = [key.strip().removeprefix("@") for key in found[1].split(",")]
        for key in cited:
            if key not in references():
                raise KeyError(f"{REFERENCES.name} has no {key}")
            if key not in keys:
                keys.append(key)
        return f" [{', '.join(str(n) for n in sorted(keys.index(key) + 1 for key in cited))}]"

    return [_MARK.sub(number, text) for text in texts], keys


def plain_reference(key: str) -> str:
    """Return a work as it stands in a list of references."""
    work = references()[key]
    parts = [f"{_authors(work)}.", f"{work['title']}.", str(work["journal"])]
    where = str(work.get("volume", ""))
    if "number" in work:
        where += f"({work['number']})"
    if "pages" in work:
        where += f"{':' if where else ''}{str(work['pages']).replace('-', '–')}"
    text = " ".join(parts) + (f" {where}" if where else "")
    text += f", {work['year']}." if "year" in work else "."
    return text + (f" https://doi.org/{work['doi']}" if "doi" in work else "")


def _authors(work: Mapping[str, Any]) -> str:
    names = [str(name).strip("{}").replace(", ", " ", 1) for name in work["authors"]]
    if names[-1] == "others":
        return f"{', '.join(names[:-1])}, et al"
    return ", ".join(names).rstrip(".")


#: Field of BibTeX that holds ``journal``, by its entry type.
_PLACE = {"article": "journal", "inproceedings": "booktitle", "book": "publisher", "misc": "howpublished"}


def bibtex(keys: Sequence[str]) -> str:
    """Return BibTeX entries, by key."""
    entries = []
    for key in sorted(keys):
        work = references()[key]
        fields: dict[str, Any] = {
            "author": " and ".join(str(name) for name in work["authors"]),
            "title": f"{{{work['title']}}}",
            _PLACE[work["type"]]: work["journal"],
            **{name: work[name] for name in ("year", "volume", "number") if name in work},
        }
        if "pages" in work:
            fields["pages"] = str(work["pages"]).replace("-", "--")
        lines = [f"  {name} = {{{_escaped(str(value))}}}," for name, value in fields.items()]
        if "doi" in work:  # is no text: nothing in it is escaped
            lines.append(f"  doi = {{{work['doi']}}},")
        entries.append("\n".join([f"@{work['type']}{{{key},", *lines, "}"]))
    return "\n\n".join(entries) + "\n"


def _escaped(text: str) -> str:
    return re.sub(r"([&%#_])", r"\\\1", text)
