"""Doors of pictures: what goes in, what was learned, and what comes out."""

from fuzz import values
from fuzz.door import Argument, Door, of_kind, options

BASIS = {"basis": ("'pca'", values.key)}


def doors() -> dict[str, Door]:
    made = _of_runs() | _of_models() | _of_tables()
    return {
        f"plotting.{name}": Door(f"str(di.pl.{name}({{a}}))", {"a": made[name]}) for name in made
    }


def _of_runs() -> dict[str, dict[str, Argument]]:
    cells, run = ("adata()", values.cells), ("runs()", values.scalar)
    day = of_kind(values.key, "time_key", "'day'") | {"use_rep": (None, values.representation)}
    shown = {"0": cells, "1": run} | BASIS | day
    alone = ("trajectories()", values.scalar)
    moved = options("components n_paths time_unit n_neighbors seed")
    color = {"color": (None, values.key)}
    return {
        "mass": {"0": alone, "data": ("snapshots()", values.scalar)} | options("time_unit"),
        "marginals": shown
        | {"times": (None, values.times)}
        | options("hold_out components time_unit n_neighbors"),
        "trajectories": shown | moved | color,
        "animation": shown | moved | color | options("fps"),
        "predicted": {"0": cells, "1": run, "2": ("1.0", values.scalar)} | day,
        "fan": {"0": alone} | options("feature color time_unit"),
    }


def _of_models() -> dict[str, dict[str, Argument]]:
    model = ("read_by_keys('ActionMatching')", values.scalar)
    cells = ("adata()", values.cells)
    shown = {"0": model, "1": cells} | BASIS
    of_paths = {"0": ("fitted('FractionalSDE')", values.scalar), "1": ("paths()", values.scalar)}
    growing = shown | {"0": ("growing()", values.scalar)}
    return {
        "history": {"0": model, "terms": (None, values.times)},
        "stream": shown | options("time components density"),
        "landscape": shown | options("time components kind n_neighbors"),
        "potential": shown | options("time components n_neighbors"),
        "growth": growing | options("components n_times n_neighbors seed"),
        "forecasts": of_paths
        | {"paths": (None, values.times)}
        | options("feature past_fraction n_samples time_unit seed", n_samples="4"),
    }


def _of_tables() -> dict[str, dict[str, Argument]]:
    unit = options("time_unit")
    return {
        "evaluation": {"0": ("scores()", values.table)} | options("metric") | unit,
        "comparison": {"0": ("compared()", values.table)} | options("metric"),
        "sankey": {"0": ("label_flows()", _table_of("flows"))} | options("colors min_share") | unit,
        "fate_bars": {"0": ("fate_table()", _table_of("fates"))} | options("color") | unit,
        "fate_triangle": {"0": ("fated()", values.cells), "fates": (None, values.times)}
        | options("color"),
        "heatmap": {"0": ("gene_trends()", _table_of("trends"))} | options("fate") | unit,
        "trends": {"0": ("gene_trends()", _table_of("trends"))} | unit,
        "rates": {"0": ("rate_table()", _table_of("rates"))} | unit,
    }


TABLES = {
    "flows": "label_flows()",
    "fates": "fate_table()",
    "trends": "gene_trends()",
    "rates": "rate_table()",
}


def _table_of(name: str) -> values.Draw:
    """Tables of one kind in odd forms; now and then one of another kind."""

    def draw(rng):
        plain = TABLES[name] if rng.random() < 0.85 else rng.choice(list(TABLES.values()))
        return values.odd_table(rng, plain)

    return draw
