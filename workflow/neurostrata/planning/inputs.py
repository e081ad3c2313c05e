"""What a job reads, where that depends on the person, the modality or the experiment."""

from __future__ import annotations

from neurostrata.cohort.columns import class_columns
from neurostrata.cohort.sources.registry import SOURCES, map_files
from neurostrata.cohort.sources.source import Made
from neurostrata.cohort.study import Study
from neurostrata.core.config import adjusting_columns
from neurostrata.planning import results as tree
from neurostrata.planning.experiments import can, folds, reconstruction_folds

#: What an input function gives: a path, several, or none.
Paths = str | list[str]


class Inputs:
    """Paths of a study's jobs.

    Parameters
    ----------
    study
        People and configuration.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        self.config = study.config
        self.results = study.config["output"]
        self._diffusion_aligned = self.config["diffusion"]["space"] == "T1w"

    def sheet(self, subject: str, column: str) -> Paths:
        """Return a person's cell of the cohort sheet, [] when it is empty."""
        return self.study.source(subject, column) or []

    def previous(self, pattern: str, iteration: str) -> str:
        """Return a file of the template's previous iteration."""
        return tree.path_in(self.results, pattern, iteration=int(iteration) - 1)

    def template_registrations(self, iteration: str) -> list[str]:
        """Return the registrations that an iteration of the template averages."""
        pattern = tree.path_in(self.results, tree.ITERATION_REGISTRATION, iteration=iteration)
        return [
            tree.fill(pattern, subject=subject) for subject in self.study.iteration_members(int(iteration))
        ]

    def gradient_deviations(self, subject: str) -> Paths:
        """Return a person's deviations of the gradients, for the engine of NODDI that can use them."""
        used = "grad_dev" in SOURCES["noddi"].further_columns(self.config)
        return self.sheet(subject, "grad_dev") if used else []

    def dual_regression(self, subject: str, declared: str) -> dict[str, str]:
        """Return a person's BOLD series and the group's components."""
        declaration = self.config["modalities"][declared]
        return {
            "bold": self.study.source(subject, declaration["column"]),
            "components": declaration["components_image"],
        }

    def map_to_template(self, subject: str, modality: str) -> dict[str, Paths]:
        """Return the image of a person's modality and what brings it to the template; [] for what is not needed."""
        declaration = self.study.modalities[modality]
        names = {"subject": subject, "declared": self.study.declared(modality)}
        files = map_files(declaration, self._diffusion_aligned)
        inputs: dict[str, Paths] = {
            key: tree.path_in(self.results, tree.MAP_FILES[made], **names) if made else []
            for key, made in files.items()
        }
        if files["image"] is None:
            inputs["image"] = self.study.source(subject, declaration["column"])
        return inputs

    def maps_of_person(self, subject: str) -> list[str]:
        """Return what there is of a person: images, transforms, Jacobians, maps on the template."""
        patterns = [
            *(tree.T1W_AFFINE, tree.T1W_WARP, tree.T1W_INVERSE_WARP, tree.WARPED_T1W, tree.BRAIN_MASK),
            *(tree.NONLINEAR_JACOBIAN, tree.ABSOLUTE_JACOBIAN),
            *(tree.T1W, tree.INITIAL_MASK),
            *(tree.fill(tree.MAP, modality=modality) for modality in self.study.modalities_of(subject)),
        ]
        return [tree.path_in(self.results, pattern, subject=subject) for pattern in patterns]

    def quality(self, subject: str) -> dict[str, Paths]:
        """Return what the quality of a person's images is measured from; [] for what the person does not have."""
        study, modalities = self.study, self.study.modalities_of(subject)
        names = [
            *("raw", "t1w", "mask", "affine", "warp", "inverse_warp", "warped", "jacobian"),
            *("dwi", "bval", "bvec", "b0", "fa", "dwi_mask", "alignment", "ndi", "odi", "fwf"),
        ]
        files: dict[str, Paths] = {key: [] for key in names}
        patterns: dict[str, str] = {}
        if study.has(subject, "t1w"):
            files["raw"] = study.source(subject, "t1w")
            patterns |= {"t1w": tree.T1W, "mask": tree.BRAIN_MASK, "warped": tree.WARPED_T1W}
            patterns |= {"affine": tree.T1W_AFFINE, "warp": tree.T1W_WARP}
            patterns |= {"inverse_warp": tree.T1W_INVERSE_WARP, "jacobian": tree.NONLINEAR_JACOBIAN}
            made = {
                source.rule
                for modality in modalities
                for source in map_files(study.modalities[modality], self._diffusion_aligned).values()
                if source
            }
            if made & {"fit_tensor", "fit_noddi", "align_diffusion"}:
                files |= {column: study.source(subject, column) for column in ("dwi", "bval", "bvec")}
                patterns |= {"b0": tree.B0, "fa": tree.FA, "dwi_mask": tree.DWI_MASK}
                patterns |= {} if self._diffusion_aligned else {"alignment": tree.DWI_ALIGNMENT}
            if "fit_noddi" in made:
                patterns |= {"ndi": tree.NDI, "odi": tree.ODI, "fwf": tree.FWF}
        files |= {key: tree.path_in(self.results, one, subject=subject) for key, one in patterns.items()}
        maps = tree.path_in(self.results, tree.MAP, subject=subject)
        files["maps"] = [tree.fill(maps, modality=modality) for modality in modalities]
        return files

    def arrays(self, experiment: str) -> list[str]:
        """Return the arrays of an experiment's modalities, in its order."""
        modalities = self.study.experiments[experiment]["modalities"]
        return [tree.path_in(self.results, tree.ARRAY, modality=modality) for modality in modalities]

    def maps(self, modality: str) -> list[str]:
        """Return everybody's map of a modality on the fusion grid."""
        pattern = tree.path_in(self.results, tree.MAP, modality=modality)
        return [tree.fill(pattern, subject=subject) for subject in self.study.with_modality(modality)]

    def folds(self, pattern: str, experiment: str) -> list[str]:
        """Return a file of every fold of an experiment."""
        return self._of_folds(pattern, experiment, folds(self.study.experiments[experiment]))

    def decoded_folds(self, pattern: str, experiment: str) -> list[str]:
        """Return a file of every fold whose test people are decoded."""
        return self._of_folds(pattern, experiment, reconstruction_folds(self.study.experiments[experiment]))

    def _of_folds(self, pattern: str, experiment: str, chosen: list[int]) -> list[str]:
        return [tree.path_in(self.results, pattern, experiment=experiment, fold=fold) for fold in chosen]

    def _group(self, kind: str, experiment: str, needed: bool) -> Paths:
        return tree.path_in(self.results, tree.group_table(f"{kind}-{experiment}")) if needed else []

    def training_labels(self, experiment: str) -> Paths:
        """Return the sheet's columns that a supervised model learns from; [] for all other models."""
        return self._group("targets", experiment, can(self.study.experiments[experiment], "supervised"))

    def stratified_people(self, experiment: str) -> Paths:
        """Return families, diagnoses and sites where people are held out of a training by them; [] elsewhere."""
        # only some models have the option
        columns = self.study.experiments[experiment]["options"].get("validation_stratify_by")
        return self._group("experiment", experiment, bool(columns))

    def classes(self, experiment: str) -> Paths:
        """Return the sheet's columns with an experiment's targets of two classes; [] without any."""
        return self._group("targets", experiment, bool(class_columns(self.study, experiment)))

    def covariates(self, experiment: str) -> Paths:
        """Return the sheet's columns that an experiment's predictions are adjusted by; [] without any."""
        return self._group(
            "covariates", experiment, bool(adjusting_columns(self.study.experiments[experiment]))
        )

    def regions(self, experiment: str) -> Paths:
        """Return the image of regions for a model that needs regions; [] for all other models."""
        needed = can(self.study.experiments[experiment], "regions")
        return tree.path_in(self.results, tree.REGIONS) if needed else []

    def atlas(self, pattern: str) -> Paths:
        """Return a file of the atlas on the fusion grid; [] where regions are parcels, whose names say nothing."""
        return tree.path_in(self.results, pattern) if self.config["regions"]["image"] else []

    def to_mni(self, pattern: str, experiment: str) -> Paths:
        """Return a file of the transform between MNI152 and the template; [] where no modality of the experiment needs it."""
        names = self.study.experiments[experiment]["modalities"]
        modalities = [self.study.modalities[name] for name in names]
        made = [map_files(declared, self._diffusion_aligned).values() for declared in modalities]
        needed = any(Made("template_to_mni", "affine") in files for files in made)
        return tree.path_in(self.results, pattern) if needed else []

    def factor_scores(self, experiment: str) -> Paths:
        """Return the phenotype factors where an experiment predicts them; [] elsewhere."""
        predicted = "factors" in self.study.experiments[experiment]["analyses"]["prediction"]
        return tree.path_in(self.results, tree.FACTOR_SCORES) if predicted else []

    def codes(self, experiment: str, codes: str) -> str:
        """Return the table of codes that are clustered: as the model gives them, or adjusted."""
        pattern = tree.EMBEDDINGS if codes == "raw" else tree.ADJUSTED_CODES
        return tree.path_in(self.results, pattern, experiment=experiment)
