"""What is observed of a state: its label, a label that may be wrong, or a vector with noise.

Every model of observation speaks one language: ``log_prob`` of observations in every state,
``sample`` of them, ``parameters`` that a fit learns and ``with_parameters`` to put them back,
``log_prior`` of those.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from dyninfer.jumps.process.chain import diagonal, is_diagonal
from dyninfer.learning.settings import brief

# No probability of a wrong label starts at 0 or 1, where its logit has no slope.
LEAST_CHANCE = 1e-6
# Share of its first spread below which no state's spread is fitted: values that are all alike, as
# of a recording that was idealised, would else have an infinite density.
LEAST_SPREAD = 0.01
LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)
# A confusion matrix has the prior of so many observations of every state, most of them correct.
PRIOR_WEIGHT = 10.0
PRIOR_CORRECT = 0.9


class Emission(ABC):
    """Base of the models of observation, each a frozen dataclass of tensors ``(..., S, ...)``."""

    @property
    @abstractmethod
    def n_states(self) -> int:
        """Number of states S."""

    @abstractmethod
    def check_observed(self, observed: Tensor) -> None:
        """Raise an error where the model is of other observations."""

    @abstractmethod
    def log_prob(self, observed: Tensor, mask: Tensor) -> Tensor:
        """Log-probability of observations in every state ``(..., n, L, S)``; 0 where none is."""

    @abstractmethod
    def sample(self, states: Tensor, generator: torch.Generator) -> Tensor:
        """Observations of states ``(n, L)``."""

    @abstractmethod
    def parameters(self) -> Tensor:
        """What a fit learns ``(r,)``, without constraints."""

    @abstractmethod
    def with_parameters(self, theta: Tensor) -> Self:
        """The model with the parameters ``(..., r)``."""

    def log_prior(self) -> Tensor:
        """Log-density of the parameters ``(...)``, up to a constant; 0 for a flat prior."""
        return torch.zeros((), dtype=torch.float64)

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The model with a function applied to each of its tensors."""
        tensors = {}
        for name, tensor in vars(self).items():
            if tensor is not None:
                tensors[name] = function(tensor)
        return type(self)(**tensors)

    def member(self, k: int) -> Self:
        """Model number ``k`` of a batch; a single model stands for every member."""

        def of_batch(tensor: Tensor) -> Tensor:
            return tensor[k] if tensor.ndim > 2 else tensor

        return self.map(of_batch)


@dataclass(frozen=True, eq=False)
class LabelNoise(Emission):
    """A state ``i`` is observed as the label ``o`` with probability ``confusion[i, o]``.

    A fit learns one chance of a wrong label, the same for all.

    Parameters
    ----------
    confusion : Tensor, ``(..., S, S)`` float64
        Rows sum to one.
    sets : Tensor, ``(C, S)`` float64, optional
        Further labels, numbered from ``S``, that say no more than that the state is one of several:
        1 for those.
    """

    confusion: Tensor
    sets: Tensor | None = None

    @classmethod
    def perfect(cls, n_states: int) -> PerfectLabels:
        """No label is ever wrong."""
        return PerfectLabels(torch.eye(n_states, dtype=torch.float64))

    @classmethod
    def uniform(cls, n_states: int, rate: Tensor | float) -> Self:
        """A label is wrong with probability ``rate`` ``(...)``, and then any other one alike.

        Raises
        ------
        ValueError
            If the rate is not a probability, or there is one state only.
        """
        rate = torch.as_tensor(rate, dtype=torch.float64)
        is_chance = (rate >= 0) & (rate <= 1)
        if n_states < 2 or not bool(is_chance.all()):
            raise ValueError(
                f"rate must be a probability, with at least 2 states, found {brief(rate.tolist())}"
            )
        return cls._of_rate(n_states, rate)

    @classmethod
    def _of_rate(cls, n_states: int, rate: Tensor) -> Self:
        """The same for rates that are known to be probabilities."""
        rate = rate[..., None, None]
        eye = torch.eye(n_states, dtype=torch.bool, device=rate.device)
        each_other = rate / (n_states - 1)
        return cls(torch.where(eye, 1 - rate, each_other))

    @property
    def n_states(self) -> int:
        """Number of states S."""
        return self.confusion.shape[-1]

    @property
    def error_rate(self) -> Tensor:
        """Chance of a wrong label ``(...)``, mean over the states."""
        correct = diagonal(self.confusion)
        return 1 - correct.mean(-1)

    def check_observed(self, observed: Tensor) -> None:
        """Raise an error where labels ``(n, L)`` are no integers, or too large."""
        if observed.is_floating_point():
            raise TypeError(
                "labels must be integers; use GaussianEmission for continuous observations"
            )
        largest = int(observed.max())
        n_labels = self.n_states
        if self.sets is not None:
            n_labels += len(self.sets)
        if largest >= n_labels:
            raise ValueError(f"paths has the label {largest}, but there are {self.n_states} states")

    def log_prob(self, observed: Tensor, mask: Tensor) -> Tensor:
        """Log-probability of labels ``(n, L)`` in every state ``(..., n, L, S)``."""
        self.check_observed(observed)
        confusion = self.confusion.to(observed.device)
        if self.sets is not None:
            of_sets = self.sets.T.to(confusion)
            batch = confusion.shape[:-1]
            confusion = torch.cat([confusion, of_sets.expand(*batch, -1)], dim=-1)
        # Labels that never happen: the logarithm's gradient at 0 must not be asked for.
        is_possible = confusion > 0
        log = torch.where(is_possible, confusion, 1.0).log()
        log = log.masked_fill(~is_possible, -torch.inf)
        of_labels = log[..., observed]
        by_state = of_labels.movedim(-3, -1)
        is_missing = ~mask.unsqueeze(-1)
        return by_state.masked_fill(is_missing, 0.0)

    def sample(self, states: Tensor, generator: torch.Generator) -> Tensor:
        """Labels ``(n, L)`` of states ``(n, L)``."""
        confusion = self.confusion.to(states.device)
        cumulative = confusion.cumsum(-1)
        # The last boundary is left out: rounding must not leave a number above it.
        boundaries = cumulative[..., :-1]
        uniform = torch.empty_like(states, dtype=torch.float64)
        uniform.uniform_(generator=generator)
        is_passed = boundaries[states] <= uniform.unsqueeze(-1)
        return is_passed.sum(-1)

    def parameters(self) -> Tensor:
        """Logit of the chance of a wrong label ``(1,)``."""
        chance = self.error_rate.clamp(LEAST_CHANCE, 1 - LEAST_CHANCE)
        return torch.logit(chance).unsqueeze(-1)

    def with_parameters(self, theta: Tensor) -> Self:
        """Uniform label noise of the logits ``(..., 1)``."""
        chance = torch.sigmoid(theta).squeeze(-1)
        # Nothing to ask for, which a device would wait for in every step.
        return self._of_rate(self.n_states, chance)


@dataclass(frozen=True, eq=False)
class PerfectLabels(LabelNoise):
    """Labels that are never wrong: nothing is learned."""

    def parameters(self) -> Tensor:
        """No parameters ``(0,)``."""
        return self.confusion.new_zeros(0)

    def with_parameters(self, theta: Tensor) -> Self:
        """The same."""
        return self


@dataclass(frozen=True, eq=False)
class ConfusionMatrix(LabelNoise):
    """Label noise of which a fit learns every entry, for states mixed up with some others only.

    An entry that is 0 stays so.

    Parameters
    ----------
    confusion, sets
        See :class:`LabelNoise`.
    prior : Tensor, ``(S, S)`` float64, optional
        Observations of every label (last) in every state that the prior counts as; by default ten
        of each state, nine of them right. Without it states could trade their names.
    """

    prior: Tensor | None = None

    @classmethod
    def among(cls, allowed: Tensor, rate: float, weight: float = PRIOR_WEIGHT) -> Self:
        """Some labels alone are taken for each other, at first with the chance ``rate``.

        Parameters
        ----------
        allowed : Tensor, ``(S, S)`` bool
            Wrong labels (last) that a state may have.
        rate : float
            Chance of a wrong label of a state that has some.
        weight : float
            Observations of every state that the prior counts as.
        """
        return cls(
            confusion=_spread(allowed, rate),
            prior=weight * _spread(allowed, 1 - PRIOR_CORRECT),
        )

    @property
    def prior_counts(self) -> Tensor:
        """What the prior counts as ``(S, S)``, the default included."""
        if self.prior is not None:
            return self.prior
        return PRIOR_WEIGHT * LabelNoise.uniform(self.n_states, 1 - PRIOR_CORRECT).confusion

    def parameters(self) -> Tensor:
        """Logits of the possible errors, relative to the right label's: ``(r,)``."""
        log = self.confusion.clamp(min=LEAST_CHANCE).log()
        correct = diagonal(log)
        logits = log - correct.unsqueeze(-1)
        return logits[..., self.is_error]

    def with_parameters(self, theta: Tensor) -> Self:
        """Confusion matrix of the logits ``(..., r)``."""
        shape = self.confusion.shape[-2:]
        batch = theta.shape[:-1]
        is_error = self.is_error.flatten()
        (place,) = is_error.nonzero(as_tuple=True)
        place = place.to(theta.device)
        # Added and not assigned, so that the slope finds its way to theta.
        logits = theta.new_zeros(*batch, shape.numel())
        logits = logits.index_add(-1, place, theta)
        rows = logits.unflatten(-1, shape)
        rows = rows.masked_fill(self._is_impossible().to(theta.device), -torch.inf)
        return replace(self, confusion=rows.softmax(-1))

    def log_prior(self) -> Tensor:
        """Log-density ``(...)``, up to a constant, of a Dirichlet prior of the rows' logits."""
        is_possible = ~self._is_impossible()
        log = torch.where(is_possible, self.confusion, 1.0).log()
        terms = self.prior_counts.to(log) * log
        return terms.sum((-1, -2))

    @property
    def is_error(self) -> Tensor:
        """Labels (last) ``(S, S)`` bool that are wrong and may be seen."""
        return ~is_diagonal(self.confusion) & ~self._is_impossible()

    def _is_impossible(self) -> Tensor:
        # Of a batch all members are made of one matrix.
        one = self.confusion.reshape(-1, *self.confusion.shape[-2:])[0]
        return one == 0


def _spread(allowed: Tensor, rate: float) -> Tensor:
    """Confusion matrix ``(S, S)`` with the chance ``rate`` shared out between wrong labels."""
    n_wrong = allowed.sum(-1, keepdim=True)
    share = rate / n_wrong.clamp(min=1)
    wrong = share * allowed.double()
    right = 1 - wrong.sum(-1)
    return wrong + torch.diag(right)


@dataclass(frozen=True, eq=False)
class GaussianEmission(Emission):
    """A state is observed as a normal vector: ``N(mean[i], std[i]²)``, its features independent.

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
        std = torch.as_tensor(std, dtype=torch.float64)
        if mean.ndim == 1:
            mean = mean[:, None]
        if std.ndim == 1:
            std = std[:, None]
        is_positive = std > 0
        if not bool(is_positive.all()):
            raise ValueError(f"std must be positive, found {brief(std.tolist())}")
        return cls(mean, std.expand(mean.shape))

    @property
    def n_states(self) -> int:
        """Number of states S."""
        return self.mean.shape[-2]

    def check_observed(self, observed: Tensor) -> None:
        """Raise an error where vectors ``(n, L, d)`` have another number of features."""
        n_features = self.mean.shape[-1]
        if observed.shape[2:] != (n_features,):
            raise ValueError(
                f"paths must have {n_features} continuous features, "
                f"found shape {tuple(observed.shape)}"
            )

    def log_prob(self, observed: Tensor, mask: Tensor) -> Tensor:
        """Log-density of vectors ``(n, L, d)`` in every state ``(..., n, L, S)``.

        Features that were not observed count as 0.
        """
        self.check_observed(observed)
        mean = _for_paths(self.mean, observed)
        std = _for_paths(self.std, observed)
        x = observed.to(mean.dtype).unsqueeze(-2)
        z = (x - mean) / std
        log = -z.square() / 2 - std.log() - LOG_ROOT_2PI
        is_missing = ~mask.unsqueeze(-2)
        return log.masked_fill(is_missing, 0.0).sum(-1)

    def sample(self, states: Tensor, generator: torch.Generator) -> Tensor:
        """Vectors ``(n, L, d)`` of states ``(n, L)``."""
        mean = self.mean.to(states.device)
        std = self.std.to(states.device)
        centre = mean[states]
        # Normal numbers of the precision of the model, on the device of the states.
        z = torch.empty_like(centre)
        z.normal_(generator=generator)
        return centre + std[states] * z

    def parameters(self) -> Tensor:
        """Shifts of the means and logs of the spreads, both relative to these: 0 ``(2 S d,)``."""
        n_entries = self.mean.shape[-2:].numel()
        return self.mean.new_zeros(2 * n_entries)

    def with_parameters(self, theta: Tensor) -> Self:
        """Emission with the parameters ``(..., 2 S d)``.

        Means are shifted by so many standard deviations of this one, and standard deviations
        multiplied, at least by 0.01.
        """
        shape = self.mean.shape[-2:]
        # In these units a step of the search is as long in every feature, wherever its 0 lies.
        shift, log_ratio = theta.chunk(2, dim=-1)
        shift = shift.unflatten(-1, shape)
        log_ratio = log_ratio.unflatten(-1, shape)
        ratio = log_ratio.exp().clamp(min=LEAST_SPREAD)
        return type(self)(
            mean=self.mean + self.std * shift,
            std=self.std * ratio,
        )

    def at_floor(self, start: GaussianEmission) -> Tensor:
        """States ``(S,)`` bool of which a feature spreads no more than a fit from there allows."""
        least = 1.01 * LEAST_SPREAD * start.std
        is_least = self.std <= least
        return is_least.any(-1)


def _for_paths(of_states: Tensor, observed: Tensor) -> Tensor:
    """Numbers of states ``(..., S, d)`` as ``(..., 1, 1, S, d)``: the same for paths and times."""
    of_states = of_states.to(observed.device)
    return of_states[..., None, None, :, :]
