"""Panel data: states seen without error at some times, and nothing in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dyninfer.jumps.likelihood.gaps import group_gaps
from dyninfer.jumps.process.chain import off_diagonal, transition_matrix

if TYPE_CHECKING:
    from dyninfer.data.paths import Paths

Exponential = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False, kw_only=True)
class PanelCounts:
    """How often each pair of states was seen at each waiting time: all that a panel tells about the generator.

    Attributes
    ----------
    gaps : Tensor, ``(..., G)`` float64
        Distinct waiting times.
    pairs : Tensor, ``(..., G, S, S)`` float64
        Observations of state ``j`` one gap after state ``i``.
    exact : Tensor, ``(..., G, S, S)``, optional
        Entries into ``j`` at a time known exactly, one gap after ``i`` was seen (msm's ``deathexact``).
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
        total = self.pairs.sum((-1, -2, -3))
        for part in (self.exact, self.censored):
            total = total if part is None else total + part.sum((-1, -2, -3))
        return total

    def to(self, device: torch.device | str) -> PanelCounts:
        """Move to a device."""
        moved: dict[str, Any] = {
            k: None if v is None else v.to(device) for k, v in vars(self).items()
        }
        return PanelCounts(**moved)

    def log_likelihood(
        self,
        generator: Tensor,
        initial: Tensor | None = None,
        exponential: Exponential = transition_matrix,
    ) -> Tensor:
        """Log-likelihood ``(...)`` of generators ``(..., S, S)``, batched and differentiable.

        ``Σ C_ij(t) log P_ij(t)``, for exact entries ``log Σ_{k≠j} P_ik(t) Q_kj``, for censored ends
        ``log Σ_{j∈set} P_ij(t)`` (Jackson 2011, J. Stat. Softw. 38(8), section 1.4). Conditional on the first
        state of each path, unless ``initial`` ``(..., S)`` gives its law. −inf where the data are impossible.
        """
        p = exponential(generator[..., None, :, :], self.gaps)
        total = _log_sum(self.pairs, p)
        if self.exact is not None:
            total = total + _log_sum(self.exact, p @ off_diagonal(generator)[..., None, :, :])
        if self.censored is not None and self.sets is not None:
            total = total + _log_sum(self.censored, p @ self.sets.T)
        if initial is not None:
            total = total + _log_sum(self.starts[..., None, None, :], initial[..., None, None, :])
        return total

    def crude_generator(self, allowed: Tensor | None = None, least: float = 0.0) -> Tensor:
        """Generator ``(..., S, S)`` as if states changed only when seen: transitions over time, a rough start.

        Parameters
        ----------
        allowed : Tensor, ``(S, S)`` bool, optional
            Jumps that may happen; by default all.
        least : float
            Transitions a jump counts at least, so that no rate starts at zero.
        """
        seen = self.pairs if self.exact is None else self.pairs + self.exact
        left = seen.sum(-1)
        if self.censored is not None:
            left = left + self.censored.sum(-1)
        spent = (left * self.gaps[..., None]).sum(-2)
        longest = self.gaps.amax(-1)[..., None]
        rates = (
            off_diagonal(seen.sum(-3)).clamp(min=least)
            / torch.where(spent > 0, spent, longest)[..., None]
        )
        rates = off_diagonal(rates if allowed is None else rates * allowed)
        return rates - torch.diag_embed(rates.sum(-1))


def _log_sum(counts: Tensor, p: Tensor) -> Tensor:
    """``Σ counts log p`` over the last three dimensions; 0 log 0 is 0, also in the gradient."""
    seen = counts > 0
    log = torch.where(seen, p, torch.ones_like(p)).clamp(min=0).log()
    return (counts * log).sum((-1, -2, -3))


def panel_counts(
    paths: Paths,
    n_states: int | None = None,
    exact: Sequence[int] = (),
    censored: Mapping[int, Sequence[int]] | None = None,
    tolerance: float = 1e-9,
) -> PanelCounts:
    """Count the pairs of neighbouring observations of discrete paths; missing states are passed over.

    Parameters
    ----------
    paths : Paths
        Integer states.
    n_states : int, optional
        Number of states; by default that of ``paths``, or one more than the largest seen beside codes.
    exact : sequence of int
        States whose entry is seen at its exact time, such as death.
    censored : mapping of int to states, optional
        Codes of observations that may stand for several states; only the last of a path may be one.
    tolerance : float
        Gaps count as equal where they differ by at most this share of the longest.

    Raises
    ------
    TypeError, ValueError
        If the paths are continuous, a state is out of range, or a code is not at the end of its path.
    """
    if not paths.discrete:
        raise TypeError(
            "panel_counts needs paths of integer states; these are continuous: use a hidden model"
        )
    codes = dict(censored or {})
    owner = np.repeat(np.arange(len(paths)), paths.lengths)
    times, states = np.concatenate(paths.times), np.concatenate(paths.states)
    seen = states >= 0
    owner, times, states = owner[seen], times[seen], states[seen].astype(np.int64)
    is_code = np.isin(states, list(codes))
    size = n_states or (
        int(states[~is_code].max()) + 1 if codes else int(paths.n_states or states.max() + 1)
    )
    _check_states(states[~is_code], size, exact, codes)
    follows = owner[1:] == owner[:-1]
    if is_code[:-1][follows].any() or is_code[np.r_[True, ~follows]].any():
        raise ValueError(
            "censored codes must be the last of at least two observations; use a hidden model instead"
        )
    at = np.flatnonzero(follows)
    if len(at) == 0:
        raise ValueError(
            "paths has no path with two observed states, which a panel likelihood needs"
        )
    before, after = states[at], states[at + 1]
    gaps, group = group_gaps(torch.from_numpy(times[at + 1] - times[at]), tolerance)
    is_exact = np.isin(after, list(exact)) & (before != after)
    ends = is_code[at + 1]
    position = {code: c for c, code in enumerate(codes)}
    sets = torch.zeros(len(codes), size, dtype=torch.float64)
    for code, members in codes.items():
        sets[position[code], list(members)] = 1.0

    def count(chosen: np.ndarray, column: np.ndarray, width: int) -> Tensor:
        flat = (group.numpy()[chosen] * size + before[chosen]) * width + column
        counted = np.bincount(flat, minlength=len(gaps) * size * width)
        return torch.from_numpy(counted.astype(float)).reshape(len(gaps), size, width)

    plain, column = ~is_exact & ~ends, np.array([position[c] for c in after[ends]], dtype=np.int64)
    return PanelCounts(
        gaps=gaps,
        pairs=count(plain, after[plain], size),
        starts=torch.from_numpy(
            np.bincount(states[np.r_[True, ~follows]], minlength=size).astype(float)
        ),
        exact=count(is_exact, after[is_exact], size) if is_exact.any() else None,
        censored=count(ends, column, len(codes)) if codes else None,
        sets=sets if codes else None,
    )


def stack_counts(several: Sequence[PanelCounts]) -> PanelCounts:
    """One batch of several panels of the same states, for fits side by side.

    Raises
    ------
    ValueError
        If they differ in their number of states, or have exact or censored observations.
    """
    if len({one.n_states for one in several}) != 1:
        raise ValueError(
            f"several must share their states, found {[one.n_states for one in several]}"
        )
    if any(one.exact is not None or one.censored is not None for one in several):
        raise ValueError(
            "several holds exact or censored observations; fit those panels one by one"
        )
    most = max(len(one.gaps) for one in several)
    pad = [most - len(one.gaps) for one in several]
    return PanelCounts(
        gaps=torch.stack(
            [torch.nn.functional.pad(c.gaps, (0, n)) for c, n in zip(several, pad, strict=True)]
        ),
        pairs=torch.stack(
            [
                torch.nn.functional.pad(c.pairs, (0, 0, 0, 0, 0, n))
                for c, n in zip(several, pad, strict=True)
            ]
        ),
        starts=torch.stack([one.starts for one in several]),
    )


def _check_states(
    states: np.ndarray, size: int, exact: Sequence[int], codes: Mapping[int, Sequence[int]]
) -> None:
    if states.max() >= size:
        raise ValueError(
            f"paths has the state {states.max()}, but there are n_states = {size}, from 0"
        )
    for name, numbers in (
        ("exact", exact),
        ("censored", [s for members in codes.values() for s in members]),
    ):
        wrong = [s for s in numbers if not 0 <= s < size]
        if wrong:
            raise ValueError(f"{name} names the state {wrong[0]}; there are 0 to {size - 1}")
    clash = [code for code in codes if 0 <= code < size]
    if clash:
        raise ValueError(
            f"censored uses the code {clash[0]}, which is a state; choose {size} or more"
        )
