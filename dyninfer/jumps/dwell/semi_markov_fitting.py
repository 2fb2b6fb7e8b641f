"""Phases of dwell times from labels at given times."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.jumps.dwell.phase_types import PhaseType
from dyninfer.jumps.dwell.rows import by_row
from dyninfer.jumps.dwell.semi_markov import PhaseData, SemiMarkov, owners, phase_generator
from dyninfer.jumps.likelihood.state_names import names_of
from dyninfer.jumps.posterior.optimise import floored_inverse, maximise
from dyninfer.jumps.process.chain import is_diagonal
from dyninfer.learning.settings import brief, check_count, check_level
from dyninfer.learning.surroundings import own_surroundings
from dyninfer.learning.warn import warn


@dataclass(frozen=True, eq=False, kw_only=True)
class SemiMarkovFit:
    """Erlang dwell times that explain labels.

    Attributes
    ----------
    model : SemiMarkov
        The likeliest.
    log_likelihood : float
        At the maximum.
    n_observed : int
        Number of labels that follow on another.
    theta, covariance : Tensor, ``(p,)`` and ``(p, p)``
        Logarithms of the rates of the states, then what the jumps follow from.
    """

    model: SemiMarkov
    log_likelihood: float
    n_observed: int
    theta: Tensor
    covariance: Tensor

    @property
    def bic(self) -> float:
        """``p log n − 2 log L``: compare it between numbers of phases."""
        return len(self.theta) * math.log(self.n_observed) - 2 * self.log_likelihood

    def confidence_intervals(self, level: float = 0.9) -> pd.DataFrame:
        """Mean dwell times with intervals, normal in their logarithms.

        One row per state: ``state``, ``n_phases``, ``mean``, ``low``, ``high``.
        """
        check_level(level)
        upper_tail = torch.tensor(0.5 + level / 2, dtype=torch.float64)
        laws = self.model.dwell_times
        n_states = len(laws)
        std = self.covariance.diagonal()[:n_states].sqrt()
        factor = torch.exp(torch.special.ndtri(upper_tail) * std).numpy()
        mean = np.array([law.mean for law in laws.values()])
        columns = {
            "state": list(laws),
            "n_phases": [law.n_phases for law in laws.values()],
            "mean": mean,
            "low": mean / factor,
            "high": mean * factor,
        }
        return pd.DataFrame(columns)


@own_surroundings()
def fit_semi_markov(
    paths: Paths,
    n_phases: int | Mapping[str, int],
    *,
    entered: bool = True,
    max_steps: int = 300,
) -> SemiMarkovFit:
    """Fit Erlang dwell times and jumps to labels at given times.

    One phase each is a Markov process. Fit several numbers of phases, and take the least ``bic``.

    Parameters
    ----------
    paths : Paths
        Labels, never wrong.
    n_phases : int or mapping of str to int
        Phases of every state, or of each by its name; those that are not named have one.
    entered : bool
        Whether a path begins when its first state is entered; False for a process that has been
        running for long.
    max_steps : int
        Most steps of the maximisation.

    Raises
    ------
    ValueError
        If a state is named that does not exist, or no label follows on another.

    Examples
    --------
    >>> import dyninfer as di
    >>> from dyninfer.jumps.dwell import fit_semi_markov
    >>> path = di.Paths(times=[[0, 1, 2, 3, 5, 6]], states=[["G1", "S", "G1", "G1", "S", "G1"]])
    >>> fit_semi_markov(path, {"G1": 2}).model.dwell_times["G1"].n_phases
    2
    """
    names = names_of(paths, None)
    sizes = _sizes(n_phases, names)
    data = PhaseData(paths, names, owners(sizes), entered)
    if data.n_observed == 0:
        raise ValueError(
            "every path has one label only; times between labels say how long they last"
        )
    durations = [times[-1] - times[0] for times in paths.times]
    start = _start(sizes, float(np.sum(durations)) / data.n_observed)

    def log_likelihood(theta: Tensor) -> Tensor:
        generator = _generator(theta, sizes)
        return data.log_likelihoods(generator).sum()

    max_steps = check_count(max_steps, "max_steps")
    best = maximise(partial(by_row, log_likelihood), start.unsqueeze(0), max_iter=max_steps)
    if not bool(best.converged.all()):
        warn("the dwell times did not converge: give more max_steps, or fewer phases", UserWarning)
    theta = best.theta[0]
    rates = theta[: len(names)].exp().tolist()
    laws = {
        name: PhaseType.erlang(size, rate)
        for name, size, rate in zip(names, sizes, rates, strict=True)
    }
    covariance, _ = floored_inverse(best.information[0])
    return SemiMarkovFit(
        model=SemiMarkov(laws, _jumps(theta, len(names))),
        log_likelihood=float(best.value),
        n_observed=data.n_observed,
        theta=theta,
        covariance=covariance,
    )


def _sizes(n_phases: int | Mapping[str, int], names: Sequence[str]) -> list[int]:
    if not isinstance(n_phases, Mapping):
        return [check_count(n_phases, "n_phases")] * len(names)
    unknown = [name for name in n_phases if name not in names]
    if unknown:
        raise ValueError(
            f"n_phases names {brief(unknown[0])}, which is no state; the states are {brief(names)}"
        )
    return [check_count(n_phases.get(name, 1), f"n_phases[{name!r}]") for name in names]


def _start(sizes: Sequence[int], gap: float) -> Tensor:
    """Parameters ``(p,)``: a dwell time of three gaps, and every other state as likely next."""
    rates = np.array(sizes) / (3 * gap)
    n_states = len(sizes)
    n_logits = n_states * (n_states - 2)
    start = np.append(np.log(rates), np.zeros(n_logits))
    return torch.from_numpy(start)


def _generator(theta: Tensor, sizes: Sequence[int]) -> Tensor:
    rates = theta[: len(sizes)].exp()
    blocks = []
    for size, rate in zip(sizes, rates, strict=True):
        ones = theta.new_ones(size)
        onward = torch.diag(ones[1:], 1)
        block = rate * (onward - torch.diag(ones))
        blocks.append(block)
    jumps = _jumps(theta, len(sizes))
    return phase_generator(blocks, jumps)


def _jumps(theta: Tensor, n_states: int) -> Tensor:
    """Probabilities ``(S, S)`` of the next state; the logit of each row's first target is 0."""
    logits = theta[n_states:].reshape(n_states, n_states - 2)
    first = theta.new_zeros(n_states, 1)
    every_logit = torch.cat([first, logits], dim=1)
    shares = every_logit.softmax(1)
    jumps = theta.new_zeros(n_states, n_states)
    is_other = ~is_diagonal(jumps)
    # Shares stand in rows, as the places outside of the diagonal do.
    return jumps.masked_scatter(is_other, shares)
