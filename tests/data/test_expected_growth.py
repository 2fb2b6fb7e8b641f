"""The growth that data expect of every cell, from the column to the coupling."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import dyninfer as di

SMALL = di.Training(max_steps=5)


def cells(n=60):
    rng = np.random.default_rng(0)
    times = np.repeat([0.0, 1.0, 3.0], n)
    obs = pd.DataFrame({"day": times, "rate": rng.normal(size=3 * n), "gap": np.nan})
    obs.index = [f"c{i}" for i in range(3 * n)]
    return ad.AnnData(X=rng.normal(size=(3 * n, 2)).astype(np.float32) + times[:, None], obs=obs)


def read(adata, **options):
    return di.Snapshots.from_anndata(adata, time_key="day", use_rep="X", **options)


def test_a_column_becomes_the_growth_of_every_sample_and_comes_back():
    adata = cells()
    data = read(adata, growth_key="rate")
    assert data.source["growth_key"] == "rate"
    for k, t in enumerate(data.times):
        np.testing.assert_allclose(data.growth[k], adata.obs["rate"][adata.obs["day"] == t])
    np.testing.assert_allclose(data.to_anndata().obs["growth"], adata.obs["rate"])
    assert repr(data).splitlines()[-1].split() == ["with", "growth"]


def test_growth_stays_with_its_cells_in_every_part():
    adata = cells()
    data = read(adata, growth_key="rate")
    first, second = data.split(0.3, seed=1)
    for part in (data.without(1.0), first, second, data.subsample(7)):
        for names, growth in zip(part.names, part.growth, strict=True):
            np.testing.assert_allclose(growth, adata.obs.loc[names, "rate"])


def test_the_fingerprint_knows_growth_and_data_without_keep_theirs():
    plain, data = read(cells()), read(cells(), growth_key="rate")
    assert plain.digest() != data.digest()
    changed = cells()
    changed.obs["rate"] += 1
    assert read(changed, growth_key="rate").digest() != data.digest()


@pytest.mark.parametrize(
    ("key", "kind", "message"),
    [
        ("gap", ValueError, "growth at time 0 must be finite"),
        ("rat", KeyError, "rate"),
    ],
)
def test_columns_that_are_none_are_named(key, kind, message):
    with pytest.raises(kind, match=message):
        read(cells(), growth_key=key)


@pytest.mark.parametrize("model", [di.StochasticInterpolant, di.ActionMatching])
def test_methods_without_use_for_it_refuse_it(model):
    with pytest.raises(ValueError, match=r"would ignore the expected growth \(growth_key"):
        model(training=SMALL).fit(
            cells(), time_key="day", use_rep="X", growth_key="rate", progress=False
        )


def test_a_fit_that_starts_from_it_differs_and_reads_it_again(tmp_path):
    adata = cells()
    keys = {"time_key": "day", "use_rep": "X", "progress": False}
    settings = {"coupling": "growth_first", "gamma": "none", "training": SMALL, "width": 8}
    plain = di.StochasticInterpolant(**settings).fit(adata, **keys)
    model = di.StochasticInterpolant(**settings).fit(adata, growth_key="rate", **keys)
    one, other = (m.simulate(adata, [0, 1, 3]).log_weights for m in (plain, model))
    assert not np.allclose(one, other)
    model.save(tmp_path / "model.safetensors")
    again = di.load(tmp_path / "model.safetensors")
    assert again.source_["growth_key"] == "rate"
    assert len(again.evaluate(adata, metrics=["energy"])) == 2
