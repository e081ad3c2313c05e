"""Synthesis of modalities from any subset of others through a shared latent image (Chartsias et al. 2018).

Every input modality has an encoder and every output modality a decoder, all of them 2-D networks on slices. What
lies between them, a latent image of 16 channels as large as the slice, is made to mean the same whichever
modality it comes from, so that latent images of any subset of inputs can be fused.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from neurostrata.core.errors import UserError
from neurostrata.fusion.data.volumes import VolumeSet
from neurostrata.fusion.models.interface import TrainingSettings
from neurostrata.fusion.models.network import NetworkModel
from neurostrata.fusion.models.synthesis.network import NewDecoder, SynthesisNetwork
from neurostrata.fusion.training.loop import hold_out, train_network
from neurostrata.fusion.training.machine import Machine


class LatentSynthesis(NetworkModel):
    """The model ``latent_synthesis``."""

    name = "latent_synthesis"
    handles_missing = True
    synthesises = True
    network: SynthesisNetwork

    @property
    def inputs(self) -> list[str]:
        """Modalities that are encoded."""
        return self._chosen("inputs")

    @property
    def outputs(self) -> list[str]:
        """Modalities that are synthesised."""
        return self._chosen("outputs")

    @property
    def always_given(self) -> list[str]:
        """The lesion mask, if there is one."""
        mask = self.options["mask_input"]
        return [] if mask is None else [mask]

    @property
    def slice_plane(self) -> str:
        """Plane of the slices that are synthesised."""
        return self.network.test_plane

    def _chosen(self, option: str) -> list[str]:
        names = self.options[option]
        if names is None:
            return [name for name in self.modalities if name != self.options["mask_input"]]
        return list(names)

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
        given = {
            "inputs": self.inputs,
            "outputs": self.outputs,
            "added_outputs": options["added_outputs"],
            "mask_input": [] if mask is None else [mask],
        }
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
            raise UserError("latent_synthesis: options.mask_input is the only modality; add another one")
        rest = [name for name in self.outputs if name not in options["added_outputs"]]
        if not rest or len(rest) + len(options["added_outputs"]) > len(self.outputs):
            raise UserError(
                "latent_synthesis: options.added_outputs: these are some of options.outputs, of which one at least is "
                "trained before; change one of the two lists"
            )
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
            self.shape,
        )

    @property
    def code_size(self) -> int:
        """``latent_channels`` for each block of ``code_grid``."""
        return int(self.options["latent_channels"] * np.prod(self.options["code_grid"]))

    def scales(self, volumes: np.ndarray) -> np.ndarray:
        """Return the volumes' mean intensities, shape (people, modalities); 1 for the lesion mask, NaN where missing."""
        return np.asarray(self.network.normalise(torch.from_numpy(np.ascontiguousarray(volumes)))[1])

    @staticmethod
    def _useful(people: VolumeSet, inputs: Sequence[int], outputs: Sequence[int]) -> VolumeSet:
        """Return the people who have an input and an output, and say who has not.

        Raises
        ------
        UserError
            When nobody has one of the modalities.
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

    def _mean_intensity(self, people: VolumeSet) -> np.ndarray:
        """Return each modality's mean intensity over people who have it, shape (modalities,).

        Raises
        ------
        UserError
            When a volume of both signs has no mean to be divided by.
        """
        means = np.array([people[i].mean(axis=(1, 2, 3)) for i in range(len(people))], np.float64)
        has = people.present()
        divided = self._positions([name for name in self.modalities if name not in self.always_given])
        if people.maximum and (has & (means <= 0))[:, divided].any():
            person, modality = np.argwhere((has & (means <= 0))[:, divided])[0]
            raise UserError(
                f"latent_synthesis: subject {people.subjects[person]}: the mean of '{self.modalities[divided[modality]]}' is "
                "not above 0, and images are divided by it; use scaling: limits"
            )
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

        Decoders of `added_outputs` are trained after that, one by one; of the history these epochs are the last.
        Only what comes before them can be resumed.

        Raises
        ------
        UserError
            When nobody has one of the inputs or outputs.
        """
        network = self.network
        everybody, added = people, self._positions(self.options["added_outputs"])
        first = [position for position in network.outputs if position not in added]
        people = self._useful(people, network.inputs, first)
        network.scale.copy_(torch.from_numpy(self._mean_intensity(everybody)))
        learning, held_out = hold_out(people, self.options["validation_fraction"], self.seed)
        self.set_offset(learning)
        patience, outputs = self.options["patience"], network.outputs
        network.outputs = first
        for position in added:
            network.decoders[str(position)].requires_grad_(False)
        slices = network.slices_per_step  # of all GPUs together
        network.slices_per_step = max(1, round(slices / max(1, machine.accelerators)))
        history = train_network(
            self, network, 1, learning, training, machine, checkpoints, held_out, patience
        )
        network.outputs, network.slices_per_step = outputs, slices
        later = [self._train_decoder(position, everybody, training, machine) for position in added]
        for more in later:
            more["epoch"] += history["epoch"].iloc[-1]
            history = pd.concat([history, more], ignore_index=True)
        return history

    def _train_decoder(
        self, position: int, people: VolumeSet, training: TrainingSettings, machine: Machine
    ) -> pd.DataFrame:
        """Train one decoder by c1 and c3, and nothing else; return the history."""
        network = self.network
        # the processes of further GPUs ended with the first training
        machine = dataclasses.replace(machine, gpus=min(machine.gpus, 1))
        people = self._useful(people, network.inputs, [position])
        network.requires_grad_(False)
        network.decoders[str(position)].requires_grad_(True)
        learning, held_out = hold_out(people, self.options["validation_fraction"], self.seed)
        self.set_offset(learning, position)
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
                f"latent_synthesis: a person has none of the inputs ({', '.join(self.inputs)}); exclude people without "
                "any of them, or add to options.inputs"
            )

    def encode(self, volumes: np.ndarray) -> np.ndarray:
        """Return the fused latent images, averaged over blocks, shape (people, code_size).

        The numbers of one channel are consecutive, its blocks in the order x, y, z.
        """
        self._check(volumes)
        return self._apply("encode", volumes)

    def synthesise(self, volumes: np.ndarray, plane: str | None = None) -> np.ndarray:
        """Return every output in units of its mean intensity; see :meth:`SynthesisNetwork.synthesise`."""
        self._check(volumes)
        return self._apply("synthesise", volumes, plane=plane)

    def reconstruct(self, volumes: np.ndarray, plane: str | None = None) -> np.ndarray:
        """Return every output at most 1, from the inputs that are present.

        Parameters
        ----------
        volumes
            (people, modalities, x, y, z) in :attr:`value_range`; NaN throughout for what is missing.
        plane
            Plane of the slices. The network does not depend on it, so that it can differ from that of training
            (VI-I).

        Returns
        -------
        ndarray, shape of `volumes`
            NaN for modalities that are no outputs.
        """
        self._check(volumes)
        return self._apply("reconstruct", volumes, plane=plane)
