"""Video models: what frame networks may know, and a bound that sums over pixels, frames and latent coordinates."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

import dyninfer as di
from dyninfer.fractional import MarkovApproximation
from dyninfer.fractional.inference import (
    Equation,
    FrameDecoder,
    FrameEncoder,
    Layout,
    LinearPrior,
    NeuralModel,
    Parts,
    Readout,
    Series,
    guided_paths,
)
from dyninfer.fractional.inference.guide import PseudoObservations
from dyninfer.learning.training import Training
from dyninfer.simulators import BouncingShapes

DOUBLE = torch.float64
SIZE, LATENTS, CONTENT = 8, 3, 4
SHAPE = {"latent_dim": LATENTS, "content_dim": CONTENT, "widths": (4, 8)}


def networks(seed: int = 0) -> tuple[FrameEncoder, FrameDecoder]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = FrameEncoder(SIZE, n_features=8, n_context=6, **SHAPE)
        return encoder.double(), FrameDecoder(SIZE, shift=0.2, scale=0.3, **SHAPE).double()


def videos(n: int, length: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    values = torch.randn(
        n, length, SIZE**2, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE
    )
    return values, torch.ones_like(values), torch.arange(length, dtype=DOUBLE).expand(n, -1)


def test_shapes_of_what_is_read_and_drawn():
    encoder, decoder = networks()
    found = encoder(*videos(2, 5))
    assert found.mean.shape == found.log_variance.shape == (2, 5, LATENTS)
    assert found.context.shape == (2, 5, encoder.n_context)
    assert found.content.shape == (2, CONTENT)
    frames = decoder(found.mean.flatten(0, 1), found.content.repeat_interleave(5, 0))
    assert frames.shape == (10, SIZE**2)
    assert FrameEncoder(SIZE, latent_dim=1, widths=(4,)).double()(*videos(2, 3)).content is None


@pytest.mark.parametrize(("size", "widths"), [(16, (16, 32)), (64, (4, 8, 16, 16)), (20, (6, 6))])
def test_networks_fit_frames_that_halve_evenly(size, widths):
    encoder = FrameEncoder(size, latent_dim=2, widths=widths)
    decoder = FrameDecoder(size, latent_dim=2, widths=widths, shift=0.5, scale=0.2)
    values = torch.rand(1, 2, size**2)
    found = encoder(values, torch.ones_like(values), torch.zeros(1, 2))
    assert decoder(found.mean[0], None).shape == (2, size**2)


def test_a_video_is_read_alone():
    encoder, _ = networks()
    values, mask, times = videos(3, 6)
    together, alone = encoder(values, mask, times), encoder(values[1:2], mask[1:2], times[1:2])
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a[1:2], b)


def test_frames_that_are_not_seen_change_nothing_before_them_nor_the_content():
    """A video of four frames is the same as one of six whose last two are missing."""
    encoder, _ = networks()
    values, mask, times = videos(2, 6)
    mask[:, 4:] = 0
    long, short = (
        encoder(values * mask, mask, times),
        encoder(values[:, :4], mask[:, :4], times[:, :4]),
    )
    torch.testing.assert_close(long.content, short.content)
    torch.testing.assert_close(long.mean[:, :4], short.mean)
    torch.testing.assert_close(long.context[:, :4], short.context)


def test_content_is_of_all_frames_in_any_order_and_ignores_a_rare_one():
    encoder, _ = networks()
    values, mask, times = videos(1, 1)
    values = values.expand(1, 7, -1).clone()
    values[:, 3] += 5
    rare = encoder(values, mask.expand_as(values), times.expand(1, 7)).content
    still = encoder(values[:, :3], mask.expand_as(values)[:, :3], times.expand(1, 3)).content
    torch.testing.assert_close(rare, still)
    values, mask, times = videos(1, 5)
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(
        encoder(values, mask, times).content, encoder(values[:, order], mask, times).content
    )


def test_context_reaches_two_frames_and_no_further():
    encoder, _ = networks()
    values, mask, times = videos(1, 9)
    moved = values.clone()
    moved[:, 4] += 1
    change = (
        (encoder(moved, mask, times).context - encoder(values, mask, times).context)
        .abs()
        .amax((0, 2))
    )
    assert (change[2:7] > 1e-6).all()
    assert change[[0, 1, 7, 8]].max() == 0


def test_frames_lie_between_black_and_white():
    _, decoder = networks()
    x, content = 50 * torch.randn(20, LATENTS, dtype=DOUBLE), torch.zeros(20, CONTENT, dtype=DOUBLE)
    grey = 0.2 + 0.3 * decoder(x, content)
    assert grey.min() >= -1e-12
    assert grey.max() <= 1 + 1e-12


def test_settings_that_cannot_be_are_named():
    with pytest.raises(ValueError, match="widths has 3 blocks.*size is 20"):
        FrameEncoder(20, latent_dim=1, widths=(4, 4, 4))
    with pytest.raises(
        ValueError, match="shift must be the mean of grey values between 0 and 1, found 90"
    ):
        FrameDecoder(16, latent_dim=1, widths=(4,), shift=90.0, scale=1.0)
    with pytest.raises(ValueError, match="scale must be the positive deviation"):
        FrameDecoder(16, latent_dim=1, widths=(4,), shift=0.5, scale=0.0)


def brownian(d: int, n_features: int) -> LinearPrior:
    """``σ W`` from a start of deviation 3 in each of ``d`` coordinates, seen with noise 0.4."""
    return LinearPrior(
        MarkovApproximation(3, horizon=2.0, dt=0.1),
        d,
        n_features,
        drift="none",
        hurst=0.5,
        shared=True,
        tau=0.25,
        observation_noise=torch.full((n_features,), 0.4),
        latent=False,
        free_start=False,
    ).requires_grad_(False)


def pseudo_observations(d: int, length: int) -> PseudoObservations:
    """The same in every coordinate."""
    g = torch.Generator().manual_seed(1)
    values = torch.randn(1, length, 1, generator=g, dtype=DOUBLE)
    precision = 5 * torch.rand(1, length, 1, generator=g, dtype=DOUBLE)
    return PseudoObservations(values.expand(-1, -1, d), precision.expand(-1, -1, d))


def exact_divergence(prior: LinearPrior, pseudo: PseudoObservations, times: torch.Tensor) -> float:
    """Of one coordinate's posterior given pseudo-observations: they tell of the path by its values at their times."""
    start, scale = prior.log_start[0].exp(), prior.scale[0]
    covariance = start**2 + scale**2 * torch.minimum(times[:, None], times[None, :])
    information = torch.linalg.inv(covariance) + pseudo.precision[0, :, 0].diag()
    spread = torch.linalg.inv(information)
    mean = spread @ (pseudo.precision * pseudo.values)[0, :, 0]
    law = MultivariateNormal(mean, spread), MultivariateNormal(torch.zeros_like(mean), covariance)
    return float(kl_divergence(*law))


@pytest.mark.parametrize("d", [1, 4])
def test_divergence_of_a_path_is_summed_over_latent_coordinates(d):
    """``d`` independent coordinates that are told the same cost ``d`` times what one costs: a sum, not a mean."""
    prior, times, n = brownian(d, d), torch.arange(6, dtype=DOUBLE) / 4, 4000
    series = Series.of(di.Paths(times=[times.numpy()], states=[np.zeros((6, d))]))
    pseudo = pseudo_observations(d, 6)
    readout = Readout(pseudo, lambda x: x[..., 0, 0] * 0)
    drawn = guided_paths(Equation(prior), series, n, readout=readout)
    cost = -drawn.path_weights[:, 0]
    expected = d * exact_divergence(brownian(1, 1), pseudo_observations(1, 6), times)
    assert expected > 0.5 * d
    assert cost.mean().item() == pytest.approx(expected, abs=4 * cost.std().item() / math.sqrt(n))


def video_model(**settings) -> tuple[NeuralModel, Series]:
    encoder, decoder = networks()
    prior = brownian(LATENTS, SIZE**2)
    layout = Layout(
        SIZE**2, latent=True, content_dim=CONTENT, width=8, depth=1, n_steps=2, horizon=2.0
    )
    model = NeuralModel(prior, Parts(encoder=encoder, decoder=decoder), layout).double()
    values, _, times = videos(3, 5)
    values[1, 2] = math.nan  # a frame that is missing
    return model, Series.of(di.Paths(times=list(times.numpy() / 4), states=list(values.numpy())))


def test_fit_of_a_video_is_summed_over_pixels_and_frames():
    model, series = video_model()
    guided, content = model.guided(series, 2, seed=0)
    means = model.decode(guided.states, content)
    density = Normal(means, 0.4).log_prob(series.values)
    density[:, 1, 2] = 0
    torch.testing.assert_close(guided.fits, density.sum((-1, -2)))


def test_bound_reaches_every_network():
    model, series = video_model()
    guided, _ = model.guided(series, 2, seed=0)
    (-guided.bound.sum()).backward()
    silent = [
        n
        for n, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.any())
    ]
    # A control whose last layer begins at 0 passes nothing back to what lies before it.
    assert all(name.startswith("control.network.0") for name in silent)


def test_frames_that_are_drawn_together_fit_in_memory():
    model, series = video_model()
    many = series[torch.zeros(200, dtype=torch.int64)]
    pieces = model.pieces(many, 100)
    assert torch.equal(torch.cat(pieces), torch.arange(200))
    assert max(len(rows) for rows in pieces) * 100 * 5 * SIZE**2 <= 2_000_000


@pytest.mark.parametrize("noise", [0.2, None], ids=["fixed", "learned"])
def test_estimator_learns_from_videos_and_forecasts_frames(noise):
    system = BouncingShapes(size=SIZE, n_shapes=1, width=0.5)
    paths = system.paths(6, 5, seed=0)
    encoder, decoder = (net.float() for net in networks())
    state = di.Latent(dim=LATENTS, content_dim=CONTENT, encoder=encoder, decoder=decoder)
    training = Training(max_steps=3, batch_size=4, validation_fraction=0.0, device="cpu")
    inference = di.Variational(n_samples=2, n_steps=1, width=8, depth=1, training=training)
    model = di.FractionalSDE(
        noise=di.FractionalNoise(n_nodes=2),
        drift="network",
        state=state,
        inference=inference,
        observation_noise=noise,
    ).fit(paths, progress=False)
    assert np.isfinite(model.elbo(paths)).all()
    deviations = model.observation_noise_
    assert deviations.shape == (SIZE**2,)
    assert np.allclose(deviations, 0.2) == (noise is not None)
    few = system.paths(3, 2, seed=1)
    future = model.forecast(few, [0.3, 0.4], n_samples=4).states
    assert future.shape == (8, 2, SIZE**2)
    assert future.min() >= -1e-6
    assert future.max() <= 1 + 1e-6
