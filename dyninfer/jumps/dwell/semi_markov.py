"""Processes whose dwell times are made of phases, seen by their labels at given times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.jumps.dwell.phase_types import PhaseType
from dyninfer.jumps.dwell.product import Chains
from dyninfer.jumps.likelihood.state_names import renumbered
from dyninfer.jumps.process import MarkovJump
from dyninfer.jumps.process.chain import stationary_distribution
from dyninfer.learning.settings import brief, check_switch
from dyninfer.learning.surroundings import own_surroundings


class SemiMarkov:
    """A process that stays in a state for a time made of phases, and then jumps.

    It is a Markov jump process of the phases; a jump enters the first phase of its target.

    Parameters
    ----------
    dwell_times : mapping of str to PhaseType
        By the name of the state.
    jumps : array ``(S, S)``, optional
        Probabilities of the next state, 0 on the diagonal; rows sum to one. By default every other
        state is as likely.

    Raises
    ------
    ValueError
        If there is one state only, or ``jumps`` are no such probabilities.

    Examples
    --------
    >>> from dyninfer.jumps.dwell import PhaseType, SemiMarkov
    >>> cycle = SemiMarkov({"G1": PhaseType.erlang(2, 2.0), "S": PhaseType.erlang(1, 1.0)})
    >>> cycle.process.state_names
    ('G1 1', 'G1 2', 'S 1')
    """

    def __init__(self, dwell_times: Mapping[str, PhaseType], jumps: Any = None):
        self.state_names = tuple(str(name) for name in dwell_times)
        self.dwell_times = dict(zip(self.state_names, dwell_times.values(), strict=True))
        n_states = len(self.state_names)
        if n_states < 2:
            raise ValueError(f"dwell_times must have at least two states, found {n_states}")
        if jumps is None:
            jumps = (1 - np.eye(n_states)) / (n_states - 1)
        self.jumps = _as_probabilities(jumps, n_states)
        laws = list(self.dwell_times.values())
        self.owner = owners([law.n_phases for law in laws])
        subgenerators = [law.subgenerator for law in laws]
        generator = phase_generator(subgenerators, self.jumps)
        self.process = MarkovJump(generator, state_names=self._phase_names())

    @own_surroundings()
    def log_likelihoods(self, paths: Paths, entered: bool = True) -> ndarray:
        """Log-likelihood ``(path,)`` of labels at their times.

        Parameters
        ----------
        paths : Paths
            Labels by the names of the states, never wrong; missing ones are gaps.
        entered : bool
            Whether a path begins when its first state is entered, which then counts as certain;
            False for a process that has been running for long.
        """
        data = PhaseData(paths, self.state_names, self.owner, entered)
        return data.log_likelihoods(self.process.generator).numpy()

    def labels(self, states: ndarray) -> ndarray:
        """Numbers of the states ``(...)`` that phases belong to, as a simulation has them."""
        return self.owner.numpy()[states]

    def _phase_names(self) -> list[str]:
        names = []
        for name, law in self.dwell_times.items():
            numbers = range(1, law.n_phases + 1)
            names += [f"{name} {number}" for number in numbers]
        return names


class PhaseData:
    """Labels at given times, made ready for many generators of phases.

    Parameters
    ----------
    paths : Paths
        Labels.
    state_names : sequence of S str
        Names of the states.
    owner : Tensor, ``(phase,)`` int64
        State of each phase.
    entered : bool
        Whether the first state of a path is entered at its first time.
    """

    def __init__(self, paths: Paths, state_names: Sequence[str], owner: Tensor, entered: bool):
        check_switch(entered, "entered")
        check_labels(paths)
        paths = renumbered(paths, state_names)
        self.entered = entered
        states = np.arange(len(state_names))
        # A missing label, -1, is the last row: every phase is possible.
        of_state = owner.numpy() == states[:, None]
        possible = np.vstack([of_state, np.ones((1, len(owner)), dtype=bool)])
        first = np.array([labels[0] for labels in paths.states])
        if entered and (first < 0).any():
            name = paths.names[first < 0][0]
            raise ValueError(
                f"path {brief(str(name))} begins with a missing label, which is no state that was "
                "entered; leave its first observation out, or give entered=False"
            )
        self.first_phases = torch.from_numpy(possible[first]).double()
        begins = of_state.argmax(1)
        self.entries = torch.from_numpy(begins[first])
        later = np.concatenate([labels[1:] for labels in paths.states])
        self.allowed = torch.from_numpy(possible[later]).double()
        gaps = np.concatenate([np.diff(times) for times in paths.times])
        distinct, place = np.unique(gaps, return_inverse=True)
        self.gaps = torch.from_numpy(distinct)
        self.place = torch.from_numpy(place)
        self.n_observed = len(gaps)
        self.chains = Chains.of(paths.lengths - 1)

    def log_likelihoods(self, generator: Tensor) -> Tensor:
        """Log-likelihood ``(path,)`` of a generator of the phases, which may carry a slope."""
        transitions = torch.matrix_exp(generator * self.gaps.reshape(-1, 1, 1))
        steps = transitions[self.place] * self.allowed.unsqueeze(1)
        if self.entered:
            initial = torch.eye(len(generator), dtype=torch.float64)[self.entries]
        else:
            initial = stationary_distribution(generator) * self.first_phases
        return self.chains.log_product(initial, steps)


def check_labels(paths: Any) -> None:
    """Raise a TypeError unless these are paths of labels."""
    if not isinstance(paths, Paths):
        raise TypeError(
            f"paths must be di.Paths of labels, found {type(paths).__name__}; an AnnData is read "
            "by di.Paths.from_anndata"
        )
    if not paths.discrete:
        raise TypeError("the paths are continuous, and dwell times need labels; give labels")


def phase_generator(subgenerators: Sequence[Tensor], jumps: Tensor) -> Tensor:
    """Generator of all phases, of the rates among those of each state and the jumps between."""
    within = torch.block_diag(*subgenerators)
    end_rates = -within.sum(1)
    sizes = [len(block) for block in subgenerators]
    owner = owners(sizes)
    is_first = torch.ones_like(owner, dtype=torch.bool)
    is_first[1:] = owner[1:] != owner[:-1]
    to_phase = jumps[owner][:, owner] * is_first
    return within + end_rates.unsqueeze(1) * to_phase


def owners(n_phases: Sequence[int]) -> Tensor:
    """State ``(phase,)`` int64 of each phase."""
    counts = torch.tensor(n_phases)
    return torch.arange(len(counts)).repeat_interleave(counts)


def _as_probabilities(jumps: Any, n_states: int) -> Tensor:
    matrix = torch.as_tensor(np.asarray(jumps, dtype=np.float64))
    if matrix.shape != (n_states, n_states):
        raise ValueError(
            f"jumps must be one row of probabilities for each of {n_states} states, found shape "
            f"{tuple(matrix.shape)}"
        )
    # As close to one as rounding in single precision leaves it.
    is_whole = (matrix.sum(1) - 1).abs() < 1e-6
    is_stay = matrix.diagonal() != 0
    if bool((matrix < 0).any()) or not bool(is_whole.all()) or bool(is_stay.any()):
        raise ValueError(
            f"jumps must be rows of probabilities that sum to one, with 0 for staying; found "
            f"{brief(matrix.tolist())}"
        )
    return matrix
