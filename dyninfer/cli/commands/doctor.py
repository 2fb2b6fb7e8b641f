"""``dyninfer doctor``."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

from dyninfer.cli.arguments import add_data, add_keys, given_keys
from dyninfer.cli.inputs import read_data
from dyninfer.cli.output import add_json, print_json

SUMMARY = "say what is in the data, what a fit would use, and what is missing"
EXAMPLES = ["dyninfer doctor cells.h5ad", "dyninfer doctor cells.h5ad --time-key day --json"]


def add_arguments(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the arguments of this command."""
    add_data(parser)
    add_keys(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print what the data hold."""
    data = read_data(arguments.data)

    from dyninfer.tools import doctor

    examination = doctor(data, **given_keys(arguments))
    if arguments.json:
        print_json({**dataclasses.asdict(examination), "is_ready": examination.is_ready})
        return
    print(examination)
