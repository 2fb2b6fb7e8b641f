"""What becomes of every cell: probabilities of the labels of a later time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data import keys
from dyninfer.data.columns import check_anndata, check_writable
from dyninfer.learning.settings import brief, check_count, check_seed, check_switch, is_number
from dyninfer.learning.warn import warn
from dyninfer.tools.fate_baselines import Plans, known_growth, transported, unmoved
from dyninfer.tools.fate_cells import Cells
from dyninfer.tools.fate_checks import check_model
from dyninfer.tools.fate_columns import as_stored, entropy, most_probable, write_colors
from dyninfer.tools.fate_draws import Drawing, drawn_fates, is_deterministic
from dyninfer.tools.fate_ends import (
    Ends,
    Labelling,
    Merged,
    by_clusters,
    by_labels,
    nothing_at,
)

if TYPE_CHECKING:
    from anndata import AnnData

KINDS = ("descendants", "lineage")


def fates(
    model: Any,
    adata: AnnData,
    label_key: str | None = None,
    at: float | None = None,
    *,
    states: Merged | None = None,
    of: Literal["descendants", "lineage"] = "descendants",
    n_draws: int = 50,
    noise: Any = None,
    n_neighbors: int = 10,
    transport: float = 0.0,
    growth_key: str | None = None,
    mix: float = 0.0,
    baselines: bool = False,
    seed: int = 0,
    chunk: int | None = None,
) -> pd.DataFrame:
    """Probability that a cell of any time ends with each label of the end time.

    From every cell before the end, paths are simulated to the end. Each end point takes the shares
    of labels among the end cells nearest to it. Cells of the end time keep their own label.

    There are two questions. The share of a fate among the surviving **descendants** of a cell
    weights each path by its growth; this is what a clone shows. The fate of one **lineage** follows
    a cell through its divisions, one random daughter each time, and ignores growth.

    Parameters
    ----------
    model : fitted estimator, or list of them
        Fitted on an AnnData. Refits with other seeds or resampled cells widen the intervals by
        their differences.
    adata : AnnData
        Has the columns and the representation that the model was fitted on; results are written
        into it.
    label_key : str, optional
        Column of ``obs`` with labels; by default clusters of the cells at the end.
    at : float, optional
        End time; by default the last of the data.
    states : list of labels, or dict of fates and their labels, optional
        Labels that are fates, in this order; labels of a dict are merged. End cells with another
        label are left out. By default all labels at the end, in the order of their categories.
    of : {"descendants", "lineage"}
        Which of the two questions to answer.
    n_draws : int
        Paths simulated from each cell. The sampling error is ``√(p (1 − p) / n_draws)``.
    noise : float or callable, optional
        Noise of the simulation, as in ``model.simulate``. Without noise all paths of a cell end at
        the same point, and its fate is the mix of labels around that point. If nothing is known
        about the noise, use ``noise_scale(adata, ...)**2 / 2``: :func:`noise_scale`.
    n_neighbors : int
        Number of end cells around each end point.
    transport : float in [0, 1]
        Share of the result that comes from fates pulled back along transport plans, as in the
        baseline. The Brier score of an average is never above the average of the scores, and is
        lower if the two err in different cells.
    growth_key : str, optional
        Column of ``obs`` with birth less death of every cell, per unit of time, if that is known
        from elsewhere, such as a dye that dilutes. Plans then follow it. If ``noise`` is a positive
        number, they also have the noise of the simulation, with the ``ε = 4 noise Δt`` of its
        bridge, or a hundredth of the mean squared distance if that is more. If growth or noise is
        missing, ε is a tenth. Snapshots alone hardly tell growth from motion, and an unknown growth
        is the largest error of plans.
    mix : float in [0, 1]
        Share of the result that comes from the shares of the labels at the end, the same for every
        cell. This makes fates less sharp, and often better. :func:`score_fates` chooses it from
        clones.
    baselines : bool
        Also compute fates of 50 unmoved neighbours, and fates pulled back along transport plans, as
        ``obsm["dyninfer_fates_neighbors"]`` and ``obsm["dyninfer_fates_transport"]``.
    seed : int
    chunk : int, optional
        Paths run at once; it changes memory, and results only by rounding.

    Returns
    -------
    DataFrame
        Fates ``(cell, fate)``: rows sum to one, or are NaN for cells after the end, with missing
        values, or with all paths lost. The AnnData receives:

        * ``obsm["dyninfer_fates"]``, the fates (an array if a label holds a slash);
          ``obsm["dyninfer_fates_low"]`` and ``obsm["dyninfer_fates_high"]``, the 95 % interval
          over draws and refits;
        * ``obs["dyninfer_fate"]``, the most probable fate, with colours;
          ``obs["dyninfer_fate_entropy"]``, the entropy;
        * ``uns["dyninfer_fates"]``, names, settings and the number of lost paths.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a key, a label or a time is not in the data, or an option is invalid.

    Warns
    -----
    UserWarning
        If all fates are 0 or 1, or paths were lost.

    Examples
    --------
    >>> import numpy as np, dyninfer as di
    >>> adata = di.datasets.mesc_retinoic_acid()[::20].copy()
    >>> model = di.ActionMatching(width=16)
    >>> model = model.fit(adata, time_key="time", max_steps=20, progress=False)
    >>> adata.obs["kind"] = np.where(adata.obsm["X_pca"][:, 1] > 2, "far", "near")
    >>> table = di.tl.fates(model, adata, "kind", n_draws=2)
    >>> list(table.columns)
    ['far', 'near']
    """
    models = _fitted(model)
    _check_options(of, transport=transport, mix=mix)
    n_draws = check_count(n_draws, "n_draws")
    n_neighbors = check_count(n_neighbors, "n_neighbors")
    baselines = check_switch(baselines, "baselines")
    seed = check_seed(seed)
    check_anndata(adata)
    check_writable(adata)
    cells = Cells.of(adata, models[0])
    at = cells.end(at)
    # Everything is computed before the first is written: an error leaves the AnnData as it was.
    labelling = _read_fates(adata, cells, at, label_key, states, seed)
    ends = _ends(cells, at, labelling)
    growth = known_growth(cells, at, growth_key)
    if growth is not None and not baselines and transport == 0:
        raise ValueError("growth_key is for transport plans; give transport=... or baselines=True")
    drawing = Drawing(
        at=at,
        n_draws=n_draws,
        n_neighbors=n_neighbors,
        is_weighted=of == "descendants",
        noise=noise,
        chunk=chunk,
        seed=seed,
    )
    n_fates = len(labelling.names)
    answer = _Answer.empty(adata.n_obs, n_fates)
    is_certain = _simulate_all(models, cells, drawing, ends, answer)
    # Plans share a cell out between fates even where each of its paths is the same.
    is_certain = is_certain and transport == 0
    by_baseline = {}
    if baselines:
        by_baseline["neighbors"] = unmoved(cells, at, ends)
    if baselines or transport > 0:
        hidden = models[0].hold_out_
        # What is assumed of cells gives way to what is known of them, both or neither.
        variance = None if growth is None else _variance(noise)
        plans = Plans(drawing.is_weighted, seed, variance, growth)
        by_plan = transported(cells, at, ends, hidden, plans)
        by_baseline["transport"] = by_plan
    if transport > 0:
        answer.mix_with(by_plan, transport)
    # Before the end is filled: its cells are what they are.
    answer.mix_with(ends.shares, mix)
    _fill_end(answer, cells, at, labelling, ends, n_neighbors)
    _warn_of(drawing, is_certain, len(models))
    tables = answer.tables()
    if baselines:
        tables |= _with_ends(by_baseline, answer)
    _write(adata, tables, labelling)
    write_colors(adata, label_key, labelling.groups)
    adata.uns[keys.FATES] = {
        "label_key": label_key or "",
        "time_key": cells.time_key,
        "of": of,
        "n_refits": len(models),
        "transport": float(transport),
        "growth_key": growth_key or "",
        "mix": float(mix),
        **_facts(labelling, drawing, is_certain),
    }
    names = list(labelling.names)
    return pd.DataFrame(answer.fates, index=adata.obs_names, columns=names)


@dataclass
class _Answer:
    """Fates of all cells with their intervals, each ``(n, fate)``."""

    fates: ndarray
    low: ndarray
    high: ndarray

    @classmethod
    def empty(cls, n_cells: int, n_fates: int) -> _Answer:
        """No cell has a fate yet."""
        missing = np.full((n_cells, n_fates), np.nan)
        return cls(missing, missing.copy(), missing.copy())

    def put(self, rows: ndarray, fates: ndarray, low: ndarray, high: ndarray) -> None:
        """Set the fates of some cells."""
        self.fates[rows] = fates
        self.low[rows] = low
        self.high[rows] = high

    def mix_with(self, others: ndarray, part: float) -> None:
        """Draw all fates towards others ``(fate,)`` or ``(n, fate)``."""
        for values in (self.fates, self.low, self.high):
            values *= 1 - part
            values += part * others

    def tables(self) -> dict[str, ndarray]:
        """Fates and the ends of their intervals, by their keys in ``obsm``."""
        return {
            keys.FATES: self.fates,
            f"{keys.FATES}_low": self.low,
            f"{keys.FATES}_high": self.high,
        }


def _write(adata: AnnData, tables: dict[str, ndarray], labelling: Labelling) -> None:
    """Write tables of fates, the most probable fate of every cell, and the entropy."""
    names = labelling.names
    for key, values in tables.items():
        adata.obsm[key] = as_stored(values, names, adata.obs_names)
    fates = tables[keys.FATES]
    adata.obs[keys.FATE] = most_probable(fates, names)
    adata.obs[keys.FATE_ENTROPY] = entropy(fates)


def _facts(labelling: Labelling, drawing: Drawing, is_certain: bool) -> dict[str, Any]:
    """What the fates are, and how their paths were drawn, as ``uns`` can hold it."""
    kind = "probabilities"
    n_draws = drawing.n_draws
    if is_certain:
        # All paths of a cell would be the same.
        kind = "certainties"
        n_draws = 1
    return {
        "names": np.array(labelling.names, dtype=object),
        # As text: a name may hold a slash, which no key of uns may.
        "labels": json.dumps(labelling.groups),
        "at": drawing.at,
        "kind": kind,
        "n_draws": n_draws,
        "noise": brief(drawing.noise),
        "paths": drawing.n_paths,
        "lost_paths": drawing.n_lost,
    }


def _fitted(model: Any) -> list[Any]:
    """Models of one and the same reading of the data."""
    models = [model]
    if isinstance(model, list | tuple):
        models = list(model)
    if not models:
        raise ValueError("model is an empty list; give at least one fitted model")
    for one in models:
        check_model(one)
        # Of a model that is not fitted, `source_` says so.
        if one.source_ != models[0].source_:
            raise ValueError(
                "the models were fitted with different keys, so that their fates cannot be "
                "averaged; fit all with the same time_key and use_rep"
            )
    return models


def _check_options(of: str, **parts: float) -> None:
    if not isinstance(of, str) or of not in KINDS:
        raise ValueError(f"of must be 'descendants' or 'lineage', found {brief(of)}")
    for name, part in parts.items():
        if not is_number(part) or not 0 <= part <= 1:
            raise ValueError(f"{name} must lie between 0 and 1, found {brief(part)}")


def _variance(noise: Any) -> float | None:
    """Variance of a path per unit of time; None where no one number says it."""
    if not is_number(noise) or not 0 < noise < np.inf:
        return None
    return 2 * float(noise)


def _read_fates(
    adata: AnnData,
    cells: Cells,
    at: float,
    label_key: str | None,
    states: Merged | None,
    seed: int,
) -> Labelling:
    rows = cells.rows(at)
    if label_key is not None:
        return by_labels(adata, label_key, states, rows)
    if states is not None:
        raise ValueError("states names labels, so the column of labels is needed: label_key=...")
    whole = rows[cells.is_whole(rows)]
    if len(whole) == 0:
        raise nothing_at(at)
    states_at_end = cells.states[whole]
    return by_clusters(states_at_end, whole, adata.n_obs, seed)


def _ends(cells: Cells, at: float, labelling: Labelling) -> Ends:
    rows = cells.rows(at)
    has_fate = labelling.codes[rows] >= 0
    # Without all of its values, a cell is near to none.
    is_end = has_fate & cells.is_whole(rows)
    rows = rows[is_end]
    if len(rows) == 0:
        raise nothing_at(at)
    states = cells.states[rows]
    codes = labelling.codes[rows]
    return Ends(labelling.names, states, codes)


def _simulate_all(
    models: Sequence[Any], cells: Cells, drawing: Drawing, ends: Ends, answer: _Answer
) -> bool:
    """Simulate the cells of every time; returns whether all fates are certainties."""
    is_certain = None
    for time in cells.before(drawing.at):
        rows = cells.rows(time)
        is_whole = cells.is_whole(rows)
        # A time that was held out may be missing as a whole.
        if not is_whole.any():
            continue
        sources = cells.sources(time)
        # Asked once: whether a path is certain is a matter of the noise, not of the cell.
        if is_certain is None:
            certainties = (is_deterministic(one, drawing, sources, ends) for one in models)
            is_certain = all(certainties)
        estimate = drawn_fates(models, drawing, sources, ends, is_certain)
        whole = [values[is_whole] for values in estimate]
        answer.put(rows[is_whole], *whole)
    return bool(is_certain)


def _fill_end(
    answer: _Answer, cells: Cells, at: float, labelling: Labelling, ends: Ends, n_neighbors: int
) -> None:
    """Give cells of the end time their own fate, or that of their neighbours if they have none."""
    rows = cells.rows(at)
    has_fate = labelling.codes[rows] >= 0
    with_fate = rows[has_fate]
    own = ends.indicators(labelling.codes[with_fate])
    answer.put(with_fate, own, own, own)
    is_whole = cells.is_whole(rows)
    other = rows[~has_fate & is_whole]
    if len(other):
        other_states = cells.states[other]
        shares = ends.nearest(other_states, n_neighbors)
        unknown = np.full(shares.shape, np.nan)
        answer.put(other, shares, unknown, unknown)


def _warn_of(drawing: Drawing, is_certain: bool, n_models: int) -> None:
    # Several refits disagree where one is sure.
    if is_certain and n_models == 1:
        warn(
            "all fates are 0 or 1: without noise every cell has one path. For probabilities give "
            "noise (methods with a score), fit a method with noise (sigma), or give a list of "
            "refits with other seeds"
        )
    if drawing.n_lost:
        warn(
            f"{drawing.n_lost} of {drawing.n_paths} paths were lost on the way and count for no "
            "fate; smaller solver steps may keep them"
        )


def _with_ends(by_baseline: dict[str, ndarray], answer: _Answer) -> dict[str, ndarray]:
    """Tables of fates without a model, where cells of the end have the fate that is theirs."""
    tables = {}
    for name, values in by_baseline.items():
        is_before = np.isfinite(values)
        tables[f"{keys.FATES}_{name}"] = np.where(is_before, values, answer.fates)
    return tables
