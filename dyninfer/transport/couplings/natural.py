"""The coupling that belongs to a kinetic energy, noise and growth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numpy import ndarray

from dyninfer.transport.couplings.base import Coupling
from dyninfer.transport.couplings.cone import ConeCoupling
from dyninfer.transport.couplings.entropic import BridgeCoupling, EntropicOTCoupling
from dyninfer.transport.couplings.exact import OTCoupling

if TYPE_CHECKING:
    from dyninfer.transport.lagrangians import ScaledLagrangian


def natural_couplings(lagrangian: ScaledLagrangian, gaps: ndarray) -> list[Coupling]:
    """Static problems of a Lagrangian, one for every interval.

    Least kinetic energy is optimal transport; with noise, entropic transport with kernel
    ``exp(−|x − y|² / 2σ²Δt)`` (Léonard 2014, arXiv 1308.0215); with growth, the
    Wasserstein-Fisher-Rao problem; with both, its entropic form. A potential enters where bridges
    in it are known, and else is left to the curve.

    Parameters
    ----------
    lagrangian : ScaledLagrangian
    gaps : array ``(K − 1,)``
        Lengths of the intervals, in scaled units.
    """
    sigma = lagrangian.sigma
    growth_penalty = lagrangian.growth_penalty
    bridge = lagrangian.bridge
    durations = [float(gap) for gap in gaps]
    if growth_penalty is not None:
        return [
            ConeCoupling(growth_penalty=growth_penalty, sigma=sigma, duration=duration)
            for duration in durations
        ]
    if bridge is not None:
        return [BridgeCoupling(sigma=sigma, bridge=bridge, gap=gap) for gap in durations]
    if sigma:
        return [EntropicOTCoupling(sigma=sigma, duration=duration) for duration in durations]
    return [OTCoupling() for _ in durations]
