"""Write docs/papers/*.md, a page for each paper: where each of its tables and figures is in a run, and its numbers.

    PYTHONPATH=workflow python tests/papers_pages.py      # tests/unit/house/test_papers_pages.py fails when a page is out of date

The pages are made of resources/papers/*.yaml, and of the tables in docs/tables where this project has measured something like a
result of the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from neurostrata.core.tables import read_table
from neurostrata.report.data.paper_results import chosen_rows
from neurostrata.report.data.papers import paper_tables
from neurostrata.report.sections.paper_results import printed

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "papers"


@dataclass(frozen=True)
class Measured:
    """Something that this project has measured, to stand beside a result of a paper.

    Attributes
    ----------
    result, what, paper
        Id of the paper's result, what was measured, and the paper's number in words.
    table, column
        File in docs/tables and its column. The page has the mean over the rows and their range.
    where
        Rows that are used.
    once
        Column of which each value counts once: rows of the same cohort repeat its numbers.
    """

    result: str
    what: str
    paper: str
    table: str
    column: str
    where: Mapping[str, Any] = field(default_factory=dict)
    once: str = ""

    def numbers(self) -> pd.Series:
        """Return the numbers, one for each cohort."""
        rows = chosen_rows(read_table(ROOT / "docs" / "tables" / self.table), self.where)
        if self.once:
            rows = rows.drop_duplicates(self.once)
        return rows[self.column].dropna()


FACTORS = "paper-factors.tsv"


def _diagnosis(model: str, effect: float, result: str, what: str, paper: str) -> Measured:
    where = {"model": model, "effect": effect}
    return Measured(result, f"AUC of {what}, effect {effect:g}", paper, "models.tsv", "auc_diagnosis", where)


#: Paper -> what stands beside its results.
MEASURED: dict[str, list[Measured]] = {
    "dimitri2022": [
        Measured("Figure 6", "Factors (eigenvalue above 1)", "13", FACTORS, "factors", once="cohort"),
        Measured("Figure 6", "Share of the variance", "0.63", FACTORS, "variance", once="cohort"),
        Measured("Figure 6", "Congruence of a factor with the paper's", "1", FACTORS, "congruence"),
        *(
            Measured(
                "Figure 7",
                f"Clusters by affinity propagation, effect {effect:g}, 3 planted",
                "9",
                "models.tsv",
                "clusters",
                {"model": "separable_autoencoder", "effect": effect},
            )
            for effect in (0.5, 1.0)
        ),
    ],
    "geenjaar2021": [
        _diagnosis(model, effect, "Table I", what, paper)
        for effect in (0.5, 1.0)
        for model, what, paper in (
            ("shared_vae", "the VAE, latent size 32", "0.8353 (128) to 0.8609 (512)"),
            ("pca", "PCA of all modalities together, 32 components", "early fusion 0.8229 to 0.8358, late 0.4914 to 0.5078"),
        )
    ],
    "arco2023": [
        Measured("Table 2", f"AUC, {what}", "0.88 to 0.98", "classifiers.tsv", "auc",
                 {"model": model, "affected": "both", "permuted": "False"})
        for model, what in (
            ("siamese_attention", "the paper's distance"),
            ("siamese_outputs", "score of the outputs (options.score)"),
            ("regional_means", "support vector machine on regional means, not in the paper"),
        )
    ],
    "chartsias2018": [],
}  # fmt: skip

#: Paper -> what was measured, and in whom.
COHORTS = {
    "dimitri2022": "There are no HCP data in this project. Figure 6: ten cohorts of 974 people drawn with the loadings that the paper prints "
    "(at least 0.3, one decimal), by `tests/calibration/paper_factors.py`; it shows that the stage finds the paper's structure where "
    "it is, not that HCP has it. Figure 7: ten simulated cohorts of 80 people for each effect, JAC and NDI on 32x32x32 voxels "
    "([comparison.md](../comparison.md)).",
    "geenjaar2021": "Ten simulated cohorts of 80 people for each effect, JAC and NDI on 32x32x32 voxels, with a planted diagnosis "
    "([comparison.md](../comparison.md)). These are neither the paper's 54 modalities nor its patients: what can be compared is which "
    "method is ahead.",
    "arco2023": "Up to five simulated cohorts of 120 people, a diagnosis planted in both modalities, five folds "
    "([comparison.md](../comparison.md)). These are not the paper's patients: what can be compared is which method is ahead.",
    "chartsias2018": "Errors of simulated contrasts and of two people are in "
    "[differences-chartsias2018.md](../differences-chartsias2018.md#does-it-hold): other images in other units of difficulty, so that only "
    "their order can be compared with Tables IV and V.",
}  # fmt: skip


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _rows(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _here(result: Mapping[str, Any]) -> str:
    """Say where a result is in a run, or why it is not."""
    if "not_here" in result:
        return f"not here: {result['not_here'][0].lower()}{result['not_here'][1:]}"
    return "here: " + ", ".join(f"`{path}`" for path in result["here"])


def _number(value: Mapping[str, Any]) -> str:
    spread = f" ± {printed(value['spread'])}" if "spread" in value else ""
    return printed(value["paper"]) + spread


def _computed(number: Mapping[str, Any]) -> str:
    """Say how a run's number beside the paper's is computed."""
    if "take" not in number:
        return ""
    words = {
        "distinct": "number of different values of",
        "max": "largest",
        "mean": "mean of",
        "value": "",
        "worst_fold_median": "largest of the folds' medians of",
    }
    tables = ", ".join(f"`{name}`" for name in number.get("tables", [number.get("table")]))
    where = ", ".join(
        f"{key} {value}"
        if str(value).startswith("<")
        else f"{key} = {str(value).lower() if isinstance(value, bool) else value}"
        for key, value in number.get("where", {}).items()
    )
    if number["take"] == "count":
        text = f"number of rows of {tables}"
    else:
        text = f"{words[number['take']]} `{number['column']}` in {tables}".strip()
    return f"{text} where {where}" if where else text


def _measured(name: str) -> str:
    rows = []
    for entry in MEASURED[name]:
        found = entry.numbers()
        low, high = found.min(), found.max()
        ours = f"{found.mean():.3g} ({low:.3g} to {high:.3g})"
        rows.append(
            [entry.result, entry.what, entry.paper, ours, f"[{entry.table}](../tables/{entry.table})"]
        )
    text = f"## Measured in this project\n\n{COHORTS[name]}\n"
    if rows:
        text += "\n" + _rows(["Result", "What", "Paper", "Ours: mean (range)", "Table"], rows) + "\n"
    return text


def page(name: str) -> str:
    """Return the page of a paper as Markdown."""
    table = paper_tables()[name]
    results = table["results"]
    head = f"""# The results of {table["paper"]}, one by one

*{table["title"]}.* Where each table and figure of the paper is in a run with its preset
([{Path(table["preset"]).name}](../../{table["preset"]})), or why it is not. Paths are below `results/`; `report/index.html` of such a run
has the same table with links, and the paper's numbers beside its own. What is done otherwise than in the paper:
[differences-{name}.md](../differences-{name}.md).

`PYTHONPATH=workflow python tests/papers_pages.py` writes this page from [{name}.yaml](../../resources/papers/{name}.yaml).
"""
    shown = [
        [
            f"**{result['id']}**",
            result["section"],
            result["shows"] + (f". {result['note']}" if "note" in result else ""),
            _here(result),
        ]
        for result in results
    ]
    numbers = [
        [result["id"], number["what"], _number(number), _computed(number)]
        for result in results
        for number in result.get("numbers", [])
    ]
    parts = [
        head,
        "## Tables and figures\n\n"
        + _rows(["In the paper", "Section", "What it shows", "In a run"], shown)
        + "\n",
    ]
    if numbers:
        parts.append(
            "## Numbers\n\nThe last column says from what a run's own number is computed. Where it is empty, only the paper's is known.\n\n"
            + _rows(["Result", "What", "Paper", "Ours"], numbers)
            + "\n"
        )
    return "\n".join([*parts, _measured(name)])


if __name__ == "__main__":
    PAGES.mkdir(exist_ok=True)
    for paper in paper_tables():
        (PAGES / f"{paper}.md").write_text(page(paper), encoding="utf-8")
