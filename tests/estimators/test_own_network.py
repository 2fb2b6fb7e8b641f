"""A network of the user's own in every snapshot method."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

import dyninfer as di
from dyninfer.learning.networks import PotentialNetwork, VectorNetwork
from dyninfer.learning.random import seeded_modules
from dyninfer.transport.objectives import ActionObjective, MatchingObjective

SHIFT = 2.0


class Own(nn.Module):
    """A perceptron of ``(t, x)``, or of ``(t, x, c)``."""

    def __init__(self, n_outputs=None, width=24, n_conditions=0):
        super().__init__()
        self.is_potential = n_outputs is None
        self.body = nn.Sequential(
            nn.Linear(3 + n_conditions, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, n_outputs or 1),
        )

    def forward(self, t, x, *conditions):
        answer = self.body(torch.cat([t[:, None], x, *conditions], 1))
        return answer[:, 0] if self.is_potential else answer


def own(n_outputs=None, **sizes):
    torch.manual_seed(0)
    return Own(n_outputs, **sizes)


METHODS = {
    "action matching": lambda **sizes: di.ActionMatching(network=own(**sizes)),
    "entropic growth": lambda **sizes: di.ActionMatching(
        network=own(**sizes), sigma=0.3, growth_penalty=0.5
    ),
    "bridge flow": lambda **sizes: di.WassersteinLagrangianFlow(
        lagrangian=di.SchrodingerBridge(0.3), network=own(**sizes)
    ),
    "interpolant": lambda **sizes: di.StochasticInterpolant(network=own(2, **sizes)),
    "interpolant with growth": lambda **sizes: di.StochasticInterpolant(
        network=own(2, **sizes), coupling="unbalanced"
    ),
    "interpolated bridge": lambda **sizes: di.StochasticInterpolant(
        network=own(2, **sizes), bridge_sigma=0.3
    ),
}
each_method = pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)


def shifted(n=100, **options):
    rng = np.random.default_rng(0)
    samples = [0.5 * rng.normal(size=(n, 2)), 0.5 * rng.normal(size=(n, 2)) + [SHIFT, 0]]
    return di.Snapshots(times=[0.0, 1.0], samples=samples, **options)


def fitted(model, data, n=4, **options):
    return model.fit(data, max_steps=n, progress=False, **options)


@each_method
def test_fits_are_alike_and_come_back_from_files_that_hold_no_code(make, tmp_path):
    data = shifted()
    model = make()
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    other = fitted(clone(model), data)
    run = fitted(model, data).simulate(data, [0.0, 1.0])
    # Whatever the first fit has trained was a copy.
    torch.testing.assert_close(dict(model.network.state_dict()), before, rtol=0, atol=0)
    again = fitted(model, data).simulate(data, [0.0, 1.0])
    for same in (other.simulate(data, [0.0, 1.0]), again):
        torch.testing.assert_close(same.states, run.states, rtol=0, atol=0)
    path = model.save(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"\(Own of \d+ weights\), which no file holds.*network="):
        di.load(path)
    loaded = di.load(path, network=make().network)
    torch.testing.assert_close(loaded.simulate(data, [0.0, 1.0]).states, run.states, rtol=0, atol=0)
    loaded.save(tmp_path / "again.safetensors")
    with pytest.raises(ValueError, match="body.0.weight.* must be given as it was fitted"):
        di.load(path, network=make(width=8).network)
    with pytest.raises(TypeError, match="drift is not a module .* those are: network"):
        di.load(path, network=make().network, drift=nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("method", "network"),
    [
        (di.ActionMatching(width=16, depth=2), lambda: PotentialNetwork(2, 16, 2)),
        (di.ActionMatching(sigma=0.5, width=16, depth=2), lambda: PotentialNetwork(2, 16, 2)),
        (
            di.StochasticInterpolant(width=16, depth=2, second="none"),
            lambda: VectorNetwork(2, 2, 16, 2),
        ),
    ],
)
def test_our_own_network_given_as_the_users_is_trained_alike(method, network):
    """The derivatives are other code, the weights and batches the same: so is what is learned."""
    data = shifted()
    ours = fitted(method, data, n=20)
    with seeded_modules(0, "modules"):
        module = network()
    theirs = clone(method).set_params(network=module, width=128, depth=3)
    theirs = fitted(theirs, data, n=20)
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(1))
    for time in (0.0, 0.7):
        expected = ours.process_.drift(time, x)
        torch.testing.assert_close(theirs.process_.drift(time, x), expected, rtol=1e-3, atol=1e-4)
        divergence = ours.process_.divergence(time, x)
        torch.testing.assert_close(
            theirs.process_.divergence(time, x), divergence, rtol=1e-3, atol=1e-3
        )


@pytest.mark.parametrize("make", [METHODS["action matching"], METHODS["interpolant"]])
def test_a_shift_is_learned_by_a_network_of_ones_own(make):
    data = shifted(400)
    training = di.Training(max_steps=400, patience=None, learning_rate=5e-3)
    model = make().set_params(training=training).fit(data, progress=False)
    run = model.simulate(data, [0.0, 1.0])
    assert float(run.states[:, 1, 0].mean()) == pytest.approx(SHIFT, abs=0.1)
    assert float(run.states[:, 1].std(0).mean()) == pytest.approx(0.5, rel=0.15)
    log_density = di.log_density(
        model.process_,
        torch.tensor([[SHIFT, 0.0]]).double(),
        (0.0, 1.0),
        lambda x: torch.distributions.Normal(0, 0.5).log_prob(x).sum(1),
    )
    peak = -np.log(2 * np.pi * 0.25)
    assert float(log_density) == pytest.approx(peak, abs=0.3)


@pytest.mark.parametrize("make", [METHODS["entropic growth"], METHODS["interpolant"]])
def test_a_run_is_taken_up_where_it_stopped(make, tmp_path, monkeypatch):
    data = shifted()
    path = tmp_path / "run.ckpt"
    training = di.Training(max_steps=6, checkpoint_every=3, validation_fraction=0)
    model = make().set_params(training=training)
    whole = clone(model).fit(data, progress=False)
    kind = ActionObjective if isinstance(model, di.ActionMatching) else MatchingObjective
    draw, calls = kind.batch, []

    def breaks(self, n, generator):
        calls.append(n)
        if len(calls) > 4:
            raise KeyboardInterrupt
        return draw(self, n, generator)

    monkeypatch.setattr(kind, "batch", breaks)
    broken = clone(model).fit(data, progress=False, checkpoint=path)
    assert broken.status_ == "interrupted"
    monkeypatch.setattr(kind, "batch", draw)
    rest = clone(model).fit(data, progress=False, checkpoint=path, resume=True)
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(2))
    drift = whole.process_.drift(0.5, x)
    torch.testing.assert_close(rest.process_.drift(0.5, x), drift, rtol=0, atol=0)
    smaller = make(width=8).set_params(training=training)
    with pytest.raises(ValueError, match="other settings"):
        smaller.fit(data, progress=False, checkpoint=path, resume=True)


@pytest.mark.parametrize("make", [METHODS["entropic growth"], METHODS["interpolant"]])
def test_the_condition_is_the_third_argument(make):
    labels = [np.tile(["a", "b"], 50)] * 2
    data = shifted(conditions=labels)
    model = fitted(make(n_conditions=2), data)
    x = torch.randn(5, 2)
    drifts = [model.process_.given(name).drift(0.5, x) for name in ("a", "b")]
    assert not torch.allclose(*drifts)
    with pytest.raises(ValueError, match=r"failed on t \(4,\), x \(4, 2\), c \(4, 2\)"):
        fitted(make(), data)


def test_masses_are_met_by_a_growth_that_the_own_network_knows_nothing_of():
    data = shifted(300, masses=[1.0, 2.0])
    training = di.Training(max_steps=200, patience=None)
    model = di.StochasticInterpolant(network=own(2), training=training)
    model.fit(data, progress=False)
    assert float(model.simulate(data, [0.0, 1.0]).mass[1]) == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (di.ActionMatching(network=own(2)), ValueError, r"must return .* shape \(4,\)"),
        (di.StochasticInterpolant(network=own()), ValueError, r"must return .* shape \(4, 2\)"),
        (di.ActionMatching(network="unet"), TypeError, "network must be a torch module"),
        (di.WassersteinLagrangianFlow(network=Own), TypeError, "give an instance"),
        (di.StochasticInterpolant(network=Own), TypeError, "give an instance"),
        (di.ActionMatching(network=own(), width=64), ValueError, "width=64 sets the network"),
        (
            di.WassersteinLagrangianFlow(network=own(), activation="tanh"),
            ValueError,
            "activation='tanh' sets the network",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_learned(model, error, message):
    with pytest.raises(error, match=message) as caught:
        fitted(model, shifted(20))
    assert len(str(caught.value)) <= 300
