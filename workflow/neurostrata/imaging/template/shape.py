"""Whether the finished template has the mean shape of its people, from everybody's registration to it."""

from __future__ import annotations

import numpy as np

from neurostrata.core.errors import UserError
from neurostrata.imaging.images.io import Grid
from neurostrata.imaging.registration.transforms import Displacement, rigid_and_stretch

#: Limit of :attr:`MeanShape.distance_vox`: the mean warp at which the building of the template may end as well.
LARGEST_DISTANCE_VOX = 0.5
#: Limit of the absolute :attr:`MeanShape.log_size`, about 2% of the volume.
LARGEST_LOG_SIZE = 0.02


class MeanShape:
    """Streaming mean of the people's shapes; memory does not grow with their number.

    A template point x stands for a person's point A(x + u(x)). Without the affine's rigid part its place is
    y = c + S(x + u(x) - c), where S is the affine's symmetric part and c the centre of the brain. The template has the mean
    shape when the mean of y over people is x itself, which the update of the template strives for
    (:func:`~neurostrata.imaging.template.building.updated_template`). How far it is from that is measured here, where no later
    step removes it. :func:`~neurostrata.imaging.registration.chain.balance` moves size from u to S and, apart from pose, leaves y as it is.

    The mean log Jacobian cannot show a bias: `balance` makes that of u zero for every person, and that of y, which is then
    log det S, averages below 0 in the mean shape as well, because the logarithm of a varying number averages below the
    logarithm of its mean.

    Parameters
    ----------
    grid
        Of the template.
    mask
        (X, Y, Z) bool: the brain.
    """

    def __init__(self, grid: Grid, mask: np.ndarray) -> None:
        self.grid, self.mask = grid, mask
        if not mask.any():
            raise UserError("the template's brain mask is empty; build the template again")
        points = grid.points()[mask]
        self.centre = points.mean(axis=0)
        self._points = points - self.centre
        self._moved = np.zeros_like(self._points)
        #: Log determinant of each person's affine.
        self.log_scales: list[float] = []

    def add(self, affine: np.ndarray, warp: Displacement) -> None:
        """Add one person: A as a (4, 4) matrix and u on the template's grid."""
        if not warp.grid.same_as(self.grid):
            raise UserError("the warp is not on the template's grid; run the registration again")
        stretch = rigid_and_stretch(affine)[1]
        self._moved += (self._points + warp.vectors[self.mask]) @ stretch - self._points  # S is symmetric
        self.log_scales.append(float(np.log(np.linalg.det(stretch))))

    @property
    def people(self) -> int:
        """Number of people added."""
        return len(self.log_scales)

    @property
    def distance_vox(self) -> float:
        """Root mean square over the brain of the distance between x and the mean of y, in voxels.

        Where only some of the template's people are added, the mean of these alone is another one: the expected square grows
        by the variance of y over their number.
        """
        mean = self._moved / self.people
        return float(np.sqrt((mean**2).sum(axis=1).mean()) / self.grid.spacing.mean())

    @property
    def log_size(self) -> float:
        """Log of the volume of the mean shape over that of the template: log determinant of the affine fitted to the mean of y."""
        places = self._points + self._moved / self.people
        matrix = np.linalg.lstsq(self._points, places - places.mean(axis=0), rcond=None)[0]
        return float(np.log(np.linalg.det(matrix)))
