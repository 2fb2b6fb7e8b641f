"""The weighted population behind trajectories, at stored times and between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dyninfer.data.time_reading import as_time
from dyninfer.data.times import Clock
from dyninfer.data.words import as_text

if TYPE_CHECKING:
    from dyninfer.data.trajectories.trajectories import Trajectories


def log_weights(traj: Trajectories) -> Tensor:
    """Log-weights ``(path, time)`` float64, with diverged paths at −∞."""
    weights = traj.log_weights
    if weights is None:
        shape = (traj.n_paths, traj.n_times)
        device = traj.states.device
        weights = torch.zeros(shape, dtype=torch.float64, device=device)
    is_diverged = traj.status != 0
    # At all times of a path.
    is_diverged = is_diverged[:, None]
    return weights.masked_fill(is_diverged, -torch.inf)


def log_mass(traj: Trajectories) -> Tensor:
    """Logarithm of the mean mass of the paths that did not diverge ``(time,)``."""
    total = torch.logsumexp(log_weights(traj), dim=0)
    return total - log_n_alive(traj)


def mass(traj: Trajectories) -> Tensor:
    """Mean mass of the paths that did not diverge ``(time,)``, where float64 holds it."""
    # The sum is taken of logarithms, so that only the mass itself can overflow.
    logarithm = log_mass(traj)
    total = logarithm.exp()
    if bool(total.isposinf().any()):
        k = int(logarithm.argmax())
        moment = float(traj.times[k])
        time = as_text(moment)
        raise ValueError(
            f"the mass at time {time} is e^{float(logarithm[k]):.4g}, more than float64 holds; "
            "use log_mass, or learn with a larger growth_penalty"
        )
    return total


def log_n_alive(traj: Trajectories) -> Tensor:
    """Logarithm of the number of paths that did not diverge."""
    is_alive = traj.status == 0
    return is_alive.double().sum().log()


def states_at(traj: Trajectories, t: float) -> Tensor:
    """States ``(path, feature)`` or ``(path,)`` at ``t``; see `Trajectories.at`."""
    k, fraction = locate(traj, t)
    before = traj.states[:, k]
    if fraction == 0:
        return before
    after = traj.states[:, k + 1]
    if traj.parents is not None:
        parent = traj.parents[:, k + 1]
        before = before[parent]
    if not traj.discrete:
        return torch.lerp(before, after, fraction)
    # An integer state lasts until the next is reached, whichever way time runs.
    return before if is_ascending(traj) else after


def log_weights_at(traj: Trajectories, t: float) -> Tensor:
    """Log-weights ``(path,)`` at ``t``; see `Trajectories.weights_at`."""
    k, fraction = locate(traj, t)
    every = log_weights(traj)
    before = every[:, k]
    if fraction == 0:
        return before
    after = every[:, k + 1]
    # Weights start anew where rows were drawn by them.
    if _were_resampled(traj, k + 1):
        mean = log_mass(traj)[k]
        before = mean.expand(traj.n_paths)
    between = torch.lerp(before, after, fraction)
    # −∞ must not meet −∞ inside lerp, which would give NaN.
    return torch.where(after.isneginf(), after, between)


def locate(traj: Trajectories, t: float) -> tuple[int, float]:
    """Stored interval that holds ``t``: its first index, and how far into it ``t`` lies.

    The fraction is 0 at a stored time.
    """
    times = traj.times.detach().cpu().numpy()
    clock = Clock(times)
    t = as_time(t)
    if not clock.covers(t):
        first = as_text(times.min())
        last = as_text(times.max())
        simulated = f"{first} to {last}"
        raise ValueError(f"time {as_text(t)} is outside the simulated range {simulated}")
    stored = clock.nearest(t)
    if stored is not None:
        return stored, 0.0
    is_ahead = times > t
    if not is_ascending(traj):
        is_ahead = times < t
    after = int(is_ahead.argmax())
    before = after - 1
    elapsed = t - times[before]
    length = times[after] - times[before]
    return before, float(elapsed / length)


def is_ascending(traj: Trajectories) -> bool:
    """Whether time runs upwards."""
    if traj.n_times == 1:
        return True
    return bool(traj.times[1] > traj.times[0])


def numbers(traj: Trajectories) -> Tensor:
    """Numbers of the rows ``(path,)``."""
    return torch.arange(traj.n_paths, device=traj.states.device)


def average(traj: Trajectories, f: Callable[[int, Tensor], Tensor]) -> Tensor:
    """Weighted mean ``(time, feature)`` of ``f(k, states at time k)``."""
    if traj.discrete:
        raise TypeError(
            "mean() and std() need continuous states; these are integers: use occupation()"
        )
    states = traj.states
    weights = traj.weights
    is_alive = traj.status == 0
    if not bool(is_alive.all()):
        # A diverged state times a weight of zero would be NaN.
        states = states[is_alive]
        weights = weights[is_alive]
    averages = []
    # One time at a time: float64 sums without a float64 copy of all states.
    for k in range(traj.n_times):
        double = states[:, k].double()
        values = f(k, double)
        averages.append(weights[:, k] @ values)
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
    # By state first: weights are added up along it.
    shape = (n_states, traj.n_times)
    fractions = torch.zeros(shape, dtype=torch.float64, device=states.device)
    fractions.scatter_add_(0, states, traj.weights)
    return fractions.T


def _were_resampled(traj: Trajectories, k: int) -> bool:
    """Whether rows at time ``k`` descend from others than themselves."""
    if traj.parents is None:
        return False
    own_rows = numbers(traj)
    parents = traj.parents[:, k]
    return not torch.equal(parents, own_rows)
