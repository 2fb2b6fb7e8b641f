"""The linear part of a model with fractional noise: its parameters, its law, and how it is seen."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from dyninfer.fractional import MarkovApproximation
from dyninfer.fractional.gaussian.chain import Observations, Start
from dyninfer.fractional.gaussian.linear import stationary_memory, transitions
from dyninfer.fractional.inference.series import Series

LinearDrift = Literal["none", "constant", "linear"]
_LEAST_NOISE = 1e-4  # deviation of the observation noise, in units of the data's
_INDEX = 3.9  # the index stays in [0.02, 0.98]


class LinearPrior(nn.Module):
    r"""``dX = (a − θ X) dt + σ dB̂`` in each coordinate, seen as ``o = C x + c + N(0, R)``; standardised states.

    ``σ = A τ^{−H}`` with the typical gap ``τ``: the amplitude ``A`` of a move within it hardly depends on ``H``, where
    that of a time unit would. Coordinates have their own parameters, the Hurst index perhaps a common one.

    Parameters
    ----------
    noise : MarkovApproximation
    n_states, n_features : int
        Coordinates ``d`` of the state, and numbers that are seen.
    drift : {"none", "constant", "linear"}
        ``a = θ = 0``; ``θ = 0``; both free.
    hurst : float or None
        None learns it.
    shared : bool
        One index for all coordinates.
    tau : float
        Typical gap.
    observation_noise : Tensor, ``(F,)``, optional
        Known deviation, standardised; None learns it.
    latent : bool
        Whether ``C`` and ``c`` are learned; else the coordinates are what is seen. The amplitude of a latent coordinate
        is one.
    free_start : bool
        Whether the law of the first state is learned; else it is wide.
    """

    hurst_logit: Tensor
    log_amplitude: Tensor
    log_rate: Tensor
    level: Tensor
    start_mean: Tensor
    log_start: Tensor
    log_noise: Tensor
    loading: Tensor
    offset: Tensor

    def __init__(
        self,
        noise: MarkovApproximation,
        n_states: int,
        n_features: int,
        *,
        drift: LinearDrift,
        hurst: float | None,
        shared: bool,
        tau: float,
        observation_noise: Tensor | None,
        latent: bool,
        free_start: bool,
    ):
        super().__init__()
        self.noise, self.drift_kind, self.latent, self.tau = noise, drift, latent, tau
        self.learned_hurst, d = hurst is None, n_states
        index = torch.tensor([0.5 if hurst is None else hurst], dtype=torch.float64).logit()
        self._own("hurst_logit", index.expand(1 if shared else d).clone(), hurst is None)
        self._own("log_amplitude", torch.zeros(d), not latent)
        if drift == "linear":
            self._own(
                "log_rate", torch.full((d,), math.log(4.0)), True
            )  # in units of the inverse horizon
        if drift != "none":
            self._own("level", torch.zeros(d), not latent or drift == "constant")
        self._own("start_mean", torch.zeros(d), free_start)
        self._own(
            "log_start",
            torch.zeros(d) if free_start else torch.full((d,), math.log(3.0)),
            free_start,
        )
        least = torch.full((n_features,), 0.1) if observation_noise is None else observation_noise
        self._own("log_noise", least.log(), observation_noise is None)
        if latent:
            self._own("loading", torch.eye(n_features, d), True)
            self._own("offset", torch.zeros(n_features), True)

    @property
    def hurst(self) -> Tensor:
        """One index, or one per coordinate."""
        return self.hurst_logit.sigmoid()

    @property
    def n_states(self) -> int:
        """Number of coordinates."""
        return len(self.log_amplitude)

    @property
    def weights(self) -> Tensor:
        """Weights of the memory, ``(d, K + 1)``."""
        return self.noise.weights(self.hurst).expand(self.n_states, -1)

    @property
    def scale(self) -> Tensor:
        """``σ``, per time unit to the power ``H``: ``(d,)``."""
        return self.log_amplitude.exp() * self.tau**-self.hurst

    @property
    def rate(self) -> Tensor:
        """``θ`` per time unit: ``(d,)``."""
        if self.drift_kind != "linear":
            return torch.zeros_like(self.log_amplitude)
        return self.log_rate.exp() / self.noise.horizon

    def drift(self, t: Tensor, x: Tensor) -> Tensor:
        """``a − θ x``: ``level`` is the value that a linear drift leads to, or the change over the horizon."""
        if self.drift_kind == "none":
            return torch.zeros_like(x)
        if self.drift_kind == "constant":
            return (self.level / self.noise.horizon).expand_as(x)
        return -self.rate * (x - self.level)

    def bounds(self) -> dict[str, tuple[float | None, float | None]]:
        """Where the likelihood may look, by the name of the parameter."""
        span = math.log(self.noise.horizon / self.noise.dt)
        return {
            "hurst_logit": (-_INDEX, _INDEX),
            "log_amplitude": (-12.0, 12.0),
            "log_rate": (math.log(1e-3), span + 3),
            "log_noise": (math.log(_LEAST_NOISE), 3.0),
            "log_start": (math.log(_LEAST_NOISE), 5.0),
        }

    def start(self) -> Start:
        """Law of state and memory at the first time of a path."""
        d, memory = self.n_states, stationary_memory(self.noise.nodes, self.noise.kind)
        size = 1 + len(memory)
        mean = torch.cat([self.start_mean[:, None], memory.new_zeros(d, size - 1)], dim=1)
        if self.drift_kind == "linear":  # the chain counts from the level
            mean = mean - torch.nn.functional.pad(self.level[:, None], (0, size - 1))
        covariance = torch.zeros(d, size, size, dtype=memory.dtype, device=memory.device)
        covariance[:, 0, 0] = (2 * self.log_start).exp()
        covariance[:, 1:, 1:] = memory
        return self._grouped(Start(mean, covariance))

    def chain(self, gaps: Tensor) -> tuple[Tensor, Tensor]:
        """Transition and noise of the groups for every gap, ``(u, G, S, S)``."""
        phi, noise = transitions(self.noise.nodes, self.weights, self.rate, self.scale, gaps)
        return (_blocks(phi), _blocks(noise)) if self.latent else (phi, noise)

    def mean(self, times: Tensor) -> Tensor:
        """What the chain is counted from, at times ``(P, L)``: ``(P, L, d)``."""
        zero = times.unsqueeze(-1) * 0 + torch.zeros_like(self.log_amplitude)
        if self.drift_kind == "linear":
            return zero + self.level
        if self.drift_kind == "constant":
            return zero + (times - times[:, :1]).unsqueeze(-1) * self.level / self.noise.horizon
        return zero

    def observations(self, series: Series) -> Observations:
        """What is seen of the groups of a series."""
        size = 1 + int((self.noise.nodes > 0).sum())
        mean, variance = self.mean(series.times), (2 * self.log_noise).exp()
        d, unit = self.n_states, torch.nn.functional.pad(mean.new_ones(1), (0, size - 1))
        if self.latent:
            loading = (self.loading.unsqueeze(-1) * unit).flatten(1)[None]
            rest = (series.values - self.offset - mean @ self.loading.T).unsqueeze(-2)
            return Observations(rest, series.mask.unsqueeze(-2), loading, variance[None])
        rest = (series.values - mean).unsqueeze(-1)
        return Observations(
            rest, series.mask.unsqueeze(-1), unit.expand(d, 1, -1), variance[:, None]
        )

    def decode(self, x: Tensor) -> Tensor:
        """What would be seen of states ``(..., d)`` without noise: ``(..., F)``."""
        return x @ self.loading.T + self.offset if self.latent else x

    def _grouped(self, start: Start) -> Start:
        if not self.latent:
            return start
        return Start(start.mean.flatten()[None], _blocks(start.covariance[None])[0])

    def _own(self, name: str, value: Tensor, learned: bool) -> None:
        value = value.to(torch.float64)
        if learned:
            self.register_parameter(name, nn.Parameter(value))
        else:
            self.register_buffer(name, value)


def _blocks(matrices: Tensor) -> Tensor:
    """``(u, d, S, S)`` on the diagonal of ``(u, 1, dS, dS)``."""
    u, d, s, _ = matrices.shape
    eye = torch.eye(d, dtype=matrices.dtype, device=matrices.device)
    return torch.einsum("uist,ij->uisjt", matrices, eye).reshape(u, 1, d * s, d * s)
