"""The action of a density curve: what Action Matching minimises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dyninfer.data.snapshots import Snapshots
from dyninfer.diffusions import ScaledDiffusion
from dyninfer.learning.objective import Objective
from dyninfer.learning.scaling import Scaling
from dyninfer.transport.couplings import as_coupling
from dyninfer.transport.curves import (
    DensityBatch,
    DensityCurve,
    TimeSampler,
    check_conserved,
    choose_curve,
    default_coupling,
)
from dyninfer.transport.lagrangians import hamiltonian

if TYPE_CHECKING:
    from dyninfer.estimators.action_matching import ActionMatching


class ActionObjective(Objective):
    """The action as an objective of the training loop, in scaled units."""

    exact_laplacian_up_to = 10  # features; above, one random direction per sample (Hutchinson)
    validation_size = 4096

    def __init__(
        self,
        model: ActionMatching,
        process: ScaledDiffusion,
        data: Snapshots | DensityCurve,
        scaling: Scaling,
        seed: int,
    ):
        parameter = next(process.parameters())
        device, dtype = parameter.device, parameter.dtype
        settings = model.training_
        coupling = model.coupling
        if coupling == "auto":
            coupling = default_coupling(model.growth_penalty is not None, model.interpolation)
        common = (scaling, model.interpolation, as_coupling(coupling))
        train, held = data, None
        if settings.validation_fraction and isinstance(data, Snapshots):
            train, held = data.split(settings.validation_fraction, seed)
        self.curve = choose_curve(train, *common, seed, device, dtype)
        if model.growth_penalty is None:
            check_conserved(getattr(self.curve, "weighted", False))
        self.times = TimeSampler(model.time_sampling == "adaptive", device, dtype)
        self.sigma, self.growth_penalty = process.inner.sigma, process.inner.growth_penalty
        self.action_unit = scaling.action_unit
        self.n_features = scaling.n_features
        self.axes = torch.eye(self.n_features, device=device, dtype=dtype)
        generator = torch.Generator(device).manual_seed(seed + 7919)
        probe = self._draw(self.curve, TimeSampler(False, device, dtype), 2, generator)
        if model.objective == "velocity" and probe.velocity is None:
            raise ValueError(
                "objective='velocity' needs a curve whose velocity is known; use interpolation='linear' or 'cubic', or objective='boundary'"
            )
        self.by_path = probe.velocity is not None and model.objective != "boundary"
        self.held = None
        if settings.validation_fraction:
            held_path = (
                self.curve if held is None else choose_curve(held, *common, seed + 1, device, dtype)
            )
            self.held = self._draw(
                held_path, TimeSampler(False, device, dtype), self.validation_size, generator
            )

    def batch(self, n: int, generator: torch.Generator) -> DensityBatch:
        """Draw ``n`` samples of the path."""
        return self._draw(self.curve, self.times, n, generator)

    def loss(self, process: ScaledDiffusion, batch: DensityBatch) -> dict[str, Tensor]:
        """Action per sample, ``(n,)``: its mean is the action of the scaled problem."""
        density = self._action_density(process, batch)
        action = density / batch.density
        return {
            "loss": action,
            "action": action.detach() * self.action_unit,
            "integrand": density.detach(),
        }

    def observe(self, batch: DensityBatch, terms: dict[str, Tensor]) -> None:
        """Tell the time sampler how the integrand varied."""
        self.times.observe(batch.time, terms.pop("integrand"))

    def validation(self, process: ScaledDiffusion) -> float | None:
        """Action on the samples that were kept apart, always at the same times."""
        if self.held is None:
            return None
        with torch.no_grad():
            return float(self._action_density(process, self.held).mean())

    def state(self) -> dict[str, Tensor]:
        """Moments of the adaptive times."""
        return {"moments": self.times.moments, "density": self.times.density}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo :meth:`state`."""
        self.times.moments, self.times.density = state["moments"], state["density"]

    def _draw(self, path, times: TimeSampler, n: int, generator: torch.Generator) -> DensityBatch:
        t, density = times.draw(n, generator)
        batch = path.draw(t, density, generator)
        if self.sigma and self.n_features > self.exact_laplacian_up_to:
            sign = torch.rand(n, 1, self.n_features, generator=generator, device=t.device) < 0.5
            batch = batch._replace(probe=sign.to(t.dtype) * 2 - 1)
        return batch

    def _action_density(self, process: ScaledDiffusion, batch: DensityBatch) -> Tensor:
        directions = None if not self.sigma else self.axes if batch.probe is None else batch.probe
        s = process.inner.network.derivatives(batch.time, batch.state, directions)
        energy = hamiltonian(s, sigma=self.sigma, growth_penalty=self.growth_penalty)
        if self.by_path and batch.velocity is not None:
            # d/dt E[w s(t, x_t)] along the path replaces ∂s/∂t and the boundary terms.
            advance = (s.gradient * batch.velocity).sum(1)
            if batch.growth is not None:
                advance = advance + batch.growth * s.value
            density = energy - advance
            return density if batch.weight is None else batch.weight * density
        ends = process.inner.network(
            torch.cat([batch.start_time, batch.end_time]),
            torch.cat([batch.start_state, batch.end_state]),
        )
        first, last = ends.chunk(2)
        inner = energy + s.time
        if batch.weight is not None:
            first, last, inner = (
                first * batch.start_weight,
                last * batch.end_weight,
                inner * batch.weight,
            )
        return (first - last) / batch.gap + inner
