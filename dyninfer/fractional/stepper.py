"""Steps of a state and its memory, whose coefficients are worked out once for a whole run."""

from __future__ import annotations

import warnings
from typing import Literal

import torch
from torch import Tensor

from dyninfer.fractional.gaussian.matrices import covariance_root
from dyninfer.fractional.process import FractionalDiffusion
from dyninfer.simulation.noise import PathNoise

Memory = Literal["exact", "euler"]


class Stepper:
    r"""Coefficients of every step, and the step.

    Over a step ``h`` with the control ``u`` frozen,
    ``Y_k ← e^{−γ_k h} Y_k + u (1 − e^{−γ_k h})/γ_k + ξ_k`` with the full joint covariance
    ``E ξ_i ξ_j = (1 − e^{−(γ_i+γ_j)h})/(γ_i+γ_j)``, so that ``ΔB̂ = Σ_k w_k ΔY_k`` has no error in time,
    however fast the nodes (``memory="exact"``); or Euler's rule with one ``ΔW``
    (``memory="euler"``). The state moves by ``b h + s ΔB̂``: with ``s`` at the left point (Itô, or
    additive noise), or with the mean of ``s`` there and at the predicted state (Stratonovich).

    An index ``H(t)`` changes the weights from step to step. A moving average moves by the exact
    difference ``ΔB̂ = Σ_k w_k(t+h) ΔY_k + Σ_k [w_k(t+h) − w_k(t)] (Y_k(t) − Y_k(0))``; an integral by
    ``Σ_k w_k(t+½h) ΔY_k``.

    Parameters
    ----------
    process : FractionalDiffusion
    starts : Tensor, ``(step,)`` float64
        Time at which every step starts.
    lengths : Tensor, ``(step,)`` float64
    x : Tensor, ``(n, d)``
        Gives the number of coordinates, the dtype and the device.
    memory : "exact" or "euler"
    """

    def __init__(
        self,
        process: FractionalDiffusion,
        starts: Tensor,
        lengths: Tensor,
        x: Tensor,
        memory: Memory = "exact",
    ):
        self.process = process
        # Equal steps differ by rounding; made equal, they share one factor.
        self.lengths = [float(f"{length:.10g}") for length in lengths.tolist()]
        self.times = starts.to(x).unbind()
        distinct = sorted(set(self.lengths))
        h = torch.tensor(distinct, dtype=torch.float64, device=process.nodes.device)
        loss, gain, factors = _transition(process.nodes, h, memory)
        self.row = [distinct.index(length) for length in self.lengths]
        if process.multifractional:
            # The weights change with time, so every step has a row of its own.
            loss, gain, factors = loss[self.row], gain[self.row], factors[self.row]
            self.row = list(range(len(self.row)))
        w, turn = _weights(process, x.shape[1], starts, torch.tensor(self.lengths).double())
        # Weighed in float64: large weights of both signs would cancel in float32.
        recall = w * loss[:, None]
        push = (w * gain[:, None]).sum(-1)
        kick = w @ factors
        tables = [table.to(x).unbind() for table in (loss, gain, factors, recall, push, kick)]
        self.table = list(zip(*tables, strict=True))
        self.turn = None if turn is None else turn.to(x).unbind()
        self.rank = factors.shape[-1]

    def step(
        self, k: int, x: Tensor, y: Tensor, origin: Tensor, z: Tensor, u: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """One step of state ``(n, d)`` and memory ``(n, d, K + 1)``.

        Parameters
        ----------
        k : int
            Number of the step.
        x, y : Tensor
            State and memory at its start.
        origin : Tensor, ``(n, d, K + 1)``
            ``Y(0)``, from which a moving average of an index ``H(t)`` counts.
        z : Tensor, ``(n, d, rank)``
            Standard normals.
        u : Tensor, ``(n, d)``, optional
            Control.
        """
        h, t = self.lengths[k], self.times[k]
        loss, gain, factor, recall, push, kick = self.table[self.row[k]]
        change = _dot(z, kick) - _dot(y, recall)  # ΔB̂
        if self.turn is not None:
            change = change + _dot(y - origin, self.turn[k])
        y = y - y * loss + z @ factor.T
        if u is not None:
            change = change + u * push
            y = y + u.unsqueeze(-1) * gain
        moved = x + self.process.drift(t, x) * h
        s = self.process.diffusion(t, x)
        if not self.process.additive and self.process.calculus == "stratonovich":
            s = 0.5 * (s + self.process.diffusion(t + h, moved + s * change))
        return moved + s * change, y


class StepNoise:
    """Standard normals ``(n, d, rank)`` of numbered steps and paths, drawn a segment at a time."""

    def __init__(self, seed: int, n_steps: int, rank: int, x: Tensor):
        self.shape = x.shape[1], rank
        self.normals = PathNoise(seed, n_steps, x.shape[1] * rank, like=x.detach())
        self.current = -1
        self.segment: Tensor

    def at(self, k: int, rows: range) -> Tensor:
        """Normals of step ``k`` for always the same ``rows``."""
        segment, offset = divmod(k, self.normals.segment_length)
        if segment != self.current:
            self.segment = self.normals.segment(rows, segment)
            self.current = segment
        return self.segment[offset].view(len(rows), *self.shape)


def noise_factors(nodes: Tensor, lengths: Tensor) -> Tensor:
    """Square roots ``L_h`` of the covariance of ``ξ`` over each step ``h``, ``(step, K, rank)``.

    Float64. The covariance is singular to rounding, so it is an eigen root, of the matrix scaled to
    unit diagonal.
    """
    sums = nodes[:, None] + nodes
    h = lengths[:, None, None]
    decaying = -torch.expm1(-sums * h) / torch.where(sums > 0, sums, 1)
    root = covariance_root(torch.where(sums > 0, decaying, h))
    rank = int((root.square().sum(-2) > 0).any(0).sum())
    return root[..., root.shape[-1] - rank :]


def check_explicit(fastest: float, step: float, rule: str) -> None:
    """Refuse explicit steps of the memory at which its fastest node oscillates; warn if coarse."""
    if fastest * step > 1:
        raise ValueError(
            f"{rule} oscillates: the fastest node {fastest:g} times the step {step:g} exceeds 1; "
            f"use dt={0.5 / fastest:.3g} or less, or FractionalEuler(memory='exact'), which has no "
            "such bound"
        )
    if fastest * step > 0.5:
        warnings.warn(
            f"{rule} is coarse for the fastest node {fastest:g}; use dt={0.5 / fastest:.3g} or "
            "FractionalEuler(memory='exact')",
            RuntimeWarning,
            stacklevel=5,
        )


def _transition(nodes: Tensor, h: Tensor, memory: Memory) -> tuple[Tensor, Tensor, Tensor]:
    """Of every step length ``(L,)``: loss and gain ``(L, K)``, roots of the noise ``(L, K, rank)``."""
    if memory == "euler":
        gain = h[:, None].expand(-1, len(nodes))
        return h[:, None] * nodes, gain, gain.sqrt().unsqueeze(-1)
    loss = -torch.expm1(-h[:, None] * nodes)
    gain = torch.where(nodes > 0, loss / torch.where(nodes > 0, nodes, 1), h[:, None])
    return loss, gain, noise_factors(nodes, h)


def _weights(
    process: FractionalDiffusion, n_features: int, starts: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Weights of the increments, perhaps for every step; one row where all coordinates share them.

    Second, how the weights of a moving average change over every step.
    """
    is_moving_average = process.definition == "moving-average"
    times = None
    if process.multifractional and is_moving_average:
        times = torch.cat([starts, starts[-1:] + lengths[-1:]])
    elif process.multifractional:
        times = starts + 0.5 * lengths
    w = process.weights(n_features, times)
    if w.stride(-2) == 0:
        w = w[..., :1, :]
    if process.multifractional and is_moving_average:
        return w[1:], w.diff(dim=0)
    return w, None


def _dot(values: Tensor, weights: Tensor) -> Tensor:
    """``Σ_k weights_k values_k`` of ``(n, d, K)``; shared weights ``(1, K)`` are one product."""
    if len(weights) == 1:
        return values @ weights[0]
    return (values * weights).sum(-1)
