"""Which jumps can happen, in the names of the states."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dyninfer.jumps.scheme import RateScheme


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
