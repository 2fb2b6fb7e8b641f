"""Observations of hidden states, path after path, as the compiled expectations read them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy import ndarray

from dyninfer.jumps.likelihood.hidden import HiddenPaths


@dataclass(frozen=True, eq=False)
class FlatObservations:
    """Observations of all paths in one row, each path until its last observed value.

    Attributes
    ----------
    values : array ``(N,)`` int64 or ``(N, d)`` float64
        Labels, -1 for a missing one; or numbers, NaN for a missing one.
    number : array ``(N,)`` int64
        Which waiting time leads to each observation.
    offsets : array ``(n + 1,)`` int64
        Where paths begin, and the end.
    """

    values: ndarray
    number: ndarray
    offsets: ndarray

    @classmethod
    def of(cls, data: HiddenPaths) -> FlatObservations:
        """Take prepared paths apart."""
        mask = data.mask.numpy()
        n_paths, n_times = mask.shape[:2]
        of_times = mask.reshape(n_paths, n_times, -1)
        is_observed = np.any(of_times, axis=2)
        # What is not observed at the end says nothing; a path keeps one time at least.
        from_end = is_observed[:, ::-1].argmax(1)
        lengths = n_times - from_end
        lengths[~np.any(is_observed, axis=1)] = 1
        is_within = np.arange(n_times) < lengths[:, None]
        missing: float = -1.0
        if data.observed.is_floating_point():
            missing = torch.nan
        observed = data.observed.masked_fill(~data.mask, missing)
        values = observed.numpy()[is_within]
        if observed.is_floating_point():
            values = values.astype(np.float64)
        return cls(
            values=values,
            number=data.incoming_gap[is_within],
            offsets=np.append(0, lengths.cumsum()),
        )
