"""Which jumps can happen, in the names of the states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from dyninfer.data.paths import Paths
from dyninfer.jumps.likelihood.scheme import RateScheme


def named_scheme(structure: str, allowed: Sequence[str] | None, names: Sequence[str]) -> RateScheme:
    """Scheme of a structure ("free", "reversible" or "birth-death") and of jumps written ``"from>to"``; None allows all.

    Raises
    ------
    ValueError
        If a jump is not written so, or names a state that there is not.
    """
    if structure == "birth-death":
        return RateScheme.birth_death(len(names))
    mask = torch.full((len(names), len(names)), allowed is None)
    for jump in allowed or ():
        source, arrow, target = jump.partition(">")
        if not arrow:
            raise ValueError(f"allowed must name jumps as 'from>to', found {jump!r}")
        mask[state_number(source.strip(), names), state_number(target.strip(), names)] = True
    return RateScheme.reversible(mask) if structure == "reversible" else RateScheme.free(mask)


def state_number(name: str, names: Sequence[str]) -> int:
    """Number of a state, or a ValueError that lists those there are."""
    if name not in names:
        raise ValueError(f"there is no state '{name}'; the states are {', '.join(names)}")
    return list(names).index(name)


def names_of(seen: Paths, n_states: int | None) -> tuple[str, ...]:
    """Names of the states: those of the data, and numbers for what is asked for beyond.

    Raises
    ------
    ValueError
        If the data name more states than are asked for, or there is one only.
    """
    named = tuple(seen.state_names or ())
    if max(len(named), n_states or 0) < 2:
        raise ValueError(
            f"the data name one state only, {named[0]!r}, and nothing jumps; give state_names or n_states if there are others"
        )
    if n_states is None or n_states == len(named):
        return named
    if n_states < len(named):
        raise ValueError(
            f"n_states={n_states}, but the data name {len(named)} states: {', '.join(named)}"
        )
    return (*named, *(str(k) for k in range(len(named), n_states)))


def numbers_of(states: Any, names: Sequence[str]) -> np.ndarray:
    """Numbers ``(n,)`` of states that are given by name or by number.

    Raises
    ------
    ValueError
        If one of them does not exist.
    """
    found = np.asarray(states)
    if found.dtype.kind in "UO":
        return np.array([state_number(str(name), names) for name in found.ravel()])
    whole = found.dtype.kind in "iu" and found.ndim == 1
    if not whole or not ((found >= 0) & (found < len(names))).all():
        raise ValueError(
            f"start must be states (n,) by name or number below {len(names)}; found {states!r:.80}"
        )
    return found


def recoded(paths: Paths, names: Sequence[str]) -> Paths:
    """Discrete paths in the numbers of the states ``names``, matched by name; plain numbers stay as they are.

    An AnnData that was subset forgets states that no row has, and numbers the others anew.

    Raises
    ------
    ValueError
        If the paths name a state that there is not.
    """
    own, known = tuple(paths.state_names or ()), tuple(names)
    numbered = own == tuple(map(str, range(len(own)))) and len(own) <= len(known)
    if own == known[: len(own)] or numbered:
        return paths
    number = np.array(
        [*(state_number(name, known) for name in own), -1]
    )  # the last: a missing state
    return Paths(
        times=paths.times,
        states=tuple(number[x] for x in paths.states),
        names=paths.names,
        features=paths.features,
        state_names=known,
        conditions=paths.conditions,
        source=paths.source,
    )
