"""Whether labels are Markov at a lag: implied time scales, and predictions of longer lags."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.data.time_reading import as_moment, requested_times
from dyninfer.jumps.likelihood.frames import Frames
from dyninfer.jumps.likelihood.state_names import renumbered
from dyninfer.jumps.posterior.summaries import quantiles
from dyninfer.jumps.process import MarkovJump
from dyninfer.jumps.process.discrete import (
    estimate,
    implied_time_scales,
    posterior_draws,
    powers,
)
from dyninfer.learning.settings import (
    brief,
    check_count,
    check_level,
    check_seed,
    check_switch,
)
from dyninfer.tools.jump_models import LearnedJumps, check_draws, pairs_of

# Lags in frames where none are named: about equal steps of their logarithm.
_LAGS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100)
# A lag longer than this part of the longest path has few pairs that do not overlap.
_LONGEST_PART = 0.25


def implied_timescales(
    data: Paths,
    lags: Any = None,
    *,
    model: Any = None,
    reversible: bool = False,
    level: float = 0.9,
    n_samples: int = 300,
    seed: int = 0,
) -> pd.DataFrame:
    """Relaxation times of transition matrices counted at several lags.

    ``−τ / ln |λ_k(τ)|`` (Swope, Pitera and Suits 2004, J. Phys. Chem. B 108, 6571). If labels are
    Markov, they do not depend on the lag; wrong labels and lumped states make them grow with it.

    Parameters
    ----------
    data : Paths
        States at equal steps of time, some perhaps missing.
    lags : sequence of float, optional
        In the unit of the times, multiples of the step; by default up to a quarter of the longest
        path.
    model : MarkovJumpInference or MarkovJump, optional
        Adds the relaxation times of this model.
    reversible : bool
        Whether the matrices have detailed balance.
    level : float
        Coverage of the intervals.
    n_samples, seed
        Draws of a matrix for the intervals. Rows are drawn from Dirichlet distributions; because
        pairs overlap, their counts are reduced by the lag.

    Returns
    -------
    DataFrame
        One row per lag and time scale, the slowest first: ``lag``, ``process``, ``value``, ``low``,
        ``high``, and with a model ``model``, ``model_low``, ``model_high``.

    Raises
    ------
    TypeError, ValueError
        If steps of time differ, a state has no successor at a lag, or an argument is invalid.

    Examples
    --------
    >>> import dyninfer as di
    >>> queue = di.simulators.BirthDeath(birth=1.0, death=2.0, largest=2)
    >>> paths = queue.paths(range(10), 200)
    >>> list(di.tl.implied_timescales(paths, lags=[1, 2]).columns)
    ['lag', 'process', 'value', 'low', 'high']
    """
    counted = _Counted.of(data, None, reversible, level, n_samples, seed)
    steps = counted.default_steps()
    if lags is not None:
        steps = [counted.frames.steps_of(lag) for lag in requested_times(lags, "lags")]
    parts = []
    number = np.arange(1, counted.frames.n_states)
    for n_steps in steps:
        lag = n_steps * counted.frames.step
        point, draws = counted.at(n_steps)
        low, high = quantiles(implied_time_scales(draws, lag), level)
        columns = {
            "lag": lag,
            "process": number,
            "value": implied_time_scales(point, lag).numpy(),
            "low": low.numpy(),
            "high": high.numpy(),
        }
        parts.append(pd.DataFrame(columns))
    table = pd.concat(parts, ignore_index=True)
    if model is None:
        return table
    jumps = LearnedJumps.of(model, level, n_samples, seed)
    own = pd.DataFrame({"process": np.arange(1, jumps.process.n_states)})
    own = jumps.with_values(own, MarkovJump.relaxation_times)
    own = own.rename(columns={"value": "model", "low": "model_low", "high": "model_high"})
    return table.merge(own, how="left", on="process")


def chapman_kolmogorov(
    data: Paths,
    lag: float,
    *,
    n_multiples: int = 5,
    model: Any = None,
    reversible: bool = False,
    level: float = 0.9,
    n_samples: int = 300,
    seed: int = 0,
) -> pd.DataFrame:
    """Transition probabilities at multiples of a lag, predicted from the lag and counted.

    ``T(τ)^k`` beside ``T(kτ)`` (Prinz et al. 2011, J. Chem. Phys. 134, 174105); with a model,
    ``e^{Q k τ}``. If labels are Markov, the two agree within their intervals.

    Parameters
    ----------
    data : Paths
        States at equal steps of time, some perhaps missing.
    lag : float
        In the unit of the times, a multiple of the step.
    n_multiples : int
        Largest multiple of the lag.
    model : MarkovJumpInference or MarkovJump, optional
        Predicts in place of the transition matrix at the lag.
    reversible, level, n_samples, seed
        As in :func:`implied_timescales`.

    Returns
    -------
    DataFrame
        A row for every multiple and pair of states: ``time``, ``source``, ``target``,
        ``predicted``, ``predicted_low``, ``predicted_high``, ``estimated``, ``estimated_low``,
        ``estimated_high``. A process that was not fitted predicts without intervals.

    Raises
    ------
    TypeError, ValueError
        As in :func:`implied_timescales`.

    Examples
    --------
    >>> import dyninfer as di
    >>> queue = di.simulators.BirthDeath(birth=1.0, death=2.0, largest=2)
    >>> paths = queue.paths(range(10), 200)
    >>> list(di.tl.chapman_kolmogorov(paths, 1).columns)[:4]
    ['time', 'source', 'target', 'predicted']
    """
    jumps = None
    names = None
    if model is not None:
        jumps = LearnedJumps.of(model, level, n_samples, seed)
        names = jumps.process.state_names
    counted = _Counted.of(data, names, reversible, level, n_samples, seed)
    n_steps = counted.frames.steps_of(as_moment(lag, "lag"))
    n_multiples = check_count(n_multiples, "n_multiples")
    # Refused before anything is computed where no path is as long as the last multiple.
    counted.frames.steps_of(n_multiples * n_steps * counted.frames.step)
    point, draws = counted.at(n_steps)
    multiples = np.arange(1, n_multiples + 1)
    times = multiples * n_steps * counted.frames.step
    rows = _jump_rows(times, counted.frames.state_names)
    if jumps is None:
        table = _with_columns(rows, "predicted", powers(point, n_multiples))
        ends = quantiles(powers(draws, n_multiples), level)
        table = _with_ends(table, "predicted", ends)
    else:
        table = jumps.with_values(rows, lambda process: _transitions(process, times))
        columns = {"value": "predicted", "low": "predicted_low", "high": "predicted_high"}
        table = table.rename(columns=columns)
    pairs = [counted.at(int(k) * n_steps) for k in multiples]
    points, every_draw = zip(*pairs, strict=True)
    table = _with_columns(table, "estimated", torch.stack(points))
    return _with_ends(table, "estimated", quantiles(torch.stack(every_draw, dim=1), level))


class _Counted:
    """Transition matrices of labels at any lag, and draws of what they may be."""

    def __init__(self, frames: Frames, reversible: bool, n_samples: int, seed: int):
        self.frames = frames
        self.reversible = reversible
        self.n_samples = n_samples
        self.seed = seed

    @classmethod
    def of(
        cls, data: Any, names: Any, reversible: bool, level: float, n_samples: int, seed: int
    ) -> _Counted:
        """Read paths, in the numbers of the states of a model where there is one."""
        if not isinstance(data, Paths):
            raise TypeError(
                f"data must be Paths, found {brief(data)}; Paths.from_anndata reads them"
            )
        check_level(level)
        n_samples = check_count(n_samples, "n_samples")
        if names is not None and data.discrete:
            data = renumbered(data, names)
        frames = Frames.of(data)
        check_draws(n_samples, frames.n_states)
        is_reversible = check_switch(reversible, "reversible")
        return cls(frames, is_reversible, n_samples, check_seed(seed))

    def default_steps(self) -> list[int]:
        """Lags in frames, up to a quarter of the longest path."""
        longest = max(1, int(_LONGEST_PART * self.frames.longest))
        return [lag for lag in _LAGS if lag <= longest]

    def at(self, lag: int) -> tuple[Tensor, Tensor]:
        """Transition matrix ``(S, S)`` at a lag in frames, and draws ``(draw, S, S)``."""
        counts = self.frames.counts(lag)
        point = estimate(counts, self.reversible)
        draws = posterior_draws(counts, lag, self.reversible, self.n_samples, self.seed)
        return point, draws


def _jump_rows(times: np.ndarray, names: Any) -> pd.DataFrame:
    """One row for every time and pair of states."""
    states = np.asarray(names, dtype=object)
    pairs = pairs_of(states, states, ("source", "target"))
    rows = pd.concat([pairs] * len(times), ignore_index=True)
    rows.insert(0, "time", np.repeat(times, len(pairs)))
    return rows


def _transitions(process: MarkovJump, times: np.ndarray) -> Tensor:
    """Transition probabilities ``(..., row)`` at each of the times."""
    matrices = [process.transition(float(time)) for time in times]
    return torch.stack(matrices, dim=-3).flatten(-3)


def _with_columns(table: pd.DataFrame, name: str, values: Tensor) -> pd.DataFrame:
    return table.assign(**{name: values.flatten().numpy()})


def _with_ends(table: pd.DataFrame, name: str, ends: tuple[Tensor, Tensor]) -> pd.DataFrame:
    low, high = ends
    table = _with_columns(table, f"{name}_low", low)
    return _with_columns(table, f"{name}_high", high)
