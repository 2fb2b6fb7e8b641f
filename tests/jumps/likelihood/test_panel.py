"""The panel likelihood against published values, closed forms and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from jumps import cases
from scipy.linalg import expm

from dyninfer.data.paths import Paths
from dyninfer.jumps.likelihood.gaps import group_gaps
from dyninfer.jumps.likelihood.panel import panel_counts, stack_counts
from dyninfer.jumps.process import with_diagonal


@pytest.mark.parametrize(("exact", "published"), [((3,), 4908.816768379), ((), 4833.006406396)])
def test_cav_likelihood_is_that_of_msm(exact, published):
    counts = panel_counts(cases.cav(), exact=exact)
    assert float(counts.n_observed) == 2224
    found = -2 * counts.log_likelihood(torch.tensor(cases.CAV_START, dtype=torch.float64))
    assert float(found) == pytest.approx(published, abs=1e-5)


def small():
    return Paths(
        times=[[0.0, 0.5, 1.2, 4.0], [1.0, 2.0, 2.5], [0.0, 0.7, 1.4]],
        states=[[0, 1, -1, 2], [2, 0, 1], [1, 1, 5]],
    )


def test_likelihood_is_the_product_of_transitions_with_death_censoring_and_gaps():
    q = cases.random_generator(3, 0)
    counts = panel_counts(small(), n_states=3, exact=(2,), censored={5: (0, 2)})
    m = q.numpy()
    p = {t: expm(m * t) for t in (0.5, 3.5, 1.0, 0.7)}
    entry = p[3.5][1, 0] * m[0, 2] + p[3.5][1, 1] * m[1, 2]
    parts = [
        p[0.5][0, 1],
        entry,
        p[1.0][2, 0],
        p[0.5][0, 1],
        p[0.7][1, 1],
        p[0.7][1, 0] + p[0.7][1, 2],
    ]
    assert float(counts.log_likelihood(q)) == pytest.approx(sum(map(math.log, parts)), rel=1e-12)
    law = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    first = math.log(0.2) + math.log(0.5) + math.log(0.3)
    assert float(counts.log_likelihood(q, law)) == pytest.approx(
        sum(map(math.log, parts)) + first, rel=1e-12
    )


def test_gaps_that_differ_by_rounding_are_one():
    times = np.arange(100) * 0.1 + 5.0
    distinct, number = group_gaps(torch.from_numpy(np.diff(times)))
    assert distinct.tolist() == pytest.approx([0.1])
    assert (number == 0).all()
    distinct, number = group_gaps(torch.tensor([0.3, 0.1, 0.3, 0.2], dtype=torch.float64))
    torch.testing.assert_close(
        distinct[number], torch.tensor([0.3, 0.1, 0.3, 0.2], dtype=torch.float64)
    )


def test_many_generators_and_many_panels_at_once():
    q = cases.random_generator(3, 1, 5)
    rng = np.random.default_rng(0)
    panels = [
        panel_counts(cases.regular(np.cumsum(rng.random(7)), rng.integers(0, 3, (9, 7))))
        for _ in range(5)
    ]
    one_panel = panels[0].log_likelihood(q)
    batch = stack_counts(panels).log_likelihood(q)
    for k in range(5):
        torch.testing.assert_close(one_panel[k], panels[0].log_likelihood(q[k]))
        torch.testing.assert_close(batch[k], panels[k].log_likelihood(q[k]))


def test_gradient_matches_finite_differences_and_survives_zeros():
    counts = panel_counts(small(), n_states=3, exact=(2,), censored={5: (0, 2)})
    rates = cases.random_generator(3, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda r: counts.log_likelihood(with_diagonal(r)), rates)
    chain = with_diagonal(
        torch.tensor([[0, 1.0, 0], [0, 0, 1], [0, 0, 0]], dtype=torch.float64)
    ).requires_grad_()
    one = panel_counts(cases.regular([0.0, 1.0, 2.0], [[0, 1, 2]]), n_states=3)
    (slope,) = torch.autograd.grad(one.log_likelihood(chain), chain)
    assert slope.isfinite().all()


def test_impossible_data_have_no_likelihood():
    q = with_diagonal(torch.tensor([[0, 1.0], [0, 0]], dtype=torch.float64))
    assert panel_counts(cases.regular([0.0, 1.0], [[1, 0]])).log_likelihood(q) == -math.inf


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"n_states": 2}, "state 5"),
        ({"n_states": 3, "censored": {5: (0, 7)}}, "censored names the state 7"),
        ({"n_states": 6, "censored": {5: (0, 1)}}, "code 5, which is a state"),
        ({"exact": (9,)}, "exact names the state 9"),
    ],
)
def test_bad_arguments_are_named(keywords, message):
    with pytest.raises(ValueError, match=message):
        panel_counts(small(), **keywords)


def test_paths_without_pairs_or_with_floats_are_refused():
    with pytest.raises(ValueError, match="two observed states"):
        panel_counts(Paths(times=[[0.0, 1.0]], states=[[1, -1]]))
    with pytest.raises(TypeError, match="integer states"):
        panel_counts(Paths(times=[[0.0, 1.0]], states=[[0.5, 0.1]]))
    with pytest.raises(ValueError, match="last of at least two"):
        panel_counts(Paths(times=[[0.0, 1.0, 2.0]], states=[[0, 7, 1]]), censored={7: (0, 1)})


def test_irregular_gaps_do_not_chain_beside_a_long_pause():
    waits = np.random.default_rng(1).exponential(0.3, 40_000)
    waits[20_000] = 1e7
    distinct, number = group_gaps(torch.from_numpy(waits))
    # The mean of a group stands for each of its gaps, to the tolerance and not to the pause.
    error = np.abs(distinct[number].numpy() - waits) / waits
    assert error.max() < 1e-9
    assert len(distinct) > 39_900


def test_a_chain_of_close_gaps_is_cut_and_not_pooled():
    waits = 1 + 5e-10 * torch.arange(10_000, dtype=torch.float64)
    distinct, number = group_gaps(waits)
    assert ((distinct[number] - waits).abs() / waits).max() < 1e-9
    assert 4_000 < len(distinct) < 6_000


@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_gaps_are_grouped_alike_in_every_unit(unit):
    waits = torch.tensor([0.1, 0.3, 0.1 + 1e-12, 0.0, 0.3, 1e5], dtype=torch.float64)
    _, number = group_gaps(unit * waits)
    assert number.tolist() == [1, 2, 1, 0, 2, 3]
