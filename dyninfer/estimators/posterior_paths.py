"""Methods that draw what lies behind observed paths, forecasts of them, and paths of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.data.reading import is_anndata
from dyninfer.data.times import Clock, requested_times
from dyninfer.data.trajectories import Trajectories
from dyninfer.estimators.paths import PathEstimator
from dyninfer.fractional.inference import ExactModel, Series, process_of
from dyninfer.fractional.inference.finite import traced
from dyninfer.learning.random import stream
from dyninfer.learning.settings import check_count, check_seed
from dyninfer.simulation import simulate, solvers

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(kw_only=True, repr=False, eq=False)
class PosteriorEstimator(PathEstimator):
    """Base of a method with a fractional ``process_``, a ``model_`` that draws posteriors, and ``facts_`` of the data."""

    per_dimension: bool = False

    def _keep(self, model: Any) -> None:
        """Keep the model, and the process in the units of the data."""
        self.model_ = model.eval().requires_grad_(False)
        self.process_ = process_of(model, *self._units(), self.per_dimension)

    def posterior(
        self,
        data: AnnData | Paths,
        times: Sequence[float] | np.ndarray | None = None,
        *,
        n_samples: int = 100,
        seed: int = 0,
    ) -> Trajectories:
        """Draw what lies behind the noise of observed paths, given all that is seen of each.

        Parameters
        ----------
        data : AnnData or Paths
        times : sequence of float, optional
            Times at which the paths are wanted, not before any of them begins; by default all times of the data after
            that. Beyond its last observation, a path is a forecast.
        n_samples : int
            Draws per path.
        seed : int

        Returns
        -------
        Trajectories
            ``n_samples`` rows per path, one path after another; ``origin`` names the path. Observation noise is not added.
        """
        self._check_fitted()
        paths = self._as_paths(data)
        if times is None:
            every = Clock.of(np.concatenate(paths.times)).times
            times = every[every >= max(t[0] for t in paths.times)]
        times = requested_times(times)
        states = self._in_units(self._draws(paths, times, n_samples, seed)[1])
        return Trajectories(
            states=states.float(),
            times=torch.as_tensor(times),
            features=tuple(str(f) for f in self.feature_names_in_),
            origin=np.repeat(paths.names, n_samples),
            attrs={"method": type(self).__name__, "seed": seed},
        )

    def forecast(
        self,
        data: AnnData | Paths,
        times: Sequence[float] | np.ndarray,
        *,
        n_samples: int = 100,
        seed: int = 0,
    ) -> Trajectories:
        """Draw the future of observed paths given their past, as :meth:`posterior`, after the last observation of all."""
        self._check_fitted()
        last, first = (
            max(t[-1] for t in self._as_paths(data).times),
            requested_times(times).min(),
        )
        if first <= last:
            raise ValueError(
                f"times of a forecast must lie after the last observation, at {last:g}; found {first:g}: "
                "use posterior for times between"
            )
        return self.posterior(data, times, n_samples=n_samples, seed=seed)

    def simulate(
        self,
        start: Any,
        times: Sequence[float] | np.ndarray,
        *,
        n_paths: int | None = None,
        dt: float | None = None,
        seed: int = 0,
    ) -> Trajectories:
        """Run the learned equation, its memory drawn from its law; a forecast of observed paths is :meth:`forecast`.

        Parameters
        ----------
        start : None, array ``(n, feature)``, AnnData or Paths
            None draws first states from their learned law and needs ``n_paths``. Of an AnnData or of paths, what is seen
            at ``times[0]``. Latent coordinates start from None, or from paths: then from their posterior at ``times[0]``.
        times : sequence of float
            Times to store, increasing.
        n_paths : int, optional
            Number of paths; starting states are repeated in turn.
        dt : float, optional
            Longest step; by default a hundredth of the span, or the typical gap of the data if that is shorter.
        seed : int

        Returns
        -------
        Trajectories
            What would be seen, without observation noise.

        Raises
        ------
        ValueError
            If what is given does not fit, or a module of the user's own returns numbers that are not finite.
        """
        self._check_fitted()
        times, seed = requested_times(times), check_seed(seed)
        if n_paths is not None:
            n_paths = check_count(n_paths, "n_paths")
        first, content = self._first_states(start, float(times[0]), n_paths, seed)
        span = float(times[-1] - times[0])
        step = min(span / 100, max(self.facts_["tau"], span / 5000)) if dt is None else dt

        def run() -> Tensor:
            solver = solvers.FractionalEuler(dt=step or None)
            states = simulate(self.process_, first, times, solver=solver, seed=seed).states
            return (
                self._in_units(self.model_.decode(states, content))
                if self.model_.latent
                else states
            )

        with torch.no_grad():
            seen = (
                run()
                if isinstance(self.model_, ExactModel)
                else traced(self.model_, run, lambda found: found, lambda: "in a simulation")
            )
        return Trajectories(
            states=seen.float(),
            times=torch.as_tensor(times),
            features=tuple(str(f) for f in self.feature_names_in_),
            attrs={"method": type(self).__name__, "seed": seed},
        )

    def _units(self) -> tuple[Tensor, Tensor]:
        return tuple(torch.tensor(self.facts_[k], dtype=torch.float64) for k in ("shift", "scale"))  # type: ignore[return-value]

    def _scaled(self, series: Series) -> Series:
        return series.scaled(*self._units())

    def _in_units(self, seen: Tensor) -> Tensor:
        shift, scale = self._units()
        return shift + scale * seen

    def _draws(
        self, paths: Paths, times: np.ndarray, n_samples: int, seed: int
    ) -> tuple[Tensor, Tensor]:
        """Posterior states ``(path · sample, time, d)`` and what would be seen of them, standardised."""
        self._continuous(paths)
        n_samples, seed = check_count(n_samples), check_seed(seed)
        series = Series.of(paths, np.concatenate([times, self._between(paths, times)]))
        rows = series.queried[None, :, : len(times), None]
        found = self.model_.draw(self._scaled(series), n_samples, seed)
        states, seen = (
            x.gather(2, rows.expand(n_samples, -1, -1, x.shape[-1])).transpose(0, 1).flatten(0, 1)
            for x in found
        )
        return states, seen

    def _between(self, paths: Paths, times: np.ndarray) -> np.ndarray:
        """Times that a nonlinear equation is stepped at where a forecast has longer gaps than the data."""
        end = min(float(t[-1]) for t in paths.times)
        if isinstance(self.model_, ExactModel) or len(times) == 0 or times.max() <= end:
            return np.zeros(0)
        begin = max(end, max(float(t[0]) for t in paths.times))
        return np.arange(begin, times.max(), max(self.facts_["gap"], (times.max() - begin) / 5000))

    def _first_states(
        self, start: Any, time: float, n_paths: int | None, seed: int
    ) -> tuple[Tensor, Tensor | None]:
        """States at the first time, and the content of their paths where a decoder needs one."""
        prior, latent = self.model_.prior, self.model_.latent
        is_data = isinstance(start, Paths) or is_anndata(start)
        content = None
        if start is None:
            x = self._prior_states(n_paths, seed)
        elif latent:
            if not is_data:
                raise TypeError(
                    "latent coordinates start from None, an AnnData or Paths, not from an array"
                )
            paths = self._as_paths(start)
            x, content = (
                self._draws(paths, np.array([time]), 1, seed)[0][:, 0],
                self._content(paths),
            )
        elif is_data:
            seen = self._as_paths(start).at(time)
            x = torch.as_tensor(seen[~np.isnan(seen).any(1)])
        else:
            x = torch.as_tensor(np.asarray(start))
        if x.ndim != 2 or x.shape[0] == 0 or x.shape[1] != prior.n_states:
            raise ValueError(
                f"start must be (n, {prior.n_states}) finite states, but its shape is {tuple(x.shape)}"
            )
        rows = torch.arange(len(x) if n_paths is None else n_paths) % len(x)
        return x.double()[rows], None if content is None else content[rows]

    def _prior_states(self, n_paths: int | None, seed: int) -> Tensor:
        if n_paths is None:
            raise ValueError(
                "n_paths is needed to draw first states: simulate(None, times, n_paths=...)"
            )
        if getattr(self.model_, "content_dim", 0):
            raise ValueError(
                "the content of a path is read from data; start from Paths, or set content_dim=0"
            )
        prior = self.model_.prior
        normals = torch.randn(
            n_paths, prior.n_states, generator=stream(seed, "start"), dtype=torch.float64
        )
        x = prior.start_mean + prior.log_start.exp() * normals
        return x if self.model_.latent else self._in_units(x)

    @torch.no_grad()
    def _content(self, paths: Paths) -> Tensor | None:
        if isinstance(self.model_, ExactModel):
            return None
        read = self.model_.encode(self._scaled(Series.of(paths)))
        return None if read is None else read.content

    def _continuous(self, paths: Paths) -> None:
        if paths.discrete:
            raise TypeError(
                "fractional noise moves numbers, and these paths have discrete states; use MarkovJumpInference"
            )
