"""What a fit must not depend on: units and origins of states and times, and the order of the data.

Every fit is of a few steps: that the model is good is proved elsewhere. Differences are relative to
the spread of the data, of which the tolerances of the solvers are 1e-4.
"""

import numpy as np
import pytest

import dyninfer as di
from dyninfer.testing.units import PLAIN, Units

TIMES = np.array([0.0, 1.0, 2.0, 4.0])
SMALL = {"width": 16, "depth": 2}
# Networks compute in float32, and steps of adaptive solvers move with its rounding.
SINGLE = 5e-4


STATES = [Units(scale=1e-12), Units(scale=1e12), Units(shift=1e3)]
DURATIONS = [Units(duration=1e-12), Units(duration=1e12)]
STARTS = [Units(start=-1e3), Units(start=1.7e9)]
ALL = [*STATES[:3], DURATIONS[0], STARTS[1], Units(1e-9, 5e-8, 1e9, -3e9)]


SNAPSHOT_MODELS = {
    "matching": lambda u: di.ActionMatching(**SMALL),
    "matching with growth": lambda u: di.ActionMatching(growth_penalty=0.3 / u.scale**2, **SMALL),
    "matching with noise": lambda u: di.ActionMatching(sigma=0.5 * u.noise, **SMALL),
    "matching of cubic curves": lambda u: di.ActionMatching(interpolation="cubic", **SMALL),
    "lagrangian flow": lambda u: di.WassersteinLagrangianFlow(curve_width=16, **SMALL),
    "interpolant": lambda u: di.StochasticInterpolant(**SMALL),
    "bridge": lambda u: di.StochasticInterpolant(bridge_sigma=0.5 * u.noise, **SMALL),
}


def cells():
    rng = np.random.default_rng(0)
    return [rng.normal([t, -t / 2], 1 + 0.1 * t, (40 + int(t), 2)) for t in TIMES]


def snapshots(units=PLAIN, samples=None, order=(0, 1, 2, 3), weights=None):
    samples = cells() if samples is None else samples
    return di.Snapshots(
        times=[units.times(TIMES[k]) for k in order],
        samples=[units.states(samples[k]) for k in order],
        weights=None if weights is None else [weights[k] for k in order],
    )


def fit(name, units=PLAIN, data=None, n_steps=15):
    data = snapshots(units) if data is None else data
    return SNAPSHOT_MODELS[name](units).fit(data, max_steps=n_steps, progress=False)


def paths_of(model, units=PLAIN, **options):
    """States ``(path, time, feature)`` in plain units, and log-weights where there are any."""
    start = units.states(cells()[0][:10])
    run = model.simulate(start, units.times(TIMES), seed=1, **options)
    assert run.status.tolist() == [0] * 10
    states = (run.states.double().numpy() - units.shift) / units.scale
    if run.log_weights is None:
        return states
    weights = run.log_weights.numpy()[..., None]
    return np.concatenate([states, weights], axis=2)


@pytest.fixture(scope="module")
def plain_models():
    return {name: fit(name) for name in SNAPSHOT_MODELS}


@pytest.mark.parametrize("units", ALL, ids=str)
@pytest.mark.parametrize("name", SNAPSHOT_MODELS)
def test_units_and_origins_change_no_path(plain_models, name, units):
    expected = paths_of(plain_models[name])
    paths = paths_of(fit(name, units), units)
    assert np.abs(paths - expected).max() < SINGLE


@pytest.mark.parametrize("units", [STATES[0], STATES[1], STARTS[1]], ids=str)
def test_units_and_origins_change_no_score(plain_models, units):
    expected = plain_models["matching"].evaluate(snapshots(), metrics=["w2", "mmd"])
    scores = fit("matching", units).evaluate(snapshots(units), metrics=["w2", "mmd"])
    assert np.allclose(scores.w2 / units.scale, expected.w2, rtol=SINGLE)
    assert np.allclose(scores.mmd, expected.mmd, rtol=0.01, atol=1e-4)


@pytest.mark.parametrize("name", SNAPSHOT_MODELS)
def test_the_order_of_times_changes_nothing(plain_models, name):
    model = fit(name, data=snapshots(order=(2, 0, 3, 1)))
    assert np.array_equal(paths_of(model), paths_of(plain_models[name]))


@pytest.mark.parametrize("name", SNAPSHOT_MODELS)
@pytest.mark.parametrize("chunk_size", [1, 3])
def test_chunks_change_no_path_beyond_rounding(plain_models, name, chunk_size):
    model = plain_models[name]
    difference = np.abs(paths_of(model, chunk_size=chunk_size) - paths_of(model))
    assert difference.max() < SINGLE


def difference(one, two):
    return np.abs(paths_of(one) - paths_of(two)).mean()


@pytest.mark.parametrize("name", SNAPSHOT_MODELS)
def test_the_order_of_cells_is_no_more_than_the_luck_of_the_draw(plain_models, name):
    """Batches are drawn by place, so another order draws other cells: as another seed does."""
    shuffled = [np.random.default_rng(7).permutation(x) for x in cells()]
    model = fit(name, data=snapshots(samples=shuffled))
    other = SNAPSHOT_MODELS[name](PLAIN).fit(snapshots(), max_steps=15, seed=1, progress=False)
    assert difference(model, plain_models[name]) <= difference(other, plain_models[name])


@pytest.mark.parametrize("name", SNAPSHOT_MODELS)
def test_a_cell_of_weight_two_is_a_cell_given_twice(name):
    """Batches are drawn by weight or by number: the same up to the luck of the draw."""
    samples = cells()
    heavy = [x[:, 0] > x[:, 0].mean() for x in samples]
    weights = [1.0 + 3.0 * is_heavy for is_heavy in heavy]
    doubled = []
    for x, is_heavy in zip(samples, heavy, strict=True):
        doubled.append(np.concatenate([x] + 3 * [x[is_heavy]]))
    by_weight = fit(name, data=snapshots(weights=weights))
    by_number = fit(name, data=snapshots(samples=doubled))
    other = SNAPSHOT_MODELS[name](PLAIN).fit(
        snapshots(samples=doubled), max_steps=15, seed=1, progress=False
    )
    assert difference(by_weight, by_number) <= 2 * difference(other, by_number)


def heavy_and_doubled():
    """Snapshots with whole weights, and with as many copies of every cell instead."""
    samples = cells()
    counts = [1 + np.arange(len(x)) % 3 for x in samples]
    doubled = [np.repeat(x, n, axis=0) for x, n in zip(samples, counts, strict=True)]
    return snapshots(weights=counts), snapshots(samples=doubled)


@pytest.mark.parametrize("name", SNAPSHOT_MODELS)
def test_weights_and_copies_give_one_scaling_and_the_same_facts(name):
    heavy, doubled = heavy_and_doubled()
    by_weight = fit(name, data=heavy, n_steps=1)
    by_number = fit(name, data=doubled, n_steps=1)
    np.testing.assert_allclose(by_weight.scaling_.shift, by_number.scaling_.shift, rtol=1e-12)
    np.testing.assert_allclose(by_weight.scaling_.scale, by_number.scaling_.scale, rtol=1e-12)
    assert by_weight.facts_ == by_number.facts_


@pytest.mark.parametrize("name", SNAPSHOT_MODELS)
def test_a_cell_of_weight_two_scores_as_a_cell_given_twice(plain_models, name):
    heavy, doubled = heavy_and_doubled()
    distances = ["w1", "w2", "sliced_w2", "energy"]
    options = {"metrics": distances, "max_samples": None}
    by_weight = plain_models[name].evaluate(heavy, **options)
    by_number = plain_models[name].evaluate(doubled, **options)
    columns = [*(f"{metric}_still" for metric in distances), "mass"]
    # Noise moves the copies of a cell apart, and its weight does not.
    if name != "matching with noise":
        columns += distances
    # The states that are compared are float32.
    np.testing.assert_allclose(by_weight[columns], by_number[columns], rtol=2e-5)


@pytest.mark.parametrize("name", SNAPSHOT_MODELS)
def test_a_weight_changes_no_annotation_and_a_copy_has_that_of_its_cell(name):
    heavy, doubled = heavy_and_doubled()
    adata = heavy.to_anndata()
    keys = {"time_key": "time", "weight_key": "weight", "use_rep": "X"}
    model = SNAPSHOT_MODELS[name](PLAIN).fit(adata, max_steps=3, progress=False, **keys)
    plain = adata.copy()
    plain.obs["weight"] = 1.0
    copies = doubled.to_anndata()
    copies.obs["weight"] = 1.0
    copy_of = np.repeat(np.arange(adata.n_obs), adata.obs["weight"].astype(int))
    own = model.annotate(adata)
    of_plain = model.annotate(plain)
    of_copies = model.annotate(copies)
    written = [f"obsm/{key}" for key in own.obsm] + [f"obs/{key}" for key in own.obs]
    written = [key.split("/") for key in written if "dyninfer_" in key]
    assert written
    for place, key in written:
        values = np.asarray(getattr(own, place)[key])
        np.testing.assert_array_equal(values, np.asarray(getattr(of_plain, place)[key]))
        copied = np.asarray(getattr(of_copies, place)[key])
        np.testing.assert_allclose(copied, values[copy_of], rtol=1e-4, atol=1e-5)


def labelled_paths(units=PLAIN, order=None):
    gate = di.MarkovJump([[-1.0, 1.0], [3.0, -3.0]], initial=[1.0, 0.0])
    run = di.simulate(gate, None, 0.3 * np.arange(30), n_paths=12, seed=0)
    labels = run.states.numpy()
    order = range(12) if order is None else order
    times = units.times(0.3 * np.arange(30))
    return di.Paths(times=[times] * 12, states=[labels[k] for k in order])


JUMP_MODELS = {
    "labels": lambda: di.MarkovJumpInference(),
    "exact labels": lambda: di.MarkovJumpInference(observation="exact"),
    "reversible": lambda: di.MarkovJumpInference(observation="exact", jumps="reversible"),
}


def generator(name, units=PLAIN, order=None):
    model = JUMP_MODELS[name]().fit(labelled_paths(units, order), progress=False)
    return np.asarray(model.generator_) * units.duration


@pytest.mark.parametrize("units", [*DURATIONS, *STARTS], ids=str)
@pytest.mark.parametrize("name", JUMP_MODELS)
def test_units_of_time_change_no_rate(name, units):
    # Times that far from zero are known to 2e-7 of a gap.
    assert np.allclose(generator(name, units), generator(name), rtol=1e-4)


@pytest.mark.parametrize("name", JUMP_MODELS)
def test_the_order_of_paths_changes_no_rate(name):
    shuffled = generator(name, order=np.random.default_rng(0).permutation(12))
    assert np.allclose(shuffled, generator(name), rtol=1e-4)


def noisy_paths(units=PLAIN, order=None):
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(8, 20, 2)) * 0.3
    x = steps.cumsum(axis=1)
    order = range(8) if order is None else order
    times = units.times(0.25 * np.arange(20))
    return di.Paths(times=[times] * 8, states=[units.states(x[k]) for k in order])


def memory_model(units=PLAIN, order=None):
    noise = di.FractionalNoise(n_nodes=2)
    model = di.FractionalSDE(noise=noise)
    return model.fit(noisy_paths(units, order), max_steps=10, progress=False)


@pytest.mark.parametrize("units", [STATES[0], STATES[2], DURATIONS[1], STARTS[1]], ids=str)
def test_units_change_no_hurst_index(units):
    assert memory_model(units).hurst_ == pytest.approx(memory_model().hurst_, abs=1e-3)


def test_the_order_of_paths_changes_no_hurst_index():
    shuffled = memory_model(order=np.random.default_rng(0).permutation(8))
    assert shuffled.hurst_ == pytest.approx(memory_model().hurst_, abs=1e-3)
