"""Doors of what becomes of cells: fates, their scores, genes on the way, velocities, real time."""

import dyninfer as di
from fuzz import values
from fuzz.door import Argument, Door, options, settings

MODEL = ("read_by_keys('ActionMatching')", values.scalar)
FATED = ("fated()", values.cells)


def doors() -> dict[str, Door]:
    return _fates() | _genes() | _velocities() | _times() | _processes()


def _fates() -> dict[str, Door]:
    found = {"0": MODEL, "1": FATED, "2": ("'state'", values.key)}
    found |= options("at states of n_draws noise n_neighbors mix baselines seed chunk", n_draws="2")
    scored = {"0": FATED, "1": ("'track'", values.key)}
    scored |= options("start states sources ranked n_resamples seed", n_resamples="2")
    group = {"0": FATED, "label_key": (None, values.key)}
    moved = {"0": MODEL, "1": FATED} | options("n_draws n_neighbors noise seed", n_draws="2")
    return {
        "tools.fates": Door("di.tl.fates({a})", {"a": found}),
        "tools.score_fates": Door(
            # Of a single fate there is no rank.
            "di.tl.score_fates({a})[['brier', 'brier_mixed', 'n_cells']]",
            {"a": scored},
        ),
        "tools.transition_table": Door("di.tl.transition_table({a})", {"a": group}),
        "tools.transition_matrix": Door("di.tl.transition_matrix({a}).toarray()", {"a": moved}),
    }


def _decoder() -> dict[str, Argument]:
    forms = ("'PCs'", "'nan'", "lambda x: x", "lambda x: x[:, :1]", "lambda x: x * float('nan')")

    def draw(rng):
        return rng.choice(forms) if rng.random() < 0.6 else values.scalar(rng)

    return {"decoder": (None, draw)}


def _genes() -> dict[str, Door]:
    names = ("['g0']", "['g1', 'g0']", "['g0', 'g0']", "['g2']", "[]", "'g0'")

    def genes(rng):
        return rng.choice(names) if rng.random() < 0.6 else values.scalar(rng)

    driven = {"0": MODEL, "1": FATED, "2": ("'a'", values.scalar), "genes": (None, genes)}
    driven |= options("cells layer use_raw decoder_layer level key") | _decoder()
    followed = {"0": FATED, "1": ("runs()", values.scalar), "2": ("['g0']", genes)}
    followed |= options("fate layer level n_neighbors key") | _decoder()
    followed |= {"use_rep": (None, values.representation), "time_key": (None, values.key)}
    return {
        "tools.drivers": Door("di.tl.drivers({a})", {"a": driven}),
        "tools.trends": Door("di.tl.trends({a})", {"a": followed}),
    }


def _velocities() -> dict[str, Door]:
    layer = {"0": MODEL, "1": FATED} | options("layer") | _decoder()
    shown = {"0": FATED, "1": ("'pca'", values.representation)} | options("n_neighbors")
    shown |= {"use_rep": (None, values.representation)}
    return {
        "tools.velocity_layer": Door(
            "di.tl.velocity_layer({a}).layers['dyninfer_velocity']", {"a": layer}
        ),
        "tools.velocity_embedding": Door("di.tl.velocity_embedding({a})", {"a": shown}),
    }


def _times() -> dict[str, Door]:
    dated = {"0": MODEL, "1": FATED, "time_key": (None, values.key)}
    dated |= {"use_rep": (None, values.representation)} | options("n_neighbors n_between seed")
    arriving = {"0": MODEL, "1": FATED, "2": ("'state'", values.key), "3": ("'a'", values.scalar)}
    arriving |= options("at n_draws n_times n_neighbors noise seed", n_draws="2", n_times="3")
    return {
        "tools.time": Door("di.tl.time({a})", {"a": dated}),
        "tools.time_to_fate": Door(
            # Cells of the end, and those that no path carries to the fate, have no time.
            "di.tl.time_to_fate({a})['share'].dropna().to_numpy()",
            {"a": arriving},
        ),
    }


def _processes() -> dict[str, Door]:
    made = {"drift": ("drift", values.scalar)} | options(
        "noise hurst diffusion calculus definition",
        noise="fractional.MarkovApproximation(3, horizon=2.0)",
    )
    clustered = {"data": ("adata()", values.cells), "time_key": ("'day'", values.key)}
    clustered |= {"path_key": ("'track'", values.key)}
    clustered |= {"use_rep": ("'X_pca'", values.representation)}
    rule = settings(di.KMeansStates, n_states="2")
    return {
        "FractionalDiffusion": Door(
            "di.simulate(FractionalDiffusion({a}), cells(0), [0, 0.5, 1])", {"a": made}
        ),
        "KMeansStates": Door(
            "di.MarkovJumpInference(states=di.KMeansStates({a})).fit({b}, progress=False)",
            {"a": rule, "b": clustered},
        ),
    }
