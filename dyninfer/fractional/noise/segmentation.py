"""Where a track changes its motion: exact likelihoods of all segments, and their best division."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy import ndarray
from scipy.linalg import solve_triangular

from dyninfer.fractional.noise.blur import blurred_covariance

# Indices and variances that every segment is tried with. A step costs a long segment half a nat at
# most, where a change must gain many.
_INDICES = np.linspace(0.04, 0.96, 12)
_LOG_STEP = 0.36
# Variances of a frame from a fraction of the error's, below which a particle stands still.
_LEAST_SHARE = 0.2
_MOST_VARIANCES = 40
# Frames between which changes are looked for in a longer track: costs grow with the cube.
_MOST_STARTS = 300
_LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Camera:
    """How positions are seen, in frames.

    Attributes
    ----------
    error : float
        Standard deviation of a position, where it has none of its own.
    exposure : float
        Part of a frame, 0 to 1.
    """

    error: float
    exposure: float

    def covariance(
        self, frames: ndarray, hurst: float, variance: float, errors: ndarray | None = None
    ) -> ndarray:
        """Covariance ``(n − 1, n − 1)`` of displacements between positions at ``frames`` ``(n,)``.

        ``variance`` is that of a displacement over one frame, without blur and error; ``errors``
        ``(n,)`` are those of single positions.
        """
        positions = blurred_covariance(frames, hurst, self.exposure).numpy()
        if errors is None:
            errors = np.full(len(frames), self.error)
        noise = np.diag(errors**2)
        observed = variance * positions + noise
        between_rows = np.diff(observed, axis=0)
        return np.diff(between_rows, axis=1)


class Motion(NamedTuple):
    """Index, and variance of a displacement over one frame."""

    hurst: float
    variance: float


class Track(NamedTuple):
    """Positions of one particle.

    Attributes
    ----------
    frames : ndarray, ``(n,)``
        Numbers of the frames in which it was found, counted from ``start``.
    positions : ndarray, ``(n, d)``
    start : float
        Time of frame 0.
    errors : ndarray, ``(n,)``, optional
        Deviation of each position, where it has one of its own.
    """

    frames: ndarray
    positions: ndarray
    start: float
    errors: ndarray | None = None

    @property
    def displacements(self) -> ndarray:
        """``(n − 1, d)``"""
        return np.diff(self.positions, axis=0)

    def between(self, begin: int, end: int) -> Track:
        """The positions number ``begin`` to ``end``, both of them."""
        frames = self.frames[begin : end + 1]
        positions = self.positions[begin : end + 1]
        errors = None if self.errors is None else self.errors[begin : end + 1]
        return self._replace(frames=frames, positions=positions, errors=errors)

    @property
    def is_even(self) -> bool:
        """Whether no frame between the first and the last is missing, and all are as sharp."""
        is_whole = bool((np.diff(self.frames) == 1).all())
        return is_whole and self.errors is None

    @property
    def starts(self) -> ndarray:
        """Numbers of the positions at which a segment may begin."""
        n = len(self.frames) - 1
        step = -(-n // _MOST_STARTS)
        if not self.is_even:
            # Each start has a factor of its own.
            step = max(step, 4)
        return np.arange(0, n, step)


def motions_of(tracks: list[Track], camera: Camera, shortest: int) -> list[Motion]:
    """Motions that cover those of the tracks: all that a segment is tried with."""
    largest = 0.0
    smallest = np.inf
    for track in tracks:
        squares = (track.displacements**2).mean(1)
        n_together = min(shortest, len(squares))
        window = np.ones(n_together) / n_together
        means = np.convolve(squares, window, mode="valid")
        largest = max(largest, means.max())
        smallest = min(smallest, means.min())
    low = max(_LEAST_SHARE * camera.error**2, 0.1 * smallest)
    # Blur and reverting displacements make a mean square smaller than the variance of a frame.
    high = max(4 * largest, 2 * low)
    n_steps = int(np.ceil(np.log(high / low) / _LOG_STEP))
    variances = np.geomspace(low, high, min(n_steps, _MOST_VARIANCES) + 1)
    moving = [Motion(float(h), float(v)) for h in _INDICES for v in variances]
    return [Motion(0.5, 0.0), *moving]


def best_likelihoods(
    tracks: list[Track],
    motions: list[Motion],
    camera: Camera,
) -> list[ndarray]:
    """Log-likelihood of every segment of every track, by the likeliest of the motions.

    Returns
    -------
    list of ndarray, ``(n, start)`` float32
        Entry ``[m, k]`` is that of the displacements ``starts[k]`` to ``starts[k] + m``; -inf
        beyond the end.
    """
    even = [track for track in tracks if track.is_even]
    tables = {id(track): _beyond(track) for track in tracks}
    shifted = {id(track): _shifted(track) for track in tracks}
    longest = max((len(track.frames) for track in even), default=0)
    frames = np.arange(longest, dtype=float)
    for motion in motions:
        if even:
            # Displacements over even frames are stationary, so one factor serves every start.
            whitener = Whitener.of(camera.covariance(frames, *motion))
        for track in tracks:
            table = tables[id(track)]
            rows = shifted[id(track)]
            if track.is_even:
                values = whitener.log_likelihoods(rows)
            else:
                covariance = camera.covariance(track.frames, *motion, track.errors)
                values = _of_gaps(track, covariance, rows)
            np.maximum(table, values.astype(np.float32), out=table)
    return [_ended(track, tables[id(track)]) for track in tracks]


@dataclass(frozen=True)
class Whitener:
    """What makes displacements independent, each given those before.

    Attributes
    ----------
    root : ndarray, ``(n, n)`` float32
        Inverse of the lower factor of their covariance.
    log_deviation : ndarray, ``(n,)``
        Of a displacement given those before.
    """

    root: ndarray
    log_deviation: ndarray

    @classmethod
    def of(cls, covariance: ndarray) -> Whitener:
        """Whitener of a covariance ``(n, n)``."""
        factor = np.linalg.cholesky(covariance)
        unit = np.eye(len(factor))
        root = solve_triangular(factor, unit, lower=True, check_finite=False)
        return cls(root.astype(np.float32), np.log(np.diag(factor)))

    def log_likelihoods(self, displacements: ndarray) -> ndarray:
        """Of the first ``m`` displacements ``(n, start, d)``, for every ``m``: ``(n, start)``."""
        n, n_starts, n_coordinates = displacements.shape
        columns = displacements.reshape(n, -1)
        white = self.root[:n, :n] @ columns
        squares = (white**2).reshape(n, n_starts, n_coordinates).sum(-1)
        log_volume = n_coordinates * (self.log_deviation[:n] + 0.5 * _LOG_2PI)
        terms = -0.5 * squares - log_volume[:, None]
        return terms.cumsum(0)


def best_division(table: ndarray, starts: ndarray, penalty: float, shortest: int) -> list[int]:
    """Numbers of the displacements at which segments begin, the first among them.

    The sum of the log-likelihoods, less ``penalty`` for every segment, is the largest there is: by
    dynamic programming over the ends (Jackson et al., IEEE Signal Process. Lett. 12:105, 2005).

    Parameters
    ----------
    table : ndarray, ``(n, start)``
        See :func:`best_likelihoods`.
    starts : ndarray, ``(start,)``
    penalty : float
        In nats.
    shortest : int
        Displacements of a segment at least.
    """
    n = len(table)
    ends = [*starts[1:].tolist(), n]
    best = {0: 0.0}
    previous: dict[int, int] = {}
    for end in ends:
        scores = {}
        for k, start in enumerate(starts.tolist()):
            if end - start < shortest and not (start == 0 and end == n):
                continue
            if start in best:
                likelihood = float(table[end - start - 1, k])
                scores[start] = best[start] + likelihood - penalty
        if scores:
            previous[end] = max(scores, key=scores.__getitem__)
            best[end] = scores[previous[end]]
    begins = []
    end = n
    while end > 0:
        end = previous[end]
        begins.append(end)
    return begins[::-1]


def _beyond(track: Track) -> ndarray:
    n = len(track.displacements)
    return np.full((n, len(track.starts)), -np.inf, dtype=np.float32)


def _shifted(track: Track) -> ndarray:
    """Displacements from every start on, then zeros: ``(n, start, d)`` float32."""
    steps = track.displacements
    n, n_coordinates = steps.shape
    shifted = np.zeros((n, len(track.starts), n_coordinates), dtype=np.float32)
    for k, start in enumerate(track.starts):
        shifted[: n - start, k] = steps[start:]
    return shifted


def _of_gaps(track: Track, covariance: ndarray, shifted: ndarray) -> ndarray:
    """Log-likelihoods ``(n, start)`` where every start has a factor of its own."""
    values = np.full(shifted.shape[:2], -np.inf)
    for k, start in enumerate(track.starts):
        own = Whitener.of(covariance[start:, start:])
        n_left = len(own.root)
        rows = shifted[:n_left, k : k + 1]
        values[:n_left, k] = own.log_likelihoods(rows)[:, 0]
    return values


def _ended(track: Track, table: ndarray) -> ndarray:
    """The table with -inf beyond the end of the track."""
    n = len(table)
    n_left = n - track.starts
    is_beyond = np.arange(n)[:, None] >= n_left
    return np.where(is_beyond, -np.inf, table)
