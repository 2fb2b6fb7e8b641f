"""Fractional Brownian motion as a weighted sum of Ornstein-Uhlenbeck processes with one Brownian motion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from dyninfer.fractional.noise.moments import cross, gram, power
from dyninfer.fractional.noise.motion import Kind, Normalization, check_names, kernel_variance

RIDGE = 1e-12  # on the Gram matrix of unit diagonal, where it is singular in float64
_SINGULAR = 1e-11
_N_HORIZONS = 9
_FASTEST, _RATIO = (
    100.0,
    15.0,
)  # nodes beyond 100/dt only where neighbours stay this near to each other
_GRIDS: dict[tuple[Any, ...], Tensor] = {}  # default grids that were found, on the unit horizon


class MarkovApproximation(nn.Module):
    r"""Markov approximation of fractional Brownian motion with weights that are optimal for every Hurst index.

    ``B̂(t) = Σ_k w_k(H) (Y_k(t) − Y_k(0))`` with ``dY_k = −γ_k Y_k dt + dW``, the same ``W`` in all. Kind I starts
    from the stationary law, ``Y(0) ~ N(0, 1/(γ_i + γ_j))``; kind II from 0. The weights minimise
    ``∫_0^T E (B − B̂)² dt``: they solve ``A w = b`` (Daems et al., arXiv 2310.12975, Prop. 5), with closed forms in
    ``H``, in float64, and gradients by autograd. With ``weights="multi"`` the sum of ``A/c`` and ``b/c`` over nine
    horizons from ``dt`` to ``T`` takes the place of one, which balances the relative error across time scales.

    A node ``γ = 0`` (``Y_0 = W``) is added by default: it makes ``H = ½`` exact, and kind I far better beside it.

    Parameters
    ----------
    n_nodes : int
        Number K of nodes beside the zero node.
    horizon : float
        ``T``, the longest time that matters, in time units.
    dt : float, optional
        Shortest lag that matters; by default a thousandth of the horizon. The default nodes reach ``1/dt``, and from
        there to ``10⁴/dt`` as far as there are enough of them: without fast nodes a learned index is biased.
    kind : "I" or "II"
        See :class:`FractionalBrownianMotion`, as for ``normalize``.
    normalize : "unit" or "kernel"
    weights : "multi" or "single"
    hurst_range : (float, float)
        Indices the default nodes are chosen for: the geometric grid with the least worst error is taken.
    zero_node : bool
    nodes : sequence of float, optional
        Own positive rates, per time unit, instead of the default grid; then ``n_nodes`` is not used.

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
        weights: Literal["multi", "single"] = "multi",
        hurst_range: tuple[float, float] = (0.1, 0.9),
        zero_node: bool = True,
        nodes: Sequence[float] | None = None,
    ):
        super().__init__()
        check_names(kind, normalize)
        _check(n_nodes, horizon, dt, weights, hurst_range)
        self.kind, self.normalize, self.weighting, self.zero_node = (
            kind,
            normalize,
            weights,
            zero_node,
        )
        self.horizon = float(horizon)
        self.dt = self.horizon / 1000 if dt is None else float(dt)
        if nodes is None:
            key = (
                n_nodes,
                tuple(hurst_range),
                kind,
                weights,
                zero_node,
                round(self.dt / self.horizon, 12),
            )
            if key not in _GRIDS:
                _GRIDS[key] = self._best_grid(n_nodes, hurst_range)
            rates = _GRIDS[key]
        else:
            rates = torch.as_tensor(nodes, dtype=torch.float64).sort().values * self.horizon
            if (
                rates.ndim != 1
                or len(rates) == 0
                or not bool((rates > 0).all() & rates.isfinite().all())
            ):
                raise ValueError(
                    f"nodes must be positive rates (the zero node is added by itself), found {nodes!r}"
                )
        scaled = self._with_zero(rates)
        self.register_buffer("nodes", scaled / self.horizon)
        self.register_buffer("_scaled", scaled, persistent=False)
        self.register_buffer(
            "_grams", gram(scaled * self._horizons(scaled)[:, None], kind), persistent=False
        )
        middle, _ = self._system(torch.tensor(0.5, dtype=torch.float64), scaled, self._grams)
        smallest = torch.linalg.eigvalsh(_unit_diagonal(middle)[0])[0]
        self._ridge = RIDGE if float(smallest) < _SINGULAR else 0.0

    def _apply(self, fn: Any, recurse: bool = True) -> MarkovApproximation:
        """Follow the module to another device, but stay in float64: the weights do not survive less."""
        for name in self._buffers:
            self._buffers[name] = self._buffers[name].to(fn(self._buffers[name]).device)  # type: ignore[union-attr]
        return self

    def weights(self, hurst: Any) -> Tensor:
        """Optimal weights: ``hurst`` of shape ``(...)`` gives ``(..., K + 1)`` float64, with gradients.

        Their sum is the coefficient of ``dW`` in ``dB̂``.
        """
        h = self._hurst(hurst)
        w = _solve(*self._system(h, self._scaled, self._grams), self._ridge)
        return w * (self._amplitude(h) * self.horizon ** (h - 0.5))[..., None]

    def relative_error(self, hurst: Any) -> Tensor:
        """``∫_0^T E (B − B̂)² dt / ∫_0^T E B² dt`` of the weights in use, the shape of ``hurst``, float64."""
        h = self._hurst(hurst)
        w = _solve(*self._system(h, self._scaled, self._grams), self._ridge)
        b = cross(h[..., None], self._scaled, self.kind)
        return 1 + _square_error(w, self._grams[-1], b) / power(h, self.kind)

    def covariance(self, times: Any, hurst: Any) -> Tensor:
        """Covariance of ``B̂`` at ``times`` ``(n,)``: ``(..., n, n)`` float64, in closed form."""
        t = torch.as_tensor(times, dtype=torch.float64, device=self.nodes.device)
        w, g = self.weights(hurst), self.nodes
        early, late = torch.minimum(t[:, None], t), torch.maximum(t[:, None], t)
        sums = g[:, None] + g
        inverse = torch.where(sums > 0, 1 / torch.where(sums > 0, sums, 1), 0)
        if self.kind == "I":
            share = w * (w @ inverse)
            decays = [torch.expm1(-g * x[..., None]) for x in (late - early, late, early)]
            matrix = ((decays[0] - decays[1] - decays[2]) * share[..., None, None, :]).sum(-1)
            return matrix + (w[..., 0, None, None] ** 2 * early if self.zero_node else 0)
        started = torch.where(
            sums > 0, -torch.expm1(-sums * t[:, None, None]) * inverse, t[:, None, None]
        )
        carried = w[..., None, :] * torch.einsum(
            "nij,...j->...ni", started, w
        )  # w_i Cov(Y_i(s), B̂(s))
        order = t.argsort()
        rank = order.argsort()
        at = order[torch.minimum(rank[:, None], rank)]  # which of each pair of times is the earlier
        return (torch.exp(-g * (late - early)[..., None]) * carried[..., at, :]).sum(-1)

    def variogram(self, lags: Any, hurst: Any) -> Tensor:
        """Mean square of the increments over ``lags`` ``(n,)`` from time 0: ``(..., n)`` float64."""
        pieces = [self.covariance([float(lag)], hurst)[..., 0, 0] for lag in lags]
        return torch.stack(pieces, dim=-1)

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
            Columns ``("relative error", "")``, ``("Brownian coefficient", "")``, ``("weight", γ_k)`` per node, and
            ``("variance error", lag)``: relative error of the variance of an increment from time 0 over each lag.
        """
        h = torch.atleast_1d(self._hurst(hurst))
        lags = (self.dt, 10 * self.dt, self.horizon / 10, self.horizon) if lags is None else lags
        with torch.no_grad():
            w = self.weights(h)
            true = (
                torch.as_tensor(lags, dtype=torch.float64) ** (2 * h[:, None])
                * self._amplitude(h)[:, None] ** 2
            )
            true = true * kernel_variance(h, self.kind)[:, None]
            errors = self.variogram(lags, h) / true - 1
            table = torch.cat(
                [self.relative_error(h)[:, None], w.sum(-1, keepdim=True), w, errors], dim=1
            )
        names = [("relative error", ""), ("Brownian coefficient", "")]
        names += [("weight", f"{g:.4g}") for g in self.nodes.tolist()]
        names += [("variance error", f"{lag:.4g}") for lag in lags]
        columns = pd.MultiIndex.from_tuples(names)
        return pd.DataFrame(
            table.numpy(), index=pd.Index(h.tolist(), name="hurst"), columns=columns
        )

    def stationary_covariance(self) -> Tensor:
        """Covariance of ``Y(0)``, ``(K + 1, K + 1)`` float64: ``1/(γ_i + γ_j)`` for kind I, else 0; 0 for ``Y_0``."""
        g = self.nodes
        if self.kind == "II":
            return torch.zeros(len(g), len(g), dtype=torch.float64, device=g.device)
        sums = g[:, None] + g
        alive = (g > 0)[:, None] & (g > 0)
        return torch.where(alive, 1 / torch.where(alive, sums, 1), 0)

    def _hurst(self, hurst: Any) -> Tensor:
        h = torch.as_tensor(hurst, dtype=torch.float64, device=self.nodes.device)
        if not bool(((h > 0) & (h < 1)).all()):
            raise ValueError(f"hurst must lie between 0 and 1, found {hurst!r}")
        return h

    def _amplitude(self, h: Tensor) -> Tensor:
        """What turns the kernel's motion into the one asked for."""
        return (
            kernel_variance(h, self.kind).rsqrt()
            if self.normalize == "unit"
            else torch.ones_like(h)
        )

    def _system(
        self, h: Tensor, scaled: Tensor, grams: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """``A`` and ``b`` for nodes ``(..., K)``, averaged over the horizons in units of ``c``."""
        spread = self._horizons(scaled)
        g = scaled.unsqueeze(-2) * spread[:, None]  # (..., horizon, K)
        grams = gram(g, self.kind) if grams is None else grams
        h = h[..., None]
        share = 1 / (power(h, self.kind) * len(spread))
        # A(τ)/c(τ) = τ^{1−2H} A(1; γτ)/c(1)
        matrix = ((share * spread ** (1 - 2 * h))[..., None, None] * grams).sum(-3)
        vector = ((share * spread ** (0.5 - h))[..., None] * cross(h[..., None], g, self.kind)).sum(
            -2
        )
        return matrix, vector

    def _horizons(self, like: Tensor) -> Tensor:
        """Horizons in units of the longest."""
        n = 1 if self.weighting == "single" else _N_HORIZONS
        start = math.log10(self.dt / self.horizon) if n > 1 else 0.0
        return torch.logspace(start, 0, n, dtype=torch.float64, device=like.device)

    def _with_zero(self, rates: Tensor) -> Tensor:
        return (
            torch.cat([torch.zeros_like(rates[..., :1]), rates], dim=-1)
            if self.zero_node
            else rates
        )

    def _best_grid(self, n_nodes: int, hurst_range: tuple[float, float]) -> Tensor:
        """Geometric grid whose relative error over the whole horizon is least for its worst index."""
        reach = torch.logspace(0, 4, 9, dtype=torch.float64)
        slowest = torch.logspace(-9, 0, 10, dtype=torch.float64)
        low, beyond = (x.flatten() for x in torch.meshgrid(slowest, reach, indexing="ij"))
        high = beyond * self.horizon / self.dt
        dense = high / low <= _RATIO ** (n_nodes - 1)
        allowed = (beyond <= _FASTEST) | dense
        low, high = (x[allowed].log().unsqueeze(-1) for x in (low, high))
        at = (
            torch.linspace(0, 1, n_nodes, dtype=torch.float64)
            if n_nodes > 1
            else torch.full((1,), 0.5).double()
        )
        grids = torch.exp(low * (1 - at) + high * at)
        scaled = self._with_zero(grids)
        grams = gram(scaled.unsqueeze(-2) * self._horizons(scaled)[:, None], self.kind)
        worst = torch.zeros(len(grids), dtype=torch.float64)
        for h in torch.linspace(*hurst_range, 5, dtype=torch.float64):
            matrix, vector = self._system(h.expand(len(grids)), scaled, grams)
            w = _solve(matrix, vector, RIDGE)
            b = cross(h.expand(len(grids), 1), scaled, self.kind)
            error = 1 + _square_error(w, grams[:, -1], b) / power(h, self.kind)
            worst = torch.maximum(worst, error)
        return grids[worst.argmin()]


def _square_error(w: Tensor, matrix: Tensor, vector: Tensor) -> Tensor:
    """``w'Aw − 2 b'w``."""
    return (w * ((matrix @ w.unsqueeze(-1)).squeeze(-1) - 2 * vector)).sum(-1)


def _unit_diagonal(matrix: Tensor) -> tuple[Tensor, Tensor]:
    scale = matrix.diagonal(dim1=-2, dim2=-1).rsqrt()
    return matrix * scale.unsqueeze(-1) * scale.unsqueeze(-2), scale


def _solve(matrix: Tensor, vector: Tensor, ridge: float) -> Tensor:
    unit, scale = _unit_diagonal(matrix)
    eye = torch.eye(unit.shape[-1], dtype=unit.dtype, device=unit.device)
    return scale * torch.linalg.solve(unit + ridge * eye, scale * vector)


def _check(
    n_nodes: int, horizon: float, dt: float | None, weights: str, hurst_range: tuple[float, float]
) -> None:
    if n_nodes < 1:
        raise ValueError(f"n_nodes must be at least 1, found {n_nodes!r}")
    if not 0 < horizon < np.inf:
        raise ValueError(f"horizon must be positive, found {horizon!r}")
    if dt is not None and not 0 < dt <= horizon:
        raise ValueError(
            f"dt must be positive and no longer than the horizon {horizon:g}, found {dt!r}"
        )
    if weights not in ("multi", "single"):
        raise ValueError(f"weights must be 'multi' or 'single', found {weights!r}")
    if not 0 < hurst_range[0] <= hurst_range[1] < 1:
        raise ValueError(
            f"hurst_range must be two indices between 0 and 1 in order, found {hurst_range!r}"
        )
