"""Density paths: samples of a population at every time, which is what potentials are trained on."""

from dyninfer.density_paths.base import DensityBatch, PathSampler, check_conserved, conserving, couple
from dyninfer.density_paths.choice import default_coupling, path_sampler
from dyninfer.density_paths.dense import DenseSnapshots
from dyninfer.density_paths.interpolated import InterpolatedPath
from dyninfer.density_paths.sampled import DensityPath, SampledPath
from dyninfer.density_paths.smooth import SmoothPath
from dyninfer.density_paths.times import TimeSampler

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
