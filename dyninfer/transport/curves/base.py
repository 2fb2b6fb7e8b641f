"""What every density curve has in common: the batch, the sampler, and how snapshots become tensors."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.snapshots import Snapshots
from dyninfer.transport.couplings import Coupling, Plan


class DensityBatch(NamedTuple):
    """Samples of a density curve in scaled units; every entry has ``n`` rows.

    ``start`` and ``end`` are the two ends of the stretch of path that a sample lies on, ``gap`` apart in time; the mean of
    ``(s(start) − s(end)) / gap`` is the boundary term of the action, and its noise is common with that of the interior.
    """

    time: Tensor  # (n,)
    state: Tensor  # (n, d)
    density: Tensor  # (n,) density that the time was drawn from
    weight: Tensor | None  # (n,) mass carried by the sample; None where all are one
    velocity: Tensor | None  # (n, d) velocity along the path, where the path knows it
    growth: Tensor | None  # (n,) growth rate along the path
    start_time: Tensor
    start_state: Tensor
    start_weight: Tensor | None
    end_time: Tensor
    end_state: Tensor
    end_weight: Tensor | None
    gap: Tensor
    probe: Tensor | None  # (n, 1, d) random signs for Hutchinson's estimate of the Laplacian


class Curve(ABC):
    """Draws batches of a density curve; the three kinds are below."""

    @abstractmethod
    def draw(self, t: Tensor, density: Tensor, generator: torch.Generator) -> DensityBatch:
        """Samples at times ``(n,)``."""


def couple(
    data: Snapshots, samples: list[np.ndarray], coupling: Coupling | Sequence[Coupling], seed: int
) -> list[Plan]:
    """Plans between neighbouring snapshots, by one coupling or by one for every interval."""
    if isinstance(coupling, Coupling):
        return coupling.plans(data, samples, seed)
    weights = [data.weights_at(t) for t in data.times]
    return [
        one.plan(samples[k], samples[k + 1], weights[k], weights[k + 1], seed + k)
        for k, one in enumerate(coupling)
    ]


def conserving(data: Snapshots) -> Snapshots:
    """The same snapshots without their masses, for a model whose mass cannot change; says so."""
    if data.masses is None:
        return data
    warnings.warn(
        "the masses of the snapshots are not used: this model conserves mass; let mass grow (growth_penalty, or an "
        "UnbalancedTransport) to follow them",
        UserWarning,
        stacklevel=4,
    )
    return replace(data, masses=None)


def check_conserved(weighted: bool) -> None:
    """Raise a ValueError where pairs change their mass although the model cannot: its loss would have no least value."""
    if weighted:
        raise ValueError(
            "the coupling changes the mass of pairs, but this model conserves mass; use coupling='ot', or let mass grow "
            "(growth_penalty, or an UnbalancedTransport)"
        )


def interval(times: Tensor, t: Tensor) -> Tensor:
    """Index of the interval between knots ``(K,)`` that each of the times ``(n,)`` lies in."""
    return torch.searchsorted(times[1:-1].contiguous(), t, right=True)


def log_masses(data: Snapshots) -> np.ndarray:
    """Log-masses relative to their mean, so that the loss keeps its size; zeros where none are given."""
    return (
        np.zeros(data.n_times) if data.masses is None else np.log(data.masses / data.masses.mean())
    )


def placer(device: torch.device, dtype: torch.dtype) -> Callable[[np.ndarray], Tensor]:
    """Return what puts arrays on a device, in a dtype."""
    return lambda array: torch.as_tensor(np.asarray(array), device=device).to(dtype)
