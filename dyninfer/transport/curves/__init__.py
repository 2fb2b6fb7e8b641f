"""Density curves: samples of a population at every time, which potentials are trained on.

A curve draws batches. What is minimised over them belongs to ``objectives``, who is paired with
whom to ``couplings``.
"""

from dyninfer.transport.curves.base import Curve, DensityBatch, conserving
from dyninfer.transport.curves.choose import choose_curve, default_coupling
from dyninfer.transport.curves.dense import DenseCurve
from dyninfer.transport.curves.interpolated import InterpolatedCurve
from dyninfer.transport.curves.sampled import DensityCurve, SampledCurve
from dyninfer.transport.curves.smooth import SmoothCurve
from dyninfer.transport.curves.times import TimeSampler

__all__ = [
    "Curve",
    "DenseCurve",
    "DensityBatch",
    "DensityCurve",
    "InterpolatedCurve",
    "SampledCurve",
    "SmoothCurve",
    "TimeSampler",
    "choose_curve",
    "conserving",
    "default_coupling",
]
