"""The optimiser of a learned curve: it steps against the potential, under guard."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from torch import Tensor

from dyninfer.learning.training import AveragedOptimizer
from dyninfer.learning.training.optimizer import copies
from dyninfer.transport.curves.learned import LearnedCurve
from dyninfer.transport.curves.residual import Measurement, ResidualStatistics

logger = logging.getLogger("dyninfer")


class CurveOptimizer:
    """Optimiser of a :class:`LearnedCurve` with its schedule and its guard.

    The curve stands still for the first ``alone`` steps and after ``last``; in between, every
    ``every``-th step, it ascends the Hamilton-Jacobi residual, whose gradient the objective has
    left in its parameters. The residual's spread is followed relative to the kinetic energy before
    the curve moved. If it grows to ``limit`` times its least value, or the action of the pairs by
    ``limit`` times that energy or its own first size, the curve returns to where it was best, with
    half the learning rate; after the third time it returns to where it began and stays there.

    Parameters
    ----------
    curve : LearnedCurve
    learning_rate : float
        Peak learning rate; falls along a cosine.
    alone, last : int
        First and last step in which the curve may move.
    every : int
        Steps between two moves.
    """

    check_every = 50
    # Times the least spread of the residual: the bound beyond which the curve has run away.
    limit = 3.0
    # Spread of the residual below which the least one counts as this: a game that begins well may
    # lose a little.
    small = 0.5
    chances = 3  # runaways after which the curve stays where it began
    final_rate = 0.05  # of the learning rate, at the last move

    # Where the game stands, beside the weights and the statistics.
    _progress = ("steps", "last", "runaways", "start", "best", "best_spread", "action_bound")

    def __init__(
        self, curve: LearnedCurve, learning_rate: float, alone: int, last: int, every: int = 1
    ):
        self.curve = curve
        self.learning_rate = learning_rate
        self.alone = alone
        self.last = last
        self.every = every
        parameters = curve.parameters()
        # A shorter memory than usual: the opponent moves as well.
        device = curve.samples.states.device
        adam = torch.optim.Adam(
            parameters,
            lr=learning_rate,
            betas=(0.9, 0.99),
            # One launch, which counts its steps on the device; small curves gain nothing on a CPU.
            fused=device.type == "cuda",
        )
        remaining = last - alone
        self.n_moves = max(1, math.ceil(remaining / every))
        self.updates = AveragedOptimizer(adam, self._schedule, ema_decay=0.99)
        self.parameters = self.updates.parameters
        self.residual = ResidualStatistics(curve.samples.states.device)
        self.start = self.best = copies(self.parameters)
        self.best_spread = math.inf
        self.action_bound = math.inf
        self.steps = 0
        self.runaways = 0

    @property
    def moves(self) -> bool:
        """Whether the curve moves in this step."""
        return self.alone <= self.steps and self._may_move_or_measure()

    @property
    def measures(self) -> bool:
        """Whether the residual is measured in this step: where the curve moves, or soon will."""
        first = self.alone - self.check_every
        will_move = self.alone < self.last
        is_soon = first <= self.steps and will_move
        return is_soon and self._may_move_or_measure()

    @property
    def part_left(self) -> float:
        """Part of the curve's steps that is still to come."""
        length = max(1, self.last - self.alone)
        part = (self.steps - self.alone) / length
        return max(0.0, 1 - part)

    @property
    def finished(self) -> bool:
        """Whether the curve will not move any more."""
        return self.steps >= self.last

    @property
    def spread(self) -> Tensor:
        """Standard deviation of the residual, relative to the kinetic energy."""
        return self.residual.spread

    def mass_price(self, t: Tensor) -> Tensor:
        """Price of mass at times ``(n,)``: zero where it is free."""
        if self.curve.grows and self.curve.lagrangian.constrained:
            return self.residual.mass_price(t)
        return torch.zeros_like(t)

    def step(self, measurement: Measurement | None) -> None:
        """Count a step of the loop; where it was measured, follow the gradient left behind."""
        if measurement is not None:
            self.residual.update(measurement)
            if self.moves:
                self.updates.step()
        self.updates.zero_grad()
        self.steps += 1
        if self.steps == self.alone < self.last:
            self._begin()
        if self.alone < self.steps <= self.last and self.steps % self.check_every == 0:
            self._guard()
        if self.steps == self.last and self.updates.n_steps:
            self.updates.put(self.updates.average)

    def restart(self) -> None:
        """Take the curve as it is now for the place where it began."""
        self.start = self.best = copies(self.parameters)
        self.updates.restart(self.start)
        # Whoever brought the curve here may have left gradients.
        self.updates.zero_grad()

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs, as tensors and numbers."""
        progress = {name: getattr(self, name) for name in self._progress}
        return {
            **progress,
            "moved": self.updates.state(),
            "residual": self.residual.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Undo :meth:`state`."""
        for name in self._progress:
            setattr(self, name, state[name])
        self.updates.restore(state["moved"])
        self.residual.restore(state["residual"])

    def _may_move_or_measure(self) -> bool:
        return self.steps < self.last and self.steps % self.every == 0

    def _begin(self) -> None:
        """Note what the game is compared with, before the first move."""
        residual = self.residual
        residual.unit = residual.kinetic.clone()
        # Zero where nothing was measured.
        self.best_spread = float(residual.spread) or math.inf
        sizes = residual.pair_action.abs()
        size = torch.maximum(residual.unit, sizes)
        room = self.limit * size
        self.action_bound = float(residual.pair_action + room)

    def _schedule(self, move: int) -> float:
        """Multiple of the learning rate: a cosine over all moves."""
        part = min(1.0, move / self.n_moves)
        angle = math.pi * part
        cosine = 0.5 * (1 + math.cos(angle))
        falling = 1 - self.final_rate
        return self.final_rate + falling * cosine

    def _guard(self) -> None:
        """Keep the curve if it is the best so far, and put it back if it ran away."""
        if self.updates.n_steps == 0:
            return
        spread = float(self.residual.spread)
        action = float(self.residual.pair_action)
        bound = self.limit * max(self.best_spread, self.small)
        # Far outside the data the residual can be small: there, the pairs' own action tells. What
        # is not a number is beyond both bounds.
        within = spread <= bound and action <= self.action_bound
        if not within:
            self._put_back(spread, action)
        elif spread < self.best_spread:
            self.best_spread = spread
            self.best = copies(self.parameters)

    def _put_back(self, spread: float, action: float) -> None:
        self.runaways += 1
        self.updates.slow_down(0.5)
        rate = self.learning_rate * self.updates.slowdown
        outcome = f"was put back and its learning rate halved to {rate:.2g}"
        if self.runaways == self.chances:
            self.best = self.start
            self.last = self.steps
            outcome = "stays where it began"
        self.updates.restart(self.best)
        self.residual.forget()
        logger.warning(
            "step %d: the density curve ran away (Hamilton-Jacobi residual %.3g of the kinetic "
            "energy, least %.3g; action of the pairs %.3g, at most %.3g); it %s",
            self.steps,
            spread,
            self.best_spread,
            action,
            self.action_bound,
            outcome,
        )
