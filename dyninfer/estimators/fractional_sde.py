"""Stochastic equations driven by fractional noise, with a learned Hurst index, from paths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.data.paths.observed import last_rows
from dyninfer.data.provenance import Provenance
from dyninfer.data.time_reading import requested_times
from dyninfer.data.trajectories import Trajectories
from dyninfer.estimators.base import Outcome, Run
from dyninfer.estimators.cautions import warn_beyond
from dyninfer.estimators.index_of_memory import IndexOfMemory
from dyninfer.estimators.likelihood_of_paths import LikelihoodOfPaths
from dyninfer.estimators.loading import restored
from dyninfer.estimators.paths import PathEstimator
from dyninfer.fractional.inference import (
    ExactModel,
    FirstStates,
    FittedEquation,
    NeuralModel,
    PathPosterior,
    Series,
    build_model,
    check_continuous,
    check_knots,
    facts_of,
    fit_by_bound,
    index_facts,
    maximise,
    scaling_of,
)
from dyninfer.fractional.localisation import Localisation
from dyninfer.fractional.own_modules import (
    check_present,
    load_tensors,
    with_parts,
    without_modules,
)
from dyninfer.fractional.point_errors import typical_errors
from dyninfer.fractional.settings import (
    EquationSettings,
    Exact,
    FractionalNoise,
    Latent,
    Observed,
    Variational,
    without_place,
)
from dyninfer.learning.model_file import check_format, read_model, reading
from dyninfer.learning.random import numpy_stream, stream
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.settings import check_count, check_seed, from_plain
from dyninfer.learning.training import Training
from dyninfer.simulation.start import as_states

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(kw_only=True, repr=False, eq=False)
class FractionalSDE(IndexOfMemory, LikelihoodOfPaths, PathEstimator):
    r"""A stochastic equation driven by fractional noise, from noisy, irregular paths.

    .. math:: dX = b(t, X)\,dt + s(t, X) \circ d\hat B^H, \qquad o_i = C(X(t_i)) + \varepsilon_i

    Fractional noise remembers: increments persist for ``H > ½`` and revert for ``H < ½``; ``H = ½``
    is the ordinary equation. The Hurst index ``H`` is learned. ``B̂`` is the Markov approximation
    by a weighted sum of Ornstein-Uhlenbeck processes, whose optimal weights are differentiable in
    ``H``.

    Where ``b`` and ``C`` are linear and ``s`` is constant, everything is Gaussian, and the exact
    likelihood is maximised. With a network or a module in their place, the evidence lower bound is
    maximised. Posterior paths are then guided by the closed form of the linear part, with the drift
    linearised along the likely path, and by a learned residual control. Their first state and its
    memory are inferred.

    Parameters
    ----------
    noise : FractionalNoise
        The Hurst index (a number or a function of time), and how the noise is approximated.
    drift : {"linear", "none", "constant", "network"} or module
        ``−θ (x − μ)``, 0, or a constant; "network" adds a function of the state to the linear
        drift. So does a twice differentiable module or function ``(t (n,), x (n, d)) -> (n, d)`` in
        the units of the state.
    diffusion : {"constant", "network"} or module
        "network": the amplitude of each coordinate times a positive function of it (Stratonovich).
        A module ``(t (n,), x (n, d)) -> (n, d)`` gives that factor in place of the network.
    state : Observed or Latent
        Whether the coordinates are the features themselves, or latent ones that a decoder reads
        out.
    inference : Exact or Variational, optional
        By default exact where everything is linear, else variational.
    observation_noise : float or Localisation, optional
        Standard deviation of the observations around the state, positive, in the units of the data;
        None learns one for every feature. ``Localisation`` adds motion blur, and takes one error
        per position.

    Attributes
    ----------
    process_ : FractionalDiffusion
        What was learned, for the features in their units or for the latent coordinates.
    model_ : ExactModel or NeuralModel
    hurst_ : float, array ``(d,)`` or Series
        An index that changes is given at the times of its knots; your own function, at eleven
        evenly spaced times.
    observation_noise_ : array ``(feature,)``
        Their root mean square, where every position has its own error.
    history_ : DataFrame
        One row per step of the maximisation, or per logged step of training.

    References
    ----------
    Daems, Opper, Crevecoeur, Birdal. Variational inference for SDEs driven by fractional noise.
    ICLR 2024, arXiv 2310.12975.

    Examples
    --------
    >>> import dyninfer as di
    >>> from dyninfer.fractional import FractionalBrownianMotion
    >>> times = [0.1 * k for k in range(40)]
    >>> x = FractionalBrownianMotion(0.8).sample(times, 5, n_features=1).numpy()
    >>> paths = di.Paths(times=[times] * 5, states=list(x))
    >>> model = di.FractionalSDE(noise=di.FractionalNoise(n_nodes=5), drift="none")
    >>> model.fit(paths, progress=False).forecast(paths, [4.0, 5.0], n_samples=10).states.shape
    torch.Size([50, 2, 1])
    """

    citation: ClassVar[str] = (
        "@inproceedings{daems2024variational,\n"
        "  title={Variational Inference for {SDEs} Driven by Fractional Noise},\n"
        "  author={Daems, Rembert and Opper, Manfred and Crevecoeur, Guillaume and "
        "Birdal, Tolga},\n"
        "  booktitle={International Conference on Learning Representations},\n"
        "  year={2024},\n  note={arXiv:2310.12975}\n}"
    )
    reason_against_snapshots: ClassVar[str] = (
        "the Hurst index says how increments of one individual depend on each other, which "
        "unpaired samples do not show"
    )

    # A new object for every model: set_params changes the parts in place.
    noise: FractionalNoise = field(default_factory=FractionalNoise)
    drift: str | Callable[..., Any] = "linear"
    diffusion: str | Callable[..., Any] = "constant"
    state: Observed | Latent = field(default_factory=Observed)
    inference: Exact | Variational | None = None
    observation_noise: float | Localisation | None = None

    def check(self) -> None:
        """Raise a ValueError or TypeError that names an invalid setting."""
        check_present(self)
        self._equation.check()

    @property
    def covariate_columns(self) -> tuple[str, ...]:
        """Columns that hold the error of every position."""
        noise = self._equation.localisation
        return () if noise is None else noise.error_columns

    def search_space(self, paths: Paths) -> dict[str, list[dict[str, Any]]]:
        """For ``tune``, simplest first: noise without memory, where the index is learned."""
        if self.noise.hurst is not None:
            return {}
        # Not a network as drift, which takes minutes a fit: who wants it tried asks for it.
        white = replace(self.noise, hurst=0.5, per_dimension=False)
        return {"noise": [{"noise": white}, {"noise": self.noise}]}

    def facts(self, data: Paths, seed: int = 0) -> dict[str, Any]:
        """Time span and gaps of the paths."""
        facts = facts_of(data, of_tracks=self._equation.localisation is not None)
        if self.covariate_columns:
            facts["errors"] = typical_errors(data, self.covariate_columns)
        check_knots(data, self.noise.hurst)
        return facts

    def build(self, data: Paths | None, scaling: Scaling) -> ExactModel | NeuralModel:
        """Return the untrained model, standardised."""
        return build_model(self._equation, self.facts_, scaling)

    def learn(self, process: Any, data: Paths, run: Run) -> Outcome:
        """Maximise the likelihood, or train on its bound."""
        inference = self._equation.chosen_inference
        if isinstance(inference, Variational):
            series = Series.of(data).scaled(self.scaling_)
            result = fit_by_bound(process, series, inference, self.training_, run)
            return Outcome(history=result.history, status=result.status, checkpointed=True)
        series = Series.of_values(data, self.covariate_columns).scaled(self.scaling_)
        series = inference.place(process, series)
        max_steps = run.max_steps or inference.max_steps
        fit = maximise(process.prior, series, max_steps)
        # Kept with the model: the interval of the index needs it when the data are gone.
        self.facts_ |= index_facts(process.prior, series)
        process.prior.warn_if_coarse(series.gaps)
        history = pd.DataFrame(fit.history)
        return Outcome(history=history, status=fit.status)

    def posterior(self, data: AnnData | Paths, *, window: int | None = None) -> PathPosterior:
        """The states behind the noise of observed paths, given all observations of each.

        Its ``draw(times, n_samples, seed)`` gives the features at any times.

        Parameters
        ----------
        data : AnnData or Paths
        window : int, optional
            Use only this many last observations of each path (error regression over a window). A
            forecast then follows recent behaviour, which helps where the equation is wrong or has
            changed. Rows in which everything is missing do not count. The window starts as a path
            does, from the law of first states.
        """
        self._check_fitted()
        paths = self._as_paths(data)
        if window is not None:
            self._equation.check_window()
            paths = last_rows(paths, check_count(window, "window"))
        return self._fitted.posterior(paths)

    def simulate(
        self,
        start: Any,
        times: Sequence[float] | ndarray,
        *,
        n_paths: int | None = None,
        seed: int = 0,
        **options: Any,
    ) -> Trajectories:
        """Run the learned equation, with its memory drawn from its distribution.

        Parameters
        ----------
        start : None, array ``(n, feature)``, AnnData or Paths
            None draws first states from their learned distribution and needs ``n_paths``. An
            AnnData or paths start from what is observed at ``times[0]``. Latent coordinates start
            from None, or from the posterior of paths at ``times[0]``.
        times : sequence of float
            Times to store, increasing.
        n_paths : int, optional
            Number of paths; by default one for every starting state.
        seed : int
        **options
            See :func:`dyninfer.simulate`. By default, steps are at most a hundredth of the span, or
            the typical gap of the data if that is shorter.

        Returns
        -------
        Trajectories
            The features, without observation noise.
        """
        self._check_fitted()
        if options.pop("to", None) is not None:
            raise ValueError(
                "to cannot be used: features are computed from all states in memory; leave it out, "
                "and save the result"
            )
        times = requested_times(times)
        warn_beyond(self._covered_times(), times, "simulating")
        seed = check_seed(seed)
        if n_paths is not None:
            n_paths = check_count(n_paths, "n_paths")
        begin = float(times[0])
        first = self._first_states(start, begin, n_paths, seed)
        options |= {"n_paths": n_paths, "seed": seed}
        run = self._fitted.simulate(self.process_, first, times, options)
        features = tuple(str(name) for name in self.feature_names_in_)
        attrs = {"method": type(self).__name__, "seed": seed}
        return replace(run, features=features, attrs=attrs)

    def states_at(self, paths: Paths, time: float, seed: int = 0, n_draws: int = 1) -> Tensor:
        """States of the process ``(path · draw, d)`` behind what is observed until ``time``.

        These are the last values of each path, or draws of the latent coordinates.
        """
        if isinstance(self.state, Latent):
            return self.posterior(paths).states_at(time, seed, n_draws)
        return super().states_at(paths, time, seed, n_draws).double()

    def decode(self, states: Tensor) -> Tensor:
        """Features of states of the process ``(path, time, d)``, for paths without content."""
        return self._fitted.features(states)

    def observe(self, states: Tensor, seed: int = 0) -> Tensor:
        """Observations of decoded states ``(path, time, feature)``, with their noise."""
        if isinstance(self.state, Latent) and self.state.families.has_counts:
            rng = numpy_stream(seed, "observed views")
            means = states.numpy(force=True)
            drawn = self.state.families.draw(means, self._fitted.observation_noise, rng)
            return torch.as_tensor(drawn).to(states)
        generator = stream(seed, "observation noise", device=states.device)
        normals = states.new_empty(states.shape).normal_(generator=generator)
        deviation = torch.as_tensor(self.observation_noise_).to(states)
        return states + normals * deviation

    def annotations(self, adata: AnnData) -> dict[str, Any]:
        """Velocity at every row, where the coordinates are the features."""
        if isinstance(self.state, Latent):
            return {}
        return super().annotations(adata)

    @property
    def observation_noise_(self) -> ndarray:
        """Standard deviation of the observations around the state ``(feature,)``, in data units.

        For negative binomial counts, the relative spread of their rates; NaN for Poisson counts.
        """
        self._check_fitted()
        deviation = self._fitted.observation_noise
        if isinstance(self.state, Latent):
            return self.state.families.noise(deviation)
        return deviation

    @classmethod
    def load(cls, path: str | Path, *, device: str = "auto", **modules: Any) -> Self:
        """Load a saved model that holds your own modules, given again by name.

        The names are those of their settings: ``drift``, ``diffusion``, ``hurst``, ``decoder``,
        ``encoder``, ``control``.
        """
        metadata, tensors = read_model(path)
        check_format(path, metadata)
        with reading(path):
            model = from_plain(metadata["model"])
        if not isinstance(model, cls):
            raise ValueError(
                f"{str(path)!r} holds a {type(model).__name__}; load it with dyninfer.load(path)"
            )
        whole = with_parts(model, modules)
        return restored(whole, path, metadata, tensors, device)

    @property
    def _equation(self) -> EquationSettings:
        return EquationSettings(
            noise=self.noise,
            drift=self.drift,
            diffusion=self.diffusion,
            state=self.state,
            inference=self.inference,
            observation_noise=self.observation_noise,
        )

    def _as_paths(self, data: Any) -> Paths:
        # Whatever is asked of the model, states that are no numbers are refused in one place.
        paths = super()._as_paths(data)
        check_continuous(paths)
        return paths

    def _scaling(self, paths: Paths) -> Scaling:
        return scaling_of(paths, self._equation)

    def _training(self, max_steps: int | None) -> Training | None:
        return self._equation.training(max_steps)

    @property
    def _fitted(self) -> FittedEquation:
        is_latent = isinstance(self.state, Latent)
        return FittedEquation(
            self.model_, self.scaling_, is_latent, self.facts_, self.covariate_columns
        )

    def _keep(self, process: Any) -> None:
        self.model_ = process.eval().requires_grad_(False)
        self.process_ = self._fitted.process(self.noise.per_dimension)

    def _first_states(self, start: Any, time: float, n_paths: int | None, seed: int) -> FirstStates:
        n_states = self.model_.prior.n_states
        if start is None:
            return FirstStates(self._fitted.prior_states(n_paths, seed))
        states, names = self._starting(start, time, seed)
        if names is None and isinstance(self.state, Latent):
            raise TypeError(
                "latent coordinates start from None, an AnnData or Paths, not from an array"
            )
        # In double precision, as the memory is: its weights cancel.
        states = as_states(states, "start").double()
        if states.shape[1] != n_states:
            raise ValueError(
                f"start must be (n, {n_states}) states, but its shape is {tuple(states.shape)}"
            )
        content = None
        if names is not None and self.model_.content_dim:
            paths = self._as_paths(start)
            is_started = np.isin(paths.names, names)
            posterior = self.posterior(paths[is_started])
            content = posterior.content()
        return FirstStates(states, content, names)

    def _identity(self, provenance: Provenance) -> dict[str, str]:
        plain = without_modules(self)
        plain.inference = without_place(plain.inference)
        return super(FractionalSDE, plain)._identity(provenance)

    def _tensors(self) -> dict[str, Tensor]:
        return self.model_.state_dict()

    def _metadata(self) -> dict[str, Any]:
        return super(FractionalSDE, without_modules(self))._metadata()

    def _restore_process(
        self, metadata: dict[str, Any], tensors: dict[str, Tensor], device: torch.device
    ) -> None:
        model = self._built(None, 0)
        load_tensors(model, tensors)
        self._keep(model.to(device))

    def _move(self, device: torch.device) -> None:
        self._keep(self.model_.to(device))
