"""Density curves: samples of a population at every time, which is what potentials are trained on."""

from dyninfer.transport.curves.base import (
    Curve,
    DensityBatch,
    check_conserved,
    conserving,
    couple,
)
from dyninfer.transport.curves.choose import choose_curve, default_coupling
from dyninfer.transport.curves.dense import DenseCurve
from dyninfer.transport.curves.interpolated import InterpolatedCurve
from dyninfer.transport.curves.sampled import DensityCurve, SampledCurve
from dyninfer.transport.curves.smooth import SmoothCurve
from dyninfer.transport.curves.times import TimeSampler

__all__ = [
    "DenseCurve",
    "DensityBatch",
    "DensityCurve",
    "InterpolatedCurve",
    "Curve",
    "SampledCurve",
    "SmoothCurve",
    "TimeSampler",
    "check_conserved",
    "conserving",
    "couple",
    "default_coupling",
    "choose_curve",
]
