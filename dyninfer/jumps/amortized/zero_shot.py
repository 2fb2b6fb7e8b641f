"""Generators at first sight: a network trained on simulated processes reads counted transitions, and nothing is fitted."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.jumps.amortized.network import JumpBelief, PairNetwork
from dyninfer.jumps.likelihood.statistics import JumpStatistics
from dyninfer.jumps.process import MarkovJump, with_diagonal
from dyninfer.learning.model_file import read_model

WEIGHTS = Path(__file__).parents[2] / "pretrained" / "jump.safetensors"
# What data are compared with those of the training by: in words, and whether the number is a logarithm.
RANGES = (
    ("the number of states", False),
    ("the number of paths", True),
    ("the number of steps per path", True),
    ("the time between observations, in mean times between observed changes,", True),
    ("the number of observed changes per path", True),
    ("the fastest rate, per mean time between observed changes,", True),
)
_BISECTIONS = 60


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
        Law of the first state.
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
        In what the data differ from all that the network was trained on, in sentences; empty if in nothing.
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
        return MarkovJump(self.generator, initial=self.initial, state_names=self.state_names)

    def quantile(self, q: Tensor | float) -> Tensor:
        """Quantiles ``(..., S, S)`` of every rate: 0 where the jump is absent with at least that probability."""
        absent = 1 - self.link_probability
        level = (torch.as_tensor(q, dtype=torch.float64) - absent) / self.link_probability.clamp(
            min=1e-300
        )
        return torch.where(level > 0, self._mixture_quantile(level), 0.0)

    def interval(self, level: float = 0.9) -> tuple[Tensor, Tensor]:
        """Central credible intervals of every rate, ``(low, high)``, each ``(..., S, S)``.

        Raises
        ------
        ValueError
            If ``level`` is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ValueError(f"level must be between 0 and 1, found {level!r}")
        return self.quantile(0.5 - level / 2), self.quantile(0.5 + level / 2)

    def interval_if_linked(self, level: float = 0.9) -> tuple[Tensor, Tensor]:
        """Central intervals of every rate given that the jump happens, ``(low, high)``, each ``(..., S, S)``."""
        tail = torch.full_like(self.link_probability, 0.5 - level / 2)
        return self._mixture_quantile(tail), self._mixture_quantile(1 - tail)

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Generators ``(n, ..., S, S)`` from the posterior, in which the rates of all jumps are independent."""
        b, shape = self.belief, (n, *self.rates.shape)
        g = torch.Generator(self.rates.device).manual_seed(seed)
        u, v = torch.rand(2, *shape, generator=g, dtype=torch.float64, device=self.rates.device)
        z = torch.randn(shape, generator=g, dtype=torch.float64, device=self.rates.device)
        upper = b.log_weight.exp().cumsum(-1)[..., :-1]
        component = (upper <= v[..., None]).sum(-1, keepdim=True)
        mean, log_std = (
            x.expand(*shape, -1).gather(-1, component)[..., 0] for x in (b.mean, b.log_std)
        )
        rates = (mean + log_std.exp() * z).exp() / self.tau[..., None, None]
        return with_diagonal(torch.where(u < self.link_probability, rates, 0.0))

    def _mixture_quantile(self, level: Tensor) -> Tensor:
        b = self.belief
        std = b.log_std.exp()
        low, high = (b.mean - 9 * std).amin(-1), (b.mean + 9 * std).amax(-1)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            below = (
                b.log_weight.exp() * torch.special.ndtr((middle[..., None] - b.mean) / std)
            ).sum(-1)
            low, high = (
                torch.where(below < level, middle, low),
                torch.where(below < level, high, middle),
            )
        n = level.shape[-1]
        off = 1 - torch.eye(n, dtype=torch.float64, device=level.device)
        return ((low + high) / 2).exp() / self.tau[..., None, None] * off


def infer(
    data: Paths | JumpStatistics, n_states: int | None = None, weights: str | Path | None = None
) -> JumpEstimate:
    """Estimate the generator of a Markov jump process, with its uncertainty, from paths of perhaps wrong labels.

    Parameters
    ----------
    data : Paths or JumpStatistics
        Discrete paths on any grids, or their statistics ``(...)``: of a stream of paths, or a batch of processes.
    n_states : int, optional
        For paths: by default the number of states they name.
    weights : str or Path, optional
        File of a trained network; by default the one of the package.

    Warns
    -----
    UserWarning
        If the data lie outside all that the network was trained on.
    """
    names = data.state_names if isinstance(data, Paths) else None
    statistics = JumpStatistics.of(data, n_states) if isinstance(data, Paths) else data
    if names is not None and len(names) != statistics.n_states:
        names = None
    device = statistics.counts.device
    network, low, high = load_network(str(weights or WEIGHTS), device)
    with torch.inference_mode():
        raw = network(statistics.coarse())
    belief = JumpBelief(**{k: v.double() for k, v in vars(raw).items()})
    tau, n = statistics.tau, statistics.n_states
    scaled = belief.point_rates()
    outside = _outside(range_features(statistics, scaled), low, high)
    if outside:
        warnings.warn(f"the network was never shown such data: {'; '.join(outside)}", stacklevel=2)
    clean = torch.sigmoid(belief.clean)
    return JumpEstimate(
        rates=scaled / tau[..., None, None],
        link_probability=torch.sigmoid(belief.link)
        * (1 - torch.eye(n, dtype=torch.float64, device=device)),
        initial=belief.initial.exp(),
        noise=(1 - clean) * _mean_chance(belief.noise_mean, belief.noise_log_std.exp()),
        clean_probability=clean,
        belief=belief,
        tau=tau,
        state_names=names,
        outside=outside,
    )


@lru_cache(maxsize=4)
def load_network(file: str, device: torch.device) -> tuple[PairNetwork, Tensor, Tensor]:
    """Network of a file of weights, and the ranges ``(feature,)`` of what it saw in training, on a device."""
    metadata, tensors = read_model(file)
    network = PairNetwork(**metadata["network"])
    network.load_state_dict(
        {k.removeprefix("weight."): v for k, v in tensors.items() if k.startswith("weight.")}
    )
    return (
        network.eval().to(device),
        tensors["range.low"].to(device),
        tensors["range.high"].to(device),
    )


def range_features(statistics: JumpStatistics, scaled_rates: Tensor) -> Tensor:
    """Numbers ``(..., feature)`` by which data are compared with those of the training, in the order of ``RANGES``.

    ``scaled_rates`` ``(..., S, S)`` are rates times ``tau``.
    """
    paths = statistics.starts.sum(-1)
    gap = statistics.span / statistics.steps
    return torch.stack(
        [
            torch.full_like(paths, float(statistics.n_states)),
            paths.log(),
            (statistics.steps / paths).log(),
            (gap / statistics.tau).log(),
            ((statistics.changes + 1) / paths).log(),
            scaled_rates.amax((-1, -2)).clamp(min=1e-30).log(),
        ],
        dim=-1,
    ).float()


def _outside(found: Tensor, low: Tensor, high: Tensor) -> tuple[str, ...]:
    found = found.reshape(-1, len(RANGES))
    slack = 1e-4
    least, most = found.amin(0), found.amax(0)
    beyond = ((least < low - slack) | (most > high + slack)).tolist()
    value = torch.where(most > high + slack, most, least)
    sentences = []
    for (name, logarithm), bad, v, a, b in zip(RANGES, beyond, value, low, high, strict=True):
        if bad:
            v, a, b = (x.exp() if logarithm else x for x in (v, a, b))
            sentences.append(f"{name} is {v:.3g}, in training {a:.3g} to {b:.3g}")
    return tuple(sentences)


def _mean_chance(mean: Tensor, std: Tensor) -> Tensor:
    """Mean of ``sigmoid(z)`` over normal ``z``, by 64 equally likely points."""
    points = torch.special.ndtri(
        (torch.arange(64, dtype=mean.dtype, device=mean.device) + 0.5) / 64
    )
    return torch.sigmoid(mean[..., None] + std[..., None] * points).mean(-1)
