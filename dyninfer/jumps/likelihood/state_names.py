"""States by name and by number."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import copy
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.display import listed
from dyninfer.data.paths import Paths
from dyninfer.data.words import counted
from dyninfer.learning.settings import brief


def state_number(name: str, names: Sequence[str]) -> int:
    """Number of a state, or a ValueError that lists the states."""
    if name not in names:
        raise ValueError(f"there is no state {brief(name)}; the states are {listed(names)}")
    return list(names).index(name)


def jump_mask(jumps: Sequence[str], names: Sequence[str], what: str = "jumps") -> Tensor:
    """Mask ``(S, S)`` of jumps written ``"from>to"``; ``what`` messages call them.

    Raises
    ------
    ValueError
        If a jump is not written so, or names a state that does not exist.
    """
    n_states = len(names)
    mask = torch.zeros(n_states, n_states, dtype=torch.bool)
    for jump in jumps:
        source, arrow, target = jump.partition(">")
        if not arrow:
            raise ValueError(f"{what} must be written 'from>to', found {brief(jump)}")
        row = state_number(source.strip(), names)
        column = state_number(target.strip(), names)
        mask[row, column] = True
    return mask


def names_of(paths: Paths, n_states: int | None, codes: Collection[str] = ()) -> tuple[str, ...]:
    """Names of the states: those of the data; states beyond them are named by their numbers.

    ``codes`` are labels that name no state.

    Raises
    ------
    ValueError
        If the data name more states than ``n_states``, or there is one state only.
    """
    names = tuple(paths.state_names or ())
    if codes:
        names = _without_codes(paths, names, codes)
    n_named = len(names)
    if n_states is None:
        n_states = n_named
    if max(n_named, n_states) < 2:
        raise ValueError(
            f"the data name one state only, {brief(names[0])}, and nothing jumps; "
            "give state_names or n_states if there are others"
        )
    if n_states < n_named:
        raise ValueError(
            f"n_states={n_states}, but the data name {counted(n_named, 'state')}: {listed(names)}"
        )
    unnamed = range(n_named, n_states)
    return names + tuple(map(str, unnamed))


def _without_codes(paths: Paths, names: Sequence[str], codes: Collection[str]) -> tuple[str, ...]:
    """Names of states: without those of codes, and of numbers below a code that nobody has."""
    states = [name for name in names if name not in codes]
    is_numbered = list(names) == [str(number) for number in range(len(names))]
    if not is_numbered:
        return tuple(states)
    labels = np.unique(np.concatenate(paths.states))
    occurring = [int(label) for label in labels if str(label) not in codes]
    n_states = max(occurring, default=-1) + 1
    return tuple(states[:n_states])


def renumbered(paths: Paths, names: Sequence[str]) -> Paths:
    """Discrete paths in the numbers of the states ``names``, matched by name.

    States that are named by their numbers stay as they are. An AnnData that was subset forgets
    states that no row has, and numbers the others anew.

    Raises
    ------
    ValueError
        If the paths name a state that does not exist.
    """
    own_names = list(paths.state_names or ())
    n_own = len(own_names)
    first_names = list(names[:n_own])
    plain_numbers = [str(number) for number in range(n_own)]
    is_prefix = own_names == first_names
    # Numbers that were never names mean the states in their order.
    is_numbered = own_names == plain_numbers
    if is_prefix or (is_numbered and n_own <= len(names)):
        # All else was checked when the paths were made, and stays.
        same = copy(paths)
        object.__setattr__(same, "state_names", tuple(names))
        return same
    numbers = [state_number(name, names) for name in own_names]
    numbers.append(-1)  # a missing state is -1, the last entry, and stays missing
    new_number = np.array(numbers)
    renumbered_states = map(new_number.__getitem__, paths.states)
    return replace(
        paths,
        states=tuple(renumbered_states),
        state_names=tuple(names),
    )
