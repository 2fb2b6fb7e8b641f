"""What a fitted model says of itself on one page."""

import anndata
import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

import dyninfer as di
from dyninfer.report import path_tables


@pytest.fixture(scope="module")
def gates():
    """Two states, seen once a second."""
    states = [[0, 0, 1, 1, 0, 1], [1, 1, 1, 0, 0, 0], [0, 1, 0, 0, 1, 1]]
    return di.Paths(times=[np.arange(6.0)] * 3, states=states, state_names=["shut", "open"])


def test_a_page_says_what_was_learned_from_and_what_came_out(gates):
    model = di.MarkovJumpInference(observation="exact", refine=False).fit(gates, progress=False)
    page = model.summary()
    lines = str(page).splitlines()
    assert lines[0] == f"MarkovJumpInference: {model.status_}"
    assert "data       18 observations, times 0 to 5" in lines[1]
    rates = model.confidence_intervals()
    pd.testing.assert_frame_equal(page.tables["rates"], rates)
    assert f"{rates['rate'][0]:.4g}" in str(page)
    assert repr(page) == str(page)
    assert "<td>shut</td>" in page._repr_html_()


def test_a_saved_model_has_the_same_page(gates, tmp_path):
    model = di.MarkovJumpInference(observation="exact", refine=False).fit(gates, progress=False)
    saved = di.load(model.save(tmp_path / "model"))
    assert str(saved.summary()) == str(model.summary())


def test_coefficients_of_a_library_are_shown():
    process = di.simulators.OrnsteinUhlenbeck(rate=1.0, sigma=0.5, dimension=1)
    paths = process.paths(np.arange(0, 2, 0.05), 20)
    model = di.KramersMoyal(drift=di.Polynomials(degree=1)).fit(paths, progress=False)
    tables = model.summary().tables
    pd.testing.assert_frame_equal(tables["coefficients"], model.coefficients_)


def test_velocities_are_not_said_to_have_times():
    angle = np.linspace(0, 6, 40)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    cells = anndata.AnnData(circle.astype(np.float32))
    cells.obsm["velocity"] = circle[:, ::-1] * [-1, 1]
    model = di.VectorFieldGP(n_neighbors=8)
    page = model.fit(cells, use_rep="X", velocity_key="velocity", progress=False).summary()
    assert page.facts["data"] == "40 observations"


@pytest.mark.parametrize(
    ("state", "names"),
    [
        (di.Observed(), ["feature x", "feature y", "feature z"]),
        (di.Latent(dim=2), ["coordinate 0", "coordinate 1"]),
    ],
)
def test_an_index_of_every_coordinate_says_of_which(state, names):
    rng = np.random.default_rng(0)
    times = np.linspace(0, 1, 8)
    tables = [pd.DataFrame(rng.normal(size=(8, 3)), columns=list("xyz")) for _ in range(3)]
    noise = di.FractionalNoise(per_dimension=True, n_nodes=3)
    model = di.FractionalSDE(noise=noise, state=state, inference=di.Exact(max_steps=2))
    model.fit(di.Paths(times=[times] * 3, states=tables), progress=False)
    table = model.summary().tables["index of memory"]
    kind = table.columns[0]
    assert [f"{kind} {name}" for name in table[kind]] == names
    assert list(table["hurst"]) == list(model.hurst_)
    _, rows = path_tables.learned(model)[-1]
    assert [row.cells[0] for row in rows.rows] == [f"Hurst index of {name}" for name in names]


def test_nothing_learned_is_told():
    with pytest.raises(NotFittedError, match="not fitted yet"):
        di.ActionMatching().summary()


def test_names_are_no_tags_of_a_page():
    samples = [pd.DataFrame({"<b>": [0.0, 1.0, 2.0]})] * 2
    page = di.Snapshots(times=[0, 1], samples=samples)
    model = di.StochasticInterpolant(gamma="none", width=4, training=di.Training(max_steps=2))
    text = model.fit(page, progress=False).summary()._repr_html_()
    assert "&lt;b&gt;" in text
    assert "<td style='text-align:left'><b></td>" not in text


@pytest.mark.parametrize(
    ("generator", "lines"),
    [
        ([[-1.0, 1.0], [3.0, -3.0]], ["MarkovJump: 2 states", "    0>1  1", "    1>0  3"]),
        (
            [[0.0, 0.0], [0.0, 0.0]],
            ["MarkovJump: 2 states", "    rates  none: no state is ever left"],
        ),
        (
            np.stack([np.array([[-k, k], [2 * k, -2 * k]]) for k in (1.0, 5.0)]),
            [
                "MarkovJump: 2 processes of 2 states",
                "    states  0, 1",
                "    rates   4 jumps, 1 to 10 per time unit",
            ],
        ),
    ],
)
def test_a_jump_process_tells_its_rates(generator, lines):
    process = di.MarkovJump(generator)
    assert repr(process).splitlines() == lines
    assert "2 states" in process._repr_html_()
