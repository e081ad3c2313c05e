"""Names of what is predicted from: codes of a model, linear baselines, and clusters."""

from __future__ import annotations

from neurostrata.fusion.evaluation.baselines import TITLES
from neurostrata.strata.finders.registry import finder_name

#: Kind of features in the tables of predictions -> its name for people.
FEATURE_NAMES = {
    "embedding": "the model's embedding",
    "classifier": "the model's own classifier",
    "codes": "codes",
    **TITLES,
    "pca": "PCA of the images",
}
#: Those that belong to the model itself; the others are its baselines.
OWN_FEATURES = ("embedding", "classifier")


def feature_name(features: str) -> str:
    """Return the name for people; clusters are named by their finder."""
    for start in ("codes + clusters of ", "clusters of "):
        if features.startswith(start):
            return f"{start.removesuffix(' of ')} ({finder_name(features.removeprefix(start))})"
    return FEATURE_NAMES.get(features, features.replace("_", " "))
