"""Which kind of folder it is, and what it holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neurostrata.beginning.datasets import datasets_in, look_at_datasets
from neurostrata.beginning.findings import Findings, Wishes
from neurostrata.beginning.layouts import hcp_folder, is_ukb, look_at_layout
from neurostrata.beginning.loose import look_at_loose
from neurostrata.beginning.undecided import in_options
from neurostrata.core.errors import UserError


def look_at(folder: Path, study: Path, wishes: Wishes, derivatives: Sequence[Path] = ()) -> Findings:
    """Return what a folder holds.

    Parameters
    ----------
    folder
        With images.
    study
        The study's folder, which is not searched when it lies in the other.
    wishes
        What was chosen by options.
    derivatives
        Further folders with BIDS derivatives.

    Raises
    ------
    UserError
        When the folder holds nothing that can be used, two layouts at once, or what only a person can decide.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: is not a folder")
    folder, study = folder.resolve(), study.resolve()
    hcp, ukb = hcp_folder(folder), is_ukb(folder)
    results: list[Path] = []
    # such folders hold thousands of others
    roots = (
        datasets_in(folder, study, results, depth=0) if hcp or ukb else datasets_in(folder, study, results)
    )
    for further in derivatives:
        if not further.is_dir():
            raise UserError(f"--derivatives {further}: is not a folder")
        inside = datasets_in(further.resolve(), study, results)
        if not inside:
            raise UserError(f"--derivatives {further}: no folder sub-* in it or below it")
        roots += [root for root in inside if root not in roots]
    kinds = {"BIDS (sub-*)": roots, "HCP (SUBJECT/T1w)": hcp, "UK Biobank (EID_20252_2_0)": ukb}
    found = [name for name, there in kinds.items() if there]
    if len(found) > 1:
        raise UserError(
            f"{folder}: looks like {' and like '.join(found)}; name the one folder of the two that holds the images"
        )
    if found and wishes.patterns:
        raise UserError(
            f"--path-t1w and --path-dwi are for loose images, and {folder} looks like {found[0]}; leave them out"
        )
    try:
        if roots:
            findings = look_at_datasets(roots, wishes)
        elif hcp is not None:
            findings = look_at_layout(hcp, "hcp", wishes)
        elif ukb:
            findings = look_at_layout(folder, "ukb", wishes)
        else:
            findings = look_at_loose(folder, study, wishes)
    except UserError as error:
        raise in_options(error) from error
    findings.unused += [f"{path}: the results of a study" for path in results]
    return findings
