"""One fit of a generator as tensors and plain data, and back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dyninfer.jumps.likelihood.observation import Emission, GaussianEmission, LabelNoise
from dyninfer.jumps.likelihood.scheme import RateScheme
from dyninfer.jumps.posterior.fitting import JumpFit


def best_of(fit: JumpFit, best: int | None = None) -> tuple[JumpFit, int]:
    """One of the fits of one data set, and its number: by default the likeliest."""
    k, n = (
        int(fit.log_likelihood.reshape(-1).argmax()) if best is None else best,
        fit.theta.shape[-1],
    )
    one = JumpFit(
        scheme=fit.scheme,
        theta=fit.theta.reshape(-1, n)[k],
        log_likelihood=fit.log_likelihood.reshape(-1)[k],
        information=fit.information.reshape(-1, n, n)[k],
        n_observed=fit.n_observed.reshape(-1)[0],
        converged=fit.converged.reshape(-1)[k],
        iterations=fit.iterations,
    )
    return one, k


def member(emission: Emission, k: int) -> Emission:
    """Observation model number ``k`` of a batch."""
    if isinstance(emission, LabelNoise):
        return LabelNoise(emission.confusion[k])
    return GaussianEmission(emission.mean[k], emission.std[k])


def to_tensors(emission: Emission, fit: JumpFit | None) -> dict[str, Tensor]:
    """Tensors of an observation model and of a fit, by name."""
    seen = {f"emission.{name}": value.contiguous() for name, value in vars(emission).items()}
    return (
        seen if fit is None else seen | {"fit.theta": fit.theta, "fit.information": fit.information}
    )


def to_numbers(fit: JumpFit) -> dict[str, Any]:
    """The rest of a fit, as plain data."""
    return {
        "log_likelihood": float(fit.log_likelihood),
        "n_observed": float(fit.n_observed),
        "converged": bool(fit.converged),
        "iterations": fit.iterations,
    }


def restored_emission(tensors: dict[str, Tensor]) -> Emission:
    """Undo :func:`to_tensors`."""
    parts = {
        k.removeprefix("emission."): v for k, v in tensors.items() if k.startswith("emission.")
    }
    return LabelNoise(**parts) if "confusion" in parts else GaussianEmission(**parts)


def restored_fit(
    scheme: RateScheme, tensors: dict[str, Tensor], numbers: dict[str, Any]
) -> JumpFit:
    """Undo :func:`to_tensors` and :func:`to_numbers`."""
    return JumpFit(
        scheme=scheme,
        theta=tensors["fit.theta"],
        information=tensors["fit.information"],
        log_likelihood=torch.tensor(numbers["log_likelihood"], dtype=torch.float64),
        n_observed=torch.tensor(numbers["n_observed"], dtype=torch.float64),
        converged=torch.tensor(numbers["converged"]),
        iterations=numbers["iterations"],
    )
