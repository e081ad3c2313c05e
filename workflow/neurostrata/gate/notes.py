"""The kept answer of the check before the first job, valid until anything that the check depends on changes.

Standard library only: read each time the workflow is planned.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from neurostrata import __version__
from neurostrata.cohort.study import Study
from neurostrata.core.files import write_json

#: Raised when the check looks at more than before.
_VERSION = 4
#: Seconds for which the check reads images to their end; the stages read their images to the end in any case.
SECONDS = 60


def _stamps(study: Study) -> Iterator[str]:
    """Yield path, size and modification time of every file that the check looks at."""
    config = study.config
    named = [
        *config["phenotypes"]["tables"],
        *study.component_images().values(),
        *(path for key in ("image", "names") if (path := config["regions"][key])),
    ]
    columns = study.used_columns()
    cells = (row[column] for row in study.rows.values() for column in columns if row.get(column))
    for path in [*named, *cells]:
        try:
            status = os.stat(path)  # noqa: PTH116 - of a hundred thousand files
            yield f"{path}|{status.st_size}|{status.st_mtime_ns}\n"
        except (OSError, ValueError):
            yield f"{path}|missing\n"


def gate_key(study: Study) -> str:
    """Return a digest of everything that the check's answer depends on."""
    parts = [__version__, _VERSION, study.config, list(study.rows.values()), study.decisions]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode())
    for stamp in _stamps(study):
        digest.update(stamp.encode())
    return digest.hexdigest()


def kept_notes(path: Path, key: str) -> list[str] | None:
    """Return the remarks of the check that passed with this key, None when the check must be made (again)."""
    try:
        kept: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return [str(note) for note in kept["notes"]] if kept["key"] == key else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def keep_notes(path: Path, key: str, notes: list[str]) -> None:
    """Write that the check has passed with this key, and its remarks."""
    write_json(path, {"key": key, "notes": notes})
