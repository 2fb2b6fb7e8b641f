"""Which density curve the data and the settings ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from dyninfer.data.snapshots import Snapshots
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.settings import brief
from dyninfer.transport.couplings import CoupledSamples, Coupling
from dyninfer.transport.curves.base import Curve
from dyninfer.transport.curves.dense import DenseCurve
from dyninfer.transport.curves.interpolated import InterpolatedCurve
from dyninfer.transport.curves.sampled import DensityCurve, SampledCurve
from dyninfer.transport.curves.smooth import SmoothCurve


def choose_curve(
    data: Snapshots | DensityCurve,
    scaling: Scaling,
    interpolation: str,
    coupling: Coupling | Sequence[Coupling],
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
    **options: Any,
) -> Curve:
    """Choose the curve by the data and the name of the interpolation.

    Options ``code`` and ``control`` are those of :class:`CoupledSamples`.
    """
    if isinstance(data, DensityCurve):
        return SampledCurve(data, scaling, device, dtype)
    if interpolation == "none":
        if options.get("code") is not None:
            raise ValueError(
                "interpolation='none' pairs no samples, so it cannot keep conditions apart; use "
                "interpolation='linear', or fit one model for each condition"
            )
        return DenseCurve(data, scaling, device, dtype)
    if interpolation not in ("linear", "cubic"):
        raise ValueError(
            f"interpolation {brief(interpolation)} is not known; choose 'linear', 'cubic' or 'none'"
        )
    # A natural cubic spline through two points is the straight line.
    chains = interpolation == "cubic" and data.n_times > 2
    samples = CoupledSamples(
        data, scaling, coupling, seed, device, dtype, chains=chains, in_turn=True, **options
    )
    if chains:
        return SmoothCurve(samples)
    return InterpolatedCurve(samples)


def default_coupling(unbalanced: bool, interpolation: str) -> str:
    """Name of the coupling that "auto" stands for."""
    return "unbalanced" if unbalanced and interpolation == "linear" else "ot"
