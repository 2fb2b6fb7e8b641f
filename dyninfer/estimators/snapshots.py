"""Methods that learn from snapshots: what each inherits, and the little that it must define."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
from torch import Tensor

import dyninfer
from dyninfer.data import keys, trajectory_stream
from dyninfer.data.columns import time_column
from dyninfer.data.reading import (
    Start,
    read_features,
    read_snapshots,
    read_start,
    refuse_keys,
    reread_snapshots,
    source_of,
)
from dyninfer.data.snapshots import Snapshots
from dyninfer.data.time_reading import as_times
from dyninfer.data.trajectories import Trajectories
from dyninfer.diffusions.scaled import fields_at
from dyninfer.estimators.base import Estimator, Provenance, Reading, Run
from dyninfer.estimators.cautions import (
    grew,
    warn_beyond,
    warn_of_collapse,
    warn_of_mass,
    warn_of_scores,
)
from dyninfer.estimators.fitted_cells import are_fitted, are_held_out, fingerprints_by_time
from dyninfer.estimators.moves import residual_spread, score_moves, stops_between
from dyninfer.estimators.starts import drawn_by_weight, with_origin, with_start_weights
from dyninfer.estimators.unused import refuse_unused_columns, refuse_unused_keys
from dyninfer.learning.scaling import ScaleMode, Scaling
from dyninfer.learning.settings import brief
from dyninfer.learning.training import Training
from dyninfer.metrics.evaluation import arrivals, score_arrival
from dyninfer.metrics.populations import metric_names
from dyninfer.simulation import simulate
from dyninfer.transport.baselines import baseline_names, predictions
from dyninfer.transport.couplings import uses_growth
from dyninfer.transport.curves import DensityCurve

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(kw_only=True, repr=False, eq=False)
class SnapshotEstimator(Estimator):
    """Base of the methods that learn a diffusion from :class:`~dyninfer.Snapshots`.

    A method is a keyword-only dataclass in a file of its own; :class:`Estimator` says what it
    defines. Also, ``uses`` names those of ``"weight_key"``, ``"mass_key"`` and
    ``"condition_key"`` that it learns from; the others are refused.

    Parameters
    ----------
    scale : {"global", "feature"} or None
        How states are standardised, without what is held out; undone in results.
    training : Training, optional
        Settings of the training loop; None means the defaults.
    """

    uses: ClassVar[frozenset[str]] = frozenset()

    scale: ScaleMode = "global"
    training: Training | None = None

    @property
    def conserves_mass(self) -> bool:
        """Whether the settings rule out growth, so that masses would not be used."""
        return "mass_key" not in self.uses

    @property
    def uses_growth(self) -> bool:
        """Whether the coupling starts from the expected growth of every cell in the data."""
        return uses_growth(getattr(self, "coupling", "auto"))

    def fit(
        self,
        data: AnnData | Snapshots | DensityCurve,
        *,
        time_key: str | None = None,
        use_rep: str | None = None,
        mass_key: str | None = None,
        weight_key: str | None = None,
        condition_key: str | None = None,
        growth_key: str | None = None,
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
            The data are not changed.
        time_key : str
            Column of ``obs`` with the times of an AnnData: numbers, numeric text or categories, or
            timedeltas.
        use_rep : str, optional
            Key of ``obsm``, a layer, or "X"; by default ``obsm["X_pca"]`` if present, else ``X``.
        mass_key : str, optional
            Column of ``obs`` with the total mass at each cell's time.
        weight_key : str, optional
            Column of ``obs`` with the weight of every cell within its time.
        condition_key : str, optional
            Column of ``obs`` with a label for every cell.
        growth_key : str, optional
            Column of ``obs`` with the expected log-growth of every cell per unit of time.
        hold_out : float or list of floats, optional
            Times removed before anything else is computed: scaling, couplings and validation never
            see them.
        seed : int
            Fixes every draw.
        max_steps : int, optional
            Largest number of training steps, in place of ``training.max_steps``.
        progress : bool
            Show a progress bar.
        checkpoint : path, optional
            File that keeps the state of the run.
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
            If a key, a time or a value in the data is invalid; the message names it.
        """
        source = keys.chosen(locals(), keys.SNAPSHOT_KEYS)
        run = Run(
            seed=seed, max_steps=max_steps, progress=progress, checkpoint=checkpoint, resume=resume
        )
        return self._fit(data, source, hold_out, run)

    def search_space(self) -> dict[str, list[dict[str, Any]]]:
        """Groups of settings worth trying, for :func:`dyninfer.tools.tune`.

        Returns
        -------
        dict of lists
            Alternatives by the name of their group, simplest first; each holds the settings that it
            changes. By default there are none.
        """
        return {}

    @trajectory_stream.streams
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
            Starting states; for an AnnData or snapshots, the cells at ``times[0]``.
        times : sequence of floats
            Times to store, in the unit of the data; descending with ``backward=True``.
        n_paths : int, optional
            Number of paths; by default one for every starting state.
        noise : float or callable, optional
            ε of the stochastic simulation, for processes with a score; see
            :func:`dyninfer.simulate`.
        backward : bool
            Run backward in time.
        seed : int
            Fixes every draw.
        **solver_options
            ``solver``, ``chunk_size``, ``resample``, ``to``: see :func:`dyninfer.simulate`.

        Returns
        -------
        Trajectories
            Weighted cells start with their weights, as ``log_weights`` with mean mass 1. With
            ``n_paths`` or ``resample``, cells are drawn by weight and all start with equal weights.

        Warns
        -----
        UserWarning
            If times lie beyond the data, a few paths carry nearly all weight, or the simulated
            mass is far from the observed.
        """
        self._check_fitted()
        run = self._simulated(
            start,
            times,
            n_paths=n_paths,
            noise=noise,
            backward=backward,
            seed=seed,
            **solver_options,
        )
        if grew(run):
            warn_of_collapse(run)
            masses = self.facts_.get("masses")
            warn_of_mass(run, self.times_, masses)
        return run

    def evaluate(
        self,
        data: AnnData | Snapshots,
        *,
        times: Sequence[float] | float | None = None,
        start: str = "previous",
        metrics: Sequence[str] = ("w1", "w2", "sliced_w2", "mmd", "energy"),
        max_samples: int | None = 4500,
        baselines: Sequence[str] = ("still",),
        seed: int = 0,
    ) -> pd.DataFrame:
        """Compare simulated and observed populations.

        Parameters
        ----------
        data : AnnData or Snapshots
            Read by the keys that ``fit`` was given.
        times : float or list of floats, optional
            Times to evaluate; by default all but the first.
        start : {"previous", "first"}
            Whether all cells of the previous time, or of the first, are simulated to each time.
        metrics : sequence of str
            Names as in :mod:`dyninfer.metrics`.
        max_samples : int, optional
            Most samples on each side, drawn at random; None keeps all.
        baselines : sequence of str
            Predictions without a model: "still", the starting cells; "next", the cells of the time
            after; "ot", exact optimal transport between the times before and after; "growth_first",
            the same after reweighting the cells by growth.
        seed : int

        Returns
        -------
        DataFrame
            A row for every time, with ``held_out`` and the numbers of samples. ``in_sample`` says
            whether the model was fitted to these same cells. Each metric comes with its ``_floor``
            (what another sample of the observed population would score) and the baselines
            (``w1_still``; NaN where one needs a later time). ``mass``, simulated and observed, is
            relative to the start. ``action``, ``straightness_gap``, ``monge_gap`` and
            ``monge_gap_upper`` show how far a flow is from the least cost (NaN with noise or
            growth). ``hj_residual`` shows how far a potential is from least action (NaN also with
            conditions or a potential energy).

        Warns
        -----
        UserWarning
            If all scores are in-sample, one is below its floor, a few paths carry nearly all
            weight, or the simulated mass is far from the observed.
        """
        self._check_fitted()
        if not isinstance(start, str) or start not in ("previous", "first"):
            raise ValueError(f"start must be 'previous' or 'first', found {brief(start)}")
        metrics = metric_names(metrics)
        baselines = baseline_names(baselines)
        observed = self._as_snapshots(data).check_finite()
        is_held_out = are_held_out(observed, self.hold_out_)
        cells = self.facts_.get("cells")
        in_sample = are_fitted(observed, self.times_, cells)
        rows = []
        for k in arrivals(observed, times):
            before = k - 1 if start == "previous" else 0
            begin = float(observed.times[before])
            stops = stops_between(self.process_, observed, before, k)
            # One seed for all: a time alone is scored as it is among others.
            run = self._simulated(observed, stops, seed=seed)
            moves = score_moves(run, seed) | {"hj_residual": self._hj_residual(run)}
            run = run[:, [0, -1]]
            if grew(run):
                warn_of_collapse(run)
            others = predictions(baselines, observed, k, before, seed)
            scores = score_arrival(
                observed, run, others, metrics=metrics, max_samples=max_samples, seed=seed
            )
            row = {
                "time": float(observed.times[k]),
                "start": begin,
                "held_out": bool(is_held_out[k]),
                "in_sample": bool(in_sample[k]),
            }
            rows.append(row | scores | moves)
        table = pd.DataFrame(rows)
        # Once for the whole table: a warning for every row would not be read.
        if len(table):
            warn_of_scores(table, metrics)
        return table

    def facts(self, data: Snapshots, seed: int = 0) -> dict[str, Any]:
        """Times and masses, which growth needs; methods add their own facts."""
        masses = None if data.masses is None else data.masses.tolist()
        return {"times": data.times.tolist(), "masses": masses}

    def annotations(self, adata: AnnData) -> dict[str, Any]:
        """Velocity of every cell, with growth rate and potential if the process has them."""
        key = self.source_.get("time_key", "time")
        times = time_column(adata, key)
        warn_beyond(self.times_, times, "annotating")
        x = read_features(adata, self._known())
        fields = self._fields_at(adata, times, x)
        names = {"drift": keys.VELOCITY, "growth": keys.GROWTH, "potential": keys.POTENTIAL}
        return {names[field]: values for field, values in fields.items()}

    def read(self, data: Any, source: dict[str, Any], hold_out: Any, run: Run) -> Reading:
        """Snapshots or a density path without what is held out; see :meth:`Estimator.read`."""
        if hold_out is not None:
            hold_out = as_times(hold_out, "hold_out")
        data, snapshots = self._read(data, source, hold_out, run.seed)
        sizes = [int(n) for n in snapshots.sizes]
        times = snapshots.times.tolist()
        times_held_out = [] if hold_out is None else hold_out.tolist()
        provenance = Provenance(
            source=snapshots.source,
            features=snapshots.features,
            times=tuple(times),
            sizes=tuple(sizes),
            hold_out=tuple(times_held_out),
            seed=run.seed,
            digest=data.digest(),
            version=dyninfer.__version__,
        )
        scaling = Scaling.from_samples(
            snapshots.times, snapshots.samples, self.scale, snapshots.weights
        )
        # A curve is sampled anew for every batch, so that no cell is met twice.
        cells = fingerprints_by_time(snapshots) if isinstance(data, Snapshots) else None
        own_facts = self.facts(snapshots, run.seed)
        facts = {"cells": cells, **own_facts}
        return Reading(data, scaling, facts, provenance)

    def _read(
        self, data: Any, names: dict[str, str | None], hold_out: Any, seed: int
    ) -> tuple[Snapshots | DensityCurve, Snapshots]:
        """Return the data without what is held out, and snapshots of it."""
        refuse_unused_keys(self, names)
        if isinstance(data, DensityCurve):
            refuse_keys(names, "draws of a DensityCurve")
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
        refuse_unused_columns(self, snapshots)
        return snapshots, snapshots

    def _as_snapshots(self, data: Any) -> Snapshots:
        return reread_snapshots(data, self._known())

    def _source(self) -> dict[str, Any]:
        """Keys by which an AnnData is read."""
        return source_of(self._known(), "time_key", "Snapshots")

    def _simulated(
        self,
        start: Any,
        times: Any,
        *,
        n_paths: int | None = None,
        seed: int = 0,
        **options: Any,
    ) -> Trajectories:
        """Paths of the cells at the first of the times, with their names and weights."""
        times = as_times(times)
        if len(times) == 0:
            raise ValueError(
                "times is empty; give the time of the starting states and those to store"
            )
        begin = float(times[0])
        cells = read_start(start, begin, self._known())
        warn_beyond(self.times_, times, "simulating")
        # Weights that resampling looks at must be there from the start.
        is_drawn = n_paths is not None or options.get("resample") is not None
        if cells.weights is not None and is_drawn:
            n_cells = n_paths or len(cells.weights)
            cells = drawn_by_weight(cells, n_cells, seed)
            n_paths = None
        run = self._run(cells, times, n_paths=n_paths, seed=seed, **options)
        if cells.weights is not None:
            run = with_start_weights(run, cells.weights)
        run = with_origin(run, cells.names)
        return replace(run, features=tuple(self.feature_names_in_))

    def _hj_residual(self, run: Trajectories) -> float:
        return residual_spread(self.process_, run)

    def _run(self, cells: Start, times: np.ndarray, **options: Any) -> Trajectories:
        """Run the process from cells; ``origin`` numbers them."""
        return simulate(self.process_, cells.states, times, **options)

    def _fields_at(self, adata: AnnData, times: np.ndarray, x: np.ndarray) -> dict[str, np.ndarray]:
        return fields_at(self.process_, times, x)
