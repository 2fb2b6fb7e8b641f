"""Fractional Brownian motion as a sum of Ornstein-Uhlenbeck processes of one Brownian motion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from numpy import ndarray
from torch import Tensor, nn

from dyninfer.data.arrays import as_list, as_tensor
from dyninfer.fractional.noise.checks import as_times, check_positive
from dyninfer.fractional.noise.moments import (
    as_double,
    integrated_decay,
    inverse_or_zero,
    pair_sums,
)
from dyninfer.fractional.noise.motion import Kind, Normalization, check_names, kernel_variance
from dyninfer.fractional.noise.weights import Weighting, WeightProblem, best_grid, with_zero
from dyninfer.learning.settings import brief, check_count, check_switch, check_word, is_number

# Default grids on the unit horizon. Each costs a tenth of a second, and is used again and again.
_GRIDS: dict[tuple[Any, ...], Tensor] = {}


class MarkovApproximation(nn.Module):
    r"""Markov approximation of fractional Brownian motion, optimal for every Hurst index.

    ``B̂(t) = Σ_k w_k(H) (Y_k(t) − Y_k(0))`` with ``dY_k = −γ_k Y_k dt + dW``, the same ``W`` in
    all. Kind I starts from the stationary distribution, ``Y(0) ~ N(0, 1/(γ_i + γ_j))``; kind II
    from 0. The weights minimise ``∫_0^T E (B − B̂)² dt``: they solve ``A w = b`` (Daems et al.,
    arXiv 2310.12975, Prop. 5), with closed forms in ``H``, in float64, and gradients by autograd.
    With ``weights="multi"`` the sum of ``A/c`` and ``b/c`` over nine horizons from ``dt`` to ``T``
    takes the place of one, which balances the relative error across time scales.

    A node ``γ = 0`` (``Y_0 = W``) is added by default: it makes ``H = ½`` exact, and kind I far
    better beside it.

    Parameters
    ----------
    n_nodes : int
        Number K of nodes beside the zero node.
    horizon : float
        ``T``, the longest time that matters, in time units.
    dt : float, optional
        Shortest lag that matters; by default a thousandth of the horizon. The default nodes reach
        ``1/dt``, and from there to ``10⁴/dt`` as far as there are enough of them: without fast
        nodes a learned index is biased.
    kind : {"I", "II"}
        See :class:`FractionalBrownianMotion`, as for ``normalize``.
    normalize : {"unit", "kernel"}
    weights : {"multi", "single"}
    hurst_range : (float, float)
        Indices the default nodes are chosen for: the geometric grid with the least worst error is
        taken.
    zero_node : bool
    nodes : sequence of float, optional
        Own positive rates, per time unit, instead of the default grid; then ``n_nodes`` is not
        used.

    Attributes
    ----------
    nodes : Tensor, ``(K + 1,)`` float64
        Rates per time unit, increasing; the first is 0 with ``zero_node``.

    Raises
    ------
    ValueError
        If an argument is outside its range.

    Examples
    --------
    >>> from dyninfer.fractional import MarkovApproximation
    >>> approximation = MarkovApproximation(5, horizon=2.0, dt=0.01)
    >>> approximation.weights(0.7).shape
    torch.Size([6])
    """

    nodes: Tensor
    _scaled: Tensor  # nodes in units of the inverse horizon
    _grams: Tensor  # (horizon, K + 1, K + 1)

    def __init__(
        self,
        n_nodes: int = 8,
        *,
        horizon: float = 1.0,
        dt: float | None = None,
        kind: Kind = "I",
        normalize: Normalization = "unit",
        weights: Weighting = "multi",
        hurst_range: tuple[float, float] = (0.1, 0.9),
        zero_node: bool = True,
        nodes: Sequence[float] | None = None,
    ):
        super().__init__()
        check_names(kind, normalize)
        zero_node = check_switch(zero_node, "zero_node")
        _check(n_nodes, horizon, dt, weights, hurst_range)
        self.kind = kind
        self.normalize = normalize
        self.weighting = weights
        self.zero_node = zero_node
        self.horizon = float(horizon)
        self.dt = self.horizon / 1000
        if dt is not None:
            self.dt = float(dt)
        shortest = self.dt / self.horizon
        self._problem = WeightProblem(kind, weights, shortest)
        if nodes is None:
            rates = _default_grid(self._problem, n_nodes, hurst_range, zero_node)
        else:
            rates = _as_rates(nodes) * self.horizon
        scaled = rates
        if zero_node:
            scaled = with_zero(rates)
        grams = self._problem.grams(scaled)
        self._ridge = self._problem.ridge(scaled, grams)
        # The scaled nodes and their Gram matrices follow from the nodes, so files leave them out.
        self.register_buffer("nodes", scaled / self.horizon)
        self.register_buffer("_scaled", scaled, persistent=False)
        self.register_buffer("_grams", grams, persistent=False)

    @property
    def first_memory(self) -> int:
        """Number of the first positive node: nodes before it feed nothing back."""
        return int(self.zero_node)

    @property
    def memory_rates(self) -> Tensor:
        """The positive nodes ``γ``, ``(K,)``."""
        return self.nodes[self.first_memory :]

    def _apply(self, fn: Any, recurse: bool = True) -> MarkovApproximation:
        """Follow the module to another device, but stay in float64: less ruins the weights."""
        for name, buffer in self._buffers.items():
            if buffer is not None:
                device = fn(buffer).device
                self._buffers[name] = buffer.to(device)
        return self

    def weights(self, hurst: Any) -> Tensor:
        """Optimal weights: ``hurst`` of shape ``(...)`` gives ``(..., K + 1)`` float64.

        Their sum is the coefficient of ``dW`` in ``dB̂``. They have gradients in ``hurst``.
        """
        return self.weights_at(self._hurst(hurst))

    def weights_at(self, h: Tensor) -> Tensor:
        """The same weights, for indices that are known to lie between 0 and 1."""
        unit_weights = self._unit_weights(h)
        amplitude = self._amplitude(h)
        # The motion scales like time to the power H, that of the nodes like the root of time.
        exponent = h - 0.5
        scale = amplitude * self.horizon**exponent
        return unit_weights * scale.unsqueeze(-1)

    def relative_error(self, hurst: Any) -> Tensor:
        """``∫_0^T E (B − B̂)² dt / ∫_0^T E B² dt`` of the weights in use, float64."""
        h = self._hurst(hurst)
        w = self._unit_weights(h)
        whole_horizon = self._grams[-1]
        return self._problem.relative_error(h, self._scaled, whole_horizon, w)

    def _unit_weights(self, h: Tensor) -> Tensor:
        """Weights of the kernel's motion over the unit horizon, ``(..., K + 1)``."""
        return self._problem.solve(h, self._scaled, self._grams, self._ridge)

    def covariance(self, times: Any, hurst: Any) -> Tensor:
        """Covariance of ``B̂`` at ``times`` ``(n,)``: ``(..., n, n)`` float64, in closed form."""
        t = as_tensor(times, "times").to(self.nodes.device)
        if t.ndim != 1:
            raise ValueError(f"times must be one list, but its shape is {tuple(t.shape)}")
        w = self.weights(hurst)
        if self.kind == "I":
            return self._covariance_with_past(t, w)
        return self._covariance_from_zero(t, w)

    def variogram(self, lags: Any, hurst: Any) -> Tensor:
        """Mean square of the increments over ``lags (n,)`` from time 0: ``(..., n)`` float64."""
        variances = []
        for lag in as_times(lags):
            covariance = self.covariance([lag], hurst)
            variance = covariance[..., 0, 0]
            variances.append(variance)
        return torch.stack(variances, dim=-1)

    def report(self, hurst: Any, lags: Sequence[float] | None = None) -> pd.DataFrame:
        """Say how good the approximation is: one row per Hurst index.

        Parameters
        ----------
        hurst : float or sequence of float
        lags : sequence of float, optional
            By default ``dt``, ten ``dt``, a tenth of the horizon and the horizon.

        Returns
        -------
        DataFrame
            Columns ``("relative error", "")``, ``("Brownian coefficient", "")``,
            ``("weight", γ_k)`` per node, and ``("variance error", lag)``: relative error of the
            variance of an increment from time 0 over each lag.
        """
        index = self._hurst(hurst)
        h = torch.atleast_1d(index)
        if lags is None:
            short = 10 * self.dt
            long = self.horizon / 10
            lags = (self.dt, short, long, self.horizon)
        lag_times = as_times(lags)
        with torch.no_grad():
            w = self.weights(h)
            brownian = w.sum(-1, keepdim=True)
            exact = self._exact_variance(h[:, None], lag_times)
            variogram = self.variogram(lag_times, h)
            ratio = variogram / exact
            error = self.relative_error(h).unsqueeze(1)
            excess = ratio - 1
            table = torch.cat([error, brownian, w, excess], dim=1)
        names = [("relative error", ""), ("Brownian coefficient", "")]
        for g in self.nodes.tolist():
            names.append(("weight", f"{g:.4g}"))
        for lag in lag_times:
            names.append(("variance error", f"{lag:.4g}"))
        return pd.DataFrame(
            table.numpy(),
            index=pd.Index(h.tolist(), name="hurst"),
            columns=pd.MultiIndex.from_tuples(names),
        )

    def stationary_covariance(self) -> Tensor:
        """Covariance of ``Y(0)``, ``(K + 1, K + 1)`` float64.

        ``1/(γ_i + γ_j)`` for kind I, else 0; 0 for ``Y_0``.
        """
        covariance = inverse_or_zero(pair_sums(self.nodes))
        if self.kind == "II":
            return torch.zeros_like(covariance)
        moving = self.nodes > 0
        both_move = moving[:, None] & moving
        return torch.where(both_move, covariance, 0)

    def _covariance_with_past(self, t: Tensor, w: Tensor) -> Tensor:
        """``Σ_ij w_i w_j [e^{−γ_i(t−s)} − e^{−γ_i t} − e^{−γ_i s} + 1]/(γ_i+γ_j)``, ``s ≤ t``."""
        rows = t.unsqueeze(1)
        early = torch.minimum(rows, t)
        late = torch.maximum(rows, t)
        inverse = inverse_or_zero(pair_sums(self.nodes))
        share = w * (w @ inverse)
        # What decays less 1, as the ones of the formula cancel.
        by_lag = self._decay_less_one(late - early)
        by_late = self._decay_less_one(late)
        by_early = self._decay_less_one(early)
        decays = by_lag - by_late - by_early
        share_at_all_times = share[..., None, None, :]
        terms = decays * share_at_all_times
        covariance = terms.sum(-1)
        if not self.zero_node:
            return covariance
        of_zero = w[..., 0, None, None]
        brownian = of_zero**2 * early
        return covariance + brownian

    def _decay_less_one(self, time: Tensor) -> Tensor:
        """``e^{−γ t} − 1`` of every node, ``(..., K + 1)``."""
        spans = time.unsqueeze(-1)
        exponent = -self.nodes * spans
        return torch.expm1(exponent)

    def _covariance_from_zero(self, t: Tensor, w: Tensor) -> Tensor:
        """``Σ_i w_i e^{−γ_i(t−s)} Cov(Y_i(s), B̂(s))`` for ``s ≤ t``."""
        # Cov(Y_i, Y_j) and w_i Cov(Y_i, B̂) at every time.
        sums = pair_sums(self.nodes)
        spans = t[:, None, None]
        memory = integrated_decay(sums, spans)
        with_motion = torch.einsum("nij,...j->...ni", memory, w)
        carried = w.unsqueeze(-2) * with_motion
        order = t.argsort()
        rank = order.argsort()
        rows = rank.unsqueeze(1)
        earlier_rank = torch.minimum(rows, rank)
        early = order[earlier_rank]
        difference = t[:, None] - t
        lag = difference.abs().unsqueeze(-1)
        decay = torch.exp(-self.nodes * lag)
        carried_from_early = carried[..., early, :]
        terms = decay * carried_from_early
        return terms.sum(-1)

    def _hurst(self, hurst: Any) -> Tensor:
        h = as_tensor(hurst, "hurst").to(self.nodes.device)
        is_inside = (h > 0) & (h < 1)
        if not bool(is_inside.all()):
            raise ValueError(f"hurst must lie between 0 and 1, found {brief(hurst)}")
        return h

    def _amplitude(self, h: Tensor) -> Tensor:
        """What turns the kernel's motion into the one asked for."""
        if self.normalize == "unit":
            return kernel_variance(h, self.kind).rsqrt()
        return torch.ones_like(h)

    def _exact_variance(self, h: Tensor, lags: ndarray) -> Tensor:
        """``Var B`` after each lag, ``(..., lag)`` for indices ``(..., 1)``."""
        lag = as_double(lags, like=h)
        square = self._amplitude(h) ** 2
        unit = kernel_variance(h, self.kind) * square
        growth = lag ** (2 * h)
        return growth * unit


def _default_grid(
    problem: WeightProblem,
    n_nodes: int,
    hurst_range: tuple[float, float],
    zero_node: bool,
) -> Tensor:
    key = (
        n_nodes,
        tuple(hurst_range),
        problem.kind,
        problem.weighting,
        zero_node,
        # Quotients of one step and one horizon differ in their last digits.
        round(problem.dt, 12),
    )
    if key not in _GRIDS:
        _GRIDS[key] = best_grid(problem, n_nodes, hurst_range, zero_node)
    return _GRIDS[key]


def _as_rates(nodes: Sequence[float]) -> Tensor:
    rates = as_tensor(nodes, "nodes")
    is_list = rates.ndim == 1 and len(rates) > 0
    is_positive = rates > 0
    is_rate = is_positive & rates.isfinite()
    if not is_list or not bool(is_rate.all()):
        raise ValueError(
            f"nodes must be positive rates (the zero node is added by itself), found {brief(nodes)}"
        )
    return rates.sort().values


def _check(
    n_nodes: int,
    horizon: float,
    dt: float | None,
    weights: str,
    hurst_range: tuple[float, float],
) -> None:
    check_count(n_nodes, "n_nodes")
    check_positive(horizon, "horizon")
    if dt is not None and check_positive(dt, "dt") > horizon:
        raise ValueError(f"dt must be no longer than the horizon {horizon:g}, found {brief(dt)}")
    check_word(weights, "weights", ("multi", "single"))
    indices = as_list(hurst_range, "hurst_range", "two Hurst indices")
    are_indices = all(is_number(h) and 0 < h < 1 for h in indices)
    if len(indices) != 2 or not are_indices or indices[0] > indices[1]:
        raise ValueError(
            f"hurst_range must be two indices between 0 and 1 in order, found {brief(hurst_range)}"
        )
