"""Hidden chains in torch by blocks of √L times that run side by side.

A recursion over L times is L small steps, one after the other. Matrices of all blocks are
multiplied at once, √L of them in a row; then √L steps lead from block to block; and within the
blocks all goes side by side again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from dyninfer.jumps.likelihood.hidden import HiddenPaths

# Fewer times are as soon done one by one.
FEWEST_TIMES = 64
# Numbers of a step up to which a CPU spends its time on the step itself: products of matrices do
# S times the work of those with a vector.
_SMALL_STEP = 50_000


def are_worth_it(e: Tensor) -> bool:
    """Whether blocks are faster for emissions ``(B, n, L, S)``."""
    n_models, n_paths, n_times, n_states = e.shape
    if n_times < FEWEST_TIMES:
        return False
    return e.is_cuda or n_models * n_paths * n_states**3 < _SMALL_STEP


class Blocks(NamedTuple):
    """A chain in K blocks of m times; behind the end of the data nothing happens."""

    p: Tensor  # (B, G + 1, S, S): transitions, and last the unit matrix
    number: Tensor  # (m, K, n): which of them leads to each time
    e: Tensor  # (m, B, K, n, S): emissions
    n_times: int

    @classmethod
    def of(
        cls, p: Tensor, e: Tensor, data: HiddenPaths, length: int | None = None, empty: float = 1.0
    ) -> Blocks:
        """Divide transitions ``(B, G, S, S)`` and emissions ``(B, n, L, S)``.

        ``length`` is that of a block, by default about √L; ``empty`` is the emission behind the end
        of the data.
        """
        n_models, n_paths, n_times, n_states = e.shape
        if length is None:
            length = math.isqrt(n_times - 1) + 1
        n_blocks = -(-n_times // length)
        n_added = n_blocks * length - n_times
        eye = torch.eye(n_states, dtype=p.dtype, device=p.device)
        unit = eye.expand(n_models, 1, -1, -1)
        # No transition leads to the first time.
        n_matrices = p.shape[1]
        padding = (0, 0, 1, n_added)
        number = torch.nn.functional.pad(data.gap_number, padding, value=n_matrices)
        by_block = number.unflatten(0, (n_blocks, length))
        padded = torch.nn.functional.pad(e, (0, 0, 0, n_added), value=empty)
        emissions = padded.unflatten(2, (n_blocks, length))
        return cls(
            p=torch.cat([p, unit], dim=1),
            number=by_block.transpose(0, 1),
            e=emissions.permute(3, 0, 2, 1, 4),
            n_times=n_times,
        )

    def transitions(self, step: int) -> Tensor:
        """Matrices ``(B, K, n, S, S)`` that lead to one time of every block."""
        return self.p[:, self.number[step]]

    def whole(self, by_step: list[Tensor]) -> Tensor:
        """Numbers ``(B, K, n, S)`` of every step as those of all times ``(B, n, L, S)``."""
        stacked = torch.stack(by_step, dim=3)
        # (B, K, n, m, S), a block behind the other.
        in_order = stacked.permute(0, 2, 1, 3, 4).flatten(2, 3)
        return in_order[:, :, : self.n_times]


class Products(NamedTuple):
    """Product of the matrices of every block, each row divided by its largest number."""

    matrix: Tensor  # (B, K, n, S, S)
    log_size: Tensor  # (B, K, n, S): logarithm of what rows were divided by

    @classmethod
    def of(cls, blocks: Blocks) -> Products:
        """Multiply the matrices of all blocks side by side."""
        matrix = blocks.transitions(0) * blocks.e[0].unsqueeze(-2)
        log_size = torch.zeros_like(blocks.e[0])
        for step in range(1, len(blocks.e)):
            one = blocks.transitions(step) * blocks.e[step].unsqueeze(-2)
            matrix = matrix @ one
            # Row by row: a start that explains a block badly may be the only one that is possible.
            size = _positive(matrix.amax(-1, keepdim=True))
            matrix = matrix / size
            log_size = log_size + size.squeeze(-1).log()
        return cls(matrix, log_size)

    def starts(self, initial: Tensor) -> tuple[Tensor, Tensor]:
        """Distributions before every block ``(B, K, n, S)``, and log-likelihoods ``(B, n)``.

        ``initial`` is ``(B, S)``.
        """
        n_paths = self.matrix.shape[2]
        state = initial.unsqueeze(1).expand(-1, n_paths, -1)
        log_likelihood = state.new_zeros(state.shape[:2])
        starts = []
        parts = zip(self.matrix.unbind(1), self.log_size.unbind(1), strict=True)
        for matrix, log_size in parts:
            starts.append(state)
            weights, log_weight = _weights(state.log() + log_size)
            joint = (weights.unsqueeze(-2) @ matrix).squeeze(-2)
            total = joint.sum(-1, keepdim=True)
            state = joint / _positive(total)
            log_likelihood = log_likelihood + (log_weight + total.log()).squeeze(-1)
        return torch.stack(starts, dim=1), log_likelihood

    def ends(self) -> Tensor:
        """How likely what follows on every block is ``(B, K, n, S)``, up to a factor."""
        future = torch.ones_like(self.log_size[:, 0])
        ends = []
        parts = zip(self.matrix.unbind(1), self.log_size.unbind(1), strict=True)
        for matrix, log_size in reversed(list(parts)):
            ends.append(future)
            of_row = (matrix @ future.unsqueeze(-1)).squeeze(-1)
            future, _ = _weights(of_row.log() + log_size)
        ends.reverse()
        return torch.stack(ends, dim=1)


class Smoothed(NamedTuple):
    """What the whole data say of the states, and slopes of ``Σ weight log L``."""

    gamma: Tensor  # (B, n, L, S): distribution of the state given all
    slope_p: Tensor  # of the shape of p
    slope_initial: Tensor  # (B, S)


def smooth_blocks(blocks: Blocks, starts: Tensor, ends: Tensor, weight: Tensor) -> Smoothed:
    """Smooth all blocks side by side, from what lies before and behind each of them.

    Parameters
    ----------
    blocks : Blocks
    starts, ends : Tensor, ``(B, K, n, S)``
        As :class:`Products` gives them.
    weight : Tensor, ``(B, n)``
        Of every path in the slopes.
    """
    before = _filtered(blocks, starts)
    slope_p = torch.zeros_like(blocks.p)
    weight = weight[:, None, :, None]
    future = ends
    gamma = []
    for step in reversed(range(len(blocks.e))):
        past = before[step]
        state = before[step + 1]
        joint = state * future
        gamma.append(joint / _positive(joint.sum(-1, keepdim=True)))
        arriving = blocks.e[step] * future
        of_row = (blocks.transitions(step) @ arriving.unsqueeze(-1)).squeeze(-1)
        total = _positive((past * of_row).sum(-1, keepdim=True))
        share = weight * past / total
        outer = share.unsqueeze(-1) * arriving.unsqueeze(-2)
        slope_p.index_add_(1, blocks.number[step].flatten(), outer.flatten(1, 2))
        largest = _positive(of_row.amax(-1, keepdim=True))
        future = of_row / largest
        if step == 0:
            # The first time of all is that of the first block.
            slope_initial = (weight * arriving / total)[:, 0].sum(1)
    gamma.reverse()
    return Smoothed(blocks.whole(gamma), slope_p[:, :-1], slope_initial)


def _filtered(blocks: Blocks, starts: Tensor) -> list[Tensor]:
    """Distributions ``(B, K, n, S)`` before the first step and after each."""
    state = starts
    states = [state]
    for step in range(len(blocks.e)):
        moved = (state.unsqueeze(-2) @ blocks.transitions(step)).squeeze(-2)
        joint = moved * blocks.e[step]
        state = joint / _positive(joint.sum(-1, keepdim=True))
        states.append(state)
    return states


def _weights(log_values: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers of which the largest is one, and the logarithm ``(..., 1)`` of their unit."""
    largest = log_values.amax(-1, keepdim=True)
    # Of what is impossible nothing is left, and no NaN.
    unit = torch.where(largest > -torch.inf, largest, 0.0)
    return (log_values - unit).exp(), unit


def _positive(size: Tensor) -> Tensor:
    """Divisors: the numbers themselves, and 1 for those that are 0."""
    return torch.where(size > 0, size, 1.0)
