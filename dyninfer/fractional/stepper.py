"""Steps of a state and its memory, whose coefficients are worked out once for a whole run."""

from __future__ import annotations

import warnings
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from dyninfer.fractional.gaussian.matrices import covariance_root
from dyninfer.fractional.process import FractionalDiffusion
from dyninfer.simulation.noise import PathNoise

Memory = Literal["exact", "euler"]


class Coefficients(NamedTuple):
    """Of one step; tensors over the nodes, and of coordinates that share them one row.

    Attributes
    ----------
    loss : Tensor, ``(K + 1,)``
        What the memory loses, ``1 − e^{−γ h}``.
    gain : Tensor, ``(K + 1,)``
        What it gains by a control of 1.
    factor : Tensor, ``(K + 1, rank)``
        Root of the covariance of the noise of the memory.
    recall : Tensor, ``(d or 1, K + 1)``
        What the memory lost takes from the noise of the state.
    push : Tensor, ``(d or 1,)``
        What a control of 1 adds to it.
    kick : Tensor, ``(d or 1, rank)``
        What standard normals add to it.
    """

    loss: Tensor
    gain: Tensor
    factor: Tensor
    recall: Tensor
    push: Tensor
    kick: Tensor


class Stepper:
    r"""Coefficients of every step, and the step.

    Over a step ``h`` with the control ``u`` frozen,
    ``Y_k ← e^{−γ_k h} Y_k + u (1 − e^{−γ_k h})/γ_k + ξ_k`` with the full joint covariance
    ``E ξ_i ξ_j = (1 − e^{−(γ_i+γ_j)h})/(γ_i+γ_j)``, so that ``ΔB̂ = Σ_k w_k ΔY_k`` has no error in
    time, however fast the nodes (``memory="exact"``); or Euler's rule with one ``ΔW``
    (``memory="euler"``). The state moves by ``b h + s ΔB̂``: with ``s`` at the left point (Itô, or
    additive noise), or with the mean of ``s`` there and at the predicted state (Stratonovich).

    An index ``H(t)`` changes the weights from step to step. A moving average moves by the exact
    difference ``ΔB̂ = Σ_k w_k(t+h) ΔY_k + Σ_k [w_k(t+h) − w_k(t)] (Y_k(t) − Y_k(0))``; an integral
    by ``Σ_k w_k(t+½h) ΔY_k``.

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
        # All times are on the device before the loop, in which nothing waits for it.
        self.times = starts.to(x).unbind()
        distinct = sorted(set(self.lengths))
        self.row = [distinct.index(length) for length in self.lengths]
        h = torch.tensor(distinct, dtype=torch.float64, device=process.nodes.device)
        loss, gain, factor = _transition(process.nodes, h, memory)
        if process.multifractional:
            # The weights change with time, so every step has a row of its own.
            loss, gain, factor = loss[self.row], gain[self.row], factor[self.row]
            self.row = list(range(len(self.row)))
        exact_lengths = torch.tensor(self.lengths, dtype=torch.float64)
        w, turn = _weights(process, x.shape[1], starts, exact_lengths)
        self.rank = factor.shape[-1]
        # Weighed in float64: large weights of both signs would cancel in float32.
        table = Coefficients(
            loss=loss,
            gain=gain,
            factor=factor,
            recall=w * loss[:, None],
            push=(w * gain[:, None]).sum(-1),
            kick=w @ factor,
        )
        rows = zip(*(values.to(x).unbind() for values in table), strict=True)
        self.table = [Coefficients(*row) for row in rows]
        self.turn = None if turn is None else turn.to(x).unbind()

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
        c = self.table[self.row[k]]
        change = _dot(z, c.kick) - _dot(y, c.recall)  # ΔB̂
        if self.turn is not None:
            change = change + _dot(y - origin, self.turn[k])
        y = y - y * c.loss + z @ c.factor.T
        if u is not None:
            change = change + u * c.push
            y = y + u.unsqueeze(-1) * c.gain
        return self._move(k, x, change), y

    def _move(self, k: int, x: Tensor, change: Tensor) -> Tensor:
        """State after the step in which the noise changes by ``ΔB̂``."""
        process, t, h = self.process, self.times[k], self.lengths[k]
        moved = x + process.drift(t, x) * h
        s = process.diffusion(t, x)
        if not process.additive and process.calculus == "stratonovich":
            predicted = moved + s * change
            s = 0.5 * (s + process.diffusion(t + h, predicted))
        return moved + s * change


class StepNoise:
    """Standard normals ``(n, d, rank)`` of numbered steps and paths, drawn a segment at a time."""

    def __init__(self, seed: int, n_steps: int, rank: int, x: Tensor):
        n_features = x.shape[1]
        self.shape = n_features, rank
        self.normals = PathNoise(seed, n_steps, n_features * rank, like=x.detach())
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
    # Of two nodes at 0 it is h, the limit of the formula.
    divisor = torch.where(sums > 0, sums, 1)
    covariance = torch.where(sums > 0, -torch.expm1(-sums * h) / divisor, h)
    root = covariance_root(covariance)
    has_variance = (root.square().sum(-2) > 0).any(0)
    # Eigenvalues ascend, so the columns that are 0 come first.
    rank = int(has_variance.sum())
    return root[..., root.shape[-1] - rank :]


def check_explicit(fastest: float, step: float, rule: str) -> None:
    """Refuse explicit steps of the memory at which its fastest node oscillates; warn if coarse."""
    safe = 0.5 / fastest if fastest > 0 else torch.inf
    if fastest * step > 1:
        raise ValueError(
            f"{rule} oscillates: the fastest node {fastest:g} times the step {step:g} exceeds 1; "
            f"use dt={safe:.3g} or less, or FractionalEuler(memory='exact'), which has no bound"
        )
    if step > safe:
        warnings.warn(
            f"{rule} is coarse for the fastest node {fastest:g}; use dt={safe:.3g} or "
            "FractionalEuler(memory='exact')",
            RuntimeWarning,
            stacklevel=5,
        )


def _transition(nodes: Tensor, h: Tensor, memory: Memory) -> tuple[Tensor, Tensor, Tensor]:
    """Loss and gain ``(L, K)`` and roots of the noise ``(L, K, rank)`` of step lengths ``(L,)``."""
    decay = h[:, None] * nodes
    if memory == "euler":
        gain = h[:, None].expand(-1, len(nodes))
        return decay, gain, gain.sqrt().unsqueeze(-1)
    loss = -torch.expm1(-decay)
    # Of a node at 0 it is h, the limit of the formula.
    gain = torch.where(nodes > 0, loss / torch.where(nodes > 0, nodes, 1), h[:, None])
    return loss, gain, noise_factors(nodes, h)


def _weights(
    process: FractionalDiffusion, n_features: int, starts: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Weights of the increments, perhaps for every step; one row where all coordinates share them.

    Second, how the weights of a moving average change over every step.
    """
    if not process.multifractional:
        return _shared_row(process.weights(n_features)), None
    if process.definition == "integral":
        middle = starts + 0.5 * lengths
        return _shared_row(process.weights(n_features, middle)), None
    end = starts[-1:] + lengths[-1:]
    w = _shared_row(process.weights(n_features, torch.cat([starts, end])))
    return w[1:], w.diff(dim=0)


def _shared_row(weights: Tensor) -> Tensor:
    """One row where all coordinates share their weights, which ``expand`` tells by its stride."""
    return weights[..., :1, :] if weights.stride(-2) == 0 else weights


def _dot(values: Tensor, weights: Tensor) -> Tensor:
    """``Σ_k weights_k values_k`` of ``(n, d, K)``; shared weights ``(1, K)`` are one product."""
    if len(weights) == 1:
        return values @ weights[0]
    return (values * weights).sum(-1)
