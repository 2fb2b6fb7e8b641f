"""Generators without fitting: a trained network reads them off the counts of transitions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.data.shipped import shipped
from dyninfer.jumps.amortized.network import JumpBelief, PairNetwork
from dyninfer.jumps.likelihood.statistics import JumpStatistics
from dyninfer.jumps.process import MarkovJump, with_diagonal
from dyninfer.jumps.process.chain import identity
from dyninfer.learning.model_file import read_model
from dyninfer.learning.random import stream, uniforms
from dyninfer.learning.settings import check_count, check_level, check_switch
from dyninfer.learning.warn import warn

# By what data are compared with those of the training, and whether the number is a logarithm.
RANGES = (
    ("the number of states", False),
    ("the number of paths", True),
    ("the number of steps per path", True),
    ("the time between observations, in mean times between observed changes,", True),
    ("the number of observed changes per path", True),
    ("the fastest rate, per mean time between observed changes,", True),
)
# Ranges are in single precision.
_RANGE_TOLERANCE = 1e-4
# Halvings of an interval of 18 standard deviations: below double precision.
_BISECTIONS = 60
# Equally likely points of a normal distribution, over which its logistic function is averaged.
_LOGISTIC_POINTS = 64


def shipped_weights() -> Path:
    """File of the network that comes with the package."""
    return shipped("jump_network", "jump.safetensors")


@dataclass(frozen=True, eq=False)
class JumpEstimate:
    """Posterior of generators, jump by jump, in the user's unit of time.

    Attributes
    ----------
    rates : Tensor, ``(..., S, S)`` float64
        Rates with the least expected squared error, relative to the size of all; the diagonal is 0.
    link_probability : Tensor, ``(..., S, S)`` float64
        Chance that the jump happens at all; the diagonal is 0.
    initial : Tensor, ``(..., S)`` float64
        Distribution of the first state.
    noise : Tensor, ``(...)`` float64
        Expected chance of a wrong label.
    clean_probability : Tensor, ``(...)`` float64
        Chance that no label is wrong.
    belief : JumpBelief
        The posterior itself, float64, in units of ``tau``.
    tau : Tensor, ``(...)`` float64
        Observed time per observed change.
    state_names : tuple of S str, optional
        Names of the states.
    outside : tuple of str
        In what the data differ from all that the network was trained on, in sentences; empty if in
        nothing.
    """

    rates: Tensor
    link_probability: Tensor
    initial: Tensor
    noise: Tensor
    clean_probability: Tensor
    belief: JumpBelief
    tau: Tensor
    state_names: tuple[str, ...] | None = None
    outside: tuple[str, ...] = ()

    @property
    def generator(self) -> Tensor:
        """Generator ``(..., S, S)`` of the estimated rates."""
        return with_diagonal(self.rates)

    def process(self) -> MarkovJump:
        """The estimate as a process that can be simulated and asked for its properties."""
        return MarkovJump(
            self.generator,
            initial=self.initial,
            state_names=self.state_names,
        )

    def quantile(self, q: Tensor | float) -> Tensor:
        """Quantiles ``(..., S, S)`` of every rate: 0 up to the probability that it is absent."""
        absent = 1 - self.link_probability
        q = torch.as_tensor(q, dtype=torch.float64)
        # Never divided by 0: the level of a jump that is surely absent is not used.
        divisor = self.link_probability.clamp(min=1e-300)
        level = (q - absent) / divisor
        rates = self._mixture_quantile(level)
        return torch.where(level > 0, rates, 0.0)

    def interval(self, level: float = 0.9) -> tuple[Tensor, Tensor]:
        """Central credible intervals of every rate, ``(low, high)``, each ``(..., S, S)``.

        Raises
        ------
        ValueError
            If ``level`` is not between 0 and 1.
        """
        tail = (1 - check_level(level)) / 2
        low = self.quantile(tail)
        high = self.quantile(1 - tail)
        return low, high

    def interval_if_linked(self, level: float = 0.9) -> tuple[Tensor, Tensor]:
        """Central intervals ``(low, high)`` of every rate, given that the jump happens."""
        share = (1 - check_level(level)) / 2
        tail = torch.full_like(self.link_probability, share)
        low = self._mixture_quantile(tail)
        high = self._mixture_quantile(1 - tail)
        return low, high

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Generators ``(n, ..., S, S)`` from the posterior, whose rates are independent."""
        shape = check_count(n, "n"), *self.rates.shape
        g = stream(seed, "generators of the belief", device=self.rates.device)
        u = uniforms(g, *shape)
        exists = u < self.link_probability
        level = uniforms(g, *shape)
        component = self._draw_component(level)
        mean = _of_component(self.belief.mean, component)
        log_std = _of_component(self.belief.log_std, component)
        z = torch.randn(shape, generator=g, dtype=torch.float64, device=g.device)
        log_rate = mean + log_std.exp() * z
        rates = self._per_time(log_rate.exp())
        return with_diagonal(torch.where(exists, rates, 0.0))

    def _draw_component(self, u: Tensor) -> Tensor:
        """Numbers of components of the mixture, for uniform numbers ``(n, ..., S, S)``."""
        weight = self.belief.log_weight.exp()
        # The last sum is one but for rounding, and must not be passed.
        cumulative = weight.cumsum(-1)
        thresholds = cumulative[..., :-1]
        is_beyond = thresholds <= u.unsqueeze(-1)
        return is_beyond.sum(-1)

    def _mixture_quantile(self, level: Tensor) -> Tensor:
        """Rates ``(..., S, S)`` that the mixture is below with the given probabilities."""
        mean = self.belief.mean
        std = self.belief.log_std.exp()
        weight = self.belief.log_weight.exp()
        # Nine deviations about every mean hold all of the mixture in double precision.
        reach = 9 * std
        low = (mean - reach).amin(-1)
        high = (mean + reach).amax(-1)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            deviation = middle.unsqueeze(-1) - mean
            below = torch.special.ndtr(deviation / std)
            by_component = weight * below
            is_below = by_component.sum(-1) < level
            low = torch.where(is_below, middle, low)
            high = torch.where(is_below, high, middle)
        log_rate = (low + high) / 2
        rates = self._per_time(log_rate.exp())
        return rates * _off_diagonal(rates)

    def _per_time(self, rates: Tensor) -> Tensor:
        """Rates ``(..., S, S)`` in units of ``1 / tau``, in the user's unit."""
        return rates / self.tau[..., None, None]


def infer(
    data: Paths | JumpStatistics,
    n_states: int | None = None,
    weights: str | Path | None = None,
    exact: bool = False,
) -> JumpEstimate:
    """Estimate the generator of a Markov jump process, with its uncertainty.

    Labels along the paths may be wrong, unless it is said that they are not.

    Parameters
    ----------
    data : Paths or JumpStatistics
        Discrete paths on any grids, or their statistics ``(...)``: of a stream of paths, or a
        batch of processes.
    n_states : int, optional
        For paths: by default the number of states they name.
    weights : str or Path, optional
        File of a trained network; by default the one of the package.
    exact : bool
        Whether it is known that no label is wrong: for networks that were trained to be told so.

    Raises
    ------
    ValueError
        If ``exact`` is True, and the network cannot be told.
    TypeError
        If the data are of another kind.

    Warns
    -----
    UserWarning
        If the data lie outside all that the network was trained on.
    """
    names = None
    if isinstance(data, Paths):
        statistics = JumpStatistics.of(data, n_states)
        # More states than the data name have numbers for names.
        if len(data.state_names or ()) == statistics.n_states:
            names = data.state_names
    elif isinstance(data, JumpStatistics):
        statistics = data
    else:
        raise TypeError(f"data must be Paths or JumpStatistics, found {type(data).__name__}")
    file = str(weights or shipped_weights())
    trained = load_network(file, statistics.counts.device)
    if check_switch(exact, "exact") and not trained.network.reads_exact:
        raise ValueError(
            "exact=True cannot be used: this network was not trained to be told so; leave it out, "
            "or fit by the likelihood of exact labels, fit_panel(panel_counts(paths))"
        )
    belief = _belief_of(trained.network, statistics, exact)
    scaled_rates = belief.point_rates()
    features = range_features(statistics, scaled_rates)
    outside = _outside(features, trained)
    if outside:
        warn(f"the network was not trained on such data: {'; '.join(outside)}")
    link_probability = torch.sigmoid(belief.link)
    clean_probability = torch.sigmoid(belief.clean)
    if exact:
        clean_probability = torch.ones_like(clean_probability)
    noise_std = belief.noise_log_std.exp()
    mean_noise = _mean_logistic(belief.noise_mean, noise_std)
    return JumpEstimate(
        rates=scaled_rates / statistics.tau[..., None, None],
        link_probability=link_probability * _off_diagonal(scaled_rates),
        initial=belief.initial.exp(),
        noise=(1 - clean_probability) * mean_noise,
        clean_probability=clean_probability,
        belief=belief,
        tau=statistics.tau,
        state_names=names,
        outside=outside,
    )


def _belief_of(network: PairNetwork, statistics: JumpStatistics, exact: bool) -> JumpBelief:
    """The network's belief in double precision, which quantiles and sums need."""
    told = torch.ones_like(statistics.steps, dtype=torch.bool) if exact else None
    with torch.inference_mode():
        raw = network(statistics.coarse(), told)
    fields = {}
    for name, value in vars(raw).items():
        fields[name] = value.double()
    return JumpBelief(**fields)


class TrainedNetwork(NamedTuple):
    """A network, and the ranges ``(feature,)`` of the data that it was trained on."""

    network: PairNetwork
    low: Tensor
    high: Tensor


@lru_cache(maxsize=4)
def load_network(file: str, device: torch.device) -> TrainedNetwork:
    """Network of a file of weights, on a device."""
    metadata, tensors = read_model(file)
    # Without numbers of their own: first weights would be drawn from torch's global generator.
    with torch.device("meta"):
        network = PairNetwork(**metadata["network"])
    weights = {}
    for name, value in tensors.items():
        if name.startswith("weight."):
            weights[name.removeprefix("weight.")] = value
    network.load_state_dict(weights, assign=True)
    return TrainedNetwork(
        network=network.eval().to(device),
        low=tensors["range.low"].to(device),
        high=tensors["range.high"].to(device),
    )


def range_features(statistics: JumpStatistics, scaled_rates: Tensor) -> Tensor:
    """Numbers ``(..., feature)`` by which data are compared with those of the training.

    Parameters
    ----------
    statistics : JumpStatistics ``(...)``
    scaled_rates : Tensor ``(..., S, S)``
        Rates times ``tau``.

    Returns
    -------
    Tensor
        In the order of ``RANGES``.
    """
    tau = statistics.tau
    n_paths = statistics.starts.sum(-1)
    n_states = torch.full_like(n_paths, statistics.n_states)
    gap = statistics.span / statistics.steps
    # One more, so that its logarithm is finite where nothing changed.
    changes = statistics.changes + 1
    fastest = scaled_rates.amax((-1, -2))
    # As above, where every rate is zero.
    fastest = fastest.clamp(min=1e-30)
    positive = [
        n_paths,
        statistics.steps / n_paths,
        gap / tau,
        changes / n_paths,
        fastest,
    ]
    logarithms = [value.log() for value in positive]
    features = torch.stack([n_states, *logarithms], dim=-1)
    return features.float()


def _outside(features: Tensor, trained: TrainedNetwork) -> tuple[str, ...]:
    """Sentences about the features ``(..., feature)`` that lie outside the training's ranges."""
    features = features.reshape(-1, len(RANGES))
    smallest = features.amin(0)
    largest = features.amax(0)
    too_large = largest > trained.high + _RANGE_TOLERANCE
    too_small = smallest < trained.low - _RANGE_TOLERANCE
    is_outside = (too_small | too_large).tolist()
    values = torch.where(too_large, largest, smallest)
    # One transfer from the device for all of them.
    columns = torch.stack([values, trained.low, trained.high], dim=1)
    table = columns.cpu()
    rows = zip(RANGES, table, strict=True)
    sentences = []
    beyond = compress(rows, is_outside)
    for (name, is_logarithm), numbers in beyond:
        if is_logarithm:
            numbers = numbers.exp()
        value, low, high = numbers.tolist()
        sentences.append(f"{name} is {value:.3g}, in training {low:.3g} to {high:.3g}")
    return tuple(sentences)


def _mean_logistic(mean: Tensor, std: Tensor) -> Tensor:
    """Mean of ``sigmoid(z)`` over normal ``z``."""
    number = torch.arange(_LOGISTIC_POINTS, device=mean.device)
    middle = number.to(mean) + 0.5
    probability = middle / _LOGISTIC_POINTS
    points = torch.special.ndtri(probability)
    deviation = std.unsqueeze(-1) * points
    z = mean.unsqueeze(-1) + deviation
    return torch.sigmoid(z).mean(-1)


def _of_component(values: Tensor, component: Tensor) -> Tensor:
    """Values ``(n, ..., S, S)`` of one component each, among ``(..., S, S, component)``."""
    shape = component.shape
    of_all = values.expand(*shape, -1)
    index = component.unsqueeze(-1)
    of_one = of_all.gather(-1, index)
    return of_one.squeeze(-1)


def _off_diagonal(rates: Tensor) -> Tensor:
    """Ones ``(S, S)`` with a diagonal of zeros."""
    return 1 - identity(rates)
