"""Folds: which pairs of a plan are held out to choose the number of steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy import ndarray

from dyninfer.learning.random import numpy_stream

Source = TypeVar("Source")

# Fewer cells held out say too little about a number of steps: all are then, in turns.
LEAST_HELD_OUT = 50
# Parts of the cells that are held out in turns: each part costs a run of its own.
MOST_FOLDS = 5


@dataclass(frozen=True)
class Folds(Generic[Source]):
    """What training draws from: a part of the pairs while the rest validates, and all in the end.

    Attributes
    ----------
    whole
        All pairs.
    parts : list of (training, validation)
        One for every run that is made to find the number of steps; empty where nothing can be
        held out.
    share : float
        Part of the pairs that each of these runs holds out.
    """

    whole: Source
    parts: list[tuple[Source, Source]]
    share: float

    @property
    def training(self) -> Source:
        """What the first of the runs learns from."""
        return self.parts[0][0] if self.parts else self.whole

    @property
    def validation(self) -> Source | None:
        """What it is validated on."""
        return self.parts[0][1] if self.parts else None

    def others(self) -> list[Folds[Source]]:
        """The same for each of the other runs."""
        return [Folds(self.whole, [part], self.share) for part in self.parts[1:]]


def folds_of(
    whole: Source, numbers: ndarray, share: float, part: Callable[[ndarray], Source]
) -> Folds[Source]:
    """Folds of rows ``(rows,)`` by their :func:`fold_numbers`.

    Parameters
    ----------
    whole
    numbers : array of int ``(rows,)``
    share : float
    part : callable, ``mask (rows,) -> a part of the whole``
    """
    parts = []
    for number in range(numbers.max() + 1):
        is_held_out = numbers == number
        training = part(~is_held_out)
        validation = part(is_held_out)
        parts.append((training, validation))
    return Folds(whole, parts, share)


def fold_numbers(
    groups: Sequence[ndarray], interval: Sequence[int], fraction: float, seed: int
) -> tuple[ndarray, float]:
    """Run in which every row is held out, and the part of the rows that each run holds out.

    Rows of one group (the pairs of one cell) are held out together, or what is learned of one
    would be tested on another. Where many groups are held out, one run is enough; where there
    are few, all of them are, in up to five runs.

    Parameters
    ----------
    groups : sequence of int arrays ``(rows of the stretch,)``
        Group of every row, stretch by stretch.
    interval : sequence of int
        Interval of every stretch: each needs rows on both sides.
    fraction : float
        Part of the groups to hold out, where they are many.
    seed : int

    Returns
    -------
    array of int ``(rows of all stretches,)``
        −1 for rows that no run holds out: all of them, where an interval has a single group.
    float
    """
    n_rows = sum(len(own) for own in groups)
    nothing = np.full(n_rows, -1), 0.0
    counts = [len(np.unique(own)) for own in groups]
    sizes = np.array(counts)
    largest = [sizes[np.asarray(interval) == k].max() for k in np.unique(interval)]
    n_least = min(largest)
    if not fraction or n_least < 2:
        return nothing
    n_folds = 1
    share = fraction
    if fraction * sizes.sum() < LEAST_HELD_OUT:
        n_parts = round(1 / fraction)
        n_wanted = min(MOST_FOLDS, max(2, n_parts))
        n_folds = int(min(n_wanted, n_least))
        share = 1 / n_folds
    rng = numpy_stream(seed, "validation split")
    numbers = []
    for own in groups:
        _, group = np.unique(own, return_inverse=True)
        n_groups = group.max() + 1
        rank = rng.permutation(n_groups)
        number = rank % n_folds
        if n_folds == 1:
            n_held_out = max(1, round(share * n_groups))
            number = np.where(rank < n_held_out, 0, -1)
        # A group alone would leave nothing to learn from.
        if n_groups < 2:
            number = np.full(1, -1)
        numbers.append(number[group])
    return np.concatenate(numbers), share
