"""What the settings of a jump inference make of paths: a prepared likelihood, and a result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.data import display
from dyninfer.data.paths import Paths
from dyninfer.jumps.channels import IdenticalChannels
from dyninfer.jumps.covariates import NO_EFFECTS, Covariates, Effects
from dyninfer.jumps.formula import Levels
from dyninfer.jumps.likelihood.clones import ClonePaths
from dyninfer.jumps.likelihood.codes import refuse_impossible
from dyninfer.jumps.likelihood.covariate_paths import CovariatePaths
from dyninfer.jumps.likelihood.design import Design
from dyninfer.jumps.likelihood.first_design import FirstDesign
from dyninfer.jumps.likelihood.flat import FlatLabels
from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.likelihood.panel import PanelCounts
from dyninfer.jumps.posterior.covariate_fit import fit_covariates
from dyninfer.jumps.posterior.covariate_objective import CovariateProblem
from dyninfer.jumps.posterior.fitting_hidden import HiddenProblem
from dyninfer.jumps.posterior.maximum import maximise_complete, maximise_exact, maximise_hidden
from dyninfer.jumps.posterior.memory import warn_without_memory
from dyninfer.jumps.posterior.network import read_by_network
from dyninfer.jumps.posterior.refine import groups_of, refine
from dyninfer.jumps.posterior.residuals import warn_of_residuals
from dyninfer.jumps.posterior.result import JumpResult
from dyninfer.jumps.posterior.starts import crude_starts, exact_starts, log_rate_prior
from dyninfer.jumps.settings import (
    Clones,
    Confusion,
    ExactLabels,
    ExactTimes,
    Jumps,
    Observation,
    Reversible,
)
from dyninfer.learning.interruption import watched
from dyninfer.learning.random import subseed
from dyninfer.learning.warn import warn


@dataclass(frozen=True, kw_only=True)
class JumpInference:
    """Settings of an inference, none of them a short spelling.

    Attributes
    ----------
    observation : Observation
        What is observed of a state.
    jumps : Jumps
        Which jumps can happen.
    clones : Clones, optional
        Where paths are cells of clones.
    prior_width : float, optional
        Standard deviation of the prior of every log-rate; None is plain maximum likelihood.
    refine : bool
        Whether likelihoods are maximised; else the network is asked alone.
    covariates : Effects, optional
        What rates depend on.
    levels : dict
        Values of the columns of covariates.
    initial_covariates : str, optional
        Formula of what first states depend on.
    """

    observation: Observation
    jumps: Jumps
    clones: Clones | None
    prior_width: float | None
    refine: bool
    covariates: Effects | None = None
    levels: Levels = field(default_factory=dict)
    initial_covariates: str | None = None

    def check(self) -> None:
        """Raise a ValueError that names an invalid setting, alone or beside another."""
        for part in (self.observation, self.jumps, self.clones, self.covariates):
            if part is not None:
                part.check()
        width = self.prior_width
        if width is not None and not 0 < width < math.inf:
            raise ValueError(f"prior_width must be positive, or None for no prior; found {width}")
        if self.clones is not None and self.observation.has_entries:
            raise ValueError(
                "exact entry times need paths that are followed, not clones; leave out clones"
            )
        if self.clones is not None and self.observation.codes(()).is_needed:
            raise ValueError(
                f"observation={self.observation} needs paths that are followed, not clones; "
                "leave out clones, or censored and exact_first"
            )
        if self.initial_covariates is not None:
            Covariates(self.initial_covariates).check()
            self._check_covariates("initial_covariates", self.initial_covariates)
            self._check_first_states()
        if self.covariates is not None:
            self._check_covariates("covariates", self.covariates)
        if isinstance(self.observation, ExactTimes) and self.clones is not None:
            raise ValueError(
                "observation=ExactTimes() needs paths that are followed, not clones; leave out "
                "one of the two"
            )
        # Without refining, nothing beside the network could take such a setting.
        untrained = self.beyond_network()
        if not self.refine and untrained is not None:
            raise ValueError(
                f"refine=False uses only the network, which was not trained for {untrained}; "
                "leave out one of the two"
            )

    def _check_first_states(self) -> None:
        """Raise a ValueError where first states are given, and no labels tell them."""
        if isinstance(self.observation, Confusion) and self.observation.exact_first:
            raise ValueError(
                "exact_first=True gives the first state of every path, whose distribution "
                "initial_covariates would fit; leave one of the two out"
            )

    def _check_covariates(self, setting: str, covariates: Effects | str) -> None:
        if self.clones is not None:
            raise ValueError(
                f"{setting}={covariates} need paths that are followed, not clones; leave out "
                "one of the two"
            )
        if isinstance(self.observation, ExactTimes):
            raise ValueError(
                f"{setting}={covariates} cannot be learned where every jump is observed; "
                "leave one of the two out"
            )
        if isinstance(self.jumps, Reversible | IdenticalChannels):
            raise ValueError(
                f"{setting} need a separate rate for every jump, but {self.jumps} ties them "
                "together; use AllJumps(), Only([...]) or BirthDeath()"
            )

    def beyond_network(self) -> str | None:
        """The first setting that the network was not trained for, as it is written."""
        parts = {
            "observation": self.observation,
            "jumps": self.jumps,
            "clones": self.clones,
            "covariates": self.covariates,
        }
        for name, part in parts.items():
            if part is not None and not part.in_training:
                return f"{name}={part}"
        if self.initial_covariates is not None:
            return f"initial_covariates={self.initial_covariates!r}"
        return None

    @property
    def has_design(self) -> bool:
        """Whether rates or first states depend on covariates or time."""
        return self.covariates is not None or self.initial_covariates is not None

    def prepare(self, paths: Paths, names: Sequence[str]) -> HiddenPaths | ClonePaths:
        """Paths for the likelihood of a model with the states ``names``."""
        if paths.discrete:
            paths = self.observation.codes(names).coded(paths)
        if self.clones is not None:
            return self.clones.prepare(paths)
        entries = self.observation.entries_among(names)
        if self.has_design:
            return CovariatePaths.with_design(paths, self.design(names), entries)
        return self.observation.prepared(paths, entries)

    def design(self, names: Sequence[str]) -> Design:
        """How rates follow from the covariates."""
        effects = self.covariates or NO_EFFECTS
        return Design.of(effects, self.levels, self.jumps.scheme(names), names)

    def first_design(self, names: Sequence[str]) -> FirstDesign:
        """How the distribution of first states follows from the covariates."""
        assert self.initial_covariates is not None
        return FirstDesign(Covariates(self.initial_covariates), self.levels, len(names))

    def infer(self, paths: Paths, names: Sequence[str], max_steps: int, seed: int) -> JumpResult:
        """The network alone, the network refined, or a fit under the normal prior.

        Parameters
        ----------
        paths : Paths
            Labels, or numbers of a Gaussian observation.
        names : sequence of S str
            Names of the states.
        max_steps : int
            Most steps of a maximisation.
        seed : int
            Fixes the draws.
        """
        never_left = None
        has_codes = False
        if paths.discrete:
            codes = self.observation.codes(names)
            plain = codes.plain(paths)
            never_left = torch.from_numpy(self._prior_alone(plain, names))
            if isinstance(self.observation, ExactLabels):
                refuse_impossible(plain, self.jumps.scheme(names).allowed, names)
            has_codes = codes.is_needed
            if not has_codes:
                paths = plain
        with watched() as interruption:
            result = self._inferred(paths, names, max_steps, seed)
        # Of entries and complete paths the gaps are no looks at the process.
        has_looks = not self.observation.has_entries
        has_looks = has_looks and not isinstance(self.observation, ExactTimes)
        is_plain = self.clones is None and not self.has_design and not has_codes
        if is_plain and has_looks:
            self._warn_without_memory(result, paths)
        if is_plain and not paths.discrete:
            model = result.generator, result.emission, result.initial
            warn_of_residuals(model, paths)
        posterior = replace(cast(Any, result.posterior), never_left=never_left)
        return replace(result, posterior=posterior, interrupted=interruption.happened)

    def _inferred(
        self, paths: Paths, names: Sequence[str], max_steps: int, seed: int
    ) -> JumpResult:
        is_exact = isinstance(self.observation, ExactLabels)
        if self.has_design:
            return self._maximise_covariates(paths, names, max_steps, seed)
        if not self.refine:
            return read_by_network(paths, len(names), not is_exact, seed)
        width = self.prior_width
        # Without a prior, or with too few paths to share them out, the likelihood stands alone.
        if self.beyond_network() is None and width is not None and groups_of(paths):
            labels = self.observation.label_likelihood(paths, len(names))
            return refine(paths, labels, width, max_steps, seed)
        if isinstance(self.observation, ExactTimes):
            return maximise_complete(paths, self.jumps.scheme(names), names, width, max_steps)
        has_codes = paths.discrete and self.observation.codes(names).is_needed
        if is_exact and self.clones is None and not has_codes:
            entries = self.observation.entries_among(names)
            scheme = self.jumps.scheme(names)
            return maximise_exact(paths, scheme, entries, width, max_steps)
        return self._maximise_hidden(paths, names, max_steps, seed)

    def restored(
        self,
        names: Sequence[str],
        tensors: dict[str, Tensor],
        facts: dict[str, object],
        history: pd.DataFrame,
    ) -> JumpResult:
        """A result from the tensors and facts that it was saved as."""
        emission_class = self.observation.emission_class
        scheme = self.jumps.scheme(names)
        return JumpResult.restored(emission_class, scheme, tensors, facts, history)

    def _maximise_hidden(
        self, paths: Paths, names: Sequence[str], max_steps: int, seed: int
    ) -> JumpResult:
        n_states = len(names)
        scheme = self.jumps.scheme(names)
        # Of its own, so that learning a mixture moves no other draw.
        own_seed = subseed(seed, "states")
        emission, labels = self.observation.start(paths, names, own_seed)
        initial = None
        if self.clones is None:
            starts = crude_starts(labels, n_states, scheme)
            initial = self._weights_of_first(paths, names)
        else:
            starts = self.clones.starts(labels, n_states, scheme)
        prior = log_rate_prior(starts.counts, scheme, self.prior_width)
        data = self.prepare(paths, names)
        problem = HiddenProblem(data, emission, scheme, initial, prior=prior)
        result = maximise_hidden(problem, starts.generators, max_steps)
        self.observation.warn_of_fit(emission, result.emission, names)
        return _with_shares(result, starts.counts, initial)

    def _maximise_covariates(
        self, paths: Paths, names: Sequence[str], max_steps: int, seed: int
    ) -> JumpResult:
        design = self.design(names)
        emission, labels = self.observation.start(paths, names, subseed(seed, "states"))
        starts = crude_starts(labels, len(names), design.scheme)
        initial = self._weights_of_first(paths, names)
        entries = self.observation.entries_among(names)
        if paths.discrete:
            paths = self.observation.codes(names).coded(paths)
        first_x = None
        if self.initial_covariates is not None:
            first = self.first_design(names)
            first_x = first.of_paths(paths)
            first.check_identified(first_x)
        is_conditional = initial is not None
        data = CovariatePaths.with_design(paths, design, entries, is_conditional)
        prior = log_rate_prior(starts.counts, design.scheme, self.prior_width)
        problem = CovariateProblem(
            data=data,
            design=design,
            emission=emission,
            initial=initial,
            prior=prior,
            first_x=first_x,
        )
        generators = starts.generators
        n_observed = data.n_observed
        if isinstance(self.observation, ExactLabels):
            # Labels that are thinned out help where they may be wrong.
            generators = exact_starts(starts.counts, design.scheme.allowed)
            n_observed = starts.counts.n_observed
        result = fit_covariates(problem, generators, n_observed, max_steps)
        self.observation.warn_of_fit(emission, result.emission, names)
        return _with_shares(result, starts.counts, initial)

    def _weights_of_first(self, paths: Paths, names: Sequence[str]) -> Tensor | None:
        """Weights ``(S,)`` of first states that labels tell for sure; None to fit them."""
        if not self.observation.conditional or self.initial_covariates is not None:
            return None
        codes = self.observation.codes(names)
        if codes.is_needed and not codes.tell_first(codes.coded(paths)):
            return None
        # Given the first states, their chances are no part of the likelihood.
        return torch.ones(len(names), dtype=torch.float64)

    def _warn_without_memory(self, result: JumpResult, paths: Paths) -> None:
        """Warn where the gaps are too long to tell the rates."""
        data = None
        if not paths.discrete:
            data = HiddenPaths.of(paths)
        is_exact = isinstance(self.observation, ExactLabels)
        warn_without_memory(result, paths, data, is_exact)

    def _prior_alone(self, paths: Paths, names: Sequence[str]) -> ndarray:
        """States ``(S,)`` bool of which the labels say little or nothing, with a warning."""
        flat = FlatLabels.of(paths)
        n_states = len(names)
        is_silent = flat.is_silent(n_states)
        # A cell of a clone is seen once, and need not be seen to leave.
        is_stuck = np.zeros_like(is_silent)
        if self.clones is None:
            possible_jumps = self.jumps.scheme(names).allowed
            can_be_left = possible_jumps.any(1).numpy()
            is_stuck = can_be_left & flat.is_never_left(n_states)
            _warn_of_parts(flat.parts(n_states), possible_jumps.numpy(), names)
        _warn_of_prior(names, is_silent, is_stuck)
        return is_silent | is_stuck


def _with_shares(result: JumpResult, counts: PanelCounts, initial: Tensor | None) -> JumpResult:
    """The result with the shares of first labels, where first states were not fitted."""
    if initial is None:
        return result
    # Half a first observation of every state: none of them is impossible.
    first = counts.starts + 0.5
    return replace(result, initial=first / first.sum())


def _warn_of_parts(parts: Sequence[ndarray], allowed: ndarray, names: Sequence[str]) -> None:
    """Warn where jumps are allowed between states that no path is seen to connect."""
    if len(parts) < 2:
        return
    first, second, *_ = parts
    between = allowed[np.ix_(first, second)]
    back = allowed[np.ix_(second, first)]
    if between.any() or back.any():
        some = display.listed([names[state] for state in first])
        others = display.listed([names[state] for state in second])
        warn(
            f"no path is seen to go between the states {some} and the states {others}: the rates "
            "between them, and so what follows in the long run, are the prior's and not the "
            "data's; fit each part alone, or say which jumps can happen, jumps=Only([...])",
            UserWarning,
        )


def _warn_of_prior(names: Sequence[str], is_silent: ndarray, is_stuck: ndarray) -> None:
    """Warn of states that no label names, and of those that no path is seen to leave."""
    silent = list(compress(names, is_silent))
    if silent:
        warn(
            f"no label names state {display.listed(silent)}: its rates are the prior's and not "
            "the data's; leave it out of the states, or number the states from 0",
            UserWarning,
        )
    stuck = list(compress(names, is_stuck))
    if stuck:
        warn(
            f"no path is seen to leave state {display.listed(stuck)}: the rates out of it are "
            "the prior's and not the data's; if it is absorbing, say which jumps can happen, "
            "jumps=Only(['from>to', ...])",
            UserWarning,
        )
