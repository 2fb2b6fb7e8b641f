"""Settings of a jump inference that are worth trying on paths, plainest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from sklearn.base import clone

from dyninfer.data.paths import Paths
from dyninfer.jumps.settings import (
    AllJumps,
    BirthDeath,
    Confusion,
    ExactLabels,
    Labels,
    Reversible,
    as_jumps,
    as_observation,
)
from dyninfer.learning.settings import Settings, fingerprint

Changes = dict[str, Any]

# Between two states all jumps are between neighbours, and in detailed balance.
FEWEST_STATES = 3


def jump_search_space(model: Any, paths: Paths) -> dict[str, list[Changes]]:
    """Groups of alternatives for :func:`dyninfer.tools.tune`.

    A group with settings of the user's own, such as ``Only([...])``, is left alone.

    Parameters
    ----------
    model : MarkovJumpInference
    paths : Paths
    """
    jumps: list[Settings] = []
    current_jumps = as_jumps(model.jumps)
    current_observation = as_observation(model.observation)
    names = paths.state_names or ()
    # Hidden states of numbers have no names yet.
    n_states = len(names) or current_observation.n_states or 0
    if n_states >= FEWEST_STATES:
        jumps = [Reversible(), AllJumps()]
        if names and are_ordered(names):
            jumps.insert(0, BirthDeath())
    observations = [ExactLabels(), Labels(), Confusion()]
    groups = {
        "jumps": _alternatives(model, "jumps", current_jumps, jumps),
        "observation": _alternatives(model, "observation", current_observation, observations),
    }
    return {name: group for name, group in groups.items() if group}


def are_ordered(names: Sequence[str]) -> bool:
    """Whether names of states are numbers that rise, or fall, from state to state."""
    try:
        values = np.array([float(name) for name in names])
    except ValueError:
        return False
    steps = np.diff(values)
    return bool((steps > 0).all() or (steps < 0).all())


def _alternatives(
    model: Any, setting: str, current: Settings, choices: Iterable[Settings]
) -> list[Changes]:
    """Choices in their order that can be, what stands among them; none where it does not."""
    changes: list[Changes] = []
    is_among = False
    for choice in choices:
        is_same_kind = type(choice) is type(current)
        if is_same_kind and fingerprint(choice) == fingerprint(current):
            is_among = True
            # As it is spelt: "all" and AllJumps() are one setting, and scored once.
            changes.append({setting: getattr(model, setting)})
        elif _is_possible(model, {setting: choice}):
            changes.append({setting: choice})
    return changes if is_among and len(changes) > 1 else []


def _is_possible(model: Any, changes: Changes) -> bool:
    try:
        clone(model).set_params(**changes).check()
    except ValueError:
        return False
    return True
