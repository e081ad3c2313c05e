"""The commands for people: what each is for, where its function lives, and how its help page is arranged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from neurostrata import __version__
from neurostrata.cli.load import function_at
from neurostrata.cli.pages import Section, page
from neurostrata.cli.parsers import CommandParser


@dataclass(frozen=True)
class Command:
    """What has to be known of a command.

    Attributes
    ----------
    function
        ``module:function`` that does the work, within this package.
    subject
        Under which heading it stands.
    words
        What it is for.
    examples
        Lines to type.
    places
        See :class:`neurostrata.cli.parsers.CommandParser`.
    groups
        Heading -> options (or patterns of their names).
    often
        Of a command that hands its options on: the ones that are often used.
    """

    function: str
    subject: str
    words: str
    examples: Sequence[str] = ()
    places: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    often: Mapping[str, str] = field(default_factory=dict)

    @property
    def controls(self) -> bool:
        """Whether it only starts or looks at runs of Snakemake, and computes nothing itself."""
        return self.function.startswith("controller.")

    @property
    def makes_results(self) -> bool:
        """Whether it writes results of a study; what it writes otherwise is its owner's to edit."""
        return self.function.startswith("gate.")


#: Name -> command, in the order in which they are needed.
COMMANDS = {
    "init": Command(
        "beginning.commands:init",
        "Begin",
        "make a study from a folder: BIDS, derivatives, HCP or loose images",
        [
            "neurostrata init ~/data/bids my-study",
            "neurostrata init ~/data/bids my-study --participant-label 01 02 --filter-t1w acquisition=mprage",
        ],
        groups={
            "Which people and images": (
                "participant_label",
                "session_label",
                "run_label",
                "filter_*",
                "path_*",
            ),
            "What else there is": ("derivatives", "table"),
            "The study": ("preset", "force"),
        },
    ),
    "simulate": Command(
        "simulation.commands:simulate",
        "Begin",
        "make a cohort with known strata, to try things on",
        ["neurostrata simulate cohort --people 24 --threads 4"],
        {"output": "COHORT"},
        {
            "People": ("people", "seed", "strata", "effect", "site_only", "null_link", "diagnosis_effect"),
            "T1w images": ("resolution_mm", "noise", "contrasts", "lesions"),
            "Diffusion": ("diffusion", "dwi_resolution_mm", "directions"),
            "Function": ("components", "bold", "bold_resolution_mm"),
            "Computer": ("threads",),
        },
    ),
    "check": Command(
        "gate.commands:check",
        "Begin",
        "list all problems of a study before it is run",
        [
            "neurostrata check my-study",
            "neurostrata check my-study --exclude",
            "neurostrata check my-study --exclude-suggested",
        ],
        {"directory": "STUDY"},
    ),
    "run": Command(
        "controller.run:run",
        "Run",
        "run a study, or say what would run (-n); all options of snakemake",
        [
            "neurostrata run my-study -n",
            "neurostrata run my-study",
            "neurostrata run my-study --profile slurm",
        ],
        {"arguments": "[STUDY] [options of snakemake]"},
        often={
            "-n": "say what would run, and run nothing",
            "--cores N": "use so many cores",
            "--profile slurm": "hand the jobs to a cluster; a profile is also looked for in STUDY and in the clone",
            "--configfile FILE": "set values over the study's own",
            "--forcerun STAGE": "make the results of a stage again, and what follows from them",
            "TARGET": "make only this part: maps, volumes, models, quality, strata or report; after STUDY, before the options",
        },
    ),
    "progress": Command(
        "controller.progress:progress",
        "Run",
        "say how much of a run is done, and how long the rest will take",
        ["neurostrata progress my-study"],
        {"directory": "STUDY"},
    ),
    "resume": Command(
        "controller.resume:resume",
        "Run",
        "go on after the computer, a node or the connection died",
        ["neurostrata resume my-study", "neurostrata resume my-study --profile slurm"],
        {"arguments": "[STUDY] [options of the run]"},
    ),
    "summary": Command(
        "report.summary:summary",
        "Results",
        "say in a few lines what was found, and where the report is",
        ["neurostrata summary my-study"],
        {"directory": "STUDY"},
    ),
    "recovery": Command(
        "simulation.recovery:recovery",
        "Results",
        "compare what was found in a simulated cohort with the truth",
        ["neurostrata recovery --cohort cohort --results my-study/results --output recovery.json"],
    ),
}


def overview() -> str:
    """Return the help page of ``neurostrata``."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, command in COMMANDS.items():
        groups.setdefault(command.subject, []).append((name, command.words))
    about = (
        f"neurostrata {__version__} looks for groups of people (strata) in brain images of several kinds, and tests how the "
        "groups differ in questionnaires and diagnoses."
    )
    first = [
        "neurostrata init ~/data/bids my-study",
        "neurostrata run my-study -n",
        "neurostrata run my-study",
    ]
    return page(
        [
            Section(paragraphs=[about]),
            Section("Usage", lines=["neurostrata COMMAND [options]", "neurostrata COMMAND --help"]),
            *(Section(title, rows) for title, rows in groups.items()),
            Section("Inside", [("stage", "do one stage of the workflow, as its rule does")]),
            Section("A first study", lines=first),
        ]
    )


def parser_of(name: str) -> CommandParser:
    """Return the parser of a command; this is what imports its module."""
    command = COMMANDS[name]
    function = function_at(f"neurostrata.{command.function}")
    return CommandParser(
        f"neurostrata {name}", function, command.places, command.groups, command.examples, command.often
    )
