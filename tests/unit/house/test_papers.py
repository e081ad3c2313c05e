"""The papers' presets and the tables of what the papers say: complete, equal to each other, and built at full size."""

import itertools
import re

import pytest
import torch
import yaml

from neurostrata.core.config import (
    check_config,
    declared_names,
    load_schema,
    model_names,
    read_configuration,
    read_yaml,
)
from neurostrata.core.locations import DEFAULT_CONFIG, FORMER_DEFAULTS, REPOSITORY
from neurostrata.core.tables import read_table
from neurostrata.fusion.evaluation.reconstruction import COLUMNS as RECONSTRUCTION
from neurostrata.fusion.evaluation.synthesis import COLUMNS as SYNTHESIS
from neurostrata.fusion.models.registry import build_model
from neurostrata.fusion.models.siamese.classifier import AttentionNetwork
from neurostrata.fusion.models.siamese.regions import RegionNetwork
from neurostrata.phenotypes.reduction import EIGENVALUE_COLUMNS
from neurostrata.planning import results as tree
from neurostrata.planning.options import used_options
from neurostrata.prediction.crossfold import CLASSIFICATION_COLUMNS, SCORE_COLUMNS
from neurostrata.report.data.paper_results import SUMMARIES
from neurostrata.strata.comparison.table import COLUMNS as COMPARISONS

TABLES = sorted((REPOSITORY / "resources" / "papers").glob("*.yaml"))
PAPERS = [path.stem for path in TABLES]

#: Tables that the papers' numbers are compared with -> their columns.
COLUMNS = {
    "reconstruction.tsv": RECONSTRUCTION,
    "synthesis.tsv": SYNTHESIS,
    "eigenvalues.tsv": EIGENVALUE_COLUMNS,
    "classification.tsv": CLASSIFICATION_COLUMNS,
    "prediction_scores.tsv": SCORE_COLUMNS,
    "comparisons.tsv": COMPARISONS,
    "loadings.tsv": ["variable"],
    "clusters.tsv": ["subject", "cluster"],
    "subjects.tsv": ["subject", "jac", "ndi"],
}


def table_of(paper):
    return read_yaml(REPOSITORY / "resources" / "papers" / f"{paper}.yaml")


def preset_of(paper):
    return read_yaml(REPOSITORY / table_of(paper)["preset"])


def laid_over(paper):
    """Return the preset over the main configuration, checked and with every default."""
    return check_config(
        read_configuration([REPOSITORY / "config" / "config.yaml", REPOSITORY / table_of(paper)["preset"]])
    )


@pytest.mark.parametrize("paper", PAPERS)
def test_a_preset_does_not_depend_on_what_is_recommended(paper):
    """Defaults may change; a preset holds, over the former ones and by itself too."""
    preset, cohort = REPOSITORY / table_of(paper)["preset"], {"sheet": "config/cohort.tsv"}
    former = check_config(read_configuration([DEFAULT_CONFIG, FORMER_DEFAULTS, preset]))
    alone = check_config({**read_yaml(preset), "cohort": cohort, "qc": "config/qc.tsv"})
    now = laid_over(paper)
    now["registration"] = used_options("register", now["registration"])
    for other in (former, alone):
        other["registration"] = used_options("register", other["registration"])
        other["modalities"] = {k: v for k, v in other["modalities"].items() if k in used(other)}
        if "noddi" not in {modality["from"] for modality in other["modalities"].values()}:
            other["diffusion"] = now["diffusion"]  # of no effect
        if not any(experiment["analyses"]["strata"] for experiment in other["experiments"]):
            other["strata"] = now["strata"]
        for section in now:
            expected = now[section]
            if section == "modalities":
                expected = {name: modality for name, modality in expected.items() if name in used(now)}
            assert other[section] == expected, section


def used(config):
    """Return the declared modalities that the experiments fuse."""
    names = {name for experiment in config["experiments"] for name in experiment["modalities"]}
    return {declared for name, declared in declared_names(config["modalities"]).items() if name in names}


def look_up(settings, key):
    """Return the value of a key with dots; KeyError where it is not there."""
    for part in key.split("."):
        settings = settings[part]
    return settings


def value_of(config, experiment, key):
    """Return an experiment's value of a key; of `training` its own, else the section's."""
    if key.startswith("training."):
        return look_up({"training": {**config["training"], **experiment.get("training", {})}}, key)
    return look_up(experiment, key)


def known(schema, key):
    """Tell whether a schema has a key with dots; a modality's name may be any."""
    for part in key.split("."):
        found = [
            branch["properties"][part]
            for branch in [schema, *schema.get("anyOf", [])]
            if part in branch.get("properties", {})
        ]
        if not found and isinstance(schema.get("additionalProperties"), dict):
            found = [schema["additionalProperties"]]
        if not found:
            return False
        schema = max(found, key=len)
    return True


def known_of_experiments(model, key):
    """Tell whether an experiment of a model has a key."""
    section, _, rest = key.partition(".")
    parts = {"options": f"models/{model}", "training": "training"}
    return (
        known(load_schema(parts[section]), rest)
        if section in parts
        else known(load_schema("experiments"), key)
    )


def holds_for(row, config, experiment):
    return all(value_of(config, experiment, key) == value for key, value in row.get("when", {}).items())


def test_every_paper_has_a_preset_and_a_table():
    presets = sorted(path.stem for path in (REPOSITORY / "config" / "papers").glob("*.yaml"))
    assert PAPERS == presets == ["arco2023", "chartsias2018", "dimitri2022", "geenjaar2021"]


@pytest.mark.parametrize("paper", PAPERS)
def test_rows_are_complete(paper):
    table = table_of(paper)
    assert table["model"] in model_names()
    for row in [*table["settings"], *table["experiments"]]:
        assert set(row) - {"when"} in (
            {"key", "equals", "section", "topic", "paper"},
            {"key", "among", "section", "topic", "paper"},
        ), row
    for row in table["needed"]:
        assert set(row) == {"key", "equals", "section", "topic", "paper", "meaning"}, row
    for row in table["beyond"]:
        assert set(row) == {"topic", "section", "paper", "here"}, row
    for row in [*table["settings"], *table["experiments"], *table["needed"], *table["beyond"]]:
        assert all(isinstance(row[k], str) and row[k] for k in ("section", "topic", "paper")), row
    for part in ("settings", "experiments"):
        keys = [row["key"] for row in table[part]]
        assert len(keys) == len(set(keys))


@pytest.mark.parametrize("paper", PAPERS)
def test_every_key_is_a_setting_and_what_is_needed_is_none_yet(paper):
    table = table_of(paper)
    unknown = [row["key"] for row in table["settings"] if not known(load_schema("config"), row["key"])]
    for row in table["experiments"]:
        unknown += [
            k for k in [row["key"], *row.get("when", {})] if not known_of_experiments(table["model"], k)
        ]
    assert not unknown
    # A key that is there by now belongs to `settings` or `experiments`, and its value to the preset.
    assert not [row["key"] for row in table["needed"] if known_of_experiments(table["model"], row["key"])]


@pytest.mark.parametrize("paper", PAPERS)
def test_the_preset_sets_what_the_paper_says(paper):
    table, preset, whole = table_of(paper), preset_of(paper), laid_over(paper)
    alone = check_config({"cohort": {"sheet": "cohort.tsv"}, **preset})
    for row in table["settings"]:
        for config in (preset, whole, alone):  # in the preset itself: not by a default
            assert look_up(config, row["key"]) == row["equals"], row["key"]
    for row in table["experiments"]:
        for config in (preset, whole, alone):
            values = [
                value_of(config, experiment, row["key"])
                for experiment in config["experiments"]
                if experiment["model"] == table["model"] and holds_for(row, config, experiment)
            ]
            assert values, row["key"]
            if "equals" in row:
                assert all(value == row["equals"] for value in values), row["key"]
            else:  # each of the paper's values, and no other
                assert all(value in row["among"] for value in values), row["key"]
                assert all(value in values for value in row["among"]), row["key"]


def results_patterns():
    """Return what files below results/ look like: outputs of the rules, figures of the report."""
    report = "\n".join(
        p.read_text() for p in (REPOSITORY / "workflow" / "neurostrata" / "report").rglob("*.py")
    )
    start = f"{tree.ROOT}/"
    found = [
        path.removeprefix(start)
        for path in vars(tree).values()
        if isinstance(path, str) and path.startswith(start)
    ]
    figures = set(re.findall(r'f?"([^"\n]+\.(?:svg|png))"', report))
    for name in ("relevance", "attention"):
        assert f'"{name}"' in report
        figures.add("{experiment}/" + name + ".svg")
    # A name that is nothing but placeholders says nothing.
    found += ["report/figures/" + f for f in figures if re.sub(r"\{[^}]*\}|[/.]|svg|png", "", f)]
    return [
        re.compile("[^/]*".join(re.escape(part) for part in re.split(r"\{[^}]*\}", name))) for name in found
    ]


@pytest.mark.parametrize("paper", PAPERS)
def test_every_result_is_here_or_says_why_not(paper):
    table, preset = table_of(paper), preset_of(paper)
    names = {experiment["name"] for experiment in preset["experiments"]}
    patterns = results_patterns()
    identities = [row["id"] for row in table["results"]]
    assert len(identities) == len(set(identities))
    for row in table["results"]:
        assert isinstance(row["section"], str), row["id"]
        assert row["shows"], row["id"]
        assert ("here" in row) != ("not_here" in row), row["id"]
        assert row.get("here") or row.get("not_here"), row["id"]
        for path in row.get("here", []):
            assert any(pattern.fullmatch(path) for pattern in patterns), path
            experiment = re.match(r"(?:experiments|report/figures)/([^/]+)/", path)
            assert not experiment or experiment[1] in names | {"phenotypes"}, path


@pytest.mark.parametrize(
    ("paper", "figures", "tables"),
    [("arco2023", 7, 2), ("chartsias2018", 12, 6), ("dimitri2022", 10, 2), ("geenjaar2021", 3, 1)],
)
def test_no_figure_or_table_is_left_out(paper, figures, tables):
    identities = {row["id"] for row in table_of(paper)["results"]}
    numerals = ["I", "II", "III", "IV", "V", "VI"] if paper in ("chartsias2018", "geenjaar2021") else "123456"
    assert identities >= {f"Figure {number + 1}" for number in range(figures)}
    assert identities >= {f"Table {numeral}" for numeral in numerals[:tables]}


@pytest.mark.parametrize("paper", PAPERS)
def test_numbers_can_be_compared(paper):
    """What is counted or averaged is a column of that table, of people, methods and modalities that the experiment has."""
    table, config = table_of(paper), laid_over(paper)
    experiments = {experiment["name"]: experiment for experiment in config["experiments"]}
    compared = 0
    for row in table["results"]:
        for number in row.get("numbers", []):
            assert isinstance(number["paper"], (int, float)), number
            assert set(number) <= {"what", "paper", "spread", "table", "tables", "column", "take", "where"}, (
                number
            )
            if not {"table", "tables"} & set(number):
                assert set(number) <= {"what", "paper", "spread"}, number
                continue
            compared += 1
            assert number["take"] in SUMMARIES, number
            for path in number.get("tables", [number.get("table")]):
                assert path in row["here"], number
                columns = COLUMNS[path.rsplit("/", 1)[-1]]
                where = number.get("where", {})
                assert {number["column"], *where} <= set(columns), number
                if not path.startswith("experiments/"):
                    continue
                experiment = experiments[path.split("/")[1]]
                options, methods = (
                    experiment["options"],
                    {experiment["model"], *config["synthesis"]["baselines"]},
                )
                assert where.get("method", experiment["model"]) in methods, number
                assert where.get("modality", experiment["modalities"][0]) in experiment["modalities"], number
                if "inputs" in where:
                    given = where["inputs"].split("+")
                    assert given == [name for name in options["inputs"] if name in given], number
                if "output" in where:
                    assert where["output"] in options["outputs"], number
                if "target" in where:
                    targets = [
                        (experiment["label"] or {}).get("column"),
                        *experiment["analyses"]["prediction"],
                    ]
                    assert where["target"] in targets, number
                if number["take"] == "value":  # of one row
                    assert set(where) == {"features", "target", "measure"}, number
                if path.endswith("classification.tsv"):
                    assert where["measure"] in CLASSIFICATION_COLUMNS["measure"], number
    assert compared


def test_the_factors_of_fig_6_are_those_of_the_table_of_variables():
    results = {row["id"]: row for row in table_of("dimitri2022")["results"]}
    factors = results["Figure 6"]["factors"]
    variables = read_table(REPOSITORY / results["Figure 6"]["loadings"])
    printed = {
        loading.rsplit(" ", 1)[0] for cell in variables["all_loadings"] for loading in cell.split("; ")
    }
    numbers = {number["what"]: number["paper"] for number in results["Figure 6"]["numbers"]}
    assert set(factors) == printed
    assert len(factors) == numbers["Factors"] == 13
    assert len(variables) == numbers["Variables"] == 51
    assert set(results["Figure 8"]["factors"]) <= set(factors)
    assert len(results["Figure 8"]["factors"]) == results["Figure 8"]["numbers"][0]["paper"]


# ------------------------------------------------------------------------- the networks at full size


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def networks(paper):
    """Yield (experiment, model) of every experiment of a preset, on the grid of the preset; without any memory."""
    config = laid_over(paper)
    shape = tuple(config["volumes"]["shape"])
    for experiment in config["experiments"]:
        with torch.device("meta"):
            yield (
                experiment,
                build_model(experiment["model"], experiment["options"], experiment["modalities"], shape, 1),
            )


def on_grid(*shape):
    return torch.empty(shape, device="meta")


def separable_parameters(modalities):
    """Count Dimitri's network from 2.1.2 and 2.1.3: kernels of 5x6x5, 1 to 32 channels in five steps, skip connections."""
    kernel = 5 * 6 * 5

    def block(a, b):  # convolution with bias; scale and shift of the batch normalisation
        return kernel * a * b + b + 2 * b

    def mid_flow(
        a,
    ):  # three times: a filter for each channel, 1x1x1 across channels with bias, batch normalisation
        return 3 * (kernel * a + a * a + a + 2 * a)

    steps = [(1, 2), (2, 4), (4, 8), (8, 16), (16, 32)]
    encoder = sum(block(a, a) + mid_flow(a) + block(a, b) for a, b in steps)  # conv, mid-flow, "down"conv
    # "up"conv, concatenation, mid-flow and conv; none of it at full size, which ends with a bare convolution
    decoder = sum(block(b, a) + mid_flow(2 * a) + block(2 * a, a) for a, b in steps[1:])
    decoder += block(2, 1) + mid_flow(1) + (kernel * 1 * 1 + 1)
    return modalities * (encoder + decoder) + block(32 * modalities, 32)  # the codes side by side, convolved


def test_dimitris_networks_at_full_size():
    for experiment, model in networks("dimitri2022"):
        count = len(experiment["modalities"])
        volumes = on_grid(1, count, 128, 128, 96)
        code, skips = model.network.features(volumes)
        assert code.shape == (1, 32, 4, 4, 3)  # "1536 elements" (2.1.2)
        assert model.code_size == 1536
        assert [tuple(skip.shape[1:]) for skip in skips[0]] == [
            (2, 64, 64, 48), (4, 32, 32, 24), (8, 16, 16, 12), (16, 8, 8, 6),
        ]  # fmt: skip
        assert model.network.decode(code, skips).shape == volumes.shape
        assert parameters(model.network) == separable_parameters(count)
    assert separable_parameters(2) == 1_118_690


def shared_vae_parameters(latent):
    """Count Geenjaar's network from III.D: kernels of 3x3x3, the two lists of channels, 4-by-4-by-4 in between."""
    kernel, flat = 3 * 3 * 3, 512 * 4 * 4 * 4
    encoder = sum(kernel * a * b + b for a, b in [(1, 64), (64, 128), (128, 256), (256, 512)])
    decoder = sum(kernel * a * b + b for a, b in [(512, 256), (256, 128), (128, 64), (64, 32), (32, 16)])
    decoder += kernel * 16 * 1  # "no bias parameters"
    return encoder + 2 * (flat * latent + latent) + (latent * flat + flat) + decoder


def test_geenjaars_networks_at_full_size():
    sizes = []
    for experiment, model in networks("geenjaar2021"):
        assert len(experiment["modalities"]) == 54
        latent = experiment["options"]["latent_size"]
        sizes.append(latent)
        grids, image = [], on_grid(1, 1, 53, 63, 52)
        for layer in model.network.encoder[:-1]:
            image = layer(image)
            grids.append(tuple(image.shape[2:]))
        assert grids == [(27, 32, 26), (14, 16, 13), (7, 8, 7), (4, 4, 4)]
        assert model.network.start == (512, 4, 4, 4)
        assert model.network.decode(on_grid(2, latent)).shape == (2, 1, 53, 63, 52)
        assert model.code_size == 54 * latent
        assert parameters(model.network) == shared_vae_parameters(latent)
    assert sizes == [128, 256, 512, 1024, 128, 128, 128, 128]
    assert shared_vae_parameters(128) == 21_978_400
    assert shared_vae_parameters(1024) == 110_060_576


def synthesis_parameters(inputs, outputs, latent, encoded, channels):
    """Count Chartsias's network from IV.A and IV.C: kernels of 3x3; encoders of 32, 64, 128 channels, decoders of 32."""

    def layers(*pairs):
        return sum(9 * a * b + b for a, b in pairs)

    down = layers((channels, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128))
    up = layers(
        (128, 64), (64 + 64, 64), (64, 64), (64, 32), (32 + 32, 32), (32, 32)
    )  # skip connections beside
    encoder = down + up + layers((32, encoded))
    # Two residual blocks, the input kept beside the output; 1x1 to the image.
    decoder = layers((latent, 32), (32, 32), (latent + 32, 32), (32, 32)) + (latent + 64) * 1 + 1
    return inputs * encoder + outputs * decoder


def test_chartsiass_networks_at_full_size():
    seen = []
    for experiment, model in networks("chartsias2018"):
        options, network = experiment["options"], model.network
        latent, channels = options["latent_channels"], 1 + (options["mask_input"] is not None)
        # IV.E: "we generate eight channels with the encoder"
        encoded = latent // 2 if options["fusion"] == "hemis" else latent
        counts = len(options["inputs"]), len(options["outputs"])
        assert parameters(network) == synthesis_parameters(*counts, latent, encoded, channels)
        slices = on_grid(2, channels, 160, 224)  # an axial slice
        for encoder in network.encoders.values():
            narrowest: list[torch.Size] = []
            encoder.bottom.register_forward_hook(lambda _, __, out, kept=narrowest: kept.append(out.shape))
            assert encoder(slices).shape == (2, encoded, 160, 224)
            assert narrowest == [(2, 128, 40, 56)]
        for decoder in network.decoders.values():
            assert decoder(on_grid(2, latent, 160, 224)).shape == (2, 1, 160, 224)
        seen.append((experiment["name"], *counts))
    assert seen[0] == ("all-costs", 3, 1)
    assert synthesis_parameters(3, 1, 16, 16, 1) == 3 * 521_744 + 37_073


def test_arcos_networks_at_full_size():
    # A region of 24x30x25 voxels of 1.5 mm, the size of the hippocampus, say. Two poolings: 12x15x13, 6x8x7.
    box, regions, modalities = (24, 30, 25), 116, 2
    convolutions = (27 * 1 * 8 + 8) + (27 * 8 * 16 + 16)
    linear = (16 * 6 * 8 * 7 * 1024 + 1024) + (1024 * 20 + 20)  # "1024 and 20 neurons" (3.2)
    score = 2  # slope and border of the distance
    features = regions * modalities * 20
    attention = (
        (features * 64 + 64) + (64 * features + features) + (features + 1)
    )  # MLP and sigmoid, linear layer
    for experiment, model in networks("arco2023"):
        assert model.shape == (121, 145, 121)
        assert model.features == 20
        with torch.device("meta"):
            network = RegionNetwork(box, experiment["options"], modalities)
            classifier = AttentionNetwork(features, experiment["options"]["attention_sizes"])
        outputs = list(
            itertools.accumulate(
                network.branch, lambda image, layer: layer(image), initial=on_grid(3, 1, *box)
            )
        )
        assert [tuple(out.shape[1:]) for out in outputs if out.dim() == 5][-1] == (16, 6, 8, 7)
        assert network.embed(on_grid(3, modalities, *box)).shape == (3, modalities, 20)
        assert parameters(network) == convolutions + linear + score
        assert parameters(classifier) == attention
        assert classifier.logits(on_grid(3, features)).shape == (3,)


def settings_with(value, path=()):
    """Yield (path of keys, value) of every setting."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from settings_with(part, (*path, str(key)))
    else:
        yield path, value


@pytest.mark.parametrize("paper", PAPERS)
def test_pages_of_differences_say_what_the_preset_does(paper):
    """The first setting that the second column of a row names has the preset's value."""
    text = (REPOSITORY / "docs" / f"differences-{paper}.md").read_text(encoding="utf-8")
    rows = re.split(r"\n## (?:What we recommend instead|Our options)\n", text)[0].splitlines()
    config = laid_over(paper)
    sections = {key: part for key, part in config.items() if key not in ("experiments", "modalities")}
    places = [sections, *config["modalities"].values(), *config["experiments"]]
    checked = 0
    for row in (row for row in rows if row.startswith("|")):
        cells = re.split(r"(?<!\\)\|", row)[1:-1]
        found = re.search(r"`([\w.]+: [^`]+)`", cells[1])
        if found is None:
            continue
        ((key, value),) = yaml.safe_load(found.group(1)).items()
        ((path, wanted),) = settings_with({key: value})
        keys = tuple(part for one in path for part in one.split("."))
        values = [v for place in places for p, v in settings_with(place) if p[-len(keys) :] == keys]
        assert wanted in values, (row, values)
        checked += 1
    assert checked
