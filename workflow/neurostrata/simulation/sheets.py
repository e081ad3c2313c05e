"""Tables of a simulated cohort: cohort sheet, questionnaires and quality control."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from neurostrata.core.files import atomic_path
from neurostrata.core.tables import write_table
from neurostrata.simulation.images.contrasts import SUFFIXES
from neurostrata.simulation.people import questionnaires
from neurostrata.simulation.people.people import SITES, Person, Settings, stream

_COHORT_COLUMNS = {
    "subject": "id",
    "t1w": "brain-extracted T1-weighted image, relative to this file's folder",
    "t1w_mask": "its brain mask",
    "dwi": "diffusion-weighted series, empty when there is none",
    "bval": "b-values",
    "bvec": "gradient directions, FSL's convention",
    "dwi_mask": "brain mask of the diffusion data",
    "template": "yes: helps to build the template",
    "session": "empty: one session",
    "site": "scanner",
    "family": "family",
    "diagnosis": "patient or control",
}


def _extra_images(subject: str, settings: Settings) -> dict[str, str]:
    """Return the sheet's further columns and a person's files in them."""
    name = f"images/sub-{subject}"
    cells = {contrast: f"{name}_{SUFFIXES[contrast]}.nii.gz" for contrast in settings.contrasts}
    if settings.lesions:
        cells["lesion_mask"] = f"{name}_label-lesion_mask.nii.gz"
    if settings.components:
        cells["icn"] = f"{name}_space-MNI_icn.nii.gz"
    if settings.bold:
        cells["bold"] = f"{name}_space-MNI_desc-preproc_bold.nii.gz"
    return cells


def cohort_sheet(people: list[Person], settings: Settings) -> pd.DataFrame:
    """Return the cohort sheet: one row per person, files relative to its folder."""
    rows = []
    for person in people:
        name = f"images/sub-{person.subject}"
        dwi = person.has_dwi
        rows.append(
            {
                "subject": person.subject,
                "t1w": f"{name}_T1w.nii.gz",
                "t1w_mask": f"{name}_T1w_mask.nii.gz",
                "dwi": f"{name}_dwi.nii.gz" if dwi else "",
                "bval": f"{name}_dwi.bval" if dwi else "",
                "bvec": f"{name}_dwi.bvec" if dwi else "",
                "dwi_mask": f"{name}_dwi_mask.nii.gz" if dwi else "",
                "template": "yes" if person.template else "no",
                "session": "",
                "site": SITES[person.site],
                "family": f"F{person.family + 1:03d}",
                "diagnosis": "patient" if person.patient else "control",
                **_extra_images(person.subject, settings),
            }
        )
    return pd.DataFrame(rows, columns=[*_COHORT_COLUMNS, *_extra_images("", settings)])


def write_questionnaires(output: Path, people: list[Person], settings: Settings) -> None:
    """Write phenotypes.tsv, and in truth/ the factor scores, loadings and shifts behind it."""
    rng = stream(settings.seed, "questionnaires")
    # all answers are those of `questionnaires_of`, whose group, family and age determine them
    scores, shifts = questionnaires.factor_scores(
        np.array([p.label for p in people]),
        np.array([p.family for p in people]),
        np.array([p.age_z for p in people]),
        rng,
        effect=settings.effect,
    )
    loadings = questionnaires.simple_loadings(scores.shape[1])
    table = questionnaires.answers(scores, loadings, rng)
    source = np.array([p.questionnaires_of for p in people])
    subjects = [p.subject for p in people]
    table = table.iloc[source].reset_index(drop=True)
    table.insert(0, "subject", subjects)
    table.insert(1, "age", [p.age for p in people])
    table.insert(2, "sex", ["F" if p.female else "M" for p in people])
    table.insert(3, "site", [SITES[p.site] for p in people])
    write_table(
        output / "phenotypes.tsv",
        table,
        {"subject": "id", "age": "years", "sex": "F or M", "site": "scanner"}
        | dict.fromkeys(table.columns[4:], "score, mean 50 and standard deviation 10 in the population"),
    )
    names = [f"planted_{k + 1:02d}" for k in range(scores.shape[1])]
    folder = output / "truth"
    true_scores = pd.DataFrame(scores[source], columns=names)
    true_scores.insert(0, "subject", subjects)
    write_table(folder / "factor_scores.tsv", true_scores, {"subject": "id, of the row in phenotypes.tsv"})
    frame = pd.DataFrame(loadings, columns=names)
    frame.insert(0, "variable", list(table.columns[4:]))
    write_table(folder / "loadings.tsv", frame, {"variable": "column of phenotypes.tsv"})
    frame = pd.DataFrame(shifts, columns=names)
    frame.insert(0, "group", np.arange(1, len(shifts) + 1))
    write_table(folder / "factor_shifts.tsv", frame, {"group": "stratum (with --site-only: site)"})


def write_quality_sheet(output: Path, people: list[Person]) -> None:
    """Write qc.tsv, which excludes the people with bad scans."""
    checks = pd.DataFrame(
        [(person.subject, "", "exclude", "head motion, seen by eye") for person in people if person.bad_scan],
        columns=["subject", "modality", "decision", "reason"],
    )
    with atomic_path(output / "qc.tsv") as temporary:
        checks.to_csv(temporary, sep="\t", index=False, lineterminator="\n")


def write_cohort_sheet(output: Path, people: list[Person], settings: Settings) -> None:
    """Write cohort.tsv."""
    with atomic_path(output / "cohort.tsv") as temporary:
        cohort_sheet(people, settings).to_csv(temporary, sep="\t", index=False, lineterminator="\n")
