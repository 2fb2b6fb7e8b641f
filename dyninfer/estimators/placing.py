"""Where a fitted model lies."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Self

import torch

from dyninfer.learning.parallel import pick_device
from dyninfer.learning.surroundings import own_surroundings


class Placed:
    """The part of every estimator that places the fitted process on a device."""

    # Any: each family of methods has a process of its own kind.
    process_: Any

    @own_surroundings()
    def to(self, device: str | torch.device) -> Self:
        """Move the fitted process to a device, where it is simulated from then on.

        Parameters
        ----------
        device : str or torch.device
            "cpu", "cuda", "cuda:1", or "auto" for a GPU where there is one.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the device is missing, or has no double precision (MPS).
        """
        self._check_fitted()
        self._move(pick_device(device))
        return self

    @abstractmethod
    def _check_fitted(self) -> None:
        """Raise a NotFittedError where nothing was learned."""

    def _move(self, device: torch.device) -> None:
        """Move everything that computes."""
        self.process_.to(device)
