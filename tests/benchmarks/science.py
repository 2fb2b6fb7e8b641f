"""What scripts of several tables share: which tables are wanted, one thread, the folder of data, and Markdown."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import torch

Rows = Iterator[list[str]]
Tables = Mapping[str, Callable[..., tuple[list[str], Rows]]]
DATA = Path(os.environ.get("DYNINFER_DATA", "."))


def parser_of(tables: Tables, description: str | None) -> argparse.ArgumentParser:
    """A parser that takes names of tables, all by default; a script adds what its tables are called with."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "tables", nargs="*", default=list(tables), metavar="table", help=", ".join(tables)
    )
    parser.add_argument("--smallest", action="store_true", help="does it run? one row a table")
    return parser


def print_tables(
    parser: argparse.ArgumentParser, tables: Tables, of_data: Collection[str] = ()
) -> None:
    """Compute the tables that are asked for, on one thread, and print every row when it is there.

    A table is called with all other flags by their names; those ``of_data`` need DYNINFER_DATA.
    """
    given = vars(parser.parse_args())
    wanted = given.pop("tables")
    smallest = given.pop("smallest")
    if smallest and "size" in given:
        given["size"] = 1
    for name in wanted:
        if name not in tables:
            parser.error(f"there is no table {name!r}; there are {', '.join(tables)}")
    torch.set_num_threads(1)
    title = ", ".join(f"{flag} {value}" for flag, value in given.items())
    for name in wanted:
        if name in of_data and "DYNINFER_DATA" not in os.environ:
            print(f"{name}: DYNINFER_DATA is not set, skipped")
            continue
        if name in of_data and smallest:
            continue  # one row of them takes a minute
        head, rows = tables[name](**given)
        began = time.process_time()
        print(f"\n{name}, {title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
        for row in islice(rows, 1 if smallest else None):
            print(f"| {' | '.join(row)} |", flush=True)
        print(f"\n{time.process_time() - began:.0f} CPU-s")


def spread(values: list[float], digits: int = 3) -> str:
    """Mean and standard deviation."""
    return f"{np.mean(values):.{digits}f} ± {np.std(values):.{digits}f}"
