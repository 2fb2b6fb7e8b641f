"""Metrics: distances between populations, what chance alone would score, and scores of an arrival.

Every distance takes ``x (n, d)`` and a reference ``y (m, d)``, arrays or tensors, with optional
weights, and gives a float, in the units of the samples. The work is done in float64 on the device
of ``x``. Scores of forecasts (CRPS, energy and Brier score) and their coverage take draws and what
was then observed; the Hellinger distance is one between distributions of states; the Monge gap
takes points and their images under a map. The exact transport problem (``simplex``) is here, as
couplings build on it too. Nothing here knows a process or an estimator.

Names are loaded when they are first used, so that importing the room loads neither torch nor POT.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dyninfer.metrics.calibration import coverage, state_coverage
    from dyninfer.metrics.gaussian import gaussian_kl
    from dyninfer.metrics.kernels import energy_distance, median_distance, mmd
    from dyninfer.metrics.monge import MongeGap, monge_gap
    from dyninfer.metrics.populations import METRICS, compare_populations, finite_sample_floor
    from dyninfer.metrics.reliability_table import expected_calibration_error, reliability
    from dyninfer.metrics.samples import UndefinedMetricError
    from dyninfer.metrics.scores import brier_score, crps, energy_score, hellinger_distance
    from dyninfer.metrics.transport import sliced_wasserstein, wasserstein

__all__ = [
    "METRICS",
    "MongeGap",
    "UndefinedMetricError",
    "brier_score",
    "compare_populations",
    "coverage",
    "crps",
    "energy_distance",
    "energy_score",
    "expected_calibration_error",
    "finite_sample_floor",
    "gaussian_kl",
    "hellinger_distance",
    "median_distance",
    "mmd",
    "monge_gap",
    "reliability",
    "sliced_wasserstein",
    "state_coverage",
    "wasserstein",
]

_MODULES = {
    "METRICS": "populations",
    "MongeGap": "monge",
    "UndefinedMetricError": "samples",
    "brier_score": "scores",
    "compare_populations": "populations",
    "coverage": "calibration",
    "crps": "scores",
    "energy_distance": "kernels",
    "energy_score": "scores",
    "expected_calibration_error": "reliability_table",
    "finite_sample_floor": "populations",
    "gaussian_kl": "gaussian",
    "hellinger_distance": "scores",
    "median_distance": "kernels",
    "mmd": "kernels",
    "monge_gap": "monge",
    "reliability": "reliability_table",
    "sliced_wasserstein": "transport",
    "state_coverage": "calibration",
    "wasserstein": "transport",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_MODULES[name]}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return __all__
