"""What every density curve has in common: the batch, and how it is drawn."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import ClassVar, NamedTuple

from torch import Generator, Tensor

from dyninfer.data.snapshots import Snapshots
from dyninfer.learning.warn import warn
from dyninfer.transport.couplings import CoupledSamples
from dyninfer.transport.couplings.folds import Folds


class DensityBatch(NamedTuple):
    """Samples of a density curve in scaled units; every entry has ``n`` rows.

    ``start`` and ``end`` are the two ends of the stretch of curve that a sample lies on, ``gap``
    apart in time; the mean of ``(s(start) − s(end)) / gap`` is the boundary term of the action, and
    its noise is common with that of the interior.
    """

    time: Tensor  # (n,)
    density: Tensor  # (n,) density that the time was drawn from
    state: Tensor  # (n, d)
    start_time: Tensor
    start_state: Tensor
    end_time: Tensor
    end_state: Tensor
    gap: Tensor
    velocity: Tensor | None = None  # (n, d) velocity along the curve, where the curve knows it
    growth: Tensor | None = None  # (n,) growth rate along the curve
    weight: Tensor | None = None  # (n,) mass carried by the sample; None where all are one
    start_weight: Tensor | None = None
    end_weight: Tensor | None = None
    code: Tensor | None = None  # (n, m) the condition, where there are conditions
    probe: Tensor | None = None  # (n, d) short way to either side, over which slopes are compared


class Curve(ABC):
    """A density over time that can be sampled."""

    knows_velocity: ClassVar[bool] = False  # whether its batches hold velocities
    weighted: bool = False  # whether its samples carry mass that changes

    @abstractmethod
    def draw(self, t: Tensor, density: Tensor, generator: Generator) -> DensityBatch:
        """Draw samples at times ``(n,)``, which were drawn from ``density`` ``(n,)``."""

    def reach(self, step: int) -> None:  # noqa: B027
        """Make ready what a training step draws from; nothing by default."""

    @abstractmethod
    def folds(self, fraction: float, seed: int) -> Folds[Curve]:
        """Hold a part of what the curve is made of out."""


class PairCurve(Curve):
    """A curve made of coupled samples.

    Parameters
    ----------
    samples : CoupledSamples
    """

    def __init__(self, samples: CoupledSamples):
        self.samples = samples
        self.weighted = samples.weighted

    def reach(self, step: int) -> None:
        """See :meth:`CoupledSamples.reach`."""
        self.samples.reach(step)

    def folds(self, fraction: float, seed: int) -> Folds[Curve]:
        """See :meth:`Curve.folds`: the same curve of a part of the coupled samples."""
        folds = self.samples.folds(fraction, seed)
        parts: list[tuple[Curve, Curve]] = []
        for training, validation in folds.parts:
            training_curve = self._of(training)
            validation_curve = self._of(validation)
            parts.append((training_curve, validation_curve))
        return Folds(self, parts, folds.share)

    def _of(self, samples: CoupledSamples) -> Curve:
        curve = copy.copy(self)
        curve.samples = samples
        return curve


def conserving(data: Snapshots) -> Snapshots:
    """Take the masses off snapshots for a model whose mass cannot change, and say so."""
    if data.masses is None:
        return data
    warn(
        "the masses of the snapshots are not used: this model conserves mass; let mass grow "
        "(growth_penalty, or an UnbalancedTransport) to follow them",
        UserWarning,
    )
    return replace(data, masses=None)
