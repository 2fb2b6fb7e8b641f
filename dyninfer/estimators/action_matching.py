"""Action Matching: the potential whose gradient moves a population along its observed densities."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from dyninfer.data.snapshots import Snapshots
from dyninfer.diffusions import PotentialDiffusion
from dyninfer.estimators.from_snapshots import SnapshotEstimator
from dyninfer.learning.networks import PotentialNetwork
from dyninfer.learning.scaling import Scaling
from dyninfer.transport.couplings import Coupling, as_coupling
from dyninfer.transport.curves import (
    DensityBatch,
    DensityPath,
    TimeSampler,
    check_conserved,
    conserving,
    default_coupling,
    path_sampler,
)
from dyninfer.transport.lagrangians import hamiltonian


@dataclass(kw_only=True, repr=False, eq=False)
class ActionMatching(SnapshotEstimator):
    r"""Action Matching: plain, entropic, unbalanced, or both.

    Learns a potential ``s(t, x)`` such that the continuity equation

    .. math:: \partial_t q_t = -\nabla\cdot(q_t \nabla s) + \tfrac{\sigma^2}{2} \Delta q_t + \lambda s\, q_t

    carries the population from each observed density to the next, by minimising the action

    .. math:: \mathcal L(s) = E_{q_0}[s_0] - E_{q_1}[s_1]
        + \int E_{q_t}\big[\tfrac12|\nabla s|^2 + \partial_t s + \tfrac{\sigma^2}{2} \Delta s + \tfrac{\lambda}{2} s^2\big] dt.

    The velocity is ∇s, the growth rate λs. Among all fields that produce the densities this is the one of least kinetic energy.

    Parameters
    ----------
    sigma : float
        Noise amplitude σ of the stochastic dynamics ``dX = ∇s dt + σ dW``, in state units per square root of time; 0 for a
        deterministic flow.
    growth_penalty : float, optional
        λ > 0 lets cells grow and die at rate λs: the larger, the cheaper growth is against motion. In inverse squared state
        units. None conserves mass.
    interpolation : {"linear", "cubic", "none"}
        How the density moves between snapshots: along straight lines between coupled cells, along smooth curves through all
        snapshots, or not at all (snapshots dense in time).
    coupling : {"auto", "ot", "unbalanced", "independent"} or Coupling
        Who is paired with whom; "auto" is "unbalanced" where mass may change and "ot" elsewhere.
    objective : {"auto", "path", "boundary"}
        Two forms of the same action. "boundary" is the formula with E[s_0] − E[s_1] and ∂s/∂t. "path" uses the velocity and growth of the interpolating
        path, known for interpolations, in place of ∂s/∂t and the boundary terms: the same expectation, and less variance near the solution.
    time_sampling : {"adaptive", "uniform"}
        Whether times are drawn more densely where the integrand varies more.
    width, depth : int
        Units of a hidden layer, and number of hidden layers, of the potential network.
    activation : {"silu", "softplus", "tanh"}
        Activation of the potential network.
    scale : {"global", "feature"} or None
        Standardisation inside; "global" keeps distances in proportion, "feature" measures them in standard deviations.
    training : Training, optional
        Settings of the training loop.

    Attributes
    ----------
    process_ : PotentialDiffusion
        What was learned, in the units of the data.
    history_ : DataFrame
        One row per logged step; ``action`` is the loss in the units of the data.

    References
    ----------
    Neklyudov, Brekelmans, Severo, Makhzani. Action Matching: learning stochastic dynamics from samples. ICML 2023,
    arXiv 2210.06662.

    Examples
    --------
    >>> import dyninfer as di
    >>> snapshots = di.simulators.OrnsteinUhlenbeck().snapshots([0.0, 0.5, 1.0], 200, seed=0)
    >>> model = di.ActionMatching(sigma=0.5).fit(snapshots, max_steps=20, progress=False)
    >>> model.simulate(snapshots.at(0.0), [0.0, 0.5, 1.0]).states.shape
    torch.Size([200, 3, 2])
    """

    citation: ClassVar[str] = (
        "@inproceedings{neklyudov2023action,\n  title={Action Matching: Learning Stochastic Dynamics from Samples},\n"
        "  author={Neklyudov, Kirill and Brekelmans, Rob and Severo, Daniel and Makhzani, Alireza},\n"
        "  booktitle={International Conference on Machine Learning},\n  year={2023},\n  note={arXiv:2210.06662}\n}"
    )

    sigma: float = 0.0
    growth_penalty: float | None = None
    interpolation: Literal["linear", "cubic", "none"] = "linear"
    coupling: str | Coupling = "auto"
    objective: Literal["auto", "path", "boundary"] = "auto"
    time_sampling: Literal["adaptive", "uniform"] = "adaptive"
    width: int = 128
    depth: int = 3
    activation: str = "silu"

    def check(self) -> None:
        """Raise a ValueError naming a setting that cannot be."""
        if not 0 <= self.sigma < math.inf:
            raise ValueError(f"sigma must not be negative or infinite, found {self.sigma}")
        if self.growth_penalty is not None and not 0 < self.growth_penalty < math.inf:
            raise ValueError(
                f"growth_penalty must be positive, or None to conserve mass; found {self.growth_penalty}"
            )
        for name, allowed in (
            ("interpolation", ("linear", "cubic", "none")),
            ("objective", ("auto", "path", "boundary")),
            ("time_sampling", ("adaptive", "uniform")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} must be one of {', '.join(allowed)}, found {getattr(self, name)!r}"
                )
        if self.coupling != "auto":
            as_coupling(self.coupling)

    def build(self, data: Snapshots | DensityPath | None, scaling: Scaling) -> PotentialDiffusion:
        """Return the untrained process."""
        network = PotentialNetwork(len(scaling.shift), self.width, self.depth, self.activation)
        return PotentialDiffusion(network, scaling, self.sigma, self.growth_penalty)

    def make_objective(
        self,
        process: PotentialDiffusion,
        data: Snapshots | DensityPath,
        scaling: Scaling,
        seed: int,
    ) -> ActionObjective:
        """Return the action of the density path that the data and the settings define."""
        if self.growth_penalty is None and isinstance(data, Snapshots):
            data = conserving(data)
        return ActionObjective(self, process, data, scaling, seed)


class ActionObjective:
    """The action as an objective of the training loop, in scaled units."""

    exact_laplacian_up_to = 10  # features; above, one random direction per sample (Hutchinson)
    validation_size = 4096

    def __init__(
        self,
        model: ActionMatching,
        process: PotentialDiffusion,
        data: Snapshots | DensityPath,
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
        self.path = path_sampler(train, *common, seed, device, dtype)
        if model.growth_penalty is None:
            check_conserved(getattr(self.path, "weighted", False))
        self.times = TimeSampler(model.time_sampling == "adaptive", device, dtype)
        self.sigma = model.sigma * scaling.duration**0.5 / scaling.unit
        self.growth_penalty = (
            None if model.growth_penalty is None else model.growth_penalty * scaling.unit**2
        )
        self.action_unit = scaling.unit**2 / scaling.duration
        self.n_features = len(scaling.shift)
        self.axes = torch.eye(self.n_features, device=device, dtype=dtype)
        generator = torch.Generator(device).manual_seed(seed + 7919)
        probe = self._draw(self.path, TimeSampler(False, device, dtype), 2, generator)
        if model.objective == "path" and probe.velocity is None:
            raise ValueError(
                "objective='path' needs a path whose velocity is known; use interpolation='linear' or 'cubic', or objective='boundary'"
            )
        self.by_path = probe.velocity is not None and model.objective != "boundary"
        self.held = None
        if settings.validation_fraction:
            held_path = (
                self.path if held is None else path_sampler(held, *common, seed + 1, device, dtype)
            )
            self.held = self._draw(
                held_path, TimeSampler(False, device, dtype), self.validation_size, generator
            )

    def batch(self, n: int, generator: torch.Generator) -> DensityBatch:
        """Draw ``n`` samples of the path."""
        return self._draw(self.path, self.times, n, generator)

    def loss(self, process: PotentialDiffusion, batch: DensityBatch) -> dict[str, Tensor]:
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

    def validation(self, process: PotentialDiffusion) -> float | None:
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

    def _action_density(self, process: PotentialDiffusion, batch: DensityBatch) -> Tensor:
        directions = None if not self.sigma else self.axes if batch.probe is None else batch.probe
        s = process.network.derivatives(batch.time, batch.state, directions)
        energy = hamiltonian(s, sigma=self.sigma, growth_penalty=self.growth_penalty)
        if self.by_path and batch.velocity is not None:
            # d/dt E[w s(t, x_t)] along the path replaces ∂s/∂t and the boundary terms.
            advance = (s.gradient * batch.velocity).sum(1)
            if batch.growth is not None:
                advance = advance + batch.growth * s.value
            density = energy - advance
            return density if batch.weight is None else batch.weight * density
        ends = process.network(
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
