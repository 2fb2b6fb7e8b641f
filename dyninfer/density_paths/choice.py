"""Which density path the data and the settings ask for."""

from __future__ import annotations

import torch

from dyninfer.couplings import Coupling
from dyninfer.density_paths.base import PathSampler
from dyninfer.density_paths.dense import DenseSnapshots
from dyninfer.density_paths.interpolated import InterpolatedPath
from dyninfer.density_paths.sampled import DensityPath, SampledPath
from dyninfer.density_paths.smooth import SmoothPath
from dyninfer.scaling import Scaling
from dyninfer.snapshots import Snapshots


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
        raise ValueError(f"interpolation {interpolation!r} is not known; choose 'linear', 'cubic' or 'none'")
    if data.n_times == 2 and kind is SmoothPath:
        kind = InterpolatedPath  # a natural cubic spline through two points is the straight line
    return kind(data, scaling, coupling, seed, device, dtype)


def default_coupling(unbalanced: bool, interpolation: str) -> str:
    """Name of the coupling that "auto" stands for."""
    return "unbalanced" if unbalanced and interpolation == "linear" else "ot"
