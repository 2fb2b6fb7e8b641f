"""The guide: what later observations say about the noise of every step, in closed form, along a reference path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dyninfer.fractional.gaussian.chain import covariance_root
from dyninfer.fractional.gaussian.linear import stationary_memory
from dyninfer.fractional.inference.prior import LinearPrior
from dyninfer.fractional.inference.reference import Frozen
from dyninfer.fractional.inference.series import Series
from dyninfer.fractional.stepper import noise_factors


class PseudoObservations(NamedTuple):
    """What the guide takes every coordinate of the state to be seen as; it shapes draws, never what they are worth.

    Attributes
    ----------
    values : Tensor, ``(P, L, d)``
    precision : Tensor, ``(P or 1, L, d)``
        Inverse variance; 0 where nothing is seen.
    """

    values: Tensor
    precision: Tensor

    @classmethod
    def of(cls, prior: LinearPrior, series: Series) -> PseudoObservations:
        """The observations themselves, of a state whose coordinates are the features."""
        return cls(series.values, series.mask * (-2 * prior.log_noise).exp())


@dataclass(frozen=True)
class Steps:
    """One step of the state and its scaled memory for every distinct gap: ``z' = Φ z + N ε``, ``ε ~ N(0, I)``.

    Attributes
    ----------
    phi : Tensor, ``(u, d, S, S)``
    root : Tensor, ``(u, d, S, r)``
    along : Tensor, ``(u, r)``
        What a control of one does to ``ε``.
    """

    phi: Tensor
    root: Tensor
    along: Tensor

    @classmethod
    def of(cls, prior: LinearPrior, gaps: Tensor) -> Steps:
        """The memory is stepped exactly, the drift by Euler's rule."""
        nodes, w, scale = prior.noise.nodes, prior.weights, prior.scale[:, None]
        moving = nodes > 0
        unit = (2 * nodes[moving]).sqrt()
        factor = noise_factors(nodes, gaps)
        loss = -torch.expm1(-gaps[:, None] * nodes)
        kick = (scale * w) @ factor  # (u, d, r)
        memory = (unit[:, None] * factor[:, moving]).unsqueeze(1).expand(-1, len(w), -1, -1)
        root = torch.cat([kick.unsqueeze(2), memory], dim=2)
        pull = -scale * w[:, moving] * loss[:, None, moving] / unit
        first = torch.cat([(1 - prior.rate * gaps[:, None]).unsqueeze(-1), pull], dim=-1)
        below = torch.diag_embed(torch.nn.functional.pad(1 - loss[:, moving], (1, 0)))[:, 1:]
        phi = torch.cat([first.unsqueeze(2), below.unsqueeze(1).expand(-1, len(w), -1, -1)], dim=2)
        gain = torch.where(moving, loss / torch.where(moving, nodes, 1), gaps[:, None])
        along = (torch.linalg.pinv(factor) @ gain.unsqueeze(-1)).squeeze(-1)
        return cls(phi, root, along)

    def at(self, gap: Tensor) -> tuple[Tensor, Tensor]:
        """Transition and root of all steps, ``(L − 1, P or 1, d, S, ·)``, for numbers of gaps ``(P or 1, L − 1)``."""
        return _pick(self.phi, gap), _pick(self.root, gap)


def frozen_steps(
    phi: Tensor, root: Tensor, lengths: Tensor, frozen: Frozen
) -> tuple[Tensor, Tensor]:
    """Transition and root with the slope of a drift and an amplitude in them; ``lengths`` ``(P or 1, L − 1)``."""
    unit = torch.zeros_like(phi[0, 0, 0])
    unit[0, 0] = 1
    if frozen.amplitude is not None:
        factor = frozen.amplitude.transpose(0, 1)[..., None, None] - 1
        recall, kick = torch.zeros_like(phi[0, 0, 0]), torch.zeros_like(root[0, 0, 0])
        recall[0, 1:] = 1
        kick[0] = 1
        phi, root = phi * (1 + factor * recall), root * (1 + factor * kick)
    slope = (frozen.slope * lengths.unsqueeze(-1)).transpose(0, 1)
    return phi + slope[..., None, None] * unit, root


def start_root(prior: LinearPrior) -> Tensor:
    """Root of the covariance of state and memory at the first time, ``(d, S, S)``."""
    memory = covariance_root(stationary_memory(prior.noise.nodes, prior.noise.kind))
    own = prior.log_start.exp()[:, None, None]
    pad = torch.nn.functional.pad
    return pad(own, (0, len(memory), 0, len(memory))) + pad(memory, (1, 0, 1, 0))


class Laws(NamedTuple):
    r"""Laws ``ε ~ N(G η − D z̄, T T')`` of the noise of steps that would end at ``z̄`` without it.

    ``−½ z'Λz + η'z`` is the log-likelihood of what is seen from the end of a step on; ``T T' = V = (I + N'ΛN)^{−1}``,
    ``G = V N'`` and ``D = G Λ``.
    """

    spread: Tensor  # T, (n, P or 1, d, r, r)
    gain: Tensor  # G, (n, P or 1, d, r, S)
    back: Tensor  # D, (n, P or 1, d, r, S)
    cost: Tensor  # ½ log det V, summed over steps and coordinates, (P or 1,)

    @classmethod
    def of(cls, root: Tensor, precision: Tensor) -> Laws:
        """Of steps with roots ``N`` and with ``Λ`` at their ends."""
        eye = torch.eye(root.shape[-1], dtype=root.dtype, device=root.device)
        factor = torch.linalg.cholesky(eye + root.mT @ precision @ root)
        spread = torch.linalg.solve_triangular(factor.mT, eye, upper=True)
        gain = spread @ (spread.mT @ root.mT)
        cost = -factor.diagonal(dim1=-2, dim2=-1).log().sum((0, 2, 3))
        return cls(spread, gain, gain @ precision, cost)


@dataclass(frozen=True)
class Guide:
    """Laws of the noise of the start and of every step, given all that is seen later.

    Attributes
    ----------
    start, steps : Laws
    carry : Tensor, ``(L − 1, P or 1, d, S, S)``
        Turns ``η`` after a step into ``η`` before it.
    grip : Tensor, ``(L − 1, P or 1, d, S)``
        ``Λ`` at the end of a step times a unit of the state.
    """

    start: Laws
    steps: Laws
    carry: Tensor
    grip: Tensor

    @classmethod
    def of(cls, first: Tensor, phi: Tensor, root: Tensor, information: Tensor) -> Guide:
        """Condition on observations of the state with inverse variances ``information`` ``(P or 1, L, d)``.

        ``first`` is the root of the start, ``phi`` and ``root`` are those of all steps.
        """
        small = torch.eye(root.shape[-1], dtype=phi.dtype, device=phi.device)
        large = torch.eye(phi.shape[-1], dtype=phi.dtype, device=phi.device)
        unit = torch.zeros_like(large)
        unit[0, 0] = 1
        information = information.expand(max(len(information), phi.shape[1]), -1, -1)
        seen = (information[..., None, None] * unit).unbind(1)
        precisions, carries = [seen[-1]], []
        rows = zip(phi.unbind(0), root.unbind(0), seen[:-1], strict=True)
        for move, noise, here in reversed(list(rows)):
            late = precisions[-1]
            pull = late @ noise
            given = torch.linalg.inv(
                small + noise.mT @ pull
            )  # its gradient is two products, a factor's many
            carry = move.mT @ (large - pull @ given @ noise.mT)
            early = carry @ late @ move
            precisions.append(0.5 * (early + early.mT) + here)
            carries.append(carry)
        precision, carry = (
            torch.stack(precisions[::-1]),
            torch.stack(carries[::-1]) if carries else phi,
        )
        return cls(
            Laws.of(first, precision[:1]),
            Laws.of(root, precision[1:]),
            carry,
            precision[1:, ..., 0],
        )

    def drives(self, target: Tensor, push: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``G η`` of the start ``(P, d, r)`` and of all steps ``(L − 1, P, d, r)``.

        Parameters
        ----------
        target : Tensor, ``(P, L, d)``
            Values that are seen, counted as ``z`` is, times their information.
        push : Tensor, ``(P, L − 1, d)``, optional
            How the drift beside the linear one is expected to move the state in every step.
        """
        seen = torch.nn.functional.pad(target.unsqueeze(-1), (0, self.carry.shape[-1] - 1)).unbind(
            1
        )
        expected = (
            None if push is None else (self.grip * push.transpose(0, 1).unsqueeze(-1)).unbind(0)
        )
        slopes = [seen[-1]]
        for n, carry in reversed(list(enumerate(self.carry.unbind(0)))):
            late = slopes[-1] if expected is None else slopes[-1] - expected[n]
            slopes.append((carry @ late.unsqueeze(-1)).squeeze(-1) + seen[n])
        eta = torch.stack(slopes[::-1]).unsqueeze(-1)
        return (self.start.gain[0] @ eta[0]).squeeze(-1), (self.steps.gain @ eta[1:]).squeeze(-1)

    def mean(
        self, ahead: Tensor, first: Tensor, phi: Tensor, root: Tensor, target: Tensor
    ) -> Tensor:
        """Mean of the linear chain's state given all that is seen, ``(P, L, d)``; ``ahead`` ``(d, S)`` is the start's."""
        opening, drives = self.drives(target)
        z = _moved(ahead.unsqueeze(-1), first, self.start.back[0], opening)
        found = [z[..., 0, 0]]
        for n in range(len(phi)):
            z = _moved(phi[n] @ z, root[n], self.steps.back[n], drives[n])
            found.append(z[..., 0, 0])
        return torch.stack(found, dim=1)


def _moved(ahead: Tensor, root: Tensor, back: Tensor, drive: Tensor) -> Tensor:
    return ahead + root @ (drive.unsqueeze(-1) - back @ ahead)


def _pick(table: Tensor, gap: Tensor) -> Tensor:
    """``(u, …)`` at numbers ``(P or 1, L)``: ``(L, P or 1, …)``."""
    if len(table) == 1:
        return table.unsqueeze(0).expand(gap.shape[1], *(-1 for _ in table.shape))
    return table[gap.T]
