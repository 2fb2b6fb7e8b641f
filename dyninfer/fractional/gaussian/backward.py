r"""The backward filter: what all later observations say about the noise of every step.

The log-likelihood of what is observed from time ``n`` on is ``−½ z'Λ_n z + η_n'z`` and a constant.
Before a step ``z' = Φ z + N ε``, with ``V = (I + N'ΛN)^{−1}``,

.. math:: Λ_n = Φ'(Λ − ΛN V N'Λ)Φ + C'R^{-1}C, \qquad η_n = Φ'(I − ΛN V N') η + C'R^{-1}o,

and given the future the noise of the step is ``ε ~ N(V N'(η − Λ z̄), V)``, where the step ends at
``z̄`` without it. Precisions depend on times alone, so they are computed once for all paths that
share theirs; the slopes ``η`` follow for every path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dyninfer.fractional.gaussian.chain import Chain
from dyninfer.fractional.gaussian.matrices import (
    apply,
    cholesky,
    half_log_determinant,
    identity,
)
from dyninfer.fractional.gaussian.precisions import precisions_of
from dyninfer.fractional.gaussian.recursion import follow


class ConditionalNoise(NamedTuple):
    """Noise ``ε ~ N(G η − D z̄, T T')`` of steps, given all that is observed from their ends on.

    Attributes
    ----------
    spread : Tensor, ``(n, P or 1, G, r, r)``
        ``T``, with ``T T' = V``.
    gain : Tensor, ``(n, P or 1, G, r, S)``
        ``G = V N'``.
    back : Tensor, ``(n, P or 1, G, r, S)``
        ``D = G Λ``.
    cost : Tensor, ``(P or 1,)``
        ``½ log det V``, summed over steps and groups.
    """

    spread: Tensor
    gain: Tensor
    back: Tensor
    cost: Tensor

    @classmethod
    def of(cls, root: Tensor, precision: Tensor) -> ConditionalNoise:
        """The noise of steps with roots ``N`` that end at times with the precision ``Λ``."""
        # V⁻¹ = L L', so T = L'⁻¹; V itself would lose digits where an observation is sharp.
        rank = root.shape[-1]
        eye = identity(rank, root)
        of_noise = root.mT @ precision @ root
        factor = cholesky(eye + of_noise)
        spread = torch.linalg.solve_triangular(factor.mT, eye, upper=True)
        spread_of_root = spread.mT @ root.mT
        gain = spread @ spread_of_root
        half_logs = half_log_determinant(factor)
        return cls(
            spread=spread,
            gain=gain,
            back=gain @ precision,
            cost=-half_logs.sum((0, 2)),
        )


@dataclass(frozen=True)
class BackwardFilter:
    """A chain conditioned on observations of which the precision is known.

    Attributes
    ----------
    chain : Chain
    precision : Tensor, ``(L, P or 1, G, S, S)``
        ``Λ``, the observations at each time included.
    carry : Tensor, ``(L − 1, P or 1, G, S, S)``
        Turns ``η`` after a step into ``η`` before it.
    start, steps : ConditionalNoise
    """

    chain: Chain
    precision: Tensor
    carry: Tensor
    start: ConditionalNoise
    steps: ConditionalNoise

    @classmethod
    def of(cls, chain: Chain, information: Tensor, *, may_round: bool = False) -> BackwardFilter:
        """Condition on observations with ``information = C'R⁻¹C`` ``(L, P or 1, G, S, S)``.

        See :func:`precisions_of` for ``may_round``.
        """
        n_observed = information.shape[1]
        n_chains = chain.transition.shape[1]
        n_paths = max(n_observed, n_chains)
        information = information.expand(-1, n_paths, -1, -1, -1)
        precision, carry = precisions_of(chain, information, may_round=may_round)
        at_start = precision[:1]
        after_steps = precision[1:]
        return cls(
            chain=chain,
            precision=precision,
            carry=carry,
            start=ConditionalNoise.of(chain.start_root, at_start),
            steps=ConditionalNoise.of(chain.root, after_steps),
        )

    def slopes(self, observed: Tensor, push: Tensor | None = None) -> Tensor:
        """``η`` at every time, ``(L, P, G, S)``.

        Parameters
        ----------
        observed : Tensor, ``(L, P, G, S)``
            ``C'R⁻¹o``.
        push : Tensor, ``(L − 1, P, G)``, optional
            How every step moves the first state beside ``Φ z + N ε``.
        """
        shifts = observed
        if push is not None:
            by_first_state = self.precision[1:, ..., 0]
            pull = by_first_state * push.unsqueeze(-1)
            of_push = apply(self.carry, pull)
            shifts = torch.cat([observed[:-1] - of_push, observed[-1:]])
        # Time runs down.
        columns = shifts.flip(0).unsqueeze(-1)
        return follow(self.carry.flip(0), columns).squeeze(-1).flip(0)

    def drives(self, observed: Tensor, push: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``G η`` of the start ``(1, P, G, r)`` and of all steps ``(L − 1, P, G, r)``."""
        slopes = self.slopes(observed, push)
        first = slopes[:1]
        later = slopes[1:]
        opening = apply(self.start.gain, first)
        drives = apply(self.steps.gain, later)
        return opening, drives

    def mean(self, observed: Tensor) -> Tensor:
        """Mean of the chain given the observations, ``(L, P, G, S)``."""
        opening, drives = self.drives(observed)
        # A single run, by the mean of the noise.
        opening = opening.unsqueeze(-1)
        drives = drives.unsqueeze(-1)
        states = self._follow(opening, drives)
        return states.squeeze(-1)

    def draw(self, observed: Tensor, n_samples: int, generator: torch.Generator) -> Tensor:
        """Exact draws of the chain given the observations, ``(L, P, G, S, n_samples)``."""
        opening, drives = self.drives(observed)
        first = _with_spread(opening, self.start, n_samples, generator)
        noise = _with_spread(drives, self.steps, n_samples, generator)
        return self._follow(first, noise)

    def _follow(self, opening: Tensor, drives: Tensor) -> Tensor:
        """Run the chain with noise ``drive − D z̄``; drives ``(n, P, G, r, n_samples)``."""
        chain = self.chain
        mean = chain.mean.unsqueeze(-1)
        noise = opening[0] - self.start.back[0] @ mean
        start = mean + chain.start_root @ noise
        # Noise ``drive − D Φ z`` enters by its root.
        pulled = chain.root @ self.steps.back
        transition = chain.transition - pulled @ chain.transition
        kicks = chain.root @ drives
        shifts = torch.cat([start.unsqueeze(0), kicks])
        return follow(transition, shifts)


def _with_spread(
    drives: Tensor,
    noise: ConditionalNoise,
    n_samples: int,
    generator: torch.Generator,
) -> Tensor:
    """``G η + T ξ`` with standard normals ``ξ``: ``(n, P, G, r, n_samples)``."""
    normals = torch.randn(
        *drives.shape,
        n_samples,
        generator=generator,
        dtype=drives.dtype,
        device=drives.device,
    )
    spread = noise.spread @ normals
    return drives.unsqueeze(-1) + spread
