"""Wasserstein Lagrangian flows: the dynamics between snapshots that a Lagrangian prefers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from torch import nn

from dyninfer.data.snapshots import Snapshots
from dyninfer.data.times import spelled
from dyninfer.data.trajectories import Trajectories
from dyninfer.diffusions import PotentialDiffusion, ScaledDiffusion
from dyninfer.estimators.conditions import ConditionedEstimator
from dyninfer.estimators.own_network import check_potential, potential_network
from dyninfer.learning.random import seeded_modules, subseed
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.settings import brief
from dyninfer.learning.warn import warn
from dyninfer.transport.couplings import (
    CoupledSamples,
    Coupling,
    as_coupling,
    check_conserved,
    growth_penalty_of,
    natural_couplings,
)
from dyninfer.transport.curves import DensityCurve, conserving
from dyninfer.transport.curves.learned import LearnedCurve
from dyninfer.transport.lagrangians import (
    Lagrangian,
    OptimalTransport,
    ScaledLagrangian,
    with_bridge,
)
from dyninfer.transport.objectives import DualObjective, Game


@dataclass(kw_only=True, repr=False, eq=False)
class WassersteinLagrangianFlow(ConditionedEstimator):
    r"""Wasserstein Lagrangian flow: transport, a bridge, growth, a potential, or a sum of them.

    Finds, among all density curves through the snapshots, the one of least action, from the dual
    problem

    .. math:: \inf_{q}\, \sup_{s}\; E_{q_1}[s_1] - E_{q_0}[s_0]
        - \int E_{q_t}\big[\partial_t s + H(t, x, s)\big] dt, \qquad
        H = \tfrac12|\nabla s|^2 + \tfrac{\sigma^2}{2}\Delta s + \tfrac{\lambda}{2} s^2 + V

    with a term for each Lagrangian. At the solution the Hamilton-Jacobi equation ``∂s/∂t + H = 0``
    holds along ``q``, the velocity is ∇s, the noise σ and the growth rate λs.

    Parameters
    ----------
    lagrangian : Lagrangian
        Prior knowledge. By default there is none: :class:`OptimalTransport`, for which the flow is
        the model that :class:`ActionMatching` learns by default. Others:
        :class:`SchrodingerBridge`, :class:`UnbalancedTransport`, :class:`PhysicalPotential`,
        :class:`MeanAcceleration`, :class:`DataManifold`, :class:`InternalEnergy`,
        :class:`Congestion`, or a sum of them.
    coupling : {"auto", "ot", "unbalanced", "growth_first", "independent"} or Coupling
        Which samples are paired; "auto" solves the static problem of the Lagrangian without its
        potential: exact, entropic or Wasserstein-Fisher-Rao transport.
    curve_fraction : float, optional
        Share of the steps in which the density curve plays the dual game; in the rest it is fixed
        and the potential settles. None is 0 for the coupling "auto", whose pairs and paths are the
        solution or close to it; on real data the game then made the Hamilton-Jacobi residual worse.
        For another coupling, or a prescribed mass that changes, None is 0.6.
    curve_learning_rate : float
        Peak learning rate of the density curve.
    damping : float
        Share of the pairs' own action in what the curve descends at the start of the game; the rest
        is the dual problem. The share falls to zero. 0 is the bare game, which diverges on most
        real data; 1 leaves every pair on its own best path.
    refinement_steps : int
        Number of steps that move samples along the Wasserstein gradient of the dual problem before
        the potential sees them (10 in the paper); 0 relies on the learned curve alone.
    refinement_size : float
        Length of a refinement step, in units of the scaled problem.
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
    curve_width : int
        Units of the two hidden layers of the curve's network.
    scale : {"global", "feature"} or None
        How states are standardised inside; "global" keeps distances in proportion, "feature"
        measures every feature in its standard deviations.
    training : Training, optional
        Settings of the training loop.

    Attributes
    ----------
    process_ : ScaledDiffusion
        Of a :class:`~dyninfer.diffusions.PotentialDiffusion`, in the units of the data.
    history_ : DataFrame
        One row per logged step; ``action`` is the value of the dual problem, in the units of the
        data.
    diagnostics_ : DataFrame
        One row per time; see :meth:`report`.
    growth_penalty_ : float or None
        The λ that was used.

    References
    ----------
    Neklyudov, Brekelmans, Tong, Atanackovic, Liu, Makhzani. A computational framework for solving
    Wasserstein Lagrangian flows. ICML 2024, arXiv 2310.10649.

    Notes
    -----
    The reference solves the game from independent pairs. Here the static problem is solved first
    and gives the pairs and, in closed form, the path of each; a potential bends the paths by
    descending their own action. The game of the paper is played where the pairs come from another
    coupling, or where ``curve_fraction`` asks for it. The potential is fitted by regression on the
    drift of the pairs' paths, which needs no Laplacian; the curve ascends the Hamilton-Jacobi
    residual. If the residual grows instead, the curve is reset to its best state and its learning
    rate is halved.

    Examples
    --------
    >>> import dyninfer as di
    >>> snapshots = di.simulators.OrnsteinUhlenbeck().snapshots([0.0, 0.5, 1.0], 200, seed=0)
    >>> noisy_growth = di.SchrodingerBridge(0.5) + di.UnbalancedTransport(0.1)
    >>> model = di.WassersteinLagrangianFlow(lagrangian=noisy_growth)
    >>> model = model.fit(snapshots, max_steps=20, progress=False)
    >>> model.simulate(snapshots.at(0.0), [0.0, 0.5, 1.0]).states.shape
    torch.Size([200, 3, 2])
    """

    citation: ClassVar[str] = (
        "@inproceedings{neklyudov2024wlf,\n"
        "  title={A Computational Framework for Solving Wasserstein Lagrangian Flows},\n"
        "  author={Neklyudov, Kirill and Brekelmans, Rob and Tong, Alexander and "
        "Atanackovic, Lazar and Liu, Qiang and Makhzani, Alireza},\n"
        "  booktitle={International Conference on Machine Learning},\n"
        "  year={2024},\n  note={arXiv:2310.10649}\n}"
    )

    tables: ClassVar[tuple[str, ...]] = ("history_", "diagnostics_")

    with_units: ClassVar[tuple[str, ...]] = ("lagrangian",)

    lagrangian: Lagrangian = OptimalTransport()
    coupling: str | Coupling = "auto"
    curve_fraction: float | None = None
    curve_learning_rate: float = 1e-3
    damping: float = 0.5
    refinement_steps: int = 0
    refinement_size: float = 0.02
    network: nn.Module | None = None
    width: int = 128
    depth: int = 3
    activation: str = "silu"
    curve_width: int = 128

    def check(self) -> None:
        """Raise a ValueError or TypeError that names an invalid setting."""
        if not isinstance(self.lagrangian, Lagrangian):
            raise TypeError(
                "lagrangian must be a Lagrangian such as OptimalTransport(), "
                f"found {brief(self.lagrangian)}"
            )
        # Its own settings first: the sentence then names the term and not the sum.
        self.lagrangian.check()
        if self.curve_fraction is not None and not 0 <= self.curve_fraction <= 1:
            raise ValueError(f"curve_fraction must lie in [0, 1], found {self.curve_fraction}")
        for name, least in (("curve_learning_rate", 0), ("refinement_size", 0)):
            if not getattr(self, name) > least:
                raise ValueError(f"{name} must be positive, found {getattr(self, name)}")
        if not 0 <= self.damping <= 1:
            raise ValueError(f"damping must lie in [0, 1], found {self.damping}")
        if self.curve_width < 1:
            raise ValueError(f"curve_width must be at least 1, found {self.curve_width}")
        if self.refinement_steps < 0:
            raise ValueError(
                f"refinement_steps must not be negative, found {self.refinement_steps}"
            )
        if self.coupling != "auto":
            as_coupling(self.coupling)
        check_potential(self)

    @property
    def uses(self) -> frozenset[str]:  # type: ignore[override]
        """Keys that it learns from; a prescribed mass or density covers all conditions."""
        if self.lagrangian.constrained or self.lagrangian.of_density:
            return ConditionedEstimator.uses - {"condition_key"}
        return ConditionedEstimator.uses

    def facts(self, data: Snapshots, seed: int = 0) -> dict[str, Any]:
        """Times, masses, conditions, and λ, set by the scale of the data where it is "auto"."""
        penalty = self.lagrangian.penalty
        if penalty == "auto":
            penalty = growth_penalty_of(data, self.scale)
        return super().facts(data, seed) | {"growth_penalty": penalty}

    @property
    def growth_penalty_(self) -> float | None:
        """λ as it was used; None where mass is conserved."""
        self._check_fitted()
        return self.facts_["growth_penalty"]

    @property
    def conserves_mass(self) -> bool:
        """Whether no growth is learned."""
        return self.lagrangian.penalty is None

    def build(self, data: Snapshots | DensityCurve | None, scaling: Scaling) -> ScaledDiffusion:
        """Return the untrained process."""
        n_conditions = self._n_conditions()
        network = potential_network(self, scaling.n_features, n_conditions)
        # A flow without noise is run either way as it is.
        second = None
        if self.lagrangian.noise:
            second = potential_network(self, scaling.n_features, n_conditions)
        # Settings are in the user's units, and the network sees scaled ones.
        penalty = self.facts_["growth_penalty"]
        law = None
        if penalty is not None:
            penalty = scaling.growth_penalty(penalty)
            law = self._growth_law(scaling)
        inner = PotentialDiffusion(
            network,
            sigma=scaling.amplitude(self.lagrangian.noise),
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
    ) -> DualObjective:
        """Return the dual problem that the data and the settings define."""
        if isinstance(data, DensityCurve):
            raise TypeError(
                "a Wasserstein Lagrangian flow finds the density curve itself; "
                "give it snapshots, or fit a DensityCurve with ActionMatching"
            )
        if self.conserves_mass:
            data = conserving(data)
        lagrangian = self._with_bridge(process, data, seed)
        pair_seed = subseed(seed, "training pairs")
        samples = self._coupled(process, data, lagrangian, pair_seed)
        if lagrangian.growth_penalty is None:
            check_conserved(samples.weighted)
        else:
            _warn_in_place(samples, data.times, self.facts_["growth_penalty"])
        settings = self.training_
        folds = samples.folds(settings.validation_fraction, seed)
        # A stream of its own: the potential's weights stay the same whatever the curve's width.
        with seeded_modules(seed, "curve"):
            curve = LearnedCurve(folds.training, lagrangian, self.curve_width)
        game = Game(
            last_step=round(self._curve_part(curve) * settings.max_steps),
            learning_rate=self.curve_learning_rate,
            damping=self.damping,
            refinement_steps=self.refinement_steps,
            refinement_size=self.refinement_size,
        )
        objective = DualObjective(process, curve, folds, game, seed)
        objective.warm_up()
        return objective

    def _with_bridge(
        self, process: ScaledDiffusion, data: Snapshots, seed: int
    ) -> ScaledLagrangian:
        """The Lagrangian in scaled units, and the bridges of its noise in its potential."""
        scaling = process.scaling
        samples = [scaling.states(sample) for sample in data.samples]
        times = scaling.times(data.times)
        like = next(process.parameters())
        priced = self.lagrangian.priced(self.facts_["growth_penalty"])
        lagrangian = priced.scaled(data, scaling)
        return with_bridge(lagrangian, samples, times, like, seed)

    def _coupled(
        self, process: ScaledDiffusion, data: Snapshots, lagrangian: ScaledLagrangian, seed: int
    ) -> CoupledSamples:
        """Pairs by the coupling, or by the static problems of the Lagrangian."""
        scaling = process.scaling
        like = next(process.parameters())
        coupling: Coupling | list[Coupling]
        if self.coupling == "auto":
            # The static problem of the Lagrangian itself: its pairs need no game.
            gaps = np.diff(scaling.times(data.times))
            coupling = natural_couplings(lagrangian, gaps)
        else:
            coupling = as_coupling(self.coupling)
        return CoupledSamples(
            data,
            scaling,
            coupling,
            seed,
            like.device,
            like.dtype,
            code=process.inner.code,
            control=self.control,
            # The sphere is measured on all pairs.
            in_turn=not lagrangian.constrained,
        )

    def _curve_part(self, curve: LearnedCurve) -> float:
        """Part of the steps in which the curve moves."""
        if self.curve_fraction is not None:
            return self.curve_fraction
        # A prescribed mass that changes makes haste while it is small, and the arcs of the
        # sphere, along which the curve begins, do not.
        uneven = curve.lagrangian.constrained and bool(curve.samples.log_mass.any())
        if self.coupling == "auto" and not uneven:
            return 0.0
        # The rest belongs to the potential alone, which must settle on the last curve.
        return 0.6

    def finish(self, objective: DualObjective) -> None:
        """Settle the growth, and keep the diagnostics of the solution."""
        super().finish(objective)
        self.diagnostics_ = objective.diagnostics()

    def _hj_residual(self, run: Trajectories) -> float:
        # A potential energy is part of the residual, and report() has it.
        has_energy = self.lagrangian.has_potential or self.lagrangian.of_density
        return math.nan if has_energy else super()._hj_residual(run)

    def report(self) -> pd.DataFrame:
        """Diagnostics of the solution, one row per time.

        Returns
        -------
        DataFrame
            Averages over the learned density curve, in the units of the data:

            * ``mass``;
            * ``kinetic``, ``growth`` and ``potential`` energy; their sum, the potential with a
              minus sign, integrates to the action;
            * mean and standard deviation of the Hamilton-Jacobi residual ``∂s/∂t + H``, zero at
              the solution; where mass is not free, the mean is a free function of time;
            * root mean square ``speed`` and ``acceleration``.

            ``attrs`` holds the ``action``, the ``dual_value`` (equal at the solution), the action
            of the coupled pairs (``pair_action``, without noise only), and how often the curve
            diverged and was reset.
        """
        self._check_fitted()
        return self.diagnostics_


def _warn_in_place(samples: CoupledSamples, times: np.ndarray, penalty: Any) -> None:
    """Warn where much of the mass is destroyed or created, which no simulated path reaches."""
    k, share = samples.mass_in_place()
    # A few outliers always are: a tenth of the mass is more than these.
    if share > 0.1:
        reach = math.pi / penalty**0.5
        start, end = spelled(times)[k : k + 2]
        warn(
            f"{share:.0%} of the mass between times {start} and {end} is destroyed or "
            "created in place, where no simulated path leads to it: cells farther apart than "
            f"π/√λ = {reach:.3g} are not connected; a smaller growth_penalty reaches farther",
        )
