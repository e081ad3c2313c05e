"""The one tracked parameter of a rule: a JSON text of exactly the settings that its results depend on.

Snakemake compares params as an unordered set of values: two that swap their values would plan nothing. One sorted JSON
text avoids that. Standard library only: used while the workflow is parsed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from neurostrata.core.files import atomic_path
from neurostrata.stages import STAGES


def settings_text(stage: str, seed: int, values: Mapping[str, Any]) -> str:
    """Return the settings of a stage as sorted JSON, with the stage's version and seed."""
    return json.dumps({**values, "version": STAGES[stage].version, "seed": seed}, sort_keys=True)


#: In characters. Linux limits one word of a command line to 131,072 bytes, and a job's whole command is one word.
LONGEST = 30_000


def handed_over(text: str, folder: str | Path) -> str:
    """Return what a command gets for its settings: the text, or ``@FILE`` when the text is too long for a command line.

    The file is named after its content, so that the parameter still changes with the settings and only then.
    """
    if len(text) <= LONGEST:
        return text
    path = Path(folder) / f"{hashlib.sha256(text.encode()).hexdigest()}.json"
    if not path.exists():
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return f"@{path}"


def rows_digest(rows: Iterable[Mapping[str, str]], columns: Sequence[str]) -> str:
    """Return the SHA-256 of the given columns of the given rows, in their order.

    A rule that carries this digest is planned again when a cell it uses changes, and only then.
    """
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps([row.get(column, "") for column in columns]).encode())
    return digest.hexdigest()
