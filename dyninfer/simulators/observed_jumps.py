"""Jump processes watched at given times: what the simulators of states have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dyninfer.data.paths import Paths
from dyninfer.jumps import observe
from dyninfer.jumps.process import MarkovJump
from dyninfer.learning.random import subseed
from dyninfer.simulation import simulate
from dyninfer.simulators.base import check_draw, check_times


def observed_jumps(
    process: MarkovJump, emission: Any, times: Iterable[float], n: int, seed: int
) -> Paths:
    """Run ``n`` individuals from the initial distribution, and observe their states.

    Parameters
    ----------
    process : MarkovJump
        What is run, exactly.
    emission : LabelNoise or GaussianEmission
        What is seen of a state.
    times : iterable of float
        When, increasing and not negative.
    n : int
        Number of individuals.
    seed : int
        Fixes the jumps and what is seen of them, by streams of their own.
    """
    check_draw(n, seed)
    times = check_times(times)
    # Two streams: what is seen of the jumps does not change them.
    of_jumps = subseed(seed, "jumps")
    runs = simulate(process, None, times, n_paths=n, seed=of_jumps)
    of_labels = subseed(seed, "observations")
    return observe(runs, emission, seed=of_labels)
