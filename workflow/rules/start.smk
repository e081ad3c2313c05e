"""The library on Python's path, and a strict check of the configuration files as YAML."""

import os
import sys
from pathlib import Path

# The folder of the Snakefile, also where another workflow uses this one as a module.
CHECKOUT = Path(str(workflow.current_basedir)).parents[1]
LIBRARY = str(CHECKOUT / "workflow")
sys.path.insert(
    0, LIBRARY
)  # for the planning modules: standard library, PyYAML and jsonschema only

from neurostrata.controller.session import check_files, end_with
from neurostrata.core.errors import UserError

# Snakemake's own message would name the Snakefile, and it silently keeps the last of duplicate keys.
check_files("config/config.yaml", workflow.overwrite_configfiles)
