"""The likeliest sequence of hidden states by blocks, beside a plain recursion."""

import time

import numpy as np
import pytest
import torch

import dyninfer as di
from dyninfer.jumps.likelihood import viterbi
from dyninfer.jumps.likelihood.forward_backward import Chain
from dyninfer.jumps.likelihood.hidden import HiddenPaths


def prepared(n_paths, n_times, seed):
    """Paths of different lengths, whose gaps are 0.1, 0.2 or 0.5."""
    rng = np.random.default_rng(seed)
    lengths = n_times - 3 * np.arange(n_paths)
    times = [np.cumsum(rng.choice([0.1, 0.2, 0.5], length)) for length in lengths]
    states = [np.zeros((length, 1)) for length in lengths]
    return HiddenPaths.of(di.Paths(times=times, states=states))


def random_chain(data, n_states, seed, n_models=1):
    rng = np.random.default_rng(seed)
    n_paths, n_times = data.mask.shape[:2]
    p = rng.dirichlet(np.ones(n_states), (n_models, len(data.gaps), n_states))
    log_e = -3 * rng.random((n_models, n_paths, n_times, n_states))
    initial = rng.dirichlet(np.ones(n_states), n_models)
    parts = [torch.from_numpy(part) for part in (p, log_e, initial)]
    return Chain(*parts, torch.Size([n_models]))


def plain(chain, data, model, path):
    """Viterbi's recursion as textbooks have it, for one path."""
    with np.errstate(divide="ignore"):
        log_p = np.log(chain.p[model].numpy())
        value = np.log(chain.initial[model].numpy())
    log_e = chain.log_e[model, path].numpy()
    number = data.gap_number[:, path].numpy()
    value = value + log_e[0]
    origins = []
    for step, row in zip(number, log_e[1:], strict=True):
        joint = value[:, None] + log_p[step]
        origins.append(joint.argmax(0))
        value = joint.max(0) + row
    states = [value.argmax()]
    for origin in reversed(origins):
        states.append(origin[states[-1]])
    return states[::-1], value.max()


@pytest.mark.parametrize(
    ("n_paths", "n_times", "n_states", "n_models"),
    [(1, 1000, 2, 1), (4, 300, 3, 2), (2, 65, 6, 1), (1, 64, 2, 1), (2, 20, 3, 2)],
)
def test_blocks_find_the_sequence_of_the_plain_recursion(n_paths, n_times, n_states, n_models):
    data = prepared(n_paths, n_times, 0)
    chain = random_chain(data, n_states, 1, n_models)
    states, value = viterbi.likeliest(chain, data)
    for model in range(n_models):
        for path in range(n_paths):
            expected, largest = plain(chain, data, model, path)
            assert states[model, path].tolist() == expected
            assert float(value[model, path]) == pytest.approx(largest, rel=1e-12)


def test_a_sequence_takes_no_impossible_step_where_many_are_equally_good():
    """On a circle that is walked in one direction, every place at the start is as good."""
    data = prepared(1, 500, 0)
    n_states = 4
    step = torch.roll(torch.eye(n_states, dtype=torch.float64), 1, dims=1)
    stay_or_step = 0.5 * torch.eye(n_states, dtype=torch.float64) + 0.5 * step
    p = stay_or_step.expand(1, len(data.gaps), -1, -1)
    log_e = torch.zeros(1, 1, 500, n_states, dtype=torch.float64)
    initial = torch.full((1, n_states), 0.25, dtype=torch.float64)
    states, value = viterbi.likeliest(Chain(p, log_e, initial, torch.Size([1])), data)
    moves = states[0, 0].diff() % n_states
    assert set(moves.tolist()) <= {0, 1}
    assert float(value) == pytest.approx(np.log(0.25) + 499 * np.log(0.5), rel=1e-12)


def test_the_only_possible_state_is_taken_however_badly_it_explains_the_data():
    data = prepared(1, 2000, 0)
    eye = torch.eye(2, dtype=torch.float64).expand(1, len(data.gaps), -1, -1)
    log_e = torch.zeros(1, 1, 2000, 2, dtype=torch.float64)
    # exp(-2000) is zero in double precision.
    log_e[..., 1] = -2000.0
    initial = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    states, value = viterbi.likeliest(Chain(eye, log_e, initial, torch.Size([1])), data)
    assert bool((states == 1).all())
    assert float(value) == -4_000_000


def test_blocks_are_five_times_faster_than_one_time_after_another(monkeypatch):
    data = prepared(1, 10_000, 0)
    chain = random_chain(data, 2, 0)
    seconds = {}
    for is_worth_it in (True, False):
        monkeypatch.setattr(viterbi, "_blocks_are_worth_it", lambda log_e, it=is_worth_it: it)
        begin = time.process_time()
        viterbi.likeliest(chain, data)
        seconds[is_worth_it] = time.process_time() - begin
    assert seconds[True] < 0.2 * seconds[False]
