"""Pairs that the data themselves tell: clones, and cells that were followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.times import spelled
from dyninfer.learning.settings import brief
from dyninfer.transport.couplings.base import Coupling, Interval, intervals
from dyninfer.transport.couplings.exact import OTCoupling
from dyninfer.transport.couplings.plan import Plan, weighted

if TYPE_CHECKING:
    from anndata import AnnData

    from dyninfer.data.snapshots import Snapshots

# Beyond this a plan takes more than a gigabyte.
MOST_PAIRS = 30_000_000


@dataclass(kw_only=True, repr=False, eq=False)
class GivenPairs(Coupling):
    """Known pairs, by cell name, so that they survive a hold-out or a split.

    The mass of a cell is divided equally among its partners, at either end. All pairs of a clone
    share its mass, and its growth is that of its weight from one snapshot to the next. If a
    snapshot in between is left out, clones are still paired by their labels, and pairs that meet in
    a removed cell are joined.

    Parameters
    ----------
    pairs : sequence of (name, name), optional
        A cell and its partner at the next time. Names are those of the Snapshots or the
        ``obs_names``.
    clones : sequence of (name, label), optional
        Cells with the same label are partners at all times. Exactly one of ``pairs`` and ``clones``
        is given.
    unpaired : {"transport", "drop"}
        Cells without a partner are coupled among themselves by exact optimal transport (and vanish
        or appear in place if none are left on the other side). With "drop" they are left out: the
        plan then reproduces only the paired cells.

    Examples
    --------
    >>> import numpy as np
    >>> from dyninfer import Snapshots
    >>> from dyninfer.transport.couplings import GivenPairs
    >>> samples, names = [np.zeros((2, 1)), np.ones((2, 1))], [["a", "b"], ["c", "d"]]
    >>> data = Snapshots(times=[0, 1], samples=samples, names=names)
    >>> coupling = GivenPairs(pairs=[("a", "d"), ("b", "c")])
    >>> coupling.plans(data, list(data.samples), seed=0)[0].target
    array([1, 0])
    """

    pairs: Sequence[Sequence[str]] | None = None
    clones: Sequence[Sequence[str]] | None = None
    unpaired: str = "transport"

    @classmethod
    def from_clones(cls, adata: AnnData, clone_key: str, *, unpaired: str = "transport") -> Self:
        """Read clones from a column of ``obs``; cells without a label have no partner."""
        from dyninfer.data.columns import obs_column

        labels = obs_column(adata, clone_key, "clone_key")
        texts = labels.astype(str)
        # Tables of text have empty cells where tables of objects have NaN.
        has_label = labels.notna() & (texts != "")
        has_label = has_label.to_numpy()
        cells = adata.obs_names[has_label].astype(str)
        table = zip(cells, texts[has_label], strict=True)
        return cls(clones=list(table), unpaired=unpaired)

    @classmethod
    def from_rows(
        cls, data: Snapshots, rows: Sequence[ndarray], *, unpaired: str = "transport"
    ) -> Self:
        """Take pairs as rows of snapshots, which must have names.

        Parameters
        ----------
        data : Snapshots
        rows : sequence of integer arrays ``(n, 2)``
            For every interval, row numbers in its two snapshots.
        unpaired : {"transport", "drop"}
        """
        if data.names is None:
            raise ValueError("pairs are kept by the names of the cells; give Snapshots(names=...)")
        n_intervals = data.n_times - 1
        if len(rows) != n_intervals:
            raise ValueError(
                f"rows has {len(rows)} arrays but the data have {n_intervals} intervals; "
                "give one for each"
            )
        pairs: list[tuple[str, str]] = []
        tables = map(np.asarray, rows)
        for k, table in enumerate(tables):
            _check_rows(data, k, table)
            sources, targets = table.T
            cells = data.names[k][sources]
            names_after = data.names[k + 1]
            partners = names_after[targets]
            names = map(str, cells)
            partner_names = map(str, partners)
            pairs += zip(names, partner_names, strict=True)
        return cls(pairs=pairs, unpaired=unpaired)

    def check(self) -> None:
        """Raise a ValueError that names an invalid setting."""
        has_pairs = self.pairs is not None
        has_clones = self.clones is not None
        if has_pairs == has_clones:
            raise ValueError("give GivenPairs either pairs or clones")
        # An array, which might be given by mistake, answers "in" with an error of its own.
        is_text = isinstance(self.unpaired, str)
        if not (is_text and self.unpaired in ("transport", "drop")):
            raise ValueError(
                f"GivenPairs.unpaired must be 'transport' or 'drop', found {brief(self.unpaired)}"
            )
        if self.pairs is not None:
            _check_table("pairs", "(name, name)", self.pairs)
        if self.clones is not None:
            _check_table("clones", "(name, label)", self.clones)

    def plan(self, x: ndarray, y: ndarray, a: ndarray, b: ndarray, seed: int) -> Plan:
        """Raise an error: two arrays do not name their cells."""
        raise ValueError(
            "GivenPairs needs the names of the cells; call plans(data, samples, seed) with "
            "Snapshots that have names"
        )

    def plans(self, data: Snapshots, samples: list[ndarray], seed: int) -> list[Plan]:
        """See :meth:`Coupling.plans`; a ValueError tells between which times no pair is known."""
        self.check()
        names = _unique_names(data)
        table = self._table()
        plans = []
        every_interval = intervals(data, samples, seed)
        for k, interval in enumerate(every_interval):
            if self.pairs is None:
                names_after = names[k + 1]
                names_before = names[k]
                rows, columns = _clone_mates(table, names_before, names_after)
            else:
                rows, columns = _partners(table, names, k)
            # A cell of weight zero is in no pair: what it carries could not be divided.
            source_mass = interval.a[rows]
            target_mass = interval.b[columns]
            has_mass = (source_mass > 0) & (target_mass > 0)
            if not has_mass.any():
                raise _no_pair(data, k, table, names[k])
            rows = rows[has_mass]
            columns = columns[has_mass]
            plan = self._with_the_rest(rows, columns, interval)
            plans.append(plan)
        return plans

    def _table(self) -> pd.DataFrame:
        """Pairs or clones, with columns ``cell`` and ``other``, the partner or the label."""
        table: Any = self.pairs
        if table is None:
            table = self.clones
        # Names of a DataFrame may be numbers, where those of the cells are text.
        rows = [tuple(map(str, row)) for row in table]
        return pd.DataFrame(rows, columns=["cell", "other"])

    def _with_the_rest(self, rows: ndarray, columns: ndarray, interval: Interval) -> Plan:
        """Plan of the given pairs, and of the cells that have none."""
        x, y, a, b, seed = interval.arguments
        start = _shared(a, rows)
        end = _shared(b, columns)
        free_a = _unpaired(a, rows)
        free_b = _unpaired(b, columns)
        mass_a = free_a.sum()
        mass_b = free_b.sum()
        nothing_left = mass_a + mass_b == 0
        if self.unpaired == "drop" or nothing_left:
            return weighted(rows, columns, start, end)
        # A side with no cell left stands in as a whole: the others vanish or appear beside it.
        rest_a = a
        rest_b = b
        if mass_a:
            rest_a = free_a / mass_a
        if mass_b:
            rest_b = free_b / mass_b
        transport = OTCoupling()
        rest = transport.plan(x, y, rest_a, rest_b, seed)
        rest_start = mass_a * rest.mass
        rest_end = mass_b * rest.mass
        rows = np.concatenate([rows, rest.source])
        columns = np.concatenate([columns, rest.target])
        start = np.concatenate([start, rest_start])
        end = np.concatenate([end, rest_end])
        return weighted(rows, columns, start, end)


def _no_pair(data: Snapshots, k: int, table: pd.DataFrame, names: pd.Index) -> ValueError:
    """Return the error of an interval that no given pair crosses."""
    times = spelled(data.times)
    start = times[k]
    end = times[k + 1]
    example = None
    if len(table):
        example = table.cell.iloc[0]
    return ValueError(
        f"no given pair leads from time {start} to time {end}: the {len(table)} names such as "
        f"{brief(example)} were looked up among cells such as {brief(names[0])}"
    )


def _check_table(setting: str, kind: str, table: Any) -> None:
    """Raise an error unless the table is a list of pairs."""
    # A name is a sequence too, and a table of pandas yields the names of its columns.
    if not isinstance(table, list | tuple | ndarray):
        raise TypeError(f"GivenPairs.{setting} must be a list of {kind}, found {brief(table)}")
    for row in table:
        is_list = isinstance(row, list | tuple | ndarray)
        if not (is_list and len(row) == 2):
            raise ValueError(
                f"every entry of GivenPairs.{setting} must be {kind}, found {brief(row)}"
            )


def _check_rows(data: Snapshots, k: int, table: ndarray) -> None:
    """Raise a ValueError unless the table holds rows of snapshots ``k`` and ``k + 1``."""
    has_two_columns = table.ndim == 2 and table.shape[1] == 2
    is_whole = table.dtype.kind in "iu"
    if not (has_two_columns and is_whole):
        raise ValueError(
            f"rows of interval {k} must be whole numbers of shape (n, 2), found {table.shape}"
        )
    if len(table) == 0:
        return
    for side in (0, 1):
        low = table[:, side].min()
        high = table[:, side].max()
        size = data.sizes[k + side]
        if low < 0 or high >= size:
            times = spelled(data.times)
            time = times[k + side]
            raise ValueError(
                f"rows of interval {k} reach from {low} to {high}, but the snapshot at time "
                f"{time} has {size} samples"
            )


def _unique_names(data: Snapshots) -> list[pd.Index]:
    """Names of the cells of every snapshot; a ValueError where there are none, or one twice."""
    if data.names is None:
        raise ValueError(
            "GivenPairs needs the names of the cells; give Snapshots(names=...) or an AnnData"
        )
    names = []
    times = spelled(data.times)
    for own_names, time in zip(data.names, times, strict=True):
        texts = np.asarray(own_names).astype(str)
        index = pd.Index(texts)
        if not index.is_unique:
            twice = index[index.duplicated()][0]
            raise ValueError(
                f"the name {brief(twice)} occurs twice at time {time}; GivenPairs needs a name "
                "for every cell"
            )
        names.append(index)
    return names


def _clone_mates(
    table: pd.DataFrame, names: pd.Index, next_names: pd.Index
) -> tuple[ndarray, ndarray]:
    """All pairs of cells of one clone at two times."""
    here = _rows_in(table, names)
    there = _rows_in(table, next_names)
    n_here = here.other.value_counts()
    n_there = there.other.value_counts()
    # Clones that are at one of the times alone are NaN, which a sum leaves out.
    sizes = n_here * n_there
    n_pairs = int(sizes.sum())
    if n_pairs > MOST_PAIRS:
        raise ValueError(
            f"the clones give {n_pairs} pairs between two times, more than {MOST_PAIRS}; leave the "
            "largest ones out"
        )
    pairs = here.merge(there, on="other", suffixes=("", "_next"))
    rows = pairs["row"].to_numpy()
    columns = pairs["row_next"].to_numpy()
    return rows, columns


def _rows_in(table: pd.DataFrame, names: pd.Index) -> pd.DataFrame:
    """Entries whose cell is in a snapshot, with its row there."""
    row = names.get_indexer(table.cell)
    return table.assign(row=row)[row >= 0]


def _partners(table: pd.DataFrame, names: list[pd.Index], k: int) -> tuple[ndarray, ndarray]:
    """Pairs from snapshot ``k`` to the next, also through cells that are in no snapshot."""
    everyone = np.concatenate(names)
    here = names[k]
    there = names[k + 1]
    links = table[table.cell.isin(here)]
    arrived = []
    for _ in range(len(table) + 1):  # no chain of links is longer
        arrives = links.other.isin(there)
        arrived.append(links[arrives])
        is_present = links.other.isin(everyone)
        absent = links[~is_present]
        onward = absent.merge(table, left_on="other", right_on="cell", suffixes=("", "_then"))
        links = onward[["cell", "other_then"]].drop_duplicates()
        links = links.set_axis(["cell", "other"], axis=1)
        if links.empty:
            break
    pairs = pd.concat(arrived).drop_duplicates()
    rows = here.get_indexer(pairs.cell)
    columns = there.get_indexer(pairs.other)
    return rows, columns


def _shared(weights: ndarray, rows: ndarray) -> ndarray:
    """Weight of every pair ``(pairs,)``: a cell's own, in equal parts."""
    n_pairs = np.bincount(rows, minlength=len(weights))
    return weights[rows] / n_pairs[rows]


def _unpaired(weights: ndarray, rows: ndarray) -> ndarray:
    """Weights of the cells that are in no pair, and zero for the others."""
    n_pairs = np.bincount(rows, minlength=len(weights))
    return np.where(n_pairs > 0, 0.0, weights)
