"""The parser, and the arguments that several commands share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


LONGEST = 220  # characters of a message, of which the remedy is not a part


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage of forty flags."""

    def error(self, message: str) -> Any:
        """Leave with exit code 2."""
        message = " ".join(message.split())
        if len(message) > LONGEST:
            message = message[: LONGEST - 3] + "..."
        self.exit(2, f"dyninfer: error: {message}; see '{self.prog} --help'\n")


def add_data(parser: argparse.ArgumentParser) -> None:
    """Ask for the data."""
    parser.add_argument(
        "data", metavar="DATA", help="an .h5ad or .zarr file, or the name of a data set"
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """Ask for a model file, and for the file of its class if that is not ours."""
    parser.add_argument("model", metavar="MODEL", help="a model file that 'dyninfer fit' wrote")
    parser.add_argument(
        "--method",
        metavar="FILE.py:CLASS",
        help="where the class of the model is, if it is your own",
    )


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Ask for the seed."""
    parser.add_argument("--seed", type=int, default=0, help="fixes every draw (default: 0)")


def times(text: str) -> np.ndarray:
    """Read ``0:4:81`` as ``numpy.linspace`` does, or ``0,1,2``."""
    import numpy as np

    try:
        if ":" in text:
            first, last, number = text.split(":")
            return np.linspace(float(first), float(last), int(number))
        return np.array([float(part) for part in text.split(",")])
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither FROM:TO:NUMBER nor a list such as 0,1,2"
        ) from None


def positive(text: str) -> int:
    """Read a whole number above zero."""
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def by_prefix(arguments: argparse.Namespace, prefix: str) -> dict[str, Any]:
    """Arguments whose name starts with ``prefix``, without it."""
    values = {}
    for name, value in vars(arguments).items():
        if name.startswith(prefix):
            values[name.removeprefix(prefix)] = value
    return values
