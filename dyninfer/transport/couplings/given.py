"""Pairs that the data themselves tell: clones, and cells that were followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd

from dyninfer.transport.couplings.base import Coupling, intervals
from dyninfer.transport.couplings.exact import OTCoupling
from dyninfer.transport.couplings.plan import Plan, weighted

if TYPE_CHECKING:
    from anndata import AnnData

    from dyninfer.data.snapshots import Snapshots

MOST_PAIRS = 30_000_000


@dataclass(kw_only=True, repr=False, eq=False)
class GivenPairs(Coupling):
    """Known pairs, by the names of the cells, so that they survive whatever is held out or split off.

    A cell's mass is shared equally among its partners, at either end: all pairs of a clone share the clone's mass, and its
    growth is that of its weight from one snapshot to the next. Where a snapshot in between is left out, clones are paired by
    their labels as before, and pairs are joined where they meet in a cell that is gone.

    Parameters
    ----------
    pairs : sequence of (name, name), optional
        A cell and its partner at the next time. Names are those of the Snapshots or the ``obs_names``.
    clones : sequence of (name, label), optional
        Cells of one label are partners at all times. Exactly one of ``pairs`` and ``clones`` is given.
    unpaired : {"transport", "drop"}
        Cells without a partner are coupled among themselves by exact optimal transport (and vanish or appear in place where the
        other side has none left), or left out: the plan then reproduces the paired cells alone.

    Examples
    --------
    >>> import numpy as np
    >>> from dyninfer import Snapshots
    >>> from dyninfer.transport.couplings import GivenPairs
    >>> data = Snapshots(times=[0, 1], samples=[np.zeros((2, 1)), np.ones((2, 1))], names=[["a", "b"], ["c", "d"]])
    >>> plan = GivenPairs(pairs=[("a", "d"), ("b", "c")]).plans(data, list(data.samples), seed=0)[0]
    >>> plan.target
    array([1, 0])
    """

    pairs: Sequence[Sequence[str]] | None = None
    clones: Sequence[Sequence[str]] | None = None
    unpaired: str = "transport"

    @classmethod
    def from_clones(cls, adata: AnnData, clone_key: str, *, unpaired: str = "transport") -> Self:
        """Read clones from a column of ``obs``; cells whose label is missing or empty have no partner."""
        from dyninfer.data.columns import obs_column

        labels = obs_column(adata, clone_key, "clone_key")
        known = (labels.notna() & (labels.astype(str) != "")).to_numpy()
        table = zip(adata.obs_names[known].astype(str), labels[known].astype(str), strict=True)
        return cls(clones=list(table), unpaired=unpaired)

    @classmethod
    def from_rows(
        cls, data: Snapshots, rows: Sequence[np.ndarray], *, unpaired: str = "transport"
    ) -> Self:
        """Take pairs as rows: for every interval an array ``(n, 2)`` of rows in its two snapshots, which must have names."""
        if data.names is None:
            raise ValueError("pairs are kept by the names of the cells; give Snapshots(names=...)")
        if len(rows) != data.n_times - 1:
            raise ValueError(
                f"rows has {len(rows)} arrays but the data have {data.n_times - 1} intervals; give one for each"
            )
        pairs: list[tuple[str, str]] = []
        for k, table in enumerate(rows):
            table = np.asarray(table)
            if table.ndim != 2 or table.shape[1] != 2 or table.dtype.kind not in "iu":
                raise ValueError(
                    f"rows of interval {k} must be whole numbers of shape (n, 2), found {table.shape}"
                )
            for side in (0, 1):
                size = data.sizes[k + side]
                if len(table) and not 0 <= table[:, side].min() <= table[:, side].max() < size:
                    raise ValueError(
                        f"rows of interval {k} reach from {table[:, side].min()} to {table[:, side].max()}, but the snapshot at "
                        f"time {data.times[k + side]:g} has {size} samples"
                    )
            pairs += zip(*(map(str, data.names[k + s][table[:, s]]) for s in (0, 1)), strict=True)
        return cls(pairs=pairs, unpaired=unpaired)

    def check(self) -> None:
        """Raise a ValueError naming a setting that cannot be."""
        if (self.pairs is None) == (self.clones is None):
            raise ValueError("give GivenPairs either pairs or clones")
        if self.unpaired not in ("transport", "drop"):
            raise ValueError(
                f"GivenPairs.unpaired must be 'transport' or 'drop', found {self.unpaired!r}"
            )

    def plan(self, x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray, seed: int) -> Plan:
        """Refused: two arrays do not say which cells they hold."""
        raise ValueError(
            "GivenPairs must know the cells by name; call plans(data, samples, seed) with Snapshots that have names"
        )

    def plans(self, data: Snapshots, samples: list[np.ndarray], seed: int) -> list[Plan]:
        """See :meth:`Coupling.plans`; a ValueError tells between which times no pair is known."""
        self.check()
        if data.names is None:
            raise ValueError(
                "GivenPairs needs the names of the cells; give Snapshots(names=...) or an AnnData"
            )
        names = [pd.Index(np.asarray(n).astype(str)) for n in data.names]
        for n, t in zip(names, data.times, strict=True):
            if not n.is_unique:
                raise ValueError(
                    f"the name {n[n.duplicated()][0]!r} occurs twice at time {t:g}; GivenPairs needs a name for every cell"
                )
        table = pd.DataFrame(
            [
                tuple(map(str, row))
                for row in (self.clones if self.pairs is None else self.pairs) or ()
            ],
            columns=["cell", "other"],
        )
        find = self._clone_mates if self.pairs is None else self._partners
        found = []
        for k, problem in enumerate(intervals(data, samples, seed)):
            rows, columns = find(table, names, k)
            x, y, a, b, _ = problem
            carry = (a[rows] > 0) & (b[columns] > 0)
            if not carry.any():
                raise ValueError(
                    f"no given pair leads from time {data.times[k]:g} to time {data.times[k + 1]:g}: the {len(table)} "
                    f"names such as {table.cell.iloc[0] if len(table) else None!r} were looked up among cells such as {names[k][0]!r}"
                )
            found.append(self._with_the_rest(rows[carry], columns[carry], *problem))
        return found

    def _clone_mates(
        self, table: pd.DataFrame, names: list[pd.Index], k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        sides = []
        for side, index in (("row", names[k]), ("column", names[k + 1])):
            at = index.get_indexer(table.cell)
            sides.append(table.assign(**{side: at})[at >= 0])
        counts = [s.other.value_counts() for s in sides]
        total = int((counts[0] * counts[1]).sum())
        if total > MOST_PAIRS:
            raise ValueError(
                f"the clones make {total} pairs between two times, more than {MOST_PAIRS}; leave the largest ones out"
            )
        joined = sides[0].merge(sides[1], on="other")
        return joined["row"].to_numpy(), joined["column"].to_numpy()

    def _partners(
        self, table: pd.DataFrame, names: list[pd.Index], k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pairs from snapshot ``k`` to the next, also through cells that are in no snapshot."""
        here = np.concatenate(names)
        ahead, found = table[table.cell.isin(names[k])], []
        for _ in range(len(table) + 1):  # no way through cells is longer
            found.append(ahead[ahead.other.isin(names[k + 1])])
            through = ahead[~ahead.other.isin(here)]
            ahead = through.merge(table, left_on="other", right_on="cell", suffixes=("", "_then"))
            ahead = (
                ahead[["cell", "other_then"]].drop_duplicates().set_axis(["cell", "other"], axis=1)
            )
            if ahead.empty:
                break
        pairs = pd.concat(found).drop_duplicates()
        return names[k].get_indexer(pairs.cell), names[k + 1].get_indexer(pairs.other)

    def _with_the_rest(
        self,
        rows: np.ndarray,
        columns: np.ndarray,
        x: np.ndarray,
        y: np.ndarray,
        a: np.ndarray,
        b: np.ndarray,
        seed: int,
    ) -> Plan:
        """Plan of the given pairs, and of the cells that have none."""
        start = a[rows] / np.bincount(rows, minlength=len(a))[rows]
        end = b[columns] / np.bincount(columns, minlength=len(b))[columns]
        free_a, free_b = (
            np.where(np.bincount(i, minlength=len(w)) > 0, 0.0, w)
            for i, w in ((rows, a), (columns, b))
        )
        if self.unpaired == "drop" or not (free_a.any() or free_b.any()):
            return weighted(rows, columns, start, end)
        mass_a, mass_b = free_a.sum(), free_b.sum()
        rest = OTCoupling().plan(
            x, y, free_a / mass_a if mass_a else a, free_b / mass_b if mass_b else b, seed
        )
        return weighted(
            np.concatenate([rows, rest.source]),
            np.concatenate([columns, rest.target]),
            np.concatenate([start, mass_a * rest.mass]),
            np.concatenate([end, mass_b * rest.mass]),
        )
