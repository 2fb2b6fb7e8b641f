"""Phases of dwell times by maximum likelihood, and how many of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.data.arrays import as_tensor
from dyninfer.jumps.dwell.phase_types import PhaseType, log_coxian, log_erlang
from dyninfer.jumps.dwell.rows import by_row
from dyninfer.jumps.posterior.optimise import Maximum, maximise
from dyninfer.learning.settings import brief, check_count, check_word
from dyninfer.learning.surroundings import own_surroundings

KINDS = ("erlang", "coxian")
# Rates of Coxian phases start so far apart, for alike they would stay alike.
_SPREAD = 2.0
_MAX_STEPS = 300  # of BFGS; Coxian fits take 10 to 60


@dataclass(frozen=True, eq=False, kw_only=True)
class PhaseFit:
    """Phases that explain dwell times.

    Attributes
    ----------
    law : PhaseType
        The likeliest.
    log_likelihood : float
        At the maximum.
    n_parameters : int
        Numbers that were fitted: one for Erlang phases, ``2 k − 1`` for Coxian ones.
    n_times : int
        Number of dwell times.
    table : DataFrame or None
        Where the number of phases was chosen: ``n_phases``, ``log_likelihood``, ``bic``.
    """

    law: PhaseType
    log_likelihood: float
    n_parameters: int
    n_times: int
    table: pd.DataFrame | None = None

    @property
    def bic(self) -> float:
        """``n_parameters log n_times − 2 log L``: the least is the best explanation."""
        return self.n_parameters * math.log(self.n_times) - 2 * self.log_likelihood


@own_surroundings()
def fit_phases(
    times: Any,
    kind: str = "erlang",
    n_phases: int | None = None,
    *,
    is_complete: Any = True,
    most_phases: int = 5,
) -> PhaseFit:
    """Fit a distribution of phases to dwell times.

    Parameters
    ----------
    times : array ``(n,)``
        Dwell times, positive.
    kind : {"erlang", "coxian"}
        Phases of one rate that all must be passed, narrower than an exponential; or phases of
        rates of their own from each of which the time may end, narrower or wider.
    n_phases : int, optional
        By default the number with the least BIC.
    is_complete : bool, or array ``(n,)`` of bool
        False for times that were not over when they were last seen.
    most_phases : int
        Where their number is chosen, it is at most this.

    Raises
    ------
    ValueError
        If times are not positive and finite, or none is complete.

    Examples
    --------
    >>> from dyninfer.jumps.dwell import fit_phases
    >>> fit = fit_phases([0.3, 0.7, 1.2, 2.5])
    >>> fit.law.n_phases, round(fit.log_likelihood, 4)
    (2, -4.207)
    """
    check_word(kind, "kind", KINDS)
    data = _data(times, is_complete)
    if n_phases is not None:
        return _fit(*data, kind, check_count(n_phases, "n_phases"))
    numbers = range(1, check_count(most_phases, "most_phases") + 1)
    fits = [_fit(*data, kind, number) for number in numbers]
    best = min(fits, key=lambda fit: fit.bic)
    columns = {
        "n_phases": list(numbers),
        "log_likelihood": [fit.log_likelihood for fit in fits],
        "bic": [fit.bic for fit in fits],
    }
    return replace(best, table=pd.DataFrame(columns))


def coxian_start(n_phases: int, mean: float) -> ndarray:
    """Parameters ``(2 k − 1,)`` to start from: log-rates, and logits of going on, here all 0."""
    number = np.arange(n_phases)
    # With even chances to go on, two phases are passed on average.
    rates = 2 / mean * _SPREAD ** ((n_phases - 1) / 2 - number)
    return np.concatenate([np.log(rates), np.zeros(n_phases - 1)])


def _fit(times: Tensor, is_complete: Tensor, kind: str, n_phases: int) -> PhaseFit:
    # Time at risk over ends: the mean of exponential times.
    mean = float(times.sum() / is_complete.sum())
    if kind == "erlang":
        best = _maximum(
            partial(log_erlang, n_phases), times, is_complete, np.log([n_phases / mean])
        )
        law = PhaseType.erlang(n_phases, math.exp(float(best.theta)))
    else:
        best = _maximum(log_coxian, times, is_complete, coxian_start(n_phases, mean))
        rates = best.theta[0, :n_phases].exp()
        law = PhaseType(rates, best.theta[0, n_phases:].sigmoid())
    return PhaseFit(
        law=law,
        log_likelihood=float(best.value),
        n_parameters=best.theta.shape[1],
        n_times=len(times),
    )


def _maximum(log_law: Any, times: Tensor, is_complete: Tensor, start: ndarray) -> Maximum:
    def log_likelihood(theta: Tensor) -> Tensor:
        return log_law(theta, times, is_complete).sum()

    rows = torch.from_numpy(start).unsqueeze(0)
    return maximise(partial(by_row, log_likelihood), rows, max_iter=_MAX_STEPS)


def _data(times: Any, is_complete: Any) -> tuple[Tensor, Tensor]:
    durations = as_tensor(times, "times").double().reshape(-1)
    is_time = (durations > 0) & durations.isfinite()
    if len(durations) == 0 or not bool(is_time.all()):
        raise ValueError(f"times must be positive and finite, found {brief(times)}")
    flags = torch.as_tensor(is_complete)
    if flags.dtype != torch.bool or flags.shape not in ((), durations.shape):
        raise ValueError(
            f"is_complete must be True or False, or one of them for each of {len(durations)} "
            f"times; found {brief(is_complete)}"
        )
    flags = flags.expand(durations.shape)
    if not bool(flags.any()):
        raise ValueError("is_complete says that no time was over: nothing ends in such data")
    return durations, flags
