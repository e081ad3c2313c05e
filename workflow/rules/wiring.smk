"""Functions of wildcards that rules use as inputs and parameters."""


def selection_of(wildcards):
    """The part of the configuration that decides who is in a group, and a digest of the group itself."""
    kind, _, name = wildcards.group.partition("-")
    chosen = {}
    of_experiment = kind in ("experiment", "targets", "covariates")
    if of_experiment:
        chosen["experiments"] = [
            e for e in SELECTION["experiments"] if e["name"] == name
        ]
        chosen["experiments"][0] = {
            k: v for k, v in chosen["experiments"][0].items() if k != "validation"
        }
    if kind == "targets":
        prediction = STUDY.experiments[name]["analyses"]["prediction"]
        chosen["experiments"][0]["analyses"] = {"prediction": prediction}
    if kind == "covariates":
        chosen["experiments"][0]["analyses"] = predicting(name)
    if kind == "characteristics":
        adjust = CONFIG["strata"]["adjust"]
        chosen["strata"] = {
            "adjust": {key: adjust[key] for key in ("columns", "sites")}
        }
    used = []
    if of_experiment:
        used = STUDY.experiments[name]["modalities"]
    elif kind == "modality":
        used = [name]
    declared = {STUDY.declared(modality) for modality in used}
    chosen["modalities"] = {
        modality: {key: value for key, value in body.items() if key in SELECTING_KEYS}
        for modality, body in SELECTION["modalities"].items()
        if modality in declared
    }
    digest = rows_digest(
        group_rows(STUDY, wildcards.group), named_group(STUDY, wildcards.group)[0]
    )
    return settings("list_people", config=chosen, digest=digest)


def phenotype_settings():
    """What the factors depend on: the section without what only the check before the first job reads."""
    return {key: v for key, v in CONFIG["phenotypes"].items() if key != "matching"}


def region_settings():
    """What the regions on the grid depend on."""
    chosen = CONFIG["regions"]
    if chosen["image"] is None:
        return {"parcels": chosen["parcels"], "volumes": CONFIG["volumes"]["shape"]}
    if chosen["space"] == "template":
        return {"space": "template"}
    return {"space": chosen["space"], "registration": CONFIG["registration"]}


#: What a modality's declaration says about who has it; how it is smoothed or weighted does not.
SELECTING_KEYS = (
    "from",
    "measure",
    "tissue",
    "column",
    "space",
    "components",
    "components_image",  # a dual regression is not complete without
)


def previous(name):
    """Return an input function: a file of the iteration before."""

    @per_job
    def path(wildcards):
        return f"{RESULTS}/template/iter-{int(wildcards.iteration) - 1}/{name}"

    return path


def dual_regression_of(wildcards):
    """The declaration that a dual regression carries out."""
    return CONFIG["modalities"][wildcards.declared]


@per_job
def dual_regression_inputs(wildcards):
    """A person's BOLD series and the group's components."""
    declaration = dual_regression_of(wildcards)
    return {
        "bold": STUDY.source(wildcards.subject, declaration["column"]),
        "components": declaration["components_image"],
    }


NODDI_ENVIRONMENT = f"../../envs/{SOURCES['noddi'].environment(CONFIG)}.yaml"


@per_job
def deviations_of(wildcards):
    """A person's deviations of the gradients, for the engine that can use them."""
    used = "grad_dev" in SOURCES["noddi"].further_columns(CONFIG)
    return (used and STUDY.source(wildcards.subject, "grad_dev")) or []


@per_job
def map_inputs(wildcards):
    """The image of a modality and what brings it to the template; [] for what it does not need."""
    declaration = STUDY.modalities[wildcards.modality]

    def path(made):
        output = getattr(rules, made.rule).output
        pattern = str(getattr(output, made.output) if made.output else output[0])
        return pattern.replace("{subject}", wildcards.subject).replace(
            "{declared}", STUDY.declared(wildcards.modality)
        )

    files = map_files(declaration, DIFFUSION_ALIGNED)
    inputs = {key: path(made) if made else [] for key, made in files.items()}
    if files["image"] is None:
        inputs["image"] = STUDY.source(wildcards.subject, declaration["column"])
    return inputs


@per_job
def maps_of_person(wildcards):
    """What there is of a person: images, deformations, Jacobians, maps on the template."""
    made = [
        *rules.register.output,
        *rules.jacobian.output,
        *rules.prepare_t1w.output,
    ]
    return [
        str(path).replace("{subject}", wildcards.subject) for path in made
    ] + expand(
        rules.map_to_template.output,
        subject=wildcards.subject,
        modality=STUDY.modalities_of(wildcards.subject),
    )


def experiment_settings(stage, *keys, training=False):
    """Return a params function: the experiment's keys that a stage depends on."""

    def chosen(wildcards):
        experiment = STUDY.experiments[wildcards.experiment]
        special = [k for k in special_keys(experiment) if k != "options"]
        values = {
            "experiment": {key: experiment[key] for key in ("name", *keys, *special)}
        }
        if training:
            values["training"] = CONFIG["training"]
        # folds, baselines and statistics keep the study's seed
        seed = experiment["seed"] if stage == "train" else None
        return settings(stage, seed, **values)

    return chosen


def arrays(wildcards):
    """The arrays of an experiment's modalities, in its order."""
    modalities = STUDY.experiments[wildcards.experiment]["modalities"]
    return expand(rules.normalise.output.array, modality=modalities)


def synthesis_settings(stage, *keys):
    """Return a params function: the experiment's keys that a stage depends on, and the section `synthesis`."""

    def chosen(wildcards):
        experiment = STUDY.experiments[wildcards.experiment]
        values = {key: experiment[key] for key in ("name", *keys)}
        values |= {k: experiment[k] for k in special_keys(experiment)}
        return settings(stage, experiment=values, synthesis=CONFIG["synthesis"])

    return chosen


def predicting(experiment):
    """The analyses that predictions depend on; those that are not asked for are left out."""
    analyses = STUDY.experiments[experiment]["analyses"]
    chosen = {"prediction": analyses["prediction"]}
    return chosen | {k: analyses[k] for k in ("harmonise", "covariates") if analyses[k]}


def covariates_of(wildcards):
    """The sheet's columns that an experiment's predictions are adjusted by; [] without any."""
    if not adjusting_columns(STUDY.experiments[wildcards.experiment]):
        return []
    return f"{RESULTS}/cohort/groups/covariates-{wildcards.experiment}.tsv"


def prediction_settings(wildcards):
    """What predictions depend on: the targets and, where they are named, the phenotype tables' id column."""
    experiment = STUDY.experiments[wildcards.experiment]
    return settings(
        "predict",
        **predicting(wildcards.experiment),
        label=experiment["label"],
        id_column=CONFIG["phenotypes"]["id_column"],
    )


def explain_settings(stage, *keys):
    """Return a params function: the experiment's keys that a stage depends on, and its targets of two classes."""

    def chosen(wildcards):
        experiment = STUDY.experiments[wildcards.experiment]
        values = {key: experiment[key] for key in ("name", *keys)}
        values |= {k: experiment[k] for k in special_keys(experiment) if k != "options"}
        targets = class_columns(STUDY, wildcards.experiment)
        return settings(stage, experiment=values, targets=targets)

    return chosen


def classes_of(wildcards):
    """The sheet's columns with an experiment's targets of two classes; [] without any."""
    if not class_columns(STUDY, wildcards.experiment):
        return []
    return f"{RESULTS}/cohort/groups/targets-{wildcards.experiment}.tsv"


def baseline_settings(wildcards):
    """What the baselines depend on; beside codes of equal parts they have as many components as a part has numbers."""
    experiment = STUDY.experiments[wildcards.experiment]
    special = [k for k in special_keys(experiment) if k != "options"]
    values = {key: experiment[key] for key in ("name", "modalities", *special)}
    more = {}
    if capability(wildcards.experiment, "modality_codes"):
        more["components"] = experiment["options"]["latent_size"]
    return settings("baselines", experiment=values, **more)


def targets_of(wildcards):
    """The sheet's columns that a supervised model learns from; [] for the others."""
    if not capability(wildcards.experiment, "supervised"):
        return []
    return f"{RESULTS}/cohort/groups/targets-{wildcards.experiment}.tsv"


def regions_of(wildcards):
    """The image of regions for a model that looks at regions; [] for the others."""
    if not capability(wildcards.experiment, "regions"):
        return []
    return rules.grid_regions.output.image


def reconstruction_folds(experiment):
    """The folds whose test people are decoded."""
    wanted = STUDY.experiments[experiment]["analyses"]["reconstruction"]
    if not wanted or not capability(experiment, "reconstructs", True):
        return []
    return folds(experiment)


def of_folds(output, experiments):
    """Return a rule's outputs for every fold of the experiments."""
    return [p for e in experiments for p in expand(output, experiment=e, fold=folds(e))]


def folds(experiment):
    """The names of an experiment's folds, without the final model of everybody."""
    experiment = STUDY.experiments[experiment]
    validation = experiment["validation"]
    return list(range(validation["folds"] if validation["method"] == "kfold" else 1))


def codes_path(experiment, codes):
    """The table of codes that are clustered: as the model gives them, or adjusted."""
    folder = f"{RESULTS}/experiments/{experiment}"
    return (
        f"{folder}/embeddings.tsv"
        if codes == "raw"
        else f"{folder}/strata/codes-adjusted.tsv"
    )


def codes_of(wildcards):
    """The codes that a rule of the strata works on."""
    return codes_path(wildcards.experiment, wildcards.codes)


def finder_settings(stage, *keys, adjust=False):
    """Return a params function: the finder, its options, and keys of the section `strata`."""

    def chosen(wildcards):
        strata = CONFIG["strata"]
        values = {key: strata[key] for key in keys}
        if adjust and wildcards.codes == "adjusted":
            values["adjust"] = strata["adjust"]
        finder = wildcards.finder
        return settings(stage, finder=finder, options=strata[finder], **values)

    return chosen


def characteristics_settings(wildcards):
    """What is known of people depends on: the columns that are looked for, and their cells in the phenotype tables."""
    adjust = CONFIG["strata"]["adjust"]
    return settings(
        "describe_people",
        adjust={key: adjust[key] for key in ("columns", "sites")},
        id_column=CONFIG["phenotypes"]["id_column"],
        tables=[
            rows_digest(rows, columns)
            for _, columns, rows in characteristics_in_tables(STUDY)
        ],
    )
