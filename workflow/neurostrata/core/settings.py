"""The one tracked parameter of a rule: a JSON text of exactly the settings that its results depend on.

Snakemake compares params as an unordered set of values, so two of them that swap values would plan
nothing; one sorted JSON string cannot. Standard library only: used while the workflow is parsed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from neurostrata.versions import VERSIONS


def settings_text(stage: str, seed: int, values: Mapping[str, Any]) -> str:
    """Return the settings of a stage as sorted JSON, with the stage's version and seed."""
    return json.dumps({**values, "version": VERSIONS[stage], "seed": seed}, sort_keys=True)


def rows_digest(rows: Iterable[Mapping[str, str]], columns: Sequence[str]) -> str:
    """Return the SHA-256 of the given columns of the given rows, in their order.

    A rule that carries this digest is planned again when a cell it uses changes, and only then.
    """
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps([row.get(column, "") for column in columns]).encode())
    return digest.hexdigest()
