"""The curvature at a maximum, known or computed when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

Information = Callable[[ndarray], ndarray]


class Curvature:
    """Minus the second derivatives ``(..., p, p)`` of a log-posterior at its maximum.

    They cost several times as much as a fit of many parameters, and only intervals need them.

    Parameters
    ----------
    information : Tensor, ``(..., p, p)``
        The derivatives.
    """

    def __init__(self, information: Tensor | None):
        self._information = information
        self._compute: Information | None = None
        self._theta: Tensor | None = None

    @classmethod
    def later(cls, compute: Information, theta: Tensor) -> Curvature:
        """Of parameters ``(..., p)``, each by a function from ``(p,)`` to ``(p, p)``."""
        curvature = cls(None)
        curvature._compute = compute
        curvature._theta = theta
        return curvature

    @property
    def information(self) -> Tensor:
        """The derivatives."""
        if self._information is None:
            assert self._compute is not None
            assert self._theta is not None
            n_coordinates = self._theta.shape[-1]
            rows = self._theta.reshape(-1, n_coordinates)
            matrices = [self._compute(row) for row in rows.numpy()]
            stacked = torch.from_numpy(np.stack(matrices))
            self._information = stacked.reshape(*self._theta.shape, -1)
            # The data are no longer needed.
            self._compute = None
        return self._information

    def member(self, k: int) -> Curvature:
        """Curvature of member ``k`` of a batch."""
        if self._information is not None:
            return Curvature(self._information[k])
        assert self._compute is not None
        assert self._theta is not None
        return Curvature.later(self._compute, self._theta[k])

    def __getstate__(self) -> dict[str, Any]:
        # A copy or a file holds the numbers, and never the data that they come from.
        return {"_information": self.information, "_compute": None, "_theta": None}
