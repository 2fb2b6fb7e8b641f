"""Which jumps may happen, and how their rates hang together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dyninfer.jumps.process.chain import is_diagonal


@dataclass(frozen=True, eq=False)
class RateScheme:
    """Log-rates of the allowed jumps, linear in parameters: ``log Q = design θ + offset``.

    Covers free rates, patterns of zeros, detailed balance, tied rates, and rates that follow an
    energy.

    Parameters
    ----------
    n_states : int
        Number of states S.
    edges : Tensor, ``(E, 2)`` int64
        Allowed jumps, from and to.
    design : Tensor, ``(E, p)`` float64
        Log-rates by parameter.
    offset : Tensor, ``(E,)`` float64
        Log-rates where all parameters are 0.
    """

    n_states: int
    edges: Tensor
    design: Tensor
    offset: Tensor

    @classmethod
    def free(cls, jumps: int | Tensor) -> RateScheme:
        """Every allowed jump has a rate of its own.

        ``jumps`` is the number of states, or a mask ``(S, S)`` of the jumps that may happen.
        """
        mask = _as_mask(jumps)
        edges = mask.nonzero()
        design = torch.eye(len(edges), dtype=torch.float64)
        offset = torch.zeros(len(edges), dtype=torch.float64)
        return cls(len(mask), edges, design, offset)

    @classmethod
    def birth_death(cls, n_states: int) -> RateScheme:
        """Jumps between neighbouring states only."""
        state = torch.arange(n_states)
        distance = (state[:, None] - state).abs()
        return cls.free(distance == 1)

    @classmethod
    def reversible(cls, jumps: int | Tensor) -> RateScheme:
        """Detailed balance: ``log Q_ij = s_ij + (f_j − f_i) / 2`` with symmetric ``s``.

        Then ``π_i ∝ exp(f_i)``. The parameters are ``s`` of every pair ``i < j``, then
        ``f_1 ... f_{S−1}``; ``f_0`` is 0.

        Raises
        ------
        ValueError
            If a jump is allowed one way only.
        """
        mask = _as_mask(jumps)
        if not torch.equal(mask, mask.T):
            raise ValueError("jumps has one without its reverse, which detailed balance forbids")
        free = cls.free(mask)
        source, target = free.edges.T
        # Both jumps of a pair of states share its number.
        lower = torch.minimum(source, target)
        higher = torch.maximum(source, target)
        name = lower * len(mask) + higher
        _, pair = name.unique(return_inverse=True)
        symmetric = one_hot(pair).double()
        of_source = one_hot(source, len(mask)).double()
        of_target = one_hot(target, len(mask)).double()
        difference = of_target - of_source
        # Only differences of f count, so that of the first state is left out.
        half_difference = difference[:, 1:] / 2
        design = torch.cat([symmetric, half_difference], dim=1)
        return replace(free, design=design)

    @property
    def n_edges(self) -> int:
        """Number of allowed jumps E."""
        return len(self.edges)

    @property
    def n_parameters(self) -> int:
        """Number of parameters p."""
        return self.design.shape[1]

    @property
    def allowed(self) -> Tensor:
        """Mask ``(S, S)`` of the allowed jumps."""
        of_edges = torch.ones(self.n_edges, dtype=torch.bool, device=self.edges.device)
        return self.matrix(of_edges)

    def to(self, device: torch.device | str) -> RateScheme:
        """The same on another device, where a fit then sends nothing in a step."""
        return replace(
            self,
            edges=self.edges.to(device),
            design=self.design.to(device),
            offset=self.offset.to(device),
        )

    def log_rates(self, theta: Tensor) -> Tensor:
        """Log-rates ``(..., E)`` of parameters ``(..., p)``."""
        design = self.design.to(theta)
        offset = self.offset.to(theta)
        return theta @ design.T + offset

    def generator(self, theta: Tensor) -> Tensor:
        """Generators ``(..., S, S)`` of parameters ``(..., p)``."""
        rates = self.log_rates(theta).exp()
        placement = self._placement(theta)
        flat = rates @ placement.flatten(1)
        return flat.unflatten(-1, placement.shape[1:])

    def matrix(self, of_edges: Tensor) -> Tensor:
        """Matrices ``(..., S, S)`` of numbers of the allowed jumps ``(..., E)``, elsewhere 0."""
        batch = of_edges.shape[:-1]
        source, target = self.edges.T
        full = of_edges.new_zeros(*batch, self.n_states, self.n_states)
        full[..., source, target] = of_edges
        return full

    def parameters_of(self, generator: Tensor) -> Tensor:
        """Parameters ``(..., p)`` whose log-rates are nearest to a generator's, by least squares.

        Raises
        ------
        ValueError
            If an allowed jump has rate 0 there.
        """
        source, target = self.edges.T
        rates = generator[..., source, target]
        is_positive = rates > 0
        if not bool(is_positive.all()):
            raise ValueError(
                "start must have a positive rate for every allowed jump; a tiny one will do"
            )
        # A pseudo-inverse: where rates are tied, no parameters may fit them all.
        inverse = torch.linalg.pinv(self.design).to(rates)
        log_rates = rates.log() - self.offset.to(rates)
        return log_rates @ inverse.T

    def _placement(self, like: Tensor) -> Tensor:
        """What a unit rate of each jump adds to a generator ``(E, S, S)``."""
        # A product with this matrix is differentiable and several times faster than scattering.
        place = like.new_zeros(self.n_edges, self.n_states, self.n_states)
        row = torch.arange(self.n_edges, device=self.edges.device)
        source, target = self.edges.T
        place[row, source, target] = 1.0
        place[row, source, source] = -1.0
        return place


def _as_mask(jumps: int | Tensor) -> Tensor:
    """Mask ``(S, S)`` without the diagonal, which is no jump."""
    if isinstance(jumps, int):
        mask = torch.ones(jumps, jumps, dtype=torch.bool)
    else:
        mask = jumps.bool().cpu()
    if mask.ndim != 2 or mask.shape != mask.T.shape:
        raise ValueError(
            f"jumps must be a number of states or a mask (S, S), got shape {tuple(mask.shape)}"
        )
    mask = mask & ~is_diagonal(mask)
    if not bool(mask.any()):
        raise ValueError("jumps holds none; allow at least one between two different states")
    return mask
