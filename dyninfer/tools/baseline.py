"""Signals without the drift of their baseline."""

from __future__ import annotations

from typing import Any

import torch

from dyninfer.data.paths import Paths
from dyninfer.jumps.likelihood.observation import GaussianEmission
from dyninfer.jumps.posterior.residuals import without_baseline
from dyninfer.learning.settings import check_count
from dyninfer.learning.surroundings import own_surroundings


@own_surroundings()
def remove_baseline(model: Any, paths: Paths, n_stretches: int = 12) -> Paths:
    """Subtract a piecewise-linear baseline from a signal, given the levels that a model learned.

    The residual of the model is fitted by straight lines between equally spaced knots. Fit the
    model again to the result; repeat once if the baseline drifts by more than the levels are apart.

    Parameters
    ----------
    model : MarkovJumpInference
        Fitted to the signal with ``observation=Gaussian(...)``.
    paths : Paths
        The signal, which is not changed, with the covariates that the model depends on.
    n_stretches : int
        Straight lines per record; fewer if one would hold less than 25 observations. Too many
        follow the visits to states instead of the baseline.

    Returns
    -------
    Paths
        The corrected signal, in its own unit.

    Raises
    ------
    TypeError
        If the model has learned no levels, or ``paths`` are not Paths.
    ValueError
        If the paths lack a covariate that the rates of the model depend on.
    """
    emission = getattr(model, "emission_", None)
    if not isinstance(emission, GaussianEmission):
        raise TypeError(
            "model must be fitted to a signal: MarkovJumpInference(observation=Gaussian(2)); "
            f"found {type(model).__name__} without levels"
        )
    if not isinstance(paths, Paths):
        raise TypeError(
            f"paths must be di.Paths, found {type(paths).__name__}; an AnnData is read by "
            "di.Paths.from_anndata"
        )
    n_stretches = check_count(n_stretches, "n_stretches")
    observed = model.observations(paths)
    # Of rates with covariates, each path has its own: the states are those of its covariates.
    chances = torch.from_numpy(model.state_probabilities(paths))
    return without_baseline(emission, observed, chances, n_stretches)
