"""Which density path the data and the settings ask for."""

from __future__ import annotations

import torch

from dyninfer.data.snapshots import Snapshots
from dyninfer.learning.scaling import Scaling
from dyninfer.transport.couplings import Coupling
from dyninfer.transport.curves.base import PathSampler
from dyninfer.transport.curves.dense import DenseSnapshots
from dyninfer.transport.curves.interpolated import InterpolatedPath
from dyninfer.transport.curves.sampled import DensityPath, SampledPath
from dyninfer.transport.curves.smooth import SmoothPath


def path_sampler(
    data: Snapshots | DensityPath,
    scaling: Scaling,
    interpolation: str,
    coupling: Coupling,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
) -> PathSampler:
    """Choose the path by the data and the name of the interpolation."""
    if isinstance(data, DensityPath):
        return SampledPath(data, scaling, device, dtype)
    if interpolation == "none":
        return DenseSnapshots(data, scaling, device, dtype)
    kind = {"linear": InterpolatedPath, "cubic": SmoothPath}.get(interpolation)
    if kind is None:
        raise ValueError(
            f"interpolation {interpolation!r} is not known; choose 'linear', 'cubic' or 'none'"
        )
    if data.n_times == 2 and kind is SmoothPath:
        kind = InterpolatedPath  # a natural cubic spline through two points is the straight line
    return kind(data, scaling, coupling, seed, device, dtype)


def default_coupling(unbalanced: bool, interpolation: str) -> str:
    """Name of the coupling that "auto" stands for."""
    return "unbalanced" if unbalanced and interpolation == "linear" else "ot"
