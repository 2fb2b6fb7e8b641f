"""What the batteries share: the data that methods are fitted to, and checks of every method."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from sklearn.base import clone
from torch import Tensor

import dyninfer
from dyninfer.data import keys
from dyninfer.data.reading import is_anndata
from dyninfer.estimators import Estimator, load
from dyninfer.learning.model_file import write_model
from dyninfer.testing.units import PLAIN, check_same, units_for

Check = Callable[[Any], None]
Keys = dict[str, str]
STEPS = 6  # of training: enough to move every weight, and done in a blink


@dataclass(frozen=True)
class Example:
    """Data that a battery fits methods to.

    Attributes
    ----------
    make : callable
        Returns the AnnData anew, as a check may change it.
    keys : callable
        Keywords by which a model reads the AnnData.
    hold_out : float or str
        The time, or the name of the path, that checks hold out.
    simulated_in : callable
        Takes units, a model and options of ``simulate``; returns simulated paths of a fit in these
        units, in plain units again.
    """

    make: Callable[[], Any]
    keys: Callable[[Any], Keys]
    hold_out: float | str
    simulated_in: Callable[..., ndarray]

    def fit(self, model: Any, data: Any = None, **options: Any) -> Any:
        """Fit a model to some data, by default to the example."""
        if data is None:
            data = self.make()
        keywords: dict[str, Any] = {"max_steps": STEPS, "progress": False}
        # Paths and snapshots have no columns that must be named.
        if is_anndata(data):
            keywords |= self.keys(model)
        return model.fit(data, **(keywords | options))

    def fit_clone(self, model: Any, data: Any = None, **options: Any) -> Any:
        """Fit a fresh estimator of the same settings."""
        return self.fit(clone(model), data, **options)


class Battery(dict[str, Check]):
    """Checks by name, beginning with those of every method."""

    def __init__(self, example: Example) -> None:
        super().__init__()
        for check in _OF_EVERY_METHOD:
            name = _name(check)
            self[name] = partial(check, example=example)

    def add(self, function: Check) -> Check:
        """Take a function ``check_<name>`` in."""
        self[_name(function)] = function
        return function


def weights(model: Any) -> Tensor:
    """All numbers that were learned, one after another."""
    # Exact methods learn buffers and no parameters; the units are learned as well.
    tensors = model.process_.state_dict().values()
    columns = [tensor.double().flatten() for tensor in tensors]
    return torch.cat(columns)


def check_parameters_round_trip(model: Estimator, example: Example) -> None:
    """``get_params``, ``set_params``, ``clone`` and repr agree."""
    params = model.get_params(deep=False)
    again = type(model)(**params)
    params_again = again.get_params(deep=False)
    assert params_again == params, "get_params does not give back what the constructor took"
    text = str(clone(model))
    assert text == str(model), "a clone prints differently"
    assert type(model).__name__ in repr(model), "the repr does not name the class"


def check_documented(model: Estimator, example: Example) -> None:
    """A docstring with the method's equation, and a citation."""
    doc = type(model).__doc__ or ""
    assert ".. math::" in doc, "the docstring has no equation"
    assert model.cite().startswith("@"), "there is no BibTeX citation"


def check_fit_returns_self_and_learns(model: Estimator, example: Example) -> None:
    """``fit`` returns the estimator with what was learned."""
    before = dict(model.get_params())
    assert example.fit(model) is model, "fit does not return the estimator"
    assert model.get_params() == before, "fit changed a parameter"
    assert len(model.history_) >= 1, "history_ is empty"
    assert bool(weights(model).isfinite().all()), "what was learned is not finite"
    # Six steps of training on data without any trap cannot diverge.
    status = model.status_
    assert status in ("finished", "stopped early"), f"status_ is {status!r}"


def check_seed_fixes_everything(model: Estimator, example: Example) -> None:
    """The same seed gives the same to the last bit; global state is left alone."""
    state = torch.get_rng_state()
    first = example.fit_clone(model, seed=3)
    second = example.fit_clone(model, seed=3)
    is_same = torch.equal(weights(first), weights(second))
    assert is_same, "two fits with one seed differ"
    state_after = torch.get_rng_state()
    assert torch.equal(state, state_after), "fit moved torch's global random state"


def check_data_are_left_alone(model: Estimator, example: Example) -> None:
    """``fit`` changes nothing in the AnnData; what ``annotate`` adds can be written."""
    data = example.make()
    untouched = example.make()
    example.fit(model, data)
    assert data.obs.equals(untouched.obs), "fit changed a column of obs"
    assert not data.uns, "fit wrote into uns"
    states = data.obsm["X_pca"]
    is_same = np.array_equal(states, untouched.obsm["X_pca"])
    assert is_same, "fit changed the representation"
    model.annotate(data)
    written = data.uns[keys.UNS]
    json.loads(written["model"])
    with tempfile.TemporaryDirectory() as folder:
        data.write_h5ad(Path(folder) / "annotated.h5ad")


def check_provenance_is_kept(model: Estimator, example: Example) -> None:
    """What was learned about the data, also under the old names of its parts."""
    hold_out = [example.hold_out]
    example.fit(model, hold_out=example.hold_out)
    provenance = model.provenance_
    in_provenance = list(provenance.hold_out)
    assert in_provenance == hold_out, f"hold_out is {in_provenance}"
    assert model.hold_out_ == hold_out, "hold_out_ is not what the provenance says"
    version = provenance.version
    assert version == dyninfer.__version__, f"version is {version}"
    # SHA-256 in hexadecimal.
    assert len(provenance.digest) == 64, "digest is not a fingerprint of the data"
    features = provenance.features
    assert tuple(model.feature_names_in_) == features, "feature_names_in_ are others"
    assert model.n_features_in_ == len(features), "n_features_in_ is not their number"
    page = str(model.summary())
    for fact in (model.status_, features[0], str(hold_out[0])):
        assert fact in page, f"the summary does not tell {fact}"


def check_resumes(model: Estimator, example: Example) -> None:
    """A fit that ended is taken up from its checkpoint as it was; one of other settings is not."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "run"
        first = example.fit_clone(model, checkpoint=checkpoint)
        assert checkpoint.is_file(), "fit left no checkpoint"
        again = example.fit_clone(model, checkpoint=checkpoint, resume=True)
        is_same = torch.equal(weights(first), weights(again))
        assert is_same, "a resumed fit is another one"
        status = again.status_
        assert status == first.status_, f"status_ is {status!r} when resumed"
        # Of another seed, so its state would lead to another model.
        other_seed = first.seed_ + 1
        with raises(ValueError, "checkpoint"):
            example.fit_clone(model, checkpoint=checkpoint, resume=True, seed=other_seed)
    with raises(ValueError, "checkpoint"):
        example.fit_clone(model, resume=True)


def check_failed_fit_leaves_the_old_model(model: Estimator, example: Example) -> None:
    """A fit that fails at any of its steps leaves what was learned before as it was."""
    example.fit(model)
    before = weights(model).clone()
    provenance = model.provenance_
    for step in ("build", "learn"):

        def fail(*_: Any, step: str = step, **__: Any) -> None:
            raise RuntimeError(f"{step} fails")

        # On the instance, where it hides the method of the class.
        setattr(model, step, fail)
        with raises(RuntimeError, f"{step} fails"):
            example.fit(model)
        delattr(model, step)
        failure = f"a fit that fails in {step} changed"
        is_same = torch.equal(weights(model), before)
        assert is_same, f"{failure} the model"
        assert model.provenance_ is provenance, f"{failure} the provenance"


def check_saves_and_loads(model: Any, example: Example) -> None:
    """A saved model comes back and is the same; a failed save leaves the old file."""
    data = example.make()
    example.fit(model, data)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = model.save(folder / "model.safetensors")
        again = load(path, device="cpu")
        assert type(again) is type(model), "another class comes back"
        assert str(again) == str(model), "the settings do not come back"
        after = _states(again, data)
        before = _states(model, data)
        is_same = torch.equal(after, before)
        assert is_same, "a loaded model simulates otherwise"
        assert again.history_.shape == model.history_.shape, "the history does not come back"
        assert again.provenance_ == model.provenance_, "the provenance does not come back"
        _check_failed_save(model, path)
        _check_older_file(folder)
        names = [p.name for p in folder.iterdir()]
        assert names == [path.name], "a failed save left its fragment behind"


def _states(model: Any, data: Any) -> Tensor:
    times = [0.0, 1.0]
    run = model.simulate(data, times, n_paths=5, seed=2)
    return run.states


def _check_failed_save(model: Any, path: Path) -> None:
    old = path.read_bytes()
    # Metadata that JSON cannot hold, which is noticed only while the file is being written.
    provenance = model.provenance_
    model.provenance_ = replace(provenance, source={"time_key": object()})
    with raises(TypeError, ""):
        model.save(path)
    model.provenance_ = provenance
    assert path.read_bytes() == old, "a failed save destroyed the old file"


def _check_older_file(folder: Path) -> None:
    # Weights of another format would load, and mean something else.
    older = {"format": 1, "version": "0.1.0"}
    tensors = {"x": torch.zeros(1)}
    path = write_model(folder / "older", tensors, older)
    with raises(ValueError, "0.1.0"):
        load(path)
    path.unlink()


def check_units_change_nothing(model: Estimator, example: Example) -> None:
    """Units and origins of states and times change no path but by rounding."""
    expected = example.simulated_in(PLAIN, model)
    for units in units_for(model):
        simulated = example.simulated_in(units, model)
        check_same(expected, simulated, f"in {units}")


def check_chunks_change_nothing(model: Estimator, example: Example) -> None:
    """Paths that are run by threes are those that are run at once, but for rounding."""
    expected = example.simulated_in(PLAIN, model)
    by_threes = example.simulated_in(PLAIN, model, chunk_size=3)
    check_same(expected, by_threes, "in chunks")


_OF_EVERY_METHOD = (
    check_parameters_round_trip,
    check_documented,
    check_fit_returns_self_and_learns,
    check_seed_fixes_everything,
    check_data_are_left_alone,
    check_provenance_is_kept,
    check_resumes,
    check_failed_fit_leaves_the_old_model,
    check_saves_and_loads,
    check_units_change_nothing,
    check_chunks_change_nothing,
)


def _name(check: Callable[..., None]) -> str:
    return check.__name__.removeprefix("check_")


def check_finite(table: Any, *columns: str) -> None:
    """Assert that the columns of a table hold finite numbers."""
    for column in columns:
        is_finite = np.isfinite(table[column])
        assert is_finite.all(), f"{column} is not finite"


@contextmanager
def raises(error: type[Exception], mention: str) -> Iterator[None]:
    """Assert that what is inside fails with an error whose message mentions something."""
    try:
        # A mistake is what is looked for, and whatever else is said on the way to it is not.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except error as raised:
        assert mention in str(raised), f"the message does not mention {mention!r}: {raised}"
        return
    raise AssertionError(f"{error.__name__} expected, mentioning {mention!r}")
