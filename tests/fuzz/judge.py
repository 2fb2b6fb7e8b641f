"""Run one input and say how it ended."""

import contextlib
import io
import random
import re
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

import dyninfer
from dyninfer.metrics import monge
from fuzz import inputs
from fuzz.door import Door
from fuzz.doors import DOORS

PACKAGE = str(Path(dyninfer.__file__).parent)
LONGEST = 300  # characters of a message
# How an input must not end; "heavy" is a file that takes far more memory than its size.
FAILURES = ("raw", "silent", "hangs", "dies", "heavy")
# What the package promises to raise, beside kinds of its own.
KINDS = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    FileNotFoundError,
    MemoryError,
    NotImplementedError,
)
# A warning that numpy or torch gives is no word of ours.
FOREIGN = re.compile(
    r"encountered in|divide by zero|Mean of empty|Degrees of freedom|invalid value"
)
# Columns of tables that are empty where the data have no masses, where noise or growth leaves no
# map, or where a score has its reason beside it.
EMPTY = ("mass", "mass_error", "mass_observed", "mass_simulated", "note", *monge.COLUMNS)
NAMES = {name: getattr(inputs, name) for name in dir(inputs) if not name.startswith("__")}


@dataclass(frozen=True)
class Ending:
    """How an input ended: one of FAILURES, "works", "sentence", or "invalid" input code."""

    kind: str
    message: str = ""
    where: str = ""

    @property
    def fails(self) -> bool:
        return self.kind in FAILURES


def odd_input(door: str, seed: int, number: int) -> dict[tuple[str, str], str]:
    """The odd values of one input; the same for the same numbers."""
    return DOORS[door].draw(random.Random(f"{seed} {door} {number}"))


def run(code: str) -> Ending:
    """Evaluate code and judge what it returns or raises."""
    with warnings.catch_warnings(record=True) as messages:
        warnings.simplefilter("always")
        try:
            with (
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                result = eval(code, dict(NAMES))
        except Exception as error:  # noqa: BLE001
            return of_error(error)
        finally:
            torch.set_default_dtype(torch.float32)
            plt.close("all")
        words = [str(w.message) for w in messages]
    has_warned = any(not FOREIGN.search(text) for text in words)
    if has_warned:
        return Ending("works")
    for name, array in numbers(result):
        if not np.isfinite(array).all():
            return Ending("silent", f"NaN or infinity in {name}")
    return Ending("works")


def shrink(
    door: Door, odd: dict[tuple[str, str], str], ending: Ending
) -> dict[tuple[str, str], str]:
    """Leave out odd values as long as the input ends in the same way."""
    for place in list(odd):
        fewer = {key: value for key, value in odd.items() if key != place}
        if fewer and run(door.write(fewer)).where == ending.where:
            odd = fewer
    return odd


def of_error(error: Exception) -> Ending:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.filename.startswith(PACKAGE)]
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    kind = type(error).__name__
    if isinstance(error, inputs.CommandRefused):
        return _of_command(text)
    if not own:
        # The odd value cannot even be written, such as a complex column of text.
        return Ending("invalid", f"{kind}: {text}")
    where = f"{Path(own[-1].filename).relative_to(PACKAGE)}:{own[-1].lineno}"
    last = frames[-1].filename
    is_own = last.startswith(PACKAGE)
    is_kind = isinstance(error, KINDS) or type(error).__module__.startswith("dyninfer")
    is_kind = is_kind or type(error).__name__ == "NotFittedError"
    fault = None
    if "unexpected keyword argument" in text:
        # Python's own sentence names the argument.
        fault = None
    elif not is_own:
        fault = f"from {Path(last).name}"
    elif not is_kind:
        fault = "of another kind"
    elif not _is_raised(own[-1]):
        fault = "raised by no line of ours"
    elif "\n" in text:
        fault = "of several lines"
    elif len(text) > LONGEST:
        fault = f"of {len(text)} characters"
    if fault is None:
        return Ending("sentence", text, where)
    return Ending("raw", f"{kind} {fault}: {' '.join(text.split())[:160]}", where)


def _is_raised(frame: traceback.FrameSummary) -> bool:
    """Whether the line is a `raise`, and no operation that failed."""
    return "raise" in (frame.line or "") or "raise" in _statement(frame)


def _statement(frame: traceback.FrameSummary) -> str:
    lines = Path(frame.filename).read_text(encoding="utf-8").splitlines()
    return " ".join(lines[max(frame.lineno - 4, 0) : frame.lineno])


def _of_command(text: str) -> Ending:
    lines = text.splitlines()
    if not lines or not lines[-1].startswith("dyninfer"):
        return Ending("raw", f"command line: {text[-160:]!r}", "cli")
    if len(lines) > 1 or len(lines[-1]) > LONGEST + 30:
        return Ending(
            "raw",
            f"command line, {len(lines)} lines, {len(lines[-1])} characters: {lines[0][:120]}",
            f"cli {lines[0][:40]}",
        )
    return Ending("sentence", text, "cli")


def numbers(result: Any, name: str = "result") -> Iterator[tuple[str, np.ndarray]]:
    """Every array of numbers in a result that carries no flag."""
    if isinstance(result, dyninfer.Trajectories):
        going = (result.status == 0).numpy()
        for field in ("states", "log_weights"):
            values = getattr(result, field)
            if values is not None:
                yield field, values.detach().numpy()[going].astype(float)
    elif isinstance(result, dyninfer.Snapshots):
        for field in ("times", "masses"):
            if getattr(result, field) is not None:
                yield field, np.asarray(getattr(result, field))
        for field in ("samples", "weights"):
            for values in getattr(result, field) or ():
                yield field, values
    elif isinstance(result, dyninfer.Paths):
        for values in result.times:
            yield "times", values
    elif isinstance(result, dyninfer.Estimator):
        if result.status_ != "diverged":
            for key, tensor in result.process_.state_dict().items():
                yield key, tensor.numpy().astype(float)
    elif isinstance(result, torch.Tensor):
        yield name, result.detach().numpy().astype(float)
    elif isinstance(result, np.ndarray | float | np.floating):
        if np.asarray(result).dtype.kind in "fiu":
            yield name, np.asarray(result)
    elif isinstance(result, pd.DataFrame):
        if "forecasts" in result:
            # Of a path without a forecast there is no score.
            result = result[result["forecasts"] > 0]
        for column in result.select_dtypes("number"):
            if column in EMPTY:
                continue
            yield str(column), result[column].to_numpy(dtype=float)
    elif isinstance(result, dict):
        for key, value in result.items():
            yield from numbers(value, str(key))
    elif isinstance(result, list | tuple):
        for value in result:
            yield from numbers(value, name)
    elif hasattr(result, "obs") and any(c.startswith("dyninfer_") for c in result.obs):
        for column in result.obs:
            if column.startswith("dyninfer_") and result.obs[column].dtype.kind == "f":
                yield column, result.obs[column].to_numpy()
