"""One safetensors file of tensors and JSON, with a digest of both. Data, never code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from dyninfer.learning import digest
from dyninfer.learning.files import check_target, label, read_file, reason, write_file
from dyninfer.learning.settings import brief

# Deeper than any settings; Python itself gives up at a thousand.
_DEEPEST = 100
# Bytes that Python needs for a list or a dictionary, and for each entry of one, at least.
_PER_CONTAINER = 72
_PER_ENTRY = 32
# What JSON may need beyond twice its own size, in bytes.
_SPARE_MEMORY = 50_000_000
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_N_LENGTH = 8  # bytes at the beginning of a safetensors file, which hold the length of its header


FileName = str | Path
Tensors = dict[str, Tensor]


class Kind(NamedTuple):
    """What a file holds."""

    key: str  # of its facts, in the file
    name: str  # in messages
    remedy: str  # where such a file is damaged


def write_tensors(path: FileName, kind: Kind, tensors: Tensors, facts: Any) -> Path:
    """Write tensors and plain facts to a file; a failed save leaves the old one.

    Parameters
    ----------
    path : path
    kind : Kind
    tensors : dict of Tensor
    facts : plain data

    Raises
    ------
    ValueError
        If the folder does not exist.
    TypeError
        If the facts are not plain data.
    OSError
        If the file cannot be written.
    """
    from safetensors.torch import save

    path = check_target(path)
    # Before a file is opened: facts that JSON cannot hold must leave nothing behind.
    text = json.dumps(facts)
    texts = {kind.key: text, digest.NAME: digest.EMPTY}
    plain = {}
    for name, value in tensors.items():
        # A copy: tensors that share memory are refused.
        copy = value.detach().cpu().clone()
        plain[name] = copy.contiguous()
    header, body = _parts(save(plain))
    full_header = _header_with(texts, header)
    full_header = digest.fill_in(full_header, body)
    return write_file(path, b"".join([full_header, body]))


def read_tensors(path: FileName, kind: Kind) -> tuple[Any, Tensors]:
    """Read the facts and the tensors of a file.

    Parameters
    ----------
    path : path
    kind : Kind
        As it was written.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is damaged, or not one that dyninfer wrote.
    """
    import safetensors.torch

    content = read_file(path, kind.name)
    texts = _checked_texts(content, path, kind)
    if kind.key not in texts:
        complaint = _other_kind(texts, kind)
        raise ValueError(f"{label(path)} {complaint}")
    text = texts[kind.key]
    facts = _parsed(text, path, kind)
    try:
        return facts, safetensors.torch.load(content)
    # Of Rust and of torch, whatever they say to a header of strangers.
    except Exception as error:
        raise ValueError(
            f"{kind.name} {label(path)} is damaged: its tensors cannot be read "
            f"({reason(error)}); {kind.remedy}"
        ) from error


def kinds_of(path: FileName, kind: Kind) -> set[str]:
    """Keys of what an intact file holds; errors speak of ``kind``."""
    content = read_file(path, kind.name)
    return set(_checked_texts(content, path, kind))


def parse_json(text: str | bytes) -> Any:
    """JSON of a file, which is not trusted with depth or memory.

    Raises
    ------
    ValueError
        If it is not JSON, or so deep or so crowded that it would cost far more than its size.
    """
    # Not bytes(text) of whatever it is: of a number, that is so many bytes.
    if not isinstance(text, str | bytes):
        raise ValueError(f"its metadata are not JSON: {brief(text)} is no text")
    try:
        if isinstance(text, str):
            text = text.encode()
        _check_cost(text)
        return json.loads(text)
    except (ValueError, RecursionError, TypeError) as error:
        raise ValueError(f"its metadata are not JSON: {reason(error)}") from None


def _parsed(text: str | bytes, path: FileName, kind: Kind) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise ValueError(
            f"{kind.name} {label(path)} is damaged: {reason(error)}; {kind.remedy}"
        ) from None


def _checked_texts(content: bytes, path: FileName, kind: Kind) -> dict[str, str]:
    """Texts of the header of an intact file, by name."""
    header, body = _parts(content)
    json_text = bytes(header[_N_LENGTH:])
    if not json_text.startswith(b"{"):
        raise ValueError(
            f"{label(path)} is not a {kind.name} that this version of dyninfer wrote, "
            f"or it was cut off; {kind.remedy}"
        )
    intact = digest.is_intact(header, body)
    if intact is False:
        raise ValueError(
            f"{kind.name} {label(path)} is damaged: its content does not match its digest; "
            f"{kind.remedy}"
        )
    texts = _entry(_parsed(json_text, path, kind), "__metadata__")
    if not isinstance(texts, dict):
        texts = {}
    if intact is None:
        complaint = _without_digest(texts, path, kind)
        raise ValueError(f"{label(path)} {complaint}")
    return texts


def _entry(facts: Any, name: str) -> Any:
    """Entry of what should be a dictionary; None where it is not, or has none."""
    if isinstance(facts, dict):
        return facts.get(name)
    return None


def _without_digest(texts: dict[str, str], path: FileName, kind: Kind) -> str:
    """What is to be said of a file without a digest."""
    if kind.key not in texts:
        return _other_kind(texts, kind)
    text = texts[kind.key]
    facts = _parsed(text, path, kind)
    version = _entry(facts, "version")
    writer = "an earlier version"
    if version is not None:
        writer = f"dyninfer {str(version)[:30]}"
    return (
        f"has no digest: it is damaged, or {writer} wrote it, before {kind.name}s had one, and "
        f"such files are not read any more; {kind.remedy}"
    )


def _other_kind(texts: dict[str, str], kind: Kind) -> str:
    names = sorted(texts.keys() - {digest.NAME})
    content = ", ".join(names)[:60] or "without a name"
    return f"is a safetensors file but not a {kind.name} of dyninfer; what it holds is {content}"


def _header_with(texts: dict[str, str], header: memoryview) -> bytes:
    """A header with texts in it, in one order, so that equal contents are equal files."""
    content = bytes(header[_N_LENGTH:])
    entries = json.loads(content)
    both = {"__metadata__": texts} | entries
    text = json.dumps(both).encode()
    # The tensors behind it begin at a multiple of eight.
    padding = -len(text) % 8
    text += b" " * padding
    length = len(text).to_bytes(_N_LENGTH, "little")
    return length + text


def _parts(content: bytes) -> tuple[memoryview, memoryview]:
    """Header with its length in front, and the rest; no header where the length cannot be."""
    length = int.from_bytes(content[:_N_LENGTH], "little")
    end = _N_LENGTH + length
    view = memoryview(content)
    if end > len(view):
        end = 0
    return view[:end], view[end:]


def _check_cost(text: bytes) -> None:
    outside = _STRING.sub(b"", text)
    n_lists = outside.count(b"[")
    n_dictionaries = outside.count(b"{")
    n_containers = n_lists + n_dictionaries
    # Commas stand between entries, so there is one entry more.
    n_entries = outside.count(b",") + n_containers
    cost_of_containers = _PER_CONTAINER * n_containers
    cost_of_entries = _PER_ENTRY * n_entries
    cost = cost_of_containers + cost_of_entries
    if cost > 2 * len(text) + _SPARE_MEMORY:
        raise ValueError("it would need far more memory than its size")
    if _depth(outside) > _DEEPEST:
        raise ValueError(f"it is nested more than {_DEEPEST} times")


def _depth(text: bytes) -> int:
    """Deepest nesting of brackets."""
    depth = deepest = 0
    for bracket in text.translate(None, _NO_BRACKETS):
        if bracket in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest
