"""Tracks in segments of one motion each: where exponent or diffusion coefficient change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy import ndarray
from scipy.special import expit
from scipy.stats import norm

from dyninfer.data import keys
from dyninfer.data.columns import obs_column
from dyninfer.data.paths import Paths
from dyninfer.data.paths.frames import frame_numbers, frame_of
from dyninfer.data.reading import is_anndata, read_paths
from dyninfer.fractional.noise.segment_fit import SegmentFit, fit_segment
from dyninfer.fractional.noise.segmentation import (
    Camera,
    Track,
    best_division,
    best_likelihoods,
    motions_of,
)
from dyninfer.fractional.point_errors import point_errors
from dyninfer.learning.settings import brief, check_count, check_level, is_number
from dyninfer.learning.warn import warn

if TYPE_CHECKING:
    from anndata import AnnData

# Parameters of a further segment: where it begins, its exponent, its coefficient.
_PARAMETERS = 3
# Without an error, displacements count as exact to this share of a usual one: a particle that rests
# would have an infinite likelihood.
_ROUNDING = 1e-3
# Positions from which an exponent and a coefficient can be read at all.
_FEWEST = 4
# Why tracks are read as paths.
_REASON = "a track is one particle at several times"
_COLUMNS = ("alpha", "alpha_low", "alpha_high", "K", "K_low", "K_high", "log_likelihood")


def segment_tracks(
    data: AnnData | Paths,
    *,
    time_key: str | None = None,
    path_key: str | None = None,
    use_rep: str | None = None,
    error: float | str = 0.0,
    exposure: float = 0.0,
    frame: float | None = None,
    min_frames: int = 10,
    penalty: float | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    r"""Change points of anomalous diffusion in every track, and the motion between them.

    A segment is fractional Brownian motion, ``E|x(t + τ) − x(t)|² = 2 d K τ^α`` with ``α = 2H``,
    observed with an error. Its likelihood is exact. The number of segments and their starts
    maximise the total log-likelihood minus a penalty for every additional segment. Displacements in
    different segments are treated as independent.

    Parameters
    ----------
    data : AnnData or Paths
        Positions of every track at multiples of a frame. Missing frames are absent or NaN; a frame
        counts if all its coordinates are known.
    time_key, path_key, use_rep : str, optional
        Keys of an AnnData, as in the ``fit`` of a method for paths.
    error : float or str
        Standard deviation of the position error in each coordinate, in the units of the data; an
        error that is left out lowers the exponents. ``FractionalSDE(drift="none",
        observation_noise=Localisation())`` learns one. A string names the column of covariates, or
        of ``obs``, with the error of every position.
    exposure : float
        Fraction of a frame during which the shutter is open, from 0 to 1.
    frame : float, optional
        Duration of a frame; by default the shortest gap of the data.
    min_frames : int
        Smallest number of frames in a segment.
    penalty : float, optional
        Log-likelihood, in nats, that an additional segment must gain. By default ``1.5 log(n d)``
        for ``n`` displacements in ``d`` coordinates: half the log of the number of values for each
        of three parameters, Schwarz's criterion (Ann. Stat. 6:461, 1978).
    level : float
        Coverage of the intervals.

    Returns
    -------
    DataFrame
        One row per segment: ``path``, ``segment``, times ``start`` and ``end`` of its first and
        last position, ``n_frames``, ``alpha`` and ``K`` (squared units per time unit to the power
        ``alpha``) with their intervals, and ``log_likelihood``. Neighbouring segments share a
        position. An exponent at the end of its range, 0.02 or 1.98, has no interval; a straight
        line is one case. A resting particle, seen only through its error, has ``K = 0`` and no
        exponent. Tracks that never move or are too short give NaN, and a warning names the first.

    Raises
    ------
    TypeError, ValueError
        If the data or a setting are invalid; the message names them.

    Notes
    -----
    The computing time grows with the cube of the length of a track: a third of a second for 200
    frames. In tracks of more than 300 frames, with missing frames or with an error for each
    position, changes are searched at every second (third, fourth ...) position only.

    Examples
    --------
    >>> import numpy as np, dyninfer as di
    >>> steps = np.random.default_rng(0).normal(size=(80, 2))
    >>> steps[40:] *= 0.2
    >>> paths = di.Paths(times=[np.arange(80)], states=[steps.cumsum(axis=0)])
    >>> len(di.tl.segment_tracks(paths))
    2
    """
    source = keys.chosen(locals(), ("time_key", "path_key", "use_rep"))
    columns = (error,) if isinstance(error, str) else ()
    if columns and is_anndata(data):
        # Here, since a reader would call it a covariate.
        obs_column(data, columns[0], "error")
        source = source | {"covariate_keys": list(columns)}
    paths = read_paths(data, source, reader="segment_tracks", reason=_REASON)
    if paths.discrete:
        raise TypeError("segment_tracks reads positions, and these paths have discrete states")
    every_error = 0.0 if columns else _as_error(error)
    _check_numbers(exposure, penalty)
    min_frames = check_count(min_frames, "min_frames")
    if min_frames < _FEWEST:
        raise ValueError(f"min_frames must be at least {_FEWEST}, found {brief(min_frames)}")
    level = check_level(level)
    frame = frame_of(paths, frame)
    errors = _errors(paths, columns)
    tracks = [_track(paths, number, frame, errors[number]) for number in range(len(paths))]
    can_fit = np.array([_can_fit(track) for track in tracks])
    _warn_of_still(paths, can_fit)
    camera = Camera(_effective_error(tracks, every_error), exposure)
    can_rest = bool(columns) or every_error > 0
    moving = [track for track, is_fit in zip(tracks, can_fit, strict=True) if is_fit]
    divisions = iter(_divided(moving, camera, min_frames, penalty))
    rows = []
    for name, track, is_fit in zip(paths.names, tracks, can_fit, strict=True):
        begins = next(divisions) if is_fit else [0]
        ends = [*begins[1:], len(track.frames) - 1]
        for segment, (begin, end) in enumerate(zip(begins, ends, strict=True)):
            part = track.between(begin, end)
            row = {"path": name, "segment": segment, **_extent(part, frame)}
            row |= dict.fromkeys(_COLUMNS, np.nan)
            if is_fit:
                fit = fit_segment(part, camera, can_rest)
                row |= _in_units(fit, frame, level)
            rows.append(row)
    return pd.DataFrame(rows)


def _extent(track: Track, frame: float) -> dict[str, float]:
    """Times of the first and last position, and how many there are."""
    n_frames = len(track.frames)
    if n_frames == 0:
        return {"start": np.nan, "end": np.nan, "n_frames": 0}
    times = track.start + frame * track.frames
    return {"start": times[0], "end": times[-1], "n_frames": n_frames}


def _divided(
    tracks: list[Track], camera: Camera, min_frames: int, penalty: float | None
) -> list[list[int]]:
    """Positions at which the segments of every track begin."""
    if not tracks:
        return []
    shortest = min_frames - 1
    motions = motions_of(tracks, camera, shortest)
    tables = best_likelihoods(tracks, motions, camera)
    divisions = []
    for track, table in zip(tracks, tables, strict=True):
        price = penalty
        if price is None:
            price = 0.5 * _PARAMETERS * np.log(track.displacements.size)
        divisions.append(best_division(table, track.starts, price, shortest))
    return divisions


def _in_units(fit: SegmentFit, frame: float, level: float) -> dict[str, float]:
    """Exponent and coefficient with their intervals, normal in the logit and the logarithm."""
    if np.isneginf(fit.log_variance):
        return {"K": 0.0, "log_likelihood": fit.log_likelihood}
    z = norm.ppf(0.5 + level / 2)
    # At an end of its range the index has no curvature, and NaN for an interval.
    half_width = z * np.sqrt(fit.covariance[0, 0])
    index = expit(fit.logit)
    alpha = 2 * index
    # 2 K frame^α is the variance of a displacement over one frame.
    log_frame = np.log(frame)
    log_coefficient = fit.log_variance - np.log(2) - alpha * log_frame
    slope = np.array([-2 * log_frame * index * (1 - index), 1.0])
    spread = z * np.sqrt(slope @ fit.covariance @ slope)
    return {
        "alpha": alpha,
        "alpha_low": 2 * expit(fit.logit - half_width),
        "alpha_high": 2 * expit(fit.logit + half_width),
        "K": np.exp(log_coefficient),
        "K_low": np.exp(log_coefficient - spread),
        "K_high": np.exp(log_coefficient + spread),
        "log_likelihood": fit.log_likelihood,
    }


def _errors(paths: Paths, columns: tuple[str, ...]) -> Sequence[ndarray | None]:
    """Deviation of every position of each path ``(l_i,)``, where they have their own."""
    if not columns:
        return [None] * len(paths)
    of_rows = point_errors(paths, columns)[:, 0]
    return np.split(of_rows, np.cumsum(paths.lengths)[:-1])


def _track(paths: Paths, number: int, frame: float, errors: ndarray | None) -> Track:
    """Positions of a path, by the numbers of their frames."""
    states = np.asarray(paths.states[number], dtype=np.float64)
    is_there = ~np.isnan(states).any(1)
    frames = frame_numbers(paths, number, frame).astype(np.float64)
    start = float(paths.times[number][0])
    own = None if errors is None else errors[is_there]
    return Track(frames[is_there], states[is_there], start, own)


def _can_fit(track: Track) -> bool:
    return len(track.frames) >= _FEWEST and bool(track.displacements.any())


def _effective_error(tracks: list[Track], error: float) -> float:
    own = [track.errors for track in tracks if track.errors is not None]
    if own:
        # The motions that are tried begin below it.
        return float(np.median(np.concatenate(own)))
    if error > 0:
        return error
    sizes = [np.abs(track.displacements).ravel() for track in tracks]
    every = np.concatenate(sizes)
    moves = every[every > 0]
    return _ROUNDING * float(np.median(moves)) if len(moves) else 1.0


def _warn_of_still(paths: Paths, can_fit: ndarray) -> None:
    rows = np.flatnonzero(~can_fit)
    if len(rows):
        warn(
            f"track {str(paths.names[rows[0]])!r} never moves or has fewer than {_FEWEST} "
            f"positions, so that its exponent is NaN ({len(rows)} of {len(can_fit)} such)",
            UserWarning,
        )


def _as_error(error: Any) -> float:
    if not is_number(error) or not 0 <= error < np.inf:
        raise ValueError(
            f"error must be a number, 0 or more, or the name of a column; found {brief(error)}"
        )
    return float(error)


def _check_numbers(exposure: float, penalty: float | None) -> None:
    if not is_number(exposure) or not 0 <= exposure <= 1:
        raise ValueError(f"exposure is a part of a frame, 0 to 1; found {brief(exposure)}")
    if penalty is not None and (not is_number(penalty) or not 0 < penalty < np.inf):
        raise ValueError(f"penalty must be a positive number, or None; found {brief(penalty)}")
