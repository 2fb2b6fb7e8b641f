"""What a command works on, found by the text of an argument: methods, models, data and folders."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dyninfer
from dyninfer.learning.files import label, reason

if TYPE_CHECKING:
    from anndata import AnnData

    from dyninfer.estimators import Estimator


def find_method(text: str) -> type[Estimator]:
    """Class of a method, by its name or as ``FILE.py:CLASS``."""
    from dyninfer.estimators import Estimator, registry

    stem, colon, class_name = text.rpartition(".py:")
    if not colon:
        methods = registry()
        if text not in methods:
            raise ValueError(
                f"method {label(text)} is not known; {did_you_mean(text, methods)}"
                f"there are {', '.join(methods)}"
            )
        return methods[text]
    module = _import_file(Path(f"{stem}.py"))
    cls = getattr(module, class_name, None)
    if not (isinstance(cls, type) and issubclass(cls, Estimator)):
        raise ValueError(
            f"{label(stem + '.py')} has no estimator {label(class_name)}; "
            "it must be a class derived from dyninfer.Estimator"
        )
    return cls


def read_methods(texts: Sequence[str]) -> list[Estimator]:
    """Methods by name, or with settings as in Python: ``ActionMatching(sigma=0.1)``."""
    from dyninfer.cli.values import read_settings
    from dyninfer.estimators import Estimator

    methods = []
    for text in texts:
        has_settings = "(" in text
        method = read_settings(text) if has_settings else find_method(text)()
        if not isinstance(method, Estimator):
            raise ValueError(f"{label(text)} is no method; name one such as ActionMatching")
        methods.append(method)
    return methods


def executor_of(workers: int) -> Any:
    """Processes that run fits side by side; None for one at a time."""
    if workers == 1:
        return None
    from joblib.externals.loky import get_reusable_executor

    return get_reusable_executor(workers)


def load_model(path: str, method: str | None) -> Estimator:
    """Load a model file, whose class may be one of the user's own."""
    if method is not None:
        find_method(method)  # its definition registers the class
    return dyninfer.load(path)


def read_data(text: str) -> AnnData:
    """Read a file, or load a data set by name."""
    import anndata

    from dyninfer.datasets.table import TABLE

    # A file of that name goes before a data set.
    path = Path(text)
    # Not Path.exists, which fails for a name that is too long to be one.
    if not os.path.exists(path):
        if text in TABLE:
            return load_dataset(text)
        raise FileNotFoundError(
            f"there is no file {label(text)}, and no data set of that name; "
            f"{did_you_mean(text, TABLE)}data sets: {', '.join(TABLE)}"
        )
    readers = {".h5ad": anndata.read_h5ad, ".zarr": anndata.read_zarr}
    if path.suffix in readers:
        # A damaged file makes three libraries fail, each in its own way.
        try:
            return readers[path.suffix](path)
        except Exception as error:
            raise ValueError(f"{label(path)} cannot be read: {reason(error)}") from error
    raise ValueError(f"cannot read {label(text)}: give an .h5ad or .zarr file that AnnData wrote")


def read_cells(arguments: argparse.Namespace, model: Estimator | None = None) -> AnnData:
    """Read the data of a command, with its times in bins where ``--n-bins`` is given.

    The column of times is that of ``--time-key``, or the one that a model was fitted to.
    """
    data = read_data(arguments.data)
    n_bins = arguments.n_bins
    if n_bins is None:
        return data
    given = vars(arguments)
    # Flags of `fit` have its name before theirs.
    key = given.get("time_key") or given.get("fit.time_key")
    if model is not None:
        key = model.source_.get("time_key")
    if key is None:
        raise ValueError("--n-bins needs --time-key, the column of times that it puts into bins")
    if key not in data.obs:
        columns = ", ".join(map(str, data.obs))
        raise ValueError(f"--n-bins: obs has no column {label(key)}; it has {columns}")
    data.obs[key] = dyninfer.read_times(data.obs[key], n_bins=n_bins)
    return data


def load_dataset(name: str) -> AnnData:
    """Load a data set by name."""
    import dyninfer.datasets
    from dyninfer.datasets.table import TABLE

    if name not in TABLE:
        raise ValueError(
            f"there is no data set {label(name)}; {did_you_mean(name, TABLE)}"
            f"there are {', '.join(TABLE)}"
        )
    return getattr(dyninfer.datasets, name)()


def check_folder(path: Path | None) -> None:
    """Fail before the work, not after it, where a result cannot be written."""
    if path is None:
        return
    if not os.path.isdir(path.parent):
        raise FileNotFoundError(f"folder {label(path.parent)} does not exist; make it first")
    # A zarr is a folder, which a new one may replace.
    if os.path.isdir(path) and path.suffix != ".zarr":
        raise ValueError(f"{label(path)} is a folder; name a file in it")


def did_you_mean(name: str, choices: Collection[str]) -> str:
    """Half a sentence that names the choice closest to ``name``; empty if none is close."""
    # A beginning is meant more often than a misspelling.
    closest = [choice for choice in choices if choice.startswith(name)]
    if not closest:
        closest = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.5)
    if not closest:
        return ""
    return f"did you mean {closest[0]!r}? "


def _import_file(path: Path) -> Any:
    """Import a file of the user's as a module."""
    import importlib.util

    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no file {label(path)}")
    name = f"dyninfer_method_{path.stem}"  # a file called numpy.py must not replace numpy
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{label(path)} cannot be imported; give a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    return module
