"""How snapshots show themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dyninfer.data.words import as_text, counted

if TYPE_CHECKING:
    from dyninfer.data.snapshots import Snapshots

# What may stand beside the states of every sample.
EXTRAS = ("weights", "conditions", "growth")


def description(snapshots: Snapshots) -> tuple[str, dict[str, str]]:
    """Title, and samples and mass of every time, as label and value."""
    times = counted(snapshots.n_times, "time")
    samples = counted(sum(snapshots.sizes), "sample")
    features = counted(snapshots.n_features, "feature")
    lines = {}
    for k, n in enumerate(snapshots.sizes):
        time = as_text(snapshots.times[k])
        if f"time {time}" in lines:
            # Neighbours that agree to six digits.
            time = repr(float(snapshots.times[k]))
        size = str(n)
        if snapshots.masses is not None:
            size += f", mass {snapshots.masses[k]:g}"
        lines[f"time {time}"] = size
    extras = [name for name in EXTRAS if getattr(snapshots, name) is not None]
    if extras:
        lines["with"] = " and ".join(extras)
    return f"Snapshots: {times}, {samples} x {features}", lines
