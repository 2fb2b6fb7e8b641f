"""Speed of jump processes: hidden states beside hmmlearn, panels and simulation beside deeptime.

Run: OMP_NUM_THREADS=1 python tests/benchmarks/bench_hidden.py [--rounds 9] [--smallest]

hmmlearn and deeptime are no dependencies; a table whose package is missing is left out. Times are CPU seconds of one
thread. Every round runs every variant once, in turn; a ratio is the median over the rounds of the ratio within a round.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from scipy.linalg import expm

import dyninfer as di
from dyninfer.jumps import GaussianEmission, HiddenPaths, HiddenProblem, RateScheme, fit_hidden

torch.set_num_threads(1)

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


def interleaved(variants: Variants, rounds: int) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """CPU seconds ``(rounds,)`` of every variant, and what it returned."""
    # Once before the clock: imports, compiled code.
    values = {name: run() for name, run in variants.items()}
    seconds = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            began = time.process_time()
            run()
            seconds[name].append(time.process_time() - began)
    return {name: np.array(row) for name, row in seconds.items()}, values


def hidden(rounds: int, smallest: bool) -> None:
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

            seconds, value = interleaved({"ours": ours, "theirs": theirs}, rounds)
            ratio = np.median(seconds["ours"] / seconds["theirs"])
            print(
                f"| {n_states} | {n} × {length:,} | {1e3 * np.median(seconds['ours']):.1f} "
                f"| {1e3 * np.median(seconds['theirs']):.1f} | {ratio:.2f} "
                f"| {value['ours']:.4f} | {value['ours'] - value['theirs']:.1e} |",
                flush=True,
            )


TABLES = {"hidden": hidden}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("tables", nargs="*", default=list(TABLES), help=f"of {', '.join(TABLES)}")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--smallest", action="store_true", help="does it run? numbers mean nothing")
    options = parser.parse_args()
    for name in options.tables:
        try:
            TABLES[name](1 if options.smallest else options.rounds, options.smallest)
        except ImportError as error:
            print(f"\n{name}: left out, {error}")


if __name__ == "__main__":
    main()
