"""Methods that learn from paths: what each inherits, and the little that it must define."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd

from dyninfer.data.paths import Paths
from dyninfer.data.reading import read_paths, reread_paths
from dyninfer.estimators.asking import check_draws
from dyninfer.estimators.base import Estimator
from dyninfer.learning.settings import check_seed

if TYPE_CHECKING:
    from anndata import AnnData

_KEYS = ("time_key", "path_key", "state_key", "use_rep", "condition_key")


@dataclass(kw_only=True, repr=False, eq=False)
class PathEstimator(Estimator):
    """Base of the methods that learn from :class:`~dyninfer.Paths`, time series of individuals.

    A method is a keyword-only dataclass in a file of its own. It defines

    * ``citation``: a BibTeX entry;
    * ``check()``: raise a ValueError naming a setting that cannot be (optional);
    * ``learn(paths, seed, max_steps, progress)``: set ``process_``, ``history_`` and ``status_``;
    * ``log_likelihoods(paths, seed)``: one number for every path;
    * ``simulate``.
    """

    discrete: ClassVar[bool] = False  # whether it is states that are learned from, and not numbers
    reason_against_snapshots: ClassVar[str] = "they do not say which cell became which"

    @abstractmethod
    def learn(self, paths: Paths, seed: int, max_steps: int | None, progress: bool) -> None:
        """Learn the process behind the paths; sets ``process_``, ``history_`` and ``status_``."""

    @abstractmethod
    def log_likelihoods(self, paths: Paths, seed: int) -> np.ndarray:
        """Log-likelihood of every path ``(n,)`` under what was learned, in nats."""

    def fit(
        self,
        data: AnnData | Paths,
        *,
        time_key: str | None = None,
        path_key: str | None = None,
        state_key: str | None = None,
        use_rep: str | None = None,
        condition_key: str | None = None,
        hold_out: str | list[str] | None = None,
        seed: int = 0,
        max_steps: int | None = None,
        progress: bool = True,
    ) -> Self:
        """Learn the process behind the paths.

        Parameters
        ----------
        data : AnnData or Paths
            An AnnData has one row per path and time, in any order. Nothing of it is changed.
        time_key : str
            Column of ``obs`` with the times of an AnnData: numbers, numeric text or categories, or timedeltas.
        path_key : str
            Column of ``obs`` that names the path of each row: a tracked cell, a clone, a recording.
        state_key : str, optional
            Column of ``obs`` with discrete states, categories or whole numbers; a missing entry is a gap.
        use_rep : str, optional
            Key of ``obsm``, or "X", with continuous states; by default ``obsm["X_pca"]`` if present, else ``X``.
        condition_key : str, optional
            Column of ``obs`` with a label for every path.
        hold_out : str or list of str, optional
            Names of paths removed before anything else is computed.
        seed : int
            Fixes every draw.
        max_steps : int, optional
            Steps at most.
        progress : bool
            Show a progress bar, where a method takes long enough to have one.

        Returns
        -------
        self
            With ``process_``, ``history_`` and ``status_``.

        Raises
        ------
        KeyError, TypeError, ValueError
            If a key, a time or a value in the data is not as it must be; the message names it.
        """
        self.check_kinds()
        self.check()
        seed = check_seed(seed)
        if max_steps is not None:
            max_steps = check_draws(max_steps, "max_steps")
        names = dict(
            zip(_KEYS, (time_key, path_key, state_key, use_rep, condition_key), strict=True)
        )
        every = self._read(data, names)
        paths = every.without(hold_out)
        self.learn(paths, seed, max_steps, progress)
        left_out = set(every.names) - set(paths.names)
        self.hold_out_ = [str(name) for name in every.names if name in left_out]
        self.source_, self.seed_ = paths.source, seed
        self.feature_names_in_ = np.asarray(paths.features, dtype=object)
        self.n_features_in_ = paths.n_features
        return self

    def evaluate(self, data: AnnData | Paths, *, seed: int = 0) -> pd.DataFrame:
        """How likely the observed paths are under what was learned, one row per path.

        Parameters
        ----------
        data : AnnData or Paths
            Read by the keys that ``fit`` was given.
        seed : int

        Returns
        -------
        DataFrame
            Per path: its name, whether it was ``held_out``, its number of ``observations``, its ``log_likelihood`` in nats and
            ``per_observation``.
        """
        self._check_fitted()
        paths = self._as_paths(data)
        likelihood = self.log_likelihoods(paths, seed)
        return pd.DataFrame(
            {
                "path": paths.names,
                "held_out": np.isin(paths.names, self.hold_out_),
                "observations": paths.lengths,
                "log_likelihood": likelihood,
                "per_observation": likelihood / paths.lengths,
            }
        )

    def _read(self, data: Any, names: dict[str, str | None]) -> Paths:
        return read_paths(
            data,
            names,
            reader=f"{type(self).__name__}.fit",
            reason=self.reason_against_snapshots,
        )

    def _as_paths(self, data: Any) -> Paths:
        known = SimpleNamespace(
            source=self.source_, features=tuple(self.feature_names_in_), times=()
        )
        return reread_paths(data, known)
