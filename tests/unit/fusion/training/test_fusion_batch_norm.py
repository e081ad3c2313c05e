"""Means and variances of batch normalisation, against those of the values that reach each layer."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from neurostrata.fusion.training.batch_norm import SETTLED_STEPS, settle_batch_norm, to_be_measured


def test_each_layer_has_the_moments_of_what_reaches_it_in_use():
    torch.manual_seed(1)
    first, second = nn.BatchNorm3d(2), nn.BatchNorm3d(3)
    network = nn.Sequential(first, nn.Dropout(0.5), nn.Conv3d(2, 3, 1), second).train()
    volumes = torch.rand(5, 2, 2, 3, 2) * 3 + 1
    settle_batch_norm(network, volumes)
    assert not network.training
    values = volumes.numpy().astype(np.float64)
    mean, variance = values.mean(axis=(0, 2, 3, 4)), values.var(axis=(0, 2, 3, 4))  # ddof 0
    np.testing.assert_allclose(first.running_mean, mean, rtol=1e-5)
    np.testing.assert_allclose(first.running_var, variance, rtol=1e-5)
    # the second layer sees what the first gives with these, and nothing is dropped
    scaled = (values - mean[:, None, None, None]) / np.sqrt(variance[:, None, None, None] + first.eps)
    convolution = network[2]
    kernel = convolution.weight.detach().numpy()[:, :, 0, 0, 0].astype(np.float64)
    reached = (
        np.einsum("oc,ncxyz->noxyz", kernel, scaled) + convolution.bias.detach().numpy()[:, None, None, None]
    )
    np.testing.assert_allclose(second.running_mean, reached.mean(axis=(0, 2, 3, 4)), atol=1e-5)
    np.testing.assert_allclose(second.running_var, reached.var(axis=(0, 2, 3, 4)), rtol=1e-4)


@pytest.mark.parametrize(
    ("chosen", "steps", "smallest", "expected"),
    [
        ("auto", SETTLED_STEPS, 1, False),
        ("auto", SETTLED_STEPS - 1, 1, True),
        ("auto", SETTLED_STEPS, 2, True),
        ("training", SETTLED_STEPS, 1, True),
        ("running", 1, 2, False),
    ],
)
def test_short_trainings_and_codes_of_one_position_are_measured(chosen, steps, smallest, expected):
    training = SimpleNamespace(batch_norm_statistics=chosen)
    assert to_be_measured(training, steps, smallest) == expected
