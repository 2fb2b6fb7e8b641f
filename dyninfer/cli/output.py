"""What commands print: tables for people, JSON for machines."""

from __future__ import annotations

import argparse
import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def add_json(parser: argparse.ArgumentParser) -> None:
    """Ask whether a machine reads along."""
    parser.add_argument(
        "--json", action="store_true", help="print JSON, for machines; what is missing is null"
    )


def print_json(content: Any) -> None:
    """Print one JSON document, and nothing that JSON does not have."""
    print(json.dumps(_plain(content), indent=1, allow_nan=False))


def print_table(table: pd.DataFrame, leave_out: tuple[str, ...] = ()) -> None:
    """Print the columns that say something; sizes of samples are in files and JSON."""
    columns = []
    for name in table:
        is_size = str(name).startswith("n_")
        column = table[name]
        is_blank = column.isna().all() or column.eq("").all()
        if not is_blank and not is_size and name not in leave_out:
            columns.append(name)
    rows = table[columns]
    print(rows.to_string(index=False, float_format="{:.4g}".format, na_rep="-"))


def _plain(value: Any) -> Any:
    """Tables as lists of rows, numbers of NumPy as Python's, and None where one is not finite."""
    if hasattr(value, "to_dict"):
        return [_plain(row) for row in value.to_dict("records")]
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    # Numbers of NumPy, which know their Python kin.
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
