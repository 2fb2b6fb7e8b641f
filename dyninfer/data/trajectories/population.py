"""The weighted population behind trajectories, at stored times and between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dyninfer.data.times import Clock

if TYPE_CHECKING:
    from dyninfer.data.trajectories.trajectories import Trajectories


def log_weights(traj: Trajectories) -> Tensor:
    """Log-weights ``(path, time)`` float64, with diverged paths at −∞."""
    weights = traj.log_weights
    if weights is None:
        shape = traj.states.shape[:2]
        weights = torch.zeros(shape, dtype=torch.float64, device=traj.states.device)
    return weights.masked_fill((traj.status != 0)[:, None], -torch.inf)


def log_mass(traj: Trajectories) -> Tensor:
    """Logarithm of the mean mass of the paths that did not diverge ``(time,)``."""
    n_alive = (traj.status == 0).double().sum()
    return torch.logsumexp(log_weights(traj), dim=0) - n_alive.log()


def states_at(traj: Trajectories, t: float) -> Tensor:
    """States ``(path, feature)`` or ``(path,)`` at ``t``; see `Trajectories.at`."""
    k, fraction = locate(traj, t)
    if fraction == 0:
        return traj.states[:, k]
    before, after = traj.states[:, k], traj.states[:, k + 1]
    if traj.parents is not None:
        before = before[traj.parents[:, k + 1]]
    if not traj.discrete:
        return torch.lerp(before, after, fraction)
    return before if is_ascending(traj) else after


def log_weights_at(traj: Trajectories, t: float) -> Tensor:
    """Log-weights ``(path,)`` at ``t``; see `Trajectories.weights_at`."""
    k, fraction = locate(traj, t)
    every = log_weights(traj)
    if fraction == 0:
        return every[:, k]
    before, after = every[:, k], every[:, k + 1]
    if traj.parents is not None and not torch.equal(traj.parents[:, k + 1], numbers(traj)):
        before = log_mass(traj)[k].expand(traj.n_paths)
    # −∞ must not meet −∞ inside lerp, which would give NaN.
    return torch.where(after.isneginf(), after, torch.lerp(before, after, fraction))


def locate(traj: Trajectories, t: float) -> tuple[int, float]:
    """Stored interval that holds ``t``: its first index, and how far into it ``t`` lies.

    The fraction is 0 at a stored time.
    """
    times = traj.times.detach().cpu().numpy()
    clock = Clock(times)
    if not clock.covers(t):
        raise ValueError(
            f"time {t:g} is outside the simulated range {times.min():g} to {times.max():g}"
        )
    stored = clock.nearest(t)
    if stored is not None:
        return stored, 0.0
    ahead = times > t if is_ascending(traj) else times < t
    k = int(ahead.argmax()) - 1
    return k, float((t - times[k]) / (times[k + 1] - times[k]))


def is_ascending(traj: Trajectories) -> bool:
    """Whether time runs upwards."""
    return traj.n_times == 1 or bool(traj.times[1] > traj.times[0])


def numbers(traj: Trajectories) -> Tensor:
    """Numbers of the rows ``(path,)``."""
    return torch.arange(traj.n_paths, device=traj.states.device)


def average(traj: Trajectories, f: Callable[[int, Tensor], Tensor]) -> Tensor:
    """Weighted mean ``(time, feature)`` of ``f(k, states at time k)``."""
    if traj.discrete:
        raise TypeError(
            "mean() and std() need continuous states; these are integers: use occupation()"
        )
    alive = traj.status == 0
    states, weights = traj.states, traj.weights
    if not bool(alive.all()):
        # A diverged state times a weight of zero would be NaN.
        states, weights = states[alive], weights[alive]
    # One time at a time: float64 sums without a float64 copy of all states.
    averages = [weights[:, k] @ f(k, states[:, k].double()) for k in range(traj.n_times)]
    return torch.stack(averages).to(states.dtype)


def occupation(traj: Trajectories, n_states: int | None) -> Tensor:
    """Weighted fraction of paths in each integer state ``(time, state)`` float64."""
    if not traj.discrete:
        raise TypeError(
            "occupation() counts integer states; these are continuous: use mean() and std()"
        )
    states = traj.states.long()
    if n_states is None:
        n_states = int(states.max()) + 1
    shape = (n_states, traj.n_times)
    fractions = torch.zeros(shape, dtype=torch.float64, device=states.device)
    return fractions.scatter_add(0, states, traj.weights).T
