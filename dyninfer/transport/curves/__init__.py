"""Density paths: samples of a population at every time, which is what potentials are trained on."""

from dyninfer.transport.curves.base import (
    DensityBatch,
    PathSampler,
    check_conserved,
    conserving,
    couple,
)
from dyninfer.transport.curves.choice import default_coupling, path_sampler
from dyninfer.transport.curves.dense import DenseSnapshots
from dyninfer.transport.curves.interpolated import InterpolatedPath
from dyninfer.transport.curves.sampled import DensityPath, SampledPath
from dyninfer.transport.curves.smooth import SmoothPath
from dyninfer.transport.curves.times import TimeSampler

__all__ = [
    "DenseSnapshots",
    "DensityBatch",
    "DensityPath",
    "InterpolatedPath",
    "PathSampler",
    "SampledPath",
    "SmoothPath",
    "TimeSampler",
    "check_conserved",
    "conserving",
    "couple",
    "default_coupling",
    "path_sampler",
]
