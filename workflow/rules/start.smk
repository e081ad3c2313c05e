"""The library on the path, how a mistake ends a run, and the configuration files as YAML that means what it says."""

import os
import sys
from pathlib import Path

LIBRARY = str(Path(workflow.basedir) / "workflow")
sys.path.insert(
    0, LIBRARY
)  # for the planning modules: standard library, PyYAML and jsonschema only

from neurostrata.core.config import read_yaml
from neurostrata.core.errors import UserError


def stop(error):
    """End before anything is planned: the user's mistake in plain words, exit status 2."""
    print(f"neurostrata: {error}", file=sys.stderr)
    sys.exit(2)


# Snakemake's own message would name the Snakefile, and of a key that stands twice it keeps the last in silence.
try:
    own = [path for path in ("config/config.yaml",) if os.path.exists(path)]
    for path in [*own, *workflow.overwrite_configfiles]:
        read_yaml(path)
except UserError as error:
    stop(error)
