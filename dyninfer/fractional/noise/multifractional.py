"""Motion whose Hurst index changes with time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.data.arrays import as_tensor
from dyninfer.fractional.noise.checks import as_numbers, as_times
from dyninfer.fractional.noise.markov import MarkovApproximation
from dyninfer.fractional.noise.moments import (
    integrated_decay,
    inverse_or_zero,
    pair_sums,
)
from dyninfer.fractional.noise.motion import riemann_liouville_covariance
from dyninfer.learning.random import stream
from dyninfer.learning.settings import check_count


def multifractional_covariance(times: Any, hurst: Callable[[ndarray], Any]) -> Tensor:
    """Covariance of the moving average ``B(t) ∝ ∫_0^t (t−s)^{H(t)−½} dW_s``.

    It is scaled to ``Var B(t) = t^{2H(t)}``.

    Parameters
    ----------
    times : array, ``(n,)``
        Not negative.
    hurst : callable, ``(n,) -> (n,)``
        ``H(t)`` in (0, 1).

    Returns
    -------
    Tensor, ``(n, n)`` float64

    Raises
    ------
    ValueError
        If an index leaves (0, 1).
    """
    t = as_times(times)
    index = as_numbers(hurst(t), "hurst(times)")
    if index.shape not in ((), t.shape):
        raise ValueError(f"hurst(times) must be {t.shape} as the times, found {index.shape}")
    h = np.broadcast_to(index, t.shape)
    is_inside = (h > 0) & (h < 1)
    if not is_inside.all():
        lowest = h.min()
        highest = h.max()
        raise ValueError(f"hurst must stay between 0 and 1, found {lowest:g} to {highest:g}")
    covariance = riemann_liouville_covariance(t, h)
    return torch.from_numpy(covariance)


def sample_multifractional(
    times: Any,
    hurst: Callable[[ndarray], Any],
    n_paths: int,
    *,
    seed: int = 0,
) -> Tensor:
    """Draw exact paths ``(n_paths, n)``, float64, of :func:`multifractional_covariance`."""
    n_paths = check_count(n_paths, "n_paths")
    covariance = multifractional_covariance(times, hurst)
    # At time 0 the motion is 0, and its covariance has no factor.
    t = torch.from_numpy(as_times(times))
    (moving,) = torch.nonzero(t > 0, as_tuple=True)
    rows = covariance[moving]
    factor = torch.linalg.cholesky(rows[:, moving])
    generator = stream(seed, "multifractional motion")
    n_moving = len(factor)
    normals = torch.empty(n_paths, n_moving, dtype=torch.float64)
    normals.normal_(generator=generator)
    paths = normals.new_zeros(n_paths, len(t))
    paths[:, moving] = normals @ factor.T
    return paths


def approximate_covariance(noise: MarkovApproximation, times: Any, hurst: Tensor) -> Tensor:
    """Covariance of the approximation ``B̂(t) = Σ_k w_k(H(t)) (Y_k(t) − Y_k(0))``.

    Parameters
    ----------
    noise : MarkovApproximation
        Of kind II for an approximation of :func:`multifractional_covariance`.
    times : array, ``(n,)``
        Increasing, not negative.
    hurst : Tensor, ``(n,)``
        ``H`` at the times.

    Returns
    -------
    Tensor, ``(n, n)`` float64
        With gradients in ``hurst``.
    """
    return weighted_covariance(noise, times, noise.weights(hurst))


def weighted_covariance(noise: MarkovApproximation, times: Any, weights: Tensor) -> Tensor:
    """The covariance of :func:`approximate_covariance` from weights ``(n, K + 1)`` at each time."""
    t = as_tensor(times, "times").to(noise.nodes.device)
    shape = tuple(weights.shape[:-1])
    is_list = t.ndim == 1 and len(t) > 0
    # NaN is in no order, so that the first and the last time bound the rest.
    is_increasing = is_list and bool((t.diff() > 0).all())
    is_inside = is_increasing and bool(t[0] >= 0) and bool(t[-1] < torch.inf)
    if not is_inside or shape != t.shape:
        raise ValueError(
            "times must be one increasing list of numbers from 0 on, and hurst one value for each; "
            f"found shapes {tuple(t.shape)} and {shape}"
        )
    if noise.kind == "I":
        covariance = _with_past(noise, t, weights)
    else:
        covariance = _from_zero(noise, t, weights)
    # The closed forms hold where the row is the later time.
    lower = covariance.tril()
    below_diagonal = lower.tril(-1)
    return lower + below_diagonal.T


def _with_past(noise: MarkovApproximation, t: Tensor, w: Tensor) -> Tensor:
    """Kind I, right for ``t ≥ s`` in row ``t`` and column ``s``."""
    g = noise.nodes
    inverse = inverse_or_zero(pair_sums(g))
    share = w @ inverse
    exponent = -t.unsqueeze(1) * g
    fallen = w * torch.expm1(exponent)
    exponent_of_lag = _lags(t) * -g
    by_lag = torch.expm1(exponent_of_lag)
    of_lags = torch.einsum("tk,tsk,sk->ts", w, by_lag, share)
    of_late = fallen @ share.T
    early_share = fallen @ inverse
    of_early = w @ early_share.T
    covariance = of_lags - of_late - of_early
    if not noise.zero_node:
        return covariance
    # The zero node is a Brownian motion, and t the earlier of the two times.
    of_zero = w[:, 0]
    products = of_zero[:, None] * of_zero
    brownian = products * t
    return covariance + brownian


def _from_zero(noise: MarkovApproximation, t: Tensor, w: Tensor) -> Tensor:
    """Kind II, right for ``t ≥ s`` in row ``t`` and column ``s``."""
    g = noise.nodes
    sums = pair_sums(g)
    spans = t[:, None, None]
    memory = integrated_decay(sums, spans)
    # Cov(B̂(s), Y_k(s))
    carried = torch.einsum("skl,sk->sl", memory, w)
    lags = _lags(t)
    decay = torch.exp(-g * lags)
    return torch.einsum("tk,tsk,sk->ts", w, decay, carried)


def _lags(t: Tensor) -> Tensor:
    """``t − s`` for the later time in the row, else 0: ``(n, n, 1)``."""
    lags = t[:, None] - t
    return lags.clamp_min(0).unsqueeze(-1)
