"""Paths as one batch of times, gaps and values, perhaps with further times at which nothing was seen."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.fractional.gaussian.linear import rounded_unique


@dataclass(frozen=True)
class Series:
    """``P`` paths of at most ``L`` times, float64.

    Attributes
    ----------
    times : Tensor, ``(P, L)``
        Not decreasing; past its end, a path repeats its last time.
    values : Tensor, ``(P, L, F)``
        0 where nothing was seen.
    mask : Tensor of bool, ``(P or 1, L, F)``
    gaps : Tensor, ``(u,)``
        Distinct gaps between neighbouring times.
    gap : Tensor of int64, ``(P or 1, L − 1)``
        Which of them lies between two times; one row where all paths share their times and what is missing.
    queried : Tensor of int64, ``(P, q)``
        Where the further times came to lie.
    placed : Tensor of int64, ``(P, l)``
        Where the times of the paths themselves came to lie.
    """

    times: Tensor
    values: Tensor
    mask: Tensor
    gaps: Tensor
    gap: Tensor
    queried: Tensor
    placed: Tensor

    @classmethod
    def of(cls, paths: Paths, query: Any = ()) -> Series:
        """Batch of the paths, and of the times ``query`` ``(q,)`` in every one of them.

        Raises
        ------
        ValueError
            If a path begins after a time that is asked for.
        """
        times, values, mask = paths.padded()
        wanted = torch.as_tensor(np.asarray(query, dtype=np.float64)).reshape(-1)
        if len(wanted) and bool((times[:, 0] > wanted.min() + 1e-12).any()):
            late = int((times[:, 0] > wanted.min() + 1e-12).nonzero()[0])
            raise ValueError(
                f"times must not lie before a path begins, but {float(wanted.min()):g} does: path "
                f"{str(paths.names[late])!r} begins at {float(times[late, 0]):g}"
            )
        n, length, features = values.shape
        every = torch.cat([times, wanted.expand(n, -1)], dim=1)
        every, order = every.sort(dim=1, stable=True)
        pad = (0, 0, 0, len(wanted))
        rows = order.unsqueeze(-1).expand(-1, -1, features)
        values = torch.nn.functional.pad(values.double(), pad).gather(1, rows)
        mask = torch.nn.functional.pad(mask, pad).gather(1, rows)
        rank = order.argsort(dim=1)
        gaps = every.diff(dim=1)
        distinct, index = rounded_unique(gaps)
        if bool((index == index[:1]).all()) and bool((mask == mask[:1]).all()):
            index, mask = index[:1], mask[:1]
        return cls(every, values, mask, distinct, index, rank[:, length:], rank[:, :length])

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(self, rows: Tensor) -> Series:
        """Some of the paths, all with the same number of times."""
        shared = len(self.gap) == 1
        return Series(
            self.times[rows],
            self.values[rows],
            self.mask if shared else self.mask[rows],
            self.gaps,
            self.gap if shared else self.gap[rows],
            self.queried[rows],
            self.placed[rows],
        )

    def window(self, rows: Tensor, start: Tensor, length: int) -> Series:
        """Parts of ``length`` times of some paths without further times, each from its own ``start`` ``(n,)``."""
        at = start.unsqueeze(1) + torch.arange(length, device=start.device)
        row = rows.unsqueeze(1)
        gap = self.gap.expand(len(self), -1)[row, at[:, :-1]]
        mask = self.mask.expand(len(self), -1, -1)[row, at]
        if bool((gap == gap[:1]).all()) and bool((mask == mask[:1]).all()):
            gap, mask = gap[:1], mask[:1]
        placed = torch.arange(length, device=start.device).expand(len(rows), -1)
        return Series(
            self.times[row, at],
            self.values[row, at],
            mask,
            self.gaps,
            gap,
            self.queried[rows],
            placed,
        )

    def to(self, device: torch.device) -> Series:
        """The same series on another device."""
        return Series(*(getattr(self, field.name).to(device) for field in fields(self)))

    def fingerprint(self) -> str:
        """Text that is the same for the same times and values, and differs for others."""
        seen = (self.times, self.values, self.mask.expand_as(self.values))
        return hashlib.sha256(b"".join(x.contiguous().numpy().tobytes() for x in seen)).hexdigest()

    def scaled(self, shift: Tensor, scale: Tensor) -> Series:
        """The same series with values ``(o − shift)/scale`` where something was seen."""
        values = (self.values - shift) / scale * self.mask
        return replace(self, values=values)

    def refined(self, n: int) -> Series:
        """The same series with ``n`` even steps, ``n − 1`` times at which nothing is seen, in every gap."""
        share = torch.arange(n, dtype=self.times.dtype, device=self.times.device) / n
        inner = self.times[:, :-1, None] + self.times.diff(dim=1).unsqueeze(-1) * share
        times = torch.cat([inner.flatten(1), self.times[:, -1:]], dim=1)
        length = times.shape[1]
        values = self.values.new_zeros(len(times), length, self.values.shape[-1])
        mask = self.mask.new_zeros(len(self.mask), length, self.mask.shape[-1])
        values[:, ::n], mask[:, ::n] = self.values, self.mask
        gap = self.gap.repeat_interleave(n, dim=1)
        return Series(times, values, mask, self.gaps / n, gap, self.queried * n, self.placed * n)


def check_moving(paths: Paths, every_feature: bool = True) -> None:
    """Raise a ValueError where paths cannot tell of a motion: single observations, or a feature that never changes."""
    if paths.lengths.max() < 2:
        raise ValueError(
            "every path has one observation only; fractional noise needs paths with several"
        )
    reach = [
        np.fmax.reduce(x) - np.fmin.reduce(x) for x in paths.states
    ]  # NaN where nothing was seen
    whole = np.fmax.reduce(reach)
    if np.isnan(whole).any():
        name = paths.features[int(np.isnan(whole).argmax())]
        raise ValueError(f"feature {name!r} is missing in every path; leave it out")
    still = whole == 0
    if still.all() or (every_feature and still.any()):
        name = paths.features[int(still.argmax())]
        raise ValueError(
            f"feature {name!r} never changes within a path, so nothing can be learned of it; leave it out"
        )


def facts_of(paths: Paths, *, one_scale: bool) -> dict[str, Any]:
    """What the shape of a model depends on, as plain numbers; ``one_scale`` shares shift and scale among features.

    Raises
    ------
    ValueError
        As :func:`check_moving`; with one scale, features that never change are let be.
    """
    check_moving(paths, every_feature=not one_scale)
    gaps = np.concatenate([np.diff(t) for t in paths.times])
    horizon = max(float(t[-1] - t[0]) for t in paths.times)
    every = np.concatenate(paths.states).astype(np.float64)
    shift, scale = np.nanmean(every, axis=0), np.nanstd(every, axis=0)
    if one_scale:
        shift, scale = np.full_like(shift, np.nanmean(every)), np.full_like(scale, np.nanstd(every))
    return {
        "begin": min(float(t[0]) for t in paths.times),
        "horizon": horizon,
        "tau": max(float(np.quantile(gaps, 0.1)), horizon / 1e5),
        "gap": float(np.median(gaps)) or horizon,
        "shift": shift.tolist(),
        "scale": [float(s) or 1.0 for s in scale],
        "free_start": len(paths) > 2,
        "information": None,
    }
