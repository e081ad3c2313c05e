"""The people of a study, the modalities they have and the experiments they take part in.

Standard library only, and no image is opened: this runs each time the workflow is parsed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from neurostrata.cohort.decisions import decide
from neurostrata.cohort.discovery.search import discover, misplaced_keys, read_discovered
from neurostrata.cohort.sheet import Row, read_cohort_sheet, read_qc_sheet
from neurostrata.cohort.sources.registry import columns_read, required_columns, source_of
from neurostrata.cohort.template_people import people_of_iteration
from neurostrata.core.config import declared_names, expand_modalities, read_yaml
from neurostrata.core.errors import UserError
from neurostrata.core.locations import DEFAULT_CONFIG

#: Keys of the section `cohort` that say where the people come from; exactly one is set.
PEOPLE_KEYS = ("sheet", "bids", "hcp", "ukb")


class Study:
    """People, quality decisions and modalities of one configuration.

    Parameters
    ----------
    config
        Checked, with every default filled in (:func:`neurostrata.core.config.check_config`).
    rows
        The cohort sheet's rows, sorted by subject.
    decisions
        The rows of the sheet of quality decisions.

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
        #: Exclusions that act, and where they do not because another rater keeps the person.
        self.exclusions, self.disagreements = decide(self.decisions)
        self._exclusions: dict[str, list[Row]] = {}
        for decision in self.exclusions:
            self._exclusions.setdefault(decision["subject"], []).append(decision)
        #: How many images were found where, when the people were found without a sheet.
        self.notices: list[str] = []
        #: What else a person should know of the sheets.
        self.remarks = [f"{config['qc']}: {found.sentence()}" for found in self.disagreements]
        # computed once, since it is used for each of thousands of jobs
        self._with_modality: dict[str, dict[str, None]] = {}

    def used_columns(self) -> list[str]:
        """Return the sheet columns whose files this configuration reads."""
        columns = {"t1w", "t1w_mask"}
        for modality in self.used_modalities():
            columns |= columns_read(self.modalities[modality], self.config)
        return sorted(columns)

    def column_spaces(self) -> dict[str, str]:
        """Return column -> space of its images (t1w, dwi, template, mni), for the columns that modalities name."""
        spaces = {}
        for modality in self.used_modalities():
            declaration = self.modalities[modality]
            if image := source_of(declaration).sheet_image(declaration):
                spaces[image.column] = source_of(declaration).space_of(declaration)
        return spaces

    def declared(self, modality: str) -> str:
        """Return the name under which a modality is declared: for a component, that of its 4-D image."""
        return self._declared[modality]

    def component_images(self) -> dict[str, str]:
        """Return declared name -> image of the group's components, for the dual regressions in use."""
        used = dict.fromkeys(self.declared(modality) for modality in self.used_modalities())
        return {
            name: path for name in used if (path := self.config["modalities"][name].get("components_image"))
        }

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

    def acting(self) -> list[Row]:
        """Return the quality decisions that leave somebody out, in the order of the sheet."""
        return [d for d in self.decisions if d["decision"] == "exclude_template" or d in self.exclusions]

    def template_members(self) -> list[str]:
        """Return the people from whom the template is built."""
        excluded = {d["subject"] for d in self.decisions if d["decision"] == "exclude_template"}
        return [
            subject
            for subject, row in self.rows.items()
            if row.get("t1w") and row.get("template", "").lower() != "no" and subject not in excluded
        ]

    def early_people(self, iteration: int) -> int | None:
        """Return how many people an iteration of the template uses, where they are only a part; None where it uses everybody."""
        template = self.config["template"]
        number: int | None = template["early_people"]
        if number is None or iteration >= template["iterations"] or number >= len(self.template_members()):
            return None
        return number

    def iteration_members(self, iteration: int) -> list[str]:
        """Return the people whom an iteration of the template, the first being 1, registers and averages."""
        return people_of_iteration(self.template_members(), self.early_people(iteration), iteration)

    def people(self) -> list[str]:
        """Return everybody who is not excluded altogether."""
        return [subject for subject in self.rows if not self.excluded(subject)]

    def registered(self) -> list[str]:
        """Return everybody who has a T1w image and is not excluded altogether."""
        return [subject for subject in self.people() if self.has(subject, "t1w")]

    def with_images(self) -> list[str]:
        """Return everybody who has a T1w image or a modality in use, and is not excluded altogether."""
        return [s for s in self.people() if self.has(s, "t1w") or self.modalities_of(s)]

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

        People who have every modality of it (any with `missing: include`) and, when it has a label, one of its classes.
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

    def used_modalities(self) -> list[str]:
        """Return the modalities that some experiment uses, in the order they are declared."""
        used = {m for experiment in self.experiments.values() for m in experiment["modalities"]}
        return [modality for modality in self.modalities if modality in used]


def _only_recommended(path: str, *keys: str) -> bool:
    """Tell whether a sheet is named by the recommended configuration only (by these keys): it has that name, and is not there."""
    recommended: Any = read_yaml(DEFAULT_CONFIG)
    for key in keys:
        recommended = recommended.get(key) or {}
    return path == recommended and not Path(path).exists()


def people_key(section: Mapping[str, Any]) -> str:
    """Return the key of the section `cohort` that says where the people come from.

    The sheet of the recommended configuration is out of force where a study names something else and has no such sheet.

    Raises
    ------
    UserError
        When several keys are set, or none.
    """
    chosen = [key for key in PEOPLE_KEYS if section[key]]
    if len(chosen) == 2 and chosen[0] == "sheet" and _only_recommended(section["sheet"], "cohort", "sheet"):
        chosen = chosen[1:]
    if len(chosen) != 1:
        given = f"{' and '.join(chosen)} are set; set the others to null" if chosen else "none is set"
        raise UserError(f"cohort: set exactly one of sheet, bids, hcp and ukb ({given})")
    return chosen[0]


def _there(key: str, path: str, instead: str) -> str:
    """Return the path of a sheet; a :class:`UserError` names its key and what to do when there is no such file."""
    if not Path(path).exists():
        raise UserError(f"{key}: {path}: no such file; write it or correct the path, or {instead}")
    return path


def load_study(config: Mapping[str, Any], rescan: bool = True) -> Study:
    """Read the sheets that a configuration names.

    Parameters
    ----------
    config
        Checked, with every default filled in.
    rescan
        Without a sheet (``cohort.bids``, ``cohort.hcp``, ``cohort.ukb``): search the folders and write what was
        found to ``OUTPUT/cohort/discovered.tsv``; False reads that file, as jobs do, since searching is slow.
    """
    section = config["cohort"]
    source = people_key(section)
    misplaced = misplaced_keys(section, source)
    if misplaced:
        raise UserError("\n  ".join(misplaced))
    nothing_decided = bool(config["qc"]) and _only_recommended(config["qc"], "qc")
    decided = config["qc"] and not nothing_decided
    decisions = read_qc_sheet(_there("qc", config["qc"], "set qc: null")) if decided else []
    study = _read_study(config, source, decisions, rescan)
    if nothing_decided:
        study.remarks.append(f"{config['qc']} is not there: nobody is left out by decision")
    return study


def _read_study(config: Mapping[str, Any], source: str, decisions: list[Row], rescan: bool) -> Study:
    section = config["cohort"]
    if source == "sheet":
        sheet = _there(
            "cohort.sheet", section["sheet"], "name a folder with cohort.bids, cohort.hcp or cohort.ukb"
        )
        return Study(config, read_cohort_sheet(sheet)[1], decisions)
    if not rescan:
        return Study(config, read_discovered(config["output"]), decisions)
    nobody = Study(config, [])
    rows, notices = discover(config, source, nobody.used_columns(), nobody.column_spaces())
    study = Study(config, rows, decisions)
    study.notices = notices
    return study
