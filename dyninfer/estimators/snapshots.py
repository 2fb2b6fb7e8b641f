"""Methods that learn from snapshots: what each inherits, and the little that it must define."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from torch import Tensor

import dyninfer
from dyninfer.data import keys
from dyninfer.data.columns import time_column
from dyninfer.data.reading import (
    read_features,
    read_snapshots,
    read_start,
    reread_snapshots,
    source_of,
)
from dyninfer.data.snapshots import Snapshots
from dyninfer.data.times import Clock, as_times
from dyninfer.data.trajectories import Trajectories
from dyninfer.diffusions.scaled import fields_at
from dyninfer.estimators.base import Estimator, Provenance, Reading, Run
from dyninfer.learning.scaling import ScaleMode, Scaling
from dyninfer.learning.training import Training
from dyninfer.metrics.evaluation import score_arrival
from dyninfer.simulation import simulate
from dyninfer.transport.curves import DensityCurve

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(kw_only=True, repr=False, eq=False)
class SnapshotEstimator(Estimator):
    """Base of the methods that learn a diffusion from :class:`~dyninfer.Snapshots`.

    A method is a keyword-only dataclass in a file of its own; :class:`Estimator` says what it
    defines.

    Parameters
    ----------
    scale : {"global", "feature"} or None
        Standardisation of the states, from the data given to ``fit`` less what is held out; undone
        on the way out.
    training : Training, optional
        Settings of the training loop; None takes the defaults.
    """

    scale: ScaleMode = "global"
    training: Training | None = None

    def fit(
        self,
        data: AnnData | Snapshots | DensityCurve,
        *,
        time_key: str | None = None,
        use_rep: str | None = None,
        mass_key: str | None = None,
        weight_key: str | None = None,
        condition_key: str | None = None,
        hold_out: float | Iterable[float] | None = None,
        seed: int = 0,
        max_steps: int | None = None,
        progress: bool = True,
        checkpoint: str | Path | None = None,
        resume: bool = False,
    ) -> Self:
        """Learn the process behind the data.

        Parameters
        ----------
        data : AnnData, Snapshots or DensityCurve
            Nothing of it is changed.
        time_key : str
            Column of ``obs`` with the times of an AnnData: numbers, numeric text or categories, or
            timedeltas.
        use_rep : str, optional
            Key of ``obsm``, or "X"; by default ``obsm["X_pca"]`` if present, else ``X``.
        mass_key : str, optional
            Column of ``obs`` with the total mass at each cell's time.
        weight_key : str, optional
            Column of ``obs`` with the weight of every cell within its time.
        condition_key : str, optional
            Column of ``obs`` with a label for every cell.
        hold_out : float or list of floats, optional
            Times removed before anything else is computed: scaling, couplings and validation never
            see them.
        seed : int
            Fixes every draw.
        max_steps : int, optional
            Training steps at most, in place of ``training.max_steps``.
        progress : bool
            Show a progress bar.
        checkpoint : path, optional
            File in which the state of the run is kept.
        resume : bool
            Continue from the checkpoint if it exists.

        Returns
        -------
        self
            With ``process_``, ``history_`` and ``status_`` ("finished", "stopped early",
            "interrupted" or "diverged").

        Raises
        ------
        KeyError, ValueError
            If a key, a time or a value in the data is not as it must be; the message names it.
        """
        source = {
            "time_key": time_key,
            "use_rep": use_rep,
            "mass_key": mass_key,
            "weight_key": weight_key,
            "condition_key": condition_key,
        }
        run = Run(
            seed=seed,
            max_steps=max_steps,
            progress=progress,
            checkpoint=checkpoint,
            resume=resume,
        )
        return self._fit(data, source, hold_out, run)

    def simulate(
        self,
        start: AnnData | Snapshots | np.ndarray | Tensor,
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
        start : array ``(n, feature)``, AnnData or Snapshots
            Starting states; of an AnnData or of snapshots, the cells at ``times[0]``.
        times : sequence of floats
            Times to store, in the user's units; descending with ``backward=True``.
        n_paths : int, optional
            Number of paths; by default one for every starting state.
        noise : float or callable, optional
            ε of the stochastic simulation, for processes with a score; see
            :func:`dyninfer.simulate`.
        backward : bool
            Run time the other way.
        seed : int
            Fixes every draw.
        **solver_options
            ``solver``, ``chunk_size``, ``resample``: see :func:`dyninfer.simulate`.

        Returns
        -------
        Trajectories
        """
        self._check_fitted()
        times = as_times(times)
        if len(times) == 0:
            raise ValueError(
                "times is empty; give the time of the starting states and those to store"
            )
        x0, names = self._starting(start, float(times[0]))
        self._warn_outside(times)
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
        origin = run.origin if names is None else np.asarray(names)[run.origin]
        return replace(run, origin=origin, features=tuple(self.feature_names_in_))

    def evaluate(
        self,
        data: AnnData | Snapshots,
        *,
        times: Sequence[float] | float | None = None,
        start: str = "previous",
        metrics: Sequence[str] = ("w1", "w2", "sliced_w2", "mmd", "energy"),
        max_samples: int | None = 4500,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Compare simulated with observed populations, one row per time after the first.

        Parameters
        ----------
        data : AnnData or Snapshots
            Read by the keys that ``fit`` was given.
        times : float or list of floats, optional
            Times to evaluate; by default all but the first.
        start : {"previous", "first"}
            Whether all cells of the previous time, or those of the first, are simulated to each
            time.
        metrics : sequence of str
            Names as in :mod:`dyninfer.metrics`.
        max_samples : int, optional
            Cap on the samples a side, drawn at random; None keeps all. The numbers used stand in
            the result.
        seed : int

        Returns
        -------
        DataFrame
            Per time: ``held_out``, the metrics, beside each its ``_floor`` (the same metric between
            two halves of the observed sample) and ``_still`` (the starting cells themselves,
            unmoved), the numbers of samples, and the simulated and observed ``mass`` relative to
            the start.
        """
        self._check_fitted()
        if start not in ("previous", "first"):
            raise ValueError(f"start must be 'previous' or 'first', found {start!r}")
        observed = self._as_snapshots(data).check_finite()
        requested = observed.times[1:] if times is None else as_times(times)
        rows = []
        for time in requested:
            k = observed.index(time)
            if k == 0:
                raise ValueError(
                    f"time {time:g} is the first of the data, which nothing leads to; "
                    "evaluate later times"
                )
            begin = float(observed.times[k - 1 if start == "previous" else 0])
            run = self.simulate(observed, [begin, observed.times[k]], seed=seed)
            is_held_out = k in Clock(observed.times).positions(self.hold_out_)
            scores = score_arrival(
                observed, run, metrics=metrics, max_samples=max_samples, seed=seed
            )
            rows.append(
                {
                    "time": float(observed.times[k]),
                    "start": begin,
                    "held_out": is_held_out,
                    **scores,
                }
            )
        return pd.DataFrame(rows)

    def annotations(self, adata: AnnData) -> dict[str, Any]:
        """Velocity, and growth rate and potential where the process has them, of every cell."""
        key = self.source_.get("time_key", "time")
        times = time_column(adata, key)
        x = read_features(adata, self._known())
        fields = self._fields_at(adata, times, x)
        names = {"drift": keys.VELOCITY, "growth": keys.GROWTH, "potential": keys.POTENTIAL}
        return {names[field]: values for field, values in fields.items()}

    def read(self, data: Any, source: dict[str, Any], hold_out: Any, run: Run) -> Reading:
        """Snapshots or a density path without what is held out; see :meth:`Estimator.read`."""
        held_out_times: tuple[float, ...] = ()
        if hold_out is not None:
            hold_out = as_times(hold_out, "hold_out")
            held_out_times = tuple(hold_out.tolist())
        data, snapshots = self._read(data, source, hold_out, run.seed)
        provenance = Provenance(
            source=snapshots.source,
            features=snapshots.features,
            times=tuple(snapshots.times.tolist()),
            sizes=tuple(int(n) for n in snapshots.sizes),
            hold_out=held_out_times,
            seed=run.seed,
            digest=data.digest(),
            version=dyninfer.__version__,
        )
        scaling = Scaling.from_samples(snapshots.times, list(snapshots.samples), self.scale)
        return Reading(data, scaling, self.facts(snapshots, run.seed), provenance)

    def _read(
        self, data: Any, names: dict[str, str | None], hold_out: Any, seed: int
    ) -> tuple[Snapshots | DensityCurve, Snapshots]:
        """Return the data without what is held out, and snapshots of it."""
        if isinstance(data, DensityCurve):
            if hold_out is not None:
                raise ValueError(
                    "hold_out needs snapshots; a DensityCurve has no separate times to leave out"
                )
            return data, data.pilot(seed)
        snapshots = read_snapshots(
            data,
            names,
            hold_out,
            reader=f"{type(self).__name__}.fit",
            kinds="an AnnData, Snapshots or a DensityCurve",
        )
        return snapshots, snapshots

    def _as_snapshots(self, data: Any) -> Snapshots:
        return reread_snapshots(data, self._known())

    def _source(self) -> dict[str, Any]:
        """Keys by which an AnnData is read."""
        return source_of(self._known(), "time_key", "Snapshots")

    def _starting(self, start: Any, time: float) -> tuple[Any, Any]:
        cells = read_start(start, time, self._known())
        return cells.states, cells.names

    def _fields_at(self, adata: AnnData, times: np.ndarray, x: np.ndarray) -> dict[str, np.ndarray]:
        return fields_at(self.process_, times, x)

    def _warn_outside(self, times: np.ndarray) -> None:
        low, high = float(self.times_.min()), float(self.times_.max())
        if not Clock(self.times_).covers(times):
            warnings.warn(
                f"simulating from {times.min():g} to {times.max():g}, beyond the data "
                f"({low:g} to {high:g})",
                UserWarning,
                stacklevel=3,
            )
