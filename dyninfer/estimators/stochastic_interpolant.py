"""Stochastic interpolants: velocity and score between snapshots; noise is chosen afterwards."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

import numpy as np
import torch
from sklearn.base import clone
from torch import nn

from dyninfer.data.snapshots import Snapshots
from dyninfer.diffusions import ScaledDiffusion
from dyninfer.estimators.conditions import ConditionedEstimator
from dyninfer.estimators.own_network import vector_network
from dyninfer.learning.network_checks import check_module
from dyninfer.learning.networks import VectorNetwork
from dyninfer.learning.objective import Objective
from dyninfer.learning.random import stream, subseed
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.settings import brief
from dyninfer.transport.couplings import (
    CoupledSamples,
    Coupling,
    OTCoupling,
    as_coupling,
)
from dyninfer.transport.curves import DensityCurve, conserving
from dyninfer.transport.interpolants import (
    BrownianNoise,
    Interpolant,
    LatentNoise,
    LinearInterpolant,
    as_interpolant,
    as_latent_noise,
)
from dyninfer.transport.interpolated import GaussianBase, InterpolatedDiffusion, SecondNetwork
from dyninfer.transport.linear_part import WithLinearPart
from dyninfer.transport.objectives import BridgeObjective, MatchingObjective, SameRows, kl_bound
from dyninfer.transport.objectives.bound import check_bounded, check_times
from dyninfer.transport.objectives.rows import carried, check_standard_normal
from dyninfer.transport.own_curves import check_own_curve
from dyninfer.transport.schedule import Schedule

if TYPE_CHECKING:
    from anndata import AnnData

Second = Literal["score", "denoiser", "none"]


@dataclass(kw_only=True, repr=False, eq=False)
class StochasticInterpolant(ConditionedEstimator):
    r"""Stochastic interpolants between snapshots, including flow matching and rectified flow.

    Between coupled samples ``x_0, x_1`` of neighbouring snapshots lies the interpolant ``x_t = I(t,
    x_0, x_1) + γ(t) z`` with ``z`` standard normal. Its density ρ_t passes through the snapshots,
    and follows

    .. math:: dX = b\,dt \pm \varepsilon(t)\,s\,dt + \sqrt{2\varepsilon(t)}\,dW, \qquad
        b = E[\partial_t I + \gamma' z \,|\, x_t = x], \quad
        s = \nabla\log\rho_t = -E[z \,|\, x_t = x]/\gamma

    for every ε(t) ≥ 0, forward (+) and backward (−) in time. Both conditional expectations are
    learned by least squares; ε is chosen when simulating: ``simulate(..., noise=ε)``, where 0 is
    the deterministic flow.

    Special cases: with ``gamma="none"`` this is conditional flow matching, and with optimal
    transport pairs OT-CFM; :meth:`rectify` turns it into rectified flow; with
    ``interpolant="one-sided"`` it is a score-based diffusion model.

    Parameters
    ----------
    interpolant : str or Interpolant
        "linear", "trigonometric", "encoder-decoder", "one-sided", "mirror" or "spline". How a point
        moves between coupled samples: :mod:`dyninfer.transport.interpolants`. "spline" passes
        smoothly through chains of samples of all snapshots; the others connect neighbouring
        snapshots. Your own interpolant is a class with ``coefficients(t)``, or with any
        ``position(t, x0, x1)`` that begins at ``x0`` and ends at ``x1``, in the units of the data.
    gamma : {"auto", "none", "brownian", "quadratic", "sine"} or LatentNoise
        Latent noise γ(t), zero at the snapshots. "auto" takes the one that suits the interpolant.
    coupling : {"auto", "ot", "unbalanced", "growth_first", "independent"} or Coupling
        Which samples are paired. "auto" is "ot" ("independent" for one-sided interpolants, which
        need it, and for bridges). With a coupling that changes mass, or with masses in the data, a
        growth rate is learned as well and weights are simulated.
    second : {"score", "denoiser", "none"}
        What a second network learns besides the velocity: the score; the denoiser η = −γ s, which
        is divided by γ to give the score (better where populations are narrow, worse near the
        snapshots); or nothing.
    bridge_sigma : float, optional
        σ > 0 finds the Schrödinger bridge of ``σ dW``: the interpolant is bent so that the drift b
        + ½σ²s at noise ε = ½σ² is least, by the max-min problem of section 3.4 of the paper. γ is
        then √(σ² t (1 − t)). ``simulate(..., noise=0.5 * sigma**2)`` runs the bridge. In state
        units per square root of time.
    linear_part : bool
        Whether the network learns only what it adds to a velocity that is linear in each feature.
        That part is known from means, variances and covariances of the pairs. It helps in many
        features, where partners are nearly independent; ``tl.tune`` tries it last.
    control : str, optional
        Condition whose samples stand in for another condition at times before that one first
        appears, such as the untreated cells before a perturbation.
    network : torch module, optional
        Your own network for the velocity, and a second copy for the score or the denoiser:
        ``(t (n,), x (n, d)) -> (n, d)``, with the vector of the condition ``c (n, m)`` as a third
        argument where there are conditions. It sees times from 0 to 1 and standardised states.
        Every fit trains copies, which begin with the module's weights whatever the seed. Files hold
        their weights and no code: ``di.load(path, network=...)``.
    width, depth : int
        Units of a hidden layer, and number of hidden layers, of the built-in networks; next to your
        own network these are those of growth and of the interpolant of a bridge.
    activation : {"silu", "softplus", "tanh"}
        Activation of the network.
    scale : {"global", "feature"} or None
        How states are standardised inside. Interpolants whose coefficients do not sum to one act on
        the standardised states.
    training : Training, optional
        Settings of the training loop.

    Attributes
    ----------
    process_ : ScaledDiffusion
        Of an InterpolatedDiffusion. What was learned, in the units of the data: ``drift`` (the
        velocity b), ``score``, ``denoiser``, ``growth``.
    history_ : DataFrame
        One row per logged step; the losses are in scaled units and omit their constant parts, so
        they may be negative.

    References
    ----------
    Albergo, Boffi, Vanden-Eijnden. Stochastic interpolants: a unifying framework for flows and
    diffusions. arXiv 2303.08797.

    Examples
    --------
    >>> import dyninfer as di
    >>> snapshots = di.simulators.OrnsteinUhlenbeck().snapshots([0.0, 0.5, 1.0], 200, seed=0)
    >>> model = di.StochasticInterpolant().fit(snapshots, max_steps=20, progress=False)
    >>> model.simulate(snapshots.at(0.0), [0.0, 0.5, 1.0], noise=0.1).states.shape
    torch.Size([200, 3, 2])
    """

    citation: ClassVar[str] = (
        "@article{albergo2023stochastic,\n"
        "  title={Stochastic Interpolants: A Unifying Framework for Flows and Diffusions},\n"
        "  author={Albergo, Michael S. and Boffi, Nicholas M. and Vanden-Eijnden, Eric},\n"
        "  journal={arXiv:2303.08797},\n  year={2023}\n}"
    )

    with_units: ClassVar[tuple[str, ...]] = ("bridge_sigma",)

    interpolant: str | Interpolant = "linear"
    gamma: str | LatentNoise = "auto"
    coupling: str | Coupling = "auto"
    second: Second = "score"
    bridge_sigma: float | None = None
    linear_part: bool = False
    network: nn.Module | None = None
    width: int = 128
    depth: int = 3
    activation: str = "silu"

    def check(self) -> None:
        """Raise a ValueError that names an invalid setting."""
        interpolant = as_interpolant(self.interpolant)
        as_latent_noise(self.gamma, interpolant)
        self._check_bridge(interpolant)
        if self.linear_part and not self._has_moments():
            name = "interpolant" if self.bridge_sigma is None else "bridge_sigma"
            raise ValueError(
                "linear_part=True needs pairs of cells and a built-in curve between them, "
                f"found {name}={brief(getattr(self, name))}; leave one of the two out"
            )
        if self.second not in get_args(Second):
            raise ValueError(
                f"second must be one of {', '.join(get_args(Second))}, found {brief(self.second)}"
            )
        if self.coupling != "auto":
            as_coupling(self.coupling)
        if self.network is not None:
            check_module(self.network)
        if interpolant.gaussian_base and self.coupling not in ("auto", "independent"):
            raise ValueError(
                f"a {type(interpolant).__name__} draws its start independently of the "
                f"data; leave coupling='auto' (found {brief(self.coupling)})"
            )

    def _check_bridge(self, interpolant: Interpolant) -> None:
        sigma = self.bridge_sigma
        if sigma is None:
            return
        if not 0 < sigma < math.inf:
            raise ValueError(f"bridge_sigma must be positive, or None for no bridge; found {sigma}")
        is_conserving = self._coupling().conserves_mass
        is_linear = isinstance(interpolant, LinearInterpolant)
        is_straight = is_linear and not interpolant.is_own_curve
        for name, needed, fits in (
            ("coupling", "'auto' or another that conserves mass", is_conserving),
            ("interpolant", "'linear'", is_straight),
            ("gamma", "'auto'", self.gamma == "auto"),
            ("second", "'score'", self.second == "score"),
        ):
            if not fits:
                raise ValueError(
                    f"bridge_sigma needs {name}={needed}, found {brief(getattr(self, name))}; "
                    "leave one of the two out"
                )

    def _has_moments(self) -> bool:
        """Whether moments of the pairs say how a velocity begins."""
        interpolant = as_interpolant(self.interpolant)
        # Of a curve only points are known, noise has no pairs, and a bridge looks for its own.
        is_plain = not interpolant.is_own_curve and not interpolant.gaussian_base
        return is_plain and self.bridge_sigma is None

    @property
    def conserves_mass(self) -> bool:
        """Whether no growth is learned; a bridge never learns any."""
        return self.bridge_sigma is not None

    def search_space(self) -> dict[str, list[dict[str, Any]]]:
        """Growth before transport, where pairs are optimal; then a linear part of the velocity."""
        space: dict[str, list[dict[str, Any]]] = {}
        if isinstance(self._coupling(), OTCoupling):
            space["coupling"] = [{"coupling": "growth_first"}]
        # Last: it makes the flow follow its pairs, so that these must be the right ones.
        if not self.linear_part and self._has_moments():
            space["linear_part"] = [{"linear_part": True}]
        return space

    def facts(self, data: Snapshots, seed: int = 0) -> dict[str, Any]:
        """Times, masses, whether mass changes, and the code of the conditions."""
        mass_changes = data.masses is not None or not self._coupling().conserves_mass
        grows = mass_changes and not self.conserves_mass
        return super().facts(data, seed) | {"grows": grows}

    def build(self, data: Snapshots | DensityCurve | None, scaling: Scaling) -> ScaledDiffusion:
        """Return the untrained process."""
        code = self._code()
        schedule = self._schedule(scaling)
        # Without noise the density has no score that could be learned.
        head = self.second if schedule.noisy and self.second != "none" else None
        grows = self.facts_["grows"]
        d = scaling.n_features
        n_conditions = self._n_conditions()

        motion: Any = vector_network(self, d, n_conditions, grows)
        second = bend = base = law = None
        if grows:
            law = self._growth_law(scaling)
        if head is not None:
            second = SecondNetwork(vector_network(self, d, n_conditions), head)
        if self.bridge_sigma is not None:
            # It corrects straight lines, for which two layers are enough.
            bend = VectorNetwork(2 * d, d, self.width, 2, self.activation, n_conditions)
        if schedule.interpolant.gaussian_base:
            # It is standard normal in the units of the data.
            zero = torch.zeros(d).double()
            one = torch.ones(d).double()
            mean = scaling.states(zero)
            std = scaling.displacements(one)
            base = GaussianBase(mean, std)
        if self.linear_part:
            motion = WithLinearPart(motion, schedule)
        inner = InterpolatedDiffusion(
            motion, schedule, second=second, law=law, code=code, bend=bend, base=base
        )
        return ScaledDiffusion(inner, scaling)

    def make_objective(
        self,
        process: ScaledDiffusion,
        data: Snapshots | DensityCurve,
        scaling: Scaling,
        seed: int,
    ) -> Objective:
        """Return the quadratic losses over the coupled samples of the data."""
        if isinstance(data, DensityCurve):
            raise ValueError(
                "a stochastic interpolant lies between snapshots; give Snapshots or an AnnData "
                "in place of the DensityCurve"
            )
        inner: Any = process.inner
        if inner.schedule.interpolant.gaussian_base:
            check_standard_normal(data)
        training_seed = subseed(seed, "training pairs")
        if self.bridge_sigma is not None:
            samples = self._coupled(process, conserving(data), training_seed)
            amplitude = scaling.amplitude(self.bridge_sigma)
            epsilon = 0.5 * amplitude**2
            return BridgeObjective(process, samples, epsilon)
        samples = self._coupled(process, data, training_seed)
        if inner.schedule.scaling is not None:
            pairs, _ = samples.pairs_in(0)
            check_own_curve(inner.schedule.interpolant, scaling, pairs.knots)
        if self.linear_part:
            generator = stream(seed, "moments of pairs", device=samples.states.device)
            inner.network.take(samples, inner.schedule, inner.noise_length, generator)
        folds = samples.folds(self.training_.validation_fraction, seed)
        return MatchingObjective(process, folds, seed)

    def _coupled(
        self, process: ScaledDiffusion, data: Snapshots, seed: int, *, in_turn: bool = True
    ) -> CoupledSamples:
        """Coupled samples, within the conditions that the process knows."""
        inner = process.inner
        like = next(process.parameters())
        return CoupledSamples(
            replace(data, masses=None),  # they are the mean of the growth, and weigh no time
            process.scaling,
            self._coupling(),
            seed,
            like.device,
            like.dtype,
            chains=inner.schedule.cardinal is not None,
            code=inner.code,
            control=self.control,
            in_turn=in_turn,
        )

    def rectify(self, data: AnnData | Snapshots, *, seed: int = 0, **fit_options: Any) -> Self:
        """Fit a copy to the pairs of the learned flow map: one step of rectified flow.

        See section 5.3 of the paper.

        The samples of the first time are carried through all times by the deterministic flow; each
        sample is paired with the point where it arrives. The new velocity gives the same map along
        straighter lines.

        Parameters
        ----------
        data : AnnData or Snapshots
            Read by the keys that ``fit`` was given; only samples of the first time are used.
        seed : int
        **fit_options
            ``max_steps``, ``progress``, ``checkpoint``: see :meth:`fit`.
        """
        self._check_fitted()
        observed = self._as_snapshots(data).check_finite()
        if as_interpolant(self.interpolant).gaussian_base:
            raise ValueError(
                "rectify needs an interpolant between two samples; use interpolant='linear'"
            )
        # Without noise, where every sample has one arrival.
        run = self.simulate(observed, self.times_, seed=seed)
        grows = self.facts_["grows"]
        pairs = carried(observed, run, conditions=self._has_conditions(), grows=grows)
        coupling = SameRows(grows=grows)
        again = clone(self).set_params(coupling=coupling)
        again.fit(pairs, seed=seed, **fit_options)
        again.provenance_ = replace(again.provenance_, source=self.source_)
        return again

    def kl_bound(
        self,
        data: AnnData | Snapshots,
        noise: float | Callable[[float], float],
        *,
        seed: int = 0,
        **options: Any,
    ) -> dict[str, float]:
        """Upper bound on the divergence of simulations with noise ε from the data.

        See :func:`dyninfer.transport.objectives.kl_bound`.

        Parameters
        ----------
        data : AnnData or Snapshots
            Samples at the times of the fit, preferably ones that were not fitted.
        noise : float or callable
            ε > 0 of the simulation.
        seed : int
        **options
            ``n_points``, ``n_times``.
        """
        self._check_fitted()
        check_bounded(self.process_.inner)
        observed = self._as_snapshots(data).check_finite()
        check_times(self.times_, observed.times)
        samples = self._coupled(self.process_, observed, seed, in_turn=False)
        return kl_bound(self.process_, samples, noise, seed=seed, **options)

    def _coupling(self) -> Coupling:
        if self.coupling != "auto":
            return as_coupling(self.coupling)
        # Noise knows no partner, and a bridge finds its own coupling.
        alone = as_interpolant(self.interpolant).gaussian_base or self.bridge_sigma is not None
        return as_coupling("independent" if alone else "ot")

    def _schedule(self, scaling: Scaling) -> Schedule:
        interpolant = as_interpolant(self.interpolant)
        noise = as_latent_noise(self.gamma, interpolant)
        if self.bridge_sigma is not None:
            noise = BrownianNoise(a=self.bridge_sigma**2)
        times = np.asarray(self.facts_["times"])
        return Schedule.over(times, interpolant, noise, scaling)
