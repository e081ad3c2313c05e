"""The checked configuration, the study, the check before anything is planned, and what rules share."""

from functools import partial

from neurostrata.controller.missing import make_missing_results_again
from neurostrata.controller.announcing import explain_plans
from neurostrata.controller.reasons import explain_reruns
from neurostrata.controller.session import (
    Session,
    caption_values,
    collect_garbage_rarely,
    complete_config,
    config_files,
    job_environment,
    refuse_other_paths,
    shell_prefix,
    shows_messages,
)
from neurostrata.controller.shortcuts import take_shortcuts
from neurostrata.planning import results as tree
from neurostrata.planning.gate import check_study
from neurostrata.planning.inputs import Inputs
from neurostrata.planning.jobs import (
    SEARCH_THREADS,
    by_wildcards,
    memory,
    minutes,
    noddi_environment,
    registration_threads,
)
from neurostrata.planning.requests import requests_of
from neurostrata.planning.parameters import leading_codes, parameter
from neurostrata.planning.targets import (
    clustered_codes,
    measured_experiments,
    prediction_results,
    quality_results,
    strata_results,
    stratified,
)

SESSION = Session(workflow, config)
complete_config(workflow, config)
SESSION.begin(config)
try:
    STUDY = SESSION.study(config, config_files(workflow))
    if SESSION.main:
        make_missing_results_again(workflow)
        take_shortcuts(workflow)
except UserError as error:
    end_with(error)
CONFIG = STUDY.config

# How many images were found where; each choice is in OUTPUT/cohort/sources.tsv.
if STUDY.notices:
    SESSION.say(f"{'; '.join(STUDY.notices)} ({CONFIG['output']}/cohort/sources.tsv)")
if SESSION.main:
    for remark in STUDY.remarks:
        SESSION.say(remark)
# This copy is in no settings, which are taken from CONFIG.
config.update(caption_values(CONFIG))

ENVIRONMENT = job_environment(CONFIG, LIBRARY, SESSION.mark)
collect_garbage_rarely()
shell.executable("bash")
shell.prefix(shell_prefix(ENVIRONMENT, shows_messages(workflow)))

if SESSION.checks:
    for note in check_study(STUDY, ENVIRONMENT):
        SESSION.say(note)
if SESSION.main:
    explain_reruns(STUDY.declared)
    explain_plans(STUDY, partial(SESSION.obstacle, CONFIG))


pathvars:
    results=CONFIG["output"],


refuse_other_paths(workflow, CONFIG)


wildcard_constraints:
    subject="[A-Za-z0-9]+",
    iteration="[0-9]+",
    modality="[A-Za-z0-9]+",
    declared="[A-Za-z0-9]+",
    experiment="[A-Za-z0-9._-]+",
    fold="[0-9]+|all",
    group="[A-Za-z0-9._-]+",
    codes="raw|adjusted",
    finder="[a-z_]+",


EXPERIMENTS = list(STUDY.experiments)
MODALITIES = STUDY.used_modalities()
ITERATIONS = CONFIG["template"]["iterations"]
REGISTRATION_THREADS = registration_threads(CONFIG)
#: What jobs on images and searches for clusters ask for. Only the main process asks; others need not read what is known of the images.
REQUESTS = requests_of(STUDY, look=SESSION.main)
TABLES = CONFIG["phenotypes"]["tables"]
STRATIFIED = stratified(STUDY)
#: The codes that lead the report, and all that are clustered.
LEADING_CODES = leading_codes(STUDY)
CODES = clustered_codes(STUDY)
FINDERS = CONFIG["strata"]["finders"]
STRATA_OUTPUTS = strata_results(STUDY)
PREDICTION_OUTPUTS = prediction_results(STUDY)
QUALITY_OUTPUTS = quality_results(STUDY)

INPUTS = Inputs(STUDY)
settings = partial(parameter, STUDY)
#: The results folder and patterns of paths in it, as words of a shell command.
in_command = partial(tree.in_command, CONFIG["output"])


def sheet(column):
    """Return an input function that gives a person's cell of the cohort sheet."""
    return by_wildcards(partial(INPUTS.sheet, column=column))


def previous(pattern):
    """Return an input function that gives a file of the template's previous iteration."""
    return by_wildcards(partial(INPUTS.previous, pattern))


def of_folds(pattern):
    """Return an input function that gives a file of every fold of an experiment."""
    return by_wildcards(partial(INPUTS.folds, pattern))


onstart:
    SESSION.start(workflow, STUDY)
