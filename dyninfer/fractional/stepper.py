"""Steps of a state and its memory, whose coefficients are worked out once for a whole run."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from dyninfer.fractional.gaussian.matrices import covariance_root
from dyninfer.fractional.noise.moments import integrated_decay, pair_sums
from dyninfer.fractional.process import FractionalDiffusion
from dyninfer.learning.warn import warn
from dyninfer.simulation.noise import PathNoise

Memory = Literal["exact", "euler"]


class Coefficients(NamedTuple):
    """The coefficients of one step.

    Coordinates that share their weights have one row for all.

    Attributes
    ----------
    loss : Tensor, ``(K + 1,)``
        The share ``1 − e^{−γ h}`` that the memory loses.
    gain : Tensor, ``(K + 1,)``
        What the memory gains from a control of 1.
    factor : Tensor, ``(K + 1, rank)``
        Root of the covariance of the memory's noise.
    recall : Tensor, ``(d or 1, K + 1)``
        What the loss of the memory takes from the noise of the state.
    push : Tensor, ``(d or 1,)``
        What a control of 1 adds to the noise of the state.
    kick : Tensor, ``(d or 1, rank)``
        What standard normals add to it.
    """

    loss: Tensor
    gain: Tensor
    factor: Tensor
    recall: Tensor
    push: Tensor
    kick: Tensor


class _Transition(NamedTuple):
    """How the memory moves in steps of several lengths."""

    loss: Tensor  # (length, K + 1)
    gain: Tensor  # (length, K + 1)
    factor: Tensor  # (length, K + 1, rank)

    def at(self, lengths: list[int]) -> _Transition:
        """One row per step, of the length that it has."""
        return _Transition(
            loss=self.loss[lengths],
            gain=self.gain[lengths],
            factor=self.factor[lengths],
        )


class _Weights(NamedTuple):
    """What turns increments of the memory into those of the noise."""

    weights: Tensor  # (step or 1, d or 1, K + 1)
    turn: Tensor | None  # how the weights of a moving average change over every step


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
        transition = _transition(process.nodes, h, memory)
        if process.multifractional:
            # The weights change with time, so every step has a row of its own.
            transition = transition.at(self.row)
            n_steps = len(self.lengths)
            self.row = list(range(n_steps))
        self.rank = transition.factor.shape[-1]
        exact_lengths = torch.tensor(self.lengths, dtype=torch.float64)
        n_features = x.shape[1]
        weights, turn = _weights(process, n_features, starts, exact_lengths)
        self.table = _table(transition, weights, like=x)
        self.turn = None
        if turn is not None:
            self.turn = turn.to(x).unbind()

    def step(
        self,
        k: int,
        x: Tensor,
        y: Tensor,
        origin: Tensor,
        z: Tensor,
        u: Tensor | None = None,
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
        row = self.row[k]
        c = self.table[row]
        kick = _dot(z, c.kick)
        recall = _dot(y, c.recall)
        change = kick - recall  # ΔB̂
        if self.turn is not None:
            past = y - origin
            turned = _dot(past, self.turn[k])
            change = change + turned
        noise = z @ c.factor.T
        lost = y * c.loss
        y = y - lost + noise
        if u is not None:
            change = change + u * c.push
            gained = u.unsqueeze(-1) * c.gain
            y = y + gained
        return self._move(k, x, change), y

    def _move(self, k: int, x: Tensor, change: Tensor) -> Tensor:
        """State after the step in which the noise changes by ``ΔB̂``."""
        process = self.process
        t = self.times[k]
        h = self.lengths[k]
        rate = process.drift(t, x)
        moved = x + rate * h
        s = process.diffusion(t, x)
        if not process.additive and process.calculus == "stratonovich":
            # Heun's rule: the mean of the amplitude here and where it leads to.
            predicted = moved + s * change
            next_s = process.diffusion(t + h, predicted)
            s = 0.5 * (s + next_s)
        return moved + s * change


class StepNoise:
    """Standard normals ``(n, d, rank)`` of numbered steps and paths, drawn a segment at a time."""

    def __init__(self, seed: int, n_steps: int, rank: int, x: Tensor):
        n_features = x.shape[1]
        self.shape = n_features, rank
        width = n_features * rank
        states = x.detach()
        self.normals = PathNoise(seed, n_steps, width, like=states)
        # No segment yet.
        self.current = -1
        self.segment: Tensor

    def at(self, k: int, rows: range) -> Tensor:
        """Normals of step ``k``; ``rows`` must be the same in every call."""
        segment, offset = divmod(k, self.normals.segment_length)
        if segment != self.current:
            self.segment = self.normals.segment(rows, segment)
            self.current = segment
        normals = self.segment[offset]
        return normals.view(len(rows), *self.shape)


def noise_factors(nodes: Tensor, lengths: Tensor) -> Tensor:
    """Square roots ``L_h`` of the covariance of ``ξ`` over each step ``h``, ``(step, K, rank)``.

    They are float64. Rounding makes the covariance singular, so its root is that of
    :func:`~dyninfer.fractional.gaussian.matrices.covariance_root`.
    """
    sums = pair_sums(nodes)
    spans = lengths[:, None, None]
    covariance = integrated_decay(sums, spans)
    root = covariance_root(covariance)
    variance = root.square().sum(-2)
    is_used = (variance > 0).any(0)
    # Eigenvalues ascend, so the columns that are 0 come first.
    n_used = int(is_used.sum())
    n_unused = len(is_used) - n_used
    return root[..., n_unused:]


def check_explicit(fastest: float, step: float, rule: str) -> None:
    """Refuse explicit steps of the memory at which its fastest node oscillates; warn if coarse."""
    safe = torch.inf
    if fastest > 0:
        safe = 0.5 / fastest
    if fastest * step > 1:
        raise ValueError(
            f"{rule} oscillates: the fastest node {fastest:g} times the step {step:g} exceeds 1; "
            f"use dt={safe:.3g} or less, or FractionalEuler(memory='exact'), which has no bound"
        )
    if step > safe:
        warn(
            f"{rule} is coarse for the fastest node {fastest:g}; use dt={safe:.3g} or "
            "FractionalEuler(memory='exact')",
            RuntimeWarning,
            # The line of the user that called simulate.
        )


def _transition(nodes: Tensor, h: Tensor, memory: Memory) -> _Transition:
    """How the memory moves in steps of lengths ``h`` ``(length,)``."""
    length = h[:, None]
    decay = length * nodes
    if memory == "euler":
        gain = length.expand_as(decay)
        # One increment ΔW of variance h moves all of the memory.
        deviation = gain.sqrt()
        return _Transition(decay, gain, deviation.unsqueeze(-1))
    return _Transition(
        loss=-torch.expm1(-decay),
        gain=integrated_decay(nodes, length),
        factor=noise_factors(nodes, h),
    )


def _table(transition: _Transition, weights: Tensor, like: Tensor) -> list[Coefficients]:
    """Coefficients of every row, in the dtype and on the device of ``like``."""
    loss, gain, factor = transition
    push = weights * gain[:, None]
    # Weighted in float64: large weights of both signs would cancel in float32.
    stacked = Coefficients(
        loss=loss,
        gain=gain,
        factor=factor,
        recall=weights * loss[:, None],
        push=push.sum(-1),
        kick=weights @ factor,
    )
    columns = [values.to(like).unbind() for values in stacked]
    rows = zip(*columns, strict=True)
    return [Coefficients(*row) for row in rows]


def _weights(
    process: FractionalDiffusion,
    n_features: int,
    starts: Tensor,
    lengths: Tensor,
) -> _Weights:
    """Weights of the increments: of every step where the index is a function of time."""
    if not process.multifractional:
        constant = process.weights(n_features)
        return _Weights(_shared_row(constant), None)
    if process.definition == "integral":
        middle = starts + 0.5 * lengths
        at_middle = process.weights(n_features, middle)
        return _Weights(_shared_row(at_middle), None)
    last_start = starts[-1:]
    end = last_start + lengths[-1:]
    points = torch.cat([starts, end])
    every_weight = process.weights(n_features, points)
    at_points = _shared_row(every_weight)
    return _Weights(
        weights=at_points[1:],
        turn=at_points.diff(dim=0),
    )


def _shared_row(weights: Tensor) -> Tensor:
    """One row where all coordinates share their weights, else all rows."""
    # ``expand`` repeats a row by a stride of 0.
    is_shared = weights.stride(-2) == 0
    if is_shared:
        return weights[..., :1, :]
    return weights


def _dot(values: Tensor, weights: Tensor) -> Tensor:
    """``Σ_k weights_k values_k`` of ``(n, d, K)``; shared weights ``(1, K)`` are one product."""
    if len(weights) == 1:
        return values @ weights[0]
    products = values * weights
    return products.sum(-1)
