"""Settings of jump inference.

Which jumps can happen (`AllJumps`, `Only`, `Reversible`, `BirthDeath`), whether paths are `Clones`,
and, in `observations`, what is observed of a state. Each makes what belongs to it: an observation
model, a scheme of rates, prepared paths. So nobody asks by name which setting it is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy import ndarray

from dyninfer.data.paths import Paths
from dyninfer.data.times import Clock
from dyninfer.jumps.likelihood.clones import ClonePaths
from dyninfer.jumps.likelihood.scheme import RateScheme
from dyninfer.jumps.likelihood.state_names import jump_mask
from dyninfer.jumps.observations import (
    Confusion,
    ExactLabels,
    ExactTimes,
    Gaussian,
    Labels,
    Observation,
)
from dyninfer.jumps.posterior.starts import Starts, clone_starts
from dyninfer.learning.settings import Settings, brief


class Jumps(Settings):
    """Base of the rules on which jumps can happen and how their rates are tied.

    Attributes
    ----------
    in_training : bool
        Whether the pretrained network was trained on such processes.
    """

    in_training: ClassVar[bool] = False

    def check(self) -> None:
        """Raise a TypeError that names a setting of the wrong type."""
        self.check_kinds(f"{type(self).__name__}.")

    @abstractmethod
    def scheme(self, names: Sequence[str]) -> RateScheme:
        """Rates of the allowed jumps between the named states.

        Raises
        ------
        ValueError
            If a named jump is impossible.
        """


@dataclass(repr=False, eq=False)
class AllJumps(Jumps):
    """Every jump can happen, each at its own rate.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.MarkovJumpInference(jumps=di.AllJumps()).jumps
    AllJumps()
    """

    in_training: ClassVar[bool] = True

    def scheme(self, names: Sequence[str]) -> RateScheme:
        """See :meth:`Jumps.scheme`."""
        return RateScheme.free(len(names))


@dataclass(repr=False, eq=False)
class Only(Jumps):
    """Only the given jumps can happen, each at its own rate.

    Parameters
    ----------
    jumps : list of str
        The jumps, as ``"from>to"`` by the names of the states.

    Examples
    --------
    >>> import dyninfer as di
    >>> gate = di.MarkovJump([[-1.0, 1.0], [0.0, 0.0]], state_names=["closed", "open"])
    >>> run = di.simulate(gate, None, range(10), n_paths=200)
    >>> names = gate.state_names
    >>> paths = di.Paths(times=[run.times] * 200, states=list(run.states), state_names=names)
    >>> model = di.MarkovJumpInference(observation="exact", jumps=di.Only(["closed>open"]))
    >>> float(model.fit(paths, progress=False).generator_[1, 0])
    0.0
    """

    jumps: list[str]

    def scheme(self, names: Sequence[str]) -> RateScheme:
        """See :meth:`Jumps.scheme`."""
        return RateScheme.free(jump_mask(self.jumps, names))


@dataclass(repr=False, eq=False)
class Reversible(Jumps):
    """Detailed balance: no net flux between any two states at equilibrium.

    Parameters
    ----------
    jumps : list of str, optional
        The only possible jumps, in both directions, as ``"from>to"``; by default all.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.MarkovJumpInference(jumps=di.Reversible()).jumps  # with detailed balance
    Reversible()
    """

    jumps: list[str] | None = None

    def scheme(self, names: Sequence[str]) -> RateScheme:
        """See :meth:`Jumps.scheme`."""
        if self.jumps is None:
            return RateScheme.reversible(len(names))
        return RateScheme.reversible(jump_mask(self.jumps, names))


@dataclass(repr=False, eq=False)
class BirthDeath(Jumps):
    """Jumps between neighbouring states only, in the order of the states.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.MarkovJumpInference(jumps=di.BirthDeath()).jumps  # between neighbours only
    BirthDeath()
    """

    def scheme(self, names: Sequence[str]) -> RateScheme:
        """See :meth:`Jumps.scheme`."""
        return RateScheme.birth_death(len(names))


@dataclass(repr=False, eq=False)
class Clones(Settings):
    """Paths are single cells, and the cells of a clone had one ancestor.

    ``condition_key`` names the clone of a path. Given the state of the ancestor, the cells of a
    clone are independent; see :class:`~dyninfer.jumps.ClonePaths`.

    Parameters
    ----------
    ancestor_time : float
        Time of the ancestors, in the unit of the data: when barcodes were introduced.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.MarkovJumpInference(clones=di.Clones(ancestor_time=0.0)).clones
    Clones(ancestor_time=0.0)
    """

    in_training: ClassVar[bool] = False

    ancestor_time: float

    def check(self) -> None:
        """Raise a TypeError if the time is not a number."""
        self.check_kinds("Clones.")

    def age_at(self, time: float, data_times: ndarray) -> float:
        """Time since the ancestors lived; 0 if both are the same time of the data."""
        # On one clock, so that rounding makes no cell older than its ancestor.
        moments = [*data_times, self.ancestor_time, time]
        clock = Clock.of(moments)
        at_time, at_ancestor = clock.positions([time, self.ancestor_time])
        if at_time < at_ancestor:
            raise ValueError(
                f"first states cannot be drawn at {time:g}, before the "
                f"ancestor_time={self.ancestor_time:g}"
            )
        # One time of the clock may still be two numbers, a hair apart.
        return max(time - self.ancestor_time, 0.0)

    def prepare(self, paths: Paths) -> ClonePaths:
        """Paths with their ancestors, prepared for many likelihoods."""
        return ClonePaths.of(paths, float(self.ancestor_time))

    def starts(self, labels: Paths, n_states: int, scheme: RateScheme) -> Starts:
        """Starting generators of a fit."""
        return clone_starts(labels, n_states, scheme, float(self.ancestor_time))


__all__ = [
    "AllJumps",
    "BirthDeath",
    "Clones",
    "Confusion",
    "ExactLabels",
    "ExactTimes",
    "Gaussian",
    "Jumps",
    "Labels",
    "Observation",
    "Only",
    "Reversible",
    "as_jumps",
    "as_observation",
]

OBSERVATIONS = {"label noise": Labels, "exact": ExactLabels, "confusion": Confusion}
JUMPS = {"all": AllJumps, "reversible": Reversible, "birth-death": BirthDeath}


def as_observation(value: Observation | str) -> Observation:
    """What is observed, by its settings or by a short spelling.

    Raises
    ------
    ValueError
        If there is no such spelling.
    """
    if isinstance(value, Observation):
        return value
    # No number of states could be right by default.
    if value == "gaussian":
        raise ValueError(
            "observation='gaussian' lacks the number of hidden states; write Gaussian(n_states=3)"
        )
    return _by_name("observation", value, OBSERVATIONS, "Gaussian(n_states=...)")


def as_jumps(value: Jumps | str) -> Jumps:
    """Which jumps can happen, by the settings or by a short spelling.

    Raises
    ------
    ValueError
        If there is no such spelling.
    """
    if isinstance(value, Jumps):
        return value
    return _by_name("jumps", value, JUMPS, "Only(['from>to', ...])")


def _by_name(setting: str, value: Any, classes: dict[str, Any], also: str) -> Any:
    if not isinstance(value, str) or value not in classes:
        spellings = ", ".join(repr(name) for name in classes)
        raise ValueError(f"{setting} must be one of {spellings}, or {also}; found {brief(value)}")
    return classes[value]()
