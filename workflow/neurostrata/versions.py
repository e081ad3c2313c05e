"""The version of each stage's results. Standard library only: the workflow reads it while parsing.

A number goes up when, and only when, the results of that stage change; the stage and what follows
from it is then planned again in every study. A new release that changes no number reruns nothing.
"""

VERSIONS = {
    "check_cohort": 1,
    "list_people": 1,
    "prepare_t1w": 1,
    "template_start": 1,
    "template_register": 1,
    "template_update": 1,
    "template_final": 1,
    "template_mask": 1,
    "register": 1,
    "jacobian": 1,
    "segment_tissue": 1,
    "fit_tensor": 1,
    "fit_noddi": 1,
    "align_diffusion": 1,
    "map_to_template": 1,
    "grid_mask": 1,
    "normalise": 1,
    "split": 1,
    "train": 1,
    "embed": 1,
    "evaluate": 1,
    "summarise_experiment": 1,
    "synthesise": 1,
    "summarise_synthesis": 1,
    "factor_phenotypes": 1,
    "cluster": 1,
    "project": 1,
    "compare_strata": 1,
    "repartition_strata": 1,
    "profile_strata": 1,
    "subject_page": 1,
    "provenance": 1,
    "report": 1,
}
