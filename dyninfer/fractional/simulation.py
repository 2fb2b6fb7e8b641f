"""Diffusions driven by fractional noise: the memory is stepped exactly, the state by Euler's or Heun's rule."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from dyninfer.fractional.gaussian.chain import covariance_root
from dyninfer.fractional.process import FractionalDiffusion
from dyninfer.learning.random import mix64
from dyninfer.simulation.grid import Grid, check_times
from dyninfer.simulation.noise import PathNoise
from dyninfer.simulation.start import as_states

Control = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class FractionalSolution:
    """What :func:`solve_fractional` returns.

    Attributes
    ----------
    times : Tensor, ``(time,)`` float64
    states : Tensor, ``(n, time, d)``
    memory : Tensor, ``(n, d, K + 1)``
        ``Y`` at the last time, from which another run can go on.
    energy : Tensor, ``(n,)``
        ``½ ∫ |u|² dt`` of each path: its mean is the divergence of the controlled law from the prior's.
    """

    times: Tensor
    states: Tensor
    memory: Tensor
    energy: Tensor


def solve_fractional(
    process: FractionalDiffusion,
    x0: Any,
    times: Any,
    *,
    control: Control | None = None,
    y0: Tensor | None = None,
    origin: Tensor | None = None,
    dt: float | None = None,
    seed: int = 0,
    method: Literal["exact", "euler"] = "exact",
    refine_at: Any = (),
    n_refined: int = 8,
) -> FractionalSolution:
    r"""Run a fractional diffusion, with or without a control that shifts its Brownian motion.

    Over a step ``h`` with the control ``u`` frozen, ``Y_k ← e^{−γ_k h} Y_k + u (1 − e^{−γ_k h})/γ_k + ξ_k`` with the
    full joint covariance ``E ξ_i ξ_j = (1 − e^{−(γ_i+γ_j)h})/(γ_i+γ_j)``, so that ``ΔB̂ = Σ_k w_k ΔY_k`` has no error
    in time, however fast the nodes (``method="exact"``). ``method="euler"`` steps the memory by Euler's rule with one
    ``ΔW``, as the reference does. The state moves by ``b h + s ΔB̂``: with ``s`` at the left point (Itô, or additive
    noise), or with the mean of ``s`` there and at the predicted state (Stratonovich; Heun's rule for the noise).

    An index ``H(t)`` changes the weights from step to step. A moving average moves by the exact difference
    ``ΔB̂ = Σ_k w_k(t+h) ΔY_k + Σ_k [w_k(t+h) − w_k(t)] (Y_k(t) − Y_k(0))``; an integral by ``Σ_k w_k(t+½h) ΔY_k``.

    Gradients go through plain autograd, to the process, its Hurst index, ``x0``, ``y0`` and the control. Under
    ``torch.no_grad()`` only the states at ``times`` are kept.

    Parameters
    ----------
    process : FractionalDiffusion
    x0 : array or Tensor, ``(n, d)``
        States at ``times[0]``; their dtype and device are the run's.
    times : array, ``(time,)``
        Increasing output times, even or not.
    control : callable, ``(n,), (n, d), (n, d, K + 1) -> (n, d)``, optional
        ``u(t, x, y)``; the Brownian motion becomes ``dW + u dt``.
    y0 : Tensor, ``(n, d, K + 1)``, optional
        Memory at ``times[0]``; by default drawn from the prior: stationary for kind I, 0 for kind II.
    origin : Tensor, ``(n, d, K + 1)``, optional
        ``Y(0)``, from which a moving average of an index ``H(t)`` counts; by default the memory at ``times[0]`` for kind
        I, 0 for kind II. A run that goes on from another's memory needs that run's, for kind I.
    dt : float, optional
        Longest step; by default a hundredth of the span.
    seed : int
        The noise of path ``i`` depends on ``(seed, i)`` alone.
    method : "exact" or "euler"
    refine_at : array, optional
        Times, those of sharp observations, that steps must meet, and before which they are halved ``n_refined`` times.
        A control that is frozen over long steps pays for it there.
    n_refined : int

    Returns
    -------
    FractionalSolution

    Raises
    ------
    ValueError
        If there is one time only, a shape does not fit, ``refine_at`` leaves the range of ``times``, or
        ``method="euler"`` has steps at which its fastest node oscillates; the message names a safe ``dt``.

    Warns
    -----
    RuntimeWarning
        If ``method="euler"`` steps its fastest node coarsely (``γ h > ½``).
    """
    x = as_states(x0, "x0")
    output = check_times(times, backward=False)
    if len(output) < 2:
        raise ValueError("times must be two or more: the start, and when states are wanted")
    if method not in ("exact", "euler"):
        raise ValueError(f"method must be 'exact' or 'euler', found {method!r}")
    steps = _steps(output, dt, refine_at, n_refined)
    run = _Run(process, x, steps, method, seed)
    y = run.prior_memory() if y0 is None else _check_memory(y0, run, "y0")
    if origin is not None:
        run.origin = _check_memory(origin, run, "origin")
    else:
        run.origin = y if process.noise.kind == "I" else torch.zeros_like(y)
    energy, half = x.new_zeros(len(x)), x.new_full(x.shape[1:], 0.5)
    states, starts = [x], steps.starts.to(x).unbind()
    stored = set(steps.stored)
    for k, t in enumerate(starts):
        u = None if control is None else control(t.expand(len(x)), x, y)
        if u is not None:
            energy = energy + steps.lengths[k] * (u.square() @ half)
        x, y = run.step(k, t, x, y, u)
        if k + 1 in stored:
            states.append(x)
    return FractionalSolution(output, torch.stack(states, dim=1), y, energy)


@dataclass(frozen=True)
class _Steps:
    starts: Tensor  # (step,) float64
    lengths: list[float]
    stored: list[int]  # numbers of steps done when an output is due


def _steps(times: Tensor, dt: float | None, refine_at: Any, n_refined: int) -> _Steps:
    """Even steps between outputs and refined times, the last before a refined time halved again and again."""
    marks = torch.as_tensor(refine_at, dtype=torch.float64).reshape(-1)
    if len(marks) and not (times[0] < marks.min() and marks.max() <= times[-1]):
        raise ValueError(
            f"refine_at must lie after times[0] = {times[0]:g} and up to times[-1] = {times[-1]:g}, found {refine_at!r}"
        )
    if dt is not None and not 0 < dt < math.inf:
        raise ValueError(f"dt must be positive, found {dt!r}")
    span = float(times[-1] - times[0])
    grid = Grid.of(torch.cat([times, marks]).unique(), span / 100 if dt is None else dt)
    points = torch.cat([grid.starts, times[-1:]])
    if len(marks):
        last = torch.searchsorted(points, marks - 1e-12 * span)
        halves = 0.5 ** torch.arange(1, n_refined + 1, dtype=torch.float64)
        inner = points[last, None] - (points[last] - points[last - 1])[:, None] * halves
        points = torch.cat([points, inner.flatten()]).unique()
    gaps = torch.diff(points)
    # Equal steps differ by rounding; made equal, they share one factor.
    lengths = [float(f"{gap:.10g}") for gap in gaps.tolist()]
    return _Steps(
        points[:-1], lengths, torch.searchsorted(points, times - 1e-12 * span)[1:].tolist()
    )


class _Run:
    """Coefficients of every step, and the step."""

    origin: Tensor

    def __init__(
        self, process: FractionalDiffusion, x: Tensor, steps: _Steps, method: str, seed: int
    ):
        self.process, self.x, self.seed, self.lengths = process, x, seed, steps.lengths
        g = process.nodes
        distinct = sorted(set(steps.lengths))
        h = torch.tensor(distinct, dtype=torch.float64, device=g.device)
        if method == "euler":
            _check_euler(g.max().item(), max(steps.lengths))
            loss, gain = h[:, None] * g, h[:, None].expand(-1, len(g))
            factors = gain.sqrt().unsqueeze(-1)
        else:
            loss = -torch.expm1(-h[:, None] * g)
            gain = torch.where(g > 0, loss / torch.where(g > 0, g, 1), h[:, None])
            factors = noise_factors(g, h)
        which = [distinct.index(length) for length in steps.lengths]
        # Steps of one length share a row, unless the weights change with time.
        self.row = list(range(len(which))) if process.multifractional else which
        if process.multifractional:
            loss, gain, factors = loss[which], gain[which], factors[which]
        w, turn = _weights(process, x.shape[1], steps)
        # The noise of B̂ is weighed in float64: large weights of both signs would cancel in float32.
        tables = loss, gain, factors, w * loss[:, None], (w * gain[:, None]).sum(-1), w @ factors
        self.table = list(zip(*(table.to(x).unbind() for table in tables), strict=True))
        self.turn = None if turn is None else turn.to(x).unbind()
        self.rank = factors.shape[-1]
        self.normals = PathNoise(seed, len(steps.lengths), x.shape[1] * self.rank, like=x.detach())
        self.held = -1

    def step(
        self, k: int, t: Tensor, x: Tensor, y: Tensor, u: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """One step of state and memory."""
        h = self.lengths[k]
        loss, gain, factor, recall, push, kick = self.table[self.row[k]]
        z = self._normals(k)
        change = _dot(z, kick) - _dot(y, recall)  # ΔB̂
        if self.turn is not None:
            change = change + _dot(y - self.origin, self.turn[k])
        y = y - y * loss + z @ factor.T
        if u is not None:
            change = change + u * push
            y = y + u.unsqueeze(-1) * gain
        moved = x + self.process.drift(t, x) * h
        s = self.process.diffusion(t, x)
        if not self.process.additive and self.process.calculus == "stratonovich":
            s = 0.5 * (s + self.process.diffusion(t + h, moved + s * change))
        return moved + s * change, y

    def prior_memory(self) -> Tensor:
        """Memory at the start: ``(n, d, K + 1)``."""
        n, d = self.x.shape
        shape = n, d, len(self.process.nodes)
        if self.process.noise.kind == "II":
            return self.x.new_zeros(shape)
        factor = covariance_root(self.process.noise.stationary_covariance()).to(self.x)
        draws = PathNoise(mix64(self.seed, *b"memory"), 1, d * shape[-1], like=self.x.detach())
        return draws.segment(range(n), 0)[0].view(shape) @ factor.T

    def _normals(self, k: int) -> Tensor:
        segment, offset = divmod(k, self.normals.segment_length)
        if segment != self.held:
            self.drawn, self.held = self.normals.segment(range(len(self.x)), segment), segment
        return self.drawn[offset].view(*self.x.shape, self.rank)


def _weights(
    process: FractionalDiffusion, n_features: int, steps: _Steps
) -> tuple[Tensor, Tensor | None]:
    """Weights of the increments, of all coordinates, one row if they share them, perhaps for every step.

    Second, how the weights of a moving average change over every step.
    """
    times, h = None, torch.tensor(steps.lengths, dtype=torch.float64)
    if process.multifractional:
        ends = torch.cat([steps.starts, steps.starts[-1:] + h[-1:]])
        times = ends if process.definition == "moving-average" else steps.starts + 0.5 * h
    w = process.weights(n_features, times)
    w = w[..., :1, :] if w.stride(-2) == 0 else w  # an expanded row
    if process.multifractional and process.definition == "moving-average":
        return w[1:], w.diff(dim=0)
    return w, None


def _dot(values: Tensor, weights: Tensor) -> Tensor:
    """``Σ_k weights_k values_k`` of ``(n, d, K)``; weights ``(1, K)`` that coordinates share are one product."""
    return values @ weights[0] if len(weights) == 1 else (values * weights).sum(-1)


def noise_factors(nodes: Tensor, lengths: Tensor) -> Tensor:
    """Square roots ``L_h`` of the covariance of ``ξ`` over each step ``h``, ``(step, K, rank)`` float64.

    The covariance is singular to rounding, so it is an eigen root, of the matrix scaled to unit diagonal.
    """
    sums = nodes[:, None] + nodes
    h = lengths[:, None, None]
    root = covariance_root(
        torch.where(sums > 0, -torch.expm1(-sums * h) / torch.where(sums > 0, sums, 1), h)
    )
    rank = int((root.square().sum(-2) > 0).any(0).sum())
    return root[..., root.shape[-1] - rank :]


def _check_euler(fastest: float, step: float) -> None:
    if fastest * step > 1:
        raise ValueError(
            f"method 'euler' oscillates: the fastest node {fastest:g} times the step {step:g} exceeds 1; "
            f"use dt={0.5 / fastest:.3g} or less, or method='exact', which has no such bound"
        )
    if fastest * step > 0.5:
        warnings.warn(
            f"method 'euler' is coarse for its fastest node {fastest:g}; use dt={0.5 / fastest:.3g} or method='exact'",
            RuntimeWarning,
            stacklevel=5,
        )


def _check_memory(memory: Tensor, run: _Run, name: str) -> Tensor:
    shape = *run.x.shape, len(run.process.nodes)
    if tuple(memory.shape) != shape:
        raise ValueError(
            f"{name} must be (n, d, K + 1) = {shape}, but its shape is {tuple(memory.shape)}"
        )
    return memory.to(run.x)
