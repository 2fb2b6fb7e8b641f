"""``dyninfer demo``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from dyninfer.cli.arguments import add_seed, positive

SUMMARY = "fit real cells with one time held out, simulate them, and write a report; about a minute"
EXAMPLES = ["dyninfer demo --folder demo"]


def add_arguments(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the arguments of this command."""
    parser.add_argument("--folder", default="demo", help="where the results go (default: demo)")
    add_seed(parser)
    parser.add_argument("--max-steps", type=positive, metavar="INT", help="training steps at most")
    parser.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="show a progress bar",
    )


def run(arguments: argparse.Namespace) -> None:
    """Run the demonstration and print what came out."""
    from dyninfer.cli.demo import run_demo

    demo = run_demo(
        arguments.folder,
        arguments.seed,
        max_steps=arguments.max_steps,
        progress=arguments.progress,
    )
    print(demo.summary)
