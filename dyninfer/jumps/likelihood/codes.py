"""Labels that stand for several states, and first labels that are known to be right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.data.paths.checks import MISSING
from dyninfer.data.words import counted, listed, quoted
from dyninfer.jumps.likelihood.state_names import renumbered, state_number
from dyninfer.jumps.process.chain import reachable
from dyninfer.learning.settings import brief

# Unseen numbers in a row, beside as many states that occur, that look like those below a code.
_LEAST_HOLE = 10


@dataclass(frozen=True)
class LabelCodes:
    """Labels beside those of the states, numbered after them.

    Attributes
    ----------
    names : sequence of S str
        Names of the states.
    sets : mapping of str to list of str
        Labels that stand for any of several states.
    exact_first : bool
        Whether the first label of a path is never wrong, whatever later ones are.
    """

    names: Sequence[str]
    sets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    exact_first: bool = False

    @property
    def is_needed(self) -> bool:
        """Whether there are labels beside those of the states."""
        return bool(self.sets) or self.exact_first

    @property
    def members(self) -> Tensor | None:
        """Which states each label beside those of the states may stand for ``(C, S)`` float64."""
        n_states = len(self.names)
        rows = torch.zeros(len(self.sets), n_states, dtype=torch.float64)
        for row, states in zip(rows, self.sets.values(), strict=True):
            numbers = [state_number(state, self.names) for state in states]
            row[numbers] = 1.0
        if self.exact_first:
            of_truths = torch.eye(n_states, dtype=torch.float64)
            rows = torch.cat([rows, of_truths])
        return rows if len(rows) else None

    def coded(self, paths: Paths) -> Paths:
        """Paths by the numbers of the states, and of the other labels after them."""
        if not self.is_needed:
            return renumbered(paths, self.names)
        every_name = [*self.names, *self.sets]
        states = self._numbered(paths, every_name)
        if self.exact_first:
            n_states = len(self.names)
            states = [_with_true_first(x, n_states, len(every_name)) for x in states]
            every_name += [f"{name}, the truth" for name in self.names]
        return replace(paths, states=tuple(states), state_names=tuple(every_name))

    def tell_first(self, coded: Paths) -> bool:
        """Whether the first observation of every path names one state."""
        first = np.array([states[0] for states in coded.states])
        n_states = len(self.names)
        n_labels = n_states + len(self.sets)
        is_state = (first != MISSING) & (first < n_states)
        is_truth = first >= n_labels
        return bool((is_state | is_truth).all())

    def plain(self, paths: Paths) -> Paths:
        """Paths by the numbers of the states; a label that stands for several is missing."""
        if not self.sets:
            return renumbered(paths, self.names)
        n_states = len(self.names)
        every_name = [*self.names, *self.sets]
        states = []
        rows = []
        for row, labels in enumerate(self._numbered(paths, every_name)):
            of_states = np.where(labels < n_states, labels, MISSING)
            # What is missing from end to end is no path, and says nothing of crude rates.
            if (of_states != MISSING).any():
                rows.append(row)
                states.append(of_states)
        return replace(paths[rows], states=tuple(states), state_names=tuple(self.names))

    def for_rates(self, paths: Paths) -> Paths:
        """Paths for crude rates: as they are, where there are no labels beside those of states."""
        return self.plain(paths) if self.is_needed else paths

    def _numbered(self, paths: Paths, every_name: Sequence[str]) -> list[np.ndarray]:
        """States of every path by the place of their names."""
        own_names = paths.state_names or ()
        labels = np.unique(np.concatenate(paths.states))
        number = np.full(len(own_names) + 1, MISSING)
        # Only those that occur: numbers below a code are names of nothing.
        for label in labels[labels >= 0]:
            number[label] = state_number(own_names[label], every_name)
        return [number[x] for x in paths.states]


def _with_true_first(states: np.ndarray, n_states: int, n_labels: int) -> np.ndarray:
    """Labels of one path, the first observed one that names a state told as the truth."""
    observed = np.flatnonzero(states != MISSING)
    coded = states.copy()
    if len(observed) and states[observed[0]] < n_states:
        coded[observed[0]] += n_labels
    return coded


def refuse_hole(paths: Paths, names: Sequence[str]) -> None:
    """Raise a ValueError where numbers of states leave out so many that the largest is a code."""
    plain_numbers = [str(number) for number in range(len(names))]
    if not paths.discrete or list(names) != plain_numbers:
        return
    states = np.concatenate(paths.states)
    labels = np.unique(states[states != MISSING])
    labels = labels[labels < len(names)]
    holes = np.diff(labels, prepend=-1)
    if holes.max() <= max(_LEAST_HOLE, len(labels)):
        return
    code = int(labels[holes.argmax()])
    raise ValueError(
        f"the states are {len(names)} numbers of which only {listed(labels)} occur; if {code} is a "
        f"code, say what it stands for, ExactLabels(censored={{'{code}': [...]}}), else give text "
        "or state_names"
    )


def check_sets(sets: Any, name: str) -> None:
    """Raise an error where sets of states by their labels are no such thing."""
    if sets is None:
        return
    if not isinstance(sets, dict):
        raise TypeError(
            f"{name} must be a dict from labels to lists of states, found {brief(sets)}"
        )
    for label, states in sets.items():
        is_list = isinstance(states, list | tuple)
        if not isinstance(label, str) or not is_list or len(states) < 2:
            raise ValueError(
                f"{name} must name two states or more for every label, as {{'alive': ['well', "
                f"'ill']}}; found {brief(label)}: {brief(states)}"
            )
        both = [state for state in states if state in sets]
        if both:
            raise ValueError(
                f"{name} names {both[0]!r} as a state and as a label for several; rename one"
            )


def refuse_impossible(paths: Paths, allowed: Tensor, names: Sequence[str]) -> None:
    """Raise a ValueError where labels that are never wrong follow by no allowed jumps.

    Parameters
    ----------
    paths : Paths
        By the numbers of the states.
    allowed : Tensor of bool, ``(S, S)``
        Jumps that can happen.
    names : sequence of S str
    """
    states = np.concatenate(paths.states)
    is_observed = states != MISSING
    every_path = np.repeat(np.arange(len(paths)), paths.lengths)
    path = every_path[is_observed]
    times = np.concatenate(paths.times)[is_observed]
    states = states[is_observed]
    can_follow = reachable(allowed.double()).numpy()
    follows = can_follow[states[:-1], states[1:]]
    (rows,) = np.nonzero((path[1:] == path[:-1]) & ~follows)
    if len(rows) == 0:
        return
    row = rows[0]
    source, target = names[states[row]], names[states[row + 1]]
    raise ValueError(
        f"path {quoted(paths.names[path[row]])} is {quoted(source)} at {times[row]:g} and "
        f"{quoted(target)} at {times[row + 1]:g}, which no allowed jumps lead to "
        f"({counted(len(rows), 'such pair')}); allow more jumps, or labels that may be wrong: "
        "observation=Confusion()"
    )
