"""What a study consists of: its people, who has which modality, who takes part in what.

The planning logic of the workflow, apart from Snakemake so that it can be tested. Standard library
only, no image is opened: it runs each time the workflow is parsed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from neurostrata.cohort.discovery.search import discover, misplaced_keys, read_discovered, write_rows
from neurostrata.cohort.ids import ID_COLUMNS
from neurostrata.cohort.sheet import USUAL_NAMES, Row, as_rows, read_cohort_sheet, read_qc_sheet
from neurostrata.core.config import adjusting_columns, declared_names, expand_modalities
from neurostrata.core.errors import UserError
from neurostrata.core.text_tables import read_text_table

#: The sheet columns that each source of a modality needs.
SOURCE_COLUMNS = {
    "t1w": ("t1w",),
    "jacobian": ("t1w",),
    "tissue": ("t1w",),
    "tensor": ("t1w", "dwi", "bval", "bvec"),
    "noddi": ("t1w", "dwi", "bval", "bvec"),
}

#: Keys of the section `cohort` that say where the people come from; exactly one is set.
SOURCES = ("sheet", "bids", "hcp", "ukb")

#: People of a class fewer than this are left out of what is predicted: no fold could be trained on them.
FEWEST_OF_CLASS = 5


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def required_columns(declaration: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the sheet columns a person must have for a modality (a declaration of ``modalities``)."""
    if declaration["from"] == "column":
        space = declaration["space"]
        return (declaration["column"],) if space in ("template", "mni") else ("t1w", declaration["column"])
    if declaration["from"] == "dual_regression":
        return (declaration["column"],)
    return SOURCE_COLUMNS[declaration["from"]]


class Study:
    """People, quality decisions and modalities of one configuration.

    Parameters
    ----------
    config
        Checked and filled (:func:`neurostrata.core.config.check_config`).
    rows
        The cohort sheet's rows, sorted by subject.
    decisions
        The rows of the quality sheet.

    Attributes
    ----------
    modalities : dict
        Every declared modality, 4-D ones expanded.
    """

    def __init__(self, config: Mapping[str, Any], rows: Iterable[Row], decisions: Iterable[Row] = ()) -> None:
        self.config = config
        self.rows = {row["subject"]: row for row in rows}
        self.decisions = list(decisions)
        self.modalities = expand_modalities(config["modalities"])
        self._declared = declared_names(config["modalities"])
        self.experiments = {experiment["name"]: experiment for experiment in config["experiments"]}
        self._exclusions: dict[str, list[Row]] = {}
        for decision in self.decisions:
            if decision["decision"] == "exclude":
                self._exclusions.setdefault(decision["subject"], []).append(decision)
        #: What was found where, in numbers, when the people were searched for.
        self.notices: list[str] = []
        # Asked for once per job of thousands.
        self._with_modality: dict[str, dict[str, None]] = {}

    def used_columns(self) -> list[str]:
        """Return the sheet columns whose files this configuration reads."""
        used = {"t1w", "t1w_mask"}
        for modality in self.used_modalities():
            used |= set(required_columns(self.modalities[modality]))
        if "dwi" in used:
            used.add("dwi_mask")
        noddi = any(self.modalities[modality]["from"] == "noddi" for modality in self.used_modalities())
        engine = self.config["diffusion"]["noddi"]["engine"]
        if noddi and engine == "maximum_likelihood":
            used.add("grad_dev")
        return sorted(used)

    def column_spaces(self) -> dict[str, str]:
        """Return column -> where its images are (t1w, dwi, template, mni), for the columns of modalities in use."""
        declarations = [self.modalities[modality] for modality in self.used_modalities()]
        return {
            d["column"]: d.get("space", "t1w" if d["from"] == "column" else "template")
            for d in declarations
            if d["from"] in ("column", "dual_regression")
        }

    def missing_files(self) -> list[str]:
        """Return a line for each file that the sheet or the configuration names and that is not there."""
        lines = [
            f"subject {subject}: {column}: {path}: no such file"
            for subject in self.people()
            for column in self.used_columns()
            if (path := self.source(subject, column)) and not Path(path).is_file()
        ]
        lines += [
            f"modalities.{name}.components_image: {path}: no such file"
            for name, path in self.component_images().items()
            if not Path(path).is_file()
        ]
        tables = self.config["phenotypes"]["tables"]
        return lines + [
            f"phenotypes.tables: {path}: no such file" for path in tables if not Path(path).is_file()
        ]

    def declared(self, modality: str) -> str:
        """Return the name under which a modality is declared: of a component, that of its 4-D image."""
        return self._declared[modality]

    def component_images(self) -> dict[str, str]:
        """Return declared name -> image of the group's components, for the dual regressions in use."""
        used = dict.fromkeys(self.declared(modality) for modality in self.used_modalities())
        return {
            name: path for name in used if (path := self.config["modalities"][name].get("components_image"))
        }

    def decision_problems(self) -> list[str]:
        """Return quality decisions about people or modalities that do not exist."""
        names = set(self.modalities) | set(self.config["modalities"])
        problems = []
        for decision in self.decisions:
            if decision["subject"] not in self.rows:
                problems.append(f"{self.config['qc']}: subject {decision['subject']} is not in the cohort")
            if decision["modality"] and decision["modality"] not in names:
                problems.append(
                    f"{self.config['qc']}: subject {decision['subject']}: no such modality: "
                    f"'{decision['modality']}' (declared: {', '.join(self.modalities)})"
                )
        return problems

    def has(self, subject: str, column: str) -> bool:
        """Tell whether the sheet names a file of this column for this person."""
        return bool(self.rows[subject].get(column))

    def source(self, subject: str, column: str) -> str:
        """Return the path in a sheet cell, "" when it is empty."""
        return self.rows[subject].get(column, "")

    def excluded(self, subject: str, modality: str | None = None) -> Row | None:
        """Return the decision that excludes a person (from a modality, or altogether), if any."""
        for decision in self._exclusions.get(subject, ()):
            if not decision["modality"]:
                return decision
            if modality and decision["modality"] in (modality, self.declared(modality)):
                return decision
        return None

    def template_members(self) -> list[str]:
        """Return whom the template is built from."""
        barred = {d["subject"] for d in self.decisions if d["decision"] == "exclude_template"}
        return [
            subject
            for subject, row in self.rows.items()
            if row.get("t1w") and row.get("template", "").lower() != "no" and subject not in barred
        ]

    def people(self) -> list[str]:
        """Return everybody who is not excluded altogether."""
        return [subject for subject in self.rows if not self.excluded(subject)]

    def registered(self) -> list[str]:
        """Return everybody who has a T1w image and is not excluded altogether."""
        return [subject for subject in self.people() if self.has(subject, "t1w")]

    def with_modality(self, modality: str) -> list[str]:
        """Return who has a modality and is not excluded from it."""
        return list(self._members(modality))

    def _members(self, modality: str) -> dict[str, None]:
        if modality not in self._with_modality:
            columns = required_columns(self.modalities[modality])
            self._with_modality[modality] = {
                subject: None
                for subject in self.people()
                if all(self.has(subject, c) for c in columns) and not self.excluded(subject, modality)
            }
        return self._with_modality[modality]

    def modalities_of(self, subject: str) -> list[str]:
        """Return the modalities in use that a person has."""
        return [modality for modality in self.used_modalities() if subject in self._members(modality)]

    def experiment_members(self, name: str) -> list[str]:
        """Return who takes part in an experiment.

        Who has every modality of it (with `missing: include` any) and, when it has a label, one of its classes.
        """
        experiment = self.experiments[name]
        groups = [self._members(modality) for modality in experiment["modalities"]]
        enough = any if experiment["missing"] == "include" else all
        label = experiment["label"]
        return [
            subject
            for subject, row in self.rows.items()
            if enough(subject in group for group in groups)
            and (not label or row.get(label["column"]) in label["classes"])
        ]

    def target_columns(self, name: str) -> list[str]:
        """Return the sheet columns that an experiment predicts or learns from."""
        experiment = self.experiments[name]
        known = {column for row in self.rows.values() for column in row}
        label = experiment["label"]
        wanted = [*([label["column"]] if label else []), *experiment["analyses"]["prediction"]]
        return [column for column in dict.fromkeys(wanted) if column in known]

    def covariate_columns(self, name: str) -> list[str]:
        """Return the sheet columns that an experiment's predictions are adjusted by."""
        known = {column for row in self.rows.values() for column in row}
        wanted = [c for columns in adjusting_columns(self.experiments[name]).values() for c in columns]
        return [column for column in dict.fromkeys(wanted) if column in known]

    def characteristic_columns(self) -> list[str]:
        """Return the sheet columns that describe people: age, sex and what the codes are adjusted by before clustering."""
        known = dict.fromkeys(column for row in self.rows.values() for column in row)
        usual = {name for measure in ("age", "sex") for name in USUAL_NAMES[measure]}
        adjust = self.config["strata"]["adjust"]
        wanted = {adjust["sites"]} | (set() if adjust["columns"] == "auto" else set(adjust["columns"]))
        groups = ("family", "site", "diagnosis")
        return [c for c in known if c not in ("subject", *groups) and (c.lower() in usual or c in wanted)]

    def characteristics_in_tables(self) -> list[tuple[str, list[str], list[Row]]]:
        """Return of each phenotype table its name, the columns that describe people (ids first), and its rows."""
        usual = {name for measure in ("age", "sex") for name in USUAL_NAMES[measure]}
        adjust = self.config["strata"]["adjust"]
        wanted = {adjust["sites"]} | (set() if adjust["columns"] == "auto" else set(adjust["columns"]))
        found = []
        named = self.config["phenotypes"]["id_column"]
        for path in self.config["phenotypes"]["tables"]:
            table = read_text_table(path)
            ids = [column for column in ([named] if named else ID_COLUMNS) if column in table.columns][:1]
            used = [c for c in table.columns if c not in ids and (c.lower() in usual or c in wanted)]
            if used:
                found.append((path, [*ids, *used], as_rows(table, [*ids, *used])))
        return found

    def class_columns(self, name: str) -> list[str]:
        """Return those of an experiment's targets in the sheet that are of two classes: its label first.

        Two values, each of :data:`FEWEST_OF_CLASS` people or more; fewer do not count.
        """
        label = self.experiments[name]["label"]
        found = [label["column"]] if label else []
        for column in self.target_columns(name):
            counts = Counter(self.rows[s].get(column, "") for s in self.experiment_members(name))
            counts.pop("", None)
            # more than two numbers are a number, however rare some of them
            usual = [value for value, count in counts.items() if count >= FEWEST_OF_CLASS]
            if len(usual) == 2 and (len(counts) == 2 or not all(map(_is_number, counts))):
                found.append(column)
        return list(dict.fromkeys(found))

    def used_modalities(self) -> list[str]:
        """Return the modalities that some experiment uses, in the order they are declared."""
        used = {m for experiment in self.experiments.values() for m in experiment["modalities"]}
        return [modality for modality in self.modalities if modality in used]

    def group(self, name: str) -> tuple[list[str], list[str]]:
        """Return a named group's columns and subjects; see ``rule list_people``.

        ``template``, ``people``, ``families``, ``registered``, ``characteristics`` (what describes people), ``modality-NAME``,
        ``experiment-NAME``, ``targets-NAME`` (what an experiment predicts, as far as it stands in the sheet) or
        ``covariates-NAME`` (what its predictions are adjusted by, likewise).
        """
        if name == "template":
            return ["subject"], self.template_members()
        if name == "people":
            return ["subject"], self.people()
        if name == "families":
            return ["subject", "family"], self.people()
        if name == "registered":
            return ["subject"], self.registered()
        if name == "characteristics":
            return ["subject", "family", "site", "diagnosis", *self.characteristic_columns()], self.people()
        kind, _, rest = name.partition("-")
        if kind == "modality":
            return ["subject"], self.with_modality(rest)
        if kind == "experiment":
            return ["subject", "family", "diagnosis", "site"], self.experiment_members(rest)
        if kind == "targets":
            columns = dict.fromkeys(["subject", "family", *self.target_columns(rest)])
            return list(columns), self.experiment_members(rest)
        if kind == "covariates":
            return ["subject", *self.covariate_columns(rest)], self.experiment_members(rest)
        raise KeyError(name)

    def group_rows(self, name: str) -> list[Row]:
        """Return the rows of a named group, only its columns."""
        columns, subjects = self.group(name)
        return [{column: self.rows[s].get(column, "") for column in columns} for s in subjects]

    def exclusions(self) -> list[Row]:
        """Return who is left out of what, with reasons: decisions, and missing or incomplete images."""
        table = [
            {
                "subject": d["subject"],
                "modality": d["modality"] or "all",
                "stage": "template" if d["decision"] == "exclude_template" else "volumes",
                "reason": d["reason"],
            }
            for d in self.decisions
        ]
        for modality in self.used_modalities():
            for subject in self.people():
                lacking = [c for c in required_columns(self.modalities[modality]) if not self.has(subject, c)]
                if lacking:
                    reason = f"no {', '.join(lacking)} in the cohort sheet"
                    table.append(
                        {"subject": subject, "modality": modality, "stage": "volumes", "reason": reason}
                    )
        for name, experiment in self.experiments.items():
            members = set(self.experiment_members(name))
            for subject in self.people():
                if subject not in members:
                    lacking = [m for m in experiment["modalities"] if subject not in self._members(m)]
                    most = len(experiment["modalities"]) - 1 if experiment["missing"] == "include" else 0
                    if len(lacking) <= most:
                        reason = f"{experiment['label']['column']} is none of the experiment's classes"
                    elif most:
                        reason = "the model needs at least one modality of the experiment"
                    else:
                        reason = "the model needs every modality of the experiment"
                    table.append(
                        {
                            "subject": subject,
                            "modality": ", ".join(lacking),
                            "stage": f"experiment {name}",
                            "reason": reason,
                        }
                    )
        return table


def load_study(config: Mapping[str, Any], rescan: bool = True) -> Study:
    """Read the sheets that a configuration names.

    Parameters
    ----------
    config
        Checked and filled.
    rescan
        Without a sheet (``cohort.bids``, ``cohort.hcp``, ``cohort.ukb``): look into the folders and write what
        was found to ``OUTPUT/cohort/discovered.tsv``; False reads that file (jobs do, searching is slow).
    """
    source = config["cohort"]
    chosen = [key for key in SOURCES if source[key]]
    if len(chosen) != 1:
        given = f"{' and '.join(chosen)} are set; set the others to null" if chosen else "none is set"
        raise UserError(f"cohort: exactly one of sheet, bids, hcp and ukb is wanted, {given}")
    misplaced = misplaced_keys(source, chosen[0])
    if misplaced:
        raise UserError("\n  ".join(misplaced))
    decisions = read_qc_sheet(config["qc"]) if config["qc"] else []
    if chosen == ["sheet"]:
        return Study(config, read_cohort_sheet(source["sheet"])[1], decisions)
    if not rescan:
        return Study(config, read_discovered(config["output"]), decisions)
    nobody = Study(config, [])
    rows, notices = discover(config, chosen[0], nobody.used_columns(), nobody.column_spaces())
    study = Study(config, rows, decisions)
    study.notices = notices
    return study


def write_group(path: str | Path, columns: list[str], rows: list[Row]) -> None:
    """Write the rows of a group (or any text table) as TSV."""
    write_rows(Path(path), columns, rows)
