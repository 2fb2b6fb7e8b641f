"""Transition-path theory of a learned jump process, as tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.jumps.process import MarkovJump
from dyninfer.jumps.process.reactive import ReactiveFlux, pathways
from dyninfer.learning.settings import brief, is_number
from dyninfer.tools.jump_models import LearnedJumps

# Draws that pathways are taken apart in, one by one: enough for intervals, in a second.
_PATHWAY_DRAWS = 200


@dataclass(frozen=True, eq=False)
class TransitionPaths:
    """The ways that a process takes from one set of states to another.

    Values of a fitted process have ``low`` and ``high``, the ends of their intervals.

    Attributes
    ----------
    committors : DataFrame
        ``state``, ``direction`` and ``value``: "forward", the probability of entering the target
        before the source; "backward", the probability of having been in the source more recently
        than in the target.
    fluxes : DataFrame
        ``source``, ``target`` and ``value``: net reactive jumps per unit of time. Jumps without a
        net flux are left out.
    rates : DataFrame
        ``quantity`` and ``value``: the "flux" of reactive paths per unit of time; their "rate", per
        unit of time in which the source was visited last; and the "share" of all time spent on the
        way.
    pathways : DataFrame
        ``pathway`` ("a > b > c"), ``value``, its flux, and ``share`` of the whole flux, the
        strongest first. A pathway that is absent from a posterior draw counts as 0 there.
    """

    committors: pd.DataFrame
    fluxes: pd.DataFrame
    rates: pd.DataFrame
    pathways: pd.DataFrame


def transition_paths(
    model: Any,
    source: Any,
    target: Any,
    *,
    share: float = 0.95,
    level: float = 0.9,
    n_samples: int = 1000,
    seed: int = 0,
) -> TransitionPaths:
    """Rate and pathways of transitions that leave ``source`` and enter ``target``.

    With committors ``q⁺`` and ``q⁻``, the flux of such paths from ``i`` to ``j`` is
    ``π_i q⁻_i Q_ij q⁺_j`` (Metzner, Schütte and Vanden-Eijnden 2009, Multiscale Model. Simul. 7,
    1192). The process need not have detailed balance.

    Parameters
    ----------
    model : MarkovJumpInference or MarkovJump
        A fitted model, or a process; a process has no intervals. Every state must be recurrent.
    source, target : states
        One or more each, by name or number.
    share : float
        Smallest share of the flux that the pathways cover together.
    level, n_samples, seed
        As in :func:`sojourn_times`; pathways take the first 200 draws.

    Raises
    ------
    TypeError, ValueError
        If the sets overlap, a state is left for good, or an argument is invalid.

    Examples
    --------
    >>> import dyninfer as di
    >>> line = di.MarkovJump([[-1, 1, 0], [1, -2, 1], [0, 1, -1]], state_names=["a", "b", "c"])
    >>> di.tl.transition_paths(line, "a", "c").pathways
         pathway     value  share
    0  a > b > c  0.166667    1.0
    """
    jumps = LearnedJumps.of(model, level, n_samples, seed)
    jumps.check_constant("transition_paths")
    if not is_number(share) or not 0 < share <= 1:
        raise ValueError(f"share must lie above 0 and not above 1, found {brief(share)}")
    starts = jumps.numbers(source, "source")
    ends = jumps.numbers(target, "target")

    def reactive(process: MarkovJump) -> ReactiveFlux:
        return ReactiveFlux.of(process, starts, ends)

    def committors(process: MarkovJump) -> Tensor:
        flux = reactive(process)
        return torch.cat([flux.forward, flux.backward], dim=-1)

    def rates(process: MarkovJump) -> Tensor:
        flux = reactive(process)
        return torch.stack([flux.total, flux.rate, flux.reactive_share], dim=-1)

    net = reactive(jumps.process).net
    source_number, target_number = np.nonzero(net.numpy())

    def fluxes(process: MarkovJump) -> Tensor:
        return reactive(process).net[..., source_number, target_number]

    strengths = pathways(net.numpy(), starts, ends, float(share))

    def flux_of_pathways(process: MarkovJump) -> Tensor:
        matrices = reactive(process).net.reshape(-1, *net.shape)[:_PATHWAY_DRAWS]
        rows = [_strengths(matrix, list(strengths), starts, ends) for matrix in matrices.numpy()]
        return torch.tensor(rows, dtype=torch.float64).squeeze(0)

    names = jumps.names
    both = np.repeat(["forward", "backward"], len(names))
    of_states = pd.DataFrame({"state": np.tile(names, 2), "direction": both})
    jump_names = {"source": names[source_number], "target": names[target_number]}
    routes = [" > ".join(names[list(path)]) for path in strengths]
    table = jumps.with_values(pd.DataFrame({"pathway": routes}), flux_of_pathways)
    table.insert(2, "share", table["value"] / float(reactive(jumps.process).total))
    return TransitionPaths(
        committors=jumps.with_values(of_states, committors),
        fluxes=jumps.with_values(pd.DataFrame(jump_names), fluxes),
        rates=jumps.with_values(pd.DataFrame({"quantity": ["flux", "rate", "share"]}), rates),
        pathways=table,
    )


def _strengths(
    net: ndarray, routes: list[tuple[int, ...]], source: list[int], target: list[int]
) -> list[float]:
    """Flux of each pathway in one net flux, 0 where it has none."""
    own = pathways(net, source, target)
    return [own.get(route, 0.0) for route in routes]
