"""Lagrangians on the space of densities: what is known beforehand about how a population moves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from dyninfer.data.snapshots import Snapshots
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.settings import Settings, brief
from dyninfer.transport.lagrangians.curve_density import CurveDensity, DensityPotential
from dyninfer.transport.lagrangians.hamiltonian import Potential, ScaledLagrangian


class Lagrangian(Settings):
    r"""Base of Lagrangians ``L = K − U``: kinetic (of motion and growth) minus potential energy.

    Lagrangians add up: ``UnbalancedTransport(0.1) + SchrodingerBridge(0.3)`` has growth and noise.
    The kinetic energy :math:`\tfrac12 E|\dot x|^2` is part of each and is counted once. A new one
    derives from this class and overrides what it adds: ``noise``, ``penalty``, ``constrained`` or
    ``potential``.
    """

    @property
    def parts(self) -> tuple[Lagrangian, ...]:
        """The terms of a sum, or the Lagrangian itself."""
        return (self,)

    @property
    def noise(self) -> float:
        """Noise amplitude σ, in state units per square root of time."""
        return 0.0

    @property
    def penalty(self) -> float | Literal["auto"] | None:
        """Growth penalty λ, in inverse squared state units, or None if mass is conserved."""
        return None

    def priced(self, growth_penalty: float | None) -> Lagrangian:
        """The same Lagrangian with a number in place of an "auto" growth penalty."""
        return self

    @property
    def constrained(self) -> bool:
        """Whether the total mass is prescribed between the snapshots, too."""
        return False

    @property
    def of_density(self) -> bool:
        """Whether it is an energy of the density of the curve."""
        return False

    @property
    def has_potential(self) -> bool:
        """Whether there is a potential energy."""
        return any(type(term).potential is not Lagrangian.potential for term in self.parts)

    def potential(self, data: Snapshots, scaling: Scaling) -> Potential | None:
        """Potential energy ``V(t, x)`` in scaled units, or None.

        If it depends on data, these are the data of ``fit``.
        """
        return None

    def check(self) -> None:
        """Raise a ValueError or TypeError that names an invalid setting."""
        self.check_kinds(f"{type(self).__name__}.")

    def scaled(self, data: Snapshots, scaling: Scaling) -> ScaledLagrangian:
        """The same Lagrangian in scaled units, with its potential computed from ``data``."""
        growth_penalty = potential = None
        if self.penalty == "auto":
            raise ValueError("growth_penalty='auto' has no value yet; take one by priced(...)")
        if self.penalty is not None:
            growth_penalty = scaling.growth_penalty(self.penalty)
        if self.has_potential:
            potential = self.potential(data, scaling)
        if self.of_density:
            energies: Any = [term for term in self.parts if term.of_density]
            density = CurveDensity()
            potential = DensityPotential(energies, density, scaling, beside=potential)
        sigma = scaling.amplitude(self.noise)
        return ScaledLagrangian(sigma, growth_penalty, self.constrained, potential)

    def __add__(self, other: Any) -> LagrangianSum:
        # Python then asks the other operand, and says what cannot be added.
        if not isinstance(other, Lagrangian):
            return NotImplemented
        terms = [*self.parts, *other.parts]
        return LagrangianSum(terms=terms)


@dataclass(repr=False, eq=False)
class LagrangianSum(Lagrangian):
    """Sum of Lagrangians, as ``+`` makes it.

    Parameters
    ----------
    terms : list of Lagrangian
    """

    terms: list[Lagrangian]

    @property
    def parts(self) -> tuple[Lagrangian, ...]:
        """The terms."""
        return tuple(self.terms)

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        return " + ".join(map(repr, self.terms))

    @property
    def noise(self) -> float:
        """Noise amplitude of the term that has one."""
        return next((t.noise for t in self.terms if t.noise), 0.0)

    @property
    def penalty(self) -> float | Literal["auto"] | None:
        """Growth penalty of the term that has one."""
        return next((t.penalty for t in self.terms if t.penalty is not None), None)

    def priced(self, growth_penalty: float | None) -> LagrangianSum:
        """The sum of the terms, each with a number for a growth penalty left to the data."""
        return LagrangianSum(terms=[term.priced(growth_penalty) for term in self.terms])

    @property
    def constrained(self) -> bool:
        """Whether a term prescribes the total mass."""
        return any(t.constrained for t in self.terms)

    @property
    def of_density(self) -> bool:
        """Whether a term is an energy of the density."""
        return any(t.of_density for t in self.terms)

    def potential(self, data: Snapshots, scaling: Scaling) -> Potential | None:
        """Sum of the terms' potentials."""
        # Made once and not in every call: a potential of data, such as a density, is dear.
        potentials = [term.potential(data, scaling) for term in self.terms]
        parts = [V for V in potentials if V is not None]
        return lambda t, x: torch.stack([V(t, x) for V in parts]).sum(0)

    def check(self) -> None:
        """Raise where a term cannot be, or two terms say different things about one quantity."""
        if not self.terms:
            raise ValueError("a sum of Lagrangians needs at least one term")
        for term in self.terms:
            if not isinstance(term, Lagrangian):
                raise TypeError(f"only Lagrangians can be added up, found {brief(term)}")
            term.check()
        # Of potentials there may be several: energies add up.
        quantities = {"noise": SchrodingerBridge, "growth": UnbalancedTransport}
        for quantity, kind in quantities.items():
            same = [repr(term) for term in self.terms if isinstance(term, kind)]
            if len(same) > 1:
                raise ValueError(f"{' and '.join(same)} both set the {quantity}; keep one of them")
            if same and self.of_density:
                energies = [repr(term) for term in self.terms if term.of_density]
                raise ValueError(
                    f"{energies[0]} is for curves without noise and growth, whose bridges and "
                    f"cones would ignore it; leave out {same[0]}"
                )


@dataclass(repr=False, eq=False)
class OptimalTransport(Lagrangian):
    r"""Least kinetic energy: cells move straight, at constant speed, to their optimal partners.

    .. math:: L = \int \tfrac12 |v|^2 q\,dx

    Examples
    --------
    >>> import dyninfer as di
    >>> di.WassersteinLagrangianFlow(lagrangian=di.OptimalTransport()).lagrangian
    OptimalTransport()
    """


@dataclass(repr=False, eq=False)
class SchrodingerBridge(Lagrangian):
    r"""Optimal transport of particles that diffuse: ``dX = ∇s dt + σ dW``.

    .. math:: L = \int \tfrac12 |v|^2 q\,dx, \qquad
        \partial_t q = -\nabla\cdot(q v) + \tfrac{\sigma^2}{2}\Delta q

    Parameters
    ----------
    sigma : float
        Noise amplitude σ, in state units per square root of time.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.SchrodingerBridge(sigma=0.3) + di.UnbalancedTransport(growth_penalty=1.0)
    SchrodingerBridge(sigma=0.3) + UnbalancedTransport(growth_penalty=1.0)
    """

    sigma: float

    @property
    def noise(self) -> float:
        """The noise amplitude σ."""
        return self.sigma

    def check(self) -> None:
        """Raise a ValueError where σ is not positive."""
        super().check()
        if not 0 < self.sigma < math.inf:
            raise ValueError(f"SchrodingerBridge.sigma must be positive, found {self.sigma}")


@dataclass(repr=False, eq=False)
class UnbalancedTransport(Lagrangian):
    r"""Wasserstein-Fisher-Rao: cells move, and grow or die at rate ``g = λs``.

    .. math:: L = \int \big(\tfrac12 |v|^2 + \tfrac{1}{2\lambda} g^2\big) q\,dx, \qquad
        \partial_t q = -\nabla\cdot(q v) + g q

    Mass can move at most ``π/√λ``; beyond that it is destroyed and created in place.

    Parameters
    ----------
    growth_penalty : float or "auto"
        λ, in inverse squared state units: the larger, the cheaper growth is compared with motion.
        "auto" takes 4/D, as :class:`~dyninfer.ActionMatching` does, with D the mean squared
        distance between neighbouring snapshots.
    mass : {"free", "constrained"}
        "free" prescribes the total mass only at the snapshots (in between it may dip, as on the
        Wasserstein-Fisher-Rao geodesic). "constrained" prescribes it at every time, interpolated
        exponentially: the spherical problem.

    Examples
    --------
    >>> import dyninfer as di
    >>> growing = di.UnbalancedTransport(growth_penalty="auto")
    >>> di.WassersteinLagrangianFlow(lagrangian=growing).lagrangian
    UnbalancedTransport(growth_penalty='auto')
    """

    growth_penalty: float | Literal["auto"]
    mass: Literal["free", "constrained"] = "free"

    @property
    def penalty(self) -> float | Literal["auto"]:
        """The growth penalty λ."""
        return self.growth_penalty

    def priced(self, growth_penalty: float | None) -> UnbalancedTransport:
        """The same Lagrangian with this λ in place of "auto"."""
        if self.growth_penalty != "auto" or growth_penalty is None:
            return self
        return replace(self, growth_penalty=growth_penalty)

    @property
    def constrained(self) -> bool:
        """Whether the total mass is prescribed between the snapshots."""
        return self.mass == "constrained"

    def check(self) -> None:
        """Raise a ValueError where λ is not positive or ``mass`` is not known."""
        super().check()
        penalty = self.growth_penalty
        if isinstance(penalty, str):
            if penalty != "auto":
                raise ValueError(
                    "UnbalancedTransport.growth_penalty must be a number or 'auto', found "
                    f"{brief(penalty)}"
                )
        elif not 0 < penalty < math.inf:
            raise ValueError(
                f"UnbalancedTransport.growth_penalty must be positive, found {penalty}"
            )
        if self.mass not in ("free", "constrained"):
            raise ValueError(
                f"UnbalancedTransport.mass must be 'free' or 'constrained', "
                f"found {brief(self.mass)}"
            )


@dataclass(repr=False, eq=False)
class PhysicalPotential(Lagrangian):
    r"""Potential energy of a known force field: rays obey ``ẍ = −∇V``.

    .. math:: L = \int \big(\tfrac12 |v|^2 - V(t, x)\big) q\,dx

    Parameters
    ----------
    V : callable or torch module, ``(n,), (n, d) -> (n,)``
        Energy at times and states in the units of the data, from torch operations. A saved model
        keeps its name and not its code; the learned process needs neither.

    Examples
    --------
    >>> from dyninfer import OptimalTransport, PhysicalPotential
    >>> OptimalTransport() + PhysicalPotential(lambda t, x: 9.81 * x[:, 0])
    OptimalTransport() + PhysicalPotential(V=<lambda>)
    """

    V: Callable[[Tensor, Tensor], Tensor] | str

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        return f"PhysicalPotential(V={self._name()})"

    def to_plain(self) -> dict[str, Any]:
        """Settings as JSON can hold them, with the name in place of the code."""
        return {"V": self._name()}

    def check(self) -> None:
        """Raise a TypeError where V is neither a function nor, in a loaded model, its name."""
        if not callable(self.V) and not isinstance(self.V, str):
            raise TypeError(
                f"PhysicalPotential.V must be a function of (t, x), found {brief(self.V)}"
            )

    def potential(self, data: Snapshots, scaling: Scaling) -> Potential:
        """V in scaled units: ``V T² / unit²``; a TypeError where its code is not at hand."""
        if isinstance(self.V, str):
            raise TypeError(
                f"PhysicalPotential.V is the name {brief(self.V)}: a loaded model does not hold "
                "the code of its potential; give the function itself to fit again"
            )
        return _Rescaled(self.V, scaling)

    def _name(self) -> str:
        if isinstance(self.V, str):
            return self.V
        # A torch module has no name of its own, and its class stands for it.
        kind = type(self.V)
        return getattr(self.V, "__name__", kind.__name__)


class _Rescaled:
    """A potential of the user's units as one of scaled units; the first call checks its answer."""

    def __init__(self, function: Any, scaling: Scaling):
        self.function = function
        self.scaling = scaling
        self.checked = False

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        user_t = self.scaling.user_times(t)
        user_x = self.scaling.user_states(x)
        # Shapes are asked for once: the question would cost every step of a fit.
        if self.checked:
            energy = self.function(user_t, user_x)
        else:
            energy = self._first(user_t, user_x)
            self.checked = True
        numbers = energy.to(x.dtype)
        return numbers / self.scaling.energy_unit

    def _first(self, t: Tensor, x: Tensor) -> Tensor:
        """Call the user's function, and say what is wrong with it or with what it returns."""
        try:
            energy = self.function(t, x)
        except Exception as error:
            raise TypeError(
                f"the potential V(t, x) failed on tensors t ({len(t)},) and x {tuple(x.shape)}, "
                f"which may carry gradients; make it of torch operations: {error}"
            ) from error
        if not isinstance(energy, Tensor) or energy.shape != t.shape:
            answer = repr(energy)
            if hasattr(energy, "shape"):
                answer = f"shape {tuple(energy.shape)}"
            raise ValueError(
                f"the potential V(t, x) must return a tensor of shape ({len(t)},) for {len(t)} "
                f"states; it returned {answer}"
            )
        if not bool(energy.isfinite().all()):
            raise ValueError("the potential V(t, x) is not finite at some of the data's states")
        return energy
