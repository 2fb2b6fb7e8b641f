"""What is in an AnnData, what a fit would use of it, and what is missing, in words."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from dyninfer.data import keys
from dyninfer.data.columns import check_anndata, columns_like_times, in_memory, time_column
from dyninfer.data.reading import read_snapshots
from dyninfer.data.representation import representation
from dyninfer.data.snapshots import Snapshots
from dyninfer.data.time_labels import remedy
from dyninfer.data.times import spelled
from dyninfer.data.words import counted, listed, quoted

if TYPE_CHECKING:
    from anndata import AnnData

# Columns of clusters hold numbers too; a name tells which one holds times.
TIME_WORDS = ("time", "day", "hour", "age", "stage", "week", "month")
# More labels than these are names of cells or clones rather than kinds.
MOST_LABELS = 50


@dataclass(frozen=True)
class Examination:
    """The findings of :func:`doctor` on an AnnData; ``print`` shows them as text.

    Attributes
    ----------
    contents : dict of str
        What is there: cells, labels, representations, layers.
    used : dict of str
        What a fit would use: times and features.
    problems : tuple of str
        What prevents a fit, each with its remedy.
    cautions : tuple of str
        What a fit would warn about.
    missing : tuple of str
        What is missing, and what that rules out.
    call : str
        A first fit to run; empty if there are problems.
    """

    contents: Mapping[str, str]
    used: Mapping[str, str]
    problems: tuple[str, ...]
    cautions: tuple[str, ...]
    missing: tuple[str, ...]
    call: str

    @property
    def is_ready(self) -> bool:
        """Whether a fit would run."""
        return not self.problems

    def __str__(self) -> str:
        parts = {
            "There is": _pairs(self.contents),
            "A fit would use": _pairs(self.used),
            "To mend first": _items(self.problems),
            "To keep in mind": _items(self.cautions),
            "Not there": _items(self.missing),
            "To begin with": self.call.splitlines(),
        }
        blocks = [_block(title, lines) for title, lines in parts.items() if lines]
        return "\n\n".join(blocks)


def doctor(
    adata: AnnData,
    *,
    time_key: str | None = None,
    use_rep: str | None = None,
    mass_key: str | None = None,
    weight_key: str | None = None,
    condition_key: str | None = None,
    growth_key: str | None = None,
) -> Examination:
    """Report what is in an AnnData, what a fit would use, and what is missing.

    Nothing is fitted, and the AnnData is not changed.

    Parameters
    ----------
    adata : AnnData
        Cells in rows.
    time_key : str, optional
        Column of ``obs`` with the times. By default the one column that looks like times, or, of
        several, the one whose name says so.
    use_rep, mass_key, weight_key, condition_key, growth_key : str, optional
        As in ``fit``.

    Returns
    -------
    Examination
        Prints as a page of text.

    Raises
    ------
    TypeError
        If ``adata`` is not an AnnData.

    Examples
    --------
    >>> import dyninfer as di
    >>> examination = di.tl.doctor(di.datasets.mesc_retinoic_acid())
    >>> examination.used["features"]
    "'X_pca', 10 features"
    """
    arguments = keys.chosen(locals(), keys.SNAPSHOT_KEYS)
    check_anndata(adata)
    if time_key is None:
        arguments["time_key"] = time_key = _guess(adata)
    used: dict[str, str] = {}
    cautions: list[str] = []
    snapshots = None
    problems = _failure(lambda: time_column(adata, time_key))
    problems += _failure(lambda: representation(adata, use_rep))
    if not columns_like_times(adata):
        problems += _readable_labels(adata)
    if not problems:
        # Both are there; the rest is found where they are read together.
        snapshots, problems, cautions = _read(adata, arguments)
    if snapshots is not None:
        used = _uses(adata, snapshots, time_key, use_rep)
    return Examination(
        _contents(adata),
        used,
        tuple(problems),
        tuple(cautions),
        tuple(_missing(adata, snapshots, arguments)),
        _call(snapshots, arguments),
    )


def _guess(adata: AnnData) -> str | None:
    """Column of the times, where there is no doubt which it is."""
    candidates = columns_like_times(adata)
    named = [name for name in candidates if _speaks_of_time(str(name))]
    for names in (named, candidates):
        if len(names) == 1:
            return names[0]
    return None


def _speaks_of_time(name: str) -> bool:
    return any(word in name.lower() for word in TIME_WORDS)


def _sentence(error: Exception) -> str:
    # The text of a KeyError is its argument in quotes.
    return str(error.args[0] if isinstance(error, KeyError) and error.args else error)


def _failure(trial: Callable[[], Any]) -> list[str]:
    """The message of a trial that fails."""
    try:
        trial()
    except (KeyError, TypeError, ValueError) as error:
        return [_sentence(error)]
    return []


def _read(
    adata: AnnData, arguments: Mapping[str, Any]
) -> tuple[Snapshots | None, list[str], list[str]]:
    """Snapshots as a fit would read them, what fails, and what it would warn of."""
    with warnings.catch_warnings(record=True) as records:
        warnings.simplefilter("always")
        try:
            snapshots = read_snapshots(adata, arguments)
        except (KeyError, TypeError, ValueError, MemoryError) as error:
            return None, [_sentence(error)], []
    return snapshots, [], [str(record.message) for record in records]


def _readable_labels(adata: AnnData) -> list[str]:
    """How to read columns of text such as "day 3" as times."""
    sentences = []
    for name, labels in _kinds(adata).items():
        place = f"adata.obs[{quoted(name)}]"
        sentence = remedy(labels, place)
        # Of labels that are no times it says why they cannot be read.
        if "di.read_times(" in sentence:
            sentences.append(f"{place} holds text: {sentence}")
    return sentences


def _kinds(adata: AnnData) -> dict[str, list[str]]:
    """Labels of the columns that tell kinds of cells apart: text, with several labels."""
    kinds = {}
    for name in adata.obs.columns:
        column = in_memory(adata.obs[name])
        # Of two columns with one name, neither can be asked for.
        if isinstance(column, pd.DataFrame) or pd.api.types.is_numeric_dtype(column):
            continue
        labels = column.dropna().astype(str).unique()
        if 2 <= len(labels) <= MOST_LABELS:
            kinds[str(name)] = list(labels)
    return kinds


def _contents(adata: AnnData) -> dict[str, str]:
    cells = counted(adata.n_obs, "cell")
    genes = counted(adata.n_vars, "gene")
    sizes = [_sized(adata, name) for name in adata.obsm]
    return {
        "size": f"{cells}, {genes}",
        "like times": listed(columns_like_times(adata)),
        "labels": listed(_kinds(adata)),
        "obsm": ", ".join(sizes) or "none",
        "layers": listed(adata.layers),
    }


def _sized(adata: AnnData, name: str) -> str:
    """Name of a representation and how many features it has."""
    try:
        n_features = adata.obsm[name].shape[1]
    except AttributeError:
        # Awkward arrays have no shape; of a view, a table with two columns of one name has none.
        return name
    return f"{name} ({n_features})"


def _uses(
    adata: AnnData, snapshots: Snapshots, time_key: str | None, use_rep: str | None
) -> dict[str, str]:
    _, _, name = representation(adata, use_rep)
    rows = zip(spelled(snapshots.times), snapshots.sizes, strict=True)
    counts = ", ".join(f"{time} ({n})" for time, n in rows)
    return {
        "times": f"{quoted(time_key)}, with the number of cells: {counts}",
        "features": f"{quoted(name)}, {counted(snapshots.n_features, 'feature')}",
    }


def _missing(
    adata: AnnData, snapshots: Snapshots | None, arguments: Mapping[str, Any]
) -> list[str]:
    sentences = []
    if snapshots is not None and snapshots.n_times == 2:
        sentences.append("a third time: without one, none can be held out to test the model")
    if not _kinds(adata):
        sentences.append("labels of cells: di.tl.fates will make clusters of the last cells")
    if "PCs" not in adata.varm:
        sentences.append("varm['PCs']: di.tl.trends needs a decoder to speak of genes")
    if arguments["mass_key"] is None:
        sentences.append("counts (mass_key): growth will be relative to the mean of all cells")
    return sentences


def _call(snapshots: Snapshots | None, arguments: Mapping[str, Any]) -> str:
    if snapshots is None:
        return ""
    texts = [f"{name}={value!r}" for name, value in arguments.items() if value is not None]
    if snapshots.n_times > 2:
        times = spelled(snapshots.times)
        # One in the middle has neighbours on both sides.
        middle = times[len(times) // 2]
        texts.append(f"hold_out={middle}")
    joined = ", ".join(texts)
    return f"model = di.ActionMatching().fit(adata, {joined})"


def _pairs(lines: Mapping[str, str]) -> list[str]:
    return [f"{name:<11} {text}" for name, text in lines.items()]


def _items(sentences: tuple[str, ...]) -> list[str]:
    return [f"* {sentence}" for sentence in sentences]


def _block(title: str, lines: list[str]) -> str:
    return "\n  ".join([title, *lines])
