"""What a run leaves to look at: the rows of its history."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch
from torch import Tensor

from dyninfer.learning.parallel import mean_over_processes


class History:
    """Means of the terms of the loss, a row for every few steps.

    Sums stay on the device until a row is closed, so that no step waits for it.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.sums: dict[str, Tensor] = {}
        self.count = 0

    def add(self, terms: dict[str, Tensor]) -> None:
        """Add the scalars of one step."""
        for name, value in terms.items():
            if name in self.sums:
                value = value + self.sums[name]
            self.sums[name] = value
        self.count += 1

    def close_row(self, step: int, **others: float) -> dict[str, float]:
        """Append a row with the means since the last one, over all processes; return the means."""
        # The one wait for the device: all terms come over together.
        sums = [total.double() for total in self.sums.values()]
        totals = torch.stack(sums)
        mean_over_processes([totals])
        values = (totals / self.count).tolist()
        means = dict(zip(self.sums, values, strict=True))
        row = {"step": step} | means | others
        self.rows.append(row)
        self.sums = {}
        self.count = 0
        return means

    def note(self, name: str, value: float, *, step: int, seconds: float) -> None:
        """Write a value into the row of a step, or into one of its own."""
        row = self.rows[-1] if self.rows else {}
        if row.get("step") != step:
            row = {"step": step, "seconds": seconds}
            self.rows.append(row)
        row[name] = value

    def table(self) -> pd.DataFrame:
        """All rows."""
        return pd.DataFrame(self.rows)

    def state(self) -> dict[str, Any]:
        """Rows, and the sums of the row that is not closed yet."""
        return {"rows": self.rows, "sums": self.sums, "count": self.count}

    def restore(self, state: dict[str, Any]) -> None:
        """Undo :meth:`state`; a ValueError where the rows are those of no table."""
        is_table = all(isinstance(row, dict) for row in state["rows"])
        if not is_table:
            raise ValueError("its history holds what is no row of a table")
        self.rows = state["rows"]
        self.sums = state["sums"]
        self.count = state["count"]
