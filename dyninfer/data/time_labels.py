"""Labels of times as people write them: "12h", "2d", "day 3", "E8.5", "P14", "30 min", "1,5"."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from dyninfer.data.arrays import as_array, as_list
from dyninfer.data.time_bins import binned
from dyninfer.data.words import LONGEST_LIST, listed, quoted
from dyninfer.learning.settings import brief, is_number

# How long a unit is: in seconds, or, since no month is a number of seconds, in months.
SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
MONTHS = {"month": 1, "year": 12}
# "m" is left out: it is a minute to one laboratory and a month to the next.
SPELLINGS = {
    "s": "s sec secs second seconds",
    "min": "min mins minute minutes",
    "h": "h hr hrs hour hours hpf",
    "d": "d day days dpf",
    "w": "w wk wks week weeks",
    "month": "mo mos month months",
    "year": "y yr yrs year years",
}
UNITS = {word: unit for unit, words in SPELLINGS.items() for word in words.split()}
# Days that are counted from an event, which stands before the number.
STARTS = {"e": "conception", "p": "birth"}
# Words before a number that give it no unit.
PLAIN = ("t", "time")

# A sign belongs to a number at the start of a word only: "day-3" is day 3 to some, and to others
# three days before the first.
_NUMBER = r"(?:(?<!\S)[+-]\s*)?\d+(?:[.,]\d+)?"
_LABEL = re.compile(
    rf"(?<![a-z0-9.,+-])(?:(?P<before>[a-z]+)[\s_]*)?(?P<number>{_NUMBER})"
    r"(?:[\s_-]*(?P<after>[a-z]+))?(?![a-z0-9.,])"
)
# "1,500" is a thousand and a half, or one and a half.
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")


@dataclass(frozen=True)
class Reading:
    """One label: its number, its unit (None without one), and the event it counts from."""

    number: Fraction
    unit: str | None = None
    start: str | None = None

    @property
    def is_bare(self) -> bool:
        """Whether the number means nothing beside others with a unit."""
        return self.unit is None and self.number != 0

    def within(self, unit: str | None, birth: float | None) -> float:
        """Number in another unit; days after birth become days after conception."""
        if self.unit is None or unit is None:
            return _as_float(self.number)
        sizes = SECONDS if unit in SECONDS else MONTHS
        number = self.number
        if birth is not None and self.start == "birth":
            number += Fraction(birth)
        # As fractions: a tenth of an hour is six minutes, and not 5.999999.
        own_size = sizes[self.unit]
        size = sizes[unit]
        factor = Fraction(own_size, size)
        return _as_float(number * factor)


def _as_float(number: Fraction) -> float:
    try:
        return float(number)
    except OverflowError:
        raise ValueError(
            "labels hold a number beyond double precision, which cannot be a time"
        ) from None


def read_times(
    labels: Any,
    unit: str | None = None,
    *,
    birth: float | None = None,
    n_bins: int | None = None,
) -> Any:
    """Read times from labels such as "12h", "2d", "day 3", "E8.5", "P14", "30 min" or "1,5".

    With ``n_bins``, continuous times, such as pseudotime or minutes of collection, are binned into
    snapshots.

    Parameters
    ----------
    labels : Series, array or list of str ``(n,)``
        Labels; numbers and missing values stay as they are. Other words around one time with its
        unit ("12h_control") are ignored.
    unit : {"s", "min", "h", "d", "w", "month", "year"}, optional
        Unit of the result. It is needed if labels have several units.
    birth : float, optional
        Day of birth, counted from conception: needed if some labels count from conception ("E8.5")
        and others from birth ("P0").
    n_bins : int, optional
        Number of bins with about equally many cells, each at its mean time; by default no binning.

    Returns
    -------
    Series or array ``(n,)``
        Float64; a Series input gives a Series with the same index.

    Raises
    ------
    ValueError
        If a label cannot be read or is ambiguous: mixed units, numbers with and without a unit,
        months with days, "1,500", "day-3", "3m". The message says what each label would become, or
        which cannot be read. Also if ``n_bins`` bins cannot be filled.

    Examples
    --------
    >>> from dyninfer import read_times
    >>> read_times(["0h", "12h", "2d"], "h").tolist()
    [0.0, 12.0, 48.0]
    >>> read_times([0.1, 0.3, 7.2, 7.4], n_bins=2).round(3).tolist()
    [0.2, 0.2, 7.3, 7.3]
    """
    column = _as_column(labels)
    objects = column.astype(object)
    distinct = objects.dropna().unique()
    readings = _readings(distinct)
    if birth is not None and not (is_number(birth) and np.isfinite(birth)):
        raise ValueError(f"birth must be a day, such as 19.5 for mice, found {brief(birth)}")
    _check_starts(readings, birth)
    unit = _common_unit(readings, unit, birth)
    numbers = {label: reading.within(unit, birth) for label, reading in readings.items()}
    # One by one: pandas has no index of half precision. Missing values have no number.
    times = objects.map(lambda label: numbers.get(label, np.nan)).astype(np.float64)
    if n_bins is not None:
        times[:] = binned(times.to_numpy(), n_bins)
    if isinstance(labels, pd.Series):
        return times
    return times.to_numpy()


def _as_column(labels: Any) -> pd.Series:
    """Labels as a Series, or a TypeError where they cannot be looked up."""
    if isinstance(labels, pd.Series):
        return labels
    if hasattr(labels, "detach"):
        labels = np.atleast_1d(as_array(labels, "labels"))
    if isinstance(labels, str) or not isinstance(labels, Iterable):
        labels = [labels]
    entries = as_list(labels, "labels", "texts or numbers")
    column = pd.Series(entries, dtype=object)
    for label in column:
        if not isinstance(label, Hashable):
            raise TypeError(f"labels must be texts or numbers, found {brief(label)}")
    return column


def remedy(labels: Iterable[Any], column: str) -> str:
    """What labels would become, and the line that makes numbers of a column; for a message."""
    # By their text: what a user took for a time may have no hash.
    every_text = map(str, labels)
    distinct = list(dict.fromkeys(every_text))
    try:
        readings = _readings(distinct)
        _check_starts(readings, None)
        units = _units(readings)
        # The shortest: what is a whole number of hours need not be one of days.
        unit = min(units, key=(SECONDS | MONTHS).__getitem__, default=None)
        _common_unit(readings, unit, None)
    except ValueError as error:
        return str(error)
    arguments = column
    if unit is not None:
        arguments = f"{column}, {unit!r}"
    reading = _spelled(readings, unit)
    return f"{reading}. Make them: {column} = di.read_times({arguments})"


def _readings(labels: Iterable[Any]) -> dict[Any, Reading]:
    """Reading of every label; a ValueError lists those that cannot be read."""
    readings = {}
    unread = []
    for label in labels:
        reading = _read(str(label))
        if reading is None:
            unread.append(label)
        else:
            readings[label] = reading
    if unread:
        raise ValueError(
            f"times cannot be read from {listed(unread, 6)}; give their numbers: "
            f"column.map({{{quoted(str(unread[0]))}: 0, ...}}), or labels such as '12h'"
        )
    return readings


def _read(label: str) -> Reading | None:
    """Number and unit of a label; None where it has none, or may mean several things."""
    # The minus sign of typesetters, which spreadsheets put in.
    text = label.strip().lower().replace("\N{MINUS SIGN}", "-")
    readings = []
    for match in _LABEL.finditer(text):
        is_all = match.group() == text
        reading = _matched(match, is_all=is_all)
        if reading is not None:
            readings.append(reading)
    if len(readings) != 1:
        return None
    return readings[0]


def _matched(match: re.Match[str], is_all: bool) -> Reading | None:
    """Reading of a number and the words beside it; None where they make no time of it."""
    digits = re.sub(r"\s", "", match["number"])
    if _THOUSANDS.fullmatch(digits):
        return None
    number = Fraction(digits.replace(",", "."))
    before = match["before"]
    after = match["after"]
    unit_before = UNITS.get(before)
    unit_after = UNITS.get(after)
    if before in STARTS and unit_after is None:
        return Reading(number, "d", STARTS[before])
    if unit_before is not None and unit_after is not None:
        return None
    unit = unit_before or unit_after
    # Without a unit, another word says that the number counts something else: plates, replicates.
    is_bare = is_all and after is None and (before is None or before in PLAIN)
    if unit is None and not is_bare:
        return None
    return Reading(number, unit)


def _units(readings: dict[Any, Reading]) -> list[str]:
    """Units of the labels, each once."""
    units = {reading.unit: None for reading in readings.values()}
    return [unit for unit in units if unit is not None]


def _check_starts(readings: dict[Any, Reading], birth: float | None) -> None:
    """Refuse times that are counted from different events."""
    examples: dict[str | None, Any] = {}
    for label, reading in readings.items():
        examples.setdefault(reading.start, label)
    if len(examples) < 2:
        return
    words = []
    for start, label in examples.items():
        if start is not None:
            example = quoted(str(label))
            words.append(f"{example} from {start}")
    origins = " and ".join(words)
    if None in examples:
        other = quoted(str(examples[None]))
        raise ValueError(
            f"labels count {origins}, but the start of {other} is not given; "
            "count all from one event"
        )
    if birth is None:
        raise ValueError(
            f"labels count {origins}; give the day of birth, as in "
            "di.read_times(column, 'd', birth=19.5) for mice"
        )


def _common_unit(readings: dict[Any, Reading], unit: str | None, birth: float | None) -> str | None:
    """Unit of the result; a ValueError where it is not one, or must be named."""
    if unit is not None:
        name = UNITS.get(str(unit).lower())
        if name is None:
            raise ValueError(f"unit must be one of {listed(SPELLINGS)}, found {brief(unit)}")
        unit = name
    units = _units(readings)
    every_unit = [unit, *units] if unit else units
    sizes = SECONDS
    if every_unit and every_unit[0] in MONTHS:
        sizes = MONTHS
    other_kind = [name for name in units if name not in sizes]
    if other_kind:
        raise ValueError(
            f"a {other_kind[0]} is not a fixed number of {next(iter(sizes))}; "
            "write all labels in days, or all in months"
        )
    # Zero is zero in any unit.
    bare = [label for label, reading in readings.items() if reading.is_bare]
    spelled_units = ", ".join(units)
    if units and bare:
        raise ValueError(
            f"{quoted(str(bare[0]))} has no unit beside others with one ({spelled_units}); "
            "write it with its unit"
        )
    if unit is None and len(units) > 1:
        shortest = min(units, key=sizes.__getitem__)
        example = _spelled(readings, shortest, birth)
        raise ValueError(
            f"labels have several units ({spelled_units}); name one, such as "
            f"unit={shortest!r}: {example}"
        )
    if every_unit:
        return every_unit[0]
    return None


def _spelled(readings: dict[Any, Reading], unit: str | None, birth: float | None = None) -> str:
    """Labels and their numbers, as many as a message holds."""
    words = []
    for label, reading in readings.items():
        number = reading.within(unit, birth)
        example = quoted(str(label))
        words.append(f"{example} is {number:g}")
    n_labels = len(words)
    text = ", ".join(words)
    while len(words) > 1 and len(text) > LONGEST_LIST:
        words.pop()
        text = ", ".join(words)
    if len(words) < n_labels:
        text += f", ... ({n_labels} in all)"
    if unit is None:
        return text
    return f"in {unit}, {text}"
