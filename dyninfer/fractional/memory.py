"""A fractional diffusion as one equation: its state and the memory of its noise side by side."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dyninfer.fractional.gaussian.matrices import covariance_root
from dyninfer.fractional.process import FractionalDiffusion
from dyninfer.learning.random import subseed
from dyninfer.simulation.equation import Equation
from dyninfer.simulation.kind import Kind
from dyninfer.simulation.noise import PathNoise


@dataclass(frozen=True)
class Layout:
    """Where state, memory, and memory at time 0 lie in one row of numbers.

    Attributes
    ----------
    n_features : int
        ``d``.
    n_nodes : int
        ``K + 1``.
    has_origin : bool
        Whether ``Y(0)`` rides along, which a moving average of an index ``H(t)`` counts from.
    """

    n_features: int
    n_nodes: int
    has_origin: bool

    @classmethod
    def of(cls, process: FractionalDiffusion, n_features: int) -> Layout:
        """Layout of a process with ``n_features`` coordinates."""
        # The memory of kind II starts at 0, so it need not be remembered.
        has_origin = _turns(process) and process.noise.kind == "I"
        return cls(n_features, len(process.nodes), has_origin)

    def join(self, x: Tensor, y: Tensor, origin: Tensor) -> Tensor:
        """Rows ``(n, D)`` of state ``(n, d)``, memory and memory at time 0 ``(n, d, K + 1)``."""
        parts = [x, y.flatten(1)]
        if self.has_origin:
            parts.append(origin.flatten(1))
        return torch.cat(parts, dim=1)

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Undo :meth:`join`."""
        d = self.n_features
        shape = d, self.n_nodes
        memory_end = d + d * self.n_nodes
        x = rows[:, :d]
        of_memory = rows[:, d:memory_end]
        y = of_memory.unflatten(1, shape)
        if not self.has_origin:
            return x, y, torch.zeros_like(y)
        of_origin = rows[:, memory_end:]
        return x, y, of_origin.unflatten(1, shape)


@dataclass(frozen=True, kw_only=True)
class MemoryEquation(Equation):
    """The equation of ``(X, Y)``: one Brownian motion per coordinate drives both.

    ``dX = [b − s Σ_k w_k γ_k Y_k] dt + s ω̄ dW`` and ``dY_k = −γ_k Y_k dt + dW`` with
    ``ω̄ = Σ_k w_k`` (Daems et al., arXiv 2310.12975, Eq. 8), in the sense that the process is in. A
    moving average of an index ``H(t)`` adds ``s Σ_k w_k'(t) (Y_k − Y_k(0)) dt`` to the drift.
    """

    process: FractionalDiffusion
    layout: Layout

    @property
    def kind(self) -> Kind:
        """What a solver must be able to run."""
        if self.additive:
            return Kind.FRACTIONAL_ADDITIVE
        return Kind.FRACTIONAL_MULTIPLICATIVE


def memory_equation(process: FractionalDiffusion, n_features: int) -> MemoryEquation:
    """Equation of the state and memory of a process with ``n_features`` coordinates."""
    motion = Motion(process, n_features)
    return MemoryEquation(
        rates=motion.rates,
        amplitude=motion.amplitude,
        additive=process.additive,
        grows=False,
        parameters=tuple(process.parameters()),
        n_brownian=n_features,
        stratonovich=process.calculus == "stratonovich",
        process=process,
        layout=motion.layout,
    )


class Motion:
    """Velocity and amplitude of state and memory in one row; see :class:`MemoryEquation`."""

    def __init__(self, process: FractionalDiffusion, n_features: int):
        self.process = process
        self.n_features = n_features
        self.layout = Layout.of(process, n_features)

    def rates(self, t: Tensor, rows: Tensor) -> tuple[Tensor, None]:
        """Velocity ``(n, D)``; nothing grows."""
        process = self.process
        x, y, origin = self.layout.split(rows)
        w = self.weights_at(t).to(rows)
        decay = process.nodes.to(rows) * y
        recall = w * decay
        of_noise = -recall.sum(-1)
        if _turns(process):
            # The weights of a moving average change with time, of all of the past.
            turn = self._slope(t).to(rows)
            of_past = turn * (y - origin)
            of_noise = of_noise + of_past.sum(-1)
        drift = process.drift(t, x)
        driven = process.diffusion(t, x) * of_noise
        of_state = drift + driven
        at_rest = torch.zeros_like(origin)
        return self.layout.join(of_state, -decay, at_rest), None

    def amplitude(self, t: Tensor, rows: Tensor) -> Tensor:
        """Amplitude ``(n, D, d)``: a Brownian motion drives a coordinate, and all of its memory."""
        x, _, _ = self.layout.split(rows)
        weights = self.weights_at(t).to(rows)
        total_weight = weights.sum(-1)
        amplitude = self.process.diffusion(t, x)
        own = amplitude * total_weight
        of_state = torch.diag_embed(own.expand_as(x))
        eye = torch.eye(self.n_features, dtype=rows.dtype, device=rows.device)
        # Every node of a coordinate's memory moves with its Brownian motion.
        per_node = eye.repeat_interleave(self.layout.n_nodes, dim=0)
        of_memory = per_node.expand(len(rows), -1, -1)
        parts = [of_state, of_memory]
        if self.layout.has_origin:
            of_origin = torch.zeros_like(of_memory)
            parts.append(of_origin)
        return torch.cat(parts, dim=1)

    def weights_at(self, t: Tensor) -> Tensor:
        """Weights ``(d, K + 1)`` float64 at a scalar time."""
        if self.process.multifractional:
            (weights,) = self.process.weights(self.n_features, t[None])
            return weights
        return self._constant_weights

    @cached_property
    def _constant_weights(self) -> Tensor:
        return self.process.weights(self.n_features)

    def _slope(self, t: Tensor) -> Tensor:
        """Derivative in time of the weights ``(d, K + 1)``, without a gradient of its own."""
        t = t.detach().double()
        with torch.enable_grad():
            one = torch.ones_like(t)
            _, slope = torch.autograd.functional.jvp(self.weights_at, t, one)
        return slope.detach()


def prior_memory(process: FractionalDiffusion, x: Tensor, seed: int) -> Tensor:
    """Memory ``(n, d, K + 1)`` at the start: stationary for kind I, 0 for kind II.

    That of path ``i`` depends on ``(seed, i)`` alone.
    """
    n, d = x.shape
    n_nodes = len(process.nodes)
    if process.noise.kind == "II":
        return x.new_zeros(n, d, n_nodes)
    covariance = process.noise.stationary_covariance()
    factor = covariance_root(covariance).to(x)
    noise = PathNoise(
        subseed(seed, "memory"),
        n_steps=1,
        width=d * n_nodes,
        like=x.detach(),
    )
    (normals,) = noise.segment(range(n), 0)
    return normals.view(n, d, n_nodes) @ factor.T


def _turns(process: FractionalDiffusion) -> bool:
    """Whether the weights of all of the past change with time."""
    return process.multifractional and process.definition == "moving-average"
