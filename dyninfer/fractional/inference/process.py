"""A standardised model as a process in the units of the data."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dyninfer.fractional.process import FractionalDiffusion


def process_of(
    model: Any, shift: Tensor, scale: Tensor, per_dimension: bool
) -> FractionalDiffusion:
    """The learned equation of states ``shift + scale x``; of latent states as they are."""
    prior = model.prior
    if model.latent:
        shift, scale = torch.zeros(prior.n_states), torch.ones(prior.n_states)
    shift, scale = shift.to(prior.scale), scale.to(prior.scale)
    amplitude: Any = prior.scale * scale
    if model.amplitude is not None:
        amplitude = _Amplitude(model, shift, scale)
    hurst = prior.hurst if per_dimension else prior.hurst[0]
    return FractionalDiffusion(_Drift(model, shift, scale), prior.noise, hurst, diffusion=amplitude)


class _InUnits(nn.Module):
    shift: Tensor
    scale: Tensor

    def __init__(self, model: Any, shift: Tensor, scale: Tensor):
        super().__init__()
        self.model = model
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)

    def _standardised(self, x: Tensor) -> Tensor:
        return (x.double() - self.shift) / self.scale


class _Drift(_InUnits):
    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.scale * self.model.whole_drift(t, self._standardised(x))


class _Amplitude(_InUnits):
    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.scale * self.model.whole_amplitude(t, self._standardised(x))
