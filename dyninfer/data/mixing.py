"""What is known under some conditions, carried over to one that was never measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray

from dyninfer.data.conditions import ConditionCode


@dataclass(frozen=True, eq=False)
class Mixing:
    """Weights by which numbers of known conditions add up to that of another one.

    Between doses they interpolate, and beyond the last dose they stay. Effects of parts add, as
    least squares find them: ``high+B`` is ``high+A + low+B − low+A`` where these three are known.
    What the known conditions do not say about a part is set to their mean. The parts of a control
    have no effect, so that ``A+B`` is ``A + B − control``.

    Parameters
    ----------
    code : ConditionCode
    names : sequence of str
        Conditions in the data.
    control : str, optional
        The one without an effect.
    """

    code: ConditionCode
    names: Sequence[str]
    control: str | None = None

    def weights(self, condition: Any, is_known: ndarray) -> ndarray:
        """Weights ``(n,)`` of all names, which add up to one; zero where nothing is known."""
        weights = np.zeros(len(self.names))
        known_names = [name for name, is_own in zip(self.names, is_known, strict=True) if is_own]
        known = self.code.encode(known_names)
        asked = self.code.encode([condition])
        if self.code.parts:
            own = self._added(known, asked[0])
        else:
            own = _interpolated(known[:, 0], asked[0, 0])
        weights[is_known] = own
        return weights

    def _added(self, known: ndarray, asked: ndarray) -> ndarray:
        """Least squares of parts' effects and of a constant, of the least norm."""
        has_effect = np.ones(len(asked))
        if self.control is not None:
            (of_control,) = self.code.encode([self.control])
            has_effect -= of_control
        mean = known.mean(0)
        effects = (known - mean) * has_effect
        deviation = (asked - mean) * has_effect
        n = len(known)
        return 1 / n + deviation @ np.linalg.pinv(effects)


def _interpolated(known: ndarray, asked: float) -> ndarray:
    """Weights of the two neighbours of a dose."""
    order = np.argsort(known)
    weights = np.empty_like(known)
    for k, each in enumerate(np.eye(len(known))):
        # What is one at this dose and zero at the others shows how much this one counts.
        weights[k] = np.interp(asked, known[order], each[order])
    return weights
