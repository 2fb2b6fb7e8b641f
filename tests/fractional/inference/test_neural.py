"""Models with networks where the answer is known: linear problems that the exact likelihood solves."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dyninfer import Paths
from dyninfer.fractional import MarkovApproximation
from dyninfer.fractional.inference import (
    BoundObjective,
    Layout,
    LinearPrior,
    NeuralModel,
    Parts,
    Series,
    exact_log_likelihood,
)
from dyninfer.fractional.settings import Variational
from dyninfer.learning.random import seeded_modules
from dyninfer.learning.training import Training, train

DOUBLE = torch.float64
AXES = torch.tensor([[1.0, 0.2], [0.6, 0.8], [-0.3, 1.0]], dtype=DOUBLE)  # not orthogonal


def model_of(prior, n_features, parts, **settings):
    options = {"width": 8, "depth": 1, "n_steps": 1, "horizon": 2.0}
    with seeded_modules(0, "test"):
        return NeuralModel(prior, parts, Layout(n_features, **(options | settings))).double()


def prior_of(d, n_features, latent=False, hurst=0.7):
    return LinearPrior(
        MarkovApproximation(3, horizon=2.0, dt=0.1),
        d,
        n_features,
        drift="none",
        hurst=hurst,
        shared=True,
        tau=0.2,
        observation_noise=torch.full((n_features,), 0.3),
        latent=latent,
        free_start=False,
    )


def irregular(n_features, seed=0):
    """Three irregular paths, one of them shorter, with values missing."""
    rng = np.random.default_rng(seed)
    times = [np.sort(rng.uniform(0, 2, n)) for n in (9, 9, 6)]
    states = [rng.normal(size=(len(t), n_features)).cumsum(0) * 0.5 for t in times]
    states[0][3, 0] = np.nan
    states[1][5] = np.nan
    return Series.of(Paths(times=times, states=states))


def latent_pair():
    """The same linear model of latent states: with an encoder, and exactly."""
    exact = prior_of(2, 3, latent=True).requires_grad_(False)
    exact.loading.copy_(AXES)
    model = model_of(
        prior_of(2, 3),
        3,
        Parts(encoder="network", decoder="linear", control="network"),
        latent=True,
    )
    model.prior.requires_grad_(False)
    model.begin(AXES, torch.zeros(3, dtype=DOUBLE))
    model.decoder.requires_grad_(False)
    return model, exact


def test_a_linear_model_with_all_networks_at_their_start_has_the_exact_evidence():
    series, prior = irregular(2), prior_of(2, 2)
    model = model_of(prior, 2, Parts(drift="network", amplitude="network", encoder="network"))
    weights = model.log_weights(series, 5, 0)
    assert weights.std(0).max() < 1e-8
    assert torch.allclose(weights[0], exact_log_likelihood(prior, series), atol=1e-7)


def test_bound_of_an_encoder_is_below_the_evidence_and_training_closes_the_gap():
    series = irregular(3)
    model, exact = latent_pair()
    evidence = exact_log_likelihood(exact, series)
    right = model.log_weights(series, 400, 0)
    assert (right.mean(0) < evidence + 3 * right.std(0) / 20).all()
    assert (
        evidence - right.mean(0)
    ).max() < 0.7  # coordinates that the readout mixes are guided one by one
    weighted = right.logsumexp(0) - np.log(400)
    assert (evidence - weighted).abs().max() < 0.15
    with torch.no_grad():  # an encoder that is wrong
        model.encoder.skip.weight.mul_(0.6)
        model.encoder.head.bias[2:] += 1.5
    before = (evidence - model.log_weights(series, 100, 0).mean(0)).sum()
    settings = Training(
        max_steps=40,
        batch_size=3,
        learning_rate=0.03,
        warmup_steps=5,
        ema_decay=0.8,
        validation_fraction=0.0,
        precision="float64",
        device="cpu",
    )
    train(model, BoundObjective(model.prior, series, Variational()), settings, progress=False)
    after = (evidence - model.log_weights(series, 100, 0).mean(0)).sum()
    assert before > 2
    assert after < 0.6 * before


def test_an_encoder_of_one_path_does_not_see_the_others():
    """Neither how long they are, nor the further times at which a posterior is asked for."""
    model, _ = latent_pair()
    series = irregular(3)
    alone = Series.of(
        Paths(times=[series.times[2, :6].numpy()], states=[series.values[2, :6].numpy()]), [1.99]
    )
    together = model.encode(series)
    found = model.encode(alone)
    assert torch.allclose(found.mean[0], together.mean[2, :6], atol=1e-12)
    assert torch.allclose(found.context[0], together.context[2, :6], atol=1e-12)


def test_brownian_noise_is_the_ordinary_equation():
    """At H = ½ all weight is on the Brownian motion itself, and increments have variance σ² h."""
    prior = prior_of(1, 1, hurst=0.5)
    weights = prior.weights[0]
    assert weights[0].item() == pytest.approx(1, abs=1e-9)
    assert weights[1:].abs().max() < 1e-9
    model = model_of(prior, 1, Parts(drift="network", control=None))
    times = [0.0, 0.5, 2.0]
    series = Series.of(Paths(times=[times], states=[np.array([[0.0], [np.nan], [np.nan]])]))
    states, _ = model.draw(series, 4000, 0)
    moves = states[:, 0, :, 0].diff(dim=1)
    expected = prior.scale.item() ** 2 * torch.tensor([0.5, 1.5], dtype=DOUBLE)
    assert torch.allclose(moves.var(0), expected, rtol=0.1)


def test_posterior_that_reads_first_observations_does_not_know_the_others():
    series = irregular(3)
    model = model_of(
        prior_of(2, 3),
        3,
        Parts(drift="network", encoder="network", decoder="network"),
        latent=True,
        read_first=2,
        content_dim=2,
    )
    with torch.no_grad():  # a control that says something
        model.control.network[-1].weight.normal_(generator=torch.Generator().manual_seed(0))
    later = (torch.arange(9) >= 2)[None, :, None]
    moved = replace(series, values=series.values + 3.0 * later)
    assert torch.equal(model.draw(series, 3, 1)[0], model.draw(moved, 3, 1)[0])
    other = replace(series, values=series.values * 2)
    assert not torch.equal(model.draw(series, 3, 1)[0], model.draw(other, 3, 1)[0])


def test_control_rests_after_the_last_observation():
    """A forecast is the prior's: the control that would push it there is not asked."""
    model = model_of(prior_of(1, 1), 1, Parts(drift="network", encoder="network"))
    paths = Paths(times=[[0.0, 0.5]], states=[np.zeros((2, 1))])
    series = Series.of(paths, [1.0, 2.0])
    calm, _ = model.draw(series, 2000, 0)
    model.control.network[-1].bias.data.fill_(3.0)
    pushed, _ = model.draw(series, 2000, 0)
    change = (pushed - calm)[:, 0, :, 0]
    assert change[:, 1].abs().max() > 0.05
    exact = (prior_of(1, 1).scale ** 2).item()
    late = (calm[:, 0, 3] - calm[:, 0, 2]).var().item()
    assert late == pytest.approx(exact, rel=0.25)
    weights = model.log_weights(series, 10, 0)
    assert torch.isfinite(weights).all()


def test_windows_are_parts_of_paths():
    series = irregular(2)
    part = series.window(torch.tensor([1, 2]), torch.tensor([3, 1]), 4)
    assert torch.equal(part.times[0], series.times[1, 3:7])
    assert torch.equal(part.values[1], series.values[2, 1:5])
    gaps = part.gaps[part.gap]
    assert torch.allclose(gaps, part.times.diff(dim=1), atol=1e-9)


def test_windows_grow_to_whole_paths():
    """Of three times at first, of all in the end, halfway in the middle; no start lets one run past its path."""
    paths = Paths(
        times=[0.1 * np.arange(n) for n in (11, 11, 7)],
        states=[np.ones((n, 1)) for n in (11, 11, 7)],
    )
    series, prior = Series.of(paths), prior_of(1, 1)
    objective = BoundObjective(prior, series, Variational(n_samples=1, window=3, grow=8))
    model, seen = model_of(prior, 1, Parts(drift="network", control=None)), {}
    guided = model.guided
    model.guided = lambda part, *others: (
        seen.setdefault(objective.step, part) and guided(part, *others)
    )
    generator = torch.Generator().manual_seed(0)
    for _ in range(12):
        batch = objective.batch(3, generator)
        objective.observe(batch, objective.loss(model, batch))
    assert [part.times.shape[1] for part in seen.values()] == [
        3,
        4,
        5,
        6,
        7,
        8,
        9,
        10,
        11,
        11,
        11,
        11,
    ]
    assert all(
        part.mask.any(-1).sum(-1).min() >= min(7, part.times.shape[1]) for part in seen.values()
    )
