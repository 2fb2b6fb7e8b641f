"""What a jump inference asks of a fitted model: likelihoods, hidden states, and its file."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.data.paths.observed import past_of
from dyninfer.data.time_reading import as_moment
from dyninfer.estimators.paths import PathEstimator
from dyninfer.estimators.state_columns import state_columns
from dyninfer.jumps.covariates import Effects
from dyninfer.jumps.formula import formula_columns
from dyninfer.jumps.inference import JumpInference
from dyninfer.jumps.likelihood.clones import ClonePaths
from dyninfer.jumps.likelihood.covariate_paths import CovariatePaths
from dyninfer.jumps.likelihood.discretize import StateRule
from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.likelihood.observation import Emission
from dyninfer.jumps.posterior.effects import CovariateEffects
from dyninfer.jumps.posterior.initial_effects import InitialEffects
from dyninfer.jumps.posterior.result import JumpResult
from dyninfer.jumps.posterior.summaries import state_table
from dyninfer.jumps.process import MarkovJump
from dyninfer.jumps.settings import Confusion, Labels, Observation, as_observation
from dyninfer.jumps.starting import last_states

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(kw_only=True, repr=False, eq=False)
class JumpEstimator(PathEstimator):
    """Base of the methods that learn a jump process: all but settings and derived quantities."""

    takes_covariates: ClassVar[bool] = True

    if TYPE_CHECKING:
        # Settings are those of the method, which documents them.
        observation: Observation | str
        states: StateRule | None
        covariates: Effects | None
        initial_covariates: str | None

    @abstractmethod
    def _inference(self) -> JumpInference:
        """The settings, without short spellings."""

    @abstractmethod
    def build(self, data: Paths | None, scaling: Any) -> MarkovJump:
        """Return the untrained process."""

    def log_likelihoods(self, paths: Paths, seed: int = 0) -> np.ndarray:
        """Log-likelihood of every path ``(n,)``, its first observation included.

        −inf where a path is impossible. The log-likelihood of a clone is divided evenly among its
        paths.
        """
        self._check_fitted()
        data = self._prepared(self._as_paths(paths))
        likelihood = data.log_likelihood(*self._model(data))
        if isinstance(data, ClonePaths):
            likelihood = data.per_path(likelihood)
        return likelihood.cpu().numpy()

    def states_at(self, paths: Paths, time: float, seed: int = 0, n_draws: int = 1) -> Tensor:
        """States ``(path · draw,)`` at the last observation of each path up to ``time``.

        They are drawn given all observations of the path up to then; a ValueError names a path
        whose observations are impossible.
        """
        # At the end of a path smoothing is filtering: all that is known is the past.
        past = past_of(paths, time)
        prepared = self._prepared(past)
        probability = prepared.smooth(*self._model(prepared))
        return last_states(past, probability, n_draws, seed)

    def observations(self, paths: Paths) -> Paths:
        """Paths as the fit sees them: labels as state numbers of the process, or values."""
        observed = self._observed(paths, self.facts_["states"])
        if not observed.discrete:
            return observed
        # Other paths may lack a state, and number the others differently.
        codes = as_observation(self.observation).codes(self.process_.state_names)
        return codes.plain(observed)

    def generator_at(self, covariates: Any, time: float | None = None) -> np.ndarray:
        """Generator ``(S, S)`` at given covariates, or ``(row, S, S)`` of a table of them.

        Parameters
        ----------
        covariates : mapping or DataFrame
            One value for each covariate: ``{"sex": "f", "age": 40}``.
        time : float, optional
            For rates that change in time; by default in the first period.

        Raises
        ------
        ValueError
            If a covariate is missing or unknown, or the model has none.
        """
        self._check_fitted()
        if self.effects_ is None:
            raise ValueError("the model has no covariates; its rates are generator_")
        moment = -np.inf if time is None else as_moment(time, "time")
        return self.effects_.generators(covariates, moment).numpy()

    @property
    def rate_columns(self) -> tuple[str, ...]:
        """Columns of covariates that rates depend on."""
        return () if self.covariates is None else self.covariates.columns

    @property
    def covariate_columns(self) -> tuple[str, ...]:
        """Columns of covariates that rates or first states depend on."""
        columns = list(self.rate_columns)
        if self.initial_covariates is not None:
            columns += formula_columns(self.initial_covariates)
        return tuple(dict.fromkeys(columns))

    def covariates_of(self, data: AnnData | Paths) -> pd.DataFrame | None:
        """Covariates that rates depend on, one row per observation, or None.

        Rows are in the order of :meth:`posterior_states`.
        """
        columns = list(self.rate_columns)
        if not columns:
            return None
        paths = self._as_paths(data)
        assert paths.covariates is not None
        return paths.covariates[columns]

    def continuation(self, paths: Paths, n_draws: int) -> dict[str, Any]:
        """Covariates of the last observation of every path, for all of its draws."""
        if not self.rate_columns:
            return {}
        assert paths.covariates is not None
        last = np.cumsum(paths.lengths) - 1
        return {"covariates": paths.covariates.iloc[np.repeat(last, n_draws)]}

    def decoded_features(self) -> tuple[str, ...]:
        """States are one feature, even where a signal has several."""
        return ("state",)

    def posterior_states(self, data: AnnData | Paths) -> pd.DataFrame:
        """Hidden states of observed paths: smoothed, and as the likeliest sequence (Viterbi).

        One row per observation: ``path``, ``time``, ``state`` (the most probable given the whole
        path), its ``probability``, and ``viterbi``.
        """
        self._check_fitted()
        paths = self._as_paths(data)
        names = self.process_.state_names
        prepared = self._prepared(paths)
        return state_table(paths, prepared, self._model(prepared), names)

    def state_probabilities(self, data: AnnData | Paths) -> np.ndarray:
        """Probabilities ``(path, L, S)`` of the states at every observation, given whole paths.

        ``L`` is the length of the longest path; entries past the end of a path mean nothing. States
        are in the order of ``process_.state_names``; rates follow the covariates of each path.
        """
        self._check_fitted()
        paths = self._as_paths(data)
        prepared = self._prepared(paths)
        with torch.no_grad():
            smoothed = prepared.smooth(*self._model(prepared))
        return smoothed.cpu().numpy()

    def annotations(self, adata: AnnData) -> dict[str, Any]:
        """The most probable state of every row, and its probability."""
        table = self.posterior_states(adata)
        names = self.process_.state_names
        return state_columns(table, adata, self.source_, names, self._covered_times())

    @property
    def states_(self) -> pd.DataFrame | None:
        """What the rule learned, one row per state."""
        self._check_fitted()
        rule = self.facts_["states"]
        return None if rule is None else pd.DataFrame(rule)

    def _take(self, result: JumpResult) -> None:
        self.result_, self.fit_ = result, result.fit
        self.emission_, self.posterior_ = result.emission, result.posterior
        self.ess_ = result.posterior.ess
        self.generator_, self.initial_ = result.generator.numpy(), result.initial.numpy()
        # A signal has no labels, and exact ones have no error rate that was learned.
        learns_noise = isinstance(as_observation(self.observation), Labels | Confusion)
        self.noise_ = float(cast(Any, result.emission).error_rate) if learns_noise else None
        self._rates = self.effects_ = self.initial_effects_ = None
        inference = self._inference()
        if not inference.has_design:
            return
        names = self.facts_["state_names"]
        fit = result.fit
        assert fit is not None
        self._rates = CovariateEffects(inference.design(names), fit, names)
        if self.covariates is not None:
            self.effects_ = self._rates
        if self.initial_covariates is not None:
            design = inference.first_design(names)
            self.initial_effects_ = InitialEffects(design, fit, names)

    def _observed(self, paths: Paths, rule: dict[str, list[float]] | None) -> Paths:
        """Paths as the likelihood takes them: labels, or numbers of a Gaussian observation."""
        if self.states is not None:
            return self.states.label(paths, pd.DataFrame(rule))
        as_observation(self.observation).check_paths(paths)
        return paths

    def _prepared(self, paths: Paths) -> HiddenPaths | ClonePaths:
        """Paths for the likelihood of what was learned."""
        observed = self._observed(paths, self.facts_["states"])
        data = self._inference().prepare(observed, self.facts_["state_names"])
        if self.initial_effects_ is not None:
            assert isinstance(data, CovariatePaths)
            data = data.starting(self.initial_effects_.of_paths(paths))
        return data.to(self._device)

    def _model(
        self, data: HiddenPaths | ClonePaths | None = None
    ) -> tuple[Tensor, Emission, Tensor]:
        """Rates, observation model and first states; rates of every row of covariates."""
        result = self.result_
        generator = result.generator
        initial = result.initial
        if isinstance(data, CovariatePaths):
            assert self._rates is not None
            generator = self._rates.of_rows(data.x)
            # Where paths have first states of their own, these are in the data.
            if data.log_first is not None:
                initial = torch.ones_like(initial)
        device = self._device
        emission = result.emission.map(lambda tensor: tensor.to(device))
        return generator.to(device), emission, initial.to(device)

    @property
    def _device(self) -> torch.device:
        """Where the process is, and what is asked of paths is computed."""
        return self.process_.generator.device

    def _tensors(self) -> dict[str, Tensor]:
        return super()._tensors() | self.result_.tensors()

    def _metadata(self) -> dict[str, Any]:
        return super()._metadata() | {"result": self.result_.facts()}

    def _restore_process(
        self, metadata: dict[str, Any], tensors: dict[str, Tensor], device: torch.device
    ) -> None:
        names = self.facts_["state_names"]
        result = self._inference().restored(names, tensors, metadata["result"], self.history_)
        self._take(result)
        self._keep(self._process())
        self._move(device)

    def _process(self) -> MarkovJump:
        """What was learned: where there are covariates, the process at which all are 0."""
        initial = self.result_.initial
        names = self.facts_["state_names"]
        if self.effects_ is None:
            return MarkovJump(self.result_.generator, initial=initial, state_names=names)
        process = self.effects_.process()
        breaks = self.effects_.design.effects.break_times or None
        return MarkovJump(process.generator, initial, names, breaks)
