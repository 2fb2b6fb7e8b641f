"""Which cells a model has learned from: a few fingerprints of every time, kept with the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dyninfer.data.snapshots import Snapshots
from dyninfer.data.times import Clock
from dyninfer.learning.random import mix64

# Fingerprints kept of a time: a tenth of its cells, evaluated alone, still holds six of them.
N_KEPT = 64
# Share of the cells at one time that were learned from, above which its scores flatter.
MANY = 0.5
# Cells at a time: their tables stay in the processor's cache, and large ones take twenty times
# as long.
CHUNK = 4096


def fingerprints_by_time(data: Snapshots) -> list[str]:
    """The least fingerprints of the cells at every time, as text that a file can hold.

    The least of many are a random sample of the cells: the same cells in another order, and most
    parts of them, have some of these fingerprints, and other cells none.
    """
    texts = []
    for sample in data.samples:
        ascending = np.unique(_fingerprints(sample))
        least = ascending[:N_KEPT]
        big_endian = least.astype(">u8")
        texts.append(big_endian.tobytes().hex())
    return texts


def are_fitted(data: Snapshots, times: np.ndarray, texts: list[str] | None) -> np.ndarray:
    """Whether the cells at each time of some data are those of a fit ``(time,)``.

    Parameters
    ----------
    data : Snapshots
    times : array ``(k,)``
        Times of the fit.
    texts : list of ``k`` str, optional
        What :func:`fingerprints_by_time` returned of it; None where there were no cells.
    """
    is_fitted = np.zeros(data.n_times, dtype=bool)
    if texts is None:
        return is_fitted
    positions = Clock(times).positions(data.times)
    for k, position in enumerate(positions):
        if position >= 0:
            share = _share_of(texts[position], data.samples[k])
            is_fitted[k] = share > MANY
    return is_fitted


def are_held_out(data: Snapshots, hold_out: Sequence[float]) -> np.ndarray:
    """Whether each time of some data was held out of a fit ``(time,)``."""
    positions = Clock(data.times).positions(hold_out)
    return np.isin(np.arange(data.n_times), positions)


def _share_of(text: str, sample: np.ndarray) -> float:
    """Share of the cells that were learned from, by those whose fingerprints would be kept."""
    fitted = np.frombuffer(bytes.fromhex(text), dtype=">u8")
    own = _fingerprints(sample)
    # Of few cells all were kept, and of many only those up to the largest here.
    if len(fitted) == N_KEPT:
        largest = fitted[-1]
        own = own[own <= largest]
    if len(own) == 0:
        return 0.0
    is_of_fit = np.isin(own, fitted)
    return float(is_of_fit.mean())


def _fingerprints(sample: np.ndarray) -> np.ndarray:
    """One number ``(n,)`` for the states of every cell, whatever their number format."""
    numbers = np.empty(len(sample), dtype=np.uint64)
    for begin in range(0, len(sample), CHUNK):
        chunk = slice(begin, begin + CHUNK)
        sums = _sums(sample[chunk])
        # The least are kept: sums of like cells lie close, and must not be least together.
        numbers[chunk] = mix64(sums)
    return numbers


def _sums(sample: np.ndarray) -> np.ndarray:
    """Sum ``(n,)`` of the digits of every cell, each times an odd number, modulo 2⁶⁴.

    Multilinear hashing (Lemire & Kaser, 2014): to hash every cell by itself takes a million calls
    for a million cells.
    """
    # Relative digits: rounded to single precision as they are, small units would all be zero.
    values = sample.astype(np.float64)
    mantissa, exponent = np.frexp(values)
    # The digits of single precision, in any unit; to add zero makes −0 the same as 0.
    digits = mantissa.astype(np.float32) + 0
    digit_words = digits.view(np.uint32)
    exponent_words = exponent.view(np.uint32)
    words = np.concatenate([digit_words, exponent_words], 1)
    # Numbers of our own, so that a file means the same with any version of NumPy.
    keys = [mix64(column) | 1 for column in range(words.shape[1])]
    odd_numbers = np.array(keys, dtype=np.uint64)
    return words.astype(np.uint64) @ odd_numbers
