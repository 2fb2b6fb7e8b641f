"""The game of a density curve against a potential: how it is played, on which draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from dyninfer.learning.objective import Objective
from dyninfer.learning.training import Training
from dyninfer.transport.couplings import CoupledSamples
from dyninfer.transport.curves import TimeSampler
from dyninfer.transport.curves.learned import LearnedCurve, PairBatch
from dyninfer.transport.curves.population import Population
from dyninfer.transport.objectives.matching import normal_like


@dataclass(frozen=True, kw_only=True)
class Game:
    """How the curve is played against the potential.

    Attributes
    ----------
    last_step : int
        Step after which the curve stands still; 0 where it never moves.
    learning_rate : float
        Peak learning rate of the curve.
    damping : float
        Share of the pairs' own action in what the curve descends, when it begins to move.
    refinement_steps : int
        Steps in which samples ascend the residual before the potential meets them.
    refinement_size : float
        Length of such a step.
    """

    last_step: int
    learning_rate: float = 1e-3
    damping: float = 0.5
    refinement_steps: int = 0
    refinement_size: float = 0.02


class PairAction(Objective):
    """Action of the pairs' own paths, as a function of the curve's network.

    Parameters
    ----------
    draw : callable, ``(samples, times, n, generator) -> PairBatch``
    samples : CoupledSamples
    times : TimeSampler
    population : Population
        That is told of every step, as the curve moves.
    """

    def __init__(
        self, draw: Any, samples: CoupledSamples, times: TimeSampler, population: Population
    ):
        self.draw = draw
        self.samples = samples
        self.times = times
        self.population = population

    def batch(self, n: int, generator: Generator) -> PairBatch:
        """Draw ``n`` pairs at even times."""
        self.population.follow()
        return self.draw(self.samples, self.times, n, generator)

    def loss(self, process: LearnedCurve, batch: PairBatch) -> dict[str, Tensor]:
        """Action per sample ``(n,)``."""
        return {"loss": process.pair_action(batch)}


def bending(n_steps: int, batch_size: int, learning_rate: float) -> Training:
    """Settings of the descent of :class:`PairAction`."""
    return Training(
        max_steps=n_steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        warmup_steps=0,
        final_learning_rate=0.0,
        weight_decay=0.0,
        # The last weights are the result: the rate falls to zero, so they are an average.
        ema_decay=0.0,
        validate_every=n_steps,
    )


def draw_pairs(
    samples: CoupledSamples, times: TimeSampler, n: int, generator: Generator, *, noisy: bool
) -> PairBatch:
    """Draw ``n`` pairs and times between them; with noise, half of them, which are used twice."""
    # Every draw of the noise serves with both signs: what is singular near a snapshot cancels.
    n_draws = (n + 1) // 2 if noisy else n
    t, density = times.draw(n_draws, generator)
    interval = samples.interval(t)
    pairs = samples.draw(interval, generator)
    if not noisy:
        return PairBatch(time=t, density=density, pairs=pairs, noise=None, probe=None)
    noise = normal_like(pairs.source, generator)
    both_signs = torch.cat([noise, -noise])
    return PairBatch(
        time=t.repeat(2)[:n],
        density=density.repeat(2)[:n],
        pairs=pairs.twice(n),
        noise=both_signs[:n],
        probe=None,
    )
