"""Folders with fixed names of files: the Human Connectome Project's and UK Biobank's."""

from __future__ import annotations

from pathlib import Path

from neurostrata.beginning.findings import Findings, Wishes
from neurostrata.beginning.tables import describing, may_be_table, read_tables
from neurostrata.cohort.discovery.layouts import HCP, choose_scans, hcp_scans, is_there, ukb_scans
from neurostrata.cohort.discovery.messages import ordered
from neurostrata.core.errors import UserError

_HCP_BELOW = "fmriresults01"


def hcp_folder(folder: Path) -> Path | None:
    """Return the folder with SUBJECT/T1w/..., this one or the one in it where Lifespan packages have it."""
    for place in (folder, folder / _HCP_BELOW):
        if any(is_there(path / "T1w" / HCP["t1w"]) for path in place.glob("*/")):
            return place
    return None


def is_ukb(folder: Path) -> bool:
    """Tell whether a folder holds unpacked bulk data of UK Biobank, or packed ones."""
    fields = ("20250", "20251", "20252", "20253")
    return any(
        next(folder.glob(pattern), None) is not None
        for field in fields
        for pattern in (
            f"[0-9]*_{field}_[0-9]_[0-9]*",
            f"[0-9]*/{field}_[0-9]_[0-9]*",
            f"[0-9]*/[0-9]*_{field}_[0-9]_[0-9]*",
        )
    )


def look_at_layout(folder: Path, key: str, wishes: Wishes) -> Findings:
    """Return what a folder in the layout of HCP (`key` ``hcp``) or UK Biobank (``ukb``) holds.

    Raises
    ------
    UserError
        When people have several visits and none was chosen, with the choices; or when an option does not apply.
    """
    if wishes.filters or wishes.run:
        raise UserError(
            "--filter-t1w, --filter-dwi and --run-label choose among BIDS's names of files; in this folder the names are fixed: "
            "leave these options out"
        )
    scans = (hcp_scans if key == "hcp" else ukb_scans)(folder)
    asked = {name.removeprefix("sub-") for name in wishes.participants} or set(scans)
    theirs = [visits for person, visits in scans.items() if person in asked]
    labels = ordered({label for visits in theirs for label in visits} - {""})
    several = sum(len(visits) > 1 for visits in theirs)
    if several and wishes.session is None:
        held = {label: sum(label in visits for visits in theirs) for label in labels}
        choices = [f"  --session-label {label}   ({number} people)" for label, number in held.items()]
        choices += [f"  --session-label {rule}" for rule in ("first", "last", "all")]
        raise UserError(
            "\n".join(
                [
                    f"nothing was written.\n{several} of {len(theirs)} people have several visits, and only you know which to take; "
                    "choose with one of",
                    *choices,
                ]
            )
        )
    rows, _, notices = choose_scans(scans, key, wishes.session, list(wishes.participants) or None)
    cohort: dict[str, object] = {"sheet": None, key: str(folder)}
    if wishes.session is not None:
        cohort["sessions"] = wishes.session
    if wishes.participants:
        cohort["participants"] = list(wishes.participants)
    findings = Findings(
        layout=f"{'HCP' if key == 'hcp' else 'UK Biobank'}: {folder}",
        cohort=cohort,
        rows=rows,
        in_t1w_space=key == "hcp",
        notes=list(notices[1:]),  # the first counts images
    )
    if wishes.session is not None:
        others = [label for label in (*labels, "first", "last", "all") if label != wishes.session]
        findings.comments["sessions"] = f"or {', '.join(others)}"
    findings.further = [column for column in ("flair",) if any(row.get(column) for row in rows)]
    places = [folder, folder.parent] if folder.name == _HCP_BELOW else [folder]
    beside = [str(path) for place in places for path in sorted(place.iterdir()) if may_be_table(path)]
    findings.tables, findings.unused = read_tables(
        [*beside, *wishes.tables], [row["subject"] for row in rows]
    )
    findings.beside = describing(findings.tables, wishes.tables)
    with_variables = [table for table in findings.tables if table.variables]
    named = [table.path for table in with_variables if table.path in wishes.tables]
    findings.certain = named or (
        [table.path for table in with_variables] if key == "hcp" or len(with_variables) == 1 else []
    )
    return findings
