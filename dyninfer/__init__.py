"""Learn the dynamics behind snapshots and sparse paths, then simulate them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public name -> module that defines it. Imported on first use: torch, POT and scanpy are slow to import.
_NAMES = {
    "Snapshots": "dyninfer.snapshots",
    "Paths": "dyninfer.paths",
    "Trajectories": "dyninfer.trajectories",
    "Diffusion": "dyninfer.processes",
    "MarkovJump": "dyninfer.processes",
    "FractionalDiffusion": "dyninfer.processes",
    "DensityPath": "dyninfer.density_paths",
    "OTCoupling": "dyninfer.couplings",
    "UnbalancedOTCoupling": "dyninfer.couplings",
    "EntropicOTCoupling": "dyninfer.couplings",
    "SparseOTCoupling": "dyninfer.couplings",
    "ConeCoupling": "dyninfer.couplings",
    "GivenPairs": "dyninfer.couplings",
    "IndependentCoupling": "dyninfer.couplings",
    "Training": "dyninfer.training",
    "simulate": "dyninfer.solvers",
    "log_density": "dyninfer.solvers",
    "ActionMatching": "dyninfer.estimators",
    "WassersteinLagrangianFlow": "dyninfer.estimators",
    "OptimalTransport": "dyninfer.lagrangians",
    "SchrodingerBridge": "dyninfer.lagrangians",
    "UnbalancedTransport": "dyninfer.lagrangians",
    "PhysicalPotential": "dyninfer.lagrangians",
    "MeanAcceleration": "dyninfer.lagrangians",
    "DataManifold": "dyninfer.lagrangians",
    "StochasticInterpolant": "dyninfer.estimators",
    "Estimator": "dyninfer.estimators",
    "SnapshotEstimator": "dyninfer.estimators",
    "PathEstimator": "dyninfer.estimators",
    "MarkovJumpInference": "dyninfer.estimators",
    "FractionalSDE": "dyninfer.estimators",
    "load": "dyninfer.estimators",
}
_MODULES = {
    "datasets": "dyninfer.datasets",
    "simulators": "dyninfer.simulators",
    "metrics": "dyninfer.metrics",
    "pl": "dyninfer.plotting",
    "testing": "dyninfer.testing",
}

__all__ = ["__version__", *_NAMES, *_MODULES]

if TYPE_CHECKING:
    from dyninfer import datasets, metrics, simulators, testing
    from dyninfer import plotting as pl
    from dyninfer.couplings import (
        ConeCoupling,
        EntropicOTCoupling,
        GivenPairs,
        IndependentCoupling,
        OTCoupling,
        SparseOTCoupling,
        UnbalancedOTCoupling,
    )
    from dyninfer.density_paths import DensityPath
    from dyninfer.estimators import Estimator, load
    from dyninfer.estimators.action_matching import ActionMatching
    from dyninfer.estimators.fractional_sde import FractionalSDE
    from dyninfer.estimators.from_paths import PathEstimator
    from dyninfer.estimators.from_snapshots import SnapshotEstimator
    from dyninfer.estimators.lagrangian_flow import WassersteinLagrangianFlow
    from dyninfer.estimators.markov_jump import MarkovJumpInference
    from dyninfer.estimators.stochastic_interpolant import StochasticInterpolant
    from dyninfer.lagrangians import (
        DataManifold,
        MeanAcceleration,
        OptimalTransport,
        PhysicalPotential,
        SchrodingerBridge,
        UnbalancedTransport,
    )
    from dyninfer.paths import Paths
    from dyninfer.processes import Diffusion, FractionalDiffusion, MarkovJump
    from dyninfer.snapshots import Snapshots
    from dyninfer.solvers import log_density, simulate
    from dyninfer.training import Training
    from dyninfer.trajectories import Trajectories


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'dyninfer' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
