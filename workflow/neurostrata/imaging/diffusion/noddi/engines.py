"""NODDI maps: neurite density, orientation dispersion and free water, by one of two engines.

The model is that of Zhang et al. 2012 (NeuroImage 61). An engine is a function of signals, gradients and
settings. `amico` (Daducci et al. 2015, NeuroImage 105) carries a licence of its own, so it is
imported only when it is used; `maximum_likelihood` is our own fit, in torch.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np

from neurostrata.core.errors import UserError
from neurostrata.gate.gradients import Gradients, noddi_shells

#: Number of voxels passed to AMICO at a time, so that memory does not grow with the brain.
_BLOCK_VOXELS = 100_000

AMICO_LICENCE = (
    "dmri-amico is licensed by its authors for research and education only, not for commercial use, and asks "
    "for citation (Daducci et al. 2015, NeuroImage 105:32-44)."
)


class NoddiMaps(NamedTuple):
    """Neurite density index, orientation dispersion index and free water fraction, (voxels,) float32."""

    ndi: np.ndarray
    odi: np.ndarray
    fwf: np.ndarray


def noddi_maps(
    signals: np.ndarray,
    gradients: Gradients,
    settings: Mapping[str, Any],
    *,
    subject: str,
    shell_gap: float = 100.0,
    threads: int = 1,
    deviations: np.ndarray | None = None,
) -> NoddiMaps:
    """Fit NODDI to the signals of many voxels.

    Parameters
    ----------
    signals
        (voxels, measurements), unscaled, finite.
    gradients
        The series' table.
    settings
        Section ``diffusion.noddi``: engine, d_parallel and d_iso in mm^2/s, and the engine's own.
    subject
        For messages.
    shell_gap
        See :func:`neurostrata.gate.gradients.find_shells`; b-values are set to their shell's mean.
    threads
        Threads of the engine.
    deviations
        (voxels, 3, 3) or None: matrices L of a gradient coil that is not linear; a voxel's gradients are
        ``(I + L) g``. Only `maximum_likelihood` can use them.

    Returns
    -------
    NoddiMaps
        Each within [0, 1] and finite.

    Raises
    ------
    UserError
        For single-shell data, or when the engine is not installed, refuses the data or cannot use
        `deviations`.
    """
    shells = noddi_shells(gradients, shell_gap, subject)
    if not len(signals):
        return NoddiMaps(*(np.zeros(0, np.float32) for _ in NoddiMaps._fields))
    bvals = np.zeros(len(gradients.bvals))
    used = gradients.b0.copy()
    for shell in shells:
        bvals[shell.members] = round(shell.bval)
        used[shell.members] = True
    engine = ENGINES[settings["engine"]]
    table = Gradients(bvals, gradients.bvecs, 0.0).select(used)
    estimates = engine(signals[:, used], table, settings, subject, threads, deviations)
    estimates = np.clip(np.nan_to_num(estimates), 0.0, 1.0).astype(np.float32)
    return NoddiMaps(*(np.ascontiguousarray(column) for column in estimates.T))


def _configure(evaluation: Any, **values: Any) -> None:
    """Set options of AMICO's evaluation; it would silently accept a misspelled name."""
    for key, value in values.items():
        if key not in evaluation.CONFIG:
            raise KeyError(f"AMICO has no option {key!r}")
        evaluation.set_config(key, value)


@contextlib.contextmanager
def _amico(subject: str, folder: Path) -> Iterator[Any]:
    """Import AMICO, quiet, with its shared cache moved to `folder`; its exits become a UserError."""
    try:
        import amico
        import amico.lut
        import amico.util
    except ImportError as error:
        raise UserError(
            "diffusion.noddi.engine is 'amico', which is not installed: pip install -r requirements-amico.txt "
            f"({AMICO_LICENCE})"
        ) from error
    shared, verbosity = amico.lut.dipy_home, amico.util.get_verbose()
    output = io.StringIO()
    try:
        # Rotation matrices are cached in the user's home; jobs that write there at once break each other.
        amico.lut.dipy_home = str(folder)
        amico.util.set_verbose(1)
        with contextlib.redirect_stdout(output):
            yield amico
    except SystemExit as error:  # AMICO's way to report an error
        reason = " ".join(output.getvalue().split()) or f"exit {error.code}"
        raise UserError(f"subject {subject}: AMICO refused the data: {reason}") from error
    finally:
        amico.lut.dipy_home = shared
        amico.util.set_verbose(verbosity)


def _fit_amico(
    signals: np.ndarray,
    gradients: Gradients,
    settings: Mapping[str, Any],
    subject: str,
    threads: int,
    deviations: np.ndarray | None,
) -> np.ndarray:
    """Fit with AMICO in a private folder; (voxels, 3): NDI, ODI, FWF.

    Kernels are made anew for every job (about two seconds): AMICO deletes the files of a shared folder
    that another job may be reading.
    """
    if deviations is not None:
        raise UserError(
            f"subject {subject}: AMICO has one set of gradients for all voxels; for grad_dev set "
            "diffusion.noddi.engine to maximum_likelihood"
        )
    with (
        tempfile.TemporaryDirectory(prefix="neurostrata-noddi-") as name,
        _amico(subject, Path(name)) as amico,
    ):
        folder = Path(name)
        np.savetxt(
            folder / "dwi.scheme",
            np.column_stack([gradients.bvecs, gradients.bvals]),
            fmt="%.8f",
            header="VERSION: BVECTOR",
            comments="",
        )
        amico.lut.precompute_rotation_matrices(12, 500)
        evaluation = amico.Evaluation(name, ".")
        _configure(evaluation, nthreads=threads, BLAS_nthreads=1, doNormalizeSignal=True)
        estimates = np.zeros((len(signals), 3), dtype=np.float32)
        # At least two voxels a block: AMICO drops the axis of a single voxel.
        blocks = np.array_split(np.arange(len(signals)), max(1, -(-len(signals) // _BLOCK_VOXELS)))
        for number, members in enumerate(blocks):
            block = signals[members if len(members) > 1 else np.repeat(members, 2)]
            packed = nib.Nifti1Image(block.astype(np.float32)[:, None, None, :], np.eye(4))
            nib.save(packed, folder / "dwi.nii")
            evaluation.load_data("dwi.nii", "dwi.scheme", b0_thr=gradients.b0_max)
            if number == 0:
                evaluation.set_model("NODDI")
                evaluation.model.set(dPar=float(settings["d_parallel"]), dIso=float(settings["d_iso"]))
                evaluation.set_solver(lambda1=float(settings["lambda1"]), lambda2=float(settings["lambda2"]))
                evaluation.generate_kernels(regenerate=True)
                evaluation.load_kernels()
            evaluation.fit()
            order = [evaluation.model.maps_name.index(key) for key in ("NDI", "ODI", "FWF")]
            estimates[members] = evaluation.RESULTS["MAPs"][: len(members), 0, 0][:, order]
    return estimates


def _fit_likelihood(
    signals: np.ndarray,
    gradients: Gradients,
    settings: Mapping[str, Any],
    subject: str,
    threads: int,
    deviations: np.ndarray | None,
) -> np.ndarray:
    """Fit by maximum likelihood; (voxels, 3): NDI, ODI, FWF."""
    from neurostrata.imaging.diffusion.noddi.likelihood import fit_likelihood

    fitted = fit_likelihood(signals, gradients, settings, threads=threads, deviations=deviations)
    return fitted.parameters[:, [2, 3, 1]]


Engine = Callable[
    [np.ndarray, Gradients, Mapping[str, Any], str, int, np.ndarray | None],
    np.ndarray,
]

#: Engines by the name they have in ``diffusion.noddi.engine``.
ENGINES: dict[str, Engine] = {"amico": _fit_amico, "maximum_likelihood": _fit_likelihood}
