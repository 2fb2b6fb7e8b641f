"""The table of what steps cost on a GPU, counted without one."""

from __future__ import annotations

import warnings

from device.cases import FITS
from device.measure import fit_steps
from device.pretend import WAITS_OF_HOST


def main() -> None:
    """Print it."""
    warnings.simplefilter("ignore")
    print("| a training step of | launches | waits | uploads, mixtures, work on the host |")
    print("|---|---|---|---|")
    for name, (make_model, make_data) in FITS.items():
        steps = fit_steps(make_model, make_data)
        launches = max(step.total("launch") for step in steps)
        waits = max(step.total(*WAITS_OF_HOST) for step in steps)
        others = max(step.total("upload", "mixture", "host") for step in steps)
        print(f"| {name} | {launches} | {waits} | {others} |", flush=True)
