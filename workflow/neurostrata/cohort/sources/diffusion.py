"""Modalities made from diffusion-weighted images: maps of the tensor and of NODDI."""

from __future__ import annotations

from neurostrata.cohort.sources.source import Config, Declaration, Made, ModalitySource


class Tensor(ModalitySource):
    """A map of the diffusion tensor."""

    name = "tensor"
    space = "dwi"
    columns = ("dwi", "bval", "bvec")
    rule = "fit_tensor"
    output = "{measure}"

    def sentence(self, config: Config) -> str:
        """Return what the methods text says of the tensor."""
        return (
            "The diffusion tensor was fitted by weighted least squares in the data's own space to b ≤ "
            f"{config['diffusion']['tensor_b_max']:g} s/mm²."
        )


class Noddi(ModalitySource):
    """A map of NODDI."""

    name = "noddi"
    space = "dwi"
    columns = ("dwi", "bval", "bvec")
    rule = "fit_noddi"
    output = "{measure}"
    several_shells = True

    def further_columns(self, config: Config) -> tuple[str, ...]:
        """Return the deviations of the gradients, which one of the engines can use."""
        return ("grad_dev",) if self.engine(config) == "maximum_likelihood" else ()

    def weights(self, declaration: Declaration) -> dict[str, Made]:
        """Return the free water fraction where maps are tissue-weighted."""
        return {"fwf": Made("fit_noddi", "fwf")} if declaration["tissue_weighted"] else {}

    def engine(self, config: Config) -> str:
        """Return the engine that fits NODDI."""
        return config["diffusion"]["noddi"]["engine"]

    def environment(self, config: Config) -> str:
        """Return the environment that the engine needs."""
        return {"amico": "noddi", "maximum_likelihood": "fusion"}[self.engine(config)]

    def sentence(self, config: Config) -> str:
        """Return what the methods text says of NODDI."""
        how = self.engine(config)
        if how == "maximum_likelihood":
            noise = config["diffusion"]["noddi"]["likelihood"].replace("_", " ")
            how = f"by maximum likelihood, {noise} noise"
        return f"NODDI was fitted to all shells in the data's own space ({how}); NDI is the neurite density index."

    def options(self, declaration: Declaration) -> list[str]:
        """Say whether the map is averaged over tissue."""
        return ["tissue-weighted"] if declaration["tissue_weighted"] else []
