"""Optimal paths between two single cells: straight lines, and geodesics of the cone with mass."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Arc(NamedTuple):
    """Path of a pair at fraction ``β`` of its interval, with derivatives in β; ``n`` rows each."""

    position: Tensor  # (n, d)
    velocity: Tensor  # (n, d)
    mass: Tensor  # (n,)
    mass_rate: Tensor  # (n,)


def straight(beta: Tensor, x0: Tensor, x1: Tensor) -> Arc:
    """Straight line at constant speed, of constant mass one."""
    return Arc(
        position=torch.lerp(x0, x1, beta[:, None]),
        velocity=x1 - x0,
        mass=torch.ones_like(beta),
        mass_rate=torch.zeros_like(beta),
    )


def cone_arc(
    beta: Tensor, x0: Tensor, x1: Tensor, log_m0: Tensor, log_m1: Tensor, penalty: float
) -> Arc:
    r"""Wasserstein-Fisher-Rao geodesic between point masses ``m0`` at ``x0`` and ``m1`` at ``x1``.

    .. math:: m(\beta) = (1-\beta)^2 m_0 + \beta^2 m_1 + 2\beta(1-\beta)\sqrt{m_0 m_1}\cos\theta,
        \qquad \theta = \min\big(\tfrac{\sqrt\lambda}{2} |x_1 - x_0|, \tfrac\pi2\big)

    which is a straight line in the plane with radius ``√m`` and angle ``√λ|x|/2`` (Liero, Mielke,
    Savaré 2018, arXiv 1508.07941). Pairs farther apart than ``π/√λ`` must not be given positive
    mass at both ends.
    """
    # The clamps keep gradients finite where the two points are one.
    displacement = x1 - x0
    distance = displacement.norm(dim=1).clamp_min(1e-6)
    half_root = 0.5 * penalty**0.5
    theta = half_root * distance
    theta = theta.clamp(1e-4, 0.5 * torch.pi)
    cos = theta.cos()
    sin = theta.sin()
    r0 = (0.5 * log_m0).exp()
    r1 = (0.5 * log_m1).exp()
    # The line in the plane, with x0 on the first axis.
    rest = 1 - beta
    from_start = rest * r0
    from_end = beta * r1 * cos
    along = from_start + from_end
    across = beta * r1 * sin
    mass = along.square() + across.square()
    tiny = torch.finfo(beta.dtype).tiny
    mass = mass.clamp_min(tiny)
    fraction = torch.atan2(across, along) / theta
    fraction_rate = r0 * r1 * sin / (mass * theta)
    # Half of dm/dβ, term by term of the formula.
    source_rate = rest * r0.square()
    target_rate = beta * r1.square()
    shared_rate = (1 - 2 * beta) * r0 * r1 * cos
    half_rate = target_rate - source_rate + shared_rate
    return Arc(
        position=torch.lerp(x0, x1, fraction[:, None]),
        velocity=displacement * fraction_rate[:, None],
        mass=mass,
        mass_rate=2 * half_rate,
    )


class SphereTime(NamedTuple):
    """Where on a cone geodesic a path on the sphere is; every entry has ``n`` rows."""

    beta: Tensor  # fraction β of the geodesic
    speed: Tensor  # dβ/dτ
    total_mass: Tensor  # M(β) on the cone


def sphere_time(tau: Tensor, angle: Tensor) -> SphereTime:
    r"""Fraction ``β`` of the cone geodesic at which the normalised curve is at fraction ``τ``.

    Between unit masses at Hellinger-Kantorovich distance ``H``, a cone geodesic is a chord of the
    sphere of probability measures and ``angle`` ``Φ = arccos(1 − H²/2)``; divided by its total mass
    ``M(β)`` and run at ``β = sin τΦ / (sin τΦ + sin (1−τ)Φ)`` it is the geodesic of constant total
    mass (Laschos, Mielke 2019, arXiv 1712.01888).
    """
    # At an angle of zero all three are limits of 0 / 0.
    angle = angle.clamp_min(1e-3)
    sin = angle.sin()
    up = (tau * angle).sin()
    rest = 1 - tau
    down = (rest * angle).sin()
    total = up + down
    ratio = sin / total
    return SphereTime(
        beta=up / total,
        speed=angle * sin / total.square(),
        total_mass=ratio.square(),
    )
