"""The discrete transport problem, which every solver takes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from dyninfer.metrics.samples import distances


class TransportProblem(NamedTuple):
    """Cost between two weighted samples."""

    cost: np.ndarray  # (n, m)
    a: np.ndarray  # (n,) positive weights of the first sample, summing to one
    b: np.ndarray  # (m,) positive weights of the second sample, summing to one

    @property
    def mean_cost(self) -> float:
        """Mean cost of random pairs; one where all costs are zero, so that it can be a unit."""
        return float(self.a @ self.cost @ self.b) or 1.0


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances ``(n, m)`` in double precision, short ones beside long ones."""
    x = x.astype(np.float64)
    y = y.astype(np.float64)
    # Distances far from the origin would drown in rounding.
    middle = x.mean(0)
    x, y = x - middle, y - middle
    lengths = distances(torch.from_numpy(x), torch.from_numpy(y))
    return lengths.square_().numpy()


def failed() -> ValueError:
    """Return the error of a transport problem that has no answer."""
    return ValueError(
        "optimal transport failed on these samples; check them for extreme values or rescale them"
    )
