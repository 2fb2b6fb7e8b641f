"""A standardised model as a process in the units of the data."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from dyninfer.fractional.process import FractionalDiffusion
from dyninfer.learning.scaling import Scaling


def process_of(model: Any, scaling: Scaling, per_dimension: bool) -> FractionalDiffusion:
    """The learned equation in the units of ``scaling``, whose unit of time is the data's."""
    prior = model.prior
    amplitude: Any = scaling.user_amplitudes(prior.scale)
    if model.amplitude is not None:
        amplitude = _Amplitude(model, scaling)
    return FractionalDiffusion(
        drift=_Drift(model, scaling),
        noise=prior.noise,
        diffusion=amplitude,
        **prior.law_of_noise(per_dimension),
    )


class _Field(nn.Module):
    """A field of a model, in the user's units."""

    def __init__(self, model: Any, scaling: Scaling):
        super().__init__()
        self.model = model
        self.scaling = scaling


class _Drift(_Field):
    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        # In double precision, as the linear part is.
        states = self.scaling.states(x.double())
        drift = self.model.whole_drift(t, states)
        return self.scaling.user_velocities(drift)


class _Amplitude(_Field):
    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        states = self.scaling.states(x.double())
        amplitude = self.model.whole_amplitude(t, states)
        return self.scaling.user_amplitudes(amplitude)
