"""``dyninfer compare``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dyninfer.cli.arguments import add_data, add_keys, add_runs, given, given_keys, positive
from dyninfer.cli.inputs import check_folder, executor_of, read_cells, read_methods
from dyninfer.cli.output import add_json, print_json, print_table
from dyninfer.learning.files import write_file

SUMMARY = "leave times or paths out, and say which method predicts them best"
EXAMPLES = [
    "dyninfer compare cells.h5ad --time-key day --methods ActionMatching StochasticInterpolant",
    "dyninfer compare cells.h5ad --time-key day --methods 'ActionMatching(sigma=0.1)' --json",
    "dyninfer compare tracks.h5ad --time-key t --path-key track --methods FractionalSDE",
]
METHODS = ["ActionMatching", "StochasticInterpolant"]


def add_arguments(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the arguments of this command."""
    add_data(parser)
    parser.add_argument(
        "--methods",
        nargs="+",
        default=METHODS,
        metavar="NAME[(...)]",
        help="methods by name, with settings as in Python, all for snapshots or all for paths "
        f"(default: {' '.join(METHODS)})",
    )
    add_keys(parser, paths=True)
    parser.add_argument(
        "--hold-out",
        nargs="+",
        metavar="TIME|NAME",
        help="times that are left out one by one, or paths that are left out together "
        "(default: each)",
    )
    parser.add_argument(
        "--n-folds", type=positive, metavar="INT", help="folds of paths (default: five)"
    )
    parser.add_argument(
        "--n-repeats", type=positive, metavar="INT", help="fits of every method, of other seeds"
    )
    parser.add_argument("--baselines", nargs="+", metavar="NAME", help="(default: all)")
    parser.add_argument("--metrics", nargs="+", metavar="NAME", help="(default: all)")
    parser.add_argument(
        "--max-samples",
        type=positive,
        metavar="INT",
        help="cells a side of a comparison, or paths of a fold that are forecast, at most",
    )
    add_runs(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table as CSV")
    add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print the table of scores, and what it says to do."""
    check_folder(arguments.out)
    methods = read_methods(arguments.methods)
    options: dict[str, Any] = given_keys(arguments)
    names = ("n_folds", "n_repeats", "baselines", "metrics", "max_samples", "max_steps")
    options |= given(arguments, names)
    is_of_paths = arguments.path_key is not None
    if arguments.hold_out is not None:
        # Names of paths may be numbers too: they stay text.
        hold_out = arguments.hold_out
        options["hold_out"] = hold_out if is_of_paths else [float(time) for time in hold_out]
    data = read_cells(arguments)

    from dyninfer.tools import compare, recommend

    table = compare(
        data,
        methods,
        seed=arguments.seed,
        executor=executor_of(arguments.workers),
        checkpoint=arguments.checkpoint,
        progress=arguments.progress,
        **options,
    )
    if arguments.out is not None:
        write_file(arguments.out, table.to_csv(index=False).encode())
    advice = None
    try:
        advice = recommend(table)
        reasons = list(advice.reasons)
    # The scores stand, whatever they do not allow to say.
    except ValueError as error:
        reasons = [str(error)]
    if arguments.json:
        words = {
            "method": advice and advice.method,
            "is_worthwhile": bool(advice and advice.is_worthwhile),
            "reasons": reasons,
        }
        print_json({"table": table, "recommendation": words})
        return
    print_table(table, leave_out=("settings",))
    print("\n".join(reasons))
    if arguments.out is not None:
        print(f"written to {arguments.out}")
