"""The score of a density curve, learned beside the potential that moves it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dyninfer.learning.networks import PotentialNetwork
from dyninfer.learning.own_networks import OwnPotential
from dyninfer.learning.parallel import mean_of_rows


class ScorePoints(NamedTuple):
    """Points of a density curve, and the score of what each was drawn from; ``n`` rows each."""

    time: Tensor  # (n,)
    state: Tensor  # (n, d)
    target: Tensor  # (n, d) ∇ log of the density of the point, given its pair
    weight: Tensor | None  # (n,) mass of the point; None where all are one
    code: Tensor | None  # (n, m) the condition


class ScoreMatching:
    r"""Regression of ``∇ψ`` on the scores of the pairs, whose mean at a point is that of the curve.

    .. math:: E\, w\,[\tfrac12|\nabla\psi|^2 - \nabla\psi\cdot\nabla\log q(x_t | x_0, x_1)]

    (Vincent 2011, A connection between score matching and denoising autoencoders). Targets that
    are large come in pairs of points on both sides of a path: their large parts cancel.

    The loss is divided by one more than the mean square of the score over the last hundred steps:
    that of a narrow population is large, and would leave nothing to the velocity.
    """

    def __init__(self, like: Tensor):
        self.square = like.new_zeros(())
        self.steps = 0
        # Of the first validation: the same for all of a run, or they could not be compared.
        self.validation_square: Tensor | None = None

    def loss(
        self, network: PotentialNetwork | OwnPotential, points: ScorePoints
    ) -> tuple[Tensor, Tensor]:
        """Loss per point ``(n,)``, not yet divided, and the square of the score there ``(n,)``."""
        psi = network.derivatives(points.time, points.state, c=points.code)
        square = psi.gradient.square().sum(1)
        along = (psi.gradient * points.target).sum(1)
        loss = 0.5 * square - along
        if points.weight is not None:
            loss = points.weight * loss
            square = points.weight * square
        return loss, square.detach()

    def observe(self, square: Tensor) -> None:
        """Follow the mean of the squares ``(n,)`` of the score."""
        mean = mean_of_rows(square)
        self.steps += 1
        # A plain mean over the first hundred steps, then one that forgets.
        part = max(0.01, 1 / self.steps)
        self.square = torch.lerp(self.square, mean.to(self.square), part)

    def balanced(self, loss: Tensor) -> Tensor:
        """The loss in the size that it has beside others."""
        return loss / (1 + self.square)

    def validation(self, loss: Tensor) -> Tensor:
        """Mean of a loss in the size of the first validation."""
        if self.validation_square is None:
            self.validation_square = self.square.clone()
        return loss.mean() / (1 + self.validation_square)

    def state(self) -> dict[str, Tensor]:
        """What a resumed run needs."""
        state = {"square": self.square, "steps": torch.tensor(self.steps)}
        if self.validation_square is not None:
            state["validation_square"] = self.validation_square
        return state

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo :meth:`state`."""
        self.square = state["square"]
        self.steps = int(state["steps"])
        self.validation_square = state.get("validation_square")
