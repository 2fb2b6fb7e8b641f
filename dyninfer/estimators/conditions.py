"""Cells under conditions: each is run, and its fields are computed, under its own."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from dyninfer.data.columns import label_column
from dyninfer.data.conditions import ConditionCode
from dyninfer.data.mixing import Mixing
from dyninfer.data.reading import Start
from dyninfer.data.snapshots import Snapshots
from dyninfer.data.trajectories import Trajectories
from dyninfer.data.trajectories.join import join_runs
from dyninfer.data.trajectory_stream import refuse_several
from dyninfer.data.words import listed
from dyninfer.diffusions import BoundedGrowth
from dyninfer.diffusions.conditioned_growth import GrowthByCondition
from dyninfer.diffusions.scaled import fields_at
from dyninfer.estimators.cautions import warn_of_strangers
from dyninfer.estimators.snapshots import SnapshotEstimator
from dyninfer.learning.random import subseed
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.settings import brief
from dyninfer.transport.couplings.condition_masses import condition_masses
from dyninfer.transport.couplings.stretches import condition_names
from dyninfer.transport.objectives.settling import mass_of_run


@dataclass(kw_only=True, repr=False, eq=False)
class ConditionedEstimator(SnapshotEstimator):
    """Base of the snapshot methods whose networks take a condition as input.

    Samples are paired within their condition only. The fitted model can be run under a condition
    that was not in the data: a new number, or a new combination ``"A+B"`` of known parts.

    Parameters
    ----------
    control : str, optional
        Condition whose samples stand in for another condition at times before that one first
        appears, such as the untreated cells before a perturbation.
    """

    uses: ClassVar[frozenset[str]] = frozenset({"weight_key", "mass_key", "condition_key"})

    control: str | None = None

    def facts(self, data: Snapshots, seed: int = 0) -> dict[str, Any]:
        """Times, masses, and the code of the conditions."""
        self._check_control(data)
        facts = super().facts(data, seed)
        facts["conditions"] = None
        if data.conditions is not None:
            code = ConditionCode.of(np.concatenate(data.conditions))
            facts["conditions"] = asdict(code)
            masses = condition_masses(data, self.control)
            # NaN, where a condition was not measured, is no JSON.
            plain = masses.astype(object)
            plain[np.isnan(masses)] = None
            names = condition_names(data)
            facts["condition_masses"] = dict(zip(names, plain.tolist(), strict=True))
        return facts

    def simulate(
        self,
        start: Any,
        times: Sequence[float] | np.ndarray,
        *,
        condition: Any = None,
        n_paths: int | None = None,
        seed: int = 0,
        **options: Any,
    ) -> Trajectories:
        """Run the learned process as in :meth:`SnapshotEstimator.simulate`, under a condition.

        Parameters
        ----------
        condition : str or number, optional
            Condition to simulate all starting states under, seen or not: a new number, or a new
            combination ``"A+B"`` of known parts. By default each cell of an AnnData or of snapshots
            keeps its own.
        start, times, n_paths, seed, **options
            As there.

        Returns
        -------
        Trajectories
        """
        self._check_fitted()
        model = self if condition is None else self._under(condition)
        options |= {"n_paths": n_paths, "seed": seed}
        run = super(ConditionedEstimator, model).simulate(start, times, **options)
        code = self._code()
        if condition is not None and code is not None and run.log_weights is not None:
            warn_of_strangers(code, condition)
        return run

    def _run(self, cells: Start, times: np.ndarray, **options: Any) -> Trajectories:
        if not self._has_conditions() or self.process_.inner.condition is not None:
            return super()._run(cells, times, **options)
        refuse_several(options.pop("to", None))
        n_paths = options.pop("n_paths")
        seed = options.pop("seed")

        def run_one(label: str, part: Start, own_seed: int) -> Trajectories:
            model = self._under(label)
            return model._run(part, times, n_paths=None, seed=own_seed, **options)

        return run_by_condition(cells, run_one, seed, n_paths)

    def _hj_residual(self, run: Trajectories) -> float:
        # A run of several conditions has several potentials.
        return math.nan if self._has_conditions() else super()._hj_residual(run)

    def _under(self, condition: Any) -> Self:
        model = copy.copy(self)
        model.process_ = self.process_.given(condition)
        law = model.process_.inner.law
        if law is not None:
            # What the simulated mass is compared with is that of the condition.
            masses = law.log_masses().exp()
            model.facts_ = self.facts_ | {"masses": masses.tolist()}
        return model

    def _fields_at(self, adata: Any, times: np.ndarray, x: np.ndarray) -> dict[str, np.ndarray]:
        if not self._has_conditions():
            return super()._fields_at(adata, times, x)
        labels = label_column(adata, self.source_["condition_key"], "condition_key")
        return fields_by_condition(self.process_, labels.astype(str), times, x)

    def _has_conditions(self) -> bool:
        return self.facts_.get("conditions") is not None

    def _code(self) -> ConditionCode | None:
        saved = self.facts_.get("conditions")
        return None if saved is None else ConditionCode.from_plain(saved)

    def _n_conditions(self) -> int:
        """Length of the vectors that networks are told; 0 without conditions."""
        code = self._code()
        return 0 if code is None else code.size

    def _growth_law(self, scaling: Scaling) -> BoundedGrowth | GrowthByCondition:
        """What is known of the growth rate before anything is learned."""
        times = self.facts_["times"]
        code = self._code()
        if code is None:
            return BoundedGrowth.between(times, self.facts_["masses"], scaling)
        saved = self.facts_["condition_masses"]
        masses = np.array(list(saved.values()), dtype=float)
        return GrowthByCondition(
            scaling.times(times),
            np.log(masses),
            Mixing(code, list(saved), self.control),
            scaling.n_features,
            mass_of_run,
        )

    def _check_control(self, data: Snapshots) -> None:
        """Raise a ValueError where the control is no condition of the data."""
        if self.control is None:
            return
        if data.conditions is None:
            raise ValueError(
                f"control={brief(self.control)} is a condition, and the data have none; give "
                "condition_key, or leave control out"
            )
        names = condition_names(data)
        if self.control not in names:
            raise ValueError(
                f"control={brief(self.control)} is not among the conditions of the data: "
                f"{listed(names)}"
            )


def run_by_condition(
    cells: Start, run: Callable[[str, Start, int], Trajectories], seed: int, n_paths: int | None
) -> Trajectories:
    """Put together the runs of the cells of every condition.

    Parameters
    ----------
    cells : Start
    run : callable
        Called with a condition, its cells and a seed.
    seed : int
    n_paths : int or None
        Refused where it is given.

    Returns
    -------
    Trajectories
        One path per cell, in their order.
    """
    if cells.conditions is None:
        raise ValueError(
            "the model was learned under conditions; name one: simulate(..., condition=...)"
        )
    if n_paths is not None:
        raise ValueError(
            "n_paths cannot be divided among conditions; name the condition to simulate"
        )
    runs = []
    every_row = []
    labels = cells.conditions.astype(str)
    for label, rows in _groups(labels):
        # Paths of two conditions share no noise, whatever the seeds of their runs.
        own_seed = subseed(seed, "condition", label)
        part = Start(cells.states[rows])
        runs.append(run(label, part, own_seed))
        every_row.append(rows)
    joined = join_runs(runs, every_row)
    return replace(joined, attrs={**joined.attrs, "seed": seed})


def fields_by_condition(
    process: Any, labels: np.ndarray, times: np.ndarray, x: np.ndarray
) -> dict[str, np.ndarray]:
    """Fields of every cell, as :func:`dyninfer.diffusions.scaled.fields_at` gives them."""
    fields: dict[str, np.ndarray] = {}
    for label, rows in _groups(labels):
        own_process = process.given(label)
        own_times = times[rows]
        own_states = x[rows]
        own_fields = fields_at(own_process, own_times, own_states)
        for name, values in own_fields.items():
            if name not in fields:
                shape = (len(x), *values.shape[1:])
                fields[name] = np.empty(shape, values.dtype)
            fields[name][rows] = values
    return fields


def _groups(labels: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Conditions in the order of their first cells, each with the rows of its cells."""
    for label in dict.fromkeys(labels.tolist()):
        yield label, np.flatnonzero(labels == label)
