"""Action Matching: the potential whose gradient moves a population along its observed densities."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from torch import nn

from dyninfer.data.snapshots import Snapshots
from dyninfer.diffusions import PotentialDiffusion, ScaledDiffusion
from dyninfer.estimators.conditions import ConditionedEstimator
from dyninfer.estimators.own_network import check_potential, potential_network
from dyninfer.learning.random import subseed
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.settings import brief
from dyninfer.transport.couplings import (
    Coupling,
    as_coupling,
    check_conserved,
    growth_penalty_of,
    priced_couplings,
    scaled_samples,
)
from dyninfer.transport.curves import (
    Curve,
    DensityCurve,
    choose_curve,
    conserving,
    default_coupling,
)
from dyninfer.transport.objectives import ActionObjective


@dataclass(kw_only=True, repr=False, eq=False)
class ActionMatching(ConditionedEstimator):
    r"""Action Matching: plain, entropic, unbalanced, or both.

    Learns a potential ``s(t, x)`` such that the continuity equation

    .. math:: \partial_t q_t = -\nabla\cdot(q_t \nabla s)
        + \tfrac{\sigma^2}{2} \Delta q_t + \lambda s\, q_t

    carries the population from each observed density to the next, by minimising the action

    .. math:: \mathcal L(s) = E_{q_0}[s_0] - E_{q_1}[s_1]
        + \int E_{q_t}\big[\tfrac12|\nabla s|^2 + \partial_t s + \tfrac{\sigma^2}{2} \Delta s
        + \tfrac{\lambda}{2} s^2\big] dt.

    The velocity is ∇s, the growth rate λs. Of all fields that produce these densities, this one has
    the least kinetic energy.

    Parameters
    ----------
    sigma : float
        Noise amplitude σ of the stochastic dynamics ``dX = ∇s dt + σ dW``, in state units per
        square root of time; 0 for a deterministic flow.
    growth_penalty : float or "auto", optional
        λ > 0 lets cells grow and die at rate λs. The larger λ, the cheaper growth is compared with
        motion. In inverse squared state units. "auto" takes 4/D, with D the mean squared distance
        between neighbouring snapshots: replacing a cell then costs as much as carrying it to a
        random cell of the next time. None conserves mass.
    interpolation : {"linear", "cubic", "none"}
        How the density moves between snapshots: along straight lines between coupled cells, along
        smooth curves through all snapshots, or not at all (for snapshots dense in time).
    coupling : {"auto", "ot", "unbalanced", "growth_first", "independent"} or Coupling
        Which samples are paired; "auto" is "unbalanced", at the price that λ sets, where mass may
        change along straight lines, and "ot" elsewhere.
    objective : {"auto", "velocity", "boundary"}
        Two forms of the same action. "boundary" is the formula with E[s_0] − E[s_1] and ∂s/∂t.
        "velocity" uses the velocity and growth of the interpolating curve, known for
        interpolations, in place of ∂s/∂t and the boundary terms: the expectation is the same, the
        variance near the solution lower.
    time_sampling : {"adaptive", "uniform"}
        Whether times are drawn more densely where the integrand varies more.
    control : str, optional
        Condition whose samples stand in for another condition at times before that one first
        appears.
    network : torch module, optional
        Your own network for the potential: ``(t (n,), x (n, d)) -> (n,)``, with the vector of
        the condition ``c (n, m)`` as a third argument where there are conditions. It sees times
        from 0 to 1 and standardised states, and must be smooth. Every fit trains a copy, which
        begins with the module's weights whatever the seed. Files hold its weights and no code:
        ``di.load(path, network=...)``.
    width, depth : int
        Units of a hidden layer, and number of hidden layers, of the potential network.
    activation : {"silu", "softplus", "tanh"}
        Activation of the potential network.
    scale : {"global", "feature"} or None
        How states are standardised inside; "global" keeps distances in proportion, "feature"
        measures every feature in its standard deviations.
    training : Training, optional
        Settings of the training loop.

    Attributes
    ----------
    process_ : ScaledDiffusion
        Of a PotentialDiffusion.
        What was learned, in the units of the data.
    growth_penalty_ : float or None
        The λ that was used.
    history_ : DataFrame
        One row per logged step; ``action`` is the loss in the units of the data.

    References
    ----------
    Neklyudov, Brekelmans, Severo, Makhzani. Action Matching: learning stochastic dynamics from
    samples. ICML 2023, arXiv 2210.06662.

    Examples
    --------
    >>> import dyninfer as di
    >>> snapshots = di.simulators.OrnsteinUhlenbeck().snapshots([0.0, 0.5, 1.0], 200, seed=0)
    >>> model = di.ActionMatching(sigma=0.5).fit(snapshots, max_steps=20, progress=False)
    >>> model.simulate(snapshots.at(0.0), [0.0, 0.5, 1.0]).states.shape
    torch.Size([200, 3, 2])
    """

    citation: ClassVar[str] = (
        "@inproceedings{neklyudov2023action,\n"
        "  title={Action Matching: Learning Stochastic Dynamics from Samples},\n"
        "  author={Neklyudov, Kirill and Brekelmans, Rob and Severo, Daniel and "
        "Makhzani, Alireza},\n"
        "  booktitle={International Conference on Machine Learning},\n"
        "  year={2023},\n  note={arXiv:2210.06662}\n}"
    )

    with_units: ClassVar[tuple[str, ...]] = ("sigma", "growth_penalty")

    sigma: float = 0.0
    growth_penalty: float | Literal["auto"] | None = None
    interpolation: Literal["linear", "cubic", "none"] = "linear"
    coupling: str | Coupling = "auto"
    objective: Literal["auto", "velocity", "boundary"] = "auto"
    time_sampling: Literal["adaptive", "uniform"] = "adaptive"
    network: nn.Module | None = None
    width: int = 128
    depth: int = 3
    activation: str = "silu"

    def check(self) -> None:
        """Raise a ValueError that names an invalid setting."""
        # Zero is a flow, which solvers of ordinary equations run.
        if not 0 <= self.sigma < math.inf:
            raise ValueError(f"sigma must not be negative or infinite, found {self.sigma}")
        self._check_growth_penalty()
        for name, choices in (
            ("interpolation", ("linear", "cubic", "none")),
            ("objective", ("auto", "velocity", "boundary")),
            ("time_sampling", ("adaptive", "uniform")),
        ):
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(
                    f"{name} must be one of {', '.join(choices)}, found {brief(value)}"
                )
        if self.coupling != "auto":
            as_coupling(self.coupling)
        check_potential(self)

    def _check_growth_penalty(self) -> None:
        penalty = self.growth_penalty
        if isinstance(penalty, str):
            if penalty != "auto":
                raise ValueError(
                    f"growth_penalty must be a number, 'auto' or None, found {brief(penalty)}"
                )
        elif penalty is not None and not 0 < penalty < math.inf:
            raise ValueError(
                f"growth_penalty must be positive, or None to conserve mass; found {penalty}"
            )

    @property
    def uses(self) -> frozenset[str]:  # type: ignore[override]
        """Keys that it learns from; without pairs, conditions cannot be kept apart."""
        if self.interpolation == "none":
            return ConditionedEstimator.uses - {"condition_key"}
        return ConditionedEstimator.uses

    @property
    def growth_penalty_(self) -> float | None:
        """λ as it was used; None where mass is conserved."""
        self._check_fitted()
        return self.facts_["growth_penalty"]

    def facts(self, data: Snapshots, seed: int = 0) -> dict[str, Any]:
        """Times, masses, conditions, and λ, set by the scale of the data where it is "auto"."""
        penalty = self.growth_penalty
        if penalty == "auto":
            penalty = growth_penalty_of(data, self.scale)
        return super().facts(data, seed) | {"growth_penalty": penalty}

    @property
    def conserves_mass(self) -> bool:
        """Whether no growth is learned."""
        return self.growth_penalty is None

    def build(self, data: Snapshots | DensityCurve | None, scaling: Scaling) -> ScaledDiffusion:
        """Return the untrained process."""
        n_conditions = self._n_conditions()
        network = potential_network(self, scaling.n_features, n_conditions)
        # A flow without noise is run either way as it is.
        second = None
        if self.sigma:
            second = potential_network(self, scaling.n_features, n_conditions)
        # Settings are in the user's units, and the network sees scaled ones.
        penalty = self.facts_["growth_penalty"]
        law = None
        if penalty is not None:
            penalty = scaling.growth_penalty(penalty)
            law = self._growth_law(scaling)
        inner = PotentialDiffusion(
            network,
            sigma=scaling.amplitude(self.sigma),
            growth_penalty=penalty,
            law=law,
            code=self._code(),
            second=second,
        )
        return ScaledDiffusion(inner, scaling)

    def make_objective(
        self,
        process: ScaledDiffusion,
        data: Snapshots | DensityCurve,
        scaling: Scaling,
        seed: int,
    ) -> ActionObjective:
        """Return the action of the density curve that the data and the settings define."""
        # Masses must not weigh one time more than another: those that the model follows are a
        # known mean of its growth.
        if isinstance(data, Snapshots):
            data = conserving(data) if self.conserves_mass else replace(data, masses=None)
        pair_seed = subseed(seed, "training pairs")
        curve = self._curve(process, data, pair_seed)
        if self.conserves_mass:
            check_conserved(curve.weighted)
        return ActionObjective(
            process,
            curve.folds(self.training_.validation_fraction, seed),
            form=self.objective,
            adaptive_times=self.time_sampling == "adaptive",
            seed=seed,
        )

    def _curve(self, process: ScaledDiffusion, data: Snapshots | DensityCurve, seed: int) -> Curve:
        """Density curve through the data, in the units of the process."""
        penalty = process.inner.growth_penalty
        name = self.coupling
        if name == "auto":
            name = default_coupling(penalty is not None, self.interpolation)
        coupling: Coupling | list[Coupling] = as_coupling(name)
        if self.coupling == "auto" and name == "unbalanced" and isinstance(data, Snapshots):
            # One price: pairs change their mass for what the potential pays for growth.
            samples = scaled_samples(data, process.scaling)
            coupling = priced_couplings(penalty, *samples)
        # The curve is drawn where the network is, so that no batch is copied to a device.
        like = next(process.parameters())
        return choose_curve(
            data,
            process.scaling,
            self.interpolation,
            coupling,
            seed,
            like.device,
            like.dtype,
            code=process.inner.code,
            control=self.control,
        )
