"""Markov jump inference on data with known truth and on recordings: the tables of docs/results.md.

    DYNINFER_DATA=... OMP_NUM_THREADS=1 python tests/benchmarks/science_markov_jumps.py ratchet channel levels clones speed --seed 0

ratchet: shipped paths of the flashing ratchet, rates and what follows from them by the number of paths.
channel: a patch-clamp recording, beside thresholds with dwell times and a hidden Markov model in discrete time.
levels: a signal of three levels that a rule labelled, seen with one rate of wrong labels and with a confusion matrix.
clones: blood progenitors with lineage barcodes, held-out clones beside cells taken one by one.
speed: simulation beside a Python loop; thirty panels side by side.

With --smallest, one row of every table that needs no data: does it run?
"""

from __future__ import annotations

import time

import numpy as np
from science import DATA, Rows, parser_of, print_tables, spread
from scipy.linalg import logm
from scipy.stats import norm

import dyninfer as di
from dyninfer.jumps import fit_panel, panel_counts, stack_counts
from dyninfer.jumps.gillespie import simulate_events
from dyninfer.simulation import simulate
from dyninfer.simulators import FlashingRatchet, IonChannel

# Flashing ratchet.


def ratchet(seed: int) -> tuple[list[str], Rows]:
    head = [
        "V",
        "grid",
        "paths",
        "data sets",
        "RMSE, first sight",
        "RMSE, ML",
        "RMSE, default",
        "V found",
        "r",
        "b",
        "entropy production",
    ]
    return [*head, "Hellinger above floor"], ratchet_rows(seed)


def ratchet_rows(seed: int) -> Rows:
    for potential in (1, 3):
        file = np.load(DATA / f"flashing_ratchet/dfr_V{potential}.npz")
        truth = di.MarkovJump(file["Q"].astype(float), initial=file["p0"].astype(float))
        order = np.random.default_rng(seed).permutation(len(file["paths"]))
        floor = hellinger_floor(file, order)
        for grid, sizes in (
            ("regular, 100", (30, 100, 300, 1000, 5000)),
            ("irregular, 50", (300,)),
        ):
            for k in sizes:
                n = min(12, len(order) // k)
                ways = {
                    "first sight": {"refine": False},
                    "ML": {"prior_width": None},
                    "default": {},
                }
                models, errors = ({name: [] for name in ways} for _ in range(2))
                for c in range(n):
                    data = chunk(file, order[c * k : (c + 1) * k], grid, seed + c)
                    for name, settings in ways.items():
                        model = di.MarkovJumpInference(observation="exact", **settings)
                        models[name].append(model.fit(data, progress=False))
                        errors[name].append(rmse(model.generator_, truth.generator.numpy()))
                found = [
                    FlashingRatchet.parameters_of(m.process_.generator) for m in models["default"]
                ]
                yield [
                    str(potential),
                    grid,
                    str(k),
                    str(n),
                    *(spread(errors[name]) for name in ways),
                    *(
                        spread([float(f[x]) for f in found], 2)
                        for x in ("potential", "switch_rate", "off_rate")
                    ),
                    f"{spread([float(m.process_.entropy_production()) for m in models['default']])} "
                    f"({float(truth.entropy_production()):.3f})",
                    f"{hellinger_of(models['default'], file, order) - floor:+.4f} (floor {floor:.4f})",
                ]


def chunk(file, rows: np.ndarray, grid: str, seed: int) -> di.Paths:
    """Some of the shipped paths, at all their times or at half of them, each path at its own."""
    times, states = file["times"].astype(float), file["paths"][rows].astype(np.int64)
    kept = np.ones(states.shape, dtype=bool)
    if grid.startswith("irregular"):
        kept = np.random.default_rng(seed).random(states.shape).argsort(1) < 50
    return di.Paths(
        times=[times[k] for k in kept],
        states=[x[k] for x, k in zip(states, kept, strict=True)],
        state_names=tuple(map(str, range(6))),
    )


def rmse(found: np.ndarray, truth: np.ndarray) -> float:
    off = ~np.eye(len(truth), dtype=bool)
    return float(np.sqrt(np.mean((found - truth)[off] ** 2)))


def hellinger(one: np.ndarray, two: np.ndarray) -> float:
    """Distance of the shares of states at every time, mean over times, of paths ``(n, time)``."""
    p, q = (np.stack([(x == s).mean(0) for s in range(6)]) for x in (one, two))
    return float(np.sqrt(0.5 * ((np.sqrt(p) - np.sqrt(q)) ** 2).sum(0)).mean())


def hellinger_floor(file, order: np.ndarray) -> float:
    """The shipped paths against each other, a thousand on either side."""
    parts = [file["paths"][order[k * 1000 : (k + 1) * 1000]] for k in range(10)]
    return float(np.mean([hellinger(a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]))


def hellinger_of(models: list, file, order: np.ndarray) -> float:
    """A thousand simulated paths against a thousand shipped ones, the last of the file's order, mean over the models."""
    target = [file["paths"][order[-(k + 1) * 1000 : len(order) - k * 1000]] for k in range(5)]
    values = []
    for k, model in enumerate(models):
        run = model.simulate(None, file["times"].astype(float), n_paths=1000, seed=k)
        values.append(hellinger(run.states.numpy(), target[k % 5]))
    return float(np.mean(values))


# Patch clamp: shut or open; 100 kHz, filtered, so that an edge takes some five samples; now and then a second channel opens.


def channel(seed: int) -> tuple[list[str], Rows]:
    return [
        "every",
        "method",
        "opening rate (1/ms)",
        "shutting rate (1/ms)",
        "share open",
        "levels",
        "CPU-s",
    ], channel_rows(seed)


def channel_rows(seed: int) -> Rows:
    current = np.loadtxt(
        DATA / "ion_channel/deepchannel_raw_unseen_biological_data.csv", delimiter=","
    )[:, 1]
    for every in (1, 5, 10):
        x, dt = current[::every], 0.01 * every
        began = time.process_time()
        labels = (x > 0.15).astype(int)
        moves = np.zeros((2, 2))
        np.add.at(moves, (labels[:-1], labels[1:]), 1.0)
        dwell = moves / (dt * moves.sum(1, keepdims=True))
        levels = np.array([np.median(x[labels == k]) for k in range(2)])
        yield channel_row(every, "threshold and dwell times", dwell, labels.mean(), levels, began)
        began = time.process_time()
        p, share, levels = baum_welch(x, np.array([-0.8, 1.15]))
        yield channel_row(
            every,
            "HMM in discrete time, logarithm of its matrix",
            logm(p).real / dt,
            share[1],
            levels,
            began,
        )
        pieces = [x[k : k + 101] for k in range(0, len(x) - 1, 100)]
        paths = di.Paths(times=[dt * np.arange(len(piece)) for piece in pieces], states=pieces)
        for size in (2, 3):
            began = time.process_time()
            model = di.MarkovJumpInference(observation=di.Gaussian(size), jumps="birth-death")
            model.fit(paths, seed=seed, progress=False)
            opened = (model.posterior_states(paths)["state"] != "0").mean()
            table = model.confidence_intervals().set_index(["source", "target"])
            levels = model.emission_.mean[:, 0].numpy()
            name = f"MarkovJumpInference, {size} states"
            yield channel_row(every, name, model.generator_, opened, levels, began, table)


def channel_row(every, name, q, opened, levels, began, table=None) -> list[str]:
    spent = time.process_time() - began
    cells = []
    for i, j in ((0, 1), (1, 0)):
        text = f"{q[i, j]:.2f}"
        if table is not None:
            row = table.loc[(str(i), str(j))]
            text += f" [{row.low:.2f}, {row.high:.2f}]"
        cells.append(text)
    at = ", ".join(f"{v:.2f}" for v in levels)
    return [f"{10 * every} µs", name, *cells, f"{opened:.3f}", at, f"{spent:.1f}"]


def baum_welch(x: np.ndarray, mean: np.ndarray, steps: int = 60) -> tuple[np.ndarray, ...]:
    """Transition matrix, shares and levels of a Gaussian hidden Markov model in discrete time, in plain NumPy."""
    size, std = len(mean), np.full(len(mean), 0.25)
    p, law = np.full((size, size), 0.02) + (1 - 0.02 * size) * np.eye(size), np.full(size, 1 / size)
    for _ in range(steps):
        e = norm.pdf(x[:, None], mean, std) + 1e-300
        forward, backward, scale = np.empty_like(e), np.ones_like(e), np.empty(len(x))
        for k in range(len(x)):
            joint = (law if k == 0 else forward[k - 1] @ p) * e[k]
            scale[k] = joint.sum()
            forward[k] = joint / scale[k]
        for k in range(len(x) - 2, -1, -1):
            backward[k] = p @ (e[k + 1] * backward[k + 1]) / scale[k + 1]
        smooth = forward * backward
        p = p * (forward[:-1].T @ (e * backward / scale[:, None])[1:])
        p, law = p / p.sum(1, keepdims=True), smooth[0]
        mean = (smooth * x[:, None]).sum(0) / smooth.sum(0)
        std = np.sqrt((smooth * (x[:, None] - mean) ** 2).sum(0) / smooth.sum(0))
    return p, smooth.mean(0), mean


# A rule on a signal.


def levels(seed: int) -> tuple[list[str], Rows]:
    return ["noise", "observation", "RMSE of log-rates", "wrong labels found (true)"], levels_rows(
        seed
    )


def levels_rows(seed: int) -> Rows:
    for noise in (0.15, 0.2):
        gate = IonChannel(noise=noise)
        truth = gate.process().generator.numpy()
        off = ~np.eye(3, dtype=bool)
        for observation in ("exact", "label noise", "confusion", "gaussian"):
            errors, wrong, right = [], [], []
            for k in range(5):
                paths = gate.paths(0.002 * np.arange(100), 200, seed=seed + k)
                if observation == "gaussian":
                    model = di.MarkovJumpInference(observation=di.Gaussian(3))
                else:
                    rule = di.KMeansStates(n_states=3)
                    model = di.MarkovJumpInference(observation=observation, states=rule)
                model.fit(paths, seed=seed, progress=False)
                errors.append(
                    float(np.sqrt(np.mean(np.log(model.generator_[off] / truth[off]) ** 2)))
                )
                wrong.append(model.noise_)
                if model.states_ is not None:
                    low, high = (
                        model.states_["x0"].to_numpy()[:-1] + model.states_["x0"].to_numpy()[1:]
                    ) / 2
                    cut = norm.cdf([low / noise, (high - 0.5) / noise, (high - 1) / noise])
                    right.append(
                        (1 - cut[0] + norm.cdf((low - 0.5) / noise) + 1 - cut[1] + cut[2]) / 3
                    )
            found = "" if wrong[0] is None else f"{np.mean(wrong):.3f} ({np.mean(right):.3f})"
            yield [f"{noise}", observation, spread(errors), found]


# Clones.

TYPES = ["undiff", "Monocyte", "Neutrophil", "Baso", "Mast", "other"]


def clones(seed: int) -> tuple[list[str], Rows]:
    head = [
        "jumps",
        "cells of a clone are",
        "log-likelihood per held-out clone",
        "difference of the two",
    ]
    return head, clones_rows(seed)


def clones_rows(seed: int) -> Rows:
    import anndata as ad

    adata = ad.read_h5ad(DATA / "larry_clones/test_adata_preprocessed.h5ad")
    clone = np.asarray(adata.obsm["X_clone"].argmax(1)).ravel()
    labels = adata.obs["state_info"].astype(str)
    states = np.array([TYPES.index(s) if s in TYPES else len(TYPES) - 1 for s in labels])
    days = adata.obs["time_info"].astype(float).to_numpy()

    def cells(chosen: np.ndarray, together: bool) -> di.Paths:
        return di.Paths(
            times=list(days[chosen][:, None]),
            states=list(states[chosen][:, None]),
            state_names=TYPES,
            conditions=clone[chosen] if together else np.flatnonzero(chosen),
        )

    fold = np.random.default_rng(seed).integers(5, size=clone.max() + 1)[clone]
    forward = di.Only([f"undiff>{fate}" for fate in TYPES[1:]])
    for name, jumps in (("undiff to fates", forward), ("all", di.AllJumps())):
        scores: dict[bool, list[float]] = {True: [], False: []}
        for k in range(5):
            for together in (True, False):
                model = di.MarkovJumpInference(
                    observation="exact", clones=di.Clones(0.0), jumps=jumps
                )
                model.fit(cells(fold != k, together), progress=False)
                test = cells(fold == k, together)
                of_cells = model.log_likelihoods(test)
                whose = clone[fold == k]
                scores[together] += [of_cells[whose == c].sum() for c in np.unique(whose)]
        together, apart = np.array(scores[True]), np.array(scores[False])
        gain = together - apart
        error = gain.std() / np.sqrt(len(gain))
        yield [name, "one by one", f"{apart.mean():.3f}", ""]
        yield [
            name,
            "of one ancestor",
            f"{together.mean():.3f}",
            f"{gain.mean():+.3f} ± {error:.3f}",
        ]
    every = di.MarkovJumpInference(observation="exact", clones=di.Clones(0.0), jumps=forward)
    every.fit(cells(np.ones(len(clone), dtype=bool), True), progress=False)
    for row in every.confidence_intervals().itertuples():
        yield [
            f"{row.source} → {row.target}, all clones",
            "",
            f"{row.rate:.3f} [{row.low:.3f}, {row.high:.3f}] per day",
            "",
        ]
    shares = ", ".join(f"{n} {p:.2f}" for n, p in zip(TYPES, every.initial_, strict=True))
    yield ["ancestors at day 0", "", shares, ""]


# Speed.


def speed(seed: int) -> tuple[list[str], Rows]:
    return ["what", "CPU-s", "ratio"], speed_rows(seed)


def speed_rows(seed: int) -> Rows:
    process, times = FlashingRatchet().process(), np.linspace(0, 2.5, 100)
    q, g = process.generator.numpy(), np.random.default_rng(seed)
    rates = -np.diag(q)
    target = np.cumsum(np.where(np.eye(6, dtype=bool), 0, q) / rates[:, None], axis=1)
    first = np.cumsum(process.start_distribution().numpy())
    for stop, name in ((2.5, "5 jumps"), (45.0, "100 jumps")):
        grid, n = np.linspace(0, stop, 100), 500
        began = time.process_time()
        for _ in range(n):
            loop_path(g, first, rates, target, grid)
        loop = 100_000 / n * (time.process_time() - began)
        yield [f"a Python loop over jumps, 100,000 paths of {name} ({n} run)", f"{loop:.1f}", ""]
        began = time.process_time()
        simulate(process, None, grid, n_paths=100_000, seed=seed)
        ours = time.process_time() - began
        yield ["simulate, at 100 times", f"{ours:.2f}", f"{loop / ours:.0f}"]
        began = time.process_time()
        for k in range(10):
            simulate_events(process, 10_000, stop, seed + k)
        ours = time.process_time() - began
        yield ["simulate_events, every jump", f"{ours:.2f}", f"{loop / ours:.0f}"]
    panels = []
    for k in range(30):
        run = simulate(process, None, times, n_paths=300, seed=seed + k)
        panels.append(
            panel_counts(di.Paths(times=[times] * 300, states=list(run.states.numpy())), 6)
        )
    began, clock = time.process_time(), time.perf_counter()
    fit = fit_panel(stack_counts(panels))
    many, clock = time.process_time() - began, time.perf_counter() - clock
    began = time.process_time()
    for counts in panels:
        fit_panel(counts)
    one = time.process_time() - began
    errors = [rmse(found.numpy(), q) for found in fit.generator]
    yield [
        f"30 panel fits side by side, with curvature (RMSE {spread(errors)}; {clock:.1f} s by the clock)",
        f"{many:.2f}",
        "",
    ]
    yield ["the same one after another", f"{one:.2f}", f"{one / many:.1f}"]


def loop_path(
    g, first: np.ndarray, rates: np.ndarray, target: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """One path, jump by jump, read at the times."""
    state, clock = int(np.searchsorted(first, g.random() * first[-1], side="right")), 0.0
    moments, visited = [0.0], [state]
    while clock < times[-1]:
        clock += g.exponential(1 / rates[state])
        state = int(np.searchsorted(target[state], g.random(), side="right"))
        moments.append(clock)
        visited.append(state)
    return np.asarray(visited)[np.searchsorted(moments, times, side="right") - 1]


TABLES = {
    "ratchet": ratchet,
    "channel": channel,
    "levels": levels,
    "clones": clones,
    "speed": speed,
}


def main() -> None:
    parser = parser_of(TABLES, __doc__)
    parser.add_argument("--seed", type=int, default=0)
    print_tables(parser, TABLES, of_data=("ratchet", "channel", "clones"))


if __name__ == "__main__":
    main()
