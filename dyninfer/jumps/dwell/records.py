"""Open and shut times of a channel, and what a dead time leaves of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray

from dyninfer.data import display
from dyninfer.data.paths import Paths
from dyninfer.data.times import DOUBLE
from dyninfer.data.words import as_text
from dyninfer.jumps.dwell.idealise import (
    Visits,
    alternating,
    visits_of_labels,
    visits_of_signal,
)
from dyninfer.learning.settings import brief, is_number
from dyninfer.learning.warn import warn


@dataclass(frozen=True, eq=False, repr=False)
class DwellTimes:
    """Alternating open and shut times of ``n`` records, none of them shorter than a dead time.

    Parameters
    ----------
    durations : sequence of n arrays ``(m_i,)``
        Open and shut times in turn, in any unit of time.
    first_open : bool, or sequence of n bool
        Whether a record begins with an open time.
    dead_time : float
        The shortest resolved dwell time; 0 if none is missed. Shorter ones become part of the dwell
        time around them.
    last_complete : bool, or sequence of n bool
        False if the record ended before the last dwell time did.

    Raises
    ------
    ValueError
        If a dwell time is not positive and finite, or shorter than the dead time.

    Examples
    --------
    >>> from dyninfer.jumps.dwell import DwellTimes
    >>> DwellTimes([[0.3, 0.4, 0.7, 0.25, 0.2]], dead_time=0.1)
    DwellTimes: 1 record, 5 dwell times
        open       3, mean 0.4
        shut       2, mean 0.325
        dead time  0.1
    """

    durations: tuple[ndarray, ...]
    first_open: Any = True
    dead_time: float = 0.0
    last_complete: Any = True

    def __post_init__(self) -> None:
        check_dead_time(self.dead_time)
        durations = [np.asarray(record, dtype=np.float64) for record in self.durations]
        if not durations:
            raise ValueError("durations holds no record; give one array of dwell times per record")
        for number, record in enumerate(durations):
            self._check(record, number)
        object.__setattr__(self, "durations", tuple(durations))
        for name in ("first_open", "last_complete"):
            choices = _choices(getattr(self, name), len(durations), name)
            object.__setattr__(self, name, choices)

    @classmethod
    def from_labels(
        cls, paths: Paths, open_states: Sequence[str], dead_time: float = 0.0
    ) -> DwellTimes:
        """Dwell times from labels, each of which holds until the next observation.

        The first dwell time of a record is left out, because its start was not seen, and the last
        is incomplete. A missing label ends a record, and the next one begins after it.

        Parameters
        ----------
        paths : Paths
            Labels at regular times, or at the times of the jumps.
        open_states : sequence of str
            Names of the states that count as open; all others are shut.
        dead_time : float
            In the unit of the times.

        Raises
        ------
        ValueError
            If a state does not exist, or no record holds a complete dwell time.
        """
        visits = visits_of_labels(paths, open_states)
        return cls._of_visits(visits, dead_time)

    @classmethod
    def from_signal(
        cls, paths: Paths, threshold: float, dead_time: float = 0.0, inward: bool = False
    ) -> DwellTimes:
        """Dwell times from threshold crossings of a current, usually at half the open level.

        Crossings are interpolated linearly between samples (Colquhoun and Sigworth, 1995).

        Parameters
        ----------
        paths : Paths
            A current of one feature.
        threshold : float
            In the unit of the current.
        dead_time : float
            In the unit of the times; longer than crossings caused by noise.
        inward : bool
            Whether an open channel has a current *below* the threshold.

        Raises
        ------
        TypeError, ValueError
            If the paths are labels or of several features, or no record holds a complete dwell
            time.
        """
        if not is_number(threshold) or not np.isfinite(threshold):
            raise ValueError(f"threshold must be a current, found {brief(threshold)}")
        visits = visits_of_signal(paths, threshold, inward)
        return cls._of_visits(visits, dead_time)

    @classmethod
    def _of_visits(cls, visits: Sequence[Visits], dead_time: float) -> DwellTimes:
        check_dead_time(dead_time)
        parts = [_resolved(part, dead_time) for part in visits]
        records = [record for record, _ in parts]
        is_open = [first for _, first in parts]
        n_records = len(records)
        whole = [k for k in range(n_records) if len(records[k]) > 1]
        if not whole:
            raise ValueError(
                f"no record holds a complete dwell time of at least {as_text(dead_time)}; "
                "give longer records, or a shorter dead time"
            )
        n_short = n_records - len(whole)
        if n_short:
            warn(
                f"{n_short} of {n_records} records hold no complete dwell time and are left out; "
                "if they are stretches of one recording, give it whole",
                UserWarning,
            )
        return cls(
            durations=tuple(records[k] for k in whole),
            first_open=[is_open[k] for k in whole],
            dead_time=dead_time,
            last_complete=False,
        )

    @property
    def open_times(self) -> ndarray:
        """All complete open times."""
        return self._complete(True)

    @property
    def shut_times(self) -> ndarray:
        """All complete shut times."""
        return self._complete(False)

    @property
    def n_dwells(self) -> int:
        """Number of dwell times, including incomplete ones."""
        return sum(map(len, self.durations))

    def classes(self) -> Iterator[ndarray]:
        """For every record, which dwell times are open ``(m_i,)`` bool."""
        for record, begins_open in zip(self.durations, self.first_open, strict=True):
            number = np.arange(len(record))
            yield alternating(number, begins_open)

    def __len__(self) -> int:
        return len(self.durations)

    def __repr__(self) -> str:
        records = display.counted(len(self), "record")
        dwells = display.counted(self.n_dwells, "dwell time")
        lines = {
            "open": _summary(self.open_times),
            "shut": _summary(self.shut_times),
            "dead time": as_text(self.dead_time),
        }
        return display.block(f"DwellTimes: {records}, {dwells}", lines)

    def _complete(self, is_open: bool) -> ndarray:
        parts = []
        flags = zip(self.durations, self.classes(), self.last_complete, strict=True)
        for record, classes, is_complete in flags:
            chosen = classes == is_open
            if not is_complete:
                chosen[-1] = False
            parts.append(record[chosen])
        return np.concatenate(parts)

    def _check(self, record: ndarray, number: int) -> None:
        if record.ndim != 1 or len(record) == 0:
            raise ValueError(
                f"record {number} must be one row of dwell times, found shape {record.shape}"
            )
        is_time = (record > 0) & np.isfinite(record)
        if not is_time.all():
            raise ValueError(
                f"dwell times must be positive and finite, found {record[~is_time][0]:g} in "
                f"record {number}"
            )
        shortest = float(record.min())
        if shortest < (1 - DOUBLE) * self.dead_time:
            raise ValueError(
                f"record {number} holds a dwell time of {as_text(shortest)}, shorter than "
                f"dead_time={as_text(self.dead_time)}; make it with DwellTimes.from_labels, "
                "which joins what is too short"
            )


def check_dead_time(dead_time: Any) -> None:
    """Raise a ValueError unless a dead time is one."""
    if not is_number(dead_time) or not 0 <= dead_time < np.inf:
        raise ValueError(f"dead_time must be a time of 0 or more, found {brief(dead_time)}")


def _resolved(visits: Visits, dead_time: float) -> tuple[ndarray, bool]:
    """Apparent dwell times but the first, and whether they begin open.

    An apparent dwell time begins with a visit that is resolved, and ends when the next resolved
    visit of the other class begins (Colquhoun and Hawkes, 1995).
    """
    lengths = np.diff(visits.boundaries)
    # Differences of rounded times: a visit as long as the dead time is resolved.
    latest = np.abs(visits.boundaries).max()
    rounding = DOUBLE * latest
    is_long = lengths >= dead_time - rounding
    # A crossing at a sample is a visit of no time.
    is_visit = lengths > rounding
    (resolved,) = (is_long & is_visit).nonzero()
    classes = visits.is_open[resolved]
    begins_other = classes[1:] != classes[:-1]
    begins = resolved[1:][begins_other]
    if len(begins) == 0:
        return np.zeros(0), True
    # After the last visit of its class a record ends in doubt: the other may be about to be
    # resolved.
    (of_last_class,) = (visits.is_open == classes[-1]).nonzero()
    end = visits.boundaries[of_last_class[-1] + 1]
    moments = np.append(visits.boundaries[begins], end)
    durations = np.diff(moments)
    begins_open = bool(visits.is_open[begins[0]])
    return np.maximum(durations, dead_time), begins_open


def _choices(value: Any, n: int, name: str) -> ndarray:
    """A switch for each of ``n`` records, where one may be given for all."""
    choices = np.asarray(value)
    if choices.dtype != bool or choices.shape not in ((), (n,)):
        raise ValueError(
            f"{name} must be True or False, or one of them for each of {n} records, "
            f"found {brief(value)}"
        )
    return np.broadcast_to(choices, (n,))


def _summary(times: ndarray) -> str:
    if len(times) == 0:
        return "none"
    return f"{len(times)}, mean {as_text(times.mean(), 4)}"
