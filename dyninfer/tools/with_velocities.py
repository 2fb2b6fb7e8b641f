"""Velocities of tracks, made of the differences of their positions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dyninfer.data.paths import Paths
from dyninfer.data.paths.covariates import cut_rows
from dyninfer.data.words import quoted
from dyninfer.learning.surroundings import own_surroundings


@own_surroundings()
def with_velocities(paths: Paths) -> Paths:
    r"""Positions and velocities half-way between neighbouring observations.

    .. math:: t = \tfrac12 (t_n + t_{n+1}), \qquad x = \tfrac12 (x_n + x_{n+1}), \qquad
        v = \frac{x_{n+1} - x_n}{t_{n+1} - t_n}

    These are the states of a particle with inertia, for ``KramersMoyal(inertia=True,
    observation_noise="averaged")``. The gaps must be short beside the memory of the velocity, and
    long enough that a position moves by more than the error it was measured with.

    Parameters
    ----------
    paths : Paths
        Positions. An observation that lacks one is left out.

    Returns
    -------
    Paths
        One observation fewer of every path; the features are the positions, and after them their
        velocities, ``v_x0`` of ``x0``, in position units per time unit.

    Raises
    ------
    TypeError, ValueError
        If these are no paths, states are labels, features are velocities already, or a path has
        only one whole observation.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.tl.with_velocities(di.Paths(times=[[0, 1, 3]], states=[[0.0, 2.0, 3.0]])).states
    (array([[1. , 2. ],
           [2.5, 0.5]]),)
    """
    if not isinstance(paths, Paths):
        raise TypeError(
            f"paths must be di.Paths, found {type(paths).__name__}; an AnnData is read by "
            "di.Paths.from_anndata"
        )
    if paths.discrete:
        raise TypeError("velocities are of positions, and these paths have discrete states")
    velocities = [f"v_{feature}" for feature in paths.features]
    for name in velocities:
        if name in paths.features:
            raise ValueError(
                f"there is a feature {quoted(name)} already, as velocities are called; give paths "
                "of positions alone"
            )
    every_time = []
    every_state = []
    rows = []
    first_row = 0
    each = zip(paths.names, paths.times, paths.states, strict=True)
    for name, times, states in each:
        whole = np.flatnonzero(~np.isnan(states).any(1))
        if len(whole) < 2:
            raise ValueError(
                f"path {quoted(name)} has fewer than two whole observations, so no velocity; "
                "leave it out by paths.without"
            )
        x = states[whole].astype(np.float64)
        t = times[whole]
        gap = np.diff(t)
        step = np.diff(x, axis=0)
        # Half of a difference is added: sums of times since 1970 lose digits.
        every_time.append(t[:-1] + gap / 2)
        half_way = x[:-1] + step / 2
        velocity = step / gap[:, None]
        every_state.append(np.concatenate([half_way, velocity], axis=1))
        rows.append(first_row + whole[:-1])
        first_row += len(times)
    return replace(
        paths,
        times=tuple(every_time),
        states=tuple(every_state),
        features=(*paths.features, *velocities),
        covariates=cut_rows(paths.covariates, np.concatenate(rows)),
    )
