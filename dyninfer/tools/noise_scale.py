"""How much noise to give a method where nothing is known of it: that of the transport plans."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from dyninfer.data.reading import read_snapshots
from dyninfer.data.snapshots import Snapshots
from dyninfer.learning.settings import brief, is_number
from dyninfer.tools.fate_baselines import REGULARIZATION
from dyninfer.transport.couplings.priced import mean_squared_distances

if TYPE_CHECKING:
    from anndata import AnnData

# Of the largest value: what single precision does not tell from no spread at all.
ROUNDING = 1e-7


def noise_scale(
    data: AnnData | Snapshots,
    *,
    time_key: str | None = None,
    use_rep: str | None = None,
    weight_key: str | None = None,
    hold_out: float | Iterable[float] | None = None,
    regularization: float = REGULARIZATION,
) -> float:
    r"""Noise σ with which a process spreads cells as an entropic transport plan does.

    Snapshots cannot tell noise from drift, so σ is an assumption. This one is made by the plans
    behind the baselines of :func:`fates`. A Brownian motion of variance ``σ² Δt`` leads to plans
    with ``ε = 2 σ² Δt`` (Schrödinger's bridge); with ε a share of the mean squared distance D
    between cells of successive times,

    .. math:: \sigma^2 = \text{regularization} \cdot \frac{\sum_k D_k}{2 \sum_k \Delta t_k}.

    Parameters
    ----------
    data : AnnData or Snapshots
        As in ``fit``.
    time_key, use_rep, weight_key : str, optional
        As in ``fit``.
    hold_out : float or list of floats, optional
        Times whose cells are left out, as in ``fit``.
    regularization : float
        ε in units of D. In a simulated gene network observed as counts, fates are best between half
        the default and the default.

    Returns
    -------
    float
        σ, in state units per square root of time: ``ActionMatching(sigma=σ)``, or
        ``noise=σ**2 / 2`` for methods with a score.

    Raises
    ------
    KeyError, TypeError, ValueError
        If the data cannot be read, the regularization is not positive, or no cell differs from any
        other.

    References
    ----------
    Christian Léonard. A survey of the Schrödinger problem and some of its connections with optimal
    transport. arXiv 1308.0215.

    Examples
    --------
    >>> import dyninfer as di
    >>> snapshots = di.simulators.OrnsteinUhlenbeck().snapshots([0.0, 0.5, 1.0], 200, seed=0)
    >>> sigma = di.tl.noise_scale(snapshots)
    >>> model = di.ActionMatching(sigma=sigma)
    """
    if not is_number(regularization) or not 0 < regularization < np.inf:
        raise ValueError(f"regularization must be positive, found {brief(regularization)}")
    keys = {"time_key": time_key, "use_rep": use_rep, "weight_key": weight_key}
    snapshots = read_snapshots(data, keys, hold_out, reader="noise_scale")
    weights = [snapshots.weights_at(time) for time in snapshots.times]
    squared = mean_squared_distances(snapshots.samples, weights)
    total = float(np.sum(squared))
    largest = max(np.abs(sample).max() for sample in snapshots.samples)
    least_distance = ROUNDING * float(largest)
    if total <= least_distance**2:
        raise ValueError("all cells have the same state, so no scale can be found; check use_rep")
    duration = float(snapshots.times[-1] - snapshots.times[0])
    variance = regularization * total / (2 * duration)
    return float(np.sqrt(variance))
