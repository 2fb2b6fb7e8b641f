"""Methods that learn from paths: what each inherits, and the little that it must define."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import dyninfer
from dyninfer.data import keys, trajectory_stream
from dyninfer.data.columns import time_column
from dyninfer.data.paths import Paths
from dyninfer.data.paths.observed import digest, filled, last_values, observed_at
from dyninfer.data.reading import is_anndata, read_features, read_paths, reread_paths
from dyninfer.data.time_reading import requested_times
from dyninfer.data.trajectories import Trajectories
from dyninfer.diffusions.scaled import fields_at
from dyninfer.estimators.base import Estimator, Provenance, Reading, Run
from dyninfer.estimators.cautions import warn_beyond
from dyninfer.estimators.running_on import backtest, run_on
from dyninfer.estimators.starts import with_origin
from dyninfer.estimators.unused import refuse_unused_condition
from dyninfer.learning.budget import check_memory
from dyninfer.learning.random import subseed
from dyninfer.learning.scaling import ScaleMode, Scaling
from dyninfer.learning.settings import brief, check_count, check_seed
from dyninfer.metrics.forecasts import Forecasts
from dyninfer.simulation import simulate

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(kw_only=True, repr=False, eq=False)
class PathEstimator(Estimator):
    """Base of the methods that learn from :class:`~dyninfer.Paths`, time series of individuals.

    A method is a keyword-only dataclass in a file of its own; :class:`Estimator` says what it
    defines. If the process does not move in the space of the features, or observations are not
    exact, it also defines some of

    * ``states_at(paths, time, seed, n_draws)``: states of the process behind observed paths;
    * ``decode(states)``: features of such states;
    * ``observe(states, seed)``: observations of such states, with their noise;
    * ``posterior(data)``: the states behind observed paths, given each whole path; its
      ``draw(times, n_samples, seed)`` makes forecasts, the rows of a path together;
    * ``log_likelihoods(paths, seed)``: one number for every path.
    """

    takes_covariates: ClassVar[bool] = False  # whether some setting makes use of them
    discrete: ClassVar[bool] = False  # whether states are learned from, and not numbers
    reason_against_snapshots: ClassVar[str] = "they do not say which cell became which"
    scale: ClassVar[ScaleMode] = "feature"

    @property
    def uses(self) -> frozenset[str]:
        """Keys that are learned from besides times, paths and states; by default none."""
        return frozenset()

    @property
    def covariate_columns(self) -> tuple[str, ...]:
        """Columns of covariates that are learned from; by default none."""
        return ()

    def search_space(self, paths: Paths) -> dict[str, list[dict[str, Any]]]:
        """Groups of settings worth trying, for :func:`dyninfer.tools.tune`, simplest first."""
        return {}

    def continuation(self, paths: Paths, n_draws: int) -> dict[str, Any]:
        """Arguments that :meth:`simulate` needs, besides states, to continue observed paths."""
        return {}

    def log_likelihoods(self, paths: Paths, seed: int = 0) -> np.ndarray | None:
        """Log-likelihood of every path ``(n,)`` in nats, or None where it is not known."""
        return None

    def states_at(self, paths: Paths, time: float, seed: int = 0, n_draws: int = 1) -> Tensor:
        """States of the process at ``time``, given what is observed up to then.

        By default the last observation of each path up to then, feature by feature.

        Returns
        -------
        Tensor ``(path · draw, d)`` or ``(path · draw,)``
            The draws of a path are together.
        """
        last = torch.as_tensor(last_values(paths, time))
        # Observations are exact here, so all draws are the same.
        return last.repeat_interleave(n_draws, dim=0)

    def decode(self, states: Tensor) -> Tensor:
        """Features of states of the process ``(path, time, d)``; by default the same."""
        return states

    def decoded_features(self) -> tuple[str, ...]:
        """Names of what :meth:`decode` returns; by default those of the data."""
        return tuple(str(name) for name in self.feature_names_in_)

    def observe(self, states: Tensor, seed: int = 0) -> Tensor:
        """Observations of decoded states ``(path, time, feature)``; by default exact."""
        return states

    def fit(
        self,
        data: AnnData | Paths,
        *,
        time_key: str | None = None,
        path_key: str | None = None,
        state_key: str | None = None,
        use_rep: str | None = None,
        condition_key: str | None = None,
        hold_out: str | list[str] | None = None,
        seed: int = 0,
        max_steps: int | None = None,
        progress: bool = True,
        checkpoint: str | Path | None = None,
        resume: bool = False,
    ) -> Self:
        """Learn the process behind the paths.

        Parameters
        ----------
        data : AnnData or Paths
            An AnnData has one row per path and time, in any order. It is not changed.
        time_key : str
            Column of ``obs`` with the times of an AnnData: numbers, numeric text or categories, or
            timedeltas.
        path_key : str
            Column of ``obs`` that names the path of each row: a tracked cell, a clone, a recording.
        state_key : str, optional
            Column of ``obs`` with discrete states, categories or whole numbers; missing is a gap.
        use_rep : str, optional
            Key of ``obsm``, a layer, or "X", with continuous states; by default
            ``obsm["X_pca"]`` if present, else ``X``.
        condition_key : str, optional
            Column of ``obs`` with a label for every path, for methods that use one.
        hold_out : str or list of str, optional
            Names of paths removed before anything else is computed.
        seed : int
            Fixes every draw.
        max_steps : int, optional
            Largest number of steps, for a method that takes steps.
        progress : bool
            Show a progress bar, if the method takes long enough to have one.
        checkpoint : path, optional
            File that keeps the state of training, or the result of a method without steps.
        resume : bool
            Continue from the checkpoint if it exists, or take the finished result from it.

        Returns
        -------
        self
            With ``process_``, ``history_`` and ``status_``.

        Raises
        ------
        KeyError, TypeError, ValueError
            If a key, a time or a value in the data is invalid; the message names it.
        """
        source = keys.chosen(locals(), keys.PATH_KEYS)
        run = Run(
            seed=seed, max_steps=max_steps, progress=progress, checkpoint=checkpoint, resume=resume
        )
        return self._fit(data, source, hold_out, run)

    @trajectory_stream.streams
    def simulate(
        self,
        start: Any,
        times: Sequence[float] | np.ndarray,
        *,
        n_paths: int | None = None,
        noise: Any = None,
        backward: bool = False,
        seed: int = 0,
        **solver_options: Any,
    ) -> Trajectories:
        """Run the learned process.

        Parameters
        ----------
        start : array ``(n, d)``, AnnData or Paths
            Starting states of the process; for an AnnData or paths, the states of the paths that
            are fully observed at ``times[0]``.
        times : sequence of floats
            Times to store, in the unit of the data; descending with ``backward=True``.
        n_paths : int, optional
            Number of paths; by default one for every starting state.
        noise : float or callable, optional
            ε of the stochastic simulation, for processes with a score.
        backward : bool
            Run backward in time.
        seed : int
            Fixes every draw.
        **solver_options
            See :func:`dyninfer.simulate`.

        Returns
        -------
        Trajectories
            Features, without the noise of observations.
        """
        self._check_fitted()
        times = requested_times(times)
        x0, names = self._starting(start, float(times[0]), seed)
        warn_beyond(self._covered_times(), times, "simulating")
        run = simulate(
            self.process_,
            x0,
            times,
            n_paths=n_paths,
            noise=noise,
            backward=backward,
            seed=seed,
            **solver_options,
        )
        run = with_origin(run, names)
        states = self.decode(run.states)
        return replace(run, states=states, features=self.decoded_features())

    def observations(self, paths: Paths) -> Paths:
        """Paths to compare with what ``observe`` returns; by default the paths themselves."""
        return paths

    def forecast(
        self,
        data: AnnData | Paths,
        times: Sequence[float] | np.ndarray,
        *,
        n_samples: int = 100,
        seed: int = 0,
    ) -> Trajectories:
        """Draw the future of observed paths given their past.

        Drawn from the posterior, if the method has one; else the process continues from the state
        behind the last observation of each path.

        Parameters
        ----------
        data : AnnData or Paths
        times : sequence of float
            Increasing, after the last observation of all paths.
        n_samples, seed : int
            Draws per path.

        Returns
        -------
        Trajectories
            ``n_samples`` rows per path, path by path; ``origin`` names the path. They hold the
            features, without observation noise.
        """
        self._check_fitted()
        paths = self._as_paths(data)
        times = requested_times(times)
        last = max(t[-1] for t in paths.times)
        # What was observed is not forecast, even between two observations.
        if times.min() <= last:
            raise ValueError(
                f"times of a forecast must lie after the last observation, at {last:g}; "
                f"found {times.min():g}"
            )
        n_draws = check_count(n_samples, "n_samples") * len(paths)
        check_seed(seed)
        # Eight bytes for each draw of the state, at least.
        n_bytes = 8 * n_draws * len(times)
        check_memory(n_bytes, f"{brief(n_draws)} draws at {len(times)} times")
        # All of the past says more than the last observation, where a method can ask it.
        posterior = getattr(self, "posterior", None)
        if posterior is not None:
            warn_beyond(self._covered_times(), times, "forecasting")
            return posterior(paths).draw(times, n_samples=n_samples, seed=seed)
        return run_on(self, paths, times, n_samples, seed)

    def evaluate(
        self,
        data: AnnData | Paths,
        *,
        by: str = "path",
        past_fraction: float = 0.5,
        n_samples: int = 50,
        max_paths: int | None = 100,
        n_intervals: int = 5,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Compare what was learned with observed paths: likelihood, and scores of forecasts.

        The first half of the observations of each path is given (``past_fraction=0.5``). The rest
        is forecast from it as in :meth:`forecast`, with observation noise.

        Parameters
        ----------
        data : AnnData or Paths
            Read by the keys that ``fit`` was given.
        by : {"path", "time", "reliability"}
            One row per path, per interval of time, or per bin of predictions.
        past_fraction : float
            Share of the observations that forecasts start from.
        n_samples : int
            Draws per forecast, at least two.
        max_paths : int, optional
            Most paths to forecast, drawn at random if there are more; None forecasts all.
        n_intervals : int
            Number of time intervals, with equally many forecasts in each.
        seed : int

        Returns
        -------
        DataFrame
            By path: its name, whether it was ``held_out``, its number of ``observations``, the
            number of ``forecasts`` and their mean scores. A method with a likelihood adds
            ``log_likelihood`` in nats, and the same ``per_observation``.

            By time: mean, ``start`` and ``end`` of the interval, ``forecasts``, their mean scores,
            and distances between everything forecast and everything observed there: ``w1`` and
            ``energy`` for values, ``hellinger`` for states, each with its ``_floor``, that of a
            perfect model.

            Scores are ``crps`` (mean over the features) and ``energy_score`` for values, in their
            units, and ``brier`` for states. Columns that end in ``_still`` score the last given
            observation, held still. ``coverage`` is the share of observations within the central 90
            % of their forecasts. By reliability: as in :func:`dyninfer.metrics.reliability`.
        """
        self._check_fitted()
        if not isinstance(by, str) or by not in ("path", "time", "reliability"):
            raise ValueError(f"by must be 'path', 'time' or 'reliability', found {brief(by)}")
        paths = self._as_paths(data)

        def forecasts() -> Forecasts:
            return backtest(self, paths, past_fraction, n_samples, max_paths, seed)

        if by == "reliability":
            return forecasts().reliability()
        if by == "time":
            return forecasts().by_time(check_count(n_intervals, "n_intervals"), seed)
        is_held_out = np.isin(paths.names, self.hold_out_)
        columns = {"path": paths.names, "held_out": is_held_out, "observations": paths.lengths}
        table = pd.DataFrame(columns)
        likelihood = self.log_likelihoods(paths, seed)
        if likelihood is not None:
            table["log_likelihood"] = likelihood
            table["per_observation"] = likelihood / paths.lengths
        # Single cells of clones: there is nothing to forecast.
        if paths.lengths.max() == 1:
            return table
        return table.join(forecasts().by_path(len(paths)))

    def annotations(self, adata: AnnData) -> dict[str, Any]:
        """Velocity at every row, if the process moves in the space of the features."""
        paths = self._as_paths(adata)
        # A velocity of hidden states would not point anywhere among the features.
        moves_features = type(self).decode is PathEstimator.decode
        has_velocity = moves_features and hasattr(self.process_, "drift")
        if paths.discrete or not has_velocity:
            return {}
        times = time_column(adata, self.source_["time_key"])
        warn_beyond(self._covered_times(), times, "annotating")
        x = read_features(adata, self._known())
        fields = fields_at(self.process_, times, x)
        return {keys.VELOCITY: fields["drift"]}

    def read(self, data: Any, source: dict[str, Any], hold_out: Any, run: Run) -> Reading:
        """Paths without those that are held out; see :meth:`Estimator.read`."""
        refuse_unused_condition(self, source["condition_key"], data)
        if self.covariate_columns and is_anndata(data):
            source = source | {"covariate_keys": list(self.covariate_columns)}
        reader = f"{type(self).__name__}.fit"
        every = read_paths(data, source, reader, self.reason_against_snapshots)
        # Before anything is computed: what is held out must not be seen.
        paths = every.without(hold_out)
        remaining = set(paths.names)
        absent = [str(name) for name in every.names if name not in remaining]
        begin = min(float(t[0]) for t in paths.times)
        end = max(float(t[-1]) for t in paths.times)
        provenance = Provenance(
            source=paths.source,
            features=paths.features,
            times=(begin, end),
            sizes=tuple(paths.lengths.tolist()),
            hold_out=tuple(absent),
            seed=run.seed,
            digest=digest(paths),
            version=dyninfer.__version__,
        )
        facts = self.facts(paths, run.seed)
        return Reading(paths, self._scaling(paths), facts, provenance)

    def _covered_times(self) -> np.ndarray:
        """Times of which something was learned: those between the first and the last of them."""
        return self.times_

    def _scaling(self, paths: Paths) -> Scaling:
        times = np.concatenate(paths.times)
        if paths.discrete:
            # States have no unit: only that of time is learned.
            no_values = np.zeros((1, 1))
            return Scaling.from_samples(times, [no_values], None)
        values = np.concatenate(paths.states)
        return Scaling.from_samples(times, [filled(values)], self.scale)

    def _starting(self, start: Any, time: float, seed: int) -> tuple[Any, Any]:
        """Starting states of the process, and their names where they have some."""
        if not isinstance(start, Paths) and not is_anndata(start):
            return start, None
        paths = self._as_paths(start)
        # A state with a gap in it is no state to start from.
        is_whole = observed_at(paths, time)
        states = self.states_at(paths[is_whole], time, subseed(seed, "states"))
        return states, paths.names[is_whole]

    def _as_paths(self, data: Any) -> Paths:
        # Settings say what an observation is: changed ones would read these data otherwise.
        self._check_settings()
        return reread_paths(data, self._known())
