"""The configuration: reading, checking and filling it by its closed schemas.

Imported while the workflow is parsed, so: standard library, PyYAML and jsonschema only.
"""

from neurostrata.core.config.adjustment import (
    AUTOMATIC_SPLINE,
    COVARIATES,
    PEOPLE_PER_COLUMN,
    PEOPLE_PER_CURVED_COLUMN,
    adjusts_codes,
    further_covariates,
    named_columns,
    only_lines,
)
from neurostrata.core.config.check import check_config, fill_config
from neurostrata.core.config.experiments import adjusting_columns, capability
from neurostrata.core.config.messages import schema_problems
from neurostrata.core.config.modalities import (
    component_names,
    declared_names,
    expand_modalities,
    modality_domains,
)
from neurostrata.core.config.reading import (
    look_up,
    overlaid,
    read_configuration,
    read_own_yaml,
    read_yaml,
    study_files,
)
from neurostrata.core.config.schemas import (
    fill_defaults,
    finder_names,
    later_defaults,
    load_schema,
    model_names,
    section_defaults,
    without_later,
)

__all__ = [
    "AUTOMATIC_SPLINE",
    "COVARIATES",
    "PEOPLE_PER_COLUMN",
    "PEOPLE_PER_CURVED_COLUMN",
    "adjusting_columns",
    "adjusts_codes",
    "capability",
    "check_config",
    "component_names",
    "declared_names",
    "expand_modalities",
    "fill_config",
    "fill_defaults",
    "finder_names",
    "further_covariates",
    "later_defaults",
    "load_schema",
    "look_up",
    "modality_domains",
    "model_names",
    "named_columns",
    "only_lines",
    "overlaid",
    "read_configuration",
    "read_own_yaml",
    "read_yaml",
    "schema_problems",
    "section_defaults",
    "study_files",
    "without_later",
]
