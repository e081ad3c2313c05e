"""The checked configuration, the study, the check before anything is planned, and what rules share."""

import atexit
import gc
import inspect
import json
import os
import shlex
import subprocess
import tempfile
import uuid

from neurostrata.gate.notes import SECONDS, gate_key, keep_notes, kept_notes
from neurostrata.cohort.study import load_study
from neurostrata.controller.entry import asked_of_snakemake, refuse_beside, sign_in
from neurostrata.controller.missing import make_missing_results_again
from neurostrata.controller.orphans import MARK
from neurostrata.controller.reasons import explain_reruns, say_changes
from neurostrata.controller.room import full
from neurostrata.controller.scheduling import no_attempt_in_vain, one_timer_at_a_time
from neurostrata.controller.state import FAILURES
from neurostrata.core.config import (
    adjusting_columns,
    adjusts_codes,
    check_config,
    decodes,
    load_schema,
)
from neurostrata.core.settings import handed_over, rows_digest, settings_text
from neurostrata.planning.options import seed_key, used_options

# What the jobs that this process starts itself carry: a run that went on without its controller is found by it.
RUN = uuid.uuid4().hex if workflow.is_main_process else ""


def enter():
    """Sign in; a study that somebody else runs, or whose orphaned jobs are at work, ends the run with exit status 2."""
    try:
        sign_in(Path(), RUN)
    except UserError as error:
        stop(error)
    except OSError as error:
        stop(f"{Path.cwd()}: cannot be written to ({error.strerror})")


def say_if_full():
    """Say so when a disk is full; at the very end, since Snakemake's own messages and the logs are lost then."""
    if folders := full([Path(), Path(config.get("output") or "")]):
        print(
            f"neurostrata: no room is left in {', '.join(map(str, folders))}: make room, then run again",
            file=sys.stderr,
        )


# Before anything is checked: a run that is still checking must not look like a dead one.
if workflow.is_main_process:
    ASKED = asked_of_snakemake()
    if ASKED == "run":
        atexit.register(say_if_full)
        enter()
    elif ASKED == "unlock":
        try:
            refuse_beside(Path())
        except UserError as error:
            stop(error)

try:
    CONFIG = check_config(config)
    STUDY = load_study(CONFIG, rescan=workflow.is_main_process)
    if workflow.is_main_process:
        make_missing_results_again(workflow)
except UserError as error:
    stop(error)

# Which images were taken, in numbers; each choice is in OUTPUT/cohort/sources.tsv.
if STUDY.notices:
    print(
        f"neurostrata: {'; '.join(STUDY.notices)} ({CONFIG['output']}/cohort/sources.tsv)",
        file=sys.stderr,
    )
# The captions of Snakemake's own report read it: with every default, as the rules do, and with the methods as the
# report has them. No rule reads this copy: the methods are in nobody's settings.
METHODS = Path(CONFIG["output"], "report", "methods.rst")
config.update(
    CONFIG,
    methods_text=METHODS.read_text(encoding="utf-8") if METHODS.is_file() else "",
)


# Where the people are listed. Results depend on what stands there (each rule's digest), not on where.
SHEETS = json.dumps({key: CONFIG[key] for key in ("output", "cohort", "qc")})

# What every job finds in its environment, whichever that is: the library (Snakemake strips PYTHONPATH from
# conda jobs), the terminal as descriptor 3 for its one-line message beside its log, the sheets, the notes of
# jobs that failed by a mistake in their input, and the mark of this run.
ENVIRONMENT = {
    "NEUROSTRATA_CONSOLE": "3",
    "PYTHONNOUSERSITE": "1",
    "PYTHONPATH": LIBRARY,
    "NEUROSTRATA_SHEETS": SHEETS,
    "NEUROSTRATA_FAILURES": str(FAILURES),
    MARK: RUN,
}
exports = " ".join(f"{name}={shlex.quote(text)}" for name, text in ENVIRONMENT.items())
exports = exports.replace("{", "{{").replace("}", "}}")  # Snakemake formats the prefix
# A plan of ten thousand jobs is millions of objects that all stay: looking through them for garbage is in vain.
gc.set_threshold(200_000, 50, 100)
shell.executable("bash")
# Words end with lines, so that a command's output that is not quoted may be a path with blanks.
shell.prefix(f"set -euo pipefail; IFS=$'\\n\\t'; exec 3>&2; export {exports}; ")


pathvars:
    results=CONFIG["output"],


EXPERIMENTS = list(STUDY.experiments)
MODALITIES = STUDY.used_modalities()
DIFFUSION_ALIGNED = CONFIG["diffusion"]["space"] == "T1w"


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


#: Settings that are too long for a command line, in files that jobs on other machines see as well.
LONG_SETTINGS = ".snakemake/neurostrata/settings"


def settings(stage, seed=None, **values):
    """Return the one tracked parameter of a rule: exactly the settings that its results depend on."""
    if seed is None:
        seed = CONFIG[seed_key(stage)]
    text = settings_text(stage, seed, used_options(stage, values))
    return handed_over(text, LONG_SETTINGS)


def subject_path(kind, rest):
    """Return the pattern of a derivative: ``subject_path("anat", "desc-preproc_T1w.nii.gz")``."""
    return f"<results>/derivatives/sub-{{subject}}/{kind}/sub-{{subject}}_{rest}"


RESULTS = CONFIG["output"]


def per_job(function):
    """Mark a function that Snakemake calls for each of thousands of jobs.

    It looks up the function's signature some fifteen times a job, which is slow unless it is written down.
    """
    function.__signature__ = inspect.signature(function)
    return function


def sheet(column):
    """Return an input function that gives a person's cell of the cohort sheet ([] when empty)."""

    @per_job
    def cell(wildcards):
        return STUDY.source(wildcards.subject, column) or []

    return cell


def gigabytes(base, per_input=0.0):
    """Return a `mem_mb` function: a base plus a multiple of the inputs' size, doubled at each retry."""

    @per_job
    def fixed(wildcards, attempt):
        return int(base * 1000 * 2 ** (attempt - 1))

    @per_job
    def growing(wildcards, input, attempt):
        return int((base * 1000 + per_input * input.size_mb) * 2 ** (attempt - 1))

    # Snakemake looks up the size of every input of every job where `input` is asked for.
    return growing if per_input else fixed


def minutes(base):
    """Return a `runtime` function, doubled at each retry."""

    @per_job
    def runtime(wildcards, attempt):
        return base * 2 ** (attempt - 1)

    return runtime


def results_state(folder):
    """Return a digest of which tables and descriptions are there and when they were written."""
    tables = [
        path for kind in ("tsv", "json") for path in Path(folder).rglob(f"*.{kind}")
    ]
    aside = ("headers.json", "gate.json", "problems.tsv")  # of the check, not results
    kept = (p for p in tables if "report" not in p.parts and p.name not in aside)
    made = sorted(str(path) for path in kept)
    return rows_digest(
        [{"path": path, "time": str(os.stat(path).st_mtime_ns)} for path in made],
        ["path", "time"],
    )


def gate():
    """Check everything that configuration, sheets and tables name; a mistake ends the run with exit status 2.

    Before anything is planned, so that a dry run tells as well. The answer is kept until any of it changes.
    """
    folder = Path(RESULTS) / "cohort"
    key = gate_key(STUDY)
    notes = kept_notes(folder / "gate.json", key)
    if notes is None:
        command = [sys.executable, "-m", "neurostrata", "check-cohort"]
        command += ["--settings", "@-", "--cache", HEADER_CACHE]
        environment = {**os.environ, **ENVIRONMENT, "NEUROSTRATA_CONSOLE": ""}
        # the check notes no failure: what it says is said again each time
        del environment["NEUROSTRATA_FAILURES"]
        with tempfile.NamedTemporaryFile("r", encoding="utf-8") as said:
            command += ["--seconds", str(SECONDS), "--notes", said.name]
            whole = json.dumps({"config": CONFIG, "version": 1, "seed": 0})
            if subprocess.run(
                command, env=environment, input=whole, text=True
            ).returncode:
                sys.exit(2)
            notes = said.read().splitlines()
        keep_notes(folder / "gate.json", key, notes)
    for note in notes:
        print(f"neurostrata: {note}", file=sys.stderr)


def capability(experiment, key, default=False):
    """Look up in its model's schema what an experiment's model can do or needs; a schema names what is not usual."""
    model = STUDY.experiments[experiment]["model"]
    return load_schema(f"models/{model}").get(key, default)


def can_decode(experiment):
    """Tell whether an experiment's model makes images of a code alone."""
    experiment = STUDY.experiments[experiment]
    return decodes(load_schema(f"models/{experiment['model']}"), experiment["options"])


def special_keys(experiment):
    """The keys of an experiment that say who takes part, where they differ from what most experiments have."""
    keys = ["missing", "options"] if experiment["missing"] == "include" else []
    return keys + (["label"] if experiment["label"] else [])


# What decides who takes part in what: the tables of people depend on this and no more.
SELECTION = {
    "modalities": CONFIG["modalities"],
    "experiments": [
        {key: e[key] for key in ("name", "model", "modalities", "validation")}
        | {key: e[key] for key in special_keys(e)}
        for e in CONFIG["experiments"]
    ],
    "diffusion": {key: CONFIG["diffusion"][key] for key in ("b0_max", "shell_gap")},
    "phenotypes": {key: CONFIG["phenotypes"][key] for key in ("tables", "id_column")},
}


# Only one engine of NODDI reads these; with the other one they are not checked and plan nothing.
UNUSED_COLUMNS = set()
if CONFIG["diffusion"]["noddi"]["engine"] == "maximum_likelihood":
    SELECTION["diffusion"]["noddi"] = {"engine": "maximum_likelihood"}
else:
    UNUSED_COLUMNS.add("grad_dev")


HEADER_CACHE = f"{RESULTS}/cohort/headers.json"

# In the main process only: jobs parse the Snakefile again.
if workflow.is_main_process:
    if ASKED not in ("aside", "unlock"):
        gate()
    explain_reruns(STUDY.declared)


def refuse_shared_jobs():
    """End when several jobs were to share one of Slurm's: what the others have finished would not be safe.

    When a member of a group fails, Snakemake (9.27) deletes the outputs of all and runs all again. In an array (of the Slurm
    plugin 2.8) every task waits for the output of the first, and all fail and are run again when that one has failed.
    """
    shared = {
        "groups": workflow.group_settings.overwrite_groups,
        "slurm-array-jobs": getattr(workflow.executor_settings, "array_jobs", None),
    }
    if not workflow.local_exec:
        for option, value in shared.items():
            if value:
                stop(
                    f"{option} (on the command line or in a profile): when one of the jobs fails, the work of others is "
                    "deleted with it. Leave it out; for many short jobs see docs/cluster.md"
                )


onstart:
    refuse_shared_jobs()
    enter()
    say_changes(workflow.dag)
    one_timer_at_a_time(workflow.scheduler)
    no_attempt_in_vain(workflow.scheduler, FAILURES)
