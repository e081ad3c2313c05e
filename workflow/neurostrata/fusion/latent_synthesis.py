"""Synthesis of modalities from any subset of others through a shared latent image (Chartsias et al. 2018).

Every input modality has an encoder and every output modality a decoder, all of them 2-D networks on slices. What
lies between them, a latent image of 16 channels as large as the slice, is made to mean the same whichever
modality it comes from, so that latent images of any subset of inputs can be fused.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from neurostrata.core.errors import UserError
from neurostrata.fusion.data import VolumeSet
from neurostrata.fusion.interface import TrainingSettings
from neurostrata.fusion.machine import Machine
from neurostrata.fusion.network import NetworkModel
from neurostrata.fusion.training import hold_out, train_network

#: Array axis of a volume that its slices are counted along.
PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}
#: Slope below 0; the paper names none, Keras's default is 0.3.
SLOPE = 0.3
#: Two poolings: sides of slices are padded to multiples of this.
MULTIPLE = 4
#: Slices that go through the network at once outside training.
SLICES_AT_ONCE = 32
#: A volume's mean intensity is taken to be at least this.
LEAST_MEAN = 1e-6


def as_slices(volumes: torch.Tensor, plane: str) -> torch.Tensor:
    """Return the slices (people * slices, channels, height, width) of volumes (people, channels, x, y, z)."""
    return volumes.movedim(2 + PLANES[plane], 1).flatten(0, 1)


def as_volumes(slices: torch.Tensor, people: int, plane: str) -> torch.Tensor:
    """Return the volumes that :func:`as_slices` cut up."""
    return slices.unflatten(0, (people, -1)).movedim(1, 2 + PLANES[plane])


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    # IV-A: "pad the images by repeating the border pixels"
    return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="replicate")


def _pair(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        _convolution(inputs, outputs),
        nn.LeakyReLU(SLOPE),
        _convolution(outputs, outputs),
        nn.LeakyReLU(SLOPE),
    )


class Encoder(nn.Module):
    """A slice to its latent image: a U-Net with two poolings (Fig. 2).

    Parameters
    ----------
    inputs
        1, or 2 with a lesion mask.
    channels
        At full, half and quarter resolution.
    latent
        Channels of the latent image.
    """

    def __init__(self, inputs: int, channels: Sequence[int], latent: int) -> None:
        super().__init__()
        full, half, quarter = channels
        self.down1 = _pair(inputs, full)
        self.down2 = _pair(full, half)
        self.bottom = _pair(half, quarter)
        self.widen2 = _convolution(quarter, half)
        self.up2 = _pair(2 * half, half)
        self.widen1 = _convolution(half, full)
        self.up1 = _pair(2 * full, full)
        self.latent = nn.Sequential(_convolution(full, latent), nn.LeakyReLU(SLOPE))

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        """Return latent images (slices, latent, height, width) of slices (slices, inputs, height, width)."""
        full = self.down1(slices)
        half = self.down2(functional.max_pool2d(full, 2))
        quarter = self.bottom(functional.max_pool2d(half, 2))
        up = self.widen2(functional.interpolate(quarter, scale_factor=2))
        up = self.up2(torch.cat([half, up], dim=1))
        up = self.widen1(functional.interpolate(up, scale_factor=2))
        return self.latent(self.up1(torch.cat([full, up], dim=1)))


class Decoder(nn.Module):
    """A latent image to a slice: two residual blocks whose input is kept by concatenation, then 1x1 (Fig. 3).

    Parameters
    ----------
    latent
        Channels of the latent image.
    channels
        Of the convolutions.
    """

    def __init__(self, latent: int, channels: int) -> None:
        super().__init__()
        self.block1 = _pair(latent, channels)
        self.block2 = _pair(latent + channels, channels)
        self.last = nn.Conv2d(latent + 2 * channels, 1, 1)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """Return slices (slices, 1, height, width)."""
        first = torch.cat([latent, self.block1(latent)], dim=1)
        return self.last(torch.cat([first, self.block2(first)], dim=1))


def _glorot(layer: nn.Module) -> None:
    """Set a convolution's weights as Keras does; torch's own start is so small that many layers would fade."""
    if isinstance(layer, nn.Conv2d):
        nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


class SynthesisNetwork(nn.Module):
    """Encoders, fusion and decoders.

    Parameters
    ----------
    modalities
        Number of modalities of a volume; those that lack are NaN throughout.
    inputs, outputs
        Positions of the modalities that are encoded and synthesised.
    mask
        Position of the lesion mask, or None.
    options
        The model's options.
    """

    def __init__(
        self,
        modalities: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
        mask: int | None,
        options: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.inputs, self.outputs, self.mask = list(inputs), list(outputs), mask
        self.fusion, self.costs = options["fusion"], frozenset(options["costs"])
        self.plane, self.slices_per_step = options["plane"], options["slices_per_step"]
        self.code_grid = tuple(options["code_grid"])
        self.latent_channels, self.decoder_channels = options["latent_channels"], options["decoder_channels"]
        encoded = self.latent_channels // 2 if self.fusion == "hemis" else self.latent_channels
        channels = 1 if mask is None else 2
        # Keyed by the modality's position: a decoder can be added without renaming the others.
        self.encoders = nn.ModuleDict(
            {str(i): Encoder(channels, options["channels"], encoded) for i in self.inputs}
        )
        self.decoders = nn.ModuleDict()
        for position in self.outputs:
            self.decoders[str(position)] = Decoder(self.latent_channels, self.decoder_channels)
        self.apply(_glorot)
        self.scale: torch.Tensor
        self.register_buffer("scale", torch.ones(modalities))

    def add_decoder(self, position: int, scale: float) -> None:
        """Append an untrained decoder; `scale` is the training people's mean intensity of its modality."""
        decoder = Decoder(self.latent_channels, self.decoder_channels).apply(_glorot).to(self.scale.device)
        self.decoders[str(position)] = decoder
        self.outputs.append(position)
        missing = position + 1 - len(self.scale)
        self.scale = torch.cat([self.scale, self.scale.new_ones(max(0, missing))])
        self.scale[position] = scale

    # ------------------------------------------------------------------------------- slices

    def normalise(self, volumes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Divide each volume by its mean intensity (V, pre-processing), but not the lesion mask.

        Returns
        -------
        volumes : Tensor, shape (people, modalities, x, y, z)
        means : Tensor, shape (people, modalities)
            NaN where somebody lacks a modality.
        """
        means = volumes.mean(dim=(2, 3, 4)).clamp_min(LEAST_MEAN)
        if self.mask is not None:
            means[:, self.mask] = 1
        return volumes / means[:, :, None, None, None], means

    def _cut(self, volumes: torch.Tensor, plane: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return slices (slices, modalities, height, width), 0 where lacking, and who has what (slices, modalities)."""
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
            0 where the input lacks. Height and width are padded to multiples of 4.
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
        """Fuse latent images of the inputs that are there: eq. 1 (max), 5 (mean) or 6 (hemis).

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
        mean, variance = self._moments(latents, present)
        return torch.cat([mean, variance], dim=1) if self.fusion == "hemis" else mean

    def alone(self, latent: torch.Tensor) -> torch.Tensor:
        """Return one input's latent image as decoders take it: of a single input the variance is 0."""
        return torch.cat([latent, torch.zeros_like(latent)], dim=1) if self.fusion == "hemis" else latent

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
        self, slices: torch.Tensor, has: torch.Tensor, outputs: Sequence[int], costs: frozenset[str]
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

        Returns
        -------
        Tensor, shape (slices, modalities)
            Its sum over modalities is c1 + c2 + c3 of a slice (eq. 2-4), where n and m are the inputs and
            outputs that the person has.
        """
        latents, present = self.latents(slices, has)
        height, width = slices.shape[-2:]

        def error(decoded: torch.Tensor, position: int) -> torch.Tensor:
            return (decoded[:, :height, :width] - slices[:, position]).abs().mean(dim=(1, 2))

        shared = slices.new_zeros(len(slices))
        if "c2" in costs:
            _, variance = self._moments(latents[..., :height, :width], present)
            shared = variance.mean(dim=(1, 2, 3))
        columns = [slices.new_zeros(len(slices)) for _ in range(slices.shape[1])]
        share = has[:, list(outputs)] / has[:, list(outputs)].sum(dim=1, keepdim=True).clamp_min(1)
        for number, position in enumerate(outputs):
            cost = shared
            if "c1" in costs:
                for latent, there in zip(latents, present, strict=True):
                    decoded = self.decoders[str(position)](self.alone(latent))[:, 0]
                    cost = cost + error(decoded, position) * there
            if "c3" in costs:
                cost = cost + error(self.decode_fused(latents, present, position), position)
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
        parts = [
            self.slice_costs(some, theirs, outputs, costs)
            for some, theirs in self._chunks(slices[usable], has[usable])
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
        """Synthesise every output from the inputs that are there.

        Parameters
        ----------
        volumes
            (people, modalities, x, y, z); NaN throughout for what lacks.
        plane
            Plane of the slices; that of training by default.

        Returns
        -------
        Tensor, shape of `volumes`
            In units of each image's mean intensity, at least 0; NaN for modalities that are no outputs.
        """
        plane = plane or self.plane
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
            result[number, self.outputs] = as_volumes(decoded, 1, plane)[0].clamp_min(0).to(result.dtype)
        return result

    def reconstruct(self, volumes: torch.Tensor, plane: str | None = None) -> torch.Tensor:
        """Return :meth:`synthesise` in the units of the volumes, in [0, 1].

        An output that the person has among the inputs gets its own mean intensity back, another the training
        people's.
        """
        means = self.normalise(volumes)[1]
        known = torch.zeros_like(means, dtype=torch.bool)
        known[:, self.inputs] = ~means[:, self.inputs].isnan()
        scale = torch.where(known, means, self.scale)
        return (self.synthesise(volumes, plane) * scale[:, :, None, None, None]).clip(0, 1)


class NewDecoder(nn.Module):
    """What is trained when a decoder is added: the cost of its output alone, c2 being out of its reach."""

    def __init__(self, network: SynthesisNetwork, position: int) -> None:
        super().__init__()
        self.network, self.position = network, position

    def losses(self, volumes: torch.Tensor) -> torch.Tensor:
        """Return the network's cost of this output."""
        return self.network.losses(volumes, [self.position], self.network.costs - {"c2"})


class LatentSynthesis(NetworkModel):
    """``latent_synthesis`` as the registry knows it."""

    name = "latent_synthesis"
    handles_missing = True
    network: SynthesisNetwork

    @property
    def inputs(self) -> list[str]:
        """Modalities that are encoded."""
        return self._chosen("inputs")

    @property
    def outputs(self) -> list[str]:
        """Modalities that are synthesised."""
        return self._chosen("outputs")

    def _chosen(self, option: str) -> list[str]:
        wanted = self.options[option]
        if wanted is None:
            return [name for name in self.modalities if name != self.options["mask_input"]]
        return list(wanted)

    def _positions(self, names: Sequence[str]) -> list[int]:
        return [self.modalities.index(name) for name in names]

    def build_network(self) -> nn.Module:
        """Return the untrained network.

        Raises
        ------
        UserError
            When an option names no modality of the experiment, or options do not go together.
        """
        options, mask = self.options, self.options["mask_input"]
        given = {"inputs": self.inputs, "outputs": self.outputs, "mask_input": [] if mask is None else [mask]}
        for option, names in given.items():
            for name in names:
                if name not in self.modalities:
                    raise UserError(
                        f"latent_synthesis: options.{option}: '{name}' is none of the experiment's modalities "
                        f"({', '.join(self.modalities)}); add it to them or leave it out here"
                    )
                if name == mask and option != "mask_input":
                    raise UserError(
                        f"latent_synthesis: options.{option}: '{name}' is the mask_input; it cannot be both"
                    )
        if not self.inputs or not self.outputs:
            raise UserError("latent_synthesis: there is no modality besides options.mask_input; add one")
        if options["fusion"] == "hemis" and options["latent_channels"] % 2:
            raise UserError(
                f"latent_synthesis: options.latent_channels: {options['latent_channels']} is odd, fusion 'hemis' "
                "divides them into means and variances; set an even number"
            )
        if not {"c1", "c3"} & set(options["costs"]):
            raise UserError("latent_synthesis: options.costs: c2 alone trains no decoder; add c1 or c3")
        if any(blocks > side for blocks, side in zip(options["code_grid"], self.shape, strict=True)):
            raise UserError(
                f"latent_synthesis: options.code_grid: {'x'.join(map(str, options['code_grid']))} blocks are more than "
                f"the grid {'x'.join(map(str, self.shape))} has voxels; set fewer"
            )
        return SynthesisNetwork(
            len(self.modalities),
            self._positions(self.inputs),
            self._positions(self.outputs),
            None if mask is None else self.modalities.index(mask),
            options,
        )

    @property
    def code_size(self) -> int:
        """``latent_channels`` for each block of ``code_grid``."""
        return int(self.options["latent_channels"] * np.prod(self.options["code_grid"]))

    @staticmethod
    def _useful(people: VolumeSet, inputs: Sequence[int], outputs: Sequence[int]) -> VolumeSet:
        """Return the people who have an input and an output, and say who has not.

        Raises
        ------
        UserError
            When nobody has a modality that is wanted.
        """
        present = people.present()
        for position in [*inputs, *outputs]:
            if not present[:, position].any():
                raise UserError(
                    f"latent_synthesis: none of the training people has '{people.modalities[position]}'; take it out "
                    "of the experiment's modalities or of options.inputs and options.outputs"
                )
        useful = present[:, list(inputs)].any(axis=1) & present[:, list(outputs)].any(axis=1)
        if not useful.any():
            raise UserError("latent_synthesis: no training person has both an input and an output")
        if useful.all():
            return people
        lacking = ", ".join(people.subjects[i] for i in np.flatnonzero(~useful))
        print(f"training: left out, having no input or no output: {lacking}", file=sys.stderr, flush=True)
        return people.subset(np.flatnonzero(useful).tolist())

    @staticmethod
    def _mean_intensity(people: VolumeSet) -> np.ndarray:
        """Return each modality's mean intensity over people who have it, shape (modalities,)."""
        means = np.array([people[i].mean(axis=(1, 2, 3)) for i in range(len(people))], np.float64)
        has = people.present()
        return np.where(has, means, 0).sum(axis=0) / np.maximum(has.sum(axis=0), 1)

    def fit(
        self,
        people: VolumeSet,
        mask: np.ndarray,
        training: TrainingSettings,
        machine: Machine,
        checkpoints: Path | None = None,
    ) -> pd.DataFrame:
        """Train on most of the training people; the others tell when to stop (V).

        Raises
        ------
        UserError
            When nobody has one of the inputs or outputs.
        """
        network = self.network
        people = self._useful(people, network.inputs, network.outputs)
        network.scale.copy_(torch.from_numpy(self._mean_intensity(people)))
        learning, held_out = hold_out(people, self.options["validation_fraction"], self.seed)
        patience = self.options["patience"]
        return train_network(self, network, 1, learning, training, machine, checkpoints, held_out, patience)

    def add_decoder(
        self, output: str, people: VolumeSet, training: TrainingSettings, machine: Machine
    ) -> pd.DataFrame:
        """Add an output to a trained model and train its decoder, and nothing else (VI-E).

        Parameters
        ----------
        output
            A modality that is no output yet; one of the model's, or a further one.
        people
            Training people. Their modalities are the model's, a further one standing behind them.
        training, machine
            As for :meth:`fit`.

        Returns
        -------
        DataFrame
            The history, one row per epoch.

        Raises
        ------
        UserError
            When the model synthesises it already, or the people's modalities are others.
        """
        if output in self.outputs or output == self.options["mask_input"]:
            raise UserError(f"latent_synthesis: '{output}' is no new output of this model")
        modalities = self.modalities if output in self.modalities else [*self.modalities, output]
        if people.modalities != modalities:
            raise UserError(
                f"latent_synthesis: the volumes are {', '.join(people.modalities)}; to add a decoder of '{output}', "
                f"give {', '.join(modalities)}"
            )
        position, network = modalities.index(output), self.network
        people = self._useful(people, network.inputs, [position])
        # What null stood for so far must not come to include the new modality.
        self.options.update(inputs=self.inputs, outputs=[*self.outputs, output])
        self.modalities = modalities
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed + position)
            network.add_decoder(position, float(self._mean_intensity(people)[position]))
        network.requires_grad_(False)
        network.decoders[str(position)].requires_grad_(True)
        learning, held_out = hold_out(people, self.options["validation_fraction"], self.seed)
        history = train_network(
            self,
            NewDecoder(network, position),
            1,
            learning,
            training,
            machine,
            held_out=held_out,
            patience=self.options["patience"],
        )
        network.requires_grad_(True)
        return history

    def _check(self, volumes: np.ndarray) -> None:
        lacking = np.isnan(volumes[:, self.network.inputs]).all(axis=(1, 2, 3, 4))
        if lacking.any():
            raise UserError(
                f"latent_synthesis: somebody has none of the inputs ({', '.join(self.inputs)}); exclude who lacks "
                "all of them, or widen options.inputs"
            )

    def encode(self, volumes: np.ndarray) -> np.ndarray:
        """Return the fused latent images, averaged over blocks, shape (people, code_size).

        The numbers of one channel stand together, its blocks in the order x, y, z.
        """
        self._check(volumes)
        return self._apply("encode", volumes)

    def synthesise(self, volumes: np.ndarray, plane: str | None = None) -> np.ndarray:
        """Return every output in units of its mean intensity; see :meth:`SynthesisNetwork.synthesise`."""
        self._check(volumes)
        return self._apply("synthesise", volumes, plane=plane)

    def reconstruct(self, volumes: np.ndarray, plane: str | None = None) -> np.ndarray:
        """Return every output in [0, 1], from the inputs that are there.

        Parameters
        ----------
        volumes
            (people, modalities, x, y, z) in [0, 1]; NaN throughout for what lacks.
        plane
            Plane of the slices. The network has no notion of it, so that it can be another than in training
            (VI-I).

        Returns
        -------
        ndarray, shape of `volumes`
            NaN for modalities that are no outputs.
        """
        self._check(volumes)
        return self._apply("reconstruct", volumes, plane=plane)

    def transplant_lesions(self, volumes: np.ndarray, lesions: np.ndarray) -> np.ndarray:
        """Synthesise people as if they had somebody else's lesions (VI-H).

        Parameters
        ----------
        volumes
            (people, modalities, x, y, z) of the people who receive them.
        lesions
            The other person's lesion mask on the same grid, shape (x, y, z).

        Returns
        -------
        ndarray, shape of `volumes`
            As from :meth:`reconstruct`.

        Raises
        ------
        UserError
            When the model was trained without lesion masks, or the mask is on another grid.
        """
        if self.network.mask is None:
            raise UserError(
                "latent_synthesis: this model knows no lesion masks; train one with options.mask_input"
            )
        if lesions.shape != volumes.shape[2:]:
            raise UserError(
                f"latent_synthesis: the lesion mask's grid {lesions.shape} is not that of the volumes "
                f"{volumes.shape[2:]}; resample it"
            )
        changed = volumes.copy()
        changed[:, self.network.mask] = lesions
        return self.reconstruct(changed)
