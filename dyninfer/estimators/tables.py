"""Tables as text, for the metadata of a model file."""

from __future__ import annotations

import json

import pandas as pd


def to_text(table: pd.DataFrame) -> str:
    """A table as text that :func:`from_text` reads."""
    values = json.loads(table.to_json(orient="values"))
    return json.dumps({"columns": list(table.columns), "data": values, "attrs": table.attrs})


def from_text(text: str) -> pd.DataFrame:
    """Undo :func:`to_text`."""
    saved = json.loads(text)
    table = pd.DataFrame(saved["data"], columns=saved["columns"])
    table.attrs = saved["attrs"]
    return table
