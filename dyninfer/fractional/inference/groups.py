"""Paths of one feature in groups that share their times, so that one factor serves each."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from dyninfer.fractional.gaussian.linear import rounded_unique

# Groups are factored together if the largest has at most this many times as many times or members
# as the smallest: what is padded costs as much as what is there.
_LIKE = 1.3
# Numbers of the covariances of one batch: 16 MB, and a few times that with gradients.
_NUMBERS = 2_000_000


class Group(NamedTuple):
    """Values of one feature in paths whose times are the first of one list.

    Attributes
    ----------
    feature : int
    elapsed : Tensor, ``(n,)``
        From the first time of each path.
    values : Tensor, ``(n, m)``
        0 past the end of a path.
    mask : Tensor of bool, ``(n, m)``
    rows : Tensor of int64, ``(m,)``
        Numbers of the paths.
    error : Tensor, ``(n,)``
        Deviation of the values at each time; 0 where that of the feature counts.
    """

    feature: int
    elapsed: Tensor
    values: Tensor
    mask: Tensor
    rows: Tensor
    error: Tensor


class Batch(NamedTuple):
    """Groups of about one size, padded: ``g`` of them.

    Attributes
    ----------
    feature : Tensor of int64, ``(g,)``
    elapsed : Tensor, ``(g, n)``
        Past the end of a list, its last time again.
    is_time : Tensor of bool, ``(g, n)``
    values : Tensor, ``(g, n, m)``
    mask : Tensor of bool, ``(g, n, m)``
    rows : Tensor of int64, ``(g, m)``
    error : Tensor, ``(g, n)``
    """

    feature: Tensor
    elapsed: Tensor
    is_time: Tensor
    values: Tensor
    mask: Tensor
    rows: Tensor
    error: Tensor


def batches_of(times: Tensor, values: Tensor, mask: Tensor, error: Tensor) -> list[Batch]:
    """Batches of groups that one Cholesky factor serves: that of a path serves its beginnings.

    Parameters
    ----------
    times : Tensor, ``(P, L)``
    values : Tensor, ``(P, L, F)``
    mask : Tensor of bool, ``(P, L, F)``
    error : Tensor, ``(P, L, F)``
        Deviation of each value; 0 where that of the feature counts.
    """
    groups = _groups(times, values, mask, error)
    groups.sort(key=lambda group: group.values.shape)
    batches = []
    first = 0
    for end in range(1, len(groups) + 1):
        if end < len(groups) and _fits(groups[first], groups[end], end - first + 1):
            continue
        batches.append(_batch(groups[first:end]))
        first = end
    return batches


def _groups(times: Tensor, values: Tensor, mask: Tensor, error: Tensor) -> list[Group]:
    """One group for each feature and list of times, with the errors at them."""
    elapsed = times - times[:, :1]
    distinct, code = rounded_unique(elapsed)
    n_features = values.shape[2]
    groups = []
    for feature in range(n_features):
        is_observed = mask[:, :, feature]
        of_feature = values[:, :, feature]
        sizes, size = error[:, :, feature].unique(return_inverse=True)
        # One number for a time and an error: both must agree where a factor is shared.
        n_sizes = len(sizes)
        numbers = _numbers(code * n_sizes + size, is_observed)
        for longest, members in _by_longest(numbers):
            both = torch.tensor(longest)
            n_times = len(longest)
            columns = [_column(of_feature[row], is_observed[row], n_times) for row in members]
            lengths = torch.tensor([len(numbers[row]) for row in members])
            position = torch.arange(n_times)
            group = Group(
                feature=feature,
                elapsed=distinct[both // n_sizes],
                values=torch.stack(columns, dim=1),
                mask=position.unsqueeze(1) < lengths,
                rows=torch.tensor(members),
                error=sizes[both % n_sizes],
            )
            groups.append(group)
    return groups


def _fits(first: Group, last: Group, n_groups: int) -> bool:
    """Whether groups between these two are padded little, and few enough for one batch."""
    # Groups come by their number of times, so that the last has the most.
    n_times, n_members = first.values.shape
    most_times, n_last_members = last.values.shape
    has_room = n_groups * most_times**2 <= _NUMBERS
    is_as_long = most_times <= _LIKE * n_times
    is_as_wide = n_last_members <= _LIKE * n_members
    return has_room and is_as_long and is_as_wide


def _batch(groups: list[Group]) -> Batch:
    elapsed = [group.elapsed for group in groups]
    lengths = [len(times) for times in elapsed]
    padded = pad_sequence(elapsed, batch_first=True)
    position = torch.arange(padded.shape[1])
    is_time = position < torch.tensor(lengths).unsqueeze(1)
    lasts = torch.stack([times[-1] for times in elapsed])
    return Batch(
        feature=torch.tensor([group.feature for group in groups]),
        elapsed=torch.where(is_time, padded, lasts.unsqueeze(1)),
        is_time=is_time,
        values=_padded([group.values for group in groups]),
        mask=_padded([group.mask for group in groups]),
        rows=pad_sequence([group.rows for group in groups], batch_first=True),
        error=pad_sequence([group.error for group in groups], batch_first=True),
    )


def _padded(tables: list[Tensor]) -> Tensor:
    """Tables ``(n, m)`` of several sizes as one ``(g, n, m)``, with zeros."""
    n_rows = max(len(table) for table in tables)
    n_columns = max(table.shape[1] for table in tables)
    whole = []
    for table in tables:
        n_missing_rows = n_rows - len(table)
        n_missing_columns = n_columns - table.shape[1]
        whole.append(pad(table, (0, n_missing_columns, 0, n_missing_rows)))
    return torch.stack(whole)


def _numbers(code: Tensor, is_observed: Tensor) -> list[tuple[int, ...]]:
    """Numbers of the observed times of each path, those at which it has a value."""
    lists = []
    for numbers, mask in zip(code, is_observed, strict=True):
        own = numbers[mask].tolist()
        lists.append(tuple(own))
    return lists


def _by_longest(lists: list[tuple[int, ...]]) -> list[tuple[tuple[int, ...], list[int]]]:
    """Paths by a list of times that theirs is a beginning of."""
    groups: list[tuple[tuple[int, ...], list[int]]] = []
    # Sorted backwards, a list comes right after those that it is a beginning of.
    order = sorted(range(len(lists)), key=lists.__getitem__, reverse=True)
    for row in order:
        own = lists[row]
        if not own:
            continue
        if groups and groups[-1][0][: len(own)] == own:
            groups[-1][1].append(row)
        else:
            groups.append((own, [row]))
    return groups


def _column(values: Tensor, is_observed: Tensor, length: int) -> Tensor:
    """Observed values of a path, then zeros: ``(length,)``."""
    own = values[is_observed]
    n_missing = length - len(own)
    return pad(own, (0, n_missing))
