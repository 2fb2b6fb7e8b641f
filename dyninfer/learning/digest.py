"""Digests inside the files that they are of: a changed bit is noticed before anything is read."""

from __future__ import annotations

import hashlib
import re

# Name under which a text holds the digest of the file, and what stands there while it is computed.
NAME = "dyninfer_sha256"
EMPTY = "0" * 64
_PLACE = re.compile(rb'"%s":\s*"([0-9a-f]{64})"' % NAME.encode())
# What follows the content of a binary file, whose format itself says where that content ends.
_MARK = b"dyninfer sha256:"
_N_DIGEST = 32
_N_SEAL = len(_MARK) + _N_DIGEST

Bytes = bytes | memoryview


def fill_in(text: bytes, *others: Bytes) -> bytes:
    """JSON with the digest of itself and of ``others`` in the place that ``EMPTY`` keeps for it."""
    place = _PLACE.search(text)
    if place is None:
        raise ValueError(f"the text has no place for a digest, {NAME!r}")
    start, end = place.span(1)
    digest = _digest_around(text, start, others)
    return text[:start] + digest + text[end:]


def is_intact(text: Bytes, *others: Bytes) -> bool | None:
    """Whether JSON and ``others`` are as :func:`fill_in` left them; None without a digest."""
    place = _PLACE.search(text)
    if place is None:
        return None
    digest = _digest_around(text, place.start(1), others)
    return digest == place.group(1)


def sealed(content: bytes) -> bytes:
    """Content followed by its digest.

    HDF5 says itself where it ends, so every program reads such a file.
    """
    seal = hashlib.sha256(content).digest()
    return content + _MARK + seal


def unsealed(content: bytes) -> memoryview | None:
    """Undo :func:`sealed`; None where there is no digest.

    Raises
    ------
    ValueError
        If the content is not what the digest is of.
    """
    view = memoryview(content)
    end = len(view) - _N_SEAL
    if end < 0:
        return None
    inside = view[:end]
    mark = view[end:-_N_DIGEST]
    digest = view[-_N_DIGEST:]
    if mark != _MARK:
        return None
    if hashlib.sha256(inside).digest() != digest:
        raise ValueError("its content does not match its digest")
    return inside


def _digest_around(text: Bytes, start: int, others: tuple[Bytes, ...]) -> bytes:
    digest = hashlib.sha256(text[:start])
    digest.update(EMPTY.encode())
    end = start + len(EMPTY)
    digest.update(text[end:])
    for other in others:
        # With its length: else a byte could move from one part into the next.
        length = len(other).to_bytes(8, "little")
        digest.update(length)
        digest.update(other)
    return digest.hexdigest().encode()
