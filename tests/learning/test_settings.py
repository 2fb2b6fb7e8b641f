"""Settings: parameters by scikit-learn, and their plain form."""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

import dyninfer as di
from dyninfer.learning.settings import (
    Settings,
    brief,
    check_count,
    check_word,
    from_plain,
    to_plain,
)
from dyninfer.transport.couplings import OTCoupling, UnbalancedOTCoupling


@dataclass(kw_only=True, repr=False, eq=False)
class Sandwich(Settings):
    bread: str = "rye"
    layers: tuple = (1, 2)
    training: di.Training | None = None


def test_settings_survive_json():
    model = di.ActionMatching(
        sigma=0.3,
        growth_penalty=2.0,
        coupling=UnbalancedOTCoupling(mass_penalty=3.0),
        training=di.Training(max_steps=7, gradient_clip=None),
    )
    back = from_plain(json.loads(json.dumps(to_plain(model))))
    assert type(back) is di.ActionMatching
    assert type(back.coupling) is UnbalancedOTCoupling
    assert (back.coupling.mass_penalty, back.training.max_steps, back.training.gradient_clip) == (
        3.0,
        7,
        None,
    )
    assert to_plain(back) == to_plain(model)


def test_numpy_numbers_and_arrays_become_plain():
    plain = to_plain(Sandwich(bread=np.float32(0.5), layers=np.arange(3)))
    assert plain["settings"] == {"bread": 0.5, "layers": [0, 1, 2], "training": None}


def test_sequences_come_back_as_lists():
    assert from_plain(to_plain(Sandwich(layers=(1, (2, 3))))).layers == [1, [2, 3]]


def test_a_function_is_refused_by_the_name_of_its_setting():
    with pytest.raises(TypeError, match="setting 'bread' is a function, which cannot be saved"):
        to_plain(Sandwich(bread=lambda t: t))
    with pytest.raises(TypeError, match="setting 'max_steps' is a function"):
        to_plain(Sandwich(training=di.Training(max_steps=len and (lambda: 1))))


def test_a_torch_device_becomes_its_name():
    assert to_plain(torch.device("cpu")) == "cpu"


def test_numbers_of_numpy_and_torch_serve_as_settings():
    di.ActionMatching(
        sigma=torch.tensor(0.1), width=np.int64(8), growth_penalty=np.float32(1)
    ).check_kinds()
    di.ActionMatching(sigma=1).check_kinds()
    for bad in (
        {"sigma": True},
        {"width": True},
        {"depth": 2.0},
        {"sigma": None},
        {"sigma": np.datetime64("2020-01-01")},
        {"sigma": np.complex64(1)},
        {"sigma": torch.tensor(True)},
    ):
        with pytest.raises(TypeError, match=f"{next(iter(bad))} must be a"):
            di.ActionMatching(**bad).check_kinds()


def test_an_unknown_class_says_to_import_what_defines_it():
    with pytest.raises(
        ValueError, match="'Unheard', which is not known here; import the module that defines it"
    ):
        from_plain({"class": "Unheard", "settings": {}})


def test_clone_copies_settings_deeply_and_forgets_what_was_learned():
    model = di.ActionMatching(sigma=0.5, training=di.Training(max_steps=3))
    model.process_ = object()
    copy = clone(model)
    assert (copy.sigma, copy.training.max_steps) == (0.5, 3)
    assert copy.training is not model.training
    assert not hasattr(copy, "process_")


def test_nested_parameters_are_set_by_their_path():
    model = di.ActionMatching(training=di.Training(), coupling=OTCoupling())
    model.set_params(sigma=0.1, training__batch_size=64, coupling__batch_size=100)
    assert (model.sigma, model.training.batch_size, model.coupling.batch_size) == (0.1, 64, 100)
    assert model.get_params()["training__batch_size"] == 64
    with pytest.raises(ValueError, match="Invalid parameter 'sgima'"):
        model.set_params(sgima=1)


def test_the_repr_shows_what_differs_from_the_defaults():
    assert repr(di.ActionMatching(sigma=0.1)) == "ActionMatching(sigma=0.1)"


def test_an_unknown_setting_is_refused_at_construction():
    with pytest.raises(TypeError, match="sgima"):
        di.ActionMatching(sgima=1)


def test_any_value_has_a_short_line_for_messages():
    assert len(brief("a\n" * 5000)) == 80
    # Python itself refuses to write it.
    assert brief(10**5000) == "<int>"


def test_a_count_beyond_what_torch_counts_is_refused():
    assert check_count(2**63 - 1) == 2**63 - 1
    with pytest.raises(ValueError, match="n_samples must be less than 2\\^63, found 1000000"):
        check_count(10**400)


@pytest.mark.parametrize("value", ["c", None, pd.NA, np.array(["a", "b"]), ["a"], 10**400])
def test_what_is_none_of_the_words_is_refused_with_all_of_them(value):
    with pytest.raises(ValueError, match="setting must be 'a', 'b' or 'd', found"):
        check_word(value, "setting", ("a", "b", "d"))


@pytest.mark.parametrize("value", [np.zeros(0), 3, ["linear"]])
def test_a_choice_that_is_no_text_is_refused_with_the_words_there_are(value):
    with pytest.raises(TypeError, match="interpolation must be one of linear, cubic, none, found"):
        di.ActionMatching(interpolation=value).check_kinds()
