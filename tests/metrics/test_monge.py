"""The Monge gap against closed forms of affine maps, and an assignment of SciPy's."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

import dyninfer as di
from dyninfer.diffusions import Diffusion
from dyninfer.metrics import MongeGap, monge_gap

# Map of the flow that turns diag(4, 1) by a quarter, to five digits.
QUARTER = np.array([[0.47553, -0.30902], [0.30902, 1.90211]])


def normal(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def gauss_points(n):
    """Evenly spread points of a normal plane, of mean zero and covariance one to rounding."""
    levels = (np.arange(n) + 0.5) / n
    radius = np.sqrt(-2 * np.log1p(-levels))
    # The golden angle spreads directions evenly.
    angle = np.arange(n) * math.pi * (3 - math.sqrt(5))
    x = radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    x -= x.mean(0)
    return x @ np.linalg.inv(np.linalg.cholesky(x.T @ x / n)).T


def turned(d, angle):
    c, s = math.cos(angle), math.sin(angle)
    return scipy.linalg.block_diag(*[[[c, -s], [s, c]]] * (d // 2))


def affine_gap(a, covariance):
    """``2 [tr (Σ^½ A Σ Aᵀ Σ^½)^½ − tr AΣ]``, by matrix roots."""
    root = scipy.linalg.sqrtm(covariance).real
    middle = scipy.linalg.sqrtm(root @ a @ covariance @ a.T @ root).real
    return 2 * (np.trace(middle) - np.trace(a @ covariance))


@pytest.mark.parametrize("p", [1, 2])
def test_gap_is_the_cost_of_the_pairs_less_that_of_the_best_assignment(p):
    x, y = normal(60, 3), normal(60, 3, 1) + 5
    cost = cdist(x, y) ** p
    rows, columns = linear_sum_assignment(cost)
    found = monge_gap(x, y, p=p)
    assert found.displacement == pytest.approx(np.diag(cost).mean(), rel=1e-12)
    assert found.optimal == pytest.approx(cost[rows, columns].mean(), rel=1e-12)
    assert found.gap == pytest.approx(found.displacement - found.optimal, rel=1e-9)


@pytest.mark.parametrize(
    "a",
    [
        turned(2, math.pi / 4),
        turned(2, math.pi / 2),
        QUARTER,
        np.array([[1.0, 2.0], [0.0, 1.0]]),
        np.array([[-1.0, 0.0], [0.0, 1.0]]),
    ],
)
def test_bracket_closes_around_the_closed_form_of_affine_maps(a):
    x = gauss_points(1000) * [2, 1]
    right = affine_gap(a, np.diag([4.0, 1.0]))
    found = monge_gap(x, x @ a.T + [3, -1])
    assert found.upper == pytest.approx(right, rel=1e-9)
    assert found.gap <= found.upper
    assert found.gap == pytest.approx(right, rel=0.06)


def test_ellipse_that_turns_by_a_quarter_has_the_published_numbers():
    x = gauss_points(1000) * [2, 1]
    found = monge_gap(x, x @ QUARTER.T)
    assert affine_gap(QUARTER, np.diag([4.0, 1.0])) == pytest.approx(0.39155, abs=2e-5)
    assert found.displacement == pytest.approx(2.39155, abs=1e-5)
    assert found.upper == pytest.approx(0.39155, abs=2e-5)
    # Of the discrete points, 2.02 where the law has 2.
    assert found.optimal == pytest.approx(2, rel=0.02)
    assert found.gap == pytest.approx(0.39155, rel=0.06)


@pytest.mark.parametrize(("d", "n"), [(2, 400), (10, 400), (50, 600)])
def test_an_optimal_map_has_no_gap_and_no_room_for_one(d, n):
    x = normal(n, d)
    stretched = x * np.linspace(0.5, 3, d)
    for y in (x, x + 7, 2 * x, stretched):
        found = monge_gap(x, y)
        cost = max(found.displacement, 1)
        assert 0 <= found.gap <= 1e-12 * cost
        assert 0 <= found.upper <= 1e-12 * cost
    # Along a line, every increasing map is optimal.
    line = x[:, :1]
    assert monge_gap(line, np.sinh(line)).gap <= 1e-12
    assert monge_gap(line, np.sinh(line), p=1).gap <= 1e-12


def test_in_fifty_dimensions_the_gap_says_nothing_and_the_bound_is_right():
    x = normal(1024, 50)
    found = monge_gap(x, x @ turned(50, math.pi / 4).T)
    right = (2 - math.sqrt(2)) * 50
    assert found.gap == pytest.approx(0, abs=1e-9)
    assert found.upper == pytest.approx(right, rel=0.04)


def test_what_both_populations_share_changes_no_digit():
    x = normal(300, 2)
    y = x @ turned(2, 1.0).T
    plain = monge_gap(x, y)
    far = monge_gap(x + 1e6, y - 1e6)
    assert far.gap == pytest.approx(plain.gap, rel=1e-8)
    assert far.upper == pytest.approx(plain.upper, rel=1e-8)
    for scale in (1e-100, 1e100):
        scaled = monge_gap(scale * x, scale * y)
        assert scaled.gap == pytest.approx(scale**2 * plain.gap, rel=1e-9)
        assert monge_gap(scale * x, scale * y, p=1).gap == pytest.approx(
            scale * monge_gap(x, y, p=1).gap, rel=1e-9
        )


def test_weights_are_copies_and_a_cap_draws_pairs_that_belong_together():
    x = normal(40, 2)
    y = x @ turned(2, 1.0).T
    counts = np.random.default_rng(1).integers(0, 4, size=40)
    by_weight = monge_gap(x, y, x_weights=counts)
    by_number = monge_gap(np.repeat(x, counts, 0), np.repeat(y, counts, 0))
    assert by_weight == pytest.approx(by_number, rel=1e-9)
    # Were points and images drawn apart, the map would be no translation.
    few = monge_gap(x, x + 2, max_samples=20)
    assert few == pytest.approx((8, 8, 0, 0), abs=1e-12)
    again = monge_gap(x, y, max_samples=20, seed=3)
    assert again == monge_gap(x, y, max_samples=20, seed=3)
    assert again != monge_gap(x, y, max_samples=20, seed=4)


def test_tensors_and_arrays_give_the_same():
    x, y = normal(30, 2), normal(30, 2, 1)
    found = monge_gap(torch.from_numpy(x), torch.from_numpy(y))
    assert isinstance(found, MongeGap)
    assert found == monge_gap(x, y)


def test_too_few_pairs_for_covariances_are_announced():
    x = normal(50, 10)
    with pytest.warns(UserWarning, match="50 pairs are few for covariances of 10 features"):
        monge_gap(x, 2 * x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monge_gap(x, 2 * x, p=1)
        monge_gap(normal(100, 10), normal(100, 10))


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (normal(5, 2), normal(6, 2), {}, "the image of every point of x, in the same order"),
        (normal(5, 2), normal(5, 3), {}, "the image of every point of x, in the same order"),
        (normal(5, 2), normal(5, 2), {"p": 3}, "p is 3"),
        (normal(5, 2), normal(5, 2) * np.nan, {}, "y has values that are not finite"),
        (normal(5, 2), normal(5, 2), {"max_samples": 0}, "max_samples is 0"),
        (normal(5, 2), normal(5, 2), {"x_weights": [1, 2]}, "x_weights has shape"),
        (normal(40, 2) * 1e200, normal(40, 2), {}, "rescale them"),
        (normal(40, 2) * 1e-200, normal(40, 2) * 1e-200, {}, "rescale them"),
    ],
)
def test_what_is_no_pair_of_points_and_images_is_refused(x, y, options, message):
    with pytest.raises(ValueError, match=message):
        monge_gap(x, y, **options)


# --- in evaluate ------------------------------------------------------------------------------------------------------


def turning_ellipse():
    """The gradient flow that turns diag(4, 1) by a quarter in unit time."""
    speed = math.pi / 2

    def drift(t, x):
        # S = ⅗ θ̇ R [[0, 1], [1, 0]] Rᵀ, the reflection at the line of angle θ + π/4.
        angle = 2 * speed * t
        c, s = torch.cos(angle), torch.sin(angle)
        u, v = x.T
        reflected = torch.stack([c * v - s * u, c * u + s * v], dim=1)
        return 0.6 * speed * reflected

    return drift


def evaluated(process, samples, times=(0.0, 1.0), **options):
    data = di.Snapshots(times=list(times), samples=samples, **options)
    training = di.Training(max_steps=1, validation_fraction=0.0)
    model = di.ActionMatching(width=4, depth=1, training=training).fit(data, progress=False)
    model.process_ = process
    return model.evaluate(data, metrics=["energy"]).iloc[0]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_evaluate_says_how_much_further_a_flow_goes_than_it_must():
    x = gauss_points(500) * [2, 1]
    row = evaluated(Diffusion(drift=turning_ellipse()), [x, x[:, ::-1]])
    assert row["action"] == pytest.approx(9 * math.pi**2 / 20, rel=3e-4)
    assert row["straightness_gap"] == pytest.approx(2.04977, rel=5e-4)
    assert row["monge_gap_upper"] == pytest.approx(0.39155, rel=3e-4)
    assert 0.35 < row["monge_gap"] <= row["monge_gap_upper"]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_straight_optimal_moves_have_no_gap_in_any_unit_of_time():
    x = normal(200, 3)
    for duration in (1.0, 24.0):
        shift = torch.tensor([3.0, 0.0, 4.0]) / duration
        straight = Diffusion(drift=lambda t, x, shift=shift: shift.to(x).expand(len(x), 3))
        row = evaluated(straight, [x, x + 1], times=(0.0, duration))
        assert row["action"] == pytest.approx(25, rel=1e-4)
        assert row["straightness_gap"] == pytest.approx(0, abs=1e-4)
        assert row["monge_gap_upper"] == pytest.approx(0, abs=1e-4)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_full_turn_costs_its_action_and_moves_nothing():
    x = normal(300, 2)
    turn = torch.tensor([[0.0, 2 * math.pi], [-2 * math.pi, 0.0]])
    row = evaluated(Diffusion(drift=lambda t, x: x @ turn.to(x)), [x, x])
    size = np.square(x).sum(1).mean()
    assert row["action"] == pytest.approx(4 * math.pi**2 * size, rel=0.01)
    assert row["straightness_gap"] == pytest.approx(row["action"], rel=1e-5)
    assert row["monge_gap"] == pytest.approx(0, abs=1e-4 * size)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_noise_and_growth_leave_no_map_to_score():
    x = normal(50, 2)
    names = ["action", "straightness_gap", "monge_gap", "monge_gap_upper"]
    noisy = Diffusion(drift=lambda t, x: 0 * x, diffusion=0.5)
    growing = Diffusion(drift=lambda t, x: 0 * x, growth=lambda t, x: x[:, 0])
    for process in (noisy, growing):
        assert evaluated(process, [x, x])[names].isna().all()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_weights_of_cells_are_weights_of_their_moves():
    x = normal(60, 1)
    weights = np.where(x[:, 0] > 0, 1.0, 0.0)
    stretch = Diffusion(drift=lambda t, x: x.abs())
    row = evaluated(stretch, [x, x], weights=[weights, weights])
    # dx/dt = x of the positive ones: ∫ x² e^{2t} dt, and (e − 1)² x².
    square = np.square(x[x > 0]).mean()
    assert row["action"] == pytest.approx(square * (math.e**2 - 1) / 2, rel=1e-3)
    moved = row["action"] - row["straightness_gap"]
    assert moved == pytest.approx(square * (math.e - 1) ** 2, rel=1e-3)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_times_between_change_no_other_score():
    x = normal(80, 2)
    data = di.Snapshots(times=[0.0, 1.0], samples=[x, x + 1])
    training = di.Training(max_steps=20, validation_fraction=0.0)
    model = di.ActionMatching(width=8, depth=1, training=training).fit(data, progress=False)
    row = model.evaluate(data, metrics=["w1"]).iloc[0]
    arrived = model.simulate(data, [0.0, 1.0]).states[:, -1]
    assert row["w1"] == di.metrics.wasserstein(arrived, x + 1)


def flow_of(s):
    """A flow ``∇s`` that knows its potential ``s(t, x)``."""

    def drift(t, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(s(t, x).sum(), x)
        return gradient

    return Diffusion(drift=drift, potential=s)


# Potentials of least action: cells that meet at time −2 in a point, and cells that all go alike.
LEAST = (
    lambda t, x: x.square().sum(1) / (2 * (t + 2)),
    lambda t, x: 3 * x[:, 0] - 4.5 * t,
)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("s", LEAST)
def test_potentials_of_least_action_leave_no_residual(s):
    x = normal(200, 2)
    assert evaluated(flow_of(s), [x, x])["hj_residual"] == pytest.approx(0, abs=1e-5)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("unit", [1e-10, 1.0, 1e10])
def test_cells_that_speed_up_leave_their_acceleration(unit):
    """``s = t x`` has the residual ``x + t²/2`` and the energy ``t²/2``."""
    x = unit * normal(500, 1)
    s = lambda t, x: unit * t * x[:, 0]  # noqa: E731
    row = evaluated(flow_of(s), [x, x])
    # Cells move by t²/2 together, so that their spread stays; nine times from 0 to 1.
    energy = np.mean(np.linspace(0, 1, 9) ** 2) / 2
    assert row["hj_residual"] == pytest.approx((x / unit).std() / energy, rel=1e-4)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_potential_has_no_residual():
    x = normal(50, 2)
    assert math.isnan(evaluated(Diffusion(drift=lambda t, x: 0 * x), [x, x])["hj_residual"])
