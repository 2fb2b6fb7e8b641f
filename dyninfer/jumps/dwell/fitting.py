"""Rates from dwell times, with the visits that were missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import pandas as pd
import torch
from torch import Tensor

from dyninfer.jumps.dwell.apparent import ApparentDwellTimes
from dyninfer.jumps.dwell.idealise import open_numbers
from dyninfer.jumps.dwell.law import ApparentLaw, DwellData
from dyninfer.jumps.dwell.records import DwellTimes, check_dead_time
from dyninfer.jumps.dwell.rows import by_row
from dyninfer.jumps.dwell.saving import SavedFit, tensor_of
from dyninfer.jumps.likelihood.scheme import RateScheme
from dyninfer.jumps.posterior.curvature import Curvature
from dyninfer.jumps.posterior.fitting import JumpFit
from dyninfer.jumps.posterior.optimise import maximise
from dyninfer.jumps.posterior.summaries import rate_table
from dyninfer.jumps.process import MarkovJump
from dyninfer.jumps.settings import Jumps, as_jumps
from dyninfer.learning.settings import brief, check_count
from dyninfer.learning.surroundings import own_surroundings
from dyninfer.learning.warn import warn

# States of one class start this factor apart, in either order: alike, they would stay alike.
_SPREADS = (4.0, 0.25)
# Of the dead time: a start that leaves a state more often than that has hardly a likelihood.
_FASTEST_START = 2.0


@dataclass(frozen=True, eq=False, kw_only=True)
class DwellFit(SavedFit):
    """What dwell times say of a generator.

    Attributes
    ----------
    process : MarkovJump
        With the likeliest rates, in the unit of the dwell times.
    fit : JumpFit
        The maximum, with its curvature.
    open_states : tuple of str
        Names of the open states.
    dead_time : float
        Of the records.
    """

    process: MarkovJump
    fit: JumpFit
    open_states: tuple[str, ...]
    dead_time: float

    @property
    def log_likelihood(self) -> float:
        """At the maximum."""
        return float(self.fit.log_likelihood)

    @property
    def bic(self) -> float:
        """``k log n − 2 log L``, n counting the dwell times."""
        return float(self.fit.bic)

    @property
    def apparent(self) -> ApparentDwellTimes:
        """Law of the dwell times that such a record shows."""
        return ApparentDwellTimes(self.process, self.open_states, self.dead_time)

    def confidence_intervals(self, level: float = 0.9) -> pd.DataFrame:
        """Rates with intervals, normal in the log-rates, from the curvature at the maximum.

        One row per jump that can happen: ``source``, ``target``, ``rate``, ``low``, ``high``, and
        ``flat`` where the data say nothing about it.
        """
        return rate_table(self.fit, self.process.state_names, level)

    def _tensors(self) -> dict[str, Tensor]:
        fit = self.fit
        return {
            "theta": fit.theta,
            "information": fit.information,
            "log_likelihood": fit.log_likelihood,
            "n_observed": fit.n_observed,
            "converged": fit.converged,
            "edges": fit.scheme.edges,
            "design": fit.scheme.design,
            "offset": fit.scheme.offset,
        }

    def _facts(self) -> dict[str, Any]:
        return {
            "state_names": list(self.process.state_names),
            "open_states": list(self.open_states),
            "dead_time": self.dead_time,
            "iterations": self.fit.iterations,
        }

    @classmethod
    def _restored(cls, facts: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        names = [str(name) for name in facts["state_names"]]
        scheme = _scheme_of_file(tensors, len(names))
        size = scheme.n_parameters
        information = tensor_of(tensors, "information", size, size)
        fit = JumpFit(
            scheme=scheme,
            theta=tensor_of(tensors, "theta", size),
            log_likelihood=tensor_of(tensors, "log_likelihood"),
            curvature=Curvature(information),
            n_observed=tensor_of(tensors, "n_observed"),
            converged=tensor_of(tensors, "converged"),
            iterations=int(facts["iterations"]),
        )
        check_dead_time(facts["dead_time"])
        open_states = tuple(facts["open_states"])
        # Refuses names of no state here, and not where the law is asked for.
        open_numbers(open_states, names)
        return cls(
            process=MarkovJump(fit.generator, state_names=names),
            fit=fit,
            open_states=open_states,
            dead_time=float(facts["dead_time"]),
        )


@own_surroundings()
def fit_dwell_times(
    dwell_times: DwellTimes,
    state_names: Sequence[str],
    open_states: Sequence[str],
    jumps: Jumps | RateScheme | str = "all",
    *,
    start: MarkovJump | None = None,
    max_steps: int = 200,
) -> DwellFit:
    """Fit rates to dwell times of which the short ones were missed.

    The likelihood is exact: it has the density of apparent open and shut times, which include
    missed visits shorter than the dead time, and their order. The first dwell time of a record
    starts as dwell times do on average. A dwell time that was cut off by the end of the record
    counts by its probability of lasting longer.

    Parameters
    ----------
    dwell_times : DwellTimes
        Records of one kind of channel, with one channel active at a time.
    state_names : sequence of str
        Names of the states of a channel.
    open_states : sequence of str
        Names of the open states.
    jumps : Jumps, RateScheme or {"all", "reversible", "birth-death"}
        Which jumps can happen, and how their rates are tied. With several open and several shut
        states, dwell times determine only ``2 n_open n_shut`` rates (Fredkin, Montal and Rice,
        1985); ``flat`` in the intervals marks the others.
    start : MarkovJump, optional
        Starting rates; by default from the mean dwell times.
    max_steps : int
        Largest number of steps of the maximisation.

    Returns
    -------
    DwellFit

    Raises
    ------
    ValueError
        If a named state does not exist, none is open or none is shut, or the records hold no
        complete open and shut time.

    References
    ----------
    Colquhoun, Hawkes, Srodzinski. Joint distributions of apparent open and shut times of single-ion
    channels and maximum likelihood fitting of mechanisms. Phil. Trans. R. Soc. A 354, 1996.

    Examples
    --------
    >>> from dyninfer.jumps.dwell import DwellTimes, fit_dwell_times
    >>> record = DwellTimes([[0.3, 0.4, 0.7, 0.25, 0.2]], dead_time=0.1)
    >>> fit = fit_dwell_times(record, ["open", "shut"], ["open"])
    >>> fit.confidence_intervals().shape
    (2, 6)
    """
    names = [str(name) for name in state_names]
    is_open = torch.zeros(len(names), dtype=torch.bool)
    is_open[open_numbers(open_states, names)] = True
    scheme = _scheme_of(jumps, names)
    means = _mean_times(dwell_times)
    problem = DwellProblem(DwellData(dwell_times), scheme, is_open)
    if start is None:
        starts = _crude_starts(scheme, is_open, means, dwell_times.dead_time)
    else:
        starts = [scheme.parameters_of(start.generator)]
    theta = torch.stack(starts)
    max_steps = check_count(max_steps, "max_steps")
    best = maximise(problem.log_posterior, theta, max_iter=max_steps)
    fits = JumpFit.of(problem, best, theta.shape[:-1])
    fit = fits.member(int(best.value.argmax()))
    if not bool(fit.converged):
        warn(
            "the rates did not converge: give more max_steps, or fewer states or jumps; "
            "confidence_intervals() marks rates that the records do not determine as flat",
            UserWarning,
        )
    return DwellFit(
        process=MarkovJump(fit.generator, state_names=names),
        fit=fit,
        open_states=tuple(open_states),
        dead_time=dwell_times.dead_time,
    )


@dataclass(frozen=True, eq=False)
class DwellProblem:
    """Dwell times, and the generators that are to explain them.

    Parameters
    ----------
    data : DwellData
        The records.
    scheme : RateScheme
        Which jumps are allowed and how their rates hang together.
    is_open : Tensor, ``(S,)`` bool
        The open states.
    """

    data: DwellData
    scheme: RateScheme
    is_open: Tensor

    @property
    def n_observed(self) -> Tensor:
        """Number of dwell times ``()``."""
        return torch.tensor(float(self.data.n_dwells), dtype=torch.float64)

    def log_likelihood(self, theta: Tensor) -> Tensor:
        """Log-likelihood ``(...)`` of parameters ``(..., p)``."""
        return by_row(self._of_row, theta)

    def log_posterior(self, theta: Tensor) -> Tensor:
        """The same: there is no prior."""
        return self.log_likelihood(theta)

    def _of_row(self, theta: Tensor) -> Tensor:
        generator = self.scheme.generator(theta)
        law = ApparentLaw(generator, self.is_open, self.data.dead_time)
        if law.n_pieces == 0:
            # Too fast to be seen at all. Added to the rates, so that there is a slope, of zero.
            return 0.0 * theta.sum() - torch.inf
        return self.data.log_likelihoods(law).sum()


def _scheme_of(jumps: Jumps | RateScheme | str, names: Sequence[str]) -> RateScheme:
    if not isinstance(jumps, RateScheme):
        return as_jumps(jumps).scheme(names)
    if jumps.n_states != len(names):
        raise ValueError(
            f"jumps has {jumps.n_states} states and state_names {len(names)}; give as many names"
        )
    return jumps


def _scheme_of_file(tensors: dict[str, Tensor], n_states: int) -> RateScheme:
    n_edges = len(tensors["edges"])
    n_parameters = tensors["design"].shape[-1]
    edges = tensor_of(tensors, "edges", n_edges, 2)
    design = tensor_of(tensors, "design", n_edges, n_parameters)
    offset = tensor_of(tensors, "offset", n_edges)
    is_state = (edges >= 0) & (edges < n_states)
    if edges.is_floating_point() or not bool(is_state.all()):
        raise ValueError(f"'edges' names states that are none of {n_states}")
    return RateScheme(n_states, edges, design, offset)


def _mean_times(dwell_times: DwellTimes) -> tuple[float, float]:
    """Mean complete open and shut time."""
    open_times = dwell_times.open_times
    shut_times = dwell_times.shut_times
    n_times = len(open_times), len(shut_times)
    if 0 in n_times:
        raise ValueError(
            f"the records hold {n_times[0]} complete open times and {n_times[1]} shut ones; "
            f"rates need both, found {brief(dwell_times.durations[0].tolist())}"
        )
    return float(open_times.mean()), float(shut_times.mean())


def _crude_starts(
    scheme: RateScheme, is_open: Tensor, means: tuple[float, float], dead_time: float
) -> list[Tensor]:
    """Parameters ``(p,)`` to start from: rates by the mean dwell times, spread within a class."""
    open_mean, shut_mean = means
    n_states = len(is_open)
    n_open = int(is_open.sum())
    rank = torch.where(is_open, is_open.cumsum(0), (~is_open).cumsum(0)) - 1
    size = torch.where(is_open, n_open, n_states - n_open)
    power = rank - (size - 1) / 2
    mean = torch.where(is_open, open_mean, shut_mean).double()
    starts = []
    for spread in _SPREADS:
        exit_rate = spread**power / mean
        if dead_time > 0:
            exit_rate = exit_rate.clamp(max=_FASTEST_START / dead_time)
        n_targets = scheme.allowed.sum(1).clamp(min=1)
        rates = (exit_rate / n_targets)[:, None].expand(n_states, n_states)
        starts.append(scheme.parameters_of(rates))
    # With one state of either class both are the same.
    return starts if n_states > 2 else starts[:1]
