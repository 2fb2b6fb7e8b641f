"""The density curve as a player: it steps against the potential, and is put back when the two run away from each other."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from torch import Tensor

from dyninfer.learning.parallel import mean_over_processes, sum_over_processes
from dyninfer.transport.curves.learned import LearnedCurve, PairBatch

logger = logging.getLogger("dyninfer")


class CurveOptimizer:
    """Optimiser of a :class:`LearnedCurve` with its schedule and its guard.

    The path stands still for the first ``alone`` steps and after ``last``; in between, every ``every``-th step, it ascends the
    Hamilton-Jacobi residual, whose gradient the objective has left in its parameters. The residual's spread is followed relative
    to the kinetic energy before the path moved: if it grows to ``limit`` times its least value, or the action of the pairs grows by
    ``limit`` times that energy or its own first size, the path returns to where it was best, with half the learning rate; after the third time it
    returns to where it began and stays there.

    Parameters
    ----------
    curve : LearnedCurve
    learning_rate : float
        Peak learning rate; falls along a cosine.
    alone, last : int
        First and last step in which the path may move.
    every : int
        Steps between two moves.
    """

    bins = 24  # of time, in which the residual's mean is followed
    memory = 0.98
    check_every = 50
    stiffness = 20.0  # price of an excess of mass, in units of the kinetic energy
    limit = 3.0
    small = 0.5  # spread of the residual below which the least one counts as this: a game that begins well may lose a little
    chances = 3  # runaways after which the path stays where it was best

    def __init__(
        self, curve: LearnedCurve, learning_rate: float, alone: int, last: int, every: int = 1
    ):
        self.curve, self.learning_rate = curve, learning_rate
        self.alone, self.last, self.every = alone, last, every
        self.parameters = list(curve.parameters())
        self.optimizer = torch.optim.Adam(self.parameters, lr=learning_rate, betas=(0.9, 0.99))
        self.average = [p.detach().clone() for p in self.parameters]
        self.start = [p.detach().clone() for p in self.parameters]
        self.best, self.best_spread = self.start, math.inf
        self.steps, self.moved, self.runaways = 0, 0, 0
        states = curve.pairs.states
        self.moments = torch.zeros(4, self.bins, device=states.device, dtype=torch.float64)
        self.kinetic = torch.zeros((), device=states.device, dtype=torch.float64)
        self.unit = torch.zeros_like(self.kinetic)  # kinetic energy before the path moved
        self.spent = torch.zeros_like(self.kinetic)  # action of the pairs
        self.allowed = math.inf  # its bound

    @property
    def moves(self) -> bool:
        """Whether the path moves in this step."""
        return self.alone <= self.steps < self.last and self.steps % self.every == 0

    @property
    def listens(self) -> bool:
        """Whether the residual is to be measured in this step: where the path moves, and shortly before."""
        begun = self.alone - self.check_every <= self.steps and self.alone < self.last
        return begun and self.steps < self.last and self.steps % self.every == 0

    @property
    def part_left(self) -> float:
        """Part of the path's steps that is still to come."""
        return max(0.0, 1 - (self.steps - self.alone) / max(1, self.last - self.alone))

    @property
    def done(self) -> bool:
        """Whether the path will not move any more."""
        return self.steps >= self.last

    @property
    def spread(self) -> Tensor:
        """Standard deviation of the residual at one time, over the mean kinetic energy before the path moved."""
        count, total, squares, _ = self.moments
        seen = count.clamp_min(1e-12)
        variance = (
            (squares / seen - (total / seen).square()).clamp_min(0) * count
        ).sum() / count.sum().clamp_min(1e-12)
        return variance.sqrt() / torch.where(self.unit > 0, self.unit, self.kinetic).clamp_min(
            1e-12
        )

    def level(self, t: Tensor) -> Tensor:
        """Price of mass at times ``(n,)``: zero where it is free; where it is prescribed, what keeps it there."""
        if not (self.curve.grows and self.curve.lagrangian.constrained):
            return torch.zeros_like(t)
        count, total, _, given = self.moments
        excess = count / given.clamp_min(1e-12) - 1
        price = total / count.clamp_min(1e-12) + self.stiffness * self.kinetic * excess
        return price.to(t.dtype)[self._bin(t)]

    def step(
        self,
        t: Tensor,
        measured: tuple[Tensor, Tensor, Tensor] | None,
        given: Tensor,
        kinetic: Tensor,
    ) -> None:
        """Count a step of the loop; where residual, mass and pairs' action ``(n,)`` were measured, follow the gradient left."""
        if measured is not None:
            self._measure(t, *measured, given, kinetic)
        if measured is not None and self.moves:
            self._move(self._rate())
            self.moved += 1
            decay = min(0.99, (1 + self.moved) / (10 + self.moved))
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - decay)
        self.optimizer.zero_grad(set_to_none=True)
        self.steps += 1
        if self.steps == self.alone < self.last:
            self.unit = self.kinetic.clone()
            self.best_spread = float(self.spread) or math.inf  # zero where nothing was measured
            self.allowed = float(
                self.spent + self.limit * torch.maximum(self.unit, self.spent.abs())
            )
        if self.alone < self.steps <= self.last and self.steps % self.check_every == 0:
            self._guard()
        if self.steps == self.last and self.moved:
            self._put(self.average)

    def descend(self, loss: Any, steps: int, n: int, draw: Any) -> None:
        """Minimise ``loss(batch)`` over the path alone, before the game: what it is to start from."""
        for k in range(steps):
            self.optimizer.zero_grad(set_to_none=True)
            loss(draw(n)).backward()
            self._move(self.learning_rate * 0.5 * (1 + math.cos(math.pi * k / steps)))
        self.optimizer.zero_grad(set_to_none=True)
        self.average = [p.detach().clone() for p in self.parameters]
        self.best = self.start = [p.detach().clone() for p in self.parameters]

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs, as tensors and numbers."""
        return {
            "parameters": [p.detach() for p in self.parameters],
            "average": self.average,
            "best": self.best,
            "start": self.start,
            "numbers": [
                self.best_spread,
                self.steps,
                self.moved,
                self.runaways,
                self.learning_rate,
                self.last,
                self.allowed,
            ],
            "optimizer": self.optimizer.state_dict(),
            "moments": self.moments,
            "kinetic": self.kinetic,
            "unit": self.unit,
            "spent": self.spent,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Undo :meth:`state`."""
        self._put(state["parameters"])
        self.average, self.best, self.start = state["average"], state["best"], state["start"]
        (
            self.best_spread,
            self.steps,
            self.moved,
            self.runaways,
            self.learning_rate,
            self.last,
            self.allowed,
        ) = state["numbers"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.moments, self.kinetic = state["moments"], state["kinetic"]
        self.unit, self.spent = state["unit"], state["spent"]

    @torch.no_grad()
    def _measure(
        self,
        t: Tensor,
        residual: Tensor,
        mass: Tensor,
        spent: Tensor,
        given: Tensor,
        kinetic: Tensor,
    ) -> None:
        new = torch.zeros_like(self.moments)
        value, weight = residual.double(), mass.double()
        new.index_add_(
            1,
            self._bin(t),
            torch.stack([weight, weight * value, weight * value.square(), given.double()]),
        )
        sum_over_processes([new])
        self.moments.mul_(self.memory).add_(new)
        fresh = torch.stack([kinetic.double().mean(), spent.double().mean()])
        mean_over_processes([fresh])
        known = torch.stack([self.kinetic, self.spent])
        self.kinetic, self.spent = torch.where(
            self.kinetic > 0, torch.lerp(known, fresh, 1 - self.memory), fresh
        )

    def _guard(self) -> None:
        spread = float(self.spread)
        if self.moved == 0:
            return
        spent = float(self.spent)
        # Far outside the data the residual can be small: there, the pairs' own action tells.
        if (
            not spread <= self.limit * max(self.best_spread, self.small)
            or not spent <= self.allowed
        ):
            self.runaways += 1
            self.learning_rate *= 0.5
            given_up = self.runaways == self.chances
            if given_up:
                self.best, self.last = self.start, self.steps
            self._put(self.best)
            self.average = [p.clone() for p in self.best]
            self.optimizer.state.clear()
            self.moments.zero_()
            self.kinetic = torch.zeros_like(self.kinetic)  # what was seen on the way is forgotten
            logger.warning(
                "step %d: the density curve ran away (Hamilton-Jacobi residual %.3g of the kinetic energy, least %.3g; action of "
                "the pairs %.3g, allowed %.3g); it %s",
                self.steps,
                spread,
                self.best_spread,
                spent,
                self.allowed,
                "stays where it began"
                if given_up
                else f"was put back and its learning rate halved to {self.learning_rate:.2g}",
            )
        elif spread < self.best_spread:
            self.best_spread, self.best = spread, [p.detach().clone() for p in self.parameters]

    def _move(self, learning_rate: float) -> None:
        mean_over_processes([p.grad for p in self.parameters if p.grad is not None])
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()

    def _rate(self) -> float:
        return self.learning_rate * (0.05 + 0.95 * 0.5 * (1 - math.cos(math.pi * self.part_left)))

    def _bin(self, t: Tensor) -> Tensor:
        return (t * self.bins).long().clamp(0, self.bins - 1)

    def _put(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            for p, value in zip(self.parameters, values, strict=True):
                p.copy_(value)


def pair_action(path: LearnedCurve, batch: PairBatch) -> Tensor:
    """Action of the pairs' own paths per sample, ``(n,)``: kinetic and growth energy less the potential."""
    lagrangian = path.lagrangian
    mean = path.point(batch._replace(noise=None))
    if lagrangian.constrained:  # its mass is not this action's to choose
        mean = mean._replace(weight=mean.weight.detach(), weight_rate=mean.weight_rate.detach())
    action = 0.5 * mean.weight * mean.velocity.square().sum(1)
    if lagrangian.growth_penalty is not None:
        spent = mean.weight_rate.square() / mean.weight.clamp_min(
            torch.finfo(mean.weight.dtype).tiny
        )
        action = action + spent / (2 * lagrangian.growth_penalty)
    if lagrangian.potential is not None:
        state = mean.state if batch.noise is None else path.point(batch).state
        action = action - mean.weight * lagrangian.potential(batch.time, state)
    return action
