r"""How long a dwell time goes on where short interruptions are missed.

The states of one class are A, all others F, and τ is the dead time. :math:`R_{ij}(u)` is the
probability to be in state j of A after a time u, without a visit of F longer than τ before, from
state i of A (Hawkes, Jalali and Colquhoun, 1990).
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.jumps.process.chain import identity

# Chebyshev nodes of a piece: they hold exponentials to 1e-13 up to 10 jumps per dead time.
_N_NODES = 32
# R is computed exactly up to so many dead times, and continued by its slowest roots beyond. The
# other roots have died out by then, to ten digits, where no state is left more often per dead time.
_PIECES = ((2.0, 5), (10.0, 9))
MOST_JUMPS = 10.0  # per dead time, of one state
# Part of R at the end of the last piece below which a root has died out, and is rounding.
_DEAD = 1e-10
_ANGLE = np.linspace(0, np.pi, _N_NODES)
_NODES = (1 - np.cos(_ANGLE)) / 2  # from 0 to 1, both ends included


class Ages(NamedTuple):
    """Ages u ``(n,)`` of dwell times, made ready for any generator."""

    piece: Tensor  # (n,) int64, whole dead times that have passed, but not beyond the last piece
    weights: Tensor  # (n, node), of the values at the nodes of that piece
    late: Tensor  # (n,) int64, whole dead times beyond the last piece
    times: Tensor  # (n,), the ages themselves

    @classmethod
    def of(cls, ages: ndarray, dead_time: float, n_pieces: int) -> Ages:
        """Weights of interpolation, which do not depend on the generator."""
        passed = np.zeros_like(ages)
        if dead_time > 0:
            passed = ages / dead_time
        whole = np.floor(passed)
        piece = np.minimum(whole, n_pieces - 1)
        weights = _interpolation(passed - whole)
        return cls(
            piece=torch.from_numpy(piece).long(),
            weights=torch.from_numpy(weights),
            late=torch.from_numpy(whole - piece).long(),
            times=torch.from_numpy(ages),
        )


class Survivor:
    """The matrices R of one class of states.

    Parameters
    ----------
    generator : Tensor, ``(S, S)``
        May carry a slope.
    own : Tensor, ``(S,)`` bool
        The states of the class.
    dead_time : float
        In the unit of the generator.
    """

    def __init__(self, generator: Tensor, own: Tensor, dead_time: float):
        self.generator = generator
        self.dead_time = dead_time
        self.own = own
        self.within = generator[own][:, own]
        self.leave = generator[own][:, ~own]
        self.enter = generator[~own][:, own]
        self.outside = generator[~own][:, ~own]

    @property
    def jumps(self) -> float:
        """Exits from the fastest state per dead time."""
        fastest = -self.generator.detach().diagonal().min()
        return float(fastest) * self.dead_time

    @property
    def n_pieces(self) -> int:
        """Dead times after which only the slowest roots are left; 0 for rates too fast for any."""
        for limit, n_pieces in _PIECES:
            if self.jumps <= limit:
                return n_pieces
        return 0

    @cached_property
    def stay_outside(self) -> Tensor:
        """Probability to stay outside for the whole dead time ``(f, f)``."""
        return torch.matrix_exp(self.outside * self.dead_time)

    @cached_property
    def exit(self) -> Tensor:
        """Rates ``(a, f)`` at which a dwell time ends: what is left is outside for a dead time."""
        return self.leave @ self.stay_outside

    @cached_property
    def passage(self) -> Tensor:
        """Probabilities ``(a, f)`` of the state in which the next class is resolved."""
        return torch.linalg.solve(self._loss, self.exit)

    @cached_property
    def mean(self) -> Tensor:
        """Mean dwell time ``(a,)`` by the state in which it was resolved."""
        _, moment = self._integrals
        # Slope of s − H(s) at 0: what interruptions that were missed add to a dwell time.
        slope = identity(self.within) + self.leave @ moment @ self.enter
        total = slope.sum(-1)
        return self.dead_time + torch.linalg.solve(self._loss, total)

    @cached_property
    def _loss(self) -> Tensor:
        """−H(0) ``(a, a)``: rates out of the states, but for interruptions that are missed."""
        integral, _ = self._integrals
        return -self.within - self.leave @ integral @ self.enter

    @cached_property
    def _integrals(self) -> tuple[Tensor, Tensor]:
        """``∫ exp(F v) dv`` and ``∫ v exp(F v) dv`` ``(f, f)`` over the dead time."""
        size = len(self.outside)
        zeros = torch.zeros_like(self.outside)
        eye = identity(self.outside)
        # Both are blocks of one exponential (Van Loan, 1978), the second by parts.
        first = [self.outside, eye, zeros]
        second = [zeros, zeros, eye]
        third = [zeros, zeros, zeros]
        blocks = _blocks([first, second, third])
        exponential = torch.matrix_exp(self.dead_time * blocks)
        above = exponential[:size, size:]
        once, twice = above.split(size, dim=1)
        return once, self.dead_time * once - twice

    def at(self, ages: Ages) -> Tensor:
        """R ``(n, a, a)`` at ages."""
        if self.dead_time == 0:
            return torch.matrix_exp(self.within * ages.times.reshape(-1, 1, 1))
        size = len(self.within)
        values = ages.weights.new_zeros(len(ages.piece), size * size)
        for number, piece in enumerate(self._pieces):
            (rows,) = (ages.piece == number).nonzero(as_tuple=True)
            here = ages.weights[rows] @ piece.flatten(1)
            values = values.index_copy(0, rows, here)
        matrices = values.unflatten(-1, (size, size))
        return _times_powers(matrices, self.decay, ages.late)

    @cached_property
    def decay(self) -> Tensor:
        r"""Factor ``(a, a)`` of R for every further dead time, once faster parts have died out.

        Its eigenvalues are :math:`e^{s \tau}` of the slowest roots s (Jalali and Hawkes, 1992).
        """
        last = self._pieces[-1]
        begin = last[0]
        end = last[-1]
        left, sizes, right = torch.linalg.svd(begin.detach())
        least = _DEAD * sizes.max()
        is_alive = sizes > least
        # Between fixed directions, whichever hold the roots that are left: so it is as smooth in
        # the generator as R.
        rows = left[:, is_alive].T
        columns = right[is_alive].T
        inner = rows @ begin @ columns
        return columns @ torch.linalg.solve(inner, rows @ end)

    @cached_property
    def _pieces(self) -> list[Tensor]:
        """R at the nodes ``(node, a, a)`` of every piece, from ``m τ`` to ``(m + 1) τ``.

        ``R(u) = Σ_m (−1)^m E_m(u − m τ)`` with the blocks ``E_m`` in the first row of ``exp(s T)``:
        T has the generator on its diagonal, and above it the interruptions that are resolved.
        """
        n_states = len(self.generator)
        blocks = self._block_matrix() * self.dead_time
        nodes = torch.from_numpy(_NODES).to(blocks)
        within_piece = torch.matrix_exp(blocks * nodes.reshape(-1, 1, 1))
        one_piece = torch.matrix_exp(blocks)
        first_row = identity(blocks)[:n_states]
        rows = []
        pieces = []
        for number in range(self.n_pieces):
            row = first_row @ within_piece
            rows.append(row.unflatten(-1, (self.n_pieces, n_states)))
            first_row = first_row @ one_piece
            terms = []
            for m in range(number + 1):
                block = rows[number - m][..., m, :]
                terms.append((-1) ** m * block)
            total = torch.stack(terms).sum(0)
            of_class = total[:, self.own][..., self.own]
            pieces.append(of_class)
        return pieces

    def _block_matrix(self) -> Tensor:
        resolved = embedded(self.exit, self.own, ~self.own)
        ones = resolved.new_ones(self.n_pieces)
        diagonal = torch.diag(ones)
        above = torch.diag(ones[1:], 1)
        return torch.kron(diagonal, self.generator) + torch.kron(above, resolved)


def _times_powers(matrices: Tensor, base: Tensor, powers: Tensor) -> Tensor:
    """Products ``(n, a, a)`` of matrices and powers of one other matrix, by repeated squaring."""
    remaining = powers
    while bool((remaining > 0).any()):
        is_odd = (remaining % 2 == 1)[:, None, None]
        matrices = torch.where(is_odd, matrices @ base, matrices)
        base = base @ base
        remaining = remaining // 2
    return matrices


def embedded(block: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Matrices ``(..., S, S)`` with a block at the rows and columns of two masks, elsewhere 0."""
    eye = torch.eye(len(rows), dtype=block.dtype)
    left = eye[rows].T
    right = eye[columns]
    return left @ block @ right


def _blocks(rows: list[list[Tensor]]) -> Tensor:
    """One matrix of blocks."""
    wide = [torch.cat(row, dim=1) for row in rows]
    return torch.cat(wide)


def _interpolation(x: ndarray) -> ndarray:
    """Weights ``(len(x), node)`` of the values at the nodes (Berrut and Trefethen, eq. 4.2)."""
    alternating = (-1.0) ** np.arange(_N_NODES)
    alternating[[0, -1]] /= 2
    distance = x[:, None] - _NODES
    is_node = distance == 0
    safe_distance = np.where(is_node, 1.0, distance)
    weights = alternating / safe_distance
    weights = weights / weights.sum(1, keepdims=True)
    at_node = is_node.any(1, keepdims=True)
    return np.where(at_node, is_node, weights)
