"""Panels whose waiting times are nearly all different: pairs of observations, one by one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.jumps.likelihood.flat import FlatLabels
from dyninfer.jumps.likelihood.gaps import group_gaps
from dyninfer.jumps.likelihood.panel import crude_rates, neighbours
from dyninfer.jumps.likelihood.spectral import Spectrum
from dyninfer.jumps.process.chain import transition_matrix

# Transition probabilities of all waiting times together: beyond, they fill memory and not a cache.
_MOST_PROBABILITIES = 2**20
# Relative error of the chance of a pair beyond which it is computed with a matrix of its own.
_RELATIVE_ERROR = 1e-7
# Eigenvalues nearer than this, in jumps during the longest wait, count as one.
_ALIKE = 1e-5
_AT_ONCE = 2**20  # transition probabilities of rare pairs in memory at a time


@dataclass(frozen=True, eq=False)
class PanelPairs:
    """Pairs of neighbouring observations of labels that are never wrong.

    What :class:`~dyninfer.jumps.PanelCounts` says, without a matrix for every waiting time.

    Attributes
    ----------
    source, target : array ``(N,)`` int64
        The states of each pair.
    wait : array ``(N,)``
        Time between them.
    starts : Tensor, ``(S,)`` float64
        First observed states.
    """

    source: ndarray
    target: ndarray
    wait: ndarray
    starts: Tensor

    @classmethod
    def of(cls, paths: Paths, n_states: int) -> PanelPairs:
        """Read the pairs of discrete paths; missing states are passed over."""
        flat = FlatLabels.of(paths)
        no_codes = np.zeros(len(flat.labels), dtype=bool)
        source, target, wait, _ = neighbours(flat, no_codes)
        starts = flat.count_first(n_states)
        return cls(
            source=source,
            target=target,
            wait=wait,
            starts=torch.from_numpy(starts).double(),
        )

    @property
    def n_states(self) -> int:
        """Number of states S."""
        return len(self.starts)

    @property
    def n_observed(self) -> Tensor:
        """Number of pairs."""
        return torch.tensor(len(self.wait), dtype=torch.float64)

    @property
    def n_stays(self) -> Tensor:
        """Number of pairs of one state."""
        is_stay = self.source == self.target
        return torch.tensor(is_stay.sum(), dtype=torch.float64)

    @property
    def total_time(self) -> Tensor:
        """Sum of the waiting times."""
        return torch.tensor(self.wait.sum(), dtype=torch.float64)

    @property
    def is_cheaper(self) -> bool:
        """Whether a matrix for every distinct waiting time would take more than the pairs do."""
        gaps, _ = group_gaps(torch.from_numpy(self.wait))
        n_probabilities = len(gaps) * self.n_states**2
        return n_probabilities > _MOST_PROBABILITIES

    def crude_generator(self, jumps: Tensor | None = None, least: float = 0.0) -> Tensor:
        """Generator ``(S, S)`` as if states changed only when observed: a rough start.

        See :meth:`~dyninfer.jumps.PanelCounts.crude_generator`.
        """
        size = self.n_states
        place = self.source * size + self.target
        counts = np.bincount(place, minlength=size**2)
        transitions = torch.from_numpy(counts).double().reshape(size, size)
        times = np.bincount(self.source, weights=self.wait, minlength=size)
        longest = torch.tensor(self.wait.max(), dtype=torch.float64)
        return crude_rates(transitions, torch.from_numpy(times), longest, jumps, least)

    def log_likelihood(self, generator: Tensor) -> Tensor:
        """Log-likelihood ``()`` of a generator ``(S, S)``, given the first states."""
        value, _ = self.value_and_slope(generator.detach().numpy())
        return torch.tensor(value, dtype=torch.float64)

    def value_and_slope(self, generator: ndarray) -> tuple[float, ndarray]:
        """Log-likelihood, given the first states, and its slope in the entries ``(S, S)``.

        By eigenvectors, except for pairs so rare that those would not keep their digits.
        """
        spectrum = Spectrum.of(generator)
        if spectrum is None:
            return _by_matrices(generator, self)
        products = _Products(spectrum, self)
        chance = products.chance()
        is_rare = chance * _RELATIVE_ERROR < spectrum.error
        of_others = np.where(is_rare, 1.0, chance)
        log_likelihood = float(np.log(of_others).sum())
        slope = products.slope(~is_rare / of_others)
        if is_rare.any():
            of_rare, slope_of_rare = _by_matrices(generator, self[is_rare])
            log_likelihood += of_rare
            slope = slope + slope_of_rare
        return log_likelihood, slope

    def __getitem__(self, mask: ndarray) -> PanelPairs:
        """Some of the pairs."""
        return PanelPairs(
            source=self.source[mask],
            target=self.target[mask],
            wait=self.wait[mask],
            starts=self.starts,
        )


class _Products:
    r"""Chances of pairs as products of eigenvectors: one row of numbers a pair, and no matrix.

    With the spectrum :math:`Q = V \, \mathrm{diag}(w) \, V^{-1}`, the chance of a pair is
    :math:`\sum_k V_{ik} e^{t w_k} (V^{-1})_{kj}`.
    """

    def __init__(self, spectrum: Spectrum, pairs: PanelPairs):
        self.spectrum = spectrum
        self.wait = pairs.wait[:, None]
        self.left = spectrum.v[pairs.source]  # (N, S)
        self.right = spectrum.inverse.T[pairs.target]  # (N, S)
        self.e = np.exp(self.wait * spectrum.w)

    def chance(self) -> ndarray:
        """Transition probabilities ``(N,)`` of the pairs."""
        through = self.left * self.e
        chance = np.einsum("nk,nk->n", through, self.right)
        return np.maximum(chance.real, 0.0)

    def slope(self, weight: ndarray) -> ndarray:
        """Slope ``(S, S)`` in the generator of what has the slopes ``(N,)`` in the chances.

        :meth:`Spectrum.slope` with the sum over the pairs taken first: the divided differences of
        :math:`e^{t w}` are differences of two products.
        """
        w = self.spectrum.w
        left = self.left * weight[:, None]
        right = self.right
        late_left = left * self.e
        late_right = right * self.e
        difference = w[:, None] - w
        longest = self.wait.max(initial=0.0)
        is_alike = np.abs(difference) * longest < _ALIKE
        divisor = np.where(is_alike, 1.0, difference)
        total = (late_left.T @ right - left.T @ late_right) / divisor
        row, column = np.nonzero(is_alike)
        # The mean of the two is exact to second order in the difference.
        of_row = self.wait * late_left
        of_column = self.wait * late_right
        first = np.einsum("nk,nk->k", of_row[:, row], right[:, column])
        second = np.einsum("nk,nk->k", left[:, row], of_column[:, column])
        total[row, column] = (first + second) / 2
        slope = self.spectrum.inverse.T @ total @ self.spectrum.v.T
        return slope.real


def _by_matrices(generator: ndarray, pairs: PanelPairs) -> tuple[float, ndarray]:
    """Log-likelihood and slope by a matrix for every pair, all of whose digits are right."""
    q = torch.from_numpy(generator)
    n_together = max(1, _AT_ONCE // q.numel())
    log_likelihood = 0.0
    slope = np.zeros_like(generator)
    for first in range(0, len(pairs.wait), n_together):
        part = slice(first, first + n_together)
        q = q.detach().requires_grad_()
        wait = torch.from_numpy(pairs.wait[part])
        source = torch.from_numpy(pairs.source[part])
        target = torch.from_numpy(pairs.target[part])
        with torch.enable_grad():
            p = transition_matrix(q, wait)
            row = torch.arange(len(wait))
            total = p[row, source, target].log().sum()
            (of_part,) = torch.autograd.grad(total, q)
        log_likelihood += float(total.detach())
        slope += of_part.numpy()
    return log_likelihood, slope
