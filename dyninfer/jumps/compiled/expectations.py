"""Log-likelihoods of all paths, and what the observations lead to expect, by kind of observation.

Paths follow one another in flat arrays; path ``k`` is ``offsets[k]`` to ``offsets[k + 1]``.
"""

from __future__ import annotations

import numpy as np

from dyninfer.jumps.compiled.recursion import backward, compiled, forward


@compiled
def _longest(offsets):
    """Number of observations of the longest path."""
    longest = 0
    for path in range(len(offsets) - 1):
        length = offsets[path + 1] - offsets[path]
        longest = max(longest, length)
    return longest


@compiled
def _both_ways(p, e, initial, number, alpha, scale, slope_p):
    """Log-likelihood of one path; fills the distributions of its states given all of it.

    Parameters are those of :func:`forward` and of :func:`backward`, for a path of weight one.
    """
    log_likelihood = forward(p, e, initial, number, alpha, scale)
    backward(p, e, number, alpha, scale, 1.0, slope_p)
    return log_likelihood


@compiled
def expect_labels(p, initial, chance, labels, number, offsets):
    """Log-likelihood of labels, and expectations given them.

    Parameters
    ----------
    p : array ``(G, S, S)``
        Transition probabilities.
    initial : array ``(1, S)`` or ``(n, S)``
        Distribution of the first state, of all paths or of each.
    chance : array ``(O, S)``
        Probability of every label in every state.
    labels : array ``(N,)`` int64
        Labels of all paths.
    number : array ``(N,)`` int64
        Matrix of ``p`` that leads to each label.
    offsets : array ``(n + 1,)`` int64
        Where paths begin, and the end.

    Returns
    -------
    log_likelihood : float
    slope_p : array ``(G, S, S)``
        Slope in the transition probabilities.
    first : array of the shape of ``initial``
        Expected number of paths that begin in each state, of all paths or of each.
    counts : array ``(O, S)``
        Expected number of times that a state has a label.
    """
    n_rows, n_states = initial.shape
    longest = _longest(offsets)
    slope_p = np.zeros_like(p)
    first = np.zeros_like(initial)
    counts = np.zeros_like(chance)
    alpha = np.empty((longest, n_states))
    e = np.empty((longest, n_states))
    scale = np.empty(longest)
    log_likelihood = 0.0
    for path in range(len(offsets) - 1):
        begin = offsets[path]
        end = offsets[path + 1]
        row = min(path, n_rows - 1)
        of_path = labels[begin:end]
        matrices = number[begin:end]
        n_times = end - begin
        for k in range(n_times):
            label = of_path[k]
            for j in range(n_states):
                e[k, j] = chance[label, j]
        e_path = e[:n_times]
        log_likelihood += _both_ways(
            p,
            e_path,
            initial[row],
            matrices,
            alpha,
            scale,
            slope_p,
        )
        first[row] += alpha[0]
        for k in range(n_times):
            label = of_path[k]
            for j in range(n_states):
                counts[label, j] += alpha[k, j]
    return log_likelihood, slope_p, first, counts


@compiled
def expect_numbers(p, initial, normal, x, number, offsets):
    """Log-likelihood of normal vectors, and expectations given them.

    Parameters
    ----------
    p, initial, number, offsets
        See :func:`expect_labels`.
    normal : array ``(3, S, d)``
        Means, reciprocal standard deviations, and the log-densities at the means.
    x : array ``(N, d)``
        Vectors of all paths; NaN where a feature was not observed.

    Returns
    -------
    log_likelihood : float
    slope_p : array ``(G, S, S)``
    first : array of the shape of ``initial``
        See :func:`expect_labels`.
    moments : array ``(3, S, d)``
        Expected number of observations of a feature in a state; of those the sums of deviations
        from the mean, and of their squares, in standard deviations.
    """
    n_rows, n_states = initial.shape
    longest = _longest(offsets)
    slope_p = np.zeros_like(p)
    first = np.zeros_like(initial)
    moments = np.zeros_like(normal)
    alpha = np.empty((longest, n_states))
    e = np.empty((longest, n_states))
    scale = np.empty(longest)
    log_likelihood = 0.0
    for path in range(len(offsets) - 1):
        begin = offsets[path]
        end = offsets[path + 1]
        row = min(path, n_rows - 1)
        of_path = x[begin:end]
        matrices = number[begin:end]
        e_path = e[: end - begin]
        log_likelihood += _densities(of_path, normal, e_path)
        log_likelihood += _both_ways(
            p,
            e_path,
            initial[row],
            matrices,
            alpha,
            scale,
            slope_p,
        )
        first[row] += alpha[0]
        _add_moments(of_path, normal, alpha, moments)
    return log_likelihood, slope_p, first, moments


@compiled
def _densities(x, normal, e):
    """Fill densities relative to the largest of each time; the sum of the largest's logarithms."""
    n_times, n_features = x.shape
    n_states = e.shape[1]
    total = 0.0
    for k in range(n_times):
        largest = -np.inf
        for j in range(n_states):
            log_density = 0.0
            for f in range(n_features):
                value = x[k, f]
                if not np.isnan(value):
                    deviation = value - normal[0, j, f]
                    z = deviation * normal[1, j, f]
                    at_mean = normal[2, j, f]
                    log_density += at_mean - 0.5 * z * z
            e[k, j] = log_density
            largest = max(largest, log_density)
        for j in range(n_states):
            e[k, j] = np.exp(e[k, j] - largest)
        total += largest
    return total


@compiled
def _add_moments(x, normal, gamma, moments):
    """Add what one path, whose states have the distributions ``gamma``, says of the moments."""
    n_times, n_features = x.shape
    n_states = gamma.shape[1]
    for k in range(n_times):
        for f in range(n_features):
            value = x[k, f]
            if np.isnan(value):
                continue
            for j in range(n_states):
                deviation = value - normal[0, j, f]
                z = deviation * normal[1, j, f]
                chance = gamma[k, j]
                share = chance * z
                moments[0, j, f] += chance
                moments[1, j, f] += share
                moments[2, j, f] += share * z
