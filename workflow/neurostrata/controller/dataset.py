"""The description that makes the images of people a dataset of BIDS derivatives for other programs. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurostrata import __version__
from neurostrata.core.files import write_json
from neurostrata.planning.results import DATASET, path_in

#: Of the BIDS specification whose names of derivatives are used.
BIDS_VERSION = "1.10.0"


def describe_derivatives(config: Mapping[str, Any]) -> None:
    """Write ``dataset_description.json`` beside the people's folders.

    What somebody has added to it (a name, authors, a licence) is kept.
    """
    path = Path(path_in(config["output"], DATASET))
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        found = {}
    given = found if isinstance(found, dict) else {}
    content = {
        "Name": "neurostrata: maps of people",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        **given,
        "GeneratedBy": [{"Name": "neurostrata", "Version": __version__}],
    }
    if content != found:
        write_json(path, content)
