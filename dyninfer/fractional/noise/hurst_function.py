"""A Hurst index that changes with time, learned from paths by likelihood."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from scipy.optimize import minimize
from torch import Tensor, nn

from dyninfer.fractional.noise.checks import as_increasing, check_index, check_squares
from dyninfer.fractional.noise.estimate import as_paths
from dyninfer.fractional.noise.interpolation import interpolated_weights
from dyninfer.fractional.noise.markov import MarkovApproximation
from dyninfer.fractional.noise.motion import Kind
from dyninfer.fractional.noise.multifractional import weighted_covariance
from dyninfer.learning.settings import brief, check_count, is_number

_LOG_2PI = math.log(2 * math.pi)
# Constant indices, of which the likeliest is the start.
_STARTS = (0.25, 0.5, 0.75)
# Largest logit: the index stays in [0.0198, 0.9802], where the weights are interpolated.
_LARGEST_LOGIT = 3.9


class HurstFunction(nn.Module):
    """``H(t) = sigmoid(Σ_j c_j β((t − t_0)/δ − j))`` with cubic B-splines ``β`` on even knots.

    It is constant outside the range of its knots, and can be the ``hurst`` of a
    :class:`~dyninfer.FractionalDiffusion`.

    Parameters
    ----------
    start, stop : float
        Range of times that the knots cover.
    n_coefficients : int
        At least 4.
    hurst : float
        Constant index to begin with.

    Examples
    --------
    >>> from dyninfer.fractional import HurstFunction
    >>> HurstFunction(0.0, 2.0, hurst=0.75)(torch.tensor([0.0, 1.3])).detach()
    tensor([0.7500, 0.7500], dtype=torch.float64)
    """

    def __init__(self, start: float, stop: float, n_coefficients: int = 6, hurst: float = 0.5):
        super().__init__()
        if check_count(n_coefficients, "n_coefficients") < 4:
            raise ValueError(
                "n_coefficients must be at least 4, those of one cubic, "
                f"found {brief(n_coefficients)}"
            )
        check_index(hurst)
        are_numbers = is_number(start) and is_number(stop)
        if not are_numbers or not -math.inf < start < stop < math.inf:
            raise ValueError(f"start must lie before stop, found {brief(start)} and {brief(stop)}")
        self.start = float(start)
        self.stop = float(stop)
        start_value = torch.tensor(hurst, dtype=torch.float64)
        logit = start_value.logit()
        coefficients = logit.repeat(n_coefficients)
        self.coefficients = nn.Parameter(coefficients)

    def forward(self, t: Tensor) -> Tensor:
        """``H`` at times ``(m,)``: ``(m,)``, with gradients in the coefficients."""
        c = self.coefficients
        inside = t.clamp(self.start, self.stop)
        elapsed = inside - self.start
        span = self.stop - self.start
        # One cubic spans four coefficients, so n of them have n − 3 intervals.
        n_intervals = len(c) - 3
        position = elapsed / span * n_intervals
        n_knots = len(c)
        numbers = torch.arange(n_knots, device=t.device)
        knots = numbers - 1
        distance = position[:, None] - knots
        basis = _cubic_spline(distance)
        logit = basis.to(c) @ c
        return torch.sigmoid(logit)


@dataclass(frozen=True)
class MultifractionalFit:
    """What :func:`fit_multifractional` returns.

    Attributes
    ----------
    hurst : HurstFunction
        ``H(t)``, without gradients.
    amplitude : float
        ``A``, in the units of the paths per time unit to the power ``H``.
    log_likelihood : float
        Of all paths together, in nats.
    status : str
        ``"finished"``, or ``"stopped early"`` where ``max_steps`` did not suffice.
    """

    hurst: HurstFunction
    amplitude: float
    log_likelihood: float
    status: str


def fit_multifractional(
    paths: Any,
    times: Any,
    *,
    kind: Kind = "II",
    n_coefficients: int = 6,
    n_nodes: int = 10,
    max_steps: int = 200,
) -> MultifractionalFit:
    """Learn ``H(t)`` and the amplitude of ``x(t) = A B(t)`` by maximum likelihood.

    ``B`` is the moving average ``∝ ∫_0^t (t − s)^{H(t)−½} dW_s`` of variance ``t^{2H(t)}`` (kind
    II, Peltier & Lévy Véhel, INRIA RR-2645, 1995), or that with a past (kind I). The paths share
    ``H(t)`` and ``A``. They are Gaussian; their covariance is that of the Markov approximation,
    which is differentiable in ``H(t)``. The amplitude is profiled out. L-BFGS, from the likeliest
    of three constant indices; one Cholesky factor per step serves all paths.

    Parameters
    ----------
    paths : array, ``(n_paths, n_times)``
    times : array, ``(n_times,)``
        Increasing, not negative; the motion starts from 0 at time 0. Values at time 0 are
        subtracted.
    kind : {"I", "II"}
    n_coefficients : int
        Of :class:`HurstFunction`. More follow faster changes, from more data.
    n_nodes : int
        Of :class:`MarkovApproximation`.
    max_steps : int

    Returns
    -------
    MultifractionalFit

    Raises
    ------
    ValueError
        If paths and times do not fit, or the paths do not move.
    """
    x, t = _read(paths, times)
    max_steps = check_count(max_steps, "max_steps")
    start = float(t[0])
    horizon = float(t[-1])
    steps = np.diff(t)
    shortest_step = float(steps.min())
    noise = MarkovApproximation(
        n_nodes,
        horizon=horizon,
        # A single step is as long as the horizon; an approximation needs a shorter lag.
        dt=min(shortest_step, horizon / 2),
        kind=kind,
    )
    hurst = HurstFunction(start, horizon, n_coefficients)
    columns = x.T.copy()
    values = torch.from_numpy(columns)
    likelihood = _Likelihood(
        noise=noise,
        hurst=hurst,
        times=torch.from_numpy(t),
        values=values,
    )
    result = minimize(
        likelihood.loss_and_slope,
        _best_constant(likelihood, n_coefficients),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-_LARGEST_LOGIT, _LARGEST_LOGIT)] * n_coefficients,
        # Tighter tolerances move the index by less than 1e-4.
        options={"maxiter": max_steps, "ftol": 1e-10, "gtol": 1e-6},
    )
    likelihood.load(result.x)
    hurst.requires_grad_(False)
    log_likelihood, square = likelihood()
    return MultifractionalFit(
        hurst=hurst,
        amplitude=math.sqrt(float(square)),
        log_likelihood=float(log_likelihood),
        status="finished" if result.success else "stopped early",
    )


class _Likelihood:
    """Log-likelihood of paths ``(time, n)``, with the amplitude at its best."""

    def __init__(
        self,
        noise: MarkovApproximation,
        hurst: HurstFunction,
        times: Tensor,
        values: Tensor,
    ):
        self.noise = noise
        self.hurst = hurst
        self.times = times
        self.values = values
        self.weights = interpolated_weights(noise)

    def __call__(self) -> tuple[Tensor, Tensor]:
        """The log-likelihood, and the square of the amplitude."""
        n_paths = self.values.shape[1]
        indices = self.hurst(self.times)
        weights = self.weights(indices)
        covariance = weighted_covariance(self.noise, self.times, weights)
        factor = torch.linalg.cholesky(covariance)
        values = self.values
        white = torch.linalg.solve_triangular(factor, values, upper=False)
        # Divided by the best amplitude, the whitened values have variance one.
        square = white.square().mean()
        half_log_determinant = factor.diagonal().log().sum()
        deviance = square.log() + 1 + _LOG_2PI
        n_values = self.values.numel()
        log_density = -0.5 * n_values * deviance
        log_volume = n_paths * half_log_determinant
        return log_density - log_volume, square

    @torch.no_grad()
    def load(self, coefficients: ndarray) -> None:
        numbers = torch.from_numpy(coefficients)
        self.hurst.coefficients.copy_(numbers)

    def loss_and_slope(self, coefficients: ndarray) -> tuple[float, ndarray]:
        self.load(coefficients)
        log_likelihood, _ = self()
        # Per value, so that the tolerances of the optimiser do not depend on the data's size.
        n_values = self.values.numel()
        loss = -log_likelihood / n_values
        parameters = self.hurst.coefficients
        (slope,) = torch.autograd.grad(loss, parameters)
        value = float(loss.detach())
        return value, slope.numpy()

    @torch.no_grad()
    def loss(self, coefficients: ndarray) -> float:
        self.load(coefficients)
        log_likelihood, _ = self()
        return -float(log_likelihood)


def _best_constant(likelihood: _Likelihood, n_coefficients: int) -> ndarray:
    """Coefficients of the likeliest of a few constant indices."""
    starts = []
    for hurst in _STARTS:
        odds = hurst / (1 - hurst)
        logit = math.log(odds)
        starts.append(np.full(n_coefficients, logit))
    return min(starts, key=likelihood.loss)


def _cubic_spline(u: Tensor) -> Tensor:
    """The cubic B-spline ``β(u)``, which is 0 for ``|u| ≥ 2``."""
    u = u.abs()
    flattened = 1 - 0.5 * u
    bend = u.square() * flattened
    inner = 2 / 3 - bend
    remaining = (2 - u).clamp_min(0)
    outer = remaining**3 / 6
    return torch.where(u < 1, inner, outer)


def _read(paths: Any, times: Any) -> tuple[ndarray, ndarray]:
    """Paths and times after time 0, float64."""
    x = as_paths(paths, least=4)
    # The amplitude is told in the units of the paths.
    check_squares(x, "paths")
    t = as_increasing(times, x.shape[1])
    if t[0] < 0:
        raise ValueError(f"times must not be negative, as the motion starts at 0; found {t[0]:g}")
    if t[0] == 0:
        at_zero = x[:, :1]
        x = x[:, 1:] - at_zero
        t = t[1:]
    if not x.any():
        raise ValueError("paths do not move, so nothing can be learned from them")
    return x, t
