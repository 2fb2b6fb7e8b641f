"""What a fitted jump process says, as tables."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.jumps.likelihood.clones import ClonePaths
from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.likelihood.observation import Emission
from dyninfer.jumps.posterior.fitting import JumpFit
from dyninfer.jumps.process import MarkovJump
from dyninfer.jumps.process.chain import is_diagonal
from dyninfer.learning.settings import check_level

Quantity = Callable[[MarkovJump], Tensor]

QUANTITIES: dict[str, Quantity] = {
    "stationary": MarkovJump.stationary,
    "holding time": MarkovJump.holding_times,
    "slowest relaxation time": lambda process: process.relaxation_times()[..., 0],
    "entropy production": MarkovJump.entropy_production,
}


def rate_table(fit: JumpFit, names: Sequence[str], level: float) -> pd.DataFrame:
    """One row per allowed jump: its rate, the interval, and whether the data say nothing of it."""
    check_level(level)
    low, high = fit.interval(level)
    edges = fit.scheme.edges.cpu()
    table = _jump_table(edges, names, fit.generator, low, high)
    source, target = edges.T
    is_flat = fit.flat_edges()[source, target]
    return table.assign(flat=is_flat.numpy())


def draws_table(
    generator: Tensor, draws: Tensor, names: Sequence[str], level: float
) -> pd.DataFrame:
    """The same table from posterior draws ``(D, S, S)``, which alone do not show a flat jump."""
    check_level(level)
    low, high = quantiles(draws, level)
    edges = (~is_diagonal(generator)).nonzero()
    table = _jump_table(edges, names, generator, low, high)
    return table.assign(flat=False)


def derived_table(
    process: MarkovJump, draws: MarkovJump, quantities: Mapping[str, Quantity], level: float
) -> pd.DataFrame:
    """Value and interval of quantities of one process, the interval from a batch of processes."""
    check_level(level)
    process = on_cpu(process)
    draws = on_cpu(draws)
    parts = []
    for name, quantity in quantities.items():
        value = quantity(process).reshape(-1)
        values = quantity(draws)
        of_draws = values.reshape(-1, len(value))
        low, high = quantiles(of_draws, level)
        columns = {
            "quantity": _labels(name, len(value), process.state_names),
            "value": value.numpy(),
            "low": low.numpy(),
            "high": high.numpy(),
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def on_cpu(process: MarkovJump) -> MarkovJump:
    """The same process where tables are made, which are small."""
    if process.generator.device.type == "cpu":
        return process
    return copy.deepcopy(process).cpu()


def state_table(
    paths: Paths,
    data: HiddenPaths | ClonePaths,
    model: tuple[Tensor, Emission, Tensor],
    names: Sequence[str],
) -> pd.DataFrame:
    """The most probable state of every observation, its probability, and the likeliest sequence."""
    smoothed = data.smooth(*model).cpu()
    probability, state = smoothed.max(-1)
    sequence, _ = data.viterbi(*model)
    sequence = sequence.cpu()
    # The batch is padded to the longest path.
    place = torch.arange(state.shape[1])
    lengths = torch.as_tensor(paths.lengths)
    is_within = place < lengths.unsqueeze(1)
    every_name = np.asarray(names)
    return pd.DataFrame(
        {
            "path": np.repeat(paths.names, paths.lengths),
            "time": np.concatenate(paths.times),
            "state": every_name[state[is_within]],
            "probability": probability[is_within].numpy(),
            "viterbi": every_name[sequence[is_within]],
        }
    )


def _jump_table(
    edges: Tensor, names: Sequence[str], generator: Tensor, low: Tensor, high: Tensor
) -> pd.DataFrame:
    source, target = edges.T
    every_name = np.asarray(names, dtype=object)
    return pd.DataFrame(
        {
            "source": every_name[source],
            "target": every_name[target],
            "rate": generator[source, target].numpy(),
            "low": low[source, target].numpy(),
            "high": high[source, target].numpy(),
        }
    )


def _labels(name: str, n_values: int, state_names: Sequence[str]) -> list[str]:
    """Names of the values of a quantity: by state where there is one for each."""
    if n_values == 1:
        return [name]
    if n_values != len(state_names):
        state_names = [str(number) for number in range(n_values)]
    return [f"{name} {state}" for state in state_names]


def quantiles(draws: Tensor, level: float) -> tuple[Tensor, Tensor]:
    """Ends ``(...)`` of the central part of draws ``(draw, ...)``."""
    half = level / 2
    tails = torch.tensor([0.5 - half, 0.5 + half], dtype=draws.dtype)
    # The nearest draw and no mean of two: that of two infinite times would not be a number.
    low, high = torch.quantile(draws, tails, dim=0, interpolation="nearest")
    return low, high
