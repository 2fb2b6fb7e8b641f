"""Speed of jump processes: hidden states beside hmmlearn, panels and simulation beside deeptime.

Run: OMP_NUM_THREADS=1 python tests/benchmarks/bench_hidden.py [--rounds 9] [--smallest]

hmmlearn and deeptime are no dependencies; a table whose package is missing is left out. Times are CPU seconds of one
thread. Every round runs every variant once, in turn; a ratio is the median over the rounds of the ratio within a round.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.linalg import expm, logm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder that `benchmarks` is in

from benchmarks.timing import Ratios, interleaved, parser_of, ratio

import dyninfer as di
from dyninfer.jumps import (
    GaussianEmission,
    HiddenPaths,
    HiddenProblem,
    PanelPairs,
    RateScheme,
    fit_hidden,
    fit_panel,
    panel_counts,
)
from dyninfer.jumps.posterior.panel_objective import PanelObjective

GAP, NOISE = 0.1, 0.3
SHAPES = ((1, 1_000), (300, 100), (1, 100_000))
Variants = dict[str, Callable[[], float]]


def rates_of(n_states: int) -> np.ndarray:
    """A generator whose rates are all well positive: every transition matrix nearby has one."""
    rates = np.random.default_rng(0).uniform(0.5, 1.5, (n_states, n_states))
    return rates - np.diag(rates.sum(1))


def recordings(n_states: int, n: int, length: int) -> list[np.ndarray]:
    """Noisy levels 0, 1, ... of simulated paths."""
    process = di.MarkovJump(rates_of(n_states))
    states = di.simulate(process, None, GAP * np.arange(length), n_paths=n, seed=0).states.numpy()
    return list(states + NOISE * np.random.default_rng(1).normal(size=states.shape))


def taking_turns(variants: Variants, rounds: int) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """CPU-seconds ``(rounds,)`` of every variant, and what it returned."""
    values: dict[str, float] = {}

    def noted(name: str) -> Callable[[], None]:
        def job() -> None:
            values[name] = variants[name]()

        return job

    seconds = interleaved({name: noted(name) for name in variants}, rounds)
    return seconds, values


def hidden(rounds: int, smallest: bool, ratios: Ratios) -> None:
    from hmmlearn.hmm import GaussianHMM

    warnings.filterwarnings("ignore", module="hmmlearn")
    print(
        "\n| states | recording | ours, ms | hmmlearn, ms | ratio | log L, ours | ours − hmmlearn |"
    )
    print("|---|---|---|---|---|---|---|")
    for n_states in (2,) if smallest else (2, 3, 6):
        for n, length in SHAPES[:1] if smallest else SHAPES:
            signal = recordings(n_states, n, length)
            times = [GAP * np.arange(length)] * n
            data = HiddenPaths.of(di.Paths(times=times, states=signal))
            start = 1.3 * rates_of(n_states)
            levels = np.arange(n_states) + 0.1
            emission = GaussianEmission.of(levels, np.full(n_states, NOISE + 0.1))
            problem = HiddenProblem(data, emission, RateScheme.free(n_states))
            stacked = np.concatenate(signal)[:, None]

            def ours(problem=problem, start=start) -> float:
                return float(fit_hidden(problem, torch.from_numpy(start)).log_likelihood)

            def theirs(stacked=stacked, start=start, levels=levels, n=n, length=length) -> float:
                model = GaussianHMM(
                    len(start),
                    n_iter=2_000,
                    tol=1e-6,
                    init_params="",
                    implementation="scaling",
                    covars_prior=0,
                    covars_weight=0,
                    means_weight=0,
                    min_covar=0,
                )
                model.startprob_ = np.full(len(start), 1 / len(start))
                model.transmat_ = expm(GAP * start)
                model.means_ = levels[:, None]
                model.covars_ = np.full((len(start), 1), (NOISE + 0.1) ** 2)
                model.fit(stacked, [length] * n)
                return model.monitor_.history[-1]

            seconds, value = taking_turns({"ours": ours, "theirs": theirs}, rounds)
            against = ratios.add(
                f"hidden states, {n_states} states, {n} x {length} / hmmlearn",
                ratio(seconds, "ours", "theirs"),
            )
            print(
                f"| {n_states} | {n} × {length:,} | {1e3 * np.median(seconds['ours']):.1f} "
                f"| {1e3 * np.median(seconds['theirs']):.1f} | {against:.2f} "
                f"| {value['ours']:.4f} | {value['ours'] - value['theirs']:.1e} |",
                flush=True,
            )


def frames(rounds: int, smallest: bool, ratios: Ratios) -> None:
    """A generator from equal frames of one path, whose transitions deeptime counts too."""
    from deeptime.markov import TransitionCountEstimator
    from deeptime.markov.msm import MaximumLikelihoodMSM

    n_frames = 10_000 if smallest else 1_000_000
    times = GAP * np.arange(n_frames)
    process = di.MarkovJump(rates_of(3))
    states = di.simulate(process, None, times, n_paths=1, seed=0).states.numpy()[0]
    paths = di.Paths(times=[times], states=[states])
    labels = states.astype(np.int32)

    def ours() -> float:
        model = di.MarkovJumpInference(observation=di.ExactLabels())
        return float(model.fit(paths, progress=False).generator_[0, 1])

    def counted() -> float:
        return float(fit_panel(panel_counts(paths)).generator[0, 1])

    def theirs() -> float:
        counts = TransitionCountEstimator(lagtime=1, count_mode="sliding").fit_fetch(labels)
        msm = MaximumLikelihoodMSM(reversible=False).fit_fetch(counts)
        return float(logm(msm.transition_matrix)[0, 1].real / GAP)

    variants = {"the estimator": ours, "panel_counts and fit_panel": counted, "deeptime": theirs}
    seconds, value = taking_turns(variants, rounds)
    print(f"\n| {n_frames:,} frames, 3 states | ms | / deeptime | rate 0 → 1 |")
    print("|---|---|---|---|")
    for name, of_variant in seconds.items():
        against = ratio(seconds, name, "deeptime")
        if name != "deeptime":
            ratios.add(f"{n_frames} frames, {name} / deeptime", against)
        milliseconds = 1e3 * np.median(of_variant)
        print(f"| {name} | {milliseconds:.1f} | {against:.2f} | {value[name]:.6f} |")


def pairs(rounds: int, smallest: bool, ratios: Ratios) -> None:
    """A birth-death process of 50 states whose waiting times are all different."""
    n_states, n_paths, length = (5, 5, 20) if smallest else (50, 200, 99)
    scheme = RateScheme.birth_death(n_states)
    process = di.MarkovJump(scheme.generator(torch.zeros(scheme.n_parameters).double()))
    rng = np.random.default_rng(0)
    times = [np.cumsum(rng.uniform(0.05, 1.0, length)) for _ in range(n_paths)]
    runs = [di.simulate(process, None, t, n_paths=1, seed=k) for k, t in enumerate(times)]
    states = [run.states.numpy()[0] for run in runs]
    paths = di.Paths(times=times, states=states, state_names=process.state_names)
    one_by_one = PanelPairs.of(paths, n_states)
    objective = PanelObjective(one_by_one, scheme, None)
    start = one_by_one.crude_generator(scheme.allowed, least=0.5)
    theta = scheme.parameters_of(start).numpy()
    variants = {
        "one gradient": lambda: objective.at(theta).value,
        "fit": lambda: float(fit_panel(one_by_one, scheme).log_likelihood),
    }
    seconds, value = taking_turns(variants, rounds)
    print(f"\n| {len(one_by_one.wait):,} pairs, {n_states} states | ms | log L |")
    print("|---|---|---|")
    for name, of_variant in seconds.items():
        print(f"| {name} | {1e3 * np.median(of_variant):.0f} | {value[name]:.4f} |")


def simulation(rounds: int, smallest: bool, ratios: Ratios) -> None:
    """One long path beside a plain loop in Python that does the least there is to do."""
    n_steps = 1_000 if smallest else 100_000
    rates = rates_of(2)
    process = di.MarkovJump(rates)
    times = GAP * np.arange(n_steps)
    stays = np.diagonal(expm(GAP * rates)).tolist()
    waits = (-1 / np.diagonal(rates)).tolist()

    def steps() -> float:
        state, states = 0, []
        for u in np.random.default_rng(0).random(n_steps).tolist():
            if u > stays[state]:
                state = 1 - state
            states.append(state)
        return float(np.mean(states))

    def jumps() -> float:
        rng = np.random.default_rng(0)
        state, clock, clocks = 0, 0.0, []
        for wait in rng.exponential(size=2 * n_steps).tolist():
            clock += wait * waits[state]
            if clock > times[-1]:
                break
            state = 1 - state
            clocks.append(clock)
        return float(len(clocks))

    def ours(solver: str) -> float:
        run = di.simulate(process, None, times, n_paths=1, seed=0, solver=solver)
        return float(run.states.double().mean())

    variants = {
        "Skeleton()": lambda: ours("skeleton"),
        "a loop over the steps": steps,
        "Gillespie()": lambda: ours("gillespie"),
        "a loop over the jumps": jumps,
    }
    seconds, _ = taking_turns(variants, rounds)
    for name, loop in (("Skeleton()", "steps"), ("Gillespie()", "jumps")):
        of_loop = f"a loop over the {loop}"
        ratios.add(f"one long path, {name} / {of_loop}", ratio(seconds, name, of_loop))
    print(f"\n| one path, {n_steps:,} times | ms |")
    print("|---|---|")
    for name, of_variant in seconds.items():
        print(f"| {name} | {1e3 * np.median(of_variant):.1f} |")


TABLES = {"hidden": hidden, "frames": frames, "pairs": pairs, "simulation": simulation}


def main() -> None:
    parser = parser_of(__doc__, 9)
    parser.add_argument("tables", nargs="*", default=list(TABLES), help=f"of {', '.join(TABLES)}")
    options = parser.parse_args()
    rounds = 1 if options.smallest else options.rounds
    ratios = Ratios("jump processes")
    for name in options.tables:
        try:
            TABLES[name](rounds, options.smallest, ratios)
        except ImportError as error:
            print(f"\n{name}: left out, {error}")
    ratios.write(options.json)


if __name__ == "__main__":
    main()
