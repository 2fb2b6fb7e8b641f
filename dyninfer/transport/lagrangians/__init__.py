"""Lagrangians: prior knowledge about how a population moves, and the Hamiltonian it leads to.

Known ones in ``terms``, those found in the data in ``from_data``, those of the curve's own density
in ``of_density``. The static problems that they
pose between two snapshots belong to ``couplings``.
"""

from dyninfer.transport.lagrangians.from_data import DataManifold, MeanAcceleration
from dyninfer.transport.lagrangians.hamiltonian import Potential, ScaledLagrangian, hamiltonian
from dyninfer.transport.lagrangians.of_density import Congestion, InternalEnergy
from dyninfer.transport.lagrangians.quadratic import (
    QuadraticBridge,
    nearest_quadratic,
    with_bridge,
)
from dyninfer.transport.lagrangians.terms import (
    Lagrangian,
    LagrangianSum,
    OptimalTransport,
    PhysicalPotential,
    SchrodingerBridge,
    UnbalancedTransport,
)

__all__ = [
    "Congestion",
    "DataManifold",
    "InternalEnergy",
    "Lagrangian",
    "LagrangianSum",
    "MeanAcceleration",
    "OptimalTransport",
    "PhysicalPotential",
    "Potential",
    "QuadraticBridge",
    "ScaledLagrangian",
    "SchrodingerBridge",
    "UnbalancedTransport",
    "hamiltonian",
    "nearest_quadratic",
    "with_bridge",
]
