"""``dyninfer tune``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dyninfer.cli.arguments import add_data, add_keys, add_runs, given, given_keys, positive
from dyninfer.cli.inputs import check_folder, executor_of, read_cells, read_methods
from dyninfer.cli.output import add_json, print_json
from dyninfer.learning.files import write_file

SUMMARY = "choose the settings of a method by times, or paths, that are left out"
EXAMPLES = [
    "dyninfer tune cells.h5ad --time-key day --hold-out 4 --model model.safetensors",
    "dyninfer tune cells.h5ad --time-key day --method 'ActionMatching(sigma=0.1)' --json",
    "dyninfer tune tracks.h5ad --time-key t --path-key track --hold-out-share 0.2",
]


def add_arguments(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the arguments of this command."""
    add_data(parser)
    parser.add_argument(
        "--method",
        metavar="NAME[(...)]",
        help="the method, with settings to start from (default: StochasticInterpolant; of paths "
        "MarkovJumpInference for states, FractionalSDE for numbers)",
    )
    add_keys(parser, paths=True)
    parser.add_argument(
        "--hold-out",
        nargs="+",
        metavar="TIME|NAME",
        help="times, or paths, that play no part in the choice, for an honest score later",
    )
    parser.add_argument(
        "--hold-out-share",
        type=float,
        metavar="FLOAT",
        help="share of the paths that plays no part, drawn at random",
    )
    parser.add_argument(
        "--n-folds", type=positive, metavar="INT", help="folds of paths (default: five)"
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
    method = None
    if arguments.method is not None:
        (method,) = read_methods([arguments.method])
    keys = given_keys(arguments)
    hold_out = _held_out(arguments)
    shared: dict[str, Any] = given(arguments, ("max_steps",))
    shared |= {"seed": arguments.seed, "progress": arguments.progress}
    data = read_cells(arguments)

    from dyninfer.tools import tune

    tuned = tune(
        data,
        method,
        hold_out=hold_out,
        executor=executor_of(arguments.workers),
        checkpoint=arguments.checkpoint,
        **keys,
        **shared,
        **given(arguments, ("n_subsamples", "max_cells", "n_folds")),
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
    # Paths of a share have names now.
    unused = list(tuned.hold_out) or hold_out
    model = tuned.fit(data, hold_out=unused, **keys, **shared)
    model.save(arguments.model)
    if not arguments.json:
        print(f"{model.status_}; written to {arguments.model}")
    if model.status_ == "interrupted":
        raise KeyboardInterrupt


def _held_out(arguments: argparse.Namespace) -> Any:
    """Times, names of paths, or a share of them; None where nothing is held out."""
    share = arguments.hold_out_share
    if share is not None and arguments.path_key is None:
        raise ValueError("--hold-out-share is of paths; name times by --hold-out")
    if share is not None and arguments.hold_out is not None:
        raise ValueError("--hold-out names paths and --hold-out-share draws some; leave one out")
    if share is not None or arguments.hold_out is None:
        return share
    if arguments.path_key is not None:
        # Names of paths may be numbers too: they stay text.
        return arguments.hold_out
    return [float(time) for time in arguments.hold_out]
