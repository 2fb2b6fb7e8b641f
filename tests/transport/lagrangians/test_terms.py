"""Lagrangians as settings: their Hamiltonian, sums, text, units, and what is refused."""

import math

import numpy as np
import pytest
import torch
from sklearn.base import clone

import dyninfer as di
from dyninfer.cli.values import read_settings
from dyninfer.learning.networks import Derivatives, PotentialNetwork
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.settings import Settings, from_plain, to_plain
from dyninfer.transport.lagrangians import (
    Congestion,
    DataManifold,
    InternalEnergy,
    Lagrangian,
    LagrangianSum,
    MeanAcceleration,
    OptimalTransport,
    PhysicalPotential,
    ScaledLagrangian,
    SchrodingerBridge,
    UnbalancedTransport,
    hamiltonian,
)


def bowl(t, x):
    return (1 + t) * x.square().sum(1)


def snapshots(times=(10.0, 11.0, 14.0), n=50, seed=0):
    rng = np.random.default_rng(seed)
    return di.Snapshots(
        times=times, samples=[rng.normal(k, 1 + k, (n, 2)) for k in range(len(times))]
    )


def scaling_of(data, mode="global"):
    return Scaling.from_samples(data.times, list(data.samples), mode)


def test_the_hamiltonian_is_the_sum_of_its_four_terms():
    s = Derivatives(
        torch.tensor([3.0]), torch.tensor([99.0]), torch.tensor([[1.0, 2.0]]), torch.tensor([7.0])
    )
    assert float(hamiltonian(s)) == 2.5
    assert float(hamiltonian(s, sigma=2.0)) == 2.5 + 2 * 7
    assert float(hamiltonian(s, growth_penalty=0.5)) == 2.5 + 0.25 * 9
    assert float(hamiltonian(s, energy=torch.tensor([-4.0]))) == -1.5
    assert (
        float(hamiltonian(s, sigma=2.0, growth_penalty=0.5, energy=torch.tensor([-4.0]))) == 14.75
    )


def test_noise_without_a_laplacian_is_refused_in_words():
    s = Derivatives(torch.zeros(1), torch.zeros(1), torch.zeros(1, 2), None)
    with pytest.raises(ValueError, match="sigma needs derivatives that hold a Laplacian"):
        hamiltonian(s, sigma=1.0)


def test_the_scaled_hamiltonian_is_the_users_in_other_units():
    """H has units of length² / time²; evaluated on s and on the same s in scaled units."""
    data = snapshots()
    scaling = scaling_of(data)
    lagrangian = SchrodingerBridge(0.7) + UnbalancedTransport(0.3) + PhysicalPotential(bowl)
    scaled = lagrangian.scaled(data, scaling)
    torch.manual_seed(0)
    network = PotentialNetwork(2, 16, 2).double()
    z, tau = torch.randn(20, 2, dtype=torch.float64), torch.rand(20, dtype=torch.float64)
    u = network.derivatives(tau, z, torch.eye(2, dtype=torch.float64))
    length, time = scaling.unit, scaling.duration
    x = scaling.user_states(z)
    t = scaling.start + time * tau
    factor = length**2 / time  # s = L² u / T
    s = Derivatives(
        u.value * factor,
        u.time * factor / time,
        u.gradient * factor / length,
        u.laplacian * factor / length**2,
    )
    users = hamiltonian(s, sigma=0.7, growth_penalty=0.3, energy=bowl(t, x))
    torch.testing.assert_close(scaled.hamiltonian(tau, z, u) * (length / time) ** 2, users)


def test_adding_collects_the_terms_and_counts_the_kinetic_energy_once():
    total = (
        OptimalTransport()
        + SchrodingerBridge(0.4)
        + (UnbalancedTransport(0.2) + PhysicalPotential(bowl))
    )
    assert [type(t).__name__ for t in total.parts] == [
        "OptimalTransport",
        "SchrodingerBridge",
        "UnbalancedTransport",
        "PhysicalPotential",
    ]
    assert (total.noise, total.penalty, total.constrained, total.has_potential) == (
        0.4,
        0.2,
        False,
        True,
    )
    assert not (OptimalTransport() + SchrodingerBridge(0.4)).has_potential
    assert (OptimalTransport() + UnbalancedTransport(0.2, mass="constrained")).constrained
    s = Derivatives(torch.zeros(1), torch.zeros(1), torch.tensor([[2.0, 0.0]]), None)
    data = snapshots()
    twice = (OptimalTransport() + OptimalTransport()).scaled(data, scaling_of(data))
    assert float(twice.hamiltonian(torch.zeros(1), torch.zeros(1, 2), s)) == 2.0


def test_potentials_of_a_sum_add_up():
    data = snapshots()
    scaling = scaling_of(data)
    z, tau = torch.randn(20, 2, dtype=torch.float64), torch.rand(20, dtype=torch.float64)
    terms = (
        PhysicalPotential(bowl),
        MeanAcceleration(0.5),
        DataManifold(strength=2.0, n_landmarks=16),
    )
    total = (terms[0] + terms[1] + terms[2]).potential(data, scaling)(tau, z)
    torch.testing.assert_close(total, sum(t.potential(data, scaling)(tau, z) for t in terms))


def test_something_else_cannot_be_added():
    with pytest.raises(TypeError):
        OptimalTransport() + 3


@pytest.mark.parametrize(
    ("lagrangian", "text"),
    [
        (OptimalTransport(), "OptimalTransport()"),
        (SchrodingerBridge(0.3), "SchrodingerBridge(sigma=0.3)"),
        (UnbalancedTransport(0.1), "UnbalancedTransport(growth_penalty=0.1)"),
        (UnbalancedTransport("auto"), "UnbalancedTransport(growth_penalty='auto')"),
        (
            UnbalancedTransport(0.1, mass="constrained"),
            "UnbalancedTransport(growth_penalty=0.1, mass='constrained')",
        ),
        (PhysicalPotential(bowl), "PhysicalPotential(V=bowl)"),
        (MeanAcceleration(), "MeanAcceleration()"),
        (DataManifold(strength=2.0), "DataManifold(strength=2.0)"),
        (
            InternalEnergy(-1.0) + Congestion(0.5, power=3.0),
            "InternalEnergy(strength=-1.0) + Congestion(power=3.0, strength=0.5)",
        ),
        (
            UnbalancedTransport(0.1) + SchrodingerBridge(0.3),
            "UnbalancedTransport(growth_penalty=0.1) + SchrodingerBridge(sigma=0.3)",
        ),
    ],
)
def test_a_lagrangian_prints_as_it_is_written_and_is_read_back(lagrangian, text):
    assert repr(lagrangian) == text
    assert repr(clone(lagrangian)) == text
    again = from_plain(to_plain(lagrangian))
    assert type(again) is type(lagrangian)
    assert repr(again) == text
    if "V=" not in text:
        assert repr(read_settings(text)) == text


def test_text_may_leave_out_the_names_of_first_settings():
    found = read_settings("UnbalancedTransport(0.1)+SchrodingerBridge(0.3)")
    assert repr(found) == "UnbalancedTransport(growth_penalty=0.1) + SchrodingerBridge(sigma=0.3)"
    assert read_settings("UnbalancedTransport(0.1, mass='constrained')").constrained
    for text, message in (
        ("SchrodingerBridge(0.1, 0.2)", "cannot be made"),
        ("SchrodingerBridge(*[1])", "cannot be read"),
        ("OptimalTransport() + 3", "cannot be added"),
        ("Nonsense(0.1)", "'Nonsense' is not known"),
        ("__import__('os')", "is not known"),
    ):
        with pytest.raises(ValueError, match=message):
            read_settings(text)


@pytest.mark.parametrize(
    ("lagrangian", "error", "message"),
    [
        (SchrodingerBridge(0.0), ValueError, r"SchrodingerBridge.sigma must be positive, found 0"),
        (
            SchrodingerBridge(math.inf),
            ValueError,
            r"SchrodingerBridge.sigma must be positive, found inf",
        ),
        (
            SchrodingerBridge("much"),
            TypeError,
            r"SchrodingerBridge.sigma must be a number, found 'much'",
        ),
        (
            UnbalancedTransport(-1.0),
            ValueError,
            r"UnbalancedTransport.growth_penalty must be positive, found -1",
        ),
        (
            UnbalancedTransport("free"),
            ValueError,
            r"UnbalancedTransport.growth_penalty must be a number or 'auto', found 'free'",
        ),
        (
            UnbalancedTransport(1.0, mass="fixed"),
            ValueError,
            r"mass must be 'free' or 'constrained', found 'fixed'",
        ),
        (
            PhysicalPotential(3.0),
            TypeError,
            r"PhysicalPotential.V must be a function of \(t, x\), found 3.0",
        ),
        (
            MeanAcceleration(math.nan),
            ValueError,
            r"MeanAcceleration.strength must be finite, found nan",
        ),
        (
            DataManifold(strength=0.0),
            ValueError,
            r"DataManifold.strength must be positive, found 0",
        ),
        (
            DataManifold(bandwidth=-1.0),
            ValueError,
            r"DataManifold.bandwidth must be positive, found -1",
        ),
        (DataManifold(floor=0.0), ValueError, r"DataManifold.floor must be positive, found 0"),
        (
            DataManifold(kernel="knn"),
            ValueError,
            r"DataManifold.kernel must be 'rbf' or 'gaussian', found 'knn'",
        ),
        (
            DataManifold(n_landmarks=1),
            ValueError,
            r"DataManifold.n_landmarks must be at least 2, found 1",
        ),
        (
            SchrodingerBridge(1.0) + SchrodingerBridge(2.0),
            ValueError,
            r"sigma=1.0\) and .*2.0\) both set the noise",
        ),
        (
            UnbalancedTransport(1.0) + UnbalancedTransport(2.0),
            ValueError,
            r"both set the growth; keep one of them",
        ),
        (
            OptimalTransport() + SchrodingerBridge(-1.0),
            ValueError,
            r"SchrodingerBridge.sigma must be positive",
        ),
        (LagrangianSum(terms=[]), ValueError, r"needs at least one term"),
        (
            LagrangianSum(terms=["ot"]),
            TypeError,
            r"only Lagrangians can be added up, found 'ot'",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(lagrangian, error, message):
    with pytest.raises(error, match=message):
        lagrangian.check()


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (
            lambda t, x: x,
            ValueError,
            r"must return a tensor of shape \(5,\) for 5 states; it returned shape \(5, 2\)",
        ),
        (lambda t, x: x.sum(), ValueError, r"it returned shape \(\)"),
        (lambda t, x: 3.0, ValueError, r"it returned 3.0"),
        (
            lambda t, x: np.sqrt(x.requires_grad_().numpy()),
            TypeError,
            r"failed on tensors t \(5,\) and x \(5, 2\).*make it of torch operations: Can't call numpy",
        ),
        (
            lambda t, x: x.sum(1) * math.nan,
            ValueError,
            "is not finite at some of the data's states",
        ),
    ],
)
def test_a_potential_that_returns_something_else_is_told_what_was_expected(
    function, error, message
):
    data = snapshots()
    potential = PhysicalPotential(function).potential(data, scaling_of(data))
    with pytest.raises(error, match=message):
        potential(torch.rand(5), torch.randn(5, 2))


@pytest.mark.parametrize("mode", ["global", "feature", None])
def test_a_potential_is_asked_in_the_users_units(mode):
    asked = []

    def v(t, x):
        asked.append((t, x))
        return x.sum(1)

    data = snapshots()
    scaling = scaling_of(data, mode)
    z = torch.as_tensor(scaling.states(data.samples[1]))
    energy = PhysicalPotential(v).potential(data, scaling)(
        torch.full((50,), 0.25, dtype=torch.float64), z
    )
    torch.testing.assert_close(asked[0][1], torch.as_tensor(data.samples[1]))
    torch.testing.assert_close(asked[0][0], torch.full((50,), 11.0, dtype=torch.float64))
    torch.testing.assert_close(energy, asked[0][1].sum(1) * (4.0 / scaling.unit) ** 2)


def test_a_lagrangian_of_the_users_own_needs_its_one_method(monkeypatch):
    monkeypatch.setattr(Settings, "registry", dict(Settings.registry))

    class Wind(Lagrangian):
        def potential(self, data, scaling):
            return lambda t, x: -x[:, 0]

    data = snapshots()
    total = OptimalTransport() + Wind()
    assert total.has_potential
    found = total.scaled(data, scaling_of(data))
    assert isinstance(found, ScaledLagrangian)
    x = torch.randn(4, 2)
    torch.testing.assert_close(found.potential(torch.zeros(4), x), -x[:, 0])
