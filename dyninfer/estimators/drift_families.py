"""Drifts of many environments, which come in families: donors, perturbations, animals."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from numpy import ndarray

from dyninfer.data import keys
from dyninfer.data.columns import label_column, time_column
from dyninfer.data.paths import Paths
from dyninfer.data.reading import is_anndata, read_features
from dyninfer.data.time_reading import requested_times
from dyninfer.data.trajectories import Trajectories
from dyninfer.data.trajectories.join import join_runs
from dyninfer.data.trajectory_stream import refuse_several
from dyninfer.diffusions import ScaledDiffusion
from dyninfer.diffusions.regression.coefficients import whole_states
from dyninfer.diffusions.regression.families import Families, Statistics, fit_families
from dyninfer.diffusions.regression.family_process import FamilyDiffusion
from dyninfer.diffusions.regression.increments import Increments
from dyninfer.diffusions.regression.libraries import (
    Library,
    Polynomials,
    check_library,
    library_of,
)
from dyninfer.diffusions.scaled import fields_at
from dyninfer.estimators.base import Outcome, Run
from dyninfer.estimators.paths import PathEstimator
from dyninfer.learning.random import subseed
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.settings import brief, check_count, check_seed

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(kw_only=True, repr=False, eq=False)
class DriftFamilies(PathEstimator):
    r"""Drifts of many environments, each a variant of one of a few families.

    .. math:: dX = \Phi(X) W_e\,dt + \sigma\,dW, \qquad W_e \sim N(M_{k(e)}, \tau^2)

    An environment is the condition of a path (``condition_key``: a donor, a perturbation, an
    animal); without conditions, every path is one. The fit needs only sums of products of the
    increments of each environment; ``W_e`` is integrated out. The drift of an environment is its
    own regression, shrunk towards the mean of its family.

    Parameters
    ----------
    drift : Polynomials, Bins or callable
        Functions ``Φ``, as in :class:`~dyninfer.KramersMoyal`.
    n_families : int, optional
        None chooses the number by the Bayesian information criterion.
    max_families : int
        Largest number of families tried when the number is chosen.
    spread : float, optional
        ``τ``, the standard deviation of coefficients within a family, in standardised units: states
        over their standard deviation, time over the span of the data. None learns it. Large values
        leave environments alone; small ones make all environments of a family alike.

    Attributes
    ----------
    process_ : ScaledDiffusion
        With one family, it has the drift of that family; ``process_.given(name)`` is the process of
        an environment.
    environments_ : DataFrame
        ``environment``, its ``family``, the ``probability`` of that family, and the number of
        ``increments``.
    history_ : DataFrame
        One row per number of families that was tried (``step``): ``loss``, minus the mean
        log-likelihood of an environment, and ``criterion``.

    References
    ----------
    Nzoyem, Stevens, Sahota, Barton, Deakin. Towards foundational models for dynamical system
    reconstruction: hierarchical meta-learning via mixture of experts. 2025, arXiv 2502.05335.

    Examples
    --------
    >>> import numpy as np
    >>> import dyninfer as di
    >>> times = np.arange(0, 20, 0.1)
    >>> slow = di.simulators.OrnsteinUhlenbeck(rate=0.3, dimension=1).paths(times, 3)
    >>> fast = di.simulators.OrnsteinUhlenbeck(rate=3.0, dimension=1).paths(times, 3)
    >>> paths = di.Paths(times=[times] * 6, states=[*slow.states, *fast.states])
    >>> model = di.DriftFamilies(n_families=2).fit(paths, progress=False)
    >>> family = model.environments_["family"]
    >>> family[:3].nunique(), family[3:].nunique(), family.nunique()
    (1, 1, 2)
    """

    citation: ClassVar[str] = (
        "@article{nzoyem2025mixer,\n"
        "  title={Towards Foundational Models for Dynamical System Reconstruction: Hierarchical "
        "Meta-Learning via Mixture of Experts},\n"
        "  author={Nzoyem, Roussel Desmond and Stevens, Grant and Sahota, Amarpal and Barton, "
        "David A. W. and Deakin, Tom},\n"
        "  journal={arXiv:2502.05335},\n  year={2025}\n}"
    )
    tables: ClassVar[tuple[str, ...]] = ("history_", "environments_")
    uses: ClassVar[frozenset[str]] = frozenset({"condition_key"})
    reason_against_snapshots: ClassVar[str] = (
        "increments are differences of one individual, which unpaired samples do not show"
    )

    # A new object for every model: set_params changes the parts in place.
    drift: Library | Callable[..., Any] = field(default_factory=lambda: Polynomials(degree=1))
    n_families: int | None = None
    max_families: int = 6
    spread: float | None = None

    def check(self) -> None:
        """Raise a ValueError or TypeError that names an invalid setting."""
        check_library(self.drift, "drift")
        check_count(self.max_families, "max_families")
        if self.n_families is not None:
            check_count(self.n_families, "n_families")
            if self.max_families != type(self).max_families:
                raise ValueError(
                    "max_families limits a number of families that is chosen, and n_families="
                    f"{self.n_families} gives it; leave one of the two out"
                )
        # Not "spread <= 0", which a NaN would pass.
        if self.spread is not None and not self.spread > 0:
            raise ValueError(f"spread must be positive, found {brief(self.spread)}")

    def facts(self, data: Paths, seed: int = 0) -> dict[str, Any]:
        """Names of the environments, and what the functions depend on."""
        states = whole_states(data)
        names = _labels(data)
        facts: dict[str, Any] = {"environments": sorted(set(names))}
        if isinstance(self.drift, Library):
            facts["drift"] = self.drift.facts(states)
        return facts

    def build(self, data: Paths | None, scaling: Scaling) -> ScaledDiffusion:
        """Return the process with coefficients of zero, in the user's units."""
        own_facts = self.facts_.get("drift", {})
        functions = library_of(self.drift, own_facts, scaling)
        # Known after the fit only: until then, one.
        n_families = self.facts_.get("n_families", 1)
        names = self.facts_["environments"]
        inner = FamilyDiffusion(functions, names, n_families, scaling.n_features)
        return ScaledDiffusion(inner, scaling)

    def learn(self, process: Any, data: Paths, run: Run) -> Outcome:
        """Fit mixtures of several numbers of families, and shrink each environment to its own."""
        names = self.facts_["environments"]
        number = {name: position for position, name in enumerate(names)}
        environment = np.array([number[name] for name in _labels(data)])
        increments = Increments.of(data, self.scaling_)
        statistics = Statistics.of(increments, process.inner.functions, environment)
        noise = statistics.noise()
        precision, score = statistics.information(noise)
        families, history = self._chosen(precision, score, run.seed)
        _, probability = families.routing(precision, score)
        family = probability.argmax(1)
        own, _ = families.shrunk(precision, score, family)
        # A file holds the facts, from which a saved process is built.
        self.facts_["n_families"] = len(families.shares)
        self.facts_["shares"] = families.shares.tolist()
        self.facts_["variance"] = families.variance
        process = self.build(data, self.scaling_)
        means = families.means.swapaxes(1, 2)
        process.inner.learn(means, own.swapaxes(1, 2), noise)
        columns = {
            "environment": names,
            "family": family,
            "probability": probability.max(1),
            "increments": statistics.n_increments,
        }
        self.environments_ = pd.DataFrame(columns)
        return Outcome(history=history, status="finished", process=process)

    def route(self, data: AnnData | Paths) -> pd.DataFrame:
        """Probability of every family for each environment, known or new, from its likelihood.

        Returns
        -------
        DataFrame
            A row for every environment, a column for every family.
        """
        self._check_fitted()
        paths = self._as_paths(data)
        rows = []
        labels = _labels(paths)
        names = sorted(set(labels))
        for name in names:
            group = paths[labels == name]
            precision, score = self._information(group)
            _, probability = self._families.routing(precision, score)
            rows.append(probability[0])
        index = pd.Index(names, name="environment")
        return pd.DataFrame(rows, index=index)

    def adapt(self, data: AnnData | Paths) -> Self:
        """Return a model of one new environment, by ridge regression towards its likeliest family.

        It simulates and forecasts without a ``condition``.
        """
        self._check_fitted()
        return self._adapted(self._as_paths(data))

    def under(self, condition: Any) -> Self:
        """Return a model of one environment of the fit."""
        self._check_fitted()
        return self._with_process(self.process_.given(condition))

    def simulate(
        self,
        start: Any,
        times: Sequence[float] | ndarray,
        *,
        condition: Any = None,
        **options: Any,
    ) -> Trajectories:
        """Run the process of an environment; see :meth:`PathEstimator.simulate`.

        Parameters
        ----------
        start, times, **options
            As there.
        condition : str or number, optional
            Name of the environment. Without it, each path of an AnnData or of paths runs under its
            own environment, and an array runs under the drift of the family if there is only one.
        """
        self._check_fitted()
        if condition is not None:
            return PathEstimator.simulate(self.under(condition), start, times, **options)
        if isinstance(start, Paths) or is_anndata(start):
            refuse_several(options.pop("to", None))
            return self._each_under_its_own(start, times, **options)
        return super().simulate(start, times, **options)

    def forecast(
        self,
        data: AnnData | Paths,
        times: Sequence[float] | ndarray,
        *,
        n_samples: int = 100,
        seed: int = 0,
    ) -> Trajectories:
        """Draw the future of paths, each under the drift of its environment.

        To a new environment the drift is adapted, from what is observed of it. See
        :meth:`PathEstimator.forecast`.
        """
        self._check_fitted()
        paths = self._as_paths(data)
        n_samples = check_count(n_samples, "n_samples")
        seed = check_seed(seed)
        labels = _labels(paths)
        rows = np.arange(len(paths) * n_samples).reshape(len(paths), -1)
        runs = []
        places = []
        for name in sorted(set(labels)):
            is_own = labels == name
            group = paths[is_own]
            model = self._model_of(name, group)
            # Paths of two environments share no noise.
            own_seed = subseed(seed, "environment", name)
            run = PathEstimator.forecast(model, group, times, n_samples=n_samples, seed=own_seed)
            runs.append(run)
            places.append(rows[is_own].ravel())
        joined = join_runs(runs, places)
        return replace(
            joined,
            origin=np.repeat(paths.names, n_samples),
            attrs={**joined.attrs, "seed": seed},
        )

    def annotations(self, adata: AnnData) -> dict[str, Any]:
        """Velocity at every row, under the drift of its environment."""
        paths = self._as_paths(adata)
        key = self.source_.get("condition_key") or self.source_["path_key"]
        labels = label_column(adata, key, "condition_key").astype(str)
        of_paths = _labels(paths)
        times = time_column(adata, self.source_["time_key"])
        x = read_features(adata, self._known())
        velocity = np.empty_like(x)
        for name in sorted(set(labels)):
            group = paths[of_paths == name]
            model = self._model_of(name, group)
            rows = labels == name
            own_times = times[rows]
            fields = fields_at(model.process_, own_times, x[rows])
            velocity[rows] = fields["drift"]
        return {keys.VELOCITY: velocity}

    @property
    def spread_(self) -> float:
        """Standard deviation of coefficients within a family, in standardised units."""
        self._check_fitted()
        return float(np.sqrt(self.facts_["variance"]))

    @property
    def _families(self) -> Families:
        weights = self.process_.inner.family_weights.numpy(force=True)
        shares = np.array(self.facts_["shares"])
        return Families(weights.swapaxes(1, 2), shares, self.facts_["variance"], 0.0)

    def _chosen(
        self, precision: ndarray, score: ndarray, seed: int
    ) -> tuple[Families, pd.DataFrame]:
        """Families with the least criterion, and a row for every number that was tried."""
        n = len(score)
        if self.n_families is None:
            numbers = range(1, min(self.max_families, n) + 1)
        else:
            numbers = range(self.n_families, self.n_families + 1)
            if self.n_families > n:
                raise ValueError(
                    f"n_families={self.n_families} is more than the {n} environments; lower it"
                )
        variance = None
        if self.spread is not None:
            variance = float(self.spread) ** 2
        candidates = []
        rows = []
        for number in numbers:
            families = fit_families(precision, score, number, variance, seed)
            candidates.append(families)
            criterion = families.criterion(n, self.spread is not None)
            loss = -families.log_likelihood / n
            rows.append({"step": number, "loss": loss, "criterion": criterion})
        history = pd.DataFrame(rows)
        best = int(history["criterion"].argmin())
        return candidates[best], history

    def _information(self, paths: Paths) -> tuple[ndarray, ndarray]:
        """Precision and score of paths of one environment, by the noise that was learned."""
        inner = self.process_.inner
        increments = Increments.of(paths, self.scaling_)
        one = np.zeros(len(paths), dtype=int)
        statistics = Statistics.of(increments, inner.functions, one)
        noise = inner.squared_noise.numpy(force=True)
        return statistics.information(noise)

    def _adapted(self, paths: Paths) -> Self:
        families = self._families
        precision, score = self._information(paths)
        _, probability = families.routing(precision, score)
        family = probability.argmax(1)
        own, _ = families.shrunk(precision, score, family)
        weights = torch.tensor(own[0].T)
        process = copy.copy(self.process_)
        # A shallow copy shares the table of submodules, in which the inner process is replaced.
        process._modules = dict(self.process_._modules)
        process.inner = self.process_.inner.with_weights(weights)
        return self._with_process(process)

    def _each_under_its_own(
        self,
        start: Any,
        times: Sequence[float] | ndarray,
        n_paths: int | None = None,
        seed: int = 0,
        **options: Any,
    ) -> Trajectories:
        """Run paths from the states of ``start``, in turn where more are wanted."""
        paths = self._as_paths(start)
        times = requested_times(times)
        seed = check_seed(seed)
        x0, origin = self._starting(paths, float(times[0]), seed)
        if n_paths is None:
            n_paths = len(x0)
        order = np.arange(check_count(n_paths, "n_paths")) % len(x0)
        is_started = np.isin(paths.names, origin)
        labels = _labels(paths[is_started])[order]
        runs = []
        places = []
        for name in sorted(set(labels)):
            rows = np.flatnonzero(labels == name)
            model = self._model_of(name, paths[_labels(paths) == name])
            # Paths of two environments share no noise.
            own_seed = subseed(seed, "environment", name)
            states = x0[torch.as_tensor(order[rows])]
            run = PathEstimator.simulate(model, states, times, seed=own_seed, **options)
            runs.append(run)
            places.append(rows)
        joined = join_runs(runs, places)
        attrs = {**joined.attrs, "seed": seed}
        return replace(joined, origin=origin[order], attrs=attrs)

    def _model_of(self, name: str, paths: Paths) -> Self:
        if name in self.facts_["environments"]:
            return self.under(name)
        return self._adapted(paths)

    def _with_process(self, process: Any) -> Self:
        model = copy.copy(self)
        model.process_ = process
        return model


def _labels(paths: Paths) -> ndarray:
    """Name of the environment of every path ``(n,)``."""
    if paths.conditions is None:
        return np.asarray(paths.names).astype(str)
    return np.asarray(paths.conditions).astype(str)
