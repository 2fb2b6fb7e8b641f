"""Fractional Brownian motion of both kinds: its covariance, and exact samples of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy import ndarray
from scipy.fft import next_fast_len
from scipy.special import gamma, hyp2f1
from torch import Tensor

from dyninfer.data.arrays import as_tensor
from dyninfer.fractional.noise.checks import as_times, check_index
from dyninfer.learning.random import stream
from dyninfer.learning.settings import check_count, check_word

Kind = Literal["I", "II"]
Normalization = Literal["unit", "kernel"]


@dataclass(frozen=True)
class FractionalBrownianMotion:
    r"""Fractional Brownian motion ``B`` with Hurst index ``H``, started at 0.

    Kind I (Mandelbrot & Van Ness, SIAM Rev. 10:422, 1968, Def. 2.1) has a past and stationary
    increments, ``B(t) = 1/Γ(H+½) ∫_{−∞}^t [(t−s)_+^{H−½} − (−s)_+^{H−½}] dW_s``; kind II
    (Riemann-Liouville) starts at 0, ``B(t) = 1/Γ(H+½) ∫_0^t (t−s)^{H−½} dW_s``.

    Parameters
    ----------
    hurst : float
        ``H`` in (0, 1); ½ is Brownian motion.
    kind : {"I", "II"}
    normalize : {"unit", "kernel"}
        ``"unit"`` scales ``Var B(1)`` to 1; ``"kernel"`` keeps the kernels above, for which
        ``Var B(1)`` is ``1/(Γ(2H+1) sin πH)`` (kind I) and ``1/(2H Γ(H+½)²)`` (kind II).

    Raises
    ------
    ValueError
        If ``hurst`` is not inside (0, 1), or another argument is not one of its names.

    Examples
    --------
    >>> from dyninfer.fractional import FractionalBrownianMotion
    >>> FractionalBrownianMotion(0.7).sample([0.0, 0.5, 1.0], n_paths=4).shape
    torch.Size([4, 3])
    """

    hurst: float
    kind: Kind = "I"
    normalize: Normalization = "unit"

    def __post_init__(self) -> None:
        check_index(self.hurst)
        check_names(self.kind, self.normalize)

    @property
    def scale(self) -> float:
        """``Var B(1)``."""
        if self.normalize == "unit":
            return 1.0
        variance = kernel_variance(self.hurst, self.kind)
        return float(variance)

    def variance(self, t: Any) -> Tensor:
        """``Var B(t) = Var B(1) t^{2H}`` for times of any shape, float64."""
        times = as_tensor(t, "t")
        exponent = 2 * self.hurst
        return self.scale * times**exponent

    def covariance(self, times: Any) -> Tensor:
        """Covariance of ``B`` at ``times`` ``(n,)``, not negative: returns ``(n, n)`` float64."""
        t = as_times(times)
        if self.kind == "II":
            n_times = len(t)
            hurst = np.full(n_times, self.hurst)
            covariance = riemann_liouville_covariance(t, hurst)
        else:
            # ½ (t^{2H} + s^{2H} − |t − s|^{2H})
            exponent = 2 * self.hurst
            variances = t**exponent
            differences = t[:, None] - t
            of_lags = np.abs(differences) ** exponent
            total = variances[:, None] + variances
            covariance = 0.5 * (total - of_lags)
        return torch.from_numpy(self.scale * covariance)

    def sample(
        self,
        times: Any,
        n_paths: int,
        *,
        n_features: int | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Draw exact paths: no time stepping, no approximation.

        Kind I on an even grid that starts at 0 or one step after it costs ``O(n log n)`` by
        embedding the increments in a circulant (Davies & Harte, Biometrika 74:95, 1987);
        everything else is a Cholesky factor, ``O(n³)`` once.

        Parameters
        ----------
        times : array, ``(n,)``
            Increasing, not negative.
        n_paths : int
        n_features : int, optional
            Independent copies per path.
        seed : int
        device, dtype
            Of the result; the factors are computed in float64.

        Returns
        -------
        Tensor, ``(n_paths, n)`` or ``(n_paths, n, n_features)``
        """
        t = as_times(times)
        n_paths = check_count(n_paths, "n_paths")
        if (np.diff(t) <= 0).any():
            raise ValueError("times must strictly increase; sort them and remove repeats")
        n_rows = n_paths
        if n_features is not None:
            n_rows *= check_count(n_features, "n_features")
        generator = stream(seed, "fractional motion", device=device)
        positive = t[t > 0]
        step = _even_step(t)
        rows = self._rows(positive, step, n_rows, generator, dtype)
        if t[0] == 0:
            zero = rows.new_zeros(n_rows, 1)
            rows = torch.cat([zero, rows], dim=1)
        if n_features is None:
            return rows
        n_times = len(t)
        paths = rows.view(n_paths, n_features, n_times)
        return paths.transpose(1, 2)

    def _rows(
        self,
        t: ndarray,
        even_step: float | None,
        n_rows: int,
        generator: torch.Generator,
        dtype: torch.dtype,
    ) -> Tensor:
        """Independent paths ``(n_rows, n)`` at positive times."""
        if self.kind == "I" and even_step is not None:
            shape = n_rows, len(t)
            noise = _circulant_noise(self.hurst, shape, generator, dtype)
            growth = even_step**self.hurst
            deviation = math.sqrt(self.scale) * growth
            return noise.cumsum(1).mul_(deviation)
        covariance = self.covariance(t)
        factor = torch.linalg.cholesky(covariance)
        normals = torch.randn(
            (n_rows, len(t)),
            generator=generator,
            device=generator.device,
            dtype=dtype,
        )
        return normals @ factor.to(normals).T


def kernel_variance(hurst: Any, kind: Kind) -> Tensor:
    """``Var B(1)`` under the kernel normalisation, float64, differentiable."""
    h = torch.as_tensor(hurst, dtype=torch.float64)
    if kind == "I":
        log_gamma = torch.lgamma(2 * h + 1)
        sine = torch.sin(torch.pi * h)
        inverse = log_gamma.exp() * sine
    else:
        log_square = 2 * torch.lgamma(h + 0.5)
        inverse = 2 * h * log_square.exp()
    return 1 / inverse


def riemann_liouville_covariance(times: ndarray, hurst: ndarray) -> ndarray:
    """Covariance of kind II, of variance ``t^{2H(t)}``, where the index may differ between times.

    With ``α = H(t) + ½``, ``β = H(s) + ½`` and ``s ≤ t``, ``∫_0^s (t−r)^{α−1} (s−r)^{β−1} dr =
    t^{α−1} s^β / β · ₂F₁(1−α, 1; 1+β; s/t)``.

    Parameters
    ----------
    times, hurst : ndarray, ``(n,)``
        Times, not negative, and the index at each.

    Returns
    -------
    ndarray, ``(n, n)`` float64
    """
    n_times = len(times)
    rows, columns = np.tril_indices(n_times)
    is_in_order = times[rows] >= times[columns]
    late = np.where(is_in_order, rows, columns)
    early = np.where(is_in_order, columns, rows)
    t = times[late]
    s = times[early]
    alpha = hurst[late] + 0.5
    beta = hurst[early] + 0.5
    # At t = 0 the covariance is 0 through s^β; 1 in its place keeps the rest finite.
    safe = np.where(t > 0, t, 1.0)
    # Rounding may leave the share above 1, where the function is not defined.
    share = np.minimum(s / safe, 1.0)
    hypergeometric = hyp2f1(1 - alpha, 1, 1 + beta, share)
    power_of_late = safe ** (alpha - 1)
    powers = power_of_late * s**beta
    first_term = powers / beta
    integral = first_term * hypergeometric
    # The kernel's variance at time 1 is 1/(2H Γ(H+½)²): this deviation makes it one.
    root = np.sqrt(2 * hurst)
    deviation = root * gamma(hurst + 0.5)
    scale = deviation[late] * deviation[early]
    normalisation = gamma(alpha) * gamma(beta)
    values = integral * scale / normalisation
    covariance = np.zeros((n_times, n_times))
    covariance[rows, columns] = values
    covariance[columns, rows] = values
    variances = times ** (2 * hurst)
    np.fill_diagonal(covariance, variances)
    return covariance


def noise_autocovariance(hurst: Any, n: int) -> Tensor:
    """Autocovariance of unit fractional Gaussian noise at lags ``0 … n − 1``, ``(..., n)``."""
    lag = torch.arange(n, dtype=torch.float64)
    index = torch.as_tensor(hurst, dtype=torch.float64).unsqueeze(-1)
    exponent = 2 * index
    # ½ (|k + 1|^{2H} + |k − 1|^{2H}) − k^{2H}
    after = (lag + 1) ** exponent
    distance_before = (lag - 1).abs()
    before = distance_before**exponent
    neighbours = 0.5 * (after + before)
    return neighbours - lag**exponent


def check_names(kind: str, normalize: str) -> None:
    """Raise a ValueError unless both are known names."""
    check_word(kind, "kind", ("I", "II"))
    check_word(normalize, "normalize", ("unit", "kernel"))


def _circulant_noise(
    hurst: float,
    shape: tuple[int, int],
    generator: torch.Generator,
    dtype: torch.dtype,
) -> Tensor:
    """Fractional Gaussian noise of unit variance, ``shape = (rows, n)``."""
    rows, n = shape
    # A length of small prime factors, for which transforms are fast.
    half = next_fast_len(max(n, 2), real=True)
    covariance = noise_autocovariance(hurst, half + 1)
    inner = covariance[1:-1]
    mirrored = inner.flip(0)
    circulant = torch.cat([covariance, mirrored])
    spectrum = torch.fft.rfft(circulant).real
    # The exact spectrum is positive for every index; rounding may leave a negative zero.
    variance = spectrum.clamp_min(0) * half
    deviation = variance.sqrt()
    amplitude = deviation.to(generator.device, dtype)
    # Both ends of the half spectrum are real, so their one normal carries twice the variance.
    amplitude[[0, -1]] *= math.sqrt(2)
    # Real and imaginary parts side by side.
    normals = torch.randn(
        (rows, half + 1, 2),
        generator=generator,
        device=generator.device,
        dtype=dtype,
    )
    scaled = normals.mul_(amplitude[:, None])
    coefficients = torch.view_as_complex(scaled)
    noise = torch.fft.irfft(coefficients, n=2 * half)
    return noise[:, :n]


def _even_step(t: ndarray) -> float | None:
    """Step of an even grid that starts at 0 or one step after it, else None."""
    first = float(t[0])
    n_gaps = len(t) - 1
    if n_gaps == 0:
        # A single time is one step from 0, unless it is 0.
        return first or None
    span = float(t[-1]) - first
    step = span / n_gaps
    # A millionth of a step moves a path by less than single precision shows.
    slack = 1e-6 * step
    gaps = np.diff(t)
    error = np.abs(gaps - step)
    is_even = bool((error <= slack).all())
    starts_one_step_late = abs(first - step) <= slack
    if is_even and (first == 0 or starts_one_step_late):
        return step
    return None
