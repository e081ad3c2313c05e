"""The results tree: the path of every file that a stage writes for others to read.

A path is a pattern below ``<results>``, which Snakemake replaces by the results folder, with wildcards such as
``{subject}``. Rules take their outputs from here, and :func:`path_in` gives the path of one file.
"""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path

from neurostrata.cohort.sources.source import Made
from neurostrata.core.settings import rows_digest

ROOT = "<results>"


def _derivative(folder: str, name: str) -> str:
    return f"{ROOT}/derivatives/sub-{{subject}}/{folder}/sub-{{subject}}_{name}"


def _experiment(name: str) -> str:
    return f"{ROOT}/experiments/{{experiment}}/{name}"


def _fold(name: str) -> str:
    return _experiment(f"fold-{{fold}}/{name}")


def _clusters(name: str) -> str:
    return _experiment(f"strata/{{codes}}/{{finder}}/{name}")


# Who takes part
SUBJECTS = f"{ROOT}/cohort/subjects.tsv"
#: Makes the images of people a dataset of BIDS derivatives; written when a run starts.
DATASET = f"{ROOT}/derivatives/dataset_description.json"
EXCLUSIONS = f"{ROOT}/cohort/exclusions.tsv"
SOURCES = f"{ROOT}/cohort/sources.tsv"
HEADERS = f"{ROOT}/cohort/headers.json"
GATE = f"{ROOT}/cohort/gate.json"
GROUP = f"{ROOT}/cohort/groups/{{group}}.tsv"
CHARACTERISTICS = f"{ROOT}/cohort/characteristics.tsv"

# The template
ITERATION_TEMPLATE = f"{ROOT}/template/iter-{{iteration}}/template.nii.gz"
ITERATION_STATE = f"{ROOT}/template/iter-{{iteration}}/state.json"
ITERATION_REGISTRATION = f"{ROOT}/template/iter-{{iteration}}/sub-{{subject}}"
TEMPLATE = f"{ROOT}/template/template.nii.gz"
CONVERGENCE = f"{ROOT}/template/convergence.tsv"
CONVERGENCE_FIGURE = f"{ROOT}/template/convergence.png"
TEMPLATE_MASK = f"{ROOT}/template/mask.nii.gz"
TEMPLATE_GM = f"{ROOT}/template/label-GM_probseg.nii.gz"
TEMPLATE_WM = f"{ROOT}/template/label-WM_probseg.nii.gz"
TEMPLATE_CSF = f"{ROOT}/template/label-CSF_probseg.nii.gz"
MNI_AFFINE = f"{ROOT}/template/from-MNI152_to-study_desc-affine_xfm.mat"
MNI_WARP = f"{ROOT}/template/from-MNI152_to-study_desc-warp_xfm.nii.gz"

# A person's anatomy
T1W = _derivative("anat", "desc-preproc_T1w.nii.gz")
INITIAL_MASK = _derivative("anat", "desc-initial_mask.nii.gz")
T1W_AFFINE = _derivative("anat", "from-T1w_to-study_desc-affine_xfm.mat")
T1W_WARP = _derivative("anat", "from-T1w_to-study_desc-warp_xfm.nii.gz")
T1W_INVERSE_WARP = _derivative("anat", "from-study_to-T1w_desc-warp_xfm.nii.gz")
WARPED_T1W = _derivative("anat", "space-study_desc-preproc_T1w.nii.gz")
BRAIN_MASK = _derivative("anat", "desc-brain_mask.nii.gz")
NONLINEAR_JACOBIAN = _derivative("anat", "space-study_desc-nonlinear_jacobian.nii.gz")
ABSOLUTE_JACOBIAN = _derivative("anat", "space-study_desc-absolute_jacobian.nii.gz")
GM = _derivative("anat", "label-GM_probseg.nii.gz")
WM = _derivative("anat", "label-WM_probseg.nii.gz")
CSF = _derivative("anat", "label-CSF_probseg.nii.gz")

# A person's diffusion and functional maps
FA = _derivative("dwi", "model-tensor_param-fa_dwimap.nii.gz")
MD = _derivative("dwi", "model-tensor_param-md_dwimap.nii.gz")
B0 = _derivative("dwi", "desc-mean_b0.nii.gz")
DWI_MASK = _derivative("dwi", "desc-brain_mask.nii.gz")
NDI = _derivative("dwi", "model-noddi_param-ndi_dwimap.nii.gz")
ODI = _derivative("dwi", "model-noddi_param-odi_dwimap.nii.gz")
FWF = _derivative("dwi", "model-noddi_param-fwf_dwimap.nii.gz")
DWI_ALIGNMENT = _derivative("dwi", "from-dwi_to-T1w_xfm.mat")
COMPONENT_MAPS = _derivative("func", "space-template_desc-{declared}_components.nii.gz")
COMPONENT_TIMESERIES = _derivative("func", "desc-{declared}_timeseries.tsv")

# The fusion grid
MAP = _derivative("fusion", "space-study_desc-{modality}_map.nii.gz")
GRID_MASK = f"{ROOT}/volumes/mask.nii.gz"
REGIONS = f"{ROOT}/volumes/regions.nii.gz"
REGION_NAMES = f"{ROOT}/volumes/regions.tsv"
ARRAY = f"{ROOT}/volumes/{{modality}}.npy"
ARRAY_FACTS = f"{ROOT}/volumes/{{modality}}.json"

# The quality of each person's images
PERSON_QUALITY = f"{ROOT}/qc/people/sub-{{subject}}.tsv"

# The quality of everybody's images, compared
QUALITY_MEASURES = f"{ROOT}/qc/measures.tsv"
QUALITY_DEVIATIONS = f"{ROOT}/qc/deviations.tsv"
SUGGESTED_EXCLUSIONS = f"{ROOT}/qc/suggested_exclusions.tsv"
QUALITY_COVARIATES = f"{ROOT}/qc/covariates.tsv"
RATERS = f"{ROOT}/qc/agreement.tsv"

# Phenotypes
EIGENVALUES = f"{ROOT}/phenotypes/eigenvalues.tsv"
LOADINGS = f"{ROOT}/phenotypes/loadings.tsv"
FACTOR_SCORES = f"{ROOT}/phenotypes/scores.tsv"
DESCRIPTIVES = f"{ROOT}/phenotypes/descriptives.tsv"
FACTOR_MODEL = f"{ROOT}/phenotypes/model.json"
CONGRUENCE = f"{ROOT}/phenotypes/congruence.tsv"

# A fold of an experiment
FOLD_MODEL = _fold("model")
HISTORY = _fold("history.tsv")
LIMITS = _fold("limits.json")
FOLD_EMBEDDINGS = _fold("embeddings.tsv")
FOLD_RECONSTRUCTION = _fold("reconstruction.tsv")
EXAMPLES = _fold("examples.npz")
ROBUSTNESS = _fold("robustness.tsv")
BASELINES = _fold("baselines")
FOLD_SYNTHESIS = _fold("synthesis.tsv")
SYNTHESIS_EXAMPLES = _fold("synthesis_examples.npz")
RELEVANCE = _fold("relevance.tsv")
ATTENTION_WEIGHTS = _fold("attention_weights.tsv")
FOLD_IMPORTANCE = _fold("importance.tsv")
FOLD_DIFFERENCES = _fold("group_differences.tsv")
GROUP_MAPS = _fold("group_maps")

# An experiment
SPLITS = _experiment("splits.tsv")
RECONSTRUCTION = _experiment("reconstruction.tsv")
EMBEDDINGS = _experiment("embeddings.tsv")
MODEL = _experiment("model")
SYNTHESIS = _experiment("synthesis.tsv")
SYNTHESIS_COMPARISONS = _experiment("synthesis_comparisons.tsv")
PREDICTIONS = _experiment("predictions.tsv")
PREDICTION_SCORES = _experiment("prediction_scores.tsv")
CLASSIFICATION = _experiment("classification.tsv")
ROC = _experiment("roc.tsv")
IMPORTANCE = _experiment("importance.tsv")
DIFFERENCES = _experiment("group_differences.tsv")
CODE_MAP = _experiment("code_map.tsv")
GENERATED = _experiment("generated.npz")
CODE_QUALITY = _experiment("quality.tsv")

# The strata
ADJUSTED_CODES = _experiment("strata/codes-adjusted.tsv")
TSNE = _experiment("strata/tsne.tsv")
CONTINUOUS = _experiment("strata/continuous.tsv")
CONTINUOUS_ADDED = _experiment("strata/continuous_added.tsv")
SEARCH = _clusters("search.tsv")
CLUSTERS = _clusters("clusters.tsv")
EXISTENCE = _clusters("existence.tsv")
EXISTENCE_NULL = _clusters("existence_null.tsv")
STABILITY = _clusters("stability.tsv")
REPARTITION = _clusters("repartition.tsv")
REPARTITION_NULL = _clusters("null.npz")
COMPARISONS = _clusters("comparisons.tsv")
PROFILES = _clusters("profiles.tsv")
COMPOSITION = _clusters("composition.tsv")
COMPOSITION_TESTS = _clusters("composition_tests.tsv")
QUALITY_TESTS = _clusters("quality_tests.tsv")
ADJUSTED_COMPARISONS = _clusters("comparisons_adjusted.tsv")
SPLIT_HALF = _clusters("split_half.tsv")
SPLIT_HALF_FACTORS = _clusters("split_half_factors.tsv")
SHUFFLES = _clusters("shuffles.tsv")
STRATA_MAPS = _clusters("maps")
STRATA_MAP_TABLE = _clusters("maps.tsv")
STRATA_PLACES = _clusters("places.tsv")
STRATA_DECODED = _clusters("decoded")
STRATA_DECODED_TABLE = _clusters("decoded.tsv")
AGREEMENT = f"{ROOT}/strata/agreement.tsv"
AGREEMENT_CROSSTABS = f"{ROOT}/strata/agreement_crosstabs.tsv"

# The report
SUBJECT_PAGE = f"{ROOT}/report/subjects/sub-{{subject}}.html"
PEOPLE_DATA = f"{ROOT}/report/subjects/data.js"
REVIEW_PAGE = f"{ROOT}/report/review/index.html"
PROVENANCE = f"{ROOT}/provenance.json"
REPORT = f"{ROOT}/report/index.html"
REPORT_FIGURES = f"{ROOT}/report/figures"
REPORT_METHODS = f"{ROOT}/report/methods.rst"

#: What rules make -> the pattern of its file, for all that a map may be made of or brought to the template by.
MAP_FILES = {
    Made("prepare_t1w", "t1w"): T1W,
    Made("register", "affine"): T1W_AFFINE,
    Made("register", "warp"): T1W_WARP,
    Made("align_diffusion"): DWI_ALIGNMENT,
    Made("template_to_mni", "affine"): MNI_AFFINE,
    Made("template_to_mni", "warp"): MNI_WARP,
    Made("jacobian", "nonlinear"): NONLINEAR_JACOBIAN,
    Made("jacobian", "absolute"): ABSOLUTE_JACOBIAN,
    Made("segment_tissue", "gm"): GM,
    Made("segment_tissue", "wm"): WM,
    Made("segment_tissue", "csf"): CSF,
    Made("fit_tensor", "fa"): FA,
    Made("fit_tensor", "md"): MD,
    Made("fit_noddi", "ndi"): NDI,
    Made("fit_noddi", "odi"): ODI,
    Made("fit_noddi", "fwf"): FWF,
    Made("dual_regression", "maps"): COMPONENT_MAPS,
}


def fill(pattern: str, **names: object) -> str:
    """Return a pattern with some of its wildcards filled in; all others stay."""
    for name, value in names.items():
        pattern = pattern.replace(f"{{{name}}}", str(value))
    return pattern


def path_in(results: str | Path, pattern: str, **names: object) -> str:
    """Return the path of a file (or a pattern of paths) in a results folder.

    Parameters
    ----------
    results
        The results folder.
    pattern
        One of this module's.
    names
        Wildcards to fill in.
    """
    return fill(pattern, **names).replace(ROOT, str(results), 1)


def holds_results(folder: str | Path) -> bool:
    """Tell whether a folder is a study's results folder: of any run, since each begins with the check."""
    return Path(path_in(folder, GATE)).is_file() and Path(path_in(folder, DATASET)).parent.is_dir()


def in_command(results: str | Path, pattern: str, **names: str) -> str:
    """Return a pattern as a quoted word of a rule's shell command, which Snakemake formats.

    Parameters
    ----------
    results
        The results folder.
    pattern
        One of this module's. Its wildcards stay in braces for the command itself: ``--pattern 'a/sub-{subject}'``.
    names
        Wildcards that are filled in by Snakemake: ``modality="{wildcards.modality}"``.
    """
    word = shlex.quote(path_in(results, pattern).replace("{", "{{").replace("}", "}}"))
    for name, value in names.items():
        word = word.replace(f"{{{{{name}}}}}", value)
    return word


def group_table(group: str) -> str:
    """Return the table of the people of a group; see :func:`neurostrata.cohort.groups.named_group`."""
    return fill(GROUP, group=group)


#: Tables of the check before the first job, which are no results, and the folder of the report.
_NO_RESULTS = ("cohort/headers.json", "cohort/gate.json", "cohort/problems.tsv", "report")


def results_state(results: str | Path) -> str:
    """Return a digest of which tables and descriptions there are and when they were written, the report's aside."""
    root, stamps = Path(results), []
    for path in sorted((path for kind in ("tsv", "json") for path in root.rglob(f"*.{kind}")), key=str):
        below = path.relative_to(root)
        # hidden: records, and files that are being written
        if any(part.startswith(".") for part in below.parts) or any(map(below.is_relative_to, _NO_RESULTS)):
            continue
        with contextlib.suppress(FileNotFoundError):  # gone since it was listed
            stamps.append({"path": str(path), "time": str(path.stat().st_mtime_ns)})
    return rows_digest(stamps, ["path", "time"])
