"""The pictures of a report on any fitted model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dyninfer.learning.settings import check_seed
from dyninfer.report.checks import check_model, check_scores, check_snapshots, check_text
from dyninfer.report.tables import leading

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from dyninfer.data.snapshots import Snapshots
    from dyninfer.data.trajectories import Trajectories
    from dyninfer.estimators import SnapshotEstimator

# Times of the simulation beside the observed ones: a path of sixty pieces looks smooth in print.
N_TIMES = 61
# Panels of populations side by side; more would be too small to see.
N_PANELS = 6


def pictures(
    model: SnapshotEstimator,
    observed: Snapshots,
    evaluation: pd.DataFrame,
    *,
    time_unit: str = "",
    seed: int = 0,
) -> list[tuple[str, Figure]]:
    """Draw trajectories, populations, scores, training and, where there is any, growth.

    Parameters
    ----------
    model : SnapshotEstimator
        Fitted.
    observed : Snapshots
        What is evaluated.
    evaluation : DataFrame
        From ``model.evaluate``.
    time_unit : str
        Unit of time.
    seed : int
        Fixes the simulation, which starts at the first time.

    Returns
    -------
    list of (caption, Figure)

    Raises
    ------
    KeyError, TypeError, ValueError
        If the model is not fitted, or the data or the scores are none.
    """
    check_model(model)
    check_snapshots(observed, "observed")
    metric = check_scores(evaluation, "evaluation")
    check_text(time_unit, "time_unit")
    check_seed(seed)
    first, last = observed.times[[0, -1]]
    # Every observed time too: the populations are drawn there.
    evenly = np.linspace(first, last, N_TIMES)
    times = np.union1d(evenly, observed.times)
    traj = model.simulate(observed, times, seed=seed)
    # The energy distance too: exact transport rewards what is smoother than cells are.
    metrics = leading(evaluation, metric)
    figures = [
        (
            "Simulated trajectories from the cells of the first time, over all observed cells "
            "(grey).",
            _trajectories(observed, traj, time_unit),
        ),
        (
            "Observed (top) and simulated (bottom) populations; every simulated cell started at "
            "the first time.",
            _populations(model, observed, traj, time_unit),
        ),
        (
            "Distance between simulated and observed population at every time.",
            _scores(evaluation, metrics, time_unit),
        ),
    ]
    if "loss" in model.history_:
        caption = "Training loss and validation; the weights of the marked step are the model."
        figures.append((caption, _training(model)))
    # Cells may start with weights, and keep them all the way.
    mass = traj.log_mass
    has_growth = bool((mass != mass[0]).any())
    if has_growth:
        caption = (
            "Growth rate of every cell at its own time, and the mass of the population. Snapshots "
            "alone cannot tell growth from drift: rates of single cells are hypotheses."
        )
        figures.append((caption, _growth(model, observed, time_unit, seed)))
    return figures


def _trajectories(observed: Snapshots, traj: Trajectories, time_unit: str) -> Figure:
    from dyninfer import plotting as pl
    from dyninfer.plotting.style import canvas

    figure, ((ax,),) = canvas((6.4, 4.6), 1, 1)
    pl.trajectories(observed, traj, time_unit=time_unit, ax=ax)
    return figure


def _scores(evaluation: pd.DataFrame, metrics: list[str], time_unit: str) -> Figure:
    """Draw each metric over time, side by side."""
    from dyninfer import plotting as pl
    from dyninfer.plotting.style import canvas

    n_panels = len(metrics)
    width = 1.6 + 4.6 * n_panels
    figure, (panels,) = canvas((width, 4.0), 1, n_panels)
    for ax, name in zip(panels, metrics, strict=True):
        pl.evaluation(evaluation, name, time_unit=time_unit, ax=ax)
    return figure


def _training(model: SnapshotEstimator) -> Figure:
    from dyninfer import plotting as pl
    from dyninfer.plotting.style import canvas

    figure, ((ax,),) = canvas((6.4, 3.6), 1, 1)
    pl.history(model, ax=ax)
    return figure


def _growth(model: SnapshotEstimator, observed: Snapshots, time_unit: str, seed: int) -> Figure:
    from dyninfer import plotting as pl
    from dyninfer.plotting.style import canvas

    figure, ((left, right),) = canvas((9.4, 3.9), 1, 2)
    pl.growth(model, observed, time_unit=time_unit, ax=(left, right), seed=seed)
    return figure


def _populations(
    model: SnapshotEstimator, observed: Snapshots, traj: Trajectories, time_unit: str
) -> Figure:
    """Draw observed over simulated populations at some of the observed times."""
    from dyninfer import plotting as pl
    from dyninfer.plotting.style import canvas

    last = observed.n_times - 1
    evenly = np.linspace(0, last, N_PANELS).round().astype(int)
    times = observed.times[np.unique(evenly)]
    width = 1.9 * len(times) + 0.6
    figure, panels = canvas((width, 4.0), 2, len(times), sharex=True, sharey=True)
    pl.marginals(
        observed,
        traj,
        times,
        hold_out=model.hold_out_,
        time_unit=time_unit,
        ax=panels,
    )
    return figure
