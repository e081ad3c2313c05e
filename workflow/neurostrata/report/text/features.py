"""Names of what is predicted from: codes of a model, linear baselines, and clusters."""

from __future__ import annotations

from neurostrata.report.data.evidence import finder_name

#: Kind of features in the tables of predictions -> its name for people.
FEATURE_NAMES = {
    "embedding": "the model's embedding",
    "classifier": "the model's own classifier",
    "codes": "codes",
    "pca": "PCA of the images",
    "pca_modalities": "PCA of each modality",
    "pca_stacked": "PCA of the modalities side by side",
    "pca_pooled": "PCA of all volumes pooled",
    "regional_means": "regional means",
}
#: Those that belong to the model itself; the others are its baselines.
OWN_FEATURES = ("embedding", "classifier")


def feature_name(features: str) -> str:
    """Return the name for people; clusters are named by their finder."""
    for start in ("codes + clusters of ", "clusters of "):
        if features.startswith(start):
            return f"{start.removesuffix(' of ')} ({finder_name(features.removeprefix(start))})"
    return FEATURE_NAMES.get(features, features.replace("_", " "))
