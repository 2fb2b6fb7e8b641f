"""Intervals of mean dwell times, from the curvature at a maximum."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from dyninfer.jumps.dwell.families import PhaseFamily
from dyninfer.learning.settings import check_level


def log_means_table(
    families: Sequence[PhaseFamily], theta: Tensor, covariance: Tensor, level: float
) -> pd.DataFrame:
    """Mean dwell times ``mean``, ``low``, ``high``, normal in their logarithms (delta method).

    ``theta`` ``(p,)`` holds the parameters of one law after the other, and may hold more.
    """
    check_level(level)
    sizes = [family.n_parameters for family in families]
    n_of_laws = sum(sizes)
    with torch.enable_grad():
        point = theta[:n_of_laws].detach().requires_grad_(True)
        parts = point.split(sizes)
        log_means = [family.log_mean(part) for family, part in zip(families, parts, strict=True)]
        slopes = [torch.autograd.grad(value, point)[0] for value in log_means]
    jacobian = torch.stack(slopes)
    of_laws = covariance[:n_of_laws, :n_of_laws]
    variance = (jacobian @ of_laws * jacobian).sum(1)
    upper_tail = torch.tensor(0.5 + level / 2, dtype=torch.float64)
    half_width = torch.special.ndtri(upper_tail) * variance.sqrt()
    factor = half_width.exp().numpy()
    mean = torch.stack(log_means).detach().exp().numpy()
    return pd.DataFrame({"mean": mean, "low": mean / factor, "high": mean * factor})
