"""Names of what is read from an AnnData, and names under which results are written into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# Arguments that say where in an AnnData something is, of `fit` and of every tool that fits.
SNAPSHOT_KEYS = (
    "time_key",
    "use_rep",
    "mass_key",
    "weight_key",
    "condition_key",
    "growth_key",
)
FIELD_KEYS = ("velocity_key", "use_rep")
PATH_KEYS = ("time_key", "path_key", "state_key", "use_rep", "condition_key")

VELOCITY = "dyninfer_velocity"  # obsm: velocity of every cell, features per time unit
VELOCITY_SD = "dyninfer_velocity_sd"  # obsm: standard deviation of each of its features
EXPRESSION = "dyninfer_expression"  # layer: decoded expression, which the velocity moves
TIME = "dyninfer_time"  # obs: time at which a state like the cell's is expected
TIME_SD = "dyninfer_time_sd"  # obs: its standard deviation
GROWTH = "dyninfer_growth"  # obs: growth rate of every cell, per time unit
DIVERGENCE = "dyninfer_divergence"  # obs: divergence of the velocity, per time unit
CURL = "dyninfer_curl"  # obs: its curl in two dimensions, per time unit
GROWTH_PRIOR = "dyninfer_growth_prior"  # obs: log-growth expected of every cell, per time unit
POTENTIAL = "dyninfer_potential"  # obs: potential whose gradient is the velocity
STATE = "dyninfer_state"  # obs: most probable discrete state of every row
STATE_PROBABILITY = "dyninfer_state_probability"  # obs: its probability
FATES = "dyninfer_fates"  # obsm: probability of every fate; uns: names and settings
FATE = "dyninfer_fate"  # obs: most probable fate of every cell
FATE_ENTROPY = "dyninfer_fate_entropy"  # obs: entropy of its fates, in nats
DESCENDANTS = "dyninfer_descendants"  # obs: share of each cell among descendants of some cells
ANCESTORS = "dyninfer_ancestors"  # obs: probability that a cell is an ancestor of some cells
UNS = "dyninfer"  # uns: settings and provenance, as JSON
TRAJECTORIES = "dyninfer_trajectories"  # uns: what trajectories need to be read back


def chosen(arguments: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Keys among the arguments of a function, such as its ``locals()``; None where not given.

    Examples
    --------
    >>> chosen({"data": 0, "time_key": "day", "path_key": None}, ["time_key", "path_key"])
    {'time_key': 'day', 'path_key': None}
    """
    return {name: arguments[name] for name in names}
