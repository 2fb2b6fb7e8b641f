"""Flows of the energy against closed forms: arXiv 2307.07050, and textbooks for the energies."""

import math

import pytest
import torch

import dyninfer as di
from dyninfer.simulators import GroundState

# Pairs of three particles on a line.
PAIRS = ((0, 1), (0, 2), (1, 2))


def normal_amplitude(p, x):
    """Square root of a normal density of mean ``p₀`` and deviation ``e^{p₁}``."""
    return -((x[:, 0] - p[0]) ** 2) / (4 * torch.exp(2 * p[1]))


def oscillator(metric):
    return GroundState(
        potential=lambda x: x.square().sum(1) / 2,
        ansatz=normal_amplitude,
        dimension=1,
        metric=metric,
    )


def fermions(p, x):
    """A Slater determinant of the oscillator: differences of all pairs, and a normal density."""
    distances = [(x[:, i] - x[:, j]).abs() for i, j in PAIRS]
    return torch.stack(distances).log().sum(0) - p[0] * x.square().sum(1)


def radii(x):
    """Of two electrons ``(n, 6)``: from the centre, and from each other."""
    first, second = x[:, :3], x[:, 3:]
    return first.norm(dim=1), second.norm(dim=1), (first - second).norm(dim=1)


def hylleraas(p, x):
    """Hylleraas' ansatz of six terms for helium."""
    r1, r2, u = radii(x)
    s = r1 + r2
    t = r2 - r1
    series = 1 + p[1] * u + p[2] * t**2 + p[3] * s + p[4] * s**2 + p[5] * u**2
    return series.abs().log() - p[0] * s


def helium_potential(x):
    r1, r2, u = radii(x)
    return -2 / r1 - 2 / r2 + 1 / u


@pytest.mark.parametrize(
    ("metric", "mean", "deviation"),
    [("wasserstein", 0.36788, 0.76256), ("fisher-rao", 0.28797, 0.89759)],
)
def test_a_normal_density_in_a_well_follows_the_closed_form(metric, mean, deviation):
    start = torch.tensor([1.0, math.log(1.5)])
    descent = oscillator(metric).descend(start, [0.0, 1.0], n_walkers=8192)
    found = descent.parameters[-1]
    # Standard errors of 8,192 walkers are .008 and .006; a step of the midpoint rule costs less.
    assert found[0].item() == pytest.approx(mean, abs=0.025)
    assert found[1].exp().item() == pytest.approx(deviation, abs=0.02)
    energy = (mean**2 + deviation**2) / 2 + 1 / (8 * deviation**2)
    assert descent.energy[-1].item() == pytest.approx(energy, abs=0.03)


@pytest.mark.parametrize("alpha", [0.7, 1.5])
@pytest.mark.parametrize("metric", ["fisher-rao", "wasserstein", "both"])
def test_hydrogen_approaches_its_ground_state_at_the_known_rate(metric, alpha):
    atom = GroundState(
        potential=lambda x: -1 / x.norm(dim=1),
        ansatz=lambda p, x: -p[0] * x.norm(dim=1),
        dimension=3,
        metric=metric,
    )
    # By quadrature along a ray, as all is round.
    r = torch.linspace(1e-3, 40, 20000, dtype=torch.float64)
    x = r[:, None] * torch.tensor([[0.6, 0.0, 0.8]], dtype=torch.float64)
    weights = r**2 * torch.exp(-2 * alpha * r)
    parameters = torch.tensor([alpha], dtype=torch.float64)
    rates = {
        "fisher-rao": -(alpha**2) * (alpha - 1) / 3,
        "wasserstein": -4 / 3 * alpha**4 * (alpha - 1),
    }
    right = rates.get(metric, sum(rates.values()))
    assert atom.rates(parameters, x, weights).item() == pytest.approx(right, rel=1e-4)


def test_the_local_energy_of_an_eigenstate_is_its_energy_everywhere():
    harmonium = GroundState(
        potential=lambda x: x.square().sum(1) / 8 + 1 / radii(x)[2],
        ansatz=lambda p, x: torch.log1p(radii(x)[2] / 2) - x.square().sum(1) / 4,
        dimension=6,
    )
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    energy = harmonium.local_energy(torch.zeros(1), x)
    torch.testing.assert_close(energy, torch.full_like(energy, 2.0))


def test_three_fermions_in_a_well_reach_nine_halves():
    well = GroundState(
        potential=lambda x: x.square().sum(1) / 2,
        ansatz=fermions,
        dimension=3,
        metric="fisher-rao",
    )
    descent = well.descend(torch.tensor([0.8]), [0.0, 4.0], n_walkers=1024)
    assert descent.energy[-1].item() == pytest.approx(4.5, abs=0.005)
    assert descent.energy_error[-1] < 0.002
    assert descent.energy[0] > descent.energy[-1] + 0.2


@pytest.mark.slow
def test_helium_is_within_five_thousandths_of_its_energy():
    atom = GroundState(
        potential=helium_potential, ansatz=hylleraas, dimension=6, metric="fisher-rao"
    )
    start = torch.tensor([1.7, 0.2, 0.05, 0.0, 0.0, 0.0])
    descent = atom.descend(start, [0.0, 4.0], n_walkers=20_000, dt=0.1)
    assert descent.energy_error[-1] < 0.001
    # Six terms of Hylleraas have −2.9033, the exact energy is −2.90372.
    assert descent.energy[-1].item() == pytest.approx(-2.90372, abs=0.005)


def test_action_matching_learns_the_flow_from_its_density():
    """The velocity is ``−x + (x − m)/(4 s⁴)``."""
    start = torch.tensor([1.0, math.log(1.5)])
    times = torch.linspace(0, 1, 6).tolist()
    descent = oscillator("wasserstein").descend(start, times, n_walkers=4096)
    curve = descent.density_curve(n_moves=5)
    model = di.ActionMatching(width=32, depth=2).fit(curve, max_steps=500, progress=False)
    for t in (0.3, 0.7):
        parameters = descent.parameters_at(torch.tensor([t], dtype=torch.float64))[0]
        mean, deviation = parameters[0], parameters[1].exp()
        x = mean + deviation * torch.linspace(-1.5, 1.5, 31, dtype=torch.float64)[:, None]
        right = -x + (x - mean) / (4 * deviation**4)
        torch.testing.assert_close(descent.process().drift(t, x), right, rtol=1e-6, atol=1e-6)
        found = model.process_.drift(t, x.float()).double()
        assert (found - right).square().mean() < 0.02 * right.square().mean()


def test_the_process_of_both_metrics_moves_and_grows():
    """``E − E_loc`` has mean zero over the density, and the drift is the slope of the potential."""
    start = torch.tensor([1.0, math.log(1.5)])
    descent = oscillator("both").descend(start, [0.0, 0.5], n_walkers=8192)
    process = descent.process()
    growth = process.growth(0.5, descent.walkers[-1])
    assert growth.mean().item() == pytest.approx(0, abs=1e-9)
    x = torch.tensor([[0.5]], dtype=torch.float64)
    step = 1e-5
    slope = (process.potential(0.5, x + step) - process.potential(0.5, x - step)) / (2 * step)
    assert process.drift(0.5, x).item() == pytest.approx(slope.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"potential": 1.0}, "potential must be a function"),
        ({"dimension": 0}, "dimension must be at least 1"),
        ({"metric": "euclid"}, "metric must be"),
    ],
)
def test_what_cannot_be_is_named(change, words):
    settings = {"potential": len, "ansatz": len, "dimension": 1}
    with pytest.raises((TypeError, ValueError), match=words):
        GroundState(**settings | change)


def test_a_state_that_cannot_be_normalised_is_refused():
    with pytest.raises(ValueError, match="the flow diverged"):
        GroundState(
            potential=lambda x: x[:, 0] * math.nan,
            ansatz=normal_amplitude,
            dimension=1,
        ).descend(torch.tensor([0.0, 0.0]), [0.0, 1.0], n_walkers=16)


def test_an_ansatz_of_one_number_a_coordinate_is_refused():
    well = GroundState(
        potential=lambda x: x.square().sum(1), ansatz=lambda p, x: -p[0] * x.square(), dimension=2
    )
    with pytest.raises(
        ValueError, match=r"ansatz\(theta, x\) of x of shape \(3, 2\) has shape \(3, 2\)"
    ):
        well.descend(torch.tensor([1.0]), [0.0, 1.0])


def test_what_a_program_has_set_elsewhere_changes_no_draw():
    start = torch.tensor([1.0, 0.1])
    well = oscillator("both")
    plain = well.descend(start, [0.0, 0.1], n_walkers=16)
    torch.set_default_dtype(torch.float64)
    try:
        # A device that holds no numbers stands for a GPU.
        with torch.device("meta"):
            elsewhere = well.descend(start, [0.0, 0.1], n_walkers=16)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(plain.walkers, elsewhere.walkers)
    assert torch.equal(plain.path, elsewhere.path)


def test_too_few_walkers_are_refused():
    with pytest.raises(
        ValueError, match="n_walkers=5 are too few for a covariance of 2 parameters"
    ):
        oscillator("both").descend(torch.tensor([1.0, 0.1]), [0.0, 0.1], n_walkers=5)


def test_a_curve_can_be_asked_for_one_point_at_a_time():
    """Three hundred draws of one each have the law that one draw of three hundred has."""
    descent = oscillator("wasserstein").descend(torch.tensor([1.0, 0.0]), [0.0, 0.2], n_walkers=500)
    sampler = descent.density_curve().sampler
    torch.manual_seed(0)
    points = torch.cat([sampler(torch.tensor([0.2]), 1) for _ in range(300)])
    mean, log_deviation = descent.parameters[-1].tolist()
    # A third of a deviation is six standard errors.
    assert points.mean().item() == pytest.approx(mean, abs=0.33 * math.exp(log_deviation))
    assert points.std().item() == pytest.approx(math.exp(log_deviation), rel=0.2)
