"""The stages of the workflow: one record each, which everything that has to know the stages reads.

A stage is one rule of the workflow and one subcommand, under the same name (``fit_noddi``, ``fit-noddi``). Standard
library only: the workflow reads this while parsing, and no function is imported before its command runs.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """What has to be known of a stage.

    Attributes
    ----------
    function
        ``module:function`` that does the work, within this package.
    words
        What the stage is doing, for people.
    sections
        Keys of the configuration that its settings are taken from; ``*`` stands for all of them.
    seed
        Key of the configuration with its seed: ``seed``, ``imaging_seed``, or ``experiment`` (that of the experiment, or
        ``seed`` where it has none).
    draws
        Whether it draws random numbers. Where it does not, another seed plans nothing, although the seed is among its settings.
    version
        Version of its results. The number goes up when, and only when, the results of the stage change: the stage and what
        follows from it are then planned again in every study. A release that changes no number plans nothing, nor does a
        changed shell command of a rule (`tests/workflow/test_commands_of_rules.py` asks about it).
    """

    function: str
    words: str
    sections: tuple[str, ...] = ()
    seed: str = "seed"
    version: int = 1
    draws: bool = True


def _imaging(function: str, words: str, *sections: str, version: int = 1, draws: bool = True) -> Stage:
    return Stage(f"imaging.{function}", words, sections, "imaging_seed", version, draws)


def _analysis(function: str, words: str, *sections: str, version: int = 1, draws: bool = True) -> Stage:
    return Stage(function, words, sections, "seed", version, draws)


#: Rules that only name what is asked for; they do nothing and are not counted.
TARGETS = frozenset({"all", "maps", "volumes", "models", "strata", "quality"})
#: Name of the stage -> its record, in the order of the work.
# fmt: off
STAGES = {
    "check_cohort": _analysis("gate.commands:check_cohort", "checking everybody's files", "modalities", "experiments", "diffusion", "phenotypes", draws=False),
    "list_people": _analysis("cohort.commands:list_people", "listing people", "modalities", "experiments", "strata", draws=False),
    "prepare_t1w": _imaging("anatomy.commands:prepare_t1w", "preparing T1w images", "anatomy", draws=False),
    "template_start": _imaging("template.commands:template_start", "averaging images for the first template", "template", draws=False),
    "template_register": _imaging("template.commands:template_register", "registering to the template of the previous iteration", "template", "registration"),
    "template_update": _imaging("template.commands:template_update", "updating the template", "template", draws=False),
    "template_final": _imaging("template.commands:template_final", "finishing the template", "template", draws=False),
    "template_mask": _imaging("template.commands:template_mask", "bringing the brain mask and tissue priors to the template", "template", "registration"),
    "template_to_mni": _imaging("template.commands:template_to_mni", "registering MNI152 to the template", "registration"),
    "register": _imaging("registration.commands:register", "registering to the template", "registration"),
    "jacobian": _imaging("anatomy.commands:jacobian", "computing Jacobians", draws=False),
    "segment_tissue": _imaging("anatomy.commands:segment_tissue", "segmenting tissue", "tissue", draws=False),
    "fit_tensor": _imaging("diffusion.commands:fit_tensor", "fitting the diffusion tensor", "diffusion", draws=False),
    "fit_noddi": _imaging("diffusion.commands:fit_noddi", "fitting NODDI", "diffusion", draws=False),
    "align_diffusion": _imaging("diffusion.commands:align_diffusion", "aligning diffusion data with T1w images", "diffusion"),
    "dual_regression": _imaging("functional.commands:dual_regression", "dual regression", "modalities", draws=False),
    "map_to_template": _imaging("volumes.commands:map_to_template", "bringing maps to the fusion grid", "modalities", "volumes", draws=False),
    "grid_mask": _imaging("volumes.commands:grid_mask", "bringing the brain mask to the fusion grid", "volumes", draws=False),
    "grid_regions": _imaging("volumes.commands:grid_regions", "bringing regions to the fusion grid", "regions", "volumes", "registration"),
    "measure_quality": _imaging("quality.commands:measure_quality", "measuring the quality of images", "diffusion", "modalities", version=2, draws=False),
    "normalise": _analysis("imaging.volumes.commands:normalise", "gathering each modality in one array", "modalities", "volumes", draws=False),
    "split": _analysis("fusion.commands:split", "dividing people into folds", "experiments"),
    "train": Stage("fusion.commands:train", "training models", ("experiments", "training"), seed="experiment"),
    "embed": _analysis("fusion.commands:embed", "computing embeddings", "experiments"),
    "evaluate": _analysis("fusion.evaluation.commands:evaluate", "measuring reconstruction", "experiments"),
    "robustness": _analysis("fusion.evaluation.commands:robustness", "hiding each modality in turn", "experiments"),
    "relevance": _analysis("fusion.evaluation.commands:relevance", "computing attention to regions and modalities", "experiments"),
    "explain": _analysis("prediction.explain_commands:explain", "explaining differences between classes", "experiments", version=2),
    "summarise_explanation": _analysis("prediction.explain_commands:summarise_explanation", "ranking modalities by importance", "experiments"),
    "map_codes": _analysis("prediction.explain_commands:tsne_of_modalities", "laying out modality codes (t-SNE)", "experiments"),
    "generate": _analysis("fusion.evaluation.commands:generate", "generating images", "experiments"),
    "baselines": _analysis("fusion.evaluation.commands:baselines", "learning linear baselines", "experiments"),
    "predict": _analysis("prediction.commands:predict", "predicting targets", "experiments", "phenotypes", version=3),
    "summarise_experiment": _analysis("fusion.commands:summarise_experiment", "summarising experiments", "experiments"),
    "synthesise": _analysis("fusion.evaluation.commands:synthesise", "synthesising modalities", "experiments", "synthesis"),
    "summarise_synthesis": _analysis("fusion.evaluation.commands:summarise_synthesis", "summarising synthesis", "experiments", version=2),
    "factor_phenotypes": _analysis("phenotypes.commands:factor_phenotypes", "reducing phenotypes to factors", "phenotypes"),
    "describe_people": _analysis("adjustment.commands:describe_people", "gathering what is known of people", "phenotypes", "strata", draws=False),
    "adjust_codes": _analysis("adjustment.commands:adjust_codes", "adjusting codes", "strata"),
    "cluster": _analysis("strata.commands:cluster", "searching for clusters", "strata", version=2),
    "existence": _analysis("strata.commands:existence", "testing whether clusters exist", "strata", version=2),
    "stability": _analysis("strata.commands:stability", "measuring stability of clusters", "strata"),
    "project": _analysis("strata.commands:map_people", "laying out embeddings (t-SNE)", "strata", version=2),
    "compare_strata": _analysis("strata.comparison.commands:compare_strata", "comparing phenotypes between clusters", "strata", version=2),
    "repartition_strata": _analysis("strata.comparison.commands:repartition_strata", "comparing with random partitions", "strata", version=2),
    "profile_strata": _analysis("strata.comparison.commands:profile_strata", "profiling clusters", version=3),
    "composition": _analysis("strata.comparison.commands:composition", "describing who is in each cluster", "strata", version=3),
    "compare_adjusted": _analysis("strata.comparison.commands:compare_adjusted", "comparing phenotypes with covariates", "strata", version=4),
    "split_half": _analysis("strata.comparison.commands:split_half", "clustering halves of the people", "strata"),
    "shuffle_links": _analysis("strata.comparison.commands:shuffle_links", "linking clusters with shuffled phenotypes", "strata"),
    "gather_quality": _analysis("quality.commands:gather_quality", "gathering measures of quality", draws=False),
    "measure_codes": _analysis("quality.commands:measure_codes", "measuring how unlike others people are to the models", "experiments"),
    "compare_quality": _analysis("quality.commands:compare_quality", "comparing the quality of everybody's images", "quality", "modalities", "diffusion", version=3),
    "compare_raters": _analysis("quality.commands:compare_raters", "comparing raters"),
    "strata_quality": _analysis("strata.comparison.commands:strata_quality", "comparing image quality between clusters", "strata", version=3),
    "map_strata": _analysis("strata.maps.commands:map_strata", "mapping where the strata differ", "strata", version=2),
    "decode_strata": _analysis("prediction.strata_decoding:decode_strata", "decoding the centres of the strata", "experiments"),
    "agreement": _analysis("strata.comparison.commands:agreement", "comparing clusters of experiments and finders"),
    "continuous": _analysis("prediction.continuous_commands:continuous", "predicting factors without clusters", "strata", version=3),
    "factor_congruence": _analysis("phenotypes.commands:factor_congruence", "measuring congruence of factors", "phenotypes"),
    "subject_page": _analysis("report.commands:subject_page", "writing pages of people", version=2, draws=False),
    "provenance": _analysis("report.commands:provenance", "recording provenance", "*"),
    "report": _analysis("report.commands:report", "writing the report", "*", version=8),
}
# fmt: on


def command_of(stage: str) -> str:
    """Return the subcommand of a stage."""
    return stage.replace("_", "-")
