"""Columns of the data that a method would ignore: they are refused, not dropped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from dyninfer.data.paths import Paths
from dyninfer.data.snapshots import Snapshots
from dyninfer.learning.settings import brief

# What a method does without the key, and what is to be done.
_WITHOUT = {
    "weight_key": "does not weigh cells; leave it out, or draw cells in proportion first",
    "mass_key": "conserves mass; leave it out",
    "condition_key": (
        "does not tell conditions apart; fit one model for each "
        "(adata[adata.obs[...] == label]), or use StochasticInterpolant"
    ),
}


class Method(Protocol):
    """What a method says of itself: see :class:`~dyninfer.SnapshotEstimator`."""

    @property
    def uses(self) -> frozenset[str]:
        """Keys that it learns from."""

    @property
    def conserves_mass(self) -> bool:
        """Whether its settings rule out growth."""

    @property
    def uses_growth(self) -> bool:
        """Whether it starts from the growth that the data expect."""


def refuse_unused_keys(method: Method, keys: Mapping[str, str | None]) -> None:
    """Raise a ValueError naming a key that the method, with its settings, would ignore."""
    name = type(method).__name__
    # Any value counts, also of a column that is constant: whoever names it expects an effect.
    for key, reason in _WITHOUT.items():
        if keys.get(key) is not None and key not in method.uses:
            raise ValueError(f"{key}={brief(keys[key])} cannot be used: {name} {reason}")
    # Some methods learn growth by some of their settings only.
    mass_key = keys.get("mass_key")
    if mass_key is not None and method.conserves_mass:
        raise ValueError(
            f"mass_key={brief(mass_key)} cannot be used: {name} conserves mass with these "
            "settings; allow growth (growth_penalty, or an UnbalancedTransport), or leave it out"
        )


def refuse_unused_columns(method: Method, snapshots: Snapshots) -> None:
    """Raise a ValueError where snapshots have labels or rates that the method would ignore."""
    name = type(method).__name__
    if snapshots.growth is not None and not method.uses_growth:
        raise ValueError(
            f"{name} with these settings would ignore the expected growth (growth_key, or "
            "Snapshots(growth=...)); use coupling='growth_first', or leave it out"
        )
    if snapshots.conditions is not None and "condition_key" not in method.uses:
        raise ValueError(
            f"the snapshots have conditions, which {name} would mix; fit one model for each, use "
            "StochasticInterpolant, or remove them: dataclasses.replace(snapshots, "
            "conditions=None)"
        )


class PathMethod(Protocol):
    """What a method says of itself: see :class:`~dyninfer.PathEstimator`."""

    takes_covariates: ClassVar[bool]

    @property
    def covariate_columns(self) -> tuple[str, ...]:
        """Columns of covariates that it learns from."""

    @property
    def uses(self) -> frozenset[str]:
        """Keys that it learns from."""


def refuse_unused_condition(method: PathMethod, condition_key: str | None, data: Any) -> None:
    """Raise a ValueError where labels of paths, by key or in the data, would change nothing.

    Covariates are a table that a formula chooses from: of a method without one, none would count.
    """
    _refuse_unused_covariates(method, data)
    if "condition_key" in method.uses:
        return
    name = type(method).__name__
    if condition_key is not None:
        raise ValueError(
            f"condition_key={brief(condition_key)} cannot be used: {name} learns one process for "
            "all paths; leave it out, and fit each group separately if groups differ"
        )
    if isinstance(data, Paths) and data.conditions is not None:
        raise ValueError(
            f"the paths have conditions, which {name} would mix: it learns one process for all "
            "paths; fit each group separately, or remove them: "
            "dataclasses.replace(paths, conditions=None)"
        )


def _refuse_unused_covariates(method: PathMethod, data: Any) -> None:
    if method.takes_covariates or method.covariate_columns:
        return
    if not isinstance(data, Paths) or data.covariates is None:
        return
    raise ValueError(
        f"the paths have covariates, which {type(method).__name__} does not take; use "
        "MarkovJumpInference(covariates=...), or remove them: dataclasses.replace(paths, "
        "covariates=None)"
    )
