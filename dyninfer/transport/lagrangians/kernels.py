"""Densities by Gaussian kernels, as functions that gradients pass through."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

# Part of the mean variance that every direction has at least: fewer cells than features leave
# directions without any.
LEAST_VARIANCE = 1e-6


class Kernels:
    """Sum of Gaussian kernels ``p(x) = Σ w exp(−|x − c|² / 2h²)``."""

    def __init__(self, centre: ndarray, width: ndarray, mass: ndarray):
        precision = 1 / width**2
        # A cluster of no mass has the logarithm −∞, which adds nothing to a sum.
        with np.errstate(divide="ignore"):
            log_mass = np.log(mass)
        self.centre = torch.as_tensor(centre)
        self.precision = torch.as_tensor(precision)
        self.log_mass = torch.as_tensor(log_mass)

    def log_density(self, x: Tensor) -> Tensor:
        """``log p`` ``(n,)``."""
        centre = self.centre.to(x)
        precision = self.precision.to(x)
        log_mass = self.log_mass.to(x)
        x_norm = x.square().sum(1)
        centre_norm = centre.square().sum(1)
        norms = x_norm[:, None] + centre_norm
        products = 2 * x @ centre.T
        # Rounding makes differences of squares negative.
        squared = (norms - products).clamp_min(0)
        exponent = -0.5 * squared * precision
        return torch.logsumexp(log_mass + exponent, 1)


class KernelDensity:
    r"""Density of a sample, which has the mean and the covariance of the sample.

    .. math:: \hat\rho(x) = \frac1n \sum_j N\big(x;\ m + a (x_j - m),\ h^2 \Sigma\big), \qquad
        a^2 + h^2 = 1

    Plain kernels widen a population by ``1 + h²``; drawn together by ``a`` they do not (West 1993,
    J. R. Stat. Soc. B 55), and of a normal sample the estimate is the normal density. The width is
    Silverman's, ``h = (4/(n (d + 2)))^{1/(d + 4)}``.

    Parameters
    ----------
    states : Tensor, ``(n, d)``
    """

    def __init__(self, states: Tensor):
        points = states.double()
        n, d = points.shape
        self.mean = points.mean(0)
        deviation = points - self.mean
        squares = deviation.T @ deviation
        covariance = squares / n
        variances = covariance.diagonal()
        # Of cells that are all the same, too, there is a density; its root must have an inverse in
        # single precision, in which states may come.
        tiny = torch.finfo(torch.float32).tiny
        least = LEAST_VARIANCE * variances.mean() + tiny
        variances.add_(least)
        factor, fault = torch.linalg.cholesky_ex(covariance)
        # Of states that are not finite there is no density: the fit that made them has diverged,
        # and a loss that is NaN ends it.
        factor = torch.where(fault == 0, factor, torch.nan)
        axes = torch.eye(d).to(factor)
        self.whitening = torch.linalg.solve_triangular(factor, axes, upper=False)
        size = n * (d + 2) / 4
        exponent = -1 / (d + 4)
        h = size**exponent
        shrinkage = math.sqrt(1 - h**2)
        white = deviation @ self.whitening.T
        centre = shrinkage * white
        widths = np.full(n, h)
        masses = np.full(n, 1 / n)
        self.kernels = Kernels(centre.numpy(force=True), widths, masses)
        deviations = factor.diagonal()
        self.log_spread = float(deviations.log().sum())
        log_height = 0.5 * math.log(2 * math.pi)
        self.log_norm = d * (math.log(h) + log_height)

    def log_density(self, x: Tensor) -> Tensor:
        """``log ρ`` ``(n,)`` at states ``(n, d)``."""
        deviation = x - self.mean.to(x)
        white = deviation @ self.whitening.to(x).T
        log_sum = self.kernels.log_density(white)
        return log_sum - self.log_norm - self.log_spread
