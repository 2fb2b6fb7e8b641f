"""The pictures of a report on any fitted model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from dyninfer.data.reading import is_anndata, reread_paths, reread_snapshots
from dyninfer.data.snapshots import Snapshots
from dyninfer.learning.settings import brief, check_seed
from dyninfer.report.checks import check_model, check_scores, check_snapshots, check_text
from dyninfer.report.scene import Scene
from dyninfer.report.tables import is_of_paths, leading

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.figure import Figure

    from dyninfer.data.paths import Paths
    from dyninfer.data.trajectories import Trajectories
    from dyninfer.estimators import Estimator, SnapshotEstimator
    from dyninfer.plotting.colors import CellColors

# Times of the simulation beside the observed ones: a path of sixty pieces looks smooth in print.
N_TIMES = 61
# Panels of populations side by side; more would be too small to see.
N_PANELS = 6
N_PATHS = 3
# Colours of the scene beside time and growth, and labels that a legend has room for.
N_COLORS = 4
MOST_LABELS = 30


def pictures(
    model: Estimator,
    observed: AnnData | Snapshots | Paths,
    evaluation: pd.DataFrame,
    *,
    time_unit: str = "",
    seed: int = 0,
) -> list[tuple[str, Figure | Scene]]:
    """Draw an interactive scene, trajectories, populations, scores, training and any growth.

    Of paths: forecasts, and rates with their intervals.

    Parameters
    ----------
    model : Estimator
        Fitted.
    observed : AnnData, Snapshots or Paths
        What is evaluated. Of an AnnData, the scene has the names of cells and its columns of
        labels as colours, and lies in ``obsm["X_umap"]`` where that is there.
    evaluation : DataFrame
        From ``model.evaluate``.
    time_unit : str
        Unit of time.
    seed : int
        Fixes the simulation, which starts at the first time.

    Returns
    -------
    list of (caption, Figure or Scene)

    Raises
    ------
    KeyError, TypeError, ValueError
        If the model is not fitted, or the data or the scores are none.
    """
    check_model(model)
    check_text(time_unit, "time_unit")
    check_seed(seed)
    if is_of_paths(model):
        return _of_paths(model, observed, time_unit, seed)
    metric = check_scores(evaluation, "evaluation")
    snapshots = observed
    if is_anndata(observed):
        snapshots = reread_snapshots(observed, model.provenance_)
    check_snapshots(snapshots, "observed")
    run = _run(model, cast(Any, snapshots), seed)
    caption = (
        "Observed cells and simulated paths. Slide through time, choose a colour, and move over "
        "cells and paths to read what they are; dark dots are the simulated cells."
    )
    scene = _scene(cast(Any, model), cast(Any, observed), run, time_unit)
    scores = _scores(evaluation, leading(evaluation, metric), time_unit)
    figures = _of_snapshots(cast(Any, model), cast(Any, snapshots), run, time_unit, seed)
    # The scores follow on what the populations show.
    return [(caption, scene), *figures[:2], scores, *figures[2:]]


def _run(model: Any, observed: Snapshots, seed: int) -> Trajectories:
    """Simulate from the cells of the first time to the last time."""
    first, last = observed.times[[0, -1]]
    # Every observed time too: the populations are drawn there.
    evenly = np.linspace(first, last, N_TIMES)
    times = np.union1d(evenly, observed.times)
    return model.simulate(observed, times, seed=seed)


def _scores(evaluation: pd.DataFrame, metrics: list[str], time_unit: str) -> tuple[str, Figure]:
    """The main metric, and the energy distance: exact transport rewards what is smoother."""
    from dyninfer import plotting as pl
    from dyninfer.plotting.style import canvas

    n_panels = len(metrics)
    width = 1.6 + 4.6 * n_panels
    figure, (panels,) = canvas((width, 4.0), 1, n_panels)
    for ax, name in zip(panels, metrics, strict=True):
        pl.evaluation(evaluation, name, time_unit=time_unit, ax=ax)
    return "Distance between simulated and observed population at every time.", figure


def _of_snapshots(
    model: SnapshotEstimator, observed: Snapshots, traj: Trajectories, time_unit: str, seed: int
) -> list[tuple[str, Figure | Scene]]:
    """Trajectories and populations, then training and growth where there is any."""
    figures: list[tuple[str, Figure | Scene]] = [
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
    ]
    if "loss" in model.history_:
        caption = "Training loss and validation; the model goes on from the marked step, the best."
        figures.append((caption, _training(model)))
    # Cells may start with weights, and keep them all the way.
    mass = traj.log_mass
    has_growth = bool((mass != mass[0]).any())
    if has_growth:
        caption = (
            "Growth rate of every cell at its own time, and the mass of the population. Snapshots "
            "alone cannot tell growth from drift: rates of single cells are hypotheses."
        )
        picture = _growth(model, observed, time_unit, seed)
        figures.append((caption, picture))
    return figures


def _trajectories(observed: Snapshots, traj: Trajectories, time_unit: str) -> Figure:
    from dyninfer import plotting as pl
    from dyninfer.plotting.style import canvas

    figure, ((ax,),) = canvas((6.4, 4.6), 1, 1)
    pl.trajectories(observed, traj, time_unit=time_unit, ax=ax)
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


def _of_paths(
    model: Any, observed: Any, time_unit: str, seed: int
) -> list[tuple[str, Figure | Scene]]:
    """Forecasts of some paths, and rates where the method has them."""
    from dyninfer import plotting as pl
    from dyninfer.data.paths import Paths
    from dyninfer.plotting.forecasts import held_out_first
    from dyninfer.plotting.style import canvas

    if is_anndata(observed):
        observed = reread_paths(observed, model.provenance_)
    if not isinstance(observed, Paths):
        raise TypeError(f"observed must be Paths, found {brief(observed)}")
    figures: list[tuple[str, Figure | Scene]] = []
    if (observed.lengths >= 2).any():
        # Held-out paths first: only these say anything.
        paths = held_out_first(model, observed, N_PATHS)
        width = 3.2 * len(paths) + 0.6
        figure, panels = canvas((width, 3.0), 1, len(paths), sharey=True)
        pl.forecasts(model, observed, paths, time_unit=time_unit, seed=seed, ax=panels)
        caption = (
            "Forecasts of the later half of some paths from the half before the orange line (blue: "
            "bands of 50 and 90 %, or the probability of a state), and what was observed (dots)."
        )
        figures.append((caption, figure))
    if hasattr(model, "confidence_intervals"):
        table = model.confidence_intervals()
        height = 0.3 * len(table) + 1.1
        figure, ((ax,),) = canvas((6.4, height), 1, 1)
        pl.rates(table, time_unit=time_unit, ax=ax)
        figures.append(("Rates of jumps, with intervals of 90 %.", figure))
    return figures


def _scene(
    model: SnapshotEstimator, data: AnnData | Snapshots, traj: Trajectories, time_unit: str
) -> Scene:
    """The scene with growth, where there is any, and labels or features as colours."""
    from dyninfer.plotting.colors import CellColors
    from dyninfer.plotting.fields import growth_rates

    colors: list[str | CellColors] = []
    rates = growth_rates(model, data)
    if rates is not None:
        colors.append(CellColors("growth rate", rates))
    if not is_anndata(data):
        colors += cast(Any, data).features[:N_COLORS]
        return Scene.of(data, traj, color=colors, time_unit=time_unit)
    adata = cast(Any, data)
    labels = [name for name in adata.obs if _has_labels(adata.obs[name])]
    colors += labels[:N_COLORS]
    basis = None
    if "X_umap" in adata.obsm:
        basis = "X_umap"
    return Scene.of(
        adata,
        traj,
        basis,
        color=colors,
        use_rep=model.source_.get("use_rep"),
        time_key=model.source_.get("time_key"),
        time_unit=time_unit,
    )


def _has_labels(column: Any) -> bool:
    """Whether a column holds a few labels that many cells share."""
    is_text = isinstance(column.dtype, pd.CategoricalDtype) or column.dtype == object
    return is_text and 2 <= column.nunique() <= MOST_LABELS


def _populations(
    model: SnapshotEstimator, observed: Snapshots, traj: Trajectories, time_unit: str
) -> Figure:
    """Draw observed over simulated populations at some of the observed times."""
    from dyninfer import plotting as pl
    from dyninfer.plotting.style import canvas

    last = observed.n_times - 1
    steps = np.linspace(0, last, N_PANELS)
    evenly = steps.round().astype(int)
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
