"""What the batteries share: checks that concern every method, and how a mistake must be answered."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sklearn.base import clone

from dyninfer.estimators import Estimator, load

Check = Callable[[Any], None]


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
        # Metadata that JSON cannot hold, found only while the file is being written.
        provenance = model.provenance_
        model.provenance_ = replace(provenance, source={"time_key": object()})
        raises(TypeError, "", lambda: model.save(path))
        model.provenance_ = provenance
        assert path.read_bytes() == old, "a failed save destroyed the old file"
        names = [p.name for p in Path(folder).iterdir()]
        assert names == [path.name], "a failed save left its fragment behind"


def raises(error: type[Exception], mention: str, call: Callable[[], Any]) -> None:
    """Assert that a call fails with an error whose message mentions something."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
    except error as found:
        assert mention in str(found), f"the message does not mention {mention!r}: {found}"
        return
    raise AssertionError(f"{error.__name__} expected, mentioning {mention!r}")
