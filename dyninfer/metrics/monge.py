"""Monge gap: how much further a map moves a population than it must."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from dyninfer.data.arrays import in_columns_of
from dyninfer.data.trajectories import Trajectories
from dyninfer.data.words import counted
from dyninfer.learning.random import stream
from dyninfer.learning.surroundings import own_surroundings
from dyninfer.learning.warn import warn
from dyninfer.metrics.samples import (
    Array,
    Sample,
    capped,
    check_count,
    check_points,
    check_sample,
    power_of_two,
)
from dyninfer.metrics.transport import check_power, wasserstein

# Pairs of a feature from which covariances are good enough: `upper` is 5 % too low there.
FEWEST_PAIRS = 10
# Exact transport between so many is a matter of 0.1 s, so that `evaluate` stays quick.
PAIRS_OF_A_RUN = 1000
# Of a unit of cost: below it, and above its inverse, digits of float64 are lost.
SMALLEST = 1e-280
COLUMNS = ("action", "straightness_gap", "monge_gap", "monge_gap_upper")
# Where there is noise or growth, or all paths are lost.
NO_MOVES = dict.fromkeys(COLUMNS, math.nan)


class MongeGap(NamedTuple):
    """The cost of a map, the least cost of the same image, and bounds on the difference.

    Attributes
    ----------
    displacement : float
        ``E |T(x) − x|^p``, of the pairs.
    optimal : float
        Least cost ``W_p^p`` of moving the same points onto the same images, in any pairing.
    gap : float
        ``displacement − optimal``, never negative.
    upper : float
        Displacement minus the least cost that means and covariances require; never below ``gap``.

    Examples
    --------
    >>> import numpy as np, dyninfer as di
    >>> x = np.random.default_rng(0).normal(size=(100, 1))
    >>> round(di.metrics.monge_gap(x, x + 1.0).displacement, 6)  # all move by one
    1.0
    """

    displacement: float
    optimal: float
    gap: float
    upper: float


@own_surroundings()
def monge_gap(
    x: Array,
    y: Array,
    *,
    p: int = 2,
    x_weights: Array | None = None,
    max_samples: int | None = None,
    seed: int = 0,
) -> MongeGap:
    r"""Bounds on the cost of a map beyond that of the best map between the same populations.

    .. math:: M(T) = E\,|T(x) - x|^p - W_p^p(\rho, T_\sharp \rho) \ge 0

    It is zero if no pairing of the points with their images is cheaper than that of the map [1]_,
    whatever the target population was. In many dimensions no sample determines it exactly. ``gap``,
    computed between the points themselves, is below it on average. It is far below if points are
    few for their dimension (0 instead of 29.3 for 2,048 points of a normal law in 50 dimensions,
    rotated by 45°). ``upper`` is above it in large samples, and equal to it for affine maps of
    normal laws with ``p=2``.

    Parameters
    ----------
    x, y : arrays ``(n, d)``
        Points, and their images under the map in the same order.
    p : 1 or 2
        Power of the Euclidean distance that is the cost.
    x_weights : array ``(n,)``, optional
        Weights of the pairs, non-negative; uniform when left out.
    max_samples : int, optional
        Most pairs to use, drawn by weight with ``seed``. The gap depends on their number, so report
        it with the value.
    seed : int

    Returns
    -------
    MongeGap
        ``displacement``, ``optimal``, ``gap`` and ``upper``, in units of the samples to the power
        of ``p``.

    Raises
    ------
    ValueError
        If points and images differ in shape, are unusable, or are too many to solve exactly.

    Warns
    -----
    UserWarning
        If there are fewer than ten pairs per feature: covariances, and with them ``upper``, are
        then biased downwards (by 5 % at ten pairs per feature, 10 % at five).

    Notes
    -----
    For ``p=2``, ``W_2² ≥ |m_x − m_y|² + tr(Σ_x + Σ_y − 2 (Σ_x^½ Σ_y Σ_x^½)^½)`` [2]_ gives
    ``upper``; for ``p=1``, ``W_1 ≥ |m_x − m_y|`` does. Entropic values are not offered, because
    they differ from the exact ones by about ``ε log n``.

    References
    ----------
    .. [1] Uscidda, Cuturi. The Monge gap: a regularizer to learn all transport maps. ICML 2023,
       arXiv 2302.04953.
    .. [2] Gelbrich. On a formula for the L² Wasserstein metric between measures on Euclidean and
       Hilbert spaces. Math. Nachr. 147, 1990.

    Examples
    --------
    A population whose points swap places moves for nothing; a stretched one does not:

    >>> from dyninfer.metrics import monge_gap
    >>> x = [[0.0], [1.0], [2.0], [4.0]] * 3
    >>> moved = monge_gap(x, [[4.0], [2.0], [1.0], [0.0]] * 3)
    >>> moved.displacement, round(moved.optimal, 9), moved.gap
    (8.5, 0.0, 8.5)
    >>> round(monge_gap(x, [[0.0], [2.0], [4.0], [8.0]] * 3).gap, 9)
    0.0
    """
    check_power(p)
    pairs = _as_pairs(x, y, x_weights)
    if max_samples is not None:
        check_count("max_samples", max_samples)
        pairs = capped(pairs, max_samples, stream(seed, "metrics", "monge gap"))
    if p == 2 and not _has_covariances(pairs):
        n, d = _size(pairs)
        warn(
            f"{n} pairs are few for covariances of {counted(d, 'feature')}, so that upper "
            "is too low; give "
            f"at least {FEWEST_PAIRS * d} pairs, or fewer features"
        )
    return _gap(pairs, p)


def cost_of_moves(run: Trajectories, seed: int = 0) -> dict[str, float]:
    r"""What a deterministic run costs along its paths, from end to end, and at best.

    .. math:: T \int_0^T E|v|^2 dt \;\ge\; E|x_T - x_0|^2 \;\ge\; W_2^2

    Parameters
    ----------
    run : Trajectories
        Of one flow without growth, at evenly spaced times, an odd number of them.
    seed : int
        Draws the pairs where there are many.

    Returns
    -------
    dict
        ``action``, the left side, a squared length whatever the unit of time;
        ``straightness_gap``, by which it exceeds the middle; ``monge_gap`` and
        ``monge_gap_upper``, between which the middle exceeds the right. NaN where every path
        diverged, and ``monge_gap_upper`` where features are many for the pairs.
    """
    is_alive = run.status == 0
    if not bool(is_alive.any()):
        return NO_MOVES
    states = run.states[is_alive].double()
    weights = run.weights[is_alive, 0]
    fine = _polygon_action(states, weights)
    coarse = _polygon_action(states[:, ::2], weights)
    # Chords miss a part of the action that falls with the square of their length. What is added
    # is never negative, as chords of chords are shorter.
    action = fine + (fine - coarse) / 3
    ends = states[:, [0, -1]]
    displacement = _polygon_action(ends, weights)
    first = states[:, 0]
    last = states[:, -1]
    pairs = _as_pairs(first, last, weights)
    pairs = capped(pairs, PAIRS_OF_A_RUN, stream(seed, "metrics", "monge gap"))
    monge = _gap(pairs, 2)
    return {
        "action": action,
        "straightness_gap": action - displacement,
        "monge_gap": monge.gap,
        "monge_gap_upper": monge.upper if _has_covariances(pairs) else math.nan,
    }


def _as_pairs(x: Array, y: Array, weights: Array | None) -> Sample:
    """Points and images ``(n, 2 d)`` side by side, in float64 on the device of x."""
    x = in_columns_of(x, y, "x", "y")
    points = check_points(x, "x").double()
    images = check_points(y, "y").to(points.device).double()
    if points.shape != images.shape:
        raise ValueError(
            f"x has shape {tuple(points.shape)} and y has {tuple(images.shape)}; y must hold the "
            "image of every point of x, in the same order"
        )
    side_by_side = torch.cat([points, images], dim=1)
    return check_sample(side_by_side, weights, "x")


def _size(pairs: Sample) -> tuple[int, int]:
    """Numbers of pairs and of features."""
    n, width = pairs.points.shape
    return n, width // 2


def _has_covariances(pairs: Sample) -> bool:
    n, d = _size(pairs)
    return n >= FEWEST_PAIRS * d


def _gap(pairs: Sample, p: int) -> MongeGap:
    points, weights, _ = pairs
    unit = float(power_of_two(points))
    try:
        scale = unit**p
    except OverflowError:
        scale = math.inf
    if not SMALLEST < scale < 1 / SMALLEST:
        raise ValueError(
            f"samples of size {unit:g} cost {scale:g}, too much or too little for float64; "
            "rescale them"
        )
    x, y = (points / unit).chunk(2, dim=1)
    scaled = _gap_of_lengths(x, y, weights) if p == 1 else _gap_of_squares(x, y, weights)
    return MongeGap(*(scale * value for value in scaled))


def _gap_of_lengths(x: Tensor, y: Tensor, weights: Tensor) -> MongeGap:
    shift = weights @ (y - x)
    displacement, optimal = _costs(x, y, weights, p=1)
    gap = displacement - optimal
    upper = displacement - float(shift.norm())
    return MongeGap(displacement, optimal, gap, max(upper, gap))


def _gap_of_squares(x: Tensor, y: Tensor, weights: Tensor) -> MongeGap:
    x_mean = weights @ x
    y_mean = weights @ y
    # Every pairing pays for the shift alike, beside which the gap may be small.
    x = x - x_mean
    y = y - y_mean
    shift = y_mean - x_mean
    shared = float(shift.square().sum())
    displacement, optimal = _costs(x, y, weights, p=2)
    gap = displacement - optimal
    # displacement = tr Σ_x + tr Σ_y − 2 tr Σ_xy, so that the two traces cancel.
    best = _best_covariance(x, y, weights)
    own = _covariance(x, y, weights)
    upper = 2 * (best - own)
    return MongeGap(displacement + shared, optimal + shared, gap, max(upper, gap))


def _costs(x: Tensor, y: Tensor, weights: Tensor, p: int) -> tuple[float, float]:
    """Cost of the pairs as they are, and of the best ones."""
    moves = (y - x).norm(dim=1)
    costs = moves.pow(p)
    displacement = float(weights @ costs)
    distance = wasserstein(x, y, p=p, x_weights=weights, y_weights=weights)
    best = distance**p
    # Rounding may lift the best pairing above the map's own.
    return displacement, min(best, displacement)


def _covariance(x: Tensor, y: Tensor, weights: Tensor) -> float:
    """``tr Σ_xy`` of centred points and images."""
    products = x * y
    return float(weights @ products.sum(1))


def _best_covariance(x: Tensor, y: Tensor, weights: Tensor) -> float:
    """``tr (Σ_x^½ Σ_y Σ_x^½)^½``, the largest ``tr Σ_xy`` that such covariances allow.

    It is the sum of the singular values of ``A B^T`` for any ``A^T A = Σ_x``, ``B^T B = Σ_y``.
    """
    roots = weights.sqrt()[:, None]
    weighted_x = roots * x
    _, a = torch.linalg.qr(weighted_x, mode="r")
    weighted_y = roots * y
    _, b = torch.linalg.qr(weighted_y, mode="r")
    product = a @ b.T
    values = torch.linalg.svdvals(product)
    return float(values.sum())


def _polygon_action(states: Tensor, weights: Tensor) -> float:
    """``T ∫ E|v|² dt`` along chords between states ``(path, time, feature)`` at even times."""
    chords = states.diff(dim=1)
    n_chords = chords.shape[1]
    squares = chords.square().sum((1, 2))
    return float(n_chords * (weights @ squares))
