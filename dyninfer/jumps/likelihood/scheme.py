"""Which jumps may happen, and how their rates hang together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class RateScheme:
    """Log-rates of the allowed jumps as a linear function of parameters, ``log Q_e = design θ + offset``.

    Covers free rates, patterns of zeros, detailed balance, tied rates, and rates that follow an energy.

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
    def free(cls, allowed: int | Tensor) -> RateScheme:
        """Every allowed jump has a rate of its own: of all ``S`` states, or where a mask ``(S, S)`` is true."""
        edges = _edges(allowed)
        size = allowed if isinstance(allowed, int) else len(allowed)
        eye = torch.eye(len(edges), dtype=torch.float64)
        return cls(size, edges, eye, torch.zeros(len(edges), dtype=torch.float64))

    @classmethod
    def birth_death(cls, n_states: int) -> RateScheme:
        """Jumps between neighbouring states only."""
        i = torch.arange(n_states)
        return cls.free((i[:, None] - i).abs() == 1)

    @classmethod
    def reversible(cls, allowed: int | Tensor) -> RateScheme:
        """Detailed balance: ``log Q_ij = s_ij + (f_j − f_i) / 2`` with symmetric ``s``, and ``π_i ∝ e^{f_i}``.

        Parameters are ``s`` of every pair ``i < j``, then ``f_1 ... f_{S−1}`` (``f_0 = 0``).

        Raises
        ------
        ValueError
            If a jump is allowed one way only.
        """
        base = cls.free(allowed)
        pairs = sorted({tuple(sorted(edge)) for edge in base.edges.tolist()})
        if 2 * len(pairs) != len(base.edges):
            raise ValueError(
                "allowed has a jump without its reverse, which detailed balance forbids"
            )
        design = torch.zeros(len(base.edges), len(pairs) + base.n_states, dtype=torch.float64)
        for row, (i, j) in zip(design, base.edges.tolist(), strict=True):
            row[pairs.index((min(i, j), max(i, j)))] = 1.0
            row[len(pairs) + i], row[len(pairs) + j] = -0.5, 0.5
        kept = [c for c in range(design.shape[1]) if c != len(pairs)]
        return cls(base.n_states, base.edges, design[:, kept], base.offset)

    @property
    def n_parameters(self) -> int:
        """Number of parameters p."""
        return self.design.shape[1]

    @property
    def allowed(self) -> Tensor:
        """Mask ``(S, S)`` of the allowed jumps."""
        mask = torch.zeros(self.n_states, self.n_states, dtype=torch.bool)
        mask[self.edges[:, 0], self.edges[:, 1]] = True
        return mask

    def log_rates(self, theta: Tensor) -> Tensor:
        """Log-rates ``(..., E)`` of parameters ``(..., p)``."""
        return theta @ self.design.T.to(theta) + self.offset.to(theta)

    def generator(self, theta: Tensor) -> Tensor:
        """Generators ``(..., S, S)`` of parameters ``(..., p)``."""
        size = self.n_states
        place = torch.zeros(len(self.edges), size, size, dtype=theta.dtype, device=theta.device)
        row = torch.arange(len(self.edges))
        place[row, self.edges[:, 0], self.edges[:, 1]] = 1.0
        place[row, self.edges[:, 0], self.edges[:, 0]] -= 1.0
        rates = self.log_rates(theta).exp() @ place.flatten(1)
        return rates.reshape(*theta.shape[:-1], size, size)

    def parameters_of(self, generator: Tensor) -> Tensor:
        """Parameters ``(..., p)`` whose log-rates come closest to those of a generator, by least squares.

        Raises
        ------
        ValueError
            If an allowed jump has rate 0 there.
        """
        rates = generator[..., self.edges[:, 0], self.edges[:, 1]]
        if not bool((rates > 0).all()):
            raise ValueError(
                "start must have a positive rate for every allowed jump; a tiny one will do"
            )
        solve = torch.linalg.pinv(self.design).to(rates)
        return (rates.log() - self.offset.to(rates)) @ solve.T


def _edges(allowed: int | Tensor) -> Tensor:
    mask = (
        torch.ones(allowed, allowed, dtype=torch.bool)
        if isinstance(allowed, int)
        else allowed.bool().cpu()
    )
    if mask.ndim != 2 or mask.shape[0] != mask.shape[1]:
        raise ValueError(
            f"allowed must be a number of states or a mask (S, S), got shape {tuple(mask.shape)}"
        )
    edges = (mask & ~torch.eye(len(mask), dtype=torch.bool)).nonzero()
    if len(edges) == 0:
        raise ValueError("allowed holds no jump; allow at least one between two different states")
    return edges
