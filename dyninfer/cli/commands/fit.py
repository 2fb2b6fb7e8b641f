"""``dyninfer fit``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dyninfer.cli.arguments import add_data, by_prefix
from dyninfer.cli.inputs import check_folder, find_method, read_cells
from dyninfer.cli.output import add_json, print_json
from dyninfer.cli.spelling import names_for_fit, option_text, unknown_flag

SUMMARY = "fit a method to data and save the model"
EXAMPLES = [
    "dyninfer fit cells.h5ad --time-key day --use-rep X_pca --hold-out 3 --out model.safetensors",
    "dyninfer fit mesc_retinoic_acid --time-key time --sigma 0.05 --max-steps 2000",
    "dyninfer fit cells.h5ad --time-key day --method my_method.py:MyMethod",
]
METHOD = "ActionMatching"


def add_arguments(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the arguments of this command and, if it is the one asked for, the method's flags."""
    add_data(parser)
    parser.add_argument(
        "--method",
        default=METHOD,
        metavar="NAME|FILE.py:CLASS",
        help="a method by name, or a class of your own; its flags are shown by --help "
        f"(default: {METHOD})",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("model.safetensors"),
        metavar="FILE",
        help="model file (default: model.safetensors)",
    )
    add_json(parser)
    parser.usage = (
        "dyninfer fit DATA [--method NAME|FILE.py:CLASS] [--out FILE] [flags of the method]"
    )
    # The other commands have no use for a method, and importing one takes a second.
    words = [word for word in argv if not word.startswith("-")]
    if words[:1] == ["fit"]:
        _check_spelling(parser, argv)
        _add_method(parser, argv)


def _check_spelling(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Tell of a misspelt flag before the method is imported."""
    names = names_for_fit(option_text(argv, "--method") or METHOD)
    if names is None:
        return
    everywhere = {"data", "n_bins", "method", "out", "json", "help", "traceback", "version"}
    message = unknown_flag(argv, names | everywhere)
    if message is not None:
        parser.error(message)


def _add_method(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the flags of a method, of its ``fit``, and of its training."""
    from dyninfer.cli import flags
    from dyninfer.data.paths import Paths
    from dyninfer.data.snapshots import Snapshots
    from dyninfer.data.velocities import Velocities
    from dyninfer.estimators import FieldEstimator, PathEstimator
    from dyninfer.learning.training import Training

    cls = find_method(option_text(argv, "--method") or METHOD)
    reader: Any = Snapshots
    if issubclass(cls, PathEstimator):
        reader = Paths
    elif issubclass(cls, FieldEstimator):
        reader = Velocities
    data = flags.of_signature(cls.fit, explained_by=[reader.from_anndata])
    own = flags.of_fields(cls, skip=["training"])
    groups = [("data and run", "fit.", data), (cls.__name__, "own.", own)]
    for flag in own:
        for title, parts in flags.of_parts(flag, argv).items():
            groups.append((title, "own.", parts))
    if "training" in cls._get_param_names():
        # What fit takes, such as max_steps, is not asked a second time.
        names = [flag.name for flag in data]
        training = flags.of_fields(Training, skip=names)
        groups.append(("training", "training.", training))
    reserved = {"data", "n_bins", "method", "out", "json"}
    for title, prefix, group in groups:
        flags.add(parser.add_argument_group(title), group, prefix, reserved)
        reserved |= {flag.name for flag in group}


def run(arguments: argparse.Namespace) -> None:
    """Fit a method to data and save the model, also when training was interrupted."""
    from dyninfer.cli.flags import compose
    from dyninfer.data.words import counted
    from dyninfer.learning.training import Training

    check_folder(arguments.out)
    settings = by_prefix(arguments, "own.")
    training = by_prefix(arguments, "training.")
    if training:
        settings["training"] = compose(Training, training)
    model = compose(find_method(arguments.method), settings)
    data = read_cells(arguments)
    options = by_prefix(arguments, "fit.")
    model.fit(data, **options)
    model.save(arguments.out)
    # Methods without a training loop have an empty history.
    n_steps = 0
    if len(model.history_):
        n_steps = int(model.history_["step"].max())
    if arguments.json:
        content = {
            "model": " ".join(repr(model).split()),
            "status": model.status_,
            "steps": n_steps,
            "written": str(arguments.out),
        }
        print_json(content)
    else:
        steps = counted(n_steps, "step")
        print(f"{model}\n{model.status_} after {steps}; written to {arguments.out}")
    if model.status_ == "interrupted":
        # The model so far is safe; the shell must know that it is not the whole.
        raise KeyboardInterrupt
