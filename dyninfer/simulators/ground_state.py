"""Gradient flows of a quantum energy, which carry any state to the ground state."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor
from torch.func import jacfwd, vmap

from dyninfer.data.arrays import as_tensor
from dyninfer.data.words import counted
from dyninfer.diffusions import Diffusion
from dyninfer.diffusions.diffusion import Time
from dyninfer.learning.budget import check_memory
from dyninfer.learning.random import stream
from dyninfer.learning.settings import check_count, check_seed, check_word
from dyninfer.simulators.base import System, check_positive, check_times, time_like
from dyninfer.simulators.walkers import Walkers, log_density_change
from dyninfer.transport.curves import DensityCurve

Potential = Callable[[Tensor], Tensor]
Ansatz = Callable[[Tensor, Tensor], Tensor]
Metric = Literal["fisher-rao", "wasserstein", "both"]

_METRICS = ("fisher-rao", "wasserstein", "both")
# Directions of the parameters whose share of the metric is less change nothing that is measured.
_LEAST_SHARE = 1e-9
# Of fewer, the spread that scales their moves is noise.
_FEWEST_WALKERS = 10
# Hours on one core for a thousand walkers.
_MOST_MOVES = 1e7


@dataclass(frozen=True, kw_only=True)
class GroundState(System):
    r"""Gradient flows of ``q = |ψ|²`` towards the ground state, in the parameters of an ansatz.

    With :math:`\hbar = m = 1`, the energy of a real state is the mean of its local energy

    .. math:: E_{loc} = V - \tfrac14 \Delta\log q - \tfrac18 |\nabla\log q|^2 ,

    which is also the first variation of the energy in ``q``. So its gradient flows are
    (arXiv 2307.07050)

    .. math:: \partial_t q = -(E_{loc} - E)\,q , \qquad \partial_t q = \nabla\cdot(q \nabla E_{loc})

    in the Fisher-Rao metric (imaginary time) and in the Wasserstein metric; "both" is their sum.
    Each step is projected onto the parameters by the natural gradient.

    Parameters
    ----------
    potential : callable, ``(n, d) -> (n,)``
        ``V`` in atomic units.
    ansatz : callable, ``(p,), (n, d) -> (n,)``
        ``log |ψ|`` for parameters at points, from torch operations that are three times
        differentiable.
    dimension : int
        Number of coordinates of all particles together.
    metric : {"wasserstein", "fisher-rao", "both"}

    Examples
    --------
    >>> import torch, dyninfer as di
    >>> well = di.simulators.GroundState(
    ...     potential=lambda x: x.square().sum(1) / 2,
    ...     ansatz=lambda a, x: -a[0] * x.square().sum(1) / 2,
    ...     dimension=3,
    ... )
    >>> descent = well.descend(torch.tensor([2.0]), [0.0, 3.0])
    >>> descent.energy[-1].round(decimals=2).item()  # three halves
    1.5
    """

    potential: Potential
    ansatz: Ansatz
    dimension: int
    metric: Metric = "wasserstein"

    def _check(self) -> None:
        for name in ("potential", "ansatz"):
            if not callable(getattr(self, name)):
                raise TypeError(f"{name} must be a function")
        check_count(self.dimension, "dimension")
        check_word(self.metric, "metric", _METRICS)

    def local_energy(self, parameters: Tensor, x: Tensor) -> Tensor:
        """``E_loc`` at points ``(n, d)``, shape ``(n,)``; constant for an eigenstate."""
        with torch.enable_grad():
            points = x.detach().requires_grad_()
            energy = self.local_energy_of(self.ansatz, parameters, points)
        return energy.detach()

    def rates(self, parameters: Tensor, x: Tensor, weights: Tensor | None = None) -> Tensor:
        r"""``dθ/dt`` of the projected flow, from samples of ``q``.

        .. math:: \mathrm{Cov}(O)\,\dot\theta = -\mathrm{Cov}(O, E_{loc})
            \quad\text{or}\quad -E[\nabla O \cdot \nabla E_{loc}], \qquad O = \partial_\theta\log q

        Parameters
        ----------
        parameters : Tensor, ``(p,)``
        x : Tensor, ``(n, d)``
        weights : Tensor, ``(n,)``, optional
            Weights of the samples; by default equal.
        """
        if weights is None:
            weights = torch.ones_like(x[:, 0])
        share = weights / weights.sum()
        with torch.enable_grad():
            points = x.detach().requires_grad_()
            energy = self.local_energy_of(self.ansatz, parameters, points)
            (slope,) = torch.autograd.grad(energy.sum(), points)
        changes = 2 * jacfwd(self.ansatz)(parameters, x)
        changes = changes - share @ changes
        weighted = share[:, None] * changes
        force = torch.zeros_like(parameters)
        if self.metric != "wasserstein":
            force = force - weighted.T @ energy.detach()
        if self.metric != "fisher-rao":
            force = force - self._of_motion(parameters, x, share[:, None] * slope)
        return _solved(changes.T @ weighted, force)

    def descend(
        self,
        parameters: Tensor,
        times: Iterable[float],
        *,
        n_walkers: int = 4096,
        n_moves: int = 10,
        dt: float = 0.05,
        seed: int = 0,
    ) -> EnergyDescent:
        """Follow the flow from given parameters at the first time, 0.

        Parameters
        ----------
        parameters : Tensor, ``(p,)``
        times : list of floats
            Times at which energies and samples are kept.
        n_walkers : int
            Number of samples of ``q`` behind all means.
        n_moves : int
            Metropolis moves of every walker per step.
        dt : float
            Longest step of the second-order scheme.
        seed : int

        Returns
        -------
        EnergyDescent

        Raises
        ------
        ValueError
            If the energy becomes infinite, for example because the ansatz can no longer be
            normalised.
        """
        moments = check_times(times)
        check_seed(seed)
        check_positive(dt=dt)
        n_moves = check_count(n_moves, "n_moves")
        n_walkers = check_count(n_walkers, "n_walkers")
        _check_size(moments, dt, n_moves)
        # Of a dozen derivatives of every coordinate, at once.
        check_memory(100 * n_walkers * self.dimension, "walkers and derivatives")
        theta = as_tensor(parameters, "parameters").detach()
        self._check_answers(theta)
        fewest = max(_FEWEST_WALKERS, len(theta) + 1)
        if n_walkers < fewest:
            raise ValueError(
                f"n_walkers={n_walkers} are too few for a covariance of "
                f"{counted(len(theta), 'parameter')}; give at least {fewest}, better thousands"
            )
        generator = stream(seed, "ground state")
        walkers = Walkers.at_rest(self.ansatz, theta, n_walkers, self.dimension, generator)
        now = 0.0
        path = [theta]
        path_times = [now]
        kept = []
        for moment in moments:
            n_steps = math.ceil((moment - now) / dt)
            for ahead in range(n_steps, 0, -1):
                h = (moment - now) / ahead
                theta = self._stepped(theta, walkers.x, h)
                walkers.follow(theta, n_moves)
                now += h
                path.append(theta)
                path_times.append(now)
            now = moment
            # More moves than in a step, so that what is kept does not lag behind.
            walkers.follow(theta, 5 * n_moves)
            kept.append(walkers.x.clone())
        at = torch.tensor(moments, dtype=torch.float64)
        steps = torch.tensor(path_times, dtype=torch.float64)
        return EnergyDescent(self, at, torch.stack(kept), steps, torch.stack(path))

    def log_psi_of_each(self, parameters: Tensor, x: Tensor) -> Tensor:
        """``log |ψ|`` at points ``(n, d)``, each under its own parameters ``(n, p)``."""

        def of_one(own: Tensor, point: Tensor) -> Tensor:
            return self.ansatz(own, point[None])[0]

        return vmap(of_one)(parameters, x)

    def _check_answers(self, theta: Tensor) -> None:
        if theta.ndim != 1 or len(theta) == 0:
            raise ValueError(f"parameters must be (p,), found shape {tuple(theta.shape)}")
        x = torch.ones(3, self.dimension, dtype=theta.dtype)
        answers = {"potential(x)": self.potential(x), "ansatz(theta, x)": self.ansatz(theta, x)}
        for name, answer in answers.items():
            if tuple(answer.shape) != (3,):
                raise ValueError(
                    f"{name} of x of shape {tuple(x.shape)} has shape {tuple(answer.shape)}; it "
                    "must be (n,), one number per point"
                )

    def _stepped(self, theta: Tensor, x: Tensor, h: float) -> Tensor:
        """Parameters after a step by the midpoint rule; the same samples serve, reweighted."""
        begin = self.rates(theta, x)
        middle = theta + h / 2 * begin
        change = log_density_change(self.ansatz, theta, middle, x)
        weights = torch.exp(change - change.max())
        after = theta + h * self.rates(middle, x, weights)
        if not bool(after.isfinite().all()):
            raise ValueError(
                "the flow diverged: the local energy is not finite at the samples; start "
                "from other parameters, or give a smaller dt"
            )
        return after

    def local_energy_of(self, log_psi_of: Ansatz, parameters: Tensor, points: Tensor) -> Tensor:
        """``E_loc`` with its graph, at points that require gradients."""
        log_psi = log_psi_of(parameters, points)
        (slope,) = torch.autograd.grad(log_psi.sum(), points, create_graph=True)
        curvature = torch.zeros_like(log_psi)
        for axis in range(self.dimension):
            along = slope[:, axis].sum()
            (second,) = torch.autograd.grad(along, points, create_graph=True)
            curvature = curvature + second[:, axis]
        kinetic = -0.5 * (curvature + slope.square().sum(1))
        return kinetic + self.potential(points)

    def _of_motion(self, parameters: Tensor, x: Tensor, velocity: Tensor) -> Tensor:
        """``Σ_i velocity_i · ∇ ∂_θ log q`` ``(p,)``."""
        with torch.enable_grad():
            points = x.detach().requires_grad_()
            theta = parameters.detach().requires_grad_()
            log_psi = self.ansatz(theta, points)
            (slope,) = torch.autograd.grad(log_psi.sum(), points, create_graph=True)
            total = 2 * (slope * velocity).sum()
            (gradient,) = torch.autograd.grad(total, theta)
        return gradient


@dataclass(frozen=True)
class EnergyDescent:
    """A flow that was followed.

    Attributes
    ----------
    system : GroundState
    times : Tensor, ``(time,)``
    walkers : Tensor, ``(time, n, d)``
        Samples of ``|ψ|²``.
    step_times : Tensor, ``(step,)``
        Times of all steps.
    path : Tensor, ``(step, p)``
        Parameters after every step.
    """

    system: GroundState
    times: Tensor
    walkers: Tensor
    step_times: Tensor
    path: Tensor

    @property
    def parameters(self) -> Tensor:
        """Parameters at the times, ``(time, p)``."""
        return self.parameters_at(self.times)

    @cached_property
    def energy(self) -> Tensor:
        """Mean local energy at the times, ``(time,)``."""
        return self._local_energies.mean(1)

    @property
    def energy_error(self) -> Tensor:
        """Standard error of :attr:`energy`; zero for an eigenstate."""
        n_walkers = self.walkers.shape[1]
        return self._local_energies.std(1) / n_walkers**0.5

    def parameters_at(self, t: Tensor) -> Tensor:
        """Parameters ``(n, p)`` at times ``(n,)``, on straight lines between steps."""
        later, share = _between(self.step_times, t)
        return torch.lerp(self.path[later - 1], self.path[later], share[:, None])

    def potential(self, t: Time, x: Tensor) -> Tensor:
        """``−E_loc`` ``(n,)``, whose gradient moves the density where the metric has motion."""
        theta = self.parameters_at(time_like(t, x).double().expand(len(x)))
        with torch.enable_grad():
            points = x.double()
            if not points.requires_grad:
                points = points.detach().requires_grad_()
            energy = self.system.local_energy_of(self.system.log_psi_of_each, theta, points)
        is_asked = x.requires_grad
        return -(energy if is_asked else energy.detach()).to(x)

    def velocity(self, t: Time, x: Tensor) -> Tensor:
        """``−∇ E_loc`` ``(n, d)``."""
        with torch.enable_grad():
            points = x.detach().requires_grad_()
            total = self.potential(t, points).sum()
            (gradient,) = torch.autograd.grad(total, points)
        return gradient

    def growth(self, t: Time, x: Tensor) -> Tensor:
        """``E − E_loc`` ``(n,)``, by which the density grows where the metric has growth."""
        moment = time_like(t, x).double()
        later, share = _between(self.times, moment.expand(len(x)))
        before = self.energy[later - 1]
        after = self.energy[later]
        mean = torch.lerp(before, after, share)
        return mean.to(x) + self.potential(t, x)

    def process(self) -> Diffusion:
        """The flow as a process: exact where the ansatz holds all densities on the way."""
        metric = self.system.metric
        moves = metric != "fisher-rao"
        grows = metric != "wasserstein"
        return Diffusion(
            drift=self.velocity if moves else lambda t, x: torch.zeros_like(x),
            growth=self.growth if grows else None,
            potential=self.potential if moves else None,
        )

    def density_curve(self, n_moves: int = 10) -> DensityCurve:
        """The density between the first time and the last, for estimators to learn from.

        Parameters
        ----------
        n_moves : int
            Metropolis moves from the walkers of the nearest time to the density at the time asked.
        """
        n_moves = check_count(n_moves, "n_moves")
        # Of all walkers: a batch may be one point, which has no width.
        width = self.walkers.std(1)

        def sampler(t: Tensor, n: int) -> Tensor:
            moment = t.detach().double().cpu()
            distance = (moment[:, None] - self.times).abs()
            nearest = distance.argmin(1)
            # Of torch's own generator: the caller sets it for every batch.
            row = torch.randint(self.walkers.shape[1], (n,))
            theta = self.parameters_at(moment)
            start = self.walkers[nearest, row]
            walkers = Walkers(self.system.log_psi_of_each, theta, start, width=width[nearest])
            walkers.move(n_moves)
            return walkers.x.to(t)

        first, last = self.times[[0, -1]].tolist()
        return DensityCurve(sampler, times=(first, last))

    @cached_property
    def _local_energies(self) -> Tensor:
        """``(time, n)``."""
        pairs = zip(self.parameters, self.walkers, strict=True)
        rows = [self.system.local_energy(theta, x) for theta, x in pairs]
        return torch.stack(rows)


def _check_size(moments: list[float], dt: float, n_moves: int) -> None:
    """Raise a ValueError where there is no flow, or one without end."""
    if len(moments) < 2:
        raise ValueError("times needs at least two numbers; the first may be 0")
    n_all = moments[-1] / dt * n_moves
    if n_all > _MOST_MOVES:
        raise ValueError(
            f"from 0 to {moments[-1]:g} in steps of dt={dt:g}, every walker would make {n_all:.3g} "
            "moves; give a larger dt, fewer n_moves or an earlier time"
        )


def _between(times: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Number of the time after each ``t``, and how far ``t`` lies from the one before, 0 to 1."""
    moments = t.contiguous()
    later = torch.searchsorted(times, moments).clamp(1, len(times) - 1)
    begin = times[later - 1]
    share = (moments - begin) / (times[later] - begin)
    return later, share


def _solved(metric: Tensor, force: Tensor) -> Tensor:
    """Change of the parameters that a metric ``(p, p)`` asks for; none where it sees nothing."""
    least = torch.finfo(metric.dtype).tiny
    deviation = metric.diagonal().clamp_min(least).sqrt()
    # Correlations in place of covariances: parameters have units of their own.
    correlation = metric / torch.outer(deviation, deviation)
    values, vectors = torch.linalg.eigh(correlation)
    is_seen = values > _LEAST_SHARE * values[-1]
    inverse = torch.where(is_seen, 1 / values, 0.0)
    along = vectors.T @ (force / deviation)
    change = vectors @ (inverse * along)
    return change / deviation
