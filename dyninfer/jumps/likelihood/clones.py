"""Clones: individuals that descend from one ancestor and are each seen on their own, several at a time perhaps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.likelihood.observation import Emission


@dataclass(frozen=True, eq=False)
class ClonePaths:
    r"""Paths whose unseen common ancestors, one a clone, ties them together.

    .. math:: L_{clone} = \sum_a p_a \prod_{\text{paths of the clone}} L(\text{path} \mid x_{t_0} = a)

    All paths of a clone are in the same state at ``t_0``, the time of the ancestor, and go their own ways from there:
    given the ancestor's state they are independent. What sisters share after ``t_0`` is not modelled, nor that one
    state divides faster than another.

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
                "ancestor_time needs the clone of every path: give condition_key, the column of obs with the clones, "
                "or Paths(conditions=...)"
            )
        first = np.array([t[0] for t in paths.times])
        if first.min() < ancestor_time:
            early = paths.names[int(first.argmin())]
            raise ValueError(
                f"path {early!r} begins at {first.min():g}, before ancestor_time={ancestor_time:g}"
            )
        hidden = HiddenPaths.of(paths, begin=ancestor_time)
        names, clone = np.unique(paths.conditions.astype(str), return_inverse=True)
        return cls(hidden, torch.as_tensor(clone.reshape(-1), dtype=torch.int64), names)

    @property
    def n_observed(self) -> Tensor:
        """Number of observed values."""
        return self.hidden.n_observed

    def log_likelihood(self, generator: Tensor, emission: Emission, initial: Tensor) -> Tensor:
        """Log-likelihood of each clone ``(..., n_clones)``; ``initial`` ``(..., S)`` is the law of the ancestors."""
        return self._joint(generator, emission, initial).logsumexp(-2)

    def smooth(self, generator: Tensor, emission: Emission, initial: Tensor) -> Tensor:
        """Probability of every state at every time of a path given its whole clone ``(n, L, S)``."""
        with torch.no_grad():
            ancestor = self.ancestors(generator, emission, initial)
            given = self.hidden.smooth(generator, emission, _each(initial))[..., 1:, :]
            return torch.einsum("na,anls->nls", ancestor[self.clone], given)

    def viterbi(
        self, generator: Tensor, emission: Emission, initial: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Likeliest states at the observed times ``(n, L)``, their ancestors' with them, and the log-probability.

        The latter is that of each clone ``(n_clones,)``.
        """
        with torch.no_grad():
            found = [self.hidden.viterbi(generator, emission, law) for law in _each(initial)]
            value = self._per_clone(torch.stack([v for _, v in found])) + initial.log()[:, None]
            best, ancestor = value.max(0)
            states = torch.stack([x for x, _ in found])[:, :, 1:]
            return states[ancestor[self.clone], torch.arange(states.shape[1])], best

    def ancestors(self, generator: Tensor, emission: Emission, initial: Tensor) -> Tensor:
        """Probability ``(..., n_clones, S)`` of the state of every clone's ancestor, given all its paths."""
        return self._joint(generator, emission, initial).softmax(-2).transpose(-1, -2)

    def per_path(self, of_clones: Tensor) -> Tensor:
        """Numbers of clones ``(n_clones,)`` shared out evenly between their paths ``(n,)``."""
        return (of_clones / torch.bincount(self.clone, minlength=len(self.names)))[self.clone]

    def _joint(self, generator: Tensor, emission: Emission, initial: Tensor) -> Tensor:
        """Log-probability ``(..., S, n_clones)`` of each ancestor's state and the clone."""
        wide = type(emission)(
            **{name: value.unsqueeze(-3) for name, value in vars(emission).items()}
        )
        given = self.hidden.log_likelihood(generator[..., None, :, :], wide, _each(initial))
        return self._per_clone(given) + initial.to(given).log()[..., None]

    def _per_clone(self, of_paths: Tensor) -> Tensor:
        """Sums ``(..., n_clones)`` of numbers of paths ``(..., n)``."""
        total = of_paths.new_zeros(*of_paths.shape[:-1], len(self.names))
        return total.index_add(-1, self.clone.to(of_paths.device), of_paths)


def _each(initial: Tensor) -> Tensor:
    """Laws ``(S, S)`` that are certain of one state each."""
    return torch.eye(initial.shape[-1], dtype=torch.float64, device=initial.device)
