"""The study's configuration as text: short, only what differs from the recommended one, with the reasons as comments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from neurostrata.beginning.findings import Findings
from neurostrata.beginning.modalities import Plan
from neurostrata.beginning.tables import PeopleTable
from neurostrata.cohort.sheet import FAMILY_NAMES
from neurostrata.core.locations import REPOSITORY, RESOURCES
from neurostrata.core.text_tables import read_text_table
from neurostrata.core.wording import count

#: The papers' configurations.
PAPERS = REPOSITORY / "config" / "papers"
RECOMMENDED = "recommended"
#: Fewer variables than this are compared as they are: there is nothing to reduce.
_FEW_VARIABLES = 6
#: Below this share of people with every variable, missing values are filled in.
_LEAST_COMPLETE = 0.5
#: Column of the file at which comments begin.
_COMMENT = 44
#: The table with corrected ids that is written where a table's ids have other characters than letters and digits.
CORRECTED = "config/phenotypes.tsv"


def presets() -> list[str]:
    """Return the names of all presets, the recommended one first."""
    return [RECOMMENDED, *sorted(path.stem for path in PAPERS.glob("*.yaml"))]


@dataclass
class Phenotypes:
    """The section `phenotypes`.

    Attributes
    ----------
    values
        Key -> value, and key -> comment.
    tables
        The tables that are used.
    corrected
        A table to be written with corrected ids: its lines of cells; None where it is not needed.
    candidates
        Tables of which only a person knows whether they hold phenotypes.
    """

    values: dict[str, Any] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    tables: list[PeopleTable] = field(default_factory=list)
    corrected: list[list[str]] | None = None
    candidates: list[PeopleTable] = field(default_factory=list)


def choose_phenotypes(findings: Findings, hcp: bool) -> Phenotypes:
    """Return what the configuration says of phenotypes.

    Parameters
    ----------
    findings
        What was found; a line is added for each table that cannot be used with the others, and to the section `cohort` the
        column of families that HCP's restricted table has.
    hcp
        Whether the people are those of the Human Connectome Project, whose tables have hundreds of variables.
    """
    chosen = [table for table in findings.tables if table.path in findings.certain]
    people = {row["subject"] for row in findings.rows}
    found = Phenotypes(candidates=[t for t in findings.tables if t.variables and t not in chosen])
    if chosen and len(set().union(*(table.matched for table in chosen))) < len(people) / 2:
        found.candidates, chosen = [*chosen, *found.candidates], []
    beside = [table for table in findings.tables if table.path in findings.beside]
    if chosen:
        chosen += beside
    else:
        findings.unused += [
            f"{table.path}: has no variables that could be compared (columns: {', '.join(table.table.columns)})"
            for table in beside
        ]
    for table in chosen[1:]:  # those that only describe people come last
        if table.ids != chosen[0].ids or not (table.exact and chosen[0].exact):
            chosen.remove(table)
            findings.unused.append(
                f"{table.path}: its column of ids is not that of {chosen[0].path}; write the same ids in both"
            )
    if not chosen:
        return found
    found.tables = chosen
    values, comments = found.values, found.comments
    values["tables"] = [table.path for table in chosen]
    if not chosen[0].exact:
        table = chosen[0]
        cells = [
            ["subject" if name == table.ids else name for name in table.table.columns],
            *(
                [person if name == table.ids else cell for name, cell in zip(table.table.columns, line)]
                for person, line in zip(table.people, table.table.cells)
            ),
        ]
        found.corrected = cells
        values["tables"] = [CORRECTED]
        comments["tables"] = f"{table.path} with ids of letters and digits only"
    elif not all(table.by_itself for table in chosen):
        values["id_column"] = chosen[0].ids
    facts = list(dict.fromkeys(name for table in chosen for name in table.facts))
    variables = list(dict.fromkeys(name for table in chosen for name in table.variables))
    complete = set.intersection(*(table.complete for table in chosen if table.variables))
    papers: list[str] = []
    if hcp:
        families = [n for table in chosen for n in table.table.columns if n.lower() in FAMILY_NAMES]
        if families:
            findings.cohort["columns"] = {"family": families[0]}
            findings.comments["columns"] = "relatives stay together in folds and permutations"
        papers = _choose_hcp_variables(found, [*facts, *variables])
        variables = papers or variables
    if facts and not papers:
        values["exclude"] = facts
        comments["exclude"] = "they describe people, and are adjusted for"
    if len(complete) < _LEAST_COMPLETE * len(people) and not papers:
        values["missing"] = "median"
        comments["missing"] = (
            f"{len(complete)} of {len(people)} people have every variable; complete: only these, iterative: predicted from the others"
        )
    if len(variables) < _FEW_VARIABLES:
        values["method"] = "variables"
        comments["method"] = (
            f"{count(len(variables), 'variable')}: compared as they are; pca_varimax makes factors of many"
        )
    return found


def _choose_hcp_variables(found: Phenotypes, columns: Sequence[str]) -> list[str]:
    """Choose and return the variables of Dimitri et al. 2022, or those of them that the tables have."""
    paper = read_text_table(RESOURCES / "hcp_phenotypes.tsv").column("column")
    there = [name for name in paper if name in columns]
    if len(there) == len(paper):
        found.values["variables"] = "dimitri2022"
        found.comments["variables"] = (
            f"the paper's {len(paper)} variables of some hundreds; all, or a list of columns"
        )
    elif there:
        found.values["variables"] = there
        absent = len(paper) - len(there)
        found.comments["variables"] = (
            f"those of Dimitri et al. 2022; {absent} of theirs are not in {'these tables' if len(found.tables) > 1 else 'this table'}"
        )
    return there


def _value(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _line(text: str, comment: str = "") -> str:
    return f"{text:<{_COMMENT - 2}}  # {comment}" if comment else text


def _pair(key: str, value: Any, comment: str = "", indent: int = 2) -> list[str]:
    """Return a key with its value, a list of paths or of mappings as one line each."""
    start = f"{' ' * indent}{key}:"
    if isinstance(value, list) and value and all(isinstance(v, str) and "/" in v for v in value):
        return [_line(start, comment), *(f"{' ' * indent}  - {_value(v)}" for v in value)]
    return [_line(f"{start} {_value(value)}", comment)]


def _section(name: str, values: Mapping[str, Any], comments: Mapping[str, str]) -> list[str]:
    lines = [f"{name}:"]
    for key, value in values.items():
        lines += _pair(key, value, comments.get(key, ""))
    return lines


def _experiment(experiment: Mapping[str, Any]) -> list[str]:
    lines = [line for key, value in experiment.items() for line in _pair(key, value, indent=4)]
    return ["  - " + lines[0].lstrip(), *lines[1:]]


def _further(findings: Findings) -> list[str]:
    if not findings.further:
        return []
    lines = [
        "# Further images were found. To use one, declare it, say in which space it is (t1w, dwi, mni or template), and name it in an experiment:"
    ]
    return [*lines, "# modalities:", *(f"# {line}" for line in _declarations(findings))]


def _declarations(findings: Findings) -> list[str]:
    """Return a line of the section `modalities` for each further image."""
    lines = []
    for column in findings.further:
        name = re.sub(r"[^A-Za-z0-9]", "", column).lower()
        text = f"  {name}: {{from: column, column: {column}, space: t1w}}"
        lines.append(_line(text, f"{len(findings.having(column))} people"))
    return lines


def _modalities(findings: Findings, plan: Plan) -> list[str]:
    """Return the section `modalities`: T1w images are fused without their scanners' units; further images as comments."""
    if not any("t1w" in experiment["modalities"] for experiment in plan.experiments or ()):
        return _further(findings)
    lines = [
        "modalities:",
        _line(
            "  t1w: {from: t1w, intensity: brain}",
            "over its mean in the brain: units and gains differ between scanners, and often between scans",
        ),
    ]
    if findings.further:
        lines.append(
            "  # Further images were found. To use one, say in which space it is (t1w, dwi, mni or template), and name it in an experiment:"
        )
    return [*lines, *(f"  # {line.lstrip()}" for line in _declarations(findings))]


def _tables(phenotypes: Phenotypes) -> list[str]:
    """Return the key `tables`, with further candidates as comments."""
    lines = _pair("tables", phenotypes.values["tables"], phenotypes.comments.get("tables", ""))
    if phenotypes.candidates:
        lines.append(
            "    # further tables of these people; only you know which hold questionnaires and tests"
        )
    return [*lines, *(f"    # {line}" for line in _candidates(phenotypes))]


def _candidates(phenotypes: Phenotypes) -> list[str]:
    return [
        _line(f"- {_value(t.path)}", f"{len(t.matched)} people, {count(len(t.variables), 'variable')}")
        for t in phenotypes.candidates
    ]


def _phenotypes(phenotypes: Phenotypes) -> list[str]:
    """Return the section `phenotypes`: as a comment where only a person knows whether a table holds phenotypes."""
    if phenotypes.values:
        others = {key: value for key, value in phenotypes.values.items() if key != "tables"}
        return ["phenotypes:", *_tables(phenotypes), *_section("", others, phenotypes.comments)[1:]]
    if not phenotypes.candidates:
        return []
    return [
        "# Tables of these people; only you know which of them hold questionnaires and tests. Without one, strata are found, but not",
        "# compared. To use one, remove the leading #.",
        "# phenotypes:",
        "#   tables:",
        *(f"#     {line}" for line in _candidates(phenotypes)),
    ]


def recommended_text(header: Iterable[str], findings: Findings, phenotypes: Phenotypes, plan: Plan) -> str:
    """Return the configuration of a study with the recommended settings.

    Parameters
    ----------
    header
        Lines of the comment on top.
    findings, phenotypes, plan
        What was found, and what is made of it.
    """
    blocks = [
        [f"# {line}" for line in header],
        [*_section("cohort", findings.cohort, findings.comments), *findings.choices],
        _quality(),
        _phenotypes(phenotypes),
        _diffusion(findings),
        _modalities(findings, plan),
    ]
    if plan.experiments is not None:
        lines = [
            "# These differ from the recommended experiments:",
            *(f"# * {reason}" for reason in plan.why),
        ]
        blocks.append([*lines, "experiments:", *(line for e in plan.experiments for line in _experiment(e))])
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _quality() -> list[str]:
    return [_line("qc: config/qc.tsv", "people to leave out, with the reason; empty at first")]


def _diffusion(findings: Findings) -> list[str]:
    if not findings.in_t1w_space:
        return []
    return [
        _line(
            "diffusion: {space: T1w}",
            "the diffusion data are in the space of the T1w image; native: they are aligned first",
        )
    ]


def with_key(text: str, section: str, key: str, lines: Sequence[str]) -> str:
    """Return a configuration's text with a key of a section replaced or added; everything else stays, comments too.

    Parameters
    ----------
    text
        YAML whose sections are blocks, not in braces.
    lines
        The key's new lines, indented by two blanks.
    """
    found = re.search(rf"^{section}:[ \t]*(?:#.*)?\n((?:[ \t#].*\n|\n)*)", text, re.M)
    if not found:
        if re.search(rf"^{section}:", text, re.M):
            raise ValueError(f"{section} is no block")
        return "\n".join([text.rstrip("\n"), f"{section}:", *lines]) + "\n"
    block, new = found[1], "\n".join(lines) + "\n"
    replaced, number = re.subn(rf"^  {key}:.*\n(?:    .*\n)*", lambda _: new, block, flags=re.M)
    return text[: found.start(1)] + (replaced if number else new + block) + text[found.end(1) :]


def preset_text(name: str, header: Iterable[str], findings: Findings, phenotypes: Phenotypes) -> str:
    """Return a paper's configuration with the study's cohort put in; the paper's comments stay."""
    text = (PAPERS / f"{name}.yaml").read_text(encoding="utf-8")
    first, _, rest = text.partition("\n")
    rest = rest[re.search(r"^[^#]", rest, re.M).start() :]  # type: ignore[union-attr]
    values, comments = dict(phenotypes.values), phenotypes.comments
    paper = yaml.safe_load(rest)
    papers = paper.get("phenotypes", {}).get("variables") == "dimitri2022"
    if papers and values and "variables" not in values:
        values["variables"] = "all"
        comments = comments | {"variables": "the paper's variables are those of HCP's young adults"}
    for key, value in reversed(values.items()):  # each goes on top
        if key in ("missing", "method"):
            continue  # the paper's
        lines = _tables(phenotypes) if key == "tables" else _pair(key, value, comments.get(key, ""))
        rest = with_key(rest, "phenotypes", key, lines)
    space = "T1w" if findings.in_t1w_space else "native"
    if "diffusion" in paper or findings.in_t1w_space:
        rest = with_key(rest, "diffusion", "space", _pair("space", space))
    blocks = [
        [*(f"# {line}" for line in header), first],
        [*_section("cohort", findings.cohort, findings.comments), *findings.choices],
        _quality(),
        [] if phenotypes.values else _phenotypes(phenotypes),
        _further(findings),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n\n" + rest
