"""Methods that learn a field from velocities: what each inherits, and what it must define."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd

import dyninfer
from dyninfer.data import keys
from dyninfer.data.reading import (
    Start,
    check_features,
    is_anndata,
    read_features,
    read_start,
    source_of,
)
from dyninfer.data.time_reading import requested_times
from dyninfer.data.trajectories import Trajectories
from dyninfer.data.trajectory_stream import streams
from dyninfer.data.velocities import Velocities
from dyninfer.estimators.base import Estimator, Provenance, Reading, Run
from dyninfer.estimators.starts import with_origin
from dyninfer.learning.scaling import ScaleMode, Scaling
from dyninfer.learning.settings import check_seed
from dyninfer.metrics.velocities import score_velocities
from dyninfer.simulation import simulate

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(kw_only=True, repr=False, eq=False)
class FieldEstimator(Estimator):
    """Base of the methods that learn a velocity field from positions and velocities of cells.

    A method is a keyword-only dataclass in a file of its own; :class:`Estimator` says what it
    defines. It also defines ``predict(x)`` and ``noise_at(x)``. Its process does not depend on
    time.
    """

    scale: ClassVar[ScaleMode] = "global"
    data_have_times: ClassVar[bool] = False

    @abstractmethod
    def predict(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the field at positions."""

    def predict_from_neighbors(self, x: np.ndarray, n_neighbors: int = 5) -> np.ndarray | None:
        """Velocities ``(n, feature)`` predicted without a model, for comparison, or None.

        See :meth:`evaluate`.
        """
        return None

    def along(self, x: np.ndarray, values: np.ndarray) -> np.ndarray:
        """The part of vectors ``(n, feature)`` that the field can represent; by default all."""
        return values

    @abstractmethod
    def noise_at(self, x: np.ndarray) -> np.ndarray:
        """Standard deviation of the errors of observed velocities ``(n, feature)``."""

    def fit(
        self,
        data: AnnData,
        *,
        velocity_key: str | None = None,
        use_rep: str | None = None,
        hold_out: str | list[str] | None = None,
        seed: int = 0,
        max_steps: int | None = None,
        progress: bool = True,
        checkpoint: str | Path | None = None,
        resume: bool = False,
    ) -> Self:
        """Learn the field behind the velocities.

        Parameters
        ----------
        data : AnnData
            One row per cell. It is not changed.
        velocity_key : str
            Key of ``obsm``, or a layer, with velocities in the features of ``use_rep``. Rows of NaN
            are cells without a known velocity: they still show where cells can be.
        use_rep : str, optional
            Key of ``obsm``, a layer, or "X"; by default ``obsm["X_pca"]`` if present, else ``X``.
        hold_out : str or list of str, optional
            Names of cells removed before anything else is computed.
        seed : int
            Fixes every draw.
        max_steps : int, optional
            Largest number of steps, for a method that takes steps.
        progress : bool
            Show a progress bar, if the method takes long enough to have one.
        checkpoint : path, optional
            File in which the result is kept.
        resume : bool
            Take the finished result from the checkpoint, if there is one.

        Returns
        -------
        self
            With ``process_``, ``history_`` and ``status_``.

        Raises
        ------
        KeyError, TypeError, ValueError
            If a key or a value in the data is invalid; the message names it.
        """
        source = keys.chosen(locals(), keys.FIELD_KEYS)
        run = Run(
            seed=seed, max_steps=max_steps, progress=progress, checkpoint=checkpoint, resume=resume
        )
        return self._fit(data, source, hold_out, run)

    @streams
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
        """Follow the field.

        Parameters
        ----------
        start : array ``(n, feature)`` or AnnData
            Starting states; all cells of an AnnData.
        times : sequence of floats
            Times to store, in the unit of time of the velocities; only differences matter.
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
        """
        self._check_fitted()
        times = requested_times(times)
        cells = self._starting(start)
        self._warn_of_places(cells.states)
        run = simulate(
            self.process_,
            cells.states,
            times,
            n_paths=n_paths,
            noise=noise,
            backward=backward,
            seed=seed,
            **solver_options,
        )
        run = with_origin(run, cells.names)
        return replace(run, features=tuple(self.feature_names_in_))

    def evaluate(self, data: AnnData, *, n_neighbors: int = 5, seed: int = 0) -> pd.DataFrame:
        r"""Compare the field with observed velocities, which carry errors themselves.

        Parameters
        ----------
        data : AnnData
            Read by the keys that ``fit`` was given.
        n_neighbors : int
            Cells whose mean velocity is the prediction without a model; the cell itself is never
            among them.
        seed : int
            Accepted so that all methods share one call; nothing is drawn.

        Returns
        -------
        DataFrame
            One row for the cells that were held out and one for the others: ``held_out``,
            ``cells``, the mean ``alignment`` (cosine), the ``relative_error`` :math:`\sqrt{\sum|v -
            \hat v|^2 / \sum|v|^2}`, and the ``coverage`` of 90 % intervals of the components along
            the surface, observation errors included. Columns that end in ``_neighbors`` score the
            mean of the neighbours.
        """
        self._check_fitted()
        check_seed(seed)
        observed = self._as_velocities(data)
        is_known = observed.is_observed
        if not is_known.any():
            raise ValueError("no cell of these data has a velocity to compare with")
        points = observed.points[is_known]
        values = observed.values[is_known]
        mean, deviation = self.predict(points)
        rival = self.predict_from_neighbors(points, n_neighbors)
        part = self.along(points, values)
        error = self.noise_at(points)
        # A feature that is normal to the surface has neither an error nor a spread.
        least = np.finfo(np.float64).tiny
        scale = np.hypot(deviation, error).clip(min=least)
        z = (part - mean) / scale
        is_held_out = np.isin(observed.names[is_known].astype(str), self.hold_out_)
        rows = []
        for flag in (True, False):
            group = is_held_out == flag
            if not group.any():
                continue
            row: dict[str, Any] = {"held_out": flag, "cells": int(group.sum())}
            row |= score_velocities(values[group], mean[group], z[group])
            if rival is not None:
                others = score_velocities(values[group], rival[group])
                row |= {f"{name}_neighbors": value for name, value in others.items()}
            rows.append(row)
        return pd.DataFrame(rows)

    def annotations(self, adata: AnnData) -> dict[str, Any]:
        """Velocity of every cell, and its standard deviation."""
        x = read_features(adata, self._known())
        mean, deviation = self.predict(x)
        return {keys.VELOCITY: mean, keys.VELOCITY_SD: deviation}

    def read(self, data: Any, source: dict[str, Any], hold_out: Any, run: Run) -> Reading:
        """Positions and velocities without what is held out; see :meth:`Estimator.read`."""
        if not is_anndata(data):
            raise TypeError(
                f"{type(self).__name__}.fit takes an AnnData with velocities, not "
                f"{type(data).__name__}"
            )
        observed = Velocities.from_anndata(data, **source, hold_out=hold_out)
        remaining = set(observed.names)
        absent = [str(name) for name in data.obs_names if name not in remaining]
        scaling = self._scaling(observed)
        provenance = Provenance(
            source=source,
            features=observed.features,
            times=(0.0, scaling.duration),
            sizes=(len(observed.points),),
            hold_out=tuple(absent),
            seed=run.seed,
            digest=observed.digest(),
            version=dyninfer.__version__,
        )
        facts = self.facts(observed, run.seed)
        return Reading(observed, scaling, facts, provenance)

    def _scaling(self, observed: Velocities) -> Scaling:
        """States of unit spread, and a time in which a cell of typical speed travels it."""
        values = observed.values[observed.is_observed].astype(np.float64)
        if len(values) == 0:
            raise ValueError("no cell that is not held out has a velocity; all are NaN")
        largest = np.abs(values).max()
        if largest == 0:
            raise ValueError("the velocities are all zero, so there is no field to learn")
        # Divided first: squares of small or large velocities leave the range of numbers.
        relative = values / largest
        speed = largest * np.sqrt(np.square(relative).sum(1).mean())
        points = [observed.points]
        spread = Scaling.from_samples(np.zeros(1), points, self.scale).unit
        times = np.array([0.0, spread / speed])
        return Scaling.from_samples(times, points, self.scale)

    def _starting(self, start: Any) -> Start:
        if is_anndata(start):
            names = np.asarray(start.obs_names, dtype=object)
            return Start(read_features(start, self._known()), names)
        return read_start(start, 0.0, self._known())

    def _warn_of_places(self, x: Any) -> None:
        """Warn where states lie where nothing was learned; by default nothing is known of that."""

    def _as_velocities(self, data: Any) -> Velocities:
        self._check_settings()
        source = source_of(self._known(), "velocity_key", "an AnnData")
        observed = Velocities.from_anndata(data, **source)
        check_features(observed.features, self._known())
        return observed


def refuse_fields(model: Any, doing: str) -> None:
    """Raise a TypeError where a method of velocities is given to what has no use for one."""
    if isinstance(model, FieldEstimator):
        raise TypeError(
            f"{type(model).__name__} learns from velocities, and {doing} needs a method of "
            "snapshots or paths; use its evaluate() on cells that were held out"
        )
