"""How far a learned flow moves cells, beside how far it would have to."""

from __future__ import annotations

import numpy as np
import torch

from dyninfer.data.snapshots import Snapshots
from dyninfer.data.trajectories import Trajectories
from dyninfer.diffusions import Diffusion
from dyninfer.estimators.cautions import grew
from dyninfer.metrics.monge import NO_MOVES, cost_of_moves

# Chords of a quarter turn miss two parts in 10⁵ of its action, when their halves correct them.
CHORDS = 8


def stops_between(process: Diffusion, observed: Snapshots, before: int, k: int) -> np.ndarray:
    """Times of a run to be scored: both ends, and of a flow without noise some between.

    A flow is read off at any number of times for nothing. With noise, more times are other draws.

    Parameters
    ----------
    process : Diffusion
    observed : Snapshots
    before, k : int
        Numbers of the times at which the run starts and ends.
    """
    begin = float(observed.times[before])
    end = float(observed.times[k])
    sample = observed.samples[before]
    first = torch.tensor(sample[:1])
    weight = next(process.parameters(), first)
    with torch.no_grad():
        state = first.to(weight.device)
        noise = process.diffusion(begin, state)
    if noise is not None:
        return np.array([begin, end])
    return np.linspace(begin, end, CHORDS + 1)


def score_moves(run: Trajectories, seed: int) -> dict[str, float]:
    """Action, straightness gap and Monge gap of a run; NaN where noise or growth leaves none."""
    # With noise no times lie between the ends.
    if run.n_times == 2 or grew(run):
        return NO_MOVES
    return cost_of_moves(run, seed)
