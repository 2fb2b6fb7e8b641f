"""``dyninfer report``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dyninfer.cli.arguments import add_data, add_model, add_seed
from dyninfer.cli.commands.evaluate import write_page
from dyninfer.cli.inputs import check_folder, load_model, read_cells

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
    from dyninfer.estimators import SnapshotEstimator
    from dyninfer.estimators.fields import refuse_fields

    check_folder(arguments.out)
    model = load_model(arguments.model, arguments.method)
    # Before the evaluation, whose table no page could hold.
    refuse_fields(model, "a report")
    data = read_cells(arguments, model)
    options: dict[str, Any] = {"seed": arguments.seed}
    # Methods of paths score the last value, held still, by themselves.
    if isinstance(model, SnapshotEstimator):
        options["baselines"] = ("still", "ot")
    table = model.evaluate(data, **options)
    write_page(arguments.out, model, data, table, arguments)
