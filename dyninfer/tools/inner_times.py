"""Scores of candidates at times between those that are kept, with equally many points for all."""

from __future__ import annotations

import json
import time
import warnings
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import clone

import dyninfer
from dyninfer.data.snapshots import Snapshots
from dyninfer.estimators import Estimator
from dyninfer.learning.random import numpy_stream, subseed
from dyninfer.learning.settings import fingerprint
from dyninfer.metrics import compare_populations
from dyninfer.tools.tasks import Row, Task
from dyninfer.transport.couplings.draws import spread

METRICS = ("w1", "energy")


class Fold(NamedTuple):
    """A time that is left out of one subsample of the data."""

    time: float
    subsample: int


@dataclass(frozen=True, kw_only=True)
class InnerTimes:
    """Scores of candidates at times between those that are kept.

    Attributes
    ----------
    data : Snapshots
        Without the times that are held out from tuning.
    n_subsamples : int
    max_cells : int
        Cells of a subsample at each time.
    max_steps : int or None
        Training steps of a fit at most.
    seed : int
    """

    place: ClassVar[str] = "time"

    data: Snapshots
    n_subsamples: int
    max_cells: int
    max_steps: int | None
    seed: int

    @property
    def columns(self) -> tuple[str, ...]:
        """The subsample, and scores."""
        return ("subsample", *METRICS)

    def folds(self) -> list[Fold]:
        """Every inner time of every subsample."""
        times = [float(t) for t in self.data.times[1:-1]]
        return [Fold(t, k) for t in times for k in range(self.n_subsamples)]

    def place_of(self, fold: Fold) -> float:
        """Time that is left out."""
        return fold.time

    def changes(self, old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
        """Change of log W1, which decides, and of the energy distance, in every fold."""
        changes = {
            "time": old["time"],
            # Ratios: a far time must not outvote the near ones.
            "loss": np.log(new["w1"] / old["w1"]),
            # W1 alone rewards predictions that are smoother than cells are.
            "second": new["energy"] - old["energy"],
        }
        return pd.DataFrame(changes)

    def reason_for_none(self) -> str:
        """Why there is no inner time."""
        first, last = self.data.times
        return f"No time lies between {first:g} and {last:g}"

    def where(self, row: Row) -> str:
        """The time that was left out."""
        return f"without time {row['time']:g}"

    def gain(self, loss: float) -> str:
        """Mean change of W1, in per cent."""
        share = np.expm1(loss)
        return f"W1 {share:+.1%}"

    def extent(self, n_places: int) -> str:
        """Number of inner times and of subsamples."""
        return f"at {n_places} inner times of {self.n_subsamples} subsamples"

    @cached_property
    def _digest(self) -> str:
        # Once: the identity of every score asks for it, and it reads all cells.
        return self.data.digest()

    def task(self, model: Estimator, fold: Fold) -> Task:
        """Score of a candidate in one fold."""
        parts = [
            "tune",
            dyninfer.__version__,
            self._digest,
            type(model).__qualname__,
            fingerprint(model),
            repr(fold.time),
            fold.subsample,
            self.max_cells,
            self.max_steps,
            self.seed,
        ]
        identity = json.dumps(parts)
        return Task(identity, partial(self.score, model, fold))

    def score(self, model: Estimator, fold: Fold) -> Row:
        """Fit a candidate to a subsample without a time, and score its prediction."""
        # Wall time: what a user waits for.
        start = time.perf_counter()
        row: Row = {"time": fold.time, "subsample": fold.subsample}
        # All candidates see the same cells and the same seed, so that their differences are small.
        seed = subseed(self.seed, "tune", fold.subsample)
        data = self.data.subsample(self.max_cells, seed=seed)
        model = clone(model)
        try:
            with warnings.catch_warnings():
                # The last fit, which is kept, gives the same warnings.
                warnings.simplefilter("ignore", UserWarning)
                model.fit(
                    data,
                    hold_out=fold.time,
                    seed=seed,
                    max_steps=self.max_steps,
                    progress=False,
                )
                row |= _even_scores(model, data, fold.time, seed)
            row["status"] = model.status_
        # A candidate that cannot be fitted is not taken; the others go on.
        except (ValueError, RuntimeError, ArithmeticError) as error:
            row |= {"status": "failed", "note": str(error)}
        row["seconds"] = time.perf_counter() - start
        return row


def _even_scores(model: Any, data: Snapshots, held_out: float, seed: int) -> Row:
    """Scores of a prediction, with as many points as cells: weights would add points for free."""
    k = data.index(held_out)
    begin = float(data.times[k - 1])
    end = float(data.times[k])
    # From the cells of the time before, as `evaluate` does.
    ends = [begin, end]
    run = model.simulate(data, ends, seed=seed)
    last_states = run.states[:, -1]
    states = last_states.cpu().numpy()
    is_finite = np.isfinite(states).all(axis=1)
    if not is_finite.any():
        raise ValueError(f"all paths diverged before time {end:g}")
    weights = is_finite / is_finite.sum()
    if run.log_weights is not None:
        last_weights = run.log_weights[:, -1]
        log_weights = last_weights.double().cpu().numpy()
        log_weights = np.where(is_finite, log_weights, -np.inf)
        # Relative to the largest: masses may be beyond what floats hold.
        weights = np.exp(log_weights - log_weights.max())
    rng = numpy_stream(seed, "tune", "resample")
    rows = spread(weights, len(states), rng)
    scores = compare_populations(
        states[rows],
        data.at(end),
        y_weights=data.weights_at(end),
        metrics=METRICS,
        max_samples=None,
        floor=False,
        seed=seed,
    )
    return {name: float(scores[name]) for name in METRICS}
