"""Hidden chains by blocks of √L times: beside the compiled recursion, and in little memory."""

import time

import numpy as np
import pytest
import torch

import dyninfer as di
from dyninfer.jumps.likelihood import forward_backward
from dyninfer.jumps.likelihood.forward_backward import Chain, _Blockwise, _Compiled, _Stepwise
from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.process.chain import is_diagonal


def prepared(n_paths, n_times, seed, is_uneven):
    """Paths of different lengths, with gaps of their own."""
    rng = np.random.default_rng(seed)
    times = []
    for path in range(n_paths):
        n_own = n_times - 3 * path
        steps = rng.choice([0.1, 0.2, 0.5], n_own) if is_uneven else np.full(n_own, 0.1)
        times.append(np.cumsum(steps))
    states = [rng.normal(size=(len(own), 1)) for own in times]
    return HiddenPaths.of(di.Paths(times=times, states=states))


def random_chain(data, n_states, seed, n_models=1, spread=5.0):
    generator = torch.Generator().manual_seed(seed)
    shape = n_models, 1, n_states, n_states
    rates = torch.rand(shape, generator=generator, dtype=torch.float64)
    rates = torch.where(is_diagonal(rates), 0.0, rates)
    q = rates - torch.diag_embed(rates.sum(-1))
    p = torch.matrix_exp(q * data.gaps.reshape(1, -1, 1, 1))
    n_paths, n_times = data.mask.shape[:2]
    emissions = n_models, n_paths, n_times, n_states
    log_e = -spread * torch.rand(emissions, generator=generator, dtype=torch.float64)
    first = torch.rand(n_models, n_states, generator=generator, dtype=torch.float64)
    initial = first / first.sum(-1, keepdim=True)
    parts = [part.requires_grad_() for part in (p, log_e, initial)]
    return Chain(*parts, torch.Size([n_models]))


def value_and_slopes(function, chain, data):
    values = function.apply(chain.p, chain.log_e, chain.initial, data)
    # A weight for every path, so that no slope is right by symmetry.
    weights = torch.arange(1, values.shape[1] + 1)
    slopes = torch.autograd.grad((values * weights).sum(), (chain.p, chain.log_e, chain.initial))
    return values.detach(), *slopes


@pytest.mark.parametrize(
    ("n_paths", "n_times", "n_states", "is_uneven", "n_models"),
    [(1, 1000, 2, False, 1), (5, 300, 3, True, 1), (3, 65, 6, True, 2), (1, 64, 2, False, 1)],
)
def test_blocks_agree_with_the_compiled_recursion(n_paths, n_times, n_states, is_uneven, n_models):
    data = prepared(n_paths, n_times, 0, is_uneven)
    chain = random_chain(data, n_states, 1, n_models)
    expected = value_and_slopes(_Compiled, chain, data)
    found = value_and_slopes(_Blockwise, chain, data)
    for one, other in zip(found, expected, strict=True):
        scale = float(other.abs().max())
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10 * scale)


def test_smoothing_by_blocks_is_that_of_the_compiled_recursion(monkeypatch):
    data = prepared(2, 200, 3, True)
    chain = random_chain(data, 3, 4)
    with torch.no_grad():
        expected = forward_backward.smoothed(chain, data)
        monkeypatch.setattr(forward_backward, "can_run_on", lambda tensor: False)
        found = forward_backward.smoothed(chain, data)
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_the_only_state_that_is_possible_may_explain_a_block_however_badly():
    """Neither state is ever left, and a block of 45 times is e^-900 less likely in the second."""
    data = prepared(1, 2000, 0, False)
    eye = torch.eye(2, dtype=torch.float64).expand(1, 1, 2, 2)
    log_e = torch.zeros(1, 1, 2000, 2, dtype=torch.float64)
    log_e[..., 1] = -20.0
    initial = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    chain = Chain(eye, log_e, initial, torch.Size([1]))
    found = _Blockwise.apply(chain.p, chain.log_e, chain.initial, data)
    assert float(found) == pytest.approx(-40_000, rel=1e-12)


def test_impossible_data_have_the_likelihood_zero_and_no_nan():
    data = prepared(2, 100, 0, False)
    chain = random_chain(data, 2, 0)
    log_e = chain.log_e.detach().clone()
    log_e[0, 0, 50] = -torch.inf
    changed = chain._replace(log_e=log_e.requires_grad_())
    values, *slopes = value_and_slopes(_Blockwise, changed, data)
    assert torch.isneginf(values[0, 0])
    assert bool(values[0, 1].isfinite())
    assert all(bool(slope.isfinite().all()) for slope in slopes)


def test_between_the_passes_memory_grows_with_the_root_of_the_length():
    sizes = {}
    for n_times in (400, 6400):
        data = prepared(1, n_times, 0, False)
        chain = random_chain(data, 2, 0)
        numbers = []

        def noted(tensor, numbers=numbers, inputs=(chain.p, chain.log_e, chain.initial)):
            if not any(tensor is one for one in inputs):
                numbers.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(noted, lambda tensor: tensor):
            _Blockwise.apply(chain.p, chain.log_e, chain.initial, data)
        sizes[n_times] = sum(numbers)
    # Sixteen times the length, four times the memory.
    assert sizes[6400] == pytest.approx(4 * sizes[400], rel=0.05)


def test_a_long_record_is_ten_times_faster_than_step_by_step():
    data = prepared(1, 5000, 0, False)
    chain = random_chain(data, 2, 0)
    seconds = {}
    for function in (_Stepwise, _Blockwise):
        begin = time.process_time()
        value_and_slopes(function, chain, data)
        seconds[function] = time.process_time() - begin
    assert seconds[_Blockwise] < 0.1 * seconds[_Stepwise]


def test_few_states_of_a_long_record_are_fitted_without_numba(monkeypatch):
    gate = di.MarkovJump([[-1.0, 1.0], [2.0, -2.0]])
    times = 0.1 * np.arange(2000)
    run = di.simulate(gate, None, times, n_paths=1, seed=0)
    noise = 0.3 * np.random.default_rng(0).normal(size=(1, 2000))
    paths = di.Paths(times=[times], states=list(run.states.numpy() + noise))
    expected = di.MarkovJumpInference(observation=di.Gaussian(2)).fit(paths, progress=False)
    for place in ("likelihood.forward_backward", "posterior.hidden_objective"):
        monkeypatch.setattr(f"dyninfer.jumps.{place}.can_run_on", lambda tensor: False)
    found = di.MarkovJumpInference(observation=di.Gaussian(2)).fit(paths, progress=False)
    np.testing.assert_allclose(found.generator_, expected.generator_, rtol=2e-3)
