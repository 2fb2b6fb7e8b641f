"""Stochastic equations driven by fractional noise, with a learned Hurst index, from paths."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from scipy.stats import norm
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.estimators.base import Outcome, Run
from dyninfer.estimators.fractional_settings import (
    LINEAR_DRIFTS,
    NAMES,
    NoiseKind,
    State,
    check_settings,
    is_linear,
)
from dyninfer.estimators.posterior_paths import PosteriorEstimator
from dyninfer.fractional import MarkovApproximation
from dyninfer.fractional.inference import (
    ExactModel,
    LinearPrior,
    NeuralModel,
    Parts,
    Series,
    default_training,
    facts_of,
    fit_by_bound,
    hurst_information,
    maximise,
)
from dyninfer.learning.model_file import check_format, read_model
from dyninfer.learning.parallel import pick_device
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.settings import check_count, check_seed, from_plain
from dyninfer.learning.training import Training

if TYPE_CHECKING:
    from anndata import AnnData

_OWN = "own module: "


@dataclass(kw_only=True, repr=False, eq=False)
class FractionalSDE(PosteriorEstimator):
    r"""A stochastic equation driven by fractional noise, from noisy, irregular paths; its Hurst index is learned.

    .. math:: dX = b(t, X)\,dt + s(t, X) \circ d\hat B^H, \qquad o_i = C(X(t_i)) + \varepsilon_i

    Fractional noise remembers: increments persist for ``H > ½`` and revert for ``H < ½``; ``H = ½`` is the ordinary
    equation. ``B̂`` is the Markov approximation by a weighted sum of Ornstein-Uhlenbeck processes, whose optimal weights
    are differentiable in ``H``.

    Where ``b`` and ``C`` are linear and ``s`` is constant, everything is Gaussian, and the exact likelihood is maximised;
    settings of networks and of their training are then refused, not ignored.
    With a network or a module in their place, the evidence lower bound is: posterior paths are led by the closed form of
    the linear part, with the drift linearised along the likely path, and by a learned residual control; their start and
    its memory are inferred.

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
    drift : {"linear", "none", "constant", "network"} or module
        ``−θ (x − μ)``, 0, or a constant; "network" adds a function of the state to the linear one, as does a module or
        function ``(t (n,), x (n, d)) -> (n, d)`` in the units of the state, differentiable twice.
    diffusion : {"constant", "network"} or module
        "network": every coordinate's amplitude times a positive function of that coordinate, in the sense of Stratonovich;
        a module ``(t (n,), x (n, d)) -> (n, d)`` gives that factor, in place of the network.
    state : {"observed", "latent"}
        Whether the coordinates are the features, or ``latent_dim`` hidden ones that are read out.
    latent_dim : int, optional
        Needed with ``state="latent"``.
    decoder : {"linear", "network"} or module
        Readout of latent coordinates: a module ``(x (n, d), content (n, content_dim) or None) -> (n, feature)`` gives
        standardised means. With a module all features share one shift and scale.
    encoder : {"network"} or module, optional
        What reads paths for a posterior of latent coordinates: a module ``(values (P, L, feature), mask (P, L, feature) of
        0 and 1, times (P, L)) ->`` :class:`~dyninfer.fractional.inference.Encoding` of ``mean (P, L, d)``, ``log_variance (P, L,
        d)``, ``context (P, L, c)`` and ``content (P, content_dim)`` or None; ``c`` is its attribute ``n_context``. Values
        are standardised, 0 where not seen. Modules get numbers in the precision of their parameters: single precision
        does not tell times apart that lie far from 0.
    control : {"network"} or module, optional
        Residual control ``(t (n,), x (n, d), y (n, d, K), context (n, c)) -> (n, d)``; None leaves it out.
    content_dim : int
        Numbers that stay the same along a path and go to the decoder beside the state.
    read_first : int, optional
        The posterior sees only so many observations of each path; the control carries it on.
    window : int, optional
        Train on random parts of so many times.
    grow : int
        Steps of training over which the parts grow from ``window`` to whole paths; 0 keeps them.
    width, depth : int
        Units and hidden layers of the networks.
    n_samples : int
        Paths drawn per path in a step of training; ten times as many weigh a likelihood.
    n_steps : int
        Steps between two observations of a nonlinear equation.
    anneal : int
        Steps of training over which the divergence from the prior comes to count fully.
    training : Training, optional
        Of nonlinear models. ``validation_fraction`` holds out paths.
    observation_noise : float, optional
        Standard deviation of what is seen around the state, in the units of the data, positive; None learns one for
        every feature.

    Attributes
    ----------
    process_ : FractionalDiffusion
        What was learned: of the features in their units, or of the latent coordinates.
    model_ : ExactModel or NeuralModel
    hurst_ : float or array ``(d,)``
    observation_noise_ : array ``(feature,)``
    history_ : DataFrame
        One row per step of the maximisation, or per few of training.

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
    kind: NoiseKind = "I"
    n_nodes: int = 12
    drift: str | Callable[..., Any] = "linear"
    diffusion: str | Callable[..., Any] = "constant"
    state: State = "observed"
    latent_dim: int | None = None
    decoder: str | Callable[..., Any] = "linear"
    encoder: str | Callable[..., Any] | None = None
    control: str | Callable[..., Any] | None = "network"
    content_dim: int = 0
    read_first: int | None = None
    window: int | None = None
    grow: int = 0
    width: int = 64
    depth: int = 2
    n_samples: int = 8
    n_steps: int = 2
    anneal: int = 0
    observation_noise: float | None = None
    training: Training | None = None

    def check(self) -> None:
        """Raise a ValueError or TypeError naming a setting that cannot be, or would do nothing."""
        check_settings(self)

    def facts(self, data: Paths, seed: int = 0) -> dict[str, Any]:
        """Units, horizon and gaps of the paths."""
        self._continuous(data)
        return facts_of(data, one_scale=self.state == "latent" and callable(self.decoder))

    def default_training(self) -> Training:
        """Settings of the training loop where none are given."""
        return default_training()

    def build(self, data: Paths | None, scaling: Scaling) -> ExactModel | NeuralModel:
        """Return the untrained model."""
        return self._model()

    def learn(self, process: ExactModel | NeuralModel, data: Paths, run: Run) -> Outcome:
        """Maximise the likelihood, or train on its bound."""
        series = Series.of(data)
        if isinstance(process, NeuralModel):
            return self._train(process, series, run)
        return self._maximise(process, series, 300 if run.max_steps is None else run.max_steps)

    def _maximise(self, model: ExactModel, series: Series, max_steps: int) -> Outcome:
        fit = maximise(model.prior, self._scaled(series), max_steps)
        information = (
            None if self.hurst is not None else hurst_information(model.prior, self._scaled(series))
        )
        self.facts_["information"] = None if information is None else information.tolist()
        return Outcome(history=pd.DataFrame(fit.history), status=fit.status)

    def _train(self, model: NeuralModel, series: Series, run: Run) -> Outcome:
        result = fit_by_bound(
            model,
            self._scaled(series),
            self.training_,
            n_samples=self.n_samples,
            window=self.window,
            grow=self.grow,
            anneal=self.anneal,
            seed=run.seed,
            checkpoint=run.checkpoint,
            resume=run.resume,
            progress=run.progress,
            identity=run.identity,
        )
        return Outcome(history=result.history, status=result.status, checkpointed=True)

    def log_likelihoods(
        self, paths: Paths, seed: int = 0, n_samples: int | None = None
    ) -> np.ndarray:
        """Log-likelihood of every path ``(n,)``, in nats and in the units of the data.

        Exact in the linear model; else weighed by ``n_samples`` draws, ten times those of training by default: it tends
        to the truth from below.
        """
        self._check_fitted()
        weights = self._log_weights(self._as_paths(paths), n_samples, seed)
        return (weights.logsumexp(0) - math.log(len(weights))).numpy()

    def elbo(
        self, data: AnnData | Paths, *, n_samples: int | None = None, seed: int = 0
    ) -> np.ndarray:
        """Evidence lower bound of every path ``(n,)``, in nats and in the units of the data."""
        self._check_fitted()
        return self._log_weights(self._as_paths(data), n_samples, seed).mean(0).numpy()

    def _log_weights(self, paths: Paths, n_samples: int | None, seed: int) -> Tensor:
        self._continuous(paths)
        series, n = (
            Series.of(paths),
            10 * self.n_samples if n_samples is None else check_count(n_samples),
        )
        weights = self.model_.log_weights(self._scaled(series), n, check_seed(seed))
        return weights - (series.mask * self._units()[1].log()).sum((1, 2))

    @property
    def hurst_(self) -> float | np.ndarray:
        """The Hurst index, or one per coordinate."""
        self._check_fitted()
        h = self.model_.prior.hurst.detach().numpy()
        return h if self.per_dimension else float(h[0])

    @property
    def observation_noise_(self) -> np.ndarray:
        """Standard deviation of what is seen around the state ``(feature,)``, in the units of the data."""
        self._check_fitted()
        return (self.model_.prior.log_noise.detach().exp() * self._units()[1]).numpy()

    def hurst_interval(self, level: float = 0.95) -> np.ndarray:
        """Interval of the Hurst index ``(2,)``, or ``(d, 2)``: normal in its logit, from the curvature of the likelihood.

        The error of the Markov approximation is not in it: see ``process_.noise.report(hurst_)``.
        """
        self._check_fitted()
        if not 0 < level < 1:
            raise ValueError(f"level must lie between 0 and 1, found {level}")
        if isinstance(self.model_, NeuralModel):
            raise ValueError(
                "the interval comes from the curvature of an exact likelihood, which a model with networks has not; "
                "compare fits with hurst fixed by their log_likelihoods, or fit the linear model"
            )
        if self.facts_["information"] is None:
            raise ValueError(
                "hurst was given and not learned, so it has no interval; fit with hurst=None"
            )
        with np.errstate(
            divide="ignore"
        ):  # data that say nothing about the index leave all of (0, 1)
            error = 1 / np.sqrt(np.maximum(self.facts_["information"], 0))
        logit = self.model_.prior.hurst_logit.detach().numpy()
        ends = logit[:, None] + norm.ppf(0.5 + level / 2) * error[:, None] * np.array([-1, 1])
        interval = 1 / (1 + np.exp(-ends))
        return interval if self.per_dimension else interval[0]

    def _model(self) -> ExactModel | NeuralModel:
        """The untrained model."""
        if is_linear(self):
            return ExactModel(self._prior())
        latent, facts = self.state == "latent", self.facts_
        units = self._units()
        if latent:
            units = torch.zeros(self.latent_dim or 0), torch.ones(self.latent_dim or 0)
        parts = Parts(
            drift=None if self.drift in LINEAR_DRIFTS else self.drift,
            amplitude=None if self.diffusion == "constant" else self.diffusion,
            encoder=self.encoder or "network",
            decoder=self.decoder,
            control=self.control,
        )
        model = NeuralModel(
            self._prior(),
            len(facts["scale"]),
            parts,
            latent=latent,
            content_dim=self.content_dim,
            width=self.width,
            depth=self.depth,
            n_steps=self.n_steps,
            read_first=self.read_first,
            span=(facts["begin"], facts["horizon"]),
            units=(units[0].double(), units[1].double()),
        )
        return model.in_precision((self.training or default_training()).dtype)

    def _prior(self) -> LinearPrior:
        facts, features = self.facts_, len(self.facts_["scale"])
        linear: Any = "linear" if self.drift not in LINEAR_DRIFTS else self.drift
        noise = MarkovApproximation(
            self.n_nodes,
            horizon=facts["horizon"],
            dt=min(facts["tau"], facts["horizon"]),
            kind=self.kind,
        )
        given = None
        if self.observation_noise is not None:
            given = self.observation_noise / torch.tensor(facts["scale"], dtype=torch.float64)
        return LinearPrior(
            noise,
            self.latent_dim or features,
            features,
            drift=linear,
            hurst=self.hurst,
            shared=not self.per_dimension,
            tau=facts["tau"],
            observation_noise=given,
            latent=self.state == "latent" and is_linear(self),
            free_start=facts["free_start"],
        )

    @classmethod
    def load(cls, path: str | Path, *, device: str = "auto", **modules: Any) -> Self:
        """Load a saved model that has modules of the user's own, given again by the names of their settings."""
        metadata, tensors = read_model(path)
        check_format(path, metadata)
        model = from_plain(metadata["model"])
        if not isinstance(model, cls):
            raise ValueError(
                f"{str(path)!r} holds a {type(model).__name__}; load it by dyninfer.load(path)"
            )
        for name, module in modules.items():
            if name not in NAMES:
                raise TypeError(
                    f"{name} is not a setting that takes a module; those are {', '.join(NAMES)}"
                )
            setattr(model, name, module)
        model._restore(metadata, tensors, pick_device(device))
        return model

    def _tensors(self) -> dict[str, Tensor]:
        return self.model_.state_dict()

    def _metadata(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in NAMES if callable(getattr(self, name))}
        try:
            for name, module in own.items():
                setattr(self, name, _OWN + type(module).__name__)
            metadata = super()._metadata()
        finally:
            for name, module in own.items():
                setattr(self, name, module)
        return metadata

    def _restore_process(
        self, metadata: dict[str, Any], tensors: dict[str, Tensor], device: torch.device
    ) -> None:
        for name in NAMES:
            value = getattr(self, name)
            if isinstance(value, str) and value.startswith(_OWN):
                raise ValueError(
                    f"the model has a {name} of its user's own ({value.removeprefix(_OWN)}), which no file holds: "
                    f"load it by FractionalSDE.load(path, {name}=...)"
                )
        model = self._built(None, 0)
        made, held = (
            {k: v.shape for k, v in some.items()} for some in (model.state_dict(), tensors)
        )
        other = sorted(k for k in made.keys() | held.keys() if made.get(k) != held.get(k))
        if other:
            raise ValueError(
                f"the file does not fit the model at {other[0]!r}; modules of its user's own must be given as they were "
                "fitted, with the same sizes"
            )
        model.load_state_dict(tensors)
        self._keep(model)
