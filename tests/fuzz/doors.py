"""The public doors: data, fits, what is fitted, files, scores, couplings, runs and commands."""

import inspect
import random
from functools import partial

import dyninfer as di
from fuzz import (
    fate_doors,
    jump_doors,
    more_doors,
    network_doors,
    picture_doors,
    tool_doors,
    values,
)
from fuzz.door import Argument, Door, Draw, of_kind, options, settings

SNAPSHOT_METHODS = ("ActionMatching", "StochasticInterpolant", "WassersteinLagrangianFlow")


def _training() -> Draw:
    names = di.Training._get_param_names()

    def draw(rng):
        chosen = rng.sample(names, 2)
        words = [f"{name}={values.scalar(rng)}" for name in chosen]
        return f"di.Training({', '.join(words)})" if rng.random() < 0.9 else values.scalar(rng)

    return draw


KEYS = of_kind(values.key, "mass_key weight_key condition_key growth_key")
FIT = options("seed max_steps checkpoint resume hold_out", max_steps="2") | {
    "progress": ("False", values.scalar)
}
QUICK = {"width": "4", "depth": "1"}


def _fits() -> dict[str, Door]:
    doors = {}
    for name in SNAPSHOT_METHODS:
        cls = getattr(di, name)
        fit = {"data": ("adata()", values.cells), "time_key": ("'day'", values.key)}
        fit |= {"use_rep": ("'X_pca'", values.representation)} | KEYS | FIT
        model = settings(cls, **QUICK) | {"training": (None, _training())}
        doors[f"{name}.fit"] = Door(
            f"di.{name}({{model}}).fit({{fit}})", {"model": model, "fit": fit}
        )
    for name in ("MarkovJumpInference", "FractionalSDE"):
        fit = {"data": ("adata()", values.cells), "time_key": ("'day'", values.key)}
        fit |= {"path_key": ("'track'", values.key), "condition_key": (None, values.key)} | FIT
        if name == "MarkovJumpInference":
            fit |= {"state_key": ("'state'", values.key), "use_rep": (None, values.representation)}
            model = settings(di.MarkovJumpInference) | {"observation": (None, _observation)}
            model |= {"jumps": (None, _jumps), "clones": (None, _clones)}
        else:
            fit |= {"state_key": (None, values.key), "use_rep": ("'X_pca'", values.representation)}
            model = settings(di.FractionalSDE) | {
                "noise": ("di.FractionalNoise(n_nodes=2, hurst=0.5)", _noise),
                "state": (None, _state),
                "inference": (None, _inference),
            }
        doors[f"{name}.fit"] = Door(
            f"di.{name}({{model}}).fit({{fit}})", {"model": model, "fit": fit}
        )
    fit = {"data": ("adata()", values.cells), "velocity_key": ("'X_pca'", values.representation)}
    fit |= {"use_rep": ("'X_pca'", values.representation)} | FIT
    doors["VectorFieldGP.fit"] = Door(
        "di.VectorFieldGP({model}).fit({fit})",
        {"model": settings(di.VectorFieldGP, n_neighbors="10"), "fit": fit},
    )
    doors["Snapshots then fit"] = Door(
        "di.ActionMatching(width=4, depth=1).fit(di.Snapshots({data}), max_steps=2, progress=False)",
        {"data": _snapshot_columns()},
    )
    doors["Paths then fit"] = Door(
        "di.MarkovJumpInference().fit(di.Paths({data}), progress=False)",
        {
            "data": {
                "times": ("[[0, 1, 2], [0, 1, 2]]", values.path_times),
                "states": ("[[0, 1, 0], [1, 1, 0]]", values.label_paths),
            }
        },
    )
    return doors


def _of(cls: str, *names: str) -> Draw:
    def draw(rng):
        words = [f"{name}={values.scalar(rng)}" for name in rng.sample(names, min(2, len(names)))]
        return f"di.{cls}({', '.join(words)})"

    return draw


def _any_of(*draws: Draw) -> Draw:
    return lambda rng: rng.choice(draws)(rng)


_observation = _any_of(
    _of("Gaussian", "n_states"),
    _of("Confusion", "n_states"),
    _of("Labels", "n_states"),
    _of("ExactLabels", "n_states", "entries"),
    values.scalar,
)
_jumps = _any_of(_of("Only", "jumps"), values.scalar)
_clones = _any_of(_of("Clones", "ancestor_time"), values.scalar)
_noise = _any_of(_of("FractionalNoise", "hurst", "per_dimension", "kind", "n_nodes"), values.scalar)
_view = _of("View", "n_features", "family", "coordinates")
_state = _any_of(
    _of("Latent", "dim", "decoder", "encoder", "content_dim", "views"),
    lambda rng: f"di.Latent(dim=2, views=[{_view(rng)}, di.View(n_features=1)])",
    values.scalar,
)
_inference = _any_of(
    _of("Exact", "max_steps"),
    _of("Variational", "control", "n_samples", "n_steps", "window", "grow", "width", "depth"),
    _of("Variational", "path_weight", "n_samples"),
    values.scalar,
)


def _snapshot_columns() -> dict[str, Argument]:
    return {
        "times": ("[0, 1]", values.times),
        "samples": ("[cells(0), cells(1)]", values.arrays),
        "masses": (None, values.times),
        "weights": (None, values.columns),
        "conditions": (None, values.columns),
        "features": (None, values.scalar),
        "names": (None, values.columns),
    }


def _data() -> dict[str, Door]:
    path_columns = {
        "times": ("[[0, 1, 2], [0, 1, 2]]", values.path_times),
        "states": ("[cells(0, 3), cells(1, 3)]", values.label_paths),
        "names": (None, values.times),
        "features": (None, values.scalar),
        "state_names": (None, values.times),
        "conditions": (None, values.times),
    }
    read = {"adata": ("adata()", values.cells), "time_key": ("'day'", values.key)}
    read |= {"use_rep": (None, values.representation)}
    return {
        "Snapshots": Door("di.Snapshots({a}).check_finite()", {"a": _snapshot_columns()}),
        "Paths": Door("di.Paths({a})", {"a": path_columns}),
        "Snapshots.from_anndata": Door(
            "di.Snapshots.from_anndata({a}).check_finite()",
            {"a": read | KEYS | {"hold_out": (None, values.times)}},
        ),
        "Paths.from_anndata": Door(
            "di.Paths.from_anndata({a})",
            {
                "a": read
                | {"path_key": ("'track'", values.key)}
                | of_kind(values.key, "state_key condition_key")
            },
        ),
        "Snapshots.methods": Door(
            "[snapshots().without({a}), snapshots().split({b}), snapshots().subsample({c}), snapshots().at({d})]",
            {
                "a": {"times": ("1", values.times)},
                "b": options("fraction seed least", fraction="0.2"),
                "c": options("n seed", n="5"),
                "d": {"time": ("1", values.scalar)},
            },
        ),
        "Trajectories": Door(
            "di.Trajectories({a})",
            {
                "a": {
                    "states": (
                        "torch.zeros(4, 2, 3)",
                        partial(values.array, plain="np.zeros((4, 2, 3))"),
                    ),
                    "times": ("torch.tensor([0., 1.])", values.times),
                }
                | of_kind(values.scalar, "log_weights origin status parents features attrs")
            },
        ),
        "Trajectories.methods": Door(
            "[trajectories().to_snapshots(), trajectories().at({a}), trajectories().resample({b}), "
            "trajectories().to({c})]",
            {
                "a": {"0": ("1", values.scalar)},
                "b": options("seed") | {"0": ("1", values.scalar)},
                "c": {"0": ("'cpu'", values.scalar)},
            },
        ),
    }


def _fitted() -> dict[str, Door]:
    doors = {}
    paths_of = _any_of(
        values.cells,
        lambda rng: f"di.Paths(times={values.path_times(rng)}, states={values.label_paths(rng)})",
    )
    cells_of = _any_of(
        values.cells,
        lambda rng: f"snapshots(samples=[{values.array(rng)}, cells(1), cells(2)])",
        lambda rng: f"snapshots(times={values.times(rng)})",
    )
    for name in SNAPSHOT_METHODS:
        start = {
            "start": ("cells(0)", _any_of(values.array, values.cells)),
            "times": ("[0, 1, 3]", values.times),
        }
        start |= options(
            "condition n_paths seed solver noise backward resample chunk_size progress"
        )
        doors[f"{name}.simulate"] = Door(f"fitted({name!r}).simulate({{a}})", {"a": start})
        score = {"data": ("snapshots()", cells_of), "times": (None, values.times)}
        score |= options("start metrics baselines max_samples seed")
        doors[f"{name}.evaluate"] = Door(f"fitted({name!r}).evaluate({{a}})", {"a": score})
    doors["annotate"] = Door(
        "read_by_keys('ActionMatching').annotate({a})",
        {"a": {"adata": ("adata()", _any_of(values.cells, _changed_cells))}},
    )
    for name in ("MarkovJumpInference", "FractionalSDE"):
        start = "[0, 1]" if name == "MarkovJumpInference" else "cells(0)"
        data = "labels()" if name == "MarkovJumpInference" else "paths()"
        run = {
            "start": (start, _any_of(values.array, values.cells, values.scalar)),
            "times": ("[0, 1, 3]", values.times),
        }
        run |= options("n_paths seed solver noise backward resample chunk_size progress")
        doors[f"{name}.simulate"] = Door(f"fitted({name!r}).simulate({{a}})", {"a": run})
        score = {"data": (data, paths_of)}
        score |= options(
            "by past_fraction n_samples max_paths n_intervals seed", n_samples="4", max_paths="2"
        )
        doors[f"{name}.evaluate"] = Door(f"fitted({name!r}).evaluate({{a}})", {"a": score})
        look = {"data": (data, paths_of), "times": ("[5, 6]", values.times)} | options(
            "n_samples seed", n_samples="4"
        )
        doors[f"{name}.forecast"] = Door(f"fitted({name!r}).forecast({{a}})", {"a": look})
    return doors


def _changed_cells(rng: random.Random) -> str:
    form = rng.choice(values.FORMS).format(x="cells(0, 72)")
    return (
        f"changed(X_pca={form})"
        if rng.random() < 0.5
        else f"changed(day={rng.choice(values.COLUMNS)!r})"
    )


def _files() -> dict[str, Door]:
    path = {"0": ("place('model.safetensors')", values.file)}
    runs = {"0": ("place('runs.h5ad')", values.file)}
    kinds = (*SNAPSHOT_METHODS, "MarkovJumpInference", "FractionalSDE", "trajectories")

    def kind(rng):
        return repr(rng.choice(kinds))

    save = {"0": ("'ActionMatching'", kind), "1": ("place('new.safetensors')", values.file)}
    return {
        "load": Door("di.load({a})", {"a": path | options("device")}),
        "save and load": Door("again({a})", {"a": save}),
        "Trajectories.load": Door("di.Trajectories.load({a})", {"a": runs}),
    }


def _metrics() -> dict[str, Door]:
    samples = {"x": ("cells(0)", values.array), "y": ("cells(1)", values.array)}
    weights = of_kind(_weights, "x_weights y_weights")
    doors = {}
    for name, more in {
        "wasserstein": "p max_samples seed",
        "sliced_wasserstein": "p n_projections max_samples seed",
        "mmd": "bandwidth gamma unbiased max_samples seed",
        "energy_distance": "max_samples seed",
        "compare_populations": "metrics max_samples floor seed",
    }.items():
        doors[name] = Door(f"di.metrics.{name}({{a}})", {"a": samples | weights | options(more)})
    draws = {
        "draws": (
            "cells(0, 24, 3)[:, :, None]",
            partial(values.array, plain="cells(0, 24, 3)[:, :, None]"),
        ),
        "observed": ("cells(0, 3, 1)", values.array),
    }
    doors["monge_gap"] = Door(
        "di.metrics.monge_gap({a})",
        {"a": samples | of_kind(_weights, "x_weights") | options("p max_samples seed")},
    )
    doors["finite_sample_floor"] = Door(
        "di.metrics.finite_sample_floor({a})",
        {
            "a": {"y": samples["y"], "metric": ("'w1'", values.scalar)}
            | options("n repeats seed")
            | of_kind(_weights, "y_weights")
        },
    )
    doors["scores"] = Door(
        "[di.metrics.crps(draws, observed), di.metrics.energy_score(draws, observed)]".replace(
            "draws, observed", "{a}"
        ),
        {"a": draws},
    )
    coverage = {
        "draws": draws["draws"],
        "observed": draws["observed"],
        "level": ("0.9", values.scalar),
    }
    doors["coverage"] = Door("di.metrics.coverage({a})", {"a": coverage})
    doors["distributions"] = Door(
        "[di.metrics.hellinger_distance({a}), brier_of_observed({b})]",
        {
            "a": {"p": ("[0.5, 0.5]", values.times), "q": ("[0.2, 0.8]", values.times)},
            "b": {
                "draws": ("[[0, 1], [1, 1]]", partial(values.array, plain="np.zeros((4, 2), int)")),
                "observed": ("[0, 1]", values.times),
                "n_states": ("2", values.scalar),
            },
        },
    )
    doors["gaussian_kl"] = Door(
        "di.metrics.gaussian_kl({a})",
        {
            "a": {
                "mean0": ("np.zeros(2)", _vector),
                "cov0": ("np.eye(2)", partial(values.array, plain="np.eye(2)")),
                "mean1": ("np.zeros(2)", _vector),
                "cov1": ("np.eye(2)", partial(values.array, plain="np.eye(2)")),
            }
        },
    )
    return doors


def _weights(rng: random.Random) -> str:
    kinds = (
        "np.ones(24)",
        "np.zeros(24)",
        "-np.ones(24)",
        "np.ones(3)",
        "np.full(24, 1e300)",
        "np.full(24, 1e-300)",
        "marked(np.ones(24), float('nan'))",
        "marked(np.ones(24), float('inf'))",
        "['a'] * 24",
        "np.ones((24, 1))",
        "torch.ones(24)",
        "np.ones(24, bool)",
        "np.eye(1, 24)[0]",
    )
    return rng.choice(kinds) if rng.random() < 0.8 else values.scalar(rng)


def _vector(rng: random.Random) -> str:
    return rng.choice((values.times(rng), values.array(rng, "np.zeros((2, 2))")))


def _couplings() -> dict[str, Door]:
    names = (
        "OTCoupling",
        "EntropicOTCoupling",
        "SparseOTCoupling",
        "UnbalancedOTCoupling",
        "ConeCoupling",
        "GrowthFirstCoupling",
    )
    conserving = ("OTCoupling", "EntropicOTCoupling", "SparseOTCoupling")
    doors = {}
    for name in names:
        model = settings(getattr(di, name))
        if "weigh" in model:
            model["weigh"] = (None, _weighing)
        more = "" if name in conserving else "growth_penalty=1.0, "
        fit = {
            "data": (
                "snapshots()",
                lambda rng: f"snapshots(samples=[{values.array(rng)}, cells(1), cells(2)])",
            )
        }
        code = f"di.ActionMatching(width=4, depth=1, {more}coupling=di.{name}({{model}})).fit({{fit}}, max_steps=1, progress=False)"
        doors[name] = Door(code, {"model": model, "fit": fit})
    pairs = {
        "pairs": ("[['c0', 'c24'], ['c24', 'c48']]", values.scalar),
        "clones": (None, values.scalar),
        "unpaired": (None, values.scalar),
    }
    doors["GivenPairs"] = Door(
        "di.ActionMatching(width=4, depth=1, coupling=di.GivenPairs({a}), training=unsplit)"
        ".fit(adata(), time_key='day', max_steps=1, progress=False)",
        {"a": pairs},
    )
    lagrangians = {
        "DataManifold": settings(di.DataManifold),
        "SchrodingerBridge": settings(di.SchrodingerBridge, sigma="0.5"),
        "MeanAcceleration": settings(di.MeanAcceleration),
        "InternalEnergy": settings(di.InternalEnergy, strength="-1.0"),
        "Congestion": settings(di.Congestion, strength="-1.0"),
        "PhysicalPotential": settings(di.PhysicalPotential, V="lambda t, x: x.square().sum(1)"),
        "UnbalancedTransport": settings(di.UnbalancedTransport, growth_penalty="1.0"),
    }
    for name, model in lagrangians.items():
        doors[name] = Door(
            f"di.WassersteinLagrangianFlow(width=4, depth=1, curve_width=4, lagrangian=di.{name}({{a}}))"
            ".fit(snapshots(), max_steps=1, progress=False)",
            {"a": model},
        )
    return doors


def _weighing(rng: random.Random) -> str:
    name = rng.choice(("UnbalancedWeights", "DensityRatio"))
    setting = rng.choice(getattr(di, name)._get_param_names())
    return f"di.{name}({setting}={values.scalar(rng)})"


def _solvers() -> dict[str, Door]:
    run = {
        "process": ("process()", _process),
        "x0": ("cells(0)", values.array),
        "times": ("[0, 1]", values.times),
    }
    run |= options("noise backward n_paths resample seed chunk_size progress") | {
        "solver": (None, _solver)
    }
    jump = {
        "process": ("di.MarkovJump([[-1.0, 1.0], [3.0, -3.0]])", _jump),
        "x0": ("[0, 1]", values.times),
        "times": ("[0, 1]", values.times),
    }
    jump |= options("n_paths seed chunk_size noise backward resample") | {"solver": (None, _solver)}
    density = {
        "process": ("process()", _process),
        "x": ("cells(0)", values.array),
        "times": ("[0, 1]", values.times),
        "base_log_density": ("lambda x: -x.square().sum(1)", values.scalar),
    }
    noisy_density = density | {"noise": ("0.1", values.scalar), "n_paths": ("4", values.scalar)}
    noisy_density |= options("trace seed chunk_size") | {"solver": (None, _solver)}
    density |= options("trace n_probes seed chunk_size solver")
    fractional = {"x0": ("cells(0)", values.array), "times": ("[0, 1]", values.times)}
    fractional |= options("n_paths seed chunk_size noise backward resample") | {
        "solver": (None, _solver)
    }
    return {
        "simulate": Door("di.simulate({a})", {"a": run}),
        "simulate jumps": Door("di.simulate({a})", {"a": jump}),
        "simulate fractional": Door(
            "di.simulate(fitted('FractionalSDE').process_, {a})", {"a": fractional}
        ),
        "log_density": Door("di.log_density({a})", {"a": density}),
        "log_density_with_noise": Door("di.log_density_with_noise({a})", {"a": noisy_density}),
        "MarkovJump": Door(
            "di.MarkovJump({a})",
            {
                "a": {
                    "generator": (
                        "[[-1.0, 1.0], [3.0, -3.0]]",
                        partial(values.array, plain="np.array([[-1.0, 1.0], [3.0, -3.0]])"),
                    )
                }
                | of_kind(values.times, "initial state_names breaks")
            },
        ),
    }


def _process(rng: random.Random) -> str:
    fields = ("diffusion", "growth", "score", "potential", "drift")
    kinds = (
        "lambda t, x: x[:, 0]",
        "lambda t, x: x",
        "lambda t, x: x[:1]",
        "lambda t, x: 1e3 * x[:, 0]",
        "mean_field",
        "lambda t, x: x * float('nan')",
        "lambda t, x: None",
        "lambda t, x: x.double()",
        "lambda x: x",
        "lambda t, x: 1.0",
    )
    value = rng.choice(kinds) if rng.random() < 0.6 else values.scalar(rng)
    return f"process({rng.choice(fields)}={value})" if rng.random() < 0.9 else values.scalar(rng)


def _jump(rng: random.Random) -> str:
    return (
        f"di.MarkovJump(1e{rng.choice((-300, -3, 3, 8, 300))} * np.array([[-1.0, 1.0], [3.0, -3.0]]))"
        if rng.random() < 0.7
        else values.scalar(rng)
    )


def _solver(rng: random.Random) -> str:
    names = (
        "Tsit5",
        "RungeKutta4",
        "Euler",
        "Heun",
        "EulerMaruyama",
        "SRA1",
        "TorchDiffEq",
        "TorchSDE",
        "Gillespie",
        "Skeleton",
        "FractionalEuler",
    )
    cls = rng.choice(names)
    kinds = {
        "Tsit5": "rtol atol",
        "TorchDiffEq": "method rtol atol dt",
        "TorchSDE": "method dt adaptive adjoint rtol",
    }
    setting = rng.choice(kinds.get(cls, "dt").split())
    if cls in ("Gillespie", "Skeleton"):
        return f"di.solvers.{cls}()"
    words = (
        "'tsit5'",
        "'rk4'",
        "'euler'",
        "'torchsde:srk:adaptive'",
        "'dopri5'",
        "'nothing'",
        "''",
        "'torchsde:'",
        "'gillespie'",
    )
    return (
        f"di.solvers.{cls}({setting}={values.scalar(rng)})"
        if rng.random() < 0.7
        else rng.choice((rng.choice(words), values.scalar(rng)))
    )


def _simulators() -> dict[str, Door]:
    doors = {}
    for name in di.simulators.__all__:
        cls = getattr(di.simulators, name)
        if name in ("Simulator", "GroundState") or not inspect.isclass(cls):
            continue
        model = dict.fromkeys(inspect.signature(cls).parameters, (None, values.scalar))
        if hasattr(cls, "sample"):
            call, draw = "snapshots", {"times": ("[0.0, 0.2]", values.times)}
        elif hasattr(cls, "paths") and "n_frames" in inspect.signature(cls.paths).parameters:
            call, draw = "paths", {"n_frames": ("3", values.scalar)}
        elif "times" in (names := inspect.signature(cls.paths).parameters) or "days" in names:
            call, draw = "paths", {_times_name(cls): ("[0.0, 0.2]", values.times)}
        else:
            call, draw = "paths", {}
        draw |= options("n seed", n="5")
        doors[name] = Door(f"di.simulators.{name}({{a}}).{call}({{b}})", {"a": model, "b": draw})
    return doors


def _ground_state() -> Door:
    system = (
        "di.simulators.GroundState(potential=lambda x: x.square().sum(1), ansatz=amplitude, {a})"
    )
    settings = {"dimension": ("2", values.scalar), "metric": (None, values.scalar)}
    draw = {
        "parameters": ("torch.ones(1)", partial(values.array, plain="torch.ones(1)")),
        "times": ("[0.0, 0.1]", values.times),
        "n_walkers": ("16", values.scalar),
    }
    more = options("n_moves dt seed")
    return Door(f"{system}.descend({{b}})", {"a": settings, "b": draw | more})


def _times_name(cls: type) -> str:
    names = inspect.signature(cls.paths).parameters
    return "days" if "days" in names else "times"


def _datasets() -> dict[str, Door]:
    def name(rng):
        return repr(rng.choice([n for n in di.datasets.__all__ if n not in ("available",)]))

    place = {"0": ("'nile_minima'", name), "1": ("place('folder')", values.file)}
    return {
        "datasets": Door("shipped({a})", {"a": place}),
        "single_particle_tracks": Door(
            "di.datasets.single_particle_tracks({a})", {"a": options("min_length")}
        ),
    }


def _command() -> dict[str, Door]:
    doors = {}
    model, table = "place('model.safetensors')", "place('cells.h5ad')"
    plain = {
        "fit": [table, "'--time-key'", "'day'", "'--max-steps'", "'1'", "'--out'", model],
        "simulate": [model, "'--times'", "'0,1'", table, "'--out'", "place('new.h5ad')"],
        "evaluate": ["place('keyed.safetensors')", table],
        "info": [],
        "datasets": ["'nile_minima'"],
    }
    for name, words in plain.items():
        group = {str(i): (word, values.word) for i, word in enumerate(words)}
        group |= {str(i): (None, values.word) for i in range(len(words), len(words) + 3)}
        doors[f"dyninfer {name}"] = Door(f"command({name!r}, {{a}})", {"a": group})
    return doors


DOORS: dict[str, Door] = (
    _data()
    | _fits()
    | _fitted()
    | _files()
    | _metrics()
    | _couplings()
    | _solvers()
    | _simulators()
    | {"GroundState": _ground_state()}
    | _datasets()
    | _command()
    | more_doors.doors()
    | tool_doors.doors()
    | fate_doors.doors()
    | picture_doors.doors()
    | jump_doors.doors()
    | network_doors.doors()
)
