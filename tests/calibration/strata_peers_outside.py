"""Peers that live in an environment of their own; called by strata_peers.py with that environment's Python.

Arguments: method, codes (npz: code, parts). Prints the labels as JSON.
"""

import json
import sys
import warnings

import numpy as np

warnings.simplefilter("ignore")


def snfpy(code, parts):
    """snfpy with its defaults: 20 neighbours, mu 0.5, the eigengap's number of clusters."""
    from sklearn.cluster import spectral_clustering
    from snf import compute

    networks = compute.make_affinity(list(parts), metric="euclidean", K=20, mu=0.5)
    fused = compute.snf(networks, K=20)
    best, _ = compute.get_n_clusters(fused, n_clusters=range(2, 7))
    return spectral_clustering(fused, n_clusters=int(best), random_state=1)


def reval(code, parts):
    """reval: k-means and nearest neighbours, 2 to 6 clusters by cross-validated stability."""
    from reval.best_nclust_cv import FindBestClustCV
    from sklearn.cluster import KMeans
    from sklearn.neighbors import KNeighborsClassifier

    np.random.seed(1)  # noqa: NPY002 - what reval draws from
    search = FindBestClustCV(
        s=KNeighborsClassifier(5), c=KMeans(n_init=10, random_state=1), nrand=10, nfold=5, nclust_range=[2, 7]
    )
    _, best, *_ = search.best_nclust(code, iter_cv=1)
    return KMeans(int(best), n_init=10, random_state=1).fit_predict(code)


METHODS = {"snfpy": snfpy, "reval": reval}

if __name__ == "__main__":
    if sys.argv[1] == "--installed":
        installed = []
        for module, name in (("snf", "snfpy"), ("reval.best_nclust_cv", "reval")):
            try:
                __import__(module)
            except ImportError:
                continue
            installed.append(name)
        print(json.dumps(installed))
    else:
        with np.load(sys.argv[2]) as stored:
            labels = METHODS[sys.argv[1]](stored["code"], stored["parts"])
        print(json.dumps([int(label) for label in labels]))
