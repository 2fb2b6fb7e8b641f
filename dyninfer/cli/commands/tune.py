"""``dyninfer tune``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dyninfer.cli.arguments import add_data, add_keys, add_runs, given, given_keys, positive
from dyninfer.cli.inputs import check_folder, executor_of, read_data, read_methods
from dyninfer.cli.output import add_json, print_json
from dyninfer.learning.files import write_file

SUMMARY = "choose the settings of a method by times that are left out"
EXAMPLES = [
    "dyninfer tune cells.h5ad --time-key day --hold-out 4 --model model.safetensors",
    "dyninfer tune cells.h5ad --time-key day --method 'ActionMatching(sigma=0.1)' --json",
]
METHOD = "StochasticInterpolant"


def add_arguments(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the arguments of this command."""
    add_data(parser)
    parser.add_argument(
        "--method",
        default=METHOD,
        metavar="NAME[(...)]",
        help=f"the method, with the settings to start from (default: {METHOD})",
    )
    add_keys(parser)
    parser.add_argument(
        "--hold-out",
        nargs="+",
        type=float,
        metavar="TIME",
        help="times that play no part in the choice, for an honest score later",
    )
    parser.add_argument(
        "--n-subsamples",
        type=positive,
        metavar="INT",
        help="subsamples that scores are pooled over",
    )
    parser.add_argument(
        "--max-cells", type=positive, metavar="INT", help="cells of a subsample at each time"
    )
    add_runs(parser)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write the table of all scores as CSV"
    )
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="fit the chosen settings to all times that are not held out, and save the model",
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print what was tried and chosen, and fit it where asked."""
    check_folder(arguments.out)
    check_folder(arguments.model)
    (method,) = read_methods([arguments.method])
    keys = given_keys(arguments)
    shared: dict[str, Any] = given(arguments, ("hold_out", "max_steps"))
    shared |= {"seed": arguments.seed, "progress": arguments.progress}
    data = read_data(arguments.data)

    from dyninfer.tools import tune

    tuned = tune(
        data,
        method,
        executor=executor_of(arguments.workers),
        checkpoint=arguments.checkpoint,
        **keys,
        **shared,
        **given(arguments, ("n_subsamples", "max_cells")),
    )
    if arguments.out is not None:
        text = tuned.table.to_csv(index=False)
        write_file(arguments.out, text.encode())
    best = " ".join(repr(tuned.best).split())
    if arguments.json:
        content = {
            "best": best,
            "settings_scored": tuned.settings_scored,
            "reasons": tuned.reasons,
            "table": tuned.table,
        }
        print_json(content)
    else:
        print(f"{tuned}\nbest: {best}")
    if arguments.model is None:
        return
    model = tuned.fit(data, **keys, **shared)
    model.save(arguments.model)
    if not arguments.json:
        print(f"{model.status_}; written to {arguments.model}")
    if model.status_ == "interrupted":
        raise KeyboardInterrupt
