"""Doors beside those of fits and runs: questions to a process, estimates of memory."""

from functools import partial

from fuzz import values
from fuzz.door import Door, options


def doors() -> dict[str, Door]:
    return _paths() | _jumps() | _memory()


def _paths() -> dict[str, Door]:
    chosen = {"0": ("[0, 1]", values.times)}
    return {
        "Paths.methods": Door(
            "[paths().at({a}), paths().split({b}), paths().without({c}), paths()[{d}]]",
            {
                "a": {"0": ("0.5", values.scalar)},
                "b": options("fraction seed", fraction="0.5"),
                "c": chosen,
                "d": chosen,
            },
        )
    }


def _jumps() -> dict[str, Door]:
    states = {"0": ("[0]", values.times)}
    return {
        "MarkovJump.times": Door(
            "[chain().transition({a}), chain().marginal({b}), chain().at({b})]",
            {"a": options("dt start", dt="0.5"), "b": {"0": ("0.5", values.scalar)}},
        ),
        "MarkovJump.states": Door(
            "[chain().mean_first_passage({a}), chain().committor({b}), chain().restrict({c}), "
            "chain().lump({d})]",
            {
                "a": states,
                "b": {"0": ("[0]", values.times), "1": ("[1]", values.times)},
                "c": {"0": ("[0, 1]", values.times)},
                "d": {"0": ("[[0], [1, 2]]", values.times), "state_names": (None, values.times)},
            },
        ),
        "MarkovJump.from_rates": Door(
            "di.MarkovJump.from_rates({a})",
            {"a": {"0": ("np.eye(2)[::-1]", partial(values.array, plain="np.eye(2)[::-1]"))}},
        ),
    }


def _memory() -> dict[str, Door]:
    walks = {"0": ("walks()", partial(values.array, plain="walks()"))}
    made = {}
    for name, more in {
        "hurst_dfa": "degree",
        "hurst_mle": "times observation_noise pooled",
        "hurst_rs": "",
        "hurst_variogram": "order",
        "hurst_whittle": "pooled",
        "msd_exponent": "max_lag dt localisation_noise pooled",
    }.items():
        made[name] = Door(f"vars(fractional.{name}({{a}}))", {"a": walks | options(more)})
    approximation = options("n_nodes horizon dt kind normalize weights hurst_range nodes")
    motion = {"0": ("0.3", values.scalar)} | options("kind normalize")
    made["MarkovApproximation"] = Door(
        "fractional.approximate_covariance(fractional.MarkovApproximation({a}), {b})",
        {
            "a": approximation,
            "b": {
                "0": ("[0.1, 0.5]", values.times),
                "1": ("torch.tensor([0.3, 0.3])", values.scalar),
            },
        },
    )
    made["FractionalBrownianMotion"] = Door(
        "fractional.FractionalBrownianMotion({a}).covariance({b})",
        {"a": motion, "b": {"0": ("[0.1, 0.5]", values.times)}},
    )
    return made
