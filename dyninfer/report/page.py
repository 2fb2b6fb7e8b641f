"""The page itself: HTML with its style and pictures inside."""

from __future__ import annotations

import base64
import io
import os
import platform
from collections.abc import Sequence
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from dyninfer.report.verdict import METRICS, main_metric, verdict, written_time

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from dyninfer.estimators import SnapshotEstimator

PACKAGES = (
    "dyninfer",
    "torch",
    "numpy",
    "scipy",
    "pandas",
    "anndata",
    "scanpy",
    "scikit-learn",
    "POT",
    "torchdiffeq",
    "torchsde",
    "safetensors",
    "xarray",
    "zarr",
    "h5netcdf",
    "matplotlib",
)
STYLE = """
body{font:16px/1.55 system-ui,sans-serif;color:#222;max-width:56rem;margin:2.5rem auto;padding:0 1.2rem}
h1{font-size:1.7rem;line-height:1.25;margin-bottom:.3rem} h2{font-size:1.15rem;margin-top:2.4rem}
.lead{border-left:4px solid #d55e00;background:#fff7f1;padding:.7rem 1.1rem;margin:1.4rem 0}
.lead p{margin:.4rem 0} .quiet{color:#666;font-size:.9rem}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums;margin:.6rem 0}
th,td{padding:.28rem .75rem;text-align:right;border-bottom:1px solid #e6e6e6}
th{color:#555;font-weight:600;vertical-align:bottom} th:first-child,td:first-child{text-align:left}
.plain td,.plain th{text-align:left} tr.held td{background:#fff1e6;font-weight:600}
figure{margin:1.6rem 0} img{max-width:100%} figcaption{color:#444;font-size:.92rem}
pre{background:#f5f5f5;padding:.8rem;overflow-x:auto;font-size:.82rem}
"""


def write_report(
    path: str | os.PathLike[str],
    model: SnapshotEstimator,
    evaluation: pd.DataFrame,
    figures: Sequence[tuple[str, Figure | Path]] = (),
    *,
    title: str = "What was learned, and how good it is",
    introduction: Sequence[str] = (),
    long_run: pd.DataFrame | None = None,
    time_unit: str = "",
    references: Sequence[str] = (),
    seconds: float | None = None,
) -> Path:
    """Write the report.

    Parameters
    ----------
    path : path
        The HTML file; nothing else is needed to read it, no network either.
    model : SnapshotEstimator
        Fitted.
    evaluation : DataFrame
        From ``model.evaluate``, with the columns of :func:`add_interpolation` if there are any. Whether the model beats a
        baseline is said from these numbers.
    figures : pairs of caption and matplotlib Figure, or path of a PNG
        Pictures in the order of the report.
    title : str
    introduction : sequence of str
        Paragraphs on the data and the question.
    long_run : DataFrame, optional
        From ``model.evaluate(..., start="first")``.
    time_unit : str
        Unit of time.
    references : sequence of str
        What to cite beside the method.
    seconds : float, optional
        Time everything took.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"folder {str(path.parent)!r} does not exist; make it first")
    metric = main_metric(evaluation)
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p class='quiet'>{escape(type(model).__name__)}, dyninfer {version('dyninfer')}</p>",
        _paragraphs(introduction),
        f"<div class='lead'>{_paragraphs(verdict(model, evaluation, time_unit))}</div>",
        "<h2>Pictures</h2>" if figures else "",
        *(_figure(k, caption, picture) for k, (caption, picture) in enumerate(figures, 1)),
        "<h2>How far the simulated population is from the observed one</h2>",
        _paragraphs(_explanation(evaluation)),
        _metrics_table(evaluation, metric, time_unit),
        _other_metrics(evaluation, metric, time_unit),
        _long_run(long_run, metric, time_unit),
        "<h2>What was fitted</h2>",
        _two_columns(_facts(model, time_unit, seconds)),
        "<h2>Settings</h2>",
        _two_columns(_settings(model)),
        "<h2>To cite</h2>",
        "".join(f"<p>{escape(text)}</p>" for text in references),
        f"<pre>{escape(model.cite())}</pre>",
        "<h2>Versions</h2>",
        _two_columns(versions()),
    ]
    head = f"<meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>{escape(title)}</title>"
    text = f"<!doctype html>\n<html lang='en'><head>{head}<style>{STYLE}</style></head><body>\n"
    partial = path.with_name(path.name + ".partial")
    partial.write_text(
        text + "\n".join(p for p in parts if p) + "\n</body></html>\n", encoding="utf-8"
    )
    os.replace(partial, path)
    return path


def versions() -> dict[str, str]:
    """Versions of Python, the platform and the packages that matter, for reports and bug reports."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _explanation(table: pd.DataFrame) -> list[str]:
    ot = any(column.endswith("_ot") for column in table)
    return [
        "At every time, the cells observed at the time before are moved forward by the model and compared with the cells "
        "observed then; smaller is better. “Floor” is the distance between two random halves of the observed "
        "cells: a perfect model scores about that (the halves are smaller than the sample, so a good model can score "
        "less). “Unmoved” is the distance of the starting cells themselves: a model that does not beat it has learned "
        "nothing about that interval."
        + (
            " “OT” is straight-line interpolation by exact optimal transport between the neighbouring times."
            if ot
            else ""
        )
    ]


def _metrics_table(table: pd.DataFrame, metric: str, time_unit: str) -> str:
    ot = [f"{metric}_ot"] if f"{metric}_ot" in table else []
    columns = ["start", "n_y", metric, f"{metric}_floor", f"{metric}_still", *ot]
    names = ["from", "cells", METRICS[metric], "floor", "unmoved", "OT"][: len(columns)]
    return _table(table, columns, names, time_unit)


def _other_metrics(table: pd.DataFrame, metric: str, time_unit: str) -> str:
    others = [name for name in METRICS if name in table and name != metric]
    if not others:
        return ""
    columns = [c for name in others for c in (name, f"{name}_floor", f"{name}_still")]
    names = [n for name in others for n in (METRICS[name], "floor", "unmoved")]
    return f"<details><summary>Other metrics</summary>{_table(table, columns, names, time_unit)}</details>"


def _long_run(table: pd.DataFrame | None, metric: str, time_unit: str) -> str:
    if table is None:
        return ""
    start = written_time(table["start"].iloc[0], time_unit)
    text = f"The same with every simulation started from the cells of {start}, as the trajectories are."
    columns = [metric, f"{metric}_floor", f"{metric}_still"]
    names = [METRICS[metric], "floor", f"cells of {start}, unmoved"]
    return _paragraphs([text]) + _table(table, columns, names, time_unit)


def _table(
    table: pd.DataFrame, columns: Sequence[str], names: Sequence[str], time_unit: str
) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in ("time", *names))
    body = []
    for _, row in table.iterrows():
        held = bool(row["held_out"])
        cells = [written_time(row["time"], time_unit) + (", held out" if held else "")]
        cells += [
            written_time(row[c], time_unit) if c == "start" else _number(row[c]) for c in columns
        ]
        body.append(
            f"<tr{' class=held' if held else ''}>{''.join(f'<td>{escape(c)}</td>' for c in cells)}</tr>"
        )
    return f"<table><tr>{head}</tr>{''.join(body)}</table>"


def _facts(model: SnapshotEstimator, time_unit: str, seconds: float | None) -> dict[str, str]:
    history = cast(Any, model.history_)
    sizes = ", ".join(
        f"{written_time(t, time_unit)}: {n}"
        for t, n in zip(model.times_, model.sizes_, strict=True)
    )
    held = ", ".join(written_time(t, time_unit) for t in model.hold_out_) or "none"
    facts = {
        "method": type(model).__name__,
        "cells at each time of the fit": sizes,
        "held out before anything was computed": held,
        "features": f"{model.n_features_in_} ({model.source_.get('use_rep', 'as given')})",
        "training": f"{model.status_} after {history['step'].max():.0f} steps",
        "seed": str(model.seed_),
    }
    if "seconds" in history:
        facts["time for training"] = f"{history['seconds'].max():.0f} s"
    if seconds is not None:
        facts["time for everything"] = f"{seconds:.0f} s"
    return facts


def _settings(model: SnapshotEstimator) -> dict[str, str]:
    own = {k: str(v) for k, v in model.get_params(deep=False).items() if k != "training"}
    return own | {
        f"training.{k}": str(v) for k, v in model.training_.get_params(deep=False).items()
    }


def _figure(number: int, caption: str, picture: Figure | Path) -> str:
    if isinstance(picture, Path):
        png = picture.read_bytes()
    else:
        buffer = io.BytesIO()
        picture.savefig(buffer, format="png", dpi=140)
        png = buffer.getvalue()
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    text = escape(caption)
    return f"<figure><img alt='{text}' src='{source}'><figcaption>Figure {number}. {text}</figcaption></figure>"


def _two_columns(rows: dict[str, str]) -> str:
    body = "".join(f"<tr><td>{escape(k)}</td><td>{escape(v)}</td></tr>" for k, v in rows.items())
    return f"<table class='plain'>{body}</table>"


def _paragraphs(texts: Sequence[str]) -> str:
    return "".join(f"<p>{escape(text)}</p>" for text in texts)


def _number(value: Any) -> str:
    value = float(value)
    return (
        "–"
        if not np.isfinite(value)
        else f"{value:.0f}"
        if value == round(value) and value >= 10
        else f"{value:.3f}"
    )
