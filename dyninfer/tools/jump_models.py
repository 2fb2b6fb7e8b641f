"""Jump processes that tables are made of: what was learned, and draws of what it might be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dyninfer.data.paths.covariates import as_table
from dyninfer.data.time_reading import as_times
from dyninfer.data.words import listed
from dyninfer.jumps.posterior.summaries import on_cpu, quantiles
from dyninfer.jumps.process import MarkovJump
from dyninfer.jumps.process.checks import as_numbers
from dyninfer.learning.budget import check_memory
from dyninfer.learning.settings import brief, check_count, check_level, check_seed, is_number
from dyninfer.learning.warn import warn

Quantity = Callable[[MarkovJump], Tensor]


@dataclass(frozen=True)
class LearnedJumps:
    """A process, and a batch of draws of its posterior where it was learned from data.

    Attributes
    ----------
    process : MarkovJump
    draws : MarkovJump or None
        None for a process that was given and not learned, which has no intervals.
    level : float
        Coverage of the intervals.
    """

    process: MarkovJump
    draws: MarkovJump | None
    level: float

    @classmethod
    def of(
        cls, model: Any, level: float, n_samples: int, seed: int, covariates: Any = None
    ) -> LearnedJumps:
        """Read them from a fitted model, at given covariates, or take a process as it is.

        Raises
        ------
        TypeError, ValueError
            If the model has no jump process, or a number cannot be.
        """
        level = check_level(level)
        n_samples = check_count(n_samples, "n_samples")
        seed = check_seed(seed)
        effects = getattr(model, "effects_", None)
        if covariates is not None and effects is None:
            raise ValueError(
                "covariates cannot be used: the rates of the model depend on none; leave them out"
            )
        check_has_jumps(model)
        if isinstance(model, MarkovJump):
            return cls(on_cpu(model), None, level)
        if covariates is None:
            _warn_of_reference(model)
        n_processes = n_samples * (1 if covariates is None else len(covariates))
        check_draws(n_processes, model.process_.n_states)
        if effects is None:
            draws = model.sample_processes(n_samples, seed)
            return cls(on_cpu(model.process_), on_cpu(draws), level)
        process = effects.process(covariates)
        return cls(process, effects.draw(n_samples, covariates, seed), level)

    def check_constant(self, table: str) -> None:
        """Raise a ValueError where rates change in time, of which a table cannot be."""
        if len(self.process.breaks):
            raise ValueError(
                f"{table} needs rates that are constant in time; take a period: process.at(t)"
            )

    @property
    def names(self) -> np.ndarray:
        """Names of the states ``(S,)``."""
        return np.asarray(self.process.state_names, dtype=object)

    def numbers(self, states: Any, argument: str) -> list[int]:
        """Numbers of states given by name or number; None means all."""
        if states is None:
            return list(range(self.process.n_states))
        return as_numbers(states, self.process.state_names, argument)

    def with_values(self, rows: pd.DataFrame, quantity: Quantity) -> pd.DataFrame:
        """Rows with the ``value`` of a quantity, and the ends of its interval.

        Parameters
        ----------
        rows : DataFrame
            What each value is of.
        quantity : callable
            From a process, or a batch of them, to a tensor ``(..., row)``.
        """
        value = quantity(self.process)
        table = rows.assign(value=value.numpy())
        if self.draws is None:
            return table
        low, high = quantiles(quantity(self.draws), self.level)
        return table.assign(low=low.numpy(), high=high.numpy())


def check_has_jumps(model: Any) -> None:
    """Raise an error unless a model is one jump process, or was fitted to have one."""
    if isinstance(model, MarkovJump):
        if model.batch_shape:
            raise ValueError("model is a batch; take one process: MarkovJump(generator[k])")
        return
    if not hasattr(model, "sample_processes"):
        raise TypeError(
            f"model must be a fitted MarkovJumpInference or a MarkovJump, found {brief(model)}"
        )
    # A fit of counts alone is no estimator, and always has its process.
    if not hasattr(model, "process_"):
        model._check_fitted()


def at_one(covariates: Any) -> dict[str, Any] | None:
    """Covariates of one process as a mapping, or an error where they are several rows."""
    if covariates is None:
        return None
    table = as_table(covariates)
    if len(table) != 1:
        raise ValueError(
            f"covariates has {len(table)} rows; a table is for one process: give a value of each, "
            "covariates={...}"
        )
    return dict(table.iloc[0])


def _warn_of_reference(model: Any) -> None:
    """Warn where a table is of rates at covariates that nobody may have."""
    settings = getattr(model, "covariates", None)
    if settings is not None and settings.columns:
        columns = listed(settings.columns)
        warn(
            f"the table uses rates at which {columns} is 0 or at its first level; for others "
            "give covariates={...}, or model.effects_.process(...) in place of the model"
        )


def check_draws(n_samples: int, n_states: int) -> None:
    """Refuse more draws than the memory holds."""
    # Eight bytes a number, in a few matrices at once.
    check_memory(64 * n_samples * n_states**2, f"{n_samples:,} draws")


def pairs_of(rows: np.ndarray, columns: np.ndarray, names: tuple[str, str]) -> pd.DataFrame:
    """One row for every pair, in the order of a matrix."""
    index = pd.MultiIndex.from_product([rows, columns], names=names)
    return index.to_frame(index=False)


def as_duration(value: Any, name: str) -> float:
    """A time that passes, perhaps endless, or an error that names it."""
    if not is_number(value) or not value >= 0:
        raise ValueError(f"{name} must be a time of 0 or more, found {brief(value)}")
    return float(value)


def as_durations(values: Any, name: str) -> Tensor:
    """Times that pass ``(n,)``, or an error that names them."""
    times = np.atleast_1d(as_times(values, name))
    if not len(times) or not (times >= 0).all():
        raise ValueError(f"{name} must be one or more times of 0 or more, found {brief(values)}")
    return torch.from_numpy(times)
