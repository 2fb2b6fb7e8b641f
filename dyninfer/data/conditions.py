"""Conditions as numbers: what a network is told about the donor, the dose or the perturbation of a sample."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class ConditionCode:
    """Labels as vectors: one or more of known parts, or a number.

    A label such as ``"A+B"`` is the combination of the parts ``"A"`` and ``"B"``: its vector has a one for each, so a
    combination that was never seen can be asked for. Where all labels are numbers they are standardised, and any number
    can be asked for.

    Attributes
    ----------
    parts : tuple of str
        Known parts; empty where conditions are numbers.
    centre, spread : float
        Of the numbers.
    """

    parts: tuple[str, ...] = ()
    centre: float = 0.0
    spread: float = 1.0

    @classmethod
    def of(cls, labels: Iterable[Any]) -> ConditionCode:
        """Learn the code of labels."""
        names = sorted({str(label) for label in labels})
        numbers = [number for name in names if (number := _number(name)) is not None]
        if len(numbers) == len(names):
            return cls(centre=float(np.mean(numbers)), spread=float(np.std(numbers)) or 1.0)
        return cls(parts=tuple(sorted({part for name in names for part in name.split("+")})))

    @property
    def size(self) -> int:
        """Length of the vectors."""
        return len(self.parts) or 1

    def encode(self, labels: Iterable[Any]) -> np.ndarray:
        """Vectors ``(n, size)``; a ValueError names a label that has none."""
        return np.stack([self._vector(str(label)) for label in labels])

    def _vector(self, label: str) -> np.ndarray:
        if not self.parts:
            number = _number(label)
            if number is None:
                raise ValueError(f"condition {label!r} is not a number, as those of the data are")
            return np.array([(number - self.centre) / self.spread])
        unknown = [part for part in label.split("+") if part not in self.parts]
        if unknown:
            raise ValueError(
                f"condition {unknown[0]!r} was not in the data; known are {', '.join(self.parts)}, and combinations such as "
                f"'{'+'.join(self.parts[:2])}'"
            )
        return np.array([float(part in label.split("+")) for part in self.parts])


def _number(label: str) -> float | None:
    try:
        value = float(label)
    except ValueError:
        return None
    return value if np.isfinite(value) else None
