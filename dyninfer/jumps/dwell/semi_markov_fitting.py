"""Phases of dwell times from labels at given times."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.data.words import listed
from dyninfer.jumps.dwell.families import KINDS, PhaseFamily
from dyninfer.jumps.dwell.intervals import log_means_table
from dyninfer.jumps.dwell.rows import by_row
from dyninfer.jumps.dwell.saving import SavedFit, table_of, tensor_of, text_of
from dyninfer.jumps.dwell.semi_markov import (
    PhaseData,
    SemiMarkov,
    check_labels,
    owners,
    phase_generator,
)
from dyninfer.jumps.likelihood.state_names import names_of
from dyninfer.jumps.posterior.optimise import floored_inverse, maximise
from dyninfer.jumps.process.chain import is_diagonal
from dyninfer.learning.settings import brief, check_count, check_word
from dyninfer.learning.surroundings import own_surroundings
from dyninfer.learning.warn import warn

NumberOfPhases = int | Mapping[str, int] | None


@dataclass(frozen=True, eq=False, kw_only=True)
class SemiMarkovFit(SavedFit):
    """Dwell times made of phases that explain labels.

    Attributes
    ----------
    kind : {"erlang", "coxian"}
        Family of the dwell times.
    model : SemiMarkov
        The likeliest.
    log_likelihood : float
        At the maximum.
    n_observed : int
        Number of labels that follow on another.
    theta, covariance : Tensor, ``(p,)`` and ``(p, p)``
        Parameters of the dwell times of one state after the other, then what the jumps follow from.
    table : DataFrame or None
        Where the numbers of phases were chosen: one of every state by its name, then
        ``log_likelihood`` and ``bic``, a row for each fit.
    """

    kind: str
    model: SemiMarkov
    log_likelihood: float
    n_observed: int
    theta: Tensor
    covariance: Tensor
    table: pd.DataFrame | None = None

    @property
    def aic(self) -> float:
        """``2 p − 2 log L``."""
        return 2 * len(self.theta) - 2 * self.log_likelihood

    @property
    def bic(self) -> float:
        """``p log n − 2 log L``: compare it between numbers of phases."""
        return len(self.theta) * math.log(self.n_observed) - 2 * self.log_likelihood

    def confidence_intervals(self, level: float = 0.9) -> pd.DataFrame:
        """Mean dwell times with intervals, normal in their logarithms.

        One row per state: ``state``, ``n_phases``, ``mean``, ``low``, ``high``.
        """
        laws = self.model.dwell_times
        families = [PhaseFamily(self.kind, law.n_phases) for law in laws.values()]
        table = log_means_table(families, self.theta, self.covariance, level)
        table.insert(0, "state", list(laws))
        table.insert(1, "n_phases", [family.n_phases for family in families])
        return table

    def _tensors(self) -> dict[str, Tensor]:
        return {"theta": self.theta, "covariance": self.covariance}

    def _facts(self) -> dict[str, Any]:
        laws = self.model.dwell_times
        return {
            "kind": self.kind,
            "n_phases": [[name, law.n_phases] for name, law in laws.items()],
            "log_likelihood": self.log_likelihood,
            "n_observed": self.n_observed,
            "table": text_of(self.table),
        }

    @classmethod
    def _restored(cls, facts: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        kind = facts["kind"]
        check_word(kind, "kind", KINDS)
        n_phases = dict(facts["n_phases"])
        names = list(n_phases)
        sizes = [check_count(size, "n_phases") for size in n_phases.values()]
        families = [PhaseFamily(kind, size) for size in sizes]
        n_of_laws = sum(family.n_parameters for family in families)
        size = n_of_laws + _n_of_jumps(len(names))
        theta = tensor_of(tensors, "theta", size)
        return cls(
            kind=kind,
            model=model_of(names, families, theta),
            log_likelihood=float(facts["log_likelihood"]),
            n_observed=check_count(facts["n_observed"], "n_observed"),
            theta=theta,
            covariance=tensor_of(tensors, "covariance", size, size),
            table=table_of(facts["table"]),
        )


@own_surroundings()
def fit_semi_markov(
    paths: Paths,
    n_phases: NumberOfPhases = None,
    kind: str = "erlang",
    *,
    entered: bool = True,
    most_phases: int = 4,
    max_steps: int = 300,
) -> SemiMarkovFit:
    """Fit dwell times made of phases, and jumps, to labels at given times.

    One phase each is a Markov process.

    Parameters
    ----------
    paths : Paths
        Labels, never wrong.
    n_phases : int or mapping of str to int, optional
        Phases of every state, or of each by its name; those that are not named have one. By default
        they are chosen: one more in one state at a time, for as long as BIC falls.
    kind : {"erlang", "coxian"}
        Phases of one rate that all must be passed; or phases of rates of their own, from each of
        which the stay may end.
    entered : bool
        Whether a path begins when its first state is entered; False for a process that has been
        running for long.
    most_phases : int
        Where their number is chosen, it is at most this in every state.
    max_steps : int
        Most steps of the maximisation.

    Raises
    ------
    ValueError
        If a state is named that does not exist, or no label follows on another.

    References
    ----------
    Titman, Sharples. Semi-Markov models with phase-type sojourn distributions. Biometrics 66, 2010.

    Examples
    --------
    >>> import dyninfer as di
    >>> from dyninfer.jumps.dwell import fit_semi_markov
    >>> path = di.Paths(times=[[0, 1, 2, 3, 5, 6]], states=[["G1", "S", "G1", "G1", "S", "G1"]])
    >>> fit_semi_markov(path, {"G1": 2}).model.dwell_times["G1"].n_phases
    2
    """
    check_word(kind, "kind", KINDS)
    check_labels(paths)
    names = names_of(paths, None)
    max_steps = check_count(max_steps, "max_steps")
    _warn_of_unseen_ends(paths, names)
    fit = partial(_fit, paths, names, kind, entered=entered, max_steps=max_steps)
    if n_phases is not None:
        return fit(_sizes(n_phases, names))
    return _chosen(fit, names, check_count(most_phases, "most_phases"))


def _warn_of_unseen_ends(paths: Paths, names: Sequence[str]) -> None:
    """Warn of states that are never seen to be left, whose stays may be of any length."""
    left = set()
    for labels in paths.states:
        # A state was left, too, where another label follows on a missing one.
        states = labels[labels >= 0]
        is_end = states[1:] != states[:-1]
        left.update(states[:-1][is_end].tolist())
    # Labels are numbered by their names.
    own_names = paths.state_names or ()
    left_names = {own_names[state] for state in left}
    stuck = [name for name in names if name not in left_names]
    if stuck:
        warn(
            f"no path is seen to leave state {listed(stuck)}: the labels say nothing of the mean "
            "dwell time there, whose interval is wide; give paths that leave it, or leave it out",
            UserWarning,
        )


def _chosen(fit: partial[SemiMarkovFit], names: Sequence[str], most: int) -> SemiMarkovFit:
    """The fit after which one more phase, in whatever state, has no smaller BIC."""
    sizes = [1] * len(names)
    best = fit(sizes)
    rows = [[*sizes, best.log_likelihood, best.bic]]
    state = 0
    n_idle = 0
    # A state that has not gained is asked again after another has: their stays are neighbours.
    while n_idle < len(names):
        larger = list(sizes)
        larger[state] += 1
        n_idle += 1
        if larger[state] <= most:
            other = fit(larger)
            rows.append([*larger, other.log_likelihood, other.bic])
            if other.bic < best.bic:
                best, sizes, n_idle = other, larger, 0
                continue
        state = (state + 1) % len(names)
    table = pd.DataFrame(rows, columns=[*names, "log_likelihood", "bic"])
    return replace(best, table=table)


def _fit(
    paths: Paths,
    names: Sequence[str],
    kind: str,
    sizes: Sequence[int],
    *,
    entered: bool,
    max_steps: int,
) -> SemiMarkovFit:
    families = [PhaseFamily(kind, size) for size in sizes]
    data = PhaseData(paths, names, owners(sizes), entered)
    if data.n_observed == 0:
        raise ValueError(
            "every path has one label only; times between labels say how long they last"
        )
    durations = [times[-1] - times[0] for times in paths.times]
    gap = float(np.sum(durations)) / data.n_observed

    def log_likelihood(theta: Tensor) -> Tensor:
        generator = _generator(theta, families)
        return data.log_likelihoods(generator).sum()

    start = _start(families, gap).unsqueeze(0)
    best = maximise(partial(by_row, log_likelihood), start, max_iter=max_steps)
    if not bool(best.converged.all()):
        warn("the dwell times did not converge: give more max_steps, or fewer phases", UserWarning)
    theta = best.theta[0]
    covariance, _ = floored_inverse(best.information[0])
    return SemiMarkovFit(
        kind=kind,
        model=model_of(names, families, theta),
        log_likelihood=float(best.value),
        n_observed=data.n_observed,
        theta=theta,
        covariance=covariance,
    )


def model_of(names: Sequence[str], families: Sequence[PhaseFamily], theta: Tensor) -> SemiMarkov:
    """The process of parameters ``(p,)``."""
    of_laws, of_jumps = _split(theta, families)
    laws = {}
    for name, family, part in zip(names, families, of_laws, strict=True):
        laws[name] = family.law(part)
    return SemiMarkov(laws, _jumps(of_jumps, len(names)))


def _sizes(n_phases: int | Mapping[str, int], names: Sequence[str]) -> list[int]:
    if not isinstance(n_phases, Mapping):
        return [check_count(n_phases, "n_phases")] * len(names)
    unknown = [name for name in n_phases if name not in names]
    if unknown:
        raise ValueError(
            f"n_phases names {brief(unknown[0])}, which is no state; the states are {brief(names)}"
        )
    return [check_count(n_phases.get(name, 1), f"n_phases[{name!r}]") for name in names]


def _start(families: Sequence[PhaseFamily], gap: float) -> Tensor:
    """Parameters ``(p,)``: a dwell time of three gaps, and every other state as likely next."""
    of_laws = [family.start(3 * gap) for family in families]
    logits = torch.zeros(_n_of_jumps(len(families)), dtype=torch.float64)
    return torch.cat([*of_laws, logits])


def _n_of_jumps(n_states: int) -> int:
    """Logits of the next state: all but a state itself, and one of them is given by the others."""
    return n_states * (n_states - 2)


def _split(theta: Tensor, families: Sequence[PhaseFamily]) -> tuple[Sequence[Tensor], Tensor]:
    """Parameters of the law of each state, and those of the jumps."""
    sizes = [family.n_parameters for family in families]
    n_of_jumps = len(theta) - sum(sizes)
    *of_laws, of_jumps = theta.split([*sizes, n_of_jumps])
    return of_laws, of_jumps


def _generator(theta: Tensor, families: Sequence[PhaseFamily]) -> Tensor:
    of_laws, of_jumps = _split(theta, families)
    blocks = [family.subgenerator(part) for family, part in zip(families, of_laws, strict=True)]
    return phase_generator(blocks, _jumps(of_jumps, len(families)))


def _jumps(theta: Tensor, n_states: int) -> Tensor:
    """Probabilities ``(S, S)`` of the next state; the logit of each row's first target is 0."""
    logits = theta.reshape(n_states, n_states - 2)
    first = theta.new_zeros(n_states, 1)
    every_logit = torch.cat([first, logits], dim=1)
    shares = every_logit.softmax(1)
    jumps = theta.new_zeros(n_states, n_states)
    is_other = ~is_diagonal(jumps)
    # Shares stand in rows, as the places outside of the diagonal do.
    return jumps.masked_scatter(is_other, shares)
