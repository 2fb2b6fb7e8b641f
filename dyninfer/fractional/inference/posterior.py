"""The posterior of observed paths: what lies behind their noise, between and after them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.data.time_reading import requested_times
from dyninfer.data.times import Clock
from dyninfer.data.trajectories import Trajectories
from dyninfer.fractional.inference.series import Series
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.settings import check_count, check_seed
from dyninfer.learning.surroundings import own_surroundings

# Steps of a forecast at most: an equation is stepped no finer than this over its whole length.
_MOST_STEPS = 5000


class PathPosterior:
    """What lies behind observed paths, given all that is observed of each.

    Parameters
    ----------
    model : ExactModel or NeuralModel
        Standardised.
    paths : Paths
        In the user's units.
    scaling : Scaling
        Units of the features.
    gap : float
        Longest step of a nonlinear equation after the last observation.
    error_columns : tuple of str
        Columns of covariates that hold an error for every position.
    """

    def __init__(
        self,
        model: Any,
        paths: Paths,
        scaling: Scaling,
        gap: float,
        error_columns: tuple[str, ...] = (),
    ):
        self.model = model
        self.paths = paths
        self.scaling = scaling
        self.gap = gap
        self.error_columns = error_columns

    @own_surroundings()
    def draw(
        self,
        times: Sequence[float] | ndarray | None = None,
        n_samples: int = 100,
        seed: int = 0,
    ) -> Trajectories:
        """Draw the features behind the noise of the observations.

        Parameters
        ----------
        times : sequence of float
            Times to draw the paths at, none of them before a path begins; by default all times of
            the data from where the last path begins. Beyond its last observation, a path is a
            forecast.
        n_samples : int
            Draws per path.
        seed : int

        Returns
        -------
        Trajectories
            ``n_samples`` rows per path, one path after another; ``origin`` names the path.
            Observation noise is not added.

        Raises
        ------
        ValueError
            If a path begins after one of the times, or a module of the user's own returns numbers
            that are not finite.
        """
        if times is None:
            times = self._observed_times()
        times = requested_times(times)
        _, means = self._draw(times, n_samples, seed)
        states = self.scaling.user_states(means)
        features = tuple(str(name) for name in self.paths.features)
        return Trajectories(
            states=states.float(),
            times=torch.as_tensor(times),
            features=features,
            origin=np.repeat(self.paths.names, n_samples),
            attrs={"seed": seed},
        )

    def states_at(self, time: float, seed: int = 0, n_draws: int = 1) -> Tensor:
        """Draws of the standardised state of every path at a time, ``(path · draw, d)``."""
        times = np.array([time])
        states, _ = self._draw(times, n_draws, seed)
        return states[:, 0]

    @torch.no_grad()
    def content(self) -> Tensor | None:
        """What stays the same along every path, ``(P, content_dim)``, where a decoder needs it."""
        if not self.model.content_dim:
            return None
        series = Series.of(self.paths)
        return self.model.content(self._standardised(series))

    def _standardised(self, series: Series) -> Series:
        """A series as the model takes it, where the model is."""
        device = self.model.prior.log_noise.device
        return series.scaled(self.scaling).to(device)

    def _draw(self, times: ndarray, n_samples: int, seed: int) -> tuple[Tensor, Tensor]:
        """States ``(path · sample, time, d)``, and their readout, standardised."""
        n_samples = check_count(n_samples)
        seed = check_seed(seed)
        # The times that were asked for come first, so that they can be told from the others.
        steps = self._steps_between(times)
        query = np.concatenate([times, steps])
        standardised = self._standardised(Series.of(self.paths, query, self.error_columns))
        n_times = len(times)
        positions = standardised.queried[:, :n_times]
        states, means = self.model.draw(standardised, n_samples, seed)
        states_at = _at_positions(states, positions)
        means_at = _at_positions(means, positions)
        return states_at, means_at

    def _observed_times(self) -> ndarray:
        """All times of the data from where the last path begins."""
        begins = [times[0] for times in self.paths.times]
        own_times = np.concatenate(self.paths.times)
        every = Clock.of(own_times).times
        is_begun = every >= max(begins)
        return every[is_begun]

    def _steps_between(self, times: ndarray) -> ndarray:
        """Further times of a nonlinear equation, where a forecast has longer gaps than the data."""
        end = float(times.max())
        begins = [float(own[0]) for own in self.paths.times]
        ends = [float(own[-1]) for own in self.paths.times]
        first_end = min(ends)
        if not self.model.needs_steps or end <= first_end:
            return np.zeros(0)
        # No path may be asked for before it begins.
        begin = max(first_end, max(begins))
        finest = (end - begin) / _MOST_STEPS
        step = max(self.gap, finest)
        return np.arange(begin, end, step)


def _at_positions(x: Tensor, positions: Tensor) -> Tensor:
    """``(n_samples, P, L, d)`` at positions ``(P, time)``: ``(P · n_samples, time, d)``."""
    n_samples, *_, d = x.shape
    of_each = positions[None, ..., None]
    index = of_each.expand(n_samples, -1, -1, d)
    draws = x.gather(2, index)
    # Draws of one path lie together.
    by_path = draws.transpose(0, 1)
    return by_path.flatten(0, 1)
