"""The linear part of a model whose Hurst index is a function of time."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from dyninfer.fractional import MarkovApproximation
from dyninfer.fractional.gaussian.linear import stationary_memory
from dyninfer.fractional.gaussian.matrices import covariance_root
from dyninfer.fractional.inference.memory_steps import MemorySteps
from dyninfer.fractional.inference.prior import LARGEST_LOGIT, Bounds, LinearPrior, joined
from dyninfer.fractional.inference.series import Series
from dyninfer.fractional.inference.steps import (
    Moves,
    StepTable,
    memory_unit,
    shares_times,
    stacked_rows,
)
from dyninfer.fractional.noise.interpolation import weights_of_many
from dyninfer.fractional.noise.multifractional import weighted_covariance
from dyninfer.fractional.stepper import noise_factors
from dyninfer.learning.warn import warn

# Steps in a gap by which a linear drift acts: at θh = 1 they err by a quarter of a per cent.
_STEPS = 4
# Indices from which on weights are interpolated: every step of a search asks for them.
_FEW_INDICES = 16
# Logarithm of how far the unit may lie beyond the gaps and the horizon of the data.
_FURTHEST_UNIT = 7.0
# Relaxation θh within a step from which on the midpoint of the drift is far off.
_COARSE = 0.5


class ChangingPrior(LinearPrior):
    r"""``dX = (a − θ X) dt + dN`` with ``N(t) = A Σ_k w_k(H(t)) (Y_k(t) − Y_k(0))`` in units ``u``.

    The multifractional moving average (Peltier & Lévy Véhel, INRIA RR-2645, 1995), counted from the
    first time of each path. Its unit of time ``u`` is learned beside the amplitude ``A``: moves
    over ``u`` are equally large at all times, and with another unit the same motion would need an
    amplitude that changes. So the model is the same in seconds and in days.

    Without a linear drift its steps are exact. A linear drift acts at the middle of each of a few
    steps between two times, ``x' = e^{−θh} x + e^{−θh/2} ΔN``.

    The chain holds, of each coordinate, ``X``, the Brownian motion and the memory, and for noise of
    kind I the memory at the start beside it.

    Parameters
    ----------
    noise : MarkovApproximation
    n_states, n_features : int
    index : PiecewiseIndex or OwnIndex
    **settings
        Those of :class:`LinearPrior`.
    """

    logit_name = "index.logits"
    changes = True
    log_unit: Tensor

    def __init__(
        self,
        noise: MarkovApproximation,
        n_states: int,
        n_features: int,
        *,
        index: Any,
        **settings: Any,
    ):
        super().__init__(noise, n_states, n_features, hurst=None, shared=True, **settings)
        self.index: Any = index
        zero = torch.zeros(())
        self._own("log_unit", zero, free=True)

    def _own_index(self, hurst: float | None, n_indices: int) -> None:
        """The index is a module, which comes after all parameters."""

    @property
    def index_names(self) -> list[str]:
        """Names of the parameters that the index is made of."""
        names = []
        for name, parameter in self.index.named_parameters():
            if parameter.requires_grad:
                names.append(f"index.{name}")
        return names

    @property
    def hurst(self) -> Tensor:
        """The index at the times where it is shown, ``(m,)``."""
        return self.index(self.index.moments)

    @property
    def scale(self) -> Tensor:
        """``A``: ``(d,)``."""
        return self.log_amplitude.exp()

    @property
    def unit(self) -> Tensor:
        """``u``, in the unit of the data's times."""
        return self.tau * self.log_unit.exp()

    @property
    def n_steps(self) -> int:
        """Steps of exact inference between two times."""
        return _STEPS if self.drift_kind == "linear" else 1

    @property
    def n_memory(self) -> int:
        """Memory of every coordinate, with the Brownian motion, and with the start of kind I."""
        return len(self._memory_unit)

    def law_of_noise(self, per_dimension: bool) -> dict[str, Any]:
        """What a process needs to know of the index."""
        return {"hurst": self.index, "unit": float(self.unit)}

    def bounds(self) -> dict[str, Bounds]:
        """Where the likelihood may look; see :meth:`LinearPrior.bounds`."""
        n_short = self.noise.horizon / self.tau
        own: dict[str, Bounds] = {
            self.logit_name: (-LARGEST_LOGIT, LARGEST_LOGIT),
            "log_unit": (-_FURTHEST_UNIT, math.log(n_short) + _FURTHEST_UNIT),
        }
        return super().bounds() | own

    def weights_at(self, times: Tensor) -> Tensor:
        """Weights of the memory at times ``(m,)``, ``(m, K + 1)``."""
        index = self.index(times)
        weights = weights_of_many(self.noise, index, least=_FEW_INDICES)
        per_unit = self.unit**-index
        return weights * per_unit.unsqueeze(-1)

    def has_one_factor(self, series: Series) -> bool:
        """Whether one covariance of the observations, in closed form, serves all paths."""
        has_one_row = len(series.gap) == 1
        # A drift that leads back would make integrals of the weights, which have no closed form.
        is_closed = self.drift_kind != "linear" and not self.latent
        return is_closed and has_one_row and shares_times(series)

    def state_covariance(self, times: Tensor) -> Tensor:
        """Covariance of the state at increasing times, without a linear drift: ``(d, L, L)``."""
        weights = self.weights_at(times)
        motion = weighted_covariance(self.noise, times - times[0], weights)
        square = self.scale.square()[:, None, None]
        start = (2 * self.log_start).exp()
        return start[:, None, None] + square * motion

    def steps(self, series: Series) -> StepTable:
        """Steps of the groups, and which of them lies between two times."""
        moves = Moves.of(series)
        factor = noise_factors(self.noise.nodes, series.gaps)
        exponent = -moves.length.unsqueeze(1) * self.rate
        stay = exponent.exp()
        # As if all of the noise came in the middle of the step.
        to_end = (0.5 * exponent).exp()
        transition, root = self._rows(moves, factor, stay, to_end)
        noise = root @ root.mT
        if self.latent:
            transition = joined(transition)
            noise = joined(noise)
        return StepTable(transition, noise, moves.number)

    def euler(self, series: Series, memory: MemorySteps) -> StepTable:
        """Steps whose drift follows Euler's rule; see :meth:`LinearPrior.euler`."""
        moves = Moves.of(series)
        stay = 1 - moves.length.unsqueeze(1) * self.rate
        to_end = torch.ones_like(stay)
        transition, root = self._rows(moves, memory.factor, stay, to_end)
        return StepTable(transition, root, moves.number)

    def memory_covariance(self) -> Tensor:
        """Covariance of the scaled memory at the start, ``(M, M)``."""
        stationary = stationary_memory(self.noise.nodes, self.noise.kind)
        root = self.memory_root(covariance_root(stationary))
        return root @ root.mT

    def memory_root(self, stationary: Tensor) -> Tensor:
        """Its root ``(M, r)``: the Brownian motion is 0, and the start is that of the memory."""
        n_still = self.noise.first_memory
        parts = [stationary.new_zeros(n_still, stationary.shape[1]), stationary]
        if self._has_origin:
            parts.append(stationary)
        return torch.cat(parts)

    def warn_if_coarse(self, gaps: Tensor) -> None:
        """Warn where a linear drift leads back within a step of the inference."""
        if self.drift_kind != "linear" or len(gaps) == 0:
            return
        longest = float(gaps.max()) / self.n_steps
        fastest = float(self.rate.detach().max())
        if fastest * longest > _COARSE:
            warn(
                f"the state relaxes within {1 / fastest:.3g}, and the longest gap is "
                f"{float(gaps.max()):.3g}: with an index that changes, a linear drift is worked "
                "out in quarters of a gap, which are too long here; observe more often, or fit a "
                "constant index",
                UserWarning,
            )

    @property
    def _has_origin(self) -> bool:
        # The memory of kind II starts at 0, so it need not be remembered.
        return self.noise.kind == "I"

    @property
    def _memory_unit(self) -> Tensor:
        """What memory ``(M,)`` is multiplied by, so that its deviation is about one."""
        of_memory = memory_unit(self.noise.memory_rates)
        n_still = self.noise.first_memory
        per_root_horizon = self.noise.horizon**-0.5
        parts = [of_memory.new_full((n_still,), per_root_horizon), of_memory]
        if self._has_origin:
            parts.append(of_memory)
        return torch.cat(parts)

    def _rows(
        self, moves: Moves, factor: Tensor, stay: Tensor, to_end: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``Φ`` ``(u, d, S, S)`` and root ``(u, d, S, r)`` of moves, from the memory's factors.

        The state keeps the share ``stay`` ``(u, d)`` of itself, and the share ``to_end`` of what
        the noise adds to it.
        """
        nodes = self.noise.nodes
        first = self.noise.first_memory
        end = moves.begin + moves.length
        weights = self.weights_at(torch.cat([moves.begin, end]))
        before, after = weights.chunk(2)
        decay = torch.exp(-moves.length.unsqueeze(1) * nodes)
        # ΔN = Σ_k w_k(t + h) (Y_k(t + h) − Y_k(0)) − Σ_k w_k(t) (Y_k(t) − Y_k(0)).
        # What the memory keeps counts with the weights of the end, and what it was with the old.
        pulls = [after * decay - before]
        decays = [decay]
        kicks = [factor[moves.gap]]
        if self._has_origin:
            # The memory at the start stays as it is, and is weighed anew by every step.
            turn = (before - after)[:, first:]
            pulls.append(turn)
            decays.append(torch.ones_like(turn))
            of_memory = kicks[0][:, first:]
            kicks.append(torch.zeros_like(of_memory))
        unit = self._memory_unit
        share = self.scale * to_end
        pull = share.unsqueeze(-1) * (torch.cat(pulls, dim=1) / unit).unsqueeze(1)
        first_row = torch.cat([stay.unsqueeze(-1), pull], dim=-1)
        with_state = pad(torch.cat(decays, dim=1), (1, 0))
        transition = stacked_rows(first_row, with_state.diag_embed()[:, 1:])
        kick = after.unsqueeze(1) @ kicks[0]
        of_state = share.unsqueeze(-1) * kick
        memory = unit.unsqueeze(1) * torch.cat(kicks, dim=1)
        return transition, stacked_rows(of_state, memory)
