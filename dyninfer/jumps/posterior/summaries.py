"""What a fitted jump process says, as tables."""

from __future__ import annotations

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

Quantity = Callable[[MarkovJump], Tensor]

QUANTITIES: dict[str, Quantity] = {
    "stationary": MarkovJump.stationary,
    "holding time": MarkovJump.holding_times,
    "slowest relaxation time": lambda process: process.relaxation_times()[..., 0],
    "entropy production": MarkovJump.entropy_production,
}


def rate_table(fit: JumpFit, names: Sequence[str], level: float) -> pd.DataFrame:
    """One row per allowed jump: its rate, the interval, and whether the data say nothing about it."""
    _check_level(level)
    low, high = fit.interval(level)
    flat = fit.flat_edges()
    i, j = fit.scheme.edges.cpu().T
    return pd.DataFrame(
        {
            "source": [names[k] for k in i.tolist()],
            "target": [names[k] for k in j.tolist()],
            "rate": fit.generator[i, j].numpy(),
            "low": low[i, j].numpy(),
            "high": high[i, j].numpy(),
            "flat": flat[i, j].numpy(),
        }
    )


def draws_table(
    generator: Tensor, draws: Tensor, names: Sequence[str], level: float
) -> pd.DataFrame:
    """The same of draws ``(D, S, S)`` of a posterior.

    Of such a posterior no jump is flat: where the data are silent it is the prior's.
    """
    _check_level(level)
    tail = torch.tensor([0.5 - level / 2, 0.5 + level / 2], dtype=torch.float64)
    low, high = torch.quantile(draws, tail, dim=0)
    i, j = (~torch.eye(len(names), dtype=torch.bool)).nonzero().T
    return pd.DataFrame(
        {
            "source": [names[k] for k in i.tolist()],
            "target": [names[k] for k in j.tolist()],
            "rate": generator[i, j].numpy(),
            "low": low[i, j].numpy(),
            "high": high[i, j].numpy(),
            "flat": False,
        }
    )


def sample_generators(fit: JumpFit, n: int, seed: int) -> Tensor:
    """Generators ``(n, S, S)`` from the normal approximation of the posterior of the log-rates."""
    if n < 1:
        raise ValueError(f"at least one draw is needed, found {n}")
    p = fit.scheme.n_parameters
    values, vectors = torch.linalg.eigh(fit.covariance[:p, :p])
    z = torch.randn(n, p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return fit.scheme.generator(fit.theta[:p] + (z * values.clamp_min(0).sqrt()) @ vectors.T)


def derived_table(
    one: MarkovJump, many: MarkovJump, quantities: Mapping[str, Quantity], level: float
) -> pd.DataFrame:
    """Value and interval of quantities of one process, the interval from a batch of processes."""
    _check_level(level)
    rows = []
    tail = torch.tensor([0.5 - level / 2, 0.5 + level / 2], dtype=torch.float64)
    for name, function in quantities.items():
        value = function(one).reshape(-1)
        low, high = torch.quantile(function(many).reshape(-1, len(value)), tail, dim=0)
        suffixes = one.state_names if len(value) == one.n_states else range(len(value))
        labels = [name] if len(value) == 1 else [f"{name} {suffix}" for suffix in suffixes]
        rows += list(zip(labels, value.tolist(), low.tolist(), high.tolist(), strict=True))
    return pd.DataFrame(rows, columns=["quantity", "value", "low", "high"])


def state_table(
    paths: Paths,
    hidden: HiddenPaths | ClonePaths,
    model: tuple[Tensor, Emission, Tensor],
    names: Sequence[str],
) -> pd.DataFrame:
    """The most probable state of every observation, its probability, and the likeliest path as a whole."""
    probability, (likeliest, _) = hidden.smooth(*model), hidden.viterbi(*model)
    within = np.arange(probability.shape[1]) < paths.lengths[:, None]
    best, every = probability.max(-1), np.asarray(names)
    return pd.DataFrame(
        {
            "path": np.repeat(paths.names, paths.lengths),
            "time": np.concatenate(paths.times),
            "state": every[best.indices.numpy()[within]],
            "probability": best.values.numpy()[within],
            "viterbi": every[likeliest.numpy()[within]],
        }
    )


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, found {level}")
