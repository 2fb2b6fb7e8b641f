"""What a fitted model is, and what it learned, on one page."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from dyninfer.data import display
from dyninfer.data.provenance import Provenance
from dyninfer.data.words import as_text, counted

# Longer tables would push the rest of a page off the screen; the whole is an attribute.
MOST_ROWS = 20


@dataclass(frozen=True, repr=False)
class Summary:
    """One page about a fitted model: ``print`` shows it as text, a notebook as tables.

    Attributes
    ----------
    title : str
        The method, and how its fit ended.
    facts : dict of str
        What it learned from, its settings, and the end of its training.
    tables : dict of DataFrame
        What was learned, in numbers, by name; empty where a network holds it.
    """

    title: str
    facts: Mapping[str, str]
    tables: Mapping[str, pd.DataFrame]

    def __str__(self) -> str:
        blocks = [display.block(self.title, self.facts)]
        for name, table in self.tables.items():
            numbers = table.to_string(index=False, max_rows=MOST_ROWS, float_format=_digits)
            blocks.append(f"{name}\n{numbers}")
        return "\n\n".join(blocks)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        page = display.table(self.title, self.facts)
        for name, table in self.tables.items():
            numbers = table.to_html(index=False, max_rows=MOST_ROWS, float_format=_digits, border=0)
            page += f"<div><b>{name}</b>{numbers}</div>"
        return page


class Summarised:
    """The part of every estimator that summarises it on one page."""

    tables: ClassVar[tuple[str, ...]]
    # Observed velocities have none: what stands in their place is a unit of time.
    data_have_times: ClassVar[bool] = True
    process_: Any
    history_: pd.DataFrame
    status_: str

    def summary(self) -> Summary:
        """Summarise on one page the data, how the fit ended, and what was learned.

        Returns
        -------
        Summary
            Shows itself in a terminal and in a notebook.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        """
        known = self._known()
        facts = _facts_of_data(known, self.data_have_times)
        facts["settings"] = " ".join(repr(self).split())
        facts["learned"] = _size(self.process_)
        facts["last step"] = _last(self.history_)
        facts["seed"] = str(known.seed)
        facts["version"] = known.version
        title = f"{type(self).__name__}: {self.status_}"
        return Summary(title, facts, self.learned())

    def learned(self) -> dict[str, pd.DataFrame]:
        """What was learned, in numbers, by name: the tables of a saved model."""
        shown = {}
        for name in self.tables:
            # Of the history, the last row is among the facts.
            if name != "history_" and getattr(self, name, None) is not None:
                shown[name.rstrip("_")] = getattr(self, name)
        return shown

    @abstractmethod
    def _known(self) -> Provenance:
        """What is known about the data; a NotFittedError where nothing was learned."""


def _facts_of_data(known: Provenance, has_times: bool) -> dict[str, str]:
    n = sum(known.sizes)
    size = counted(n, "observation")
    if has_times:
        first, last = known.times[0], known.times[-1]
        size += f", times {as_text(first)} to {as_text(last)}"
    facts = {"data": size, "features": display.listed(known.features)}
    if known.source:
        keys = [f"{key}={value!r}" for key, value in known.source.items()]
        facts["read by"] = ", ".join(keys)
    held_out = [str(name) for name in known.hold_out]
    if held_out:
        facts["held out"] = display.listed(held_out)
    return facts


def _size(process: Any) -> str:
    """How many numbers, and where they are."""
    tensors = list(process.parameters()) or list(process.buffers())
    n = sum(tensor.numel() for tensor in tensors)
    if not tensors:
        return counted(n, "number")
    dtype = str(tensors[0].dtype).removeprefix("torch.")
    return f"{counted(n, 'number')} ({dtype}, {tensors[0].device})"


def _last(history: pd.DataFrame) -> str:
    """Last row of the history: name and value, without what was not computed there."""
    if not len(history):
        return "none"
    row = history.iloc[-1]
    parts = [f"{name} {_text(value)}" for name, value in row.items() if not _is_missing(value)]
    return ", ".join(parts)


def _is_missing(value: Any) -> bool:
    return isinstance(value, (float, np.floating)) and np.isnan(value)


def _text(value: Any) -> str:
    return _digits(float(value)) if isinstance(value, (float, np.floating)) else str(value)


def _digits(value: float) -> str:
    # More say nothing at a glance; the tables themselves have all.
    return f"{value:.4g}"
