"""How a fitted estimator becomes a file and comes back from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import dyninfer
from dyninfer.model_file import read_model
from dyninfer.parallel import pick_device
from dyninfer.scaling import Scaling
from dyninfer.settings import from_plain, to_plain


def metadata_of(model: Any) -> dict[str, Any]:
    """Everything of a fitted estimator that is not a tensor or a table, as plain data."""
    scaling = model.scaling_
    return {
        "version": dyninfer.__version__,
        "model": to_plain(model),
        "scaling": {
            name: to_plain(getattr(scaling, name), name)
            for name in ("shift", "scale", "start", "duration", "unit")
        },
        "features": [str(f) for f in model.feature_names_in_],
        "times": [float(t) for t in model.times_],
        "sizes": [int(n) for n in model.sizes_],
        "hold_out": model.hold_out_,
        "source": model.source_,
        "seed": model.seed_,
        "status": model.status_,
        "training": to_plain(model.training_),
        "facts": model.facts_,
    }


def table_text(table: pd.DataFrame) -> str:
    """A table as text that :func:`_table` reads."""
    return json.dumps(
        {
            "columns": list(table.columns),
            "data": json.loads(table.to_json(orient="values")),
            "attrs": table.attrs,
        }
    )


def _table(text: str) -> pd.DataFrame:
    saved = json.loads(text)
    table = pd.DataFrame(saved["data"], columns=saved["columns"])
    table.attrs = saved["attrs"]
    return table


def _restored(metadata: dict[str, Any], tensors: dict[str, Any], device: str) -> Any:
    model = from_plain(metadata["model"])
    saved = metadata["scaling"].items()
    numbers: dict[str, Any] = {k: np.asarray(v) if isinstance(v, list) else v for k, v in saved}
    scaling = Scaling(**numbers)
    model.training_, model.facts_ = from_plain(metadata["training"]), metadata["facts"]
    process = model._built(None, scaling, 0).to(pick_device(device), model.training_.dtype)
    process.load_state_dict(tensors)
    model.process_ = process.eval().requires_grad_(False)
    model.scaling_, model.seed_, model.status_ = scaling, metadata["seed"], metadata["status"]
    model.times_, model.sizes_, model.hold_out_ = (
        np.asarray(metadata["times"]),
        tuple(metadata["sizes"]),
        metadata["hold_out"],
    )
    model.source_ = metadata["source"]
    model.feature_names_in_ = np.asarray(metadata["features"], dtype=object)
    model.n_features_in_ = len(model.feature_names_in_)
    for name in model.tables:
        setattr(model, name, _table(metadata[name]))
    return model


def load(path: str | Path, device: str = "auto") -> Any:
    """Load a model that :meth:`~dyninfer.Estimator.save` wrote.

    Parameters
    ----------
    path : path
        A safetensors file; it holds numbers and text, and loading it runs no code from it.
    device : str
        Where to put the process.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is not a dyninfer model, or of a class that is not known here.
    """
    metadata, tensors = read_model(path)
    try:
        return _restored(metadata, tensors, device)
    except KeyError as missing:
        raise ValueError(
            f"{str(path)!r} was written by dyninfer {metadata.get('version')} and lacks {missing}, which version "
            f"{dyninfer.__version__} needs; load it with that version, or fit and save again"
        ) from None
