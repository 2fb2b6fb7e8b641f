"""Panel data: states observed without error at some times, and nothing in between."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dyninfer.jumps.likelihood.flat import FlatLabels
from dyninfer.jumps.likelihood.gaps import ALIKE, group_gaps
from dyninfer.jumps.process.chain import diagonal, off_diagonal, transition_matrix, with_diagonal

if TYPE_CHECKING:
    from dyninfer.data.paths import Paths

Exponential = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False, kw_only=True)
class PanelCounts:
    """How often each pair of states was observed at each waiting time.

    This is all that a panel says about the generator.

    Attributes
    ----------
    gaps : Tensor, ``(..., G)`` float64
        Distinct waiting times.
    pairs : Tensor, ``(..., G, S, S)`` float64
        Observations of state ``j`` one gap after state ``i``.
    exact : Tensor, ``(..., G, S, S)``, optional
        Entries into ``j`` at a time known exactly, one gap after ``i`` was observed (msm's
        ``deathexact``).
    censored : Tensor, ``(..., G, S, C)``, optional
        Last observations that name one of several states, by code ``c``.
    sets : Tensor, ``(C, S)`` float64, optional
        Which states each code may stand for.
    starts : Tensor, ``(..., S)`` float64
        First observed states.
    """

    gaps: Tensor
    pairs: Tensor
    starts: Tensor
    exact: Tensor | None = None
    censored: Tensor | None = None
    sets: Tensor | None = None

    @property
    def n_states(self) -> int:
        """Number of states S."""
        return self.pairs.shape[-1]

    @property
    def n_observed(self) -> Tensor:
        """Number of pairs of neighbouring observations ``(...)``."""
        total = _total(self.pairs)
        if self.exact is not None:
            total = total + _total(self.exact)
        if self.censored is not None:
            total = total + _total(self.censored)
        return total

    @property
    def n_stays(self) -> Tensor:
        """Number of pairs of one state, those with exact times left out, of one panel."""
        return diagonal(self.pairs).sum()

    @property
    def total_time(self) -> Tensor:
        """Sum of the waiting times of the pairs, of one panel."""
        intervals = self.pairs.sum((-1, -2))
        return (intervals * self.gaps).sum()

    def to(self, device: torch.device | str) -> PanelCounts:
        """Move to a device."""
        parts = {}
        for name, part in vars(self).items():
            if part is not None:
                parts[name] = part.to(device)
        return PanelCounts(**parts)

    def log_likelihood(
        self,
        generator: Tensor,
        initial: Tensor | None = None,
        exponential: Exponential = transition_matrix,
    ) -> Tensor:
        """Log-likelihood ``(...)`` of generators ``(..., S, S)``, batched and differentiable.

        ``Σ C_ij(t) log P_ij(t)``, for exact entries ``log Σ_{k≠j} P_ik(t) Q_kj``, for censored ends
        ``log Σ_{j∈set} P_ij(t)`` (Jackson 2011, J. Stat. Softw. 38(8), section 1.4). Conditional on
        the first state of each path, unless ``initial`` ``(..., S)`` gives its distribution. −inf
        where the data are impossible.
        """
        p = exponential(generator.unsqueeze(-3), self.gaps)
        total = _sum_of_logs(self.pairs, p)
        if self.exact is not None:
            jumps = off_diagonal(generator).unsqueeze(-3)
            density = p @ jumps
            total = total + _sum_of_logs(self.exact, density)
        if self.censored is not None and self.sets is not None:
            of_set = p @ self.sets.T
            total = total + _sum_of_logs(self.censored, of_set)
        if initial is not None:
            of_starts = self.starts * _safe_log(self.starts, initial)
            total = total + of_starts.sum(-1)
        return total

    def crude_generator(self, jumps: Tensor | None = None, least: float = 0.0) -> Tensor:
        """Generator ``(..., S, S)`` as if states changed only when observed: a rough start.

        It is transitions over time.

        Parameters
        ----------
        jumps : Tensor, ``(S, S)`` bool, optional
            Jumps that may happen; by default all.
        least : float
            Transitions a jump counts at least, so that no rate starts at zero.
        """
        transitions = self.pairs
        if self.exact is not None:
            transitions = transitions + self.exact
        intervals = transitions.sum(-1)
        if self.censored is not None:
            intervals = intervals + self.censored.sum(-1)
        gaps = self.gaps.unsqueeze(-1)
        dwell_time = (intervals * gaps).sum(-2)
        longest_gap = gaps.amax(-2)
        return crude_rates(transitions.sum(-3), dwell_time, longest_gap, jumps, least)


def crude_rates(
    transitions: Tensor,
    dwell_time: Tensor,
    longest_gap: Tensor,
    jumps: Tensor | None,
    least: float,
) -> Tensor:
    """Generators ``(..., S, S)`` of transitions ``(..., S, S)`` over dwell times ``(..., S)``.

    See :meth:`PanelCounts.crude_generator`.
    """
    # A state that was never observed is given the longest gap, so that its rates are finite.
    dwell_time = torch.where(dwell_time > 0, dwell_time, longest_gap)
    n_jumps = off_diagonal(transitions)
    n_jumps = n_jumps.clamp(min=least)
    rates = n_jumps / dwell_time.unsqueeze(-1)
    if jumps is not None:
        rates = rates * jumps
    return with_diagonal(rates)


def _sum_of_logs(counts: Tensor, p: Tensor) -> Tensor:
    """``Σ counts log p`` over the last three dimensions; 0 log 0 is 0, also in the gradient."""
    return _total(counts * _safe_log(counts, p))


def _safe_log(counts: Tensor, p: Tensor) -> Tensor:
    """Logarithms of probabilities, and 0 where nothing was counted."""
    is_observed = counts > 0
    return torch.where(is_observed, p, 1.0).clamp(min=0).log()


def _total(of_pairs: Tensor) -> Tensor:
    return of_pairs.sum((-1, -2, -3))


def panel_counts(
    paths: Paths,
    n_states: int | None = None,
    exact: Sequence[int] = (),
    censored: Mapping[int, Sequence[int]] | None = None,
    tolerance: float = ALIKE,
) -> PanelCounts:
    """Count the pairs of neighbouring observations of discrete paths.

    Missing states are passed over.

    Parameters
    ----------
    paths : Paths
        Integer states.
    n_states : int, optional
        Number of states; by default that of ``paths``, or one more than the largest beside codes.
    exact : sequence of int
        States whose entry is observed at its exact time, such as death.
    censored : mapping of int to states, optional
        Codes of observations that may stand for several states; only the last of a path may be one.
    tolerance : float
        Gaps count as equal where they differ by at most this share of the shorter.

    Raises
    ------
    TypeError, ValueError
        If the paths are continuous, a state is out of range, or a code is not at the end of its
        path.
    """
    if not paths.discrete:
        raise TypeError(
            "panel_counts needs paths of integer states; these are continuous: use a hidden model"
        )
    codes = dict(censored or {})
    flat = FlatLabels.of(paths)
    is_code = np.isin(flat.labels, list(codes))
    states = flat.labels
    if codes:
        states = states[~is_code]
    if n_states is None and not codes:
        n_states = paths.n_states
    if n_states is None:
        n_states = int(states.max()) + 1
    _check_states(states, n_states)
    _check_named_states(n_states, exact, codes)
    _check_codes_are_last(flat, is_code)

    source, target, waits, is_end = neighbours(flat, is_code)
    gaps, group = group_gaps(torch.from_numpy(waits), tolerance)
    row = group.numpy() * n_states + source

    def count(selection: np.ndarray, column: np.ndarray, width: int) -> Tensor:
        """Intervals ``(G, S, width)`` by gap, source and column."""
        shape = (len(gaps), n_states, width)
        # Each cell of the table as one number.
        place = row * width + column
        if not selection.all():
            place = place[selection]
        n_cells = math.prod(shape)
        total = np.bincount(place, minlength=n_cells)
        return _double(total).reshape(shape)

    # Who was there already has not entered: one who stays dead dies once.
    is_exact = np.isin(target, list(exact))
    is_entry = is_exact & (source != target)
    counts = PanelCounts(
        gaps=gaps,
        pairs=count(~is_entry & ~is_end, target, n_states),
        starts=_double(flat.count_first(n_states)),
    )
    if is_entry.any():
        counts = replace(counts, exact=count(is_entry, target, n_states))
    if not codes:
        return counts
    sets = torch.zeros(len(codes), n_states, dtype=torch.float64)
    code_number = np.zeros(len(target), dtype=np.int64)
    for number, (code, members) in enumerate(codes.items()):
        sets[number, list(members)] = 1.0
        code_number[target == code] = number
    last_codes = count(is_end, code_number, len(codes))
    return replace(counts, censored=last_codes, sets=sets)


def neighbours(flat: FlatLabels, is_code: np.ndarray) -> tuple[np.ndarray, ...]:
    """Labels ``(m,)`` and the next of their path, the waits, and whether the next is a code."""
    has_next = flat.has_next
    if not has_next.any():
        raise ValueError(
            "paths has no path with two observed states, which a panel likelihood needs"
        )
    source = flat.labels[:-1]
    target = flat.labels[1:]
    waits = np.diff(flat.times)
    is_end = is_code[1:]
    if has_next.all():
        # One path: a choice of all would copy millions of frames four times.
        return source, target, waits, is_end
    return source[has_next], target[has_next], waits[has_next], is_end[has_next]


def stack_counts(several: Sequence[PanelCounts]) -> PanelCounts:
    """One batch of several panels of the same states, for fits side by side.

    Raises
    ------
    ValueError
        If they differ in their number of states, or have exact or censored observations.
    """
    sizes = [one.n_states for one in several]
    if len(set(sizes)) != 1:
        raise ValueError(f"several must share their states, found {sizes}")
    for one in several:
        if one.exact is not None or one.censored is not None:
            raise ValueError(
                "several holds exact or censored observations; fit those panels one by one"
            )
    # Shorter lists of gaps are filled with gaps of length 0 that were never observed.
    pad_sequence = torch.nn.utils.rnn.pad_sequence
    return PanelCounts(
        gaps=pad_sequence([one.gaps for one in several], batch_first=True),
        pairs=pad_sequence([one.pairs for one in several], batch_first=True),
        starts=torch.stack([one.starts for one in several]),
    )


def _double(counts: np.ndarray) -> Tensor:
    return torch.from_numpy(counts).double()


def _check_states(states: np.ndarray, n_states: int) -> None:
    if states.max() >= n_states:
        raise ValueError(
            f"paths has the state {states.max()}, but there are n_states = {n_states}, from 0"
        )


def _check_named_states(
    n_states: int, exact: Sequence[int], codes: Mapping[int, Sequence[int]]
) -> None:
    members = [state for states in codes.values() for state in states]
    for name, numbers in (("exact", exact), ("censored", members)):
        for number in numbers:
            if not 0 <= number < n_states:
                raise ValueError(f"{name} names the state {number}; there are 0 to {n_states - 1}")
    for code in codes:
        if 0 <= code < n_states:
            raise ValueError(
                f"censored uses the code {code}, which is a state; choose {n_states} or more"
            )


def _check_codes_are_last(flat: FlatLabels, is_code: np.ndarray) -> None:
    is_early = is_code[:-1] & flat.has_next
    is_alone = is_code & flat.is_first
    if is_early.any() or is_alone.any():
        raise ValueError(
            "censored codes must be the last of at least two observations; "
            "use a hidden model instead"
        )
