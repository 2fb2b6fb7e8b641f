"""Settings of jump inference: what they stand for, how they are spelled, what cannot be written."""

import numpy as np
import pytest
from sklearn.base import clone

from dyninfer.data.paths import Paths
from dyninfer.jumps import ConfusionMatrix, GaussianEmission, LabelNoise
from dyninfer.jumps.likelihood.observation import PerfectLabels
from dyninfer.jumps.settings import (
    AllJumps,
    BirthDeath,
    Clones,
    Confusion,
    ExactLabels,
    Gaussian,
    Labels,
    Only,
    Reversible,
    as_jumps,
    as_observation,
)
from dyninfer.learning.settings import from_plain, to_plain

EVERY = [
    Labels(),
    Labels(n_states=4),
    ExactLabels(entries=["dead"]),
    Confusion(),
    Gaussian(3),
    AllJumps(),
    Only(["a>b"]),
    Reversible(["a>b", "b>a"]),
    BirthDeath(),
    Clones(ancestor_time=2.0),
]


@pytest.mark.parametrize("settings", EVERY, ids=str)
def test_settings_are_copied_and_saved_as_they_are(settings):
    settings.check()
    assert clone(settings).get_params() == settings.get_params()
    again = from_plain(to_plain(settings))
    assert type(again) is type(settings)
    assert again.get_params() == settings.get_params()


def test_every_kind_of_observation_has_a_start():
    values = np.r_[np.zeros(20), np.ones(20)] + 0.01 * np.sin(np.arange(40))
    signal = Paths(times=[np.arange(40.0)], states=[values])
    emission, labels = Gaussian(2).start(signal, ["0", "1"], seed=0)
    assert isinstance(emission, GaussianEmission)
    np.testing.assert_allclose(emission.mean[:, 0], [0, 1], atol=0.01)
    np.testing.assert_array_equal(labels.states[0], np.repeat([0, 1], 20))
    kinds = {ExactLabels: PerfectLabels, Labels: LabelNoise, Confusion: ConfusionMatrix}
    for observation, kind in kinds.items():
        noise, same = observation().start(labels, ["0", "1"], seed=0)
        assert type(noise) is kind is observation.emission_class
        assert same is labels
    assert float(ExactLabels().start(labels, ["0", "1"], 0)[0].confusion[0, 1]) == 0.0


def test_short_spellings_stand_for_settings():
    assert isinstance(as_observation("label noise"), Labels)
    assert isinstance(as_observation("exact"), ExactLabels)
    assert isinstance(as_observation("confusion"), Confusion)
    assert isinstance(as_jumps("all"), AllJumps)
    assert isinstance(as_jumps("reversible"), Reversible)
    assert isinstance(as_jumps("birth-death"), BirthDeath)
    three = Gaussian(3)
    assert as_observation(three) is three


def test_a_spelling_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(ValueError, match="'label noise', 'exact', 'confusion', or Gaussian"):
        as_observation("guess")
    with pytest.raises(ValueError, match=r"write Gaussian\(n_states=3\)"):
        as_observation("gaussian")
    with pytest.raises(ValueError, match="'all', 'reversible', 'birth-death', or Only"):
        as_jumps("ring")


def test_combinations_that_make_no_sense_cannot_be_written():
    with pytest.raises(TypeError):
        Gaussian()
    with pytest.raises(TypeError):
        Labels(entries=["dead"])
    with pytest.raises(TypeError):
        BirthDeath(jumps=["a>b"])
    with pytest.raises(TypeError):
        Clones()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Labels(n_states=1), "Labels.n_states must be at least 2, found 1"),
        (Gaussian(1), "Gaussian.n_states must be at least 2, found 1"),
        (Gaussian("two"), "Gaussian.n_states must be a whole number"),
        (Clones("monday"), "Clones.ancestor_time must be a number"),
    ],
)
def test_a_value_that_cannot_be_is_named(settings, words):
    with pytest.raises((TypeError, ValueError), match=words):
        settings.check()
