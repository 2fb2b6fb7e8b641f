"""Doors of what calls fits for a question: tools, weighing of cells, report, checks of estimators."""

import dyninfer as di
from fuzz import values
from fuzz.door import Argument, Door, of_kind, options, settings

KEYS = of_kind(values.key, "mass_key weight_key condition_key growth_key")
MODEL = "di.ActionMatching(width=4, depth=1)"


def doors() -> dict[str, Door]:
    return _tools() | _weighing() | _report() | _testing() | _reading()


def _scored() -> dict[str, Argument]:
    """Arguments that compare and tune share."""
    data = {"data": ("snapshots()", values.cells), "time_key": (None, values.key)}
    plain = {"max_steps": "1", "progress": "False"}
    names = "max_steps seed executor checkpoint progress hold_out"
    return data | {"use_rep": (None, values.representation)} | KEYS | options(names, **plain)


def _tools() -> dict[str, Door]:
    compared = _scored() | options(
        "estimators n_repeats n_folds path_key baselines metrics max_samples",
        estimators=MODEL,
        baselines="['still']",
        metrics="['w1']",
    )
    of_paths = {"data": ("paths()", values.scalar)} | options(
        "n_folds hold_out baselines metrics max_samples seed state_key condition_key mass_key",
        n_folds="2",
        baselines="['random_walk']",
        metrics="['crps']",
    )
    tuned = _scored() | options(
        "estimator search_space n_subsamples max_cells n_folds path_key",
        estimator=MODEL,
        search_space="{'sigma': [{'sigma': 0.1}]}",
        n_subsamples="1",
    )
    tuned_paths = {"data": ("paths()", values.scalar)} | options(
        "search_space n_folds hold_out max_cells seed state_key condition_key",
        search_space="{}",
        n_folds="2",
    )
    table = {"0": ("compared()", values.table), "metric": (None, values.scalar)}
    growth = {"0": ("genes()", values.cells)} | options(
        "organism proliferation apoptosis layer gene_key days_per_unit"
    )
    examined = {"0": ("adata()", values.cells), "time_key": (None, values.key)}
    examined |= {"use_rep": (None, values.representation)} | KEYS
    model = "read_by_keys('ActionMatching')"
    lineage = {
        "0": (model, values.scalar),
        "1": ("adata()", values.cells),
        "2": ("adata().obs['day'] == 1", values.scalar),
    } | options("at n_draws n_neighbors noise seed", n_draws="2")
    flows = lineage | {"2": ("'state'", values.key)}
    return {
        "tools.compare": Door("di.tl.compare({a})", {"a": compared}),
        "tools.compare paths": Door("di.tl.compare(estimators=[], {a})", {"a": of_paths}),
        "tools.doctor": Door("str(di.tl.doctor({a}))", {"a": examined}),
        "tools.tune": Door("di.tl.tune({a}).table", {"a": tuned}),
        "tools.tune paths": Door("di.tl.tune({a}).table", {"a": tuned_paths}),
        "tools.descendants": Door("di.tl.descendants({a})", {"a": lineage}),
        "tools.ancestors": Door("di.tl.ancestors({a})", {"a": lineage}),
        "tools.flows": Door("di.tl.flows({a})", {"a": flows}),
        "tools.recommend": Door("str(di.tl.recommend({a}))", {"a": table}),
        "tools.score_growth": Door("di.tl.score_growth({a})", {"a": growth}),
    }


def _weighing() -> dict[str, Door]:
    code = (
        "di.ActionMatching(width=4, depth=1, growth_penalty=1.0, "
        "coupling=di.GrowthFirstCoupling(weigh=di.{name}({{a}}))).fit(adata(), time_key='day', "
        "max_steps=1, progress=False, {{b}})"
    )
    keys = {"growth_key": (None, values.key), "weight_key": (None, values.key)}
    made = {}
    for name in ("DensityRatio", "UnbalancedWeights"):
        groups = {"a": settings(getattr(di, name)), "b": keys}
        made[name] = Door(code.format(name=name), groups)
    return made


def _report() -> dict[str, Door]:
    model, data = ("fitted('ActionMatching')", values.scalar), ("snapshots()", values.cells)
    table = ("scores()", values.table)
    page = {"0": ("'page.html'", values.file), "1": model, "2": table} | options(
        "figures title introduction long_run time_unit references seconds"
    )
    shown = {"0": model, "1": data, "2": table} | options("time_unit seed")
    judged = {"0": model, "1": table} | options("time_unit")
    return {
        "report.write_report": Door("str(report.write_report({a}))", {"a": page}),
        "report.pictures": Door("len(report.pictures({a}))", {"a": shown}),
        "report.verdict": Door("report.verdict({a})", {"a": judged}),
        "report.belief": Door("report.belief({a})", {"a": judged}),
    }


def _testing() -> dict[str, Door]:
    size = options("seed n d")
    return {
        # The whole battery of checks takes minutes; which of them apply is asked first.
        "testing.checks_of": Door(
            "len(testing.checks_of({a}))", {"a": {"0": (MODEL, values.scalar)}}
        ),
        "testing.examples": Door(
            "[testing.example_data({a}), testing.example_paths({b})]",
            {"a": size, "b": size | options("length")},
        ),
    }


def _reading() -> dict[str, Door]:
    curve = {"0": ("lambda t, n: t[:, None] + torch.zeros(n, 2)", values.scalar)}
    curve |= {"times": ("(0, 1)", values.times)} | options("features")
    return {
        "DensityCurve": Door(
            f"{MODEL}.fit(di.DensityCurve({{a}}), max_steps=1, progress=False)",
            {"a": curve},
        ),
        "read_times": Door(
            "len(di.read_times({a}))",
            {"a": {"0": ("['day 1', 'day 3']", values.times)} | options("unit birth")},
        ),
    }
