"""Data that several tests share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from dyninfer.data.paths import Paths
from dyninfer.jumps.process import with_diagonal


def shared_file(name):
    folder = os.environ.get("DYNINFER_DATA")
    file = Path(folder or ".") / name
    if folder is None or not file.exists():
        pytest.skip(f"DYNINFER_DATA does not hold {name}")
    return file


def cav():
    """Heart-transplant panel of the R package msm; state 3 is death."""
    import pandas as pd

    rows = pd.read_csv(shared_file("msm_cav/cav.csv"))
    groups = [g for _, g in rows.groupby("PTNUM")]
    return Paths(
        times=[g.years.to_numpy() for g in groups], states=[g.state.to_numpy() - 1 for g in groups]
    )


def cav_edges():
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[[0, 0, 1, 1, 1, 2, 2], [1, 3, 0, 2, 3, 1, 3]] = True
    return mask


CAV_START = [
    [-0.5, 0.25, 0, 0.25],
    [0.166, -0.498, 0.166, 0.166],
    [0, 0.25, -0.5, 0.25],
    [0, 0, 0, 0],
]


def random_generator(n, seed, *batch):
    g = torch.Generator().manual_seed(seed)
    return with_diagonal(0.1 + torch.rand(*batch, n, n, generator=g, dtype=torch.float64))


def regular(times, states):
    """Paths that were all seen at the same times."""
    return Paths(
        times=[np.asarray(times)] * len(states), states=list(np.asarray(states, dtype=np.int64))
    )
