"""What a solver will need to run a process, as a part of what training makes smaller."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dyninfer.learning.objective import Batch, Objective
from dyninfer.learning.parallel import every, share, world

# Samples that are looked at: an embedded step evaluates the process seven times.
N_SAMPLES = 64


def steps_to_run(objective: Objective, process: Any, batch: Batch) -> Tensor:
    """Mean number of steps that a solver is expected to take, over some samples of a batch.

    With several processes, the share of this one in that mean.
    """
    n = next(len(part) for part in batch if isinstance(part, Tensor))
    # Each process must have a sample.
    n_few = max(N_SAMPLES, world())
    stride = max(1, n // n_few)
    few, portion = share(every(batch, 0, stride))
    return objective.effort(process, few).mean() * portion
