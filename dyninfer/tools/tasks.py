"""Many independent scores, in turn or side by side, that survive a kill."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, as_completed
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from tqdm.auto import tqdm

from dyninfer.learning.digest import sealed, unsealed
from dyninfer.learning.files import as_path, label, read_file, write_file
from dyninfer.learning.settings import brief, check_switch, fingerprint
from dyninfer.learning.warn import warn

Row = dict[str, Any]
Part = TypeVar("Part")


class Task(NamedTuple):
    """One score to be computed.

    Attributes
    ----------
    identity : str
        Everything that the score depends on, as text.
    compute : callable
        Without arguments; can be pickled where tasks run in other processes.
    """

    identity: str
    compute: Callable[[], Row]


class Scoring(ABC, Generic[Part]):
    """How predictions of a part of the data are scored by methods that learn from the rest.

    Attributes
    ----------
    max_steps : int or None
        Training steps of a fit at most.
    """

    max_steps: int | None

    def of_model(self, name: str, model: Any, held_out: Part, seed: int) -> Task:
        """Score of a method that is fitted without a part of the data."""
        kind = type(model).__qualname__
        own = [kind, fingerprint(model), str(self.max_steps)]
        identity = self._identity(name, held_out, seed, own)
        return Task(identity, partial(self._score_model, name, model, held_out, seed))

    def of_baseline(self, name: str, held_out: Part, seed: int) -> Task:
        """Score of a baseline by name."""
        identity = self._identity(name, held_out, seed, ["baseline"])
        return Task(identity, partial(self._score_baseline, name, held_out, seed))

    @abstractmethod
    def _identity(self, name: str, held_out: Part, seed: int, others: list[str]) -> str:
        """Everything that a score depends on, as text."""

    @abstractmethod
    def _score_model(self, name: str, model: Any, held_out: Part, seed: int) -> Row:
        """Row of a method."""

    @abstractmethod
    def _score_baseline(self, name: str, held_out: Part, seed: int) -> Row:
        """Row of a baseline."""


class Store:
    """Rows that are finished, one file each, in a folder.

    A file is named by the digest of everything that its row depends on: other data, settings or
    seeds have other files.
    """

    def __init__(self, folder: str | Path):
        self.folder = as_path(folder, "checkpoint")
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"checkpoint {label(self.folder)} is a file; name a folder")
        self.folder.mkdir(parents=True, exist_ok=True)

    def get(self, task: Task) -> Row | None:
        """Row of a task, or None where it is not there, or not whole."""
        path = self._path(task)
        if not path.exists():
            return None
        try:
            content = unsealed(read_file(path))
        except ValueError:
            content = None
        if content is None:
            warn(f"{label(path)} is damaged; its score is computed again")
            return None
        return json.loads(bytes(content))

    def put(self, task: Task, row: Row) -> None:
        """Keep the row of a task."""
        content = sealed(json.dumps(row).encode())
        write_file(self._path(task), content)

    def _path(self, task: Task) -> Path:
        name = hashlib.sha256(task.identity.encode()).hexdigest()
        # 128 bits: two tasks never meet, and names stay short.
        return self.folder / f"{name[:32]}.json"


def run_tasks(
    tasks: Sequence[Task],
    *,
    executor: Executor | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
    label: str = "scores",
) -> list[Row]:
    """Compute all rows, in the order of the tasks.

    Parameters
    ----------
    tasks : sequence of Task
    executor : concurrent.futures.Executor, optional
        Where tasks run side by side; None runs one after another, here.
    checkpoint : path, optional
        Folder for rows that are finished. Those in it are not computed again.
    progress : bool
        Show a progress bar, called ``label``.
    """
    check_switch(progress, "progress")
    if executor is not None and not hasattr(executor, "submit"):
        raise TypeError(
            f"executor must be a concurrent.futures.Executor, or None, found {brief(executor)}"
        )
    store = None if checkpoint is None else Store(checkpoint)
    rows: list[Row | None] = [None] * len(tasks)
    if store is not None:
        rows = [store.get(task) for task in tasks]
    # In the order of the tasks: the table is the same however often it was resumed.
    missing = [number for number, row in enumerate(rows) if row is None]
    # Given only where it is off: else what the environment says of bars would not count.
    silence = {} if progress else {"disable": True}
    n_finished = len(tasks) - len(missing)
    with tqdm(total=len(tasks), initial=n_finished, desc=label, **silence) as bar:
        for number, row in _computed(tasks, missing, executor):
            rows[number] = row
            # At once: a kill later costs only what is running then.
            if store is not None:
                store.put(tasks[number], row)
            bar.update()
    return [row for row in rows if row is not None]


def _computed(
    tasks: Sequence[Task], numbers: Sequence[int], executor: Executor | None
) -> Iterator[tuple[int, Row]]:
    """Numbers of tasks with their rows, each as soon as it is there."""
    if executor is None:
        for number in numbers:
            yield number, tasks[number].compute()
        return
    futures: dict[Future[Row], int] = {}
    for number in numbers:
        futures[executor.submit(tasks[number].compute)] = number
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        # After an error or a key stroke, what has not begun would only keep the user waiting.
        for future in futures:
            future.cancel()
