"""The `ants` engine: symmetric diffeomorphic registration (SyN; Avants et al. 2008), the paper's choice.

antspyx's ``registration()`` can set neither winsorising nor the convergence window nor the levels of the
deformation, so this calls the same compiled antsRegistration with the whole argument list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ants.internal import get_lib_fn

from neurostrata.core.errors import UserError
from neurostrata.imaging.registration.engines import RegistrationJob, iterations_per_level


def _levels(values: Sequence[float], unit: str = "") -> str:
    return "x".join(f"{value:g}" for value in values) + unit


def _convergence(iterations: Sequence[int], options: Mapping[str, Any]) -> str:
    return f"[{_levels(iterations)},{options['convergence_threshold']:g},{options['convergence_window']}]"


def _check_levels(options: Mapping[str, Any]) -> None:
    for keys in (
        ("iterations", "shrink_factors", "smoothing_vox"),
        ("linear_iterations", "linear_shrink_factors", "linear_smoothing_vox"),
    ):
        if len({len(options[key]) for key in keys}) > 1:
            named = ", ".join(f"{key} {len(options[key])}" for key in keys)
            raise UserError(
                f"registration.ants: every level needs one entry in each list, but there are {named}"
            )


def arguments(job: RegistrationJob) -> list[str]:
    """Return antsRegistration's argument list for a job; UserError when numbers of levels differ."""
    options = job.options
    _check_levels(options)
    pair = f"{job.fixed},{job.moving}"
    low, high = options["winsorize"]
    words = [
        *("--dimensionality", "3", "--float", "1", "--verbose", "0"),
        *("--random-seed", str(job.seed)),
        *("--output", f"{job.folder}/ants_"),
        *("--winsorize-image-intensities", f"[{low:g},{high:g}]"),
        *("--use-histogram-matching", str(int(options["histogram_matching"]))),
        *("--collapse-output-transforms", "1"),
        *("--initial-moving-transform", str(job.initial)),
    ]
    for name in ("Rigid", "Similarity", "Affine") if job.steps != "deformation" else ():
        words += [
            *("--transform", f"{name}[{options['linear_gradient_step']:g}]"),
            *("--metric", f"MI[{pair},1,32,Regular,{options['linear_sampling']:g}]"),
            *("--convergence", _convergence(options["linear_iterations"], options)),
            *("--shrink-factors", _levels(options["linear_shrink_factors"])),
            *("--smoothing-sigmas", _levels(options["linear_smoothing_vox"], "vox")),
        ]
        if job.fixed_mask is not None:
            words += ["--masks", f"[{job.fixed_mask},NULL]"]
    if job.steps != "linear":
        iterations = iterations_per_level(options["iterations"], job.coarse)
        step, update, total = options["gradient_step"], options["flow_sigma"], options["total_sigma"]
        # Sampling all voxels gives the same numbers as the dense evaluation, which is five times faster.
        sampling = f",Regular,{options['cc_sampling']:g}" if options["cc_sampling"] < 1 else ""
        words += [
            *("--transform", f"SyN[{step:g},{update:g},{total:g}]"),
            *("--metric", f"CC[{pair},1,{options['cc_radius']}{sampling}]"),
            *("--convergence", _convergence(iterations, options)),
            *("--shrink-factors", _levels(options["shrink_factors"])),
            *("--smoothing-sigmas", _levels(options["smoothing_vox"], "vox")),
        ]
        if job.fixed_mask is not None:
            words += ["--masks", f"[{job.fixed_mask},NULL]"]
    return words


def run(job: RegistrationJob) -> None:
    """Rigid, similarity, affine, then SyN; see :class:`RegistrationJob`."""
    words = arguments(job)
    print("antsRegistration", " ".join(words), flush=True)
    status = get_lib_fn("antsRegistration")(words)
    produced = {
        job.folder / "ants_0GenericAffine.mat": job.affine,
        job.folder / "ants_1Warp.nii.gz": job.warp,
        job.folder / "ants_1InverseWarp.nii.gz": job.inverse_warp,
    }
    for source, target in list(produced.items())[: 1 if job.steps == "linear" else 3]:
        if target is None:
            continue
        if (status not in (0, None)) or not source.is_file():
            raise RuntimeError(f"antsRegistration ended with status {status} and left no {source.name}")
        source.replace(target)
