"""Patients of a trial, staged at irregular visits: a panel with covariates and exact deaths."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.data.words import counted
from dyninfer.jumps.gillespie import simulate_events
from dyninfer.jumps.process import MarkovJump, with_diagonal
from dyninfer.learning.budget import check_memory
from dyninfer.learning.random import stream, subseed
from dyninfer.learning.settings import check_word
from dyninfer.simulators.base import System, check_draw, check_positive

if TYPE_CHECKING:
    import pandas as pd

_NAMES = ("mild", "moderate", "severe", "dead")
_SOURCES = (0, 1, 1, 0, 1, 2)
_TARGETS = (1, 0, 2, 3, 3, 3)
_DEAD = 3
_ARMS = ("placebo", "drug")
# Years of age: those whose rates are given, and the ends of a uniform distribution.
_REFERENCE_AGE = 60.0
_YOUNGEST, _OLDEST = 50.0, 70.0
# A hundred patients with about so many jumps each take seconds; ten times as many, minutes.
_MOST_JUMPS = 1e4


@dataclass(frozen=True, kw_only=True)
class PatientPanel(System):
    r"""A randomised trial of a disease with three stages and death, observed at visits.

    .. math:: Q_{ij}(z) = Q_{ij}\, e^{\beta_{ij} [\text{drug}]}\,
        e^{\gamma (\text{age} - 60)/10 \, [j = \text{dead}]}

    Patients are staged at irregular visits and once more when the study closes. A death is known to
    the day. Any visit but the first may be the last of a patient in the study, whatever the stage;
    what happens afterwards is not known. Rates and ratios are invented.

    Parameters
    ----------
    rates : tuple of 6 floats
        Positive rates per year, on placebo at age 60: mild→moderate, moderate→mild,
        moderate→severe, then deaths of mild, moderate and severe patients.
    treatment : tuple of 6 floats
        Hazard ratios of the drug for the same jumps; positive.
    age : float
        Hazard ratio of all deaths per ten years of age; positive.
    visit_gap : float
        Mean years between visits; single gaps differ from it by up to half. Positive.
    study : float
        Years from the first visit of a patient to the closing visit; positive.
    dropout : float
        Probability that a visit is the last of a patient, from 0 to below 1.
    misread : float
        Probability that the stage at a visit is mistaken for a neighbouring one, from 0 to below 1.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.simulators.PatientPanel().table(100, seed=0).columns.tolist()
    ['patient', 'year', 'stage', 'treatment', 'age']
    """

    rates: tuple[float, ...] = (0.35, 0.12, 0.3, 0.02, 0.06, 0.3)
    treatment: tuple[float, ...] = (0.5, 1.0, 0.6, 1.0, 1.0, 1.0)
    age: float = 1.5
    visit_gap: float = 1.0
    study: float = 8.0
    dropout: float = 0.05
    misread: float = 0.0

    def _check(self) -> None:
        sizes = len(self.rates), len(self.treatment)
        n_jumps = len(_SOURCES)
        if sizes != (n_jumps, n_jumps):
            raise ValueError(
                f"rates and treatment must hold 6 numbers each, found {self.rates} and "
                f"{self.treatment}"
            )
        for k in range(n_jumps):
            check_positive(**{f"rates[{k}]": self.rates[k]})
            check_positive(**{f"treatment[{k}]": self.treatment[k]})
        self._check_positive("age", "visit_gap", "study")
        # Each jump is drawn. The drug and age may speed up all of them.
        speed = max(1.0, *self.treatment) * max(self.age, 1 / self.age)
        n_jumps_of_one = max(self.rates) * speed * self.study
        if n_jumps_of_one > _MOST_JUMPS:
            raise ValueError(
                f"a patient may jump {n_jumps_of_one:.3g} times, too often for a panel; "
                "give smaller rates or a shorter study"
            )
        for name in ("dropout", "misread"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ValueError(f"{name} must be a probability below 1, found {value!r}")

    @property
    def state_names(self) -> tuple[str, ...]:
        """Stages, and death."""
        return _NAMES

    @property
    def jumps(self) -> list[str]:
        """The jumps that can happen, as :class:`~dyninfer.Only` takes them."""
        edges = zip(_SOURCES, _TARGETS, strict=True)
        return [f"{_NAMES[source]}>{_NAMES[target]}" for source, target in edges]

    def process(self, treatment: str = "placebo", age: float = _REFERENCE_AGE) -> MarkovJump:
        """Return the true process of a patient, who begins in the mild stage.

        Parameters
        ----------
        treatment : {"placebo", "drug"}
        age : float
            In years.
        """
        check_word(treatment, "treatment", _ARMS)
        check_positive(age=age)
        is_treated = torch.tensor([treatment == "drug"])
        ages = torch.tensor([float(age)], dtype=torch.float64)
        generator = self._generators(is_treated, ages)[0]
        return MarkovJump(generator, initial=(1.0, 0.0, 0.0, 0.0), state_names=_NAMES)

    def table(self, n: int, seed: int = 0) -> pd.DataFrame:
        """Follow ``n`` patients, every other one on the drug.

        Returns
        -------
        DataFrame
            One row per visit or death, patient by patient: ``patient``, ``year`` since the first
            visit, ``stage`` (a category), ``treatment`` (a category, placebo first), and ``age`` in
            years at the first visit.
        """
        import pandas as pd

        check_draw(n, seed)
        is_treated = torch.arange(n) % 2 == 1
        u = torch.rand(n, generator=stream(seed, "ages"), dtype=torch.float64)
        ages = _YOUNGEST + (_OLDEST - _YOUNGEST) * u
        processes = MarkovJump(self._generators(is_treated, ages))
        start = torch.zeros(n, 1, dtype=torch.int64)
        events = simulate_events(processes, start, self.study, subseed(seed, "jumps"))
        visits = self._visits(n, stream(seed, "visits"))
        # Past the study there is nothing to look up; such visits are left out below.
        seen_times = visits.clamp(max=self.study)
        stages = events.at(seen_times.unsqueeze(1)).squeeze(1)
        is_death = (events.states == _DEAD) & events.times.isfinite()
        deaths = events.times.masked_fill(~is_death, math.inf).amin((1, 2))
        last_visit = visits.masked_fill(~visits.isfinite(), -1.0).amax(1)
        left = last_visit < self.study
        is_known = deaths.isfinite() & ~(left & (deaths > last_visit))
        is_visit = visits.isfinite() & (visits < deaths.unsqueeze(1))
        patient, _ = is_visit.nonzero(as_tuple=True)
        dead = is_known.nonzero().flatten()
        read = self._read(stages[is_visit], stream(seed, "stages"))
        every_patient = torch.cat([patient, dead])
        years = torch.cat([visits[is_visit], deaths[dead]])
        codes = torch.cat([read, torch.full_like(dead, _DEAD)])
        order = np.lexsort([years.numpy(), every_patient.numpy()])
        owner = every_patient[order]
        arms = is_treated.long()[owner]
        table = pd.DataFrame({"patient": [f"P{number:04d}" for number in owner.tolist()]})
        table["year"] = years[order].numpy()
        table["stage"] = pd.Categorical.from_codes(codes[order].numpy(), list(_NAMES))
        table["treatment"] = pd.Categorical.from_codes(arms.numpy(), list(_ARMS))
        table["age"] = ages[owner].numpy()
        return table

    def paths(self, n: int, seed: int = 0) -> Paths:
        """The same patients as paths, with ``treatment`` and ``age`` as covariates."""
        return Paths.from_dataframe(
            self.table(n, seed),
            time_key="year",
            path_key="patient",
            state_key="stage",
            covariate_keys=["treatment", "age"],
        )

    def _generators(self, is_treated: Tensor, ages: Tensor) -> Tensor:
        """Generators ``(n, S, S)`` of patients."""
        log_rates = torch.tensor(self.rates, dtype=torch.float64).log()
        of_drug = torch.tensor(self.treatment, dtype=torch.float64).log()
        is_death = torch.tensor([target == _DEAD for target in _TARGETS])
        decades = (ages - _REFERENCE_AGE) / 10
        of_age = math.log(self.age) * decades.unsqueeze(1) * is_death
        log_hazard = log_rates + is_treated.unsqueeze(1) * of_drug + of_age
        n_states = len(_NAMES)
        rates = log_hazard.new_zeros(len(ages), n_states, n_states)
        rates[:, list(_SOURCES), list(_TARGETS)] = log_hazard.exp()
        return with_diagonal(rates)

    def _visits(self, n: int, g: torch.Generator) -> Tensor:
        """Times of the visits ``(n, visit)``, inf where a patient has none any more."""
        # The shortest gap is half of the mean one.
        most = math.ceil(2 * self.study / self.visit_gap)
        # Numbers of eight bytes, in five tables at once.
        check_memory(40 * n * most, f"up to {most:.3g} visits of {counted(n, 'patient')}")
        u = torch.rand(n, most, generator=g, dtype=torch.float64)
        gaps = self.visit_gap * (0.5 + u)
        times = gaps.cumsum(1)
        # A visit shortly before the end of the study is the closing one.
        is_over = times >= self.study - 0.5 * self.visit_gap
        times = times.masked_fill(is_over, math.inf)
        n_inner = (~is_over).sum(1)
        first = times.new_zeros(n, 1)
        times = torch.cat([first, times], dim=1)
        times = torch.cat([times, times.new_full((n, 1), math.inf)], dim=1)
        rows = torch.arange(n)
        times[rows, n_inner + 1] = self.study
        leaves = torch.rand(times.shape, generator=g, dtype=torch.float64) < self.dropout
        # Nobody leaves at the first visit, which would say nothing.
        leaves[:, 0] = False
        n_leaving = leaves.long().cumsum(1) - leaves.long()
        return times.masked_fill(n_leaving > 0, math.inf)

    def _read(self, stages: Tensor, g: torch.Generator) -> Tensor:
        """Stages as they are written down ``(row,)``."""
        u = torch.rand(len(stages), 2, generator=g, dtype=torch.float64)
        is_misread = u[:, 0] < self.misread
        is_upwards = u[:, 1] >= 0.5
        # The middle stage has two neighbours, each of the others one.
        of_middle = torch.where(is_upwards, stages + 1, stages - 1)
        neighbour = torch.where(stages == 1, of_middle, 1)
        return torch.where(is_misread, neighbour, stages)
