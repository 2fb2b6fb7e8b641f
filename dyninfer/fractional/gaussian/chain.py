"""A Gaussian chain ``z' = Φ z + N ε``, and what is observed of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dyninfer.fractional.gaussian.matrices import covariance_root


class Start(NamedTuple):
    """Distribution of the chain at its first time: mean ``(G, S)``, covariance ``(G, S, S)``."""

    mean: Tensor
    covariance: Tensor


class Chain(NamedTuple):
    """``z_0 = m + N_0 ε_0`` and ``z_{n+1} = Φ_n z_n + N_n ε_{n+1}`` with ``ε ~ N(0, I)``.

    Attributes
    ----------
    mean : Tensor, ``(G, S)``
        ``m``.
    start_root : Tensor, ``(G, S, r)``
        ``N_0``.
    transition : Tensor, ``(L − 1, P or 1, G, S, S)``
        ``Φ_n``.
    root : Tensor, ``(L − 1, P or 1, G, S, r)``
        ``N_n``.
    """

    mean: Tensor
    start_root: Tensor
    transition: Tensor
    root: Tensor

    @classmethod
    def of(cls, start: Start, transition: Tensor, noise: Tensor, gap: Tensor) -> Chain:
        """Chain from the transitions and covariances ``(u, G, S, S)`` of every distinct gap.

        ``gap`` ``(P or 1, L − 1)`` says which of them lies between two times.
        """
        root = covariance_root(noise)
        return cls(
            mean=start.mean,
            start_root=covariance_root(start.covariance),
            transition=pick(transition, gap),
            root=pick(root, gap),
        )

    def first(self, n_steps: int) -> Chain:
        """The chain of the first steps alone."""
        return self._replace(
            transition=self.transition[:n_steps],
            root=self.root[:n_steps],
        )


@dataclass(frozen=True)
class Observations:
    """What is observed of ``P`` chains at ``L`` times: ``o = C z + N(0, R)``, with gaps.

    Attributes
    ----------
    values : Tensor, ``(P, L, G, p)``
        0 where nothing was observed.
    mask : Tensor of bool, ``(P or 1, L, G, p)``
    loading : Tensor, ``(G, p, S)``
        ``C``.
    variance : Tensor, ``(G, p)``
        Diagonal of ``R``.
    """

    values: Tensor
    mask: Tensor
    loading: Tensor
    variance: Tensor

    def at(self, n: int) -> _AtOneTime:
        """What is observed at time ``n``.

        A missing value has loading 0 and variance 1, so that it carries no information.
        """
        mask = self.mask[:, n]
        n_observed = mask.sum(-1)
        return _AtOneTime(
            values=self.values[:, n] * mask,
            loading=self.loading * mask.unsqueeze(-1),
            variance=torch.where(mask, self.variance, 1),
            n_observed=n_observed.to(self.loading),
        )

    def information(self) -> tuple[Tensor, Tensor]:
        """``C'R⁻¹C`` ``(L, P or 1, G, S, S)`` and ``C'R⁻¹o`` ``(L, P, G, S)`` at every time."""
        loading = self.loading
        # A missing value has precision 0.
        precision = self.mask / self.variance
        weighted = precision * self.values
        information = torch.einsum("gpi,nlgp,gpj->lngij", loading, precision, loading)
        slope = torch.einsum("gpi,nlgp->lngi", loading, weighted)
        return information, slope


class _AtOneTime(NamedTuple):
    """Observations of all chains at one time."""

    values: Tensor  # (P, G, p)
    loading: Tensor  # (P or 1, G, p, S)
    variance: Tensor  # (P or 1, G, p)
    n_observed: Tensor  # (P or 1, G)


def pick(table: Tensor, gap: Tensor) -> Tensor:
    """The rows ``gap`` ``(P or 1, L)`` of a table ``(u, …)``, time first: ``(L, P or 1, …)``."""
    if len(table) == 1:
        # One row for all needs no copies.
        n_times = gap.shape[1]
        row_shape = table.shape[1:]
        return table.unsqueeze(0).expand(n_times, 1, *row_shape)
    return table[gap.T]
