"""Distances between two weighted samples: Wasserstein, sliced Wasserstein, MMD and energy distance.

Every distance takes ``x (n, d)`` and a reference ``y (m, d)``, NumPy arrays or tensors, with optional weights, and gives
a float. The work is done in float64 on the device of ``x``.
"""

from dyninfer.metrics.gaussian import gaussian_kl
from dyninfer.metrics.kernels import energy_distance, median_distance, mmd
from dyninfer.metrics.populations import METRICS, compare_populations, finite_sample_floor
from dyninfer.metrics.samples import UndefinedMetricError
from dyninfer.metrics.transport import sliced_wasserstein, wasserstein

__all__ = [
    "METRICS",
    "UndefinedMetricError",
    "compare_populations",
    "energy_distance",
    "finite_sample_floor",
    "gaussian_kl",
    "median_distance",
    "mmd",
    "sliced_wasserstein",
    "wasserstein",
]
