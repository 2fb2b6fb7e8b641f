"""Look at simulated paths as an experiment would: with noise, at some times, with gaps."""

from __future__ import annotations

import numpy as np
import torch

from dyninfer.data.paths import Paths
from dyninfer.data.trajectories import Trajectories
from dyninfer.jumps.likelihood.observation import Emission
from dyninfer.learning.random import stream


def observe(
    trajectories: Trajectories,
    emission: Emission,
    keep: float = 1.0,
    missing: float = 0.0,
    seed: int = 0,
) -> Paths:
    """Observe simulated jump paths.

    Parameters
    ----------
    trajectories : Trajectories
        Integer states on a grid.
    emission : Emission
        What is observed of a state.
    keep : float in (0, 1]
        Chance of each time but the first to be observed: below 1 the grids are irregular, each path
        has its own.
    missing : float in [0, 1)
        Chance of each observation but the first to be lost, which leaves a gap.
    seed : int
        Everything random derives from it.

    Raises
    ------
    TypeError, ValueError
        If the trajectories are continuous, or a chance is out of range.
    """
    if not trajectories.discrete:
        raise TypeError("observe looks at integer states; these trajectories are continuous")
    if not 0 < keep <= 1 or not 0 <= missing < 1:
        raise ValueError(
            f"keep must be in (0, 1] and missing in [0, 1), found {keep!r} and {missing!r}"
        )
    states = trajectories.states.long()
    g = stream(seed, "observe", device=states.device)
    observations = emission.sample(states, g)
    shape = 2, *states.shape
    chances = torch.rand(shape, generator=g, device=states.device)
    is_observed = chances[0] < keep
    is_lost = chances[1] < missing
    # Every path keeps its first observation: it must begin somewhere.
    is_observed[:, 0] = True
    is_lost[:, 0] = False
    if observations.is_floating_point():
        observations[is_lost] = torch.nan
        state_names = None
    else:
        observations[is_lost] = -1
        state_names = tuple(map(str, range(emission.n_states)))
    grid = trajectories.times.cpu().numpy()
    rows = is_observed.cpu().numpy()
    values = observations.cpu().numpy()
    return Paths(
        times=tuple(grid[row] for row in rows),
        states=tuple(x[row] for x, row in zip(values, rows, strict=True)),
        names=np.asarray(trajectories.origin),
        state_names=state_names,
    )
