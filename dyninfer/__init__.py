"""Learn the dynamics behind snapshots and sparse paths, then simulate them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public name -> module that defines it. Imported on first use: torch, POT and scanpy are slow to import.
_NAMES = {
    "Snapshots": "dyninfer.data.snapshots",
    "Paths": "dyninfer.data.paths",
    "Trajectories": "dyninfer.data.trajectories",
    "Diffusion": "dyninfer.diffusions",
    "MarkovJump": "dyninfer.jumps.process",
    "FractionalDiffusion": "dyninfer.fractional.process",
    "DensityCurve": "dyninfer.transport.curves",
    "OTCoupling": "dyninfer.transport.couplings",
    "UnbalancedOTCoupling": "dyninfer.transport.couplings",
    "EntropicOTCoupling": "dyninfer.transport.couplings",
    "SparseOTCoupling": "dyninfer.transport.couplings",
    "ConeCoupling": "dyninfer.transport.couplings",
    "GivenPairs": "dyninfer.transport.couplings",
    "IndependentCoupling": "dyninfer.transport.couplings",
    "Training": "dyninfer.learning.training",
    "simulate": "dyninfer.simulation",
    "log_density": "dyninfer.simulation",
    "ActionMatching": "dyninfer.estimators",
    "WassersteinLagrangianFlow": "dyninfer.estimators",
    "OptimalTransport": "dyninfer.transport.lagrangians",
    "SchrodingerBridge": "dyninfer.transport.lagrangians",
    "UnbalancedTransport": "dyninfer.transport.lagrangians",
    "PhysicalPotential": "dyninfer.transport.lagrangians",
    "MeanAcceleration": "dyninfer.transport.lagrangians",
    "DataManifold": "dyninfer.transport.lagrangians",
    "StochasticInterpolant": "dyninfer.estimators",
    "Estimator": "dyninfer.estimators",
    "SnapshotEstimator": "dyninfer.estimators",
    "PathEstimator": "dyninfer.estimators",
    "MarkovJumpInference": "dyninfer.estimators",
    "Labels": "dyninfer.jumps.settings",
    "ExactLabels": "dyninfer.jumps.settings",
    "Confusion": "dyninfer.jumps.settings",
    "Gaussian": "dyninfer.jumps.settings",
    "AllJumps": "dyninfer.jumps.settings",
    "Only": "dyninfer.jumps.settings",
    "Reversible": "dyninfer.jumps.settings",
    "BirthDeath": "dyninfer.jumps.settings",
    "Clones": "dyninfer.jumps.settings",
    "KMeansStates": "dyninfer.jumps.likelihood.discretize",
    "MixtureStates": "dyninfer.jumps.likelihood.discretize",
    "FractionalSDE": "dyninfer.estimators",
    "FractionalNoise": "dyninfer.fractional.settings",
    "Observed": "dyninfer.fractional.settings",
    "Latent": "dyninfer.fractional.settings",
    "Exact": "dyninfer.fractional.settings",
    "Variational": "dyninfer.fractional.settings",
    "load": "dyninfer.estimators",
}
_MODULES = {
    "datasets": "dyninfer.datasets",
    "simulators": "dyninfer.simulators",
    "solvers": "dyninfer.simulation.solvers",
    "metrics": "dyninfer.metrics",
    "pl": "dyninfer.plotting",
    "testing": "dyninfer.testing",
}

__all__ = ["__version__", *_NAMES, *_MODULES]

if TYPE_CHECKING:
    from dyninfer import datasets, metrics, simulators, testing
    from dyninfer import plotting as pl
    from dyninfer.data.paths import Paths
    from dyninfer.data.snapshots import Snapshots
    from dyninfer.data.trajectories import Trajectories
    from dyninfer.diffusions import Diffusion
    from dyninfer.estimators import Estimator, load
    from dyninfer.estimators.action_matching import ActionMatching
    from dyninfer.estimators.fractional_sde import FractionalSDE
    from dyninfer.estimators.lagrangian_flow import WassersteinLagrangianFlow
    from dyninfer.estimators.markov_jump import MarkovJumpInference
    from dyninfer.estimators.paths import PathEstimator
    from dyninfer.estimators.snapshots import SnapshotEstimator
    from dyninfer.estimators.stochastic_interpolant import StochasticInterpolant
    from dyninfer.fractional.process import FractionalDiffusion
    from dyninfer.fractional.settings import (
        Exact,
        FractionalNoise,
        Latent,
        Observed,
        Variational,
    )
    from dyninfer.jumps.likelihood.discretize import KMeansStates, MixtureStates
    from dyninfer.jumps.process import MarkovJump
    from dyninfer.jumps.settings import (
        AllJumps,
        BirthDeath,
        Clones,
        Confusion,
        ExactLabels,
        Gaussian,
        Labels,
        Only,
        Reversible,
    )
    from dyninfer.learning.training import Training
    from dyninfer.simulation import log_density, simulate, solvers
    from dyninfer.transport.couplings import (
        ConeCoupling,
        EntropicOTCoupling,
        GivenPairs,
        IndependentCoupling,
        OTCoupling,
        SparseOTCoupling,
        UnbalancedOTCoupling,
    )
    from dyninfer.transport.curves import DensityCurve
    from dyninfer.transport.lagrangians import (
        DataManifold,
        MeanAcceleration,
        OptimalTransport,
        PhysicalPotential,
        SchrodingerBridge,
        UnbalancedTransport,
    )


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'dyninfer' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
