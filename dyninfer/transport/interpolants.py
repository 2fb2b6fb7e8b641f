"""Stochastic interpolants: how a point moves between coupled samples, and its latent noise.

``x_t = I(t, x_0, x_1) + γ(t) z`` with ``I = α(t) x_0 + β(t) x_1``, ``z`` standard normal, and ``t``
from 0 to 1 within the interval between two snapshots (Albergo, Boffi, Vanden-Eijnden, arXiv
2303.08797, tables 4 and 8).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.learning.settings import Settings, brief
from dyninfer.transport.splines import natural_splines


class Coefficients(NamedTuple):
    """What multiplies the two end points at times ``(n,)``, and the derivatives in time."""

    alpha: Tensor
    beta: Tensor
    alpha_slope: Tensor
    beta_slope: Tensor


@dataclass(kw_only=True, repr=False, eq=False)
class LatentNoise(Settings):
    r"""Base of the latent noises ``γ(t) = √(a Δ) · shape(t)``, Δ the length of the interval.

    A new noise is a class with ``shape``, which is zero at 0 and 1 and positive between.

    Parameters
    ----------
    a : float, optional
        Squared amplitude, in squared state units per time unit (squared standard deviations where
        every feature has its own scale). None takes one that suits the interpolant and the spread
        of the data.
    """

    a: float | None = None

    singular: ClassVar[bool] = False  # whether γ' is infinite at both ends
    # No time is drawn nearer to an end, where γ rounds away against the state.
    margin: ClassVar[float] = 1e-3

    @abstractmethod
    def shape(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """γ and γ' for ``a Δ = 1`` at times ``(n,)`` in [0, 1]."""

    def check(self) -> None:
        """Raise a ValueError if the amplitude cannot be."""
        if self.a is not None and not 0 < self.a < math.inf:
            raise ValueError(
                f"a of {type(self).__name__} must be positive, found {brief(self.a)}; use "
                "gamma='none' for no noise"
            )


@dataclass(kw_only=True, repr=False, eq=False)
class BrownianNoise(LatentNoise):
    """``√(a t (1 − t))``: the spread of a Brownian bridge, of infinite slope at both ends.

    Examples
    --------
    >>> import torch
    >>> from dyninfer.transport.interpolants import BrownianNoise
    >>> gamma, slope = BrownianNoise().shape(torch.tensor([0.5]))
    >>> float(gamma)  # the square root of t (1 − t)
    0.5
    """

    singular: ClassVar[bool] = True
    margin: ClassVar[float] = 1e-4

    def shape(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`LatentNoise.shape`."""
        root = (t * (1 - t)).sqrt()
        return root, (0.5 - t) / root


@dataclass(kw_only=True, repr=False, eq=False)
class QuadraticNoise(LatentNoise):
    """``√a t (1 − t)``: smooth at both ends.

    Examples
    --------
    >>> import torch
    >>> from dyninfer.transport.interpolants import QuadraticNoise
    >>> gamma, slope = QuadraticNoise().shape(torch.tensor([0.5]))
    >>> float(slope)  # in the middle
    0.0
    """

    def shape(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`LatentNoise.shape`."""
        return t * (1 - t), 1 - 2 * t


@dataclass(kw_only=True, repr=False, eq=False)
class SineNoise(LatentNoise):
    """``√a sin²(π t)``: smooth, and flat at both ends.

    Examples
    --------
    >>> import torch
    >>> from dyninfer.transport.interpolants import SineNoise
    >>> gamma, slope = SineNoise().shape(torch.tensor([0.5]))
    >>> round(float(gamma), 6)
    1.0
    """

    margin: ClassVar[float] = 1e-2

    def shape(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`LatentNoise.shape`."""
        angle = math.pi * t
        square = torch.sin(angle).square()
        sine = torch.sin(2 * angle)
        slope = math.pi * sine
        return square, slope


@dataclass(kw_only=True, repr=False, eq=False)
class Interpolant(Settings):
    """Base of the interpolants.

    A new one that is linear in both end points is a class with ``coefficients``. Any other defines
    :meth:`position`, in the units of the data; its velocity is found by differentiation where
    :meth:`velocity` does not say it.
    """

    default_noise: ClassVar[str] = "brownian"
    # a·Δ where ``a`` is None, in units of the variance of the data: enough for a score, and little
    # beside the spread of the data.
    default_variance: ClassVar[float] = 0.1
    # Whether x_0 is a standard normal draw, which then plays z.
    gaussian_base: ClassVar[bool] = False

    @abstractmethod
    def coefficients(self, t: Tensor) -> Coefficients:
        """α, β and their derivatives at times ``(n,)`` in [0, 1]."""

    def position(self, t: Tensor, x0: Tensor, x1: Tensor) -> Tensor:
        """Point ``I(t, x_0, x_1)`` ``(n, d)`` of every pair.

        Parameters
        ----------
        t : tensor ``(n,)``
            Part of the interval that has passed, in [0, 1].
        x0, x1 : tensors ``(n, d)``
            Samples of the snapshots before and after.
        """
        c = self.coefficients(t)
        from_start = c.alpha[:, None] * x0
        from_end = c.beta[:, None] * x1
        return from_start + from_end

    def velocity(self, t: Tensor, x0: Tensor, x1: Tensor) -> Tensor:
        """Derivative ``∂I/∂t`` ``(n, d)``, per interval; see :meth:`position`."""
        if type(self).position is not Interpolant.position:
            return derivative(self, t, x0, x1)
        c = self.coefficients(t)
        from_start = c.alpha_slope[:, None] * x0
        from_end = c.beta_slope[:, None] * x1
        return from_start + from_end

    @property
    def is_own_curve(self) -> bool:
        """Whether points move by a :meth:`position` or :meth:`velocity` of the class's own."""
        kind = type(self)
        moves_alike = kind.position is Interpolant.position
        return not (moves_alike and kind.velocity is Interpolant.velocity)

    def cardinal(self, times: ndarray) -> ndarray | None:
        """Coefficients ``(power, interval, knot)`` of cubics through all ``K`` times.

        None where an interpolant lies between neighbours.
        """
        return None

    @property
    def singular_ends(self) -> tuple[int, ...]:
        """Ends, of 0 and 1, at which α' or β' is infinite."""
        return ()


@dataclass(kw_only=True, repr=False, eq=False)
class LinearInterpolant(Interpolant):
    """``(1 − t) x_0 + t x_1``; without noise, that of flow matching and rectified flow.

    Examples
    --------
    >>> import torch
    >>> from dyninfer.transport.interpolants import LinearInterpolant
    >>> zero, one = torch.zeros(1, 1), torch.ones(1, 1)
    >>> float(LinearInterpolant().position(torch.tensor([0.25]), zero, one))
    0.25
    """

    def coefficients(self, t: Tensor) -> Coefficients:
        """See :meth:`Interpolant.coefficients`."""
        return _linear(t)


@dataclass(kw_only=True, repr=False, eq=False)
class TrigonometricInterpolant(Interpolant):
    """``cos(πt/2) x_0 + sin(πt/2) x_1``: keeps the variance of independent, equal ends.

    Examples
    --------
    >>> import torch
    >>> from dyninfer.transport.interpolants import TrigonometricInterpolant
    >>> zero, one = torch.zeros(1, 1), torch.ones(1, 1)
    >>> middle = TrigonometricInterpolant().position(torch.tensor([0.5]), zero, one)
    >>> round(float(middle), 4)  # sin(π/4)
    0.7071
    """

    def coefficients(self, t: Tensor) -> Coefficients:
        """See :meth:`Interpolant.coefficients`."""
        return _trigonometric(t)


@dataclass(kw_only=True, repr=False, eq=False)
class EncoderDecoderInterpolant(Interpolant):
    """``cos²(πt) x_0`` in the first half, ``cos²(πt) x_1`` in the second: midway, only noise."""

    default_noise: ClassVar[str] = "sine"
    default_variance: ClassVar[float] = 1.0

    def coefficients(self, t: Tensor) -> Coefficients:
        """See :meth:`Interpolant.coefficients`."""
        angle = math.pi * t
        value = torch.cos(angle).square()
        sine = torch.sin(2 * angle)
        slope = -math.pi * sine
        first = (t < 0.5).to(t)
        second = 1 - first
        alpha = value * first
        beta = value * second
        alpha_slope = slope * first
        beta_slope = slope * second
        return Coefficients(alpha, beta, alpha_slope, beta_slope)


@dataclass(kw_only=True, repr=False, eq=False)
class OneSidedInterpolant(Interpolant):
    """``α(t) z + β(t) x_1``: from fresh standard normal draws to the second of two snapshots.

    Parameters
    ----------
    schedule : {"linear", "trigonometric", "vp"}
        ``(1 − t, t)``, ``(cos, sin)(πt/2)``, or ``(√(1 − t²), t)``, which is the variance
        preserving diffusion.
    """

    schedule: Literal["linear", "trigonometric", "vp"] = "linear"

    default_noise: ClassVar[str] = "none"
    gaussian_base: ClassVar[bool] = True

    def coefficients(self, t: Tensor) -> Coefficients:
        """See :meth:`Interpolant.coefficients`."""
        if self.schedule == "vp":
            alpha = (1 - t * t).sqrt()
            one = torch.ones_like(t)
            alpha_slope = -t / alpha
            return Coefficients(alpha, t, alpha_slope, one)
        if self.schedule == "trigonometric":
            return _trigonometric(t)
        return _linear(t)

    @property
    def singular_ends(self) -> tuple[int, ...]:
        """The end at the data for "vp"."""
        return (1,) if self.schedule == "vp" else ()


@dataclass(kw_only=True, repr=False, eq=False)
class MirrorInterpolant(Interpolant):
    """``x_1`` at all times, plus noise, which alone moves the points.

    Both snapshots are samples of one distribution.
    """

    default_variance: ClassVar[float] = 1.0

    def coefficients(self, t: Tensor) -> Coefficients:
        """See :meth:`Interpolant.coefficients`."""
        zero = torch.zeros_like(t)
        one = torch.ones_like(t)
        return Coefficients(zero, one, zero, zero)


@dataclass(kw_only=True, repr=False, eq=False)
class SplineInterpolant(Interpolant):
    """Natural cubic splines through chains of one sample of every snapshot.

    The velocity is continuous in time. Splines are linear in their knots, so
    ``x_t = Σ_k c_k(t) x_k + γ(t) z`` with cardinal splines ``c_k``. Gaps count as they are. Between
    two snapshots this is :class:`LinearInterpolant`.

    Examples
    --------
    >>> import dyninfer as di
    >>> from dyninfer.transport.interpolants import SplineInterpolant
    >>> di.StochasticInterpolant(interpolant=SplineInterpolant()).interpolant
    SplineInterpolant()
    """

    def coefficients(self, t: Tensor) -> Coefficients:
        """See :meth:`Interpolant.coefficients`."""
        return _linear(t)

    def cardinal(self, times: ndarray) -> ndarray:
        """Coefficients ``(power, interval, knot)`` of the cardinal splines, highest power first."""
        return natural_splines(times)


INTERPOLANTS: dict[str, type[Interpolant]] = {
    "linear": LinearInterpolant,
    "trigonometric": TrigonometricInterpolant,
    "encoder-decoder": EncoderDecoderInterpolant,
    "one-sided": OneSidedInterpolant,
    "mirror": MirrorInterpolant,
    "spline": SplineInterpolant,
}
NOISES: dict[str, type[LatentNoise]] = {
    "brownian": BrownianNoise,
    "quadratic": QuadraticNoise,
    "sine": SineNoise,
}


def as_interpolant(interpolant: str | Interpolant) -> Interpolant:
    """Turn a name or an interpolant into an interpolant; a ValueError lists the names."""
    if isinstance(interpolant, Interpolant):
        _refuse_own_curves(interpolant)
        return interpolant
    if not isinstance(interpolant, str) or interpolant not in INTERPOLANTS:
        names = ", ".join(INTERPOLANTS)
        raise ValueError(
            f"interpolant {brief(interpolant)} is not known; choose one of {names}, "
            "or give an Interpolant"
        )
    return INTERPOLANTS[interpolant]()


def derivative(interpolant: Interpolant, t: Tensor, x0: Tensor, x1: Tensor) -> Tensor:
    """``∂I/∂t`` ``(n, d)`` of an interpolant, by automatic differentiation."""

    def position(s: Tensor) -> Tensor:
        return interpolant.position(s, x0, x1)

    direction = torch.ones_like(t)
    outputs = torch.func.jvp(position, (t,), (direction,))
    return outputs[1]


def _refuse_own_curves(interpolant: Interpolant) -> None:
    """Raise a ValueError where a class defines a curve that would be ignored."""
    if not interpolant.is_own_curve:
        return
    kind = type(interpolant)
    if kind.position is Interpolant.position:
        raise ValueError(
            f"{kind.__name__} defines velocity and no position, along which samples are drawn; "
            "define position, whose derivative is the velocity"
        )
    if interpolant.gaussian_base or isinstance(interpolant, SplineInterpolant):
        raise ValueError(
            f"{kind.__name__} defines position, which learning would ignore: it does not lie "
            "between two samples; derive it from LinearInterpolant"
        )


def as_latent_noise(gamma: str | LatentNoise, interpolant: Interpolant) -> LatentNoise | None:
    """Turn a name or a noise into a noise, None for "none"; "auto" is the interpolant's own."""
    if isinstance(gamma, LatentNoise):
        gamma.check_kinds(f"{type(gamma).__name__}.")
        gamma.check()
        if interpolant.gaussian_base:
            raise ValueError(
                f"gamma must be 'auto' or 'none' for a {type(interpolant).__name__}, whose "
                f"Gaussian start is its noise; found {brief(gamma)}"
            )
        return gamma
    name = gamma
    if gamma == "auto":
        name = interpolant.default_noise
    if name == "none":
        return None
    if name not in NOISES:
        names = ", ".join(["auto", "none", *NOISES])
        raise ValueError(
            f"gamma {brief(gamma)} is not known; choose one of {names}, or give a LatentNoise"
        )
    return as_latent_noise(NOISES[name](), interpolant)


def _linear(t: Tensor) -> Coefficients:
    one = torch.ones_like(t)
    return Coefficients(1 - t, t, -one, one)


def _trigonometric(t: Tensor) -> Coefficients:
    half = 0.5 * math.pi
    cos = torch.cos(half * t)
    sin = torch.sin(half * t)
    alpha_slope = -half * sin
    beta_slope = half * cos
    return Coefficients(cos, sin, alpha_slope, beta_slope)
