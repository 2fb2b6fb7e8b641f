"""Apparent dwell times: numbers that were worked out apart, integrals, and simulation.

The numbers come from the block form of the density, checked by quadrature, for the gate and the
linear scheme below with a dead time of 0.1.
"""

import numpy as np
import pytest
import torch

import dyninfer as di
from dyninfer.jumps.dwell import simulate_dwell_times
from dyninfer.jumps.dwell.law import ApparentLaw, DwellData
from dyninfer.jumps.dwell.survivor import Ages, Survivor

RECORD = [[0.3, 0.4, 0.7, 0.25, 0.2]]


@pytest.fixture
def gate():
    return di.MarkovJump([[-2.0, 2.0], [5.0, -5.0]], state_names=["open", "shut"])


@pytest.fixture
def linear():
    q = [[-4.0, 4.0, 0.0], [8.0, -11.0, 3.0], [0.0, 1.0, -1.0]]
    return di.MarkovJump(q, state_names=["open", "short", "long"])


def test_gate_has_the_means_of_the_closed_form(gate):
    law = di.ApparentDwellTimes(gate, ["open"], 0.1)
    closing, opening = 2.0, 5.0
    mean_open = (1 / closing + 1 / opening) * np.exp(opening * 0.1) - 1 / opening
    mean_shut = (1 / closing + 1 / opening) * np.exp(closing * 0.1) - 1 / closing
    assert law.mean("open") == pytest.approx(mean_open, abs=1e-12)
    assert law.mean("shut") == pytest.approx(mean_shut, abs=1e-12)
    assert (mean_open, mean_shut) == pytest.approx((0.9541049, 0.3549819), abs=1e-7)


def test_gate_has_the_density_of_the_block_form(gate):
    law = di.ApparentDwellTimes(gate, ["open"], 0.1)
    np.testing.assert_allclose(
        law.density([0.05, 0.2, 0.5, 2.0], "open"), [0, 1.0385833, 0.7314629, 0.1266170], atol=1e-6
    )
    np.testing.assert_allclose(
        law.survival([0.05, 0.15, 0.25], "open"), [1, 0.9156252, 0.8077113], atol=1e-6
    )


def test_gate_decays_by_the_slowest_root(gate):
    survivor = Survivor(gate.generator, torch.tensor([True, False]), 0.1)
    assert float(survivor.decay.log() / 0.1) == pytest.approx(-1.1692533, abs=1e-6)
    late = survivor.at(Ages.of(np.array([3.0]), 0.1, survivor.n_pieces))
    assert float(late) == pytest.approx(0.9625641 * np.exp(-1.1692533 * 3), rel=1e-6)


def test_records_have_the_log_likelihoods_of_the_block_form(gate, linear):
    record = di.DwellTimes(RECORD, dead_time=0.1)
    assert di.ApparentDwellTimes(gate, ["open"], 0.1).log_likelihoods(record) == pytest.approx(
        0.3663604, abs=1e-6
    )
    assert di.ApparentDwellTimes(linear, ["open"], 0.1).log_likelihoods(record) == pytest.approx(
        -0.1620753, abs=1e-6
    )
    ignored = di.ApparentDwellTimes(gate, ["open"], 0.0)
    assert ignored.log_likelihoods(di.DwellTimes(RECORD)) == pytest.approx(-0.3516827, abs=1e-6)


def test_linear_scheme_has_the_means_of_the_block_form(linear):
    law = di.ApparentDwellTimes(linear, ["open"], 0.1)
    assert law.mean("open") == pytest.approx(0.6269600, abs=1e-6)
    assert law.mean("shut") == pytest.approx(1.2053286, abs=1e-6)


@pytest.mark.parametrize("kind", ["open", "shut"])
def test_densities_integrate_to_one_and_have_their_mean(linear, kind):
    law = di.ApparentDwellTimes(linear, ["open"], 0.1)
    # Between the kinks at whole dead times the density is smooth.
    nodes, weights = np.polynomial.legendre.leggauss(12)
    begins = 0.1 * np.arange(1, 400)
    times = begins[:, None] + 0.05 * (nodes + 1)
    density = law.density(times, kind).reshape(times.shape)
    mass = 0.05 * density @ weights
    assert mass.sum() == pytest.approx(1, abs=1e-8)
    assert (0.05 * (density * times) @ weights).sum() == pytest.approx(law.mean(kind), abs=1e-7)


@pytest.mark.parametrize("dead_time", [0.02, 0.2, 0.3])
def test_few_pieces_say_what_many_say(monkeypatch, dead_time):
    """Beyond the exact pieces, the slowest roots of random schemes with two open states."""
    rng = np.random.default_rng(3)
    rates = torch.from_numpy(np.exp(rng.normal(0, 1, (5, 5))))
    generator = di.MarkovJump.from_rates(rates).generator
    own = torch.tensor([True, True, False, False, False])
    ages = dead_time * np.array([0.5, 3.3, 9.6, 11.2])
    few = Survivor(generator, own, dead_time)
    values = few.at(Ages.of(ages, dead_time, few.n_pieces))
    monkeypatch.setattr("dyninfer.jumps.dwell.survivor._PIECES", ((10.0, 13),))
    many = Survivor(generator, own, dead_time)
    exact = many.at(Ages.of(ages, dead_time, 13))
    relative = (values - exact).abs().amax((1, 2)) / exact.abs().amax((1, 2))
    assert relative.max() < 1e-7


def test_simulated_records_have_the_mean_dwell_times(linear):
    record = simulate_dwell_times(linear, ["open"], 20000.0, dead_time=0.1, seed=1)
    law = di.ApparentDwellTimes(linear, ["open"], 0.1)
    # Three standard errors of ten thousand dwell times.
    assert record.open_times.mean() == pytest.approx(law.mean("open"), rel=0.03)
    assert record.shut_times.mean() == pytest.approx(law.mean("shut"), rel=0.04)


def test_likelihood_does_not_depend_on_the_unit_of_time_but_by_its_density(linear):
    record = di.DwellTimes(RECORD, dead_time=0.1)
    slow = di.MarkovJump(linear.generator / 1000, state_names=linear.state_names)
    long = di.DwellTimes([1000 * np.array(RECORD[0])], dead_time=100.0)
    here = di.ApparentDwellTimes(linear, ["open"], 0.1).log_likelihoods(record)
    there = di.ApparentDwellTimes(slow, ["open"], 100.0).log_likelihoods(long)
    assert here - 5 * np.log(1000) == pytest.approx(there, abs=1e-9)


def test_likelihood_has_the_slope_that_differences_give():
    rates = torch.tensor([2.0, 0.7, 1.5, 4.0], dtype=torch.float64).log().requires_grad_()
    data = DwellData(di.DwellTimes([[0.3, 0.4, 2.7], [0.25, 0.2, 0.9]], [True, False], 0.1, False))
    scheme = di.jumps.RateScheme.birth_death(3)
    is_open = torch.tensor([True, False, False])

    def value(theta):
        law = ApparentLaw(scheme.generator(theta), is_open, 0.1)
        return data.log_likelihoods(law).sum()

    assert torch.autograd.gradcheck(value, rates, eps=1e-5, atol=1e-7)


def test_a_dwell_time_that_is_cut_off_counts_by_what_is_left(gate):
    law = di.ApparentDwellTimes(gate, ["open"], 0.1)
    cut = di.DwellTimes([[0.45]], dead_time=0.1, last_complete=False)
    assert np.exp(law.log_likelihoods(cut)) == pytest.approx(law.survival([0.45], "open"))


def test_what_has_no_law_is_refused_by_name(gate):
    with pytest.raises(ValueError, match="more than ten times per dead_time"):
        di.ApparentDwellTimes(gate, ["open"], 3.0)
    absorbing = di.MarkovJump([[0.0, 0.0], [5.0, -5.0]], state_names=["open", "shut"])
    with pytest.raises(ValueError, match="cannot be reached"):
        di.ApparentDwellTimes(absorbing, ["open"], 0.1)
    with pytest.raises(ValueError, match="make one of them again"):
        di.ApparentDwellTimes(gate, ["open"], 0.2).log_likelihoods(di.DwellTimes(RECORD))
    with pytest.raises(ValueError, match="kind must be"):
        di.ApparentDwellTimes(gate, ["open"], 0.2).mean("ajar")
