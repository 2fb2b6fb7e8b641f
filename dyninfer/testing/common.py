"""What the batteries share: checks that concern every method."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from sklearn.base import clone
from torch import Tensor

import dyninfer
from dyninfer.estimators import Estimator, load
from dyninfer.learning.model_file import write_model

Check = Callable[[Any], None]
Fit = Callable[..., Any]  # fits a model on the example data; takes the keywords of ``fit``


class Battery(dict[str, Check]):
    """Checks by name, beginning with those of every method."""

    def __init__(self) -> None:
        super().__init__(
            parameters_round_trip=check_parameters_round_trip, documented=check_documented
        )

    def add(self, function: Check) -> Check:
        """Take a function ``check_<name>`` in."""
        self[function.__name__.removeprefix("check_")] = function
        return function


def check_parameters_round_trip(model: Estimator) -> None:
    """``get_params``, ``set_params``, ``clone`` and repr agree."""
    params = model.get_params(deep=False)
    again = type(model)(**params)
    assert again.get_params(deep=False) == params, (
        "get_params does not give back what the constructor took"
    )
    assert str(clone(model)) == str(model), "a clone prints differently"
    assert type(model).__name__ in repr(model), "the repr does not name the class"


def check_documented(model: Estimator) -> None:
    """A docstring with the method's equation, and a citation."""
    doc = type(model).__doc__ or ""
    assert ".. math::" in doc, "the docstring has no equation"
    assert model.cite().startswith("@"), "there is no BibTeX citation"


def check_provenance(model: Estimator, hold_out: list[Any]) -> None:
    """What was learned about the data, also under the old names of its parts."""
    provenance = model.provenance_
    assert list(provenance.hold_out) == hold_out, f"hold_out is {provenance.hold_out}"
    assert model.hold_out_ == hold_out, "hold_out_ is not what the provenance says"
    assert provenance.version == dyninfer.__version__, f"version is {provenance.version}"
    assert len(provenance.digest) == 64, "digest is not a fingerprint of the data"
    assert tuple(model.feature_names_in_) == provenance.features, "feature_names_in_ are others"
    assert model.n_features_in_ == len(provenance.features), "n_features_in_ is not their number"


def check_resumed(model: Estimator, fit: Fit, weights: Callable[[Any], Tensor]) -> None:
    """A fit that ended is taken up from its checkpoint as it was; one of other settings is not."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "run"
        first = fit(clone(model), checkpoint=checkpoint)
        assert checkpoint.is_file(), "fit left no checkpoint"
        again = fit(clone(model), checkpoint=checkpoint, resume=True)
        assert torch.equal(weights(first), weights(again)), "a resumed fit is another one"
        assert again.status_ == first.status_, f"status_ is {again.status_!r} when resumed"
        other_seed = first.seed_ + 1
        with raises(ValueError, "checkpoint"):
            fit(clone(model), checkpoint=checkpoint, resume=True, seed=other_seed)
    with raises(ValueError, "checkpoint"):
        fit(clone(model), resume=True)


def check_failed_refit(model: Estimator, fit: Fit, weights: Callable[[Any], Tensor]) -> None:
    """A fit that fails at any of its steps leaves what was learned before as it was."""
    fit(model)
    before = weights(model).clone()
    provenance = model.provenance_
    for step in ("build", "learn"):

        def fail(*_: Any, step: str = step, **__: Any) -> None:
            raise RuntimeError(f"{step} fails")

        setattr(model, step, fail)
        with raises(RuntimeError, f"{step} fails"):
            fit(model)
        delattr(model, step)
        assert torch.equal(weights(model), before), f"a fit that fails in {step} changed the model"
        assert model.provenance_ is provenance, f"a fit that fails in {step} changed the provenance"


def check_file(model: Estimator, same: Callable[[Any], bool]) -> None:
    """A saved model comes back and is the same; a failed save leaves the old file."""
    with tempfile.TemporaryDirectory() as folder:
        path = model.save(Path(folder) / "model.safetensors")
        old = path.read_bytes()
        again = load(path, device="cpu")
        assert type(again) is type(model) and str(again) == str(model), (
            "the settings do not come back"
        )
        assert same(again), "a loaded model simulates otherwise"
        assert again.history_.shape == model.history_.shape, "the history does not come back"
        assert again.provenance_ == model.provenance_, "the provenance does not come back"
        # Metadata that JSON cannot hold, found only while the file is being written.
        provenance = model.provenance_
        model.provenance_ = replace(provenance, source={"time_key": object()})
        with raises(TypeError, ""):
            model.save(path)
        model.provenance_ = provenance
        assert path.read_bytes() == old, "a failed save destroyed the old file"
        # Weights of another format would load, and mean something else.
        older = {"format": 1, "version": "0.1.0"}
        tensors = {"x": torch.zeros(1)}
        written = write_model(Path(folder) / "older", tensors, older)
        with raises(ValueError, "0.1.0"):
            load(written)
        written.unlink()
        names = [p.name for p in Path(folder).iterdir()]
        assert names == [path.name], "a failed save left its fragment behind"


@contextmanager
def raises(error: type[Exception], mention: str) -> Iterator[None]:
    """Assert that what is inside fails with an error whose message mentions something."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except error as raised:
        assert mention in str(raised), f"the message does not mention {mention!r}: {raised}"
        return
    raise AssertionError(f"{error.__name__} expected, mentioning {mention!r}")
