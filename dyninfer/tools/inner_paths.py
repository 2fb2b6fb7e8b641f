"""Scores of candidates at paths that are left out of those that are kept, fold by fold."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from dyninfer.data.paths import Paths
from dyninfer.data.words import counted
from dyninfer.estimators import Estimator
from dyninfer.learning.random import numpy_stream
from dyninfer.learning.settings import brief
from dyninfer.tools.held_out_paths import (
    LIKELIHOODS,
    NUMBER_SCORES,
    STATE_SCORES,
    HeldOutPaths,
    PathFold,
    path_folds,
    path_groups,
)
from dyninfer.tools.tasks import Row, Task

LIKELIHOOD = "per_observation"


@dataclass(frozen=True, kw_only=True)
class InnerPaths:
    """Scores of candidates at paths that are left out of those that are kept.

    Attributes
    ----------
    scoring : HeldOutPaths
        Of the paths without those that are held out from tuning.
    n_folds : int or None
        By default five, or one for each path where there are fewer.
    by_condition : bool
        Keep paths of one condition in one fold.
    seed : int
    """

    place: ClassVar[str] = "fold"

    scoring: HeldOutPaths
    n_folds: int | None
    by_condition: bool
    seed: int

    @property
    def columns(self) -> tuple[str, ...]:
        """Scores of paths of this kind."""
        scores = STATE_SCORES if self.scoring.data.discrete else NUMBER_SCORES
        return ("n_paths", *LIKELIHOODS, *scores)

    @property
    def forecast_score(self) -> str:
        """Score of forecasts that is proper for paths of this kind."""
        return "brier" if self.scoring.data.discrete else "crps"

    def folds(self) -> list[PathFold]:
        """Random folds of the paths; none where there is but one to leave out."""
        data = self.scoring.data
        group, _ = path_groups(data, self.by_condition)
        if group.max() == 0:
            return []
        return path_folds(
            data, n_folds=self.n_folds, by_condition=self.by_condition, seed=self.seed
        )

    def place_of(self, fold: PathFold) -> int:
        """Number of the fold."""
        return fold.number

    def task(self, model: Estimator, fold: PathFold) -> Task:
        """Score of a candidate in one fold, as ``compare`` computes it."""
        task = self.scoring.of_model(type(model).__name__, model, fold, self.seed)
        return task._replace(compute=partial(_without_warnings, task.compute))

    def changes(self, old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
        """Change of the log-likelihood of an observation, and of forecasts, in every fold."""
        second = new[self.forecast_score] - old[self.forecast_score]
        loss = old[LIKELIHOOD] - new[LIKELIHOOD]
        if old[LIKELIHOOD].isna().all():
            # Without likelihoods, forecasts are all there is.
            loss = second
        return pd.DataFrame({"fold": old["fold"], "loss": loss, "second": second})

    def reason_for_none(self) -> str:
        """Why there is no fold."""
        _, what = path_groups(self.scoring.data, self.by_condition)
        return f"There is no second {what} to leave out"

    def where(self, row: Row) -> str:
        """The fold that was left out."""
        return f"without fold {row['fold']}"

    def gain(self, loss: float) -> str:
        """Mean change of what decides, per observation."""
        return f"log-likelihood {-loss:+.3g} nats an observation"

    def extent(self, n_places: int) -> str:
        """Number of folds and of paths."""
        n_paths = len(self.scoring.data)
        return f"in {n_places} folds of {counted(n_paths, 'path')}"


def names_to_hold_out(
    paths: Paths, hold_out: Any, by_condition: bool, seed: int
) -> tuple[str, ...]:
    """Names of the paths that play no part in a choice: those named, or a share at random.

    Parameters
    ----------
    paths : Paths
    hold_out : None, float, or names of paths
        A number between 0 and 1 is a share of the paths.
    by_condition : bool
        Leave whole conditions out.
    seed : int

    Raises
    ------
    ValueError
        If a path is not there, none would remain, or a condition would be split.
    """
    if hold_out is None:
        return ()
    if isinstance(hold_out, float):
        return _random_share(paths, hold_out, by_condition, seed)
    (fold,) = path_folds(paths, hold_out, by_condition=by_condition, seed=seed)
    return fold.names


def _random_share(paths: Paths, share: float, by_condition: bool, seed: int) -> tuple[str, ...]:
    if not 0 < share < 1:
        raise ValueError(f"a share of paths to hold out must lie in (0, 1), found {brief(share)}")
    group, _ = path_groups(paths, by_condition)
    n_groups = int(group.max()) + 1
    n_held_out = max(round(share * n_groups), 1)
    if n_held_out >= n_groups:
        raise ValueError(
            f"hold_out={share:g} leaves none of {counted(len(paths), 'path')} for the choice; "
            "hold out a smaller share"
        )
    order = numpy_stream(seed, "held-out paths").permutation(n_groups)
    is_held_out = np.isin(group, order[:n_held_out])
    return tuple(str(name) for name in paths.names[is_held_out])


def _without_warnings(compute: Callable[[], Row]) -> Row:
    """A row without a word: the last fit, which is kept, gives the same warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return compute()
