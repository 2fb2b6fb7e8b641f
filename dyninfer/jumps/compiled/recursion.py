"""Forward and backward recursions of hidden chains, path after path.

All arrays are of float64 and int64. ``number`` says which matrix of ``p`` leads to a time; that of
a first time is not read.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numba
import numpy as np

Function = TypeVar("Function")

# Scales are multiplied, which is faster than to add their logarithms, as long as the product is
# far from overflow.
_LARGE = 1e200
_SMALL = 1e-200


def compiled(function: Function) -> Function:
    """Compile a function when it is first called, and keep it on disk where there is a place."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:
        # No folder can be written to: compiled anew in every session.
        return numba.njit(**options)(function)


@compiled
def forward(p, e, initial, number, alpha, scale):
    """Log-likelihood of one path; fills what the past says of every time.

    Parameters
    ----------
    p : array ``(G, S, S)``
        Transition probabilities.
    e : array ``(L, S)``
        Probabilities of the observations in every state.
    initial : array ``(S,)``
        Distribution of the first state.
    number : array ``(L,)``
        Matrix that leads to each time.
    alpha : array ``(L, S)``
        Is filled with the distribution of the state given the past.
    scale : array ``(L,)``
        Is filled with the probability of each observation given the past, 1 for an impossible one.
    """
    n_times, n_states = e.shape
    log_likelihood = 0.0
    product = 1.0
    for k in range(n_times):
        total = 0.0
        for j in range(n_states):
            before = initial[j]
            if k > 0:
                before = 0.0
                step = number[k]
                last = k - 1
                for i in range(n_states):
                    transition = p[step, i, j]
                    before += alpha[last, i] * transition
            joint = before * e[k, j]
            alpha[k, j] = joint
            total += joint
        if not total > 0.0:
            # Also where numbers are NaN: nothing may divide by them.
            log_likelihood += np.log(total)
            total = 1.0
        inverse = 1.0 / total
        for j in range(n_states):
            alpha[k, j] *= inverse
        scale[k] = total
        product *= total
        if not _SMALL < product < _LARGE:
            log_likelihood += np.log(product)
            product = 1.0
    return log_likelihood + np.log(product)


@compiled
def backward(p, e, number, alpha, scale, weight, slope_p):
    """Turn what the past says of every time into what the whole path says of it.

    Parameters
    ----------
    p, e, number
        See :func:`forward`.
    alpha : array ``(L, S)``
        What :func:`forward` left there; becomes the distribution given the whole path.
    scale : array ``(L,)``
        What :func:`forward` left there.
    weight : float
        Of this path in the slope.
    slope_p : array ``(G, S, S)``
        To which the slope of the weighted log-likelihood in ``p`` is added.

    Returns
    -------
    array ``(S,)``
        The slope of this path's log-likelihood in the distribution of the first state.
    """
    n_times, n_states = e.shape
    beta = np.ones(n_states)
    future = np.empty(n_states)
    for k in range(n_times - 1, 0, -1):
        step = number[k]
        last = k - 1
        inverse = 1.0 / scale[k]
        for j in range(n_states):
            observed = e[k, j] * inverse
            future[j] = beta[j] * observed
        for i in range(n_states):
            before = alpha[last, i]
            weighted = before * weight
            total = 0.0
            for j in range(n_states):
                after = future[j]
                slope_p[step, i, j] += weighted * after
                total += p[step, i, j] * after
            beta[i] = total
            alpha[last, i] = before * total
    inverse = 1.0 / scale[0]
    for j in range(n_states):
        observed = e[0, j] * inverse
        future[j] = beta[j] * observed
    return future


@compiled
def forward_all(p, e, initial, number, alpha, scale):
    """Log-likelihoods ``(B, n)`` of all paths in all models; see :func:`forward`.

    Parameters
    ----------
    p : array ``(B, G, S, S)``
    e : array ``(B, n, L, S)``
    initial : array ``(B, S)``
    number : array ``(n, L)``
    alpha : array ``(B, n, L, S)``
    scale : array ``(B, n, L)``
    """
    n_models, n_paths = e.shape[:2]
    log_likelihood = np.empty((n_models, n_paths))
    for b in range(n_models):
        for path in range(n_paths):
            log_likelihood[b, path] = forward(
                p[b],
                e[b, path],
                initial[b],
                number[path],
                alpha[b, path],
                scale[b, path],
            )
    return log_likelihood


@compiled
def backward_all(p, e, number, alpha, scale, weight, slope_p):
    """Slopes ``(B, S)`` in the distributions of the first states; see :func:`backward`.

    Shapes are those of :func:`forward_all`; ``weight`` is ``(B, n)`` and ``slope_p`` like ``p``.
    """
    n_models, n_paths, _, n_states = e.shape
    slope_initial = np.zeros((n_models, n_states))
    for b in range(n_models):
        for path in range(n_paths):
            of_path = weight[b, path]
            slope = backward(
                p[b],
                e[b, path],
                number[path],
                alpha[b, path],
                scale[b, path],
                of_path,
                slope_p[b],
            )
            slope_initial[b] += of_path * slope
    return slope_initial


@compiled
def label_likelihoods(p, chance, initial, labels, number):
    """Log-likelihoods ``(B,)`` of all paths of labels together, in many models.

    Parameters
    ----------
    p : array ``(B, G, S, S)``
        Transition probabilities.
    chance : array ``(B, O, S)``
        Probability of every label in every state.
    initial : array ``(B, S)``
        Distribution of the first state.
    labels : array ``(n, L)`` int64
        Labels of all paths.
    number : array ``(n, L)``
        Matrix that leads to each time.
    """
    n_models, n_states = initial.shape
    n_paths, n_times = labels.shape
    total_of = np.empty(n_models)
    state = np.empty(n_states)
    after = np.empty(n_states)
    for b in range(n_models):
        log_likelihood = 0.0
        product = 1.0
        for path in range(n_paths):
            state[:] = initial[b]
            for k in range(n_times):
                label = labels[path, k]
                step = number[path, k]
                total = 0.0
                for j in range(n_states):
                    before = state[j]
                    if k > 0:
                        before = 0.0
                        for i in range(n_states):
                            before += state[i] * p[b, step, i, j]
                    joint = before * chance[b, label, j]
                    after[j] = joint
                    total += joint
                if not total > 0.0:
                    log_likelihood += np.log(total)
                    total = 1.0
                inverse = 1.0 / total
                for j in range(n_states):
                    state[j] = after[j] * inverse
                product *= total
                if not _SMALL < product < _LARGE:
                    log_likelihood += np.log(product)
                    product = 1.0
        total_of[b] = log_likelihood + np.log(product)
    return total_of
