"""Settings of jump inference.

What is observed of a state (`Labels`, `ExactLabels`, `Confusion`, `Gaussian`), which jumps can
happen (`AllJumps`, `Only`, `Reversible`, `BirthDeath`), and whether paths are `Clones`. Each makes
what belongs to it: an observation model, a scheme of rates, prepared paths. So nobody asks by name
which setting it is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, ClassVar

import numpy as np
from numpy import ndarray

from dyninfer.data import display
from dyninfer.data.paths import Paths
from dyninfer.data.times import Clock
from dyninfer.jumps.likelihood.clones import ClonePaths
from dyninfer.jumps.likelihood.discretize import MixtureStates, moments
from dyninfer.jumps.likelihood.observation import (
    ConfusionMatrix,
    Emission,
    GaussianEmission,
    LabelNoise,
    PerfectLabels,
)
from dyninfer.jumps.likelihood.scheme import RateScheme
from dyninfer.jumps.likelihood.state_names import jump_mask, state_number
from dyninfer.jumps.posterior.labels import (
    ExactLabelLikelihood,
    LabelLikelihood,
    NoisyLabelLikelihood,
)
from dyninfer.jumps.posterior.starts import Starts, clone_starts
from dyninfer.learning.settings import Settings, brief
from dyninfer.learning.warn import warn

_NOISE_START = 0.02  # chance of a wrong label that a fit begins with


class Observation(Settings):
    """Base of what is observed of a state; it knows the observation model that belongs to it.

    Attributes
    ----------
    emission_class : type of Emission
        The observation model.
    n_states : int or None
        Number of states; None for those that the data name.
    """

    emission_class: ClassVar[type[Emission]]
    n_states: int | None

    def check(self) -> None:
        """Raise a ValueError naming a setting that cannot be."""
        name = type(self).__name__
        self.check_kinds(f"{name}.")
        if self.n_states is not None and self.n_states < 2:
            raise ValueError(f"{name}.n_states must be at least 2, found {self.n_states}")

    @property
    def in_training(self) -> bool:
        """Whether the pretrained network was shown such observations."""
        return False

    @property
    def has_entries(self) -> bool:
        """Whether entries into some states are observed when they happen."""
        return False

    def check_paths(self, paths: Paths) -> None:
        """Raise a TypeError where the paths are not what is observed: by default, labels."""
        if paths.discrete:
            return
        if _are_whole_numbers(paths):
            # A column of labels becomes one of floats as soon as an entry is missing.
            raise TypeError(
                "the paths hold whole numbers as floats; if they are labels, make them integers, "
                "with -1 for missing: np.where(np.isnan(x), -1, x).astype(int); if they are a "
                "signal, give observation=Gaussian(n_states=3)"
            )
        raise TypeError(
            "the paths are continuous; give observation=Gaussian(n_states=3), or a rule that "
            "makes labels of them: states=MixtureStates(n_states=3)"
        )

    def entries_among(self, names: Sequence[str]) -> list[int]:
        """Numbers of the states whose entry is observed when it happens."""
        return []

    @abstractmethod
    def start(self, paths: Paths, n_states: int, seed: int) -> tuple[Emission, Paths]:
        """Observation model to begin a fit with, and labels of the paths for crude rates."""

    def warn_of_fit(self, start: Emission, fitted: Emission, names: Sequence[str]) -> None:
        """Warn where something of the observation model could not be learned; by default not."""

    def label_likelihood(self, paths: Paths, n_states: int) -> LabelLikelihood:
        """Likelihood for a refinement of what the network believes; only where ``in_training``."""
        raise NotImplementedError(f"the network was not trained for {self!r}")


@dataclass(repr=False, eq=False)
class Labels(Observation):
    """The label of the state, wrong with a chance that is learned, and then any other one alike.

    Parameters
    ----------
    n_states : int, optional
        Number of states; by default those that the data name.
    """

    emission_class: ClassVar[type[Emission]] = LabelNoise

    n_states: int | None = None

    @property
    def in_training(self) -> bool:
        """True."""
        return True

    def start(self, paths: Paths, n_states: int, seed: int) -> tuple[Emission, Paths]:
        """See :meth:`Observation.start`."""
        return LabelNoise.uniform(n_states, _NOISE_START), paths

    def label_likelihood(self, paths: Paths, n_states: int) -> LabelLikelihood:
        """See :meth:`Observation.label_likelihood`."""
        return NoisyLabelLikelihood.of(paths, n_states)


@dataclass(repr=False, eq=False)
class ExactLabels(Observation):
    """The label of the state, never wrong.

    Parameters
    ----------
    entries : list of str, optional
        States whose entry is observed when it happens, such as death.
    n_states : int, optional
        Number of states; by default those that the data name.
    """

    emission_class: ClassVar[type[Emission]] = PerfectLabels

    entries: list[str] | None = None
    n_states: int | None = None

    @property
    def in_training(self) -> bool:
        """Whether no entries are observed."""
        return not self.has_entries

    @property
    def has_entries(self) -> bool:
        """Whether entries into some states are observed when they happen."""
        return bool(self.entries)

    def entries_among(self, names: Sequence[str]) -> list[int]:
        """Numbers of the states whose entry is observed when it happens."""
        entries = self.entries or ()
        return [state_number(name, names) for name in entries]

    def start(self, paths: Paths, n_states: int, seed: int) -> tuple[Emission, Paths]:
        """See :meth:`Observation.start`."""
        return LabelNoise.perfect(n_states), paths

    def label_likelihood(self, paths: Paths, n_states: int) -> LabelLikelihood:
        """See :meth:`Observation.label_likelihood`."""
        return ExactLabelLikelihood.of(paths, n_states)


@dataclass(repr=False, eq=False)
class Confusion(Observation):
    """A label that is taken for each other one with a probability of its own, all learned.

    Parameters
    ----------
    n_states : int, optional
        Number of states; by default those that the data name.
    """

    emission_class: ClassVar[type[Emission]] = ConfusionMatrix

    n_states: int | None = None

    def start(self, paths: Paths, n_states: int, seed: int) -> tuple[Emission, Paths]:
        """See :meth:`Observation.start`."""
        return ConfusionMatrix.uniform(n_states, _NOISE_START), paths


@dataclass(repr=False, eq=False)
class Gaussian(Observation):
    """Numbers that scatter normally around a value of every state.

    Parameters
    ----------
    n_states : int
        Number of states.
    """

    emission_class: ClassVar[type[Emission]] = GaussianEmission

    n_states: int

    def check_paths(self, paths: Paths) -> None:
        """Raise a TypeError where the paths are labels."""
        if paths.discrete:
            raise TypeError(
                "observation=Gaussian(...) needs continuous paths; these have discrete states"
            )

    def start(self, paths: Paths, n_states: int, seed: int) -> tuple[Emission, Paths]:
        """See :meth:`Observation.start`: the components of a Gaussian mixture."""
        # A mixture does not know which observation came first: a start, and not the fit.
        rule = MixtureStates(n_states=n_states)
        table = rule.learn(paths, seed)
        mean, std = moments(table, paths.n_features)
        emission = GaussianEmission.of(mean, std)
        return emission, rule.label(paths, table)

    def warn_of_fit(self, start: Any, fitted: Any, names: Sequence[str]) -> None:
        """Warn of states whose values are all alike, where both are a ``GaussianEmission``."""
        at_floor = fitted.at_floor(start).tolist()
        alike = list(compress(names, at_floor))
        if alike:
            warn(
                f"values of state {display.listed(alike)} are all alike, so that the spread is a "
                "lower bound and not learned; if the signal was idealised its levels are labels: "
                "give them as integers, with observation=ExactLabels()",
                UserWarning,
            )


class Jumps(Settings):
    """Base of which jumps can happen, and how their rates hang together.

    Attributes
    ----------
    in_training : bool
        Whether the pretrained network was shown such processes.
    """

    in_training: ClassVar[bool] = False

    def check(self) -> None:
        """Raise a TypeError naming a setting of another kind."""
        self.check_kinds(f"{type(self).__name__}.")

    @abstractmethod
    def scheme(self, names: Sequence[str]) -> RateScheme:
        """Rates of the allowed jumps between the states of these names.

        Raises
        ------
        ValueError
            If a jump is named that cannot be.
        """


@dataclass(repr=False, eq=False)
class AllJumps(Jumps):
    """Every jump can happen, at a rate of its own."""

    in_training: ClassVar[bool] = True

    def scheme(self, names: Sequence[str]) -> RateScheme:
        """See :meth:`Jumps.scheme`."""
        return RateScheme.free(len(names))


@dataclass(repr=False, eq=False)
class Only(Jumps):
    """Only some jumps can happen, each at a rate of its own.

    Parameters
    ----------
    jumps : list of str
        The jumps, as ``"from>to"`` by the names of the states.
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
        The only jumps that can happen, both ways, as ``"from>to"``; by default all.
    """

    jumps: list[str] | None = None

    def scheme(self, names: Sequence[str]) -> RateScheme:
        """See :meth:`Jumps.scheme`."""
        if self.jumps is None:
            return RateScheme.reversible(len(names))
        return RateScheme.reversible(jump_mask(self.jumps, names))


@dataclass(repr=False, eq=False)
class BirthDeath(Jumps):
    """Jumps between neighbouring states only, in the order of the states."""

    def scheme(self, names: Sequence[str]) -> RateScheme:
        """See :meth:`Jumps.scheme`."""
        return RateScheme.birth_death(len(names))


@dataclass(repr=False, eq=False)
class Clones(Settings):
    """Paths are single cells, and those of one clone had one ancestor.

    ``condition_key`` names the clone of a path. Given the ancestor's state the cells of a clone are
    independent; see :class:`~dyninfer.jumps.ClonePaths`.

    Parameters
    ----------
    ancestor_time : float
        When the ancestors lived, in the user's units: when the barcodes were given.
    """

    in_training: ClassVar[bool] = False

    ancestor_time: float

    def check(self) -> None:
        """Raise a TypeError where the time is no number."""
        self.check_kinds("Clones.")

    def age_at(self, time: float, data_times: ndarray) -> float:
        """Time since the ancestors lived; 0 where the two are one time of the data's clock."""
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
        """Paths with their ancestors, for many likelihoods."""
        return ClonePaths.of(paths, self.ancestor_time)

    def starts(self, labels: Paths, n_states: int, scheme: RateScheme) -> Starts:
        """Generators to begin a fit with."""
        return clone_starts(labels, n_states, scheme, self.ancestor_time)


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


def _are_whole_numbers(paths: Paths) -> bool:
    """Whether all values of the only feature are whole, like those of labels."""
    if paths.n_features > 1:
        return False
    values = np.concatenate(paths.states)
    observed = values[~np.isnan(values)]
    return bool((observed % 1 == 0).all())


def _by_name(setting: str, value: Any, classes: dict[str, Any], also: str) -> Any:
    if not isinstance(value, str) or value not in classes:
        spellings = ", ".join(repr(name) for name in classes)
        raise ValueError(f"{setting} must be one of {spellings}, or {also}; found {brief(value)}")
    return classes[value]()
