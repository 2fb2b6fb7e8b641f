"""``dyninfer evaluate``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dyninfer.cli.arguments import add_data, add_model, add_seed, positive
from dyninfer.cli.inputs import check_folder, load_model, read_cells
from dyninfer.cli.output import add_json, print_json, print_table
from dyninfer.learning.files import write_file

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from dyninfer.estimators import Estimator

SUMMARY = "compare what the model simulates with what was observed"
EXAMPLES = ["dyninfer evaluate model.safetensors cells.h5ad --out metrics.csv --report report.html"]
# Those of ``compare_populations``; written out, since importing them would import torch.
METRICS = ("w1", "w2", "sliced_w2", "mmd", "energy")
# Those of ``transport.baselines``.
BASELINES = ("still", "next", "ot", "growth_first")
# Of a comparison of populations, which methods of paths and of velocities do not make.
_OF_SNAPSHOTS = ("start", "metrics", "baselines", "max_samples")


def add_arguments(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the arguments of this command."""
    add_model(parser)
    add_data(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table as CSV")
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write a report as one HTML file"
    )
    parser.add_argument(
        "--start",
        choices=("previous", "first"),
        help="simulate from the cells of the time before, or of the first time (default: previous)",
    )
    parser.add_argument("--metrics", nargs="+", choices=METRICS, help="distances (default: all)")
    parser.add_argument(
        "--baselines",
        nargs="+",
        choices=BASELINES,
        help="predictions without a model, scored beside it: unmoved cells, cells of the next "
        "time, optimal transport between neighbours, the same after growth (default: still; for a "
        "report still and ot)",
    )
    parser.add_argument(
        "--max-samples", type=positive, metavar="INT", help="cells compared at a time, at most"
    )
    parser.add_argument(
        "--time-unit", default="", metavar="TEXT", help="unit of time, for the report"
    )
    add_seed(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print the table of distances, and write it and a report where asked."""
    from dyninfer.estimators.fields import refuse_fields

    # Before the work, which may take long.
    check_folder(arguments.out)
    check_folder(arguments.report)
    model = load_model(arguments.model, arguments.method)
    if arguments.report is not None:
        refuse_fields(model, "a report")
    options = _options(model, arguments)
    data = read_cells(arguments, model)
    table = model.evaluate(data, seed=arguments.seed, **options)
    if arguments.out is not None:
        write_file(arguments.out, table.to_csv(index=False).encode())
    if arguments.json:
        print_json({"table": table})
    else:
        print_table(table)
    if arguments.report is not None:
        write_page(arguments.report, model, data, table, arguments)
    if arguments.out is not None and not arguments.json:
        print(f"written to {arguments.out}")


def _options(model: Estimator, arguments: argparse.Namespace) -> dict[str, Any]:
    """What ``evaluate`` is given beside the data; it has defaults for the rest."""
    from dyninfer.estimators import SnapshotEstimator

    options = {}
    for name in _OF_SNAPSHOTS:
        value = getattr(arguments, name)
        if value is not None:
            options[name] = value
    if not isinstance(model, SnapshotEstimator):
        for name in options:
            flag = name.replace("_", "-")
            raise ValueError(
                f"--{flag} is of a comparison of populations, which {type(model).__name__} does "
                "not make; leave it out"
            )
        return options
    # Transport pairs the times before and after, so that it has no rival from the first on.
    is_stepwise = options.get("start") != "first"
    if arguments.report is not None and is_stepwise:
        options.setdefault("baselines", ("still", "ot"))
    return options


def write_page(
    path: Path,
    model: Estimator,
    data: AnnData,
    table: pd.DataFrame,
    arguments: argparse.Namespace,
) -> None:
    """Write the report, titled by the file of the data unless a title is given."""
    from dyninfer.report import pictures, write_report

    unit = arguments.time_unit
    figures = pictures(model, data, table, time_unit=unit, seed=arguments.seed)
    title = getattr(arguments, "title", None)
    if not title:
        # Without the folders that lead to the file: they are nobody's business.
        title = f"{type(model).__name__} on {Path(arguments.data).name}"
    write_report(path, model, table, figures, title=title, time_unit=unit)
    # Where JSON is printed, it has the standard output to itself.
    stream = sys.stderr if getattr(arguments, "json", False) else sys.stdout
    print(f"written to {path}", file=stream)
