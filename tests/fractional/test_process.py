import pytest
import torch
from torch import nn

from dyninfer.fractional import MarkovApproximation
from dyninfer.fractional.process import FractionalDiffusion

NOISE = MarkovApproximation(nodes=[0.1, 1.0, 10.0])


def process(**settings):
    return FractionalDiffusion(lambda t, x: -x, NOISE, **settings)


def test_every_coordinate_may_have_its_own_index():
    own = process(hurst=torch.tensor([0.3, 0.7], dtype=torch.float64))
    assert torch.equal(own.weights(2), NOISE.weights([0.3, 0.7]))
    assert torch.equal(process(hurst=0.3).weights(3), NOISE.weights(0.3).expand(3, -1))


def test_index_and_amplitude_that_are_parameters_are_learned():
    learned = process(hurst=nn.Parameter(torch.tensor(0.3)), diffusion=nn.Parameter(torch.ones(2)))
    assert len(list(learned.parameters())) == 2
    learned.weights(2).sum().backward()
    assert learned.hurst.grad.isfinite()
    assert len(list(process().parameters())) == 0


def test_amplitudes_are_numbers_vectors_or_functions():
    x = torch.ones(4, 2)
    assert process(diffusion=0.5).diffusion(0.0, x) == 0.5
    assert process(diffusion=torch.tensor([1.0, 2.0])).diffusion(0.0, x).shape == (2,)
    by_state = process(diffusion=lambda t, x: t[:, None] * x)
    assert not by_state.additive
    assert torch.equal(by_state.diffusion(2.0, x), 2 * x)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"hurst": 1.2}, "hurst"),
        ({"hurst": torch.full((2, 2), 0.5)}, "hurst"),
        ({"calculus": "x"}, "calculus"),
        ({"definition": "x"}, "definition"),
    ],
)
def test_bad_settings_are_named(settings, word):
    with pytest.raises(ValueError, match=word):
        process(**settings)


def test_indices_that_do_not_fit_the_state_are_refused():
    with pytest.raises(ValueError, match="3 coordinates"):
        process(hurst=torch.tensor([0.3, 0.7])).weights(3)


def test_function_of_time_gives_weights_of_every_time():
    times = torch.tensor([0.0, 0.5], dtype=torch.float64)
    falling = process(hurst=lambda t: 0.7 - 0.4 * t)
    assert falling.weights(3, times).shape == (2, 3, 4)
    assert (falling.weights(3, times) - NOISE.weights([0.7, 0.5])[:, None]).abs().max() < 1e-10
    own = process(hurst=lambda t: torch.stack([0.7 - 0.4 * t, 0.3 + t], dim=1))
    assert (own.weights(2, times)[1] - NOISE.weights([0.5, 0.8])).abs().max() < 1e-10


@pytest.mark.parametrize(
    ("hurst", "times", "word"),
    [
        (lambda t: 0.5 + t, None, "times are needed"),
        (lambda t: 0.5 + t, [1.0], "between 0 and 1"),
        (lambda t: 0.5, [0.1], "must return a tensor"),
        (lambda t: torch.full((len(t), 3), 0.5), [0.1], "3 values"),
    ],
)
def test_functions_of_time_that_cannot_be_are_refused(hurst, times, word):
    with pytest.raises(ValueError, match=word):
        process(hurst=hurst).weights(2, None if times is None else torch.tensor(times))
