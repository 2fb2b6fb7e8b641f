"""What is seen of a state: itself, a label that may be wrong, or a number with noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.data.trajectories import Trajectories
from dyninfer.learning.random import stream


@dataclass(frozen=True, eq=False)
class LabelNoise:
    """A state is seen as a label, with probability ``confusion[i, o]`` as ``o`` where it is ``i``.

    Parameters
    ----------
    confusion : Tensor, ``(..., S, S)`` float64
        Rows sum to one.
    """

    confusion: Tensor

    @classmethod
    def perfect(cls, n_states: int) -> LabelNoise:
        """No label is ever wrong."""
        return cls(torch.eye(n_states, dtype=torch.float64))

    @classmethod
    def uniform(cls, n_states: int, rate: Tensor | float) -> LabelNoise:
        """A label is wrong with probability ``rate`` ``(...)``, and then any other one alike.

        Raises
        ------
        ValueError
            If the rate is not a probability, or there is one state only.
        """
        rate = torch.as_tensor(rate, dtype=torch.float64)[..., None, None]
        if n_states < 2 or not bool(((rate >= 0) & (rate <= 1)).all()):
            raise ValueError(
                f"rate must be a probability, with at least 2 states, found {rate.tolist()}"
            )
        eye = torch.eye(n_states, dtype=torch.float64, device=rate.device)
        return cls((1 - rate) * eye + rate / (n_states - 1) * (1 - eye))

    @property
    def n_states(self) -> int:
        """Number of states S."""
        return self.confusion.shape[-1]

    def log_emission(self, observed: Tensor, mask: Tensor) -> Tensor:
        """Log-probability of labels ``(n, L)`` in every state ``(..., n, L, S)``; 0 where ``mask`` is False."""
        if observed.is_floating_point():
            raise TypeError(
                "labels must be integers; use GaussianEmission for continuous observations"
            )
        if int(observed.max()) >= self.n_states:
            raise ValueError(
                f"paths has the label {int(observed.max())}, but there are {self.n_states} states"
            )
        confusion = self.confusion.to(observed.device)
        # Labels that never happen: the logarithm's gradient at 0 must not be asked for.
        log = (
            torch.where(confusion > 0, confusion, 1.0).log().masked_fill(confusion == 0, -torch.inf)
        )
        log = log[..., observed].movedim(-3, -1)
        return torch.where(mask[..., None], log, torch.zeros_like(log))

    def draw(self, states: Tensor, generator: torch.Generator) -> Tensor:
        """Labels ``(n, L)`` seen of states ``(n, L)``."""
        u = torch.rand(states.shape, generator=generator, dtype=torch.float64, device=states.device)
        upper = self.confusion.to(states.device).cumsum(-1)[states][..., :-1]
        return (upper <= u[..., None]).sum(-1)

    def parameters(self) -> Tensor:
        """Logit of the rate of wrong labels ``(1,)``, for a fit that keeps them uniform."""
        wrong = 1 - torch.diagonal(self.confusion, dim1=-2, dim2=-1).mean(-1, keepdim=True)
        return torch.logit(wrong.clamp(1e-6, 1 - 1e-6))

    def with_parameters(self, theta: Tensor) -> LabelNoise:
        """Uniform label noise with the logit ``(..., 1)`` of its rate."""
        return LabelNoise.uniform(self.n_states, torch.sigmoid(theta[..., 0]))


@dataclass(frozen=True, eq=False)
class Confusion(LabelNoise):
    """Label noise of which a fit learns every entry, for states that are mixed up with some others rather than with any."""

    def parameters(self) -> Tensor:
        """Logits of the rows but their diagonal, whose logit is 0: ``(S (S − 1),)``."""
        log = self.confusion.clamp(min=1e-6).log()
        logits = log - torch.diagonal(log, dim1=-2, dim2=-1)[..., None]
        return logits[..., self._wrong]

    def with_parameters(self, theta: Tensor) -> Confusion:
        """Confusion matrix with the logits ``(..., S (S − 1))``."""
        size = self.n_states
        logits = theta.new_zeros(*theta.shape[:-1], size * size)
        place = self._wrong.flatten().nonzero()[:, 0].to(theta.device)
        logits = logits.index_add(-1, place, theta)
        return Confusion(logits.unflatten(-1, (size, size)).softmax(-1))

    @property
    def _wrong(self) -> Tensor:
        return ~torch.eye(self.n_states, dtype=torch.bool)

    def log_prior(self, weight: float = 10.0, right: float = 0.9) -> Tensor:
        """Log-density ``(...)``, up to a constant, of a Dirichlet law of every row, in its logits.

        It counts as ``weight`` observations of each state, of which a share ``right`` has the right label and the
        others are spread evenly.
        """
        return weight * (
            LabelNoise.uniform(self.n_states, 1 - right).confusion * self.confusion.log()
        ).sum((-1, -2))


@dataclass(frozen=True, eq=False)
class GaussianEmission:
    """A state is seen as a normal vector: ``N(mean[i], std[i]²)``, independent in its features.

    Parameters
    ----------
    mean, std : Tensor, ``(..., S, d)`` float64
        In the units of the observation.
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, mean: Any, std: Any) -> GaussianEmission:
        """Make it of numbers ``(S,)`` or ``(S, d)``; one ``std`` may serve all.

        Raises
        ------
        ValueError
            If a standard deviation is not positive.
        """
        mean = torch.as_tensor(mean, dtype=torch.float64)
        mean = mean[:, None] if mean.ndim == 1 else mean
        std = torch.as_tensor(std, dtype=torch.float64)
        std = (std[:, None] if std.ndim == 1 else std).expand(mean.shape)
        if not bool((std > 0).all()):
            raise ValueError(f"std must be positive, found {std.tolist()}")
        return cls(mean, std)

    @property
    def n_states(self) -> int:
        """Number of states S."""
        return self.mean.shape[-2]

    def log_emission(self, observed: Tensor, mask: Tensor) -> Tensor:
        """Log-density of observations ``(n, L, d)`` in every state ``(..., n, L, S)``; masked features count 0."""
        if observed.ndim != 3 or observed.shape[-1] != self.mean.shape[-1]:
            raise ValueError(
                f"paths must have {self.mean.shape[-1]} continuous features, found shape {tuple(observed.shape)}"
            )
        mean, std = (v.to(observed.device)[..., None, None, :, :] for v in (self.mean, self.std))
        z = (observed.to(mean.dtype)[..., None, :] - mean) / std
        log = -0.5 * z.square() - std.log() - 0.5 * math.log(2 * math.pi)
        return torch.where(mask[..., None, :], log, torch.zeros_like(log)).sum(-1)

    def draw(self, states: Tensor, generator: torch.Generator) -> Tensor:
        """Observations ``(n, L, d)`` of states ``(n, L)``."""
        shape = (*states.shape, self.mean.shape[-1])
        noise = torch.randn(shape, generator=generator, dtype=torch.float64, device=states.device)
        return self.mean.to(states.device)[states] + self.std.to(states.device)[states] * noise

    def parameters(self) -> Tensor:
        """Means and log standard deviations ``(2 S d,)``, in units of the mean standard deviation."""
        return torch.cat([(self.mean / self.std).flatten(-2), self.std.log().flatten(-2)], dim=-1)

    def with_parameters(self, theta: Tensor) -> GaussianEmission:
        """Emission with the parameters ``(..., 2 S d)``."""
        ratio, log_std = theta.unflatten(-1, (2, *self.mean.shape[-2:])).unbind(-3)
        return GaussianEmission(ratio * log_std.exp(), log_std.exp())


Emission = LabelNoise | GaussianEmission


def observe(
    trajectories: Trajectories,
    emission: Emission,
    keep: float = 1.0,
    missing: float = 0.0,
    seed: int = 0,
) -> Paths:
    """Look at simulated jump paths as an experiment would.

    Parameters
    ----------
    trajectories : Trajectories
        Integer states on a grid.
    emission : LabelNoise or GaussianEmission
        What is seen of a state.
    keep : float in (0, 1]
        Chance of each time but the first to be looked at: below 1 the grids are irregular, each path its own.
    missing : float in [0, 1)
        Chance of each observation but the first to be lost, leaving a gap.
    seed : int
        Everything random derives from it.

    Raises
    ------
    TypeError, ValueError
        If the trajectories are continuous, or a chance is out of range.
    """
    if not trajectories.discrete:
        raise TypeError("observe looks at integer states; these trajectories are continuous")
    if not 0 < keep <= 1 or not 0 <= missing < 1:
        raise ValueError(
            f"keep must be in (0, 1] and missing in [0, 1), found {keep!r} and {missing!r}"
        )
    states = trajectories.states.long()
    g = stream(seed, "observe", device=states.device)
    seen = emission.draw(states, g)
    u = torch.rand(2, *states.shape, generator=g, device=states.device)
    kept, lost = u[0] < keep, u[1] < missing
    kept[:, 0], lost[:, 0] = True, False
    if seen.is_floating_point():
        seen[lost] = torch.nan
    else:
        seen[lost] = -1
    times, values, rows = trajectories.times.cpu().numpy(), seen.cpu().numpy(), kept.cpu().numpy()
    names = None if seen.is_floating_point() else tuple(map(str, range(emission.n_states)))
    return Paths(
        times=tuple(times[row] for row in rows),
        states=tuple(x[row] for x, row in zip(values, rows, strict=True)),
        names=np.asarray(trajectories.origin),
        state_names=names,
    )
