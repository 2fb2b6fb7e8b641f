"""``dyninfer report``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from dyninfer.cli.arguments import add_data, add_model, add_seed
from dyninfer.cli.commands.evaluate import for_snapshots, write_page
from dyninfer.cli.inputs import check_folder, load_model, read_data

SUMMARY = "write one page that says what was learned, and whether to believe it"
EXAMPLES = ["dyninfer report model.safetensors cells.h5ad --time-unit d --out report.html"]


def add_arguments(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the arguments of this command."""
    add_model(parser)
    add_data(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("report.html"),
        metavar="FILE",
        help="one HTML file (default: report.html)",
    )
    parser.add_argument("--title", metavar="TEXT", help="(default: the method and the file)")
    parser.add_argument("--time-unit", default="", metavar="TEXT", help="unit of time")
    add_seed(parser)


def run(arguments: argparse.Namespace) -> None:
    """Evaluate the model beside baselines, and write the page."""
    check_folder(arguments.out)
    model = for_snapshots(load_model(arguments.model, arguments.method), "a report")
    data = read_data(arguments.data)
    table = model.evaluate(data, baselines=("still", "ot"), seed=arguments.seed)
    write_page(arguments.out, model, data, table, arguments)
