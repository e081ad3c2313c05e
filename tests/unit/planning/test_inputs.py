"""What jobs read."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from planned import MODALITIES, experiment, planned

from neurostrata.cohort.sources.registry import map_files
from neurostrata.planning import results as tree
from neurostrata.planning.inputs import Inputs
from neurostrata.planning.jobs import by_wildcards, memory, minutes, registration_threads
from neurostrata.planning.targets import prediction_results, strata_results

PERSON = "results/derivatives/sub-01"
TO_TEMPLATE = {
    "affine": f"{PERSON}/anat/sub-01_from-T1w_to-study_desc-affine_xfm.mat",
    "warp": f"{PERSON}/anat/sub-01_from-T1w_to-study_desc-warp_xfm.nii.gz",
}
FROM_DWI = {**TO_TEMPLATE, "alignment": f"{PERSON}/dwi/sub-01_from-dwi_to-T1w_xfm.mat"}
FROM_MNI = {
    "affine": "results/template/from-MNI152_to-study_desc-affine_xfm.mat",
    "warp": "results/template/from-MNI152_to-study_desc-warp_xfm.nii.gz",
}


@pytest.mark.parametrize(
    ("modality", "image", "more"),
    [
        ("t1w", f"{PERSON}/anat/sub-01_desc-preproc_T1w.nii.gz", TO_TEMPLATE),
        ("jac", f"{PERSON}/anat/sub-01_space-study_desc-nonlinear_jacobian.nii.gz", {}),
        ("fa", f"{PERSON}/dwi/sub-01_model-tensor_param-fa_dwimap.nii.gz", FROM_DWI),
        (
            "ndi",
            f"{PERSON}/dwi/sub-01_model-noddi_param-ndi_dwimap.nii.gz",
            {**FROM_DWI, "fwf": f"{PERSON}/dwi/sub-01_model-noddi_param-fwf_dwimap.nii.gz"},
        ),
        (
            "gm",
            f"{PERSON}/anat/sub-01_label-GM_probseg.nii.gz",
            {**TO_TEMPLATE, "jacobian": f"{PERSON}/anat/sub-01_space-study_desc-absolute_jacobian.nii.gz"},
        ),
        ("rsn2", f"{PERSON}/func/sub-01_space-template_desc-rsn_components.nii.gz", FROM_MNI),
        ("pet", "pet.nii", TO_TEMPLATE),
        ("kurtosis", "pet.nii", FROM_DWI),
        ("atlas", "pet.nii", FROM_MNI),
        ("done", "pet.nii", {}),
    ],
)
def test_an_image_and_what_brings_it_to_the_template(modality: str, image: str, more: dict[str, str]) -> None:
    found = Inputs(planned()).map_to_template("01", modality)
    assert found.keys() == {"image", "affine", "warp", "alignment", "jacobian", "fwf"}
    assert {key: path for key, path in found.items() if path} == {"image": image, **more}


def test_the_registrations_of_an_iteration_are_those_of_its_people() -> None:
    study = planned(6, template={"iterations": 3, "early_people": 2})
    inputs = Inputs(study)
    found = {iteration: inputs.template_registrations(iteration) for iteration in ("1", "2", "3")}
    assert found["1"] == [f"results/template/iter-1/sub-{subject}" for subject in ("01", "04")]
    assert found["2"] == [f"results/template/iter-2/sub-{subject}" for subject in ("02", "05")]
    assert found["3"] == [f"results/template/iter-3/sub-{subject}" for subject in study.template_members()]


def test_aligned_diffusion_data_need_no_alignment() -> None:
    declaration = planned().modalities["fa"]
    assert map_files(declaration, aligned=False)["alignment"] is not None
    assert map_files(declaration, aligned=True)["alignment"] is None


def test_every_file_of_every_declaration_has_a_path() -> None:
    study = planned()
    files = {file for m in study.modalities.values() for file in map_files(m, False).values() if file}
    assert files <= tree.MAP_FILES.keys()
    assert len(MODALITIES) + 2 <= len(files)


def test_inputs_of_experiments() -> None:
    inputs = Inputs(planned())
    assert inputs.arrays("classes") == ["results/volumes/jac.npy", "results/volumes/ndi.npy"]
    assert inputs.training_labels("classes") == "results/cohort/groups/targets-classes.tsv"
    assert inputs.classes("classes") == inputs.training_labels("classes")
    assert inputs.regions("classes") == "results/volumes/regions.nii.gz"
    for none in (
        inputs.training_labels,
        inputs.stratified_people,
        inputs.classes,
        inputs.regions,
        inputs.covariates,
    ):
        assert none("codes") == []
    assert inputs.factor_scores("codes") == []
    assert inputs.folds(tree.LIMITS, "codes") == [
        f"results/experiments/codes/fold-{k}/limits.json" for k in (0, 1)
    ]
    assert inputs.decoded_folds(tree.LIMITS, "classes") == []  # its model makes no images
    assert len(inputs.decoded_folds(tree.LIMITS, "codes")) == 2
    assert inputs.codes("codes", "raw") == "results/experiments/codes/embeddings.tsv"
    assert inputs.codes("codes", "adjusted") == "results/experiments/codes/strata/codes-adjusted.tsv"
    assert inputs.stratified_people("classes") == []  # a model without the option
    options = {"validation_stratify_by": ["diagnosis"]}
    held_out = planned(experiments=[experiment("a", "jac", model="shared_vae", options=options)])
    assert Inputs(held_out).stratified_people("a") == "results/cohort/groups/experiment-a.tsv"


def test_covariates_and_factors_where_they_are_asked_for() -> None:
    predicted = {"prediction": ["factors"], "covariates": ["age"]}
    inputs = Inputs(planned(experiments=[experiment("a", "jac", analyses=predicted)]))
    assert inputs.covariates("a") == "results/cohort/groups/covariates-a.tsv"
    assert inputs.factor_scores("a") == "results/phenotypes/scores.tsv"


def test_inputs_of_people() -> None:
    study = planned()
    study.rows["01"]["grad_dev"] = "deviations.nii"
    inputs = Inputs(study)
    assert inputs.sheet("01", "t1w") == "1.nii"
    assert inputs.sheet("01", "t1w_mask") == []
    assert inputs.gradient_deviations("01") == "deviations.nii"
    assert inputs.dual_regression("01", "rsn") == {"bold": "bold.nii", "components": "icn.nii"}
    assert inputs.previous(tree.ITERATION_STATE, "3") == "results/template/iter-2/state.json"
    assert f"{PERSON}/fusion/sub-01_space-study_desc-rsn1_map.nii.gz" in inputs.maps_of_person("01")
    assert len(inputs.maps("fa")) == 12
    amico = planned(diffusion={"noddi": {"engine": "amico"}})
    amico.rows["01"]["grad_dev"] = "deviations.nii"
    assert Inputs(amico).gradient_deviations("01") == []


def test_an_input_function_takes_the_wildcards_it_names() -> None:
    inputs = Inputs(planned())
    job = SimpleNamespace(subject="02", iteration="1", experiment="codes")
    assert by_wildcards(partial(inputs.sheet, column="t1w"))(job) == "2.nii"
    assert by_wildcards(partial(inputs.previous, tree.ITERATION_STATE))(job).endswith("iter-0/state.json")
    assert by_wildcards(partial(inputs.codes, codes="raw"))(job).endswith("codes/embeddings.tsv")


def test_results_of_experiments() -> None:
    found = prediction_results(planned())
    assert "<results>/experiments/classes/predictions.tsv" in found  # it has a label
    assert "<results>/experiments/codes/predictions.tsv" not in found
    assert "<results>/experiments/codes/code_map.tsv" in found
    assert "<results>/experiments/classes/fold-1/relevance.tsv" in found
    assert not [path for path in found if "robustness" in path or "{" in path]


def test_results_of_the_strata() -> None:
    found = strata_results(planned(strata={"finders": ["mixture"], "adjust": {"columns": ["age"]}}))
    clusters = "<results>/experiments/codes/strata/{}/mixture/clusters.tsv"
    assert {clusters.format("raw"), clusters.format("adjusted")} <= set(found)
    assert clusters.format("adjusted").replace("clusters", "stability") in found
    assert clusters.format("raw").replace("clusters", "stability") not in found
    assert not [path for path in found if "linear" in path or "{" in path]  # it is not stratified
    assert not [path for path in found if "phenotypes" in path or "comparisons" in path]
    compared = strata_results(planned(phenotypes={"tables": ["p.tsv"]}))
    assert "<results>/phenotypes/congruence.tsv" in compared
    assert len(compared) == len(set(compared)) > len(found)


def test_paths_of_the_results_tree() -> None:
    paths = [p for p in vars(tree).values() if isinstance(p, str) and p.startswith("<results>/")]
    assert len(paths) == len(set(paths)) > 100
    assert tree.path_in("out", tree.MAP, subject="01") == (
        "out/derivatives/sub-01/fusion/sub-01_space-study_desc-{modality}_map.nii.gz"
    )
    quoted = tree.in_command("my results", tree.MAP, modality="{wildcards.modality}")
    assert quoted == (
        "'my results/derivatives/sub-{{subject}}/fusion/sub-{{subject}}_space-study_desc-{wildcards.modality}_map.nii.gz'"
    )
    assert tree.in_command("results", tree.HEADERS) == "results/cohort/headers.json"


def test_memory_and_time_double_with_each_attempt(tmp_path: Path) -> None:
    assert memory(1.5)(None, attempt=2) == 3000
    files = [tmp_path / "image", tmp_path / "table"]
    for path, size in zip(files, (99, 1)):
        with open(path, "wb") as file:
            file.truncate(size * 2**20)
    assert memory(2, per_input=0.5)(None, input=files, attempt=1) == 2050
    with pytest.raises(FileNotFoundError) as error:
        memory(2, per_input=0.5)(None, input=[*files, "later"], attempt=1)
    assert error.value.filename == "later"  # by which Snakemake knows that the resource is not known yet
    assert minutes(20)(None, attempt=3) == 80
    assert registration_threads({"registration": {"engine": "ants"}}) == 4
    assert registration_threads({"registration": {"engine": "greedy"}}) == 1
