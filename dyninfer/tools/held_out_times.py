"""Scores of predictions for times that were left out, of methods and of baselines alike."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.base import clone

import dyninfer
from dyninfer.data.reading import is_anndata, refuse_keys
from dyninfer.data.snapshots import Snapshots
from dyninfer.data.time_reading import as_times
from dyninfer.data.words import counted
from dyninfer.estimators import Estimator
from dyninfer.learning.warn import warn
from dyninfer.metrics import compare_populations
from dyninfer.tools.tasks import Row, Scoring
from dyninfer.transport.baselines import BASELINES

# Not a prediction: what another sample of the very population would score.
FLOOR = "floor"


@dataclass(frozen=True, kw_only=True)
class HeldOutTimes(Scoring[float]):
    """Snapshots whose times are left out one by one, and how predictions of them are scored.

    Attributes
    ----------
    data : Snapshots
    metrics : tuple of str
        Names as in :mod:`dyninfer.metrics`.
    max_samples : int or None
        Cap on the samples a side of a comparison.
    max_steps : int or None
        Training steps of a fit at most.
    """

    data: Snapshots
    metrics: tuple[str, ...]
    max_samples: int | None = 4500
    max_steps: int | None = None

    @cached_property
    def _digest(self) -> str:
        # Once: the identity of every score asks for it, and it reads all cells.
        return self.data.digest()

    def _identity(self, name: str, held_out: float, seed: int, others: list[str]) -> str:
        data = ["times", self._digest, dyninfer.__version__]
        fit = [name, repr(held_out), seed]
        scoring = [self.metrics, self.max_samples]
        return json.dumps([data, fit, scoring, others])

    def _score_model(self, name: str, model: Estimator, held_out: float, seed: int) -> Row:
        # Wall time: what a user waits for.
        start = time.perf_counter()
        row: Row = {"method": name, "time": held_out, "seed": seed}
        data = self._for(model)
        # The caller's own stays unfitted, and one method is never two threads' at once.
        model = clone(model)
        try:
            model.fit(data, hold_out=held_out, seed=seed, max_steps=self.max_steps, progress=False)
            row["status"] = model.status_
            scores = model.evaluate(
                self._scorable(data, held_out),
                times=held_out,
                metrics=self.metrics,
                max_samples=self.max_samples,
                # They have rows of their own.
                baselines=(),
                seed=seed,
            )
        # One method that fails at one time must not cost the table of all the others.
        except (ValueError, RuntimeError, ArithmeticError) as error:
            warn(f"{name} failed at time {held_out:g}: {error}")
            row["status"] = row.get("status", "failed")
            row["note"] = str(error)
        else:
            columns = (*self.metrics, "mass", "mass_observed", "n_x", "n_y")
            row |= _plain(scores.iloc[0], columns)
            in_sample = scores["in_sample"].iloc[0]
            row["in_sample"] = bool(in_sample)
        row["seconds"] = time.perf_counter() - start
        return row

    def _score_baseline(self, name: str, held_out: float, seed: int) -> Row:
        start = time.perf_counter()
        row: Row = {"method": name, "time": held_out, "seed": seed, "in_sample": False}
        data = self._scorable(self.data, held_out)
        k = data.index(held_out)
        truth = data.at(held_out)
        weights = data.weights_at(held_out)
        if name == FLOOR:
            # At the size that predictions have: as many cells as start at the time before.
            before = data.times[k - 1]
            x = data.at(before)
            x_weights = data.weights_at(before)
            scores = self._compared(x, x_weights, truth, weights, seed, floor=True)
            row |= {metric: scores[f"{metric}_floor"] for metric in self.metrics}
        else:
            population = BASELINES[name](data, k, seed)
            # The last time has no neighbour behind it.
            if population is None:
                row["note"] = "needs a later time"
            else:
                row |= self._compared(*population, truth, weights, seed, floor=False)
        row["seconds"] = time.perf_counter() - start
        return row

    def _compared(
        self,
        x: np.ndarray,
        x_weights: np.ndarray,
        y: np.ndarray,
        y_weights: np.ndarray,
        seed: int,
        floor: bool,
    ) -> Row:
        return compare_populations(
            x,
            y,
            x_weights=x_weights,
            y_weights=y_weights,
            metrics=self.metrics,
            max_samples=self.max_samples,
            floor=floor,
            seed=seed,
        )

    def _for(self, model: Estimator) -> Snapshots:
        """The data without what a method would not learn from."""
        # Fits by condition would refuse a method that cannot tell conditions apart.
        data = self.data
        uses: frozenset[str] = getattr(model, "uses", frozenset())
        if data.conditions is not None and "condition_key" not in uses:
            data = replace(data, conditions=None)
        if data.growth is not None and not getattr(model, "uses_growth", False):
            data = replace(data, growth=None)
        return data

    def _scorable(self, data: Snapshots, held_out: float) -> Snapshots:
        """The data with those cells of the time that is scored which hold numbers throughout."""
        k = data.index(held_out)
        is_finite = np.isfinite(data.samples[k])
        is_whole = is_finite.all(axis=1)
        if is_whole.all():
            return data
        if not is_whole.any():
            raise ValueError(f"no cell at time {held_out:g} holds numbers throughout")
        warn(
            f"{(~is_whole).sum()} of {len(is_whole)} cells at time {held_out:g} hold NaN or "
            "infinity and are left out of its scores",
        )
        fields: dict[str, Any] = {}
        for name in ("samples", "weights", "conditions", "names"):
            values = getattr(data, name)
            if values is not None:
                before = values[:k]
                whole = values[k][is_whole]
                after = values[k + 1 :]
                fields[name] = (*before, whole, *after)
        return replace(data, **fields)


def read_every_time(data: Any, keys: dict[str, Any], reader: str) -> Snapshots:
    """Snapshots of all times, with values at times that may be left out still unseen."""
    if isinstance(data, Snapshots):
        refuse_keys(keys, "Snapshots")
        return data
    if not is_anndata(data):
        raise TypeError(f"{reader} takes an AnnData or Snapshots, not {type(data).__name__}")
    return Snapshots.from_anndata(data, **keys, hold_out=None)


def times_to_hold_out(data: Snapshots, hold_out: str | float | Iterable[float]) -> list[float]:
    """Times that are left out, one by one.

    Parameters
    ----------
    data : Snapshots
    hold_out : "each", float or list of floats
        "each" takes all times between the first and the last.

    Raises
    ------
    ValueError
        If a time is not there, is the first, or fewer than two times would remain.
    """
    if data.n_times < 3:
        raise ValueError(
            f"the data have {counted(data.n_times, 'time')}; leaving one out needs at least three"
        )
    if isinstance(hold_out, str):
        if hold_out != "each":
            raise ValueError(f"hold_out must be 'each' or times, found {hold_out[:60]!r}")
        return [float(t) for t in data.times[1:-1]]
    numbers = [data.index(t) for t in as_times(hold_out, "hold_out")]
    if not numbers:
        raise ValueError("hold_out is empty; name a time, or give 'each'")
    if 0 in numbers:
        raise ValueError(
            f"hold_out holds the first time, {data.times[0]:g}, which no cells lead to; "
            "hold out later times"
        )
    # Each once, in the order given.
    return [float(data.times[k]) for k in dict.fromkeys(numbers)]


def names_of(models: Sequence[Estimator]) -> list[str]:
    """Short names of methods, different for different settings."""
    short = [type(model).__name__ for model in models]
    names = []
    # The settings only where the class alone does not tell: tables stay narrow.
    for model, name in zip(models, short, strict=True):
        names.append(name if short.count(name) == 1 else " ".join(repr(model).split()))
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ValueError(
            f"{sorted(repeated)[0][:120]} is among the estimators twice; give each once, or a dict "
            "of names and estimators"
        )
    return names


def _plain(scores: Any, names: Iterable[str]) -> Row:
    """Those of the scores that are there, as plain numbers."""
    return {name: float(scores[name]) for name in names if name in scores}
