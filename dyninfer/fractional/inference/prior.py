"""The linear part of a model with fractional noise: parameters, chain, and observations."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from dyninfer.fractional import MarkovApproximation
from dyninfer.fractional.gaussian.chain import Observations, Start
from dyninfer.fractional.gaussian.linear import (
    LinearEquation,
    state_covariance,
    stationary_memory,
    transitions,
)
from dyninfer.fractional.gaussian.matrices import identity
from dyninfer.fractional.inference.memory_steps import KnownSteps, MemorySteps
from dyninfer.fractional.inference.series import Series
from dyninfer.fractional.inference.steps import StepTable, euler_root, euler_transition
from dyninfer.fractional.views import first_loading

LinearDrift = Literal["none", "constant", "linear"]
Bounds = tuple[float | None, float | None]

# Smallest deviation of the observation noise, in units of the data's: with less the filter is
# singular.
_LEAST_NOISE = 1e-4
# Largest logit of the index, which so stays in [0.02, 0.98].
LARGEST_LOGIT = 3.9
# Where the parameters begin: a relaxation in a quarter of the horizon, noise of a tenth.
_FIRST_RATE = 4.0
FIRST_NOISE = 0.1
# Deviation of a start that is not learned, wide beside data of deviation one.
_WIDE_START = 3.0


class LinearPrior(nn.Module):
    r"""``dX = (a − θ X) dt + σ dB̂`` in each coordinate, observed as ``o = C x + c + N(0, R)``.

    States are standardised. ``σ = A τ^{−H}`` with the typical gap ``τ``: the amplitude ``A`` of a
    move within it hardly depends on ``H``, where that of a time unit would. Coordinates have their
    own parameters, the Hurst index perhaps a common one.

    Parameters
    ----------
    noise : MarkovApproximation
    n_states, n_features : int
        Coordinates ``d`` of the state, and numbers that are observed.
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
        Whether ``C`` and ``c`` are learned; else the coordinates are what is observed. The
        amplitude of a latent coordinate is one.
    free_start : bool
        Whether the distribution of the first state is learned; else it is wide.
    exposure : float, optional
        Time of an exposure, over which observations are means of the state; the motion is then
        fractional Brownian motion itself. None is the approximation, seen at once.
    start_width : float
        Deviation of a start that is not learned.
    shift : float
        Time from that of an observation to the middle of its exposure.
    visibility : Tensor of bool ``(F, d)``, optional
        Entries of ``C`` that are learned; the others are 0. None learns all.
    """

    # Name of the logits of the index, and whether it changes in time.
    logit_name: ClassVar[str] = "hurst_logit"
    changes: ClassVar[bool] = False

    hurst_logit: Tensor
    log_amplitude: Tensor
    log_rate: Tensor
    level: Tensor
    start_mean: Tensor
    log_start: Tensor
    log_noise: Tensor
    loading: Tensor
    visibility: Tensor | None
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
        exposure: float | None = None,
        start_width: float = _WIDE_START,
        shift: float = 0.0,
        visibility: Tensor | None = None,
    ):
        super().__init__()
        # Made of the settings, so no file holds it.
        self.register_buffer("visibility", visibility, persistent=False)
        self.noise = noise
        self.drift_kind = drift
        self.latent = latent
        self.tau = tau
        self.exposure = exposure
        self.shift = shift
        self.known_steps = KnownSteps(noise)
        zeros = torch.zeros(n_states)
        self._own_index(hurst, 1 if shared else n_states)
        self._own("log_amplitude", zeros, free=not latent)
        if drift == "linear":
            rates = torch.full((n_states,), _FIRST_RATE)  # in units of the inverse horizon
            self._own("log_rate", rates.log(), free=True)
        if drift != "none":
            # The offset of the readout is the level of a latent state that returns.
            self._own("level", zeros, free=not latent or drift == "constant")
        log_start = zeros
        if not free_start:
            log_start = zeros + math.log(start_width)
        self._own("start_mean", zeros, free=free_start)
        self._own("log_start", log_start, free=free_start)
        deviation = observation_noise
        if deviation is None:
            deviation = torch.full((n_features,), FIRST_NOISE)
        is_free = observation_noise is None
        self._own("log_noise", deviation.log(), free=is_free)
        if latent:
            loading = torch.eye(n_features, n_states)
            if visibility is not None:
                loading = first_loading(visibility)
            self._own("loading", loading, free=True)
            self._own("offset", torch.zeros(n_features), free=True)

    @property
    def index_names(self) -> list[str]:
        """Names of the parameters that the index is made of: none where it is given."""
        return [self.logit_name] if self.hurst_logit.requires_grad else []

    @property
    def hurst(self) -> Tensor:
        """One index, or one per coordinate."""
        return self.hurst_logit.sigmoid()

    @property
    def readout(self) -> Tensor:
        """``C``, ``(F, d)``."""
        if self.visibility is None:
            return self.loading
        return self.loading * self.visibility

    @property
    def n_states(self) -> int:
        """Number of coordinates."""
        return len(self.log_amplitude)

    @property
    def n_steps(self) -> int:
        """Steps of exact inference between two times."""
        return 1

    @property
    def n_memory(self) -> int:
        """Memory of every coordinate, the zero node left out, which feeds nothing back."""
        return len(self.noise.memory_rates)

    @property
    def weights(self) -> Tensor:
        """Weights of the memory, ``(d, K + 1)``."""
        # A sigmoid lies between 0 and 1, which a device would be asked, and waited for.
        weights = self.noise.weights_at(self.hurst)
        return weights.expand(self.n_states, -1)

    @property
    def scale(self) -> Tensor:
        """``σ``, per time unit to the power ``H``: ``(d,)``."""
        # The amplitude is that of a move over the short gap.
        per_unit = self.tau**-self.hurst
        return self.log_amplitude.exp() * per_unit

    @property
    def rate(self) -> Tensor:
        """``θ`` per time unit: ``(d,)``."""
        if self.drift_kind != "linear":
            return torch.zeros_like(self.log_amplitude)
        return self.log_rate.exp() / self.noise.horizon

    @property
    def equation(self) -> LinearEquation:
        """The equation about its mean."""
        return LinearEquation(
            nodes=self.noise.nodes,
            weights=self.weights,
            rate=self.rate,
            scale=self.scale,
        )

    def drift(self, t: Tensor, x: Tensor) -> Tensor:
        """``a − θ x``.

        ``level`` is the value that a linear drift leads to, or the change over the horizon.
        """
        if self.drift_kind == "none":
            return torch.zeros_like(x)
        if self.drift_kind == "constant":
            velocity = self.level / self.noise.horizon
            return velocity.expand_as(x)
        deviation = x - self.level
        return -self.rate * deviation

    def bounds(self) -> dict[str, Bounds]:
        """Where the likelihood may look, by the name of the parameter."""
        n_gaps = self.noise.horizon / self.noise.dt
        least_noise = math.log(_LEAST_NOISE)
        return {
            "hurst_logit": (-LARGEST_LOGIT, LARGEST_LOGIT),
            "log_amplitude": (-12.0, 12.0),
            # From a thousandth per horizon to twenty per shortest gap: the data tell no more.
            "log_rate": (math.log(1e-3), math.log(n_gaps) + 3),
            "log_noise": (least_noise, 3.0),
            # Tracks begin anywhere in a field of view, many of their steps wide.
            "log_start": (least_noise, 5.0 if self.exposure is None else 14.0),
        }

    @torch.no_grad()
    def clamp(self) -> None:
        """Keep the parameters that are learned within their bounds."""
        bounds = self.bounds()
        for name, parameter in self.named_parameters():
            if name in bounds and parameter.requires_grad:
                parameter.clamp_(*bounds[name])

    def chain_start(self) -> Tensor:
        """Mean of state and memory at the first time of a path, ``(d, S)``."""
        state_mean = self.start_mean
        if self.drift_kind == "linear":
            # The chain counts from the level.
            state_mean = state_mean - self.level
        column = state_mean[:, None]
        return pad(column, (0, self.n_memory))

    def start(self) -> Start:
        """Distribution of state and memory at the first time of a path."""
        memory = self.memory_covariance()
        n_memory = len(memory)
        mean = self.chain_start()
        size = 1 + n_memory
        covariance = memory.new_zeros(self.n_states, size, size)
        log_variance = 2 * self.log_start
        covariance[:, 0, 0] = log_variance.exp()
        covariance[:, 1:, 1:] = memory
        if not self.latent:
            return Start(mean, covariance)
        # Latent coordinates are observed together, so they are one group.
        (together,) = joined(covariance[None])
        return Start(mean.view(1, -1), together)

    def draw_states(self, n: int, generator: torch.Generator) -> Tensor:
        """First states from their distribution, ``(n, d)``."""
        shape = n, self.n_states
        device = generator.device
        normals = torch.randn(shape, generator=generator, dtype=torch.float64, device=device)
        deviation = self.log_start.exp()
        return self.start_mean + deviation * normals

    def memory_covariance(self) -> Tensor:
        """Covariance of the scaled memory at the start, ``(M, M)``."""
        return stationary_memory(self.noise.nodes, self.noise.kind)

    def memory_root(self, stationary: Tensor) -> Tensor:
        """Its root ``(M, r)``, made of that of the positive nodes ``(K, r)``."""
        return stationary

    def has_one_factor(self, series: Series) -> bool:
        """Whether one covariance of the observations serves all paths, and is cheap to make."""
        has_one_row = len(series.gap) == 1
        is_even = len(series.gaps) == 1
        return has_one_row and is_even and not self.latent

    def state_covariance(self, times: Tensor) -> Tensor:
        """Covariance of the state at increasing times, ``(d, L, L)``."""
        return state_covariance(self.equation, self.start().covariance, times)

    def steps(self, series: Series) -> StepTable:
        """Exact steps of the groups, and which of them lies between two times."""
        phi, noise = transitions(self.equation, series.gaps)
        if self.latent:
            phi = joined(phi)
            noise = joined(noise)
        return StepTable(phi, noise, series.gap)

    def euler(self, series: Series, memory: MemorySteps) -> StepTable:
        """Steps whose memory is exact and whose drift follows Euler's rule, with their roots.

        ``memory`` are the steps of the memory over every gap of the series.
        """
        transition = euler_transition(self, memory.lengths)
        root = euler_root(self, memory.factor)
        return StepTable(transition, root, series.gap)

    def law_of_noise(self, per_dimension: bool) -> dict[str, Any]:
        """What a process needs to know of the index: one for each coordinate, or for all."""
        return {"hurst": self.hurst if per_dimension else self.hurst[0]}

    def warn_if_coarse(self, gaps: Tensor) -> None:
        """All steps are exact."""

    def mean(self, times: Tensor) -> Tensor:
        """What the chain is counted from, at times ``(P, L)``: ``(P, L, d)``."""
        zero = times.new_zeros(*times.shape, self.n_states)
        if self.drift_kind == "linear":
            return zero + self.level
        if self.drift_kind == "constant":
            elapsed = times - times[:, :1]
            velocity = self.level / self.noise.horizon
            spans = elapsed.unsqueeze(-1)
            return zero + spans * velocity
        return zero

    def observations(self, series: Series) -> Observations:
        """What is observed of the groups of a series."""
        mean = self.mean(series.times)
        variance = (2 * self.log_noise).exp()
        # Of a coordinate and its memory, the coordinate alone is observed.
        one = mean.new_ones(1)
        unit = pad(one, (0, self.n_memory))
        if not self.latent:
            values = series.values - mean
            return Observations(
                values=values.unsqueeze(-1),
                mask=series.mask.unsqueeze(-1),
                loading=unit.expand(self.n_states, 1, -1),
                variance=variance[:, None],
            )
        # One group: all features are observed of all coordinates together.
        loading = self.readout.unsqueeze(-1) * unit
        expected = mean @ self.readout.T
        values = series.values - self.offset - expected
        return Observations(
            values=values.unsqueeze(-2),
            mask=series.mask.unsqueeze(-2),
            loading=loading.flatten(1)[None],
            variance=variance[None],
        )

    def decode(self, x: Tensor) -> Tensor:
        """What would be observed of states ``(..., d)`` without noise: ``(..., F)``."""
        if not self.latent:
            return x
        values = x @ self.readout.T
        return values + self.offset

    def _own_index(self, hurst: float | None, n_indices: int) -> None:
        """Keep the index as a number that is learned or given, of all coordinates or of each."""
        begin = 0.5 if hurst is None else hurst
        index = torch.full((n_indices,), begin, dtype=torch.float64)
        self._own("hurst_logit", index.logit(), free=hurst is None)

    def _own(self, name: str, value: Tensor, *, free: bool) -> None:
        """Keep a parameter that is learned, or a buffer."""
        value = value.to(torch.float64)
        if free:
            self.register_parameter(name, nn.Parameter(value))
        else:
            self.register_buffer(name, value)


def joined(matrices: Tensor) -> Tensor:
    """Matrices of coordinates ``(u, d, S, S)`` on the diagonal of ``(u, 1, dS, dS)``."""
    u, d, s, _ = matrices.shape
    eye = identity(d, matrices)
    blocks = torch.einsum("uist,ij->uisjt", matrices, eye)
    size = d * s
    return blocks.reshape(u, 1, size, size)
