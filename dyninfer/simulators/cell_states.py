"""Cells that differentiate, divide and carry barcodes: clones sampled on several days."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.data.display import listed
from dyninfer.data.paths import Paths
from dyninfer.jumps.process import MarkovJump, with_diagonal
from dyninfer.learning.random import stream, uniforms
from dyninfer.learning.settings import brief
from dyninfer.simulators.base import (
    System,
    check_draw,
    check_not_negative,
    check_positive,
    check_times,
    vector,
)

if TYPE_CHECKING:
    from anndata import AnnData

_NAMES = ("progenitor", "left", "right", "fate A", "fate B", "fate C")
_JUMPS = (
    ("progenitor", "left", 0.5),
    ("progenitor", "right", 0.3),
    ("left", "fate A", 0.4),
    ("left", "fate B", 0.3),
    ("right", "fate C", 0.5),
)
# In the plane the tree lies on its side, time to the right.
# In the order of the names: two branches from the progenitor, one of which forks again.
_CENTRES = (
    (0.0, 0.0),
    (1.0, 0.7),
    (1.0, -0.7),
    (2.0, 1.2),
    (2.0, 0.3),
    (2.0, -0.9),
)


@dataclass(frozen=True, kw_only=True)
class CellStates(System):
    """Cells with a few states, barcoded on day 0 and sampled later; no cell is seen twice.

    A cell jumps between states by a generator ``Q``, and divides and dies at the rates of its
    state; both daughters begin in the state of their mother. A clone consists of the descendants of
    ``cells_per_clone`` cells that share one state on day 0. On every sampling day each living cell
    is removed with probability ``capture``; the others live on.

    A :class:`~dyninfer.MarkovJumpInference` with clones from day 0 and exact labels ignores
    division. It recovers ``Q`` if clones divide only before day 0 (``birth = 0``). Later divisions
    bias its rates downwards even if all states divide equally fast. Sisters share their history up
    to their division; a model of cells that separate on day 0 mistakes this for a more advanced
    ancestor. If some states grow faster than others, cells are also found in shares of ``exp((Q +
    diag(birth − death)) t)`` instead of ``exp(Q t)``. Rates into such states then come out too
    high, and rates out of them too low.

    Parameters
    ----------
    names : tuple of S str
        States.
    jumps : tuple of (str, str, float)
        From, to, and the rate per day.
    initial : tuple of S floats, optional
        Probabilities of the state of the first cells of a clone; by default all are in the first
        state.
    birth, death : float or tuple of S floats
        Division and death rates per day, one for all states or one for each.
    cells_per_clone : int
        Cells on day 0, all in one state; at least 1.
    capture : float
        Probability that a living cell is removed on a sampling day, in (0, 1].
    centres : tuple of S tuples
        Positions of the states in expression space.
    noise : float
        Standard deviation of a cell around its centre.

    Examples
    --------
    >>> from dyninfer.simulators import CellStates
    >>> paths = CellStates().paths([2.0, 4.0, 6.0], 20, seed=0)
    >>> paths.state_names[:3]
    ('progenitor', 'left', 'right')
    """

    names: tuple[str, ...] = _NAMES
    jumps: tuple[tuple[str, str, float], ...] = _JUMPS
    initial: tuple[float, ...] | None = None
    birth: float | tuple[float, ...] = 0.4
    death: float | tuple[float, ...] = 0.0
    cells_per_clone: int = 4
    capture: float = 0.5
    centres: tuple[tuple[float, ...], ...] = _CENTRES
    noise: float = 0.15

    def _check(self) -> None:
        for source, target, rate in self.jumps:
            exist = source in self.names and target in self.names
            if not exist or source == target:
                raise ValueError(
                    f"jumps has {brief(source)} to {brief(target)}; "
                    f"both must be different states of {listed(self.names)}"
                )
            check_positive(**{f"the rate from {source} to {target}": rate})
        lowest_birth = float(self._birth.min())
        lowest_death = float(self._death.min())
        check_not_negative(birth=lowest_birth, death=lowest_death)
        self._check_positive("cells_per_clone", "noise")
        if not 0 < self.capture <= 1:
            raise ValueError(f"capture must be a probability above 0, found {self.capture!r}")
        if len(self.centres) != len(self.names):
            raise ValueError(
                f"centres must hold one position for each of the {len(self.names)} states"
            )

    def process(self) -> MarkovJump:
        """Return the true process of the state of one cell, without division.

        It starts in the distribution of the founders.
        """
        n_states = len(self.names)
        rates = torch.zeros(n_states, n_states, dtype=torch.float64)
        for source, target, rate in self.jumps:
            row = self.names.index(source)
            column = self.names.index(target)
            rates[row, column] = rate
        initial = self.initial
        if initial is None:
            zeros = (0.0,) * (n_states - 1)
            initial = (1.0,) + zeros
        return MarkovJump(with_diagonal(rates), initial=initial, state_names=self.names)

    def mean_counts(self, t: float) -> Tensor:
        """Expected cells ``(S, S)`` in the column state at ``t``, from one in the row state.

        ``exp((Q + diag(birth − death)) t)`` (Athreya and Ney 1972, section V.7), as if no cell had
        been removed.
        """
        check_not_negative(t=t)
        net = self._birth - self._death
        growth = torch.diag(net)
        generator = self.process().generator + growth
        return torch.linalg.matrix_exp(generator * t)

    def cells(self, days: Iterable[float], n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Grow ``n`` clones and sample cells.

        Parameters
        ----------
        days : iterable of float
            Increasing days of sampling, from 0 on.
        n : int
            Number of clones; some may end up without an observed cell.
        seed : int
            Fixes every draw.

        Returns
        -------
        day : Tensor, ``(cell,)`` float64
            Day on which each cell was sampled.
        clone : Tensor, ``(cell,)`` int64
        state : Tensor, ``(cell,)`` int64
        """
        check_draw(n, seed)
        g = stream(seed, "clones")
        initial = self.process().start_distribution()
        first = torch.multinomial(initial, n, replacement=True, generator=g)
        state = first.repeat_interleave(self.cells_per_clone)
        founders = torch.arange(n)
        clone = founders.repeat_interleave(self.cells_per_clone)
        now = 0.0
        all_days = []
        all_clones = []
        all_states = []
        for day in check_times(days):
            span = day - now
            state, clone = self._grow(state, clone, span, g)
            n_cells = len(state)
            u = torch.rand(n_cells, generator=g, dtype=torch.float32)
            is_captured = u < self.capture
            captured = state[is_captured]
            all_states.append(captured)
            all_clones.append(clone[is_captured])
            all_days.append(torch.full_like(captured, day, dtype=torch.float64))
            # Cells are destroyed by the measurement: what was captured does not go on.
            state = state[~is_captured]
            clone = clone[~is_captured]
            now = day
        return torch.cat(all_days), torch.cat(all_clones), torch.cat(all_states)

    def paths(self, days: Iterable[float], n: int, seed: int = 0) -> Paths:
        """The same cells as paths of one observation each, whose ``conditions`` are the clones."""
        day, clone, state = self.cells(days, n, seed)
        # One row for every cell, with its only observation.
        times = day.numpy()[:, None]
        states = state.numpy()[:, None]
        return Paths(
            times=tuple(times),
            states=tuple(states),
            state_names=self.names,
            conditions=_labels("clone", clone.tolist()),
        )

    def adata(self, days: Iterable[float], n: int, seed: int = 0) -> AnnData:
        """The same cells as an AnnData.

        ``cell``, ``day``, ``clone`` and ``state`` are in ``obs``, noisy expression in ``X``.
        """
        import anndata as ad
        import pandas as pd

        day, clone, state = self.cells(days, n, seed)
        centres = torch.tensor(self.centres, dtype=torch.float32)
        centre = centres[state]
        g = stream(seed, "expression")
        noise = torch.randn(centre.shape, generator=g, dtype=torch.float32)
        expression = centre + self.noise * noise
        numbers = range(len(day))
        cell = _labels("cell", numbers)
        columns = {
            "cell": cell,
            "day": day.numpy(),
            "clone": _labels("clone", clone.tolist()),
            "state": pd.Categorical.from_codes(state.numpy(), categories=list(self.names)),
        }
        index = pd.Index(cell)
        obs = pd.DataFrame(columns, index=index)
        return ad.AnnData(X=expression.numpy(), obs=obs)

    @property
    def _birth(self) -> Tensor:
        n_states = len(self.names)
        return vector(self.birth, n_states, "birth")

    @property
    def _death(self) -> Tensor:
        n_states = len(self.names)
        return vector(self.death, n_states, "death")

    def _grow(
        self,
        state: Tensor,
        clone: Tensor,
        span: float,
        g: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """States and clones of all cells alive after a span of time.

        Gillespie's method: every cell has events of its own, and all cells take their next one
        together.
        """
        rates = self._event_rates()
        total_rate = rates.sum(1)
        # float64, for many short waiting times are subtracted.
        time_left = torch.full_like(state, span, dtype=torch.float64)
        states = []
        clones = []
        while len(state) > 0:
            u = uniforms(g, len(state))
            exponential = -torch.log1p(-u)
            # A state without events waits for ever, by a division by zero.
            waiting_time = exponential / total_rate[state]
            time_left = time_left - waiting_time
            goes_on = time_left > 0
            states.append(state[~goes_on])
            clones.append(clone[~goes_on])
            state = state[goes_on]
            clone = clone[goes_on]
            time_left = time_left[goes_on]
            if len(state) == 0:
                break
            # Which event comes first does not depend on when.
            own_rates = rates[state]
            event = torch.multinomial(own_rates, 1, generator=g)
            state, copies = self._after(state, event.squeeze(1))
            state = state.repeat_interleave(copies)
            clone = clone.repeat_interleave(copies)
            time_left = time_left.repeat_interleave(copies)
        if not states:
            return state, clone
        return torch.cat(states), torch.cat(clones)

    def _event_rates(self) -> Tensor:
        """Rates ``(S, S + 2)`` of a jump to every state, then of a division and of a death."""
        generator = self.process().generator
        jumps = generator.clamp(min=0)
        birth = self._birth[:, None]
        death = self._death[:, None]
        return torch.cat([jumps, birth, death], dim=1)

    def _after(self, state: Tensor, event: Tensor) -> tuple[Tensor, Tensor]:
        """States after events, and how many cells there are then of each."""
        n_states = len(self.names)
        is_division = event == n_states
        is_death = event == n_states + 1
        copies = 1 + is_division.long() - is_death.long()
        is_jump = event < n_states
        after = torch.where(is_jump, event, state)
        return after, copies


def _labels(word: str, numbers: Sequence[int]) -> ndarray:
    names = [f"{word} {k}" for k in numbers]
    return np.array(names)
