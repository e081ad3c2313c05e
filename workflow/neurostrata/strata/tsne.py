"""The t-SNE map of codes in two dimensions, for display only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def tsne_perplexity(points: int, largest: float) -> float:
    """Return the perplexity for so many points: `largest`, or (points - 1) / 3 where that is less."""
    return max(1.0, min(float(largest), (points - 1) / 3))


def tsne_map(codes: Array, perplexity: float, max_iter: int, seed: int) -> Array:
    """Return t-SNE coordinates (points x 2), started from the principal components.

    Fewer than 5 points are placed by their principal components: they have too few neighbours for t-SNE. One BLAS and
    OpenMP thread is used, so that the map does not depend on the number of cores.

    Parameters
    ----------
    codes
        Points x dimensions.
    perplexity
        Lowered for few points, see :func:`tsne_perplexity`.
    max_iter
        Iterations.
    seed
        Of t-SNE.
    """
    n, dimensions = codes.shape
    centred = np.asarray(codes, dtype=np.float64) - np.mean(codes, axis=0)
    if not np.any(centred):
        return np.zeros((n, 2))
    if n < 5:
        left, scale, _ = np.linalg.svd(centred, full_matrices=False)
        points = (left * scale)[:, :2]
        return np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if dimensions == 1:  # the start by principal components needs two
        centred = np.column_stack([centred, np.zeros(n)])
    embedding = TSNE(
        n_components=2,
        perplexity=tsne_perplexity(n, perplexity),
        init="pca",
        learning_rate="auto",
        max_iter=max_iter,
        random_state=seed,
    )
    with threadpool_limits(limits=1):
        return embedding.fit_transform(centred).astype(np.float64)
