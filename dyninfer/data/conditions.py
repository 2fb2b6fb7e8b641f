"""Conditions: labels of donors, doses and perturbations, and the vectors that networks read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.arrays import as_array
from dyninfer.data.words import listed, quoted, refuse_missing_words, texts


def as_labels(values: Any, name: str) -> ndarray:
    """Labels ``(n,)``: numbers stay numbers, everything else becomes text.

    Numbers are amounts, such as doses: they can be ordered and interpolated. Categories, truth
    values and text are names, whatever they look like: batches 7, 55 and 101 are no amounts.

    Raises
    ------
    ValueError
        If a label is missing: masked, None, NaN or NA; or text that says so, such as "nan".
    """
    if hasattr(values, "detach"):
        values = as_array(values, name)
    if isinstance(values, np.ma.MaskedArray):
        # NumPy would use what is under the mask.
        mask = np.ma.getmaskarray(values)
        values = values.data
        if mask.any():
            values = values.astype(object)
            values[mask] = None
    if not isinstance(values, pd.Series | pd.Categorical):
        values = np.asarray(values)
    missing = np.asarray(pd.isna(values))
    if missing.any():
        n_missing = int(missing.sum())
        first = int(missing.argmax())
        raise ValueError(
            f"{name} is missing in {n_missing} of {len(values)} rows (first: row {first}); "
            "drop those rows, or name what they are"
        )
    if is_amount(values.dtype):
        dtype = np.int64 if values.dtype.kind in "iu" else np.float64
        return np.asarray(values, dtype=dtype)
    # Every entry alone: numpy would spell 1 and 2.5 of one list as 1.0 and 2.5.
    entries = np.asarray(values, dtype=object)
    names = np.array(texts(entries.flat), dtype=str)
    refuse_missing_words(np.unique(names).tolist(), name, "or rename it if it is a condition")
    return names.reshape(entries.shape)


@dataclass(frozen=True)
class ConditionCode:
    """Labels as vectors: one or more of known parts, or a number.

    A label such as ``"A+B"`` is the combination of the parts ``"A"`` and ``"B"``: its vector has a
    one for each. So combinations that are not in the data can be simulated. Labels that are numbers
    are standardised, and any number can be asked for.

    Attributes
    ----------
    parts : tuple of str
        Known parts; empty where conditions are numbers.
    centre, spread : float
        Mean and standard deviation of the distinct numbers.
    labels : tuple of str
        Labels in the data, where they are no numbers; empty in old files.
    """

    parts: tuple[str, ...] = ()
    centre: float = 0.0
    spread: float = 1.0
    labels: tuple[str, ...] = ()

    @classmethod
    def of(cls, labels: Iterable[Any]) -> ConditionCode:
        """Learn the code of labels; see :func:`as_labels` for which of them are numbers."""
        distinct = np.unique(as_labels(labels, "conditions"))
        if distinct.dtype.kind in "iuf":
            # A power of two is exact; without it squares overflow, or vanish.
            doses = distinct.astype(np.float64)
            largest = np.abs(doses).max()
            _, exponent = np.frexp(largest)
            scaled = np.ldexp(doses, -exponent)
            # A single number has no spread, and any unit does.
            deviation = np.ldexp(scaled.std(), exponent)
            spread = float(deviation) or 1.0
            mean = np.ldexp(scaled.mean(), exponent)
            centre = float(mean)
            return cls(centre=centre, spread=spread)
        parts: set[str] = set()
        for label in distinct:
            parts.update(str(label).split("+"))
        labels = tuple(map(str, distinct.tolist()))
        return cls(parts=tuple(sorted(parts)), labels=labels)

    @classmethod
    def from_plain(cls, saved: dict[str, Any]) -> ConditionCode:
        """Undo ``dataclasses.asdict`` after JSON, which knows lists only."""
        parts = tuple(saved["parts"])
        labels = tuple(saved.get("labels", ()))
        return cls(**{**saved, "parts": parts, "labels": labels})

    @property
    def size(self) -> int:
        """Length of the vectors."""
        return len(self.parts) or 1

    def is_new(self, label: Any) -> bool:
        """Whether a label is a combination of known parts that was not in the data."""
        own = set(str(label).split("+"))
        return bool(self.labels) and all(own != set(one.split("+")) for one in self.labels)

    def strangers(self, label: Any) -> list[tuple[str, str]]:
        """Pairs of the parts of a label that no label in the data has together."""
        together = [set(one.split("+")) for one in self.labels]
        own = sorted(set(str(label).split("+")))
        pairs = []
        for pair in combinations(own, 2):
            if not any(known.issuperset(pair) for known in together):
                pairs.append(pair)
        return pairs

    def encode(self, labels: Iterable[Any]) -> ndarray:
        """Vectors ``(n, size)``; a ValueError names a label that has none."""
        vector = self._of_parts if self.parts else self._of_number
        codes = [vector(str(label)) for label in labels]
        return np.stack(codes)

    def _of_number(self, label: str) -> ndarray:
        try:
            number = float(label)
        except ValueError:
            number = np.nan
        # "nan" and "inf" are text that reads as numbers.
        if not np.isfinite(number):
            raise ValueError(f"condition {quoted(label)} is not a number, as those of the data are")
        deviation = number - self.centre
        standardised = deviation / self.spread
        return np.array([standardised])

    def _of_parts(self, label: str) -> ndarray:
        parts = label.split("+")
        for part in parts:
            if part not in self.parts:
                every = listed(self.parts)
                example = quoted("+".join(self.parts[:2]))
                raise ValueError(
                    f"condition {quoted(part)} was not in the data; known are {every}, "
                    f"and combinations such as {example}"
                )
        is_part = [part in parts for part in self.parts]
        return np.array(is_part, dtype=np.float64)


def is_amount(dtype: Any) -> bool:
    """Whether values of this kind are numbers, and not names that may look like numbers."""
    is_category = isinstance(dtype, pd.CategoricalDtype)
    if is_category or pd.api.types.is_bool_dtype(dtype):
        return False
    return pd.api.types.is_numeric_dtype(dtype)
