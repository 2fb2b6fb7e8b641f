"""Several channels in one patch, against products of single ones."""

import numpy as np
import pytest
import torch

import dyninfer as di
from dyninfer.jumps import RateScheme
from dyninfer.jumps.channels import Superposition


def test_superposed_channels_are_independent():
    channel = di.MarkovJump.from_rates([[0, 2.0, 0], [1.0, 0, 0.5], [0, 3.0, 0]])
    one = RateScheme.free(channel.generator > 0)
    patch = Superposition.of(one, ["a", "b", "c"], 3)
    generator = patch.scheme.generator(one.parameters_of(channel.generator))
    assert patch.state_names[:3] == ("3 a", "2 a, 1 b", "2 a, 1 c")
    # From all channels in one state, each is elsewhere by the same probabilities: multinomial.
    t = 0.7
    p = channel.transition(t)[0]
    whole = di.MarkovJump(generator, state_names=patch.state_names).transition(t)[0]
    law = torch.distributions.Multinomial(3, p)
    np.testing.assert_allclose(whole, law.log_prob(patch.counts.double()).exp(), atol=1e-12)


def test_numbers_of_open_channels_are_binomial():
    jumps = di.IdenticalChannels()
    opening, closing = 2.0, 5.0
    theta = torch.tensor([opening, closing], dtype=torch.float64).log()
    generator = jumps.scheme(["0", "1", "2", "3"]).generator(theta)
    shares = di.MarkovJump(generator).stationary()
    p = torch.tensor(opening / (opening + closing), dtype=torch.float64)
    law = torch.distributions.Binomial(3, p)
    np.testing.assert_allclose(shares, law.log_prob(torch.arange(4.0)).exp(), atol=1e-7)
    inward = di.IdenticalChannels(inward=True).scheme(["0", "1", "2", "3"]).generator(theta)
    np.testing.assert_allclose(inward, generator.flip(0, 1))


def test_rates_of_two_channels_are_those_of_one():
    theta = torch.tensor([1.0, 2.0], dtype=torch.float64).log()
    generator = di.IdenticalChannels().scheme(["0", "1", "2"]).generator(theta)
    times = 0.05 * np.arange(2000)
    run = di.simulate(di.MarkovJump(generator), None, times, n_paths=2, seed=0)
    noise = 0.3 * np.random.default_rng(0).normal(size=(2, 2000))
    current = run.states.numpy() + noise
    paths = di.Paths(times=[times] * 2, states=list(current))
    model = di.MarkovJumpInference(observation=di.Gaussian(3), jumps=di.IdenticalChannels())
    rows = model.fit(paths, progress=False).confidence_intervals(0.99)
    truth = generator[rows["source"].astype(int), rows["target"].astype(int)].numpy()
    assert ((rows["low"] < truth) & (rows["high"] > truth)).all()
    np.testing.assert_allclose(rows["rate"] / truth, 1, atol=0.15)
    opening = rows["rate"][rows["source"] < rows["target"]].to_numpy()
    assert opening[0] == pytest.approx(2 * opening[1])


def test_names_of_a_channel_are_counted():
    with pytest.raises(ValueError, match="names must be 2"):
        Superposition.of(RateScheme.free(2), ["shut"], 2)


def test_covariates_would_untie_the_rates():
    model = di.MarkovJumpInference(
        observation=di.Gaussian(3),
        jumps=di.IdenticalChannels(),
        covariates=di.Covariates("~ dose"),
    )
    with pytest.raises(ValueError, match="a separate rate for every jump"):
        model.check()
