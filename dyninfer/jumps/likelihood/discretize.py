"""Named rules that turn continuous signals into discrete states, and can be looked at."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dyninfer.data.paths import Paths
from dyninfer.learning.settings import Settings


@dataclass(kw_only=True, repr=False, eq=False)
class StateRule(Settings):
    """Base of the rules; one is learned from paths and then labels paths, value by value.

    States are numbered by the first feature of their centres, from low to high.

    Parameters
    ----------
    n_states : int
        Number of states.
    """

    n_states: int

    def check(self) -> None:
        """Raise a ValueError where there are fewer than two states."""
        self.check_kinds(f"{type(self).__name__}.")
        if self.n_states < 2:
            raise ValueError(
                f"{type(self).__name__}.n_states must be at least 2, found {self.n_states}"
            )

    @abstractmethod
    def centres(self, values: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Centres ``(S, d)`` and standard deviations ``(S, d)`` of the states in values ``(n, d)``."""

    @abstractmethod
    def distances(self, values: np.ndarray, table: pd.DataFrame) -> np.ndarray:
        """How badly every value ``(n, d)`` fits each state ``(n, S)``."""

    def learn(self, paths: Paths, seed: int) -> pd.DataFrame:
        """Find the states: a table of one row per state with its ``share`` of the values and the centre and spread of every feature.

        Raises
        ------
        TypeError, ValueError
            If the paths are discrete already, or have fewer different values than states.
        """
        if paths.discrete:
            raise TypeError("the paths have discrete states already; leave the rule out")
        values = _observed(paths)
        if len(np.unique(values, axis=0)) < self.n_states:
            raise ValueError(f"the paths have fewer than n_states={self.n_states} different values")
        centre, spread = self.centres(values, seed)
        order = np.argsort(centre[:, 0])
        columns = {f"{name}": centre[order, k] for k, name in enumerate(paths.features)}
        columns |= {f"{name}_std": spread[order, k] for k, name in enumerate(paths.features)}
        table = pd.DataFrame(columns)
        nearest = self.distances(values, table).argmin(1)
        table.insert(0, "share", np.bincount(nearest, minlength=self.n_states) / len(nearest))
        return table

    def label(self, paths: Paths, table: pd.DataFrame) -> Paths:
        """Discrete paths of the same times; a value with a missing feature is a missing state."""
        flat = np.concatenate(paths.states)
        known = ~np.isnan(flat).any(1)
        states = np.full(len(flat), -1)
        states[known] = self.distances(flat[known], table).argmin(1)
        return Paths(
            times=paths.times,
            states=tuple(np.split(states, np.cumsum(paths.lengths)[:-1])),
            names=paths.names,
            state_names=tuple(str(k) for k in range(self.n_states)),
            conditions=paths.conditions,
            source=paths.source,
        )


@dataclass(kw_only=True, repr=False, eq=False)
class KMeansStates(StateRule):
    """The nearest of the centres that k-means finds."""

    def centres(self, values: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`StateRule.centres`."""
        from sklearn.cluster import KMeans

        found = KMeans(self.n_states, n_init=10, random_state=seed).fit(values)
        spread = [values[found.labels_ == k].std(0) for k in range(self.n_states)]
        return found.cluster_centers_, np.stack(spread)

    def distances(self, values: np.ndarray, table: pd.DataFrame) -> np.ndarray:
        """Squared distance to the centre."""
        centre, _ = moments(table, values.shape[1])
        return ((values[:, None] - centre) ** 2).sum(2)


@dataclass(kw_only=True, repr=False, eq=False)
class MixtureStates(StateRule):
    """The most probable component of a Gaussian mixture with diagonal covariances."""

    def centres(self, values: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`StateRule.centres`."""
        from sklearn.mixture import GaussianMixture

        found = GaussianMixture(self.n_states, covariance_type="diag", n_init=5, random_state=seed)
        found.fit(values)
        return found.means_, np.sqrt(found.covariances_)

    def distances(self, values: np.ndarray, table: pd.DataFrame) -> np.ndarray:
        """Minus the logarithm of the component's density times its share."""
        centre, spread = moments(table, values.shape[1])
        share = (
            table["share"].to_numpy() if "share" in table else np.full(len(table), 1 / len(table))
        )
        z = (values[:, None] - centre) / spread
        return (0.5 * z**2 + np.log(spread)).sum(2) - np.log(np.maximum(share, 1e-12))


def moments(table: pd.DataFrame, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres and spreads ``(S, d)`` in a table that a rule made."""
    columns = [c for c in table if c != "share"]
    return table[columns[:d]].to_numpy(), table[columns[d:]].to_numpy()


def _observed(paths: Paths) -> Any:
    flat = np.concatenate(paths.states).astype(np.float64)
    return flat[~np.isnan(flat).any(1)]
