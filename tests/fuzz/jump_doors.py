"""Doors of tables of jump processes, and of their pictures."""

from fuzz import values
from fuzz.door import Argument, Door, options

DRAWS = options("level n_samples seed", n_samples="20")
MODELS = ("fitted('MarkovJumpInference')", values.scalar)


def doors() -> dict[str, Door]:
    made = _of_processes() | _of_paths()
    tools = {f"tools.{name}": Door(f"str(di.tl.{name}({{a}}))", {"a": made[name]}) for name in made}
    return tools | _pictures()


def _of_processes() -> dict[str, dict[str, Argument]]:
    model = {"0": ("chain()", values.scalar)}
    learned = {"0": MODELS}
    state = {"1": ("'0'", values.times)}
    start = {"start": (None, values.times)}
    return {
        "sojourn_times": learned | DRAWS,
        "next_states": learned | DRAWS,
        "length_of_stay": learned | options("until") | start | DRAWS,
        "first_passage": learned | state | start | DRAWS,
        "transition_probabilities": model | {"1": ("1.5", values.scalar)} | options("start_time"),
        "survival": learned | state | {"2": ("[1, 2]", values.times)} | start | DRAWS,
        "transition_paths": learned
        | state
        | {"2": ("'2'", values.times)}
        | options("share")
        | DRAWS,
        "likelihood_ratio": {"0": MODELS, "1": MODELS},
        "information_criteria": {"0": ("[fitted('MarkovJumpInference')]", values.times)}
        | options("n"),
    }


def _of_paths() -> dict[str, dict[str, Argument]]:
    data = {"0": ("labels()", values.scalar)}
    of_model = {"0": MODELS, "1": ("labels()", values.scalar), "times": (None, values.times)}
    counts = "pd.DataFrame([[5, 1], [3, 3]], index=[0, 2])"
    return {
        "prevalence": of_model | options("interpolation followed_until") | DRAWS,
        "implied_timescales": data
        | {"lags": (None, values.times)}
        | options("model reversible")
        | DRAWS,
        "chapman_kolmogorov": data
        | {"1": ("0.5", values.scalar)}
        | options("n_multiples model reversible")
        | DRAWS,
        "fit_state_counts": {"0": (counts, values.table)}
        | options("jumps prior_width max_steps", max_steps="20"),
    }


def _pictures() -> dict[str, Door]:
    tables = {
        "prevalence": "di.tl.prevalence(chain(), labels())",
        "implied_timescales": "di.tl.implied_timescales(labels(), [0.5, 1.0], n_samples=20)",
        "chapman_kolmogorov": "di.tl.chapman_kolmogorov(labels(), 0.5, n_samples=20)",
    }

    def odd(plain: str) -> values.Draw:
        return lambda rng: values.odd_table(rng, plain)

    return {
        f"plotting.{name}": Door(
            f"str(di.pl.{name}({{a}}))",
            {"a": {"0": (table, odd(table))} | options("time_unit")},
        )
        for name, table in tables.items()
    }
