"""Settings of what is observed of a state, such as `Labels`, `ExactLabels` or `Gaussian`.

Each makes the observation model that belongs to it, so that nobody asks by name which it is.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from dyninfer.data import display
from dyninfer.data.paths import Paths
from dyninfer.jumps.likelihood.codes import LabelCodes, check_sets
from dyninfer.jumps.likelihood.complete import CompletePaths
from dyninfer.jumps.likelihood.discretize import MixtureStates, moments
from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.likelihood.observation import (
    PRIOR_WEIGHT,
    ConfusionMatrix,
    Emission,
    GaussianEmission,
    LabelNoise,
    PerfectLabels,
)
from dyninfer.jumps.likelihood.state_names import jump_mask, state_number
from dyninfer.jumps.posterior.labels import (
    ExactLabelLikelihood,
    LabelLikelihood,
    NoisyLabelLikelihood,
)
from dyninfer.learning.settings import Settings
from dyninfer.learning.warn import warn

_NOISE_START = 0.02  # chance of a wrong label that a fit begins with


class Observation(Settings):
    """Base of the ways in which states are observed; each has its observation model.

    Attributes
    ----------
    emission_class : type of Emission
        The observation model.
    n_states : int or None
        Number of states; None takes the states named in the data.
    """

    emission_class: ClassVar[type[Emission]]
    n_states: int | None

    def check(self) -> None:
        """Raise a ValueError that names an invalid setting."""
        name = type(self).__name__
        self.check_kinds(f"{name}.")
        if self.n_states is not None and self.n_states < 2:
            raise ValueError(f"{name}.n_states must be at least 2, found {self.n_states}")

    @property
    def in_training(self) -> bool:
        """Whether the pretrained network was trained on such observations."""
        return False

    @property
    def has_entries(self) -> bool:
        """Whether entry times of some states are observed exactly."""
        return bool(getattr(self, "entries", None))

    @property
    def conditional(self) -> bool:
        """Whether first labels are never wrong and are conditioned on."""
        return False

    def codes(self, names: Sequence[str]) -> LabelCodes:
        """Labels besides those of the states ``names``; by default none."""
        return LabelCodes(names)

    def check_paths(self, paths: Paths) -> None:
        """Raise a TypeError if the paths are of another kind; by default they must be labels."""
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
        """Numbers of the states whose entry times are observed exactly."""
        entries = getattr(self, "entries", None) or ()
        return [state_number(name, names) for name in entries]

    def prepared(self, paths: Paths, entries: Sequence[int]) -> HiddenPaths:
        """Paths prepared for many likelihoods; ``entries`` are those of :meth:`entries_among`."""
        return HiddenPaths.of(paths, entries)

    @abstractmethod
    def start(self, paths: Paths, names: Sequence[str], seed: int) -> tuple[Emission, Paths]:
        """Initial observation model of a fit, and labels of the paths for crude rates."""

    def warn_of_fit(self, start: Emission, fitted: Emission, names: Sequence[str]) -> None:
        """Warn if part of the observation model could not be learned; by default never."""

    def label_likelihood(self, paths: Paths, n_states: int) -> LabelLikelihood:
        """Likelihood that refines the posterior of the network; only if ``in_training``."""
        raise NotImplementedError(f"the network was not trained for {self!r}")


@dataclass(repr=False, eq=False)
class Labels(Observation):
    """Labels of states, wrong with a learned probability.

    Parameters
    ----------
    n_states : int, optional
        Number of states; by default those that the data name.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.MarkovJumpInference(observation=di.Labels()).observation  # wrong with one probability
    Labels()
    """

    emission_class: ClassVar[type[Emission]] = LabelNoise

    n_states: int | None = None

    @property
    def in_training(self) -> bool:
        """True."""
        return True

    def start(self, paths: Paths, names: Sequence[str], seed: int) -> tuple[Emission, Paths]:
        """See :meth:`Observation.start`."""
        return LabelNoise.uniform(len(names), _NOISE_START), paths

    def label_likelihood(self, paths: Paths, n_states: int) -> LabelLikelihood:
        """See :meth:`Observation.label_likelihood`."""
        return NoisyLabelLikelihood.of(paths, n_states)


@dataclass(repr=False, eq=False)
class ExactLabels(Observation):
    """Labels of states, never wrong.

    Parameters
    ----------
    entries : list of str, optional
        States whose entry times are observed exactly, such as death.
    censored : dict of str to list of str, optional
        Labels that stand for one of several states: ``{"alive": ["well", "ill"]}``.
    n_states : int, optional
        Number of states; by default those that the data name.

    Examples
    --------
    >>> import dyninfer as di
    >>> visits = di.ExactLabels(entries=["dead"])  # the day of death is known
    >>> di.MarkovJumpInference(observation=visits).observation
    ExactLabels(entries=['dead'])
    """

    emission_class: ClassVar[type[Emission]] = PerfectLabels

    entries: list[str] | None = None
    censored: dict[str, list[str]] | None = None
    n_states: int | None = None

    def check(self) -> None:
        """Raise a TypeError or a ValueError that names an invalid setting."""
        super().check()
        check_sets(self.censored, "ExactLabels.censored")

    @property
    def in_training(self) -> bool:
        """Whether every label is a single state and no entry times are observed."""
        return not self.has_entries and not self.censored

    @property
    def conditional(self) -> bool:
        """True: first labels are conditioned on."""
        return True

    def codes(self, names: Sequence[str]) -> LabelCodes:
        """Labels that stand for several states."""
        return LabelCodes(names, self.censored or {})

    def start(self, paths: Paths, names: Sequence[str], seed: int) -> tuple[Emission, Paths]:
        """See :meth:`Observation.start`."""
        codes = self.codes(names)
        perfect = LabelNoise.perfect(len(names))
        return replace(perfect, sets=codes.members), codes.for_rates(paths)

    def label_likelihood(self, paths: Paths, n_states: int) -> LabelLikelihood:
        """See :meth:`Observation.label_likelihood`."""
        return ExactLabelLikelihood.of(paths, n_states)


@dataclass(repr=False, eq=False)
class ExactTimes(Observation):
    """Exact times of all jumps: a path stays in the state of a row until the next row.

    The last row of a path is where it ends, whether it jumps there or not.

    Parameters
    ----------
    n_states : int, optional
        Number of states; by default those that the data name.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.MarkovJumpInference(observation=di.ExactTimes()).observation  # every jump is recorded
    ExactTimes()
    """

    emission_class: ClassVar[type[Emission]] = PerfectLabels

    n_states: int | None = None

    @property
    def conditional(self) -> bool:
        """True: first labels are conditioned on."""
        return True

    def prepared(self, paths: Paths, entries: Sequence[int]) -> HiddenPaths:
        """See :meth:`Observation.prepared`."""
        return CompletePaths.of(paths)

    def start(self, paths: Paths, names: Sequence[str], seed: int) -> tuple[Emission, Paths]:
        """See :meth:`Observation.start`."""
        return LabelNoise.perfect(len(names)), paths


@dataclass(repr=False, eq=False)
class Confusion(Observation):
    """Labels that may be mistaken for each other, with a learned probability per pair.

    Parameters
    ----------
    allowed : list of str, optional
        The only possible errors, as ``"state>label"``; by default all.
    entries : list of str, optional
        States whose entry times are observed exactly, such as death. Their label is never wrong.
    exact_first : bool
        Whether the first label of a path is never wrong. It is then conditioned on, and the
        distribution of first states is not fitted.
    prior_weight : float
        Strength of the prior on errors, in observations of every state, nine of ten of them
        correct; 0 for no prior.
    n_states : int, optional
        Number of states; by default those that the data name.

    Examples
    --------
    >>> import dyninfer as di
    >>> stages = di.Confusion(allowed=["mild>severe", "severe>mild"])
    >>> di.MarkovJumpInference(observation=stages).observation
    Confusion(allowed=['mild>severe', 'severe>mild'])
    """

    emission_class: ClassVar[type[Emission]] = ConfusionMatrix

    allowed: list[str] | None = None
    entries: list[str] | None = None
    exact_first: bool = False
    prior_weight: float = PRIOR_WEIGHT
    n_states: int | None = None

    def check(self) -> None:
        """Raise a TypeError or a ValueError that names an invalid setting."""
        super().check()
        if not 0 <= self.prior_weight < math.inf:
            raise ValueError(
                f"Confusion.prior_weight must not be negative, found {self.prior_weight}"
            )

    @property
    def conditional(self) -> bool:
        """Whether first labels are never wrong and are conditioned on."""
        return self.exact_first

    def codes(self, names: Sequence[str]) -> LabelCodes:
        """Error-free labels of first observations."""
        return LabelCodes(names, exact_first=self.exact_first)

    def start(self, paths: Paths, names: Sequence[str], seed: int) -> tuple[Emission, Paths]:
        """See :meth:`Observation.start`."""
        matrix = ConfusionMatrix.among(self._errors(names), _NOISE_START, self.prior_weight)
        codes = self.codes(names)
        return replace(matrix, sets=codes.members), codes.for_rates(paths)

    def _errors(self, names: Sequence[str]) -> Tensor:
        """Wrong labels (last) that each state may have ``(S, S)`` bool."""
        entries = self.entries_among(names)
        if self.allowed is None:
            errors = ~torch.eye(len(names), dtype=torch.bool)
            errors[entries] = False
            errors[:, entries] = False
            return errors
        errors = jump_mask(self.allowed, names, "allowed")
        for entry in entries:
            if bool(errors[entry].any() | errors[:, entry].any()):
                raise ValueError(
                    f"Confusion.allowed lets the label {names[entry]!r} be wrong, whose entries "
                    "are observed; leave it out of one of the two"
                )
        return errors


@dataclass(repr=False, eq=False)
class Gaussian(Observation):
    """Values with a normal distribution around the mean of each state.

    Parameters
    ----------
    n_states : int
        Number of states.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.MarkovJumpInference(observation=di.Gaussian(3)).observation  # three levels
    Gaussian(n_states=3)
    """

    emission_class: ClassVar[type[Emission]] = GaussianEmission

    n_states: int

    def check_paths(self, paths: Paths) -> None:
        """Raise a TypeError if the paths are labels."""
        if paths.discrete:
            raise TypeError(
                "observation=Gaussian(...) needs continuous paths; these have discrete states"
            )

    def start(self, paths: Paths, names: Sequence[str], seed: int) -> tuple[Emission, Paths]:
        """See :meth:`Observation.start`: the components of a Gaussian mixture."""
        # A mixture does not know which observation came first: a start, and not the fit.
        rule = MixtureStates(n_states=len(names))
        table = rule.learn(paths, seed)
        mean, std = moments(table, paths.n_features)
        emission = GaussianEmission.of(mean, std)
        return emission, rule.label(paths, table)

    def warn_of_fit(self, start: Any, fitted: Any, names: Sequence[str]) -> None:
        """Warn about states whose values are all equal."""
        at_floor = fitted.at_floor(start).tolist()
        alike = list(compress(names, at_floor))
        if alike:
            warn(
                f"values of state {display.listed(alike)} are all equal, so the spread is a "
                "lower bound and not learned; if the signal was idealised its levels are labels: "
                "give them as integers, with observation=ExactLabels()",
                UserWarning,
            )


def _are_whole_numbers(paths: Paths) -> bool:
    """Whether all values of the only feature are whole, like those of labels."""
    if paths.n_features > 1:
        return False
    values = np.concatenate(paths.states)
    observed = values[~np.isnan(values)]
    return bool((observed % 1 == 0).all())
