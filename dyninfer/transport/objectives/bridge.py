"""Schrödinger bridges by optimising the interpolant itself, against the drift that it needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor
from torch.func import functional_call

from dyninfer.diffusions import ScaledDiffusion
from dyninfer.learning.objective import Objective
from dyninfer.transport.couplings import CoupledSamples
from dyninfer.transport.curves import TimeSampler
from dyninfer.transport.objectives.matching import field_means, field_widths, normal_like


class BridgeBatch(NamedTuple):
    """End points, times and noise of interpolants that bend; every entry has ``n`` rows."""

    time: Tensor  # (n,)
    ends: Tensor  # (n, 2, d)
    line: Tensor  # (n, d) the straight interpolant
    line_velocity: Tensor  # (n, d)
    bend: Tensor  # (n, 1) what multiplies the bend
    bend_rate: Tensor  # (n, 1)
    gamma: Tensor  # (n, 1)
    gamma_slope: Tensor  # (n, 1)
    z: Tensor  # (n, d)
    code: Tensor | None


class BridgeObjective(Objective):
    r"""The max-min problem of the Schrödinger bridge (arXiv 2303.08797, section 3.4).

    .. math:: \max_I \min_u \int E[\tfrac12|u(t, x_t)|^2
        - (\partial_t I + (\gamma' - \varepsilon/\gamma) z) \cdot u(t, x_t)]\,dt

    The inner problem has the forward drift ``u = b + ε s`` as its solution and ``−½ E|u|²`` as its
    value, so the outer one looks for the density between the two ends that the least drift
    produces. Here ``I`` is a straight line and a bend,
    ``I = (1 − t) x_0 + t x_1 + t (1 − t) f(t, x_0, x_1)`` with a network ``f``; b and s follow by
    their own losses, and f climbs the value for the present u. ``f`` moves at a tenth of their pace
    (``pace``), as inner problems should be ahead.

    Parameters
    ----------
    process : ScaledDiffusion
        Of an InterpolatedDiffusion with a score and a bend.
    samples : CoupledSamples
    epsilon : float
        ε in scaled units.
    """

    pace = 0.1

    def __init__(self, process: ScaledDiffusion, samples: CoupledSamples, epsilon: float):
        like = samples.states
        self.samples = samples
        self.epsilon = epsilon
        self.schedule = process.inner.schedule
        self.times = TimeSampler(False, like.device, like.dtype)
        widths = field_widths(process.inner, process.scaling.n_features)
        self.mean = field_means(widths, like)

    def reach(self, step: int) -> None:
        """Let blocks of the plan be solved, where they are in turn."""
        self.samples.reach(step)

    def batch(self, n: int, generator: Generator) -> BridgeBatch:
        """Draw ``n`` pairs of points, at even times: the energy is an integral over time."""
        tau, _ = self.times.draw(n, generator)
        moment: Any = self.schedule.moment(tau)
        coupled = self.samples.draw(moment.interval, generator)
        line, velocity = moment.line(coupled.knots)
        z = normal_like(line, generator)
        _, s, gap = self.schedule.locate(tau)
        bend = s * (1 - s)
        bend_rate = (1 - 2 * s) / gap
        return BridgeBatch(
            time=tau,
            ends=coupled.knots,
            line=line,
            line_velocity=velocity,
            bend=bend[:, None],
            bend_rate=bend_rate[:, None],
            gamma=moment.gamma[:, None],
            gamma_slope=moment.gamma_slope[:, None],
            z=z,
            code=coupled.code,
        )

    def loss(self, process: ScaledDiffusion, batch: BridgeBatch) -> dict[str, Tensor]:
        """Loss per pair of points ``(n,)``, in scaled units; ``energy`` is ``½|u|²``."""
        inner = process.inner
        state, velocity = self._bent(inner, batch)
        noise = batch.gamma * batch.z
        # Both signs of every z, as in the losses of the fields.
        points = _both_signs(state, noise)
        b_noise = batch.gamma_slope * batch.z
        b_target = _both_signs(velocity, b_noise)
        s_noise = batch.z / batch.gamma
        s_target = torch.cat([-s_noise, s_noise])
        times = torch.cat([batch.time, batch.time])
        code = batch.code
        if code is not None:
            code = torch.cat([code, code])
        fields = inner.fields(times, points.detach(), code)
        target = torch.cat([b_target, s_target], 1)
        target = target.detach()
        squares = (0.5 * fields - target) * fields
        matching = (squares @ self.mean).sum(1)
        # The same fields as fixed functions: what is left depends on the interpolant alone.
        b = _fixed(inner.network)(times, points, code)
        s = _fixed(inner.second)(times, points, code)
        u = b + self.epsilon * s
        drift = b_target + self.epsilon * s_target
        products = (0.5 * u - drift) * u
        value = products.mean(1)
        squared_drift = u.detach().square().sum(1)
        energy = 0.5 * squared_drift
        return {
            "loss": _over_signs(matching - value),
            "energy": _over_signs(energy),
        }

    def _bent(self, inner: Any, batch: BridgeBatch) -> tuple[Tensor, Tensor]:
        """``I`` and ``∂I/∂t`` ``(n, d)``."""
        if inner.bend is None:
            raise ValueError(
                "the process has no network that bends its interpolant; build it with bend="
            )
        ends = batch.ends.flatten(1)
        f, f_rate = inner.bend.with_rate(batch.time, ends, batch.code)
        f = self.pace * f
        f_rate = self.pace * f_rate
        state = batch.line + batch.bend * f
        by_bend = batch.bend_rate * f
        by_network = batch.bend * f_rate
        velocity = batch.line_velocity + by_bend + by_network
        return state, velocity


def _both_signs(middle: Tensor, noise: Tensor) -> Tensor:
    """Points ``(2n, d)`` on either side of ``(n, d)``."""
    above = middle + noise
    below = middle - noise
    return torch.cat([above, below])


def _over_signs(values: Tensor) -> Tensor:
    """Mean ``(n,)`` over the two signs of the noise, of values ``(2n,)``."""
    by_sign = values.unflatten(0, (2, -1))
    return by_sign.mean(0)


def _fixed(network: Any) -> Callable[..., Tensor]:
    """The network as a function of its inputs alone."""
    parameters = network.named_parameters()
    values = {name: p.detach() for name, p in parameters}
    return lambda *inputs: functional_call(network, values, inputs)
