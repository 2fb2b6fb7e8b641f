"""The action of a density curve: what Action Matching minimises."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Generator, Tensor

from dyninfer.diffusions import ScaledDiffusion
from dyninfer.learning.objective import Objective
from dyninfer.learning.random import stream
from dyninfer.transport.couplings.folds import Folds
from dyninfer.transport.curves import Curve, DensityBatch, TimeSampler
from dyninfer.transport.lagrangians import ScaledLagrangian

# Samples by which a learned growth is settled: the mean of a rate of size one is then known within
# half a per cent, which is what mass is off by.
SETTLING_SIZE = 65536


class ActionObjective(Objective):
    r"""The action of a potential ``s`` along a density curve ``q``, in scaled units.

    .. math:: \mathcal L(s) = E_{q_0}[s_0] - E_{q_1}[s_1]
        + \int E_{q_t}[\partial_t s + H(t, x, s)]\,dt

    or, where the velocity ``v`` and the growth rate ``g`` of the curve are known,
    ``∫ E[H − ∇s·v − g s] dt``, which is the same number (arXiv 2210.06662).

    Parameters
    ----------
    process : ScaledDiffusion
        Of a PotentialDiffusion, whose noise and growth penalty make the Hamiltonian.
    folds : Folds of a Curve
        Curve that is learned from, and those by which the number of steps is chosen.
    form : {"auto", "velocity", "boundary"}
        Which of the two formulas; "auto" is "velocity" where the curve knows its own.
    adaptive_times : bool
        Whether times are drawn more densely where the integrand varies more.
    seed : int
    """

    # Features up to which the Laplacian is exact: its cost grows with their number, and the noise
    # of one random direction per sample (Hutchinson), taken above, does not.
    exact_laplacian_up_to = 10
    validation_size = 4096

    def __init__(
        self,
        process: ScaledDiffusion,
        folds: Folds[Curve],
        *,
        form: str = "auto",
        adaptive_times: bool = True,
        seed: int = 0,
    ):
        curve = folds.training
        if form == "velocity" and not curve.knows_velocity:
            raise ValueError(
                "objective='velocity' needs a curve whose velocity is known; use "
                "interpolation='linear' or 'cubic', or objective='boundary'"
            )
        like = next(process.parameters())
        inner = process.inner
        scaling = process.scaling
        self.process = process
        self.folds = folds
        self.curve = curve
        self.held_out = folds.share
        self.form = form
        self.seed = seed
        self.by_velocity = curve.knows_velocity and form != "boundary"
        self.lagrangian = ScaledLagrangian(inner.sigma, inner.growth_penalty)
        self.action_unit = scaling.action_unit
        self.n_features = scaling.n_features
        self.axes = torch.eye(self.n_features).to(like)
        self.times = TimeSampler(adaptive_times, like.device, like.dtype)
        self.validation_batch: DensityBatch | None = None
        if folds.validation is not None:
            even = TimeSampler(False, like.device, like.dtype)
            generator = stream(seed, "validation", device=like.device)
            self.validation_batch = self._draw(
                folds.validation, even, self.validation_size, generator
            )

    def batch(self, n: int, generator: Generator) -> DensityBatch:
        """Draw ``n`` samples of the curve."""
        return self._draw(self.curve, self.times, n, generator)

    def loss(self, process: ScaledDiffusion, batch: DensityBatch) -> dict[str, Tensor]:
        """Action per sample ``(n,)``: its mean is the action of the scaled problem."""
        density = self.action_density(process, batch)
        action = density / batch.density
        return {
            "loss": action,
            "action": action.detach() * self.action_unit,
            "integrand": density.detach(),
        }

    def observe(self, batch: DensityBatch, terms: dict[str, Tensor]) -> None:
        """Tell the time sampler how the integrand varied."""
        integrand = terms.pop("integrand")
        self.times.observe(batch.time, integrand)

    def validation(self, process: ScaledDiffusion) -> float | None:
        """Action on what is held out, always at the same times."""
        batch = self.validation_batch
        if batch is None:
            return None
        with torch.no_grad():
            density = self.action_density(process, batch)
        return float(density.mean())

    def companions(self) -> list[tuple[Any, Objective]]:
        """The same action with other pairs held out."""
        others: list[tuple[Any, Objective]] = []
        for folds in self.folds.others():
            process = copy.deepcopy(self.process)
            objective = ActionObjective(
                process,
                folds,
                form=self.form,
                adaptive_times=self.times.adaptive,
                seed=self.seed,
            )
            others.append((process, objective))
        return others

    def learn_from_all(self) -> None:
        """Draw from the whole curve from now on."""
        self.curve = self.folds.whole

    def settle(self) -> None:
        """Set mean and bounds of the growth by what was learned, on fresh samples of the curve."""
        if self.lagrangian.growth_penalty is None:
            return
        like = self.axes
        even = TimeSampler(False, like.device, like.dtype)
        generator = stream(self.seed, "settled growth", device=like.device)
        batch = self._draw(self.curve, even, SETTLING_SIZE, generator)
        self.process.inner.settle_growth(batch.time, batch.state, batch.weight, batch.code)

    def state(self) -> dict[str, Tensor]:
        """Moments of the adaptive times."""
        return self.times.state()

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo :meth:`state`."""
        self.times.restore(state)

    def action_density(self, process: ScaledDiffusion, batch: DensityBatch) -> Tensor:
        """Integrand of the action ``(n,)``, by whichever form."""
        network = process.inner.network
        directions = self._directions(batch)
        s = network.derivatives(batch.time, batch.state, directions, batch.code)
        energy = self.lagrangian.hamiltonian(batch.time, batch.state, s)
        if self.by_velocity and batch.velocity is not None:
            # d/dt E[w s(t, x_t)] along the curve replaces ∂s/∂t and the boundary terms.
            advance = (s.gradient * batch.velocity).sum(1)
            if batch.growth is not None:
                by_growth = batch.growth * s.value
                advance = advance + by_growth
            density = energy - advance
            if batch.weight is not None:
                density = batch.weight * density
            return density
        times = torch.cat([batch.start_time, batch.end_time])
        states = torch.cat([batch.start_state, batch.end_state])
        first, last = network(times, states, twice(batch.code)).chunk(2)
        interior = energy + s.time
        if batch.weight is not None:
            first = first * batch.start_weight
            last = last * batch.end_weight
            interior = interior * batch.weight
        boundary = (first - last) / batch.gap
        return boundary + interior

    def _directions(self, batch: DensityBatch) -> Tensor | None:
        """Along which the Laplacian is summed, where noise makes it part of the Hamiltonian."""
        if not self.lagrangian.sigma:
            return None
        if batch.probe is None:
            return self.axes
        return batch.probe

    def _draw(self, curve: Curve, times: TimeSampler, n: int, generator: Generator) -> DensityBatch:
        t, density = times.draw(n, generator)
        batch = curve.draw(t, density, generator)
        has_many_features = self.n_features > self.exact_laplacian_up_to
        if self.lagrangian.sigma and has_many_features:
            signs = random_signs(t, self.n_features, generator)
            batch = batch._replace(probe=signs)
        return batch


def twice(code: Tensor | None) -> Tensor | None:
    """Conditions ``(2n, m)`` of the first and the last end of ``n`` stretches."""
    if code is None:
        return None
    return torch.cat([code, code])


def random_signs(t: Tensor, n_features: int, generator: Generator) -> Tensor:
    """Rademacher direction ``(n, 1, d)`` for each of the times ``(n,)``."""
    shape = (len(t), 1, n_features)
    u = torch.rand(shape, generator=generator, device=t.device, dtype=t.dtype)
    is_positive = (u < 0.5).to(t.dtype)
    return 2 * is_positive - 1
