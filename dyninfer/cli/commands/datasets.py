"""``dyninfer datasets``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from dyninfer.cli.inputs import check_folder, load_dataset
from dyninfer.learning.files import write_file

SUMMARY = "list the data sets, or write one to a file"
EXAMPLES = ["dyninfer datasets", "dyninfer datasets mesc_retinoic_acid --out cells.h5ad"]


def add_arguments(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="a data set; without it, all are listed"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="file to write (default: NAME.h5ad)"
    )


def run(arguments: argparse.Namespace) -> None:
    """List the data sets, or write one of them to a file."""
    from dyninfer.datasets import available

    if arguments.name is None:
        # What fits a line of a terminal; licence and reference are in the file.
        columns = ["name", "cells", "features", "origin", "times"]
        print(available()[columns].to_string(index=False))
        return
    out = arguments.out
    if out is None:
        out = Path(f"{arguments.name}.h5ad")
    # It imports torch, for which a list need not wait.
    from dyninfer.data.trajectory_file import h5ad_content

    check_folder(out)
    adata = load_dataset(arguments.name)
    write_file(out, h5ad_content(adata))
    source = adata.uns["source"]
    print(f"{adata}\n{source['reference']}\nlicence: {source['licence']}\nwritten to {out}")
