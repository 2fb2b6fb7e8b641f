"""Motion whose Hurst index changes with time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dyninfer.fractional.noise.markov import MarkovApproximation
from dyninfer.fractional.noise.motion import riemann_liouville_covariance


def multifractional_covariance(times: Any, hurst: Callable[[np.ndarray], Any]) -> Tensor:
    """Covariance of the moving average ``B(t) ∝ ∫_0^t (t−s)^{H(t)−½} dW_s``, scaled to ``Var B(t) = t^{2H(t)}``.

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
    t = np.asarray(times, dtype=np.float64)
    h = np.broadcast_to(np.asarray(hurst(t), dtype=np.float64), t.shape)
    if not ((h > 0) & (h < 1)).all():
        raise ValueError(f"hurst must stay between 0 and 1, found {h.min():g} to {h.max():g}")
    return torch.from_numpy(riemann_liouville_covariance(t, h))


def sample_multifractional(
    times: Any, hurst: Callable[[np.ndarray], Any], n_paths: int, *, seed: int = 0
) -> Tensor:
    """Draw exact paths ``(n_paths, n)`` float64 of the motion of :func:`multifractional_covariance`."""
    positive = torch.as_tensor(np.asarray(times) > 0)
    covariance = multifractional_covariance(times, hurst)
    factor = torch.linalg.cholesky(covariance[positive][:, positive])
    generator = torch.Generator().manual_seed(seed)
    paths = torch.zeros(n_paths, len(covariance), dtype=torch.float64)
    paths[:, positive] = (
        torch.randn(n_paths, len(factor), generator=generator, dtype=torch.float64) @ factor.T
    )
    return paths


def approximate_covariance(noise: MarkovApproximation, times: Any, hurst: Tensor) -> Tensor:
    """Covariance of the Markov approximation ``B̂(t) = Σ_k w_k(H(t)) (Y_k(t) − Y_k(0))`` of the moving average.

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
    """The covariance of :func:`approximate_covariance` from the weights at each time, ``(n, K + 1)``."""
    g, w = noise.nodes, weights
    t = torch.as_tensor(times, dtype=torch.float64, device=g.device)
    if w.shape[:-1] != t.shape or bool((t.diff() <= 0).any()):
        raise ValueError(f"times must increase, one for each of the {len(w)} values of hurst")
    sums = g[:, None] + g
    inverse = torch.where(sums > 0, 1 / torch.where(sums > 0, sums, 1), 0)
    lag = -(t[:, None] - t).clamp_min(0)[..., None] * g  # row: the later time
    if noise.kind == "I":
        share = w @ inverse
        fallen = torch.expm1(-t[:, None] * g)
        lower = torch.einsum("tk,tsk,sk->ts", w, torch.expm1(lag), share)
        lower = lower - (w * fallen) @ share.T - w @ ((w * fallen) @ inverse).T
        if noise.zero_node:
            lower = lower + w[:, :1] * w[:, 0] * t
    else:
        started = torch.where(
            sums > 0, -torch.expm1(-sums * t[:, None, None]) * inverse, t[:, None, None]
        )
        carried = torch.einsum("skl,sk->sl", started, w)  # Cov(B̂(s), Y_l(s))
        lower = torch.einsum("tk,tsk,sk->ts", w, torch.exp(lag), carried)
    lower = lower.tril()
    return lower + lower.tril(-1).T
