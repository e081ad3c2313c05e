"""The library on the path, and the configuration files as YAML that means what it says."""

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

# Snakemake's own message would name the Snakefile, and of a key that stands twice it keeps the last in silence.
check_files("config/config.yaml", workflow.overwrite_configfiles)
