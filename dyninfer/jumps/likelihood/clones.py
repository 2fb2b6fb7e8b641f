"""Clones: individuals that descend from one ancestor and are each observed on their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.data.times import Clock
from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.likelihood.observation import Emission
from dyninfer.jumps.process.chain import identity
from dyninfer.learning.settings import brief


@dataclass(frozen=True, eq=False)
class ClonePaths:
    r"""Paths tied together by common ancestors that were never observed, one a clone.

    .. math:: L_{clone} = \sum_a p_a \prod_{\text{paths of it}} L(\text{path} \mid x_{t_0} = a)

    All paths of a clone are in the same state at ``t_0``, the time of the ancestor, and go their
    own ways from there: given the ancestor's state they are independent. What sisters share after
    ``t_0`` is not modelled, nor that one state divides faster than another.

    Parameters
    ----------
    hidden : HiddenPaths
        The paths, each with an unobserved value at ``t_0`` before its own.
    clone : Tensor, ``(n,)`` int64
        Clone of every path, from 0.
    names : array ``(n_clones,)``
        Names of the clones.
    """

    hidden: HiddenPaths
    clone: Tensor
    names: np.ndarray

    @classmethod
    def of(cls, paths: Paths, ancestor_time: float) -> ClonePaths:
        """Prepare paths, whose ``conditions`` name their clones, once for many likelihoods.

        Raises
        ------
        ValueError
            If the paths name no clones, or one begins before its ancestor.
        """
        if paths.conditions is None:
            raise ValueError(
                "Clones needs the clone of every path: give condition_key, the column of obs with "
                "the clones, or Paths(conditions=...)"
            )
        begins = [float(times[0]) for times in paths.times]
        begin = min(begins)
        if _is_before(begin, ancestor_time, paths):
            earliest = paths.names[begins.index(begin)]
            raise ValueError(
                f"path {brief(earliest)} begins at {begin:g}, before the "
                f"ancestor_time={ancestor_time:g}"
            )
        # The earlier of the two, where they differ by rounding: no cell waits a negative time.
        hidden = HiddenPaths.of(paths, begin=min(begin, ancestor_time))
        labels = paths.conditions.astype(str)
        names, clone = np.unique(labels, return_inverse=True)
        return cls(hidden, torch.as_tensor(clone).long(), names)

    @property
    def device(self) -> torch.device:
        """Where the paths are."""
        return self.hidden.device

    def to(self, device: torch.device | str) -> ClonePaths:
        """The same on another device."""
        return ClonePaths(self.hidden.to(device), self.clone.to(device), self.names)

    @property
    def n_observed(self) -> Tensor:
        """Number of observed values."""
        return self.hidden.n_observed

    def log_likelihood(self, generator: Tensor, emission: Emission, initial: Tensor) -> Tensor:
        """Log-likelihood of each clone ``(..., n_clones)``.

        ``initial`` ``(..., S)`` is the distribution of the ancestors.
        """
        joint = self._joint(generator, emission, initial)
        return joint.logsumexp(-2)

    @torch.no_grad()
    def smooth(self, generator: Tensor, emission: Emission, initial: Tensor) -> Tensor:
        """Probability of every state at every time, given the whole clone ``(n, L, S)``."""
        # P(x | all) = Σ_a P(a | all) P(x | a, own path): given a the other paths say nothing more.
        ancestor = self.ancestors(generator, emission, initial)
        given_ancestor = self.hidden.smooth(generator, emission, _certain(initial))
        of_path = ancestor[self.clone]
        smoothed = torch.einsum("na,anls->nls", of_path, given_ancestor)
        return smoothed[:, 1:]

    @torch.no_grad()
    def viterbi(
        self, generator: Tensor, emission: Emission, initial: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Most probable states at the observed times, together with those of the ancestors.

        Returns
        -------
        states : Tensor, ``(n, L)`` int64
            States of the paths.
        log_probability : Tensor, ``(n_clones,)``
            Of them, of the ancestors and of the data.
        """
        # Given the ancestor's state, paths are independent: each is maximised alone.
        states, values = self.hidden.viterbi(generator, emission, _certain(initial))
        of_clones = self._per_clone(values)
        log_initial = initial.log().unsqueeze(1)
        best, ancestor = (of_clones + log_initial).max(0)
        of_path = ancestor[self.clone]
        every_path = torch.arange(len(of_path), device=of_path.device)
        return states[of_path, every_path, 1:], best

    def ancestors(self, generator: Tensor, emission: Emission, initial: Tensor) -> Tensor:
        """Probability ``(..., n_clones, S)`` of the ancestor's state, given its whole clone."""
        joint = self._joint(generator, emission, initial)
        return joint.softmax(-2).mT

    def per_path(self, of_clones: Tensor) -> Tensor:
        """Numbers of clones ``(n_clones,)`` shared out evenly between their paths ``(n,)``."""
        n_clones = len(self.names)
        n_paths = torch.bincount(self.clone, minlength=n_clones)
        share = of_clones / n_paths
        return share[self.clone]

    def _joint(self, generator: Tensor, emission: Emission, initial: Tensor) -> Tensor:
        """Log-probability ``(..., S, n_clones)`` of the ancestor's state and the clone."""
        # One more dimension, before those of a single model: the state of the ancestor.
        emission = emission.map(_for_ancestors)
        generator = _for_ancestors(generator)
        of_paths = self.hidden.log_likelihood(generator, emission, _certain(initial))
        of_clones = self._per_clone(of_paths)
        log_initial = initial.to(of_clones).log()
        return of_clones + log_initial.unsqueeze(-1)

    def _per_clone(self, of_paths: Tensor) -> Tensor:
        """Sums ``(..., n_clones)`` of numbers of paths ``(..., n)``."""
        batch = of_paths.shape[:-1]
        total = of_paths.new_zeros(*batch, len(self.names))
        clone = self.clone.to(of_paths.device)
        return total.index_add(-1, clone, of_paths)


def _is_before(begin: float, ancestor_time: float, paths: Paths) -> bool:
    """Whether a path begins before its ancestor lived, by more than rounding."""
    times = np.concatenate(paths.times)
    every_time = np.append(times, ancestor_time)
    # Exact comparison would refuse 0.3 beside 0.1 * 3. A clock is ascending, and rounding is one
    # time on it.
    clock = Clock.of(every_time)
    first, at_ancestor = clock.positions([begin, ancestor_time])
    return bool(first < at_ancestor)


def _for_ancestors(tensor: Tensor) -> Tensor:
    """The same numbers ``(..., 1, S, k)`` for every state of the ancestor."""
    return tensor.unsqueeze(-3)


def _certain(initial: Tensor) -> Tensor:
    """Distributions ``(S, S)`` that are certain of one state each."""
    return identity(initial.double())
