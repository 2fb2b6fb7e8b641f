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
    half_log_determinant,
    identity,
    symmetric,
)


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
        """Of steps with roots ``N``, and with ``Λ`` at their ends."""
        # V⁻¹ = L L', so T = L'⁻¹; V itself would lose digits where an observation is sharp.
        eye = identity(root.shape[-1], root)
        factor = torch.linalg.cholesky(eye + root.mT @ precision @ root)
        spread = torch.linalg.solve_triangular(factor.mT, eye, upper=True)
        gain = spread @ (spread.mT @ root.mT)
        cost = -half_log_determinant(factor).sum((0, 2))
        return cls(spread, gain, gain @ precision, cost)


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
    def of(cls, chain: Chain, information: Tensor) -> BackwardFilter:
        """Condition on observations with ``information = C'R⁻¹C`` ``(L, P or 1, G, S, S)``."""
        n_paths = max(information.shape[1], chain.transition.shape[1])
        information = information.expand(-1, n_paths, -1, -1, -1)
        precision, carry = _precisions(chain, information)
        start = ConditionalNoise.of(chain.start_root, precision[:1])
        steps = ConditionalNoise.of(chain.root, precision[1:])
        return cls(chain, precision, carry, start, steps)

    def slopes(self, observed: Tensor, push: Tensor | None = None) -> Tensor:
        """``η`` at every time, ``(L, P, G, S)``.

        Parameters
        ----------
        observed : Tensor, ``(L, P, G, S)``
            ``C'R⁻¹o``.
        push : Tensor, ``(L − 1, P, G)``, optional
            How every step moves the first state beside ``Φ z + N ε``.
        """
        rows = observed.unbind(0)
        pulls = None
        if push is not None:
            pulls = (self.precision[1:, ..., 0] * push.unsqueeze(-1)).unbind(0)
        slopes = [rows[-1]]
        # Rows are unbound before: the gradient of an index is a whole tensor of zeros every time.
        for n, carry in reversed(list(enumerate(self.carry.unbind(0)))):
            late = slopes[-1]
            if pulls is not None:
                late = late - pulls[n]
            slopes.append(apply(carry, late) + rows[n])
        return torch.stack(slopes[::-1])

    def drives(self, observed: Tensor, push: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``G η`` of the start ``(1, P, G, r)`` and of all steps ``(L − 1, P, G, r)``."""
        slopes = self.slopes(observed, push)
        return apply(self.start.gain, slopes[:1]), apply(self.steps.gain, slopes[1:])

    def mean(self, observed: Tensor) -> Tensor:
        """Mean of the chain given the observations, ``(L, P, G, S)``."""
        opening, drives = self.drives(observed)
        return self._follow(opening.unsqueeze(-1), drives.unsqueeze(-1)).squeeze(-1)

    def draw(self, observed: Tensor, n_samples: int, generator: torch.Generator) -> Tensor:
        """Exact draws of the chain given the observations, ``(L, P, G, S, n_samples)``."""
        opening, drives = self.drives(observed)
        first = _with_spread(opening, self.start, n_samples, generator)
        noise = _with_spread(drives, self.steps, n_samples, generator)
        return self._follow(first, noise)

    def _follow(self, opening: Tensor, drives: Tensor) -> Tensor:
        """Run the chain with noise ``drive − D z̄``; drives ``(n, P, G, r, n_samples)``."""
        chain = self.chain
        ahead = chain.mean.unsqueeze(-1)
        z = _end(ahead, chain.start_root, self.start.back[0], opening[0])
        states = [z]
        for n, phi in enumerate(chain.transition):
            z = _end(phi @ z, chain.root[n], self.steps.back[n], drives[n])
            states.append(z)
        return torch.stack(states)


def _precisions(chain: Chain, information: Tensor) -> tuple[Tensor, Tensor]:
    """``Λ`` at every time, and what carries ``η`` back over every step."""
    observed = information.unbind(0)
    transitions = chain.transition.unbind(0)
    roots = chain.root.unbind(0)
    noise_eye = identity(chain.root.shape[-1], chain.root)
    state_eye = identity(chain.root.shape[-2], chain.root)
    precisions = [observed[-1]]
    carries = []
    for n in range(len(roots) - 1, -1, -1):
        late = precisions[-1]
        phi = transitions[n]
        root = roots[n]
        pull = late @ root
        # The gradient of an inverse is two products, that of a factor many.
        conditional = torch.linalg.inv(noise_eye + root.mT @ pull)
        carry = phi.mT @ (state_eye - pull @ conditional @ root.mT)
        precisions.append(symmetric(carry @ late @ phi) + observed[n])
        carries.append(carry)
    if not carries:
        return torch.stack(precisions), chain.transition
    return torch.stack(precisions[::-1]), torch.stack(carries[::-1])


def _with_spread(
    drives: Tensor,
    noise: ConditionalNoise,
    n_samples: int,
    generator: torch.Generator,
) -> Tensor:
    """``G η + T ξ`` with standard normals ``ξ``: ``(n, P, G, r, n_samples)``."""
    shape = *drives.shape, n_samples
    normals = torch.randn(shape, generator=generator, dtype=drives.dtype, device=drives.device)
    return drives.unsqueeze(-1) + noise.spread @ normals


def _end(ahead: Tensor, root: Tensor, back: Tensor, drive: Tensor) -> Tensor:
    """Where a step ends that would end at ``ahead`` without its noise."""
    return ahead + root @ (drive - back @ ahead)
