"""Markov jump processes from sparse, noisy paths, by exact likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.data.time_reading import requested_times
from dyninfer.data.trajectories import Trajectories
from dyninfer.estimators.base import Outcome, Run
from dyninfer.estimators.covariate_runs import (
    first_distribution,
    refuse_covariates,
    run_with_covariates,
)
from dyninfer.estimators.jump_estimator import JumpEstimator
from dyninfer.estimators.jump_search import jump_search_space
from dyninfer.jumps.covariates import Effects
from dyninfer.jumps.formula import levels_of
from dyninfer.jumps.inference import JumpInference
from dyninfer.jumps.likelihood.codes import refuse_hole
from dyninfer.jumps.likelihood.discretize import StateRule
from dyninfer.jumps.likelihood.state_names import names_of
from dyninfer.jumps.posterior.summaries import QUANTITIES, Quantity, derived_table
from dyninfer.jumps.process import MarkovJump
from dyninfer.jumps.settings import (
    AllJumps,
    Clones,
    Gaussian,
    Jumps,
    Labels,
    Observation,
    as_jumps,
    as_observation,
)
from dyninfer.jumps.starting import drawn_states
from dyninfer.learning.random import stream, subseed
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.settings import check_count, check_seed

_MAX_STEPS = 300  # of BFGS; fits that converge take 10 to 60


@dataclass(kw_only=True, repr=False, eq=False)
class MarkovJumpInference(JumpEstimator):
    r"""Rates of a Markov jump process, from states observed at some times, perhaps with errors.

    .. math:: L(Q) = \prod_{\text{paths}} \sum_{x_1 \ldots x_L} p_{x_1} e_{x_1}(o_1)
        \prod_k \big[e^{Q (t_{k+1} - t_k)}\big]_{x_k x_{k+1}} e_{x_{k+1}}(o_{k+1})

    The likelihood is exact whatever the gaps: equal gaps are grouped before the matrix exponential,
    states observed without error need no sum, and others take the forward-backward recursion. It is
    maximised over the log-rates, with a wide normal prior that keeps a rate finite where the data
    say nothing about it. The data alone never rule out a jump.

    Parameters
    ----------
    observation : Observation or {"label noise", "exact", "confusion"}
        What is observed of a state. :class:`~dyninfer.Labels` are wrong with a probability that is
        learned. :class:`~dyninfer.ExactLabels` are never wrong, and may have entries at exact
        times. :class:`~dyninfer.ExactTimes` has the exact time of every jump.
        :class:`~dyninfer.Confusion` learns how often each label is mistaken for each other one.
        :class:`~dyninfer.Gaussian` reads continuous paths: values scattered around the mean of each
        state.
    jumps : Jumps or {"all", "reversible", "birth-death"}
        Which jumps can happen: :class:`~dyninfer.AllJumps`, each at its own rate;
        :class:`~dyninfer.Only` some; :class:`~dyninfer.Reversible`, with detailed balance;
        :class:`~dyninfer.BirthDeath`, between neighbours.
    clones : Clones, optional
        Paths are single cells, and those of one clone (``condition_key``) had one ancestor;
        ``initial_`` is then the distribution of the ancestors.
    states : StateRule, optional
        Rule by which continuous paths become labels: :class:`~dyninfer.KMeansStates` or
        :class:`~dyninfer.MixtureStates`.
    prior_width : float or None
        Standard deviation of the normal prior on every log-rate. Its mean is one jump per mean time
        between observed changes, divided among the targets. None is plain maximum likelihood. With
        ``refine`` it is the wide part of the prior.
    covariates : Effects, optional
        What rates depend on: :class:`~dyninfer.Covariates` by a formula, :class:`~dyninfer.Periods`
        of time, or a sum of them. ``generator_`` is then that of the first period where all
        covariates are 0 and all categories are at their first level; ``prior_width`` applies to
        rates at the mean covariates and to effects per standard deviation.
    initial_covariates : str, optional
        Formula of what the first state of a path depends on, by the covariates of its first
        observation: ``"~ sex + age"``. The log-odds of a state against the first of all states are
        linear in them (multinomial logistic regression); ``initial_`` is then the distribution
        where all are 0.
    refine : bool
        False takes the rates that a trained network estimates from counted transitions (Berghaus et
        al., 2024), and nothing is fitted; it needs all jumps, and exact or noisy labels. True lets
        the network read some of the paths: its posterior becomes the prior under which the exact
        likelihood of the others is maximised. Where the network was not trained for the settings,
        the normal prior is used.

    Attributes
    ----------
    generator_ : array ``(S, S)``
        Rates per unit of time; rows sum to zero.
    initial_ : array ``(S,)``
        Distribution of the state at the first observation of a path.
    noise_ : float or None
        Probability of a wrong label, averaged over the states, if it was learned.
    emission_ : Emission
        What is observed of a state, such as :class:`~dyninfer.jumps.LabelNoise`.
    fit_ : JumpFit or None
        Maximum of the posterior; None with ``refine=False``. For a state that was left fewer than
        ten times (wrong labels aside), ``generator_`` has the rates of the network.
    posterior_ : GeneratorPosterior
        The source of intervals; ``draw(n, seed)`` gives generators. Its ``kind`` is "importance
        sampling" (weighted draws); "Laplace" (curvature at the maximum), if effective draws were
        too few or the network was not used; or "network" (the mixtures of the network).
    ess_ : float or None
        Effective number of the weighted draws; below 10 they are not used.
    effects_ : CovariateEffects or None
        Effects of covariates: ``table()`` of hazard ratios, ``wald_tests()``,
        ``process(covariates)``.
    initial_effects_ : InitialEffects or None
        Effects of ``initial_covariates``: ``table()`` of odds ratios,
        ``probabilities(covariates)``.
    states_ : DataFrame or None
        What the rule learned, one row per state.
    process_ : MarkovJump
        What was learned, with stationary distribution, passage times, committors, entropy
        production and more.
    history_ : DataFrame
        One row per start: log-likelihoods before and after, steps, whether it converged.

    References
    ----------
    Jackson. Multi-state models for panel data: the msm package for R. J. Stat. Softw. 38(8), 2011.

    Berghaus, Cvejoski, Seifner, Ojeda, Sánchez. Foundation inference models for Markov jump
    processes. NeurIPS 2024, arXiv 2406.06419.

    Examples
    --------
    >>> import dyninfer as di
    >>> names = ["closed", "open"]
    >>> gate = di.MarkovJump([[-1.0, 1.0], [3.0, -3.0]], state_names=names)
    >>> run = di.simulate(gate, None, [0.2 * k for k in range(30)], n_paths=50)
    >>> paths = di.Paths(times=[run.times] * 50, states=list(run.states.numpy()), state_names=names)
    >>> model = di.MarkovJumpInference(observation=di.ExactLabels()).fit(paths, progress=False)
    >>> model.generator_.shape
    (2, 2)
    """

    citation: ClassVar[str] = (
        "@inproceedings{berghaus2024foundation,\n"
        "  title={Foundation Inference Models for Markov Jump Processes},\n"
        "  author={Berghaus, David and Cvejoski, Kostadin and Seifner, Patrick and Ojeda, "
        "C{\\'e}sar and S{\\'a}nchez, Rams{\\'e}s J.},\n"
        "  booktitle={Advances in Neural Information Processing Systems},\n"
        "  year={2024},\n  note={arXiv:2406.06419}\n}"
    )
    discrete: ClassVar[bool] = True
    reason_against_snapshots: ClassVar[str] = (
        "unpaired samples give the share of every state, which many generators explain alike"
    )

    observation: Observation | str = field(default_factory=Labels)
    jumps: Jumps | str = field(default_factory=AllJumps)
    clones: Clones | None = None
    states: StateRule | None = None
    covariates: Effects | None = None
    initial_covariates: str | None = None
    prior_width: float | None = 2.5
    refine: bool = True

    def check(self) -> None:
        """Raise a ValueError that names an invalid setting."""
        inference = self._inference()
        inference.check()
        if self.states is None:
            return
        self.states.check()
        if isinstance(inference.observation, Gaussian):
            raise ValueError(
                f"observation={inference.observation} learns its states itself; leave out states"
            )

    @property
    def uses(self) -> frozenset[str]:
        """Conditions name the clones, where paths are cells of clones."""
        return frozenset() if self.clones is None else frozenset({"condition_key"})

    def search_space(self, paths: Paths) -> dict[str, list[dict[str, Any]]]:
        """Which jumps can happen and how labels can be wrong, as far as other settings allow.

        Jumps between neighbours are tried if the names of the states are increasing or decreasing
        numbers. With two states there is nothing to choose.
        """
        return jump_search_space(self, paths)

    def facts(self, data: Paths, seed: int = 0) -> dict[str, Any]:
        """Rule of the states, if any, and the names of the states."""
        rule = None
        if self.states is not None:
            # Facts go into the model file, which holds lists and no tables.
            rule = self.states.learn(data, subseed(seed, "states")).to_dict("list")
        labels = self._observed(data, rule)
        observation = as_observation(self.observation)
        names = names_of(labels, observation.n_states, observation.codes(()).sets)
        refuse_hole(labels, names)
        facts = {"states": rule, "state_names": list(names)}
        if self.covariate_columns:
            facts["covariates"] = levels_of(data.covariates, self.covariate_columns)
        return facts

    def build(self, data: Paths | None, scaling: Scaling) -> MarkovJump:
        """Return a process with all jumps at one rate per time unit."""
        names = self.facts_["state_names"]
        n_states = len(names)
        # A place to start from only: what is learned replaces the whole process.
        rates = torch.ones(n_states, n_states)
        initial = torch.full((n_states,), 1 / n_states)
        return MarkovJump.from_rates(rates, initial=initial, state_names=names)

    def learn(self, process: MarkovJump, data: Paths, run: Run) -> Outcome:
        """Infer the generator; see :meth:`Estimator.learn`."""
        names = process.state_names
        paths = self._observed(data, self.facts_["states"])
        max_steps = _MAX_STEPS if run.max_steps is None else run.max_steps
        result = self._inference().infer(paths, names, max_steps, run.seed)
        self._take(result)
        return Outcome(history=result.history, status=result.status, process=self._process())

    def simulate(
        self,
        start: Any,
        times: Sequence[float] | np.ndarray,
        *,
        n_paths: int | None = None,
        covariates: Any = None,
        seed: int = 0,
        **options: Any,
    ) -> Trajectories:
        """Draw exact paths of the learned process.

        Parameters
        ----------
        start : None, states ``(n,)``, AnnData or Paths
            None draws the first states from ``initial_`` and needs ``n_paths``. States are names or
            numbers. For an AnnData or paths, states are drawn given all observations of each path
            up to ``times[0]``; exact labels are taken as they are.
        times : sequence of floats
            Times to store, in the unit of the data.
        n_paths : int, optional
            Number of paths, drawn from the starting states; by default one of each.
        covariates : mapping or DataFrame, optional
            A value of every covariate of the model, or a row for every starting state; they stay
            constant. Or a mapping from times to the values that hold from then on, ``{0: {"dose":
            1}, 5: {"dose": 0}}``. By default, those of an AnnData or of paths at ``times[0]``. If
            first states are drawn and depend on covariates, a row for every path.
        seed, **options
            See :func:`dyninfer.simulate`.

        Returns
        -------
        Trajectories
            Integer states ``(path, time)``.
        """
        self._check_fitted()
        seed = check_seed(seed)
        refuse_covariates(self, start, covariates)
        if start is None:
            first_time = float(requested_times(times)[0])
            distribution = self._distribution_at(first_time)
            if self.initial_effects_ is not None:
                distribution = first_distribution(self, covariates, first_time)
            start = drawn_states(distribution, n_paths, seed)
            # The states are as many as the paths already: one path of each.
            n_paths = None
        if self.rate_columns:
            return run_with_covariates(self, start, times, covariates, n_paths, seed, options)
        return super().simulate(start, times, n_paths=n_paths, seed=seed, **options)

    def observe(self, states: Tensor, seed: int = 0) -> Tensor:
        """Observations of states ``(path, time)``: labels that may be wrong, or numbers."""
        g = stream(seed, "observe", device=states.device)
        emission = self.emission_.map(lambda tensor: tensor.to(states.device))
        return emission.sample(states.long(), g)

    def confidence_intervals(self, level: float = 0.9) -> pd.DataFrame:
        """Rates with intervals, from ``posterior_``.

        One row per jump that can happen: ``source``, ``target``, ``rate``, ``low``, ``high``, and
        ``flat`` where the data say nothing about it, for example if no path is seen to leave
        ``source``.
        """
        self._check_fitted()
        return self.posterior_.table(self.process_.state_names, level)

    def learned(self) -> dict[str, pd.DataFrame]:
        """Rates with 90 % intervals, by name; see :meth:`summary`."""
        self._check_fitted()
        return {"rates": self.confidence_intervals()}

    def sample_processes(self, n: int, seed: int = 0) -> MarkovJump:
        """Draw a batch of ``n`` processes from the posterior.

        An absent jump has a rate that no data could tell from zero. If rates change in time, each
        draw has its own rates in every period. If they depend on covariates, all covariates are 0,
        as in ``process_``.
        """
        self._check_fitted()
        n = check_count(n, "n")
        seed = check_seed(seed)
        process = self.process_
        breaks = None
        if len(process.breaks):
            assert self.effects_ is not None
            breaks = process.breaks.tolist()
            generators = self.effects_.draw(n, seed=seed).generator
        else:
            generators = self.posterior_.draw(n, seed)
        return MarkovJump(
            generators.to(self._device),
            initial=process.initial,
            state_names=process.state_names,
            breaks=breaks,
        )

    def derived(
        self,
        quantity: Quantity | None = None,
        level: float = 0.9,
        n_samples: int = 1000,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Quantities derived from the generator, each with an interval.

        Parameters
        ----------
        quantity : callable, optional
            Maps a batch of processes to a tensor ``(..., k)`` or ``(...)``; by default stationary
            probabilities, mean holding times, the slowest relaxation time and the
            entropy-production rate.
        level : float
            Coverage of the intervals.
        n_samples : int
            Number of generators drawn.
        seed : int

        Returns
        -------
        DataFrame of ``quantity``, ``value``, ``low``, ``high``.
        """
        self._check_fitted()
        quantities = QUANTITIES
        if quantity is not None:
            # A partial function, say, has no name of its own.
            quantities = {getattr(quantity, "__name__", "quantity"): quantity}
        draws = self.sample_processes(check_count(n_samples, "n_samples"), seed)
        return derived_table(self.process_, draws, quantities, level)

    def _covered_times(self) -> np.ndarray:
        """Those of the data, and of the ancestors of clones."""
        if self.clones is None:
            return self.times_
        return np.append(self.times_, self.clones.ancestor_time)

    def _inference(self) -> JumpInference:
        """The settings, without short spellings."""
        return JumpInference(
            observation=as_observation(self.observation),
            jumps=as_jumps(self.jumps),
            clones=self.clones,
            prior_width=self.prior_width,
            refine=self.refine,
            covariates=self.covariates,
            levels=getattr(self, "facts_", {}).get("covariates", {}),
            initial_covariates=self.initial_covariates,
        )

    def _distribution_at(self, time: float) -> Tensor:
        """Distribution ``(S,)`` of first observed states, or of descendants of ancestors.

        On the CPU, so that every device starts from the same states.
        """
        if self.clones is None:
            return self.result_.initial
        # The process starts with the ancestor, and its descendants have jumped since.
        age = self.clones.age_at(time, self.times_)
        return self.process_.marginal(age).cpu()
