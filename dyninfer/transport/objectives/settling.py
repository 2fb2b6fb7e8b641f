"""The total mass of simulated populations: that of the data, whatever the fit has missed."""

from __future__ import annotations

import torch
from torch import Tensor

from dyninfer.diffusions import ScaledDiffusion
from dyninfer.diffusions.growth import BoundedGrowth
from dyninfer.learning.random import stream
from dyninfer.simulation import simulate
from dyninfer.transport.couplings import CoupledSamples

# Cells of a snapshot that are followed: with more, no mass would be off by less.
_MOST_CELLS = 4096


@torch.no_grad()
def settle_total_mass(process: ScaledDiffusion, samples: CoupledSamples, seed: int) -> None:
    """Set the mean of the growth in each interval by a run of the process from the first snapshot.

    A potential that is not quite at its solution carries cells a little past the density of the
    data, where its growth has another mean, which would add up. At every snapshot the total of the
    run becomes the known one; between two of them it changes as was learned.

    Parameters
    ----------
    process : ScaledDiffusion
        Of an inner process with ``law``, whose bounds are settled.
    samples : CoupledSamples
        With whose first snapshot the run begins.
    seed : int
        Of the noise, where there is some.
    """
    inner = process.inner
    law: BoundedGrowth = inner.law
    cells, weight = _first_snapshot(samples, seed)
    knots = law.knots().double()
    run = simulate(inner, cells, knots, seed=seed)
    assert run.log_weights is not None
    log_start = weight.double().log()
    log_weight = run.log_weights + log_start[:, None]
    log_mass = log_weight.logsumexp(0)
    # Of a run that diverged nothing can be said.
    if bool(log_mass.isfinite().all()):
        law.set_total(log_mass)


def _first_snapshot(samples: CoupledSamples, seed: int) -> tuple[Tensor, Tensor]:
    """Cells ``(n, d)`` of the first snapshot, not too many, and their weights ``(n,)``."""
    cells, weight = samples.first_snapshot()
    if len(cells) <= _MOST_CELLS:
        return cells, weight
    generator = stream(seed, "settled mass", device=cells.device)
    order = torch.randperm(len(cells), generator=generator, device=cells.device)
    rows = order[:_MOST_CELLS]
    return cells[rows], weight[rows]
