"""Which cells a model has learned from: a few fingerprints of every time, kept with the model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from dyninfer.data.snapshots import Snapshots
from dyninfer.data.times import Clock

# Fingerprints kept of a time: a tenth of its cells, evaluated alone, still holds six of them.
N_KEPT = 64
# Share of the cells at one time that were learned from, above which its scores flatter.
MANY = 0.5


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
    # Relative digits: rounded to single precision as they are, small units would all be zero.
    values = sample.astype(np.float64)
    mantissa, exponent = np.frexp(values)
    # The digits of single precision, in any unit; to add zero makes −0 the same as 0.
    digits = mantissa.astype(np.float32) + 0
    # One order of bytes, so that a file means the same on every machine.
    digits = digits.astype(">f4").view(">i4")
    exponent = exponent.astype(">i4")
    rows = np.concatenate([digits, exponent], 1)
    width = rows.itemsize * rows.shape[1]
    # Views of one text: of a million cells, arrays alone would take two seconds.
    text = memoryview(rows.tobytes())
    hashes = []
    for begin in range(0, len(text), width):
        cell = text[begin : begin + width]
        fingerprint = hashlib.blake2b(cell, digest_size=8)
        hashes.append(fingerprint.digest())
    joined = b"".join(hashes)
    return np.frombuffer(joined, dtype=">u8")
