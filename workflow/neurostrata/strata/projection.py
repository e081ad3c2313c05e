"""The two-dimensional picture of the embeddings, for the eye only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def tsne_perplexity(n: int, wanted: float) -> float:
    """Return the perplexity for n people: the one wanted, at most (n - 1) / 3."""
    return max(1.0, min(float(wanted), (n - 1) / 3))


def tsne(embeddings: Array, perplexity: float, max_iter: int, seed: int) -> Array:
    """Return t-SNE coordinates (people x 2), started from the principal components.

    Fewer than 5 people are placed by their principal components: t-SNE has nothing to work on. One
    BLAS and OpenMP thread, so that the picture does not depend on the machine's number of cores.
    """
    n, dimensions = embeddings.shape
    centred = np.asarray(embeddings, dtype=np.float64) - np.mean(embeddings, axis=0)
    if n < 5 or not np.any(centred):
        if not np.any(centred):
            return np.zeros((n, 2))
        left, scale, _ = np.linalg.svd(centred, full_matrices=False)
        places = (left * scale)[:, :2]
        return np.pad(places, ((0, 0), (0, 2 - places.shape[1])))
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if dimensions == 1:  # a second component, so that the start by PCA has two
        centred = np.column_stack([centred, np.zeros(n)])
    with threadpool_limits(limits=1):
        return (
            TSNE(
                n_components=2,
                perplexity=tsne_perplexity(n, perplexity),
                init="pca",
                learning_rate="auto",
                max_iter=max_iter,
                random_state=seed,
            )
            .fit_transform(centred)
            .astype(np.float64)
        )
