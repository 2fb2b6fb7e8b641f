"""Simulated jumps against transition probabilities, each other, and a plain loop."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.linalg import expm
from scipy.stats import chi2, kstest

import dyninfer as di
from dyninfer.jumps.gillespie import simulate_events
from dyninfer.jumps.process import MarkovJump, with_diagonal
from dyninfer.jumps.skeleton import draw_skeletons
from dyninfer.simulation import simulate
from dyninfer.simulation.solvers import SRA1

SURE = 20.5  # chi-square with 5 degrees of freedom exceeds it once in a thousand


def seconds(call):
    """CPU seconds of a call."""
    began = time.process_time()
    call()
    return time.process_time() - began


def generators(seed, *batch, n=6):
    g = torch.Generator().manual_seed(seed)
    return with_diagonal(torch.rand(*batch, n, n, generator=g, dtype=torch.float64))


def chi_square(states, law):
    expected = law * len(states)
    return (((np.bincount(states, minlength=len(law)) - expected) ** 2) / expected).sum()


@pytest.mark.parametrize("seed", [0, 1])
def test_both_samplers_have_the_marginals_of_the_exponential(seed):
    q, n, times = generators(seed), 100_000, [0.0, 0.4, 3.0]
    start = np.full(n, 2)
    skeleton = simulate(MarkovJump(q), start, times, seed=seed).states.numpy()
    events = simulate_events(MarkovJump(q), start, 3.0, seed=seed).at(times).numpy()
    for k in (1, 2):
        law = expm(q.numpy() * times[k])[2]
        assert chi_square(skeleton[:, k], law) < SURE
        assert chi_square(events[:, k], law) < SURE


def test_both_samplers_agree_on_pairs_of_times_under_changing_generators():
    process = MarkovJump(generators(2, 3, n=3), initial=[0.2, 0.5, 0.3], breaks=[0.5, 1.2])
    times, n = [0.3, 1.0, 1.6], 60_000
    a = simulate(process, None, times, n_paths=n, seed=0).states.numpy()
    b = simulate_events(process, n, 2.0, seed=1).at(times).numpy()
    counts = [np.bincount(s @ [9, 3, 1], minlength=27) for s in (a, b)]
    statistic = ((counts[0] - counts[1]) ** 2 / (counts[0] + counts[1])).sum()
    assert statistic < chi2.isf(1e-3, 26)
    exact = process.marginal(0.3)[:, None, None] * process.transition(0.7, 0.3)[:, :, None]
    exact = exact * process.transition(0.6, 1.0)[None]
    expected = exact.reshape(-1).numpy() * n
    assert ((counts[0] - expected) ** 2 / expected).sum() < chi2.isf(1e-3, 26)


def test_each_member_of_a_batch_follows_its_own_generator():
    q, n = generators(3, 4), 30_000
    process = MarkovJump(q, initial=torch.eye(6)[[0, 1, 2, 3]])
    states = draw_skeletons(process, n, torch.tensor([0.0, 0.8]), seed=5)
    events = simulate_events(process, n, 0.8, seed=5).at([0.8])
    assert states.shape == (4, n, 2)
    for k in range(4):
        law = expm(0.8 * q[k].numpy())[k]
        assert chi_square(states[k, :, 1].numpy(), law) < SURE
        assert chi_square(events[k, :, 0].numpy(), law) < SURE


def test_waiting_times_and_targets_are_those_of_the_generator():
    process = MarkovJump(generators(4))
    events = simulate_events(process, np.full(20_000, 1), 200.0, seed=0)
    waits = (events.times[:, 1] - events.times[:, 0]).numpy()
    assert kstest(waits, "expon", args=(0, float(process.holding_times()[1]))).pvalue > 1e-3
    law = process.embedded_chain()[1].numpy()
    targets = events.states[:, 1].numpy()
    assert chi_square(np.delete(np.arange(6), 1).searchsorted(targets), np.delete(law, 1)) < 18.5
    share = events.occupation_times(6).mean(0) / 200.0
    torch.testing.assert_close(share, process.stationary(), rtol=0.02, atol=0)


def test_absorbed_paths_stay_and_need_no_end():
    dying = MarkovJump.from_rates([[0, 2.0], [0, 0]], initial=[1.0, 0.0])
    events = simulate_events(dying, 5000, 1e6, seed=0)
    assert (events.n_jumps == 1).all()
    assert kstest(events.times[:, 1].numpy(), "expon", args=(0, 0.5)).pvalue > 1e-3
    assert (events.at([5e5]) == 1).all()


def test_a_path_depends_on_the_seed_and_its_number_alone():
    process, times = MarkovJump(generators(5)), np.linspace(0, 3, 20)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    whole = simulate(process, None, times, n_paths=500, seed=7).states
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(
        whole, simulate(process, None, times, n_paths=500, seed=7, chunk_size=33).states
    )
    assert torch.equal(whole[:100], simulate(process, None, times, n_paths=100, seed=7).states)
    assert not torch.equal(whole, simulate(process, None, times, n_paths=500, seed=8).states)


def test_simulate_takes_jump_processes():
    process, times, x0 = MarkovJump(generators(6)), [0.0, 1.0, 2.0], np.arange(6)
    found = simulate(process, x0, times, seed=3)
    assert found.discrete
    assert torch.equal(found.states, simulate(process, x0, times, seed=3).states)
    with pytest.raises(ValueError, match=r"SRA1\(dt=0.1\) cannot run.*a jump process; use"):
        simulate(process, x0, times, solver=SRA1(dt=0.1))
    for option in ({"noise": 0.1}, {"backward": True}, {"resample": 0.5}):
        instant = times[::-1] if "backward" in option else times
        with pytest.raises(
            ValueError, match=f"{next(iter(option))}=.* cannot be used: a MarkovJump"
        ):
            simulate(process, x0, instant, **option)


def test_states_may_be_names_and_origin_says_where_paths_start():
    process = MarkovJump(generators(6), state_names=list("abcdef"))
    x0, times = ["f", "a", "c"], [0.0, 0.5]
    run = simulate(process, x0, times, seed=3)
    assert run.states[:, 0].tolist() == [5, 0, 2]
    assert torch.equal(run.states, simulate(process, np.array([5, 0, 2]), times, seed=3).states)
    many = simulate(process, x0, times, n_paths=40, seed=3)
    assert many.states[:, 0].tolist() == [[5, 0, 2][row] for row in many.origin]
    assert set(many.origin.tolist()) == {0, 1, 2}
    with pytest.raises(ValueError, match="x0 names the state 'z'.*there are a, b, c"):
        simulate(process, ["z"], times)


@pytest.mark.parametrize(
    "x0",
    [
        [0, 2, 1],
        np.array([0, 2, 1], dtype=">i4"),
        np.array([1, 2, 0], dtype=np.uint8)[::-1],
        np.array([0, 2, 1], dtype=object),
        pd.Series([0, 2, 1], dtype="Int64"),
        pd.Categorical([0, 2, 1]),
        torch.tensor([0, 2, 1]),
    ],
    ids=lambda x0: f"{type(x0).__name__} {getattr(x0, 'dtype', '')}",
)
def test_whole_numbers_are_numbers_of_states_whatever_holds_them(x0):
    # Names that are numbers too, but not those of their states.
    process = MarkovJump(generators(3, n=3), state_names=["1", "2", "3"])
    assert simulate(process, x0, [0.0, 1.0]).states[:, 0].tolist() == [0, 2, 1]
    assert simulate(process, ["1", "3"], [0.0, 1.0]).states[:, 0].tolist() == [0, 2]


@pytest.mark.parametrize(
    "x0",
    [
        np.ma.array([0, 1], mask=[False, True]),
        pd.array([0, None], dtype="Int64"),
        np.array([0, None]),
        np.array([0.0, np.nan]),
        [True, False],
        [None, "b"],
    ],
)
def test_missing_states_are_no_starts(x0):
    process = MarkovJump(generators(3, n=3), state_names=list("abc"))
    with pytest.raises((TypeError, ValueError), match="must be integers or names|names the state"):
        simulate(process, x0, [0.0, 1.0])


def test_first_states_are_drawn_from_the_distribution_of_the_first_time():
    process = MarkovJump([[-1.0, 1.0], [0.5, -0.5]], initial=[1.0, 0.0])
    n = 20_000
    for solver in ("skeleton", "gillespie"):
        run = simulate(process, None, [0.0, 0.7], n_paths=n, solver=solver)
        assert bool((run.states[:, 0] == 0).all())
        late = simulate(process, None, [0.7], n_paths=n, solver=solver)
        share = float(process.marginal(0.7)[1])
        error = (share * (1 - share) / n) ** 0.5
        for states in (run.states[:, 1], late.states[:, 0]):
            assert states.double().mean().item() == pytest.approx(share, abs=4.5 * error)
    with pytest.raises(ValueError, match="n_paths is needed where the first states are drawn"):
        simulate(process, None, [0.0, 1.0])


def test_both_exact_solvers_have_the_transition_probabilities():
    q = generators(4)
    process, n, times = MarkovJump(q), 40_000, [0.0, 0.3, 2.0]
    for solver in ("skeleton", "gillespie"):
        run = simulate(process, np.full(n, 1), times, solver=solver, seed=1)
        for k in (1, 2):
            expected = process.transition(times[k])[1]
            share = torch.bincount(run.states[:, k], minlength=len(expected)) / n
            error = (expected * (1 - expected) / n).sqrt()
            assert bool(((share - expected).abs() < 4.5 * error).all())


def test_a_batch_repeats_the_starts_for_every_process():
    process = MarkovJump(torch.stack([generators(3), 2 * generators(3)]))
    run = simulate(process, [2, 0], [0.0, 1.0])
    assert run.origin.tolist() == [0, 1, 0, 1]
    assert run.states[:, 0].tolist() == [2, 0, 2, 0]
    assert run.attrs["processes"] == [2]


def test_bad_arguments_are_named():
    process = MarkovJump(generators(7))
    with pytest.raises(ValueError, match="must start in states 0 to 5"):
        simulate(process, [6], [0.0, 1.0])
    with pytest.raises(TypeError, match="must be integers or names"):
        simulate(process, [0.5], [0.0, 1.0])
    with pytest.raises(ValueError, match="stop must be"):
        simulate_events(process, 3, -1.0)


def test_a_hundred_thousand_paths_beat_a_loop_forty_times():
    q, times = generators(8), np.linspace(0, 5, 21)
    process, n, few = MarkovJump(q), 100_000, 300

    def loop():
        rng, rates = np.random.default_rng(0), np.clip(q.numpy(), 0, None)
        for _ in range(few):
            t, s = 0.0, 0
            while t < 5.0:
                t += rng.exponential(1 / rates[s].sum())
                s = rng.choice(6, p=rates[s] / rates[s].sum())

    batched = min(seconds(lambda: simulate(process, None, times, n_paths=n)) for _ in range(2))
    by_jump = min(seconds(lambda: simulate_events(process, n, 5.0)) for _ in range(2))
    looped = seconds(loop) * n / few
    assert looped / batched > 40, looped / batched
    assert looped / by_jump > 40, looped / by_jump


@pytest.mark.parametrize("n_paths", [1, 3])
def test_one_long_path_is_the_same_leaped_as_walked(n_paths, monkeypatch):
    ring = MarkovJump([[-1.5, 1.0, 0.5], [0.4, -1.2, 0.8], [1.2, 0.3, -1.5]])
    times = 0.1 * torch.arange(700)
    monkeypatch.setattr("dyninfer.jumps.skeleton._MANY_NUMBERS", 0)
    compiled = di.simulate(ring, None, times, n_paths=n_paths).states
    monkeypatch.setattr("dyninfer.jumps.skeleton.can_run_on", lambda tensor: False)
    leaped = di.simulate(ring, None, times, n_paths=n_paths).states
    monkeypatch.setattr("dyninfer.jumps.skeleton._MAP_NUMBERS", 500)
    in_parts = di.simulate(ring, None, times, n_paths=n_paths).states
    monkeypatch.setattr("dyninfer.jumps.skeleton._FEW_NUMBERS", 0)
    walked = di.simulate(ring, None, times, n_paths=n_paths).states
    assert torch.equal(compiled, walked)
    assert torch.equal(leaped, walked)
    assert torch.equal(in_parts, walked)


@pytest.mark.parametrize("breaks", [None, [3.0, 50.0]])
def test_one_path_jumps_alike_compiled_and_in_torch(breaks, monkeypatch):
    """Also over breaks, after which the numbers that were drawn ahead go on."""
    ring = torch.tensor([[-1.5, 1.0, 0.5], [0.4, -1.2, 0.8], [1.2, 0.3, -1.5]])
    generators = ring
    if breaks is not None:
        generators = torch.stack([ring, 3 * ring, ring / 2])
    process = MarkovJump(generators, initial=[0.2, 0.3, 0.5], breaks=breaks)
    monkeypatch.setattr("dyninfer.jumps.gillespie._FIRST_BLOCKS", 3)
    compiled = simulate_events(process, 1, 200.0, seed=3)
    monkeypatch.setattr("dyninfer.jumps.gillespie.can_run_on", lambda tensor: False)
    in_torch = simulate_events(process, 1, 200.0, seed=3)
    assert int(compiled.n_jumps) > 150
    assert torch.equal(compiled.times, in_torch.times)
    assert torch.equal(compiled.states, in_torch.states)


def test_one_long_path_takes_no_longer_than_a_plain_loop():
    """A hundred thousand steps, beside a loop that does nothing but look up where it goes."""
    rates = torch.tensor([[-1.0, 1.0], [3.0, -3.0]])
    gate = MarkovJump(rates)
    times = 0.1 * torch.arange(100_000)
    stays = torch.linalg.matrix_exp(0.1 * rates).diagonal().tolist()

    def loop():
        state = 0
        states = []
        for u in np.random.default_rng(0).random(100_000).tolist():
            if u > stays[state]:
                state = 1 - state
            states.append(state)

    # Once before the clock: compiled code is loaded.
    di.simulate(gate, None, times, n_paths=1)
    ours = min(seconds(lambda: di.simulate(gate, None, times, n_paths=1)) for _ in range(5))
    looped = min(seconds(loop) for _ in range(5))
    assert ours < 2 * looped, (ours, looped)


def test_equal_gaps_are_exponentiated_once(monkeypatch):
    gate = MarkovJump([[-1.0, 1.0], [3.0, -3.0]])
    sizes = []
    original = MarkovJump.transition

    def counted(self, dt, start=0.0):
        sizes.append(dt.numel())
        return original(self, dt, start)

    monkeypatch.setattr(MarkovJump, "transition", counted)
    times = 1.7e9 + 0.1 * np.arange(2000)
    di.simulate(gate, [0], times)
    di.simulate(gate, [0], [0.0, 1.0, 2.0, 2.5, 3.5])
    # Seconds since 1970 are known to 2e-7: within that, all gaps are one.
    assert sizes[0] <= 3
    assert sizes[1] == 2


def test_first_states_before_time_0_are_refused_where_initial_is_given():
    gate = MarkovJump([[-1.0, 1.0], [1.0, -1.0]], initial=[1.0, 0.0])
    with pytest.raises(ValueError, match=r"drawn at time -2.*count times from the start"):
        di.simulate(gate, None, [-2.0, -1.0, 0.0], n_paths=10)
    # A stationary process is the same at all times, and given states need no distribution.
    stationary = MarkovJump([[-1.0, 1.0], [1.0, -1.0]])
    assert di.simulate(stationary, None, [-2.0, 0.0], n_paths=4).n_paths == 4
    assert di.simulate(gate, [0, 1], [-2.0, 0.0]).n_paths == 2


@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_passages_and_committors_have_no_unit(unit):
    rates = np.array([[-1.5, 1.0, 0.5], [0.4, -1.2, 0.8], [1.2, 0.3, -1.5]])
    plain, other = MarkovJump(rates), MarkovJump(rates / unit)
    assert torch.allclose(other.mean_first_passage(2) / unit, plain.mean_first_passage(2))
    assert torch.allclose(other.committor(0, 2), plain.committor(0, 2))
    assert torch.allclose(other.relaxation_times() / unit, plain.relaxation_times())
    assert torch.allclose(other.stationary(), plain.stationary())
