"""Cells that differentiate, divide and carry barcodes: clones sampled destructively on several days."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.jumps.process import MarkovJump, with_diagonal
from dyninfer.simulators.base import (
    check_not_negative,
    check_positive,
    check_times,
    generator,
    stream,
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
_CENTRES = ((0.0, 0.0), (1.0, 0.7), (1.0, -0.7), (2.0, 1.2), (2.0, 0.3), (2.0, -0.9))


@dataclass(frozen=True, kw_only=True)
class CellStates:
    """Cells of a few states, barcoded on day 0 and taken out on given days: what one sees are cells, never a path.

    A cell jumps between states by a generator ``Q``, and meanwhile divides and dies at the rates of its state; both
    daughters begin in their mother's state. A clone are the descendants of ``cells_per_clone`` cells that share one
    state on day 0. On every day each living cell is taken out with probability ``capture``; the others go on.

    ``MarkovJumpInference(ancestor_time=0, observation="exact")`` knows no division. It finds ``Q`` where clones have
    divided before day 0 and no more (``birth = 0``). Divisions after it bias its rates downwards even if all states
    divide alike: sisters share their history up to their division, which a model of cells that part on day 0 can only
    take for an ancestor that was further on. Where some states grow faster than others, cells are moreover found in
    shares of ``exp((Q + diag(birth − death)) t)`` in place of ``exp(Q t)``: rates into such states come out too high
    and rates out of them too low.

    Parameters
    ----------
    names : tuple of S str
        States.
    jumps : tuple of (str, str, float)
        From, to, and the rate per day.
    initial : tuple of S floats, optional
        Law of the state of a clone's first cells; by default all are in the first state.
    birth, death : float or tuple of S floats
        Rates of division and death per day, of all states or of each.
    cells_per_clone : int
        Cells on day 0, all in one state; at least 1.
    capture : float
        Probability that a living cell is taken out on a day of sampling, in (0, 1].
    centres : tuple of S tuples
        Where the states lie in expression space.
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

    def __post_init__(self) -> None:
        for a, b, rate in self.jumps:
            if a not in self.names or b not in self.names or a == b:
                raise ValueError(
                    f"jumps has {a!r} to {b!r}; both must be different states of {', '.join(self.names)}"
                )
            check_positive(**{f"the rate from {a} to {b}": rate})
        for name, rates in (("birth", self.birth), ("death", self.death)):
            check_not_negative(**{name: float(vector(rates, len(self.names), name).min())})
        check_positive(cells_per_clone=self.cells_per_clone, noise=self.noise)
        if not 0 < self.capture <= 1:
            raise ValueError(f"capture must be a probability above 0, found {self.capture!r}")
        if len(self.centres) != len(self.names):
            raise ValueError(
                f"centres must hold one place for each of the {len(self.names)} states"
            )

    def process(self) -> MarkovJump:
        """Return the true process of one cell's state, from the law of the founders; it does not know of division."""
        rates = torch.zeros(len(self.names), len(self.names), dtype=torch.float64)
        for a, b, rate in self.jumps:
            rates[self.names.index(a), self.names.index(b)] = rate
        initial = self.initial or [1.0] + [0.0] * (len(self.names) - 1)
        return MarkovJump(with_diagonal(rates), initial=initial, state_names=self.names)

    def mean_counts(self, t: float) -> Tensor:
        """Expected cells ``(S, S)`` of the column's state at ``t`` that descend from one of the row's on day 0.

        ``exp((Q + diag(birth − death)) t)`` (Athreya and Ney 1972, section V.7), as if none had been taken out.
        """
        check_not_negative(t=t)
        size = len(self.names)
        growth = vector(self.birth, size, "birth") - vector(self.death, size, "death")
        return torch.linalg.matrix_exp((self.process().generator + torch.diag(growth)) * t)

    def cells(self, days: Iterable[float], n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Grow ``n`` clones and take out cells.

        Parameters
        ----------
        days : iterable of float
            Increasing days of sampling, from 0 on.
        n : int
            Number of clones; one may end up without a cell that is seen.
        seed : int

        Returns
        -------
        day : Tensor, ``(cell,)`` float64
            When each cell was taken out.
        clone : Tensor, ``(cell,)`` int64
        state : Tensor, ``(cell,)`` int64
        """
        check_positive(n=n)
        g = generator(stream(seed, 0))
        law = self.process().start_law()
        state = torch.multinomial(law, n, replacement=True, generator=g).repeat_interleave(
            self.cells_per_clone
        )
        clone = torch.arange(n).repeat_interleave(self.cells_per_clone)
        now, found = 0.0, []
        for day in check_times(days):
            state, clone = self._grow(state, clone, day - now, g)
            taken = torch.rand(len(state), generator=g) < self.capture
            found.append(
                (
                    torch.full_like(clone[taken], day, dtype=torch.float64),
                    clone[taken],
                    state[taken],
                )
            )
            state, clone, now = state[~taken], clone[~taken], day
        day_of, clone_of, state_of = (torch.cat(parts) for parts in zip(*found, strict=True))
        return day_of, clone_of, state_of

    def paths(self, days: Iterable[float], n: int, seed: int = 0) -> Paths:
        """Those cells as paths of one observation each, whose ``conditions`` are the clones."""
        day, clone, state = self.cells(days, n, seed)
        return Paths(
            times=tuple(day.numpy()[:, None]),
            states=tuple(state.numpy()[:, None]),
            state_names=self.names,
            conditions=_labels("clone", clone.tolist()),
        )

    def adata(self, days: Iterable[float], n: int, seed: int = 0) -> AnnData:
        """Those cells as an AnnData: ``cell``, ``day``, ``clone`` and ``state`` in ``obs``, noisy expression in ``X``."""
        import anndata as ad
        import pandas as pd

        day, clone, state = self.cells(days, n, seed)
        centre = torch.tensor(self.centres, dtype=torch.float32)
        x = centre[state]
        x = x + self.noise * torch.randn(x.shape, generator=generator(stream(seed, 1)))
        cell = _labels("cell", range(len(day)))
        named = pd.Categorical.from_codes(state.numpy(), categories=list(self.names))
        obs = {
            "cell": cell,
            "day": day.numpy(),
            "clone": _labels("clone", clone.tolist()),
            "state": named,
        }
        return ad.AnnData(X=x.numpy(), obs=pd.DataFrame(obs, index=pd.Index(cell)))

    def _grow(
        self, state: Tensor, clone: Tensor, span: float, g: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """States and clones of all cells alive after a span of time: Gillespie's method, cell by cell, all at once."""
        size = len(self.names)
        rates = self.process().generator.clamp(min=0)
        beside = [
            vector(x, size, name)[:, None]
            for x, name in ((self.birth, "birth"), (self.death, "death"))
        ]
        rates = torch.cat([rates, *beside], dim=1)
        left, done = torch.full_like(state, span, dtype=torch.float64), []
        while True:
            u = torch.rand(len(state), generator=g, dtype=torch.float64)
            left = left + torch.log1p(-u) / rates.sum(1)[state]
            goes_on = left > 0
            done.append((state[~goes_on], clone[~goes_on]))
            state, clone, left = state[goes_on], clone[goes_on], left[goes_on]
            if len(state) == 0:
                break
            event = torch.multinomial(rates[state], 1, generator=g)[:, 0]
            state = torch.where(event < size, event, state)
            copies = 1 + (event == size).long() - (event == size + 1).long()
            state, clone, left = (x.repeat_interleave(copies) for x in (state, clone, left))
        states, clones = (torch.cat(parts) for parts in zip(*done, strict=True))
        return states, clones


def _labels(word: str, numbers: Sequence[int]) -> np.ndarray:
    return np.array([f"{word} {k}" for k in numbers])
