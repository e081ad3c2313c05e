"""Batch normalisation that uses a whole GPU however few channels there are."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

#: Up to so many channels the mean and variance are those of general reductions, which use all of a GPU's processors.
FEW_CHANNELS = 16
_OVER = (0, 2, 3, 4)


class _Normalised(torch.autograd.Function):
    """(x - mean) / sqrt(variance + epsilon) * weight + bias, with the mean and variance of the batch."""

    @staticmethod
    def forward(
        ctx: Any, image: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, epsilon: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the normalised image, the mean and the variance (ddof 0) of each channel, in float32."""
        variance, mean = torch.var_mean(image.float(), dim=_OVER, correction=0)
        inverse = (variance + epsilon).rsqrt()
        ctx.save_for_backward(image, weight, mean, inverse)
        ctx.mark_non_differentiable(mean, variance)
        wide = (slice(None), None, None, None)
        out = torch.addcmul(bias[wide], image - mean[wide], (weight * inverse)[wide])
        return out.to(image.dtype), mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        """Return the gradients of image, weight and bias."""
        image, weight, mean, inverse = ctx.saved_tensors
        wide = (slice(None), None, None, None)
        gradient = gradients[0].float()
        centred = image - mean[wide]
        count = image.numel() // image.shape[1]
        of_bias = gradient.sum(dim=_OVER)
        along = (gradient * centred).sum(dim=_OVER)
        # Ioffe & Szegedy 2015, section 3: through the image itself, its mean and its variance.
        of_image = torch.addcmul(
            gradient - (of_bias / count)[wide], centred, (along * inverse.square() / count)[wide], value=-1
        )
        of_image *= (weight * inverse)[wide]
        return of_image.to(image.dtype), along * inverse, of_bias, None


def normalised(
    image: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, epsilon: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Normalise each channel by its mean and variance over a batch.

    Parameters
    ----------
    image
        (people, channels, x, y, z).
    weight, bias
        (channels,), float32.
    epsilon
        Added to the variance.

    Returns
    -------
    image : Tensor, shape and type of `image`
    mean, variance : Tensor, shape (channels,), float32
        Of the batch; the variance with ddof 0.
    """
    result: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = _Normalised.apply(image, weight, bias, epsilon)
    return result


class BatchNormalisation(nn.BatchNorm3d):
    """torch's batch normalisation; in training on a GPU, one of few channels uses the whole GPU."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the normalised image."""
        if not (self.training and input.device.type == "cuda" and input.shape[1] <= FEW_CHANNELS):
            return super().forward(input)
        return self.train_on(input)

    def activated(self, image: torch.Tensor, dropout: float) -> torch.Tensor:
        """Normalise by the batch and move the running averages, take the ELU and drop, in one pass over the image on a GPU."""
        from neurostrata.fusion.layers.triton_normalisation import activated

        _, means, variances, momentum = self._counted(image)
        return activated(
            image,
            self.weight,
            self.bias,
            means,
            variances,
            momentum=momentum,
            epsilon=self.eps,
            dropout=dropout,
        )

    def train_on(self, image: torch.Tensor) -> torch.Tensor:
        """Normalise by the batch and move the running averages, as torch does."""
        count, means, variances, momentum = self._counted(image)
        out, mean, variance = normalised(image, self.weight, self.bias, self.eps)
        with torch.no_grad():
            means.lerp_(mean, momentum)
            variances.lerp_(variance * (count / (count - 1)), momentum)
        return out

    def _counted(self, image: torch.Tensor) -> tuple[int, torch.Tensor, torch.Tensor, float]:
        """Count a batch; return the numbers per channel, the running averages, and their momentum."""
        self._check_input_dim(image)
        count = image.numel() // image.shape[1]
        if count < 2:
            raise ValueError("batch normalisation needs more than one value per channel")
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        return count, self.running_mean, self.running_var, self.momentum
