"""Energies of the density itself: what a cell feels is how dense the population is around it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dyninfer.transport.lagrangians.terms import Lagrangian


class DensityEnergy(Lagrangian):
    r"""Base of energies ``U = ∫ f(ρ) dx`` of the density of the curve, in ``L = K − U``."""

    strength: float

    @property
    def of_density(self) -> bool:
        """True."""
        return True

    def first_variation(self, log_density: Tensor) -> Tensor:
        """``f'(ρ)``, which acts on cells as a potential; shapes ``(n,)``, in data units."""
        raise NotImplementedError

    def energy(self, log_density: Tensor) -> Tensor:
        """``f(ρ)/ρ``, energy per unit of mass; shapes ``(n,)``, in data units."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise a ValueError where the strength is zero or not finite."""
        super().check()
        name = type(self).__name__
        if self.strength == 0 or not math.isfinite(self.strength):
            raise ValueError(
                f"{name}.strength must be finite and not zero, found {self.strength}; below zero, "
                "density is costly, and the curve widens between the snapshots"
            )


@dataclass(repr=False, eq=False)
class InternalEnergy(DensityEnergy):
    r"""Internal energy of an isothermal gas: rays obey ``ẍ = −κ ∇log ρ``.

    .. math:: L = \int \tfrac12 |v|^2 \rho\,dx - \kappa \int \rho \log \rho\,dx

    The sign is that of :class:`PhysicalPotential`, for an ordinary gas. If κ is positive, density
    pushes cells apart, so a curve through two snapshots is narrower between them (it starts inwards
    and returns). If κ is negative, density is costly, the curve is wider between the snapshots, and
    the problem is convex. The width ``s`` of a normal population obeys ``s'' = κ/s``. With κ
    positive there is no solution from width ``s`` back to ``s`` in a time longer than ``1.53
    s/√κ``, and no curve of least action.

    Parameters
    ----------
    strength : float
        κ, in squared state units per squared unit of time: the squared speed of sound.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.OptimalTransport() + di.InternalEnergy(strength=0.1)
    OptimalTransport() + InternalEnergy(strength=0.1)
    """

    strength: float

    def first_variation(self, log_density: Tensor) -> Tensor:
        """``κ (log ρ + 1)``."""
        return float(self.strength) * (log_density + 1)

    def energy(self, log_density: Tensor) -> Tensor:
        """``κ log ρ``."""
        return float(self.strength) * log_density


@dataclass(repr=False, eq=False)
class Congestion(DensityEnergy):
    r"""Energy of crowding: rays obey ``ẍ = −κ m ∇ρ^{m−1}``.

    .. math:: L = \int \tfrac12 |v|^2 \rho\,dx - \kappa \int \rho^m\,dx

    The sign is that of :class:`InternalEnergy`: a negative κ makes crowding costly. On the line
    with ``m = 2``, a parabola of half-width ``a`` stays one, with ``a'' = 3κ/a²`` (Barenblatt's
    profile). Use it for few features; in many, densities span too many orders of magnitude.

    Parameters
    ----------
    strength : float
        κ, in squared state units per squared unit of time and per density to the power ``m − 1``.
    power : float
        m, above 1.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.OptimalTransport() + di.Congestion(strength=0.1)
    OptimalTransport() + Congestion(strength=0.1)
    """

    strength: float
    power: float = 2.0

    def check(self) -> None:
        """Raise a ValueError where the strength is zero or the power is not above 1."""
        super().check()
        if not 1 < self.power < math.inf:
            raise ValueError(
                f"Congestion.power must be above 1, found {self.power}; its limit 1 is "
                "InternalEnergy"
            )

    def first_variation(self, log_density: Tensor) -> Tensor:
        """``κ m ρ^{m−1}``."""
        return self.power * self.energy(log_density)

    def energy(self, log_density: Tensor) -> Tensor:
        """``κ ρ^{m−1}``."""
        exponent = self.power - 1
        return float(self.strength) * torch.exp(exponent * log_density)
