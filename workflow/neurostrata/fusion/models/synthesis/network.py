"""The network of ``latent_synthesis``: fusion of the latent images of slices, and the cost (Chartsias et al. 2018, IV)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from neurostrata.fusion.layers.output_offset import output_offset
from neurostrata.fusion.models.interface import LEAST_MEAN
from neurostrata.fusion.models.synthesis.layers import Decoder, Encoder, as_slices, as_volumes, glorot

#: Two poolings: sides of slices are padded to multiples of this.
MULTIPLE = 4
#: Slices that go through the network at once outside training.
SLICES_AT_ONCE = 32


class SynthesisNetwork(nn.Module):
    """Encoders, fusion and decoders.

    Parameters
    ----------
    modalities
        Number of modalities of a volume; missing ones are NaN throughout.
    inputs, outputs
        Positions of the modalities that are encoded and synthesised.
    mask
        Position of the lesion mask, or None.
    options
        The model's options.
    shape
        Voxels along x, y, z; only needed with an output offset.
    """

    #: Least and greatest value that is decoded; the model sets it.
    value_range = (0.0, 1.0)

    def __init__(
        self,
        modalities: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
        mask: int | None,
        options: Mapping[str, Any],
        shape: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__()
        self.inputs, self.outputs, self.mask = list(inputs), list(outputs), mask
        self.fusion, self.costs = options["fusion"], frozenset(options["costs"])
        self.plane, self.slices_per_step = options["plane"], options["slices_per_step"]
        self.test_plane = options["test_plane"] or self.plane
        self.fuse_subsets = options["fuse_subsets"]
        self.weights = dict(options["cost_weights"])
        self.code_grid = tuple(options["code_grid"])
        self.latent_channels, self.decoder_channels = options["latent_channels"], options["decoder_channels"]
        share = {"hemis": 0.5, "weighted": 2.0}  # of the latent channels, that an encoder gives
        encoded = int(self.latent_channels * share.get(self.fusion, 1.0))
        channels = 1 if mask is None else 2
        # Keyed by the modality's position, so that names of weights do not depend on the other modalities.
        self.encoders = nn.ModuleDict(
            {str(i): Encoder(channels, options["channels"], encoded) for i in self.inputs}
        )
        self.decoders = nn.ModuleDict()
        for position in self.outputs:
            self.decoders[str(position)] = Decoder(self.latent_channels, self.decoder_channels)
        self.apply(glorot)
        self.scale: torch.Tensor
        self.register_buffer("scale", torch.ones(modalities))
        self.offset = output_offset(options, modalities, shape)

    # ------------------------------------------------------------------------------- slices

    def normalise(self, volumes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Divide each volume by its mean intensity (V, pre-processing), but not the lesion mask.

        Returns
        -------
        volumes : Tensor, shape (people, modalities, x, y, z)
        means : Tensor, shape (people, modalities)
            NaN where a modality is missing.
        """
        means = volumes.mean(dim=(2, 3, 4)).clamp_min(LEAST_MEAN)
        if self.mask is not None:
            means[:, self.mask] = 1
        return volumes / means[:, :, None, None, None], means

    def _cut(self, volumes: torch.Tensor, plane: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return slices (slices, modalities, height, width), 0 where missing, and which modalities each has (slices, modalities)."""
        has = ~volumes.isnan().flatten(2).all(dim=2)
        slices = as_slices(torch.where(has[:, :, None, None, None], volumes, 0), plane)
        return slices, has.repeat_interleave(len(slices) // len(volumes), dim=0)

    @staticmethod
    def _chunks(slices: torch.Tensor, has: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return zip(slices.split(SLICES_AT_ONCE), has.split(SLICES_AT_ONCE), strict=True)

    # ----------------------------------------------------------------------- the three stages

    def latents(self, slices: torch.Tensor, has: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode each input on its own.

        Parameters
        ----------
        slices
            (slices, modalities, height, width), divided by their volumes' means.
        has
            (slices, modalities), whether the person has the modality.

        Returns
        -------
        latents : Tensor, shape (inputs, slices, channels, height, width)
            0 where the input is missing. Height and width are padded to multiples of 4. With `weighted` fusion the
            second half of the channels says how much the first half counts.
        present : Tensor, shape (inputs, slices), bool
        """
        height, width = slices.shape[-2:]
        padded = functional.pad(slices, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")
        encoded = []
        for position in self.inputs:
            chosen = has[:, position]
            channels = [position] if self.mask is None else [position, self.mask]
            some = self.encoders[str(position)](padded[chosen][:, channels])
            everybody = some.new_zeros((len(slices), *some.shape[1:]))
            everybody[chosen] = some
            encoded.append(everybody)
        return torch.stack(encoded), has[:, self.inputs].T

    @staticmethod
    def _moments(latents: torch.Tensor, present: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and variance (ddof 0) over the inputs that are there."""
        weight = present[:, :, None, None, None].to(latents.dtype)
        number = weight.sum(dim=0).clamp_min(1)
        mean = (latents * weight).sum(dim=0) / number
        return mean, ((latents - mean).square() * weight).sum(dim=0) / number

    def fuse(self, latents: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """Fuse latent images of the inputs that are there: eq. 1 (max), 5 (mean), 6 (hemis), or weighted (ours).

        Parameters
        ----------
        latents, present
            As from :meth:`latents`.

        Returns
        -------
        Tensor, shape (slices, latent_channels, height, width)
            With `output_mean`, which has no fused latent image, their mean.
        """
        if self.fusion == "max":
            return latents.masked_fill(~present[:, :, None, None, None], -torch.inf).amax(dim=0)
        if self.fusion == "weighted":
            values, importance = latents.split(self.latent_channels, dim=2)
            importance = importance.masked_fill(~present[:, :, None, None, None], -torch.inf)
            return (importance.softmax(dim=0) * values).sum(dim=0)
        mean, variance = self._moments(latents, present)
        return torch.cat([mean, variance], dim=1) if self.fusion == "hemis" else mean

    def alone(self, latent: torch.Tensor) -> torch.Tensor:
        """Return one input's latent image as decoders take it: of a single input the variance is 0, the weight 1."""
        if self.fusion == "hemis":
            return torch.cat([latent, torch.zeros_like(latent)], dim=1)
        return latent[:, : self.latent_channels]

    def draw_subsets(self, present: torch.Tensor) -> torch.Tensor:
        """Draw for each slice some of its inputs: two or more, but not all, every number of them as often.

        In evaluation the draw is the same every time. Slices of one or two inputs keep what they have.

        Parameters
        ----------
        present
            (inputs, slices), bool.

        Returns
        -------
        Tensor, shape (inputs, slices), bool
        """
        # On the CPU, whose generator is seeded for each step: the same draws on any device.
        generator = None if self.training else torch.Generator().manual_seed(0)
        has = present.cpu()
        number = has.sum(dim=0)
        chance = torch.rand(len(has) + 1, has.shape[1], generator=generator)
        order = chance[1:].masked_fill(~has, -1).argsort(dim=0, descending=True).argsort(dim=0)
        size = torch.where(number > 2, 2 + (chance[0] * (number - 2)).long(), number)
        return (has & (order < size)).to(present.device)

    def decode_fused(self, latents: torch.Tensor, present: torch.Tensor, position: int) -> torch.Tensor:
        """Return the synthesis of one output (slices, height, width) from all inputs that are there."""
        decoder = self.decoders[str(position)]
        if self.fusion != "output_mean":
            return decoder(self.fuse(latents, present))[:, 0]
        decoded = torch.stack([decoder(latent)[:, 0] for latent in latents])
        weight = present[:, :, None, None].to(decoded.dtype)
        return (decoded * weight).sum(dim=0) / weight.sum(dim=0).clamp_min(1)

    # --------------------------------------------------------------------------------- cost

    def slice_costs(
        self,
        slices: torch.Tensor,
        has: torch.Tensor,
        outputs: Sequence[int],
        costs: frozenset[str],
        shared_image: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return what each slice costs, divided over the outputs that its person has.

        Parameters
        ----------
        slices, has
            As in :meth:`latents`.
        outputs
            Positions of the outputs that count.
        costs
            Which of c1, c2, c3 count.
        shared_image
            The output offset's slices, in the shape of `slices`, to which decoders add.

        Returns
        -------
        Tensor, shape (slices, modalities)
            Its sum over modalities is c1 + c2 + c3 of a slice (eq. 2-4), each times its weight, where n and m are
            the inputs and outputs that the person has. With `fuse_subsets` c3 is the mean of eq. 4 and of the same with
            :meth:`draw_subsets`.
        """
        latents, present = self.latents(slices, has)
        height, width = slices.shape[-2:]
        wanted = slices if shared_image is None else slices - shared_image

        def error(decoded: torch.Tensor, position: int) -> torch.Tensor:
            return (decoded[:, :height, :width] - wanted[:, position]).abs().mean(dim=(1, 2))

        shared = slices.new_zeros(len(slices))
        if "c2" in costs:
            values = latents[:, :, : self.latent_channels, :height, :width]
            _, variance = self._moments(values, present)
            shared = self.weights["c2"] * variance.mean(dim=(1, 2, 3))
        drawn = self.draw_subsets(present) if self.fuse_subsets and len(present) > 2 else None
        columns = [slices.new_zeros(len(slices)) for _ in range(slices.shape[1])]
        share = has[:, list(outputs)] / has[:, list(outputs)].sum(dim=1, keepdim=True).clamp_min(1)
        for number, position in enumerate(outputs):
            cost = shared
            if "c1" in costs:
                for latent, there in zip(latents, present, strict=True):
                    decoded = self.decoders[str(position)](self.alone(latent))[:, 0]
                    cost = cost + self.weights["c1"] * error(decoded, position) * there
            if "c3" in costs:
                fused = error(self.decode_fused(latents, present, position), position)
                if drawn is not None:
                    fused = (fused + error(self.decode_fused(latents, drawn, position), position)) / 2
                cost = cost + self.weights["c3"] * fused
            columns[position] = cost * share[:, number]
        return torch.stack(columns, dim=1)

    def losses(
        self,
        volumes: torch.Tensor,
        outputs: Sequence[int] | None = None,
        costs: frozenset[str] | None = None,
    ) -> torch.Tensor:
        """Return the cost per output, at its modality's place, and 0 at the others.

        While training, of `slices_per_step` slices that are drawn from all people's that are not empty, else
        of all slices. People who have no input or no output do not count.

        Parameters
        ----------
        volumes
            (people, modalities, x, y, z).
        outputs
            Positions of the outputs that count; all of them by default.
        costs
            Which of c1, c2, c3 count; those of the options by default.

        Returns
        -------
        Tensor, shape (modalities,)
            Its mean, which training lessens, is eq. 7 with the mean over slices in place of the sum.
        """
        outputs, costs = outputs or self.outputs, self.costs if costs is None else costs
        slices, has = self._cut(self.normalise(volumes)[0], self.plane)
        usable = has[:, self.inputs].any(dim=1) & has[:, list(outputs)].any(dim=1)
        if self.training:
            shown = slices[:, self.inputs].flatten(1).any(dim=1) & usable
            candidates = (shown if shown.any() else usable).nonzero()[:, 0]
            # Drawn on the CPU, whose generator is seeded for each step: the same slices on any device.
            drawn = torch.randperm(len(candidates))[: self.slices_per_step].to(candidates.device)
            usable = candidates[drawn]
        chosen = list(self._chunks(slices[usable], has[usable]))
        shared: Sequence[torch.Tensor | None] = [None] * len(chosen)
        if self.offset is not None:
            image = as_slices(self.offset.image.expand(len(volumes), -1, -1, -1, -1), self.plane)
            shared = image[usable].split(SLICES_AT_ONCE)
        parts = [
            self.slice_costs(some, theirs, outputs, costs, image)
            for (some, theirs), image in zip(chosen, shared, strict=True)
        ]
        return torch.cat(parts).mean(dim=0) * slices.shape[1]

    # ---------------------------------------------------------------------------------- use

    def encode(self, volumes: torch.Tensor) -> torch.Tensor:
        """Return the fused latent image of each person, averaged over the blocks of `code_grid`."""
        codes = []
        for person in volumes.split(1):
            slices, has = self._cut(self.normalise(person)[0], self.plane)
            fused = [self.fuse(*self.latents(*chunk)) for chunk in self._chunks(slices, has)]
            image = as_volumes(torch.cat(fused)[..., : slices.shape[2], : slices.shape[3]], 1, self.plane)
            codes.append(functional.adaptive_avg_pool3d(image, self.code_grid).flatten(1))
        return torch.cat(codes)

    def synthesise(self, volumes: torch.Tensor, plane: str | None = None) -> torch.Tensor:
        """Synthesise every output from the inputs that are present.

        Parameters
        ----------
        volumes
            (people, modalities, x, y, z); NaN throughout for what is missing.
        plane
            Plane of the slices; `test_plane` by default, which is that of training unless it is set.

        Returns
        -------
        Tensor, shape of `volumes`
            In units of each image's mean intensity, at least 0; NaN for modalities that are no outputs.
        """
        plane = plane or self.test_plane
        result = torch.full_like(volumes, torch.nan)
        for number, person in enumerate(volumes.split(1)):
            slices, has = self._cut(self.normalise(person)[0], plane)
            parts = []
            for chunk in self._chunks(slices, has):
                latents, present = self.latents(*chunk)
                parts.append(
                    torch.stack([self.decode_fused(latents, present, j) for j in self.outputs], dim=1)
                )
            decoded = torch.cat(parts)[..., : slices.shape[2], : slices.shape[3]]
            images = as_volumes(decoded, 1, plane)[0]
            if self.offset is not None:
                images = images + self.offset.image[self.outputs]
            result[number, self.outputs] = images.clamp_min(0).to(result.dtype)
        return result

    def reconstruct(self, volumes: torch.Tensor, plane: str | None = None) -> torch.Tensor:
        """Return :meth:`synthesise` in the units and the range of the volumes.

        An output that the person has among the inputs gets its own mean intensity back, another the training
        people's.
        """
        means = self.normalise(volumes)[1]
        known = torch.zeros_like(means, dtype=torch.bool)
        known[:, self.inputs] = ~means[:, self.inputs].isnan()
        scale = torch.where(known, means, self.scale)
        return (self.synthesise(volumes, plane) * scale[:, :, None, None, None]).clip(*self.value_range)


class NewDecoder(nn.Module):
    """The training of an added decoder: the cost of its output alone, without c2, which it cannot change."""

    def __init__(self, network: SynthesisNetwork, position: int) -> None:
        super().__init__()
        self.network, self.position = network, position

    def losses(self, volumes: torch.Tensor) -> torch.Tensor:
        """Return the network's cost of this output."""
        return self.network.losses(volumes, [self.position], self.network.costs - {"c2"})
