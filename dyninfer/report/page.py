"""The page itself: a template, filled with plain data, with its pictures inside."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dyninfer.learning.files import as_path, write_file
from dyninfer.learning.settings import brief, is_number
from dyninfer.report import path_tables, tables
from dyninfer.report.belief import belief
from dyninfer.report.checks import (
    check_figures,
    check_model,
    check_scores,
    check_text,
    check_texts,
)
from dyninfer.report.scene import Scene
from dyninfer.report.verdict import verdict
from dyninfer.report.versions import versions

if TYPE_CHECKING:
    import pandas as pd
    from jinja2 import Template
    from matplotlib.figure import Figure

    from dyninfer.estimators import Estimator

# Three pixels or so for every point of the page's width: sharp on screens of double density too.
DPI = 140


def write_report(
    path: str | os.PathLike[str],
    model: Estimator,
    evaluation: pd.DataFrame,
    figures: Sequence[tuple[str, Figure | Path | Scene]] = (),
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
    model : Estimator
        Fitted, to snapshots or to paths. Of paths, the page has forecasts, and rates or the memory
        of the noise with their intervals.
    evaluation : DataFrame
        From ``model.evaluate``, with any of its baselines. Whether the model beats a baseline is
        said from these numbers.
    figures : pairs of caption and matplotlib Figure, path of a PNG, or Scene
        Pictures in the order of the report; a :class:`~dyninfer.report.Scene` answers to the
        pointer, and has a slider of time.
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

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    FileNotFoundError
        If the folder or a picture does not exist.
    KeyError, TypeError, ValueError
        If the model is not fitted, or another argument is not of its kind.
    """
    path = as_path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"folder {str(path.parent)!r} does not exist; make it first")
    check_model(model)
    check_text(title, "title")
    check_text(time_unit, "time_unit")
    introduction = check_texts(introduction, "introduction")
    references = check_texts(references, "references")
    if seconds is not None and not is_number(seconds):
        raise TypeError(f"seconds must be a number, found {brief(seconds)}")
    pictures = []
    for caption, picture in check_figures(figures):
        entry = {"caption": caption, "scene": None, "png": None}
        if isinstance(picture, Scene):
            entry["scene"] = picture.json()
        else:
            entry["png"] = _base64_png(picture)
        pictures.append(entry)
    # The whole table is checked before anything is written of it.
    sentences = belief(model, evaluation, time_unit)
    if tables.is_of_paths(model):
        if long_run is not None:
            raise ValueError(
                "long_run is for models of snapshots, and this one is of paths; leave it out"
            )
        scores = _path_scores(model, evaluation)
    else:
        scores = _population_scores(model, evaluation, long_run, time_unit)
    # What a reader needs to make the page again.
    origin = {
        "facts": tables.facts(model, time_unit, seconds),
        "settings": tables.settings(model),
        "references": references,
        "citation": model.cite(),
        "versions": versions(),
    }
    page = _template().render(
        title=title,
        method=type(model).__name__,
        introduction=introduction,
        belief=sentences,
        figures=pictures,
        has_scene=any(picture["scene"] for picture in pictures),
        **scores,
        **origin,
    )
    return write_file(path, page.encode())


def _population_scores(
    model: Any, evaluation: pd.DataFrame, long_run: pd.DataFrame | None, time_unit: str
) -> dict[str, Any]:
    """What the page says of distances between populations."""
    # One metric leads through the page; the others are folded away.
    metric = check_scores(evaluation, "evaluation")
    long_run_scores = None
    if long_run is not None:
        check_scores(long_run, "long_run")
        long_run_scores = tables.long_run_scores(long_run, metric, time_unit)
    beside_the_main = tables.leading(evaluation, metric)[1:]
    # A paragraph on every held-out time; without one, the first sentences said it all.
    details = []
    if evaluation["held_out"].any():
        details = verdict(model, evaluation, time_unit)
    return {
        "is_of_paths": False,
        "verdict": details,
        "has_interpolation": f"{metric}_ot" in evaluation,
        "has_energy": "energy" in beside_the_main,
        "main_scores": tables.main_scores(evaluation, metric, time_unit),
        "other_scores": tables.other_scores(evaluation, metric, time_unit),
        "long_run": long_run_scores,
    }


def _path_scores(model: Any, evaluation: pd.DataFrame) -> dict[str, Any]:
    """What the page says of forecasts of paths, and of what was learned."""
    return {
        "is_of_paths": True,
        "verdict": [],
        "main_scores": path_tables.path_scores(evaluation),
        "n_left_out": max(0, len(evaluation) - path_tables.MOST_PATHS),
        "learned": path_tables.learned(model),
    }


def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("dyninfer.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        # A name that the template misspells is an error, not an empty place in the page.
        undefined=StrictUndefined,
    )
    return environment.get_template("report.html")


def _base64_png(picture: Figure | Path) -> str:
    """A picture as text that a page can hold."""
    if isinstance(picture, Path):
        png = picture.read_bytes()
    else:
        buffer = io.BytesIO()
        picture.savefig(buffer, format="png", dpi=DPI)
        png = buffer.getvalue()
    return base64.b64encode(png).decode()
