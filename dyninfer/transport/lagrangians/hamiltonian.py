"""The Hamiltonian of a density's motion, for every method that learns a potential."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from dyninfer.learning.networks import Derivatives
from dyninfer.transport.lagrangians.curve_density import DensityPotential

if TYPE_CHECKING:
    from dyninfer.transport.lagrangians.quadratic import QuadraticBridge

Potential = Callable[[Tensor, Tensor], Tensor]


def hamiltonian(
    s: Derivatives,
    *,
    sigma: float = 0.0,
    growth_penalty: float | None = None,
    energy: Tensor | None = None,
) -> Tensor:
    r"""Hamiltonian density ``(n,)`` of a potential, without its time derivative.

    .. math:: H = \tfrac12 |\nabla s|^2 + \tfrac{\sigma^2}{2} \Delta s + \tfrac{\lambda}{2} s^2 + V

    The first term moves mass with velocity ∇s, the second adds noise of amplitude σ (arXiv
    2210.06662, entropic Action Matching), the third lets mass grow at rate λs (unbalanced Action
    Matching), the fourth is the potential energy of a Lagrangian (arXiv 2310.10649).

    Parameters
    ----------
    s : Derivatives
        Value, gradient and, where ``sigma`` is not zero, Laplacian.
    sigma : float
        Noise amplitude σ.
    growth_penalty : float, optional
        λ; None conserves mass.
    energy : tensor ``(n,)``, optional
        Potential energy V at the same points.
    """
    H = 0.5 * s.gradient.square().sum(1)
    if sigma:
        if s.laplacian is None:
            raise ValueError("sigma needs derivatives that hold a Laplacian; ask for it")
        of_noise = 0.5 * sigma**2 * s.laplacian
        H = H + of_noise
    if growth_penalty is not None:
        of_growth = 0.5 * growth_penalty * s.value.square()
        H = H + of_growth
    if energy is not None:
        H = H + energy
    return H


@dataclass(frozen=True)
class ScaledLagrangian:
    """A Lagrangian in scaled units, bound to the data: what an objective works with.

    Attributes
    ----------
    sigma : float
        Noise amplitude.
    growth_penalty : float or None
        λ, or None where mass is conserved.
    constrained : bool
        Whether the total mass is prescribed at every time, and not at the snapshots only.
    potential : callable or None
        Potential energy ``V(t, x)``, ``(n,), (n, d) -> (n,)``.
    bridge : QuadraticBridge or None
        Bridges of the noise in the potential, where there are both and mass is conserved.
    """

    sigma: float = 0.0
    growth_penalty: float | None = None
    constrained: bool = False
    potential: Potential | None = None
    bridge: QuadraticBridge | None = None

    @property
    def bends(self) -> bool:
        """Whether a potential moves pairs away from the ways that are known in closed form."""
        if self.potential is None:
            return False
        return self.bridge is None or not self.bridge.solved

    def energy(self, t: Tensor, x: Tensor) -> Tensor:
        """Potential energy of a unit of mass ``(n,)``; its slope is that of what cells feel.

        The two differ where the energy is one of the density.
        """
        assert self.potential is not None
        if isinstance(self.potential, DensityPotential):
            return self.potential.felt(t, x)
        return self.potential(t, x)

    def hamiltonian(self, t: Tensor, x: Tensor, s: Derivatives) -> Tensor:
        """H at times ``(n,)`` and states ``(n, d)``; see :func:`hamiltonian`."""
        energy = None if self.potential is None else self.potential(t, x)
        return hamiltonian(s, sigma=self.sigma, growth_penalty=self.growth_penalty, energy=energy)
