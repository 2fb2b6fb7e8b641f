"""Stochastic equations driven by fractional noise, with a learned Hurst index, from paths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
import pandas as pd
import torch
from scipy.stats import norm
from torch import Tensor, nn

from dyninfer import keys
from dyninfer.estimators.from_paths import PathEstimator
from dyninfer.fractional import MarkovApproximation
from dyninfer.paths import Paths
from dyninfer.processes.fractional import FractionalDiffusion
from dyninfer.solvers.fractional import solve_fractional
from dyninfer.solvers.noise import stream
from dyninfer.trajectories import Trajectories
from dyninfer.variational import (
    LinearPrior,
    Series,
    check_moving,
    exact_log_likelihood,
    exact_posterior,
    hurst_information,
    maximise,
)

if TYPE_CHECKING:
    from anndata import AnnData

Drift = Literal["none", "constant", "linear"]
State = Literal["observed", "latent"]


@dataclass(kw_only=True, repr=False, eq=False)
class FractionalSDE(PathEstimator):
    r"""A stochastic equation driven by fractional noise, from noisy, irregular paths; its Hurst index is learned.

    .. math:: dX = b(X)\,dt + \sigma\,d\hat B^H, \qquad o_i = C X(t_i) + c + \varepsilon_i

    Fractional noise remembers: increments persist for ``H > ½`` and revert for ``H < ½``; ``H = ½`` is the ordinary
    equation. ``B̂`` is the Markov approximation by a weighted sum of Ornstein-Uhlenbeck processes, whose optimal weights
    are differentiable in ``H``. Here ``b`` is linear and everything is Gaussian, so that the evidence lower bound of
    the paper is tight with the optimal linear control: the exact likelihood is maximised itself, by Kalman's filter (or
    by one Cholesky factor where all paths share even times), and posterior paths are drawn without error, the memory
    at the start inferred with them.

    Parameters
    ----------
    hurst : float, optional
        None learns the Hurst index; a number fixes it.
    per_dimension : bool
        An index for every coordinate, instead of one for all.
    kind : {"I", "II"}
        Noise with stationary increments and a past, or noise that starts with the path (Riemann-Liouville).
    n_nodes : int
        Ornstein-Uhlenbeck processes beside the Brownian motion itself. More approximate small ``H`` better.
    drift : {"linear", "none", "constant"}
        ``−θ (x − μ)``, 0, or a constant.
    state : {"observed", "latent"}
        Whether the coordinates are the features, or ``latent_dim`` hidden ones that are read out linearly.
    latent_dim : int, optional
        Needed with ``state="latent"``.
    observation_noise : float, optional
        Standard deviation of what is seen around the state, in the units of the data, positive; None learns one for
        every feature.

    Attributes
    ----------
    process_ : FractionalDiffusion
        What was learned: of the features in their units, or of the latent coordinates.
    hurst_ : float or array ``(d,)``
    observation_noise_ : array ``(feature,)``
    history_ : DataFrame
        One row per step of the maximisation.

    References
    ----------
    Daems, Opper, Crevecoeur, Birdal. Variational inference for SDEs driven by fractional noise. ICLR 2024,
    arXiv 2310.12975.

    Examples
    --------
    >>> import dyninfer as di
    >>> from dyninfer.fractional import FractionalBrownianMotion
    >>> times = [0.1 * k for k in range(40)]
    >>> x = FractionalBrownianMotion(0.8).sample(times, 5, n_features=1).numpy()
    >>> paths = di.Paths(times=[times] * 5, states=list(x))
    >>> model = di.FractionalSDE(drift="none", n_nodes=5).fit(paths, progress=False)
    >>> model.forecast(paths, [4.0, 5.0], n_samples=10).states.shape
    torch.Size([50, 2, 1])
    """

    citation: ClassVar[str] = (
        "@inproceedings{daems2024variational,\n"
        "  title={Variational Inference for {SDEs} Driven by Fractional Noise},\n"
        "  author={Daems, Rembert and Opper, Manfred and Crevecoeur, Guillaume and Birdal, Tolga},\n"
        "  booktitle={International Conference on Learning Representations},\n  year={2024},\n  note={arXiv:2310.12975}\n}"
    )
    reason_against_snapshots: ClassVar[str] = (
        "the Hurst index says how increments of one individual depend on each other, which unpaired samples do not show"
    )

    hurst: float | None = None
    per_dimension: bool = False
    kind: Literal["I", "II"] = "I"
    n_nodes: int = 10
    drift: Drift = "linear"
    state: State = "observed"
    latent_dim: int | None = None
    observation_noise: float | None = None

    def check(self) -> None:
        """Raise a ValueError naming a setting that cannot be."""
        for name, kinds in (("drift", Drift), ("state", State), ("kind", Literal["I", "II"])):
            if getattr(self, name) not in get_args(kinds):
                raise ValueError(
                    f"{name} must be one of {', '.join(get_args(kinds))}, found {getattr(self, name)!r}"
                )
        if self.hurst is not None and not 0 < self.hurst < 1:
            raise ValueError(f"hurst must lie between 0 and 1, or be None to be learned; found {self.hurst}")
        if self.hurst is not None and self.per_dimension:
            raise ValueError("per_dimension says how hurst is learned; leave one of the two out")
        if self.n_nodes < 1:
            raise ValueError(f"n_nodes must be at least 1, found {self.n_nodes}")
        if (self.latent_dim is not None) != (self.state == "latent"):
            raise ValueError("latent_dim is needed with state='latent', and with it alone")
        if self.latent_dim is not None and self.latent_dim < 1:
            raise ValueError(f"latent_dim must be at least 1, found {self.latent_dim}")
        if self.observation_noise is not None and not 0 < self.observation_noise < math.inf:
            raise ValueError(
                f"observation_noise must be positive, or None to be learned; found {self.observation_noise}"
            )

    def learn(self, paths: Paths, seed: int, max_steps: int | None, progress: bool) -> None:
        """See :meth:`PathEstimator.learn`."""
        self._continuous(paths)
        series = Series.of(paths)
        self.facts_ = self._facts(paths, series)
        prior = self._prior()
        fit = maximise(prior, self._scaled(series), 300 if max_steps is None else max_steps)
        self.history_, self.status_ = pd.DataFrame(fit.history), fit.status
        information = hurst_information(prior, self._scaled(series)) if self.hurst is None else None
        self.facts_["information"] = None if information is None else information.tolist()
        self._finish(prior)

    def log_likelihoods(self, paths: Paths, seed: int = 0) -> np.ndarray:
        """Exact log-likelihood of every path ``(n,)``, in nats and in the units of the data."""
        self._continuous(paths)
        series = Series.of(paths)
        with torch.no_grad():
            found = exact_log_likelihood(self.prior_, self._scaled(series))
            units = (series.mask * self._units()[1].log()).sum((1, 2))
        return (found - units).numpy()

    def posterior(
        self,
        data: AnnData | Paths,
        times: Sequence[float] | np.ndarray | None = None,
        *,
        n_samples: int = 100,
        seed: int = 0,
    ) -> Trajectories:
        """Draw what lies behind the noise of observed paths, given all that is seen of each.

        Parameters
        ----------
        data : AnnData or Paths
        times : sequence of float, optional
            Times at which the paths are wanted, not before any of them begins; by default all times of the data after
            that. Beyond its last observation, a path is a forecast.
        n_samples : int
            Draws per path.
        seed : int

        Returns
        -------
        Trajectories
            ``n_samples`` rows per path, one path after another; ``origin`` names the path. Observation noise is not added.
        """
        self._check_fitted()
        paths = self._as_paths(data)
        if times is None:
            every = np.unique(np.concatenate(paths.times))
            times = every[every >= max(t[0] for t in paths.times)]
        times = keys.numeric_times(np.atleast_1d(np.asarray(times)), "times")
        states = self._decoded(self._draws(paths, times, n_samples, seed))
        return Trajectories(
            states=states.float(),
            times=torch.as_tensor(times),
            features=tuple(str(f) for f in self.feature_names_in_),
            origin=np.repeat(paths.names, n_samples),
            attrs={"method": type(self).__name__, "seed": seed},
        )

    def forecast(
        self,
        data: AnnData | Paths,
        times: Sequence[float] | np.ndarray,
        *,
        n_samples: int = 100,
        seed: int = 0,
    ) -> Trajectories:
        """Draw the future of observed paths given their past, as :meth:`posterior`, after the last observation of all."""
        self._check_fitted()
        last = max(t[-1] for t in self._as_paths(data).times)
        if np.min(times) <= last:
            raise ValueError(
                f"times of a forecast must lie after the last observation, at {last:g}; found {np.min(times):g}: "
                "use posterior for times between"
            )
        return self.posterior(data, times, n_samples=n_samples, seed=seed)

    def simulate(
        self,
        start: Any,
        times: Sequence[float] | np.ndarray,
        *,
        n_paths: int | None = None,
        dt: float | None = None,
        seed: int = 0,
    ) -> Trajectories:
        """Run the learned equation, its memory drawn from its law; a forecast of observed paths is :meth:`forecast`.

        Parameters
        ----------
        start : None, array ``(n, feature)``, AnnData or Paths
            None draws first states from their learned law and needs ``n_paths``. Of an AnnData or of paths, what is seen
            at ``times[0]``. Latent coordinates start from None, or from paths: then from their posterior at ``times[0]``.
        times : sequence of float
            Times to store, increasing.
        n_paths : int, optional
            Number of paths; starting states are repeated in turn.
        dt : float, optional
            Longest step; by default a hundredth of the span, or the typical gap of the data if that is shorter.
        seed : int

        Returns
        -------
        Trajectories
            What would be seen, without observation noise.
        """
        self._check_fitted()
        times = keys.numeric_times(np.atleast_1d(np.asarray(times)), "times")
        first = self._first_states(start, float(times[0]), n_paths, seed)
        span = float(times[-1] - times[0])
        step = min(span / 100, max(self.facts_["tau"], span / 5000)) if dt is None else dt
        with torch.no_grad():
            run = solve_fractional(self.process_, first, times, dt=step or None, seed=seed)
        shift, scale = self._units()
        x = run.states if self.state == "latent" else (run.states - shift) / scale
        return Trajectories(
            states=self._decoded(x).float(),
            times=torch.as_tensor(times),
            features=tuple(str(f) for f in self.feature_names_in_),
            attrs={"method": type(self).__name__, "seed": seed},
        )

    @property
    def hurst_(self) -> float | np.ndarray:
        """The Hurst index, or one per coordinate."""
        self._check_fitted()
        h = self.prior_.hurst.detach().numpy()
        return h if self.per_dimension else float(h[0])

    @property
    def observation_noise_(self) -> np.ndarray:
        """Standard deviation of what is seen around the state ``(feature,)``, in the units of the data."""
        self._check_fitted()
        return (self.prior_.log_noise.detach().exp() * self._units()[1]).numpy()

    def hurst_interval(self, level: float = 0.95) -> np.ndarray:
        """Interval of the Hurst index ``(2,)``, or ``(d, 2)``: normal in its logit, from the curvature of the likelihood.

        The error of the Markov approximation is not in it: see ``process_.noise.report(hurst_)``.
        """
        self._check_fitted()
        if not 0 < level < 1:
            raise ValueError(f"level must lie between 0 and 1, found {level}")
        if self.facts_["information"] is None:
            raise ValueError("hurst was given and not learned, so it has no interval; fit with hurst=None")
        information = np.asarray(self.facts_["information"])
        # Data that say nothing about the index leave all of (0, 1).
        error = np.where(information > 0, 1 / np.sqrt(np.where(information > 0, information, 1)), np.inf)
        logit = self.prior_.hurst_logit.detach().numpy()
        ends = logit[:, None] + norm.ppf(0.5 + level / 2) * error[:, None] * np.array([-1, 1])
        interval = 1 / (1 + np.exp(-ends))
        return interval if self.per_dimension else interval[0]

    def _facts(self, paths: Paths, series: Series) -> dict[str, Any]:
        """What the shape of the model depends on, as plain numbers."""
        check_moving(paths)
        gaps = np.concatenate([np.diff(t) for t in paths.times])
        horizon = max(float(t[-1] - t[0]) for t in paths.times)
        every = np.concatenate(paths.states).astype(np.float64)
        return {
            "horizon": horizon,
            "tau": max(float(np.quantile(gaps, 0.1)), horizon / 1e5),
            "shift": np.nanmean(every, axis=0).tolist(),
            "scale": [float(s) or 1.0 for s in np.nanstd(every, axis=0)],
            "free_start": len(paths) > 2,
        }

    def _prior(self) -> LinearPrior:
        facts, features = self.facts_, len(self.facts_["scale"])
        noise = MarkovApproximation(
            self.n_nodes, horizon=facts["horizon"], dt=min(facts["tau"], facts["horizon"]), kind=self.kind
        )
        given = None
        if self.observation_noise is not None:
            given = self.observation_noise / torch.tensor(facts["scale"], dtype=torch.float64)
        return LinearPrior(
            noise,
            self.latent_dim or features,
            features,
            drift=self.drift,
            hurst=self.hurst,
            shared=not self.per_dimension,
            tau=facts["tau"],
            observation_noise=given,
            latent=self.state == "latent",
            free_start=facts["free_start"],
        )

    def _finish(self, prior: LinearPrior) -> None:
        """Keep the prior, and the process in the units of the data."""
        self.prior_ = prior.requires_grad_(False)
        shift, scale = self._units()
        if self.state == "latent":
            shift, scale = torch.zeros(prior.n_states), torch.ones(prior.n_states)
        hurst = prior.hurst if self.per_dimension else prior.hurst[0]
        self.process_ = FractionalDiffusion(
            _InUnits(prior, shift.double(), scale.double()), prior.noise, hurst, diffusion=prior.scale * scale
        )

    def _units(self) -> tuple[Tensor, Tensor]:
        return tuple(torch.tensor(self.facts_[k], dtype=torch.float64) for k in ("shift", "scale"))  # type: ignore[return-value]

    def _scaled(self, series: Series) -> Series:
        return series.scaled(*self._units())

    def _decoded(self, x: Tensor) -> Tensor:
        shift, scale = self._units()
        return shift + scale * self.prior_.decode(x)

    def _draws(self, paths: Paths, times: np.ndarray, n_samples: int, seed: int) -> Tensor:
        """Posterior states ``(path · sample, time, d)``, standardised."""
        self._continuous(paths)
        if n_samples < 1:
            raise ValueError(f"n_samples must be at least 1, found {n_samples}")
        series = Series.of(paths, times)
        x = exact_posterior(self.prior_, self._scaled(series), n_samples, seed)
        rows = series.queried[None, :, :, None].expand(n_samples, -1, -1, x.shape[-1])
        return x.gather(2, rows).transpose(0, 1).flatten(0, 1)

    def _first_states(self, start: Any, time: float, n_paths: int | None, seed: int) -> Tensor:
        if start is None:
            if n_paths is None:
                raise ValueError("n_paths is needed to draw first states: simulate(None, times, n_paths=...)")
            prior, generator = self.prior_, stream(seed, "start")
            normals = torch.randn(n_paths, prior.n_states, generator=generator, dtype=torch.float64)
            x = prior.start_mean + prior.log_start.exp() * normals
            shift, scale = self._units()
            return x if self.state == "latent" else shift + scale * x
        is_data = isinstance(start, Paths) or (hasattr(start, "obs") and hasattr(start, "obsm"))
        if self.state == "latent":
            if not is_data:
                raise TypeError("latent coordinates start from None, an AnnData or Paths, not from an array")
            x = self._draws(self._as_paths(start), np.array([time]), 1, seed)[:, 0]
        elif is_data:
            seen = self._as_paths(start).at(time)
            x = torch.as_tensor(seen[~np.isnan(seen).any(1)])
        else:
            x = torch.as_tensor(np.asarray(start))
        if x.ndim != 2 or x.shape[0] == 0 or x.shape[1] != self.prior_.n_states:
            raise ValueError(
                f"start must be (n, {self.prior_.n_states}) finite states, but its shape is {tuple(x.shape)}"
            )
        return x.double() if n_paths is None else x.double()[torch.arange(n_paths) % len(x)]

    def _continuous(self, paths: Paths) -> None:
        if paths.discrete:
            raise TypeError(
                "fractional noise moves numbers, and these paths have discrete states; use MarkovJumpInference"
            )

    def _tensors(self) -> dict[str, Tensor]:
        return self.prior_.state_dict()

    def _metadata(self) -> dict[str, Any]:
        return super()._metadata() | {"facts": self.facts_}

    def _restore(self, metadata: dict[str, Any], tensors: dict[str, Tensor], device: torch.device) -> None:
        self.facts_ = metadata["facts"]
        prior = self._prior()
        prior.load_state_dict(tensors)
        self._finish(prior)
        super()._restore(metadata, tensors, device)


class _InUnits(nn.Module):
    """A standardised drift in the units of the data."""

    shift: Tensor
    scale: Tensor

    def __init__(self, prior: LinearPrior, shift: Tensor, scale: Tensor):
        super().__init__()
        self.prior = prior
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.scale * self.prior.drift(t, (x.double() - self.shift) / self.scale)
