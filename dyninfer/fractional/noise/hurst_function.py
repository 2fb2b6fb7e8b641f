"""A Hurst index that changes with time, learned from paths by likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from dyninfer.fractional.noise.markov import MarkovApproximation
from dyninfer.fractional.noise.motion import Kind
from dyninfer.fractional.noise.multifractional import weighted_covariance

_STARTS = (0.25, 0.5, 0.75)
_BOUND = 3.9  # of the coefficients: the index stays in [0.0198, 0.9802]
_RANGE, _DEGREE = (0.015, 0.985), 96  # of the interpolation of weights: to 1e-8
_INTERPOLATED: WeakKeyDictionary[MarkovApproximation, Callable[[Tensor], Tensor]] = (
    WeakKeyDictionary()
)


class HurstFunction(nn.Module):
    """``H(t) = sigmoid(Σ_j c_j β((t − t_0)/δ − j))`` with cubic B-splines ``β`` on even knots; constant outside.

    It can be the ``hurst`` of a :class:`~dyninfer.fractional.process.FractionalDiffusion`.

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
        if n_coefficients < 4:
            raise ValueError(
                f"n_coefficients must be at least 4, those of one cubic, found {n_coefficients}"
            )
        if not start < stop:
            raise ValueError(f"start must lie before stop, found {start!r} and {stop!r}")
        self.start, self.stop = float(start), float(stop)
        level = torch.tensor(hurst, dtype=torch.float64).logit()
        self.coefficients = nn.Parameter(level.repeat(n_coefficients))

    def forward(self, t: Tensor) -> Tensor:
        """``H`` at times ``(m,)``: ``(m,)``, with gradients in the coefficients."""
        c = self.coefficients
        at = (t.clamp(self.start, self.stop) - self.start) / (self.stop - self.start) * (len(c) - 3)
        u = (at[:, None] + 1 - torch.arange(len(c), device=t.device)).abs()
        inner = 2 / 3 - u.square() * (1 - 0.5 * u)
        basis = torch.where(u < 1, inner, (2 - u).clamp_min(0) ** 3 / 6)
        return torch.sigmoid(basis.to(c) @ c)


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
    """Learn ``H(t)`` and the amplitude of ``x(t) = A B(t)`` by maximum likelihood, from paths that share both.

    ``B`` is the moving average ``∝ ∫_0^t (t − s)^{H(t)−½} dW_s`` of unit variance ``t^{2H(t)}`` (kind II, Peltier & Lévy
    Véhel, INRIA RR-2645, 1995), or that with a past (kind I). The paths are Gaussian; their covariance is that of the
    Markov approximation, which is differentiable in ``H(t)``. The amplitude is profiled out. L-BFGS, from the likeliest
    of three constant indices; one Cholesky factor per step serves all paths.

    Parameters
    ----------
    paths : array, ``(n_paths, n_times)``
    times : array, ``(n_times,)``
        Increasing, not negative; the motion starts from 0 at time 0. What is given at time 0 is subtracted.
    kind : "I" or "II"
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
    x, t = _check(paths, times)
    gap = min(float(np.diff(t).min()), float(t[-1]) / 2)
    noise = MarkovApproximation(n_nodes, horizon=float(t[-1]), dt=gap, kind=kind)
    at, values = torch.from_numpy(t), torch.from_numpy(x.T.copy())
    hurst, weights = (
        HurstFunction(float(t[0]), float(t[-1]), n_coefficients),
        interpolated_weights(noise),
    )

    def likelihood() -> tuple[Tensor, Tensor]:
        """Log-likelihood with the amplitude at its best, and the amplitude's square."""
        factor = torch.linalg.cholesky(weighted_covariance(noise, at, weights(hurst(at))))
        square = torch.linalg.solve_triangular(factor, values, upper=False).square().mean()
        determinant = factor.diagonal().log().sum() * values.shape[1]
        return -0.5 * values.numel() * (
            square.log() + 1 + math.log(2 * math.pi)
        ) - determinant, square

    def objective(c: np.ndarray) -> tuple[float, np.ndarray]:
        with torch.no_grad():
            hurst.coefficients.copy_(torch.from_numpy(c))
        loss = -likelihood()[0] / values.numel()
        (slope,) = torch.autograd.grad(loss, hurst.coefficients)
        return float(loss.detach()), slope.numpy()

    starts = [np.full(n_coefficients, math.log(h / (1 - h))) for h in _STARTS]
    found = minimize(
        objective,
        min(starts, key=lambda c: objective(c)[0]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-_BOUND, _BOUND)] * n_coefficients,
        options={"maxiter": max_steps, "ftol": 1e-10, "gtol": 1e-6},
    )
    objective(found.x)
    hurst.requires_grad_(False)
    value, square = likelihood()
    status = "finished" if found.success else "stopped early"
    return MultifractionalFit(hurst, math.sqrt(float(square)), float(value), status)


def interpolated_weights(noise: MarkovApproximation) -> Callable[[Tensor], Tensor]:
    """Weights ``(m, K + 1)`` of indices ``(m,)`` in [0.015, 0.985] by interpolation in Chebyshev's nodes.

    The weights are analytic in ``H``; where they are wanted at hundreds of times again and again, this saves their cost.
    """
    low, high = _RANGE
    order = torch.arange(_DEGREE, dtype=torch.float64, device=noise.nodes.device)
    angle = (order + 0.5) * math.pi / _DEGREE
    nodal = noise.weights(low + (high - low) * 0.5 * (1 + angle.cos()))
    series = 2 / _DEGREE * torch.cos(order[:, None] * angle) @ nodal
    series[0] /= 2

    def weights(hurst: Tensor) -> Tensor:
        x = (2 * hurst - low - high) / (high - low)
        return torch.cos(order.to(x) * torch.acos(x)[:, None]) @ series.to(x)

    return weights


def weights_of_many(noise: MarkovApproximation, hurst: Tensor) -> Tensor:
    """``noise.weights(hurst)``: solved for each of a few indices, interpolated where there are a hundred.

    Paths and covariances change by less than 1e-8 of their size. What is interpolated is kept as long as the noise.
    """
    low, high = _RANGE
    if hurst.numel() < _DEGREE or not bool(((hurst >= low) & (hurst <= high)).all()):
        return noise.weights(hurst)
    if noise not in _INTERPOLATED:
        with torch.inference_mode(False):
            _INTERPOLATED[noise] = interpolated_weights(noise)
    return _INTERPOLATED[noise](hurst.flatten()).unflatten(0, hurst.shape)


def _check(paths: Any, times: Any) -> tuple[np.ndarray, np.ndarray]:
    """Paths and times after time 0, float64."""
    x, t = np.asarray(paths, dtype=np.float64), np.asarray(times, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] < 4 or not np.isfinite(x).all():
        raise ValueError(
            f"paths must be finite, (n_paths, n_times) with at least 4 times, but its shape is {x.shape}"
        )
    if t.shape != x.shape[1:] or t[0] < 0 or (np.diff(t) <= 0).any():
        raise ValueError(
            f"times must be {x.shape[1]} increasing numbers, not negative, one per column of paths"
        )
    if t[0] == 0:
        x, t = x[:, 1:] - x[:, :1], t[1:]
    if not x.any():
        raise ValueError("paths do not move; nothing can be learned of them")
    return x, t
