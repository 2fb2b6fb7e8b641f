"""What other samples of the same population would score, at the size of a comparison."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from dyninfer.metrics.kernels import mean_distance
from dyninfer.metrics.samples import Sample, UndefinedMetricError

Score = Callable[..., float]

# Points a side over all splits: the floor of a hundred cells in a plane is good to 8 % then.
POINTS = 3000
FEWEST_SPLITS = 3
MOST_SPLITS = 30
# Parts more unequal would be too small; four times as many points are nearly all there could be.
MOST_UNEQUAL = 4.0
# Distances between samples fall no faster than 1/n, and do not rise.
STEEPEST = 1.0
# A quarter of a sample must hold a point.
FEWEST_POINTS = 4


class Sides(NamedTuple):
    """Numbers of points on the two sides of a comparison."""

    x: float
    y: float

    @property
    def mean(self) -> float:
        """Harmonic mean: fluctuations of both sides add up to those of so many points a side."""
        product = self.x * self.y
        total = self.x + self.y
        return 2 * product / total

    def less_unequal(self) -> Sides:
        """Sides of the same mean, the larger at most :data:`MOST_UNEQUAL` times the smaller."""
        if max(self) <= MOST_UNEQUAL * min(self):
            return self
        # The harmonic mean of s and r s is 2 r s / (1 + r).
        large = self.mean * (1 + MOST_UNEQUAL) / 2
        small = large / MOST_UNEQUAL
        if self.x > self.y:
            return Sides(large, small)
        return Sides(small, large)

    def scaled(self, factor: float) -> Sides:
        """Whole numbers of points, at least one a side."""
        n_x = int(self.x * factor)
        n_y = int(self.y * factor)
        return Sides(max(n_x, 1), max(n_y, 1))


def sides_of_comparison(a: Sample, b: Sample, reference: Sample) -> Sides:
    """Sizes of two samples of the reference that are as far apart as ``a`` and ``b`` by chance.

    Weights count by their effective sizes, relative to that of the reference.
    """
    points = len(reference.points)
    per_effective = points / effective_size(reference)
    n_x = effective_size(a) * per_effective
    n_y = effective_size(b) * per_effective
    # No more different points than there are, however evenly they were drawn.
    n_y = min(n_y, points)
    whole = Sides(round(n_x), round(n_y))
    return whole.scaled(1)


def effective_size(sample: Sample) -> float:
    """Number of equal weights that average as well: ``1 / Σ w²``."""
    itself = sample.weights.square().sum()
    return 1 / float(itself)


def measured_at(available: int, sides: Sides) -> Sides:
    """Sizes of the largest disjoint parts of ``available`` points, up to those of the sides."""
    bounded = sides.less_unequal()
    total = bounded.x + bounded.y
    share = available / total
    return bounded.scaled(min(share, 1.0))


def floor_by_splits(
    score: Score, sample: Sample, sides: Sides, repeats: int | None, generator: Generator
) -> float:
    """Mean score of samples of these sizes, from disjoint parts of one sample.

    Where the sample is too small to be parted so, smaller parts of sizes h are, and parts of half
    their sizes q, and the power law that these show is followed: ``f(n) = f(h) (f(h) / f(q))^a``,
    ``a = log(n/h) / log(h/q)``. For two sides of ``n`` from a sample of ``n``, it is ``f(n/2)² /
    f(n/4)``.

    Raises
    ------
    UndefinedMetricError
        If the sample has fewer than four points, or fewer than half of ``n``.
    """
    available = len(sample.points)
    total = math.ceil(sides.x + sides.y)
    least = min(FEWEST_POINTS, total)
    # Two doublings beyond the half that can be measured: further, the power law is a guess.
    needed = max(least, math.ceil(sides.mean / 2))
    if available < needed:
        raise UndefinedMetricError(
            f"a floor at n={sides.mean:.6g} needs {needed} samples of positive weight and y has "
            f"{available}; lower n or give more samples"
        )
    parts = measured_at(available, sides)
    half = parts.scaled(0.5)
    is_whole = total <= available
    if repeats is None:
        repeats = int(POINTS / parts.mean)
        repeats = min(max(repeats, FEWEST_SPLITS), MOST_SPLITS)
    at_parts = []
    at_half = []
    for _ in range(repeats):
        # Disjoint parts of one order: drawn with replacement, they would share points.
        order = torch.randperm(available, generator=generator)
        order = order.to(sample.points.device)
        distance = _between(score, sample, order, parts)
        at_parts.append(distance)
        if is_whole:
            continue
        # Both pairs of halves: they are cheap, and the exponent needs them.
        for rows in (order, order.flip(0)):
            distance = _between(score, sample, rows, half)
            at_half.append(distance)
    large = fmean(at_parts)
    if is_whole:
        return large
    small = fmean(at_half)
    return _extrapolated(large, small, parts.mean, half.mean, sides.mean)


def _between(score: Score, sample: Sample, order: Tensor, sides: Sides) -> float:
    """Score between the first points of an order and the next."""
    first = int(sides.x)
    both = first + int(sides.y)
    one = sample.take(order[:first])
    two = sample.take(order[first:both])
    return score(
        one.points,
        two.points,
        x_weights=one.weights,
        y_weights=two.weights,
    )


def _extrapolated(large: float, small: float, h: float, q: float, n: float) -> float:
    """Value at ``n`` of the power law through ``small`` at ``q`` and ``large`` at ``h``."""
    # Through zero, or less, goes no power law: such scores have no floor above it.
    if large <= 0 or small <= 0:
        return large
    fall = math.log(small / large)
    exponent = fall / math.log(h / q)
    # Of a few points, chance may say anything.
    exponent = max(exponent, 0.0)
    exponent = min(exponent, STEEPEST)
    growth = (h / n) ** exponent
    return large * growth


def energy_floor(sample: Sample, sides: Sides) -> float:
    """Mean energy distance between samples of n and m points: ``(1/n + 1/m) E|y−y′|``.

    Exact, since the energy distance keeps the pairs of a point with itself.
    """
    # Samples with weights average less well than their number says.
    share = effective_size(sample) / len(sample.points)
    effective = sides.mean * share
    return 2 / effective * mean_distance(sample)


def no_floor(sample: Sample, sides: Sides) -> float:
    """Zero: the mean of an unbiased score between samples of one population."""
    if len(sample.points) < 2:
        raise UndefinedMetricError("y has one point of positive weight, so no pairs")
    return 0.0


# Scores whose mean is known, whatever the population; called with a sample and the sides.
KNOWN_FLOORS: dict[str, Callable[[Sample, Sides], float]] = {
    "energy": energy_floor,
    "mmd": no_floor,
}
