"""The discrete transport problem, which every solver takes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy import ndarray

from dyninfer.metrics.samples import distances


class TransportProblem(NamedTuple):
    """Cost between two weighted samples."""

    cost: ndarray  # (n, m)
    a: ndarray  # (n,) positive weights of the first sample, summing to one
    b: ndarray  # (m,) positive weights of the second sample, summing to one

    @property
    def mean_cost(self) -> float:
        """Mean cost of random pairs; one where all costs are zero, so that it can be a unit."""
        mean = self.a @ self.cost @ self.b
        return float(mean) or 1.0


def squared_distances(x: ndarray, y: ndarray) -> ndarray:
    """Squared Euclidean distances ``(n, m)`` in double precision, short ones beside long ones."""
    # Not moved to their middle: beside a group far away, that would round the short distances.
    x_double = x.astype(np.float64)
    points = torch.from_numpy(x_double)
    y_double = y.astype(np.float64)
    others = torch.from_numpy(y_double)
    lengths = distances(points, others)
    return lengths.square_().numpy()


def failed() -> ValueError:
    """Return the error of a transport problem that has no answer."""
    return ValueError(
        "optimal transport failed on these samples; check them for extreme values or rescale them"
    )
