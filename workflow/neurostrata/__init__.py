"""neurostrata: from multimodal brain images to phenotypic strata."""

__version__ = "0.1.0"
