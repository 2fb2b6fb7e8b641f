"""Settings of an equation with fractional noise, one object for every choice that has parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from numpy import ndarray

from dyninfer.fractional.default_training import default_training
from dyninfer.fractional.families import Families
from dyninfer.fractional.index_settings import changes, check_hurst
from dyninfer.fractional.localisation import Localisation
from dyninfer.fractional.noise.motion import Kind
from dyninfer.fractional.setting_checks import check_at_least, check_part
from dyninfer.fractional.views import View, check_views
from dyninfer.learning.parallel import pick_device
from dyninfer.learning.settings import Settings, brief
from dyninfer.learning.training import Training

LINEAR_DRIFTS = ("linear", "none", "constant")


@dataclass(kw_only=True, repr=False, eq=False)
class FractionalNoise(Settings):
    """Fractional Brownian noise that drives the equation, in its Markov approximation.

    Parameters
    ----------
    hurst : float, "linear", list of times, or function of time, optional
        None learns the Hurst index; a number fixes it. "linear" learns a straight line from the
        first to the last time of the data; a list of times, straight lines between these knots. A
        module ``(m,) -> (m,)`` of times is trained; any other function is kept fixed.
    per_dimension : bool
        Whether every coordinate has its own index, instead of one for all.
    kind : {"I", "II"}
        "I" has stationary increments and a past; "II" starts with the path (Riemann-Liouville).
    n_nodes : int
        Number of Ornstein-Uhlenbeck processes besides the Brownian motion itself. More nodes
        approximate small ``H`` better.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.FractionalSDE(noise=di.FractionalNoise(hurst=0.5))  # no memory
    FractionalSDE(noise=FractionalNoise(hurst=0.5), state=Observed())
    """

    hurst: float | str | ndarray | Callable[..., Any] | None = None
    per_dimension: bool = False
    kind: Kind = "I"
    # With twelve, an index of 0.1 is found 0.015 too low; fewer are worse there.
    n_nodes: int = 12

    @property
    def changes(self) -> bool:
        """Whether the index is a function of time."""
        return changes(self.hurst)

    def check(self) -> None:
        """Raise a ValueError that names an invalid setting."""
        self.check_kinds("noise.")
        check_hurst(self.hurst, self.per_dimension)
        if self.kind not in ("I", "II"):
            raise ValueError(f"noise.kind must be one of I, II, found {brief(self.kind)}")
        check_at_least(self, "noise.", {"n_nodes": 1})


@dataclass(kw_only=True, repr=False, eq=False)
class Observed(Settings):
    """The coordinates of the equation are the features themselves.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.FractionalSDE(state=di.Observed()).state
    Observed()
    """

    @property
    def is_linear(self) -> bool:
        """Whether the readout is linear."""
        return True

    def check(self) -> None:
        """Nothing to check."""


@dataclass(kw_only=True, repr=False, eq=False)
class Latent(Settings):
    """The coordinates of the equation are latent; a decoder maps them to the features.

    Parameters
    ----------
    dim : int
        Number ``d`` of coordinates.
    decoder : {"linear", "network"} or module
        Readout of the coordinates: a module
        ``(x (n, d), content (n, content_dim) or None) -> (n, feature)`` gives standardised means.
        With a module all features share one shift and scale.
    encoder : {"network"} or module, optional
        Reads paths for the posterior of the coordinates; None is the network, if one is needed. A
        module ``(values (P, L, feature), mask (P, L, feature) of 0 and 1, times (P, L)) ->``
        :class:`~dyninfer.fractional.inference.Encoding` of ``mean (P, L, d)``, ``log_variance (P,
        L, d)``, ``context (P, L, c)`` and ``content (P, content_dim)`` or None; ``c`` is its
        attribute ``n_context``. Values are standardised, 0 where missing. Modules get numbers in
        the precision of their parameters; single precision cannot resolve times far from 0.
    content_dim : int
        Number of values that are constant along a path and are passed to the decoder with the
        state.
    views : list of View, optional
        For a linear decoder: kinds of features, in order, each with the coordinates that it depends
        on. Predicted features are means, so rates for counts.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.FractionalSDE(state=di.Latent(dim=2), drift="network").state
    Latent(dim=2)
    """

    dim: int
    decoder: str | Callable[..., Any] = "linear"
    encoder: str | Callable[..., Any] | None = None
    content_dim: int = 0
    views: list[View] | None = None

    @property
    def is_linear(self) -> bool:
        """Whether the readout is linear and needs no encoder."""
        is_plain = self.decoder == "linear" and self.encoder is None and self.content_dim == 0
        return is_plain and not self.families.has_counts

    @property
    def families(self) -> Families:
        """Laws of the observations."""
        return Families(self.views or ())

    def check(self) -> None:
        """Raise a ValueError or TypeError that names an invalid setting."""
        self.check_kinds("state.")
        check_at_least(self, "state.", {"dim": 1, "content_dim": 0})
        check_part("state.decoder", self.decoder, ("linear", "network"))
        if self.encoder is not None:
            check_part("state.encoder", self.encoder, ("network",))
        if self.views is not None:
            if self.decoder != "linear" or self.content_dim:
                raise ValueError(
                    "state.views need decoder='linear' and content_dim=0: which features depend on "
                    "which coordinates can be set for linear readouts only"
                )
            check_views(self.views, self.dim)


@dataclass(kw_only=True, repr=False, eq=False)
class Exact(Settings):
    """Maximise the exact likelihood by L-BFGS, for linear drift and readout.

    Parameters
    ----------
    max_steps : int
        Largest number of steps.
    device : str
        Device of the likelihoods, in double precision: "cuda" is faster for many paths with
        different times. The model stays there.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.FractionalSDE(inference=di.Exact(max_steps=100)).inference
    Exact(max_steps=100)
    """

    # L-BFGS needs 20 to 100 steps for a few coordinates.
    max_steps: int = 300
    # Each step is many small products, which a CPU makes sooner.
    device: str = "cpu"

    def check(self) -> None:
        """Raise a ValueError that names an invalid setting."""
        self.check_kinds("inference.")
        check_at_least(self, "inference.", {"max_steps": 1})

    def place(self, model: Any, series: Any) -> Any:
        """Move a model to its device, and return its series there."""
        device = pick_device(self.device)
        model.to(device)
        return series.to(device)


@dataclass(kw_only=True, repr=False, eq=False)
class Variational(Settings):
    """Maximise the evidence lower bound by stochastic gradients, for networks and modules.

    Parameters
    ----------
    control : {"network"} or module, optional
        Residual control ``(t (n,), x (n, d), y (n, d, K), context (n, c)) -> (n, d)`` of the
        posterior; None leaves it out.
    n_samples : int
        Draws per path in a training step; a likelihood uses ten times as many.
    n_steps : int
        Solver steps between two observations.
    window : int, optional
        Train on random windows of this many times.
    grow : int
        Training steps over which windows grow from ``window`` to whole paths; 0 keeps them.
    anneal : int
        Training steps over which the divergence from the prior reaches its full weight.
    path_weight : float
        Weight ``w`` of the divergence from the prior. The optimum is the posterior of the
        likelihood to the power ``1/w``: below 1 paths trust the data more, above 1 the equation.
        Unless it is 1, no likelihood is bounded, and none is reported.
    read_first : int, optional
        The posterior reads only this many first observations of each path; the control extends it.
    width, depth : int
        Units of a hidden layer, and number of hidden layers, of the networks.
    training : Training, optional
        By default settings for a few dozen paths. ``validation_fraction`` is a share of the paths.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.FractionalSDE(inference=di.Variational(n_samples=4), drift="network").inference
    Variational(n_samples=4)
    """

    control: str | Callable[..., Any] | None = "network"
    n_samples: int = 8
    # Four cost twice as much, and bend the index of a double well 0.01 to 0.04 less.
    n_steps: int = 2
    window: int | None = None
    grow: int = 0
    anneal: int = 0
    path_weight: float = 1.0
    read_first: int | None = None
    width: int = 64
    depth: int = 2
    training: Training | None = None

    def check(self) -> None:
        """Raise a ValueError or TypeError that names an invalid setting."""
        self.check_kinds("inference.")
        least = {"n_samples": 1, "n_steps": 1, "width": 1, "depth": 1, "grow": 0, "anneal": 0}
        check_at_least(self, "inference.", least)
        # A window of one time has no move in it.
        check_at_least(self, "inference.", {"window": 2, "read_first": 1})
        if not 0 < self.path_weight < math.inf:
            raise ValueError(
                "inference.path_weight must be positive and finite, found "
                f"{brief(self.path_weight)}; 1 is the evidence lower bound"
            )
        if self.control is not None:
            check_part("inference.control", self.control, ("network",))
        if self.grow and self.window is None:
            raise ValueError(
                "inference.grow sets how fast windows grow to whole paths, but window is None; "
                "give window"
            )
        if self.training is not None:
            self.training.check()
            # Steps of different lengths are compiled one by one: a second did not end in 100 s.
            if self.training.compile:
                raise ValueError(
                    "training.compile=True compiles every step of a walk anew, which takes longer "
                    "than the fit; leave it out"
                )


@dataclass(frozen=True, kw_only=True)
class EquationSettings:
    """All settings of one equation, and what follows from them together.

    Attributes
    ----------
    noise, drift, diffusion, state, inference, observation_noise
        Those of :class:`dyninfer.FractionalSDE`.
    """

    noise: FractionalNoise
    drift: str | Callable[..., Any]
    diffusion: str | Callable[..., Any]
    state: Observed | Latent
    inference: Exact | Variational | None
    observation_noise: float | Localisation | None

    @property
    def localisation(self) -> Localisation | None:
        """How positions are seen, where exposures count."""
        noise = self.observation_noise
        return noise if isinstance(noise, Localisation) else None

    @property
    def error(self) -> float | None:
        """Known deviation of the observations, in the units of the data."""
        noise = self.observation_noise
        if isinstance(noise, Localisation):
            return noise.common_error
        return noise

    @property
    def chosen_inference(self) -> Exact | Variational:
        """That of the user, or exact where all is linear, else variational."""
        if self.inference is not None:
            return self.inference
        if self.nonlinear_part() is None:
            return Exact()
        return Variational()

    def training(self, max_steps: int | None = None) -> Training | None:
        """Settings of the training loop, as they are used; the exact likelihood has none."""
        inference = self.chosen_inference
        if isinstance(inference, Exact):
            return None
        training = inference.training or default_training()
        if max_steps is not None:
            training = replace(training, max_steps=max_steps)
        return training.check()

    @property
    def has_one_scale(self) -> bool:
        """Whether all features share shift and scale, as a decoder of the user's own needs."""
        return isinstance(self.state, Latent) and callable(self.state.decoder)

    def nonlinear_part(self) -> str | None:
        """Half a sentence that names what keeps the likelihood from being exact."""
        if self.drift not in LINEAR_DRIFTS:
            return "drift is a network or a module"
        if self.diffusion != "constant":
            return "diffusion depends on the state"
        if not self.state.is_linear:
            return "state has a decoder or encoder that is not linear, or counts"
        return None

    def check(self) -> None:
        """Raise a ValueError or TypeError that names an invalid setting."""
        self.noise.check()
        self.state.check()
        check_part("drift", self.drift, (*LINEAR_DRIFTS, "network"))
        check_part("diffusion", self.diffusion, ("constant", "network"))
        if self.inference is not None:
            self.inference.check()
        if self.localisation is not None:
            self.localisation.check()
            self._check_localisation()
        deviation = self.error
        if deviation is not None and not 0 < deviation < math.inf:
            raise ValueError(
                f"observation_noise must be positive, or None to be learned; found {deviation}"
            )
        self._check_together()

    def _check_localisation(self) -> None:
        """Raise a ValueError unless averages of the motion have a closed form."""
        reason = self.nonlinear_part()
        if self.drift == "linear":
            reason = "drift is 'linear'; give drift='none' or 'constant'"
        elif isinstance(self.state, Latent):
            reason = "state is latent"
        elif self.noise.kind == "II":
            reason = "noise.kind is 'II'"
        elif self.noise.changes:
            reason = "noise.hurst changes in time"
        elif isinstance(self.inference, Variational):
            reason = "inference is Variational"
        if reason is not None:
            raise ValueError(
                "observation_noise=Localisation(...) is for free fractional motion of the "
                f"features, fitted exactly, but {reason}"
            )

    def check_window(self) -> None:
        """Raise a ValueError where a part of a path cannot stand for the whole."""
        part = "kind='II'" if self.noise.kind == "II" else "an index that changes"
        if self.noise.kind == "II" or self.noise.changes:
            raise ValueError(
                f"noise of {part} starts with the path, so no window can stand for a path; "
                "leave out one of the two"
            )

    def _check_together(self) -> None:
        inference = self.chosen_inference
        # Two parts may each be right, and not together.
        if isinstance(inference, Variational):
            if inference.window is not None:
                self.check_window()
        elif self.nonlinear_part() is not None:
            raise ValueError(
                f"inference=Exact() needs a linear equation, but {self.nonlinear_part()}; "
                "leave inference out, or give Variational()"
            )


def without_place(inference: Exact | Variational | None) -> Exact | Variational | None:
    """An inference without what a run that is taken up may change: steps, and device."""
    if isinstance(inference, Variational):
        return replace(inference, training=None)
    if isinstance(inference, Exact):
        return replace(inference, device="cpu")
    return inference
