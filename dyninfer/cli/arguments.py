"""The parser, and the arguments that several commands share."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dyninfer.data.keys import PATH_KEYS, SNAPSHOT_KEYS

if TYPE_CHECKING:
    import numpy as np


LONGEST = 220  # characters of a message, of which the remedy is not a part


# -5, -.5, -1e3, and lists and ranges of times that start so: -5,-2 and -5:5:11.
_NEGATIVE = re.compile(r"^-(\d|\.\d)[-\d.eE+,:]*$")
# Words of help for the keys of an AnnData.
_KEYS = {
    "time_key": "column of obs with the times",
    "use_rep": "key of obsm, a layer, or X (default: X_pca if present, else X)",
    "mass_key": "column of obs with the total mass at each cell's time",
    "weight_key": "column of obs with the weight of every cell within its time",
    "condition_key": "column of obs with a label for every cell or path",
    "growth_key": "column of obs with the log-growth expected of every cell, per unit of time",
    "path_key": "column of obs that names the path of each row",
    "state_key": "column of obs with discrete states of paths",
}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage of forty flags."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        # Argparse takes a list that starts with a minus for a flag, and offers no other way.
        self._negative_number_matcher = _NEGATIVE

    def options(self) -> list[str]:
        """All flags, as they are written."""
        return [option for action in self._actions for option in action.option_strings]

    def error(self, message: str) -> Any:
        """Leave with exit code 2."""
        message = " ".join(message.split())
        if len(message) > LONGEST:
            message = message[: LONGEST - 3] + "..."
        # After a question, no semicolon.
        joint = " " if message.endswith("?") else "; "
        self.exit(2, f"dyninfer: error: {message}{joint}see '{self.prog} --help'\n")


def add_data(parser: argparse.ArgumentParser) -> None:
    """Ask for the data."""
    parser.add_argument(
        "data", metavar="DATA", help="an .h5ad or .zarr file, or the name of a data set"
    )
    parser.add_argument(
        "--n-bins",
        type=positive,
        metavar="INT",
        help="put continuous times into so many bins of about equally many cells",
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


def add_keys(parser: argparse.ArgumentParser, paths: bool = False) -> None:
    """Ask where in an AnnData things are, as ``fit`` does."""
    names = dict.fromkeys([*SNAPSHOT_KEYS, *(PATH_KEYS if paths else ())])
    group = parser.add_argument_group("keys of the data")
    for name in names:
        dashed = name.replace("_", "-")
        group.add_argument(f"--{dashed}", metavar="TEXT", help=_KEYS[name])


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Ask how many fits are run: how long, where, and what is kept of them."""
    parser.add_argument(
        "--max-steps", type=positive, metavar="INT", help="training steps of a fit at most"
    )
    parser.add_argument(
        "--workers", type=positive, default=1, metavar="INT", help="fits at once (default: 1)"
    )
    parser.add_argument(
        "--checkpoint",
        metavar="FOLDER",
        help="keeps every score as soon as it is there; called again, only what is missing is "
        "computed",
    )
    parser.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="show a progress bar",
    )
    add_seed(parser)


def given(arguments: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Those of the arguments that are given: Python knows the defaults of the others."""
    values = {name: getattr(arguments, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def given_keys(arguments: argparse.Namespace) -> dict[str, Any]:
    """Keys of the data that are given."""
    names = [name for name in _KEYS if hasattr(arguments, name)]
    return given(arguments, names)


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
