"""The command line: ``dyninfer demo | fit | simulate | evaluate | datasets | info``.

Nothing slow is imported before it is needed, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import difflib
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import dyninfer

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData

    from dyninfer.estimators import Estimator

METHOD = "ActionMatching"
ERRORS = (KeyError, ValueError, TypeError, OSError, MemoryError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 2 for a mistake in the request, 130 for Ctrl-C."""
    argv = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    traceback = "--traceback" in argv
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: print(
            f"dyninfer: warning: {message}", file=sys.stderr
        )
        try:
            arguments = _parser(argv).parse_args(argv)
            arguments.run(arguments)
        except KeyboardInterrupt:
            print("dyninfer: interrupted", file=sys.stderr)
            return 130
        except ERRORS as error:
            if traceback:
                raise
            print(f"dyninfer: error: {_sentence(error)}", file=sys.stderr)
            return 2
    return 0


def demo(arguments: argparse.Namespace) -> None:
    """Run the demonstration and print what came out."""
    from dyninfer.cli.demo import run_demo

    options = {"max_steps": arguments.max_steps, "progress": arguments.progress}
    print(run_demo(arguments.folder, arguments.seed, **options).summary)


def fit(arguments: argparse.Namespace) -> None:
    """Fit a method to data and save the model, also when training was interrupted."""
    from dyninfer.learning.training import Training

    cls = _method(arguments.method)
    _check_folder(arguments.out)
    own, keys, training = (_given(arguments, f"{kind}.") for kind in ("own", "fit", "training"))
    model = cls(**own, **({"training": Training(**training)} if training else {}))
    model.fit(_data(arguments.data), **keys)
    model.save(arguments.out)
    steps = int(model.history_["step"].max()) if len(model.history_) else 0
    print(f"{model}\n{model.status_} after {steps} steps; written to {arguments.out}")


def simulate(arguments: argparse.Namespace) -> None:
    """Simulate from the cells at the first time and save the trajectories."""
    _check_folder(arguments.out)
    asked = {name: getattr(arguments, name) for name in ("n_paths", "noise", "backward", "seed")}
    options = {
        name: value for name, value in asked.items() if value is not None and value is not False
    }
    model = _model(arguments)
    traj = model.simulate(_data(arguments.data), arguments.times, **options)
    traj.save(arguments.out)
    print(f"{traj}\nwritten to {arguments.out}")


def evaluate(arguments: argparse.Namespace) -> None:
    """Compare simulated and observed populations; print, and write a table and a report where asked."""
    from dyninfer.estimators import SnapshotEstimator

    for path in (arguments.out, arguments.report):
        _check_folder(path)
    model, data = _model(arguments), _data(arguments.data)
    options: dict[str, Any] = {"max_samples": arguments.max_samples, "seed": arguments.seed}
    if isinstance(model, SnapshotEstimator):
        table = model.evaluate(data, start=arguments.start, metrics=arguments.metrics, **options)
    elif arguments.report is not None:
        raise ValueError(
            f"--report compares populations, which a {type(model).__name__} has none of; leave it out"
        )
    else:
        table = model.evaluate(data, seed=arguments.seed)
    shown = [c for c in table if not c.startswith("n_") and not table[c].isna().all()]
    print(table[shown].to_string(index=False, float_format="{:.4g}".format))
    if arguments.report is not None:
        table = _report(arguments, model, data, table, options)
    if arguments.out is not None:
        table.to_csv(arguments.out, index=False)
        print(f"written to {arguments.out}")


def datasets(arguments: argparse.Namespace) -> None:
    """List the data sets, or write one of them to a file."""
    from dyninfer.datasets import available

    if arguments.name is None:
        columns = ["name", "cells", "features", "origin", "times"]
        print(available()[columns].to_string(index=False))
        return
    adata = _dataset(arguments.name)
    out = Path(f"{arguments.name}.h5ad") if arguments.out is None else arguments.out
    _check_folder(out)
    adata.write_h5ad(out)
    source = adata.uns["source"]
    print(f"{adata}\n{source['reference']}\nlicence: {source['licence']}\nwritten to {out}")


def info(arguments: argparse.Namespace) -> None:
    """Print versions and devices, for a bug report."""
    import torch

    from dyninfer.report import versions

    lines = versions() | {"threads": str(torch.get_num_threads())}
    gpus = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    lines["gpu"] = ", ".join(gpus) or ("mps" if torch.backends.mps.is_available() else "none")
    for name, value in lines.items():
        print(f"{name:<13} {value}")


def _report(
    arguments: argparse.Namespace,
    model: Estimator,
    data: AnnData,
    table: Any,
    options: dict[str, Any],
) -> Any:
    """Write the report; the table comes back with the interpolation baseline."""
    from dyninfer.data.snapshots import Snapshots
    from dyninfer.report import add_interpolation, pictures, write_report

    observed = Snapshots.from_anndata(data, **cast(Any, model.source_))
    if arguments.start == "previous":
        table = add_interpolation(table, observed, **options)
    unit = arguments.time_unit
    drawn = pictures(model, data, observed, table, time_unit=unit, seed=arguments.seed)
    title = f"{type(model).__name__} on {arguments.data}"
    write_report(arguments.report, model, table, drawn, title=title, time_unit=unit)
    print(f"written to {arguments.report}")
    return table


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage of forty flags."""

    def error(self, message: str) -> Any:
        self.exit(2, f"dyninfer: error: {message}; see '{self.prog} --help'\n")


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """Parser of all commands; the flags of a method are added where ``fit`` is asked for."""
    top = _Parser(
        prog="dyninfer",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Learn the dynamics behind snapshots of a population, then simulate them.",
        epilog="example: dyninfer demo\n\n'dyninfer COMMAND --help' explains a command.",
    )
    top.add_argument("--version", action="version", version=f"dyninfer {dyninfer.__version__}")
    common = _Parser(add_help=False)
    for parser, default in ((top, False), (common, argparse.SUPPRESS)):
        parser.add_argument(
            "--traceback",
            action="store_true",
            default=default,
            help="show where an error came from",
        )
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(run: Any, summary: str, *examples: str) -> argparse.ArgumentParser:
        parser = commands.add_parser(
            run.__name__,
            parents=[common],
            help=summary,
            description=summary,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog="\n".join(
                [f"example{'s' if len(examples) > 1 else ''}:", *(f"  {e}" for e in examples)]
            ),
        )
        parser.set_defaults(run=run)
        return parser

    _add_demo(command)
    _add_fit(command, argv)
    _add_simulate(command)
    _add_evaluate(command)
    _add_datasets(command)
    command(info, "print versions and devices, for a bug report", "dyninfer info")
    return top


def _add_demo(command: Any) -> None:
    parser = command(
        demo,
        "fit real cells with one time held out, simulate them, and write a report; about a minute",
        "dyninfer demo --folder demo",
    )
    parser.add_argument("--folder", default="demo", help="where the results go (default: demo)")
    parser.add_argument("--seed", type=int, default=0, help="fixes every draw (default: 0)")
    parser.add_argument("--max-steps", type=_positive, metavar="INT", help="training steps at most")
    parser.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="show a progress bar",
    )


def _add_fit(command: Any, argv: Sequence[str]) -> None:
    parser = command(
        fit,
        "fit a method to data and save the model",
        "dyninfer fit cells.h5ad --time-key day --use-rep X_pca --hold-out 3 --out model.safetensors",
        "dyninfer fit mesc_retinoic_acid --time-key time --sigma 0.05 --max-steps 2000",
        "dyninfer fit cells.h5ad --time-key day --method my_method.py:MyMethod",
    )
    _add_data(parser)
    parser.add_argument(
        "--method",
        default=METHOD,
        metavar="NAME|FILE.py:CLASS",
        help=f"a method by name, or a class of your own; its flags are shown by --help (default: {METHOD})",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("model.safetensors"),
        metavar="FILE",
        help="model file (default: model.safetensors)",
    )
    parser.usage = (
        "dyninfer fit DATA [--method NAME|FILE.py:CLASS] [--out FILE] [flags of the method]"
    )
    first = _Parser(add_help=False, allow_abbrev=False)
    first.add_argument("command", nargs="?")
    first.add_argument("--method", default=METHOD)
    asked, _ = first.parse_known_args([word for word in argv if word not in ("-h", "--help")])
    if asked.command != "fit":
        return
    from dyninfer.cli import flags
    from dyninfer.data.paths import Paths
    from dyninfer.data.snapshots import Snapshots
    from dyninfer.learning.training import Training

    cls = _method(asked.method)
    own = flags.of_fields(cls, skip=["training"])
    keys = flags.of_signature(cls.fit, explained_by=(Paths.from_anndata, Snapshots.from_anndata))
    known = {flag.name for flag in keys}  # what fit takes, max_steps, is not asked of the training
    training = flags.of_fields(Training, skip=known) if "training" in cls._get_param_names() else []
    taken = {"data", "method", "out"}
    for title, prefix, some in (
        ("data and run", "fit.", keys),
        (cls.__name__, "own.", own),
        ("training", "training.", training),
    ):
        flags.add(parser.add_argument_group(title), some, prefix, taken)
        taken |= {flag.name for flag in some}


def _add_simulate(command: Any) -> None:
    parser = command(
        simulate,
        "simulate from the cells at the first time",
        "dyninfer simulate model.safetensors cells.h5ad --times 0:4:81 --out traj.h5ad",
        "dyninfer simulate model.safetensors cells.h5ad --times 0,1,2 --n-paths 5000 --out traj.zarr",
    )
    _add_model(parser)
    _add_data(parser)
    parser.add_argument(
        "--times",
        type=_times,
        required=True,
        metavar="FROM:TO:NUMBER|T,T,...",
        help="times to store, in the units of the data: evenly spaced, or a list",
    )
    parser.add_argument(
        "--n-paths",
        type=_positive,
        metavar="INT",
        help="number of paths (default: one for every cell)",
    )
    parser.add_argument(
        "--noise",
        type=float,
        metavar="NUMBER",
        help="noise of the simulation, for models with a score (default: the model's own)",
    )
    parser.add_argument(
        "--backward", action="store_true", help="run time downwards; give descending times"
    )
    parser.add_argument("--seed", type=int, default=0, help="fixes every draw (default: 0)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("trajectories.h5ad"),
        metavar="FILE",
        help=".h5ad, .zarr or .nc (default: trajectories.h5ad)",
    )


def _add_evaluate(command: Any) -> None:
    parser = command(
        evaluate,
        "compare what the model simulates with what was observed",
        "dyninfer evaluate model.safetensors cells.h5ad --out metrics.csv --report report.html",
    )
    _add_model(parser)
    _add_data(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table as CSV")
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write a report as one HTML file"
    )
    parser.add_argument(
        "--start",
        choices=("previous", "first"),
        default="previous",
        help="simulate from the cells of the time before, or of the first time (default: previous)",
    )
    names = ("w1", "w2", "sliced_w2", "mmd", "energy")
    parser.add_argument(
        "--metrics", nargs="+", choices=names, default=names, help="distances (default: all)"
    )
    parser.add_argument(
        "--max-samples", type=_positive, metavar="INT", help="cells compared at a time, at most"
    )
    parser.add_argument(
        "--time-unit", default="", metavar="TEXT", help="unit of time, for the report"
    )
    parser.add_argument("--seed", type=int, default=0, help="fixes every draw (default: 0)")


def _add_datasets(command: Any) -> None:
    parser = command(
        datasets,
        "list the data sets, or write one to a file",
        "dyninfer datasets",
        "dyninfer datasets mesc_retinoic_acid --out cells.h5ad",
    )
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="a data set; without it, all are listed"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="file to write (default: NAME.h5ad)"
    )


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data", metavar="DATA", help="an .h5ad or .zarr file, or the name of a data set"
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a model file that 'dyninfer fit' wrote")
    parser.add_argument(
        "--method",
        metavar="FILE.py:CLASS",
        help="where the class of the model is, if it is your own",
    )


def _method(name: str) -> type[Estimator]:
    """Class of a method, by its name or by file and name."""
    from dyninfer.estimators import Estimator, registry

    file, colon, own = name.rpartition(".py:")
    if colon:
        cls = getattr(_module(Path(f"{file}.py")), own, None)
        if not (isinstance(cls, type) and issubclass(cls, Estimator)):
            raise ValueError(
                f"{file}.py has no estimator {own!r}; it must be a class derived from dyninfer.Estimator"
            )
        return cls
    known = registry()
    if name not in known:
        raise ValueError(
            f"method {name!r} is not known; {_meant(name, known)}there are {', '.join(known)}"
        )
    return known[name]


def _module(path: Path) -> Any:
    """Import a file of the user's as a module."""
    import importlib.util

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    name = f"dyninfer_method_{path.stem}"  # a file called numpy.py must not replace numpy
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules[name] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def _model(arguments: argparse.Namespace) -> Estimator:
    if arguments.method is not None:
        _method(arguments.method)  # its definition registers the class
    return dyninfer.load(arguments.model)


def _data(name: str) -> AnnData:
    """Read a file, or load a data set by name."""
    import anndata

    from dyninfer.datasets.table import TABLE

    path = Path(name)
    if not path.exists():
        if name in TABLE:
            return _dataset(name)
        raise FileNotFoundError(
            f"there is no file {name!r}, and no data set of that name; {_meant(name, TABLE)}data sets: {', '.join(TABLE)}"
        )
    if path.suffix not in (".h5ad", ".zarr"):
        raise ValueError(f"cannot read {name!r}: give an .h5ad or .zarr file that AnnData wrote")
    return anndata.read_h5ad(path) if path.suffix == ".h5ad" else anndata.read_zarr(path)


def _dataset(name: str) -> AnnData:
    import dyninfer.datasets
    from dyninfer.datasets.table import TABLE

    if name not in TABLE:
        raise ValueError(
            f"there is no data set {name!r}; {_meant(name, TABLE)}there are {', '.join(TABLE)}"
        )
    return getattr(dyninfer.datasets, name)()


def _given(arguments: argparse.Namespace, prefix: str) -> dict[str, Any]:
    """Arguments whose name starts with ``prefix``, without it."""
    return {k.removeprefix(prefix): v for k, v in vars(arguments).items() if k.startswith(prefix)}


def _times(text: str) -> np.ndarray:
    """``0:4:81`` as in ``numpy.linspace``, or ``0,1,2``."""
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


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _check_folder(path: Path | None) -> None:
    """Fail before the work, not after it."""
    if path is not None and not path.parent.is_dir():
        raise FileNotFoundError(f"folder {str(path.parent)!r} does not exist; make it first")


def _meant(name: str, known: Any) -> str:
    near = [k for k in known if k.startswith(name)] or difflib.get_close_matches(
        name, list(known), 1, 0.5
    )
    return f"did you mean {near[0]!r}? " if near else ""


def _sentence(error: BaseException) -> str:
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return " ".join(str(text).split()) or type(error).__name__
