"""What the shape of a model depends on: times, gaps and units of the paths."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray

from dyninfer.data.paths import Paths
from dyninfer.fractional.families import Families
from dyninfer.fractional.index_settings import check_knots_seen
from dyninfer.fractional.settings import EquationSettings
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.settings import brief

# A horizon of more gaps than this needs no faster nodes: they cost more than they explain.
_MOST_GAPS = 1e5
# Paths from which a distribution of the first states can be learned.
_ENOUGH_STARTS = 3


def check_continuous(paths: Paths) -> None:
    """Raise a TypeError where paths have discrete states."""
    if paths.discrete:
        raise TypeError(
            "fractional noise moves numbers, and these paths have discrete states; "
            "use MarkovJumpInference"
        )


def check_several(paths: Paths) -> None:
    """Raise a ValueError where every path has one observation."""
    if paths.lengths.max() < 2:
        raise ValueError(
            "every path has one observation only; fractional noise needs paths with several"
        )


def check_moving(paths: Paths, every_feature: bool = True) -> None:
    """Raise a ValueError where paths say nothing about a motion.

    That is the case where every path has one observation, or where a feature never changes.
    """
    check_several(paths)
    ranges = []
    for states in paths.states:
        # NaN where a path has no value of a feature.
        highest = np.fmax.reduce(states)
        lowest = np.fmin.reduce(states)
        ranges.append(highest - lowest)
    widest = np.fmax.reduce(ranges)
    is_missing = np.isnan(widest)
    if is_missing.any():
        first = int(is_missing.argmax())
        name = brief(paths.features[first])
        raise ValueError(f"feature {name} is missing in every path; leave it out")
    is_still = widest == 0
    if is_still.all() or (every_feature and is_still.any()):
        first = int(is_still.argmax())
        name = brief(paths.features[first])
        raise ValueError(
            f"feature {name} never changes within a path, so nothing can be learned about it; "
            "leave it out"
        )


def check_knots(paths: Paths, hurst: Any) -> None:
    """Raise a ValueError where knots of an index lie where no path is observed."""
    if not isinstance(hurst, list | tuple | ndarray):
        return
    starts = [times[:-1] for times in paths.times]
    ends = [times[1:] for times in paths.times]
    check_knots_seen(np.asarray(hurst), np.concatenate(starts), np.concatenate(ends))


def facts_of(paths: Paths, *, of_tracks: bool = False) -> dict[str, Any]:
    """Times of the paths as plain numbers, and what exposures of tracks depend on beside them.

    Returns
    -------
    dict
        ``begin`` and ``end``, the first time and the last; ``horizon``, the length of the longest
        path; ``tau``, a short gap, that of the fast moves; ``gap``, the usual one; ``free_start``,
        whether there are paths enough to learn where they start.
    """
    # Without a gap there is no time scale.
    check_several(paths)
    starts = []
    ends = []
    lengths = []
    gaps_of_paths = []
    for times in paths.times:
        start = float(times[0])
        end = float(times[-1])
        starts.append(start)
        ends.append(end)
        lengths.append(end - start)
        gaps_of_paths.append(np.diff(times))
    horizon = max(lengths)
    gaps = np.concatenate(gaps_of_paths)
    # A tenth of the gaps is shorter; the shortest of all may be two detections at once.
    short_gap = float(np.quantile(gaps, 0.1))
    usual_gap = float(np.median(gaps))
    facts = {
        "begin": min(starts),
        "end": max(ends),
        "horizon": horizon,
        "tau": max(short_gap, horizon / _MOST_GAPS),
        "gap": usual_gap or horizon,
        "free_start": len(paths) >= _ENOUGH_STARTS,
    }
    if of_tracks:
        facts |= _track_facts(paths)
    return facts


def _track_facts(paths: Paths) -> dict[str, float]:
    """What an exposure and the start of tracks depend on, as plain numbers.

    Returns
    -------
    dict
        ``least_gap``, the shortest time between two observations; ``reach``, the deviation of the
        positions in units of their displacements.
    """
    gaps = [np.diff(times) for times in paths.times]
    values = np.concatenate(paths.states).astype(np.float64)
    deviation = np.nanstd(values, axis=0)
    reach = deviation / _displacements(paths)
    return {
        "least_gap": float(np.concatenate(gaps).min()),
        "reach": float(reach.max()),
    }


def _track_scaling(paths: Paths) -> Scaling:
    """Mean of every feature, and its displacement between two observations; time is left as it is.

    Tracks lie as far apart as the field of view is wide, which says nothing about their motion.
    """
    values = np.concatenate(paths.states).astype(np.float64)
    shift = np.nanmean(values, axis=0)
    scale = _displacements(paths)
    return Scaling(shift=shift, scale=scale, start=0.0, duration=1.0, unit=1.0)


def _displacements(paths: Paths) -> ndarray:
    """Root mean square ``(feature,)`` of the displacements between neighbouring observations."""
    sizes = []
    for feature in range(len(paths.features)):
        squares = []
        for states in paths.states:
            column = states[:, feature].astype(np.float64)
            observed = column[~np.isnan(column)]
            squares.append(np.diff(observed) ** 2)
        every = np.concatenate(squares)
        total = every.sum()
        # A feature that never moves is refused later; here it has a unit all the same.
        sizes.append(np.sqrt(total / len(every)) if total > 0 else 1.0)
    return np.array(sizes)


def scaling_of(paths: Paths, equation: EquationSettings) -> Scaling:
    """Units of the features; time is left as it is.

    Raises
    ------
    TypeError, ValueError
        If the paths say nothing about a motion.
    """
    check_continuous(paths)
    one_scale = equation.has_one_scale
    check_moving(paths, every_feature=not one_scale)
    if equation.localisation is not None:
        return _track_scaling(paths)
    scaling = _value_scaling(paths, one_scale)
    views = getattr(equation.state, "views", None)
    if views is None:
        return scaling
    return _scaling_of_views(paths, Families(views), scaling)


def _scaling_of_views(paths: Paths, families: Families, scaling: Scaling) -> Scaling:
    """Counts keep their unit, which their laws need."""
    is_counted = families.counted()
    n_features = len(paths.features)
    if len(is_counted) != n_features:
        raise ValueError(
            f"state.views have {len(is_counted)} features together, and the data {n_features}; "
            "give each feature to one view"
        )
    values = np.concatenate(paths.states)[:, is_counted]
    present = values[~np.isnan(values)]
    is_count = (present >= 0) & (present == np.round(present))
    if not is_count.all():
        wrong = float(present[~is_count][0])
        raise ValueError(
            f"a view of counts has the value {wrong:g}; counts are whole numbers from 0, so give "
            "them as they were counted, or family='gaussian'"
        )
    shift = np.where(is_counted, 0.0, scaling.shift.numpy())
    scale = np.where(is_counted, 1.0, scaling.scale.numpy())
    return Scaling(shift=shift, scale=scale, start=0.0, duration=1.0, unit=1.0)


def _value_scaling(paths: Paths, one_scale: bool) -> Scaling:
    """Mean and deviation of every feature, or of all alike; time is left as it is."""
    states = np.concatenate(paths.states)
    values = states.astype(np.float64)
    shift = np.nanmean(values, axis=0)
    scale = np.nanstd(values, axis=0)
    if one_scale:
        mean = np.nanmean(values)
        deviation = np.nanstd(values)
        shift = np.full_like(shift, mean)
        scale = np.full_like(scale, deviation)
    # A feature that never changes is left out, or follows the others.
    scale = np.where(scale > 0, scale, 1.0)
    return Scaling(shift=shift, scale=scale, start=0.0, duration=1.0, unit=1.0)
