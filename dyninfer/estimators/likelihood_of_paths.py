"""How likely a fitted equation with memory finds paths: exactly, by draws, or by a bound."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from numpy import ndarray
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.fractional.inference import FittedEquation
from dyninfer.fractional.settings import EquationSettings
from dyninfer.learning.settings import check_count, check_seed

if TYPE_CHECKING:
    from anndata import AnnData

# Draws that weigh a likelihood, for each of those of a step of training: its mean is of a few, a
# log mean exponential needs many.
_MORE_DRAWS = 10


class LikelihoodOfPaths:
    """The likelihood of a model that has settings of an equation, and a fitted one."""

    if TYPE_CHECKING:
        # Of the estimator, which documents them.
        _check_fitted: Any
        _as_paths: Any

        @property
        def _equation(self) -> EquationSettings: ...

        @property
        def _fitted(self) -> FittedEquation: ...

    def log_likelihoods(
        self, paths: Paths, seed: int = 0, n_samples: int | None = None
    ) -> ndarray | None:
        """Log-likelihood of every path ``(n,)``, in nats and in the units of the data.

        Exact in the linear model; else estimated by importance weights over ``n_samples`` draws, by
        default ten times those of training, and then biased low. None where ``path_weight`` is not
        1.
        """
        self._check_fitted()
        if self._path_weight != 1:
            return None
        weights = self._log_weights(paths, n_samples, seed)
        log_total = weights.logsumexp(0)
        log_mean = log_total - math.log(len(weights))
        return log_mean.numpy()

    def elbo(
        self, data: AnnData | Paths, *, n_samples: int | None = None, seed: int = 0
    ) -> ndarray:
        """Evidence lower bound of every path ``(n,)``, in nats and in the units of the data.

        Refused where ``path_weight`` is not 1: what was maximised then is no bound on a likelihood.
        """
        if self._path_weight != 1:
            raise ValueError(
                f"path_weight={self._path_weight:g} was maximised, which bounds no likelihood; fit "
                "with path_weight=1 for a bound, or compare forecasts by evaluate"
            )
        weights = self._log_weights(data, n_samples, seed)
        return weights.mean(0).numpy()

    @property
    def _path_weight(self) -> float:
        # The exact likelihood knows no other weight.
        return getattr(self._equation.chosen_inference, "path_weight", 1.0)

    def _log_weights(self, data: Any, n_samples: int | None, seed: int) -> Tensor:
        """``log p(o, path) − log q(path)`` of draws ``(n_samples, path)``, in the user's units."""
        self._check_fitted()
        paths = self._as_paths(data)
        if n_samples is None:
            # Every draw of the exact model weighs the same.
            in_training = getattr(self._equation.chosen_inference, "n_samples", 1)
            n_samples = _MORE_DRAWS * in_training
        return self._fitted.log_weights(paths, check_count(n_samples), check_seed(seed))
