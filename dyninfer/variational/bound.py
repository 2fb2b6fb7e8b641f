"""The evidence lower bound of a path: guided noise, weighed against the prior's step by step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from dyninfer.fractional.chain import Observations, covariance_root, messages, twist
from dyninfer.fractional.linear import stationary_memory
from dyninfer.solvers.fractional import noise_factors
from dyninfer.variational.prior import LinearPrior
from dyninfer.variational.series import Series

Extra = Callable[[Tensor, Tensor], Tensor]
Residual = Callable[[Tensor, Tensor, Tensor], Tensor]


class Guided(NamedTuple):
    """Paths drawn near their posterior.

    Attributes
    ----------
    log_weights : Tensor, ``(n_samples, P)``
        ``log p(o, path) − log q(path)``: the mean is the bound, the log mean exponential the likelihood.
    states : Tensor, ``(n_samples, P, L, d)``
        At the times of the series.
    """

    log_weights: Tensor
    states: Tensor

    @property
    def bound(self) -> Tensor:
        """Evidence lower bound of every path ``(P,)``."""
        return self.log_weights.mean(0)

    @property
    def log_likelihood(self) -> Tensor:
        """Importance-weighted log-likelihood of every path ``(P,)``; it tends to the truth from below."""
        return self.log_weights.logsumexp(0) - math.log(len(self.log_weights))


def guided_paths(
    prior: LinearPrior,
    series: Series,
    n_samples: int,
    *,
    extra_drift: Extra | None = None,
    residual: Residual | None = None,
    n_steps: int = 4,
    seed: int = 0,
) -> Guided:
    r"""Draw paths of ``dX = [a − θ X + f(t, X)] dt + σ dB̂`` towards what is seen of them, with their weights.

    Between two times lie ``n_steps`` steps; the memory is stepped exactly, the drift by Euler's rule, so a path is a
    function of standard normals ``ε``, those of the start included: ``q(X_0)`` and ``q(Y_0)`` are inferred. ``q`` draws
    each ``ε`` from its law given all that is seen later, as the linear part alone has it, shifted by ``u √h`` along the
    Brownian motion, where the residual control ``u`` may say more. With mean and variance of a step both guided, the
    bound has no gap of the grid: without ``f`` and ``u`` every weight is the evidence itself. For short steps
    ``Σ KL(q(ε) ‖ N(0, I))`` is Girsanov's ``½ E ∫ |u* + u|² dt``, with nothing divided by the diffusion.

    Parameters
    ----------
    prior : LinearPrior
        Seen coordinate by coordinate.
    series : Series
        Standardised.
    n_samples : int
        Draws per path.
    extra_drift : callable, ``(n,), (n, d) -> (n, d)``, optional
        ``f``, standardised, per time unit.
    residual : callable, ``(n,), (n, d), (n, d, K) -> (n, d)``, optional
        ``u(t, x, y)``, with the memory in units of its stationary deviation, without the zero node.
    n_steps : int
    seed : int

    Returns
    -------
    Guided
        With gradients in the parameters of the prior, ``f`` and ``u``.
    """
    fine = series.refined(n_steps)
    seen = prior.observations(fine)
    phi, root, along = _steps(prior, fine.gaps)
    found = messages(phi, root, fine.gap, seen)
    mean, start, noise = prior.mean(fine.times), prior.start(), _start_root(prior)
    generator = torch.Generator(phi.device).manual_seed(seed)
    ahead = start.mean.expand(n_samples, len(fine), *start.mean.shape)
    weights, states = phi.new_zeros(n_samples, len(fine)), []
    shift: Tensor | float = 0.0
    for n, message in enumerate(found):
        law = twist(message, ahead, noise)
        law = law._replace(mean=law.mean + shift)
        normals = torch.randn(law.mean.shape, generator=generator, dtype=phi.dtype, device=phi.device)
        epsilon = law.draw(normals)
        gained = 0.5 * (normals.square() - epsilon.square()).sum(-1) - law.half_log_determinant()
        z = ahead + (noise @ epsilon.unsqueeze(-1)).squeeze(-1)
        weights = weights + (gained + _log_density(seen, n, z)).sum(-1)
        x = z[..., 0] + mean[:, n]
        if n % n_steps == 0:
            states.append(x)
        if n + 1 < len(found):
            step = fine.gap[:, n]
            ahead, noise = (phi[step] @ z.unsqueeze(-1)).squeeze(-1), root[step]
            if residual is not None:
                u = _rows(residual, fine.times[:, n], x, z[..., 1:])
                shift = u.unsqueeze(-1) * along[step]
            if extra_drift is not None:
                push = _rows(extra_drift, fine.times[:, n], x) * fine.gaps[step].unsqueeze(-1)
                ahead = torch.cat([(ahead[..., 0] + push).unsqueeze(-1), ahead[..., 1:]], dim=-1)
    return Guided(weights, torch.stack(states, dim=2))


def _steps(prior: LinearPrior, gaps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Transition ``(u, d, S, S)``, root of the noise ``(u, d, S, r)`` and direction of a control ``(u, 1, r)``."""
    nodes, w, scale = prior.noise.nodes, prior.weights, prior.scale[:, None]
    moving = nodes > 0
    unit = (2 * nodes[moving]).sqrt()
    factor = noise_factors(nodes, gaps)
    loss = -torch.expm1(-gaps[:, None] * nodes)
    kick = (scale * w) @ factor  # (u, d, r)
    memory = (unit[:, None] * factor[:, moving]).unsqueeze(1).expand(-1, len(w), -1, -1)
    root = torch.cat([kick.unsqueeze(2), memory], dim=2)
    pull = -scale * w[:, moving] * loss[:, None, moving] / unit
    first = torch.cat([(1 - prior.rate * gaps[:, None]).unsqueeze(-1), pull], dim=-1)
    below = torch.diag_embed(torch.nn.functional.pad(1 - loss[:, moving], (1, 0)))[:, 1:]
    phi = torch.cat([first.unsqueeze(2), below.unsqueeze(1).expand(-1, len(w), -1, -1)], dim=2)
    gain = torch.where(moving, loss / torch.where(moving, nodes, 1), gaps[:, None])
    along = (torch.linalg.pinv(factor) @ gain.unsqueeze(-1)).squeeze(-1)
    return phi, root, along.unsqueeze(1)


def _start_root(prior: LinearPrior) -> Tensor:
    memory = covariance_root(stationary_memory(prior.noise.nodes, prior.noise.kind))
    own = prior.log_start.exp()[:, None, None]
    return torch.nn.functional.pad(own, (0, len(memory), 0, len(memory))) + torch.nn.functional.pad(
        memory, (1, 0, 1, 0)
    )


def _log_density(seen: Observations, n: int, z: Tensor) -> Tensor:
    value, loading, variance, count = seen.at(n)
    error = value - (loading @ z.unsqueeze(-1)).squeeze(-1)
    exponent = (error.square() / variance + variance.log()).sum(-1)
    return -0.5 * (exponent + count * math.log(2 * math.pi))


def _rows(field: Callable[..., Tensor], t: Tensor, *parts: Tensor) -> Tensor:
    """Apply a field of ``(n,), (n, …)`` to times ``(P,)`` and parts ``(n_samples, P, …)``."""
    samples = len(parts[0])
    return field(t.repeat(samples), *(p.flatten(0, 1) for p in parts)).unflatten(0, (samples, -1))
