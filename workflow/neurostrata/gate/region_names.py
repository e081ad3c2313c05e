"""The names of an atlas's regions. Standard library only."""

from __future__ import annotations

from pathlib import Path

from neurostrata.core.errors import UserError


def region_names(path: Path | None) -> dict[int, str]:
    """Read region numbers and names: the first two columns of a table, separated by tabs, commas or spaces; `#` begins a comment.

    Raises
    ------
    UserError
        When a line does not begin with a number and a name.
    """
    if path is None:
        return {}
    names: dict[int, str] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"regions.names: {path}: cannot be read ({error})") from error
    for position, line in enumerate(lines):
        if line.lstrip().startswith("#"):
            continue
        cells = line.replace(",", "\t").split("\t") if "\t" in line or "," in line else line.split()
        cells = [cell.strip() for cell in cells if cell.strip()]
        if len(cells) >= 2 and cells[0].isdigit():
            names[int(cells[0])] = cells[1]
        elif cells and position > 0:
            raise UserError(f"regions.names: {path}: line {position + 1} has no number and name")
    return names
