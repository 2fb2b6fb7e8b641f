"""The coupling that belongs to a kinetic energy, noise and growth."""

from __future__ import annotations

from numpy import ndarray

from dyninfer.transport.couplings.base import Coupling
from dyninfer.transport.couplings.cone import ConeCoupling
from dyninfer.transport.couplings.entropic import EntropicOTCoupling
from dyninfer.transport.couplings.exact import OTCoupling


def natural_couplings(sigma: float, growth_penalty: float | None, gaps: ndarray) -> list[Coupling]:
    """Static problems of a Lagrangian without its potential, one for every interval.

    Least kinetic energy is optimal transport; with noise, entropic transport with kernel
    ``exp(−|x − y|² / 2σ²Δt)`` (Léonard 2014, arXiv 1308.0215); with growth, the
    Wasserstein-Fisher-Rao problem; with both, its entropic form.

    Parameters
    ----------
    sigma : float
        Noise amplitude σ, in scaled units, as are the others.
    growth_penalty : float or None
        λ, or None where mass is conserved.
    gaps : array ``(K − 1,)``
        Lengths of the intervals.
    """
    durations = [float(gap) for gap in gaps]
    if growth_penalty is not None:
        return [
            ConeCoupling(growth_penalty=growth_penalty, sigma=sigma, duration=duration)
            for duration in durations
        ]
    if sigma:
        return [EntropicOTCoupling(sigma=sigma, duration=duration) for duration in durations]
    return [OTCoupling() for _ in durations]
