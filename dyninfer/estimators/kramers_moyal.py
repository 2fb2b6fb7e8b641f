"""Drift and noise of densely observed paths, by regression of their increments on a library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.data.paths.observed import digest
from dyninfer.diffusions import ScaledDiffusion
from dyninfer.diffusions.regression.coefficients import coefficient_table, usual_gap, whole_states
from dyninfer.diffusions.regression.cures import finite_steps, noisy_observations
from dyninfer.diffusions.regression.increments import Increments, columns_at
from dyninfer.diffusions.regression.inertia import InertialDiffusion, check_velocities
from dyninfer.diffusions.regression.least_squares import Equation, short_steps
from dyninfer.diffusions.regression.libraries import (
    Bins,
    Library,
    Monomials,
    Polynomials,
    check_library,
    library_of,
)
from dyninfer.diffusions.regression.likelihood import euler_log_likelihoods
from dyninfer.diffusions.regression.misfit import MEMORY_OF_MEANS, say_what_does_not_fit
from dyninfer.diffusions.regression.process import LibraryDiffusion
from dyninfer.estimators.base import Outcome, Run
from dyninfer.estimators.paths import PathEstimator
from dyninfer.learning.random import numpy_stream, stream
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.settings import check_count, check_level, check_seed, check_word

if TYPE_CHECKING:
    from anndata import AnnData

# Of fewer, the same ones are drawn again and again.
_FEWEST_PATHS = 10


@dataclass(kw_only=True, repr=False, eq=False)
class KramersMoyal(PathEstimator):
    r"""Drift and noise of densely observed paths, by least squares on a library of functions.

    .. math:: dX = \Phi(X) W\,dt + \sqrt{\Psi(X) V}\,dW, \qquad
        \Phi W = \lim_{\Delta \to 0} \frac{E[\Delta X | X]}{\Delta}, \quad
        \Psi V = \lim_{\Delta \to 0} \frac{E[\Delta X^2 | X]}{\Delta}

    These are the first two Kramers-Moyal coefficients. Increments are regressed on ``Φ``, each
    weighted by its noise, and their squared residuals on ``Ψ``. Gaps may differ; they must be short
    beside the time in which the drift changes, unless ``steps="finite"``.

    Parameters
    ----------
    drift : Polynomials, Bins or callable
        Functions ``Φ`` of the drift. A function or module ``(n, d) -> (n, m)`` takes states in the
        units of the data. A model with a module can be saved; one with a function cannot.
    squared_noise : Polynomials, Bins or callable
        Functions ``Ψ`` of the squared noise amplitude, by default a constant for every feature.
    steps : {"short", "finite"}
        "finite" takes the logarithm of the linear map over a gap, right for gaps of any length, for
        ``Polynomials(degree=1)`` with constant noise and equal gaps.
    observation_noise : {"none", "white", "averaged"}
        "white": observations have independent errors, whose size is learned. "averaged": states are
        means over the gap before, like velocities that are differences of positions. In both the
        noise of the process is constant.
    inertia : bool
        The first half of the features are positions and the second half their velocities, as
        :func:`~dyninfer.tools.with_velocities` makes them: ``dx = v dt``, and both libraries are of
        ``dv = Φ(x, v) W dt + √(Ψ(x, v) V) dW``.
    sparse : bool
        Keep only the drift functions that the Bayesian information criterion supports. Polynomials
        are then in powers of the states themselves.

    Attributes
    ----------
    process_ : ScaledDiffusion
    coefficients_ : DataFrame
        ``part`` ("drift" or "squared noise"), ``feature``, ``function``, ``coefficient`` in the
        units of the data, and ``standard_error`` by Gaussian theory.
    observation_noise_ : array ``(feature,)``
        Standard deviation of the errors of observations; 0 where none were assumed.
    history_ : DataFrame
        One row; ``loss`` is minus the mean log-likelihood of an Euler step, standardised.

    References
    ----------
    Siegert, Friedrich, Peinke. Analysis of data sets of stochastic systems. Phys. Lett. A 243,
    1998. Brunton, Proctor, Kutz. Discovering governing equations from data by sparse identification
    of nonlinear dynamical systems. PNAS 113, 2016. Brückner, Ronceray, Broedersz. Inferring the
    dynamics of underdamped stochastic systems. Phys. Rev. Lett. 125, 2020.

    Examples
    --------
    >>> import numpy as np
    >>> import dyninfer as di
    >>> process = di.simulators.OrnsteinUhlenbeck(rate=1.0, sigma=0.5, dimension=1)
    >>> paths = process.paths(np.arange(0, 20, 0.05), 20)
    >>> model = di.KramersMoyal(drift=di.Polynomials(degree=1)).fit(paths, progress=False)
    >>> bool(abs(model.coefficients_["coefficient"][1] + 1) < 0.2)
    True
    """

    citation: ClassVar[str] = (
        "@article{siegert1998analysis,\n"
        "  title={Analysis of data sets of stochastic systems},\n"
        "  author={Siegert, Silke and Friedrich, Rudolf and Peinke, Joachim},\n"
        "  journal={Physics Letters A},\n  volume={243},\n  pages={275--280},\n  year={1998}\n}"
    )
    tables: ClassVar[tuple[str, ...]] = ("history_", "coefficients_")
    reason_against_snapshots: ClassVar[str] = (
        "increments are differences of one individual, which unpaired samples do not show"
    )

    # A new object for every model: set_params changes the parts in place.
    drift: Library | Callable[..., Any] = field(default_factory=Polynomials)
    squared_noise: Library | Callable[..., Any] = field(
        default_factory=lambda: Polynomials(degree=0)
    )
    steps: str = "short"
    observation_noise: str = "none"
    inertia: bool = False
    sparse: bool = False

    def check(self) -> None:
        """Raise a ValueError or TypeError that names an invalid setting."""
        check_library(self.drift, "drift")
        check_library(self.squared_noise, "squared_noise")
        check_word(self.steps, "steps", ("short", "finite"))
        check_word(self.observation_noise, "observation_noise", ("none", "white", "averaged"))
        if self.steps == "finite":
            self._check_finite_steps()
        if self.observation_noise != "none":
            _check_constant(self.squared_noise, f"observation_noise={self.observation_noise!r}")
        if self.sparse:
            self._check_sparse()
        if self.inertia:
            self._check_inertia()

    def facts(self, data: Paths, seed: int = 0) -> dict[str, Any]:
        """What the libraries depend on, such as the range of the data."""
        states = whole_states(data)
        facts: dict[str, Any] = {}
        if self.inertia:
            facts["gap"] = usual_gap(data)
        libraries = {"drift": self.drift, "squared_noise": self.squared_noise}
        for name, library in libraries.items():
            if isinstance(library, Library):
                facts[name] = library.facts(states)
        return facts

    def build(self, data: Paths | None, scaling: Scaling) -> ScaledDiffusion:
        """Return the process with coefficients of zero, in the user's units."""
        of_drift = self.facts_.get("drift", {})
        of_noise = self.facts_.get("squared_noise", {})
        drift_functions = library_of(self.drift, of_drift, scaling)
        noise_functions = library_of(self.squared_noise, of_noise, scaling)
        if self.sparse and isinstance(drift_functions, Monomials):
            drift_functions.start_at_zero()
        inner: LibraryDiffusion
        if self.inertia:
            gap = self.facts_["gap"] / scaling.duration
            inner = InertialDiffusion(drift_functions, noise_functions, scaling, gap)
        else:
            inner = LibraryDiffusion(drift_functions, noise_functions, scaling.n_features)
        return ScaledDiffusion(inner, scaling)

    def learn(self, process: Any, data: Paths, run: Run) -> Outcome:
        """Regress increments: there are no steps of training."""
        scaling = self.scaling_
        increments = Increments.of(data, scaling)
        inner = process.inner
        if isinstance(inner, InertialDiffusion):
            check_velocities(increments, inner, data.features)
        equation = self._equation(inner, increments)
        inner.learn(equation.drift.weights, equation.noise.weights)
        say_what_does_not_fit(inner, equation, increments, self._memory())
        # Positions have no noise of their own.
        deviation = np.zeros(scaling.n_features)
        deviation[inner.moving] = np.sqrt(equation.noise_variance)
        lengths = scaling.user_displacements(torch.as_tensor(deviation))
        # With the facts, for a file holds them.
        self.facts_["observation_noise"] = lengths.tolist()
        self.coefficients_ = coefficient_table(inner, equation, scaling, data.features)
        each = euler_log_likelihoods(inner, increments)
        # One row, as least squares are solved at once.
        history = pd.DataFrame({"step": [1], "loss": [-each.mean()]})
        return Outcome(history=history, status="finished")

    def intervals(self, level: float = 0.95) -> pd.DataFrame:
        """Coefficients with normal intervals from their standard errors.

        Functions that ``sparse=True`` left out have none; the errors ignore the selection itself.

        Parameters
        ----------
        level : float
            Coverage.

        Returns
        -------
        DataFrame
            :attr:`coefficients_` with ``lower`` and ``upper``.
        """
        self._check_fitted()
        table = self.coefficients_.copy()
        middle = 1 + check_level(level)
        quantile = NormalDist().inv_cdf(middle / 2)
        reach = quantile * table["standard_error"]
        coefficient = table["coefficient"]
        table["lower"] = coefficient - reach
        table["upper"] = coefficient + reach
        return table

    def bootstrap(
        self,
        data: AnnData | Paths,
        *,
        n_samples: int = 200,
        level: float = 0.95,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Coefficients with intervals, from fits to resampled paths.

        The intervals hold where paths differ more than the noise explains, where steps are not
        short, and after ``sparse=True``, since every draw chooses its own functions. Paths must be
        independent.

        Parameters
        ----------
        data : AnnData or Paths
            The data of the fit; paths that were held out are left out here as well.
        n_samples : int
            Draws.
        level : float
        seed : int

        Returns
        -------
        DataFrame
            :attr:`coefficients_`, with ``standard_error`` the standard deviation over the draws,
            and ``lower`` and ``upper`` their quantiles.

        Raises
        ------
        ValueError
            If there are fewer than ten paths or two draws (too few to show a spread), the data are
            not those of the fit, or a draw cannot be fitted.
        """
        self._check_fitted()
        paths = self._as_paths(data)
        is_held_out = np.isin(paths.names, self.hold_out_)
        paths = paths[np.flatnonzero(~is_held_out)]
        n = len(paths)
        if n < _FEWEST_PATHS:
            raise ValueError(
                f"bootstrap draws whole paths and needs at least {_FEWEST_PATHS} of them, found "
                f"{n}; cut long paths into pieces that are longer than their memory"
            )
        if digest(paths) != self.provenance_.digest:
            raise ValueError(
                "the paths given to bootstrap are not those of the fit: its intervals would miss "
                "the coefficients; give the data of the fit"
            )
        tail = (1 - check_level(level)) / 2
        if check_count(n_samples) < 2:
            raise ValueError("n_samples must be at least 2, found 1, which shows no spread")
        rng = numpy_stream(check_seed(seed), "bootstrap")
        increments = Increments.of(paths, self.scaling_)
        inner = self.process_.inner
        draws = []
        for _ in range(n_samples):
            numbers = rng.integers(n, size=n)
            try:
                equation = self._equation(inner, increments.drawn(numbers))
            except ValueError as error:
                raise ValueError(
                    "without some paths a draw cannot be fitted, for example if only one path "
                    "visits a box of Bins; use a smaller library, or intervals()"
                ) from error
            again = coefficient_table(inner, equation, self.scaling_, paths.features)
            draws.append(again["coefficient"])
        every = np.stack(draws)
        table = self.coefficients_.copy()
        table["standard_error"] = every.std(0)
        table["lower"] = np.quantile(every, tail, axis=0)
        table["upper"] = np.quantile(every, 1 - tail, axis=0)
        return table

    def log_likelihoods(self, paths: Paths, seed: int = 0) -> ndarray | None:
        """Log-likelihood of every path ``(n,)`` given its first state, of Gaussian Euler steps.

        None where steps are not short, observations are noisy or averaged, or a particle has
        inertia, whose positions have no density given the velocities.
        """
        if self.steps == "finite" or self.observation_noise != "none" or self.inertia:
            return None
        increments = Increments.of(paths, self.scaling_)
        each = euler_log_likelihoods(self.process_.inner, increments)
        scaled = torch.as_tensor(each)
        each = self.scaling_.user_log_densities(scaled).numpy()
        return np.bincount(increments.path, each, len(paths))

    def observe(self, states: Tensor, seed: int = 0) -> Tensor:
        """Observations of states ``(path, time, feature)``, with their errors."""
        if self.observation_noise != "white":
            return states
        generator = stream(seed, "observation noise", device=states.device)
        normals = torch.randn(
            states.shape,
            generator=generator,
            dtype=states.dtype,
            device=states.device,
        )
        deviation = torch.as_tensor(self.observation_noise_)
        return states + normals * deviation.to(states)

    @property
    def observation_noise_(self) -> ndarray:
        """Standard deviation of the errors of observations ``(feature,)``, in data units."""
        self._check_fitted()
        return np.array(self.facts_["observation_noise"])

    def _memory(self) -> float | None:
        """Correlation of neighbouring residuals where the equation is right; None if unknown."""
        if self.steps == "finite" or self.observation_noise == "white":
            return None
        if self.observation_noise == "averaged":
            return MEMORY_OF_MEANS
        return 0.0

    def _equation(self, inner: LibraryDiffusion, increments: Increments) -> Equation:
        columns = columns_at(inner.drift_functions, increments.start)
        if self.steps == "finite":
            return finite_steps(increments, columns)
        if self.observation_noise != "none":
            after = None
            if self.observation_noise == "averaged":
                after = columns_at(inner.drift_functions, increments.start + increments.step)
            return noisy_observations(increments, columns, inner.moving, after)
        noise_columns = columns_at(inner.noise_functions, increments.start)
        return short_steps(
            columns,
            noise_columns,
            increments.step[:, inner.moving],
            increments.gap,
            self.sparse,
        )

    def _check_finite_steps(self) -> None:
        _check_constant(self.squared_noise, "steps='finite'")
        library = self.drift
        if not isinstance(library, Polynomials) or library.degree != 1:
            raise ValueError(
                "steps='finite' needs drift=Polynomials(degree=1): only for a linear drift is the "
                f"map over a gap known; found {library}"
            )
        if self.observation_noise != "none":
            raise ValueError(
                "steps='finite' assumes exact observations; use FractionalSDE for a linear "
                "equation with noisy observations and gaps of any length"
            )

    def _check_inertia(self) -> None:
        if self.steps == "finite":
            raise ValueError(
                "inertia=True needs steps='short': the logarithm would give positions a noise"
            )
        if self.observation_noise == "white":
            raise ValueError(
                "inertia=True takes velocities that were measured (observation_noise='none'), or "
                "made by di.tl.with_velocities ('averaged'); of noisy positions neither is right"
            )

    def _check_sparse(self) -> None:
        if isinstance(self.drift, Bins):
            raise ValueError(
                "sparse=True leaves functions out, but every box of Bins is needed; use Polynomials"
            )
        if self.steps == "finite" or self.observation_noise != "none":
            raise ValueError(
                "sparse=True compares likelihoods of short, exactly observed steps; leave "
                "steps and observation_noise at their defaults"
            )


def _check_constant(library: Any, reason: str) -> None:
    """Refuse noise that depends on the state where it must not."""
    if not isinstance(library, Polynomials) or library.degree != 0:
        raise ValueError(
            f"{reason} needs constant noise, squared_noise=Polynomials(degree=0); found {library}"
        )
