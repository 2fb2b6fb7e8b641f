"""One eigenstate of the hydrogen atom: its value and gradient, and draws from its density."""

from __future__ import annotations

import math
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy import ndarray
from numpy.polynomial import Polynomial, legendre
from scipy.integrate import cumulative_simpson
from scipy.special import genlaguerre
from torch import Tensor

# Points at which distribution functions are tabulated; between them they are linear.
_POINTS = 20_001


class Eigenstate:
    """One eigenstate ``ψ_nlm = R_nl(r) Y_lm(θ, φ)`` of hydrogen, with its gradient.

    It is evaluated as ``F(r) · (x ± iy)^|m| · Q(z, r²)``, with Q the polynomial part of the solid
    harmonic: smooth at the poles and the origin. Y has the Condon-Shortley phase.

    Parameters
    ----------
    n, l, m : int
        Quantum numbers.
    bohr_radius : float
        a, in state units.
    """

    def __init__(self, n: int, l: int, m: int, bohr_radius: float):
        self.l = l
        self.order = abs(m)
        self.sign = 1 if m >= 0 else -1
        self.decay = 1 / (n * bohr_radius)
        # SciPy writes the highest power first, NumPy the lowest.
        n_nodes = n - l - 1
        laguerre = genlaguerre(n_nodes, 2 * l + 1)
        coefficients = laguerre.coef[::-1]
        scaled_radius = Polynomial([0, 2 * self.decay])
        self.laguerre = Polynomial(coefficients)(scaled_radius)  # of r
        only_l = [0] * l + [1]
        legendre_l = Polynomial(legendre.leg2poly(only_l))
        self.polar = legendre_l.deriv(self.order)  # of cos θ, without its factor sin^|m| θ
        radial_norm = self._radial_norm(n, l)
        self.norm = radial_norm * self._angular_norm(l, m)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``ψ`` complex ``(n,)`` and ``∇ψ`` complex ``(n, 3)`` at ``x`` ``(n, 3)``."""
        x_0, x_1, z = x.unbind(1)
        square = x.square().sum(-1)
        # At the nucleus itself the gradient is taken a hair away from it.
        smallest = torch.finfo(x.dtype).tiny
        r = square.sqrt().clamp_min(smallest)
        f, df = self._radial(r)
        q, dq_dz, dq_ds = self._solid(z, square)
        plane = torch.complex(x_0, self.sign * x_1)
        turn = plane**self.order
        # The product rule: along x by r and r², along z by Q, in the plane by (x ± iy)^|m|.
        by_r = df * q / r
        by_square = 2 * f * dq_ds
        along_x = turn * (by_r + by_square)
        gradient = along_x.unsqueeze(-1) * x
        gradient[:, 2] += turn * f * dq_dz
        if self.order:
            lower_turn = plane ** (self.order - 1)
            in_plane = self.order * lower_turn * f * q
            gradient[:, 0] += in_plane
            gradient[:, 1] += 1j * self.sign * in_plane
        psi = turn * f * q
        return psi, gradient

    def _radial(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """``F(r)`` and its derivative."""
        decay = torch.exp(-self.decay * r)
        shell = self.norm * decay
        # The product rule, with the slope of the exponential as one more polynomial.
        faded = self.decay * self.laguerre
        slope = self.laguerre.deriv() - faded
        f = shell * _horner(self.laguerre, r)
        df = shell * _horner(slope, r)
        return f, df

    def place(self, u: Tensor) -> Tensor:
        """Turn uniform numbers ``(n, 3)`` into samples of ``|ψ|²``, ``(n, 3)``.

        Radius and cos θ come from their inverted distribution functions.
        """
        for_r, for_cos, for_phi = u.unbind(1)
        r = _inverted(self._radial_distribution, for_r)
        cos = _inverted(self._polar_distribution, for_cos)
        sin = (1 - cos.square()).sqrt()
        phi = 2 * math.pi * for_phi
        x = sin * torch.cos(phi)
        y = sin * torch.sin(phi)
        direction = torch.stack([x, y, cos], dim=1)
        return r.unsqueeze(-1) * direction

    def _radial_norm(self, n: int, l: int) -> float:
        """Makes ``∫ R² r² dr`` one."""
        scale = 2 * self.decay
        n_nodes = n - l - 1
        factorials = _factorial_ratio(n_nodes, n + l)
        square = scale**3 * factorials / (2 * n)
        # R holds (scale · r)^l, whose r^l is part of the solid harmonic.
        return math.sqrt(square) * scale**l

    def _angular_norm(self, l: int, m: int) -> float:
        """Makes ``∫ |Y|² dΩ`` one, with the Condon-Shortley phase."""
        upper = l - self.order
        lower = l + self.order
        factorials = _factorial_ratio(upper, lower)
        degeneracy = 2 * l + 1
        solid_angle = 4 * math.pi
        per_solid_angle = degeneracy / solid_angle
        norm = math.sqrt(per_solid_angle * factorials)
        if m > 0 and m % 2 == 1:
            return -norm
        return norm

    def _solid(self, z: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``Q(z, s) = Σ_k p_k z^k s^{(l − |m| − k)/2}``, ``s = r²``, and its two derivatives."""
        degree = self.l - self.order
        q = torch.zeros_like(z)
        dq_dz = torch.zeros_like(z)
        dq_ds = torch.zeros_like(z)
        # Powers of one parity only, so that those of s are whole.
        for k in range(degree % 2, degree + 1, 2):
            p = float(self.polar.coef[k])
            j = (degree - k) // 2
            z_power = z**k
            s_power = s**j
            q = q + p * z_power * s_power
            if k:
                z_slope = k * z ** (k - 1)
                dq_dz = dq_dz + p * z_slope * s_power
            if j:
                s_slope = j * s ** (j - 1)
                dq_ds = dq_ds + p * z_power * s_slope
        return q, dq_dz, dq_ds

    @cached_property
    def _radial_distribution(self) -> _Table:
        """Distribution function of r, and r."""
        # Thirty decay lengths and more for every power of r: what lies beyond is below float64.
        power = self.laguerre.degree() + self.l
        farthest = (30 + 4 * power) / self.decay
        r = np.linspace(0, farthest, _POINTS)
        decay = np.exp(-self.decay * r)
        power_of_r = r ** (self.l + 1)
        amplitude = power_of_r * self.laguerre(r) * decay
        density = amplitude**2
        below = cumulative_simpson(density, x=r, initial=0)
        return _Table(_rising_to_one(below), r)

    @cached_property
    def _polar_distribution(self) -> _Table:
        """Distribution function of cos θ, and cos θ."""
        sin_square = Polynomial([1, 0, -1])  # of cos θ
        density = sin_square**self.order * self.polar**2
        cos = np.linspace(-1, 1, _POINTS)
        integral = density.integ(lbnd=-1)
        return _Table(_rising_to_one(integral(cos)), cos)


def _rising_to_one(below: ndarray) -> ndarray:
    """A distribution function from an integral of its density."""
    # Simpson's rule may fall by a rounding error, and an inverse needs a rising function.
    rising = np.maximum.accumulate(below)
    return rising / below.max()


class _Table(NamedTuple):
    """A distribution function at some values."""

    below: ndarray
    values: ndarray


def _inverted(table: _Table, u: Tensor) -> Tensor:
    """Values at which a tabulated distribution function is ``u``."""
    inverse = np.interp(u.numpy(), table.below, table.values)
    return torch.from_numpy(inverse)


def _factorial_ratio(upper: int, lower: int) -> float:
    return math.factorial(upper) / math.factorial(lower)


def _horner(polynomial: Polynomial, x: Tensor) -> Tensor:
    """Evaluate a polynomial at a tensor."""
    value = torch.zeros_like(x)
    # Horner's rule: no powers, which overflow far from the nucleus.
    for coefficient in polynomial.coef[::-1]:
        value = value * x + float(coefficient)
    return value
