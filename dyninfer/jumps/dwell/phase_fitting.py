"""Phases of dwell times by maximum likelihood, and how many of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dyninfer.data.arrays import as_tensor
from dyninfer.data.words import as_text
from dyninfer.jumps.dwell.families import KINDS, PhaseFamily
from dyninfer.jumps.dwell.intervals import log_means_table
from dyninfer.jumps.dwell.phase_types import PhaseType
from dyninfer.jumps.dwell.records import check_dead_time
from dyninfer.jumps.dwell.rows import by_row
from dyninfer.jumps.dwell.saving import SavedFit, table_of, tensor_of, text_of
from dyninfer.jumps.posterior.optimise import floored_inverse, maximise
from dyninfer.learning.settings import brief, check_count, check_word
from dyninfer.learning.surroundings import own_surroundings
from dyninfer.learning.warn import warn

_MAX_STEPS = 300  # of BFGS; Coxian fits take 10 to 60
# Part of a dead time by which a time may be too short: differences of times since long ago are
# rounded so.
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False, kw_only=True)
class PhaseFit(SavedFit):
    """Phases that explain dwell times.

    Attributes
    ----------
    kind : {"erlang", "coxian"}
        Family of the law.
    law : PhaseType
        The likeliest.
    log_likelihood : float
        At the maximum.
    n_times : int
        Number of dwell times.
    dead_time : float
        Below it, times were not recorded.
    theta, covariance : Tensor, ``(p,)`` and ``(p, p)``
        Logarithms of the rates, then logits of going on.
    table : DataFrame or None
        Where the number of phases was chosen: ``n_phases``, ``log_likelihood``, ``aic``, ``bic``.
    """

    kind: str
    law: PhaseType
    log_likelihood: float
    n_times: int
    dead_time: float
    theta: Tensor
    covariance: Tensor
    table: pd.DataFrame | None = None

    @property
    def n_parameters(self) -> int:
        """Numbers that were fitted: one for Erlang phases, ``2 k − 1`` for Coxian ones."""
        return len(self.theta)

    @property
    def aic(self) -> float:
        """``2 n_parameters − 2 log L``."""
        return 2 * self.n_parameters - 2 * self.log_likelihood

    @property
    def bic(self) -> float:
        """``n_parameters log n_times − 2 log L``: the least is the best explanation."""
        return self.n_parameters * math.log(self.n_times) - 2 * self.log_likelihood

    def confidence_intervals(self, level: float = 0.9) -> pd.DataFrame:
        """The mean dwell time with an interval, normal in its logarithm.

        One row: ``n_phases``, ``mean``, ``low``, ``high``.
        """
        family = PhaseFamily(self.kind, self.law.n_phases)
        table = log_means_table([family], self.theta, self.covariance, level)
        table.insert(0, "n_phases", [family.n_phases])
        return table

    def _tensors(self) -> dict[str, Tensor]:
        return {"theta": self.theta, "covariance": self.covariance}

    def _facts(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "n_phases": self.law.n_phases,
            "log_likelihood": self.log_likelihood,
            "n_times": self.n_times,
            "dead_time": self.dead_time,
            "table": text_of(self.table),
        }

    @classmethod
    def _restored(cls, facts: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        kind = facts["kind"]
        check_word(kind, "kind", KINDS)
        family = PhaseFamily(kind, check_count(facts["n_phases"], "n_phases"))
        size = family.n_parameters
        theta = tensor_of(tensors, "theta", size)
        check_dead_time(facts["dead_time"])
        return cls(
            kind=kind,
            law=family.law(theta),
            log_likelihood=float(facts["log_likelihood"]),
            n_times=check_count(facts["n_times"], "n_times"),
            dead_time=float(facts["dead_time"]),
            theta=theta,
            covariance=tensor_of(tensors, "covariance", size, size),
            table=table_of(facts["table"]),
        )


class _Times(NamedTuple):
    complete: Tensor  # (m,)
    censored: Tensor  # (c,), those that were not over
    dead_time: Tensor  # ()

    @property
    def n_times(self) -> int:
        return len(self.complete) + len(self.censored)

    @property
    def mean(self) -> float:
        """Time at risk over ends: the mean of exponential times."""
        at_risk = self.complete.sum() + self.censored.sum() - self.n_times * self.dead_time
        return float(at_risk / len(self.complete))

    def log_likelihood(self, family: PhaseFamily, theta: Tensor) -> Tensor:
        """Of times that are all known to be longer than the dead time."""
        ends = family.log_densities(theta, self.complete).sum()
        lasting = family.log_survivals(theta, self.censored).sum()
        # At a time of 0 the logarithm of a power has no slope, and the term is 0.
        if self.dead_time == 0:
            return ends + lasting
        seen = family.log_survivals(theta, self.dead_time.reshape(1)).sum()
        return ends + lasting - self.n_times * seen


@own_surroundings()
def fit_phases(
    times: Any,
    kind: str = "erlang",
    n_phases: int | None = None,
    *,
    is_complete: Any = True,
    dead_time: float = 0.0,
    most_phases: int = 5,
) -> PhaseFit:
    r"""Fit a distribution of phases to dwell times.

    The likelihood of a time t is :math:`f(t) / S(\tau)` with the dead time τ, and
    :math:`S(t) / S(\tau)` where it was not over.

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
    dead_time : float
        Below it, times were not recorded, in their unit. Where missed visits lengthen what is
        around them, as in a channel, fit a scheme by :func:`~dyninfer.tl.fit_dwell_times`.
    most_phases : int
        Where their number is chosen, it is at most this.

    Raises
    ------
    ValueError
        If times are not positive and finite, none is complete, or one is below the dead time.

    Warns
    -----
    UserWarning
        If the maximum was not reached.

    References
    ----------
    Asmussen, Nerman, Olsson. Fitting phase-type distributions via the EM algorithm. Scandinavian
    Journal of Statistics 23, 1996.

    Examples
    --------
    >>> from dyninfer.jumps.dwell import fit_phases
    >>> fit = fit_phases([0.3, 0.7, 1.2, 2.5])
    >>> fit.law.n_phases, round(fit.log_likelihood, 4)
    (2, -4.207)
    """
    check_word(kind, "kind", KINDS)
    data = _data(times, is_complete, dead_time)
    if n_phases is not None:
        return _fit(data, PhaseFamily(kind, check_count(n_phases, "n_phases")))
    numbers = range(1, check_count(most_phases, "most_phases") + 1)
    fits = [_fit(data, PhaseFamily(kind, number)) for number in numbers]
    best = min(fits, key=lambda fit: fit.bic)
    columns = {
        "n_phases": list(numbers),
        "log_likelihood": [fit.log_likelihood for fit in fits],
        "aic": [fit.aic for fit in fits],
        "bic": [fit.bic for fit in fits],
    }
    return replace(best, table=pd.DataFrame(columns))


def _fit(data: _Times, family: PhaseFamily) -> PhaseFit:
    log_likelihood = partial(data.log_likelihood, family)
    start = family.start(data.mean).unsqueeze(0)
    best = maximise(partial(by_row, log_likelihood), start, max_iter=_MAX_STEPS)
    if not bool(best.converged.all()):
        warn(
            f"{family.n_phases} {family.kind} phases did not converge, and their likelihood may be "
            "higher; give fewer phases, or more times",
            UserWarning,
        )
    theta = best.theta[0]
    covariance, _ = floored_inverse(best.information[0])
    return PhaseFit(
        kind=family.kind,
        law=family.law(theta),
        log_likelihood=float(best.value),
        n_times=data.n_times,
        dead_time=float(data.dead_time),
        theta=theta,
        covariance=covariance,
    )


def _data(times: Any, is_complete: Any, dead_time: float) -> _Times:
    durations = as_tensor(times, "times").double().reshape(-1)
    is_time = (durations > 0) & durations.isfinite()
    if len(durations) == 0 or not bool(is_time.all()):
        raise ValueError(f"times must be positive and finite, found {brief(times)}")
    # By numpy, as a column of a table has an index that torch would read by.
    column = np.array(is_complete)
    if column.dtype != bool or column.shape not in ((), tuple(durations.shape)):
        raise ValueError(
            f"is_complete must be True or False, or one of them for each of {len(durations)} "
            f"times; found {brief(is_complete)}"
        )
    flags = torch.from_numpy(column).expand(durations.shape)
    if not bool(flags.any()):
        raise ValueError("is_complete says that no time was over: nothing ends in such data")
    check_dead_time(dead_time)
    shortest = float(durations.min())
    if shortest < dead_time * (1 - _ROUNDING):
        raise ValueError(
            f"times holds {as_text(shortest)}, shorter than dead_time={as_text(dead_time)}; leave "
            "such times out, as the recorder does not show all of them"
        )
    longest = float(durations.max())
    if longest <= dead_time * (1 + _ROUNDING):
        raise ValueError(
            f"all times are dead_time={as_text(dead_time)}, and no rate is that fast; give a "
            "shorter dead time"
        )
    least = torch.tensor(dead_time, dtype=torch.float64)
    return _Times(durations[flags], durations[~flags], least)
