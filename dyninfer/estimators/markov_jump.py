"""Markov jump processes from sparse, noisy paths, by exact likelihood."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dyninfer.data import keys
from dyninfer.data.columns import obs_column, time_column
from dyninfer.data.paths import Paths
from dyninfer.data.reading import is_anndata
from dyninfer.data.times import Clock, requested_times
from dyninfer.data.trajectories import Trajectories
from dyninfer.estimators.base import Outcome, Run
from dyninfer.estimators.paths import PathEstimator
from dyninfer.jumps import ClonePaths, HiddenPaths, LabelNoise
from dyninfer.jumps.likelihood.discretize import StateRule
from dyninfer.jumps.likelihood.observation import Emission
from dyninfer.jumps.likelihood.structure import (
    named_scheme,
    names_of,
    numbers_of,
    recoded,
    state_number,
)
from dyninfer.jumps.posterior.learned import Learned, by_network
from dyninfer.jumps.posterior.likeliest import by_hidden, by_panel
from dyninfer.jumps.posterior.refine import by_refinement, groups_of
from dyninfer.jumps.posterior.storing import to_numbers
from dyninfer.jumps.posterior.summaries import QUANTITIES, Quantity, derived_table, state_table
from dyninfer.jumps.process import MarkovJump
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.settings import check_count, check_seed
from dyninfer.simulation import simulate

if TYPE_CHECKING:
    from anndata import AnnData

Observation = Literal["exact", "label noise", "confusion", "gaussian"]
Structure = Literal["free", "reversible", "birth-death"]


@dataclass(kw_only=True, repr=False, eq=False)
class MarkovJumpInference(PathEstimator):
    r"""Generator of a Markov jump process, from states seen now and then, perhaps wrongly.

    .. math:: L(Q) = \prod_{\text{paths}} \sum_{x_1 \ldots x_L} p_{x_1} e_{x_1}(o_1)
        \prod_k \big[e^{Q (t_{k+1} - t_k)}\big]_{x_k x_{k+1}} e_{x_{k+1}}(o_{k+1})

    The likelihood is exact whatever the gaps: equal gaps are grouped before the matrix exponential, states that are seen
    without error need no sum, others the forward-backward recursion. It is maximised over the logarithms of the rates, with a wide normal
    prior that keeps rates finite of which the data say nothing. No jump is ever ruled out by the data.

    Parameters
    ----------
    observation : {"label noise", "exact", "confusion", "gaussian"}
        What is seen of a state: its label, wrong with a probability that is learned; its label, never wrong; its label, taken
        for each other one with a probability of its own; or, of continuous paths, numbers that scatter normally around a value of
        every state.
    structure : {"free", "reversible", "birth-death"}
        Every jump has a rate of its own; detailed balance; or jumps between neighbouring states only.
    allowed : list of str, optional
        The only jumps that can happen, as ``"from>to"`` by the names of the states.
    exact_entries : list of str, optional
        States whose entry is seen when it happens, such as death; only for ``observation="exact"``.
    n_states : int, optional
        Number of states; by default those that the data name. Needed for "gaussian".
    states : StateRule, optional
        Rule by which continuous paths become labels: :class:`~dyninfer.jumps.likelihood.discretize.KMeansStates` or
        :class:`~dyninfer.jumps.likelihood.discretize.MixtureStates`.
    ancestor_time : float, optional
        Paths are single cells, and those of one clone (``condition_key``) had one ancestor at this time; ``initial_`` is the ancestors' law.
        Given the ancestor's state the cells of a clone are independent; see :class:`~dyninfer.jumps.ClonePaths`.
    prior_width : float or None
        Standard deviation of the prior of every log-rate, around one jump per mean time between observed changes, shared out
        between the targets; None is plain maximum likelihood. With ``refine`` it is the wide part of the prior.
    refine : bool
        False takes the rates that a trained network reads off counted transitions (Berghaus et al., 2024), and nothing is fitted:
        for free rates of labels, exact or wrong alike. True lets the network read some of the paths and maximises the
        exact likelihood of the others under what it believes of them; wherever the network cannot speak, under the normal prior.

    Attributes
    ----------
    generator_ : array ``(S, S)``
        Rates per time unit; rows sum to zero.
    initial_ : array ``(S,)``
        Law of the state at the first observation of a path.
    noise_ : float or None
        Probability of a wrong label, mean over the states, where it was learned.
    emission_ : LabelNoise or GaussianEmission
        What is seen of a state.
    fit_ : JumpFit or None
        Maximum of the posterior; None with ``refine=False``. Rates out of a state that was left less than ten times
        (wrong labels apart) are the network's in ``generator_``.
    posterior_ : {"importance sampling", "Laplace", "network"}
        What intervals are taken from: weighted draws; the curvature at the maximum, where there were too few
        effective draws or the network could not speak; or the network's own mixtures.
    ess_ : float or None
        Effective number of the weighted draws; below 10 they are not used.
    states_ : DataFrame or None
        What the rule found, one row per state.
    process_ : MarkovJump
        What was learned: stationary law, passage times, committors, entropy production and more.
    history_ : DataFrame
        One row per start: log-likelihoods before and after, steps, whether it converged.

    References
    ----------
    Jackson. Multi-state models for panel data: the msm package for R. J. Stat. Softw. 38(8), 2011.

    Berghaus, Cvejoski, Seifner, Ojeda, Sánchez. Foundation inference models for Markov jump processes. NeurIPS 2024,
    arXiv 2406.06419.

    Examples
    --------
    >>> import dyninfer as di
    >>> from dyninfer.jumps.simulation import simulate_jumps
    >>> gate = di.MarkovJump([[-1.0, 1.0], [3.0, -3.0]], state_names=["closed", "open"])
    >>> run = simulate_jumps(gate, 50, [0.2 * k for k in range(30)], seed=0)
    >>> paths = di.Paths(times=[run.times] * 50, states=list(run.states.numpy()), state_names=["closed", "open"])
    >>> model = di.MarkovJumpInference(observation="exact").fit(paths, progress=False)
    >>> model.generator_.shape
    (2, 2)
    """

    citation: ClassVar[str] = (
        "@inproceedings{berghaus2024foundation,\n"
        "  title={Foundation Inference Models for Markov Jump Processes},\n"
        "  author={Berghaus, David and Cvejoski, Kostadin and Seifner, Patrick and Ojeda, C{\\'e}sar and S{\\'a}nchez, Rams{\\'e}s J.},\n"
        "  booktitle={Advances in Neural Information Processing Systems},\n  year={2024},\n  note={arXiv:2406.06419}\n}"
    )
    discrete: ClassVar[bool] = True
    reason_against_snapshots: ClassVar[str] = (
        "unpaired samples give the share of every state, which many generators explain alike"
    )

    observation: Observation = "label noise"
    structure: Structure = "free"
    allowed: list[str] | None = None
    exact_entries: list[str] | None = None
    n_states: int | None = None
    states: StateRule | None = None
    ancestor_time: float | None = None
    prior_width: float | None = 2.5
    refine: bool = True

    def check(self) -> None:
        """Raise a ValueError naming a setting that cannot be."""
        for name, kinds in (("observation", Observation), ("structure", Structure)):
            if getattr(self, name) not in get_args(kinds):
                raise ValueError(
                    f"{name} must be one of {', '.join(get_args(kinds))}, found {getattr(self, name)!r}"
                )
        if self.prior_width is not None and not 0 < self.prior_width < math.inf:
            raise ValueError(
                f"prior_width must be positive, or None for no prior; found {self.prior_width}"
            )
        if self.n_states is not None and self.n_states < 2:
            raise ValueError(f"n_states must be at least 2, found {self.n_states}")
        if self.exact_entries and self.observation != "exact":
            raise ValueError("exact_entries needs observation='exact'; leave one of the two out")
        if self.observation == "gaussian" and self.n_states is None:
            raise ValueError("observation='gaussian' needs n_states, the number of hidden states")
        if self.observation == "gaussian" and self.states is not None:
            raise ValueError("observation='gaussian' learns its states itself; leave out states")
        if self.allowed is not None and self.structure == "birth-death":
            raise ValueError(
                "structure='birth-death' says which jumps can happen; leave out allowed"
            )
        if self.exact_entries and self.ancestor_time is not None:
            raise ValueError(
                "exact_entries are of paths that are followed, not of clones; leave out ancestor_time"
            )
        if not self.refine and (silent := self._silent()) is not None:
            raise ValueError(
                f"refine=False asks the network alone, which was not trained for {silent}; leave out one of the two"
            )
        if self.states is not None:
            self.states.check()

    def facts(self, data: Paths, seed: int = 0) -> dict[str, Any]:
        """Rule of the states, if there is one, and names of the states."""
        table = None if self.states is None else self.states.learn(data, seed)
        self.states_ = table
        return {
            "states": None if table is None else table.to_dict("list"),
            "state_names": list(names_of(self._seen(data), self.n_states)),
        }

    def build(self, data: Paths | None, scaling: Scaling) -> MarkovJump:
        """Return a process with all jumps at one rate per time unit."""
        names = self.facts_["state_names"]
        return MarkovJump.from_rates(
            torch.ones(len(names), len(names)).fill_diagonal_(0),
            initial=torch.full((len(names),), 1 / len(names)),
            state_names=names,
        )

    def learn(self, process: MarkovJump, data: Paths, run: Run) -> Outcome:
        """Fit the generator; see :meth:`Estimator.learn`."""
        seen, names = self._seen(data), process.state_names
        steps = 300 if run.max_steps is None else run.max_steps
        learned = self._learned(seen, names, steps, run.seed)
        self._note(learned)
        done = learned.fit is None or bool(learned.fit.converged)
        return Outcome(
            history=learned.history,
            status="finished" if done else "stopped early",
            process=MarkovJump(learned.generator, initial=learned.initial, state_names=names),
        )

    def _learned(self, seen: Paths, names: Sequence[str], steps: int, seed: int) -> Learned:
        plain, width = self.observation == "exact", self.prior_width
        if not self.refine:
            return by_network(recoded(seen, names), len(names), plain, seed)
        if self._silent() is None and width is not None and groups_of(seen):
            return by_refinement(recoded(seen, names), len(names), plain, width, steps, seed)
        scheme = named_scheme(self.structure, self.allowed, names)
        if plain and self.ancestor_time is None:
            return by_panel(seen, scheme, self._exact(names), width, steps)
        data = self._prepared(seen, names)
        return by_hidden(
            data, seen, scheme, self.observation, width, self.ancestor_time, steps, seed
        )

    def log_likelihoods(self, paths: Paths, seed: int = 0) -> np.ndarray:
        """Log-likelihood of every path ``(n,)``, its first observation included; −inf where it is impossible.

        That of a clone is shared out evenly between its paths.
        """
        self._check_fitted()
        data = self._prepared(self._seen(self._as_paths(paths)), self.process_.state_names)
        value = data.log_likelihood(*self._model())
        return (data.per_path(value) if isinstance(data, ClonePaths) else value).numpy()

    def simulate(
        self,
        start: Any,
        times: Sequence[float] | np.ndarray,
        *,
        n_paths: int | None = None,
        seed: int = 0,
    ) -> Trajectories:
        """Draw paths of the learned process, exactly.

        Parameters
        ----------
        start : None, states ``(n,)``, AnnData or Paths
            None draws the first states from ``initial_`` and needs ``n_paths``. States are names or numbers. Of an AnnData or of paths, the states
            seen at ``times[0]``.
        times : sequence of floats
            Times to store, in the user's units.
        n_paths : int, optional
            Number of paths; with starting states, these are repeated in turn.
        seed : int
            Fixes every draw.

        Returns
        -------
        Trajectories
            Integer states ``(path, time)``.
        """
        self._check_fitted()
        times, seed = requested_times(times), check_seed(seed)
        if n_paths is not None:
            n_paths = check_count(n_paths, "n_paths")
        if start is None:
            if n_paths is None:
                raise ValueError(
                    "n_paths is needed where the first states are drawn: simulate(None, times, n_paths=...)"
                )
            first: Any = None
        else:
            first = self._first_states(start, float(times[0]))
            if n_paths is not None:
                first = np.resize(first, n_paths)
        # The first law is that of a path's first observation, which need not be at time 0, or of a clone's ancestor.
        begin = times[0] if start is not None or self.ancestor_time is None else self.ancestor_time
        run = simulate(self.process_, first, times - begin, n_paths=n_paths, seed=seed)
        return Trajectories(
            states=run.states, times=torch.as_tensor(times), features=("state",), attrs=run.attrs
        )

    def confidence_intervals(self, level: float = 0.9) -> pd.DataFrame:
        """Rates with intervals: of the posterior draws, or normal in the log-rates where ``posterior_`` is "Laplace".

        Returns
        -------
        DataFrame
            One row per jump that can happen: ``source``, ``target``, ``rate``, ``low``, ``high``, and ``flat`` where the data say nothing about it.
        """
        self._check_fitted()
        return self.learned_.table(self.process_.state_names, level)

    def sample_processes(self, n: int, seed: int = 0) -> MarkovJump:
        """A batch of ``n`` processes of the posterior; a jump that is absent has a rate that no data could tell from zero."""
        self._check_fitted()
        generators = self.learned_.sample(check_count(n, "n"), check_seed(seed))
        return MarkovJump(
            generators, initial=self.process_.initial, state_names=self.process_.state_names
        )

    def derived(
        self,
        quantity: Quantity | None = None,
        level: float = 0.9,
        n_samples: int = 1000,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Quantities that follow from the generator, each with an interval.

        Parameters
        ----------
        quantity : callable, optional
            From a batch of processes to a tensor ``(..., k)`` or ``(...)``; by default stationary probabilities, mean holding times, the slowest
            relaxation time and the entropy-production rate.
        level : float
            Coverage of the intervals.
        n_samples : int
            Generators that are drawn.
        seed : int

        Returns
        -------
        DataFrame
            ``quantity``, ``value``, ``low``, ``high``.
        """
        self._check_fitted()
        n_samples = check_count(n_samples)
        wanted = (
            QUANTITIES
            if quantity is None
            else {getattr(quantity, "__name__", "quantity"): quantity}
        )
        return derived_table(self.process_, self.sample_processes(n_samples, seed), wanted, level)

    def posterior_states(self, data: AnnData | Paths) -> pd.DataFrame:
        """Hidden states of observed paths: smoothed, and the likeliest path as a whole (Viterbi).

        Returns
        -------
        DataFrame
            One row per observation: ``path``, ``time``, ``state`` (the most probable given the whole path), its ``probability``, and
            ``viterbi``.
        """
        self._check_fitted()
        paths = self._as_paths(data)
        names = self.process_.state_names
        return state_table(paths, self._prepared(self._seen(paths), names), self._model(), names)

    def annotations(self, adata: AnnData) -> dict[str, Any]:
        """The most probable state of every row, and its probability beside it."""
        table = self.posterior_states(adata).set_index(["path", "time"])
        times = time_column(adata, self.source_["time_key"])
        owner = obs_column(adata, self.source_["path_key"], "path_key").astype(str)
        rows = table.loc[list(zip(owner, times, strict=True))]
        states = pd.Categorical(rows["state"], categories=list(self.process_.state_names))
        return {keys.STATE: states, keys.STATE_PROBABILITY: rows["probability"].to_numpy()}

    def _note(self, learned: Learned) -> None:
        self.learned_, self.fit_, self.emission_ = learned, learned.fit, learned.emission
        self.ess_, self.posterior_ = learned.ess, learned.posterior

    def _silent(self) -> str | None:
        """The setting of which the network cannot speak."""
        if self.observation not in ("exact", "label noise"):
            return f"observation={self.observation!r}"
        if self.structure != "free":
            return f"structure={self.structure!r}"
        given = [
            name
            for name in ("allowed", "exact_entries", "ancestor_time")
            if getattr(self, name) not in (None, [])
        ]
        return given[0] if given else None

    def _exact(self, names: Sequence[str]) -> list[int]:
        return [state_number(name, names) for name in self.exact_entries or ()]

    def _prepared(self, seen: Paths, names: Sequence[str]) -> HiddenPaths | ClonePaths:
        seen = recoded(seen, names) if seen.discrete else seen
        if self.ancestor_time is not None:
            return ClonePaths.of(seen, self.ancestor_time)
        return HiddenPaths.of(seen, self._exact(names))

    @property
    def generator_(self) -> np.ndarray:
        """Rates per time unit ``(S, S)``."""
        self._check_fitted()
        return self.process_.generator.numpy()

    @property
    def initial_(self) -> np.ndarray:
        """Law of the state at the first observation of a path ``(S,)``."""
        self._check_fitted()
        return self.process_.start_distribution().numpy()

    @property
    def noise_(self) -> float | None:
        """Probability of a wrong label, mean over the states; None where labels are exact or there are none."""
        self._check_fitted()
        if self.observation == "exact" or not isinstance(self.emission_, LabelNoise):
            return None
        return float(1 - self.emission_.confusion.diagonal().mean())

    def _model(self) -> tuple[Tensor, Emission, Tensor]:
        return self.process_.generator, self.emission_, self.process_.start_distribution()

    def _seen(self, paths: Paths) -> Paths:
        """Paths as the likelihood takes them: labels, or numbers for a Gaussian emission."""
        if self.states is not None:
            return self.states.label(paths, self.states_)
        if paths.discrete == (self.observation == "gaussian"):
            raise TypeError(
                "observation='gaussian' needs continuous paths; these have discrete states"
                if paths.discrete
                else "the paths are continuous; give observation='gaussian' with n_states, or a rule: states=MixtureStates(n_states=3)"
            )
        return paths

    def _first_states(self, start: Any, time: float) -> np.ndarray:
        names = self.process_.state_names
        if isinstance(start, Paths) or is_anndata(start):
            if self.observation == "gaussian":
                found = self.posterior_states(start)
                here = found.iloc[Clock.of(found["time"]).rows(found["time"], time)]
                return np.array([names.index(s) for s in here["state"]])
            states = recoded(self._seen(self._as_paths(start)), names).at(time)
            return states[states >= 0]
        return numbers_of(start, names)

    def _tensors(self) -> dict[str, Tensor]:
        return super()._tensors() | self.learned_.tensors()

    def _metadata(self) -> dict[str, Any]:
        return super()._metadata() | {
            "fit": None if self.fit_ is None else to_numbers(self.fit_),
            "ess": self.ess_,
        }

    def _restore_process(
        self, metadata: dict[str, Any], tensors: dict[str, Tensor], device: torch.device
    ) -> None:
        names, table = self.facts_["state_names"], self.facts_["states"]
        self.states_ = None if table is None else pd.DataFrame(table)
        scheme = named_scheme(self.structure, self.allowed, names)
        learned = Learned.restored(scheme, tensors, metadata["fit"], metadata["ess"], self.history_)
        self._note(learned)
        self._keep(MarkovJump(learned.generator, initial=learned.initial, state_names=names))
