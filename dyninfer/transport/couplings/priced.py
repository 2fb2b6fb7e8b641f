"""Pairs at the price of growth that a potential pays, and the price that data suggest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy import ndarray

from dyninfer.data.snapshots import Snapshots
from dyninfer.learning.scaling import ScaleMode, Scaling
from dyninfer.transport.couplings.base import Coupling
from dyninfer.transport.couplings.unbalanced import UnbalancedOTCoupling

# Price of mass, in mean squared distances, from which on plans conserve it to within a per cent;
# dearer ones take more and more iterations.
_CONSERVING = 100.0


def priced_couplings(
    growth_penalty: float, samples: Sequence[ndarray], weights: Sequence[ndarray]
) -> list[Coupling]:
    r"""Unbalanced transport at the price that a potential pays, one for every interval.

    Where moving costs ``|v|²/2`` and growing at rate g costs ``g²/2λ``, a pair pays ``|x − y|²/2T``
    over the time T, and a change of mass ``(2/λT) KL`` (Liero, Mielke, Savaré 2018, arXiv
    1508.07941): in squared lengths, mass costs ``4/λ``.

    Parameters
    ----------
    growth_penalty : float
        λ, in inverse squared units of the samples.
    samples : sequence of arrays ``(n_k, d)``
    weights : sequence of arrays ``(n_k,)``
        Each summing to one.
    """
    couplings: list[Coupling] = []
    for squared in mean_squared_distances(samples, weights):
        penalty = _CONSERVING
        # Snapshots of a single state have no distance to be dear in.
        if squared > 0:
            growth_cost = growth_penalty * squared
            penalty = min(penalty, 4 / growth_cost)
        couplings.append(UnbalancedOTCoupling(mass_penalty=penalty))
    return couplings


def suggested_growth_penalty(samples: Sequence[ndarray], weights: Sequence[ndarray]) -> float:
    """λ at which a change of mass costs as much as the way between random cells of two times.

    With D the mean squared distance of neighbouring snapshots it is ``4/D``, the default price of
    :class:`UnbalancedOTCoupling`; units are those of :func:`priced_couplings`.
    """
    squared = mean_squared_distances(samples, weights)
    mean = float(np.mean(squared))
    return 4 / mean if mean > 0 else 1.0


def growth_penalty_of(data: Snapshots, scale: ScaleMode) -> float:
    """The same of snapshots that are standardised as a method does, in the units of the data."""
    scaling = Scaling.from_samples(data.times, data.samples, scale, data.weights)
    suggested = suggested_growth_penalty(*scaled_samples(data, scaling))
    return scaling.user_growth_penalty(suggested)


def scaled_samples(data: Snapshots, scaling: Scaling) -> tuple[list[ndarray], list[ndarray]]:
    """Samples in scaled units, and their weights, at every time."""
    samples = [scaling.states(sample) for sample in data.samples]
    weights = [data.weights_at(time) for time in data.times]
    return samples, weights


def mean_squared_distances(samples: Sequence[ndarray], weights: Sequence[ndarray]) -> list[float]:
    """Mean squared distance of random pairs of neighbouring snapshots, one for every interval."""
    means = []
    spreads = []
    for sample, weight in zip(samples, weights, strict=True):
        x = sample.astype(np.float64)
        mean = weight @ x
        squares = np.square(x - mean)
        variance = weight @ squares
        means.append(mean)
        spreads.append(variance.sum())
    squared = []
    for k in range(len(means) - 1):
        after = means[k + 1]
        before = means[k]
        shift = after - before
        total = shift @ shift + spreads[k] + spreads[k + 1]
        squared.append(float(total))
    return squared
