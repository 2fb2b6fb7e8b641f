"""The total mass of simulated populations: that of the data, whatever the fit has missed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dyninfer.diffusions import ScaledDiffusion
from dyninfer.diffusions.conditioned_growth import N_START, GrowthByCondition
from dyninfer.diffusions.growth import BoundedGrowth
from dyninfer.learning.random import stream
from dyninfer.simulation import simulate
from dyninfer.transport.couplings import CoupledSamples
from dyninfer.transport.couplings.samples import FirstSnapshot

# Cells of a snapshot that are followed: with more, no mass would be off by less.
_MOST_CELLS = 4096


@torch.no_grad()
def settle_total_mass(process: ScaledDiffusion, samples: CoupledSamples, seed: int) -> None:
    """Set the mean of the growth in each interval by a run of the process from the first snapshot.

    A potential that is not quite at its solution carries cells a little past the density of the
    data, where its growth has another mean, which would add up. At every snapshot the total of the
    run becomes the known one; between two of them it changes as was learned. Under conditions,
    each has a run of its own.

    Parameters
    ----------
    process : ScaledDiffusion
        Of an inner process with a law of growth, whose bounds are settled.
    samples : CoupledSamples
        With whose first snapshot the run begins.
    seed : int
        Of the noise, where there is some.
    """
    inner = process.inner
    laws: GrowthByCondition | None = inner.laws
    if laws is None:
        _settle_one(inner, samples.first_snapshot(), seed)
        return
    for number, name in enumerate(laws.mixing.names):
        first = samples.first_snapshot(number)
        if len(first.states):
            own = inner.given(name)
            _settle_one(own, first, seed)
    every = samples.first_snapshot()
    generator = stream(seed, "start of new conditions", device=every.states.device)
    drawn = torch.multinomial(every.weights, N_START, replacement=True, generator=generator)
    laws.keep_start(every.states[drawn])


@torch.no_grad()
def mass_of_run(process: Any, cells: Tensor) -> Tensor:
    """Log-masses ``(K,)`` at all times of the data of a run from cells that weigh alike."""
    weights = torch.ones_like(cells[:, 0])
    # A seed of its own: one process has one total.
    return _log_mass(process, FirstSnapshot(0, cells, weights), seed=0)


def _settle_one(inner: Any, first: FirstSnapshot, seed: int) -> None:
    law: BoundedGrowth = inner.law
    few = _at_most(first, seed)
    law.set_total(_log_mass(inner, few, seed))


def _log_mass(inner: Any, first: FirstSnapshot, seed: int) -> Tensor:
    """Log-masses of a run, from the time of its cells on."""
    knots = inner.law.knots().double()
    run = simulate(inner, first.states, knots[first.time :], seed=seed)
    assert run.log_weights is not None
    log_start = first.weights.double().log()
    log_weight = run.log_weights + log_start[:, None]
    return log_weight.logsumexp(0)


def _at_most(first: FirstSnapshot, seed: int) -> FirstSnapshot:
    """The snapshot, or so many of its cells as are worth following."""
    cells = first.states
    if len(cells) <= _MOST_CELLS:
        return first
    generator = stream(seed, "settled mass", device=cells.device)
    order = torch.randperm(len(cells), generator=generator, device=cells.device)
    rows = order[:_MOST_CELLS]
    return FirstSnapshot(first.time, cells[rows], first.weights[rows])
