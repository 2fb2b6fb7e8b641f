"""Which of several jump models of the same data is to be preferred."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dyninfer.data.arrays import as_list
from dyninfer.jumps import JumpFit, RateScheme
from dyninfer.jumps.settings import Confusion, Labels, as_observation
from dyninfer.learning.settings import brief, check_word, to_plain

# A fit is finished where no step would gain more than 1e-4, so that two may miss twice that.
_SLACK = 1e-3
# Of a design, whose entries are about 1: what rounding leaves of a combination that is exact.
_ROUNDING = 1e-8
# Settings in which a model may be a special case of another.
_NESTED = ("jumps", "covariates", "initial_covariates")


def information_criteria(
    models: Sequence[Any] | Mapping[str, Any], *, n: str = "observations"
) -> pd.DataFrame:
    """Compare several fits to the same data by log-likelihood, AIC and BIC.

    ``AIC = 2 k − 2 log L`` and ``BIC = k log n − 2 log L`` with ``k`` fitted parameters.

    Parameters
    ----------
    models : sequence or mapping of MarkovJumpInference
        Fitted models. The keys of a mapping are their names.
    n : {"observations", "paths"}
        What BIC counts. Observations of one path are not independent, and the number of paths is
        too small if paths are long; trust a choice on which both agree.

    Returns
    -------
    DataFrame
        A row for every model: ``model``, ``log_likelihood`` in nats, ``n_parameters``, ``n``,
        ``aic``, ``bic``, ``converged``. With a prior, the likelihood is taken at the posterior
        maximum, slightly below its own maximum.

    Raises
    ------
    TypeError, ValueError
        If a model has no fit, or the models were fitted to different data or different observations
        of them.

    Examples
    --------
    >>> import dyninfer as di
    >>> queue = di.simulators.BirthDeath(birth=1.0, death=2.0, largest=2)
    >>> paths = queue.paths(range(10), 200)
    >>> all_jumps = di.MarkovJumpInference(observation="exact").fit(paths, progress=False)
    >>> to_neighbors = di.MarkovJumpInference(observation="exact", jumps=di.BirthDeath())
    >>> to_neighbors = to_neighbors.fit(paths, progress=False)
    >>> di.tl.information_criteria([all_jumps, to_neighbors])["n_parameters"].tolist()
    [6, 4]
    """
    check_word(n, "n", ("observations", "paths"))
    names: Sequence[Any]
    if isinstance(models, Mapping):
        names, fitted = list(models), list(models.values())
    else:
        fitted = as_list(models, "models", "fitted models")
        names = range(len(fitted))
    if not fitted:
        raise ValueError("models is empty; give at least one fitted model")
    fits = [_fit_of(model) for model in fitted]
    for model in fitted[1:]:
        _check_same_data(fitted[0], model)
    rows = []
    for name, model, fit in zip(names, fitted, fits, strict=True):
        size = float(fit.n_observed) if n == "observations" else float(len(model.provenance_.sizes))
        k = fit.theta.shape[-1]
        log_likelihood = float(fit.log_likelihood)
        penalty = k * torch.tensor(size).double().log().item()
        row = {
            "model": name,
            "log_likelihood": log_likelihood,
            "n_parameters": k,
            "n": size,
            "aic": 2 * k - 2 * log_likelihood,
            "bic": penalty - 2 * log_likelihood,
            "converged": bool(fit.converged),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def likelihood_ratio(small: Any, large: Any) -> pd.DataFrame:
    """Test whether the additional rates of a larger model are needed.

    Twice the difference of the log-likelihoods is compared with the χ² distribution; its degrees of
    freedom are the number of additional parameters (Wilks 1938, Ann. Math. Stat. 9, 60). If the
    smaller model sets rates to zero, on the boundary of the larger one, the true p-value is smaller
    (Self and Liang 1987, J. Am. Stat. Assoc. 82, 605): half, for one such rate and no other
    difference.

    Parameters
    ----------
    small, large : MarkovJumpInference
        Fitted to the same data with ``prior_width=None``. They differ only in ``jumps``,
        ``covariates`` or ``initial_covariates``.

    Returns
    -------
    DataFrame
        One row: ``statistic``, ``df``, ``p_value``, and ``n_zero``, the rates of ``large`` that
        ``small`` sets to zero.

    Raises
    ------
    TypeError, ValueError
        If ``small`` is not a special case of ``large``, a fit has a prior or is unfinished, or the
        data differ.

    Examples
    --------
    >>> import dyninfer as di
    >>> queue = di.simulators.BirthDeath(birth=1.0, death=2.0, largest=2)
    >>> paths = queue.paths([0.1 * k for k in range(30)], 100)
    >>> options = {"observation": "exact", "prior_width": None}
    >>> small = di.MarkovJumpInference(jumps=di.BirthDeath(), **options).fit(paths, progress=False)
    >>> large = di.MarkovJumpInference(**options).fit(paths, progress=False)
    >>> int(di.tl.likelihood_ratio(small, large)["df"].iloc[0])  # four rates and six
    2
    """
    from scipy.stats import chi2

    fits = [_fit_of(model) for model in (small, large)]
    _check_same_data(small, large)
    _check_settings(small, large)
    for model, fit in zip((small, large), fits, strict=True):
        _check_maximum(model, fit)
    small_fit, large_fit = fits
    _check_nested(small_fit.scheme, large_fit.scheme)
    df = large_fit.theta.shape[-1] - small_fit.theta.shape[-1]
    if df == 0:
        raise ValueError("small and large have the same parameters; there is nothing to test")
    gain = float(large_fit.log_likelihood - small_fit.log_likelihood)
    if gain < -_SLACK:
        raise ValueError(
            f"large explains the data worse than small, by {-gain:.3g} nats, so it is not at "
            "its maximum; fit it with larger max_steps or another seed"
        )
    statistic = 2 * max(gain, 0.0)
    row = {
        "statistic": statistic,
        "df": df,
        "p_value": float(chi2.sf(statistic, df)),
        "n_zero": large_fit.scheme.n_edges - small_fit.scheme.n_edges,
    }
    return pd.DataFrame([row])


def _fit_of(model: Any) -> JumpFit:
    """The maximum of a model, or an error that says why it has none."""
    if not hasattr(model, "sample_processes") or not hasattr(model, "provenance_"):
        raise TypeError(f"models must be fitted MarkovJumpInference, found {brief(model)}")
    if model.fit_ is None:
        raise ValueError("a model with refine=False has no likelihood; fit it with refine=True")
    return model.fit_


def _check_same_data(one: Any, other: Any) -> None:
    if one.provenance_.digest != other.provenance_.digest:
        raise ValueError("the models were fitted to different data; fit them to the same paths")
    # Labels made by another rule are other data, and densities of numbers are no probabilities.
    if one.facts_["states"] != other.facts_["states"]:
        raise ValueError("the models' labels come from different rules; give both one rule")
    kinds = [_kind(model) for model in (one, other)]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"a likelihood of {kinds[0]} is not comparable with one of {kinds[1]}; fit both models "
            "with one kind of observation"
        )


def _kind(model: Any) -> str:
    """What the likelihood of a model is of."""
    observation = as_observation(model.observation)
    if isinstance(observation, Labels | Confusion):
        return "labels that may be wrong"
    # Exact labels are likely given the first of each path, and entries and numbers have densities.
    if observation.conditional and model.initial_covariates is not None:
        return f"{observation} and of first states"
    return str(observation)


def _check_settings(small: Any, large: Any) -> None:
    """Raise a ValueError where more than the jumps or the covariates differs."""
    differing = []
    others = large.get_params(deep=False)
    for name, value in small.get_params(deep=False).items():
        if to_plain(value) != to_plain(others[name]):
            differing.append(name)
    for name in differing:
        if name not in _NESTED:
            raise ValueError(
                f"small and large differ in {name}; the test needs models that differ in jumps or "
                "covariates alone: compare others with information_criteria"
            )
    if len(differing) > 1:
        raise ValueError(
            f"small and large differ in {' and in '.join(differing)}; test one after the other"
        )
    if differing == ["covariates"]:
        _check_effects(small, large)
    if differing == ["initial_covariates"]:
        _check_initial_effects(small, large)


def _check_initial_effects(small: Any, large: Any) -> None:
    """Raise a ValueError unless what first states of ``small`` depend on is a part of ``large``."""
    own: set[str] = set()
    other: set[str] = set()
    if small.initial_effects_ is not None:
        own.update(small.initial_effects_.design.columns)
    if large.initial_effects_ is not None:
        other.update(large.initial_effects_.design.columns)
    if not own <= other:
        alone = sorted(own - other)
        raise ValueError(
            f"small is no special case of large: in it alone first states depend on {alone[0]!r}"
        )


def _check_effects(small: Any, large: Any) -> None:
    """Raise a ValueError unless every effect of ``small`` is one of ``large``, or some together."""
    if small.covariates is None:
        return
    if large.covariates is None:
        raise ValueError("small is no special case of large, which has no covariates")
    own = small.effects_.design
    other = large.effects_.design
    for number, name in enumerate(own.columns):
        same = [k for k, column in enumerate(other.columns) if column == name]
        jumps = torch.from_numpy(own.acts[own.column == number]).double()
        others = torch.from_numpy(other.acts[np.isin(other.column, same)]).double()
        if not same or not _spans(others.T, jumps.T):
            raise ValueError(
                f"small is no special case of large: it alone has the effect of {name!r} on its "
                "jumps"
            )


def _check_maximum(model: Any, fit: JumpFit) -> None:
    """Raise a ValueError where a likelihood is not at its maximum."""
    if model.prior_width is not None:
        raise ValueError("the test needs plain maximum likelihood; fit both with prior_width=None")
    if not bool(fit.converged):
        raise ValueError("a fit is not finished; increase max_steps")


def _check_nested(small: RateScheme, large: RateScheme) -> None:
    """Raise a ValueError unless every generator of ``small`` is one of ``large``, or its limit."""
    reason = "small is no special case of large"
    if small.n_states != large.n_states:
        raise ValueError(f"{reason}: one has {small.n_states} states, the other {large.n_states}")
    extra = small.allowed & ~large.allowed
    if bool(extra.any()):
        source, target = extra.nonzero()[0].tolist()
        raise ValueError(f"{reason}: it alone has the jump from state {source} to {target}")
    source, target = large.edges.T
    is_shared = small.allowed[source, target]
    shared = large.design[is_shared]
    # Log-rates of small are combinations of its columns, which large must be able to form.
    if not _spans(shared, small.design) or not _spans(shared, _offsets(small, large, is_shared)):
        raise ValueError(f"{reason}: its rates are tied in another way")
    removed = large.design[~is_shared]
    free = _null_space(shared)
    # The rates that are zero must be able to vanish while all others stay.
    if not _spans(removed @ free, torch.ones_like(removed[:, :1])):
        raise ValueError(f"{reason}: a rate that it sets to zero is tied to one that it has")


def _offsets(small: RateScheme, large: RateScheme, is_shared: Tensor) -> Tensor:
    """Differences of the log-rates ``(edge, 1)`` where all parameters are 0."""
    difference = small.offset - large.offset[is_shared]
    return difference.unsqueeze(1)


def _spans(columns: Tensor, others: Tensor) -> bool:
    """Whether the columns of one matrix are combinations of those of another."""
    combination = torch.linalg.pinv(columns) @ others
    residual = columns @ combination - others
    return not bool((residual.abs() > _ROUNDING).any())


def _null_space(matrix: Tensor) -> Tensor:
    """Orthonormal directions ``(p, k)`` along which no row changes."""
    projection = torch.linalg.pinv(matrix) @ matrix
    values, vectors = torch.linalg.eigh(projection)
    return vectors[:, values < 0.5]
