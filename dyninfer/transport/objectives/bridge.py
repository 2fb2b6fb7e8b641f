"""Schrödinger bridges by optimising the interpolant itself, against the drift that it needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call

from dyninfer.diffusions import ScaledDiffusion
from dyninfer.transport.interpolants import Moment
from dyninfer.transport.objectives.coupled import CoupledSamples
from dyninfer.transport.objectives.objective import MatchingObjective


class BridgeBatch(NamedTuple):
    """End points, times and noise of interpolants that bend; every entry has ``n`` rows."""

    time: Tensor  # (n,)
    ends: Tensor  # (n, 2, d)
    line: Tensor  # (n, 2, d) the straight interpolant and its velocity
    bend: Tensor  # (n, 2) what multiplies the bend, and its derivative in time
    gamma: Tensor  # (n, 2) γ and its derivative
    z: Tensor  # (n, d)
    code: Tensor | None


class BridgeObjective(MatchingObjective):
    r"""The max-min problem of the Schrödinger bridge (arXiv 2303.08797, section 3.4).

    .. math:: \max_I \min_u \int E[\tfrac12|u(t, x_t)|^2 - (\partial_t I + (\gamma' - \varepsilon/\gamma) z) \cdot u(t, x_t)]\,dt

    The inner problem has the forward drift ``u = b + ε s`` as its solution and ``−½ E|u|²`` as its value, so the outer one looks for the
    density between the two ends that the least drift produces. Here ``I`` is a straight line and a bend,
    ``I = (1 − t) x_0 + t x_1 + t (1 − t) f(t, x_0, x_1)`` with a network ``f``; b and s follow by their own losses, and f climbs the
    value for the present u. ``f`` moves at a tenth of their pace (``pace``), as inner problems should be ahead.
    """

    pace = 0.1

    def __init__(
        self,
        process: ScaledDiffusion,
        samples: CoupledSamples,
        seed: int,
        epsilon: float,
    ):
        self.epsilon = epsilon
        super().__init__(process, samples, None, seed)

    def loss(self, process: ScaledDiffusion, batch: BridgeBatch) -> dict[str, Tensor]:  # type: ignore[override]
        """Loss per pair of points ``(n,)``, in scaled units; ``energy`` is ``½|u|²``."""
        state, velocity = self._bent(process, batch)
        gamma, slope = batch.gamma[:, :1], batch.gamma[:, 1:]
        targets = [(velocity + k * slope * batch.z, -k * batch.z / gamma) for k in (1, -1)]
        points = torch.cat([state + gamma * batch.z, state - gamma * batch.z])
        twice = torch.cat([batch.time, batch.time])
        code = None if batch.code is None else torch.cat([batch.code, batch.code])
        found = process.inner.fields(twice, points.detach(), code)
        target = torch.cat([torch.cat(pair, 1) for pair in targets])
        terms = ((0.5 * found - target.detach()) * found) @ self.mean
        # The same fields as fixed functions: what is left depends on the interpolant alone.
        b, s = (
            _fixed(network)(twice, points, code)
            for network in (process.inner.network, process.inner.second)
        )
        u = b + self.epsilon * s
        drift = torch.cat([v + self.epsilon * w for v, w in targets])
        value = ((0.5 * u - drift) * u).mean(1)
        loss = (terms.sum(1) - value).unflatten(0, (2, -1)).mean(0)
        energy = 0.5 * u.detach().square().sum(1).unflatten(0, (2, -1)).mean(0)
        return {"loss": loss, "energy": energy}

    def observe(self, batch: BridgeBatch, terms: dict[str, Tensor]) -> None:  # type: ignore[override]
        """Nothing is learned from a step: in a game, the losses keep their sizes."""

    def validation(self, process: ScaledDiffusion) -> float | None:
        """None: the value of a game tells nothing about who is ahead."""
        return None

    def _draw(self, samples: CoupledSamples, n: int, generator: torch.Generator) -> BridgeBatch:  # type: ignore[override]
        tau, _ = self.times.draw(n, generator)  # even: the energy is an integral over time
        moment: Moment = self.schedule.moment(tau)
        ends = samples.draw(moment.interval, generator)
        line = torch.bmm(torch.stack([moment.weights, moment.slopes], 1), ends.knots)
        z = torch.randn(line[:, 0].shape, generator=generator, device=line.device, dtype=line.dtype)
        _, s, gap = self.schedule.locate(tau)
        bend = torch.stack([s * (1 - s), (1 - 2 * s) / gap], 1)
        gamma = torch.stack([moment.gamma, moment.gamma_slope], 1)  # type: ignore[list-item]
        return BridgeBatch(tau, ends.knots, line, bend, gamma, z, ends.code)

    def _bent(self, process: ScaledDiffusion, batch: BridgeBatch) -> tuple[Tensor, Tensor]:
        """``I`` and ``∂I/∂t`` ``(n, d)``."""
        bend = process.inner.bend
        if bend is None:
            raise ValueError(
                "the process has no network that bends its interpolant; build it with bend="
            )
        f, rate = bend.with_rate(batch.time, batch.ends.flatten(1), batch.code)
        f, rate = self.pace * f, self.pace * rate
        size, slope = batch.bend[:, :1], batch.bend[:, 1:]
        return batch.line[:, 0] + size * f, batch.line[:, 1] + slope * f + size * rate


def _fixed(network: Any) -> Callable[..., Tensor]:
    """The network as a function of its inputs alone."""
    values = {name: p.detach() for name, p in network.named_parameters()}
    return lambda *inputs: functional_call(network, values, inputs)
