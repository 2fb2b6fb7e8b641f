"""A learned model in the units of the data: its process, its posterior, its simulations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor, nn

from dyninfer.data.paths import Paths
from dyninfer.data.trajectories import Trajectories
from dyninfer.fractional.inference.exact import ExactModel
from dyninfer.fractional.inference.finite import traced
from dyninfer.fractional.inference.intervals import curve_interval, hurst_interval
from dyninfer.fractional.inference.layout import unit_scaling
from dyninfer.fractional.inference.neural import NeuralModel
from dyninfer.fractional.inference.posterior import PathPosterior
from dyninfer.fractional.inference.process import process_of
from dyninfer.fractional.inference.series import Series
from dyninfer.fractional.inference.starts import FirstStates
from dyninfer.fractional.process import FractionalDiffusion
from dyninfer.fractional.solver import FractionalEuler
from dyninfer.learning.budget import check_memory
from dyninfer.learning.random import stream
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.settings import check_level
from dyninfer.simulation import simulate


@dataclass(frozen=True)
class FittedEquation:
    """What was learned, in the units of the data.

    Attributes
    ----------
    model : ExactModel or NeuralModel
        Standardised.
    scaling : Scaling
        Units of the features; its unit of time is the data's.
    is_latent : bool
        Whether the coordinates are read out; they have no units then.
    facts : dict
        Those of :func:`facts_of`.
    error_columns : tuple of str
        Columns of covariates that hold an error for every position.
    """

    model: ExactModel | NeuralModel
    scaling: Scaling
    is_latent: bool
    facts: dict[str, Any]
    error_columns: tuple[str, ...] = ()

    def process(self, per_dimension: bool) -> FractionalDiffusion:
        """The equation of the coordinates, with an index for each or one for all."""
        scaling = self.scaling
        if self.is_latent:
            scaling = unit_scaling(self.model.prior.n_states)
        return process_of(self.model, scaling, per_dimension)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.prior.log_noise.device

    @property
    def observation_noise(self) -> ndarray:
        """Standard deviation of the observations around the state, ``(feature,)``."""
        log_noise = self.model.prior.log_noise.detach()
        deviation = log_noise.exp().cpu()
        return self.scaling.user_displacements(deviation).numpy()

    @property
    def moments(self) -> ndarray | None:
        """Times at which an index that changes is shown, or None of one that is constant."""
        index = getattr(self.model.prior, "index", None)
        if index is None:
            return None
        return index.moments.cpu().numpy()

    @torch.no_grad()
    def hurst_at(self, times: ndarray) -> ndarray:
        """An index that changes, at times ``(n,)``: ``(n,)``."""
        prior: Any = self.model.prior
        moments = torch.from_numpy(times).to(self.device)
        return prior.index(moments).cpu().numpy()

    @property
    def reason_against_interval(self) -> str | None:
        """Why the index has no interval, or None where it has one."""
        if not isinstance(self.model, ExactModel):
            return (
                "the interval comes from the curvature of an exact likelihood, which a model "
                "trained on its bound has not; compare fits with hurst fixed by their "
                "log_likelihoods, or fit the linear model"
            )
        if "n_index_numbers" in self.facts:
            return (
                f"hurst is made of {self.facts['n_index_numbers']} numbers, of which no second "
                "derivatives are taken for an interval; use a smaller module, or knots"
            )
        if "information" not in self.facts:
            return "hurst was given and not learned, so it has no interval; fit with hurst=None"
        return None

    def hurst_interval(self, level: float, times: ndarray | None) -> ndarray:
        """Interval of every index, or at every time, where the likelihood has a curvature.

        Returns
        -------
        array
            ``(1, 2)`` or ``(d, 2)``; ``(n, 2)`` at times ``(n,)`` of an index that changes.

        Raises
        ------
        ValueError
            If ``level`` does not lie between 0 and 1, the model was trained on its bound, or the
            index was given.
        """
        check_level(level)
        reason = self.reason_against_interval
        if reason is not None:
            raise ValueError(reason)
        if times is not None:
            moments = torch.from_numpy(times).to(self.device)
            return curve_interval(self.model.prior, self.facts, moments, level)
        information = np.asarray(self.facts["information"])
        return hurst_interval(self.model.prior, information, level)

    def posterior(self, paths: Paths) -> PathPosterior:
        """What lies behind observed paths."""
        gap = self.facts["gap"]
        return PathPosterior(self.model, paths, self.scaling, gap, self.error_columns)

    def log_weights(self, paths: Paths, n_samples: int, seed: int) -> Tensor:
        """``log p(o, path) − log q(path)`` of draws, ``(n_samples, path)``."""
        series = Series.of(paths)
        if isinstance(self.model, ExactModel):
            series = Series.of_values(paths, self.error_columns)
        standardised = series.scaled(self.scaling)
        on_device = standardised.to(self.device)
        weights = self.model.log_weights(on_device, n_samples, seed).cpu()
        # A density per user's unit: one factor of the scale for every observed value.
        log_scale = self.scaling.scale.log().cpu()
        log_units = series.mask * log_scale
        return weights - log_units.sum((1, 2))

    def features(self, states: Tensor, content: Tensor | None = None) -> Tensor:
        """Features of states ``(path, time, d)``, of paths with content ``(path, content_dim)``."""
        if not self.is_latent:
            return states
        means = self.model.decode(states, content)
        return self.scaling.user_states(means)

    def prior_states(self, n_paths: int | None, seed: int) -> Tensor:
        """First states from their learned distribution, ``(n_paths, d)``."""
        if n_paths is None:
            raise ValueError(
                "n_paths is needed to draw first states: simulate(None, times, n_paths=...)"
            )
        if self.model.content_dim:
            raise ValueError(
                "the content of a path is read from data; start from Paths, or set content_dim=0"
            )
        # Before they are drawn: the run checks its own memory.
        n_states = len(self.scaling.shift)
        n_bytes = 4 * n_paths * n_states
        check_memory(n_bytes, f"{n_paths} paths", torch.device("cpu"))
        generator = stream(seed, "start", device=self.device)
        states = self.model.prior.draw_states(n_paths, generator)
        if self.is_latent:
            return states
        return self.scaling.user_states(states)

    @torch.no_grad()
    def simulate(
        self,
        process: nn.Module,
        first: FirstStates,
        times: ndarray,
        options: dict[str, Any],
    ) -> Trajectories:
        """Run the process and read the features out; ``options`` are those of ``simulate``.

        Raises
        ------
        ValueError
            If a module of the user's own returns numbers that are not finite.
        """
        solver = FractionalEuler(self._longest_step(times))
        options = {"solver": solver, **options}

        def run() -> Trajectories:
            result = simulate(process, first.states, times, **options)
            content = first.content_of(result.origin)
            features = self.features(result.states, content)
            names: Any = None  # those of the states; the caller knows the features'
            return replace(result, states=features, features=names)

        result = self._traced(run)
        # Single precision is enough for what is looked at, and half as large.
        single = result.to(dtype=torch.float32)
        return replace(single, origin=first.origin_of(result.origin))

    def _traced(self, run: Callable[[], Trajectories]) -> Trajectories:
        if isinstance(self.model, ExactModel):
            return run()
        return traced(self.model, run, lambda result: result.states, lambda: "in a simulation")

    def _longest_step(self, times: ndarray) -> float | None:
        """A hundredth of the span, or the short gap of the data if that is less."""
        span = float(times[-1] - times[0])
        # No finer than 5000 steps, however short the gaps of the data.
        finest = span / 5000
        shortest = max(self.facts["tau"], finest)
        return min(span / 100, shortest) or None
