"""Rules that turn continuous signals into discrete states, by name, and can be looked at."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from dyninfer.data.paths import Paths
from dyninfer.learning.random import subseed
from dyninfer.learning.settings import Settings, brief

# The share of a component that took no value still has a logarithm.
_LEAST_SHARE = 1e-12


class Moments(NamedTuple):
    """Centres and standard deviations of states, each ``(S, d)``."""

    centre: np.ndarray
    spread: np.ndarray


@dataclass(kw_only=True, repr=False, eq=False)
class StateRule(Settings):
    """Base of the rules that turn continuous values into states; a rule is learned from paths.

    States are numbered by the first feature of their centres, from low to high.

    Parameters
    ----------
    n_states : int
        Number of states.
    """

    n_states: int

    def check(self) -> None:
        """Raise a ValueError if there are fewer than two states."""
        self.check_kinds(f"{type(self).__name__}.")
        if self.n_states < 2:
            raise ValueError(
                f"{type(self).__name__}.n_states must be at least 2, found {self.n_states}"
            )

    @abstractmethod
    def centres(self, values: np.ndarray, seed: int) -> Moments:
        """Centres and standard deviations of the states, from values ``(n, d)``."""

    @abstractmethod
    def distances(self, values: np.ndarray, table: pd.DataFrame) -> np.ndarray:
        """Distance ``(n, S)`` of every value ``(n, d)`` from each state."""

    def learn(self, paths: Paths, seed: int) -> pd.DataFrame:
        """Find the states.

        Returns
        -------
        DataFrame
            One row per state: its ``share`` of the values and, for every feature, its centre and
            its spread ``<feature>_std``.

        Raises
        ------
        TypeError, ValueError
            If the paths are already discrete, or have fewer distinct values than states.
        """
        if paths.discrete:
            raise TypeError("the paths have discrete states already; leave the rule out")
        values = _complete_values(paths)
        if len(np.unique(values, axis=0)) < self.n_states:
            n_states = brief(self.n_states)
            raise ValueError(f"the paths have fewer than n_states={n_states} different values")
        centre, spread = self.centres(values, seed)
        order = np.argsort(centre[:, 0])
        features = [str(name) for name in paths.features]
        table = pd.DataFrame(centre[order], columns=features)
        spread_names = [f"{name}_std" for name in features]
        table[spread_names] = spread[order]
        nearest = self.distances(values, table).argmin(1)
        sizes = np.bincount(nearest, minlength=self.n_states)
        table.insert(0, "share", sizes / len(nearest))
        return table

    def label(self, paths: Paths, table: pd.DataFrame) -> Paths:
        """Discrete paths at the same times; a value with a missing feature is a missing state."""
        values = np.concatenate(paths.states)
        # A value that lacks a feature has no distance to a centre.
        is_complete = ~np.isnan(values).any(1)
        states = np.full(len(values), -1)
        distances = self.distances(values[is_complete], table)
        states[is_complete] = distances.argmin(1)
        begins = np.cumsum(paths.lengths)[:-1]
        state_names = tuple(map(str, range(self.n_states)))
        return Paths(
            times=paths.times,
            states=tuple(np.split(states, begins)),
            names=paths.names,
            state_names=state_names,
            conditions=paths.conditions,
            covariates=paths.covariates,
            source=paths.source,
        )


@dataclass(kw_only=True, repr=False, eq=False)
class KMeansStates(StateRule):
    """Label each value by the nearest k-means centre.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.MarkovJumpInference(states=di.KMeansStates(n_states=3)).states
    KMeansStates(n_states=3)
    """

    def centres(self, values: np.ndarray, seed: int) -> Moments:
        """See :meth:`StateRule.centres`."""
        # Imported late: scikit-learn's clusters take a third of a second.
        from sklearn.cluster import KMeans

        # Ten starts: a single one often leaves two centres in one cluster.
        model = KMeans(self.n_states, n_init=10, random_state=subseed(seed, "k-means"))
        # One unit for all features: squares of the smallest and largest numbers stay finite.
        size = _spread_of(values).max()
        shift = values.mean(0)
        model.fit((values - shift) / size)
        centre = shift + size * model.cluster_centers_
        spreads = []
        for number in range(self.n_states):
            members = values[model.labels_ == number]
            spreads.append(members.std(0))
        return Moments(centre, np.stack(spreads))

    def distances(self, values: np.ndarray, table: pd.DataFrame) -> np.ndarray:
        """Squared distance to the centre."""
        centre, _ = moments(table, values.shape[1])
        difference = values[:, None] - centre
        square = difference**2
        return square.sum(2)


@dataclass(kw_only=True, repr=False, eq=False)
class MixtureStates(StateRule):
    """Label each value by the most probable component of a diagonal Gaussian mixture.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.MarkovJumpInference(states=di.MixtureStates(n_states=3)).states
    MixtureStates(n_states=3)
    """

    def centres(self, values: np.ndarray, seed: int) -> Moments:
        """See :meth:`StateRule.centres`."""
        from sklearn.mixture import GaussianMixture

        # In units of each feature: what scikit-learn adds to every variance is in no unit.
        size = _spread_of(values)
        shift = values.mean(0)
        # Each start is a run of k-means already, so half as many as there do.
        model = GaussianMixture(
            self.n_states,
            covariance_type="diag",
            n_init=5,
            random_state=subseed(seed, "mixture"),
        )
        model.fit((values - shift) / size)
        std = np.sqrt(model.covariances_)
        return Moments(
            centre=shift + size * model.means_,
            spread=size * std,
        )

    def distances(self, values: np.ndarray, table: pd.DataFrame) -> np.ndarray:
        """Minus the logarithm of component density times component share."""
        centre, spread = moments(table, values.shape[1])
        # While the rule is learned the shares are what is asked for: equal ones stand in.
        share = table.get("share", 1 / len(table))
        difference = values[:, None] - centre
        z = difference / spread
        # Up to a constant, which no comparison of states needs.
        minus_log_density = z**2 / 2 + np.log(spread)
        positive_share = np.maximum(share, _LEAST_SHARE)
        log_share = np.log(np.asarray(positive_share))
        return minus_log_density.sum(2) - log_share


def moments(table: pd.DataFrame, n_features: int) -> Moments:
    """Centres and spreads of the states in a table that a rule made."""
    columns = table.drop(columns="share", errors="ignore")
    values = columns.to_numpy()
    return Moments(
        centre=values[:, :n_features],
        spread=values[:, n_features:],
    )


def _spread_of(values: np.ndarray) -> np.ndarray:
    """Standard deviation of every feature ``(d,)``, and 1 of one that never changes."""
    std = values.std(0)
    return np.where(std > 0, std, 1.0)


def _complete_values(paths: Paths) -> np.ndarray:
    values = np.concatenate(paths.states).astype(np.float64)
    is_complete = ~np.isnan(values).any(1)
    return values[is_complete]
