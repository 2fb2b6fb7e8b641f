import mpmath as mp
import numpy as np
import pytest
import torch

from dyninfer.fractional import FractionalBrownianMotion, MarkovApproximation
from dyninfer.fractional.noise.moments import cross, gram, power

mp.mp.dps = 50
HURST = [0.1, 0.3, 0.5, 0.7, 0.9]


def reference_grid(n, most=20.0):
    return [most ** (2 * k / (n - 1) - 1) for k in range(n)]


def exact_system(hurst, nodes, kind):
    """A, b and c on the unit horizon from the incomplete gamma function, in 50 digits."""
    h, g = mp.mpf(hurst), [mp.mpf(x) for x in nodes]
    a = h + mp.mpf(1) / 2
    if kind == "I":
        share = [1 - (1 - mp.exp(-x)) / x for x in g]
        A = mp.matrix(
            [[(share[i] + share[j]) / (g[i] + g[j]) for j in range(len(g))] for i in range(len(g))]
        )
        tail = [mp.exp(-x) - mp.exp(x) * mp.gammainc(a, x, mp.inf, regularized=True) for x in g]
        b = [
            2 / x**a - 1 / (x * mp.gamma(a + 1)) + q / x ** (a + 1)
            for x, q in zip(g, tail, strict=True)
        ]
        return A, mp.matrix(b), 1 / (mp.gamma(2 * h + 1) * mp.sin(mp.pi * h) * (2 * h + 1))
    A = mp.matrix([[(1 - (1 - mp.exp(-x - y)) / (x + y)) / (x + y) for x in g] for y in g])
    lower = [[mp.gammainc(s, 0, x, regularized=True) for s in (a, a + 1)] for x in g]
    b = [p / x**a - a * q / x ** (a + 1) for x, (p, q) in zip(g, lower, strict=True)]
    return A, mp.matrix(b), 1 / (2 * h * (2 * h + 1) * mp.gamma(a) ** 2)


def single(nodes, kind, **settings):
    return MarkovApproximation(
        nodes=nodes, kind=kind, normalize="kernel", weights="single", zero_node=False, **settings
    )


@pytest.mark.parametrize("kind", ["I", "II"])
@pytest.mark.parametrize("hurst", [0.02, 0.3, 0.7, 0.98])
def test_moments_match_mpmath(kind, hurst):
    nodes = [1e-8, 1e-3, 0.4, 1.0, 3.9, 4.1, 20.0, 1e4]
    A, b, c = exact_system(hurst, nodes, kind)
    g, h = torch.tensor(nodes, dtype=torch.float64), torch.tensor(hurst, dtype=torch.float64)
    np.testing.assert_allclose(gram(g, kind), np.array(A.tolist(), dtype=float), rtol=1e-12)
    # b of kind I changes sign: compare on the scale that Cauchy-Schwarz gives it.
    scale = np.sqrt(np.diag(np.array(A.tolist(), dtype=float)) * float(c))
    error = cross(h, g, kind).numpy() - np.array(b.tolist(), dtype=float)[:, 0]
    assert np.abs(error / scale).max() < 1e-12
    assert power(h, kind).item() == pytest.approx(float(c), rel=1e-13)


@pytest.mark.parametrize(("kind", "n"), [("I", 3), ("I", 5), ("I", 10), ("II", 3), ("II", 5)])
def test_weights_and_error_match_mpmath(kind, n):
    nodes = reference_grid(n)
    approximation = single(nodes, kind)
    for hurst in (0.1, 0.7, 0.9):
        A, b, c = exact_system(hurst, nodes, kind)
        w = mp.lu_solve(A, b)
        exact = np.array(w.tolist(), dtype=float)[:, 0]
        assert (
            np.abs(approximation.weights(hurst).numpy() - exact).max() < 1e-9 * np.abs(exact).max()
        )
        error = float(1 - (b.T * w)[0] / c)
        assert approximation.relative_error(hurst).item() == pytest.approx(
            error, rel=1e-8, abs=1e-14
        )


@pytest.mark.parametrize(
    ("kind", "n", "horizon", "published"),
    [
        ("I", 5, 1.0, [0.307, 0.0166, 0.0128, 0.098, 0.510]),
        ("I", 10, 1.0, [0.284, 0.0133, 8.1e-3, 0.072, 0.458]),
        ("II", 5, 1.0, [0.229, 7.8e-3, 1.7e-11, 1.3e-4, 5.9e-5]),
        ("I", 5, 6.0, [0.216, 0.0177, 0.0727, 0.273, 0.713]),
        ("II", 5, 6.0, [0.168, 3.0e-3, 1.0e-5, 5.8e-5, 1.2e-4]),
    ],
)
def test_relative_errors_of_the_reference_grid_are_reproduced(kind, n, horizon, published):
    found = single(reference_grid(n), kind, horizon=horizon).relative_error(HURST)
    np.testing.assert_allclose(found, published, rtol=0.05)


@pytest.mark.parametrize("kind", ["I", "II"])
@pytest.mark.parametrize("weights", ["single", "multi"])
@pytest.mark.parametrize("normalize", ["unit", "kernel"])
def test_slope_in_the_index_matches_central_differences(kind, weights, normalize):
    approximation = MarkovApproximation(
        nodes=np.geomspace(0.5, 400, 5),
        kind=kind,
        weights=weights,
        normalize=normalize,
        horizon=3.0,
    )
    slopes = torch.autograd.functional.jacobian(
        approximation.weights, torch.tensor(0.3, dtype=torch.float64)
    )
    step = 1e-3
    values = approximation.weights([0.3 - 2 * step, 0.3 - step, 0.3 + step, 0.3 + 2 * step])
    numeric = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
    assert (slopes - numeric).abs().max() < 1e-6 * slopes.abs().max()


@pytest.mark.parametrize("kind", ["I", "II"])
@pytest.mark.parametrize("weights", ["single", "multi"])
def test_one_half_is_brownian_motion_with_the_zero_node(kind, weights):
    approximation = MarkovApproximation(4, kind=kind, weights=weights, dt=0.01)
    times = torch.linspace(0, 1, 11, dtype=torch.float64)
    assert approximation.relative_error(0.5).abs() < 1e-12
    brownian = torch.minimum(times[:, None], times)
    assert (approximation.covariance(times, 0.5) - brownian).abs().max() < 1e-9


@pytest.mark.parametrize("kind", ["I", "II"])
def test_closed_covariance_matches_the_sum_over_pairs_of_nodes(kind):
    approximation = MarkovApproximation(nodes=[0.01, 0.5, 30.0], kind=kind, horizon=2.0)
    times = torch.tensor([0.0, 1.5, 0.1, 2.0], dtype=torch.float64)
    hurst = [0.2, 0.8]
    found = approximation.covariance(times, hurst)
    g, w = approximation.nodes.tolist(), approximation.weights(hurst)

    def pair(p, q, s, t):
        if p + q == 0:
            return s
        gone = 1 - np.exp(-p * t) - np.exp(-q * s) if kind == "I" else -np.exp(-p * t - q * s)
        return (np.exp(-p * (t - s)) + gone) / (p + q)

    for m, n in np.ndindex(4, 4):
        s, t = sorted((times[m].item(), times[n].item()))
        matrix = torch.tensor([[pair(p, q, s, t) for q in g] for p in g], dtype=torch.float64)
        np.testing.assert_allclose(
            found[:, m, n], torch.einsum("hi,ij,hj->h", w, matrix, w), atol=1e-10
        )


@pytest.mark.parametrize("kind", ["I", "II"])
def test_error_falls_as_the_nested_grid_is_refined(kind):
    errors = [
        single(np.geomspace(1e-4, 1e3, n), kind).relative_error([0.3, 0.7]) for n in (3, 5, 9)
    ]
    assert (errors[0] > errors[1]).all()
    assert (errors[1] > errors[2]).all()


@pytest.mark.parametrize("n_nodes", [1, 20])
@pytest.mark.parametrize("kind", ["I", "II"])
def test_weights_stay_sane_at_extreme_indices_and_horizons(n_nodes, kind):
    errors = []
    for horizon in (1e-3, 1.0, 1e4):
        approximation = MarkovApproximation(
            n_nodes, horizon=horizon, dt=horizon / 100, kind=kind, hurst_range=(0.02, 0.98)
        )
        h = torch.tensor([0.02, 0.3, 0.98], dtype=torch.float64, requires_grad=True)
        w = approximation.weights(h)
        assert torch.autograd.grad(w.sum(), h)[0].isfinite().all()
        errors.append(approximation.relative_error(h).detach())
    assert ((errors[0] > 0) & (errors[0] < 1)).all()
    for other in errors[1:]:
        np.testing.assert_allclose(errors[0], other, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(("n", "most"), [(6, 1e2), (14, 1e4)])
def test_default_nodes_reach_the_time_step_and_beyond_it_as_far_as_they_are_dense(n, most):
    nodes = MarkovApproximation(n, horizon=10.0, dt=0.1).nodes
    assert 10 <= nodes[-1] <= 10 * most * (1 + 1e-9)
    assert nodes[0] == 0
    if n == 14:
        assert nodes[-1] > 2000
        assert nodes[-1] / nodes[-2] <= 15


def test_more_default_nodes_help_at_small_and_large_indices_too():
    coarse, fine = (MarkovApproximation(n).relative_error(HURST) for n in (8, 14))
    assert (fine[[0, 1, 3, 4]] < 0.5 * coarse[[0, 1, 3, 4]]).all()


def test_many_horizons_balance_the_variance_across_lags():
    nodes = np.geomspace(0.02, 400, 5)
    kept = {
        name: MarkovApproximation(nodes=nodes, dt=0.01, weights=name, zero_node=False)
        for name in ("single", "multi")
    }
    lags = [0.01, 0.1, 1.0]
    for name, published in (("single", [-0.091, -0.023, -0.078]), ("multi", [0.0, -0.007, -0.063])):
        exact = FractionalBrownianMotion(0.7).variance(lags)
        np.testing.assert_allclose(
            kept[name].variogram(lags, 0.7) / exact - 1, published, atol=0.02
        )


def test_report_has_a_row_for_every_index():
    report = MarkovApproximation(3, dt=0.01).report([0.3, 0.5], lags=[0.1, 1.0])
    assert report.shape == (2, 2 + 4 + 2)
    assert abs(report[("variance error", "0.1")][0.5]) < 1e-9


def test_module_moves_but_keeps_its_precision():
    approximation = MarkovApproximation(3).float()
    assert approximation.weights(0.3).dtype == torch.float64


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"n_nodes": 0}, "n_nodes"),
        ({"horizon": -1.0}, "horizon"),
        ({"dt": 2.0}, "dt"),
        ({"weights": "x"}, "weights"),
        ({"nodes": [0.0, 1.0]}, "nodes"),
        ({"hurst_range": (0.9, 0.1)}, "hurst_range"),
    ],
)
def test_bad_settings_are_named(settings, word):
    with pytest.raises(ValueError, match=word):
        MarkovApproximation(**settings)


def test_an_index_outside_its_range_is_refused():
    with pytest.raises(ValueError, match="hurst"):
        MarkovApproximation(3).weights(1.0)
