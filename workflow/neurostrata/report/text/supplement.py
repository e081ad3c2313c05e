"""The methods as a supplement that can be pasted: paragraphs with numbered references, people, software and versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neurostrata.core.wording import join_words
from neurostrata.report.data.flow import Flow, Step
from neurostrata.report.text.methods import Config, methods_paragraphs, training_values, used_modalities
from neurostrata.report.text.references import PACKAGES, bibtex, cite, numbered, plain_reference


@dataclass(frozen=True)
class Supplement:
    """The paragraphs with numbers for the works cited, and these works.

    Attributes
    ----------
    paragraphs
        (heading, text).
    keys
        The works, in the order of their numbers.
    """

    paragraphs: list[tuple[str, str]]
    keys: list[str]

    def references(self) -> list[str]:
        """Return the list of references, each with its number."""
        return [f"{number}. {plain_reference(key)}" for number, key in enumerate(self.keys, start=1)]

    def markdown(self) -> str:
        """Return everything as Markdown, which is readable as plain text too."""
        parts = ["# Methods", *(f"**{heading}.** {text}" for heading, text in self.paragraphs)]
        parts += ["## References", "\n".join(self.references())]
        return "\n\n".join(parts) + "\n"

    def bibtex(self) -> str:
        """Return the works cited as BibTeX."""
        return bibtex(self.keys)


def supplement(
    config: Config, flow: Flow | None = None, record: Mapping[str, Any] | None = None
) -> Supplement:
    """Return the supplement of a run.

    Parameters
    ----------
    config
        The whole configuration, defaults filled in.
    flow
        The numbers of people; None leaves them out.
    record
        ``provenance.json``; None or empty leaves the software out.
    """
    paragraphs = methods_paragraphs(config)
    if flow is not None:
        paragraphs.insert(0, ("Participants", participants_text(flow)))
    if record:
        paragraphs.append(("Software", software_text(config, record)))
    texts, keys = numbered([text for _, text in paragraphs])
    return Supplement([(heading, text) for (heading, _), text in zip(paragraphs, texts)], keys)


def participants_text(flow: Flow) -> str:
    """Return how many people there are at each step, in sentences."""
    sentences = []
    if flow.study:
        first, *others = flow.study
        sentences.append(f"Of {first.people} {first.title}, " + steps_text(others) + ".")
    if flow.template is not None:
        sentences.append(f"The template was made of the images of {flow.template} of them.")
    sentences += [f"{name}: {steps_text(steps)}." for name, steps in flow.experiments.items()]
    return " ".join(sentences)


def steps_text(steps: list[Step]) -> str:
    """Return "22 in the model (1 not: no NDI); 22 in a cluster"."""
    return "; ".join(
        f"{step.people} {step.title.removeprefix('people ')}"
        + (f" ({join_words([f'{n} not: {why}' for why, n in step.lost.items()])})" if step.lost else "")
        for step in steps
    )


def used_packages(config: Config) -> list[str]:
    """Return the distributions that a run with this configuration uses, of those that ``provenance.json`` records."""
    made = {declaration["from"] for declaration in used_modalities(config).values()}
    diffusion = bool(made & {"tensor", "noddi"})
    engine = config["registration"]["engine"]
    aligned = diffusion and config["diffusion"]["space"] == "native"
    amico = "noddi" in made and config["diffusion"]["noddi"]["engine"] == "amico"
    trained = any(training_values(config, experiment) for experiment in config["experiments"])
    phenotypes = bool(config["phenotypes"]["tables"])
    used = {
        "antspyx": config["anatomy"]["n4"]["enabled"] or engine == "ants" or aligned,
        "picsl-greedy": engine == "greedy",
        "dipy": diffusion,
        "dmri-amico": amico,
        "torch": engine == "torch" or bool(config["experiments"]),
        "lightning": trained,
        "scikit-learn": bool(config["experiments"]),
        "factor-analyzer": phenotypes and config["phenotypes"]["method"] != "variables",
        "statsmodels": phenotypes,
    }
    always = ("nibabel", "nilearn", "numpy", "scipy", "pandas", "snakemake")
    return [*(name for name, is_used in used.items() if is_used), *always]


def software_text(config: Config, record: Mapping[str, Any]) -> str:
    """Return the software that the run used with its versions, from ``provenance.json``."""
    code = record["code"]
    own = f"neurostrata {record['neurostrata']}" + (f" (commit {code['commit'][:12]})" if code else "")
    versions = record["packages"]
    named = [
        f"{name} {versions[name]}{cite(PACKAGES[name]) if name in PACKAGES else ''}"
        for name in used_packages(config)
        if name in versions
    ]
    return f"{own} with Python {record['python']}: {join_words(named)}."
